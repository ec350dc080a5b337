// SPDX-License-Identifier: GPL-2.0

//! What a long short-term memory of codes asks of its operands.
//!
//! Requantisation `R[24]`, in this order: for each gate (input, forget, candidate, output) multiplier and
//! shift of the sums of the input and of those of the state, both to 12 fraction bits; multipliers and
//! shifts of the forgotten cell, of what is new in it, and of the output; then the shift of the cell
//! (its scale is 2^-(12 + shift)) and its limit, 0 for none.

use crate::error::Fault;
use crate::fixed;

use super::ops::{dim, last_dim, multiplier, rank, shape, signed, Operands};
use super::record::DType;

impl Operands<'_, '_> {
    pub(super) fn lstm_codes(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        let w = self.constant(1, "input 1 (weights)", DType::I8)?;
        let b = self.constant(2, "input 2 (bias)", DType::I32)?;
        let r = self.constant(3, "requantisation", DType::I32)?;
        let y = self.output(DType::I8)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        rank("x", &x, 2)?;
        rank("weights", &w, 2)?;
        let [t, ..] = x.dims;
        let [rows, columns, ..] = w.dims;
        let n = rows / 4;
        dim("weights", 0, rows, n.saturating_mul(4).max(4))?;
        dim("weights", 1, columns, last_dim(&x).saturating_add(n))?;
        shape("bias", &b, &[rows])?;
        shape("requantisation", &r, &[24])?;
        shape("output", &y, &[t, n])?;
        let data = self.numbers(&r)?;
        for (i, number) in fixed::elements(data).enumerate() {
            match i {
                22 => signed("shift of the cell", number, -12, 15)?,
                23 => signed("limit of the cell", number, 0, i32::from(i16::MAX))?,
                _ if i % 2 == 0 => multiplier(number)?,
                _ => signed("shift", number, -31, 31)?,
            }
        }
        Ok(())
    }
}
