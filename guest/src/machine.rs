// SPDX-License-Identifier: GPL-2.0-only
//! The guest's machine as sysfs shows it: online CPUs, nodes, cores.
//! Never asks the scheduler: its view is checked against this one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cpus::CpuList;

/// One NUMA node; a memory-only node has no CPUs.
#[derive(Clone, Debug)]
pub struct Node {
    /// Number in /sys/devices/system/node; may have gaps.
    pub id: u32,
    /// Its online CPUs.
    pub cpus: CpuList,
}

/// The machine's CPUs and nodes.
#[derive(Clone, Debug)]
pub struct Machine {
    /// All online CPUs.
    pub cpus: CpuList,
    /// Nodes in ascending order of id.
    pub nodes: Vec<Node>,
    /// Sibling sets, one a core.
    pub cores: Vec<CpuList>,
}

impl Machine {
    /// Reads the running machine.
    ///
    /// # Errors
    /// When sysfs is not mounted or reads as nonsense.
    pub fn read() -> Result<Self> {
        Self::read_from(Path::new("/sys/devices/system"))
    }

    fn read_from(root: &Path) -> Result<Self> {
        let cpus = read_list(&root.join("cpu/online"))?;
        let mut cores = Vec::new();
        for cpu in cpus.iter() {
            let path = root.join(format!("cpu/cpu{cpu}/topology/thread_siblings_list"));
            let core = if path.exists() {
                read_list(&path)?
            } else {
                CpuList::from_iter([cpu])
            };
            if !cores.contains(&core) {
                cores.push(core);
            }
        }
        let nodes = read_nodes(&root.join("node"), &cpus)?;
        Ok(Self { cpus, nodes, cores })
    }

    /// The nodes that have CPUs.
    pub fn nodes_with_cpus(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| !node.cpus.is_empty())
    }

    /// Place in `nodes` of the node `cpu` belongs to.
    pub fn node_of(&self, cpu: usize) -> Option<usize> {
        self.nodes.iter().position(|node| node.cpus.contains(cpu))
    }
}

fn read_nodes(root: &Path, online: &CpuList) -> Result<Vec<Node>> {
    if !root.exists() {
        return Ok(vec![Node {
            id: 0,
            cpus: online.clone(),
        }]);
    }
    let ids = read_list(&root.join("online"))?;
    ids.iter()
        .map(|id| {
            let listed = read_list(&root.join(format!("node{id}/cpulist")))?;
            Ok(Node {
                id: id as u32,
                cpus: listed.iter().filter(|cpu| online.contains(*cpu)).collect(),
            })
        })
        .collect()
}

fn read_list(path: &Path) -> Result<CpuList> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    CpuList::parse(&text)
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod unit {
    use super::Machine;

    #[test]
    fn this_machine_reads() {
        let machine = Machine::read().expect("sysfs is mounted");
        assert!(!machine.cpus.is_empty());
        let listed: usize = machine.nodes.iter().map(|node| node.cpus.len()).sum();
        assert_eq!(listed, machine.cpus.len());
        let first = machine.cpus.iter().next().expect("one CPU");
        assert!(machine.node_of(first).is_some());
    }
}
