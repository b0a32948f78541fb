// SPDX-License-Identifier: GPL-2.0-only
//! What the files of a control group say: its weight and its quota.
//! Never fails: what cannot be read or understood counts as not set.

use std::io;

use log::debug;

use super::Folders;
use crate::weight::weight_of_kernel;

/// What is in `cpu.weight` unless somebody writes to it: that of a nice-0 task.
const DEFAULT_WEIGHT: f64 = 100.0;

/// The kernel's WEIGHT_IDLEPRIO, that of a group with `cpu.idle`.
const KERNEL_WEIGHT_IDLE: u32 = 3;

/// What a group is given in competition with its siblings.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Settings {
    /// Nice 0 = 100.
    pub weight: f64,
    /// In CPUs.
    pub quota: f64,
}

/// There is no such file.
struct Absent;

/// The settings of the group at `path`; `None` if it has no `cpu.weight`: the
/// group has vanished, or the cpu controller is not enabled for it. `text` is
/// memory for the files.
pub(super) fn read(folders: &mut dyn Folders, path: &str, text: &mut String) -> Option<Settings> {
    let mut number = |file: &str, number_in: fn(&str) -> Option<f64>| {
        match folders.read(path, file, text) {
            Ok(()) => (),
            Err(error) if is_absence(&error) => return Err(Absent),
            Err(error) => {
                debug!("reading {file} of the control group {path}: {error}");
                return Ok(None);
            }
        }
        let number = number_in(text.trim_end());
        if number.is_none() {
            debug!("{file} of the control group {path} makes no sense: {text:?}");
        }
        Ok(number)
    };
    let weight = number("cpu.weight", weight_in).ok()?;
    // Kernels without idle groups or bandwidth control have no such files.
    let idle = number("cpu.idle", flag_in).unwrap_or(None);
    let quota = number("cpu.max", quota_in).unwrap_or(None);
    Some(Settings {
        weight: match idle {
            Some(1.0) => weight_of_kernel(KERNEL_WEIGHT_IDLE),
            _ => weight.unwrap_or(DEFAULT_WEIGHT),
        },
        quota: quota.unwrap_or(f64::INFINITY),
    })
}

/// ENODEV: the group was removed while its file was open.
fn is_absence(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn weight_in(text: &str) -> Option<f64> {
    let weight: u32 = text.parse().ok()?;
    (1..=10_000).contains(&weight).then_some(f64::from(weight))
}

fn flag_in(text: &str) -> Option<f64> {
    match text {
        "0" => Some(0.0),
        "1" => Some(1.0),
        _ => None,
    }
}

/// CPUs in a line such as `150000 100000`, or `max 100000`.
fn quota_in(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let period_us: u64 = period.parse().ok().filter(|us| *us > 0)?;
    if quota == "max" {
        return Some(f64::INFINITY);
    }
    let quota_us: u64 = quota.parse().ok().filter(|us| *us > 0)?;
    Some(quota_us as f64 / period_us as f64)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_understood() {
        assert_eq!(weight_in("100"), Some(100.0));
        assert_eq!(weight_in("10000"), Some(10_000.0));
        assert_eq!(quota_in("max 100000"), Some(f64::INFINITY));
        assert_eq!(quota_in("150000 100000"), Some(1.5));
        assert_eq!(quota_in("1000 1000000"), Some(0.001));
        assert_eq!((flag_in("0"), flag_in("1")), (Some(0.0), Some(1.0)));
    }

    #[test]
    fn what_it_never_writes_is_not() {
        for text in ["", "0", "10001", "-1", "1.5", "1e3", "99999999999", "x"] {
            assert_eq!(weight_in(text), None, "{text}");
        }
        for text in [
            "", "max", "100000", "1 0", "0 1", "-1 5", "max x", "1 2 3", "inf 1",
        ] {
            assert_eq!(quota_in(text), None, "{text}");
        }
        assert_eq!((flag_in(""), flag_in("2")), (None, None));
    }
}
