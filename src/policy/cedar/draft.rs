//! Policy files: from text to policies that are known to mean something.
//!
//! Read first, so that names and entities can be looked at, then compiled against the schema. Both report everything
//! that is wrong, each with its place.

use std::collections::HashSet;

use cedar_policy::{
    Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, ValidationWarning, Validator,
};
use miette::Diagnostic;

use super::CedarPolicies;
use super::source::{self, Place};
use super::vocabulary::Vocabulary;
use crate::identity::RuleName;
use crate::policy::rules::Kind;
use crate::tool::Confirm;

/// A file of policies.
#[derive(Clone, Debug)]
pub struct PolicyFile {
    /// What it is called where policies without a name are told apart: the last part of its path.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Something that is wrong with a policy, or odd.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyFault {
    /// Where.
    pub place: Place,
    /// What, in Cedar's words or ours.
    pub message: String,
    /// Whether it is odd, and can be used regardless.
    pub is_warning: bool,
}

/// An entity that a policy names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mention {
    /// Its type, such as `Tool`.
    pub kind: String,
    /// Its identifier, such as `mail/send`.
    pub id: String,
    /// Where.
    pub place: Place,
}

/// An annotation of a policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Annotation {
    /// Its name, such as `id`.
    pub name: String,
    /// Where.
    pub place: Place,
}

/// Policies that were read.
#[derive(Clone, Debug)]
pub struct Draft {
    files: Vec<PolicyFile>,
    policies: Vec<DraftPolicy>,
}

/// A policy that was read.
#[derive(Clone, Debug)]
pub struct DraftPolicy {
    pub(super) policy: Policy,
    pub(super) name: RuleName,
    /// Whether the person has to agree to what it allows (`@confirm`).
    pub(super) confirm: Confirm,
    /// Where it is.
    file: usize,
    offset: usize,
    place: Place,
}

impl Draft {
    /// Reads files. What cannot be read is reported; the rest is in the draft.
    pub fn read(files: Vec<PolicyFile>) -> (Self, Vec<PolicyFault>) {
        let (mut policies, mut faults) = (Vec::new(), Vec::new());
        for (file, PolicyFile { name, text }) in files.iter().enumerate() {
            for span in source::policies(text) {
                let (offset, place) = (span.start, Place::of(file, text, span.clone()));
                match Policy::parse(None, &text[span.clone()]) {
                    Ok(policy) => {
                        let written = policy.annotation("id").filter(|id| !id.is_empty()).map(str::to_owned);
                        let name =
                            RuleName::new(written.unwrap_or_else(|| default_name(name, place, &policies)));
                        let confirm = confirm(&policy).unwrap_or_else(|message| {
                            let annotations = source::annotations(&text[span.clone()]);
                            let own = annotations.into_iter().find(|(name, _)| name == CONFIRM);
                            let place = own.map_or(place, |(_, own)| {
                                Place::of(file, text, offset + own.start..offset + own.end)
                            });
                            faults.push(PolicyFault { place, message, is_warning: false });
                            Confirm::No
                        });
                        policies.push(DraftPolicy { policy, name, confirm, file, offset, place });
                    }
                    Err(errors) => faults.extend(errors.iter().map(|error| PolicyFault {
                        place: place_of(error, file, text, offset).unwrap_or(place),
                        message: message_of(error),
                        is_warning: false,
                    })),
                }
            }
        }
        (Self { files, policies }, faults)
    }

    /// The policies, in order.
    pub fn policies(&self) -> &[DraftPolicy] {
        &self.policies
    }

    /// Every annotation of a policy.
    pub fn annotations(&self) -> Vec<Annotation> {
        self.policies.iter().flat_map(|policy| self.annotations_in(policy)).collect()
    }

    fn annotations_in(&self, policy: &DraftPolicy) -> Vec<Annotation> {
        let text = &self.files[policy.file].text;
        let written = source::annotations(self.text_of(policy));
        // What Cedar read is what counts; the text only tells where it is.
        let mut annotations: Vec<Annotation> = policy
            .policy
            .annotations()
            .map(|(name, _)| {
                let span = written.iter().find(|(other, _)| other == name).map(|(_, span)| span);
                let place = span.map_or(policy.place, |span| {
                    Place::of(policy.file, text, policy.offset + span.start..policy.offset + span.end)
                });
                Annotation { name: name.to_owned(), place }
            })
            .collect();
        annotations.sort_by_key(|annotation| annotation.place);
        annotations
    }

    /// Every entity that a policy names, but for actions.
    pub fn mentions(&self) -> Vec<Mention> {
        self.policies.iter().flat_map(|policy| self.mentions_in(policy)).collect()
    }

    fn mentions_in(&self, policy: &DraftPolicy) -> Vec<Mention> {
        let text = &self.files[policy.file].text;
        let written = source::entities(self.text_of(policy));
        // What Cedar read is what counts; the text only tells where it is.
        let named: HashSet<EntityUid> = policy.policy.entity_literals().into_iter().collect();
        let mut mentions = Vec::new();
        for uid in named {
            let (kind, id) = (uid.type_name().to_string(), uid.id().unescaped().to_owned());
            let places = written.iter().filter(|(a, b, _)| (a.as_str(), b.as_str()) == (&kind, &id));
            let mut places: Vec<Place> = places
                .map(|(_, _, span)| {
                    Place::of(policy.file, text, policy.offset + span.start..policy.offset + span.end)
                })
                .collect();
            if places.is_empty() {
                places.push(policy.place);
            }
            mentions.extend(places.into_iter().map(|place| Mention {
                kind: kind.clone(),
                id: id.clone(),
                place,
            }));
        }
        mentions.sort_by_key(|mention| mention.place);
        mentions
    }

    /// A policy as it is written.
    fn text_of(&self, policy: &DraftPolicy) -> &str {
        let rest = &self.files[policy.file].text[policy.offset..];
        let end = source::policies(rest).first().map_or(0, |span| span.end);
        &rest[..end]
    }

    /// Validates the policies against the schema of what they can speak of, and makes them ready for decisions. Oddities
    /// come beside it.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn compile(
        &self,
        vocabulary: &Vocabulary,
    ) -> Result<(CedarPolicies, Vec<PolicyFault>), Vec<PolicyFault>> {
        let top = Place { file: 0, line: 1, column: 1, length: 1 };
        let defect = |what: &dyn std::fmt::Display| {
            let message =
                format!("cannot be used, which is a defect of the gateway: please report this ({what})");
            vec![PolicyFault { place: top, message, is_warning: false }]
        };
        let (schema, _) =
            Schema::from_cedarschema_str(&vocabulary.schema()).map_err(|error| defect(&error))?;
        let named = self.policies.iter().map(|policy| policy.named());
        let set = PolicySet::from_policies(named).map_err(|error| defect(&error))?;
        let result = Validator::new(schema).validate(&set, ValidationMode::Strict);
        let errors = result.validation_errors().map(|error| self.fault(error, error.policy_id()));
        let mut faults = once_for_all_actions(errors.collect());
        let faulty: HashSet<&PolicyId> = result.validation_errors().map(|error| error.policy_id()).collect();
        let warnings: Vec<&ValidationWarning> = result.validation_warnings().collect();
        for warning in &warnings {
            let policy = warning.policy_id();
            // That a policy with an error applies to nothing follows from the error.
            match warning {
                ValidationWarning::InvalidActionApplication(_) | ValidationWarning::ImpossiblePolicy(_)
                    if faulty.contains(policy) => {}
                ValidationWarning::InvalidActionApplication(_) => faults.push(PolicyFault {
                    message: NEVER_APPLICABLE.to_owned(),
                    ..self.fault(*warning, policy)
                }),
                ValidationWarning::ImpossiblePolicy(_) => {
                    let is_told = |other: &&ValidationWarning| {
                        matches!(other, ValidationWarning::InvalidActionApplication(_))
                            && other.policy_id() == policy
                    };
                    if !warnings.iter().any(is_told) {
                        let message = NEVER_TRUE.to_owned();
                        faults.push(PolicyFault { message, ..self.fault(*warning, policy) });
                    }
                }
                _ => faults.push(PolicyFault { is_warning: true, ..self.fault(*warning, policy) }),
            }
        }
        faults.sort_by(|a, b| (a.place, &a.message).cmp(&(b.place, &b.message)));
        faults.dedup();
        if faults.iter().any(|fault| !fault.is_warning) {
            return Err(faults);
        }
        let policies = CedarPolicies::new(&self.policies, vocabulary).map_err(|error| defect(&error))?;
        Ok((policies, faults))
    }

    fn fault(&self, error: &dyn Diagnostic, policy: &PolicyId) -> PolicyFault {
        let policy =
            self.policies.iter().find(|written| written.name.as_str() == AsRef::<str>::as_ref(policy));
        let place = policy.and_then(|policy| {
            let text = &self.files[policy.file].text;
            place_of(error, policy.file, text, policy.offset).or(Some(policy.place))
        });
        let top = Place { file: 0, line: 1, column: 1, length: 1 };
        PolicyFault { place: place.unwrap_or(top), message: message_of(error), is_warning: false }
    }
}

impl DraftPolicy {
    /// What it is called: its `@id`, or else its file and line.
    pub fn name(&self) -> &RuleName {
        &self.name
    }

    /// Where it begins.
    pub fn place(&self) -> Place {
        self.place
    }

    /// The policy under its own name.
    pub(super) fn named(&self) -> Policy {
        self.policy.new_id(PolicyId::new(self.name.as_str()))
    }
}

/// The annotation by which the person has to agree to what a policy allows.
const CONFIRM: &str = "confirm";

/// Whether the person has to agree to what a policy allows.
fn confirm(policy: &Policy) -> Result<Confirm, String> {
    match (policy.annotation(CONFIRM), policy.effect()) {
        (None, _) => Ok(Confirm::No),
        (Some("true"), Effect::Permit) => Ok(Confirm::Anywhere),
        (Some("page"), Effect::Permit) => Ok(Confirm::OnPage),
        (Some(found), Effect::Permit) => Err(format!(
            "must be `@confirm(\"true\")` or `@confirm(\"page\")`; without either nobody is asked (found {found:?})"
        )),
        (Some(_), Effect::Forbid) => Err(
            "is on a `forbid`, and `@confirm` is for a `permit`: what is forbidden does not run, whoever agrees; leave it out"
                .to_owned(),
        ),
    }
}

/// A policy that never applies allows nothing, or forbids nothing, which nobody can have meant.
const NEVER_APPLICABLE: &str = "can never apply: there is no call with such an action on such a resource; `call` is for tools, `get` for prompts, \
     `read` for resources";
const NEVER_TRUE: &str = "can never apply: what it says is false for every call";

/// Cedar tells an error of a policy anew for each action that the policy is about.
fn once_for_all_actions(faults: Vec<PolicyFault>) -> Vec<PolicyFault> {
    const FOR: &str = " for Action::\"";
    let mut merged: Vec<(PolicyFault, usize)> = Vec::new();
    let without_action = |message: &str| {
        let (before, rest) = message.split_once(FOR)?;
        let (_, after) = rest.split_once('"')?;
        Some(format!("{before}{after}"))
    };
    for fault in &faults {
        let Some(message) = without_action(&fault.message) else {
            merged.push((fault.clone(), Kind::ALL.len()));
            continue;
        };
        let same =
            |(other, _): &&mut (PolicyFault, usize)| other.place == fault.place && other.message == message;
        match merged.iter_mut().find(same) {
            Some((_, count)) => *count += 1,
            None => merged.push((PolicyFault { message, ..fault.clone() }, 1)),
        }
    }
    let everywhere = |fault: &PolicyFault| {
        merged.iter().any(|(other, count)| {
            *count >= Kind::ALL.len()
                && other.place == fault.place
                && without_action(&fault.message).is_some_and(|message| message == other.message)
        })
    };
    let here_and_there =
        faults.iter().filter(|fault| without_action(&fault.message).is_some() && !everywhere(fault));
    let everywhere = merged.iter().filter(|(_, count)| *count >= Kind::ALL.len()).map(|(fault, _)| fault);
    everywhere.chain(here_and_there).cloned().collect()
}

/// What a policy without a name is called: its place.
fn default_name(file: &str, place: Place, earlier: &[DraftPolicy]) -> String {
    let beside_another =
        |other: &DraftPolicy| (other.place.file, other.place.line) == (place.file, place.line);
    match earlier.last().is_some_and(beside_another) {
        true => format!("{file}:{}:{}", place.line, place.column),
        false => format!("{file}:{}", place.line),
    }
}

/// Where an error of a policy that begins at `offset` points to.
fn place_of(error: &dyn Diagnostic, file: usize, text: &str, offset: usize) -> Option<Place> {
    let label = error.labels()?.next()?;
    let start = offset + label.offset();
    Some(Place::of(file, text, start..start + label.len()))
}

/// What an error says, on one line. Cedar names the policy as well, which the place does already.
fn message_of(error: &dyn Diagnostic) -> String {
    const FOR: &str = "for policy `";
    let help = error.help().map(|help| format!("; {help}")).unwrap_or_default();
    let mut message = format!("{error}{help}").replace('\n', " ");
    while let Some(at) = message.find(FOR) {
        let Some(end) = message[at..].find("`, ") else { break };
        message.replace_range(at..at + end + "`, ".len(), "");
    }
    message
}
