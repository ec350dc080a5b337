// SPDX-License-Identifier: GPL-2.0

//! What operations ask of their operands that only move elements.

use crate::error::Fault;

use super::ops::{dim, dtype, elements, rank, rank_of, signed, Operands};
use super::record::{field, DType};
use super::window::halves;
use super::NONE;

impl Operands<'_, '_> {
    pub(super) fn concat(&mut self) -> Result<(), Fault> {
        const NAMES: [&str; 4] = ["input 0", "input 1", "input 2", "input 3"];
        let first = self.activation(0, "input 0")?;
        self.one_of(&first, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let y = self.output(first.dtype)?;
        self.no_activation()?;
        self.no_more_params(1)?;
        let [axis, ..] = self.op.params;
        // CAST: at most 4.
        signed("params[0] (axis)", axis, 0, first.rank as i32 - 1)?;
        // CAST: at least 0.
        let axis = axis as u32;
        let mut sum = 0u32;
        let mut ended = false;
        for (slot, name) in NAMES.into_iter().enumerate() {
            let index = self.op.inputs.get(slot).copied().unwrap_or(NONE);
            if index == NONE && slot > 0 {
                ended = true;
                continue;
            }
            if ended {
                return Err(Fault::Field {
                    field: name,
                    have: u64::from(index),
                    min: u64::from(NONE),
                    max: u64::from(NONE),
                });
            }
            let x = self.activation(slot, name)?;
            dtype(name, &x, first.dtype)?;
            rank(name, &x, first.rank)?;
            for ((i, have), want) in (0..x.rank).zip(x.dims).zip(first.dims) {
                if i == axis {
                    sum = sum.saturating_add(have);
                } else {
                    dim(name, i, have, want)?;
                }
            }
        }
        rank("output", &y, first.rank)?;
        for ((i, have), want) in (0..y.rank).zip(y.dims).zip(first.dims) {
            dim("output", i, have, if i == axis { sum } else { want })?;
        }
        Ok(())
    }

    pub(super) fn pad(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        let [.., value, _, _] = self.op.params;
        match x.dtype {
            DType::I8 => signed("params[4] (value)", value, -128, 127)?,
            DType::I16 => signed("params[4] (value)", value, -32768, 32767)?,
            _ => {}
        }
        self.no_more_params(5)?;
        rank("output", &y, x.rank)?;
        for (i, (have, want)) in (0u32..)
            .zip(y.dims.into_iter().zip(x.dims))
            .take(rank_of(&x))
        {
            // CAST: below 4.
            let [before, after] = halves(self.op.params.get(i as usize).copied().unwrap_or(0));
            let want = want.saturating_add(before).saturating_add(after);
            dim("output", i, have, want)?;
        }
        for param in self.op.params.into_iter().take(4).skip(rank_of(&x)) {
            signed("params (pads of no dimension)", param, 0, 0)?;
        }
        Ok(())
    }

    pub(super) fn reshape(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        elements("elements of the output", y.elements(), x.elements())
    }

    pub(super) fn transpose(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(rank_of(&x))?;
        rank("output", &y, x.rank)?;
        let mut seen = 0u32;
        for ((i, have), axis) in (0..x.rank).zip(y.dims).zip(self.op.params) {
            // CAST: at most 4.
            signed("params (axis)", axis, 0, x.rank as i32 - 1)?;
            // CAST: 0..=3.
            let from = x.dims.get(axis as usize).copied().unwrap_or(0);
            dim("output", i, have, from)?;
            seen |= 1 << axis;
        }
        field("axes that are named", seen.count_ones(), x.rank, x.rank)
    }

    pub(super) fn slice(&mut self) -> Result<(), Fault> {
        let x = self.activation(0, "input 0 (x)")?;
        self.one_of(&x, &[DType::Q16, DType::I8, DType::I16, DType::F32])?;
        let y = self.output(x.dtype)?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(rank_of(&x))?;
        rank("output", &y, x.rank)?;
        let sizes = x.dims.into_iter().zip(y.dims).take(rank_of(&x));
        for ((have, size), start) in sizes.zip(self.params()) {
            let most = i32::try_from(have).unwrap_or(i32::MAX);
            signed("params (start)", start, 0, most.saturating_sub(1))?;
            // CAST: not negative.
            let end = (start as u32).saturating_add(size);
            field("end of a dimension", end, 1, have)?;
        }
        Ok(())
    }
}
