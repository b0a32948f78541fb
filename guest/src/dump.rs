// SPDX-License-Identifier: GPL-2.0-only
//! What the scheduler says about a task in the kernel's debug dump (SysRq-D).
//! Never changes anything but the tracing buffer.

use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

const EVENT: &str = "/sys/kernel/tracing/events/sched_ext/sched_ext_dump/enable";
const TRACE: &str = "/sys/kernel/tracing/trace";
const SYSRQ: &str = "/proc/sysrq-trigger";
/// The dump is written before the trigger returns, unless the machine is busy.
const PATIENCE: Duration = Duration::from_secs(5);

/// The weight that thread `pid`, which must be runnable, is charged by; nice 0 is 1024.
///
/// # Errors
/// When the kernel makes no dump, or the dump does not have the task.
pub fn weight_of(pid: u32) -> Result<u64> {
    fs::write(EVENT, "1").with_context(|| format!("writing {EVENT}"))?;
    let start = Instant::now();
    loop {
        fs::write(TRACE, "").with_context(|| format!("clearing {TRACE}"))?;
        fs::write(SYSRQ, "D").with_context(|| format!("writing {SYSRQ}"))?;
        sleep(Duration::from_millis(200));
        let trace = fs::read_to_string(TRACE).with_context(|| format!("reading {TRACE}"))?;
        match weight_in(&trace, pid) {
            Some(weight) => return Ok(weight),
            None if start.elapsed() < PATIENCE => {}
            None => bail!("the kernel's dump says nothing about thread {pid}"),
        }
    }
}

/// The scheduler's own line follows the kernel's lines about the task.
fn weight_in(trace: &str, pid: u32) -> Option<u64> {
    let named = format!("[{pid}] ");
    let mut of_task = trace
        .lines()
        .skip_while(|line| !(begins_a_task(line) && line.contains(&named)));
    of_task.next()?;
    let own = of_task
        .take_while(|line| !begins_a_task(line))
        .find(|line| line.contains(" clock ") && line.contains(" weight "))?;
    let after = own.split(" weight ").nth(1)?;
    after.split_whitespace().next()?.parse().ok()
}

/// "R name[pid] +16ms": state, name and how long ago the task became runnable.
fn begins_a_task(line: &str) -> bool {
    line.contains("] ") && line.trim_end().ends_with("ms") && !line.contains("class=")
}

#[cfg(test)]
mod unit {
    use super::weight_in;

    #[test]
    fn the_line_of_the_task_is_read() {
        let trace = "\
 sh-1 [4] d..2. 1.0: sched_ext_dump:  *R nice0[250] +16ms
 sh-1 [4] d..2. 1.0: sched_ext_dump:       dsq_vtime=36 slice=5000000 weight=100
 sh-1 [4] d..2. 1.0: sched_ext_dump:     domain 0 clock 0 weight 1024 lag 2509 us state 2
 sh-1 [4] d..2. 1.0: sched_ext_dump:   R nice-20[240] -36ms
 sh-1 [4] d..2. 1.0: sched_ext_dump:       dsq_vtime=36 slice=5000000 weight=8668
 sh-1 [4] d..2. 1.0: sched_ext_dump:     domain 0 clock 0 weight 2194 lag 9 us state 1
 sh-1 [4] d..2. 1.0: sched_ext_dump:   R nice0[241] +36ms
";
        assert_eq!(weight_in(trace, 240), Some(2194));
        assert_eq!(weight_in(trace, 250), Some(1024));
        assert_eq!(weight_in(trace, 241), None);
        assert_eq!(weight_in(trace, 40), None);
    }
}
