// SPDX-License-Identifier: GPL-2.0-only
//! What a load run reports: per worker, per group and in total.
//! Never reads a clock.

use serde::Serialize;

use super::group::Group;
use super::spinners::WorkerSample;
use crate::table::Table;

/// One worker over the measured window.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerReport {
    /// Name of its group.
    pub group: String,
    /// Process id.
    pub pid: u32,
    /// Nice value.
    pub nice: i32,
    /// CPU time in the window, in seconds.
    pub cpu_seconds: f64,
    /// Wall time between this worker's two readings, in seconds.
    pub window_seconds: f64,
    /// cpu_seconds / window_seconds: the CPUs it had.
    pub cpus_share: f64,
    /// CPU it ran on last.
    pub last_cpu: usize,
    /// Changes of CPU seen by sampling: a lower bound of its migrations.
    pub migrations_seen: u64,
}

/// A group's workers together, in CPUs.
#[derive(Clone, Debug, Serialize)]
pub struct GroupReport {
    /// Name.
    pub group: String,
    /// Nice value.
    pub nice: i32,
    /// Workers.
    pub workers: usize,
    /// Mean of the workers' CPUs.
    pub mean: f64,
    /// Least.
    pub min: f64,
    /// Greatest.
    pub max: f64,
    /// Sum.
    pub total: f64,
}

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Asked length of the window, in seconds.
    pub seconds: f64,
    /// CPUs all workers had together.
    pub utilisation: f64,
    /// Per group, in the order given.
    pub groups: Vec<GroupReport>,
    /// Per worker, in the order of the groups.
    pub workers: Vec<WorkerReport>,
}

impl Report {
    /// Builds the report from the readings at the ends of the window and the changes of CPU seen
    /// inside it, one per worker.
    pub fn new(
        seconds: f64,
        groups: &[Group],
        before: &[WorkerSample],
        after: &[WorkerSample],
        migrations: &[u64],
    ) -> Self {
        let workers: Vec<WorkerReport> = before
            .iter()
            .zip(after)
            .zip(migrations)
            .map(|((start, end), seen)| worker_report(&groups[end.group], start, end, *seen))
            .collect();
        let group_reports = groups
            .iter()
            .enumerate()
            .map(|(place, group)| {
                let shares: Vec<f64> = after
                    .iter()
                    .zip(&workers)
                    .filter(|(sample, _)| sample.group == place)
                    .map(|(_, worker)| worker.cpus_share)
                    .collect();
                group_report(group, &shares)
            })
            .collect();
        Self {
            seconds,
            utilisation: workers.iter().map(|worker| worker.cpus_share).sum(),
            groups: group_reports,
            workers,
        }
    }

    /// The report as a table for people.
    pub fn to_table(&self) -> String {
        let mut table = Table::new(&["group", "nice", "workers", "mean", "min", "max", "total"]);
        for group in &self.groups {
            table.row([
                group.group.clone(),
                group.nice.to_string(),
                group.workers.to_string(),
                format!("{:.4}", group.mean),
                format!("{:.4}", group.min),
                format!("{:.4}", group.max),
                format!("{:.3}", group.total),
            ]);
        }
        format!(
            "{table}\n{} workers had {:.3} CPUs together over {} s (columns in CPUs)\n",
            self.workers.len(),
            self.utilisation,
            self.seconds
        )
    }
}

fn worker_report(
    group: &Group,
    start: &WorkerSample,
    end: &WorkerSample,
    migrations_seen: u64,
) -> WorkerReport {
    let cpu_seconds = end.cpu_ns.saturating_sub(start.cpu_ns) as f64 / 1e9;
    let window_seconds = end.at_ns.saturating_sub(start.at_ns).max(1) as f64 / 1e9;
    WorkerReport {
        group: group.name.clone(),
        pid: end.pid,
        nice: group.nice,
        cpu_seconds,
        window_seconds,
        cpus_share: cpu_seconds / window_seconds,
        last_cpu: end.last_cpu,
        migrations_seen,
    }
}

fn group_report(group: &Group, shares: &[f64]) -> GroupReport {
    let total: f64 = shares.iter().sum();
    GroupReport {
        group: group.name.clone(),
        nice: group.nice,
        workers: shares.len(),
        mean: total / shares.len().max(1) as f64,
        min: shares.iter().copied().fold(f64::INFINITY, f64::min),
        max: shares.iter().copied().fold(0.0, f64::max),
        total,
    }
}

#[cfg(test)]
mod unit {
    use super::Report;
    use crate::load::{Group, WorkerSample};

    #[test]
    fn groups_are_summed_apart() {
        let groups = [Group::spinners(2, 0), Group::spinners(1, 5)];
        let at = |pid, group, cpu_ns, at_ns| WorkerSample {
            pid,
            group,
            cpu_ns,
            at_ns,
            last_cpu: 3,
        };
        let before = [at(1, 0, 0, 0), at(2, 0, 0, 0), at(3, 1, 0, 0)];
        let after = [
            at(1, 0, 400, 1000),
            at(2, 0, 600, 1000),
            at(3, 1, 250, 1000),
        ];
        let report = Report::new(1.0, &groups, &before, &after, &[0, 1, 2]);
        assert!((report.utilisation - 1.25).abs() < 1e-9);
        assert!((report.groups[0].mean - 0.5).abs() < 1e-9);
        assert!((report.groups[0].min - 0.4).abs() < 1e-9);
        assert!((report.groups[1].total - 0.25).abs() < 1e-9);
        assert_eq!(report.workers[2].migrations_seen, 2);
        assert!(report.to_table().lines().all(|line| line.len() <= 100));
    }
}
