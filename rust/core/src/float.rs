// SPDX-License-Identifier: GPL-2.0

//! Layers of IEEE 754 single precision, as far as they can be spoken of without computing any.
//!
//! The kernel has no floating point but in vector code, so there is nothing here that computes: only
//! what the operations are given, how weights are packed, and what the operations mean. All numbers are
//! little endian bytes; parameters are the bits of an `f32`. Strides are in bytes, sizes in elements.
//!
//! Slices may be longer than what is used; what lies behind is neither read nor written.

mod memory;
pub mod work;

use crate::fixed::ELEMENT_BYTES;
use crate::int8::{panel_rows, LANES, PANEL};

pub use self::memory::{Allocation, Link, Matmul, Mix, Rows, RowsMut, Usage, Write};

/// What becomes of an element; the codes are those of model files.
#[repr(u32)]
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Function {
    /// `x`.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` above 0, `slope * x` elsewhere.
    LeakyRelu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// `x P(X <= x)` for a normally distributed `X`.
    Gelu,
    /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `x / (1 + e^-x)`.
    Silu,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `x` above 0, `slope (e^x - 1)` elsewhere.
    Elu,
    /// `log(1 + e^x)`.
    Softplus,
    /// `e^x`.
    Exp,
    /// Square root.
    Sqrt,
    /// Magnitude.
    Abs,
}

impl Function {
    /// All, in the order of their codes.
    pub const ALL: [Function; 16] = [
        Function::None,
        Function::Relu,
        Function::Relu6,
        Function::LeakyRelu,
        Function::Sigmoid,
        Function::Tanh,
        Function::Gelu,
        Function::GeluTanh,
        Function::HardSwish,
        Function::Silu,
        Function::HardSigmoid,
        Function::Elu,
        Function::Softplus,
        Function::Exp,
        Function::Sqrt,
        Function::Abs,
    ];

    /// The code in model files.
    pub const fn code(self) -> u32 {
        // CAST: they are numbered in the order of their codes.
        self as u32
    }

    /// The function of a code.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(code).ok()?).copied()
    }

    /// Whether it has a slope.
    pub const fn has_slope(self) -> bool {
        matches!(self, Function::LeakyRelu | Function::Elu)
    }
}

/// A function and its slope.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// What becomes of an element.
    pub function: Function,
    /// The bits of the slope, 0 if there is none.
    pub slope: u32,
}

/// Matrix product, dense layer, convolution: positions, patches and segments are those of
/// [`int8::Gemm`](crate::int8::Gemm), with `k` elements in a segment.
///
/// `y[.., r] = act(bias[r] + sum over s, i: x[.. + offsets[s] + 4 i] * w[r, s, i])`, summed in any order.
///
/// Packed weights: panels of 64 rows, the last one of 16, 32, 48 or 64. In a panel of `R` rows stand,
/// for each segment, `k` groups of `R` weights, one of each row. Rows that pad `n` are 0. Few rows
/// would be mostly padding: see [`by_row`].
#[derive(Debug)]
pub struct Gemm<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Bytes from a position to the next one.
    pub x_row: usize,
    /// Bytes from a line of positions to the next one.
    pub x_outer: usize,
    /// Output, overwritten.
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
    /// Elements of a segment.
    pub k: usize,
    /// Where the segments start, in bytes, `u32` little endian each.
    pub offsets: &'a [u8],
    /// Packed weights.
    pub w: &'a [u8],
    /// Whether the weights are `w[n, segments, k]` as they are; at most [`FEW`] rows.
    pub by_row: bool,
    /// Biases, as many as rows rounded up to [`LANES`].
    pub bias: &'a [u8],
    /// What becomes of the sums.
    pub act: Act,
}

/// Dense layers of one position each, the second of which reads what the first gives, and so on.
#[derive(Debug)]
pub struct Chain<'a> {
    /// A [`ChainLayer`] for each layer.
    pub layers: &'a [u8],
    /// Where the offsets of the layers lead to.
    pub weights: &'a [u8],
    /// As many elements as the first layer reads.
    pub x: &'a [u8],
    /// As many as the last layer gives, overwritten.
    pub y: &'a mut [u8],
    /// Two buffers for what is between layers.
    pub temp: &'a mut [u8],
    /// Bytes of each, which is at least [`SLACK`](crate::int8::SLACK) more than [`LANES`] elements
    /// side by side hold of what any layer reads or gives.
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
    /// Offset of the biases.
    pub bias: u32,
    /// 1 if the weights are as for [`Gemm::by_row`], else 0.
    pub by_row: u32,
    /// The code of a [`Function`].
    pub function: u32,
    /// The bits of its slope.
    pub slope: u32,
    /// 0.
    pub reserved: u32,
}

impl ChainLayer {
    /// Bytes of a layer.
    pub const BYTES: usize = 32;

    /// The numbers in their order.
    pub(crate) const fn fields(&self) -> [u32; 8] {
        [
            self.k,
            self.n,
            self.w,
            self.bias,
            self.by_row,
            self.function,
            self.slope,
            self.reserved,
        ]
    }

    /// The layer that starts the bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut words = bytes.get(..Self::BYTES)?.chunks_exact(ELEMENT_BYTES);
        let mut next = || Some(u32::from_le_bytes(words.next()?.try_into().ok()?));
        Some(ChainLayer {
            k: next()?,
            n: next()?,
            w: next()?,
            bias: next()?,
            by_row: next()?,
            function: next()?,
            slope: next()?,
            reserved: next()?,
        })
    }
}

/// Depthwise convolution: tap `t` of channel `c` is `x[.. + offsets[t] + 4 c]`, its weight
/// `w[t * stride + c]`.
#[derive(Debug)]
pub struct Depthwise<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Bytes from a position to the next one.
    pub x_row: usize,
    /// Bytes from a line of positions to the next one.
    pub x_outer: usize,
    /// Output, overwritten.
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
    /// Elements from the weights of a tap to those of the next one: a multiple of [`LANES`].
    pub stride: usize,
    /// Where the taps of a window are, in bytes, `u32` little endian each.
    pub offsets: &'a [u8],
    /// Weights, see above.
    pub w: &'a [u8],
    /// Biases, as many as channels rounded up to [`LANES`].
    pub bias: &'a [u8],
    /// What becomes of the sums.
    pub act: Act,
}

/// A function of each element.
#[derive(Debug)]
pub struct Map<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Output, overwritten; as many as `x` has.
    pub y: &'a mut [u8],
    /// What becomes of an element.
    pub act: Act,
}

/// What is done with two operands.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a b`.
    Mul,
}

/// Two tensors, element by element; a shorter `b` repeats.
#[derive(Debug)]
pub struct Binary<'a> {
    /// What is done.
    pub operator: Operator,
    /// First operand.
    pub a: &'a [u8],
    /// Second operand; as many as `a` has, or a divisor of it.
    pub b: &'a [u8],
    /// Output, overwritten; as many as `a` has.
    pub y: &'a mut [u8],
    /// What becomes of the results.
    pub act: Act,
}

/// Mean over the rows of `x[rows, n]`, or a part of it: each column is summed up on its own, from the
/// first row to the last one, and then divided; so parts of it give the same bits as the whole.
#[derive(Debug)]
pub struct Mean<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Bytes from a row to the next one.
    pub row: usize,
    /// Output, `n` elements, overwritten.
    pub y: &'a mut [u8],
    /// Rows, at least one.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Whether `y` has the sums of the rows before these.
    pub more: bool,
    /// What the sums are divided by; 0 for nothing.
    pub count: usize,
}

/// Softmax or its logarithm, over each row of `x[rows, n]`.
#[derive(Debug)]
pub struct Softmax<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Output, overwritten.
    pub y: &'a mut [u8],
    /// Elements of a row.
    pub n: usize,
    /// Whether the logarithm is wanted.
    pub log: bool,
    /// What is done of one row, and what is known of it; `None`: all of all rows.
    pub part: Option<(SoftmaxPart, &'a mut SoftmaxState)>,
}

/// What is done of a [`Softmax`] with a part of a row, one after the other. All parts of a row but the
/// last have a multiple of [`LANES`] elements: so they give the bits of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftmaxPart {
    /// Finds the greatest element.
    Top,
    /// Writes the exponentials, and adds them up; with the logarithm the differences from the greatest.
    Sum,
    /// Divides `y` by the sum, in place; with the logarithm subtracts its logarithm.
    Share,
}

/// What is known of a row of a [`Softmax`] that is done in parts: the greatest elements and the sums,
/// in each lane.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxState([[u32; LANES]; 2]);

impl SoftmaxState {
    /// Nothing is known yet.
    pub const fn new() -> Self {
        SoftmaxState([[0xff80_0000; LANES], [0; LANES]])
    }

    /// The lanes, as bits.
    pub fn lanes(&mut self) -> &mut [[u32; LANES]; 2] {
        &mut self.0
    }
}

impl Default for SoftmaxState {
    fn default() -> Self {
        Self::new()
    }
}

/// Layer norm or root mean square norm of each row of `x[rows, n]`.
///
/// `y = (x - mean) / sqrt(variance + eps) * gamma + beta`, or `y = x / sqrt(mean of x^2 + eps) * gamma`.
#[derive(Debug)]
pub struct Norm<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Output, overwritten.
    pub y: &'a mut [u8],
    /// Elements of a row.
    pub n: usize,
    /// Factors, `n` of them.
    pub gamma: &'a [u8],
    /// Summands, `n` of them; `None` for the root mean square norm.
    pub beta: Option<&'a [u8]>,
    /// The bits of what keeps the root from being 0.
    pub eps: u32,
}

/// Normalisation of `x[n]` by statistics of all samples so far, this one among them: mean and variance,
/// or least and greatest.
///
/// With `m` samples, `mean' = mean + (x - mean) / m`,
/// `variance' = variance + ((x - mean) (x - mean') - variance) / m`, and
/// `y = (x - mean') / sqrt(variance' + eps)`; or `y = (x - least') / max(greatest' - least', eps)`.
#[derive(Debug)]
pub struct Normalise<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Means, or the least.
    pub first: &'a [u8],
    /// Variances, or the greatest.
    pub second: &'a [u8],
    /// Output, overwritten.
    pub y: &'a mut [u8],
    /// What `first` becomes, overwritten.
    pub next_first: &'a mut [u8],
    /// What `second` becomes, overwritten.
    pub next_second: &'a mut [u8],
    /// Whether it is the least and the greatest.
    pub range: bool,
    /// The bits of how many samples there are, at least 1; of 1, what was before does not count.
    pub samples: u32,
    /// The bits of what keeps the divisor from being 0.
    pub eps: u32,
}

/// Attention of `heads` heads of `d` elements: `y = softmax(scale q k^T) v` for each head.
#[derive(Debug)]
pub struct Attention<'a> {
    /// Queries, `t` rows of `heads * d` elements.
    pub q: &'a [u8],
    /// Keys, `s` rows.
    pub k: &'a [u8],
    /// Values, `s` rows.
    pub v: &'a [u8],
    /// Output, `t` rows, overwritten.
    pub y: &'a mut [u8],
    /// Bytes from a row of each of them to the next one.
    pub row: usize,
    /// As many elements as [`attention_elements`] says, overwritten.
    pub temp: &'a mut [u8],
    /// Queries.
    pub t: usize,
    /// Keys and values.
    pub s: usize,
    /// Heads.
    pub heads: usize,
    /// Elements of a head.
    pub d: usize,
    /// Whether query `i` sees keys up to `i + s - t` only.
    pub causal: bool,
    /// The bits of the scale.
    pub scale: u32,
}

/// Queries of an [`Attention`] whose scores are held at a time.
pub const ATTENTION_ROWS: usize = 6;

/// Elements of [`Attention::temp`]: the scores, and the keys of a head once more, transposed.
pub const fn attention_elements(s: usize, d: usize) -> Option<usize> {
    match ATTENTION_ROWS.checked_add(d) {
        Some(rows) => s.checked_mul(rows),
        None => None,
    }
}

/// The gates of a long short-term memory: `gates[4 h]` in the order input, forget, cell, output.
///
/// `c' = sigmoid(f) c + sigmoid(i) tanh(g)`, `h' = sigmoid(o) tanh(c')`.
#[derive(Debug)]
pub struct LstmCell<'a> {
    /// Sums, before the non-linearities.
    pub gates: &'a [u8],
    /// The state of the cell, changed.
    pub c: &'a mut [u8],
    /// The result, overwritten.
    pub h: &'a mut [u8],
}

/// The gates of a gated recurrent unit, in the order reset, update, new; `x[3 h]` are the sums of the
/// input, `r[3 h]` those of the state, with their biases.
///
/// `n = tanh(xn + sigmoid(xr + rr) rn)`, `h' = (1 - z) n + z h` with `z = sigmoid(xz + rz)`.
#[derive(Debug)]
pub struct GruCell<'a> {
    /// Sums of the input.
    pub x: &'a [u8],
    /// Sums of the state.
    pub r: &'a [u8],
    /// The state, changed.
    pub h: &'a mut [u8],
}

/// Cosine similarity of `x[d]` with each row of `rows[n, d]`:
/// `y = x . row / max(|x| |row|, eps)`.
#[derive(Debug)]
pub struct Cosine<'a> {
    /// The query.
    pub x: &'a [u8],
    /// What it is compared with.
    pub rows: &'a [u8],
    /// A similarity for each row, overwritten.
    pub y: &'a mut [u8],
    /// Elements of a row.
    pub d: usize,
    /// The bits of the least product of the norms.
    pub eps: u32,
}

/// A pool, as [`int8::Pool`](crate::int8::Pool) without limits.
#[derive(Debug)]
pub struct Pool<'a> {
    /// Input, `height * width * channels`.
    pub x: &'a [u8],
    /// Output, `out_height * out_width * channels`, overwritten.
    pub y: &'a mut [u8],
    /// Rows, columns and channels of the image.
    pub image: [usize; 3],
    /// Channels that are computed, the first ones of `x` and of `y`.
    pub channels: usize,
    /// The first column of the result that is computed, the first one of `y`.
    pub first: usize,
    /// Rows and columns of the result.
    pub out: [usize; 2],
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps of the window, downwards and to the right.
    pub stride: [usize; 2],
    /// Rows above and columns left of the image that the first window covers.
    pub pad: [usize; 2],
    /// Whether the greatest is taken; else the mean of what lies in the image.
    pub greatest: bool,
}

/// The most rows of a matrix that are not packed, and the fewest elements of such rows.
pub const FEW: usize = 8;
const LONG: usize = 32;

/// Whether the `n` rows of a matrix of `columns` stay as they are, [`Gemm::by_row`].
pub const fn by_row(n: usize, columns: usize) -> bool {
    n <= FEW && columns >= LONG
}

/// Bytes of the packed weights of a [`Gemm`].
pub const fn packed_gemm_bytes(n: usize, segments: usize, k: usize) -> Option<usize> {
    let Some(row) = segments.checked_mul(k) else {
        return None;
    };
    let rows = if by_row(n, row) {
        n
    } else {
        match n.checked_next_multiple_of(LANES) {
            Some(rows) => rows,
            None => return None,
        }
    };
    match row.checked_mul(rows) {
        Some(elements) => elements.checked_mul(ELEMENT_BYTES),
        None => None,
    }
}

/// Packs the weights `[n][columns]` of a [`Gemm`] (its segments one behind the other in a row); `out`
/// takes [`packed_gemm_bytes`].
pub fn pack_gemm(weights: &[u8], n: usize, columns: usize, out: &mut [u8]) {
    pack_columns(weights, n, columns, 0, columns, out);
}

/// Packs columns `from..from + k` of the weights `[n][columns]`; `out` takes [`packed_gemm_bytes`] of
/// one segment.
pub fn pack_columns(
    weights: &[u8],
    n: usize,
    columns: usize,
    from: usize,
    k: usize,
    out: &mut [u8],
) {
    out.fill(0);
    let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
    let row_bytes = bytes(columns).max(1);
    if by_row(n, k) {
        let rows = weights.chunks_exact(row_bytes);
        for (to, row) in out.chunks_exact_mut(bytes(k).max(1)).zip(rows) {
            if let Some(used) = row.get(bytes(from)..).and_then(|row| row.get(..to.len())) {
                to.copy_from_slice(used);
            }
        }
        return;
    }
    let mut out = out;
    let panels = weights.chunks(row_bytes.saturating_mul(PANEL));
    for (panel, top) in panels.zip((0..n).step_by(PANEL)) {
        let step = bytes(panel_rows(n.saturating_sub(top))).max(1);
        let Some((head, tail)) = out.split_at_mut_checked(step.saturating_mul(k)) else {
            return;
        };
        for (r, row) in panel.chunks_exact(row_bytes).enumerate() {
            let used = row.get(bytes(from)..).unwrap_or_default();
            let used = used.chunks_exact(ELEMENT_BYTES).take(k);
            for (group, from) in head.chunks_exact_mut(step).zip(used) {
                let to = group.get_mut(bytes(r)..);
                if let Some(to) = to.and_then(|to| to.get_mut(..ELEMENT_BYTES)) {
                    to.copy_from_slice(from);
                }
            }
        }
        out = tail;
    }
}

/// Packs the weights `[taps][channels]` of a [`Depthwise`]; `out` has `taps` times the channels, rounded
/// up to [`LANES`], elements.
pub fn pack_depthwise(weights: &[u8], channels: usize, out: &mut [u8]) {
    out.fill(0);
    let row_bytes = channels.saturating_mul(ELEMENT_BYTES).max(1);
    let stride = channels
        .next_multiple_of(LANES)
        .saturating_mul(ELEMENT_BYTES);
    let rows = weights.chunks_exact(row_bytes);
    for (to, from) in out.chunks_exact_mut(stride.max(1)).zip(rows) {
        if let Some(to) = to.get_mut(..from.len()) {
            to.copy_from_slice(from);
        }
    }
}
