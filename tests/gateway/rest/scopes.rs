//! Each tool's token is asked for what the tool needs, and is no other tool's.

use super::*;
use crate::exchange::token_exchange;

#[tokio::test]
async fn a_reading_tool_never_holds_a_writing_token() {
    // Entra grants whatever was agreed to for the service, however little is asked for; this grant gives what is asked for.
    let bed = Setup::default()
        .config(|parts| token_exchange(parts, "audience", &format!("    audience: {MAIL_AUDIENCE}\n{TOOLS}")))
        .start()
        .await;
    agree(&bed);
    let scope_of_last = || {
        let exchanges = bed.authorization_server.exchanges();
        exchanges.last().and_then(|exchange| exchange.parameter("scope")).expect("scopes").to_owned()
    };
    assert_eq!(call(&bed, Method::GET, "/mail/me/messages").await.status(), 200);
    assert_eq!(scope_of_last(), "Mail.Read");
    call(&bed, Method::POST, "/mail/me/sendMail").await;
    assert_eq!(scope_of_last(), "Mail.Send");
    assert_eq!(bed.exchanges(), 2, "two tools with scopes of their own, and so two tokens");
    // Both are kept now: whoever comes again gets the one for the tool that is called.
    for _ in 0..2 {
        call(&bed, Method::POST, "/mail/me/sendMail").await;
        assert_eq!(call(&bed, Method::GET, "/mail/me/messages").await.status(), 200);
    }
    assert_eq!(bed.exchanges(), 2);
    let received = bed.connector.requests();
    let permissions = |method: Method| -> BTreeSet<Vec<String>> {
        let of_method = received.iter().filter(|request| request.method == method);
        of_method.map(|request| request.caller.as_ref().expect("a good token").permissions.clone()).collect()
    };
    assert_eq!(permissions(Method::GET), [vec!["Mail.Read".to_owned()]].into());
    assert_eq!(permissions(Method::POST), [vec!["Mail.Send".to_owned()]].into());
    let bearers: BTreeSet<_> =
        received.iter().map(|request| (request.method.to_string(), request.bearer())).collect();
    assert_eq!(bearers.len(), 2, "a token for each tool");
}

#[tokio::test]
async fn a_tool_without_scopes_asks_for_the_connectors() {
    let tools = "    scopes: [Mail.Read]
    tools:
      list_messages: { match: GET /me/messages }
      send_message: { match: POST /me/sendMail, scopes: [Mail.Send] }
";
    let bed = bed(tools, "").await;
    assert_eq!(call(&bed, Method::GET, "/mail/me/messages").await.status(), 200);
    call(&bed, Method::POST, "/mail/me/sendMail").await;
    let exchanges = bed.authorization_server.exchanges();
    let scopes: Vec<_> = exchanges.iter().filter_map(|exchange| exchange.parameter("scope")).collect();
    assert_eq!(scopes, ["https://graph.demo.test/Mail.Read", "https://graph.demo.test/Mail.Send"]);
}
