// SPDX-License-Identifier: GPL-2.0-only
//! Every way in which a file is not a snapshot, and the line that says so.
//! Each case changes one place of a good file.

use super::*;

/// A good file, compact, in which each piece of text below occurs once.
const GOOD: &str = concat!(
    r#"{"topology":{"nodes":[{"id":1,"distance":{"1":10,"70":21}},{"id":70,"distance":{"70":10}}],"#,
    r#""domains":[{"id":5,"node":1,"cpus":"0-3","capacity":3.5},{"id":6,"node":70,"cpus":"4-7"}]},"#,
    r#""groups":[{"path":"/a","weight":300,"quota":2.5},{"path":"/a/b","weight":400}],"#,
    r#""tasks":[{"id":101,"weight":100,"demand":0.5,"domain":5,"cpus":"1-2","group":"/a/b","#,
    r#""process":77,"preferred_nodes":[1]},"#,
    r#"{"id":102,"weight":200,"demand":0.75,"domain":6}]}"#
);

/// What is replaced, by what, and the line it leads to.
type Case = (&'static str, &'static str, &'static str);

fn refused(text: &[u8]) -> String {
    let error = match read(text) {
        Ok(_) => panic!("it was read: {}", String::from_utf8_lossy(text)),
        Err(error) => error.to_string(),
    };
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn check(cases: &[Case]) {
    read(GOOD.as_bytes()).expect("the file is good");
    for (old, new, line) in cases {
        assert_eq!(GOOD.matches(old).count(), 1, "{old}");
        let text = GOOD.replace(old, new);
        assert_eq!(refused(text.as_bytes()), *line, "{old} -> {new}");
    }
}

#[test]
fn structure() {
    check(&[
        (
            r#"{"topology""#,
            r#"{"x":1,"topology""#,
            "x: no such field; a snapshot has topology, groups, tasks",
        ),
        (
            r#""nodes":["#,
            r#""node\u001b":3,"nodes":["#,
            "topology.node\\u{1b}: no such field; the topology has nodes, domains",
        ),
        (
            r#""weight":200"#,
            r#""wieght":200"#,
            "tasks[1].wieght: no such field; a task has id, weight, demand, domain, cpus, group, \
             process, preferred_nodes",
        ),
        (
            r#""weight":200"#,
            r#""weight":200,"weight":200"#,
            "tasks[1].weight: it is given twice; give it once",
        ),
        (
            r#""70":21"#,
            r#""1":10"#,
            "topology.nodes[0].distance.1: it is given twice; give it once",
        ),
        (
            r#""weight":200,"#,
            "",
            "tasks[1].weight: it is missing; give a number above 0 and at most 10000",
        ),
        (
            r#","distance":{"70":10}"#,
            "",
            "topology.nodes[1].distance: it is missing; give the distance to each node, such as \
             {\"0\":10,\"1\":21}",
        ),
        (
            r#"{"id":102,"weight":200,"demand":0.75,"domain":6}"#,
            "[102,200,0.75,6]",
            "tasks[1]: a list is not a task; give an object with id, weight, demand, domain, \
             cpus, group, process, preferred_nodes",
        ),
        (
            r#"{"path":"/a/b","weight":400}"#,
            "null",
            "groups[1]: null is not a group; give an object with path, weight, quota",
        ),
        (
            r#""preferred_nodes":[1]"#,
            r#""preferred_nodes":1"#,
            "tasks[0].preferred_nodes: 1 is not a list; give a list of nodes, such as [0,1]",
        ),
        (
            r#""quota":2.5"#,
            r#""quota":null"#,
            "groups[0].quota: null is not a quota; give a number of CPUs, 0 or more",
        ),
    ]);
}

const WEIGHT: &str = "is not a weight; give a number above 0 and at most 10000";

#[test]
fn numbers() {
    for (given, shown) in [
        ("0", "0"),
        ("0.0", "0.0"),
        ("-1", "-1"),
        ("10000.1", "10000.1"),
        ("10001", "10001"),
        ("1e300", "1e300"),
        (r#""100""#, "'100'"),
        ("true", "true"),
        ("[1]", "a list"),
        ("{}", "an object"),
    ] {
        for (field, place) in [("200", "tasks[1]"), ("400", "groups[1]")] {
            let text = GOOD.replace(
                &format!("\"weight\":{field}"),
                &format!("\"weight\":{given}"),
            );
            let line = format!("{place}.weight: {shown} {WEIGHT}");
            assert_eq!(refused(text.as_bytes()), line);
        }
    }
    const DEMAND: &str = "is not a demand; give a number of CPUs from 0 to 1";
    for given in ["-0.1", "1.0001", "2", "null"] {
        let text = GOOD.replace("0.75", given);
        let line = format!("tasks[1].demand: {given} {DEMAND}");
        assert_eq!(refused(text.as_bytes()), line);
    }
    const CAPACITY: &str =
        "is not the capacity of this domain; give a number of CPUs from 0 to the 4 it has";
    for given in ["-1", "4.5", "null"] {
        let text = GOOD.replace("3.5", given);
        let line = format!("topology.domains[0].capacity: {given} {CAPACITY}");
        assert_eq!(refused(text.as_bytes()), line);
    }
    for given in ["-1", "-0.5"] {
        let text = GOOD.replace("2.5", given);
        let line =
            format!("groups[0].quota: {given} is not a quota; give a number of CPUs, 0 or more");
        assert_eq!(refused(text.as_bytes()), line);
    }
}

#[test]
fn numbers_that_are_not_finite() {
    for (field, place) in [
        ("3.5", "topology.domains[0].capacity"),
        ("2.5", "groups[0].quota"),
        ("300", "groups[0].weight"),
        ("200", "tasks[1].weight"),
        ("0.75", "tasks[1].demand"),
    ] {
        let error = refused(GOOD.replace(field, "1e999").as_bytes());
        assert!(
            error.starts_with(&format!("{place}: number out of range"))
                && error.ends_with("give a finite number"),
            "{error}"
        );
        for given in ["NaN", "Infinity", "-Infinity"] {
            let error = refused(GOOD.replace(field, given).as_bytes());
            let name = given.trim_start_matches('-');
            let line = format!("{place}: JSON has no {name}; give a finite number");
            assert_eq!(error, line);
        }
    }
}

#[test]
fn ids() {
    for (old, place, what, most) in [
        (
            r#""id":1,"#,
            "topology.nodes[0].id",
            "a node's id",
            u64::from(u32::MAX),
        ),
        (
            r#""id":5,"#,
            "topology.domains[0].id",
            "a domain's id",
            u64::MAX,
        ),
        (r#""id":102,"#, "tasks[1].id", "a task's id", u64::MAX),
        (
            r#""domain":6"#,
            "tasks[1].domain",
            "a domain's id",
            u64::MAX,
        ),
        (
            r#""process":77"#,
            "tasks[0].process",
            "a process id",
            u64::from(u32::MAX),
        ),
    ] {
        let (name, rest) = old.split_once(':').expect("a field");
        let end = if rest.ends_with(',') { "," } else { "" };
        for (given, shown) in [
            ("-1", "-1"),
            ("1.0", "1.0"),
            ("0.5", "0.5"),
            ("1e2", "100.0"),
            (r#""1""#, "'1'"),
            ("null", "null"),
            ("18446744073709551616", "1.8446744073709552e19"),
        ] {
            let text = GOOD.replace(old, &format!("{name}:{given}{end}"));
            let line =
                format!("{place}: {shown} is not {what}; give a whole number from 0 to {most}");
            assert_eq!(refused(text.as_bytes()), line);
        }
    }
    check(&[
        (
            r#""id":102"#,
            r#""id":101"#,
            "tasks[1].id: tasks[0] has the id 101 already; give each task an id of its own",
        ),
        (
            r#""id":6"#,
            r#""id":5"#,
            "topology.domains[1].id: domain 5 is declared already, in topology.domains[0]; give \
             each domain once",
        ),
        (
            r#"{"id":70,"#,
            r#"{"id":1,"#,
            "topology.nodes[1].id: node 1 is declared already, in topology.nodes[0]; give each \
             node once",
        ),
    ]);
}

#[test]
fn cpus() {
    check(&[
        (
            r#""4-7""#,
            r#""3-7""#,
            "topology.domains[1].cpus: CPU 3 is in topology.domains[0] already; give each CPU to \
             one domain",
        ),
        (
            r#""4-7""#,
            r#""""#,
            "topology.domains[1].cpus: the list of CPUs is empty; give one such as 0-3,8",
        ),
        (
            r#""4-7""#,
            r#""7-4""#,
            "topology.domains[1].cpus: the range 7-4 runs backwards; write 4-7",
        ),
        (
            r#""4-7""#,
            "[4,5]",
            "topology.domains[1].cpus: a list is not a list of CPUs; give a text such as '0-3,8'",
        ),
        (
            r#""1-2""#,
            r#""1,2,2""#,
            "tasks[0].cpus: '1,2,2' names CPU 2 twice; give each CPU once",
        ),
        (
            r#""1-2""#,
            r#""1-8""#,
            "tasks[0].cpus: CPU 8 is in no domain; give CPUs that topology.domains has",
        ),
        (
            r#""1-2""#,
            r#""x\n""#,
            "tasks[0].cpus: 'x' is not a list of CPUs; give one such as 0-3,8",
        ),
        (
            r#""1-2""#,
            "3",
            "tasks[0].cpus: 3 is not a list of CPUs; give a text such as '0-3,8'",
        ),
    ]);
}

#[test]
fn what_is_not_declared() {
    check(&[
        (
            r#""node":70"#,
            r#""node":2"#,
            "topology.domains[1].node: node 2 is not declared in topology.nodes; declare it, or \
             give another",
        ),
        (
            r#""domain":6"#,
            r#""domain":7"#,
            "tasks[1].domain: domain 7 is not declared in topology.domains; declare it, or give \
             another",
        ),
        (
            r#""group":"/a/b""#,
            r#""group":"/c""#,
            "tasks[0].group: group '/c' is not declared in groups; declare it, or give another",
        ),
        (
            r#""group":"/a/b""#,
            r#""group":0"#,
            "tasks[0].group: 0 is not a group; give a path such as /a or /a/b",
        ),
        (
            r#":[1]"#,
            ":[1,2]",
            "tasks[0].preferred_nodes[1]: node 2 is not declared in topology.nodes; declare it, \
             or give another",
        ),
        (
            r#":[1]"#,
            ":[1,1]",
            "tasks[0].preferred_nodes[1]: node 1 is given twice; give it once",
        ),
        (
            r#":[1]"#,
            ":[70]",
            "tasks[0].preferred_nodes[0]: node 70 cannot be preferred; only nodes 0 to 63 can",
        ),
        (
            r#""70":21"#,
            r#""2":21"#,
            "topology.nodes[0].distance.2: node 2 is not declared in topology.nodes; declare it, or leave the distance out",
        ),
    ]);
}

#[test]
fn distances() {
    check(&[
        (
            r#""70":21"#,
            r#""70":9"#,
            "topology.nodes[0].distance.70: 9 is not a distance; give a whole number from 10 to 255",
        ),
        (
            r#""70":21"#,
            r#""70":256"#,
            "topology.nodes[0].distance.70: 256 is not a distance; give a whole number from 10 to 255",
        ),
        (
            r#""70":21"#,
            r#""70":20.5"#,
            "topology.nodes[0].distance.70: 20.5 is not a distance; give a whole number from 10 to 255",
        ),
        (
            r#""1":10"#,
            r#""1":11"#,
            "topology.nodes[0].distance.1: 11 is not a node's distance to itself; give 10",
        ),
        (
            r#""1":10"#,
            r#""01":10"#,
            "topology.nodes[0].distance.01: this is not a node's id; give whole numbers in quotes",
        ),
        (
            r#"{"70":10}"#,
            "[10]",
            "topology.nodes[1].distance: a list is not an object; give the distance to each node, \
             such as {\"0\":10,\"1\":21}",
        ),
    ]);
}

#[test]
fn groups() {
    for path in ["a", "", "/a/", "//a", "/a//b", "/.", "/a/../b", "/a\\u0000"] {
        let text = GOOD.replace(r#""path":"/a/b""#, &format!("\"path\":\"{path}\""));
        let error = refused(text.as_bytes());
        assert!(error.starts_with("groups[1].path: '"), "{error}");
        let end = "is not the path of a group; give a path such as /a or /a/b";
        assert!(error.ends_with(end), "{error}");
    }
    check(&[
        (
            r#""path":"/a/b""#,
            r#""path":"/a""#,
            "groups[1].path: /a is declared already, in groups[0]; give each group once",
        ),
        (
            r#""path":"/a/b""#,
            r#""path":"/b/c""#,
            "groups[1].path: its parent /b is not declared; declare it too",
        ),
    ]);
}

#[test]
fn how_many_domains() {
    let machine = |domains: &str| {
        format!(
            r#"{{"topology":{{"nodes":[{{"id":0,"distance":{{}}}}],"domains":[{domains}]}},"tasks":[]}}"#
        )
    };
    assert_eq!(
        refused(machine("").as_bytes()),
        "topology.domains: there are no domains; give at least one"
    );
    let many = |count: usize| {
        let domain = |id| format!(r#"{{"id":{id},"node":0,"cpus":"{id}"}}"#);
        let domains: Vec<String> = (0..count).map(domain).collect();
        machine(&domains.join(","))
    };
    assert_eq!(input(&many(512)).snapshot.domains.len(), 512);
    assert_eq!(
        refused(many(513).as_bytes()),
        "topology.domains[512]: it is one too many; give at most 512"
    );
}

#[test]
fn what_is_not_json() {
    for (text, start) in [
        (&b""[..], "the snapshot: it is empty"),
        (b" \n", "the snapshot: it is empty"),
        (b"\xff", "the snapshot: byte 0 is not UTF-8 text"),
        (
            b"{\"t\xc3\x28\":1}",
            "the snapshot: byte 3 is not UTF-8 text",
        ),
        (
            b"[]",
            "the snapshot: a list is not a snapshot; give an object with",
        ),
        (b"3", "the snapshot: 3 is not a snapshot"),
        (
            b"{}",
            "topology: it is missing; give an object with nodes, domains",
        ),
        (b"{]", "the snapshot: this is not JSON"),
    ] {
        let error = refused(text);
        assert!(error.starts_with(start), "{error}");
    }
    let error = refused(format!("{GOOD} {{}}").as_bytes());
    assert!(error.contains("trailing characters"), "{error}");
    let deep = "{\"topology\":".repeat(100_000);
    let error = refused(deep.as_bytes());
    assert!(error.contains("recursion limit exceeded"), "{error}");
    assert!(
        error.starts_with("topology.topology.topology.topology....topology."),
        "{error}"
    );
    assert!(error.len() < 200, "{error}");
    assert_eq!(
        refused(format!("\u{feff}{GOOD}").as_bytes()),
        "the snapshot: it begins with a byte order mark; save it as UTF-8 without one"
    );
    let long = GOOD.replace("200", &format!("\"{}\"", "é".repeat(100_000)));
    assert!(refused(long.as_bytes()).len() < 300);
}

#[test]
fn few_bytes_cannot_ask_for_more_sets_of_cpus_than_memory_holds() {
    let file = |sets: usize| {
        let task = |id: usize| {
            let (before, after) = (id, id + 2);
            format!(
                r#"{{"id":{id},"weight":1,"demand":1,"domain":0,"cpus":"0-{before},{after}-65535"}}"#
            )
        };
        let tasks: Vec<String> = (0..sets).map(task).collect();
        let machine =
            r#"{"nodes":[{"id":0,"distance":{}}],"domains":[{"id":0,"node":0,"cpus":"0-65535"}]}"#;
        format!(r#"{{"topology":{machine},"tasks":[{}]}}"#, tasks.join(","))
    };
    // Each counts its 65,535 CPUs and 1024 for their numbers.
    read(file(126).as_bytes()).expect("126 fit");
    assert_eq!(
        refused(file(127).as_bytes()),
        "tasks[126].cpus: there are too many different sets of CPUs; give fewer, or smaller ones"
    );
}
