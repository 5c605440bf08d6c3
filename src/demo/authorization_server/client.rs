//! Who asks at the token endpoint, and how that was proved.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;

use super::fault::Fault;
use super::form::Form;
use super::tenant::Tenant;
use crate::demo::clock;
use crate::demo::jws::{self, Algorithm, Jws, PublicKey};

/// The only kind of client assertion (RFC 7523 section 2.2).
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Longest life of a client assertion, with a little for rounding.
const ASSERTION_SECONDS_MAX: i64 = 600 + 5;

/// Seconds by which a client's clock may differ.
const SKEW_SECONDS: i64 = 60;

/// A client of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) proof: Proof,
}

/// How a client proved itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not at all: a public client.
    Nothing,
    Secret,
    Certificate,
}

impl Proof {
    /// The value of `azpacr`.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Nothing => "0",
            Self::Secret => "1",
            Self::Certificate => "2",
        }
    }
}

enum Offered<'a> {
    Nothing,
    Secret(String),
    Assertion(&'a str),
}

impl Client {
    /// Finds the client and checks its proof. A public client needs none and may offer none.
    pub(super) fn authenticate(tenant: &Tenant, headers: &HeaderMap, form: &Form) -> Result<Self, Fault> {
        let basic = basic(headers)?;
        let secret = form.get("client_secret");
        let assertion = form.get("client_assertion");
        if [basic.is_some(), secret.is_some(), assertion.is_some()].into_iter().filter(|one| *one).count() > 1
        {
            return Err(Fault::plain("invalid_request", "the client authenticates in more than one way"));
        }
        let named = form.get("client_id").map(str::to_owned);
        let (id, offered) = match (basic, secret, assertion) {
            (Some((id, _)), ..) if named.as_ref().is_some_and(|named| *named != id) => {
                return Err(Fault::plain("invalid_request", "two client ids are given"));
            }
            (Some((id, secret)), ..) => (Some(id), Offered::Secret(secret)),
            (None, Some(secret), _) => (named, Offered::Secret(secret.to_owned())),
            (None, None, Some(assertion)) => {
                let subject = || Jws::parse(assertion)?.text("sub").map(str::to_owned);
                (named.or_else(subject), Offered::Assertion(assertion))
            }
            (None, None, None) => (named, Offered::Nothing),
        };
        let id = id.ok_or_else(|| Fault::parameter_missing("client_id"))?;
        Self::prove(tenant, id, offered, form)
    }

    fn prove(tenant: &Tenant, id: String, offered: Offered<'_>, form: &Form) -> Result<Self, Fault> {
        let gateway = &tenant.settings.gateway;
        if id == tenant.settings.agent.client_id {
            return match offered {
                Offered::Nothing => Ok(Self { id, proof: Proof::Nothing }),
                Offered::Secret(_) | Offered::Assertion(_) => {
                    let text = "Client is public so neither 'client_assertion' nor 'client_secret' should be \
                                presented.";
                    Err(Fault::coded("invalid_client", 700_025, text))
                }
            };
        }
        if id != gateway.client_id {
            return Err(Fault::unknown_client(&id, &tenant.settings.tenant));
        }
        match offered {
            Offered::Nothing => Err(Fault::credential_missing()),
            Offered::Secret(secret) => {
                if verify_slices_are_equal(secret.as_bytes(), gateway.secret.as_bytes()).is_err() {
                    return Err(Fault::wrong_secret(&id));
                }
                Ok(Self { id, proof: Proof::Secret })
            }
            Offered::Assertion(assertion) => {
                if form.get("client_assertion_type") != Some(JWT_BEARER) {
                    return Err(Fault::parameter_missing("client_assertion_type"));
                }
                if !gateway.workload_tokens.iter().any(|token| token == assertion) {
                    check_assertion(tenant, assertion)?;
                }
                Ok(Self { id, proof: Proof::Certificate })
            }
        }
    }
}

/// Checks a client assertion as `private_key_jwt` wants it, with the certificate found by thumbprint.
fn check_assertion(tenant: &Tenant, assertion: &str) -> Result<(), Fault> {
    let gateway = &tenant.settings.gateway;
    let jws = Jws::parse(assertion).ok_or_else(|| Fault::bad_client_assertion("The token is malformed."))?;
    let algorithm = jws
        .header("alg")
        .and_then(Algorithm::named)
        .filter(|algorithm| *algorithm != Algorithm::Es256)
        .ok_or_else(|| Fault::bad_client_assertion("The algorithm is not PS256 or RS256."))?;
    // MSAL for Python pads thumbprints, other clients do not (RFC 7515 section 4.1.7); Entra takes both.
    let thumbprint = |name| jws.header(name).map(|thumbprint| thumbprint.trim_end_matches('='));
    let certificate = gateway
        .certificates
        .iter()
        .find(|der| match (thumbprint("x5t#S256"), thumbprint("x5t")) {
            (Some(thumbprint), _) => thumbprint == jws::sha256_base64url(der),
            (None, Some(thumbprint)) => thumbprint == jws::sha1_base64url(der),
            (None, None) => false,
        })
        .ok_or_else(|| {
            Fault::bad_client_assertion(
                "The key was not found. No registered certificate has the thumbprint.",
            )
        })?;
    let key = certificate_key(certificate)
        .ok_or_else(|| Fault::bad_client_assertion("The registered certificate cannot be read."))?;
    if !key.verifies(algorithm, &jws) {
        return Err(Fault::bad_client_assertion("The key was found, but use of the key to verify failed."));
    }
    if jws.text("iss") != Some(&gateway.client_id) || jws.text("sub") != Some(&gateway.client_id) {
        return Err(Fault::client_assertion_of_another());
    }
    if jws.text("aud") != Some(tenant.token_endpoint().as_str()) {
        return Err(Fault::bad_client_assertion("The audience is not this token endpoint."));
    }
    let now = clock::now();
    let Some(expires) = jws.number("exp") else {
        return Err(Fault::client_assertion_out_of_time("There is no expiry."));
    };
    let begins = jws.number("nbf").or_else(|| jws.number("iat")).unwrap_or(now);
    if expires <= now - SKEW_SECONDS || begins > now + SKEW_SECONDS {
        return Err(Fault::client_assertion_out_of_time("It has expired or is not valid yet."));
    }
    if expires.saturating_sub(begins.min(now)) > ASSERTION_SECONDS_MAX {
        return Err(Fault::client_assertion_out_of_time("It lives for more than ten minutes."));
    }
    let Some(jti) = jws.text("jti") else {
        return Err(Fault::bad_client_assertion("There is no jti."));
    };
    let is_new = tenant.is_new_assertion(jti, expires.saturating_add(SKEW_SECONDS), now);
    if tenant.settings.single_use_assertions && !is_new {
        return Err(Fault::bad_client_assertion("The assertion was presented before."));
    }
    Ok(())
}

fn certificate_key(der: &[u8]) -> Option<PublicKey> {
    let der = CertificateDer::from(der);
    let certificate = ParsedCertificate::try_from(&der).ok()?;
    Some(PublicKey::RsaInfo(certificate.subject_public_key_info().to_vec()))
}

/// Client id and secret of HTTP Basic, each form-encoded before they were joined (RFC 6749 section 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, Fault> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let unreadable = || Fault::plain("invalid_client", "the Authorization header is not HTTP Basic");
    let value = value.to_str().map_err(|_| unreadable())?;
    let (scheme, encoded) = value.split_once(' ').ok_or_else(unreadable)?;
    if !scheme.eq_ignore_ascii_case("Basic") {
        return Err(unreadable());
    }
    let decoded = STANDARD.decode(encoded.trim()).map_err(|_| unreadable())?;
    let decoded = String::from_utf8(decoded).map_err(|_| unreadable())?;
    let (id, secret) = decoded.split_once(':').ok_or_else(unreadable)?;
    Ok(Some((form_decode(id), form_decode(secret))))
}

fn form_decode(text: &str) -> String {
    // A name without a value is exactly one form-encoded text.
    let encoded = text.replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(encoded.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}
