//! The records of a trail; above all, what is known about one call, filled in as the stages learn it.

use std::fmt;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

use super::authentication::AuthenticationRecord;
use super::keyed::Privacy;
use super::mark::Mark;
use crate::checked_url::CheckedUrl;
use crate::identity::{Caller, Peer, RuleName, Scopes};
use crate::memo::Memo;
use crate::metrics::CacheLookup;
use crate::random;
use crate::tool::{Argument, ConnectorName, Tool};

/// Identifies one call: in the record, in the `Obo-Request-Id` header, and towards the connector.
///
/// A random part made when the process starts, and a counter: unique, and in order within one process. It is no
/// secret and grants nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestId {
    boot: u64,
    count: u64,
}

impl RequestId {
    /// The next one.
    pub fn next() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        Self { boot: boot(), count: COUNT.fetch_add(1, Ordering::Relaxed) }
    }

    /// As it is shown.
    pub fn text(self) -> RequestIdText {
        RequestIdText::of(self)
    }

    /// Reads one as it is shown; `None` when it is none. It may be of an earlier run.
    pub fn parse(text: &str) -> Option<Self> {
        let (boot, count) = text.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let id = Self { boot: number(boot)?, count: number(count)? };
        (id.to_string() == text).then_some(id)
    }
}

/// Tells this run of the gateway from others: made when it starts.
pub fn boot() -> u64 {
    static BOOT: LazyLock<u64> = LazyLock::new(|| {
        let mut bytes = [0; 8];
        random::fill(&mut bytes);
        u64::from_be_bytes(bytes)
    });
    *BOOT
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_ref())
    }
}

/// How long an identifier is at most: two numbers in hexadecimal, and a dash.
const REQUEST_ID_BYTES_MAX: usize = 33;

/// An identifier as it is shown. It stands in every answer, and several times in every record.
pub struct RequestIdText {
    digits: [u8; REQUEST_ID_BYTES_MAX],
    length: usize,
}

impl RequestIdText {
    fn of(id: RequestId) -> Self {
        // Eight digits until there have been four thousand million.
        let count_digits = (id.count.checked_ilog2().unwrap_or(0) as usize / 4 + 1).max(8);
        let (mut digits, length) = ([b'-'; REQUEST_ID_BYTES_MAX], 17 + count_digits);
        write_hex(id.boot, &mut digits[..16]);
        write_hex(id.count, &mut digits[17..length]);
        Self { digits, length }
    }

    /// Its digits and dash, in ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.length]
    }
}

impl AsRef<str> for RequestIdText {
    fn as_ref(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("digits and a dash are text")
    }
}

/// As many of the number's lowest digits as there is room for.
fn write_hex(number: u64, digits: &mut [u8]) {
    for (at, digit) in digits.iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(number >> (4 * at)) as usize & 15];
    }
}

/// Who can do something about a refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The agent's request is wrong.
    Agent,
    /// The person has to act.
    User,
    /// The authorization server is the cause.
    AuthorizationServer,
    /// The connector is the cause.
    Connector,
    /// The gateway, or whoever runs it.
    Gateway,
}

impl Fault {
    /// As it stands in answers and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::User => "user",
            Self::AuthorizationServer => "authorization_server",
            Self::Connector => "connector",
            Self::Gateway => "gateway",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// The connector's answer was passed on to its last byte, whatever its status.
    Answered,
    /// The gateway said no.
    Refused,
    /// The agent hung up, or stopped reading.
    AgentLeft,
    /// The connector broke off within its answer.
    ConnectorBroke,
    /// The caller's token expired, and with it a stream that was under way.
    TokenExpired,
    /// The call had all the time that a call has, and was cut within its answer.
    CallTimedOut,
    /// The gateway stopped, and the call outlasted the deadline for that.
    GatewayStopped,
    /// The gateway's own code failed.
    Panicked,
}

impl Ending {
    /// As it stands in metrics and records; refusals have codes of their own.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => crate::metrics::ANSWERED,
            Self::Refused => "refused",
            Self::AgentLeft => "agent_left",
            Self::ConnectorBroke => "answer_broke_off",
            Self::TokenExpired => "stream_expired",
            Self::CallTimedOut => "call_timeout",
            Self::GatewayStopped => "gateway_stopped",
            Self::Panicked => "panicked",
        }
    }
}

/// What a record says about a refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusalNote {
    /// Its stable code.
    pub code: &'static str,
    /// Who can do something about it.
    pub fault: Fault,
    /// What exactly was wrong, for whoever investigates. Never a token.
    pub detail: String,
    /// Whether policy said no, and not some other stage.
    pub denied: bool,
    /// The identifier by which the authorization server's operators find their side of it.
    pub issuer_correlation_id: Option<String>,
}

/// Where a request went, as far as records say it: without the query, in which anything may stand.
#[derive(Clone)]
pub struct Address(Uri);

impl Address {
    /// The path.
    pub fn path(&self) -> &str {
        self.0.path()
    }

    /// The host, where the request line names it.
    pub fn host(&self) -> Option<&str> {
        self.0.host()
    }
}

/// Where the gateway sends something: a host and a port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Destination {
    /// A name or an address.
    pub host: Arc<str>,
    /// The port.
    pub port: u16,
}

impl Destination {
    /// Where this address leads.
    pub fn of(url: &CheckedUrl) -> Self {
        let host = url.host().trim_start_matches('[').trim_end_matches(']');
        // Only `https` and `http` are ever checked, and these have one.
        Self { host: host.into(), port: url.as_url().port_or_known_default().unwrap_or_default() }
    }
}

/// Where agents send tokens: the caller's, and their own.
const TOKEN_HEADERS: [HeaderName; 2] = [AUTHORIZATION, HeaderName::from_static("obo-actor-token")];
/// Of which trace a call is a part (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a message to an MCP server asks for.
#[derive(Clone, Debug)]
pub struct McpOperation {
    /// The method: one of the protocol's.
    pub method: &'static str,
    /// Of what: a name or a URI.
    pub name: Option<Arc<str>>,
}

/// What a person was asked about a call.
#[derive(Clone, Debug)]
pub struct ConfirmationNote {
    /// The question.
    pub question: Arc<str>,
    /// When they agreed, since 1970 UTC, and where: `page` or `form`. `None`: the call did not run.
    pub agreed: Option<(Duration, &'static str)>,
}

/// How a call waited for a place at its connector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueNote {
    /// How long.
    pub waited: Duration,
    /// How that ended.
    pub end: QueueEnd,
}

/// How a call's waiting for a place at its connector ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum QueueEnd {
    /// It had its turn.
    Served,
    /// Its turn did not come in time.
    TimedOut,
    /// The call was over before its turn: the agent left, or the gateway stopped.
    Left,
}

impl QueueEnd {
    /// As it stands in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::TimedOut => "timed_out",
            Self::Left => "left",
        }
    }
}

/// Why a call was sent a second time with another credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecondTry {
    /// The connector did not take the first one.
    Unauthorized,
    /// The connector demanded claims of the next one.
    Claims,
}

impl SecondTry {
    /// As it stands in metrics and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Claims => "claims",
        }
    }
}

/// What records say of a credential that a connector gets.
#[derive(Clone, Debug)]
pub struct CredentialNote {
    /// The token's SHA-256.
    pub token: [u8; 32],
    /// The record of the exchange that it is from, or of the sign-in or renewal where it is of a connection.
    pub exchange: Option<RequestId>,
    /// The scopes that were granted, where the authorization server said so.
    pub granted: Option<Arc<Scopes>>,
    pub(super) memo: Memo,
}

impl CredentialNote {
    /// About the token of this SHA-256.
    pub fn new(token: [u8; 32], exchange: Option<RequestId>, granted: Option<Arc<Scopes>>) -> Self {
        Self { token, exchange, granted, memo: Memo::default() }
    }
}

/// When the stages of a call had finished, since it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StageTimes {
    /// The caller was known.
    pub authenticated: Option<Duration>,
    /// The tool was known.
    pub identified: Option<Duration>,
    /// Policy had allowed it.
    pub decided: Option<Duration>,
    /// The credential was there.
    pub obtained: Option<Duration>,
}

/// What is known about one call.
#[derive(Clone)]
pub struct CallRecord {
    /// Its identifier.
    pub request_id: RequestId,
    /// What it may say of people.
    pub privacy: Arc<Privacy>,
    /// When it arrived, since 1970 UTC.
    pub arrived_at: Duration,
    /// Who connected.
    pub peer: Peer,
    /// What was asked.
    pub method: Method,
    /// Where.
    pub address: Address,
    /// In which version of HTTP.
    pub version: Version,
    /// What the agent calls itself.
    pub user_agent: Option<HeaderValue>,
    /// The headers with tokens: by what the agent sent there, they are known where it put them elsewhere.
    pub token_headers: [Option<HeaderValue>; 2],
    /// The W3C trace context that the agent sent.
    pub traceparent: Option<HeaderValue>,
    /// Whether it is a request for one of the pages for people, and no call of an agent's.
    pub is_page: bool,
    /// The connector that the path belongs to.
    pub connector: Option<ConnectorName>,
    /// Where that one is.
    pub destination: Option<Arc<Destination>>,
    /// What the message asks for, when it is one to an MCP server and has been read.
    pub operation: Option<McpOperation>,
    /// For whom, by whom.
    pub caller: Option<Arc<Caller>>,
    /// On which tool.
    pub tool: Option<Arc<Tool>>,
    /// The SHA-256 of the canonical form of its arguments, where it has any that were read.
    pub arguments_digest: Option<[u8; 32]>,
    /// Those arguments that its tool says are to be recorded.
    pub arguments: Vec<(Arc<str>, Argument)>,
    /// What its person was asked about it, where it is one to agree to.
    pub confirmation: Option<ConfirmationNote>,
    /// Which rules and policies decided: those that said yes or, where policy said no, those that did. Empty: nothing has
    /// been decided, or nothing said anything.
    pub policies: Arc<[RuleName]>,
    /// The limit that refused it: its place in the configuration.
    pub limit: Option<Arc<str>>,
    /// How it waited for a place at its connector, where it had to.
    pub queue: Option<QueueNote>,
    /// The gateway's own client at the authorization server that the credential is from.
    pub client_id: Option<Arc<str>>,
    /// Where the credential came from.
    pub lookup: Option<CacheLookup>,
    /// What the connector got.
    pub credential: Option<Arc<CredentialNote>>,
    /// Why the call was sent a second time with another credential, if it was.
    pub second_try: Option<SecondTry>,
    /// How often it was sent to the connector.
    pub attempts: u32,
    /// How long it waited between that, since the connector throttled or failed.
    pub paused: Duration,
    /// Why it was refused.
    pub refusal: Option<RefusalNote>,
    /// The status that the agent got.
    pub status: Option<StatusCode>,
    /// The identifier that the connector gave to its side of it.
    pub connector_request_id: Option<HeaderValue>,
    /// How it ended.
    pub ending: Ending,
    /// From arrival to end.
    pub duration: Duration,
    /// When its stages had finished.
    pub stages: StageTimes,
    /// From forwarding to the connector's first byte.
    pub connector_latency: Option<Duration>,
    /// Body bytes received from the agent and passed on.
    pub request_bytes: u64,
    /// Body bytes received from the connector and passed on.
    pub response_bytes: u64,
}

/// One record of a trail.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// Of a call.
    Call(&'a CallRecord),
    /// Of what was done about somebody's tokens.
    Authentication(&'a AuthenticationRecord),
    /// Of what happened to the trail itself.
    Mark(&'a Mark),
}

impl Record<'_> {
    /// Its identifier.
    pub fn id(&self) -> RequestId {
        match self {
            Self::Call(call) => call.request_id,
            Self::Authentication(authentication) => authentication.id,
            Self::Mark(mark) => mark.id,
        }
    }
}

/// Agents put tokens where they do not belong. What a line of the trail has been cleaned of is not shown here either.
impl fmt::Debug for CallRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CallRecord");
        shown.field("request_id", &self.request_id).field("outcome", &self.outcome());
        shown.field("connector", &self.connector).finish_non_exhaustive()
    }
}

impl CallRecord {
    /// The record of a call that has just arrived. Until somebody says otherwise, the agent hung up: that is what
    /// happened when the call is dropped in the middle.
    pub fn begin<B>(request: &http::Request<B>, peer: Peer, arrived_at: Duration) -> Self {
        Self::begin_under(Privacy::of_this_run(), request, peer, arrived_at)
    }

    /// The same, that may say of people what `privacy` says.
    pub fn begin_under<B>(
        privacy: Arc<Privacy>,
        request: &http::Request<B>,
        peer: Peer,
        arrived_at: Duration,
    ) -> Self {
        Self {
            request_id: RequestId::next(),
            privacy,
            arrived_at,
            peer,
            method: request.method().clone(),
            address: Address(request.uri().clone()),
            version: request.version(),
            user_agent: request.headers().get(http::header::USER_AGENT).cloned(),
            token_headers: TOKEN_HEADERS.map(|name| {
                let mut value = request.headers().get(name)?.clone();
                value.set_sensitive(true);
                Some(value)
            }),
            traceparent: request.headers().get(TRACEPARENT).cloned(),
            is_page: false,
            connector: None,
            destination: None,
            operation: None,
            caller: None,
            tool: None,
            arguments_digest: None,
            arguments: Vec::new(),
            confirmation: None,
            policies: Arc::default(),
            limit: None,
            queue: None,
            client_id: None,
            lookup: None,
            credential: None,
            second_try: None,
            attempts: 0,
            paused: Duration::ZERO,
            refusal: None,
            status: None,
            connector_request_id: None,
            ending: Ending::AgentLeft,
            duration: Duration::ZERO,
            stages: StageTimes::default(),
            connector_latency: None,
            request_bytes: 0,
            response_bytes: 0,
        }
    }

    /// The outcome as a metric label: a refusal's code, or how the call ended.
    pub fn outcome(&self) -> &'static str {
        match (&self.refusal, self.ending) {
            (Some(refusal), Ending::Refused) => refusal.code,
            (_, ending) => ending.as_str(),
        }
    }
}
