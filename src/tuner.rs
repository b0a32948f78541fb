// SPDX-License-Identifier: GPL-2.0-only
//! The tuner: slice, stealing masks and preemption from utilisation.
//! Never reads /proc, the clock or a map: it takes values and returns values.

use crate::ids::CpuId;

/// How busy one CPU was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuUse {
    /// The CPU.
    pub cpu: CpuId,
    /// Share of the time since the last tuning that was not idle, 0..=1. A
    /// number outside counts as the nearest one inside, NaN as 1: a CPU nothing
    /// is known about is no place to send tasks to.
    pub busy: f64,
}

/// What the tuner sees: the CPUs that are online.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observation {
    /// One entry a CPU, in any order.
    pub cpus: Vec<CpuUse>,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TunerConfig {
    /// Slice while the machine has idle time, in ns.
    pub slice_underutil_ns: u64,
    /// Slice while it has none, in ns.
    pub slice_overutil_ns: u64,
    /// CPUs busier than this, in percent, are not handed tasks of other domains
    /// at wake-up. 0: none is; 100: every CPU is, always.
    pub direct_greedy_under: f64,
    /// CPUs busier than this, in percent, are not kicked to steal from other
    /// domains. 0: none is; 100: every CPU is, always.
    pub kick_greedy_under: f64,
}

/// What the scheduler is to use until the next tuning.
#[derive(Clone, Debug, PartialEq)]
pub struct Tuning {
    /// Slice, in ns.
    pub slice_ns: u64,
    /// How much earlier a waking task's deadline must be than a running task's
    /// to preempt it, in ns.
    pub preempt_margin_ns: u64,
    /// Whether each CPU may be handed remote tasks at wake-up. In the order of
    /// the observation.
    pub direct: Vec<(CpuId, bool)>,
    /// Whether each CPU may be kicked to steal. In the order of the observation.
    pub kick: Vec<(CpuId, bool)>,
    /// Mean over the CPUs, 0..=1; 0 without CPUs.
    pub utilisation: f64,
    /// Whether the machine counts as having no idle time.
    pub saturated: bool,
}

impl Tuning {
    /// Whether anything the scheduler has to know is different.
    pub fn differs_from(&self, other: &Tuning) -> bool {
        (self.slice_ns, self.preempt_margin_ns) != (other.slice_ns, other.preempt_margin_ns)
            || self.direct != other.direct
            || self.kick != other.kick
    }
}

/// Above this utilisation the machine counts as saturated. Not 1: a saturated
/// machine shows some idle ticks while tasks move and the daemon runs.
const SATURATED_ABOVE: f64 = 0.99;

/// Below this it stops counting as saturated. Between the two nothing changes,
/// so that the slice does not flap with the noise of a 100 ms sample.
const IDLE_BELOW: f64 = 0.95;

/// The least lead that preempts, in ns. A switch and the cold caches after it
/// cost some 10 µs; half a millisecond keeps that near 2 %.
const MARGIN_MIN_NS: u64 = 500_000;

/// The largest lead asked for, in ns. Measured beside hogs and with hackbench on 8
/// emulated CPUs: more makes woken tasks wait longer, less brings them nothing.
const MARGIN_MAX_NS: u64 = 1_500_000;

/// Decides slice, masks and margin. `previous` is the last decision, for
/// hysteresis.
pub fn tune(observation: &Observation, config: &TunerConfig, previous: Option<&Tuning>) -> Tuning {
    let utilisation = mean_busy(observation);
    let enough = match previous {
        Some(previous) if previous.saturated => IDLE_BELOW,
        _ => SATURATED_ABOVE,
    };
    let saturated = utilisation >= enough;
    Tuning {
        slice_ns: if saturated {
            config.slice_overutil_ns
        } else {
            config.slice_underutil_ns
        },
        preempt_margin_ns: preempt_margin_ns(saturated, config),
        direct: mask(observation, config.direct_greedy_under),
        kick: mask(observation, config.kick_greedy_under),
        utilisation,
        saturated,
    }
}

/// While there is idle time, the preempted task soon finds another CPU: the
/// least lead will do. On a saturated machine it goes back to a queue, and a
/// waking task waits at most a slice for a CPU anyway: ask for a greater lead.
fn preempt_margin_ns(saturated: bool, config: &TunerConfig) -> u64 {
    if saturated {
        config.slice_overutil_ns.clamp(MARGIN_MIN_NS, MARGIN_MAX_NS)
    } else {
        MARGIN_MIN_NS
    }
}

fn mask(observation: &Observation, under_percent: f64) -> Vec<(CpuId, bool)> {
    let allows = |busy: f64| under_percent >= 100.0 || 100.0 * busy < under_percent;
    observation
        .cpus
        .iter()
        .map(|cpu| (cpu.cpu, allows(clean(cpu.busy))))
        .collect()
}

fn mean_busy(observation: &Observation) -> f64 {
    match observation.cpus.len() {
        0 => 0.0,
        count => {
            observation
                .cpus
                .iter()
                .map(|cpu| clean(cpu.busy))
                .sum::<f64>()
                / count as f64
        }
    }
}

fn clean(busy: f64) -> f64 {
    if busy.is_nan() {
        1.0
    } else {
        busy.clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests;
