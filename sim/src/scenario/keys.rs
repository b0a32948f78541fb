// SPDX-License-Identifier: GPL-2.0-only
//! What each key of a scenario may hold, alone: the kind of value and its range.
//! Never compares keys with each other; that is `read`.
//!
//! serde alone would take an array for a table by position, and would say "expected
//! u32" without a field or a range.

use scx_ballast::usage::shorten;
use toml::{Table, Value};

use crate::engine::MAX_LIVE;

/// A key, and what it may hold.
pub struct Key {
    /// Its name in its table.
    pub name: &'static str,
    /// Its values.
    pub holds: Holds,
}

/// The kinds of values.
pub enum Holds {
    /// A string.
    Text,
    /// True or false.
    Flag,
    /// Strings.
    Texts,
    /// Lists of whole numbers, each in the range.
    Rows(i64, i64),
    /// A whole number in the range.
    Whole(i64, i64),
    /// Any number in the range.
    Number(f64, f64),
    /// A table with these keys.
    Table(&'static [Key]),
    /// As many as one likes.
    Tables(&'static [Key]),
}

use Holds::{Flag, Number, Rows, Tables, Text, Texts, Whole};

const fn key(name: &'static str, holds: Holds) -> Key {
    Key { name, holds }
}

/// An hour, the longest run.
const LONGEST_S: f64 = 3600.0;
const LONGEST_US: i64 = 3_600_000_000;
/// A cost of more than this is no cost but a fault.
const DEAREST_NS: i64 = 100_000_000;
/// More events than this a second are none that a machine has.
const MOST_PER_S: f64 = 1e5;
const MOST_TASKS: i64 = MAX_LIVE as i64;

/// All keys, by table.
pub const KEYS: &[Key] = &[
    key("name", Text),
    key("seconds", Number(0.001, LONGEST_S)),
    key("seed", Whole(0, i64::MAX)),
    key("flags", Texts),
    key("balancer", Text),
    key("baselines", Flag),
    key("topology", Holds::Table(TOPOLOGY)),
    key("costs", Holds::Table(COSTS)),
    key("cgroups", Tables(CGROUPS)),
    key("tasks", Tables(TASKS)),
    key("faults", Holds::Table(FAULTS)),
    key("checks", Holds::Table(CHECKS)),
];

const TOPOLOGY: &[Key] = &[
    key("nodes", Whole(1, 64)),
    key("llcs_per_node", Whole(1, 256)),
    key("cores_per_llc", Whole(1, 1024)),
    key("smt", Whole(1, 8)),
    key("distances", Rows(10, 254)),
];

const COSTS: &[Key] = &[
    key("switch_ns", Whole(0, DEAREST_NS)),
    key("ipi_ns", Whole(0, DEAREST_NS)),
    key("llc_migration_ns", Whole(0, DEAREST_NS)),
    key("node_migration_ns", Whole(0, DEAREST_NS)),
    key("remote_slowdown_pct", Whole(0, 1000)),
    key("queue_lock_ns", Whole(0, DEAREST_NS)),
    key("clock_skew_ns", Whole(0, 100_000)),
    key("tick_hz", Whole(100, 10_000)),
];

const CGROUPS: &[Key] = &[
    key("path", Text),
    key("weight", Whole(1, 10_000)),
    key("quota", Number(0.001, 8192.0)),
];

const TASKS: &[Key] = &[
    key("name", Text),
    key("count", Whole(1, MOST_TASKS)),
    key("nice", Whole(-20, 19)),
    key("work", Holds::Table(WORK)),
    key("cgroup", Text),
    key("cpus", Text),
    key("pinned", Flag),
    key("start_on", Text),
    key("memory_node", Whole(0, 63)),
    key("start_s", Number(0.0, LONGEST_S)),
    key("stop_s", Number(0.0, LONGEST_S)),
    key("one_process", Flag),
    key("kthread", Flag),
];

const WORK: &[Key] = &[
    key("kind", Text),
    key("run_us", Whole(1, LONGEST_US)),
    key("sleep_us", Whole(1, LONGEST_US)),
    key("jitter_pct", Whole(0, 99)),
    key("per_second", Number(0.001, MOST_PER_S)),
    key("service_us", Whole(1, LONGEST_US)),
    key("tokens", Whole(1, MOST_TASKS)),
    key("sync", Flag),
    key("goes_on_us", Whole(0, LONGEST_US)),
    key("life_us", Whole(1, LONGEST_US)),
];

const FAULTS: &[Key] = &[
    key("until_s", Number(0.0, LONGEST_S)),
    key("hotplug_per_s", Number(0.0, MOST_PER_S)),
    key("affinity_per_s", Number(0.0, MOST_PER_S)),
    key("weight_per_s", Number(0.0, MOST_PER_S)),
    key("regroup_per_s", Number(0.0, MOST_PER_S)),
    key("rt_per_s", Number(0.0, MOST_PER_S)),
    key("migration_disabled_per_s", Number(0.0, MOST_PER_S)),
    key("stale_requests_per_s", Number(0.0, MOST_PER_S)),
    key("late_kicks", Number(0.0, 1.0)),
    key("lost_kicks", Number(0.0, 1.0)),
    key("torn_rows", Number(0.0, 1.0)),
    key("failed_allocations", Number(0.0, 0.9)),
    key("requeues", Number(0.0, 1.0)),
    key("stall_at_s", Number(0.0, LONGEST_S)),
    key("stall_for_s", Number(0.0, LONGEST_S)),
    key("restart_at_s", Number(0.0, LONGEST_S)),
];

const CHECKS: &[Key] = &[
    key("steady_from_s", Number(0.0, LONGEST_S)),
    key("share", Number(0.0, 1.0)),
    key("lag_ms", Number(0.0, 1e9)),
    key("moves_per_round", Number(0.0, 1e9)),
    key("wait_ms", Whole(1, 30_000)),
    key("off", Texts),
];

/// Whether every key that is there holds what it may. Unknown keys and missing ones
/// are left to serde.
///
/// # Errors
/// One line that names the field and says what it should be.
pub fn check(prefix: &str, keys: &[Key], table: &Table) -> Result<(), String> {
    for key in keys {
        if let Some(value) = table.get(key.name) {
            let path = format!("{prefix}{}", key.name);
            holds(&path, &key.holds, value)?;
        }
    }
    Ok(())
}

fn holds(path: &str, holds: &Holds, value: &Value) -> Result<(), String> {
    match (holds, value) {
        (Holds::Text, Value::String(_)) | (Holds::Flag, Value::Boolean(_)) => Ok(()),
        (Holds::Texts, Value::Array(texts)) => texts
            .iter()
            .try_for_each(|text| self::holds(path, &Text, text)),
        (&Holds::Rows(least, most), Value::Array(rows)) => rows.iter().try_for_each(|row| {
            let numbers = row.as_array().ok_or_else(|| wrong(path, holds, row))?;
            let each = Whole(least, most);
            numbers
                .iter()
                .try_for_each(|one| self::holds(path, &each, one))
        }),
        (Holds::Whole(least, most), Value::Integer(one)) if (least..=most).contains(&one) => Ok(()),
        (Holds::Number(least, most), Value::Float(one)) if (least..=most).contains(&one) => Ok(()),
        (Holds::Number(least, most), Value::Integer(one))
            if (*least..=*most).contains(&(*one as f64)) =>
        {
            Ok(())
        }
        (Holds::Table(keys), Value::Table(table)) => check(&format!("{path}."), keys, table),
        (Holds::Tables(keys), Value::Array(tables)) => {
            for (nth, one) in (1..).zip(tables) {
                let table = one.as_table().ok_or_else(|| wrong(path, holds, one))?;
                let named = ["name", "path"]
                    .iter()
                    .find_map(|key| table.get(*key)?.as_str());
                let which = named.map_or(format!("{nth}"), |name| format!("`{name}`"));
                check(&format!("{path} {which}: "), keys, table)?;
            }
            Ok(())
        }
        _ => Err(wrong(path, holds, value)),
    }
}

fn wrong(path: &str, holds: &Holds, value: &Value) -> String {
    let is = match value {
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => {
            shorten(&value.to_string()).into_owned()
        }
        Value::Array(_) => "an array".to_owned(),
        other => format!("a {}", other.type_str()),
    };
    format!("{path}: {is}; give {}", holds.wanted())
}

impl Holds {
    /// In words.
    pub fn wanted(&self) -> String {
        match self {
            Holds::Text => "a string".to_owned(),
            Holds::Flag => "true or false".to_owned(),
            Holds::Texts => "an array of strings".to_owned(),
            Holds::Rows(least, most) => {
                format!("an array of arrays of whole numbers, {least} to {most}")
            }
            Holds::Whole(least, most) => format!("a whole number, {least} to {most}"),
            Holds::Number(least, most) => format!("a number, {least} to {most}"),
            Holds::Table(_) => "a table".to_owned(),
            Holds::Tables(_) => "an array of tables".to_owned(),
        }
    }
}
