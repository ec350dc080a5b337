// SPDX-License-Identifier: GPL-2.0

//! Networks of single precision: written with `Graph::write`, computed from the definitions of the
//! operations in f64, and by plans with vector code.

use super::dnc::Dnc;
use super::{function, sigmoid, Random};
use neural_core::act::Activation;
use neural_core::float::{self, Function};
use neural_core::nnm::{self, DType, Graph, Limits, Op, OpKind, Tensor, TensorKind, NONE, PARAMS};
use neural_core::plan::{self, DenseArgs, Kernels, Step};
use neural_core::Error;
use neural_simd::{NoSection, Set, Simd};

/// Kernels with vector code, if there is a set, and tiles of any size.
pub(crate) struct Vectors {
    kernels: Simd<NoSection>,
    tile: u64,
}

impl Vectors {
    pub(crate) fn new(set: Option<Set>, tile: u64) -> Self {
        let kernels = Simd::new(set, NoSection);
        Vectors { kernels, tile }
    }
}

macro_rules! numbers {
    ($($name:ident($args:ident);)*) => {
        impl Kernels for Vectors {
            fn dense_q16(&self, args: DenseArgs<'_>) {
                self.kernels.dense_q16(args);
            }

            fn tile_macs(&self) -> u64 {
                self.tile
            }

            $(
                fn $name(&self, args: float::$args<'_>, work: usize) -> bool {
                    self.kernels.$name(args, work)
                }
            )*
        }
    };
}

numbers! {
    gemm_f32(Gemm);
    chain_f32(Chain);
    depthwise_f32(Depthwise);
    pool_f32(Pool);
    binary_f32(Binary);
    softmax_f32(Softmax);
    norm_f32(Norm);
    attention_f32(Attention);
    normalise_f32(Normalise);
    lstm_cell_f32(LstmCell);
    gru_cell_f32(GruCell);
    cosine_f32(Cosine);
    map_f32(Map);
    mean_f32(Mean);
    matmul_f32(Matmul);
    mix_f32(Mix);
    usage_f32(Usage);
    allocation_f32(Allocation);
    write_f32(Write);
    link_f32(Link);
}

/// A network to be written; each operation reads what was there before.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) tensors: Vec<Tensor>,
    pub(crate) data: Vec<Vec<f32>>,
    pub(crate) ops: Vec<Op>,
    pub(crate) output: u32,
}

/// Two halves of a parameter.
pub(crate) fn pair([low, high]: [u32; 2]) -> i32 {
    (low | high << 16) as i32
}

fn halves(param: i32) -> [usize; 2] {
    [(param & 0xffff) as usize, (param as u32 >> 16) as usize]
}

fn bits(param: i32) -> f64 {
    f64::from(f32::from_bits(param as u32))
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
    /// One that fits the image.
    pub(crate) fn random(random: &mut Random, image: &[u32], dilated: bool) -> Self {
        let mut of = |last: u32| random.range(0, last as usize) as u32;
        let mut win = Win {
            size: [1; 2],
            stride: [1 + of(2), 1 + of(2)],
            dilation: [1; 2],
            before: [0; 2],
            after: [0; 2],
        };
        for (i, &image) in image.iter().enumerate().take(2) {
            win.size[i] = 1 + of(2.min(image - 1));
            if dilated && win.size[i] > 1 {
                win.dilation[i] = 1 + of((image - 1) / (win.size[i] - 1)).min(2);
            }
            let covers = (win.size[i] - 1) * win.dilation[i] + 1;
            if covers > image {
                win.dilation[i] = 1;
            }
            let covers = (win.size[i] - 1) * win.dilation[i] + 1;
            win.before[i] = of(covers - 1);
            win.after[i] = of(covers - 1);
        }
        win
    }

    pub(crate) fn out(&self, image: &[u32]) -> [u32; 2] {
        [0, 1].map(|i| {
            let covers = (self.size[i] - 1) * self.dilation[i] + 1;
            (image[i] + self.before[i] + self.after[i] - covers) / self.stride[i] + 1
        })
    }

    pub(crate) fn params(&self, act: [i32; 2], third: [u32; 2]) -> [i32; 6] {
        let [before, after] = [pair(self.before), pair(self.after)];
        [
            act[0],
            act[1],
            pair(self.stride),
            pair(third),
            before,
            after,
        ]
    }
}

impl Net {
    pub(crate) fn new(dims: &[u32]) -> Self {
        let mut net = Net {
            tensors: vec![],
            data: vec![],
            ops: vec![],
            output: 0,
        };
        net.tensor(dims);
        net
    }

    pub(crate) fn tensor(&mut self, dims: &[u32]) -> u32 {
        let tensor = Tensor::new(DType::F32, TensorKind::Activation, dims);
        self.tensors.push(tensor);
        self.data.push(vec![]);
        self.tensors.len() as u32 - 1
    }

    pub(crate) fn constant(&mut self, dims: &[u32], data: Vec<f32>) -> u32 {
        let tensor = Tensor::new(DType::F32, TensorKind::Constant, dims);
        self.tensors.push(tensor);
        self.data.push(data);
        self.tensors.len() as u32 - 1
    }

    /// A constant of numbers within `scale`.
    pub(crate) fn weights(&mut self, random: &mut Random, dims: &[u32], scale: f32) -> u32 {
        let n = dims.iter().product::<u32>() as usize;
        let data = random.units(n).iter().map(|x| x * scale).collect();
        self.constant(dims, data)
    }

    pub(crate) fn dims(&self, tensor: u32) -> Vec<u32> {
        let tensor = &self.tensors[tensor as usize];
        tensor.dims[..tensor.rank as usize].to_vec()
    }

    /// Adds an operation, and makes its result the output of the network.
    pub(crate) fn op(&mut self, kind: OpKind, inputs: &[u32], params: &[i32], dims: &[u32]) -> u32 {
        let output = self.tensor(dims);
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
            input: 0,
            output: self.output,
            tensor: &|i| self.tensors[i as usize],
            op: &|i| self.ops[i as usize],
        };
        let mut file = vec![0; graph.file_bytes().unwrap()];
        let mut fill = |i: u32, to: &mut [u8]| {
            for (to, from) in to.chunks_exact_mut(4).zip(&self.data[i as usize]) {
                to.copy_from_slice(&from.to_le_bytes());
            }
        };
        // The file is complete before it is checked.
        let _ = graph.write("numbers", &mut fill, &mut file);
        file
    }

    /// What the checks say.
    pub(crate) fn check(&self) -> Result<(), Error> {
        nnm::parse(&self.file(), &Limits::DEFAULT).map(|_| ())
    }

    /// What a plan computes for several samples, one behind the other.
    pub(crate) fn run(&self, kernels: &Vectors, input: &[f32]) -> Result<Vec<f32>, Error> {
        let file = self.file();
        let model = nnm::parse(&file, &Limits::DEFAULT)?;
        let mut steps = vec![Step::EMPTY; model.step_count()];
        let plan = model.plan(&mut steps)?;
        let mut weights = vec![0xa5; plan.weight_bytes];
        model.pack(&steps, &plan, &mut weights)?;
        let samples = input.len() * 4 / plan.input_bytes;
        // What is in the memory before does not count.
        let mut scratch = vec![0xff; plan.scratch_bytes * samples];
        let input: Vec<u8> = input.iter().flat_map(|x| x.to_le_bytes()).collect();
        let mut output = vec![0xff; plan.output_bytes * samples];
        plan::run(
            kernels,
            &plan,
            &steps,
            &weights,
            samples,
            &mut scratch,
            &input,
            &mut output,
        )?;
        let number = |b: &[u8]| f32::from_le_bytes(b.try_into().unwrap());
        Ok(output.chunks_exact(4).map(number).collect())
    }

    /// The output for one input, from the definitions.
    pub(crate) fn compute(&self, input: &[f32]) -> Vec<f64> {
        let wide = |data: &Vec<f32>| data.iter().map(|&x| f64::from(x)).collect();
        let mut values: Vec<Vec<f64>> = self.data.iter().map(wide).collect();
        values[0] = wide(&input.to_vec());
        for op in &self.ops {
            values[op.output as usize] = self.result(op, &values);
        }
        values.swap_remove(self.output as usize)
    }

    fn result(&self, op: &Op, values: &[Vec<f64>]) -> Vec<f64> {
        let size =
            |tensor: u32| -> Vec<usize> { self.dims(tensor).iter().map(|&n| n as usize).collect() };
        let [first, second, third, fourth] = op.inputs;
        let value = |tensor: u32| values.get(tensor as usize).map_or(&[][..], |v| &v[..]);
        let (x, b, c, d) = (value(first), value(second), value(third), value(fourth));
        let (dims, out) = (size(first), size(op.output));
        let last = *dims.last().unwrap();
        let act = |x: f64| {
            let code = Function::from_code(op.params[0] as u32).unwrap();
            function(code, bits(op.params[1]), x)
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        match op.kind {
            OpKind::Dense => {
                let rows = x.chunks(last);
                let sums = |x| (0..c.len()).map(move |i| dot(x, &b[i * last..][..last]) + c[i]);
                rows.flat_map(sums).map(act).collect()
            }
            OpKind::Conv2d | OpKind::DepthwiseConv2d => {
                let (w, n) = (size(second), c.len());
                let (window, depth) = match op.kind {
                    OpKind::Conv2d => ([w[1], w[2]], last),
                    _ => ([w[0], w[1]], 1),
                };
                let taps = window[0] * window[1];
                let mut y = vec![];
                for place in places(&out) {
                    let inside = inside(op, window, halves(op.params[3]), place, &dims);
                    for i in 0..n {
                        let mut sum = c[i];
                        for &(tap, at) in &inside {
                            for l in 0..depth {
                                sum += match op.kind {
                                    OpKind::Conv2d => {
                                        x[at * last + l] * b[(i * taps + tap) * last + l]
                                    }
                                    _ => x[at * last + i / (n / last)] * b[tap * n + i],
                                };
                            }
                        }
                        y.push(act(sum));
                    }
                }
                y
            }
            OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let mut y = vec![];
                for place in places(&out) {
                    let inside = inside(op, halves(op.params[3]), [1, 1], place, &dims);
                    for i in 0..last {
                        let seen = inside.iter().map(|(_, at)| x[at * last + i]);
                        y.push(match op.kind {
                            OpKind::MaxPool2d => seen.fold(f64::NEG_INFINITY, f64::max),
                            _ => seen.sum::<f64>() / inside.len() as f64,
                        });
                    }
                }
                y
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul => (0..x.len())
                .map(|i| {
                    let (p, q) = (x[i], b[i % b.len()]);
                    act(match op.kind {
                        OpKind::Add => p + q,
                        OpKind::Sub => p - q,
                        _ => p * q,
                    })
                })
                .collect(),
            OpKind::Concat => {
                let axis = op.params[0] as usize;
                let inner: usize = dims[axis + 1..].iter().product();
                let outer: usize = dims[..axis].iter().product();
                let mut y = vec![];
                for i in 0..outer {
                    for &tensor in op.inputs.iter().filter(|&&t| t != NONE) {
                        let part = size(tensor)[axis] * inner;
                        y.extend(&value(tensor)[i * part..][..part]);
                    }
                }
                y
            }
            OpKind::Pad => {
                let mut y = vec![bits(op.params[4]); out.iter().product()];
                for (i, &x) in x.iter().enumerate() {
                    let mut at = index(i, &dims);
                    for (axis, at) in at.iter_mut().enumerate() {
                        *at += halves(op.params[axis])[0];
                    }
                    y[flat(&at, &out)] = x;
                }
                y
            }
            OpKind::Reshape => x.to_vec(),
            OpKind::Transpose => {
                let source = |i: usize| {
                    let mut from = vec![0; dims.len()];
                    for (axis, at) in index(i, &out).into_iter().enumerate() {
                        from[op.params[axis] as usize] = at;
                    }
                    x[flat(&from, &dims)]
                };
                (0..x.len()).map(source).collect()
            }
            OpKind::Mean => {
                let column = |i: usize| x.iter().skip(i).step_by(last).sum::<f64>();
                let rows = (x.len() / last) as f64;
                (0..last).map(|i| column(i) / rows).collect()
            }
            OpKind::Softmax | OpKind::LogSoftmax => {
                let row = |x: &[f64]| {
                    let sum: f64 = x.iter().map(|x| x.exp()).sum();
                    let log = op.kind == OpKind::LogSoftmax;
                    let one = |x: &f64| if log { x - sum.ln() } else { x.exp() / sum };
                    x.iter().map(one).collect::<Vec<_>>()
                };
                x.chunks(last).flat_map(row).collect()
            }
            OpKind::Map => x.iter().copied().map(act).collect(),
            OpKind::LayerNorm | OpKind::RmsNorm => {
                let n = last as f64;
                let row = |x: &[f64]| {
                    let mean = match op.kind {
                        OpKind::LayerNorm => x.iter().sum::<f64>() / n,
                        _ => 0.0,
                    };
                    let square = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                    let by = (square + bits(op.params[0])).sqrt();
                    let beta = |i: usize| c.get(i).copied().unwrap_or(0.0);
                    let one = |(i, x): (usize, &f64)| (x - mean) / by * b[i] + beta(i);
                    x.iter().enumerate().map(one).collect::<Vec<_>>()
                };
                x.chunks(last).flat_map(row).collect()
            }
            OpKind::Attention => {
                let [heads, causal, scale, ..] = op.params;
                let (t, s) = (dims[0], size(second)[0]);
                let wide = last / heads as usize;
                let mut y = vec![0.0; x.len()];
                for head in 0..heads as usize {
                    let part = |v, row: usize| -> &[f64] {
                        let v: &[f64] = v;
                        &v[row * last + head * wide..][..wide]
                    };
                    for i in 0..t {
                        let seen = if causal == 1 { i + s - t + 1 } else { s };
                        let weight = |j| (bits(scale) * dot(part(x, i), part(b, j))).exp();
                        let sum: f64 = (0..seen).map(weight).sum();
                        for j in 0..seen {
                            for (l, v) in part(c, j).iter().enumerate() {
                                y[i * last + head * wide + l] += weight(j) / sum * v;
                            }
                        }
                    }
                }
                y
            }
            OpKind::Lstm | OpKind::Gru => {
                let gates = if op.kind == OpKind::Lstm { 4 } else { 3 };
                let h = size(second)[0] / gates;
                let mut state = vec![0.0; if gates == 4 { 2 * h } else { h }];
                let mut y = vec![];
                for x in x.chunks(last) {
                    state = cell(x, &state, b, c, h);
                    y.extend(&state[..h]);
                }
                y
            }
            OpKind::LstmCell | OpKind::GruCell => {
                let gates = if op.kind == OpKind::LstmCell { 4 } else { 3 };
                cell(x, b, c, d, size(third)[0] / gates)
            }
            OpKind::Cosine => {
                let norm = |v: &[f64]| dot(v, v).sqrt();
                let row = |r: &[f64]| dot(x, r) / (norm(x) * norm(r)).max(bits(op.params[0]));
                b.chunks(last).map(row).collect()
            }
            OpKind::Slice => {
                let part = |i: usize| {
                    let mut at = index(i, &out);
                    for (at, start) in at.iter_mut().zip(op.params) {
                        *at += start as usize;
                    }
                    x[flat(&at, &dims)]
                };
                (0..out.iter().product()).map(part).collect()
            }
            OpKind::Interpolate => {
                let n = *out.last().unwrap();
                let row = |x: &[f64]| {
                    let at = |i: usize| {
                        let place = (i as f64 + 0.5) * last as f64 / n as f64 - 0.5;
                        let place = place.max(0.0);
                        let low = (place.floor() as usize).min(last - 1);
                        let share = place - low as f64;
                        x[low] * (1.0 - share) + x[(low + 1).min(last - 1)] * share
                    };
                    (0..n).map(at).collect::<Vec<_>>()
                };
                x.chunks(last).flat_map(row).collect()
            }
            OpKind::Normalise => {
                let [range, most, eps, ..] = op.params;
                let (first, rest) = b.split_at(last);
                let (second, count) = rest.split_at(last);
                let m = (count[0] + 1.0).min(f64::from(most));
                let (mut y, mut next) = (vec![], [vec![], vec![]]);
                for ((x, first), second) in x.iter().zip(first).zip(second) {
                    let (result, one, two) = if range == 1 {
                        let whole = m == 1.0;
                        let low = if whole { *x } else { x.min(*first) };
                        let high = if whole { *x } else { x.max(*second) };
                        ((x - low) / (high - low).max(bits(eps)), low, high)
                    } else {
                        let before = if m == 1.0 {
                            [0.0; 2]
                        } else {
                            [*first, *second]
                        };
                        let mean = before[0] + (x - before[0]) / m;
                        let variance = before[1] + ((x - before[0]) * (x - mean) - before[1]) / m;
                        ((x - mean) / (variance + bits(eps)).sqrt(), mean, variance)
                    };
                    y.push(result);
                    next[0].push(one);
                    next[1].push(two);
                }
                let [first, second] = next;
                [y, first, second, vec![m]].concat()
            }
            OpKind::AttentionStep => {
                let tokens = (d.len() - 1) / 2 / last;
                let count = d[2 * tokens * last] as usize;
                let (mut state, slot) = (d.to_vec(), count % tokens);
                state[slot * last..][..last].copy_from_slice(b);
                state[(tokens + slot) * last..][..last].copy_from_slice(c);
                let end = state.len() - 1;
                state[end] = (if count + 1 == 2 * tokens {
                    tokens
                } else {
                    count + 1
                }) as f64;
                let seen = (count + 1).min(tokens);
                let wide = last / op.params[0] as usize;
                let mut y = vec![0.0; last];
                for (head, y) in y.chunks_mut(wide).enumerate() {
                    let part =
                        |v: &[f64], row: usize| v[row * last + head * wide..][..wide].to_vec();
                    let weight =
                        |j| (bits(op.params[1]) * dot(&part(x, 0), &part(&state, j))).exp();
                    let sum: f64 = (0..seen).map(weight).sum();
                    for j in 0..seen {
                        for (y, v) in y.iter_mut().zip(part(&state, tokens + j)) {
                            *y += weight(j) / sum * v;
                        }
                    }
                }
                [y, state].concat()
            }
            OpKind::Dnc => {
                let [rows, width, heads, eps, ..] = op.params;
                let [rows, width, heads] = [rows, width, heads].map(|n| n as usize);
                let eps = bits(eps);
                let dnc = Dnc {
                    rows,
                    width,
                    heads,
                    eps,
                };
                dnc.step(x, b)
            }
            other => unreachable!("{}", other.name()),
        }
    }
}

/// The next state of a memory (`w` has four gates, the state `h` and `c`) or of a unit (three).
fn cell(x: &[f64], state: &[f64], w: &[f64], bias: &[f64], h: usize) -> Vec<f64> {
    let columns = x.len() + h;
    let of = |row: usize, from: usize, v: &[f64]| -> f64 {
        let w = &w[row * columns + from..][..v.len()];
        w.iter().zip(v).map(|(a, b)| a * b).sum()
    };
    let (hidden, kept) = state.split_at(h);
    let mut next = vec![0.0; state.len()];
    for u in 0..h {
        if kept.is_empty() {
            let of_x = |g: usize| of(g * h + u, 0, x) + bias[g * h + u];
            let of_h = |g: usize| of(g * h + u, x.len(), hidden) + bias[(3 + g) * h + u];
            let reset = sigmoid(of_x(0) + of_h(0));
            let update = sigmoid(of_x(1) + of_h(1));
            let new = (of_x(2) + reset * of_h(2)).tanh();
            next[u] = (1.0 - update) * new + update * hidden[u];
        } else {
            let row = |g: usize| g * h + u;
            let sum = |g| of(row(g), 0, x) + of(row(g), x.len(), hidden) + bias[row(g)];
            let c = sigmoid(sum(1)) * kept[u] + sigmoid(sum(0)) * sum(2).tanh();
            next[u] = sigmoid(sum(3)) * c.tanh();
            next[h + u] = c;
        }
    }
    next
}

fn places(out: &[usize]) -> impl Iterator<Item = [usize; 2]> {
    let width = out[1];
    (0..out[0] * width).map(move |i| [i / width, i % width])
}

/// Taps of a window that lie in the image: which, and at which pixel.
fn inside(
    op: &Op,
    window: [usize; 2],
    dilation: [usize; 2],
    place: [usize; 2],
    image: &[usize],
) -> Vec<(usize, usize)> {
    let (stride, before) = (halves(op.params[2]), halves(op.params[4]));
    let mut taps = vec![];
    for tap in 0..window[0] * window[1] {
        let at = [tap / window[1], tap % window[1]];
        let pixel =
            [0, 1].map(|i| (place[i] * stride[i] + at[i] * dilation[i]).wrapping_sub(before[i]));
        if pixel[0] < image[0] && pixel[1] < image[1] {
            taps.push((tap, pixel[0] * image[1] + pixel[1]));
        }
    }
    taps
}

/// The place of an element along each dimension.
fn index(mut i: usize, dims: &[usize]) -> Vec<usize> {
    let mut at = vec![0; dims.len()];
    for (at, dim) in at.iter_mut().zip(dims).rev() {
        *at = i % dim;
        i /= dim;
    }
    at
}

fn flat(at: &[usize], dims: &[usize]) -> usize {
    at.iter().zip(dims).fold(0, |sum, (at, dim)| sum * dim + at)
}
