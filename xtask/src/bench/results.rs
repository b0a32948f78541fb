// SPDX-License-Identifier: GPL-2.0-only
//! Owns raw results: read from the guest's output, kept in the cache, read again for the page.
//! Must never change a figure.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::cache::{self, Cache};
use crate::guest::Output;
use crate::qemu::Clock;
use crate::topology;

/// What begins a line of the guest's that is meant for us.
const MARKER: &str = "BENCH ";

/// The machines a piece of work is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Machines {
    /// Those of the usual size.
    Usual,
    /// Larger ones too.
    AlsoLarge,
    /// Only one with memory for many tasks.
    Roomy,
}

impl Machines {
    /// Whether the machine of this name is one of them.
    pub fn include(self, name: &str) -> bool {
        match self {
            Machines::Roomy => name == topology::ROOMY,
            Machines::AlsoLarge => name != topology::ROOMY,
            Machines::Usual => name != topology::ROOMY && name != topology::LARGE,
        }
    }
}

impl fmt::Display for Machines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Machines::Usual => write!(f, "all but {} and {}", topology::LARGE, topology::ROOMY),
            Machines::AlsoLarge => write!(f, "all but {}", topology::ROOMY),
            Machines::Roomy => f.write_str(topology::ROOMY),
        }
    }
}

/// Which way a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
    /// It says what was measured, not how well.
    Neither,
}

/// What a figure of scx_ballast should be.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most this many times the contender's.
    TimesAtMost(String, f64),
    /// At least this many times the contender's.
    TimesAtLeast(String, f64),
    /// No worse than any peer's.
    NoWorseThanPeers,
}

/// One number a piece of work leaves, as `guest-test bench-list` describes it.
#[derive(Clone, Debug, Deserialize)]
pub struct FigureSpec {
    /// Name in the raw results.
    pub key: String,
    /// Name for people.
    pub title: String,
    /// Empty for a bare number.
    pub unit: String,
    /// Which way is better.
    pub better: Better,
    /// All must hold.
    pub targets: Vec<Target>,
}

/// One piece of work.
#[derive(Clone, Debug, Deserialize)]
pub struct Work {
    /// Name on the command line.
    pub name: String,
    /// Heading.
    pub title: String,
    /// What is done.
    pub about: String,
    /// The clock it needs.
    pub clock: Clock,
    /// Where it runs.
    pub machines: Machines,
    /// Longest one contender may take, in the guest's seconds.
    pub limit_secs: u64,
    /// What it leaves.
    pub figures: Vec<FigureSpec>,
}

/// Where a boot's figures come from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Kernel series.
    pub series: String,
    /// Machine.
    pub topology: String,
    /// What time means.
    pub clock: Clock,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.series, self.topology, self.clock.name())
    }
}

/// One figure of one contender in one turn, or why there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// Which turn.
    pub turn: u32,
    /// Whose.
    pub scheduler: String,
    /// At which work.
    pub work: String,
    /// Which figure.
    pub figure: String,
    /// The number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A line of the guest's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Figure(Measurement),
    About { key: String, value: String },
    Turn(u32),
}

/// What one boot left, or the part of it that is about one piece of work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    /// Where.
    pub place: Place,
    /// Whether it was a look only.
    pub quick: bool,
    /// Turns.
    pub turns: u32,
    /// What to type to measure the same again.
    pub command: String,
    /// Contenders, in the order of each turn.
    pub schedulers: Vec<String>,
    /// Versions and sizes.
    pub about: BTreeMap<String, String>,
    /// All figures.
    pub measurements: Vec<Measurement>,
}

impl Results {
    /// A part for each piece of work that there are figures of.
    pub fn parts(&self, works: &[Work]) -> Vec<Results> {
        let of = |work: &Work| {
            let mut part = self.clone();
            part.measurements.retain(|one| one.work == work.name);
            (!part.measurements.is_empty()).then_some(part)
        };
        works.iter().filter_map(of).collect()
    }

    /// The work of a part.
    fn work(&self) -> &str {
        self.measurements.first().map_or("", |one| &one.work)
    }
}

/// Keeps parts, each in a file of its own: what was measured anew replaces what was.
///
/// # Errors
/// When the cache cannot be written.
pub fn save(cache: &Cache, parts: &[Results]) -> Result<()> {
    for part in parts {
        let folder = cache.path(&format!("bench/{}", part.place));
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let path = folder.join(format!("{}.json", part.work()));
        let text = serde_json::to_string_pretty(part).context("writing results")?;
        cache::write_whole(&path, (text + "\n").as_bytes())?;
    }
    Ok(())
}

/// All that the cache holds of these pieces of work, by place.
///
/// # Errors
/// When a file does not read.
pub fn load_all(cache: &Cache, works: &[Work]) -> Result<Vec<Results>> {
    let mut all = Vec::new();
    let Ok(folders) = fs::read_dir(cache.path("bench")) else {
        return Ok(all);
    };
    for folder in folders.flatten() {
        for work in works {
            let path = folder.path().join(format!("{}.json", work.name));
            let Ok(text) = fs::read(&path) else { continue };
            let results: Results = serde_json::from_slice(&text)
                .with_context(|| format!("reading {}", path.display()))?;
            all.push(results);
        }
    }
    all.sort_by(|a, b| a.place.cmp(&b.place));
    Ok(all)
}

/// Gathers a guest's lines.
pub struct Collector {
    /// Versions and sizes.
    pub about: BTreeMap<String, String>,
    measurements: Vec<Measurement>,
    turns: u32,
    whole_turns: u32,
}

impl Collector {
    /// Waits for this many turns.
    pub fn new(turns: u32) -> Collector {
        Collector {
            about: BTreeMap::new(),
            measurements: Vec::new(),
            turns,
            whole_turns: 0,
        }
    }

    /// Turns that all contenders have had.
    pub fn whole_turns(&self) -> u32 {
        self.whole_turns
    }

    /// Turns there are results of, in part or in whole.
    pub fn turns(&self) -> u32 {
        self.turns
    }

    /// Takes no more turns than there have been: the user or the emulator stopped it.
    pub fn cut_short(&mut self) {
        self.drop_unfinished_turn();
        self.turns = self.whole_turns;
    }

    /// Forgets what was measured since the last whole turn.
    pub fn drop_unfinished_turn(&mut self) {
        let whole = self.whole_turns;
        self.measurements.retain(|one| one.turn <= whole);
    }

    /// All figures; those that never came are missing for `why`, or because the contender could
    /// not be had.
    pub fn close(
        self,
        works: &[Work],
        schedulers: &[String],
        unavailable: &BTreeMap<String, String>,
        why: &str,
    ) -> Vec<Measurement> {
        let mut all = Vec::new();
        for turn in 1..=self.turns {
            for scheduler in schedulers {
                for work in works {
                    for figure in &work.figures {
                        let known = self.measurements.iter().find(|one| {
                            (one.turn, &one.scheduler) == (turn, scheduler)
                                && (&one.work, &one.figure) == (&work.name, &figure.key)
                        });
                        let mut one = known.cloned().unwrap_or_else(|| Measurement {
                            turn,
                            scheduler: scheduler.clone(),
                            work: work.name.clone(),
                            figure: figure.key.clone(),
                            value: None,
                            missing: Some(why.to_string()),
                        });
                        if let Some(why) = unavailable.get(scheduler) {
                            one.missing = Some(why.clone());
                        }
                        all.push(one);
                    }
                }
            }
        }
        all
    }
}

impl Output for Collector {
    fn text(&mut self, text: &str) {
        let text = text.trim_end();
        let line = text.strip_prefix(MARKER).map(serde_json::from_str);
        match line {
            Some(Ok(Line::Figure(figure))) => {
                say!("    {}", describe(&figure));
                self.measurements.push(figure);
            }
            Some(Ok(Line::About { key, value })) => {
                self.about.insert(key, value);
            }
            Some(Ok(Line::Turn(turn))) => self.whole_turns = turn,
            Some(Err(_)) | None => say!("{text}"),
        }
    }
}

fn describe(one: &Measurement) -> String {
    match (one.value, &one.missing) {
        (Some(value), _) => format!("{}: {value}", one.figure),
        (None, Some(why)) => format!("{}: none, {why}", one.figure),
        (None, None) => format!("{}: none", one.figure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        serde_json::from_str(
            r#"{"name":"wake","title":"W","about":"","clock":"icount","machines":"usual",
            "limit_secs":1,"figures":[{"key":"p99","title":"99 %","unit":"µs","better":"less",
            "targets":[{"times_at_most":["eevdf",1.0]},"no_worse_than_peers",{"at_most":2.0}]}]}"#,
        )
        .expect("what the guest writes")
    }

    const FIGURE: &str = r#"BENCH {"figure":{"turn":1,"scheduler":"ballast","work":"wake","figure":"p99","value":3.5}}"#;

    #[test]
    fn the_list_of_work_is_read() {
        let targets = &work().figures[0].targets;
        assert_eq!(targets[0], Target::TimesAtMost("eevdf".into(), 1.0));
        assert_eq!(targets[1], Target::NoWorseThanPeers);
    }

    #[test]
    fn what_never_came_is_missing_with_a_reason() {
        let mut collector = Collector::new(2);
        collector.text("noise\n");
        collector.text(&format!("{FIGURE}\n"));
        collector.text("BENCH {\"turn\":1}\n");
        assert_eq!(collector.whole_turns(), 1);
        let schedulers = ["ballast".to_string(), "lavd".to_string()];
        let unavailable = BTreeMap::from([("lavd".to_string(), "does not build".to_string())]);
        let all = collector.close(&[work()], &schedulers, &unavailable, "the guest died");
        assert_eq!(all.len(), 4);
        assert_eq!(all[0].value, Some(3.5));
        assert_eq!(all[1].missing.as_deref(), Some("does not build"));
        assert_eq!(all[2].missing.as_deref(), Some("the guest died"));
    }

    #[test]
    fn each_work_is_kept_apart() {
        let mut other = work();
        other.name = "timer".into();
        let works = [work(), other];
        let schedulers = ["ballast".to_string()];
        let all = Collector::new(1).close(&works, &schedulers, &BTreeMap::new(), "why");
        let whole = Results {
            place: Place {
                series: "6.18".into(),
                topology: "2x4".into(),
                clock: Clock::Icount,
            },
            quick: false,
            turns: 1,
            command: String::new(),
            schedulers: schedulers.to_vec(),
            about: BTreeMap::new(),
            measurements: all,
        };
        let of = |part: &Results| {
            part.measurements
                .iter()
                .map(|one| one.work.clone())
                .collect()
        };
        let parts: Vec<Vec<String>> = whole.parts(&works).iter().map(of).collect();
        assert_eq!(parts, [["wake"], ["timer"]]);
    }

    #[test]
    fn an_unfinished_turn_can_be_forgotten() {
        let mut collector = Collector::new(2);
        collector.text(FIGURE);
        collector.drop_unfinished_turn();
        assert!(collector.measurements.is_empty());
        collector.text(FIGURE);
        collector.text("BENCH {\"turn\":1}");
        collector.drop_unfinished_turn();
        assert_eq!(collector.measurements.len(), 1);
        collector.cut_short();
        assert_eq!(collector.turns(), 1);
    }
}
