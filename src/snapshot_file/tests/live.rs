// SPDX-License-Identifier: GPL-2.0-only
//! That what the daemon shows can be read, whatever state it is in.
//! Never needs a daemon.

use std::sync::Arc;

use proptest::prelude::*;

use super::super::live::{Live, to_json};
use super::*;
use crate::domains::Layout;
use crate::load_balance::{Domain, Node};

fn groups(paths: &[&str]) -> Arc<Vec<String>> {
    Arc::new(paths.iter().map(|path| path.to_string()).collect())
}

fn reread(live: &Live) -> Input {
    let json = to_json(&live.show())
        .expect("a snapshot is JSON")
        .to_string();
    input(&json)
}

fn task(id: u64, slot: u32, domain: u32) -> Task {
    Task {
        id,
        task: TaskRef {
            slot,
            generation: 3,
        },
        process: id as u32,
        weight: 100.0,
        demand: 0.5,
        domain: DomainId(domain),
        mask: MaskId::ANYWHERE,
        group: GroupId::ROOT,
        movable: true,
        preferred_nodes: 0,
        moved_ago_rounds: 2,
        lag_ms: 7.0,
    }
}

#[test]
fn before_the_first_round_there_is_a_machine() {
    let input = reread(&Live::new(&Layout::synthetic(8, 4, 2)));
    assert!(input.snapshot.tasks.is_empty());
    assert_eq!(input.snapshot.domains.len(), 4);
    assert_eq!(input.snapshot.domains[3].capacity, 2.0);
    assert_eq!(input.snapshot.nodes[0].distance[&NodeId(1)], 21);
}

#[test]
fn the_last_snapshot_is_shown() {
    let mut live = Live::new(&Layout::synthetic(8, 2, 2));
    let mut snapshot = live.show().snapshot;
    let confined = snapshot.masks.intern_cpus([CpuId(1), CpuId(900)]);
    let nowhere = snapshot.masks.intern_cpus([CpuId(900)]);
    let everywhere = snapshot.masks.intern_cpus((0..1000).map(CpuId));
    snapshot.tasks = vec![
        Task {
            mask: confined,
            preferred_nodes: 0b111,
            ..task(12, 0, 1)
        },
        Task {
            mask: everywhere,
            ..task(11, 1, 0)
        },
        Task {
            mask: nowhere,
            ..task(13, 2, 0)
        },
        task(14, 3, 2),
        task(11, 4, 1),
    ];
    live.keep(snapshot, groups(&["/"]));
    let input = reread(&live);
    let tasks = &input.snapshot.tasks;
    let ids: Vec<u64> = tasks.iter().map(|task| task.id).collect();
    assert_eq!(
        ids,
        [11, 12],
        "each once, and only those with domain and CPU"
    );
    assert_eq!(tasks[0].domain, DomainId(0));
    assert_eq!(tasks[0].mask, MaskId::ANYWHERE);
    assert_eq!(input.snapshot.masks.words(tasks[1].mask), Some(&[2][..]));
    assert_eq!(tasks[1].preferred_nodes, 0b11, "only nodes that are there");
    assert_eq!(tasks[1].process, 12);
}

#[test]
fn groups_are_shown_by_their_paths() {
    let mut live = Live::new(&Layout::synthetic(8, 2, 2));
    let mut snapshot = live.show().snapshot;
    let group = |parent, weight, quota| Group {
        parent: GroupId(parent),
        weight,
        quota,
    };
    snapshot.groups = vec![
        crate::cgroups::ROOT,
        group(0, 300.0, 2.5),
        group(1, 300.0 / 1024.0, f64::INFINITY),
    ];
    snapshot.tasks = vec![Task {
        group: GroupId(2),
        ..task(7, 0, 1)
    }];
    live.keep(snapshot.clone(), groups(&["/", "/a", "/a/b c"]));
    let input = reread(&live);
    assert_eq!(input.names.groups, ["/", "/a", "/a/b c"]);
    assert_eq!(input.snapshot.groups, snapshot.groups);
    assert_eq!(input.snapshot.tasks[0].group, GroupId(2));
}

#[test]
fn a_domain_without_cpus_has_no_capacity() {
    let mut live = Live::new(&Layout::synthetic(8, 2, 2));
    let mut snapshot = live.show().snapshot;
    snapshot.domains[1].cpus.clear();
    snapshot.domains[1].capacity = 4.0;
    snapshot.tasks = vec![task(1, 0, 1)];
    live.keep(snapshot, groups(&["/"]));
    let input = reread(&live);
    assert_eq!(input.snapshot.domains[1].capacity, 0.0);
    assert_eq!(input.snapshot.domains[1].cpus.len(), 4);
    let moves = plan(&input.snapshot, &Default::default()).moves;
    assert_eq!(moves.len(), 1, "its task must leave");
}

fn any_number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        0.0..=1.0,
        0.0..=10_000.0,
        Just(f64::NAN),
        Just(f64::INFINITY),
    ]
}

fn any_task() -> impl Strategy<Value = Task> {
    let numbers = (any_number(), any_number(), any_number());
    let place = (0..5u32, 0..6u32, 0..3u32);
    (0..6u64, numbers, place, any::<u64>(), any::<u32>()).prop_map(
        |(id, (weight, demand, lag_ms), (domain, mask, group), preferred_nodes, process)| Task {
            weight,
            demand,
            lag_ms,
            mask: MaskId(mask),
            group: GroupId(group),
            preferred_nodes,
            process,
            ..task(id, 0, domain)
        },
    )
}

proptest! {
    #![proptest_config(crate::seeds::config("snapshot_file::live"))]

    #[test]
    fn whatever_the_daemon_has_can_be_read(
        tasks in prop::collection::vec(any_task(), 0..6),
        capacities in prop::collection::vec(any_number(), 3),
        online in prop::collection::vec(any::<bool>(), 6),
        masks in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut live = Live::new(&Layout::synthetic(6, 3, 2));
        let mut snapshot = live.show().snapshot;
        for (domain, capacity) in snapshot.domains.iter_mut().zip(capacities) {
            let Domain { cpus, capacity: old, .. } = domain;
            cpus.retain(|cpu| online[cpu.index()]);
            *old = capacity;
        }
        for mask in masks {
            snapshot.masks.intern(&[u64::from(mask)]);
        }
        snapshot.tasks = tasks;
        let before = snapshot.tasks.len();
        live.keep(snapshot, groups(&["/"]));
        let input = reread(&live);
        prop_assert!(input.snapshot.tasks.len() <= before);
        let known: Vec<&Node> = input.snapshot.nodes.iter().collect();
        prop_assert_eq!(known.len(), 2);
    }
}
