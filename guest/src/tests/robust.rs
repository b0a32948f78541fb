// SPDX-License-Identifier: GPL-2.0-only
//! It survives what administrators and debuggers do: a stopped daemon, CPUs that go and come back.
//! Never restarts the scheduler: it must be the same one throughout.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::spread::left_on_first_node;
use super::{Context, TWO_NODES, Test, USUAL};
use crate::checks::Bound;
use crate::cpus::CpuList;
use crate::load::{Group, Spinners};
use crate::scheduler::Scheduler;
use crate::stats::StatsClient;
use crate::sys::{Policy, Signal};

pub(super) const TESTS: &[Test] = &[
    Test {
        name: "stall_daemon",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 180,
        measured: false,
        run: stall_daemon,
    },
    Test {
        name: "stragglers",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 240,
        measured: false,
        run: stragglers,
    },
    Test {
        name: "hotplug",
        topology: TWO_NODES,
        kernels: USUAL,
        timeout_secs: 240,
        measured: false,
        run: hotplug,
    },
    // In a boot of its own: an emulated kernel recovers slowly from many hotplugs.
    Test {
        name: "node_offline",
        topology: "2x2x2",
        kernels: USUAL,
        timeout_secs: 240,
        measured: false,
        run: node_offline,
    },
];

/// Silence after which BPF goes on alone, with the default flags, and some more.
const SILENCE: Duration = Duration::from_secs(4);
const WINDOW: Duration = Duration::from_secs(3);

fn stall_daemon(context: &mut Context) -> Result<()> {
    let scheduler = Scheduler::start(&[])?;
    let mut client = StatsClient::connect()?;
    ensure!(
        client.read()?.number("heartbeats_lost")? < 0.5,
        "heartbeats were lost before the daemon was stopped"
    );
    scheduler.signal(Signal::Stop)?;
    let result = stalled(context);
    scheduler.signal(Signal::Continue)?;
    result?;
    // It tells of the loss once it has beaten again.
    sleep(Duration::from_secs(1));
    let lost = client.read()?.number("heartbeats_lost")?;
    context.assert("losses of the daemon", lost, Bound::exactly(1));
    scheduler.stop()
}

/// Twelve spinners on the first node and nobody to balance them: stealing must do.
fn stalled(context: &mut Context) -> Result<()> {
    let spinners = left_on_first_node(context, &[Group::spinners(12, 0)])?;
    sleep(SILENCE);
    let total = spinners.shares_over(WINDOW)?.iter().sum();
    context.assert(
        "CPUs that 12 spinners had without the daemon",
        total,
        Bound::AtLeast(context.cpu_count() as f64 * 7.0 / 8.0),
    );
    Ok(())
}

/// The CPU that goes and comes back.
const CPU: usize = 3;
const ROUNDS: u32 = 3;
/// What the statistics may take to follow: three default intervals.
const FOLLOW: Duration = Duration::from_secs(3);

fn hotplug(context: &mut Context) -> Result<()> {
    let result = plug(context);
    // Later tests in this boot want the whole machine, however this one ended.
    set_online(CPU, true).and(result)
}

fn plug(context: &mut Context) -> Result<()> {
    let full = context.cpu_count() as f64;
    let mut scheduler = Scheduler::start(&[])?;
    let mut client = StatsClient::connect()?;
    // Not sooner: the kernel counts after it says that the scheduler is enabled.
    client.read()?;
    let attachment = attachments()?;
    let spinners = Spinners::start(&[Group::spinners(context.cpu_count(), 0)])?;
    for round in 1..=ROUNDS {
        for (online, expected) in [(false, full - 1.0), (true, full)] {
            set_online(CPU, online)?;
            scheduler.check_attached()?;
            let capacity = capacity_near(&mut client, expected)?;
            let what = if online { "back" } else { "gone" };
            context.assert(
                format!("capacity, CPU {CPU} {what}, round {round}"),
                capacity,
                Bound::Between(expected - 0.5, expected + 0.05),
            );
        }
    }
    sleep(Duration::from_secs(1));
    let total = spinners.shares_over(WINDOW)?.iter().sum();
    let bound = Bound::AtLeast(full * 7.0 / 8.0);
    context.assert("CPUs of the spinners at the end", total, bound);
    ensure!(
        attachments()? == attachment,
        "the scheduler was attached anew"
    );
    drop(spinners);
    scheduler.stop()
}

/// How often a sched_ext scheduler was enabled since the boot.
fn attachments() -> Result<String> {
    let path = "/sys/kernel/sched_ext/enable_seq";
    fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

fn set_online(cpu: usize, online: bool) -> Result<()> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    let text = if online { "1" } else { "0" };
    fs::write(&path, text).with_context(|| format!("writing {text} to {path}"))
}

/// The capacity in the statistics once it is near `expected`, or what it is after `FOLLOW`.
fn capacity_near(client: &mut StatsClient, expected: f64) -> Result<f64> {
    let start = Instant::now();
    loop {
        let capacity = client.read()?.number("capacity")?;
        if (capacity - expected).abs() < 0.3 || start.elapsed() > FOLLOW {
            return Ok(capacity);
        }
        sleep(Duration::from_millis(200));
    }
}

/// All CPUs of the second node go, under load, and come back.
fn node_offline(context: &mut Context) -> Result<()> {
    let node = context.machine.nodes[1].cpus.clone();
    let result = without(context, &node);
    for cpu in node.iter() {
        set_online(cpu, true)?;
    }
    result
}

fn without(context: &mut Context, node: &CpuList) -> Result<()> {
    let full = context.cpu_count();
    let mut scheduler = Scheduler::start(&[])?;
    let spinners = Spinners::start(&[Group::spinners(full + full / 2, 0)])?;
    sleep(Duration::from_secs(1));
    for cpu in node.iter() {
        set_online(cpu, false)?;
    }
    sleep(Duration::from_secs(2));
    // Those that waited in the queue of the node that has gone must run too.
    let shares = spinners.shares_over(WINDOW)?;
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    context.assert(
        "least share on the node that is left",
        least,
        Bound::AtLeast(0.1),
    );
    for cpu in node.iter() {
        set_online(cpu, true)?;
    }
    sleep(Duration::from_secs(3));
    let total = spinners.shares_over(WINDOW)?.iter().sum();
    let bound = Bound::AtLeast(full as f64 * 7.0 / 8.0);
    context.assert("CPUs with the node back", total, bound);
    scheduler.check_attached()?;
    drop(spinners);
    scheduler.stop()
}

/// Longer than the kernel lets a task wait before it ejects the scheduler.
const PAST_WATCHDOG: Duration = Duration::from_secs(36);

/// A task of least weight that had a CPU alone is far ahead of the clock when load arrives:
/// it must not wait for the slower clock to catch up.
fn stragglers(context: &mut Context) -> Result<()> {
    let mut scheduler = Scheduler::start(&[])?;
    let node = context.machine.nodes[1].cpus.clone();
    let idle = |count| Group {
        policy: Policy::Idle,
        ..Group::spinners(count, 0)
    };
    let one = CpuList::parse("0").map_err(anyhow::Error::msg)?;
    let light = Spinners::start(&[idle(1).confined(&one), idle(node.len()).confined(&node)])?;
    sleep(WINDOW);
    let heavy = [
        Group::spinners(8, 0).confined(&one),
        Group::spinners(10 * node.len(), 0).confined(&node),
    ];
    let _heavy = Spinners::start(&heavy)?;
    sleep(Duration::from_secs(1));
    let shares = light.shares_over(PAST_WATCHDOG)?;
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min);
    // A run of a tick in eight seconds.
    context.assert("least share of SCHED_IDLE", least, Bound::AtLeast(0.0005));
    scheduler.check_attached()?;
    drop(light);
    scheduler.stop()
}
