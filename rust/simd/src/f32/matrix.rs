// SPDX-License-Identifier: GPL-2.0

//! Products of matrices that both come at run time.

use super::{bytes, Layer};
use crate::f32_args as args;

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

impl Rows<'_> {
    fn check(&self, count: usize, n: usize) -> Option<*const u8> {
        has_rows(self.bytes, self.row, count, n)?;
        Some(self.bytes.as_ptr())
    }
}

impl RowsMut<'_> {
    /// Rows that are written must not overlap.
    pub(super) fn check(&mut self, count: usize, n: usize) -> Option<*mut u8> {
        has_rows(self.bytes, self.row, count, n)?;
        (count < 2 || bytes(n)? <= self.row).then_some(self.bytes.as_mut_ptr())
    }
}

/// `None` unless there are `count` rows of `n` elements.
fn has_rows(slice: &[u8], row: usize, count: usize, n: usize) -> Option<()> {
    match count.checked_sub(1) {
        Some(before) => {
            let end = before.checked_mul(row)?.checked_add(bytes(n)?)?;
            (end <= slice.len()).then_some(())
        }
        None => Some(()),
    }
}

/// Product of two matrices, see [`args::MatmulF32`].
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
}

impl Layer for Matmul<'_> {
    type Args = args::MatmulF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let (rows, columns) = if self.transposed {
            (self.n, self.k)
        } else {
            (self.k, self.n)
        };
        Some(args::MatmulF32 {
            x: self.x.check(self.m, self.k)?,
            x_row: self.x.row,
            b: self.b.check(rows, columns)?,
            b_row: self.b.row,
            y: self.y.check(self.m, self.n)?,
            y_row: self.y.row,
            m: self.m,
            n: self.n,
            k: self.k,
            scale: self.scale,
            transposed: u32::from(self.transposed),
        })
    }
}

/// Transposition, see [`args::TransposeF32`].
#[derive(Debug)]
pub struct Transpose<'a> {
    /// Input.
    pub x: Rows<'a>,
    /// Output.
    pub y: RowsMut<'a>,
    /// Rows of the input.
    pub rows: usize,
    /// Columns of the input.
    pub columns: usize,
}

impl Layer for Transpose<'_> {
    type Args = args::TransposeF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        Some(args::TransposeF32 {
            x: self.x.check(self.rows, self.columns)?,
            x_row: self.x.row,
            y: self.y.check(self.columns, self.rows)?,
            y_row: self.y.row,
            rows: self.rows,
            columns: self.columns,
        })
    }
}
