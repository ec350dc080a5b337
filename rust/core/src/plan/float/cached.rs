// SPDX-License-Identifier: GPL-2.0

//! Attention of one token over those before it, whose keys and values are a state: a ring of fixed
//! length.

use crate::error::Error;
use crate::fixed::{load, ELEMENT_BYTES};
use crate::float;
use crate::nnm::{Model, Op};
use crate::trees::{index_of_number, number};

use super::super::build::Builder;
use super::super::{product, usize_of, Kernels, Meter, Step};
use super::cut;

#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Cached {
    /// Elements of a token.
    c: usize,
    /// Tokens of the ring.
    tokens: usize,
    heads: usize,
    scale: u32,
}

impl Cached {
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [q, _, _, state] = op.inputs;
        let ([c, ..], [size, ..]) = (model.tensor(q)?.dims, model.tensor(state)?.dims);
        let [heads, scale, ..] = op.params;
        let (c, heads) = (usize_of(c), usize::try_from(heads).ok()?);
        let tokens = usize_of(size).checked_div(c.checked_mul(2)?)?;
        let elements = float::attention_elements(tokens, c.checked_div(heads)?)?;
        builder.temp(product(&[elements, ELEMENT_BYTES])?);
        Some(Cached {
            c,
            tokens,
            heads,
            // CAST: the same bits.
            scale: scale as u32,
        })
    }

    /// Puts the token into its place, and looks at all that are there.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        [q, k, v, state]: [&[u8]; 4],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        let row = self.c.saturating_mul(ELEMENT_BYTES);
        meter.copy(state.len())?;
        let (result, next) = y.split_at_mut_checked(row).ok_or_else(fault)?;
        next.get_mut(..state.len())
            .ok_or_else(fault)?
            .copy_from_slice(state);
        let ring = self.tokens.saturating_mul(row);
        let (keys, rest) = next.split_at_mut_checked(ring).ok_or_else(fault)?;
        let (values, position) = rest.split_at_mut_checked(ring).ok_or_else(fault)?;
        let position = position.get_mut(..ELEMENT_BYTES).ok_or_else(fault)?;
        // Below twice the length, so that it tells whether the ring is full.
        let count = index_of_number(load(position), self.tokens.saturating_mul(2));
        let slot = match count.checked_sub(self.tokens) {
            Some(slot) => slot,
            None => count,
        };
        let after = count.saturating_add(1);
        let seen = after.min(self.tokens);
        let after = match after < self.tokens.saturating_mul(2) {
            true => after,
            false => self.tokens,
        };
        // CAST: at most 2^17.
        position.copy_from_slice(&number(after as i64, 1, 0).to_le_bytes());
        for (ring, token) in [(&mut *keys, k), (&mut *values, v)] {
            let place = ring.get_mut(slot.saturating_mul(row)..);
            let place = place.and_then(|ring| ring.get_mut(..row));
            place.ok_or_else(fault)?.copy_from_slice(token);
        }
        let layer = float::Attention {
            q,
            k: keys,
            v: values,
            y: result,
            row,
            temp,
            t: 1,
            s: seen,
            heads: self.heads,
            d: self.c.checked_div(self.heads).unwrap_or(0),
            causal: false,
            scale: self.scale,
        };
        cut::attention(meter, layer)
    }
}
