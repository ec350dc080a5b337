// SPDX-License-Identifier: GPL-2.0

//! Means and maxima of 8-bit integers, over windows and over rows.

use crate::args::{MeanI8, PoolI8};

use super::codes::{Code, Codes, CODES};

/// The code of 0, biased.
const BIAS: i32 = 128;

/// Vectors of numbers that grow at the same time.
const VECTORS: usize = 4;

/// The part of a window that lies in the image.
#[derive(Clone, Copy)]
struct Area {
    /// The first pixel.
    x: *const u8,
    /// Rows.
    rows: usize,
    /// Columns.
    columns: usize,
    /// Bytes of a row of the image.
    row: usize,
    /// Bytes of a pixel.
    pixel: usize,
}

/// Where a window begins and ends on one axis.
#[inline(always)]
fn inside(index: usize, stride: usize, pad: usize, window: usize, size: usize) -> (usize, usize) {
    let start = index * stride;
    let end = (start + window).saturating_sub(pad).min(size);
    (start.saturating_sub(pad).min(end), end)
}

/// Runs `$body` for the area and the output of each window.
macro_rules! windows {
    ($a:ident, |$area:ident, $y:ident| $body:block) => {
        let row = $a.image[1] * $a.channels;
        let mut $y = $a.y;
        for i in 0..$a.out[0] {
            let (top, bottom) = inside(i, $a.stride[0], $a.pad[0], $a.window[0], $a.image[0]);
            for j in 0..$a.out[1] {
                let (left, right) = inside(j, $a.stride[1], $a.pad[1], $a.window[1], $a.image[1]);
                let $area = Area {
                    x: $a.x.wrapping_add(top * row + left * $a.channels),
                    rows: bottom - top,
                    columns: right - left,
                    row,
                    pixel: $a.channels,
                };
                $body
                $y = $y.wrapping_add($a.channels);
            }
        }
    };
}

/// Gives each channel the code `$code` of its sum.
macro_rules! channels {
    ($codes:ty, $area:expr, $y:expr, |$sum:ident| $code:expr) => {
        let (area, y) = ($area, $y);
        let mut c = 0;
        while area.pixel - c >= VECTORS * CODES {
            for (i, $sum) in sums::<$codes, VECTORS>(area, c, CODES)
                .into_iter()
                .enumerate()
            {
                <$codes>::store($code, y.add(c + i * CODES), CODES);
            }
            c += VECTORS * CODES;
        }
        while c < area.pixel {
            let len = (area.pixel - c).min(CODES);
            let [$sum] = sums::<$codes, 1>(area, c, len);
            <$codes>::store($code, y.add(c), len);
            c += len;
        }
    };
}

/// Adds up `N` vectors of channels, the first at `first`; of the last one, `len` codes.
#[inline(always)]
unsafe fn sums<C: Codes, const N: usize>(area: Area, first: usize, len: usize) -> [C::V; N] {
    // SAFETY: the caller has checked that the area lies inside the image.
    unsafe {
        let mut sums = [C::splat(0); N];
        for row in 0..area.rows {
            let mut x = area.x.add(row * area.row + first);
            for _ in 0..area.columns {
                each!(I in N, {
                    let len = if I + 1 == N { len } else { CODES };
                    sums[I] = C::add(sums[I], C::load(x.add(I * CODES), len));
                });
                x = x.wrapping_add(area.pixel);
            }
        }
        sums
    }
}

#[inline(always)]
unsafe fn average<C: Codes>(a: &PoolI8) {
    // SAFETY: as the caller promises. Windows have at most 2^16 pixels: the quotients are at most 128.
    unsafe {
        let (least, most) = (C::splat(a.min.into()), C::splat(a.max.into()));
        let bias = C::splat(BIAS);
        windows!(a, |area, y| {
            // CAST: at most 2^16.
            let count = (area.rows * area.columns) as i32;
            let zeros = C::splat(count * BIAS);
            let half = C::splat(count / 2);
            let divisor = C::splat(count.max(1));
            channels!(C, area, y, |sum| {
                let sum = C::sub(sum, zeros);
                let mean = C::divide(C::add(C::abs(sum), half), divisor);
                let code = C::add(C::sign(mean, sum), bias);
                C::max(C::min(code, most), least)
            });
        });
    }
}

#[inline(always)]
unsafe fn max<C: Codes>(a: &PoolI8) {
    // SAFETY: as in `sums`.
    unsafe {
        let (least, most) = (C::bytes(a.min), C::bytes(a.max));
        windows!(a, |area, y| {
            let mut c = 0;
            while c < area.pixel {
                let len = (area.pixel - c).min(C::BYTES);
                let mut top = C::bytes(0);
                for row in 0..area.rows {
                    let mut x = area.x.add(row * area.row + c);
                    for _ in 0..area.columns {
                        top = C::max_bytes(top, C::load_bytes(x, len));
                        x = x.wrapping_add(area.pixel);
                    }
                }
                let top = C::max_bytes(C::min_bytes(top, most), least);
                C::store_bytes(top, y.add(c), len);
                c += len;
            }
        });
    }
}

#[inline(always)]
unsafe fn mean<C: Codes>(a: &MeanI8) {
    // SAFETY: as the caller promises; rows are the columns of an image of one row.
    unsafe {
        let zeros = C::splat(a.zeros);
        let code = Code::new::<C>(a.factor, a.zero, 0, 255);
        let area = Area {
            x: a.x,
            rows: 1,
            columns: a.rows,
            row: 0,
            pixel: a.channels,
        };
        channels!(C, area, a.y, |sum| code.apply::<C>(C::sub(sum, zeros)));
    }
}

entries! {
    /// Means over windows.
    average(PoolI8) = neural_average_pool_i8_avx2, neural_average_pool_i8_avx512
}
entries! {
    /// Maxima over windows.
    max(PoolI8) = neural_max_pool_i8_avx2, neural_max_pool_i8_avx512
}
entries! {
    /// Means over rows.
    mean(MeanI8) = neural_mean_i8_avx2, neural_mean_i8_avx512
}
