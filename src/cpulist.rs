// SPDX-License-Identifier: GPL-2.0-only
//! CPU lists as sysfs and people write them: `0-3,8,12-15`.
//! Never expands a range while parsing: a hostile list costs no memory.
//!
//! Why not `scx_utils::cpumask`: `read_cpulist` takes `3-1` for an empty list
//! and expands `0-9999999999` into a vector before anyone can object, and
//! `Cpumask::from_cpulist` silently drops CPUs this machine does not have.

use std::fmt;
use std::str::FromStr;

use crate::ids::CpuId;
use crate::usage::shorten;

/// The largest CPU id accepted. Eight times the largest number of CPUs that
/// any architecture's kernel can be built for, so that a table indexed by CPU
/// stays small.
pub const MAX_CPU_ID: u32 = 65_535;

/// A non-empty set of CPUs, as ascending, disjoint, inclusive ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuList {
    ranges: Vec<(u32, u32)>,
}

/// Why a text is not a CPU list: one sentence without the name of its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuListError(String);

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CpuListError {}

impl CpuList {
    /// The list of these CPUs, or `None` without any. Duplicates count once.
    pub fn from_cpus(cpus: impl IntoIterator<Item = CpuId>) -> Option<CpuList> {
        let mut ids: Vec<u32> = cpus.into_iter().map(|cpu| cpu.0).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for id in ids {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
                _ => ranges.push((id, id)),
            }
        }
        (!ranges.is_empty()).then_some(CpuList { ranges })
    }

    /// The CPUs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = CpuId> + '_ {
        self.ranges
            .iter()
            .flat_map(|&(first, last)| (first..=last).map(CpuId))
    }

    /// Whether `cpu` is in the list.
    pub fn contains(&self, cpu: CpuId) -> bool {
        let after = self.ranges.partition_point(|&(first, _)| first <= cpu.0);
        after > 0 && cpu.0 <= self.ranges[after - 1].1
    }
}

/// Writes `cpus` as a list, for example `0-3,8`; nothing for no CPUs.
pub fn format_cpus(cpus: &[CpuId]) -> String {
    CpuList::from_cpus(cpus.iter().copied())
        .map(|list| list.to_string())
        .unwrap_or_default()
}

impl FromStr for CpuList {
    type Err = CpuListError;

    /// Parses ids and ascending ranges between commas. Order is free, spaces
    /// around an item are allowed; an empty item, a CPU named twice and an id
    /// above [`MAX_CPU_ID`] are errors.
    fn from_str(text: &str) -> Result<CpuList, CpuListError> {
        if text.trim().is_empty() {
            return Err(CpuListError(
                "the list of CPUs is empty; give one such as 0-3,8".into(),
            ));
        }
        let mut ranges = text
            .split(',')
            .map(|item| parse_item(item.trim(), text))
            .collect::<Result<Vec<_>, _>>()?;
        ranges.sort_unstable();
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
            return Err(CpuListError(format!(
                "'{}' names CPU {} twice; give each CPU once",
                shorten(text.trim()),
                pair[1].0
            )));
        }
        // Neighbours are joined, so that equal sets are equal lists.
        ranges.dedup_by(|next, previous| {
            let adjacent = previous.1 + 1 == next.0;
            if adjacent {
                previous.1 = next.1;
            }
            adjacent
        });
        Ok(CpuList { ranges })
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

/// One id or range; `list` is the whole text, for the error.
fn parse_item(item: &str, list: &str) -> Result<(u32, u32), CpuListError> {
    let (first, last) = item.split_once('-').unwrap_or((item, item));
    let (Some(first), Some(last)) = (parse_id(first)?, parse_id(last)?) else {
        return Err(CpuListError(format!(
            "'{}' is not a list of CPUs; give one such as 0-3,8",
            shorten(list.trim())
        )));
    };
    if first > last {
        return Err(CpuListError(format!(
            "the range {first}-{last} runs backwards; write {last}-{first}"
        )));
    }
    Ok((first, last))
}

/// One CPU id; `None` if `text` is not only digits.
fn parse_id(text: &str) -> Result<Option<u32>, CpuListError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(id) if id <= MAX_CPU_ID => Ok(Some(id)),
        _ => Err(CpuListError(format!(
            "CPU {} does not exist; the highest possible id is {MAX_CPU_ID}",
            shorten(text)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_lists() {
        for (text, printed) in [
            ("0", "0"),
            ("0-3", "0-3"),
            ("0-3,8,12-15", "0-3,8,12-15"),
            ("8,0-3", "0-3,8"),
            ("0,1,2,4", "0-2,4"),
            (" 0-1, 4\n", "0-1,4"),
            ("7-7", "7"),
            ("65535", "65535"),
        ] {
            let list: CpuList = text.parse().expect(text);
            assert_eq!(list.to_string(), printed, "{text}");
        }
    }

    #[test]
    fn bad_lists() {
        for (text, part) in [
            ("", "empty"),
            (" \n", "empty"),
            ("a", "not a list"),
            ("1,,2", "not a list"),
            ("1,", "not a list"),
            (",1", "not a list"),
            ("-1", "not a list"),
            ("1-", "not a list"),
            ("1-2-3", "not a list"),
            ("+1", "not a list"),
            ("0x3", "not a list"),
            ("0-7:2/4", "not a list"),
            ("1.5", "not a list"),
            ("3-1", "backwards"),
            ("0-3,2", "CPU 2 twice"),
            ("1,1", "CPU 1 twice"),
            ("65536", "CPU 65536 does not exist"),
            ("0-4294967296", "CPU 4294967296 does not exist"),
            ("0-99999999999999999999999", "does not exist"),
        ] {
            let error = text.parse::<CpuList>().expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
            assert!(error.len() < 160, "{text:?}: {error}");
        }
        let long = "9".repeat(100_000);
        assert!(long.parse::<CpuList>().expect_err("long").to_string().len() < 160);
    }

    #[test]
    fn membership() {
        let list: CpuList = "2-4,9".parse().expect("list");
        let inside: Vec<u32> = (0..12).filter(|&id| list.contains(CpuId(id))).collect();
        assert_eq!(inside, [2, 3, 4, 9]);
        assert_eq!(CpuList::from_cpus([]), None);
        assert_eq!(format_cpus(&[]), "");
    }

    proptest! {
        #![proptest_config(crate::seeds::config("cpulist"))]

        #[test]
        fn printing_and_parsing_agree(ids in prop::collection::btree_set(0u32..300, 1..80)) {
            let list = CpuList::from_cpus(ids.iter().map(|&id| CpuId(id))).expect("not empty");
            let again: CpuList = list.to_string().parse().expect("printed lists parse");
            prop_assert_eq!(&again, &list);
            prop_assert!(list.iter().eq(ids.iter().map(|&id| CpuId(id))));
        }

        #[test]
        fn any_text_is_handled(text in "[0-9,\\- a]{0,40}") {
            if let Ok(list) = text.parse::<CpuList>() {
                prop_assert_eq!(list.to_string().parse::<CpuList>(), Ok(list));
            }
        }
    }
}
