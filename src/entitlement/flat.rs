// SPDX-License-Identifier: GPL-2.0-only
//! One group, confined to several sets of CPUs: the tree is not worth building.
//! Never decides a level.

use super::fill::entitlement;
use super::units::{NOTICEABLE, cpus, units};
use super::{Entitlements, Method, Problem, Solver, root_quota};

impl Solver {
    /// One group and any masks.
    pub(super) fn solve_flat(&mut self, problem: &Problem<'_>, out: &mut Entitlements) {
        let Solver {
            classes, confined, ..
        } = self;
        confined.build_flat(problem, classes);
        let quota = root_quota(problem);
        let demand = confined.demand().min(units(quota));
        let most = confined.most_flat();
        let level = confined.split_flat(most.min(demand));
        // What there would be if no mask stood in the way.
        let reached = classes.reached_capacity;
        out.method = match () {
            _ if reached + NOTICEABLE < cpus(demand) && !classes.all_reached => Method::Flow,
            _ if confined.falls_short(most, units(reached).min(demand)) => Method::Flow,
            _ => Method::Fill,
        };
        out.level = level;
        let is_short = cpus(most) + NOTICEABLE < cpus(demand);
        let hungry = &mut self.payout.hungry;
        confined.write_levels(&mut self.levels);
        hungry.clear();
        hungry.resize(classes.sets().masks + classes.capacity.len(), false);
        let levels = &self.levels;
        let level_of = |class: u32| levels.get(class as usize).copied().unwrap_or(0.0);
        let classes = &*classes;
        // Every level is written below.
        out.levels.resize(problem.tasks.len(), 0.0);
        out.shares.clear();
        let tasks = problem.tasks.iter().zip(&mut out.levels);
        out.shares.extend(tasks.map(|(task, level)| {
            let (class, claim) = (classes.of(task.mask), task.claim().sane());
            *level = level_of(class);
            let share = entitlement(claim, *level);
            if is_short && let Some(hungry) = hungry.get_mut(class as usize) {
                *hungry |= share + NOTICEABLE < claim.demand;
            }
            share
        }));
        self.find_wanted(true, problem.cpus.len(), out);
    }
}
