// SPDX-License-Identifier: GPL-2.0

//! What is done with generated code before anybody else may run it: a comparison on the very shape, and
//! the time that it takes beside vector code.
//!
//! Codes are compared with what the scalar functions give, on the weights of the network and on others.
//! Numbers have no scalar functions: they are compared with what vector code gives, on the weights of the
//! network, bit by bit. Context: task, may sleep.

use kernel::prelude::*;
use neural_core::{
    float,
    int8::{
        self,
        lut,
        ChainLayer,
        Requant,
        GROUP,
        LANES,
        SLACK, //
    },
};
use neural_simd::{
    generated::Call,
    Set, //
};

use super::learn::Work;
use crate::sys::{
    cpu,
    fpu::{
        self,
        FpuGuard, //
    },
    text::{
        self,
        Made, //
    },
};

/// How often results are compared.
const ROUNDS: usize = 48;

/// How often times are taken; the shortest counts.
const TIMES: usize = 64;

/// The least ticks of a time: so long that it is more than what it costs to take it.
const LEAST: u64 = 2000;

/// Bytes around the output that must stay as they are.
const GUARD: usize = 64;

/// Bytes of a word.
const WORD: usize = 4;

/// One segment, which starts at 0.
const SINGLE: [u8; WORD] = [0; WORD];

/// The most bytes of weights of which there is a copy to try others.
const COPIED: usize = 1 << 20;

/// Tenths of ticks that one call takes.
#[derive(Clone, Copy, Default)]
pub(crate) struct Times {
    pub(crate) vector: u64,
    pub(crate) generated: u64,
}

/// Repeatable numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from `first` to `last`.
    fn range(&mut self, first: i32, last: i32) -> i32 {
        // CAST: At most 2^32; the result lies in the range.
        let count = (i64::from(last) - i64::from(first) + 1).max(1) as u64;
        let offset = (u128::from(self.next()) * u128::from(count) >> 64) as i64;
        (i64::from(first) + offset) as i32
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // CAST: The lowest bits.
            *byte = self.next() as u8;
        }
    }

    /// Numbers between these powers of 2, some zeros and some that are denormal among them; sums of
    /// products of them are finite.
    fn numbers(&mut self, bytes: &mut [u8], first: i32, last: i32) {
        for number in bytes.chunks_exact_mut(WORD) {
            let exponent = match self.range(0, 63) {
                0 => 0,
                _ => 127 + self.range(first, last),
            };
            // CAST: The lowest bits; an exponent of 8 bits.
            let (any, exponent) = (self.next() as u32, exponent as u32);
            let fraction = if any & 0x1f00_0000 == 0 {
                0
            } else {
                any & 0x007f_ffff
            };
            let bits = (any & 0x8000_0000) | (exponent << 23) | fraction;
            number.copy_from_slice(&bits.to_le_bytes());
        }
    }
}

/// What codes and weights are filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    /// Weights of the network, any input.
    Own,
    /// Any weights, any input; numbers of many sizes.
    Any,
    /// The greatest and least weights and inputs.
    Extreme,
}

/// Where a call writes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    /// What is tried.
    Tried,
    /// What it is compared with.
    Expected,
}

/// Operands of a call.
pub(crate) struct Trial<'a> {
    work: &'a Work,
    set: Set,
    own: &'a [u8],
    /// A copy, in which there are others.
    copy: KVVec<u8>,
    /// Layers of a chain; the one of a product of codes.
    layers: KVVec<u8>,
    x: KVVec<u8>,
    /// The rows that a key is compared with.
    rows: KVVec<u8>,
    y: KVVec<u8>,
    expected: KVVec<u8>,
    temp: KVVec<u8>,
    width: usize,
    random: Random,
}

fn words(bytes: &[u8]) -> impl Iterator<Item = i32> + '_ {
    bytes
        .chunks_exact(WORD)
        .map(|word| word.try_into().map_or(0, i32::from_le_bytes))
}

fn size(n: u32) -> usize {
    // CAST: Widening.
    n as usize
}

/// A part of the weights.
fn part(weights: &[u8], at: u32, bytes: usize) -> Result<&[u8]> {
    let end = size(at).checked_add(bytes).ok_or(EINVAL)?;
    weights.get(size(at)..end).ok_or(EINVAL)
}

fn part_mut(weights: &mut [u8], at: u32, bytes: usize) -> Result<&mut [u8]> {
    let end = size(at).checked_add(bytes).ok_or(EINVAL)?;
    weights.get_mut(size(at)..end).ok_or(EINVAL)
}

/// The copy of the weights, if there is one.
fn chosen<'a>(copy: &'a [u8], own: &'a [u8]) -> &'a [u8] {
    match copy.is_empty() {
        true => own,
        false => copy,
    }
}

fn layers_of(layers: &[u8]) -> impl Iterator<Item = ChainLayer> + '_ {
    let layers = layers.chunks_exact(ChainLayer::BYTES);
    layers.flat_map(ChainLayer::read)
}

/// Bytes of what a call reads and writes, and of the widest thing in between.
struct Sizes {
    x: usize,
    rows: usize,
    y: usize,
    widest: usize,
}

impl Sizes {
    /// Of a chain: what its layers read and give, and the bytes of an element.
    fn chain(layers: impl Iterator<Item = (u32, u32)>, element: usize) -> Self {
        let mut sizes = Sizes {
            x: 0,
            rows: 0,
            y: 0,
            widest: 0,
        };
        for (i, (k, n)) in layers.enumerate() {
            if i == 0 {
                sizes.x = size(k) * element;
            }
            sizes.y = size(n) * element;
            sizes.widest = sizes.widest.max(size(k.max(n)) * element);
        }
        sizes
    }

    fn of(work: &Work, layers: &[u8]) -> Self {
        let strided = |count: u32, row: u32, n: u32| {
            size(count).saturating_sub(1) * size(row) + size(n) * WORD
        };
        match work {
            Work::ChainI8 { .. } | Work::GemmI8 { .. } => {
                Sizes::chain(layers_of(layers).map(|layer| (layer.k, layer.n)), 1)
            }
            Work::ChainF32 { .. } => {
                let layers = layers.chunks_exact(float::ChainLayer::BYTES);
                let layers = layers.flat_map(float::ChainLayer::read);
                Sizes::chain(layers.map(|layer| (layer.k, layer.n)), WORD)
            }
            Work::GemmF32 { gemm, .. } => Sizes {
                x: strided(gemm.positions, gemm.x_row, gemm.k),
                rows: 0,
                y: strided(gemm.positions, gemm.y_row, gemm.n),
                widest: 0,
            },
            Work::CosineF32 { rows, n, .. } => Sizes {
                x: size(*n) * WORD,
                rows: size(*rows) * size(*n) * WORD,
                y: size(*rows) * WORD,
                widest: 0,
            },
        }
    }
}

/// Does a call by vector code.
fn by_vector(set: &Set, call: &mut Call<'_, '_>) -> bool {
    match call {
        Call::ChainI8(chain) => set.chain_i8(chain),
        Call::ChainF32(chain) => set.chain_f32(chain),
        Call::GemmI8(gemm) => set.gemm_i8(gemm),
        Call::GemmF32(gemm) => set.gemm_f32(gemm),
        Call::CosineF32(cosine) => set.cosine_f32(cosine),
    }
}

impl<'a> Trial<'a> {
    /// Memory for a call, whose constants are in `weights`.
    pub(crate) fn new(work: &'a Work, weights: &'a [u8], set: Set) -> Result<Self> {
        let mut layers = KVVec::new();
        match work {
            Work::ChainI8 { layers: at, .. } | Work::ChainF32 { layers: at } => {
                let from = weights.get(at.clone()).ok_or(EINVAL)?;
                layers.extend_from_slice(from, GFP_KERNEL)?;
            }
            Work::GemmI8 { layer, .. } => {
                for field in layer.fields() {
                    layers.extend_from_slice(&field.to_le_bytes(), GFP_KERNEL)?;
                }
            }
            Work::GemmF32 { .. } | Work::CosineF32 { .. } => {}
        }
        let codes = matches!(work, Work::ChainI8 { .. } | Work::GemmI8 { .. });
        let mut copy = KVVec::new();
        if codes && weights.len() <= COPIED {
            copy.extend_from_slice(weights, GFP_KERNEL)?;
        }
        let sizes = Sizes::of(work, &layers);
        let width = sizes.widest.next_multiple_of(SLACK) + SLACK;
        let zeros = |bytes| KVVec::from_elem(0, bytes, GFP_KERNEL);
        Ok(Trial {
            work,
            set,
            own: weights,
            copy,
            layers,
            x: zeros(sizes.x)?,
            rows: zeros(sizes.rows)?,
            y: zeros(sizes.y + 2 * GUARD)?,
            expected: zeros(sizes.y + 2 * GUARD)?,
            temp: zeros(2 * width)?,
            width,
            random: Random(0x9e37_79b9_7f4a_7c15),
        })
    }

    fn is_codes(&self) -> bool {
        matches!(self.work, Work::ChainI8 { .. } | Work::GemmI8 { .. })
    }

    /// Fills weights and input. Biases and shifts stay within those of the network, as code may count on
    /// that.
    fn fill(&mut self, data: Data) -> Result {
        self.random.fill(&mut self.temp);
        if !self.is_codes() {
            let (first, last) = match data {
                Data::Own => (-3, 1),
                Data::Any => (-30, 30),
                Data::Extreme => (20, 24),
            };
            self.random.numbers(&mut self.x, first, last);
            self.random.numbers(&mut self.rows, first, last);
            return Ok(());
        }
        self.random.fill(&mut self.x);
        if data == Data::Extreme {
            for x in &mut *self.x {
                // The least and the greatest code, mostly.
                *x = if *x & 7 == 0 { 0x80 } else { 0x7f };
            }
        }
        if self.copy.is_empty() {
            return Ok(());
        }
        self.copy.copy_from_slice(self.own);
        if data == Data::Own {
            return Ok(());
        }
        let layers = core::mem::take(&mut self.layers);
        let filled = layers_of(&layers).try_for_each(|layer| self.fill_layer(&layer, data));
        self.layers = layers;
        filled
    }

    fn fill_layer(&mut self, layer: &ChainLayer, data: Data) -> Result {
        let rows = size(layer.n).next_multiple_of(LANES);
        let groups = size(layer.k).div_ceil(GROUP);
        let list = rows * WORD;
        let random = &mut self.random;
        let sign = random.next();
        let w = part_mut(&mut self.copy, layer.w, groups * rows * GROUP)?;
        for weight in &mut *w {
            // What is zero may be padding, which stays zero.
            if *weight != 0 {
                let any = random.next();
                *weight = match data {
                    // CAST: The lowest bits.
                    Data::Any | Data::Own => any as u8,
                    Data::Extreme if sign & 3 == 0 => 0x80,
                    Data::Extreme if sign & 3 == 1 => 0x7f,
                    Data::Extreme => 0x7f + (any & 1) as u8,
                };
            }
        }
        let used = size(layer.n) * WORD;
        let most = words(part(self.own, layer.bias, list)?).fold(0, |most, bias| bias.max(most));
        let least = words(part(self.own, layer.bias, list)?).fold(0, |least, bias| bias.min(least));
        for bias in part_mut(&mut self.copy, layer.bias, list)?.chunks_exact_mut(WORD) {
            bias.copy_from_slice(&random.range(least, most).to_le_bytes());
        }
        let shifts = || words(self.own.get(size(layer.shift)..).unwrap_or(&[])).take(used / WORD);
        let (least, most) = (shifts().min().unwrap_or(0), shifts().max().unwrap_or(0));
        for shift in part_mut(&mut self.copy, layer.shift, used)?.chunks_exact_mut(WORD) {
            shift.copy_from_slice(&random.range(least, most).to_le_bytes());
        }
        for mult in part_mut(&mut self.copy, layer.mult, used)?.chunks_exact_mut(WORD) {
            let extremes = [0, 1 << 30, i32::MAX, i32::MAX - 1];
            let any = random.range(1 << 30, i32::MAX);
            let pick = random.range(0, 7);
            let extreme = usize::try_from(pick)
                .ok()
                .and_then(|pick| extremes.get(pick));
            mult.copy_from_slice(&extreme.copied().unwrap_or(any).to_le_bytes());
        }
        if layer.table != ChainLayer::NONE {
            random.fill(part_mut(&mut self.copy, layer.table, 256)?);
        }
        Ok(())
    }

    /// Computes what the output of codes must be.
    fn expect_codes(&mut self) -> Result {
        let (low, high) = self.temp.split_at_mut(self.width);
        let (mut from, mut to) = (low, high);
        for (to, from) in from.iter_mut().zip(&*self.x) {
            *to = from ^ 0x80;
        }
        let weights = chosen(&self.copy, self.own);
        for layer in layers_of(&self.layers) {
            let (k, n) = (size(layer.k), size(layer.n));
            let rows = n.next_multiple_of(LANES);
            let list = rows * WORD;
            int8::gemm(int8::Gemm {
                x: from,
                x_row: 0,
                x_outer: 0,
                y: &mut *to,
                y_row: 0,
                y_outer: 0,
                m: 1,
                outer: 1,
                n,
                k,
                offsets: &SINGLE,
                w: part(weights, layer.w, k.next_multiple_of(GROUP) * rows)?,
                bias: part(weights, layer.bias, list)?,
                requant: Requant {
                    mult: part(weights, layer.mult, list)?,
                    shift: part(weights, layer.shift, list)?,
                    zero: layer.zero,
                    min: layer.min,
                    max: layer.max,
                },
            });
            if layer.table != ChainLayer::NONE {
                let table = part(weights, layer.table, 256)?.try_into();
                let table: &[u8; 256] = table.map_err(|_| EINVAL)?;
                let (x, y) = (from.get_mut(..n), to.get_mut(..n));
                if let (Some(x), Some(y)) = (x, y) {
                    x.copy_from_slice(y);
                    lut::apply(table, x, y);
                }
            }
            core::mem::swap(&mut from, &mut to);
        }
        let bits = match self.work {
            Work::ChainI8 { flip: true, .. } => 0x80,
            _ => 0,
        };
        let outputs = self.expected.len() - 2 * GUARD;
        let result = self.expected.iter_mut().skip(GUARD).take(outputs);
        for (to, from) in result.zip(from.iter()) {
            *to = from ^ bits;
        }
        Ok(())
    }

    /// Makes the call by `run`, which says whether it has done it. Errors: `EINVAL` when it has not.
    fn call(&mut self, output: Output, run: &mut dyn FnMut(&mut Call<'_, '_>) -> bool) -> Result {
        let buffer = match output {
            Output::Tried => &mut *self.y,
            Output::Expected => &mut *self.expected,
        };
        let bytes = buffer.len().saturating_sub(2 * GUARD);
        let y = buffer.get_mut(GUARD..).ok_or(EINVAL)?;
        let y = y.get_mut(..bytes).ok_or(EINVAL)?;
        let weights = chosen(&self.copy, self.own);
        let done = match self.work {
            Work::ChainI8 { flip, .. } => run(&mut Call::ChainI8(&mut int8::Chain {
                layers: &self.layers,
                weights,
                x: &self.x,
                y,
                flip: *flip,
                temp: &mut self.temp,
                width: self.width,
            })),
            Work::ChainF32 { .. } => run(&mut Call::ChainF32(&mut float::Chain {
                layers: &self.layers,
                weights,
                x: &self.x,
                y,
                temp: &mut self.temp,
                width: self.width,
            })),
            Work::GemmI8 { layer, .. } => {
                // Biased codes, as for the scalar functions.
                for (to, from) in self.temp.iter_mut().zip(&*self.x) {
                    *to = from ^ 0x80;
                }
                let from = |at: u32| weights.get(size(at)..).ok_or(EINVAL);
                run(&mut Call::GemmI8(&mut int8::Gemm {
                    x: &self.temp,
                    x_row: 0,
                    x_outer: 0,
                    y,
                    y_row: 0,
                    y_outer: 0,
                    m: 1,
                    outer: 1,
                    n: size(layer.n),
                    k: size(layer.k),
                    offsets: &SINGLE,
                    w: from(layer.w)?,
                    bias: from(layer.bias)?,
                    requant: Requant {
                        mult: from(layer.mult)?,
                        shift: from(layer.shift)?,
                        zero: layer.zero,
                        min: layer.min,
                        max: layer.max,
                    },
                }))
            }
            Work::GemmF32 { gemm, w, bias } => run(&mut Call::GemmF32(&mut float::Gemm {
                x: &self.x,
                x_row: size(gemm.x_row),
                x_outer: 0,
                y,
                y_row: size(gemm.y_row),
                y_outer: 0,
                m: size(gemm.positions),
                outer: 1,
                n: size(gemm.n),
                k: size(gemm.k),
                offsets: &SINGLE,
                w: weights.get(w.clone()).ok_or(EINVAL)?,
                by_row: false,
                bias: weights.get(bias.clone()).ok_or(EINVAL)?,
                act: float::Act {
                    function: text::function_of(gemm.limit),
                    slope: 0,
                },
            })),
            Work::CosineF32 { n, eps, .. } => run(&mut Call::CosineF32(&mut float::Cosine {
                x: &self.x,
                rows: &self.rows,
                y,
                d: size(*n),
                eps: *eps,
            })),
        };
        done.then_some(()).ok_or(EINVAL)
    }

    /// Computes what the output must be.
    fn expect(&mut self) -> Result {
        if self.is_codes() {
            return self.expect_codes();
        }
        let set = self.set;
        let section = FpuGuard::new().ok_or(EBUSY)?;
        let done = self.call(Output::Expected, &mut |call| by_vector(&set, call));
        drop(section);
        done
    }

    /// Whether the code gives what it must give, and writes nothing else.
    ///
    /// Errors: `EBUSY` when it could not be run.
    pub(crate) fn compare(&mut self, code: &Made) -> Result<bool> {
        for round in 0..ROUNDS {
            self.fill(match round % 3 {
                0 => Data::Own,
                1 => Data::Any,
                _ => Data::Extreme,
            })?;
            self.random.fill(&mut self.y);
            self.expected.copy_from_slice(&self.y);
            self.expect()?;
            let section = FpuGuard::new().ok_or(EBUSY)?;
            let done = self.call(Output::Tried, &mut |call| code.run(&section, call));
            drop(section);
            if done.is_err() || *self.y != *self.expected {
                return Ok(false);
            }
            cpu::cond_resched();
        }
        Ok(true)
    }

    /// Measures the code beside vector code, with the weights of the network.
    pub(crate) fn measure(&mut self, code: &Made) -> Result<Times> {
        self.fill(Data::Own)?;
        let set = self.set;
        let vector = |_: &FpuGuard, call: &mut Call<'_, '_>| by_vector(&set, call);
        let generated = |section: &FpuGuard, call: &mut Call<'_, '_>| code.run(section, call);
        let calls = self.calls(&generated)?;
        let mut times = Times {
            vector: u64::MAX,
            generated: u64::MAX,
        };
        for _ in 0..TIMES {
            times.vector = times.vector.min(self.time(calls, &vector)?);
            times.generated = times.generated.min(self.time(calls, &generated)?);
            cpu::cond_resched();
        }
        let tenths = |ticks: u64| ticks.saturating_mul(10).checked_div(calls).unwrap_or(0);
        Ok(Times {
            vector: tenths(times.vector),
            generated: tenths(times.generated),
        })
    }

    /// How many calls take so long that it can be measured.
    fn calls(&mut self, run: &Run<'_>) -> Result<u64> {
        let mut calls = 1;
        while calls < LEAST && self.time(calls, run)? < LEAST {
            calls *= 2;
        }
        Ok(calls)
    }

    fn time(&mut self, calls: u64, run: &Run<'_>) -> Result<u64> {
        let section = FpuGuard::new().ok_or(EBUSY)?;
        let mut ticks = 0;
        self.call(Output::Tried, &mut |call| {
            let start = fpu::ticks();
            let done = (0..calls).all(|_| run(&section, call));
            ticks = fpu::ticks().saturating_sub(start);
            done
        })?;
        Ok(ticks)
    }
}

/// Makes a call in a section.
type Run<'a> = dyn Fn(&FpuGuard, &mut Call<'_, '_>) -> bool + 'a;
