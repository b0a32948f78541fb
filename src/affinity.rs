// SPDX-License-Identifier: GPL-2.0-only
//! Which CPUs tasks may use: each set is kept once and named by a `MaskId`.
//! Never knows domains or nodes, and never asks the kernel.

use std::collections::HashMap;

use crate::ids::{CpuId, MaskId};

/// Sets of CPUs by id. [`MaskId::ANYWHERE`] is every CPU, and always there.
#[derive(Clone, Debug, Default)]
pub struct MaskTable {
    /// The words of the masks after ANYWHERE, in order of id.
    masks: Vec<Box<[u64]>>,
    ids: HashMap<Box<[u64]>, MaskId>,
    /// Whether each of `masks` was asked for since the last sweep.
    used: Vec<bool>,
}

/// Below this many unused sets a sweep is not worth the memory it allocates.
const WORTH_SWEEPING: usize = 256;

impl MaskTable {
    /// The id of the set in which CPU i is if bit i % 64 of word i / 64 is set;
    /// words that are missing are empty. Equal sets have equal ids, and one
    /// that is known costs no memory.
    ///
    /// # Panics
    /// With more than `u32::MAX` sets.
    pub fn intern(&mut self, words: &[u64]) -> MaskId {
        let used = words
            .iter()
            .rposition(|&word| word != 0)
            .map_or(0, |last| last + 1);
        let words = &words[..used];
        if let Some(&id) = self.ids.get(words) {
            self.used[id.index() - 1] = true;
            return id;
        }
        self.masks.push(words.into());
        self.used.push(true);
        let id = MaskId(u32::try_from(self.masks.len()).expect("more sets than a u32 can count"));
        self.ids.insert(words.into(), id);
        id
    }

    /// The id of the set of these CPUs.
    pub fn intern_cpus(&mut self, cpus: impl IntoIterator<Item = CpuId>) -> MaskId {
        let mut words: Vec<u64> = Vec::new();
        for cpu in cpus {
            let word = cpu.index() / 64;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (cpu.0 % 64);
        }
        self.intern(&words)
    }

    /// Whether the set holds the CPU. An id of no set holds none.
    pub fn contains(&self, mask: MaskId, cpu: CpuId) -> bool {
        let Some(words) = self.words(mask) else {
            return mask == MaskId::ANYWHERE;
        };
        words
            .get(cpu.index() / 64)
            .is_some_and(|word| word >> (cpu.0 % 64) & 1 != 0)
    }

    /// The words of a set, without zeros at the end; `None` for ANYWHERE, which
    /// has no last CPU, and for the id of no set.
    pub fn words(&self, mask: MaskId) -> Option<&[u64]> {
        let place = mask.index().checked_sub(1)?;
        self.masks.get(place).map(|words| &words[..])
    }

    /// Number of sets; ids are 0..len. At least 1.
    pub fn len(&self) -> usize {
        self.masks.len() + 1
    }

    /// Never: ANYWHERE is always there.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// To be called between two uses of the table: the ids given out before are
    /// void. Forgets the sets not asked for since the last sweep once they are
    /// the most.
    pub fn sweep(&mut self) {
        let unused = self.used.iter().filter(|used| !**used).count();
        if unused > WORTH_SWEEPING && 2 * unused > self.masks.len() {
            let mut used = self.used.iter();
            self.masks.retain(|_| used.next().copied().unwrap_or(false));
            self.ids.clear();
            let ids = (1u32..).map(MaskId);
            self.ids.extend(self.masks.iter().cloned().zip(ids));
            self.used.truncate(self.masks.len());
        }
        self.used.fill(false);
    }
}

/// The CPUs of a set given as words.
pub(crate) fn cpus_of(words: &[u64]) -> impl Iterator<Item = CpuId> {
    ones(words).map(|cpu| CpuId(cpu as u32))
}

/// The places of the bits that are set.
pub(crate) fn ones(words: &[u64]) -> impl Iterator<Item = usize> + Clone {
    words.iter().enumerate().flat_map(|(at, &word)| {
        std::iter::successors((word != 0).then_some(word), |&word| {
            let rest = word & (word - 1);
            (rest != 0).then_some(rest)
        })
        .map(move |word| at * 64 + word.trailing_zeros() as usize)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn equal_sets_have_equal_ids() {
        let mut table = MaskTable::default();
        let first = table.intern(&[0b101, 0, 0]);
        assert_eq!(first, table.intern(&[0b101]));
        assert_eq!(first, table.intern_cpus([CpuId(2), CpuId(0), CpuId(2)]));
        let second = table.intern_cpus([CpuId(64)]);
        assert_ne!(first, second);
        assert_eq!(table.words(second), Some(&[0, 1][..]));
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn membership() {
        let mut table = MaskTable::default();
        let empty = table.intern(&[]);
        let some = table.intern_cpus([CpuId(3), CpuId(130)]);
        for id in 0..200 {
            let cpu = CpuId(id);
            assert!(table.contains(MaskId::ANYWHERE, cpu));
            assert!(!table.contains(empty, cpu));
            assert!(!table.contains(MaskId(9), cpu));
            assert_eq!(table.contains(some, cpu), id == 3 || id == 130);
        }
    }

    #[test]
    fn a_sweep_forgets_what_is_no_longer_asked_for() {
        let mut table = MaskTable::default();
        for id in 0..1000 {
            table.intern_cpus([CpuId(id), CpuId(5000)]);
        }
        table.sweep();
        assert_eq!(table.len(), 1001, "all were asked for");
        let words = [7, 8];
        for _ in 0..2 {
            table.intern(&words);
            table.sweep();
        }
        assert_eq!(table.len(), 2);
        let kept = table.intern(&words);
        assert_eq!(table.words(kept), Some(&words[..]));
    }

    proptest! {
        #![proptest_config(crate::seeds::config("affinity"))]

        /// Against sets of numbers, over rounds with sweeps between them.
        #[test]
        fn holds_what_was_put_in(
            rounds in prop::collection::vec(
                prop::collection::vec(prop::collection::btree_set(0..200u32, 0..6), 0..8), 1..6),
        ) {
            let mut table = MaskTable::default();
            for sets in rounds {
                table.sweep();
                let ids: Vec<MaskId> = sets
                    .iter()
                    .map(|set| table.intern_cpus(set.iter().copied().map(CpuId)))
                    .collect();
                for (set, &id) in sets.iter().zip(&ids) {
                    prop_assert!(id.index() < table.len());
                    for cpu in 0..260 {
                        prop_assert_eq!(table.contains(id, CpuId(cpu)), set.contains(&cpu));
                    }
                    for (other, &other_id) in sets.iter().zip(&ids) {
                        prop_assert_eq!(set == other, id == other_id);
                    }
                }
            }
        }
    }
}
