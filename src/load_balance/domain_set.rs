// SPDX-License-Identifier: GPL-2.0-only
//! The set of domains a task may run in.
//! Never knows CPUs: who builds a set decides what "may run" means.

use crate::ids::DomainId;

/// A set of domains. The common cases, every domain and at most 64 domains,
/// take no memory beyond the value itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainSet(Words);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Words {
    All,
    One(u64),
    /// At least two words, the last one not 0, so that equal sets are equal.
    Many(Box<[u64]>),
}

impl DomainSet {
    /// Every domain there is.
    pub fn all() -> Self {
        DomainSet(Words::All)
    }

    /// Domain i is in the set if bit i % 64 of word i / 64 is set. Words that
    /// are missing are empty.
    pub fn from_words(words: &[u64]) -> Self {
        let used = words
            .iter()
            .rposition(|&word| word != 0)
            .map_or(0, |last| last + 1);
        DomainSet(match used {
            0 => Words::One(0),
            1 => Words::One(words[0]),
            _ => Words::Many(words[..used].into()),
        })
    }

    /// Whether the domain is in the set.
    pub fn contains(&self, domain: DomainId) -> bool {
        let words = match &self.0 {
            Words::All => return true,
            Words::One(word) => std::slice::from_ref(word),
            Words::Many(words) => words,
        };
        words
            .get(domain.index() / 64)
            .is_some_and(|word| word >> (domain.0 % 64) & 1 != 0)
    }

    /// Whether this is the set of every domain. A list of words never is, even
    /// if it happens to name them all.
    pub fn is_all(&self) -> bool {
        self.0 == Words::All
    }
}

impl FromIterator<DomainId> for DomainSet {
    fn from_iter<I: IntoIterator<Item = DomainId>>(domains: I) -> Self {
        let mut words = Vec::new();
        for domain in domains {
            let word = domain.index() / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1u64 << (domain.0 % 64);
        }
        DomainSet::from_words(&words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holds_everything() {
        assert!(DomainSet::all().is_all());
        assert!(DomainSet::all().contains(DomainId(511)));
    }

    #[test]
    fn words_hold_their_bits() {
        for ids in [vec![], vec![0], vec![0, 63], vec![64], vec![3, 511]] {
            let set: DomainSet = ids.iter().map(|&id| DomainId(id)).collect();
            assert!(!set.is_all());
            for id in 0..600 {
                assert_eq!(
                    set.contains(DomainId(id)),
                    ids.contains(&id),
                    "{ids:?} {id}"
                );
            }
        }
    }

    #[test]
    fn equal_sets_are_equal() {
        assert_eq!(
            DomainSet::from_words(&[5, 0, 0]),
            DomainSet::from_words(&[5])
        );
        assert_eq!(DomainSet::from_words(&[]), DomainSet::from_words(&[0, 0]));
    }
}
