// SPDX-License-Identifier: GPL-2.0

//! What dense layers and convolutions ask of their operands.

use crate::error::Fault;

use super::floats::most;
use super::ops::{dim, last_dim, rank, shape, Operands};
use super::record::DType;
use super::window::Window;

/// The most codes that a result is the sum of: rows of them cannot be cut. Up to a third of it is done
/// by vector code.
const CODE_ROW: u64 = 1 << 16;

impl Operands<'_, '_> {
    /// What follows the sums of a layer: requantisation and limits, or a function.
    fn after_sums(&mut self, dtype: DType, n: u32) -> Result<(), Fault> {
        self.no_activation()?;
        if dtype == DType::F32 {
            self.end(3)?;
            return self.function();
        }
        self.row_requant(3, n)?;
        self.clamp()
    }

    pub(super) fn dense(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::F32])?;
        let w = self.constant(1, "input 1 (weights)", x.dtype)?;
        let bias = match x.dtype {
            DType::I8 => DType::I32,
            other => other,
        };
        let b = self.constant(2, "input 2 (bias)", bias)?;
        let y = self.output(x.dtype)?;
        if x.dtype == DType::Q16 {
            self.end(3)?;
            rank("x", &x, 1)?;
        }
        rank("weights", &w, 2)?;
        rank("bias", &b, 1)?;
        rank("output", &y, x.rank)?;
        let [n, k, ..] = w.dims;
        let [biases, ..] = b.dims;
        let last = x.rank.saturating_sub(1);
        dim("weights", 1, k, last_dim(&x))?;
        dim("bias", 0, biases, n)?;
        if x.dtype == DType::I8 {
            most("inputs of a result", k, CODE_ROW)?;
        }
        dim("output", last, last_dim(&y), n)?;
        for ((i, have), want) in (0..last).zip(y.dims).zip(x.dims) {
            dim("output", i, have, want)?;
        }
        if x.dtype != DType::Q16 {
            self.after_sums(x.dtype, n)?;
            self.no_more_params(2)?;
        } else {
            let used = matches!(self.op.activation, crate::act::Activation::LeakyRelu { .. });
            self.no_more_params(usize::from(used))?;
        }
        Ok(())
    }

    pub(super) fn conv(&mut self, depthwise: bool) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let w = self.constant(1, "input 1 (weights)", x.dtype)?;
        let bias = match x.dtype {
            DType::I8 => DType::I32,
            other => other,
        };
        let b = self.constant(2, "input 2 (bias)", bias)?;
        let y = self.output(x.dtype)?;
        rank("x", &x, 3)?;
        rank("weights", &w, if depthwise { 3 } else { 4 })?;
        rank("bias", &b, 1)?;
        rank("output", &y, 3)?;
        self.no_more_params(6)?;
        let window = Window::of(self.model, self.op)?;
        let n = last_dim(&b);
        let [_, _, c, _] = x.dims;
        if depthwise {
            let [_, _, channels, _] = w.dims;
            dim("weights", 2, channels, n)?;
            if n % c.max(1) != 0 {
                return Err(Fault::Shape {
                    operand: "weights",
                    dim: 2,
                    have: n,
                    want: c,
                });
            }
        } else {
            let [rows, _, _, columns] = w.dims;
            dim("weights", 0, rows, n)?;
            dim("weights", 3, columns, c)?;
        }
        if x.dtype == DType::I8 {
            let [rows, columns] = window.window;
            let inputs = rows.saturating_mul(columns);
            let inputs = inputs.saturating_mul(if depthwise { 1 } else { c });
            most("inputs of a result", inputs, CODE_ROW)?;
        }
        let [out_h, out_w] = window.out;
        shape("output", &y, &[out_h, out_w, n])?;
        self.after_sums(x.dtype, n)
    }
}
