// SPDX-License-Identifier: GPL-2.0

//! From scales to integers: multipliers, clamps and limits of the int8 operators.
//!
//! Each operator has its own precision for the quotient of its scales, and the last bit of a
//! multiplier decides results: where a product or quotient is rounded to float32 here, it must be.
//! `tests/vectors/tflite_ref.py` has the same rules once more, and what comes of them is held against
//! TensorFlow Lite Micro.

use neural_core::int8::Multiplier;

/// An activation that an operator applies to what it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// None.
    #[default]
    None,
    /// At least 0.
    Relu,
    /// From -1 to 1.
    ReluN1To1,
    /// From 0 to 6.
    Relu6,
}

impl Activation {
    /// Its name, empty for none.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Relu => "relu",
            Self::ReluN1To1 => "relu_n1_to_1",
            Self::Relu6 => "relu6",
        }
    }

    fn range(self) -> (Option<f32>, Option<f32>) {
        match self {
            Self::None => (None, None),
            Self::Relu => (Some(0.0), None),
            Self::ReluN1To1 => (Some(-1.0), Some(1.0)),
            Self::Relu6 => (Some(0.0), Some(6.0)),
        }
    }
}

/// `real` as a fixed-point number: mantissa of 31 bits, halves rounded up; 0 where it is too small.
/// A number that is not finite, negative, or too large for a shift by 31 gives `None`.
pub fn quantize_multiplier(real: f64) -> Option<Multiplier> {
    if real == 0.0 {
        return Some(Multiplier { mult: 0, shift: 0 });
    }
    if !(real > 0.0 && real < 4294967296.0) {
        return None;
    }
    // A subnormal is far below what becomes 0.
    let exponent = i32::try_from(real.to_bits() >> 52).ok()? - 1022;
    if exponent < -40 {
        return Some(Multiplier { mult: 0, shift: 0 });
    }
    let mantissa = real / 2f64.powi(exponent);
    let rounded = (mantissa * 2147483648.0 + 0.5).floor();
    let (rounded, exponent) = if rounded >= 2147483648.0 {
        (rounded / 2.0, exponent + 1)
    } else {
        (rounded, exponent)
    };
    if exponent > 31 {
        return None;
    }
    Some(if exponent < -31 {
        Multiplier { mult: 0, shift: 0 }
    } else {
        Multiplier {
            mult: rounded as i32, // CAST: below 2^31
            shift: -exponent,
        }
    })
}

fn wide(x: f32) -> f64 {
    f64::from(x)
}

/// CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED with a scale for each output.
pub fn per_channel(x: f32, w: f32, y: f32) -> Option<Multiplier> {
    quantize_multiplier(wide(x) * wide(w) / wide(y))
}

/// FULLY_CONNECTED with one scale, BATCH_MATMUL, the gates of an LSTM: the product is a float32.
pub fn per_tensor(x: f32, w: f32, y: f32) -> Option<Multiplier> {
    quantize_multiplier(wide(x * w) / wide(y))
}

/// MUL.
pub fn mul(a: f32, b: f32, y: f32) -> Option<Multiplier> {
    quantize_multiplier(wide(a) * wide(b) / wide(y))
}

/// QUANTIZE from int8, MEAN, RELU.
pub fn rescale(x: f32, y: f32) -> Option<Multiplier> {
    quantize_multiplier(wide(x) / wide(y))
}

/// LEAKY_RELU: for inputs from the zero point on, and for those below.
pub fn leaky_relu(x: f32, alpha: f32, y: f32) -> Option<(Multiplier, Multiplier)> {
    let below = quantize_multiplier(wide(x) * wide(alpha) / wide(y))?;
    Some((rescale(x, y)?, below))
}

/// The bits to the left by which ADD and SUB shift before they scale.
pub const SUM_SHIFT: u32 = 20;

/// ADD and SUB: for both inputs, and for their sum.
pub fn sum(a: f32, b: f32, y: f32) -> Option<[Multiplier; 3]> {
    let twice = 2.0 * a.max(b);
    let unit = (1u32 << SUM_SHIFT) as f32 * y;
    Some([
        quantize_multiplier(wide(a) / wide(twice))?,
        quantize_multiplier(wide(b) / wide(twice))?,
        quantize_multiplier(wide(twice) / wide(unit))?,
    ])
}

/// HARD_SWISH: for the output and for the gate; of both mantissas 15 bits are used.
pub fn hard_swish(x: f32, y: f32) -> Option<[Multiplier; 2]> {
    let fine = x / 128.0;
    let gate = 3.0f32 / 32768.0;
    Some([
        quantize_multiplier(wide(fine / y))?,
        quantize_multiplier(wide(fine / gate))?,
    ])
}

/// The largest difference that fits `bits` integer bits when it is shifted by `left`.
fn radius(bits: u32, left: i32) -> Option<i32> {
    let largest = f64::from((1u32 << bits) - 1) * f64::from(1u32 << (31 - bits));
    let radius = (largest / 2f64.powi(left)).floor();
    (radius <= f64::from(i32::MAX)).then_some(radius as i32) // CAST: just checked
}

/// SOFTMAX and LOG_SOFTMAX: the multiplier to Q5.26, and the difference to the maximum below which
/// nothing counts.
pub fn softmax(x: f32, beta: f32) -> Option<(Multiplier, i32)> {
    let real = (wide(beta) * wide(x) * 67108864.0).min(2147483647.0);
    let m = quantize_multiplier(real)?;
    Some((m, -radius(5, m.shift.checked_neg()?)?))
}

/// LOG_SOFTMAX: from its own precision back to that of the input.
pub fn log_softmax_reverse(m: Multiplier) -> Option<Multiplier> {
    if m.mult == 0 {
        return None;
    }
    quantize_multiplier(2f64.powi(31 + m.shift) / f64::from(m.mult))
}

/// LOGISTIC and TANH: the multiplier to Q4.27, and the distance from the zero point from which on the
/// result is at its end.
pub fn logistic(x: f32) -> Option<(Multiplier, i32)> {
    let m = quantize_multiplier(wide(x) * 134217728.0)?;
    Some((m, radius(4, m.shift.checked_neg()?)?))
}

/// What an LSTM works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lstm {
    /// Input, forget, cell and output gate: what comes from the input, in steps of 2^-12.
    pub input: [Multiplier; 4],
    /// The same of what comes from the step before.
    pub recurrent: [Multiplier; 4],
    /// The product of the forget gate and the cell.
    pub forget_cell: Multiplier,
    /// The product of the input gate and the cell gate.
    pub input_cell: Multiplier,
    /// The product of the output gate and the cell.
    pub hidden: Multiplier,
    /// The logarithm of the cell's scale, which is a power of two.
    pub cell_log2: i32,
    /// The largest size of a cell, 0 for no limit.
    pub cell_clip: i32,
}

/// UNIDIRECTIONAL_SEQUENCE_LSTM; `w` and `r` are the scales of the input and the recurrent weights.
pub fn lstm(x: f32, h: f32, c: f32, w: [f32; 4], r: [f32; 4], clip: f32) -> Option<Lstm> {
    const GATE: f32 = 1.0 / 4096.0;
    let gates = |state: f32, scales: [f32; 4]| -> Option<[Multiplier; 4]> {
        let [i, f, g, o] = scales.map(|s| per_tensor(state, s, GATE));
        Some([i?, f?, g?, o?])
    };
    let log2 = c.log2();
    if c != 2f32.powi(log2.round() as i32) {
        return None; // CAST: of a float32, -149..=127
    }
    let cell_clip = if clip > 0.0 {
        (clip / c).min(32767.0) as i32 // CAST: just limited
    } else {
        0
    };
    Some(Lstm {
        input: gates(x, w)?,
        recurrent: gates(h, r)?,
        forget_cell: quantize_multiplier(2f64.powi(-15))?,
        input_cell: quantize_multiplier(2f64.powi(-30) / wide(c))?,
        hidden: quantize_multiplier(2f64.powi(-30) / wide(h))?,
        cell_log2: log2.round() as i32, // CAST: as above
        cell_clip,
    })
}

/// The smallest and the largest code that an activation leaves.
pub fn clamp(activation: Activation, scale: f32, zero: i32) -> (i32, i32) {
    let at = |v: f32| zero.saturating_add((v / scale).round() as i32); // CAST: saturates
    let (low, high) = activation.range();
    (
        low.map_or(-128, |v| at(v).max(-128)),
        high.map_or(127, |v| at(v).min(127)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multipliers_are_those_of_the_vectors() {
        let text = include_str!("../../../../tests/vectors/tflite/multipliers.txt");
        let mut lines = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let real = f64::from_bits(u64::from_str_radix(words[0], 16).unwrap());
            let want = Multiplier {
                mult: words[1].parse().unwrap(),
                shift: -words[2].parse::<i32>().unwrap(),
            };
            assert_eq!(quantize_multiplier(real), Some(want), "{real:e}");
            lines += 1;
        }
        assert!(lines > 90, "{lines}");
    }

    #[test]
    fn what_has_no_multiplier_is_refused() {
        let too_large = [4294967296.0, 2147483648.0, f64::INFINITY, f64::NAN, -1.0];
        for real in too_large {
            assert_eq!(quantize_multiplier(real), None, "{real:e}");
        }
        let small = quantize_multiplier(f64::MIN_POSITIVE / 4.0).unwrap();
        assert_eq!((small.mult, small.shift), (0, 0));
        assert!(lstm(0.1, 0.1, 0.3, [0.1; 4], [0.1; 4], 0.0).is_none());
        assert!(softmax(f32::MIN_POSITIVE, f32::MIN_POSITIVE).is_some());
        assert!(logistic(f32::MAX).is_none());
    }

    #[test]
    fn clamps_never_leave_eight_bits() {
        assert_eq!(clamp(Activation::None, 0.1, 5), (-128, 127));
        assert_eq!(clamp(Activation::Relu, 0.1, 5), (5, 127));
        assert_eq!(clamp(Activation::Relu6, 0.1, -128), (-128, -68));
        assert_eq!(clamp(Activation::ReluN1To1, 0.5, 0), (-2, 2));
        let tiny = f32::MIN_POSITIVE;
        assert_eq!(clamp(Activation::Relu6, tiny, 127), (127, 127));
    }
}
