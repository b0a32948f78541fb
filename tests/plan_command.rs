// SPDX-License-Identifier: GPL-2.0-only
//! `scx_ballast plan` and `snapshot` as others run them: files in, text and exit
//! codes out. Never needs a privilege or a scheduler.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};

/// The example of the contract, with a second node to make it whole, and more
/// to do than one node can.
const EXAMPLE: &str = r#"{"topology":{"nodes":[{"id":0,"distance":{"0":10,"1":21}},
                       {"id":1,"distance":{"0":21,"1":10}}],
  "domains":[{"id":0,"node":0,"cpus":"0-3","capacity":4.0},
             {"id":1,"node":1,"cpus":"4-7","capacity":4.0}]},
"groups":[{"path":"/a","weight":100,"quota":2.0}],
"tasks":[{"id":1,"weight":100,"demand":1.0,"domain":0,"cpus":"0-7","group":"/a","process":1,"preferred_nodes":[0]},
         {"id":2,"weight":100,"demand":1.0,"domain":0},{"id":3,"weight":100,"demand":1.0,"domain":0},
         {"id":4,"weight":100,"demand":1.0,"domain":0},{"id":5,"weight":100,"demand":1.0,"domain":0},
         {"id":6,"weight":100,"demand":1.0,"domain":0}]}"#;

fn run(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_scx_ballast"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    // What stops reading early has decided already.
    let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin));
    child.wait_with_output().expect("it ends")
}

fn plan(stdin: &[u8]) -> Output {
    run(&["plan", "--snapshot", "-", "--json"], stdin)
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("output is text")
}

fn exit_code(output: &Output) -> i32 {
    output.status.code().expect("it is not killed")
}

/// Exit code 2, one line on stderr, nothing on stdout; returns the line.
fn refused(output: &Output) -> String {
    let line = text(&output.stderr);
    assert_eq!(exit_code(output), 2, "{line}");
    assert_eq!(text(&output.stdout), "");
    assert_eq!(line.lines().count(), 1, "{line}");
    let line = line.strip_suffix('\n').expect("a whole line");
    line.strip_prefix("scx_ballast: ").expect(line).to_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

#[test]
fn the_contract() {
    let output = plan(EXAMPLE.as_bytes());
    assert_eq!(exit_code(&output), 0);
    assert_eq!(text(&output.stderr), "");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(keys(&answer), ["certificate", "domains", "moves", "tasks"]);
    assert_eq!(keys(&answer["tasks"][0]), ["entitlement", "id"]);
    assert_eq!(
        keys(&answer["domains"][0]),
        ["after", "before", "capacity", "id"]
    );
    assert_eq!(keys(&answer["moves"][0]), ["from", "reason", "task", "to"]);
    let certificate = keys(&answer["certificate"]);
    for key in ["cross_node_min", "imbalance_after", "moves_min", "reason"] {
        assert!(certificate.contains(&key), "{certificate:?}");
    }

    assert_eq!(answer["domains"][0]["id"], 0);
    assert_eq!(answer["domains"][0]["capacity"], 4.0);
    assert_eq!(answer["domains"][0]["before"], 6.0);
    let after = answer["domains"][0]["after"].as_f64().expect("a number");
    assert!(after <= 4.0, "{after}");
    assert!(answer["certificate"]["moves_min"].is_u64());
    for task in answer["tasks"].as_array().expect("a list") {
        assert_eq!(task["entitlement"], 1.0);
    }
}

#[test]
fn a_file_and_standard_input_give_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("snapshot file.json");
    std::fs::write(&path, EXAMPLE).expect("room");
    let path = path.to_str().expect("text");
    let output = run(&["plan", "--json", "--snapshot", path], b"");
    assert_eq!(exit_code(&output), 0);
    assert_eq!(output.stdout, plan(EXAMPLE.as_bytes()).stdout);
}

#[test]
fn without_json_it_is_for_a_person() {
    let output = run(&["plan", "--snapshot", "-"], EXAMPLE.as_bytes());
    assert_eq!(exit_code(&output), 0);
    let report = text(&output.stdout);
    assert!(
        report.starts_with("2 nodes, 2 domains, 8.00 CPUs"),
        "{report}"
    );
    assert!(report.contains("\ncertificate\n"), "{report}");
}

#[test]
fn the_example_in_the_documents_has_moves_and_swaps() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example-snapshot.json");
    let output = run(&["plan", "--snapshot", path], b"");
    assert_eq!(exit_code(&output), 0, "{}", text(&output.stderr));
    let report = text(&output.stdout);
    assert!(report.contains("\n13 moves\n"), "{report}");
    assert!(
        report.contains(": moves 0.733 for the 0.600 of task 102\n"),
        "{report}"
    );
}

#[test]
fn preferred_nodes_count_if_asked() {
    let task = |id| {
        json!({"id": id, "weight": 100, "demand": 1.0, "domain": 0,
               "preferred_nodes": if id == 1 { [1] } else { [0] }})
    };
    let mut snapshot: Value = serde_json::from_str(EXAMPLE).expect("JSON");
    snapshot["tasks"] = (1..=5).map(task).collect();
    let args = ["plan", "--snapshot", "-", "--json", "--mempolicy-affinity"];
    let output = run(&args, snapshot.to_string().as_bytes());
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["moves"][0]["task"], 1, "{answer}");
}

#[test]
fn what_is_wrong_is_refused_in_one_line() {
    for (old, new, line) in [
        (
            r#""id":4,"weight":100"#,
            r#""id":4,"weight":0"#,
            "tasks[3].weight: 0 is not a weight; give a number above 0 and at most 10000",
        ),
        (
            r#""id":4,"#,
            "\"id\":4,\"\u{1b}[2J\":1,",
            "tasks[3]: this is not JSON",
        ),
        (
            r#""id":4,"#,
            r#""id":4,"\u001b[2J\n":1,"#,
            "tasks[3].\\u{1b}[2J\\n: no such field; a task has",
        ),
        (r#""quota":2.0"#, r#""quota":1e999"#, "groups[0].quota: "),
        (
            r#""4-7""#,
            r#""3-7""#,
            "topology.domains[1].cpus: CPU 3 is in",
        ),
    ] {
        assert!(EXAMPLE.contains(old), "{old}");
        let refusal = refused(&plan(EXAMPLE.replace(old, new).as_bytes()));
        assert!(refusal.starts_with(line), "{refusal}");
    }
    let deep = "[".repeat(1_000_000);
    for input in [&b""[..], b"\xff\xfe", b"null", b"{}{}", deep.as_bytes()] {
        refused(&plan(input));
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("none\nhere");
    let refusal = |path: &std::path::Path| {
        let path = path.to_str().expect("text");
        refused(&run(&["plan", "--snapshot", path], b""))
    };
    let about_missing = refusal(&missing);
    assert!(
        about_missing.starts_with("--snapshot: reading '"),
        "{about_missing}"
    );
    let about_folder = refusal(dir.path());
    assert!(
        about_folder.ends_with("is a folder; give a file"),
        "{about_folder}"
    );
    refused(&run(&["plan"], b""));
    refused(&run(
        &["-i", "2", "plan", "--snapshot", "-"],
        EXAMPLE.as_bytes(),
    ));
}

#[test]
fn nobody_has_to_read_to_the_end() {
    let task = |id: u32| format!(r#"{{"id":{id},"weight":100,"demand":1.0,"domain":0}}"#);
    let tasks: Vec<String> = (0..20_000).map(task).collect();
    let snapshot = format!(
        r#"{{"topology":{{"nodes":[{{"id":0,"distance":{{}}}}],"domains":[{{"id":0,"node":0,
            "cpus":"0-3"}}]}},"tasks":[{}]}}"#,
        tasks.join(",")
    );
    let mut child = Command::new(env!("CARGO_BIN_EXE_scx_ballast"))
        .args(["plan", "--snapshot", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(snapshot.as_bytes()).expect("it reads all");
    drop(pipe);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(exit_code(&output), 0);
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn output_that_cannot_be_written_is_a_run_time_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("snapshot");
    std::fs::write(&path, EXAMPLE).expect("room");
    let path = path.to_str().expect("text");
    for args in [
        &["plan", "--snapshot", path][..],
        &["plan", "--snapshot", path, "--json"],
        &["plan", "--help"],
        &["--help"],
        &["--version"],
        &["--help-stats"],
    ] {
        let full = std::fs::File::create("/dev/full").expect("Linux has it");
        let output = Command::new(env!("CARGO_BIN_EXE_scx_ballast"))
            .args(args)
            .stdout(full)
            .output()
            .expect("the binary runs");
        assert_eq!(exit_code(&output), 1, "{args:?}");
        assert_eq!(text(&output.stderr).lines().count(), 1, "{args:?}");
    }
}

#[test]
fn a_snapshot_needs_a_running_scheduler() {
    if std::path::Path::new("/var/run/scx/root/stats").exists() {
        // One may be running here; stats::tests asks one that is not.
        return;
    }
    let output = run(&["snapshot", "--json"], b"");
    assert_eq!(exit_code(&output), 1);
    assert_eq!(text(&output.stdout), "");
    let line = text(&output.stderr);
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(line.contains("no scheduler is running"), "{line}");
}

proptest! {
    // Each case starts a process; snapshot_file::tests has ten thousand cases
    // of the same without one.
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_damaged_file_never_ends_badly(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = EXAMPLE.as_bytes().to_vec();
        let at = place.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        let output = plan(&bytes);
        match exit_code(&output) {
            0 => prop_assert_eq!(text(&output.stderr), ""),
            _ => drop(refused(&output)),
        }
    }
}
