// SPDX-License-Identifier: GPL-2.0-only
//! The demonstration: one imbalance, seen before and after, then a mixed load, for newcomers.
//! Never shows a number that was not measured in this run.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::load::{Group, Spinners, WorkerSample, shares};
use crate::machine::{Machine, Node};
use crate::scheduler::{self, Scheduler};
use crate::stats::{Metrics, StatsClient};
use crate::stress;
use crate::table::Table;
use crate::tests::NO_STEALING;

/// Widest line printed.
const WIDTH: usize = 100;
/// Most moves printed one by one.
const MOST_MOVES: usize = 12;
/// Time a phase runs before it is measured: two default intervals and one second, the promise
/// for the balancer alone.
const SETTLE: Duration = Duration::from_secs(3);
/// Looks at the tasks in a phase's measured window of four seconds, and the time between two.
const LOOKS: u32 = 16;
const LOOK: Duration = Duration::from_millis(250);
/// Pause between two lines of live load.
const LIVE: Duration = Duration::from_secs(2);
/// Length of the mixed load.
const STRESS_SECONDS: u64 = 10;

/// What one phase measured.
struct Phase {
    title: &'static str,
    /// Per node with CPUs: CPUs the spinners had there, spinners last seen there.
    nodes: Vec<(f64, usize)>,
    shares: Vec<f64>,
    /// Tasks the balancer moved, and tasks that idle CPUs took from the other node.
    moves: f64,
    steals: f64,
}

impl Phase {
    fn total(&self) -> f64 {
        self.shares.iter().sum()
    }

    fn least(&self) -> f64 {
        self.shares.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.shares.iter().copied().fold(0.0, f64::max)
    }
}

/// Runs the demonstration on this machine; about a minute and a half under emulation.
///
/// # Errors
/// When the scheduler does not attach or a load does not start.
pub fn run() -> Result<()> {
    let machine = Machine::read()?;
    show_machine(&machine)?;
    let spinners = start_imbalance(&machine)?;

    heading("2. Before: balancing and stealing switched off");
    let flags = [NO_STEALING, &["--no-load-balance"]].concat();
    let before = phase("before: no balancing", &flags, &machine, &spinners)?;
    if before.nodes.iter().any(|(busy, _)| *busy < 0.1) {
        say("The work stays where it was left: one node has a queue, another nothing to do.");
    }

    heading("3. After: the same load, the balancer switched on");
    let flags = [NO_STEALING, &["-v"]].concat();
    let balancer = phase("after: the balancer alone", &flags, &machine, &spinners)?;
    show_moves();

    heading("4. After: the same load, all defaults (balancing, stealing, wake-up placement)");
    let defaults = phase("after: all defaults", &["-v"], &machine, &spinners)?;
    drop(spinners);

    heading("5. A mixed load: stress-ng with CPU, fork and switch stressors");
    let survived = show_stress()?;

    heading("In short");
    show_summary(&machine, &[before, balancer, defaults]);
    say(&survived);
    Ok(())
}

fn heading(text: &str) {
    println!("\n== {text}");
}

fn say(text: &str) {
    for line in wrapped(text, WIDTH - 2) {
        println!("  {line}");
    }
}

/// The words of `text` in lines of at most `width` characters, where words allow.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn show_machine(machine: &Machine) -> Result<()> {
    heading("1. The machine and the load");
    let mut table = Table::new(&["node", "CPUs"]);
    for node in &machine.nodes {
        let cpus = if node.cpus.is_empty() {
            "none, memory only".to_owned()
        } else {
            node.cpus.to_string()
        };
        table.row([format!("node{}", node.id), cpus]);
    }
    print!("{table}");
    let first = machine
        .nodes_with_cpus()
        .next()
        .context("no node has CPUs")?;
    say(&format!(
        "{} tasks that would each use a whole CPU begin on node{} only, and are then free to run \
         anywhere. {} CPUs, {} tasks: each could have one.",
        machine.cpus.len(),
        first.id,
        machine.cpus.len(),
        machine.cpus.len()
    ));
    Ok(())
}

fn start_imbalance(machine: &Machine) -> Result<Spinners> {
    let group = Group {
        name: "spinner".to_owned(),
        ..Group::spinners(machine.cpus.len(), 0)
    };
    let first = machine
        .nodes_with_cpus()
        .next()
        .context("no node has CPUs")?;
    Spinners::start(&[group.confined(&first.cpus)])
}

/// One scheduler's turn: the spinners begin it on the first node and are then set free.
fn phase(
    title: &'static str,
    flags: &[&str],
    machine: &Machine,
    spinners: &Spinners,
) -> Result<Phase> {
    let first = machine
        .nodes_with_cpus()
        .next()
        .context("no node has CPUs")?;
    spinners.set_affinity(0, &first.cpus)?;
    scheduler::clear_log()?;
    say(&format!("$ scx_ballast {}", flags.join(" ")));
    let scheduler = Scheduler::start(flags)?;
    let mut client = StatsClient::connect()?;
    let at_start = client.read()?;
    spinners.set_affinity(0, &machine.cpus)?;
    sleep(SETTLE);
    let looks = watch(spinners)?;
    let at_end = client.read()?;
    spinners.set_affinity(0, &first.cpus)?;
    scheduler.stop()?;

    let phase = Phase {
        title,
        nodes: by_node(machine, &looks),
        shares: shares(&looks[0], &looks[looks.len() - 1]),
        moves: grown(&at_start, &at_end, "moves_applied")?,
        steals: grown(&at_start, &at_end, "steals_numa")?,
    };
    show_phase(machine, &phase);
    Ok(phase)
}

/// Readings of all spinners, `LOOK` apart.
fn watch(spinners: &Spinners) -> Result<Vec<Vec<WorkerSample>>> {
    let mut looks = vec![spinners.sample()?];
    for _ in 0..LOOKS {
        sleep(LOOK);
        looks.push(spinners.sample()?);
    }
    Ok(looks)
}

/// Per node with CPUs: CPUs the spinners had there, and how many were there at the end. What a
/// task ran between two looks counts for the node it was seen on at the second. The kernel's own
/// account, /proc/stat, counts timer ticks, of which an emulated machine loses most.
fn by_node(machine: &Machine, looks: &[Vec<WorkerSample>]) -> Vec<(f64, usize)> {
    let last = &looks[looks.len() - 1];
    let one_node = |node: &Node| {
        let here = |one: &WorkerSample| node.cpus.contains(one.last_cpu);
        let busy: f64 = looks
            .windows(2)
            .flat_map(|pair| shares(&pair[0], &pair[1]).into_iter().zip(&pair[1]))
            .filter(|(_, end)| here(end))
            // Not sum(), which makes -0 of nothing.
            .fold(0.0, |total, (share, _)| total + share);
        let seen = last.iter().filter(|one| here(one)).count();
        (busy / (looks.len() - 1) as f64, seen)
    };
    machine.nodes_with_cpus().map(one_node).collect()
}

fn grown(start: &Metrics, end: &Metrics, counter: &str) -> Result<f64> {
    Ok(end.number(counter)? - start.number(counter)?)
}

fn show_phase(machine: &Machine, phase: &Phase) {
    let mut table = Table::new(&["node", "CPUs", "CPUs busy", "tasks there"]);
    for (node, (busy, tasks)) in machine.nodes_with_cpus().zip(&phase.nodes) {
        table.row([
            format!("node{}", node.id),
            node.cpus.len().to_string(),
            format!("{busy:.2}"),
            tasks.to_string(),
        ]);
    }
    print!("{table}");
    say(&format!(
        "each task had {:.2} to {:.2} CPU of the 1.00 it could use; together {:.2} of {} CPUs",
        phase.least(),
        phase.most(),
        phase.total(),
        machine.cpus.len()
    ));
}

/// The move lines of a `-v` log, oldest first.
fn moves_in(log: &str) -> Vec<&str> {
    log.lines()
        .filter_map(|line| line.find("move pid").map(|at| &line[at..]))
        .collect()
}

fn show_moves() {
    let log = scheduler::log();
    let moves = moves_in(&log);
    say("Who moved, and why, in the balancer's words:");
    for line in moves.iter().take(MOST_MOVES) {
        for part in wrapped(line, WIDTH - 6) {
            println!("    {part}");
        }
    }
    if moves.len() > MOST_MOVES {
        println!("    and {} more", moves.len() - MOST_MOVES);
    }
    if moves.is_empty() {
        println!("    nobody");
    }
}

fn show_stress() -> Result<String> {
    let line = "--cpu 0 --fork 4 --switch 8";
    scheduler::clear_log()?;
    say("$ scx_ballast");
    let mut scheduler = Scheduler::start(&[])?;
    let mut client = StatsClient::connect()?;
    let start = client.read()?;
    say(&format!(
        "$ stress-ng {line} -t {STRESS_SECONDS} --metrics-brief"
    ));
    say("what the tasks on each node are owed, of the CPUs it has:");
    let mut next = LIVE;
    let options = format!("{line} --metrics-brief");
    let output = stress::run(&options, STRESS_SECONDS, |elapsed| {
        scheduler.check_attached()?;
        if elapsed >= next {
            next = elapsed + LIVE;
            println!("  {}", live_line(elapsed, &start, &client.read()?)?);
        }
        Ok(())
    })?;
    scheduler.stop()?;
    say(&format!(
        "stress-ng's operations: {}",
        operations(&output).join(", ")
    ));
    Ok(format!(
        "stress-ng ran {STRESS_SECONDS} s under scx_ballast, which stayed attached to its end and \
         then left the kernel to its own scheduler."
    ))
}

/// "cpu 378" and so on, from the rows of stress-ng's metrics: "… metrc: [pid] name operations …".
fn operations(output: &str) -> Vec<String> {
    let row = |line: &str| {
        let (_, cells) = line.split_once("metrc:")?.1.split_once(']')?;
        let mut cells = cells.split_whitespace();
        let (name, count) = (cells.next()?, cells.next()?.parse::<u64>().ok()?);
        Some(format!("{count} {name}"))
    };
    output.lines().filter_map(row).collect()
}

fn live_line(elapsed: Duration, start: &Metrics, now: &Metrics) -> Result<String> {
    let mut line = format!("{:3.0} s ", elapsed.as_secs_f64());
    for node in now.nodes()? {
        if !node.domains.is_empty() {
            let (id, load, capacity) = (&node.id, node.load, node.capacity);
            line.push_str(&format!("  node{id} {load:.2} of {capacity:.2} CPUs"));
        }
    }
    let moved = grown(start, now, "moves_applied")?;
    line.push_str(&format!(
        "  {} tasks, {moved} moved",
        now.number("nr_tasks")?
    ));
    Ok(line)
}

fn show_summary(machine: &Machine, phases: &[Phase]) {
    let mut headings = vec!["scx_ballast".to_owned()];
    headings.extend(
        machine
            .nodes_with_cpus()
            .map(|node| format!("node{} busy", node.id)),
    );
    headings.extend(["total", "least share", "moved", "stolen"].map(str::to_owned));
    let headings: Vec<&str> = headings.iter().map(String::as_str).collect();
    let mut table = Table::new(&headings);
    for phase in phases {
        let mut cells = vec![phase.title.to_owned()];
        cells.extend(phase.nodes.iter().map(|(busy, _)| format!("{busy:.2}")));
        cells.extend([
            format!("{:.2} CPUs", phase.total()),
            format!("{:.2}", phase.least()),
            phase.moves.to_string(),
            phase.steals.to_string(),
        ]);
        table.row(cells);
    }
    print!("{table}");
    say(
        "busy: CPUs the tasks had on that node. total: CPUs the tasks had together. least share: what \
         the worst-off task had of its one CPU. moved: tasks the balancer sent to the other node, the \
         kernel's own threads too, until the end of the measurement. stolen: tasks an idle CPU \
         fetched from the other node.",
    );
}

#[cfg(test)]
mod unit {
    use super::{moves_in, operations, wrapped};

    #[test]
    fn operations_are_read_from_the_metrics() {
        let output = "stress-ng: metrc: [9] stressor       bogo ops real time\n\
                      stress-ng: metrc: [9]                           (secs)\n\
                      stress-ng: metrc: [9] cpu                 378     10.43     31.30\n\
                      stress-ng: metrc: [9] switch           3795043.61 nanosecs\n\
                      stress-ng: info:  [9] passed: 1\n";
        assert_eq!(operations(output), ["378 cpu"]);
    }

    #[test]
    fn moves_are_found_behind_any_prefix() {
        let log = "12:00:01 [INFO] attached\n\
                   12:00:02 [DEBUG] move pid 7 (spinner) node0/domain0 -> node1/domain1: why\n";
        let moves = moves_in(log);
        assert_eq!(
            moves,
            ["move pid 7 (spinner) node0/domain0 -> node1/domain1: why"]
        );
    }

    #[test]
    fn lines_keep_their_width() {
        let text = "word ".repeat(60);
        let lines = wrapped(&text, 40);
        assert!(lines.iter().all(|line| line.len() <= 40));
        assert_eq!(lines.join(" "), text.trim());
    }
}
