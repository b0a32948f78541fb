// SPDX-License-Identifier: GPL-2.0-only
//! CPUs as whole numbers, so that sums are exact and cuts do not depend on order.
//! Never holds more CPUs than a u64 can: sums stop there.

/// Units of one CPU. At 2^40 a unit is 10^-12 CPU, and 4096 CPUs still are a
/// whole number that an f64 holds.
const ONE_CPU: f64 = (1u64 << 40) as f64;

/// More than any machine has, and little enough that some may be added.
pub(super) const UNBOUNDED: u64 = 1 << 60;

/// A task that lacks no more than this many CPUs, a microsecond in a quarter of
/// an hour, lacks nothing: that much is rounding.
pub(super) const NOTICEABLE: f64 = 1e-9;

/// A number of CPUs, rounded down: what just fits must not be too much.
pub(super) fn units(cpus: f64) -> u64 {
    ((cpus * ONE_CPU) as u64).min(UNBOUNDED)
}

/// The capacity of a CPU, to the nearest unit. Not a number above 0: nothing.
pub(super) fn capacity_units(cpus: f64) -> u64 {
    units(cpus + 0.5 / ONE_CPU)
}

/// The number of CPUs.
pub(super) fn cpus(units: u64) -> f64 {
    units as f64 / ONE_CPU
}
