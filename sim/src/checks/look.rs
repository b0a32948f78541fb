// SPDX-License-Identifier: GPL-2.0-only
//! The checks that look over the whole machine, now and then, and those around the
//! callbacks that place a task.
//! Never costs simulated time.

use super::Check;
use crate::engine::task::{Role, State, Where};
use crate::engine::{Event, NONE, Ns, TaskId, World};
use crate::shim::{
    open_bits_OPEN_COMPUTES as OPEN_COMPUTES, open_bits_OPEN_DOMAIN as OPEN_DOMAIN,
    open_bits_OPEN_IS_HOG as OPEN_IS_HOG, open_bits_OPEN_MOVED_SHIFT as OPEN_MOVED_SHIFT, task_ctx,
};
use scx_ballast::abi::{self, ballast_clock};

const MS: Ns = 1_000_000;
/// How often waits are compared with idle CPUs: the shortest bound.
const LOOK_NS: Ns = MS;
/// How often rows and sums are compared: they do not heal by themselves.
const BOOKS_EVERY: u64 = 50;
/// An own CPU that idles is told of a task at once; this is for what is on its way.
const OWN_BOUND_NS: Ns = MS;
/// A CPU that leaves waits for its tasks, the lightest of which may wait for as long
/// as PATIENCE_NS, and for a patrol.
const LEAVING_BOUND_NS: Ns = 6_000 * MS;
/// A patrol comes once a second, at a beat, which a busy round may delay.
const PATROL_NS: Ns = 1_300 * MS;
/// As in src/bpf/vtime.bpf.h.
const PATIENCE_NS: u64 = 4_000 * MS;
/// As in src/bpf/vtime.bpf.h.
const OWED_SLICES: u64 = 8;
const OWED_NS: u64 = 100 * MS;
const TICK_MAX_NS: u64 = 10 * MS;
/// CLOCK_OF_CPU of src/bpf/types.bpf.h.
const CLOCK_OF_CPU: u32 = 0x8000_0000;

impl World {
    /// Looks over everything, and will again.
    pub fn sample(&mut self) {
        self.after(LOOK_NS, Event::Sample);
        let nth = self.now / LOOK_NS;
        if self.loaded && !self.bypass {
            self.look_at_idle_cpus();
        }
        if nth.is_multiple_of(10) && self.loaded {
            self.look_at_waits();
            self.look_at_requests();
            self.look_at_heartbeat();
            self.check_leaving(LEAVING_BOUND_NS);
        }
        if nth.is_multiple_of(BOOKS_EVERY) && self.loaded {
            self.look_at_books();
        }
    }

    /// Check 3.
    fn look_at_idle_cpus(&mut self) {
        // A lost kick is work not conserved, and asked for; a patrol heals it.
        let quiet = self.quiet_from().saturating_add(PATROL_NS);
        let lost = self.faults.lost_kicks > 0.0 && self.now < quiet;
        let idle: Vec<(u32, Ns)> = (self.idle.in_loop.iter())
            .filter(|&cpu| self.takes_tasks(cpu))
            .map(|cpu| (cpu, self.now - self.cpus[cpu as usize].idle_since))
            .filter(|(_, for_ns)| *for_ns >= LOOK_NS)
            .collect();
        if idle.is_empty() || lost {
            return;
        }
        let mut found = Vec::new();
        for (task, t) in (0u32..).zip(&self.tasks) {
            // Since it came into this queue: it may have been put there anew.
            let waits = self.now - t.placed_at;
            if t.state != State::Queued || waits < LOOK_NS {
                continue;
            }
            if let Some((cpu, bound)) = self.idle_for(task, waits, &idle) {
                found.push((task, cpu, waits, bound));
            }
        }
        for (task, cpu, waits, bound) in found {
            let place = match self.tasks[task as usize].place {
                Where::Shared { queue, .. } => format!("queue {:#x}", self.queues[queue].id),
                other => format!("{other:?}"),
            };
            let text = format!(
                "CPU {cpu} idles while task {task}, which it may run, has waited for {} us \
                 in {place}; the bound is {} us",
                waits / 1000,
                bound / 1000
            );
            self.checks.fail(Check::WorkConservation, self.now, text);
        }
    }

    /// An idle CPU that should have taken the task by now, and the bound.
    fn idle_for(&self, task: TaskId, waits: Ns, idle: &[(u32, Ns)]) -> Option<(u32, Ns)> {
        let t = &self.tasks[task as usize];
        let late = if self.faults.late_kicks > 0.0 {
            2 * MS
        } else {
            0
        };
        let own = OWN_BOUND_NS + late;
        match t.place {
            Where::Nowhere => None,
            Where::Local(cpu) => {
                let stuck = idle
                    .iter()
                    .find(|(one, for_ns)| *one == cpu && *for_ns > own);
                (waits > own)
                    .then_some(())
                    .and(stuck.map(|(one, _)| (*one, own)))
            }
            Where::Shared { queue, .. } => {
                let id = self.queues[queue].id;
                idle.iter().find_map(|&(cpu, for_ns)| {
                    let (bound, helper) = self.bound_for(cpu, queue, id, task)?;
                    let bound = bound + late;
                    let since = waits.min(for_ns).min(self.queue_calm(queue, bound));
                    // Asked last, since it takes longest.
                    let is_called = || helper.is_none_or(|domain| self.domain_ticks(domain));
                    (t.may_use(cpu) && since > bound && is_called()).then_some((cpu, bound))
                })
            }
        }
    }

    /// For how long nobody has taken from a queue, as far as a bound beyond the
    /// domain cares: stealing helps one task at a time.
    fn queue_calm(&self, queue: usize, bound: Ns) -> Ns {
        if bound <= OWN_BOUND_NS + 2 * MS {
            return Ns::MAX;
        }
        let taken = self.now - self.queues[queue].taken_at;
        self.queue_age(queue).min(taken)
    }

    /// How long a task may wait in a queue while `cpu` idles, and the domain that has
    /// to tick for it, so that the CPU is called; `None`: for ever.
    fn bound_for(
        &self,
        cpu: u32,
        queue: usize,
        id: u64,
        task: TaskId,
    ) -> Option<(Ns, Option<u32>)> {
        const CPU_QUEUES: u64 = 0x10_0000;
        let place = self.places[cpu as usize];
        let policy = &self.checks.policy;
        let ticks = 2 * self.tick_ns;
        if let Some(owner) = id
            .checked_sub(CPU_QUEUES)
            .filter(|owner| *owner < CPU_QUEUES)
        {
            let owner = owner as u32;
            if owner == cpu {
                return Some((OWN_BOUND_NS, None));
            }
            // A sibling helps when a busy CPU of the domain ticks.
            let same = self.places[owner as usize].domain == place.domain;
            return (same && !self.tasks[task as usize].is_fixed())
                .then_some((OWN_BOUND_NS + ticks, Some(place.domain)));
        }
        let domain = u32::try_from(id).ok()?;
        if domain == place.domain {
            // A call that came late may have found its CPU taken, until it is free.
            let late = self.faults.late_kicks > 0.0 && self.was_taken(domain);
            return (!late).then_some((OWN_BOUND_NS, None));
        }
        let node = *self.checks.domain_node.get(domain as usize)?;
        let (after, least) = if node == place.node {
            (policy.steal_after_node_ns, policy.greedy_threshold)
        } else {
            (policy.steal_after_numa_ns, policy.greedy_threshold_x_numa)
        };
        // Whom help is called from may not be able to take a confined task.
        let t = &self.tasks[task as usize];
        if t.is_fixed() || t.allowed.len() < self.cpus.len() as u32 {
            return None;
        }
        let flags = self.object.cpu(cpu).flags;
        let open = flags & abi::ballast_cpu_flags_BALLAST_CPU_KICK != 0;
        let stealing = policy.greedy_threshold > 0 && least > 0;
        // Above 1 the bound counts from when so many waited, which nobody records.
        let any = least == 1 && !self.queues[queue].is_empty();
        // Twice, as it may be without a daemon.
        (open && stealing && any).then_some((2 * after + OWN_BOUND_NS + 2 * ticks, Some(domain)))
    }

    /// Whether a CPU of the domain runs one of our tasks, so that it ticks.
    fn domain_ticks(&self, domain: u32) -> bool {
        self.checks.domain_cpus[domain as usize].iter().any(|cpu| {
            let state = &self.cpus[cpu as usize];
            state.current.is_some() && self.now - self.ran_since(cpu) >= 2 * self.tick_ns
        })
    }

    /// Whether a class above ours had a CPU of the domain of late.
    fn was_taken(&self, domain: u32) -> bool {
        const LATELY_NS: Ns = 30 * MS;
        self.checks.domain_cpus[domain as usize].iter().any(|cpu| {
            self.cpus[cpu as usize]
                .taken_until
                .saturating_add(LATELY_NS)
                > self.now.max(LATELY_NS)
        })
    }

    fn ran_since(&self, cpu: u32) -> Ns {
        let current = self.cpus[cpu as usize].current;
        current.map_or(self.now, |task| self.tasks[task as usize].truth.since)
    }

    /// Check 4.
    fn look_at_waits(&mut self) {
        let bound = self.checks.policy.wait_bound_ns;
        for task in 0..self.tasks.len() {
            let t = &self.tasks[task];
            let waits = self.now - t.truth.since;
            if t.state == State::Queued && waits > bound {
                let text = format!(
                    "task {task} has waited for {} ms in {:?}",
                    waits / MS,
                    t.place
                );
                self.checks.fail(Check::Watchdog, self.now, text);
            }
        }
    }

    /// Check 1, first half: no request stands for longer than the daemon lets it.
    fn look_at_requests(&mut self) {
        let bound = self.checks.policy.request_bound_ns;
        let held_up = self.now.saturating_sub(self.checks.daemon_free_since) < bound;
        for task in 0..self.tasks.len() as TaskId {
            if self.tasks[task as usize].state == State::Dead {
                continue;
            }
            let Some(slot) = self.tasks[task as usize].slot() else {
                continue;
            };
            let (now, request) = (self.now, self.object.request(slot));
            // While it only waits it stands.
            let waits = self.tasks[task as usize].state == State::Queued;
            let seen = &mut self.tasks[task as usize].request_seen;
            if seen.0 != request || waits {
                *seen = (request, now);
                continue;
            }
            let age = now - seen.1;
            if request == 0 || age <= bound || held_up {
                continue;
            }
            if request as u32 == self.object.row(slot).generation {
                let text = format!(
                    "the request {request:#x} of task {task} has stood for {} ms",
                    age / MS
                );
                self.checks.fail(Check::Requests, now, text);
            }
        }
    }

    /// Checks 1 and 10 at the moment that counts: a task has begun to run.
    /// `request` is what stood in its row before, 0: nothing.
    pub fn check_answer(&mut self, cpu: u32, task: TaskId, request: u64) {
        let was_placed = std::mem::take(&mut self.tasks[task as usize].was_placed);
        if request == 0 {
            return;
        }
        let Some((_, row)) = self.row_of(task) else {
            return;
        };
        let stale = request as u32 != row.generation;
        let (domain, here) = (
            (request >> 32 & 0xffff) as u32,
            self.places[cpu as usize].domain,
        );
        let verdict = (row.answer >> 32 & 0xffff) as u32;
        let ended = row.request == 0 && row.answer >> 48 == request >> 48;
        let applied = ended && verdict == abi::ballast_verdict_BALLAST_VERDICT_APPLIED;
        if applied && domain != here {
            let text = format!(
                "task {task} was to go to domain {domain}; `applied` was answered in {here}"
            );
            self.checks.fail(Check::Requests, self.now, text);
        }
        if applied && stale {
            let text = format!("a stale request of task {task} was answered `applied`");
            self.checks.fail(Check::Stale, self.now, text);
        }
        // Placing ends stale requests. After one of a class above it goes on unplaced.
        let t = &self.tasks[task as usize];
        let placed = was_placed && matches!(t.role, Role::Member { .. }) && !t.is_fixed();
        if stale && row.request == request && placed {
            if self.checks.standing == Some((task, request)) {
                let text = format!("a stale request of task {task} steered it and still stands");
                self.checks.fail(Check::Stale, self.now, text);
            }
            self.checks.standing = Some((task, request));
        }
    }

    /// A silent daemon is noticed, a live one believed.
    fn look_at_heartbeat(&mut self) {
        let timeout = self.checks.policy.heartbeat_timeout_ns;
        let silent = self.now - self.checks.last_beat;
        let lost = self.object.global::<bool>("daemon_lost").unwrap_or(false);
        let ticking = (0..self.cpus.len() as u32).any(|cpu| {
            self.cpus[cpu as usize].current.is_some()
                && self.now - self.ran_since(cpu) > 2 * self.tick_ns
        });
        let slack = 3 * self.tick_ns + 2 * self.costs.clock_skew_ns;
        if !lost && ticking && silent > timeout + slack + 10 * MS {
            let text = format!(
                "the daemon has been silent for {} ms, unnoticed",
                silent / MS
            );
            self.checks.fail(Check::Heartbeat, self.now, text);
        }
        if lost && silent + slack < timeout {
            let text = format!("the daemon beat {} ms ago and counts as lost", silent / MS);
            self.checks.fail(Check::Heartbeat, self.now, text);
        }
    }

    /// Where a domain counts nobody, nobody looks into its queue.
    fn check_counted_open(&mut self, task: TaskId, counted_in: [u64; 2]) {
        let Where::Shared { queue, .. } = self.tasks[task as usize].place else {
            return;
        };
        let id = self.queues[queue].id;
        let is_domain = id < self.checks.domain_cpus.len() as u64;
        if is_domain && !counted_in.contains(&(id + 1)) {
            let text =
                format!("task {task} waits in domain {id}'s queue, uncounted: {counted_in:?}");
            self.checks.fail(Check::Rows, self.now, text);
        }
    }

    /// Check 6.
    fn look_at_books(&mut self) {
        let mut aside = vec![0u64; self.checks.domain_cpus.len()];
        let mut weights = vec![0u64; self.cpus.len()];
        let mut near = vec![0u32; self.cpus.len()];
        let mut open = vec![0u64; self.checks.domain_cpus.len()];
        let mut hogs = vec![0u64; self.checks.domain_cpus.len()];
        for task in 0..self.tasks.len() as TaskId {
            if self.tasks[task as usize].state == State::Dead {
                continue;
            }
            self.check_current(task);
            let Some(context) = self.tasks[task as usize].context() else {
                continue;
            };
            if context.aside_domain > 0 {
                aside[context.aside_domain as usize - 1] += 1;
            }
            if context.confined_cpu > 0 {
                weights[context.confined_cpu as usize - 1] += u64::from(context.confined_weight);
            }
            if context.near_cpu > 0 {
                near[context.near_cpu as usize - 1] += 1;
            }
            let counted_in =
                [0, OPEN_MOVED_SHIFT].map(|shift| context.open_in >> shift & OPEN_DOMAIN);
            let computes = u64::from(context.open_in & OPEN_COMPUTES != 0);
            let is_hog = u64::from(context.open_in & OPEN_IS_HOG != 0);
            for domain in counted_in.into_iter().filter(|&domain| domain > 0) {
                open[domain as usize - 1] +=
                    1 | computes << abi::ballast_open_bits_BALLAST_COMPUTING_SHIFT;
                hogs[domain as usize - 1] += is_hog;
            }
            self.check_counted_open(task, counted_in);
        }
        self.check_rows_used();
        for (domain, count) in (0u32..).zip(aside) {
            let says = self.object.domain(domain).nr_aside;
            if says != count {
                let text = format!(
                    "domain {domain} counts {says} tasks that wait aside, there are {count}"
                );
                self.checks.fail(Check::Rows, self.now, text);
            }
            let says = self.object.domain(domain);
            let are = (open[domain as usize], hogs[domain as usize]);
            if (says.nr_open, says.nr_hogs) != are {
                let text = format!(
                    "domain {domain} counts {:#x} tasks in its queue and {} hogs, there are {:#x} and {}",
                    says.nr_open, says.nr_hogs, are.0, are.1
                );
                self.checks.fail(Check::Rows, self.now, text);
            }
            self.check_online(domain);
        }
        for (cpu, count) in (0u32..).zip(near) {
            let says = self.object.cpu(cpu).nr_near;
            if says != count {
                let text =
                    format!("CPU {cpu} counts {says} tasks that wait near, there are {count}");
                self.checks.fail(Check::Rows, self.now, text);
            }
        }
        for (cpu, weight) in (0u32..).zip(weights) {
            let says = self.object.cpu(cpu).confined_weight;
            if says != weight {
                let text = format!("CPU {cpu} counts confined weight {says}, it is {weight}");
                self.checks.fail(Check::Rows, self.now, text);
            }
        }
    }

    /// The row of a task, its open interval closed.
    pub fn check_current(&mut self, task: TaskId) {
        let Some((slot, mut row)) = self.row_of(task) else {
            return;
        };
        let now = self.now;
        let bits = abi::ballast_state_BALLAST_STATE_BITS;
        let open = now.saturating_sub(row.since_state >> bits);
        match self.tasks[task as usize].state {
            State::Running => row.run_ns += open,
            _ if self.tasks[task as usize].waits() => row.wait_ns += open,
            _ => row.sleep_ns += open,
        }
        let found = self
            .checks
            .compare(&self.tasks[task as usize], now, slot, &row);
        if let Some(text) = found {
            self.checks.fail(Check::Rows, now, text);
        }
    }

    /// Rows are given back: no more were ever used than tasks lived at once.
    fn check_rows_used(&mut self) {
        let used: u32 = self.object.global("rows_used").unwrap_or(0);
        let most = self.peak_live;
        if used > most {
            let text = format!("{used} rows are in use, but only {most} tasks ever lived at once");
            self.checks.fail(Check::Rows, self.now, text);
        }
    }

    /// How many tasks wait for a CPU and have a request, or had one until `since`.
    pub fn waiting_with_requests(&self, since: Ns) -> usize {
        let asked = |task: &TaskId| {
            let t = &self.tasks[*task as usize];
            match self.request_of(*task) {
                Some(request) if request != 0 => t.state == State::Queued,
                _ => t.request_seen.1 >= since,
            }
        };
        let tasks = 0..self.tasks.len() as TaskId;
        tasks.filter(asked).count()
    }

    fn check_online(&mut self, domain: u32) {
        let cpus = &self.checks.domain_cpus[domain as usize];
        let online = cpus.iter().filter(|&cpu| self.online.has(cpu)).count() as u32;
        let says = self.object.domain(domain).nr_online;
        if says != online {
            let text = format!("domain {domain} counts {says} CPUs online, there are {online}");
            self.checks.fail(Check::Rows, self.now, text);
        }
    }

    /// Check 5, first half: a task that changes clocks keeps its lag, within bounds.
    pub fn check_lag_kept(&mut self, task: TaskId, before: Option<task_ctx>) {
        let (Some(before), Some(after)) = (before, self.tasks[task as usize].context()) else {
            return;
        };
        if before.clock == after.clock || before.clock == NONE || self.checks.policy.fifo {
            return;
        }
        // What one confined to a CPU is ahead of those of the domain is said by its standing.
        let leaves = before.clock & CLOCK_OF_CPU != 0 && after.clock & CLOCK_OF_CPU == 0;
        let (from_id, vruntime, charged) = match before.standing_domain.checked_sub(1) {
            Some(domain) if leaves => (domain, self.standing_of(&before), before.confined_weight),
            _ => (before.clock, before.vruntime, before.weight),
        };
        let (from, to) = (self.clock_of(from_id), self.clock_of(after.clock));
        let slice: u64 = self.object.global("slice_ns").unwrap_or(0);
        let mut lag = vruntime.wrapping_sub(from.vtime) as i64;
        // What it is ahead is CPU time: of another weight it is another virtual time.
        if lag > 0 && charged != after.weight {
            let scaled = lag as u64 * u64::from(charged) / u64::from(after.weight.max(1));
            lag = scaled as i64;
        }
        let weight = u64::from(after.weight.max(1024));
        let banked = 2 * (slice * 1024 / weight) as i64;
        // One that has not slept since it ran is owed what it is behind by.
        let least = match after.ran_ns {
            0 => -banked,
            _ => {
                let own = OWED_NS * 1024 / u64::from(after.weight.max(1));
                -banked.max((OWED_SLICES * slice).min(own) as i64)
            }
        };
        let patience = (to.rate * (PATIENCE_NS >> 10)).max(slice);
        let elsewhere = 2 * ((slice + TICK_MAX_NS) * 1024 / u64::from(after.weight.max(1)));
        let most = match (from_id | after.clock) & CLOCK_OF_CPU {
            0 if from_id != after.clock => patience.min(elsewhere.max(OWED_SLICES * slice)),
            _ => patience,
        } as i64;
        let wanted = if lag < least { least } else { lag.min(most) };
        let has = after.vruntime.wrapping_sub(to.vtime) as i64;
        // It leaves the confined and goes on where nobody waits: what it had there it
        // owes no more, but for a slice.
        let is_forgiven = !before.queued && has == wanted.min((slice * 1024 / weight) as i64);
        if has != wanted && !is_forgiven {
            let text = format!(
                "task {task} was {lag} ns ahead of clock {from_id:#x} and is {has} ns ahead of {:#x}, not {wanted}",
                after.clock
            );
            self.checks.fail(Check::Lag, self.now, text);
        }
    }

    /// Where a task stood in the clock of its domain; it is kept relative to the party's while it
    /// is in one.
    fn standing_of(&self, task: &task_ctx) -> u64 {
        match task.confined_cpu.checked_sub(1) {
            None => task.standing,
            Some(cpu) => {
                let cpu = self.object.cpu(cpu);
                let shift = cpu.confined_vtime.wrapping_sub(cpu.confined_mean);
                task.standing.wrapping_add(shift)
            }
        }
    }

    fn clock_of(&self, id: u32) -> ballast_clock {
        if id & CLOCK_OF_CPU != 0 {
            self.object.cpu(id & !CLOCK_OF_CPU).clock
        } else {
            self.object.domain(id).clock
        }
    }
}
