// SPDX-License-Identifier: GPL-2.0

//! Matrix products and depthwise convolutions in general registers.
//!
//! A position needs a multiplication per weight, of which a CPU starts one per cycle. Codes are small
//! and registers are 64 bits wide, so two positions share one: with `x = x0 + 2^32 x1`, the sum of all
//! `x w` modulo 2^64 is `s0 + 2^32 s1`, and since `s0` fits into 32 signed bits, both are found again.

use super::requant::{code, multiply, Multiplier};
use super::{Depthwise, Gemm, Gemm16, Requant, GROUP, PANEL};
use crate::fixed::load;

/// Rows whose sums grow at the same time: as many as leave registers for four inputs.
const ROWS: usize = 8;

/// Bytes of a group of [`ROWS`] rows.
const BLOCK_BYTES: usize = ROWS * GROUP;

/// Bytes of an element of `i32` lists.
const WORD: usize = 4;

/// Element `index` of a list of `i32`; 0 behind its end.
#[inline]
fn word(list: &[u8], index: usize) -> i32 {
    let at = index.wrapping_mul(WORD);
    match list.get(at..) {
        Some(tail) => tail.first_chunk().map_or(0, |w| i32::from_le_bytes(*w)),
        None => 0,
    }
}

/// An offset as it stands in a list.
#[inline]
fn offset(chunk: &[u8]) -> usize {
    // CAST: offsets are `u32`, read as they are.
    load(chunk) as u32 as usize
}

/// What lies at `at`; nothing behind the end.
#[inline]
fn from(x: &[u8], at: usize) -> &[u8] {
    x.get(at..).unwrap_or_default()
}

/// Up to `GROUP` bytes at the beginning of `x`, zeros behind its end.
#[inline]
fn group(x: &[u8]) -> [u8; GROUP] {
    match x.first_chunk() {
        Some(whole) => *whole,
        None => {
            let mut part = [0; GROUP];
            for (to, &from) in part.iter_mut().zip(x) {
                *to = from;
            }
            part
        }
    }
}

impl Requant<'_> {
    /// The multiplier at `index`.
    #[inline]
    fn multiplier(&self, index: usize) -> Multiplier {
        Multiplier {
            mult: word(self.mult, index),
            shift: word(self.shift, index),
        }
    }

    /// The biased code of a sum.
    #[inline]
    fn code(&self, sum: i32, index: usize) -> u8 {
        code(sum, self.multiplier(index), self.zero, self.min, self.max)
    }
}

/// The part of a panel that belongs to [`ROWS`] of its rows.
#[derive(Copy, Clone)]
struct Block<'a> {
    /// The panel, from the first byte of the block's first group.
    w: &'a [u8],
    /// Bytes from a group of the panel to the next one.
    step: usize,
    /// Bytes of a segment of the panel.
    segment: usize,
}

/// The sums of a block for the patches at `first` and at `second`, which is looked at if `PAIR` only.
#[inline]
fn sums<const PAIR: bool>(
    block: Block<'_>,
    first: &[u8],
    second: &[u8],
    k: usize,
    offsets: &[u8],
) -> [[i32; ROWS]; 2] {
    let mut wide = [0u64; ROWS];
    let mut w = block.w;
    for chunk in offsets.chunks_exact(WORD) {
        let at = offset(chunk);
        let x0 = from(first, at);
        let x0 = x0.get(..k).unwrap_or(x0);
        let mut x1 = if PAIR { from(second, at) } else { &[] };
        let mut groups = w;
        for x in x0.chunks(GROUP) {
            let mut x = group(x).map(u64::from);
            if PAIR {
                // What this reads behind the end of a segment meets weights of 0.
                for (x, high) in x.iter_mut().zip(group(x1)) {
                    *x |= u64::from(high) << 32;
                }
                x1 = from(x1, GROUP);
            }
            let Some(rows) = groups.get(..BLOCK_BYTES) else {
                break;
            };
            for (sum, row) in wide.iter_mut().zip(rows.chunks_exact(GROUP)) {
                for (&x, &w) in x.iter().zip(row) {
                    // CAST: weights are signed bytes; two's complement modulo 2^64.
                    let w = i64::from(w as i8) as u64;
                    *sum = sum.wrapping_add(x.wrapping_mul(w));
                }
            }
            groups = from(groups, block.step);
        }
        w = from(w, block.segment);
    }
    // CAST: the lower half is the first sum; without it, the upper half is the second one.
    let low = wide.map(|sum| sum as i32);
    let mut high = [0; ROWS];
    for ((high, wide), low) in high.iter_mut().zip(wide).zip(low) {
        *high = (wide.wrapping_sub(i64::from(low) as u64) >> 32) as i32;
    }
    [low, high]
}

/// Calls `give(row, block)` for each block of the rows of packed weights.
#[inline]
fn each_block<'a>(
    w: &'a [u8],
    n: usize,
    segs: usize,
    k: usize,
    mut give: impl FnMut(usize, Block<'a>),
) {
    let groups = k.div_ceil(GROUP);
    let mut panel = w;
    for top in (0..n).step_by(PANEL) {
        let rows = super::panel_rows(n.wrapping_sub(top));
        let step = rows.wrapping_mul(GROUP);
        let segment = groups.wrapping_mul(step);
        for row in (0..rows).step_by(ROWS) {
            let w = from(panel, row.wrapping_mul(GROUP));
            give(top.wrapping_add(row), Block { w, step, segment });
        }
        panel = from(panel, segs.wrapping_mul(segment));
    }
}

/// Writes the codes of the sums of rows `row..` to the position `y`, as far as it has them.
#[inline]
fn write(
    y: &mut [u8],
    n: usize,
    row: usize,
    sums: [i32; ROWS],
    bias: &[u8],
    requant: &Requant<'_>,
) {
    let Some(y) = y.get_mut(row..n) else {
        return;
    };
    for (i, (y, sum)) in y.iter_mut().zip(sums).enumerate() {
        let index = row.wrapping_add(i);
        *y = requant.code(sum.wrapping_add(word(bias, index)), index);
    }
}

/// See [`Gemm`].
pub fn gemm(args: Gemm<'_>) {
    let Gemm {
        x,
        x_row,
        x_outer,
        y,
        y_row,
        y_outer,
        m,
        outer,
        n,
        k,
        offsets,
        w,
        bias,
        ref requant,
    } = args;
    let segs = offsets.len() / WORD;
    for a in 0..outer {
        let x = from(x, a.wrapping_mul(x_outer));
        let Some(y) = y.get_mut(a.wrapping_mul(y_outer)..) else {
            return;
        };
        for b in (0..m).step_by(2) {
            let next = b.wrapping_add(1);
            let first = from(x, b.wrapping_mul(x_row));
            let second = from(x, next.wrapping_mul(x_row));
            each_block(w, n, segs, k, |row, block| {
                let [s0, s1] = if next < m {
                    sums::<true>(block, first, second, k, offsets)
                } else {
                    sums::<false>(block, first, second, k, offsets)
                };
                if let Some(y) = y.get_mut(b.wrapping_mul(y_row)..) {
                    write(y, n, row, s0, bias, requant);
                }
                if next < m {
                    if let Some(y) = y.get_mut(next.wrapping_mul(y_row)..) {
                        write(y, n, row, s1, bias, requant);
                    }
                }
            });
        }
    }
}

/// See [`Gemm16`].
pub fn gemm16(args: Gemm16<'_>) {
    let Gemm16 {
        x,
        y,
        n,
        k,
        w,
        bias,
        mult,
        shift,
    } = args;
    each_block(w, n, 1, k, |row, block| {
        let [sums, _] = sums::<false>(block, x, &[], k, &[0; WORD]);
        let rows = n.saturating_sub(row);
        let y = y.get_mut(row.wrapping_mul(2)..).unwrap_or_default();
        for (i, (y, sum)) in y.chunks_exact_mut(2).zip(sums).take(rows).enumerate() {
            let index = row.wrapping_add(i);
            let multiplier = Multiplier {
                mult: word(mult, index),
                shift: word(shift, index),
            };
            let value = multiply(sum.wrapping_add(word(bias, index)), multiplier);
            y.copy_from_slice(&super::requant::saturate16(value).to_le_bytes());
        }
    });
}

/// Channels of a depthwise convolution whose sums grow at the same time, and lanes between them and
/// the next ones.
const QUAD: usize = 4;

/// The sums of the channels `c..c + 4` of the position `x`; `w` starts at their first weight.
#[inline]
fn window(x: &[u8], c: usize, offsets: &[u8], w: &[u8]) -> [i32; QUAD] {
    let mut sums = [0i32; QUAD];
    let mut groups = w;
    for taps in offsets.chunks(GROUP * WORD) {
        let Some(rows) = groups.get(..QUAD * GROUP) else {
            break;
        };
        for (t, tap) in taps.chunks_exact(WORD).enumerate() {
            let x = group(from(x, offset(tap).wrapping_add(c)));
            for ((sum, row), x) in sums.iter_mut().zip(rows.chunks_exact(GROUP)).zip(x) {
                // CAST: weights are signed bytes.
                let w = row.get(t).map_or(0, |&w| i32::from(w as i8));
                *sum = sum.wrapping_add(i32::from(x).wrapping_mul(w));
            }
        }
        groups = from(groups, PANEL * GROUP);
    }
    sums
}

/// See [`Depthwise`].
pub fn depthwise(args: Depthwise<'_>) {
    let Depthwise {
        x,
        x_row,
        x_outer,
        y,
        y_row,
        y_outer,
        m,
        outer,
        channels,
        offsets,
        w,
        bias,
        ref requant,
    } = args;
    let groups = (offsets.len() / WORD).div_ceil(GROUP);
    let chunk_bytes = groups.wrapping_mul(PANEL * GROUP);
    for a in 0..outer {
        let x = from(x, a.wrapping_mul(x_outer));
        let Some(y) = y.get_mut(a.wrapping_mul(y_outer)..) else {
            return;
        };
        for b in 0..m {
            let x = from(x, b.wrapping_mul(x_row));
            let y = y.get_mut(b.wrapping_mul(y_row)..).unwrap_or_default();
            let y = match y.get_mut(..channels) {
                Some(y) => y,
                None => return,
            };
            for (quad, y) in y.chunks_mut(QUAD).enumerate() {
                let c = quad.wrapping_mul(QUAD);
                let lane = super::depthwise_lane(c);
                let chunk = c / PANEL;
                let at = chunk.wrapping_mul(chunk_bytes);
                let w = from(w, at.wrapping_add(lane.wrapping_mul(GROUP)));
                let top = chunk.wrapping_mul(PANEL).wrapping_add(lane);
                let sums = window(x, c, offsets, w);
                for (i, (y, sum)) in y.iter_mut().zip(sums).enumerate() {
                    let index = top.wrapping_add(i);
                    *y = requant.code(sum.wrapping_add(word(bias, index)), index);
                }
            }
        }
    }
}
