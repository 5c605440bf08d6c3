//! Lists that forget their oldest entries, so that a server left running does not grow for ever.

use std::collections::VecDeque;

/// Most entries kept: more than a load test makes, and still a bound for a server left running.
const KEPT_MAX: usize = 20_000;

/// A list that forgets its oldest entries.
pub(super) struct Kept<T> {
    entries: VecDeque<T>,
    forgotten: usize,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), forgotten: 0 }
    }
}

impl<T: Clone> Kept<T> {
    /// Keeps an entry and gives its number.
    pub(super) fn push(&mut self, entry: T) -> usize {
        if self.entries.len() == KEPT_MAX {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back(entry);
        self.forgotten + self.entries.len() - 1
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.entries.get_mut(number.checked_sub(self.forgotten)?)
    }

    /// Forgets every entry. Numbers go on, so that who holds an old one cannot mean a new entry.
    pub(super) fn clear(&mut self) {
        self.forgotten += self.entries.len();
        self.entries.clear();
    }

    pub(super) fn last(&self) -> Option<T> {
        self.entries.back().cloned()
    }

    pub(super) fn to_vec(&self) -> Vec<T> {
        self.entries.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_means_its_own_entry_or_none() {
        let mut kept = Kept::default();
        let numbers: Vec<usize> = (0..KEPT_MAX + 2).map(|entry| kept.push(entry)).collect();
        assert_eq!(kept.get_mut(numbers[1]), None, "the oldest gave way");
        assert_eq!(kept.get_mut(numbers[2]).copied(), Some(2));
        assert_eq!(kept.to_vec().len(), KEPT_MAX);
        kept.clear();
        let next = kept.push(7);
        assert_eq!(kept.get_mut(numbers[KEPT_MAX]), None);
        assert_eq!((kept.get_mut(next).copied(), kept.last()), (Some(7), Some(7)));
    }
}
