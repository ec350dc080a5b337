// SPDX-License-Identifier: GPL-2.0

//! What is done with generated code before anybody else may run it: a comparison with the scalar
//! functions on the very shape, and the time that it takes beside vector code.
//!
//! Context: task, may sleep.

use kernel::prelude::*;
use neural_core::int8::{
    self,
    lut,
    Chain,
    ChainLayer,
    Gemm,
    Requant,
    GROUP,
    LANES,
    SLACK, //
};
use neural_simd::Set;

use crate::sys::{
    cpu,
    fpu::{
        self,
        FpuGuard, //
    },
    text::ChainCode, //
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
}

/// What codes and weights are filled with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Data {
    /// Weights of the network, any input.
    Own,
    /// Any weights, any input.
    Any,
    /// The greatest and least weights and inputs.
    Extreme,
}

/// Operands of a chain.
pub(crate) struct Trial<'a> {
    layers: &'a [u8],
    flip: bool,
    own: &'a [u8],
    weights: KVVec<u8>,
    x: KVVec<u8>,
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

impl<'a> Trial<'a> {
    /// Memory for a chain of these layers, whose constants are `weights`.
    pub(crate) fn new(layers: &'a [u8], flip: bool, weights: &'a [u8]) -> Result<Self> {
        let each = || {
            layers
                .chunks_exact(ChainLayer::BYTES)
                .flat_map(ChainLayer::read)
        };
        let first = each().next().ok_or(EINVAL)?;
        let last = each().last().ok_or(EINVAL)?;
        let widest = each().fold(0, |most, layer| layer.k.max(layer.n).max(most));
        let width = size(widest).next_multiple_of(SLACK) + SLACK;
        let mut copy = KVVec::with_capacity(weights.len(), GFP_KERNEL | __GFP_NOWARN)?;
        copy.extend_from_slice(weights, GFP_KERNEL)?;
        Ok(Trial {
            layers,
            flip,
            own: weights,
            weights: copy,
            x: KVVec::from_elem(0, size(first.k), GFP_KERNEL)?,
            y: KVVec::from_elem(0, size(last.n) + 2 * GUARD, GFP_KERNEL)?,
            expected: KVVec::from_elem(0, size(last.n) + 2 * GUARD, GFP_KERNEL)?,
            temp: KVVec::from_elem(0, 2 * width, GFP_KERNEL)?,
            width,
            random: Random(0x9e37_79b9_7f4a_7c15),
        })
    }

    fn layers(&self) -> impl Iterator<Item = ChainLayer> + 'a {
        let layers = self.layers;
        layers
            .chunks_exact(ChainLayer::BYTES)
            .flat_map(ChainLayer::read)
    }

    /// Fills weights and input. Biases and shifts stay within those of the network, as code may count on
    /// that.
    fn fill(&mut self, data: Data) -> Result {
        self.weights.copy_from_slice(self.own);
        self.random.fill(&mut self.x);
        self.random.fill(&mut self.temp);
        if data == Data::Extreme {
            for x in &mut *self.x {
                // The least and the greatest code, mostly.
                *x = if *x & 7 == 0 { 0x80 } else { 0x7f };
            }
        }
        if data == Data::Own {
            return Ok(());
        }
        for layer in self.layers() {
            self.fill_layer(&layer, data)?;
        }
        Ok(())
    }

    fn fill_layer(&mut self, layer: &ChainLayer, data: Data) -> Result {
        let rows = size(layer.n).next_multiple_of(LANES);
        let groups = size(layer.k).div_ceil(GROUP);
        let list = rows * WORD;
        let random = &mut self.random;
        let sign = random.next();
        let w = part_mut(&mut self.weights, layer.w, groups * rows * GROUP)?;
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
        for bias in part_mut(&mut self.weights, layer.bias, list)?.chunks_exact_mut(WORD) {
            bias.copy_from_slice(&random.range(least, most).to_le_bytes());
        }
        let shifts = || words(self.own.get(size(layer.shift)..).unwrap_or(&[])).take(used / WORD);
        let (least, most) = (shifts().min().unwrap_or(0), shifts().max().unwrap_or(0));
        for shift in part_mut(&mut self.weights, layer.shift, used)?.chunks_exact_mut(WORD) {
            shift.copy_from_slice(&random.range(least, most).to_le_bytes());
        }
        for mult in part_mut(&mut self.weights, layer.mult, used)?.chunks_exact_mut(WORD) {
            let extremes = [0, 1 << 30, i32::MAX, i32::MAX - 1];
            let any = random.range(1 << 30, i32::MAX);
            let pick = random.range(0, 7);
            let extreme = usize::try_from(pick)
                .ok()
                .and_then(|pick| extremes.get(pick));
            mult.copy_from_slice(&extreme.copied().unwrap_or(any).to_le_bytes());
        }
        if layer.table != ChainLayer::NONE {
            random.fill(part_mut(&mut self.weights, layer.table, 256)?);
        }
        Ok(())
    }

    /// Computes what the output must be.
    fn expect(&mut self) -> Result {
        let (low, high) = self.temp.split_at_mut(self.width);
        let (mut from, mut to) = (low, high);
        for (to, from) in from.iter_mut().zip(&*self.x) {
            *to = from ^ 0x80;
        }
        let layers = self.layers;
        for layer in layers
            .chunks_exact(ChainLayer::BYTES)
            .flat_map(ChainLayer::read)
        {
            let (k, n) = (size(layer.k), size(layer.n));
            let rows = n.next_multiple_of(LANES);
            let list = rows * WORD;
            let weights = &self.weights;
            int8::gemm(Gemm {
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
                offsets: &[0; WORD],
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
        let bits = if self.flip { 0x80 } else { 0 };
        let outputs = self.expected.len() - 2 * GUARD;
        let result = self.expected.iter_mut().skip(GUARD).take(outputs);
        for (to, from) in result.zip(from.iter()) {
            *to = from ^ bits;
        }
        Ok(())
    }

    fn chain(&mut self) -> Chain<'_> {
        let outputs = self.y.len() - 2 * GUARD;
        let (_, y) = self.y.split_at_mut(GUARD);
        let (y, _) = y.split_at_mut(outputs);
        Chain {
            layers: self.layers,
            weights: &self.weights,
            x: &self.x,
            y,
            flip: self.flip,
            temp: &mut self.temp,
            width: self.width,
        }
    }

    /// Whether the code gives what the scalar functions give, and writes nothing else.
    ///
    /// Errors: `EBUSY` when it could not be run.
    pub(crate) fn compare(&mut self, code: &ChainCode) -> Result<bool> {
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
            let done = code.run(&section, &mut self.chain());
            drop(section);
            if !done || *self.y != *self.expected {
                return Ok(false);
            }
            cpu::cond_resched();
        }
        Ok(true)
    }

    /// Measures the code beside vector code, with the weights of the network.
    pub(crate) fn measure(&mut self, set: &Set, code: &ChainCode) -> Result<Times> {
        self.fill(Data::Own)?;
        let vector = |_: &FpuGuard, chain: &mut Chain<'_>| set.chain_i8(chain);
        let generated = |section: &FpuGuard, chain: &mut Chain<'_>| code.run(section, chain);
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
    fn calls(&mut self, run: &dyn Fn(&FpuGuard, &mut Chain<'_>) -> bool) -> Result<u64> {
        let mut calls = 1;
        while calls < LEAST && self.time(calls, run)? < LEAST {
            calls *= 2;
        }
        Ok(calls)
    }

    fn time(&mut self, calls: u64, run: &dyn Fn(&FpuGuard, &mut Chain<'_>) -> bool) -> Result<u64> {
        let mut chain = self.chain();
        let section = FpuGuard::new().ok_or(EBUSY)?;
        let start = fpu::ticks();
        for _ in 0..calls {
            if !run(&section, &mut chain) {
                return Err(EINVAL);
            }
        }
        Ok(fpu::ticks().saturating_sub(start))
    }
}
