//! JSON-RPC messages, and what is said when one cannot be served.

use http::{HeaderValue, Response, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::demo::body::{self, Body};

/// An object's members.
pub(super) type Members = Map<String, Value>;

/// What a client posted.
pub(super) enum Message {
    Request {
        id: Value,
        method: String,
        params: Members,
    },
    Notification {
        method: String,
        params: Members,
    },
    /// The client's answer to a request of ours: its result or its error.
    Response {
        id: Value,
        answer: Value,
    },
}

impl Message {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Fault> {
        let value: Value = serde_json::from_slice(body).map_err(|_| Fault::unreadable())?;
        let Value::Object(mut message) = value else {
            return Err(Fault::invalid("one message is one object; batches are not taken"));
        };
        if message.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return Err(Fault::invalid("jsonrpc is not 2.0"));
        }
        let id = match message.remove("id") {
            None => None,
            Some(id) if id.is_string() || id.is_i64() || id.is_u64() => Some(id),
            Some(_) => return Err(Fault::invalid("an id is a string or an integer")),
        };
        let params = match message.remove("params") {
            None => Members::new(),
            Some(Value::Object(params)) => params,
            Some(_) => return Err(Fault::invalid("params are an object")),
        };
        match (id, message.remove("method")) {
            (Some(id), Some(Value::String(method))) => Ok(Self::Request { id, method, params }),
            (None, Some(Value::String(method))) => Ok(Self::Notification { method, params }),
            (_, Some(_)) => Err(Fault::invalid("a method is a string")),
            (Some(id), None) => {
                let answer = message.remove("result").or_else(|| message.remove("error"));
                let answer = answer.ok_or_else(|| Fault::invalid("neither method, result nor error"))?;
                Ok(Self::Response { id, answer })
            }
            (None, None) => Err(Fault::invalid("neither method nor id")),
        }
    }
}

/// Why a request is not served.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    /// The HTTP status in the modern era, which says what kind of fault it is.
    modern: StatusCode,
    /// The HTTP status in the legacy era, where a request that could be read is answered with 200.
    legacy: StatusCode,
    code: i32,
    message: String,
    data: Option<Value>,
    /// A scope that the token lacks, for a challenge.
    scope: Option<&'static str>,
}

impl Fault {
    fn new(code: i32, modern: StatusCode, legacy: StatusCode, message: impl Into<String>) -> Self {
        Self { modern, legacy, code, message: message.into(), data: None, scope: None }
    }

    /// Not JSON.
    fn unreadable() -> Self {
        Self::new(-32_700, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST, "the body is not JSON")
    }

    /// Not a JSON-RPC message, or not one for this place.
    pub(super) fn invalid(message: &str) -> Self {
        Self::new(-32_600, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST, message)
    }

    /// A session that there is not, or that is somebody else's.
    pub(super) fn unknown_session() -> Self {
        Self::new(-32_600, StatusCode::NOT_FOUND, StatusCode::NOT_FOUND, "there is no such session")
    }

    pub(super) fn unknown_method(method: &str) -> Self {
        let message = format!("there is no method {}", method.escape_debug());
        Self::new(-32_601, StatusCode::NOT_FOUND, StatusCode::OK, message)
    }

    /// Parameters that do not fit, or that name what there is not.
    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(-32_602, StatusCode::OK, StatusCode::OK, message)
    }

    /// What every modern request must say about itself is missing.
    pub(super) fn missing_meta(key: &str) -> Self {
        Self::of_modern(-32_602, format!("_meta has no {key}"))
    }

    /// A resource that is not there, as the legacy era says it.
    pub(super) fn no_such_resource(uri: &str) -> Self {
        let data = Some(json!({ "uri": uri }));
        Self { data, ..Self::new(-32_002, StatusCode::OK, StatusCode::OK, "resource not found") }
    }

    pub(super) fn header_mismatch(message: impl Into<String>) -> Self {
        Self::of_modern(-32_020, message)
    }

    pub(super) fn missing_capability(required: &Value) -> Self {
        let data = Some(json!({ "requiredCapabilities": required }));
        Self { data, ..Self::of_modern(-32_021, "the client lacks a capability that this takes") }
    }

    pub(super) fn unsupported_version(requested: &str, supported: &[&str]) -> Self {
        let data = Some(json!({ "supported": supported, "requested": requested }));
        Self { data, ..Self::of_modern(-32_022, "the protocol version is not supported") }
    }

    /// A fault that only the modern era knows.
    fn of_modern(code: i32, message: impl Into<String>) -> Self {
        Self::new(code, StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST, message)
    }

    /// The token lacks this scope.
    pub(super) fn insufficient_scope(scope: &'static str) -> Self {
        let message = format!("the token lacks {scope}");
        let fault = Self::new(-32_600, StatusCode::FORBIDDEN, StatusCode::FORBIDDEN, message);
        Self { scope: Some(scope), ..fault }
    }

    /// The answer in the modern era.
    pub(super) fn modern(&self, id: &Value) -> Response<Body> {
        self.respond(self.modern, id)
    }

    /// The answer in the legacy era.
    pub(super) fn legacy(&self, id: &Value) -> Response<Body> {
        self.respond(self.legacy, id)
    }

    fn respond(&self, status: StatusCode, id: &Value) -> Response<Body> {
        let mut response = json_response(status, &self.message(id));
        if let Some(scope) = self.scope {
            let challenge =
                format!("Bearer realm=\"notes\", error=\"insufficient_scope\", scope=\"{scope}\"");
            let challenge = HeaderValue::from_str(&challenge).expect("scopes of ours are ASCII");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// The message itself.
    pub(super) fn message(&self, id: &Value) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        json!({ "jsonrpc": "2.0", "id": id, "error": error })
    }
}

/// The answer to a request.
pub(super) fn result(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// A request of ours to a client.
pub(super) fn request(id: &Value, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub(super) fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

pub(super) fn json_response(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn empty_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(body::full(""));
    *response.status_mut() = status;
    response
}
