// SPDX-License-Identifier: GPL-2.0-only
//! How the machine's CPUs are grouped into scheduling domains.
//! Never reads files and never changes after it is built: it takes a `Machine`, returns a `Layout`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::cpulist::{CpuList, format_cpus};
use crate::ids::{CpuId, DomainId, NodeId};
use crate::topology::{Cpu, Machine, Node};
use crate::usage::UsageError;

/// The most domains a layout may have: with 16 CPUs each, twice the CPUs of
/// the biggest machine a kernel can be built for.
pub const MAX_DOMAINS: usize = 512;

/// What `--domains` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DomainSpec {
    /// One domain per last-level cache, in shards of at most `--domain-cpus`.
    Llc,
    /// One domain per node, in shards of at most `--domain-cpus`.
    Node,
    /// Exactly these domains.
    Lists(Vec<CpuList>),
}

/// The domains of a machine. Ids are dense, from 0, ordered by node, then by
/// first CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The highest possible CPU id, plus one.
    pub nr_cpu_ids: u32,
    /// Every online node by ascending id, CPU-less ones included.
    pub nodes: Vec<LayoutNode>,
    /// Indexed by [`DomainId::index`].
    pub domains: Vec<LayoutDomain>,
    /// The domain of every online CPU, and of each offline one that
    /// `--domains` lists or whose place is known and has a domain, so that it
    /// has one when it comes online.
    pub cpu_domain: BTreeMap<CpuId, DomainId>,
    /// For every CPU of `cpu_domain`, the CPUs of its core, itself included,
    /// ascending.
    pub siblings: BTreeMap<CpuId, Vec<CpuId>>,
}

/// A node and the run of domain ids on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayoutNode {
    /// The node.
    pub id: NodeId,
    /// SLIT distance to every online node, itself included.
    pub distance: BTreeMap<NodeId, u32>,
    /// The node's domains are `first_domain .. first_domain + nr_domains`.
    pub first_domain: DomainId,
    /// 0 for a node without online CPUs.
    pub nr_domains: u32,
}

/// One domain.
#[derive(Clone, Debug, PartialEq)]
pub struct LayoutDomain {
    /// The domain.
    pub id: DomainId,
    /// The node of its CPUs.
    pub node: NodeId,
    /// The CPUs online when the machine was read, ascending; never empty.
    pub cpus: Vec<CpuId>,
    /// Σ of the capacities of `cpus`, in CPUs of the biggest kind.
    pub capacity: f64,
}

/// One domain before it has an id.
struct Draft {
    node: NodeId,
    online: Vec<CpuId>,
    offline: Vec<CpuId>,
}

impl Layout {
    /// Groups the CPUs of `machine` as `spec` asks. `domain_cpus` (at least 1)
    /// bounds the domains of [`DomainSpec::Llc`] and [`DomainSpec::Node`]; a
    /// core with more threads than that stays whole unless it is 1.
    ///
    /// # Errors
    /// Lists that do not fit the machine, or more than [`MAX_DOMAINS`].
    pub fn build(
        machine: &Machine,
        spec: &DomainSpec,
        domain_cpus: u32,
    ) -> Result<Layout, UsageError> {
        let drafts = match spec {
            DomainSpec::Llc => sharded(machine, domain_cpus, |cpu| cpu.llc),
            DomainSpec::Node => sharded(machine, domain_cpus, |cpu| cpu.node.0),
            DomainSpec::Lists(lists) => listed(machine, lists)?,
        };
        if drafts.len() > MAX_DOMAINS {
            return Err(too_many(machine, spec, domain_cpus, drafts.len()));
        }
        Ok(assemble(machine, drafts))
    }

    /// A regular machine that need not exist, for load tests: CPUs spread
    /// evenly over domains and domains over nodes, a core for each CPU.
    ///
    /// # Panics
    /// Unless 1 <= `nr_nodes` <= `nr_domains` <= `nr_cpus`, and at most
    /// [`MAX_DOMAINS`] domains.
    pub fn synthetic(nr_cpus: u32, nr_domains: u32, nr_nodes: u32) -> Layout {
        assert!(1 <= nr_nodes && nr_nodes <= nr_domains && nr_domains <= nr_cpus);
        assert!(nr_domains as usize <= MAX_DOMAINS);
        let start = |part: u32, of: u32, whole: u32| {
            (u64::from(part) * u64::from(whole) / u64::from(of)) as u32
        };
        let drafts: Vec<Draft> = (0..nr_domains)
            .map(|domain| Draft {
                node: NodeId(start(domain, nr_domains, nr_nodes)),
                online: (start(domain, nr_domains, nr_cpus)
                    ..start(domain + 1, nr_domains, nr_cpus))
                    .map(CpuId)
                    .collect(),
                offline: Vec::new(),
            })
            .collect();
        assemble(&synthetic_machine(nr_cpus, nr_nodes, &drafts), drafts)
    }

    /// The domain with this id, if there is one.
    pub fn domain(&self, id: DomainId) -> Option<&LayoutDomain> {
        self.domains.get(id.index())
    }

    /// A table for a person: node, domain, capacity, CPUs.
    pub fn describe(&self) -> String {
        let mut table = format!("{:<8} {:<10} {:>8}  CPUs\n", "node", "domain", "capacity");
        for node in &self.nodes {
            let name = node.id.to_string();
            let first = node.first_domain.index();
            for domain in &self.domains[first..first + node.nr_domains as usize] {
                let id = domain.id.to_string();
                let cpus = format_cpus(&domain.cpus);
                // Writing to a String cannot fail.
                let _ = writeln!(table, "{name:<8} {id:<10} {:>8.2}  {cpus}", domain.capacity);
            }
            if node.nr_domains == 0 {
                let _ = writeln!(table, "{name:<8} {:<10} {:>8.2}  none", "-", 0.0);
            }
        }
        table
    }
}

/// The CPUs grouped by `key`, each group cut into even shards.
fn sharded(machine: &Machine, domain_cpus: u32, key: impl Fn(&Cpu) -> u32) -> Vec<Draft> {
    let mut groups: BTreeMap<u32, Vec<&Cpu>> = BTreeMap::new();
    for cpu in machine.cpus.values() {
        groups.entry(key(cpu)).or_default().push(cpu);
    }
    let mut drafts = Vec::new();
    for group in groups.values() {
        let mut shards: Vec<Draft> = split(cores(group), domain_cpus as usize)
            .into_iter()
            .map(|online| Draft {
                node: group[0].node,
                online,
                offline: Vec::new(),
            })
            .collect();
        for cpu in group.iter().filter(|cpu| !cpu.online) {
            let size = |shard: &&mut Draft| shard.online.len() + shard.offline.len();
            if let Some(smallest) = shards.iter_mut().min_by_key(size) {
                smallest.offline.push(cpu.id);
            }
        }
        drafts.append(&mut shards);
    }
    drafts
}

/// The online CPUs of each core. Neighbours share a last-level cache where
/// possible, so that cutting a node keeps caches together.
fn cores(group: &[&Cpu]) -> Vec<Vec<CpuId>> {
    let mut cores: BTreeMap<(u32, u32), Vec<CpuId>> = BTreeMap::new();
    for cpu in group.iter().filter(|cpu| cpu.online) {
        cores.entry((cpu.llc, cpu.core)).or_default().push(cpu.id);
    }
    cores.into_values().collect()
}

/// Cuts a run of cores into the fewest shards of at most `max_cpus` CPUs, as
/// even as whole cores allow. If a core is wider, every core is its own shard.
fn split(cores: Vec<Vec<CpuId>>, max_cpus: usize) -> Vec<Vec<CpuId>> {
    if max_cpus <= 1 {
        return cores.into_iter().flatten().map(|cpu| vec![cpu]).collect();
    }
    let nr_cpus: usize = cores.iter().map(Vec::len).sum();
    // Whole cores may need more shards than the count of CPUs suggests.
    for nr_shards in nr_cpus.div_ceil(max_cpus)..cores.len() {
        let shards = split_evenly(&cores, nr_cpus, nr_shards);
        if shards
            .iter()
            .all(|shard| (1..=max_cpus).contains(&shard.len()))
        {
            return sorted(shards);
        }
    }
    sorted(cores)
}

/// Each core goes to the shard in which its middle falls when the line of
/// CPUs is cut into equal parts.
fn split_evenly(cores: &[Vec<CpuId>], nr_cpus: usize, nr_shards: usize) -> Vec<Vec<CpuId>> {
    let mut shards = vec![Vec::new(); nr_shards];
    let mut before = 0;
    for core in cores {
        let middle_twice = 2 * before + core.len();
        shards[middle_twice * nr_shards / (2 * nr_cpus)].extend(core);
        before += core.len();
    }
    shards
}

fn sorted(mut shards: Vec<Vec<CpuId>>) -> Vec<Vec<CpuId>> {
    shards.iter_mut().for_each(|shard| shard.sort_unstable());
    shards
}

/// The domains that the user listed.
fn listed(machine: &Machine, lists: &[CpuList]) -> Result<Vec<Draft>, UsageError> {
    let mut owner: BTreeMap<CpuId, &CpuList> = BTreeMap::new();
    for list in lists {
        check_known(machine, list)?;
        for cpu in list.iter() {
            if let Some(other) = owner.insert(cpu, list) {
                return Err(wrong_lists(format!(
                    "CPU {} is in '{other}' and in '{list}'; list it once",
                    cpu.0
                )));
            }
        }
    }
    let online = machine.online().map(|cpu| cpu.id);
    let missing: Vec<CpuId> = online.filter(|cpu| !owner.contains_key(cpu)).collect();
    if !missing.is_empty() {
        return Err(wrong_lists(format!(
            "these online CPUs are in no list: {}; add them to one",
            format_cpus(&missing)
        )));
    }
    lists
        .iter()
        .map(|list| listed_domain(machine, list))
        .collect()
}

fn check_known(machine: &Machine, list: &CpuList) -> Result<(), UsageError> {
    let known = || {
        machine
            .cpus
            .keys()
            .chain(&machine.offline_unplaced)
            .copied()
    };
    let exists = |cpu: &CpuId| {
        machine.cpus.contains_key(cpu) || machine.offline_unplaced.binary_search(cpu).is_ok()
    };
    match list.iter().find(|cpu| !exists(cpu)) {
        None => Ok(()),
        Some(cpu) => Err(wrong_lists(format!(
            "CPU {} does not exist; this machine has CPUs {}",
            cpu.0,
            CpuList::from_cpus(known()).map_or(String::new(), |list| list.to_string())
        ))),
    }
}

/// One listed domain. Its CPUs exist and are in no other.
fn listed_domain(machine: &Machine, list: &CpuList) -> Result<Draft, UsageError> {
    let is_online = |id: &CpuId| machine.cpus.get(id).is_some_and(|cpu| cpu.online);
    let (online, offline): (Vec<CpuId>, Vec<CpuId>) = list.iter().partition(is_online);
    if online.is_empty() {
        return Err(wrong_lists(format!(
            "'{list}' has no online CPU; bring one online or leave it out"
        )));
    }
    let mut by_node: BTreeMap<NodeId, Vec<CpuId>> = BTreeMap::new();
    for cpu in list.iter().filter_map(|id| machine.cpus.get(&id)) {
        by_node.entry(cpu.node).or_default().push(cpu.id);
    }
    let mut nodes = by_node.iter();
    match (nodes.next(), nodes.next()) {
        (Some((a, on_a)), Some((b, on_b))) => Err(wrong_lists(format!(
            "'{list}' spans {a} (CPUs {}) and {b} (CPUs {}); write a list for each node",
            format_cpus(on_a),
            format_cpus(on_b)
        ))),
        (first, _) => Ok(Draft {
            // An online CPU is always placed, so there is a first node.
            node: first.map_or(NodeId(0), |(&node, _)| node),
            online,
            offline,
        }),
    }
}

fn wrong_lists(detail: String) -> UsageError {
    UsageError::new("--domains", detail)
}

/// The error for more domains than can be, with the setting that fits.
fn too_many(
    machine: &Machine,
    spec: &DomainSpec,
    domain_cpus: u32,
    nr_domains: usize,
) -> UsageError {
    let problem = format!("{nr_domains} domains are more than the {MAX_DOMAINS} possible");
    let fits = |cpus: &u32| match spec {
        DomainSpec::Llc => sharded(machine, *cpus, |cpu| cpu.llc).len() <= MAX_DOMAINS,
        DomainSpec::Node => sharded(machine, *cpus, |cpu| cpu.node.0).len() <= MAX_DOMAINS,
        DomainSpec::Lists(_) => false,
    };
    let mut bigger = (1..=10)
        .map(|power| 1 << power)
        .filter(|cpus| *cpus > domain_cpus);
    match (spec, bigger.find(fits)) {
        (DomainSpec::Lists(_), _) => UsageError::new("--domains", format!("{problem}; join lists")),
        (_, Some(cpus)) => UsageError::new(
            "--domain-cpus",
            format!("{domain_cpus} makes too small domains: {problem}; give {cpus} or more"),
        ),
        (_, None) => UsageError::new("--domains", format!("{problem}; give node, or CPU lists")),
    }
}

/// Gives the drafts their ids.
fn assemble(machine: &Machine, mut drafts: Vec<Draft>) -> Layout {
    drafts.sort_by_key(|draft| (draft.node, draft.online.first().copied()));
    let mut cpu_domain = BTreeMap::new();
    let mut domains = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.into_iter().enumerate() {
        let id = DomainId(index as u32);
        cpu_domain.extend(
            draft
                .online
                .iter()
                .chain(&draft.offline)
                .map(|&cpu| (cpu, id)),
        );
        let capacities = draft.online.iter().filter_map(|cpu| machine.cpus.get(cpu));
        domains.push(LayoutDomain {
            id,
            node: draft.node,
            capacity: capacities.map(|cpu| cpu.capacity).sum(),
            cpus: draft.online,
        });
    }
    Layout {
        nr_cpu_ids: machine.nr_cpu_ids,
        nodes: machine
            .nodes
            .values()
            .map(|node| layout_node(node, &domains))
            .collect(),
        siblings: siblings(machine, &cpu_domain),
        domains,
        cpu_domain,
    }
}

/// `domains` are in the order of their nodes.
fn layout_node(node: &Node, domains: &[LayoutDomain]) -> LayoutNode {
    let first = domains.partition_point(|domain| domain.node < node.id);
    let end = domains.partition_point(|domain| domain.node <= node.id);
    LayoutNode {
        id: node.id,
        distance: node.distance.clone(),
        first_domain: DomainId(first as u32),
        nr_domains: (end - first) as u32,
    }
}

fn siblings(
    machine: &Machine,
    cpu_domain: &BTreeMap<CpuId, DomainId>,
) -> BTreeMap<CpuId, Vec<CpuId>> {
    let mut cores: BTreeMap<u32, Vec<CpuId>> = BTreeMap::new();
    let placed = machine
        .cpus
        .values()
        .filter(|cpu| cpu_domain.contains_key(&cpu.id));
    for cpu in placed {
        cores.entry(cpu.core).or_default().push(cpu.id);
    }
    let of = |id: &CpuId| match machine.cpus.get(id).and_then(|cpu| cores.get(&cpu.core)) {
        Some(core) => core.clone(),
        None => vec![*id],
    };
    cpu_domain.keys().map(|id| (*id, of(id))).collect()
}

/// The machine behind [`Layout::synthetic`].
fn synthetic_machine(nr_cpus: u32, nr_nodes: u32, drafts: &[Draft]) -> Machine {
    let ids: BTreeSet<NodeId> = (0..nr_nodes).map(NodeId).collect();
    let distance = |from: NodeId| {
        let row = ids.iter().map(|&to| (to, if to == from { 10 } else { 21 }));
        row.collect()
    };
    let mut nodes: BTreeMap<NodeId, Node> = ids
        .iter()
        .map(|&id| {
            (
                id,
                Node {
                    id,
                    cpus: Vec::new(),
                    distance: distance(id),
                },
            )
        })
        .collect();
    let mut cpus = BTreeMap::new();
    for (llc, draft) in drafts.iter().enumerate() {
        for &id in &draft.online {
            let cpu = Cpu {
                id,
                node: draft.node,
                llc: llc as u32,
                core: id.0,
                online: true,
                capacity: 1.0,
            };
            cpus.insert(id, cpu);
        }
        if let Some(node) = nodes.get_mut(&draft.node) {
            node.cpus.extend(&draft.online);
        }
    }
    Machine {
        nr_cpu_ids: nr_cpus,
        cpus,
        offline_unplaced: Vec::new(),
        nodes,
    }
}
