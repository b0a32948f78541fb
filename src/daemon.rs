// SPDX-License-Identifier: GPL-2.0-only
//! One step of the control plane: snapshot, demand, plan, apply, account.
//! Never sleeps or reads a clock: the caller says when, the kernel what time.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Result;
use log::{debug, info};

use crate::cgroups::Cgroups;
use crate::config::Config;
use crate::domains::Layout;
use crate::ids::{CpuId, DomainId};
use crate::kernel::{Beat, CpuRole, Kernel};
use crate::load_balance::{self, Plan, Snapshot, Task};
use crate::tuner::{self, Observation, TunerConfig, Tuning};

pub mod charge;
mod idleness;
pub mod ledger;
mod observer;
#[cfg(test)]
mod tests;

use charge::Charger;
use idleness::Idleness;
use ledger::Ledger;
use observer::Observer;

/// What the last round saw and decided, for statistics.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// The level of the machine, CPUs per unit of weight (nice 0 = 100);
    /// infinite when nobody is limited.
    pub level: f64,
    /// One entry a domain, in order of id.
    pub domains: Vec<DomainRound>,
    /// Tasks with a row.
    pub nr_tasks: usize,
    /// Imbalance that the plan leaves, in CPUs.
    pub imbalance: f64,
}

impl Round {
    /// Starts over with what a plan says; its tasks are still to be counted.
    fn begin(&mut self, snapshot: &Snapshot, plan: &Plan) {
        self.domains.clear();
        self.domains
            .extend(plan.domains.iter().map(|domain| DomainRound {
                capacity: domain.capacity,
                load: domain.before,
                ..Default::default()
            }));
        self.level = plan.level;
        self.nr_tasks = snapshot.tasks.len();
        self.imbalance = plan.certificate.imbalance_after;
    }

    fn count(&mut self, task: &Task) {
        if let Some(domain) = self.domains.get_mut(task.domain.index()) {
            domain.demand += task.demand;
            domain.nr_tasks += 1;
        }
    }
}

/// One domain in a round, in CPUs.
#[derive(Clone, Copy, Debug, Default)]
pub struct DomainRound {
    /// What it has.
    pub capacity: f64,
    /// What it owes: Σ entitlement of its tasks before the moves.
    pub load: f64,
    /// What its tasks could use.
    pub demand: f64,
    /// Its tasks.
    pub nr_tasks: usize,
}

/// What is known of the domains before the first round.
fn capacities(layout: &Layout) -> Vec<DomainRound> {
    let domains = layout.domains.iter();
    domains
        .map(|domain| DomainRound {
            capacity: domain.capacity,
            ..Default::default()
        })
        .collect()
}

/// The daemon's memory between steps.
pub struct Daemon {
    layout: Layout,
    plan_config: load_balance::Config,
    tuner_config: TunerConfig,
    tuning: Option<Tuning>,
    idleness: Idleness,
    observer: Observer,
    ledger: Ledger,
    charger: Charger,
    round: Round,
    /// A snapshot nobody needs any more, for its memory.
    spare: Snapshot,
}

impl Daemon {
    /// A daemon for the machine and the wishes in `config`, among the control
    /// groups of this machine.
    pub fn new(config: &Config) -> Daemon {
        Daemon::among(config, Cgroups::of_this_machine())
    }

    /// A daemon among these control groups.
    pub fn among(config: &Config, cgroups: Cgroups) -> Daemon {
        let half_life_ns = u64::try_from(config.load_half_life.as_nanos()).unwrap_or(u64::MAX);
        Daemon {
            layout: config.layout.clone(),
            plan_config: load_balance::Config {
                enabled: config.load_balance,
                mempolicy_affinity: config.mempolicy_affinity,
                ..Default::default()
            },
            tuner_config: TunerConfig {
                slice_underutil_ns: config.slice_underutil_ns,
                slice_overutil_ns: config.slice_overutil_ns,
                direct_greedy_under: config.direct_greedy_under_frac * 100.0,
                kick_greedy_under: config.kick_greedy_under_frac * 100.0,
            },
            tuning: None,
            idleness: Idleness::default(),
            observer: Observer::new(config.layout.clone(), half_life_ns, cgroups),
            ledger: Ledger::default(),
            charger: Charger::default(),
            spare: Snapshot::default(),
            round: Round {
                domains: capacities(&config.layout),
                ..Default::default()
            },
        }
    }

    /// The tuner's step: slice, margin and the roles of the CPUs.
    ///
    /// # Errors
    /// BPF could not be told.
    pub fn tune(&mut self, kernel: &mut dyn Kernel) -> Result<()> {
        let now_ns = kernel.beat(&self.present_beat())?;
        let Some(observation) = self.idleness.look(kernel, &self.layout, now_ns) else {
            return Ok(());
        };
        let tuning = tuner::tune(&observation, &self.tuner_config, self.tuning.as_ref());
        let is_new = self
            .tuning
            .as_ref()
            .is_none_or(|old| tuning.differs_from(old));
        if is_new {
            kernel.beat(&beat_of(&tuning))?;
        }
        debug!(
            "tune: utilisation {:.3}, slice {} us",
            tuning.utilisation,
            tuning.slice_ns / 1000
        );
        self.tuning = Some(tuning);
        Ok(())
    }

    /// Begins a round of the balancer: reads the rows, books answers, and returns
    /// what is to be planned on. `lost` is the share of each CPU that interrupts
    /// and the hypervisor took since the last round.
    ///
    /// # Errors
    /// BPF could not be told.
    pub fn begin_round(
        &mut self,
        kernel: &mut dyn Kernel,
        lost: &BTreeMap<CpuId, f64>,
    ) -> Result<Snapshot> {
        let mut snapshot = std::mem::take(&mut self.spare);
        let now_ns = kernel.beat(&self.present_beat())?;
        self.observer.read(kernel, now_ns, &mut snapshot);
        let observer = &self.observer;
        self.ledger
            .settle(kernel, |task| observer.only_waited(task));
        self.observer
            .fill(kernel, lost, &self.ledger, &mut snapshot);
        Ok(snapshot)
    }

    /// Ends the round that made `snapshot`: keeps the account, asks for the moves.
    ///
    /// # Errors
    /// BPF could not be told.
    pub fn end_round(
        &mut self,
        kernel: &mut dyn Kernel,
        snapshot: &Snapshot,
        plan: &Plan,
    ) -> Result<()> {
        let reference = self.charger.reference(snapshot, plan);
        let round = &mut self.round;
        round.begin(snapshot, plan);
        // One way through the tasks for all that is to be done with each.
        self.observer.note_plan(snapshot, plan, |row, task, level| {
            round.count(task);
            charge::tell(kernel, row, task, level, reference);
        });
        self.apply(kernel, plan)
    }

    /// Takes back a snapshot that is no longer needed: the next one is made in
    /// its memory.
    pub fn reuse(&mut self, snapshot: Snapshot) {
        self.spare = snapshot;
    }

    /// What planning needs to know besides the snapshot.
    pub fn plan_config(&self) -> &load_balance::Config {
        &self.plan_config
    }

    /// The paths of the control groups in the last snapshot, by
    /// [`crate::ids::GroupId::index`].
    pub fn group_paths(&self) -> Arc<Vec<String>> {
        self.observer.group_paths()
    }

    /// What the last round saw.
    pub fn round(&self) -> &Round {
        &self.round
    }

    /// How the requests so far have ended.
    pub fn totals(&self) -> ledger::Totals {
        self.ledger.totals()
    }

    /// What the tuner last decided.
    pub fn tuning(&self) -> Option<&Tuning> {
        self.tuning.as_ref()
    }

    /// What holds now, roles of all CPUs with it: BPF changes them when the daemon falls silent.
    fn present_beat(&self) -> Beat {
        match &self.tuning {
            Some(tuning) => beat_of(tuning),
            None => beat_of(&tuner::tune(
                &Observation::default(),
                &self.tuner_config,
                None,
            )),
        }
    }

    fn apply(&mut self, kernel: &mut dyn Kernel, plan: &Plan) -> Result<()> {
        let mut sources: Vec<DomainId> = Vec::new();
        for planned in &plan.moves {
            if !self.ledger.ask(kernel, planned.task, planned.to) {
                continue;
            }
            sources.push(planned.from);
            self.log_move(planned);
        }
        sources.sort_unstable();
        sources.dedup();
        for source in sources {
            let moved = kernel.apply_queued(source)?;
            debug!("{source}: {moved} queued tasks moved at once");
        }
        for planned in &plan.moves {
            // Without effect on a task whose request was not taken.
            kernel.apply_running(planned.task)?;
        }
        Ok(())
    }

    fn log_move(&self, planned: &load_balance::Move) {
        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let place = |id: DomainId| format!("{}/{id}", self.layout.domains[id.index()].node);
        let row = &self.observer.rows()[planned.index];
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", row.pid));
        info!(
            "move pid {} ({}) {} -> {}: {}",
            row.pid,
            comm.as_deref().unwrap_or("?").trim(),
            place(planned.from),
            place(planned.to),
            planned.reason
        );
    }
}

/// What BPF is to know of a tuning.
fn beat_of(tuning: &Tuning) -> Beat {
    let roles = tuning.direct.iter().zip(&tuning.kick);
    let role = |((cpu, direct), (_, kick)): (&(CpuId, bool), &(CpuId, bool))| CpuRole {
        cpu: *cpu,
        direct: *direct,
        kick: *kick,
    };
    Beat {
        slice_ns: tuning.slice_ns,
        preempt_margin_ns: tuning.preempt_margin_ns,
        cpus: roles.map(role).collect(),
    }
}
