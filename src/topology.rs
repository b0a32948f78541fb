// SPDX-License-Identifier: GPL-2.0-only
//! The machine as sysfs describes it: CPUs, cores, last-level caches, nodes and distances.
//! Never decides how CPUs are grouped into domains, and never reads outside the root it is given.
//!
//! Why not `scx_utils::Topology`: it takes its root from an environment
//! variable read once per process, so one process cannot read two trees; it
//! stores a node's distances by position and looks them up by node id, which
//! is wrong when node ids have gaps; it finds the last-level cache by the
//! names `index2` and `index3`; it fails when an online CPU lacks one
//! topology file; it drops offline CPUs silently; and its lists come from
//! `read_cpulist` (see `cpulist`).

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::cpulist::CpuList;
use crate::ids::{CpuId, NodeId};

/// What sysfs says about the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The highest possible CPU id, plus one.
    pub nr_cpu_ids: u32,
    /// Every CPU whose place is known, online or not.
    pub cpus: BTreeMap<CpuId, Cpu>,
    /// Present but offline CPUs whose place sysfs does not tell.
    pub offline_unplaced: Vec<CpuId>,
    /// Every online node, with or without CPUs. Never empty.
    pub nodes: BTreeMap<NodeId, Node>,
}

/// One logical CPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Cpu {
    /// The CPU.
    pub id: CpuId,
    /// Its node.
    pub node: NodeId,
    /// The last-level cache: unique on the machine, dense, from 0. A cache
    /// that spans nodes counts as one per node.
    pub llc: u32,
    /// The physical core: unique on the machine, dense, from 0.
    pub core: u32,
    /// Whether it is online.
    pub online: bool,
    /// Relative to the biggest CPU of the machine, in (0, 1].
    pub capacity: f64,
}

/// One NUMA node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node.
    pub id: NodeId,
    /// The CPUs of [`Machine::cpus`] on this node, ascending; empty for a
    /// node with memory only.
    pub cpus: Vec<CpuId>,
    /// SLIT distance to every online node, this one (usually 10) included.
    pub distance: BTreeMap<NodeId, u32>,
}

/// `cpu_capacity` of the biggest CPU the kernel knows (SCHED_CAPACITY_SCALE).
const FULL_CAPACITY: u32 = 1024;

/// SLIT distances where the firmware gives none (LOCAL_DISTANCE and
/// REMOTE_DISTANCE in the kernel's include/linux/topology.h).
const LOCAL_DISTANCE: u32 = 10;
const REMOTE_DISTANCE: u32 = 20;

impl Machine {
    /// Reads the machine from `root`/sys; `root` is `/` except in tests.
    ///
    /// An offline CPU is placed when its node is known and either its cache
    /// files remain or its node has one last-level cache only.
    ///
    /// # Errors
    /// A file that must exist is missing, or one has unexpected content; the
    /// error names the file.
    pub fn read(root: &Path) -> Result<Machine> {
        let sysfs = Sysfs::below(root);
        let ids = sysfs.cpu_ids()?;
        let mut nodes = sysfs.nodes(&ids)?;
        let places = sysfs.places(&ids, &nodes)?;
        let cpus = number_places(&places);
        for node in nodes.values_mut() {
            node.cpus.retain(|id| cpus.contains_key(id));
        }
        for cpu in cpus.values() {
            // Only a CPU that no node claimed is missing here.
            if let Some(node) = nodes.get_mut(&cpu.node)
                && let Err(at) = node.cpus.binary_search(&cpu.id)
            {
                node.cpus.insert(at, cpu.id);
            }
        }
        Ok(Machine {
            nr_cpu_ids: ids.nr_cpu_ids,
            offline_unplaced: ids
                .present
                .iter()
                .filter(|id| !cpus.contains_key(id))
                .copied()
                .collect(),
            cpus,
            nodes,
        })
    }

    /// The CPUs that are online, ascending.
    pub fn online(&self) -> impl Iterator<Item = &Cpu> {
        self.cpus.values().filter(|cpu| cpu.online)
    }
}

/// The CPU ids of the machine.
struct CpuIds {
    nr_cpu_ids: u32,
    present: BTreeSet<CpuId>,
    online: BTreeSet<CpuId>,
}

/// Where one CPU sits, in the terms of sysfs.
struct Place {
    node: NodeId,
    /// `None` for an offline CPU whose files are gone.
    llc: Option<LlcKey>,
    /// The CPUs of its core, itself included.
    siblings: Vec<CpuId>,
    capacity: u32,
    online: bool,
}

/// What makes two CPUs of one node share a last-level cache. Cache ids are
/// not used: they may repeat across sockets, and may be absent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LlcKey {
    /// The CPUs that share the cache.
    Shared(Vec<CpuId>),
    /// No cache is described: the physical package stands in.
    Package(u32),
    /// Not even that: the node stands in.
    Node,
}

/// The two directories read here.
struct Sysfs {
    cpu: PathBuf,
    node: PathBuf,
}

impl Sysfs {
    fn below(root: &Path) -> Sysfs {
        let system = root.join("sys/devices/system");
        Sysfs {
            cpu: system.join("cpu"),
            node: system.join("node"),
        }
    }

    fn cpu_ids(&self) -> Result<CpuIds> {
        let required = |name: &str| -> Result<BTreeSet<CpuId>> {
            let path = self.cpu.join(name);
            match read_list(&path)? {
                Some(cpus) if !cpus.is_empty() => Ok(cpus.into_iter().collect()),
                Some(_) => bail!("reading {}: it lists no CPU", path.display()),
                None => bail!(
                    "reading {}: no such file; is sysfs mounted?",
                    path.display()
                ),
            }
        };
        let possible = required("possible")?;
        let online = required("online")?;
        let mut present: BTreeSet<CpuId> = match read_list(&self.cpu.join("present"))? {
            Some(cpus) => cpus.into_iter().collect(),
            None => possible.clone(),
        };
        present.extend(&online);
        let last = possible.last().map_or(0, |cpu| cpu.0);
        if let Some(beyond) = present.iter().find(|cpu| cpu.0 > last) {
            bail!(
                "reading {}: CPU {} is beyond the last possible CPU, {last}",
                self.cpu.display(),
                beyond.0
            );
        }
        Ok(CpuIds {
            nr_cpu_ids: last + 1,
            present,
            online,
        })
    }

    /// The online nodes with the CPUs that they claim. One node 0 with every
    /// present CPU where the kernel has no NUMA support.
    fn nodes(&self, ids: &CpuIds) -> Result<BTreeMap<NodeId, Node>> {
        let online = read_list(&self.node.join("online"))?.unwrap_or_default();
        if online.is_empty() {
            let id = NodeId(0);
            let node = Node {
                id,
                cpus: ids.present.iter().copied().collect(),
                distance: BTreeMap::from([(id, LOCAL_DISTANCE)]),
            };
            return Ok(BTreeMap::from([(id, node)]));
        }
        // Lists of nodes are written like lists of CPUs.
        let node_ids: Vec<NodeId> = online.into_iter().map(|id| NodeId(id.0)).collect();
        let mut owner: BTreeMap<CpuId, NodeId> = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        for &id in &node_ids {
            let dir = self.node.join(format!("node{}", id.0));
            let cpus = node_cpus(&dir, ids)?;
            for &cpu in &cpus {
                if let Some(other) = owner.insert(cpu, id) {
                    bail!("reading {}: {cpu} is also on {other}", dir.display());
                }
            }
            let distance = read_distance(&dir.join("distance"), id, &node_ids)?;
            let cpus = cpus.into_iter().collect();
            nodes.insert(id, Node { id, cpus, distance });
        }
        Ok(nodes)
    }

    /// The place of every CPU that is online or whose node is known.
    fn places(
        &self,
        ids: &CpuIds,
        nodes: &BTreeMap<NodeId, Node>,
    ) -> Result<BTreeMap<CpuId, Place>> {
        let owner: BTreeMap<CpuId, NodeId> = nodes
            .values()
            .flat_map(|node| node.cpus.iter().map(|&cpu| (cpu, node.id)))
            .collect();
        let mut places = BTreeMap::new();
        for &id in &ids.present {
            let online = ids.online.contains(&id);
            let node = match (owner.get(&id), nodes.keys().next()) {
                (Some(&node), _) => node,
                (None, Some(&first)) if online => {
                    log::warn!("{id} is on no NUMA node; taking it as part of {first}");
                    first
                }
                _ => continue,
            };
            places.insert(id, self.place(id, node, online)?);
        }
        Ok(places)
    }

    fn place(&self, id: CpuId, node: NodeId, online: bool) -> Result<Place> {
        let dir = self.cpu.join(format!("cpu{}", id.0));
        let siblings = read_siblings(&dir.join("topology"), id)?;
        let mut llc = read_llc(&dir.join("cache"), siblings.len())?;
        if llc.is_none() && online {
            llc = Some(read_package(&dir.join("topology"))?);
        }
        let path = dir.join("cpu_capacity");
        let capacity = match read_optional(&path)? {
            None => FULL_CAPACITY,
            Some(text) => match text.trim().parse::<u32>() {
                Ok(capacity) if capacity > 0 => capacity,
                _ => bail!(
                    "reading {}: {:?} is not a capacity",
                    path.display(),
                    text.trim()
                ),
            },
        };
        Ok(Place {
            node,
            llc,
            siblings,
            capacity,
            online,
        })
    }
}

/// Gives caches and cores dense numbers in the order of their first CPU.
fn number_places(places: &BTreeMap<CpuId, Place>) -> BTreeMap<CpuId, Cpu> {
    let biggest = places
        .values()
        .filter(|place| place.online)
        .map(|place| place.capacity)
        .max()
        .unwrap_or(FULL_CAPACITY);
    let only_llc = only_llc_of_node(places);
    let mut llcs: BTreeMap<(NodeId, &LlcKey), u32> = BTreeMap::new();
    let mut cores: BTreeMap<(u32, &[CpuId]), u32> = BTreeMap::new();
    let mut cpus = BTreeMap::new();
    for (&id, place) in places {
        let Some(key) = place
            .llc
            .as_ref()
            .or(only_llc.get(&place.node).copied().flatten())
        else {
            continue;
        };
        let next = llcs.len() as u32;
        let llc = *llcs.entry((place.node, key)).or_insert(next);
        let next = cores.len() as u32;
        let core = *cores.entry((llc, &place.siblings)).or_insert(next);
        let cpu = Cpu {
            id,
            node: place.node,
            llc,
            core,
            online: place.online,
            capacity: f64::from(place.capacity.min(biggest)) / f64::from(biggest),
        };
        cpus.insert(id, cpu);
    }
    cpus
}

/// For each node, its last-level cache if it has exactly one.
fn only_llc_of_node(places: &BTreeMap<CpuId, Place>) -> BTreeMap<NodeId, Option<&LlcKey>> {
    let mut only: BTreeMap<NodeId, Option<&LlcKey>> = BTreeMap::new();
    for place in places.values() {
        if let Some(key) = &place.llc {
            only.entry(place.node)
                .and_modify(|first| *first = first.filter(|first| *first == key))
                .or_insert(Some(key));
        }
    }
    only
}

/// The present CPUs of the node at `dir`. `cpulist` has the online ones only;
/// the links to the CPUs remain while a CPU is offline.
fn node_cpus(dir: &Path, ids: &CpuIds) -> Result<BTreeSet<CpuId>> {
    let mut cpus: BTreeSet<CpuId> = read_list(&dir.join("cpulist"))?
        .unwrap_or_default()
        .into_iter()
        .collect();
    let reading = || format!("reading {}", dir.display());
    for entry in fs::read_dir(dir).with_context(reading)? {
        let name = entry.with_context(reading)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("cpu"));
        if let Some(id) = number.and_then(|number| number.parse::<u32>().ok()) {
            cpus.insert(CpuId(id));
        }
    }
    cpus.retain(|cpu| ids.present.contains(cpu));
    Ok(cpus)
}

/// One row of the SLIT, which the kernel prints in the order of the online nodes.
fn read_distance(path: &Path, id: NodeId, nodes: &[NodeId]) -> Result<BTreeMap<NodeId, u32>> {
    let Some(text) = read_optional(path)? else {
        let default = |node| {
            if node == id {
                LOCAL_DISTANCE
            } else {
                REMOTE_DISTANCE
            }
        };
        return Ok(nodes.iter().map(|&node| (node, default(node))).collect());
    };
    let row = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<Vec<u32>, _>>()
        .with_context(|| format!("reading {}: {:?}", path.display(), text.trim()))?;
    if row.len() != nodes.len() {
        bail!(
            "reading {}: {} distances for {} online nodes",
            path.display(),
            row.len(),
            nodes.len()
        );
    }
    Ok(nodes.iter().copied().zip(row).collect())
}

/// The CPUs of the core, under the file's new name or its name before 5.3.
fn read_siblings(topology: &Path, id: CpuId) -> Result<Vec<CpuId>> {
    for name in ["core_cpus_list", "thread_siblings_list"] {
        if let Some(cpus) = read_list(&topology.join(name))?
            && cpus.contains(&id)
        {
            return Ok(cpus);
        }
    }
    Ok(vec![id])
}

/// The last-level cache: the highest level that holds data, if it can be the
/// last. A first-level cache never is, and a second-level one is not when
/// only one core uses it: many servers do not describe the system cache
/// behind it, and a domain per core would be the result.
fn read_llc(cache: &Path, core_cpus: usize) -> Result<Option<LlcKey>> {
    let mut highest: Option<(u32, Vec<CpuId>)> = None;
    // Index directories are numbered from 0 without gaps.
    for index in (0u32..).map(|i| cache.join(format!("index{i}"))) {
        let Some(level) = read_optional(&index.join("level"))? else {
            break;
        };
        let Ok(level) = level.trim().parse::<u32>() else {
            bail!(
                "reading {}: {:?} is not a level",
                index.join("level").display(),
                level.trim()
            );
        };
        let kind = read_optional(&index.join("type"))?.unwrap_or_default();
        let shared = read_list(&index.join("shared_cpu_list"))?.unwrap_or_default();
        let holds_data = matches!(kind.trim(), "Unified" | "Data");
        if holds_data && !shared.is_empty() && highest.as_ref().is_none_or(|(top, _)| level > *top)
        {
            highest = Some((level, shared));
        }
    }
    Ok(highest
        .filter(|(level, shared)| *level >= 3 || (*level == 2 && shared.len() > core_cpus))
        .map(|(_, shared)| LlcKey::Shared(shared)))
}

/// The physical package, where the kernel knows it (-1 where it does not).
fn read_package(topology: &Path) -> Result<LlcKey> {
    let text = read_optional(&topology.join("physical_package_id"))?;
    Ok(text
        .and_then(|text| text.trim().parse::<u32>().ok())
        .map_or(LlcKey::Node, LlcKey::Package))
}

/// A list of ids; `None` if the file does not exist.
fn read_list(path: &Path) -> Result<Option<Vec<CpuId>>> {
    let Some(text) = read_optional(path)? else {
        return Ok(None);
    };
    if text.trim().is_empty() {
        return Ok(Some(Vec::new()));
    }
    let list: CpuList = text
        .parse()
        .with_context(|| format!("reading {}", path.display()))?;
    Ok(Some(list.iter().collect()))
}

/// The file's text; `None` if it does not exist.
fn read_optional(path: &Path) -> Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}
