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

mod border;
mod build;
mod chain;
mod float;
mod int16;
mod int8;
mod moves;
mod patches;
mod plain;
mod q16;
mod shape;

use crate::act::Activation;
use crate::error::{Error, Fault, Place};
use crate::float as numbers;
use crate::int16 as wide_codes;
use crate::int8 as codes;
use crate::nnm::{DType, OpKind};
use crate::profile::Dims;
use crate::scalar;
use crate::trees;

use self::build::Builder;
use self::chain::Chain;
use self::float::Float;
use self::int16::Int16;
use self::int8::Int8;
use self::plain::Plain;
use self::q16::DenseQ16;

/// The most multiply-accumulates that are done between two calls of [`Kernels::pause`], unless
/// [`Kernels::tile_macs`] says otherwise.
pub const TILE_MACS: u64 = 16384;

/// The most work of vector code between opening and closing a section, in multiply-accumulates of codes:
/// at 16 of them in a ns, 20 us. No piece of a plan is more, for what cannot be cut so far is refused
/// when a model is loaded.
pub const SECTION_WORK: u64 = 5 << 16;

/// The most rows of a Q16.16 layer that are done between two calls of [`Kernels::pause`], for
/// activations cost more than many multiply-accumulates.
pub const TILE_ROWS: u32 = 1024;

/// The most operands of a step.
const READS: usize = 4;

/// Where a tensor lies.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Region {
    /// Nowhere: there is no such operand.
    #[default]
    None,
    /// The input of the network.
    Input,
    /// Scratch memory, from this offset on (times the number of samples).
    Scratch(usize),
    /// The output of the network.
    Output,
}

/// A place for a tensor: for one sample behind the other.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
struct Slot {
    region: Region,
    /// Bytes of the tensor.
    bytes: usize,
    /// Bytes from a sample to the next one.
    stride: usize,
}

impl Slot {
    const NONE: Slot = Slot {
        region: Region::None,
        bytes: 0,
        stride: 0,
    };
}

/// A part of the packed weights.
#[derive(Copy, Clone, Debug, Default)]
struct Part {
    at: usize,
    bytes: usize,
}

impl Part {
    fn new(builder: &mut Builder<'_>, bytes: usize) -> Option<Self> {
        Some(Part {
            at: builder.constant(bytes)?,
            bytes,
        })
    }

    #[inline]
    fn of<'a>(&self, packed: &'a [u8]) -> Option<&'a [u8]> {
        packed.get(self.at..)?.get(..self.bytes)
    }

    fn of_mut<'a>(&self, packed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        packed.get_mut(self.at..)?.get_mut(..self.bytes)
    }
}

const fn usize_of(n: u32) -> usize {
    // CAST: widens on every target of the module.
    n as usize
}

fn pair_of(n: [u32; 2]) -> [usize; 2] {
    n.map(usize_of)
}

fn product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))
}

#[inline]
fn slice_from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or(&[])
}

/// Elements of `macs` each that are done without a pause: a multiple of [`PANEL`](codes::PANEL), for
/// vectors.
#[inline]
fn piece<K: Kernels + ?Sized>(meter: &Meter<'_, K>, macs: u64) -> usize {
    // CAST: a small number.
    (meter.fit(macs as usize) & !(codes::PANEL.wrapping_sub(1))).max(codes::PANEL)
}

/// What a step computes.
// There is no allocation here that a large variant could be put into; a plan has few steps.
#[allow(clippy::large_enum_variant)]
#[derive(Copy, Clone, Debug)]
enum Work {
    DenseQ16(DenseQ16),
    Int8(Int8),
    Int16(Int16),
    Float(Float),
    Plain(Plain),
}

/// One step of a plan. Made by [`Model::plan`](crate::nnm::Model::plan).
#[derive(Copy, Clone, Debug)]
pub struct Step {
    kind: OpKind,
    dtype: DType,
    activation: Activation,
    /// What it is told apart by from others of its kind.
    dims: Dims,
    /// Elements of the first operand and of the result.
    inputs: u32,
    outputs: u32,
    macs: u64,
    weight_bytes: u64,
    reads: [Slot; READS],
    write: Slot,
    temp: Slot,
    work: Work,
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
        dims: Dims::NONE,
        inputs: 0,
        outputs: 0,
        macs: 0,
        weight_bytes: 0,
        reads: [Slot::NONE; READS],
        write: Slot::NONE,
        temp: Slot::NONE,
        work: Work::DenseQ16(DenseQ16::EMPTY),
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

    /// Elements that it reads, of its first operand.
    pub const fn inputs(&self) -> u32 {
        self.inputs
    }

    /// Elements that it writes.
    pub const fn outputs(&self) -> u32 {
        self.outputs
    }

    /// Its multiply-accumulates; of operations without, the elements that it writes.
    pub const fn macs(&self) -> u64 {
        self.macs
    }

    /// Bytes of its constants, without what packing adds.
    pub const fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The operation of the model file that it comes from; the first and the last step of a network
    /// of codes copy input and output and belong to the first and the last operation.
    pub const fn op(&self) -> u32 {
        self.op
    }

    /// The tensor of the model file that it writes.
    pub const fn tensor(&self) -> u32 {
        self.tensor
    }
}

/// What a network needs to run.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes of an input.
    pub input_bytes: usize,
    /// Bytes of an output.
    pub output_bytes: usize,
    /// Bytes of scratch memory for each sample of a prediction; a multiple of 64, may be 0.
    pub scratch_bytes: usize,
    /// Bytes of packed weights; a multiple of 64.
    pub weight_bytes: usize,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// Number of steps.
    pub steps: usize,
    chain: Chain,
}

impl Plan {
    /// How many places there are that [`Kernels::begin`] can name: each step by its index, and behind
    /// them the [chain](Self::chain_place).
    pub const fn places(&self) -> usize {
        self.steps.saturating_add(1)
    }

    /// The place of the layers that [`Kernels::chain_i8`] or [`Kernels::chain_f32`] does as one.
    pub const fn chain_place(&self) -> usize {
        self.steps
    }

    /// How many steps, from the first one on, the chain stands for; 0 if there is none.
    pub const fn chain_steps(&self) -> usize {
        self.chain.steps
    }
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
/// Where an operation is given with its `work`, that is what vector code takes for it, in the unit of
/// [`SECTION_WORK`]; a plan gives nothing that takes more than [`Kernels::tile_macs`].
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

    /// Matrix product of codes: dense layers and convolutions.
    fn gemm_i8(&self, args: codes::Gemm<'_>) {
        codes::gemm(args);
    }

    /// Dense layers of codes one after the other; `false` leaves them to [`Kernels::gemm_i8`].
    fn chain_i8(&self, args: codes::Chain<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Depthwise convolution of codes.
    fn depthwise_i8(&self, args: codes::Depthwise<'_>) {
        codes::depthwise(args);
    }

    /// Means over windows of codes.
    fn average_pool_i8(&self, args: codes::Pool<'_>) {
        codes::average_pool(args);
    }

    /// Maxima over windows of codes.
    fn max_pool_i8(&self, args: codes::Pool<'_>) {
        codes::max_pool(args);
    }

    /// Sum or difference of codes.
    fn add_i8(&self, args: codes::Add<'_>) {
        codes::add(args);
    }

    /// Product of codes, element by element.
    fn mul_i8(&self, args: codes::Mul<'_>) {
        codes::mul(args);
    }

    /// Mean over rows of codes.
    fn mean_i8(&self, args: codes::Mean<'_>) {
        codes::mean(args);
    }

    /// Softmax of codes.
    fn softmax_i8(&self, args: codes::Softmax<'_>) {
        codes::softmax(args);
    }

    /// A step of a long short-term memory of codes.
    fn lstm_i8(&self, args: codes::LstmStep<'_>) {
        codes::lstm_step(args);
    }

    /// `y[i] = table[x[i]]`; biased codes, `x` and `y` have equally many.
    fn lut_i8(&self, table: &[u8; 256], x: &[u8], y: &mut [u8]) {
        codes::lut::apply(table, x, y);
    }

    /// From codes to biased codes and back.
    fn flip_i8(&self, args: codes::Flip<'_>) {
        codes::flip(args);
    }

    /// A dense layer of 16-bit codes, or some of its rows.
    fn dense_i16(&self, args: wide_codes::Dense<'_>) {
        wide_codes::dense(args);
    }

    /// Some decision trees, of elements of any type.
    fn forest(&self, args: trees::Forest<'_>) {
        trees::sums(args);
    }

    /// Matrix product of numbers: dense layers and convolutions. `false`: not here, not now.
    fn gemm_f32(&self, args: numbers::Gemm<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Dense layers of numbers one after the other; `false` leaves them to [`Kernels::gemm_f32`].
    fn chain_f32(&self, args: numbers::Chain<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Depthwise convolution of numbers. `false`: not here, not now.
    fn depthwise_f32(&self, args: numbers::Depthwise<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Means or maxima over windows of numbers. `false`: not here, not now.
    fn pool_f32(&self, args: numbers::Pool<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Sum, difference or product of numbers. `false`: not here, not now.
    fn binary_f32(&self, args: numbers::Binary<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Softmax of numbers, or its logarithm. `false`: not here, not now.
    fn softmax_f32(&self, args: numbers::Softmax<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Norm of rows of numbers. `false`: not here, not now.
    fn norm_f32(&self, args: numbers::Norm<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Normalisation by running statistics. `false`: not here, not now.
    fn normalise_f32(&self, args: numbers::Normalise<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Attention. `false`: not here, not now.
    fn attention_f32(&self, args: numbers::Attention<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// The gates of a long short-term memory. `false`: not here, not now.
    fn lstm_cell_f32(&self, args: numbers::LstmCell<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// The gates of a gated recurrent unit. `false`: not here, not now.
    fn gru_cell_f32(&self, args: numbers::GruCell<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Cosine similarities. `false`: not here, not now.
    fn cosine_f32(&self, args: numbers::Cosine<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// A function of each number. `false`: not here, not now.
    fn map_f32(&self, args: numbers::Map<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Mean over rows of numbers. `false`: not here, not now.
    fn mean_f32(&self, args: numbers::Mean<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Product of two matrices. `false`: not here, not now.
    fn matmul_f32(&self, args: numbers::Matmul<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Weighted sum of vectors. `false`: not here, not now.
    fn mix_f32(&self, args: numbers::Mix<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Usage of a memory. `false`: not here, not now.
    fn usage_f32(&self, args: numbers::Usage<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Where a memory is free. `false`: not here, not now.
    fn allocation_f32(&self, args: numbers::Allocation<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Write to a memory. `false`: not here, not now.
    fn write_f32(&self, args: numbers::Write<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// In which order a memory was written. `false`: not here, not now.
    fn link_f32(&self, args: numbers::Link<'_>, work: usize) -> bool {
        let _ = (args, work);
        false
    }

    /// Called before the work at this [place](Plan::places) of the plan.
    ///
    /// Everything that is called until [`Kernels::end`] belongs to it, so that code made for a place
    /// can be looked up by its number, and its time be taken.
    #[inline]
    fn begin(&self, place: usize) {
        let _ = place;
    }

    /// Called when the work at this place is done, for so many samples.
    ///
    /// Not called for what was not done: an operation that fails ends the run, and layers that
    /// [`Kernels::chain_i8`] or [`Kernels::chain_f32`] leaves alone begin again one by one.
    #[inline]
    fn end(&self, place: usize, samples: usize) {
        let _ = (place, samples);
    }

    /// The most multiply-accumulates between two calls of [`Kernels::pause`].
    fn tile_macs(&self) -> u64 {
        TILE_MACS
    }

    /// Called before scalar code that is none of these methods and takes as long as `work`
    /// multiply-accumulates of vector code.
    fn aside(&self, work: u64) {
        let _ = work;
    }

    /// Called before the work since the last call would exceed [`Kernels::tile_macs`]; `false` ends
    /// the run.
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

/// Work since the last pause.
struct Meter<'k, K: Kernels + ?Sized> {
    kernels: &'k K,
    done: u64,
}

impl<K: Kernels + ?Sized> Meter<'_, K> {
    /// How many things that cost `macs` each may be done at a time; 0 if one is too much.
    #[inline]
    fn fit(&self, macs: usize) -> usize {
        let budget = usize::try_from(self.kernels.tile_macs()).unwrap_or(usize::MAX);
        budget.checked_div(macs).unwrap_or(budget)
    }

    /// Whether so much is done without a pause.
    #[inline]
    fn fits(&self, macs: usize) -> bool {
        // CAST: widens.
        macs as u64 <= self.kernels.tile_macs()
    }

    /// Announces work; gives others their turn before it would be too much at a time.
    #[inline]
    fn spend(&mut self, macs: u64) -> Result<(), Error> {
        self.done = self.done.saturating_add(macs);
        if self.done > self.kernels.tile_macs() {
            if !self.kernels.pause() {
                return Err(Error::Interrupted);
            }
            self.done = macs;
        }
        Ok(())
    }

    /// Announces bytes that are copied.
    fn copy(&mut self, bytes: usize) -> Result<(), Error> {
        // CAST: widens.
        let work = bytes as u64;
        self.spend(work)?;
        self.kernels.aside(work);
        Ok(())
    }

    /// Announces a line of elements that is copied; they lie side by side or do not.
    #[inline]
    fn spend_line(&mut self, elements: usize, side_by_side: bool) -> Result<(), Error> {
        // CAST: widens.
        let elements = elements as u64;
        let each = if side_by_side { 1 } else { STRAY_WORK };
        let work = elements.saturating_mul(each).saturating_add(LINE_WORK);
        self.spend(elements.saturating_add(LINE_WORK / STRAY_WORK))?;
        self.kernels.aside(work);
        Ok(())
    }
}

/// What a line costs that is copied, and an element whose neighbours go elsewhere, in
/// multiply-accumulates of vector code.
const LINE_WORK: u64 = 384;
const STRAY_WORK: u64 = 16;

/// Predicts one sample, or several at a time, which takes less than one by one.
///
/// * `plan`, `steps`: from [`Model::plan`](crate::nnm::Model::plan);
/// * `weights`: from [`Model::pack`](crate::nnm::Model::pack);
/// * `samples`: how many, at least 1;
/// * `scratch`: at least `samples * plan.scratch_bytes`, of any content, used by nobody else meanwhile;
/// * `input`, `output`: exactly `samples` times `plan.input_bytes` and `plan.output_bytes`.
///
/// May be called from any context that [`Kernels`] allow; bounded by `plan.macs`. Fails with `Buffer`
/// (nothing was written) when a size is wrong, with `Interrupted` (the output may be partly written) when
/// [`Kernels::pause`] says so, and with `NoVector` when the network computes in single precision and
/// the kernels do not.
#[allow(clippy::too_many_arguments)]
pub fn run<K: Kernels + ?Sized>(
    kernels: &K,
    plan: &Plan,
    steps: &[Step],
    weights: &[u8],
    samples: usize,
    scratch: &mut [u8],
    input: &[u8],
    output: &mut [u8],
) -> Result<(), Error> {
    let times = |bytes: usize| bytes.saturating_mul(samples);
    exactly("input bytes", input.len(), times(plan.input_bytes))?;
    exactly("output bytes", output.len(), times(plan.output_bytes))?;
    exactly("weight bytes", weights.len(), plan.weight_bytes)?;
    at_least("scratch bytes", scratch.len(), times(plan.scratch_bytes))?;
    at_least("samples", samples, 1)?;
    let Some(steps) = steps.get(..plan.steps) else {
        return at_least("steps", steps.len(), plan.steps);
    };
    let mut meter = Meter { kernels, done: 0 };
    let chain = &plan.chain;
    let done = match samples {
        1 => chain.run(kernels, steps, weights, scratch, input, output),
        _ => None,
    };
    for (place, step) in steps.iter().enumerate().skip(done.unwrap_or(0)) {
        if step.is_in_place() {
            continue;
        }
        kernels.begin(place);
        // Filled in place: a copy of what was just written in parts has to wait for it.
        let mut tensors = Tensors {
            reads: [&[]; READS],
            write: &mut [],
            temp: &mut [],
        };
        let found = step.tensors(samples, input, scratch, output, &mut tensors);
        if found.is_none() {
            return Err(step.mismatch());
        }
        match &step.work {
            Work::DenseQ16(dense) => dense.run(step, &mut meter, weights, samples, &mut tensors)?,
            Work::Int8(op) => op.run(step, &mut meter, weights, samples, &mut tensors)?,
            Work::Int16(op) => op.run(step, &mut meter, weights, samples, &mut tensors)?,
            Work::Float(op) => op.run(step, &mut meter, weights, samples, &mut tensors)?,
            Work::Plain(op) => op.run(step, &mut meter, weights, samples, &mut tensors)?,
        }
        kernels.end(place, samples);
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

/// What a step reads and writes: all samples, one behind the other.
struct Tensors<'a> {
    reads: [&'a [u8]; READS],
    write: &'a mut [u8],
    temp: &'a mut [u8],
}

/// Parts of the scratch memory that are not written, with their offsets.
type Rest<'a> = [(usize, &'a [u8]); 3];

impl Step {
    /// Whether it copies the input or the output of the network, and is no operation of the model.
    pub fn is_copy(&self) -> bool {
        matches!(self.work, Work::Int8(Int8::Flip) | Work::Float(Float::Copy))
    }

    /// Whether it copies what is read, or was written, where it is.
    #[inline]
    pub fn is_in_place(&self) -> bool {
        let [from, ..] = &self.reads;
        let same = from.region == self.write.region;
        same && matches!(from.region, Region::Input | Region::Output)
    }

    /// The step and the buffers do not belong together.
    #[cold]
    fn mismatch(&self) -> Error {
        Error::model(Place::Op(self.op), Fault::Mismatch)
    }

    /// The tensors of this step; `None` when they do not lie where they may.
    #[inline(always)]
    fn tensors<'a>(
        &self,
        samples: usize,
        input: &'a [u8],
        scratch: &'a mut [u8],
        output: &'a mut [u8],
        tensors: &mut Tensors<'a>,
    ) -> Option<()> {
        let [first, second, ..] = &self.reads;
        if second.region != Region::None || self.temp.region != Region::None {
            *tensors = self.many_tensors(samples, input, scratch, output)?;
            return Some(());
        }
        // From one tensor to another, as nearly all steps.
        let bytes = |slot: &Slot| slot.stride.wrapping_mul(samples);
        let (from, to) = (bytes(first), bytes(&self.write));
        let (x, write): (&'a [u8], &'a mut [u8]) = match (first.region, self.write.region) {
            (Region::Scratch(a), Region::Scratch(b)) => {
                let (a, b) = (a.wrapping_mul(samples), b.wrapping_mul(samples));
                if a < b {
                    let (low, high) = scratch.split_at_mut_checked(b)?;
                    (low.get(a..)?.get(..from)?, high.get_mut(..to)?)
                } else {
                    let (low, high) = scratch.split_at_mut_checked(a)?;
                    (high.get(..from)?, low.get_mut(b..)?.get_mut(..to)?)
                }
            }
            (Region::Input, Region::Scratch(b)) if input.len() == from => {
                let b = b.wrapping_mul(samples);
                (input, scratch.get_mut(b..)?.get_mut(..to)?)
            }
            (Region::Scratch(a), Region::Output) if output.len() == to => {
                let a = a.wrapping_mul(samples);
                (scratch.get(a..)?.get(..from)?, output)
            }
            (Region::Input, Region::Output) if input.len() == from && output.len() == to => {
                (input, output)
            }
            (Region::Output, Region::Scratch(b)) if output.len() == from => {
                let b = b.wrapping_mul(samples);
                (output, scratch.get_mut(b..)?.get_mut(..to)?)
            }
            _ => return None,
        };
        let [read, ..] = &mut tensors.reads;
        *read = x;
        tensors.write = write;
        Some(())
    }

    /// The tensors of a step that reads several or needs memory for itself.
    #[inline(never)]
    fn many_tensors<'a>(
        &self,
        samples: usize,
        input: &'a [u8],
        scratch: &'a mut [u8],
        output: &'a mut [u8],
    ) -> Option<Tensors<'a>> {
        let span = |slot: &Slot| match slot.region {
            // Scaled by the same factor, places that do not overlap still do not.
            Region::Scratch(at) => (at.wrapping_mul(samples), slot.stride.wrapping_mul(samples)),
            _ => (0, 0),
        };
        let write = span(&self.write);
        let temp = match self.temp.region {
            // Behind the other one, so that nothing lies between.
            Region::None => (write.0.wrapping_add(write.1), 0),
            _ => span(&self.temp),
        };
        let (low, high) = if write.0 <= temp.0 {
            (write, temp)
        } else {
            (temp, write)
        };
        let (a, rest) = scratch.split_at_mut_checked(low.0)?;
        let (first, rest) = rest.split_at_mut_checked(low.1)?;
        let next = low.0.checked_add(low.1)?;
        let (b, rest) = rest.split_at_mut_checked(high.0.checked_sub(next)?)?;
        let (second, c) = rest.split_at_mut_checked(high.1)?;
        let (in_write, in_temp) = if write.0 <= temp.0 {
            (first, second)
        } else {
            (second, first)
        };
        let others: Rest<'a> = [(0, a), (next, b), (high.0.checked_add(high.1)?, c)];
        let whole = |slot: &Slot, bytes: &[u8]| bytes.len() == slot.stride.wrapping_mul(samples);
        if self.write.region == Region::Output && !whole(&self.write, output) {
            return None;
        }
        let (write, written): (&'a mut [u8], Option<&'a [u8]>) = match self.write.region {
            Region::Output => (output, None),
            Region::Scratch(_) => (in_write, Some(output)),
            Region::Input | Region::None => return None,
        };
        let mut reads: [&'a [u8]; READS] = [&[]; READS];
        for (read, slot) in reads.iter_mut().zip(&self.reads) {
            *read = match slot.region {
                Region::None => break,
                Region::Input if whole(slot, input) => input,
                Region::Output => written.filter(|written| whole(slot, written))?,
                Region::Input => return None,
                Region::Scratch(_) => {
                    let (at, len) = span(slot);
                    part_of(&others, at, len)?
                }
            };
        }
        Some(Tensors {
            reads,
            write,
            temp: in_temp,
        })
    }
}

/// Bytes `at..at + len` of the scratch memory, which lie in one part of it.
#[inline]
fn part_of<'a>(others: &Rest<'a>, at: usize, len: usize) -> Option<&'a [u8]> {
    others.iter().find_map(|(start, part)| {
        let from = at.checked_sub(*start)?;
        part.get(from..)?.get(..len)
    })
}
