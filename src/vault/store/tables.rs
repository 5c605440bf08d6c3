//! The tables of a vault, word for word as the engine keeps them: in a file with others something else has been at work.

use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;

use super::head;
use super::opening;
use crate::vault::key::{NameKey, SealingKey};
use crate::vault::state::Total;
use crate::vault::{OpenError, VaultError};

/// What tells a vault from other files of the engine (`application_id`): "oboV".
const APPLICATION: i64 = 0x6f62_6f56;
/// The version of the tables below (`user_version`).
const VERSION: i64 = 1;
/// The statements that say so.
const NAME_IT: &str = "PRAGMA application_id = 1868722006";
const NUMBER_IT: &str = "PRAGMA user_version = 1";
const TABLES: [(&str, &str); 5] = [
    (
        "head",
        "CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), key_id TEXT NOT NULL, sealed BLOB NOT NULL) STRICT",
    ),
    ("keys", "CREATE TABLE keys (id TEXT PRIMARY KEY, checked BLOB NOT NULL) STRICT, WITHOUT ROWID"),
    (
        "records",
        "CREATE TABLE records (name BLOB PRIMARY KEY, person BLOB NOT NULL, generation INTEGER NOT NULL, key_id TEXT NOT NULL, owner BLOB NOT NULL, record BLOB NOT NULL) STRICT",
    ),
    ("records_by_person", "CREATE INDEX records_by_person ON records (person)"),
    (
        "revocations",
        "CREATE TABLE revocations (name BLOB PRIMARY KEY, key_id TEXT NOT NULL, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID",
    ),
];

/// Whether the tables are there. A file that is not empty must have these, and no others: nor triggers, which could put back
/// what is taken away.
pub async fn are_there(connection: &mut SqliteConnection) -> Result<bool, OpenError> {
    let read = opening("it cannot be read");
    // What the engine made by itself for a primary key has no text, whatever it is called.
    let found: Vec<(String, Option<String>)> = sqlx::query_as(
        "SELECT name, sql FROM sqlite_master WHERE type <> 'index' OR sql IS NOT NULL ORDER BY name LIMIT 16",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(&read)?;
    let (application,): (i64,) =
        sqlx::query_as("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(&read)?;
    let (version,): (i64,) =
        sqlx::query_as("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(&read)?;
    if found.is_empty() && (application, version) == (0, 0) {
        return Ok(false);
    }
    let found: Vec<(&str, Option<&str>)> =
        found.iter().map(|(name, sql)| (name.as_str(), sql.as_deref())).collect();
    let ours = TABLES.map(|(name, sql)| (name, Some(sql)));
    match (application, version) == (APPLICATION, VERSION) && found == ours {
        true => Ok(true),
        false => Err(OpenError::NotAVault),
    }
}

/// Makes the tables of an empty vault, whose names are made by a key that is drawn now.
pub async fn make(connection: &mut SqliteConnection, key: &SealingKey) -> Result<(), OpenError> {
    let failed = opening("it cannot be made");
    let names = NameKey::draw().ok_or(OpenError::NoRandomness)?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    for (_, sql) in TABLES {
        sqlx::query(sql).execute(&mut *transaction).await.map_err(&failed)?;
    }
    // Statements of this kind take no parameters.
    for sql in [NAME_IT, NUMBER_IT] {
        sqlx::query(sql).execute(&mut *transaction).await.map_err(&failed)?;
    }
    let written = head::write(&mut transaction, key, &names, &Total::default()).await;
    written.map_err(|error| match error {
        VaultError::Store { what, source } => OpenError::Store { what, source },
        _ => OpenError::NoRandomness,
    })?;
    transaction.commit().await.map_err(&failed)
}
