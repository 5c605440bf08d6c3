//! The engine under a vault: SQLite, one connection, and only statements of ours. It seals nothing and decides nothing.
//!
//! Another engine can stand here. What a vault asks of one is this:
//!
//! - [`Store::open`] and [`Store::close`]: nobody else changes anything between the two. An engine of several gateways has no such
//!   time: it would have to hold the head (below) for each change, and every gateway would have to read it anew.
//! - [`Store::read_state`] reads the keys, the head and the list of revocations, all as of one moment.
//! - [`Store::row`], [`Store::rows_of`], [`Store::page`] and [`Store::count`] read rows, each on its own. A page goes on behind a
//!   place that the engine gave, so that no row is met twice, whatever is written in it.
//! - [`Store::put`] writes one row: whole or not at all, and on the disk when it returns. That a generation has not been taken away
//!   meanwhile is seen to before, while the store is held; an engine of several gateways would have to see to it in the same
//!   transaction, against the revocations.
//! - [`Store::put`] and [`Store::change`] ask the [`Decision`] just before they commit: what nobody waits for any more is not done.
//! - [`Store::change`] takes generations away, removes rows, writes at most one, and writes the head over all of that: in one
//!   transaction, which is on the disk when it returns.
//! - [`Store::rotate`] seals everything anew: in one transaction.
//!
//! When a change ends in an error, whether it came about is not known: [`Store::is_in_doubt`], and before anything else is done,
//! [`Store::reopen`] begins anew and the state is read again. All that comes back from here may have been changed by anybody.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _};

use super::decision::Decision;
use super::key::{KeyId, Name, NameKey, SealingKey};
use super::owner::OWNER_BYTES_MAX;
use super::state::{Next, State};
use super::{OpenError, RECORD_BYTES_MAX, Rotated, VaultError};

mod head;
mod tables;

/// What sealing adds: a nonce and a tag.
const SEALED_BYTES_MORE: usize = 12 + 16;
/// How many records are read at a time.
const PAGE_ROWS: i64 = 64;
/// How long the engine waits for whoever else has the file: only a backup tool could, and not for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// What the engine says then (`SQLITE_BUSY`), in the lower byte of its code.
const BUSY: u32 = 5;
/// What it says of a file that does not begin as one of its own does (`SQLITE_NOTADB`).
const NO_DATABASE: u32 = 26;

/// The engine.
pub struct Store {
    options: SqliteConnectOptions,
    /// `None`: it could not be opened again after a change that ended in an error.
    connection: Option<SqliteConnection>,
    /// Held for as long as the file is open.
    _lock: File,
    is_in_doubt: bool,
    /// What each connection of a test begins with.
    #[cfg(test)]
    pragma: &'static str,
}

/// A row of the records, as it stands in the file. All of it may have been changed by anybody.
pub struct Row {
    /// The engine's own number of it; of no meaning in one that is to be written.
    pub at: i64,
    /// Its name, where it has the length of one.
    pub name: Option<Name>,
    /// The name of its person.
    pub person: Vec<u8>,
    /// The generation that it says it is of.
    pub generation: u64,
    /// The key that it says it is sealed with.
    pub key: KeyId,
    /// Whose it is, sealed.
    pub owner: Vec<u8>,
    /// The record, sealed.
    pub record: Vec<u8>,
}

/// A row, as the engine gives it.
type RawRow = (i64, Vec<u8>, Vec<u8>, i64, Vec<u8>, Vec<u8>, Vec<u8>);

impl From<RawRow> for Row {
    fn from((at, name, person, generation, key, owner, record): RawRow) -> Self {
        Self {
            at,
            name: name.try_into().ok(),
            person,
            // The engine's numbers have a sign. Whatever it was, it is bound to the record, and a changed one opens nothing.
            generation: generation.cast_unsigned(),
            key: head::key_id(&key),
            owner,
            record,
        }
    }
}

/// What is changed at once: all of it, or nothing.
pub struct Change<'a> {
    /// The generations that begin, and what the list of them is known by then.
    pub next: &'a Next,
    /// The names of the rows that are removed.
    pub removed: &'a [Name],
    /// The row that is written.
    pub written: Option<&'a Row>,
}

/// The columns of a row, as bytes, whatever the file has there. What is longer than anything that the gateway writes comes
/// empty, without being read, and does not open then.
macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT rowid, ",
            "iif(octet_length(name) <= 64, CAST(name AS BLOB), x''), ",
            "iif(octet_length(person) <= 64, CAST(person AS BLOB), x''), ",
            "ifnull(CAST(generation AS INTEGER), 0), ",
            "iif(octet_length(key_id) <= 256, CAST(key_id AS BLOB), x''), ",
            "iif(octet_length(owner) <= ?, CAST(owner AS BLOB), x''), ",
            "iif(octet_length(record) <= ?, CAST(record AS BLOB), x'') FROM records ",
            $rest
        )
    };
}

impl Store {
    /// Opens the file at `path`, which is there, and is nobody else's as long as `lock` is held. Makes the tables where it is
    /// empty, sealed with `key`.
    pub async fn open(path: &Path, lock: File, key: &SealingKey) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .locking_mode(SqliteLockingMode::Exclusive)
            // One file when nobody has it open. What is committed has reached the disk, the name of the journal included.
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Extra)
            .busy_timeout(BUSY_TIMEOUT)
            // What is removed is overwritten.
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging();
        let mut store = Self {
            options,
            connection: None,
            _lock: lock,
            is_in_doubt: false,
            #[cfg(test)]
            pragma: "",
        };
        let connection = store.connect().await?;
        if tables::are_there(connection).await? {
            return Ok(store);
        }
        tables::make(connection, key).await?;
        tracing::info!(file = %path.display(), "Vault made");
        Ok(store)
    }

    /// Closes the file. What is committed is safe in any case.
    pub async fn close(mut self) {
        self.disconnect().await;
    }

    /// Whether a change ended in an error, and whether it was made is not known.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// Opens the file anew, as after a crash: whatever an error has left half done in the engine is undone.
    pub async fn reopen(&mut self) -> Result<(), OpenError> {
        self.disconnect().await;
        let connection = self.connect().await?;
        match tables::are_there(connection).await? {
            true => Ok(()),
            false => Err(OpenError::NotAVault),
        }
    }

    /// What the file says has been read anew.
    pub fn clear_doubt(&mut self) {
        self.is_in_doubt = false;
    }

    /// The key of names, and what has been taken away. Each of `keys` is compared with the one of its name that the vault
    /// knows; one that it does not know is noted.
    pub async fn read_state(&mut self, keys: &[SealingKey]) -> Result<(NameKey, State), OpenError> {
        head::read(self.connection()?, keys).await
    }

    /// How many records there are.
    pub async fn count(&mut self) -> Result<i64, sqlx::Error> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM records").fetch_one(self.connection()?).await?;
        Ok(count)
    }

    /// The row of this name.
    pub async fn row(&mut self, name: &Name) -> Result<Option<Row>, VaultError> {
        let row: Option<RawRow> = sqlx::query_as(rows!("WHERE name = ?"))
            .bind(bound(OWNER_BYTES_MAX))
            .bind(bound(RECORD_BYTES_MAX))
            .bind(name.as_slice())
            .fetch_optional(self.connection()?)
            .await
            .map_err(using("a record cannot be read"))?;
        Ok(row.map(Into::into))
    }

    /// The rows of a person.
    pub async fn rows_of(&mut self, person: &Name) -> Result<Vec<Row>, VaultError> {
        let rows: Vec<RawRow> = sqlx::query_as(rows!("WHERE person = ? ORDER BY name LIMIT 1024"))
            .bind(bound(OWNER_BYTES_MAX))
            .bind(bound(RECORD_BYTES_MAX))
            .bind(person.as_slice())
            .fetch_all(self.connection()?)
            .await
            .map_err(using("a person's records cannot be read"))?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Some rows behind the one that stands at `after`; none: there are no more.
    pub async fn page(&mut self, after: Option<i64>) -> Result<Vec<Row>, VaultError> {
        page(self.connection()?, after).await
    }

    /// Writes a row, unless it is decided by then that it is not to be. When this returns, the disk has it. Returns whether there
    /// was none of its name.
    pub async fn put(&mut self, row: &Row, decision: &Decision) -> Result<bool, VaultError> {
        let failed = using("a record cannot be written");
        let (before,): (i64,) = sqlx::query_as("SELECT count(*) FROM records WHERE name = ?")
            .bind(row.name.as_ref().map(Name::as_slice))
            .fetch_one(self.connection()?)
            .await
            .map_err(&failed)?;
        decision.commit()?;
        // Until it has come to a good end.
        self.is_in_doubt = true;
        write_row(self.connection()?, row).await.map_err(failed)?;
        self.is_in_doubt = false;
        Ok(before == 0)
    }

    /// Changes what is to change, unless it is decided by then that it is not to. When this returns, the disk has it.
    pub async fn change(
        &mut self,
        key: &SealingKey,
        names: &NameKey,
        change: Change<'_>,
        decision: &Decision,
    ) -> Result<Changed, VaultError> {
        self.is_in_doubt = true;
        let changed = try_change(self.connection()?, key, names, change, decision).await?;
        self.is_in_doubt = false;
        Ok(changed)
    }

    /// Seals everything with the first of `keys`. `reseal` seals a row; `None`: it cannot be opened, and is dropped.
    pub async fn rotate(
        &mut self,
        keys: &[SealingKey],
        names: &NameKey,
        state: &State,
        reseal: impl Fn(&Row) -> Option<Result<Row, VaultError>>,
    ) -> Result<Rotated, VaultError> {
        self.is_in_doubt = true;
        let rotated = try_rotate(self.connection()?, keys, names, state, reseal).await?;
        self.is_in_doubt = false;
        Ok(rotated)
    }

    /// Connects. Nobody else has the file open then: neither another gateway whose lock somebody took away, nor a tool.
    async fn connect(&mut self) -> Result<&mut SqliteConnection, OpenError> {
        let failed = opening("it cannot be opened");
        let mut connection = self.options.connect().await.map_err(&failed)?;
        for sql in ["BEGIN EXCLUSIVE", "COMMIT"] {
            sqlx::query(sql).execute(&mut connection).await.map_err(&failed)?;
        }
        #[cfg(test)]
        if !self.pragma.is_empty() {
            sqlx::query(self.pragma).execute(&mut connection).await.expect("a pragma");
        }
        Ok(self.connection.insert(connection))
    }

    async fn disconnect(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if let Err(error) = connection.close().await {
            tracing::warn!(%error, "Vault not closed as it should be");
        }
    }

    fn connection(&mut self) -> Result<&mut SqliteConnection, sqlx::Error> {
        self.connection.as_mut().ok_or(sqlx::Error::WorkerCrashed)
    }

    /// Has every connection begin with this, from the present one on.
    #[cfg(test)]
    pub async fn begin_with(&mut self, pragma: &'static str) {
        self.pragma = pragma;
        sqlx::query(pragma).execute(self.connection().expect("open")).await.expect("a pragma");
    }
}

/// What came of a change.
pub struct Changed {
    /// How many records were removed.
    pub removed: u64,
    /// How many there are.
    pub records: i64,
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        opening("it cannot be read")(error)
    }
}

impl From<sqlx::Error> for VaultError {
    fn from(error: sqlx::Error) -> Self {
        using("the vault cannot be read")(error)
    }
}

async fn try_change(
    connection: &mut SqliteConnection,
    key: &SealingKey,
    names: &NameKey,
    Change { next, removed, written }: Change<'_>,
    decision: &Decision,
) -> Result<Changed, VaultError> {
    let failed = using("the vault cannot be changed");
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let mut count = 0;
    for name in removed {
        let deleted = sqlx::query("DELETE FROM records WHERE name = ?").bind(name.as_slice());
        count += deleted.execute(&mut *transaction).await.map_err(&failed)?.rows_affected();
    }
    if let Some(row) = written {
        write_row(&mut transaction, row).await.map_err(&failed)?;
    }
    for (name, generation) in &next.revoked {
        head::write_revocation(&mut transaction, key, name, *generation).await?;
    }
    head::write(&mut transaction, key, names, &next.total).await?;
    let (records,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM records").fetch_one(&mut *transaction).await.map_err(&failed)?;
    // Whatever has been written until here is undone where it is not to be.
    decision.commit()?;
    transaction.commit().await.map_err(&failed)?;
    Ok(Changed { removed: count, records })
}

async fn try_rotate(
    connection: &mut SqliteConnection,
    keys: &[SealingKey],
    names: &NameKey,
    state: &State,
    reseal: impl Fn(&Row) -> Option<Result<Row, VaultError>>,
) -> Result<Rotated, VaultError> {
    let failed = using("the vault cannot be sealed anew");
    let mut rotated = Rotated::default();
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
    let mut after = None;
    loop {
        let rows = page(&mut transaction, after).await?;
        let Some(last) = rows.last() else { break };
        after = Some(last.at);
        for row in &rows {
            match reseal(row) {
                Some(sealed) => {
                    write_row(&mut transaction, &sealed?).await.map_err(&failed)?;
                    rotated.resealed += 1;
                }
                None => {
                    let delete = sqlx::query("DELETE FROM records WHERE rowid = ?").bind(row.at);
                    delete.execute(&mut *transaction).await.map_err(&failed)?;
                    rotated.dropped += 1;
                }
            }
        }
    }
    for (name, generation) in state.iter() {
        head::write_revocation(&mut transaction, &keys[0], name, generation).await?;
    }
    head::write(&mut transaction, &keys[0], names, &state.total()).await?;
    head::keep_key(&mut transaction, &keys[0]).await.map_err(&failed)?;
    transaction.commit().await.map_err(&failed)?;
    Ok(rotated)
}

async fn page(connection: &mut SqliteConnection, after: Option<i64>) -> Result<Vec<Row>, VaultError> {
    let rows: Vec<RawRow> = sqlx::query_as(rows!("WHERE ?3 IS NULL OR rowid > ?3 ORDER BY rowid LIMIT ?4"))
        .bind(bound(OWNER_BYTES_MAX))
        .bind(bound(RECORD_BYTES_MAX))
        .bind(after)
        .bind(PAGE_ROWS)
        .fetch_all(connection)
        .await
        .map_err(using("records cannot be read"))?;
    Ok(rows.into_iter().map(Into::into).collect())
}

async fn write_row(connection: &mut SqliteConnection, row: &Row) -> Result<(), sqlx::Error> {
    let written = sqlx::query(
        "INSERT INTO records (name, person, generation, key_id, owner, record) VALUES (?, ?, ?, ?, ?, ?) \
         ON CONFLICT (name) DO UPDATE SET person = excluded.person, generation = excluded.generation, \
         key_id = excluded.key_id, owner = excluded.owner, record = excluded.record",
    );
    written
        .bind(row.name.as_ref().map(Name::as_slice))
        .bind(&row.person)
        .bind(row.generation.cast_signed())
        .bind(row.key.as_str())
        .bind(&row.owner)
        .bind(&row.record)
        .execute(connection)
        .await
        .map(drop)
}

/// How many bytes of a column there can be.
fn bound(bytes_max: usize) -> i64 {
    i64::try_from(bytes_max + SEALED_BYTES_MORE).unwrap_or(i64::MAX)
}

fn opening(what: &'static str) -> impl Fn(sqlx::Error) -> OpenError {
    move |source| match code(&source) {
        Some(BUSY) => OpenError::Locked,
        Some(NO_DATABASE) => OpenError::NotAVault,
        Some(_) | None => OpenError::Store { what, source: Arc::new(source) },
    }
}

/// The lower byte of what the engine says: which kind of error it is.
fn code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error().and_then(|error| error.code()?.parse().ok())?;
    Some(code & 0xff)
}

fn using(what: &'static str) -> impl Fn(sqlx::Error) -> VaultError {
    move |source| VaultError::Store { what, source: Arc::new(source) }
}
