// SPDX-License-Identifier: GPL-2.0

//! Vectors of `f32`, one interface for AVX2 and AVX-512.
//!
//! Kernels are written once, for any [`Vector`], and instantiated inside functions that have the CPU
//! features. Everything here is inlined into them: out of line it would be compiled without those
//! features. Comparisons with NaN are false; `max` and `min` give their second operand when one of the
//! two is NaN.

use core::arch::x86_64::*;

/// A vector of `f32`.
///
/// # Rules
///
/// Every method must be called where the CPU features of the type are enabled: AVX2 and FMA for
/// `__m256`, AVX-512F as well for `__m512`. Methods that take pointers read or write [`Self::LANES`]
/// elements there, those with a mask only the elements that it selects; no alignment is needed.
pub(super) trait Vector: Copy {
    /// Elements.
    const LANES: usize;
    /// One bit for each element.
    type Mask: Copy;

    unsafe fn zero() -> Self;
    unsafe fn splat(v: f32) -> Self;
    unsafe fn splat_bits(v: u32) -> Self;
    unsafe fn load(p: *const f32) -> Self;
    unsafe fn store(self, p: *mut f32);
    /// Selects the first `n` elements.
    unsafe fn head(n: usize) -> Self::Mask;
    /// Elements that are not selected are 0, and are not read.
    unsafe fn load_mask(p: *const f32, m: Self::Mask) -> Self;
    unsafe fn store_mask(self, p: *mut f32, m: Self::Mask);
    /// `a` where the mask selects, `b` elsewhere.
    unsafe fn select(m: Self::Mask, a: Self, b: Self) -> Self;
    unsafe fn less(self, b: Self) -> Self::Mask;
    unsafe fn is_nan(self) -> Self::Mask;

    unsafe fn add(self, b: Self) -> Self;
    unsafe fn sub(self, b: Self) -> Self;
    unsafe fn mul(self, b: Self) -> Self;
    unsafe fn div(self, b: Self) -> Self;
    unsafe fn sqrt(self) -> Self;
    unsafe fn max(self, b: Self) -> Self;
    unsafe fn min(self, b: Self) -> Self;
    /// `self * b + c`, rounded once.
    unsafe fn fma(self, b: Self, c: Self) -> Self;
    /// `c - self * b`, rounded once.
    unsafe fn fnma(self, b: Self, c: Self) -> Self;
    /// To the nearest integer, ties to even.
    unsafe fn round(self) -> Self;
    /// `self * 2^n` for integers `n` of -150..=128, rounded once.
    unsafe fn scale(self, n: Self) -> Self;
    unsafe fn abs(self) -> Self;
    /// The magnitude of `self`, the sign of `s`.
    unsafe fn copysign(self, s: Self) -> Self;
    /// `(e, m)` with `self = m 2^e` and `m` of sqrt(1/2)..sqrt(2), for positive normal numbers.
    unsafe fn split(self) -> (Self, Self);

    /// The sum of all elements.
    unsafe fn sum(self) -> f32;
    /// The greatest of all elements.
    unsafe fn top(self) -> f32;
    /// Element 0 in all places.
    unsafe fn spread(self) -> Self;
    /// Element `i` becomes that of `i + 1`, the last one that of 0.
    unsafe fn rotate(self) -> Self;
    /// The sums of eight vectors.
    unsafe fn sums(v: [Self; 8]) -> __m256;
    /// The sums of two times eight vectors.
    unsafe fn sums2(a: [Self; 8], b: [Self; 8]) -> (__m256, __m256);
}

/// Methods that are one expression.
macro_rules! simple {
    ($(fn $name:ident($($arg:ident: $t:ty),*) -> $r:ty = $e:expr;)*) => {
        $(
            #[inline(always)]
            unsafe fn $name($($arg: $t),*) -> $r {
                // SAFETY: the caller has the CPU features, and may access what pointers lead to.
                unsafe { $e }
            }
        )*
    };
}

/// Methods of a vector that are one expression.
macro_rules! method {
    ($(fn $name:ident($this:ident $(, $arg:ident: $t:ty)*) -> $r:ty = $e:expr;)*) => {
        $(
            #[inline(always)]
            unsafe fn $name($this $(, $arg: $t)*) -> $r {
                // SAFETY: the caller has the CPU features, and may access what pointers lead to.
                unsafe { $e }
            }
        )*
    };
}

/// The sums of eight vectors of eight.
#[inline(always)]
unsafe fn sums_256(v: [__m256; 8]) -> __m256 {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
        let b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
        let low = _mm256_permute2f128_ps::<0x20>(a, b);
        let high = _mm256_permute2f128_ps::<0x31>(a, b);
        _mm256_add_ps(low, high)
    }
}

/// The elements that a mask selects, which are the first ones.
///
/// A CPU does not touch the others, but QEMU's emulation does, and faults when they lie on a page that
/// is not there. So in front of the end of a page, what is loaded are the eight elements that end with
/// those selected.
#[inline(always)]
unsafe fn load_mask_256(p: *const f32, m: __m256i) -> __m256 {
    // SAFETY: the caller has the CPU features, and may read the elements that `m` selects; the masks
    // select no others.
    unsafe {
        if p.addr() % PAGE <= PAGE - 32 {
            return _mm256_maskload_ps(p, m);
        }
        let selected = _mm256_movemask_ps(_mm256_castsi256_ps(m)) as u32;
        // How many are not.
        let rest = selected.leading_zeros() - 24;
        let places = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        let shift = _mm256_set1_epi32(rest as i32);
        let last = _mm256_cmpgt_epi32(shift, places);
        let last = _mm256_andnot_si256(last, _mm256_set1_epi32(-1));
        let v = _mm256_maskload_ps(p.wrapping_sub(rest as usize), last);
        // The place is taken modulo 8, so that zeros follow.
        _mm256_permutevar8x32_ps(v, _mm256_add_epi32(places, shift))
    }
}

/// Bytes of a page.
const PAGE: usize = 4096;

/// Combines the eight elements in a tree.
macro_rules! fold_256 {
    ($v:expr, $op:ident, $op1:ident) => {{
        let v: __m256 = $v;
        let a = $op(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let a = $op(a, _mm_movehl_ps(a, a));
        _mm_cvtss_f32($op1(a, _mm_movehdup_ps(a)))
    }};
}

impl Vector for __m256 {
    const LANES: usize = 8;
    type Mask = __m256i;

    simple! {
        fn zero() -> Self = _mm256_setzero_ps();
        fn splat(v: f32) -> Self = _mm256_set1_ps(v);
        fn splat_bits(v: u32) -> Self = _mm256_castsi256_ps(_mm256_set1_epi32(v as i32));
        fn load(p: *const f32) -> Self = _mm256_loadu_ps(p);
        fn head(n: usize) -> __m256i = _mm256_cmpgt_epi32(
            _mm256_set1_epi32(lanes(n)),
            _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
        );
        fn load_mask(p: *const f32, m: __m256i) -> Self = load_mask_256(p, m);
        fn select(m: __m256i, a: Self, b: Self) -> Self =
            _mm256_blendv_ps(b, a, _mm256_castsi256_ps(m));
        fn sums(v: [Self; 8]) -> __m256 = sums_256(v);
        fn sums2(a: [Self; 8], b: [Self; 8]) -> (__m256, __m256) = (sums_256(a), sums_256(b));
    }

    method! {
        fn less(self, b: Self) -> __m256i =
            _mm256_castps_si256(_mm256_cmp_ps::<_CMP_LT_OQ>(self, b));
        fn store(self, p: *mut f32) -> () = _mm256_storeu_ps(p, self);
        fn store_mask(self, p: *mut f32, m: __m256i) -> () = _mm256_maskstore_ps(p, m, self);
        fn is_nan(self) -> __m256i = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self, self));
        fn add(self, b: Self) -> Self = _mm256_add_ps(self, b);
        fn sub(self, b: Self) -> Self = _mm256_sub_ps(self, b);
        fn mul(self, b: Self) -> Self = _mm256_mul_ps(self, b);
        fn div(self, b: Self) -> Self = _mm256_div_ps(self, b);
        fn sqrt(self) -> Self = _mm256_sqrt_ps(self);
        fn max(self, b: Self) -> Self = _mm256_max_ps(self, b);
        fn min(self, b: Self) -> Self = _mm256_min_ps(self, b);
        fn fma(self, b: Self, c: Self) -> Self = _mm256_fmadd_ps(self, b, c);
        fn fnma(self, b: Self, c: Self) -> Self = _mm256_fnmadd_ps(self, b, c);
        fn round(self) -> Self = _mm256_round_ps::<8>(self);
        fn abs(self) -> Self = _mm256_andnot_ps(_mm256_set1_ps(-0.0), self);
        fn sum(self) -> f32 = fold_256!(self, _mm_add_ps, _mm_add_ss);
        fn top(self) -> f32 = fold_256!(self, _mm_max_ps, _mm_max_ss);
        fn spread(self) -> Self = _mm256_broadcastss_ps(_mm256_castps256_ps128(self));
        fn rotate(self) -> Self =
            _mm256_permutevar8x32_ps(self, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 0));
    }

    #[inline(always)]
    unsafe fn copysign(self, s: Self) -> Self {
        // SAFETY: the caller has the CPU features.
        unsafe {
            let sign = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(sign, self), _mm256_and_ps(sign, s))
        }
    }

    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // SAFETY: the caller has the CPU features.
        unsafe {
            // Two factors that are normal numbers; only the last product can round.
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            let rest = _mm256_sub_epi32(n, half);
            let bias = _mm256_set1_epi32(127);
            let a = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let b = _mm256_slli_epi32::<23>(_mm256_add_epi32(rest, bias));
            self.mul(_mm256_castsi256_ps(a)).mul(_mm256_castsi256_ps(b))
        }
    }

    #[inline(always)]
    unsafe fn split(self) -> (Self, Self) {
        // SAFETY: the caller has the CPU features.
        unsafe {
            let bits = _mm256_castps_si256(self);
            let over = _mm256_sub_epi32(bits, _mm256_set1_epi32(SQRT_HALF));
            let e = _mm256_srai_epi32::<23>(over);
            let m = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(e));
            (_mm256_cvtepi32_ps(e), _mm256_castsi256_ps(m))
        }
    }
}

/// The upper half of a vector.
#[inline(always)]
unsafe fn upper(v: __m512) -> __m256 {
    // SAFETY: the caller has the CPU features.
    unsafe { _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v))) }
}

/// Both halves added.
#[inline(always)]
unsafe fn halves(v: __m512) -> __m256 {
    // SAFETY: the caller has the CPU features.
    unsafe { _mm256_add_ps(_mm512_castps512_ps256(v), upper(v)) }
}

/// In each group of four: `a0 + a2, a1 + a3` of `a`, then those of `b`, interleaved.
#[inline(always)]
unsafe fn pair(a: __m512, b: __m512) -> __m512 {
    // SAFETY: the caller has the CPU features.
    unsafe { _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b)) }
}

/// The sums within the groups of four of four vectors, a group each.
#[inline(always)]
unsafe fn quad(a: __m512, b: __m512, c: __m512, d: __m512) -> __m512 {
    // SAFETY: the caller has the CPU features.
    unsafe {
        let ab = _mm512_castps_pd(pair(a, b));
        let cd = _mm512_castps_pd(pair(c, d));
        _mm512_add_ps(
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd)),
        )
    }
}

impl Vector for __m512 {
    const LANES: usize = 16;
    type Mask = __mmask16;

    simple! {
        fn zero() -> Self = _mm512_setzero_ps();
        fn splat(v: f32) -> Self = _mm512_set1_ps(v);
        fn splat_bits(v: u32) -> Self = _mm512_castsi512_ps(_mm512_set1_epi32(v as i32));
        fn load(p: *const f32) -> Self = _mm512_loadu_ps(p);
        fn head(n: usize) -> __mmask16 = if n >= 16 { 0xffff } else { bits(n) };
        fn load_mask(p: *const f32, m: __mmask16) -> Self = _mm512_maskz_loadu_ps(m, p);
        fn select(m: __mmask16, a: Self, b: Self) -> Self = _mm512_mask_blend_ps(m, b, a);
    }

    method! {
        fn less(self, b: Self) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(self, b);
        fn store(self, p: *mut f32) -> () = _mm512_storeu_ps(p, self);
        fn store_mask(self, p: *mut f32, m: __mmask16) -> () = _mm512_mask_storeu_ps(p, m, self);
        fn is_nan(self) -> __mmask16 = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self, self);
        fn add(self, b: Self) -> Self = _mm512_add_ps(self, b);
        fn sub(self, b: Self) -> Self = _mm512_sub_ps(self, b);
        fn mul(self, b: Self) -> Self = _mm512_mul_ps(self, b);
        fn div(self, b: Self) -> Self = _mm512_div_ps(self, b);
        fn sqrt(self) -> Self = _mm512_sqrt_ps(self);
        fn max(self, b: Self) -> Self = _mm512_max_ps(self, b);
        fn min(self, b: Self) -> Self = _mm512_min_ps(self, b);
        fn fma(self, b: Self, c: Self) -> Self = _mm512_fmadd_ps(self, b, c);
        fn fnma(self, b: Self, c: Self) -> Self = _mm512_fnmadd_ps(self, b, c);
        fn round(self) -> Self = _mm512_roundscale_ps::<8>(self);
        fn scale(self, n: Self) -> Self = _mm512_scalef_ps(self, n);
        fn abs(self) -> Self = _mm512_castsi512_ps(_mm512_andnot_si512(
            _mm512_set1_epi32(i32::MIN),
            _mm512_castps_si512(self),
        ));
        fn sum(self) -> f32 = halves(self).sum();
        fn top(self) -> f32 = _mm512_castps512_ps256(self).max(upper(self)).top();
        fn spread(self) -> Self = _mm512_broadcastss_ps(_mm512_castps512_ps128(self));
        fn rotate(self) -> Self = _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(
            _mm512_castps_si512(self),
            _mm512_castps_si512(self),
        ));
    }

    #[inline(always)]
    unsafe fn copysign(self, s: Self) -> Self {
        // SAFETY: the caller has the CPU features.
        unsafe {
            _mm512_castsi512_ps(_mm512_ternarylogic_epi32::<0xd8>(
                _mm512_castps_si512(self),
                _mm512_castps_si512(s),
                _mm512_set1_epi32(i32::MIN),
            ))
        }
    }

    #[inline(always)]
    unsafe fn split(self) -> (Self, Self) {
        // SAFETY: the caller has the CPU features.
        unsafe {
            let bits = _mm512_castps_si512(self);
            let over = _mm512_sub_epi32(bits, _mm512_set1_epi32(SQRT_HALF));
            let e = _mm512_srai_epi32::<23>(over);
            let m = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(e));
            (_mm512_cvtepi32_ps(e), _mm512_castsi512_ps(m))
        }
    }

    #[inline(always)]
    unsafe fn sums(v: [Self; 8]) -> __m256 {
        // SAFETY: the caller has the CPU features.
        unsafe {
            // Groups of four hold the sums of v0..v3 and of v4..v7, four times.
            let a = quad(v[0], v[1], v[2], v[3]);
            let b = quad(v[4], v[5], v[6], v[7]);
            let low = _mm512_shuffle_f32x4::<0b10_00_10_00>(a, b);
            let high = _mm512_shuffle_f32x4::<0b11_01_11_01>(a, b);
            let s = _mm512_add_ps(low, high);
            let (low, high) = (_mm512_castps512_ps256(s), upper(s));
            let even = _mm256_permute2f128_ps::<0x20>(low, high);
            let odd = _mm256_permute2f128_ps::<0x31>(low, high);
            _mm256_add_ps(even, odd)
        }
    }

    #[inline(always)]
    unsafe fn sums2(a: [Self; 8], b: [Self; 8]) -> (__m256, __m256) {
        // SAFETY: the caller has the CPU features.
        unsafe {
            let p = quad(a[0], a[1], a[2], a[3]);
            let q = quad(a[4], a[5], a[6], a[7]);
            let r = quad(b[0], b[1], b[2], b[3]);
            let s = quad(b[4], b[5], b[6], b[7]);
            // Groups: two of the first vector, two of the second.
            let pq = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(p, q),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(p, q),
            );
            let rs = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(r, s),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(r, s),
            );
            let all = _mm512_add_ps(
                _mm512_shuffle_f32x4::<0b10_00_10_00>(pq, rs),
                _mm512_shuffle_f32x4::<0b11_01_11_01>(pq, rs),
            );
            (_mm512_castps512_ps256(all), upper(all))
        }
    }
}

/// The bits of sqrt(1/2).
const SQRT_HALF: i32 = 0x3f35_04f3;

/// A count of lanes, at most 16, as what vectors compare.
#[inline(always)]
const fn lanes(n: usize) -> i32 {
    // CAST: at most 16.
    (if n > 16 { 16 } else { n }) as i32
}

/// The `n` lowest bits, `n` below 16.
#[inline(always)]
const fn bits(n: usize) -> u16 {
    // CAST: 16 bits, after the mask.
    ((1u32 << (n & 15)) - 1) as u16
}

/// All elements of a vector: the way through the middle of a row.
#[derive(Copy, Clone)]
pub(super) struct Whole;

/// Some elements of a vector: the way through the end of a row.
#[derive(Copy, Clone)]
pub(super) struct Head<M>(pub(super) M);

/// Loads and stores of all or some elements.
///
/// The rules are those of [`Vector`].
pub(super) trait Part<V: Vector>: Copy {
    /// 0 where nothing is selected.
    unsafe fn load(self, p: *const f32) -> V;
    unsafe fn store(self, v: V, p: *mut f32);
    /// `fill` where nothing is selected.
    unsafe fn keep(self, v: V, fill: V) -> V;
}

impl<V: Vector> Part<V> for Whole {
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> V {
        // SAFETY: as the caller says.
        unsafe { V::load(p) }
    }

    #[inline(always)]
    unsafe fn store(self, v: V, p: *mut f32) {
        // SAFETY: as the caller says.
        unsafe { v.store(p) }
    }

    #[inline(always)]
    unsafe fn keep(self, v: V, _: V) -> V {
        v
    }
}

impl<V: Vector> Part<V> for Head<V::Mask> {
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> V {
        // SAFETY: as the caller says.
        unsafe { V::load_mask(p, self.0) }
    }

    #[inline(always)]
    unsafe fn store(self, v: V, p: *mut f32) {
        // SAFETY: as the caller says.
        unsafe { v.store_mask(p, self.0) }
    }

    #[inline(always)]
    unsafe fn keep(self, v: V, fill: V) -> V {
        // SAFETY: as the caller says.
        unsafe { V::select(self.0, v, fill) }
    }
}

/// Runs a block for each vector of a row of `$n` elements: `$i` is the first element, `$part` says
/// which are there.
macro_rules! each_vector {
    ($V:ty, $n:expr, |$i:ident, $part:ident| $body:block) => {{
        let n: usize = $n;
        let mut $i = 0usize;
        while n - $i >= <$V>::LANES {
            let $part = super::f32_vector::Whole;
            $body
            $i += <$V>::LANES;
        }
        if $i < n {
            let $part = super::f32_vector::Head(<$V>::head(n - $i));
            $body
        }
    }};
}

/// Repeats a block for the constants 0..N, N at most 8, without a loop.
macro_rules! unroll {
    ($i:ident < $n:expr, $body:block) => {
        unroll!(@ $i, $n, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $i:ident, $n:expr, $body:block, $($c:literal)*) => {
        $(
            if $n > $c {
                #[allow(non_upper_case_globals)]
                const $i: usize = $c;
                $body
            }
        )*
    };
}

/// Exports one kernel for AVX2 and one for AVX-512: `V` is the vector, `$a` the arguments.
macro_rules! leaf {
    ($(#[$doc:meta])* fn $name:ident($a:ident: $args:ty) = $avx2:ident, $avx512:ident $body:block) => {
        #[inline(always)]
        unsafe fn $name<V: super::f32_gemm::Tiles>($a: $args) {
            // SAFETY: the caller has the CPU features, and has checked the arguments.
            unsafe { $body }
        }

        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The CPU has AVX2 and FMA, vector registers may be used, and the arguments are valid.
        #[no_mangle]
        #[target_feature(enable = "avx2,fma")]
        pub(crate) unsafe extern "C" fn $avx2(a: *const $args) {
            // SAFETY: as the caller says.
            unsafe {
                $name::<core::arch::x86_64::__m256>(*a);
                core::arch::x86_64::_mm256_zeroupper();
            }
        }

        $(#[$doc])*
        ///
        /// # Safety
        ///
        /// The CPU has AVX-512F, vector registers may be used, and the arguments are valid.
        #[no_mangle]
        #[target_feature(enable = "avx2,fma,avx512f")]
        pub(crate) unsafe extern "C" fn $avx512(a: *const $args) {
            // SAFETY: as the caller says.
            unsafe {
                $name::<core::arch::x86_64::__m512>(*a);
                core::arch::x86_64::_mm256_zeroupper();
            }
        }
    };
}
