// SPDX-License-Identifier: GPL-2.0-only
//! Owns the machines that can be booted, by name, and their QEMU arguments.
//! Must never ask the host what it has: a name is the same machine everywhere.

use std::fmt::Write as _;

/// The machine used unless another is named.
pub const DEFAULT: &str = "2x4";
/// One to see what a larger machine makes of the same work.
pub const LARGE: &str = "4x8";
/// One with memory for 100,000 threads.
pub const ROOMY: &str = "2x4-roomy";

/// A node's memory: room for the initramfs, stress-ng and its page cache.
const NODE_MEMORY_MIB: u32 = 1024;
/// A node's in the roomy machine: 100,000 threads take some 4 GiB in all, the kernel's part
/// included, and as much is left for what a scheduler keeps of each.
const ROOMY_NODE_MEMORY_MIB: u32 = 4096;

/// One NUMA node: `cpus` of them from `first_cpu` on; none makes it memory-only.
#[derive(Debug)]
pub struct Node {
    first_cpu: u32,
    cpus: u32,
}

/// A machine: sockets × cores × threads, its nodes, and the distances between them.
#[derive(Debug)]
pub struct Topology {
    /// What the user types.
    pub name: &'static str,
    about: &'static str,
    sockets: u32,
    cores: u32,
    threads: u32,
    node_memory_mib: u32,
    /// CPUs plugged in; the rest of sockets × cores × threads are empty places.
    pub present_cpus: u32,
    nodes: &'static [Node],
    /// SLIT distances of node pairs; local is 10, the other direction the same.
    distances: &'static [(u32, u32, u32)],
}

const fn node(first_cpu: u32, cpus: u32) -> Node {
    Node { first_cpu, cpus }
}

/// The usual machine.
const USUAL: Topology = Topology {
    name: DEFAULT,
    about: "two sockets of 4 cores, a node each, distance 21",
    sockets: 2,
    cores: 4,
    threads: 1,
    node_memory_mib: NODE_MEMORY_MIB,
    present_cpus: 8,
    nodes: &[node(0, 4), node(4, 4)],
    distances: &[(0, 1, 21)],
};

static TOPOLOGIES: [Topology; 6] = [
    Topology {
        name: "1x4",
        about: "one socket of 4 cores, one node",
        sockets: 1,
        cores: 4,
        threads: 1,
        node_memory_mib: NODE_MEMORY_MIB,
        present_cpus: 4,
        nodes: &[node(0, 4)],
        distances: &[],
    },
    USUAL,
    Topology {
        name: ROOMY,
        about: "2x4 with four times the memory, for 100,000 threads",
        node_memory_mib: ROOMY_NODE_MEMORY_MIB,
        ..USUAL
    },
    Topology {
        name: "2x2x2",
        about: "two sockets of 2 cores with 2 threads, a node each, distance 21",
        sockets: 2,
        cores: 2,
        threads: 2,
        node_memory_mib: NODE_MEMORY_MIB,
        present_cpus: 8,
        nodes: &[node(0, 4), node(4, 4)],
        distances: &[(0, 1, 21)],
    },
    Topology {
        name: LARGE,
        about: "four sockets of 8 cores in a ring: neighbours 21, opposite 31",
        sockets: 4,
        cores: 8,
        threads: 1,
        node_memory_mib: NODE_MEMORY_MIB,
        present_cpus: 32,
        nodes: &[node(0, 8), node(8, 8), node(16, 8), node(24, 8)],
        distances: &[
            (0, 1, 21),
            (0, 2, 31),
            (0, 3, 21),
            (1, 2, 21),
            (1, 3, 31),
            (2, 3, 21),
        ],
    },
    Topology {
        name: "odd",
        about: "node 0 has 4 CPUs, node 1 has 2, node 2 is memory only; distances 28, 17, 23",
        sockets: 2,
        cores: 4,
        threads: 1,
        node_memory_mib: NODE_MEMORY_MIB,
        present_cpus: 6,
        // Linux numbers nodes with CPUs first, so the one without is the last here too.
        nodes: &[node(0, 4), node(4, 4), node(0, 0)],
        distances: &[(0, 1, 28), (0, 2, 17), (1, 2, 23)],
    },
];

impl Topology {
    /// The `-smp`, `-m`, `-object` and `-numa` arguments of this machine.
    pub fn qemu_args(&self) -> Vec<String> {
        let possible = self.sockets * self.cores * self.threads;
        let mut args = vec![
            "-smp".into(),
            format!(
                "{},maxcpus={possible},sockets={},cores={},threads={}",
                self.present_cpus, self.sockets, self.cores, self.threads
            ),
            "-m".into(),
            format!("{}M", self.node_memory_mib as usize * self.nodes.len()),
        ];
        for (id, node) in self.nodes.iter().enumerate() {
            args.push("-object".into());
            args.push(format!(
                "memory-backend-ram,id=mem{id},size={}M",
                self.node_memory_mib
            ));
            args.push("-numa".into());
            args.push(match node.cpus {
                0 => format!("node,nodeid={id},memdev=mem{id}"),
                _ => format!(
                    "node,nodeid={id},memdev=mem{id},cpus={}-{}",
                    node.first_cpu,
                    node.first_cpu + node.cpus - 1
                ),
            });
        }
        for (from, to, distance) in self.distances {
            args.push("-numa".into());
            args.push(format!("dist,src={from},dst={to},val={distance}"));
        }
        args
    }
}

/// The machine called `name`.
///
/// # Errors
/// A sentence that lists the names, when there is no such machine.
pub fn by_name(name: &str) -> Result<&'static Topology, String> {
    TOPOLOGIES
        .iter()
        .find(|topology| topology.name == name)
        .ok_or_else(|| {
            let names: Vec<_> = TOPOLOGIES.iter().map(|topology| topology.name).collect();
            format!("no such topology; choose one of {}", names.join(", "))
        })
}

/// The machines as a table for people.
pub fn table() -> String {
    let mut table = String::new();
    for topology in &TOPOLOGIES {
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{:9} {}", topology.name, topology.about);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sockets_become_two_nodes() {
        let args = by_name("2x4").expect("known").qemu_args();
        assert_eq!(args[1], "8,maxcpus=8,sockets=2,cores=4,threads=1");
        assert_eq!(args[3], "2048M");
        assert!(args[5].ends_with(",size=1024M"), "{}", args[5]);
        let args = by_name(ROOMY).expect("known").qemu_args();
        assert_eq!(args[3], "8192M");
        assert!(args[5].ends_with(",size=4096M"), "{}", args[5]);
        assert!(args.contains(&"node,nodeid=1,memdev=mem1,cpus=4-7".to_string()));
        assert!(args.contains(&"dist,src=0,dst=1,val=21".to_string()));
    }

    #[test]
    fn a_memory_only_node_names_no_cpus() {
        let args = by_name("odd").expect("known").qemu_args();
        assert!(args.contains(&"node,nodeid=2,memdev=mem2".to_string()));
        assert_eq!(args[1], "6,maxcpus=8,sockets=2,cores=4,threads=1");
    }

    #[test]
    fn every_machine_is_consistent() {
        for topology in &TOPOLOGIES {
            let possible = topology.sockets * topology.cores * topology.threads;
            let in_nodes: u32 = topology.nodes.iter().map(|node| node.cpus).sum();
            assert_eq!(
                in_nodes, possible,
                "{}: every place is in a node",
                topology.name
            );
            assert!(topology.present_cpus <= possible);
            let nodes = topology.nodes.len();
            assert_eq!(
                topology.distances.len(),
                nodes * (nodes - 1) / 2,
                "{}: every pair has a distance",
                topology.name
            );
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let refusal = by_name("3x3").expect_err("unknown");
        assert!(refusal.contains("2x4") && refusal.contains("odd"));
    }
}
