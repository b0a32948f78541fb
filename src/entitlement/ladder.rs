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
    /// The bits of the ratio, and the weight, of each claim.
    keys: Vec<(u64, f64)>,
    /// Where each list begins, and the end of the last.
    start: Vec<usize>,
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
    /// Sorts sane claims, each with the number of its list, below `count`, or
    /// above: then it is left out.
    pub fn build(&mut self, claims: impl Iterator<Item = (usize, Claim)> + Clone, count: usize) {
        self.start.clear();
        self.start.resize(count + 2, 0);
        for (list, _) in claims.clone() {
            if list < count {
                self.start[list + 2] += 1;
            }
        }
        for list in 2..self.start.len() {
            self.start[list] += self.start[list - 1];
        }
        let last = self.start[count + 1];
        self.keys.clear();
        self.keys.resize(last, (0, 0.0));
        for (list, claim) in claims {
            if list < count {
                let next = &mut self.start[list + 1];
                // Ratios are not below 0, so their bits are in the same order.
                self.keys[*next] = (ratio(claim).to_bits(), claim.weight);
                *next += 1;
            }
        }
        self.rungs.clear();
        for list in 0..count {
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
        keys.sort_unstable_by_key(|&(ratio, _)| ratio);
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
        let rungs = &self.rungs[list.clone()];
        let met = rungs.partition_point(|rung| rung.ratio <= level);
        Sum {
            met: met.checked_sub(1).map_or(0.0, |last| rungs[last].met),
            limited: rungs.get(met).map_or(0.0, |first| first.limited),
        }
    }

    /// The level at which the lists get `amount` CPUs together, less than they
    /// could use. It must not be below `low`.
    pub fn level<'a, I>(&self, lists: I, amount: f64, mut low: f64) -> f64
    where
        I: Iterator<Item = &'a Range<usize>> + Clone,
    {
        let at = |level| {
            lists.clone().fold(Sum::default(), |sum, list| {
                let Sum { met, limited } = self.at(list, level);
                Sum {
                    met: sum.met + met,
                    limited: sum.limited + limited,
                }
            })
        };
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
                let sum = at(low);
                if sum.limited == 0.0 {
                    return f64::INFINITY;
                }
                let level = (amount - sum.met).max(0.0) / sum.limited;
                if sum == before || level <= low {
                    return level;
                }
                (before, low) = (sum, level);
            }
            let middle = f64::from_bits(low.to_bits().midpoint(high.to_bits()));
            let sum = at(middle);
            if sum.met + middle * sum.limited <= amount {
                low = low.max(middle);
            } else {
                high = middle;
            }
        }
    }
}
