// SPDX-License-Identifier: GPL-2.0-only
//! How good plans are, against the bounds that hold for every plan.
//! Never judges by anything the planner claims but its bounds.

use scx_ballast::ids::DomainId;
use scx_ballast::load_balance::{Config, Plan, Snapshot, plan};

/// What plans on some instances add up to.
#[derive(Clone, Debug, Default)]
pub struct Quality {
    pub moves: usize,
    /// Fewest that any plan as good would have made.
    pub moves_min: usize,
    /// CPUs of entitlement that crossed nodes.
    pub crossed: f64,
    /// Least that any plan as good would have made cross.
    pub cross_min: f64,
    /// Of each instance: the load of the most crowded domain by its capacity,
    /// against the least that can be, which is that of the whole machine.
    pub crowding: Vec<f64>,
}

impl Quality {
    /// Plans once on each, without bounds on what one plan may do.
    pub fn of(instances: &[Snapshot]) -> Quality {
        let config = Config {
            max_moves: usize::MAX,
            cross_node_part: 1.0,
            ..Config::default()
        };
        let mut quality = Quality::default();
        for snapshot in instances {
            quality.add(snapshot, &plan(snapshot, &config));
        }
        quality.crowding.sort_by(f64::total_cmp);
        quality
    }

    fn add(&mut self, snapshot: &Snapshot, plan: &Plan) {
        let node = |domain: DomainId| snapshot.domains[domain.index()].node;
        let crossing = plan.moves.iter().filter(|mv| node(mv.from) != node(mv.to));
        self.crossed += crossing.map(|mv| mv.entitlement).sum::<f64>();
        self.cross_min += plan.certificate.cross_node_min;
        self.moves += plan.moves.len();
        self.moves_min += plan.certificate.moves_min;
        let owed: f64 = plan.entitlements.iter().sum();
        let capacity: f64 = plan.domains.iter().map(|domain| domain.capacity).sum();
        let crowding = |load: f64, of: f64| load / of / (owed / capacity);
        let domains = plan.domains.iter();
        let worst = domains
            .map(|domain| crowding(domain.after, domain.capacity))
            .fold(0.0, f64::max);
        self.crowding.push(worst);
    }

    pub fn worst_crowding(&self) -> f64 {
        self.crowding.last().copied().unwrap_or(1.0)
    }

    pub fn median_crowding(&self) -> f64 {
        let middle = self.crowding.len() / 2;
        self.crowding.get(middle).copied().unwrap_or(1.0)
    }

    pub fn moves_ratio(&self) -> f64 {
        self.moves as f64 / self.moves_min.max(1) as f64
    }

    /// 1 where nothing had to cross and nothing did.
    pub fn cross_ratio(&self) -> f64 {
        if self.cross_min > 0.0 {
            self.crossed / self.cross_min
        } else {
            1.0 + self.crossed
        }
    }
}
