// SPDX-License-Identifier: GPL-2.0-only
//! The promised figures, measured several times in one boot and held to their targets.
//! Never widens a target: that is what tests do.

use anyhow::Result;

use crate::checks::{Bound, Figure, digits};
use crate::table::Table;
use crate::tests::{self, Test};

/// One figure over all repeats.
struct Series {
    test: &'static str,
    name: String,
    values: Vec<f64>,
    met: bool,
    /// The first repeat's: a target may follow from what the run saw.
    target: Bound,
}

/// Runs every measured test of `chosen` `repeat` times; prints the table; returns whether every
/// figure met its target every time and every run ended well.
///
/// # Errors
/// When the guest itself is not fit to measure in.
pub fn measure(chosen: &[Test], repeat: u32) -> Result<bool> {
    let mut series: Vec<Series> = Vec::new();
    let mut failures = Vec::new();
    for turn in 1..=repeat {
        for test in chosen.iter().filter(|test| test.measured) {
            println!("{} ({turn} of {repeat})", test.name);
            let outcome = tests::run(test, true)?;
            for figure in &outcome.figures {
                record(&mut series, test.name, figure);
            }
            let failed = outcome.failures.into_iter();
            failures.extend(failed.map(|why| format!("{} ({turn}): {why}", test.name)));
        }
    }
    print!("\n{}", table(&series));
    for failure in &failures {
        println!("FAILED {failure}");
    }
    Ok(failures.is_empty() && series.iter().all(|one| one.met))
}

fn record(series: &mut Vec<Series>, test: &'static str, figure: &Figure) {
    let met = figure.target.holds(figure.value);
    let known = series
        .iter_mut()
        .find(|one| one.test == test && one.name == figure.name);
    match known {
        Some(one) => {
            one.values.push(figure.value);
            one.met &= met;
        }
        None => series.push(Series {
            test,
            name: figure.name.clone(),
            values: vec![figure.value],
            met,
            target: figure.target,
        }),
    }
}

fn table(series: &[Series]) -> Table {
    let mut table = Table::new(&["figure", "target", "min", "median", "max", "met"]);
    for one in series {
        let mut values = one.values.clone();
        values.sort_by(f64::total_cmp);
        table.row([
            format!("{}: {}", one.test, one.name),
            one.target.to_string(),
            digits(values[0]),
            digits(median(&values)),
            digits(values[values.len() - 1]),
            if one.met { "yes" } else { "NO" }.to_owned(),
        ]);
    }
    table
}

/// Median of ascending values, of which there is at least one.
fn median(values: &[f64]) -> f64 {
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

#[cfg(test)]
mod unit {
    use super::{median, record, table};
    use crate::checks::{Bound, Figure};

    #[test]
    fn one_miss_in_three_is_a_miss() {
        let mut series = Vec::new();
        for value in [0.97, 0.90, 0.99] {
            let figure = Figure {
                name: "share".into(),
                value,
                test: Bound::AtLeast(0.8),
                target: Bound::AtLeast(0.95),
            };
            record(&mut series, "spread", &figure);
        }
        assert_eq!(series.len(), 1);
        assert!(!series[0].met);
        let text = table(&series).to_string();
        assert!(text.contains("0.900   0.970  0.990   NO"), "{text}");
    }

    #[test]
    fn medians() {
        assert!((median(&[1.0, 2.0, 9.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < 1e-9);
    }
}
