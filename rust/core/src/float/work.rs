// SPDX-License-Identifier: GPL-2.0

//! What vector code takes for layers of numbers, in the unit of [`SECTION_WORK`](crate::plan::SECTION_WORK).
//!
//! Plans cut layers by it, and sections count by it: so no piece is more than a section may have. What
//! is left of a vector costs as much as a vector. `cargo run --release -p neural_simd --example sections`
//! shows the time that pieces of this size take.

use crate::int8::LANES;
use crate::plan::SECTION_WORK;

use super::{
    Allocation, Attention, Binary, Cosine, Depthwise, Function, Gemm, GruCell, Link, LstmCell, Map,
    Matmul, Mean, Mix, Norm, Normalise, Pool, Softmax, Usage, Write,
};

/// Bytes of a number.
const NUMBER_BYTES: usize = 4;

/// What a number costs that is multiplied, added or compared: four times as many bytes as a code.
const NUMBER: usize = 2;

/// What it costs more where there is little to compute and much to read.
const STREAM: usize = 2;

/// What an element of a function costs, of a softmax, of a norm, and what the gates of a recurrent
/// layer cost for one.
const FUNCTION: usize = 32;
const SOFTMAX: usize = 16;
const NORM: usize = 8;
const GATES: usize = 64;

/// What a result costs besides its sums, in numbers, and a position.
const RESULT: usize = 16;
const POSITION: usize = 64;

/// Queries from which on the keys of a head are transposed first, and what a key takes for that, in
/// numbers for each element.
const MANY: usize = 4;
const TRANSPOSED: usize = 2;

/// Rows that are compared together.
const ROWS: usize = 8;

/// The most elements of a row of a norm.
pub const NORM_ROW: u64 = 40_944;

/// The most elements of a row that is compared with others: of a similarity, of a head of attention.
pub const COMPARED_ROW: u64 = 20_464;

/// The most pixels of a pool's window that lie in the image.
pub const POOL_PIXELS: u64 = 10_224;

/// The most read heads of a neural computer.
pub const HEADS: u64 = 10_239;

// What is the least that can be done at a time is little enough, but not of one more.
const _: () = {
    const fn is_most(work: usize, more: usize) {
        assert!(work as u64 <= SECTION_WORK && more as u64 > SECTION_WORK);
    }
    const fn n(n: u64) -> usize {
        // CAST: a small number.
        n as usize
    }
    is_most(norm_row(n(NORM_ROW)), norm_row(n(NORM_ROW) + 1));
    is_most(cosine(1, n(COMPARED_ROW)), cosine(1, n(COMPARED_ROW) + 1));
    is_most(
        matmul(1, 1, n(COMPARED_ROW), true),
        matmul(1, 1, n(COMPARED_ROW) + 1, true),
    );
    is_most(
        pool_position(1, n(POOL_PIXELS)),
        pool_position(1, n(POOL_PIXELS) + 1),
    );
    // More elements of a state have more weights than a prediction may multiply.
    assert!(gates(4096) as u64 <= SECTION_WORK);
    is_most(usage(1, n(HEADS)), usage(1, n(HEADS) + 1));
};

/// How many numbers so many bytes are.
pub const fn numbers(bytes: &[u8]) -> usize {
    bytes.len() / NUMBER_BYTES
}

/// As many elements as whole vectors have.
const fn lanes(n: usize) -> usize {
    n.div_ceil(LANES).saturating_mul(LANES)
}

const fn product(a: usize, b: usize, each: usize) -> usize {
    a.saturating_mul(b).saturating_mul(each)
}

/// Rows of `n` elements; one, as mostly, without a division.
const fn rows_of(elements: usize, n: usize) -> usize {
    if elements == n {
        return 1;
    }
    match elements.checked_div(n) {
        Some(rows) => rows,
        None => 0,
    }
}

/// One position of a [`Gemm`] with `n` rows of so many segments of `k` elements.
pub const fn gemm_position(n: usize, packed: bool, segments: usize, k: usize) -> usize {
    let (rows, k) = match packed {
        true => (lanes(n), k),
        // As many as run side by side, and vectors along the row.
        false => (n.next_power_of_two(), lanes(k)),
    };
    let row = segments.saturating_mul(k).saturating_add(RESULT);
    product(rows, row, NUMBER).saturating_add(POSITION * NUMBER)
}

/// The most elements of a row of such a position that take no more than `work`, a multiple of
/// [`LANES`].
pub const fn gemm_row(n: usize, packed: bool, work: usize) -> usize {
    let rows = match packed {
        true => lanes(n),
        false => n.next_power_of_two(),
    };
    let numbers = (work / NUMBER).saturating_sub(POSITION);
    let row = rows_of(numbers, rows).saturating_sub(RESULT);
    row.saturating_sub(row % LANES)
}

/// One position of a [`Depthwise`].
pub const fn depthwise_position(channels: usize, taps: usize) -> usize {
    product(lanes(channels), taps.saturating_add(RESULT), NUMBER).saturating_add(POSITION * NUMBER)
}

/// One result of so many channels of a [`Pool`], whose window has so many pixels in the image.
pub const fn pool_position(channels: usize, pixels: usize) -> usize {
    product(lanes(channels), pixels.saturating_add(RESULT), NUMBER)
}

/// A [`Pool`] with so many results.
pub const fn pool([height, width]: [usize; 2], channels: usize, pixels: usize) -> usize {
    product(height, width, pool_position(channels, pixels))
}

/// The most pixels of an image in a window.
pub fn pixels([height, width, _]: [usize; 3], [rows, columns]: [usize; 2]) -> usize {
    height.min(rows).saturating_mul(width.min(columns))
}

/// A row of `n` elements of a [`Binary`].
pub const fn binary_row(n: usize, function: Function) -> usize {
    let row = product(lanes(n), STREAM, NUMBER).saturating_add(RESULT * NUMBER);
    match function {
        Function::None => row,
        _ => row.saturating_add(map(n)),
    }
}

/// `elements` of a [`Binary`] whose second operand has `n`.
pub const fn binary(elements: usize, n: usize, function: Function) -> usize {
    rows_of(elements, n).saturating_mul(binary_row(n, function))
}

/// `n` elements of a [`Map`].
pub const fn map(n: usize) -> usize {
    lanes(n).saturating_mul(FUNCTION)
}

/// `n` elements of a [`Normalise`].
pub const fn normalise(n: usize) -> usize {
    lanes(n).saturating_mul(FUNCTION)
}

/// A row of `n` elements of a [`Mean`].
pub const fn mean_row(n: usize) -> usize {
    product(lanes(n), STREAM, NUMBER)
}

/// `rows` rows of a [`Mean`], and one more for what follows the sums.
pub const fn mean(rows: usize, n: usize) -> usize {
    rows.saturating_add(1).saturating_mul(mean_row(n))
}

/// A row of a [`Softmax`].
pub const fn softmax_row(n: usize) -> usize {
    lanes(n).saturating_add(RESULT).saturating_mul(SOFTMAX)
}

/// `elements` of a [`Softmax`] in rows of `n`.
pub const fn softmax(elements: usize, n: usize) -> usize {
    rows_of(elements, n).saturating_mul(softmax_row(n))
}

/// A row of a [`Norm`].
pub const fn norm_row(n: usize) -> usize {
    lanes(n).saturating_add(RESULT).saturating_mul(NORM)
}

/// `elements` of a [`Norm`] in rows of `n`.
pub const fn norm(elements: usize, n: usize) -> usize {
    rows_of(elements, n).saturating_mul(norm_row(n))
}

/// So many rows of a [`Cosine`].
pub const fn cosine(rows: usize, d: usize) -> usize {
    let rows = rows.div_ceil(ROWS).saturating_mul(ROWS);
    product(rows, lanes(d).saturating_add(RESULT), NUMBER)
}

/// A [`Matmul`] of `m` rows and `n` columns.
pub const fn matmul(m: usize, n: usize, k: usize, transposed: bool) -> usize {
    let (n, k) = match transposed {
        true => (n.div_ceil(ROWS).saturating_mul(ROWS), lanes(k)),
        false => (lanes(n), k),
    };
    product(m, n, k.saturating_add(RESULT)).saturating_mul(NUMBER)
}

/// One head of an [`Attention`] of `t` queries over `s` keys.
pub const fn attention_head(t: usize, s: usize, d: usize) -> usize {
    let scores = matmul(t, s, d, t < MANY);
    let values = matmul(t, d, s, false);
    let softmax = t.saturating_mul(softmax_row(s));
    let keys = match t < MANY {
        true => 0,
        false => product(lanes(s), lanes(d), TRANSPOSED * NUMBER),
    };
    scores
        .saturating_add(values)
        .saturating_add(softmax)
        .saturating_add(keys)
}

/// `heads` heads of such an [`Attention`].
pub const fn attention(heads: usize, t: usize, s: usize, d: usize) -> usize {
    heads.saturating_mul(attention_head(t, s, d))
}

/// `n` elements of the gates of a recurrent layer.
pub const fn gates(n: usize) -> usize {
    lanes(n).saturating_mul(GATES)
}

/// `n` elements of a [`Mix`].
pub const fn mix(n: usize) -> usize {
    product(lanes(n), 3, NUMBER)
}

/// `n` elements of a [`Usage`].
pub const fn usage(n: usize, heads: usize) -> usize {
    product(lanes(n), heads.saturating_add(1), NUMBER)
}

/// `n` elements of an [`Allocation`], each of which is compared with `all`.
pub const fn allocation(n: usize, all: usize) -> usize {
    product(lanes(n), all, 2 * NUMBER)
}

/// `rows` rows of a [`Write`].
pub const fn write(rows: usize, n: usize) -> usize {
    product(rows, lanes(n), 2 * NUMBER)
}

/// `rows` rows of a [`Link`], and one more for what follows them.
pub const fn link(rows: usize, n: usize) -> usize {
    product(rows.saturating_add(1), lanes(n), 2 * NUMBER)
}

impl Gemm<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        let segments = self.offsets.len() / NUMBER_BYTES;
        let each = gemm_position(self.n, !self.by_row, segments, self.k);
        product(self.outer, self.m, each)
    }
}

impl Depthwise<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        let taps = self.offsets.len() / NUMBER_BYTES;
        product(self.outer, self.m, depthwise_position(self.channels, taps))
    }
}

impl Pool<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        let pixels = pixels(self.image, self.window);
        pool(self.out, self.channels, pixels)
    }
}

impl Map<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        map(numbers(self.y))
    }
}

impl Binary<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        binary(numbers(self.y), numbers(self.b), self.act.function)
    }
}

impl Mean<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        mean(self.rows, self.n)
    }
}

impl Softmax<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        softmax(numbers(self.y), self.n)
    }
}

impl Norm<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        norm(numbers(self.y), self.n)
    }
}

impl Normalise<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        normalise(numbers(self.y))
    }
}

impl Cosine<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        cosine(numbers(self.y), self.d)
    }
}

impl Matmul<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        matmul(self.m, self.n, self.k, self.transposed)
    }
}

impl Attention<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        attention(self.heads, self.t, self.s, self.d)
    }
}

impl LstmCell<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        gates(numbers(self.h))
    }
}

impl GruCell<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        gates(numbers(self.h))
    }
}

impl Mix<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        mix(self.n)
    }
}

impl Usage<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        usage(self.n, self.heads)
    }
}

impl Allocation<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        allocation(numbers(self.y), self.n)
    }
}

impl Write<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        write(self.rows, self.n)
    }
}

impl Link<'_> {
    /// What it takes.
    pub fn work(&self) -> usize {
        link(self.rows, self.n)
    }
}
