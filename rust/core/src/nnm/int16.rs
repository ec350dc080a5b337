// SPDX-License-Identifier: GPL-2.0

//! What layers of 16-bit codes ask of their operands.

use crate::act::Activation;
use crate::error::Fault;
use crate::fixed;

use super::kind::OpKind;
use super::ops::{dim, last_dim, multiplier, rank, rank_of, same_shape, shape, signed, Operands};
use super::record::DType;

impl Operands<'_, '_> {
    pub(super) fn dense_int16(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        let w = self.constant(1, "input 1 (weights)", DType::I16)?;
        let b = self.constant(2, "input 2 (bias)", DType::I32)?;
        let y = self.output(DType::I16)?;
        rank("weights", &w, 2)?;
        rank("output", &y, x.rank)?;
        let [n, k, ..] = w.dims;
        let last = x.rank.saturating_sub(1);
        dim("weights", 1, k, last_dim(&x))?;
        shape("bias", &b, &[n, 2])?;
        dim("output", last, last_dim(&y), n)?;
        for ((i, have), want) in (0..last).zip(y.dims).zip(x.dims) {
            dim("output", i, have, want)?;
        }
        self.row_requant(3, n)?;
        let [slope, mult, shift, ..] = self.params();
        match self.op.activation {
            Activation::Linear | Activation::Relu => return self.no_more_params(0),
            Activation::LeakyRelu { .. } => {}
            _ => signed("params[0] (not used here)", slope, 0, 0)?,
        }
        multiplier(mult)?;
        signed("params[2] (shift)", shift, -31, 31)?;
        self.no_more_params(3)
    }

    pub(super) fn pair_int16(&mut self) -> Result<(), Fault> {
        let a = self.activation(0, "input 0 (a)")?;
        let b = self.activation_or_constant(1, "input 1 (b)", DType::I16)?;
        let y = self.output(DType::I16)?;
        same_shape("output", &y, &a)?;
        // The dimensions of b are the last ones of a.
        let skip = rank_of(&a).checked_sub(rank_of(&b)).ok_or(Fault::Rank {
            operand: "input 1 (b)",
            have: b.rank,
            want: a.rank,
        })?;
        for ((i, have), want) in (0..b.rank).zip(b.dims).zip(a.dims.into_iter().skip(skip)) {
            dim("input 1 (b)", i, have, want)?;
        }
        self.end(3)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        if self.op.kind == OpKind::Mul {
            return self.requant(2, 1);
        }
        let name = "requantisation";
        let r = self.constant(2, name, DType::I32)?;
        shape(name, &r, &[3])?;
        let shift = fixed::elements(self.numbers(&r)?).nth(2).unwrap_or(0);
        signed("shift", shift, 0, 62)
    }
}
