// SPDX-License-Identifier: GPL-2.0

//! Activation functions in Q16.16 without floating point.
//!
//! All of them rest on one exponential. With `k = round(64 x / ln 2)` and
//! `r = x - k ln 2 / 64`, so that `|r| <= ln 2 / 128`,
//!
//! ```text
//! exp(x) = 2^(k div 64) * 2^((k mod 64) / 64) * (1 + r + r^2/2 + r^3/6)
//! ```
//!
//! where the middle factor comes from a table and the rest of the series is below 2^-34 of the
//! result. There are no loops and no divisions in it: five multiplications.

use crate::fixed::{self, map_elements, saturate, ONE};

/// What a layer does with its sums.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `y = x`
    Linear,
    /// `y = max(x, 0)`
    Relu,
    /// `y = x` for `x >= 0`, else `slope * x`
    LeakyRelu {
        /// Slope for negative `x`, Q16.16.
        slope: i32,
    },
    /// `y = 1 / (1 + exp(-x))`
    Sigmoid,
    /// `y = tanh(x)`
    Tanh,
    /// `y_i = exp(x_i) / sum_j exp(x_j)`, over all elements of the layer.
    Softmax,
}

impl Activation {
    /// The code that stands for it in a model file.
    pub const fn code(self) -> u16 {
        match self {
            Activation::Linear => 0,
            Activation::Relu => 1,
            Activation::LeakyRelu { .. } => 2,
            Activation::Sigmoid => 3,
            Activation::Tanh => 4,
            Activation::Softmax => 5,
        }
    }

    /// The activation of a code in a model file; `slope` (Q16.16) is used by leaky ReLU only.
    pub const fn from_code(code: u16, slope: i32) -> Option<Self> {
        match code {
            0 => Some(Activation::Linear),
            1 => Some(Activation::Relu),
            2 => Some(Activation::LeakyRelu { slope }),
            3 => Some(Activation::Sigmoid),
            4 => Some(Activation::Tanh),
            5 => Some(Activation::Softmax),
            _ => None,
        }
    }

    /// Its name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Linear => "linear",
            Activation::Relu => "relu",
            Activation::LeakyRelu { .. } => "leaky_relu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
            Activation::Softmax => "softmax",
        }
    }

    /// Whether each result depends on its own element only, so that a layer can be done in parts.
    pub const fn is_elementwise(self) -> bool {
        !matches!(self, Activation::Softmax)
    }

    /// Applies it in place to Q16.16 elements.
    pub fn apply(self, data: &mut [u8]) {
        match self {
            Activation::Linear => {}
            Activation::Relu => map_elements(data, relu),
            Activation::LeakyRelu { slope } => map_elements(data, |x| leaky_relu(x, slope)),
            Activation::Sigmoid => map_elements(data, sigmoid),
            Activation::Tanh => map_elements(data, tanh),
            Activation::Softmax => softmax(data),
        }
    }
}

/// ln 2, Q64 (the digits are those of 0.693147180559945309417232121458...).
const LN2_Q64: u64 = 0xb172_17f7_d1cf_79ac;

/// Table entries per power of two, and its logarithm.
const STEPS: usize = 64;
const STEPS_LOG2: u32 = 6;

/// `STEPS / ln 2`, Q32.
const STEPS_PER_LN2_Q32: i64 = {
    let ln2 = LN2_Q64 as u128;
    // CAST: 92.3 * 2^32 < 2^63.
    (((1u128 << (64 + 32 + STEPS_LOG2)) + ln2 / 2) / ln2) as i64
};

/// `ln 2 / STEPS`, Q48.
// CAST: 0.0108 * 2^48 < 2^63.
const LN2_PER_STEP_Q48: i64 = ((LN2_Q64 >> 16) as i64 + STEPS as i64 / 2) >> STEPS_LOG2;

/// `2^(i / STEPS)`, Q62, computed by the compiler from repeated square roots of 2.
static POWERS_Q62: [u64; STEPS] = powers();

const fn powers() -> [u64; STEPS] {
    // roots[j] = 2^(1 / 2^(j + 1)), Q62.
    let mut roots = [0u128; STEPS_LOG2 as usize];
    let mut value: u128 = 2 << 62;
    let mut j = 0;
    while j < roots.len() {
        value = (value << 62).isqrt();
        roots[j] = value;
        j += 1;
    }
    let mut table = [0u64; STEPS];
    let mut i = 0;
    while i < STEPS {
        let mut product: u128 = 1 << 62;
        let mut j = 0;
        while j < roots.len() {
            if (i >> (roots.len() - 1 - j)) & 1 == 1 {
                product = (product * roots[j] + (1 << 61)) >> 62;
            }
            j += 1;
        }
        // CAST: 2^(i / STEPS) < 2, so the product is below 2^63.
        table[i] = product as u64;
        i += 1;
    }
    table
}

/// Bits that `y` of [`exp_parts`] has after the point.
const PARTS_BITS: i32 = 36;

/// `exp(x)` for Q16.16 `x` with `|x| <= 32.0` as `(y, n)`: the value is `y * 2^(n - 36)`, with `y`
/// in about `[2^36, 2^37)` and a relative error below 2^-33.
#[inline]
fn exp_parts(x: i64) -> (u64, i32) {
    // |x| <= 2^21, so all products fit: 2^21 * 2^38.6, then k <= 2^11.6, k * 2^41.5 ...
    let k = x.wrapping_mul(STEPS_PER_LN2_Q32).wrapping_add(1 << 47) >> 48;
    let r = (x << 32).wrapping_sub(k.wrapping_mul(LN2_PER_STEP_Q48)) >> 10; // Q38, |r| < 2^30.5
    let r2 = r.wrapping_mul(r) >> 38; // Q38, < 2^23
    let r3 = r2.wrapping_mul(r) >> 38; // Q38
    let sixth = r3.wrapping_mul(0x2aaab) >> 20; // r^3 / 6, 1/6 in Q20
    let p = (1i64 << 38)
        .wrapping_add(r)
        .wrapping_add(r2 >> 1)
        .wrapping_add(sixth);
    // CAST: the mask keeps the index below STEPS.
    let index = (k & (STEPS as i64 - 1)) as usize;
    let power = POWERS_Q62.get(index).copied().unwrap_or(0);
    // CAST: p is positive, and the upper half of a 128-bit product fits in 64 bits.
    let y = (u128::from(p as u64).wrapping_mul(u128::from(power)) >> 64) as u64;
    // CAST: |k| < 2^12.
    (y, (k >> STEPS_LOG2) as i32)
}

/// `y * 2^-shift`, rounded to nearest, for `0 < shift`; 0 when all bits leave.
#[inline]
fn shift_round(y: u64, shift: i32) -> u64 {
    match u32::try_from(shift) {
        Ok(s @ 1..=63) => (y >> s).wrapping_add((y >> (s - 1)) & 1),
        _ => 0,
    }
}

/// `exp(x)` of Q16.16 as Q16.16; saturates to `i32::MAX` (32767.99998) from `x` = 10.3972 on.
///
/// The error against the exact value is below 0.6 units in the last place (2^-16).
#[inline]
pub fn exp(x: i32) -> i32 {
    // exp(x) >= 32768 from here on: ln(32768) * 65536 = 681391.4...
    const SATURATES: i32 = 681_392;
    // exp(-12) * 65536 = 0.40
    const VANISHES: i32 = -12 * ONE;
    if x >= SATURATES {
        return i32::MAX;
    }
    if x <= VANISHES {
        return 0;
    }
    let (y, n) = exp_parts(i64::from(x));
    // CAST: y < 2^37.
    saturate(shift_round(y, PARTS_BITS.wrapping_sub(16).wrapping_sub(n)) as i64)
}

/// `exp(d)` for a Q16.16 `d <= 0` as Q31, so at most 2^31.
#[inline]
fn exp_q31(d: i64) -> u64 {
    // exp(-32) is far below 2^-32.
    let (y, n) = exp_parts(d.clamp(-32 * i64::from(ONE), 0));
    shift_round(y, PARTS_BITS.wrapping_sub(31).wrapping_sub(n))
}

/// `max(x, 0)`.
#[inline]
pub const fn relu(x: i32) -> i32 {
    if x > 0 {
        x
    } else {
        0
    }
}

/// `x` for `x >= 0`, else `slope * x`; all Q16.16, rounded, saturating.
#[inline]
pub const fn leaky_relu(x: i32, slope: i32) -> i32 {
    if x >= 0 {
        x
    } else {
        fixed::mul(x, slope)
    }
}

/// `1 / (1 + exp(-x))`, Q16.16; `sigmoid(-x) == 1 - sigmoid(x)` holds exactly.
///
/// The error against the exact value is below 0.6 units in the last place (2^-16).
#[inline]
pub fn sigmoid(x: i32) -> i32 {
    // 1 - sigmoid(12) is 0.40 units.
    const SATURATES: u32 = 12 * ONE as u32;
    let magnitude = x.unsigned_abs();
    let upper = if magnitude >= SATURATES {
        ONE
    } else {
        // With e = exp(-|x|) in Q31: 2^16 * 2^31 / (2^31 + e), rounded.
        let d = exp_q31(-i64::from(magnitude)).wrapping_add(1 << 31);
        // CAST: the quotient is at most 2^16.
        (1u64 << 47)
            .wrapping_add(d >> 1)
            .checked_div(d)
            .unwrap_or(0) as i32
    };
    if x >= 0 {
        upper
    } else {
        ONE.wrapping_sub(upper)
    }
}

/// `tanh(x)`, Q16.16; `tanh(-x) == -tanh(x)` holds exactly.
///
/// The error against the exact value is below 0.6 units in the last place (2^-16).
#[inline]
pub fn tanh(x: i32) -> i32 {
    // 1 - tanh(6.5) is 0.30 units.
    const SATURATES: u32 = 13 * ONE as u32 / 2;
    let magnitude = x.unsigned_abs();
    let positive = if magnitude >= SATURATES {
        ONE
    } else {
        // With e = exp(-2|x|) in Q31: 2^16 * (2^31 - e) / (2^31 + e), rounded.
        let e = exp_q31(-2 * i64::from(magnitude));
        let d = e.wrapping_add(1 << 31);
        // CAST: e <= 2^31, so the quotient is in 0..=2^16.
        ((1u64 << 31).wrapping_sub(e) << 16)
            .wrapping_add(d >> 1)
            .checked_div(d)
            .unwrap_or(0) as i32
    };
    if x >= 0 {
        positive
    } else {
        positive.wrapping_neg()
    }
}

/// Softmax over all Q16.16 elements of `data`, in place.
///
/// The largest element is subtracted first, so nothing saturates. The results sum to exactly 1.0;
/// each is within 1.001 units in the last place (2^-16) of the exact value. A larger input never gets
/// a smaller result, unless both are below one unit.
///
/// For the exact sum, all results are rounded down and the units that are then missing go to the
/// elements with the largest remainders (among equal remainders, to those that stand first).
/// Takes about 20 short passes over the data, for at most 2^32 elements.
pub fn softmax(data: &mut [u8]) {
    let Some(max) = fixed::elements(data).max() else {
        return;
    };

    // Exponentials in Q31, kept in the elements themselves, and their sum: at most n * 2^31.
    let mut sum = 0u64;
    map_elements(data, |x| {
        let e = exp_q31(i64::from(x).wrapping_sub(i64::from(max)));
        sum = sum.wrapping_add(e);
        // CAST: at most 2^31; kept as the bits of a u32.
        e as u32 as i32
    });

    // p = e / sum in Q31. The largest e is 2^31, so the sum is no less, and with the upper 32 bits of
    // the sum as divisor e * (2^63 / divisor) <= 2^63. What the divisor leaves out makes the sum of all
    // p larger than 2^31 by 2 at most, so their whole units never are more than 1.0.
    let excess = (sum >> 32)
        .checked_ilog2()
        .map_or(0, |log| log.wrapping_add(1));
    let reciprocal = (1u64 << 63) / sum.wrapping_shr(excess).max(1 << 31);
    let mut whole = 0u64;
    map_elements(data, |e| {
        let p = u64::from(e as u32)
            .wrapping_mul(reciprocal)
            .wrapping_shr(excess)
            >> 32;
        whole = whole.wrapping_add(p >> REMAINDER_BITS);
        // CAST: at most 2^31.
        p as u32 as i32
    });

    // The threshold is the smallest remainder of which, with all above, there are not too many.
    let missing = (ONE as u64).saturating_sub(whole);
    let count = |data: &[u8], threshold: u32| -> u64 {
        fixed::elements(data).fold(0, |n: u64, p| {
            n.wrapping_add(u64::from(remainder(p) >= threshold))
        })
    };
    let (mut low, mut high) = (0u32, 1 << REMAINDER_BITS);
    while low < high {
        let middle = high.wrapping_add(low) / 2;
        if count(data, middle) <= missing {
            high = middle;
        } else {
            low = middle.wrapping_add(1);
        }
    }
    let mut ties = missing.saturating_sub(count(data, high));
    map_elements(data, |p| {
        let mut y = p as u32 >> REMAINDER_BITS;
        if remainder(p) >= high {
            y = y.wrapping_add(1);
        } else if ties > 0 && remainder(p).wrapping_add(1) == high {
            ties = ties.wrapping_sub(1);
            y = y.wrapping_add(1);
        }
        // CAST: at most 2^16 + 1.
        y as i32
    });
}

/// Bits of a Q31 probability that a Q16 one does not have.
const REMAINDER_BITS: u32 = 15;

#[inline]
fn remainder(p: i32) -> u32 {
    // CAST: the bits of a u32, see `softmax`.
    p as u32 & ((1 << REMAINDER_BITS) - 1)
}
