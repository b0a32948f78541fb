// SPDX-License-Identifier: GPL-2.0-only
//! Owns which tests run in which guest, and what came of each.
//! Must never call a test passed that did not say so.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::cache::{Cache, Interrupted};
use crate::guest::{self, Boot, Ending, LostBoots, Output};
use crate::initramfs::Initramfs;
use crate::kernel::{self, Series};
use crate::qemu::Clock;
use crate::topology::{self, Topology};
use crate::{UsageError, workspace};

/// Seconds a group may take beyond its tests' own limits, to start and stop things.
const GROUP_SLACK_SECS: u64 = 60;
/// Failed tests of one group that are tried again; more are not the host's fault.
const MOST_TRIED_AGAIN: usize = 3;
/// Lines of a failed test's output that are shown.
const SHOWN_LINES: usize = 40;

/// The arguments of `vm test`.
#[derive(Args)]
pub struct TestArgs {
    /// Tests to run; all of them if none is named
    names: Vec<String>,
    /// Only on this kernel series; a named test runs there even if it does not ask to
    #[arg(long)]
    kernel: Option<Series>,
    /// Only on this machine; a named test runs there even if it does not ask to
    #[arg(long, value_parser = topology::by_name)]
    topology: Option<&'static Topology>,
    /// Show the guest's output as it comes
    #[arg(short, long)]
    verbose: bool,
    /// Do not build scx_ballast and the guest's programs first
    #[arg(long)]
    no_build: bool,
}

/// A test as `guest-test list --json` describes it.
#[derive(Clone, Debug, Deserialize)]
struct Test {
    name: String,
    topology: String,
    #[serde(default)]
    kernels: Vec<String>,
    timeout_secs: u64,
}

/// What one boot is for. The order is the order of the boots.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    series: Series,
    topology: &'static str,
}

/// Builds, lists, boots and reports; exit code 1 if a test failed.
///
/// # Errors
/// When the tests cannot be listed or a guest not prepared.
pub fn run(args: &TestArgs) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let programs = workspace::programs(!args.no_build)?;
    let guest_test = workspace::require(&programs, "guest-test")?;
    let groups = group(select(list(&guest_test)?, args)?, args)?;
    let base = Initramfs::base(&cache, &programs)?;
    let mut results = Vec::new();
    for (group, tests) in &groups {
        say!(
            "{} on {} ({} tests)",
            group.series,
            group.topology,
            tests.len()
        );
        let (of_group, ending) = match try_group(&cache, &base, group, tests, args.verbose) {
            Ok(ended) => ended,
            Err(error) if error.is::<Interrupted>() => return Err(error),
            // One kernel that cannot be had must not hide what the others show.
            Err(error) => {
                let why = format!("{error:#}");
                results.extend(tests.iter().map(|test| {
                    say!("test {} FAILED: {why}", test.name);
                    Verdict::new(&test.name, Some(&why))
                }));
                continue;
            }
        };
        results.extend(of_group);
        if ending == Ending::Interrupted {
            break;
        }
    }
    // Said again at the end: the end is what a long log shows first.
    for verdict in &results {
        verdict.say_again();
    }
    let failed = results.iter().filter(|it| !it.passed).count();
    say!("{} passed, {failed} failed", results.len() - failed);
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Runs a group's tests, and those that fail once more in a boot of their own:
/// a busy host can starve a guest for longer than any margin. One that passes then
/// has passed, but what it first said stays in the report.
fn try_group(
    cache: &Cache,
    base: &Initramfs,
    group: &Group,
    tests: &[Test],
    verbose: bool,
) -> Result<(Vec<Verdict>, Ending)> {
    let (mut results, ending) = run_group(cache, base, group, tests, verbose)?;
    let failed = |test: &&Test| results.iter().any(|it| !it.passed && it.name == test.name);
    let again: Vec<Test> = tests.iter().filter(failed).cloned().collect();
    if again.is_empty() || again.len() > MOST_TRIED_AGAIN || ending == Ending::Interrupted {
        return Ok((results, ending));
    }
    say!("trying {} again", names_of(&again).join(", "));
    let (second, ending) = run_group(cache, base, group, &again, verbose)?;
    for verdict in &mut results {
        verdict.passed |= second.iter().any(|it| it.passed && it.name == verdict.name);
    }
    Ok((results, ending))
}

fn names_of(tests: &[Test]) -> Vec<&str> {
    tests.iter().map(|test| test.name.as_str()).collect()
}

fn list(guest_test: &Path) -> Result<Vec<Test>> {
    let listing = Command::new(guest_test)
        .args(["list", "--json"])
        .output()
        .with_context(|| format!("running {}", guest_test.display()))?;
    if !listing.status.success() {
        let said = String::from_utf8_lossy(&listing.stderr);
        bail!("guest-test list --json: {}", said.trim());
    }
    serde_json::from_slice(&listing.stdout).context("reading the list of tests")
}

/// The tests that were named, or else all that suit the kernel and the machine asked for.
fn select(all: Vec<Test>, args: &TestArgs) -> Result<Vec<Test>> {
    for name in &args.names {
        if !all.iter().any(|test| test.name == *name) {
            let names: Vec<_> = all.iter().map(|test| test.name.as_str()).collect();
            let names = names.join(", ");
            return Err(UsageError(format!("no test {name}; there are {names}")).into());
        }
    }
    let suits = |test: &Test| {
        let kernel = args.kernel.as_ref().map(Series::to_string);
        kernel.is_none_or(|kernel| test.kernels.contains(&kernel))
            && args
                .topology
                .is_none_or(|machine| machine.name == test.topology)
    };
    let selected: Vec<_> = all
        .into_iter()
        .filter(|test| match args.names.is_empty() {
            true => suits(test),
            false => args.names.contains(&test.name),
        })
        .collect();
    match selected.is_empty() {
        true => Err(UsageError("no test suits that kernel and topology".into()).into()),
        false => Ok(selected),
    }
}

/// One group for each kernel, machine and clock, so that boots are few.
fn group(tests: Vec<Test>, args: &TestArgs) -> Result<BTreeMap<Group, Vec<Test>>> {
    let mut groups: BTreeMap<Group, Vec<Test>> = BTreeMap::new();
    for test in tests {
        let machine = match args.topology {
            Some(machine) => machine,
            None => topology::by_name(&test.topology)
                .map_err(|error| anyhow::anyhow!("test {}: {error}", test.name))?,
        };
        let kernels = match (&args.kernel, test.kernels.is_empty()) {
            (Some(kernel), _) => vec![kernel.to_string()],
            (None, true) => vec![kernel::DEFAULT_SERIES.to_string()],
            (None, false) => test.kernels.clone(),
        };
        for series in kernels {
            let series = series
                .parse()
                .map_err(|error| anyhow::anyhow!("test {}: {error}", test.name))?;
            let group = Group {
                series,
                topology: machine.name,
            };
            groups.entry(group).or_default().push(test.clone());
        }
    }
    Ok(groups)
}

/// Runs a group's tests in one boot, or, where the emulator loses it, those that
/// are left in another.
fn run_group(
    cache: &Cache,
    base: &Initramfs,
    group: &Group,
    tests: &[Test],
    verbose: bool,
) -> Result<(Vec<Verdict>, Ending)> {
    let mut names = names_of(tests);
    let mut results = Vec::new();
    let mut lost_boots = LostBoots::default();
    loop {
        let boot = boot_for(group, tests, &names)?;
        let mut report = Report::new(&names, verbose);
        let ending = guest::run(cache, base, &boot, &mut report)?;
        let got_on = !report.results.is_empty();
        if ending == Ending::StaleCode && lost_boots.is_worth_another(got_on) {
            names = report.pause(&mut results);
            say!(
                "the emulator ran stale code, a fault of its own: {} tests go on in another boot",
                names.len()
            );
            continue;
        }
        let why = match ending {
            Ending::Exited(status) => {
                format!("guest-test ended with {status} and did not report it")
            }
            Ending::TimedOut => format!("the guest ran out of its {} s", boot.timeout_secs),
            Ending::Died | Ending::StaleCode => "the guest died".into(),
            Ending::Interrupted => "interrupted".into(),
        };
        results.extend(report.close(&why));
        return Ok((results, ending));
    }
}

/// A boot that runs the tests of these names.
fn boot_for(group: &Group, tests: &[Test], names: &[&str]) -> Result<Boot> {
    Ok(Boot {
        series: group.series.clone(),
        topology: topology::by_name(group.topology).map_err(anyhow::Error::msg)?,
        clock: Clock::Multi,
        timeout_secs: tests.iter().map(|test| test.timeout_secs).sum::<u64>() + GROUP_SLACK_SECS,
        append: String::new(),
        script: format!("exec guest-test run {}\n", names.join(" ")).into_bytes(),
        files: Vec::new(),
        // By its first test too: a second try must not write over what the first said.
        log_name: format!(
            "test-{}-{}-{}",
            group.series,
            group.topology,
            names.first().unwrap_or(&"none")
        ),
    })
}

/// What came of one test.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    name: String,
    /// At the last try.
    passed: bool,
    /// Why not at the first.
    complaint: Option<String>,
}

impl Verdict {
    fn new(name: &str, why: Option<&str>) -> Verdict {
        Verdict {
            name: name.to_owned(),
            passed: why.is_none(),
            complaint: why.map(str::to_owned),
        }
    }

    /// Prints what there is to complain of.
    fn say_again(&self) {
        let name = &self.name;
        match (&self.complaint, self.passed) {
            (None, _) => (),
            (Some(why), true) => say!("test {name} passed at the second try; first: {why}"),
            (Some(why), false) => say!("test {name} FAILED: {why}"),
        }
    }
}

/// What the tests of one guest said so far.
struct Report<'a> {
    waiting: Vec<&'a str>,
    results: Vec<Verdict>,
    /// Output since the last result: it belongs to the test that runs now.
    output: Vec<String>,
    last_result: Instant,
    verbose: bool,
}

impl<'a> Report<'a> {
    fn new(names: &[&'a str], verbose: bool) -> Report<'a> {
        Report {
            waiting: names.to_vec(),
            results: Vec::new(),
            output: Vec::new(),
            last_result: Instant::now(),
            verbose,
        }
    }

    /// Adds what is known to `results`; gives the tests still waiting.
    fn pause(self, results: &mut Vec<Verdict>) -> Vec<&'a str> {
        results.extend(self.results);
        self.waiting
    }

    /// Every test still waiting failed for this reason; gives all results.
    fn close(mut self, why: &str) -> Vec<Verdict> {
        for name in std::mem::take(&mut self.waiting) {
            self.result(name, Some(why));
        }
        self.results
    }

    fn result(&mut self, name: &str, why: Option<&str>) {
        let took = std::mem::replace(&mut self.last_result, Instant::now()).elapsed();
        say!("{}", describe(name, why, took));
        if why.is_some() && !self.verbose {
            for line in &self.output[self.output.len().saturating_sub(SHOWN_LINES)..] {
                say!("  | {line}");
            }
        }
        self.output.clear();
        self.results.push(Verdict::new(name, why));
    }
}

impl Output for Report<'_> {
    fn started(&mut self) {
        self.last_result = Instant::now();
    }

    fn text(&mut self, text: &str) {
        let text = text.trim_end();
        let result = parse_result(text)
            .and_then(|(name, why)| Some((self.waiting.iter().position(|w| *w == name)?, why)));
        match result {
            Some((index, why)) => {
                let name = self.waiting.remove(index);
                self.result(name, why);
            }
            None => {
                if self.verbose {
                    say!("  | {text}");
                }
                self.output.push(text.to_string());
            }
        }
    }
}

fn describe(name: &str, why: Option<&str>, took: Duration) -> String {
    match why {
        None => format!("test {name} ok ({:.1} s)", took.as_secs_f64()),
        Some(why) => format!("test {name} FAILED ({:.1} s): {why}", took.as_secs_f64()),
    }
}

/// `TEST name ok` gives no reason, `TEST name FAILED: why` the reason; anything else nothing.
fn parse_result(line: &str) -> Option<(&str, Option<&str>)> {
    let (name, verdict) = line.strip_prefix("TEST ")?.split_once(' ')?;
    match verdict.strip_prefix("FAILED") {
        Some(why) => Some((name, Some(why.trim_start_matches(':').trim()))),
        None => (verdict == "ok").then_some((name, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(name: &str, topology: &str, kernels: &[&str]) -> Test {
        Test {
            name: name.into(),
            topology: topology.into(),
            kernels: kernels.iter().map(ToString::to_string).collect(),
            timeout_secs: 10,
        }
    }

    fn args(names: &[&str], kernel: Option<&str>) -> TestArgs {
        TestArgs {
            names: names.iter().map(ToString::to_string).collect(),
            kernel: kernel.map(|kernel| kernel.parse().expect("a series")),
            topology: None,
            verbose: false,
            no_build: true,
        }
    }

    #[test]
    fn results_are_parsed() {
        assert_eq!(parse_result("TEST spread ok"), Some(("spread", None)));
        assert_eq!(
            parse_result("TEST spread FAILED: 4.0 of 8 CPUs"),
            Some(("spread", Some("4.0 of 8 CPUs")))
        );
        for other in ["spread ok", "TEST spread", "TEST spread okay", ""] {
            assert_eq!(parse_result(other), None, "{other}");
        }
    }

    #[test]
    fn a_silent_test_fails() {
        let mut report = Report::new(&["a", "b"], false);
        report.text("TEST b ok\n");
        report.text("TEST b ok\n");
        report.text("TEST unknown ok\n");
        let results = report.close("the guest died");
        assert_eq!(results[0], Verdict::new("b", None));
        assert_eq!(results[1], Verdict::new("a", Some("the guest died")));
    }

    #[test]
    fn a_lost_boot_leaves_the_tests_that_have_not_ended() {
        let mut report = Report::new(&["first", "second", "third"], false);
        report.text("TEST first ok");
        report.text("TEST second FAILED: it does not work");
        let mut results = Vec::new();
        assert_eq!(report.pause(&mut results), ["third"]);
        let passed: Vec<_> = results.iter().map(|it| it.passed).collect();
        assert_eq!(passed, [true, false]);
    }

    #[test]
    fn tests_of_one_kernel_and_machine_share_a_boot() {
        let tests = vec![
            test("a", "2x4", &["6.18", "7.2"]),
            test("b", "2x4", &["6.18"]),
            test("c", "odd", &[]),
        ];
        let groups = group(tests, &args(&[], None)).expect("known machines");
        let sizes: Vec<_> = groups.values().map(Vec::len).collect();
        assert_eq!(sizes, [2, 1, 1]);
    }

    #[test]
    fn a_kernel_selects_its_tests_and_a_name_overrides() {
        let all = || vec![test("a", "2x4", &["6.18"]), test("b", "2x4", &["7.2"])];
        let only = select(all(), &args(&[], Some("7.2"))).expect("one suits");
        assert_eq!(only.len(), 1);
        assert_eq!(only[0].name, "b");
        let named = select(all(), &args(&["a"], Some("7.2"))).expect("it exists");
        assert_eq!(named[0].name, "a");
        assert!(select(all(), &args(&["zzz"], None)).is_err());
        assert!(select(all(), &args(&[], Some("7.0"))).is_err());
    }

    #[test]
    fn the_list_of_tests_is_read() {
        let json = r#"[{"name":"a","topology":"2x4","kernels":["6.18"],"timeout_secs":30}]"#;
        let tests: Vec<Test> = serde_json::from_str(json).expect("valid");
        assert_eq!(tests[0].kernels, ["6.18"]);
    }
}
