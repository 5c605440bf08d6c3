//! The head of a vault, the keys that it knows, and the list of what has been taken away.

use sqlx::sqlite::SqliteConnection;
use zeroize::Zeroizing;

use super::{opening, using};
use crate::vault::key::{KEY_BYTES, KeyId, Name, NameKey, Place, SealingKey};
use crate::vault::state::{State, Total};
use crate::vault::{OpenError, VaultError};

/// How many bytes a sealed head has within: the key of names, the sum over revocations, and their number.
const HEAD_BYTES: usize = KEY_BYTES + 32 + 8;
/// Most keys that a vault knows. Each rotation leaves one.
const KEYS_MAX: usize = 64;
/// How many revocations are read at a time.
const PAGE_ROWS: i64 = 1_024;

const THE_LIST: OpenError = OpenError::Changed("the list of what has been revoked");

/// Reads all of it. Each of `keys` is compared with the one of its name that the vault knows; one that it does not know is noted.
pub async fn read(
    connection: &mut SqliteConnection,
    keys: &[SealingKey],
) -> Result<(NameKey, State), OpenError> {
    let known = known_keys(connection).await?;
    let is_known = |key: &&SealingKey| known.iter().any(|(id, _)| id == key.id());
    let unknown = keys.len() - keys.iter().filter(is_known).count();
    // With more of them it would not open again.
    if unknown > 0 && known.len() + unknown > KEYS_MAX {
        return Err(OpenError::KeysFull(known.len()));
    }
    for key in keys {
        match known.iter().find(|(id, _)| id == key.id()) {
            Some((_, checked)) if checked != key.check() => {
                return Err(OpenError::WrongKey(key.id().clone()));
            }
            Some(_) => {}
            None => note_key(connection, key).await.map_err(opening("it cannot be written"))?,
        }
    }
    // A name that no key ever had is damage, and is found where it is.
    for (id, _) in known {
        if !keys.iter().any(|key| *key.id() == id) && is_used(connection, &id).await? {
            return Err(OpenError::KeyMissing(id));
        }
    }
    let (names, total) = read_head(connection, keys).await?;
    let state = read_revocations(connection, keys, &names).await?;
    match state.total() == total {
        true => Ok((names, state)),
        false => Err(THE_LIST),
    }
}

/// A key's name, as it stands in the file.
pub fn key_id(written: &[u8]) -> KeyId {
    KeyId::new(String::from_utf8_lossy(written))
}

async fn known_keys(connection: &mut SqliteConnection) -> Result<Vec<(KeyId, Vec<u8>)>, OpenError> {
    let known: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT iif(octet_length(id) <= 256, CAST(id AS BLOB), x''), \
         iif(octet_length(checked) <= 64, CAST(checked AS BLOB), x'') FROM keys LIMIT ?",
    )
    .bind(KEYS_MAX as i64 + 1)
    .fetch_all(connection)
    .await
    .map_err(opening("it cannot be read"))?;
    match known.len() <= KEYS_MAX {
        true => Ok(known.into_iter().map(|(id, checked)| (key_id(&id), checked)).collect()),
        false => Err(OpenError::Changed("the list of its keys")),
    }
}

async fn note_key(connection: &mut SqliteConnection, key: &SealingKey) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO keys (id, checked) VALUES (?, ?)")
        .bind(key.id().as_str())
        .bind(key.check().as_slice())
        .execute(connection)
        .await
        .map(drop)
}

/// Forgets all keys but this one.
pub async fn keep_key(connection: &mut SqliteConnection, key: &SealingKey) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM keys WHERE id <> ?").bind(key.id().as_str()).execute(connection).await.map(drop)
}

async fn is_used(connection: &mut SqliteConnection, id: &KeyId) -> Result<bool, OpenError> {
    let (used,): (i64,) = sqlx::query_as(
        "SELECT EXISTS (SELECT 1 FROM head WHERE key_id = ?1) OR EXISTS (SELECT 1 FROM records WHERE key_id = ?1) \
         OR EXISTS (SELECT 1 FROM revocations WHERE key_id = ?1)",
    )
    .bind(id.as_str())
    .fetch_one(connection)
    .await
    .map_err(opening("it cannot be read"))?;
    Ok(used != 0)
}

async fn read_head(
    connection: &mut SqliteConnection,
    keys: &[SealingKey],
) -> Result<(NameKey, Total), OpenError> {
    let head: Option<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
        "SELECT iif(octet_length(key_id) <= 256, CAST(key_id AS BLOB), x''), \
         iif(octet_length(sealed) <= 256, CAST(sealed AS BLOB), x'') FROM head",
    )
    .fetch_optional(connection)
    .await
    .map_err(opening("it cannot be read"))?;
    let opened = head.and_then(|(id, sealed)| {
        let plain = find(keys, &id)?.open(&Place::new("head/1"), &sealed)?;
        let (secret, rest) = plain.split_first_chunk::<KEY_BYTES>()?;
        let (sum, count) = rest.split_first_chunk::<32>()?;
        let total = Total { sum: *sum, count: u64::from_be_bytes(count.try_into().ok()?) };
        Some((NameKey::of(Zeroizing::new(*secret)), total))
    });
    opened.ok_or(OpenError::Changed("its head"))
}

async fn read_revocations(
    connection: &mut SqliteConnection,
    keys: &[SealingKey],
    names: &NameKey,
) -> Result<State, OpenError> {
    let mut state = State::default();
    let mut after: Vec<u8> = Vec::new();
    loop {
        let rows: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT iif(octet_length(name) <= 64, CAST(name AS BLOB), x''), \
             iif(octet_length(key_id) <= 256, CAST(key_id AS BLOB), x''), \
             iif(octet_length(sealed) <= 64, CAST(sealed AS BLOB), x'') \
             FROM revocations WHERE name > ? ORDER BY name LIMIT ?",
        )
        .bind(after)
        .bind(PAGE_ROWS)
        .fetch_all(&mut *connection)
        .await
        .map_err(opening("it cannot be read"))?;
        let Some((last, ..)) = rows.last() else { return Ok(state) };
        after = last.clone();
        for (name, id, sealed) in &rows {
            let opened = name.as_slice().try_into().ok().and_then(|name: Name| {
                let plain = find(keys, id)?.open(&revocation_place(&name), sealed)?;
                Some((name, u64::from_be_bytes(plain.as_slice().try_into().ok()?)))
            });
            // One that is not as it was written ends this, so a place to go on from is a name of ours.
            let (name, generation) = opened.ok_or(THE_LIST)?;
            state.note(name, generation, names);
        }
    }
}

/// Writes the head over what is known by `total`.
pub async fn write(
    connection: &mut SqliteConnection,
    key: &SealingKey,
    names: &NameKey,
    total: &Total,
) -> Result<(), VaultError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(HEAD_BYTES));
    plain.extend_from_slice(names.secret());
    plain.extend_from_slice(&total.sum);
    plain.extend_from_slice(&total.count.to_be_bytes());
    let sealed = key.seal(&Place::new("head/1"), &plain).ok_or(VaultError::NoRandomness)?;
    sqlx::query("INSERT OR REPLACE INTO head (one, key_id, sealed) VALUES (1, ?, ?)")
        .bind(key.id().as_str())
        .bind(sealed)
        .execute(connection)
        .await
        .map(drop)
        .map_err(using("its head cannot be written"))
}

/// Writes that a generation of this name has begun.
pub async fn write_revocation(
    connection: &mut SqliteConnection,
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
        .execute(connection)
        .await
        .map(drop)
        .map_err(using("a revocation cannot be written"))
}

fn revocation_place(name: &Name) -> Place {
    Place::new("revocation/1").at(name)
}

fn find<'a>(keys: &'a [SealingKey], id: &[u8]) -> Option<&'a SealingKey> {
    keys.iter().find(|key| key.id().as_str().as_bytes() == id)
}
