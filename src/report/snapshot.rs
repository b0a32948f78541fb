// SPDX-License-Identifier: GPL-2.0-only
//! A snapshot for a person: what each domain has and what its tasks could use.
//! Never says what they are owed; that is a plan's.

use std::cmp::Reverse;

use ordered_float::OrderedFloat;

use super::MOST_TASKS;
use super::plan::{count, cpus, total};
use super::table::Table;
use crate::cpulist::format_cpus;
use crate::load_balance::Task;
use crate::snapshot_file::Input;

/// The snapshot for a person.
pub fn snapshot(input: &Input) -> String {
    let snapshot = &input.snapshot;
    let demand = total(snapshot.tasks.iter().map(|task| task.demand));
    let capacity = total(snapshot.domains.iter().map(|domain| domain.capacity));
    format!(
        "{}, {}, {capacity:.2} CPUs to hand out; {} could use {demand:.2}\n{}{}",
        count(snapshot.nodes.len(), "node"),
        count(snapshot.domains.len(), "domain"),
        count(snapshot.tasks.len(), "task"),
        domains(input),
        tasks(input)
    )
}

fn domains(input: &Input) -> String {
    let mut sums = vec![(0, 0.0); input.snapshot.domains.len()];
    for task in &input.snapshot.tasks {
        let sum = &mut sums[task.domain.index()];
        *sum = (sum.0 + 1, sum.1 + task.demand);
    }
    let mut table = Table::with_text(["node", "domain", "capacity", "demand", "tasks", "CPUs"]);
    for id in &input.names.listed {
        let domain = &input.snapshot.domains[id.index()];
        let (tasks, demand): (usize, f64) = sums[id.index()];
        table.row([
            domain.node.0.to_string(),
            input.names.domains[id.index()].to_string(),
            cpus(domain.capacity),
            cpus(demand),
            tasks.to_string(),
            format_cpus(&domain.cpus),
        ]);
    }
    format!("\n{}", table.text())
}

/// The tasks that could use most.
fn tasks(input: &Input) -> String {
    let mut tasks: Vec<&Task> = input.snapshot.tasks.iter().collect();
    if tasks.is_empty() {
        return String::new();
    }
    tasks.sort_by_key(|task| (Reverse(OrderedFloat(task.demand)), task.id));
    let heading = ["task", "process", "domain", "weight", "demand", "group"];
    let mut table = Table::with_text(heading);
    for task in tasks.iter().take(MOST_TASKS) {
        table.row([
            task.id.to_string(),
            task.process.to_string(),
            input.names.domains[task.domain.index()].to_string(),
            format!("{:.2}", task.weight),
            cpus(task.demand),
            super::group(input, task),
        ]);
    }
    format!("\n{}{}", table.text(), super::more(tasks.len()))
}
