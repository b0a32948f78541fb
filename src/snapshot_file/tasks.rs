// SPDX-License-Identifier: GPL-2.0-only
//! The tasks in a snapshot file.
//! Never lets the file's order decide anything but the order of the output.

use std::collections::{BTreeSet, HashMap};

use super::cursor::{At, Object};
use super::groups::{self, Groups};
use super::machine::{self, Machine};
use crate::affinity::MaskTable;
use crate::cpulist::CpuList;
use crate::ids::{DomainId, GroupId, MaskId, NodeId, TaskRef};
use crate::load_balance::Task;
use crate::usage::UsageError;

/// Nodes a memory policy can name: `Task::preferred_nodes` has a bit for each.
const PREFERABLE_NODES: u32 = u64::BITS;

const FIELDS: &[&str] = &[
    "id",
    "weight",
    "demand",
    "domain",
    "cpus",
    "group",
    "process",
    "preferred_nodes",
];

/// Reads `tasks`: in the order of the file, with the sets of CPUs they may use.
pub(super) fn read(
    at: &At<'_>,
    machine: &Machine,
    groups: &Groups,
) -> Result<(Vec<Task>, MaskTable), UsageError> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut confinements = Confinements::new(machine);
    let mut tasks = Vec::new();
    let mut processes = BTreeSet::new();
    let mut alone = Vec::new();
    for (index, item) in at.items("tasks")?.enumerate() {
        let fields = item.object("a task", FIELDS)?;
        let at_id = fields.required("id");
        let id = at_id.whole_u64("a task's id")?;
        if let Some(other) = places.insert(id, index) {
            return Err(at_id.error(format!(
                "tasks[{other}] has the id {id} already; give each task an id of its own"
            )));
        }
        let mut task = task(&fields, id, machine, groups, &mut confinements)?;
        let process = fields.optional("process");
        alone.push(process.is_none());
        if let Some(at) = process {
            task.process = at.whole_u32("a process id")?;
            processes.insert(task.process);
        }
        tasks.push(task);
    }
    let by_id = by_id(&tasks);
    let mut unused = (0..=u32::MAX).rev().filter(|id| !processes.contains(id));
    for (slot, &index) in by_id.iter().enumerate() {
        tasks[index].task.slot = slot as u32;
        if alone[index] {
            // There are more ids than tasks fit in memory.
            tasks[index].process = unused.next().unwrap_or_default();
        }
    }
    let masks = confinements.intern(&mut tasks, &by_id);
    Ok((tasks, masks))
}

/// A task without its row and its process. Its mask is a place in
/// `confinements`.
fn task(
    fields: &Object<'_>,
    id: u64,
    machine: &Machine,
    groups: &Groups,
    confinements: &mut Confinements<'_>,
) -> Result<Task, UsageError> {
    let weight = super::weight(&fields.required("weight"))?;
    let demand = demand(&fields.required("demand"))?;
    let domain = domain(&fields.required("domain"), machine)?;
    let mask = match fields.optional("cpus") {
        Some(at) => confinements.place(&at)?,
        None => MaskId::ANYWHERE,
    };
    let group = match fields.optional("group") {
        Some(at) => groups::find(&at, groups)?,
        None => GroupId::ROOT,
    };
    let preferred_nodes = match fields.optional("preferred_nodes") {
        Some(at) => preferred_nodes(&at, &machine.node_ids)?,
        None => 0,
    };
    Ok(Task {
        id,
        task: TaskRef {
            slot: 0,
            generation: 1,
        },
        process: 0,
        weight,
        demand,
        domain,
        mask,
        group,
        movable: confinements.leads_away(mask, domain),
        preferred_nodes,
        moved_ago_rounds: u32::MAX,
        lag_ms: 0.0,
    })
}

fn demand(at: &At<'_>) -> Result<f64, UsageError> {
    let fits = |demand| (0.0..=1.0).contains(&demand);
    at.number("a demand", "a number of CPUs from 0 to 1", fits)
}

fn domain(at: &At<'_>, machine: &Machine) -> Result<DomainId, UsageError> {
    let id = at.whole_u64("a domain's id")?;
    machine.domain_ids.get(&id).copied().ok_or_else(|| {
        at.error(format!(
            "domain {id} is not declared in topology.domains; declare it, or give another"
        ))
    })
}

fn preferred_nodes(at: &At<'_>, nodes: &BTreeSet<NodeId>) -> Result<u64, UsageError> {
    let mut bits = 0;
    for item in at.items("nodes, such as [0,1]")? {
        let node = machine::node(&item, nodes)?;
        if node.0 >= PREFERABLE_NODES {
            return Err(item.error(format!(
                "node {} cannot be preferred; only nodes 0 to {} can",
                node.0,
                PREFERABLE_NODES - 1
            )));
        }
        if bits & (1 << node.0) != 0 {
            return Err(item.error(format!("node {} is given twice; give it once", node.0)));
        }
        bits |= 1 << node.0;
    }
    Ok(bits)
}

/// Indices of the tasks by ascending id.
fn by_id(tasks: &[Task]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_unstable_by_key(|&index| tasks[index].id);
    order
}

/// The sets of CPUs that tasks are confined to, each parsed once.
struct Confinements<'m> {
    machine: &'m Machine,
    /// By text, a place in `sets` counted from 1; 0 is all CPUs.
    places: HashMap<String, MaskId>,
    sets: Vec<Confinement>,
}

struct Confinement {
    cpus: CpuList,
    /// The domains it has CPUs in: the only one, or `None` for several.
    only: Option<DomainId>,
}

impl<'m> Confinements<'m> {
    fn new(machine: &'m Machine) -> Confinements<'m> {
        Confinements {
            machine,
            places: HashMap::new(),
            sets: Vec::new(),
        }
    }

    /// The place of a task's list of CPUs, all of which are of the machine.
    fn place(&mut self, at: &At<'_>) -> Result<MaskId, UsageError> {
        let text = at.text("a list of CPUs", "a text such as '0-3,8'")?;
        if let Some(&place) = self.places.get(text) {
            return Ok(place);
        }
        let cpus = machine::cpu_list(at)?;
        let mut domains = BTreeSet::new();
        for cpu in cpus.iter() {
            let domain = self.machine.cpus.get(&cpu).ok_or_else(|| {
                at.error(format!(
                    "CPU {} is in no domain; give CPUs that topology.domains has",
                    cpu.0
                ))
            })?;
            domains.insert(*domain);
        }
        let mask = if cpus.iter().count() == self.machine.cpus.len() {
            MaskId::ANYWHERE
        } else {
            let only = domains.first().copied().filter(|_| domains.len() == 1);
            self.sets.push(Confinement { cpus, only });
            MaskId(self.sets.len() as u32)
        };
        self.places.insert(text.to_owned(), mask);
        Ok(mask)
    }

    /// Whether a task at `domain` could be elsewhere.
    fn leads_away(&self, mask: MaskId, domain: DomainId) -> bool {
        match mask.index().checked_sub(1) {
            None => self.machine.domains.len() > 1,
            Some(place) => self.sets[place].only != Some(domain),
        }
    }

    /// Puts the sets into a table, in the order of the tasks' ids, and replaces
    /// the places in the tasks by the table's ids.
    fn intern(self, tasks: &mut [Task], order: &[usize]) -> MaskTable {
        let mut table = MaskTable::default();
        let mut ids: Vec<Option<MaskId>> = vec![None; self.sets.len()];
        for &index in order {
            let task = &mut tasks[index];
            if let Some(place) = task.mask.index().checked_sub(1) {
                let cpus = &self.sets[place].cpus;
                let id = ids[place].get_or_insert_with(|| table.intern_cpus(cpus.iter()));
                task.mask = *id;
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn processes_of_their_own_are_nobodys() {
        let text = br#"{"topology":{"nodes":[{"id":0,"distance":{}}],
            "domains":[{"id":0,"node":0,"cpus":"0"}]},"tasks":[
            {"id":1,"weight":1,"demand":1,"domain":0,"process":4294967295},
            {"id":2,"weight":1,"demand":1,"domain":0},
            {"id":3,"weight":1,"demand":1,"domain":0}]}"#;
        let input = crate::snapshot_file::read(text).expect("a good file");
        let processes: Vec<u32> = input
            .snapshot
            .tasks
            .iter()
            .map(|task| task.process)
            .collect();
        assert_eq!(processes, [u32::MAX, u32::MAX - 1, u32::MAX - 2]);
    }
}
