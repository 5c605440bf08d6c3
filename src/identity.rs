//! The words for who is asking: peers, subjects, actors, callers, and the secrets they carry.
//!
//! Each word is a type of its own, so that two kinds of text cannot be swapped. Whoever makes one has checked it, once,
//! at the edge; from then on a `String` is only ever text for people.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use zeroize::Zeroize;

use crate::digest::{FieldDigest, sha256};
use crate::memo::Memo;

/// Declares a word that is text with a meaning of its own, so that two kinds of text cannot be swapped.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<std::sync::Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The text, exactly as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", &self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use word;

word! {
    /// The `iss` value of an authorization server. Compared byte for byte, never normalised (RFC 8414 section 3.3).
    Issuer
}
word! {
    /// The name the configuration gives to an issuer: `contoso` in `issuers.contoso`. Safe as a metric label.
    IssuerName
}
word! {
    /// Who a token is meant for: one value of `aud` (RFC 7519 section 4.1.3).
    Audience
}
word! {
    /// The stable identifier of a person at an issuer: Entra's `oid`, elsewhere `sub`. Never a name or an e-mail.
    Subject
}
word! {
    /// The agent's own identity as the issuer vouches for it: `azp`, `appid`, `client_id` or `cid`.
    Actor
}

word! {
    /// What a rule of policy is called in records: its name in the configuration, or its place (`allow[0]`).
    RuleName
}

/// Which part of an issuer a person belongs to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Tenant {
    /// The issuer serves several tenants and names this one (Entra's `tid`).
    Named(Arc<str>),
    /// The issuer is its own only tenant.
    Sole,
}

impl Tenant {
    /// The tenant's identifier, where it has one.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Named(id) => Some(id),
            Self::Sole => None,
        }
    }
}

/// Which person: the three parts without which an identifier is nobody's. What people are called is no part of it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PersonId {
    /// Who vouches for the person: the issuer as it is configured, also where its tokens have another `iss`.
    pub issuer: Issuer,
    /// The person's tenant there.
    pub tenant: Tenant,
    /// The person.
    pub subject: Subject,
}

impl PersonId {
    /// Where the subject's identifier means something: the tenant, or where there is none, the issuer.
    pub fn realm(&self) -> &str {
        self.tenant.id().unwrap_or(self.issuer.as_str())
    }

    /// Whether it is `person`.
    pub fn is(&self, person: &Person) -> bool {
        person.is(&self.issuer, &self.tenant, &self.subject)
    }
}

/// A person, as an operator names them to have everything forgotten that is held for them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Person {
    /// Where the identifier means something.
    pub realm: Realm,
    /// The identifier: Entra's `oid`, elsewhere `sub`.
    pub subject: Subject,
}

/// Where a person's identifier means something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Realm {
    /// At any of these issuers.
    Issuers(Arc<[Issuer]>),
    /// In this tenant, whichever issuer speaks for it.
    Tenant(Arc<str>),
}

impl Person {
    /// Whether this is the person `subject` of `tenant` at `issuer`.
    pub fn is(&self, issuer: &Issuer, tenant: &Tenant, subject: &Subject) -> bool {
        self.has(issuer, tenant, subject.as_str())
    }

    /// The same, of a subject that is kept as text.
    pub fn has(&self, issuer: &Issuer, tenant: &Tenant, subject: &str) -> bool {
        let at_home = match &self.realm {
            Realm::Issuers(issuers) => issuers.contains(issuer),
            Realm::Tenant(id) => tenant.id() == Some(id),
        };
        at_home && self.subject.as_str() == subject
    }
}

/// A set of scopes (RFC 6749 section 3.3): sorted, without doubles.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Scopes {
    scopes: Arc<[Arc<str>]>,
    canonical: Arc<str>,
}

impl Scopes {
    /// The set of the scopes given, in whatever order and however often.
    pub fn new<T: Into<Arc<str>>>(scopes: impl IntoIterator<Item = T>) -> Self {
        let mut scopes: Vec<Arc<str>> = scopes.into_iter().map(Into::into).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self { canonical: scopes.join(" ").into(), scopes: scopes.into() }
    }

    /// Reads a space-separated list, the form that `scope` and `scp` take.
    pub fn parse(list: &str) -> Self {
        Self::new(list.split(' ').filter(|scope| !scope.is_empty()))
    }

    /// The one way to write this set: sorted, separated by one space.
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Whether `scope` is in it, compared exactly.
    pub fn contains(&self, scope: &str) -> bool {
        self.scopes.binary_search_by(|held| held.as_ref().cmp(scope)).is_ok()
    }

    /// Whether all of `others` are in it.
    pub fn contains_all(&self, others: &Self) -> bool {
        others.iter().all(|scope| self.contains(scope))
    }

    /// The scopes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(AsRef::as_ref)
    }

    /// What of this set `held` lacks.
    pub fn missing_from(&self, held: &Self) -> Self {
        Self::new(self.scopes.iter().filter(|scope| !held.contains(scope)).cloned())
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.canonical)
    }
}

/// A credential's text. It cannot be shown by accident: no `Display`, no `Serialize`, and wiped when dropped.
#[derive(Clone)]
pub struct SecretToken(Arc<Wiped>);

struct Wiped {
    text: String,
    /// Computed once, by whoever asks first.
    digest: OnceLock<[u8; 32]>,
}

impl Drop for Wiped {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

impl SecretToken {
    /// Takes charge of a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Arc::new(Wiped { text: secret.into(), digest: OnceLock::new() }))
    }

    /// How many bytes it has.
    pub fn byte_count(&self) -> usize {
        self.0.text.len()
    }

    /// Tells it from others without showing it: its SHA-256.
    pub fn digest(&self) -> [u8; 32] {
        *self.0.digest.get_or_init(|| sha256(self.0.text.as_bytes()))
    }

    /// Whether it is `other`. Every byte is looked at: how long it takes does not tell where they differ.
    pub fn is(&self, other: &[u8]) -> bool {
        let own = self.0.text.as_bytes();
        let difference = own.iter().zip(other).fold(0, |difference, (own, other)| difference | (own ^ other));
        own.len() == other.len() && std::hint::black_box(difference) == 0
    }

    /// Whether `bytes` hold the secret.
    pub fn is_within(&self, bytes: &[u8]) -> bool {
        let secret = self.0.text.as_bytes();
        !secret.is_empty()
            && bytes.len() >= secret.len()
            && bytes.windows(secret.len()).any(|window| window == secret)
    }

    /// The secret itself. The one way out, and loud: search for `expose` to see who looks.
    pub fn expose(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Debug for SecretToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// The other end of an inbound connection.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The SHA-256 of the certificate that it was made with, where the other end showed one and proved to hold its key.
    pub certificate: Option<[u8; 32]>,
}

/// A subject and the actor that acts for it, both vouched for by an issuer.
///
/// There is one way to make one: the verifier, after every check has passed.
pub struct Caller {
    verified: VerifiedClaims,
    token: SecretToken,
    actor_token: Option<SecretToken>,
    /// What records say of this caller.
    memo: Memo,
    /// What of the caller shapes delegated tokens, digested by whoever asks first.
    identity_digest: OnceLock<[u8; 32]>,
}

/// What the verifier read from a token, once the signature and every claim had been checked.
#[derive(Clone, Debug)]
pub struct VerifiedClaims {
    /// The configuration's name for the issuer.
    pub issuer_name: IssuerName,
    /// The token's `iss`.
    pub issuer: Issuer,
    /// The person's tenant.
    pub tenant: Tenant,
    /// The person.
    pub subject: Subject,
    /// The agent, where the token names one.
    pub actor: Option<Actor>,
    /// Another agent that may act for the person (`may_act`, RFC 8693 section 4.4), where the token names one.
    pub may_act: Option<Actor>,
    /// What the token is bound to, so that it is worth nothing to anybody else (`cnf`).
    pub confirmation: Option<Confirmation>,
    /// Delegated scopes of the subject token (`scp` or `scope`).
    pub scopes: Scopes,
    /// The person's groups (`groups`).
    pub groups: Vec<Arc<str>>,
    /// The person's roles (`roles`).
    pub roles: Vec<Arc<str>>,
    /// The token's own identifier (`jti`, or Entra's `uti`): for records, never the token.
    pub token_id: Option<Arc<str>>,
    /// The sign-in session (`sid`), for records.
    pub session: Option<Arc<str>>,
    /// What the person is called (`name`), for records, where the configuration wants that. It identifies nobody.
    pub display_name: Option<Arc<str>>,
    /// How the person signed in.
    pub authentication: Arc<Authentication>,
    /// When the person signed in (`auth_time`), in seconds since 1970 UTC, where the token says it.
    pub authenticated_at: Option<u64>,
    /// `iat`, in seconds since 1970 UTC, where the token says it.
    pub issued_at: Option<u64>,
    /// `exp`, in seconds since 1970 UTC.
    pub expires_at: u64,
    /// Whether the client said that it can act on claims challenges (`xms_cc` holds `cp1`).
    pub handles_claims_challenges: bool,
    /// Whether there is no person: an agent that speaks for itself, and is the subject as well.
    pub is_agent_alone: bool,
}

/// What a token is bound to (RFC 7800): its sender has to prove to hold each key that is named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Confirmation {
    /// The thumbprint of the key that signs its proofs (`jkt`, RFC 9449 section 6.1).
    pub key: Option<[u8; 32]>,
    /// The SHA-256 of the certificate of its connections (`x5t#S256`, RFC 8705 section 3.1).
    pub certificate: Option<[u8; 32]>,
}

/// How the person signed in, as far as the token says. Two that are equal prove the same.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Authentication {
    /// The authentication context class (`acr`, OpenID Connect Core section 2).
    pub acr: Option<Arc<str>>,
    /// Entra's authentication contexts that have been satisfied (`acrs`), such as `c1`: sorted, without doubles.
    pub acrs: Vec<Arc<str>>,
    /// The authentication methods (`amr`, RFC 8176): sorted, without doubles.
    pub amr: Vec<Arc<str>>,
}

/// What a text takes beside its characters: two counters, its place in a list, and what the allocator does.
const TEXT_BYTES: usize = 48;
/// What records say of a caller takes beside the texts in it, and how often these stand there: more than twice where many characters
/// are escaped, which few are.
const RECORDED_BYTES: usize = 768;
const RECORDED_TIMES: usize = 2;

impl VerifiedClaims {
    /// How much room its texts take.
    fn texts_byte_count(&self) -> usize {
        let Self { scopes, groups, roles, authentication, .. } = self;
        let Authentication { acr: _, acrs, amr } = &**authentication;
        let lists = [groups, roles, acrs, amr].into_iter().flatten().map(AsRef::as_ref).chain(scopes.iter());
        let lists = lists.map(|text| TEXT_BYTES + text.len()).sum::<usize>();
        self.names_byte_count() + TEXT_BYTES + scopes.canonical().len() + lists
    }

    /// How much of it names alone take, which stand in records as well.
    fn names_byte_count(&self) -> usize {
        let Self {
            issuer_name,
            issuer,
            tenant,
            subject,
            actor,
            may_act,
            confirmation: _,
            scopes: _,
            groups: _,
            roles: _,
            token_id,
            session,
            display_name,
            authentication,
            authenticated_at: _,
            issued_at: _,
            expires_at: _,
            handles_claims_challenges: _,
            is_agent_alone: _,
        } = self;
        let names = [issuer_name.as_str(), issuer.as_str(), subject.as_str()];
        let agents = [actor, may_act].into_iter().flatten().map(Actor::as_str);
        let optional = [token_id, session, display_name, &authentication.acr].into_iter().flatten();
        let texts = names.into_iter().chain(tenant.id()).chain(agents).chain(optional.map(AsRef::as_ref));
        texts.map(|text| TEXT_BYTES + text.len()).sum()
    }
}

#[cfg(any(fuzzing, test))]
impl VerifiedClaims {
    /// What a test needs of a person without anything special, at `https://issuer.example`.
    pub fn of(subject: &str) -> Self {
        Self {
            issuer_name: IssuerName::new("contoso"),
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Sole,
            subject: Subject::new(subject),
            actor: None,
            may_act: None,
            confirmation: None,
            scopes: Scopes::default(),
            groups: Vec::new(),
            roles: Vec::new(),
            token_id: None,
            session: None,
            display_name: None,
            authentication: Arc::default(),
            authenticated_at: None,
            issued_at: None,
            expires_at: 0,
            handles_claims_challenges: false,
            is_agent_alone: false,
        }
    }
}

impl Caller {
    /// For the verifier alone: states that every check has passed. A test holds that nobody else calls it.
    pub(crate) fn verified(verified: VerifiedClaims, token: SecretToken) -> Self {
        Self { verified, token, actor_token: None, memo: Memo::default(), identity_digest: OnceLock::new() }
    }

    /// For the verifier alone: the same person, with an agent that has proved by a token of its own who it is.
    pub(crate) fn acting_by(&self, actor: Actor, actor_token: SecretToken) -> Self {
        let verified = VerifiedClaims { actor: Some(actor), ..self.verified.clone() };
        Self { actor_token: Some(actor_token), ..Self::verified(verified, self.token.clone()) }
    }

    /// The configuration's name for the issuer.
    pub fn issuer_name(&self) -> &IssuerName {
        &self.verified.issuer_name
    }

    /// Who vouches for this caller.
    pub fn issuer(&self) -> &Issuer {
        &self.verified.issuer
    }

    /// The person's tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.verified.tenant
    }

    /// The person.
    pub fn subject(&self) -> &Subject {
        &self.verified.subject
    }

    /// The agent, where the token names one.
    pub fn actor(&self) -> Option<&Actor> {
        self.verified.actor.as_ref()
    }

    /// Another agent that may act for the person.
    pub fn may_act(&self) -> Option<&Actor> {
        self.verified.may_act.as_ref()
    }

    /// What the subject token is bound to.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.verified.confirmation.as_ref()
    }

    /// Delegated scopes of the subject token.
    pub fn scopes(&self) -> &Scopes {
        &self.verified.scopes
    }

    /// The person's groups.
    pub fn groups(&self) -> &[Arc<str>] {
        &self.verified.groups
    }

    /// The person's roles.
    pub fn roles(&self) -> &[Arc<str>] {
        &self.verified.roles
    }

    /// The subject token's own identifier.
    pub fn token_id(&self) -> Option<&str> {
        self.verified.token_id.as_deref()
    }

    /// The sign-in session.
    pub fn session(&self) -> Option<&str> {
        self.verified.session.as_deref()
    }

    /// What the person is called, where records are to say so.
    pub fn display_name(&self) -> Option<&str> {
        self.verified.display_name.as_deref()
    }

    /// Where the subject's identifier means something: the tenant, or where there is none, the issuer.
    pub fn realm(&self) -> &str {
        self.verified.tenant.id().unwrap_or(self.verified.issuer.as_str())
    }

    /// How the person signed in.
    pub fn authentication(&self) -> &Arc<Authentication> {
        &self.verified.authentication
    }

    /// When the person signed in, in seconds since 1970 UTC.
    pub fn authenticated_at(&self) -> Option<u64> {
        self.verified.authenticated_at
    }

    /// When the subject token was issued, in seconds since 1970 UTC.
    pub fn issued_at(&self) -> Option<u64> {
        self.verified.issued_at
    }

    /// When the subject token expires, in seconds since 1970 UTC.
    pub fn expires_at(&self) -> u64 {
        self.verified.expires_at
    }

    /// Whether there is no person behind the call: an agent asks for itself. It may see lists, where a connector lets it,
    /// and nothing else.
    pub fn is_agent_alone(&self) -> bool {
        self.verified.is_agent_alone
    }

    /// Whether the client said that it can act on claims challenges.
    pub fn handles_claims_challenges(&self) -> bool {
        self.verified.handles_claims_challenges
    }

    /// The subject token, for an exchange and for nothing else.
    pub fn subject_token(&self) -> &SecretToken {
        &self.token
    }

    /// The agent's own token, for an exchange and for nothing else.
    pub fn actor_token(&self) -> Option<&SecretToken> {
        self.actor_token.as_ref()
    }

    /// Tells what this caller sent from what others did, without showing it.
    pub fn tokens_digest(&self) -> [u8; 32] {
        match &self.actor_token {
            None => self.token.digest(),
            Some(actor_token) => {
                let mut digest = FieldDigest::new("subject and actor token/1");
                digest.field(&self.token.digest());
                digest.field(&actor_token.digest());
                digest.finish()
            }
        }
    }

    /// What records say of this caller.
    pub fn memo(&self) -> &Memo {
        &self.memo
    }

    /// The digest of what of this caller is in the keys of delegated tokens. `digest` is asked once: it has to be of nothing that
    /// differs by tool, binding or settings.
    pub fn identity_digest(&self, digest: impl FnOnce() -> [u8; 32]) -> &[u8; 32] {
        self.identity_digest.get_or_init(digest)
    }

    /// How many bytes of memory it takes, with what records say of it: an estimate, of no less than that.
    pub fn byte_count(&self) -> usize {
        self.byte_count_beside_texts() + self.token.byte_count() + self.verified.texts_byte_count()
    }

    /// What the same caller takes once more with an agent's own token: texts and tokens are those that there are already.
    pub fn byte_count_beside_texts(&self) -> usize {
        let VerifiedClaims { groups, roles, .. } = &self.verified;
        let lists = (groups.len() + roles.len()) * size_of::<Arc<str>>();
        size_of::<Self>() + RECORDED_BYTES + RECORDED_TIMES * self.verified.names_byte_count() + lists
    }

    /// Whether one of this caller's own tokens stands in `bytes`.
    pub fn has_token_within(&self, bytes: &[u8]) -> bool {
        self.token.is_within(bytes) || self.actor_token.as_ref().is_some_and(|token| token.is_within(bytes))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Caller").field(&self.verified).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        assert_eq!(format!("{:?}", SecretToken::new("eyJ-canary")), "[secret]");
    }

    #[test]
    fn a_secret_is_the_same_text_to_its_last_byte() {
        let secret = SecretToken::new("eyJ-canary");
        assert!(secret.is(b"eyJ-canary"));
        for other in ["", "eyJ-canar", "eyJ-canary.", "eyJ-canarz", "fyJ-canary"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_caller_is_counted_with_all_that_its_token_said() {
        let count = |claims: VerifiedClaims| Caller::verified(claims, SecretToken::new("token")).byte_count();
        let (text, of) = ("t".repeat(100), VerifiedClaims::of("ada"));
        let list = || vec![Arc::from(text.as_str())];
        let authentication = |acr: Option<&str>, acrs: bool, amr: bool| {
            let list = |wanted: bool| if wanted { list() } else { Vec::new() };
            Arc::new(Authentication { acr: acr.map(Into::into), acrs: list(acrs), amr: list(amr) })
        };
        let changed = [
            VerifiedClaims { issuer: Issuer::new(text.as_str()), ..of.clone() },
            VerifiedClaims { issuer_name: IssuerName::new(text.as_str()), ..of.clone() },
            VerifiedClaims { tenant: Tenant::Named(text.as_str().into()), ..of.clone() },
            VerifiedClaims { subject: Subject::new(text.as_str()), ..of.clone() },
            VerifiedClaims { actor: Some(Actor::new(text.as_str())), ..of.clone() },
            VerifiedClaims { may_act: Some(Actor::new(text.as_str())), ..of.clone() },
            VerifiedClaims { scopes: Scopes::new([text.as_str()]), ..of.clone() },
            VerifiedClaims { groups: list(), ..of.clone() },
            VerifiedClaims { roles: list(), ..of.clone() },
            VerifiedClaims { token_id: Some(text.as_str().into()), ..of.clone() },
            VerifiedClaims { session: Some(text.as_str().into()), ..of.clone() },
            VerifiedClaims { display_name: Some(text.as_str().into()), ..of.clone() },
            VerifiedClaims { authentication: authentication(Some(&text), false, false), ..of.clone() },
            VerifiedClaims { authentication: authentication(None, true, false), ..of.clone() },
            VerifiedClaims { authentication: authentication(None, false, true), ..of.clone() },
        ];
        for claims in changed {
            let shown = format!("{claims:?}");
            assert!(count(claims) >= count(of.clone()) + 70, "{shown}");
        }
    }

    #[test]
    fn scopes_are_a_set_whatever_their_order() {
        let scopes = Scopes::parse("Mail.Send  Mail.Read Mail.Send");
        assert_eq!(scopes.canonical(), "Mail.Read Mail.Send");
        assert!(scopes.contains("Mail.Read"));
        assert!(!scopes.contains("Mail.Rea"));
        assert!(!scopes.contains("Mail.ReadWrite"));
        assert!(scopes.contains_all(&Scopes::default()));
        assert!(scopes.contains_all(&Scopes::parse("Mail.Read Mail.Send")));
        assert!(!scopes.contains_all(&Scopes::parse("Mail.Read Mail.ReadWrite")));
    }
}
