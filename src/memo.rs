//! What somebody has written about a value, left with it for the next time it is needed. It goes with the value.

use std::ops::Deref;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

/// Most pieces of text that are written about one thing.
const PIECES_MAX: usize = 5;

/// A place for what was written about the value that has it. Copies of the value begin with none.
#[derive(Default)]
pub struct Memo(ArcSwapOption<Pieces>);

/// Pieces of text, and under which circumstances they were written.
pub struct Pieces {
    circumstances: u64,
    text: Vec<u8>,
    /// Where each piece ends.
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
    /// What was written under the same circumstances, where it `fits` still; otherwise what `write` writes, which stays for the next
    /// time.
    pub fn recall(
        &self,
        circumstances: u64,
        fits: impl FnOnce(&Pieces) -> bool,
        write: impl FnOnce(&mut Pieces),
    ) -> Recalled {
        let before = self.0.load();
        if before.as_ref().is_some_and(|pieces| pieces.circumstances == circumstances && fits(pieces)) {
            return Recalled::Before(before);
        }
        let pieces = Arc::new(Pieces::written(circumstances, write));
        self.0.store(Some(Arc::clone(&pieces)));
        Recalled::Now(pieces)
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
        Self::Now(Arc::new(Pieces::written(0, write)))
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
    fn written(circumstances: u64, write: impl FnOnce(&mut Self)) -> Self {
        let mut pieces =
            Self { circumstances, text: Vec::new(), ends: [0; PIECES_MAX], count: 0, is_cut: false };
        write(&mut pieces);
        pieces.text.shrink_to_fit();
        pieces
    }

    /// Writes the next piece.
    ///
    /// # Panics
    ///
    /// When there are five already.
    pub fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        // A piece of its own to begin with: who writes may look at what came before.
        let mut piece = Vec::new();
        write(&mut piece);
        self.text.extend_from_slice(&piece);
        self.ends[self.count] = u32::try_from(self.text.len()).expect("texts of records have bounds");
        self.count += 1;
    }

    /// One of them; empty where there are not so many.
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

    fn recalled(memo: &Memo, circumstances: u64, fits: bool, text: &str) -> String {
        let write = |pieces: &mut Pieces| pieces.write(|piece| piece.extend_from_slice(text.as_bytes()));
        let recalled = memo.recall(circumstances, |_| fits, write);
        String::from_utf8(recalled.piece(0).to_vec()).expect("a text of the test")
    }

    #[test]
    fn what_was_written_is_recalled_while_it_fits() {
        let memo = Memo::default();
        assert_eq!(recalled(&memo, 1, true, "one"), "one");
        assert_eq!(recalled(&memo, 1, true, "two"), "one");
        assert_eq!(recalled(&memo, 1, false, "three"), "three");
        assert_eq!(recalled(&memo, 2, true, "four"), "four");
        assert_eq!(recalled(&memo, 2, true, "five"), "four");
        assert_eq!(recalled(&memo.clone(), 2, true, "six"), "six");
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
