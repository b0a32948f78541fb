// SPDX-License-Identifier: GPL-2.0-only
//! Reading a scenario, with errors of one line that name the field and the fix.
//! Never repairs what is wrong.

use scx_ballast::cgroups::{ROOT_PATH, parent_of};
use scx_ballast::cpulist::CpuList;

use super::{Cgroup, CheckConfig, Costs, Faults, Scenario, TaskGroup, Topology, Work};
use crate::checks::Check;

/// As many CPUs as the scheduler can be loaded for.
const MAX_CPUS: u64 = 8192;
/// More tasks than any kernel has pids by default.
const MAX_TASKS: u64 = 1 << 22;

/// The scenario in this text.
///
/// # Errors
/// One line that names the field and says what it should be.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let scenario: Scenario = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    validate(&scenario)?;
    Ok(scenario)
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let source = text.lines().nth(line - 1).unwrap_or_default().trim();
    let message = error.message().replace('\n', "; ");
    format!("line {line}: `{source}`: {message}")
}

/// Whether the engine can run it.
///
/// # Errors
/// One line that names the field and says what it should be.
pub fn validate(scenario: &Scenario) -> Result<(), String> {
    within("seconds", scenario.seconds, 0.001, 3600.0)?;
    topology(&scenario.topology)?;
    costs(&scenario.costs)?;
    faults(&scenario.faults)?;
    checks(&scenario.checks)?;
    if let Some(from_s) = scenario.checks.steady_from_s
        && from_s >= scenario.seconds
    {
        return Err(format!(
            "checks.steady_from_s: {from_s}; give less than the {} s of the run",
            scenario.seconds
        ));
    }
    if scenario.faults.stall_at_s.is_some() != (scenario.faults.stall_for_s > 0.0) {
        return Err("faults.stall_at_s: give it and stall_for_s together".to_owned());
    }
    for nth in 0..scenario.cgroups.len() {
        let (before, rest) = scenario.cgroups.split_at(nth);
        cgroup(&rest[0], before).map_err(|error| format!("cgroups `{}`: {error}", rest[0].path))?;
    }
    let nr_cpus = scenario.topology.nr_cpus();
    let count: u64 = scenario
        .tasks
        .iter()
        .map(|group| u64::from(group.count))
        .sum();
    if count > MAX_TASKS {
        return Err(format!("tasks: {count} in all; give at most {MAX_TASKS}"));
    }
    for group in &scenario.tasks {
        task_group(group, nr_cpus, scenario.topology.nodes)
            .and_then(|()| member(group, &scenario.cgroups))
            .map_err(|error| format!("tasks `{}`: {error}", group.name))?;
    }
    Ok(())
}

fn topology(topology: &Topology) -> Result<(), String> {
    whole("topology.nodes", topology.nodes, 1, 64)?;
    whole("topology.llcs_per_node", topology.llcs_per_node, 1, 256)?;
    whole("topology.cores_per_llc", topology.cores_per_llc, 1, 1024)?;
    whole("topology.smt", topology.smt, 1, 8)?;
    let per_node = u64::from(topology.llcs_per_node) * u64::from(topology.cores_per_llc);
    let cpus = u64::from(topology.nodes) * u64::from(topology.smt) * per_node;
    if cpus > MAX_CPUS {
        return Err(format!("topology: {cpus} CPUs; give at most {MAX_CPUS}"));
    }
    let rows = &topology.distances;
    let nodes = topology.nodes as usize;
    if !rows.is_empty() && rows.len() != nodes {
        return Err(format!(
            "topology.distances: give {nodes} rows of {nodes} numbers"
        ));
    }
    if let Some(row) = rows.iter().find(|row| row.len() != nodes) {
        return Err(format!(
            "topology.distances: a row has {} numbers; give {nodes}",
            row.len()
        ));
    }
    match rows.iter().flatten().find(|one| !(10..=254).contains(*one)) {
        Some(one) => Err(format!("topology.distances: {one}; give 10 to 254")),
        None => Ok(()),
    }
}

fn costs(costs: &Costs) -> Result<(), String> {
    const LONGEST_NS: u64 = 100_000_000;
    for (name, ns) in [
        ("switch_ns", costs.switch_ns),
        ("ipi_ns", costs.ipi_ns),
        ("llc_migration_ns", costs.llc_migration_ns),
        ("node_migration_ns", costs.node_migration_ns),
        ("queue_lock_ns", costs.queue_lock_ns),
    ] {
        whole(&format!("costs.{name}"), ns, 0, LONGEST_NS)?;
    }
    whole("costs.clock_skew_ns", costs.clock_skew_ns, 0, 100_000)?;
    whole(
        "costs.remote_slowdown_pct",
        costs.remote_slowdown_pct,
        0,
        1000,
    )?;
    whole("costs.tick_hz", costs.tick_hz, 100, 10_000)
}

fn faults(faults: &Faults) -> Result<(), String> {
    for (name, rate) in [
        ("hotplug_per_s", faults.hotplug_per_s),
        ("affinity_per_s", faults.affinity_per_s),
        ("weight_per_s", faults.weight_per_s),
        ("regroup_per_s", faults.regroup_per_s),
        ("rt_per_s", faults.rt_per_s),
        ("migration_disabled_per_s", faults.migration_disabled_per_s),
        ("stale_requests_per_s", faults.stale_requests_per_s),
    ] {
        within(&format!("faults.{name}"), rate, 0.0, 1e6)?;
    }
    for (name, share) in [
        ("late_kicks", faults.late_kicks),
        ("lost_kicks", faults.lost_kicks),
        ("torn_rows", faults.torn_rows),
        ("failed_allocations", faults.failed_allocations),
    ] {
        within(&format!("faults.{name}"), share, 0.0, 1.0)?;
    }
    for (name, time) in [
        ("until_s", faults.until_s),
        ("stall_at_s", faults.stall_at_s),
        ("stall_for_s", Some(faults.stall_for_s)),
        ("restart_at_s", faults.restart_at_s),
    ] {
        within(&format!("faults.{name}"), time.unwrap_or(0.0), 0.0, 3600.0)?;
    }
    Ok(())
}

fn checks(checks: &CheckConfig) -> Result<(), String> {
    within(
        "checks.steady_from_s",
        checks.steady_from_s.unwrap_or(0.0),
        0.0,
        3600.0,
    )?;
    if checks.share.is_some() && checks.steady_from_s.is_none() {
        return Err("checks.share: nothing is judged by it; give steady_from_s too".to_owned());
    }
    within("checks.lag_ms", checks.lag_ms, 0.0, 1e9)?;
    within("checks.share", checks.share.unwrap_or(0.0), 0.0, 1.0)?;
    within("checks.moves_per_round", checks.moves_per_round, 0.0, 1e9)?;
    whole("checks.wait_ms", checks.wait_ms, 1, 30_000)?;
    let known = |name: &String| Check::ALL.iter().any(|check| check.name() == name);
    match checks.off.iter().find(|name| !known(name)) {
        Some(name) => {
            let names: Vec<&str> = Check::ALL.iter().map(|check| check.name()).collect();
            Err(format!(
                "checks.off: `{name}`; give some of {}",
                names.join(", ")
            ))
        }
        None => Ok(()),
    }
}

fn cgroup(group: &Cgroup, before: &[Cgroup]) -> Result<(), String> {
    let mut names = group.path.split('/');
    let usable = |name: &str| !matches!(name, "" | "." | "..") && !name.contains(char::is_control);
    if names.next() != Some("") || group.path.len() < 2 || !names.all(usable) {
        return Err("path: give one such as /a or /a/b".to_owned());
    }
    let known = |path: &str| before.iter().any(|other| other.path == path);
    if known(&group.path) {
        return Err("path: it is there already".to_owned());
    }
    let parent = parent_of(&group.path);
    if parent != ROOT_PATH && !known(parent) {
        return Err(format!("path: declare {parent} before it"));
    }
    whole("weight", group.weight, 1, 10_000)?;
    within("quota", group.quota.unwrap_or(1.0), 0.001, 8192.0)
}

fn member(group: &TaskGroup, cgroups: &[Cgroup]) -> Result<(), String> {
    match &group.cgroup {
        Some(path) if path != ROOT_PATH && !cgroups.iter().any(|one| one.path == *path) => {
            Err(format!("cgroup: `{path}` is not declared in cgroups"))
        }
        _ => Ok(()),
    }
}

fn task_group(group: &TaskGroup, nr_cpus: u32, nodes: u32) -> Result<(), String> {
    if group.name.is_empty() || group.name.contains(char::is_control) {
        return Err("name: give one of printable characters".to_owned());
    }
    whole("count", u64::from(group.count), 1, MAX_TASKS)?;
    if !(-20..=19).contains(&group.nice) {
        return Err(format!("nice: {}; give -20 to 19", group.nice));
    }
    cpu_list("cpus", group.cpus.as_deref(), nr_cpus)?;
    cpu_list("start_on", group.start_on.as_deref(), nr_cpus)?;
    if let Some(node) = group.memory_node
        && node >= nodes
    {
        return Err(format!("memory_node: {node}; give 0 to {}", nodes - 1));
    }
    within("start_s", group.start_s, 0.0, 3600.0)?;
    if let Some(stop_s) = group.stop_s {
        within("stop_s", stop_s, group.start_s, 3600.0)?;
    }
    work(&group.work, group.count)
}

fn work(work: &Work, count: u32) -> Result<(), String> {
    const LONGEST_US: u64 = 3_600_000_000;
    let time = |name: &str, us: u64| whole(&format!("work.{name}"), us, 1, LONGEST_US);
    match work {
        Work::Spin {} => Ok(()),
        Work::Periodic {
            run_us,
            sleep_us,
            jitter_pct,
        } => {
            time("run_us", *run_us)?;
            time("sleep_us", *sleep_us)?;
            whole("work.jitter_pct", *jitter_pct, 0, 99)
        }
        Work::Server {
            per_second,
            service_us,
        } => {
            within("work.per_second", *per_second, 0.001, 1e6)?;
            time("service_us", *service_us)
        }
        Work::Ring { tokens, run_us, .. } => {
            time("run_us", *run_us)?;
            whole("work.tokens", *tokens, 1, count.max(1))
        }
        Work::Forks {
            per_second,
            life_us,
        } => {
            within("work.per_second", *per_second, 0.001, 1e5)?;
            time("life_us", *life_us)
        }
    }
}

fn cpu_list(name: &str, list: Option<&str>, nr_cpus: u32) -> Result<(), String> {
    let Some(text) = list else { return Ok(()) };
    let list: CpuList = text.parse().map_err(|error| format!("{name}: {error}"))?;
    match list.iter().find(|cpu| cpu.0 >= nr_cpus) {
        Some(cpu) => Err(format!(
            "{name}: CPU {} does not exist; give 0 to {}",
            cpu.0,
            nr_cpus - 1
        )),
        None => Ok(()),
    }
}

fn within(name: &str, value: f64, least: f64, most: f64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{name}: {value}; give {least} to {most}"))
}

fn whole<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    least: T,
    most: T,
) -> Result<(), String> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(format!("{name}: {value}; give {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = 'x'\nseconds = 1\n[[tasks]]\nname = 'a'\nwork = { kind = 'spin' }\n";

    fn error(extra: &str) -> String {
        let error = parse(&format!("{GOOD}{extra}")).expect_err("refused");
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn a_short_scenario_is_enough() {
        let scenario = parse(GOOD).expect("good");
        assert_eq!(scenario.topology.nr_cpus(), 8);
        assert!(scenario.faults.is_quiet());
    }

    #[test]
    fn errors_name_the_field_and_the_fix() {
        for (extra, part) in [
            ("nice = 40", "tasks `a`: nice: 40; give -20 to 19"),
            (
                "cpus = '0-9'",
                "tasks `a`: cpus: CPU 8 does not exist; give 0 to 7",
            ),
            ("cpus = '3-'", "tasks `a`: cpus:"),
            ("memory_node = 2", "tasks `a`: memory_node: 2; give 0 to 1"),
            ("colour = 1", "line 6: `colour = 1`: unknown field `colour`"),
            ("[topology]\nnodes = 0", "topology.nodes: 0; give 1 to 64"),
            (
                "[topology]\ndistances = [[10]]",
                "topology.distances: give 2 rows",
            ),
            (
                "[topology]\ndistances = [[10,2],[10,10]]",
                "topology.distances: 2; give",
            ),
            (
                "[costs]\ntick_hz = 1",
                "costs.tick_hz: 1; give 100 to 10000",
            ),
            (
                "[faults]\nlate_kicks = 1.5",
                "faults.late_kicks: 1.5; give 0 to 1",
            ),
            ("[[cgroups]]\npath = 'a'", "cgroups `a`: path: give one"),
            (
                "[[cgroups]]\npath = '/a/b'",
                "cgroups `/a/b`: path: declare /a before",
            ),
            (
                "[[cgroups]]\npath = '/a'\nweight = 0",
                "cgroups `/a`: weight: 0; give 1 to 10000",
            ),
            (
                "[[cgroups]]\npath = '/a'\nquota = 0.0",
                "cgroups `/a`: quota: 0; give",
            ),
            ("cgroup = '/a'", "tasks `a`: cgroup: `/a` is not declared"),
            ("[faults]\nrt_per_s = nan", "faults.rt_per_s: NaN; give"),
            (
                "[checks]\nsteady_from_s = 1",
                "checks.steady_from_s: 1; give less than the 1 s",
            ),
            (
                "[checks]\nshare = 0.1",
                "checks.share: nothing is judged by it",
            ),
            (
                "[faults]\nstall_at_s = 0.1",
                "faults.stall_at_s: give it and stall_for_s",
            ),
            ("[[cgroups]]\npath = ''", "cgroups ``: path: give one"),
            ("count = 0", "tasks `a`: count: 0; give 1 to"),
            (
                "[[tasks]]\nname = 'b'\nwork = { kind = 'spin', run_us = 5 }",
                "line 8: `work = { kind = 'spin', run_us = 5 }`: unknown field",
            ),
            (
                "[checks]\noff = ['speed']",
                "checks.off: `speed`; give some of",
            ),
        ] {
            let error = error(extra);
            assert!(error.starts_with(part), "{error}");
        }
    }

    #[test]
    fn work_is_checked() {
        let text = GOOD.replace("'spin'", "'periodic', run_us = 0, sleep_us = 5");
        assert!(
            parse(&text)
                .expect_err("refused")
                .contains("work.run_us: 0")
        );
        let text = GOOD.replace("'spin'", "'ring', run_us = 5, tokens = 3");
        assert!(
            parse(&text)
                .expect_err("refused")
                .contains("work.tokens: 3")
        );
    }
}
