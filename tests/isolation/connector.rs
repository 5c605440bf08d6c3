//! A connector that verifies the token of each request and compares whom it is for with whom the call is for.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use obo_gateway::demo::jws::{Algorithm, Jws, PublicKey, sha256_base64url};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::lane::{CONNECTORS, Echo, Lane, Whom};
use crate::random::Random;
use crate::world::World;

/// Most crossings that are described; all are counted.
const DESCRIBED_MAX: usize = 3;
/// Pause between the two halves of an answer that breaks off.
const BEFORE_THE_BREAK: Duration = Duration::from_millis(20);

/// The lane that each token served, by the token's digest. All connectors share it.
pub type Tokens = Mutex<HashMap<String, Lane>>;

type Body = BoxBody<Bytes, io::Error>;

/// A running connector. It stops when it is dropped.
pub struct Connector {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    accepting: AbortHandle,
}

/// What the connector has seen.
pub struct Seen {
    name: &'static str,
    world: Arc<World>,
    manners: Option<Mutex<Random>>,
    keys: tokio::sync::Mutex<HashMap<(usize, String), PublicKey>>,
    client: reqwest::Client,
    /// Requests received.
    pub requests: AtomicUsize,
    /// Requests whose token was not for whom the call was for.
    pub crossings: AtomicUsize,
    /// The first of them.
    pub described: Mutex<Vec<String>>,
    tokens: Arc<Tokens>,
}

impl Connector {
    /// Listens. `manners` make it slow, or turn tokens away, or break off, now and then.
    pub async fn start(
        number: usize,
        (world, tokens): (Arc<World>, Arc<Tokens>),
        tls: Option<Arc<rustls::ServerConfig>>,
        manners: Option<Random>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let seen = Arc::new(Seen {
            name: CONNECTORS[number].0,
            world,
            manners: manners.map(Mutex::new),
            keys: tokio::sync::Mutex::default(),
            client: reqwest::Client::builder().no_proxy().build().map_err(io::Error::other)?,
            requests: AtomicUsize::new(0),
            crossings: AtomicUsize::new(0),
            described: Mutex::default(),
            tokens,
        });
        let accepting = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), Arc::clone(&seen)));
        Ok(Self { address, seen, accepting: accepting.abort_handle() })
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>) {
    // Dropped with this task, and the connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (tls, seen) = (tls.clone(), Arc::clone(&seen));
                connections.spawn(async move {
                    // How a connection ends is the gateway's affair.
                    let _ = stream.set_nodelay(true);
                    match tls {
                        None => serve(stream, seen).await,
                        Some(tls) => if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, seen).await;
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Seen>) {
    let service = service_fn(move |request| {
        let seen = Arc::clone(&seen);
        async move { Ok::<_, Infallible>(seen.answer(request).await) }
    });
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

impl Seen {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let query = request.uri().query().unwrap_or_default();
        let part = |name| url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        let call = part("call").and_then(|(_, call)| call.parse().ok());
        let lane = part("lane").and_then(|(_, lane)| lane.parse::<Lane>().ok());
        let (Some(call), Some(lane)) = (call, lane) else { return plain(StatusCode::BAD_REQUEST) };
        let token = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .unwrap_or_default();
        let whom = self.compare(token, &lane).await;
        match self.misbehaviour().await {
            Some(Misbehaviour::TurnAway) => {
                let mut response = plain(StatusCode::UNAUTHORIZED);
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
                response
            }
            Some(Misbehaviour::DemandClaims) => {
                let mut response = plain(StatusCode::UNAUTHORIZED);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, claims_challenge());
                response
            }
            Some(Misbehaviour::BreakOff) => {
                let begun = stream::once(async { Ok(Frame::data(Bytes::from_static(b"{\"call\":"))) });
                let broken = stream::once(async {
                    // So that the beginning is on its way.
                    tokio::time::sleep(BEFORE_THE_BREAK).await;
                    Err(io::Error::from(io::ErrorKind::BrokenPipe))
                });
                Response::new(BoxBody::new(StreamBody::new(begun.chain(broken))))
            }
            None => {
                let filler = part("filler").and_then(|(_, bytes)| bytes.parse().ok()).unwrap_or(0);
                let echo = Echo { call, whom, filler: "x".repeat(filler) };
                let echo = serde_json::to_vec(&echo).expect("it is plain text");
                Response::new(full(echo))
            }
        }
    }

    /// Verifies a token and compares whom it is for with the lane's; a token serves one lane alone.
    async fn compare(&self, token: &str, lane: &Lane) -> Whom {
        let expected = self.world.whom(lane);
        let whom = match self.verify(token).await {
            Ok(whom) => whom,
            Err(why) => {
                self.cross(format!("{}: a call for {expected:?} came with {why}", self.name));
                return Whom::default();
            }
        };
        let digest = sha256_base64url(token.as_bytes());
        let first = *self.tokens.lock().expect("nobody panics here").entry(digest).or_insert(*lane);
        if whom != expected {
            self.cross(format!("{}: a call for {expected:?} came with a token for {whom:?}", self.name));
        } else if first != *lane {
            self.cross(format!("{}: a token of lane {first} came on lane {lane}", self.name));
        }
        whom
    }

    fn cross(&self, what: String) {
        self.crossings.fetch_add(1, Ordering::Relaxed);
        let mut described = self.described.lock().expect("nobody panics here");
        if described.len() < DESCRIBED_MAX {
            described.push(what);
        }
    }

    /// Whom a token is for, if one of the tenants signed it.
    async fn verify(&self, token: &str) -> Result<Whom, String> {
        let jws = Jws::parse(token).ok_or("no token that can be read")?;
        let issuer = jws.text("iss").unwrap_or_default();
        let tenant = self.world.tenants.iter().position(|tenant| tenant.server.issuer() == issuer);
        let tenant = tenant.ok_or("a token of a strange issuer")?;
        let (kid, algorithm) = (jws.header("kid").unwrap_or_default(), jws.header("alg").unwrap_or_default());
        let algorithm = Algorithm::named(algorithm).ok_or("a token of a strange algorithm")?;
        let key = self.key(tenant, kid).await.ok_or("a token of a strange key")?;
        if !key.verifies(algorithm, &jws) {
            return Err("a token whose signature is wrong".to_owned());
        }
        let text = |name| jws.text(name).unwrap_or_default().to_owned();
        let mut scopes = jws.scopes();
        scopes.sort_unstable();
        // RFC 8693 section 4.1: the gateway acts, and before it acted who the subject token says.
        let chain = jws.claims.get("act").map(|act| act["act"]["sub"].as_str().unwrap_or_default());
        Ok(Whom {
            tenant: text("tid"),
            person: text("oid"),
            actor: chain.map_or_else(|| text("sid"), str::to_owned),
            audience: text("aud"),
            scopes: scopes.join(" "),
        })
    }

    async fn key(&self, tenant: usize, kid: &str) -> Option<PublicKey> {
        let mut keys = self.keys.lock().await;
        let place = (tenant, kid.to_owned());
        if !keys.contains_key(&place) {
            let uri = self.world.tenants[tenant].server.jwks_uri();
            let set: Value = self.client.get(uri).send().await.ok()?.json().await.ok()?;
            for key in set["keys"].as_array()? {
                if let (Some(kid), Some(key)) = (key["kid"].as_str(), PublicKey::from_jwk(key)) {
                    keys.insert((tenant, kid.to_owned()), key);
                }
            }
        }
        keys.get(&place).cloned()
    }

    /// What goes wrong this time, after a while in which nothing does.
    async fn misbehaviour(&self) -> Option<Misbehaviour> {
        let (pause, misbehaviour) = {
            let mut random = self.manners.as_ref()?.lock().expect("nobody panics here");
            let pause = random.once_in(10).then(|| Duration::from_millis(random.below(40) as u64));
            let misbehaviour = match random.below(400) {
                0..4 => Some(Misbehaviour::TurnAway),
                4..6 => Some(Misbehaviour::DemandClaims),
                6..8 => Some(Misbehaviour::BreakOff),
                _ => None,
            };
            (pause, misbehaviour)
        };
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        misbehaviour
    }
}

enum Misbehaviour {
    TurnAway,
    DemandClaims,
    BreakOff,
}

/// Wants the authentication context that a strong sign-in has.
fn claims_challenge() -> HeaderValue {
    use base64::Engine as _;
    let claims = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
    let claims = base64::engine::general_purpose::STANDARD.encode(claims);
    let challenge = format!("Bearer error=\"insufficient_claims\", claims=\"{claims}\"");
    HeaderValue::from_str(&challenge).expect("base64 can stand in a header")
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}
