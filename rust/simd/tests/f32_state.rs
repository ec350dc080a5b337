// SPDX-License-Identifier: GPL-2.0

//! Networks with a state that is given and given back, and N-HiTS, against their definitions in f64.

mod f32_common;

use f32_common::compare::compare;
use f32_common::dnc::Dnc;
use f32_common::net::{pair, Net, Vectors};
use f32_common::{sets, Random};
use neural_core::nnm::OpKind;

const NONE: [i32; 2] = [0, 0];
const RELU: [i32; 2] = [1, 0];

fn bits(x: f32) -> i32 {
    x.to_bits() as i32
}

/// A part of a vector.
fn part(net: &mut Net, x: u32, from: u32, n: u32) -> u32 {
    net.op(OpKind::Slice, &[x], &[from as i32], &[n])
}

fn dense(net: &mut Net, random: &mut Random, x: u32, n: u32, act: [i32; 2]) -> u32 {
    let k = net.dims(x)[0];
    let w = net.weights(random, &[n, k], (k as f32).sqrt().recip());
    let b = net.weights(random, &[n], 0.5);
    net.op(OpKind::Dense, &[x, w, b], &act, &[n])
}

#[test]
fn interpolation_to_all_lengths() {
    let mut random = Random::new(60);
    for k in 1..=24 {
        for n in (1..=40).chain([63, 64, 65, 80, 129]) {
            let rows = 1 + k % 3;
            let mut net = Net::new(&[rows, k]);
            net.op(OpKind::Interpolate, &[0], &[], &[rows, n]);
            let input = random.units((3 * rows * k) as usize);
            for set in sets() {
                compare(set, &net, &input, &(k, n));
            }
        }
    }
}

/// Blocks of Challu et al., "N-HiTS" (2022): each pools what the ones before have left, computes
/// coefficients, and interpolates them to the past that it explains and the future that it foretells.
#[test]
fn a_network_of_n_hits() {
    let (past, future, hidden) = (96, 24, 64);
    let mut random = Random::new(61);
    let mut net = Net::new(&[past]);
    let (mut rest, mut sum) = (0, None);
    for (pool, of_past, of_future) in [(8, 12, 3), (4, 24, 6), (1, 96, 24)] {
        let image = net.op(OpKind::Reshape, &[rest], &[], &[past, 1, 1]);
        let window = pair([pool, 1]);
        let pooled = [0, 0, window, window];
        let pooled = net.op(OpKind::MaxPool2d, &[image], &pooled, &[past / pool, 1, 1]);
        let pooled = net.op(OpKind::Reshape, &[pooled], &[], &[past / pool]);
        let first = dense(&mut net, &mut random, pooled, hidden, RELU);
        let second = dense(&mut net, &mut random, first, hidden, RELU);
        let theta = dense(&mut net, &mut random, second, of_past + of_future, NONE);
        let explained = part(&mut net, theta, 0, of_past);
        let foretold = part(&mut net, theta, of_past, of_future);
        let explained = net.op(OpKind::Interpolate, &[explained], &[], &[past]);
        let foretold = net.op(OpKind::Interpolate, &[foretold], &[], &[future]);
        rest = net.op(OpKind::Sub, &[rest, explained], &NONE, &[past]);
        sum = Some(match sum {
            None => foretold,
            Some(sum) => net.op(OpKind::Add, &[sum, foretold], &NONE, &[future]),
        });
    }
    net.output = sum.unwrap();
    for set in sets() {
        for _ in 0..20 {
            compare(set, &net, &random.units(3 * past as usize), &"N-HiTS");
        }
    }
}

/// A network that takes a token and a state, and gives a result and the next state.
fn attention(c: u32, heads: u32, tokens: u32) -> Net {
    let state = 2 * tokens * c + 1;
    let mut net = Net::new(&[3 * c + state]);
    let [q, k, v] = [0, 1, 2].map(|i| part(&mut net, 0, i * c, c));
    let state = part(&mut net, 0, 3 * c, state);
    let scale = bits(((c / heads) as f32).sqrt().recip());
    let out = [c + net.dims(state)[0]];
    net.op(
        OpKind::AttentionStep,
        &[q, k, v, state],
        &[heads as i32, scale],
        &out,
    );
    net
}

#[test]
fn steps_of_attention_look_at_the_last_tokens() {
    let mut random = Random::new(62);
    for (c, heads, tokens) in [(1, 1, 1), (4, 2, 3), (24, 3, 5), (32, 4, 7), (7, 1, 64)] {
        let net = attention(c, heads, tokens);
        let (width, ring) = (c as usize, tokens as usize);
        for set in sets() {
            let kernels = Vectors::new(Some(set), 1000);
            let mut state = vec![0.0; 2 * ring * width + 1];
            let mut seen: Vec<Vec<f32>> = vec![];
            for step in 0..3 * ring + 2 {
                let token = random.units(3 * width);
                let input = [&token[..], &state[..]].concat();
                compare(set, &net, &input.repeat(3), &(c, heads, tokens, step));
                let y = net.run(&kernels, &input).unwrap();
                state = y[width..].to_vec();
                // What attention over the last tokens gives, whatever the order in the ring.
                seen.push(token);
                let from = seen.len().saturating_sub(ring);
                let want = last_tokens(&seen[from..], width, heads as usize);
                for (y, want) in y.iter().zip(want) {
                    assert!((f64::from(*y) - want).abs() < 1e-5, "{step}: {y} {want}");
                }
            }
        }
    }
}

/// Attention of the last of some tokens, each of which has a query, a key and a value.
fn last_tokens(tokens: &[Vec<f32>], c: usize, heads: usize) -> Vec<f64> {
    let wide = c / heads;
    let query = &tokens[tokens.len() - 1][..c];
    let column = |i: usize| {
        let head = i / wide * wide;
        let score = |token: &Vec<f32>| {
            let products =
                (head..head + wide).map(|l| f64::from(query[l]) * f64::from(token[c + l]));
            (products.sum::<f64>() / (wide as f64).sqrt()).exp()
        };
        let sum: f64 = tokens.iter().map(score).sum();
        let values = tokens
            .iter()
            .map(|token| score(token) * f64::from(token[2 * c + i]));
        values.sum::<f64>() / sum
    };
    (0..c).map(column).collect()
}

#[test]
fn steps_of_normalisation() {
    let mut random = Random::new(65);
    for (c, range, most) in [
        (1, 0, 100),
        (7, 1, 100),
        (40, 0, 3),
        (333, 0, 100),
        (333, 1, 2),
    ] {
        let state = 2 * c + 1;
        let mut net = Net::new(&[c + state]);
        let x = part(&mut net, 0, 0, c);
        let before = part(&mut net, 0, c, state);
        let params = [range, most, bits(1e-3)];
        net.op(OpKind::Normalise, &[x, before], &params, &[c + state]);
        for set in sets() {
            let kernels = Vectors::new(Some(set), 1000);
            let mut state = vec![0.0; state as usize];
            let mut samples = vec![];
            for step in 0..8 {
                let given = random.units(c as usize);
                let input = [&given[..], &state[..]].concat();
                compare(set, &net, &input.repeat(3), &(c, range, step));
                let y = net.run(&kernels, &input).unwrap();
                state = y[c as usize..].to_vec();
                samples.push(f64::from(given[0]));
                let count = samples.len().min(most as usize);
                assert_eq!(state[2 * c as usize], count as f32);
                // What all samples together have, while all of them count.
                let mean = samples.iter().sum::<f64>() / samples.len() as f64;
                if range == 0 && samples.len() == count {
                    assert!((f64::from(state[0]) - mean).abs() < 1e-6, "{step}");
                }
            }
        }
    }
}

/// A network that takes an interface vector and a state.
fn computer(dnc: &Dnc) -> Net {
    let (interface, state) = (dnc.interface() as u32, dnc.state() as u32);
    let mut net = Net::new(&[interface + state]);
    let given = part(&mut net, 0, 0, interface);
    let before = part(&mut net, 0, interface, state);
    let sizes = [dnc.rows, dnc.width, dnc.heads].map(|n| n as i32);
    let params = [sizes[0], sizes[1], sizes[2], bits(dnc.eps as f32)];
    let out = [(dnc.heads * dnc.width) as u32 + state];
    net.op(OpKind::Dnc, &[given, before], &params, &out);
    net
}

#[test]
fn steps_of_a_differentiable_neural_computer() {
    let mut random = Random::new(64);
    let (eps, mut compared) = (f64::from(1e-6f32), 0);
    for (rows, width, heads) in [(1, 1, 1), (4, 3, 1), (7, 16, 2), (16, 5, 4), (40, 20, 3)] {
        let dnc = Dnc {
            rows,
            width,
            heads,
            eps,
        };
        let net = computer(&dnc);
        for set in sets() {
            let kernels = Vectors::new(Some(set), 1000);
            let mut state = vec![0.0; dnc.state()];
            for step in 0..16 {
                let scale = random.range(1, 4) as f32;
                let given = random.units(dnc.interface());
                let given: Vec<f32> = given.iter().map(|x| x * scale).collect();
                let input = [&given[..], &state[..]].concat();
                let next = net.compute(&input);
                if !dnc.is_close(&next[heads * width..]) {
                    compare(set, &net, &input.repeat(3), &(dnc, step));
                    compared += 1;
                }
                let y = net.run(&kernels, &input).unwrap();
                state = y[heads * width..].to_vec();
            }
        }
    }
    assert!(compared > 40 * sets().len(), "{compared}");
}

#[test]
fn positions_that_are_none_do_no_harm() {
    let net = attention(4, 2, 3);
    let mut random = Random::new(63);
    for set in sets() {
        let kernels = Vectors::new(Some(set), 1000);
        for position in [
            f32::NAN,
            -1.0,
            f32::NEG_INFINITY,
            f32::INFINITY,
            1e30,
            0.4,
            2.6,
        ] {
            let mut input = random.units(12 + 25);
            input[36] = position;
            let y = net.run(&kernels, &input).unwrap();
            assert!((1.0..=5.0).contains(&y[28]), "{position}: {}", y[28]);
        }
    }
}
