// SPDX-License-Identifier: GPL-2.0

//! Layers of numbers, each as one call that is cut into pieces of bounded work here: by what
//! [`work`] says, which is what sections count.
//!
//! Where a sum is cut it goes on where it stopped, in the same order, so that the pieces give the bits
//! of the whole.

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::float::{
    self, work, Act, Function, Operator, Rows, RowsMut, SoftmaxPart, SoftmaxState, ATTENTION_ROWS,
};
use crate::int8::{panel_rows, LANES, PANEL};

use super::super::{slice_from, Kernels, Meter};

/// 1.0.
const ONE_BITS: u32 = 0x3f80_0000;

/// Columns of a product that are done together when a row of it is too much.
const COLUMNS: usize = 1024;

/// Rows that are compared together.
const ROWS: usize = 8;

pub(super) const fn bytes(elements: usize) -> usize {
    elements.saturating_mul(ELEMENT_BYTES)
}

/// Announces what is not more than a piece may cost, and does it.
#[inline]
pub(super) fn once<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    work: usize,
    run: impl FnOnce(&K, usize) -> bool,
) -> Result<(), Error> {
    // CAST: widens.
    meter.spend(work as u64)?;
    vector(run(meter.kernels, work))
}

/// Numbers are left undone only where vector code may not run.
#[inline]
pub(super) fn vector(done: bool) -> Result<(), Error> {
    match done {
        true => Ok(()),
        false => Err(Error::NoVector),
    }
}

/// What a piece may cost.
fn budget<K: Kernels + ?Sized>(meter: &Meter<'_, K>) -> usize {
    usize::try_from(meter.kernels.tile_macs()).unwrap_or(usize::MAX)
}

/// How many things that cost so much are done at a time, at least one.
pub(super) fn fit<K: Kernels + ?Sized>(meter: &Meter<'_, K>, work: usize) -> usize {
    meter.fit(work).max(1)
}

/// How many elements are done at a time, of which whole vectors cost so much.
pub(super) fn fit_lanes<K: Kernels + ?Sized>(meter: &Meter<'_, K>, work: usize) -> usize {
    fit(meter, work).saturating_mul(LANES)
}

/// How many of `n` are done at a time, in steps of `unit`: all of them if they fit.
pub(super) fn share<K: Kernels + ?Sized>(
    meter: &Meter<'_, K>,
    n: usize,
    unit: usize,
    work: impl Fn(usize) -> usize,
) -> usize {
    match meter.fits(work(n)) {
        true => n,
        false => fit(meter, work(unit)).saturating_mul(unit),
    }
}

/// Starts and lengths of pieces of `n` things.
pub(super) fn pieces(n: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let most = most.max(1);
    let mut at = 0usize;
    core::iter::from_fn(move || {
        let this = (at, most.min(n.checked_sub(at).filter(|&left| left > 0)?));
        at = at.saturating_add(most);
        Some(this)
    })
}

/// `n` elements from the `at`th one on.
fn part(slice: &[u8], at: usize, n: usize) -> &[u8] {
    let slice = slice_from(slice, bytes(at));
    slice.get(..bytes(n)).unwrap_or(slice)
}

fn part_mut(slice: &mut [u8], at: usize, n: usize) -> &mut [u8] {
    let slice = slice.get_mut(bytes(at)..).unwrap_or_default();
    let end = bytes(n).min(slice.len());
    slice.get_mut(..end).unwrap_or_default()
}

/// A function of each element.
pub(super) fn map<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    act: Act,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let work = work::map(work::numbers(y));
    if meter.fits(work) {
        return once(meter, work, |k, work| {
            k.map_f32(float::Map { x, y, act }, work)
        });
    }
    map_parts(meter, act, x, y)
}

#[inline(never)]
fn map_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    act: Act,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let most = bytes(fit_lanes(meter, work::map(LANES)));
    for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
        let layer = float::Map { x, y, act };
        once(meter, layer.work(), |k, work| k.map_f32(layer, work))?;
    }
    Ok(())
}

/// Two tensors, element by element; a shorter `b` repeats.
pub(super) fn binary<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (operator, act): (Operator, Act),
    a: &[u8],
    b: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let work = work::binary(work::numbers(y), work::numbers(b), act.function);
    if meter.fits(work) {
        return once(meter, work, |k, work| {
            let layer = float::Binary {
                operator,
                a,
                b,
                y,
                act,
            };
            k.binary_f32(layer, work)
        });
    }
    binary_parts(meter, (operator, act), a, b, y)
}

#[inline(never)]
fn binary_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (operator, act): (Operator, Act),
    a: &[u8],
    b: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let row = b.len().max(1);
    let row_work = work::binary_row(b.len() / ELEMENT_BYTES, act.function);
    // As often as it fits into a piece, or once, in pieces.
    let span = fit(meter, row_work).saturating_mul(row);
    let step = match meter.fits(row_work) {
        true => span,
        false => bytes(fit_lanes(meter, work::binary_row(LANES, act.function))),
    };
    for (a, y) in a.chunks(span).zip(y.chunks_mut(span)) {
        let pieces = a.chunks(step).zip(y.chunks_mut(step));
        for ((a, y), b) in pieces.zip(b.chunks(step)) {
            let layer = float::Binary {
                operator,
                a,
                b,
                y,
                act,
            };
            once(meter, layer.work(), |k, work| k.binary_f32(layer, work))?;
        }
    }
    Ok(())
}

/// Softmax over each row of `n` elements, or its logarithm. `x` and `y` are apart.
pub(super) fn softmax<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (n, log): (usize, bool),
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let work = work::softmax(work::numbers(y), n);
    if meter.fits(work) {
        return once(meter, work, |k, work| {
            let part = None;
            k.softmax_f32(float::Softmax { x, y, n, log, part }, work)
        });
    }
    softmax_rows(meter, (n, log), x, y)
}

/// Some rows at a time; if a row is too much, some of its elements.
#[inline(never)]
fn softmax_rows<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (n, log): (usize, bool),
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let row_work = work::softmax_row(n);
    let most = bytes(fit(meter, row_work).saturating_mul(n)).max(1);
    for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
        if !meter.fits(row_work) {
            softmax_parts(meter, log, x, y)?;
            continue;
        }
        let part = None;
        let layer = float::Softmax { x, y, n, log, part };
        once(meter, layer.work(), |k, work| k.softmax_f32(layer, work))?;
    }
    Ok(())
}

/// One row that is too much for a piece.
#[inline(never)]
fn softmax_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    log: bool,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    // What a row costs besides its elements does not matter here.
    let each = work::softmax_row(LANES).saturating_sub(work::softmax_row(0));
    let fixed = work::softmax_row(0).div_ceil(each.max(1));
    let vectors = fit(meter, each).saturating_sub(fixed).max(1);
    let most = bytes(vectors.saturating_mul(LANES));
    let mut state = SoftmaxState::new();
    for part in [SoftmaxPart::Top, SoftmaxPart::Sum, SoftmaxPart::Share] {
        for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
            let n = y.len() / ELEMENT_BYTES;
            let part = Some((part, &mut state));
            let layer = float::Softmax { x, y, n, log, part };
            once(meter, layer.work(), |k, work| k.softmax_f32(layer, work))?;
        }
    }
    Ok(())
}

/// Mean over `rows` rows of `n` elements: some rows at a time; of long rows some columns.
pub(super) fn mean<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (rows, n): (usize, usize),
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let work = work::mean(rows, n);
    if meter.fits(work) {
        return once(meter, work, |k, work| {
            let layer = float::Mean {
                x,
                row: y.len(),
                y,
                rows,
                n,
                more: false,
                count: rows,
            };
            k.mean_f32(layer, work)
        });
    }
    mean_parts(meter, (rows, n), x, y)
}

#[inline(never)]
fn mean_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (rows, n): (usize, usize),
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    // One row, and what follows the sums.
    let columns = fit_lanes(meter, work::mean_row(LANES).saturating_mul(2));
    for (column, n) in pieces(n, columns.min(n)) {
        let most = meter.fit(work::mean_row(n)).saturating_sub(1);
        for (first, some) in pieces(rows, most) {
            let at = first.saturating_mul(row_of(y)).saturating_add(column);
            let count = match first.saturating_add(some) < rows {
                true => 0,
                false => rows,
            };
            let layer = float::Mean {
                x: slice_from(x, bytes(at)),
                row: y.len(),
                y: part_mut(y, column, n),
                rows: some,
                n,
                more: first > 0,
                count,
            };
            once(meter, layer.work(), |k, work| k.mean_f32(layer, work))?;
        }
    }
    Ok(())
}

const fn row_of(y: &[u8]) -> usize {
    y.len() / ELEMENT_BYTES
}

/// Cosine similarities of `x` with each row.
pub(super) fn cosine<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (d, eps): (usize, u32),
    x: &[u8],
    rows: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let work = work::cosine(work::numbers(y), d);
    if meter.fits(work) {
        return once(meter, work, |k, work| {
            k.cosine_f32(float::Cosine { x, rows, y, d, eps }, work)
        });
    }
    cosine_parts(meter, (d, eps), x, rows, y)
}

#[inline(never)]
fn cosine_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    (d, eps): (usize, u32),
    x: &[u8],
    rows: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let most = fit(meter, work::cosine(ROWS, d)).saturating_mul(ROWS);
    let rows = rows.chunks(bytes(most.saturating_mul(d)).max(1));
    for (rows, y) in rows.zip(y.chunks_mut(bytes(most))) {
        let layer = float::Cosine { x, rows, y, d, eps };
        once(meter, layer.work(), |k, work| k.cosine_f32(layer, work))?;
    }
    Ok(())
}

/// A row times the columns of a matrix, or times its rows, where the products are multiplied by a scale.
pub(super) enum By<'a> {
    Columns(Rows<'a>),
    Rows(Rows<'a>, u32),
}

/// A row of `k` elements times a matrix; `n` results.
pub(super) fn times<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    x: &[u8],
    b: By<'_>,
    (n, k): (usize, usize),
    y: &mut [u8],
) -> Result<(), Error> {
    let work = work::matmul(1, n, k, matches!(b, By::Rows(..)));
    if meter.fits(work) {
        return once(meter, work, |kernels, work| {
            kernels.matmul_f32(product(x, b, (n, k), y), work)
        });
    }
    times_parts(meter, product(x, b, (n, k), y))
}

/// All of it.
#[inline]
fn product<'a>(
    x: &'a [u8],
    b: By<'a>,
    (n, k): (usize, usize),
    y: &'a mut [u8],
) -> float::Matmul<'a> {
    let (b, scale, transposed) = match b {
        By::Columns(b) => (b, ONE_BITS, false),
        By::Rows(b, scale) => (b, scale, true),
    };
    let row = bytes(n.max(k));
    float::Matmul {
        x: Rows { bytes: x, row },
        b,
        y: RowsMut { bytes: y, row },
        m: 1,
        n,
        k,
        scale,
        transposed,
        more: false,
    }
}

/// Some results at a time, and some of the length of the row, if the matrix is not transposed.
#[inline(never)]
fn times_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    layer: float::Matmul<'_>,
) -> Result<(), Error> {
    let float::Matmul {
        x,
        b,
        y,
        n,
        k,
        transposed,
        ..
    } = layer;
    let mut some = |meter: &mut Meter<'_, K>, (column, n): (usize, usize), (first, k)| {
        let at = match transposed {
            true => column.saturating_mul(b.row),
            false => usize::saturating_mul(first, b.row).saturating_add(bytes(column)),
        };
        let layer = float::Matmul {
            x: Rows {
                bytes: slice_from(x.bytes, bytes(first)),
                ..x
            },
            b: Rows {
                bytes: slice_from(b.bytes, at),
                ..b
            },
            y: RowsMut {
                bytes: part_mut(y.bytes, column, n),
                ..y
            },
            n,
            k,
            more: first > 0,
            ..layer
        };
        once(meter, layer.work(), |k, work| k.matmul_f32(layer, work))
    };
    if transposed {
        let most = fit(meter, work::matmul(1, ROWS, k, true)).saturating_mul(ROWS);
        for columns in pieces(n, most) {
            some(meter, columns, (0, k))?;
        }
        return Ok(());
    }
    for (column, n) in pieces(n, COLUMNS) {
        // What results cost besides sums counts as some of these.
        let each = work::matmul(1, n, 1, false).saturating_sub(work::matmul(1, n, 0, false));
        let fixed = work::matmul(1, n, 0, false).div_ceil(each.max(1));
        let most = meter.fit(each).saturating_sub(fixed);
        for length in pieces(k, most) {
            some(meter, (column, n), length)?;
        }
    }
    Ok(())
}

/// Attention: some heads at a time; if a head is too much, some of its queries; if a query is too much,
/// its steps one after the other.
pub(super) fn attention<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    layer: float::Attention<'_>,
) -> Result<(), Error> {
    let work = layer.work();
    if meter.fits(work) {
        return once(meter, work, |k, work| k.attention_f32(layer, work));
    }
    attention_parts(meter, layer)
}

#[inline(never)]
fn attention_parts<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    layer: float::Attention<'_>,
) -> Result<(), Error> {
    let float::Attention {
        q,
        k,
        v,
        y,
        row,
        temp,
        t,
        s,
        heads,
        d,
        causal,
        scale,
    } = layer;
    let head_work = |t: usize| work::attention_head(t, s, d);
    let queries = match meter.fits(head_work(t)) {
        true => t.max(1),
        // As many as are computed together, once, twice and so on; or fewer, or none.
        false => {
            let once = head_work(ATTENTION_ROWS);
            let again = head_work(2 * ATTENTION_ROWS).saturating_sub(once).max(1);
            match budget(meter).checked_sub(once) {
                Some(rest) => rest
                    .checked_div(again)
                    .unwrap_or(0)
                    .saturating_add(1)
                    .saturating_mul(ATTENTION_ROWS),
                None => (1..ATTENTION_ROWS)
                    .rev()
                    .find(|&few| meter.fits(head_work(few)))
                    .unwrap_or(0),
            }
        }
    };
    let most = fit(meter, head_work(t));
    for (head, heads) in pieces(heads, most) {
        let column = bytes(head.saturating_mul(d));
        for (first, some) in pieces(t, queries) {
            // The last of these queries sees as many, and those before it fewer.
            let hidden = match causal {
                true => t.saturating_sub(first).saturating_sub(some),
                false => 0,
            };
            let at = first.saturating_mul(row).saturating_add(column);
            let (q, k, v) = (
                slice_from(q, at),
                slice_from(k, column),
                slice_from(v, column),
            );
            let y = y.get_mut(at..).unwrap_or_default();
            let s = s.saturating_sub(hidden);
            if queries == 0 {
                query(meter, [q, k, v], row, (s, d, scale), y, temp)?;
                continue;
            }
            let layer = float::Attention {
                q,
                k,
                v,
                y,
                row,
                temp: &mut *temp,
                t: some,
                s,
                heads,
                d,
                causal,
                scale,
            };
            once(meter, layer.work(), |k, work| k.attention_f32(layer, work))?;
        }
    }
    Ok(())
}

/// One query of one head: scores, softmax, sums of values.
#[inline(never)]
fn query<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    [q, k, v]: [&[u8]; 3],
    row: usize,
    (s, d, scale): (usize, usize, u32),
    y: &mut [u8],
    temp: &mut [u8],
) -> Result<(), Error> {
    let (scores, rest) = temp.split_at_mut_checked(bytes(s)).unwrap_or_default();
    let shares = part_mut(rest, 0, s);
    let keys = Rows { bytes: k, row };
    times(meter, part(q, 0, d), By::Rows(keys, scale), (s, d), scores)?;
    softmax(meter, (s, false), scores, shares)?;
    let values = Rows { bytes: v, row };
    times(
        meter,
        shares,
        By::Columns(values),
        (d, s),
        part_mut(y, 0, d),
    )
}

/// The constants of the rows of a product, packed.
#[derive(Clone, Copy)]
pub(super) struct Sums<'a> {
    pub(super) weights: &'a [u8],
    pub(super) bias: &'a [u8],
    pub(super) offsets: &'a [u8],
    /// Elements of a segment.
    pub(super) k: usize,
    pub(super) by_row: bool,
    pub(super) act: Act,
}

/// Nothing becomes of sums that go on.
const NO_ACT: Act = Act {
    function: Function::None,
    slope: 0,
};

/// Rows that a part of a product has at the most, a panel.
const PANEL_BYTES: usize = PANEL * ELEMENT_BYTES;

/// One position of one panel of a matrix product, some columns at a time: each part begins with the sums
/// of those before it, instead of the bias.
#[inline(never)]
pub(super) fn long_row<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    sums: Sums<'_>,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    // Rows that are not packed follow each other, so that a part of several is in no one place.
    let (rows, height) = match sums.by_row {
        true => (1, 1),
        false => (y.len() / ELEMENT_BYTES, panel_rows(y.len() / ELEMENT_BYTES)),
    };
    let segments = sums.offsets.len() / ELEMENT_BYTES;
    let most = work::gemm_row(rows, !sums.by_row, budget(meter)).max(LANES);
    let lanes = sums.k.next_multiple_of(LANES);
    let (some, columns) = match most.checked_div(lanes).unwrap_or(0) {
        0 => (1, most),
        some => (some, sums.k),
    };
    for (i, y) in y.chunks_mut(bytes(rows).max(1)).enumerate() {
        let own = i.saturating_mul(segments).saturating_mul(sums.k);
        let mut before = [0u8; PANEL_BYTES];
        let bias = part(sums.bias, i.saturating_mul(rows), height);
        for (to, from) in before.iter_mut().zip(bias) {
            *to = *from;
        }
        for (segment, some) in pieces(segments, some) {
            for (from, k) in pieces(sums.k, columns) {
                let last =
                    segment.saturating_add(some) >= segments && from.saturating_add(k) >= sums.k;
                let place = segment.saturating_mul(sums.k).saturating_add(from);
                let place = place.saturating_mul(height).saturating_add(own);
                let mut after = [0u8; PANEL_BYTES];
                let layer = float::Gemm {
                    x: slice_from(x, bytes(from)),
                    x_row: 0,
                    x_outer: 0,
                    y: if last { &mut *y } else { after.as_mut_slice() },
                    y_row: 0,
                    y_outer: 0,
                    m: 1,
                    outer: 1,
                    n: rows,
                    k,
                    offsets: part(sums.offsets, segment, some),
                    w: slice_from(sums.weights, bytes(place)),
                    by_row: sums.by_row,
                    bias: &before,
                    act: if last { sums.act } else { NO_ACT },
                };
                once(meter, layer.work(), |k, work| k.gemm_f32(layer, work))?;
                before = after;
            }
        }
    }
    Ok(())
}

/// One position of the channels of a panel, some taps at a time, as [`long_row`].
#[inline(never)]
pub(super) fn long_window<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    sums: Sums<'_>,
    stride: usize,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let channels = y.len() / ELEMENT_BYTES;
    let taps = sums.offsets.len() / ELEMENT_BYTES;
    // What a position costs besides its taps counts as some of these.
    let none = work::depthwise_position(channels, 0);
    let each = work::depthwise_position(channels, 1).saturating_sub(none);
    let most = meter.fit(each).saturating_sub(none.div_ceil(each.max(1)));
    let mut before = [0u8; PANEL_BYTES];
    for (to, from) in before.iter_mut().zip(sums.bias) {
        *to = *from;
    }
    for (tap, some) in pieces(taps, most) {
        let last = tap.saturating_add(some) >= taps;
        let mut after = [0u8; PANEL_BYTES];
        let layer = float::Depthwise {
            x,
            x_row: 0,
            x_outer: 0,
            y: if last { &mut *y } else { after.as_mut_slice() },
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
            channels,
            stride,
            offsets: part(sums.offsets, tap, some),
            w: slice_from(sums.weights, bytes(tap.saturating_mul(stride))),
            bias: &before,
            act: if last { sums.act } else { NO_ACT },
        };
        once(meter, layer.work(), |k, work| k.depthwise_f32(layer, work))?;
        before = after;
    }
    Ok(())
}
