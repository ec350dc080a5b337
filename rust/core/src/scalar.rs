// SPDX-License-Identifier: GPL-2.0

//! The dense layer in general registers: what runs where there is no vector unit, and what every
//! other implementation is compared with.
//!
//! A sum of products of 32-bit numbers needs a 64-bit multiplication each, of which x86-64 starts one
//! per cycle. Winograd ("A new algorithm for inner product", IEEE Transactions on Computers C-17,
//! 1968) halves their number. For each pair of elements
//!
//! ```text
//! w0 x0 + w1 x1 = (w0 + x1) (w1 + x0) - w0 w1 - x0 x1
//! ```
//!
//! where the sum of `w0 w1` depends on the row only and is taken when weights are packed
//! ([`row_term`]), and the sum of `x0 x1` is taken once for all rows ([`input_term`]).
//!
//! The result is exact: everything is computed modulo 2^64, and the model file's bound on the weights
//! of a row puts the true sum into the range of `i64`.

use crate::fixed::{elements, load, round_acc, store, ELEMENT_BYTES, FRAC_BITS};
use crate::plan::DenseArgs;

const PAIR_BYTES: usize = 2 * ELEMENT_BYTES;

/// `2^16 bias - sum of w0 w1`, modulo 2^64.
pub(crate) fn row_term(row: &[u8], bias: i32) -> i64 {
    (i64::from(bias) << FRAC_BITS).wrapping_sub(pair_products(row))
}

/// The sum of `x0 x1`, modulo 2^64.
pub(crate) fn input_term(input: &[u8]) -> i64 {
    pair_products(input)
}

fn pair_products(bytes: &[u8]) -> i64 {
    bytes
        .chunks_exact(PAIR_BYTES)
        .map(pair)
        .fold(0, |sum, (a, b)| sum.wrapping_add(a.wrapping_mul(b)))
}

#[inline(always)]
fn pair(chunk: &[u8]) -> (i64, i64) {
    match chunk {
        &[a, b, c, d, e, f, g, h] => (
            i64::from(i32::from_le_bytes([a, b, c, d])),
            i64::from(i32::from_le_bytes([e, f, g, h])),
        ),
        _ => (0, 0),
    }
}

/// `(w0 + x1) (w1 + x0)`, modulo 2^64; the sums have 33 bits.
#[inline(always)]
fn cross((w0, w1): (i64, i64), (x0, x1): (i64, i64)) -> i64 {
    w0.wrapping_add(x1).wrapping_mul(w1.wrapping_add(x0))
}

/// The product of the last elements when their number is odd.
#[inline(always)]
fn odd(row: &[u8], input: &[u8]) -> i64 {
    let last = |bytes: &[u8]| i64::from(load(bytes.chunks_exact(PAIR_BYTES).remainder()));
    last(row).wrapping_mul(last(input))
}

/// See [`DenseArgs`]. Four rows at a time, so that inputs are loaded once for all of them.
pub(crate) fn dense_q16(args: DenseArgs<'_>) {
    let DenseArgs {
        weights,
        row_terms,
        input,
        input_term,
        output,
        ..
    } = args;
    let row_bytes = input.len().max(1);
    let start = |term: &[u8]| term_of(term).wrapping_sub(input_term);

    let blocks = weights.chunks_exact(row_bytes.saturating_mul(4));
    let terms = row_terms.chunks_exact(4 * TERM_BYTES);
    let mut results = output.chunks_exact_mut(4 * ELEMENT_BYTES);
    let (last_rows, last_terms) = (blocks.remainder(), terms.remainder());
    for ((block, terms), results) in blocks.zip(terms).zip(&mut results) {
        let sums = four_rows(block, input);
        let terms = terms.chunks_exact(TERM_BYTES);
        for ((result, term), sum) in results.chunks_exact_mut(ELEMENT_BYTES).zip(terms).zip(sums) {
            store(result, round_acc(start(term).wrapping_add(sum)));
        }
    }

    let rows = last_rows
        .chunks_exact(row_bytes)
        .zip(last_terms.chunks_exact(TERM_BYTES));
    for ((row, term), result) in rows.zip(results.into_remainder().chunks_exact_mut(ELEMENT_BYTES))
    {
        store(
            result,
            round_acc(start(term).wrapping_add(one_row(row, input))),
        );
    }
}

/// Bytes of the term of a row.
pub(crate) const TERM_BYTES: usize = 8;

fn term_of(bytes: &[u8]) -> i64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

fn four_rows(block: &[u8], input: &[u8]) -> [i64; 4] {
    let (Some((r01, r23)), half) = (block.split_at_checked(block.len() / 2), block.len() / 4)
    else {
        return [0; 4];
    };
    let (Some((r0, r1)), Some((r2, r3))) = (r01.split_at_checked(half), r23.split_at_checked(half))
    else {
        return [0; 4];
    };
    let [mut s0, mut s1, mut s2, mut s3] = [r0, r1, r2, r3].map(|row| odd(row, input));
    let rows = pairs(r0).zip(pairs(r1)).zip(pairs(r2)).zip(pairs(r3));
    for (x, (((w0, w1), w2), w3)) in pairs(input).zip(rows) {
        s0 = s0.wrapping_add(cross(w0, x));
        s1 = s1.wrapping_add(cross(w1, x));
        s2 = s2.wrapping_add(cross(w2, x));
        s3 = s3.wrapping_add(cross(w3, x));
    }
    [s0, s1, s2, s3]
}

fn one_row(row: &[u8], input: &[u8]) -> i64 {
    pairs(row)
        .zip(pairs(input))
        .fold(odd(row, input), |sum, (w, x)| sum.wrapping_add(cross(w, x)))
}

#[inline(always)]
fn pairs(bytes: &[u8]) -> impl Iterator<Item = (i64, i64)> + '_ {
    bytes.chunks_exact(PAIR_BYTES).map(pair)
}

/// Writes the terms of all rows; see [`row_term`].
pub(crate) fn write_row_terms(weights: &[u8], bias: &[u8], inputs: usize, terms: &mut [u8]) {
    let row_bytes = inputs.saturating_mul(ELEMENT_BYTES).max(1);
    let rows = weights.chunks_exact(row_bytes).zip(elements(bias));
    for ((row, bias), term) in rows.zip(terms.chunks_exact_mut(TERM_BYTES)) {
        if let Some(term) = term.first_chunk_mut() {
            *term = row_term(row, bias).to_le_bytes();
        }
    }
}
