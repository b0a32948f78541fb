// SPDX-License-Identifier: GPL-2.0-only
//! Reading a scenario, with errors of one line that name the field and the fix.
//! Never repairs what is wrong.

use scx_ballast::cgroups::{ROOT_PATH, parent_of};
use scx_ballast::cpulist::CpuList;
use scx_ballast::usage::{shorten, shorten_to};
use toml::Table;

use super::{Cgroup, CheckConfig, Faults, Scenario, TaskGroup, Topology, Work, keys};
use crate::checks::Check;
use crate::engine::MAX_LIVE as MAX_TASKS;

/// As many CPUs as the scheduler can be loaded for.
const MAX_CPUS: u64 = 8192;

/// The scenario in this text.
///
/// # Errors
/// One line that names the field and says what it should be.
pub fn parse(text: &str) -> Result<Scenario, String> {
    let table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    if table.is_empty() {
        return Err("it is empty; give name, seconds and [[tasks]]".to_owned());
    }
    keys::check("", keys::KEYS, &table)?;
    let scenario: Scenario = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    validate(&scenario)?;
    Ok(scenario)
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let source = text.lines().nth(line - 1).unwrap_or_default().trim();
    let missing = error.message().strip_prefix("missing field `");
    if let Some(field) = missing.and_then(|rest| rest.strip_suffix('`')) {
        return format!("line {line}: {field}: it is missing; give it");
    }
    let message = error.message().replace('\n', "; ");
    let (source, message) = (shorten(source), shorten_to(&message, 240));
    format!("line {line}: `{source}`: {message}")
}

/// Whether the keys agree with each other, each being in its range, so that the engine
/// can run it and nothing in it is without effect.
///
/// # Errors
/// One line that names the field and says what it should be.
pub fn validate(scenario: &Scenario) -> Result<(), String> {
    topology(&scenario.topology)?;
    faults(&scenario.faults, scenario.seconds)?;
    checks(scenario)?;
    for nth in 0..scenario.cgroups.len() {
        let (before, rest) = scenario.cgroups.split_at(nth);
        cgroup(&rest[0], before).map_err(|error| format!("cgroups `{}`: {error}", rest[0].path))?;
    }
    for (nth, group) in scenario.tasks.iter().enumerate() {
        let named = |error| format!("tasks `{}`: {error}", group.name);
        if scenario.tasks[..nth]
            .iter()
            .any(|other| other.name == group.name)
        {
            return Err(named(
                "name: another group has it; give each its own".to_owned(),
            ));
        }
        task_group(group, scenario)
            .and_then(|()| member(group, &scenario.cgroups))
            .map_err(named)?;
    }
    live_tasks(scenario)
}

/// Tasks that live at once, as far as it is known before the run. A child lives for as
/// long as its work takes at least; what more there will be is seen in the run.
fn live_tasks(scenario: &Scenario) -> Result<(), String> {
    let mut sum = 0.0;
    for group in &scenario.tasks {
        sum += f64::from(group.count);
        if let Work::Forks {
            per_second,
            life_us,
        } = group.work
        {
            let life_s = (life_us as f64 / 1e6).min(scenario.seconds - group.start_s);
            let children = f64::from(group.count) * per_second * life_s;
            if children > f64::from(MAX_TASKS) {
                return Err(format!(
                    "tasks `{}`: work.life_us: {children:.0} children would live at once; \
                     give less, or less per_second or count, for at most {MAX_TASKS}",
                    group.name
                ));
            }
            sum += children;
        }
    }
    if sum > f64::from(MAX_TASKS) {
        return Err(format!(
            "tasks: {sum:.0} would live at once; give less count, for at most {MAX_TASKS} in all"
        ));
    }
    Ok(())
}

fn topology(topology: &Topology) -> Result<(), String> {
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
    for (from, row) in rows.iter().enumerate() {
        if row.len() != nodes {
            return Err(format!(
                "topology.distances: a row has {} numbers; give {nodes}",
                row.len()
            ));
        }
        // The kernel takes no other table.
        for (to, &distance) in row.iter().enumerate() {
            if (from == to) != (distance == 10) {
                let wanted = if from == to { "10" } else { "11 to 254" };
                return Err(format!(
                    "topology.distances: {distance} from node {from} to {to}; give {wanted}"
                ));
            }
        }
    }
    Ok(())
}

fn faults(faults: &Faults, seconds: f64) -> Result<(), String> {
    if faults.stall_at_s.is_some() != (faults.stall_for_s > 0.0) {
        return Err("faults.stall_at_s: give it and stall_for_s together".to_owned());
    }
    let until_s = faults.until_s.unwrap_or(seconds);
    if until_s > seconds {
        return Err(format!(
            "faults.until_s: {until_s}; give at most the {seconds} s of the run"
        ));
    }
    for (name, at_s) in [
        ("stall_at_s", faults.stall_at_s),
        ("restart_at_s", faults.restart_at_s),
    ] {
        if let Some(at_s) = at_s.filter(|at_s| *at_s >= until_s) {
            return Err(format!(
                "faults.{name}: {at_s}; give less than the {until_s} s that faults last"
            ));
        }
    }
    Ok(())
}

fn checks(scenario: &Scenario) -> Result<(), String> {
    let checks = &scenario.checks;
    let usual = CheckConfig::default();
    let judging = [
        ("share", checks.share.is_some()),
        ("lag_ms", checks.lag_ms != usual.lag_ms),
        (
            "moves_per_round",
            checks.moves_per_round != usual.moves_per_round,
        ),
    ];
    match checks.steady_from_s {
        Some(from_s) if from_s >= scenario.seconds => {
            return Err(format!(
                "checks.steady_from_s: {from_s}; give less than the {} s of the run",
                scenario.seconds
            ));
        }
        None => {
            if let Some((name, _)) = judging.iter().find(|(_, given)| *given) {
                return Err(format!(
                    "checks.{name}: nothing is judged by it; give steady_from_s too"
                ));
            }
        }
        Some(_) => owed(scenario, &judging)?,
    }
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

/// Shares and lag are judged by what tasks are owed, and that is not known while some
/// could use what depends on others.
fn owed(scenario: &Scenario, judging: &[(&str, bool)]) -> Result<(), String> {
    let given = judging[..2].iter().find(|(_, given)| *given);
    let unknown = scenario
        .tasks
        .iter()
        .find(|group| group.stop_s.is_none() && group.work.demand().is_none());
    match (given, unknown) {
        (Some((name, _)), Some(group)) => Err(format!(
            "checks.{name}: nothing is judged by it while `{}` lives, of kind ring or forks; \
             leave it out, or give the group stop_s",
            group.name
        )),
        _ => Ok(()),
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
    Ok(())
}

fn member(group: &TaskGroup, cgroups: &[Cgroup]) -> Result<(), String> {
    match &group.cgroup {
        Some(path) if path != ROOT_PATH && !cgroups.iter().any(|one| one.path == *path) => {
            Err(format!("cgroup: `{path}` is not declared in cgroups"))
        }
        _ => Ok(()),
    }
}

fn task_group(group: &TaskGroup, scenario: &Scenario) -> Result<(), String> {
    let (nr_cpus, nodes) = (scenario.topology.nr_cpus(), scenario.topology.nodes);
    if group.name.is_empty() || group.name.contains(char::is_control) {
        return Err("name: give one of printable characters".to_owned());
    }
    cpu_list("cpus", group.cpus.as_deref(), nr_cpus)?;
    cpu_list("start_on", group.start_on.as_deref(), nr_cpus)?;
    if group.pinned && group.start_on.is_some() {
        return Err("start_on: each pinned task is born on its own CPU; leave it out".to_owned());
    }
    if let Some(node) = group.memory_node
        && node >= nodes
    {
        return Err(format!("memory_node: {node}; give 0 to {}", nodes - 1));
    }
    let seconds = scenario.seconds;
    if group.start_s >= seconds {
        return Err(format!(
            "start_s: {}; give less than the {seconds} s of the run",
            group.start_s
        ));
    }
    if let Some(stop_s) = group.stop_s
        && !(group.start_s..=seconds).contains(&stop_s)
    {
        return Err(format!(
            "stop_s: {stop_s}; give {} to {seconds}",
            group.start_s
        ));
    }
    match group.work {
        Work::Ring { tokens, .. } if tokens > group.count => Err(format!(
            "work.tokens: {tokens}; give at most the count, {}",
            group.count
        )),
        _ => Ok(()),
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
    fn what_every_scenario_needs_is_named() {
        for (text, error) in [
            ("", "it is empty; give name, seconds and [[tasks]]"),
            (
                "# nothing\n",
                "it is empty; give name, seconds and [[tasks]]",
            ),
            ("seconds = 1\n", "name: it is missing; give it"),
            (
                "name = 'x'\n[topology]\n",
                "seconds: it is missing; give it",
            ),
        ] {
            let found = parse(text).expect_err("refused");
            assert!(found.ends_with(error), "{found}");
        }
    }

    #[test]
    fn errors_name_the_field_and_the_fix() {
        for (extra, part) in [
            (
                "nice = 40",
                "tasks `a`: nice: 40; give a whole number, -20 to 19",
            ),
            (
                "cpus = '0-9'",
                "tasks `a`: cpus: CPU 8 does not exist; give 0 to 7",
            ),
            ("cpus = '3-'", "tasks `a`: cpus:"),
            ("memory_node = 2", "tasks `a`: memory_node: 2; give 0 to 1"),
            ("colour = 1", "line 6: `colour = 1`: unknown field `colour`"),
            (
                "[topology]\nnodes = 0",
                "topology.nodes: 0; give a whole number, 1 to 64",
            ),
            (
                "[topology]\ndistances = [[10]]",
                "topology.distances: give 2 rows",
            ),
            (
                "[topology]\ndistances = [[10,2],[10,10]]",
                "topology.distances: 2; give a whole number, 10 to 254",
            ),
            (
                "[topology]\ndistances = [[11,20],[20,10]]",
                "topology.distances: 11 from node 0 to 0; give 10",
            ),
            (
                "[topology]\ndistances = [[10,10],[20,10]]",
                "topology.distances: 10 from node 0 to 1; give 11 to 254",
            ),
            (
                "[costs]\ntick_hz = 1",
                "costs.tick_hz: 1; give a whole number, 100 to 10000",
            ),
            (
                "[faults]\nfailed_allocations = 0.91",
                "faults.failed_allocations: 0.91; give a number, 0 to 0.9",
            ),
            (
                "[faults]\nlate_kicks = 1.5",
                "faults.late_kicks: 1.5; give a number, 0 to 1",
            ),
            ("[[cgroups]]\npath = 'a'", "cgroups `a`: path: give one"),
            (
                "[[cgroups]]\npath = '/a/b'",
                "cgroups `/a/b`: path: declare /a before",
            ),
            (
                "[[cgroups]]\npath = '/a'\nweight = 0",
                "cgroups `/a`: weight: 0; give a whole number, 1 to 10000",
            ),
            (
                "[[cgroups]]\npath = '/a'\nquota = 0.0",
                "cgroups `/a`: quota: 0.0; give",
            ),
            ("cgroup = '/a'", "tasks `a`: cgroup: `/a` is not declared"),
            ("[faults]\nrt_per_s = nan", "faults.rt_per_s: nan; give"),
            (
                "[checks]\nsteady_from_s = 1",
                "checks.steady_from_s: 1; give less than the 1 s",
            ),
            (
                "[checks]\nshare = 0.1",
                "checks.share: nothing is judged by it",
            ),
            (
                "[checks]\nlag_ms = 10",
                "checks.lag_ms: nothing is judged by it",
            ),
            (
                "[checks]\nmoves_per_round = 0.5",
                "checks.moves_per_round: nothing is judged by it",
            ),
            (
                "[checks]\nsteady_from_s = 0.5\nshare = 0.1\n[[tasks]]\nname = 'b'\n\
                 work = { kind = 'forks', per_second = 1, life_us = 5 }",
                "checks.share: nothing is judged by it while `b` lives",
            ),
            (
                "[faults]\nrestart_at_s = 1",
                "faults.restart_at_s: 1; give less than the 1 s that faults",
            ),
            (
                "[faults]\nuntil_s = 0.2\nstall_at_s = 0.5\nstall_for_s = 0.1",
                "faults.stall_at_s: 0.5; give less than the 0.2 s that faults",
            ),
            (
                "[faults]\nuntil_s = 2",
                "faults.until_s: 2; give at most the 1 s",
            ),
            (
                "start_s = 1",
                "tasks `a`: start_s: 1; give less than the 1 s",
            ),
            ("stop_s = 2", "tasks `a`: stop_s: 2; give 0 to 1"),
            (
                "pinned = true\nstart_on = '0'",
                "tasks `a`: start_on: each pinned task is born on its own CPU",
            ),
            (
                "[[tasks]]\nname = 'a'\nwork = { kind = 'spin' }",
                "tasks `a`: name: another group has it",
            ),
            (
                "[faults]\nstall_at_s = 0.1",
                "faults.stall_at_s: give it and stall_for_s",
            ),
            ("[[cgroups]]\npath = ''", "cgroups ``: path: give one"),
            (
                "count = 0",
                "tasks `a`: count: 0; give a whole number, 1 to",
            ),
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
    fn nine_allocations_of_ten_may_fail() {
        let text = format!("{GOOD}\n[faults]\nfailed_allocations = 0.9");
        let scenario = parse(&text).expect("good");
        assert_eq!(scenario.faults.failed_allocations.to_string(), "0.9");
    }

    #[test]
    fn a_value_of_another_kind_is_refused_with_the_kind_and_the_range() {
        for (extra, part) in [
            (
                "count = [5]",
                "tasks `a`: count: an array; give a whole number, 1 to 1048576",
            ),
            (
                "count = '5'",
                "tasks `a`: count: a string; give a whole number, 1 to",
            ),
            ("count = 2.5", "tasks `a`: count: 2.5; give a whole number"),
            (
                "count = -1",
                "tasks `a`: count: -1; give a whole number, 1 to",
            ),
            (
                "nice = 40",
                "tasks `a`: nice: 40; give a whole number, -20 to 19",
            ),
            ("pinned = 1", "tasks `a`: pinned: 1; give true or false"),
            ("cpus = [0, 1]", "tasks `a`: cpus: an array; give a string"),
            (
                "[[tasks]]\nname = 'b'\nwork = ['spin']",
                "tasks `b`: work: an array; give a table",
            ),
            (
                "[[tasks]]\nname = 'b'\nwork = { kind = 'ring', run_us = 'long' }",
                "tasks `b`: work.run_us: a string; give a whole number, 1 to 3600000000",
            ),
            (
                "[[cgroups]]\npath = '/a'\nweight = 1e2",
                "cgroups `/a`: weight: 100.0; give a whole number, 1 to 10000",
            ),
            (
                "[faults]\nlate_kicks = true",
                "faults.late_kicks: true; give a number, 0 to 1",
            ),
            (
                "[checks]\noff = 'lag'",
                "checks.off: a string; give an array of strings",
            ),
            ("[checks]\noff = [1]", "checks.off: 1; give a string"),
            (
                "[topology]\ndistances = [10, 20]",
                "topology.distances: 10; give an array of arrays",
            ),
        ] {
            let error = error(extra);
            assert!(error.starts_with(part), "{error}");
        }
        for (text, part) in [
            (
                "topology = [2, 1, 4, 1, []]",
                "topology: an array; give a table",
            ),
            ("costs = [1]", "costs: an array; give a table"),
            ("faults = []", "faults: an array; give a table"),
            ("checks = []", "checks: an array; give a table"),
            ("tasks = ['a']", "tasks: a string; give an array of tables"),
            (
                "tasks = [['a', 1]]",
                "tasks: an array; give an array of tables",
            ),
            (
                "cgroups = [['/a', 100]]",
                "cgroups: an array; give an array of tables",
            ),
            ("seed = -1", "seed: -1; give a whole number, 0 to"),
            (
                "flags = '--interval 1'",
                "flags: a string; give an array of",
            ),
            (
                "baselines = 'no'",
                "baselines: a string; give true or false",
            ),
        ] {
            let error = parse(&format!("{text}\nname = 'x'\nseconds = 1\n"));
            let error = error.expect_err("refused");
            assert!(error.starts_with(part), "{error}");
        }
    }

    #[test]
    fn more_tasks_than_memory_holds_are_refused() {
        let spin = |name: &str, count: u32| {
            format!("[[tasks]]\nname = '{name}'\ncount = {count}\nwork = {{ kind = 'spin' }}\n")
        };
        let two = spin("b", 600_000) + &spin("c", 500_000);
        assert!(error(&two).starts_with("tasks: 1100001 would live at once; give less count"));
        let forks = |life_us: u64| {
            format!(
                "[[tasks]]\nname = 'f'\ncount = 100\n\
                 work = {{ kind = 'forks', per_second = 1e5, life_us = {life_us} }}\n"
            )
        };
        let error = error(&forks(500_000));
        let part = "tasks `f`: work.life_us: 5000000 children would live at once; give less";
        assert!(error.starts_with(part), "{error}");
        assert!(parse(&format!("{GOOD}{}", forks(1_000))).is_ok());
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
