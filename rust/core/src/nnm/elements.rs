// SPDX-License-Identifier: GPL-2.0

//! What layers ask of their operands whose results depend on few elements each: pools, sums and
//! products of two tensors, means, softmax, tables.

use crate::error::Fault;
use crate::float::work;

use super::floats::most;
use super::kind::OpKind;
use super::ops::{
    dim, elements, last_dim, multiplier, rank, rank_of, same_shape, shape, signed, Operands,
};
use super::record::{field, DType};
use super::window::Window;

/// Sums of so many 8-bit differences stay within 32 bits.
fn pixels(field: &'static str, have: u64) -> Result<(), Fault> {
    let max = 1 << 22;
    match have > max {
        true => Err(Fault::Limit { field, have, max }),
        false => Ok(()),
    }
}

impl Operands<'_, '_> {
    pub(super) fn pool(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        rank("x", &x, 3)?;
        self.no_activation()?;
        match x.dtype {
            DType::I8 => self.clamp()?,
            _ => self.zero_params(0, 2)?,
        }
        self.no_more_params(6)?;
        let window = Window::of(self.model, self.op)?;
        let ([out_h, out_w], [_, _, c, _]) = (window.out, x.dims);
        let [rows, columns] = window.window;
        pixels(
            "pixels of the window",
            u64::from(rows).saturating_mul(u64::from(columns)),
        )?;
        if x.dtype == DType::F32 {
            let [height, width, _] = window.image;
            let inside = height.min(rows).saturating_mul(width.min(columns));
            most("pixels of a pool's window", inside, work::POOL_PIXELS)?;
        }
        shape("output", &y, &[out_h, out_w, c])
    }

    pub(super) fn binary(&mut self) -> Result<(), Fault> {
        let a = self.activation(0, "input 0 (a)")?;
        self.one_of(&a, &[DType::I8, DType::F32])?;
        let b = self.activation_or_constant(1, "input 1 (b)", a.dtype)?;
        let y = self.output(a.dtype)?;
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
        self.no_activation()?;
        if a.dtype == DType::F32 {
            self.end(2)?;
            self.function()?;
            return self.no_more_params(2);
        }
        self.requant(2, if self.op.kind == OpKind::Mul { 1 } else { 3 })?;
        self.end(3)?;
        self.clamp()?;
        // A constant says its zero point here, as only activations carry one.
        self.zero_param(2, "params[2] (zero point of a constant b)")?;
        self.no_more_params(3)?;
        Ok(())
    }

    fn zero_param(&self, at: usize, name: &'static str) -> Result<(), Fault> {
        signed(
            name,
            self.op.params.get(at).copied().unwrap_or(0),
            -128,
            127,
        )
    }

    pub(super) fn mean(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        let constants = match x.dtype {
            DType::I8 => {
                self.requant(1, 1)?;
                2
            }
            _ => 1,
        };
        self.end(constants)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        dim(
            "output",
            y.rank.saturating_sub(1),
            last_dim(&y),
            last_dim(&x),
        )?;
        elements(
            "elements of the output",
            y.elements(),
            u64::from(last_dim(&x)),
        )?;
        pixels("rows", x.elements() / u64::from(last_dim(&x)).max(1))
    }

    pub(super) fn softmax(&mut self) -> Result<(), Fault> {
        /// 2^-8 as `f32`.
        const SCALE: u32 = (127 - 8) << 23;
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8, DType::F32])?;
        let y = self.output(x.dtype)?;
        same_shape("output", &y, &x)?;
        self.end(1)?;
        self.no_activation()?;
        if x.dtype == DType::F32 {
            return self.no_more_params(0);
        }
        let [mult, shift, diff_min, ..] = self.op.params;
        multiplier(mult)?;
        signed("params[1] (shift)", shift, -31, 31)?;
        signed("params[2] (least difference)", diff_min, i32::MIN, 0)?;
        self.no_more_params(3)?;
        field("scale of the output, as bits", y.scale_bits, SCALE, SCALE)?;
        signed("zero_point of the output", y.zero_point, -128, -128)?;
        // The sum of the exponentials, Q12.19, stays within 32 bits.
        if last_dim(&x) > 4096 {
            return Err(Fault::Limit {
                field: "elements of a row",
                have: u64::from(last_dim(&x)),
                max: 4096,
            });
        }
        Ok(())
    }

    pub(super) fn lut(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::I8])?;
        let t = self.constant(1, "input 1 (table)", DType::I8)?;
        shape("table", &t, &[256])?;
        let y = self.output(DType::I8)?;
        same_shape("output", &y, &x)?;
        self.end(2)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        Ok(())
    }
}
