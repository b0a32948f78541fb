// SPDX-License-Identifier: GPL-2.0-only
//! Claims by the level that meets them, with sums, so that what many get together
//! at a level takes few looks.
//! Never knows who claims.

use std::ops::Range;

use super::fill::{Claim, ratio};

/// Claims in a bucket, about: few enough that to sort it is next to nothing.
const BUCKET: usize = 16;

/// Buckets of a list, at most: what they know should stay in the cache while claims
/// are spread over them.
const MOST_BUCKETS: usize = 4096;

/// Lists of claims. Each is spread over buckets by level, in linear time, and a
/// bucket is sorted once a level in it is tried: that is so for few of them.
#[derive(Debug, Default)]
pub(super) struct Ladder {
    lists: Vec<List>,
    buckets: Vec<Bucket>,
    /// Claims by list and by bucket.
    keys: Vec<Key>,
    /// The same claims, in the buckets that are sorted.
    rungs: Vec<Rung>,
    /// Keys that are not yet spread, and where the next of each list goes.
    added: Vec<Key>,
    next: Vec<usize>,
}

/// A claim: the bits of the level that just meets it, and its weight. Levels are not
/// below 0, so their bits are in the same order.
#[derive(Clone, Copy, Debug, Default)]
struct Key {
    ratio: u64,
    weight: f64,
}

impl Key {
    fn of(claim: Claim) -> Key {
        Key {
            ratio: ratio(claim).to_bits(),
            weight: claim.weight,
        }
    }

    fn demand(self) -> f64 {
        f64::from_bits(self.ratio) * self.weight
    }
}

#[derive(Clone, Debug)]
struct List {
    buckets: Range<usize>,
    /// Where in `keys` it begins.
    start: usize,
    /// The lowest ratio, as bits.
    lowest: u64,
    /// A ratio's bucket is what its bits are above the lowest's, shifted right by this.
    shift: u32,
    /// The highest ratio.
    highest: f64,
    /// What they get at any level above all ratios, and below.
    above: Sum,
    below: Sum,
}

/// Claims of a list whose ratios are close.
#[derive(Clone, Debug, Default)]
struct Bucket {
    /// Where in `keys` it ends; while claims are spread, where the next one goes.
    end: usize,
    is_sorted: bool,
    /// Σ demand of the claims of the list that come before.
    met: f64,
    /// Σ weight of those that come after.
    limited: f64,
}

/// One claim of a sorted bucket.
#[derive(Clone, Copy, Debug, Default)]
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
    /// Starts over with sane claims, each with the number of its list, which has so
    /// many; those of other numbers are left out.
    pub fn build(&mut self, claims: impl Iterator<Item = (usize, Claim)>, sizes: &[u32]) {
        self.lists.clear();
        self.buckets.clear();
        self.next.clear();
        let mut last = 0;
        for &size in sizes {
            self.next.push(last);
            last += size as usize;
        }
        // Every place is written below.
        self.added.resize(last, Key::default());
        for (list, claim) in claims {
            if let Some(next) = self.next.get_mut(list) {
                self.added[*next] = Key::of(claim);
                *next += 1;
            }
        }
        let mut added = std::mem::take(&mut self.added);
        let mut left = &added[..];
        for &size in sizes {
            let (keys, others) = left.split_at(size as usize);
            self.spread(keys);
            left = others;
        }
        added.clear();
        self.added = added;
    }

    /// Adds a list of these claims, in buckets.
    fn spread(&mut self, added: &[Key]) {
        let start = self.buckets.last().map_or(0, |last| last.end);
        let end = start + added.len();
        if self.keys.len() < end {
            self.keys.resize(end, Key::default());
            self.rungs.resize(end, Rung::default());
        }
        let ratios = added.iter().map(|key| key.ratio);
        let (lowest, highest) = ratios.fold((u64::MAX, 0), |(low, high), ratio| {
            (low.min(ratio), high.max(ratio))
        });
        let count = (added.len() / BUCKET).next_power_of_two().min(MOST_BUCKETS);
        let span = u64::BITS - highest.saturating_sub(lowest).leading_zeros();
        let shift = span.saturating_sub(count.ilog2());
        let first = self.buckets.len();
        self.buckets.resize(first + count, Bucket::default());
        let buckets = &mut self.buckets[first..];
        let bucket_of = |key: &Key| ((key.ratio - lowest) >> shift) as usize;
        for key in added {
            let bucket = &mut buckets[bucket_of(key)];
            bucket.end += 1;
            bucket.met += key.demand();
            bucket.limited += key.weight;
        }
        let (mut place, mut met) = (start, 0.0);
        for bucket in &mut *buckets {
            place += std::mem::replace(&mut bucket.end, place);
            met += std::mem::replace(&mut bucket.met, met);
        }
        let mut limited = 0.0;
        for bucket in buckets.iter_mut().rev() {
            limited += std::mem::replace(&mut bucket.limited, limited);
        }
        for key in added {
            let next = &mut buckets[bucket_of(key)].end;
            self.keys[*next] = *key;
            *next += 1;
        }
        let sum = |met, limited| Sum { met, limited };
        self.lists.push(List {
            buckets: first..first + count,
            start,
            lowest,
            shift,
            highest: f64::from_bits(highest),
            above: sum(met, 0.0),
            below: sum(0.0, limited),
        });
    }

    /// Σ demand of the claims of a list.
    pub fn demand(&self, list: usize) -> f64 {
        self.lists[list].above.met
    }

    /// What the claims of a list get at a level.
    pub fn at(&mut self, list: usize, level: f64) -> Sum {
        let list = &self.lists[list];
        let Some(above) = level.to_bits().checked_sub(list.lowest) else {
            return list.below;
        };
        let bucket = list.buckets.start + (above >> list.shift) as usize;
        if bucket >= list.buckets.end {
            return list.above;
        }
        let begin = match bucket > list.buckets.start {
            true => self.buckets[bucket - 1].end,
            false => list.start,
        };
        let rungs = self.sorted(begin, bucket);
        let met = rungs.partition_point(|rung| rung.ratio <= level);
        let bucket = &self.buckets[bucket];
        let rungs = &self.rungs[begin..bucket.end];
        Sum {
            met: met
                .checked_sub(1)
                .map_or(bucket.met, |last| rungs[last].met),
            limited: rungs.get(met).map_or(bucket.limited, |first| first.limited),
        }
    }

    /// The claims of a bucket, of which the first is at `begin`, in order.
    fn sorted(&mut self, begin: usize, bucket: usize) -> &[Rung] {
        let bucket = &mut self.buckets[bucket];
        let rungs = &mut self.rungs[begin..bucket.end];
        if std::mem::replace(&mut bucket.is_sorted, true) {
            return rungs;
        }
        let keys = &mut self.keys[begin..bucket.end];
        keys.sort_unstable_by_key(|key| key.ratio);
        let (mut met, mut limited) = (bucket.met, bucket.limited);
        for (rung, key) in rungs.iter_mut().zip(&*keys) {
            met += key.demand();
            (rung.ratio, rung.met) = (f64::from_bits(key.ratio), met);
        }
        for (rung, key) in rungs.iter_mut().zip(&*keys).rev() {
            limited += key.weight;
            rung.limited = limited;
        }
        rungs
    }

    /// The level at which the lists get `amount` CPUs together, less than they
    /// could use. It must not be below `low`.
    pub fn level<I>(&mut self, lists: I, amount: f64, mut low: f64) -> f64
    where
        I: Iterator<Item = usize> + Clone,
    {
        let highest = lists.clone().map(|list| self.lists[list].highest);
        let mut high = highest.fold(low, f64::max);
        let mut before = Sum {
            met: -1.0,
            limited: -1.0,
        };
        loop {
            for _ in 0..SLOPES {
                // What is given bends down as the level rises, so that going on
                // straight from below the level never passes it.
                let sum = self.sum_at(lists.clone(), low);
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
            let sum = self.sum_at(lists.clone(), middle);
            if sum.met + middle * sum.limited > amount {
                high = middle;
            } else if middle > low {
                low = middle;
            }
        }
    }

    /// What lists get together at a level.
    fn sum_at(&mut self, lists: impl Iterator<Item = usize>, level: f64) -> Sum {
        lists.fold(Sum::default(), |all, list| {
            let one = self.at(list, level);
            Sum {
                met: all.met + one.met,
                limited: all.limited + one.limited,
            }
        })
    }
}
