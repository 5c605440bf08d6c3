//! What the tokens of many people have in common, which is kept once for all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use zeroize::Zeroizing;

use super::compact::json_of;
use super::phrases::Phrases;
use crate::credential::key::{Binding, CacheKey, KeyFields};
use crate::identity::{Authentication, Person, Scopes, Subject};

/// From how many kinds on those that nobody has a token of any more are looked for.
const KINDS_LOOKED_THROUGH_FROM: usize = 1_024;

/// What a kind takes beside its texts, and what each of those takes beside its characters.
const KIND_BYTES: usize = 1_024;
const TEXT_BYTES: usize = 64;
/// Longest JSON that phrases are learnt from. They are kept as long as anybody has a token of the kind.
const LEARNT_BYTES_MAX: usize = 16_384;
/// What is learnt from the first tokens of a kind takes so many times the length of one: the first, or pieces of two, each twice.
const LEARNT_TIMES: usize = 3;

/// A kind of tokens: those that were obtained alike, whoever they are for.
pub struct Kind {
    /// With nobody as the subject, and bound to nothing.
    fields: KeyFields,
    phrases: OnceLock<Phrases>,
    /// What phrases will be learnt from, once there is a token of another person.
    first: Mutex<Option<First>>,
    /// The scopes that were granted last: mostly everybody is granted the same.
    granted: Mutex<Option<Arc<Scopes>>>,
}

/// The first token of a kind: the JSON of it, and whose it is.
struct First {
    subject: Box<str>,
    json: Zeroizing<Vec<u8>>,
}

/// The fields of a key, in little room.
pub struct CompactFields {
    kind: Arc<Kind>,
    subject: Box<str>,
    /// `None`: the identity alone.
    binding: Option<Box<Binding>>,
}

/// The kinds that there are tokens of.
#[derive(Default)]
pub struct Kinds(Mutex<Known>);

#[derive(Default)]
struct Known {
    kinds: HashMap<CacheKey, Weak<Kind>>,
    looked_through_at: usize,
}

/// One's part of the room that something takes which several have. Whoever comes first is counted for all of it, the next for half.
pub fn part_of<T>(shared: &Arc<T>, bytes: usize) -> usize {
    bytes / Arc::strong_count(shared).max(1)
}

/// How much room scopes take: each stands in them twice.
pub fn scopes_bytes(scopes: &Scopes) -> usize {
    scopes.iter().map(|scope| TEXT_BYTES + 2 * scope.len()).sum()
}

impl Kinds {
    /// These fields, in little room.
    pub fn compact(&self, fields: &KeyFields) -> CompactFields {
        let (subject, binding) = (fields.subject.as_str().into(), fields.binding.clone());
        let common = KeyFields { subject: Subject::new(""), binding: Binding::Identity, ..fields.clone() };
        let binding = (binding != Binding::Identity).then(|| Box::new(binding));
        CompactFields { kind: self.kind(common), subject, binding }
    }

    /// Drops what was seen of one person alone.
    pub fn forget(&self) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = known.kinds.values().filter_map(Weak::upgrade);
        kinds.for_each(|kind| *kind.first.lock().unwrap_or_else(PoisonError::into_inner) = None);
    }

    fn kind(&self, fields: KeyFields) -> Arc<Kind> {
        let key = fields.key();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = known.kinds.get(&key).and_then(Weak::upgrade)
            && kind.fields == fields
        {
            return kind;
        }
        if known.kinds.len() >= known.looked_through_at.max(KINDS_LOOKED_THROUGH_FROM) {
            known.kinds.retain(|_, kind| kind.strong_count() > 0);
            known.looked_through_at = 2 * known.kinds.len();
        }
        let kind = Arc::new(Kind {
            fields,
            phrases: OnceLock::new(),
            first: Mutex::default(),
            granted: Mutex::default(),
        });
        known.kinds.insert(key, Arc::downgrade(&kind));
        kind
    }
}

impl Kind {
    /// What its tokens have in common, as far as it is known.
    pub fn phrases(&self) -> Option<&Phrases> {
        self.phrases.get()
    }

    /// The same, when it may be learnt from this token as well.
    pub fn phrases_with(&self, subject: &str, token: &[u8]) -> Option<&Phrases> {
        if let Some(phrases) = self.phrases.get() {
            return Some(phrases);
        }
        let json = json_of(token).filter(|json| json.len() <= LEARNT_BYTES_MAX)?;
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match &*first {
            Some(other) if *other.subject != *subject => {
                let phrases = self.phrases.get_or_init(|| Phrases::common_to(&other.json, &json));
                *first = None;
                Some(phrases)
            }
            Some(_) => None,
            None => {
                *first = Some(First { subject: subject.into(), json });
                None
            }
        }
    }

    /// How much room it takes, where its tokens are so long.
    fn byte_count(&self, token_bytes: usize) -> usize {
        let KeyFields { authentication, subject_scopes, .. } = &self.fields;
        let Authentication { acr, acrs, amr } = &**authentication;
        let texts = acr.iter().chain(acrs).chain(amr).map(|text| TEXT_BYTES + text.len());
        let learnt = LEARNT_TIMES * token_bytes.min(LEARNT_BYTES_MAX);
        KIND_BYTES + texts.sum::<usize>() + scopes_bytes(subject_scopes) + learnt
    }

    /// These scopes, in the room that the same ones take already.
    pub fn granted(&self, scopes: Option<Scopes>) -> Option<Arc<Scopes>> {
        let mut last = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_deref() != scopes.as_ref() {
            *last = scopes.map(Arc::new);
        }
        last.clone()
    }
}

impl CompactFields {
    /// Whether they are these.
    pub fn are(&self, fields: &KeyFields) -> bool {
        let KeyFields { subject, binding, .. } = fields;
        *self.subject == *subject.as_str()
            && self.binding.as_deref().unwrap_or(&Binding::Identity) == binding
            && self.kind.fields.is_same_kind(fields)
    }

    /// Whether they are those of `person`.
    pub fn are_of(&self, person: &Person) -> bool {
        let KeyFields { issuer, tenant, .. } = &self.kind.fields;
        person.has(issuer, tenant, &self.subject)
    }

    /// How much room they take, where tokens are so long: with their part of what they have in common with others now.
    pub fn byte_count(&self, token_bytes: usize) -> usize {
        let binding = match self.binding.as_deref() {
            Some(Binding::Session(session)) => session.len(),
            Some(Binding::Token(_) | Binding::Identity) | None => 0,
        };
        self.subject.len() + binding + part_of(&self.kind, self.kind.byte_count(token_bytes))
    }

    /// What they have in common with others.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The person.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}
