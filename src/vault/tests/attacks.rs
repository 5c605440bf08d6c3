//! Attacks are made with SQL on the file itself, as somebody would who can write it and has no key.

use super::*;

#[tokio::test]
async fn a_record_that_is_moved_swapped_cut_or_flipped_is_damaged_and_no_other_is() {
    let swap = |columns: &str| {
        let columns: Vec<String> =
            columns.split(' ').map(|column| format!("{column} = other.{column}")).collect();
        format!(
            "UPDATE records SET {} FROM records AS other WHERE other.name <> records.name",
            columns.join(", ")
        )
    };
    let ada = "(SELECT name FROM records ORDER BY length(record) LIMIT 1)";
    let attacks = [
        format!("UPDATE records SET record = substr(record, 1, length(record) - 1) WHERE name = {ada}"),
        format!("UPDATE records SET record = CAST(record || x'00' AS BLOB) WHERE name = {ada}"),
        format!("UPDATE records SET record = x'' WHERE name = {ada}"),
        format!("UPDATE records SET record = zeroblob(3000000) WHERE name = {ada}"),
        format!(
            "UPDATE records SET record = CAST(substr(record, 1, 20) || x'ffee' || substr(record, 23) AS BLOB) WHERE name = {ada}"
        ),
        format!("UPDATE records SET generation = generation + 1 WHERE name = {ada}"),
        format!("UPDATE records SET generation = -1 WHERE name = {ada}"),
        // What says whose it is: a call must not find what forgetting a person does not.
        format!("UPDATE records SET owner = CAST(substr(owner, 2) AS BLOB) WHERE name = {ada}"),
        format!("UPDATE records SET person = CAST(substr(person, 2) AS BLOB) WHERE name = {ada}"),
        // Bob's record under Ada's name and the other way round, with and without what says whose it is.
        swap("record"),
        swap("owner record"),
        swap("person owner record"),
    ];
    for attack in attacks {
        let bed = Bed::new();
        let vault = bed.open().await;
        put(&vault, &owner("ada", "crm"), "ada").await;
        put(&vault, &owner("bob", "crm"), "bob's").await;
        vault.close().await;
        let touched = bed.tamper(&attack).await;
        assert!(touched > 0, "{attack}");
        let vault = bed.open().await;
        check_fault(get(&vault, &owner("ada", "crm")).await, RecordFault::Damaged);
        match touched {
            2 => check_fault(get(&vault, &owner("bob", "crm")).await, RecordFault::Damaged),
            _ => assert_eq!(get(&vault, &owner("bob", "crm")).await.expect("read").as_deref(), Some("bob's")),
        }
        assert!(bed.fault("damaged"));
        // What cannot be used is replaced.
        put(&vault, &owner("ada", "crm"), "anew").await;
        assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("anew"));
    }
}

#[tokio::test]
async fn a_record_under_another_name_is_nobodys() {
    let bed = Bed::filled().await;
    // Every record gets the name of another one, so that some person finds each.
    let mut connection = bed.connect().await;
    for sql in [
        "CREATE TEMP TABLE x AS SELECT name AS old, lead(name, 1, (SELECT min(name) FROM records)) OVER (ORDER BY name) AS new FROM records",
        "UPDATE records SET name = CAST(x'00' || name AS BLOB)",
        "UPDATE records SET name = (SELECT new FROM x WHERE CAST(x'00' || x.old AS BLOB) = records.name)",
    ] {
        sqlx::query(sql).execute(&mut connection).await.expect("SQL of the test");
    }
    connection.close().await.expect("closed");
    let vault = bed.open().await;
    for (subject, connector) in [("ada", "crm"), ("bob", "crm"), ("ada", "wiki")] {
        check_fault(get(&vault, &owner(subject, connector)).await, RecordFault::Damaged);
    }
    let mut listed = Vec::new();
    vault.list(|one| listed.push((one.owner, one.record.is_err()))).await.expect("listed");
    assert_eq!(listed, [(None, true), (None, true), (None, true)]);
}

#[tokio::test]
async fn what_was_revoked_and_is_put_back_is_refused() {
    let bed = Bed::filled().await;
    let kept = bed.records().await;
    let vault = bed.open().await;
    assert!(vault.remove(&owner("ada", "crm")).await.expect("removed"));
    assert!(!vault.remove(&owner("ada", "unknown")).await.expect("nothing there"));
    vault.close().await;
    bed.put_back(&kept).await;
    let vault = bed.open().await;
    check_fault(get(&vault, &owner("ada", "crm")).await, RecordFault::PutBack);
    assert!(bed.fault("put_back"));
    assert_eq!(get(&vault, &owner("bob", "crm")).await.expect("read").as_deref(), Some("bob at crm"));
    // A new grant is of the new generation, and the old one does not replace it either.
    put(&vault, &owner("ada", "crm"), "anew").await;
    vault.close().await;
    bed.put_back(&kept).await;
    let vault = bed.open().await;
    check_fault(get(&vault, &owner("ada", "crm")).await, RecordFault::PutBack);
    // Nor does it with the number of the new one beside it.
    vault.close().await;
    bed.tamper("UPDATE records SET generation = 1").await;
    check_fault(get(&bed.open().await, &owner("ada", "crm")).await, RecordFault::Damaged);
}

#[tokio::test]
async fn what_a_new_sign_in_replaced_and_is_put_back_is_refused() {
    let bed = Bed::filled().await;
    let kept = bed.records().await;
    let (vault, ada) = (bed.open().await, owner("ada", "crm"));
    let generation =
        vault.replace(&ada, vault.forgettings(&ada.person), b"another account").await.expect("replaced");
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("another account"));
    vault.put(&ada, generation, b"refreshed").await.expect("of the same generation");
    assert!(matches!(vault.put(&ada, Generation(0), b"late").await, Err(VaultError::Superseded)));
    vault.close().await;
    bed.put_back(&kept).await;
    check_fault(get(&bed.open().await, &ada).await, RecordFault::PutBack);
}

#[tokio::test]
async fn who_was_forgotten_stays_so_though_their_records_were_hidden_or_damaged_at_the_time() {
    let tenant = || Tenant::Named("t".into());
    for (realm, tenant) in [
        (Realm::Issuers([Issuer::new("https://issuer.example")].into()), Tenant::Sole),
        (Realm::Issuers([Issuer::new("https://issuer.example")].into()), tenant()),
        (Realm::Tenant("t".into()), tenant()),
    ] {
        let ada = Person { realm, subject: Subject::new("ada") };
        for hidden in
            ["DELETE FROM records", "UPDATE records SET owner = x'00'", "UPDATE records SET person = x'00'"]
        {
            let (bed, crm) = (Bed::new(), in_tenant(tenant.clone(), owner("ada", "crm")));
            let bobs = in_tenant(tenant.clone(), owner("bob", "crm"));
            let vault = bed.open().await;
            put(&vault, &crm, "ada at crm").await;
            put(&vault, &bobs, "bob at crm").await;
            vault.close().await;
            let kept = bed.records().await;
            bed.tamper(hidden).await;
            let vault = bed.open().await;
            assert_eq!(vault.forget(&ada).await.expect("forgotten"), [], "nobody finds it: {hidden}");
            vault.close().await;
            bed.put_back(&kept).await;
            let vault = bed.open().await;
            check_fault(get(&vault, &crm).await, RecordFault::PutBack);
            assert_eq!(get(&vault, &bobs).await.expect("read").as_deref(), Some("bob at crm"));
            put(&vault, &crm, "anew").await;
            assert_eq!(get(&vault, &crm).await.expect("read").as_deref(), Some("anew"));
        }
    }
}

#[tokio::test]
async fn a_record_of_another_vault_of_the_same_key_is_no_record() {
    let (bed, other) = (Bed::filled().await, Bed::filled().await);
    let (mut ours, theirs) = (bed.records().await, other.records().await);
    // Each record of ours with what one of the other vault says of the same person, which has the same length.
    for (.., record) in &mut ours {
        let same = theirs.iter().find(|(.., other)| other.len() == record.len()).expect("the same three");
        record.clone_from(&same.5);
    }
    bed.put_back(&ours).await;
    let vault = bed.open().await;
    for (subject, connector) in [("ada", "crm"), ("bob", "crm"), ("ada", "wiki")] {
        check_fault(get(&vault, &owner(subject, connector)).await, RecordFault::Damaged);
    }
    vault.close().await;
    bed.tamper("DELETE FROM records").await;
    bed.put_back(&theirs).await;
    let vault = bed.open().await;
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read"), None);
    let mut faults = Vec::new();
    vault.list(|one| faults.push(one.record.err())).await.expect("listed");
    assert_eq!(faults, [Some(RecordFault::Damaged); 3]);
}

#[tokio::test]
async fn no_form_of_a_record_keeps_others_from_being_read_or_anything_from_coming_to_its_end() {
    for (attack, fault) in [
        // A name that is longer than what is read of one: who goes on behind it meets it again.
        (
            "UPDATE records SET name = CAST(name || zeroblob(33) AS BLOB) WHERE name = (SELECT max(name) FROM records)",
            RecordFault::Damaged,
        ),
        ("UPDATE records SET name = x'' WHERE name = (SELECT max(name) FROM records)", RecordFault::Damaged),
        (
            "UPDATE records SET key_id = CAST(x'ff' AS TEXT) WHERE name = (SELECT max(name) FROM records)",
            RecordFault::OtherKey,
        ),
        (
            "UPDATE records SET key_id = CAST(zeroblob(3000000) AS TEXT) WHERE name = (SELECT max(name) FROM records)",
            RecordFault::OtherKey,
        ),
        (
            "UPDATE records SET owner = zeroblob(3000000) WHERE name = (SELECT max(name) FROM records)",
            RecordFault::Damaged,
        ),
        (
            "UPDATE records SET rowid = 9223372036854775807 WHERE name = (SELECT max(name) FROM records)",
            RecordFault::PutBack,
        ),
        (
            "UPDATE records SET rowid = -9223372036854775808 WHERE name = (SELECT max(name) FROM records)",
            RecordFault::PutBack,
        ),
    ] {
        let bed = Bed::filled().await;
        assert_eq!(bed.tamper(attack).await, 1, "{attack}");
        let vault = bed.open().await;
        let work = async {
            let mut faults = Vec::new();
            vault.list(|one| faults.extend(one.record.err())).await.expect("listed");
            // A place in the table is nobody's business, and no fault.
            let expected: &[RecordFault] = if fault == RecordFault::PutBack { &[] } else { &[fault] };
            assert_eq!(faults, expected, "{attack}");
            let forgotten = vault.forget(&named("nobody")).await.expect("looked through");
            assert_eq!(forgotten, []);
            let rotated = vault.rotate().await.expect("rotated");
            assert_eq!(
                rotated,
                Rotated { resealed: 3 - expected.len(), dropped: expected.len() },
                "{attack}"
            );
        };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("it comes to no end: {attack}"));
        vault.close().await;
        assert_eq!(bed.records().await.len(), if fault == RecordFault::PutBack { 3 } else { 2 }, "{attack}");
    }
}

#[tokio::test]
async fn revocations_cannot_be_taken_out_or_turned_back_by_themselves() {
    for attack in [
        "DELETE FROM revocations",
        "DELETE FROM revocations WHERE name = (SELECT max(name) FROM revocations)",
        "UPDATE revocations SET sealed = (SELECT sealed FROM revocations AS other WHERE other.name <> revocations.name)",
        "UPDATE revocations SET sealed = (SELECT sealed FROM early WHERE early.name = revocations.name)",
        "INSERT OR REPLACE INTO revocations SELECT * FROM early",
        "UPDATE revocations SET name = x'00'",
        "UPDATE head SET sealed = substr(sealed, 2)",
        "DELETE FROM head",
    ] {
        let bed = Bed::filled().await;
        let vault = bed.open().await;
        vault.remove(&owner("ada", "crm")).await.expect("removed");
        vault.remove(&owner("bob", "crm")).await.expect("removed");
        vault.close().await;
        let mut connection = bed.connect().await;
        let early: Vec<(Vec<u8>, String, Vec<u8>)> =
            sqlx::query_as("SELECT * FROM revocations").fetch_all(&mut connection).await.expect("rows");
        connection.close().await.expect("closed");
        let vault = bed.open().await;
        put(&vault, &owner("ada", "crm"), "anew").await;
        vault.remove(&owner("ada", "crm")).await.expect("removed");
        vault.remove(&owner("bob", "crm")).await.expect("removed");
        vault.close().await;
        let mut connection = bed.connect().await;
        sqlx::query("CREATE TEMP TABLE early (name BLOB, key_id TEXT, sealed BLOB)")
            .execute(&mut connection)
            .await
            .expect("a table");
        for (name, id, sealed) in &early {
            sqlx::query("INSERT INTO early VALUES (?, ?, ?)")
                .bind(name)
                .bind(id)
                .bind(sealed)
                .execute(&mut connection)
                .await
                .expect("a row");
        }
        if attack.contains("x'00'") {
            sqlx::query("DELETE FROM revocations WHERE name = (SELECT max(name) FROM revocations)")
                .execute(&mut connection)
                .await
                .expect("one left");
        }
        sqlx::query(attack).execute(&mut connection).await.expect("SQL of the test");
        connection.close().await.expect("closed");
        check_refused(bed.try_open(&[key("a", 1)]).await, "changed by something else than the gateway");
    }
}

#[tokio::test]
async fn a_page_that_is_overwritten_is_an_error_that_is_told() {
    let bed = Bed::filled().await;
    let whole = std::fs::read(bed.path()).expect("a file");
    for page in 0..whole.len() / 4_096 {
        let mut damaged = whole.clone();
        damaged[page * 4_096..(page + 1) * 4_096].fill(0xa5);
        std::fs::write(bed.path(), &damaged).expect("written");
        let Ok(vault) = bed.try_open(&[key("a", 1)]).await else { continue };
        for (subject, connector) in [("ada", "crm"), ("bob", "crm"), ("ada", "wiki")] {
            match get(&vault, &owner(subject, connector)).await {
                Ok(Some(text)) => assert_eq!(text, format!("{subject} at {connector}")),
                Ok(None) => panic!("page {page}: a record is lost, and nobody is told"),
                Err(_) => {}
            }
        }
    }
}
