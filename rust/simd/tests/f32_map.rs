// SPDX-License-Identifier: GPL-2.0

//! Functions of every element: how far from the truth over all exponents, all lengths, and what
//! becomes of numbers that are none. `cargo test --release -p neural_simd --test f32_map -- --nocapture`
//! prints the greatest errors.

mod f32_common;

use f32_common::{act, function, near, sets, Buf, Random};
use neural_core::float::{Function, Map};
use neural_simd::Set;

const SLOPE: f32 = 0.125;

fn map(set: &Set, code: Function, x: &[f32]) -> Vec<f32> {
    let mut y = Buf::new(&vec![0.0; x.len()], 0);
    let x = Buf::new(x, 0);
    assert!(set.map_f32(&mut Map {
        x: x.bytes(),
        y: y.bytes_mut(),
        act: act(code, SLOPE),
    }));
    y.get()
}

/// Greatest relative error, and where smaller numbers end for which it is relative to that end.
fn bound(code: Function, x: f32) -> (f64, f64) {
    let normal = f64::from(f32::MIN_POSITIVE);
    match code {
        Function::Exp => (1.0e-7, normal),
        Function::Sigmoid => (1.9e-7, normal),
        Function::Tanh => (2.6e-7, normal),
        Function::Gelu => (1.0e-6, normal),
        Function::GeluTanh if x > -3.0 => (9.5e-7, 1e-36),
        Function::GeluTanh => (1.4e-5, 1e-36),
        Function::Silu => (2.6e-7, 1e-36),
        Function::Elu => (2.5e-7, normal),
        Function::Softplus => (3.0e-7, normal),
        Function::HardSwish | Function::HardSigmoid => (2.5e-7, 1.0),
        Function::Sqrt | Function::LeakyRelu => (6.0e-8, normal),
        _ => (0.0, normal),
    }
}

#[test]
fn errors_are_within_bounds_for_all_exponents() {
    // Every 2039th of all numbers, and more of those where functions bend.
    let mut x: Vec<f32> = (0..=u32::MAX)
        .step_by(2039)
        .map(f32::from_bits)
        .filter(|x| x.is_finite())
        .collect();
    x.extend((-300_000..300_000).map(|i| i as f32 / 2503.0));
    for set in sets() {
        for code in Function::ALL {
            let y = map(&set, code, &x);
            let mut worst = (0.0, 0.0, 0.0f32, 0.0f32, 0.0);
            for (&x, &y) in x.iter().zip(&y) {
                let expected = function(code, f64::from(SLOPE), f64::from(x));
                let (relative, least) = bound(code, x);
                if expected.is_nan() || expected.abs() > f64::from(f32::MAX) {
                    let same = if expected.is_nan() {
                        y.is_nan()
                    } else {
                        y.is_infinite()
                    };
                    assert!(same, "{:?} {code:?} of {x:e}: {y:e}", set.isa());
                    continue;
                }
                let off = (f64::from(y) - expected).abs() / expected.abs().max(least);
                // In units of the bound, as it differs between inputs.
                let share = if off == 0.0 { 0.0 } else { off / relative };
                if share > worst.0 || share.is_nan() {
                    worst = (share, off, x, y, expected);
                }
            }
            let (share, off, x, y, expected) = worst;
            println!("{:?} {code:?}: {off:.2e} at {x:e}", set.isa());
            assert!(
                share <= 1.0,
                "{code:?} of {x:e}: {y:e} instead of {expected:e}"
            );
        }
    }
}

#[test]
fn every_length_gives_the_same() {
    let mut random = Random::new(1);
    let x: Vec<f32> = random.units(512).iter().map(|x| x * 20.0).collect();
    for set in sets() {
        for code in Function::ALL {
            let all = map(&set, code, &x);
            for n in 0..=512 {
                let shift = [0, 1, 3, 66][n % 4];
                let mut y = Buf::new(&x[..n], shift);
                assert!(set.map_f32(&mut Map {
                    x: Buf::new(&x[..n], shift).bytes(),
                    y: y.bytes_mut(),
                    act: act(code, SLOPE),
                }));
                let y = y.get();
                for i in 0..n {
                    let same = y[i].to_bits() == all[i].to_bits() || y[i].is_nan();
                    assert!(same, "{:?} {code:?} length {n} element {i}", set.isa());
                }
            }
        }
    }
}

#[test]
fn infinities_and_nan_are_as_documented() {
    let inf = f32::INFINITY;
    let nan = f32::NAN;
    // What becomes of minus infinity and of infinity.
    let limits = [
        (Function::None, -inf, inf),
        (Function::Relu, 0.0, inf),
        (Function::Relu6, 0.0, 6.0),
        (Function::LeakyRelu, -inf, inf),
        (Function::Sigmoid, 0.0, 1.0),
        (Function::Tanh, -1.0, 1.0),
        (Function::Gelu, nan, inf),
        (Function::GeluTanh, nan, inf),
        (Function::HardSwish, nan, inf),
        (Function::Silu, nan, inf),
        (Function::HardSigmoid, 0.0, 1.0),
        (Function::Elu, -SLOPE, inf),
        (Function::Softplus, 0.0, inf),
        (Function::Exp, 0.0, inf),
        (Function::Sqrt, nan, inf),
        (Function::Abs, inf, inf),
    ];
    assert_eq!(limits.len(), Function::ALL.len());
    for set in sets() {
        for (code, low, high) in limits {
            let y = map(&set, code, &[-inf, inf, nan, -nan]);
            let what = (set.isa(), code);
            near(y[0], low.into(), 0.0, &what);
            near(y[1], high.into(), 0.0, &what);
            assert!(y[2].is_nan() && y[3].is_nan(), "{what:?}");
        }
    }
}

#[test]
fn denormal_results_are_gradual() {
    for set in sets() {
        for x in [-87.5f32, -90.0, -100.0, -103.0, -103.9, -104.0] {
            let y = map(&set, Function::Exp, &[x])[0];
            let least = f64::from(f32::from_bits(1));
            near(y, f64::from(x).exp(), 0.51 * least, &x);
        }
    }
}
