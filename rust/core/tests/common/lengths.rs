// SPDX-License-Identifier: GPL-2.0

//! Dense layers of Q16.16 and of 16-bit codes made up at random, beside their definitions in wide
//! integers: natively in the tests here, and in KUnit as the kernel's compiler builds them.
//!
//! Who calls gives the memory, so that buffers can end where nothing may be read.

use neural_core::init::SplitMix64;
use neural_core::int16;
use neural_core::plan::{DenseArgs, Kernels, Scalar};

/// Memory for a layer: each part is used up to its end.
pub(crate) struct Memory<'a> {
    /// Input.
    pub(crate) x: &'a mut [u8],
    /// Weights.
    pub(crate) w: &'a mut [u8],
    /// Biases.
    pub(crate) bias: &'a mut [u8],
    /// Terms of the rows, or multipliers.
    pub(crate) terms: &'a mut [u8],
    /// Shifts.
    pub(crate) shift: &'a mut [u8],
    /// Output.
    pub(crate) y: &'a mut [u8],
}

/// The last `count` elements of `N` bytes.
fn tail<const N: usize>(memory: &mut [u8], count: usize) -> &mut [u8] {
    let start = memory.len() - count * N;
    &mut memory[start..]
}

/// Element `i` of `N` bytes.
fn at<const N: usize>(memory: &[u8], i: usize) -> [u8; N] {
    memory[i * N..][..N].try_into().unwrap_or([0; N])
}

fn short(memory: &[u8], i: usize) -> i128 {
    i16::from_le_bytes(at(memory, i)).into()
}

fn word(memory: &[u8], i: usize) -> i32 {
    i32::from_le_bytes(at(memory, i))
}

fn long(memory: &[u8], i: usize) -> i128 {
    i64::from_le_bytes(at(memory, i)).into()
}

/// A number of up to `bits` bits, of all sizes; one in eight is at a limit.
fn number(random: &mut SplitMix64, bits: u32) -> i64 {
    let most = (1i64 << (bits - 1)) - 1;
    match random.below(24) {
        0 => most,
        1 => -most,
        2 => -most - 1,
        _ => (random.next_u64() as i64) >> (64 - bits) >> random.below(bits.into()),
    }
}

/// Fills with words.
fn words(random: &mut SplitMix64, bits: u32, memory: &mut [u8]) {
    for word in memory.chunks_exact_mut(4) {
        word.copy_from_slice(&(number(random, bits) as i32).to_le_bytes());
    }
}

/// `x 2^-shift`, to the nearest, halves upwards, saturated to 32 bits.
fn rounded(x: i128, shift: u32) -> i32 {
    // A shift, and no division: the kernel has none of 128 bits.
    let nearest = (2 * x + (1 << shift)) >> (shift + 1);
    nearest.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// Whether a layer of `n` rows of `k` 16-bit codes gives what it is defined to give.
pub(crate) fn dense_i16(random: &mut SplitMix64, [n, k]: [usize; 2], memory: Memory<'_>) -> bool {
    // There is no row of nothing.
    let k = k.max(1);
    let (x, w) = (tail::<2>(memory.x, k), tail::<2>(memory.w, n * k));
    let bias = tail::<8>(memory.bias, n);
    let mult = tail::<4>(memory.terms, n);
    let shift = tail::<4>(memory.shift, n);
    let y = tail::<4>(memory.y, n);
    for code in x.chunks_exact_mut(2) {
        code.copy_from_slice(&(number(random, 16) as i16).to_le_bytes());
    }
    for weight in w.chunks_exact_mut(2) {
        let code = number(random, 16).max(-32_767) as i16;
        weight.copy_from_slice(&code.to_le_bytes());
    }
    for sum in bias.chunks_exact_mut(8) {
        sum.copy_from_slice(&number(random, 46).to_le_bytes());
    }
    words(random, 32, mult);
    for shift in shift.chunks_exact_mut(4) {
        let places = random.below(80) as i32 - 40;
        shift.copy_from_slice(&places.to_le_bytes());
    }
    int16::dense(int16::Dense {
        w,
        bias,
        mult,
        shift,
        x,
        k,
        y,
    });
    (0..n).all(|row| {
        let products = (0..k).map(|i| short(x, i) * short(w, row * k + i));
        let sum = long(bias, row) + products.sum::<i128>();
        // Shifts of more than 31 places count as 31.
        let places = (word(shift, row).clamp(-31, 31) + 31) as u32;
        word(y, row) == rounded(sum * i128::from(word(mult, row)), places)
    })
}

/// Where the weight of a row and a column lies among those of `n` rows of `k`, see [`DenseArgs`].
fn place([n, k]: [usize; 2], row: usize, column: usize) -> usize {
    let block = row / 4 * 4;
    let (rows, within) = ((n - block).min(4), row - block);
    let pair = column / 2 * 2;
    let start = block * k + pair * rows;
    match pair + 1 < k {
        true => start + within * 2 + column % 2,
        false => start + within,
    }
}

/// Whether a layer of `n` rows of `k` numbers in Q16.16 gives what it is defined to give.
pub(crate) fn dense_q16(random: &mut SplitMix64, [n, k]: [usize; 2], memory: Memory<'_>) -> bool {
    let (x, w) = (tail::<4>(memory.x, k), tail::<4>(memory.w, n * k));
    let bias = tail::<4>(memory.bias, n);
    let terms = tail::<8>(memory.terms, n);
    let y = tail::<4>(memory.y, n);
    // A model file has no greater sums of a row than fit into 64 bits.
    let bits = 32 - k.max(1).next_power_of_two().ilog2();
    words(random, 32, x);
    words(random, bits, w);
    words(random, 32, bias);
    // Weights are packed as 2^31 more than they are.
    for weight in w.chunks_exact_mut(4) {
        weight[3] ^= 1 << 7;
    }
    let unsigned = |w: &[u8], row, i| i128::from(word(w, place([n, k], row, i)) as u32);
    let start = |row| i128::from(word(bias, row)) << 16;
    for (row, term) in terms.chunks_exact_mut(8).enumerate() {
        let pairs = (0..k / 2).map(|p| unsigned(w, row, 2 * p) * unsigned(w, row, 2 * p + 1));
        let all = start(row) - pairs.sum::<i128>();
        // Modulo 2^64.
        term.copy_from_slice(&(all as i64).to_le_bytes());
    }
    let input_term = Scalar.input_term(x);
    Scalar.dense_q16(DenseArgs {
        weights: w,
        bias,
        row_terms: terms,
        input: x,
        input_term,
        output: y,
    });
    (0..n).all(|row| {
        let weight = |i| unsigned(w, row, i) - (1 << 31);
        let products = (0..k).map(|i| weight(i) * i128::from(word(x, i)));
        word(y, row) == rounded(start(row) + products.sum::<i128>(), 16)
    })
}
