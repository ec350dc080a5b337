// SPDX-License-Identifier: GPL-2.0

//! Weights, biases and multipliers in the order in which the layers read them.
//!
//! Everything here belongs to load time. Weights come as rows of signed bytes: `[n][segments * k]` for
//! a matrix product, `[taps][channels]` for a depthwise convolution. Lists are `i32`, little endian.

use super::{depthwise_lane, panel_rows, GROUP, LANES, PANEL};
use crate::fixed::{elements, store, ELEMENT_BYTES};

/// Bytes of the packed weights of a [`Gemm`](super::Gemm).
pub const fn packed_gemm_bytes(n: usize, segs: usize, k: usize) -> Option<usize> {
    let (Some(rows), Some(k)) = (
        n.checked_next_multiple_of(LANES),
        k.checked_next_multiple_of(GROUP),
    ) else {
        return None;
    };
    match segs.checked_mul(k) {
        Some(row) => row.checked_mul(rows),
        None => None,
    }
}

/// Bytes of the packed weights of a [`Depthwise`](super::Depthwise).
pub const fn packed_depthwise_bytes(taps: usize, channels: usize) -> Option<usize> {
    let (Some(taps), Some(channels)) = (
        taps.checked_next_multiple_of(GROUP),
        channels.checked_next_multiple_of(PANEL),
    ) else {
        return None;
    };
    taps.checked_mul(channels)
}

/// Packs the weights of a [`Gemm`](super::Gemm); `out` takes [`packed_gemm_bytes`].
pub fn pack_gemm(weights: &[u8], n: usize, segs: usize, k: usize, out: &mut [u8]) {
    let row_bytes = segs.saturating_mul(k);
    pack_rows(weights.chunks_exact(row_bytes.max(1)), n, segs, k, out);
}

/// Packs columns `from..from + k` of weights with as many `columns`, as those of a
/// [`Gemm`](super::Gemm) with one segment.
pub fn pack_columns(
    weights: &[u8],
    columns: usize,
    from: usize,
    n: usize,
    k: usize,
    out: &mut [u8],
) {
    pack_rows(column_rows(weights, columns, from, k), n, 1, k, out);
}

/// Columns `from..from + k` of the rows of a matrix.
fn column_rows(
    weights: &[u8],
    columns: usize,
    from: usize,
    k: usize,
) -> impl Iterator<Item = &[u8]> {
    let rows = weights.chunks_exact(columns.max(1));
    rows.map_while(move |row| row.get(from..)?.get(..k))
}

fn pack_rows<'a>(
    rows: impl Iterator<Item = &'a [u8]>,
    n: usize,
    segs: usize,
    k: usize,
    out: &mut [u8],
) {
    out.fill(0);
    let groups = k.div_ceil(GROUP).saturating_mul(segs);
    for (r, row) in rows.take(n).enumerate() {
        let (panel, lane) = (r / PANEL, r % PANEL);
        let top = panel.saturating_mul(PANEL);
        let step = panel_rows(n.saturating_sub(top)).saturating_mul(GROUP);
        // All panels before this one are whole.
        let start = top
            .saturating_mul(GROUP)
            .saturating_mul(groups)
            .saturating_add(lane.saturating_mul(GROUP));
        let from = row
            .chunks_exact(k.max(1))
            .flat_map(|segment| segment.chunks(GROUP));
        let Some(out) = out.get_mut(start..) else {
            return;
        };
        for (to, from) in out.chunks_mut(step.max(1)).zip(from) {
            for (to, &w) in to.iter_mut().zip(from) {
                *to = w;
            }
        }
    }
}

/// Packs the weights of a [`Depthwise`](super::Depthwise); `out` takes [`packed_depthwise_bytes`].
pub fn pack_depthwise(weights: &[u8], taps: usize, channels: usize, out: &mut [u8]) {
    out.fill(0);
    if channels == 0 {
        return;
    }
    let chunk_bytes = taps.div_ceil(GROUP).saturating_mul(PANEL * GROUP);
    for (t, row) in weights.chunks_exact(channels).take(taps).enumerate() {
        for (c, &w) in row.iter().enumerate() {
            let at = (c / PANEL)
                .saturating_mul(chunk_bytes)
                .saturating_add((t / GROUP).saturating_mul(PANEL * GROUP))
                .saturating_add(depthwise_lane(c).saturating_mul(GROUP))
                .saturating_add(t % GROUP);
            if let Some(to) = out.get_mut(at) {
                *to = w;
            }
        }
    }
}

/// Brings a list with an element for each channel into the order of [`Depthwise`](super::Depthwise);
/// `out` takes as many as channels rounded up to [`PANEL`].
pub fn pack_depthwise_list(list: &[u8], out: &mut [u8]) {
    out.fill(0);
    for (chunk, out) in list
        .chunks(PANEL * ELEMENT_BYTES)
        .zip(out.chunks_mut(PANEL * ELEMENT_BYTES))
    {
        for (c, x) in elements(chunk).enumerate() {
            if let Some(to) = out.chunks_exact_mut(ELEMENT_BYTES).nth(depthwise_lane(c)) {
                store(to, x);
            }
        }
    }
}

/// The bias of a row minus the zero point of the input times the sum of the weights of the row.
fn folded<'a>(bias: i32, x_zero: i32, row: impl Iterator<Item = &'a u8>) -> i32 {
    // CAST: weights are signed bytes.
    let sum = row.fold(0i32, |sum, &w| sum.wrapping_add(i32::from(w as i8)));
    bias.wrapping_sub(x_zero.wrapping_mul(sum))
}

/// The biases of rows or channels; 0 for those that are not in the list.
fn biases(bias: &[u8]) -> impl Iterator<Item = i32> + '_ {
    elements(bias).chain(core::iter::repeat(0))
}

/// Folds the zero point of the input (biased) into the biases of a [`Gemm`](super::Gemm) whose rows
/// have `row_bytes` weights. An empty list of biases means that all are 0. `out` takes as many as rows
/// rounded up to [`LANES`].
pub fn fold_gemm_bias(weights: &[u8], row_bytes: usize, bias: &[u8], x_zero: i32, out: &mut [u8]) {
    out.fill(0);
    for ((row, bias), out) in weights
        .chunks_exact(row_bytes.max(1))
        .zip(biases(bias))
        .zip(out.chunks_exact_mut(ELEMENT_BYTES))
    {
        store(out, folded(bias, x_zero, row.iter()));
    }
}

/// Folds the zero point of the input into the biases of rows that have columns `from..from + k` of the
/// weights; as [`fold_gemm_bias`].
pub fn fold_columns_bias(
    weights: &[u8],
    columns: usize,
    (from, k): (usize, usize),
    bias: &[u8],
    x_zero: i32,
    out: &mut [u8],
) {
    out.fill(0);
    let rows = column_rows(weights, columns, from, k);
    let places = out.chunks_exact_mut(ELEMENT_BYTES);
    for ((row, bias), out) in rows.zip(biases(bias)).zip(places) {
        store(out, folded(bias, x_zero, row.iter()));
    }
}

/// Folds the zero point of the input (biased) into the biases of a [`Depthwise`](super::Depthwise), in
/// its order. An empty list of biases means that all are 0. `out` takes as many as channels rounded up
/// to [`PANEL`].
pub fn fold_depthwise_bias(
    weights: &[u8],
    channels: usize,
    bias: &[u8],
    x_zero: i32,
    out: &mut [u8],
) {
    out.fill(0);
    let sums = channel_sums(weights, channels, bias, i64::from);
    for (c, (bias, sum)) in sums.enumerate() {
        let panel = out.chunks_mut(PANEL * ELEMENT_BYTES).nth(c / PANEL);
        let panel = panel.map(|panel| panel.chunks_exact_mut(ELEMENT_BYTES));
        if let Some(to) = panel.and_then(|mut panel| panel.nth(depthwise_lane(c))) {
            // CAST: modulo 2^32, as the sum itself.
            store(to, bias.wrapping_sub(x_zero.wrapping_mul(sum as i32)));
        }
    }
}

/// The bias of each channel, and the sum of what `of` makes of its weights. Goes by rows of some
/// channels: each weight of a column lies in another cache line.
fn channel_sums<'a>(
    weights: &'a [u8],
    channels: usize,
    bias: &'a [u8],
    of: fn(i8) -> i64,
) -> impl Iterator<Item = (i32, i64)> + 'a {
    let lists = bias.chunks(LANES * ELEMENT_BYTES);
    let panels = (0..channels)
        .step_by(LANES)
        .zip(lists.chain(core::iter::repeat(&[][..])));
    let panels = panels.flat_map(move |(first, bias)| {
        let mut sums = [0i64; LANES];
        for row in weights.chunks_exact(channels.max(1)) {
            for (sum, &w) in sums.iter_mut().zip(row.get(first..).unwrap_or_default()) {
                // CAST: weights are signed bytes.
                *sum = sum.wrapping_add(of(w as i8));
            }
        }
        biases(bias).zip(sums)
    });
    panels.take(channels)
}

/// What the sum of a row or channel is bounded with: the magnitude of a weight.
fn magnitude(w: i8) -> i64 {
    i64::from(w.unsigned_abs())
}

/// Whether no input makes a sum overflow whose weights have magnitudes that sum to `sum`:
/// `|bias| + 255 sum < 2^31`.
fn is_safe(bias: i32, sum: i64) -> bool {
    i64::from(bias.unsigned_abs()).saturating_add(sum.saturating_mul(255)) <= i64::from(i32::MAX)
}

/// The first row of the weights of a [`Gemm`](super::Gemm) whose sum could overflow, given the biases
/// of the model (not folded; an empty list means that all are 0).
pub fn unsafe_gemm_row(weights: &[u8], row_bytes: usize, bias: &[u8]) -> Option<usize> {
    weights
        .chunks_exact(row_bytes.max(1))
        .zip(biases(bias))
        .position(|(row, bias)| {
            // CAST: weights are signed bytes.
            let weights = row.iter().map(|&w| magnitude(w as i8));
            !is_safe(bias, weights.fold(0, i64::wrapping_add))
        })
}

/// The first channel of the weights of a [`Depthwise`](super::Depthwise) whose sum could overflow,
/// given the biases of the model (not folded; an empty list means that all are 0).
pub fn unsafe_depthwise_channel(weights: &[u8], channels: usize, bias: &[u8]) -> Option<usize> {
    channel_sums(weights, channels, bias, magnitude).position(|(bias, sum)| !is_safe(bias, sum))
}
