// SPDX-License-Identifier: GPL-2.0

//! The dense layer in general registers: what runs where there is no vector unit, and what every
//! other implementation is compared with.
//!
//! A sum of products of 32-bit numbers needs a 64-bit multiplication each, of which x86-64 starts one
//! per cycle. Winograd ("A new algorithm for inner product", IEEE Transactions on Computers C-17,
//! 1968) halves their number. For each pair of elements
//!
//! ```text
//! u0 x0 + u1 x1 = (u0 + x1) (u1 + x0) - u0 u1 - x0 x1
//! ```
//!
//! where the sum of `u0 u1` depends on the row only and is taken when weights are packed, and the sum
//! of `x0 x1` is taken once for all rows ([`input_term`]).
//!
//! `u` is the weight plus 2^31, as an unsigned number: some CPUs need an operation more to load signed
//! numbers than unsigned ones. It adds `2^31 sum x` to each sum, which goes into [`input_term`], too.
//!
//! The result is exact: everything is computed modulo 2^64, and the model file's bound on the weights
//! of a row puts the true sum into the range of `i64`.
//!
//! Packed weights are blocks of four rows; the last block may have fewer. In a block of `R` rows stand
//! the first two weights of each row, row by row, then the next two of each row, and so on; if the
//! number of inputs is odd, the last weight of each row ends the block. So a block is read from its
//! beginning to its end, and four sums that do not depend on each other grow at the same time.

use crate::error::Error;
use crate::fixed::{elements, load, round_acc, store, ELEMENT_BYTES, FRAC_BITS};
use crate::nnm::Pause;
use crate::plan::DenseArgs;

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 4;

/// Bytes of the term of a row.
pub(crate) const TERM_BYTES: usize = 8;

const PAIR_BYTES: usize = 2 * ELEMENT_BYTES;

/// What is added to weights.
const OFFSET: i64 = 1 << 31;

/// The sum of `x0 x1` over all pairs, plus 2^31 times the sum of all `x`, modulo 2^64.
pub(crate) fn input_term(input: &[u8]) -> i64 {
    let products = input.chunks_exact(PAIR_BYTES).fold(0i64, |sum, pair| {
        let [x0, x1] = signed_pair(pair);
        sum.wrapping_add(x0.wrapping_mul(x1))
    });
    let sum = elements(input).fold(0i64, |sum, x| sum.wrapping_add(i64::from(x)));
    products.wrapping_add(sum.wrapping_mul(OFFSET))
}

/// `2^16 bias`, minus the sum of `u0 u1` over all pairs of a row that is not packed, modulo 2^64.
fn row_term(row: &[u8], bias: i32) -> i64 {
    row.chunks_exact(PAIR_BYTES)
        .fold(i64::from(bias) << FRAC_BITS, |term, pair| {
            let [w0, w1] = signed_pair(pair).map(|w| w.wrapping_add(OFFSET));
            term.wrapping_sub(w0.wrapping_mul(w1))
        })
}

#[inline(always)]
fn signed_pair(bytes: &[u8]) -> [i64; 2] {
    match bytes {
        &[a, b, c, d, e, f, g, h] => {
            [[a, b, c, d], [e, f, g, h]].map(|x| i64::from(i32::from_le_bytes(x)))
        }
        _ => [0; 2],
    }
}

#[inline(always)]
fn unsigned_pair(bytes: &[u8]) -> [i64; 2] {
    match bytes {
        &[a, b, c, d, e, f, g, h] => {
            [[a, b, c, d], [e, f, g, h]].map(|u| i64::from(u32::from_le_bytes(u)))
        }
        _ => [0; 2],
    }
}

/// See [`DenseArgs`].
pub(crate) fn dense_q16(args: DenseArgs<'_>) {
    let DenseArgs {
        weights,
        row_terms,
        input,
        input_term,
        output,
        ..
    } = args;
    let block_bytes = input.len().saturating_mul(BLOCK_ROWS);
    let terms = row_terms.chunks_exact(BLOCK_ROWS * TERM_BYTES);
    let mut results = output.chunks_exact_mut(BLOCK_ROWS * ELEMENT_BYTES);
    let (mut rest, last_terms) = (weights, terms.remainder());
    for (results, terms) in (&mut results).zip(terms) {
        let Some((block, next)) = rest.split_at_checked(block_bytes) else {
            return;
        };
        rest = next;
        finish(sums::<BLOCK_ROWS>(block, input), terms, input_term, results);
    }
    let results = results.into_remainder();
    match results.len() / ELEMENT_BYTES {
        1 => finish(sums::<1>(rest, input), last_terms, input_term, results),
        2 => finish(sums::<2>(rest, input), last_terms, input_term, results),
        3 => finish(sums::<3>(rest, input), last_terms, input_term, results),
        _ => {}
    }
}

/// The sums of `(u0 + x1) (u1 + x0)` of the rows of a block.
#[inline(always)]
fn sums<const R: usize>(block: &[u8], input: &[u8]) -> [i64; R] {
    let mut sums = [0i64; R];
    let pairs = input.chunks_exact(PAIR_BYTES);
    let columns = block.chunks_exact(R * PAIR_BYTES);
    let (last_x, last_u) = (pairs.remainder(), columns.remainder());
    for (column, pair) in columns.zip(pairs) {
        let [x0, x1] = signed_pair(pair);
        for (sum, u) in sums.iter_mut().zip(column.chunks_exact(PAIR_BYTES)) {
            let [u0, u1] = unsigned_pair(u);
            *sum = sum.wrapping_add(u0.wrapping_add(x1).wrapping_mul(u1.wrapping_add(x0)));
        }
    }
    if last_x.len() == ELEMENT_BYTES {
        let x = i64::from(load(last_x));
        for (sum, u) in sums.iter_mut().zip(last_u.chunks_exact(ELEMENT_BYTES)) {
            // CAST: the bits of an unsigned number.
            let u = i64::from(load(u) as u32);
            *sum = sum.wrapping_add(u.wrapping_mul(x));
        }
    }
    sums
}

#[inline(always)]
fn finish<const R: usize>(sums: [i64; R], terms: &[u8], input_term: i64, results: &mut [u8]) {
    let terms = terms.chunks_exact(TERM_BYTES);
    for ((sum, term), result) in sums
        .into_iter()
        .zip(terms)
        .zip(results.chunks_exact_mut(ELEMENT_BYTES))
    {
        let term = term
            .first_chunk()
            .map_or(0, |bytes| i64::from_le_bytes(*bytes));
        store(
            result,
            round_acc(sum.wrapping_add(term).wrapping_sub(input_term)),
        );
    }
}

/// Packs `weights[rows, inputs]` with `bias[rows]` to as many bytes, and writes the terms of the rows.
///
/// All or nothing is not needed here: the caller has checked the sizes.
pub(crate) fn pack(
    weights: &[u8],
    bias: &[u8],
    inputs: usize,
    packed: &mut [u8],
    terms: &mut [u8],
    pause: Pause<'_>,
) -> Result<(), Error> {
    let row_bytes = inputs.saturating_mul(ELEMENT_BYTES);
    let (mut weights, mut bias, mut packed, mut terms) = (weights, bias, packed, terms);
    loop {
        let rows = (bias.len() / ELEMENT_BYTES).min(BLOCK_ROWS);
        if rows == 0 {
            return Ok(());
        }
        // A block has at most 64 KiB.
        pause.check()?;
        let block_bytes = row_bytes.saturating_mul(rows);
        let Some((((from, to), block_bias), block_terms)) = weights
            .split_at_checked(block_bytes)
            .zip(core::mem::take(&mut packed).split_at_mut_checked(block_bytes))
            .zip(bias.split_at_checked(rows.saturating_mul(ELEMENT_BYTES)))
            .zip(core::mem::take(&mut terms).split_at_mut_checked(rows.saturating_mul(TERM_BYTES)))
        else {
            return Ok(());
        };
        pack_block(from.0, rows, row_bytes, to.0);
        let terms_of_rows = block_terms.0.chunks_exact_mut(TERM_BYTES);
        let mut rest = from.0;
        for (bias, term) in elements(block_bias.0).zip(terms_of_rows) {
            let (row, next) = rest.split_at_checked(row_bytes).unwrap_or((rest, &[]));
            rest = next;
            if let Some(term) = term.first_chunk_mut() {
                *term = row_term(row, bias).to_le_bytes();
            }
        }
        (weights, packed, bias, terms) = (from.1, to.1, block_bias.1, block_terms.1);
    }
}

/// Packs up to four rows.
fn pack_block(weights: &[u8], rows: usize, row_bytes: usize, packed: &mut [u8]) {
    let mut packed = packed.chunks_exact_mut(ELEMENT_BYTES);
    for column in (0..row_bytes).step_by(PAIR_BYTES) {
        let width = row_bytes.saturating_sub(column).min(PAIR_BYTES);
        for row in 0..rows {
            let from = row.saturating_mul(row_bytes).saturating_add(column);
            let pair = weights
                .get(from..)
                .and_then(|rest| rest.get(..width))
                .unwrap_or(&[]);
            for w in elements(pair) {
                if let Some(u) = packed.next() {
                    store(u, w ^ i32::MIN);
                }
            }
        }
    }
}
