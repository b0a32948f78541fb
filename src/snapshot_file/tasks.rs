// SPDX-License-Identifier: GPL-2.0-only
//! The tasks in a snapshot file.
//! Never lets the file's order decide anything but the order of the output.

use std::collections::{BTreeSet, HashMap};

use super::cursor::{At, Object, Path};
use super::groups::{self, Groups};
use super::json::Value;
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

/// The name of the list.
pub(super) const TASKS: &str = "tasks";

/// Where it is.
const LIST: Path<'_> = Path::Field(&Path::Root, TASKS);

/// Reads tasks one by one.
pub(super) struct Reader<'m> {
    machine: &'m Machine,
    groups: &'m Groups,
    places: HashMap<u64, usize>,
    confinements: Confinements<'m>,
    tasks: Vec<Task>,
    processes: BTreeSet<u32>,
    /// Of each task, whether it is a process of its own.
    alone: Vec<bool>,
}

impl<'m> Reader<'m> {
    pub fn new(machine: &'m Machine, groups: &'m Groups) -> Reader<'m> {
        Reader {
            machine,
            groups,
            places: HashMap::new(),
            confinements: Confinements::new(machine),
            tasks: Vec::new(),
            processes: BTreeSet::new(),
            alone: Vec::new(),
        }
    }

    /// Reads the next task.
    pub fn read(&mut self, index: usize, value: &Value<'_>) -> Result<(), UsageError> {
        let item = At::item(&LIST, index, value);
        let fields = item.object("a task", FIELDS)?;
        let at_id = fields.required("id");
        let id = at_id.whole_u64("a task's id")?;
        if let Some(other) = self.places.insert(id, index) {
            return Err(at_id.error(format!(
                "tasks[{other}] has the id {id} already; give each task an id of its own"
            )));
        }
        let mut task = task(
            &fields,
            id,
            self.machine,
            self.groups,
            &mut self.confinements,
        )?;
        let process = fields.optional("process");
        self.alone.push(process.is_none());
        if let Some(at) = process {
            task.process = at.whole_u32("a process id")?;
            self.processes.insert(task.process);
        }
        self.tasks.push(task);
        Ok(())
    }

    /// The tasks, in the order of the file, with the sets of CPUs they may use.
    pub fn finish(self) -> (Vec<Task>, MaskTable) {
        let Reader {
            mut tasks,
            processes,
            alone,
            confinements,
            ..
        } = self;
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
        (tasks, masks)
    }
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

/// Most that different sets of CPUs may hold together: a CPU counts 1, and so do
/// every 64 CPUs up to the highest. A network of the sets and their CPUs takes some
/// 70 bytes for each, and few bytes of a file can ask for all.
const MOST_IN_SETS: usize = 1 << 23;

/// The sets of CPUs that tasks are confined to, each parsed once.
struct Confinements<'m> {
    machine: &'m Machine,
    /// By text, a place in `sets` counted from 1; 0 is all CPUs.
    places: HashMap<String, MaskId>,
    sets: Vec<Confinement>,
    /// What there is left of `MOST_IN_SETS`.
    room: usize,
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
            room: MOST_IN_SETS,
        }
    }

    /// The place of a task's list of CPUs, all of which are of the machine.
    fn place(&mut self, at: &At<'_>) -> Result<MaskId, UsageError> {
        let text = at.text("a list of CPUs", "a text such as '0-3,8'")?;
        if let Some(&place) = self.places.get(text) {
            return Ok(place);
        }
        let cpus = machine::cpu_list(at)?;
        let (mut domains, mut count, mut words) = (BTreeSet::new(), 0, 0);
        for cpu in cpus.iter() {
            (count, words) = (count + 1, cpu.index() / 64 + 1);
            let domain = self.machine.cpus.get(&cpu).ok_or_else(|| {
                at.error(format!(
                    "CPU {} is in no domain; give CPUs that topology.domains has",
                    cpu.0
                ))
            })?;
            domains.insert(*domain);
        }
        let mask = if count == self.machine.cpus.len() {
            MaskId::ANYWHERE
        } else {
            let room = self.room.checked_sub(count + words);
            self.room = room.ok_or_else(|| {
                at.error("there are too many different sets of CPUs; give fewer, or smaller ones")
            })?;
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
