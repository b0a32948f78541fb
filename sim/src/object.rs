// SPDX-License-Identifier: GPL-2.0-only
//! The compiled scheduler: loaded, sized to the machine, its memory and callbacks.
//! Never shared: every run loads its own copy, so that no global outlives a run.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd};
use std::ptr::{self, NonNull};

use anyhow::{Context, Result, bail};
use libloading::os::unix::Library;
use scx_ballast::abi::{self, ballast_cpu, ballast_domain, ballast_row};
use scx_ballast::config::Config;
use scx_ballast::ids::CpuId;
use scx_ballast::kernel::image::{Constants, Tables, initial_roles, mask_words};
use scx_ballast::kernel::shared::SharedMemory;
use scx_ballast::kernel::table::Table;

use crate::shim::{bpf_cpumask, sched_ext_ops, sim_kernel, sim_map, sim_ring};

/// A line of the source replaced by a wrong one, see defects.toml.
pub struct Defect {
    /// What it is called.
    pub name: &'static str,
    /// The checks of which one has to fail.
    pub caught_by: &'static [&'static str],
    object: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/objects.rs"));

/// The process id of the daemon.
pub const DAEMON_TGID: u32 = 999;

/// Memory of one map, shared with the daemon's tables through the file.
struct Memory {
    file: File,
    base: NonNull<libc::c_void>,
    bytes: usize,
}

impl Memory {
    fn new(bytes: usize) -> Result<Memory> {
        let bytes = bytes.max(1);
        let file = memory_file(c"map")?;
        file.set_len(bytes as u64).context("sizing a map")?;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("mapping a map");
        }
        let base = NonNull::new(base).context("a map at address 0")?;
        Ok(Memory { file, base, bytes })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly what new() mapped.
        unsafe { libc::munmap(self.base.as_ptr(), self.bytes) };
    }
}

fn memory_file(name: &std::ffi::CStr) -> Result<File> {
    // SAFETY: the name is a C string; the descriptor is ours alone.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC);
        if fd < 0 {
            return Err(std::io::Error::last_os_error()).context("memfd_create");
        }
        Ok(File::from_raw_fd(fd))
    }
}

/// The loaded scheduler.
pub struct Object {
    ops: *const sched_ext_ops,
    kernel: *mut sim_kernel,
    rows: *mut ballast_row,
    cpus: *mut ballast_cpu,
    domains: *mut ballast_domain,
    maps: Vec<Memory>,
    /// Everything above points into it.
    library: Library,
    /// Kept open: the loader takes a library at the same path for the same library,
    /// and the path is the descriptor's number.
    _file: File,
}

type Program<T> = unsafe extern "C" fn(*mut T) -> i32;

impl Object {
    /// Loads the scheduler, as it ships or with a defect, for the machine and the
    /// flags of `config`.
    ///
    /// # Errors
    /// The system has no memory to give, or the object lacks what is expected.
    pub fn load(config: &Config, defect: Option<&Defect>) -> Result<(Object, SharedMemory)> {
        let mut file = memory_file(c"ballast")?;
        file.write_all(defect.map_or(SHIPPED, |defect| defect.object))
            .context("writing the object")?;
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the object is ours and has no constructors.
        let library = unsafe { Library::open(Some(&path), libc::RTLD_NOW | libc::RTLD_LOCAL) }
            .context("loading the object")?;
        let mut object = Object {
            ops: symbol(&library, "ballast")?,
            kernel: symbol(&library, "sim_kernel")?,
            rows: ptr::null_mut(),
            cpus: ptr::null_mut(),
            domains: ptr::null_mut(),
            maps: Vec::new(),
            library,
            _file: file,
        };
        object.set_constants(Constants::of(config, DAEMON_TGID))?;
        let memory = object.create_maps(config)?;
        Ok((object, memory))
    }

    fn set_constants(&self, constants: Constants) -> Result<()> {
        macro_rules! set {
            ($($name:ident),*) => {
                // Names every field: a new constant does not compile until it is here.
                let Constants { $($name),* } = constants;
                $( self.set_constant(stringify!($name), $name)?; )*
            };
        }
        set!(
            nr_cpu_ids,
            nr_domains,
            nr_nodes,
            max_rows,
            mask_words,
            fifo_sched,
            kthreads_local,
            direct_greedy,
            direct_greedy_numa,
            kick_greedy,
            mempolicy_affinity,
            greedy_threshold,
            greedy_threshold_x_numa,
            steal_after_node_ns,
            steal_after_numa_ns,
            heartbeat_timeout_ns,
            daemon_tgid,
            cpuperf
        );
        Ok(())
    }

    /// Constants are read-only in the object, as they are in BPF once loaded.
    fn set_constant<T>(&self, name: &str, value: T) -> Result<()> {
        const PAGE: usize = 4096;
        let target: *mut T = symbol(&self.library, name)?;
        let page = target.addr() / PAGE * PAGE;
        let bytes = target.addr() + size_of::<T>() - page;
        // SAFETY: the pages are the object's own; the symbol has the type that
        // types.bpf.h and `Constants` give it.
        unsafe {
            let start = target.with_addr(page).cast();
            if libc::mprotect(start, bytes, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                return Err(std::io::Error::last_os_error()).context("opening the constants");
            }
            target.write_volatile(value);
        }
        Ok(())
    }

    fn create_maps(&mut self, config: &Config) -> Result<SharedMemory> {
        let layout = &config.layout;
        let tables = Tables::of(layout)?;
        let rows = config.max_tasks as usize;
        let nr_cpus = layout.nr_cpu_ids as usize;
        let words = mask_words(layout);
        let at_rows = self.create("rows", size_of::<ballast_row>(), rows)?;
        let at_masks = self.create("row_masks", words * 8, rows)?;
        let at_cpus = self.create("cpus", size_of::<ballast_cpu>(), nr_cpus)?;
        self.rows = self.maps[at_rows].base.as_ptr().cast();
        self.cpus = self.maps[at_cpus].base.as_ptr().cast();
        self.fill("domain_cpus", &tables.domain_cpus)?;
        let at_domains = self.fill("domains", &tables.domains)?;
        self.domains = self.maps[at_domains].base.as_ptr().cast();
        self.fill("nodes", &tables.nodes)?;
        self.fill("node_order", &tables.node_order)?;
        let mask = size_of::<*mut bpf_cpumask>();
        self.create("domain_masks", mask, layout.domains.len())?;
        self.create("direct_masks", mask, layout.nodes.len())?;
        self.create("kick_masks", mask, layout.nodes.len())?;
        self.create("machine_masks", mask, 1)?;
        self.create_ring("free_rows", rows)?;
        let fd = |index: usize| self.maps[index].file.as_fd();
        let mut memory = SharedMemory::new(
            config,
            DAEMON_TGID,
            Table::map(fd(at_rows), rows)?,
            Table::map(fd(at_masks), rows * words)?,
            Table::map(fd(at_cpus), nr_cpus)?,
        );
        let is_online = |cpu: CpuId| {
            let domain = layout.cpu_domain.get(&cpu);
            domain.is_some_and(|id| layout.domains[id.index()].cpus.contains(&cpu))
        };
        memory.place_cpus(layout, initial_roles(config), is_online)?;
        Ok(memory)
    }

    /// Gives the map its memory; returns its place among the maps.
    fn create(&mut self, name: &str, stride: usize, entries: usize) -> Result<usize> {
        let memory = Memory::new(stride * entries)?;
        let map: *mut sim_map = symbol(&self.library, name)?;
        // SAFETY: the variable of a map has room for this: see SIM_MAP in shim.h.
        unsafe {
            map.write(sim_map {
                base: memory.base.as_ptr(),
                stride: stride as u64,
                entries: entries as u64,
            });
        }
        self.maps.push(memory);
        Ok(self.maps.len() - 1)
    }

    fn create_ring(&mut self, name: &str, entries: usize) -> Result<()> {
        let index = self.create(name, 4, entries)?;
        let memory = Memory::new(size_of::<sim_ring>() + 4 * entries)?;
        let map: *mut sim_map = symbol(&self.library, name)?;
        // SAFETY: as in create(), which has just written it.
        unsafe { (*map).base = memory.base.as_ptr() };
        self.maps[index] = memory;
        Ok(())
    }

    fn fill<T: Copy>(&mut self, name: &str, values: &[T]) -> Result<usize> {
        let index = self.create(name, size_of::<T>(), values.len())?;
        let base: *mut T = self.maps[index].base.as_ptr().cast();
        // SAFETY: the memory was made for exactly these values.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), base, values.len()) };
        Ok(index)
    }

    /// The callbacks.
    pub fn ops(&self) -> &sched_ext_ops {
        // SAFETY: lives as long as the library, and is never written.
        unsafe { &*self.ops }
    }

    /// The kernel as the scheduler sees it. The scheduler writes some of its
    /// fields while one of its functions runs.
    pub fn kernel(&self) -> *mut sim_kernel {
        self.kernel
    }

    /// A copy of the row at `slot`.
    pub fn row(&self, slot: u32) -> ballast_row {
        // SAFETY: rows exist up to max_rows; the caller has the slot from the
        // scheduler, whose lookups are bounded.
        unsafe { self.rows.add(slot as usize).read_volatile() }
    }

    /// The request in the row at `slot`.
    pub fn request(&self, slot: u32) -> u64 {
        // SAFETY: as in row().
        unsafe { (&raw const (*self.rows.add(slot as usize)).request).read_volatile() }
    }

    /// Writes the row at `slot`, as a fault would have it.
    pub fn write_row(&self, slot: u32, row: ballast_row) {
        // SAFETY: as in row().
        unsafe { self.rows.add(slot as usize).write_volatile(row) };
    }

    /// A copy of what BPF knows of a CPU.
    pub fn cpu(&self, cpu: u32) -> ballast_cpu {
        // SAFETY: the machine's CPUs have an entry each.
        unsafe { self.cpus.add(cpu as usize).read_volatile() }
    }

    /// A copy of what BPF knows of a domain.
    pub fn domain(&self, domain: u32) -> ballast_domain {
        // SAFETY: the layout's domains have an entry each.
        unsafe { self.domains.add(domain as usize).read_volatile() }
    }

    /// The value of a global variable of the scheduler.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn global<T: Copy>(&self, name: &str) -> Result<T> {
        let at: *mut T = symbol(&self.library, name)?;
        // SAFETY: the caller names the type that types.bpf.h gives it.
        Ok(unsafe { at.read_volatile() })
    }

    /// The SYSCALL program of this name.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn program<T>(&self, name: &str) -> Result<Program<T>> {
        let at: *mut libc::c_void = symbol(&self.library, name)?;
        // SAFETY: SYSCALL programs take one pointer and return an int.
        Ok(unsafe { std::mem::transmute::<*mut libc::c_void, Program<T>>(at) })
    }

    /// The flags a CPU has in the scheduler's eyes.
    pub fn is_cpu_online(&self, cpu: u32) -> bool {
        self.cpu(cpu).flags & abi::ballast_cpu_flags_BALLAST_CPU_ONLINE != 0
    }
}

fn symbol<T>(library: &Library, name: &str) -> Result<*mut T> {
    // SAFETY: only the address is taken; who uses it answers for the type.
    let at = unsafe { library.get::<*mut T>(name.as_bytes()) };
    match at {
        Ok(symbol) => Ok(symbol.into_raw().cast()),
        Err(_) => bail!("src/bpf has no `{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_load_has_globals_of_its_own() {
        let config = crate::run::config(&[], &crate::scenario::Topology::default()).expect("good");
        let (a, _) = Object::load(&config, None).expect("loads");
        let (b, _) = Object::load(&config, None).expect("loads");
        assert_ne!(a.kernel(), b.kernel());
        assert_eq!(a.global::<u32>("daemon_tgid").expect("there"), DAEMON_TGID);
        assert_eq!(b.global::<u64>("slice_ns").expect("there"), 5_000_000);
        assert!(a.global::<u32>("no_such_variable").is_err());
    }
}
