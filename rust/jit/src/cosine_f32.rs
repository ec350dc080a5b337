// SPDX-License-Identifier: GPL-2.0

//! Cosine similarities of a key with rows, of single precision.
//!
//! The key stays in registers, so rows must be short, and there must be 32 registers. The order of additions is that of
//! `neural_cosine_f32_avx512`, so that results are the same bit by bit.

use crate::asm::forms;
use crate::asm::{Asm, Bits, Gpr, Mask, Mem, Rm, Vec, Which};
use crate::{EmitError, Exit, Isa};

/// Where the pointers of the arguments are.
mod args {
    pub(super) const KEY: i32 = 0;
    pub(super) const X: i32 = 8;
    pub(super) const Y: i32 = 16;
}

const KEY: Gpr = Gpr::Rsi;
const X: Gpr = Gpr::R8;
const Y: Gpr = Gpr::Rdx;
const BLOCKS: Gpr = Gpr::Rcx;
const NUMBER: Gpr = Gpr::Rax;
const TAIL: Mask = Mask(2);

const BITS: Bits = Bits::B512;
const HALF: Bits = Bits::B256;
/// Elements of a vector.
const LANES: usize = 16;
/// Bytes of an element.
const WORD: usize = 4;

/// Rows that are summed up side by side.
const ROWS: usize = 8;
/// The first of the registers with squares of rows; those with products are before them.
const SQUARES: u8 = 8;
/// The first of the registers with the key.
const PARTS: u8 = 16;
/// The most vectors of a key.
const MOST: usize = 10;
/// The magnitude of the key.
const NORM: Vec = Vec(26);
/// What magnitudes are at least.
const EPS: Vec = Vec(27);
const ROW: Vec = Vec(28);
const FREE: Vec = Vec(29);

/// Writes the function: `rows` of `n` elements, `eps` as its bits.
pub(crate) fn emit(asm: &mut Asm<'_>, (rows, n, eps): (u32, u32, u32), isa: Isa, exit: Exit) {
    let wide = matches!(isa, Isa::Avx512 | Isa::Avx512Vnni);
    // CAST: to wider types.
    let (rows, n) = (rows as usize, n as usize);
    let inside = (1..1 << 20).contains(&rows) && (1..=MOST * LANES).contains(&n);
    if !wide || !inside || function(asm, rows, n, eps, exit).is_none() {
        asm.fail(EmitError::Unsupported);
    }
}

fn function(asm: &mut Asm<'_>, rows: usize, n: usize, eps: u32, exit: Exit) -> Option<()> {
    asm.enter();
    asm.pointer(KEY, args::KEY);
    asm.pointer(X, args::X);
    asm.pointer(Y, args::Y);
    let tail = n % LANES;
    if tail > 0 {
        let bits = 1u32.checked_shl(u32::try_from(tail).ok()?)?.wrapping_sub(1);
        asm.set(NUMBER, bits);
        asm.mask(&forms::KMOVW, TAIL, Rm::Gpr(NUMBER));
    }
    asm.set(NUMBER, eps);
    asm.load(&forms::VPBROADCASTD_FROM, HALF, EPS, Rm::Gpr(NUMBER));
    asm.three(&forms::VPXOR, BITS, NORM, NORM, Rm::Vec(NORM));
    for i in 0..n.div_ceil(LANES) {
        let part = part(i)?;
        let from = memory(KEY, i.checked_mul(LANES * WORD)?)?;
        asm.masked(&forms::VMOVUPS, BITS, which(i, n), part, from);
        asm.three(&forms::VFMADD231PS, BITS, NORM, part, Rm::Vec(part));
    }
    asm.extract(&forms::VEXTRACTI64X4, BITS, Rm::Vec(FREE), NORM, 1);
    asm.three(&forms::VADDPS, HALF, NORM, NORM, Rm::Vec(FREE));
    asm.extract(&forms::VEXTRACTI32X4, HALF, Rm::Vec(FREE), NORM, 1);
    asm.three(&forms::VADDPS, Bits::B128, NORM, NORM, Rm::Vec(FREE));
    for order in [0xee, 0x55] {
        asm.load_n(&forms::VPSHUFD, Bits::B128, FREE, Rm::Vec(NORM), order);
        asm.three(&forms::VADDPS, Bits::B128, NORM, NORM, Rm::Vec(FREE));
    }
    asm.load(&forms::VBROADCASTSS, HALF, NORM, Rm::Vec(NORM));
    asm.load(&forms::VSQRTPS, HALF, NORM, Rm::Vec(NORM));

    let (blocks, rest) = (rows / ROWS, rows % ROWS);
    for (blocks, rows) in [(blocks, ROWS), (1, rest)] {
        if blocks == 0 || rows == 0 {
            continue;
        }
        if blocks > 1 {
            asm.set(BLOCKS, u32::try_from(blocks).ok()?);
        }
        let label = asm.label();
        block(asm, rows, n)?;
        if blocks > 1 || rest > 0 {
            let bytes = ROWS.checked_mul(n)?.checked_mul(WORD)?;
            asm.add(X, i32::try_from(bytes).ok()?);
            asm.add(Y, i32::try_from(ROWS * WORD).ok()?);
        }
        if blocks > 1 {
            asm.again(BLOCKS, label);
        }
    }
    asm.leave(exit);
    Some(())
}

/// Up to eight rows.
fn block(asm: &mut Asm<'_>, rows: usize, n: usize) -> Option<()> {
    for sum in 0..2 * SQUARES {
        let to = Vec(sum);
        asm.three(&forms::VPXOR, BITS, to, to, Rm::Vec(to));
    }
    for i in 0..n.div_ceil(LANES) {
        for r in 0..rows {
            let at = r.checked_mul(n)?.checked_add(i.checked_mul(LANES)?)?;
            let from = memory(X, at.checked_mul(WORD)?)?;
            asm.masked(&forms::VMOVUPS, BITS, which(i, n), ROW, from);
            let product = Vec(u8::try_from(r).ok()?);
            let square = Vec(product.0.checked_add(SQUARES)?);
            asm.three(&forms::VFMADD231PS, BITS, product, part(i)?, Rm::Vec(ROW));
            asm.three(&forms::VFMADD231PS, BITS, square, ROW, Rm::Vec(ROW));
        }
    }
    // The sums of the lanes of sixteen registers, by neighbours.
    let (low, high) = (0b10_00_10_00, 0b11_01_11_01);
    for first in [0, 4, 8, 12] {
        for (a, b) in [(first, first | 1), (first | 2, first | 3)] {
            let (a, b) = (Vec(a), Vec(b));
            asm.three(&forms::VPUNPCKLDQ, BITS, FREE, a, Rm::Vec(b));
            asm.three(&forms::VPUNPCKHDQ, BITS, a, a, Rm::Vec(b));
            asm.three(&forms::VADDPS, BITS, a, FREE, Rm::Vec(a));
        }
        let (a, b) = (Vec(first), Vec(first | 2));
        asm.three(&forms::VPUNPCKLQDQ, BITS, FREE, a, Rm::Vec(b));
        asm.three(&forms::VPUNPCKHQDQ, BITS, a, a, Rm::Vec(b));
        asm.three(&forms::VADDPS, BITS, a, FREE, Rm::Vec(a));
    }
    for (a, b) in [(0, 4), (8, 12), (0, 8)] {
        let (a, b) = (Vec(a), Vec(b));
        asm.three_n(&forms::VSHUFI32X4, BITS, FREE, a, Rm::Vec(b), low);
        asm.three_n(&forms::VSHUFI32X4, BITS, a, a, Rm::Vec(b), high);
        asm.three(&forms::VADDPS, BITS, a, FREE, Rm::Vec(a));
    }
    let (products, squares) = (Vec(0), Vec(8));
    asm.extract(&forms::VEXTRACTI64X4, BITS, Rm::Vec(squares), products, 1);
    asm.load(&forms::VSQRTPS, HALF, squares, Rm::Vec(squares));
    asm.three(&forms::VMULPS, HALF, squares, squares, Rm::Vec(NORM));
    // What is no number is the second operand, and stays.
    asm.three(&forms::VMAXPS, HALF, squares, EPS, Rm::Vec(squares));
    asm.three(&forms::VDIVPS, HALF, products, products, Rm::Vec(squares));
    store(asm, products, rows, squares)
}

/// Stores the first elements, through a register that is free.
fn store(asm: &mut Asm<'_>, from: Vec, count: usize, free: Vec) -> Option<()> {
    let part = Bits::B128;
    if count == ROWS {
        let to = memory(Y, 0)?;
        asm.store(&forms::VMOVUPS_TO, HALF, Which::All, to, from);
        return Some(());
    }
    let (mut from, mut at) = (from, 0);
    if count & 4 != 0 {
        let to = memory(Y, 0)?;
        asm.store(&forms::VMOVUPS_TO, part, Which::All, to, from);
        asm.extract(&forms::VEXTRACTI128, HALF, Rm::Vec(free), from, 1);
        (from, at) = (free, 4 * WORD);
    }
    if count & 2 != 0 {
        let to = memory(Y, at)?;
        asm.store(&forms::VMOVQ_TO, part, Which::All, to, from);
        asm.load_n(&forms::VPSHUFD, part, free, Rm::Vec(from), 0xee);
        (from, at) = (free, at.checked_add(2 * WORD)?);
    }
    if count & 1 != 0 {
        let to = memory(Y, at)?;
        asm.store(&forms::VMOVSS_TO, part, Which::All, to, from);
    }
    Some(())
}

/// A part of the key.
fn part(i: usize) -> Option<Vec> {
    Some(Vec(PARTS.checked_add(u8::try_from(i).ok()?)?))
}

/// What vector `i` of `n` elements has of them.
fn which(i: usize, n: usize) -> Which {
    if n / LANES > i {
        Which::All
    } else {
        Which::Zero(TAIL)
    }
}

fn memory(base: Gpr, at: usize) -> Option<Rm> {
    let disp = i32::try_from(at).ok()?;
    Some(Rm::Mem(Mem { base, disp }))
}
