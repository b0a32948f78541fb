// SPDX-License-Identifier: GPL-2.0-only
//! What the program runs with: validated values with their units.
//! Never parses text; that is `cli`, which knows what the user typed.

use std::fs::File;
use std::io::{self, Read as _};
use std::time::Duration;

use scx_utils::libbpf_clap_opts::LibbpfOpts;

use crate::cli::Cli;
use crate::domains::Layout;
use crate::topology::Machine;
use crate::usage::UsageError;

/// The settings of one run of the scheduler. The meaning of each is that of
/// the flag of the same name.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time between two rounds of the balancer.
    pub interval: Duration,
    /// Time between two rounds of the tuner.
    pub tune_interval: Duration,
    /// Half-life of the averages of demand.
    pub load_half_life: Duration,
    /// Whether the balancer asks for moves.
    pub load_balance: bool,

    /// Slice while the machine has idle time.
    pub slice_underutil_ns: u64,
    /// Slice while it has none.
    pub slice_overutil_ns: u64,
    /// First in, first out instead of weighted order.
    pub fifo_sched: bool,
    /// Kernel threads bound to one CPU go straight to its local queue.
    pub kthreads_local: bool,
    /// Kworkers are left out of balancing.
    pub balanced_kworkers: bool,

    /// Fewest tasks queued in a domain of the same node before another domain
    /// takes one; 0: no stealing, and then the one across nodes is 0 too.
    pub greedy_threshold: u32,
    /// The same across nodes; 0: none.
    pub greedy_threshold_x_numa: u32,
    /// How long a queue of the same node has not been empty before an idle CPU
    /// of another domain helps.
    pub steal_after_node_ns: u64,
    /// The same across nodes.
    pub steal_after_numa_ns: u64,
    /// An idle CPU whose utilisation was below this may be given remote tasks at
    /// wake-up, in 0..=1; 0: never, 1: always.
    pub direct_greedy_under_frac: f64,
    /// An idle CPU whose utilisation was below this may be kicked to steal, in
    /// 0..=1; 0: never, 1: always.
    pub kick_greedy_under_frac: f64,
    /// Whether the push may cross nodes.
    pub direct_greedy_numa: bool,

    /// The domains.
    pub layout: Layout,

    /// Only tasks that chose SCHED_EXT are scheduled.
    pub partial: bool,
    /// Tasks with a memory policy prefer the domains of its nodes.
    pub mempolicy_affinity: bool,
    /// Performance level asked of cpufreq, 0..=1024; `None`: hands off.
    pub perf: Option<u32>,
    /// Rows in the task table.
    pub max_tasks: u32,

    /// Time between two prints of the statistics; `None`: not printed.
    pub stats: Option<Duration>,
    /// Length of the kernel's dump on exit, in bytes; 0: the kernel's default.
    pub exit_dump_len_bytes: u32,
    /// How often `-v` was given.
    pub verbose: u8,
    /// Options for opening the BPF object.
    pub libbpf: LibbpfOpts,
}

/// Where a shared queue's lock starts to cost more than sharing gains; the
/// default of `--domain-cpus` stays well below.
const CROWDED_DOMAIN_CPUS: usize = 64;

impl Config {
    /// Turns what the user typed into what runs on this machine.
    ///
    /// # Errors
    /// Domains that this machine cannot have, a file for libbpf that cannot be
    /// read, or a duration that parsing would have refused.
    pub fn from_cli(cli: &Cli, machine: &Machine) -> Result<Config, UsageError> {
        check_kconfig(cli.libbpf.kconfig.as_deref())?;
        check_btf(cli.libbpf.btf_custom_path.as_deref())?;
        let stealing = cli.greedy_threshold > 0;
        let direct_greedy = cli.direct_greedy_under > 0.0;
        Ok(Config {
            interval: duration("--interval", cli.interval)?,
            tune_interval: duration("--tune-interval", cli.tune_interval)?,
            load_half_life: duration("--load-half-life", cli.load_half_life)?,
            load_balance: !cli.no_load_balance,
            slice_underutil_ns: nanoseconds(cli.slice_us_underutil),
            slice_overutil_ns: nanoseconds(cli.slice_us_overutil),
            fifo_sched: cli.fifo_sched,
            kthreads_local: cli.kthreads_local,
            balanced_kworkers: cli.balanced_kworkers,
            greedy_threshold: cli.greedy_threshold,
            greedy_threshold_x_numa: if stealing {
                cli.greedy_threshold_x_numa
            } else {
                0
            },
            steal_after_node_ns: nanoseconds(cli.steal_after_node_us),
            steal_after_numa_ns: nanoseconds(cli.steal_after_numa_us),
            direct_greedy_under_frac: cli.direct_greedy_under / 100.0,
            kick_greedy_under_frac: cli.kick_greedy_under / 100.0,
            direct_greedy_numa: cli.direct_greedy_numa && direct_greedy,
            layout: Layout::build(machine, &cli.domains, cli.domain_cpus)?,
            partial: cli.partial,
            mempolicy_affinity: cli.mempolicy_affinity,
            perf: cli.perf,
            max_tasks: cli.max_tasks,
            stats: cli
                .stats
                .map(|secs| duration("--stats", secs))
                .transpose()?,
            exit_dump_len_bytes: cli.exit_dump_len,
            verbose: cli.verbose,
            libbpf: cli.libbpf.clone(),
        })
    }

    /// Legal settings that are probably not meant, one sentence each, to be
    /// logged once.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> = self
            .layout
            .domains
            .iter()
            .filter(|domain| domain.cpus.len() > CROWDED_DOMAIN_CPUS)
            .map(|domain| {
                format!(
                    "{} has {} CPUs on one queue; above {CROWDED_DOMAIN_CPUS} they wait for its lock",
                    domain.id,
                    domain.cpus.len()
                )
            })
            .collect();
        if self.slice_overutil_ns > self.slice_underutil_ns {
            warnings.push(
                "--slice-us-overutil is longer than --slice-us-underutil: \
                 tasks wait longer the busier the machine is"
                    .to_string(),
            );
        }
        warnings
    }
}

/// The largest kernel configuration that is read; those of distributions have some 300 KiB.
const MAX_KCONFIG_BYTES: u64 = 16 << 20;

/// Checked here because `LibbpfOpts` drops every option without a word when the kconfig is not
/// text.
fn check_kconfig(path: Option<&str>) -> Result<(), UsageError> {
    const FLAG: &str = "--kconfig";
    let Some(path) = path else { return Ok(()) };
    let bytes = beginning(FLAG, path, MAX_KCONFIG_BYTES + 1)?;
    let detail = if bytes.len() as u64 > MAX_KCONFIG_BYTES {
        "is larger than 16 MiB"
    } else if bytes.contains(&0) || std::str::from_utf8(&bytes).is_err() {
        "is not text"
    } else {
        return Ok(());
    };
    let detail = format!("{path} {detail}; give an unpacked kernel configuration");
    Err(UsageError::new(FLAG, detail))
}

/// Checked here because libbpf names the BTF only after the load began.
fn check_btf(path: Option<&str>) -> Result<(), UsageError> {
    path.map_or(Ok(()), |path| {
        beginning("--btf-custom-path", path, 1).map(drop)
    })
}

/// The first bytes of a file, at most so many. Only of a file: to open a pipe may take for ever.
fn beginning(flag: &str, path: &str, most: u64) -> Result<Vec<u8>, UsageError> {
    let read = || {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|error| {
        let detail = format!("reading {path}: {error}; give a readable file");
        UsageError::new(flag, detail)
    })
}

fn duration(flag: &str, secs: f64) -> Result<Duration, UsageError> {
    Duration::try_from_secs_f64(secs)
        .map_err(|_| UsageError::new(flag, format!("{secs} seconds is not possible")))
}

fn nanoseconds(us: u64) -> u64 {
    us.saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Parsed, parse_from};
    use crate::topology::fake::FakeMachine;

    fn config(args: &[&str]) -> Result<Config, UsageError> {
        let line = ["scx_ballast"].iter().chain(args);
        let Parsed::Run(cli) = parse_from(line)? else {
            panic!("{args:?} prints help");
        };
        let machine = FakeMachine::grid(2, 1, 4, 1).read().expect("a machine");
        Config::from_cli(&cli, &machine)
    }

    fn error(args: &[&str]) -> String {
        config(args).expect_err("a usage error").to_string()
    }

    #[test]
    fn units_are_converted() {
        let config = config(&[
            "-i", "0.25", "-u", "3000", "-o", "700", "-D", "50", "--stats", "2",
        ])
        .expect("good flags");
        assert_eq!(config.interval, Duration::from_millis(250));
        assert_eq!(config.tune_interval, Duration::from_millis(100));
        assert_eq!(config.load_half_life, Duration::from_secs(1));
        assert_eq!(config.slice_underutil_ns, 3_000_000);
        assert_eq!(config.slice_overutil_ns, 700_000);
        assert_eq!(config.steal_after_node_ns, 2_000_000);
        assert_eq!(config.steal_after_numa_ns, 10_000_000);
        assert_eq!(config.direct_greedy_under_frac, 0.5);
        assert_eq!(config.kick_greedy_under_frac, 1.0);
        assert_eq!(config.stats, Some(Duration::from_secs(2)));
        assert!(config.load_balance && config.kthreads_local);
        assert_eq!(config.layout.domains.len(), 2);
        assert!(config.warnings().is_empty());
    }

    #[test]
    fn settings_that_depend_on_another_are_resolved() {
        let config = config(&["-g", "0", "--greedy-threshold-x-numa", "3", "-r", "-D", "0"])
            .expect("good flags");
        assert_eq!(
            (config.greedy_threshold, config.greedy_threshold_x_numa),
            (0, 0)
        );
        assert!(!config.direct_greedy_numa);
    }

    #[test]
    fn the_machine_decides_about_domains() {
        for (domains, part) in [
            (
                "0-8",
                "--domains: CPU 8 does not exist; this machine has CPUs 0-7",
            ),
            ("0-3;3-7", "--domains: CPU 3 is in '0-3' and in '3-7'"),
            ("0-3;4-6", "--domains: these online CPUs are in no list: 7"),
            (
                "0-7",
                "--domains: '0-7' spans node0 (CPUs 0-3) and node1 (CPUs 4-7)",
            ),
        ] {
            let error = error(&["--domains", domains]);
            assert!(error.starts_with(part), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
        let config = config(&["--domains", "6-7;0-3;4-5"]).expect("good lists");
        assert_eq!(config.layout.domains.len(), 3);
    }

    #[test]
    fn files_for_libbpf_must_be_readable() {
        for flag in ["--kconfig", "--btf-custom-path"] {
            let missing = error(&[flag, "/nonexistent/file"]);
            let expected = format!("{flag}: reading /nonexistent/file");
            assert!(missing.starts_with(&expected), "{missing}");
            for no_file in ["/dev/zero", "/"] {
                let why = error(&[flag, no_file]);
                assert!(why.contains("no regular file"), "{why}");
            }
        }
        // Of a compressed configuration libbpf's options would be lost without a word.
        let why = error(&["--kconfig", "/bin/sh"]);
        assert!(
            why.starts_with("--kconfig:") && why.contains("not text"),
            "{why}"
        );
    }

    #[test]
    fn durations_that_were_not_parsed_are_checked_too() {
        let Ok(Parsed::Run(mut cli)) = parse_from(["scx_ballast"]) else {
            panic!("the defaults are good");
        };
        cli.interval = f64::NAN;
        let machine = FakeMachine::grid(1, 1, 1, 1).read().expect("a machine");
        assert!(Config::from_cli(&cli, &machine).is_err());
    }

    #[test]
    fn odd_settings_are_pointed_out() {
        let mut crowded = config(&["-u", "1000", "-o", "2000"]).expect("good flags");
        crowded.layout = Layout::synthetic(130, 2, 1);
        let warnings = crowded.warnings();
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(
            warnings[0].starts_with("domain0 has 65 CPUs"),
            "{warnings:?}"
        );
    }
}
