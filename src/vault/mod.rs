//! The vault: what people have granted at services of their own, sealed, in one file of one process.
//!
//! A record belongs to a person and a connector, and to a generation of the two: what is removed takes its generation along,
//! so that a record that somebody puts back into the file is refused. What a record says is the business of whoever puts it
//! there. The store stands behind this one type.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use serde::{Deserialize, Serialize};
use tokio::sync::{MappedMutexGuard, MutexGuard};
use zeroize::Zeroizing;

use crate::identity::{Issuer, Person, Subject, Tenant};
use crate::metrics::{Metrics, VaultFault};
use crate::tool::ConnectorName;

mod file;
mod key;
mod state;
mod store;

#[cfg(test)]
mod tests;

pub use key::{KEY_BYTES, KeyId, VaultKey, VaultKeyError};

use key::{Name, NameKey, Place, SealingKey};
use state::State;
use store::{Row, Store};

/// Largest record that is kept. A grant holds two tokens and a list of agents; tokens of more than 16 KiB fit in no header.
pub const RECORD_BYTES_MAX: usize = 131_072;
/// Longest description of an owner that is kept: four identifiers, each of which has a bound of its own where it comes from.
const OWNER_BYTES_MAX: usize = 16_384;

/// What the configuration says about the vault, checked.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// Its file.
    pub file: Arc<Path>,
    /// Its keys, never none: the first seals, all of them open.
    pub keys: Vec<VaultKey>,
}

impl VaultSettings {
    /// Whether both are the same file with the same keys.
    pub fn is(&self, other: &Self) -> bool {
        let same_keys = self.keys.iter().zip(&other.keys).all(|(key, other)| key.is(other));
        self.file == other.file && self.keys.len() == other.keys.len() && same_keys
    }
}

/// Whose a record is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owner {
    /// Who vouches for the person.
    pub issuer: Issuer,
    /// The person's tenant there.
    pub tenant: Tenant,
    /// The person.
    pub subject: Subject,
    /// What it is for.
    pub connector: ConnectorName,
}

/// How often what a person had for a connector has been taken away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Generation(u64);

/// A record, opened.
pub struct Record {
    /// The generation that it is of, by which it can be replaced.
    pub generation: Generation,
    /// What it says.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// One record, as it is listed.
pub struct Listed {
    /// Whose it is, where that can be told.
    pub owner: Option<Owner>,
    /// The key that it is sealed with.
    pub key: KeyId,
    /// The record.
    pub record: Result<Record, RecordFault>,
}

/// What came of sealing everything anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rotated {
    /// Records that the first key seals now.
    pub resealed: usize,
    /// Records that could not be opened and were dropped.
    pub dropped: usize,
}

/// Why a vault cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system says no.
    #[error("{what}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
    /// The engine says no.
    #[error("{what}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// What the engine says.
        source: Arc<sqlx::Error>,
    },
    /// Another process has it.
    #[error(
        "another process has it open: a vault is for one gateway at a time, so stop that one, or give each its own file"
    )]
    Locked,
    /// It is a link, a pipe, a device, or a folder, or has a second name.
    #[error("it is no regular file of its own: name one, and not a link to it")]
    NotRegular,
    /// Others may read or write it.
    #[error("other users of this machine may read or write it: `chmod 600` it")]
    Exposed,
    /// Something else is in the file.
    #[error("it is no vault, or one of another version: move the file away, or name another")]
    NotAVault,
    /// A key is another one than the vault was sealed with.
    #[error(
        "the key {0:?} is another one than the vault was sealed with: give the file of the key that has this id"
    )]
    WrongKey(KeyId),
    /// A key is not there.
    #[error(
        "records are sealed with the key {0:?}, which the configuration does not have: add it to `vault.keys`, below the first, until `obo-gateway vault rotate` has been run"
    )]
    KeyMissing(KeyId),
    /// Something else than the gateway has changed it.
    #[error(
        "{0} was changed by something else than the gateway: put the whole file back from where it is good, or move it away, so that people connect anew"
    )]
    Changed(&'static str),
    /// The system has no randomness.
    #[error("the system's random source does not work")]
    NoRandomness,
}

/// What is wrong with a record. It is never used then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFault {
    /// It was changed, cut, or belongs elsewhere.
    #[error("it is damaged, or is another's")]
    Damaged,
    /// It is sealed with a key that the vault does not have.
    #[error("it is sealed with another key")]
    OtherKey,
    /// It was taken away before, and somebody put it back.
    #[error("it was revoked, and has been put back")]
    PutBack,
}

impl RecordFault {
    fn counted(self) -> VaultFault {
        match self {
            Self::Damaged => VaultFault::Damaged,
            Self::OtherKey => VaultFault::OtherKey,
            Self::PutBack => VaultFault::PutBack,
        }
    }
}

/// Why something was not done.
#[derive(Clone, Debug, thiserror::Error)]
pub enum VaultError {
    /// The record cannot be used.
    #[error("the record cannot be used: {0}")]
    Record(#[from] RecordFault),
    /// What it was to replace has been taken away meanwhile.
    #[error("what was to be replaced has been taken away meanwhile")]
    Superseded,
    /// It is larger than any honest one.
    #[error("the record is too large")]
    TooLarge,
    /// The engine says no: the disk is full, or fails.
    #[error("{what}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// What the engine says.
        #[source]
        source: Arc<sqlx::Error>,
    },
    /// What is in the file is not what the gateway has written.
    #[error("{0} was changed by something else than the gateway")]
    Changed(&'static str),
    /// The system has no randomness.
    #[error("the system's random source does not work")]
    NoRandomness,
    /// It could not be written for a while, and takes no more.
    #[error("too many records wait to be written to the vault")]
    Waiting,
    /// The gateway is stopping.
    #[error("the vault is closed")]
    Closed,
    /// The task that was to do it ended without a result.
    #[error("the work on the vault broke off")]
    BrokeOff,
}

/// The records of people, within one file.
pub struct Vault {
    shared: Arc<Shared>,
    settings: VaultSettings,
}

/// What work on the vault needs. It is done in tasks of their own, which come to their end whoever waits for them.
struct Shared {
    /// The first seals.
    keys: Vec<SealingKey>,
    names: NameKey,
    state: RwLock<State>,
    /// `None`: it is closed.
    store: tokio::sync::Mutex<Option<Store>>,
    metrics: Arc<Metrics>,
}

impl Owner {
    fn person_place(&self, label: &str) -> Place {
        let Self { issuer, tenant, subject, connector: _ } = self;
        Place::new(label)
            .at(issuer.as_str().as_bytes())
            .at_optional(tenant.id())
            .at(subject.as_str().as_bytes())
    }

    fn place(&self, label: &str) -> Place {
        self.person_place(label).at(self.connector.as_str().as_bytes())
    }

    /// Whether both are of the same person.
    pub fn is_of_the_person_of(&self, other: &Self) -> bool {
        (&self.issuer, &self.tenant, &self.subject) == (&other.issuer, &other.tenant, &other.subject)
    }

    /// Whether it is `person`.
    pub fn is(&self, person: &Person) -> bool {
        person.is(&self.issuer, &self.tenant, &self.subject)
    }
}

/// An owner, as it is written within what is sealed.
#[derive(Serialize, Deserialize)]
struct WrittenOwner<'a> {
    issuer: std::borrow::Cow<'a, str>,
    tenant: Option<std::borrow::Cow<'a, str>>,
    subject: std::borrow::Cow<'a, str>,
    connector: std::borrow::Cow<'a, str>,
}

fn write_owner(owner: &Owner) -> Result<Vec<u8>, VaultError> {
    let Owner { issuer, tenant, subject, connector } = owner;
    let written = WrittenOwner {
        issuer: issuer.as_str().into(),
        tenant: tenant.id().map(Into::into),
        subject: subject.as_str().into(),
        connector: connector.as_str().into(),
    };
    let written = serde_json::to_vec(&written).map_err(|_| VaultError::TooLarge)?;
    if written.len() > OWNER_BYTES_MAX { Err(VaultError::TooLarge) } else { Ok(written) }
}

fn read_owner(bytes: &[u8]) -> Option<Owner> {
    let WrittenOwner { issuer, tenant, subject, connector } = serde_json::from_slice(bytes).ok()?;
    Some(Owner {
        issuer: Issuer::new(&*issuer),
        tenant: tenant.map_or(Tenant::Sole, |id| Tenant::Named((&*id).into())),
        subject: Subject::new(&*subject),
        connector: ConnectorName::new(&*connector),
    })
}

impl Vault {
    /// Opens the vault, or makes an empty one where there is no file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when there is one that cannot be used as it should.
    pub async fn open(settings: VaultSettings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let keys: Vec<SealingKey> = settings.keys.iter().map(SealingKey::of).collect();
        let lock = file::claim(&settings.file)?;
        let mut store = Store::open(&settings.file, lock).await?;
        if store.is_new() {
            store.begin_vault(&keys[0]).await?;
            tracing::info!(file = %settings.file.display(), "Vault made");
        }
        let (names, state) = store.read_state(&keys).await?;
        metrics.set_vault_records(store.count().await?);
        let shared = Shared {
            keys,
            names,
            state: RwLock::new(state),
            store: tokio::sync::Mutex::new(Some(store)),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared), settings })
    }

    /// What it was opened with.
    pub fn settings(&self) -> &VaultSettings {
        &self.settings
    }

    /// The generation of what `owner` has, or would have.
    pub fn generation(&self, owner: &Owner) -> Generation {
        self.shared.generation(&self.shared.name(owner))
    }

    /// The record of `owner`, where there is one.
    ///
    /// # Errors
    ///
    /// [`VaultError::Record`] when there is one that cannot be used; it is counted, and is logged.
    pub async fn get(&self, owner: &Owner) -> Result<Option<Record>, VaultError> {
        let name = self.shared.name(owner);
        let row = self.shared.store().await?.row(&name).await?;
        let Some(row) = row else { return Ok(None) };
        let opened = self.shared.open_record(&row, owner);
        Ok(Some(opened.inspect_err(|fault| self.shared.note(*fault, &owner.connector))?))
    }

    /// The records of the person of `owner`, whatever they are for. Those that cannot be used are counted and left out.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn of_the_person_of(&self, owner: &Owner) -> Result<Vec<(Owner, Record)>, VaultError> {
        let person = self.shared.names.name(&owner.person_place("person"));
        let rows = self.shared.store().await?.rows_of(&person).await?;
        let opened = rows.iter().filter_map(|row| {
            let found = self.shared.open_owner(row).filter(|found| found.is_of_the_person_of(owner))?;
            let record = self.shared.open_record(row, &found);
            let record = record.inspect_err(|fault| self.shared.note(*fault, &found.connector)).ok()?;
            Some((found, record))
        });
        Ok(opened.collect())
    }

    /// Keeps `bytes` for `owner`, in place of what is there. When this returns, the disk has it.
    ///
    /// # Errors
    ///
    /// [`VaultError::Superseded`] when what `owner` had has been taken away since `generation`; what the engine says.
    pub async fn put(&self, owner: &Owner, generation: Generation, bytes: &[u8]) -> Result<(), VaultError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(VaultError::TooLarge);
        }
        let (name, row) = (self.shared.name(owner), self.shared.seal_row(owner, generation, bytes)?);
        self.in_a_task(move |shared| async move {
            let mut store = shared.store().await?;
            // Nobody takes anything away while the store is held.
            if shared.generation(&name) != generation {
                return Err(VaultError::Superseded);
            }
            if store.put(&row).await? {
                shared.metrics.add_vault_record();
            }
            Ok(())
        })
        .await
    }

    /// Takes away what `owner` has. Nothing of it is ever used again, even when somebody puts it back into the file.
    /// Returns whether there was anything.
    ///
    /// # Errors
    ///
    /// What the engine says; then all is as it was.
    pub async fn remove(&self, owner: &Owner) -> Result<bool, VaultError> {
        let name = self.shared.name(owner);
        Ok(self.in_a_task(move |shared| async move { shared.remove(vec![name]).await }).await? > 0)
    }

    /// Takes away all that `person` has. Returns whose records those were.
    ///
    /// # Errors
    ///
    /// What the engine says; then all is as it was.
    pub async fn forget(&self, person: &Person) -> Result<Vec<Owner>, VaultError> {
        let mut owners = Vec::new();
        self.each_row(|row| owners.extend(self.shared.open_owner(row).filter(|owner| owner.is(person))))
            .await?;
        let names: Vec<Name> = owners.iter().map(|owner| self.shared.name(owner)).collect();
        self.in_a_task(move |shared| async move { shared.remove(names).await }).await?;
        Ok(owners)
    }

    /// Shows each record, in no order that says anything.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn list(&self, mut each: impl FnMut(Listed)) -> Result<(), VaultError> {
        self.each_row(|row| {
            let owner = self.shared.open_owner(row);
            let record = match &owner {
                Some(owner) => self.shared.open_record(row, owner),
                None => Err(self.shared.fault_of(row)),
            };
            each(Listed { owner, key: row.key.clone(), record });
        })
        .await
    }

    /// Seals everything anew with the first key, so that the others are not needed any more. What cannot be opened is
    /// dropped: nobody could ever use it.
    ///
    /// # Errors
    ///
    /// What the engine says; then all is as it was.
    pub async fn rotate(&self) -> Result<Rotated, VaultError> {
        self.in_a_task(|shared| async move { shared.rotate().await }).await
    }

    /// Waits for what is being done, and closes the file. Nothing can be done with it then.
    pub async fn close(&self) {
        if let Some(store) = self.shared.store.lock().await.take() {
            store.close().await;
        }
    }

    /// Has every write fail, or no more.
    #[cfg(all(test, feature = "demo"))]
    pub(crate) async fn fail_writes(&self, fail: bool) {
        self.shared.store().await.expect("open").fail_writes(fail).await;
    }

    async fn each_row(&self, mut each: impl FnMut(&Row)) -> Result<(), VaultError> {
        let mut after = None;
        loop {
            let rows = self.shared.store().await?.page(after.as_ref()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.written_name.clone());
            rows.iter().for_each(&mut each);
        }
    }

    /// Does work that, once begun, comes to its end also when nobody waits for it any more.
    async fn in_a_task<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, VaultError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, VaultError>> + Send + 'static,
    {
        tokio::spawn(work(Arc::clone(&self.shared))).await.map_err(|_| VaultError::BrokeOff)?
    }
}

impl Shared {
    fn name(&self, owner: &Owner) -> Name {
        self.names.name(&owner.place("owner"))
    }

    fn generation(&self, name: &Name) -> Generation {
        // It is whole after every change.
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        Generation(state.generation(name))
    }

    /// The store, as this process knows it: when a change ended in doubt, what the file says is read first.
    async fn store(&self) -> Result<MappedMutexGuard<'_, Store>, VaultError> {
        let store = MutexGuard::try_map(self.store.lock().await, Option::as_mut);
        let mut store = store.map_err(|_| VaultError::Closed)?;
        if store.is_in_doubt() {
            let (_, state) = store.read_state(&self.keys).await.map_err(in_use)?;
            *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
            store.is_known();
        }
        Ok(store)
    }

    fn note(&self, fault: RecordFault, connector: &ConnectorName) {
        self.metrics.vault_faulted(fault.counted());
        tracing::error!(%connector, %fault, "Record of the vault not used");
    }

    fn key(&self, id: &KeyId) -> Option<&SealingKey> {
        self.keys.iter().find(|key| key.id() == id)
    }

    /// What is wrong with a row that does not say whose it is.
    fn fault_of(&self, row: &Row) -> RecordFault {
        if self.key(&row.key).is_none() { RecordFault::OtherKey } else { RecordFault::Damaged }
    }

    fn open_owner(&self, row: &Row) -> Option<Owner> {
        let name = row.name?;
        let owner = read_owner(&self.key(&row.key)?.open(&Place::new("owner/1").at(&name), &row.owner)?)?;
        (self.name(&owner) == name).then_some(owner)
    }

    fn open_record(&self, row: &Row, owner: &Owner) -> Result<Record, RecordFault> {
        let key = self.key(&row.key).ok_or(RecordFault::OtherKey)?;
        let name = self.name(owner);
        if row.name != Some(name) {
            return Err(RecordFault::Damaged);
        }
        let place = record_place(owner, Generation(row.generation));
        let bytes = key.open(&place, &row.record).ok_or(RecordFault::Damaged)?;
        // Whoever changed the number beside the record has not opened it above.
        match self.generation(&name) {
            generation if generation.0 == row.generation => Ok(Record { generation, bytes }),
            _ => Err(RecordFault::PutBack),
        }
    }

    fn seal_row(&self, owner: &Owner, generation: Generation, bytes: &[u8]) -> Result<Row, VaultError> {
        let (key, name) = (&self.keys[0], self.name(owner));
        let written = write_owner(owner)?;
        let sealed_owner = key.seal(&Place::new("owner/1").at(&name), &written);
        let record = key.seal(&record_place(owner, generation), bytes);
        Ok(Row {
            name: Some(name),
            written_name: name.to_vec(),
            person: self.names.name(&owner.person_place("person")).to_vec(),
            generation: generation.0,
            key: key.id().clone(),
            owner: sealed_owner.ok_or(VaultError::NoRandomness)?,
            record: record.ok_or(VaultError::NoRandomness)?,
        })
    }

    async fn remove(&self, names: Vec<Name>) -> Result<u64, VaultError> {
        if names.is_empty() {
            return Ok(0);
        }
        let mut store = self.store().await?;
        let mut next = self.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        let revoked: Vec<(Name, u64)> =
            names.iter().map(|name| (*name, next.revoke(name, &self.names))).collect();
        let removed = store.remove(&self.keys[0], &self.names, &next, &revoked).await?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.metrics.set_vault_records(store.count().await?);
        Ok(removed)
    }

    async fn rotate(&self) -> Result<Rotated, VaultError> {
        let mut store = self.store().await?;
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner).clone();
        let reseal = |row: &Row| {
            let owner = self.open_owner(row)?;
            let record = self.open_record(row, &owner).ok()?;
            Some(self.seal_row(&owner, record.generation, &record.bytes))
        };
        let rotated = store.rotate(&self.keys, &self.names, &state, reseal).await?;
        self.metrics.set_vault_records(store.count().await?);
        Ok(rotated)
    }
}

fn record_place(owner: &Owner, generation: Generation) -> Place {
    owner.place("record/1").at(&generation.0.to_be_bytes())
}

/// What is wrong with a vault that is open already.
fn in_use(error: OpenError) -> VaultError {
    match error {
        OpenError::Store { what, source } => VaultError::Store { what, source },
        OpenError::Changed(what) => VaultError::Changed(what),
        OpenError::NoRandomness => VaultError::NoRandomness,
        OpenError::System { .. }
        | OpenError::Locked
        | OpenError::NotRegular
        | OpenError::Exposed
        | OpenError::NotAVault
        | OpenError::WrongKey(_)
        | OpenError::KeyMissing(_) => VaultError::Changed("it"),
    }
}
