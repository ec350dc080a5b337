// SPDX-License-Identifier: GPL-2.0

//! Memory of a differentiable neural computer.

use super::matrix::RowsMut;
use super::{has, Layer};
use crate::f32_args as args;

/// Weighted sum of three vectors, see [`args::MixF32`].
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

impl Layer for Mix<'_> {
    type Args = args::MixF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.y, self.n)?;
        let y = self.y.as_mut_ptr();
        let mut x = [y.cast_const(); 3];
        for (to, from) in x.iter_mut().zip(self.x) {
            if let Some(from) = from {
                has(from, self.n)?;
                *to = from.as_ptr();
            }
        }
        Some(args::MixF32 {
            x,
            f: self.f,
            y,
            n: self.n,
        })
    }
}

/// Usage of the rows of a DNC's memory, see [`args::UsageF32`].
#[derive(Debug)]
pub struct Usage<'a> {
    /// Usage, replaced.
    pub u: &'a mut [u8],
    /// Write weighting of the step before.
    pub w: &'a [u8],
    /// Read weightings of the step before.
    pub read: &'a [u8],
    /// Free gates, one a read head.
    pub free: &'a [u8],
    /// Read heads.
    pub heads: usize,
    /// Rows of the memory.
    pub n: usize,
}

impl Layer for Usage<'_> {
    type Args = args::UsageF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.u, self.n)?;
        has(self.w, self.n)?;
        has(self.read, self.heads.checked_mul(self.n)?)?;
        has(self.free, self.heads)?;
        Some(args::UsageF32 {
            u: self.u.as_mut_ptr(),
            w: self.w.as_ptr(),
            read: self.read.as_ptr(),
            free: self.free.as_ptr(),
            heads: self.heads,
            n: self.n,
        })
    }
}

/// Allocation weighting of a DNC, see [`args::AllocationF32`].
#[derive(Debug)]
pub struct Allocation<'a> {
    /// Usage.
    pub u: &'a [u8],
    /// Output.
    pub y: &'a mut [u8],
    /// Rows of the memory.
    pub n: usize,
}

impl Layer for Allocation<'_> {
    type Args = args::AllocationF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.u, self.n)?;
        has(self.y, self.n)?;
        Some(args::AllocationF32 {
            u: self.u.as_ptr(),
            y: self.y.as_mut_ptr(),
            n: self.n,
        })
    }
}

/// Write to a DNC's memory, see [`args::WriteF32`].
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

impl Layer for Write<'_> {
    type Args = args::WriteF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.w, self.rows)?;
        has(self.erase, self.n)?;
        has(self.add, self.n)?;
        Some(args::WriteF32 {
            x: self.x.check(self.rows, self.n)?,
            x_row: self.x.row,
            w: self.w.as_ptr(),
            erase: self.erase.as_ptr(),
            add: self.add.as_ptr(),
            rows: self.rows,
            n: self.n,
        })
    }
}

/// Temporal links of a DNC, see [`args::LinkF32`].
#[derive(Debug)]
pub struct Link<'a> {
    /// Links, `n` rows of `n`, changed.
    pub l: &'a mut [u8],
    /// Precedence weighting, replaced.
    pub p: &'a mut [u8],
    /// Write weighting.
    pub w: &'a [u8],
    /// Rows of the memory.
    pub n: usize,
}

impl Layer for Link<'_> {
    type Args = args::LinkF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.l, self.n.checked_mul(self.n)?)?;
        has(self.p, self.n)?;
        has(self.w, self.n)?;
        Some(args::LinkF32 {
            l: self.l.as_mut_ptr(),
            p: self.p.as_mut_ptr(),
            w: self.w.as_ptr(),
            n: self.n,
        })
    }
}
