// SPDX-License-Identifier: GPL-2.0-only
//! Files that are snapshots, at random, and ways to damage them.
//! Never uses the reader or the writer.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

/// A snapshot file before it is text.
#[derive(Clone, Debug)]
pub struct AnyFile {
    pub topology: (Vec<Value>, Vec<Value>),
    pub groups: Vec<Value>,
    pub tasks: Vec<Value>,
    /// Whether the lists are to be written backwards.
    pub reversed: bool,
}

impl AnyFile {
    pub fn text(&self) -> String {
        let list = |values: &Vec<Value>| {
            let mut values = values.clone();
            if self.reversed {
                values.reverse();
            }
            values
        };
        json!({
            "topology": {"nodes": list(&self.topology.0), "domains": list(&self.topology.1)},
            "groups": list(&self.groups),
            "tasks": list(&self.tasks),
        })
        .to_string()
    }
}

/// A task before it has an id: what is an index is into what there is.
#[derive(Clone, Debug)]
struct AnyTask {
    stride: u64,
    weight: f64,
    demand: f64,
    domain: Index,
    cpus: Option<Vec<bool>>,
    group: Option<Index>,
    process: Option<u32>,
    preferred: Option<Vec<bool>>,
}

fn any_weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(100.0),
        0.001..=10_000.0,
        Just(10_000.0),
        Just(f64::MIN_POSITIVE),
    ]
}

fn any_demand() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0]
}

fn any_task() -> impl Strategy<Value = AnyTask> {
    let place = (
        any::<Index>(),
        prop::option::of(prop::collection::vec(any::<bool>(), 32)),
        prop::option::of(any::<Index>()),
    );
    let ties = (
        prop::option::of(prop_oneof![0..4u32, Just(u32::MAX)]),
        prop::option::of(prop::collection::vec(any::<bool>(), 4)),
    );
    let strides = prop_oneof![1..5u64, Just(u64::MAX / 16)];
    (strides, any_weight(), any_demand(), place, ties).prop_map(
        |(stride, weight, demand, (domain, cpus, group), (process, preferred))| AnyTask {
            stride,
            weight,
            demand,
            domain,
            cpus,
            group,
            process,
            preferred,
        },
    )
}

/// A machine of up to 3 nodes and 6 domains with up to 10 tasks.
pub fn any_file() -> impl Strategy<Value = AnyFile> {
    let nodes = prop::collection::vec(1..21u32, 1..4);
    let domain = (
        any::<Index>(),
        1..5u32,
        prop::option::of(0.0..=1.0),
        1..9u64,
    );
    let domains = prop::collection::vec(domain, 1..7);
    let group = (any::<Index>(), any_weight(), prop::option::of(0.0..5.0));
    let groups = prop::collection::vec(group, 0..4);
    let tasks = prop::collection::vec(any_task(), 0..10);
    (nodes, domains, groups, tasks, any::<bool>()).prop_map(
        |(nodes, domains, groups, tasks, reversed)| {
            let nodes: Vec<u32> = sums(nodes);
            let (domains, ids, nr_cpus) = domain_values(&nodes, &domains);
            let (groups, paths) = group_values(&groups);
            AnyFile {
                tasks: task_values(&tasks, &nodes, &ids, nr_cpus, &paths),
                topology: (node_values(&nodes), domains),
                groups,
                reversed,
            }
        },
    )
}

fn sums(steps: Vec<u32>) -> Vec<u32> {
    let mut sum = 0;
    let add = |step| {
        sum += step;
        sum
    };
    steps.into_iter().map(add).collect()
}

fn node_values(nodes: &[u32]) -> Vec<Value> {
    let distance = |from: u32| -> Map<String, Value> {
        let to = |to: &u32| {
            (
                to.to_string(),
                json!(if *to == from { 10 } else { 15 + to }),
            )
        };
        nodes.iter().map(to).collect()
    };
    let node = |&id: &u32| json!({"id": id, "distance": distance(id)});
    nodes.iter().map(node).collect()
}

type AnyDomain = (Index, u32, Option<f64>, u64);

/// The domains, their ids, and the number of CPUs, 0 to that in all.
fn domain_values(nodes: &[u32], domains: &[AnyDomain]) -> (Vec<Value>, Vec<u64>, u32) {
    let (mut values, mut ids, mut id, mut cpu) = (Vec::new(), Vec::new(), 0, 0);
    for (node, cpus, part, stride) in domains {
        let list = format!("{cpu}-{}", cpu + cpus - 1);
        let mut value = json!({"id": id, "node": nodes[node.index(nodes.len())], "cpus": list});
        if let Some(part) = part {
            value["capacity"] = json!(part * f64::from(*cpus));
        }
        values.push(value);
        ids.push(id);
        id += stride;
        cpu += cpus;
    }
    (values, ids, cpu)
}

/// The groups and their paths, the root's included.
fn group_values(groups: &[(Index, f64, Option<f64>)]) -> (Vec<Value>, Vec<String>) {
    let mut paths = vec![String::new()];
    let mut values = Vec::new();
    for (parent, weight, quota) in groups {
        let path = format!("{}/g{}", parent.get(&paths), paths.len());
        let mut value = json!({"path": path, "weight": weight});
        if let Some(quota) = quota {
            value["quota"] = json!(quota);
        }
        values.push(value);
        paths.push(path);
    }
    paths[0] = "/".to_owned();
    (values, paths)
}

fn task_values(
    tasks: &[AnyTask],
    nodes: &[u32],
    domains: &[u64],
    nr_cpus: u32,
    paths: &[String],
) -> Vec<Value> {
    let mut id = 0;
    let value = |task: &AnyTask| {
        id += task.stride;
        let (weight, demand) = (task.weight, task.demand);
        let domain = task.domain.get(domains);
        let mut value = json!({"id": id, "weight": weight, "demand": demand, "domain": domain});
        let chosen = |among: &[bool], from: &[u32]| -> Vec<u32> {
            let chosen = from.iter().zip(among).filter(|(_, chosen)| **chosen);
            chosen.map(|(item, _)| *item).collect()
        };
        if let Some(cpus) = &task.cpus {
            let cpus = chosen(cpus, &(0..nr_cpus).collect::<Vec<_>>());
            let texts: Vec<String> = cpus.iter().map(u32::to_string).collect();
            if !texts.is_empty() {
                value["cpus"] = json!(texts.join(","));
            }
        }
        if let Some(group) = &task.group {
            value["group"] = json!(group.get(paths));
        }
        if let Some(process) = task.process {
            value["process"] = json!(process);
        }
        if let Some(preferred) = &task.preferred {
            value["preferred_nodes"] = json!(chosen(preferred, nodes));
        }
        value
    };
    tasks.iter().map(value).collect()
}

/// Overwrites, removes, doubles or cuts off a byte or a few.
pub fn damage(bytes: &mut Vec<u8>, place: Index, byte: u8, kind: u8) {
    /// What tends to be valid JSON and wrong.
    const PIECES: [&str; 12] = [
        "0",
        "-1",
        "1e999",
        "1.5",
        "null",
        "[]",
        "{}",
        "\"/\"",
        "{",
        "\"",
        ",",
        "18446744073709551616",
    ];
    if bytes.is_empty() {
        return;
    }
    let at = place.index(bytes.len());
    match kind {
        0 => bytes[at] = byte,
        1 => bytes.truncate(at),
        2 => drop(bytes.drain(at..(at + usize::from(byte)).min(bytes.len()))),
        _ => {
            // In place of the value or name that begins here.
            let piece = PIECES[usize::from(byte) % PIECES.len()];
            let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'.';
            let end = bytes[at..].iter().position(|byte| !word(byte)).unwrap_or(0);
            bytes.splice(at..at + end, piece.bytes());
        }
    }
}
