// SPDX-License-Identifier: GPL-2.0-only
//! Layouts of regular, odd and random machines.
//! Never reads the machine the tests run on.

use proptest::prelude::*;

use super::*;
use crate::topology::fake::FakeMachine;

/// `(node, CPUs)` of every domain.
fn domains(layout: &Layout) -> Vec<(u32, String)> {
    layout
        .domains
        .iter()
        .map(|domain| (domain.node.0, format_cpus(&domain.cpus)))
        .collect()
}

fn lists(text: &str) -> DomainSpec {
    DomainSpec::Lists(
        text.split(';')
            .map(|list| list.parse().expect("a list"))
            .collect(),
    )
}

fn grid(nodes: u32, llcs: u32, cores: u32, threads: u32) -> Machine {
    FakeMachine::grid(nodes, llcs, cores, threads)
        .read()
        .expect("a machine")
}

fn build(machine: &Machine, spec: &DomainSpec, domain_cpus: u32) -> Layout {
    let layout = Layout::build(machine, spec, domain_cpus).expect("a layout");
    check(machine, &layout);
    layout
}

fn error(machine: &Machine, spec: &DomainSpec, domain_cpus: u32) -> String {
    Layout::build(machine, spec, domain_cpus)
        .expect_err("a usage error")
        .to_string()
}

/// What holds for every layout.
fn check(machine: &Machine, layout: &Layout) {
    let mut all: Vec<CpuId> = Vec::new();
    for (index, domain) in layout.domains.iter().enumerate() {
        assert_eq!(domain.id.index(), index);
        assert!(!domain.cpus.is_empty() && domain.cpus.is_sorted());
        assert!(
            domain
                .cpus
                .iter()
                .all(|cpu| layout.cpu_domain[cpu] == domain.id)
        );
        let capacity: f64 = domain
            .cpus
            .iter()
            .map(|cpu| machine.cpus[cpu].capacity)
            .sum();
        assert_eq!(domain.capacity, capacity);
        assert!(
            domain
                .cpus
                .iter()
                .all(|cpu| machine.cpus[cpu].node == domain.node)
        );
        all.extend(&domain.cpus);
    }
    all.sort_unstable();
    assert!(
        all.iter().copied().eq(machine.online().map(|cpu| cpu.id)),
        "a partition"
    );
    assert!(
        layout
            .domains
            .is_sorted_by_key(|domain| (domain.node, domain.cpus[0]))
    );

    let mut next = 0;
    assert!(
        layout
            .nodes
            .iter()
            .map(|node| node.id)
            .eq(machine.nodes.keys().copied())
    );
    for node in &layout.nodes {
        assert_eq!(node.first_domain, DomainId(next));
        for index in next..next + node.nr_domains {
            assert_eq!(layout.domains[index as usize].node, node.id);
        }
        next += node.nr_domains;
    }
    assert_eq!(next as usize, layout.domains.len());

    assert!(layout.siblings.keys().eq(layout.cpu_domain.keys()));
    for (cpu, siblings) in &layout.siblings {
        assert!(siblings.contains(cpu) && siblings.is_sorted());
    }
}

#[test]
fn a_domain_per_cache() {
    let layout = build(&grid(2, 1, 4, 1), &DomainSpec::Llc, 16);
    assert_eq!(domains(&layout), [(0, "0-3".into()), (1, "4-7".into())]);
    assert_eq!(layout.nr_cpu_ids, 8);
    assert_eq!(layout.domains[1].capacity, 4.0);
    assert_eq!(layout.nodes[0].distance[&NodeId(1)], 21);

    let layout = build(&grid(2, 2, 2, 2), &DomainSpec::Llc, 16);
    assert_eq!(layout.domains.len(), 4);
    assert_eq!(layout.siblings[&CpuId(2)], [CpuId(2), CpuId(3)]);
}

#[test]
fn shards_are_even_and_keep_cores_whole() {
    let sizes = |machine: &Machine, domain_cpus| -> Vec<usize> {
        let layout = build(machine, &DomainSpec::Llc, domain_cpus);
        layout
            .domains
            .iter()
            .map(|domain| domain.cpus.len())
            .collect()
    };
    let flat = grid(1, 1, 20, 1);
    assert_eq!(sizes(&flat, 16), [10, 10]);
    assert_eq!(sizes(&flat, 7), [7, 6, 7]);
    assert_eq!(sizes(&flat, 1024), [20]);
    let smt = grid(1, 1, 6, 2);
    assert_eq!(sizes(&smt, 12), [12]);
    assert_eq!(sizes(&smt, 11), [6, 6]);
    assert_eq!(sizes(&smt, 5), [4, 4, 4]);
    assert_eq!(sizes(&smt, 3), [2; 6], "only one core fits");
    assert_eq!(sizes(&smt, 1), [1; 12], "as asked");
    assert_eq!(
        sizes(&grid(1, 1, 2, 4), 2),
        [4, 4],
        "a core is wider than the bound"
    );
}

#[test]
fn threads_numbered_apart_stay_together() {
    let mut fake = FakeMachine::grid(1, 1, 8, 1);
    for cpu in &mut fake.cpus {
        cpu.siblings = Some(format!("{},{}", cpu.id % 4, cpu.id % 4 + 4));
    }
    let layout = build(&fake.read().expect("a machine"), &DomainSpec::Llc, 4);
    assert_eq!(
        domains(&layout),
        [(0, "0-1,4-5".into()), (0, "2-3,6-7".into())]
    );
}

#[test]
fn a_domain_per_node() {
    let machine = grid(2, 2, 2, 2);
    let layout = build(&machine, &DomainSpec::Node, 16);
    assert_eq!(domains(&layout), [(0, "0-7".into()), (1, "8-15".into())]);
    let layout = build(&machine, &DomainSpec::Node, 4);
    assert_eq!(
        domains(&layout)[..2],
        [(0, "0-3".into()), (0, "4-7".into())]
    );
}

#[test]
fn a_node_without_cpus() {
    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    fake.nodes = vec![
        (0, "10 30 20".into()),
        (1, "30 10 30".into()),
        (4, "20 30 10".into()),
    ];
    fake.cpus
        .iter_mut()
        .filter(|cpu| cpu.id >= 2)
        .for_each(|cpu| cpu.node = Some(4));
    let layout = build(&fake.read().expect("a machine"), &DomainSpec::Llc, 16);
    let runs: Vec<_> = layout
        .nodes
        .iter()
        .map(|node| (node.id.0, node.nr_domains))
        .collect();
    assert_eq!(runs, [(0, 1), (1, 0), (4, 1)]);
    assert_eq!(
        layout.describe(),
        "node     domain     capacity  CPUs\n\
         node0    domain0        2.00  0-1\n\
         node1    -              0.00  none\n\
         node4    domain1        2.00  2-3\n"
    );
}

#[test]
fn offline_cpus_have_a_domain_but_no_capacity() {
    let mut fake = FakeMachine::grid(1, 1, 8, 1);
    fake.offline(0);
    let machine = fake.read().expect("a machine");
    let layout = build(&machine, &DomainSpec::Llc, 4);
    assert_eq!(domains(&layout), [(0, "1-3".into()), (0, "4-7".into())]);
    assert_eq!(layout.cpu_domain[&CpuId(0)], DomainId(0), "the smaller one");
    assert_eq!(layout.domains[0].capacity, 3.0);
}

#[test]
fn listed_domains() {
    let machine = grid(2, 1, 4, 1);
    let layout = build(&machine, &lists("6-7;0,2;1,3;4-5"), 1);
    let expected = [(0, "0,2"), (0, "1,3"), (1, "4-5"), (1, "6-7")];
    assert_eq!(
        domains(&layout),
        expected.map(|(node, cpus)| (node, cpus.to_string()))
    );

    for (text, part) in [
        (
            "0-3;4-7;8",
            "CPU 8 does not exist; this machine has CPUs 0-7",
        ),
        ("0-65535", "CPU 8 does not exist"),
        ("0-3;3-7", "CPU 3 is in '0-3' and in '3-7'; list it once"),
        ("0-3;0-3", "CPU 0 is in"),
        (
            "0-3;5-6",
            "these online CPUs are in no list: 4,7; add them to one",
        ),
        (
            "0-7",
            "'0-7' spans node0 (CPUs 0-3) and node1 (CPUs 4-7); write a list for each node",
        ),
    ] {
        let error = error(&machine, &lists(text), 16);
        assert!(
            error.starts_with("--domains: ") && error.contains(part),
            "{text}: {error}"
        );
    }
}

#[test]
fn lists_may_name_offline_cpus() {
    let mut fake = FakeMachine::grid(1, 2, 2, 1);
    fake.offline(3);
    let machine = fake.read().expect("a machine");
    assert_eq!(machine.offline_unplaced, [CpuId(3)]);
    let layout = build(&machine, &lists("0-1;2-3"), 16);
    assert_eq!(layout.cpu_domain[&CpuId(3)], DomainId(1));
    assert_eq!(layout.siblings[&CpuId(3)], [CpuId(3)]);
    build(&machine, &lists("0-1;2"), 16);
    assert!(error(&machine, &lists("0-2;3"), 16).contains("'3' has no online CPU"));
}

#[test]
fn too_many_domains() {
    let machine = synthetic(1, 2, 512, 1);
    let message = error(&machine, &DomainSpec::Llc, 1);
    assert!(message.starts_with("--domain-cpus: 1 makes"), "{message}");
    assert!(
        message.ends_with("1024 domains are more than the 512 possible; give 2 or more"),
        "{message}"
    );
    assert_eq!(build(&machine, &DomainSpec::Llc, 2).domains.len(), 512);

    let machine = synthetic(1, 600, 1, 1);
    let message = error(&machine, &DomainSpec::Llc, 16);
    assert!(message.starts_with("--domains: 600 domains"), "{message}");
    assert!(message.contains("give node"), "{message}");
    let each: Vec<String> = (0..600).map(|cpu| cpu.to_string()).collect();
    assert!(error(&machine, &lists(&each.join(";")), 16).contains("join lists"));
}

#[test]
fn a_synthetic_layout_of_4096_cpus() {
    let layout = Layout::synthetic(4096, 512, 16);
    assert_eq!(
        (layout.nr_cpu_ids, layout.domains.len(), layout.nodes.len()),
        (4096, 512, 16)
    );
    assert!(
        layout
            .domains
            .iter()
            .all(|domain| domain.cpus.len() == 8 && domain.capacity == 8.0)
    );
    assert!(
        layout
            .nodes
            .iter()
            .all(|node| node.nr_domains == 32 && node.distance.len() == 16)
    );
    assert_eq!(layout.cpu_domain.len(), 4096);
    assert_eq!(
        layout.domain(DomainId(511)).map(|domain| domain.node),
        Some(NodeId(15))
    );
    assert_eq!(layout.domain(DomainId(512)), None);

    let uneven = Layout::synthetic(7, 3, 2);
    assert_eq!(
        domains(&uneven),
        [(0, "0-1".into()), (0, "2-3".into()), (1, "4-6".into())]
    );
}

#[test]
fn the_biggest_machine() {
    let machine = synthetic(16, 8, 16, 2);
    let layout = build(&machine, &DomainSpec::Llc, 16);
    assert_eq!(layout.domains.len(), 256);
    assert_eq!(build(&machine, &DomainSpec::Llc, 8).domains.len(), 512);
}

/// A regular machine without a sysfs tree.
fn synthetic(nodes: u32, llcs: u32, cores: u32, threads: u32) -> Machine {
    let shape = Shape {
        nodes: vec![vec![vec![threads; cores as usize]; llcs as usize]; nodes as usize],
        id_step: 1,
        offline: Vec::new(),
    };
    shape.machine()
}

/// A machine as nested lists: threads of each core of each cache of each node.
#[derive(Clone, Debug)]
struct Shape {
    nodes: Vec<Vec<Vec<u32>>>,
    /// Gap between ids, and between node ids.
    id_step: u32,
    /// Whether each CPU is offline, in turn.
    offline: Vec<bool>,
}

impl Shape {
    fn machine(&self) -> Machine {
        let ids: Vec<NodeId> = (0..self.nodes.len() as u32)
            .map(|n| NodeId(n * self.id_step))
            .collect();
        let distance: BTreeMap<NodeId, u32> = ids.iter().map(|&id| (id, 10)).collect();
        let (mut cpus, mut nodes) = (BTreeMap::new(), BTreeMap::new());
        let (mut llc, mut core) = (0, 0);
        for (&id, caches) in ids.iter().zip(&self.nodes) {
            let first = cpus.len();
            for cores in caches {
                for &threads in cores {
                    (0..threads).for_each(|_| self.add_cpu(&mut cpus, id, llc, core));
                    core += 1;
                }
                llc += 1;
            }
            let node = Node {
                id,
                cpus: cpus.keys().copied().skip(first).collect(),
                distance: distance.clone(),
            };
            nodes.insert(id, node);
        }
        let nr_cpu_ids = cpus.keys().next_back().map_or(1, |cpu: &CpuId| cpu.0 + 1);
        Machine {
            nr_cpu_ids,
            cpus,
            offline_unplaced: Vec::new(),
            nodes,
        }
    }

    fn add_cpu(&self, cpus: &mut BTreeMap<CpuId, Cpu>, node: NodeId, llc: u32, core: u32) {
        let nth = cpus.len();
        let id = CpuId(nth as u32 * self.id_step);
        let online = nth == 0 || !self.offline.get(nth).copied().unwrap_or(false);
        let capacity = if nth.is_multiple_of(3) { 1.0 } else { 0.5 };
        let cpu = Cpu {
            id,
            node,
            llc,
            core,
            online,
            capacity,
        };
        cpus.insert(id, cpu);
    }
}

fn shapes() -> impl Strategy<Value = Shape> {
    let cache = prop::collection::vec(1u32..5, 1..12);
    let node = prop::collection::vec(cache, 0..4);
    let nodes = prop::collection::vec(node, 1..5);
    (
        nodes,
        1u32..4,
        prop::collection::vec(prop::bool::weighted(0.2), 0..100),
    )
        .prop_filter("a machine has a CPU", |(nodes, _, _)| {
            nodes.iter().any(|node| !node.is_empty())
        })
        .prop_map(|(nodes, id_step, offline)| Shape {
            nodes,
            id_step,
            offline,
        })
}

/// The cores of these CPUs.
fn cores_of(machine: &Machine, cpus: &[CpuId]) -> BTreeSet<u32> {
    cpus.iter().map(|cpu| machine.cpus[cpu].core).collect()
}

proptest! {
    #![proptest_config(crate::seeds::config("domains"))]

    #[test]
    fn every_layout_is_a_bounded_partition(shape in shapes(), domain_cpus in 1u32..40, by_node: bool) {
        let machine = shape.machine();
        let spec = if by_node { DomainSpec::Node } else { DomainSpec::Llc };
        let layout = build(&machine, &spec, domain_cpus);
        for domain in &layout.domains {
            let fits = domain.cpus.len() <= domain_cpus as usize;
            let is_core = domain_cpus > 1 && cores_of(&machine, &domain.cpus).len() == 1;
            prop_assert!(fits || is_core);
            let llcs: BTreeSet<u32> = domain.cpus.iter().map(|cpu| machine.cpus[cpu].llc).collect();
            prop_assert!(by_node || llcs.len() == 1);
        }
        if domain_cpus > 1 {
            for siblings in layout.siblings.values() {
                let online = siblings.iter().filter(|cpu| machine.cpus[cpu].online);
                let domains: BTreeSet<DomainId> = online.map(|cpu| layout.cpu_domain[cpu]).collect();
                prop_assert!(domains.len() <= 1, "a core is cut");
            }
        }
    }

    #[test]
    fn shards_of_equal_cores_differ_by_one_core(cores in 1u32..200, threads in 1u32..5, domain_cpus in 2u32..64) {
        let machine = synthetic(1, 1, cores, threads);
        let layout = build(&machine, &DomainSpec::Llc, domain_cpus);
        let sizes = || layout.domains.iter().map(|domain| domain.cpus.len());
        let spread = sizes().max().unwrap_or(0) - sizes().min().unwrap_or(0);
        prop_assert!(spread <= threads as usize);
        let cores_per_shard = (domain_cpus / threads).max(1);
        prop_assert_eq!(layout.domains.len() as u32, cores.div_ceil(cores_per_shard), "the fewest");
    }

    #[test]
    fn a_layout_written_as_lists_is_the_same_layout(shape in shapes(), domain_cpus in 1u32..40) {
        let machine = shape.machine();
        let layout = build(&machine, &DomainSpec::Llc, domain_cpus);
        let spec = DomainSpec::Lists(
            layout.domains.iter().rev().filter_map(|domain| CpuList::from_cpus(domain.cpus.clone())).collect(),
        );
        prop_assert_eq!(build(&machine, &spec, 1).domains, layout.domains);
    }
}
