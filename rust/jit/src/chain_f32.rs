// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers of single precision, for one sample.
//!
//! As for codes, all is written out, and elements stay in registers between layers: there must be 32 of these, and
//! what a layer reads and gives must fit into 21. Products are added in the order of
//! `neural_chain_f32_avx512`, so that results are the same bit by bit.

use neural_core::float::{ChainLayer, Function};
use neural_core::int8::{panel_rows, PANEL};

use crate::asm::forms;
use crate::asm::{Asm, Bits, Gpr, Mask, Mem, Rm, Vec, Which};
use crate::near::{Near, WEIGHTS};
use crate::{EmitError, Exit, Isa};

/// Where the pointers of the arguments are.
mod args {
    pub(super) const X: i32 = 0;
    pub(super) const Y: i32 = 8;
    pub(super) const WEIGHTS: i32 = 32;
}

const X: Gpr = Gpr::Rsi;
const Y: Gpr = Gpr::Rdx;
const NUMBER: Gpr = Gpr::Rax;
const TAIL: Mask = Mask(2);

const BITS: Bits = Bits::B512;
/// Elements of a vector.
const LANES: usize = 16;
/// Bytes of an element.
const WORD: usize = 4;
/// Sums of one position.
const SUMS: usize = 8;

/// Registers that hold elements.
const POOL: u32 = 0x1fff_ff00;
const QUAD: Vec = Vec(29);
const ELEMENT: Vec = Vec(30);
const LIMIT: Vec = Vec(31);

/// The most vectors of elements.
const HELD: usize = 21;

/// The greatest offset in the weights: what is added to it is far below 2^31.
const REACH: u32 = 1 << 30;

/// A layer.
#[derive(Clone, Copy)]
struct Layer {
    k: usize,
    n: usize,
    w: usize,
    bias: usize,
    by_row: bool,
    /// The code of a function that is a limit.
    function: u32,
}

/// Elements in registers.
#[derive(Clone, Copy)]
struct Elements {
    at: [Vec; HELD],
    len: usize,
}

impl Elements {
    const EMPTY: Elements = Elements {
        at: [Vec(0); HELD],
        len: 0,
    };

    fn vectors(&self) -> impl Iterator<Item = Vec> + '_ {
        self.at.iter().copied().take(self.len.div_ceil(LANES))
    }
}

struct Emitter<'a, 'b> {
    asm: &'a mut Asm<'b>,
    /// Registers that hold nothing, a bit each.
    free: u32,
    /// For a panel and for the one behind it.
    near: Near,
    /// The elements that are masked.
    mask: Option<usize>,
}

/// Writes the function.
pub(crate) fn emit(asm: &mut Asm<'_>, layers: &[u8], isa: Isa, exit: Exit) {
    let mut emitter = Emitter {
        asm,
        free: POOL,
        near: Near::default(),
        mask: None,
    };
    let wide = matches!(isa, Isa::Avx512 | Isa::Avx512Vnni);
    if !wide || emitter.function(layers, exit).is_none() {
        asm.fail(EmitError::Unsupported);
    }
}

impl Layer {
    fn read(bytes: &[u8]) -> Option<Self> {
        let layer = ChainLayer::read(bytes)?;
        let size = |n: u32| (1..1 << 10).contains(&n).then_some(n as usize);
        let offset = |n: u32| (n < REACH).then_some(n as usize);
        let limit = layer.function <= Function::Relu6.code();
        let fits = layer.by_row == 0 || layer.by_row == 1 && layer.n <= 8;
        (limit && fits).then_some(Layer {
            // CAST: to wider types.
            k: size(layer.k)?,
            n: size(layer.n)?,
            w: offset(layer.w)?,
            bias: offset(layer.bias)?,
            by_row: layer.by_row == 1,
            function: layer.function,
        })
    }
}

impl Emitter<'_, '_> {
    fn function(&mut self, layers: &[u8], exit: Exit) -> Option<()> {
        self.asm.enter();
        self.asm.pointer(X, args::X);
        self.asm.pointer(Y, args::Y);
        self.asm.pointer(WEIGHTS, args::WEIGHTS);
        self.asm
            .three(&forms::VPXOR, BITS, LIMIT, LIMIT, Rm::Vec(LIMIT));
        let mut elements = Elements::EMPTY;
        for bytes in layers.chunks_exact(ChainLayer::BYTES) {
            let layer = Layer::read(bytes)?;
            if elements.len == 0 {
                elements = self.input(layer.k)?;
            }
            if elements.len != layer.k || self.asm.failed() {
                return None;
            }
            let results = match layer.by_row {
                true => self.few(&layer, &elements)?,
                false => self.packed(&layer, &elements)?,
            };
            for register in elements.vectors() {
                self.free |= 1 << (register.0 & 31);
            }
            elements = results;
        }
        let mut left = elements.len;
        for (i, from) in elements.vectors().enumerate() {
            let to = memory(Y, i.checked_mul(BITS.bytes())?)?;
            let which = match left {
                LANES.. => Which::All,
                _ => Which::Merge(self.tail(left)?),
            };
            self.asm.store(&forms::VMOVUPS_TO, BITS, which, to, from);
            left = left.saturating_sub(LANES);
        }
        self.asm.leave(exit);
        (elements.len > 0).then_some(())
    }

    fn input(&mut self, k: usize) -> Option<Elements> {
        let mut elements = Elements {
            len: k,
            ..Elements::EMPTY
        };
        for i in 0..k.div_ceil(LANES) {
            let to = self.take()?;
            *elements.at.get_mut(i)? = to;
            let from = memory(X, i.checked_mul(BITS.bytes())?)?;
            let which = match k.checked_sub(i.checked_mul(LANES)?)? {
                LANES.. => Which::All,
                left => Which::Zero(self.tail(left)?),
            };
            self.asm.masked(&forms::VMOVUPS, BITS, which, to, from);
        }
        Some(elements)
    }

    /// A register for elements.
    fn take(&mut self) -> Option<Vec> {
        let n = u8::try_from(self.free.trailing_zeros()).ok()?;
        self.free &= self.free.wrapping_sub(1);
        (n < 32).then_some(Vec(n))
    }

    /// The mask of the first elements of a vector.
    fn tail(&mut self, len: usize) -> Option<Mask> {
        if self.mask != Some(len) {
            let bits = 1u32.checked_shl(u32::try_from(len).ok()?)?.wrapping_sub(1);
            self.asm.set(NUMBER, bits);
            self.asm.mask(&forms::KMOVW, TAIL, Rm::Gpr(NUMBER));
            self.mask = Some(len);
        }
        Some(TAIL)
    }

    /// Eight sums run side by side, several of a column if there are few of these.
    fn packed(&mut self, layer: &Layer, x: &Elements) -> Option<Elements> {
        let mut results = Elements {
            len: layer.n,
            ..Elements::EMPTY
        };
        let mut first = 0usize;
        while first < layer.n {
            let left = layer.n.checked_sub(first)?;
            let rows = panel_rows(left);
            // Vectors in this panel and in the one behind it, and sums of a column.
            let (count, behind, split): (usize, usize, usize) = match rows / LANES {
                _ if left > PANEL + 48 => (4, 4, 1),
                1 => (1, 0, 8),
                2 => (2, 0, 4),
                n => (n, 0, 2),
            };
            let all = count.checked_add(behind)?;
            let start = first / LANES;
            for j in 0..all {
                let to = self.take()?;
                *results.at.get_mut(start.checked_add(j)?)? = to;
                let row = first.checked_add(j.checked_mul(LANES)?)?;
                let bias = layer.bias.checked_add(row.checked_mul(WORD)?)?;
                self.asm
                    .load(&forms::VMOVUPS, BITS, to, memory(WEIGHTS, bias)?);
            }
            let others = split.checked_sub(1)?.checked_mul(all)?;
            for other in 0..others {
                let to = vec(other)?;
                self.asm.three(&forms::VPXOR, BITS, to, to, Rm::Vec(to));
            }
            let sum = |s: usize, j: usize| match s.checked_sub(1) {
                None => results.at.get(start.checked_add(j)?).copied(),
                Some(s) => vec(s.checked_mul(all)?.checked_add(j)?),
            };
            let panel = first.checked_mul(layer.k)?;
            for i in 0..layer.k {
                self.spread(x, i)?;
                for j in 0..all {
                    let which = usize::from(j >= count);
                    let place = j.checked_sub(which.checked_mul(count)?)?;
                    let group = i
                        .checked_mul(rows)?
                        .checked_add(place.checked_mul(LANES)?)?;
                    let other = which.checked_mul(PANEL.checked_mul(layer.k)?)?;
                    let at = panel.checked_add(group)?.checked_add(other)?;
                    let weights = self.weights(layer, at, which)?;
                    let s = i.checked_rem(split)?;
                    self.asm
                        .three(&forms::VFMADD231PS, BITS, sum(s, j)?, ELEMENT, weights);
                }
            }
            let mut step = 1usize;
            while step < split {
                for s in (0..split).step_by(step.checked_mul(2)?) {
                    for j in 0..all {
                        let to = sum(s, j)?;
                        let other = Rm::Vec(sum(s.checked_add(step)?, j)?);
                        self.asm.three(&forms::VADDPS, BITS, to, to, other);
                    }
                }
                step = step.checked_mul(2)?;
            }
            for j in 0..all {
                self.limit(layer, BITS, sum(0, j)?);
            }
            first = first.checked_add(all.checked_mul(LANES)?)?;
        }
        Some(results)
    }

    /// Element `i`, repeated.
    fn spread(&mut self, x: &Elements, i: usize) -> Option<()> {
        let from = *x.at.get(i / LANES)?;
        let lane = u8::try_from(i % LANES / 4).ok()?;
        let element = u8::try_from(i % 4).ok()?;
        let all = |n: u8| n << 6 | n << 4 | n << 2 | n;
        if element == 0 {
            let quad = Rm::Vec(from);
            self.asm
                .three_n(&forms::VSHUFI32X4, BITS, QUAD, from, quad, all(lane));
        }
        let quad = Rm::Vec(QUAD);
        self.asm
            .load_n(&forms::VPSHUFD, BITS, ELEMENT, quad, all(element));
        Some(())
    }

    /// A vector runs along each row; the lanes are added at the end.
    fn few(&mut self, layer: &Layer, x: &Elements) -> Option<Elements> {
        // Rows that sums are kept for, and sums of a row.
        let rows = layer.n.next_power_of_two();
        let split = SUMS.checked_div(rows)?;
        for sum in 0..SUMS {
            let to = vec(sum)?;
            self.asm.three(&forms::VPXOR, BITS, to, to, Rm::Vec(to));
        }
        let vectors = layer.k.div_ceil(LANES);
        let even = layer.k / LANES / split * split;
        for (i, from) in x.vectors().enumerate().take(vectors) {
            let s = if i < even { i.checked_rem(split)? } else { 0 };
            for r in 0..layer.n {
                let at = r.checked_mul(layer.k)?.checked_add(i.checked_mul(LANES)?)?;
                let mut weights = self.weights(layer, at, 0)?;
                let left = layer.k.checked_sub(i.checked_mul(LANES)?)?;
                if left < LANES {
                    let which = Which::Zero(self.tail(left)?);
                    self.asm
                        .masked(&forms::VMOVUPS, BITS, which, ELEMENT, weights);
                    weights = Rm::Vec(ELEMENT);
                }
                let sum = vec(s.checked_mul(rows)?.checked_add(r)?)?;
                self.asm
                    .three(&forms::VFMADD231PS, BITS, sum, from, weights);
            }
        }
        let mut half = SUMS / 2;
        while half >= rows {
            for sum in 0..half {
                let (to, other) = (vec(sum)?, Rm::Vec(vec(sum.checked_add(half)?)?));
                self.asm.three(&forms::VADDPS, BITS, to, to, other);
            }
            half /= 2;
        }
        let to = self.take()?;
        self.transpose(to);
        let bias = memory(WEIGHTS, layer.bias)?;
        self.asm.three(&forms::VADDPS, Bits::B256, to, to, bias);
        self.limit(layer, Bits::B256, to);
        let which = Which::Zero(self.tail(layer.n)?);
        self.asm
            .masked(&forms::VMOVUPS, BITS, which, to, Rm::Vec(to));
        let mut results = Elements {
            len: layer.n,
            ..Elements::EMPTY
        };
        results.at[0] = to;
        Some(results)
    }

    /// The sums of the lanes of the first eight registers, in the lanes of one.
    fn transpose(&mut self, to: Vec) {
        let asm = &mut *self.asm;
        for (a, b) in [(0, 1), (2, 3), (4, 5), (6, 7)] {
            let (a, b) = (Vec(a), Vec(b));
            asm.three(&forms::VPUNPCKLDQ, BITS, QUAD, a, Rm::Vec(b));
            asm.three(&forms::VPUNPCKHDQ, BITS, a, a, Rm::Vec(b));
            asm.three(&forms::VADDPS, BITS, a, QUAD, Rm::Vec(a));
        }
        for (a, b) in [(0, 2), (4, 6)] {
            let (a, b) = (Vec(a), Vec(b));
            asm.three(&forms::VPUNPCKLQDQ, BITS, QUAD, a, Rm::Vec(b));
            asm.three(&forms::VPUNPCKHQDQ, BITS, a, a, Rm::Vec(b));
            asm.three(&forms::VADDPS, BITS, a, QUAD, Rm::Vec(a));
        }
        let (a, b) = (Vec(0), Vec(4));
        asm.three_n(&forms::VSHUFI32X4, BITS, QUAD, a, Rm::Vec(b), 0b10_00_10_00);
        asm.three_n(&forms::VSHUFI32X4, BITS, a, a, Rm::Vec(b), 0b11_01_11_01);
        asm.three(&forms::VADDPS, BITS, a, QUAD, Rm::Vec(a));
        asm.extract(&forms::VEXTRACTI64X4, BITS, Rm::Vec(b), a, 1);
        let half = Bits::B256;
        asm.three_n(&forms::VSHUFI32X4, half, QUAD, a, Rm::Vec(b), 0);
        asm.three_n(&forms::VSHUFI32X4, half, a, a, Rm::Vec(b), 3);
        asm.three(&forms::VADDPS, half, to, QUAD, Rm::Vec(a));
    }

    /// Limits sums. What is no number is the second operand, and stays.
    fn limit(&mut self, layer: &Layer, bits: Bits, sum: Vec) {
        let asm = &mut *self.asm;
        if layer.function == Function::None.code() {
            return;
        }
        asm.three(&forms::VMAXPS, bits, sum, LIMIT, Rm::Vec(sum));
        if layer.function == Function::Relu6.code() {
            asm.set(NUMBER, 6.0f32.to_bits());
            asm.load(&forms::VPBROADCASTD_FROM, bits, QUAD, Rm::Gpr(NUMBER));
            asm.three(&forms::VMINPS, bits, sum, QUAD, Rm::Vec(sum));
        }
    }

    /// Weights from element `at` on, by an address that is near.
    fn weights(&mut self, layer: &Layer, at: usize, which: usize) -> Option<Rm> {
        let at = layer.w.checked_add(at.checked_mul(WORD)?)?;
        let at = i32::try_from(at).ok()?;
        let unit = 64;
        if layer.by_row && layer.k % LANES != 0 {
            let (base, disp) = (WEIGHTS, at);
            return Some(Rm::Mem(Mem { base, disp }));
        }
        self.near.reach(self.asm, at, unit, which)
    }
}

/// A vector register.
fn vec(n: usize) -> Option<Vec> {
    Some(Vec(u8::try_from(n).ok()?))
}

fn memory(base: Gpr, at: usize) -> Option<Rm> {
    let disp = i32::try_from(at).ok()?;
    Some(Rm::Mem(Mem { base, disp }))
}
