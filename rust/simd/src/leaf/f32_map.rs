// SPDX-License-Identifier: GPL-2.0

//! One function of every element.

use super::f32_math as math;
use super::f32_vector::{Part, Vector};
use crate::f32_args::{op, MapF32};
use core::arch::x86_64::{__m256, __m512};

/// Maps rows out of line.
pub(super) trait Map: Vector {
    /// `y[i] = op(x[i])`, `i < n`.
    ///
    /// # Safety
    ///
    /// As [`Vector`]; `x` and `y` are apart or the same.
    unsafe fn map(op: u32, slope: u32, x: *const f32, y: *mut f32, n: usize);
}

#[inline(always)]
unsafe fn map<V: Vector>(code: u32, slope: u32, x: *const f32, y: *mut f32, n: usize) {
    macro_rules! rows {
        (|$v:ident| $value:expr) => {
            each_vector!(V, n, |i, part| {
                let $v: V = part.load(x.add(i));
                part.store($value, y.add(i));
            })
        };
    }
    // SAFETY: the caller has the CPU features; both rows have `n` elements.
    unsafe {
        let slope = V::splat_bits(slope);
        let zero = V::zero();
        match code {
            op::RELU => rows!(|v| zero.max(v)),
            op::RELU6 => rows!(|v| V::splat(6.0).min(zero.max(v))),
            op::LEAKY => rows!(|v| math::leaky(v, slope)),
            op::SIGMOID => rows!(|v| math::sigmoid(v)),
            op::TANH => rows!(|v| math::tanh(v)),
            op::GELU => rows!(|v| math::gelu(v)),
            op::GELU_TANH => rows!(|v| math::gelu_tanh(v)),
            op::HARD_SWISH => rows!(|v| v.mul(math::hard_sigmoid(v))),
            op::SILU => rows!(|v| math::silu(v)),
            op::HARD_SIGMOID => rows!(|v| math::hard_sigmoid(v)),
            op::ELU => rows!(|v| math::elu(v, slope)),
            op::SOFTPLUS => rows!(|v| math::softplus(v)),
            op::EXP => rows!(|v| math::exp(v)),
            op::SQRT => rows!(|v| v.sqrt()),
            op::ABS => rows!(|v| v.abs()),
            _ => rows!(|v| v),
        }
    }
}

impl Map for __m256 {
    #[inline(never)]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn map(op: u32, slope: u32, x: *const f32, y: *mut f32, n: usize) {
        // SAFETY: as the caller says.
        unsafe { map::<Self>(op, slope, x, y, n) }
    }
}

impl Map for __m512 {
    #[inline(never)]
    #[target_feature(enable = "avx2,fma,avx512f")]
    unsafe fn map(op: u32, slope: u32, x: *const f32, y: *mut f32, n: usize) {
        // SAFETY: as the caller says.
        unsafe { map::<Self>(op, slope, x, y, n) }
    }
}

leaf! {
    /// [`MapF32`].
    fn map_f32(a: MapF32) = neural_map_f32_avx2, neural_map_f32_avx512 {
        V::map(a.op, a.slope, a.x.cast(), a.y.cast(), a.n)
    }
}
