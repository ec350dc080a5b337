// SPDX-License-Identifier: GPL-2.0

//! Execution plans: what is computed in which order, from where to where.
//!
//! A plan is made once, when a model is loaded, so that a prediction has nothing left to decide, look
//! up or allocate. [`run`] walks over its steps and hands the arithmetic to [`Kernels`], in tiles of
//! bounded cost. Further operations are further arms here and further methods there; those who call
//! [`run`] do not change.
//!
//! ```text
//! parse -> Model::plan(steps) -> Plan -> Model::pack(weights) -> run(..) as often as one likes
//! ```

mod build;

use crate::act::Activation;
use crate::error::{Error, Fault, Place};
use crate::fixed::ELEMENT_BYTES;
use crate::nnm::{DType, OpKind};
use crate::scalar;

/// The most multiply-accumulates that are done between two calls of [`Kernels::pause`].
pub const TILE_MACS: u64 = 16384;

/// The most rows of a layer that are done between two calls of [`Kernels::pause`], for activations
/// cost more than many multiply-accumulates.
pub const TILE_ROWS: u32 = 1024;

/// Where a vector lies.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Region {
    /// The input of the network.
    Input,
    /// Scratch memory, from this offset on.
    Scratch(usize),
    /// The output of the network.
    Output,
}

/// One step of a plan. Made by [`Model::plan`](crate::nnm::Model::plan).
#[derive(Copy, Clone, Debug)]
pub struct Step {
    kind: OpKind,
    dtype: DType,
    activation: Activation,
    inputs: u32,
    outputs: u32,
    source: Region,
    target: Region,
    /// Offsets in the packed weights.
    weights: usize,
    bias: usize,
    row_terms: usize,
    /// Rows of a tile.
    tile_rows: u32,
    /// The operation of the model, the tensor that it writes, and the last step that reads it.
    op: u32,
    tensor: u32,
    last_use: u32,
}

impl Step {
    /// A step that does nothing, to fill an array with.
    pub const EMPTY: Step = Step {
        kind: OpKind::Dense,
        dtype: DType::Q16,
        activation: Activation::Linear,
        inputs: 0,
        outputs: 0,
        source: Region::Input,
        target: Region::Output,
        weights: 0,
        bias: 0,
        row_terms: 0,
        tile_rows: 0,
        op: 0,
        tensor: 0,
        last_use: 0,
    };

    /// What it does.
    pub const fn kind(&self) -> OpKind {
        self.kind
    }

    /// The type of its elements.
    pub const fn dtype(&self) -> DType {
        self.dtype
    }

    /// What is applied to its sums.
    pub const fn activation(&self) -> Activation {
        self.activation
    }

    /// Elements that it reads.
    pub const fn inputs(&self) -> u32 {
        self.inputs
    }

    /// Elements that it writes.
    pub const fn outputs(&self) -> u32 {
        self.outputs
    }

    /// Its multiply-accumulates, at most 2^24.
    pub const fn macs(&self) -> u64 {
        (self.inputs as u64).wrapping_mul(self.outputs as u64)
    }

    /// Bytes of its weights and biases, without what packing adds.
    pub const fn weight_bytes(&self) -> u64 {
        // At most 2^26 + 2^14.
        self.macs()
            .wrapping_add(self.outputs as u64)
            .wrapping_mul(ELEMENT_BYTES as u64)
    }
}

/// What a network needs to run.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of an input.
    pub input_bytes: usize,
    /// Bytes of an output.
    pub output_bytes: usize,
    /// Bytes of scratch memory for one prediction at a time; a multiple of 64, may be 0.
    pub scratch_bytes: usize,
    /// Bytes of packed weights; a multiple of 64.
    pub weight_bytes: usize,
    /// Multiply-accumulates of one prediction.
    pub macs: u64,
    /// Number of steps.
    pub steps: usize,
}

/// A dense layer, or some of its rows: `output = W input + bias`, Q16.16, `R` rows, `N` inputs.
///
/// The sums are exact, then rounded to nearest (halves upwards) and saturated, as
/// [`fixed::round_acc`](crate::fixed::round_acc) does. No activation is applied.
///
/// Weights lie in blocks of four rows; only the last block of a layer may have fewer. In a block of `r`
/// rows stand the first two weights of each row, row by row, then the next two of each row, and so on;
/// if `N` is odd, the last weight of each row ends the block. Each weight is a `u32`: the Q16.16 number
/// plus 2^31, which is its bits with the highest one flipped.
#[derive(Debug)]
pub struct DenseArgs<'a> {
    /// `W[R, N]` in blocks: `R * N * 4` bytes.
    pub weights: &'a [u8],
    /// `bias[R]`, Q16.16: `R * 4` bytes.
    pub bias: &'a [u8],
    /// For [`Scalar`]: an `i64` per row, `R * 8` bytes.
    pub row_terms: &'a [u8],
    /// `input[N]`, Q16.16: `N * 4` bytes.
    pub input: &'a [u8],
    /// For [`Scalar`]: what [`Kernels::input_term`] gave for this input.
    pub input_term: i64,
    /// `output[R]`, Q16.16: `R * 4` bytes, overwritten.
    pub output: &'a mut [u8],
}

/// The arithmetic of the steps.
///
/// [`Scalar`] specifies the results; every other implementation gives the same, bit by bit.
pub trait Kernels {
    /// A dense layer, or some of its rows.
    fn dense_q16(&self, args: DenseArgs<'_>);

    /// Called once per dense layer; the result is handed on in [`DenseArgs::input_term`].
    ///
    /// An implementation that never calls [`Scalar`] can give 0 instead and save the time.
    fn input_term(&self, input: &[u8]) -> i64 {
        scalar::input_term(input)
    }

    /// Applies an activation in place to some elements of a layer (to all, if it is softmax).
    fn activate_q16(&self, activation: Activation, data: &mut [u8]) {
        activation.apply(data);
    }

    /// Called before the work since the last call would exceed [`TILE_MACS`]; `false` ends the run.
    ///
    /// Here the caller may let others run, and look for signals.
    fn pause(&self) -> bool {
        true
    }
}

/// The kernels of the specification: integers in general registers, for any context.
#[derive(Copy, Clone, Debug, Default)]
pub struct Scalar;

impl Kernels for Scalar {
    fn dense_q16(&self, args: DenseArgs<'_>) {
        scalar::dense_q16(args);
    }
}

/// Makes one prediction.
///
/// * `plan`, `steps`: from [`Model::plan`](crate::nnm::Model::plan);
/// * `weights`: from [`Model::pack`](crate::nnm::Model::pack);
/// * `scratch`: at least `plan.scratch_bytes`, of any content, used by nobody else meanwhile;
/// * `input`, `output`: exactly `plan.input_bytes` and `plan.output_bytes`.
///
/// May be called from any context that [`Kernels`] allow; bounded by `plan.macs`. Fails with `Buffer`
/// (nothing was written) when a size is wrong, and with `Interrupted` (the output may be partly
/// written) when [`Kernels::pause`] says so.
pub fn run<K: Kernels + ?Sized>(
    kernels: &K,
    plan: &Plan,
    steps: &[Step],
    weights: &[u8],
    scratch: &mut [u8],
    input: &[u8],
    output: &mut [u8],
) -> Result<(), Error> {
    exactly("input bytes", input.len(), plan.input_bytes)?;
    exactly("output bytes", output.len(), plan.output_bytes)?;
    exactly("weight bytes", weights.len(), plan.weight_bytes)?;
    at_least("scratch bytes", scratch.len(), plan.scratch_bytes)?;
    let Some(steps) = steps.get(..plan.steps) else {
        return at_least("steps", steps.len(), plan.steps);
    };
    let mut done = 0;
    for step in steps {
        let (source, target) = step
            .vectors(input, scratch, output)
            .ok_or(step.mismatch())?;
        match step.kind {
            OpKind::Dense => step.dense(kernels, &mut done, weights, source, target)?,
        }
    }
    Ok(())
}

fn exactly(buffer: &'static str, have: usize, want: usize) -> Result<(), Error> {
    if have == want {
        return Ok(());
    }
    Err(Error::Buffer {
        buffer,
        have: have as u64,
        want: want as u64,
    })
}

fn at_least(buffer: &'static str, have: usize, want: usize) -> Result<(), Error> {
    if have >= want {
        return Ok(());
    }
    Err(Error::Buffer {
        buffer,
        have: have as u64,
        want: want as u64,
    })
}

impl Step {
    /// The step and the buffers do not belong together.
    #[cold]
    fn mismatch(&self) -> Error {
        Error::model(Place::Op(self.op), Fault::Mismatch)
    }

    /// What the step reads and what it writes.
    fn vectors<'a>(
        &self,
        input: &'a [u8],
        scratch: &'a mut [u8],
        output: &'a mut [u8],
    ) -> Option<(&'a [u8], &'a mut [u8])> {
        // CAST: dimensions are at most 4096.
        let (from, to) = (bytes_of(self.inputs), bytes_of(self.outputs));
        match (self.source, self.target) {
            (Region::Input, Region::Output) => Some((input, output)),
            (Region::Input, Region::Scratch(b)) => {
                Some((input, scratch.get_mut(b..)?.get_mut(..to)?))
            }
            (Region::Scratch(a), Region::Output) => Some((scratch.get(a..)?.get(..from)?, output)),
            (Region::Output, Region::Scratch(b)) => {
                Some((output, scratch.get_mut(b..)?.get_mut(..to)?))
            }
            (Region::Scratch(a), Region::Scratch(b)) if a < b => {
                let (low, high) = scratch.split_at_mut_checked(b)?;
                Some((low.get(a..)?.get(..from)?, high.get_mut(..to)?))
            }
            (Region::Scratch(a), Region::Scratch(b)) => {
                let (low, high) = scratch.split_at_mut_checked(a)?;
                Some((high.get(..from)?, low.get_mut(b..)?.get_mut(..to)?))
            }
            (_, Region::Input) | (Region::Output, Region::Output) => None,
        }
    }

    fn dense<K: Kernels + ?Sized>(
        &self,
        kernels: &K,
        done: &mut u64,
        packed: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        let part = |offset: usize, len: usize| {
            packed
                .get(offset..)
                .and_then(|rest| rest.get(..len))
                .ok_or(self.mismatch())
        };
        let row_bytes = bytes_of(self.inputs);
        // CAST: dimensions are at most 4096.
        let rows = self.outputs as usize;
        let mut weights = part(self.weights, rows.wrapping_mul(row_bytes))?;
        let mut bias = part(self.bias, bytes_of(self.outputs))?;
        let mut row_terms = part(self.row_terms, rows.wrapping_mul(scalar::TERM_BYTES))?;
        if input.len() != row_bytes || output.len() != bias.len() {
            return Err(self.mismatch());
        }
        let input_term = kernels.input_term(input);

        let mut left = rows;
        let mut rest = &mut *output;
        while left > 0 {
            let tile = left.min(self.tile_rows as usize).max(1);
            left = left.wrapping_sub(tile);
            let mut args = DenseArgs {
                weights,
                bias,
                row_terms,
                input,
                input_term,
                output: &mut [],
            };
            let split = split(weights, tile.wrapping_mul(row_bytes))
                .zip(split(bias, tile.wrapping_mul(ELEMENT_BYTES)))
                .zip(split(row_terms, tile.wrapping_mul(scalar::TERM_BYTES)))
                .zip(rest.split_at_mut_checked(tile.wrapping_mul(ELEMENT_BYTES)));
            let Some((((w, b), t), (this, next))) = split else {
                return Err(self.mismatch());
            };
            (args.weights, weights) = w;
            (args.bias, bias) = b;
            (args.row_terms, row_terms) = t;
            rest = next;

            // CAST: at most 2^24.
            let macs = tile.wrapping_mul(self.inputs as usize) as u64;
            *done = done.wrapping_add(macs);
            if *done > TILE_MACS {
                if !kernels.pause() {
                    return Err(Error::Interrupted);
                }
                *done = macs;
            }
            args.output = &mut *this;
            kernels.dense_q16(args);
            if self.activation.is_elementwise() {
                kernels.activate_q16(self.activation, this);
            }
        }
        if !self.activation.is_elementwise() {
            kernels.activate_q16(self.activation, output);
        }
        Ok(())
    }
}

#[inline]
fn split(bytes: &[u8], at: usize) -> Option<(&[u8], &[u8])> {
    bytes.split_at_checked(at)
}

/// Bytes of a vector; at most 2^14.
#[inline]
const fn bytes_of(elements: u32) -> usize {
    (elements as usize).wrapping_mul(ELEMENT_BYTES)
}
