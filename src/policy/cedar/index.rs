//! Cedar policies by what their heads name, so that a decision evaluates the few that can apply.

use std::collections::{HashMap, HashSet};

use cedar_policy::{EntityUid, Policy, PolicyId, PolicySet, PolicySetError};

/// The policies for one action.
#[derive(Clone, Debug, Default)]
pub struct Index {
    any_resource: ByPrincipal,
    by_resource: HashMap<EntityUid, ByPrincipal>,
    /// Those that say yes more often than they are written to. An error of theirs is none of the written policy.
    weaker: HashSet<PolicyId>,
}

#[derive(Clone, Debug, Default)]
struct ByPrincipal {
    any: PolicySet,
    by_principal: HashMap<EntityUid, PolicySet>,
}

impl Index {
    /// Adds a policy that can only apply to this principal or those in it, and to this resource or what is in it.
    pub fn add(
        &mut self,
        policy: Policy,
        principal: Option<EntityUid>,
        resource: Option<EntityUid>,
    ) -> Result<(), Box<PolicySetError>> {
        let by_principal = match resource {
            Some(resource) => self.by_resource.entry(resource).or_default(),
            None => &mut self.any_resource,
        };
        let set = match principal {
            Some(principal) => by_principal.by_principal.entry(principal).or_default(),
            None => &mut by_principal.any,
        };
        set.add(policy).map_err(Box::new)
    }

    /// Adds one that says yes more often than it is written to.
    pub fn add_weaker(
        &mut self,
        policy: Policy,
        principal: Option<EntityUid>,
        resource: Option<EntityUid>,
    ) -> Result<(), Box<PolicySetError>> {
        self.weaker.insert(policy.id().clone());
        self.add(policy, principal, resource)
    }

    pub fn is_weaker(&self, policy: &PolicyId) -> bool {
        self.weaker.contains(policy)
    }

    /// The policies that can apply: `principals` are the person and all they are in, `resources` likewise.
    pub fn near(&self, principals: &[EntityUid], resources: &[EntityUid]) -> Vec<&PolicySet> {
        let named = resources.iter().filter_map(|resource| self.by_resource.get(resource));
        let sets = std::iter::once(&self.any_resource).chain(named).flat_map(|by_principal| {
            let named = principals.iter().filter_map(|principal| by_principal.by_principal.get(principal));
            std::iter::once(&by_principal.any).chain(named)
        });
        sets.filter(|set| !set.is_empty()).collect()
    }

    /// The policies that can apply to these resources, for whomever.
    pub fn about(&self, resources: &[EntityUid]) -> impl Iterator<Item = &Policy> {
        let named = resources.iter().filter_map(|resource| self.by_resource.get(resource));
        let by_principal = std::iter::once(&self.any_resource).chain(named);
        let sets = by_principal.flat_map(|by| std::iter::once(&by.any).chain(by.by_principal.values()));
        sets.flat_map(PolicySet::policies)
    }
}
