// SPDX-License-Identifier: GPL-2.0

//! Networks of single precision in double precision, by plain loops: what others are compared with.

use neural_core::fixed;
use neural_core::float::Function;
use neural_core::nnm::{self, DType, Limits, OpKind, TensorKind};

use crate::engine;
use crate::error::{Error, Result};

/// A network whose numbers are ready.
pub struct Reference {
    /// For each tensor its sizes.
    dims: Vec<Vec<usize>>,
    /// For each tensor its elements, none of activations.
    constants: Vec<Vec<f64>>,
    ops: Vec<nnm::Op>,
    input: u32,
    output: u32,
}

/// A function with its slope.
#[derive(Clone, Copy)]
pub struct Act {
    function: Function,
    slope: f64,
}

/// The error function, by the series of only positive terms.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
        n += 1.0;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

impl Act {
    /// The function in the first two parameters of an operation.
    pub fn of(params: &[i32]) -> Self {
        let at = |i: usize| params.get(i).map_or(0, |p| *p as u32); // CAST: the same bits
        Self {
            function: Function::from_code(at(0)).unwrap_or(Function::None),
            slope: f64::from(f32::from_bits(at(1))),
        }
    }

    /// What becomes of an element.
    pub fn apply(self, x: f64) -> f64 {
        let gate = |x: f64| (x + 3.0).clamp(0.0, 6.0) / 6.0;
        match self.function {
            Function::None => x,
            Function::Relu => x.max(0.0),
            Function::Relu6 => x.clamp(0.0, 6.0),
            Function::LeakyRelu if x > 0.0 => x,
            Function::LeakyRelu => self.slope * x,
            Function::Sigmoid => sigmoid(x),
            Function::Tanh => x.tanh(),
            Function::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Function::GeluTanh => {
                let root = (2.0 / std::f64::consts::PI).sqrt();
                0.5 * x * (1.0 + (root * (x + 0.044715 * x * x * x)).tanh())
            }
            Function::HardSwish => x * gate(x),
            Function::Silu => x * sigmoid(x),
            Function::HardSigmoid => gate(x),
            Function::Elu if x > 0.0 => x,
            Function::Elu => self.slope * x.exp_m1(),
            Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Function::Exp => x.exp(),
            Function::Sqrt => x.sqrt(),
            Function::Abs => x.abs(),
        }
    }
}

/// The lower and the upper half of a parameter.
fn halves(param: i32) -> [usize; 2] {
    let bits = param as u32; // CAST: the same bits
    [(bits & 0xffff) as usize, (bits >> 16) as usize]
}

/// A parameter that is a float.
fn float(param: i32) -> f64 {
    f64::from(f32::from_bits(param as u32)) // CAST: the same bits
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `count` elements from `at` on, or none.
fn part(x: &[f64], at: usize, count: usize) -> &[f64] {
    x.get(at..at.saturating_add(count)).unwrap_or_default()
}

/// Softmax of a row, or its logarithm.
fn softmax(row: &[f64], log: bool) -> Vec<f64> {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
    let one = |x: &f64| match log {
        true => x - max - sum.ln(),
        false => (x - max).exp() / sum,
    };
    row.iter().map(one).collect()
}

/// A window over an image.
struct Window {
    image: [usize; 3],
    out: [usize; 2],
    size: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: [usize; 2],
}

impl Window {
    fn of(op: &nnm::Op, image: &[usize], out: &[usize], weights: Option<[usize; 2]>) -> Self {
        let [_, _, stride, third, before, ..] = op.params;
        let at = |sizes: &[usize], i: usize| sizes.get(i).copied().unwrap_or(1);
        Self {
            image: [at(image, 0), at(image, 1), at(image, 2)],
            out: [at(out, 0), at(out, 1)],
            size: weights.unwrap_or(halves(third)),
            stride: halves(stride),
            dilation: weights.map_or([1, 1], |_| halves(third)),
            before: halves(before),
        }
    }

    /// For each place its taps: the number of each and where its channels begin in the image.
    fn each(&self, mut place: impl FnMut(&[(usize, usize)])) {
        let ([h, w, c], [out_h, out_w]) = (self.image, self.out);
        let ([kh, kw], [sy, sx], [dy, dx]) = (self.size, self.stride, self.dilation);
        let [top, left] = self.before;
        let mut taps = Vec::new();
        for at in 0..out_h * out_w {
            let (oy, ox) = (at / out_w, at % out_w);
            taps.clear();
            for tap in 0..kh * kw {
                let y = (oy * sy + tap / kw * dy).wrapping_sub(top);
                let x = (ox * sx + tap % kw * dx).wrapping_sub(left);
                if y < h && x < w {
                    taps.push((tap, (y * w + x) * c));
                }
            }
            place(&taps);
        }
    }
}

/// Steps from an element to the next one along each axis.
fn strides(dims: &[usize]) -> Vec<usize> {
    let mut step = 1;
    let mut all: Vec<usize> = dims
        .iter()
        .rev()
        .map(|d| {
            let this = step;
            step *= d;
            this
        })
        .collect();
    all.reverse();
    all
}

/// The elements of `x` whose axes become `perm`.
fn transpose(x: &[f64], dims: &[usize], perm: &[usize]) -> Vec<f64> {
    let steps = strides(dims);
    let at = |list: &[usize], i: usize| list.get(i).copied().unwrap_or(1);
    let sizes: Vec<usize> = perm.iter().map(|a| at(dims, *a)).collect();
    let from: Vec<usize> = perm.iter().map(|a| at(&steps, *a)).collect();
    let to = strides(&sizes);
    let place = |i: usize| -> usize {
        let axes = sizes.iter().zip(to.iter().zip(&from));
        axes.map(|(size, (to, from))| i / to % size * from).sum()
    };
    (0..x.len())
        .map(|i| x.get(place(i)).copied().unwrap_or(0.0))
        .collect()
}

impl Reference {
    /// Takes a model file of single precision.
    pub fn new(file: &[u8]) -> Result<Self> {
        let model = nnm::parse(file, &Limits::default()).map_err(engine::error)?;
        if model.dtype() != DType::F32 {
            return Err(Error::refused("model", "is not of type f32"));
        }
        let (mut dims, mut constants) = (Vec::new(), Vec::new());
        let numbers = |count: usize| 0..u32::try_from(count).unwrap_or(0);
        for i in numbers(model.tensor_count()) {
            let tensor = model.tensor(i);
            let sizes = tensor.iter().flat_map(|t| t.dims).take_while(|d| *d > 0);
            dims.push(sizes.map(|d| d as usize).collect());
            let data = tensor.filter(|t| t.kind == TensorKind::Constant);
            let data = data.and_then(|t| model.data(&t)).unwrap_or_default();
            constants.push(fixed::elements(data).map(float).collect());
        }
        Ok(Self {
            dims,
            constants,
            ops: numbers(model.op_count())
                .filter_map(|i| model.op(i))
                .collect(),
            input: model.input_tensor(),
            output: model.output_tensor(),
        })
    }

    /// Elements of an input.
    pub fn inputs(&self) -> usize {
        self.sizes(self.input).iter().product()
    }

    /// Elements of an output.
    pub fn outputs(&self) -> usize {
        self.sizes(self.output).iter().product()
    }

    fn sizes(&self, tensor: u32) -> &[usize] {
        self.dims.get(tensor as usize).map_or(&[], Vec::as_slice)
    }

    /// Computes all from an input; `see` is shown each tensor that is computed, the input first.
    pub fn run(&self, input: &[f64], see: &mut dyn FnMut(u32, &[f64])) -> Result<Vec<f64>> {
        if input.len() != self.inputs() {
            let why = format!("has {} elements, not {}", input.len(), self.inputs());
            return Err(Error::refused("input", why));
        }
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); self.dims.len()];
        let mut put = |values: &mut Vec<Vec<f64>>, tensor: u32, value: Vec<f64>| {
            see(tensor, &value);
            if let Some(to) = values.get_mut(tensor as usize) {
                *to = value;
            }
        };
        put(&mut values, self.input, input.to_vec());
        for op in &self.ops {
            let value = self.op(op, &values)?;
            put(&mut values, op.output, value);
        }
        let output = values.get_mut(self.output as usize);
        Ok(output.map(std::mem::take).unwrap_or_default())
    }

    fn op(&self, op: &nnm::Op, values: &[Vec<f64>]) -> Result<Vec<f64>> {
        let operand = |at: usize| -> &[f64] {
            let index = op.inputs.get(at).map_or(usize::MAX, |i| *i as usize);
            match values.get(index) {
                Some(computed) if !computed.is_empty() => computed,
                _ => self.constants.get(index).map_or(&[], Vec::as_slice),
            }
        };
        let dims = |at: usize| op.inputs.get(at).map_or(&[][..], |i| self.sizes(*i));
        let (x, w, b) = (operand(0), operand(1), operand(2));
        let last = dims(0).last().copied().unwrap_or(1).max(1);
        let act = Act::of(&op.params);
        let rows = || x.chunks_exact(last);
        let out = self.sizes(op.output);
        let width = out.last().copied().unwrap_or(1);
        Ok(match op.kind {
            OpKind::Dense => {
                let row = |x: &[f64]| -> Vec<f64> {
                    let sums = w.chunks_exact(last).zip(b).map(|(w, b)| b + dot(x, w));
                    sums.map(|sum| act.apply(sum)).collect()
                };
                rows().flat_map(row).collect()
            }
            OpKind::Conv2d => {
                let (n, kh, kw, c) = match dims(1) {
                    [n, kh, kw, c] => (*n, *kh, *kw, *c),
                    _ => (0, 1, 1, 1),
                };
                let mut y = Vec::new();
                Window::of(op, dims(0), out, Some([kh, kw])).each(|taps| {
                    for (row, b) in (0..n).zip(b) {
                        let of = |(tap, at): &(usize, usize)| {
                            dot(part(x, *at, c), part(w, (row * kh * kw + tap) * c, c))
                        };
                        y.push(act.apply(b + taps.iter().map(of).sum::<f64>()));
                    }
                });
                y
            }
            OpKind::DepthwiseConv2d => {
                let (kh, kw, n) = match dims(1) {
                    [kh, kw, n] => (*kh, *kw, *n),
                    _ => (1, 1, 0),
                };
                let each = n / last;
                let mut y = Vec::new();
                Window::of(op, dims(0), out, Some([kh, kw])).each(|taps| {
                    for (i, b) in (0..n).zip(b) {
                        let of = |(tap, at): &(usize, usize)| {
                            dot(part(x, at + i / each.max(1), 1), part(w, tap * n + i, 1))
                        };
                        y.push(act.apply(b + taps.iter().map(of).sum::<f64>()));
                    }
                });
                y
            }
            OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let mut y = Vec::new();
                Window::of(op, dims(0), out, None).each(|taps| {
                    for c in 0..last {
                        let all = taps.iter().flat_map(|(_, at)| part(x, at + c, 1));
                        y.push(match op.kind {
                            OpKind::MaxPool2d => all.copied().fold(f64::NEG_INFINITY, f64::max),
                            _ => all.sum::<f64>() / taps.len() as f64,
                        });
                    }
                });
                y
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul => {
                let of = |(a, b): (&f64, &f64)| match op.kind {
                    OpKind::Add => a + b,
                    OpKind::Sub => a - b,
                    _ => a * b,
                };
                x.iter()
                    .zip(w.iter().cycle())
                    .map(of)
                    .map(|v| act.apply(v))
                    .collect()
            }
            OpKind::Concat => {
                let axis = usize::try_from(op.params[0]).unwrap_or(0);
                let each: Vec<(&[f64], usize)> = (0..4)
                    .filter(|i| op.has_input(*i))
                    .map(|i| (operand(i), dims(i).iter().skip(axis).product()))
                    .collect();
                let outer: usize = dims(0).iter().take(axis).product();
                let row = |i: usize| {
                    let parts = each.iter().map(move |(x, n)| part(x, i * n, *n));
                    parts.flatten().copied().collect::<Vec<f64>>()
                };
                (0..outer).flat_map(row).collect()
            }
            OpKind::Pad => {
                let sizes = dims(0);
                let (steps, to) = (strides(sizes), strides(out));
                let value = float(op.params[4]);
                let place = |i: usize| -> Option<usize> {
                    let mut at = 0;
                    let axes = out.iter().zip(&to).zip(sizes.iter().zip(&steps));
                    for (((out, to), (size, step)), pads) in axes.zip(op.params) {
                        let [before, _] = halves(pads);
                        let coordinate = (i / to % out).checked_sub(before)?;
                        at += (coordinate < *size).then_some(coordinate * step)?;
                    }
                    Some(at)
                };
                let element = |i| place(i).map_or(value, |at| x.get(at).copied().unwrap_or(0.0));
                (0..out.iter().product()).map(element).collect()
            }
            OpKind::Reshape => x.to_vec(),
            OpKind::Slice => {
                let (steps, to) = (strides(dims(0)), strides(out));
                let place = |i: usize| -> usize {
                    let axes = out.iter().zip(&to).zip(steps.iter().zip(op.params));
                    let at = |first: i32| usize::try_from(first).unwrap_or(0);
                    axes.map(|((out, to), (step, first))| (i / to % out + at(first)) * step)
                        .sum()
                };
                let element = |i| x.get(place(i)).copied().unwrap_or(0.0);
                (0..out.iter().product()).map(element).collect()
            }
            OpKind::Transpose => {
                let perm = op.params.iter().take(dims(0).len());
                let perm: Vec<usize> = perm.map(|a| usize::try_from(*a).unwrap_or(0)).collect();
                transpose(x, dims(0), &perm)
            }
            OpKind::Mean => {
                let count = rows().count() as f64;
                let column = |i| rows().flat_map(|r| part(r, i, 1)).sum::<f64>() / count;
                (0..last).map(column).collect()
            }
            OpKind::Softmax => rows().flat_map(|r| softmax(r, false)).collect(),
            OpKind::LogSoftmax => rows().flat_map(|r| softmax(r, true)).collect(),
            OpKind::Map => x.iter().map(|x| act.apply(*x)).collect(),
            OpKind::LayerNorm | OpKind::RmsNorm => {
                let eps = float(op.params[0]);
                let row = |r: &[f64]| -> Vec<f64> {
                    let n = r.len() as f64;
                    let mean = match op.kind {
                        OpKind::LayerNorm => r.iter().sum::<f64>() / n,
                        _ => 0.0,
                    };
                    let square = r.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / n;
                    let factor = 1.0 / (square + eps).sqrt();
                    let beta = b.iter().copied().chain(std::iter::repeat(0.0));
                    let all = r.iter().zip(w).zip(beta);
                    all.map(|((x, g), b)| (x - mean) * factor * g + b).collect()
                };
                rows().flat_map(row).collect()
            }
            OpKind::Attention => self.attention(op, [x, w, b], last),
            OpKind::Lstm => recurrent(x, w, b, [last, width], lstm),
            OpKind::Gru => recurrent(x, w, b, [last, width], gru),
            other => {
                let why = format!("'{}' is not computed in double precision", other.name());
                return Err(Error::refused("operation", why));
            }
        })
    }

    fn attention(&self, op: &nnm::Op, [q, k, v]: [&[f64]; 3], c: usize) -> Vec<f64> {
        let [heads, causal, scale, ..] = op.params;
        let heads = usize::try_from(heads).unwrap_or(1).max(1);
        let (d, scale) = (c / heads, float(scale));
        let (t, s) = (q.len() / c, k.len() / c);
        let mut y = vec![0.0; q.len()];
        for (i, y) in y.chunks_exact_mut(c).enumerate() {
            for (head, y) in y.chunks_exact_mut(d.max(1)).enumerate() {
                let query = part(q, i * c + head * d, d);
                let seen = if causal == 1 {
                    (i + s + 1).saturating_sub(t)
                } else {
                    s
                };
                let key = |j: usize| scale * dot(query, part(k, j * c + head * d, d));
                let scores: Vec<f64> = (0..seen).map(key).collect();
                for (j, p) in softmax(&scores, false).into_iter().enumerate() {
                    for (y, v) in y.iter_mut().zip(part(v, j * c + head * d, d)) {
                        *y += p * v;
                    }
                }
            }
        }
        y
    }
}

/// One step: the sums of the input and those of the state with `b`, the state and the cell.
type Step = fn(&dyn Fn(usize) -> [f64; 2], &[f64], &mut [f64], &mut [f64]);

/// A memory over the rows of `x`, with weights of input and state side by side.
fn recurrent(x: &[f64], w: &[f64], b: &[f64], [i, h]: [usize; 2], step: Step) -> Vec<f64> {
    let (mut state, mut cell, mut y) = (vec![0.0; h], vec![0.0; h], Vec::new());
    for x in x.chunks_exact(i.max(1)) {
        let before = state.clone();
        let sums = |row: usize| {
            let w = part(w, row * (i + h), i + h);
            [dot(x, part(w, 0, i)), dot(&before, part(w, i, h))]
        };
        step(&sums, b, &mut state, &mut cell);
        y.extend(&state);
    }
    y
}

fn lstm(sums: &dyn Fn(usize) -> [f64; 2], b: &[f64], state: &mut [f64], cell: &mut [f64]) {
    let h = state.len();
    for (j, (state, cell)) in state.iter_mut().zip(cell).enumerate() {
        let gate = |gate: usize| {
            let row = gate * h + j;
            sums(row).iter().sum::<f64>() + b.get(row).copied().unwrap_or(0.0)
        };
        *cell = sigmoid(gate(1)) * *cell + sigmoid(gate(0)) * gate(2).tanh();
        *state = sigmoid(gate(3)) * cell.tanh();
    }
}

fn gru(sums: &dyn Fn(usize) -> [f64; 2], b: &[f64], state: &mut [f64], _: &mut [f64]) {
    let h = state.len();
    for (j, state) in state.iter_mut().enumerate() {
        let gate = |gate: usize| {
            let row = gate * h + j;
            let [x, r] = sums(row);
            let bias = |at: usize| b.get(at).copied().unwrap_or(0.0);
            [x + bias(row), r + bias(3 * h + row)]
        };
        let ([xr, rr], [xz, rz], [xn, rn]) = (gate(0), gate(1), gate(2));
        let z = sigmoid(xz + rz);
        *state = (1.0 - z) * (xn + sigmoid(xr + rr) * rn).tanh() + z * *state;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_have_their_textbook_values() {
        assert!((erf(0.5) - 0.520_499_877_813_046_5).abs() < 1e-15);
        assert!((erf(-2.0) + 0.995_322_265_018_952_7).abs() < 1e-15);
        assert_eq!(erf(0.0), 0.0);
        let at = |function: Function, x| {
            // CAST: a small number.
            Act::of(&[function.code() as i32, 0.5f32.to_bits() as i32]).apply(x)
        };
        assert!((at(Function::Gelu, 1.0) - 0.841_344_746_068_542_9).abs() < 1e-12);
        assert_eq!(at(Function::LeakyRelu, -2.0), -1.0);
        assert_eq!(at(Function::HardSwish, 1.0), 4.0 / 6.0);
        assert!((at(Function::Softplus, -40.0) - (-40f64).exp()).abs() < 1e-30);
    }

    #[test]
    fn axes_are_permuted() {
        let x = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(
            transpose(&x, &[2, 3], &[1, 0]),
            [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]
        );
        assert_eq!(transpose(&x, &[2, 3], &[0, 1]), x);
    }
}
