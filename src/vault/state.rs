//! What has been taken away, and how often: the part of a vault that nobody may turn back.
//!
//! It is in memory while the vault is open. In the file each revocation is sealed on its own, and one sealed sum over all of
//! them stands at the head, so that none can be taken out or put back by itself. Who puts back the whole file, head and all,
//! goes back to an earlier day: nothing within a file could tell.

use std::collections::HashMap;

use super::key::{Name, NameKey, Place};

/// The sum over no revocation.
const NOTHING: [u8; 32] = [0; 32];

/// The generations of what has been taken away.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    generations: HashMap<Name, u64>,
    sum: [u8; 32],
}

impl State {
    /// Nothing has been taken away.
    pub fn new() -> Self {
        Self { generations: HashMap::new(), sum: NOTHING }
    }

    /// The sum over all of it, by which it is known again. Each part is a keyed digest that nobody sees, so no other parts
    /// have the same sum.
    pub fn sum(&self) -> &[u8; 32] {
        &self.sum
    }

    /// How many names have been taken something away.
    pub fn count(&self) -> u64 {
        self.generations.len() as u64
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.generations.iter().map(|(name, generation)| (name, *generation))
    }

    /// The generation of a name.
    pub fn generation(&self, name: &Name) -> u64 {
        self.generations.get(name).copied().unwrap_or_default()
    }

    /// Begins the next generation of a name.
    pub fn revoke(&mut self, name: &Name, names: &NameKey) -> u64 {
        let before = self.generation(name);
        let next = before.saturating_add(1);
        if before > 0 {
            self.add(&part(name, before, names));
        }
        self.set(*name, next, names);
        next
    }

    /// Notes a generation that was read.
    pub fn set(&mut self, name: Name, generation: u64, names: &NameKey) {
        self.add(&part(&name, generation, names));
        self.generations.insert(name, generation);
    }

    /// Adding twice is adding nothing.
    fn add(&mut self, part: &[u8; 32]) {
        self.sum.iter_mut().zip(part).for_each(|(sum, part)| *sum ^= part);
    }
}

fn part(name: &Name, generation: u64, names: &NameKey) -> [u8; 32] {
    names.name(&Place::new("revocation").at(name).at(&generation.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_what_is_there_in_whatever_order_it_came() {
        let names = NameKey::draw().expect("randomness");
        let (a, b) = ([1; 32], [2; 32]);
        let mut state = State::new();
        for name in [a, b, a] {
            state.revoke(&name, &names);
        }
        assert_eq!((state.generation(&a), state.generation(&b), state.generation(&[3; 32])), (2, 1, 0));
        let mut read = State::new();
        read.set(b, 1, &names);
        read.set(a, 2, &names);
        assert!(read == state);
        for (name, generation) in [(a, 1), (a, 3), ([3; 32], 2)] {
            let mut other = State::new();
            other.set(b, 1, &names);
            other.set(name, generation, &names);
            assert_ne!(other.sum(), state.sum());
        }
    }
}
