// SPDX-License-Identifier: GPL-2.0

//! Pooling of biased codes.

use super::{Pool, BIAS};

/// See [`Pool`]: the mean of the codes that lie in the image, halves away from code 0 (128 biased).
pub fn average_pool(args: Pool<'_>) {
    pool(args, |codes| {
        let (mut sum, mut count) = (0i32, 0i32);
        for code in codes {
            sum = sum.wrapping_add(i32::from(code)).wrapping_sub(BIAS);
            count = count.wrapping_add(1);
        }
        let half = count / 2;
        let away = if sum > 0 {
            sum.wrapping_add(half)
        } else {
            sum.wrapping_sub(half)
        };
        away.checked_div(count).unwrap_or(0).wrapping_add(BIAS)
    });
}

/// See [`Pool`]: the greatest of the codes that lie in the image.
pub fn max_pool(args: Pool<'_>) {
    pool(args, |codes| {
        codes.fold(0, |max, code| i32::from(code).max(max))
    });
}

/// The part of a window that lies in the image, on one axis.
fn inside(index: usize, stride: usize, pad: usize, window: usize, size: usize) -> (usize, usize) {
    let start = index.saturating_mul(stride);
    let end = start.saturating_add(window).saturating_sub(pad).min(size);
    (start.saturating_sub(pad).min(end), end)
}

/// Gives each output what `reduce` makes of the codes of its window.
fn pool(args: Pool<'_>, mut reduce: impl FnMut(&mut dyn Iterator<Item = u8>) -> i32) {
    let Pool {
        x,
        y,
        height,
        width,
        channels,
        out_height,
        out_width,
        window,
        stride,
        pad,
        min,
        max,
    } = args;
    let row_bytes = width.saturating_mul(channels);
    if row_bytes == 0 {
        return;
    }
    let outputs = (0..out_height).flat_map(|oy| (0..out_width).map(move |ox| (oy, ox)));
    for ((oy, ox), y) in outputs.zip(y.chunks_exact_mut(channels)) {
        let (top, bottom) = inside(oy, stride[0], pad[0], window[0], height);
        let (left, right) = inside(ox, stride[1], pad[1], window[1], width);
        let rows = x
            .get(top.saturating_mul(row_bytes)..bottom.saturating_mul(row_bytes))
            .unwrap_or_default();
        let (left, right) = (
            left.saturating_mul(channels),
            right.saturating_mul(channels),
        );
        for (c, y) in y.iter_mut().enumerate() {
            let mut codes = rows.chunks_exact(row_bytes).flat_map(|row| {
                let row = row.get(left..right).unwrap_or_default();
                row.chunks_exact(channels).filter_map(|x| x.get(c)).copied()
            });
            let code = reduce(&mut codes);
            // CAST: limits are codes; the last clamp is for those that are not.
            *y = code.min(max).max(min).clamp(0, 255) as u8;
        }
    }
}
