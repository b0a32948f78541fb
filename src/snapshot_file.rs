// SPDX-License-Identifier: GPL-2.0-only
//! A snapshot of machine and tasks as a JSON file: strict reading, and writing.
//! Never plans, and never looks at this machine.
//!
//! The form, with all optional fields:
//!
//! ```json
//! {"topology":{"nodes":[{"id":0,"distance":{"0":10,"1":21}},
//!                       {"id":1,"distance":{"1":10,"0":21}}],
//!              "domains":[{"id":0,"node":0,"cpus":"0-3","capacity":4.0},
//!                         {"id":1,"node":1,"cpus":"4-7","capacity":4.0}]},
//!  "groups":[{"path":"/a","weight":100,"quota":2.0}],
//!  "tasks":[{"id":1,"weight":100,"demand":1.0,"domain":0,"cpus":"0-7",
//!            "group":"/a","process":1,"preferred_nodes":[0]}]}
//! ```
//!
//! What may be left out, and what that means: `capacity`, all of its CPUs;
//! `groups`, only the root; `quota`, none; `cpus`, all; `group`, the root;
//! `process`, one of its own; `preferred_nodes`, none. The root, `/`, need not be
//! listed; if it is, its weight has no meaning and its quota limits the machine.
//! A distance that is not given is the kernel's default, 20. Ids may have gaps
//! and be in any order. What is not in the file: how long ago a task was moved
//! (never), its lag (0), and whether a move of it is under way (no).

mod cursor;
mod groups;
mod json;
pub mod live;
mod machine;
mod tasks;
#[cfg(test)]
pub(crate) mod tests;
mod write;

use crate::ids::DomainId;
use crate::load_balance::Snapshot;
use crate::usage::UsageError;
use cursor::At;
use tasks::TASKS;
pub use write::{File, Writer};

/// How errors call the value that is the whole file.
const ROOT: &str = "the snapshot";

/// The largest weight: that of cpu.weight and, with room, of nice −20.
pub const MAX_WEIGHT: f64 = 10_000.0;

/// A lighter weight counts as this one: the water-fill's range ends there, and
/// so does any difference it could make.
const MIN_WEIGHT: f64 = 1e-100;

/// A snapshot, and what the file calls its parts.
#[derive(Clone, Debug)]
pub struct Input {
    /// What is planned on. Its tasks are in the order of the file, its domains
    /// and groups in that of their names.
    pub snapshot: Snapshot,
    /// The names.
    pub names: Names,
}

/// What a file calls the parts of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The id of each domain, by [`DomainId::index`].
    pub domains: Vec<u64>,
    /// The domains in the order of the file.
    pub listed: Vec<DomainId>,
    /// The path of each group, by [`crate::ids::GroupId::index`].
    pub groups: Vec<String>,
}

/// Reads a snapshot from the bytes of a file.
///
/// # Errors
/// Anything that is not exactly a snapshot, as one line that names the field
/// and says what it should be.
pub fn read(bytes: &[u8]) -> Result<Input, UsageError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let detail = format!(
            "byte {} is not UTF-8 text; give a JSON file",
            error.valid_up_to()
        );
        UsageError::new(ROOT, detail)
    })?;
    if text.starts_with('\u{feff}') {
        let detail = "it begins with a byte order mark; save it as UTF-8 without one";
        return Err(UsageError::new(ROOT, detail));
    }
    if text.trim().is_empty() {
        return Err(UsageError::new(ROOT, "it is empty; give a JSON object"));
    }
    // Tasks need the machine and the groups, which may come after them: what is not
    // a task is read first, and the tasks one by one in a second pass.
    let value = json::parse(text, TASKS, &mut |_, _| Ok(()))?;
    let root = At::root(&value);
    let root = root.object("a snapshot", &["topology", "groups", TASKS])?;
    let machine = machine::read(&root.required("topology"))?;
    let groups = groups::read(root.optional("groups").as_ref())?;
    drop(root.required(TASKS).items("tasks")?);
    let mut tasks = tasks::Reader::new(&machine, &groups);
    json::parse(text, TASKS, &mut |index, task| tasks.read(index, task))?;
    let (tasks, masks) = tasks.finish();
    Ok(Input {
        names: Names {
            domains: machine.domain_ids.keys().copied().collect(),
            listed: machine.listed,
            groups: groups.paths,
        },
        snapshot: Snapshot {
            groups: groups.groups,
            nodes: machine.nodes,
            domains: machine.domains,
            masks,
            tasks,
        },
    })
}

/// A weight, of a task or a group.
fn weight(at: &At<'_>) -> Result<f64, UsageError> {
    at.number(
        "a weight",
        &format!("a number above 0 and at most {MAX_WEIGHT}"),
        |weight| weight > 0.0 && weight <= MAX_WEIGHT,
    )
    .map(|weight| weight.max(MIN_WEIGHT))
}
