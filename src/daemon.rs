// SPDX-License-Identifier: GPL-2.0-only
//! One step of the control plane: snapshot, demand, plan, apply, account.
//! Never sleeps or reads a clock: the caller says when, the kernel what time.

use std::collections::BTreeMap;

use anyhow::Result;
use log::{debug, info};

use crate::affinity::MaskTable;
use crate::config::Config;
use crate::demand::{Estimator, RowSample};
use crate::domains::{Layout, LayoutDomain};
use crate::ids::{CpuId, DomainId, GroupId};
use crate::kernel::{Beat, CpuRole, Kernel};
use crate::load_balance::{self, Domain, Node, Plan, Snapshot, Task};
use crate::tuner::{self, CpuUse, Observation, TunerConfig, Tuning};
use crate::utilisation::CpuShares;

pub mod charge;
pub mod ledger;
#[cfg(test)]
mod tests;

use ledger::Ledger;

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

fn members(layout: &Layout) -> Vec<Vec<CpuId>> {
    let mut members = vec![Vec::new(); layout.domains.len()];
    for (cpu, domain) in &layout.cpu_domain {
        members[domain.index()].push(*cpu);
    }
    members
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
    /// The CPUs of each domain, those that are offline included.
    members: Vec<Vec<CpuId>>,
    plan_config: load_balance::Config,
    tuner_config: TunerConfig,
    tuning: Option<Tuning>,
    estimator: Estimator,
    ledger: Ledger,
    lost: BTreeMap<CpuId, f64>,
    masks: MaskTable,
    rows: Vec<RowSample>,
    round: Round,
}

impl Daemon {
    /// A daemon for the machine and the wishes in `config`.
    pub fn new(config: &Config) -> Daemon {
        let half_life_ns = u64::try_from(config.load_half_life.as_nanos()).unwrap_or(u64::MAX);
        Daemon {
            layout: config.layout.clone(),
            members: members(&config.layout),
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
            estimator: Estimator::new(half_life_ns),
            ledger: Ledger::default(),
            lost: BTreeMap::new(),
            masks: MaskTable::default(),
            rows: Vec::new(),
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
    pub fn tune(
        &mut self,
        kernel: &mut dyn Kernel,
        shares: &BTreeMap<CpuId, CpuShares>,
    ) -> Result<()> {
        let observation = Observation {
            cpus: shares
                .iter()
                .filter(|(cpu, _)| self.layout.cpu_domain.contains_key(cpu))
                .map(|(cpu, shares)| CpuUse {
                    cpu: *cpu,
                    busy: shares.busy,
                })
                .collect(),
        };
        let tuning = tuner::tune(&observation, &self.tuner_config, self.tuning.as_ref());
        let roles = tuning.direct.iter().zip(&tuning.kick);
        kernel.beat(&Beat {
            slice_ns: tuning.slice_ns,
            preempt_margin_ns: tuning.preempt_margin_ns,
            cpus: roles
                .map(|((cpu, direct), (_, kick))| CpuRole {
                    cpu: *cpu,
                    direct: *direct,
                    kick: *kick,
                })
                .collect(),
        })?;
        debug!(
            "tune: utilisation {:.3}, slice {} us",
            tuning.utilisation,
            tuning.slice_ns / 1000
        );
        self.tuning = Some(tuning);
        Ok(())
    }

    /// Begins a round of the balancer: reads the rows, books answers, and returns
    /// what is to be planned on. `shares` tell what interrupts took since the
    /// last round.
    ///
    /// # Errors
    /// BPF could not be told.
    pub fn begin_round(
        &mut self,
        kernel: &mut dyn Kernel,
        shares: &BTreeMap<CpuId, CpuShares>,
    ) -> Result<Snapshot> {
        self.lost = shares
            .iter()
            .map(|(cpu, shares)| (*cpu, shares.lost))
            .collect();
        let now_ns = kernel.beat(&self.present_beat())?;
        self.masks.sweep();
        let report = kernel.rows(now_ns, &mut self.masks, &mut self.rows);
        if report.torn > 0 {
            debug!("{} rows changed while being read", report.torn);
        }
        self.estimator.update(now_ns, &self.rows);
        self.ledger.settle(kernel);
        Ok(self.snapshot(kernel))
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
        self.round = account(snapshot, plan);
        charge::tell(kernel, self.rows.iter().map(|row| (row, plan.level)));
        self.apply(kernel, plan)
    }

    /// What planning needs to know besides the snapshot.
    pub fn plan_config(&self) -> &load_balance::Config {
        &self.plan_config
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

    fn present_beat(&self) -> Beat {
        let config = &self.tuner_config;
        let default = tuner::tune(&Observation::default(), config, None);
        let tuning = self.tuning.as_ref().unwrap_or(&default);
        Beat {
            slice_ns: tuning.slice_ns,
            preempt_margin_ns: tuning.preempt_margin_ns,
            cpus: Vec::new(),
        }
    }

    fn snapshot(&self, kernel: &dyn Kernel) -> Snapshot {
        let nodes = self.layout.nodes.iter().map(|node| Node {
            id: node.id,
            distance: node.distance.clone(),
        });
        let domains = self.layout.domains.iter().map(|domain| Domain {
            id: domain.id,
            node: domain.node,
            capacity: self.capacity(kernel, domain),
            cpus: self.online(kernel, domain).collect(),
        });
        Snapshot {
            nodes: nodes.collect(),
            domains: domains.collect(),
            masks: self.masks.clone(),
            tasks: self.rows.iter().map(|row| self.task(row)).collect(),
        }
    }

    /// CPUs of the domain that are online, less what interrupts and the
    /// hypervisor take, scaled by the capacity of its cores.
    fn capacity(&self, kernel: &dyn Kernel, domain: &LayoutDomain) -> f64 {
        let per_cpu = domain.capacity / domain.cpus.len().max(1) as f64;
        self.online(kernel, domain)
            .map(|cpu| per_cpu * (1.0 - self.lost.get(&cpu).copied().unwrap_or(0.0)))
            .sum()
    }

    fn online(&self, kernel: &dyn Kernel, domain: &LayoutDomain) -> impl Iterator<Item = CpuId> {
        let members = self.members[domain.id.index()].iter().copied();
        members.filter(|cpu| kernel.is_online(*cpu))
    }

    /// A task under way counts where it is going, and is not moved again.
    fn task(&self, row: &RowSample) -> Task {
        let under_way = self.ledger.target(row.task);
        Task {
            id: u64::from(row.pid),
            task: row.task,
            process: row.tgid,
            weight: row.weight,
            demand: self.estimator.demand(row.task.slot).unwrap_or(0.0),
            domain: under_way.unwrap_or(row.domain),
            mask: row.mask,
            group: GroupId::ROOT,
            movable: !row.pinned && under_way.is_none(),
            preferred_nodes: row.preferred_nodes,
            moved_ago_rounds: self.ledger.moved_ago(row.task),
            lag_ms: 0.0,
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
        let row = &self.rows[planned.index];
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

fn account(snapshot: &Snapshot, plan: &Plan) -> Round {
    let mut domains: Vec<DomainRound> = plan
        .domains
        .iter()
        .map(|domain| DomainRound {
            capacity: domain.capacity,
            load: domain.before,
            ..Default::default()
        })
        .collect();
    for task in &snapshot.tasks {
        if let Some(domain) = domains.get_mut(task.domain.index()) {
            domain.demand += task.demand;
            domain.nr_tasks += 1;
        }
    }
    Round {
        level: plan.level,
        domains,
        nr_tasks: snapshot.tasks.len(),
        imbalance: plan.certificate.imbalance_after,
    }
}
