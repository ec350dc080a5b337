// SPDX-License-Identifier: GPL-2.0

//! Layers of `f32` made up at random, for those who can compute no `f32` themselves: how a kernel knows
//! that vector code gives there what it gives elsewhere.
//!
//! Numbers are made as bits, with the arithmetic of integers. There are two yardsticks. Of whole numbers
//! that are small, sums and products are exact in whatever order they are taken, so the result is
//! computed by integers. For all numbers, the bits of the results are condensed to a digest for each
//! instruction set, to be compared with that of another machine, where the same code is compared with
//! f64 (`rust/simd/tests/f32_*.rs`).

use neural_core::float::{
    self, Act, ChainLayer, Function, Operator, Rows, RowsMut, SoftmaxPart, SoftmaxState,
};
use neural_core::int8::{panel_rows, LANES, PANEL, SLACK};
use neural_simd::f32::Transpose;
use neural_simd::{Isa, Set};

use super::check::Random;

/// What numbers are like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Numbers {
    /// Of -1 to 1, or some powers of two of that.
    Ordinary,
    /// Of all sizes, among them infinities, denormal numbers, zeros of both signs and no numbers.
    Odd,
    /// Whole and small.
    Whole,
}

impl Numbers {
    /// All.
    pub(crate) const ALL: [Numbers; 3] = [Numbers::Ordinary, Numbers::Odd, Numbers::Whole];
}

/// Lengths that are tried: 0 to this.
pub(crate) const MOST: usize = 512;

/// Lengths that share a digest.
pub(crate) const BLOCK: usize = 64;

/// How many digests an operation has.
pub(crate) const BLOCKS: usize = MOST / BLOCK + 1;

/// Bytes that each part of the memory needs at least.
pub(crate) const BUFFER: usize = 5 << 18;

/// What a layer is made up with.
pub(crate) struct Case<'a> {
    set: Set,
    random: &'a mut Random,
    numbers: Numbers,
    /// What is a length in it.
    n: usize,
    enter: &'a Enter<'a>,
    digest: u64,
}

/// Runs code where vector registers may be used.
pub(crate) type Enter<'a> = dyn Fn(&mut dyn FnMut() -> bool) -> bool + 'a;

/// Memory, each part of which is used up to its end, or nearly.
type Memory<'a> = [&'a mut [u8]; PARTS];

/// Parts of the memory.
pub(crate) const PARTS: usize = 5;

/// Tries a layer: `None` if it did not run, else whether it is right as far as integers tell, and whether
/// parts of it, where there are some, give the bits of the whole.
type Try = fn(&mut Case<'_>, Memory<'_>) -> Option<bool>;

/// An operation of the table.
pub(crate) struct Op {
    /// Its name.
    pub(crate) name: &'static str,
    /// Whether its cost grows with the square of the length: then not all of them are tried.
    squared: bool,
    run: Try,
}

const fn op(name: &'static str, run: Try) -> Op {
    Op {
        name,
        squared: false,
        run,
    }
}

const fn squared(name: &'static str, run: Try) -> Op {
    Op {
        name,
        squared: true,
        run,
    }
}

/// All of them.
pub(crate) const OPS: &[Op] = &[
    op("gemm_f32", gemm),
    op("chain_f32", chain),
    op("map_f32", map),
    op("binary_f32", binary),
    op("normalise_f32", normalise),
    op("softmax_f32", softmax),
    op("norm_f32", norm),
    op("mean_f32", mean),
    op("lstm_f32", lstm),
    op("gru_f32", gru),
    op("cosine_f32", cosine),
    op("matmul_f32", matmul),
    op("transpose_f32", transpose),
    op("attention_f32", attention),
    op("depthwise_f32", depthwise),
    op("pool_f32", pool),
    op("mix_f32", mix),
    op("usage_f32", usage),
    squared("allocation_f32", allocation),
    op("write_f32", write),
    squared("link_f32", link),
];

/// The sets that have code of their own for `f32`.
pub(crate) const ISAS: [Isa; 2] = [Isa::Avx2, Isa::Avx512];

/// What did not run, or is wrong: the numbers, the length, and what was found.
pub(crate) type Fault = (Numbers, usize, Option<bool>);

/// Runs an operation on all lengths, with digests for blocks of them; `pause` is called between.
pub(crate) fn digests(
    set: Set,
    op: &Op,
    memory: &mut Memory<'_>,
    enter: &Enter<'_>,
    pause: &mut dyn FnMut(),
) -> Result<[u64; BLOCKS], Fault> {
    // Each operation has numbers of its own.
    let mix = |seed: u64, byte: u8| seed.wrapping_mul(31).wrapping_add(byte.into());
    let mut random = Random::new(op.name.bytes().fold(1, mix));
    let mut all = [0; BLOCKS];
    for n in 0..=MOST {
        if op.squared && n > BLOCK && !matches!(n % LANES, 0 | 1 | 15) {
            continue;
        }
        for numbers in Numbers::ALL {
            let mut case = Case {
                set,
                random: &mut random,
                numbers,
                n,
                enter,
                digest: all[n / BLOCK],
            };
            let right = (op.run)(&mut case, memory.each_mut().map(|part| &mut **part));
            all[n / BLOCK] = case.digest;
            if right != Some(true) {
                return Err((numbers, n, right));
            }
        }
        pause();
    }
    Ok(all)
}

/// Bytes of a number.
const WORD: usize = 4;

/// `x 2^exponent`; `x` has at most 24 bits.
fn scaled(x: i64, exponent: i32) -> u32 {
    let size = x.unsigned_abs();
    let Some(log) = size.checked_ilog2() else {
        return 0;
    };
    let sign = u32::from(x < 0) << 31;
    let fraction = (size << (23 - log)) as u32 & 0x007f_ffff;
    sign | ((log as i32 + exponent + 127) as u32) << 23 | fraction
}

/// A whole number as its bits.
fn whole(x: i64) -> u32 {
    scaled(x, 0)
}

/// The whole number that bits are; what is behind the point is cut off.
fn value(bits: u32) -> i64 {
    let exponent = (bits >> 23 & 255) as i32 - 127;
    let size = i64::from(bits & 0x007f_ffff | 0x0080_0000);
    let size = match exponent {
        0..=23 => size >> (23 - exponent),
        24..=38 => size << (exponent - 23),
        _ => 0,
    };
    if bits >> 31 == 1 {
        -size
    } else {
        size
    }
}

/// The number at an index, as its bits.
fn bits(tensor: &[u8], i: usize) -> u32 {
    let word: [u8; WORD] = tensor[i * WORD..][..WORD].try_into().unwrap_or_default();
    u32::from_le_bytes(word)
}

/// The result at an index. Those that are no number are all the same.
fn result(tensor: &[u8], i: usize) -> u32 {
    match bits(tensor, i) {
        nan if nan & 0x7fff_ffff > 0x7f80_0000 => 0x7fc0_0000,
        number => number,
    }
}

/// Whether results are the same, bit by bit.
fn same(a: &[u8], b: &[u8]) -> bool {
    (0..a.len().max(b.len()) / WORD).all(|i| result(a, i) == result(b, i))
}

/// The whole number at an index.
fn at(tensor: &[u8], i: usize) -> i64 {
    value(bits(tensor, i))
}

impl Case<'_> {
    /// Fills with numbers, of which the ordinary ones are of `2^-spread` to `2^spread`; at most
    /// `special` of the odd ones are nothing that sums can be made of.
    fn fill(&mut self, tensor: &mut [u8], spread: i64, special: usize) {
        let scale = match self.numbers {
            Numbers::Whole => 0,
            Numbers::Ordinary => self.random.range(-spread, spread),
            Numbers::Odd => self.random.range(-30, 30),
        };
        for word in tensor.chunks_exact_mut(WORD) {
            let x = (self.random.next() >> 40) as i64;
            let number = match self.numbers {
                Numbers::Whole => whole(x % 7 - 3),
                _ => scaled(x - (1 << 23), scale as i32 - 23),
            };
            word.copy_from_slice(&number.to_le_bytes());
        }
        let count = tensor.len() / WORD;
        if self.numbers != Numbers::Odd || count == 0 {
            return;
        }
        for _ in 0..self.random.below(special + 1) {
            let any = self.random.next() as u32;
            let odd: [u32; 11] = [
                0x7fc0_0000,
                0xff80_0000,
                0x7f80_0000,
                0x8000_0000,
                0,
                0x0000_0001,
                0x807f_ffff,
                0x0080_0000,
                0x7f7f_ffff,
                any & 0x807f_ffff,
                any,
            ];
            let odd = odd[self.random.below(odd.len())];
            let i = self.random.below(count) * WORD;
            tensor[i..i + WORD].copy_from_slice(&odd.to_le_bytes());
        }
    }

    /// Numbers at the end of a part of the memory, or a few bytes before it.
    fn place<'m>(&mut self, memory: &'m mut [u8], count: usize, spread: i64) -> &'m mut [u8] {
        self.place_odd(memory, count, spread, 1)
    }

    fn place_odd<'m>(
        &mut self,
        memory: &'m mut [u8],
        count: usize,
        spread: i64,
        special: usize,
    ) -> &'m mut [u8] {
        let shift = [0, 0, 1, 3][self.random.below(4)];
        let end = memory.len() - shift;
        let tensor = &mut memory[end - count * WORD..end];
        self.fill(tensor, spread, special);
        tensor
    }

    /// A function: one that integers can compute, where numbers are whole.
    fn act(&mut self) -> Act {
        let function = match self.numbers {
            Numbers::Whole => [Function::None, Function::Relu][self.random.below(2)],
            _ => Function::ALL[self.random.below(Function::ALL.len())],
        };
        Act {
            function,
            slope: if function.has_slope() { 0x3e80_0000 } else { 0 },
        }
    }

    /// A number that is a parameter.
    fn parameter(&mut self) -> u32 {
        let mut word = [0; WORD];
        self.fill(&mut word, 3, 0);
        u32::from_le_bytes(word)
    }

    /// Runs a layer.
    fn run(&self, layer: &mut dyn FnMut(&Set) -> bool) -> bool {
        (self.enter)(&mut || layer(&self.set))
    }

    /// Takes results into the digest.
    fn absorb(&mut self, y: &[u8]) {
        for i in 0..y.len() / WORD {
            let word = result(y, i);
            let mixed = (self.digest ^ u64::from(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            self.digest = mixed ^ mixed >> 29;
        }
    }

    /// Whether the layer was done and, of whole numbers, each result is what integers say; those of
    /// which they say nothing are between rows.
    fn exact(
        &mut self,
        done: bool,
        y: &[u8],
        expected: impl Fn(usize) -> Option<u32>,
    ) -> Option<bool> {
        self.absorb(y);
        let same = |i: usize| match (bits(y, i), expected(i)) {
            (y, Some(expected)) => y == expected || (y | expected) << 1 == 0,
            _ => true,
        };
        let whole = self.numbers == Numbers::Whole;
        done.then(|| !whole || (0..y.len() / WORD).all(same))
    }

    /// Whether the layer was done; of what it computes, integers say nothing.
    fn condensed(&mut self, done: bool, y: &[u8]) -> Option<bool> {
        self.absorb(y);
        done.then_some(true)
    }
}

/// What becomes of a whole number.
fn apply(act: Act, x: i64) -> u32 {
    whole(match act.function {
        Function::Relu => x.max(0),
        Function::Abs => x.abs(),
        _ => x,
    })
}

/// Offsets at the end of a part of the memory.
fn offsets(memory: &mut [u8], count: usize, each: impl Fn(usize) -> usize) -> &mut [u8] {
    let start = memory.len() - count * WORD;
    let words = &mut memory[start..];
    for (i, word) in words.chunks_exact_mut(WORD).enumerate() {
        word.copy_from_slice(&(each(i) as u32).to_le_bytes());
    }
    words
}

fn gemm(case: &mut Case<'_>, [x, w, bias, y, places]: Memory<'_>) -> Option<bool> {
    let (length, other) = (case.n.max(1), 1 + case.random.below(20));
    let (n, k) = match case.random.below(2) {
        0 => (length, other),
        _ => (other, length),
    };
    let (segments, gap) = (1 + case.random.below(2), case.random.below(3));
    let (m, outer) = (1 + case.random.below(4), 1 + case.random.below(2));
    let place = |s: usize| s * (k + gap);
    let patch = place(segments - 1) + k;
    let (x_row, y_row) = (case.random.below(patch) + gap, n + gap);
    let (x_outer, y_outer) = (x_row * m + gap, y_row * m + gap);
    let (by_row, lanes) = (float::by_row(n, segments * k), n.next_multiple_of(LANES));
    let offsets = offsets(places, segments, |s| place(s) * WORD);
    let used = (outer - 1) * x_outer + (m - 1) * x_row + patch;
    let x = case.place_odd(x, used + SLACK / WORD, 2, 1);
    let w = case.place(w, if by_row { n } else { lanes } * segments * k, 0);
    let bias = case.place(bias, lanes, 1);
    let y = case.place(y, (outer - 1) * y_outer + (m - 1) * y_row + n, 1);
    let act = case.act();
    let done = case.run(&mut |set| {
        set.gemm_f32(&mut float::Gemm {
            x,
            x_row: x_row * WORD,
            x_outer: x_outer * WORD,
            y,
            y_row: y_row * WORD,
            y_outer: y_outer * WORD,
            m,
            outer,
            n,
            k,
            offsets,
            w,
            by_row,
            bias,
            act,
        })
    });
    case.exact(done, y, |i| {
        let (a, b, r) = (i / y_outer, i % y_outer / y_row, i % y_outer % y_row);
        // Gaps, those between lines among them.
        if b >= m || r >= n {
            return None;
        }
        let weight = |s: usize, l: usize| packed(w, [n, segments * k], r, s * k + l);
        let start = a * x_outer + b * x_row;
        let mut sum = at(bias, r);
        for s in 0..segments {
            for l in 0..k {
                sum += at(x, start + place(s) + l) * weight(s, l);
            }
        }
        Some(apply(act, sum))
    })
}

/// The weight of row `r` and column `l` of a matrix of `n` rows and `k` columns, as it is packed.
fn packed(w: &[u8], [n, k]: [usize; 2], r: usize, l: usize) -> i64 {
    let panel = r / PANEL * PANEL;
    match float::by_row(n, k) {
        true => at(w, r * k + l),
        false => at(w, panel * k + l * panel_rows(n - panel) + r % PANEL),
    }
}

fn chain(case: &mut Case<'_>, [x, y, weights, temp, layers]: Memory<'_>) -> Option<bool> {
    let (length, other) = (case.n.max(1), 1 + case.random.below(20));
    let (k, middle) = match case.random.below(2) {
        0 => (length, other),
        _ => (other, length),
    };
    let n = 1 + case.random.below(20);
    let sizes = [[middle, k], [n, middle]];
    let acts = [case.act(), case.act()];
    let lanes = |n: usize| n.next_multiple_of(LANES);
    let rows = |[n, k]: [usize; 2]| if float::by_row(n, k) { n } else { lanes(n) };
    let elements = |[n, k]: [usize; 2]| rows([n, k]) * k + lanes(n);
    let x = case.place(x, k, 2);
    let y = case.place(y, n, 0);
    let weights = case.place(weights, elements(sizes[0]) + elements(sizes[1]), 0);
    let width = lanes(length.max(20)) * WORD + SLACK;
    let temp = case.place(temp, 2 * width / WORD, 0);
    let start = layers.len() - 2 * ChainLayer::BYTES;
    let layers = &mut layers[start..];
    let mut from = 0;
    for ((layer, [n, k]), act) in layers
        .chunks_exact_mut(ChainLayer::BYTES)
        .zip(sizes)
        .zip(acts)
    {
        let few = u32::from(float::by_row(n, k));
        let bias = (from + rows([n, k]) * k) * WORD;
        let (code, slope) = (act.function.code(), act.slope);
        let fields = [
            k as u32,
            n as u32,
            (from * WORD) as u32,
            bias as u32,
            few,
            code,
            slope,
            0,
        ];
        for (to, field) in layer.chunks_exact_mut(WORD).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        from += elements([n, k]);
    }
    let done = case.run(&mut |set| {
        set.chain_f32(&mut float::Chain {
            layers,
            weights,
            x,
            y,
            temp,
            width,
        })
    });
    let between = &mut temp[..middle * WORD];
    let (first, second) = weights.split_at(elements(sizes[0]) * WORD);
    let result = |w: &[u8], x: &[u8], i: usize, r: usize| {
        let ([n, k], bias) = (sizes[i], rows(sizes[i]) * sizes[i][1]);
        let sum: i64 = (0..k).map(|l| at(x, l) * packed(w, [n, k], r, l)).sum();
        apply(acts[i], sum + at(w, bias + r))
    };
    if case.numbers == Numbers::Whole {
        for r in 0..middle {
            let number = result(first, x, 0, r).to_le_bytes();
            between[r * WORD..][..WORD].copy_from_slice(&number);
        }
    }
    case.exact(done, y, |r| Some(result(second, between, 1, r)))
}

fn map(case: &mut Case<'_>, [x, y, ..]: Memory<'_>) -> Option<bool> {
    let x = case.place_odd(x, case.n, 7, case.n / 2);
    let y = case.place(y, case.n, 0);
    let act = match (case.numbers, case.random.below(2)) {
        (Numbers::Whole, 1) => Act {
            function: Function::Abs,
            slope: 0,
        },
        _ => case.act(),
    };
    let done = case.run(&mut |set| set.map_f32(&mut float::Map { x, y, act }));
    case.exact(done, y, |i| Some(apply(act, at(x, i))))
}

fn binary(case: &mut Case<'_>, [a, b, y, ..]: Memory<'_>) -> Option<bool> {
    let (n, rows) = (case.n.max(1), 1 + case.random.below(3));
    let a = case.place_odd(a, rows * n, 3, n / 2);
    let b = case.place_odd(b, n, 3, n / 2);
    let y = case.place(y, rows * n, 0);
    let act = case.act();
    let operator = [Operator::Add, Operator::Sub, Operator::Mul][case.random.below(3)];
    let done = case.run(&mut |set| {
        set.binary_f32(&mut float::Binary {
            operator,
            a,
            b,
            y,
            act,
        })
    });
    case.exact(done, y, |i| {
        let (a, b) = (at(a, i), at(b, i % n));
        let x = match operator {
            Operator::Add => a + b,
            Operator::Sub => a - b,
            Operator::Mul => a * b,
        };
        Some(apply(act, x))
    })
}

fn normalise(case: &mut Case<'_>, [x, state, y, first, second]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    let x = case.place_odd(x, n, 3, n / 4);
    let state = case.place(state, 2 * n, 3);
    let y = case.place(y, n, 0);
    let next_first = case.place(first, n, 0);
    let next_second = case.place(second, n, 0);
    let (first, second) = state.split_at(n * WORD);
    let range = case.random.below(2) == 1;
    // Means of one and of two samples are exact.
    let count = 1 + case.random.below(2) as i64;
    let samples = match case.numbers {
        Numbers::Whole => whole(count),
        _ => whole(case.random.range(1, 9)),
    };
    let eps = whole(1);
    let done = case.run(&mut |set| {
        set.normalise_f32(&mut float::Normalise {
            x,
            first,
            second,
            y,
            next_first,
            next_second,
            range,
            samples,
            eps,
        })
    });
    let least = |i: usize| {
        if count > 1 {
            at(first, i).min(at(x, i))
        } else {
            at(x, i)
        }
    };
    let most = |i: usize| {
        if count > 1 {
            at(second, i).max(at(x, i))
        } else {
            at(x, i)
        }
    };
    let [left, right] = [
        case.exact(done, next_first, |i| {
            let before = if count > 1 { at(first, i) } else { 0 };
            let sum = before * (count - 1) + at(x, i);
            Some(if range {
                whole(least(i))
            } else {
                scaled(sum, 1 - count as i32)
            })
        }),
        case.exact(done, next_second, |i| range.then(|| whole(most(i)))),
    ];
    case.absorb(y);
    Some(left? && right?)
}

fn softmax(case: &mut Case<'_>, [x, y, z, ..]: Memory<'_>) -> Option<bool> {
    let (n, rows) = (case.n.max(1), 1 + case.random.below(3));
    let x = case.place(x, rows * n, 6);
    let y = case.place(y, rows * n, 0);
    let log = case.random.below(2) == 1;
    let done = case.run(&mut |set| {
        set.softmax_f32(&mut float::Softmax {
            x,
            y,
            n,
            log,
            part: None,
        })
    });
    let right = case.condensed(done, y)?;
    // The first row in two parts.
    let (row, end) = (n * WORD, n / 2 / LANES * LANES * WORD);
    let (x, z) = (&x[..row], &mut z[..row]);
    let mut state = SoftmaxState::new();
    for part in [SoftmaxPart::Top, SoftmaxPart::Sum, SoftmaxPart::Share] {
        for range in [0..end, end..row] {
            let (x, y) = (&x[range.clone()], &mut z[range]);
            let n = y.len() / WORD;
            let done = n == 0
                || case.run(&mut |set| {
                    let part = Some((part, &mut state));
                    set.softmax_f32(&mut float::Softmax { x, y, n, log, part })
                });
            done.then_some(())?;
        }
    }
    Some(right && same(z, &y[..row]))
}

fn norm(case: &mut Case<'_>, [x, gamma, beta, y, _]: Memory<'_>) -> Option<bool> {
    let (n, rows) = (case.n.max(1), 1 + case.random.below(3));
    let x = case.place(x, rows * n, 3);
    let gamma = case.place(gamma, n, 3);
    let beta = case.place(beta, n, 3);
    let y = case.place(y, rows * n, 0);
    let layer = case.random.below(2) == 1;
    let done = case.run(&mut |set| {
        set.norm_f32(&mut float::Norm {
            x,
            y,
            n,
            gamma,
            beta: layer.then_some(beta),
            eps: 0x3727_c5ac,
        })
    });
    case.condensed(done, y)
}

fn mean(case: &mut Case<'_>, [x, y, z, ..]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    // What the sum is divided by is a power of two, where the result shall be exact.
    let log = case.random.below(3);
    let rows = match case.numbers {
        Numbers::Whole => 1 << log,
        _ => 1 + case.random.below(7),
    };
    let x = case.place(x, rows * n, 3);
    let y = case.place(y, n, 0);
    let row = n * WORD;
    let layer = |y: &mut [u8], from: usize, to: usize| {
        case.run(&mut |set| {
            set.mean_f32(&mut float::Mean {
                x: &x[from * row..],
                row,
                y: &mut *y,
                rows: to - from,
                n,
                more: from > 0,
                count: if to == rows { rows } else { 0 },
            })
        })
    };
    let done = layer(y, 0, rows);
    // In two parts.
    let (z, half) = (&mut z[..row], rows.div_ceil(2));
    let parts = layer(z, 0, half) && (half == rows || layer(z, half, rows));
    let right = case.exact(done && parts, y, |i| {
        let sum = (0..rows).map(|r| at(x, r * n + i)).sum();
        Some(scaled(sum, -(log as i32)))
    });
    Some(right? && same(z, y))
}

fn lstm(case: &mut Case<'_>, [gates, c, h, ..]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    let gates = case.place(gates, 4 * n, 4);
    let c = case.place(c, n, 1);
    let h = case.place(h, n, 0);
    let done = case.run(&mut |set| set.lstm_f32(&mut float::LstmCell { gates, c, h }));
    case.absorb(c);
    case.condensed(done, h)
}

fn gru(case: &mut Case<'_>, [x, r, h, ..]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    let x = case.place(x, 3 * n, 3);
    let r = case.place(r, 3 * n, 3);
    let h = case.place(h, n, 1);
    let done = case.run(&mut |set| set.gru_f32(&mut float::GruCell { x, r, h }));
    case.condensed(done, h)
}

fn cosine(case: &mut Case<'_>, [x, rows, y, ..]: Memory<'_>) -> Option<bool> {
    let (length, other) = (case.n.max(1), 1 + case.random.below(12));
    let (d, n) = match case.random.below(2) {
        0 => (length, other),
        _ => (other, length),
    };
    let x = case.place(x, d, 2);
    let rows = case.place(rows, n * d, 2);
    let y = case.place(y, n, 0);
    let eps = [0, 0x322b_cc77][case.random.below(2)];
    let done = case.run(&mut |set| set.cosine_f32(&mut float::Cosine { x, rows, y, d, eps }));
    case.condensed(done, y)
}

fn matmul(case: &mut Case<'_>, [x, b, y, z, _]: Memory<'_>) -> Option<bool> {
    let (length, other) = (case.n, case.random.below(14));
    let (n, k) = match case.random.below(2) {
        0 => (length, other),
        _ => (other, length),
    };
    let (m, gap) = (1 + case.random.below(7), case.random.below(3));
    let transposed = case.random.below(2) == 1;
    let (rows, columns) = if transposed { (n, k) } else { (k, n) };
    let size = |rows: usize, columns: usize| (rows * (columns + gap)).saturating_sub(gap);
    let x = case.place(x, size(m, k), 2);
    let b = case.place(b, size(rows, columns), 2);
    let y = case.place(y, size(m, n), 0);
    let scale = match case.numbers {
        Numbers::Whole => whole(1),
        _ => case.parameter(),
    };
    let (x_row, b_row, y_row) = ((k + gap) * WORD, (columns + gap) * WORD, (n + gap) * WORD);
    let layer = |y: &mut [u8], from: usize, to: usize| {
        case.run(&mut |set| {
            set.matmul_f32(&mut float::Matmul {
                x: Rows {
                    bytes: &x[from * WORD..],
                    row: x_row,
                },
                b: Rows {
                    bytes: &b[from * b_row..],
                    row: b_row,
                },
                y: RowsMut {
                    bytes: &mut *y,
                    row: y_row,
                },
                m,
                n,
                k: to - from,
                scale,
                transposed,
                more: from > 0,
            })
        })
    };
    let done = layer(y, 0, k);
    // In two parts; what is multiplied by a scale does not go on.
    let (z, half) = (&mut z[..y.len()], k / 2);
    z.copy_from_slice(y);
    let parts =
        transposed || scale != whole(1) || half == 0 || layer(z, 0, half) && layer(z, half, k);
    let right = case.exact(done, y, |i| {
        let (i, j) = (i / (n + gap), i % (n + gap));
        let second = |l: usize| match transposed {
            true => at(b, j * (k + gap) + l),
            false => at(b, l * (n + gap) + j),
        };
        let sum = || (0..k).map(|l| at(x, i * (k + gap) + l) * second(l)).sum();
        (j < n).then(|| whole(sum()))
    });
    Some(right? && parts && same(z, y))
}

fn transpose(case: &mut Case<'_>, [x, y, ..]: Memory<'_>) -> Option<bool> {
    let (length, other) = (case.n, case.random.below(20));
    let (rows, columns) = match case.random.below(2) {
        0 => (length, other),
        _ => (other, length),
    };
    let x = case.place(x, rows * columns, 0);
    let y = case.place(y, rows * columns, 0);
    let done = case.run(&mut |set| {
        set.transpose_f32(&mut Transpose {
            x: Rows {
                bytes: x,
                row: columns * WORD,
            },
            y: RowsMut {
                bytes: y,
                row: rows * WORD,
            },
            rows,
            columns,
        })
    });
    case.exact(done, y, |i| Some(bits(x, i % rows * columns + i / rows)))
}

fn attention(case: &mut Case<'_>, [q, k, v, y, temp]: Memory<'_>) -> Option<bool> {
    let (length, other) = (case.n.max(1), 1 + case.random.below(12));
    let (d, s) = match case.random.below(2) {
        0 => (length, other),
        _ => (other, length),
    };
    let (t, heads) = (1 + case.random.below(8), 1 + case.random.below(2));
    let row = heads * d;
    let q = case.place(q, t * row, 1);
    let k = case.place(k, s * row, 1);
    let v = case.place(v, s * row, 1);
    let y = case.place(y, t * row, 0);
    let temp = case.place(temp, float::attention_elements(s, d)?, 0);
    let causal = case.random.below(2) == 1;
    let scale = case.parameter();
    let done = case.run(&mut |set| {
        set.attention_f32(&mut float::Attention {
            q,
            k,
            v,
            y,
            row: row * WORD,
            temp,
            t,
            s,
            heads,
            d,
            causal,
            scale,
        })
    });
    case.condensed(done, y)
}

fn depthwise(case: &mut Case<'_>, [x, w, bias, y, places]: Memory<'_>) -> Option<bool> {
    let (channels, taps) = (case.n.max(1), 1 + case.random.below(9));
    let (m, outer) = (1 + case.random.below(3), 1 + case.random.below(2));
    let (pixel, lanes) = (
        channels + case.random.below(3),
        channels.next_multiple_of(LANES),
    );
    let line = pixel * m + case.random.below(3);
    let stride = lanes + case.random.below(2) * LANES;
    let place = |t: usize| (taps - 1 - t) * pixel;
    let offsets = offsets(places, taps, |t| place(t) * WORD);
    let used = (outer - 1) * line + (m - 1) * pixel + channels;
    let x = case.place(x, used + place(0), 2);
    let w = case.place(w, (taps - 1) * stride + lanes, 0);
    let bias = case.place(bias, lanes, 1);
    let y = case.place(y, used, 0);
    let act = case.act();
    let done = case.run(&mut |set| {
        set.depthwise_f32(&mut float::Depthwise {
            x,
            x_row: pixel * WORD,
            x_outer: line * WORD,
            y,
            y_row: pixel * WORD,
            y_outer: line * WORD,
            m,
            outer,
            channels,
            stride,
            offsets,
            w,
            bias,
            act,
        })
    });
    case.exact(done, y, |i| {
        let (b, c) = (i % line / pixel, i % line % pixel);
        let product = |t: usize| at(x, i + place(t)) * at(w, t * stride + c);
        let sum = || at(bias, c) + (0..taps).map(product).sum::<i64>();
        (b < m && c < channels).then(|| apply(act, sum()))
    })
}

fn pool(case: &mut Case<'_>, [x, y, z, ..]: Memory<'_>) -> Option<bool> {
    let channels = case.n.max(1);
    let mut sizes = |first: usize, count: usize| {
        [
            first + case.random.below(count),
            first + case.random.below(count),
        ]
    };
    let [height, width] = sizes(1, 4);
    let (out, window, stride, pad) = (sizes(1, 3), sizes(1, 3), sizes(1, 2), sizes(0, 3));
    let greatest = case.numbers == Numbers::Whole || case.random.below(2) == 1;
    let x = case.place(x, height * width * channels, 2);
    let y = case.place(y, out[0] * out[1] * channels, 0);
    let layer = |y: &mut [u8], channel: usize, count: usize, first: usize| {
        case.run(&mut |set| {
            set.pool_f32(&mut float::Pool {
                x: &x[channel * WORD..],
                y: &mut y[(first * channels + channel) * WORD..],
                image: [height, width, channels],
                channels: count,
                first,
                out: [out[0], out[1] - first],
                window,
                stride,
                pad,
                greatest,
            })
        })
    };
    let done = layer(y, 0, channels, 0);
    // In two parts; of a single line the last columns again.
    let (z, half) = (&mut z[..y.len()], channels.div_ceil(2));
    z.fill(0);
    let parts = layer(z, 0, half, 0)
        && (half == channels || layer(z, half, channels - half, 0))
        && (out[0] > 1 || layer(z, 0, channels, out[1] / 2));
    let right = case.exact(done, y, |i| {
        let (pixel, c) = (i / channels, i % channels);
        let first = [pixel / out[1] * stride[0], pixel % out[1] * stride[1]];
        let mut most = None;
        for row in first[0]..first[0] + window[0] {
            for column in first[1]..first[1] + window[1] {
                let (row, column) = (row.wrapping_sub(pad[0]), column.wrapping_sub(pad[1]));
                if row < height && column < width {
                    most = most.max(Some(at(x, (row * width + column) * channels + c)));
                }
            }
        }
        Some(most.map_or(0xff80_0000, whole))
    });
    Some(right? && parts && same(z, y))
}

fn mix(case: &mut Case<'_>, [a, b, c, y, _]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    let x = [a, b, c].map(|part| &*case.place(part, n, 2));
    let y = case.place(y, n, 0);
    let f = [case.parameter(), case.parameter(), case.parameter()];
    let done = case.run(&mut |set| {
        set.mix_f32(&mut float::Mix {
            x: x.map(Some),
            f,
            y,
            n,
        })
    });
    case.exact(done, y, |i| {
        Some(whole((0..3).map(|p| value(f[p]) * at(x[p], i)).sum()))
    })
}

fn usage(case: &mut Case<'_>, [u, w, read, free, before]: Memory<'_>) -> Option<bool> {
    let (n, heads) = (case.n, case.random.below(4));
    let u = case.place(u, n, 0);
    let w = case.place(w, n, 0);
    let read = case.place(read, heads * n, 0);
    let free = case.place(free, heads, 0);
    let before = &mut before[..n * WORD];
    before.copy_from_slice(u);
    let done = case.run(&mut |set| {
        set.usage_f32(&mut float::Usage {
            u,
            w,
            read,
            read_row: n * WORD,
            free,
            heads,
            n,
        })
    });
    case.exact(done, u, |i| {
        let (u, w) = (at(before, i), at(w, i));
        let kept = |r: usize| 1 - at(free, r) * at(read, r * n + i);
        Some(whole(
            (u + w - u * w) * (0..heads).map(kept).product::<i64>(),
        ))
    })
}

fn allocation(case: &mut Case<'_>, [u, y, z, ..]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    let u = case.place(u, n, 0);
    if case.numbers == Numbers::Whole {
        // Rows are used or free; the first one that is free is taken.
        for i in 0..n {
            let used = whole(at(u, i) & 1).to_le_bytes();
            u[i * WORD..][..WORD].copy_from_slice(&used);
        }
    }
    let y = case.place(y, n, 0);
    let layer = |y: &mut [u8], first: usize| {
        case.run(&mut |set| {
            let y = &mut *y;
            set.allocation_f32(&mut float::Allocation { u, first, y, n })
        })
    };
    let done = layer(y, 0);
    // In two parts.
    let z = &mut z[..y.len()];
    let (low, high) = z.split_at_mut(n / 2 * WORD);
    let parts = layer(low, 0) && layer(high, n / 2);
    let first = (0..n).find(|&i| at(u, i) == 0);
    let right = case.exact(done && parts, y, |i| {
        Some(whole(i64::from(first == Some(i))))
    });
    Some(right? && same(z, y))
}

fn write(case: &mut Case<'_>, [x, w, erase, add, before]: Memory<'_>) -> Option<bool> {
    let (n, rows) = (case.n, 1 + case.random.below(5));
    let row = n + case.random.below(3);
    let x = case.place(x, (rows - 1) * row + n, 1);
    let w = case.place(w, rows, 0);
    let erase = case.place(erase, n, 0);
    let add = case.place(add, n, 1);
    let before = &mut before[..x.len()];
    before.copy_from_slice(x);
    let done = case.run(&mut |set| {
        set.write_f32(&mut float::Write {
            x: RowsMut {
                bytes: x,
                row: row * WORD,
            },
            w,
            erase,
            add,
            rows,
            n,
        })
    });
    case.exact(done, x, |i| {
        let (old, j) = (at(before, i), i % row);
        let new = |w: i64| old * (1 - w * at(erase, j)) + w * at(add, j);
        Some(whole(if j < n { new(at(w, i / row)) } else { old }))
    })
}

fn link(case: &mut Case<'_>, [l, p, w, before, last]: Memory<'_>) -> Option<bool> {
    let n = case.n;
    let l = case.place(l, n * n, 0);
    let p = case.place(p, n, 0);
    let w = case.place(w, n, 0);
    let (before, last) = (&mut before[..l.len()], &mut last[..p.len()]);
    before.copy_from_slice(l);
    last.copy_from_slice(p);
    let done = case.run(&mut |set| {
        set.link_f32(&mut float::Link {
            l,
            first: 0,
            rows: n,
            p,
            w,
            n,
        })
    });
    let links = case.exact(done, l, |cell| {
        let (i, j) = (cell / n, cell % n);
        let new = (1 - at(w, i) - at(w, j)) * at(before, cell) + at(w, i) * at(last, j);
        Some(whole(if i == j { 0 } else { new }))
    });
    let sum: i64 = (0..n).map(|j| at(w, j)).sum();
    let order = case.exact(done, p, |i| Some(whole((1 - sum) * at(last, i) + at(w, i))));
    Some(links? && order?)
}
