// SPDX-License-Identifier: GPL-2.0-only
//! What is read, what is refused and how, and that what is written is read again.
//! Never looks at what a plan says.

pub(crate) mod any;
mod live;
mod refusals;

use proptest::prelude::*;

use super::*;
use crate::affinity::MaskTable;
use crate::entitlement::Group;
use crate::ids::{CpuId, GroupId, MaskId, NodeId, TaskRef};
use crate::load_balance::{Config, Task, plan};
use any::{AnyFile, any_file};

/// Every field there is, and ids with gaps in no order.
pub(crate) const FULL: &str = r#"{
"topology":{"nodes":[{"id":4,"distance":{"4":10,"2":21}},{"id":2,"distance":{"2":10,"4":21}}],
"domains":[{"id":9,"node":4,"cpus":"4-7","capacity":3.5},{"id":5,"node":2,"cpus":"0-3"}]},
"groups":[{"path":"/a/b","weight":50},{"path":"/a","weight":200.5,"quota":2.0},{"path":"/","weight":1,"quota":7}],
"tasks":[
{"id":30,"weight":100,"demand":1.0,"domain":9,"cpus":"0-7","group":"/a","process":7,"preferred_nodes":[4,2]},
{"id":10,"weight":1.46,"demand":0.25,"domain":5,"cpus":"0,2","group":"/a/b","process":7},
{"id":20,"weight":10000,"demand":0,"domain":5,"cpus":"3-4","group":"/"},
{"id":40,"weight":100,"demand":1,"domain":5,"cpus":"6"}]}"#;

fn input(text: &str) -> Input {
    read(text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// The file that is written for `input`.
fn written(input: &Input) -> String {
    let writer = Writer::new(&input.snapshot, &input.names);
    serde_json::to_string(&writer.file()).expect("a snapshot is JSON")
}

#[test]
fn every_field_is_read() {
    let input = input(FULL);
    let names = &input.names;
    assert_eq!(names.domains, [5, 9]);
    assert_eq!(names.listed, [DomainId(1), DomainId(0)]);
    assert_eq!(names.groups, ["/", "/a", "/a/b"]);

    let snapshot = &input.snapshot;
    let nodes: Vec<u32> = snapshot.nodes.iter().map(|node| node.id.0).collect();
    assert_eq!(nodes, [2, 4]);
    assert_eq!(snapshot.nodes[0].distance[&NodeId(4)], 21);
    let domain = |id: usize| {
        let domain = &snapshot.domains[id];
        assert_eq!(domain.id.index(), id);
        let cpus: Vec<u32> = domain.cpus.iter().map(|cpu| cpu.0).collect();
        (domain.node.0, domain.capacity, cpus)
    };
    assert_eq!(domain(0), (2, 4.0, vec![0, 1, 2, 3]));
    assert_eq!(domain(1), (4, 3.5, vec![4, 5, 6, 7]));

    let group = |parent, weight, quota| Group {
        parent: GroupId(parent),
        weight,
        quota,
    };
    assert_eq!(input.snapshot.groups[0].quota, 7.0);
    assert_eq!(input.snapshot.groups[1], group(0, 200.5, 2.0));
    assert_eq!(input.snapshot.groups[2], group(1, 50.0, f64::INFINITY));
}

#[test]
fn every_task_is_read() {
    let input = input(FULL);
    let tasks = &input.snapshot.tasks;
    let first = Task {
        id: 30,
        task: TaskRef {
            slot: 2,
            generation: 1,
        },
        process: 7,
        weight: 100.0,
        demand: 1.0,
        domain: DomainId(1),
        mask: MaskId::ANYWHERE,
        group: GroupId(1),
        movable: true,
        preferred_nodes: 1 << 4 | 1 << 2,
        moved_ago_rounds: u32::MAX,
        lag_ms: 0.0,
    };
    assert_eq!(tasks[0], first);
    let slots: Vec<u32> = tasks.iter().map(|task| task.task.slot).collect();
    assert_eq!(slots, [2, 0, 1, 3], "rows are by ascending id");
    let movable: Vec<bool> = tasks.iter().map(|task| task.movable).collect();
    assert_eq!(movable, [true, false, true, true]);
    assert_eq!(tasks[1].process, 7);
    assert!(tasks[2].process != tasks[3].process && tasks[2].process != 7);
    assert_eq!(tasks[2].group, GroupId::ROOT);
    let allowed = |task: &Task| -> Vec<u32> {
        let cpus = (0..9).filter(|&cpu| input.snapshot.masks.contains(task.mask, CpuId(cpu)));
        cpus.collect()
    };
    assert_eq!(allowed(&tasks[1]), [0, 2]);
    assert_eq!(allowed(&tasks[2]), [3, 4]);
    assert_eq!(allowed(&tasks[3]), [6], "it may be where it must not stay");
}

#[test]
fn no_weight_is_too_light_for_an_idle_machine() {
    let text = LIGHTEST.as_bytes();
    let input = read(text).expect("a good file");
    let plan = plan(&input.snapshot, &Config::default());
    assert_eq!(plan.entitlements, [1.0, 1.0]);
}

const LIGHTEST: &str = r#"{"topology":{"nodes":[{"id":0,"distance":{}}],
    "domains":[{"id":0,"node":0,"cpus":"0-3"}]},"tasks":[
    {"id":1,"weight":5e-324,"demand":1,"domain":0},
    {"id":2,"weight":100,"demand":1,"domain":0}]}"#;

#[test]
fn optional_fields_may_be_left_out() {
    let input = input(
        r#"{"topology":{"nodes":[{"id":0,"distance":{}}],
            "domains":[{"id":0,"node":0,"cpus":"0-1"}]},
            "tasks":[{"id":0,"weight":1e-3,"demand":-0.0,"domain":0}]}"#,
    );
    let task = input.snapshot.tasks[0];
    assert_eq!((task.mask, task.group), (MaskId::ANYWHERE, GroupId::ROOT));
    assert!(!task.movable, "there is nowhere else");
    assert!(task.demand.is_sign_positive());
    assert_eq!(input.snapshot.domains[0].capacity, 2.0);
    assert_eq!(input.snapshot.groups.len(), 1);
    assert_eq!(input.snapshot.groups[0].quota, f64::INFINITY);
}

/// Equal up to the order of the tasks.
fn assert_same(a: &Input, b: &Input) {
    assert_eq!(a.names, b.names);
    assert_eq!(a.snapshot.groups, b.snapshot.groups);
    let (a, b) = (&a.snapshot, &b.snapshot);
    // These types compare by what they print: f64 prints to the last bit.
    let machine = |snapshot: &Snapshot| format!("{:?} {:?}", snapshot.nodes, snapshot.domains);
    assert_eq!(machine(a), machine(b));
    let sorted = |snapshot: &Snapshot| {
        let mut tasks = snapshot.tasks.clone();
        tasks.sort_by_key(|task| task.id);
        tasks
    };
    assert_eq!(sorted(a), sorted(b));
    assert_eq!(sets(&a.masks), sets(&b.masks));
}

fn sets(masks: &MaskTable) -> Vec<Option<&[u64]>> {
    let ids = (0..masks.len() as u32).map(MaskId);
    ids.map(|id| masks.words(id)).collect()
}

/// What a plan on the file says, without the order of the file.
fn outcome(input: &Input) -> String {
    let plan = plan(&input.snapshot, &Default::default());
    let mut owed: Vec<(u64, f64)> = input
        .snapshot
        .tasks
        .iter()
        .zip(plan.entitlements)
        .map(|(task, owed)| (task.id, owed))
        .collect();
    owed.sort_by_key(|(id, _)| *id);
    let moves: Vec<_> = plan
        .moves
        .iter()
        .map(|planned| {
            (
                input.snapshot.tasks[planned.index].id,
                planned.to,
                &planned.reason,
            )
        })
        .collect();
    format!(
        "{owed:?} {moves:?} {:?} {:?}",
        plan.domains, plan.certificate
    )
}

#[test]
fn what_is_written_is_read_again() {
    let input = input(FULL);
    let text = written(&input);
    assert_same(&input, &read(text.as_bytes()).expect(&text));
}

proptest! {
    #![proptest_config(crate::seeds::config("snapshot_file"))]

    #[test]
    fn any_snapshot_is_written_and_read_again(file in any_file()) {
        let first = input(&file.text());
        let text = written(&first);
        let second = input(&text);
        assert_same(&first, &second);
        prop_assert_eq!(written(&second), text);
    }

    #[test]
    fn the_order_of_the_file_decides_nothing(file in any_file()) {
        let reversed = AnyFile { reversed: !file.reversed, ..file.clone() };
        prop_assert_eq!(outcome(&input(&file.text())), outcome(&input(&reversed.text())));
    }

    #[test]
    fn damaged_files_are_refused_in_one_line(
        file in any_file(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..4),
    ) {
        let mut bytes = file.text().into_bytes();
        for (place, byte, kind) in damage {
            any::damage(&mut bytes, place, byte, kind);
        }
        match read(&bytes) {
            Ok(input) => drop(plan(&input.snapshot, &Default::default())),
            Err(error) => {
                let error = error.to_string();
                prop_assert_eq!(error.lines().count(), 1, "{}", error);
                prop_assert!(error.contains(": ") && error.len() < 500, "{}", error);
            }
        }
    }
}
