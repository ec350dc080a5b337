// SPDX-License-Identifier: GPL-2.0

//! Memory of a differentiable neural computer, and products of matrices that both come at run time.

/// Rows of a tensor that is read.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The elements.
    pub bytes: &'a [u8],
    /// Bytes from a row to the next.
    pub row: usize,
}

/// Rows of a tensor that is written.
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The elements.
    pub bytes: &'a mut [u8],
    /// Bytes from a row to the next.
    pub row: usize,
}

/// Product of two matrices, times a scale: `y[m, n] = scale x[m, k] b[k, n]`. Unless `b` is transposed,
/// each sum is computed in the order of `k`; so parts of it give the same bits as the whole.
#[derive(Debug)]
pub struct Matmul<'a> {
    /// First operand.
    pub x: Rows<'a>,
    /// Second operand.
    pub b: Rows<'a>,
    /// Output.
    pub y: RowsMut<'a>,
    /// Rows of the output.
    pub m: usize,
    /// Columns of the output.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// The bits of what sums are multiplied with.
    pub scale: u32,
    /// Whether the rows of `b` are the columns of the output.
    pub transposed: bool,
    /// Whether sums begin with what is in `y`; not if `b` is transposed.
    pub more: bool,
}

/// Weighted sum of three vectors: `y = f[0] x[0] + f[1] x[1] + f[2] x[2]`.
#[derive(Debug)]
pub struct Mix<'a> {
    /// Inputs; `y` itself where there is none.
    pub x: [Option<&'a [u8]>; 3],
    /// The bits of the factors.
    pub f: [u32; 3],
    /// Output.
    pub y: &'a mut [u8],
    /// Elements.
    pub n: usize,
}

/// Usage of the rows of a memory: `u = (u + w - u w) product over heads r: (1 - free[r] read[r])`.
#[derive(Debug)]
pub struct Usage<'a> {
    /// Usage, replaced.
    pub u: &'a mut [u8],
    /// Write weighting of the step before.
    pub w: &'a [u8],
    /// Read weightings of the step before.
    pub read: &'a [u8],
    /// Bytes from one of them to the next one.
    pub read_row: usize,
    /// Free gates, one a read head.
    pub free: &'a [u8],
    /// Read heads.
    pub heads: usize,
    /// Rows of the memory, or some of them.
    pub n: usize,
}

/// Allocation weighting: `y[i] = (1 - u[i]) product of all u[j] that come before u[i]` in ascending
/// order; equal ones in order of place.
#[derive(Debug)]
pub struct Allocation<'a> {
    /// Usage.
    pub u: &'a [u8],
    /// The first row that is computed.
    pub first: usize,
    /// Output: the weights of some rows.
    pub y: &'a mut [u8],
    /// Rows of the memory.
    pub n: usize,
}

/// Write to a memory: `x[i][j] = x[i][j] (1 - w[i] erase[j]) + w[i] add[j]`.
#[derive(Debug)]
pub struct Write<'a> {
    /// Memory, changed.
    pub x: RowsMut<'a>,
    /// Write weighting.
    pub w: &'a [u8],
    /// Erase vector.
    pub erase: &'a [u8],
    /// Write vector.
    pub add: &'a [u8],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
}

/// Temporal links: `l[i][j] = (1 - w[i] - w[j]) l[i][j] + w[i] p[j]`, `l[i][i] = 0`, and then
/// `p[i] = (1 - sum over j: w[j]) p[i] + w[i]`.
#[derive(Debug)]
pub struct Link<'a> {
    /// Some rows of the links, of `n` elements each, changed.
    pub l: &'a mut [u8],
    /// The first of them, and how many; the precedence weighting is replaced with the last row.
    pub first: usize,
    /// How many.
    pub rows: usize,
    /// Precedence weighting.
    pub p: &'a mut [u8],
    /// Write weighting.
    pub w: &'a [u8],
    /// Rows of the memory.
    pub n: usize,
}
