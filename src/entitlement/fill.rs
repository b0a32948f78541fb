// SPDX-License-Identifier: GPL-2.0-only
//! The water-fill: one capacity shared among claims, in linear time.
//! Never knows CPUs, masks or groups.

use std::ops::RangeInclusive;

/// Weights outside of this are not weights: with them the level would leave
/// the range of an f64. The kernel's go from 1.46 to 10000.
const WEIGHTS: RangeInclusive<f64> = 1e-100..=1e100;

/// Demands are at most this, for the same reason.
const MOST_DEMAND: f64 = 1e100;

/// One claim on the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Weight, nice 0 = 100. Must be finite and above 0 (more exactly, from
    /// 1e-100 to 1e100); a claim whose weight is not gets nothing.
    pub weight: f64,
    /// CPUs the claimant could use, finite and >= 0 (a thread: at most 1). A
    /// claim whose demand is not gets nothing.
    pub demand: f64,
}

impl Claim {
    /// A claim that gets nothing and wants nothing.
    pub(super) const NONE: Claim = Claim {
        weight: 1.0,
        demand: 0.0,
    };

    /// The claim, or one that wants nothing if its numbers make no sense.
    pub(crate) fn sane(self) -> Claim {
        let sane = WEIGHTS.contains(&self.weight) && (0.0..=MOST_DEMAND).contains(&self.demand);
        if sane { self } else { Claim::NONE }
    }
}

/// The outcome for the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fill {
    /// λ, in CPUs per unit of weight. `f64::INFINITY` if nobody is limited.
    pub level: f64,
    /// Σ of the entitlements, in CPUs.
    pub total: f64,
}

impl Fill {
    /// Whether somebody gets less than it could use.
    pub fn is_limited(&self) -> bool {
        self.level.is_finite()
    }
}

/// Solves claims and keeps its scratch memory from round to round.
#[derive(Debug, Default)]
pub struct Filler {
    /// The claims of which it is not known yet whether the level meets them.
    undecided: Vec<Undecided>,
}

/// A claim by the level that would meet it.
#[derive(Clone, Copy, Debug)]
struct Undecided {
    ratio: f64,
    weight: f64,
}

impl Filler {
    /// Writes `entitlements[i]` for `claims[i]` and returns the level. Exact up
    /// to rounding and O(n). The same claims in another order get the same up
    /// to rounding. A capacity (CPUs) that is not above 0 gives everybody 0.
    pub fn fill(&mut self, claims: &[Claim], capacity: f64, entitlements: &mut Vec<f64>) -> Fill {
        let sane = claims.iter().map(|claim| claim.sane());
        let fill = self.level(sane.clone(), capacity);
        entitlements.clear();
        entitlements.extend(sane.map(|claim| entitlement(claim, fill.level)));
        fill
    }

    /// The level for sane claims, without the entitlements.
    pub(crate) fn level<I>(&mut self, claims: I, capacity: f64) -> Fill
    where
        I: Iterator<Item = Claim> + Clone,
    {
        let capacity = if capacity > 0.0 { capacity } else { 0.0 };
        let (mut demand, mut count) = (0.0, 0u32);
        for claim in claims.clone() {
            demand += claim.demand;
            count += 1;
        }
        // A sum that exceeds the capacity by its own rounding limits nobody.
        let rounding = capacity * f64::EPSILON * f64::from(count);
        let unlimited = Fill {
            level: f64::INFINITY,
            total: demand,
        };
        if demand <= capacity + rounding {
            return unlimited;
        }
        let weight = self.collect(claims.clone());
        let met = search(&mut self.undecided, weight, capacity);
        // The sums of the search depend on how it went. These do not.
        let (mut used, mut weight) = (0.0, 0.0);
        for claim in claims {
            let is_met = ratio(claim) <= met;
            used += if is_met { claim.demand } else { 0.0 };
            weight += if is_met { 0.0 } else { claim.weight };
        }
        if weight == 0.0 {
            return unlimited;
        }
        let left = (capacity - used).max(0.0);
        Fill {
            level: left / weight,
            total: used + left,
        }
    }

    /// Makes all claims undecided. Returns the sum of their weights.
    fn collect(&mut self, claims: impl Iterator<Item = Claim>) -> f64 {
        let mut weight = 0.0;
        self.undecided.clear();
        self.undecided.extend(claims.map(|claim| {
            weight += claim.weight;
            Undecided {
                ratio: ratio(claim),
                weight: claim.weight,
            }
        }));
        weight
    }
}

/// Steps of `raise` between two of `halve`. It mostly ends within five; the
/// more there are, the more it costs when it does not.
const RAISES: usize = 6;

/// A level that meets the same claims as the one that uses up the capacity.
/// `weight` is that of all.
///
/// In linear time, because every few passes half of the undecided are decided.
/// Only sums of what is decided are kept, and they are only added to: a weight
/// of 8668 that drops out leaves no rounding error on the weights of 1.46 that
/// remain.
fn search(undecided: &mut [Undecided], weight: f64, capacity: f64) -> f64 {
    let mut sums = Sums {
        capacity,
        met: -1.0,
        demand_met: 0.0,
        weight_limited: 0.0,
        weight_undecided: weight,
    };
    let mut undecided = undecided;
    loop {
        for _ in 0..RAISES {
            let before = undecided.len();
            undecided = sums.raise(undecided);
            if undecided.len() == before {
                return sums.met;
            }
        }
        undecided = sums.halve(undecided);
    }
}

/// What is known of the claims that are decided.
struct Sums {
    capacity: f64,
    /// The level is not below this.
    met: f64,
    /// Σ demand of those that the level meets.
    demand_met: f64,
    /// Σ weight of those that it limits.
    weight_limited: f64,
    /// Σ weight of those that are not decided.
    weight_undecided: f64,
}

impl Sums {
    /// If the level limits all that are undecided, it is what is left by their
    /// weight; otherwise it is higher. So those whom that would meet are met.
    /// Returns the others; if they are as many as before, it is the level.
    fn raise<'a>(&mut self, undecided: &'a mut [Undecided]) -> &'a mut [Undecided] {
        let left = (self.capacity - self.demand_met).max(0.0);
        let level = left / (self.weight_limited + self.weight_undecided);
        let (mut kept, mut demand, mut weight) = (0, 0.0, 0.0);
        for at in 0..undecided.len() {
            let claim = undecided[at];
            let is_met = claim.ratio <= level;
            let (met, not_met) = if is_met {
                (claim.weight, 0.0)
            } else {
                (0.0, claim.weight)
            };
            demand += claim.ratio * met;
            weight += not_met;
            // Without a branch, which could not be predicted.
            undecided[kept] = claim;
            kept += usize::from(!is_met);
        }
        self.met = self.met.max(level);
        self.demand_met += demand;
        self.weight_undecided = weight;
        &mut undecided[..kept]
    }

    /// At the level that would just meet the claim in the middle, all claims
    /// together use more than there is, or not: either decides half of them.
    fn halve<'a>(&mut self, undecided: &'a mut [Undecided]) -> &'a mut [Undecided] {
        if undecided.is_empty() {
            return undecided;
        }
        let middle = undecided.len() / 2;
        let (_, &mut pivot, _) =
            undecided.select_nth_unstable_by(middle, |a, b| a.ratio.total_cmp(&b.ratio));
        let (low, high) = undecided.split_at_mut(middle + 1);
        let demand = self.demand_met + low.iter().map(|u| u.ratio * u.weight).sum::<f64>();
        let weight = high.iter().map(|u| u.weight).sum::<f64>();
        if demand + pivot.ratio * (self.weight_limited + weight) <= self.capacity {
            self.met = self.met.max(pivot.ratio);
            (self.demand_met, self.weight_undecided) = (demand, weight);
            return high;
        }
        let low = &mut low[..middle];
        self.weight_limited += weight + pivot.weight;
        self.weight_undecided = low.iter().map(|u| u.weight).sum();
        low
    }
}

/// What a sane claim gets at a level.
pub(super) fn entitlement(claim: Claim, level: f64) -> f64 {
    claim.demand.min(level * claim.weight)
}

/// The level that just meets a sane claim.
pub(super) fn ratio(claim: Claim) -> f64 {
    claim.demand / claim.weight
}

/// Solves once, with fresh scratch memory. See [`Filler::fill`].
pub fn fill(claims: &[Claim], capacity: f64, entitlements: &mut Vec<f64>) -> Fill {
    Filler::default().fill(claims, capacity, entitlements)
}
