// SPDX-License-Identifier: GPL-2.0

//! Matrix product with few rows of weights, which lie one behind the other.
//!
//! A vector runs along a row, so that no lane is left to rows that are not there; the lanes are added
//! at the end. Eight sums run side by side, several for a row if there are fewer rows.

use super::f32_gemm::{One, Sums};
use super::f32_map::Map;
use super::f32_vector::Vector;
use crate::f32_args::GemmF32;
use core::arch::x86_64::__m256;

/// Sums of one position with up to `N` rows, `SPLIT` for each; `N * SPLIT` is 8.
#[inline(always)]
unsafe fn position<V: Vector, const N: usize, const SPLIT: usize>(
    (w, n): (*const f32, usize),
    g: &Sums,
    x: *const f32,
) -> __m256 {
    // SAFETY: the caller has the CPU features, and the position exists.
    unsafe {
        let mut w = [w; N];
        for (r, w) in w.iter_mut().enumerate() {
            // Rows that are not there are the last one.
            *w = w.add(r.min(n - 1) * g.k * g.segments);
        }
        let mut sum = [V::zero(); 8];
        for s in 0..g.segments {
            let x = x.byte_add(g.offset(s));
            let mut i = 0;
            while g.k - i >= SPLIT * V::LANES {
                unroll!(S < SPLIT, {
                    let at = i + S * V::LANES;
                    let p = V::load(x.add(at));
                    unroll!(R < N, {
                        let q = V::load(w[R % N].add(at));
                        sum[(S * N + R) % 8] = p.fma(q, sum[(S * N + R) % 8]);
                    });
                });
                i += SPLIT * V::LANES;
            }
            while i < g.k {
                let part = V::head((g.k - i).min(V::LANES));
                let p = V::load_mask(x.add(i), part);
                unroll!(R < N, {
                    let q = V::load_mask(w[R % N].add(i), part);
                    sum[R] = p.fma(q, sum[R]);
                });
                i += V::LANES;
            }
            for w in &mut w {
                *w = w.add(g.k);
            }
        }
        unroll!(I < 4, {
            if N < 8 {
                sum[I] = sum[I].add(sum[(I + 4) % 8]);
            }
        });
        unroll!(I < 2, {
            if N < 4 {
                sum[I] = sum[I].add(sum[(I + 2) % 8]);
            }
        });
        if N < 2 {
            sum[0] = sum[0].add(sum[1]);
        }
        V::sums(sum)
    }
}

/// The sums of one position with all rows.
#[inline(always)]
unsafe fn rows<V: Map>((w, n): (*const f32, usize), g: &Sums, x: *const f32) -> __m256 {
    // SAFETY: as in `position`.
    unsafe {
        match n {
            1 => position::<V, 1, 8>((w, n), g, x),
            2 => position::<V, 2, 4>((w, n), g, x),
            3 | 4 => position::<V, 4, 2>((w, n), g, x),
            _ => position::<V, 8, 1>((w, n), g, x),
        }
    }
}

/// All positions.
#[inline(always)]
pub(super) unsafe fn all<V: Map>(a: &GemmF32, g: &Sums) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let bias = <__m256 as Vector>::load(a.bias.cast());
        let used = <__m256 as Vector>::head(a.n);
        let (low, high) = g.limits::<__m256>();
        for line in 0..a.outer {
            for column in 0..a.m {
                let x = a.x.add(line * a.x_outer + column * a.x_row).cast();
                let y = a.y.add(line * a.y_outer + column * a.y_row).cast();
                let sums = rows::<V>((a.w.cast(), a.n), g, x);
                let v = high.min(low.max(sums.add(bias)));
                v.store_mask(y, used);
                if g.late() {
                    V::map(g.act, g.slope, y, y, a.n);
                }
            }
        }
    }
}

/// A layer of a chain.
#[inline(always)]
pub(super) unsafe fn one<V: Map>(l: &One, g: &Sums) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let bias = <__m256 as Vector>::load(l.bias);
        let (low, high) = g.limits::<__m256>();
        let sums = rows::<V>((l.w, l.n), g, l.x);
        let v = high.min(low.max(sums.add(bias)));
        if l.room >= __m256::LANES {
            v.store(l.y);
        } else {
            v.store_mask(l.y, <__m256 as Vector>::head(l.n));
        }
        if g.late() {
            V::map(g.act, g.slope, l.y, l.y, l.room.min(__m256::LANES));
        }
    }
}
