// SPDX-License-Identifier: GPL-2.0-only
//! The always-on checks: their names, what they found, what they compare with.
//! Never changes what is checked.

mod look;

use crate::bits::CpuBits;
use crate::engine::Ns;
use crate::engine::masks::Masks;
use crate::engine::task::{State, Task, Truth, Where};
use scx_ballast::abi::{self, ballast_row};

/// A rule that is looked at in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The kernel has not ejected the scheduler.
    Kernel,
    /// Every request to move a task ends in time, and as what it was.
    Requests,
    /// No task runs where it may not, or waits where only others could take it.
    Affinity,
    /// No CPU idles while a task it may run has waited for longer than the bound.
    WorkConservation,
    /// No wait comes near what the kernel's watchdog allows.
    Watchdog,
    /// A task keeps its lag when it changes queues, and none falls behind for good.
    Lag,
    /// Rows say what happened, sums of members are those of their domain.
    Rows,
    /// Under a steady load moves stop, and groups get their shares.
    Settle,
    /// Tasks cross caches and nodes only as the policy allows.
    Crossings,
    /// A callback leaves no RCU section open and no mask unowned.
    Resources,
    /// A request made for a row's former task has no effect.
    Stale,
    /// A daemon that has fallen silent is noticed, one that has not is not.
    Heartbeat,
    /// A CPU that is to go offline is let go.
    Hotplug,
}

impl Check {
    /// All of them.
    pub const ALL: [Check; 13] = [
        Check::Kernel,
        Check::Requests,
        Check::Affinity,
        Check::WorkConservation,
        Check::Watchdog,
        Check::Lag,
        Check::Rows,
        Check::Settle,
        Check::Crossings,
        Check::Resources,
        Check::Stale,
        Check::Heartbeat,
        Check::Hotplug,
    ];

    /// Its name, in messages and in `checks.off`.
    pub fn name(self) -> &'static str {
        match self {
            Check::Kernel => "kernel",
            Check::Requests => "requests",
            Check::Affinity => "affinity",
            Check::WorkConservation => "work-conservation",
            Check::Watchdog => "watchdog",
            Check::Lag => "lag",
            Check::Rows => "rows",
            Check::Settle => "settle",
            Check::Crossings => "crossings",
            Check::Resources => "resources",
            Check::Stale => "stale",
            Check::Heartbeat => "heartbeat",
            Check::Hotplug => "hotplug",
        }
    }
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Which.
    pub check: Check,
    /// When, in ns.
    pub at: Ns,
    /// What was seen.
    pub text: String,
}

/// What the flags of the scheduler promise, for the checks to hold it to.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// As the flags of the same names.
    pub steal_after_node_ns: Ns,
    /// Likewise.
    pub steal_after_numa_ns: Ns,
    /// Likewise; 0: no stealing.
    pub greedy_threshold: u32,
    /// Likewise.
    pub greedy_threshold_x_numa: u32,
    /// A daemon is lost after this.
    pub heartbeat_timeout_ns: Ns,
    /// A request that stands for longer than this was forgotten.
    pub request_bound_ns: Ns,
    /// No task waits for longer.
    pub wait_bound_ns: Ns,
    /// Queues are in order of arrival.
    pub fifo: bool,
}

/// The most failures of one check that are kept: more say nothing new.
const KEPT: usize = 5;

/// What the checks know and have found.
#[derive(Default)]
pub struct Checks {
    /// Failures, in order of time.
    pub failures: Vec<Failure>,
    counts: [u64; Check::ALL.len()],
    off: Vec<Check>,
    /// The promises.
    pub policy: Policy,
    /// The CPUs of each domain.
    pub domain_cpus: Vec<CpuBits>,
    /// The node of each domain.
    pub domain_node: Vec<u32>,
    /// Masks of tasks, which stay where they are.
    pub masks: Masks,
    /// When the daemon last beat.
    pub last_beat: Ns,
    /// Since when the daemon has not been held up by a fault.
    pub daemon_free_since: Ns,
    /// A stale request that a task has begun to run with.
    pub standing: Option<(u32, u64)>,
    /// Largest error that clocks can put into a sum, in ns for each change of state.
    pub skew_ns: Ns,
    /// What tasks of each group had that have ended, in the judged time.
    pub buried: Vec<Had>,
}

/// What tasks had in the judged time, besides time: see `GroupOutcome`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Had {
    /// Work done, in ns.
    pub work_ns: Ns,
    /// Bursts completed.
    pub bursts: u64,
    /// The longest wait.
    pub longest_wait_ns: Ns,
}

impl Had {
    /// Adds what one more task had.
    pub fn add(&mut self, truth: &Truth) {
        self.work_ns += truth.work_ns - truth.work_before_ns;
        self.bursts += truth.bursts;
        self.longest_wait_ns = self.longest_wait_ns.max(truth.longest_wait_ns);
    }
}

impl Checks {
    /// Checks that hold the scheduler to these promises, and have found nothing yet.
    pub fn new(policy: Policy) -> Checks {
        Checks {
            policy,
            ..Checks::default()
        }
    }

    /// Leaves out the checks of these names.
    pub fn leave_out(&mut self, names: &[String]) {
        let named = |check: &Check| names.iter().any(|name| name == check.name());
        self.off = Check::ALL.into_iter().filter(named).collect();
    }

    /// Notes that a rule was broken.
    pub fn fail(&mut self, check: Check, at: Ns, text: String) {
        if self.off.contains(&check) {
            return;
        }
        self.counts[check as usize] += 1;
        if self.counts[check as usize] <= KEPT as u64 {
            self.failures.push(Failure { check, at, text });
        }
    }

    /// How often a rule was broken.
    pub fn count(&self, check: Check) -> u64 {
        self.counts[check as usize]
    }

    /// Whether every rule was kept.
    pub fn all_kept(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    /// What a task that ends had is added to its group's.
    pub fn bury(&mut self, task: &Task) {
        if let Some(group) = task.role.group()
            && let Some(sums) = self.buried.get_mut(group as usize)
        {
            sums.add(&task.truth);
        }
    }

    /// How a row differs from the truth at `now`, up to which its sums have been
    /// brought; `None`: it does not.
    pub fn compare(&self, task: &Task, now: Ns, slot: u32, row: &ballast_row) -> Option<String> {
        let c = task.c();
        if row.generation.is_multiple_of(2) || row.pid != c.pid as u32 {
            return Some(format!("row {slot} is not that of pid {}", c.pid));
        }
        let weight = nice_weight(c.static_prio - 120);
        if row.weight != weight {
            let nice = c.static_prio - 120;
            return Some(format!(
                "pid {}: weight {} at nice {nice}, which is {weight}",
                c.pid, row.weight
            ));
        }
        // Another's is read when it is put into a queue, or else when it runs.
        let is_read = match task.state {
            State::Running => true,
            State::Queued => task.was_placed && matches!(task.place, Where::Shared { .. }),
            _ => false,
        };
        let cgroup = crate::engine::cgroups::id_of(task.cgroup);
        if is_read && row.cgroup != cgroup {
            return Some(format!(
                "pid {}: control group {}, it is in {cgroup}",
                c.pid, row.cgroup
            ));
        }
        let truth = task.truth_at(now);
        let slack = self.skew_ns * (truth.changes + 1);
        for (name, says, is) in [
            ("run", row.run_ns, truth.run_ns),
            ("wait", row.wait_ns, truth.wait_ns),
            ("sleep", row.sleep_ns, truth.sleep_ns),
        ] {
            if says.abs_diff(is) > slack {
                return Some(format!(
                    "pid {}: the row says {says} ns of {name}, it was {is}",
                    c.pid
                ));
            }
        }
        let state = match task.state {
            State::Running => abi::ballast_state_BALLAST_RUN,
            _ if task.waits() => abi::ballast_state_BALLAST_WAIT,
            _ => abi::ballast_state_BALLAST_SLEEP,
        };
        let says = row.since_state & ((1 << abi::ballast_state_BALLAST_STATE_BITS) - 1);
        (says != u64::from(state)).then(|| format!("pid {}: state {says}, it is {state}", c.pid))
    }
}

/// The kernel's weights, from its formula: each level is worth 1.25 of the next,
/// nice 0 is 1024. The table that the kernel (and src/bpf) have differs by rounding,
/// so this one is a copy from kernel/sched/core.c.
fn nice_weight(nice: i32) -> u32 {
    const WEIGHTS: [u32; 40] = [
        88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100,
        4904, 3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172,
        137, 110, 87, 70, 56, 45, 36, 29, 23, 18, 15,
    ];
    usize::try_from(nice + 20)
        .ok()
        .and_then(|index| WEIGHTS.get(index))
        .copied()
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_follow_the_formula() {
        for nice in -20..20 {
            let formula = 1024.0 / 1.25f64.powi(nice);
            let error = (f64::from(nice_weight(nice)) / formula - 1.0).abs();
            assert!(error < 0.05, "nice {nice}");
        }
    }

    #[test]
    fn a_check_that_is_off_does_not_fail() {
        let mut checks = Checks::default();
        checks.leave_out(&["rows".to_owned()]);
        checks.fail(Check::Rows, 1, "no".to_owned());
        assert!(checks.all_kept());
        for _ in 0..10 {
            checks.fail(Check::Lag, 1, "yes".to_owned());
        }
        assert_eq!(
            (checks.failures.len(), checks.count(Check::Lag)),
            (KEPT, 10)
        );
    }
}
