// SPDX-License-Identifier: GPL-2.0

//! What it costs to take the time of steps: nanoseconds of the model files that are given, with nobody
//! who looks, with one prediction of 64 measured, and with all of them.
//!
//! As in the module: the clock is read once anyway when a section opens, and once when it closes.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use neural_core::int8::SLACK;
use neural_core::nnm::{parse, Limits};
use neural_core::plan::{run, Plan, Step};
use neural_core::profile::{Clock, Measure, Site, Table, Timer};
use neural_simd::{Features, Section, Set, Simd};

/// Rounds, of each of which the ways take turns, and predictions in one.
const ROUNDS: usize = 400;
const PREDICTIONS: u64 = 640;

struct Ticks;

impl Clock for Ticks {
    fn ticks(&self) -> u64 {
        // SAFETY: Every x86-64 CPU has the instruction.
        unsafe { core::arch::x86_64::_rdtsc() }
    }
}

/// Sections as those of the module, without what the kernel does for them.
struct Sections<'a> {
    tables: &'a [Table<'a>; 2],
    sites: &'a [Option<Site>],
    weight: u64,
    timer: Timer<Ticks>,
    open: Cell<u64>,
    longest: &'a Cell<u64>,
}

impl Section for Sections<'_> {
    fn enter(&self) -> bool {
        if self.open.get() == 0 {
            self.open.set(Ticks.ticks());
        }
        if self.weight != 0 {
            self.timer.ready(Some(self.open.get()));
        }
        true
    }

    fn leave(&self) {
        let open = self.open.take();
        if open != 0 {
            let age = self.timer.now().saturating_sub(open);
            self.longest.set(self.longest.get().max(age));
        }
    }

    fn pause(&self) -> bool {
        self.leave();
        true
    }

    fn begin(&self, place: usize) {
        if self.weight != 0 {
            self.timer.begin(place == 0);
        }
    }

    fn end(&self, place: usize, samples: usize) {
        if self.weight == 0 {
            return;
        }
        if let Some(Some(site)) = self.sites.get(place) {
            let cycles = self.timer.end(0);
            let measure = Measure {
                calls: self.weight * samples as u64,
                cycles,
                events: None,
            };
            let [local, shared] = self.tables;
            local.record_local(site, &measure, shared);
        }
    }
}

fn memory(buckets: usize) -> Vec<AtomicU64> {
    (0..Table::words(buckets))
        .map(|_| AtomicU64::new(0))
        .collect()
}

fn time(path: &str, set: &Set, tables: &[Table<'_>; 2]) {
    let file = std::fs::read(path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let model = parse(&file, &Limits::DEFAULT).unwrap_or_else(|e| panic!("{path}: {e}"));
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan: Plan = model.plan(&mut steps).expect("a plan");
    let mut weights = vec![0; plan.weight_bytes + 64];
    let start = weights.as_ptr().align_offset(64);
    let weights = &mut weights[start..start + plan.weight_bytes];
    model.pack(&steps, &plan, weights).expect("weights");
    let sites: Vec<Option<Site>> = (0..plan.places())
        .map(|place| plan.site(&steps, place, 1))
        .collect();
    let mut scratch = vec![0; plan.scratch_bytes + SLACK];
    let start = scratch.as_ptr().align_offset(64);
    let scratch = &mut scratch[start..start + plan.scratch_bytes];
    let input: Vec<u8> = (0..plan.input_bytes).map(|i| (i * 37) as u8).collect();
    let mut output = vec![0; plan.output_bytes];
    let longest = Cell::new(0);
    let mut best = [f64::MAX; 3];
    for _ in 0..ROUNDS {
        // None, sampled, all.
        for (every, best) in [u64::MAX, 64, 1].into_iter().zip(&mut best) {
            let start = Instant::now();
            for i in 1..=PREDICTIONS {
                let weight = match every {
                    u64::MAX => 0,
                    _ if i % every == 0 => every,
                    _ => 0,
                };
                let kernels = Simd::new(
                    Some(*set),
                    Sections {
                        tables,
                        sites: &sites,
                        weight,
                        timer: Timer::new(Ticks),
                        open: Cell::new(0),
                        longest: &longest,
                    },
                );
                run(
                    &kernels,
                    &plan,
                    &steps,
                    weights,
                    1,
                    scratch,
                    black_box(&input),
                    &mut output,
                )
                .expect("an answer");
                kernels.leave();
            }
            *best = best.min(start.elapsed().as_nanos() as f64 / PREDICTIONS as f64);
        }
    }
    let [off, sampled, exact] = best;
    println!(
        "{path}: off {off:.1} ns, sampled {sampled:.1} ns ({:+.1}), exact {exact:.1} ns ({:+.1})",
        sampled - off,
        exact - off
    );
}

fn main() {
    let set = Set::select(&Features::detect(), None).expect("a set");
    let words = [memory(128), memory(16384)];
    let [local, shared] = &words;
    let tables = [local, shared].map(|words| Table::new(words).expect("a table"));
    for path in std::env::args().skip(1) {
        time(&path, &set, &tables);
    }
}
