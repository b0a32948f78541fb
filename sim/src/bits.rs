// SPDX-License-Identifier: GPL-2.0-only
//! Sets of CPUs as the kernel keeps them: words of bits.
//! Never larger than the mask of the shim.

use crate::shim::{SIM_MASK_WORDS, cpumask};

/// Words of the largest set.
pub const WORDS: usize = SIM_MASK_WORDS as usize;

/// A set of CPUs of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuBits(Vec<u64>);

impl CpuBits {
    /// The empty set on a machine with this many CPUs.
    pub fn empty(nr_cpus: u32) -> CpuBits {
        CpuBits(vec![0; nr_cpus.div_ceil(64) as usize])
    }

    /// The set of these CPUs, on a machine with `nr_cpus`.
    pub fn of(nr_cpus: u32, cpus: impl IntoIterator<Item = u32>) -> CpuBits {
        let mut bits = CpuBits::empty(nr_cpus);
        cpus.into_iter().for_each(|cpu| bits.set(cpu, true));
        bits
    }

    /// Whether `cpu` is in it.
    pub fn has(&self, cpu: u32) -> bool {
        let word = self.0.get(cpu as usize / 64);
        word.is_some_and(|word| word >> (cpu % 64) & 1 != 0)
    }

    /// Takes `cpu` in or out. A CPU that the machine does not have is ignored.
    pub fn set(&mut self, cpu: u32, on: bool) {
        if let Some(word) = self.0.get_mut(cpu as usize / 64) {
            let bit = 1 << (cpu % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    /// Its words.
    pub fn words(&self) -> &[u64] {
        &self.0
    }

    /// How many CPUs it has.
    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Its CPUs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).zip(&self.0).flat_map(|(index, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(64 * index + bit)
            })
        })
    }

    /// The first CPU at or after `from`, around the end, of those in all of `sets`.
    pub fn next_common(sets: &[&[u64]], from: u32) -> Option<u32> {
        let words = sets.iter().map(|set| set.len()).min()?;
        let common = |index: usize| sets.iter().fold(u64::MAX, |word, set| word & set[index]);
        let (first, bit) = (from as usize / 64, from % 64);
        let found = |index: usize, word: u64| {
            (word != 0).then(|| 64 * index as u32 + word.trailing_zeros())
        };
        if first >= words {
            return (0..words).find_map(|index| found(index, common(index)));
        }
        let high = u64::MAX << bit;
        found(first, common(first) & high)
            .or_else(|| {
                let rest = (first + 1..words).chain(0..first);
                rest.into_iter()
                    .find_map(|index| found(index, common(index)))
            })
            .or_else(|| found(first, common(first) & !high))
    }

    /// Whether `whole` has every CPU that is in both of `sets`.
    pub fn covers(sets: &[&[u64]; 2], whole: &[u64]) -> bool {
        let common = sets[0].iter().zip(sets[1]);
        let beyond = common
            .zip(whole)
            .map(|((first, second), whole)| first & second & !whole);
        beyond.fold(0, |all, word| all | word) == 0
    }

    /// As the kernel's type.
    pub fn to_mask(&self) -> cpumask {
        let mut mask = cpumask { bits: [0; WORDS] };
        mask.bits[..self.0.len()].copy_from_slice(&self.0);
        mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_common_cpu_is_found_around_the_end() {
        let a = CpuBits::of(200, [3, 70, 199]);
        let b = CpuBits::of(200, [3, 5, 199]);
        let next = |from| CpuBits::next_common(&[a.words(), b.words()], from);
        assert_eq!(
            [next(0), next(3), next(4), next(199), next(300)],
            [Some(3), Some(3), Some(199), Some(199), Some(3)]
        );
        let empty = CpuBits::empty(200);
        assert_eq!(CpuBits::next_common(&[a.words(), empty.words()], 0), None);
    }

    #[test]
    fn a_set_covers_what_others_have_in_common() {
        let a = CpuBits::of(200, [3, 70, 199]);
        let b = CpuBits::of(200, [3, 5, 199]);
        let covers = |cpus: &[u32]| {
            let whole = CpuBits::of(200, cpus.iter().copied());
            CpuBits::covers(&[a.words(), b.words()], whole.words())
        };
        assert!(covers(&[3, 199]) && covers(&[0, 3, 199]));
        assert!(!covers(&[3]) && !covers(&[70, 199]));
    }

    #[test]
    fn bits_are_set_counted_and_listed() {
        let mut bits = CpuBits::of(130, [0, 64, 129]);
        bits.set(64, false);
        bits.set(4000, true);
        assert_eq!((bits.len(), bits.iter().collect()), (2, vec![0, 129]));
        assert!(bits.has(129) && !bits.has(64) && !bits.has(4000));
        assert_eq!(bits.to_mask().bits[2], 2);
    }
}
