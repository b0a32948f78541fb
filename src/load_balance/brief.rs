// SPDX-License-Identifier: GPL-2.0-only
//! What a plan asks of every task, close together: tasks are so large that going
//! through them again and again would be a good part of a plan.
//! Never holds what the plan finds out.

use super::Task;
use crate::entitlement::TaskClaim;
use crate::ids::{DomainId, MaskId};

/// A task in brief; see [`Task`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Brief {
    pub lag_ms: f64,
    pub domain: DomainId,
    pub mask: MaskId,
    pub process: u32,
    pub moved_ago_rounds: u32,
    pub movable: bool,
}

/// The tasks of a snapshot in the order of their rows, so that every sum is taken
/// in the same order.
#[derive(Debug, Default)]
pub(super) struct Briefs {
    /// The place of each in the snapshot.
    pub order: Vec<u32>,
    pub claims: Vec<TaskClaim>,
    pub all: Vec<Brief>,
}

impl Briefs {
    /// Reads the tasks of a snapshot, in the memory of an older one.
    ///
    /// # Panics
    /// With more tasks than a u32 can count.
    pub fn update(&mut self, tasks: &[Task]) {
        let count = u32::try_from(tasks.len()).expect("more tasks than a u32 can count");
        self.order.clear();
        self.order.extend(0..count);
        if !tasks.is_sorted_by_key(|task| task.task) {
            self.order
                .sort_unstable_by_key(|&index| tasks[index as usize].task);
        }
        let in_order = || self.order.iter().map(|&index| &tasks[index as usize]);
        self.claims.clear();
        self.claims.extend(in_order().map(|task| TaskClaim {
            weight: task.weight,
            demand: task.demand,
            mask: task.mask,
            group: task.group,
        }));
        self.all.clear();
        self.all.extend(in_order().map(|task| Brief {
            lag_ms: task.lag_ms,
            domain: task.domain,
            mask: task.mask,
            process: task.process,
            moved_ago_rounds: task.moved_ago_rounds,
            movable: task.movable,
        }));
    }
}
