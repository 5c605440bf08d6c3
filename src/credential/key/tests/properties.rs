//! Over key fields of any kind: two that differ never share a key, and two that are the same always do.
//!
//! The fields are made of texts that people have confused before: separators and the marks the digest itself uses,
//! letters that look or sort alike, forms that Unicode normalisation would make one, and nothing at all.

use std::collections::{BTreeSet, HashSet};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::*;
use crate::identity::Audience;
use crate::tool::{Resource, ResourceAuthorizationServerName};

/// Pieces of texts. Each list holds pieces that some comparison, somewhere, takes for one another.
const ALIKE: &[&[&str]] = &[
    &["", "\0", "\u{200b}", "\u{feff}", "\u{ad}"],
    &["a", "A", "а", "ａ", "ª"],
    &["é", "e\u{301}", "e", "É"],
    &["k", "K", "\u{212a}"],
    &["ss", "ß", "ẞ", "SS"],
    &["i", "I", "ı", "İ"],
    &["fi", "ﬁ"],
    &["1", "１", "¹", "l"],
    &["/", "%2f", "//", "/."],
    &["|", ":", ",", ";", "\n", "\u{1f}", "\t"],
    &["-", "\u{2010}", "\u{2212}"],
    &["absent", "present", "identity", "session", "token", "delegated-token/3"],
    &["\0\0\0\0\0\0\0\u{1}", "\0\0\0\0\0\0\0\u{1}a", "\u{1}"],
];

/// The fields that are one text, in the order of the digest, where lists stand between some of them.
const TEXTS: usize = 10;

/// Key fields as plain values, which know nothing of digests.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Plain {
    /// Issuer, tenant, subject, actor, `acr`, session, connector, audience, resource, authorization
    /// server. `None` only where that may be.
    texts: [Option<String>; TEXTS],
    acrs: BTreeSet<String>,
    amr: BTreeSet<String>,
    subject_scopes: BTreeSet<String>,
    scopes: BTreeSet<String>,
    /// 0: to nothing; 1: to the session; 2: to the token, which is `bytes[0]`.
    bound: u8,
    /// The token's digest, and the fingerprint of the settings.
    bytes: [u8; 2],
}

/// Which of the texts may be missing.
const OPTIONAL: [bool; TEXTS] = [false, true, false, false, true, false, false, true, true, true];

impl Plain {
    /// The fields that it stands for. Scopes are given in the order of `descending`: it must not matter.
    fn fields(&self, descending: bool) -> KeyFields {
        let text = |place: usize| self.texts[place].clone();
        let must = |place: usize| text(place).unwrap_or_default();
        let list = |set: &BTreeSet<String>| set.iter().map(|text| Arc::from(text.as_str())).collect();
        let scopes = |set: &BTreeSet<String>| match descending {
            false => Scopes::new(set.iter().map(String::as_str)),
            true => Scopes::new(set.iter().chain(set.first()).rev().map(String::as_str)),
        };
        KeyFields {
            issuer: Issuer::new(must(0)),
            tenant: text(1).map_or(Tenant::Sole, |id| Tenant::Named(id.into())),
            subject: Subject::new(must(2)),
            actor: Actor::new(must(3)),
            authentication: Arc::new(Authentication {
                acr: text(4).map(Into::into),
                acrs: list(&self.acrs),
                amr: list(&self.amr),
            }),
            subject_scopes: scopes(&self.subject_scopes),
            binding: match self.bound {
                0 => Binding::Identity,
                1 => Binding::Session(must(5).into()),
                _ => Binding::Token([self.bytes[0]; 32]),
            },
            connector: ConnectorName::new(must(6)),
            target: Target {
                audience: text(7).map(Audience::new),
                resource: text(8).map(Resource::new),
                authorization_server: text(9).map(ResourceAuthorizationServerName::new),
                scopes: scopes(&self.scopes),
            },
            exchange: [self.bytes[1]; 32],
        }
    }

    /// The same, but what does not count: the session and the token where nothing is bound to them.
    fn what_counts(mut self) -> Self {
        if self.bound != 1 {
            self.texts[5] = None;
        }
        if self.bound != 2 {
            self.bytes[0] = 0;
        }
        self
    }

    fn sets(&mut self) -> [&mut BTreeSet<String>; 4] {
        [&mut self.acrs, &mut self.amr, &mut self.subject_scopes, &mut self.scopes]
    }
}

/// A way to come from one identity to another that some key would take for the same.
#[derive(Clone, Debug)]
enum Step {
    /// Another text altogether.
    Replace(Index, String),
    /// A piece becomes one that is like it.
    Resemble(Index, Index, Index),
    /// Upper case, lower case.
    Case(Index, bool),
    /// Two fields exchange their values.
    Swap(Index, Index),
    /// The end of a text moves to the beginning of the next one.
    Shift(Index, Index),
    /// A text is there or not.
    Absent(Index),
    /// A member moves from one list to another.
    Move(Index, Index),
    /// Two members of a list become one, with or without something between them.
    Join(Index, &'static str),
    /// A list has a member more.
    Add(Index, String),
    /// It is bound to something else.
    Bind(u8),
    /// Other bytes.
    Byte(Index, u8),
}

impl Step {
    fn apply(&self, plain: &mut Plain) {
        match self {
            Self::Replace(place, text) => plain.texts[place.index(TEXTS)] = Some(text.clone()),
            Self::Resemble(place, from, to) => {
                let Some(text) = &mut plain.texts[place.index(TEXTS)] else { return };
                let alike =
                    ALIKE.iter().find(|alike| alike.iter().any(|one| !one.is_empty() && text.contains(one)));
                let Some(alike) = alike else { return };
                let present: Vec<_> =
                    alike.iter().filter(|one| !one.is_empty() && text.contains(**one)).collect();
                *text = text.replacen(present[from.index(present.len())], alike[to.index(alike.len())], 1);
            }
            Self::Case(place, up) => {
                let Some(text) = &mut plain.texts[place.index(TEXTS)] else { return };
                *text = if *up { text.to_uppercase() } else { text.to_lowercase() };
            }
            Self::Swap(one, other) => plain.texts.swap(one.index(TEXTS), other.index(TEXTS)),
            Self::Shift(place, at) => {
                let place = place.index(TEXTS - 1);
                let Some(text) = plain.texts[place].take() else { return };
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
                let (stays, goes) = text.split_at(places[at.index(places.len())]);
                let next = plain.texts[place + 1].take().unwrap_or_default();
                plain.texts[place] = Some(stays.to_owned());
                plain.texts[place + 1] = Some(format!("{goes}{next}"));
            }
            Self::Absent(place) => {
                let text = &mut plain.texts[place.index(TEXTS)];
                *text = if text.is_some() { None } else { Some(String::new()) };
            }
            Self::Move(from, to) => {
                let [from, to] = [from.index(4), to.index(4)];
                let Some(member) = plain.sets()[from].pop_first() else { return };
                plain.sets()[to].insert(member);
            }
            Self::Join(place, between) => {
                let mut sets = plain.sets();
                let set = &mut sets[place.index(4)];
                if let (Some(one), Some(other)) = (set.pop_first(), set.pop_first()) {
                    set.insert(format!("{one}{between}{other}"));
                }
            }
            Self::Add(place, member) => _ = plain.sets()[place.index(4)].insert(member.clone()),
            Self::Bind(bound) => plain.bound = *bound,
            Self::Byte(place, byte) => plain.bytes[place.index(2)] = *byte,
        }
        // What may not be missing is empty at most.
        for (text, optional) in plain.texts.iter_mut().zip(OPTIONAL) {
            if !optional {
                text.get_or_insert_default();
            }
        }
        // No scope is empty: whoever reads them leaves such out.
        plain.subject_scopes.remove("");
        plain.scopes.remove("");
    }
}

fn text() -> impl Strategy<Value = String> {
    vec(select(ALIKE.concat()), 0..4).prop_map(|pieces| pieces.concat())
}

fn set() -> impl Strategy<Value = BTreeSet<String>> {
    vec(text().prop_filter("scopes are not empty", |text| !text.is_empty()), 0..4)
        .prop_map(|texts| texts.into_iter().collect())
}

fn plain() -> impl Strategy<Value = Plain> {
    let texts = vec(proptest::option::weighted(0.8, text()), TEXTS);
    (texts, set(), set(), set(), set(), 0..3_u8, [0..3_u8, 0..3_u8]).prop_map(
        |(texts, acrs, amr, subject_scopes, scopes, bound, bytes)| {
            let texts = texts.try_into().expect("as many texts as there are places");
            let mut plain = Plain { texts, acrs, amr, subject_scopes, scopes, bound, bytes };
            Step::Bind(bound).apply(&mut plain);
            plain
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    let place = any::<Index>;
    prop_oneof![
        (place(), text()).prop_map(|(place, text)| Step::Replace(place, text)),
        (place(), place(), place()).prop_map(|(place, from, to)| Step::Resemble(place, from, to)),
        (place(), any::<bool>()).prop_map(|(place, up)| Step::Case(place, up)),
        (place(), place()).prop_map(|(one, other)| Step::Swap(one, other)),
        (place(), place()).prop_map(|(place, at)| Step::Shift(place, at)),
        place().prop_map(Step::Absent),
        (place(), place()).prop_map(|(from, to)| Step::Move(from, to)),
        (place(), select(&["", ",", "\0", "|"][..])).prop_map(|(place, between)| Step::Join(place, between)),
        (place(), text()).prop_map(|(place, text)| Step::Add(place, text)),
        (0..3_u8).prop_map(Step::Bind),
        (place(), 0..3_u8).prop_map(|(place, byte)| Step::Byte(place, byte)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn identities_share_a_key_when_they_are_the_same_and_only_then(
        one in plain(),
        steps in vec(step(), 0..4),
    ) {
        let mut other = one.clone();
        steps.iter().for_each(|step| step.apply(&mut other));
        let (first, second) = (one.fields(false), other.fields(true));
        let same = one.what_counts() == other.what_counts();
        prop_assert_eq!(first.key() == second.key(), same, "{:?}", steps);
        prop_assert_eq!(first == second, same, "{:?}", steps);
    }

    #[test]
    fn a_key_with_something_more_is_that_of_nothing_else(
        fields in plain(),
        texts in (text(), text()),
    ) {
        let key = fields.fields(false).key();
        let with = |text: &str| key.with(text.as_bytes());
        prop_assert_eq!(with(&texts.0) == with(&texts.1), texts.0 == texts.1);
        prop_assert!(with(&texts.0) != key);
    }
}

/// Which field a step changes is left to chance above; here each changes alone.
#[test]
fn each_field_counts_by_itself() {
    let ones = || BTreeSet::from(["c1".to_owned()]);
    let begin = Plain {
        texts: std::array::from_fn(|_| Some("é".to_owned())),
        acrs: ones(),
        amr: ones(),
        subject_scopes: ones(),
        scopes: ones(),
        bound: 1,
        bytes: [0, 1],
    };
    let key = begin.fields(false).key();
    let check = |changed: &Plain| assert_ne!(changed.fields(false).key(), key, "{changed:?}");
    for place in 0..TEXTS {
        for text in ["", "e", "E\u{301}", "e\u{301}", "É", "é ", " é", "éé", "é\0", "\u{feff}é"] {
            let mut changed = begin.clone();
            changed.texts[place] = Some(text.to_owned());
            check(&changed);
        }
    }
    for place in 0..4 {
        for member in ["", "C1", "c1 ", "c", "ｃ1"] {
            let mut changed = begin.clone();
            changed.sets()[place].insert(member.to_owned());
            // An empty scope is none.
            if place < 2 || !member.is_empty() {
                check(&changed);
            }
        }
        let mut changed = begin.clone();
        changed.sets()[place].clear();
        check(&changed);
    }
    for (bound, byte) in [(0, 1), (2, 1), (1, 2)] {
        check(&Plain { bound, bytes: [0, byte], ..begin.clone() });
    }
    // A session is nobody's token, and not what stands there when there is nothing.
    let mut session = begin.clone();
    session.texts[5] = Some("identity".to_owned());
    let bound = |bound, token| Plain { bound, bytes: [token, 1], ..session.clone() }.fields(false).key();
    let keys = [bound(0, 1), bound(1, 1), bound(2, 1), bound(2, 2)];
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
}
