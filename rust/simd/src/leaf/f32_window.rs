// SPDX-License-Identifier: GPL-2.0

//! Windows of single channels: depthwise convolution, pooling.

use super::f32_map::Map;
use super::f32_math as math;
use super::f32_vector::Part;
use crate::f32_args::{op, DepthwiseF32, PoolF32};

/// Positions and vectors of channels that are computed together.
const ROWS: usize = 2;
const VECTORS: usize = 4;

/// `MR` positions, `NV` vectors of channels, the last one as far as `last` selects.
#[inline(always)]
unsafe fn taps<V: Map, const MR: usize, const NV: usize>(
    a: &DepthwiseF32,
    x: &[*const f32; ROWS],
    y: &[*mut f32; ROWS],
    channel: usize,
    last: V::Mask,
) {
    // SAFETY: the caller has the CPU features, and the positions and channels exist.
    unsafe {
        let bias = a.bias.cast::<f32>().add(channel);
        let mut w = a.w.cast::<f32>().add(channel);
        let mut sum = [[V::zero(); VECTORS]; ROWS];
        unroll!(J < NV, {
            let bias = V::load(bias.add(J * V::LANES));
            unroll!(R < MR, {
                sum[R & 1][J & 3] = bias;
            });
        });
        for t in 0..a.taps {
            // CAST: 32 bits into 64.
            let at = a.offsets.cast::<u32>().add(t).read_unaligned() as usize;
            unroll!(J < NV, {
                let v = V::load(w.add(J * V::LANES));
                unroll!(R < MR, {
                    let p = x[R & 1].byte_add(at).add(channel + J * V::LANES);
                    let p = if J + 1 == NV {
                        V::load_mask(p, last)
                    } else {
                        V::load(p)
                    };
                    sum[R & 1][J & 3] = p.fma(v, sum[R & 1][J & 3]);
                });
            });
            w = w.wrapping_add(a.stride);
        }
        let low = if matches!(a.act, op::RELU | op::RELU6) {
            0.0
        } else {
            f32::NEG_INFINITY
        };
        let high = if a.act == op::RELU6 {
            6.0
        } else {
            f32::INFINITY
        };
        let (low, high) = (V::splat(low), V::splat(high));
        unroll!(R < MR, {
            let y = y[R & 1].add(channel);
            unroll!(J < NV, {
                let v = high.min(low.max(sum[R & 1][J & 3]));
                if J + 1 == NV {
                    v.store_mask(y.add(J * V::LANES), last);
                } else {
                    v.store(y.add(J * V::LANES));
                }
            });
        });
    }
}

leaf! {
    /// [`DepthwiseF32`].
    fn depthwise_f32(a: DepthwiseF32) = neural_depthwise_f32_avx2, neural_depthwise_f32_avx512 {
        let mut line = 0;
        while line < a.outer {
            let mut column = 0;
            while column < a.m {
                let m = (a.m - column).min(ROWS);
                let x0 = a.x.add(line * a.x_outer + column * a.x_row);
                let y0 = a.y.add(line * a.y_outer + column * a.y_row);
                let x = [x0.cast::<f32>(), x0.wrapping_add(a.x_row).cast()];
                let y = [y0.cast::<f32>(), y0.wrapping_add(a.y_row).cast()];
                let mut channel = 0;
                while channel < a.channels {
                    let left = a.channels - channel;
                    let vectors = left.div_ceil(V::LANES).min(VECTORS);
                    let last = V::head(left - (vectors - 1) * V::LANES);
                    match (m, vectors) {
                        (1, 1) => taps::<V, 1, 1>(&a, &x, &y, channel, last),
                        (1, 2) => taps::<V, 1, 2>(&a, &x, &y, channel, last),
                        (1, 3) => taps::<V, 1, 3>(&a, &x, &y, channel, last),
                        (1, _) => taps::<V, 1, 4>(&a, &x, &y, channel, last),
                        (_, 1) => taps::<V, 2, 1>(&a, &x, &y, channel, last),
                        (_, 2) => taps::<V, 2, 2>(&a, &x, &y, channel, last),
                        (_, 3) => taps::<V, 2, 3>(&a, &x, &y, channel, last),
                        _ => taps::<V, 2, 4>(&a, &x, &y, channel, last),
                    }
                    channel += vectors * V::LANES;
                }
                if a.act > op::RELU6 {
                    for y in y.into_iter().take(m) {
                        V::map(a.act, a.slope, y, y, a.channels);
                    }
                }
                column += m;
            }
            line += 1;
        }
    }
}

/// First and last place plus one of a window, inside `0..len`.
#[inline(always)]
fn cut(place: usize, stride: usize, pad: usize, window: usize, len: usize) -> (usize, usize) {
    let start = place * stride;
    let end = (start + window).saturating_sub(pad).min(len);
    (start.saturating_sub(pad).min(end), end)
}

leaf! {
    /// [`PoolF32`].
    fn pool_f32(a: PoolF32) = neural_pool_f32_avx2, neural_pool_f32_avx512 {
        let mut y: *mut f32 = a.y.cast();
        for row in 0..a.out_height {
            let (top, bottom) = cut(row, a.stride[0], a.pad[0], a.window[0], a.height);
            for column in 0..a.out_width {
                let (left, right) = cut(a.first + column, a.stride[1], a.pad[1], a.window[1], a.width);
                let count = ((bottom - top) * (right - left)).max(1);
                let count = V::splat(count as f32);
                each_vector!(V, a.channels, |c, part| {
                    let mut v = V::splat(if a.max == 1 { f32::NEG_INFINITY } else { 0.0 });
                    for i in top..bottom {
                        let x = a.x.cast::<f32>().add((i * a.width + left) * a.pixel + c);
                        for j in 0..right - left {
                            let p: V = part.load(x.add(j * a.pixel));
                            v = if a.max == 1 { math::max_nan(v, p) } else { v.add(p) };
                        }
                    }
                    part.store(if a.max == 1 { v } else { v.div(count) }, y.add(c));
                });
                y = y.wrapping_add(a.pixel);
            }
        }
    }
}
