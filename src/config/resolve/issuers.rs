//! `issuers`: whose users may call, and how tokens are obtained for them.

use std::collections::HashMap;

use super::application::{self, Application};
use super::exchange::Naming;
use super::files::authorities;
use super::publication::PublicUrl;
use super::{Surroundings, exchange, pages, publication, sign_in, values};
use crate::checked_url::{CheckedUrl, PlainHttp};
use crate::config::at::At;
use crate::config::file::{self, File};
use crate::identity::{Actor, Audience, Issuer, IssuerName, Scopes, Tenant};
use crate::oauth::published_metadata::Publication;
use crate::oauth::sign_in::SignInSettings;
use crate::oauth::{
    ApplicationSettings, ClaimNames, ClaimPath, Endpoints, ExchangeSettings, IssuerKind, IssuerSettings,
    Profile,
};

/// The issuers as far as they could be checked, and what connectors need to know of each.
pub struct Issuers {
    /// Those without faults.
    pub settings: Vec<IssuerSettings>,
    /// All that are written.
    pub known: Vec<KnownIssuer>,
}

/// An issuer as a connector sees it.
pub struct KnownIssuer {
    pub name: IssuerName,
    pub exchange: Exchange,
    pub application: Application,
}

/// Whether an issuer can be asked for delegated tokens.
pub enum Exchange {
    /// It can, and the target is named so.
    By(Naming),
    /// It says nothing of an exchange.
    Missing,
    /// It has faults of its own, so nothing can be said.
    Unclear,
}

/// Where Entra is, by cloud: the host people sign in at, and the `iss` of tokens of version 1.
struct EntraAddresses {
    login: &'static str,
    version_1_issuer: &'static str,
}

impl EntraAddresses {
    const fn of(cloud: file::Cloud) -> Self {
        match cloud {
            file::Cloud::Global => Self {
                login: "https://login.microsoftonline.com/{tenantid}",
                version_1_issuer: "https://sts.windows.net/{tenantid}/",
            },
            file::Cloud::UsGovernment => Self {
                login: "https://login.microsoftonline.us/{tenantid}",
                version_1_issuer: "https://sts.windows.net/{tenantid}/",
            },
            file::Cloud::China => Self {
                login: "https://login.partner.microsoftonline.cn/{tenantid}",
                version_1_issuer: "https://sts.chinacloudapi.cn/{tenantid}/",
            },
        }
    }
}

/// What stands behind the sign-in address of a tenant.
const ENTRA_ISSUER: &str = "/v2.0";
const ENTRA_METADATA: &str = "/v2.0/.well-known/openid-configuration";
const ENTRA_KEYS: &str = "/discovery/v2.0/keys";
const ENTRA_TOKEN: &str = "/oauth2/v2.0/token";
const ENTRA_AUTHORIZE: &str = "/oauth2/v2.0/authorize";
/// Claims whose value changes, or is given to somebody else later: whoever gets it would get the other's tokens.
const MUTABLE_CLAIMS: [&str; 9] = [
    "email",
    "upn",
    "preferred_username",
    "unique_name",
    "username",
    "name",
    "nickname",
    "given_name",
    "phone_number",
];
/// Stands for the tenant in an address, as in Entra's own metadata.
const TENANT_PLACEHOLDER: &str = "{tenantid}";

/// Checks all issuers.
pub fn settings(
    file: &File,
    root: &At<'_>,
    public_url: &PublicUrl<'_>,
    surroundings: &Surroundings<'_>,
) -> Issuers {
    let at = root.key("issuers");
    let known = at.names().into_iter().map(|name| known(name, file, &at)).collect();
    let mut settings: Vec<IssuerSettings> = Vec::new();
    let issuers = at.required(file.issuers.as_ref(), "name at least one authorization server");
    if issuers.is_some_and(|issuers| issuers.0.is_empty()) {
        at.fault("is empty: name at least one authorization server");
    }
    for (name, issuer) in issuers.iter().flat_map(|issuers| &issuers.0) {
        let at = at.key(name);
        values::check_name(&at, name);
        let serves_pages = pages::are_wanted(file, root);
        let checked = issuer_settings(name, issuer, &at, (public_url, serves_pages), surroundings);
        settings.extend(checked.into_iter().flatten());
    }
    refuse_doubles(&settings, &at);
    for second in settings.iter().filter(|entry| entry.introspects).skip(1) {
        at.key(second.name.as_str()).key("introspect").fault(
            "is the second: nothing tells from which issuer an opaque token is, so only one can be asked",
        );
    }
    Issuers { settings, known }
}

fn known(name: &str, file: &File, at: &At<'_>) -> KnownIssuer {
    let issuer = file.issuers.iter().flat_map(|issuers| &issuers.0).find(|(other, _)| other == name);
    let exchange_at = at.key(name).key("exchange");
    let exchange = match issuer.map(|(_, issuer)| &issuer.exchange) {
        Some(Some(exchange)) => {
            exchange::naming(exchange, &exchange_at).map_or(Exchange::Unclear, Exchange::By)
        }
        Some(None) if !exchange_at.is_written() => Exchange::Missing,
        Some(None) | None => Exchange::Unclear,
    };
    let application = application::known(issuer.map(|(_, issuer)| issuer), &at.key(name));
    KnownIssuer { name: IssuerName::new(name), exchange, application }
}

/// A token's `iss` must lead to one entry, or its audiences and agents would be a matter of luck.
fn refuse_doubles(settings: &[IssuerSettings], at: &At<'_>) {
    let mut first: HashMap<&Issuer, &IssuerName> = HashMap::new();
    let issuers = settings.iter().flat_map(|entry| {
        let all = [Some(&entry.issuer), entry.other_issuer.as_ref()];
        all.into_iter().flatten().map(move |issuer| (issuer, entry))
    });
    for (issuer, entry) in issuers {
        if let Some(other) = first.insert(issuer, &entry.name) {
            at.key(entry.name.as_str()).fault(format_args!(
                "has the same `iss` as {}: each may stand in the file once",
                if *other == entry.name { "another tenant of it".to_owned() } else { format!("`{other}`") },
            ));
        }
    }
}

/// One settings value for each tenant, which differ in where the issuer is.
fn issuer_settings(
    name: &str,
    issuer: &file::Issuer,
    at: &At<'_>,
    (public_url, serves_pages): (&PublicUrl<'_>, bool),
    surroundings: &Surroundings<'_>,
) -> Option<Vec<IssuerSettings>> {
    let kind = at.key("kind");
    let locations =
        match kind.required(issuer.kind, "`entra` for Microsoft Entra ID, `oidc` for any other server") {
            Some(file::IssuerKind::Entra) => entra(issuer, at),
            Some(file::IssuerKind::Oidc) => oidc(issuer, at, serves_pages).map(|location| vec![location]),
            None => None,
        };
    let claim_names = claim_names(issuer, at);
    let audiences = audiences(issuer, &at.key("audiences"));
    let agents = agents(issuer, &at.key("agents"));
    let required_scopes = values::scopes(&at.key("required_scopes"), issuer.required_scopes.as_deref());
    let extra_roots = authorities(&at.key("ca_file"), issuer.ca_file.as_deref());
    let published_issuer = publication::published_issuer(name, issuer, at, public_url);
    let exchange = exchange(issuer, at, surroundings);
    let application = application::settings(issuer, exchange.as_ref(), at, surroundings);
    let sign_in = sign_in::settings(issuer, exchange.as_ref(), at, serves_pages, surroundings);
    let template = Template {
        profile: match issuer.profile {
            Some(file::Profile::Rfc9068) => Profile::Rfc9068,
            Some(file::Profile::Lenient) | None => Profile::Lenient,
        },
        claim_names: claim_names?,
        introspects: issuer.introspect == Some(true),
        audiences: audiences?,
        agents: agents?,
        required_scopes: required_scopes?,
        extra_roots: extra_roots?,
        published_issuer: published_issuer?,
        exchange: exchange?,
        application: application?,
        sign_in: sign_in?,
    };
    Some(locations?.into_iter().map(|location| template.at(name, location)).collect())
}

/// What the tenants of one entry have in common.
struct Template {
    profile: Profile,
    claim_names: ClaimNames,
    introspects: bool,
    audiences: Vec<Audience>,
    agents: Option<Vec<Actor>>,
    required_scopes: Scopes,
    extra_roots: Vec<rustls::pki_types::CertificateDer<'static>>,
    published_issuer: Option<Issuer>,
    exchange: Option<ExchangeSettings>,
    application: Option<ApplicationSettings>,
    sign_in: Option<SignInSettings>,
}

/// What they do not.
struct Location {
    kind: IssuerKind,
    issuer: Issuer,
    other_issuer: Option<Issuer>,
    metadata: CheckedUrl,
    endpoints: Endpoints,
}

impl Template {
    fn at(&self, name: &str, location: Location) -> IssuerSettings {
        IssuerSettings {
            name: IssuerName::new(name),
            kind: location.kind,
            issuer: location.issuer,
            other_issuer: location.other_issuer,
            profile: self.profile,
            claim_names: self.claim_names.clone(),
            introspects: self.introspects,
            endpoints: location.endpoints,
            audiences: self.audiences.clone(),
            agents: self.agents.clone(),
            required_scopes: self.required_scopes.clone(),
            keeps_display_names: false,
            extra_roots: self.extra_roots.clone(),
            publication: self
                .published_issuer
                .clone()
                .map(|issuer| Publication { issuer, metadata: location.metadata }),
            exchange: self.exchange.clone(),
            application: self.application.clone(),
            sign_in: self.sign_in.clone(),
        }
    }
}

/// Where the claims are. An Entra token's are where they are.
fn claim_names(issuer: &file::Issuer, at: &At<'_>) -> Option<ClaimNames> {
    if issuer.kind == Some(file::IssuerKind::Entra) {
        let of_oidc = [
            ("profile", issuer.profile.is_some()),
            ("claims", issuer.claims.is_some()),
            ("introspect", issuer.introspect.is_some()),
            ("introspection_endpoint", issuer.introspection_endpoint.is_some()),
        ];
        for (key, given) in of_oidc {
            if given {
                at.key(key).fault("goes with `kind: oidc`: leave it out");
            }
        }
    }
    let Some(claims) = &issuer.claims else { return Some(ClaimNames::default()) };
    let at = at.key("claims");
    if let Some(subject) = claims.subject.as_deref()
        && MUTABLE_CLAIMS.contains(&subject.rsplit('/').next().unwrap_or(subject))
    {
        at.key("subject").fault_found(
            "can change, or be given to somebody else, who would then be taken for the person: name a stable \
             identifier, such as `sub`",
        );
        return None;
    }
    let path = |key: &str, text: &Option<String>| match text.as_deref() {
        None => Some(None),
        Some("") => {
            at.key(key).fault("is empty: name a claim, or leave the key out");
            None
        }
        Some(text) if text.starts_with('/') => Some(Some(ClaimPath::Pointer(text.into()))),
        Some(text) => Some(Some(ClaimPath::Name(text.into()))),
    };
    Some(ClaimNames {
        subject: path("subject", &claims.subject)?,
        agent: path("agent", &claims.agent)?,
        scopes: path("scopes", &claims.scopes)?,
        groups: path("groups", &claims.groups)?,
        roles: path("roles", &claims.roles)?,
    })
}

fn audiences(issuer: &file::Issuer, at: &At<'_>) -> Option<Vec<Audience>> {
    const WHAT: &str = "list what `aud` of a token for the gateway names, like `[api://obo-gateway]`";
    let audiences = at.required(issuer.audiences.as_deref(), WHAT)?;
    if !values::not_empty(at, Some(audiences), WHAT) {
        return None;
    }
    Some(audiences.iter().map(|audience| Audience::new(audience.as_str())).collect())
}

fn agents(issuer: &file::Issuer, at: &At<'_>) -> Option<Option<Vec<Actor>>> {
    let agents = issuer.agents.as_deref();
    if !values::not_empty(at, agents, "nobody could call; leave the key out to let any agent call") {
        return None;
    }
    Some(agents.map(|agents| agents.iter().map(|agent| Actor::new(agent.as_str())).collect()))
}

fn exchange(
    issuer: &file::Issuer,
    at: &At<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<Option<ExchangeSettings>> {
    let Some(exchange) = &issuer.exchange else { return Some(None) };
    let at = at.key("exchange");
    let is_entra = issuer.kind == Some(file::IssuerKind::Entra);
    if is_entra && exchange.grant == Some(file::Grant::IdJag) {
        at.key("grant").fault(
            "goes with `kind: oidc`: an Entra tenant names its people by `oid`, and an ID-JAG by `sub` (found \"id_jag\")",
        );
    }
    exchange::settings(exchange, &at, surroundings).map(Some)
}

fn oidc(issuer: &file::Issuer, at: &At<'_>, serves_pages: bool) -> Option<Location> {
    let of_entra = [
        ("tenant", issuer.tenant.is_some()),
        ("tenants", issuer.tenants.is_some()),
        ("cloud", issuer.cloud.is_some()),
    ];
    for (key, given) in of_entra {
        if given {
            at.key(key).fault("goes with `kind: entra`: leave it out");
        }
    }
    let issuer_at = at.key("issuer");
    let text = issuer_at.required(issuer.issuer.as_deref(), "give the exact `iss` of its tokens")?;
    let plain_http = values::plain_http(issuer.allow_plain_http);
    let found = metadata_of(&issuer_at, text, plain_http);
    let jwks_uri = endpoint(&at.key("jwks_uri"), issuer.jwks_uri.as_deref(), plain_http);
    let token_endpoint = endpoint(&at.key("token_endpoint"), issuer.token_endpoint.as_deref(), plain_http);
    let introspection_endpoint =
        endpoint(&at.key("introspection_endpoint"), issuer.introspection_endpoint.as_deref(), plain_http);
    let (metadata, jwks_uri, token_endpoint) = (found?, jwks_uri?, token_endpoint?);
    let introspection_endpoint = introspection_endpoint?;
    let introspects = issuer.introspect == Some(true);
    if introspects && issuer.exchange.is_none() {
        at.key("introspect").fault("needs `exchange`, whose client asks what tokens mean: add it");
        return None;
    }
    if introspection_endpoint.is_some() && !introspects {
        at.key("introspection_endpoint").fault("goes with `introspect: true`: add it, or leave this out");
        return None;
    }
    let all_given = jwks_uri.is_some()
        && (token_endpoint.is_some() || (issuer.exchange.is_none() && issuer.application.is_none()))
        && (introspection_endpoint.is_some() || !introspects)
        // Where people sign in is said nowhere else.
        && !serves_pages;
    Some(Location {
        kind: IssuerKind::Oidc,
        issuer: Issuer::new(text),
        other_issuer: None,
        metadata: metadata.clone(),
        endpoints: Endpoints {
            metadata: (!all_given).then_some(metadata),
            jwks_uri,
            token_endpoint,
            authorization_endpoint: None,
            introspection_endpoint,
            plain_http,
        },
    })
}

fn entra(issuer: &file::Issuer, at: &At<'_>) -> Option<Vec<Location>> {
    if issuer.cloud.is_some() && issuer.issuer.is_some() {
        at.key("cloud")
            .fault("stands beside `issuer`, which says where the tenant is: leave out one of the two");
        return None;
    }
    let tenants = tenants(issuer, at)?;
    for (key, given) in [("issuer", &issuer.issuer), ("token_endpoint", &issuer.token_endpoint)] {
        if tenants.len() > 1 && given.as_ref().is_some_and(|text| !text.contains(TENANT_PLACEHOLDER)) {
            at.key(key).fault_found(format_args!(
                "is one address for several tenants: write `{TENANT_PLACEHOLDER}` where the tenant stands \
                 in it"
            ));
            return None;
        }
    }
    tenants.iter().map(|tenant| entra_tenant(issuer, tenant, at)).collect()
}

fn entra_tenant(issuer: &file::Issuer, tenant: &str, at: &At<'_>) -> Option<Location> {
    let fill = |text: &str| text.replace(TENANT_PLACEHOLDER, tenant);
    let given = |text: &Option<String>| text.as_deref().map(fill);
    let plain_http = values::plain_http(issuer.allow_plain_http);
    let iss = given(&issuer.issuer);
    let found = iss.as_deref().map(|iss| metadata_of(&at.key("issuer"), iss, plain_http));
    let jwks_uri = endpoint(&at.key("jwks_uri"), given(&issuer.jwks_uri).as_deref(), plain_http);
    let token_endpoint =
        endpoint(&at.key("token_endpoint"), given(&issuer.token_endpoint).as_deref(), plain_http);
    let (jwks_uri, token_endpoint) = (jwks_uri?, token_endpoint?);
    // With an address of its own, nothing is known of the rest until discovery tells.
    let addresses = EntraAddresses::of(issuer.cloud.unwrap_or(file::Cloud::Global));
    let login = fill(addresses.login);
    let (metadata, known) = match found {
        Some(metadata) => (Some(metadata?), None),
        None => (None, Some(|path: &str| own_address(&format!("{login}{path}")))),
    };
    Some(Location {
        kind: IssuerKind::Entra { tenant: Tenant::Named(tenant.into()) },
        other_issuer: iss.is_none().then(|| Issuer::new(fill(addresses.version_1_issuer))),
        issuer: Issuer::new(iss.unwrap_or_else(|| format!("{login}{ENTRA_ISSUER}"))),
        metadata: metadata.clone().unwrap_or_else(|| own_address(&format!("{login}{ENTRA_METADATA}"))),
        endpoints: Endpoints {
            metadata,
            jwks_uri: jwks_uri.or_else(|| known.as_ref().map(|known| known(ENTRA_KEYS))),
            token_endpoint: token_endpoint.or_else(|| known.as_ref().map(|known| known(ENTRA_TOKEN))),
            authorization_endpoint: known.as_ref().map(|known| known(ENTRA_AUTHORIZE)),
            introspection_endpoint: None,
            plain_http,
        },
    })
}

fn own_address(text: &str) -> CheckedUrl {
    CheckedUrl::parse(text, PlainHttp::LoopbackOnly)
        .expect("Entra's addresses are https, and a tenant is a GUID")
}

/// The tenants of an Entra issuer, in lower case as `tid` has them.
fn tenants(issuer: &file::Issuer, at: &At<'_>) -> Option<Vec<String>> {
    let (one, several) = (at.key("tenant"), at.key("tenants"));
    match (&issuer.tenant, &issuer.tenants) {
        (Some(_), Some(_)) => {
            one.fault("stands beside `tenants`: leave out one of the two");
            None
        }
        (Some(tenant), None) => Some(vec![self::tenant(&one, tenant)?]),
        (None, Some(tenants)) => {
            if !values::not_empty(
                &several,
                Some(tenants),
                "nobody could call; list the tenants whose users may",
            ) {
                return None;
            }
            let checked: Vec<Option<String>> =
                tenants.iter().enumerate().map(|(index, text)| tenant(&several.index(index), text)).collect();
            checked.into_iter().collect()
        }
        (None, None) if several.is_written() => None,
        (None, None) => one.required(None, "give the tenant (directory) ID, a GUID, whose users may call"),
    }
}

fn tenant(at: &At<'_>, text: &str) -> Option<String> {
    if matches!(text, "common" | "organizations" | "consumers") {
        at.fault_found("lets in people of any tenant: list the tenants under `tenants`, each by its GUID");
        return None;
    }
    if !values::is_guid(text) {
        at.fault_found("must be a tenant (directory) ID, a GUID like `00000000-0000-0000-0000-000000000000`");
        return None;
    }
    Some(text.to_ascii_lowercase())
}

/// Checks an issuer's address, and gives that of its metadata (OpenID Connect Discovery 1.0 section 4.1).
fn metadata_of(at: &At<'_>, issuer: &str, plain_http: PlainHttp) -> Option<CheckedUrl> {
    values::issuer(at, issuer, plain_http)?;
    let metadata = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    at.checked(CheckedUrl::parse(&metadata, plain_http))
}

fn endpoint(at: &At<'_>, text: Option<&str>, plain_http: PlainHttp) -> Option<Option<CheckedUrl>> {
    match text {
        Some(text) => values::url(at, text, plain_http).map(Some),
        None => Some(None),
    }
}
