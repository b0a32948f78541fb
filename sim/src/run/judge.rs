// SPDX-License-Identifier: GPL-2.0-only
//! What groups of tasks were owed and had, and the checks that need the whole run.
//! Never looks into the scheduler: only at what the machine gave.

use scx_ballast::affinity::MaskTable;
use scx_ballast::config::Config;
use scx_ballast::entitlement::{CpuCapacity, Entitlements, Problem, Solver, TaskClaim};
use scx_ballast::ids::{CpuId, GroupId};
use scx_ballast::weight::weight_of_nice;

use super::{FailureOutcome, GroupOutcome, Moves, Outcome, failed};
use crate::checks::Check;
use crate::control::Control;
use crate::engine::task::{Role, State, Task};
use crate::engine::{Ns, World};
use crate::scenario::{Balancer, Scenario, Work};

/// What one task was owed and had, in CPUs.
struct Judged {
    group: u32,
    entitled: Option<f64>,
    /// The same if those who sleep between bursts wait for each as long as they may.
    entitled_most: Option<f64>,
    received: f64,
    spins: bool,
}

impl Judged {
    /// How far what it had is from what it was owed.
    fn off(&self) -> Option<f64> {
        let (owed, most) = (self.entitled?, self.entitled_most?);
        let behind = owed.min(most) - self.received;
        let ahead = self.received - owed.max(most);
        Some(behind.max(ahead).max(0.0))
    }
}

/// Looks at the whole run.
pub fn judge(
    scenario: &Scenario,
    config: &Config,
    seed: u64,
    balancer: Balancer,
    world: &mut World,
    control: &Control,
) -> Outcome {
    let span_ns = (world.now - world.steady_from).max(1);
    world.book_work();
    // A burst waits at most until the slice of who took the CPU meanwhile ends, at a
    // tick: a wake-up preempts only who has run for the margin.
    let burst_wait_us = (config.slice_overutil_ns + world.tick_ns) / 1000;
    let tasks = tasks(scenario, world, span_ns, burst_wait_us);
    // A scheduler that was ejected has given nobody a share of the rest.
    let steady = scenario.checks.steady_from_s.is_some() && world.ejected.is_none();
    let groups = groups(scenario, world, &tasks, span_ns);
    if steady && balancer == Balancer::Ballast {
        check_shares(scenario, world, &groups);
        check_moves(scenario, config, world, control);
    }
    let busy: f64 = (world.busy_shares(span_ns).iter().sum::<f64>()) / world.cpus.len() as f64;
    let totals = control.totals();
    let failures = world.checks.failures.iter().map(|failure| FailureOutcome {
        check: failure.check.name(),
        at_s: failure.at as f64 / 1e9,
        text: failure.text.clone(),
    });
    let failures = failures.collect();
    if !world.checks.all_kept() {
        world.dump_scheduler();
    }
    Outcome {
        scenario: scenario.name.clone(),
        seed,
        balancer: balancer.name(),
        hash: format!("{:016x}", world.trace.hash()),
        seconds: world.now as f64 / 1e9,
        cpus: world.cpus.len() as u32,
        utilisation: busy,
        share_error: share_error(&tasks),
        groups,
        rounds: control.rounds.len(),
        moves: Moves {
            requested: totals.requested,
            applied: totals.applied,
            refused: totals.refused,
            expired: totals.expired,
        },
        events: world.tally.events,
        switches: world.tally.switches,
        kicks: world.tally.kicks,
        cpu_migrations: world.tally.cpu_migrations,
        llc_migrations: world.tally.llc_migrations,
        node_migrations: world.tally.node_migrations,
        lock_wait_ms: world.tally.lock_wait_ns as f64 / 1e6,
        failed: failed(world),
        failures,
        dump: std::mem::take(&mut world.dump),
    }
}

/// The members of groups that live at the end, with what each was owed.
fn tasks(scenario: &Scenario, world: &World, span_ns: Ns, burst_wait_us: u64) -> Vec<Judged> {
    let live: Vec<&Task> = world
        .tasks
        .iter()
        .filter(|task| task.state != State::Dead && matches!(task.role, Role::Member { .. }))
        .collect();
    let owed = entitlements(scenario, world, &live, 0);
    let most = entitlements(scenario, world, &live, burst_wait_us);
    let judged = |(index, task): (usize, &&Task)| {
        let group = task.role.group().unwrap_or(0);
        let truth = task.truth_at(world.now);
        let ran = truth.all_run_ns() - truth.run_before_ns;
        Judged {
            group,
            entitled: owed.as_ref().map(|owed| owed[index]),
            entitled_most: most.as_ref().map(|most| most[index]),
            received: ran as f64 / span_ns as f64,
            spins: matches!(scenario.tasks[group as usize].work, Work::Spin {}),
        }
    };
    live.iter().enumerate().map(judged).collect()
}

/// What the live tasks are owed on the machine as it is at the end, if each burst waits
/// for so long; `None` where what some could use depends on others.
fn entitlements(
    scenario: &Scenario,
    world: &World,
    live: &[&Task],
    burst_wait_us: u64,
) -> Option<Vec<f64>> {
    let cpus: Vec<CpuCapacity> = world
        .online
        .iter()
        .map(|cpu| CpuCapacity {
            cpu: CpuId(cpu),
            capacity: 1.0,
        })
        .collect();
    let everywhere = world.cpus.len() as u32;
    let mut masks = MaskTable::default();
    let mut claims = Vec::new();
    for task in live {
        let group = &scenario.tasks[task.role.group()? as usize];
        let mask = if task.allowed.len() == everywhere {
            scx_ballast::ids::MaskId::ANYWHERE
        } else {
            masks.intern(task.allowed.words())
        };
        claims.push(TaskClaim {
            weight: weight_of_nice(task.c().static_prio - 120),
            demand: group.work.demand_after(burst_wait_us)?,
            mask,
            group: GroupId(task.cgroup as u32),
        });
    }
    let tree = world.cgroups.tree();
    let problem = Problem {
        cpus: &cpus,
        masks: &masks,
        groups: &tree,
        tasks: &claims,
    };
    let mut owed = Entitlements::default();
    Solver::default().solve(&problem, &mut owed);
    Some(owed.shares)
}

fn groups(scenario: &Scenario, world: &World, tasks: &[Judged], span_ns: Ns) -> Vec<GroupOutcome> {
    let seconds = span_ns as f64 / 1e9;
    let mut sums = world.checks.buried.clone();
    for task in &world.tasks {
        if task.state == State::Dead {
            continue;
        }
        let Some(group) = task.role.group() else {
            continue;
        };
        sums[group as usize].add(&task.truth_at(world.now));
    }
    (0u32..)
        .zip(&scenario.tasks)
        .map(|(group, spec)| {
            let members: Vec<&Judged> = tasks.iter().filter(|task| task.group == group).collect();
            let count = members.len().max(1) as f64;
            let had = sums[group as usize];
            let entitled: Option<f64> = members.iter().map(|task| task.entitled).sum();
            let lag = |task: &&Judged| Some(task.off()? * seconds);
            let worst = members.iter().filter_map(lag).fold(0.0, f64::max);
            // An empty sum is -0.0.
            let received = 0.0 + members.iter().map(|task| task.received).sum::<f64>();
            GroupOutcome {
                name: spec.name.clone(),
                tasks: members.len() as u32,
                entitled: entitled
                    .filter(|_| !members.is_empty())
                    .map(|sum| sum / count),
                received: received / count,
                progress: had.work_ns as f64 / span_ns as f64,
                bursts_per_s: had.bursts as f64 / seconds,
                longest_wait_ms: had.longest_wait_ns as f64 / 1e6,
                worst_lag_ms: entitled
                    .filter(|_| matches!(spec.work, Work::Spin {}) && !members.is_empty())
                    .map(|_| worst * 1e3),
            }
        })
        .collect()
}

fn share_error(tasks: &[Judged]) -> Option<f64> {
    let errors: Vec<f64> = tasks
        .iter()
        .filter(|task| task.spins)
        .filter_map(|task| Some(task.received / task.entitled.filter(|owed| *owed > 0.0)? - 1.0))
        .collect();
    let squares: f64 = errors.iter().map(|error| error * error).sum();
    (!errors.is_empty()).then(|| (squares / errors.len() as f64).sqrt())
}

/// Check 5, second half, and the shares of check 7.
fn check_shares(scenario: &Scenario, world: &mut World, groups: &[GroupOutcome]) {
    for group in groups {
        if let Some(lag) = group
            .worst_lag_ms
            .filter(|lag| *lag > scenario.checks.lag_ms)
        {
            let text = format!(
                "a task of `{}` is {lag:.0} ms off what it was owed; the bound is {} ms",
                group.name, scenario.checks.lag_ms
            );
            world.checks.fail(Check::Lag, world.now, text);
        }
        let (Some(owed), Some(bound)) = (group.entitled, scenario.checks.share) else {
            continue;
        };
        if (group.received - owed).abs() > bound {
            let text = format!(
                "tasks of `{}` had {:.3} CPUs each, were owed {owed:.3}; the bound is {bound}",
                group.name, group.received
            );
            world.checks.fail(Check::Settle, world.now, text);
        }
    }
}

/// Check 7: under a steady load the domains owe what they have, and moves stop.
fn check_moves(scenario: &Scenario, config: &Config, world: &mut World, control: &Control) {
    let steady = control
        .rounds
        .iter()
        .filter(|round| round.at >= world.steady_from);
    let rounds: Vec<_> = steady.copied().collect();
    if rounds.is_empty() || !config.load_balance {
        return;
    }
    let moves: usize = rounds.iter().map(|round| round.moves).sum();
    let each = moves as f64 / rounds.len() as f64;
    // A task that wakes or is stolen elsewhere may have to be answered by a move.
    let strays = world.tally.strays as f64 / rounds.len() as f64;
    if each > scenario.checks.moves_per_round + strays {
        let text = format!(
            "{each:.2} moves a round under a steady load; the bound is {}, and {strays:.2} \
             for tasks that changed domains by themselves",
            scenario.checks.moves_per_round
        );
        world.checks.fail(Check::Settle, world.now, text);
    }
    // A gap smaller than a task cannot be closed; demand is known to some percent.
    let nr_domains = config.layout.domains.len() as f64;
    let noise = 0.1 * world.cpus.len() as f64 / nr_domains;
    let off = rounds
        .iter()
        .filter(|round| round.gap > round.largest + noise)
        .count();
    if off * 2 > rounds.len() {
        let text = format!(
            "a domain was off its load by more than a task in {off} of {} steady rounds",
            rounds.len()
        );
        world.checks.fail(Check::Settle, world.now, text);
    }
}
