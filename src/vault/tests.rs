//! Vaults of a few people, in folders of their own.

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use super::*;
use crate::identity::{Issuer, PersonId, Realm, Subject, Tenant};

mod attacks;
mod files;
mod keeping;
mod keys;

/// A folder with a vault in it.
struct Bed {
    folder: TempDir,
    metrics: Arc<Metrics>,
}

/// A record, as it stands in the file: its name, its person, its generation, its key, whose it is, and what it says.
type RawRecord = (Vec<u8>, Vec<u8>, i64, String, Vec<u8>, Vec<u8>);

fn key(id: &str, fill: u8) -> VaultKey {
    let mut bytes = [fill; KEY_BYTES];
    bytes[0] = 0;
    VaultKey::read(KeyId::new(id), &bytes).expect("a key")
}

fn owner(subject: &str, connector: &str) -> Owner {
    Owner {
        person: PersonId {
            issuer: Issuer::new("https://issuer.example"),
            tenant: Tenant::Sole,
            subject: Subject::new(subject),
        },
        connector: ConnectorName::new(connector),
    }
}

/// What is somebody else's, of the same identifier in another tenant.
fn in_tenant(tenant: Tenant, owner: Owner) -> Owner {
    Owner { person: PersonId { tenant, ..owner.person }, ..owner }
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

    /// Every record, as it stands in the file.
    async fn records(&self) -> Vec<RawRecord> {
        let mut connection = self.connect().await;
        let all = sqlx::query_as("SELECT * FROM records ORDER BY name").fetch_all(&mut connection).await;
        connection.close().await.expect("closed");
        all.expect("records")
    }

    /// Puts records into the file, in place of those of their names.
    async fn put_back(&self, records: &[RawRecord]) {
        let mut connection = self.connect().await;
        for (name, person, generation, id, owner, record) in records {
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
    }

    fn fault(&self, kind: &str) -> bool {
        let metrics = String::from_utf8(self.metrics.render().expect("metrics")).expect("text");
        let series = format!("obo_gateway_vault_faults_total{{fault=\"{kind}\"}} ");
        let count = metrics.lines().find_map(|line| line.strip_prefix(&*series));
        count.expect("it is counted from 0 on") != "0"
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
