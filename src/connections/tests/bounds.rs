//! What is kept in memory for people has bounds, and who comes beyond one takes nothing from anybody that they need.

use super::*;
use crate::connections::flows::FLOWS_MAX;
use crate::connections::refreshing::UNSAVED_MAX;
use crate::vault::VaultError;

/// Somebody of a crowd, in which nobody has anything to do with anybody.
fn one_of_many(n: usize) -> PersonId {
    PersonId { issuer: Issuer::new(format!("https://issuer-{n}.example")), ..holder("eve") }
}

#[tokio::test]
async fn of_too_many_sign_ins_the_oldest_gives_way() {
    let bed = Bed::start().await;
    let begin = async |holder: PersonId| {
        let wanted = Wanted { holder, ..wanted("ada", "planner") };
        let ticket = bed.connections.ask(&wanted, Missing::Connection, Now::read());
        let begun = bed.connections.begin(&ticket, &wanted.holder, BROWSER, &visit("ada"), Now::read()).await;
        begun.expect("an authorization")
    };
    let (adas, bobs) = (begin(holder("ada")).await, begin(holder("bob")).await);
    // With these two it is one more than there is room for.
    for n in 2..=FLOWS_MAX {
        begin(one_of_many(n)).await;
    }
    let oldest = bed.complete(&bed.sign_in(&adas, "ada").await, "ada").await;
    assert!(matches!(oldest, Err(ConnectError::StateUnknown)), "{oldest:?}");
    bed.complete(&bed.sign_in(&bobs, "bob").await, "bob").await.expect("Bob's connection");
}

#[tokio::test]
async fn a_bounded_number_of_grants_is_open_and_the_others_are_read_from_the_vault() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let held = &bed.connections.held;
    let mail = ConnectorName::new("mail");
    let opened = held.opened.get(&Owner::new(&holder("ada"), &mail)).expect("it is open");
    let refused = ConnectionError::BrokeOff;
    for n in 0..OPENED_MAX as usize + 1_000 {
        let owner = Owner::new(&one_of_many(n), &mail);
        held.used.insert((owner.clone(), Actor::new("planner")), 0);
        held.refused.insert(owner.clone(), refused.clone());
        held.opened.insert(owner, Arc::clone(&opened));
    }
    held.used.run_pending_tasks();
    held.refused.run_pending_tasks();
    held.opened.run_pending_tasks();
    let counts = [held.used.entry_count(), held.refused.entry_count(), held.opened.entry_count()];
    assert_eq!(counts, [OPENED_MAX; 3]);
    held.opened.invalidate_all();
    bed.call("ada", "planner").await.expect("it is in the vault");
}

#[tokio::test]
async fn while_too_many_grants_wait_for_the_vault_no_refresh_token_is_used_up() {
    let bed = Bed::start().await;
    bed.connect("ada", "planner").await;
    let (held, mail) = (&bed.connections.held, ConnectorName::new("mail"));
    let opened = held.opened.get(&Owner::new(&holder("ada"), &mail)).expect("it is open");
    for n in 0..UNSAVED_MAX {
        held.unsaved().insert(Owner::new(&one_of_many(n), &mail), (opened.generation, opened.grant.clone()));
    }
    let refused = bed.call_at("ada", "planner", later()).await;
    assert!(matches!(refused, Err(ConnectionError::Vault(VaultError::Waiting))), "{refused:?}");
    assert_eq!(bed.asked(GrantKind::RefreshToken), 0);
    bed.call("ada", "planner").await.expect("what is still good is given out");
    held.unsaved().remove(&Owner::new(&one_of_many(0), &mail));
    bed.call_at("ada", "planner", later()).await.expect("there is room again");
    assert_eq!(bed.asked(GrantKind::RefreshToken), 1);
}
