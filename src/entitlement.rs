// SPDX-License-Identifier: GPL-2.0-only
//! Entitlements: what each task is owed on the whole machine, in CPUs.
//! Never looks at domains, affinity, the clock or the kernel.
//!
//! The model: c_i = min(d_i, λ·w_i) with Σc = min(P, Σd). If Σd <= P nobody is
//! limited and c = d. Otherwise sort by d/w ascending and walk: the tasks met
//! first need less than the level gives them, so they get their demand; the
//! rest share what is left by weight. With every d = 1 this is the weight
//! readjustment of Surplus Fair Scheduling (Chandra et al., OSDI 2000).

/// One claim on the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Weight, nice 0 = 100. Must be finite and above 0; a claim whose weight
    /// is not gets nothing.
    pub weight: f64,
    /// CPUs the claimant could use, finite and >= 0 (a thread: at most 1). A
    /// claim whose demand is not gets nothing.
    pub demand: f64,
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
    /// (d/w as ordered bits, index of the claim), ascending.
    order: Vec<(u64, u32)>,
    /// Σ weight from this place in `order` to its end.
    weight_from: Vec<f64>,
}

impl Filler {
    /// Writes `entitlements[i]` for `claims[i]` and returns the level. Exact up
    /// to rounding, O(n log n), and independent of the order of the claims to
    /// the last bit. A capacity (CPUs) that is not above 0 gives everybody 0.
    ///
    /// # Panics
    /// With more than `u32::MAX` claims.
    pub fn fill(&mut self, claims: &[Claim], capacity: f64, entitlements: &mut Vec<f64>) -> Fill {
        let capacity = if capacity > 0.0 { capacity } else { 0.0 };
        entitlements.clear();
        entitlements.resize(claims.len(), 0.0);
        self.sort(claims);
        self.sum_weights(claims);
        let demand = self
            .order
            .iter()
            .map(|&(_, index)| claims[index as usize].demand)
            .sum();
        // A sum that exceeds the capacity by its own rounding limits nobody.
        let rounding = capacity * f64::EPSILON * self.order.len() as f64;
        if demand <= capacity + rounding {
            for &(_, index) in &self.order {
                entitlements[index as usize] = claims[index as usize].demand;
            }
            return Fill {
                level: f64::INFINITY,
                total: demand,
            };
        }
        let (met, used) = self.walk(claims, capacity);
        let (met_order, limited_order) = self.order.split_at(met);
        for &(_, index) in met_order {
            entitlements[index as usize] = claims[index as usize].demand;
        }
        let left = (capacity - used).max(0.0);
        let level = left / self.weight_from[met];
        for &(_, index) in limited_order {
            let claim = &claims[index as usize];
            entitlements[index as usize] = claim.demand.min(level * claim.weight);
        }
        Fill {
            level,
            total: used + left,
        }
    }

    /// Orders the valid claims by d/w. Equal ratios are ordered by weight, so
    /// that sums do not depend on the order of the input.
    fn sort(&mut self, claims: &[Claim]) {
        assert!(
            u32::try_from(claims.len()).is_ok(),
            "more claims than a u32 can count"
        );
        self.order.clear();
        self.order.extend(
            (0u32..)
                .zip(claims)
                .filter(|(_, claim)| is_valid(claim))
                .map(
                    // For numbers >= 0 the bits of an f64 sort as the numbers do; adding 0 turns −0 into 0.
                    |(index, claim)| ((claim.demand / claim.weight + 0.0).to_bits(), index),
                ),
        );
        self.order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                let (a, b) = (&claims[a.1 as usize], &claims[b.1 as usize]);
                a.weight
                    .total_cmp(&b.weight)
                    .then(a.demand.total_cmp(&b.demand))
            })
        });
    }

    /// Sums from the end, because subtracting a weight of 8668 from a running
    /// sum would leave its rounding error on the weights of 1.46 that remain.
    fn sum_weights(&mut self, claims: &[Claim]) {
        self.weight_from.clear();
        self.weight_from.resize(self.order.len(), 0.0);
        let mut sum = 0.0;
        for (&(_, index), from) in self.order.iter().zip(&mut self.weight_from).rev() {
            sum += claims[index as usize].weight;
            *from = sum;
        }
    }

    /// How many claims, in order, get their whole demand, and its sum. At most
    /// all but one: the caller has seen that somebody is limited.
    fn walk(&self, claims: &[Claim], capacity: f64) -> (usize, f64) {
        let mut used = 0.0;
        let last = self.order.len() - 1;
        for (place, &(_, index)) in self.order[..last].iter().enumerate() {
            let claim = &claims[index as usize];
            // λ·w <= d, multiplied out to spare a division for each claim.
            if (capacity - used) * claim.weight <= claim.demand * self.weight_from[place] {
                return (place, used);
            }
            used += claim.demand;
        }
        (last, used)
    }
}

/// Solves once, with fresh scratch memory. See [`Filler::fill`].
pub fn fill(claims: &[Claim], capacity: f64, entitlements: &mut Vec<f64>) -> Fill {
    Filler::default().fill(claims, capacity, entitlements)
}

fn is_valid(claim: &Claim) -> bool {
    claim.weight > 0.0
        && claim.weight.is_finite()
        && claim.demand >= 0.0
        && claim.demand.is_finite()
}

#[cfg(test)]
mod tests;
