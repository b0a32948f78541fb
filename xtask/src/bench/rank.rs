// SPDX-License-Identifier: GPL-2.0-only
//! Owns what figures amount to: medians, ratios, who is best, whether a target is met.
//! Must never count a contender that failed as one that did well.

use super::results::{Better, FigureSpec, Measurement, Target};

/// The contender the others are held against.
pub const KERNEL: &str = "eevdf";
/// The contender that has targets.
pub const OURS: &str = "ballast";

/// One contender's figure over all turns.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Whose.
    pub scheduler: String,
    /// Ascending.
    values: Vec<f64>,
    /// Why turns have no value, each reason once.
    pub failures: Vec<String>,
    /// Turns without a value.
    pub failed_turns: usize,
}

impl Summary {
    /// The contender's figure in these measurements.
    pub fn of(measurements: &[Measurement], scheduler: &str, figure: &str) -> Summary {
        let own = measurements
            .iter()
            .filter(|one| one.scheduler == scheduler && one.figure == figure);
        let mut summary = Summary {
            scheduler: scheduler.to_string(),
            values: Vec::new(),
            failures: Vec::new(),
            failed_turns: 0,
        };
        for one in own {
            match one.value {
                Some(value) => summary.values.push(value),
                None => {
                    summary.failed_turns += 1;
                    let why = one.missing.clone().unwrap_or_default();
                    if !summary.failures.contains(&why) {
                        summary.failures.push(why);
                    }
                }
            }
        }
        summary.values.sort_by(f64::total_cmp);
        summary
    }

    /// The median, if there is any value.
    pub fn median(&self) -> Option<f64> {
        let middle = self.values.len() / 2;
        match self.values.len() % 2 {
            _ if self.values.is_empty() => None,
            1 => Some(self.values[middle]),
            _ => Some(f64::midpoint(self.values[middle - 1], self.values[middle])),
        }
    }

    /// The least and the greatest.
    pub fn range(&self) -> Option<(f64, f64)> {
        Some((*self.values.first()?, *self.values.last()?))
    }
}

/// What became of a figure's targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has none.
    Untargeted,
    /// All hold.
    Met,
    /// One does not.
    Missed,
    /// One cannot be judged: there is no figure to judge, or to hold it against.
    Unknown,
}

/// `value` as a multiple of the kernel's own scheduler's.
pub fn ratio(summaries: &[Summary], scheduler: &str) -> Option<f64> {
    let median = |name: &str| {
        let found = summaries.iter().find(|one| one.scheduler == name);
        found.and_then(Summary::median)
    };
    let base = median(KERNEL).filter(|base| *base != 0.0)?;
    Some(median(scheduler)? / base)
}

/// The peer with the best median.
pub fn best_peer(summaries: &[Summary], better: Better) -> Option<(&str, f64)> {
    let peers = summaries
        .iter()
        .filter(|one| one.scheduler != KERNEL && one.scheduler != OURS)
        .filter_map(|one| Some((one.scheduler.as_str(), one.median()?)));
    match better {
        Better::Less => peers.min_by(|a, b| a.1.total_cmp(&b.1)),
        Better::More => peers.max_by(|a, b| a.1.total_cmp(&b.1)),
        Better::Neither => None,
    }
}

/// Whether our median meets every target. A turn of ours without a value is a miss.
pub fn verdict(spec: &FigureSpec, summaries: &[Summary]) -> Verdict {
    if spec.targets.is_empty() {
        return Verdict::Untargeted;
    }
    let Some(ours) = summaries.iter().find(|one| one.scheduler == OURS) else {
        return Verdict::Unknown;
    };
    if ours.failed_turns > 0 {
        return Verdict::Missed;
    }
    let Some(ours) = ours.median() else {
        return Verdict::Unknown;
    };
    let held: Vec<Option<bool>> = spec
        .targets
        .iter()
        .map(|target| holds(target, ours, spec.better, summaries))
        .collect();
    if held.contains(&Some(false)) {
        Verdict::Missed
    } else if held.contains(&None) {
        Verdict::Unknown
    } else {
        Verdict::Met
    }
}

fn holds(target: &Target, ours: f64, better: Better, summaries: &[Summary]) -> Option<bool> {
    let theirs = |name: &String| {
        let found = summaries.iter().find(|one| one.scheduler == *name);
        found.and_then(Summary::median)
    };
    Some(match target {
        Target::AtMost(most) => ours <= *most,
        Target::AtLeast(least) => ours >= *least,
        Target::TimesAtMost(name, times) => ours <= times * theirs(name)?,
        Target::TimesAtLeast(name, times) => ours >= times * theirs(name)?,
        Target::NoWorseThanPeers => {
            let (_, best) = best_peer(summaries, better)?;
            match better {
                Better::Less => ours <= best,
                Better::More => ours >= best,
                Better::Neither => return None,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(scheduler: &str, values: &[Option<f64>]) -> Summary {
        let all: Vec<Measurement> = values
            .iter()
            .map(|value| Measurement {
                turn: 1,
                scheduler: scheduler.into(),
                work: "w".into(),
                figure: "f".into(),
                value: *value,
                missing: value.is_none().then(|| "ejected".to_string()),
            })
            .collect();
        Summary::of(&all, scheduler, "f")
    }

    fn spec(better: Better, targets: Vec<Target>) -> FigureSpec {
        FigureSpec {
            key: "f".into(),
            title: String::new(),
            unit: String::new(),
            better,
            targets,
        }
    }

    #[test]
    fn medians_ranges_and_failures() {
        let summary = measured("lavd", &[Some(3.0), None, Some(1.0), None]);
        assert_eq!(summary.median(), Some(2.0));
        assert_eq!(summary.range(), Some((1.0, 3.0)));
        assert_eq!(summary.failures, ["ejected"]);
        assert_eq!(summary.failed_turns, 2);
        assert_eq!(measured("lavd", &[None]).median(), None);
    }

    #[test]
    fn ratios_need_both_sides() {
        let both = [measured(KERNEL, &[Some(2.0)]), measured(OURS, &[Some(3.0)])];
        assert_eq!(ratio(&both, OURS), Some(1.5));
        assert_eq!(ratio(&both, "rusty"), None);
        let zero = [measured(KERNEL, &[Some(0.0)]), measured(OURS, &[Some(3.0)])];
        assert_eq!(ratio(&zero, OURS), None);
    }

    #[test]
    fn the_best_peer_depends_on_the_direction_and_is_neither_kernel_nor_ours() {
        let all = [
            measured(KERNEL, &[Some(1.0)]),
            measured(OURS, &[Some(9.0)]),
            measured("rusty", &[Some(2.0)]),
            measured("lavd", &[Some(4.0)]),
            measured("p2dq", &[None]),
        ];
        assert_eq!(best_peer(&all, Better::Less), Some(("rusty", 2.0)));
        assert_eq!(best_peer(&all, Better::More), Some(("lavd", 4.0)));
        assert_eq!(best_peer(&all[..2], Better::Less), None);
        assert_eq!(best_peer(&all, Better::Neither), None);
    }

    #[test]
    fn verdicts() {
        let all = [
            measured(KERNEL, &[Some(1.0)]),
            measured(OURS, &[Some(1.5)]),
            measured("rusty", &[Some(2.0)]),
        ];
        let judge = |targets| verdict(&spec(Better::Less, targets), &all);
        let times = |name: &str, most| Target::TimesAtMost(name.into(), most);
        assert_eq!(judge(vec![]), Verdict::Untargeted);
        assert_eq!(judge(vec![Target::NoWorseThanPeers]), Verdict::Met);
        assert_eq!(judge(vec![Target::AtMost(1.4)]), Verdict::Missed);
        assert_eq!(judge(vec![times("rusty", 0.8)]), Verdict::Met);
        assert_eq!(judge(vec![times("lavd", 0.8)]), Verdict::Unknown);
        let missed = vec![times("lavd", 0.8), times(KERNEL, 1.0)];
        assert_eq!(judge(missed), Verdict::Missed);
    }

    #[test]
    fn a_turn_of_ours_that_failed_is_a_miss() {
        let all = [measured(OURS, &[Some(0.0), None])];
        let spec = spec(Better::Less, vec![Target::AtMost(1.0)]);
        assert_eq!(verdict(&spec, &all), Verdict::Missed);
    }
}
