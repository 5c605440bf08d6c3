//! A service's authorization server that would have the gateway call something else: nothing that it says leads elsewhere.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::oauth::outbound::OutboundError;

/// A place that nobody should come to.
struct Elsewhere {
    address: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl Elsewhere {
    async fn on(host: &str) -> Self {
        let listener = TcpListener::bind((host, 0)).await.expect("a port");
        let (address, visits) = (listener.local_addr().expect("an address"), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&visits);
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self { address, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::Relaxed)
    }
}

impl Bed {
    /// Has its metadata say this of `member` from now on.
    async fn say(&self, member: &str, address: &str) {
        let metadata = format!("{}/.well-known/openid-configuration", self.server.issuer());
        self.server.script(Endpoint::Discovery).clear();
        let metadata = reqwest::Client::new().get(metadata).send().await.expect("an answer");
        let mut metadata: Value = metadata.json().await.expect("metadata");
        metadata[member] = json!(address);
        self.server.script(Endpoint::Discovery).always(Reply::json(200, &metadata));
    }

    async fn disconnect(&self, who: &str) -> Disconnected {
        let gone = self.connections.disconnect(&holder(who), &ConnectorName::new("mail"), &visit(who)).await;
        gone.expect("the vault takes it")
    }
}

#[tokio::test]
async fn no_redirect_of_a_services_server_is_followed() {
    for status in [302, 307, 308] {
        let (mut bed, elsewhere) = (Bed::start().await, Elsewhere::on("127.0.0.1").await);
        let redirect = || Reply::status(status).header("location", format!("http://{}/", elsewhere.address));
        let is_a_no = |error: &ExchangeError| matches!(error, ExchangeError::Refused { refused, .. } if refused.status == status);

        bed.server.script(Endpoint::Discovery).always(redirect());
        let (ticket, ada, adas) = (bed.ask("ada", "planner"), holder("ada"), visit("ada"));
        let begun = bed.connections.begin(&ticket, &ada, BROWSER, &adas, Now::read()).await.map(drop);
        let unknown = matches!(begun, Err(ConnectError::Exchange(ExchangeError::NoTokenEndpoint { .. })));
        assert!(unknown, "{status} {begun:?}");
        bed.server.script(Endpoint::Discovery).clear();

        // With the code, the client's secret would go there.
        let authorization = bed.begin(&ticket, "ada").await;
        let answered = bed.sign_in(&authorization, "ada").await;
        bed.server.script(Endpoint::Token).once(redirect());
        let refused = bed.complete(&answered, "ada").await;
        assert!(
            matches!(&refused, Err(ConnectError::Exchange(error)) if is_a_no(error)),
            "{status} {refused:?}"
        );

        // With the question whose it is, the access token. The ID token says it as well.
        bed.server.script(Endpoint::UserInfo).always(redirect());
        let connected = bed.connect("ada", "planner").await;
        assert_eq!(connected.account.as_deref(), Some("ada.lindqvist@demo.test"));

        // With a renewal, or with what is given back, the refresh token.
        bed.server.script(Endpoint::Token).once(redirect());
        let refused = bed.call_at("ada", "planner", later()).await;
        assert!(
            matches!(&refused, Err(ConnectionError::Exchange(error)) if is_a_no(error)),
            "{status} {refused:?}"
        );
        bed.restart().await;
        bed.call_at("ada", "planner", later()).await.expect("it was not the end of the connection");
        bed.server.script(Endpoint::Revocation).always(redirect());
        assert_eq!(bed.disconnect("ada").await, Disconnected { was_there: true, revoked: Some(false) });
        assert_eq!(elsewhere.visits(), 0, "{status}");
    }
}

#[tokio::test]
async fn metadata_of_a_service_cannot_send_the_gateway_to_private_addresses() {
    let (mut bed, elsewhere) = (Bed::start().await, Elsewhere::on("127.0.0.2").await);
    let port = elsewhere.address.port();
    for host in ["127.0.0.2", "10.0.0.1", "169.254.169.254", "[::1]", "[::ffff:127.0.0.2]", "[fe80::1]"] {
        let address = format!("https://{host}:{port}/");
        let is_private = |error: &ExchangeError| match error {
            ExchangeError::Unreachable { source: OutboundError::PrivateAddress(named), .. } => {
                Url::parse(&address).expect("a URL").host_str() == Some(named)
            }
            _ => false,
        };
        bed.reconfigure("");
        bed.say("token_endpoint", &address).await;
        let authorization = bed.begin(&bed.ask("ada", "planner"), "ada").await;
        let refused = bed.complete(&bed.sign_in(&authorization, "ada").await, "ada").await;
        assert!(
            matches!(&refused, Err(ConnectError::Exchange(error)) if is_private(error)),
            "{host} {refused:?}"
        );

        bed.reconfigure("");
        bed.say("userinfo_endpoint", &address).await;
        let connected = bed.connect("ada", "planner").await;
        assert_eq!(connected.account.as_deref(), Some("ada.lindqvist@demo.test"), "by the ID token");

        bed.reconfigure("");
        bed.say("revocation_endpoint", &address).await;
        bed.connect("ada", "planner").await;
        assert_eq!(bed.disconnect("ada").await, Disconnected { was_there: true, revoked: Some(false) });
    }
    assert_eq!(elsewhere.visits(), 0);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_gone_to() {
    let bed = Bed::start().await;
    let address = bed.server.token_endpoint().replace("127.0.0.1", "localhost");
    bed.say("token_endpoint", &address).await;
    let authorization = bed.begin(&bed.ask("ada", "planner"), "ada").await;
    let refused = bed.complete(&bed.sign_in(&authorization, "ada").await, "ada").await;
    let unreachable = matches!(refused, Err(ConnectError::Exchange(ExchangeError::Unreachable { .. })));
    assert!(unreachable, "{refused:?}");
    assert_eq!(bed.server.fetches(Endpoint::Token), 0, "it listens there, and nobody came");
}

#[tokio::test]
async fn metadata_of_a_service_with_an_address_that_must_not_be_used_is_not_used_at_all() {
    let bed = Bed::start().await;
    for member in ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "userinfo_endpoint"] {
        for address in ["http://login.example/x", "ftp://login.example/x", "javascript:alert(1)", "/x"] {
            bed.say(member, address).await;
            let ticket = bed.ask("ada", "planner");
            let (ada, adas) = (holder("ada"), visit("ada"));
            let begun = bed.connections.begin(&ticket, &ada, BROWSER, &adas, Now::read()).await.map(drop);
            let unknown = matches!(begun, Err(ConnectError::Exchange(ExchangeError::NoTokenEndpoint { .. })));
            assert!(unknown, "{member} {address} {begun:?}");
        }
    }
}
