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

const fn crossings(targets: &'static [Target]) -> FigureSpec {
    FigureSpec::new(
        "crossings",
        "moves between nodes a second",
        "",
        Better::Less,
        targets,
    )
}

pub(super) const WORKS: &[Work] = &[
    Work {
        name: "steady",
        title: "A balanced load, traced",
        about: "Three nice-0 spinners for every two CPUs, settled; the kernel's sched_switch and sched_waking events say who waited and who changed node.",
        clock: Clock::Icount,
        machines: Machines::Usual,
        limit_secs: 60,
        figures: &[LOST, LONGEST, crossings(&[Target::AtMost(1.0)]), HOME],
        run: steady,
    },
    Work {
        name: "rotating",
        title: "A load that no split suits, traced",
        about: "One nice-0 spinner more than CPUs, so that tasks have to take turns on the node that has more of them; traced in the same way.",
        clock: Clock::Icount,
        machines: Machines::Usual,
        limit_secs: 60,
        figures: &[LOST, LONGEST, crossings(&[Target::AtMost(4.0)]), HOME],
        run: rotating,
    },
    Work {
        name: "sleepy",
        title: "Tasks that sleep, traced",
        about: "For every eight CPUs, 4 nice-0 tasks each that run 10, 30, 50, 90 and 100 % of a 20 ms period; traced in the same way.",
        clock: Clock::Icount,
        machines: Machines::Usual,
        limit_secs: 60,
        figures: &[LOST, LONGEST, crossings(&[]), HOME],
        run: sleepy,
    },
];

fn steady(bench: &mut Bench) -> Result<()> {
    let count = 3 * bench.machine.cpus.len() / 2;
    traced(bench, &[Group::spinners(count, 0)])
}

fn rotating(bench: &mut Bench) -> Result<()> {
    let count = bench.machine.cpus.len() + 1;
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
pub(super) struct Tracing;

fn set(file: &str, value: &str) -> Result<()> {
    let path = Path::new(TRACING).join(file);
    fs::write(&path, value).with_context(|| format!("writing {value} to {}", path.display()))
}

impl Tracing {
    /// Begins with an empty record.
    pub(super) fn start() -> Result<Self> {
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

    /// Ends it. The record stays: to read it takes CPU time, which may be measured meanwhile.
    pub(super) fn halt(&self) -> Result<()> {
        set("tracing_on", "0")
    }

    /// Ends it; the record as text.
    pub(super) fn stop(self) -> Result<String> {
        self.halt()?;
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

impl Task {
    /// If it runs, that ends.
    fn stop(&mut self, now: f64) {
        if let (State::Running, Some(node)) = (self.state, self.node) {
            *self.run_secs.entry(node).or_default() += now - self.since;
        }
    }
}

/// What a trace says.
#[derive(Debug)]
pub(super) struct Seen {
    secs: f64,
    /// CPU seconds: of the idle CPUs, as many as tasks waited.
    lost_secs: f64,
    longest_secs: f64,
    /// Runs on another node than the task's run before.
    pub(super) crossings: u64,
    home: f64,
}

/// What a record says of the tasks `pids`.
pub(super) fn follow(text: &str, pids: &[u32], machine: &Machine) -> Result<Seen> {
    check_whole(text)?;
    let mut follower = Follower::new(pids, machine);
    for (now, event) in text.lines().filter_map(parse) {
        follower.pass_until(now);
        follower.take(now, &event);
        follower.look(now);
    }
    follower.close()
}

/// Refuses a record of which the kernel's buffer lost a part. Its head says
/// "# entries-in-buffer/entries-written: 205/205   #P:8".
fn check_whole(text: &str) -> Result<()> {
    let head = "# entries-in-buffer/entries-written:";
    let counts = text.lines().find_map(|line| line.strip_prefix(head));
    let counts = counts.and_then(|rest| rest.split_whitespace().next());
    match counts.and_then(|counts| counts.split_once('/')) {
        Some((kept, written)) if kept != written => {
            bail!("the kernel's buffer kept {kept} of {written} events")
        }
        _ => Ok(()),
    }
}

/// Goes through a record, event by event.
struct Follower<'m> {
    machine: &'m Machine,
    tasks: HashMap<u32, Task>,
    /// Of the CPUs that were seen, whether nothing runs there.
    idle: HashMap<usize, bool>,
    first: Option<f64>,
    last: f64,
    /// How many idle CPUs have a task that waits beside them.
    lost_cpus: usize,
    /// Since when there are any.
    lost_since: Option<f64>,
    lost_secs: f64,
    longest_secs: f64,
    crossings: u64,
}

impl<'m> Follower<'m> {
    fn new(pids: &[u32], machine: &'m Machine) -> Self {
        let new = |pid: &u32| {
            let task = Task {
                state: State::Unknown,
                since: 0.0,
                node: None,
                run_secs: HashMap::new(),
            };
            (*pid, task)
        };
        Self {
            machine,
            tasks: pids.iter().map(new).collect(),
            idle: HashMap::new(),
            first: None,
            last: 0.0,
            lost_cpus: 0,
            lost_since: None,
            lost_secs: 0.0,
            longest_secs: 0.0,
            crossings: 0,
        }
    }

    fn pass_until(&mut self, now: f64) {
        if self.first.is_none() {
            self.first = Some(now);
            self.last = now;
        }
        self.lost_secs += self.lost_cpus as f64 * (now - self.last).max(0.0);
        self.last = now;
    }

    fn take(&mut self, now: f64, event: &Event) {
        match *event {
            Event::Switch {
                cpu,
                prev,
                prev_runnable,
                next,
            } => {
                self.idle.insert(cpu, next == 0);
                if let Some(task) = self.tasks.get_mut(&prev) {
                    task.stop(now);
                    task.state = if prev_runnable {
                        State::Waiting
                    } else {
                        State::Sleeping
                    };
                }
                if let Some(task) = self.tasks.get_mut(&next) {
                    let node = self.machine.node_of(cpu);
                    self.crossings += u64::from(task.node.is_some() && task.node != node);
                    task.node = node;
                    task.state = State::Running;
                    task.since = now;
                }
            }
            Event::Woken(pid) => {
                if let Some(task) = self.tasks.get_mut(&pid)
                    && task.state != State::Running
                {
                    task.state = State::Waiting;
                }
            }
        }
    }

    /// Counts who waits and who idles, from now on.
    fn look(&mut self, now: f64) {
        let waits = |task: &&Task| task.state == State::Waiting;
        let waiting = self.tasks.values().filter(waits).count();
        let idle = self.idle.values().filter(|idle| **idle).count();
        self.lost_cpus = waiting.min(idle);
        if self.lost_cpus > 0 {
            self.lost_since.get_or_insert(now);
        } else {
            self.end_episode(now);
        }
    }

    fn end_episode(&mut self, now: f64) {
        if let Some(since) = self.lost_since.take() {
            self.longest_secs = self.longest_secs.max(now - since);
        }
    }

    fn close(mut self) -> Result<Seen> {
        let secs = self.last - self.first.unwrap_or(self.last);
        if secs <= 0.0 {
            bail!("the trace is empty");
        }
        self.end_episode(self.last);
        for task in self.tasks.values_mut() {
            task.stop(self.last);
        }
        Ok(Seen {
            secs,
            lost_secs: self.lost_secs,
            longest_secs: self.longest_secs,
            crossings: self.crossings,
            home: home_share(self.tasks.values()),
        })
    }
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
        // Task 6 still runs: since 1.1, on one node.
        assert!((seen.home - 1.6 / 1.7).abs() < 1e-9, "{seen:?}");
        assert!(follow("", &[5], &machine()).is_err());
        let head = |counts: &str| format!("# entries-in-buffer/entries-written: {counts}   #P:8\n");
        assert!(follow(&(head("5/5") + &text), &[5, 6], &machine()).is_ok());
        assert!(follow(&(head("5/9") + &text), &[5, 6], &machine()).is_err());
    }
}
