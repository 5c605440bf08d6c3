use super::*;
use crate::connections::Links;
use crate::tool::ConnectorName;

const PUBLIC: (&str, &str) = ("issuers:", "public_url: https://gateway.example\npages: {}\nissuers:");

#[test]
fn people_sign_in_by_the_client_of_the_exchange_unless_another_is_named() {
    let config = self::config(&[PUBLIC]);
    let pages = config.public.pages.as_ref().expect("pages");
    assert_eq!(
        (pages.path(), pages.base(), pages.origin()),
        ("/account", "/account", "https://gateway.example")
    );
    assert_eq!(pages.signed_in_address(), "https://gateway.example/account/signed-in");
    let sign_in = config.issuers[0].sign_in.as_ref().expect("a sign-in");
    assert_eq!((&*sign_in.client_id, sign_in.scopes.canonical()), ("gateway", "openid profile"));
    let own = "    sign_in: { client_id: pages, client_auth: { secret_env: OTHER_SECRET }, scopes: [openid] }\nconnectors:";
    let config = self::config(&[PUBLIC, ("connectors:", own)]);
    let sign_in = config.issuers[0].sign_in.as_ref().expect("a sign-in");
    assert_eq!((&*sign_in.client_id, sign_in.scopes.canonical()), ("pages", "openid"));
    assert!(self::config(&[]).issuers[0].sign_in.is_none());
    assert!(self::config(&[]).public.pages.is_none());
}

#[test]
fn pages_are_where_browsers_find_them_and_nothing_else_is() {
    let elsewhere = ("issuers:", "public_url: https://example.com/gw/\npages: { path: /me }\nissuers:");
    let config = self::config(&[elsewhere]);
    let pages = config.public.pages.as_ref().expect("pages");
    assert_eq!((pages.path(), pages.base()), ("/me", "/gw/me"));
    let links = Links::new(config.public.public_url.as_ref().expect("an address"), pages.path());
    assert_eq!(links.callback(&ConnectorName::new("crm")), "https://example.com/gw/me/callback/crm");
    check(
        &[("issuers:", "pages: {}\nissuers:")],
        &["2: pages: goes with `public_url`, under which browsers find the pages: add it, or leave this out"],
    );
    let under = "lies under /account, where people's pages are: choose another, or say where they are with `pages: { path: … }`";
    for path in ["/account", "/account/mail"] {
        let place = format!("path: {path}\n");
        check(
            &[PUBLIC, ("path: /mail\n", &place)],
            &[&format!("16: connectors.mail.path: {under} (found \"{path}\")")],
        );
    }
    self::config(&[PUBLIC, ("path: /mail\n", "path: /accounts\n")]);
    self::config(&[PUBLIC, ("path: /mail\n", "path: /\n")]);
    for (path, fault) in [
        ("/", "is all of the gateway: give the pages a path of their own, like `/account`"),
        ("/account/", "must not end with `/`: give a path under `public_url`, like `/account`"),
        ("account", "does not begin with `/`: give a path under `public_url`, like `/account`"),
        (
            "/.well-known/account",
            "lies under /.well-known, which belongs to the gateway itself: give a path under `public_url`, like `/account`",
        ),
        ("/issuers/x", "lies under /issuers, where `publish_metadata` publishes metadata"),
    ] {
        let edit = format!("public_url: https://gateway.example\npages: {{ path: {path} }}\nissuers:");
        check(&[("issuers:", &edit)], &[&format!("3: pages.path: {fault} (found \"{path}\")")]);
    }
}

#[test]
fn a_sign_in_that_could_not_be_completed_is_a_fault() {
    let with = |sign_in: &str| format!("    sign_in: {sign_in}\nconnectors:");
    check(
        &[("connectors:", &with("{ scopes: [openid] }"))],
        &[
            "11: issuers.contoso.sign_in: goes with `pages`, a `vault` or `confirm`, for which people sign in: add one, or leave this out",
        ],
    );
    for (sign_in, fault) in [
        (
            "{ scopes: [profile] }",
            ".scopes: lacks `openid`, without which no server says who signed in: add it",
        ),
        (
            "{ client_id: pages }",
            ".client_id: needs `client_auth`, by which the gateway proves to be that client: add it",
        ),
        (
            "{ client_auth: { secret_env: OTHER_SECRET } }",
            ".client_auth: needs `client_id`, the client that it proves: add it, or leave both out for that of `exchange`",
        ),
    ] {
        check(&[PUBLIC, ("connectors:", &with(sign_in))], &[&format!("13: issuers.contoso.sign_in{fault}")]);
    }
}
