//! Somebody who can write the file and has no key: what they change is named, counted, and used for nobody; and its person is
//! asked again.

use crate::bed::{Bed, answered, asked_to_connect};

/// Ada's record: she connected first.
const ADA: &str = "WHERE rowid = (SELECT min(rowid) FROM records)";

/// Two people with a connection each. `tamper` is done, and then the gateway is asked for both.
async fn check(what: &str, bed: &Bed, ada: Option<&str>, bob: Option<&str>) {
    let gateway = bed.gateway("gateway").await;
    for (who, fault) in [("ada", ada), ("bob", bob)] {
        let expected = if fault.is_some() { asked_to_connect() } else { answered() };
        assert_eq!(gateway.call(&bed.token(who)).await, expected, "{who}: {what}");
    }
    for kind in ["damaged", "other_key", "put_back"] {
        let expected = [ada, bob].iter().filter(|fault| **fault == Some(kind)).count();
        let counted = gateway.metric(&format!(r#"obo_gateway_vault_faults_total{{fault="{kind}"}}"#)).await;
        assert_eq!(counted.unwrap_or_default(), expected as f64, "{kind}: {what}");
    }
    let faults = ada.iter().chain(&bob).count();
    assert_eq!(gateway.log().matches("Record of the vault not used").count(), faults, "{what}");
    assert!(gateway.stop().success());
    // Signing in again is all that it takes.
    std::fs::remove_file(bed.folder.path().join("gateway.log")).expect("removed");
    for (who, _) in [("ada", ada), ("bob", bob)].iter().filter(|(_, fault)| fault.is_some()) {
        bed.connect(who).await;
    }
    let gateway = bed.gateway("gateway").await;
    for who in ["ada", "bob"] {
        assert_eq!(gateway.call(&bed.token(who)).await, answered(), "{who}, anew: {what}");
    }
}

async fn two() -> Bed {
    let bed = Bed::start().await;
    bed.connect("ada").await;
    bed.connect("bob").await;
    bed
}

#[tokio::test]
async fn a_record_that_is_flipped_or_cut_is_nobodys_any_more() {
    for change in [
        format!(
            "UPDATE records SET record = CAST(substr(record, 1, 40) || x'00' || substr(record, 42) AS BLOB) {ADA}"
        ),
        format!("UPDATE records SET record = CAST(substr(record, 1, length(record) - 1) AS BLOB) {ADA}"),
    ] {
        let bed = two().await;
        assert_eq!(bed.tamper(&change).await, 1);
        check(&change, &bed, Some("damaged"), None).await;
    }
}

#[tokio::test]
async fn records_that_are_swapped_between_people_are_nobodys() {
    let bed = two().await;
    let swap = "UPDATE records SET owner = other.owner, record = other.record FROM records AS other \
                WHERE other.name <> records.name";
    assert_eq!(bed.tamper(swap).await, 2);
    check(swap, &bed, Some("damaged"), Some("damaged")).await;
}

#[tokio::test]
async fn a_record_of_a_key_that_nobody_has_is_told_as_such() {
    let bed = two().await;
    let change = format!("UPDATE records SET key_id = 'unknown' {ADA}");
    assert_eq!(bed.tamper(&change).await, 1);
    check(&change, &bed, Some("other_key"), None).await;
}

#[tokio::test]
async fn a_record_that_is_put_back_after_it_was_revoked_is_refused() {
    let bed = two().await;
    let kept = bed.records().await;
    let forgotten =
        bed.run(&["vault", "forget", "--issuer", "contoso", "--subject", &bed.subject("ada")], "gateway");
    assert_eq!(forgotten.out.trim(), "connections removed: 1");
    bed.put_back(&kept).await;
    check("put back", &bed, Some("put_back"), None).await;
}

#[tokio::test]
async fn a_record_that_was_hidden_while_its_person_was_forgotten_is_refused() {
    let bed = two().await;
    let kept = bed.records().await;
    assert_eq!(bed.tamper(&format!("DELETE FROM records {ADA}")).await, 1);
    let gateway = bed.gateway("gateway").await;
    assert_eq!(gateway.forget(&bed.subject("ada")).await, 200);
    assert!(gateway.stop().success());
    std::fs::remove_file(bed.folder.path().join("gateway.log")).expect("removed");
    bed.put_back(&kept).await;
    check("hidden", &bed, Some("put_back"), None).await;
}
