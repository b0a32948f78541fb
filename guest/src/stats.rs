// SPDX-License-Identifier: GPL-2.0-only
//! A client of the scheduler's statistics socket, written from the protocol, not from the
//! scheduler's code.
//! Never assumes more of an answer than the field it is asked for.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Where the sched_ext family's schedulers serve their statistics.
const SOCKET: &str = "/var/run/scx/root/stats";
/// Asks for the top-level statistics.
const REQUEST: &str = "{\"req\":\"stats\",\"args\":{\"target\":\"top\"}}\n";
/// The socket may appear a little after the scheduler is enabled.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// An answer comes from the daemon, which runs beside whatever load the test makes.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// An open connection.
pub struct StatsClient {
    stream: BufReader<UnixStream>,
}

impl StatsClient {
    /// Connects, waiting a little for the socket to appear.
    ///
    /// # Errors
    /// When nothing serves the socket.
    pub fn connect() -> Result<Self> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(SOCKET) {
                Ok(stream) => {
                    stream
                        .set_read_timeout(Some(ANSWER_PATIENCE))
                        .context("setting the statistics socket's patience")?;
                    return Ok(Self {
                        stream: BufReader::new(stream),
                    });
                }
                Err(_) if start.elapsed() < CONNECT_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(why) => return Err(why).with_context(|| format!("connecting to {SOCKET}")),
            }
        }
    }

    /// Asks for the statistics once.
    ///
    /// # Errors
    /// When the daemon does not answer, answers with an error, or not in JSON.
    pub fn read(&mut self) -> Result<Metrics> {
        self.stream
            .get_mut()
            .write_all(REQUEST.as_bytes())
            .with_context(|| format!("asking {SOCKET}"))?;
        let mut line = String::new();
        self.stream
            .read_line(&mut line)
            .with_context(|| format!("waiting for an answer from {SOCKET}"))?;
        answer(&line)
    }
}

fn answer(line: &str) -> Result<Metrics> {
    let mut value: Value = serde_json::from_str(line).context("reading a statistics answer")?;
    let errno = value["errno"].as_i64();
    let response = value["args"]["resp"].take();
    if errno != Some(0) {
        bail!("the statistics answer is an error: {response}");
    }
    Ok(Metrics(response))
}

/// One reading of the statistics.
#[derive(Clone, Debug)]
pub struct Metrics(Value);

/// One node in a reading.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeMetrics {
    /// Node number.
    pub id: String,
    /// CPUs it can give.
    pub capacity: f64,
    /// Sum of its tasks' entitlements, in CPUs.
    pub load: f64,
    /// CPU lists of its domains.
    pub domains: Vec<String>,
}

impl Metrics {
    /// A number at the top level.
    ///
    /// # Errors
    /// When there is no number of that name.
    pub fn number(&self, name: &str) -> Result<f64> {
        number(&self.0, name)
    }

    /// Names of everything at the top level.
    pub fn names(&self) -> Vec<String> {
        let object = self.0.as_object();
        object.map_or(Vec::new(), |fields| fields.keys().cloned().collect())
    }

    /// The nodes, in the order of their numbers.
    ///
    /// # Errors
    /// When a field is missing.
    pub fn nodes(&self) -> Result<Vec<NodeMetrics>> {
        let Some(nodes) = self.0["nodes"].as_object() else {
            bail!("the statistics have no `nodes`");
        };
        let mut nodes = nodes
            .iter()
            .map(|(id, node)| read_node(id, node).with_context(|| format!("in node {id}")))
            .collect::<Result<Vec<NodeMetrics>>>()?;
        nodes.sort_by_key(|node| node.id.parse::<u32>().unwrap_or(u32::MAX));
        Ok(nodes)
    }
}

fn read_node(id: &str, node: &Value) -> Result<NodeMetrics> {
    let Some(domains) = node["domains"].as_object() else {
        bail!("there are no `domains`");
    };
    let cpus = |domain: &Value| domain["cpus"].as_str().map(str::to_owned);
    Ok(NodeMetrics {
        id: id.to_owned(),
        capacity: number(node, "capacity")?,
        load: number(node, "load")?,
        domains: domains
            .values()
            .map(|domain| cpus(domain).context("a domain has no `cpus`"))
            .collect::<Result<_>>()?,
    })
}

fn number(value: &Value, name: &str) -> Result<f64> {
    value[name]
        .as_f64()
        .with_context(|| format!("the statistics have no number `{name}`"))
}

#[cfg(test)]
mod unit {
    use super::answer;

    #[test]
    fn an_answer_is_read() {
        let line = r#"{"errno":0,"args":{"resp":{"moves_applied":4,"nodes":{
            "10":{"capacity":4.0,"load":3.5,"domains":{"1":{"cpus":"4-7"}}},
            "2":{"capacity":4.0,"load":4.5,"domains":{"0":{"cpus":"0-3"}}}}}}}"#;
        let metrics = answer(line).expect("a good answer");
        assert!((metrics.number("moves_applied").expect("there") - 4.0).abs() < 1e-9);
        assert!(metrics.number("nonsense").is_err());
        let nodes = metrics.nodes().expect("there");
        assert_eq!(nodes[0].id, "2");
        assert_eq!(nodes[1].domains, ["4-7"]);
    }

    #[test]
    fn an_error_is_told() {
        let why = answer(r#"{"errno":22,"args":{"resp":"unknown"}}"#).expect_err("an error");
        assert!(why.to_string().contains("unknown"), "{why}");
        assert!(answer("not json").is_err());
    }
}
