// SPDX-License-Identifier: GPL-2.0

//! Generated code: an arena in the module's text, in which pieces of code are written, called and
//! taken away again.
//!
//! The arena is split in slots; a piece of code takes as many that follow each other as it needs, so
//! that nothing is ever moved. Slots without code trap. Lock: `SLOTS`, held for a few instructions,
//! the innermost one. Context: task, may sleep, unless said otherwise.

use core::{
    ops::Range,
    sync::atomic::{
        AtomicPtr,
        AtomicU64,
        AtomicU8,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::{
    bindings,
    global_lock,
    prelude::*,
    sync::Arc, //
};
use neural_core::float::Function;
use neural_jit::{
    Descriptor,
    EmitError,
    Exit,
    GemmF32,
    GemmI8,
    Isa,
    Limit, //
};
use neural_simd::generated::{
    self,
    Bounds,
    Call, //
};

use super::{
    cpu,
    ffi,
    fpu::FpuGuard, //
};

/// Bytes of the arena (`NEURAL_JIT_ARENA_BYTES`).
pub(crate) const ARENA_BYTES: usize = ffi::JIT_ARENA_BYTES;

/// Bytes of a slot.
pub(crate) const SLOT_BYTES: usize = 512;

/// Slots of the arena.
const SLOTS_COUNT: usize = ARENA_BYTES / SLOT_BYTES;

/// What fills the arena where there is no code.
pub(crate) const TRAP: u8 = 0xcc;

/// The slots in use, one bit each.
struct Used([bool; SLOTS_COUNT]);

global_lock! {
    // SAFETY: `Arena::new` initialises it before anything else uses it.
    unsafe(uninit) static SLOTS: Mutex<Used> = Used([false; SLOTS_COUNT]);
}

impl Used {
    /// The first `count` slots that follow each other and are free.
    fn find(&self, count: usize) -> Option<Range<usize>> {
        let free = |slots: &[bool]| slots.iter().all(|used| !used);
        let start = self.0.windows(count).position(free)?;
        Some(start..start + count)
    }

    fn mark(&mut self, slots: Range<usize>, used: bool) {
        for slot in self.0.get_mut(slots).into_iter().flatten() {
            *slot = used;
        }
    }
}

/// Bytes of the arena that are in use.
pub(crate) fn used_bytes() -> usize {
    SLOTS.lock().0.iter().filter(|&&used| used).count() * SLOT_BYTES
}

/// Why code cannot be generated now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// The kernel is locked down.
    LockedDown,
    /// The kernel checks the types of functions that are called by address.
    Cfi,
    /// How functions return in this kernel is not known.
    Return,
    /// The arena cannot be written.
    Mapping,
    /// What was written does not run as written.
    SelfTest,
}

impl Refusal {
    /// What stands in the log.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Refusal::LockedDown => "the kernel is locked down",
            Refusal::Cfi => "the kernel checks indirect calls (kCFI)",
            Refusal::Return => "functions of this kernel return in a way that is not known",
            Refusal::Mapping => "the arena in the module's text cannot be written",
            Refusal::SelfTest => "code in the arena does not run as it was written",
        }
    }
}

/// How functions return in this kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Return {
    /// By the instruction.
    Instruction,
    /// By a jump to this address.
    Thunk(usize),
}

impl Return {
    /// A function that gives `answer`, to stand at `address`; `None` if the thunk is too far away.
    pub(crate) fn function(self, address: usize, answer: u32) -> Option<[u8; 14]> {
        let [a0, a1, a2, a3] = answer.to_le_bytes();
        // endbr64; mov eax, answer
        let mut bytes = [
            0xf3, 0x0f, 0x1e, 0xfa, 0xb8, a0, a1, a2, a3, TRAP, TRAP, TRAP, TRAP, TRAP,
        ];
        let [.., jump, d0, d1, d2, d3] = &mut bytes;
        match self {
            Return::Instruction => *jump = 0xc3,
            Return::Thunk(thunk) => {
                let end = address.wrapping_add(14);
                // CAST: The distance, modulo 2^64.
                let distance = i32::try_from(thunk.wrapping_sub(end) as isize).ok()?;
                *jump = 0xe9;
                [*d0, *d1, *d2, *d3] = distance.to_le_bytes();
            }
        }
        Some(bytes)
    }
}

/// Whether code may be generated now: a kernel can be locked down at any time.
pub(crate) fn allowed() -> core::result::Result<(), Refusal> {
    match ffi::neural_shim_jit_refusal() {
        ffi::JIT_ALLOWED => Ok(()),
        ffi::JIT_CFI => Err(Refusal::Cfi),
        // `JIT_LOCKED`, and nothing else.
        _ => Err(Refusal::LockedDown),
    }
}

/// The arena, which exists once.
pub(crate) struct Arena {
    way: Return,
}

impl Arena {
    /// Sets the arena up and tries it. Called once, before any code is written.
    pub(crate) fn new() -> core::result::Result<Self, Refusal> {
        // SAFETY: Called exactly once, by the module's init.
        unsafe { SLOTS.init() };
        allowed()?;
        let mut thunk = core::ptr::null();
        // SAFETY: `thunk` is valid for writes.
        if !unsafe { ffi::neural_shim_jit_return(&mut thunk) } {
            return Err(Refusal::Return);
        }
        let way = match thunk.is_null() {
            true => Return::Instruction,
            false => Return::Thunk(thunk.addr()),
        };
        let arena = Arena { way };
        arena.test()?;
        Ok(arena)
    }

    /// How code must return.
    pub(crate) fn way(&self) -> Return {
        self.way
    }

    /// Writes a function, runs it, and takes it away.
    fn test(&self) -> core::result::Result<(), Refusal> {
        /// What the function gives.
        const ANSWER: u32 = 0x6e65_7572;

        let room = Room::new(SLOT_BYTES).map_err(|_| Refusal::Mapping)?;
        let bytes = self.way.function(room.address(), ANSWER);
        let bytes = bytes.ok_or(Refusal::Return)?;
        let code = room.write(&bytes).map_err(|_| Refusal::Mapping)?;
        if code.bytes() != bytes {
            return Err(Refusal::SelfTest);
        }
        // SAFETY: The bytes are a function that takes nothing and gives a number, they were written to
        // this address, and every CPU fetches them.
        let answer = unsafe {
            let function: extern "C" fn() -> u32 = core::mem::transmute(code.entry());
            function()
        };
        match answer {
            ANSWER => Ok(()),
            _ => Err(Refusal::SelfTest),
        }
    }
}

/// Slots for a piece of code that is yet to be written.
///
/// # Invariants
///
/// The slots lie in the arena, are marked as used, and belong to this.
pub(crate) struct Room {
    slots: Range<usize>,
}

impl Room {
    /// Room for `bytes` of code. Errors: `ENOSPC` when so many slots are not free beside each other.
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let count = bytes.div_ceil(SLOT_BYTES).max(1);
        let mut used = SLOTS.lock();
        let slots = used.find(count).ok_or(ENOSPC)?;
        used.mark(slots.clone(), true);
        // INVARIANT: Just marked.
        Ok(Room { slots })
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() * SLOT_BYTES
    }

    fn offset(&self) -> usize {
        self.slots.start * SLOT_BYTES
    }

    /// Where the code will start.
    pub(crate) fn address(&self) -> usize {
        arena_address() + self.offset()
    }

    /// Writes the code; when this returns, every CPU runs it as it was written.
    ///
    /// Errors: `EINVAL` when there is no room for it, `EPERM` when the kernel was locked down.
    pub(crate) fn write(self, code: &[u8]) -> Result<Code> {
        allowed().map_err(|_| EPERM)?;
        if code.len() > self.len() {
            return Err(EINVAL);
        }
        let at = self.offset();
        let len = code.len();
        // From here on there may be something to take away.
        let written = Code { room: self, len };
        // SAFETY: `code` is valid for its length. By the invariants nobody else has these slots; what
        // was in them before is gone, so that nobody runs them.
        let ret = unsafe { ffi::neural_shim_jit_write(at, code.as_ptr(), len) };
        kernel::error::to_result(ret)?;
        Ok(written)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        SLOTS.lock().mark(self.slots.clone(), false);
    }
}

/// Code in the arena. Dropped, it waits for those who run it: nobody may start to run it any more.
pub(crate) struct Code {
    room: Room,
    len: usize,
}

impl Code {
    /// Where the code starts.
    pub(crate) fn entry(&self) -> *const () {
        let base: *const () = ffi::neural_shim_jit_arena().cast();
        base.wrapping_byte_add(self.room.offset())
    }

    /// The code as it stands in the arena.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: Text can be read. What belongs to this is written by `Room::write` and by `drop` only.
        unsafe { core::slice::from_raw_parts(self.entry().cast(), self.len) }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: May be called from a task that may sleep. Who runs the code has looked its address up
        // with preemption off, and runs it so.
        unsafe { bindings::synchronize_rcu_expedited() };
        // SAFETY: Without code, traps are written. Nobody runs the code any more.
        let ret = unsafe {
            ffi::neural_shim_jit_write(self.room.offset(), core::ptr::null(), self.room.len())
        };
        // It cannot be reached; the next one who gets the slots writes over it.
        if ret != 0 {
            pr_warn!("jit: {} bytes of old code stay in the arena\n", self.len);
        }
    }
}

/// The most bytes of one piece of code.
const MOST: usize = ARENA_BYTES / 2;

/// Why there is no code for a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoCode {
    /// Nobody knows how to make it.
    Unsupported,
    /// What was made breaks the rules for code.
    Refused,
    /// There is no room for it in the arena.
    NoRoom,
    /// It could not be written, for lack of memory or since the kernel was locked down.
    NotWritten,
}

impl From<EmitError> for NoCode {
    fn from(_: EmitError) -> Self {
        NoCode::Unsupported
    }
}

/// Code for a descriptor that is yet to get a place in the arena.
pub(crate) struct Draft<'a> {
    descriptor: Descriptor<'a>,
    bounds: Bounds,
    isa: Isa,
    way: Return,
    bytes: KVVec<u8>,
    len: usize,
}

impl<'a> Draft<'a> {
    /// Makes the code.
    pub(crate) fn new(
        descriptor: Descriptor<'a>,
        isa: Isa,
        way: Return,
    ) -> core::result::Result<Self, NoCode> {
        let bounds = bounds_of(&descriptor).ok_or(NoCode::Unsupported)?;
        let bytes = KVVec::from_elem(TRAP, MOST, GFP_KERNEL).map_err(|_| NoCode::NotWritten)?;
        let mut draft = Draft {
            descriptor,
            bounds,
            isa,
            way,
            bytes,
            len: 0,
        };
        draft.emit(0)?;
        Ok(draft)
    }

    /// Makes the code for this distance of the thunk; the length is the same for all.
    fn emit(&mut self, distance: i64) -> core::result::Result<(), NoCode> {
        let exit = match self.way {
            Return::Instruction => Exit::Ret,
            Return::Thunk(_) => Exit::Thunk { distance },
        };
        self.len = neural_jit::emit(&self.descriptor, self.isa, exit, &mut self.bytes)?;
        neural_jit::check(self.code(), exit).map_err(|_| NoCode::Refused)
    }

    fn code(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Bytes that it takes in the arena.
    pub(crate) fn room(&self) -> usize {
        self.len.next_multiple_of(SLOT_BYTES)
    }

    /// Writes the code into the arena.
    pub(crate) fn write(&mut self) -> core::result::Result<Made, NoCode> {
        let room = Room::new(self.len).map_err(|_| NoCode::NoRoom)?;
        if let Return::Thunk(thunk) = self.way {
            // CAST: The distance, modulo 2^64.
            self.emit(thunk.wrapping_sub(room.address()) as i64)?;
        }
        let code = room.write(self.code()).map_err(|_| NoCode::NotWritten)?;
        if code.bytes() != self.code() {
            return Err(NoCode::Refused);
        }
        // INVARIANT: Just made, checked, written and compared.
        Ok(Made {
            code,
            bounds: self.bounds,
        })
    }
}

/// What becomes of sums by such a limit.
pub(crate) fn function_of(limit: Limit) -> Function {
    match limit {
        Limit::None => Function::None,
        Limit::Zero => Function::Relu,
        Limit::ZeroToSix => Function::Relu6,
    }
}

fn bounds_of(descriptor: &Descriptor<'_>) -> Option<Bounds> {
    // CAST: Widening.
    let size = |n: u32| n as usize;
    match *descriptor {
        Descriptor::ChainI8 { layers, flip, .. } => Bounds::chain_i8(layers, flip),
        Descriptor::ChainF32 { layers } => Bounds::chain_f32(layers),
        Descriptor::GemmI8(GemmI8 {
            n,
            k,
            zero,
            min,
            max,
            ..
        }) => Some(Bounds::GemmI8 {
            n: size(n),
            k: size(k),
            codes: [zero, min, max].map(i32::from),
        }),
        Descriptor::GemmF32(GemmF32 {
            positions,
            n,
            k,
            x_row,
            y_row,
            limit,
        }) => Some(Bounds::GemmF32 {
            m: size(positions),
            n: size(n),
            k: size(k),
            x_row: size(x_row),
            y_row: size(y_row),
            function: function_of(limit),
        }),
        Descriptor::CosineF32 { rows, n, eps } => Some(Bounds::CosineF32 {
            rows: size(rows),
            n: size(n),
            eps,
        }),
    }
}

/// Code for a descriptor in the arena.
///
/// # Invariants
///
/// The code was made by [`neural_jit::emit`] for a descriptor with these bounds and instructions of this
/// CPU, and [`neural_jit::check`] has found nothing in it that is not allowed.
pub(crate) struct Made {
    code: Code,
    bounds: Bounds,
}

impl Made {
    /// The code.
    pub(crate) fn code(&self) -> &Code {
        &self.code
    }

    /// Runs it; `false`, and nothing happens, if the call is not one that it is for.
    pub(crate) fn run(&self, _section: &FpuGuard, call: &mut Call<'_, '_>) -> bool {
        // SAFETY: By the invariants; a section is open.
        unsafe { generated::run(self.code.entry(), &self.bounds, call) }
    }
}

/// Where predictions find code for a descriptor, if there is some at the moment.
///
/// # Invariants
///
/// The entry is null or that of a [`Made`] with these bounds, which is not dropped before a
/// [`Published`] has made it null.
pub(crate) struct Place {
    entry: AtomicPtr<()>,
    bounds: Bounds,
    calls: KVec<Calls>,
}

/// Calls on one CPU; a line of the cache each.
#[repr(align(64))]
struct Calls(AtomicU64);

impl Place {
    /// A place for code for a descriptor.
    ///
    /// Errors: `EINVAL` when it describes nothing, `ENOMEM`.
    pub(crate) fn new(descriptor: &Descriptor<'_>) -> Result<Self> {
        let mut calls = KVec::with_capacity(cpu::nr_cpu_ids(), GFP_KERNEL)?;
        for _ in 0..cpu::nr_cpu_ids() {
            calls.push(Calls(AtomicU64::new(0)), GFP_KERNEL)?;
        }
        Ok(Place {
            // INVARIANT: Null.
            entry: AtomicPtr::new(core::ptr::null_mut()),
            bounds: bounds_of(descriptor).ok_or(EINVAL)?,
            calls,
        })
    }

    /// Calls until now.
    pub(crate) fn calls(&self) -> u64 {
        let sum = |sum: u64, Calls(calls): &Calls| sum.wrapping_add(calls.load(Relaxed));
        self.calls.iter().fold(0, sum)
    }

    /// Whether there is code at the moment. Any context.
    pub(crate) fn is_live(&self) -> bool {
        !self.entry.load(Relaxed).is_null()
    }

    /// Makes a call of the code, if there is some and it is for such calls. Any context with a section.
    #[inline]
    pub(crate) fn run(&self, _section: &FpuGuard, call: &mut Call<'_, '_>) -> bool {
        // ORDERING: Acquire pairs with the release in `Published::new`: the code was written before.
        let entry = self.entry.load(Acquire);
        if entry.is_null() {
            return false;
        }
        // SAFETY: By the invariants; a section is open, in which preemption is off, so that the code
        // stays where it is.
        let done = unsafe { generated::run(entry, &self.bounds, call) };
        if let Some(Calls(calls)) = self.calls.get(cpu::current_cpu()).filter(|_| done) {
            // Nobody else counts on this CPU while a section is open.
            calls.store(calls.load(Relaxed).wrapping_add(1), Relaxed);
        }
        done
    }
}

/// Code that predictions find in its place while this lives.
pub(crate) struct Published {
    place: Arc<Place>,
    /// Dropped after `drop` has made the entry null.
    code: Made,
}

impl Published {
    /// Puts code into a place for such code. Errors: `EINVAL` when it is for other code, `EBUSY` when
    /// there is some already.
    pub(crate) fn new(place: Arc<Place>, code: Made) -> Result<Self> {
        if place.bounds != code.bounds {
            return Err(EINVAL);
        }
        let entry = code.code.entry().cast_mut();
        // ORDERING: Release pairs with the acquire in `Place::run`.
        // INVARIANT: The code has the bounds of the place; `drop` makes the entry null first.
        place
            .entry
            .compare_exchange(core::ptr::null_mut(), entry, Release, Relaxed)
            .map_err(|_| EBUSY)?;
        Ok(Published { place, code })
    }

    /// The code.
    pub(crate) fn code(&self) -> &Made {
        &self.code
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // What follows waits for those who have seen the entry.
        self.place.entry.store(core::ptr::null_mut(), Release);
    }
}

/// The bytes of the arena as they are at the moment.
pub(crate) fn arena() -> &'static [AtomicU8] {
    let base = ffi::neural_shim_jit_arena().cast::<AtomicU8>();
    // SAFETY: The arena is a part of the module, which can be read, has so many bytes, and is written
    // through another address only; nobody writes through this one, as loads are all that is done.
    unsafe { core::slice::from_raw_parts(base, ARENA_BYTES) }
}

/// Where the arena is.
pub(crate) fn arena_address() -> usize {
    ffi::neural_shim_jit_arena().addr()
}
