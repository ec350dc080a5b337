// SPDX-License-Identifier: GPL-2.0

//! What decision trees and tables of embeddings ask of their operands.
//!
//! A node is four words: `feature | height << 16`, the threshold, and where to go if the feature is at
//! most the threshold, and if not: a node if it is not negative, else leaf `-1 - place`. The height of a
//! node is greater than those of the nodes that it leads to, so that every path ends, and a prediction
//! takes at most as many comparisons as the heights of the roots.

use crate::error::{Error, Fault};
use crate::fixed;
use crate::trees::SHIFTS;

use super::ops::{dim, last_dim, multiplier, rank, signed, Operands};
use super::record::{DType, Op, Tensor};
use super::Model;

/// Bytes of nodes and of leaves that are checked between two pauses.
const PAUSE_BYTES: usize = 1 << 16;

/// The words of a node.
fn node(bytes: &[u8]) -> [i32; 4] {
    let mut words = fixed::elements(bytes);
    [0; 4].map(|none| words.next().unwrap_or(none))
}

/// Feature and height.
fn halves(word: i32) -> (u32, u32) {
    // CAST: the same bits.
    let bits = word as u32;
    (bits & 0xffff, bits >> 16)
}

impl Operands<'_, '_> {
    pub(super) fn forest(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let nodes = self.constant(1, "input 1 (nodes)", DType::I32)?;
        let roots = self.constant(2, "input 2 (roots)", DType::I32)?;
        let leaves = self.constant(3, "input 3 (leaves)", DType::I32)?;
        let y = self.output(x.dtype)?;
        self.no_activation()?;
        dim("nodes", nodes.rank.saturating_sub(1), last_dim(&nodes), 4)?;
        rank("roots", &roots, 1)?;
        rank("output", &y, x.rank)?;
        let last = x.rank.saturating_sub(1);
        for ((i, have), want) in (0..last).zip(y.dims).zip(x.dims) {
            dim("output", i, have, want)?;
        }
        dim("output", last, last_dim(&y), last_dim(&leaves))?;
        let [mean, factor, shift, ..] = self.params();
        if matches!(x.dtype, DType::I8 | DType::I16) {
            signed("params[0] (mean; the factor has it)", mean, 0, 0)?;
            multiplier(factor)?;
            signed("params[2] (shift)", shift, -31, 31)?;
            return self.no_more_params(3);
        }
        signed("params[0] (mean)", mean, 0, 1)?;
        if x.dtype == DType::F32 {
            let (least, most) = SHIFTS;
            signed("params[1] (shift)", factor, least, most)?;
            return self.no_more_params(2);
        }
        self.no_more_params(1)
    }

    pub(super) fn embedding(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let table = self.constant(1, "input 1 (table)", x.dtype)?;
        self.end(2)?;
        let y = self.output(x.dtype)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        rank("table", &table, 2)?;
        rank("output", &y, x.rank.saturating_add(1))?;
        for ((i, have), want) in (0..x.rank).zip(y.dims).zip(x.dims) {
            dim("output", i, have, want)?;
        }
        dim("output", x.rank, last_dim(&y), last_dim(&table))
    }
}

/// Comparisons and additions for a sample of a forest; too many if the nodes are wrong, which
/// [`check_trees`] will say.
pub(super) fn forest_macs(model: &Model<'_>, op: &Op) -> Option<u64> {
    let [x, nodes, roots, leaves] = op.inputs;
    let (nodes, roots) = (model.tensor(nodes)?, model.tensor(roots)?);
    let n = u64::from(last_dim(&model.tensor(leaves)?));
    let data = model.data(&nodes)?;
    let height = |root: i32| {
        let at = usize::try_from(root).ok()?.checked_mul(16)?;
        let (_, height) = halves(fixed::elements(data.get(at..)?).next()?);
        Some(height)
    };
    let sum = fixed::elements(model.data(&roots)?).fold(0u64, |sum, root| {
        let steps = u64::from(height(root).unwrap_or(0));
        sum.saturating_add(steps).saturating_add(n)
    });
    let x = model.tensor(x)?;
    let rows = x.elements().checked_div(u64::from(last_dim(&x)))?;
    Some(rows.saturating_mul(sum))
}

/// Checks nodes, roots and leaves of a forest.
pub(super) fn check_trees(
    model: &Model<'_>,
    op: &Op,
    place: impl Fn(Fault) -> Error,
) -> Result<(), Error> {
    let mismatch = || place(Fault::Mismatch);
    let tensor = |index| -> Result<(Tensor, &[u8]), Error> {
        let tensor = model.tensor(index).ok_or_else(mismatch)?;
        let data = model.data(&tensor).ok_or_else(mismatch)?;
        Ok((tensor, data))
    };
    let [x, nodes, roots, leaves] = op.inputs;
    let x = model.tensor(x).ok_or_else(mismatch)?;
    let (_, nodes) = tensor(nodes)?;
    let (roots, root_data) = tensor(roots)?;
    let (leaves, leaf_data) = tensor(leaves)?;
    let rows = leaves.elements().checked_div(u64::from(last_dim(&leaves)));
    let rows = i32::try_from(rows.unwrap_or(0)).map_err(|_| mismatch())?;
    // CAST: at most 2^26 nodes fit into a file.
    let count = (nodes.len() / 16) as i32;
    let goes = |field, to: i32| {
        let least = rows.wrapping_neg();
        signed(field, to, least, count.wrapping_sub(1)).map_err(&place)
    };
    for (i, bytes) in nodes.chunks_exact(16).enumerate() {
        if i % (PAUSE_BYTES / 16) == 0 {
            model.pause.check()?;
        }
        let [word, _, left, right] = node(bytes);
        let (feature, height) = halves(word);
        let features = last_dim(&x);
        let of = |field, have: u32, min: u32, max: u32| {
            super::record::field(field, have, min, max).map_err(&place)
        };
        of("feature of a node", feature, 0, features.saturating_sub(1))?;
        of("height of a node", height, 1, 0xffff)?;
        for (field, to) in [("left of a node", left), ("right of a node", right)] {
            goes(field, to)?;
            let at = usize::try_from(to).ok().and_then(|to| to.checked_mul(16));
            if let Some(next) = at.and_then(|at| nodes.get(at..)) {
                let [word, ..] = node(next);
                let (_, below) = halves(word);
                let most = height.saturating_sub(1);
                of("height of a node below", below, 1, most)?;
            }
        }
    }
    for root in fixed::elements(root_data) {
        goes("root of a tree", root)?;
    }
    let mut greatest = 0u32;
    for part in leaf_data.chunks(PAUSE_BYTES) {
        model.pause.check()?;
        let part = fixed::elements(part).map(i32::unsigned_abs).max();
        greatest = greatest.max(part.unwrap_or(0));
    }
    // Sums of codes have 32 bits.
    let [trees, ..] = roots.dims;
    let most = u64::from(trees).saturating_mul(u64::from(greatest));
    match x.dtype == DType::I8 && most > i32::MAX as u64 {
        true => Err(place(Fault::Limit {
            field: "trees times the greatest leaf",
            have: most,
            max: i32::MAX as u64,
        })),
        false => Ok(()),
    }
}
