// SPDX-License-Identifier: GPL-2.0

//! Linear interpolation of rows, as a product with a matrix that has two weights in a row: whatever
//! multiplies matrices fast does this, too.

use crate::fixed::ELEMENT_BYTES;
use crate::float;
use crate::int8::{panel_rows, LANES, PANEL};
use crate::nnm::{last_dim, Model, Op};
use crate::trees::number;

use super::super::build::Builder;
use super::super::patches::Patches;
use super::super::{usize_of, Part};
use super::{Products, NO_ACT};

impl Products {
    /// From rows of as many elements as the input has to rows of as many as the output has.
    pub(super) fn interpolation(
        model: &Model<'_>,
        op: &Op,
        builder: &mut Builder<'_>,
    ) -> Option<Self> {
        let [x, ..] = op.inputs;
        let x = model.tensor(x)?;
        let (k, n) = (
            usize_of(last_dim(&x)),
            usize_of(last_dim(&model.tensor(op.output)?)),
        );
        let rows = usize::try_from(x.elements()).ok()?.checked_div(k)?;
        let lanes = n.checked_next_multiple_of(LANES)?;
        Some(Products {
            patches: Patches::rows(rows, n, k, ELEMENT_BYTES, builder)?,
            weights: Part::new(builder, float::packed_gemm_bytes(n, 1, k)?)?,
            bias: Part::new(builder, lanes.checked_mul(ELEMENT_BYTES)?)?,
            act: NO_ACT,
        })
    }

    /// Puts the weights into their place, which holds zeros.
    pub(super) fn pack_interpolation(&self, dst: &mut [u8]) -> Option<()> {
        let Patches { n, k, .. } = self.patches;
        let weights = self.weights.of_mut(dst)?;
        let mut put = |row: usize, column: usize, bits: u32| {
            let place = place_of(n, k, row, column)?;
            let to = weights.get_mut(place..)?.get_mut(..ELEMENT_BYTES)?;
            to.copy_from_slice(&bits.to_le_bytes());
            Some(())
        };
        let last = k.checked_sub(1)?;
        let whole = n.checked_mul(2)?;
        for row in 0..n {
            // (row + 1/2) k / n - 1/2, but not below 0.
            let middle = row.checked_mul(2)?.checked_add(1)?.checked_mul(k)?;
            let from = middle.saturating_sub(n);
            let (column, rest) = (from.checked_div(whole)?, from.checked_rem(whole)?);
            // CAST: at most 2^17.
            let share = |part: usize| number(part as i64, whole as u32, 0);
            if column >= last || rest == 0 {
                put(row, column.min(last), share(whole))?;
            } else {
                put(row, column, share(whole.checked_sub(rest)?))?;
                put(row, column.checked_add(1)?, share(rest))?;
            }
        }
        self.patches.pack(dst)
    }
}

/// Where a weight of a matrix of `n` rows and `k` columns lies, see [`float::Gemm`].
fn place_of(n: usize, k: usize, row: usize, column: usize) -> Option<usize> {
    let element = if float::by_row(n, k) {
        row.checked_mul(k)?.checked_add(column)?
    } else {
        let within = row.checked_rem(PANEL)?;
        let top = row.checked_sub(within)?;
        let group = panel_rows(n.checked_sub(top)?).checked_mul(column)?;
        top.checked_mul(k)?
            .checked_add(group)?
            .checked_add(within)?
    };
    element.checked_mul(ELEMENT_BYTES)
}
