// SPDX-License-Identifier: GPL-2.0-only
//! The daemon as a task of the machine it steers: it waits for a CPU, takes time,
//! can stall, be killed and started again, and reads rows while they change.
//! Never decides anything that the shipped daemon decides.

mod kernel;
pub mod planner;

use std::collections::BTreeMap;

use anyhow::Result;
use scx_ballast::cgroups::Cgroups;
use scx_ballast::config::Config;
use scx_ballast::daemon::{Daemon, ledger};
use scx_ballast::ids::CpuId;
use scx_ballast::kernel::Counters;
use scx_ballast::kernel::shared::SharedMemory;
use scx_ballast::load_balance::{Plan, Snapshot};
use scx_ballast::snapshot_file::live::Live;

use crate::bits::CpuBits;
use crate::checks::Check;
use crate::engine::cgroups::Files;
use crate::engine::change::Birth;
use crate::engine::task::{Role, State};
use crate::engine::{NONE, Ns, Step, World};
use crate::object::{DAEMON_TGID, Defect, Object};
use crate::scenario::{Balancer, Cgroup};
use crate::trace::Kind;
use kernel::SimKernel;
use planner::Planner;

/// What a step of the daemon takes besides what it asks of the kernel, in ns:
/// waking up, reading /proc/stat, the tuner's arithmetic.
const STEP_NS: Ns = 20_000;
/// What planning takes: a base, and so much for each task.
const PLAN_NS: Ns = 20_000;
const PLAN_TASK_NS: Ns = 200;
/// What reading the files of a control group takes: see src/cgroups.rs.
const GROUP_NS: Ns = 15_000;
/// How often the daemon looks whether it is to stop, as in src/run.rs.
const LOOK_EVERY_NS: Ns = 100_000_000;
/// How long starting it again takes.
const RESTART_NS: Ns = 200_000_000;

/// What one round of the balancer saw.
#[derive(Clone, Copy, Debug)]
pub struct RoundNote {
    /// When it ended.
    pub at: Ns,
    /// Moves asked for.
    pub moves: usize,
    /// CPUs of entitlement that they carry to other nodes, less what comes back.
    pub crossing: f64,
    /// What the plan says had to cross.
    pub crossing_min: f64,
    /// Largest distance of a domain from its fair load before the moves, in CPUs.
    pub gap: f64,
    /// Largest entitlement.
    pub largest: f64,
}

/// The daemon and its memory.
pub struct Control {
    config: Config,
    cgroups: Vec<Cgroup>,
    balancer: Balancer,
    defect: Option<&'static Defect>,
    daemon: Daemon,
    memory: SharedMemory,
    planner: Planner,
    rows_used: u32,
    next_tune: Ns,
    next_balance: Ns,
    /// A snapshot is with the balancer's thread.
    planning: Option<Snapshot>,
    /// And its plan is ready.
    planned: bool,
    /// The last plan, for its memory, and the snapshot it was made for.
    plan: Plan,
    live: Live,
    /// It was killed, and is not back yet.
    is_down: bool,
    /// All rounds so far.
    pub rounds: Vec<RoundNote>,
    /// Requests that BPF was handed.
    requested: u64,
    /// Of daemons before this one.
    past: ledger::Totals,
}

impl Control {
    /// The daemon of this configuration, for a scheduler just loaded.
    pub fn new(
        config: &Config,
        cgroups: &[Cgroup],
        balancer: Balancer,
        defect: Option<&'static Defect>,
        memory: SharedMemory,
    ) -> Control {
        let daemon = daemon(config, cgroups);
        let planner = Planner::new(balancer, daemon.plan_config().clone());
        Control {
            daemon,
            balancer,
            defect,
            memory,
            planner,
            rows_used: 0,
            next_tune: 0,
            next_balance: config.interval.as_nanos() as Ns,
            planning: None,
            planned: false,
            plan: Plan::default(),
            live: Live::new(&config.layout),
            is_down: false,
            rounds: Vec::new(),
            requested: 0,
            past: ledger::Totals::default(),
            config: config.clone(),
            cgroups: cgroups.to_vec(),
        }
    }

    /// The daemon's threads are born.
    pub fn spawn(&self, world: &mut World) {
        let nr_cpus = world.cpus.len() as u32;
        let mut thread = |role| {
            world.create_task(Birth {
                role,
                allowed: CpuBits::of(nr_cpus, 0..nr_cpus),
                cpu: 0,
                nice: 0,
                cgroup: 0,
                tgid: DAEMON_TGID,
                kthread: false,
                memory_node: NONE,
            })
        };
        let threads = (thread(Role::Main), thread(Role::Planner));
        if let (Some(main), Some(planner)) = threads {
            (world.main, world.planner) = (main, planner);
            world.trace.name(main, "scx_ballast".to_owned());
            world.trace.name(planner, "balancer".to_owned());
            world.tasks[main as usize].left_ns = STEP_NS;
            world.start_task(main, 0);
        }
    }

    /// Runs the machine to the end.
    ///
    /// # Errors
    /// The scheduler could not be loaded again.
    pub fn run(&mut self, world: &mut World) -> Result<()> {
        loop {
            match world.step() {
                Step::Went => (),
                Step::Main => self.attend(world)?,
                Step::Planner => self.plan_is_ready(world),
                Step::Over => return Ok(()),
            }
        }
    }

    /// The main thread has a CPU: what src/run.rs does in one turn of its loop.
    fn attend(&mut self, world: &mut World) -> Result<()> {
        if std::mem::take(&mut world.restart_due) {
            self.go_down(world);
            return Ok(());
        }
        if self.is_down {
            self.come_back(world)?;
        }
        if world.now < world.stalled_until {
            let for_ns = world.stalled_until - world.now;
            world.checks.daemon_free_since = world.stalled_until;
            self.sleep(world, for_ns);
            return Ok(());
        }
        if world.now >= self.next_tune {
            let due = self.next_tune;
            self.next_tune = later(due, self.config.tune_interval.as_nanos() as Ns, world.now);
            self.with_kernel(world, |daemon, kernel| daemon.tune(kernel));
        }
        if self.planned {
            self.end_round(world);
        }
        if world.now >= self.next_balance && self.planning.is_none() {
            self.begin_round(world);
        }
        let mut due = self.next_tune.min(world.now + LOOK_EVERY_NS);
        if self.planning.is_none() {
            due = due.min(self.next_balance);
        }
        self.sleep(world, due.saturating_sub(world.now).max(1));
        Ok(())
    }

    /// Lets the daemon do something; an error means that the run is over or that
    /// it was killed in the middle, and then what it did is void anyway.
    fn with_kernel(
        &mut self,
        world: &mut World,
        act: impl FnOnce(&mut Daemon, &mut SimKernel<'_>) -> Result<()>,
    ) {
        let mut kernel = SimKernel {
            world,
            memory: &mut self.memory,
            samples: self.planner.samples(),
            rows_used: &mut self.rows_used,
            requested: &mut self.requested,
            planner_done: false,
        };
        let result = act(&mut self.daemon, &mut kernel);
        let planner_done = kernel.planner_done;
        if let (Err(error), None) = (result, &world.ejected)
            && world.now < world.end
        {
            world.eject(format!("the daemon failed: {error:#}"));
        }
        self.planned |= planner_done;
    }

    fn begin_round(&mut self, world: &mut World) {
        let due = self.next_balance;
        self.next_balance = later(due, self.config.interval.as_nanos() as Ns, world.now);
        let mut taken = None;
        let reading = GROUP_NS * self.cgroups.len() as Ns;
        self.with_kernel(world, |daemon, kernel| {
            kernel.spend(reading);
            taken = Some(daemon.begin_round(kernel, &BTreeMap::new())?);
            Ok(())
        });
        let Some(snapshot) = taken else { return };
        let planner = world.planner as usize;
        let work = PLAN_NS + PLAN_TASK_NS * snapshot.tasks.len() as Ns;
        world.tasks[planner].left_ns = work;
        self.planning = Some(snapshot);
        if world.tasks[planner].state == State::Asleep {
            let cpu = world.tasks[world.main as usize].cpu();
            world.wake(world.planner, cpu, false);
        }
    }

    /// The balancer's thread is done; its plan is worked out when it is needed.
    fn plan_is_ready(&mut self, world: &mut World) {
        let cpu = world.tasks[world.planner as usize].cpu();
        self.planned = true;
        world.block(cpu, world.planner);
        if world.tasks[world.main as usize].state == State::Asleep
            && world.now >= world.stalled_until
        {
            world.wake(world.main, cpu, false);
        }
    }

    fn end_round(&mut self, world: &mut World) {
        self.planned = false;
        let Some(snapshot) = self.planning.take() else {
            return;
        };
        let mut plan = std::mem::take(&mut self.plan);
        self.planner.plan(world.now, &snapshot, &mut plan);
        self.note_round(world, &snapshot, &plan);
        self.with_kernel(world, |daemon, kernel| {
            daemon.end_round(kernel, &snapshot, &plan)
        });
        let older = self.live.keep(snapshot, self.daemon.group_paths());
        self.daemon.reuse(older);
        self.plan = plan;
    }

    fn note_round(&mut self, world: &mut World, snapshot: &Snapshot, plan: &Plan) {
        let note = RoundNote {
            at: world.now,
            moves: plan.moves.len(),
            crossing: planner::net_crossing(snapshot, plan),
            crossing_min: plan.certificate.cross_node_min,
            gap: planner::largest_gap(plan),
            largest: plan.entitlements.iter().copied().fold(0.0, f64::max),
        };
        world.note(Kind::Plan, 0, NONE, plan.moves.len() as u64);
        // Check 8: a task to round with at each end of each pair of nodes, no more.
        let slack = 2.0 * snapshot.nodes.len() as f64 * note.largest + 0.25;
        if self.balancer == Balancer::Ballast && note.crossing > note.crossing_min + slack {
            let text = format!(
                "a plan carries {:.2} CPUs across nodes; {:.2} had to cross",
                note.crossing, note.crossing_min
            );
            world.checks.fail(Check::Crossings, world.now, text);
        }
        self.rounds.push(note);
    }

    fn sleep(&mut self, world: &mut World, for_ns: Ns) {
        let main = world.main;
        if world.tasks[main as usize].state != State::Running {
            return;
        }
        world.tasks[main as usize].left_ns = STEP_NS;
        let cpu = world.tasks[main as usize].cpu();
        world.sleep_for(cpu, main, for_ns);
    }

    /// The daemon is killed: the scheduler goes with it.
    fn go_down(&mut self, world: &mut World) {
        let totals = self.daemon.totals();
        self.past.requested += totals.requested;
        self.past.applied += totals.applied;
        self.past.refused += totals.refused;
        self.past.expired += totals.expired;
        (self.planning, self.planned, self.is_down) = (None, false, true);
        world.unload();
        self.sleep(world, RESTART_NS);
    }

    fn come_back(&mut self, world: &mut World) -> Result<()> {
        let (object, memory) = Object::load(&self.config, self.defect)?;
        world.replace(object);
        self.memory = memory;
        self.daemon = daemon(&self.config, &self.cgroups);
        self.planner = Planner::new(self.balancer, self.daemon.plan_config().clone());
        (self.plan, self.live) = (Plan::default(), Live::new(&self.config.layout));
        self.is_down = false;
        self.next_tune = world.now;
        self.next_balance = world.now + self.config.interval.as_nanos() as Ns;
        world.checks.last_beat = world.now;
        world.checks.daemon_free_since = world.now;
        self.reload(world);
        Ok(())
    }

    /// Loads the scheduler on a machine that is already running: CPUs that are
    /// offline now have been so for it from the start.
    fn reload(&mut self, world: &mut World) {
        let online = world.online.clone();
        let roles = scx_ballast::kernel::image::initial_roles(&self.config);
        let layout = &self.config.layout;
        let placed = self
            .memory
            .place_cpus(layout, roles, |cpu: CpuId| online.has(cpu.0));
        if placed.is_err() || !world.load() {
            world.eject("the scheduler could not be loaded again".to_owned());
        }
    }

    /// How requests have ended.
    pub fn totals(&self) -> ledger::Totals {
        let now = self.daemon.totals();
        ledger::Totals {
            requested: self.past.requested + now.requested,
            applied: self.past.applied + now.applied,
            refused: self.past.refused + now.refused,
            expired: self.past.expired + now.expired,
        }
    }

    /// Check 1, second half: the ledger counts every request once, and all have
    /// ended but those of the last rounds and of tasks that only wait.
    pub fn check_ledger(&self, world: &mut World) {
        let (totals, now) = (self.totals(), self.daemon.totals());
        let open = now.requested - now.applied - now.refused - now.expired;
        if totals.requested != self.requested {
            let text = format!(
                "the ledger has {} requests, BPF was asked {}",
                totals.requested, self.requested
            );
            world.checks.fail(Check::Requests, world.now, text);
        }
        let interval = self.config.interval.as_nanos() as Ns;
        let since = world.now.saturating_sub(4 * interval);
        let recent: usize = self
            .rounds
            .iter()
            .filter(|round| round.at >= since)
            .map(|round| round.moves)
            .sum();
        let held_up = world.now < world.checks.daemon_free_since + 4 * interval;
        let waiting = world.waiting_with_requests(world.now.saturating_sub(interval));
        if open > (recent + waiting) as u64 && !held_up {
            let text = format!(
                "{open} requests are open, {recent} were made of late, {waiting} of tasks that waited"
            );
            world.checks.fail(Check::Requests, world.now, text);
        }
    }

    /// The scheduler's counters.
    pub fn counters(&self) -> Counters {
        self.memory.counters()
    }
}

/// A daemon that finds these control groups.
fn daemon(config: &Config, cgroups: &[Cgroup]) -> Daemon {
    Daemon::among(config, Cgroups::new(Some(Box::new(Files::new(cgroups)))))
}

/// As in src/run.rs: a late step is done once, not made up for.
fn later(due: Ns, period: Ns, now: Ns) -> Ns {
    let next = due + period;
    if next > now { next } else { now + period }
}
