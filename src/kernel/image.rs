// SPDX-License-Identifier: GPL-2.0-only
//! What the BPF side is told before it runs: constants, and tables that never change.
//! Never touches a map: whoever loads the BPF side puts these where they belong.

use anyhow::{Result, anyhow};

use crate::abi::{self, ballast_domain, ballast_node};
use crate::config::Config;
use crate::domains::Layout;
use crate::ids::DomainId;

/// A daemon silent for this many of its own periods counts as stalled: five
/// survive a slow round on a loaded machine.
const HEARTBEAT_PERIODS: u32 = 5;
/// And never sooner than this, in ns: start-up alone may take a second.
const HEARTBEAT_MIN_NS: u64 = 3_000_000_000;

/// The constants of types.bpf.h, under the same names.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constants {
    pub nr_cpu_ids: u32,
    pub nr_domains: u32,
    pub nr_nodes: u32,
    pub max_rows: u32,
    pub mask_words: u32,
    pub fifo_sched: bool,
    pub kthreads_local: bool,
    pub direct_greedy: bool,
    pub direct_greedy_numa: bool,
    pub kick_greedy: bool,
    pub mempolicy_affinity: bool,
    pub greedy_threshold: u32,
    pub greedy_threshold_x_numa: u32,
    pub steal_after_node_ns: u64,
    pub steal_after_numa_ns: u64,
    pub heartbeat_timeout_ns: u64,
    pub daemon_tgid: u32,
    pub cpuperf: u32,
}

impl Constants {
    /// What `config` means for BPF; `daemon_tgid` is the daemon's process.
    pub fn of(config: &Config, daemon_tgid: u32) -> Constants {
        let layout = &config.layout;
        let silence = config.tune_interval * HEARTBEAT_PERIODS;
        let silence_ns = u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX);
        Constants {
            nr_cpu_ids: layout.nr_cpu_ids,
            nr_domains: layout.domains.len() as u32,
            nr_nodes: layout.nodes.len() as u32,
            max_rows: config.max_tasks,
            mask_words: mask_words(layout) as u32,
            fifo_sched: config.fifo_sched,
            kthreads_local: config.kthreads_local,
            direct_greedy: config.direct_greedy_under_frac > 0.0,
            direct_greedy_numa: config.direct_greedy_numa,
            kick_greedy: config.kick_greedy_under_frac > 0.0,
            mempolicy_affinity: config.mempolicy_affinity,
            greedy_threshold: config.greedy_threshold,
            greedy_threshold_x_numa: config.greedy_threshold_x_numa,
            steal_after_node_ns: config.steal_after_node_ns,
            steal_after_numa_ns: config.steal_after_numa_ns,
            heartbeat_timeout_ns: silence_ns.max(HEARTBEAT_MIN_NS),
            daemon_tgid,
            cpuperf: config.perf.unwrap_or(abi::ballast_limits_BALLAST_NONE),
        }
    }
}

/// The values of the maps that never change while the scheduler is loaded, each
/// under the map's name and in order of its keys.
#[allow(missing_docs)]
pub struct Tables {
    pub domain_cpus: Vec<u32>,
    pub domains: Vec<ballast_domain>,
    pub nodes: Vec<ballast_node>,
    pub node_order: Vec<u32>,
}

impl Tables {
    /// The tables of this layout.
    ///
    /// # Errors
    /// A domain on a node that the layout does not hold.
    pub fn of(layout: &Layout) -> Result<Tables> {
        let (mut domain_cpus, mut domains) = (Vec::new(), Vec::new());
        for domain in &layout.domains {
            let first_cpu = domain_cpus.len();
            // With those that are offline: they may come back.
            let members = layout.cpu_domain.iter().filter(|(_, id)| **id == domain.id);
            domain_cpus.extend(members.map(|(cpu, _)| cpu.0));
            // SAFETY: the struct holds integers only.
            let mut value: ballast_domain = unsafe { std::mem::zeroed() };
            value.node = node_index(layout, domain.id)?;
            value.first_cpu = first_cpu as u32;
            value.nr_cpus = (domain_cpus.len() - first_cpu) as u32;
            domains.push(value);
        }
        let node = |node: &crate::domains::LayoutNode| ballast_node {
            id: node.id.0,
            first_domain: node.first_domain.0,
            nr_domains: node.nr_domains,
            nr_idle: 0,
        };
        let order = |index| by_distance(layout, index).into_iter();
        Ok(Tables {
            domain_cpus,
            domains,
            nodes: layout.nodes.iter().map(node).collect(),
            node_order: (0..layout.nodes.len())
                .flat_map(order)
                .map(|other| other as u32)
                .collect(),
        })
    }
}

/// Until the tuner knows better: any CPU, for what the flags do not forbid.
pub fn initial_roles(config: &Config) -> u32 {
    let mut roles = 0;
    if config.direct_greedy_under_frac > 0.0 {
        roles |= abi::ballast_cpu_flags_BALLAST_CPU_DIRECT;
    }
    if config.kick_greedy_under_frac > 0.0 {
        roles |= abi::ballast_cpu_flags_BALLAST_CPU_KICK;
    }
    roles
}

/// u64 words of a set of CPUs.
pub fn mask_words(layout: &Layout) -> usize {
    (layout.nr_cpu_ids as usize).div_ceil(64)
}

/// Position in `layout.nodes` of the node that holds `domain`.
///
/// # Errors
/// There is none.
pub fn node_index(layout: &Layout, domain: DomainId) -> Result<u32> {
    let node = layout.domains[domain.index()].node;
    layout
        .nodes
        .iter()
        .position(|candidate| candidate.id == node)
        .map(|index| index as u32)
        .ok_or_else(|| anyhow!("{domain} is in {node}, which the layout does not hold"))
}

/// All nodes, nearest to the one at `index` first; the node itself leads. Of those equally
/// far each node begins with another: were it the same one for all, all would take from it.
fn by_distance(layout: &Layout, index: usize) -> Vec<usize> {
    let here = &layout.nodes[index];
    let distance = |other: usize| {
        let id = layout.nodes[other].id;
        let distance = here.distance.get(&id).copied().unwrap_or(u32::MAX);
        (other != index, distance)
    };
    let mut order: Vec<usize> = (0..layout.nodes.len()).collect();
    order.sort_by_key(|&other| distance(other));
    for equals in order.chunk_by_mut(|&one, &next| distance(one) == distance(next)) {
        equals.rotate_left(index % equals.len());
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_follow_the_layout() {
        let tables = Tables::of(&Layout::synthetic(16, 4, 2)).expect("a whole layout");
        assert_eq!(tables.domain_cpus, (0..16).collect::<Vec<u32>>());
        let places: Vec<(u32, u32)> = tables
            .domains
            .iter()
            .map(|domain| (domain.first_cpu, domain.node))
            .collect();
        assert_eq!(places, [(0, 0), (4, 0), (8, 1), (12, 1)]);
        assert_eq!(tables.node_order, [0, 1, 1, 0]);
        assert_eq!(tables.nodes[1].first_domain, 2);
    }

    #[test]
    fn nodes_equally_far_from_all_are_not_all_asked_in_the_same_order() {
        let tables = Tables::of(&Layout::synthetic(16, 4, 4)).expect("a whole layout");
        let rows: Vec<&[u32]> = tables.node_order.chunks(4).collect();
        let first: Vec<u32> = rows.iter().map(|row| row[1]).collect();
        assert_eq!(first, [1, 2, 3, 0]);
    }

    #[test]
    fn nodes_of_two_boards_each_begin_with_another_node_of_the_other_board() {
        let mut layout = Layout::synthetic(16, 8, 8);
        let ids: Vec<_> = layout.nodes.iter().map(|node| node.id).collect();
        for (index, node) in layout.nodes.iter_mut().enumerate() {
            for (other, id) in ids.iter().enumerate() {
                let distance = match (index == other, index / 4 == other / 4) {
                    (true, _) => 10,
                    (false, true) => 12,
                    (false, false) => 21,
                };
                node.distance.insert(*id, distance);
            }
        }
        let first_far = |index| by_distance(&layout, index)[4];
        let firsts: Vec<usize> = (0..8).map(first_far).collect();
        assert_eq!(firsts, [4, 5, 6, 7, 0, 1, 2, 3]);
    }
}
