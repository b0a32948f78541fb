// SPDX-License-Identifier: GPL-2.0-only
//! The machine in a snapshot file: nodes, and domains with their CPUs.
//! Never reads tasks.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::RangeInclusive;

use super::cursor::{At, Object};
use crate::cpulist::CpuList;
use crate::domains::MAX_DOMAINS;
use crate::ids::{CpuId, DomainId, NodeId};
use crate::load_balance::{Domain, Node};
use crate::usage::UsageError;

/// SLIT distances: 10 is a node's own, and one byte holds each.
const DISTANCES: RangeInclusive<u64> = 10..=255;
const OWN_DISTANCE: u64 = 10;

/// What the file says of the machine.
pub(super) struct Machine {
    /// By id, so that nothing depends on the file's order.
    pub nodes: Vec<Node>,
    pub node_ids: BTreeSet<NodeId>,
    /// By [`DomainId::index`].
    pub domains: Vec<Domain>,
    /// The file's id of every domain.
    pub domain_ids: BTreeMap<u64, DomainId>,
    /// In the order of the file.
    pub listed: Vec<DomainId>,
    /// The domain of every CPU.
    pub cpus: HashMap<CpuId, DomainId>,
}

/// Reads `topology`.
pub(super) fn read(at: &At<'_>) -> Result<Machine, UsageError> {
    let topology = at.object("the topology", &["nodes", "domains"])?;
    let (nodes, node_ids) = nodes(&topology.required("nodes"))?;
    let domains = topology.required("domains");
    let drafts = drafts(&domains, &node_ids)?;
    // By ascending id, so that a plan does not depend on the file's order.
    let ids: BTreeSet<u64> = drafts.iter().map(|draft| draft.id).collect();
    let domain_ids: BTreeMap<u64, DomainId> = ids.into_iter().zip((0..).map(DomainId)).collect();
    let listed: Vec<DomainId> = drafts.iter().map(|draft| domain_ids[&draft.id]).collect();
    let mut cpus = HashMap::new();
    let mut domains: Vec<Domain> = Vec::with_capacity(drafts.len());
    for (draft, &id) in drafts.into_iter().zip(&listed) {
        cpus.extend(draft.cpus.iter().map(|&cpu| (cpu, id)));
        domains.push(Domain {
            id,
            node: draft.node,
            capacity: draft.capacity,
            cpus: draft.cpus,
        });
    }
    domains.sort_by_key(|domain| domain.id);
    Ok(Machine {
        nodes,
        node_ids,
        domains,
        domain_ids,
        listed,
        cpus,
    })
}

fn nodes(at: &At<'_>) -> Result<(Vec<Node>, BTreeSet<NodeId>), UsageError> {
    let mut places: BTreeMap<NodeId, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for (index, item) in at.items("nodes")?.enumerate() {
        let node = item.object("a node", &["id", "distance"])?;
        let at_id = node.required("id");
        let id = NodeId(at_id.whole_u32("a node's id")?);
        if let Some(other) = places.insert(id, index) {
            return Err(at_id.error(format!(
                "node {} is declared already, in topology.nodes[{other}]; give each node once",
                id.0
            )));
        }
        rows.push(id);
    }
    let ids: BTreeSet<NodeId> = places.into_keys().collect();
    let mut nodes = Vec::with_capacity(rows.len());
    for (item, id) in at.items("nodes")?.zip(rows) {
        let node = item.object("a node", &["id", "distance"])?;
        let distance = distances(&node.required("distance"), id, &ids)?;
        nodes.push(Node { id, distance });
    }
    nodes.sort_by_key(|node| node.id);
    Ok((nodes, ids))
}

/// The distances from node `from` to declared nodes.
fn distances(
    at: &At<'_>,
    from: NodeId,
    ids: &BTreeSet<NodeId>,
) -> Result<BTreeMap<NodeId, u32>, UsageError> {
    let mut distances = BTreeMap::new();
    for (name, at) in at.entries("the distance to each node, such as {\"0\":10,\"1\":21}")? {
        let to = node_of_name(name)
            .ok_or_else(|| at.error("this is not a node's id; give whole numbers in quotes"))?;
        if !ids.contains(&to) {
            return Err(at.error(format!(
                "node {} is not declared in topology.nodes; declare it, or leave the distance out",
                to.0
            )));
        }
        let distance = at.whole("a distance", DISTANCES)?;
        if to == from && distance != OWN_DISTANCE {
            return Err(at.refuse("a node's distance to itself", "10"));
        }
        distances.insert(to, distance as u32);
    }
    Ok(distances)
}

/// A node's id as the name of a field, in the one way to write it.
fn node_of_name(name: &str) -> Option<NodeId> {
    let id: u32 = name.parse().ok()?;
    (id.to_string() == name).then_some(NodeId(id))
}

/// A domain before it has a dense id.
struct Draft {
    id: u64,
    node: NodeId,
    cpus: Vec<CpuId>,
    capacity: f64,
}

/// The domains in the order of the file.
fn drafts(at: &At<'_>, nodes: &BTreeSet<NodeId>) -> Result<Vec<Draft>, UsageError> {
    let mut places: BTreeMap<u64, usize> = BTreeMap::new();
    let mut owners: HashMap<CpuId, usize> = HashMap::new();
    let mut drafts = Vec::new();
    for (index, item) in at.items("domains")?.enumerate() {
        if index == MAX_DOMAINS {
            return Err(item.error(format!("it is one too many; give at most {MAX_DOMAINS}")));
        }
        let domain = item.object("a domain", &["id", "node", "cpus", "capacity"])?;
        let at_id = domain.required("id");
        let id = at_id.whole_u64("a domain's id")?;
        match places.entry(id) {
            Entry::Vacant(place) => drop(place.insert(index)),
            Entry::Occupied(other) => {
                return Err(at_id.error(format!(
                    "domain {id} is declared already, in topology.domains[{}]; give each \
                     domain once",
                    other.get()
                )));
            }
        }
        let node = node(&domain.required("node"), nodes)?;
        let cpus = own_cpus(&domain.required("cpus"), index, &mut owners)?;
        let capacity = capacity(&domain, cpus.len())?;
        drafts.push(Draft {
            id,
            node,
            cpus,
            capacity,
        });
    }
    if drafts.is_empty() {
        return Err(at.error("there are no domains; give at least one"));
    }
    Ok(drafts)
}

/// A declared node.
pub(super) fn node(at: &At<'_>, nodes: &BTreeSet<NodeId>) -> Result<NodeId, UsageError> {
    let id = NodeId(at.whole_u32("a node's id")?);
    if nodes.contains(&id) {
        return Ok(id);
    }
    Err(at.error(format!(
        "node {} is not declared in topology.nodes; declare it, or give another",
        id.0
    )))
}

/// A list of CPUs.
pub(super) fn cpu_list(at: &At<'_>) -> Result<CpuList, UsageError> {
    let text = at.text("a list of CPUs", "a text such as '0-3,8'")?;
    text.parse().map_err(|error| at.error(error))
}

/// The CPUs of the domain at `index`, which no other may have.
fn own_cpus(
    at: &At<'_>,
    index: usize,
    owners: &mut HashMap<CpuId, usize>,
) -> Result<Vec<CpuId>, UsageError> {
    let cpus: Vec<CpuId> = cpu_list(at)?.iter().collect();
    for &cpu in &cpus {
        if let Some(other) = owners.insert(cpu, index) {
            return Err(at.error(format!(
                "CPU {} is in topology.domains[{other}] already; give each CPU to one domain",
                cpu.0
            )));
        }
    }
    Ok(cpus)
}

/// A CPU hands out at most itself, and a slower one less.
fn capacity(domain: &Object<'_>, nr_cpus: usize) -> Result<f64, UsageError> {
    let most = nr_cpus as f64;
    match domain.optional("capacity") {
        None => Ok(most),
        Some(at) => at.number(
            "the capacity of this domain",
            &format!("a number of CPUs from 0 to the {nr_cpus} it has"),
            |capacity| (0.0..=most).contains(&capacity),
        ),
    }
}
