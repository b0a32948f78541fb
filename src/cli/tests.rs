// SPDX-License-Identifier: GPL-2.0-only
//! Every flag's good and bad values, and the form of every error.
//! Never reads the machine.

use clap::CommandFactory;
use proptest::prelude::*;

use super::commands::{PlanArgs, SnapshotArgs};
use super::*;

fn parse_line(args: &[&str]) -> Result<Cli, String> {
    match parse_from(["scx_ballast"].iter().chain(args)) {
        Ok(Parsed::Run(cli)) => Ok(*cli),
        Ok(Parsed::Print(text)) => panic!("{args:?} prints {text}"),
        Err(error) => Err(error.to_string()),
    }
}

fn error(args: &[&str]) -> String {
    let error = parse_line(args).expect_err(&format!("{args:?} is bad usage"));
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn printed(flag: &str) -> String {
    match parse_from(["scx_ballast", flag]) {
        Ok(Parsed::Print(text)) => text.to_string(),
        other => panic!("{flag}: {other:?}"),
    }
}

/// A flag with a number: good values, the first values out of range, and the
/// range as its errors give it.
struct Number {
    flag: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
    range: &'static str,
}

const fn number(
    flag: &'static str,
    good: &'static [&'static str],
    bad: &'static [&'static str],
    range: &'static str,
) -> Number {
    Number {
        flag,
        good,
        bad,
        range,
    }
}

const NUMBERS: &[Number] = &[
    number(
        "--interval",
        &["0.01", "1", "1.5", "1e3", "3600"],
        &["0.0099", "3600.1"],
        "seconds from 0.01 to 3600",
    ),
    number("-i", &["2"], &[], "seconds from 0.01 to 3600"),
    number(
        "--tune-interval",
        &["0.01", "60"],
        &["0.001", "61"],
        "seconds from 0.01 to 60",
    ),
    number("-I", &["2"], &[], "seconds from 0.01 to 60"),
    number(
        "--load-half-life",
        &["0.01", "4.3", "3600"],
        &["0.001", "3601"],
        "seconds from 0.01 to 3600",
    ),
    number("-l", &["2"], &[], "seconds from 0.01 to 3600"),
    number(
        "--stats",
        &["0.1", "3600"],
        &["0.05", "3601"],
        "seconds from 0.1 to 3600",
    ),
    number(
        "--monitor",
        &["0.1", "3600"],
        &["0.05", "3601"],
        "seconds from 0.1 to 3600",
    ),
    number(
        "--slice-us-underutil",
        &["100", "1000000"],
        &["99", "1000001", "200.5"],
        "microseconds from 100 to 1000000",
    ),
    number("-u", &["100"], &[], "microseconds from 100 to 1000000"),
    number(
        "--slice-us-overutil",
        &["100", "1000000"],
        &["99", "1000001"],
        "microseconds from 100 to 1000000",
    ),
    number("-o", &["100"], &[], "microseconds from 100 to 1000000"),
    number(
        "--domain-cpus",
        &["1", "1024"],
        &["1025"],
        "CPUs from 1 to 1024",
    ),
    number(
        "--max-tasks",
        &["1024", "4194304"],
        &["1023", "4194305"],
        "tasks from 1024 to 4194304",
    ),
];

/// The same where 0 is good.
const NUMBERS_FROM_0: &[Number] = &[
    number(
        "--greedy-threshold",
        &["1", "1000000"],
        &["1000001"],
        "tasks from 0 to 1000000",
    ),
    number("-g", &["1"], &[], "tasks from 0 to 1000000"),
    number(
        "--greedy-threshold-x-numa",
        &["1"],
        &["1000001"],
        "tasks from 0 to 1000000",
    ),
    number(
        "--steal-after-node-us",
        &["1000000"],
        &["1000001", "0.5"],
        "microseconds from 0 to 1000000",
    ),
    number(
        "--steal-after-numa-us",
        &["1000000"],
        &["1000001"],
        "microseconds from 0 to 1000000",
    ),
    number(
        "--direct-greedy-under",
        &["100", "33.3", "-0"],
        &["100.1"],
        "percentage from 0 to 100",
    ),
    number("-D", &["100"], &[], "percentage from 0 to 100"),
    number(
        "--kick-greedy-under",
        &["100"],
        &["101"],
        "percentage from 0 to 100",
    ),
    number("-K", &["100"], &[], "percentage from 0 to 100"),
    number("--perf", &["1024"], &["1025"], "steps from 0 to 1024"),
    number(
        "--exit-dump-len",
        &["16777216"],
        &["16777217"],
        "bytes from 0 to 16777216",
    ),
];

/// What no number flag takes.
const NEVER: &[&str] = &[
    "-1",
    "nan",
    "NaN",
    "-nan",
    "inf",
    "-inf",
    "1e12",
    "1e999",
    "abc",
    "--stats",
    "1s",
    "0x10",
    " 1",
    "1 ",
    "1_000",
    "99999999999999999999",
    "é",
    "1\n2",
    "--help",
];

fn check(number: &Number, value: &str, is_good: bool) {
    let flag = number.flag;
    let mut lines = vec![vec![flag.to_string(), value.to_string()]];
    if flag.starts_with("--") {
        lines.push(vec![format!("{flag}={value}")]);
    } else {
        lines.push(vec![format!("{flag}{value}")]);
    }
    for line in lines {
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        if is_good {
            assert!(
                parse_line(&line).is_ok(),
                "{line:?}: {:?}",
                parse_line(&line)
            );
            continue;
        }
        let error = error(&line);
        assert!(error.contains(number.range), "{line:?}: {error}");
        assert!(
            error.contains(&value.replace('\n', "\\n")),
            "{line:?}: {error}"
        );
        if flag.starts_with("--") {
            assert!(error.starts_with(&format!("{flag}: ")), "{line:?}: {error}");
        }
    }
}

#[test]
fn every_number() {
    for number in NUMBERS.iter().chain(NUMBERS_FROM_0) {
        number
            .good
            .iter()
            .for_each(|value| check(number, value, true));
        number
            .bad
            .iter()
            .chain(NEVER)
            .for_each(|value| check(number, value, false));
        for missing in [
            vec![number.flag.to_string()],
            vec![format!("{}=", number.flag)],
        ] {
            let line: Vec<&str> = missing.iter().map(String::as_str).collect();
            assert!(
                error(&line).contains("it needs a value"),
                "{line:?}: {}",
                error(&line)
            );
        }
    }
    NUMBERS.iter().for_each(|number| check(number, "0", false));
    NUMBERS_FROM_0
        .iter()
        .for_each(|number| check(number, "0", true));
}

#[test]
fn help_gives_every_range() {
    let command = Cli::command();
    for number in NUMBERS.iter().chain(NUMBERS_FROM_0) {
        let Some(long) = number.flag.strip_prefix("--") else {
            continue;
        };
        let arg = command
            .get_arguments()
            .find(|arg| arg.get_long() == Some(long));
        let help = arg
            .and_then(|arg| arg.get_help())
            .expect("a flag with help")
            .to_string();
        let (_, ends) = number.range.split_once("from ").expect("a range");
        let (start, end) = ends.split_once(" to ").expect("a range");
        let in_help = help.contains(ends) || (help.contains(start) && help.contains(end));
        assert!(in_help, "{long}: {help}");
    }
}

const README: &str = include_str!("../../README.md");

/// The cells of the README's row for this flag: default, then unit and range.
fn readme_row(long: &str) -> (&'static str, &'static str) {
    let name = format!("`--{long}`");
    let row = README
        .lines()
        .filter_map(|line| line.strip_prefix("| "))
        .map(|line| line.split(" | ").collect::<Vec<&str>>())
        .find(|cells| cells[0].split([',', ';']).any(|flag| flag.trim() == name))
        .unwrap_or_else(|| panic!("README has no row for {name}"));
    (row[1].trim_matches(['|', ' ']), row[2])
}

#[test]
fn readme_gives_every_default_and_range() {
    let (_, libbpf) = README
        .split_once("### Libbpf options")
        .expect("a part of its own");
    let command = Cli::command();
    for arg in command.get_arguments() {
        let long = arg.get_long().expect("every flag has a long name");
        if arg.get_help_heading() == Some(LIBBPF) {
            assert!(libbpf.contains(&format!("`--{long}`")), "{long}");
            continue;
        }
        let (default, _) = readme_row(long);
        match arg.get_default_values() {
            [value] => assert_eq!(default, value, "{long}"),
            _ => assert!(["off", "unset"].contains(&default), "{long}: {default}"),
        }
    }
    for number in NUMBERS.iter().chain(NUMBERS_FROM_0) {
        let Some(long) = number.flag.strip_prefix("--") else {
            continue;
        };
        let (_, range) = readme_row(long);
        let (_, ends) = number.range.split_once("from ").expect("a range");
        assert!(
            range.contains(&ends.replace(" to ", "–")),
            "{long}: {range}"
        );
    }
}

#[test]
fn defaults() {
    let cli = parse_line(&[]).expect("no flags");
    assert_eq!(
        (cli.interval, cli.tune_interval, cli.load_half_life),
        (1.0, 0.1, 1.0)
    );
    assert_eq!(
        (cli.slice_us_underutil, cli.slice_us_overutil),
        (20_000, 5_000)
    );
    assert_eq!((cli.domains, cli.domain_cpus), (DomainSpec::Llc, 16));
    assert_eq!((cli.greedy_threshold, cli.greedy_threshold_x_numa), (1, 1));
    assert_eq!(
        (cli.steal_after_node_us, cli.steal_after_numa_us),
        (2_000, 10_000)
    );
    assert_eq!(
        (cli.direct_greedy_under, cli.kick_greedy_under),
        (90.0, 100.0)
    );
    assert!(cli.kthreads_local && !cli.no_load_balance && !cli.balanced_kworkers);
    assert!(!cli.fifo_sched && !cli.direct_greedy_numa && !cli.partial && !cli.mempolicy_affinity);
    assert_eq!((cli.perf, cli.max_tasks), (None, 65_536));
    assert_eq!((cli.stats, cli.monitor, cli.exit_dump_len), (None, None, 0));
    assert_eq!((cli.verbose, cli.help_stats), (0, false));
}

#[test]
fn switches() {
    let cli = parse_line(&["-bfrp", "-vvv", "--no-load-balance", "--mempolicy-affinity"])
        .expect("good flags");
    assert!(cli.balanced_kworkers && cli.fifo_sched && cli.direct_greedy_numa && cli.partial);
    assert!(cli.no_load_balance && cli.mempolicy_affinity);
    assert_eq!(cli.verbose, 3);
    assert!(
        parse_line(&["--help-stats"])
            .expect("a good flag")
            .help_stats
    );

    for (line, expected) in [
        (&["-k"][..], true),
        (&["-k", "false"], false),
        (&["--kthreads-local"], true),
        (&["--kthreads-local", "false"], false),
        (&["--kthreads-local=false"], false),
        (&["--kthreads-local", "-b"], true),
    ] {
        assert_eq!(
            parse_line(line).expect("good flags").kthreads_local,
            expected,
            "{line:?}"
        );
    }
}

#[test]
fn domain_lists() {
    let list = |text: &str| text.parse::<CpuList>().expect("a list");
    for (text, expected) in [
        ("llc", DomainSpec::Llc),
        ("node", DomainSpec::Node),
        ("0-3", DomainSpec::Lists(vec![list("0-3")])),
        (
            "4-7,9;0-3",
            DomainSpec::Lists(vec![list("4-7,9"), list("0-3")]),
        ),
    ] {
        assert_eq!(
            parse_line(&["--domains", text]).expect(text).domains,
            expected
        );
    }
    for (text, part) in [
        ("", "it needs a value"),
        (";", "empty"),
        ("0-3;", "empty"),
        ("0-3;;4-7", "empty"),
        ("LLC", "not a list"),
        ("-1", "not a list"),
        ("3-1", "backwards"),
        ("1,,2", "not a list"),
        ("0-3,2", "CPU 2 twice"),
        ("0-4294967295", "does not exist"),
        ("0\n1", "not a list"),
    ] {
        let error = error(&["--domains", text]);
        assert!(
            error.starts_with("--domains: ") && error.contains(part),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn every_error_is_one_line_that_names_the_culprit() {
    for (line, expected) in [
        (
            &["--intervall", "2"][..],
            "--intervall: no such flag; did you mean --interval?",
        ),
        (&["--frobnicate"], "--frobnicate: no such flag; try --help"),
        (&["-x"], "-x: no such flag; try --help"),
        (
            &["\u{1b}[31m\n"],
            "\\u{1b}[31m\\n: no such command; try --help",
        ),
        (&["start"], "start: no such command; try --help"),
        (&["-i", "2", "start"], "start: no such command; try --help"),
        (&["plam"], "plam: no such command; did you mean plan?"),
        (&["help", "start"], "start: no such command; try --help"),
        (
            &["-i", "1", "-i", "2"],
            "--interval: it was given twice; give it once",
        ),
        (
            &["--partial", "-p"],
            "--partial: it was given twice; give it once",
        ),
        (
            &["--partial=yes"],
            "--partial: it takes no value, and 'yes' was given",
        ),
        (
            &["--verbose=3"],
            "--verbose: it takes no value, and '3' was given",
        ),
        (
            &["-k", "maybe"],
            "--kthreads-local: 'maybe' is not possible; give true or false",
        ),
        (
            &["--relaxed-maps", "3"],
            "--relaxed-maps: '3' is not possible; give one of true, false",
        ),
        (&["--relaxed-maps"], "--relaxed-maps: it needs a value"),
        (
            &["-i", "abc"],
            "--interval: 'abc' is not possible; give a number of seconds from 0.01 to 3600",
        ),
    ] {
        assert_eq!(error(line), expected);
    }
}

#[test]
fn the_commands_have_options_of_their_own() {
    let command = |args: &[&str]| parse_line(args).expect("good usage").command;
    assert_eq!(command(&[]), None);
    for (args, snapshot, json, mempolicy_affinity) in [
        (&["plan", "--snapshot", "a b"][..], "a b", false, false),
        (&["plan", "--snapshot", "-", "--json"], "-", true, false),
        (
            &["plan", "--mempolicy-affinity", "--snapshot=x"],
            "x",
            false,
            true,
        ),
    ] {
        let expected = PlanArgs {
            snapshot: snapshot.into(),
            json,
            mempolicy_affinity,
        };
        assert_eq!(command(args), Some(Command::Plan(expected)));
    }
    for (args, json) in [(&["snapshot"][..], false), (&["snapshot", "--json"], true)] {
        let expected = Command::Snapshot(SnapshotArgs { json });
        assert_eq!(command(args), Some(expected));
    }
}

#[test]
fn bad_usage_of_a_command_is_one_line_too() {
    for (line, expected) in [
        (
            &["plan"][..],
            "--snapshot: it is missing, and needed; try --help",
        ),
        (&["plan", "--snapshot"], "--snapshot: it needs a value"),
        (
            &["plan", "--snapshot", "a", "--snapshot", "b"],
            "--snapshot: it was given twice; give it once",
        ),
        (
            &["plan", "--snapshot", "a", "b"],
            "b: it is one argument too many; try --help",
        ),
        (
            &["plan", "--snapshot", "a", "--json=1"],
            "--json: it takes no value, and '1' was given",
        ),
        (
            &["plan", "--snapsho", "a"],
            "--snapsho: no such flag; did you mean --snapshot?",
        ),
        (
            &["plan", "--interval", "1"],
            "--interval: no such flag; try --help",
        ),
        (
            &["-i", "2", "plan", "--snapshot", "a"],
            "--interval: plan does not take the scheduler's flags; see `scx_ballast plan --help`",
        ),
        (
            &["-pv", "snapshot"],
            "--partial, --verbose: snapshot does not take the scheduler's flags; see \
             `scx_ballast snapshot --help`",
        ),
        (
            &["--relaxed-maps", "true", "snapshot"],
            "--relaxed-maps: snapshot does not take the scheduler's flags; see `scx_ballast \
             snapshot --help`",
        ),
    ] {
        assert_eq!(error(line), expected);
    }
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_text() {
    use std::os::unix::ffi::OsStringExt;
    for bytes in [&b"--domains=\xff"[..], b"\xff", b"--\xff"] {
        let line = [
            OsString::from("scx_ballast"),
            OsString::from_vec(bytes.to_vec()),
        ];
        let error = parse_from(line).expect_err("not text").to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let refused = |args: &[&[u8]]| {
        let args = args.iter().map(|arg| OsString::from_vec(arg.to_vec()));
        let line = std::iter::once(OsString::from("scx_ballast")).chain(args);
        parse_from(line).expect_err("not text").to_string()
    };
    for args in [&[&b"--interval"[..], b"\xff"][..], &[b"--interval=\xff"]] {
        assert_eq!(
            refused(args),
            "--interval: '\u{fffd}' is not possible; give a number of seconds from 0.01 to 3600"
        );
    }
    for args in [
        &[&b"--btf-custom-path"[..], b"\xff"][..],
        &[b"--btf-custom-path=\xff"],
    ] {
        assert_eq!(
            refused(args),
            "--btf-custom-path: its value is not UTF-8 text; give text"
        );
    }
}

#[test]
fn help_and_version() {
    let help = printed("--help");
    for heading in [
        BALANCING,
        QUEUES,
        STEALING,
        DOMAINS,
        TASKS,
        OUTPUT,
        "Libbpf Options",
    ] {
        assert!(help.contains(&format!("\n{heading}:\n")), "{heading}");
    }
    for (command, words) in [
        (
            "plan",
            &["--snapshot <FILE>", "\"topology\":", "Exit codes:"][..],
        ),
        ("snapshot", &["--json", "Exit codes:"]),
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let own = match parse_from(["scx_ballast", command, "--help"]) {
            Ok(Parsed::Print(text)) => text.to_string(),
            other => panic!("{command}: {other:?}"),
        };
        for word in words {
            assert!(own.contains(word), "{own}");
        }
    }
    let version = printed("--version");
    assert!(
        version.starts_with(concat!("scx_ballast ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
    assert_eq!(version, printed("-V"));
    Cli::command().debug_assert();
}

proptest! {
    #![proptest_config(crate::seeds::config("cli"))]

    #[test]
    fn no_line_panics_or_prints_two(args in prop::collection::vec("(-{0,2}[a-zA-Z-]{0,12}=?)?[ -~\n]{0,8}", 0..5)) {
        if let Err(error) = parse_from(std::iter::once(&"scx_ballast".to_string()).chain(&args)) {
            let error = error.to_string();
            prop_assert!(!error.is_empty());
            prop_assert_eq!(error.lines().count(), 1, "{}", error);
        }
    }
}
