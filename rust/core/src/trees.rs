// SPDX-License-Identifier: GPL-2.0

//! Decision trees: comparisons of elements with thresholds, and sums of leaves.
//!
//! All of it is integer arithmetic, floating-point elements included, so that a forest gives the same
//! answer in any context: numbers are compared as integers of the same order, and a sum becomes a
//! number by shifts and one division.
//!
//! A node is four words, little endian: the element to look at, its threshold, and where to go if the
//! element is at most the threshold, and if not. A place to go to is a node if it is not negative, else a
//! leaf: -1 is the first one. Nodes are packed from those of a model file by [`pack_node`].

use crate::fixed::{load, saturate};
use crate::int8::BIAS;
use crate::nnm::DType;

/// Bytes of a node.
pub const NODE_BYTES: usize = 16;

/// Bytes of a sum of leaves, an `i64`.
pub const SUM_BYTES: usize = 8;

/// Some trees of a forest, and one sample.
#[derive(Debug)]
pub struct Forest<'a> {
    /// The type of the elements; 8-bit codes are biased.
    pub dtype: DType,
    /// The sample.
    pub x: &'a [u8],
    /// Nodes of all trees, packed.
    pub nodes: &'a [u8],
    /// Where the trees start, an `i32` each: as a place to go to.
    pub roots: &'a [u8],
    /// Leaves, `n` words each, `i32`.
    pub leaves: &'a [u8],
    /// Results of a leaf.
    pub n: usize,
    /// The most nodes on a path: none is followed further.
    pub height: u32,
    /// To these sums, `n` of them, the leaves that are reached are added.
    pub sums: &'a mut [u8],
}

/// The bits of an `f32` as an integer that has the order of numbers; NaN of either sign is the greatest.
pub const fn ordered(bits: i32) -> i32 {
    const INFINITY: i32 = 0x7f80_0000;
    if bits & i32::MAX > INFINITY {
        i32::MAX
    } else if bits < 0 {
        bits ^ i32::MAX
    } else {
        bits
    }
}

/// A threshold such that `element <= threshold` holds for the elements as they are compared here.
fn threshold(dtype: DType, value: i32) -> i32 {
    match dtype {
        // Zero of either sign is at most the positive one.
        DType::F32 if value == i32::MIN => 0,
        DType::F32 => ordered(value),
        DType::I8 => value.saturating_add(BIAS),
        _ => value,
    }
}

/// A node of a model file, as it is compared.
pub fn pack_node(dtype: DType, node: [i32; 4]) -> [i32; 4] {
    let [feature, value, left, right] = node;
    [feature & 0xffff, threshold(dtype, value), left, right]
}

/// Adds the leaves that a sample reaches.
pub fn sums(forest: Forest<'_>) {
    let Forest {
        x, sums, n, height, ..
    } = forest;
    let bytes = n.saturating_mul(4);
    for root in forest.roots.chunks_exact(4) {
        let root = load(root);
        let leaf = match forest.dtype {
            DType::I8 => path(root, forest.nodes, height, |i| {
                x.get(i).map_or(0, |&code| i32::from(code))
            }),
            DType::I16 => path(root, forest.nodes, height, |i| {
                let bytes = x.get(i.wrapping_mul(2)..).and_then(|x| x.first_chunk());
                bytes.map_or(0, |&bytes| i32::from(i16::from_le_bytes(bytes)))
            }),
            DType::F32 => path(root, forest.nodes, height, |i| ordered(word(x, i))),
            DType::Q16 | DType::I32 => path(root, forest.nodes, height, |i| word(x, i)),
        };
        let from = leaf
            .checked_mul(bytes)
            .and_then(|at| forest.leaves.get(at..));
        let leaf = from.unwrap_or_default().chunks_exact(4).map(load);
        for (sum, leaf) in sums.chunks_exact_mut(SUM_BYTES).zip(leaf).take(n) {
            let old = sum.first_chunk().map_or(0, |&sum| i64::from_le_bytes(sum));
            // No overflow: at most 2^16 trees.
            sum.copy_from_slice(&old.wrapping_add(i64::from(leaf)).to_le_bytes());
        }
    }
}

#[inline(always)]
fn word(x: &[u8], i: usize) -> i32 {
    let bytes = x.get(i.wrapping_mul(4)..).and_then(|x| x.first_chunk());
    bytes.map_or(0, |&bytes| i32::from_le_bytes(bytes))
}

/// The leaf at the end of a path.
#[inline(always)]
fn path(root: i32, nodes: &[u8], height: u32, element: impl Fn(usize) -> i32) -> usize {
    let mut at = root;
    for _ in 0..height {
        if at < 0 {
            break;
        }
        // CAST: not negative.
        let from = nodes.get((at as usize).wrapping_mul(NODE_BYTES)..);
        let Some(node) = from.and_then(|nodes| nodes.first_chunk::<NODE_BYTES>()) else {
            break;
        };
        let [i, threshold, left, right] = [0, 1, 2, 3].map(|i| word(node, i));
        // CAST: an index, below 2^16.
        at = match element(i as usize) <= threshold {
            true => left,
            false => right,
        };
    }
    // CAST: not negative; no path ends at a node.
    !at as u32 as usize
}

/// `sum / divisor`, rounded to nearest, halves upwards; saturates.
pub fn quotient(sum: i64, divisor: u32) -> i32 {
    let divisor = i64::from(divisor.max(1));
    // No overflow: sums have 48 bits, divisors 17.
    let twice = sum.wrapping_mul(2).wrapping_add(divisor);
    let by = divisor.wrapping_mul(2);
    saturate(twice.checked_div_euclid(by).unwrap_or(0))
}

/// The bits of the `f32` that is next to `sum / divisor / 2^shift`; halves go to the even one.
///
/// With sums of 48 bits, divisors up to 2^16 and shifts within [`SHIFTS`] it is 0 or a normal number.
pub fn number(sum: i64, divisor: u32, shift: i32) -> u32 {
    const BITS: u32 = 23;
    let magnitude = sum.unsigned_abs();
    if magnitude == 0 {
        return 0;
    }
    // As many bits of the quotient as fit. What is cut off makes no difference: with 16 bits of shift at
    // least, and a divisor of no more, a quotient above a half way is above it in these bits, too.
    let up = magnitude.leading_zeros();
    let full = magnitude.wrapping_shl(up);
    let quotient = full.checked_div(u64::from(divisor)).unwrap_or(full);
    let top = 63u32.wrapping_sub(quotient.leading_zeros());
    let drop = top.wrapping_sub(BITS);
    let kept = quotient.wrapping_shr(drop);
    let lost = quotient.wrapping_sub(kept.wrapping_shl(drop));
    let half = 1u64.wrapping_shl(drop.wrapping_sub(1));
    let round = lost > half || (lost == half && kept & 1 == 1);
    // CAST: small numbers.
    let exponent = (top as i32)
        .wrapping_sub(up as i32)
        .wrapping_sub(shift)
        .wrapping_add(127);
    // The bit above the fraction adds one to the exponent, as rounding may do once more. CAST: 25 bits.
    let fraction = (kept as u32).wrapping_add(u32::from(round));
    let bits = (exponent.wrapping_sub(1) as u32)
        .wrapping_shl(BITS)
        .wrapping_add(fraction);
    match sum < 0 {
        true => bits | 1 << 31,
        false => bits,
    }
}

/// Shifts that a model file may have.
pub const SHIFTS: (i32, i32) = (-31, 95);

/// The nearest integer to an `f32`, halves upwards, as an index into `count` things: the first one for
/// what is below, and for NaN, the last one for what is above.
pub fn index_of_number(bits: i32, count: usize) -> usize {
    let last = count.saturating_sub(1);
    let bits = ordered(bits);
    // CAST: the bits of a number that is not negative.
    let exponent = (bits as u32) >> 23;
    if bits < 0 || exponent < 126 || bits == i32::MAX {
        return 0;
    }
    // Below 150 there are halves; from there on numbers are larger than any count.
    let down = 150u32.saturating_sub(exponent);
    if down == 0 {
        return last;
    }
    let mantissa = (bits as u32 & 0x007f_ffff) | 0x0080_0000;
    let half = 1u32.wrapping_shl(down.wrapping_sub(1));
    let rounded = mantissa.wrapping_add(half).wrapping_shr(down);
    usize::try_from(rounded).map_or(last, |index| index.min(last))
}

/// The nearest integer to a Q16.16 number, halves upwards, as an index into `count` things.
pub fn index_of_q16(x: i32, count: usize) -> usize {
    let rounded = i64::from(x).wrapping_add(1 << 15) >> 16;
    let last = count.saturating_sub(1);
    usize::try_from(rounded).map_or(0, |index| index.min(last))
}
