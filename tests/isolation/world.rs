//! The tenants, who is in them, and the tokens that they sign.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;

use obo_gateway::demo::authorization_server::{
    AgentClient, AuthorizationServer, Consent, Resource, Scope, Settings,
};
use obo_gateway::demo::jws::Jws;
use obo_gateway::demo::people::Person;
use serde_json::json;

use crate::Outcome;
use crate::lane::{AGENTS, ALL_SCOPES, CONNECTORS, Lane, SignIn, TOOLS, Whom};

/// How a tenant's tokens are exchanged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Grant {
    /// RFC 8693, at an issuer of the kind `oidc`. The token has the scopes that were asked for.
    TokenExchange,
    /// Entra's, at an issuer of the kind `entra`. The token has all scopes that the person has agreed to.
    OnBehalfOf,
}

/// A tenant: an authorization server of its own.
pub struct Tenant {
    pub name: String,
    pub grant: Grant,
    pub server: AuthorizationServer,
}

/// All tenants. The same people are in each, under the same identifiers: only the tenant tells them apart.
pub struct World {
    pub tenants: Vec<Tenant>,
    pub people: Vec<Person>,
    tokens: Mutex<HashMap<(usize, usize, usize, SignIn), String>>,
}

impl World {
    /// Starts one authorization server for each grant.
    pub async fn start(people: usize, grants: &[Grant]) -> Outcome<Self> {
        let people: Vec<Person> = (0..people)
            .map(|number| {
                let oid = format!("00000000-0000-4000-8000-{number:012}");
                Person::new(&oid, &format!("Person {number}"), &format!("person-{number}@demo.test"))
            })
            .collect();
        let mut tenants = Vec::new();
        for (number, grant) in grants.iter().enumerate() {
            let server = AuthorizationServer::start(settings(number, &people)).await?;
            tenants.push(Tenant { name: format!("tenant-{number}"), grant: *grant, server });
        }
        Ok(Self { tenants, people, tokens: Mutex::default() })
    }

    /// What a gateway's configuration says of the tenants. `folder` has its secret; exchanges of another `variant` are others.
    pub fn issuers(&self, folder: &Path, variant: usize) -> String {
        let mut text = String::from("issuers:\n");
        for tenant in &self.tenants {
            let settings = tenant.server.settings();
            let (kind, grant) = match tenant.grant {
                Grant::TokenExchange => ("oidc".to_owned(), "token_exchange\n      target: audience"),
                Grant::OnBehalfOf => (format!("entra\n    tenant: {}", settings.tenant), "on_behalf_of"),
            };
            write!(
                text,
                "  {name}:
    kind: {kind}
    issuer: {issuer}
    audiences: [\"{client_id}\"]
    exchange:
      grant: {grant}
      client_id: {client_id}
      client_auth: {{ secret_file: {secret} }}
      extra: {{ variant: \"{variant}\" }}
",
                name = tenant.name,
                issuer = tenant.server.issuer(),
                client_id = settings.gateway.client_id,
                secret = folder.join("secret").display(),
            )
            .expect("memory takes any text");
        }
        text
    }

    /// The subject token of a lane; `anew`: another one, as after its agent has refreshed it.
    pub fn subject_token(&self, lane: &Lane, anew: bool) -> String {
        let whose = (lane.person, lane.agent, lane.tenant, lane.sign_in);
        let kept = self.tokens.lock().expect("nobody panics here").get(&whose).cloned();
        if let Some(token) = kept.filter(|_| !anew) {
            return token;
        }
        let mut token = self.tenants[lane.tenant]
            .server
            .subject_token(&self.people[lane.person].oid)
            .agent(AGENTS[lane.agent])
            // Who acts goes with the exchange into the delegated token: RFC 8693 keeps the chain of `act`, and Entra
            // the session.
            .claim("act", json!({ "sub": lane.actor() }))
            .claim("sid", lane.actor());
        if lane.sign_in == SignIn::Strong {
            token = token.claim("acrs", json!(["c1"]));
        }
        let token = token.mint();
        self.tokens.lock().expect("nobody panics here").insert(whose, token.clone());
        token
    }

    /// What the agent calls on the gateway. The query carries on, to the connector, whom the call is for.
    pub fn target(&self, lane: &Lane, call: usize) -> String {
        format!("/{}/{}?call={call}&lane={lane}", self.connector(lane), TOOLS[lane.tool].0)
    }

    /// What the gateway calls the connector of a lane, and its path.
    pub fn connector(&self, lane: &Lane) -> String {
        connector_name(CONNECTORS[lane.connector].0, self.tenants[lane.tenant].grant)
    }

    /// The identifier that the gateway knows the person of a lane by.
    pub fn subject(&self, lane: &Lane) -> String {
        let claim = match self.tenants[lane.tenant].grant {
            Grant::TokenExchange => "sub",
            Grant::OnBehalfOf => "oid",
        };
        let token = self.subject_token(lane, false);
        Jws::parse(&token).and_then(|jws| jws.text(claim).map(str::to_owned)).unwrap_or_default()
    }

    /// Whom the delegated token of a lane has to be for.
    pub fn whom(&self, lane: &Lane) -> Whom {
        let tenant = &self.tenants[lane.tenant];
        let scopes = match tenant.grant {
            Grant::TokenExchange => TOOLS[lane.tool].1,
            Grant::OnBehalfOf => ALL_SCOPES,
        };
        Whom {
            tenant: tenant.server.settings().tenant.clone(),
            person: self.people[lane.person].oid.clone(),
            actor: lane.actor(),
            audience: CONNECTORS[lane.connector].1.to_owned(),
            scopes: scopes.to_owned(),
        }
    }

    /// How many exchanges the authorization servers were asked for. They remember the last 20,000 each.
    pub fn exchanges(&self) -> usize {
        self.tenants.iter().map(|tenant| tenant.server.exchanges().len()).sum()
    }

    /// The delegated tokens that they issued.
    pub fn issued(&self) -> Vec<String> {
        self.tenants.iter().flat_map(|tenant| tenant.server.issued()).collect()
    }
}

/// What the gateway calls a connector for tenants of this grant. Their ways of writing scopes differ, so it knows the
/// same connector under two names.
pub fn connector_name(connector: &str, grant: Grant) -> String {
    match grant {
        Grant::TokenExchange => connector.to_owned(),
        Grant::OnBehalfOf => format!("{connector}-obo"),
    }
}

fn settings(number: usize, people: &[Person]) -> Settings {
    let defaults = Settings::default();
    let scopes: Vec<Scope> = ALL_SCOPES.split(' ').map(|name| Scope::new(name, name)).collect();
    let mut audiences = CONNECTORS.map(|(_, audience)| audience).to_vec();
    audiences.dedup();
    let resources: Vec<Resource> = audiences
        .iter()
        .map(|audience| {
            let (audience, scopes) = ((*audience).to_owned(), scopes.clone());
            Resource { name: audience.clone(), audience, scopes }
        })
        .collect();
    let consents = people
        .iter()
        .flat_map(|person| resources.iter().map(move |resource| (person, resource)))
        .flat_map(|(person, resource)| resource.scopes.iter().map(move |scope| (person, resource, scope)))
        .map(|(person, resource, scope)| {
            Consent::new(&person.oid, &defaults.gateway.client_id, &resource.audience, &scope.name)
        })
        .collect();
    Settings {
        tenant: format!("7c1e5b0a-4b1d-4c59-9f43-{number:012}"),
        people: people.to_vec(),
        agent: AgentClient { client_id: AGENTS[0].to_owned(), ..AgentClient::default() },
        resources,
        consents,
        own_rsa_key: true,
        ..defaults
    }
}
