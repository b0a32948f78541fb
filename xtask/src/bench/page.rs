// SPDX-License-Identifier: GPL-2.0-only
//! Owns docs/benchmarks.md: results in, Markdown and charts out.
//! Must never hold a date or a path: the same results make the same page, but for
//! machines without results, whose part stays as it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

use super::plot::{self, Bar, Panel};
use super::rank::{self, KERNEL, OURS, Summary, Verdict};
use super::results::{Better, FigureSpec, Results, Target, Work};

const HEAD: &str = "\
# Benchmarks

Written by `make bench-guest`. Contenders take turns at the same work in one boot of an
emulated machine; every turn each of them is started afresh, with default flags unless the work says
otherwise. The first begins once the boot's own work has ended, or after two minutes. The
figures of a piece of work come from one boot, and only ratios inside it mean anything: the emulated
CPUs are slow, and they share the host's.

- **Shares and use** are measured on the host's clock (`multi`), by the tasks' CPU clocks.
- **Latency and work done** are measured on a clock that counts instructions (`icount`).
  One thread emulates all CPUs in turn, 1000 instructions a microsecond. So the host's noise is
  gone; but time is the sum of what all CPUs execute, and a CPU that spins on a lock burns its
  whole turn. Eight busy CPUs have 125 million instructions a second each, a tenth of a real
  one or less. The clock exaggerates contention and shows cost; it does not show what parallel
  CPUs gain.
- *Of EEVDF* is the median as a multiple of that of the kernel's own scheduler.
- A contender that was ejected, or did not load, has no figure for that turn; the reason is
  given, and for scx_ballast it counts as a miss.
- What scx_ballast misses, why, and what was tried: [misses.md](misses.md).
";

/// Kernel series and machine: what a part of the page is about.
type Machine = (String, String);

/// Writes the page and its charts into `docs`. A part that the page there has of a machine
/// without results stays as it is.
///
/// # Errors
/// When a chart cannot be drawn, or a file not read or written.
pub fn write(docs: &Path, works: &[Work], results: &[Results]) -> Result<()> {
    let charts = docs.join("benchmarks");
    fs::create_dir_all(&charts).with_context(|| format!("making {}", charts.display()))?;
    let path = docs.join("benchmarks.md");
    let mut parts = parts_of(&old_page(&path)?);
    let measured = machines(results);
    for machine in parts.keys().filter(|it| !measured.contains_key(it)) {
        let (series, topology) = machine;
        say!("no results of kernel {series}, machine {topology}: its part stays as it is");
    }
    for (machine, results) in measured {
        let sections = sections(works, &results);
        let mut part = String::new();
        overview(&mut part, &machine, &sections);
        for section in &sections {
            let name = format!(
                "{}-{}-{}.svg",
                section.results.place.series, section.results.place.topology, section.work.name
            );
            save(&charts.join(&name), &plot::svg(&section.panels())?)?;
            section.write(&mut part, &name);
        }
        parts.insert(machine, part);
    }
    let page: String = parts.into_values().collect();
    save(&path, &format!("{HEAD}{page}"))?;
    say!("wrote {}", path.display());
    Ok(())
}

fn save(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// The page as it is; empty where there is none.
fn old_page(path: &Path) -> Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("reading {}", path.display())),
    }
}

/// A page's parts, each as it stands, with the empty line before it.
fn parts_of(page: &str) -> BTreeMap<Machine, String> {
    let mut parts = BTreeMap::new();
    for part in page.split("\n## Kernel ").skip(1) {
        let heading = part.lines().next().unwrap_or_default();
        if let Some((series, topology)) = heading.split_once(", machine ") {
            let machine = (series.to_string(), topology.to_string());
            parts.insert(machine, format!("\n## Kernel {part}"));
        }
    }
    parts
}

/// Results by kernel and machine, whatever the clock.
fn machines(results: &[Results]) -> BTreeMap<Machine, Vec<&Results>> {
    let mut machines: BTreeMap<_, Vec<&Results>> = BTreeMap::new();
    for one in results {
        let key = (one.place.series.clone(), one.place.topology.clone());
        machines.entry(key).or_default().push(one);
    }
    machines
}

/// One piece of work on one machine.
struct Section<'a> {
    work: &'a Work,
    results: &'a Results,
    /// For each figure, each contender's summary.
    figures: Vec<(&'a FigureSpec, Vec<Summary>)>,
}

/// The pieces of work there are results of, in the order of the list.
fn sections<'a>(works: &'a [Work], results: &[&'a Results]) -> Vec<Section<'a>> {
    let mut sections = Vec::new();
    for work in works {
        let own = |one: &&&Results| one.measurements.iter().any(|m| m.work == work.name);
        let Some(results) = results.iter().find(own) else {
            continue;
        };
        let summaries = |figure: &FigureSpec| {
            let of = |name: &String| Summary::of(&results.measurements, name, &figure.key);
            results.schedulers.iter().map(of).collect()
        };
        let figures = work.figures.iter();
        sections.push(Section {
            work,
            results,
            figures: figures.map(|spec| (spec, summaries(spec))).collect(),
        });
    }
    sections
}

fn overview(page: &mut String, (series, topology): &Machine, sections: &[Section]) {
    let _ = writeln!(page, "\n## Kernel {series}, machine {topology}\n");
    let mut about: BTreeMap<&str, &str> = BTreeMap::new();
    for section in sections {
        let entries = section.results.about.iter();
        about.extend(entries.map(|(key, value)| (key.as_str(), value.as_str())));
    }
    let get = |key: &str| about.get(key).copied().unwrap_or("?");
    let _ = writeln!(
        page,
        "{} CPUs on {} nodes, kernel {}.",
        get("cpus"),
        get("nodes"),
        get("kernel")
    );
    let versions: Vec<_> = about
        .iter()
        .filter(|(key, _)| !["cpus", "nodes", "kernel"].contains(key))
        // As the programs print it, and one puts a colon between its name and its version.
        .map(|(_, version)| version.replacen(": ", " ", 1))
        .collect();
    if !versions.is_empty() {
        let _ = writeln!(page, "Versions: {}.", versions.join("; "));
    }
    let _ = writeln!(
        page,
        "\n| work | figure | EEVDF | scx_ballast | best peer | of EEVDF | target | |\n\
         |---|---|---:|---:|---|---:|---|---|"
    );
    for section in sections {
        for (spec, summaries) in &section.figures {
            let median = |name: &str| {
                let found = summaries.iter().find(|one| one.scheduler == name);
                found.and_then(Summary::median).map_or("—".into(), number)
            };
            let peer = rank::best_peer(summaries, spec.better)
                .map_or("—".into(), |(name, value)| {
                    format!("{} {}", title(name), number(value))
                });
            let verdict = rank::verdict(spec, summaries);
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {peer} | {} | {} | {} |",
                section.work.title,
                heading(spec),
                median(KERNEL),
                median(OURS),
                times(rank::ratio(summaries, OURS)),
                targets(spec),
                word(verdict),
            );
        }
    }
}

impl Section<'_> {
    fn write(&self, page: &mut String, chart: &str) {
        let (work, results) = (self.work, self.results);
        let _ = writeln!(
            page,
            "\n### {} (`{}`)\n\n{}",
            work.title, work.name, work.about
        );
        let looked = if results.quick { ", shortened" } else { "" };
        let turns = if results.turns == 1 { "turn" } else { "turns" };
        let _ = writeln!(
            page,
            "Clock `{}`, {} {turns}{looked}: `{}`.\n\n![{}](benchmarks/{chart})\n",
            work.clock.name(),
            results.turns,
            results.command,
            work.title,
        );
        let _ = writeln!(
            page,
            "| figure | scheduler | median | min–max | of EEVDF |\n|---|---|---:|---:|---:|"
        );
        for (spec, summaries) in &self.figures {
            for one in summaries {
                let _ = writeln!(
                    page,
                    "| {} | {} | {} | {} | {} |",
                    heading(spec),
                    title(&one.scheduler),
                    one.median().map_or("—".into(), number),
                    one.range().map_or("—".into(), |(least, most)| format!(
                        "{}–{}",
                        number(least),
                        number(most)
                    )),
                    times(rank::ratio(summaries, &one.scheduler)),
                );
            }
        }
        for failure in self.failures() {
            let _ = writeln!(page, "\n{failure}");
        }
    }

    /// Who has no figure, and why: a line for each contender and reason.
    fn failures(&self) -> Vec<String> {
        let mut by_reason: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
        for (spec, summaries) in &self.figures {
            for one in summaries {
                for why in &one.failures {
                    let turns = format!("{} of {}", one.failed_turns, self.results.turns);
                    let who = format!("{}, {turns} turns", title(&one.scheduler));
                    by_reason
                        .entry((who, why.clone()))
                        .or_default()
                        .push(&spec.title);
                }
            }
        }
        let line = |((who, why), figures): (&(String, String), &Vec<&str>)| {
            let all = figures.len() == self.figures.len();
            let which = if all {
                "no figure".into()
            } else {
                format!("no {}", figures.join(", "))
            };
            format!("- {who}: {which}: {}", why.replace('|', "/"))
        };
        by_reason.iter().map(line).collect()
    }

    fn panels(&self) -> Vec<Panel> {
        let panel = |(spec, summaries): &(&FigureSpec, Vec<Summary>)| Panel {
            title: heading(spec),
            bars: summaries
                .iter()
                .map(|one| Bar {
                    name: title(&one.scheduler),
                    median: one.median(),
                    range: one.range(),
                    label: one.median().map_or("no figure".into(), number),
                    ours: one.scheduler == OURS,
                    kernel: one.scheduler == KERNEL,
                })
                .collect(),
        };
        self.figures.iter().map(panel).collect()
    }
}

/// A contender's name for people.
fn title(scheduler: &str) -> String {
    match scheduler {
        KERNEL => "EEVDF".to_string(),
        _ => format!("scx_{scheduler}"),
    }
}

/// A figure's name with its unit, and which way is better.
fn heading(spec: &FigureSpec) -> String {
    let arrow = match spec.better {
        Better::Less => " ↓",
        Better::More => " ↑",
        Better::Neither => "",
    };
    match spec.unit.as_str() {
        "" => format!("{}{arrow}", spec.title),
        unit => format!("{}, {unit}{arrow}", spec.title),
    }
}

/// Three digits that count, or all before the point.
fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ if size >= 0.1 || size == 0.0 => 3,
        _ => 4,
    };
    format!("{value:.decimals$}")
}

fn times(ratio: Option<f64>) -> String {
    ratio.map_or("—".into(), |ratio| format!("{ratio:.2}×"))
}

fn targets(spec: &FigureSpec) -> String {
    let one = |target: &Target| match target {
        Target::AtMost(most) => format!("≤ {most}"),
        Target::AtLeast(least) => format!("≥ {least}"),
        Target::TimesAtMost(name, times) => format!("≤ {times}× {}", title(name)),
        Target::TimesAtLeast(name, times) => format!("≥ {times}× {}", title(name)),
        Target::NoWorseThanPeers => match spec.better {
            Better::Less => "≤ every peer".to_string(),
            Better::More => "≥ every peer".to_string(),
            Better::Neither => String::new(),
        },
    };
    spec.targets.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Untargeted => "",
        Verdict::Met => "met",
        Verdict::Missed => "**missed**",
        Verdict::Unknown => "not judged",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::results::{Machines, Measurement, Place};
    use crate::qemu::Clock;

    fn work() -> Work {
        Work {
            name: "wake".into(),
            title: "Wake-ups".into(),
            about: "Threads wake others.".into(),
            clock: Clock::Icount,
            machines: Machines::Usual,
            limit_secs: 1,
            figures: vec![FigureSpec {
                key: "p99".into(),
                title: "99 % are below".into(),
                unit: "µs".into(),
                better: Better::Less,
                targets: vec![Target::TimesAtMost("eevdf".into(), 1.0)],
            }],
        }
    }

    fn results() -> Results {
        let one = |turn, scheduler: &str, value: Option<f64>| Measurement {
            turn,
            scheduler: scheduler.into(),
            work: "wake".into(),
            figure: "p99".into(),
            value,
            missing: value.is_none().then(|| "ejected: stall".to_string()),
        };
        Results {
            place: Place {
                series: "6.18".into(),
                topology: "2x4".into(),
                clock: Clock::Icount,
            },
            quick: false,
            turns: 2,
            command: "cargo xtask vm bench".into(),
            schedulers: ["eevdf", "ballast", "lavd"].map(String::from).into(),
            about: BTreeMap::from([("kernel".to_string(), "6.18.15".to_string())]),
            measurements: vec![
                one(1, "eevdf", Some(100.0)),
                one(1, "ballast", Some(130.0)),
                one(1, "lavd", None),
                one(2, "eevdf", Some(120.0)),
                one(2, "ballast", Some(200.0)),
                one(2, "lavd", Some(50.0)),
            ],
        }
    }

    #[test]
    fn a_page_says_what_was_measured_missed_and_not_measured() {
        let folder = std::env::temp_dir().join(format!("bench-page-{}", std::process::id()));
        write(&folder, &[work()], &[results()]).expect("it writes");
        let page = fs::read_to_string(folder.join("benchmarks.md")).expect("it is there");
        for part in [
            "## Kernel 6.18, machine 2x4",
            "| Wake-ups | 99 % are below, µs ↓ | 110 | 165 | scx_lavd 50.0 | 1.50× | ≤ 1× EEVDF | **missed** |",
            "| 99 % are below, µs ↓ | scx_ballast | 165 | 130–200 | 1.50× |",
            "- scx_lavd, 1 of 2 turns: no figure: ejected: stall",
            "(benchmarks/6.18-2x4-wake.svg)",
        ] {
            assert!(page.contains(part), "{part}\nis not in\n{page}");
        }
        assert!(folder.join("benchmarks/6.18-2x4-wake.svg").is_file());
        fs::remove_dir_all(folder).expect("it can go");
    }

    #[test]
    fn a_machine_without_results_keeps_its_part() {
        let folder = std::env::temp_dir().join(format!("bench-parts-{}", std::process::id()));
        let page = || fs::read_to_string(folder.join("benchmarks.md")).expect("it is there");
        let mut elsewhere = results();
        elsewhere.place.topology = "4x8".into();
        write(&folder, &[work()], &[results(), elsewhere]).expect("it writes");
        let both = page();
        assert!(both.contains("## Kernel 6.18, machine 4x8"), "{both}");
        write(&folder, &[work()], &[results()]).expect("it writes");
        assert_eq!(page(), both);
        fs::remove_dir_all(folder).expect("it can go");
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (1234.5, "1234"),
            (12.34, "12.3"),
            (1.234, "1.23"),
            (0.1234, "0.123"),
            (0.01234, "0.0123"),
            (0.0, "0.000"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
