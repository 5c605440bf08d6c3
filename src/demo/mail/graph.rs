//! Microsoft Graph's routes, answers and errors, for mail.

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use serde_json::{Value, json};

use super::mailbox::Page;
use super::{Connector, SentMail};
use crate::demo::body::{self, Body};
use crate::demo::connector::{Caller, Entry, TokenFault, bearer};
use crate::demo::people::Person;
use crate::demo::{clock, lock, random};

const CONTENT_TYPE: &str =
    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8";

/// An operation, on whatever mailbox the rest of the path names.
enum Operation {
    Profile,
    Messages,
    Message(String),
    SendMail,
    Settings,
}

impl Operation {
    fn of(method: &Method, path: &[&str]) -> Result<Self, GraphFault> {
        let (operation, allowed) = match path {
            [] => (Self::Profile, Method::GET),
            ["messages"] => (Self::Messages, Method::GET),
            ["messages", id] => (Self::Message(decode(id)), Method::GET),
            ["sendMail"] => (Self::SendMail, Method::POST),
            ["mailboxSettings"] => (Self::Settings, Method::GET),
            _ => return Err(GraphFault::segment_unknown(path.first().copied().unwrap_or_default())),
        };
        if *method == allowed { Ok(operation) } else { Err(GraphFault::method_not_allowed(allowed)) }
    }

    /// The permissions of which one is enough.
    fn permissions(&self) -> &'static [&'static str] {
        match self {
            Self::Profile => &["User.Read", "User.ReadBasic.All"],
            Self::Messages | Self::Message(_) => &["Mail.Read", "Mail.ReadWrite"],
            Self::SendMail => &["Mail.Send"],
            Self::Settings => &["MailboxSettings.Read", "MailboxSettings.ReadWrite"],
        }
    }
}

/// A refusal in Graph's words.
struct GraphFault {
    status: StatusCode,
    code: &'static str,
    message: String,
    allow: Option<Method>,
}

impl GraphFault {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), allow: None }
    }

    fn segment_unknown(segment: &str) -> Self {
        let message = format!("Resource not found for the segment '{}'.", segment.escape_default());
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn method_not_allowed(allowed: Method) -> Self {
        let fault = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "Request_BadRequest",
            "Specified HTTP method is not allowed for the request target.",
        );
        Self { allow: Some(allowed), ..fault }
    }

    fn token(fault: Option<TokenFault>) -> Self {
        let message = match fault {
            None => "Access token is empty.",
            Some(TokenFault::Malformed) => "CompactToken parsing failed with error code: 80049217",
            Some(TokenFault::BadSignature) => "Access token validation failure. Invalid signature.",
            Some(TokenFault::OtherIssuer) => "Access token validation failure. Invalid issuer.",
            Some(TokenFault::OtherAudience) => "Access token validation failure. Invalid audience.",
            Some(TokenFault::OutOfTime) => "Lifetime validation failed, the token is expired.",
            Some(TokenFault::NoPermissions) => "Access token validation failure. No scopes and no roles.",
            Some(TokenFault::KeysUnavailable) => {
                let message = "The keys that tokens are checked with cannot be fetched.";
                return Self::new(StatusCode::SERVICE_UNAVAILABLE, "serviceNotAvailable", message);
            }
        };
        Self::new(StatusCode::UNAUTHORIZED, "InvalidAuthenticationToken", message)
    }

    fn access_denied() -> Self {
        let message = "Access is denied. Check credentials and try again.";
        Self::new(StatusCode::FORBIDDEN, "ErrorAccessDenied", message)
    }

    fn no_mailbox() -> Self {
        let message = "The mailbox is either inactive, soft-deleted, or is hosted on-premise. Ask your \
                       administrator to assign you a licence that includes a mailbox, then try again.";
        Self::new(StatusCode::NOT_FOUND, "MailboxNotEnabledForRESTAPI", message)
    }

    fn item_not_found() -> Self {
        let message = "The specified object was not found in the store.";
        Self::new(StatusCode::NOT_FOUND, "ErrorItemNotFound", message)
    }

    fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    fn answer(self, request: &HeaderMap, issuer: &str) -> Response<Body> {
        let request_id = random::guid();
        let client_request_id = client_request_id(request).unwrap_or(&request_id);
        let date = clock::rfc3339(clock::now());
        let body = json!({ "error": {
            "code": self.code,
            "message": self.message,
            "innerError": {
                "date": date.trim_end_matches('Z'),
                "request-id": request_id,
                "client-request-id": client_request_id,
            },
        }});
        let mut response = json_response(self.status, &body);
        let headers = response.headers_mut();
        headers.insert("request-id", HeaderValue::from_str(&request_id).expect("a GUID is ASCII"));
        if self.status == StatusCode::UNAUTHORIZED {
            let authority = issuer.strip_suffix("/v2.0").unwrap_or(issuer);
            let error = if bearer(request).is_some() { ", error=\"invalid_token\"" } else { "" };
            let challenge =
                format!("Bearer realm=\"\", authorization_uri=\"{authority}/oauth2/v2.0/authorize\"{error}");
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
        }
        if let Some(allow) = self.allow.and_then(|method| HeaderValue::from_str(method.as_str()).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        response
    }
}

impl Connector {
    /// Answers a request to `/v1.0/` and this path.
    pub(super) async fn answer_graph(
        &self,
        entry: &Entry,
        head: &Parts,
        path: &[&str],
        body: &[u8],
    ) -> Response<Body> {
        match self.graph(entry, head, path, body).await {
            Ok(mut response) => {
                let request_id = HeaderValue::from_str(&random::guid()).expect("a GUID is ASCII");
                response.headers_mut().insert("request-id", request_id);
                if let Some(id) = head.headers.get("client-request-id") {
                    response.headers_mut().insert("client-request-id", id.clone());
                }
                response
            }
            Err(fault) => fault.answer(&head.headers, &self.settings.issuer),
        }
    }

    async fn graph(
        &self,
        entry: &Entry,
        head: &Parts,
        path: &[&str],
        body: &[u8],
    ) -> Result<Response<Body>, GraphFault> {
        let token = bearer(&head.headers).ok_or_else(|| GraphFault::token(None))?;
        let caller = self.verifier.verify(token).await.map_err(|fault| GraphFault::token(Some(fault)))?;
        entry.caller(&caller);
        let (owner, rest) = match path {
            ["me", rest @ ..] => (self.caller_himself(&caller)?, rest),
            ["users", user, rest @ ..] => (self.other(&caller, &decode(user))?, rest),
            _ => return Err(GraphFault::segment_unknown(path.first().copied().unwrap_or_default())),
        };
        let operation = Operation::of(&head.method, rest)?;
        if !operation.permissions().iter().any(|one| caller.permissions.iter().any(|had| had == one)) {
            return Err(GraphFault::access_denied());
        }
        let query = head.uri.query().unwrap_or_default();
        match operation {
            Operation::Profile => Ok(self.profile(owner)),
            Operation::Settings if owner.mailbox => Ok(self.mailbox_settings(owner)),
            Operation::Settings => Err(GraphFault::no_mailbox()),
            Operation::Messages => self.messages(owner, query),
            Operation::Message(id) => self.message(owner, &id, query),
            Operation::SendMail => self.send_mail(owner, &caller, body),
        }
    }

    fn caller_himself(&self, caller: &Caller) -> Result<&Person, GraphFault> {
        let Some(oid) = &caller.person else {
            let message = "/me request is only valid with delegated authentication flow.";
            return Err(GraphFault::bad_request(message));
        };
        let person = self.settings.people.iter().find(|person| person.oid == *oid);
        person.ok_or_else(GraphFault::no_mailbox)
    }

    /// Somebody named in the path: anyone for an application, for a person only herself.
    fn other(&self, caller: &Caller, user: &str) -> Result<&Person, GraphFault> {
        let named = |person: &&Person| person.oid == user || person.user_name.eq_ignore_ascii_case(user);
        let person = self.settings.people.iter().find(named);
        match (&caller.person, person) {
            (Some(oid), person) => {
                person.filter(|person| person.oid == *oid).ok_or_else(GraphFault::access_denied)
            }
            (None, Some(person)) => Ok(person),
            (None, None) => {
                let message = format!("The requested user '{}' is invalid.", user.escape_default());
                Err(GraphFault::new(StatusCode::NOT_FOUND, "ErrorInvalidUser", message))
            }
        }
    }

    fn profile(&self, owner: &Person) -> Response<Body> {
        let (given_name, surname) = owner.name.split_once(' ').unwrap_or((&owner.name, ""));
        json_response(
            StatusCode::OK,
            &json!({
                "@odata.context": self.context("users/$entity"),
                "id": owner.oid,
                "displayName": owner.name,
                "givenName": given_name,
                "surname": surname,
                "mail": owner.mailbox.then_some(&owner.user_name),
                "userPrincipalName": owner.user_name,
            }),
        )
    }

    fn mailbox_settings(&self, owner: &Person) -> Response<Body> {
        json_response(
            StatusCode::OK,
            &json!({
                "@odata.context": self.context(&format!("users('{}')/mailboxSettings", owner.oid)),
                "timeZone": "UTC",
                "language": { "locale": "en-GB", "displayName": "English (United Kingdom)" },
            }),
        )
    }

    fn messages(&self, owner: &Person, query: &str) -> Result<Response<Body>, GraphFault> {
        let page = Page::parse(query).map_err(|parameter| {
            GraphFault::bad_request(format!("Invalid value specified for the '{parameter}' query option."))
        })?;
        let (messages, more) = {
            let mailboxes = lock(&self.mailboxes);
            mailboxes.get(&owner.oid).ok_or_else(GraphFault::no_mailbox)?.page(&page)
        };
        let mut body = json!({
            "@odata.context": self.context(&format!("users('{}')/messages", owner.oid)),
            "value": messages,
        });
        if more {
            let skip = page.skip + page.top;
            let mut next = format!("{}/v1.0/me/messages?$top={}&$skip={skip}", self.origin, page.top);
            if !page.select.is_empty() {
                next += &format!("&$select={}", page.select.join(","));
            }
            body["@odata.nextLink"] = Value::from(next);
        }
        Ok(json_response(StatusCode::OK, &body))
    }

    fn message(&self, owner: &Person, id: &str, query: &str) -> Result<Response<Body>, GraphFault> {
        let page = Page::parse(query).map_err(GraphFault::bad_request)?;
        let mut message = {
            let mailboxes = lock(&self.mailboxes);
            let mailbox = mailboxes.get(&owner.oid).ok_or_else(GraphFault::no_mailbox)?;
            page.select(mailbox.message(id).ok_or_else(GraphFault::item_not_found)?)
        };
        message["@odata.context"] =
            Value::from(self.context(&format!("users('{}')/messages/$entity", owner.oid)));
        Ok(json_response(StatusCode::OK, &message))
    }

    fn send_mail(&self, owner: &Person, caller: &Caller, body: &[u8]) -> Result<Response<Body>, GraphFault> {
        let unreadable = || GraphFault::bad_request("Unable to read JSON request payload.");
        let request: Value = serde_json::from_slice(body).map_err(|_| unreadable())?;
        let message = request.get("message").filter(|message| message.is_object()).ok_or_else(unreadable)?;
        let recipients = message["toRecipients"].as_array().into_iter().flatten();
        let to: Vec<String> = recipients
            .filter_map(|recipient| recipient["emailAddress"]["address"].as_str())
            .map(str::to_owned)
            .collect();
        if to.is_empty() {
            let message = "At least one recipient is not valid.";
            return Err(GraphFault::new(StatusCode::BAD_REQUEST, "ErrorInvalidRecipients", message));
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let sent = SentMail {
            from: owner.oid.clone(),
            to,
            subject: text(&message["subject"]),
            text: text(&message["body"]["content"]),
            by_application: caller.person.is_none(),
        };
        {
            let mut mailboxes = lock(&self.mailboxes);
            if !mailboxes.contains_key(&owner.oid) {
                return Err(GraphFault::no_mailbox());
            }
            for recipient in &self.settings.people {
                if sent.to.iter().any(|to| to.eq_ignore_ascii_case(&recipient.user_name))
                    && let Some(mailbox) = mailboxes.get_mut(&recipient.oid)
                {
                    let from = (owner.name.as_str(), owner.user_name.as_str());
                    mailbox.deliver(recipient, from, &sent.subject, &sent.text, clock::now());
                }
            }
        }
        lock(&self.sent).push(sent);
        let mut response = Response::new(body::full(""));
        *response.status_mut() = StatusCode::ACCEPTED;
        Ok(response)
    }

    fn context(&self, what: &str) -> String {
        format!("{}/v1.0/$metadata#{what}", self.settings.audience)
    }
}

fn client_request_id(request: &HeaderMap) -> Option<&str> {
    request.get("client-request-id")?.to_str().ok()
}

fn decode(segment: &str) -> String {
    // A path keeps its plus signs, which a form would not.
    let encoded = segment.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(encoded.as_bytes())
        .next()
        .map_or_else(String::new, |(name, _)| name.into_owned())
}

fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    response
}
