//! From the text of `scope` to one resource and the names of its scopes.

use super::fault::Fault;
use super::settings::{Resource, Settings};

/// Scopes that belong to sign-in and to no resource.
const SIGN_IN_SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// The audience of the one resource named, if any was.
    pub(super) audience: Option<String>,
    /// The scopes asked for by name.
    pub(super) names: Vec<String>,
    /// Whether `.default` was asked for: whatever is consented already.
    pub(super) default: bool,
    /// Whether an ID token was asked for.
    pub(super) openid: bool,
    /// Whether a refresh token was asked for.
    pub(super) offline: bool,
}

impl Asked {
    /// Reads `scope`. A name without a resource belongs to `implied`.
    pub(super) fn parse(scope: &str, settings: &Settings, implied: &str) -> Result<Self, Fault> {
        let mut asked =
            Self { audience: None, names: Vec::new(), default: false, openid: false, offline: false };
        for part in scope.split(' ').filter(|part| !part.is_empty()) {
            if part.contains(|c: char| c.is_control() || c == '"' || c == '\\') {
                return Err(Fault::bad_scope(&part.escape_default().to_string()));
            }
            if SIGN_IN_SCOPES.contains(&part) {
                asked.openid |= part == "openid";
                asked.offline |= part == "offline_access";
                continue;
            }
            let (resource, name) = part.rsplit_once('/').unwrap_or((implied, part));
            let Some(resource) = settings.resource(resource) else {
                return Err(Fault::unknown_resource(resource, &settings.tenant));
            };
            if asked.audience.as_ref().is_some_and(|earlier| *earlier != resource.audience) {
                return Err(Fault::two_resources(scope));
            }
            asked.audience = Some(resource.audience.clone());
            if name == ".default" {
                asked.default = true;
            } else if resource.scopes.iter().any(|scope| scope.name == name) {
                asked.names.push(name.to_owned());
            } else {
                return Err(Fault::bad_scope(part));
            }
        }
        Ok(asked)
    }
}

impl Settings {
    /// The resource that goes by this identifier. The gateway is one too, under several names.
    pub(super) fn resource(&self, identifier: &str) -> Option<Resource> {
        // `https://host/` and `https://host` begin scopes of the same resource.
        let identifier = identifier.strip_suffix('/').unwrap_or(identifier);
        if self.gateway.goes_by(identifier) {
            return Some(Resource {
                audience: self.gateway.client_id.clone(),
                name: self.gateway.name.clone(),
                scopes: self.gateway.scopes.clone(),
            });
        }
        self.resources.iter().find(|resource| resource.audience == identifier).cloned()
    }
}

impl super::settings::GatewayClient {
    /// Whether this identifier is the gateway's: its client id, its App ID URI, or one of its others.
    pub(super) fn goes_by(&self, identifier: &str) -> bool {
        identifier == self.client_id
            || identifier == self.app_id_uri
            || self.identifier_uris.iter().any(|uri| uri.strip_suffix('/').unwrap_or(uri) == identifier)
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::MAIL_AUDIENCE;
    use super::*;

    #[test]
    fn a_scope_names_its_resource_or_means_the_implied_one() {
        check_scope("https://graph.demo.test/Mail.Read", Ok((Some(MAIL_AUDIENCE), &["Mail.Read"], false)));
        check_scope(
            "Mail.Read openid User.Read",
            Ok((Some(MAIL_AUDIENCE), &["Mail.Read", "User.Read"], false)),
        );
        check_scope("https://graph.demo.test//.default", Ok((Some(MAIL_AUDIENCE), &[], true)));
        check_scope("openid offline_access", Ok((None, &[], false)));
        check_scope("https://graph.demo.test/Mail.Read api://obo-gateway/access_as_user", Err(700_022));
        check_scope("https://graph.demo.test/Mail.Reed", Err(70_011));
        check_scope("https://graph.other.test/Mail.Read", Err(500_011));
        check_scope("Mail.Read\u{7}", Err(70_011));
    }

    type Expected<'a> = Result<(Option<&'a str>, &'a [&'a str], bool), u32>;

    #[track_caller]
    fn check_scope(scope: &str, expected: Expected<'_>) {
        match (Asked::parse(scope, &Settings::default(), MAIL_AUDIENCE), expected) {
            (Ok(asked), Ok((audience, names, default))) => {
                assert_eq!(asked.audience.as_deref(), audience, "{scope}");
                assert_eq!(asked.names, names, "{scope}");
                assert_eq!(asked.default, default, "{scope}");
            }
            (Err(fault), Err(code)) => assert_eq!(fault.code(), Some(code), "{scope}"),
            (asked, expected) => panic!("{scope}: {asked:?} instead of {expected:?}"),
        }
    }
}
