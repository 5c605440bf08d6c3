//! The vault: what people have granted at services of their own, sealed, in one file of one process.
//!
//! A record belongs to a person and a connector, and to a generation of the two: what is removed or replaced takes its
//! generation along, and so does whoever is forgotten, so that a record that somebody puts back into the file is refused. What
//! a record says is the business of whoever puts it there. The store stands behind this one type.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{MappedMutexGuard, MutexGuard};
use zeroize::Zeroizing;

use crate::identity::{Person, PersonId};
use crate::metrics::Metrics;
use crate::tool::ConnectorName;

mod decision;
mod error;
mod file;
mod key;
mod owner;
mod sealer;
mod state;
mod store;

#[cfg(test)]
mod tests;

pub use error::{OpenError, RecordFault, VaultError};
pub use key::{KEY_BYTES, KeyId, VaultKey, VaultKeyError};
pub use owner::Owner;

use decision::Decision;
use key::{Name, SealingKey};
use owner::person_name;
use sealer::Sealer;
use state::State;
use store::{Change, Row, Store};

/// Largest record that is kept. A grant holds two tokens and a list of agents; tokens of more than 16 KiB fit in no header.
pub const RECORD_BYTES_MAX: usize = 131_072;
/// Longest wait for the disk. Whoever waits has a call to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest further wait for a change that is being committed by then: what came of it is to be told and recorded as it is.
const COMMIT_PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait for whoever has the file open.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long to wait before it is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

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

/// How often what a person had for a connector has been taken away or replaced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Generation(u64);

/// How often a person has been forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forgettings(u64);

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

/// The records of people, within one file.
pub struct Vault {
    shared: Arc<Shared>,
    settings: VaultSettings,
}

/// What is taken away, and what comes in its place.
struct Taking<'a> {
    /// The names whose next generations begin.
    taken: &'a [Name],
    /// The rows that are removed.
    removed: &'a [Name],
    /// The row that is written.
    written: Option<&'a Row>,
}

/// What work on the vault needs. It is done in tasks of their own, which come to their end whoever waits for them.
struct Shared {
    sealer: Sealer,
    state: RwLock<State>,
    /// `None`: it is closed.
    store: tokio::sync::Mutex<Option<Store>>,
    metrics: Arc<Metrics>,
}

impl Vault {
    /// Opens the vault, or makes an empty one where there is no file.
    ///
    /// # Errors
    ///
    /// [`OpenError`] when there is one that cannot be used as it should.
    pub async fn open(settings: VaultSettings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        let keys: Vec<SealingKey> = settings.keys.iter().map(SealingKey::of).collect();
        let lock = claim(&settings.file).await?;
        let mut store = Store::open(&settings.file, lock, &keys[0]).await?;
        let (names, state) = store.read_state(&keys).await?;
        metrics.set_vault_records(store.count().await?);
        let shared = Shared {
            sealer: Sealer { keys, names },
            state: RwLock::new(state),
            store: tokio::sync::Mutex::new(Some(store)),
            metrics,
        };
        Ok(Self { shared: Arc::new(shared), settings })
    }

    /// Opens a vault that is there, and makes none.
    ///
    /// # Errors
    ///
    /// [`OpenError::NotThere`]; the others as with [`Vault::open`].
    pub async fn open_existing(settings: VaultSettings, metrics: Arc<Metrics>) -> Result<Self, OpenError> {
        match settings.file.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(OpenError::NotThere),
            Ok(_) | Err(_) => Self::open(settings, metrics).await,
        }
    }

    /// What it was opened with.
    pub fn settings(&self) -> &VaultSettings {
        &self.settings
    }

    /// The generation of what `owner` has, or would have.
    pub fn generation(&self, owner: &Owner) -> Generation {
        self.shared.generation(owner)
    }

    /// How often a person has been forgotten so far.
    pub fn forgettings(&self, person: &PersonId) -> Forgettings {
        self.shared.forgettings(person)
    }

    /// The record of `owner`, where there is one.
    ///
    /// # Errors
    ///
    /// [`VaultError::Record`] when there is one that cannot be used; it is counted, and is logged.
    pub async fn get(&self, owner: &Owner) -> Result<Option<Record>, VaultError> {
        let owner = owner.clone();
        self.in_time(|shared| async move {
            let row = shared.store().await?.row(&shared.sealer.name(&owner)).await?;
            let Some(row) = row else { return Ok(None) };
            let opened = shared.open_record(&row, &owner);
            Ok(Some(opened.inspect_err(|fault| shared.note(*fault, &owner.connector))?))
        })
        .await
    }

    /// The records of a person, whatever they are for. Those that cannot be used are counted and left out.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn of_person(&self, person: &PersonId) -> Result<Vec<(Owner, Record)>, VaultError> {
        let person = person.clone();
        self.in_time(|shared| async move {
            let rows = shared.store().await?.rows_of(&person_name(&person, &shared.sealer.names)).await?;
            let opened = rows.iter().filter_map(|row| {
                let found = shared.sealer.open_owner(row).filter(|found| found.person == person)?;
                let record = shared.open_record(row, &found);
                let record = record.inspect_err(|fault| shared.note(*fault, &found.connector)).ok()?;
                Some((found, record))
            });
            Ok(opened.collect())
        })
        .await
    }

    /// Keeps `bytes` for `owner`, in place of what is there and of the same generation. When this returns, the disk has it.
    ///
    /// # Errors
    ///
    /// [`VaultError::Superseded`] when what `owner` had has been taken away since `generation`; what the engine says.
    pub async fn put(&self, owner: &Owner, generation: Generation, bytes: &[u8]) -> Result<(), VaultError> {
        let row = self.shared.seal(owner, generation, bytes)?;
        let owner = owner.clone();
        self.change(move |shared, decision| async move {
            let mut store = shared.store_to_change(&decision).await?;
            // Nobody takes anything away while the store is held.
            if shared.generation(&owner) != generation {
                return Err(VaultError::Superseded);
            }
            if store.put(&row, &decision).await? {
                shared.metrics.add_vault_record();
            }
            Ok(())
        })
        .await
    }

    /// Keeps `bytes` for `owner`, in place of what is there, which is taken away. When this returns the generation that begins,
    /// the disk has it. `begun` is how often the person had been forgotten when they began what this comes of.
    ///
    /// # Errors
    ///
    /// [`VaultError::Superseded`] when the person has been forgotten since; what the engine says. All is as it was then.
    pub async fn replace(
        &self,
        owner: &Owner,
        begun: Forgettings,
        bytes: &[u8],
    ) -> Result<Generation, VaultError> {
        let (owner, bytes) = (owner.clone(), Zeroizing::new(bytes.to_vec()));
        self.change(move |shared, decision| async move {
            let mut store = shared.store_to_change(&decision).await?;
            // Nobody is forgotten while the store is held.
            if shared.forgettings(&owner.person) != begun {
                return Err(VaultError::Superseded);
            }
            let generation = Generation(shared.generation(&owner).0.saturating_add(1));
            let row = shared.seal(&owner, generation, &bytes)?;
            let name = shared.sealer.name(&owner);
            let taking = Taking { taken: &[name], removed: &[], written: Some(&row) };
            shared.take_away(&mut store, taking, &decision).await?;
            Ok(generation)
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
        let name = self.shared.sealer.name(owner);
        self.change(move |shared, decision| async move {
            let mut store = shared.store_to_change(&decision).await?;
            let taking = Taking { taken: &[name], removed: &[name], written: None };
            Ok(shared.take_away(&mut store, taking, &decision).await? > 0)
        })
        .await
    }

    /// Takes away all that `person` has, also what is damaged, or hidden at the time. Returns whose records were there.
    ///
    /// # Errors
    ///
    /// What the engine says; then all is as it was.
    pub async fn forget(&self, person: &Person) -> Result<Vec<Owner>, VaultError> {
        let forgotten = self.forget_with(person, |_, _| Some(())).await?;
        Ok(forgotten.map(|(owners, ())| owners).unwrap_or_default())
    }

    /// The same, once `prepare` has seen what is there, without those records that cannot be used, and has something ready for when
    /// they are gone. `None`: it has nothing, and nothing was taken away.
    ///
    /// # Errors
    ///
    /// What the engine says; then all is as it was.
    pub async fn forget_with<T: Send + 'static>(
        &self,
        person: &Person,
        prepare: impl FnOnce(&Person, &[(Owner, Option<Record>)]) -> Option<T> + Send + 'static,
    ) -> Result<Option<(Vec<Owner>, T)>, VaultError> {
        let person = person.clone();
        self.change(move |shared, decision| async move {
            let mut store = shared.store_to_change(&decision).await?;
            let mut found = Vec::new();
            each_row(&mut store, |row| {
                if let Some(owner) = shared.sealer.open_owner(row).filter(|owner| owner.person.is(&person)) {
                    let record = shared.open_record(row, &owner).ok();
                    found.push((owner, record));
                }
            })
            .await?;
            let Some(prepared) = prepare(&person, &found) else { return Ok(None) };
            let owners: Vec<Owner> = found.into_iter().map(|(owner, _)| owner).collect();
            let rows: Vec<Name> = owners.iter().map(|owner| shared.sealer.name(owner)).collect();
            let taken = owner::names_of_person(&person, &shared.sealer.names);
            let taking = Taking { taken: &taken, removed: &rows, written: None };
            shared.take_away(&mut store, taking, &decision).await?;
            Ok(Some((owners, prepared)))
        })
        .await
    }

    /// Shows each record, in no order that says anything. It takes as long as it takes, and nothing else is done meanwhile.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn list(&self, mut each: impl FnMut(Listed)) -> Result<(), VaultError> {
        let shared = &self.shared;
        let mut store = shared.store().await?;
        each_row(&mut store, |row| {
            let owner = shared.sealer.open_owner(row);
            let record = match &owner {
                Some(owner) => shared.open_record(row, owner),
                None => Err(shared.sealer.fault_of(row)),
            };
            each(Listed { owner, key: row.key.clone(), record });
        })
        .await
    }

    /// How many records there are for each connector, without those that do not say whose they are.
    ///
    /// # Errors
    ///
    /// What the engine says.
    pub async fn count_by_connector(&self) -> Result<BTreeMap<ConnectorName, usize>, VaultError> {
        self.in_time(|shared| async move {
            let mut counted = BTreeMap::new();
            each_row(&mut *shared.store().await?, |row| {
                if let Some(owner) = shared.sealer.open_owner(row) {
                    *counted.entry(owner.connector).or_default() += 1;
                }
            })
            .await?;
            Ok(counted)
        })
        .await
    }

    /// Seals everything anew with the first key, so that the others are not needed any more. What cannot be opened is
    /// dropped: nobody could ever use it. It takes as long as it takes.
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
        let pragma = if fail { "PRAGMA query_only = ON" } else { "PRAGMA query_only = OFF" };
        self.shared.store().await.expect("open").begin_with(pragma).await;
    }

    /// Keeps everybody from the disk until what comes back is dropped.
    #[cfg(all(test, feature = "demo"))]
    pub(crate) async fn hold_disk(&self) -> impl Drop {
        self.shared.store.lock().await
    }

    /// Makes a change in a task, and says what came of it. One that takes longer than anybody waits who has a call to answer is
    /// not made at all, unless it is being committed by then: that is waited for, so that nobody is told of it otherwise than it is.
    async fn change<T, F>(&self, work: impl FnOnce(Arc<Shared>, Arc<Decision>) -> F) -> Result<T, VaultError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, VaultError>> + Send + 'static,
    {
        let decision = Arc::<Decision>::default();
        let mut change = tokio::spawn(work(Arc::clone(&self.shared), Arc::clone(&decision)));
        let done = match tokio::time::timeout(PATIENCE, &mut change).await {
            Ok(done) => done,
            Err(_) if decision.give_up() => return Err(VaultError::TimedOut(PATIENCE)),
            Err(_) => match tokio::time::timeout(COMMIT_PATIENCE, change).await {
                Ok(done) => done,
                Err(_) => return Err(VaultError::InDoubt(PATIENCE + COMMIT_PATIENCE)),
            },
        };
        done.map_err(|_| VaultError::BrokeOff)?
    }

    /// Reads something in a task, and waits for it, but not longer than anybody who has a call to answer can.
    async fn in_time<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T, VaultError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, VaultError>> + Send + 'static,
    {
        let done = tokio::time::timeout(PATIENCE, self.in_a_task(work)).await;
        done.unwrap_or(Err(VaultError::TimedOut(PATIENCE)))
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

/// Locks the file. Whoever has it may be about to end: a command, a gateway that is restarted, or a process that is only just
/// beginning and does not know yet that it has a copy of the lock.
async fn claim(path: &Path) -> Result<std::fs::File, OpenError> {
    let begun = Instant::now();
    loop {
        match file::claim(path) {
            Err(OpenError::Locked) if begun.elapsed() < LOCK_PATIENCE => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            claimed => return claimed,
        }
    }
}

async fn each_row(store: &mut Store, mut each: impl FnMut(&Row)) -> Result<(), VaultError> {
    let mut after = None;
    loop {
        let rows = store.page(after).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.at);
        rows.iter().for_each(&mut each);
    }
}

impl Shared {
    fn generation(&self, owner: &Owner) -> Generation {
        self.with_state(|state| self.sealer.generation(owner, state))
    }

    fn forgettings(&self, person: &PersonId) -> Forgettings {
        self.with_state(|state| self.sealer.forgettings(person, state))
    }

    fn with_state<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        // It is whole after every change.
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change_state(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// The store, as this process knows it: when a change ended in doubt, the file is opened anew and what it says is read first.
    async fn store(&self) -> Result<MappedMutexGuard<'_, Store>, VaultError> {
        let store = MutexGuard::try_map(self.store.lock().await, Option::as_mut);
        let mut store = store.map_err(|_| VaultError::Closed)?;
        if store.is_in_doubt() {
            store.reopen().await.map_err(error::in_use)?;
            let (_, state) = store.read_state(&self.sealer.keys).await.map_err(error::in_use)?;
            self.change_state(|known| *known = state);
            store.clear_doubt();
        }
        Ok(store)
    }

    /// The store, for a change that nobody has given up yet.
    async fn store_to_change(&self, decision: &Decision) -> Result<MappedMutexGuard<'_, Store>, VaultError> {
        let store = self.store().await?;
        decision.check()?;
        Ok(store)
    }

    fn note(&self, fault: RecordFault, connector: &ConnectorName) {
        self.metrics.vault_faulted(fault.counted());
        tracing::error!(%connector, %fault, "Record of the vault not used");
    }

    fn open_record(&self, row: &Row, owner: &Owner) -> Result<Record, RecordFault> {
        self.with_state(|state| self.sealer.open_record(row, owner, state))
    }

    fn seal(&self, owner: &Owner, generation: Generation, bytes: &[u8]) -> Result<Row, VaultError> {
        if bytes.len() > RECORD_BYTES_MAX {
            return Err(VaultError::TooLarge);
        }
        self.sealer.seal(owner, generation, bytes)
    }

    /// Begins generations, and removes and writes rows. Returns how many were removed.
    async fn take_away(
        &self,
        store: &mut Store,
        Taking { taken, removed, written }: Taking<'_>,
        decision: &Decision,
    ) -> Result<u64, VaultError> {
        let Sealer { keys, names } = &self.sealer;
        let next = self.with_state(|state| state.next(taken, names));
        let changed =
            store.change(&keys[0], names, Change { next: &next, removed, written }, decision).await?;
        self.change_state(|state| state.advance(next));
        self.metrics.set_vault_records(changed.records);
        Ok(changed.removed)
    }

    async fn rotate(&self) -> Result<Rotated, VaultError> {
        let Sealer { keys, names } = &self.sealer;
        let mut store = self.store().await?;
        let state = self.with_state(State::clone);
        let reseal = |row: &Row| {
            let owner = self.sealer.open_owner(row)?;
            let record = self.sealer.open_record(row, &owner, &state).ok()?;
            Some(self.sealer.seal(&owner, record.generation, &record.bytes))
        };
        let rotated = store.rotate(keys, names, &state, reseal).await?;
        self.metrics.set_vault_records(i64::try_from(rotated.resealed).unwrap_or(i64::MAX));
        Ok(rotated)
    }
}
