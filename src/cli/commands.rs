// SPDX-License-Identifier: GPL-2.0-only
//! The commands besides scheduling, and their options.
//! Never does what they ask for; see [`crate::commands`].

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do instead of scheduling.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub enum Command {
    /// Show which tasks would be moved in a recorded situation, and why
    ///
    /// Reads machine and tasks from a file, computes what every task is owed and the
    /// moves of one round of the balancer, and prints them with a certificate: the
    /// least that any plan would have to do, and what remains. Needs no privilege, no
    /// running scheduler and nothing of this machine.
    ///
    /// The file is JSON, as `scx_ballast snapshot --json` writes it. A small one:
    ///
    ///   {"topology":{"nodes":[{"id":0,"distance":{"0":10}}],
    ///                "domains":[{"id":0,"node":0,"cpus":"0-1"},
    ///                           {"id":1,"node":0,"cpus":"2-3"}]},
    ///    "tasks":[{"id":1,"weight":100,"demand":1.0,"domain":0}]}
    ///
    /// All fields shown there are needed. Weight is above 0 and at most 10000, 100 is
    /// nice 0; demand is the CPUs a task could use, 0 to 1. A domain may have a
    /// "capacity", the CPUs it can hand out: all of its own unless given. A task may
    /// have "cpus", those it may use, a "group", a "process" (a number) and
    /// "preferred_nodes". "groups" beside "tasks" lists control groups, quotas in CPUs:
    /// [{"path":"/a","weight":100,"quota":2.0}]. The group "/" is always there; "/a/b"
    /// needs "/a".
    #[command(verbatim_doc_comment, after_help = PLAN_EXAMPLES)]
    Plan(PlanArgs),

    /// Show what the running scheduler knows of machine and tasks
    ///
    /// Asks the running scx_ballast, over its statistics socket, for what its last
    /// round saw: domains with capacity, tasks with weight, demand and place. With
    /// --json it is a file for `scx_ballast plan`. Needs the scheduler's user, root.
    #[command(verbatim_doc_comment, after_help = SNAPSHOT_EXAMPLES)]
    Snapshot(SnapshotArgs),
}

/// Options of `plan`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct PlanArgs {
    /// The file to read; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub snapshot: PathBuf,

    /// Print JSON: entitlements, domains before and after, moves, certificate.
    #[arg(long)]
    pub json: bool,

    /// Among the moves that balance, prefer those to nodes that tasks name in
    /// "preferred_nodes", and avoid those away from them.
    #[arg(long)]
    pub mempolicy_affinity: bool,
}

const PLAN_EXAMPLES: &str = "\
Examples:
  scx_ballast plan --snapshot machine.json
  scx_ballast snapshot --json | scx_ballast plan --snapshot - --json

Exit codes: 0 planned, 1 the plan could not be printed, 2 bad usage, or a file that
cannot be read or is not a snapshot; the line on stderr then names the field.";

/// Options of `snapshot`.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct SnapshotArgs {
    /// Print JSON, as `scx_ballast plan --snapshot` reads it.
    #[arg(long)]
    pub json: bool,
}

const SNAPSHOT_EXAMPLES: &str = "\
Examples:
  scx_ballast snapshot
  scx_ballast snapshot --json > machine.json

Exit codes: 0 printed, 1 no scheduler is running or it cannot be asked, 2 bad usage.";
