// SPDX-License-Identifier: GPL-2.0

//! Layers of codes against TensorFlow Lite Micro, bit by bit: `tests/vectors/int8.txt`, which
//! `tests/vectors/int8.py` makes and describes.

#![allow(dead_code)] // Each test uses a part of it.

use std::collections::HashMap;

use neural_core::init::SplitMix64;
use neural_core::int8::lut::{self, Table};
use neural_core::int8::pack::{
    fold_depthwise_bias, fold_gemm_bias, pack_depthwise, pack_depthwise_list, pack_gemm,
    packed_depthwise_bytes, packed_gemm_bytes,
};
use neural_core::int8::{
    sigmoid16, tanh16, Add, Depthwise, GateWeights, Gemm, LstmScales, LstmStep, Mean, Mul,
    Multiplier, Pool, Requant, Softmax, LANES, PANEL,
};
use neural_core::plan::Kernels;

use super::common::bytes;

const VECTORS: &str = include_str!("../../../../tests/vectors/int8.txt");

/// A line of the file.
struct Case {
    text: &'static str,
    op: &'static str,
    values: HashMap<&'static str, &'static str>,
}

fn cases(ops: &[&str]) -> Vec<Case> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with('#'));
    let all: Vec<_> = lines
        .map(|text| {
            let mut words = text.split(' ');
            Case {
                text,
                op: words.next().unwrap(),
                values: words.map(|word| word.split_once('=').unwrap()).collect(),
            }
        })
        .filter(|case| ops.contains(&case.op))
        .collect();
    for op in ops {
        assert!(all.iter().any(|case| case.op == *op), "no {op}");
    }
    all
}

impl Case {
    fn list(&self, name: &str) -> Vec<i32> {
        let words = self.values[name].split(',');
        words.map(|word| word.parse().unwrap()).collect()
    }

    fn int(&self, name: &str) -> i32 {
        self.values[name].parse().unwrap()
    }

    fn size(&self, name: &str) -> usize {
        self.values[name].parse().unwrap()
    }

    fn sizes<const N: usize>(&self, name: &str) -> [usize; N] {
        let list: Vec<_> = self.list(name).iter().map(|&x| x as usize).collect();
        list.try_into().unwrap()
    }

    /// A code, biased.
    fn zero(&self, name: &str) -> i32 {
        self.int(name) + 128
    }

    fn limits(&self) -> (i32, i32) {
        let list = self.list("limits");
        (list[0] + 128, list[1] + 128)
    }

    fn multiplier(&self, name: &str) -> Multiplier {
        let list = self.list(name);
        Multiplier {
            mult: list[0],
            shift: list[1],
        }
    }

    /// Compares an answer (signed bytes) with the one in the file.
    fn check_signed(&self, answer: &[u8]) {
        let head = answer
            .iter()
            .take(12)
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        let fnv = answer.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        assert_eq!(head, self.values["head"], "{}", self.text);
        assert_eq!(format!("{fnv:016x}"), self.values["fnv"], "{}", self.text);
    }

    /// Compares an answer of biased codes.
    fn check(&self, answer: &[u8]) {
        let signed: Vec<u8> = answer.iter().map(|code| code ^ 0x80).collect();
        self.check_signed(&signed);
    }
}

/// The source of the inputs, weights and biases of a line.
struct Random(SplitMix64);

impl Random {
    fn new(seed: u64) -> Self {
        Random(SplitMix64::new(seed))
    }

    /// Signed bytes.
    fn weights(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.0.next_u64() as u8).collect()
    }

    /// Biased codes.
    fn codes(&mut self, count: usize) -> Vec<u8> {
        self.weights(count).iter().map(|code| code ^ 0x80).collect()
    }

    fn biases(&mut self, count: usize) -> Vec<i32> {
        (0..count)
            .map(|_| (self.0.next_u64() >> 32) as i32 >> 18)
            .collect()
    }
}

/// All codes in order, biased.
fn sweep() -> Vec<u8> {
    (0..=255).collect()
}

pub(crate) fn tables_hold_what_the_functions_give(kernels: &dyn Kernels) {
    for case in cases(&["logistic", "tanh", "requantize", "leaky_relu", "hard_swish"]) {
        let x_zero = case.zero("x_zero");
        let mut table: Table = [0xa5; 256];
        match case.op {
            "logistic" | "tanh" => {
                let scale = (x_zero, case.multiplier("x"));
                let make = if case.op == "tanh" {
                    lut::tanh
                } else {
                    lut::logistic
                };
                make(scale, case.int("radius"), &mut table);
            }
            "requantize" => {
                let scale = (case.zero("y_zero"), case.multiplier("y"));
                lut::requantize(x_zero, scale, case.limits(), &mut table);
            }
            "leaky_relu" => {
                let factors = [case.multiplier("positive"), case.multiplier("negative")];
                let y_zero = case.zero("y_zero");
                lut::leaky_relu(x_zero, y_zero, factors[0], factors[1], &mut table);
            }
            _ => {
                let factors = [case.multiplier("output"), case.multiplier("gate")];
                let y_zero = case.zero("y_zero");
                lut::hard_swish(x_zero, y_zero, factors[0], factors[1], &mut table);
            }
        }
        case.check(&table);
        let mut y = [0; 256];
        kernels.lut_i8(&table, &sweep(), &mut y);
        assert_eq!(y, table);
    }
}

pub(crate) fn softmax_is_that_of_the_reference(kernels: &dyn Kernels) {
    for case in cases(&["softmax"]) {
        let (rows, n) = (case.size("rows"), case.size("n"));
        let x = if n == 256 {
            sweep()
        } else {
            Random::new(n as u64).codes(rows * n)
        };
        let mut y = vec![0xa5; rows * n];
        kernels.softmax_i8(Softmax {
            x: &x,
            y: &mut y,
            n,
            beta: case.multiplier("beta"),
            diff_min: case.int("diff_min"),
        });
        case.check(&y);
    }
}

pub(crate) fn a_share_of_less_than_half_a_code_is_0(kernels: &dyn Kernels) {
    let x = [200; 4096];
    let mut y = [0xa5; 4096];
    for (n, expected) in [(4, 64), (256, 1), (511, 1), (513, 0), (4096, 0)] {
        kernels.softmax_i8(Softmax {
            x: &x[..n],
            y: &mut y[..n],
            n,
            beta: Multiplier {
                mult: 1 << 30,
                shift: -20,
            },
            diff_min: -1000,
        });
        assert!(y[..n].iter().all(|&code| code == expected), "{n}");
    }
}

pub(crate) fn pairs_of_codes_are_combined(kernels: &dyn Kernels) {
    let a: Vec<u8> = (0..=255).flat_map(|code| [code; 256]).collect();
    for case in cases(&["add", "sub", "mul"]) {
        let (min, max) = case.limits();
        let y_scale = (case.zero("y_zero"), case.multiplier("y"));
        let (a_zero, b_zero) = (case.zero("a_zero"), case.zero("b_zero"));
        let mut y = vec![0xa5; a.len()];
        // The second operand repeats.
        let b = sweep();
        // In pieces, as a plan does it.
        for (a, y) in a.chunks(4096).zip(y.chunks_mut(4096)) {
            if case.op == "mul" {
                kernels.mul_i8(Mul {
                    a,
                    b: &b,
                    y,
                    a_zero,
                    b_zero,
                    y_scale,
                    min,
                    max,
                });
            } else {
                kernels.add_i8(Add {
                    a,
                    b: &b,
                    y,
                    a_scale: (a_zero, case.multiplier("a")),
                    b_scale: (b_zero, case.multiplier("b")),
                    subtract: case.op == "sub",
                    y_scale,
                    min,
                    max,
                });
            }
        }
        case.check(&y);
    }
}

pub(crate) fn means_are_rounded_as_by_the_reference(kernels: &dyn Kernels) {
    for case in cases(&["mean"]) {
        let (rows, channels) = (case.size("rows"), case.size("channels"));
        let x = Random::new(rows as u64).codes(rows * channels);
        let mut y = vec![0xa5; channels];
        kernels.mean_i8(Mean {
            x: &x,
            y: &mut y,
            rows,
            channels,
            x_zero: case.zero("x_zero"),
            y_scale: (case.zero("y_zero"), case.multiplier("y")),
        });
        case.check(&y);
    }
}

pub(crate) fn pools_leave_out_what_is_not_in_the_image(kernels: &dyn Kernels) {
    for case in cases(&["average_pool", "max_pool"]) {
        let [height, width, channels] = case.sizes("shape");
        let [out_height, out_width] = case.sizes("out");
        let x = Random::new(height as u64).codes(height * width * channels);
        let mut y = vec![0xa5; out_height * out_width * channels];
        let (min, max) = case.limits();
        let pool = Pool {
            x: &x,
            y: &mut y,
            height,
            width,
            channels,
            out_height,
            out_width,
            window: case.sizes("window"),
            stride: case.sizes("stride"),
            pad: case.sizes("pad"),
            min,
            max,
        };
        match case.op {
            "max_pool" => kernels.max_pool_i8(pool),
            _ => kernels.average_pool_i8(pool),
        }
        case.check(&y);
    }
}

/// An image in a frame of zero points, wide enough for every window.
fn framed(case: &Case, x: &[u8]) -> (Vec<u8>, usize) {
    let [height, width, channels] = case.sizes("shape");
    let [top, left] = case.sizes("pad");
    let framed_width = width + 40;
    let mut image = vec![case.zero("x_zero") as u8; (height + 40) * framed_width * channels];
    for (y, row) in x.chunks(width * channels).enumerate() {
        let at = ((y + top) * framed_width + left) * channels;
        image[at..at + row.len()].copy_from_slice(row);
    }
    (image, framed_width * channels)
}

pub(crate) fn convolutions_are_those_of_the_reference(kernels: &dyn Kernels) {
    for case in cases(&["conv", "depthwise"]) {
        let mut random = Random::new(case.size("seed") as u64);
        let [height, width, channels] = case.sizes("shape");
        let [out_height, out_width] = case.sizes("out");
        let [window_height, window_width] = case.sizes("window");
        let [down, right] = case.sizes("stride");
        let dilation: [usize; 2] = case.sizes("dilation");
        let n = case.size("n");
        let taps = window_height * window_width;
        let codes = random.codes(height * width * channels);
        let (x, row_bytes) = framed(&case, &codes);
        let offsets: Vec<i32> = (0..taps)
            .map(|tap| {
                (
                    tap / window_width * dilation[0],
                    tap % window_width * dilation[1],
                )
            })
            .map(|(y, x)| (y * row_bytes + x * channels) as i32)
            .collect();
        let offsets = bytes(&offsets);
        let depth = case.op == "depthwise";
        let weights = random.weights(taps * n * if depth { 1 } else { channels });
        let biases = bytes(&random.biases(n));
        let (mult, shift) = (bytes(&case.list("mult")), bytes(&case.list("shift")));
        let x_zero = case.zero("x_zero");
        let (min, max) = case.limits();
        let mut y = vec![0xa5; out_height * out_width * n];
        let requant = |mult, shift| Requant {
            mult,
            shift,
            zero: case.zero("y_zero"),
            min,
            max,
        };
        if depth {
            let mut w = vec![0; packed_depthwise_bytes(taps, n).unwrap()];
            pack_depthwise(&weights, taps, n, &mut w);
            let [mut bias, mut packed_mult, mut packed_shift] =
                [(); 3].map(|()| vec![0; n.next_multiple_of(PANEL) * 4]);
            fold_depthwise_bias(&weights, n, &biases, x_zero, &mut bias);
            pack_depthwise_list(&mult, &mut packed_mult);
            pack_depthwise_list(&shift, &mut packed_shift);
            kernels.depthwise_i8(Depthwise {
                x: &x,
                x_row: right * channels,
                x_outer: down * row_bytes,
                y: &mut y,
                y_row: n,
                y_outer: out_width * n,
                m: out_width,
                outer: out_height,
                channels: n,
                offsets: &offsets,
                w: &w,
                bias: &bias,
                requant: requant(&packed_mult, &packed_shift),
            });
        } else {
            let mut w = vec![0; packed_gemm_bytes(n, taps, channels).unwrap()];
            pack_gemm(&weights, n, taps, channels, &mut w);
            let mut bias = vec![0; n.next_multiple_of(LANES) * 4];
            fold_gemm_bias(&weights, taps * channels, &biases, x_zero, &mut bias);
            kernels.gemm_i8(Gemm {
                x: &x,
                x_row: right * channels,
                x_outer: down * row_bytes,
                y: &mut y,
                y_row: n,
                y_outer: out_width * n,
                m: out_width,
                outer: out_height,
                n,
                k: channels,
                offsets: &offsets,
                w: &w,
                bias: &bias,
                requant: requant(&mult, &shift),
            });
        }
        case.check(&y);
    }
}

pub(crate) fn gates_are_those_of_the_reference() {
    for case in cases(&["logistic16", "tanh16"]) {
        let gate = if case.op == "tanh16" {
            tanh16
        } else {
            sigmoid16
        };
        let bits = case.int("bits") - 12;
        let thirds = |x: i32| match bits {
            0.. => (3 * x + (1 << bits) / 2) >> bits,
            _ => 3 * x << -bits,
        };
        let answer: Vec<u8> = (-32768..32768)
            .flat_map(|x| gate(thirds(x)).to_le_bytes())
            .collect();
        case.check_signed(&answer);
    }
}

pub(crate) fn a_recurrent_layer_goes_through_the_states_of_the_reference(kernels: &dyn Kernels) {
    for case in cases(&["lstm"]) {
        let mut random = Random::new(case.size("seed") as u64);
        let [inputs, n, steps] = ["inputs", "n", "steps"].map(|name| case.size(name));
        let x = random.codes(steps * inputs);
        let weights = [inputs, n].map(|k| random.weights(4 * n * k));
        let biases = bytes(&random.biases(4 * n));
        let packed = [
            (inputs, "x_zero", "x_mult", "x_shift", &biases[..]),
            (n, "h_zero", "h_mult", "h_shift", &[]),
        ]
        .iter()
        .zip(&weights)
        .map(|(&(k, zero, mult, shift, biases), weights)| {
            let mut w = vec![0; packed_gemm_bytes(4 * n, 1, k).unwrap()];
            pack_gemm(weights, 4 * n, 1, k, &mut w);
            let mut bias = vec![0; (4 * n).next_multiple_of(LANES) * 4];
            fold_gemm_bias(weights, k, biases, case.zero(zero), &mut bias);
            let lists = [mult, shift].map(|name| {
                let per_gate = case.list(name);
                bytes(
                    &per_gate
                        .iter()
                        .flat_map(|&v| vec![v; n])
                        .collect::<Vec<_>>(),
                )
            });
            (w, bias, lists)
        })
        .collect::<Vec<_>>();
        let [x_weights, h_weights] = [0, 1].map(|i| {
            let (w, bias, [mult, shift]) = &packed[i];
            GateWeights {
                w,
                bias,
                mult,
                shift,
            }
        });
        let scales = LstmScales {
            forget: case.multiplier("forget"),
            input: case.multiplier("input"),
            output: case.multiplier("output"),
            cell_shift: case.int("cell_shift"),
            cell_clip: case.int("cell_clip") as i16,
            h_zero: case.zero("h_zero"),
        };
        let mut h = vec![scales.h_zero as u8; n];
        let (mut cell, mut scratch) = (vec![0; 2 * n], vec![0xa5; 16 * n]);
        let mut answer = Vec::new();
        for x in x.chunks(inputs) {
            kernels.lstm_i8(LstmStep {
                x,
                h: &mut h,
                cell: &mut cell,
                inputs,
                n,
                x_weights,
                h_weights,
                scratch: &mut scratch,
                scales,
            });
            answer.extend_from_slice(&h);
        }
        case.check(&answer);
    }
}
