// SPDX-License-Identifier: GPL-2.0

//! Plans of networks of single precision with vector code, against the definitions in f64.
//!
//! Numbers stay within a few units, and what follows a norm or a similarity is not divided by less than
//! a tenth; so every element is right to within [`BOUND`] of the greatest one of the output.

mod f32_common;

use f32_common::compare::compare;
use f32_common::net::{pair, Net, Vectors, Win};
use f32_common::{sets, Random};
use neural_core::float::Function;
use neural_core::nnm::OpKind;
use neural_core::Error;
use neural_simd::Set;

/// A function that takes any number, and does not magnify errors.
fn mild(random: &mut Random) -> [i32; 2] {
    loop {
        let function = Function::ALL[random.range(0, 15)];
        if matches!(function, Function::Exp | Function::Sqrt) {
            continue;
        }
        let slope = if function.has_slope() { 0.25f32 } else { 0.0 };
        return [function.code() as i32, slope.to_bits() as i32];
    }
}

fn dense(net: &mut Net, random: &mut Random, x: u32, n: u32, act: [i32; 2]) -> u32 {
    let mut dims = net.dims(x);
    let k = *dims.last().unwrap();
    let w = net.weights(random, &[n, k], (k as f32).sqrt().recip());
    let b = net.weights(random, &[n], 1.0);
    *dims.last_mut().unwrap() = n;
    net.op(OpKind::Dense, &[x, w, b], &act, &dims)
}

/// Adds an operation that takes `x`, of a kind that is drawn.
fn grow(net: &mut Net, random: &mut Random, x: u32) -> u32 {
    let dims = net.dims(x);
    let (rank, last) = (dims.len(), *dims.last().unwrap());
    let elements: u32 = dims.iter().product();
    let of = |random: &mut Random, first: usize, last: usize| random.range(first, last) as u32;
    let small = elements <= 3000;
    let eps = 0.01f32.to_bits() as i32;
    loop {
        match random.range(0, 22) {
            0 | 1 => {
                let n = of(random, 1, if small { 70 } else { 4 });
                let act = mild(random);
                return dense(net, random, x, n, act);
            }
            2 if rank == 3 => {
                let win = Win::random(random, &dims, true);
                let [h, w] = win.out(&dims);
                let n = of(random, 1, if small { 20 } else { 2 });
                let scale = ((win.size[0] * win.size[1] * last) as f32).sqrt().recip();
                let weights = net.weights(random, &[n, win.size[0], win.size[1], last], scale);
                let b = net.weights(random, &[n], 1.0);
                let params = win.params(mild(random), win.dilation);
                return net.op(OpKind::Conv2d, &[x, weights, b], &params, &[h, w, n]);
            }
            3 if rank == 3 => {
                let win = Win::random(random, &dims, true);
                let [h, w] = win.out(&dims);
                let n = last * if small { of(random, 1, 3) } else { 1 };
                let weights = net.weights(random, &[win.size[0], win.size[1], n], 0.5);
                let b = net.weights(random, &[n], 1.0);
                let params = win.params(mild(random), win.dilation);
                let inputs = [x, weights, b];
                return net.op(OpKind::DepthwiseConv2d, &inputs, &params, &[h, w, n]);
            }
            4 | 5 if rank == 3 => {
                let win = Win::random(random, &dims, false);
                let [h, w] = win.out(&dims);
                let kind = match random.range(0, 1) {
                    0 => OpKind::AveragePool2d,
                    _ => OpKind::MaxPool2d,
                };
                let params = win.params([0, 0], win.size);
                return net.op(kind, &[x], &params, &[h, w, last]);
            }
            6 | 7 => {
                let kinds = [OpKind::Add, OpKind::Sub, OpKind::Mul];
                let part = &dims[random.range(0, rank - 1)..];
                let b = match random.range(0, 2) {
                    0 => dense(net, random, x, last, [5, 0]),
                    _ => net.weights(random, part, 1.0),
                };
                let kind = kinds[random.range(0, 2)];
                return net.op(kind, &[x, b], &mild(random), &dims);
            }
            8 if small => {
                let axis = random.range(0, rank - 1);
                let count = random.range(1, 4);
                let mut out = dims.clone();
                out[axis] *= count as u32;
                return net.op(OpKind::Concat, &[x; 4][..count], &[axis as i32], &out);
            }
            9 if small => {
                let (mut params, mut out) = ([0; 5], dims.clone());
                for i in 0..rank {
                    let both = [of(random, 0, 2), of(random, 0, 2)];
                    params[i] = pair(both);
                    out[i] += both[0] + both[1];
                }
                params[4] = random.unit().to_bits() as i32;
                return net.op(OpKind::Pad, &[x], &params, &out);
            }
            10 => {
                let mut out = vec![elements];
                while out.len() < 1 + random.range(0, 3) {
                    let n = out.pop().unwrap();
                    let factors: Vec<u32> = (1..=n.min(12)).filter(|f| n % f == 0).collect();
                    let f = factors[random.range(0, factors.len() - 1)];
                    out.extend([f, n / f]);
                }
                return net.op(OpKind::Reshape, &[x], &[], &out);
            }
            11 => {
                let mut axes: Vec<i32> = (0..rank as i32).collect();
                for i in 1..rank {
                    axes.swap(i, random.range(0, i));
                }
                let out: Vec<u32> = axes.iter().map(|&i| dims[i as usize]).collect();
                return net.op(OpKind::Transpose, &[x], &axes, &out);
            }
            12 => return net.op(OpKind::Mean, &[x], &[], &[last]),
            13 => return net.op(OpKind::Softmax, &[x], &[], &dims),
            14 => return net.op(OpKind::LogSoftmax, &[x], &[], &dims),
            15 => return net.op(OpKind::Map, &[x], &mild(random), &dims),
            16 => {
                let gamma = net.weights(random, &[last], 1.0);
                let beta = net.weights(random, &[last], 1.0);
                return net.op(OpKind::LayerNorm, &[x, gamma, beta], &[eps], &dims);
            }
            17 => {
                let gamma = net.weights(random, &[last], 1.0);
                return net.op(OpKind::RmsNorm, &[x, gamma], &[eps], &dims);
            }
            18 if rank == 2 && small => {
                let heads: Vec<u32> = (1..=last.min(8)).filter(|h| last % h == 0).collect();
                let heads = heads[random.range(0, heads.len() - 1)];
                let causal = random.range(0, 1) as i32;
                let mut k = dense(net, random, x, last, [0, 0]);
                let v = dense(net, random, x, last, [0, 0]);
                let mut values = v;
                if random.range(0, 1) == 1 {
                    // More keys than queries.
                    let more = [dims[0] * 2, last];
                    k = net.op(OpKind::Concat, &[k, v], &[0], &more);
                    values = net.op(OpKind::Concat, &[v, v], &[0], &more);
                }
                let scale = (last as f32 / heads as f32).sqrt().recip().to_bits() as i32;
                let params = [heads as i32, causal, scale];
                return net.op(OpKind::Attention, &[x, k, values], &params, &dims);
            }
            19 if rank <= 2 && small => {
                let h = of(random, 1, 40);
                let lstm = random.range(0, 1) == 1;
                let (gates, biases) = if lstm { (4, 4) } else { (3, 6) };
                let columns = last + h;
                let scale = (columns as f32).sqrt().recip();
                let w = net.weights(random, &[gates * h, columns], scale);
                let b = net.weights(random, &[biases * h], 1.0);
                if rank == 2 {
                    let kind = if lstm { OpKind::Lstm } else { OpKind::Gru };
                    return net.op(kind, &[x, w, b], &[], &[dims[0], h]);
                }
                let size = if lstm { 2 * h } else { h };
                let kinds = [OpKind::GruCell, OpKind::LstmCell];
                let s = dense(net, random, x, size, [5, 0]);
                return net.op(kinds[usize::from(lstm)], &[x, s, w, b], &[], &[size]);
            }
            20 if rank == 1 => {
                let n = of(random, 1, 40);
                let rows = match random.range(0, 1) {
                    0 => net.weights(random, &[n, last], 1.0),
                    _ if small => {
                        let all = dense(net, random, x, n * last, [0, 0]);
                        net.op(OpKind::Reshape, &[all], &[], &[n, last])
                    }
                    _ => continue,
                };
                return net.op(OpKind::Cosine, &[x, rows], &[eps], &[n]);
            }
            21 => {
                let of = |random: &mut Random, n: u32| random.range(0, n as usize - 1) as u32;
                let out: Vec<u32> = dims.iter().map(|&n| 1 + of(random, n)).collect();
                let room = dims.iter().zip(&out).map(|(n, size)| n - size + 1);
                let starts: Vec<i32> = room.map(|n| of(random, n) as i32).collect();
                return net.op(OpKind::Slice, &[x], &starts, &out);
            }
            _ => {}
        }
    }
}

fn kinds(net: &Net) -> Vec<OpKind> {
    net.ops.iter().map(|op| op.kind).collect()
}

#[test]
fn random_networks() {
    let mut random = Random::new(50);
    let mut seen: Vec<OpKind> = vec![];
    for i in 0..600 {
        let rank = 1 + i % 4;
        let dims: Vec<u32> = (0..rank)
            .map(|_| random.range(1, [80, 24, 9, 6][rank - 1]) as u32)
            .collect();
        let mut net = Net::new(&dims);
        let mut x = 0;
        for _ in 0..random.range(1, 4) {
            x = grow(&mut net, &mut random, x);
        }
        seen.extend(kinds(&net));
        let n = dims.iter().product::<u32>() as usize;
        let input = random.units(3 * n);
        for set in sets() {
            compare(set, &net, &input, &(i, &dims, kinds(&net)));
        }
    }
    seen.sort_by_key(|kind| kind.name());
    seen.dedup();
    // All but tables, forests and embeddings.
    assert_eq!(seen.len(), 25, "{seen:?}");
}

#[test]
fn every_function_behind_every_layer_that_has_one() {
    let mut random = Random::new(51);
    for function in Function::ALL {
        let slope = if function.has_slope() { -0.5f32 } else { 0.0 };
        let act = [function.code() as i32, slope.to_bits() as i32];
        // Positive weights and inputs: roots are of positive numbers.
        let mut fill = |net: &mut Net, dims: &[u32]| {
            let n = dims.iter().product::<u32>() as usize;
            let data = random.positive(n).iter().map(|x| x * 0.3 + 0.01).collect();
            net.constant(dims, data)
        };
        for kind in [
            OpKind::Map,
            OpKind::Dense,
            OpKind::Conv2d,
            OpKind::DepthwiseConv2d,
            OpKind::Add,
            OpKind::Mul,
        ] {
            let mut net = Net::new(&[3, 4, 5]);
            let params = [act[0], act[1], pair([1, 1]), pair([1, 1])];
            match kind {
                OpKind::Map => net.op(kind, &[0], &act, &[3, 4, 5]),
                OpKind::Dense => {
                    let inputs = [0, fill(&mut net, &[19, 5]), fill(&mut net, &[19])];
                    net.op(kind, &inputs, &act, &[3, 4, 19])
                }
                OpKind::Conv2d => {
                    let inputs = [0, fill(&mut net, &[6, 2, 2, 5]), fill(&mut net, &[6])];
                    net.op(kind, &inputs, &params, &[2, 3, 6])
                }
                OpKind::DepthwiseConv2d => {
                    let inputs = [0, fill(&mut net, &[2, 2, 5]), fill(&mut net, &[5])];
                    net.op(kind, &inputs, &params, &[2, 3, 5])
                }
                _ => {
                    let b = fill(&mut net, &[4, 5]);
                    net.op(kind, &[0, b], &act, &[3, 4, 5])
                }
            };
            let input = random_input(function);
            for set in sets() {
                compare(set, &net, &input, &(function, kind));
            }
        }
    }
}

/// Numbers of both signs, or positive ones for the root.
fn random_input(function: Function) -> Vec<f32> {
    let mut random = Random::new(52);
    match function {
        Function::Sqrt => random.positive(180).iter().map(|x| x + 0.01).collect(),
        _ => random.units(180).iter().map(|x| x * 4.0).collect(),
    }
}

#[test]
fn without_vector_code_there_is_no_answer() {
    let mut random = Random::new(53);
    let mut refused = 0;
    for i in 0..200 {
        let dims = [1 + i % 7, 6];
        let mut net = Net::new(&dims);
        grow(&mut net, &mut random, 0);
        let moves = |kind| {
            matches!(
                kind,
                OpKind::Concat | OpKind::Pad | OpKind::Reshape | OpKind::Transpose | OpKind::Slice
            )
        };
        let scalar = Set::select(&Default::default(), None);
        for set in [None, scalar] {
            let kernels = Vectors::new(set, u64::MAX);
            let y = net.run(&kernels, &random.units((dims[0] * 6) as usize));
            // Moving numbers takes no arithmetic.
            match kinds(&net).iter().all(|&kind| moves(kind)) {
                true => assert!(y.is_ok()),
                false => assert_eq!(y, Err(Error::NoVector), "{:?}", kinds(&net)),
            }
            refused += u32::from(y.is_err());
        }
    }
    assert!(refused > 100, "{refused}");
}

#[test]
fn no_numbers_come_to_an_end() {
    let mut random = Random::new(54);
    for i in 0..150 {
        let rank = 1 + i % 4;
        let dims: Vec<u32> = (0..rank).map(|_| random.range(1, 6) as u32).collect();
        let mut net = Net::new(&dims);
        let x = grow(&mut net, &mut random, 0);
        grow(&mut net, &mut random, x);
        let n = dims.iter().product::<u32>() as usize;
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-44] {
            let mut input = random.units(n);
            input[random.range(0, n - 1)] = bad;
            for set in sets() {
                let kernels = Vectors::new(Some(set), 1000);
                // As many as there should be, whatever they are.
                let y = net.run(&kernels, &input).unwrap();
                assert_eq!(y.len(), net.compute(&input).len());
            }
        }
    }
}
