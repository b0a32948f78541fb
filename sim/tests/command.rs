// SPDX-License-Identifier: GPL-2.0-only
//! The command as a user meets it: exit codes, one line for what is wrong, files.
//! Never looks into the library.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ballast-sim"))
        .args(args)
        .output()
        .expect("runs")
}

fn spinners() -> String {
    format!("{}/scenarios/spinners.toml", env!("CARGO_MANIFEST_DIR"))
}

/// What a run of this scenario says as it ends with exit code 2: one line. `name`
/// keeps the files of tests apart.
fn refusal(name: &str, scenario: &str) -> String {
    let name = format!("ballast-sim-{name}-{}.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, scenario).expect("written");
    let output = sim(&[path.to_str().expect("UTF-8")]);
    std::fs::remove_file(&path).expect("removed");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_scenario_prints_the_same_bytes_twice_and_others_with_another_seed() {
    let path = spinners();
    let first = sim(&[&path, "--seed", "7"]);
    assert!(first.status.success());
    assert_eq!(first.stdout, sim(&[&path, "--seed", "7"]).stdout);
    assert_ne!(first.stdout, sim(&[&path, "--seed", "8"]).stdout);
    let text = String::from_utf8(first.stdout).expect("UTF-8");
    assert!(text.contains("checks: all kept"), "{text}");
}

#[test]
fn json_holds_the_shares() {
    let output = sim(&[&spinners(), "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let received = json["groups"][0]["received"].as_f64().expect("a number");
    assert!((received - 1.0).abs() < 0.01);
}

#[test]
fn a_trace_is_json_that_perfetto_reads() {
    let path = std::env::temp_dir().join(format!("ballast-sim-{}.json", std::process::id()));
    let output = sim(&[&spinners(), "--trace", path.to_str().expect("UTF-8")]);
    assert!(output.status.success());
    let text = std::fs::read_to_string(&path).expect("written");
    std::fs::remove_file(&path).expect("removed");
    let trace: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let events = trace["traceEvents"].as_array().expect("events");
    assert!(events.iter().filter(|event| event["ph"] == "X").count() > 50);
}

#[test]
fn what_is_wrong_is_one_line_and_exit_code_2() {
    let folder = std::env::temp_dir();
    let bad = folder.join(format!("ballast-sim-bad-{}.toml", std::process::id()));
    std::fs::write(&bad, "name = 'x'\nseconds = -1\n").expect("written");
    let bad_flags = folder.join(format!("ballast-sim-flags-{}.toml", std::process::id()));
    std::fs::write(
        &bad_flags,
        "name = 'x'\nseconds = 1\nflags = ['--interval', '0']\n[[tasks]]\nname = 'a'\nwork = { kind = 'spin' }\n",
    )
    .expect("written");
    let (bad, bad_flags) = (
        bad.to_str().expect("UTF-8"),
        bad_flags.to_str().expect("UTF-8"),
    );
    for (args, part) in [
        (&[bad][..], "seconds: -1; give a number, 0.001 to 3600"),
        (&[bad_flags], "--interval"),
        (&["/nonexistent.toml"], "/nonexistent.toml: "),
        (&["--colour"], "--colour"),
        (
            &[&spinners(), "--seed", "-1"],
            "'-1' for '--seed <N>': give a whole number from 0 to ",
        ),
        (&["/dev/null"], "/dev/null: it is empty; give name, seconds"),
        (&[], "<SCENARIO>"),
        (&["/dev/zero"], "larger than 1 MiB"),
        (&["swarm", "--seeds", "0"], "--seeds"),
        (
            &["swarm", "--first", "abc"],
            "'abc' for '--first <N>': give a whole number from 0 to ",
        ),
        (&["scenario", "-1"], "give a whole number from 0 to "),
        (
            &[&spinners(), "--trace", "/nonexistent/trace"],
            "--trace: /nonexistent/trace: ",
        ),
        (
            &[&spinners(), "--trace", &spinners()],
            "that is the scenario; give another file",
        ),
        (&[&spinners(), "more"], "give one scenario with its options"),
        (
            &["swarm", "--seeds", "1", "--seeds", "2"],
            "'--seeds <N>' cannot be used multiple times",
        ),
        (
            &[&spinners(), "--defect", "none"],
            "--defect: `none`; give one of",
        ),
    ] {
        let output = sim(args);
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(output.stdout.is_empty());
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(part), "{text}");
    }
    std::fs::remove_file(bad).expect("removed");
    std::fs::remove_file(bad_flags).expect("removed");
}

#[test]
fn a_long_mistake_is_not_said_whole() {
    for scenario in [
        "x".repeat(100_000),
        format!("name = '{}", "x".repeat(100_000)),
        format!(
            "balancer = '{}'\nname = 'x'\nseconds = 1",
            "x".repeat(100_000)
        ),
        "name = 'x'\nseconds = 1\n[[tasks]]\nname = 'a'\ncount = 1e300".to_owned(),
    ] {
        let error = refusal("long", &scenario);
        assert!(
            error.len() < 600,
            "{} bytes: {}",
            error.len(),
            &error[..100]
        );
    }
}

#[test]
fn a_scenario_without_tasks_is_refused() {
    let error = refusal("no-tasks", "name = 'x'\nseconds = 1\n");
    assert!(error.contains("tasks: there are none"), "{error}");
}

#[test]
fn help_that_cannot_be_written_is_a_run_time_error() {
    let full = std::fs::File::create("/dev/full").expect("Linux has it");
    let mut command = Command::new(env!("CARGO_BIN_EXE_ballast-sim"));
    let output = command.arg("--help").stdout(full).output().expect("runs");
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn flags_that_the_simulator_does_not_heed_are_refused_by_name() {
    for (flags, part) in [
        ("'--monitor', '1'", "flags: --monitor does nothing"),
        ("'--stats', '1'", "flags: --stats does nothing"),
        ("'-p'", "flags: --partial does nothing"),
        ("'--perf', '512'", "flags: --perf does nothing"),
        ("'-v'", "flags: --verbose does nothing"),
        ("'--help-stats'", "flags: --help-stats does nothing"),
        ("'--exit-dump-len', '0'", "flags: --exit-dump-len does"),
        ("'--mempolicy-affinity'", "flags: --mempolicy-affinity does"),
        ("'--balanced-kworkers'", "flags: --balanced-kworkers does"),
        ("'--btf-custom-path', 'x'", "flags: --btf-custom-path does"),
        ("'--help'", "flags: --help and --version run nothing"),
    ] {
        let scenario = format!("name = 'x'\nseconds = 1\nflags = [{flags}]\n");
        let text = refusal("unheeded", &scenario);
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_run_that_outgrows_memory_ends_with_one_line_and_exit_code_2() {
    let scenario = "name = 'x'\nseconds = 4\n[topology]\ncores_per_llc = 256\n\
                [[tasks]]\nname = 'a'\ncount = 64\nwork = { kind = 'spin' }\n\
                [faults]\naffinity_per_s = 100000\n";
    let text = refusal("masks", scenario);
    let part = "error: faults.affinity_per_s: more than 65536 different sets of CPUs by";
    assert!(text.starts_with(part), "{text}");
}

#[test]
fn a_refused_run_leaves_the_trace_that_was_there() {
    let folder = std::env::temp_dir();
    let path = |end: &str| folder.join(format!("ballast-sim-kept-{}.{end}", std::process::id()));
    let (scenario, trace) = (path("toml"), path("json"));
    let text = "name = 'x'\nseconds = 1\n[[tasks]]\nname = 'a'\ncount = 1048576\n\
                work = { kind = 'spin' }\n";
    std::fs::write(&scenario, text).expect("written");
    std::fs::write(&trace, "kept").expect("written");
    let name = |path: &std::path::Path| path.to_str().expect("UTF-8").to_owned();
    let output = sim(&[&name(&scenario), "--trace", &name(&trace)]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(std::fs::read_to_string(&trace).expect("there"), "kept");
    std::fs::remove_file(scenario).expect("removed");
    std::fs::remove_file(trace).expect("removed");
}

#[test]
fn a_trace_that_does_not_fit_is_an_error() {
    let output = sim(&[&spinners(), "--trace", "/dev/full"]);
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.starts_with("error: writing the trace: "), "{text}");
}

#[test]
fn a_swarm_with_a_defect_fails_and_shows_the_smallest_scenario() {
    let args = [
        "swarm",
        "--seeds",
        "3",
        "--minimise",
        "--defect",
        "swapped-weights",
    ];
    let output = sim(&args);
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("rows at") && text.contains("[topology]"),
        "{text}"
    );
}
