// SPDX-License-Identifier: GPL-2.0

//! Rows: element by element with a second row, and over each row.

use super::f32_map::Map;
use super::f32_math as math;
use super::f32_vector::{Part, Vector};
use crate::f32_args::{binary, op, part, BinaryF32, MeanF32, NormF32, NormaliseF32, SoftmaxF32};
use core::arch::x86_64::{__m256, __m512};

leaf! {
    /// [`BinaryF32`].
    fn binary_f32(a: BinaryF32) = neural_binary_f32_avx2, neural_binary_f32_avx512 {
        macro_rules! rows {
            (|$p:ident, $q:ident| $value:expr) => {
                for r in 0..a.rows {
                    let x = a.a.cast::<f32>().add(r * a.n);
                    let y = a.y.cast::<f32>().add(r * a.n);
                    each_vector!(V, a.n, |i, part| {
                        let $p: V = part.load(x.add(i));
                        let $q: V = part.load(a.b.cast::<f32>().add(i));
                        part.store($value, y.add(i));
                    });
                }
            };
        }
        match a.op {
            binary::ADD => rows!(|p, q| p.add(q)),
            binary::SUB => rows!(|p, q| p.sub(q)),
            _ => rows!(|p, q| p.mul(q)),
        }
        if a.act != op::NONE {
            V::map(a.act, a.slope, a.y.cast(), a.y.cast(), a.rows * a.n);
        }
    }
}

leaf! {
    /// [`NormaliseF32`].
    fn normalise_f32(a: NormaliseF32) = neural_normalise_f32_avx2, neural_normalise_f32_avx512 {
        let (one, zero, eps) = (V::splat(1.0), V::zero(), V::splat_bits(a.eps));
        let samples = V::splat_bits(a.samples);
        let weight = one.div(samples);
        // Some samples are before this one.
        let more = one.less(samples);
        each_vector!(V, a.n, |i, part| {
            let x: V = part.load(a.x.cast::<f32>().add(i));
            let first: V = part.load(a.first.cast::<f32>().add(i));
            let second: V = part.load(a.second.cast::<f32>().add(i));
            let (first, second, y) = if a.range == 1 {
                let low = V::select(more, x.min(first), x);
                let high = V::select(more, x.max(second), x);
                (low, high, x.sub(low).div(high.sub(low).max(eps)))
            } else {
                let first = V::select(more, first, zero);
                let second = V::select(more, second, zero);
                let off = x.sub(first);
                let mean = off.fma(weight, first);
                let rest = x.sub(mean);
                let variance = off.fma(rest, zero.sub(second)).fma(weight, second);
                (mean, variance, rest.div(variance.add(eps).sqrt()))
            };
            part.store(first, a.next_first.cast::<f32>().add(i));
            part.store(second, a.next_second.cast::<f32>().add(i));
            part.store(y, a.y.cast::<f32>().add(i));
        });
    }
}

/// Softmax of rows, out of line.
pub(super) trait Softmax: Map {
    /// A part of one row, see [`part`].
    ///
    /// # Safety
    ///
    /// As [`Vector`]; `state` has 32 numbers.
    unsafe fn part(a: &SoftmaxF32);

    /// One row, which may be replaced.
    ///
    /// # Safety
    ///
    /// As [`Vector`]; `x` and `y` are apart or the same.
    unsafe fn softmax(x: *const f32, y: *mut f32, n: usize, log: bool);
}

#[inline(always)]
unsafe fn softmax<V: Vector>(x: *const f32, y: *mut f32, n: usize, log: bool) {
    // SAFETY: the caller has the CPU features; both rows have `n` elements.
    unsafe {
        let least = V::splat(f32::NEG_INFINITY);
        let mut top = least;
        each_vector!(V, n, |i, part| {
            let v: V = part.load(x.add(i));
            top = part.keep(v, least).max(top);
        });
        let top = V::splat(top.top());
        let mut sum = V::zero();
        each_vector!(V, n, |i, part| {
            let v: V = part.load(x.add(i));
            let v = v.sub(top);
            let e = math::exp(v);
            sum = sum.add(part.keep(e, V::zero()));
            part.store(if log { v } else { e }, y.add(i));
        });
        let sum = sum.sum();
        if log {
            let lost = math::log(V::splat(sum));
            each_vector!(V, n, |i, part| {
                let v: V = part.load(y.add(i));
                part.store(v.sub(lost), y.add(i));
            });
        } else {
            let factor = V::splat(1.0 / sum);
            each_vector!(V, n, |i, part| {
                let v: V = part.load(y.add(i));
                part.store(v.mul(factor), y.add(i));
            });
        }
    }
}

/// What [`softmax`] does, in three parts; lanes go on where the part before stopped.
#[inline(always)]
unsafe fn some<V: Vector>(a: &SoftmaxF32) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let (x, y): (*const f32, *mut f32) = (a.x.cast(), a.y.cast());
        let tops: *mut f32 = a.state.cast();
        let sums = tops.add(16);
        let least = V::splat(f32::NEG_INFINITY);
        let mut top = V::load(tops);
        if a.part == part::TOP {
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(x.add(i));
                top = part.keep(v, least).max(top);
            });
            return top.store(tops);
        }
        let top = V::splat(top.top());
        let mut sum = V::load(sums);
        if a.part == part::SUM {
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(x.add(i));
                let v = v.sub(top);
                let e = math::exp(v);
                sum = sum.add(part.keep(e, V::zero()));
                part.store(if a.log == 1 { v } else { e }, y.add(i));
            });
            return sum.store(sums);
        }
        let sum = sum.sum();
        if a.log == 1 {
            let lost = math::log(V::splat(sum));
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(y.add(i));
                part.store(v.sub(lost), y.add(i));
            });
        } else {
            let factor = V::splat(1.0 / sum);
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(y.add(i));
                part.store(v.mul(factor), y.add(i));
            });
        }
    }
}

impl Softmax for __m256 {
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn part(a: &SoftmaxF32) {
        // SAFETY: as the caller says.
        unsafe { some::<Self>(a) }
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn softmax(x: *const f32, y: *mut f32, n: usize, log: bool) {
        // SAFETY: as the caller says.
        unsafe { softmax::<Self>(x, y, n, log) }
    }
}

impl Softmax for __m512 {
    #[inline(never)]
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn part(a: &SoftmaxF32) {
        // SAFETY: as the caller says.
        unsafe { some::<Self>(a) }
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn softmax(x: *const f32, y: *mut f32, n: usize, log: bool) {
        // SAFETY: as the caller says.
        unsafe { softmax::<Self>(x, y, n, log) }
    }
}

leaf! {
    /// [`SoftmaxF32`].
    fn softmax_f32(a: SoftmaxF32) = neural_softmax_f32_avx2, neural_softmax_f32_avx512 {
        if a.part != part::ALL {
            return V::part(&a);
        }
        for r in 0..a.rows {
            let at = r * a.n;
            V::softmax(a.x.cast::<f32>().add(at), a.y.cast::<f32>().add(at), a.n, a.log == 1);
        }
    }
}

leaf! {
    /// [`NormF32`].
    fn norm_f32(a: NormF32) = neural_norm_f32_avx2, neural_norm_f32_avx512 {
        let count = a.n as f32;
        let eps = f32::from_bits(a.eps);
        let gamma: *const f32 = a.gamma.cast();
        let beta: *const f32 = a.beta.cast();
        for r in 0..a.rows {
            let x: *const f32 = a.x.cast::<f32>().add(r * a.n);
            let y: *mut f32 = a.y.cast::<f32>().add(r * a.n);
            let mut mean = V::zero();
            if a.rms == 0 {
                let mut sum = V::zero();
                each_vector!(V, a.n, |i, part| {
                    let v: V = part.load(x.add(i));
                    sum = sum.add(v);
                });
                mean = V::splat(sum.sum() / count);
            }
            let mut squares = V::zero();
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(x.add(i));
                let d = part.keep(v.sub(mean), V::zero());
                squares = d.fma(d, squares);
            });
            let variance = V::splat(squares.sum() / count + eps);
            let factor = V::splat(1.0).div(variance.sqrt());
            each_vector!(V, a.n, |i, part| {
                let v: V = part.load(x.add(i));
                let g: V = part.load(gamma.add(i));
                let b: V = if beta.is_null() { V::zero() } else { part.load(beta.add(i)) };
                part.store(v.sub(mean).mul(factor).fma(g, b), y.add(i));
            });
        }
    }
}

leaf! {
    /// [`MeanF32`].
    fn mean_f32(a: MeanF32) = neural_mean_f32_avx2, neural_mean_f32_avx512 {
        let y: *mut f32 = a.y.cast();
        each_vector!(V, a.n, |i, part| {
            let mut sum: V = if a.more == 1 { part.load(y.add(i)) } else { V::zero() };
            let mut x = a.x.cast::<f32>().add(i);
            for _ in 0..a.rows {
                let v: V = part.load(x);
                sum = sum.add(v);
                x = x.wrapping_byte_add(a.x_row);
            }
            if a.count > 0 {
                sum = sum.div(V::splat(a.count as f32));
            }
            part.store(sum, y.add(i));
        });
    }
}
