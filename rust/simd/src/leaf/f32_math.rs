// SPDX-License-Identifier: GPL-2.0

//! Elementary functions of vectors.
//!
//! Own polynomials, found by Remez' exchange; each function says the greatest relative error, over all
//! inputs whose result is at least 1e-36. Smaller results are off by no more than that one would be. NaN
//! gives NaN; minus infinity gives NaN where the equation is a product with zero. `tests/f32_map.rs`
//! reproduces the figures.

use super::f32_vector::Vector;

/// `log2(e)`.
const LOG2_E: f32 = core::f32::consts::LOG2_E;
/// The high bits of `ln 2`: products with integers up to 2^9 are exact.
const LN2_HIGH: f32 = 0.693_359_4;
/// `ln 2` minus [`LN2_HIGH`].
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `c[0] + c[1] x + ...`.
#[inline(always)]
unsafe fn polynomial<V: Vector, const N: usize>(x: V, c: [f32; N]) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let mut sum = V::zero();
        let mut first = true;
        for &c in c.iter().rev() {
            sum = if first {
                V::splat(c)
            } else {
                sum.fma(x, V::splat(c))
            };
            first = false;
        }
        sum
    }
}

/// `(n, p)` with `exp(x) = 2^n (1 + p)` and `2^n` within a factor of 1.42 of it.
#[inline(always)]
unsafe fn exp_parts<V: Vector>(x: V) -> (V, V) {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let n = x.mul(V::splat(LOG2_E)).round();
        let r = n.fnma(V::splat(LN2_HIGH), x);
        let r = n.fnma(V::splat(LN2_LOW), r);
        let q = polynomial(
            r,
            [
                0.499_999_94,
                0.166_665_21,
                0.041_668_39,
                0.008_368_745,
                0.001_381_454,
            ],
        );
        (n, r.mul(r).fma(q, r))
    }
}

/// `e^x`, to 9.0e-8. Above 88.73 infinity, below -103.98 zero, denormal results where they exist.
#[inline(always)]
pub(super) unsafe fn exp<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let x = V::splat(89.0).min(V::splat(-105.0).max(x));
        let (n, p) = exp_parts(x);
        p.add(V::splat(1.0)).scale(n)
    }
}

/// Natural logarithm of positive normal numbers and infinity, to 1.6e-7.
#[inline(always)]
pub(super) unsafe fn log<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let (e, m) = x.split();
        let f = m.sub(V::splat(1.0));
        let p = polynomial(
            f,
            [
                0.333_333_16,
                -0.250_008_1,
                0.200_022_95,
                -0.166_244_98,
                0.141_809_57,
                -0.131_291,
                0.128_834_98,
                -0.078_609_45,
            ],
        );
        // f - f^2/2 + f^3 p, the small parts first.
        let square = f.mul(f);
        let small = e.fma(V::splat(LN2_LOW), square.mul(f).mul(p));
        let small = square.fnma(V::splat(0.5), small);
        let y = e.fma(V::splat(LN2_HIGH), f.add(small));
        V::select(x.less(V::splat(f32::INFINITY)), y, x)
    }
}

/// `log(1 + e^x)`, to 1.7e-7.
#[inline(always)]
pub(super) unsafe fn softplus<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let one = V::splat(1.0);
        let u = exp(V::zero().sub(x.abs()));
        // log(1 + u) = log(s) + (u - (s - 1)) / s, where s is 1 + u as it was rounded.
        let s = u.add(one);
        let lost = u.sub(s.sub(one)).div(s);
        // NaN is the second operand, and stays.
        V::zero().max(x).add(log(s).add(lost))
    }
}

/// `1 / (1 + e^-x)`, to 1.8e-7.
#[inline(always)]
pub(super) unsafe fn sigmoid<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe { logistic(V::splat(1.0), x) }
}

/// `f / (1 + e^-x)`.
#[inline(always)]
unsafe fn logistic<V: Vector>(f: V, x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        // e^-x would overflow where the result is still a number, so that it is f e^x / (1 + e^x) below 0.
        let one = V::splat(1.0);
        let e = exp(V::zero().sub(x.abs()));
        f.mul(V::select(x.less(V::zero()), e, one)).div(e.add(one))
    }
}

/// Hyperbolic tangent, to 1.7e-7.
#[inline(always)]
pub(super) unsafe fn tanh<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        // m = e^(2 |x|) - 1 without cancellation, tanh |x| = m / (m + 2).
        let one = V::splat(1.0);
        let a = x.abs();
        let (n, p) = exp_parts(V::splat(20.0).min(a.add(a)));
        let s = one.scale(n);
        let m = s.fma(p, s.sub(one));
        m.div(m.add(V::splat(2.0))).copysign(x)
    }
}

/// `x P(X <= x)` for normally distributed `X`, the form of GELU with the error function, to 9.5e-7.
#[inline(always)]
pub(super) unsafe fn gelu<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        // P(X > a) = e^(-a^2/2) r(a); r falls smoothly from 1/2, a polynomial of (a - 3) / (a + 3).
        let three = V::splat(3.0);
        let a = V::splat(14.5).min(x.abs());
        let t = a.sub(three).div(a.add(three));
        let r = polynomial(
            t,
            [
                0.121_513_95,
                -0.206_402_61,
                0.123_225_04,
                -0.046_213_26,
                0.006_131_916_3,
                0.002_904_353,
                -0.000_983_194_7,
                -0.000_338_919_08,
                0.000_114_910_19,
                0.000_053_062_966,
            ],
        );
        // The square has twice as many bits as an f32 holds: what was lost is a factor of its own.
        let half = a.mul(V::splat(0.5));
        let square = half.mul(a);
        let lost = half.fma(a, V::zero().sub(square));
        let e = exp(V::zero().sub(square));
        let e = lost.fnma(e, e);
        let tail = r.mul(e);
        let above = V::select(V::zero().less(x), V::splat(1.0).sub(tail), tail);
        x.mul(above)
    }
}

/// `x / (1 + e^-2u)`, `u = sqrt(2/pi) (x + 0.044715 x^3)`: the form of GELU with tanh, to
/// 9.5e-7 for x > -3; to 1.4e-5 below, where the result is small.
#[inline(always)]
pub(super) unsafe fn gelu_tanh<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        // 2 sqrt(2/pi), and that times 0.044715.
        let u = x
            .mul(x)
            .fma(V::splat(0.071_354_814), V::splat(1.595_769_2))
            .mul(x);
        logistic(x, u)
    }
}

/// `x / (1 + e^-x)`, to 2.6e-7.
#[inline(always)]
pub(super) unsafe fn silu<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe { logistic(x, x) }
}

/// `min(max(x + 3, 0), 6) / 6`.
#[inline(always)]
pub(super) unsafe fn hard_sigmoid<V: Vector>(x: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let y = V::splat(6.0).min(V::zero().max(x.add(V::splat(3.0))));
        y.mul(V::splat(1.0 / 6.0))
    }
}

/// `x` above zero, `slope * x` elsewhere.
#[inline(always)]
pub(super) unsafe fn leaky<V: Vector>(x: V, slope: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe { V::select(V::zero().less(x), x, x.mul(slope)) }
}

/// `x` above zero, `slope (e^x - 1)` elsewhere, to 9e-8.
#[inline(always)]
pub(super) unsafe fn elu<V: Vector>(x: V, slope: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let one = V::splat(1.0);
        let (n, p) = exp_parts(V::splat(-30.0).max(V::zero().min(x)));
        let s = one.scale(n);
        let y = slope.mul(s.fma(p, s.sub(one)));
        V::select(V::zero().less(x), x, y)
    }
}

/// The greater one, NaN if any is.
#[inline(always)]
pub(super) unsafe fn max_nan<V: Vector>(a: V, b: V) -> V {
    // SAFETY: the caller has the CPU features.
    unsafe { V::select(a.is_nan(), a, a.max(b)) }
}
