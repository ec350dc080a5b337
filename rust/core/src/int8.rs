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

pub mod lut;
mod matrix;
mod pool;
mod requant;
mod softmax;
mod sum;

pub use self::matrix::{depthwise, gemm};
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
/// `y = clamp(zero + multiply(multiply((a - a_zero) << 20) + multiply((b - b_zero) << 20)))`; a
/// negative multiplier of `b` makes a difference. Operands that are shorter than `y` repeat.
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
    /// Biased zero point and multiplier of `y`; the multiplier contains the division by `rows`.
    pub y_scale: (i32, Multiplier),
}

/// Softmax over each row of `x[rows, n]`; the result has the scale 2^-8 and the zero point -128.
#[derive(Debug)]
pub struct Softmax<'a> {
    /// Biased codes.
    pub x: &'a [u8],
    /// Biased codes, overwritten.
    pub y: &'a mut [u8],
    /// Elements of a row.
    pub n: usize,
    /// `beta * scale` of the input as Q5.26: multiplier and shift to the left.
    pub beta: Multiplier,
    /// The difference to the maximum, in codes, below which an element counts as 0; negative or 0.
    pub diff_min: i32,
}
