//! The engine under a vault: SQLite, one connection, and only statements of ours.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, Transaction};
use zeroize::Zeroizing;

use super::key::{KEY_BYTES, KeyId, Name, NameKey, Place, SealingKey};
use super::state::State;
use super::{OWNER_BYTES_MAX, OpenError, RECORD_BYTES_MAX, Rotated, VaultError};

/// What tells a vault from other files of the engine (`application_id`): "oboV".
const APPLICATION: i64 = 0x6f62_6f56;
/// The version of the tables below (`user_version`).
const VERSION: i64 = 1;
/// The statements that say so.
const NAME_IT: &str = "PRAGMA application_id = 1868722006";
const NUMBER_IT: &str = "PRAGMA user_version = 1";
/// The tables, word for word as the engine keeps them: in a file with others something else has been at work.
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
/// What sealing adds: a nonce and a tag.
const SEALED_BYTES_MORE: usize = 12 + 16;
/// How many records are read at a time.
const PAGE_ROWS: i64 = 64;
/// How long the engine waits for whoever else has the file: only a backup tool could, and not for long.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How many bytes a sealed head has within: the key of names, the sum over revocations, and their number.
const HEAD_BYTES: usize = KEY_BYTES + 32 + 8;

/// The engine.
pub struct Store {
    connection: SqliteConnection,
    /// Held for as long as the file is open.
    _lock: File,
    is_new: bool,
    /// A change ended in an error, and whether it was made is not known.
    is_in_doubt: bool,
}

/// A row of the records, as it stands in the file. All of it may have been changed by anybody.
pub struct Row {
    /// Its name, where it has the length of one.
    pub name: Option<Name>,
    /// The same as it is written.
    pub written_name: Vec<u8>,
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
pub type RawRow = (Vec<u8>, Vec<u8>, i64, String, Vec<u8>, Vec<u8>);

impl From<RawRow> for Row {
    fn from((name, person, generation, key, owner, record): RawRow) -> Self {
        Self {
            name: name.as_slice().try_into().ok(),
            written_name: name,
            person,
            // The engine's numbers have a sign. Whatever it was, it is bound to the record, and a changed one opens nothing.
            generation: generation.cast_unsigned(),
            key: KeyId::new(key),
            owner,
            record,
        }
    }
}

/// The columns of a row. What is longer than anything that the gateway writes is cut, and does not open then.
macro_rules! rows {
    ($rest:literal) => {
        concat!(
            "SELECT substr(name, 1, 64), substr(person, 1, 64), generation, substr(key_id, 1, 256), ",
            "substr(owner, 1, ?), substr(record, 1, ?) FROM records ",
            $rest
        )
    };
}

impl Store {
    /// Opens the file at `path`, which is there, and is nobody else's as long as `lock` is held.
    pub async fn open(path: &Path, lock: File) -> Result<Self, OpenError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .locking_mode(SqliteLockingMode::Exclusive)
            // One file when nobody writes. What is committed has reached the disk, the name of the journal included.
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Extra)
            .busy_timeout(BUSY_TIMEOUT)
            // What is removed is overwritten.
            .pragma("secure_delete", "ON")
            .pragma("trusted_schema", "OFF")
            .pragma("cell_size_check", "ON")
            .disable_statement_logging();
        let connection = options.connect().await.map_err(opening("it cannot be opened"))?;
        let mut store = Self { connection, _lock: lock, is_new: false, is_in_doubt: false };
        store.is_new = store.check_tables().await?;
        Ok(store)
    }

    /// Closes the file. What is committed is safe in any case.
    pub async fn close(self) {
        if let Err(error) = self.connection.close().await {
            tracing::warn!(%error, "Vault not closed as it should be");
        }
    }

    /// Whether nothing was in the file.
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// Whether a change ended in an error, and whether it was made is not known.
    pub fn is_in_doubt(&self) -> bool {
        self.is_in_doubt
    }

    /// What the file says has been read anew.
    pub fn is_known(&mut self) {
        self.is_in_doubt = false;
    }

    /// Whether the file is empty. One that is not must have our tables, and no others: nor triggers, which could put back what
    /// is taken away.
    async fn check_tables(&mut self) -> Result<bool, OpenError> {
        let read = opening("it cannot be read");
        let connection = &mut self.connection;
        let found: Vec<(String, Option<String>)> =
            sqlx::query_as("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_autoindex_%' ORDER BY name LIMIT 16")
                .fetch_all(&mut *connection)
                .await
                .map_err(&read)?;
        let (application,): (i64,) =
            sqlx::query_as("PRAGMA application_id").fetch_one(&mut *connection).await.map_err(&read)?;
        let (version,): (i64,) =
            sqlx::query_as("PRAGMA user_version").fetch_one(&mut *connection).await.map_err(&read)?;
        if found.is_empty() && (application, version) == (0, 0) {
            return Ok(true);
        }
        let found: Vec<(&str, Option<&str>)> =
            found.iter().map(|(name, sql)| (name.as_str(), sql.as_deref())).collect();
        let ours = TABLES.map(|(name, sql)| (name, Some(sql)));
        match (application, version) == (APPLICATION, VERSION) && found == ours {
            true => Ok(false),
            false => Err(OpenError::NotAVault),
        }
    }

    /// Makes the tables of an empty vault, whose names are made by a key that is drawn now.
    pub async fn begin_vault(&mut self, key: &SealingKey) -> Result<(), OpenError> {
        let failed = opening("it cannot be made");
        let names = NameKey::draw().ok_or(OpenError::NoRandomness)?;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        for (_, sql) in TABLES {
            sqlx::query(sql).execute(&mut *transaction).await.map_err(&failed)?;
        }
        // Statements of this kind take no parameters.
        for sql in [NAME_IT, NUMBER_IT] {
            sqlx::query(sql).execute(&mut *transaction).await.map_err(&failed)?;
        }
        write_head(&mut transaction, key, &names, &State::new()).await.map_err(|error| match error {
            VaultError::Store { what, source } => OpenError::Store { what, source },
            _ => OpenError::NoRandomness,
        })?;
        transaction.commit().await.map_err(&failed)
    }

    /// The key of names, and what has been taken away. Each of `keys` is compared with the one of its name that the vault
    /// knows; one that it does not know is noted.
    pub async fn read_state(&mut self, keys: &[SealingKey]) -> Result<(NameKey, State), OpenError> {
        let read = opening("it cannot be read");
        let known: Vec<(String, Vec<u8>)> = sqlx::query_as("SELECT id, substr(checked, 1, 64) FROM keys")
            .fetch_all(&mut self.connection)
            .await
            .map_err(&read)?;
        for key in keys {
            match known.iter().find(|(id, _)| id == key.id().as_str()) {
                Some((_, checked)) if checked != key.check() => {
                    return Err(OpenError::WrongKey(key.id().clone()));
                }
                Some(_) => {}
                None => self.note_key(key).await.map_err(opening("it cannot be written"))?,
            }
        }
        let used: Vec<(String,)> = sqlx::query_as(
            "SELECT key_id FROM head UNION SELECT key_id FROM records UNION SELECT key_id FROM revocations",
        )
        .fetch_all(&mut self.connection)
        .await
        .map_err(&read)?;
        let has = |id: &str| keys.iter().any(|key| key.id().as_str() == id);
        // A name that no key ever had is damage, and is found where it is.
        if let Some((id,)) = used.iter().find(|(id,)| !has(id) && known.iter().any(|(known, _)| known == id))
        {
            return Err(OpenError::KeyMissing(KeyId::new(id.as_str())));
        }
        let (names, sum, count) = self.read_head(keys).await?;
        let state = self.read_revocations(keys, &names).await?;
        match (state.sum(), state.count()) == (&sum, count) {
            true => Ok((names, state)),
            false => Err(OpenError::Changed("the list of what has been revoked")),
        }
    }

    async fn note_key(&mut self, key: &SealingKey) -> Result<(), sqlx::Error> {
        sqlx::query("INSERT INTO keys (id, checked) VALUES (?, ?)")
            .bind(key.id().as_str())
            .bind(key.check().as_slice())
            .execute(&mut self.connection)
            .await
            .map(drop)
    }

    async fn read_head(&mut self, keys: &[SealingKey]) -> Result<(NameKey, [u8; 32], u64), OpenError> {
        let head: Option<(String, Vec<u8>)> =
            sqlx::query_as("SELECT key_id, substr(sealed, 1, 256) FROM head")
                .fetch_optional(&mut self.connection)
                .await
                .map_err(opening("it cannot be read"))?;
        let opened = head.and_then(|(id, sealed)| {
            let plain = find(keys, &id)?.open(&Place::new("head/1"), &sealed)?;
            let (secret, rest) = plain.split_first_chunk::<KEY_BYTES>()?;
            let (sum, count) = rest.split_first_chunk::<32>()?;
            Some((NameKey::of(Zeroizing::new(*secret)), *sum, u64::from_be_bytes(count.try_into().ok()?)))
        });
        opened.ok_or(OpenError::Changed("its head"))
    }

    async fn read_revocations(&mut self, keys: &[SealingKey], names: &NameKey) -> Result<State, OpenError> {
        let mut state = State::new();
        let mut after: Vec<u8> = Vec::new();
        loop {
            let rows: Vec<(Vec<u8>, String, Vec<u8>)> = sqlx::query_as(
                "SELECT substr(name, 1, 64), key_id, substr(sealed, 1, 64) FROM revocations WHERE name > ? ORDER BY name LIMIT 1024",
            )
            .bind(after)
            .fetch_all(&mut self.connection)
            .await
            .map_err(opening("it cannot be read"))?;
            let Some((last, ..)) = rows.last() else { return Ok(state) };
            after = last.clone();
            for (name, id, sealed) in &rows {
                let opened = name.as_slice().try_into().ok().and_then(|name: Name| {
                    let plain = find(keys, id)?.open(&revocation_place(&name), sealed)?;
                    Some((name, u64::from_be_bytes(plain.as_slice().try_into().ok()?)))
                });
                let (name, generation) =
                    opened.ok_or(OpenError::Changed("the list of what has been revoked"))?;
                state.set(name, generation, names);
            }
        }
    }

    /// How many records there are.
    pub async fn count(&mut self) -> Result<i64, sqlx::Error> {
        let (count,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM records").fetch_one(&mut self.connection).await?;
        Ok(count)
    }

    /// The row of this name.
    pub async fn row(&mut self, name: &Name) -> Result<Option<Row>, VaultError> {
        let row: Option<RawRow> = sqlx::query_as(rows!("WHERE name = ?"))
            .bind(bound(OWNER_BYTES_MAX))
            .bind(bound(RECORD_BYTES_MAX))
            .bind(name.as_slice())
            .fetch_optional(&mut self.connection)
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
            .fetch_all(&mut self.connection)
            .await
            .map_err(using("a person's records cannot be read"))?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// Some rows after the one of this name; none: there are no more.
    pub async fn page(&mut self, after: Option<&Vec<u8>>) -> Result<Vec<Row>, VaultError> {
        page(&mut self.connection, after).await
    }

    /// Writes a row. When this returns, the disk has it. Returns whether there was none of its name.
    pub async fn put(&mut self, row: &Row) -> Result<bool, VaultError> {
        let failed = using("a record cannot be written");
        let (before,): (i64,) = sqlx::query_as("SELECT count(*) FROM records WHERE name = ?")
            .bind(&row.written_name)
            .fetch_one(&mut self.connection)
            .await
            .map_err(&failed)?;
        let written = write_row(&mut self.connection, row).await;
        self.is_in_doubt |= written.is_err();
        written.map(|()| before == 0).map_err(failed)
    }

    /// Removes the rows of these names, of which the next generations begin. Returns how many there were.
    pub async fn remove(
        &mut self,
        key: &SealingKey,
        names: &NameKey,
        state: &State,
        revoked: &[(Name, u64)],
    ) -> Result<u64, VaultError> {
        let removed = self.try_remove(key, names, state, revoked).await;
        self.is_in_doubt |= removed.is_err();
        removed
    }

    async fn try_remove(
        &mut self,
        key: &SealingKey,
        names: &NameKey,
        state: &State,
        revoked: &[(Name, u64)],
    ) -> Result<u64, VaultError> {
        let failed = using("a record cannot be removed");
        let mut removed = 0;
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        for (name, generation) in revoked {
            let deleted = sqlx::query("DELETE FROM records WHERE name = ?")
                .bind(name.as_slice())
                .execute(&mut *transaction)
                .await
                .map_err(&failed)?;
            removed += deleted.rows_affected();
            write_revocation(&mut transaction, key, name, *generation).await?;
        }
        write_head(&mut transaction, key, names, state).await?;
        transaction.commit().await.map_err(&failed)?;
        Ok(removed)
    }

    /// Seals everything with the first of `keys`. `reseal` seals a row; `None`: it cannot be opened, and is dropped.
    pub async fn rotate(
        &mut self,
        keys: &[SealingKey],
        names: &NameKey,
        state: &State,
        reseal: impl Fn(&Row) -> Option<Result<Row, VaultError>>,
    ) -> Result<Rotated, VaultError> {
        let failed = using("the vault cannot be sealed anew");
        let mut rotated = Rotated::default();
        let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await.map_err(&failed)?;
        let mut after = None;
        loop {
            let rows = page(&mut transaction, after.as_ref()).await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.written_name.clone());
            for row in &rows {
                match reseal(row) {
                    Some(sealed) => {
                        write_row(&mut transaction, &sealed?).await.map_err(&failed)?;
                        rotated.resealed += 1;
                    }
                    None => {
                        sqlx::query("DELETE FROM records WHERE name = ?")
                            .bind(&row.written_name)
                            .execute(&mut *transaction)
                            .await
                            .map_err(&failed)?;
                        rotated.dropped += 1;
                    }
                }
            }
        }
        for (name, generation) in state.iter() {
            write_revocation(&mut transaction, &keys[0], name, generation).await?;
        }
        write_head(&mut transaction, &keys[0], names, state).await?;
        sqlx::query("DELETE FROM keys WHERE id <> ?")
            .bind(keys[0].id().as_str())
            .execute(&mut *transaction)
            .await
            .map_err(&failed)?;
        transaction.commit().await.map_err(&failed)?;
        Ok(rotated)
    }

    /// Has every write fail, or no more.
    #[cfg(all(test, feature = "demo"))]
    pub async fn fail_writes(&mut self, fail: bool) {
        let sql = if fail { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" };
        sqlx::query(sql).execute(&mut self.connection).await.expect("a pragma");
    }

    /// Lets the file have no more than this many pages, as a full disk would.
    #[cfg(test)]
    pub async fn fill_up(&mut self) {
        sqlx::query("PRAGMA max_page_count = 1").execute(&mut self.connection).await.expect("a pragma");
    }

    /// Takes that back.
    #[cfg(test)]
    pub async fn make_room(&mut self) {
        sqlx::query("PRAGMA max_page_count = 1000000").execute(&mut self.connection).await.expect("a pragma");
    }
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

async fn page(connection: &mut SqliteConnection, after: Option<&Vec<u8>>) -> Result<Vec<Row>, VaultError> {
    let rows: Vec<RawRow> = sqlx::query_as(rows!("WHERE name > ? ORDER BY name LIMIT ?"))
        .bind(bound(OWNER_BYTES_MAX))
        .bind(bound(RECORD_BYTES_MAX))
        .bind(after.map(Vec::as_slice).unwrap_or_default())
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
        .bind(&row.written_name)
        .bind(&row.person)
        .bind(row.generation.cast_signed())
        .bind(row.key.as_str())
        .bind(&row.owner)
        .bind(&row.record)
        .execute(connection)
        .await
        .map(drop)
}

async fn write_head(
    transaction: &mut Transaction<'_, sqlx::Sqlite>,
    key: &SealingKey,
    names: &NameKey,
    state: &State,
) -> Result<(), VaultError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(HEAD_BYTES));
    plain.extend_from_slice(names.secret());
    plain.extend_from_slice(state.sum());
    plain.extend_from_slice(&state.count().to_be_bytes());
    let sealed = key.seal(&Place::new("head/1"), &plain).ok_or(VaultError::NoRandomness)?;
    sqlx::query("INSERT OR REPLACE INTO head (one, key_id, sealed) VALUES (1, ?, ?)")
        .bind(key.id().as_str())
        .bind(sealed)
        .execute(&mut **transaction)
        .await
        .map(drop)
        .map_err(using("its head cannot be written"))
}

async fn write_revocation(
    transaction: &mut Transaction<'_, sqlx::Sqlite>,
    key: &SealingKey,
    name: &Name,
    generation: u64,
) -> Result<(), VaultError> {
    let sealed =
        key.seal(&revocation_place(name), &generation.to_be_bytes()).ok_or(VaultError::NoRandomness)?;
    sqlx::query("INSERT OR REPLACE INTO revocations (name, key_id, sealed) VALUES (?, ?, ?)")
        .bind(name.as_slice())
        .bind(key.id().as_str())
        .bind(sealed)
        .execute(&mut **transaction)
        .await
        .map(drop)
        .map_err(using("a revocation cannot be written"))
}

fn revocation_place(name: &Name) -> Place {
    Place::new("revocation/1").at(name)
}

fn find<'a>(keys: &'a [SealingKey], id: &str) -> Option<&'a SealingKey> {
    keys.iter().find(|key| key.id().as_str() == id)
}

/// How many bytes of a column are read: one more than there can be.
fn bound(bytes_max: usize) -> i64 {
    i64::try_from(bytes_max + SEALED_BYTES_MORE + 1).unwrap_or(i64::MAX)
}

fn opening(what: &'static str) -> impl Fn(sqlx::Error) -> OpenError {
    move |source| OpenError::Store { what, source: Arc::new(source) }
}

fn using(what: &'static str) -> impl Fn(sqlx::Error) -> VaultError {
    move |source| VaultError::Store { what, source: Arc::new(source) }
}
