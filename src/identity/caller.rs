//! Who calls: a person and the agent that acts for them, as their tokens say it.

use std::fmt;
use std::sync::Arc;

use super::{Actor, Issuer, IssuerName, Scopes, SecretToken, Subject, Tenant};
use crate::digest::FieldDigest;
use crate::memo::{DigestMemo, Memo};

/// A subject and the actor that acts for it, both vouched for by an issuer.
///
/// There is one way to make one: the verifier, after every check has passed.
pub struct Caller {
    verified: VerifiedClaims,
    token: SecretToken,
    actor_token: Option<SecretToken>,
    /// What records say of this caller.
    memo: Memo,
    /// What this caller's delegated tokens are kept under.
    keys: DigestMemo,
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
/// What records say of a caller takes beside the texts in it, with the digests of its keys, and how often these texts stand there: more than twice where many characters
/// are escaped, which few are.
const RECORDED_BYTES: usize = 1_024;
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
        Self { verified, token, actor_token: None, memo: Memo::default(), keys: DigestMemo::default() }
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

    /// What this caller's delegated tokens are kept under.
    pub fn keys(&self) -> &DigestMemo {
        &self.keys
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
}
