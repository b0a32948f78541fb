// SPDX-License-Identifier: GPL-2.0-only
//! docs/simulator.md says what the command takes and prints: all of it, and nothing else.
//! Never looks at how it says it.

use std::collections::BTreeMap;

use ballast_sim::run::{Options, run};
use ballast_sim::scenario::keys::{Holds, KEYS, Key};
use ballast_sim::scenario::{Scenario, parse};
use toml::{Table, Value};

fn document() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/simulator.md");
    std::fs::read_to_string(path).expect("readable")
}

fn example() -> String {
    let text = document();
    let (_, rest) = text.split_once("```toml\n").expect("an example");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Every key by its path, and what it holds.
fn all_keys(prefix: &str, keys: &'static [Key]) -> Vec<(String, &'static Holds)> {
    let mut all = Vec::new();
    for key in keys {
        let path = format!("{prefix}{}", key.name);
        match &key.holds {
            Holds::Table(inner) | Holds::Tables(inner) => {
                if path == "tasks.work" {
                    all.push((path.clone(), &key.holds));
                }
                all.extend(all_keys(&format!("{path}."), inner));
            }
            holds => all.push((path, holds)),
        }
    }
    all
}

/// The values in a file by the paths of their keys; the last of several tables counts.
fn values(prefix: &str, table: &Table, found: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        match value {
            Value::Table(inner) => values(&format!("{path}."), inner, found),
            Value::Array(items) if items.iter().all(Value::is_table) && !items.is_empty() => {
                for item in items.iter().filter_map(Value::as_table) {
                    values(&format!("{path}."), item, found);
                }
            }
            _ => (),
        }
        found.insert(path, value.clone());
    }
}

#[test]
fn the_example_has_every_key_and_runs() {
    let scenario = parse(&example()).expect("a good scenario");
    let mut found = BTreeMap::new();
    values("", &example().parse().expect("TOML"), &mut found);
    for (path, _) in all_keys("", KEYS) {
        assert!(found.contains_key(&path), "{path}");
    }
    let outcome = run(&scenario, Options::default()).expect("runs").outcome;
    assert!(outcome.is_good(), "{:?}", outcome.failures);
}

/// What a scenario has that gives only what it must.
fn defaults() -> BTreeMap<String, Value> {
    let work = [
        "kind = 'spin'",
        "kind = 'periodic', run_us = 1, sleep_us = 1",
        "kind = 'ring', run_us = 1",
    ];
    let tasks = (0..)
        .zip(work)
        .map(|(nth, work)| format!("[[tasks]]\nname = '{nth}'\nwork = {{ {work} }}\n"));
    let tasks: String = tasks.collect();
    let text = format!("name = 'x'\nseconds = 1\n{tasks}[[cgroups]]\npath = '/a'\n");
    let scenario: Scenario = parse(&text).expect("good");
    let mut found = BTreeMap::new();
    values("", &Table::try_from(&scenario).expect("TOML"), &mut found);
    found
}

#[test]
fn the_table_has_every_key_with_its_range_and_default() {
    let text = document();
    let row = |path: &str| {
        let start = format!("| `{path}` |");
        let line = text.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("no row for {path}"));
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[2].to_owned(), cells[3].to_owned())
    };
    let defaults = defaults();
    for (path, holds) in all_keys("", KEYS) {
        let (range, default) = row(&path);
        let wanted = match holds {
            Holds::Whole(least, most) | Holds::Rows(least, most) => format!("{least} to {most}"),
            Holds::Number(least, most) => format!("{least} to {most}"),
            other => other.wanted(),
        };
        assert_eq!(range, wanted, "{path}");
        if default != "required"
            && let Some(value) = defaults.get(&path)
        {
            assert_eq!(default, value.to_string(), "{path}");
        }
    }
}

#[test]
fn every_field_of_the_output_is_in_the_table() {
    let text = "name = 'x'\nseconds = 1\n[checks]\nwait_ms = 1\n\
                [[tasks]]\nname = 'a'\ncount = 40\nwork = { kind = 'spin' }\n";
    let outcome = run(&parse(text).expect("good"), Options::default());
    let outcome = outcome.expect("runs").outcome;
    let json = serde_json::to_value(&outcome).expect("JSON");
    let document = document();
    let (_, table) = document.split_once("| field | meaning |").expect("a table");
    let (table, _) = table.split_once("\n\n").expect("its end");
    for (name, value) in json.as_object().expect("an object") {
        let inner = match value {
            serde_json::Value::Array(items) => items.first().and_then(|item| item.as_object()),
            serde_json::Value::Object(inner) if name != "failed" => Some(inner),
            _ => None,
        };
        match inner {
            Some(inner) => {
                assert!(table.contains(&format!("`{name}")), "{name}");
                for field in inner.keys() {
                    assert!(table.contains(&format!(".{field}`")), "{name}.{field}");
                }
            }
            None => assert!(table.contains(&format!("`{name}`")), "{name}"),
        }
    }
}
