// SPDX-License-Identifier: GPL-2.0

//! What descriptors say of themselves, and what emission does with room and exits.

mod common;

use std::collections::HashSet;

use common::{Kind, Network, Random};
use neural_jit::{check, emit, Descriptor, EmitError, Exit, GemmF32, Isa, Limit};

fn name(descriptor: &Descriptor<'_>) -> String {
    let mut name = String::new();
    descriptor.name(&mut name).unwrap();
    name
}

#[test]
fn names_say_what_it_is() {
    let network = Network::random(&mut Random(1), &[64, 128, 8], Kind::Usual, false);
    assert_eq!(name(&network.descriptor()), "chain_i8 64x128x8");
    let gemm = GemmF32 {
        positions: 3,
        n: 5,
        k: 4,
        x_row: 16,
        y_row: 20,
        limit: Limit::Zero,
    };
    assert_eq!(name(&Descriptor::GemmF32(gemm)), "gemm_f32 3x4x5");
    let cosine = Descriptor::CosineF32 {
        rows: 256,
        n: 64,
        eps: 0,
    };
    assert_eq!(name(&cosine), "cosine_f32 256x64");
}

#[test]
fn keys_differ_where_descriptors_do() {
    let mut random = Random(2);
    let network = Network::random(&mut random, &[20, 30, 4], Kind::Usual, false);
    let descriptor = network.descriptor();
    assert_eq!(descriptor.key(), network.descriptor().key());
    let mut keys = HashSet::from([descriptor.key()]);
    let Descriptor::ChainI8 {
        layers,
        facts,
        flip,
    } = descriptor
    else {
        panic!();
    };
    let mut others = 0;
    for bit in 0..layers.len() * 8 {
        let mut layers = layers.to_vec();
        layers[bit / 8] ^= 1 << (bit % 8);
        let layers = &layers[..];
        let other = Descriptor::ChainI8 {
            layers,
            facts,
            flip,
        };
        assert_ne!(other, descriptor);
        keys.insert(other.key());
        others += 1;
    }
    for (i, left) in [(0, true), (1, false), (1, true)] {
        let mut facts = facts;
        facts[i].left ^= left;
        facts[i].narrow ^= !left;
        let flip = !flip;
        let other = Descriptor::ChainI8 {
            layers,
            facts,
            flip,
        };
        keys.insert(other.key());
        others += 1;
    }
    assert_eq!(keys.len(), others + 1);
}

#[test]
fn constants_that_miss_the_weights_make_no_descriptor() {
    let network = Network::random(&mut Random(3), &[20, 30, 4], Kind::Usual, false);
    let (layers, weights) = (&network.layers, &network.weights);
    assert!(Descriptor::chain_i8(layers, weights, false).is_some());
    let less = &weights[..weights.len() - 1];
    assert!(Descriptor::chain_i8(layers, less, false).is_none());
    assert!(Descriptor::chain_i8(&layers[..64], weights, false).is_some());
    assert!(Descriptor::chain_i8(&layers[..63], weights, false).is_none());
    assert!(Descriptor::chain_i8(&[], weights, false).is_none());
    // Layers that do not fit each other.
    let twice = [&layers[..64], &layers[..64]].concat();
    assert!(Descriptor::chain_i8(&twice, weights, false).is_none());
}

#[test]
fn what_does_not_fit_is_not_written() {
    let network = Network::random(&mut Random(4), &[9, 5, 4], Kind::Any, true);
    for isa in Isa::ALL {
        let mut code = vec![0; 1 << 14];
        let len = emit(&network.descriptor(), isa, Exit::Ret, &mut code).unwrap();
        for less in 0..len {
            let mut code = vec![0; less];
            let got = emit(&network.descriptor(), isa, Exit::Ret, &mut code);
            assert_eq!(got, Err(EmitError::Full));
        }
        let mut code = vec![0; len];
        assert_eq!(
            emit(&network.descriptor(), isa, Exit::Ret, &mut code),
            Ok(len)
        );
    }
}

#[test]
fn the_distance_of_the_thunk_changes_nothing_but_the_jump() {
    let network = Network::random(&mut Random(5), &[9, 5, 4], Kind::Usual, false);
    let far = [
        0,
        -1,
        1 << 30,
        i64::from(i32::MIN) + 4096,
        i64::from(i32::MAX),
    ];
    let code = |distance: i64| {
        let mut code = vec![0; 1 << 14];
        let exit = Exit::Thunk { distance };
        let len = emit(&network.descriptor(), Isa::Avx2, exit, &mut code)?;
        assert!(check(&code[..len], exit).is_ok());
        let other = Exit::Thunk {
            distance: distance ^ 1,
        };
        assert!(check(&code[..len], other).is_err() && check(&code[..len], Exit::Ret).is_err());
        Ok::<_, EmitError>(code[..len - 4].to_vec())
    };
    let first = code(0).unwrap();
    for distance in far {
        assert_eq!(code(distance).as_ref(), Ok(&first));
    }
    assert_eq!(code(1 << 40), Err(EmitError::Distance));
}
