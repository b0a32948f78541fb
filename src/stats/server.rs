// SPDX-License-Identifier: GPL-2.0-only
//! What the scheduler offers on its statistics socket.
//! Never answers by itself: every request goes to the daemon.

use anyhow::Result;
use scx_stats::prelude::*;
use serde_json::Value;

use super::{DomainMetrics, Metrics, NodeMetrics};
use crate::snapshot_file::live::{self, Shown};
use crate::stdout::print;

/// What the daemon is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// The metrics of this moment.
    Metrics,
    /// The snapshot of the last round.
    Snapshot,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Answer {
    /// To [`Request::Metrics`].
    Metrics(Box<Metrics>),
    /// To [`Request::Snapshot`].
    Snapshot(Box<Shown>),
}

impl Answer {
    /// Done by the server's thread: a large snapshot would take the daemon from
    /// its work.
    fn to_json(&self) -> Result<Value> {
        match self {
            Answer::Metrics(metrics) => metrics.to_json(),
            Answer::Snapshot(shown) => Ok(live::to_json(shown)?),
        }
    }
}

/// The name of the snapshot among what the server offers. Metrics are "top",
/// which the family's tools ask for.
pub(super) const SNAPSHOT: &str = "snapshot";

/// What the server offers.
pub fn server_data() -> StatsServerData<Request, Answer> {
    StatsServerData::new()
        .add_meta(DomainMetrics::meta())
        .add_meta(NodeMetrics::meta())
        .add_meta(Metrics::meta())
        .add_ops("top", ops(Request::Metrics))
        .add_ops(SNAPSHOT, ops(Request::Snapshot))
}

/// Passes `request` on to the daemon and waits for its answer.
fn ops(request: Request) -> StatsOps<Request, Answer> {
    let open: Box<dyn StatsOpener<Request, Answer>> = Box::new(move |_| {
        let read: Box<dyn StatsReader<Request, Answer>> =
            Box::new(move |_args, (requests, answers)| {
                requests.send(request)?;
                answers.recv()?.to_json()
            });
        Ok(read)
    });
    StatsOps { open, close: None }
}

/// Prints what every metric means.
///
/// # Errors
/// Standard output cannot be written.
pub fn describe() -> Result<()> {
    let mut text = Vec::new();
    server_data().describe_meta(&mut text, None)?;
    print(&String::from_utf8_lossy(&text))
}
