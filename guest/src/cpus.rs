// SPDX-License-Identifier: GPL-2.0-only
//! CPU lists as the kernel writes them: "0-3,8".
//! Never asks which CPUs exist.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Highest CPU number taken, so that a slip of the finger does not ask for gigabytes of mask.
/// Four times the largest machine the scheduler loads on.
const HIGHEST_CPU: usize = 16_383;

/// A set of CPU numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CpuList(BTreeSet<usize>);

impl CpuList {
    /// Reads "0-3,8"; the empty text is the empty set.
    ///
    /// # Errors
    /// A sentence naming the part that is wrong and what it should be.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first, part)?, number(last, part)?),
                None => (number(part, part)?, number(part, part)?),
            };
            if first > last {
                return Err(format!("`{part}` runs backwards; write {last}-{first}"));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }

    /// The CPUs in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().copied()
    }

    /// How many CPUs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest CPU number.
    pub fn highest(&self) -> Option<usize> {
        self.0.last().copied()
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: usize) -> bool {
        self.0.contains(&cpu)
    }
}

impl FromIterator<usize> for CpuList {
    fn from_iter<I: IntoIterator<Item = usize>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

fn number(text: &str, part: &str) -> Result<usize, String> {
    match text.trim().parse() {
        Ok(cpu) if cpu <= HIGHEST_CPU => Ok(cpu),
        Ok(cpu) => Err(format!("CPU {cpu} is too high; give at most {HIGHEST_CPU}")),
        Err(_) => Err(format!(
            "`{part}` is not a CPU or a range; write lists like 0-3,8"
        )),
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus: Vec<usize> = self.iter().collect();
        let runs = cpus.chunk_by(|a, b| a + 1 == *b);
        for (place, run) in runs.enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            match run {
                [one] => write!(f, "{one}")?,
                [first, .., last] => write!(f, "{first}-{last}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod unit {
    use super::CpuList;

    #[test]
    fn lists_survive_the_round_trip() {
        for text in ["", "0", "0-3", "0-3,8", "1,3,5-7"] {
            let list = CpuList::parse(text).expect("a good list");
            assert_eq!(list.to_string(), text);
        }
        assert_eq!(CpuList::parse("0-3,8\n").expect("a file's line").len(), 5);
    }

    #[test]
    fn bad_lists_say_what_is_wrong() {
        for (text, word) in [
            ("3-1", "backwards"),
            ("x", "not a CPU"),
            ("0-", "not a CPU"),
            ("0,,1", "not a CPU"),
            ("99999", "too high"),
        ] {
            let why = CpuList::parse(text).expect_err(text);
            assert!(why.contains(word), "{text}: {why}");
        }
    }
}
