// SPDX-License-Identifier: GPL-2.0

//! Memory of a differentiable neural computer.

use super::matrix::{has_rows, written};
use super::{count, has, Layer};
use crate::f32_args as args;
use neural_core::float::{Allocation, Link, Mix, Usage, Write};

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

impl Layer for Usage<'_> {
    type Args = args::UsageF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.u, self.n)?;
        has(self.w, self.n)?;
        has_rows(self.read, self.read_row, self.heads, self.n)?;
        has(self.free, self.heads)?;
        Some(args::UsageF32 {
            u: self.u.as_mut_ptr(),
            w: self.w.as_ptr(),
            read: self.read.as_ptr(),
            read_row: self.read_row,
            free: self.free.as_ptr(),
            heads: self.heads,
            n: self.n,
        })
    }
}

impl Layer for Allocation<'_> {
    type Args = args::AllocationF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.u, self.n)?;
        let rows = count(self.y)?;
        let inside = self.first.checked_add(rows)? <= self.n;
        inside.then_some(args::AllocationF32 {
            u: self.u.as_ptr(),
            y: self.y.as_mut_ptr(),
            first: self.first,
            rows,
            n: self.n,
        })
    }
}

impl Layer for Write<'_> {
    type Args = args::WriteF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.w, self.rows)?;
        has(self.erase, self.n)?;
        has(self.add, self.n)?;
        Some(args::WriteF32 {
            x: written(&mut self.x, self.rows, self.n)?,
            x_row: self.x.row,
            w: self.w.as_ptr(),
            erase: self.erase.as_ptr(),
            add: self.add.as_ptr(),
            rows: self.rows,
            n: self.n,
        })
    }
}

impl Layer for Link<'_> {
    type Args = args::LinkF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.l, self.rows.checked_mul(self.n)?)?;
        has(self.p, self.n)?;
        has(self.w, self.n)?;
        let inside = self.first.checked_add(self.rows)? <= self.n;
        inside.then_some(args::LinkF32 {
            l: self.l.as_mut_ptr(),
            first: self.first,
            rows: self.rows,
            p: self.p.as_mut_ptr(),
            w: self.w.as_ptr(),
            n: self.n,
        })
    }
}
