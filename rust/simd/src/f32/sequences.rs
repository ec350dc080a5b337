// SPDX-License-Identifier: GPL-2.0

//! Layers of sequences: recurrent cells, attention.

use super::{count, has, Layer};
use crate::f32_args as args;
use neural_core::float::{attention_elements, Attention, GruCell, LstmCell, ATTENTION_ROWS};

const _: () = assert!(ATTENTION_ROWS == args::ATTENTION_ROWS);

impl Layer for LstmCell<'_> {
    type Args = args::LstmF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let n = count(self.h)?;
        has(self.gates, n.checked_mul(4)?)?;
        has(self.c, n)?;
        Some(args::LstmF32 {
            gates: self.gates.as_ptr(),
            c: self.c.as_mut_ptr(),
            h: self.h.as_mut_ptr(),
            n,
        })
    }
}

impl Layer for GruCell<'_> {
    type Args = args::GruF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let n = count(self.h)?;
        let gates = n.checked_mul(3)?;
        has(self.x, gates)?;
        has(self.r, gates)?;
        Some(args::GruF32 {
            x: self.x.as_ptr(),
            s: self.r.as_ptr(),
            h: self.h.as_mut_ptr(),
            n,
        })
    }
}

impl Layer for Attention<'_> {
    type Args = args::AttentionF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.temp, attention_elements(self.s, self.d)?)?;
        let size = self.heads.checked_mul(self.d)?;
        let end = |rows: usize| {
            let before = rows.checked_sub(1)?.checked_mul(self.row)?;
            before.checked_add(super::bytes(size)?)
        };
        let (queries, tokens) = (end(self.t)?, end(self.s)?);
        let enough = queries <= self.q.len().min(self.y.len());
        if !enough || tokens > self.k.len().min(self.v.len()) || super::bytes(size)? > self.row {
            return None;
        }
        self.t.checked_add(self.s)?.checked_add(ATTENTION_ROWS)?;
        Some(args::AttentionF32 {
            q: self.q.as_ptr(),
            k: self.k.as_ptr(),
            v: self.v.as_ptr(),
            y: self.y.as_mut_ptr(),
            row: self.row,
            queries: self.t,
            tokens: self.s,
            dim: self.d,
            heads: self.heads,
            scale: self.scale,
            causal: u32::from(self.causal),
            scratch: self.temp.as_mut_ptr(),
        })
    }
}
