// SPDX-License-Identifier: GPL-2.0-only
//! Starts workers behind one barrier, reads their CPU clocks from outside, ends them.
//! Never signals a process it did not start.

use std::fs;
use std::io::{BufRead, BufReader, PipeReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::group::Group;
use super::worker::{READY, WORKER_ARGUMENT};
use crate::cpus::CpuList;
use crate::sys;

/// A reading that took longer than this is taken again: wall clock and CPU clock must be read at
/// one instant. Two milliseconds are 0.05 % of a four-second window.
const LONGEST_READING_NS: u64 = 2_000_000;
/// How often a slow reading is taken again before it is used as it is.
const READING_ATTEMPTS: u32 = 5;

/// One worker's clocks at one instant.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct WorkerSample {
    /// Process id.
    pub pid: u32,
    /// Place of its group in the list given to `start`.
    pub group: usize,
    /// CPU time of all its threads so far, in nanoseconds.
    pub cpu_ns: u64,
    /// CLOCK_MONOTONIC of the reading, in nanoseconds.
    pub at_ns: u64,
    /// CPU its first thread last ran on.
    pub last_cpu: usize,
}

struct Worker {
    child: Child,
    group: usize,
}

/// Running workers. Dropping this kills them by pid and reaps them.
///
/// The workers also die with the thread that started them.
pub struct Spinners {
    workers: Vec<Worker>,
}

impl Spinners {
    /// Starts every worker of `groups`; returns when all of them are set up and released.
    ///
    /// # Errors
    /// When a worker cannot be started or cannot take its nice value, policy or CPUs.
    pub fn start(groups: &[Group]) -> Result<Self> {
        let (barrier, gate) = std::io::pipe().context("making the start barrier")?;
        let mut spinners = Self {
            workers: Vec::new(),
        };
        let mut answers = Vec::new();
        for (place, group) in groups.iter().enumerate() {
            for _ in 0..group.count {
                let (child, answer) = start_worker(group, &barrier)?;
                spinners.workers.push(Worker {
                    child,
                    group: place,
                });
                answers.push(answer);
            }
        }
        for answer in answers {
            wait_until_ready(answer)?;
        }
        drop(gate);
        Ok(spinners)
    }

    /// Process ids, in the order of the groups.
    pub fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(|w| w.child.id()).collect()
    }

    /// Reads every worker's clocks.
    ///
    /// # Errors
    /// When a worker has died.
    pub fn sample(&self) -> Result<Vec<WorkerSample>> {
        self.workers.iter().map(sample_worker).collect()
    }

    /// Each worker's CPUs over the next `window`.
    ///
    /// # Errors
    /// When a worker dies.
    pub fn shares_over(&self, window: Duration) -> Result<Vec<f64>> {
        let before = self.sample()?;
        sleep(window);
        Ok(shares(&before, &self.sample()?))
    }

    /// The CPU each worker last ran on: cheaper than a whole sample.
    ///
    /// # Errors
    /// When a worker has died.
    pub fn last_cpus(&self) -> Result<Vec<usize>> {
        let cpu = |worker: &Worker| last_cpu(worker.child.id());
        self.workers.iter().map(cpu).collect()
    }

    /// Confines all threads of all workers of group `group` to `cpus`.
    ///
    /// # Errors
    /// When a worker has died or none of the CPUs exists.
    pub fn set_affinity(&self, group: usize, cpus: &CpuList) -> Result<()> {
        for worker in self.workers.iter().filter(|w| w.group == group) {
            let pid = worker.child.id();
            let tasks = format!("/proc/{pid}/task");
            let entries = fs::read_dir(&tasks).with_context(|| format!("reading {tasks}"))?;
            for entry in entries {
                let name = entry?.file_name();
                let tid: u32 = name.to_string_lossy().parse()?;
                sys::set_affinity(tid, cpus)
                    .with_context(|| format!("confining worker {pid} to CPUs {cpus}"))?;
            }
        }
        Ok(())
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // An error means it has ended already; the wait below reaps it all the same.
            drop(worker.child.kill());
        }
        for worker in &mut self.workers {
            drop(worker.child.wait());
        }
    }
}

/// Each worker's CPUs (CPU time over wall time) between two readings of the same spinners.
pub fn shares(before: &[WorkerSample], after: &[WorkerSample]) -> Vec<f64> {
    assert_eq!(before.len(), after.len(), "readings of different spinners");
    let share = |(start, end): (&WorkerSample, &WorkerSample)| {
        assert_eq!(start.pid, end.pid, "readings of different spinners");
        let wall_ns = end.at_ns.saturating_sub(start.at_ns).max(1);
        end.cpu_ns.saturating_sub(start.cpu_ns) as f64 / wall_ns as f64
    };
    before.iter().zip(after).map(share).collect()
}

fn start_worker(group: &Group, barrier: &PipeReader) -> Result<(Child, PipeReader)> {
    let (answer, answer_end) = std::io::pipe().context("making a worker's pipe")?;
    let order = serde_json::to_string(group).context("writing a worker's order")?;
    let barrier = barrier.try_clone().context("sharing the start barrier")?;
    let child = Command::new("/proc/self/exe")
        .arg(WORKER_ARGUMENT)
        .arg(order)
        .stdin(Stdio::from(barrier))
        .stdout(Stdio::from(answer_end))
        .spawn()
        .context("starting a worker")?;
    Ok((child, answer))
}

fn wait_until_ready(answer: PipeReader) -> Result<()> {
    let mut line = String::new();
    BufReader::new(answer)
        .read_line(&mut line)
        .context("waiting for a worker")?;
    match line.trim() {
        READY => Ok(()),
        "" => bail!("a worker died before it was ready"),
        why => bail!("{why}"),
    }
}

fn sample_worker(worker: &Worker) -> Result<WorkerSample> {
    let pid = worker.child.id();
    let mut attempt = 1;
    let (cpu_ns, at_ns) = loop {
        let start_ns = sys::monotonic_ns();
        let cpu_ns = sys::process_cpu_ns(pid)
            .with_context(|| format!("reading the CPU clock of worker {pid}"))?;
        let end_ns = sys::monotonic_ns();
        if end_ns - start_ns <= LONGEST_READING_NS || attempt == READING_ATTEMPTS {
            break (cpu_ns, start_ns + (end_ns - start_ns) / 2);
        }
        attempt += 1;
    };
    Ok(WorkerSample {
        pid,
        group: worker.group,
        cpu_ns,
        at_ns,
        last_cpu: last_cpu(pid)?,
    })
}

fn last_cpu(pid: u32) -> Result<usize> {
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    last_cpu_field(&text).with_context(|| format!("reading field 39 of {path}"))
}

/// Field 39 of a stat line, `processor`. The name in field 2 may hold anything, so fields are
/// counted from the last parenthesis.
fn last_cpu_field(stat: &str) -> Option<usize> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(39 - 3)?.parse().ok()
}

#[cfg(test)]
mod unit {
    use super::{WorkerSample, last_cpu_field, shares};

    #[test]
    fn processor_is_found_behind_any_name() {
        let tail: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
        let stat = format!("77 (a) (b 1 2) {}", tail.join(" "));
        assert_eq!(last_cpu_field(&stat), Some(39));
        assert_eq!(last_cpu_field("nonsense"), None);
    }

    #[test]
    fn shares_divide_by_each_workers_own_window() {
        let sample = |cpu_ns, at_ns| WorkerSample {
            pid: 1,
            group: 0,
            cpu_ns,
            at_ns,
            last_cpu: 0,
        };
        let got = shares(&[sample(100, 1000)], &[sample(600, 2000)]);
        assert!((got[0] - 0.5).abs() < 1e-12);
    }
}
