//! A part of the cache: entries by their keys, within a bound in bytes.
//!
//! The tokens of entries that are in use are held ready to be sent, as many as there is room for; those of others are compact, and
//! are made ready when somebody comes for them.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::compact::{BASE64_MORE, Compact};
use super::{Entry, Served};
use crate::audit::CredentialNote;
use crate::clock::Now;
use crate::credential::SCHEME;
use crate::credential::key::{CacheKey, KeyFields};
use crate::digest::sha256;
use crate::identity::Caller;
use crate::metrics::CacheRemoval;
use crate::second_chance::{ByteCount, SecondChance};

/// What an entry takes beside its token, as it was measured (`cargo bench --bench kept`).
const ENTRY_BYTES: usize = 320;
const _: () = assert!(size_of::<Entry>() <= 104 && size_of::<Kept>() <= 40, "there may be a million of them");
/// What being ready takes beside the token, with what records say of it beside its scopes. What there is of its caller is remembered
/// elsewhere, or is an empty shell.
const READY_BYTES: usize = 1_024;
/// The most that is held ready, of all parts together, is this part of the bound and so many bytes.
const READY_PART: usize = 2;
const READY_BYTES_MAX: usize = 32 * 1_048_576;

#[derive(Default)]
pub struct Shard {
    table: SecondChance<Kept>,
    /// Those that are ready, the one that has been for longest first.
    ready: VecDeque<u32>,
    ready_bytes: usize,
}

struct Kept {
    entry: Arc<Entry>,
    ready: Option<Box<Ready>>,
    compact: Option<Compact>,
    /// What it takes beside its token, as it was when it was added.
    entry_bytes: u32,
    /// Since it was looked at among those that are ready.
    is_used_ready: bool,
}

/// A token that is ready to be sent.
struct Ready {
    authorization: HeaderValue,
    /// What records say of it. Of a token that is compact it would take more room than it is worth.
    note: Arc<CredentialNote>,
    /// Of those who were served it, the one whose subject token lives longest, for as long as that is remembered.
    newest: Weak<Caller>,
    newest_expires_at: u64,
    /// How much room all of that takes. It is noted, since it is asked at every hit: to count it anew would read scopes that have long left
    /// the processor's caches.
    byte_count: usize,
}

/// Who was removed, and why.
pub type Removed<'a> = &'a dyn Fn(CacheRemoval);

impl Shard {
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// How much room it takes.
    #[cfg(test)]
    pub fn byte_count(&self) -> usize {
        self.table.byte_count()
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
        let over = self.table.sweep_at(now.monotonic, |kept| !kept.entry.life.is_reusable(now));
        over.into_iter().for_each(|place| self.remove(place, CacheRemoval::Expired, removed));
        let place = self.table.find(key.beginning())?;
        let kept = self.table.get(place)?;
        if !kept.entry.life.is_reusable(now) {
            self.remove(place, CacheRemoval::Expired, removed);
            return None;
        }
        // The digest has decided already. Should it ever be wrong, this keeps people apart.
        if !kept.entry.is_for(fields) {
            return None;
        }
        self.table.mark_used(place);
        let served = self.table.change(place, |kept| kept.serve(caller))?;
        if served.is_some() {
            return served;
        }
        let kept = self.table.get(place)?;
        let (entry, authorization) =
            (Arc::clone(&kept.entry), kept.compact.as_ref()?.authorization(&kept.entry)?);
        let token = sha256(token_of(&authorization));
        let served = Served::new(entry, authorization, token);
        self.make_ready(place, Ready::new(&served, caller));
        self.keep_within(max, removed);
        Some(served)
    }

    /// Whose subject token to renew the entry of `key` with, when that is for the very same `fields`.
    pub fn newest(&self, key: &CacheKey, fields: &KeyFields) -> Option<Arc<Caller>> {
        let kept = self.table.get(self.table.find(key.beginning())?)?;
        // As when it is served: a renewal with somebody else's subject token would be served to this person.
        if !kept.entry.is_for(fields) {
            return None;
        }
        kept.ready.as_ref()?.newest.upgrade()
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
        if let Some(place) = self.table.find(key.beginning()) {
            self.remove(place, CacheRemoval::Replaced, removed);
        }
        let over = self.table.sweep(|kept| !kept.entry.life.is_reusable(now));
        over.into_iter().for_each(|place| self.remove(place, CacheRemoval::Expired, removed));
        let entry = Arc::clone(&served.entry);
        let entry_bytes = u32::try_from(ENTRY_BYTES + entry.byte_count()).unwrap_or(u32::MAX);
        let kept = Kept { entry, ready: None, compact: None, entry_bytes, is_used_ready: true };
        let place = self.table.add(key.beginning(), kept);
        self.make_ready(place, Ready::new(served, caller));
        self.keep_within(max, removed);
    }

    /// Drops the entry of `key`, where it is this one.
    pub fn evict(&mut self, key: &CacheKey, entry: &Arc<Entry>, removed: Removed<'_>) {
        if let Some(place) = self.table.find(key.beginning())
            && self.table.get(place).is_some_and(|kept| Arc::ptr_eq(&kept.entry, entry))
        {
            self.remove(place, CacheRemoval::Dropped, removed);
        }
    }

    /// Drops the entries that `is_meant`. Returns how many there were.
    pub fn forget(&mut self, is_meant: impl Fn(&Entry) -> bool, removed: Removed<'_>) -> usize {
        let places = self.table.places_of(|kept| is_meant(&kept.entry));
        places.iter().for_each(|place| self.remove(*place, CacheRemoval::Dropped, removed));
        places.len()
    }

    /// Drops what was not used lately, until the rest is within `max` bytes.
    pub fn keep_within(&mut self, max: usize, removed: Removed<'_>) {
        self.keep_ready_within(max);
        while let Some(place) = self.table.next_to_go(max) {
            self.remove(place, CacheRemoval::Full, removed);
        }
    }

    fn make_ready(&mut self, place: u32, ready: Ready) {
        self.ready_bytes += ready.byte_count;
        self.table.change(place, |kept| kept.ready = Some(Box::new(ready)));
        self.ready.push_back(place);
    }

    /// Makes those compact that have been ready for longest and were not used again, until the rest has room.
    fn keep_ready_within(&mut self, max: usize) {
        let most = (max / READY_PART).min(READY_BYTES_MAX / super::SHARDS);
        while self.ready_bytes > most
            && let Some(place) = self.ready.pop_front()
        {
            let is_last = self.ready.is_empty();
            if !is_last && self.table.change(place, Kept::has_been_used).unwrap_or_default() {
                self.ready.push_back(place);
                continue;
            }
            self.ready_bytes -= self.table.change(place, Kept::make_compact).unwrap_or_default();
        }
    }

    fn remove(&mut self, place: u32, why: CacheRemoval, removed: Removed<'_>) {
        let Some(kept) = self.table.remove(place) else { return };
        if let Some(ready) = &kept.ready {
            self.ready_bytes -= ready.byte_count;
            self.ready.retain(|other| *other != place);
        }
        removed(why);
    }
}

impl Kept {
    /// What there is to be served, where it is ready.
    fn serve(&mut self, caller: &Arc<Caller>) -> Option<Served> {
        self.is_used_ready = true;
        let ready = self.ready.as_mut()?;
        if caller.expires_at() > ready.newest_expires_at {
            ready.renew_with(caller);
        }
        let (entry, authorization) = (Arc::clone(&self.entry), ready.authorization.clone());
        Some(Served { entry, authorization, note: Arc::clone(&ready.note) })
    }

    /// Whether it has been used since this was asked last.
    fn has_been_used(&mut self) -> bool {
        std::mem::take(&mut self.is_used_ready)
    }

    /// Leaves nothing that is ready. Returns how many bytes that took.
    fn make_compact(&mut self) -> usize {
        if let (Some(ready), None) = (&self.ready, &self.compact) {
            self.compact = Some(Compact::of(&ready.authorization, &self.entry));
        }
        self.ready.take().map_or(0, |ready| ready.byte_count)
    }
}

impl ByteCount for Kept {
    fn byte_count(&self) -> usize {
        let ready = self.ready.as_ref().map_or(0, |ready| ready.byte_count);
        self.entry_bytes as usize + ready + self.compact.as_ref().map_or(0, Compact::byte_count)
    }
}

impl Ready {
    fn new(served: &Served, caller: &Arc<Caller>) -> Self {
        let (authorization, note) = (served.authorization.clone(), Arc::clone(&served.note));
        let (newest, newest_expires_at) = (Arc::downgrade(caller), caller.expires_at());
        // Records cut a list of more than 4 KiB.
        let scopes = note.granted.as_ref().map_or(0, |granted| granted.canonical().len().min(4_096));
        let byte_count = READY_BYTES + authorization.len() + 2 * scopes;
        Self { authorization, note, newest, newest_expires_at, byte_count }
    }

    fn renew_with(&mut self, caller: &Arc<Caller>) {
        (self.newest, self.newest_expires_at) = (Arc::downgrade(caller), caller.expires_at());
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
