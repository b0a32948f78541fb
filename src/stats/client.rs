// SPDX-License-Identifier: GPL-2.0-only
//! Asking a running scheduler over its statistics socket.
//! Never starts one.

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use scx_stats::prelude::*;
use serde_json::Value;

use super::Metrics;
use super::server::SNAPSHOT;

/// Where the family's schedulers serve their statistics.
const SOCKET: &str = "/var/run/scx/root/stats";
/// How soon a person who asks to stop is heard, whatever the interval.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Prints the metrics of the running scheduler every `interval` until `stop`,
/// waiting for one to be started as long as it takes. Not scx_utils'
/// `monitor_stats`: that one sleeps the whole interval before it looks at `stop`.
///
/// # Errors
/// The socket may not be read, or standard output cannot be written.
pub fn monitor(interval: Duration, stop: &AtomicBool) -> Result<()> {
    let mut earlier = Metrics::default();
    let mut said = false;
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = connect(Path::new(SOCKET), None)? else {
            if !said {
                eprintln!("scx_ballast: no scheduler serves {SOCKET} yet: waiting for one");
                said = true;
            }
            pause(interval.min(Duration::from_secs(1)), stop);
            continue;
        };
        // An error here is the scheduler's end: wait for the next one.
        while let Ok(metrics) = client.request::<Metrics>("stats", vec![]) {
            if !print(&metrics, &earlier)? {
                return Ok(());
            }
            earlier = metrics;
            pause(interval, stop);
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
        }
        pause(LOOK_EVERY, stop);
    }
    Ok(())
}

/// The snapshot of the running scheduler's last round, in the form of a
/// snapshot file.
///
/// # Errors
/// No scheduler is running, or it cannot or will not answer.
pub fn latest_snapshot() -> Result<Value> {
    snapshot_of(Path::new(SOCKET))
}

/// How long a scheduler that is busy may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

fn snapshot_of(socket: &Path) -> Result<Value> {
    let shown = socket.display();
    let Some(mut client) = connect(socket, Some(PATIENCE))? else {
        return Err(anyhow!(
            "no scheduler is running: nobody serves {shown}; start scx_ballast as root first"
        ));
    };
    let target = ("target".to_owned(), SNAPSHOT.to_owned());
    client.request("stats", vec![target]).map_err(|error| {
        if error.is::<StatsErrno>() {
            // What it answered is a stack of contexts, not a sentence.
            return anyhow!(
                "the scheduler at {shown} has no snapshots to give: is it scx_ballast, and of \
                 this version?"
            );
        }
        error.context(format!("asking the scheduler at {shown} for its snapshot"))
    })
}

/// None while nobody serves the socket.
fn connect(socket: &Path, patience: Option<Duration>) -> Result<Option<StatsClient>> {
    let patience_ms = patience.map(|patience| patience.as_millis() as u64);
    let error = match StatsClient::new().set_path(socket).connect(patience_ms) {
        Ok(client) => return Ok(Some(client)),
        Err(error) => error,
    };
    match error
        .downcast_ref::<std::io::Error>()
        .map(std::io::Error::kind)
    {
        Some(ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
        _ => Err(error.context(format!(
            "reading {}: run as the scheduler's user, root",
            socket.display()
        ))),
    }
}

/// False when nobody reads the output any more (`| head`).
fn print(metrics: &Metrics, earlier: &Metrics) -> Result<bool> {
    let mut text = Vec::new();
    metrics.format(earlier, &mut text)?;
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    match out.write_all(&text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => Ok(written.map(|()| true)?),
    }
}

fn pause(total: Duration, stop: &AtomicBool) {
    let end = Instant::now() + total;
    while !stop.load(Ordering::Relaxed) {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(LOOK_EVERY));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Request, server_data};
    use super::*;
    use crate::domains::Layout;
    use crate::snapshot_file;

    /// A scheduler with nothing but a statistics server, until the test ends.
    fn serve(socket: &Path) -> StatsServer<Request, Answer> {
        let server = StatsServer::new(server_data())
            .set_path(socket)
            .launch()
            .expect("a socket");
        let (answers, requests) = server.channels();
        let live = snapshot_file::live::Live::new(&Layout::synthetic(8, 4, 2));
        std::thread::spawn(move || {
            for request in requests {
                let answer = match request {
                    Request::Metrics => Answer::Metrics(Box::default()),
                    Request::Snapshot => Answer::Snapshot(live.show()),
                };
                if answers.send(answer).is_err() {
                    return;
                }
            }
        });
        server
    }

    #[test]
    fn the_snapshot_is_served_beside_the_metrics() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("stats");
        let _server = serve(&socket);
        let answer = snapshot_of(&socket).expect("an answer");
        let input = snapshot_file::read(answer.to_string().as_bytes()).expect("a snapshot");
        assert_eq!(input.snapshot.domains.len(), 4);
        let mut client = connect(&socket, None).expect("a socket").expect("a server");
        let metrics = client.request::<Metrics>("stats", vec![]);
        assert_eq!(metrics.expect("metrics"), Metrics::default());
    }

    #[test]
    fn who_cannot_give_a_snapshot_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("stats");
        let error = |socket: &Path| {
            let error = snapshot_of(socket).expect_err("no snapshot");
            format!("{error:#}")
        };
        let nobody = error(&socket);
        assert!(nobody.starts_with("no scheduler is running"), "{nobody}");
        let _stranger = StatsServer::<(), ()>::new(StatsServerData::new())
            .set_path(&socket)
            .launch()
            .expect("a socket");
        let stranger = error(&socket);
        assert!(stranger.contains("is it scx_ballast"), "{stranger}");
        assert_eq!(stranger.lines().count(), 1, "{stranger}");
        std::fs::remove_file(&socket).expect("the socket is there");
        let refused = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        drop(refused);
        assert_eq!(error(&socket), nobody, "a socket that was left behind");
    }
}
