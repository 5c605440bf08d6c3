//! An authorization server that costs next to nothing: it gives everybody who asks a token of their own, and checks nothing.
//!
//! The development authorization server signs each token, which takes ten times as long as the gateway takes to ask for it. Where
//! exchanges themselves are measured, or a million of them are needed, this one stands in. What it gives out is as long as Entra's
//! tokens are, and differs from one person to the next where theirs do; but its signature is only random.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use obo_gateway::demo::authorization_server::MAIL_AUDIENCE;
use obo_gateway::demo::jws::{Algorithm, SigningKey, base64url};
use obo_gateway::digest::Hex;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::Outcome;

/// How long its tokens are good: longer than any measurement takes.
const LIFE: Duration = Duration::from_secs(12 * 3_600);
/// How long subject tokens are at least, in bytes: Entra's are, of people who are in a few groups.
pub const TOKEN_BYTES: usize = 1_700;
/// Length of the tokens that it gives out.
const DELEGATED_BYTES: usize = 1_800;
/// Length of a signature by RSA-2048.
const SIGNATURE_BYTES: usize = 256;
/// How many bytes of a person's token are random beside that.
const OWN_BYTES: usize = 66 + 1 + 16 + 8 + 34 + 16 + 32 + 16 + 32;
/// Scopes of an application that may do a lot.
const SCOPES: &str = "AuditLog.Read.All Calendars.ReadWrite Channel.ReadBasic.All Chat.ReadWrite Contacts.ReadWrite Directory.Read.All email Files.ReadWrite.All Group.Read.All Mail.ReadWrite Mail.Send openid People.Read profile Sites.Read.All Tasks.ReadWrite Team.ReadBasic.All User.Read";

pub struct Authority {
    address: SocketAddr,
    key: SigningKey,
    issued: Arc<Issued>,
    serving: AbortHandle,
}

/// What it has given out, and what all of it has in common.
struct Issued {
    count: AtomicU64,
    header: String,
    /// Claims that are everybody's.
    common: String,
    keys: String,
}

impl Authority {
    pub async fn start() -> Outcome<Self> {
        let (listener, key) = (TcpListener::bind("127.0.0.1:0").await?, SigningKey::p256("load"));
        let address = listener.local_addr()?;
        let issued = Arc::new(Issued {
            count: AtomicU64::new(0),
            header: base64url(br#"{"typ":"at+jwt","alg":"RS256","kid":"hbGciOiJSUzI1NiIsImtpZCI6Imxv"}"#),
            common: format!(
                r#""iss":"http://{address}","aud":"{MAIL_AUDIENCE}","scope":"Mail.Read","iat":{},"exp":{},"acr":"1","amr":["pwd","mfa"],"app_displayname":"obo-gateway","appid":"9d2a7c3e-4b1d-4c59-9f43-2d6f1a8be100","appidacr":"2","idtyp":"user","tenant_region_scope":"EU","tid":"7c1e5b0a-4b1d-4c59-9f43-2d6f1a8be100","ver":"1.0","xms_ftd":"Zm9yIGxvYWQgYW5kIG5vdGhpbmcgZWxzZQ","xms_idrel":"1 12","wids":["b79fbf4d-3ef9-4689-8143-76b194e85509"]"#,
                now(),
                now() + LIFE.as_secs(),
            ),
            keys: json!({ "keys": [key.jwk()] }).to_string(),
        });
        let serving = tokio::spawn(accept(listener, Arc::clone(&issued))).abort_handle();
        Ok(Self { address, key, issued, serving })
    }

    /// How many tokens it has given out.
    pub fn issued(&self) -> u64 {
        self.issued.count.load(Ordering::Relaxed)
    }

    /// A person's token for the gateway.
    pub fn subject_token(&self, number: usize) -> String {
        // 52 characters for each group; what there is beside them takes some 550.
        let groups: Vec<String> =
            (0..(TOKEN_BYTES - 550) / 52).map(|group| group_id(number, group)).collect();
        let claims = json!({
            "iss": self.issuer(), "aud": "obo-gateway", "azp": "load-agent", "scope": "access_as_user",
            "sub": format!("person-{number:08}"), "name": format!("Person {number}"),
            "preferred_username": format!("person-{number}@load.demo.test"),
            "iat": now(), "exp": now() + LIFE.as_secs(), "groups": groups,
        });
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": self.key.kid() });
        self.key.sign(Algorithm::Es256, &header.to_string(), &claims.to_string())
    }

    /// What a configuration says of it.
    pub fn configuration(&self, secret: &Path) -> String {
        format!(
            "    kind: oidc
    issuer: {issuer}
    jwks_uri: {issuer}/keys
    token_endpoint: {issuer}/token
    audiences: [obo-gateway]
    exchange:
      grant: token_exchange
      client_id: obo-gateway
      client_auth: {{ secret_file: {secret}, method: basic }}
",
            issuer = self.issuer(),
            secret = secret.display(),
        )
    }

    /// Its `iss`.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, issued: Arc<Issued>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(serve(stream, Arc::clone(&issued)));
    }
}

/// Answers one request after another: a POST with a token, and anything else with the keys. How the connection ends is
/// the gateway's affair.
async fn serve(stream: TcpStream, issued: Arc<Issued>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut stream, mut line, mut body) = (BufReader::new(stream), String::new(), Vec::new());
    loop {
        let (mut is_post, mut length) = (false, 0);
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            is_post |= line.starts_with("POST ");
            match line.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap_or(0);
                }
                _ if line.trim_end().is_empty() => break,
                _ => {}
            }
        }
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        let answer = if is_post { issued.answer() } else { issued.keys.clone() };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes()).await?;
    }
}

impl Issued {
    /// An answer with a token that nobody else has.
    fn answer(&self) -> String {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; SIGNATURE_BYTES + OWN_BYTES];
        SystemRandom::new().fill(&mut random).expect("the system has random numbers");
        let (signature, mut own) = random.split_at(SIGNATURE_BYTES);
        let mut take = |count: usize| own.split_off(..count).expect("there are as many as are taken");
        // What is a person's own in Entra's tokens, or one token's: most of it looks random to anybody else. `spn` is in place of `sub`,
        // which the gateway would compare.
        let own = format!(
            r#""aio":"{}","family_name":"{number}","given_name":"Person","ipaddr":"192.0.2.{}","name":"Person {number}","oid":"{}","puid":"{}","rh":"1.{}.","sid":"{}","spn":"{}","unique_name":"person-{number}@load.demo.test","upn":"person-{number}@load.demo.test","uti":"{}","xms_st":{{"sub":"{}"}}"#,
            STANDARD.encode(take(66)),
            take(1)[0],
            uuid(take(16)),
            Hex(take(8)).to_string().to_uppercase(),
            base64url(take(34)),
            uuid(take(16)),
            base64url(take(32)),
            base64url(take(16)),
            base64url(take(32)),
        );
        let claims = format!("{{{},{own}", self.common);
        // In bytes before they are base64. What is left is for scopes, of which an application has the same for everybody.
        let room = (DELEGATED_BYTES - self.header.len() - SIGNATURE_BYTES * 4 / 3 - 4) * 3 / 4;
        let scopes = SCOPES.get(..room.saturating_sub(claims.len() + 9)).unwrap_or(SCOPES);
        let claims = format!("{claims},\"scp\":\"{scopes}\"}}");
        format!(
            r#"{{"access_token":"{}.{}.{}","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":{},"scope":"Mail.Read"}}"#,
            self.header,
            base64url(claims.as_bytes()),
            base64url(signature),
            LIFE.as_secs(),
        )
    }
}

/// A group of a person, as Entra names groups.
pub fn group_id(person: usize, group: usize) -> String {
    format!("{:08x}-0000-4000-8000-{:012x}", group * 7_919, person * 31 + group)
}

fn uuid(bytes: &[u8]) -> String {
    let digits = Hex(bytes).to_string();
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
