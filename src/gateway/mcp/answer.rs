//! What becomes of an MCP server's answer: lists are filtered, what it gives out is remembered, and a stream ends when the
//! caller's token does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;

use super::era::Era;
use super::filter::{LIST_BYTES_MAX, ListFilter, UnreadableList};
use super::given::Given;
use super::handles::{Handle, Handles};
use super::identify::SESSION;
use super::lists::List;
use super::method::Method;
use super::screen::Screen;
use super::served::Served;
use super::{McpCall, McpError, Said, reply};
use crate::clock::Now;
use crate::gateway::body::ConnectorBody;
use crate::gateway::json_body::media_type_of;
use crate::gateway::routes::{AnswerBody, ConnectorAnswer};
use crate::identity::Caller;
use crate::oauth::claims::CLOCK_SKEW_SECONDS;
use crate::policy::Policy;
use crate::tool::ConnectorName;

/// Tells proxies on the way that a stream is not to be collected.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// How long a list in one piece may take to come, once it has begun.
const LIST_TIME_MAX: Duration = Duration::from_secs(60);
/// What an agent hears whose stream ends with its token. The status is that of the refusal of the next call.
const EXPIRED: (i32, &str) = (401, "The access token has expired: sign in again.");

/// An answer to a call, and everything that decides what of it the agent sees.
pub struct Answering<'a> {
    /// The call.
    pub spoken: &'a McpCall,
    /// The connector that answers.
    pub connector: &'a ConnectorName,
    /// What it serves.
    pub served: &'a Arc<Served>,
    /// Who may use what.
    pub policy: &'a Arc<Policy>,
    /// Whose handles are whose.
    pub handles: &'a Arc<Handles>,
    /// Who called.
    pub caller: &'a Arc<Caller>,
    /// From where.
    pub client: IpAddr,
    /// When.
    pub now: Now,
}

impl Answering<'_> {
    /// The answer as the agent sees it.
    ///
    /// # Errors
    ///
    /// [`McpError`] when nobody can say what is in it.
    pub async fn screen(&self, mut answer: ConnectorAnswer) -> Result<ConnectorAnswer, McpError> {
        self.remember_session(&mut answer)?;
        let status = answer.response.status();
        if !status.is_success() || status == StatusCode::NO_CONTENT {
            return Ok(answer);
        }
        let headers = answer.response.headers_mut();
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(McpError::Answer("encoded, which nobody asked for"));
        }
        let kind = headers.get(CONTENT_TYPE).and_then(media_type_of).unwrap_or_default();
        match (kind.eq_ignore_ascii_case("text/event-stream"), kind.eq_ignore_ascii_case("application/json"))
        {
            (true, _) => {
                headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
                headers.remove(CONTENT_LENGTH);
                let screen = Screen::events(self.given(), self.filter(), self.farewell());
                let until = self.token_ends();
                if let AnswerBody::Connector(body) = answer.response.body_mut() {
                    body.screened(screen);
                    body.ends_at(until);
                }
                Ok(answer)
            }
            (false, true) => match self.filter() {
                Some(filter) if status == StatusCode::OK => self.filtered(answer, &filter).await,
                Some(_) => Err(UnreadableList::Form.into()),
                None => {
                    let screen = Screen::whole(self.given());
                    if let AnswerBody::Connector(body) = answer.response.body_mut() {
                        body.screened(screen);
                    }
                    Ok(answer)
                }
            },
            (false, false) if self.filter().is_some() && matches!(self.spoken.said, Said::Request { .. }) => {
                Err(UnreadableList::Form.into())
            }
            (false, false) => Ok(answer),
        }
    }

    /// A session that the server opens is the caller's; one that it ends is nobody's.
    fn remember_session(&self, answer: &mut ConnectorAnswer) -> Result<(), McpError> {
        let success = answer.response.status().is_success();
        let opened = answer.response.headers_mut().remove(SESSION);
        match (&self.spoken.said, self.spoken.era) {
            (Said::Request { method: Method::Initialize, .. }, Era::Legacy) => {
                if let Some(session) = opened.filter(|_| success) {
                    let text =
                        session.to_str().map_err(|_| McpError::Answer("of a session that is no text"))?;
                    self.handles.opened(self.connector, text, self.caller, self.spoken.elicits);
                    if !self.handles.is_of(self.connector, Handle::Session(text), self.caller) {
                        return Err(McpError::Answer("of a session that is somebody else's"));
                    }
                    answer.response.headers_mut().insert(SESSION, session);
                }
            }
            // Only `initialize` opens a session. A server that names the one there is says nothing new.
            (_, Era::Legacy) => {
                let same = |session: &HeaderValue| {
                    self.spoken.session.as_deref().is_some_and(|own| *session == *own)
                };
                if let Some(session) = opened.filter(same) {
                    answer.response.headers_mut().insert(SESSION, session);
                }
            }
            (_, Era::Modern) => {}
        }
        if let (Said::End, true, Some(session)) = (&self.spoken.said, success, &self.spoken.session) {
            self.handles.ended(self.connector, Handle::Session(session));
        }
        Ok(())
    }

    fn given(&self) -> Given {
        Given {
            handles: Arc::clone(self.handles),
            connector: self.connector.clone(),
            caller: Arc::clone(self.caller),
            call: self.spoken.digest,
        }
    }

    fn filter(&self) -> Option<ListFilter> {
        let list = match &self.spoken.said {
            Said::Request { method: Method::TasksList, .. } | Said::Stream => None,
            Said::Request { method, .. } => Some(List::of(*method)?),
            Said::Nothing | Said::Unread(_) | Said::End => return None,
        };
        Some(ListFilter {
            served: Arc::clone(self.served),
            policy: Arc::clone(self.policy),
            given: self.given(),
            client: self.client,
            now: self.now,
            era: self.spoken.era,
            list,
        })
    }

    /// The event with which a stream ends before its time.
    fn farewell(&self) -> Option<Bytes> {
        let message = match &self.spoken.said {
            Said::Request { id, method: Method::SubscriptionsListen, .. } => {
                reply::complete(id, self.spoken.era)
            }
            Said::Request { id, .. } => reply::error(Some(id), EXPIRED.0, EXPIRED.1, None),
            Said::Nothing | Said::Unread(_) | Said::Stream | Said::End => return None,
        };
        Some([b"event: message\ndata: ", &message[..], b"\n\n"].concat().into())
    }

    fn token_ends(&self) -> Instant {
        /// Beyond this a stream outlasts its server.
        const LIFE_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);
        // For as long as a call with it would still be taken.
        let ends_at = self.caller.expires_at().saturating_add(CLOCK_SKEW_SECONDS);
        let left = Duration::from_secs(ends_at.saturating_sub(self.now.latest_unix_seconds())).min(LIFE_MAX);
        self.now.monotonic.checked_add(left).unwrap_or(self.now.monotonic)
    }

    /// A list in one piece, read whole, without what its caller may not use.
    async fn filtered(
        &self,
        mut answer: ConnectorAnswer,
        filter: &ListFilter,
    ) -> Result<ConnectorAnswer, McpError> {
        let idle_timeout = answer.idle_timeout();
        let body = std::mem::replace(answer.response.body_mut(), AnswerBody::Written(Bytes::new()));
        let message = match body {
            AnswerBody::Connector(body) => tokio::time::timeout(LIST_TIME_MAX, collect(body, idle_timeout))
                .await
                .map_err(|_| McpError::Answer("dripping"))??,
            AnswerBody::Written(message) => message,
        };
        let list = filter.without_hidden(&message)?.unwrap_or(message);
        answer.response.headers_mut().remove(CONTENT_LENGTH);
        *answer.response.body_mut() = AnswerBody::Written(list);
        Ok(answer)
    }
}

async fn collect(body: Box<ConnectorBody>, idle_timeout: Duration) -> Result<Bytes, McpError> {
    let (mut body, _place) = body.into_parts();
    let mut read = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(idle_timeout, body.frame()).await;
        match frame.map_err(|_| McpError::Answer("stalled"))? {
            None => return Ok(read.freeze()),
            Some(frame) => {
                let frame = frame.map_err(|_| McpError::Answer("broken off"))?;
                let data = frame.data_ref().map(AsRef::as_ref).unwrap_or_default();
                if read.len() + data.len() > LIST_BYTES_MAX {
                    return Err(UnreadableList::Form.into());
                }
                read.extend_from_slice(data);
            }
        }
    }
}
