// SPDX-License-Identifier: GPL-2.0

//! The sizes of operations, and what is counted at which place of a plan.

use crate::nnm::{last_dim, Model, Op, OpKind, Window};
use crate::profile::{self, Dims, Key, Site};

use super::{Plan, Step};

impl Model<'_> {
    /// The sizes that tell an operation apart from others of its kind, in the order that
    /// [`profile::Op`] names.
    pub(super) fn dims(&self, op: &Op) -> Option<Dims> {
        let [x, w, third, _] = op.inputs;
        let (x, y) = (self.tensor(x)?, self.tensor(op.output)?);
        let narrow = |elements: u64| u32::try_from(elements).ok();
        let rows_of = |elements: u64, n: u32| narrow(elements.checked_div(u64::from(n))?);
        let [p0, p1, p2, ..] = op.params.map(i32::unsigned_abs);
        let n = last_dim(&y);
        let rows = rows_of(y.elements(), n)?;
        let sizes = match op.kind {
            OpKind::Dense => [rows, n, last_dim(&x), 0],
            OpKind::Conv2d => {
                let [_, kh, kw, c] = self.tensor(w)?.dims;
                [rows, n, kh.checked_mul(kw)?.checked_mul(c)?, 0]
            }
            OpKind::DepthwiseConv2d | OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let [height, width] = Window::of(self, op).ok()?.window;
                [rows, n, height.checked_mul(width)?, 0]
            }
            OpKind::Lstm | OpKind::Gru => {
                let [_, columns, ..] = self.tensor(w)?.dims;
                let [steps, inputs, ..] = x.dims;
                [steps, columns.checked_sub(inputs)?, columns, 0]
            }
            OpKind::LstmCell | OpKind::GruCell => {
                let [_, columns, ..] = self.tensor(third)?.dims;
                [1, columns.checked_sub(last_dim(&x))?, columns, 0]
            }
            OpKind::Cosine => [n, last_dim(&x), 0, 0],
            // Many heads are rare, so that the usual two sizes are what is seen.
            OpKind::Dnc => [p0, p1, if p2 > 1 { p2 } else { 0 }, 0],
            OpKind::Attention => {
                let ([t, c, ..], [s, ..]) = (x.dims, self.tensor(w)?.dims);
                [p0, t, s, c.checked_div(p0)?]
            }
            OpKind::AttentionStep => {
                let [_, _, _, state] = op.inputs;
                let ([c, ..], [s, ..]) = (x.dims, self.tensor(state)?.dims);
                [p0, 1, s.checked_div(c.checked_mul(2)?)?, c.checked_div(p0)?]
            }
            OpKind::Forest => {
                let trees = narrow(self.tensor(third)?.elements())?;
                [trees, n, 0, 0]
            }
            OpKind::Interpolate => [rows, n, last_dim(&x), 0],
            OpKind::Normalise => [last_dim(&x), 0, 0, 0],
            OpKind::Mean => [rows_of(x.elements(), n)?, n, 0, 0],
            OpKind::Softmax | OpKind::LogSoftmax | OpKind::LayerNorm | OpKind::RmsNorm => {
                [rows, n, 0, 0]
            }
            _ => [narrow(y.elements())?, 0, 0, 0],
        };
        Some(Dims::new(&sizes))
    }
}

impl Plan {
    /// What is counted when the work at a place of this plan has ended, for a network of this id; `None`
    /// where nothing is, and the time belongs to the place that follows.
    ///
    /// The copies of input and output belong to the first and the last operation, if there is anything to
    /// be copied. `steps` are those that the plan came with.
    pub fn site(&self, steps: &[Step], place: usize, network: u32) -> Option<Site> {
        let steps = steps.get(..self.steps)?;
        if place != self.chain_place() {
            let copies = |step: &&Step| step.is_copy() && !step.is_in_place();
            let last = self.steps.saturating_sub(1);
            let copy = steps.get(last).filter(copies);
            let step = match steps.get(place)? {
                // The copy of the output.
                step if place == last && copies(&step) => steps.get(place.checked_sub(1)?)?,
                step if step.is_copy() => return None,
                _ if place.checked_add(1) == Some(last) && copy.is_some() => return None,
                step => step,
            };
            let key = Key {
                network,
                op: profile::Op::of(step.kind, step.dims.rank()),
                dtype: step.dtype,
                dims: step.dims,
            };
            return Some(Site::new(key, step.macs, u64::from(step.outputs)));
        }
        let steps = steps.get(..self.chain_steps())?;
        let dense = || steps.iter().filter(|step| step.kind == OpKind::Dense);
        let first = dense().next()?;
        let mut dims = Dims::NONE;
        dims.push(first.inputs);
        dense().for_each(|step| dims.push(step.outputs));
        let key = Key {
            network,
            op: profile::Op::Chain,
            dtype: first.dtype,
            dims,
        };
        let sum = |of: fn(&Step) -> u64| dense().map(of).fold(0, u64::saturating_add);
        let outputs = sum(|step| u64::from(step.outputs));
        Some(Site::new(key, sum(|step| step.macs), outputs))
    }
}
