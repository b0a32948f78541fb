// SPDX-License-Identifier: GPL-2.0-only
//! What a plan does and why, as text and as JSON.
//! Never recomputes what the planner has decided.

use std::cmp::Reverse;
use std::fmt::Write;

use ordered_float::OrderedFloat;
use serde::Serialize;

use super::MOST_TASKS;
use super::table::Table;
use crate::affinity::cpus_of;
use crate::cpulist::format_cpus;
use crate::ids::{DomainId, NodeId, TaskRef};
use crate::load_balance::{Move, Plan, Task};
use crate::snapshot_file::Input;

/// A task that gets this much less than it could use is limited; less is
/// rounding.
const LIMITED_BY: f64 = 1e-9;

/// The weight of nice 0.
const NICE_0: f64 = 100.0;

#[derive(Serialize)]
struct PlanJson {
    tasks: Vec<TaskJson>,
    domains: Vec<DomainJson>,
    moves: Vec<MoveJson>,
    certificate: CertificateJson,
}

#[derive(Serialize)]
struct TaskJson {
    id: u64,
    entitlement: f64,
}

#[derive(Serialize)]
struct DomainJson {
    id: u64,
    capacity: f64,
    before: f64,
    after: f64,
}

#[derive(Serialize)]
struct MoveJson {
    task: u64,
    from: u64,
    to: u64,
    reason: String,
}

#[derive(Serialize)]
struct CertificateJson {
    cross_node_min: f64,
    moves_min: usize,
    imbalance_after: f64,
    /// Why that remains, in a sentence.
    reason: String,
}

/// The plan as one JSON object on several lines: tasks and domains in the order
/// of the file, moves in that in which they were decided.
///
/// # Errors
/// None that is known: all numbers of a plan are finite.
pub fn plan_json(input: &Input, plan: &Plan) -> serde_json::Result<String> {
    let named = Named { input, plan };
    let tasks = input.snapshot.tasks.iter().zip(&plan.entitlements);
    let json = PlanJson {
        tasks: tasks
            .map(|(task, &entitlement)| TaskJson {
                id: task.id,
                entitlement,
            })
            .collect(),
        domains: named.domains().collect(),
        moves: plan
            .moves
            .iter()
            .map(|planned| named.step(planned))
            .collect(),
        certificate: CertificateJson {
            cross_node_min: plan.certificate.cross_node_min,
            moves_min: plan.certificate.moves_min,
            imbalance_after: plan.certificate.imbalance_after,
            reason: plan.certificate.remains.to_string(),
        },
    };
    serde_json::to_string_pretty(&json).map(|text| text + "\n")
}

/// The plan for a person.
pub fn plan(input: &Input, plan: &Plan) -> String {
    let named = Named { input, plan };
    let mut text = named.machine();
    text.push_str(&named.domain_table());
    text.push_str(&named.moves());
    text.push_str(&named.limited());
    text.push_str(&named.certificate());
    text
}

/// A plan in the words of its file.
struct Named<'a> {
    input: &'a Input,
    plan: &'a Plan,
}

impl Named<'_> {
    fn domain(&self, id: DomainId) -> u64 {
        self.input.names.domains[id.index()]
    }

    fn node(&self, id: DomainId) -> NodeId {
        self.input.snapshot.domains[id.index()].node
    }

    fn task(&self, planned: &Move) -> &Task {
        &self.input.snapshot.tasks[planned.index]
    }

    fn domains(&self) -> impl Iterator<Item = DomainJson> {
        self.input.names.listed.iter().map(|&id| {
            let plan = &self.plan.domains[id.index()];
            DomainJson {
                id: self.domain(id),
                capacity: plan.capacity,
                before: plan.before,
                after: plan.after,
            }
        })
    }

    fn step(&self, planned: &Move) -> MoveJson {
        MoveJson {
            task: self.task(planned).id,
            from: self.domain(planned.from),
            to: self.domain(planned.to),
            reason: self.reason(planned),
        }
    }

    /// The planner's reason with the file's ids for its dense ones.
    fn reason(&self, planned: &Move) -> String {
        let tasks = &self.input.snapshot.tasks;
        let task = |row: TaskRef| match tasks.get(row.slot as usize) {
            // Rows are numbered in the order of the file.
            Some(task) if task.task == row => format!("task {}", task.id),
            _ => row.to_string(),
        };
        planned.reason.with_names(|id| self.domain(id), task)
    }

    fn machine(&self) -> String {
        let snapshot = &self.input.snapshot;
        let capacity: f64 = self.plan.domains.iter().map(|domain| domain.capacity).sum();
        let demand = total(snapshot.tasks.iter().map(|task| task.demand));
        let owed = total(self.plan.entitlements.iter().copied());
        // More than a CPU it cannot use.
        let level = (self.plan.level * NICE_0).min(1.0);
        let level = if self.plan.level.is_finite() {
            format!(
                "nice 0 (weight {NICE_0}), unconfined and in no group, is owed up to {level:.3}\n"
            )
        } else {
            String::new()
        };
        format!(
            "{}, {}, {capacity:.2} CPUs to hand out; {} could use {demand:.2} and {} owed \
             {owed:.2}\n{level}",
            count(snapshot.nodes.len(), "node"),
            count(snapshot.domains.len(), "domain"),
            count(snapshot.tasks.len(), "task"),
            if snapshot.tasks.len() == 1 {
                "is"
            } else {
                "are"
            },
        )
    }

    fn domain_table(&self) -> String {
        let mut table = Table::with_text(["node", "domain", "capacity", "before", "after", "CPUs"]);
        for (&id, domain) in self.input.names.listed.iter().zip(self.domains()) {
            table.row([
                self.node(id).0.to_string(),
                domain.id.to_string(),
                cpus(domain.capacity),
                cpus(domain.before),
                cpus(domain.after),
                format_cpus(&self.input.snapshot.domains[id.index()].cpus),
            ]);
        }
        format!(
            "\ndomains: CPUs they owe their tasks, before and after\n{}",
            table.text()
        )
    }

    fn moves(&self) -> String {
        let moves = &self.plan.moves;
        if moves.is_empty() {
            return "\nno moves\n".to_owned();
        }
        let mut text = format!("\n{}\n", count(moves.len(), "move"));
        for planned in moves {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "  task {} from domain {} to {}: {}",
                self.task(planned).id,
                self.domain(planned.from),
                self.domain(planned.to),
                self.reason(planned)
            );
        }
        text
    }

    /// Who gets less than it could use, by how much less.
    fn limited(&self) -> String {
        let tasks = &self.input.snapshot.tasks;
        let mut limited: Vec<(&Task, f64)> = tasks
            .iter()
            .zip(self.plan.entitlements.iter().copied())
            .filter(|(task, owed)| task.demand - owed > LIMITED_BY)
            .collect();
        if limited.is_empty() {
            return "\nevery task is owed all it could use\n".to_owned();
        }
        limited.sort_by_key(|(task, owed)| (Reverse(OrderedFloat(task.demand - owed)), task.id));
        let heading = ["task", "domain", "weight", "demand", "owed", "group"];
        let mut table = Table::with_text(heading);
        for (task, owed) in limited.iter().take(MOST_TASKS) {
            table.row([
                task.id.to_string(),
                self.domain(task.domain).to_string(),
                format!("{:.2}", task.weight),
                cpus(task.demand),
                cpus(*owed),
                self.confines(task),
            ]);
        }
        format!(
            "\n{} of {} {} owed less than they could use\n{}{}",
            limited.len(),
            count(tasks.len(), "task"),
            are(limited.len()),
            table.text(),
            super::more(limited.len())
        )
    }

    /// What may hold a task below others of its weight: its group, and the CPUs it
    /// is confined to.
    fn confines(&self, task: &Task) -> String {
        let group = super::group(self.input, task);
        match self.input.snapshot.masks.words(task.mask) {
            Some(words) => {
                let cpus: Vec<_> = cpus_of(words).collect();
                format!("{group} on CPUs {}", format_cpus(&cpus))
            }
            None => group,
        }
    }

    fn certificate(&self) -> String {
        let certificate = &self.plan.certificate;
        let crosses = |planned: &&Move| self.node(planned.from) != self.node(planned.to);
        let crossing = self.plan.moves.iter().filter(crosses);
        format!(
            "\ncertificate\n  \
             at least {} would have to be made by any plan that ends as balanced; this one makes {}\n  \
             at least {:.3} CPUs of load would have to cross nodes; this plan makes {:.3} cross\n  \
             the domain that is furthest off is then {:.3} CPUs from a fair load: {}\n",
            count(certificate.moves_min, "move"),
            self.plan.moves.len(),
            certificate.cross_node_min,
            total(crossing.map(|planned| planned.entitlement)),
            certificate.imbalance_after,
            certificate.remains
        )
    }
}

/// `1 task`, `2 tasks`.
pub(super) fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A number of CPUs. What rounding left below 0 is 0, not -0.
pub(super) fn cpus(number: f64) -> String {
    let text = format!("{number:.3}");
    match text.strip_prefix('-') {
        Some("0.000") => "0.000".to_owned(),
        _ => text,
    }
}

/// The sum, and 0.0 of nothing; `sum` makes that -0.0.
pub(super) fn total(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |sum, number| sum + number)
}

fn are(number: usize) -> &'static str {
    if number == 1 { "is" } else { "are" }
}
