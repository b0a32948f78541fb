// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own record of who ran where and who waited: CPUs idle beside waiting tasks, and
//! tasks that change node.
//! Never follows any task but those of the load.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::thread::sleep;

use anyhow::{Context as _, Result, bail};

use super::Bench;
use super::catalogue::{Better, Clock, FigureSpec, Machines, Target, Work};
use crate::load::{Group, Spinners};
use crate::machine::Machine;

const TRACING: &str = "/sys/kernel/tracing";
/// Room for each CPU's events: several times what a window holds.
const BUFFER_KB: &str = "16384";
const EVENTS: [&str; 4] = [
    "sched_switch",
    "sched_waking",
    "sched_wakeup",
    "sched_wakeup_new",
];

const LOST: FigureSpec = FigureSpec::new(
    "lost",
    "idle while a task waits, of the machine",
    "%",
    Better::Less,
    &[Target::AtMost(0.1)],
);
const LONGEST: FigureSpec = FigureSpec::new(
    "longest",
    "longest such time",
    "ms",
    Better::Less,
    &[Target::AtMost(10.0)],
);
const HOME: FigureSpec = FigureSpec::new(
    "home",
    "run time on the task's main node",
    "",
    Better::More,
    &[Target::AtLeast(0.95)],
);

pub(super) const WORKS: &[Work] = &[
    Work {
        name: "steady",
        title: "A balanced load, traced",
        about: "Three nice-0 spinners for every two CPUs, settled; the kernel's sched_switch and sched_waking events say who waited and who changed node.",
        clock: Clock::Icount,
        machines: Machines::Usual,
        limit_secs: 60,
        figures: &[
            LOST,
            LONGEST,
            FigureSpec::new(
                "crossings",
                "moves between nodes a second",
                "",
                Better::Less,
                &[Target::AtMost(1.0)],
            ),
            HOME,
        ],
        run: steady,
    },
    Work {
        name: "sleepy",
        title: "Tasks that sleep, traced",
        about: "For every eight CPUs, 4 nice-0 tasks each that run 10, 30, 50, 90 and 100 % of a 20 ms period; traced in the same way.",
        clock: Clock::Icount,
        machines: Machines::Usual,
        limit_secs: 60,
        figures: &[
            LOST,
            LONGEST,
            FigureSpec::new(
                "crossings",
                "moves between nodes a second",
                "",
                Better::Less,
                &[],
            ),
            HOME,
        ],
        run: sleepy,
    },
];

fn steady(bench: &mut Bench) -> Result<()> {
    let count = 3 * bench.machine.cpus.len() / 2;
    traced(bench, &[Group::spinners(count, 0)])
}

fn sleepy(bench: &mut Bench) -> Result<()> {
    let count = bench.machine.cpus.len().div_ceil(2);
    let groups = [10, 30, 50, 90, 100].map(|duty_percent| Group {
        duty_percent,
        ..Group::spinners(count, 0)
    });
    traced(bench, &groups)
}

fn traced(bench: &mut Bench, groups: &[Group]) -> Result<()> {
    let spinners = Spinners::start(groups)?;
    sleep(bench.seconds(3, 5));
    let tracing = Tracing::start()?;
    sleep(bench.seconds(3, 5));
    let text = tracing.stop()?;
    let pids = spinners.pids();
    drop(spinners);
    let seen = follow(&text, &pids, bench.machine)?;
    bench.value(
        "lost",
        100.0 * seen.lost_secs / (seen.secs * bench.cpu_count()),
    );
    bench.value("longest", seen.longest_secs * 1e3);
    bench.value("crossings", seen.crossings as f64 / seen.secs);
    bench.value("home", seen.home);
    Ok(())
}

/// Events are being recorded; dropping it ends that.
struct Tracing;

fn set(file: &str, value: &str) -> Result<()> {
    let path = Path::new(TRACING).join(file);
    fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
}

impl Tracing {
    fn start() -> Result<Self> {
        set("tracing_on", "0")?;
        set("trace", "")?;
        set("trace_clock", "mono")?;
        set("buffer_size_kb", BUFFER_KB)?;
        let tracing = Self;
        for event in EVENTS {
            set(&format!("events/sched/{event}/enable"), "1")?;
        }
        set("tracing_on", "1")?;
        Ok(tracing)
    }

    fn stop(self) -> Result<String> {
        set("tracing_on", "0")?;
        let path = Path::new(TRACING).join("trace");
        let bytes = fs::read(&path).context("reading the trace")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Tracing {
    fn drop(&mut self) {
        for event in EVENTS {
            // It only costs time if it stays on.
            drop(set(&format!("events/sched/{event}/enable"), "0"));
        }
        drop(set("trace", ""));
    }
}

/// One event that matters.
#[derive(Debug, PartialEq)]
enum Event {
    Switch {
        cpu: usize,
        prev: u32,
        prev_runnable: bool,
        next: u32,
    },
    Woken(u32),
}

/// The time and meaning of a line "comm-pid [003] flags 12.345678: event: key=value …".
fn parse(line: &str) -> Option<(f64, Event)> {
    let (head, rest) = line.split_once(": sched_")?;
    let seconds = head.split_whitespace().next_back()?.parse().ok()?;
    let (_, cpu) = head.rsplit_once('[')?;
    let cpu = cpu.split_once(']')?.0.parse().ok()?;
    let value = |key: &str| {
        let (_, text) = rest.split_once(key)?;
        text.split_whitespace().next()
    };
    let event = if rest.starts_with("switch:") {
        Event::Switch {
            cpu,
            prev: value(" prev_pid=")?.parse().ok()?,
            prev_runnable: value(" prev_state=")?.starts_with('R'),
            next: value(" next_pid=")?.parse().ok()?,
        }
    } else {
        Event::Woken(value(" pid=")?.parse().ok()?)
    };
    Some((seconds, event))
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Unknown,
    Running,
    Waiting,
    Sleeping,
}

struct Task {
    state: State,
    since: f64,
    node: Option<usize>,
    run_secs: HashMap<usize, f64>,
}

/// What a trace says.
#[derive(Debug)]
struct Seen {
    secs: f64,
    /// CPU seconds: of the idle CPUs, as many as tasks waited.
    lost_secs: f64,
    longest_secs: f64,
    crossings: u64,
    home: f64,
}

fn follow(text: &str, pids: &[u32], machine: &Machine) -> Result<Seen> {
    let new = |pid: &u32| {
        let task = Task {
            state: State::Unknown,
            since: 0.0,
            node: None,
            run_secs: HashMap::new(),
        };
        (*pid, task)
    };
    let mut tasks: HashMap<u32, Task> = pids.iter().map(new).collect();
    let mut idle: HashMap<usize, bool> = HashMap::new();
    let (mut first, mut last) = (None, 0.0);
    let (mut lost_secs, mut longest_secs, mut crossings) = (0.0, 0.0_f64, 0);
    let mut episode_start = None;
    let mut pair = 0_usize;
    for (now, event) in text.lines().filter_map(parse) {
        let start = *first.get_or_insert(now);
        lost_secs += pair as f64 * (now - if last > 0.0 { last } else { start }).max(0.0);
        last = now;
        match event {
            Event::Switch {
                cpu,
                prev,
                prev_runnable,
                next,
            } => {
                idle.insert(cpu, next == 0);
                if let Some(task) = tasks.get_mut(&prev) {
                    if let (State::Running, Some(node)) = (task.state, task.node) {
                        *task.run_secs.entry(node).or_default() += now - task.since;
                    }
                    let waits = prev_runnable;
                    task.state = if waits {
                        State::Waiting
                    } else {
                        State::Sleeping
                    };
                }
                if let Some(task) = tasks.get_mut(&next) {
                    let node = machine.node_of(cpu);
                    crossings += u64::from(task.node.is_some() && task.node != node);
                    task.node = node;
                    task.state = State::Running;
                    task.since = now;
                }
            }
            Event::Woken(pid) => {
                if let Some(task) = tasks.get_mut(&pid)
                    && task.state != State::Running
                {
                    task.state = State::Waiting;
                }
            }
        }
        let waiting = tasks.values().filter(|task| task.state == State::Waiting);
        pair = waiting
            .count()
            .min(idle.values().filter(|idle| **idle).count());
        if pair == 0 {
            if let Some(start) = episode_start.take() {
                longest_secs = longest_secs.max(now - start);
            }
        } else {
            episode_start.get_or_insert(now);
        }
    }
    let secs = last - first.unwrap_or(last);
    if secs <= 0.0 {
        bail!("the trace is empty");
    }
    if let Some(start) = episode_start {
        longest_secs = longest_secs.max(last - start);
    }
    Ok(Seen {
        secs,
        lost_secs,
        longest_secs,
        crossings,
        home: home_share(tasks.values()),
    })
}

/// Of all run time, the part on each task's own main node.
fn home_share<'a>(tasks: impl Iterator<Item = &'a Task>) -> f64 {
    let (mut home, mut all) = (0.0, 0.0);
    for task in tasks {
        home += task.run_secs.values().copied().fold(0.0, f64::max);
        all += task.run_secs.values().sum::<f64>();
    }
    if all > 0.0 { home / all } else { 1.0 }
}

#[cfg(test)]
mod unit {
    use super::{Event, follow, parse};
    use crate::cpus::CpuList;
    use crate::machine::{Machine, Node};

    fn machine() -> Machine {
        let cpus = |text| CpuList::parse(text).expect("a list");
        let node = |id, text| Node {
            id,
            cpus: cpus(text),
        };
        Machine {
            cpus: cpus("0-1"),
            nodes: vec![node(0, "0"), node(1, "1")],
            cores: vec![cpus("0"), cpus("1")],
        }
    }

    fn switch(cpu: usize, at: f64, prev: u32, state: &str, next: u32) -> String {
        format!(
            "  <idle>-0  [{cpu:03}] d..2.  {at:.6}: sched_switch: prev_comm=a b prev_pid={prev} \
             prev_prio=120 prev_state={state} ==> next_comm=c next_pid={next} next_prio=120\n"
        )
    }

    #[test]
    fn lines_are_read() {
        assert_eq!(
            parse(&switch(3, 1.5, 7, "R+", 0)),
            Some((
                1.5,
                Event::Switch {
                    cpu: 3,
                    prev: 7,
                    prev_runnable: true,
                    next: 0
                }
            ))
        );
        let line = "  x-9 [000] d.h. 2.25: sched_waking: comm=x pid=12 prio=120 target_cpu=003";
        assert_eq!(parse(line), Some((2.25, Event::Woken(12))));
        assert_eq!(parse("# tracer: nop"), None);
    }

    #[test]
    fn an_idle_cpu_beside_a_waiting_task_is_lost_time() {
        let text = [
            switch(0, 1.0, 0, "R", 5),
            switch(1, 1.0, 9, "S", 0),
            switch(0, 1.1, 5, "R", 6),
            // Task 5 waits 0.2 s while CPU 1 idles, then runs there: another node.
            switch(1, 1.3, 0, "R", 5),
            switch(1, 2.0, 5, "S", 0),
        ]
        .concat();
        let seen = follow(&text, &[5, 6], &machine()).expect("a trace");
        assert!((seen.secs - 1.0).abs() < 1e-9, "{seen:?}");
        assert!((seen.lost_secs - 0.2).abs() < 1e-9, "{seen:?}");
        assert!((seen.longest_secs - 0.2).abs() < 1e-9, "{seen:?}");
        assert_eq!(seen.crossings, 1);
        assert!((seen.home - 0.7 / 0.8).abs() < 1e-9, "{seen:?}");
        assert!(follow("", &[5], &machine()).is_err());
    }
}
