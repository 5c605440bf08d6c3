//! What tells a value from every other of the process.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that nothing else has, not even a copy of the value that has it.
#[derive(Debug)]
pub struct Unique(u64);

impl Unique {
    /// The number.
    pub fn number(&self) -> u64 {
        self.0
    }
}

impl Default for Unique {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Clone for Unique {
    fn clone(&self) -> Self {
        Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_has_the_same_number() {
        let [one, two] = [Unique::default(), Unique::default()];
        let copy = one.clone();
        assert!(one.number() != two.number() && copy.number() != one.number());
    }
}
