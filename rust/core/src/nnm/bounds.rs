// SPDX-License-Identifier: GPL-2.0

//! Sums of weights that no input can overflow, and trees whose paths end.

use crate::error::{Error, Fault, Place};
use crate::fixed;
use crate::int16;
use crate::int8::pack;

use super::kind::OpKind;
use super::ops::last_dim;
use super::record::DType;
use super::trees::check_trees;
use super::{Model, Pause};

/// Checks that no input can overflow a sum, and that trees are trees.
pub(super) fn check_weights(model: &Model<'_>) -> Result<(), Error> {
    for i in 0..model.header.ops {
        let fault = |fault| Error::model(Place::Op(i), fault);
        model.pause.check()?;
        let op = model.op(i).ok_or(fault(Fault::Mismatch))?;
        if op.kind == OpKind::Forest {
            check_trees(model, &op, fault)?;
        }
        if !matches!(
            op.kind,
            OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d | OpKind::Lstm
        ) {
            continue;
        }
        let [_, w, b, _] = op.inputs;
        let constant = |index| model.tensor(index).ok_or(fault(Fault::Mismatch));
        let (w, b) = (constant(w)?, constant(b)?);
        let weights = model.data(&w).ok_or(fault(Fault::Mismatch))?;
        let bias = model.data(&b).ok_or(fault(Fault::Mismatch))?;
        let row_bytes = weights.len().checked_div(fixed::elements(bias).len());
        let row_bytes = row_bytes.unwrap_or(0);
        let bad = match (op.kind, w.dtype) {
            // Numbers that are too large become infinite.
            (_, DType::F32) => None,
            (OpKind::DepthwiseConv2d, _) => {
                let channels = fixed::elements(bias).len();
                pack::unsafe_depthwise_channel(weights, channels, bias)
            }
            (_, DType::I16) => {
                // CAST: widens.
                int16::unsafe_row(weights, last_dim(&w) as usize, bias)
            }
            (_, DType::I8) => pack::unsafe_gemm_row(weights, row_bytes, bias),
            _ => q16_row_too_large(model.pause, weights, row_bytes, bias)?,
        };
        if let Some(row) = bad {
            // CAST: a dimension of a tensor.
            let row = row as u32;
            return Err(fault(Fault::RowTooLarge { row }));
        }
    }
    Ok(())
}

/// The first row whose sum could overflow.
fn q16_row_too_large(
    pause: Pause<'_>,
    weights: &[u8],
    row_bytes: usize,
    bias: &[u8],
) -> Result<Option<usize>, Error> {
    let rows = weights.chunks_exact(row_bytes.max(1));
    for (i, (row, bias)) in rows.zip(fixed::elements(bias)).enumerate() {
        // Rows have at most 16 KiB.
        if i % 64 == 0 {
            pause.check()?;
        }
        if !row_fits(row, bias) {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Whether `2^31 * sum |w| + 2^16 * |b| + 2^15 <= 2^63 - 1`.
fn row_fits(weights: &[u8], bias: i32) -> bool {
    // At most 4096 * 2^31.
    let l1 = fixed::elements(weights).fold(0u64, |sum, w| {
        sum.saturating_add(u64::from(w.unsigned_abs()))
    });
    let room = (i64::MAX as u64)
        .saturating_sub(u64::from(bias.unsigned_abs()) << fixed::FRAC_BITS)
        .saturating_sub(1 << (fixed::FRAC_BITS - 1));
    l1 <= room >> 31
}
