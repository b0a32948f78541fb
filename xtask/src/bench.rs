// SPDX-License-Identifier: GPL-2.0-only
//! Owns the benchmark: which work runs in which boot, and what becomes of the results.
//! Must never mix figures of two boots in one piece of work: only ratios inside one boot mean
//! anything.

mod build_job;
mod page;
mod peers;
mod plot;
mod rank;
mod results;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cache::{Cache, Interrupted};
use crate::guest::{self, Boot, Ending, LostBoots};
use crate::initramfs::{ExtraFile, Initramfs};
use crate::kernel::{self, Series};
use crate::qemu::{self, Clock};
use crate::topology::{self, Topology};
use crate::{EXIT_INTERRUPTED, UsageError, say, workspace};

use results::{Collector, Place, Results, Work};

/// Who is measured unless somebody is named.
const CONTENDERS: &str = "eevdf,ballast,rusty,bpfland,lavd,p2dq";
/// Turns of a measurement, and of a look.
const TURNS: u32 = 5;
const QUICK_TURNS: u32 = 1;
/// The kernel with the newer EEVDF.
const NEWER_SERIES: &str = "7.3";
/// Host seconds for one of the guest's: a clock that counts instructions runs slower than the
/// host's when all CPUs are busy, and the host may be busy too.
const SLOWNESS: u64 = 10;
/// For so long a guest waits for the end of the boot's own work.
const QUIET_SECS: u64 = 120;
/// Seconds to start and stop a contender in one turn.
const START_SECS: u64 = 60;
/// A tool of the host's that goes into the guest where it is installed.
const OPTIONAL_TOOL: &str = "perf";

/// The flags that say what is measured.
const CHOICES: [&str; 7] = [
    "repeat",
    "only",
    "schedulers",
    "quick",
    "kernel",
    "topology",
    "peers",
];
/// Where the page is that is kept.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");

/// The arguments of `vm bench`.
#[derive(Args)]
pub struct BenchArgs {
    /// Turns each contender takes, 1 to 100: 5, with --quick 1
    #[arg(long, value_name = "TURNS", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: Option<u32>,
    /// Only this work (see --list)
    #[arg(long, value_name = "WORK", value_delimiter = ',')]
    only: Vec<String>,
    /// Contenders, in the order of each turn; eevdf is the kernel's own
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        default_value = CONTENDERS
    )]
    schedulers: Vec<String>,
    /// Shorter windows, on the usual machine unless one is named: a look, not a measurement
    #[arg(long)]
    quick: bool,
    /// Only on this kernel series
    #[arg(long)]
    kernel: Option<Series>,
    /// Only on this machine
    #[arg(long, value_parser = topology::by_name)]
    topology: Option<&'static Topology>,
    /// Take the peers' programs from here, and install none
    #[arg(long, value_name = "FOLDER")]
    peers: Option<PathBuf>,
    /// Write the page and the charts here: docs, unless contenders or peers are named
    #[arg(long, value_name = "FOLDER")]
    docs: Option<PathBuf>,
    /// List the work, and measure nothing
    #[arg(long, conflicts_with_all = CHOICES, conflicts_with_all = ["docs", "page_only"])]
    list: bool,
    /// Write the page from the results in the cache, and measure nothing
    #[arg(long, conflicts_with_all = CHOICES)]
    page_only: bool,
    /// Do not build scx_ballast and the guest's programs first
    #[arg(long)]
    no_build: bool,
}

impl BenchArgs {
    /// Whether the page's own contenders are measured, in the page's versions: others would
    /// replace its figures by ones that say nothing of them.
    fn is_for_the_page(&self) -> bool {
        self.schedulers.join(",") == CONTENDERS && self.peers.is_none()
    }
}

/// Measures, and writes the page.
///
/// # Errors
/// When the guest cannot be prepared or the page not written. A contender that fails is a
/// result.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    check(args)?;
    let cache = Cache::open()?;
    let programs = workspace::programs(!(args.no_build || args.page_only))?;
    let works = list(&workspace::require(&programs, "guest-test")?)?;
    if args.list {
        let line = |work: &Work| {
            let (clock, machines) = (work.clock.name(), work.machines);
            format!("{:16} {clock:7} {:34} {machines}\n", work.name, work.title)
        };
        let lines: String = works.iter().map(line).collect();
        return say::answer(&lines).map(|()| ExitCode::SUCCESS);
    }
    let is_kept = args.is_for_the_page();
    let (mut whole, mut was_interrupted) = (true, false);
    let mut measured = Vec::new();
    if !args.page_only {
        let places = places(args, &choose(&works, &args.only)?)?;
        let peers = peers::find(&cache, &args.schedulers, args.peers.as_deref())?;
        let base = Initramfs::base(&cache, &programs)?;
        for (place, works) in places {
            let measured_here = measure(&cache, &base, args, &peers, &place, &works);
            let (ending, results) = match measured_here {
                Ok(measured) => measured,
                Err(error) if error.is::<Interrupted>() => (Ending::Interrupted, None),
                // One kernel that cannot be had must not cost what the others showed.
                Err(error) => {
                    eprintln!("error: {place}: {error:#}");
                    whole = false;
                    continue;
                }
            };
            let parts = results.map_or(Vec::new(), |results| results.parts(&works));
            if is_kept {
                results::save(&cache, &parts)?;
            }
            measured.extend(parts);
            whole &= ending == Ending::Exited(0);
            was_interrupted = ending == Ending::Interrupted;
            if was_interrupted {
                break;
            }
        }
    }
    if is_kept {
        measured = results::load_all(&cache, &works)?;
    }
    let docs = args.docs.as_deref();
    match docs.or(is_kept.then_some(Path::new(DOCS))) {
        Some(_) if measured.is_empty() && args.page_only => {
            let why = "--page-only: the cache holds no results; measure first, without it";
            return Err(UsageError(why.to_string()).into());
        }
        Some(_) if measured.is_empty() => say!("nothing was measured: no page is written"),
        Some(docs) => {
            make_docs(docs)?;
            page::write(docs, &works, &measured)?;
        }
        None => say!("not kept: contenders or peers were named, and no --docs"),
    }
    if was_interrupted {
        eprintln!("error: interrupted: only whole turns of all contenders count");
        return Ok(ExitCode::from(EXIT_INTERRUPTED));
    }
    Ok(ExitCode::from(u8::from(!whole)))
}

/// Refuses contenders that nobody has, and a folder for the page that cannot be.
fn check(args: &BenchArgs) -> Result<(), UsageError> {
    peers::check(&args.schedulers, args.peers.as_deref()).map_err(UsageError)?;
    match &args.docs {
        // Nothing takes long before it is written, and there may be nothing to write.
        Some(docs) if !args.page_only => make_docs(docs),
        _ => Ok(()),
    }
}

fn make_docs(docs: &Path) -> Result<(), UsageError> {
    std::fs::create_dir_all(docs).map_err(|error| {
        let docs = docs.display();
        UsageError(format!("--docs: {docs}: {error}; give a folder to write"))
    })
}

fn list(guest_test: &Path) -> Result<Vec<Work>> {
    let listing = Command::new(guest_test)
        .arg("bench-list")
        .output()
        .with_context(|| format!("running {}", guest_test.display()))?;
    if !listing.status.success() {
        let said = String::from_utf8_lossy(&listing.stderr);
        bail!("guest-test bench-list: {}", said.trim());
    }
    serde_json::from_slice(&listing.stdout).context("reading the list of work")
}

fn choose(works: &[Work], only: &[String]) -> Result<Vec<Work>> {
    for name in only {
        if !works.iter().any(|work| work.name == *name) {
            let names: Vec<_> = works.iter().map(|work| work.name.as_str()).collect();
            let names = names.join(", ");
            return Err(UsageError(format!("no work {name}; there is {names}")).into());
        }
    }
    let wanted = |work: &&Work| only.is_empty() || only.contains(&work.name);
    Ok(works.iter().filter(wanted).cloned().collect())
}

/// The boots, and the work of each.
fn places(args: &BenchArgs, works: &[Work]) -> Result<Vec<(Place, Vec<Work>)>> {
    let usual: Series = parse(kernel::DEFAULT_SERIES)?;
    let machine = |series: &Series, name: &str| -> Result<(Series, &'static Topology)> {
        let topology = topology::by_name(name).map_err(anyhow::Error::msg)?;
        Ok((series.clone(), topology))
    };
    let machines = if args.kernel.is_some() || args.topology.is_some() {
        let series = args.kernel.clone().unwrap_or(usual);
        let topology = args
            .topology
            .map_or(topology::DEFAULT, |machine| machine.name);
        vec![machine(&series, topology)?]
    } else if args.quick {
        vec![machine(&usual, topology::DEFAULT)?]
    } else {
        vec![
            machine(&usual, topology::DEFAULT)?,
            machine(&parse(NEWER_SERIES)?, topology::DEFAULT)?,
            machine(&usual, topology::LARGE)?,
            machine(&usual, topology::ROOMY)?,
        ]
    };
    let mut places = Vec::new();
    for (series, topology) in machines {
        for clock in [Clock::Multi, Clock::Icount] {
            let fits = |work: &&Work| work.clock == clock && work.machines.include(topology.name);
            let works: Vec<Work> = works.iter().filter(fits).cloned().collect();
            if !works.is_empty() {
                let place = Place {
                    series: series.to_string(),
                    topology: topology.name.to_string(),
                    clock,
                };
                places.push((place, works));
            }
        }
    }
    let is_done = |name: &String| {
        let mut all = places.iter().flat_map(|(_, works)| works);
        all.any(|work| work.name == *name)
    };
    for work in works {
        if args.only.contains(&work.name) && !is_done(&work.name) {
            let (name, machines) = (&work.name, work.machines);
            let why = format!("{name} is for {machines}: name that machine by --topology");
            return Err(UsageError(why).into());
        }
    }
    Ok(places)
}

fn parse(series: &str) -> Result<Series> {
    series.parse().map_err(anyhow::Error::msg)
}

/// Boots and measures all turns; a boot lost to the emulator is made up for. No results: it
/// was interrupted, or the emulator gave way too often, before all had had a turn.
fn measure(
    cache: &Cache,
    base: &Initramfs,
    args: &BenchArgs,
    peers: &peers::Peers,
    place: &Place,
    works: &[Work],
) -> Result<(Ending, Option<Results>)> {
    let turns = turns_of(args);
    let mut files: Vec<ExtraFile> = peers
        .programs
        .iter()
        .map(|path| file(path))
        .collect::<Result<_>>()?;
    if let Ok(tool) = qemu::program(OPTIONAL_TOOL) {
        files.push(file(&tool)?);
    }
    if works.iter().any(|work| work.name == build_job::WORK) {
        match build_job::files(cache) {
            Ok(more) => files.extend(more),
            Err(why) => say!("note: no build in the guest: {why:#}"),
        }
    }
    let limit: u64 = works.iter().map(|work| work.limit_secs).sum::<u64>() + START_SECS;
    let mut collector = Collector::new(turns);
    let mut lost_boots = LostBoots::default();
    let ending = loop {
        let whole_turns = collector.whole_turns();
        let left = u64::from(turns - whole_turns);
        let boot = Boot {
            series: parse(&place.series)?,
            topology: topology::by_name(&place.topology).map_err(anyhow::Error::msg)?,
            clock: place.clock,
            timeout_secs: (limit * left * args.schedulers.len() as u64 + QUIET_SECS) * SLOWNESS,
            append: String::new(),
            script: script(args, works, whole_turns + 1, turns).into_bytes(),
            files: files.clone(),
            log_name: format!("bench-{place}"),
        };
        let ending = guest::run(cache, base, &boot, &mut collector)?;
        if ending != Ending::StaleCode {
            break ending;
        }
        let got_on = collector.whole_turns() > whole_turns;
        if !lost_boots.is_worth_another(got_on) {
            let most = LostBoots::MOST;
            eprintln!(
                "error: {place}: {most} boots lost the same turn to the emulator's stale code"
            );
            break ending;
        }
        say!("the emulator ran stale code, a fault of its own: the turn is taken again");
        collector.drop_unfinished_turn();
    };
    // What the user or the emulator cut off says nothing of a contender.
    if matches!(ending, Ending::Interrupted | Ending::StaleCode) {
        collector.cut_short();
        if collector.whole_turns() == 0 {
            return Ok((ending, None));
        }
    }
    let results = Results {
        place: place.clone(),
        quick: args.quick,
        turns: collector.turns(),
        command: command(args, collector.turns()),
        schedulers: args.schedulers.clone(),
        about: collector.about.clone(),
        measurements: collector.close(works, &args.schedulers, &peers.missing, why(ending)),
    };
    Ok((ending, Some(results)))
}

fn file(path: &Path) -> Result<ExtraFile> {
    path.display()
        .to_string()
        .parse()
        .map_err(anyhow::Error::msg)
}

fn script(args: &BenchArgs, works: &[Work], from: u32, to: u32) -> String {
    let names: Vec<_> = works.iter().map(|work| work.name.as_str()).collect();
    format!(
        "exec guest-test bench --schedulers {} --from {from} --to {to} {} {}\n",
        args.schedulers.join(","),
        if args.quick { "--quick" } else { "" },
        names.join(" ")
    )
}

/// Turns each contender takes, if none is cut short.
fn turns_of(args: &BenchArgs) -> u32 {
    args.repeat.unwrap_or(match args.quick {
        true => QUICK_TURNS,
        false => TURNS,
    })
}

/// What the user would type to measure so many turns of the same again.
fn command(args: &BenchArgs, turns: u32) -> String {
    let mut command = String::from("cargo xtask vm bench");
    let mut add = |flag: &str, value: &str| {
        command.push_str(&format!(" --{flag} {value}"));
    };
    if args.quick {
        add("quick", "");
    }
    if args.repeat.is_some() || turns != turns_of(args) {
        add("repeat", &turns.to_string());
    }
    if !args.only.is_empty() {
        add("only", &args.only.join(","));
    }
    let schedulers = args.schedulers.join(",");
    if schedulers != CONTENDERS {
        add("schedulers", &schedulers);
    }
    if let Some(series) = &args.kernel {
        add("kernel", &series.to_string());
    }
    if let Some(machine) = args.topology {
        add("topology", machine.name);
    }
    if args.peers.is_some() {
        add("peers", "FOLDER --docs FOLDER");
    }
    command.trim_end().replace("  ", " ")
}

fn why(ending: Ending) -> &'static str {
    match ending {
        Ending::Exited(_) => "guest-test did not report it",
        Ending::TimedOut => "the guest ran out of time",
        Ending::Died | Ending::StaleCode => "the guest died",
        Ending::Interrupted => "interrupted",
    }
}

#[cfg(test)]
mod tests {
    use super::results::Machines;
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: BenchArgs,
    }

    #[test]
    fn only_the_pages_own_contenders_change_it() {
        let parse = |words: &[&str]| <Line as clap::Parser>::parse_from(words).args;
        assert!(parse(&["bench", "--only", "wake", "--quick"]).is_for_the_page());
        assert!(!parse(&["bench", "--schedulers", "eevdf,ballast"]).is_for_the_page());
        assert!(!parse(&["bench", "--peers", "elsewhere"]).is_for_the_page());
    }

    #[test]
    fn the_command_names_the_turns_there_were() {
        let args = |words: &[&str]| <Line as clap::Parser>::parse_from(words).args;
        let plain = args(&["bench", "--quick"]);
        assert_eq!(command(&plain, 1), "cargo xtask vm bench --quick");
        let cut_short = args(&["bench", "--repeat", "5", "--only", "wake"]);
        let expected = "cargo xtask vm bench --repeat 2 --only wake";
        assert_eq!(command(&cut_short, 2), expected);
    }

    #[test]
    fn bad_choices_are_refused_by_flag() {
        for words in [
            &["--schedulers", "nonsense"][..],
            &["--schedulers", ""],
            &["--schedulers", "eevdf;reboot"],
            &["--schedulers", "eevdf,eevdf"],
            &["--peers", "/nonexistent"],
            &["--peers", "/proc/self/status"],
            &["--docs", "/proc/nope"],
            &["--docs", "/proc/self/status"],
        ] {
            let words = [&["bench"], words].concat();
            let args = <Line as clap::Parser>::parse_from(&words).args;
            let why = check(&args).expect_err("refused").to_string();
            assert!(why.starts_with(words[1]) && why.contains(';'), "{why}");
        }
    }

    #[test]
    fn machines_have_the_work_that_is_for_them() {
        let machines = |words: &[&str], machines| {
            let work = Work {
                name: "some".into(),
                title: String::new(),
                about: String::new(),
                clock: Clock::Multi,
                machines,
                limit_secs: 1,
                figures: Vec::new(),
            };
            let words = [&["bench", "--only", "some"], words].concat();
            let args = <Line as clap::Parser>::parse_from(words).args;
            let place = |(place, _): (Place, _)| format!("{} {}", place.series, place.topology);
            places(&args, &[work]).map(|boots| boots.into_iter().map(place).collect::<Vec<_>>())
        };
        let (usual, newer) = ("6.18 2x4", "7.3 2x4");
        for (words, kind, expected) in [
            (&[][..], Machines::Usual, &[usual, newer][..]),
            (&[], Machines::AlsoLarge, &[usual, newer, "6.18 4x8"]),
            (&[], Machines::Roomy, &["6.18 2x4-roomy"]),
            (&["--quick"], Machines::AlsoLarge, &[usual]),
            (
                &["--topology", "2x4-roomy"],
                Machines::Roomy,
                &["6.18 2x4-roomy"],
            ),
            (&["--topology", "4x8"], Machines::AlsoLarge, &["6.18 4x8"]),
        ] {
            assert_eq!(
                machines(words, kind).expect("a boot"),
                expected,
                "{words:?}"
            );
        }
        for (words, kind) in [
            (&["--quick"][..], Machines::Roomy),
            (&["--topology", "4x8"], Machines::Usual),
            (&["--topology", "2x4-roomy"], Machines::AlsoLarge),
        ] {
            let why = machines(words, kind).expect_err("no boot");
            assert!(why.is::<UsageError>(), "{words:?}: {why}");
        }
    }
}
