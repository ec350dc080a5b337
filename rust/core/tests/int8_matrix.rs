// SPDX-License-Identifier: GPL-2.0

//! Matrix products and depthwise convolutions of codes against the definition: a sum over
//! `(x - zero point) * weight`, on codes that are not biased, with weights that are not packed.

mod common;

use common::{bytes, Rng};
use neural_core::int8::pack::{
    fold_depthwise_bias, fold_gemm_bias, pack_depthwise, pack_depthwise_list, pack_gemm,
    packed_depthwise_bytes, packed_gemm_bytes, unsafe_depthwise_channel, unsafe_gemm_row,
};
use neural_core::int8::{
    depthwise, gemm, gemm16, multiply, rounding_shift, Depthwise, Gemm, Gemm16, Multiplier,
    Requant, LANES, PANEL,
};

/// Both roundings in integers wide enough for everything.
fn reference(acc: i32, mult: i32, shift: i32) -> i64 {
    let left = i128::from(acc) << (-shift).max(0);
    let high = (left * i128::from(mult) + (1 << 30)).div_euclid(1 << 31);
    let unit = 1i128 << shift.max(0);
    let magnitude = (high.abs() + unit / 2) / unit;
    (if high < 0 { -magnitude } else { magnitude }) as i64
}

#[test]
fn sums_are_rounded_twice() {
    let mut rng = Rng::new();
    for _ in 0..300_000 {
        let shift = rng.below(63) as i32 - 31;
        // Shifted to the left, a sum must fit.
        let acc = rng.wild() >> (-shift).max(0);
        let mult = match rng.below(10) {
            0 => 0,
            1 => 1 << 30,
            2 => i32::MAX,
            _ => (1 << 30) | (rng.i32() & i32::MAX),
        };
        let expected = reference(acc, mult, shift);
        let multiplier = Multiplier { mult, shift };
        assert_eq!(
            i64::from(multiply(acc, multiplier)),
            expected,
            "{acc} {multiplier:?}"
        );
    }
}

#[test]
fn halves_are_rounded_away_from_zero_by_shifts_and_upwards_by_products() {
    let shifted = [-3, -2, -1, 0, 1, 2, 3].map(|x| rounding_shift(x, 1));
    assert_eq!(shifted, [-2, -1, -1, 0, 1, 1, 2]);
    let half = Multiplier {
        mult: 1 << 30,
        shift: 0,
    };
    let products = [-3, -2, -1, 0, 1, 2, 3].map(|x| multiply(x, half));
    assert_eq!(products, [-1, -1, 0, 0, 1, 1, 2]);
    for (x, bits, expected) in [
        (i32::MAX, 0, i32::MAX),
        (i32::MIN, 0, i32::MIN),
        (i32::MIN, 31, -1),
        (i32::MAX, 31, 1),
        ((1 << 30) - 1, 31, 0),
        (1 << 30, 31, 1),
        (-(1 << 30), 31, -1),
        (1 - (1 << 30), 31, 0),
        (i32::MAX, 40, 1),
    ] {
        assert_eq!(rounding_shift(x, bits), expected, "{x} >> {bits}");
    }
    let square = Multiplier {
        mult: i32::MIN,
        shift: 0,
    };
    assert_eq!(multiply(i32::MIN, square), i32::MAX);
    // What a shift to the left pushes out is lost.
    let left = Multiplier {
        mult: 1 << 30,
        shift: -2,
    };
    assert_eq!(multiply(1 << 30, left), 0);
}

/// A signed byte, often a limit.
fn small(rng: &mut Rng) -> i8 {
    match rng.below(8) {
        0 => i8::MIN,
        1 => i8::MAX,
        _ => rng.i32() as i8,
    }
}

/// Everything of a layer that has one number per row.
struct Rows {
    bias: Vec<i32>,
    mult: Vec<i32>,
    shift: Vec<i32>,
    x_zero: i32,
    zero: i32,
    min: i32,
    max: i32,
}

impl Rows {
    /// Multipliers that bring sums of `terms` products into the range of codes, mostly.
    fn new(rng: &mut Rng, n: usize, terms: usize) -> Self {
        let limit = 1 << 16;
        let scale = 7 + (terms.max(1).ilog2() as i32) / 2;
        let codes = [rng.below(256), rng.below(256)].map(|c| c as i32 - 128);
        Rows {
            bias: (0..n).map(|_| rng.i32() % limit).collect(),
            mult: (0..n)
                .map(|_| match rng.below(16) {
                    0 => 0,
                    _ => (1 << 30) | (rng.i32() & i32::MAX),
                })
                .collect(),
            shift: (0..n)
                .map(|_| match rng.below(16) {
                    0 => -(rng.below(4) as i32),
                    _ => scale + rng.below(4) as i32 - 2,
                })
                .collect(),
            x_zero: i32::from(small(rng)),
            zero: i32::from(small(rng)),
            min: codes[0].min(codes[1]).min(0),
            max: codes[0].max(codes[1]).max(0),
        }
    }

    /// The code of the sum (with bias) of a row: not biased.
    fn code(&self, row: usize, sum: i64) -> i8 {
        let sum = i32::try_from(sum + i64::from(self.bias[row])).unwrap();
        let multiplier = Multiplier {
            mult: self.mult[row],
            shift: self.shift[row],
        };
        let code = i64::from(multiply(sum, multiplier)) + i64::from(self.zero);
        code.clamp(self.min.into(), self.max.into()) as i8
    }

    fn requant<'a>(&self, mult: &'a [u8], shift: &'a [u8]) -> Requant<'a> {
        Requant {
            mult,
            shift,
            zero: self.zero + 128,
            min: self.min + 128,
            max: self.max + 128,
        }
    }
}

/// Words, padded with what must not be looked at as a result.
fn padded(words: &[i32], to: usize) -> Vec<u8> {
    let mut all = words.to_vec();
    all.resize(words.len().next_multiple_of(to), 0);
    bytes(&all)
}

fn signed(x: u8) -> i64 {
    i64::from(x) - 128
}

/// Positions of an image-like input: strides, and how many bytes they cover.
struct Positions {
    m: usize,
    outer: usize,
    x_row: usize,
    x_outer: usize,
    y_row: usize,
    y_outer: usize,
    x: Vec<u8>,
    y: Vec<u8>,
}

impl Positions {
    fn new(rng: &mut Rng, reach: usize, n: usize) -> Self {
        let (m, outer) = (rng.below(6) as usize, rng.below(4) as usize);
        let x_row = rng.below(40) as usize;
        let x_outer = rng.below(100) as usize;
        let y_row = n + rng.below(3) as usize;
        let y_outer = m * y_row + rng.below(3) as usize;
        let x_bytes = outer * x_outer + m * x_row + reach;
        Positions {
            m,
            outer,
            x_row,
            x_outer,
            y_row,
            y_outer,
            x: (0..x_bytes).map(|_| (small(rng) as u8) ^ 0x80).collect(),
            y: (0..outer * y_outer + n).map(|_| rng.i32() as u8).collect(),
        }
    }

    /// What `y` is after every output has been replaced.
    fn expected(&self, n: usize, code: impl Fn(usize, usize) -> i8) -> Vec<u8> {
        let mut y = self.y.clone();
        for a in 0..self.outer {
            for b in 0..self.m {
                for r in 0..n {
                    let code = code(a * self.x_outer + b * self.x_row, r);
                    y[a * self.y_outer + b * self.y_row + r] = (code as u8) ^ 0x80;
                }
            }
        }
        y
    }
}

#[test]
fn packed_products_are_the_sums_of_the_definition() {
    let mut rng = Rng::new();
    for case in 0..600 {
        let n = 1 + rng.below([5, 40, 200][case % 3]) as usize;
        let segs = 1 + rng.below(5) as usize;
        let k = 1 + rng.below([3, 20, 70][case / 3 % 3]) as usize;
        let offsets: Vec<i32> = (0..segs).map(|_| rng.below(300) as i32).collect();
        let reach = *offsets.iter().max().unwrap() as usize + k;
        let mut at = Positions::new(&mut rng, reach, n);
        let rows = Rows::new(&mut rng, n, segs * k);
        let weights: Vec<u8> = (0..n * segs * k).map(|_| small(&mut rng) as u8).collect();
        let expected = at.expected(n, |x, r| {
            let mut sum = 0i64;
            for (s, &offset) in offsets.iter().enumerate() {
                for i in 0..k {
                    let w = i64::from(weights[(r * segs + s) * k + i] as i8);
                    let x = signed(at.x[x + offset as usize + i]);
                    sum += (x - i64::from(rows.x_zero)) * w;
                }
            }
            rows.code(r, sum)
        });
        let bytes_of_list = n.next_multiple_of(LANES) * 4;
        let mut w = vec![0xa5; packed_gemm_bytes(n, segs, k).unwrap()];
        pack_gemm(&weights, n, segs, k, &mut w);
        let mut bias = vec![0xa5; bytes_of_list];
        let x_zero = rows.x_zero + 128;
        fold_gemm_bias(&weights, segs * k, &bytes(&rows.bias), x_zero, &mut bias);
        let (mult, shift) = (padded(&rows.mult, LANES), padded(&rows.shift, LANES));
        gemm(Gemm {
            x: &at.x,
            x_row: at.x_row,
            x_outer: at.x_outer,
            y: &mut at.y,
            y_row: at.y_row,
            y_outer: at.y_outer,
            m: at.m,
            outer: at.outer,
            n,
            k,
            offsets: &bytes(&offsets),
            w: &w,
            bias: &bias,
            requant: rows.requant(&mult, &shift),
        });
        assert!(at.y == expected, "n {n} segs {segs} k {k}");
    }
}

#[test]
fn products_of_16_bits_saturate_and_have_no_zero_point() {
    let mut rng = Rng::new();
    let mut limits = [0; 2];
    for _ in 0..200 {
        let (n, k) = (1 + rng.below(150) as usize, 1 + rng.below(80) as usize);
        let mut rows = Rows::new(&mut rng, n, k);
        for shift in &mut rows.shift {
            *shift -= 7;
        }
        let weights: Vec<u8> = (0..n * k).map(|_| small(&mut rng) as u8).collect();
        let x: Vec<u8> = (0..k).map(|_| rng.i32() as u8).collect();
        let mut expected = Vec::new();
        for r in 0..n {
            let row = weights[r * k..][..k].iter().zip(&x);
            let sum = row
                .map(|(&w, &x)| i64::from(w as i8) * (signed(x) - i64::from(rows.x_zero)))
                .sum::<i64>();
            let multiplier = Multiplier {
                mult: rows.mult[r],
                shift: rows.shift[r],
            };
            let value = multiply((sum + i64::from(rows.bias[r])) as i32, multiplier);
            limits[0] += usize::from(value < i16::MIN.into());
            limits[1] += usize::from(value > i16::MAX.into());
            let value = value.clamp(i16::MIN.into(), i16::MAX.into()) as i16;
            expected.extend(value.to_le_bytes());
        }
        let mut w = vec![0; packed_gemm_bytes(n, 1, k).unwrap()];
        pack_gemm(&weights, n, 1, k, &mut w);
        let mut bias = vec![0; n.next_multiple_of(LANES) * 4];
        let x_zero = rows.x_zero + 128;
        fold_gemm_bias(&weights, k, &bytes(&rows.bias), x_zero, &mut bias);
        let (mult, shift) = (padded(&rows.mult, LANES), padded(&rows.shift, LANES));
        let mut y = vec![0xa5; n * 2 + 1];
        expected.push(0xa5);
        gemm16(Gemm16 {
            x: &x,
            y: &mut y,
            n,
            k,
            w: &w,
            bias: &bias,
            mult: &mult,
            shift: &shift,
        });
        assert!(y == expected, "n {n} k {k}");
    }
    assert!(limits[0] > 0 && limits[1] > 0, "{limits:?}");
}

#[test]
fn packed_windows_are_the_sums_of_the_definition() {
    let mut rng = Rng::new();
    for case in 0..600 {
        let channels = 1 + rng.below([5, 70, 200][case % 3]) as usize;
        let taps = 1 + rng.below(26) as usize;
        let offsets: Vec<i32> = (0..taps).map(|_| rng.below(300) as i32).collect();
        let reach = *offsets.iter().max().unwrap() as usize + channels;
        let mut at = Positions::new(&mut rng, reach, channels);
        let rows = Rows::new(&mut rng, channels, taps);
        let weights: Vec<u8> = (0..taps * channels)
            .map(|_| small(&mut rng) as u8)
            .collect();
        let expected = at.expected(channels, |x, c| {
            let mut sum = 0i64;
            for (t, &offset) in offsets.iter().enumerate() {
                let w = i64::from(weights[t * channels + c] as i8);
                sum += (signed(at.x[x + offset as usize + c]) - i64::from(rows.x_zero)) * w;
            }
            rows.code(c, sum)
        });
        let list = channels.next_multiple_of(PANEL) * 4;
        let mut w = vec![0xa5; packed_depthwise_bytes(taps, channels).unwrap()];
        pack_depthwise(&weights, taps, channels, &mut w);
        let [mut bias, mut mult, mut shift] = [(); 3].map(|()| vec![0xa5; list]);
        let x_zero = rows.x_zero + 128;
        fold_depthwise_bias(&weights, channels, &bytes(&rows.bias), x_zero, &mut bias);
        pack_depthwise_list(&bytes(&rows.mult), &mut mult);
        pack_depthwise_list(&bytes(&rows.shift), &mut shift);
        depthwise(Depthwise {
            x: &at.x,
            x_row: at.x_row,
            x_outer: at.x_outer,
            y: &mut at.y,
            y_row: at.y_row,
            y_outer: at.y_outer,
            m: at.m,
            outer: at.outer,
            channels,
            offsets: &bytes(&offsets),
            w: &w,
            bias: &bias,
            requant: rows.requant(&mult, &shift),
        });
        assert!(at.y == expected, "channels {channels} taps {taps}");
    }
}

#[test]
fn weights_stand_where_the_layout_says() {
    // Two segments of 5, 70 rows: a panel of 64 and one of 16.
    let (n, segs, k) = (70, 2, 5);
    let mut rng = Rng::new();
    let weights: Vec<u8> = (0..n * segs * k).map(|_| rng.i32() as u8).collect();
    let mut packed = vec![0xa5; packed_gemm_bytes(n, segs, k).unwrap()];
    assert_eq!(packed.len(), 80 * 16);
    pack_gemm(&weights, n, segs, k, &mut packed);
    let mut expected = vec![0; packed.len()];
    for r in 0..n {
        let (panel, rows, row) = (r / 64 * 64 * 16, if r < 64 { 64 } else { 16 }, r % 64);
        for s in 0..segs {
            for i in 0..k {
                let group = s * 2 + i / 4;
                expected[panel + group * rows * 4 + row * 4 + i % 4] =
                    weights[(r * segs + s) * k + i];
            }
        }
    }
    assert!(packed == expected);

    let (taps, channels) = (6, 67);
    let weights: Vec<u8> = (0..taps * channels).map(|_| rng.i32() as u8).collect();
    let mut packed = vec![0xa5; packed_depthwise_bytes(taps, channels).unwrap()];
    assert_eq!(packed.len(), 2 * 2 * 256);
    pack_depthwise(&weights, taps, channels, &mut packed);
    let mut expected = vec![0; packed.len()];
    for t in 0..taps {
        for c in 0..channels {
            let r = c % 64;
            let at = (t / 4) * 256 + (r % 16 / 4) * 64 + (r / 16) * 16 + (r % 4) * 4 + t % 4;
            expected[c / 64 * 512 + at] = weights[t * channels + c];
        }
    }
    assert!(packed == expected);
}

#[test]
fn sizes_that_no_memory_holds_are_refused() {
    assert_eq!(packed_gemm_bytes(17, 3, 5), Some(32 * 3 * 8));
    assert_eq!(packed_gemm_bytes(usize::MAX, 1, 1), None);
    assert_eq!(packed_gemm_bytes(1, 1, usize::MAX), None);
    assert_eq!(packed_gemm_bytes(1 << 30, 1 << 30, 1 << 30), None);
    assert_eq!(packed_depthwise_bytes(9, 65), Some(12 * 128));
    assert_eq!(packed_depthwise_bytes(usize::MAX, 1), None);
    assert_eq!(packed_depthwise_bytes(1, usize::MAX), None);
    assert_eq!(packed_depthwise_bytes(1 << 40, 1 << 40), None);
}

#[test]
fn rows_that_could_overflow_are_found() {
    // 255 (100 + 28) = 32640
    let rows = [100u8, (-28i8) as u8, 100, 28];
    let limit = i32::MAX - 32640;
    for (bias, expected) in [
        ([0, 0], None),
        ([limit, limit], None),
        ([limit, limit + 1], Some(1)),
        ([limit + 1, limit], Some(0)),
        ([-limit, -limit - 1], Some(1)),
        ([i32::MIN, 0], Some(0)),
    ] {
        assert_eq!(unsafe_gemm_row(&rows, 2, &bytes(&bias)), expected);
        let columns = [rows[0], rows[2], rows[1], rows[3]];
        assert_eq!(
            unsafe_depthwise_channel(&columns, 2, &bytes(&bias)),
            expected
        );
    }
    assert_eq!(unsafe_gemm_row(&rows, 2, &[]), None);
    // 255 * 128 * 65794 is the first above the limit.
    let long = vec![0x80; 2 * 65794];
    assert_eq!(unsafe_gemm_row(&long, 65793, &[]), None);
    assert_eq!(unsafe_gemm_row(&long, 65794, &[]), Some(0));
    assert_eq!(unsafe_depthwise_channel(&long, 2, &[]), Some(0));
    assert_eq!(unsafe_depthwise_channel(&long[2..], 2, &[]), None);
}
