//! What the tests of these servers share: a client that follows nothing, and small readers of answers.

use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, redirect};
use serde_json::{Map, Value};

use super::jws::Jws;

/// A client without redirects, proxies or patience.
pub(super) fn client() -> Client {
    client_builder().build().expect("a client can be built")
}

/// The same, before it is built.
pub(super) fn client_builder() -> ClientBuilder {
    Client::builder().no_proxy().redirect(redirect::Policy::none()).timeout(Duration::from_secs(20))
}

/// The claims of a token, unchecked.
pub(super) fn claims(token: &str) -> Map<String, Value> {
    Jws::parse(token).expect("a token has three parts").claims
}

/// A header field of an answer, as text.
pub(super) fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name).unwrap_or_else(|| panic!("the answer has no {name}"));
    value.to_str().expect("a header of ours is ASCII").to_owned()
}

/// The JSON of an answer.
pub(super) async fn json(response: Response) -> Value {
    response.json().await.expect("the answer is JSON")
}
