// SPDX-License-Identifier: GPL-2.0-only
//! Putting a machine together: CPUs, queues of the kernel, the first events.
//! Never loads the scheduler: see `hotplug`.

use scx_ballast::config::Config;

use super::calendar::Calendar;
use super::cgroups::Cgroups;
use super::cpu::Cpu;
use super::idle::IdleCpus;
use super::queue::QueueIds;
use super::{Event, MAX_LIVE, NONE, Ns, Place, Running, Tally, World};
use crate::bits::CpuBits;
use crate::checks::{Checks, Had, Policy};
use crate::object::Object;
use crate::rng::Stream;
use crate::scenario::Scenario;
use crate::trace::Trace;

/// Process ids of tasks are above this; the daemon's is below.
const FIRST_PID: i32 = 1000;

impl World {
    /// The machine of a scenario, with the scheduler's object and without tasks.
    pub fn new(
        scenario: &Scenario,
        config: &Config,
        object: Object,
        seed: u64,
        trace: Trace,
    ) -> World {
        let topology = &scenario.topology;
        let nr_cpus = topology.nr_cpus();
        let places = places(scenario, config);
        let mut skews = Stream::new(seed, "clocks");
        let mut world = World {
            now: 0,
            end: (scenario.seconds * 1e9) as Ns,
            calendar: Calendar::default(),
            order: 0,
            object,
            idle_task: Box::default(),
            loaded: false,
            bypass: true,
            cpus: (0..nr_cpus)
                .map(|_| Cpu::new(skews.below(scenario.costs.clock_skew_ns + 1)))
                .collect(),
            tasks: Vec::new(),
            free_tasks: Vec::new(),
            queues: Vec::new(),
            queue_ids: QueueIds::default(),
            idle: IdleCpus::new(&places, topology.smt),
            places,
            online: CpuBits::of(nr_cpus, 0..nr_cpus),
            any_cursor: NONE - 1,
            this_cpu: 0,
            running: Running::Nothing,
            op_delay: 0,
            cgroups: Cgroups::new(&scenario.cgroups),
            groups: Vec::new(),
            rings: super::work::Rings::default(),
            costs: scenario.costs.clone(),
            tick_ns: 1_000_000_000 / scenario.costs.tick_hz,
            faults: scenario.faults.clone(),
            workload: Stream::new(seed, "workload"),
            fault_stream: Stream::new(seed, "faults"),
            requeue_stream: Stream::new(seed, "requeues"),
            main: NONE,
            planner: NONE,
            stalled_until: 0,
            steady_from: 0,
            busy_before: Vec::new(),
            restart_due: false,
            next_pid: FIRST_PID,
            peak_live: 0,
            checks: checks(scenario, config),
            trace,
            tally: Tally::default(),
            max_live: MAX_LIVE,
            over: None,
            ejected: None,
            dump: String::new(),
        };
        world.add_global_queues();
        world.plan_groups(scenario.tasks.clone());
        world.plan_faults();
        world.at(0, Event::Sample);
        world
    }
}

/// CPUs are numbered node by node, cache by cache, core by core.
fn places(scenario: &Scenario, config: &Config) -> Vec<Place> {
    let topology = &scenario.topology;
    let per_llc = topology.cores_per_llc * topology.smt;
    let domain = |cpu: u32| {
        let id = scx_ballast::ids::CpuId(cpu);
        config.layout.cpu_domain.get(&id).map_or(NONE, |id| id.0)
    };
    (0..topology.nr_cpus())
        .map(|cpu| Place {
            node: cpu / (per_llc * topology.llcs_per_node),
            llc: cpu / per_llc,
            core: cpu / topology.smt * topology.smt,
            domain: domain(cpu),
        })
        .collect()
}

fn checks(scenario: &Scenario, config: &Config) -> Checks {
    let layout = &config.layout;
    let nr_cpus = scenario.topology.nr_cpus();
    let constants = scx_ballast::kernel::image::Constants::of(config, 0);
    // Two rounds, the one in which it is asked for, and the daemon's own delays.
    const DELAYS_NS: Ns = 500_000_000;
    let mut checks = Checks::new(Policy {
        steal_after_node_ns: config.steal_after_node_ns,
        steal_after_numa_ns: config.steal_after_numa_ns,
        greedy_threshold: config.greedy_threshold,
        greedy_threshold_x_numa: config.greedy_threshold_x_numa,
        heartbeat_timeout_ns: constants.heartbeat_timeout_ns,
        request_bound_ns: 4 * config.interval.as_nanos() as Ns + DELAYS_NS,
        wait_bound_ns: scenario.checks.wait_ms * 1_000_000,
        fifo: config.fifo_sched,
    });
    checks.domain_cpus = vec![CpuBits::empty(nr_cpus); layout.domains.len()];
    checks.domain_node = layout.domains.iter().map(|domain| domain.node.0).collect();
    checks.skew_ns = scenario.costs.clock_skew_ns;
    checks.buried = vec![Had::default(); scenario.tasks.len()];
    for (cpu, domain) in &layout.cpu_domain {
        checks.domain_cpus[domain.index()].set(cpu.0, true);
    }
    checks.leave_out(&scenario.checks.off);
    checks
}
