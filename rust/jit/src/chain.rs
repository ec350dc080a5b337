// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers of 8-bit integers, and single ones, for one sample.
//!
//! All is written out: there is no loop and no choice in the code. Codes stay in registers between layers
//! if there are enough of these: four vectors of sums become one vector of codes in the order in which
//! narrowing leaves them, and the next layer takes groups of four codes from where they are. What
//! registers do not hold goes through the two buffers of the arguments, in the same order.

mod dot;
mod ends;
mod requant;

use neural_core::int8::{panel_rows, ChainLayer, GROUP, PANEL};

use crate::asm::forms::{self, Form};
use crate::asm::{Asm, Bits, Gpr, Mask, Mem, Rm, Vec, Which};
use crate::near::{Near, WEIGHTS};
use crate::{EmitError, Exit, Facts, GemmI8, Isa, LAYERS};

/// Where the pointers of the arguments are.
mod args {
    pub(super) const X: i32 = 0;
    pub(super) const Y: i32 = 8;
    pub(super) const BUFFERS: [i32; 2] = [16, 24];
    pub(super) const WEIGHTS: i32 = 32;
    pub(super) const GEMM_X: i32 = 0;
    pub(super) const GEMM_Y: i32 = 24;
    pub(super) const GEMM_W: i32 = 96;
    pub(super) const GEMM_BIAS: i32 = 104;
    pub(super) const GEMM_MULT: i32 = 112;
    pub(super) const GEMM_SHIFT: i32 = 120;
}

/// Registers with one use.
const X: Gpr = Gpr::Rsi;
const Y: Gpr = Gpr::Rdx;
const BUFFERS: [Gpr; 2] = [Gpr::Rcx, Gpr::R10];
const NUMBER: Gpr = Gpr::Rax;
/// Biases, multipliers and shifts of a layer of its own, which needs neither buffers nor the second
/// of the addresses that are near.
const LISTS: [Gpr; 3] = [Gpr::Rcx, Gpr::R10, Gpr::R11];
/// Every other lane.
const LANES: Mask = Mask(1);
/// The bytes of an end that is no whole vector.
const TAIL: Mask = Mask(2);

/// The bits by which codes and biased codes differ.
const FLIP: u8 = 0x80;

/// The greatest offset in the weights: what is added to it is far below 2^31.
const REACH: u32 = 1 << 30;

/// The most vectors of sums that become one vector of codes.
const PARTS: usize = 4;

/// How bytes are multiplied.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dot {
    /// By one instruction.
    Direct(&'static Form),
    /// By halves of four bits each, whose products fit into 16 bits.
    Halves,
}

/// A layer.
#[derive(Clone, Copy)]
struct Layer {
    /// What it reads.
    k: usize,
    /// What it gives.
    n: usize,
    /// Offset in the weights.
    w: i32,
    /// The lists of constants.
    bias: Mem,
    mult: Mem,
    shift: Mem,
    /// Offset in the weights.
    table: Option<i32>,
    /// Biased codes.
    zero: u8,
    min: u8,
    max: u8,
    facts: Facts,
    /// The registers that its sums need.
    bits: Bits,
}

/// Where codes are.
#[derive(Clone, Copy)]
struct Place {
    /// In registers, or in this buffer.
    buffer: Option<Gpr>,
    /// The registers, one for each vector of codes.
    registers: [Vec; POOL],
    /// Those of the upper halves of codes, if they are split.
    upper: [Vec; POOL],
    /// Codes.
    len: usize,
    /// Whether they are in their natural order.
    natural: bool,
    /// Whether the next layer has them already.
    taken: bool,
}

/// The most registers that hold codes.
const POOL: usize = 8;

/// The most groups of codes that stay, repeated, in registers of their own.
const HELD: usize = 8;

/// Registers that sums are in.
#[derive(Clone, Copy)]
struct Sums {
    first: u8,
    registers: u8,
}

impl Sums {
    /// Those of a layer that takes codes as they come.
    const NEXT: Sums = Sums {
        first: 20,
        registers: 4,
    };

    /// Whether they have two halves, each for other groups of codes.
    fn paired(self, layer: &Layer) -> bool {
        self.first == Sums::NEXT.first && layer.bits == Bits::B128
    }

    /// One of them.
    fn at(self, n: usize) -> Option<Vec> {
        let n = u8::try_from(n).ok()?;
        (n < self.registers).then_some(Vec(self.first.checked_add(n)?))
    }
}

/// What has to be known while code comes about.
struct Emitter<'a, 'b> {
    asm: &'a mut Asm<'b>,
    /// The longest vectors.
    bits: Bits,
    dot: Dot,
    /// Registers that hold no codes, a bit each.
    free: u32,
    /// Groups of codes that stay in registers, in their order.
    elements: [Option<Vec>; HELD],
    /// For a layer, and for one that takes its codes as they come.
    near: Near,
    /// What facts the constants that layers have in common are for.
    common: Option<bool>,
    /// Buffers whose addresses are in registers.
    loaded: [bool; 2],
}

/// Writes the function.
pub(crate) fn emit(
    asm: &mut Asm<'_>,
    layers: &[u8],
    facts: &[Facts; LAYERS],
    flip: bool,
    isa: Isa,
    exit: Exit,
) {
    let mut emitter = Emitter::new(asm, isa);
    if emitter.function(layers, facts, flip, exit).is_none() {
        asm.fail(EmitError::Unsupported);
    }
}

impl Layer {
    fn read(bytes: &[u8], facts: Facts, widest: Bits) -> Option<Self> {
        let layer = ChainLayer::read(bytes)?;
        let offset = |at: u32| (at < REACH).then(|| i32::try_from(at).ok()).flatten();
        let list = |at: u32| {
            let base = WEIGHTS;
            offset(at).map(|disp| Mem { base, disp })
        };
        let code = |n: i32| u8::try_from(n).ok();
        let k = usize::try_from(layer.k).ok()?;
        let n = usize::try_from(layer.n).ok()?;
        let inside = (1..1 << 14).contains(&k) && (1..1 << 14).contains(&n);
        let table = match layer.table {
            ChainLayer::NONE => None,
            at => Some(offset(at)?),
        };
        let layer = Layer {
            k,
            n,
            w: offset(layer.w)?,
            bias: list(layer.bias)?,
            mult: list(layer.mult)?,
            shift: list(layer.shift)?,
            table,
            zero: code(layer.zero)?,
            min: code(layer.min)?,
            max: code(layer.max)?,
            facts,
            bits: bits_for(n, widest),
        };
        (inside && layer.min <= layer.max).then_some(layer)
    }

    /// Rows of a vector of sums.
    fn lanes(&self) -> usize {
        self.bits.bytes() / 4
    }

    /// Rows of the vectors of sums that become one vector of codes.
    fn chunk(&self) -> usize {
        self.bits.bytes()
    }

    /// Vectors of codes.
    fn chunks(&self) -> usize {
        self.n.div_ceil(self.chunk())
    }

    /// Vectors of sums from a row on that become one vector of codes.
    fn parts(&self, row: usize) -> usize {
        let left = self.n.saturating_sub(row);
        left.div_ceil(self.lanes()).min(PARTS)
    }

    /// Where the weights of a row and group are.
    fn weights(&self, row: usize, group: usize) -> Option<i32> {
        let groups = self.k.div_ceil(GROUP);
        let top = row / PANEL * PANEL;
        let rows = panel_rows(self.n.checked_sub(top)?);
        let at = top
            .checked_mul(groups)?
            .checked_add(group.checked_mul(rows)?)?
            .checked_add(row % PANEL)?
            .checked_mul(GROUP)?;
        self.w.checked_add(i32::try_from(at).ok()?)
    }
}

/// The registers that the sums of so many rows need.
fn bits_for(rows: usize, widest: Bits) -> Bits {
    match rows {
        0..=4 => Bits::B128,
        5..=8 => Bits::B256,
        _ => widest,
    }
}

/// Where an element of 32 bits of a list is.
fn list(list: Mem, row: usize) -> Rm {
    // CAST: rows are below 2^14.
    Rm::Mem(Mem {
        disp: list.disp.wrapping_add((row as i32).wrapping_mul(4)),
        ..list
    })
}

impl Place {
    const EMPTY: Place = Place {
        buffer: None,
        registers: [Vec(0); POOL],
        upper: [Vec(0); POOL],
        len: 0,
        natural: true,
        taken: false,
    };
}

/// Writes the function of a layer of its own, whose codes are biased.
pub(crate) fn emit_gemm(asm: &mut Asm<'_>, gemm: &GemmI8, isa: Isa, exit: Exit) {
    let mut emitter = Emitter::new(asm, isa);
    if emitter.gemm(gemm, exit).is_none() {
        asm.fail(EmitError::Unsupported);
    }
}

impl<'a, 'b> Emitter<'a, 'b> {
    fn new(asm: &'a mut Asm<'b>, isa: Isa) -> Self {
        let (bits, dot) = match isa {
            Isa::Avx2 => (Bits::B256, Dot::Halves),
            Isa::AvxVnni => (Bits::B256, Dot::Direct(&forms::VPDPBUSD_VEX)),
            Isa::Avx512 => (Bits::B512, Dot::Halves),
            Isa::Avx512Vnni => (Bits::B512, Dot::Direct(&forms::VPDPBUSD)),
        };
        Emitter {
            asm,
            bits,
            dot,
            free: match bits {
                Bits::B512 => 0xff00_0000,
                _ => 0xe000,
            },
            elements: [None; HELD],
            near: Near::default(),
            common: None,
            loaded: [false; 2],
        }
    }
}

impl Emitter<'_, '_> {
    /// Whether there are masks, and 32 registers.
    fn wide(&self) -> bool {
        self.bits == Bits::B512
    }

    fn function(
        &mut self,
        layers: &[u8],
        facts: &[Facts; LAYERS],
        flip: bool,
        exit: Exit,
    ) -> Option<()> {
        let bits = self.bits;
        let read = |(bytes, &facts)| Layer::read(bytes, facts, bits);
        let all = || layers.chunks_exact(ChainLayer::BYTES).zip(facts).map(read);
        let count = layers.len() / ChainLayer::BYTES;
        self.asm.enter();
        self.asm.pointer(X, args::X);
        self.asm.pointer(WEIGHTS, args::WEIGHTS);
        let mut codes = Place::EMPTY;
        let mut ready = false;
        let mut following = all().skip(1);
        for (i, layer) in all().enumerate() {
            let layer = layer?;
            if i == 0 {
                codes = self.input(layer.k, true)?;
            }
            if codes.len != layer.k || self.asm.failed() {
                return None;
            }
            codes = match following.next() {
                Some(next) => {
                    let next = next?;
                    let streamed = self.streams(&layer, &next).then_some(&next);
                    let codes = self.inner(&layer, &codes, ready, streamed)?;
                    ready = streamed.is_some();
                    codes
                }
                None => {
                    self.asm.pointer(Y, args::Y);
                    self.last(&layer, &codes, ready, flip)?;
                    Place::EMPTY
                }
            };
        }
        self.asm.leave(exit);
        (count > 0).then_some(())
    }

    fn gemm(&mut self, gemm: &GemmI8, exit: Exit) -> Option<()> {
        // CAST: to wider types.
        let (k, n) = (gemm.k as usize, gemm.n as usize);
        let inside = (1..1 << 14).contains(&k) && (1..1 << 14).contains(&n);
        if !inside || gemm.min > gemm.max {
            return None;
        }
        self.asm.enter();
        let pointers = [
            (X, args::GEMM_X),
            (Y, args::GEMM_Y),
            (WEIGHTS, args::GEMM_W),
            (LISTS[0], args::GEMM_BIAS),
            (LISTS[1], args::GEMM_MULT),
            (LISTS[2], args::GEMM_SHIFT),
        ];
        for (register, at) in pointers {
            self.asm.pointer(register, at);
        }
        let [bias, mult, shift] = LISTS.map(|base| Mem { base, disp: 0 });
        let layer = Layer {
            k,
            n,
            w: 0,
            bias,
            mult,
            shift,
            table: None,
            zero: gemm.zero,
            min: gemm.min,
            max: gemm.max,
            facts: gemm.facts,
            bits: bits_for(n, self.bits),
        };
        let codes = self.input(k, false)?;
        self.last(&layer, &codes, false, false)?;
        self.asm.leave(exit);
        Some(())
    }

    /// Whether sums of a chunk are done while those of the one before it become codes.
    fn overlaps(&self, layer: &Layer) -> bool {
        self.wide() && matches!(self.dot, Dot::Direct(_)) && layer.chunks() > 1
    }

    /// Whether the next layer is so small that it takes codes as they come.
    fn streams(&self, layer: &Layer, next: &Layer) -> bool {
        self.overlaps(layer) && next.n <= next.lanes().saturating_mul(2)
    }

    /// A layer whose results another one reads; which is done up to its sums if it is given. The sums of the layer
    /// itself may be ready.
    fn inner(
        &mut self,
        layer: &Layer,
        codes: &Place,
        ready: bool,
        next: Option<&Layer>,
    ) -> Option<Place> {
        let chunks = layer.chunks();
        let mut codes = *codes;
        if !ready {
            codes = self.split(&codes)?;
        }
        let free = self.left()?;
        // The next layer splits these results where those of this one are now.
        let fits = chunks <= free
            && match self.dot {
                Dot::Direct(_) => true,
                Dot::Halves => {
                    let later = free.checked_add(self.held(&codes).checked_mul(2)?)?;
                    chunks.checked_mul(2)? <= later
                }
            };
        let mut results = Place {
            len: layer.n,
            natural: false,
            ..Place::EMPTY
        };
        if next.is_some() {
            let turns = [self.take()?, self.take()?];
            for (to, from) in results.registers.iter_mut().zip(turns.iter().cycle()) {
                *to = *from;
            }
        } else if fits {
            for to in results.registers.iter_mut().take(chunks) {
                *to = self.take()?;
            }
        } else {
            let other = match codes.buffer {
                Some(buffer) if buffer == BUFFERS[0] => 1,
                _ => 0,
            };
            results.buffer = Some(self.buffer(other)?);
        }
        self.prepare(layer, &codes, ready, false)?;
        if let Some(next) = next {
            self.begin(next, 0, next.parts(0), Sums::NEXT)?;
        }
        for step in 0..chunks.checked_add(2)? {
            if let Some(chunk) = self.advance(layer, &codes, ready, step)? {
                let to = match results.buffer {
                    Some(_) => self.spare(),
                    None => *results.registers.get(chunk)?,
                };
                self.codes(layer, &codes, chunk, to, ready, false)?;
                self.clamp(layer, to);
                if let (Some(table), true) = (layer.table, self.wide()) {
                    self.look_up(table, layer.bits, to, self.sums(layer, chunk, ready));
                }
                if let Some(base) = results.buffer {
                    let disp = i32::try_from(chunk.checked_mul(layer.chunk())?).ok()?;
                    let to_memory = Rm::Mem(Mem { base, disp });
                    self.asm
                        .store(&forms::VMOVDQU_TO, layer.bits, Which::All, to_memory, to);
                }
            }
            if let (Some(next), Some(chunk)) = (next, step.checked_sub(2)) {
                self.add(next, &results, Some(chunk), 0, next.parts(0), Sums::NEXT)?;
            }
        }
        if let (Some(table), false) = (layer.table, self.wide()) {
            self.look_up_all(table, layer, &results)?;
        }
        self.release(&codes);
        if next.is_some() {
            for register in results.registers.iter().take(2) {
                self.free |= 1 << (register.0 & 31);
            }
            results.taken = true;
        }
        Some(results)
    }

    /// What comes before the chunks of a layer.
    fn prepare(&mut self, layer: &Layer, codes: &Place, ready: bool, last: bool) -> Option<()> {
        if self.wide() {
            self.constants(layer, last);
        }
        self.elements = [None; HELD];
        if self.overlaps(layer) && !ready {
            self.hold(layer, codes)?;
        }
        Some(())
    }

    /// A step of the work on chunks: the sums of one, and the number of the one whose sums become codes.
    fn advance(
        &mut self,
        layer: &Layer,
        codes: &Place,
        ready: bool,
        step: usize,
    ) -> Option<Option<usize>> {
        let chunks = layer.chunks();
        let overlaps = self.overlaps(layer) && !ready;
        if step < chunks && !ready && matches!(self.dot, Dot::Direct(_)) {
            let row = step.checked_mul(layer.chunk())?;
            let sums = self.sums(layer, step, ready);
            self.dot(layer, codes, row, layer.parts(row), sums)?;
        }
        let chunk = match overlaps {
            true => step.checked_sub(1),
            false => Some(step),
        };
        Some(chunk.filter(|&chunk| chunk < chunks))
    }

    /// Registers of the sums of a chunk.
    fn sums(&self, layer: &Layer, chunk: usize, ready: bool) -> Sums {
        match (ready, self.overlaps(layer), chunk & 1) {
            (true, ..) => Sums::NEXT,
            (_, true, 1) => Sums {
                first: 4,
                registers: 4,
            },
            (_, true, _) => Sums {
                first: 0,
                registers: 4,
            },
            _ => Sums {
                first: 0,
                registers: 8,
            },
        }
    }

    /// The codes of a chunk, in one register: not yet limited to less than a byte. Those of the last layer are
    /// signed and in their natural order, if there are instructions for that.
    fn codes(
        &mut self,
        layer: &Layer,
        codes: &Place,
        chunk: usize,
        to: Vec,
        ready: bool,
        last: bool,
    ) -> Option<()> {
        let row = chunk.checked_mul(layer.chunk())?;
        let parts = layer.parts(row);
        let sums = self.sums(layer, chunk, ready);
        let most = match self.dot {
            Dot::Direct(_) => PARTS,
            Dot::Halves => PARTS / 2,
        };
        if ready {
            self.combine(layer, parts, sums)?;
        }
        let mut done = 0usize;
        while done < parts {
            let count = parts.checked_sub(done)?.min(most);
            let first = row.checked_add(done.checked_mul(layer.lanes())?)?;
            if self.dot == Dot::Halves {
                self.halves(layer, codes, first, count)?;
            }
            self.scale(layer, first, count, sums)?;
            if last && self.wide() {
                self.append(layer, done, count, to, sums)?;
            } else {
                self.narrow(layer, done, (count, parts), to, sums)?;
            }
            done = done.checked_add(count)?;
        }
        Some(())
    }

    /// The address of a buffer.
    fn buffer(&mut self, i: usize) -> Option<Gpr> {
        let (base, loaded) = (*BUFFERS.get(i)?, self.loaded.get_mut(i)?);
        if !*loaded {
            self.asm.pointer(base, *args::BUFFERS.get(i)?);
            *loaded = true;
        }
        Some(base)
    }

    /// A register for what is stored at once.
    fn spare(&self) -> Vec {
        Vec(if self.wide() { 13 } else { 10 })
    }

    /// How many registers are left for codes.
    fn left(&self) -> Option<usize> {
        usize::try_from(self.free.count_ones()).ok()
    }

    /// Frees what the codes of a layer and its elements were in.
    fn release(&mut self, codes: &Place) {
        for register in self.elements.into_iter().flatten() {
            self.free |= 1 << (register.0 & 31);
        }
        self.elements = [None; HELD];
        // What was taken as it came is in no register any more.
        if !codes.taken {
            self.give_back(codes);
        }
    }

    /// A register for codes.
    fn take(&mut self) -> Option<Vec> {
        let n = u8::try_from(self.free.trailing_zeros()).ok()?;
        self.free &= self.free.wrapping_sub(1);
        (n < 32).then_some(Vec(n))
    }

    /// Registers that hold codes, or the lower halves of codes.
    fn held(&self, codes: &Place) -> usize {
        match codes.buffer {
            Some(_) => 0,
            None => codes.len.div_ceil(self.bits.bytes()),
        }
    }

    /// Registers whose codes are not needed any more.
    fn give_back(&mut self, codes: &Place) {
        let held = self.held(codes);
        let split = self.dot == Dot::Halves;
        for (register, upper) in codes.registers.iter().zip(&codes.upper).take(held) {
            self.free |= 1 << (register.0 & 31);
            if split {
                self.free |= 1 << (upper.0 & 31);
            }
        }
    }

    /// A number in all elements of 32 bits.
    fn splat(&mut self, to: Vec, bits: Bits, n: u32) {
        self.asm.set(NUMBER, n);
        if self.wide() {
            self.asm
                .load(&forms::VPBROADCASTD_FROM, bits, to, Rm::Gpr(NUMBER));
        } else {
            self.asm
                .load(&forms::VMOVD, Bits::B128, to, Rm::Gpr(NUMBER));
            self.asm.load(&forms::VPBROADCASTD, bits, to, Rm::Vec(to));
        }
    }

    /// A code in all bytes.
    fn splat_code(&mut self, to: Vec, bits: Bits, code: u8) {
        self.splat(to, bits, u32::from_le_bytes([code; 4]));
    }
}
