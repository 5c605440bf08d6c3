//! Policies in the Cedar language, for sites that need more than lists.
//!
//! The person is the principal, and the agent stands in the context, since a call is made for a person by an agent and
//! Cedar has one principal. A decision evaluates only the policies whose heads fit the call.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    ActionConstraint, AuthorizationError, Authorizer, Decision, Effect, EntityUid, EvaluationError, Policy,
    PolicyId, PolicySet, PrincipalConstraint, ResourceConstraint,
};

use super::rules::Kind;
use super::{Call, PolicyFailure, Voices};
use crate::identity::RuleName;
use crate::tool::{Confirm, Tool};

mod draft;
mod index;
mod relax;
mod request;
mod source;
#[cfg(test)]
mod tests;
mod vocabulary;

pub use draft::{Annotation, Draft, DraftPolicy, Mention, PolicyFault, PolicyFile};
pub use source::Place;
pub use vocabulary::{KnownConnector, Vocabulary};

use index::Index;
use relax::{Looks, Relaxed, Unknown, relax};
use request::{Asked, Inexpressible, Requests};

/// Policies that were validated, ready for decisions.
#[derive(Clone, Debug)]
pub struct CedarPolicies(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    authorizer: Authorizer,
    requests: Requests,
    by_kind: [Indices; 3],
    names: HashMap<PolicyId, RuleName>,
    heads: HashMap<PolicyId, PolicyHead>,
    /// The permits whose calls the person has to agree to.
    confirmations: HashMap<RuleName, Confirm>,
}

/// What can be told of a policy without a call.
#[derive(Clone, Debug)]
pub struct PolicyHead {
    /// What it is called in records.
    pub name: RuleName,
    /// Whether it forbids.
    pub forbids: bool,
    /// Whom it is about, in Cedar's words. `None`: anyone.
    pub principal: Option<String>,
    /// Whether it looks at more than who calls what.
    pub is_conditional: bool,
    /// Whether the person has to agree to what it allows.
    pub confirm: Confirm,
}

/// The policies about one kind of thing.
#[derive(Clone, Debug, Default)]
struct Indices {
    /// For calls: the policies as they are written.
    exact: Index,
    /// For lists: what they come to before there are arguments.
    listing: Index,
    /// For the protocol's own methods: what they come to when all that is known is the connector.
    method: Index,
}

/// Why policies cannot be made ready. A policy that was read and validated can.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// A policy cannot be rewritten.
    #[error("policy {0} cannot be indexed")]
    Policy(RuleName),
    /// A tool cannot be an entity.
    #[error("the tools cannot be told to policies")]
    Tools,
}

impl CedarPolicies {
    pub(super) fn new(policies: &[DraftPolicy], vocabulary: &Vocabulary) -> Result<Self, IndexError> {
        let mut looks = Looks::default();
        let mut named: HashSet<EntityUid> = HashSet::new();
        for DraftPolicy { policy, name, .. } in policies {
            looks.extend(Looks::of_policy(policy).ok_or_else(|| IndexError::Policy(name.clone()))?);
            named.extend(policy.entity_literals());
        }
        let requests = Requests::new(vocabulary, looks, &named).map_err(|Inexpressible| IndexError::Tools)?;
        let mut by_kind: [Indices; 3] = Default::default();
        for (indices, kind) in by_kind.iter_mut().zip(Kind::ALL) {
            for policy in policies {
                indices
                    .add(&policy.named(), kind, &requests)
                    .ok_or_else(|| IndexError::Policy(policy.name.clone()))?;
            }
        }
        let names = policies.iter().map(|policy| (PolicyId::new(policy.name.as_str()), policy.name.clone()));
        let heads =
            policies.iter().map(|policy| (PolicyId::new(policy.name.as_str()), PolicyHead::of(policy)));
        let confirmations = policies
            .iter()
            .filter(|policy| policy.confirm != Confirm::No)
            .map(|policy| (policy.name.clone(), policy.confirm))
            .collect();
        let (authorizer, names, heads) = (Authorizer::new(), names.collect(), heads.collect());
        Ok(Self(Arc::new(Compiled { authorizer, requests, by_kind, names, heads, confirmations })))
    }

    /// Whether the person has to agree to a call that these said yes to: one that wants it is enough.
    pub(super) fn confirm(&self, policies: &[RuleName]) -> Confirm {
        let of = |name: &RuleName| self.0.confirmations.get(name).copied();
        match self.0.confirmations.is_empty() {
            true => Confirm::No,
            false => policies.iter().filter_map(of).max().unwrap_or_default(),
        }
    }

    /// Whether the person has to agree to some calls because of one of them.
    pub fn confirms_some(&self) -> bool {
        !self.0.confirmations.is_empty()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.names.len()
    }

    /// The permits whose heads fit this tool, for whomever.
    pub fn permits_about(&self, tool: &Tool) -> Vec<&RuleName> {
        let requests = &self.0.requests;
        let about: Vec<&Policy> = match Kind::of(tool.primitive) {
            Some(kind) => self.indices(kind).exact.about(&requests.resources(tool, kind)).collect(),
            None => {
                let connector = [requests.connector(tool.connector.as_str())];
                self.0.by_kind.iter().flat_map(|indices| indices.method.about(&connector)).collect()
            }
        };
        let permits = about.into_iter().filter(|policy| policy.effect() == Effect::Permit);
        let mut names: Vec<_> = permits.filter_map(|policy| self.0.names.get(policy.id())).collect();
        names.sort();
        names.dedup();
        names
    }

    /// What can be told of the policies that fit this tool, for whomever; or, of `all` that goes by other names on its
    /// connector, of those that fit some of it.
    pub fn heads_about(&self, tool: &Tool, all: bool) -> Vec<&PolicyHead> {
        let Some(kind) = Kind::of(tool.primitive) else { return Vec::new() };
        let (indices, requests) = (self.indices(kind), &self.0.requests);
        let about: Vec<&Policy> = match all {
            true => indices.method.about(&[requests.connector(tool.connector.as_str())]).collect(),
            false => indices.exact.about(&requests.resources(tool, kind)).collect(),
        };
        let mut heads: Vec<_> = about.iter().filter_map(|policy| self.0.heads.get(policy.id())).collect();
        heads.sort_by(|one, other| one.name.cmp(&other.name));
        heads
    }

    /// What they say about a thing, with its arguments or before there are any.
    pub(super) fn voices(&self, call: &Call<'_>) -> Voices {
        let (indices, parties) = (self.indices(call.kind), self.0.requests.parties(call));
        let index = if call.arguments.is_some() { &indices.exact } else { &indices.listing };
        let near = index.near(&parties.principals, &parties.resources);
        self.asked(index, &near, || self.0.requests.about_thing(call, &parties), Errors::MayBeYes)
    }

    /// What they say about using something of a kind on a connector.
    pub(super) fn voices_about_connector(&self, call: &Call<'_>) -> Voices {
        let (index, parties) = (&self.indices(call.kind).method, self.0.requests.parties(call));
        let connector = parties.resources.get(1..).unwrap_or_default();
        let near = index.near(&parties.principals, connector);
        self.asked(index, &near, || self.0.requests.about_connector(call, &parties), Errors::SayNothing)
    }

    fn indices(&self, kind: Kind) -> &Indices {
        let [tools, prompts, resources] = &self.0.by_kind;
        match kind {
            Kind::Tool => tools,
            Kind::Prompt => prompts,
            Kind::Resource => resources,
        }
    }

    fn asked(
        &self,
        index: &Index,
        near: &[&PolicySet],
        ask: impl FnOnce() -> Result<Asked, Inexpressible>,
        errors_of_weaker: Errors,
    ) -> Voices {
        if near.is_empty() {
            return Voices::default();
        }
        let Ok(Asked { request, entities }) = ask() else {
            return Voices { failure: Some(PolicyFailure::Inexpressible), ..Voices::default() };
        };
        let mut voices = Voices::default();
        for policies in near {
            let response = self.0.authorizer.is_authorized(&request, policies, &entities);
            let said = match response.decision() {
                Decision::Allow => &mut voices.permits,
                Decision::Deny => &mut voices.forbids,
            };
            said.extend(
                response.diagnostics().reason().filter_map(|policy| self.0.names.get(policy)).cloned(),
            );
            for AuthorizationError::PolicyEvaluationError(error) in response.diagnostics().errors() {
                let name = self.0.names.get(error.policy_id()).cloned();
                match (index.is_weaker(error.policy_id()), errors_of_weaker) {
                    (true, Errors::MayBeYes) => voices.permits.extend(name),
                    (true, Errors::SayNothing) => {}
                    (false, _) => {
                        voices.failed.extend(name);
                        voices.failure = Some(failure(error.inner()));
                    }
                }
            }
        }
        voices.permits.sort();
        voices.forbids.sort();
        voices.failed.sort();
        voices
    }
}

impl PolicyHead {
    fn of(DraftPolicy { policy, name, confirm, .. }: &DraftPolicy) -> Self {
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any => None,
            PrincipalConstraint::Is(kind) => Some(kind.to_string()),
            PrincipalConstraint::In(principal)
            | PrincipalConstraint::Eq(principal)
            | PrincipalConstraint::IsIn(_, principal) => Some(principal.to_string()),
        };
        let forbids = policy.effect() == Effect::Forbid;
        let (name, is_conditional) = (name.clone(), policy.has_non_scope_constraint());
        Self { name, forbids, principal, is_conditional, confirm: *confirm }
    }
}

/// What an error means of a policy that is weaker than the written one, which may have none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errors {
    /// The written one may say yes: nothing is hidden for ever.
    MayBeYes,
    /// That it says yes is not known.
    SayNothing,
}

impl Indices {
    /// Adds a policy, where it can apply to this kind of thing. `None` when it cannot be rewritten.
    fn add(&mut self, policy: &Policy, kind: Kind, requests: &Requests) -> Option<()> {
        let applies = match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(action) => action == requests.action(kind),
            ActionConstraint::In(actions) => {
                actions.iter().any(|action| requests.action_includes(action, kind))
            }
        };
        let (resource_type, resource) = match policy.resource_constraint() {
            ResourceConstraint::Any => (None, None),
            ResourceConstraint::Is(kind) => (Some(kind), None),
            ResourceConstraint::In(resource) | ResourceConstraint::Eq(resource) => (None, Some(resource)),
            ResourceConstraint::IsIn(kind, resource) => (Some(kind), Some(resource)),
        };
        if !applies || resource_type.is_some_and(|name| requests.kind_of(&name) != Some(kind)) {
            return Some(());
        }
        let principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
            PrincipalConstraint::In(principal)
            | PrincipalConstraint::Eq(principal)
            | PrincipalConstraint::IsIn(_, principal) => Some(principal),
        };
        self.exact.add(policy.clone(), principal.clone(), resource.clone()).ok()?;
        match relax(policy, Unknown::Arguments)? {
            Relaxed::Same => self.listing.add(policy.clone(), principal.clone(), resource.clone()).ok()?,
            Relaxed::Moved(left) | Relaxed::Weaker(left) => {
                self.listing.add_weaker(*left, principal.clone(), resource.clone()).ok()?;
            }
            Relaxed::Gone => {}
        }
        let connector = match &resource {
            None => None,
            Some(resource) if requests.is_connector(resource) => Some(resource.clone()),
            // A forbid about one thing leaves the others.
            Some(_) if policy.effect() == Effect::Forbid => return Some(()),
            Some(resource) => {
                let id: &str = resource.id().unescaped();
                Some(requests.connector(id.split('/').next().unwrap_or_default()))
            }
        };
        match relax(policy, Unknown::Resource)? {
            Relaxed::Same => self.method.add(policy.clone(), principal, connector).ok(),
            Relaxed::Moved(left) => self.method.add(*left, principal, connector).ok(),
            Relaxed::Weaker(left) => self.method.add_weaker(*left, principal, connector).ok(),
            Relaxed::Gone => Some(()),
        }
    }
}

/// What went wrong, without the values it went wrong with: they may be arguments.
fn failure(error: &EvaluationError) -> PolicyFailure {
    match error {
        EvaluationError::IntegerOverflow(_) => PolicyFailure::Overflow,
        EvaluationError::RecursionLimit(_) => PolicyFailure::TooDeep,
        _ => PolicyFailure::Undefined,
    }
}
