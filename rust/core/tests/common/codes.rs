// SPDX-License-Identifier: GPL-2.0

//! Networks of 8-bit codes: written with `Graph::write`, and computed in a slow way that follows the
//! definitions, on codes that are not biased, in wide integers, element by element.

#![allow(dead_code)] // Each test uses a part of it.

use neural_core::act::Activation;
use neural_core::int8::{softmax, Multiplier, Softmax};
use neural_core::nnm::{DType, Graph, Op, OpKind, Tensor, TensorKind, NONE, PARAMS};

#[path = "trees.rs"]
pub(crate) mod trees;

/// 2^-8, the scale of what softmax gives.
pub(crate) const SOFTMAX_SCALE: u32 = (127 - 8) << 23;

/// A network to be written.
#[derive(Clone)]
pub(crate) struct Codes {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) data: Vec<Vec<u8>>,
    pub(crate) ops: Vec<Op>,
    pub(crate) input: u32,
    pub(crate) output: u32,
}

/// How a window lies on an image: pairs of rows and columns.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Win {
    pub(crate) size: [u32; 2],
    pub(crate) stride: [u32; 2],
    pub(crate) dilation: [u32; 2],
    pub(crate) before: [u32; 2],
    pub(crate) after: [u32; 2],
}

impl Win {
    pub(crate) fn new(size: [u32; 2]) -> Self {
        Win {
            size,
            stride: [1; 2],
            dilation: [1; 2],
            before: [0; 2],
            after: [0; 2],
        }
    }

    pub(crate) fn out(&self, image: &[u32]) -> [u32; 2] {
        [0, 1].map(|i| {
            let covers = (self.size[i] - 1) * self.dilation[i] + 1;
            (image[i] + self.before[i] + self.after[i] - covers) / self.stride[i] + 1
        })
    }
}

/// Two halves of a parameter.
pub(crate) fn pair([low, high]: [u32; 2]) -> i32 {
    (low | high << 16) as i32
}

fn halves(param: i32) -> [i64; 2] {
    [i64::from(param & 0xffff), i64::from(param as u32 >> 16)]
}

/// The product of a sum with a factor, rounded twice.
pub(crate) fn requantised(sum: i64, (mult, shift): (i32, i32)) -> i64 {
    let left = i128::from(sum) << (-shift).max(0);
    assert!(i32::try_from(left).is_ok(), "{sum} << {}", -shift);
    let high = (left * i128::from(mult) + (1 << 30)).div_euclid(1 << 31);
    let unit = 1i128 << shift.max(0);
    let magnitude = (high.abs() + unit / 2) / unit;
    (if high < 0 { -magnitude } else { magnitude }) as i64
}

fn words(list: &[u8]) -> Vec<i32> {
    let word = |w: &[u8]| i32::from_le_bytes(w.try_into().unwrap());
    list.chunks_exact(4).map(word).collect()
}

impl Codes {
    pub(crate) fn new(dims: &[u32], zero: i32) -> Self {
        let mut net = Codes {
            tensors: vec![],
            data: vec![],
            ops: vec![],
            input: 0,
            output: 0,
        };
        net.activation(dims, zero);
        net
    }

    pub(crate) fn add(&mut self, tensor: Tensor, data: Vec<u8>) -> u32 {
        assert_eq!(tensor.data_bytes, data.len() as u64);
        self.tensors.push(tensor);
        self.data.push(data);
        self.tensors.len() as u32 - 1
    }

    pub(crate) fn activation(&mut self, dims: &[u32], zero: i32) -> u32 {
        let tensor = Tensor::new(DType::I8, TensorKind::Activation, dims);
        self.add(tensor.with_scale(zero, 0.5f32.to_bits()), vec![])
    }

    pub(crate) fn codes(&mut self, dims: &[u32], data: Vec<u8>) -> u32 {
        self.add(Tensor::new(DType::I8, TensorKind::Constant, dims), data)
    }

    pub(crate) fn words(&mut self, dims: &[u32], data: &[i32]) -> u32 {
        let data = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.add(Tensor::new(DType::I32, TensorKind::Constant, dims), data)
    }

    pub(crate) fn dims(&self, tensor: u32) -> &[u32] {
        let tensor = &self.tensors[tensor as usize];
        &tensor.dims[..tensor.rank as usize]
    }

    /// Adds an operation, and makes its result the output of the network.
    pub(crate) fn op(&mut self, kind: OpKind, inputs: &[u32], params: &[i32], output: u32) -> u32 {
        let mut op = Op {
            kind,
            activation: Activation::Linear,
            params: [0; PARAMS],
            inputs: [NONE; 4],
            output,
        };
        op.inputs[..inputs.len()].copy_from_slice(inputs);
        op.params[..params.len()].copy_from_slice(params);
        self.ops.push(op);
        self.output = output;
        output
    }

    /// The file, whether it is right or not.
    pub(crate) fn file(&self) -> Vec<u8> {
        let graph = Graph {
            tensors: self.tensors.len() as u32,
            ops: self.ops.len() as u32,
            input: self.input,
            output: self.output,
            tensor: &|i| self.tensors[i as usize],
            op: &|i| self.ops[i as usize],
        };
        let mut file = vec![0; graph.file_bytes().unwrap()];
        let mut fill = |i: u32, to: &mut [u8]| {
            let data = &self.data[i as usize];
            let len = data.len().min(to.len());
            to[..len].copy_from_slice(&data[..len]);
        };
        // The file is complete before it is checked.
        let _ = graph.write("codes", &mut fill, &mut file);
        file
    }

    fn zero(&self, tensor: u32) -> i64 {
        self.tensors[tensor as usize].zero_point.into()
    }

    fn list(&self, tensor: u32) -> Vec<i32> {
        words(&self.data[tensor as usize])
    }

    /// Every tensor, for one input.
    pub(crate) fn compute(&self, input: &[i8]) -> Vec<Vec<i8>> {
        let signed = |data: &Vec<u8>| data.iter().map(|&x| x as i8).collect();
        let mut values: Vec<Vec<i8>> = self.data.iter().map(signed).collect();
        values[self.input as usize] = input.to_vec();
        for op in &self.ops {
            values[op.output as usize] = self.result(op, &values);
        }
        values
    }

    fn result(&self, op: &Op, values: &[Vec<i8>]) -> Vec<i8> {
        let [x, second, third, fourth] = op.inputs;
        let data = &values[x as usize];
        let (zx, zy) = (self.zero(x), self.zero(op.output));
        let dims = self.dims(x).to_vec();
        let [min, max, ..] = op.params.map(i64::from);
        let code = |sum: i64, factor| (zy + requantised(sum, factor)).clamp(min, max) as i8;
        let out = self.dims(op.output).to_vec();
        match op.kind {
            OpKind::Dense => {
                let (w, b) = (&values[second as usize], self.list(third));
                let (r, n) = (self.list(fourth), b.len());
                let row = |(i, x): (usize, &[i8])| {
                    let w = &w[i * x.len()..][..x.len()];
                    let products = x.iter().zip(w);
                    let sum: i64 = products
                        .map(|(&x, &w)| (i64::from(x) - zx) * i64::from(w))
                        .sum();
                    code(sum + i64::from(b[i]), (r[i], r[n + i]))
                };
                let rows = data.chunks(*dims.last().unwrap() as usize);
                rows.flat_map(|x| (0..n).map(move |i| row((i, x))))
                    .collect()
            }
            OpKind::Conv2d | OpKind::DepthwiseConv2d => {
                let (w, b) = (&values[second as usize], self.list(third));
                let (r, n) = (self.list(fourth), b.len());
                let kernel = self.dims(second);
                let (window, depth) = match op.kind {
                    OpKind::Conv2d => ([kernel[1], kernel[2]], kernel[3] as usize),
                    _ => ([kernel[0], kernel[1]], 1),
                };
                let c = dims[2] as usize;
                let taps = Taps::new(op, window, &dims);
                let mut y = vec![];
                for place in taps.places(&out) {
                    for i in 0..n {
                        let mut sum = i64::from(b[i]);
                        for (tap, at) in taps.inside(place) {
                            for k in 0..depth {
                                let (x, w) = match op.kind {
                                    OpKind::Conv2d => {
                                        let taps = (window[0] * window[1]) as usize;
                                        (data[at * c + k], w[(i * taps + tap) * c + k])
                                    }
                                    _ => (data[at * c + i / (n / c)], w[tap * n + i]),
                                };
                                sum += (i64::from(x) - zx) * i64::from(w);
                            }
                        }
                        y.push(code(sum, (r[i], r[n + i])));
                    }
                }
                y
            }
            OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let [h, w] = halves(op.params[3]);
                let taps = Taps::new(op, [h as u32, w as u32], &dims);
                let c = dims[2] as usize;
                let mut y = vec![];
                for place in taps.places(&out) {
                    for i in 0..c {
                        let codes: Vec<i64> = taps
                            .inside(place)
                            .map(|(_, at)| data[at * c + i].into())
                            .collect();
                        let count = codes.len() as f64;
                        let value = match op.kind {
                            OpKind::MaxPool2d => *codes.iter().max().unwrap(),
                            // `round` takes halves away from zero, too.
                            _ => (codes.iter().sum::<i64>() as f64 / count).round() as i64,
                        };
                        y.push(value.clamp(min, max) as i8);
                    }
                }
                y
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul => {
                let b = &values[second as usize];
                let zb = match self.tensors[second as usize].kind {
                    TensorKind::Constant => op.params[2].into(),
                    TensorKind::Activation => self.zero(second),
                };
                let r = self.list(third);
                let one = |(i, &a): (usize, &i8)| {
                    let (a, b) = (i64::from(a) - zx, i64::from(b[i % b.len()]) - zb);
                    if op.kind == OpKind::Mul {
                        return code(a * b, (r[0], r[1]));
                    }
                    let a = requantised(a << 20, (r[0], r[1]));
                    let b = requantised(b << 20, (r[2], r[3]));
                    let sum = if op.kind == OpKind::Add { a + b } else { a - b };
                    code(sum, (r[4], r[5]))
                };
                data.iter().enumerate().map(one).collect()
            }
            OpKind::Concat => {
                let axis = op.params[0] as usize;
                let parts: Vec<u32> = op.inputs.into_iter().filter(|&x| x != NONE).collect();
                each(&out)
                    .map(|mut at| {
                        for &part in &parts {
                            let dims = self.dims(part);
                            if at[axis] < dims[axis] {
                                return values[part as usize][index(dims, &at)];
                            }
                            at[axis] -= dims[axis];
                        }
                        unreachable!()
                    })
                    .collect()
            }
            OpKind::Pad => each(&out)
                .map(|at| {
                    let mut from = vec![];
                    for (i, at) in at.iter().enumerate() {
                        let inside = i64::from(*at) - halves(op.params[i])[0];
                        if !(0..dims[i].into()).contains(&inside) {
                            return op.params[4] as i8;
                        }
                        from.push(inside as u32);
                    }
                    data[index(&dims, &from)]
                })
                .collect(),
            OpKind::Reshape => data.clone(),
            OpKind::Transpose => each(&out)
                .map(|at| {
                    let mut from = vec![0; dims.len()];
                    for (i, at) in at.into_iter().enumerate() {
                        from[op.params[i] as usize] = at;
                    }
                    data[index(&dims, &from)]
                })
                .collect(),
            OpKind::Mean => {
                let r = self.list(second);
                let c = *dims.last().unwrap() as usize;
                let column = |i: usize| {
                    let sum: i64 = data[i..]
                        .iter()
                        .step_by(c)
                        .map(|&x| i64::from(x) - zx)
                        .sum();
                    (zy + requantised(sum, (r[0], r[1]))).clamp(-128, 127) as i8
                };
                (0..c).map(column).collect()
            }
            OpKind::Softmax => {
                let n = *dims.last().unwrap() as usize;
                data.chunks(n).flat_map(|x| softmax_row(op, x)).collect()
            }
            OpKind::Lut => {
                let table = &values[second as usize];
                let entry = |&x: &i8| table[usize::from(x as u8)];
                data.iter().map(entry).collect()
            }
            OpKind::Slice => each(&out)
                .map(|mut at| {
                    for (at, start) in at.iter_mut().zip(op.params) {
                        *at += start as u32;
                    }
                    data[index(&dims, &at)]
                })
                .collect(),
            OpKind::Embedding => {
                let (n, table) = (self.dims(second)[1] as usize, &values[second as usize]);
                let last = self.dims(second)[0] as usize - 1;
                let row = |&x: &i8| {
                    let row = (i64::from(x) + 128) as usize;
                    &table[row.min(last) * n..][..n]
                };
                data.iter().flat_map(row).copied().collect()
            }
            OpKind::Forest => {
                let n = *out.last().unwrap() as usize;
                let trees = trees::Trees {
                    nodes: self
                        .list(second)
                        .chunks(4)
                        .map(|n| n.try_into().unwrap())
                        .collect(),
                    roots: self.list(third),
                    leaves: self.list(fourth),
                    n,
                };
                let [_, mult, shift, ..] = op.params;
                let row = |x: &[i8]| {
                    let sums = trees.sums(&|i, threshold| i32::from(x[i]) <= threshold);
                    let code = |sum: i128| {
                        let code = zy + requantised(sum as i64, (mult, shift));
                        code.clamp(-128, 127) as i8
                    };
                    sums.into_iter().map(code).collect::<Vec<_>>()
                };
                data.chunks(*dims.last().unwrap() as usize)
                    .flat_map(row)
                    .collect()
            }
            other => unreachable!("{} has no codes", other.name()),
        }
    }
}

/// What the crate gives, whose bits are tested elsewhere, if it is about right.
fn softmax_row(op: &Op, row: &[i8]) -> Vec<i8> {
    let [mult, shift, diff_min, ..] = op.params;
    let x: Vec<u8> = row.iter().map(|&x| x as u8 ^ 0x80).collect();
    let mut y = vec![0; x.len()];
    softmax(Softmax {
        x: &x,
        y: &mut y,
        n: x.len(),
        beta: Multiplier { mult, shift },
        diff_min,
    });
    let beta = f64::from(mult) / 2f64.powi(31 + 26 + shift);
    let max = i32::from(*row.iter().max().unwrap());
    let powers: Vec<f64> = row
        .iter()
        .map(|&x| i32::from(x) - max)
        .map(|diff| {
            if diff < diff_min {
                0.0
            } else {
                (beta * f64::from(diff)).exp()
            }
        })
        .collect();
    let sum: f64 = powers.iter().sum();
    for (y, power) in y.iter().zip(&powers) {
        let expected = (256.0 * power / sum).min(255.0);
        assert!((f64::from(*y) - expected).abs() <= 1.0, "{y} {expected}");
    }
    y.iter().map(|x| (x ^ 0x80) as i8).collect()
}

/// All positions in a tensor, in order.
fn each(dims: &[u32]) -> impl Iterator<Item = Vec<u32>> + '_ {
    let count: u32 = dims.iter().product();
    (0..count).map(move |mut i| {
        let mut at = vec![0; dims.len()];
        for (at, dim) in at.iter_mut().zip(dims).rev() {
            (*at, i) = (i % dim, i / dim);
        }
        at
    })
}

/// The number of the element at a position.
fn index(dims: &[u32], at: &[u32]) -> usize {
    let dims = dims.iter().zip(at);
    dims.fold(0, |i, (&dim, &at)| i * dim as usize + at as usize)
}

/// A window on an image, as an operation says it.
struct Taps {
    window: [i64; 2],
    stride: [i64; 2],
    dilation: [i64; 2],
    before: [i64; 2],
    image: [i64; 2],
}

impl Taps {
    fn new(op: &Op, window: [u32; 2], dims: &[u32]) -> Self {
        let pool = matches!(op.kind, OpKind::AveragePool2d | OpKind::MaxPool2d);
        Taps {
            window: window.map(i64::from),
            stride: halves(op.params[2]),
            dilation: if pool { [1; 2] } else { halves(op.params[3]) },
            before: halves(op.params[4]),
            image: [dims[0].into(), dims[1].into()],
        }
    }

    fn places(&self, out: &[u32]) -> impl Iterator<Item = [i64; 2]> {
        let (h, w) = (i64::from(out[0]), i64::from(out[1]));
        (0..h * w).map(move |i| [i / w, i % w])
    }

    /// The taps that lie in the image: their numbers, and the numbers of their pixels.
    fn inside(&self, place: [i64; 2]) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..self.window[0] * self.window[1]).filter_map(move |tap| {
            let at = [tap / self.window[1], tap % self.window[1]];
            let pixel = [0, 1]
                .map(|i| place[i] * self.stride[i] + at[i] * self.dilation[i] - self.before[i]);
            let inside = (0..2).all(|i| (0..self.image[i]).contains(&pixel[i]));
            inside.then_some((tap as usize, (pixel[0] * self.image[1] + pixel[1]) as usize))
        })
    }
}
