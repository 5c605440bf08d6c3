//! Text that the audit trail has made about a value, left with the value so that the next record takes it as it is. The value's module
//! knows nothing of records; the text goes with the value.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use crate::unique::Unique;

/// Most pieces of text that are written about one thing.
const PIECES_MAX: usize = 5;

/// Most digests that are left with a value.
const DIGESTS_MAX: usize = 4;

/// A place for what was written about the value that has it. Copies of the value begin with none.
#[derive(Default)]
pub struct Memo {
    written: ArcSwapOption<Pieces>,
    unique: Unique,
}

/// A place for digests of the value that has it together with others.
#[derive(Default)]
pub struct DigestMemo(ArcSwapOption<Vec<Digested>>);

#[derive(Clone)]
struct Digested {
    others: (u64, u64),
    digest: [u8; 32],
}

/// Pieces of text, and of what they are beside the value.
pub struct Pieces {
    key: (u64, Box<str>),
    text: Vec<u8>,
    /// Where each piece ends, in bytes from the beginning of `text`.
    ends: [u32; PIECES_MAX],
    /// How many there are.
    count: usize,
    /// Whether something was cut.
    pub is_cut: bool,
}

/// What was written: before, or just now.
pub enum Recalled {
    /// Before.
    Before(Guard<Option<Arc<Pieces>>>),
    /// Just now.
    Now(Arc<Pieces>),
}

impl Memo {
    /// Tells the value from all others, its copies as well.
    pub fn number(&self) -> u64 {
        self.unique.number()
    }

    /// What was written under the same key: whatever it depends on beside the value. Where there is nothing, or something else, what
    /// `write` writes, which stays for the next time.
    pub fn recall(&self, key: (u64, &str), write: impl FnOnce(&mut Pieces)) -> Recalled {
        let before = self.written.load();
        if before.as_ref().is_some_and(|pieces| pieces.key.0 == key.0 && *pieces.key.1 == *key.1) {
            return Recalled::Before(before);
        }
        let pieces = Arc::new(Pieces::written(key, write));
        self.written.store(Some(Arc::clone(&pieces)));
        Recalled::Now(pieces)
    }
}

impl DigestMemo {
    /// The digest of the value with these others, which are named by numbers that nothing else has: the one that was made before, or the
    /// one that `digest` makes, which stays until there are four newer ones.
    pub fn recall(&self, others: (u64, u64), digest: impl FnOnce() -> [u8; 32]) -> [u8; 32] {
        let before = self.0.load();
        let known = before.as_deref().map_or(&[][..], Vec::as_slice);
        if let Some(known) = known.iter().find(|known| known.others == others) {
            return known.digest;
        }
        let digest = digest();
        let newest = std::iter::once(Digested { others, digest });
        self.0.store(Some(Arc::new(newest.chain(known.iter().cloned()).take(DIGESTS_MAX).collect())));
        digest
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Memo")
    }
}

impl Recalled {
    /// What is written for one time alone.
    pub fn once(write: impl FnOnce(&mut Pieces)) -> Self {
        Self::Now(Arc::new(Pieces::written((0, ""), write)))
    }
}

impl Deref for Recalled {
    type Target = Pieces;

    fn deref(&self) -> &Pieces {
        match self {
            Self::Before(pieces) => pieces.as_ref().expect("only what is there is recalled"),
            Self::Now(pieces) => pieces,
        }
    }
}

impl Pieces {
    fn written((number, text): (u64, &str), write: impl FnOnce(&mut Self)) -> Self {
        let key = (number, text.into());
        let mut pieces = Self { key, text: Vec::new(), ends: [0; PIECES_MAX], count: 0, is_cut: false };
        write(&mut pieces);
        pieces.text.shrink_to_fit();
        pieces
    }

    /// Writes the next piece.
    ///
    /// # Panics
    ///
    /// When there are `PIECES_MAX` already.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // On its own: JSON puts a comma before a member unless nothing comes before.
        let mut piece = Vec::new();
        write(&mut piece);
        self.text.extend_from_slice(&piece);
        self.ends[self.count] = u32::try_from(self.text.len()).expect("records have a bound");
        self.count += 1;
    }

    /// The piece at this place, from 0 on; empty where there are not so many.
    pub fn piece(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        self.text.get(start..self.ends[at] as usize).unwrap_or_default()
    }

    /// All of them.
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recalled(memo: &Memo, number: u64, key: &str, text: &str) -> String {
        let write = |pieces: &mut Pieces| pieces.write(|piece| piece.extend_from_slice(text.as_bytes()));
        let recalled = memo.recall((number, key), write);
        String::from_utf8(recalled.piece(0).to_vec()).expect("a text of the test")
    }

    #[test]
    fn what_was_written_is_recalled_under_the_same_key() {
        let memo = Memo::default();
        assert_eq!(recalled(&memo, 1, "a", "one"), "one");
        assert_eq!(recalled(&memo, 1, "a", "two"), "one");
        assert_eq!(recalled(&memo, 1, "b", "three"), "three");
        assert_eq!(recalled(&memo, 2, "b", "four"), "four");
        assert_eq!(recalled(&memo, 2, "b", "five"), "four");
        assert_eq!(recalled(&memo.clone(), 2, "b", "six"), "six");
    }

    #[test]
    fn digests_are_of_one_value_with_the_very_same_others() {
        let memo = DigestMemo::default();
        let recalled = |others: (u64, u64), digest: u8| memo.recall(others, || [digest; 32])[0];
        assert_eq!([recalled((1, 1), 1), recalled((1, 1), 2)], [1, 1]);
        assert_eq!([recalled((2, 1), 3), recalled((1, 2), 4), recalled((3, 1), 5)], [3, 4, 5]);
        assert_eq!([recalled((1, 1), 6), recalled((2, 1), 6), recalled((1, 2), 6)], [1, 3, 4]);
        // One more than there is room for.
        assert_eq!([recalled((4, 1), 7), recalled((1, 1), 8), recalled((3, 1), 8)], [7, 8, 5]);
    }

    #[test]
    fn pieces_are_as_they_were_written() {
        let pieces = Recalled::once(|pieces| {
            for text in ["one", "", "two"] {
                pieces.write(|piece| piece.extend_from_slice(text.as_bytes()));
            }
        });
        let all: Vec<&[u8]> = (0..PIECES_MAX).map(|at| pieces.piece(at)).collect();
        assert_eq!(all, [&b"one"[..], b"", b"two", b"", b""]);
        assert_eq!(pieces.text(), b"onetwo");
    }
}
