// SPDX-License-Identifier: GPL-2.0

//! Pooling of biased codes.

use super::{Pool, BIAS};

/// See [`Pool`]: the mean of the codes that lie in the image, halves away from code 0 (128 biased).
pub fn average_pool(args: Pool<'_>) {
    let add = |sum: i32, code: u8| sum.wrapping_add(i32::from(code)).wrapping_sub(BIAS);
    pool(args, add, |sum, count| {
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
    pool(args, |max, code| i32::from(code).max(max), |max, _| max);
}

/// The part of a window that lies in the image, on one axis.
fn inside(index: usize, stride: usize, pad: usize, window: usize, size: usize) -> (usize, usize) {
    let start = index.saturating_mul(stride);
    let end = start.saturating_add(window).saturating_sub(pad).min(size);
    (start.saturating_sub(pad).min(end), end)
}

/// Gives each output `finish(x, count)`, where `x` is what `step` makes of 0 and the `count` codes of
/// its window.
fn pool(args: Pool<'_>, step: impl Fn(i32, u8) -> i32, finish: impl Fn(i32, i32) -> i32) {
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
    let row_bytes = width.saturating_mul(channels).max(1);
    let channels = channels.max(1);
    let outputs = (0..out_height).flat_map(|oy| (0..out_width).map(move |ox| (oy, ox)));
    for ((oy, ox), y) in outputs.zip(y.chunks_exact_mut(channels)) {
        let (top, bottom) = inside(oy, stride[0], pad[0], window[0], height);
        let (left, right) = inside(ox, stride[1], pad[1], window[1], width);
        let first = top.saturating_mul(row_bytes);
        let last = bottom.saturating_mul(row_bytes);
        let rows = x.get(first..last).unwrap_or_default();
        let part = left.saturating_mul(channels)..right.saturating_mul(channels);
        let area = bottom
            .wrapping_sub(top)
            .saturating_mul(right.wrapping_sub(left));
        // CAST: an image has fewer than 2^31 pixels.
        let count = area as i32;
        for (c, y) in y.iter_mut().enumerate() {
            let mut all = 0;
            for row in rows.chunks_exact(row_bytes) {
                let column = row.get(part.clone()).and_then(|row| row.get(c..));
                let column = column.unwrap_or_default().iter();
                all = column.step_by(channels).fold(all, |all, &x| step(all, x));
            }
            let code = finish(all, count);
            // CAST: limits are codes; the last clamp is for those that are not.
            *y = code.min(max).max(min).clamp(0, 255) as u8;
        }
    }
}
