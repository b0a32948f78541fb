// SPDX-License-Identifier: GPL-2.0-only
//! Plans and snapshots for a person and as JSON, with the ids of their file.
//! Never decides anything, and never writes anywhere: it returns text.

mod plan;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

use crate::load_balance::Task;
use crate::snapshot_file::Input;
pub use plan::{plan, plan_json};
pub use snapshot::snapshot;

/// Lines about single tasks in a readable report: what a screen can hold.
const MOST_TASKS: usize = 20;

/// The path of a task's group. Whoever makes a group chooses its name.
fn group(input: &Input, task: &Task) -> String {
    let path = &input.names.groups[task.group.index()];
    path.escape_debug().to_string()
}

/// The line after a table of [`MOST_TASKS`] of `all` tasks.
fn more(all: usize) -> String {
    match all.checked_sub(MOST_TASKS) {
        None | Some(0) => String::new(),
        Some(rest) => format!("  … and {rest} more\n"),
    }
}
