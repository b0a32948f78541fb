// SPDX-License-Identifier: GPL-2.0-only
//! What happened: a hash of all of it, and, if asked for, a trace for Perfetto.
//! Never holds an address or anything else that differs between equal runs.

use std::io::{self, Write};

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

/// The hash, and what is shown, which goes to its file at once: a long run has more
/// of it than memory holds.
pub struct Trace {
    hash: u64,
    out: Option<Box<dyn Write>>,
    /// What goes between two events of the file.
    between: &'static str,
    /// Why the file could not be written.
    error: Option<io::Error>,
    /// When the task on each CPU began to run.
    begun: Vec<Ns>,
    names: Vec<String>,
}

impl Trace {
    /// A trace of a machine with `nr_cpus`; what Perfetto needs goes to `out`.
    pub fn new(nr_cpus: usize, out: Option<Box<dyn Write>>) -> Trace {
        Trace {
            // The offset basis of FNV-1a.
            hash: 0xcbf2_9ce4_8422_2325,
            out,
            between: r#"{"traceEvents":["#,
            error: None,
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
        if self.out.is_some() {
            self.show(now, kind, cpu, task, detail);
        }
    }

    fn show(&mut self, now: Ns, kind: Kind, cpu: u32, task: TaskId, detail: u64) {
        let us = |ns: Ns| ns as f64 / 1e3;
        let name = || match self.names.get(task as usize) {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("task {task}"),
        };
        let instant = |name: String| Shown {
            name,
            ph: "i",
            ts: us(now),
            dur: None,
            pid: 0,
            tid: cpu,
            s: Some("t"),
        };
        let shown = match kind {
            Kind::Run => {
                self.begun[cpu as usize] = now;
                return;
            }
            Kind::Stop => {
                let begun = self.begun[cpu as usize];
                Shown {
                    name: name(),
                    ph: "X",
                    ts: us(begun),
                    dur: Some(us(now - begun)),
                    pid: 0,
                    tid: cpu,
                    s: None,
                }
            }
            Kind::Hotplug if detail == 0 => instant("offline".to_owned()),
            Kind::Hotplug => instant("online".to_owned()),
            Kind::Taken => instant("taken".to_owned()),
            Kind::Request => instant(format!("move {} to domain {detail}", name())),
            Kind::Plan => instant("plan".to_owned()),
            _ => return,
        };
        self.put(&shown);
    }

    /// After the first error nothing more is written; `finish` tells it.
    fn put(&mut self, shown: &Shown) {
        let between = std::mem::replace(&mut self.between, ",\n");
        let Some(out) = &mut self.out else { return };
        let written = out
            .write_all(between.as_bytes())
            .and_then(|()| Ok(serde_json::to_writer(out, shown)?));
        if let Err(error) = written {
            (self.error, self.out) = (Some(error), None);
        }
    }

    /// Gives a task a name for the trace.
    pub fn name(&mut self, task: TaskId, name: String) {
        if self.out.is_none() || task == NONE {
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

    /// Ends the file.
    ///
    /// # Errors
    /// The file could not be written, now or before.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let Some(mut out) = self.out.take() else {
            return Ok(());
        };
        let begin = if self.between == ",\n" {
            ""
        } else {
            self.between
        };
        out.write_all(format!("{begin}]}}\n").as_bytes())?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn order_and_detail_change_the_hash() {
        let hash = |notes: &[(u32, u64)]| {
            let mut trace = Trace::new(2, None);
            for &(cpu, detail) in notes {
                trace.note(5, Kind::Run, cpu, 1, detail);
            }
            trace.hash()
        };
        assert_eq!(hash(&[(0, 1), (1, 2)]), hash(&[(0, 1), (1, 2)]));
        assert_ne!(hash(&[(0, 1), (1, 2)]), hash(&[(1, 2), (0, 1)]));
        assert_ne!(hash(&[(0, 1)]), hash(&[(0, 2)]));
    }

    /// A file that a test can look into, and that is full after so many bytes.
    #[derive(Clone, Default)]
    struct Disk(Rc<RefCell<Vec<u8>>>, usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.borrow().len() + bytes.len() > self.1 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_run_is_shown_as_one_bar_at_once() {
        let disk = Disk(Rc::default(), 1 << 20);
        let mut trace = Trace::new(1, Some(Box::new(disk.clone())));
        trace.name(7, "hog".to_owned());
        trace.note(1000, Kind::Run, 0, 7, 0);
        trace.note(5000, Kind::Stop, 0, 7, 0);
        let text = || String::from_utf8(disk.0.borrow().clone()).expect("UTF-8");
        let bar = r#""name":"hog","ph":"X","ts":1.0,"dur":4.0"#;
        assert!(text().contains(bar), "{}", text());
        trace.finish().expect("written");
        let whole: serde_json::Value = serde_json::from_str(&text()).expect("JSON");
        assert_eq!(whole["traceEvents"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn a_full_disk_is_told_at_the_end_and_an_empty_trace_is_json() {
        let mut trace = Trace::new(1, Some(Box::new(Disk(Rc::default(), 20))));
        trace.note(5000, Kind::Stop, 0, 7, 0);
        trace.note(5000, Kind::Stop, 0, 7, 0);
        assert!(trace.finish().is_err());
        let disk = Disk(Rc::default(), 100);
        let mut trace = Trace::new(1, Some(Box::new(disk.clone())));
        trace.finish().expect("written");
        assert_eq!(*disk.0.borrow(), b"{\"traceEvents\":[]}\n");
    }
}
