// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers of 8-bit integers, for one sample.
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
use crate::{EmitError, Exit, Facts, Isa, LAYERS};

/// Where the pointers of the arguments are.
mod args {
    pub(super) const X: i32 = 0;
    pub(super) const Y: i32 = 8;
    pub(super) const BUFFERS: [i32; 2] = [16, 24];
    pub(super) const WEIGHTS: i32 = 32;
}

/// Registers with one use.
const X: Gpr = Gpr::Rsi;
const Y: Gpr = Gpr::Rdx;
const BUFFERS: [Gpr; 2] = [Gpr::Rcx, Gpr::R10];
const WEIGHTS: Gpr = Gpr::R8;
/// Near the weights that are read next.
const NEAR: Gpr = Gpr::R9;
const NUMBER: Gpr = Gpr::Rax;
/// Lanes with odd numbers.
const ODD: Mask = Mask(1);
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
    /// Offsets in the weights.
    w: i32,
    bias: i32,
    mult: i32,
    shift: i32,
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
}

/// The most registers that hold codes.
const POOL: usize = 12;

/// What has to be known while code comes about.
struct Emitter<'a, 'b> {
    asm: &'a mut Asm<'b>,
    /// The longest vectors.
    bits: Bits,
    dot: Dot,
    /// Registers that hold no codes, a bit each.
    free: u32,
    /// What [`NEAR`] is counted from, and where it is.
    near: Option<i32>,
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
    let (bits, dot) = match isa {
        Isa::Avx2 => (Bits::B256, Dot::Halves),
        Isa::AvxVnni => (Bits::B256, Dot::Direct(&forms::VPDPBUSD_VEX)),
        Isa::Avx512 => (Bits::B512, Dot::Halves),
        Isa::Avx512Vnni => (Bits::B512, Dot::Direct(&forms::VPDPBUSD)),
    };
    let free = match bits {
        Bits::B512 => 0xfff0_0000,
        _ => 0xe000,
    };
    let mut emitter = Emitter {
        asm,
        bits,
        dot,
        free,
        near: None,
        loaded: [false; 2],
    };
    if emitter.function(layers, facts, flip, exit).is_none() {
        asm.fail(EmitError::Unsupported);
    }
}

impl Layer {
    fn read(bytes: &[u8], facts: Facts, widest: Bits) -> Option<Self> {
        let layer = ChainLayer::read(bytes)?;
        let offset = |at: u32| (at < REACH).then(|| i32::try_from(at).ok()).flatten();
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
            bias: offset(layer.bias)?,
            mult: offset(layer.mult)?,
            shift: offset(layer.shift)?,
            table,
            zero: code(layer.zero)?,
            min: code(layer.min)?,
            max: code(layer.max)?,
            facts,
            bits: match n {
                0..=4 => Bits::B128,
                5..=8 => Bits::B256,
                _ => widest,
            },
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

/// Where an element of 32 bits of a list is.
fn list(at: i32, row: usize) -> Rm {
    // CAST: rows are below 2^14.
    Rm::Mem(Mem {
        base: WEIGHTS,
        disp: at.wrapping_add((row as i32).wrapping_mul(4)),
    })
}

impl Place {
    const EMPTY: Place = Place {
        buffer: None,
        registers: [Vec(0); POOL],
        upper: [Vec(0); POOL],
        len: 0,
        natural: true,
    };
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
        if self.wide() {
            self.asm.set(NUMBER, 0xaaaa);
            self.asm.mask(&forms::KMOVW, ODD, Rm::Gpr(NUMBER));
            self.fixed_constants();
        }
        let mut codes = Place::EMPTY;
        for (i, layer) in all().enumerate() {
            let layer = layer?;
            if i == 0 {
                codes = self.input(layer.k)?;
            }
            if codes.len != layer.k || self.asm.failed() {
                return None;
            }
            if i.checked_add(1) == Some(count) {
                self.asm.pointer(Y, args::Y);
                self.last(&layer, &codes, flip)?;
            } else {
                codes = self.inner(&layer, &codes)?;
            }
        }
        self.asm.leave(exit);
        (count > 0).then_some(())
    }

    /// A layer whose results another one reads.
    fn inner(&mut self, layer: &Layer, codes: &Place) -> Option<Place> {
        let chunks = layer.chunks();
        let codes = self.split(codes)?;
        let free = usize::try_from(self.free.count_ones()).ok()?;
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
        if !fits {
            let next = match codes.buffer {
                Some(buffer) if buffer == BUFFERS[0] => 1,
                _ => 0,
            };
            results.buffer = Some(self.buffer(next)?);
        }
        if self.wide() {
            self.constants(layer, false);
        }
        for chunk in 0..chunks {
            let row = chunk.checked_mul(layer.chunk())?;
            let to = match fits {
                true => self.take()?,
                false => self.spare(),
            };
            self.codes(layer, &codes, row, to, false)?;
            self.clamp(layer, to);
            if let Some(table) = layer.table {
                self.look_up(table, layer.bits, to);
            }
            match results.buffer {
                Some(base) => {
                    let disp = i32::try_from(row).ok()?;
                    let to_memory = Rm::Mem(Mem { base, disp });
                    self.asm
                        .store(&forms::VMOVDQU_TO, layer.bits, Which::All, to_memory, to);
                }
                None => *results.registers.get_mut(chunk)? = to,
            }
        }
        self.give_back(&codes);
        Some(results)
    }

    /// The codes of a chunk, in one register: not yet limited to less than a byte. Those of the last layer are
    /// signed and in their natural order, if there are instructions for that.
    fn codes(
        &mut self,
        layer: &Layer,
        codes: &Place,
        row: usize,
        to: Vec,
        last: bool,
    ) -> Option<()> {
        let parts = layer.parts(row);
        let most = match self.dot {
            Dot::Direct(_) => PARTS,
            Dot::Halves => PARTS / 2,
        };
        let mut done = 0usize;
        while done < parts {
            let count = parts.checked_sub(done)?.min(most);
            let first = row.checked_add(done.checked_mul(layer.lanes())?)?;
            self.dot(layer, codes, first, count)?;
            self.scale(layer, first, count)?;
            if last && self.wide() {
                self.append(layer, done, count, to)?;
            } else {
                self.narrow(layer, done, (count, parts), to);
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
