// SPDX-License-Identifier: GPL-2.0-only
//! The loaded BPF object: opened, sized to the machine, attached, spoken to.
//! Never decides; the only file that knows libbpf-rs.

use std::mem::MaybeUninit;

use anyhow::{Context, Result, anyhow};
use libbpf_rs::{Link, MapCore, MapFlags, OpenObject, ProgramInput};
use scx_utils::{
    UEI_DUMP_PTR_MUTEX, compat, scx_ops_attach, scx_ops_load, scx_ops_open, uei_exited,
};

use super::exit::{self, Exit};
use super::request;
use super::table::{RowRead, Table, is_kworker, read_row};
use super::{Beat, Counters, CpuRole, Kernel, Outcome, ReadReport, Ticket};
use crate::abi::{self, ballast_cpu, ballast_domain, ballast_node, ballast_row};
use crate::affinity::MaskTable;
use crate::config::Config;
use crate::demand::RowSample;
use crate::domains::Layout;
use crate::ids::{CpuId, DomainId, TaskRef};
use crate::weight::weight_to_kernel;

#[allow(missing_docs, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bpf_skel.rs"));
}
use generated::{BpfSkel, BpfSkelBuilder, OpenBpfSkel};

/// A daemon silent for this many of its own periods counts as stalled: five
/// survive a slow round on a loaded machine.
const HEARTBEAT_PERIODS: u32 = 5;
/// And never sooner than this, in ns: start-up alone may take a second.
const HEARTBEAT_MIN_NS: u64 = 3_000_000_000;

/// What a CPU may do for other domains.
const ROLES: u32 =
    abi::ballast_cpu_flags_BALLAST_CPU_DIRECT | abi::ballast_cpu_flags_BALLAST_CPU_KICK;

/// The scheduler in the kernel. Detaches when dropped.
pub struct Scheduler<'obj> {
    skel: BpfSkel<'obj>,
    link: Option<Link>,
    rows: Table<ballast_row>,
    row_masks: Table<u64>,
    cpus: Table<ballast_cpu>,
    /// One row's set of CPUs while it is read.
    mask_words: Vec<u64>,
    rows_used: u32,
    sequence: u16,
    without_kworkers: bool,
}

impl<'obj> Scheduler<'obj> {
    /// Loads the scheduler, sized to `config.layout`, without attaching it.
    ///
    /// # Errors
    /// What libbpf or the kernel refused; the verifier's words are in the log.
    pub fn load(
        object: &'obj mut MaybeUninit<OpenObject>,
        config: &Config,
    ) -> Result<Scheduler<'obj>> {
        let mut builder = BpfSkelBuilder::default();
        builder.obj_builder.debug(config.verbose > 1);
        let open_opts = config.libbpf.clone().into_bpf_open_opts();
        let mut skel = scx_ops_open!(builder, object, ballast, open_opts)?;
        skel.progs
            .scx_lib_init_probe
            .set_autoload(needs_prolog_probe());
        set_constants(&mut skel, config);
        size_maps(&mut skel, config)?;
        set_ops(&mut skel, config);
        let skel = scx_ops_load!(skel, ballast, uei)?;
        fill_maps(&skel, &config.layout)?;
        let mut scheduler = Scheduler {
            rows: Table::map(as_fd(&skel.maps.rows), config.max_tasks as usize)?,
            row_masks: Table::map(
                as_fd(&skel.maps.row_masks),
                config.max_tasks as usize * mask_words(&config.layout),
            )?,
            cpus: Table::map(as_fd(&skel.maps.cpus), config.layout.nr_cpu_ids as usize)?,
            mask_words: vec![0; mask_words(&config.layout)],
            rows_used: 0,
            sequence: 0,
            without_kworkers: config.balanced_kworkers,
            link: None,
            skel,
        };
        scheduler.place_cpus(&config.layout, initial_roles(config))?;
        Ok(scheduler)
    }

    /// Makes it the system's scheduler.
    ///
    /// # Errors
    /// The kernel refused, or another scheduler was quicker.
    pub fn attach(&mut self) -> Result<()> {
        let skel = &mut self.skel;
        self.link = Some(scx_ops_attach!(skel, ballast)?);
        Ok(())
    }

    /// Gives the machine back to the kernel's own scheduler, and says how it
    /// ended.
    pub fn detach(&mut self) -> Exit {
        drop(self.link.take());
        let (Some(data), Some(rodata)) = (&self.skel.maps.data_data, &self.skel.maps.rodata_data)
        else {
            unreachable!("the object has data and constants");
        };
        let dump = UEI_DUMP_PTR_MUTEX
            .lock()
            .map_or(std::ptr::null(), |dump| dump.ptr);
        let dump = if dump.is_null() {
            &[]
        } else {
            // SAFETY: loading has made the buffer that long, and it lives as
            // long as the object; the scheduler has left, so nobody writes it.
            unsafe { std::slice::from_raw_parts(dump.cast::<u8>(), rodata.uei_dump_len as usize) }
        };
        Exit {
            kind: data.uei.kind,
            code: data.uei.exit_code,
            reason: exit::text(&data.uei.reason.map(|byte| byte as u8)),
            message: exit::text(&data.uei.msg.map(|byte| byte as u8)),
            dump: exit::text(dump),
        }
    }

    /// Tells BPF where every CPU belongs, and which are online now.
    fn place_cpus(&mut self, layout: &Layout, roles: u32) -> Result<()> {
        for index in 0..self.cpus.len() {
            let mut cpu = self.cpus.read(index);
            cpu.domain = abi::ballast_limits_BALLAST_NONE;
            cpu.node = abi::ballast_limits_BALLAST_NONE;
            self.cpus.write(index, cpu);
        }
        let online = online_cpus()?;
        for (cpu_id, domain) in &layout.cpu_domain {
            let mut cpu = self.cpus.read(cpu_id.index());
            cpu.domain = domain.0;
            cpu.node = node_index(layout, *domain)?;
            cpu.flags = roles;
            if online.contains(&cpu_id.index()) {
                cpu.flags |= abi::ballast_cpu_flags_BALLAST_CPU_ONLINE;
            }
            self.cpus.write(cpu_id.index(), cpu);
        }
        Ok(())
    }

    fn set_roles(&self, roles: &[CpuRole]) -> bool {
        use std::sync::atomic::Ordering;
        let mut changed = false;
        for role in roles {
            let flags = self.cpus.flags(role.cpu.index());
            let old = flags.load(Ordering::SeqCst);
            let mut new = old & !ROLES;
            if role.direct {
                new |= abi::ballast_cpu_flags_BALLAST_CPU_DIRECT;
            }
            if role.kick {
                new |= abi::ballast_cpu_flags_BALLAST_CPU_KICK;
            }
            if new != old {
                changed = true;
                // Lost to a hotplug: the next tuning does it.
                let _ = flags.compare_exchange(old, new, Ordering::SeqCst, Ordering::SeqCst);
            }
        }
        changed
    }
}

impl Kernel for Scheduler<'_> {
    fn beat(&mut self, beat: &Beat) -> Result<u64> {
        let changed = self.set_roles(&beat.cpus);
        let mut args = abi::ballast_beat_args {
            slice_ns: beat.slice_ns,
            preempt_margin_ns: beat.preempt_margin_ns,
            cpu_flags_changed: changed.into(),
            rows_used: 0,
            now_ns: 0,
        };
        run(&self.skel.progs.ballast_beat, &mut args)?;
        self.rows_used = args.rows_used;
        Ok(args.now_ns)
    }

    fn rows(
        &mut self,
        now_ns: u64,
        masks: &mut MaskTable,
        rows: &mut Vec<RowSample>,
    ) -> ReadReport {
        let mut report = ReadReport::default();
        let words = &mut self.mask_words;
        rows.clear();
        for slot in 0..self.rows_used.min(self.rows.len() as u32) {
            let read = || self.rows.read(slot as usize);
            let mask = || {
                let first = slot as usize * words.len();
                for (index, word) in (first..).zip(words.iter_mut()) {
                    *word = self.row_masks.read(index);
                }
                masks.intern(words)
            };
            match read_row(slot, now_ns, read, mask) {
                RowRead::Free => (),
                RowRead::Torn => report.torn += 1,
                RowRead::Whole(mut sample, flags) => {
                    report.live += 1;
                    let exempt = self.without_kworkers && is_kworker(flags);
                    // The daemon goes ahead of the load anyway, wherever it is.
                    if exempt || sample.tgid == std::process::id() {
                        sample.pinned = true;
                    }
                    rows.push(sample);
                }
            }
        }
        report
    }

    fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket> {
        use std::sync::atomic::Ordering;
        self.sequence = self.sequence.wrapping_add(1);
        let ticket = request::ticket(task, target, self.sequence);
        let row = self.rows.shared(task.slot);
        if row.generation.load(Ordering::SeqCst) != task.generation {
            return None;
        }
        row.request
            .compare_exchange(0, ticket.word, Ordering::SeqCst, Ordering::SeqCst)
            .ok()
            .map(|_| ticket)
    }

    fn outcome(&self, ticket: &Ticket) -> Outcome {
        use std::sync::atomic::Ordering;
        let row = self.rows.shared(ticket.task.slot);
        request::outcome(
            ticket,
            row.generation.load(Ordering::SeqCst),
            row.answer.load(Ordering::SeqCst),
        )
    }

    fn withdraw(&mut self, ticket: &Ticket) -> Outcome {
        use std::sync::atomic::Ordering;
        let row = self.rows.shared(ticket.task.slot);
        match row
            .request
            .compare_exchange(ticket.word, 0, Ordering::SeqCst, Ordering::SeqCst)
        {
            Ok(_) => Outcome::Expired,
            Err(_) => self.outcome(ticket),
        }
    }

    fn apply_queued(&mut self, source: DomainId) -> Result<u32> {
        let mut args = abi::ballast_apply_args {
            domain: source.0,
            moved: 0,
        };
        run(&self.skel.progs.ballast_apply_queued, &mut args)?;
        Ok(args.moved)
    }

    fn apply_running(&mut self, task: TaskRef) -> Result<()> {
        if !self.rows.is_running(task.slot) {
            return Ok(());
        }
        let mut args = abi::ballast_prompt_args { slot: task.slot };
        run(&self.skel.progs.ballast_apply_running, &mut args)
    }

    fn charge(&mut self, task: TaskRef, weight: Option<f64>) {
        use std::sync::atomic::Ordering;
        let weight = weight.map_or(0, weight_to_kernel);
        let word = u64::from(task.generation) << 32 | u64::from(weight);
        // With another task in the row by now, the generation voids it.
        self.rows
            .shared(task.slot)
            .charged
            .store(if weight == 0 { 0 } else { word }, Ordering::SeqCst);
    }

    fn counters(&self) -> Counters {
        let mut totals = vec![0u64; abi::ballast_stat_BALLAST_NR_STATS as usize];
        for index in 0..self.cpus.len() {
            for (total, count) in totals.iter_mut().zip(self.cpus.read(index).stats) {
                *total += count;
            }
        }
        Counters(totals)
    }

    fn is_online(&self, cpu: CpuId) -> bool {
        self.cpus
            .flags(cpu.index())
            .load(std::sync::atomic::Ordering::SeqCst)
            & abi::ballast_cpu_flags_BALLAST_CPU_ONLINE
            != 0
    }

    fn has_exited(&self) -> bool {
        let skel = &self.skel;
        uei_exited!(skel, uei)
    }
}

/// The scx headers find out with an fentry program whether BPF's prolog disables
/// migration. Since 6.18 they know without; and taking an fentry program away
/// waits for an RCU-tasks grace period, which after a hotplug can take minutes.
fn needs_prolog_probe() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    release_before(&release, (6, 18))
}

fn release_before(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < version
}

/// Runs a SYSCALL program with `args` as its context, in and out.
fn run<T: Copy>(program: &libbpf_rs::ProgramImpl<'_, libbpf_rs::Mut>, args: &mut T) -> Result<()> {
    // SAFETY: T is one of the integer-only structs of abi.h, so any bytes are
    // valid, and the slice covers exactly it.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(std::ptr::from_mut(args).cast::<u8>(), size_of::<T>())
    };
    let input = ProgramInput {
        context_in: Some(bytes),
        ..Default::default()
    };
    let name = program.name().to_string_lossy().into_owned();
    let output = program
        .test_run(input)
        .with_context(|| format!("running {name}"))?;
    if output.return_value != 0 {
        return Err(anyhow!("{name} returned {}", output.return_value as i32));
    }
    Ok(())
}

fn as_fd<'a, T>(map: &'a libbpf_rs::MapImpl<'_, T>) -> std::os::fd::BorrowedFd<'a> {
    std::os::fd::AsFd::as_fd(map)
}

/// Until the tuner knows better: any CPU, for what the flags do not forbid.
fn initial_roles(config: &Config) -> u32 {
    let mut roles = 0;
    if config.direct_greedy_under_frac > 0.0 {
        roles |= abi::ballast_cpu_flags_BALLAST_CPU_DIRECT;
    }
    if config.kick_greedy_under_frac > 0.0 {
        roles |= abi::ballast_cpu_flags_BALLAST_CPU_KICK;
    }
    roles
}

/// u64 words of a set of CPUs.
fn mask_words(layout: &Layout) -> usize {
    (layout.nr_cpu_ids as usize).div_ceil(64)
}

/// Position in `layout.nodes` of the node that holds `domain`.
fn node_index(layout: &Layout, domain: DomainId) -> Result<u32> {
    let node = layout.domains[domain.index()].node;
    layout
        .nodes
        .iter()
        .position(|candidate| candidate.id == node)
        .map(|index| index as u32)
        .ok_or_else(|| anyhow!("{domain} is in {node}, which the layout does not hold"))
}

fn online_cpus() -> Result<Vec<usize>> {
    let path = "/sys/devices/system/cpu/online";
    let list = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    scx_utils::read_cpulist(list.trim()).with_context(|| format!("reading {path}"))
}

fn set_constants(skel: &mut OpenBpfSkel<'_>, config: &Config) {
    let layout = &config.layout;
    let silence = config.tune_interval * HEARTBEAT_PERIODS;
    let silence_ns = u64::try_from(silence.as_nanos()).unwrap_or(u64::MAX);
    let Some(rodata) = skel.maps.rodata_data.as_mut() else {
        unreachable!("the object has constants");
    };
    rodata.nr_cpu_ids = layout.nr_cpu_ids;
    rodata.nr_domains = layout.domains.len() as u32;
    rodata.nr_nodes = layout.nodes.len() as u32;
    rodata.max_rows = config.max_tasks;
    rodata.mask_words = mask_words(layout) as u32;
    rodata.fifo_sched = config.fifo_sched;
    rodata.kthreads_local = config.kthreads_local;
    rodata.direct_greedy = config.direct_greedy_under_frac > 0.0;
    rodata.kick_greedy = config.kick_greedy_under_frac > 0.0;
    rodata.direct_greedy_numa = config.direct_greedy_numa;
    rodata.mempolicy_affinity = config.mempolicy_affinity;
    rodata.greedy_threshold = config.greedy_threshold;
    rodata.greedy_threshold_x_numa = config.greedy_threshold_x_numa;
    rodata.steal_after_node_ns = config.steal_after_node_ns;
    rodata.steal_after_numa_ns = config.steal_after_numa_ns;
    rodata.heartbeat_timeout_ns = silence_ns.max(HEARTBEAT_MIN_NS);
    rodata.daemon_tgid = std::process::id();
    rodata.cpuperf = config.perf.unwrap_or(abi::ballast_limits_BALLAST_NONE);
}

fn size_maps(skel: &mut OpenBpfSkel<'_>, config: &Config) -> Result<()> {
    let layout = &config.layout;
    let (domains, nodes) = (layout.domains.len() as u32, layout.nodes.len() as u32);
    let maps = &mut skel.maps;
    let size = |map: &mut libbpf_rs::OpenMapMut<'_>, entries: u32| {
        let name = map.name().to_string_lossy().into_owned();
        map.set_max_entries(entries.max(1))
            .with_context(|| format!("sizing map {name} to {entries}"))
    };
    size(&mut maps.rows, config.max_tasks)?;
    let mask_bytes = (mask_words(layout) * size_of::<u64>()) as u32;
    maps.row_masks
        .set_value_size(mask_bytes)
        .context("sizing the values of map row_masks")?;
    size(&mut maps.row_masks, config.max_tasks)?;
    size(&mut maps.free_rows, config.max_tasks)?;
    size(&mut maps.cpus, layout.nr_cpu_ids)?;
    size(&mut maps.domain_cpus, layout.nr_cpu_ids)?;
    size(&mut maps.domains, domains)?;
    size(&mut maps.domain_masks, domains)?;
    size(&mut maps.nodes, nodes)?;
    size(&mut maps.node_order, nodes * nodes)?;
    size(&mut maps.direct_masks, nodes)?;
    size(&mut maps.kick_masks, nodes)
}

fn set_ops(skel: &mut OpenBpfSkel<'_>, config: &Config) {
    let ops = skel.struct_ops.ballast_mut();
    ops.exit_dump_len = config.exit_dump_len_bytes;
    ops.flags = *compat::SCX_OPS_ENQ_LAST
        | *compat::SCX_OPS_ENQ_EXITING
        | *compat::SCX_OPS_ENQ_MIGRATION_DISABLED
        | *compat::SCX_OPS_ALLOW_QUEUED_WAKEUP
        | *compat::SCX_OPS_KEEP_BUILTIN_IDLE;
    if config.partial {
        ops.flags |= *compat::SCX_OPS_SWITCH_PARTIAL;
    }
}

/// Fills the maps that never change while the scheduler is loaded.
fn fill_maps(skel: &BpfSkel<'_>, layout: &Layout) -> Result<()> {
    let mut first_cpu = 0u32;
    for domain in &layout.domains {
        // With those that are offline: they may come back.
        let members = layout.cpu_domain.iter().filter(|(_, id)| **id == domain.id);
        let mut nr_cpus = 0;
        for (cpu, _) in members {
            put(&skel.maps.domain_cpus, first_cpu + nr_cpus, &cpu.0)?;
            nr_cpus += 1;
        }
        // SAFETY: the struct holds integers only.
        let mut value: ballast_domain = unsafe { std::mem::zeroed() };
        value.node = node_index(layout, domain.id)?;
        value.first_cpu = first_cpu;
        value.nr_cpus = nr_cpus;
        put(&skel.maps.domains, domain.id.0, &value)?;
        first_cpu += nr_cpus;
    }
    for (index, node) in layout.nodes.iter().enumerate() {
        let value = ballast_node {
            id: node.id.0,
            first_domain: node.first_domain.0,
            nr_domains: node.nr_domains,
        };
        put(&skel.maps.nodes, index as u32, &value)?;
        for (nth, other) in by_distance(layout, index).into_iter().enumerate() {
            let key = (index * layout.nodes.len() + nth) as u32;
            put(&skel.maps.node_order, key, &(other as u32))?;
        }
    }
    Ok(())
}

/// All nodes, nearest to the one at `index` first; the node itself leads.
fn by_distance(layout: &Layout, index: usize) -> Vec<usize> {
    let here = &layout.nodes[index];
    let mut order: Vec<usize> = (0..layout.nodes.len()).collect();
    order.sort_by_key(|&other| {
        let id = layout.nodes[other].id;
        let distance = here.distance.get(&id).copied().unwrap_or(u32::MAX);
        (other != index, distance, id)
    });
    order
}

fn put<T>(map: &impl MapCore, key: u32, value: &T) -> Result<()> {
    // SAFETY: T is an integer or an integer-only struct of abi.h.
    let bytes = unsafe {
        std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>())
    };
    map.update(&key.to_ne_bytes(), bytes, MapFlags::ANY)
        .with_context(|| format!("filling map {}", map.name().to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_number() {
        assert!(release_before("6.16.12+deb13-cloud-amd64\n", (6, 18)));
        assert!(!release_before("6.18.15+deb13-cloud-amd64\n", (6, 18)));
        assert!(!release_before("7.0.13", (6, 18)));
        assert!(release_before("6.9-rc1", (6, 18)));
        assert!(release_before("", (6, 18)));
    }
}
