// SPDX-License-Identifier: GPL-2.0-only
//! What reports say, on plans that are made for them.
//! Never checks whether a plan is good.

use proptest::prelude::*;
use serde_json::Value;

use crate::load_balance;
use crate::snapshot_file::tests::FULL;
use crate::snapshot_file::tests::any::any_file;
use crate::snapshot_file::{self, Input};

fn input(text: &str) -> Input {
    snapshot_file::read(text.as_bytes()).expect("a good file")
}

fn json(input: &Input) -> Value {
    let plan = load_balance::plan(&input.snapshot, &Default::default());
    let text = super::plan_json(input, &plan).expect("a plan is JSON");
    serde_json::from_str(&text).expect("it is JSON")
}

fn text(input: &Input) -> String {
    let plan = load_balance::plan(&input.snapshot, &Default::default());
    super::plan(input, &plan)
}

/// Domain 9 has `count` tasks, and domain 2 none.
fn crowded(count: usize) -> Input {
    let task =
        |id: usize| format!(r#"{{"id":{id},"weight":100,"demand":1,"domain":9,"process":1}}"#);
    let tasks: Vec<String> = (0..count).map(task).collect();
    input(&format!(
        r#"{{"topology":{{"nodes":[{{"id":0,"distance":{{}}}},{{"id":3,"distance":{{}}}}],"domains":[
            {{"id":9,"node":0,"cpus":"0-1"}},{{"id":2,"node":3,"cpus":"2-3"}}]}},"tasks":[{}]}}"#,
        tasks.join(",")
    ))
}

/// The JSON of a plan has no number that is not one, and the ids of the file.
fn check(json: &Value, input: &Input) {
    let ids = |key: &str, id: &str| -> Vec<u64> {
        let list = json[key].as_array().expect("a list");
        list.iter()
            .map(|item| item[id].as_u64().expect("an id"))
            .collect()
    };
    let tasks: Vec<u64> = input.snapshot.tasks.iter().map(|task| task.id).collect();
    assert_eq!(ids("tasks", "id"), tasks);
    let names = &input.names;
    let domains: Vec<u64> = names
        .listed
        .iter()
        .map(|id| names.domains[id.index()])
        .collect();
    assert_eq!(ids("domains", "id"), domains);
    let from = ids("moves", "from");
    for (id, to) in from.iter().zip(ids("moves", "to")) {
        assert!(domains.contains(id) && domains.contains(&to));
    }
    for task in ids("moves", "task") {
        assert!(tasks.contains(&task));
    }
    assert!(!json.to_string().contains("null"), "{json}");
}

#[test]
fn json_has_the_ids_of_the_file() {
    let input = crowded(4);
    let json = json(&input);
    check(&json, &input);
    let moves = json["moves"].as_array().expect("a list");
    assert_eq!(moves.len(), 2);
    assert_eq!((&moves[0]["from"], &moves[0]["to"]), (&9.into(), &2.into()));
    let reason = moves[0]["reason"].as_str().expect("a text");
    assert!(reason.starts_with("domain9 owes"), "{reason}");
    assert_eq!(json["domains"][0]["before"], 4.0);
    assert_eq!(json["domains"][0]["after"], 2.0);
    assert_eq!(json["domains"][1]["capacity"], 2.0);
    assert_eq!(json["certificate"]["moves_min"], 2);
}

#[test]
fn a_plan_for_a_person() {
    let text = text(&crowded(30));
    for part in [
        "2 nodes, 2 domains, 4.00 CPUs to hand out; 30 tasks could use 30.00 and are owed 4.00\n",
        "nice 0 (weight 100), unconfined and in no group, is owed up to 0.133\n",
        "  node  domain  capacity  before  after  CPUs\n",
        "     0       9     2.000   4.000  2.000  0-1\n",
        "     3       2     2.000   0.000  2.000  2-3\n",
        "\n15 moves\n  task ",
        "\n30 of 30 tasks are owed less than they could use\n",
        "  … and 10 more\n",
        "at least 15 moves would have to be made",
        "at least 2.000 CPUs of load would have to cross nodes; this plan makes 2.000 cross",
        "is then 0.000 CPUs from a fair load",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_plan_says_what_confines_a_task() {
    let text = text(&input(
        r#"{"topology":{"nodes":[{"id":0,"distance":{}}],"domains":[{"id":0,"node":0,"cpus":"0-3"}]},
            "groups":[{"path":"/a","weight":100,"quota":0.5}],
            "tasks":[
                {"id":1,"weight":100,"demand":1,"domain":0,"process":1,"group":"/a"},
                {"id":2,"weight":100,"demand":1,"domain":0,"process":1,"cpus":"2"},
                {"id":3,"weight":100,"demand":1,"domain":0,"process":1,"cpus":"2"}]}"#,
    ));
    for part in [
        "demand   owed  group\n",
        "1.000  0.500  /a\n",
        "1.000  0.500  / on CPUs 2\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn a_plan_with_nothing_to_do() {
    let text = text(&crowded(1));
    for part in [
        "1 task could use 1.00 and is owed 1.00\n",
        "\nno moves\n",
        "\nevery task is owed all it could use\n",
        "this plan makes 0.000 cross",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("nice 0"), "nobody is limited\n{text}");
}

#[test]
fn a_snapshot_for_a_person() {
    let text = super::snapshot(&input(FULL));
    for part in [
        "2 nodes, 2 domains, 7.50 CPUs to hand out; 4 tasks could use 2.25\n",
        "  node  domain  capacity  demand  tasks  CPUs\n",
        "     4       9     3.500   1.000      1  4-7\n",
        "     2       5     4.000   1.250      3  0-3\n",
        "  task     process  domain    weight  demand  group\n",
        "    30           7       9    100.00   1.000  /a\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let many = super::snapshot(&crowded(21));
    assert!(many.ends_with("  … and 1 more\n"), "{many}");
    let none = super::snapshot(&crowded(0));
    assert!(none.contains("0 tasks could use 0.00\n"), "{none}");
}

proptest! {
    #![proptest_config(crate::seeds::config("report"))]

    #[test]
    fn every_number_is_finite(file in any_file()) {
        let input = input(&file.text());
        check(&json(&input), &input);
        for text in [text(&input), super::snapshot(&input)] {
            prop_assert!(!text.contains("NaN") && !text.contains("inf"), "{}", text);
            // The lines of moves quote the planner.
            let mut own = text.lines().filter(|line| !line.starts_with("  task "));
            prop_assert!(own.all(|line| !line.contains("-0.0")), "{}", text);
        }
    }
}
