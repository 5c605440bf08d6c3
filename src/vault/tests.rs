//! Attacks are made with SQL on the file itself, as somebody would who can write it and has no key.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::*;
use crate::identity::Realm;

/// A folder with a vault in it.
struct Bed {
    folder: TempDir,
    metrics: Arc<Metrics>,
}

fn key(id: &str, fill: u8) -> VaultKey {
    let mut bytes = [fill; KEY_BYTES];
    bytes[0] = 0;
    VaultKey::read(KeyId::new(id), &bytes).expect("a key")
}

fn owner(subject: &str, connector: &str) -> Owner {
    Owner {
        issuer: Issuer::new("https://issuer.example"),
        tenant: Tenant::Sole,
        subject: Subject::new(subject),
        connector: ConnectorName::new(connector),
    }
}

impl Bed {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), metrics: Arc::default() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("vault.db")
    }

    async fn try_open(&self, keys: &[VaultKey]) -> Result<Vault, OpenError> {
        let settings = VaultSettings { file: self.path().into(), keys: keys.to_vec() };
        Vault::open(settings, Arc::clone(&self.metrics)).await
    }

    async fn open(&self) -> Vault {
        self.try_open(&[key("a", 1)]).await.expect("a vault")
    }

    /// A vault that holds a grant of Ada's and of Bob's for the CRM, and one of Ada's for the wiki.
    async fn filled() -> Self {
        let bed = Self::new();
        let vault = bed.open().await;
        for (subject, connector) in [("ada", "crm"), ("bob", "crm"), ("ada", "wiki")] {
            put(&vault, &owner(subject, connector), &format!("{subject} at {connector}")).await;
        }
        vault.close().await;
        bed
    }

    /// Runs SQL on the file while nobody has the vault open.
    async fn tamper(&self, sql: &str) -> u64 {
        let mut connection = self.connect().await;
        let done = sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.expect("SQL of the test");
        connection.close().await.expect("closed");
        done.rows_affected()
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(self.path()).connect().await.expect("the file")
    }

    fn fault(&self, kind: &str) -> bool {
        let metrics = String::from_utf8(self.metrics.render().expect("metrics")).expect("text");
        metrics.contains(&format!(r#"obo_gateway_vault_faults_total{{fault="{kind}"}}"#))
    }
}

async fn put(vault: &Vault, owner: &Owner, text: &str) {
    vault.put(owner, vault.generation(owner), text.as_bytes()).await.expect("kept");
}

async fn get(vault: &Vault, owner: &Owner) -> Result<Option<String>, VaultError> {
    let record = vault.get(owner).await?;
    Ok(record.map(|record| String::from_utf8(record.bytes.to_vec()).expect("text")))
}

#[track_caller]
fn check_fault(got: Result<Option<String>, VaultError>, expected: RecordFault) {
    match got {
        Err(VaultError::Record(fault)) => assert_eq!(fault, expected),
        other => panic!("{expected:?} was expected: {other:?}"),
    }
}

#[track_caller]
fn check_refused(opened: Result<Vault, OpenError>, expected: &str) {
    let error = opened.map(drop).expect_err("it must not open");
    let shown = crate::error_chain::ErrorChain(&error).to_string();
    assert!(shown.contains(expected), "{shown}");
}

fn named(name: &str) -> Person {
    Person {
        realm: Realm::Issuers([Issuer::new("https://issuer.example")].into()),
        subject: Subject::new(name),
    }
}

#[tokio::test]
async fn what_is_kept_is_there_after_a_restart_and_belongs_to_one_person_and_connector() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("ada at crm"));
    assert_eq!(get(&vault, &owner("bob", "wiki")).await.expect("read"), None);
    for stranger in [
        Owner { issuer: Issuer::new("https://other.example"), ..owner("ada", "crm") },
        Owner { tenant: Tenant::Named("t".into()), ..owner("ada", "crm") },
    ] {
        assert_eq!(get(&vault, &stranger).await.expect("read"), None);
    }
    put(&vault, &owner("ada", "crm"), "newer").await;
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("newer"));
    let mut of_ada: Vec<String> = vault
        .of_the_person_of(&owner("ada", "anything"))
        .await
        .expect("read")
        .into_iter()
        .map(|(owner, record)| format!("{}: {}", owner.connector, String::from_utf8_lossy(&record.bytes)))
        .collect();
    of_ada.sort();
    assert_eq!(of_ada, ["crm: newer", "wiki: ada at wiki"]);
}

#[tokio::test]
async fn the_file_is_for_this_user_alone_and_tells_nobody_who_is_in_it() {
    let bed = Bed::filled().await;
    assert_eq!(std::fs::metadata(bed.path()).expect("a file").permissions().mode() & 0o777, 0o600);
    let bytes = std::fs::read(bed.path()).expect("a file");
    for word in ["ada", "bob", "crm", "wiki", "issuer.example"] {
        assert!(!bytes.windows(word.len()).any(|window| window == word.as_bytes()), "{word}");
    }
    let names: Vec<_> = std::fs::read_dir(bed.folder.path()).expect("a folder").flatten().collect();
    assert_eq!(names.len(), 2, "the file and its lock: {names:?}");
}

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
        format!("UPDATE records SET record = zeroblob(200000000) WHERE name = {ada}"),
        format!(
            "UPDATE records SET record = CAST(substr(record, 1, 20) || x'ffee' || substr(record, 23) AS BLOB) WHERE name = {ada}"
        ),
        format!("UPDATE records SET generation = generation + 1 WHERE name = {ada}"),
        format!("UPDATE records SET generation = -1 WHERE name = {ada}"),
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
        drop(vault);
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
    bed.tamper("CREATE TABLE kept AS SELECT * FROM records").await;
    let mut connection = bed.connect().await;
    let kept: Vec<store::RawRow> =
        sqlx::query_as("SELECT * FROM kept").fetch_all(&mut connection).await.expect("rows");
    connection.close().await.expect("closed");
    bed.tamper("DROP TABLE kept").await;
    let put_back = async || {
        let mut connection = bed.connect().await;
        for (name, person, generation, id, owner, record) in &kept {
            sqlx::query("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?)")
                .bind(name)
                .bind(person)
                .bind(generation)
                .bind(id)
                .bind(owner)
                .bind(record)
                .execute(&mut connection)
                .await
                .expect("put back");
        }
        connection.close().await.expect("closed");
    };
    let vault = bed.open().await;
    assert!(vault.remove(&owner("ada", "crm")).await.expect("removed"));
    assert!(!vault.remove(&owner("ada", "unknown")).await.expect("nothing there"));
    drop(vault);
    put_back().await;
    let vault = bed.open().await;
    check_fault(get(&vault, &owner("ada", "crm")).await, RecordFault::PutBack);
    assert!(bed.fault("put_back"));
    assert_eq!(get(&vault, &owner("bob", "crm")).await.expect("read").as_deref(), Some("bob at crm"));
    // A new grant is of the new generation, and the old one does not replace it either.
    put(&vault, &owner("ada", "crm"), "anew").await;
    drop(vault);
    put_back().await;
    let vault = bed.open().await;
    check_fault(get(&vault, &owner("ada", "crm")).await, RecordFault::PutBack);
    // Nor does it with the number of the new one beside it.
    drop(vault);
    bed.tamper("UPDATE records SET generation = 1").await;
    check_fault(get(&bed.open().await, &owner("ada", "crm")).await, RecordFault::Damaged);
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
        drop(vault);
        bed.tamper("CREATE TABLE early AS SELECT * FROM revocations").await;
        bed.tamper("ALTER TABLE early RENAME TO later").await;
        bed.tamper("ALTER TABLE later RENAME TO early").await;
        let mut connection = bed.connect().await;
        let early: Vec<(Vec<u8>, String, Vec<u8>)> =
            sqlx::query_as("SELECT * FROM early").fetch_all(&mut connection).await.expect("rows");
        connection.close().await.expect("closed");
        bed.tamper("DROP TABLE early").await;
        let vault = bed.open().await;
        put(&vault, &owner("ada", "crm"), "anew").await;
        vault.remove(&owner("ada", "crm")).await.expect("removed");
        vault.remove(&owner("bob", "crm")).await.expect("removed");
        drop(vault);
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
    drop(vault);
    check_refused(bed.try_open(std::slice::from_ref(&new)).await, r#"sealed with the key "a""#);
    let vault = bed.try_open(&both).await.expect("both keys open it");
    assert_eq!(vault.rotate().await.expect("rotated"), Rotated { resealed: 2, dropped: 0 });
    drop(vault);
    let vault = bed.try_open(std::slice::from_ref(&new)).await.expect("the old key is not needed any more");
    assert_eq!(get(&vault, &owner("ada", "crm")).await.expect("read").as_deref(), Some("ada at crm"));
    assert_eq!(get(&vault, &owner("ada", "wiki")).await.expect("read").as_deref(), Some("by the new key"));
    assert!(vault.generation(&owner("bob", "crm")) > vault.generation(&owner("ada", "crm")));
    drop(vault);
    check_refused(bed.try_open(&[old]).await, r#"sealed with the key "b""#);
}

#[tokio::test]
async fn rotation_drops_what_nobody_can_open_and_says_how_much() {
    let bed = Bed::filled().await;
    bed.tamper("UPDATE records SET record = x'00' WHERE name = (SELECT min(name) FROM records)").await;
    bed.tamper("UPDATE records SET key_id = 'unknown' WHERE name = (SELECT max(name) FROM records)").await;
    let vault = bed.try_open(&[key("b", 2), key("a", 1)]).await.expect("a vault");
    assert_eq!(vault.rotate().await.expect("rotated"), Rotated { resealed: 1, dropped: 2 });
    drop(vault);
    bed.try_open(&[key("b", 2)]).await.expect("nothing is left that needs the old key");
}

#[tokio::test]
async fn a_vault_is_open_once() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    check_refused(bed.try_open(&[key("a", 1)]).await, "another process has it open");
    drop(vault);
    bed.open().await;
}

#[tokio::test]
async fn what_is_no_file_of_its_own_or_is_open_to_others_is_not_used() {
    let bed = Bed::filled().await;
    let refused = async |expected: &str| check_refused(bed.try_open(&[key("a", 1)]).await, expected);
    let mode = |mode| std::fs::set_permissions(bed.path(), PermissionsExt::from_mode(mode)).expect("a mode");
    for open in [0o640, 0o604, 0o602] {
        mode(open);
        refused("chmod 600").await;
    }
    mode(0o600);
    let elsewhere = bed.folder.path().join("elsewhere");
    std::fs::hard_link(bed.path(), &elsewhere).expect("a second name");
    refused("no regular file of its own").await;
    std::fs::remove_file(bed.path()).expect("removed");
    symlink(&elsewhere, bed.path()).expect("a link");
    refused("no regular file of its own").await;
    std::fs::remove_file(bed.path()).expect("removed");
    std::fs::create_dir(bed.path()).expect("a folder");
    refused("it cannot be opened").await;
    std::fs::remove_dir(bed.path()).expect("removed");
    std::fs::rename(&elsewhere, bed.path()).expect("back");
    symlink("/etc/hostname", bed.folder.path().join("vault.db-journal")).expect("a link");
    refused("no regular file of its own").await;
}

#[tokio::test]
async fn another_file_or_one_with_more_in_it_is_no_vault() {
    let bed = Bed::new();
    std::fs::write(
        bed.path(),
        "not a vault, but a text of some length, longer than a head of the engine is, by far and more",
    )
    .expect("a file");
    std::fs::set_permissions(bed.path(), PermissionsExt::from_mode(0o600)).expect("a mode");
    check_refused(bed.try_open(&[key("a", 1)]).await, "not a database");
    for sql in [
        "CREATE TRIGGER t AFTER DELETE ON records BEGIN INSERT INTO records VALUES (old.name, old.person, old.generation, old.key_id, old.owner, old.record); END",
        "CREATE TABLE more (x)",
        "DROP INDEX records_by_person",
        "PRAGMA user_version = 2",
        "PRAGMA application_id = 1",
    ] {
        let bed = Bed::filled().await;
        bed.tamper(sql).await;
        check_refused(bed.try_open(&[key("a", 1)]).await, "no vault, or one of another version");
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

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_there_stays() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let (ada, bob) = (owner("ada", "crm"), owner("bob", "crm"));
    vault.shared.store().await.expect("open").fill_up().await;
    let large = vec![b'x'; RECORD_BYTES_MAX];
    let full = vault.put(&ada, vault.generation(&ada), &large).await.expect_err("no room");
    assert!(crate::error_chain::ErrorChain(&full).to_string().contains("database or disk is full"), "{full}");
    assert_eq!(get(&vault, &ada).await.expect("read").as_deref(), Some("ada at crm"));
    vault.shared.store().await.expect("open").make_room().await;
    vault.put(&ada, vault.generation(&ada), &large).await.expect("there is room again");
    vault.remove(&bob).await.expect("removed");
    drop(vault);
    let vault = bed.open().await;
    assert_eq!(vault.get(&ada).await.expect("read").expect("a record").bytes.len(), RECORD_BYTES_MAX);
    assert_eq!(get(&vault, &bob).await.expect("read"), None);
}

#[tokio::test]
async fn what_is_too_large_is_not_kept() {
    let bed = Bed::new();
    let vault = bed.open().await;
    let ada = owner("ada", "crm");
    let too_large = vault.put(&ada, vault.generation(&ada), &vec![0; RECORD_BYTES_MAX + 1]).await;
    assert!(matches!(too_large, Err(VaultError::TooLarge)), "{too_large:?}");
    let long = owner(&"x".repeat(OWNER_BYTES_MAX), "crm");
    assert!(matches!(vault.put(&long, vault.generation(&long), b"").await, Err(VaultError::TooLarge)));
}

#[tokio::test]
async fn nothing_secret_is_shown() {
    let bed = Bed::filled().await;
    let vault = bed.open().await;
    let shown = format!("{:?} {:?}", vault.settings(), VaultError::Superseded);
    assert!(shown.contains(r#"VaultKey("a")"#), "{shown}");
}
