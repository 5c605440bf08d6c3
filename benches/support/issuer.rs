//! The development authorization server as an issuer whose tokens a benchmark verifies.

use obo_gateway::checked_url::{CheckedUrl, PlainHttp};
use obo_gateway::demo::authorization_server as demo;
use obo_gateway::identity::{Audience, Issuer, IssuerName, Scopes, SecretToken, Tenant};
use obo_gateway::oauth::{
    ClaimNames, ClientAuth, Endpoints, ExchangeSettings, Grant, IssuerKind, IssuerSettings, Profile, Reuse,
};

/// Its settings, under the name `contoso`.
pub fn issuer_settings(demo: &demo::AuthorizationServer) -> IssuerSettings {
    let gateway = &demo.settings().gateway;
    let url = |text: String| Some(CheckedUrl::parse(&text, PlainHttp::LoopbackOnly).expect("a URL"));
    IssuerSettings {
        name: IssuerName::new("contoso"),
        kind: IssuerKind::Entra { tenant: Tenant::Named(demo.settings().tenant.as_str().into()) },
        issuer: Issuer::new(demo.issuer()),
        other_issuer: None,
        profile: Profile::Lenient,
        claim_names: ClaimNames::default(),
        introspects: false,
        endpoints: Endpoints {
            metadata: None,
            jwks_uri: url(demo.jwks_uri()),
            token_endpoint: url(demo.token_endpoint()),
            authorization_endpoint: None,
            introspection_endpoint: None,
            plain_http: PlainHttp::LoopbackOnly,
        },
        audiences: vec![Audience::new(gateway.client_id.as_str())],
        agents: None,
        required_scopes: Scopes::parse("access_as_user"),
        keeps_display_names: false,
        extra_roots: Vec::new(),
        publication: None,
        exchange: Some(ExchangeSettings {
            grant: Grant::OnBehalfOf,
            client_id: gateway.client_id.as_str().into(),
            client_auth: ClientAuth::SecretPost(SecretToken::new(gateway.secret.as_str())),
            extra: Vec::new(),
            reuse: Reuse::Identity,
            refuses_more_scopes: false,
            client_capabilities: Vec::new(),
        }),
        application: None,
        sign_in: None,
    }
}
