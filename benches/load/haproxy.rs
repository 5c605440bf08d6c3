//! haproxy as a gateway: it verifies each token, and puts another one in its place.

use std::path::Path;
use std::process::Command;

use obo_gateway::demo::authorization_server::AuthorizationServer;
use obo_gateway::demo::jws::Algorithm;

use crate::Outcome;
use crate::machine::Pin;
use crate::nginx::Upstream;
use crate::proxy::Proxy;
use crate::running::{self, Running};

/// Starts it on one thread.
///
/// Issuer, audience and expiry are looked at as its handbook shows, and the signature is verified each time: it has no memory
/// for that. What goes on is one fixed token, where the gateway has one for each person.
pub async fn start_proxy(
    folder: &Path,
    authorization_server: &AuthorizationServer,
    signed: Algorithm,
    upstream: &Upstream,
    pin: Pin,
) -> Outcome<Proxy> {
    let (address, folder) = (running::free_address()?, folder.join("haproxy"));
    std::fs::create_dir_all(&folder)?;
    let key = folder.join("issuer.pem");
    std::fs::write(&key, authorization_server.public_pem(signed))?;
    let settings = authorization_server.settings();
    // As long as the gateway's delegated tokens are.
    let delegated = authorization_server.subject_token(&settings.people[0].oid).mint();
    let config = format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend agents
  bind {address}
  http-request set-var(txn.token) http_auth_bearer
  http-request set-var(txn.algorithm) var(txn.token),jwt_header_query('$.alg')
  http-request deny unless {{ var(txn.algorithm) -m str {algorithm} }}
  http-request set-var(txn.issuer) var(txn.token),jwt_payload_query('$.iss')
  http-request deny unless {{ var(txn.issuer) -m str {issuer} }}
  http-request set-var(txn.audience) var(txn.token),jwt_payload_query('$.aud')
  http-request deny unless {{ var(txn.audience) -m str {audience} }}
  http-request set-var(txn.expiry) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.now) date()
  http-request deny unless {{ var(txn.expiry),sub(txn.now) -m int gt 0 }}
  http-request deny unless {{ var(txn.token),jwt_verify(txn.algorithm,\"{key}\") 1 }}
  http-request set-header Authorization \"Bearer {delegated}\"
  http-request replace-path /mail(/.*) \\1
  default_backend connector
backend connector
  http-reuse always
  server upstream {upstream}
",
        algorithm = signed.name(),
        issuer = authorization_server.issuer(),
        audience = settings.gateway.client_id,
        key = key.display(),
        upstream = upstream.address,
    );
    let path = folder.join("haproxy.cfg");
    std::fs::write(&path, config)?;
    let mut command = pin.command("haproxy");
    command.arg("-db").arg("-f").arg(path);
    let log = folder.join("log");
    let mut running = Running::start("haproxy", command, &log)?;
    running.listens(address, &log).await?;
    Ok(Proxy { name: "haproxy", address, tls: false, running, trail: None, admin: None })
}

/// Its version, or why it cannot be compared with.
pub fn version() -> Result<String, String> {
    let told = Command::new("haproxy").arg("-v").output().map_err(|error| format!("haproxy: {error}"))?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let version = told.split_whitespace().nth(2).ok_or_else(|| format!("haproxy says {told}"))?;
    // `jwt_verify` came with 2.5.
    let mut numbers = version.split(['.', '-']).map(|number| number.parse::<u32>().unwrap_or(0));
    match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (2, 5) {
        true => Ok(version.to_owned()),
        false => Err(format!("haproxy {version} has no jwt_verify, which came with 2.5")),
    }
}
