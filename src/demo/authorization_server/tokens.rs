//! Tokens: the ones this server issues, and the ones a test makes to see them refused.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::demo::clock;
use crate::demo::jws::{self, Algorithm, SigningKey};

/// A token in the making. It begins as one that a gateway should accept; each call makes it a little
/// different.
#[derive(Clone)]
pub struct TokenBuilder {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    raw_header: Option<String>,
    raw_claims: Option<String>,
    keys: [SigningKey; 2],
    signer: Signer,
}

#[derive(Clone)]
enum Signer {
    Key { key: SigningKey, algorithm: Algorithm },
    PublicKeyAsSecret,
    Nobody,
}

impl TokenBuilder {
    pub(super) fn new(claims: Value, rsa: &SigningKey, p256: &SigningKey) -> Self {
        let Value::Object(claims) = claims else { panic!("claims are an object") };
        let signer = Signer::Key { key: rsa.clone(), algorithm: Algorithm::Rs256 };
        let builder = Self {
            header: Map::new(),
            claims,
            raw_header: None,
            raw_claims: None,
            keys: [rsa.clone(), p256.clone()],
            signer,
        };
        let kid = rsa.kid().to_owned();
        builder.header("typ", "JWT").header("alg", "RS256").header("kid", kid)
    }

    /// Sets a claim, to a value of any type.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a claim out.
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a header member, to a value of any type. The signature stays what it would have been.
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a header member out.
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// Sets the audience.
    pub fn audience(self, audience: &str) -> Self {
        self.claim("aud", audience)
    }

    /// Sets the delegated scopes, separated by spaces.
    pub fn scopes(self, scopes: &str) -> Self {
        self.claim("scp", scopes)
    }

    /// Sets the agent that the token was issued to.
    pub fn agent(self, client_id: &str) -> Self {
        self.claim("azp", client_id)
    }

    /// Expires so long from now.
    pub fn expires_in(self, life: Duration) -> Self {
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        self.claim("exp", clock::now().saturating_add(life))
    }

    /// Expired an hour ago, having lived an hour.
    pub fn expired(self) -> Self {
        let now = clock::now();
        self.claim("iat", now - 7_200).claim("nbf", now - 7_200).claim("exp", now - 3_600)
    }

    /// Valid in an hour, not before.
    pub fn not_yet_valid(self) -> Self {
        let now = clock::now();
        self.claim("nbf", now + 3_600).claim("exp", now + 7_200)
    }

    /// In the shape of Entra's version 1 tokens.
    pub fn version_1(mut self, tenant: &str, audience: &str) -> Self {
        for (new, old) in [("azp", "appid"), ("azpacr", "appidacr"), ("preferred_username", "unique_name")] {
            if let Some(value) = self.claims.remove(new) {
                self.claims.insert(old.to_owned(), value);
            }
        }
        let issuer = format!("https://sts.windows.net/{tenant}/");
        self.claim("ver", "1.0").claim("iss", issuer).claim("aud", audience)
    }

    /// For an application and no person: `idtyp` is `app`, roles stand where scopes were.
    pub fn app_only(self) -> Self {
        self.without("scp").without("name").without("preferred_username").claim("idtyp", "app")
    }

    /// Signed with the tenant's RSA key, as from the start.
    pub fn rs256(self) -> Self {
        let rsa = self.keys[0].clone();
        self.signed_by(&rsa, Algorithm::Rs256)
    }

    /// Signed with the tenant's P-256 key.
    pub fn es256(self) -> Self {
        let p256 = self.keys[1].clone();
        self.signed_by(&p256, Algorithm::Es256)
    }

    /// Signed by this key, under its id.
    pub fn signed_by(mut self, key: &SigningKey, algorithm: Algorithm) -> Self {
        self.signer = Signer::Key { key: key.clone(), algorithm };
        let kid = key.kid().to_owned();
        self.header("alg", algorithm.name()).header("kid", kid)
    }

    /// Signed by a key that is nobody's, under the tenant's key id.
    pub fn signed_by_a_stranger(mut self) -> Self {
        let algorithm = match &self.signer {
            Signer::Key { algorithm, .. } => *algorithm,
            Signer::PublicKeyAsSecret | Signer::Nobody => Algorithm::Rs256,
        };
        let key = match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => SigningKey::strange_rsa("strange"),
            Algorithm::Es256 => SigningKey::p256("strange"),
        };
        self.signer = Signer::Key { key, algorithm };
        self
    }

    /// "Signed" with HMAC, keyed with the public key that everybody knows.
    pub fn signed_with_the_public_key(mut self) -> Self {
        self.signer = Signer::PublicKeyAsSecret;
        self.header("alg", "HS256")
    }

    /// With `alg` none and no signature.
    pub fn unsigned(mut self) -> Self {
        self.signer = Signer::Nobody;
        self.header("alg", "none")
    }

    /// With exactly this text as its claims, well-formed or not.
    pub fn raw_claims(mut self, claims: impl Into<String>) -> Self {
        self.raw_claims = Some(claims.into());
        self
    }

    /// With exactly this text as its header, well-formed or not.
    pub fn raw_header(mut self, header: impl Into<String>) -> Self {
        self.raw_header = Some(header.into());
        self
    }

    /// The claims as they stand, as JSON text: something to build `raw_claims` from.
    pub fn claims_text(&self) -> String {
        Value::from(self.claims.clone()).to_string()
    }

    /// The finished token.
    pub fn mint(&self) -> String {
        let header = self.raw_header.clone().unwrap_or_else(|| Value::from(self.header.clone()).to_string());
        let claims = self.raw_claims.clone().unwrap_or_else(|| self.claims_text());
        match &self.signer {
            Signer::Key { key, algorithm } => key.sign(*algorithm, &header, &claims),
            Signer::PublicKeyAsSecret => {
                jws::sign_hmac(self.keys[0].public_pem().as_bytes(), &header, &claims)
            }
            Signer::Nobody => jws::unsigned(&header, &claims),
        }
    }
}

/// The pairwise `sub` of a person at a client: the same pair, the same name, and no way from one to another.
pub(super) fn pairwise_subject(person: &str, client_id: &str) -> String {
    let input = format!("{}:{person}{}:{client_id}", person.len(), client_id.len());
    jws::sha256_base64url(input.as_bytes())
}

/// Claims that every token has: who issued it, to whom it goes, and when.
pub(super) fn dated(issuer: &str, tenant: &str, audience: &str, life: Duration) -> Value {
    let now = clock::now();
    let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
    json!({
        "aud": audience, "iss": issuer, "tid": tenant, "ver": "2.0", "uti": crate::demo::random::token()[..22],
        "iat": now, "nbf": now, "exp": now.saturating_add(life),
    })
}
