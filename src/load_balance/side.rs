// SPDX-License-Identifier: GPL-2.0-only
//! What a part of the machine owes against what it should, and what a transfer
//! between two parts would mend. Never knows tasks.

use super::board::LEAST;

/// A domain, or several together, in CPUs.
///
/// A load between floor and capacity is fair. The floor is the capacity of the
/// CPUs that somebody who gets less than he could use could use: those must be
/// full. On a machine where everybody is short it is the whole capacity, where
/// nobody is it is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side {
    pub load: f64,
    pub floor: f64,
    pub capacity: f64,
}

impl Side {
    /// Distance from a fair load.
    pub fn fault(self) -> f64 {
        (self.load - self.capacity)
            .max(self.floor - self.load)
            .max(0.0)
    }

    /// Owed beyond the capacity; negative: room.
    pub fn over(self) -> f64 {
        self.load - self.capacity
    }

    /// What it can take.
    pub fn room(self) -> f64 {
        self.capacity - self.load
    }

    /// What it can give; negative: what it lacks.
    pub fn spare(self) -> f64 {
        self.load - self.floor
    }

    /// With so much more load.
    pub fn plus(self, cpus: f64) -> Side {
        Side {
            load: self.load + cpus,
            ..self
        }
    }

    /// What a part of this should owe, so that all parts are equally far off.
    pub fn target_of(self, part: Side) -> Side {
        let off = if self.load > self.capacity && self.capacity > 0.0 {
            self.load / self.capacity
        } else if self.load < self.floor {
            self.load / self.floor
        } else {
            1.0
        };
        Side {
            floor: part.floor * off,
            capacity: part.capacity * off,
            ..part
        }
    }

    /// The two together.
    pub fn and(self, other: Side) -> Side {
        Side {
            load: self.load + other.load,
            floor: self.floor + other.floor,
            capacity: self.capacity + other.capacity,
        }
    }
}

/// One that gives and one that takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub giver: Side,
    pub taker: Side,
}

impl Exchange {
    /// Half of what the faults of the two shrink by if `share` CPUs go over:
    /// what is mended if one fault makes good the other. Concave in `share`.
    pub fn gain(self, share: f64) -> f64 {
        let before = self.giver.fault() + self.taker.fault();
        let after = self.giver.plus(-share).fault() + self.taker.plus(share).fault();
        0.5 * (before - after)
    }

    /// The least that mends most.
    pub fn fit(self) -> f64 {
        let needed = self.giver.over().max(-self.taker.spare()).max(0.0);
        needed.min(self.giver.spare()).min(self.taker.room())
    }
}

/// Two domains between which something may move, as members of a level and as
/// themselves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    pub from: usize,
    pub to: usize,
    pub members: Exchange,
    pub domains: Exchange,
    /// The members are the domains, held against what their node has to owe:
    /// that may gain where, held against what they have, nothing is lost.
    pub relative: bool,
}

impl Pair {
    /// CPUs put right on the worse level if `share` CPUs go over.
    pub fn gain(&self, share: f64) -> f64 {
        let (members, domains) = (self.members.gain(share), self.domains.gain(share));
        match self.relative && domains >= -LEAST {
            true => members,
            false => members.min(domains),
        }
    }

    /// The most CPUs that overshoot on no side.
    pub fn fit(&self) -> f64 {
        match self.relative {
            true => self.members.fit(),
            false => self.members.fit().min(self.domains.fit()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(load: f64, floor: f64, capacity: f64) -> Side {
        Side {
            load,
            floor,
            capacity,
        }
    }

    #[test]
    fn a_load_between_floor_and_capacity_is_fair() {
        assert_eq!(side(3.0, 2.0, 4.0).fault(), 0.0);
        assert_eq!(side(5.0, 2.0, 4.0).fault(), 1.0);
        assert_eq!(side(0.5, 2.0, 4.0).fault(), 1.5);
    }

    #[test]
    fn where_all_are_short_the_smaller_gap_fits() {
        let exchange = Exchange {
            giver: side(6.0, 4.0, 4.0),
            taker: side(3.0, 4.0, 4.0),
        };
        assert_eq!(exchange.fit(), 1.0);
        assert_eq!(exchange.gain(1.0), 1.0);
        assert_eq!(exchange.gain(2.0), 1.0);
        assert_eq!(exchange.gain(2.5), 0.5);
        assert_eq!(exchange.gain(3.0), 0.0);
        assert!(exchange.gain(3.5) < 0.0);
    }

    #[test]
    fn where_nobody_is_short_only_the_excess_goes() {
        let exchange = Exchange {
            giver: side(5.0, 0.0, 4.0),
            taker: side(1.0, 0.0, 4.0),
        };
        assert_eq!(exchange.fit(), 1.0);
        assert_eq!(exchange.gain(1.0), exchange.gain(2.5));
        assert!(exchange.gain(0.5) < exchange.gain(1.0));
    }

    #[test]
    fn what_brings_domains_of_a_node_together_must_not_cost_the_machine() {
        // A node that owes a tenth too much; 0.35 from the small to the large
        // domain evens them out, and makes both worse than they are.
        let (small, large) = (side(1.2, 1.0, 1.0), side(10.7, 10.0, 10.0));
        let node = small.and(large);
        let pair = Pair {
            from: 0,
            to: 1,
            members: Exchange {
                giver: node.target_of(small),
                taker: node.target_of(large),
            },
            domains: Exchange {
                giver: small,
                taker: large,
            },
            relative: true,
        };
        assert!(pair.members.gain(0.35) < pair.members.gain(0.1));
        assert!(pair.gain(0.1) > 0.0);
        assert!(pair.gain(0.35) < 0.0);
    }
}
