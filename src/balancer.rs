// SPDX-License-Identifier: GPL-2.0-only
//! The balancer's thread: plans come back for the snapshots that go in.
//! Never touches BPF, so a long plan delays neither the tuner nor the heartbeat.

use std::thread::JoinHandle;

use anyhow::{Context, Result};
use crossbeam::channel::{Receiver, Sender, bounded};

use crate::load_balance::{Config, Plan, Planner, Snapshot};

/// A snapshot and the plan made for it.
pub type Planned = (Snapshot, Plan);

/// The thread, and the way to it. Ends when dropped.
pub struct Balancer {
    snapshots: Option<Sender<Planned>>,
    plans: Receiver<Planned>,
    thread: Option<JoinHandle<()>>,
}

impl Balancer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn start(config: Config) -> Result<Balancer> {
        // One of each at a time: a round begins when the last has ended.
        let (snapshots, inbox) = bounded::<Planned>(1);
        let (outbox, plans) = bounded(1);
        let work = move || {
            let mut planner = Planner::default();
            for (snapshot, mut plan) in inbox {
                planner.plan(&snapshot, &config, &mut plan);
                if outbox.send((snapshot, plan)).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("balancer".to_owned())
            .spawn(work)
            .context("starting the balancer's thread")?;
        Ok(Balancer {
            snapshots: Some(snapshots),
            plans,
            thread: Some(thread),
        })
    }

    /// Hands a snapshot over to be planned on, and an older plan for its memory.
    /// Not before the last one's plan has come back.
    ///
    /// # Errors
    /// The thread has ended.
    pub fn begin(&self, snapshot: Snapshot, plan: Plan) -> Result<()> {
        let sender = self.snapshots.as_ref();
        sender
            .and_then(|sender| sender.send((snapshot, plan)).ok())
            .context("the balancer's thread has ended")
    }

    /// Where the plans arrive.
    pub fn plans(&self) -> &Receiver<Planned> {
        &self.plans
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.snapshots = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; there is nothing to add.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_comes_back_with_its_plan() {
        let balancer = Balancer::start(Config::default()).expect("a thread");
        for _ in 0..3 {
            balancer
                .begin(Snapshot::default(), Plan::default())
                .expect("a live thread");
            let (snapshot, plan) = balancer.plans().recv().expect("a plan");
            assert!(snapshot.tasks.is_empty() && plan.moves.is_empty());
        }
    }

    #[test]
    fn dropping_it_ends_the_thread_with_a_plan_unread() {
        let balancer = Balancer::start(Config::default()).expect("a thread");
        balancer
            .begin(Snapshot::default(), Plan::default())
            .expect("a live thread");
        drop(balancer);
    }
}
