//! The tenant's signing keys: one RSA, one P-256, and those that still stand in the key set after a rotation.

use serde_json::{Value, json};

use crate::demo::jws::{Algorithm, PublicKey, SigningKey};
use crate::demo::random;

/// The keys of one moment. Rotation replaces them whole.
pub(super) struct Keys {
    rsa: SigningKey,
    p256: SigningKey,
    retired: Vec<SigningKey>,
}

impl Keys {
    pub(super) fn begin(own_rsa: bool) -> Self {
        let rsa = if own_rsa { SigningKey::rsa(new_kid()) } else { SigningKey::shared_rsa(new_kid()) };
        Self { rsa, p256: SigningKey::p256(new_kid()), retired: Vec::new() }
    }

    /// New keys, and the old ones still published or not.
    pub(super) fn rotated(&self, keep_old: bool) -> Self {
        let mut retired = Vec::new();
        if keep_old {
            retired.extend([self.rsa.clone(), self.p256.clone()]);
            retired.extend(self.retired.iter().cloned());
        }
        Self { rsa: SigningKey::rsa(new_kid()), p256: SigningKey::p256(new_kid()), retired }
    }

    /// The key that signs with this algorithm.
    pub(super) fn signing(&self, algorithm: Algorithm) -> &SigningKey {
        match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => &self.rsa,
            Algorithm::Es256 => &self.p256,
        }
    }

    pub(super) fn public(&self, kid: &str) -> Option<PublicKey> {
        PublicKey::from_jwk(&self.published().find(|key| key.kid() == kid)?.jwk())
    }

    /// The key set. Entra's members each name their issuer.
    pub(super) fn key_set(&self, issuer: &str) -> Value {
        let keys: Vec<Value> = self
            .published()
            .map(|key| {
                let mut jwk = key.jwk();
                jwk["issuer"] = Value::from(issuer);
                jwk
            })
            .collect();
        json!({ "keys": keys })
    }

    fn published(&self) -> impl Iterator<Item = &SigningKey> {
        [&self.rsa, &self.p256].into_iter().chain(&self.retired)
    }
}

fn new_kid() -> String {
    random::token()[..27].to_owned()
}
