// SPDX-License-Identifier: GPL-2.0

//! Chains of dense layers in one call, against their layers one by one.

mod f32_common;

use f32_common::{act, sets, Buf, Random};
use neural_core::float::{self, Chain, ChainLayer, Function, Gemm};
use neural_core::int8::SLACK;
use neural_simd::Set;

/// Layers of these sizes with random weights, and functions from this one on.
fn compare(set: &Set, random: &mut Random, sizes: &[usize], first: usize) {
    let before = random.range(0, 3);
    let mut weights = random.units(before);
    let mut layers = vec![];
    for (i, size) in sizes.windows(2).enumerate() {
        let (k, n) = (size[0], size[1]);
        let bytes: Vec<u8> = random
            .units(n * k)
            .iter()
            .flat_map(|w| (w / (k as f32).sqrt()).to_le_bytes())
            .collect();
        let mut packed = vec![0; float::packed_gemm_bytes(n, 1, k).unwrap()];
        float::pack_gemm(&bytes, n, k, &mut packed);
        let w = weights.len() as u32 * 4;
        let numbers = packed.chunks_exact(4);
        weights.extend(numbers.map(|b| f32::from_le_bytes(b.try_into().unwrap())));
        let bias = weights.len() as u32 * 4;
        let mut list = random.units(n);
        list.resize(n.next_multiple_of(16), 0.0);
        weights.extend(list);
        layers.push(ChainLayer {
            k: k as u32,
            n: n as u32,
            w,
            bias,
            by_row: float::by_row(n, k).into(),
            function: Function::ALL[(first + i) % 13].code(),
            slope: 0.125f32.to_bits(),
            reserved: 0,
        });
    }
    let written: Vec<u8> = layers
        .iter()
        .flat_map(|l| {
            [
                l.k, l.n, l.w, l.bias, l.by_row, l.function, l.slope, l.reserved,
            ]
        })
        .flat_map(u32::to_le_bytes)
        .collect();
    let widest = sizes.iter().max().unwrap().next_multiple_of(16);
    let width = widest * 4 + SLACK;

    let x = random.units(sizes[0]);
    let mut expected = x.clone();
    for layer in &layers {
        let from = Buf::new(&expected, 0);
        let n = layer.n as usize;
        let mut y = vec![0xff; n * 4];
        let bytes: Vec<u8> = weights.iter().flat_map(|w| w.to_le_bytes()).collect();
        assert!(set.gemm_f32(&mut Gemm {
            x: from.bytes(),
            x_row: 0,
            x_outer: 0,
            y: &mut y,
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
            n,
            k: layer.k as usize,
            offsets: &[0; 4],
            w: &bytes[layer.w as usize..],
            by_row: layer.by_row == 1,
            bias: &bytes[layer.bias as usize..],
            act: act(Function::from_code(layer.function).unwrap(), 0.125),
        }));
        expected = y
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect();
    }

    let shift = random.range(0, 3);
    let (bx, bw) = (Buf::new(&x, shift), Buf::new(&weights, shift));
    let mut by = Buf::new(&random.units(expected.len()), shift);
    let mut temp = Buf::new(&vec![f32::NAN; width / 2], shift);
    assert!(
        set.chain_f32(&mut Chain {
            layers: &written,
            weights: bw.bytes(),
            x: bx.bytes(),
            y: by.bytes_mut(),
            temp: temp.bytes_mut(),
            width,
        }),
        "{sizes:?}"
    );
    temp.get();
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(
        bits(&by.get()),
        bits(&expected),
        "{:?} {sizes:?} {first}",
        set.isa()
    );
}

#[test]
fn a_chain_in_one_call_gives_what_its_layers_give() {
    let mut random = Random::new(40);
    for set in sets() {
        for i in 0..1500 {
            let most = [8, 20, 150][i % 3];
            let sizes: Vec<usize> = (0..2 + i % 4).map(|_| random.range(1, most)).collect();
            compare(&set, &mut random, &sizes, i);
        }
    }
}

#[test]
fn layers_of_all_widths_and_lengths() {
    let mut random = Random::new(41);
    for set in sets() {
        for n in 1..=200 {
            compare(&set, &mut random, &[n, 201 - n, n], n);
        }
    }
}
