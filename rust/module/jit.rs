// SPDX-License-Identifier: GPL-2.0

//! Generated code for exact shapes: whether there can be any, and how predictions find it.
//!
//! It is a way to be faster and nothing else: where it cannot be had, vector code and scalar code do
//! everything. A network that has made many predictions asks the worker, which makes code for it as
//! `kernels` says. A prediction looks at one place for each step: it takes no lock, and waits for
//! nothing. Context: task, may sleep, unless said otherwise.

mod kernels;
pub(crate) mod learn;
pub(crate) mod verify;

use core::sync::atomic::{
    AtomicU32,
    AtomicU64,
    Ordering::Relaxed, //
};

use kernel::{
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};
use neural_jit::Isa;
use neural_simd::generated::Call;

use crate::{
    dispatch,
    sys::{
        cpu,
        fpu::{
            self,
            FpuGuard, //
        },
        kick::{
            self,
            Worker, //
        },
        param,
        text::{
            self,
            Arena,
            Place,
            Refusal,
            Return,
            ARENA_BYTES, //
        }, //
    }, //
};

pub(crate) use self::kernels::{
    write_map,
    write_text, //
};

/// What was found out at load.
enum Ground {
    /// There is an arena, which has been tried, and code can be made for these instructions.
    Arena(Arena, Isa),
    /// There is no arena.
    Refused(Refusal),
    /// There is no vector code that could be made faster.
    NoVector,
}

static GROUND: SetOnce<Ground> = SetOnce::new();

/// What code is generated for: what there is vector code for.
fn isa() -> Option<Isa> {
    let isa = dispatch::set()?.isa();
    let wide = fpu::has_avx512vl();
    Some(match isa {
        neural_simd::Isa::Scalar => return None,
        neural_simd::Isa::AvxVnni => Isa::AvxVnni,
        neural_simd::Isa::Avx512 if wide => Isa::Avx512,
        neural_simd::Isa::Avx512Vnni if wide => Isa::Avx512Vnni,
        _ => Isa::Avx2,
    })
}

/// Finds out whether code can be generated, and says so in the log. Called once, when the module is
/// loaded, after the vector code was chosen.
fn prepare() {
    let ground = match (Arena::new(), isa()) {
        (_, None) => Ground::NoVector,
        (Ok(arena), Some(isa)) => Ground::Arena(arena, isa),
        (Err(refusal), _) => Ground::Refused(refusal),
    };
    match &ground {
        Ground::Arena(..) => pr_info!("jit: {} KiB for generated code\n", ARENA_BYTES >> 10),
        Ground::Refused(refusal) => pr_info!("jit: off: {}\n", refusal.text()),
        Ground::NoVector => pr_info!("jit: off: there is no vector code to make faster\n"),
    }
    GROUND.populate(ground);
}

/// Why there is no generated code; `None` if there can be.
fn off() -> Option<&'static str> {
    match GROUND.as_ref() {
        Some(Ground::Arena(..)) if !param::enable_jit() => Some("neural_enable_jit is 0"),
        Some(Ground::Arena(..)) => text::allowed().err().map(Refusal::text),
        Some(Ground::Refused(refusal)) => Some(refusal.text()),
        Some(Ground::NoVector) | None => Some("there is no vector code to make faster"),
    }
}

/// How generated code returns and for which instructions it is, if there can be any.
pub(crate) fn ground() -> Option<(Return, Isa)> {
    match GROUND.as_ref() {
        Some(Ground::Arena(arena, isa)) => Some((arena.way(), *isa)),
        _ => None,
    }
}

/// All generated code, while this lives.
pub(crate) struct Jit {
    /// First to go: nobody makes code any more.
    worker: Option<Worker>,
}

impl Jit {
    /// Finds out whether code can be generated, and starts the worker if so. Called once.
    pub(crate) fn new() -> Result<Self> {
        kernels::init();
        prepare();
        let worker = match ground() {
            Some(_) => Some(Worker::new(kernels::pass)?),
            None => None,
        };
        Ok(Jit { worker })
    }
}

impl Drop for Jit {
    fn drop(&mut self) {
        drop(self.worker.take());
        kernels::clear();
    }
}

/// Predictions that are counted before the sum of all CPUs is told.
const STRIDE: u32 = 64;

/// Predictions on one CPU; a line of the cache each.
#[repr(align(64))]
struct Calls(AtomicU32);

/// What a model has of generated code: a place for each step of its plan.
pub(crate) struct Codes {
    places: KVec<SetOnce<Arc<Place>>>,
    calls: KVec<Calls>,
    /// Predictions of all CPUs, in strides.
    total: AtomicU64,
    /// Those that the worker has seen.
    seen: AtomicU64,
}

impl Codes {
    /// Places for a plan with so many; `None` if there can be no code.
    pub(crate) fn new(places: usize) -> Result<Option<Self>> {
        if ground().is_none() {
            return Ok(None);
        }
        let mut codes = Codes {
            places: KVec::with_capacity(places, GFP_KERNEL)?,
            calls: KVec::with_capacity(cpu::nr_cpu_ids(), GFP_KERNEL)?,
            total: AtomicU64::new(0),
            seen: AtomicU64::new(0),
        };
        for _ in 0..places {
            codes.places.push(SetOnce::new(), GFP_KERNEL)?;
        }
        for _ in 0..cpu::nr_cpu_ids() {
            codes.calls.push(Calls(AtomicU32::new(0)), GFP_KERNEL)?;
        }
        Ok(Some(codes))
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.places.len() * core::mem::size_of::<SetOnce<Arc<Place>>>()
            + self.calls.len() * core::mem::size_of::<Calls>()
    }

    /// Counts predictions on a CPU, which the caller stays on if he can. Any context.
    #[inline]
    pub(crate) fn count(&self, cpu: usize, samples: usize) {
        let Some(Calls(predictions)) = self.calls.get(cpu) else {
            return;
        };
        // Who interrupts this in between is not counted.
        let before = predictions.load(Relaxed);
        // CAST: A few.
        let after = before.wrapping_add(samples as u32);
        predictions.store(after, Relaxed);
        if before / STRIDE != after / STRIDE {
            self.add((after / STRIDE).wrapping_sub(before / STRIDE));
        }
    }

    /// Adds strides to the sum, and asks for code when it has reached the threshold, twice the threshold,
    /// four times, and so on.
    #[cold]
    fn add(&self, strides: u32) {
        let more = u64::from(strides).wrapping_mul(STRIDE.into());
        let before = self.total.fetch_add(more, Relaxed);
        let threshold = u64::from(param::jit_threshold()).max(1);
        let level = |calls: u64| calls.checked_div(threshold).map(u64::checked_ilog2);
        if level(before) != level(before.wrapping_add(more)) {
            kick::kick();
        }
    }

    /// The places at which predictions find code at the moment.
    pub(crate) fn live(&self) -> impl Iterator<Item = usize> + '_ {
        let places = self.places.iter().enumerate();
        places.filter_map(|(at, place)| place.as_ref()?.is_live().then_some(at))
    }

    /// Predictions until now.
    fn total(&self) -> u64 {
        self.total.load(Relaxed)
    }

    /// Predictions since the last time this was asked, by the worker.
    fn more(&self) -> u64 {
        let total = self.total();
        total.wrapping_sub(self.seen.swap(total, Relaxed))
    }

    /// Does something at a place of the plan by generated code, if there is some for it.
    #[inline]
    pub(crate) fn run(&self, section: &FpuGuard, place: usize, call: &mut Call<'_, '_>) -> bool {
        match self.places.get(place).and_then(SetOnce::as_ref) {
            Some(place) => place.run(section, call),
            None => false,
        }
    }
}

/// Lets the worker look again: networks have come or gone.
pub(crate) fn look_again() {
    kick::kick();
}
