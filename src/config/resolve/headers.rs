//! `pass_headers`: request headers that are let through to a connector, and those that never are.

use http::HeaderName;

use crate::config::at::At;

/// Headers that speak for someone, that belong to one hop, or that make another request of this one. Whoever
/// could set them would be whoever they like, or reach past what policy decided about.
const NEVER_PASSED: [&str; 40] = [
    "authorization",
    "cf-access-jwt-assertion",
    "cf-connecting-ip",
    "client-cert",
    "client-cert-chain",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "dpop",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "remote-user",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "txn-token",
    "upgrade",
    "via",
    "x-access-token",
    "x-amz-security-token",
    "x-api-key",
    "x-auth-token",
    "x-client-ip",
    "x-forwarded",
    "x-goog-iap-jwt-assertion",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-user",
];
/// The same, by how a name begins.
const NEVER_PASSED_PREFIXES: [&str; 13] = [
    "impersonate-",
    "mcp-",
    "obo-",
    "ssl-client-",
    "x-amzn-oidc-",
    "x-auth-request-",
    "x-authenticated-",
    "x-envoy-",
    "x-forwarded-",
    "x-goog-authenticated-user-",
    "x-original-",
    "x-remote-",
    "x-ssl-client-",
];

/// Checks which request headers are let through to a connector.
pub fn passed(at: &At<'_>, names: Option<&[String]>) -> Option<Vec<HeaderName>> {
    let names = names.unwrap_or_default().iter().enumerate();
    let checked: Vec<_> = names.map(|(index, name)| header(&at.index(index), name)).collect();
    checked.into_iter().collect()
}

fn header(at: &At<'_>, name: &str) -> Option<HeaderName> {
    let Ok(header) = name.parse::<HeaderName>() else {
        at.fault_found("is not the name of a header");
        return None;
    };
    // Many servers read `-` and `_` alike (CVE-2025-64484): a twin of a header that we set would get past us.
    if header.as_str().contains('_') {
        at.fault_found("has `_`, which many servers take for `-`: such headers are never let through");
        return None;
    }
    if is_never_passed(header.as_str()) {
        at.fault_found("says who is asking, or belongs to one connection: it is never let through");
        return None;
    }
    Some(header)
}

fn is_never_passed(name: &str) -> bool {
    // Azure App Service hands identities on as `X-MS-CLIENT-PRINCIPAL…` and `X-MS-TOKEN-AAD-…`.
    let azure =
        name.strip_prefix("x-ms-").is_some_and(|rest| rest.contains("principal") || rest.contains("token"));
    azure
        || NEVER_PASSED.binary_search(&name).is_ok()
        || NEVER_PASSED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(NEVER_PASSED.is_sorted());
    }

    #[test]
    fn headers_that_speak_for_someone_are_never_passed() {
        for name in [
            "authorization",
            "x-forwarded-for",
            "x-ms-client-principal-id",
            "x-ms-token-aad-access-token",
            "x-http-method-override",
            "dpop",
        ] {
            assert!(is_never_passed(name), "{name}");
        }
        for name in ["prefer", "consistencylevel", "x-ms-client-request-id", "x-correlation-id"] {
            assert!(!is_never_passed(name), "{name}");
        }
    }
}
