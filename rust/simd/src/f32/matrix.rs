// SPDX-License-Identifier: GPL-2.0

//! Products of matrices that both come at run time.

use super::{bytes, Layer};
use crate::f32_args as args;
use neural_core::float::{Matmul, Rows, RowsMut};

fn read(rows: &Rows<'_>, count: usize, n: usize) -> Option<*const u8> {
    has_rows(rows.bytes, rows.row, count, n)?;
    Some(rows.bytes.as_ptr())
}

/// Rows that are written must not overlap.
pub(super) fn written(rows: &mut RowsMut<'_>, count: usize, n: usize) -> Option<*mut u8> {
    has_rows(rows.bytes, rows.row, count, n)?;
    (count < 2 || bytes(n)? <= rows.row).then_some(rows.bytes.as_mut_ptr())
}

/// `None` unless there are `count` rows of `n` elements.
pub(super) fn has_rows(slice: &[u8], row: usize, count: usize, n: usize) -> Option<()> {
    match count.checked_sub(1) {
        Some(before) => {
            let end = before.checked_mul(row)?.checked_add(bytes(n)?)?;
            (end <= slice.len()).then_some(())
        }
        None => Some(()),
    }
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
        if self.more && self.transposed {
            return None;
        }
        Some(args::MatmulF32 {
            x: read(&self.x, self.m, self.k)?,
            x_row: self.x.row,
            b: read(&self.b, rows, columns)?,
            b_row: self.b.row,
            y: written(&mut self.y, self.m, self.n)?,
            y_row: self.y.row,
            m: self.m,
            n: self.n,
            k: self.k,
            scale: self.scale,
            transposed: u32::from(self.transposed),
            more: u32::from(self.more),
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
            x: read(&self.x, self.rows, self.columns)?,
            x_row: self.x.row,
            y: written(&mut self.y, self.columns, self.rows)?,
            y_row: self.y.row,
            rows: self.rows,
            columns: self.columns,
        })
    }
}
