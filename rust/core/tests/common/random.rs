// SPDX-License-Identifier: GPL-2.0

//! Random networks of 8-bit codes.

#![allow(dead_code)] // Each test uses a part of it.

use neural_core::nnm::{DType, OpKind, Tensor, TensorKind};

use super::codes::trees::Trees;
use super::codes::{pair, Codes, Win, SOFTMAX_SCALE};
use super::Rng;

/// The most elements of a tensor.
const MOST: u64 = 3000;

/// A factor by which sums of about `magnitude` become codes.
fn factor(rng: &mut Rng, magnitude: f64) -> (i32, i32) {
    let mult = match rng.below(20) {
        0 => 0,
        1 => 1 << 30,
        2 => i32::MAX,
        _ => (1 << 30) | (rng.i32() & i32::MAX),
    };
    let shift = (magnitude / 60.0).log2().round() as i32 + rng.below(3) as i32 - 1;
    (mult, shift.clamp(-6, 31))
}

/// Least and greatest code.
fn limits(rng: &mut Rng) -> [i32; 2] {
    match rng.below(3) {
        0 => {
            let min = rng.below(256) as i32 - 128;
            [min, min + rng.below((128 - min) as u64) as i32]
        }
        _ => [-128, 127],
    }
}

fn zero(rng: &mut Rng) -> i32 {
    rng.pick(&[-128, -77, -1, 0, 3, 100, 127])
}

fn bytes(rng: &mut Rng, len: u32) -> Vec<u8> {
    let kind = rng.below(8);
    let byte = |_| match kind {
        0 => 0x80,
        1 => 0x7f,
        _ => rng.u64() as u8,
    };
    (0..len).map(byte).collect()
}

fn rank3(net: &Codes, x: u32) -> Option<[u32; 3]> {
    net.dims(x).try_into().ok()
}

/// A window that fits on an image.
fn window(rng: &mut Rng, image: &[u32], dilated: bool) -> Win {
    let mut win = Win::new([0; 2]);
    for (i, &image) in image.iter().enumerate().take(2) {
        win.size[i] = 1 + rng.below(4) as u32;
        win.stride[i] = 1 + rng.below(3) as u32;
        if dilated && rng.below(3) == 0 {
            win.dilation[i] = 1 + rng.below(3) as u32;
        }
        let mut covers = (win.size[i] - 1) * win.dilation[i] + 1;
        if rng.below(2) == 0 {
            win.before[i] = rng.below(covers.into()) as u32;
            win.after[i] = rng.below(covers.into()) as u32;
        }
        if image + win.before[i] + win.after[i] < covers {
            (win.dilation[i], win.before[i], win.after[i]) = (1, 0, 0);
            win.size[i] = 1 + rng.below(image.into()) as u32;
            covers = win.size[i];
        }
        assert!(image + win.before[i] + win.after[i] >= covers);
    }
    win
}

fn params(rng: &mut Rng, win: &Win, pool: bool) -> [i32; 6] {
    let [min, max] = limits(rng);
    let third = if pool { win.size } else { win.dilation };
    [
        min,
        max,
        pair(win.stride),
        pair(third),
        pair(win.before),
        pair(win.after),
    ]
}

/// Biases and factors for `n` rows whose sums have `k` products of weights.
fn rows(rng: &mut Rng, net: &mut Codes, n: u32, k: u32) -> [u32; 2] {
    let magnitude = 74.0 * 74.0 * f64::from(k).sqrt();
    let bias: Vec<i32> = (0..n)
        .map(|_| rng.i32() >> (31 - magnitude.log2() as i32))
        .collect();
    let bias = net.words(&[n], &bias);
    let factors: Vec<(i32, i32)> = (0..n).map(|_| factor(rng, magnitude)).collect();
    let mut list: Vec<i32> = factors.iter().map(|f| f.0).collect();
    list.extend(factors.iter().map(|f| f.1));
    [bias, net.words(&[2, n], &list)]
}

/// How many results a layer has: often more than a panel.
fn results(rng: &mut Rng) -> u32 {
    let most = rng.pick(&[20, 20, 20, 200]);
    1 + rng.below(most) as u32
}

/// Some way to cut elements into dimensions.
fn reshaped(rng: &mut Rng, count: u32) -> Vec<u32> {
    let mut dims = vec![count];
    for _ in 0..rng.below(4) {
        let last = *dims.last().unwrap();
        let divisors: Vec<u32> = (1..=last).filter(|d| last % d == 0).collect();
        let divisor = rng.pick(&divisors);
        *dims.last_mut().unwrap() = divisor;
        dims.push(last / divisor);
    }
    dims
}

/// Adds an operation of this kind that reads `x`, if it can.
fn add(rng: &mut Rng, net: &mut Codes, kind: OpKind, x: u32) -> Option<u32> {
    let dims = net.dims(x).to_vec();
    let (last, count) = (*dims.last().unwrap(), dims.iter().product::<u32>());
    let same = |net: &Codes, zero: i32| {
        let tensor = Tensor::new(DType::I8, TensorKind::Activation, net.dims(x));
        tensor.with_scale(zero, 1.0f32.to_bits())
    };
    let zy = zero(rng);
    let (inputs, params, y): (Vec<u32>, Vec<i32>, u32) = match kind {
        OpKind::Dense => {
            let n = results(rng);
            let data = bytes(rng, n * last);
            let w = net.codes(&[n, last], data);
            let [b, r] = rows(rng, net, n, last);
            let mut to = dims.clone();
            *to.last_mut().unwrap() = n;
            let y = net.activation(&to, zy);
            (vec![x, w, b, r], limits(rng).to_vec(), y)
        }
        OpKind::Conv2d => {
            let [_, _, c] = rank3(net, x)?;
            let win = window(rng, &dims, true);
            let n = results(rng);
            let k = win.size[0] * win.size[1] * c;
            let data = bytes(rng, n * k);
            let w = net.codes(&[n, win.size[0], win.size[1], c], data);
            let [b, r] = rows(rng, net, n, k);
            let [h, w_out] = win.out(&dims);
            let y = net.activation(&[h, w_out, n], zy);
            (vec![x, w, b, r], params(rng, &win, false).to_vec(), y)
        }
        OpKind::DepthwiseConv2d => {
            let [_, _, c] = rank3(net, x)?;
            let win = window(rng, &dims, true);
            let n = c * rng.pick(&[1, 1, 2, 3]);
            let k = win.size[0] * win.size[1];
            let data = bytes(rng, n * k);
            let w = net.codes(&[win.size[0], win.size[1], n], data);
            let [b, r] = rows(rng, net, n, k);
            let [h, w_out] = win.out(&dims);
            let y = net.activation(&[h, w_out, n], zy);
            (vec![x, w, b, r], params(rng, &win, false).to_vec(), y)
        }
        OpKind::AveragePool2d | OpKind::MaxPool2d => {
            let [_, _, c] = rank3(net, x)?;
            let win = window(rng, &dims, false);
            let [h, w] = win.out(&dims);
            let y = net.activation(&[h, w, c], zy);
            (vec![x], params(rng, &win, true).to_vec(), y)
        }
        OpKind::Add | OpKind::Sub | OpKind::Mul => {
            let fits = |b: &u32| {
                let b = &net.tensors[*b as usize];
                b.kind == TensorKind::Activation && dims.ends_with(&b.dims[..b.rank as usize])
            };
            let others: Vec<u32> = (0..x + 1).filter(fits).collect();
            let from = rng.below(dims.len() as u64) as usize;
            let (b, zb) = match rng.below(2) {
                0 => {
                    let dims = &dims[from..];
                    let data = bytes(rng, dims.iter().product());
                    (net.codes(dims, data), zero(rng))
                }
                _ => (rng.pick(&others), 0),
            };
            let list: Vec<i32> = match kind {
                OpKind::Mul => {
                    let (mult, shift) = factor(rng, 74.0 * 74.0);
                    vec![mult, shift]
                }
                _ => [0.5 * 60.0, 2.0 * 60.0, f64::from(1 << 20) * 60.0]
                    .into_iter()
                    .flat_map(|magnitude| {
                        let (mult, shift) = factor(rng, magnitude);
                        [mult, shift.max(0)]
                    })
                    .collect(),
            };
            let r = net.words(&[list.len() as u32], &list);
            let y = same(net, zy);
            let y = net.add(y, vec![]);
            let [min, max] = limits(rng);
            (vec![x, b, r], vec![min, max, zb], y)
        }
        OpKind::Concat => {
            let axis = rng.below(dims.len() as u64) as usize;
            let fits = |b: &u32| {
                let t = &net.tensors[*b as usize];
                let other = net.dims(*b);
                t.kind == TensorKind::Activation
                    && other.len() == dims.len()
                    && (0..dims.len()).all(|i| i == axis || other[i] == dims[i])
            };
            let others: Vec<u32> = (0..net.tensors.len() as u32).filter(fits).collect();
            let mut parts: Vec<u32> = (0..2 + rng.below(3)).map(|_| rng.pick(&others)).collect();
            let at = rng.below(parts.len() as u64) as usize;
            parts[at] = x;
            let mut to = dims.clone();
            to[axis] = parts.iter().map(|&part| net.dims(part)[axis]).sum();
            let y = net.activation(&to, zy);
            (parts, vec![axis as i32], y)
        }
        OpKind::Pad => {
            let mut params = [0; 5];
            let mut to = dims.clone();
            for i in 0..dims.len() {
                let sides = [rng.below(3) as u32, rng.below(3) as u32];
                params[i] = pair(sides);
                to[i] += sides[0] + sides[1];
            }
            params[4] = rng.below(256) as i32 - 128;
            let y = net.activation(&to, zy);
            (vec![x], params.to_vec(), y)
        }
        OpKind::Reshape => {
            let to = reshaped(rng, count);
            let y = net.activation(&to, zy);
            (vec![x], vec![], y)
        }
        OpKind::Transpose => {
            let mut axes: Vec<usize> = (0..dims.len()).collect();
            for i in 1..axes.len() {
                axes.swap(i, rng.below(i as u64 + 1) as usize);
            }
            let to: Vec<u32> = axes.iter().map(|&axis| dims[axis]).collect();
            let y = net.activation(&to, zy);
            (vec![x], axes.iter().map(|&axis| axis as i32).collect(), y)
        }
        OpKind::Mean => {
            let (mult, shift) = factor(rng, f64::from(count / last).sqrt() * 74.0);
            let mult = mult >> rng.below(2);
            let r = net.words(&[2], &[mult, shift]);
            let to = [1, 1, 1, last];
            let y = net.activation(&to[rng.below(4) as usize..], zy);
            (vec![x, r], vec![], y)
        }
        OpKind::Softmax => {
            let y = same(net, -128).with_scale(-128, SOFTMAX_SCALE);
            let y = net.add(y, vec![]);
            let bits = rng.below(5) as i32;
            let mult = (1 << 30) | (rng.i32() & i32::MAX);
            // Differences are at most 255: they fit when shifted.
            (vec![x], vec![mult, bits - 22, -(rng.below(256) as i32)], y)
        }
        OpKind::Lut => {
            let data = bytes(rng, 256);
            let table = net.codes(&[256], data);
            let y = same(net, zy);
            let y = net.add(y, vec![]);
            (vec![x, table], vec![], y)
        }
        OpKind::Slice => {
            let to: Vec<u32> = dims
                .iter()
                .map(|&n| 1 + rng.below(n.into()) as u32)
                .collect();
            let room = dims.iter().zip(&to).map(|(n, size)| n - size + 1);
            let starts = room.map(|room| rng.below(room.into()) as i32).collect();
            let y = net.activation(&to, zy);
            (vec![x], starts, y)
        }
        OpKind::Forest => {
            let n = 1 + rng.below(5) as u32;
            let size = (1 + rng.below(6), rng.below(6) as u32);
            let trees = Trees::random(
                &mut |most| rng.below(most),
                (last, n as usize),
                size,
                &|word| (word % 260) as i32 - 130,
                &|word| word as i32 >> 12,
            );
            let nodes = net.words(&[trees.nodes.len() as u32, 4], &trees.words());
            let roots = net.words(&[trees.roots.len() as u32], &trees.roots);
            let leaves = net.words(&[trees.leaves.len() as u32 / n, n], &trees.leaves);
            let (mult, shift) = factor(rng, f64::from(1 << 20));
            let mut to = dims.clone();
            *to.last_mut().unwrap() = n;
            let y = net.activation(&to, zy);
            (
                vec![x, nodes, roots, leaves],
                vec![0, mult, shift.max(0)],
                y,
            )
        }
        OpKind::Embedding => {
            if dims.len() == 4 {
                return None;
            }
            let (rows, n) = (1 + rng.below(300) as u32, 1 + rng.below(5) as u32);
            let data = bytes(rng, rows * n);
            let table = net.codes(&[rows, n], data);
            let y = net.activation(&[&dims[..], &[n]].concat(), zy);
            (vec![x, table], vec![], y)
        }
        other => unreachable!("{} has no codes", other.name()),
    };
    if net
        .dims(y)
        .iter()
        .map(|&dim| u64::from(dim))
        .product::<u64>()
        > MOST
    {
        return None;
    }
    Some(net.op(kind, &inputs, &params, y))
}

pub(crate) const KINDS: [OpKind; 18] = [
    OpKind::Dense,
    OpKind::Conv2d,
    OpKind::DepthwiseConv2d,
    OpKind::AveragePool2d,
    OpKind::MaxPool2d,
    OpKind::Add,
    OpKind::Sub,
    OpKind::Mul,
    OpKind::Concat,
    OpKind::Pad,
    OpKind::Reshape,
    OpKind::Transpose,
    OpKind::Mean,
    OpKind::Softmax,
    OpKind::Lut,
    OpKind::Slice,
    OpKind::Forest,
    OpKind::Embedding,
];

/// A network of up to `most` operations; any of its results may be the output.
pub(crate) fn random(rng: &mut Rng, most: u64) -> Codes {
    let rank = rng.pick(&[1, 2, 3, 3, 3, 3, 4]);
    let dims: Vec<u32> = match rank {
        3 => vec![
            1 + rng.below(9) as u32,
            1 + rng.below(9) as u32,
            rng.pick(&[1, 2, 3, 4, 5, 16, 17, 33]),
        ],
        _ => (0..rank).map(|_| 1 + rng.below(9) as u32).collect(),
    };
    let mut net = Codes::new(&dims, zero(rng));
    let mut results = vec![0];
    let mut left = 1 + rng.below(most);
    while left > 0 {
        let newest = *results.last().unwrap();
        let x = if rng.below(4) == 0 {
            rng.pick(&results)
        } else {
            newest
        };
        let kind = rng.pick(&KINDS);
        let before = net.clone();
        match add(rng, &mut net, kind, x) {
            Some(y) => {
                results.push(y);
                left -= 1;
            }
            None => net = before,
        }
    }
    if rng.below(2) == 0 {
        net.output = rng.pick(&results[1..]);
    }
    net
}

/// Dense layers one after the other, some with a table, sometimes with something else behind them; sometimes what is in
/// between is read again, or is the output.
pub(crate) fn chain(rng: &mut Rng) -> Codes {
    let mut net = Codes::new(&[1 + rng.below(100) as u32], zero(rng));
    let mut results = vec![0];
    for _ in 0..1 + rng.below(20) {
        let newest = *results.last().unwrap();
        let x = match rng.below(16) {
            0 => rng.pick(&results),
            _ => newest,
        };
        results.extend(add(rng, &mut net, OpKind::Dense, x));
        if rng.below(4) == 0 {
            let x = *results.last().unwrap();
            results.extend(add(rng, &mut net, OpKind::Lut, x));
        }
    }
    if rng.below(3) == 0 {
        let kind = rng.pick(&[OpKind::Mul, OpKind::Lut, OpKind::Concat]);
        let x = *results.last().unwrap();
        add(rng, &mut net, kind, x);
    }
    if rng.below(4) == 0 {
        net.output = rng.pick(&results[1..]);
    }
    net
}
