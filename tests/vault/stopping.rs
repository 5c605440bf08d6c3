//! The end of a gateway while a service keeps it waiting.

use obo_gateway::demo::authorization_server::Endpoint;
use obo_gateway::demo::script::Reply;

use crate::bed::{Bed, LIFE, answered, until};

#[tokio::test]
async fn a_refresh_that_hangs_keeps_the_vault_from_nothing_at_the_end() {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    bed.connect("bob").await;
    let gateway = bed.gateway("gateway").await;
    tokio::time::sleep(LIFE).await;
    assert_eq!(gateway.call(&bed.token("bob")).await, answered());
    bed.service.script(Endpoint::Token).once(Reply::hang());
    let ada = bed.token("ada");
    let asked = || bed.service.fetches(Endpoint::Token);
    let before = asked();
    tokio::select! {
        _ = gateway.call(&ada) => panic!("nobody answers it"),
        () = until("the service is asked", || async { asked() > before }) => {}
    }
    assert!(gateway.stop().success());
    let gateway = bed.gateway("gateway").await;
    assert!(!gateway.log().contains("as it should be"), "{}", gateway.log());
    assert_eq!(gateway.call(&bed.token("bob")).await, answered());
}
