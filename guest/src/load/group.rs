// SPDX-License-Identifier: GPL-2.0-only
//! A group of equal workers as the user writes it: "count=9,nice=5,cpus=0-3".
//! Never starts anything.

use serde::{Deserialize, Serialize};

use crate::cpus::CpuList;
use crate::sys::Policy;

/// Workers a group may have: far above any test, far below a fork bomb.
const MOST_WORKERS: u32 = 4096;
/// Threads a worker may have.
const MOST_THREADS: u32 = 256;
/// Longest duty period: ten seconds, beyond which a window would see only parts of periods.
const LONGEST_PERIOD_MS: u32 = 10_000;
/// Highest node a memory policy may name: the last that fits in the one word handed to the kernel.
const HIGHEST_NODE: u32 = 63;

/// Equal workers: one process each, spinning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Name in reports, and the workers' thread name.
    pub name: String,
    /// Worker processes, 1..=4096.
    pub count: u32,
    /// Threads in each worker process, 1..=256. A worker's CPU time is the sum of its threads'.
    pub threads: u32,
    /// Nice value, -20..=19.
    pub nice: i32,
    /// CPUs the workers are confined to; None leaves the mask alone.
    pub cpus: Option<CpuList>,
    /// Share of each period a thread runs, in percent of CPU time, 1..=100; 100 never sleeps.
    pub duty_percent: u32,
    /// Length of a duty period in milliseconds, 1..=10000.
    pub period_ms: u32,
    /// Scheduling policy.
    pub policy: Policy,
    /// Node whose memory the workers prefer, 0..=63; None leaves the memory policy alone.
    pub preferred_node: Option<u32>,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            name: "spinner".to_owned(),
            count: 1,
            threads: 1,
            nice: 0,
            cpus: None,
            duty_percent: 100,
            period_ms: 20,
            policy: Policy::Normal,
            preferred_node: None,
        }
    }
}

impl Group {
    /// `count` spinners of one nice value, free to run anywhere.
    pub fn spinners(count: usize, nice: i32) -> Self {
        Self {
            name: format!("nice{nice}"),
            count: count as u32,
            nice,
            ..Self::default()
        }
    }

    /// The same workers, confined to `cpus`.
    pub fn confined(self, cpus: &CpuList) -> Self {
        Self {
            cpus: Some(cpus.clone()),
            ..self
        }
    }

    /// Reads `key=value,key=value…`. A piece without `=` continues a CPU list: `cpus=0-3,8`.
    ///
    /// # Errors
    /// One sentence naming the key and what it should be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut group = Self::default();
        let mut named = false;
        for (key, value) in pairs(text)? {
            named |= key == "name";
            group.set(&key, &value)?;
        }
        if !named {
            group.name = format!("nice{}", group.nice);
        }
        Ok(group)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "name" => self.name = name(value)?,
            "count" => self.count = within(key, value, 1, MOST_WORKERS)?,
            "threads" => self.threads = within(key, value, 1, MOST_THREADS)?,
            "nice" => self.nice = within(key, value, -20, 19)?,
            "duty" => self.duty_percent = within(key, value, 1, 100)?,
            "period-ms" => self.period_ms = within(key, value, 1, LONGEST_PERIOD_MS)?,
            "policy" => self.policy = policy(value)?,
            "mempolicy" => self.preferred_node = Some(preferred_node(value)?),
            "cpus" => match CpuList::parse(value) {
                Ok(cpus) if !cpus.is_empty() => self.cpus = Some(cpus),
                Ok(_) => return Err("key `cpus`: the list is empty; write one like 0-3,8".into()),
                Err(why) => return Err(format!("key `cpus`: {why}")),
            },
            _ => {
                return Err(format!(
                    "key `{key}` is not known; use count, threads, nice, cpus, duty, period-ms, \
                     policy, mempolicy or name"
                ));
            }
        }
        Ok(())
    }
}

fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for piece in text.split(',') {
        if let Some((key, value)) = piece.split_once('=') {
            if pairs.iter().any(|(known, _)| known == key) {
                return Err(format!("key `{key}` is given twice; give it once"));
            }
            pairs.push((key.to_owned(), value.to_owned()));
        } else if let Some((_, cpus)) = pairs.last_mut().filter(|(key, _)| key == "cpus") {
            cpus.push(',');
            cpus.push_str(piece);
        } else {
            return Err(format!(
                "`{piece}` has no value; write key=value,key=value, for example count=8,nice=0"
            ));
        }
    }
    Ok(pairs)
}

fn within<T>(key: &str, value: &str, least: T, most: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    match value.parse::<T>() {
        Ok(number) if number >= least && number <= most => Ok(number),
        _ => Err(format!(
            "key `{key}`: `{value}` is not a whole number from {least} to {most}"
        )),
    }
}

fn name(value: &str) -> Result<String, String> {
    let fits = !value.is_empty() && value.len() <= 15;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if fits && value.chars().all(plain) {
        Ok(value.to_owned())
    } else {
        Err(format!(
            "key `name`: `{value}` is not a name; use 1 to 15 letters, digits, - and _"
        ))
    }
}

fn policy(value: &str) -> Result<Policy, String> {
    match value {
        "normal" => Ok(Policy::Normal),
        "batch" => Ok(Policy::Batch),
        "idle" => Ok(Policy::Idle),
        "ext" => Ok(Policy::Ext),
        "fifo" => Ok(Policy::Fifo),
        _ => Err(format!(
            "key `policy`: `{value}` is not known; use normal, batch, idle, ext or fifo"
        )),
    }
}

fn preferred_node(value: &str) -> Result<u32, String> {
    let node = value
        .strip_prefix("preferred:")
        .and_then(|id| id.parse().ok());
    node.filter(|id| *id <= HIGHEST_NODE).ok_or_else(|| {
        format!(
            "key `mempolicy`: `{value}` is not known; use preferred:N, N from 0 to {HIGHEST_NODE}"
        )
    })
}

#[cfg(test)]
mod unit {
    use super::{Group, Policy};
    use crate::cpus::CpuList;

    #[test]
    fn a_whole_group_is_read() {
        let text = "count=9,nice=-5,cpus=0-3,8,duty=30,period-ms=10,policy=batch,name=a,threads=2,\
                    mempolicy=preferred:1";
        let group = Group::parse(text).expect("a good group");
        assert_eq!(
            group,
            Group {
                name: "a".into(),
                count: 9,
                threads: 2,
                nice: -5,
                cpus: Some(CpuList::parse("0-3,8").expect("a good list")),
                duty_percent: 30,
                period_ms: 10,
                policy: Policy::Batch,
                preferred_node: Some(1),
            }
        );
        assert_eq!(Group::parse("nice=19").expect("short").name, "nice19");
    }

    #[test]
    fn a_bad_group_is_one_line_naming_the_key() {
        for (text, word) in [
            ("nice=25", "`nice`"),
            ("count=0", "`count`"),
            ("duty=1.5", "`duty`"),
            ("cpus=3-1", "`cpus`"),
            ("cpus=", "`cpus`"),
            ("policy=rr", "`policy`"),
            ("mempolicy=bind:0", "`mempolicy`"),
            ("mempolicy=preferred:64", "`mempolicy`"),
            ("colour=red", "`colour`"),
            ("count=1,count=2", "twice"),
            ("count", "no value"),
            ("", "no value"),
            ("name=a b", "`name`"),
        ] {
            let why = Group::parse(text).expect_err(text);
            assert!(why.contains(word), "{text}: {why}");
            assert!(!why.contains('\n'), "{text}: {why}");
        }
    }
}
