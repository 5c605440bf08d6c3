//! Callbacks and links in the wrong hands.

use serde_json::json;

use super::*;

#[tokio::test]
async fn a_link_is_for_the_person_whose_agent_asked() {
    let bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    let bobs = bed.connections.begin(&ticket, &holder("bob"), BROWSER, &visit("bob"), Now::read()).await;
    assert!(matches!(bobs, Err(ConnectError::OtherPerson)), "{bobs:?}");
    let elsewhere = PersonId { issuer: Issuer::new("https://other.example"), ..holder("ada") };
    let theirs = bed.connections.begin(&ticket, &elsewhere, BROWSER, &visit("ada"), Now::read()).await;
    assert!(matches!(theirs, Err(ConnectError::OtherPerson)), "{theirs:?}");
    let tenants = PersonId { tenant: Tenant::Named("t".into()), ..holder("ada") };
    let theirs = bed.connections.begin(&ticket, &tenants, BROWSER, &visit("ada"), Now::read()).await;
    assert!(matches!(theirs, Err(ConnectError::OtherPerson)), "{theirs:?}");
    assert!(bed.counted("refused"));
    bed.begin(&ticket, "ada").await;
    let unknown = TicketId::parse("AAAAAAAAAAAAAAAAAAAAAA").expect("a name");
    let nothing = bed.connections.begin(&unknown, &holder("ada"), BROWSER, &visit("ada"), Now::read()).await;
    assert!(matches!(nothing, Err(ConnectError::TicketOver)), "{nothing:?}");
    let late = Now::read().after(Duration::from_secs(601));
    let late = bed.connections.begin(&ticket, &holder("ada"), BROWSER, &visit("ada"), late).await;
    assert!(matches!(late, Err(ConnectError::TicketOver)), "{late:?}");
}

#[tokio::test]
async fn a_callback_that_was_never_asked_for_is_replayed_or_is_late_makes_no_connection() {
    let bed = Bed::start().await;
    let page = bed.begin(&bed.ask("ada", "planner"), "ada").await;
    let answered = bed.sign_in(&page, "ada").await;
    for state in ["", "guessed", &answered.state[1..]] {
        let guessed = Answered { state: state.to_owned(), ..answered.clone() };
        assert!(matches!(bed.complete(&guessed, "ada").await, Err(ConnectError::StateUnknown)), "{state}");
    }
    bed.complete(&answered, "ada").await.expect("a connection");
    assert!(matches!(bed.complete(&answered, "ada").await, Err(ConnectError::StateUnknown)), "it was used");
    let page = bed.begin(&bed.ask("bob", "planner"), "bob").await;
    let answered = bed.sign_in(&page, "bob").await;
    let late = Now::read().after(Duration::from_secs(601));
    let late =
        bed.connections.complete(&answered.callback(), &holder("bob"), BROWSER, &visit("bob"), late).await;
    assert!(matches!(late, Err(ConnectError::StateUnknown)), "{late:?}");
    check_missing(bed.call("bob", "planner").await, Missing::Connection);
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 1);
}

#[tokio::test]
async fn who_begins_again_and_again_pushes_out_nobodys_sign_in_but_their_own() {
    // What happened: all sign-ins at services shared one bound, so that one person, by opening the link of one agent ten thousand
    // times, ended everybody else's.
    let bed = Bed::start().await;
    let bobs = bed.begin(&bed.ask("bob", "planner"), "bob").await;
    let ticket = bed.ask("ada", "planner");
    let mut adas = Vec::new();
    for _ in 0..9 {
        adas.push(bed.begin(&ticket, "ada").await);
    }
    let oldest = bed.complete(&bed.sign_in(&adas[0], "ada").await, "ada").await;
    assert!(matches!(oldest, Err(ConnectError::StateUnknown)), "{oldest:?}");
    bed.complete(&bed.sign_in(&bobs, "bob").await, "bob").await.expect("Bob's connection");
    bed.complete(&bed.sign_in(&adas[1], "ada").await, "ada").await.expect("Ada's connection");
}

#[tokio::test]
async fn a_callback_in_another_browser_or_of_another_person_makes_no_connection() {
    let bed = Bed::start().await;
    // Bob starts, and has Ada's browser bring his answer, so that she uses his account; and the other way round.
    for (who, browser) in [("ada", "another-browser"), ("bob", BROWSER)] {
        let page = bed.begin(&bed.ask("ada", "planner"), "ada").await;
        let answered = bed.sign_in(&page, "bob").await;
        let refused = bed
            .connections
            .complete(&answered.callback(), &holder(who), browser, &visit(who), Now::read())
            .await;
        let expected = matches!(refused, Err(ConnectError::OtherBrowser | ConnectError::OtherPerson));
        assert!(expected, "{refused:?}");
        assert!(
            matches!(bed.complete(&answered, "ada").await, Err(ConnectError::StateUnknown)),
            "once, whatever came of it"
        );
        check_missing(bed.call("ada", "planner").await, Missing::Connection);
    }
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 0);
}

#[tokio::test]
async fn an_answer_of_another_server_or_one_that_does_not_say_whose_it_is_makes_no_connection() {
    let bed = Bed::start().await;
    for iss in [Some("https://evil.example".to_owned()), None] {
        let page = bed.begin(&bed.ask("ada", "planner"), "ada").await;
        let answered = Answered { iss, ..bed.sign_in(&page, "ada").await };
        let refused = bed.complete(&answered, "ada").await;
        assert!(matches!(refused, Err(ConnectError::OtherServer)), "{refused:?}");
    }
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 0);
}

#[tokio::test]
async fn an_answer_that_came_to_another_connectors_address_makes_no_connection() {
    // A server that was asked has another one answer, with the state that it got itself: one that does not say who it is. Its code
    // would be sent to whoever was asked, together with the verifier.
    let bed = Bed::start().await;
    for connector in ["diary", "", "Mail", "mail/"] {
        let page = bed.begin(&bed.ask("ada", "planner"), "ada").await;
        let answered = bed.sign_in(&page, "ada").await;
        let refused =
            bed.complete(&Answered { connector: connector.to_owned(), ..answered.clone() }, "ada").await;
        assert!(matches!(refused, Err(ConnectError::OtherServer)), "{connector}: {refused:?}");
        assert!(matches!(bed.complete(&answered, "ada").await, Err(ConnectError::StateUnknown)), "once");
    }
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 0, "no code goes anywhere");
    let mail = ConnectorName::new("mail");
    let links = bed.connections.links();
    assert_ne!(links.callback(&mail), links.callback(&ConnectorName::new("diary")));
    bed.connect("ada", "planner").await;
}

#[tokio::test]
async fn a_no_at_the_service_is_told_and_leaves_the_link_as_it_was() {
    let bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    let page = bed.begin(&ticket, "ada").await;
    let answered = bed.sign_in(&page, "ada").await;
    let declined = Answered { code: None, error: Some("access_denied<script>".to_owned()), ..answered };
    match bed.complete(&declined, "ada").await {
        Err(ConnectError::Declined { error }) => assert_eq!(error.as_str(), "access_deniedscript"),
        other => panic!("{other:?}"),
    }
    for code in [None, Some(String::new()), Some("x".repeat(20_000))] {
        let page = bed.begin(&ticket, "ada").await;
        let answered = Answered { code, ..bed.sign_in(&page, "ada").await };
        assert!(matches!(bed.complete(&answered, "ada").await, Err(ConnectError::NoCode)));
    }
    let page = bed.begin(&ticket, "ada").await;
    bed.complete(&bed.sign_in(&page, "ada").await, "ada").await.expect("a connection");
}

#[tokio::test]
async fn of_two_callbacks_at_once_one_makes_the_connection() {
    let bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    let (one, other) = (bed.begin(&ticket, "ada").await, bed.begin(&ticket, "ada").await);
    let (one, other) = (bed.sign_in(&one, "ada").await, bed.sign_in(&other, "ada").await);
    let same = one.clone();
    let ends =
        tokio::join!(bed.complete(&one, "ada"), bed.complete(&same, "ada"), bed.complete(&other, "ada"));
    let made = [&ends.0, &ends.1, &ends.2].into_iter().filter(|end| end.is_ok()).count();
    assert_eq!(made, 1, "{ends:?}");
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 1);
    assert_eq!(bed.server.living_grants(), 1);
}

#[tokio::test]
async fn a_service_that_fails_leaves_the_link_as_it_was() {
    let bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    for reply in [
        Reply::status(500),
        Reply::json(200, &json!({})),
        Reply::json(400, &json!({"error": "invalid_client"})),
    ] {
        let page = bed.begin(&ticket, "ada").await;
        let answered = bed.sign_in(&page, "ada").await;
        bed.server.script(Endpoint::Token).once(reply);
        let failed = bed.complete(&answered, "ada").await;
        assert!(matches!(failed, Err(ConnectError::Exchange(_))), "{failed:?}");
    }
    let page = bed.begin(&ticket, "ada").await;
    bed.complete(&bed.sign_in(&page, "ada").await, "ada").await.expect("a connection");
}

#[tokio::test]
async fn a_person_who_picks_another_account_takes_no_agreements_along() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let ticket = bed.connections.ask(&wanted("ada", "other"), Missing::Consent, Now::read());
    let page = bed.begin(&ticket, "ada").await;
    // The same person of ours, at another account of the service.
    bed.complete(&bed.sign_in(&page, "bob").await, "ada").await.expect("a connection");
    bed.call("ada", "other").await.expect("a token");
    check_missing(bed.call("ada", "planner").await, Missing::Consent);
}

#[tokio::test]
async fn what_a_person_agreed_to_under_other_settings_lets_no_agent_use_what_they_connect_anew() {
    // The planner may read Ada's mail. Then the connector is to read more, and Ada connects the same account anew for another agent.
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.reconfigure(&format!(" {MAIL_AUDIENCE}/User.Read"));
    bed.connect("ada", "other").await;
    bed.call("ada", "other").await.expect("a token");
    check_missing(bed.call("ada", "planner").await, Missing::Consent);
    let summaries = bed.connections.of(&holder("ada")).await.expect("read");
    let agents: Vec<&str> = summaries[0].agents.iter().map(|consent| consent.agent.as_str()).collect();
    assert_eq!(agents, ["other"]);
    // Under the same settings it is still for both.
    let ticket = bed.connections.ask(&wanted("ada", "planner"), Missing::Consent, Now::read());
    bed.connections.agree(&ticket, &holder("ada"), &visit("ada"), Now::read()).await.expect("agreed");
    bed.connect("ada", "third").await;
    bed.call("ada", "planner").await.expect("a token");
}
