// SPDX-License-Identifier: GPL-2.0-only
//! Plans and snapshots for a person and as JSON, with the ids of their file.
//! Never decides anything, and never writes anywhere: it returns text.

mod plan;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use plan::{plan, plan_json};
pub use snapshot::snapshot;

/// Lines about single tasks in a readable report: what a screen can hold.
const MOST_TASKS: usize = 20;

/// The line after a table of [`MOST_TASKS`] of `all` tasks.
fn more(all: usize) -> String {
    match all.checked_sub(MOST_TASKS) {
        None | Some(0) => String::new(),
        Some(rest) => format!("  … and {rest} more\n"),
    }
}
