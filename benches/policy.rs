// SPDX-License-Identifier: GPL-2.0-only
//! What a round of the policy costs, as multiples of one sort in the same run.
//! Never compares with numbers from another run or machine.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use scx_ballast::entitlement::{Claim, Filler};
use scx_ballast::ids::{CpuId, DomainId, GroupId, MaskId, NodeId, TaskRef};
use scx_ballast::load_balance::{Config, Domain, Node, Snapshot, Task, plan};
use scx_ballast::weight::weight_of_nice;

/// Numbers that look random and are the same in every run.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % end
    }

    fn claim(&mut self) -> Claim {
        let weight = weight_of_nice(self.below(40) as i32 - 20);
        Claim {
            weight,
            demand: (self.below(1_000_000) + 1) as f64 / 1e6,
        }
    }
}

/// Median time of 9 runs, each on fresh input.
fn median<T>(mut input: impl FnMut() -> T, mut run: impl FnMut(T)) -> Duration {
    let mut times: Vec<Duration> = (0..9)
        .map(|_| {
            let fresh = input();
            let start = Instant::now();
            run(fresh);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn sort(mut pairs: Vec<(f64, u32)>) {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    black_box(pairs);
}

fn pairs(claims: &[Claim]) -> Vec<(f64, u32)> {
    claims
        .iter()
        .zip(0..)
        .map(|(claim, i)| (claim.demand / claim.weight, i))
        .collect()
}

fn report(name: &str, time: Duration, sorting: Duration) {
    let ratio = time.as_secs_f64() / sorting.as_secs_f64();
    println!("{name}: {time:?}, {ratio:.2} × sorting as many pairs ({sorting:?})");
}

fn bench_fill(criterion: &mut Criterion) {
    for count in [1_000usize, 100_000, 1_000_000] {
        let mut sequence = Sequence(1);
        let claims: Vec<Claim> = (0..count).map(|_| sequence.claim()).collect();
        let (mut filler, mut entitlements) = (Filler::default(), Vec::new());
        let capacity = count as f64 / 8.0;
        let mut run = || {
            black_box(filler.fill(black_box(&claims), capacity, &mut entitlements));
        };
        run();
        report(
            &format!("fill/{count}"),
            median(|| (), |()| run()),
            median(|| pairs(&claims), sort),
        );
        if count < 1_000_000 {
            criterion.bench_function(&format!("fill/{count}"), |bencher| bencher.iter(&mut run));
        }
    }
}

/// 10 000 tasks at random on 4 nodes of 8 domains of 8 CPUs; `level` keeps
/// them where they are, otherwise half of them crowd the first node.
fn crowd(level: bool) -> Snapshot {
    let mut sequence = Sequence(2);
    let node = |id: u32| {
        let distance = (0..4)
            .map(|to| (NodeId(to), if to == id { 10 } else { 21 }))
            .collect::<BTreeMap<_, _>>();
        Node {
            id: NodeId(id),
            distance,
        }
    };
    let mut task = |slot: u32| {
        let Claim { weight, demand } = sequence.claim();
        let domains = if level || slot.is_multiple_of(2) {
            32
        } else {
            8
        };
        Task {
            id: u64::from(slot),
            task: TaskRef {
                slot,
                generation: 1,
            },
            process: slot / 16,
            weight,
            demand,
            domain: DomainId(sequence.below(domains) as u32),
            mask: MaskId::ANYWHERE,
            group: GroupId::ROOT,
            movable: true,
            preferred_nodes: 0,
            moved_ago_rounds: u32::MAX,
            lag_ms: 0.0,
        }
    };
    Snapshot {
        nodes: (0..4).map(node).collect(),
        domains: (0..32)
            .map(|id| Domain {
                id: DomainId(id),
                node: NodeId(id / 8),
                capacity: 8.0,
                cpus: (8 * id..8 * id + 8).map(CpuId).collect(),
            })
            .collect(),
        tasks: (0..10_000).map(&mut task).collect(),
        ..Snapshot::default()
    }
}

fn bench_plan(criterion: &mut Criterion) {
    let config = Config::default();
    for (name, level) in [
        ("plan/10000 crowded", false),
        ("plan/10000 scattered", true),
    ] {
        let snapshot = crowd(level);
        let claims: Vec<Claim> = snapshot
            .tasks
            .iter()
            .map(|task| Claim {
                weight: task.weight,
                demand: task.demand,
            })
            .collect();
        let sorting = median(|| pairs(&claims), sort);
        println!("{name}: {} moves", plan(&snapshot, &config).moves.len());
        report(
            name,
            median(|| (), |()| drop(black_box(plan(&snapshot, &config)))),
            sorting,
        );
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| plan(black_box(&snapshot), &config))
        });
    }
    let mut settled = crowd(true);
    for _ in 0..10 {
        for mv in plan(&settled, &config).moves {
            settled.tasks[mv.index].domain = mv.to;
        }
    }
    criterion.bench_function("plan/10000 settled", |bencher| {
        bencher.iter(|| plan(black_box(&settled), &config))
    });
}

criterion_group! {
    name = policy;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = bench_fill, bench_plan
}
criterion_main!(policy);
