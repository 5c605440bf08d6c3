//! What seals rows, and opens them again: the keys, and the names that say nothing.

use super::key::{KeyId, Name, NameKey, Place, SealingKey};
use super::owner::{self, Owner};
use super::state::State;
use super::store::Row;
use super::{Forgettings, Generation, Record, RecordFault, VaultError};
use crate::identity::PersonId;

/// The keys of a vault, and the names within it.
pub struct Sealer {
    /// The first seals, all of them open.
    pub keys: Vec<SealingKey>,
    /// What makes the names. It is this vault's alone.
    pub names: NameKey,
}

impl Sealer {
    /// The name of what `owner` has.
    pub fn name(&self, owner: &Owner) -> Name {
        owner.name(&self.names)
    }

    /// The generation of what `owner` has, or would have.
    pub fn generation(&self, owner: &Owner, state: &State) -> Generation {
        Generation(sum(&owner.revocable(&self.names), state))
    }

    /// How often the person of `owner` has been forgotten.
    pub fn forgettings(&self, person: &PersonId, state: &State) -> Forgettings {
        Forgettings(sum(&owner::forgettable(person, &self.names), state))
    }

    /// Whose a row is, where that can be told.
    pub fn open_owner(&self, row: &Row) -> Option<Owner> {
        let name = row.name?;
        let owner = owner::read(&self.key(&row.key)?.open(&Place::new("owner/1").at(&name), &row.owner)?)?;
        (self.name(&owner) == name && row.person == owner::person_name(&owner.person, &self.names))
            .then_some(owner)
    }

    /// What a row says, when all of it is as it was written for `owner`, and nothing has been taken away since.
    pub fn open_record(&self, row: &Row, owner: &Owner, state: &State) -> Result<Record, RecordFault> {
        let key = self.key(&row.key).ok_or(RecordFault::OtherKey)?;
        // Also what says whose it is: a row that is not found when a person is forgotten must not be found by a call either.
        if self.open_owner(row).as_ref() != Some(owner) {
            return Err(RecordFault::Damaged);
        }
        let place = self.record_place(owner, Generation(row.generation));
        let bytes = key.open(&place, &row.record).ok_or(RecordFault::Damaged)?;
        // Whoever changed the number beside the record has not opened it above.
        match self.generation(owner, state) {
            generation if generation.0 == row.generation => Ok(Record { generation, bytes }),
            _ => Err(RecordFault::PutBack),
        }
    }

    /// What is wrong with a row that does not say whose it is.
    pub fn fault_of(&self, row: &Row) -> RecordFault {
        if self.key(&row.key).is_none() { RecordFault::OtherKey } else { RecordFault::Damaged }
    }

    /// A row, to be written.
    pub fn seal(&self, owner: &Owner, generation: Generation, bytes: &[u8]) -> Result<Row, VaultError> {
        let (key, name) = (&self.keys[0], self.name(owner));
        let written = owner::write(owner)?;
        let sealed_owner = key.seal(&Place::new("owner/1").at(&name), &written);
        let record = key.seal(&self.record_place(owner, generation), bytes);
        Ok(Row {
            at: 0,
            name: Some(name),
            person: owner::person_name(&owner.person, &self.names).to_vec(),
            generation: generation.0,
            key: key.id().clone(),
            owner: sealed_owner.ok_or(VaultError::NoRandomness)?,
            record: record.ok_or(VaultError::NoRandomness)?,
        })
    }

    fn key(&self, id: &KeyId) -> Option<&SealingKey> {
        self.keys.iter().find(|key| key.id() == id)
    }

    /// The name is in it as well, and with it this vault: a record out of another one, sealed with the same key, is no record.
    fn record_place(&self, owner: &Owner, generation: Generation) -> Place {
        owner.place("record/1").at(&generation.0.to_be_bytes()).at(&self.name(owner))
    }
}

/// The generations of all these names together. Each only grows, so nothing can be taken away without another sum.
fn sum(names: &[Name], state: &State) -> u64 {
    names.iter().fold(0, |sum: u64, name| sum.saturating_add(state.generation(name)))
}
