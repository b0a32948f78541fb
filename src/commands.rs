// SPDX-License-Identifier: GPL-2.0-only
//! The commands besides scheduling: read, let others work, print.
//! Never attaches anything to the kernel or reads the machine.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::cli::commands::{Command, PlanArgs, SnapshotArgs};
use crate::load_balance::{self, Config};
use crate::snapshot_file::{self, Writer};
use crate::stdout::print;
use crate::usage::UsageError;
use crate::{report, stats};

/// The largest snapshot file, in MiB: some two million tasks. Planning takes 2 bytes
/// of memory for each byte of a usual file, and 5 for each of one with nothing but
/// the shortest tasks.
const MAX_FILE_MIB: u64 = 256;

/// Does what `command` asks for.
///
/// # Errors
/// Bad input as a [`UsageError`]; otherwise what went wrong at run time.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Plan(args) => plan(args),
        Command::Snapshot(args) => snapshot(args),
    }
}

fn plan(args: &PlanArgs) -> Result<()> {
    let input = snapshot_file::read(&read_file(&args.snapshot)?)?;
    let config = Config {
        mempolicy_affinity: args.mempolicy_affinity,
        ..Config::default()
    };
    let plan = load_balance::plan(&input.snapshot, &config);
    print(&if args.json {
        report::plan_json(&input, &plan).context("writing the plan as JSON")?
    } else {
        report::plan(&input, &plan)
    })
}

fn snapshot(args: &SnapshotArgs) -> Result<()> {
    let answer = stats::latest_snapshot()?;
    let bytes = serde_json::to_vec(&answer).context("reading the scheduler's answer")?;
    // Not bad usage: what is wrong is the answer.
    let input = snapshot_file::read(&bytes)
        .map_err(|error| anyhow!("the running scheduler's snapshot cannot be read: {error}"))?;
    print(&if args.json {
        let writer = Writer::new(&input.snapshot, &input.names);
        let json = serde_json::to_string_pretty(&writer.file());
        json.context("writing the snapshot as JSON")? + "\n"
    } else {
        report::snapshot(&input)
    })
}

/// The bytes of the file, or of standard input for `-`.
fn read_file(path: &Path) -> Result<Vec<u8>, UsageError> {
    let wrong = |error: io::Error| {
        let path = path.display();
        let detail = match error.kind() {
            ErrorKind::IsADirectory => format!("'{path}' is a folder; give a file"),
            _ => {
                format!("reading '{path}': {error}; give a readable file, or - for standard input")
            }
        };
        UsageError::new("--snapshot", detail)
    };
    let source: Box<dyn Read> = if path.as_os_str() == OsStr::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(wrong)?)
    };
    let bytes = read_at_most(MAX_FILE_MIB, source).map_err(wrong)?;
    bytes.ok_or_else(|| {
        let detail = format!(
            "'{}' is larger than {MAX_FILE_MIB} MiB; give a smaller snapshot",
            path.display()
        );
        UsageError::new("--snapshot", detail)
    })
}

/// All bytes of a source, or `None` if it has more than so many MiB.
fn read_at_most(mib: u64, source: impl Read) -> io::Result<Option<Vec<u8>>> {
    let most = mib << 20;
    let mut bytes = Vec::new();
    source.take(most + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_a_snapshot_may_have() {
        let read = |len| read_at_most(1, io::repeat(b'0').take(len)).expect("no errors");
        assert_eq!(read(1 << 20).map(|bytes| bytes.len()), Some(1 << 20));
        assert_eq!(read((1 << 20) + 1), None);
        let endless = read_at_most(1, io::repeat(b'0')).expect("no errors");
        assert_eq!(endless, None);
    }
}
