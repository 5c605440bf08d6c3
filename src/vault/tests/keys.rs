//! Keys: wrong ones, lost ones, and new ones.

use super::*;

#[tokio::test]
async fn a_wrong_or_lost_key_opens_nothing_and_says_which_it_is() {
    let bed = Bed::filled().await;
    check_refused(bed.try_open(&[key("a", 2)]).await, r#"the key "a" is another one"#);
    check_refused(
        bed.try_open(&[key("b", 2)]).await,
        r#"sealed with the key "a", which the configuration does not have"#,
    );
    check_refused(bed.try_open(&[key("b", 2), key("a", 3)]).await, r#"the key "a" is another one"#);
    assert_eq!(
        get(&bed.open().await, &owner("ada", "crm")).await.expect("read").as_deref(),
        Some("ada at crm")
    );
}

#[tokio::test]
async fn keys_are_rotated_with_an_overlap() {
    let bed = Bed::filled().await;
    bed.open().await.remove(&owner("bob", "crm")).await.expect("removed");
    let (old, new) = (key("a", 1), key("b", 2));
    let both = [new.clone(), old.clone()];
    let vault = bed.try_open(&both).await.expect("both keys open it");
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("ada at crm"));
    put(&vault, &owner("ada", "wiki"), "by the new key").await;
    vault.close().await;
    check_refused(bed.try_open(std::slice::from_ref(&new)).await, r#"sealed with the key "a""#);
    let vault = bed.try_open(&both).await.expect("both keys open it");
    assert_eq!(vault.rotate().await.expect("rotated"), Rotated { resealed: 2, dropped: 0 });
    vault.close().await;
    let vault = bed.try_open(std::slice::from_ref(&new)).await.expect("the old key is not needed any more");
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("ada at crm"));
    assert_eq!(get(&vault, &owner("ada", "wiki")).await.expect("read").as_deref(), Some("by the new key"));
    assert!(vault.generation(&owner("bob", "crm")) > vault.generation(&owner("ada", "crm")));
    vault.close().await;
    check_refused(bed.try_open(&[old]).await, r#"sealed with the key "b""#);
}

#[tokio::test]
async fn rotation_drops_what_nobody_can_open_and_says_how_much() {
    let bed = Bed::filled().await;
    bed.tamper("UPDATE records SET record = x'00' WHERE name = (SELECT min(name) FROM records)").await;
    bed.tamper("UPDATE records SET key_id = 'unknown' WHERE name = (SELECT max(name) FROM records)").await;
    let vault = bed.try_open(&[key("b", 2), key("a", 1)]).await.expect("a vault");
    assert_eq!(vault.rotate().await.expect("rotated"), Rotated { resealed: 1, dropped: 2 });
    vault.close().await;
    bed.try_open(&[key("b", 2)]).await.expect("nothing is left that needs the old key");
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let shown = format!("{:?} {:?}", vault.settings(), VaultError::Superseded);
    assert!(shown.contains(r#"VaultKey("a")"#), "{shown}");
}

#[tokio::test]
async fn a_vault_knows_so_many_keys_and_no_more() {
    let bed = Bed::filled().await;
    let add = |count: usize| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             INSERT OR REPLACE INTO keys (id, checked) SELECT 'k' || i, zeroblob(32) FROM n"
        )
    };
    bed.tamper(&add(63)).await;
    bed.open().await.close().await;
    // What happened: it took one more, and did not open again.
    let more = [key("a", 1), key("b", 2)];
    check_refused(bed.try_open(&more).await, "it knows 64 keys already");
    let vault = bed.open().await;
    assert_eq!(vault.rotate().await.expect("rotated"), Rotated { resealed: 3, dropped: 0 });
    vault.close().await;
    bed.try_open(&more).await.expect("there is room again").close().await;
    bed.tamper(&add(64)).await;
    check_refused(bed.try_open(&[key("a", 1)]).await, "the list of its keys");
}
