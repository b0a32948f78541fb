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
use super::image::{Constants, Tables, initial_roles, mask_words};
use super::preflight::kernel_version;
use super::shared::SharedMemory;
use super::table::Table;
use super::{Beat, Counters, Kernel, Outcome, ReadReport, Ticket};
use crate::abi;
use crate::affinity::MaskTable;
use crate::config::Config;
use crate::demand::RowSample;
use crate::ids::{CpuId, DomainId, TaskRef};

#[allow(missing_docs, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/bpf_skel.rs"));
}
use generated::{BpfSkel, BpfSkelBuilder, OpenBpfSkel};

/// The scheduler in the kernel. Detaches when dropped.
pub struct Scheduler<'obj> {
    skel: BpfSkel<'obj>,
    link: Option<Link>,
    memory: SharedMemory,
    rows_used: u32,
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
        set_constants(&mut skel, &Constants::of(config, std::process::id()));
        size_maps(&mut skel, config)?;
        set_ops(&mut skel, config);
        let skel = scx_ops_load!(skel, ballast, uei)?;
        fill_maps(&skel, &Tables::of(&config.layout)?)?;
        let rows = config.max_tasks as usize;
        let mask_words = rows * mask_words(&config.layout);
        let nr_cpus = config.layout.nr_cpu_ids as usize;
        let memory = SharedMemory::new(
            config,
            std::process::id(),
            Table::map(as_fd(&skel.maps.rows), rows)?,
            Table::map(as_fd(&skel.maps.row_masks), mask_words)?,
            Table::map(as_fd(&skel.maps.cpus), nr_cpus)?,
        );
        let mut scheduler = Scheduler {
            memory,
            rows_used: 0,
            link: None,
            skel,
        };
        let online = online_cpus()?;
        let is_online = |cpu: CpuId| online.contains(&cpu.index());
        scheduler
            .memory
            .place_cpus(&config.layout, initial_roles(config), is_online)?;
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
}

impl Kernel for Scheduler<'_> {
    fn beat(&mut self, beat: &Beat) -> Result<u64> {
        let changed = self.memory.set_roles(&beat.cpus);
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
        rows.clear();
        for slot in 0..self.rows_used.min(self.memory.nr_rows()) {
            self.memory.read_row(slot, now_ns, masks, rows, &mut report);
        }
        report
    }

    fn request(&mut self, task: TaskRef, target: DomainId) -> Option<Ticket> {
        self.memory.request(task, target)
    }

    fn outcome(&self, ticket: &Ticket) -> Outcome {
        self.memory.outcome(ticket)
    }

    fn withdraw(&mut self, ticket: &Ticket) -> Outcome {
        self.memory.withdraw(ticket)
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
        if !self.memory.is_running(task.slot) {
            return Ok(());
        }
        let mut args = abi::ballast_prompt_args { slot: task.slot };
        run(&self.skel.progs.ballast_apply_running, &mut args)
    }

    fn charge(&mut self, task: TaskRef, weight: Option<f64>) {
        self.memory.charge(task, weight);
    }

    fn counters(&self) -> Counters {
        self.memory.counters()
    }

    fn idle_ns(&self, cpu: CpuId, now_ns: u64) -> u64 {
        self.memory.idle_ns(cpu, now_ns)
    }

    fn is_online(&self, cpu: CpuId) -> bool {
        self.memory.is_online(cpu)
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

/// Whether a release is before `version`, or cannot be told.
fn release_before(release: &str, version: (u32, u32)) -> bool {
    kernel_version(release).is_none_or(|of| of < version)
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

fn online_cpus() -> Result<Vec<usize>> {
    let path = "/sys/devices/system/cpu/online";
    let list = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    scx_utils::read_cpulist(list.trim()).with_context(|| format!("reading {path}"))
}

fn set_constants(skel: &mut OpenBpfSkel<'_>, constants: &Constants) {
    let Some(rodata) = skel.maps.rodata_data.as_mut() else {
        unreachable!("the object has constants");
    };
    rodata.nr_cpu_ids = constants.nr_cpu_ids;
    rodata.nr_domains = constants.nr_domains;
    rodata.nr_nodes = constants.nr_nodes;
    rodata.max_rows = constants.max_rows;
    rodata.mask_words = constants.mask_words;
    rodata.fifo_sched = constants.fifo_sched;
    rodata.kthreads_local = constants.kthreads_local;
    rodata.direct_greedy = constants.direct_greedy;
    rodata.direct_greedy_numa = constants.direct_greedy_numa;
    rodata.kick_greedy = constants.kick_greedy;
    rodata.mempolicy_affinity = constants.mempolicy_affinity;
    rodata.greedy_threshold = constants.greedy_threshold;
    rodata.greedy_threshold_x_numa = constants.greedy_threshold_x_numa;
    rodata.steal_after_node_ns = constants.steal_after_node_ns;
    rodata.steal_after_numa_ns = constants.steal_after_numa_ns;
    rodata.heartbeat_timeout_ns = constants.heartbeat_timeout_ns;
    rodata.daemon_tgid = constants.daemon_tgid;
    rodata.cpuperf = constants.cpuperf;
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
fn fill_maps(skel: &BpfSkel<'_>, tables: &Tables) -> Result<()> {
    fill(&skel.maps.domain_cpus, &tables.domain_cpus)?;
    fill(&skel.maps.domains, &tables.domains)?;
    fill(&skel.maps.nodes, &tables.nodes)?;
    fill(&skel.maps.node_order, &tables.node_order)
}

fn fill<T>(map: &impl MapCore, values: &[T]) -> Result<()> {
    (0u32..)
        .zip(values)
        .try_for_each(|(key, value)| put(map, key, value))
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
