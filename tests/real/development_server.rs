//! The development authorization server and the demo mail connector as a process of their own, over TLS, for clients
//! that are not written in Rust.
//!
//! Its first argument is a directory for certificates; further ones are addresses of the gateway: those where its pages
//! take people back (`…/account/…`), and those that it goes by as a resource, beside its own. It prints where everything is
//! as one line of JSON, answers each line of its input with what the token endpoint received so far, and ends with its input.

use std::io::{self, BufRead as _, Write as _};
use std::path::PathBuf;

use obo_gateway::demo::authorization_server::{AuthorizationServer, MAIL_AUDIENCE, Settings};
use obo_gateway::demo::certificates::DevelopmentCertificates;
use obo_gateway::demo::mail::{MailConnector, MailSettings};
use serde_json::{Map, Value, json};

fn main() -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let directory = arguments.next().map(PathBuf::from);
    let directory =
        directory.ok_or_else(|| io::Error::other("usage: development_server DIRECTORY [ADDRESS]..."))?;
    let addresses = arguments.filter_map(|address| address.into_string().ok()).collect();
    let certificates = DevelopmentCertificates::ensure(&directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (server, mail) = runtime.block_on(start(&certificates, addresses))?;
    say(&introduction(&server, &mail, &certificates))?;
    for line in io::stdin().lock().lines() {
        line?;
        say(&Value::Array(exchanges(&server)))?;
    }
    Ok(())
}

async fn start(
    certificates: &DevelopmentCertificates,
    addresses: Vec<String>,
) -> io::Result<(AuthorizationServer, MailConnector)> {
    let tls = certificates.server_config()?;
    let mut settings = Settings { tls: Some(tls.clone()), ..Settings::default() };
    let (pages, resources) = addresses.into_iter().partition(|address| address.contains("/account/"));
    settings.gateway.redirect_uris = pages;
    settings.gateway.identifier_uris = resources;
    settings.gateway.certificates.push(certificates.client.certificate.to_vec());
    let server = AuthorizationServer::start(settings).await?;
    let mail =
        MailSettings { tls: Some(tls), roots: certificates.roots()?, ..MailSettings::trusting(&server) };
    let mail = MailConnector::start(mail).await?;
    Ok((server, mail))
}

fn introduction(
    server: &AuthorizationServer,
    mail: &MailConnector,
    certificates: &DevelopmentCertificates,
) -> Value {
    let settings = server.settings();
    let person = |person: &obo_gateway::demo::people::Person| {
        json!({
            "oid": person.oid,
            "address": person.user_name,
            "token": server.subject_token(&person.oid).mint(),
        })
    };
    json!({
        "authority": format!("{}/{}", server.origin(), settings.tenant),
        "issuer": server.issuer(),
        "token_endpoint": server.token_endpoint(),
        "tenant": settings.tenant,
        "client_id": settings.gateway.client_id,
        "client_secret": settings.gateway.secret,
        "app_id_uri": settings.gateway.app_id_uri,
        "agent_client_id": settings.agent.client_id,
        "certificate": certificates.client.certificate_path,
        "key": certificates.client.key_path,
        "trust": certificates.authority_path,
        "mail": mail.base_url(),
        "mail_audience": MAIL_AUDIENCE,
        "people": settings.people.iter().map(person).collect::<Vec<_>>(),
    })
}

/// What the token endpoint received, oldest first: forms and headers as they came.
fn exchanges(server: &AuthorizationServer) -> Vec<Value> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    server
        .exchanges()
        .iter()
        .map(|exchange| {
            let headers: Map<String, Value> = exchange
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), Value::String(text(value))))
                .collect();
            json!({ "form": exchange.form, "headers": headers, "status": exchange.status.map(|s| s.as_u16()) })
        })
        .collect()
}

fn say(value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{value}")?;
    out.flush()
}
