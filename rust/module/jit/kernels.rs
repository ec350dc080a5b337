// SPDX-License-Identifier: GPL-2.0

//! The kernels that code was or may be generated for, one for each descriptor, shared by networks.
//!
//! What happens to a kernel:
//!
//! 1. *candidate*: a network that uses it has made enough predictions;
//! 2. *compiling*: the worker makes the code, which the structure checker reads again, and writes it
//!    where no prediction finds it;
//! 3. *verified*: it gives what the scalar functions give, or vector code where there are none;
//! 4. *published*: predictions use it from the next one on;
//! 5. *retired*: it was not faster by enough, or wrong, or others needed the room; what was evicted
//!    becomes a candidate again when it is needed more than others.
//!
//! Only the worker changes states, one kernel after the other. Lock: `KERNELS`, held for a few
//! instructions, or while code is taken away, which waits for predictions; before it nothing, inside it
//! that of the arena. Context: task, may sleep.

use core::{
    fmt::Write,
    sync::atomic::{
        AtomicBool,
        Ordering::Relaxed, //
    }, //
};

use kernel::{
    fmt,
    global_lock,
    prelude::*,
    sync::{
        Arc,
        SetOnce, //
    }, //
};
use neural_jit::{
    Descriptor,
    Facts,
    LAYERS, //
};

use super::{
    ground,
    learn::{
        learn,
        Learnt,
        Work, //
    },
    off,
    verify::{
        Times,
        Trial, //
    },
    Codes, //
};
use crate::{
    dispatch,
    failure::Line,
    model::Model,
    profile::Shares,
    registry,
    sys::{
        kick,
        param,
        text::{
            self,
            Draft,
            NoCode,
            Place,
            Published,
            Refusal,
            ARENA_BYTES, //
        }, //
    }, //
};

/// Why a kernel has no code any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    /// There is no generator for its shape.
    Unsupported,
    /// What was generated breaks the rules, or gives wrong results.
    Wrong,
    /// It was not faster by `neural_jit_gain`.
    Slow,
    /// Others needed the room, or there was none.
    NoRoom,
}

/// What has become of a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Candidate,
    Compiling,
    Verified,
    Published,
    Retired(Why),
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            State::Candidate => "candidate",
            State::Compiling => "compiling",
            State::Verified => "verified",
            State::Published => "published",
            State::Retired(Why::Unsupported) => "unsupported",
            State::Retired(Why::Wrong) => "wrong",
            State::Retired(Why::Slow) => "slow",
            State::Retired(Why::NoRoom) => "evicted",
        }
    }
}

/// A descriptor that lives by itself.
enum Shape {
    ChainI8 {
        layers: KVVec<u8>,
        facts: [Facts; LAYERS],
        flip: bool,
    },
    ChainF32 {
        layers: KVVec<u8>,
    },
    /// What refers to nothing.
    Plain(Descriptor<'static>),
}

impl Shape {
    fn of(descriptor: &Descriptor<'_>) -> Result<Self> {
        let copy = |layers: &[u8]| -> Result<KVVec<u8>> {
            let mut copy = KVVec::with_capacity(layers.len(), GFP_KERNEL)?;
            copy.extend_from_slice(layers, GFP_KERNEL)?;
            Ok(copy)
        };
        Ok(match *descriptor {
            Descriptor::ChainI8 {
                layers,
                facts,
                flip,
            } => Shape::ChainI8 {
                layers: copy(layers)?,
                facts,
                flip,
            },
            Descriptor::ChainF32 { layers } => Shape::ChainF32 {
                layers: copy(layers)?,
            },
            Descriptor::GemmI8(gemm) => Shape::Plain(Descriptor::GemmI8(gemm)),
            Descriptor::GemmF32(gemm) => Shape::Plain(Descriptor::GemmF32(gemm)),
            Descriptor::CosineF32 { rows, n, eps } => {
                Shape::Plain(Descriptor::CosineF32 { rows, n, eps })
            }
        })
    }

    fn descriptor(&self) -> Descriptor<'_> {
        match self {
            Shape::ChainI8 {
                layers,
                facts,
                flip,
            } => Descriptor::ChainI8 {
                layers,
                facts: *facts,
                flip: *flip,
            },
            Shape::ChainF32 { layers } => Descriptor::ChainF32 { layers },
            Shape::Plain(descriptor) => *descriptor,
        }
    }
}

/// A kernel.
struct Kernel {
    key: u64,
    shape: Arc<Shape>,
    place: Arc<Place>,
    state: State,
    code: Option<Published>,
    times: Times,
    /// Predictions of the networks that have it, those of the past counting less and less.
    recent: u64,
    /// Whether a network has it.
    used: bool,
}

global_lock! {
    // SAFETY: `init` initialises it before anything else uses it.
    unsafe(uninit) static KERNELS: Mutex<KVec<Kernel>> = KVec::new();
}

/// Sets the list up. Called once, before anything else of this file.
pub(super) fn init() {
    // SAFETY: Called exactly once, by the module's init.
    unsafe { KERNELS.init() };
}

/// Takes all code away, and gives the list back, which would outlive the module.
pub(super) fn clear() {
    *KERNELS.lock() = KVec::new();
}

/// The worker's work: takes away what nobody needs, and makes what many do.
pub(super) fn pass() {
    if let Err(refusal) = text::allowed() {
        refuse(refusal);
        return;
    }
    account();
    if param::enable_jit() {
        make_room(0, u64::MAX);
        let threshold = param::jit_threshold().into();
        // Memory that cannot be had now can be had after the next kick.
        let Ok(shares) = Shares::now() else {
            return;
        };
        registry::for_each(|network| {
            if kick::stopping() || !param::enable_jit() {
                return;
            }
            let Some(model) = network.model() else {
                return;
            };
            if model
                .codes()
                .is_some_and(|codes| codes.total() >= threshold)
            {
                // Tried again after the next kick.
                let _ = consider(&model, &shares);
            }
        });
    }
}

/// No code may be made any more: what there is goes, which is said once.
fn refuse(refusal: Refusal) {
    static TOLD: AtomicBool = AtomicBool::new(false);

    clear();
    if !TOLD.swap(true, Relaxed) {
        pr_info!("jit: off: {}\n", refusal.text());
    }
}

/// Finds out how much kernels are needed, and drops those that no network has.
fn account() {
    let mut kernels = KERNELS.lock();
    for kernel in kernels.iter_mut() {
        kernel.used = false;
        kernel.recent /= 2;
    }
    registry::for_each(|network| {
        let model = network.model();
        let Some(codes) = model.as_ref().and_then(|model| model.codes()) else {
            return;
        };
        let more = codes.more();
        for place in codes.places.iter().filter_map(SetOnce::as_ref) {
            let mine = |kernel: &&mut Kernel| Arc::ptr_eq(&kernel.place, place);
            if let Some(kernel) = kernels.iter_mut().find(mine) {
                kernel.used = true;
                kernel.recent = kernel.recent.saturating_add(more);
            }
        }
    });
    kernels.retain(|kernel| kernel.used);
}

/// Evicts the least valuable code, unless it was called `value` times or more of late.
fn evict(value: u64) -> bool {
    let mut kernels = KERNELS.lock();
    let published = kernels.iter_mut().filter(|kernel| kernel.code.is_some());
    match published.min_by_key(|kernel| kernel.recent) {
        Some(least) if least.recent < value => {
            least.state = State::Retired(Why::NoRoom);
            least.code = None;
            true
        }
        _ => false,
    }
}

/// Whether so many bytes more are allowed, after what is worth less was evicted.
fn make_room(bytes: usize, value: u64) -> bool {
    // CAST: At most 64.
    let limit = (param::jit_cache_kb() as usize) << 10;
    let full = || text::used_bytes().saturating_add(bytes) > limit;
    while full() && evict(value) {}
    !full()
}

/// The kernel of a descriptor, which is added if it is new: where predictions find it.
fn find(descriptor: &Descriptor<'_>, calls: u64) -> Result<Arc<Place>> {
    let key = descriptor.key();
    let mut kernels = KERNELS.lock();
    let same = |kernel: &&Kernel| kernel.key == key && kernel.shape.descriptor() == *descriptor;
    if let Some(kernel) = kernels.iter().find(same) {
        return Ok(kernel.place.clone());
    }
    let place = Arc::new(Place::new(descriptor)?, GFP_KERNEL)?;
    let kernel = Kernel {
        key,
        shape: Arc::new(Shape::of(descriptor)?, GFP_KERNEL)?,
        place: place.clone(),
        state: State::Candidate,
        code: None,
        times: Times::default(),
        recent: calls,
        used: true,
    };
    kernels.push(kernel, GFP_KERNEL)?;
    Ok(place)
}

/// Calls `change` with the kernel of a place.
fn with<R>(place: &Arc<Place>, change: impl FnOnce(&mut Kernel) -> R) -> Option<R> {
    let mut kernels = KERNELS.lock();
    let mine = |kernel: &&mut Kernel| Arc::ptr_eq(&kernel.place, place);
    kernels.iter_mut().find(mine).map(change)
}

/// Lets a model use kernels, and makes the code of those that have none yet: for what its predictions ask
/// of vector code, and what takes its share of the time.
fn consider(model: &Model, shares: &Shares) -> Result {
    let (Some(codes), Some(set)) = (model.codes(), dispatch::set()) else {
        return Ok(());
    };
    if !model.vectorised(1) {
        return Ok(());
    }
    for learnt in learn(model, set)? {
        let key = model.sites().of(learnt.place);
        if key.is_none_or(|key| shares.worth(key)) && !kick::stopping() {
            provide(model, codes, &learnt)?;
        }
    }
    Ok(())
}

/// Lets a model use the kernel for a call, and makes the code if there is none yet.
fn provide(model: &Model, codes: &Codes, learnt: &Learnt) -> Result {
    let descriptor = learnt.work.descriptor(model.weights());
    let (Some(cell), Some(descriptor)) = (codes.places.get(learnt.place), descriptor) else {
        return Ok(());
    };
    if cell.as_ref().is_none() {
        cell.populate(find(&descriptor, codes.total())?);
    }
    let Some(place) = cell.as_ref() else {
        return Ok(());
    };
    let open = |kernel: &mut Kernel| match kernel.state {
        State::Candidate | State::Retired(Why::NoRoom) => {
            let before = core::mem::replace(&mut kernel.state, State::Compiling);
            Some((before, kernel.shape.clone(), kernel.recent))
        }
        _ => None,
    };
    let Some(Some((before, shape, recent))) = with(place, open) else {
        return Ok(());
    };
    let state = match compile(place, &shape, model, &learnt.work, recent) {
        Ok(state) => state,
        Err(error) => {
            with(place, |kernel| kernel.state = before);
            return Err(error);
        }
    };
    with(place, |kernel| {
        kernel.state = state;
        if state != State::Published {
            kernel.code = None;
        }
    });
    Ok(())
}

/// Makes code, tries it, lets predictions find it, and measures it: what has become of it.
fn compile(
    place: &Arc<Place>,
    shape: &Shape,
    model: &Model,
    work: &Work,
    recent: u64,
) -> Result<State> {
    let (way, isa) = ground().ok_or(ENODEV)?;
    let set = dispatch::set().ok_or(ENODEV)?;
    let retired = |why| Ok(State::Retired(why));
    let mut draft = match Draft::new(shape.descriptor(), isa, way) {
        Ok(draft) => draft,
        Err(NoCode::Unsupported) => return retired(Why::Unsupported),
        Err(NoCode::Refused) => return wrong(shape, "breaks the rules for generated code"),
        Err(_) => return Err(ENOMEM),
    };
    if !make_room(draft.room(), recent) {
        return retired(Why::NoRoom);
    }
    let code = loop {
        match draft.write() {
            Ok(code) => break code,
            // There is room, but not in one piece.
            Err(NoCode::NoRoom) if evict(recent) => {}
            Err(NoCode::NoRoom) => return retired(Why::NoRoom),
            Err(NoCode::Refused) => return wrong(shape, "does not stand in the arena as made"),
            Err(_) => return Err(ENOMEM),
        }
    };
    let mut trial = Trial::new(work, model.weights(), set)?;
    if !trial.compare(&code)? {
        return wrong(shape, "does not give what other code gives");
    }
    with(place, |kernel| kernel.state = State::Verified);
    let published = Published::new(place.clone(), code)?;
    let times = trial.measure(published.code())?;
    with(place, |kernel| {
        kernel.code = Some(published);
        kernel.times = times;
    });
    let gain = u64::from(param::jit_gain());
    let needed = times.generated.saturating_mul(gain.saturating_add(100));
    if gain != 0 && needed > times.vector.saturating_mul(100) {
        return retired(Why::Slow);
    }
    Ok(State::Published)
}

/// Tells of code that must not be used.
fn wrong(shape: &Shape, what: &str) -> Result<State> {
    let mut name = Line::EMPTY;
    // A line cuts what is too long.
    let _ = write!(name, "{}", Named(shape));
    let name = name.as_str();
    pr_err!("jit: code for {name} {what}, and is not used\n");
    Ok(State::Retired(Why::Wrong))
}

/// The name of a kernel.
struct Named<'a>(&'a Shape);

impl core::fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.descriptor().name(f)
    }
}

/// Writes what there is.
pub(crate) fn write_text(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match off() {
        None => writeln!(f, "state: on")?,
        Some(why) => writeln!(f, "state: off: {why}")?,
    }
    writeln!(f, "arena_bytes: {ARENA_BYTES}")?;
    writeln!(f, "arena_address: {:#x}", text::arena_address())?;
    writeln!(f, "used_bytes: {}", text::used_bytes())?;
    let kernels = KERNELS.lock();
    writeln!(f, "kernels: {}", kernels.len())?;
    for kernel in kernels.iter() {
        let (at, bytes) = kernel.code.as_ref().map_or((0, 0), |published| {
            let code = published.code().code();
            (code.entry().addr(), code.bytes().len())
        });
        let Times { vector, generated } = kernel.times;
        let gain = vector.saturating_mul(100).checked_div(generated);
        writeln!(
            f,
            "kernel: {} state={} address={at:#x} bytes={bytes} calls={} ticks={}.{} simd_ticks={}.{} speedup={}.{:02}",
            Named(&kernel.shape),
            kernel.state.name(),
            kernel.place.calls(),
            generated / 10,
            generated % 10,
            vector / 10,
            vector % 10,
            gain.unwrap_or(0) / 100,
            gain.unwrap_or(0) % 100,
        )?;
    }
    Ok(())
}

/// Writes where code is, as tools that look up names by addresses read it: address, bytes, name.
pub(crate) fn write_map(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for kernel in KERNELS.lock().iter() {
        let Some(published) = &kernel.code else {
            continue;
        };
        let code = published.code().code();
        writeln!(
            f,
            "{:x} {:x} neural_jit {}",
            code.entry().addr(),
            code.bytes().len(),
            Named(&kernel.shape)
        )?;
    }
    Ok(())
}
