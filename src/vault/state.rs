//! What has been taken away, and how often: the part of a vault that nobody may turn back.
//!
//! It is in memory while the vault is open. In the file each revocation is sealed on its own, and one sealed sum over all of
//! them stands at the head, so that none can be taken out or put back by itself. Who puts back the whole file, head and all,
//! goes back to an earlier day: nothing within a file could tell.

use std::collections::HashMap;

use super::key::{Name, NameKey, Place};

/// The generations of what has been taken away.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct State {
    generations: HashMap<Name, u64>,
    total: Total,
}

/// What a list of revocations is known again by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Total {
    /// The sum over all of them. Each part is a keyed digest that nobody sees, so no other parts have the same sum.
    pub sum: [u8; 32],
    /// How many there are.
    pub count: u64,
}

/// A state that is to come: the next generations of some names.
pub struct Next {
    /// The names, each once, and the generations that begin.
    pub revoked: Vec<(Name, u64)>,
    /// What all of it is known again by then.
    pub total: Total,
}

impl State {
    /// What it is known again by.
    pub fn total(&self) -> Total {
        self.total
    }

    /// Each name that something has been taken away from, and its generation.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.generations.iter().map(|(name, generation)| (name, *generation))
    }

    /// The generation of a name.
    pub fn generation(&self, name: &Name) -> u64 {
        self.generations.get(name).copied().unwrap_or_default()
    }

    /// What it would be if the next generations of these names began.
    pub fn next(&self, taken: &[Name], names: &NameKey) -> Next {
        let mut next = Next { revoked: Vec::with_capacity(taken.len()), total: self.total };
        for name in taken {
            if next.revoked.iter().any(|(other, _)| other == name) {
                continue;
            }
            let before = self.generation(name);
            match before {
                0 => next.total.count += 1,
                _ => next.total.add(name, before, names),
            }
            let generation = before.saturating_add(1);
            next.total.add(name, generation, names);
            next.revoked.push((*name, generation));
        }
        next
    }

    /// Has it come about.
    pub fn advance(&mut self, next: Next) {
        self.generations.extend(next.revoked);
        self.total = next.total;
    }

    /// Notes a generation that was read, of a name that was not read before.
    pub fn note(&mut self, name: Name, generation: u64, names: &NameKey) {
        self.total.add(&name, generation, names);
        self.generations.insert(name, generation);
        self.total.count = self.generations.len() as u64;
    }
}

impl Total {
    /// Adding twice is adding nothing.
    fn add(&mut self, name: &Name, generation: u64, names: &NameKey) {
        let part = names.name(&Place::new("revocation").at(name).at(&generation.to_be_bytes()));
        self.sum.iter_mut().zip(part).for_each(|(sum, part)| *sum ^= part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_that_of_what_is_there_in_whatever_order_it_came() {
        let names = NameKey::draw().expect("randomness");
        let (a, b) = ([1; 32], [2; 32]);
        let mut state = State::default();
        for taken in [&[a, a][..], &[b], &[a]] {
            let next = state.next(taken, &names);
            state.advance(next);
        }
        assert_eq!((state.generation(&a), state.generation(&b), state.generation(&[3; 32])), (2, 1, 0));
        assert_eq!(state.total().count, 2);
        let mut read = State::default();
        read.note(b, 1, &names);
        read.note(a, 2, &names);
        assert!(read == state);
        for (name, generation) in [(a, 1), (a, 3), ([3; 32], 2)] {
            let mut other = State::default();
            other.note(b, 1, &names);
            other.note(name, generation, &names);
            assert_ne!(other.total(), state.total());
        }
    }
}
