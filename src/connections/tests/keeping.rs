//! Refresh tokens that are used once: stored before use, one refresh for everybody, and nothing lost silently.

use super::*;
use crate::vault::VaultError;

#[tokio::test]
async fn fifty_calls_at_a_rotation_make_one_refresh() {
    let bed = Arc::new(Bed::start().await);
    bed.connect("ada", "planner").await;
    let now = later();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let bed = Arc::clone(&bed);
            tokio::spawn(async move { bed.call_at("ada", "planner", now).await })
        })
        .collect();
    let mut tokens = Vec::new();
    for call in calls {
        tokens.push(call.await.expect("no panic").expect("a token"));
    }
    tokens.dedup();
    assert_eq!((tokens.len(), bed.asked(GrantKind::RefreshToken)), (1, 1));
    assert_eq!(bed.server.reused_refresh_tokens(), 0);
    assert_eq!(bed.server.last_issued(), tokens.pop());
    assert!(bed.counted("refreshed"));
}

#[tokio::test]
async fn what_was_rotated_is_in_the_vault_before_it_is_used() {
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    for _ in 0..5 {
        let token = bed.call_at("ada", "planner", later()).await.expect("a token");
        bed.restart().await;
        assert_eq!(bed.call("ada", "planner").await.expect("a token"), token);
    }
    assert_eq!((bed.asked(GrantKind::RefreshToken), bed.server.reused_refresh_tokens()), (5, 0));
}

#[tokio::test]
async fn a_token_in_use_is_renewed_ahead_while_the_old_one_serves() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let first = bed.call("ada", "planner").await.expect("a token");
    let due = Now::read().after(Duration::from_secs(3_000));
    assert_eq!(bed.call_at("ada", "planner", due).await.expect("a token"), first);
    for _ in 0..200 {
        if bed.call("ada", "planner").await.expect("a token") != first {
            assert_eq!(bed.asked(GrantKind::RefreshToken), 1);
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it was not renewed");
}

#[tokio::test]
async fn a_grant_that_the_service_ended_is_forgotten_and_told_once() {
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.server.end_grants("ada");
    check_missing(bed.call_at("ada", "planner", later()).await, Missing::Withdrawn);
    check_missing(bed.call_at("ada", "planner", later()).await, Missing::Connection);
    assert_eq!(bed.asked(GrantKind::RefreshToken), 1, "nobody asks again and again");
    assert!(bed.counted("withdrawn"));
    bed.restart().await;
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    bed.connect("ada", "planner").await;
    bed.call("ada", "planner").await.expect("a token");
}

#[tokio::test]
async fn after_a_crash_before_the_write_the_old_refresh_token_is_tried_once_and_the_person_is_asked() {
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.stop().await;
    let before = std::fs::read(bed.file()).expect("a vault");
    bed.resume().await;
    bed.call_at("ada", "planner", later()).await.expect("a token");
    bed.stop().await;
    // What a crash between the answer and the write leaves.
    std::fs::write(bed.file(), before).expect("written");
    bed.resume().await;
    bed.call("ada", "planner").await.expect("the old access token is still good");
    check_missing(bed.call_at("ada", "planner", later()).await, Missing::Withdrawn);
    assert_eq!((bed.asked(GrantKind::RefreshToken), bed.server.reused_refresh_tokens()), (2, 1));
    bed.connect("ada", "planner").await;
    bed.call_at("ada", "planner", later()).await.expect("a token");
}

#[tokio::test]
async fn a_service_that_is_down_is_told_and_the_connection_stays() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.server.script(Endpoint::Token).always(Reply::status(503));
    let failed = bed.call_at("ada", "planner", later()).await;
    assert!(matches!(failed, Err(ConnectionError::Exchange(_))), "{failed:?}");
    assert!(bed.counted("refresh_failed"));
    bed.server.script(Endpoint::Token).clear();
    tokio::time::sleep(REFUSED_FOR).await;
    bed.call_at("ada", "planner", later()).await.expect("a token");
}

#[tokio::test]
async fn a_vault_that_cannot_be_written_gives_out_nothing_new_and_loses_nothing() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.connections.held.vault.fail_writes(true).await;
    let failed = bed.call_at("ada", "planner", later()).await;
    assert!(matches!(failed, Err(ConnectionError::Vault(VaultError::Store { .. }))), "{failed:?}");
    let failed = bed.call_at("ada", "planner", later()).await;
    assert!(matches!(failed, Err(ConnectionError::Vault(_))), "{failed:?}");
    assert_eq!(bed.asked(GrantKind::RefreshToken), 1, "what was rotated is not asked for again");
    bed.connections.held.vault.fail_writes(false).await;
    let token = bed.call("ada", "planner").await.expect("a token");
    assert_eq!(Some(token), bed.server.last_issued());
    bed.call_at("ada", "planner", later()).await.expect("the rotated refresh token was kept");
    assert_eq!(bed.server.reused_refresh_tokens(), 0);
}

#[tokio::test]
async fn a_refresh_that_ends_after_the_person_was_forgotten_brings_nothing_back() {
    let bed = Arc::new(Bed::start().await);
    bed.connect("ada", "planner").await;
    bed.server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(500)));
    let call = tokio::spawn({
        let bed = Arc::clone(&bed);
        async move { bed.call_at("ada", "planner", later()).await }
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    let ada = Person {
        realm: Realm::Issuers([Issuer::new("https://issuer.example")].into()),
        subject: Subject::new("ada"),
    };
    bed.connections.forget(&ada, RequestId::next()).await.expect("forgotten");
    let late = call.await.expect("no panic");
    let missing = matches!(late, Err(ConnectionError::Missing(Missing::Connection | Missing::Withdrawn)));
    assert!(missing, "{late:?}");
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    assert_eq!(bed.server.living_grants(), 0, "what came late was given back");
}

#[tokio::test]
async fn a_sign_in_that_ends_after_the_person_was_forgotten_brings_nothing_back() {
    let mut bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    let answered = bed.sign_in(&bed.begin(&ticket, "ada").await, "ada").await;
    // The code is being exchanged when an operator has Ada forgotten.
    bed.server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(500)));
    let (late, forgot) = tokio::join!(bed.complete(&answered, "ada"), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bed.forget("ada").await.expect("forgotten")
    });
    assert_eq!(forgot, [], "there was nothing yet");
    assert!(matches!(late, Err(ConnectError::Forgotten)), "{late:?}");
    assert!(bed.connections.ticket(&ticket, Now::read()).is_none(), "nor is there a link any more");
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    assert_eq!(bed.asked(GrantKind::AuthorizationCode), 1);
    assert_eq!(bed.server.living_grants(), 0, "what came late was given back");
    bed.restart().await;
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    bed.connect("ada", "planner").await;
    bed.call("ada", "planner").await.expect("who signs in after that is connected");
}

#[tokio::test]
async fn a_sign_in_that_fails_after_the_person_was_forgotten_leaves_no_link() {
    let bed = Bed::start().await;
    let ticket = bed.ask("ada", "planner");
    let answered = bed.sign_in(&bed.begin(&ticket, "ada").await, "ada").await;
    bed.server.script(Endpoint::Token).once(Reply::status(500).after(Duration::from_millis(500)));
    let (failed, _) = tokio::join!(bed.complete(&answered, "ada"), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bed.forget("ada").await.expect("forgotten")
    });
    assert!(matches!(failed, Err(ConnectError::Exchange(_))), "{failed:?}");
    assert!(bed.connections.ticket(&ticket, Now::read()).is_none());
}

#[tokio::test]
async fn a_refresh_that_ends_after_the_person_disconnected_leaves_nothing_at_the_service() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.server.script(Endpoint::Token).once(Reply::normal().after(Duration::from_millis(500)));
    let (mail, ada, visit) = (ConnectorName::new("mail"), holder("ada"), visit("ada"));
    let (_, disconnected) = tokio::join!(bed.call_at("ada", "planner", later()), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bed.connections.disconnect(&ada, &mail, &visit).await
    });
    // It waits for the refresh, and gives the newest tokens back.
    assert_eq!(disconnected.expect("done"), Disconnected { was_there: true, revoked: Some(true) });
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
    assert_eq!((bed.asked(GrantKind::RefreshToken), bed.server.living_grants()), (1, 0));
}

#[tokio::test]
async fn when_agents_last_used_a_connection_is_forgotten_with_it() {
    let bed = Bed::start().await;
    for who in ["ada", "bob"] {
        bed.connect(who, "planner").await;
        bed.call(who, "planner").await.expect("a token");
    }
    let used_by = |who: &str| {
        let owner = Owner::new(&holder(who), &ConnectorName::new("mail"));
        bed.connections.held.used.contains_key(&(owner, Actor::new("planner")))
    };
    assert!(used_by("ada") && used_by("bob"));
    bed.forget("ada").await.expect("forgotten");
    assert!(!used_by("ada") && used_by("bob"));
    let mail = ConnectorName::new("mail");
    bed.connections.disconnect(&holder("bob"), &mail, &visit("bob")).await.expect("disconnected");
    assert!(!used_by("bob"));
}

#[tokio::test]
async fn whoever_has_somebody_forgotten_does_not_wait_for_ever_for_a_disk_that_does_not_answer() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let disk = bed.connections.held.vault.hold_disk().await;
    tokio::time::pause();
    let forgotten = tokio::time::timeout(Duration::from_secs(60), bed.forget("ada")).await;
    tokio::time::resume();
    let forgotten = forgotten.expect("an answer");
    assert!(matches!(forgotten, Err(DisconnectError::Vault(VaultError::TimedOut(_)))), "{forgotten:?}");
    drop(disk);
    bed.call("ada", "planner").await.expect("it was not done, as was said");
    assert_eq!(bed.server.living_grants(), 1, "nor was anything given back");
    bed.forget("ada").await.expect("forgotten");
    check_missing(bed.call("ada", "planner").await, Missing::Connection);
}

#[tokio::test]
async fn a_token_that_the_connector_turned_away_is_renewed_once() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let wanted = wanted("ada", "planner");
    let (old, _) = bed.connections.credential(&wanted, Now::read()).await.expect("a grant");
    let just_obtained = bed.connections.renew(&wanted, &old, Now::read()).await.expect("no error");
    assert!(just_obtained.is_none(), "another one would not help");
    let now = Now::read().after(Duration::from_secs(120));
    let renewed = bed.connections.renew(&wanted, &old, now).await.expect("no error").expect("another one");
    assert_ne!(renewed.access_token().digest(), old.access_token().digest());
    // Who was turned away with the old one meanwhile gets the same.
    let same = bed.connections.renew(&wanted, &old, now).await.expect("no error").expect("another one");
    assert_eq!(renewed.access_token().digest(), same.access_token().digest());
    assert_eq!(bed.asked(GrantKind::RefreshToken), 1);
}

#[tokio::test]
async fn a_connection_without_a_refresh_token_lasts_as_long_as_its_access_token() {
    let mut bed = Bed::start().await;
    // Without `offline_access`.
    let scopes = format!("openid {MAIL_AUDIENCE}/Mail.Read");
    let links = bed.connections.links.clone();
    let settings = vec![super::settings(&bed.server, &scopes)];
    let held = Arc::clone(&bed.connections.held);
    let recorder = super::recorder(&bed.trail);
    bed.connections =
        Connections::new(held, settings, links, None, recorder, &bed.metrics).expect("connections");
    bed.connect("ada", "planner").await;
    bed.call("ada", "planner").await.expect("a token");
    check_missing(bed.call_at("ada", "planner", later()).await, Missing::Renewal);
    let disconnected =
        bed.connections.disconnect(&holder("ada"), &ConnectorName::new("mail"), &visit("ada")).await;
    assert_eq!(disconnected.expect("done"), Disconnected { was_there: true, revoked: Some(true) });
}

#[tokio::test]
async fn a_record_that_is_damaged_has_the_person_asked_anew() {
    use sqlx::{ConnectOptions as _, Connection as _};
    let mut bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    bed.stop().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(bed.file());
    let mut connection = options.connect().await.expect("the file");
    sqlx::query("UPDATE records SET record = substr(record, 2)").execute(&mut connection).await.expect("cut");
    connection.close().await.expect("closed");
    bed.resume().await;
    check_missing(bed.call("ada", "planner").await, Missing::Unusable(RecordFault::Damaged));
    bed.connect("ada", "planner").await;
    bed.call("ada", "planner").await.expect("a token");
}
