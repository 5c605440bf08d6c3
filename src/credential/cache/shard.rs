//! A part of the cache: entries by their keys, within a bound in bytes.
//!
//! The tokens of entries that are in use are held ready to be sent, as many as there is room for; those of others are compact, and
//! are made ready when somebody comes for them. Whoever has to go is one that was not used while the hand went round (CLOCK).

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::compact::{BASE64_MORE, Compact};
use super::{Entry, Served};
use crate::clock::Now;
use crate::credential::SCHEME;
use crate::credential::key::{CacheKey, KeyFields};
use crate::digest::sha256;
use crate::identity::Caller;
use crate::metrics::CacheRemoval;

/// What an entry takes beside its token, as it was measured (`cargo bench --bench kept`).
const ENTRY_BYTES: usize = 320;
const _: () = assert!(size_of::<Entry>() <= 104 && size_of::<Slot>() <= 48, "there may be a million of them");
/// What being ready takes beside the token. What there is of its caller is remembered elsewhere, or is an empty shell.
const READY_BYTES: usize = 640;
/// How many entries are looked at with each that is added, and one with each that is asked for, so that none whose time is over stays for
/// long.
const LOOKED_THROUGH: usize = 4;
/// The most that is held ready, of all parts together, is this part of the bound and so many bytes.
const READY_PART: usize = 2;
const READY_BYTES_MAX: usize = 32 * 1_048_576;

#[derive(Default)]
pub struct Shard {
    places: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    /// Those that are ready, the one that has been for longest first.
    ready: VecDeque<u32>,
    bytes: usize,
    ready_bytes: usize,
    hand: usize,
    looked_through: usize,
}

struct Slot {
    /// What its key begins with. Whose it is, the entry knows.
    beginning: u64,
    entry: Arc<Entry>,
    ready: Option<Box<Ready>>,
    compact: Option<Compact>,
    /// What it takes beside its token, as it was when it was added.
    entry_bytes: u32,
    /// Again, since the hand was here last: who comes once makes nobody go who comes again and again.
    is_used: bool,
    /// Since it was looked at among those that are ready.
    is_used_ready: bool,
}

/// A token that is ready to be sent.
struct Ready {
    authorization: HeaderValue,
    /// The token's SHA-256. Of a token that is compact it would take more room than a record of it is worth.
    token: [u8; 32],
    /// Of those who were served it, the one whose subject token lives longest, for as long as that is remembered.
    newest: Weak<Caller>,
    newest_expires_at: u64,
}

/// Who was removed, and why.
pub type Removed<'a> = &'a dyn Fn(CacheRemoval);

impl Shard {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// How much room it takes.
    #[cfg(test)]
    pub fn byte_count(&self) -> usize {
        self.bytes
    }

    /// The entry of `key` for the very same `fields`, when it may still be reused, with its token.
    pub fn get(
        &mut self,
        key: &CacheKey,
        fields: &KeyFields,
        caller: &Arc<Caller>,
        now: Now,
        max: usize,
        removed: Removed<'_>,
    ) -> Option<Served> {
        self.look_through(1, now, removed);
        let place = *self.places.get(&key.beginning())? as usize;
        let slot = self.slots[place].as_mut()?;
        if !slot.entry.life.is_reusable(now) {
            self.remove(place, CacheRemoval::Expired, removed);
            return None;
        }
        // The digest has decided already. Should it ever be wrong, this keeps people apart.
        if !slot.entry.is_for(fields) {
            return None;
        }
        (slot.is_used, slot.is_used_ready) = (true, true);
        let entry = Arc::clone(&slot.entry);
        if let Some(ready) = &mut slot.ready {
            if caller.expires_at() > ready.newest_expires_at {
                ready.renew_with(caller);
            }
            return Some(Served { entry, authorization: ready.authorization.clone(), token: ready.token });
        }
        let authorization = slot.compact.as_ref()?.authorization(&entry)?;
        let token = sha256(token_of(&authorization));
        let served = Served { entry, authorization, token };
        self.make_ready(place, Ready::new(&served, caller));
        self.keep_within(max, removed);
        Some(served)
    }

    /// Whose subject token to renew the entry of `key` with, when that is for the very same `fields`.
    pub fn newest(&self, key: &CacheKey, fields: &KeyFields) -> Option<Arc<Caller>> {
        let slot = self.slots[*self.places.get(&key.beginning())? as usize].as_ref()?;
        // As when it is served: a renewal with somebody else's subject token would be served to this person.
        if !slot.entry.is_for(fields) {
            return None;
        }
        slot.ready.as_ref()?.newest.upgrade()
    }

    pub fn put(
        &mut self,
        key: CacheKey,
        served: &Served,
        caller: &Arc<Caller>,
        now: Now,
        max: usize,
        removed: Removed<'_>,
    ) {
        // Two keys that begin alike have one place, which a digest will not come by.
        if let Some(place) = self.places.get(&key.beginning()) {
            self.remove(*place as usize, CacheRemoval::Replaced, removed);
        }
        self.look_through(LOOKED_THROUGH, now, removed);
        let place = match self.free.pop() {
            Some(place) => place as usize,
            None => self.add_slot(),
        };
        let entry = Arc::clone(&served.entry);
        let entry_bytes = ENTRY_BYTES + entry.byte_count();
        let slot = Slot {
            beginning: key.beginning(),
            entry,
            ready: None,
            compact: None,
            entry_bytes: u32::try_from(entry_bytes).unwrap_or(u32::MAX),
            is_used: false,
            is_used_ready: true,
        };
        self.bytes += slot.byte_count();
        self.slots[place] = Some(slot);
        self.places.insert(key.beginning(), u32::try_from(place).expect("memory has no room for so many"));
        self.make_ready(place, Ready::new(served, caller));
        self.keep_within(max, removed);
    }

    /// Drops the entry of `key`, where it is this one.
    pub fn evict(&mut self, key: &CacheKey, entry: &Arc<Entry>, removed: Removed<'_>) {
        if let Some(place) = self.places.get(&key.beginning()).map(|place| *place as usize)
            && self.slots[place].as_ref().is_some_and(|slot| Arc::ptr_eq(&slot.entry, entry))
        {
            self.remove(place, CacheRemoval::Dropped, removed);
        }
    }

    /// Drops the entries that `is_meant`. Returns how many there were.
    pub fn forget(&mut self, is_meant: impl Fn(&Entry) -> bool, removed: Removed<'_>) -> usize {
        let meant = |slot: &Option<Slot>| slot.as_ref().is_some_and(|slot| is_meant(&slot.entry));
        let places: Vec<usize> = (0..self.slots.len()).filter(|place| meant(&self.slots[*place])).collect();
        places.iter().for_each(|place| self.remove(*place, CacheRemoval::Dropped, removed));
        places.len()
    }

    /// Drops what was not used lately, until the rest is within `max` bytes.
    pub fn keep_within(&mut self, max: usize, removed: Removed<'_>) {
        self.keep_ready_within(max);
        while self.bytes > max && !self.places.is_empty() {
            self.hand = (self.hand + 1) % self.slots.len();
            match &mut self.slots[self.hand] {
                Some(slot) if slot.is_used => slot.is_used = false,
                Some(_) => self.remove(self.hand, CacheRemoval::Full, removed),
                None => {}
            }
        }
    }

    fn make_ready(&mut self, place: usize, ready: Ready) {
        let bytes = ready.byte_count();
        if let Some(slot) = &mut self.slots[place] {
            slot.ready = Some(Box::new(ready));
            self.bytes += bytes;
            self.ready_bytes += bytes;
            self.ready.push_back(u32::try_from(place).expect("it is among them"));
        }
    }

    /// Makes those compact that have been ready for longest and were not used again, until the rest has room.
    fn keep_ready_within(&mut self, max: usize) {
        let most = (max / READY_PART).min(READY_BYTES_MAX / super::SHARDS);
        while self.ready_bytes > most
            && let Some(place) = self.ready.pop_front()
        {
            let Some(slot) = &mut self.slots[place as usize] else { continue };
            if std::mem::take(&mut slot.is_used_ready) && !self.ready.is_empty() {
                self.ready.push_back(place);
                continue;
            }
            let Some(ready) = slot.ready.take() else { continue };
            self.bytes -= ready.byte_count();
            self.ready_bytes -= ready.byte_count();
            if slot.compact.is_none() {
                let compact = Compact::of(&ready.authorization, &slot.entry);
                self.bytes += compact.byte_count();
                slot.compact = Some(compact);
            }
        }
    }

    fn add_slot(&mut self) -> usize {
        // Not twice as many each time: of a million, most of that would be for nothing.
        if self.slots.len() == self.slots.capacity() {
            self.slots.reserve_exact(self.slots.len() / 8 + 16);
        }
        self.slots.push(None);
        self.slots.len() - 1
    }

    /// Drops those whose time is over among the next so many.
    fn look_through(&mut self, count: usize, now: Now, removed: Removed<'_>) {
        for _ in 0..count.min(self.slots.len()) {
            self.looked_through = (self.looked_through + 1) % self.slots.len();
            let slot = self.slots[self.looked_through].as_ref();
            if slot.is_some_and(|slot| !slot.entry.life.is_reusable(now)) {
                self.remove(self.looked_through, CacheRemoval::Expired, removed);
            }
        }
    }

    fn remove(&mut self, place: usize, why: CacheRemoval, removed: Removed<'_>) {
        let Some(slot) = self.slots[place].take() else { return };
        self.places.remove(&slot.beginning);
        self.bytes -= slot.byte_count();
        let place = u32::try_from(place).expect("it is among them");
        if let Some(ready) = &slot.ready {
            self.ready_bytes -= ready.byte_count();
            self.ready.retain(|other| *other != place);
        }
        self.free.push(place);
        removed(why);
    }
}

impl Slot {
    fn byte_count(&self) -> usize {
        let ready = self.ready.as_ref().map_or(0, |ready| ready.byte_count());
        self.entry_bytes as usize + ready + self.compact.as_ref().map_or(0, Compact::byte_count)
    }
}

impl Ready {
    fn new(served: &Served, caller: &Arc<Caller>) -> Self {
        let (authorization, token) = (served.authorization.clone(), served.token);
        let (newest, newest_expires_at) = (Arc::downgrade(caller), caller.expires_at());
        Self { authorization, token, newest, newest_expires_at }
    }

    fn renew_with(&mut self, caller: &Arc<Caller>) {
        (self.newest, self.newest_expires_at) = (Arc::downgrade(caller), caller.expires_at());
    }

    fn byte_count(&self) -> usize {
        READY_BYTES + self.authorization.len()
    }
}

impl Compact {
    fn of(authorization: &HeaderValue, entry: &Entry) -> Self {
        let token = token_of(authorization);
        let phrases = entry.fields.kind().phrases_with(entry.fields.subject(), token);
        Self::new(token, phrases)
    }

    fn authorization(&self, entry: &Entry) -> Option<HeaderValue> {
        let mut text = Zeroizing::new(Vec::with_capacity(entry.header_bytes as usize + BASE64_MORE));
        text.extend_from_slice(SCHEME);
        self.append_to(&mut text, entry.fields.kind().phrases())?;
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// The token behind the word that every header value of the cache begins with.
fn token_of(authorization: &HeaderValue) -> &[u8] {
    authorization.as_bytes().get(SCHEME.len()..).unwrap_or_default()
}

/// Keys are digests, which need no more mixing.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
