// SPDX-License-Identifier: GPL-2.0-only
//! The life of the scheduler process: load, attach, keep the steps in time,
//! serve statistics, detach. Never decides what to schedule where.

use std::io::Write;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use crossbeam::channel::select;
use log::{info, warn};
use scx_stats::prelude::StatsServer;

use crate::balancer::Balancer;
use crate::cli::Cli;
use crate::config::Config;
use crate::daemon::Daemon;
use crate::kernel::skel::Scheduler;
use crate::kernel::{Kernel, preflight};
use crate::load_balance::Plan;
use crate::snapshot_file::live::Live;
use crate::stats::{self, Answer, Metrics, Request};
use crate::topology::Machine;
use crate::utilisation::Meter;

/// How often the loop looks at `stop` and at the kernel's exit flag: soon enough
/// for a person who pressed Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs until `stop` is set or the kernel ejects the scheduler. When the kernel
/// asks for a restart (a CPU came that had no place), starts over with the
/// topology read anew.
///
/// # Errors
/// Anything that keeps the scheduler from running, or the kernel's reason for
/// ejecting it.
pub fn run(cli: &Cli, config: Config, stop: &Arc<AtomicBool>) -> Result<()> {
    preflight::check()?;
    scx_utils::try_set_rlimit_infinity();
    scx_utils::init_libbpf_logging(None);
    let printer = config.stats.map(|interval| print_stats(interval, stop));
    let mut config = config;
    while run_once(&config, stop)? {
        info!("restarting with the topology read anew");
        let machine = Machine::read(std::path::Path::new("/"))?;
        // Bad usage was refused at the start: what is wrong now came with the CPU.
        config = Config::from_cli(cli, &machine)
            .map_err(|error| anyhow!("restarting for a new CPU: {error}"))?;
    }
    stop.store(true, Ordering::Relaxed);
    if let Some(printer) = printer {
        // Heard within a tenth of a second; a panic there has been printed.
        let _ = printer.join();
    }
    Ok(())
}

fn print_stats(interval: Duration, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    let stop = stop.clone();
    std::thread::spawn(move || {
        if let Err(error) = stats::monitor(interval, &stop) {
            warn!("printing statistics: {error:#}");
        }
    })
}

/// One attachment; true if the kernel asks for another.
fn run_once(config: &Config, stop: &Arc<AtomicBool>) -> Result<bool> {
    let mut object = MaybeUninit::uninit();
    let mut scheduler = Scheduler::load(&mut object, config).context("loading the scheduler")?;
    scheduler.attach().context("attaching the scheduler")?;
    let served = StatsServer::new(stats::server_data())
        .launch()
        .context("serving statistics on /var/run/scx/root/stats");
    let result = served.and_then(|server| {
        announce(config);
        info!("\n{}", config.layout.describe());
        steer(&mut scheduler, config, stop, &server)
    });
    // How the kernel saw the end explains a failed step better than the step.
    let exit = scheduler.detach();
    exit.report()?;
    if exit.should_restart() && !stop.load(Ordering::Relaxed) {
        return Ok(true);
    }
    result.map(|()| false)
}

/// The one line for whoever waits for it; nobody has to.
fn announce(config: &Config) {
    let online: usize = config
        .layout
        .domains
        .iter()
        .map(|domain| domain.cpus.len())
        .sum();
    let _ = writeln!(
        std::io::stdout(),
        "scx_ballast attached: {online} CPUs in {} domains on {} nodes",
        config.layout.domains.len(),
        config.layout.nodes.len()
    );
}

/// Keeps tuner and balancer in time until the scheduler is to stop or has left.
fn steer(
    scheduler: &mut Scheduler<'_>,
    config: &Config,
    stop: &AtomicBool,
    server: &StatsServer<Request, Answer>,
) -> Result<()> {
    let (answers, requests) = server.channels();
    let mut daemon = Daemon::new(config);
    let mut live = Live::new(&config.layout);
    let balancer = Balancer::start(daemon.plan_config().clone())?;
    let mut meter = Meter::start()?;
    let mut next_tune = Instant::now();
    let mut next_balance = Instant::now() + config.interval;
    // A plan's memory while none is being made; None: one is.
    let mut idle_plan = Some(Plan::default());

    while !stop.load(Ordering::Relaxed) && !scheduler.has_exited() {
        let now = Instant::now();
        if now >= next_tune {
            daemon.tune(scheduler)?;
            next_tune = later(next_tune, config.tune_interval, now);
        }
        if let Some(plan) = idle_plan.take_if(|_| now >= next_balance) {
            let snapshot = daemon.begin_round(scheduler, &meter.read()?)?;
            balancer.begin(snapshot, plan)?;
            next_balance = later(next_balance, config.interval, now);
        }
        let due = next_tune.min(now + LOOK_EVERY);
        let due = match idle_plan {
            Some(_) => due.min(next_balance),
            None => due,
        };
        select! {
            recv(balancer.plans()) -> planned => {
                let (snapshot, plan) = planned.context("the balancer's thread has ended")?;
                daemon.end_round(scheduler, &snapshot, &plan)?;
                daemon.reuse(live.keep(snapshot, daemon.group_paths()));
                idle_plan = Some(plan);
            }
            recv(requests) -> request => {
                let request = request.context("the statistics server has ended")?;
                answers.send(match request {
                    Request::Metrics => metrics(scheduler, config, &daemon),
                    Request::Snapshot => Answer::Snapshot(live.show()),
                })?;
            }
            default(due.saturating_duration_since(Instant::now())) => (),
        }
    }
    Ok(())
}

/// The next time on the grid of `period` that is not past: a late step is done
/// once, not made up for.
fn later(due: Instant, period: Duration, now: Instant) -> Instant {
    let next = due + period;
    if next > now { next } else { now + period }
}

fn metrics(scheduler: &Scheduler<'_>, config: &Config, daemon: &Daemon) -> Answer {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let metrics = Metrics::gather(
        &config.layout,
        daemon,
        &scheduler.counters(),
        config.interval,
        since_epoch.unwrap_or_default(),
    );
    Answer::Metrics(Box::new(metrics))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_in_time_keeps_the_grid() {
        let start = Instant::now();
        let period = Duration::from_secs(1);
        let late = start + Duration::from_millis(300);
        assert_eq!(later(start, period, late), start + period);
    }

    #[test]
    fn missed_steps_are_not_made_up_for() {
        let start = Instant::now();
        let period = Duration::from_secs(1);
        let much_later = start + Duration::from_secs(10);
        assert_eq!(later(start, period, much_later), much_later + period);
    }
}
