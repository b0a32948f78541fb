// SPDX-License-Identifier: GPL-2.0-only
//! One run: a scenario and a seed in, what came of it out.
//! Never depends on anything else: equal inputs give equal outcomes, to the byte.

mod judge;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use clap::CommandFactory;
use clap::parser::ValueSource;
use scx_ballast::cli::{Cli, Parsed, parse_from};
use scx_ballast::config::Config;
use scx_ballast::ids::{CpuId, NodeId};
use scx_ballast::topology::{Cpu, Machine, Node};
use scx_ballast::usage::UsageError;
use serde::Serialize;

use crate::checks::Check;
use crate::control::Control;
use crate::engine::{MAX_LIVE, Ns, World};
use crate::object::{Defect, Object};
use crate::scenario::{Balancer, Scenario, Topology};
use crate::trace::Trace;

/// What a group of tasks had, in the judged time.
#[derive(Clone, Debug, Serialize)]
pub struct GroupOutcome {
    /// The group.
    pub name: String,
    /// Tasks alive at the end.
    pub tasks: u32,
    /// CPUs a task was owed on average; absent where demand depends on others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entitled: Option<f64>,
    /// CPUs a task had on average.
    pub received: f64,
    /// Work done, in CPUs with warm caches and near memory, all tasks together.
    pub progress: f64,
    /// Bursts of work completed a second, all tasks together.
    pub bursts_per_s: f64,
    /// The longest any task waited, in ms.
    pub longest_wait_ms: f64,
    /// The largest distance of a task from what it was owed, in ms of CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worst_lag_ms: Option<f64>,
}

/// A broken rule, for the report.
#[derive(Clone, Debug, Serialize)]
pub struct FailureOutcome {
    /// The check.
    pub check: &'static str,
    /// When, in seconds.
    pub at_s: f64,
    /// What was seen.
    pub text: String,
}

/// What came of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Who planned.
    pub balancer: &'static str,
    /// Hash of all that happened.
    pub hash: String,
    /// Simulated seconds.
    pub seconds: f64,
    /// CPUs of the machine.
    pub cpus: u32,
    /// Share of CPU time that was not idle, in the judged time.
    pub utilisation: f64,
    /// Root mean square of (received − entitled) / entitled over tasks that use all
    /// they get; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share_error: Option<f64>,
    /// The groups.
    pub groups: Vec<GroupOutcome>,
    /// Rounds of the balancer.
    pub rounds: usize,
    /// Moves it asked for, and how they ended.
    pub moves: Moves,
    /// Events handled.
    pub events: u64,
    /// Context switches.
    pub switches: u64,
    /// Kicks sent.
    pub kicks: u64,
    /// Tasks that began to run on another CPU than before.
    pub cpu_migrations: u64,
    /// Tasks that began to run in another cache, and of those on another node.
    pub llc_migrations: u64,
    /// Likewise.
    pub node_migrations: u64,
    /// Time callbacks waited for locks of queues, in ms.
    pub lock_wait_ms: f64,
    /// How often each check failed; only those that did.
    pub failed: BTreeMap<&'static str, u64>,
    /// The first failures of each.
    pub failures: Vec<FailureOutcome>,
    /// What the scheduler's dump said at the end, if a check failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub dump: String,
}

/// Moves, as the daemon's ledger has them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moves {
    /// Asked for.
    pub requested: u64,
    /// Done.
    pub applied: u64,
    /// Not possible.
    pub refused: u64,
    /// Taken back.
    pub expired: u64,
}

impl Outcome {
    /// Whether every rule was kept.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty()
    }
}

/// A run, and how long it took: the only thing that differs between equal runs.
pub struct Ran {
    /// What came of it.
    pub outcome: Outcome,
    /// Wall time, in seconds.
    pub wall_s: f64,
}

/// How to run.
#[derive(Clone, Copy, Default)]
pub struct Options {
    /// Instead of the scenario's.
    pub seed: Option<u64>,
    /// Instead of the scenario's.
    pub balancer: Option<Balancer>,
    /// A defect to put into the scheduler.
    pub defect: Option<&'static Defect>,
    /// Fewer tasks than [`MAX_LIVE`] may live at once.
    pub max_live: Option<u32>,
}

/// Runs a scenario.
///
/// # Errors
/// Flags that the scheduler refuses, a system without memory, or a [`UsageError`] if
/// the scenario asks for more than memory holds.
pub fn run(scenario: &Scenario, options: Options) -> Result<Ran> {
    traced(scenario, options, None)
}

/// Runs a scenario and writes what happens, for Perfetto.
///
/// # Errors
/// As [`run`], or the trace cannot be written.
pub fn traced(scenario: &Scenario, options: Options, trace: Option<Box<dyn Write>>) -> Result<Ran> {
    let begun = Instant::now();
    let config = config(&scenario.flags, &scenario.topology)?;
    let seed = options.seed.unwrap_or(scenario.seed);
    let balancer = options.balancer.unwrap_or(scenario.balancer);
    let (object, memory) = Object::load(&config, options.defect)?;
    let trace = Trace::new(scenario.topology.nr_cpus() as usize, trace);
    let mut world = World::new(scenario, &config, object, seed, trace);
    world.max_live = options.max_live.unwrap_or(MAX_LIVE);
    let mut control = Control::new(&config, &scenario.cgroups, balancer, options.defect, memory);
    if !world.load() {
        world.eject("init failed".to_owned());
    }
    control.spawn(&mut world);
    if let Some(steady_s) = scenario.checks.steady_from_s {
        world.at((steady_s * 1e9) as Ns, crate::engine::Event::Steady);
    }
    control.run(&mut world)?;
    if let Some(line) = world.over.take() {
        return Err(UsageError::plain(line).into());
    }
    world.trace.finish().context("writing the trace")?;
    control.check_ledger(&mut world);
    let outcome = judge::judge(scenario, &config, seed, balancer, &mut world, &control);
    Ok(Ran {
        outcome,
        wall_s: begun.elapsed().as_secs_f64(),
    })
}

/// The settings that these flags mean on this machine.
///
/// # Errors
/// What the scheduler's own command line says about them.
pub fn config(flags: &[String], topology: &Topology) -> Result<Config> {
    let line = ["scx_ballast".to_owned()];
    let words = || line.iter().chain(flags);
    let parsed = parse_from(words()).map_err(|error| anyhow!("flags: {error}"))?;
    let Parsed::Run(cli) = parsed else {
        return Err(anyhow!("flags: --help and --version run nothing"));
    };
    if cli.command.is_some() {
        return Err(anyhow!("flags: give flags of the scheduler, no command"));
    }
    if let Some(flag) = without_effect(words()) {
        return Err(anyhow!(
            "flags: {flag} does nothing in the simulator; leave it out"
        ));
    }
    Config::from_cli(&cli, &machine(topology))
        .map_err(|error| anyhow!("flags: {error}"))
        .context("reading the scenario")
}

/// The flags that the simulator heeds. What a new one does has to be found out first.
const HEEDED: [&str; 18] = [
    "interval",
    "tune_interval",
    "load_half_life",
    "no_load_balance",
    "slice_us_underutil",
    "slice_us_overutil",
    "fifo_sched",
    "kthreads_local",
    "greedy_threshold",
    "greedy_threshold_x_numa",
    "steal_after_node_us",
    "steal_after_numa_us",
    "direct_greedy_under",
    "kick_greedy_under",
    "direct_greedy_numa",
    "domains",
    "domain_cpus",
    "max_tasks",
];

/// The first flag of a good command line that is not heeded.
fn without_effect<'a>(words: impl Iterator<Item = &'a String>) -> Option<String> {
    let command = Cli::command();
    let given = command.clone().try_get_matches_from(words).ok()?;
    let typed = |id: &str| given.value_source(id) == Some(ValueSource::CommandLine);
    command
        .get_arguments()
        .filter(|arg| !HEEDED.contains(&arg.get_id().as_str()))
        .find(|arg| typed(arg.get_id().as_str()))
        .map(|arg| format!("--{}", arg.get_long().unwrap_or_default()))
}

/// The machine as the daemon would read it from sysfs.
fn machine(topology: &Topology) -> Machine {
    let nr_cpus = topology.nr_cpus();
    let per_llc = topology.cores_per_llc * topology.smt;
    let node_of = |cpu: u32| NodeId(cpu / (per_llc * topology.llcs_per_node));
    let cpu = |id: u32| Cpu {
        id: CpuId(id),
        node: node_of(id),
        llc: id / per_llc,
        core: id / topology.smt,
        online: true,
        capacity: 1.0,
    };
    let distance = |from: u32, to: u32| {
        let given = topology.distances.get(from as usize);
        match given.and_then(|row| row.get(to as usize)) {
            Some(&distance) => distance,
            None if from == to => 10,
            None => 21,
        }
    };
    let node = |id: u32| Node {
        id: NodeId(id),
        cpus: (0..nr_cpus)
            .filter(|&cpu| node_of(cpu) == NodeId(id))
            .map(CpuId)
            .collect(),
        distance: (0..topology.nodes)
            .map(|to| (NodeId(to), distance(id, to)))
            .collect(),
    };
    Machine {
        nr_cpu_ids: nr_cpus,
        cpus: (0..nr_cpus).map(|id| (CpuId(id), cpu(id))).collect(),
        offline_unplaced: Vec::new(),
        nodes: (0..topology.nodes)
            .map(|id| (NodeId(id), node(id)))
            .collect(),
    }
}

/// What failed, by name.
fn failed(world: &World) -> BTreeMap<&'static str, u64> {
    Check::ALL
        .into_iter()
        .map(|check| (check.name(), world.checks.count(check)))
        .filter(|(_, count)| *count > 0)
        .collect()
}
