//! A token looked at check by check, for whoever wants to know what becomes of it. Nobody becomes a caller by it.

use std::sync::Arc;

use super::{Verifier, VerifyError, caller, check_signature, check_type, is_opaque};
use crate::clock::Now;
use crate::identity::{Caller, IssuerName, RuleName, SecretToken};
use crate::oauth::authorization_server::AuthorizationServer;
use crate::oauth::claims::{self, ClaimCheck};
use crate::oauth::jws::Jws;
use crate::oauth::key_set::KeySetError;
use crate::oauth::keys::Keys;
use crate::policy::{Circumstances, Denial, Policy};
use crate::tool::{Confirm, Tool};

/// What was found out about a token.
pub struct Examination {
    /// The issuer by whose entry it was checked.
    pub issuer: Option<IssuerName>,
    /// The checks, in the order in which a call makes them, as far as they could be made.
    pub checks: Vec<Checked>,
    /// Whom the token speaks for, should what was not checked be good. `None`: it is refused, or nobody can tell.
    pub supposed: Option<Supposed>,
}

/// One check.
pub struct Checked {
    /// What was looked at.
    pub check: TokenCheck,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is looked at in a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TokenCheck {
    /// It is a signed JWT with a header that is accepted.
    Form,
    /// Its `iss` is configured.
    Issuer,
    /// It is signed with one of its issuer's keys.
    Signature,
    /// Its header says that it is an access token, where the configuration wants that.
    Type,
    /// Something in its claims.
    Claim(ClaimCheck),
    /// Who sends it proves to hold the key that it is bound to.
    Possession,
    /// The agent proves by a token of its own which one it is.
    AgentsToken,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It is good.
    Passed,
    /// A call with this token is refused for it.
    Failed(VerifyError),
    /// Nobody looked.
    Unchecked(Unchecked),
}

/// Why nobody looked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unchecked {
    /// The issuer's keys are not at hand.
    NoKeys,
    /// The token means something to its issuer alone, which has to be asked.
    Opaque,
    /// Only whoever sends it can show it.
    SendersToShow,
}

/// Whom a token speaks for, should what was not checked be good. It can be asked what policy makes of such a caller, and
/// it never becomes one: no permit comes out of it.
pub struct Supposed(Arc<Caller>);

impl TokenCheck {
    /// As it is called in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Form => "form",
            Self::Issuer => "issuer",
            Self::Signature => "signature",
            Self::Type => "type",
            Self::Claim(claim) => claim.as_str(),
            Self::Possession => "possession",
            Self::AgentsToken => "agents_token",
        }
    }
}

impl Verifier {
    /// Examines a token without asking anybody. `keys` are its issuer's, where they are at hand.
    pub fn examine(&self, token: &str, keys: Option<&Keys>, now: Now) -> Examination {
        let mut checks = Checks::default();
        if self.introspector.is_some() && is_opaque(token) {
            checks.note(TokenCheck::Form, Outcome::Unchecked(Unchecked::Opaque));
            return checks.end(None, None);
        }
        let jws = match Jws::parse(token) {
            Ok(jws) => jws,
            Err(error) => {
                checks.note(TokenCheck::Form, Outcome::Failed(error.into()));
                return checks.end(None, None);
            }
        };
        checks.note(TokenCheck::Form, Outcome::Passed);
        let server = match self.issuer_of(&jws) {
            Ok(server) => server,
            Err(error) => {
                checks.note(TokenCheck::Issuer, Outcome::Failed(error));
                return checks.end(None, None);
            }
        };
        let settings = server.settings();
        checks.note(TokenCheck::Issuer, Outcome::Passed);
        checks.note(
            TokenCheck::Signature,
            match keys {
                None => Outcome::Unchecked(Unchecked::NoKeys),
                Some(keys) => outcome(check_signature(&jws, keys, &settings.issuer)),
            },
        );
        checks.note(TokenCheck::Type, outcome(check_type(server, &jws)));
        let examined = claims::examine(&jws.claims, settings, now);
        for (claim, result) in examined.checks {
            checks.note(TokenCheck::Claim(claim), outcome(result.map_err(VerifyError::from)));
        }
        let verified = examined.verified.ok();
        if verified.as_ref().is_some_and(|verified| verified.confirmation.is_some()) {
            checks.note(TokenCheck::Possession, Outcome::Unchecked(Unchecked::SendersToShow));
        }
        if settings.exchange.as_ref().is_some_and(|exchange| exchange.grant.wants_agents_token()) {
            checks.note(TokenCheck::AgentsToken, Outcome::Unchecked(Unchecked::SendersToShow));
        }
        let supposed = verified.map(|verified| Supposed(caller(verified, SecretToken::new(token))));
        checks.end(Some(settings.name.clone()), supposed)
    }

    /// Fetches the keys of the issuer that a token says it is from, or of the one that is asked about tokens which say nothing:
    /// its endpoints are found on the way. `None` when there is no such issuer.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] when they cannot be fetched.
    pub async fn fetch_keys_for(&self, token: &str) -> Option<Result<Arc<AuthorizationServer>, KeySetError>> {
        let server = match is_opaque(token) {
            true => self.servers.values().find(|server| server.settings().introspects)?,
            false => self.issuer_of(&Jws::parse(token).ok()?).ok()?,
        };
        let server = Arc::clone(server);
        Some(server.key_set().refresh().await.map(|()| server))
    }
}

fn outcome(result: Result<(), VerifyError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Passed,
        Err(error) => Outcome::Failed(error),
    }
}

#[derive(Default)]
struct Checks(Vec<Checked>);

impl Checks {
    fn note(&mut self, check: TokenCheck, outcome: Outcome) {
        self.0.push(Checked { check, outcome });
    }

    fn end(self, issuer: Option<IssuerName>, supposed: Option<Supposed>) -> Examination {
        let examination = Examination { issuer, checks: self.0, supposed: None };
        match examination.first_failure() {
            Some(_) => examination,
            None => Examination { supposed, ..examination },
        }
    }
}

impl Examination {
    /// What a call with this token is refused for.
    pub fn first_failure(&self) -> Option<&VerifyError> {
        self.checks.iter().find_map(|checked| match &checked.outcome {
            Outcome::Failed(error) => Some(error),
            Outcome::Passed | Outcome::Unchecked(_) => None,
        })
    }
}

impl Supposed {
    /// What the token says. Nothing is allowed by it.
    pub fn caller(&self) -> &Caller {
        &self.0
    }

    /// Which rules and policies would allow such a caller this tool, and whether the person would be asked.
    ///
    /// # Errors
    ///
    /// Why it would be denied.
    pub fn decide(
        &self,
        policy: &Policy,
        tool: &Arc<Tool>,
        circumstances: Circumstances<'_>,
    ) -> Result<(Arc<[RuleName]>, Confirm), Denial> {
        let permit = policy.decide(Arc::clone(&self.0), Arc::clone(tool), circumstances)?;
        Ok((Arc::clone(permit.policies()), permit.confirm()))
    }
}
