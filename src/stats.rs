// SPDX-License-Identifier: GPL-2.0-only
//! The statistics served on /var/run/scx/root/stats, and their printed form.
//! Never computes policy: it shows what the daemon and BPF counted.

mod client;
mod server;

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use scx_stats_derive::{Stats, stat_doc};
use serde::{Deserialize, Serialize};

use crate::abi;
use crate::cpulist::format_cpus;
use crate::daemon::Daemon;
use crate::domains::Layout;
use crate::kernel::Counters;

pub use client::{latest_snapshot, monitor};
pub use server::{Answer, Request, describe, server_data};

/// One domain, in CPUs.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(desc = "one domain", _om_prefix = "d_", _om_label = "domain")]
pub struct DomainMetrics {
    #[stat(desc = "its CPUs", _om_skip)]
    pub cpus: String,
    #[stat(desc = "CPUs it has for tasks")]
    pub capacity: f64,
    #[stat(desc = "CPUs it owes its tasks (sum of entitlements)")]
    pub load: f64,
    #[stat(desc = "CPUs its tasks could use")]
    pub demand: f64,
    #[stat(desc = "tasks in it")]
    pub nr_tasks: u64,
}

/// One node, in CPUs.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(desc = "one node", _om_prefix = "n_", _om_label = "node")]
pub struct NodeMetrics {
    #[stat(desc = "CPUs it has for tasks")]
    pub capacity: f64,
    #[stat(desc = "CPUs it owes its tasks (sum of entitlements)")]
    pub load: f64,
    #[stat(desc = "CPUs its tasks could use")]
    pub demand: f64,
    #[stat(desc = "its domains")]
    pub domains: BTreeMap<usize, DomainMetrics>,
}

/// The whole scheduler. Counts are since the scheduler was attached.
#[stat_doc]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, Stats)]
#[stat(top, desc = "scx_ballast")]
pub struct Metrics {
    #[stat(desc = "time of this reading, us since the epoch")]
    pub at_us: u64,
    #[stat(desc = "seconds between two rounds of the balancer")]
    pub interval_secs: f64,
    #[stat(desc = "slice, us")]
    pub slice_us: u64,
    #[stat(desc = "CPUs that are busy, with any kind of work")]
    pub utilisation: f64,
    #[stat(desc = "CPUs for tasks")]
    pub capacity: f64,
    #[stat(desc = "CPUs the tasks could use")]
    pub demand: f64,
    #[stat(desc = "CPUs a unit of weight (nice 0 = 100) is owed; 0: nobody is limited")]
    pub level: f64,
    #[stat(desc = "largest imbalance a domain is left with, CPUs")]
    pub imbalance: f64,
    #[stat(desc = "tasks with a row")]
    pub nr_tasks: u64,
    #[stat(desc = "tasks that found the row table full: not balanced")]
    pub nr_rows_missing: u64,
    #[stat(desc = "moves asked for")]
    pub moves_requested: u64,
    #[stat(desc = "moves seen done: the task ran where it was asked to")]
    pub moves_applied: u64,
    #[stat(desc = "moves refused: not allowed there, or the task has ended")]
    pub moves_refused: u64,
    #[stat(desc = "moves taken back without effect")]
    pub moves_expired: u64,
    #[stat(desc = "wake-ups onto an idle CPU of the domain")]
    pub wakeups_domain: u64,
    #[stat(desc = "wake-ups onto an idle CPU of the node")]
    pub wakeups_node: u64,
    #[stat(desc = "wake-ups onto an idle CPU of another node")]
    pub wakeups_numa: u64,
    #[stat(desc = "wake-ups onto the waker's CPU, of two that wake each other in turn")]
    pub wakeups_paired: u64,
    #[stat(desc = "wake-ups that had to queue")]
    pub wakeups_queued: u64,
    #[stat(desc = "running tasks preempted by a wake-up")]
    pub preemptions: u64,
    #[stat(desc = "tasks taken from the own domain's queue")]
    pub dispatch_domain: u64,
    #[stat(desc = "tasks taken from the CPU's own queue")]
    pub dispatch_cpu: u64,
    #[stat(desc = "slices renewed without a switch")]
    pub kept: u64,
    #[stat(desc = "tasks taken from another CPU's queue in the domain")]
    pub steals_domain: u64,
    #[stat(desc = "tasks taken from another domain of the node")]
    pub steals_node: u64,
    #[stat(desc = "tasks taken from another node")]
    pub steals_numa: u64,
    #[stat(desc = "idle CPUs woken to help another domain")]
    pub help_kicks: u64,
    #[stat(desc = "times BPF went on alone because the daemon had fallen silent")]
    pub heartbeats_lost: u64,
    #[stat(desc = "bound kernel threads sent straight to their CPU")]
    pub kthreads_local: u64,
    #[stat(desc = "per-node statistics")]
    pub nodes: BTreeMap<usize, NodeMetrics>,
}

impl Metrics {
    /// The present state of the daemon and the counters of BPF.
    pub fn gather(
        layout: &Layout,
        daemon: &Daemon,
        counters: &Counters,
        interval: Duration,
        at: Duration,
    ) -> Metrics {
        let round = daemon.round();
        let totals = daemon.totals();
        // The tuner sees the CPUs that are online.
        let busy = daemon.tuning().map_or(0.0, |tuning| {
            tuning.utilisation * tuning.direct.len() as f64
        });
        let nodes = node_metrics(layout, daemon);
        Metrics {
            at_us: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
            interval_secs: interval.as_secs_f64(),
            slice_us: daemon.tuning().map_or(0, |tuning| tuning.slice_ns / 1000),
            utilisation: busy,
            capacity: nodes.values().map(|node| node.capacity).sum(),
            demand: nodes.values().map(|node| node.demand).sum(),
            level: if round.level.is_finite() {
                round.level
            } else {
                0.0
            },
            imbalance: round.imbalance,
            nr_tasks: round.nr_tasks as u64,
            nr_rows_missing: counters.get(abi::ballast_stat_BALLAST_STAT_ROWS_MISSING),
            moves_requested: totals.requested,
            moves_applied: totals.applied,
            moves_refused: totals.refused,
            moves_expired: totals.expired,
            wakeups_domain: counters.get(abi::ballast_stat_BALLAST_STAT_WAKE_IDLE_DOMAIN),
            wakeups_node: counters.get(abi::ballast_stat_BALLAST_STAT_WAKE_IDLE_NODE),
            wakeups_numa: counters.get(abi::ballast_stat_BALLAST_STAT_WAKE_IDLE_NUMA),
            wakeups_paired: counters.get(abi::ballast_stat_BALLAST_STAT_WAKE_PAIRED),
            wakeups_queued: counters.get(abi::ballast_stat_BALLAST_STAT_WAKE_QUEUED),
            preemptions: counters.get(abi::ballast_stat_BALLAST_STAT_PREEMPTIONS),
            dispatch_domain: counters.get(abi::ballast_stat_BALLAST_STAT_DISPATCH_DOMAIN),
            dispatch_cpu: counters.get(abi::ballast_stat_BALLAST_STAT_DISPATCH_CPU),
            kept: counters.get(abi::ballast_stat_BALLAST_STAT_KEPT),
            steals_domain: counters.get(abi::ballast_stat_BALLAST_STAT_STEAL_DOMAIN),
            steals_node: counters.get(abi::ballast_stat_BALLAST_STAT_STEAL_NODE),
            steals_numa: counters.get(abi::ballast_stat_BALLAST_STAT_STEAL_NUMA),
            help_kicks: counters.get(abi::ballast_stat_BALLAST_STAT_HELP_KICKS),
            heartbeats_lost: counters.get(abi::ballast_stat_BALLAST_STAT_HEARTBEAT_LOST),
            kthreads_local: counters.get(abi::ballast_stat_BALLAST_STAT_KTHREAD_LOCAL),
            nodes,
        }
    }

    /// Writes the readable form, with counts since `earlier`.
    ///
    /// # Errors
    /// `out` cannot be written.
    pub fn format(&self, earlier: &Metrics, out: &mut impl Write) -> Result<()> {
        let since = |of: fn(&Metrics) -> u64| of(self).saturating_sub(of(earlier));
        writeln!(
            out,
            "busy {:.2} of {:.2} CPUs, demand {:.2}, {} tasks, slice {} us, imbalance {:.2}",
            self.utilisation,
            self.capacity,
            self.demand,
            self.nr_tasks,
            self.slice_us,
            self.imbalance
        )?;
        writeln!(
            out,
            "moves: {} asked, {} applied, {} refused, {} expired",
            since(|m| m.moves_requested),
            since(|m| m.moves_applied),
            since(|m| m.moves_refused),
            since(|m| m.moves_expired)
        )?;
        writeln!(
            out,
            "wake-ups: {} domain, {} node, {} far, {} paired, {} queued, {} preempted; steals: \
             {} domain, {} node, {} far",
            since(|m| m.wakeups_domain),
            since(|m| m.wakeups_node),
            since(|m| m.wakeups_numa),
            since(|m| m.wakeups_paired),
            since(|m| m.wakeups_queued),
            since(|m| m.preemptions),
            since(|m| m.steals_domain),
            since(|m| m.steals_node),
            since(|m| m.steals_numa)
        )?;
        for (id, node) in &self.nodes {
            writeln!(
                out,
                "  node{id}: owes {:.2} of {:.2} CPUs, demand {:.2}",
                node.load, node.capacity, node.demand
            )?;
            for (id, domain) in &node.domains {
                writeln!(
                    out,
                    "    domain{id} ({}): owes {:.2} of {:.2} CPUs, demand {:.2}, {} tasks",
                    domain.cpus, domain.load, domain.capacity, domain.demand, domain.nr_tasks
                )?;
            }
        }
        Ok(())
    }
}

fn node_metrics(layout: &Layout, daemon: &Daemon) -> BTreeMap<usize, NodeMetrics> {
    let mut nodes: BTreeMap<usize, NodeMetrics> = layout
        .nodes
        .iter()
        .map(|node| (node.id.index(), NodeMetrics::default()))
        .collect();
    let round = daemon.round();
    for domain in &layout.domains {
        let seen = round
            .domains
            .get(domain.id.index())
            .copied()
            .unwrap_or_default();
        let node = nodes.entry(domain.node.index()).or_default();
        node.capacity += seen.capacity;
        node.load += seen.load;
        node.demand += seen.demand;
        node.domains.insert(
            domain.id.index(),
            DomainMetrics {
                cpus: format_cpus(&domain.cpus),
                capacity: seen.capacity,
                load: seen.load,
                demand: seen.demand,
                nr_tasks: seen.nr_tasks as u64,
            },
        );
    }
    nodes
}

#[cfg(test)]
mod tests {
    use scx_stats::prelude::*;

    use super::*;

    #[test]
    fn counts_are_printed_since_the_earlier_reading() {
        let earlier = Metrics {
            moves_applied: 3,
            ..Default::default()
        };
        let now = Metrics {
            moves_applied: 7,
            ..Default::default()
        };
        let mut out = Vec::new();
        now.format(&earlier, &mut out).expect("a buffer takes all");
        let text = String::from_utf8(out).expect("text");
        assert!(text.contains("4 applied"), "{text}");
    }

    #[test]
    fn every_metric_is_described() {
        let mut text = Vec::new();
        server_data()
            .describe_meta(&mut text, None)
            .expect("a buffer takes all");
        let text = String::from_utf8(text).expect("text");
        for meta in [Metrics::meta(), NodeMetrics::meta(), DomainMetrics::meta()] {
            for (name, field) in meta.fields {
                assert!(text.contains(&name), "{name}");
                assert!(field.attrs.desc.is_some(), "{name} has no description");
            }
        }
    }
}
