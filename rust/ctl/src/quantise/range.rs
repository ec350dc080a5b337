// SPDX-License-Identifier: GPL-2.0

//! From the numbers that a tensor takes to the scale and the zero point of its codes.

use super::Codes;

/// How the ends of a range are found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// All numbers that were seen.
    MinMax,
    /// This share of the numbers that were seen, in percent, the same left out at both ends.
    Percentile(f64),
    /// The range for which the squares of the errors have the least sum.
    Mse,
}

/// Bins of a histogram.
const BINS: usize = 2048;

/// Shares of the whole range that are tried, in steps of 1/TRIALS.
const TRIALS: usize = 100;

/// The numbers that a tensor takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    min: f64,
    max: f64,
    bins: Vec<u64>,
}

impl Seen {
    /// Takes numbers in, in a first round.
    pub(super) fn widen(&mut self, values: &[f64]) {
        for value in values {
            self.min = self.min.min(*value);
            self.max = self.max.max(*value);
        }
    }

    /// The same numbers in a second round.
    pub(super) fn count(&mut self, values: &[f64]) {
        self.bins.resize(BINS, 0);
        let step = self.step();
        for value in values {
            // CAST: saturates.
            let bin = ((value - self.min) / step) as usize;
            if let Some(count) = self.bins.get_mut(bin.min(BINS - 1)) {
                *count += 1;
            }
        }
    }

    fn step(&self) -> f64 {
        ((self.max - self.min) / BINS as f64).max(f64::MIN_POSITIVE)
    }

    /// The middles of the bins and how many numbers each has.
    fn middles(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let step = self.step();
        let middle = move |i: usize| self.min + (i as f64 + 0.5) * step;
        let used = self.bins.iter().enumerate().filter(|(_, n)| **n > 0);
        used.map(move |(i, n)| (middle(i), *n))
    }

    /// The scale of 16-bit codes.
    pub(super) fn short(&self, method: Method) -> f32 {
        // Steps of 8 bits tell where the ends are.
        let codes = match method {
            Method::MinMax => return short(self.max.max(-self.min)),
            _ => self.codes(method),
        };
        short(codes.number(127).max(-codes.number(-128)))
    }

    /// Scale and zero point.
    pub(super) fn codes(&self, method: Method) -> Codes {
        let whole = (self.min, self.max);
        let (min, max) = match method {
            Method::MinMax => whole,
            Method::Percentile(percent) => {
                let all: u64 = self.bins.iter().sum();
                let out = (all as f64 * (100.0 - percent) / 200.0).floor();
                let end = |up: bool| {
                    let mut left = out;
                    let mut bins: Vec<(f64, u64)> = self.middles().collect();
                    if up {
                        bins.reverse();
                    }
                    let first = bins.into_iter().find(|(_, n)| {
                        left -= *n as f64;
                        left < 0.0
                    });
                    first.map_or(0.0, |(middle, _)| middle)
                };
                // The ends themselves where nothing is left out.
                if out < 1.0 {
                    whole
                } else {
                    (end(false).min(0.0), end(true).max(0.0))
                }
            }
            Method::Mse => {
                let error = |(min, max): (f64, f64)| -> f64 {
                    let codes = codes(min, max);
                    let one = |(x, n): (f64, u64)| {
                        let off = x - codes.number(codes.code(x));
                        off * off * n as f64
                    };
                    self.middles().map(one).sum()
                };
                let share = |i: usize| i as f64 / TRIALS as f64;
                let tried =
                    (TRIALS / 4..=TRIALS).map(|i| (self.min * share(i), self.max * share(i)));
                let best = tried.min_by(|a, b| error(*a).total_cmp(&error(*b)));
                best.unwrap_or(whole)
            }
        };
        codes(min, max)
    }
}

/// The scale of 16-bit codes up to a number.
pub(super) fn short(most: f64) -> f32 {
    if most < 1e-30 {
        return 1.0;
    }
    // CAST: the nearest.
    ((most / 32767.0) as f32).clamp(f32::MIN_POSITIVE, f32::MAX)
}

/// The codes of a range, which has 0 in it or is widened to have it.
pub(super) fn codes(min: f64, max: f64) -> Codes {
    let (min, max) = (min.min(0.0), max.max(0.0));
    // CAST: the nearest.
    let scale = (((max - min) / 255.0) as f32).clamp(f32::MIN_POSITIVE, f32::MAX);
    if max - min < 1e-30 {
        return Codes {
            scale: 1.0,
            zero: 0,
        };
    }
    let zero = (-128.0 - min / f64::from(scale)).round();
    Codes {
        scale,
        zero: zero.clamp(-128.0, 127.0) as i32, // CAST: just limited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(values: &[f64]) -> Seen {
        let mut seen = Seen::default();
        seen.widen(values);
        seen.count(values);
        seen
    }

    #[test]
    fn zero_is_a_code_of_every_range() {
        for (min, max) in [
            (0.0, 1.0),
            (-1.0, 0.0),
            (-0.3, 0.7),
            (2.0, 3.0),
            (-9.0, -8.0),
            (0.0, 0.0),
        ] {
            let codes = codes(min, max);
            assert_eq!(codes.number(codes.zero), 0.0);
            assert!((-128..=127).contains(&codes.zero), "{min} {max}");
            for x in [min, max] {
                let off = (codes.number(codes.code(x)) - x).abs();
                assert!(off <= f64::from(codes.scale) * 1.001, "{min} {max}: {off}");
            }
        }
    }

    #[test]
    fn what_lies_far_out_is_cut_off_by_percentile_and_mse() {
        let mut values: Vec<f64> = (0..400_000).map(|i| f64::from(i % 1000) / 1000.0).collect();
        values.push(1.5);
        let seen = seen(&values);
        let reach = |method| {
            let codes = seen.codes(method);
            codes.number(127)
        };
        assert!(reach(Method::MinMax) > 1.49);
        assert!((0.9..1.1).contains(&reach(Method::Percentile(99.9))));
        assert!(reach(Method::Percentile(100.0)) > 1.49);
        assert!(reach(Method::Mse) < 1.4);
    }
}
