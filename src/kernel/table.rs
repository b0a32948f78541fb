// SPDX-License-Identifier: GPL-2.0-only
//! Memory shared with BPF: mapping it, and reading rows that change meanwhile.
//! Never blocks a writer: a row that was read torn is read again.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use anyhow::{Context, Result, ensure};

use crate::abi::{self, ballast_cpu, ballast_row};
use crate::demand::RowSample;
use crate::ids::{DomainId, MaskId, TaskRef};
use crate::weight::weight_of_kernel;

/// How often a torn row is tried again. A writer needs some ten instructions,
/// so meeting it twice is rare and four times means a CPU that was stopped.
const READ_TRIES: usize = 4;

/// What may live in a table: integers only, so that any bits are a value, and
/// as long as the kernel's rounding of map values.
///
/// # Safety
/// The type must be `repr(C)` or an integer, hold integers only, and be the
/// value type of the map it is read from.
pub unsafe trait Plain: Copy {
    /// Fails to compile for a type whose map would have larger strides.
    const FITS: () = assert!(size_of::<Self>().is_multiple_of(8));
}

// SAFETY: an integer, and two structs of abi.h, which holds integers only.
unsafe impl Plain for u64 {}
unsafe impl Plain for ballast_row {}
unsafe impl Plain for ballast_cpu {}

/// An array map in this process's memory, written by BPF at any time.
pub struct Table<T: Plain> {
    base: *mut T,
    len: usize,
    bytes: usize,
}

impl<T: Plain> Table<T> {
    /// Maps the `len` values of an array map created with BPF_F_MMAPABLE.
    ///
    /// # Errors
    /// The kernel refused the mapping.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> Result<Self> {
        ensure!(len > 0, "an empty map cannot be mapped");
        let () = T::FITS;
        let bytes = len * size_of::<T>();
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error())
                .with_context(|| format!("mapping {bytes} bytes of a BPF map"));
        }
        Ok(Table {
            base: base.cast(),
            len,
            bytes,
        })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none. Never true: see [`Table::map`].
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn at(&self, index: usize) -> *mut T {
        assert!(index < self.len, "row {index} of {}", self.len);
        // SAFETY: within the mapping, by the assertion.
        unsafe { self.base.add(index) }
    }

    /// A copy of one value, possibly torn.
    pub fn read(&self, index: usize) -> T {
        // SAFETY: `at` is within the mapping and aligned; any bits are a valid
        // T, which holds integers only.
        unsafe { std::ptr::read_volatile(self.at(index)) }
    }

    /// Replaces one value. For before the scheduler is attached: a word that
    /// BPF writes meanwhile is lost.
    pub fn write(&mut self, index: usize, value: T) {
        // SAFETY: within the mapping and aligned.
        unsafe { std::ptr::write_volatile(self.at(index), value) };
    }
}

impl<T: Plain> Drop for Table<T> {
    fn drop(&mut self) {
        // SAFETY: exactly what map() mapped, and nothing refers to it any more.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

/// The words of a row that BPF and the daemon both write.
pub struct Shared<'a> {
    /// Odd while the row is in use.
    pub generation: &'a AtomicU32,
    /// The request, 0: none.
    pub request: &'a AtomicU64,
    /// The answer to the last one claimed.
    pub answer: &'a AtomicU64,
    /// The weight to charge by, with the generation it is meant for.
    pub charged: &'a AtomicU64,
}

impl Table<ballast_cpu> {
    /// How long one CPU has idled, and since when it does, 0: it does not. A copy of
    /// all that is known of it would be ten times as long.
    pub fn idle(&self, index: usize) -> (u64, u64) {
        let cpu = self.at(index);
        // SAFETY: aligned fields within the mapping; any bits are an integer.
        unsafe {
            let idle_ns = (&raw const (*cpu).idle_ns).read_volatile();
            (idle_ns, (&raw const (*cpu).idle_since_ns).read_volatile())
        }
    }

    /// The flags of one CPU, which hotplug changes as well.
    pub fn flags(&self, index: usize) -> &AtomicU32 {
        // SAFETY: aligned, within the mapping for as long as `self`, and
        // touched by both sides only as a whole word.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.at(index)).flags) }
    }
}

impl Table<ballast_row> {
    /// The shared words of the row at `slot`.
    pub fn shared(&self, slot: u32) -> Shared<'_> {
        let row = self.at(slot as usize);
        // SAFETY: the fields are aligned, within the mapping for as long as
        // `self`, and touched by both sides only as whole words.
        unsafe {
            Shared {
                generation: AtomicU32::from_ptr(&raw mut (*row).generation),
                request: AtomicU64::from_ptr(&raw mut (*row).request),
                answer: AtomicU64::from_ptr(&raw mut (*row).answer),
                charged: AtomicU64::from_ptr(&raw mut (*row).charged),
            }
        }
    }

    /// A copy of the row at `slot`, possibly torn.
    #[inline]
    pub fn copy(&self, slot: u32) -> ballast_row {
        // SAFETY: `at` is within the mapping and aligned.
        unsafe { copy_row(self.at(slot as usize)) }
    }

    /// Which task the row at `slot` is of, if it is odd.
    pub fn generation(&self, slot: u32) -> u32 {
        self.shared(slot).generation.load(Ordering::Relaxed)
    }

    /// The CPU that the row's task was last seen on, and whether it runs.
    pub fn is_running(&self, slot: u32) -> bool {
        state_of(&self.copy(slot)).1 == abi::ballast_state_BALLAST_RUN
    }
}

/// What became of reading one row.
#[derive(Debug, PartialEq)]
pub enum RowRead {
    /// No task uses the row.
    Free,
    /// The row changed at every try.
    Torn,
    /// A whole row, sums brought up to the time asked for, and its flags.
    Whole(RowSample, u32),
}

/// A copy of a row, possibly torn. Word by word: as a whole it would go through memory.
///
/// # Safety
/// The row must be in memory that can be read, whoever writes it meanwhile.
#[inline]
pub unsafe fn copy_row(row: *const ballast_row) -> ballast_row {
    macro_rules! copy {
        ($($field:ident),*) => {
            // SAFETY: fields of a row that can be read, by the caller's promise; any
            // bits are an integer.
            unsafe { ballast_row { $($field: (&raw const (*row).$field).read_volatile()),* } }
        };
    }
    copy!(
        run_ns,
        wait_ns,
        sleep_ns,
        born_ns,
        since_state,
        request,
        answer,
        preferred_nodes,
        charged,
        cgroup,
        generation,
        pid,
        tgid,
        weight,
        domain,
        cpu,
        flags
    )
}

/// Reads one row through `read`, which returns a possibly torn copy, and
/// `generation`, which returns the present one.
#[inline]
pub fn read_row(
    slot: u32,
    now_ns: u64,
    mut read: impl FnMut() -> ballast_row,
    mut generation: impl FnMut() -> u32,
    mut mask: impl FnMut() -> MaskId,
) -> RowRead {
    for _ in 0..READ_TRIES {
        let row = read();
        if row.generation.is_multiple_of(2) {
            return RowRead::Free;
        }
        if is_whole(&row) {
            let sample = sample(slot, now_ns, &row, &mut mask);
            // The set lies outside the row: was it still this task's?
            std::sync::atomic::fence(Ordering::Acquire);
            if generation() == row.generation {
                return RowRead::Whole(sample, row.flags);
            }
        }
        std::sync::atomic::fence(Ordering::SeqCst);
    }
    RowRead::Torn
}

fn state_of(row: &ballast_row) -> (u64, u32) {
    let bits = abi::ballast_state_BALLAST_STATE_BITS;
    let state = row.since_state & ((1 << bits) - 1);
    (row.since_state >> bits, state as u32)
}

/// The sums and the time of the last change agree; see struct ballast_row.
fn is_whole(row: &ballast_row) -> bool {
    let (since_ns, _) = state_of(row);
    let spent = row
        .run_ns
        .wrapping_add(row.wait_ns)
        .wrapping_add(row.sleep_ns);
    spent == since_ns.wrapping_sub(row.born_ns)
}

#[inline]
fn sample(
    slot: u32,
    now_ns: u64,
    row: &ballast_row,
    mask: &mut impl FnMut() -> MaskId,
) -> RowSample {
    let (since_ns, state) = state_of(row);
    // The row's CPU may have been a little ahead of the clock that was read.
    let current_ns = now_ns.saturating_sub(since_ns);
    let up_to_now = |sum: u64, of: u32| if state == of { sum + current_ns } else { sum };
    let anywhere = row.flags & abi::ballast_row_flags_BALLAST_ROW_ANYWHERE != 0;
    RowSample {
        task: TaskRef {
            slot,
            generation: row.generation,
        },
        pid: row.pid,
        tgid: row.tgid,
        weight: weight_of_kernel(row.weight),
        charged: charged_weight(row),
        domain: DomainId(row.domain),
        run_ns: up_to_now(row.run_ns, abi::ballast_state_BALLAST_RUN),
        wait_ns: up_to_now(row.wait_ns, abi::ballast_state_BALLAST_WAIT),
        sleep_ns: up_to_now(row.sleep_ns, abi::ballast_state_BALLAST_SLEEP),
        pinned: row.flags & abi::ballast_row_flags_BALLAST_ROW_PINNED != 0,
        mask: if anywhere { MaskId::ANYWHERE } else { mask() },
        preferred_nodes: row.preferred_nodes,
        cgroup: row.cgroup,
    }
}

/// The weight that BPF charges the task by, if the daemon has set one.
fn charged_weight(row: &ballast_row) -> Option<f64> {
    let meant_for = (row.charged >> 32) as u32;
    (row.charged != 0 && meant_for == row.generation).then(|| weight_of_kernel(row.charged as u32))
}

/// Whether flags read with a row are those of a kernel worker.
pub fn is_kworker(flags: u32) -> bool {
    flags & abi::ballast_row_flags_BALLAST_ROW_KWORKER != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> ballast_row {
        ballast_row {
            run_ns: 30,
            wait_ns: 20,
            sleep_ns: 10,
            born_ns: 1000,
            since_state: 1060 << 2 | u64::from(abi::ballast_state_BALLAST_WAIT),
            request: 0,
            answer: 0,
            preferred_nodes: 0,
            charged: 0,
            cgroup: 77,
            generation: 3,
            pid: 5,
            tgid: 4,
            weight: 1024,
            domain: 1,
            cpu: 6,
            flags: abi::ballast_row_flags_BALLAST_ROW_ANYWHERE,
        }
    }

    fn whole(read: RowRead) -> RowSample {
        match read {
            RowRead::Whole(sample, _) => sample,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_present_state_counts_up_to_now() {
        let sample = whole(read_row(9, 1100, row, || 3, || MaskId::ANYWHERE));
        assert_eq!(
            (sample.run_ns, sample.wait_ns, sample.sleep_ns),
            (30, 60, 10)
        );
        assert_eq!(sample.task.slot, 9);
        assert_eq!(sample.weight, 100.0);
        assert_eq!(sample.cgroup, 77);
        assert_eq!(sample.mask, MaskId::ANYWHERE);
    }

    #[test]
    fn a_clock_behind_the_row_adds_nothing() {
        let sample = whole(read_row(0, 1000, row, || 3, || MaskId::ANYWHERE));
        assert_eq!(sample.wait_ns, 20);
    }

    #[test]
    fn a_torn_row_is_read_again() {
        let mut reads = 0;
        let read = || {
            reads += 1;
            let mut row = row();
            if reads < 3 {
                row.run_ns += 7;
            }
            row
        };
        let sample = whole(read_row(0, 1060, read, || 3, || MaskId::ANYWHERE));
        assert_eq!(sample.run_ns, 30);
        assert_eq!(reads, 3);
    }

    #[test]
    fn a_row_that_changes_hands_is_read_again() {
        let mut reads = 0;
        let read = || {
            reads += 1;
            ballast_row {
                generation: if reads == 1 { 1 } else { 3 },
                ..row()
            }
        };
        let sample = whole(read_row(0, 1060, read, || 3, || MaskId::ANYWHERE));
        assert_eq!(sample.task.generation, 3);
        assert_eq!(reads, 2);
    }

    #[test]
    fn a_row_torn_at_every_try_is_left_out() {
        let read = || ballast_row {
            sleep_ns: 11,
            ..row()
        };
        let read = read_row(0, 1060, read, || 3, || MaskId::ANYWHERE);
        assert_eq!(read, RowRead::Torn);
    }

    #[test]
    fn a_charged_weight_is_read_for_its_own_generation_only() {
        let read = |generation: u64, weight: u64| {
            let charged = ballast_row {
                charged: generation << 32 | weight,
                ..row()
            };
            whole(read_row(0, 1060, || charged, || 3, || MaskId::ANYWHERE)).charged
        };
        assert_eq!(read(3, 2048), Some(200.0));
        assert_eq!(read(1, 2048), None);
        assert_eq!(read(0, 0), None);
    }

    #[test]
    fn an_even_generation_is_no_task() {
        let read = || ballast_row {
            generation: 4,
            ..row()
        };
        let read = read_row(0, 1060, read, || 4, || MaskId::ANYWHERE);
        assert_eq!(read, RowRead::Free);
    }
}
