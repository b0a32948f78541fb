// SPDX-License-Identifier: GPL-2.0-only
//! Many seeds: a random scenario for each, and the smallest one that still fails.
//! Never keeps state between seeds.
//!
//! A random scenario has faults at first and none in the end: the first part shows
//! that nothing breaks, the second that everything comes right again.

mod minimise;

use anyhow::Result;

use crate::object::Defect;
use crate::rng::Stream;
use crate::run::{Options, Outcome, run};
use crate::scenario::{Cgroup, CheckConfig, Costs, Faults, Scenario, TaskGroup, Topology, Work};

pub use minimise::minimise;

/// The scenario of a seed.
pub fn scenario(seed: u64) -> Scenario {
    let mut draw = Draw(Stream::new(seed, "scenario"));
    let topology = draw.topology();
    let seconds = 4.0;
    let mut faults = draw.faults(1.5);
    let mut tasks = draw.tasks(&topology);
    // Numbers of their own: seeds without groups, rings or requeues stay what they were.
    let mut more = Draw(Stream::new(seed, "cgroups"));
    let cgroups = more.cgroups(&topology);
    more.join(&cgroups, &mut tasks, &mut faults);
    Draw(Stream::new(seed, "rings")).linger(&mut tasks);
    faults.requeues = Draw(Stream::new(seed, "requeues")).pick(&[0.0, 0.3]);
    let mut scenario = Scenario {
        name: format!("swarm-{seed}"),
        seconds,
        seed,
        flags: draw.flags(),
        balancer: crate::scenario::Balancer::Ballast,
        baselines: false,
        costs: draw.costs(),
        checks: CheckConfig::default(),
        topology,
        cgroups,
        tasks,
        faults,
    };
    if seed.is_multiple_of(CALM_EVERY) {
        calm(&mut scenario);
    }
    scenario
}

/// Every so many seeds the load is steady once the faults have ended, and shares,
/// lag and moves are judged.
const CALM_EVERY: u64 = 4;

/// Leaves of a scenario what has a steady state: tasks that may run anywhere and whose
/// demand is known, fair queues, and no quotas, which nobody enforces on a machine
/// with room. The longest
/// stall ends 3.7 s after the start; then there are six rounds to come right in.
fn calm(scenario: &mut Scenario) {
    scenario.seconds = 10.0;
    scenario.checks.steady_from_s = Some(7.0);
    // Tasks that do not fit evenly take turns: in 3 s a task is off by some of them.
    // Tasks of nice 19 use the gaps that others leave for less than a switch is worth.
    scenario.checks.lag_ms = 1_800.0;
    // Each last-level cache may have its turn in a round, which moves one task into it.
    let caches = scenario.topology.nodes * scenario.topology.llcs_per_node;
    scenario.checks.moves_per_round = f64::from(caches.max(3));
    for group in &mut scenario.tasks {
        if !matches!(group.work, Work::Spin {} | Work::Periodic { .. }) {
            group.work = Work::Spin {};
        }
        group.stop_s = None;
        (group.cpus, group.pinned, group.kthread) = (None, false, false);
    }
    for cgroup in &mut scenario.cgroups {
        cgroup.quota = None;
    }
    let flags = &mut scenario.flags;
    if flags
        .iter()
        .any(|flag| flag == "--fifo-sched" || flag == "--no-load-balance")
    {
        flags.clear();
    }
    if !flags.iter().any(|flag| flag == "--interval") {
        flags.extend(["--interval", "0.5"].map(str::to_owned));
    }
}

/// Runs the scenario of a seed.
///
/// # Errors
/// See [`run`].
pub fn run_seed(seed: u64, defect: Option<&'static Defect>) -> Result<Outcome> {
    let options = Options {
        defect,
        ..Options::default()
    };
    Ok(run(&scenario(seed), options)?.outcome)
}

struct Draw(Stream);

impl Draw {
    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.0.below(of.len() as u64) as usize]
    }

    fn topology(&mut self) -> Topology {
        let (nodes, llcs, cores, smt) = self.pick(&[
            (2, 1, 4, 1),
            (2, 2, 2, 2),
            (1, 2, 4, 1),
            (4, 1, 2, 1),
            (2, 2, 4, 2),
            (3, 1, 3, 1),
            (2, 1, 1, 1),
        ]);
        Topology {
            nodes,
            llcs_per_node: llcs,
            cores_per_llc: cores,
            smt,
            distances: Vec::new(),
        }
    }

    fn costs(&mut self) -> Costs {
        Costs {
            clock_skew_ns: self.pick(&[0, 0, 200, 5_000]),
            tick_hz: self.pick(&[250, 250, 1000]),
            queue_lock_ns: self.pick(&[100, 500]),
            ..Costs::default()
        }
    }

    fn flags(&mut self) -> Vec<String> {
        let flags: &[&str] = self.pick(&[
            &[][..],
            &[],
            &[],
            &["--interval", "0.2"],
            &["--interval", "0.5", "--load-half-life", "0.3"],
            &["--slice-us-overutil", "1000"],
            &["--fifo-sched"],
            &["--direct-greedy-numa"],
            &["--greedy-threshold", "2", "--greedy-threshold-x-numa", "2"],
            &["--greedy-threshold-x-numa", "0"],
            &["--domain-cpus", "2"],
            &["--no-load-balance"],
            &["--kthreads-local", "false"],
        ]);
        flags.iter().map(|&flag| flag.to_owned()).collect()
    }

    fn tasks(&mut self, topology: &Topology) -> Vec<TaskGroup> {
        let groups = self.0.between(2, 5);
        (0..groups).map(|nth| self.group(nth, topology)).collect()
    }

    fn group(&mut self, nth: u64, topology: &Topology) -> TaskGroup {
        let nr_cpus = topology.nr_cpus();
        let work = self.work();
        let single = matches!(work, Work::Forks { .. });
        let confined = self.0.below(4);
        let first = self.0.below(u64::from(nr_cpus)) as u32;
        let last = self.0.between(u64::from(first), u64::from(nr_cpus) - 1);
        let mut group = TaskGroup {
            name: format!("g{nth}"),
            count: if single {
                1
            } else {
                self.0.between(1, u64::from(nr_cpus)) as u32
            },
            nice: self.pick(&[0, 0, 0, 5, -5, 19, -20, 10]),
            work,
            cpus: (confined == 0).then(|| format!("{first}-{last}")),
            pinned: confined == 1,
            start_on: None,
            memory_node: None,
            start_s: self.pick(&[0.0, 0.0, 0.3]),
            stop_s: self.pick(&[None, None, None, Some(1.2)]),
            cgroup: None,
            one_process: self.0.below(2) == 0,
            kthread: confined == 1 && self.0.below(3) == 0,
        };
        if let Work::Ring { tokens, .. } = &mut group.work {
            group.count = group.count.max(2);
            *tokens = (*tokens).min(group.count);
        }
        if group.cpus.is_none() && !group.pinned && self.0.below(3) == 0 {
            group.start_on = Some(format!("0-{}", nr_cpus / topology.nodes - 1));
        }
        group
    }

    /// None in one of three machines, else a few, some inside others.
    fn cgroups(&mut self, topology: &Topology) -> Vec<Cgroup> {
        const PATHS: [&str; 5] = ["/a", "/a/b", "/a/c", "/d", "/d/e"];
        if self.0.below(3) == 0 {
            return Vec::new();
        }
        let most = f64::from(topology.nr_cpus());
        let cgroup = |path: &&str| Cgroup {
            path: (*path).to_owned(),
            weight: self.pick(&[100, 100, 1, 25, 300, 10_000]),
            quota: self.pick(&[None, None, None, Some(0.05), Some(0.5), Some(most / 2.0)]),
        };
        PATHS.iter().map(cgroup).collect()
    }

    /// Puts tasks into the groups, and some into others for a while.
    fn join(&mut self, cgroups: &[Cgroup], tasks: &mut [TaskGroup], faults: &mut Faults) {
        if cgroups.is_empty() {
            return;
        }
        for group in tasks.iter_mut().filter(|group| !group.kthread) {
            let at = self.0.below(cgroups.len() as u64 + 1) as usize;
            group.cgroup = cgroups.get(at).map(|one| one.path.clone());
        }
        faults.regroup_per_s = self.pick(&[0.0, 0.0, 30.0]);
    }

    fn work(&mut self) -> Work {
        match self.0.below(6) {
            0 | 1 => Work::Spin {},
            2 => Work::Periodic {
                run_us: self.pick(&[50, 500, 3_000, 20_000]),
                sleep_us: self.pick(&[50, 1_000, 10_000]),
                jitter_pct: self.pick(&[0, 20]),
            },
            3 => Work::Server {
                per_second: self.pick(&[50.0, 500.0, 2_000.0]),
                service_us: self.pick(&[50, 300]),
            },
            4 => Work::Ring {
                tokens: self.pick(&[1, 1, 3]),
                run_us: self.pick(&[20, 200]),
                sync: self.0.below(2) == 0,
                goes_on_us: 0,
            },
            _ => Work::Forks {
                per_second: self.pick(&[50.0, 300.0]),
                life_us: self.pick(&[100, 2_000]),
            },
        }
    }

    /// In some rings the last task goes on after it has woken the next.
    fn linger(&mut self, tasks: &mut [TaskGroup]) {
        for group in tasks {
            if let Work::Ring { goes_on_us, .. } = &mut group.work {
                *goes_on_us = self.pick(&[0, 0, 100, 5_000]);
            }
        }
    }

    fn faults(&mut self, until_s: f64) -> Faults {
        let mut rate = |rates: &[f64]| self.pick(rates);
        let mut faults = Faults {
            until_s: Some(until_s),
            hotplug_per_s: rate(&[0.0, 0.0, 4.0]),
            affinity_per_s: rate(&[0.0, 20.0, 200.0]),
            weight_per_s: rate(&[0.0, 20.0]),
            rt_per_s: rate(&[0.0, 0.0, 20.0]),
            migration_disabled_per_s: rate(&[0.0, 50.0]),
            late_kicks: rate(&[0.0, 0.0, 0.1]),
            // No kernel loses one: a scenario of its own asks for it.
            lost_kicks: 0.0,
            torn_rows: rate(&[0.0, 0.1]),
            stale_requests_per_s: rate(&[0.0, 20.0]),
            failed_allocations: rate(&[0.0, 0.0, 0.05]),
            ..Faults::default()
        };
        match self.0.below(6) {
            0 => {
                faults.stall_at_s = Some(0.3);
                faults.stall_for_s = self.pick(&[0.5, 3.4]);
            }
            1 => faults.restart_at_s = Some(0.8),
            _ => (),
        }
        faults
    }
}
