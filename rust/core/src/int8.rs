// SPDX-License-Identifier: GPL-2.0

//! Quantised layers of 8-bit integers, and what their arithmetic gives, bit by bit.
//!
//! A tensor of real numbers `r` is held as 8-bit codes `q` with `r = scale (q - zero point)`. Between
//! the layers of a plan codes are *biased*: a byte holds `q + 128`, 0..=255, because the multipliers of
//! vector units take one unsigned operand. Zero points and limits of the arguments here are biased as
//! well; weights are signed and symmetric, -128..=127.
//!
//! The functions of this module are the specification: every other implementation gives the same bytes.
//! Sums are 32 bits wide; the check of a model file has shown that none overflows, whatever the input.
//!
//! Slices may be longer than what is used; what lies behind is not looked at, but vector code may read
//! (never write) up to [`SLACK`] bytes behind the used part of `x`, which the plan provides.

mod exp;
mod lstm;
pub mod lut;
mod matrix;
pub mod pack;
mod pool;
mod requant;
mod softmax;
mod sum;

use crate::fixed;

pub use self::lstm::{lstm_cell, lstm_step, sigmoid16, tanh16, SIGMOID};
pub use self::matrix::{depthwise, gemm, gemm16};
pub use self::pool::{average_pool, max_pool};
pub use self::requant::{multiply, rounding_shift, Multiplier};
pub use self::softmax::softmax;
pub use self::sum::{add, mean, mul};

/// What is added to a code to make it unsigned.
pub const BIAS: i32 = 128;

/// Bytes behind a tensor that may be read.
pub const SLACK: usize = 64;

/// Rows of a whole panel of packed weights.
pub const PANEL: usize = 64;

/// Rows that are packed together at least: the number of rows is rounded up to a multiple of this.
pub const LANES: usize = 16;

/// Neighbouring inputs of a row that lie beside each other in packed weights.
pub const GROUP: usize = 4;

/// Rows of the panel of packed weights that starts when `rows` are left.
pub const fn panel_rows(rows: usize) -> usize {
    if rows < PANEL {
        rows.next_multiple_of(LANES)
    } else {
        PANEL
    }
}

/// From codes to biased codes and back: in each of `rows` rows `y[i] = x[i] + 128`, modulo 256.
#[derive(Debug)]
pub struct Flip<'a> {
    /// Codes or biased codes.
    pub x: &'a [u8],
    /// Bytes from a row to the next one.
    pub x_row: usize,
    /// Overwritten.
    pub y: &'a mut [u8],
    /// Bytes from a row to the next one.
    pub y_row: usize,
    /// Rows.
    pub rows: usize,
    /// Codes of a row.
    pub n: usize,
}

/// See [`Flip`].
pub fn flip(args: Flip<'_>) {
    let xs = args.x.chunks(args.x_row.max(1));
    let ys = args.y.chunks_mut(args.y_row.max(1));
    for (x, y) in xs.zip(ys).take(args.rows) {
        if let (Some(x), Some(y)) = (x.get(..args.n), y.get_mut(..args.n)) {
            flip_row(x, y);
        }
    }
}

#[inline]
fn flip_row(x: &[u8], y: &mut [u8]) {
    /// Codes that are taken at a time.
    const WORD: usize = 8;
    for (x, y) in x.chunks(WORD).zip(y.chunks_mut(WORD)) {
        match (x.first_chunk::<WORD>(), y.first_chunk_mut::<WORD>()) {
            (Some(x), Some(y)) => {
                *y = (u64::from_ne_bytes(*x) ^ u64::from_ne_bytes([0x80; WORD])).to_ne_bytes();
            }
            _ => {
                for (y, x) in y.iter_mut().zip(x) {
                    *y = x ^ 0x80;
                }
            }
        }
    }
}

/// How a sum becomes a code again: `multiply(sum)`, plus `zero`, limited to `min..=max`.
///
/// One multiplier and one shift per row, `i32` little endian, as many as rows rounded up to [`LANES`]
/// (to [`PANEL`] for [`Depthwise`], in its order of channels).
#[derive(Copy, Clone, Debug)]
pub struct Requant<'a> {
    /// Multipliers, Q0.31: 0 or 2^30..2^31.
    pub mult: &'a [u8],
    /// Shifts to the right, -31..=31 (negative: to the left, before the multiplication).
    pub shift: &'a [u8],
    /// Zero point of the output, biased: 0..=255.
    pub zero: i32,
    /// Least code, biased: 0..=255.
    pub min: i32,
    /// Greatest code, biased: `min`..=255.
    pub max: i32,
}

/// Matrix product, dense layer, convolution: each output position is a row of `y`, `n` codes, the
/// products of the packed weights with a patch of `x`.
///
/// Position `(a, b)`, `a < outer`, `b < m`, reads the patch that starts at `x[a * x_outer + b * x_row]`
/// and writes `y[a * y_outer + b * y_row..][..n]`. A patch has a segment of `k` bytes at each of the
/// `offsets`; a dense layer has one segment at 0, a convolution one for each row of its window (or for
/// each tap, if it is dilated).
///
/// ```text
/// y[.., r] = clamp(zero + multiply(bias[r] + sum over s, i: x[.. + offsets[s] + i] * w[r, s, i]))
/// ```
///
/// `bias` is folded: the model's bias minus the biased zero point of the input times the sum of the
/// weights of the row. Rows that pad `n` to [`LANES`] have zeros everywhere.
///
/// Packed weights: panels of 64 rows, the last one of 16, 32, 48 or 64. In a panel of `R` rows stand,
/// for each segment, `ceil(k / 4)` groups of `R` times 4 bytes: `w[r, s, 4 g..4 g + 4]`, zeros behind
/// the end of a segment.
#[derive(Debug)]
pub struct Gemm<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// Bytes from a position to the next one.
    pub x_row: usize,
    /// Bytes from a line of positions to the next one.
    pub x_outer: usize,
    /// Biased codes, overwritten.
    pub y: &'a mut [u8],
    /// Bytes from a position to the next one.
    pub y_row: usize,
    /// Bytes from a line of positions to the next one.
    pub y_outer: usize,
    /// Positions in a line.
    pub m: usize,
    /// Lines.
    pub outer: usize,
    /// Outputs of a position.
    pub n: usize,
    /// Bytes of a segment.
    pub k: usize,
    /// Where the segments start, `u32` little endian each.
    pub offsets: &'a [u8],
    /// Packed weights, see above.
    pub w: &'a [u8],
    /// Folded biases, `i32` little endian, as many as rows rounded up to [`LANES`].
    pub bias: &'a [u8],
    /// From sums to codes.
    pub requant: Requant<'a>,
}

/// Matrix product whose results have 16 bits: one position, one segment at 0, no zero point.
///
/// `y[r] = saturate(multiply(bias[r] + sum over i: x[i] * w[r, i]))`, with weights, biases, multipliers
/// and shifts as in [`Gemm`].
#[derive(Debug)]
pub struct Gemm16<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// `i16` little endian, overwritten.
    pub y: &'a mut [u8],
    /// Outputs.
    pub n: usize,
    /// Inputs.
    pub k: usize,
    /// Packed weights.
    pub w: &'a [u8],
    /// Folded biases.
    pub bias: &'a [u8],
    /// Multipliers.
    pub mult: &'a [u8],
    /// Shifts.
    pub shift: &'a [u8],
}

/// Depthwise convolution: every channel has its own window.
///
/// Positions, `x` and `y` are as in [`Gemm`]; tap `t` of position `(a, b)` and channel `c` is
/// `x[a * x_outer + b * x_row + offsets[t] + c]`.
///
/// Packed weights: chunks of 64 channels, in each `ceil(taps / 4)` groups of 256 bytes. The byte of
/// channel `c` and tap `t` in its chunk (`r = c % 64`) stands at
/// `(t / 4) * 256 + (r % 16 / 4) * 64 + (r / 16) * 16 + (r % 4) * 4 + t % 4`: the order in which bytes
/// come when four vectors of 64 are interleaved twice. Biases, multipliers and shifts of a chunk stand
/// at `(r % 16 / 4) * 16 + (r / 16) * 4 + r % 4`. What pads channels and taps is 0.
#[derive(Debug)]
pub struct Depthwise<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// Bytes from a position to the next one.
    pub x_row: usize,
    /// Bytes from a line of positions to the next one.
    pub x_outer: usize,
    /// Biased codes, overwritten.
    pub y: &'a mut [u8],
    /// Bytes from a position to the next one.
    pub y_row: usize,
    /// Bytes from a line of positions to the next one.
    pub y_outer: usize,
    /// Positions in a line.
    pub m: usize,
    /// Lines.
    pub outer: usize,
    /// Channels.
    pub channels: usize,
    /// Where the taps of a window are, `u32` little endian each.
    pub offsets: &'a [u8],
    /// Packed weights, see above.
    pub w: &'a [u8],
    /// Folded biases, `i32` little endian, in the order above.
    pub bias: &'a [u8],
    /// From sums to codes.
    pub requant: Requant<'a>,
}

/// Where in a chunk the biases, multipliers and shifts of channel `c` of a [`Depthwise`] stand.
pub const fn depthwise_lane(c: usize) -> usize {
    let r = c % PANEL;
    (r % 16 / 4) * 16 + (r / 16) * 4 + r % 4
}

/// Pooling: each channel over a window, which is cut off at the borders of the image.
#[derive(Debug)]
pub struct Pool<'a> {
    /// Biased codes, `height * width * channels`.
    pub x: &'a [u8],
    /// Biased codes, `out_height * out_width * channels`, overwritten.
    pub y: &'a mut [u8],
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Rows of the result.
    pub out_height: usize,
    /// Columns of the result.
    pub out_width: usize,
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps of the window, downwards and to the right.
    pub stride: [usize; 2],
    /// Rows above and columns left of the image that the first window covers.
    pub pad: [usize; 2],
    /// Least code, biased.
    pub min: i32,
    /// Greatest code, biased.
    pub max: i32,
}

/// Sum or difference of two tensors with different scales.
///
/// `y = clamp(zero + multiply(multiply((a - a_zero) << 20) + multiply((b - b_zero) << 20)))`, with a
/// minus between the two for a difference. If `b` is shorter than `a` it repeats.
#[derive(Debug)]
pub struct Add<'a> {
    /// Biased codes.
    pub a: &'a [u8],
    /// Biased codes; as many as `a` has, or a divisor of it.
    pub b: &'a [u8],
    /// Biased codes, overwritten; as many as `a` has.
    pub y: &'a mut [u8],
    /// Biased zero point and multiplier of `a`.
    pub a_scale: (i32, Multiplier),
    /// Biased zero point and multiplier of `b`.
    pub b_scale: (i32, Multiplier),
    /// Whether `b` is subtracted.
    pub subtract: bool,
    /// Biased zero point and multiplier of `y`.
    pub y_scale: (i32, Multiplier),
    /// Least code, biased.
    pub min: i32,
    /// Greatest code, biased.
    pub max: i32,
}

/// Product of two tensors, element by element:
/// `y = clamp(zero + multiply((a - a_zero) (b - b_zero)))`.
#[derive(Debug)]
pub struct Mul<'a> {
    /// Biased codes.
    pub a: &'a [u8],
    /// Biased codes; as many as `a` has, or a divisor of it: then it repeats.
    pub b: &'a [u8],
    /// Biased codes, overwritten; as many as `a` has.
    pub y: &'a mut [u8],
    /// Biased zero point of `a`.
    pub a_zero: i32,
    /// Biased zero point of `b`.
    pub b_zero: i32,
    /// Biased zero point and multiplier of `y`.
    pub y_scale: (i32, Multiplier),
    /// Least code, biased.
    pub min: i32,
    /// Greatest code, biased.
    pub max: i32,
}

/// Mean over the rows of `x[rows, channels]`.
///
/// `y = clamp(zero + multiply(sum over rows: x - x_zero))`, to 0..=255. The division is part of the
/// factor: with that from the scale of `x` to the scale of `y`, `(mult, shift)`, and
/// `bits = min(ilog2(rows), 31 - shift)`, it is `((mult << bits) / rows, shift + bits)`, rounded down.
#[derive(Debug)]
pub struct Mean<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// Biased codes, one per channel, overwritten.
    pub y: &'a mut [u8],
    /// Rows.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
    /// Biased zero point of `x`.
    pub x_zero: i32,
    /// Biased zero point and multiplier of `y`, see above.
    pub y_scale: (i32, Multiplier),
}

/// Softmax over each row of `x[rows, n]`, at most 4096 elements; the result has the scale 2^-8 and the zero point -128.
#[derive(Debug)]
pub struct Softmax<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// Biased codes, overwritten.
    pub y: &'a mut [u8],
    /// Elements of a row.
    pub n: usize,
    /// `beta * scale` of the input as Q5.26, at least 1: it shifts to the left or not at all.
    pub beta: Multiplier,
    /// The difference to the maximum, in codes, below which an element counts as 0; negative or 0.
    pub diff_min: i32,
}

/// What the factors of a recurrent layer are; the scale of its cells is `2^-(12 + cell_shift)`.
#[derive(Copy, Clone, Debug)]
pub struct LstmScales {
    /// From the product of forget gate (2^-15) and cell to the cell.
    pub forget: Multiplier,
    /// From the product of input gate and candidate (2^-30) to the cell.
    pub input: Multiplier,
    /// From the product of output gate and `tanh` of the cell (2^-30) to the codes of the output.
    pub output: Multiplier,
    /// See above, -12..=15.
    pub cell_shift: i32,
    /// The cell is limited to this and its negative; 0: no limit.
    pub cell_clip: i16,
    /// Biased zero point of the output.
    pub h_zero: i32,
}

/// Packed weights of the four gates, in the order input, forget, candidate, output: `4 n` rows, as in
/// [`Gemm16`], to numbers with 12 fraction bits.
#[derive(Copy, Clone, Debug)]
pub struct GateWeights<'a> {
    /// Packed weights.
    pub w: &'a [u8],
    /// Folded biases.
    pub bias: &'a [u8],
    /// Multipliers.
    pub mult: &'a [u8],
    /// Shifts.
    pub shift: &'a [u8],
}

/// The part of a step of a recurrent layer (long short-term memory) behind the matrix products.
///
/// ```text
/// i, f, g, o = the four parts of saturate(from_x + from_h)
/// cell = clip(saturate(forget(sigmoid(f) cell)) + saturate(input(sigmoid(i) tanh(g))))
/// h = clamp(h_zero + output(sigmoid(o) tanh(cell)))
/// ```
#[derive(Debug)]
pub struct LstmCell<'a> {
    /// What the gates get from the input: `4 n` numbers with 12 fraction bits, `i16` little endian.
    pub from_x: &'a [u8],
    /// What the gates get from the last output.
    pub from_h: &'a [u8],
    /// `n` numbers, `i16` little endian, replaced by the next ones; all 0 at the beginning.
    pub cell: &'a mut [u8],
    /// The output, `n` biased codes, overwritten.
    pub h: &'a mut [u8],
    /// Cells.
    pub n: usize,
    /// Factors.
    pub scales: LstmScales,
}

/// A step of a recurrent layer: two [`Gemm16`], then [`LstmCell`].
#[derive(Debug)]
pub struct LstmStep<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// The last output, replaced by the next one: biased codes; all `h_zero` at the beginning.
    pub h: &'a mut [u8],
    /// As in [`LstmCell`].
    pub cell: &'a mut [u8],
    /// Elements of `x`.
    pub inputs: usize,
    /// Cells.
    pub n: usize,
    /// Weights of the input, with the biases of the gates.
    pub x_weights: GateWeights<'a>,
    /// Weights of the last output, without biases but for what folding makes.
    pub h_weights: GateWeights<'a>,
    /// `16 n` bytes, overwritten.
    pub scratch: &'a mut [u8],
    /// Factors.
    pub scales: LstmScales,
}

/// Dense layers of one position each, the second of which reads what the first gives, and so on; some of
/// them with a function of their results, as a table.
#[derive(Debug)]
pub struct Chain<'a> {
    /// A [`ChainLayer`] for each layer.
    pub layers: &'a [u8],
    /// Where the offsets of the layers lead to.
    pub weights: &'a [u8],
    /// Codes, not biased, as many as the first layer reads.
    pub x: &'a [u8],
    /// As many as the last layer gives, overwritten.
    pub y: &'a mut [u8],
    /// Whether `y` gets codes; else biased codes.
    pub flip: bool,
    /// Two buffers for what is between layers.
    pub temp: &'a mut [u8],
    /// Bytes of each, which is at least [`SLACK`] more than any layer reads or gives.
    pub width: usize,
}

/// What is known of a layer of a [`Chain`]: 32-bit numbers, little endian, in this order.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ChainLayer {
    /// What it reads.
    pub k: u32,
    /// What it gives.
    pub n: u32,
    /// Offset of the packed weights, as those of a [`Gemm`] with one segment.
    pub w: u32,
    /// Offset of the folded biases.
    pub bias: u32,
    /// Offset of the multipliers.
    pub mult: u32,
    /// Offset of the shifts.
    pub shift: u32,
    /// Zero point, biased.
    pub zero: i32,
    /// Least code, biased.
    pub min: i32,
    /// Greatest code, biased.
    pub max: i32,
    /// Offset of 256 codes, one of which each result is replaced by, or [`ChainLayer::NONE`].
    pub table: u32,
    /// 0.
    pub reserved: [i32; 6],
}

impl ChainLayer {
    /// No table.
    pub const NONE: u32 = u32::MAX;

    /// Bytes of a layer.
    pub const BYTES: usize = 64;

    /// The numbers in their order.
    pub fn fields(&self) -> [i32; 16] {
        // CAST: the same bits.
        let bits = |n: u32| n as i32;
        let [r0, r1, r2, r3, r4, r5] = self.reserved;
        [
            bits(self.k),
            bits(self.n),
            bits(self.w),
            bits(self.bias),
            bits(self.mult),
            bits(self.shift),
            self.zero,
            self.min,
            self.max,
            bits(self.table),
            r0,
            r1,
            r2,
            r3,
            r4,
            r5,
        ]
    }

    /// The layer that starts the bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut numbers = fixed::elements(bytes.get(..Self::BYTES)?);
        let mut next = || numbers.next();
        // CAST: the same bits.
        let bits = |n: Option<i32>| n.map(|n| n as u32);
        Some(ChainLayer {
            k: bits(next())?,
            n: bits(next())?,
            w: bits(next())?,
            bias: bits(next())?,
            mult: bits(next())?,
            shift: bits(next())?,
            zero: next()?,
            min: next()?,
            max: next()?,
            table: bits(next())?,
            reserved: [0; 6],
        })
    }
}
