// SPDX-License-Identifier: GPL-2.0-only
//! Claims in order of the level that meets them, with sums, so that what many
//! get together at a level takes few looks.
//! Never knows who claims.

use std::ops::Range;

use super::fill::{Claim, ratio};

/// Lists of claims, each sorted.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    rungs: Vec<Rung>,
    /// The bits of the ratio, and the weight, of each claim; in order for the lists
    /// that are in `rungs`.
    keys: Vec<(u64, f64)>,
    sorter: Sorter,
    /// Of each of some lists, how many claims a level meets.
    met: Vec<usize>,
    /// Where each list begins, and the end of the last.
    start: Vec<usize>,
}

/// Sorts keys by ratio, and keeps its memory.
#[derive(Debug, Default)]
struct Sorter {
    places: Vec<u64>,
    sorted: Vec<(u64, f64)>,
}

impl Sorter {
    /// A number sorts twice as fast as a pair. The upper half of a ratio, six digits
    /// of it, decides nearly always, and leaves room for the place of its pair.
    fn sort(&mut self, keys: &mut [(u64, f64)]) {
        const PLACE: u64 = u32::MAX as u64;
        let numbered = (0..).zip(keys.iter());
        self.places.clear();
        self.places
            .extend(numbered.map(|(place, &(ratio, _))| ratio & !PLACE | place));
        self.places.sort_unstable();
        let places = self.places.iter();
        self.sorted.clear();
        self.sorted
            .extend(places.map(|&place| keys[(place & PLACE) as usize]));
        for alike in self.sorted.chunk_by_mut(|a, b| a.0 >> 32 == b.0 >> 32) {
            if alike.len() > 1 {
                alike.sort_unstable_by_key(|&(ratio, _)| ratio);
            }
        }
        keys.copy_from_slice(&self.sorted);
    }
}

/// One claim of a list.
#[derive(Clone, Copy, Debug)]
struct Rung {
    /// The level that just meets it.
    ratio: f64,
    /// Σ demand from the first claim of the list up to this.
    met: f64,
    /// Σ weight from this claim to the last: added from there, so that heavy
    /// claims that are met leave no rounding error on light ones.
    limited: f64,
}

/// What claims get at a level: `met` and the level times `limited`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    /// Σ demand of those it meets.
    pub met: f64,
    /// Σ weight of those it limits.
    pub limited: f64,
}

/// Steps that follow the slope between two that halve what is left of the range
/// of numbers. They mostly end within five.
const SLOPES: usize = 6;

impl Ladder {
    /// Sorts sane claims, each with the number of its list, which has so many; those
    /// of other numbers are left out.
    pub fn build(&mut self, claims: impl Iterator<Item = (usize, Claim)>, sizes: &[u32]) {
        self.start.clear();
        self.start.extend([0, 0]);
        let mut last = 0;
        for &size in sizes {
            last += size as usize;
            self.start.push(last);
        }
        // Every place is written below.
        self.keys.resize(last, (0, 0.0));
        for (list, claim) in claims {
            if list < sizes.len() {
                let next = &mut self.start[list + 1];
                // Ratios are not below 0, so their bits are in the same order.
                self.keys[*next] = (ratio(claim).to_bits(), claim.weight);
                *next += 1;
            }
        }
        self.rungs.clear();
        for list in 0..sizes.len() {
            self.climb(self.start[list]..self.start[list + 1]);
        }
    }

    /// Where the claims of a list are.
    pub fn list(&self, list: usize) -> Range<usize> {
        self.start[list]..self.start[list + 1]
    }

    pub fn clear(&mut self) {
        self.keys.clear();
        self.rungs.clear();
    }

    /// Adds a list of sane claims. Returns where it is.
    pub fn add(&mut self, claims: impl Iterator<Item = Claim>) -> Range<usize> {
        let start = self.keys.len();
        let keys = claims.map(|claim| (ratio(claim).to_bits(), claim.weight));
        self.keys.extend(keys);
        self.climb(start..self.keys.len());
        start..self.keys.len()
    }

    /// Turns the keys of a list into its rungs, which come next.
    fn climb(&mut self, list: Range<usize>) {
        let keys = &mut self.keys[list.clone()];
        self.sorter.sort(keys);
        let mut met = 0.0;
        self.rungs.extend(keys.iter().map(|&(ratio, weight)| {
            let ratio = f64::from_bits(ratio);
            met += ratio * weight;
            Rung {
                ratio,
                met,
                limited: weight,
            }
        }));
        let mut limited = 0.0;
        for rung in self.rungs[list].iter_mut().rev() {
            limited += rung.limited;
            rung.limited = limited;
        }
    }

    /// What the claims of a list get at a level.
    pub fn at(&self, list: &Range<usize>, level: f64) -> Sum {
        self.sum(list, self.climbed(list, 0, level))
    }

    /// What the claims of a list get if the level meets so many.
    fn sum(&self, list: &Range<usize>, met: usize) -> Sum {
        let rungs = &self.rungs[list.clone()];
        Sum {
            met: met.checked_sub(1).map_or(0.0, |last| rungs[last].met),
            limited: rungs.get(met).map_or(0.0, |first| first.limited),
        }
    }

    /// How many claims of a list the level meets: not less than `from`, and mostly
    /// few more, unless that is 0.
    fn climbed(&self, list: &Range<usize>, from: usize, level: f64) -> usize {
        let rungs = &self.rungs[list.clone()];
        let is_met = |rung: &Rung| rung.ratio <= level;
        let (mut low, mut step) = (from, if from == 0 { rungs.len() } else { 1 });
        while rungs[low..].get(step.wrapping_sub(1)).is_some_and(is_met) {
            (low, step) = (low + step, 2 * step);
        }
        let high = rungs.len().min(low + step);
        low + rungs[low..high].partition_point(is_met)
    }

    /// The level at which the lists get `amount` CPUs together, less than they
    /// could use. It must not be below `low`.
    pub fn level<'a, I>(&mut self, lists: I, amount: f64, low: f64) -> f64
    where
        I: Iterator<Item = &'a Range<usize>> + Clone,
    {
        let mut met = std::mem::take(&mut self.met);
        met.clear();
        met.extend(lists.clone().map(|list| self.climbed(list, 0, low)));
        let level = self.search(lists, amount, low, &mut met);
        self.met = met;
        level
    }

    /// `met`: of each list, how many claims `low` meets.
    fn search<'a, I>(&self, lists: I, amount: f64, mut low: f64, met: &mut [usize]) -> f64
    where
        I: Iterator<Item = &'a Range<usize>> + Clone,
    {
        let last = |list: &Range<usize>| self.rungs[list.clone()].last().map(|rung| rung.ratio);
        let mut high = lists.clone().filter_map(last).fold(low, f64::max);
        let mut before = Sum {
            met: -1.0,
            limited: -1.0,
        };
        loop {
            for _ in 0..SLOPES {
                // What is given bends down as the level rises, so that going on
                // straight from below the level never passes it.
                let each = lists.clone().zip(met.iter());
                let sum = Sum::of(each.map(|(list, &met)| self.sum(list, met)));
                if sum.limited == 0.0 {
                    return f64::INFINITY;
                }
                let level = (amount - sum.met).max(0.0) / sum.limited;
                if sum == before || level <= low {
                    return level;
                }
                (before, low) = (sum, level);
                self.climb_on(lists.clone(), low, met);
            }
            let middle = f64::from_bits(low.to_bits().midpoint(high.to_bits()));
            let sum = Sum::of(lists.clone().map(|list| self.at(list, middle)));
            if sum.met + middle * sum.limited > amount {
                high = middle;
            } else if middle > low {
                low = middle;
                self.climb_on(lists.clone(), low, met);
            }
        }
    }

    fn climb_on<'a>(
        &self,
        lists: impl Iterator<Item = &'a Range<usize>>,
        level: f64,
        met: &mut [usize],
    ) {
        for (list, met) in lists.zip(met) {
            *met = self.climbed(list, *met, level);
        }
    }
}

impl Sum {
    fn of(sums: impl Iterator<Item = Sum>) -> Sum {
        sums.fold(Sum::default(), |all, one| Sum {
            met: all.met + one.met,
            limited: all.limited + one.limited,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Sorter;

    #[test]
    fn ratios_that_differ_in_the_lower_half_only_are_in_order() {
        let ratio = |upper: u64, lower: u64| (upper << 32 | lower, lower as f64);
        let mut keys = [
            ratio(2, 1),
            ratio(1, 9),
            ratio(1, 3),
            ratio(2, 0),
            ratio(1, 3),
        ];
        Sorter::default().sort(&mut keys);
        let sorted = [
            ratio(1, 3),
            ratio(1, 3),
            ratio(1, 9),
            ratio(2, 0),
            ratio(2, 1),
        ];
        assert_eq!(keys, sorted);
    }
}
