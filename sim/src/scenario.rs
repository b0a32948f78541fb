// SPDX-License-Identifier: GPL-2.0-only
//! What happens in a run: machine, tasks, faults, costs, checks, as a TOML file says.
//! Never runs anything, and never lets through what the engine could not run.

pub mod keys;
mod read;

use serde::{Deserialize, Serialize};

pub use read::{parse, validate};

/// One scenario.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// Simulated time, in seconds.
    pub seconds: f64,
    /// The seed, unless the command line gives one.
    #[serde(default = "one")]
    pub seed: u64,
    /// Flags of `scx_ballast`, as typed.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Who plans the moves.
    #[serde(default)]
    pub balancer: Balancer,
    /// Run it with the other balancers too, and compare.
    #[serde(default)]
    pub baselines: bool,
    /// The machine.
    #[serde(default)]
    pub topology: Topology,
    /// What things cost.
    #[serde(default)]
    pub costs: Costs,
    /// Control groups; the root is always there.
    #[serde(default)]
    pub cgroups: Vec<Cgroup>,
    /// Groups of like tasks.
    #[serde(default)]
    pub tasks: Vec<TaskGroup>,
    /// What goes wrong.
    #[serde(default)]
    pub faults: Faults,
    /// What is looked at, and how strictly.
    #[serde(default)]
    pub checks: CheckConfig,
}

fn one() -> u64 {
    1
}

/// Who plans the moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Balancer {
    /// The planner that ships.
    #[default]
    Ballast,
    /// Nobody: tasks change domains by wake-ups and stealing only.
    Null,
    /// The balancer of scx_rusty, from its published description.
    Rusty,
}

impl Balancer {
    /// All of them, ours first.
    pub const ALL: [Balancer; 3] = [Balancer::Ballast, Balancer::Null, Balancer::Rusty];

    /// Its name in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Balancer::Ballast => "ballast",
            Balancer::Null => "null",
            Balancer::Rusty => "rusty",
        }
    }
}

/// The machine: the same number of everything everywhere.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Topology {
    /// NUMA nodes.
    pub nodes: u32,
    /// Last-level caches of a node.
    pub llcs_per_node: u32,
    /// Cores that share a last-level cache.
    pub cores_per_llc: u32,
    /// Hardware threads of a core.
    pub smt: u32,
    /// SLIT distances, a row a node; empty: 10 and 21.
    pub distances: Vec<Vec<u32>>,
}

impl Default for Topology {
    fn default() -> Self {
        Topology {
            nodes: 2,
            llcs_per_node: 1,
            cores_per_llc: 4,
            smt: 1,
            distances: Vec::new(),
        }
    }
}

impl Topology {
    /// CPUs of the machine.
    pub fn nr_cpus(&self) -> u32 {
        self.nodes * self.llcs_per_node * self.cores_per_llc * self.smt
    }
}

/// What things cost. Defaults are round numbers of the order measured on servers
/// of two sockets; a scenario that depends on them should give its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Costs {
    /// A context switch, in ns.
    pub switch_ns: u64,
    /// From sending an interrupt to another CPU until it acts, in ns.
    pub ipi_ns: u64,
    /// Work lost to cold caches by a task that begins on another last-level cache, in ns.
    pub llc_migration_ns: u64,
    /// The same on another node.
    pub node_migration_ns: u64,
    /// How much longer work takes while away from the node of its memory, in percent.
    pub remote_slowdown_pct: u64,
    /// How long one operation holds the lock of a shared queue, in ns; those that
    /// come meanwhile wait in turn.
    pub queue_lock_ns: u64,
    /// Clocks of CPUs differ by up to this, in ns.
    pub clock_skew_ns: u64,
    /// Timer ticks a second (CONFIG_HZ).
    pub tick_hz: u64,
}

impl Default for Costs {
    fn default() -> Self {
        Costs {
            switch_ns: 1_000,
            ipi_ns: 1_000,
            llc_migration_ns: 20_000,
            node_migration_ns: 100_000,
            remote_slowdown_pct: 30,
            queue_lock_ns: 100,
            clock_skew_ns: 0,
            tick_hz: 250,
        }
    }
}

/// A control group with the cpu controller.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Cgroup {
    /// Its path from the root; those around it have to be declared before.
    pub path: String,
    /// What its `cpu.weight` says.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// What its `cpu.max` says, in CPUs; unset: no limit.
    #[serde(default)]
    pub quota: Option<f64>,
}

fn default_weight() -> u32 {
    100
}

/// Like tasks.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TaskGroup {
    /// What the group is called.
    pub name: String,
    /// How many tasks.
    #[serde(default = "one_task")]
    pub count: u32,
    /// Nice level, −20 to 19.
    #[serde(default)]
    pub nice: i32,
    /// What each does.
    pub work: Work,
    /// The CPUs they may use, as a list; unset: all.
    #[serde(default)]
    pub cpus: Option<String>,
    /// Each is pinned to one of `cpus`, in turn.
    #[serde(default)]
    pub pinned: bool,
    /// Where they are born, in turn; unset: anywhere in `cpus`, in turn.
    #[serde(default)]
    pub start_on: Option<String>,
    /// The node of their memory; unset: where they first run.
    #[serde(default)]
    pub memory_node: Option<u32>,
    /// When they are born, in seconds.
    #[serde(default)]
    pub start_s: f64,
    /// When they end; unset: not.
    #[serde(default)]
    pub stop_s: Option<f64>,
    /// The path of their control group; unset: the root.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// They are threads of one process; else each is its own.
    #[serde(default)]
    pub one_process: bool,
    /// They are kernel threads.
    #[serde(default)]
    pub kthread: bool,
}

fn one_task() -> u32 {
    1
}

/// What a task does.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Work {
    /// Uses all it gets.
    Spin {},
    /// Runs, then sleeps, then runs: sleeping begins when the work is done.
    Periodic {
        /// Work of a burst, in µs.
        run_us: u64,
        /// Sleep after it, in µs.
        sleep_us: u64,
        /// Both vary by up to this, in percent.
        #[serde(default)]
        jitter_pct: u64,
    },
    /// Requests arrive at random, whether or not the last one is done.
    Server {
        /// Requests a second, for each task.
        per_second: f64,
        /// Work of each, in µs.
        service_us: u64,
    },
    /// The tasks of the group form a ring: each works, wakes the next, and sleeps.
    Ring {
        /// How many of them are awake at a time.
        #[serde(default = "one_task")]
        tokens: u32,
        /// Work before waking the next, in µs.
        run_us: u64,
        /// The waker tells the scheduler that it will sleep.
        #[serde(default)]
        sync: bool,
        /// Work of the last of them after waking the first, before it sleeps, in µs.
        #[serde(default)]
        goes_on_us: u64,
    },
    /// Each task forks short-lived ones.
    Forks {
        /// Forks a second, for each task.
        per_second: f64,
        /// Work of each child, in µs.
        life_us: u64,
    },
}

impl Work {
    /// The same for tasks that wait for a CPU for so long before each burst. Sleep
    /// begins when the work is done, so waiting takes from what they can use.
    pub fn demand_after(&self, wait_us: u64) -> Option<f64> {
        match self {
            Work::Periodic {
                run_us, sleep_us, ..
            } => Some(*run_us as f64 / (run_us + sleep_us + wait_us) as f64),
            other => other.demand(),
        }
    }

    /// CPUs one task could use if nobody were in its way; `None`: it depends on others.
    pub fn demand(&self) -> Option<f64> {
        match self {
            Work::Spin {} => Some(1.0),
            Work::Periodic {
                run_us, sleep_us, ..
            } => Some(*run_us as f64 / (run_us + sleep_us) as f64),
            Work::Server {
                per_second,
                service_us,
            } => Some((per_second * *service_us as f64 / 1e6).min(1.0)),
            Work::Ring { .. } | Work::Forks { .. } => None,
        }
    }
}

/// What goes wrong, and until when.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Nothing goes wrong after this, in seconds; unset: until the end.
    pub until_s: Option<f64>,
    /// CPUs that go offline and come back a while later, a second.
    pub hotplug_per_s: f64,
    /// Changes of affinity a second; each is undone a while later.
    pub affinity_per_s: f64,
    /// Changes of nice a second; each is undone a while later.
    pub weight_per_s: f64,
    /// Changes of control group a second; each is undone a while later.
    pub regroup_per_s: f64,
    /// Times a second that a CPU is taken by a class above ours, for 1 to 20 ms.
    pub rt_per_s: f64,
    /// Times a second that a task's migration is disabled, for up to 20 ms.
    pub migration_disabled_per_s: f64,
    /// Share of kicks that come up to 2 ms late.
    pub late_kicks: f64,
    /// Share of kicks that never come.
    pub lost_kicks: f64,
    /// Share of rows that the daemon meets half written.
    pub torn_rows: f64,
    /// Requests a second that come from a daemon who took the row for another task's.
    pub stale_requests_per_s: f64,
    /// Share of allocations that fail.
    pub failed_allocations: f64,
    /// Share of tasks that queue anew while somebody means to move them.
    pub requeues: f64,
    /// The daemon stands still: when, in seconds.
    pub stall_at_s: Option<f64>,
    /// For how long.
    pub stall_for_s: f64,
    /// The daemon is killed and started again: when, in seconds.
    pub restart_at_s: Option<f64>,
}

impl Faults {
    /// Whether there are none.
    pub fn is_quiet(&self) -> bool {
        let rates = [
            self.hotplug_per_s,
            self.affinity_per_s,
            self.weight_per_s,
            self.regroup_per_s,
            self.rt_per_s,
            self.migration_disabled_per_s,
            self.late_kicks,
            self.lost_kicks,
            self.torn_rows,
            self.stale_requests_per_s,
            self.failed_allocations,
            self.requeues,
        ];
        rates.iter().all(|&rate| rate == 0.0)
            && self.stall_at_s.is_none()
            && self.restart_at_s.is_none()
    }
}

/// What is checked beyond what always holds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckConfig {
    /// From here on the load is steady: shares, lag and moves are judged. Unset: not.
    pub steady_from_s: Option<f64>,
    /// How far a task may be behind or ahead of its entitlement, summed over the
    /// steady time, in ms.
    pub lag_ms: f64,
    /// How far a group may be from its entitlement on average, in CPUs a task.
    pub share: Option<f64>,
    /// Moves that the balancer may still ask for in each steady round, on average.
    pub moves_per_round: f64,
    /// Longest wait of any task, in ms.
    pub wait_ms: u64,
    /// Checks left out, by name.
    pub off: Vec<String>,
}

impl Default for CheckConfig {
    fn default() -> Self {
        CheckConfig {
            steady_from_s: None,
            lag_ms: 600.0,
            share: None,
            moves_per_round: 1.0,
            // Half of what the kernel's watchdog allows at most.
            wait_ms: 15_000,
            off: Vec::new(),
        }
    }
}
