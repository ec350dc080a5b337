// SPDX-License-Identifier: GPL-2.0

//! Which code computes a prediction: vector code of one instruction set, chosen when the module is
//! loaded, or scalar code.
//!
//! Vector code needs a section ([`FpuGuard`]) around it, which takes about as long as some hundred
//! multiply-accumulates of scalar code. So both are measured at load, and a prediction that has fewer
//! than pay for a section does without. Context: any, unless said otherwise.

use core::{
    cell::Cell,
    sync::atomic::{
        AtomicBool,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    prelude::*,
    str::CStr,
    sync::SetOnce, //
};
use neural_core::{
    int8::{
        self,
        Gemm,
        Requant,
        SLACK, //
    },
    nnm::DType, //
};
use neural_simd::{
    generated::Call,
    Features,
    Isa,
    Section,
    Set,
    Simd,
    TABLE,
    THRESHOLD, //
};

use crate::{
    jit::Codes,
    profile::Watch,
    sys::{
        cpu,
        fpu::{
            self,
            FpuGuard, //
        },
        loan::Loan,
        param, //
    }, //
};

/// What was found out about the CPU, and what follows from it.
struct Choice {
    features: Features,
    /// What vector code there is to use.
    set: Option<Set>,
    forced: bool,
    costs: Costs,
    /// Multiply-accumulates from which a section pays.
    crossover: u64,
}

/// The shortest times that were seen, in ticks.
#[derive(Clone, Copy, Default)]
struct Costs {
    /// An empty section.
    section: u64,
    /// A layer of [`MEASURED_MACS`], by scalar code.
    scalar: u64,
    /// The same layer, by vector code.
    vector: u64,
}

static CHOICE: SetOnce<Choice> = SetOnce::new();

/// Rows and columns of the layer that is measured.
const MEASURED: usize = 64;

/// Multiply-accumulates of the layer that is measured.
const MEASURED_MACS: u64 = (MEASURED * MEASURED) as u64;

/// How often it is measured.
const ROUNDS: usize = 32;

/// What [`Choice::crossover`] is at most: a measurement that was disturbed, or made on a CPU that is
/// emulated, shall not keep everything from vector code.
const MOST: u64 = MEASURED_MACS;

/// Chooses the code, measures it, and says so in the log. Called once, when the module is loaded.
///
/// Context: task, may sleep. Errors: `EINVAL` when `neural_force_isa` is no instruction set, `ENODEV`
/// when the CPU does not have it.
pub(crate) fn choose() -> Result {
    let features = fpu::features();
    let forced = forced(param::force_isa(), &features)?;
    let set = Set::select(&features, forced).filter(|set| set.isa() != Isa::Scalar);
    let costs = match &set {
        Some(set) => measure(set)?,
        None => Costs::default(),
    };
    let crossover = if forced.is_some() {
        THRESHOLD as u64
    } else {
        costs.crossover()
    };
    let isa = set.map_or(Isa::Scalar, |set| set.isa()).name();
    match set {
        Some(_) => pr_info!("using {isa}, from {crossover} multiply-accumulates on\n"),
        None => pr_info!("using {isa} code\n"),
    }
    CHOICE.populate(Choice {
        features,
        set,
        forced: forced.is_some(),
        costs,
        crossover,
    });
    Ok(())
}

/// The instruction set that the parameter asks for, if it does.
fn forced(name: &CStr, features: &Features) -> Result<Option<Isa>> {
    let name = name.to_str().unwrap_or("?");
    if name == "auto" {
        return Ok(None);
    }
    let Some(isa) = Isa::ALL.into_iter().find(|isa| isa.name() == name) else {
        pr_err!("parameter neural_force_isa: '{name}' is not auto, scalar, avx2, avxvnni, avx512 or avx512vnni\n");
        return Err(EINVAL);
    };
    if !isa.runs_on(features) {
        pr_err!("parameter neural_force_isa: this CPU has no {name}\n");
        return Err(ENODEV);
    }
    Ok(Some(isa))
}

impl Costs {
    fn crossover(&self) -> u64 {
        let gain = self.scalar.saturating_sub(self.vector);
        self.section
            .saturating_mul(MEASURED_MACS)
            .checked_div(gain)
            .unwrap_or(MOST)
            .clamp(THRESHOLD as u64, MOST)
    }
}

/// The shortest time of some, in ticks.
fn shortest(mut run: impl FnMut()) -> u64 {
    (0..ROUNDS).fold(u64::MAX, |shortest, _| {
        let start = fpu::ticks();
        run();
        shortest.min(fpu::ticks().saturating_sub(start))
    })
}

fn measure(set: &Set) -> Result<Costs> {
    let x = KVec::from_elem(100u8, MEASURED + SLACK, GFP_KERNEL)?;
    let w = KVec::from_elem(3u8, MEASURED * MEASURED, GFP_KERNEL)?;
    let words = KVec::from_elem(0u8, 4 * MEASURED, GFP_KERNEL)?;
    let mut y = KVec::from_elem(0u8, MEASURED, GFP_KERNEL)?;
    let mut layer = |run: &mut dyn FnMut(Gemm<'_>)| {
        run(Gemm {
            x: &x,
            x_row: MEASURED,
            x_outer: 0,
            y: &mut y,
            y_row: MEASURED,
            y_outer: 0,
            m: 1,
            outer: 1,
            n: MEASURED,
            k: MEASURED,
            offsets: &[0; 4],
            w: &w,
            bias: &words,
            requant: Requant {
                mult: &words,
                shift: &words,
                zero: 0,
                min: 0,
                max: 255,
            },
        });
    };
    let scalar = shortest(|| layer(&mut |layer| int8::gemm(layer)));
    let mut section = u64::MAX;
    let mut vector = u64::MAX;
    for _ in 0..ROUNDS {
        section = section.min(shortest(|| drop(FpuGuard::new())));
        if let Some(_guard) = FpuGuard::new() {
            let start = fpu::ticks();
            layer(&mut |mut layer| {
                set.gemm_i8(&mut layer);
            });
            vector = vector.min(fpu::ticks().saturating_sub(start));
        }
    }
    Ok(Costs {
        section,
        scalar,
        vector,
    })
}

/// Sections of the kernel, opened when they are needed.
pub(crate) struct Sections<'a> {
    open: Cell<Option<FpuGuard>>,
    /// Where a long prediction looks whether it shall stop; `None` when it may not pause at all.
    stop: Option<&'a AtomicBool>,
    /// Whether vector code is used where there is some.
    vector: bool,
    watch: Watch,
    /// Whether generated code may be used.
    jit: bool,
    /// The generated code of the model that runs, and where in its plan it is.
    codes: Loan<Codes>,
    place: Cell<usize>,
}

impl Sections<'_> {
    /// Takes the time of what is done in and between the sections.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Calls `run`, which runs a model that has this generated code.
    #[inline]
    pub(crate) fn with_codes<R>(&self, codes: Option<&Codes>, run: impl FnOnce() -> R) -> R {
        self.codes.lend(codes.filter(|_| self.jit), run)
    }

    /// Lets others run; `false` ends the prediction.
    fn rest(&self) -> bool {
        match self.stop {
            None => true,
            Some(stop) => {
                cpu::cond_resched();
                !stop.load(Relaxed) && !cpu::dying()
            }
        }
    }
}

impl Section for Sections<'_> {
    fn enter(&self) -> bool {
        let guard = match self.open.take() {
            Some(guard) => {
                self.watch.ready(None);
                Some(guard)
            }
            None => {
                let guard = FpuGuard::new();
                self.watch.ready(guard.as_ref().map(FpuGuard::start));
                guard
            }
        };
        let open = guard.is_some();
        self.open.set(guard);
        open
    }

    fn leave(&self) {
        if let Some(guard) = self.open.take() {
            guard.count(self.watch.now());
        }
    }

    fn pause(&self) -> bool {
        self.leave();
        self.watch.aside(|| self.rest())
    }

    #[inline]
    fn aside(&self) {
        self.watch.ready(None);
    }

    #[inline]
    fn begin(&self, place: usize) {
        self.place.set(place);
        // A chain begins with a section; other plans, as a rule, with a copy.
        self.watch.begin(!self.vector || place == 0);
    }

    #[inline]
    fn end(&self, place: usize, samples: usize) {
        self.watch.end(place, samples);
    }

    #[inline]
    fn generated(&self, mut call: Call<'_, '_>) -> bool {
        let run = |codes: &Codes| {
            let guard = self.open.take();
            let section = guard.as_ref();
            let place = self.place.get();
            let done = section.is_some_and(|section| codes.run(section, place, &mut call));
            self.open.set(guard);
            done
        };
        self.codes.with(run).unwrap_or(false)
    }
}

impl Drop for Sections<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The kernels that run a plan in this module; the section that they have opened ends with them.
pub(crate) type Dispatch<'a> = Simd<Sections<'a>>;

/// Kernels for a prediction, with vector code if that is wanted and there is some, and in place of it
/// generated code. With `stop`, they let others run now and then, and stop when told to: context: task,
/// may sleep.
pub(crate) fn kernels(vector: bool, jit: bool, stop: Option<&AtomicBool>) -> Dispatch<'_> {
    let choice = CHOICE.as_ref().filter(|_| vector);
    let set = choice.and_then(|choice| choice.set);
    let sections = Sections {
        open: Cell::new(None),
        stop,
        vector: set.is_some(),
        watch: Watch::new(stop.is_some()),
        jit,
        codes: Loan::new(),
        place: Cell::new(0),
    };
    Simd::new(set, sections)
}

/// The vector code that there is to use.
pub(crate) fn set() -> Option<Set> {
    CHOICE.as_ref()?.set
}

/// Whether there is vector code to use, without which nothing computes in single precision.
pub(crate) fn has_vector() -> bool {
    set().is_some()
}

/// Whether vector code is to be used for so many multiply-accumulates of these elements: because it is
/// faster, or because there is nothing else.
pub(crate) fn pays(dtype: DType, macs: u64) -> bool {
    let least = |choice: &Choice| match dtype {
        DType::I8 => macs >= choice.crossover,
        DType::F32 => true,
        _ => false,
    };
    has_vector() && CHOICE.as_ref().is_some_and(least)
}

/// The name of the instruction set that is used where vector code is.
pub(crate) fn isa() -> &'static str {
    set().map_or(Isa::Scalar, |set| set.isa()).name()
}

/// Writes what was chosen and why.
pub(crate) fn write_text(f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
    let Some(choice) = CHOICE.as_ref() else {
        return Ok(());
    };
    let Features {
        avx2,
        fma,
        avx_vnni,
        avx512f,
        avx512bw,
        avx512_vnni,
    } = choice.features;
    write!(f, "features:")?;
    for (name, has) in [
        ("avx2", avx2),
        ("fma", fma),
        ("avx_vnni", avx_vnni),
        ("avx512f", avx512f),
        ("avx512bw", avx512bw),
        ("avx512_vnni", avx512_vnni),
    ] {
        if has {
            write!(f, " {name}")?;
        }
    }
    writeln!(f, "\nchosen: {}", isa())?;
    writeln!(f, "forced: {}", u8::from(choice.forced))?;
    writeln!(f, "section_ns: {}", fpu::ticks_to_ns(choice.costs.section))?;
    writeln!(f, "measured_macs: {MEASURED_MACS}")?;
    writeln!(f, "scalar_ns: {}", fpu::ticks_to_ns(choice.costs.scalar))?;
    writeln!(f, "vector_ns: {}", fpu::ticks_to_ns(choice.costs.vector))?;
    writeln!(f, "crossover_macs: {}", choice.crossover)?;
    let (sections, longest_ns) = fpu::section_stats();
    writeln!(f, "sections: {sections}")?;
    writeln!(f, "section_max_ns: {longest_ns}")?;
    for variant in TABLE {
        let runs = variant.isa.runs_on(&choice.features);
        writeln!(
            f,
            "variant: {} {} {} {}",
            variant.op,
            variant.isa.name(),
            variant.name,
            if runs { "runs" } else { "lacks" }
        )?;
    }
    Ok(())
}
