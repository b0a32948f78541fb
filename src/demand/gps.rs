// SPDX-License-Identifier: GPL-2.0-only
//! A domain that shares its CPUs perfectly (generalised processor sharing, each
//! thread at most one CPU): what the demand estimate is held against.
//! Never uses the policy it is there to test.

/// When a thread has work, in ms. Each length varies by up to a tenth.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// `burst` of CPU every `period`, whether or not the last is done.
    Open { period: f64, burst: f64 },
    /// After `burst` of CPU the thread sleeps for `think`.
    Closed { burst: f64, think: f64 },
}

impl Work {
    /// CPUs the thread could use if nobody were in its way.
    pub fn demand(&self) -> f64 {
        match *self {
            Work::Open { period, burst } => (burst / period).min(1.0),
            Work::Closed { burst, think } => burst / (burst + think),
        }
    }
}

/// A thread and how long it has been in which state, in ms.
#[derive(Clone, Debug)]
pub struct Thread {
    pub weight: f64,
    pub work: Work,
    pub run: f64,
    pub wait: f64,
    pub sleep: f64,
    /// CPU time it still has to use; 0: it sleeps.
    backlog: f64,
    /// When work arrives next. Closed loop: only while it sleeps.
    arrival: f64,
    rate: f64,
}

pub struct Gps {
    pub threads: Vec<Thread>,
    pub now: f64,
    capacity: f64,
    seed: u64,
}

/// Backlogs and times below this are rounding, in ms.
const NOTHING: f64 = 1e-9;

impl Gps {
    pub fn new(capacity: f64, seed: u64) -> Self {
        Gps {
            threads: Vec::new(),
            now: 0.0,
            capacity,
            seed,
        }
    }

    /// Adds a thread that has work at once, as new ones have.
    pub fn add(&mut self, weight: f64, work: Work) {
        self.threads.push(Thread {
            weight,
            work,
            run: 0.0,
            wait: 0.0,
            sleep: 0.0,
            backlog: 0.0,
            arrival: self.now,
            rate: 0.0,
        });
    }

    /// Goes on until `end`, in ms.
    pub fn run_until(&mut self, end: f64) {
        while self.now < end {
            for index in 0..self.threads.len() {
                self.turn(index);
            }
            self.share();
            let next = self.threads.iter().map(|thread| thread.next(self.now));
            let step = next.fold(end, f64::min) - self.now;
            for thread in &mut self.threads {
                thread.pass(step);
            }
            self.now += step;
        }
    }

    /// Weighted max-min: whoever's share exceeds one CPU has one, the rest
    /// share what is left, until nobody's does.
    fn share(&mut self) {
        let (mut left, mut weight) = (self.capacity, 0.0);
        for thread in &mut self.threads {
            thread.rate = 0.0;
            if thread.is_awake() {
                weight += thread.weight;
            }
        }
        loop {
            let level = left / weight;
            let mut capped = false;
            for thread in &mut self.threads {
                if thread.is_awake() && thread.rate < 1.0 && thread.weight * level >= 1.0 {
                    thread.rate = 1.0;
                    (left, weight, capped) = (left - 1.0, weight - thread.weight, true);
                }
            }
            if !capped {
                let rest = |thread: &&mut Thread| thread.is_awake() && thread.rate < 1.0;
                for thread in self.threads.iter_mut().filter(rest) {
                    thread.rate = (thread.weight * level).max(0.0);
                }
                return;
            }
        }
    }

    /// What happens to a thread at this instant.
    fn turn(&mut self, index: usize) {
        let Thread { work, arrival, .. } = self.threads[index];
        let due = arrival <= self.now + NOTHING;
        match work {
            Work::Open { period, burst } if due => {
                let (burst, period) = (self.vary(burst), self.vary(period));
                self.threads[index].backlog += burst;
                self.threads[index].arrival += period;
            }
            Work::Closed { burst, .. } if due => {
                self.threads[index].backlog = self.vary(burst);
                self.threads[index].arrival = f64::INFINITY;
            }
            Work::Closed { think, .. }
                if arrival.is_infinite() && !self.threads[index].is_awake() =>
            {
                self.threads[index].arrival = self.now + self.vary(think);
            }
            _ => {}
        }
    }

    /// `length` times 0.9..1.1, from a fixed sequence (Knuth's MMIX generator).
    fn vary(&mut self, length: f64) -> f64 {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        length * (0.9 + 0.2 * (self.seed >> 11) as f64 / (1u64 << 53) as f64)
    }
}

impl Thread {
    fn is_awake(&self) -> bool {
        self.backlog > NOTHING
    }

    /// When something happens to it next, if the rates stay as they are.
    fn next(&self, now: f64) -> f64 {
        match self.is_awake() && self.rate > 0.0 {
            true => self.arrival.min(now + self.backlog / self.rate),
            false => self.arrival,
        }
    }

    fn pass(&mut self, step: f64) {
        if self.is_awake() {
            self.run += step * self.rate;
            self.wait += step * (1.0 - self.rate);
            self.backlog -= step * self.rate;
        } else {
            self.sleep += step;
        }
    }
}

#[test]
fn shares_by_weight_up_to_one_cpu() {
    let never_done = Work::Open {
        period: 1.0,
        burst: 3.0,
    };
    // The heavy one cannot use its share of 2 CPUs; the others split the rest.
    let mut gps = Gps::new(2.0, 1);
    for weight in [1.0, 1000.0, 3.0] {
        gps.add(weight, never_done);
    }
    gps.run_until(1000.0);
    for (thread, cpus) in gps.threads.iter().zip([0.25, 1.0, 0.75]) {
        assert!((thread.run - 1000.0 * cpus).abs() < 1e-6);
        assert!((thread.run + thread.wait + thread.sleep - 1000.0).abs() < 1e-6);
    }
}
