//! What is kept is there, and what is taken away is not.

use super::*;

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart_and_belongs_to_one_person_and_connector() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("ada at crm"));
    assert_eq!(get(&vault, &owner("bob", "wiki")).await.expect("read"), None);
    for stranger in [
        Owner {
            person: PersonId { issuer: Issuer::new("https://other.example"), ..owner("ada", "crm").person },
            ..owner("ada", "crm")
        },
        in_tenant(Tenant::Named("t".into()), owner("ada", "crm")),
    ] {
        assert_eq!(get(&vault, &stranger).await.expect("read"), None);
    }
    put(&vault, &owner("ada", "crm"), "newer").await;
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("newer"));
    let mut of_ada: Vec<String> = vault
        .of_person(&owner("ada", "anything").person)
        .await
        .expect("read")
        .into_iter()
        .map(|(owner, record)| format!("{}: {}", owner.connector, String::from_utf8_lossy(&record.bytes)))
        .collect();
    of_ada.sort();
    assert_eq!(of_ada, ["crm: newer", "wiki: ada at wiki"]);
}

#[tokio::test]
async fn a_refresh_that_ends_after_a_revocation_brings_nothing_back() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let ada = owner("ada", "crm");
    let before = vault.generation(&ada);
    vault.remove(&ada).await.expect("removed");
    let late = vault.put(&ada, before, b"late").await;
    assert!(matches!(late, Err(VaultError::Superseded)), "{late:?}");
    assert_eq!(get(&vault, &ada).await.expect("read"), None);
}

#[tokio::test]
async fn a_sign_in_that_ends_after_its_person_was_forgotten_brings_nothing_back() {
    let sole = (Realm::Issuers([Issuer::new("https://issuer.example")].into()), Tenant::Sole);
    let named = (Realm::Tenant("t".into()), Tenant::Named("t".into()));
    for (realm, tenant) in [sole, named] {
        let (bed, ada) = (Bed::new(), in_tenant(tenant.clone(), owner("ada", "crm")));
        let bob = in_tenant(tenant, owner("bob", "crm"));
        let vault = bed.open().await;
        let (adas, bobs) = (vault.forgettings(&ada.person), vault.forgettings(&bob.person));
        let person = Person { realm, subject: Subject::new("ada") };
        assert_eq!(vault.forget(&person).await.expect("there was nothing yet"), []);
        let late = vault.replace(&ada, adas, b"late").await;
        assert!(matches!(late, Err(VaultError::Superseded)), "{late:?}");
        assert_eq!(get(&vault, &ada).await.expect("read"), None);
        vault.replace(&bob, bobs, b"another's").await.expect("nobody has forgotten them");
        // What was taken away otherwise keeps nobody from connecting anew.
        let begun = vault.forgettings(&ada.person);
        vault.replace(&ada, begun, b"anew").await.expect("begun after it");
        vault.remove(&ada).await.expect("removed");
        vault.replace(&ada, begun, b"once more").await.expect("nobody was forgotten since");
    }
}

#[tokio::test]
async fn forgetting_a_person_takes_all_that_is_theirs_and_nothing_else() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let mut forgotten: Vec<String> = vault
        .forget(&named("ada"))
        .await
        .expect("forgotten")
        .iter()
        .map(|owner| owner.connector.to_string())
        .collect();
    forgotten.sort();
    assert_eq!(forgotten, ["crm", "wiki"]);
    assert_eq!(vault.forget(&named("ada")).await.expect("nothing left"), []);
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read"), None);
    assert_eq!(get(&vault, &owner("bob", "crm")).await.expect("read").as_deref(), Some("bob at crm"));
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_there_stays() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let (ada, bob, eve) = (owner("ada", "crm"), owner("bob", "crm"), owner("eve", "crm"));
    let room = async |pragma| vault.shared.store().await.expect("open").begin_with(pragma).await;
    room("PRAGMA max_page_count = 1").await;
    let large = vec![b'x'; RECORD_BYTES_MAX];
    for _ in 0..3 {
        let full = [
            vault.put(&ada, vault.generation(&ada), &large).await.expect_err("no room"),
            vault.replace(&ada, vault.forgettings(&ada.person), &large).await.expect_err("no room"),
            vault.replace(&eve, vault.forgettings(&eve.person), &large).await.expect_err("no room"),
        ];
        for error in full {
            let shown = crate::error_chain::ErrorChain(&error).to_string();
            assert!(shown.contains("database or disk is full"), "{shown}");
        }
        assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
        assert_eq!(get(&vault, &bob).await.expect("read").as_deref(), Some("bob at crm"));
    }
    room("PRAGMA max_page_count = 1000000").await;
    vault.replace(&ada, vault.forgettings(&ada.person), &large).await.expect("there is room again");
    vault.remove(&bob).await.expect("removed");
    vault.close().await;
    let vault = bed.open().await;
    assert_eq!(vault.get(&ada).await.expect("read").expect("a record").bytes.len(), RECORD_BYTES_MAX);
    assert_eq!(get(&vault, &bob).await.expect("read"), None);
}

#[tokio::test]
async fn what_was_given_up_is_not_done_later() {
    // What happened: whoever waited had been told, and had recorded, that it was not done, and then the disk did it.
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let (ada, bob, ada_at_wiki) = (owner("ada", "crm"), owner("bob", "crm"), owner("ada", "wiki"));
    let before = [&ada, &bob, &ada_at_wiki].map(|owner| vault.generation(owner));
    let disk = vault.shared.store.lock().await;
    tokio::time::pause();
    let person = named("ada");
    let (put, replaced, removed, forgotten) = tokio::join!(
        vault.put(&bob, vault.generation(&bob), b"late"),
        vault.replace(&bob, vault.forgettings(&bob.person), b"late"),
        vault.remove(&ada),
        vault.forget(&person),
    );
    tokio::time::resume();
    let ends = [put.err(), replaced.err(), removed.err(), forgotten.err()];
    assert!(ends.iter().all(|end| matches!(end, Some(VaultError::TimedOut(_)))), "{ends:?}");
    drop(disk);
    // Whoever waits for the disk has it in turn, so this comes after all of that.
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
    assert_eq!(get(&vault, &bob).await.expect("read").as_deref(), Some("bob at crm"));
    assert_eq!(get(&vault, &ada_at_wiki).await.expect("read").as_deref(), Some("ada at wiki"));
    assert_eq!([&ada, &bob, &ada_at_wiki].map(|owner| vault.generation(owner)), before);
    vault.remove(&ada).await.expect("it goes on");
}

#[tokio::test]
async fn what_is_given_up_while_it_is_being_written_is_undone() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let (ada, names) = (owner("ada", "crm"), &vault.shared.sealer.names);
    let (before, name) = (vault.generation(&ada), vault.shared.sealer.name(&ada));
    let next = vault.shared.with_state(|state| state.next(&[name], names));
    let decision = Decision::default();
    assert!(decision.give_up());
    let mut store = vault.shared.store().await.expect("open");
    let change = Change { next: &next, removed: &[name], written: None };
    let changed = store.change(&vault.shared.sealer.keys[0], names, change, &decision).await.map(drop);
    assert!(matches!(changed, Err(VaultError::TimedOut(_))), "{changed:?}");
    drop(store);
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
    vault.close().await;
    let vault = bed.open().await;
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
    assert_eq!(vault.generation(&ada), before);
}

#[tokio::test]
async fn what_is_being_committed_is_waited_for_and_its_outcome_is_told() {
    let bed = Bed::new();
    let vault = bed.open().await;
    tokio::time::pause();
    let commit_for = async |commits: Duration| {
        let change = vault.change(|_, decision| async move {
            decision.commit()?;
            tokio::time::sleep(commits).await;
            Ok(())
        });
        change.await
    };
    assert!(commit_for(PATIENCE + COMMIT_PATIENCE - Duration::from_secs(1)).await.is_ok());
    let unknown = commit_for(PATIENCE + COMMIT_PATIENCE + Duration::from_secs(1)).await;
    assert!(matches!(unknown, Err(VaultError::InDoubt(_))), "{unknown:?}");
    // Who comes to that point too late does not get past it.
    let (told, heard) = tokio::sync::oneshot::channel();
    let late = vault.change(|_, decision| async move {
        tokio::time::sleep(PATIENCE + Duration::from_secs(1)).await;
        let committed = decision.commit();
        told.send(committed.is_ok()).expect("somebody hears it");
        committed
    });
    assert!(matches!(late.await, Err(VaultError::TimedOut(_))));
    assert!(!heard.await.expect("it is told"));
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let bed = Bed::new();
    let vault = bed.open().await;
    let ada = owner("ada", "crm");
    let too_large = vault.put(&ada, vault.generation(&ada), &vec![0; RECORD_BYTES_MAX + 1]).await;
    assert!(matches!(too_large, Err(VaultError::TooLarge)), "{too_large:?}");
    let long = super::owner(&"x".repeat(owner::OWNER_BYTES_MAX), "crm");
    assert!(matches!(vault.put(&long, vault.generation(&long), b"").await, Err(VaultError::TooLarge)));
}

#[tokio::test]
async fn nobodys_records_are_read_without_bound() {
    let bed = Bed::new();
    let (vault, ada) = (bed.open().await, owner("ada", "crm"));
    put(&vault, &ada, "ada at crm").await;
    vault.close().await;
    // Whoever can write the file gives her many more, under names of their own.
    let copies = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) \
                  INSERT INTO records SELECT randomblob(32), person, generation, key_id, owner, record FROM n, records";
    assert_eq!(bed.tamper(copies).await, 2_000);
    let vault = bed.open().await;
    let person = person_name(&ada.person, &vault.shared.sealer.names);
    let rows = vault.shared.store().await.expect("open").rows_of(&person).await.expect("read");
    assert_eq!(rows.len(), 1_024);
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_not_waited_for_without_end() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let disk = vault.shared.store.lock().await;
    tokio::time::pause();
    let (began, ada) = (tokio::time::Instant::now(), owner("ada", "crm"));
    let (read, all) = tokio::join!(vault.get(&ada), vault.of_person(&ada.person));
    let ends = [read.err(), all.err()];
    assert!(ends.iter().all(|end| matches!(end, Some(VaultError::TimedOut(PATIENCE)))), "{ends:?}");
    assert_eq!(began.elapsed().as_secs(), PATIENCE.as_secs());
    tokio::time::resume();
    drop(disk);
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
}
