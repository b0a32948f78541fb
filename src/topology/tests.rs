// SPDX-License-Identifier: GPL-2.0-only
//! Odd machines, read from fake sysfs trees.
//! Never reads the machine the tests run on.

use std::collections::BTreeSet;

use super::fake::{FakeCpu, FakeMachine};
use super::*;

/// The CPUs of each value of `key`, in the order of their first CPU.
fn groups(machine: &Machine, key: impl Fn(&Cpu) -> u32) -> Vec<String> {
    let keys: BTreeSet<u32> = machine.cpus.values().map(&key).collect();
    assert_eq!(
        keys.last().map(|last| *last as usize + 1),
        Some(keys.len()),
        "dense"
    );
    keys.iter()
        .map(|wanted| {
            let cpus: Vec<CpuId> = machine
                .cpus
                .values()
                .filter(|cpu| key(cpu) == *wanted)
                .map(|cpu| cpu.id)
                .collect();
            crate::cpulist::format_cpus(&cpus)
        })
        .collect()
}

fn llcs(machine: &Machine) -> Vec<String> {
    groups(machine, |cpu| cpu.llc)
}

fn node_cpus_of(machine: &Machine) -> Vec<(u32, String)> {
    let list = |node: &Node| (node.id.0, crate::cpulist::format_cpus(&node.cpus));
    machine.nodes.values().map(list).collect()
}

fn error(fake: &FakeMachine) -> String {
    format!("{:#}", fake.read().expect_err("a broken machine"))
}

#[test]
fn two_sockets_of_four() {
    let machine = FakeMachine::grid(2, 1, 4, 1).read().expect("a machine");
    assert_eq!(machine.nr_cpu_ids, 8);
    assert_eq!(llcs(&machine), ["0-3", "4-7"]);
    assert_eq!(groups(&machine, |cpu| cpu.core).len(), 8);
    assert_eq!(
        node_cpus_of(&machine),
        [(0, "0-3".into()), (1, "4-7".into())]
    );
    let distance = &machine.nodes[&NodeId(1)].distance;
    assert_eq!(
        distance,
        &BTreeMap::from([(NodeId(0), 21), (NodeId(1), 10)])
    );
    assert!(machine.online().all(|cpu| cpu.capacity == 1.0));
    assert!(machine.offline_unplaced.is_empty());
}

#[test]
fn threads_of_a_core() {
    let mut fake = FakeMachine::grid(2, 2, 2, 2);
    let machine = fake.read().expect("a machine");
    assert_eq!(llcs(&machine), ["0-3", "4-7", "8-11", "12-15"]);
    assert_eq!(groups(&machine, |cpu| cpu.core)[..3], ["0-1", "2-3", "4-5"]);

    fake.cpus.iter_mut().for_each(|cpu| cpu.siblings = None);
    let machine = fake.read().expect("a machine");
    assert_eq!(
        groups(&machine, |cpu| cpu.core).len(),
        16,
        "without the file, a core each"
    );
}

#[test]
fn a_node_with_memory_only() {
    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    fake.nodes = vec![
        (0, "10 21 30".into()),
        (1, "21 10 30".into()),
        (2, "30 30 10".into()),
    ];
    let machine = fake.read().expect("a machine");
    assert_eq!(node_cpus_of(&machine)[2], (2, String::new()));
    assert_eq!(machine.nodes[&NodeId(0)].distance[&NodeId(2)], 30);
}

#[test]
fn gaps_in_ids() {
    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    fake.possible = "0-15".into();
    fake.present = Some("0-1,8-9".into());
    fake.nodes = vec![(0, "10 40".into()), (5, "40 10".into())];
    for (i, cpu) in fake.cpus.iter_mut().enumerate().skip(2) {
        cpu.id = i as u32 + 6;
        cpu.node = Some(5);
        cpu.siblings = Some(cpu.id.to_string());
        cpu.caches = vec![(3, "Unified", "8-9".into())];
    }
    let machine = fake.read().expect("a machine");
    assert_eq!(machine.nr_cpu_ids, 16, "from the possible CPUs");
    assert_eq!(llcs(&machine), ["0-1", "8-9"]);
    assert_eq!(
        node_cpus_of(&machine),
        [(0, "0-1".into()), (5, "8-9".into())]
    );
    assert_eq!(machine.nodes[&NodeId(5)].distance[&NodeId(0)], 40);
    assert!(
        machine.offline_unplaced.is_empty(),
        "absent CPUs are not offline"
    );
}

#[test]
fn a_cache_that_spans_nodes_is_split() {
    let mut fake = FakeMachine::grid(2, 1, 4, 1);
    for cpu in &mut fake.cpus {
        cpu.caches = vec![(3, "Unified", "0-7".into())];
        cpu.package = Some(0);
    }
    assert_eq!(llcs(&fake.read().expect("a machine")), ["0-3", "4-7"]);
}

#[test]
fn the_last_level() {
    /// The caches of a CPU: level, type, CPUs that share it.
    type Caches = fn(u32) -> Vec<(u32, &'static str, String)>;
    fn pair(id: u32) -> String {
        format!("{}-{}", id & !1, id | 1)
    }
    let cases: [(&str, Caches, &[&str]); 6] = [
        ("none: the package", |_| vec![], &["0-3", "4-7"]),
        (
            "a shared L2",
            |id| vec![(2, "Unified", pair(id))],
            &["0-1", "2-3", "4-5", "6-7"],
        ),
        (
            "a private L2: the package",
            |id| vec![(2, "Unified", id.to_string())],
            &["0-3", "4-7"],
        ),
        (
            "a private L3 counts",
            |id| vec![(3, "Unified", id.to_string())],
            &["0", "1", "2", "3", "4", "5", "6", "7"],
        ),
        (
            "L4 above L3",
            |id| {
                vec![
                    (4, "Unified", if id < 4 { "0-3" } else { "4-7" }.into()),
                    (3, "Unified", id.to_string()),
                ]
            },
            &["0-3", "4-7"],
        ),
        (
            "an instruction cache is none",
            |id| vec![(3, "Instruction", id.to_string()), (2, "Data", pair(id))],
            &["0-1", "2-3", "4-5", "6-7"],
        ),
    ];
    for (name, caches, expected) in cases {
        let mut fake = FakeMachine::grid(2, 1, 4, 1);
        fake.cpus
            .iter_mut()
            .for_each(|cpu| cpu.caches = caches(cpu.id));
        assert_eq!(llcs(&fake.read().expect(name)), expected, "{name}");
    }
}

#[test]
fn without_cache_and_package_the_node_stands_in() {
    let mut fake = FakeMachine::grid(2, 2, 2, 1);
    for cpu in &mut fake.cpus {
        cpu.caches.clear();
        cpu.package = if cpu.id < 4 { None } else { Some(-1) };
    }
    assert_eq!(llcs(&fake.read().expect("a machine")), ["0-3", "4-7"]);
}

#[test]
fn without_numa_there_is_one_node() {
    let mut fake = FakeMachine::grid(1, 2, 2, 1);
    fake.nodes.clear();
    let machine = fake.read().expect("a machine");
    assert_eq!(node_cpus_of(&machine), [(0, "0-3".into())]);
    assert_eq!(
        machine.nodes[&NodeId(0)].distance,
        BTreeMap::from([(NodeId(0), 10)])
    );
    assert_eq!(llcs(&machine), ["0-1", "2-3"]);
}

#[test]
fn an_offline_cpu_with_one_place_to_be_is_placed() {
    let mut fake = FakeMachine::grid(2, 1, 2, 2);
    fake.offline(5);
    let machine = fake.read().expect("a machine");
    assert_eq!(machine.nr_cpu_ids, 8);
    assert!(!machine.cpus[&CpuId(5)].online);
    assert_eq!(llcs(&machine), ["0-3", "4-7"]);
    assert_eq!(machine.online().count(), 7);
    assert!(machine.offline_unplaced.is_empty());
}

#[test]
fn an_offline_cpu_that_could_be_anywhere_is_not() {
    let mut fake = FakeMachine::grid(1, 2, 2, 1);
    fake.offline(3);
    let machine = fake.read().expect("a machine");
    assert_eq!(
        machine.offline_unplaced,
        [CpuId(3)],
        "two caches on its node"
    );
    assert_eq!(node_cpus_of(&machine), [(0, "0-2".into())]);

    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    fake.offline(3);
    fake.cpu(3).node = None;
    let machine = fake.read().expect("a machine");
    assert_eq!(machine.offline_unplaced, [CpuId(3)], "its node is unknown");
}

#[test]
fn a_whole_node_offline() {
    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    fake.offline(2);
    fake.offline(3);
    let machine = fake.read().expect("a machine");
    assert_eq!(machine.offline_unplaced, [CpuId(2), CpuId(3)]);
    assert_eq!(node_cpus_of(&machine)[1], (1, String::new()));
}

#[test]
fn an_online_cpu_on_no_node_joins_the_first() {
    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    fake.cpu(3).node = None;
    let machine = fake.read().expect("a machine");
    assert_eq!(
        node_cpus_of(&machine),
        [(0, "0-1,3".into()), (1, "2".into())]
    );
}

#[test]
fn capacities_are_relative_to_the_biggest() {
    let mut fake = FakeMachine::grid(1, 1, 4, 1);
    for (cpu, capacity) in fake
        .cpus
        .iter_mut()
        .zip([Some(800), Some(400), Some(200), None])
    {
        cpu.capacity = capacity;
    }
    fake.cpu(3).capacity = Some(800);
    let machine = fake.read().expect("a machine");
    let capacities: Vec<f64> = machine.cpus.values().map(|cpu| cpu.capacity).collect();
    assert_eq!(capacities, [1.0, 0.5, 0.25, 1.0]);
}

#[test]
fn broken_files_are_named() {
    type Break = fn(&mut FakeMachine);
    let cases: [(Break, &str); 9] = [
        (
            |m| m.nodes[1].1 = "10".into(),
            "node1/distance: 1 distances for 2 online nodes",
        ),
        (
            |m| m.nodes[0].1 = "10 21 30".into(),
            "node0/distance: 3 distances for 2",
        ),
        (|m| m.nodes[0].1 = "10 x".into(), "node0/distance"),
        (
            |m| m.possible = String::new(),
            "cpu/possible: it lists no CPU",
        ),
        (
            |m| m.possible = "0-2".into(),
            "CPU 3 is beyond the last possible CPU, 2",
        ),
        (
            |m| m.possible = "3-0".into(),
            "cpu/possible: the range 3-0 runs backwards",
        ),
        (|m| m.cpu(0).capacity = Some(0), "cpu0/cpu_capacity"),
        (
            |m| m.cpu(2).siblings = Some("2-".into()),
            "cpu2/topology/thread_siblings_list",
        ),
        (
            |m| m.cpu(2).caches[3].2 = "?".into(),
            "cpu2/cache/index3/shared_cpu_list",
        ),
    ];
    for (damage, part) in cases {
        let mut fake = FakeMachine::grid(2, 1, 4, 1);
        damage(&mut fake);
        let error = error(&fake);
        assert!(error.contains(part), "{error} should contain {part}");
    }
}

#[test]
fn a_cpu_on_two_nodes_is_refused() {
    let mut fake = FakeMachine::grid(2, 1, 2, 1);
    let twin = FakeCpu {
        node: Some(1),
        ..fake.cpu(0).clone()
    };
    fake.cpus.push(twin);
    fake.possible = "0-3".into();
    let root = fake.write();
    fs::write(root.path().join("sys/devices/system/cpu/online"), "0-3\n").expect("a file");
    fs::write(
        root.path().join("sys/devices/system/node/node1/cpulist"),
        "2-3\n",
    )
    .expect("a file");
    let error = format!(
        "{:#}",
        Machine::read(root.path()).expect_err("a broken machine")
    );
    assert!(error.contains("node1: cpu0 is also on node0"), "{error}");
}

#[test]
fn an_empty_tree_is_an_error_that_names_the_file() {
    let root = tempfile::TempDir::new().expect("a temporary directory");
    let error = format!("{:#}", Machine::read(root.path()).expect_err("no machine"));
    assert!(error.contains("cpu/possible: no such file"), "{error}");
}
