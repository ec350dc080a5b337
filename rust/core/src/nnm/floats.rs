// SPDX-License-Identifier: GPL-2.0

//! What operations that exist in single precision only ask of their operands, and how parameters that
//! are floating-point numbers are checked without computing with any.

use crate::error::Fault;
use crate::float::{work, Function};

use super::ops::{dim, dtype, last_dim, rank, same_shape, shape, signed, Operands};
use super::record::{DType, Op, Tensor};

/// Checks that the bits are those of a positive, finite and normal number.
fn positive(bits: i32) -> Result<(), Fault> {
    // CAST: the same bits.
    let bits = bits as u32;
    match bits >> 23 {
        1..=254 => Ok(()),
        _ => Err(Fault::Scale { bits }),
    }
}

/// Checks that a layer can be cut into pieces that are no more than a section may have.
pub(super) fn most(field: &'static str, have: u32, max: u64) -> Result<(), Fault> {
    let have = u64::from(have);
    match have > max {
        true => Err(Fault::Limit { field, have, max }),
        false => Ok(()),
    }
}

impl Operands<'_, '_> {
    /// A function and its slope in parameters 0 and 1.
    pub(super) fn function(&self) -> Result<(), Fault> {
        let [code, slope, ..] = self.params();
        let function = u32::try_from(code).ok().and_then(Function::from_code);
        let Some(function) = function else {
            return Err(Fault::Signed {
                field: "params[0] (function)",
                have: code,
                min: 0,
                max: 15,
            });
        };
        if !function.has_slope() {
            return self.zero_params(1, 1);
        }
        // CAST: the same bits.
        match (slope as u32 >> 23) & 0xff {
            255 => Err(Fault::Scale { bits: slope as u32 }),
            _ => Ok(()),
        }
    }

    /// Zeros in `count` parameters from `from` on.
    pub(super) fn zero_params(&self, from: usize, count: usize) -> Result<(), Fault> {
        for param in self.params().into_iter().skip(from).take(count) {
            signed("params (not used here)", param, 0, 0)?;
        }
        Ok(())
    }

    fn float(&self, slot: usize, name: &'static str) -> Result<Tensor, Fault> {
        let tensor = self.activation(slot, name)?;
        dtype(name, &tensor, DType::F32)?;
        Ok(tensor)
    }

    pub(super) fn map(&mut self) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        same_shape("output", &self.output(DType::F32)?, &x)?;
        self.end(1)?;
        self.no_activation()?;
        self.function()?;
        self.no_more_params(2)
    }

    pub(super) fn log_softmax(&mut self) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        same_shape("output", &self.output(DType::F32)?, &x)?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(0)
    }

    pub(super) fn norm(&mut self, with_mean: bool) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        same_shape("output", &self.output(DType::F32)?, &x)?;
        let n = last_dim(&x);
        most("elements of a row of a norm", n, work::NORM_ROW)?;
        let gamma = self.constant(1, "input 1 (gamma)", DType::F32)?;
        shape("gamma", &gamma, &[n])?;
        if with_mean {
            let beta = self.constant(2, "input 2 (beta)", DType::F32)?;
            shape("beta", &beta, &[n])?;
        }
        self.end(if with_mean { 3 } else { 2 })?;
        self.no_activation()?;
        let [eps, ..] = self.params();
        positive(eps)?;
        self.no_more_params(1)
    }

    /// A number of heads that `c` columns can be divided into.
    fn heads(&self, c: u32, heads: i32) -> Result<(), Fault> {
        let columns = i32::try_from(c).unwrap_or(i32::MAX);
        signed("params[0] (heads)", heads, 1, columns)?;
        if columns.checked_rem(heads) != Some(0) {
            return Err(Fault::Shape {
                operand: "q",
                dim: 1,
                have: c,
                // CAST: at least 1.
                want: heads as u32,
            });
        }
        let d = c.checked_div(heads.unsigned_abs()).unwrap_or(c);
        most("elements of a head of attention", d, work::COMPARED_ROW)
    }

    pub(super) fn attention(&mut self) -> Result<(), Fault> {
        let q = self.float(0, "input 0 (q)")?;
        let k = self.float(1, "input 1 (k)")?;
        let v = self.float(2, "input 2 (v)")?;
        self.end(3)?;
        for (name, tensor) in [("q", &q), ("k", &k), ("v", &v)] {
            rank(name, tensor, 2)?;
            dim(name, 1, last_dim(tensor), last_dim(&q))?;
        }
        let ([t, c, ..], [s, ..], [values, ..]) = (q.dims, k.dims, v.dims);
        dim("v", 0, values, s)?;
        same_shape("output", &self.output(DType::F32)?, &q)?;
        self.no_activation()?;
        let [heads, causal, scale, ..] = self.params();
        self.heads(c, heads)?;
        signed("params[1] (causal)", causal, 0, 1)?;
        if causal == 1 && s < t {
            return dim("k", 0, s, t);
        }
        positive(scale)?;
        self.no_more_params(3)
    }

    /// Checks `W[gates h, i + h]` and `b[biases h]`; gives `h`.
    fn gates(&mut self, slot: usize, i: u32, gates: u32, biases: u32) -> Result<u32, Fault> {
        let w = self.constant(slot, "weights", DType::F32)?;
        let b = self.constant(slot.saturating_add(1), "bias", DType::F32)?;
        self.end(slot.saturating_add(2))?;
        self.no_activation()?;
        self.no_more_params(0)?;
        rank("weights", &w, 2)?;
        let [rows, columns, ..] = w.dims;
        let h = rows / gates.max(1);
        dim("weights", 0, rows, h.saturating_mul(gates).max(gates))?;
        dim("weights", 1, columns, i.saturating_add(h))?;
        shape("bias", &b, &[h.saturating_mul(biases)])?;
        Ok(h)
    }

    pub(super) fn recurrent(&mut self, gates: u32, biases: u32) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        rank("x", &x, 2)?;
        let [t, i, ..] = x.dims;
        let h = self.gates(1, i, gates, biases)?;
        shape("output", &self.output(DType::F32)?, &[t, h])
    }

    pub(super) fn recurrent_cell(
        &mut self,
        gates: u32,
        biases: u32,
        states: u32,
    ) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        let s = self.float(1, "input 1 (state)")?;
        rank("x", &x, 1)?;
        let [i, ..] = x.dims;
        let h = self.gates(2, i, gates, biases)?;
        shape("state", &s, &[h.saturating_mul(states)])?;
        same_shape("output", &self.output(DType::F32)?, &s)
    }

    pub(super) fn cosine(&mut self) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        let rows = self.activation_or_constant(1, "input 1 (rows)", DType::F32)?;
        self.end(2)?;
        self.no_activation()?;
        rank("x", &x, 1)?;
        rank("rows", &rows, 2)?;
        let ([d, ..], [n, columns, ..]) = (x.dims, rows.dims);
        dim("rows", 1, columns, d)?;
        most("elements of a row of cosine", d, work::COMPARED_ROW)?;
        shape("output", &self.output(DType::F32)?, &[n])?;
        let [eps, ..] = self.params();
        positive(eps)?;
        self.no_more_params(1)
    }

    pub(super) fn interpolate(&mut self) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        self.end(1)?;
        self.no_activation()?;
        self.no_more_params(0)?;
        let y = self.output(DType::F32)?;
        rank("output", &y, x.rank)?;
        let last = x.rank.saturating_sub(1);
        for ((i, have), want) in (0..last).zip(y.dims).zip(x.dims) {
            dim("output", i, have, want)?;
        }
        Ok(())
    }

    pub(super) fn attention_step(&mut self) -> Result<(), Fault> {
        let q = self.float(0, "input 0 (q)")?;
        let k = self.float(1, "input 1 (k)")?;
        let v = self.float(2, "input 2 (v)")?;
        let state = self.float(3, "input 3 (state)")?;
        rank("q", &q, 1)?;
        same_shape("k", &k, &q)?;
        same_shape("v", &v, &q)?;
        rank("state", &state, 1)?;
        let ([c, ..], [size, ..]) = (q.dims, state.dims);
        // Whole tokens, at least one, and the position.
        let token = c.saturating_mul(2);
        let tokens = size.checked_div(token).unwrap_or(0).max(1);
        let want = tokens.saturating_mul(token).saturating_add(1);
        dim("state", 0, size, want)?;
        let y = self.output(DType::F32)?;
        shape("output", &y, &[c.saturating_add(size)])?;
        self.no_activation()?;
        let [heads, scale, ..] = self.params();
        self.heads(c, heads)?;
        positive(scale)?;
        self.no_more_params(2)
    }

    pub(super) fn normalise(&mut self) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (x)")?;
        let state = self.float(1, "input 1 (state)")?;
        self.end(2)?;
        self.no_activation()?;
        rank("x", &x, 1)?;
        let c = last_dim(&x);
        let size = c.saturating_mul(2).saturating_add(1);
        shape("state", &state, &[size])?;
        shape(
            "output",
            &self.output(DType::F32)?,
            &[c.saturating_add(size)],
        )?;
        let [range, samples, eps, ..] = self.params();
        signed("params[0] (range)", range, 0, 1)?;
        signed("params[1] (samples)", samples, 1, 1 << 23)?;
        positive(eps)?;
        self.no_more_params(3)
    }

    pub(super) fn dnc(&mut self) -> Result<(), Fault> {
        let x = self.float(0, "input 0 (interface)")?;
        let state = self.float(1, "input 1 (state)")?;
        self.end(2)?;
        self.no_activation()?;
        let [rows, width, heads, eps, ..] = self.params();
        signed("params[0] (rows)", rows, 1, 1 << 16)?;
        signed("params[1] (width)", width, 1, 1 << 16)?;
        signed("params[2] (heads)", heads, 1, 1 << 16)?;
        positive(eps)?;
        self.no_more_params(4)?;
        let sizes = computer_sizes(self.op).ok_or(Fault::Mismatch)?;
        shape("interface", &x, &[sizes.0])?;
        shape("state", &state, &[sizes.1])?;
        // CAST: positive.
        let reads = (width as u32).saturating_mul(heads as u32);
        let want = reads.saturating_add(sizes.1);
        shape("output", &self.output(DType::F32)?, &[want])?;
        most("read heads", heads.unsigned_abs(), work::HEADS)
    }
}

/// Elements of the interface vector and of the state of a differentiable neural computer, at most
/// 2^32 - 1.
pub(crate) fn computer_sizes(op: &Op) -> Option<(u32, u32)> {
    let [rows, width, heads, ..] = op.params;
    let size = |n: i32| u32::try_from(n).ok();
    let (n, w, r) = (size(rows)?, size(width)?, size(heads)?);
    let sum = |parts: &[u32]| parts.iter().fold(0u32, |sum, &n| sum.saturating_add(n));
    let times = |a: u32, b: u32| a.saturating_mul(b);
    let interface = sum(&[times(w, r), times(3, w), times(5, r), 3]);
    let state = sum(&[times(n, w), times(3, n), times(r, n), times(n, n)]);
    Some((interface, state))
}
