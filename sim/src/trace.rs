// SPDX-License-Identifier: GPL-2.0-only
//! What happened: a hash of all of it, and, if asked for, a trace for Perfetto.
//! Never holds an address or anything else that differs between equal runs.

use std::io::Write;

use serde::Serialize;

use crate::engine::{NONE, Ns, TaskId};

/// A kind of thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A task begins or stops to run.
    Run,
    /// Likewise.
    Stop,
    /// A CPU goes idle.
    Idle,
    /// A task is woken.
    Wake,
    /// A task gets into a queue, or is taken out by a CPU.
    Queue,
    /// Likewise.
    Take,
    /// A CPU is kicked.
    Kick,
    /// A task is born, changed, ended.
    Born,
    /// Likewise.
    Change,
    /// Likewise.
    Died,
    /// A CPU goes or comes.
    Hotplug,
    /// A class above ours takes a CPU.
    Taken,
    /// Something goes wrong on purpose.
    Fault,
    /// The daemon beats, plans, or asks for a move.
    Beat,
    /// Likewise.
    Plan,
    /// Likewise.
    Request,
}

/// An event in the Chrome trace format, which Perfetto reads.
#[derive(Serialize)]
struct Shown {
    name: String,
    ph: &'static str,
    /// in µs
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    pid: u32,
    tid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<&'static str>,
}

/// The hash, and what is shown.
pub struct Trace {
    hash: u64,
    shown: Option<Vec<Shown>>,
    /// When the task on each CPU began to run.
    begun: Vec<Ns>,
    names: Vec<String>,
}

impl Trace {
    /// A trace of a machine with `nr_cpus`; `show` keeps what Perfetto needs.
    pub fn new(nr_cpus: usize, show: bool) -> Trace {
        Trace {
            // The offset basis of FNV-1a.
            hash: 0xcbf2_9ce4_8422_2325,
            shown: show.then(Vec::new),
            begun: vec![0; nr_cpus],
            names: Vec::new(),
        }
    }

    /// Something happens.
    pub fn note(&mut self, now: Ns, kind: Kind, cpu: u32, task: TaskId, detail: u64) {
        let place = u64::from(cpu) << 32 | u64::from(task);
        for word in [now, kind as u64, place, detail] {
            // FNV-1a over words: equality is all that is asked of it.
            self.hash = (self.hash ^ word).wrapping_mul(0x0100_0000_01b3);
            self.hash ^= self.hash >> 29;
        }
        if self.shown.is_some() {
            self.show(now, kind, cpu, task, detail);
        }
    }

    fn show(&mut self, now: Ns, kind: Kind, cpu: u32, task: TaskId, detail: u64) {
        let Some(shown) = &mut self.shown else { return };
        let us = |ns: Ns| ns as f64 / 1e3;
        let name = || match self.names.get(task as usize) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("task {task}"),
        };
        let mut instant = |name: String, tid: u32| {
            shown.push(Shown {
                name,
                ph: "i",
                ts: us(now),
                dur: None,
                pid: 0,
                tid,
                s: Some("t"),
            });
        };
        match kind {
            Kind::Run => self.begun[cpu as usize] = now,
            Kind::Stop => {
                let begun = self.begun[cpu as usize];
                let name = name();
                shown.push(Shown {
                    name,
                    ph: "X",
                    ts: us(begun),
                    dur: Some(us(now - begun)),
                    pid: 0,
                    tid: cpu,
                    s: None,
                });
            }
            Kind::Hotplug if detail == 0 => instant("offline".to_owned(), cpu),
            Kind::Hotplug => instant("online".to_owned(), cpu),
            Kind::Taken => instant("taken".to_owned(), cpu),
            Kind::Request => {
                let text = format!("move {} to domain {detail}", name());
                instant(text, cpu);
            }
            Kind::Plan => instant("plan".to_owned(), cpu),
            _ => (),
        }
    }

    /// Gives a task a name for the trace.
    pub fn name(&mut self, task: TaskId, name: String) {
        if self.shown.is_none() || task == NONE {
            return;
        }
        let index = task as usize;
        if self.names.len() <= index {
            self.names.resize(index + 1, String::new());
        }
        self.names[index] = name;
    }

    /// The hash of all that happened so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Writes the trace for Perfetto.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, out: impl Write) -> serde_json::Result<()> {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(rename = "traceEvents")]
            events: &'a [Shown],
        }
        let events = self.shown.as_deref().unwrap_or_default();
        serde_json::to_writer(out, &Whole { events })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_detail_change_the_hash() {
        let hash = |notes: &[(u32, u64)]| {
            let mut trace = Trace::new(2, false);
            for &(cpu, detail) in notes {
                trace.note(5, Kind::Run, cpu, 1, detail);
            }
            trace.hash()
        };
        assert_eq!(hash(&[(0, 1), (1, 2)]), hash(&[(0, 1), (1, 2)]));
        assert_ne!(hash(&[(0, 1), (1, 2)]), hash(&[(1, 2), (0, 1)]));
        assert_ne!(hash(&[(0, 1)]), hash(&[(0, 2)]));
    }

    #[test]
    fn a_run_is_shown_as_one_bar() {
        let mut trace = Trace::new(1, true);
        trace.name(7, "hog".to_owned());
        trace.note(1000, Kind::Run, 0, 7, 0);
        trace.note(5000, Kind::Stop, 0, 7, 0);
        let mut text = Vec::new();
        trace.write(&mut text).expect("written");
        let text = String::from_utf8(text).expect("UTF-8");
        assert!(
            text.contains(r#""name":"hog","ph":"X","ts":1.0,"dur":4.0"#),
            "{text}"
        );
    }
}
