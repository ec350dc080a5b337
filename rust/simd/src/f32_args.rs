// SPDX-License-Identifier: GPL-2.0

//! What vector code of `f32` is called with: pointers and integers, laid out as C does.
//!
//! This file is part of two crates in the kernel, the one that calls and the one that is called,
//! which are compiled for different targets. Numbers cross as their bits: the two targets disagree
//! on how an `f32` is passed. Pointers need no alignment; strides are in bytes, lengths in elements.
//! Who fills the fields has checked that every access lies inside the buffers. Inputs and outputs are
//! apart, or the same where it is said.

/// Codes of [`Map::op`] and of `act` fields: what becomes of an element `x`.
pub mod op {
    /// `x`.
    pub const NONE: u32 = 0;
    /// `max(x, 0)`.
    pub const RELU: u32 = 1;
    /// `min(max(x, 0), 6)`.
    pub const RELU6: u32 = 2;
    /// `x` above 0, `slope * x` elsewhere.
    pub const LEAKY: u32 = 3;
    /// `1 / (1 + e^-x)`.
    pub const SIGMOID: u32 = 4;
    /// Hyperbolic tangent.
    pub const TANH: u32 = 5;
    /// `x P(X <= x)`, `X` normally distributed.
    pub const GELU: u32 = 6;
    /// `x / 2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    pub const GELU_TANH: u32 = 7;
    /// `x hard_sigmoid(x)`.
    pub const HARD_SWISH: u32 = 8;
    /// `x sigmoid(x)`.
    pub const SILU: u32 = 9;
    /// `min(max(x + 3, 0), 6) / 6`.
    pub const HARD_SIGMOID: u32 = 10;
    /// `x` above 0, `slope (e^x - 1)` elsewhere.
    pub const ELU: u32 = 11;
    /// `log(1 + e^x)`.
    pub const SOFTPLUS: u32 = 12;
    /// `e^x`.
    pub const EXP: u32 = 13;
    /// Square root.
    pub const SQRT: u32 = 14;
    /// Magnitude.
    pub const ABS: u32 = 15;
    /// How many there are.
    pub const COUNT: u32 = 16;
}

/// Matrix product with packed weights: dense layer, convolution.
///
/// Position `(a, b)`, `a < outer`, `b < m`, reads segments of `k` elements at
/// `x + a x_outer + b x_row + offsets[s]` and writes `n` elements at `y + a y_outer + b y_row`:
/// `act(bias[r] + sum over s, i: x[..][i] w[r, s, i])`.
///
/// Packed weights: panels of 64 rows, the last one of 16, 32, 48 or 64 (zeros pad `n`). A panel of `R`
/// rows holds, segment by segment, `k` groups of `R` weights, one of each row. By row: `w[n][segments
/// k]`, at most [`FEW`] rows.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GemmF32 {
    /// Input.
    pub x: *const u8,
    /// Bytes between positions of the input.
    pub x_row: usize,
    /// Bytes between lines of the input.
    pub x_outer: usize,
    /// Output.
    pub y: *mut u8,
    /// Bytes between positions of the output.
    pub y_row: usize,
    /// Bytes between lines of the output.
    pub y_outer: usize,
    /// Positions in a line.
    pub m: usize,
    /// Lines.
    pub outer: usize,
    /// Outputs of a position.
    pub n: usize,
    /// Elements of a segment.
    pub k: usize,
    /// Segments.
    pub segments: usize,
    /// Where the segments start, `u32`, in bytes.
    pub offsets: *const u8,
    /// Weights.
    pub w: *const u8,
    /// 1 if they lie row by row.
    pub by_row: u32,
    /// Biases, as many as `n` rounded up to 16.
    pub bias: *const u8,
    /// What becomes of a sum, see [`op`].
    pub act: u32,
    /// The bits of the slope of [`op::LEAKY`] and [`op::ELU`].
    pub slope: u32,
}

/// What is known of a layer of [`ChainF32`]: a dense layer, see [`GemmF32`].
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // A crate reads it, none makes it: it lies in the plan.
pub struct ChainLayerF32 {
    /// What it reads.
    pub k: u32,
    /// What it gives.
    pub n: u32,
    /// Offset of the weights.
    pub w: u32,
    /// Offset of the biases, as many as `n` rounded up to 16.
    pub bias: u32,
    /// 1 if the weights lie row by row.
    pub by_row: u32,
    /// What becomes of a sum, see [`op`].
    pub act: u32,
    /// The bits of its slope.
    pub slope: u32,
    /// Nothing.
    pub reserved: u32,
}

/// Dense layers of one position, each of which reads what the one before gives.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct ChainF32 {
    /// Input.
    pub x: *const u8,
    /// Output.
    pub y: *mut u8,
    /// What is between layers: room for what a layer reads or gives, rounded up to 16 elements, and 64
    /// bytes more.
    pub buffers: [*mut u8; 2],
    /// Where the offsets of the layers lead to.
    pub weights: *const u8,
    /// The layers, [`ChainLayerF32`] each.
    pub layers: *const u8,
    /// How many, at least one.
    pub count: usize,
}

/// The most rows that lie row by row.
pub const FEW: usize = 8;

/// `y[i] = op(x[i])`. `y` may be `x`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MapF32 {
    /// Input.
    pub x: *const u8,
    /// Output.
    pub y: *mut u8,
    /// Elements.
    pub n: usize,
    /// What to do, see [`op`].
    pub op: u32,
    /// The bits of the slope of [`op::LEAKY`] and [`op::ELU`].
    pub slope: u32,
}

/// Codes of [`BinaryF32::op`].
pub mod binary {
    /// `a + b`.
    pub const ADD: u32 = 0;
    /// `a - b`.
    pub const SUB: u32 = 1;
    /// `a * b`.
    pub const MUL: u32 = 2;
}

/// `y[r][i] = act(op(a[r][i], b[i]))`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct BinaryF32 {
    /// First operand, rows without gaps.
    pub a: *const u8,
    /// Second operand, one row.
    pub b: *const u8,
    /// Output.
    pub y: *mut u8,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// What to do, see [`binary`].
    pub op: u32,
    /// What becomes of a result, see [`op`].
    pub act: u32,
    /// The bits of the slope of [`op::LEAKY`] and [`op::ELU`].
    pub slope: u32,
}

/// Normalisation by statistics of all samples so far: `(x - mean) / sqrt(variance + eps)`, or
/// `(x - least) / max(greatest - least, eps)`, of the statistics with this sample among them.
///
/// `mean' = mean + (x - mean) / samples`,
/// `variance' = variance + ((x - mean) (x - mean') - variance) / samples`. Of the first sample, the least
/// and the greatest are `x`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NormaliseF32 {
    /// Input.
    pub x: *const u8,
    /// Means, or the least.
    pub first: *const u8,
    /// Variances, or the greatest.
    pub second: *const u8,
    /// Output.
    pub y: *mut u8,
    /// The next means, or the least.
    pub next_first: *mut u8,
    /// The next variances, or the greatest.
    pub next_second: *mut u8,
    /// Elements.
    pub n: usize,
    /// 1 for the least and the greatest.
    pub range: u32,
    /// The bits of the number of samples.
    pub samples: u32,
    /// The bits of `eps`.
    pub eps: u32,
}

/// `y[r][i] = e^x[r][i] / sum over j: e^x[r][j]`, or its logarithm.
///
/// As the equation says in floating point: a row with NaN or plus infinity, or of minus infinities
/// only, gives NaN everywhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SoftmaxF32 {
    /// Input.
    pub x: *const u8,
    /// Output.
    pub y: *mut u8,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// 1 for the logarithm.
    pub log: u32,
    /// What is done of it, see [`part`].
    pub part: u32,
    /// For parts of one row: the greatest element and the sum in each of 16 lanes.
    pub state: *mut u8,
}

/// Parts of a softmax.
pub mod part {
    /// All of it.
    pub const ALL: u32 = 0;
    /// Finds the greatest element.
    pub const TOP: u32 = 1;
    /// Writes exponentials, or differences for the logarithm, and adds the exponentials up.
    pub const SUM: u32 = 2;
    /// Divides by the sum, or subtracts its logarithm.
    pub const SHARE: u32 = 3;
}

/// Layer norm `(x - mean) / sqrt(variance + eps) * gamma + beta`, or RMS norm
/// `x / sqrt(mean of squares + eps) * gamma + beta`, over each row.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct NormF32 {
    /// Input.
    pub x: *const u8,
    /// Output.
    pub y: *mut u8,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Factors.
    pub gamma: *const u8,
    /// Summands, or null.
    pub beta: *const u8,
    /// The bits of `eps`.
    pub eps: u32,
    /// 1 for RMS norm.
    pub rms: u32,
}

/// `y[i] = mean over r: x[r][i]`, or a part of it: summed up from the first row to the last one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MeanF32 {
    /// Input.
    pub x: *const u8,
    /// Bytes between rows.
    pub x_row: usize,
    /// Output.
    pub y: *mut u8,
    /// Rows, at least one.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// What the sums are divided by; 0 for nothing.
    pub count: usize,
    /// 1 if sums begin with what is in `y`.
    pub more: u32,
}

/// One step of an LSTM cell, from the sums of its four gates.
///
/// `c = sigmoid(f) c + sigmoid(i) tanh(g)`, `h = sigmoid(o) tanh(c)`; `gates` holds `i`, `f`, `g`, `o`,
/// of `n` elements each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LstmF32 {
    /// Sums of the gates.
    pub gates: *const u8,
    /// Cell state, replaced.
    pub c: *mut u8,
    /// Hidden state, written.
    pub h: *mut u8,
    /// Units.
    pub n: usize,
}

/// One step of a GRU cell, from the sums of its gates over the input and over the hidden state.
///
/// `r = sigmoid(xr + hr)`, `z = sigmoid(xz + hz)`, `h = (1 - z) tanh(xn + r hn) + z h`; `x` holds
/// `xr`, `xz`, `xn`, `s` holds `hr`, `hz`, `hn`, of `n` elements each.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GruF32 {
    /// Sums over the input.
    pub x: *const u8,
    /// Sums over the hidden state.
    pub s: *const u8,
    /// Hidden state, replaced.
    pub h: *mut u8,
    /// Units.
    pub n: usize,
}

/// `y[r] = (key . x[r]) / max(|key| |x[r]|, eps)`.
///
/// With `eps` 0 a row or key of zeros gives NaN, as the equation does.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CosineF32 {
    /// The query.
    pub key: *const u8,
    /// What it is compared with.
    pub x: *const u8,
    /// Output.
    pub y: *mut u8,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// The bits of `eps`.
    pub eps: u32,
}

/// `y[i][j] = scale * sum over l: x[i][l] b[l][j]`, or `b[j][l]` if `b` is transposed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MatmulF32 {
    /// First operand.
    pub x: *const u8,
    /// Bytes between its rows.
    pub x_row: usize,
    /// Second operand.
    pub b: *const u8,
    /// Bytes between its rows.
    pub b_row: usize,
    /// Output.
    pub y: *mut u8,
    /// Bytes between its rows.
    pub y_row: usize,
    /// Rows of the output.
    pub m: usize,
    /// Columns of the output.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// The bits of the scale.
    pub scale: u32,
    /// 1 if `b` is transposed.
    pub transposed: u32,
    /// 1 if sums begin with what is in `y`; not if `b` is transposed.
    pub more: u32,
}

/// `y[c][r] = x[r][c]`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct TransposeF32 {
    /// Input.
    pub x: *const u8,
    /// Bytes between its rows.
    pub x_row: usize,
    /// Output.
    pub y: *mut u8,
    /// Bytes between its rows.
    pub y_row: usize,
    /// Rows of the input.
    pub rows: usize,
    /// Columns of the input.
    pub columns: usize,
}

/// Attention: `y = softmax(scale q k^T) v` for each head.
///
/// Query `i` of `queries` sees all `tokens`, or, if `causal`, those up to `i + tokens - queries`; none
/// gives 0. In a row, the heads follow each other.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AttentionF32 {
    /// Queries.
    pub q: *const u8,
    /// Keys.
    pub k: *const u8,
    /// Values.
    pub v: *const u8,
    /// Output.
    pub y: *mut u8,
    /// Bytes from a row of each of them to the next.
    pub row: usize,
    /// Queries.
    pub queries: usize,
    /// Keys and values.
    pub tokens: usize,
    /// Elements of a head.
    pub dim: usize,
    /// Heads.
    pub heads: usize,
    /// The bits of the scale.
    pub scale: u32,
    /// 1 if later tokens are hidden.
    pub causal: u32,
    /// `tokens * (ATTENTION_ROWS + dim)` elements.
    pub scratch: *mut u8,
}

/// Queries whose scores are held at a time.
pub const ATTENTION_ROWS: usize = 6;

/// Depthwise convolution.
///
/// Positions, `x` and `y` are as in [`GemmF32`]: `act(bias[c] + sum over t: x[.. + offsets[t]][c]
/// w[t stride + c])`. Weights and biases of a tap are rounded up to 16 channels.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct DepthwiseF32 {
    /// Input.
    pub x: *const u8,
    /// Bytes between positions of the input.
    pub x_row: usize,
    /// Bytes between lines of the input.
    pub x_outer: usize,
    /// Output.
    pub y: *mut u8,
    /// Bytes between positions of the output.
    pub y_row: usize,
    /// Bytes between lines of the output.
    pub y_outer: usize,
    /// Positions in a line.
    pub m: usize,
    /// Lines.
    pub outer: usize,
    /// Channels.
    pub channels: usize,
    /// Elements from the weights of a tap to those of the next.
    pub stride: usize,
    /// Taps of a window.
    pub taps: usize,
    /// Where the taps are, `u32`, in bytes.
    pub offsets: *const u8,
    /// Weights.
    pub w: *const u8,
    /// Biases.
    pub bias: *const u8,
    /// What becomes of a sum, see [`op`].
    pub act: u32,
    /// The bits of the slope of [`op::LEAKY`] and [`op::ELU`].
    pub slope: u32,
}

/// Pooling over windows that are cut off at the borders: mean or greatest (NaN if one is).
///
/// A window that misses the image gives 0 and minus infinity.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PoolF32 {
    /// Input, `height * width * channels`.
    pub x: *const u8,
    /// Output, `out_height * out_width * channels`.
    pub y: *mut u8,
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Channels that are computed.
    pub channels: usize,
    /// Elements from a pixel to the next one.
    pub pixel: usize,
    /// The first column of the result.
    pub first: usize,
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
    /// 1 for the greatest element, 0 for the mean.
    pub max: u32,
}

/// `y[i] = f[0] a[i] + f[1] b[i] + f[2] c[i]`: write and read weightings of a DNC. `y` may be one of
/// the inputs.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct MixF32 {
    /// Inputs.
    pub x: [*const u8; 3],
    /// The bits of the factors.
    pub f: [u32; 3],
    /// Output.
    pub y: *mut u8,
    /// Elements.
    pub n: usize,
}

/// Usage of the rows of a DNC's memory: `u = (u + w - u w) product over reads r: (1 - free[r] read[r])`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct UsageF32 {
    /// Usage, replaced.
    pub u: *mut u8,
    /// Write weighting of the step before.
    pub w: *const u8,
    /// Read weightings of the step before.
    pub read: *const u8,
    /// Bytes between them.
    pub read_row: usize,
    /// Free gates, one a read head.
    pub free: *const u8,
    /// Read heads.
    pub heads: usize,
    /// Rows of the memory.
    pub n: usize,
}

/// Allocation weighting of a DNC: `y[i] = (1 - u[i]) product of all u[j] that come before u[i]` in
/// ascending order; equal ones in order of place.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct AllocationF32 {
    /// Usage.
    pub u: *const u8,
    /// Output, of the rows from `first` on.
    pub y: *mut u8,
    /// The first row that is computed.
    pub first: usize,
    /// How many are computed.
    pub rows: usize,
    /// Rows of the memory.
    pub n: usize,
}

/// Write to a DNC's memory: `x[i][j] = x[i][j] (1 - w[i] erase[j]) + w[i] add[j]`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct WriteF32 {
    /// Memory, changed.
    pub x: *mut u8,
    /// Bytes between rows.
    pub x_row: usize,
    /// Write weighting.
    pub w: *const u8,
    /// Erase vector.
    pub erase: *const u8,
    /// Write vector.
    pub add: *const u8,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
}

/// Temporal links of a DNC: `l[i][j] = (1 - w[i] - w[j]) l[i][j] + w[i] p[j]`, `l[i][i] = 0`, and then
/// `p[i] = (1 - sum over j: w[j]) p[i] + w[i]`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LinkF32 {
    /// Some rows of the links, without gaps, changed.
    pub l: *mut u8,
    /// The first of them.
    pub first: usize,
    /// How many; with the last row of all the precedence weighting is replaced.
    pub rows: usize,
    /// Precedence weighting.
    pub p: *mut u8,
    /// Write weighting.
    pub w: *const u8,
    /// Rows of the memory.
    pub n: usize,
}
