// SPDX-License-Identifier: GPL-2.0

//! Fixed-point numbers and activations against exact arithmetic and `f64`.

mod common;

use common::{bytes, numbers, Rng};
use neural_core::act::{exp, leaky_relu, relu, sigmoid, softmax, tanh, Activation};
use neural_core::fixed::{from_int, mul, round_acc, saturate, ONE};

/// The error that is allowed: 2^-14.
const TOLERANCE: f64 = 1.0 / 16384.0;

/// The error that the functions have, with a margin of a hundredth: 0.6 units of 2^-16.
const TIGHT: f64 = 0.6 / 65536.0;

fn real(x: i32) -> f64 {
    f64::from(x) / 65536.0
}

#[test]
fn rounding_is_to_nearest_and_saturates() {
    let reference = |acc: i64| {
        let exact = (i128::from(acc) + (1 << 15)).div_euclid(1 << 16);
        exact.clamp(i32::MIN.into(), i32::MAX.into()) as i32
    };
    let edges = [
        0i64,
        1 << 15,
        1 << 16,
        1 << 31,
        1 << 46,
        1 << 47,
        1 << 48,
        i64::MAX,
        i64::MIN,
    ];
    for edge in edges {
        for sign in [1, -1] {
            for delta in -2..=2i64 {
                let acc = edge.wrapping_mul(sign).wrapping_add(delta);
                assert_eq!(round_acc(acc), reference(acc), "{acc}");
            }
        }
    }
    let mut rng = Rng::new();
    for _ in 0..100_000 {
        let acc = rng.u64() as i64 >> rng.below(64);
        assert_eq!(round_acc(acc), reference(acc), "{acc}");
    }
}

#[test]
fn saturation_keeps_what_fits() {
    for (wide, narrow) in [
        (0, 0),
        (i64::MAX, i32::MAX),
        (i64::MIN, i32::MIN),
        (i64::from(i32::MAX), i32::MAX),
        (i64::from(i32::MAX) + 1, i32::MAX),
        (i64::from(i32::MIN), i32::MIN),
        (i64::from(i32::MIN) - 1, i32::MIN),
    ] {
        assert_eq!(saturate(wide), narrow);
    }
    assert_eq!([from_int(1), from_int(-32768)], [ONE, i32::MIN]);
    assert_eq!([from_int(32767), from_int(32768)], [32767 << 16, i32::MAX]);
    assert_eq!(from_int(i32::MIN), i32::MIN);
}

#[test]
fn products_are_rounded() {
    assert_eq!(mul(ONE, ONE), ONE);
    assert_eq!(mul(3, ONE / 2), 2); // 1.5 units: halves upwards
    assert_eq!(mul(-3, ONE / 2), -1);
    assert_eq!(mul(i32::MIN, i32::MIN), i32::MAX);
    assert_eq!(mul(i32::MIN, i32::MAX), i32::MIN);
    let mut rng = Rng::new();
    for _ in 0..100_000 {
        let (a, b) = (rng.wild(), rng.wild());
        let exact = (i128::from(a) * i128::from(b) + (1 << 15)).div_euclid(1 << 16);
        assert_eq!(
            i128::from(mul(a, b)),
            exact.clamp(i32::MIN.into(), i32::MAX.into()),
            "{a} {b}"
        );
    }
}

/// Compares a function with `f64` on every number in `from..=to`, and checks that it never falls.
fn exhaustive(name: &str, f: fn(i32) -> i32, exact: fn(f64) -> f64, from: i32, to: i32) {
    let mut worst = (0.0, 0);
    let mut last = i32::MIN;
    for x in from..=to {
        let y = f(x);
        assert!(y >= last, "{name}({x}) falls");
        last = y;
        let error = (real(y) - exact(real(x))).abs();
        if error > worst.0 {
            worst = (error, x);
        }
    }
    let units = worst.0 * 65536.0;
    println!(
        "{name}: {} points, worst error {units:.4} units of 2^-16 at {}",
        to - from + 1,
        worst.1
    );
    assert!(
        worst.0 <= TIGHT && TIGHT < TOLERANCE,
        "{name}({}): {units} units",
        worst.1
    );
}

/// Compares a function with `f64` on a grid over all of `i32`, with both ends, and around `edges`.
fn everywhere(name: &str, f: fn(i32) -> i32, exact: fn(f64) -> f64, edges: &[i32]) {
    let grid = (i64::from(i32::MIN)..=i64::from(i32::MAX))
        .step_by(1021)
        .map(|x| x as i32);
    let around = edges
        .iter()
        .flat_map(|&edge| edge.saturating_sub(3)..=edge.saturating_add(3));
    for x in grid
        .chain(around)
        .chain([i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX])
    {
        let error = (real(f(x)) - exact(real(x))).abs();
        assert!(error <= TIGHT, "{name}({x}) = {}", f(x));
    }
    let mut last = i32::MIN;
    for x in (i64::from(i32::MIN)..=i64::from(i32::MAX)).step_by(4093) {
        let y = f(x as i32);
        assert!(y >= last, "{name}({x}) falls");
        last = y;
    }
}

/// `exp` as it is after saturation.
fn saturated_exp(x: f64) -> f64 {
    x.exp().min(real(i32::MAX))
}

#[test]
fn exp_is_exact_to_0_6_units() {
    // Below -12 it is 0 (0.40 units), above 10.4 it is i32::MAX.
    exhaustive("exp", exp, saturated_exp, -13 << 16, 11 << 16);
    everywhere("exp", exp, saturated_exp, &[-12 << 16, 681_391, -1 << 31]);
    assert_eq!([exp(0), exp(i32::MIN), exp(i32::MAX)], [ONE, 0, i32::MAX]);
    assert_eq!(
        [exp(681_391) < i32::MAX, exp(681_392) == i32::MAX],
        [true, true]
    );
}

#[test]
fn sigmoid_is_exact_to_0_6_units() {
    let exact = |x: f64| 1.0 / (1.0 + (-x).exp());
    exhaustive("sigmoid", sigmoid, exact, -13 << 16, 13 << 16);
    everywhere("sigmoid", sigmoid, exact, &[-12 << 16, 12 << 16]);
    assert_eq!(
        [sigmoid(0), sigmoid(i32::MIN), sigmoid(i32::MAX)],
        [ONE / 2, 0, ONE]
    );
    for x in 0..13 << 16 {
        assert_eq!(sigmoid(x) + sigmoid(-x), ONE);
    }
}

#[test]
fn tanh_is_exact_to_0_6_units() {
    exhaustive("tanh", tanh, f64::tanh, -7 << 16, 7 << 16);
    everywhere("tanh", tanh, f64::tanh, &[-13 << 15, 13 << 15]);
    assert_eq!([tanh(0), tanh(i32::MIN), tanh(i32::MAX)], [0, -ONE, ONE]);
    for x in 0..7 << 16 {
        assert_eq!(tanh(x), -tanh(-x));
    }
}

#[test]
fn relu_and_leaky_relu_at_their_bends() {
    for x in [i32::MIN, -1, 0, 1, i32::MAX] {
        assert_eq!(relu(x), x.max(0));
        assert_eq!(leaky_relu(x, 0), x.max(0));
        assert_eq!(leaky_relu(x, ONE), x);
    }
    assert_eq!(leaky_relu(-ONE, ONE / 8), -ONE / 8);
    assert_eq!(leaky_relu(i32::MIN, i32::MIN), i32::MAX);
    assert_eq!(leaky_relu(i32::MIN, i32::MAX), i32::MIN);
}

#[test]
fn activations_apply_to_every_element() {
    let mut rng = Rng::new();
    let slope = rng.wild();
    let all = [
        Activation::Linear,
        Activation::Relu,
        Activation::LeakyRelu { slope },
        Activation::Sigmoid,
        Activation::Tanh,
    ];
    for activation in all {
        assert!(activation.is_elementwise());
        assert_eq!(
            Activation::from_code(activation.code(), slope),
            Some(activation)
        );
        for n in 0..20 {
            let x: Vec<i32> = (0..n).map(|_| rng.wild()).collect();
            let mut y = bytes(&x);
            activation.apply(&mut y);
            let one = |&x: &i32| match activation {
                Activation::Relu => relu(x),
                Activation::LeakyRelu { slope } => leaky_relu(x, slope),
                Activation::Sigmoid => sigmoid(x),
                Activation::Tanh => tanh(x),
                _ => x,
            };
            assert_eq!(
                numbers(&y),
                x.iter().map(one).collect::<Vec<_>>(),
                "{}",
                activation.name()
            );
        }
    }
    assert_eq!(Activation::from_code(6, 0), None);
}

/// Checks a softmax against `f64`: sum, error, order.
fn check_softmax(x: &[i32]) {
    let mut y = bytes(x);
    softmax(&mut y);
    let y = numbers(&y);
    assert_eq!(
        y.iter().map(|&y| i64::from(y)).sum::<i64>(),
        i64::from(ONE),
        "{x:?}"
    );

    let max = *x.iter().max().unwrap();
    let e: Vec<f64> = x
        .iter()
        .map(|&x| ((f64::from(x) - f64::from(max)) / 65536.0).exp())
        .collect();
    let sum: f64 = e.iter().sum();
    for (y, e) in y.iter().zip(&e) {
        let units = (f64::from(*y) - e / sum * 65536.0).abs();
        assert!(units <= 1.001, "{units} units in {x:?}");
    }
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by_key(|&i| x[i]);
    for pair in order.windows(2) {
        let [low, high] = [pair[0], pair[1]];
        // Probabilities far below a unit are equal for softmax, however different their inputs.
        let equal = x[low] == x[high] || e[high] / sum < 1.0 / 65536.0;
        assert!(
            equal || y[low] <= y[high],
            "{} of {} in {x:?}",
            y[low],
            y[high]
        );
    }
    let best = y.iter().max().unwrap();
    assert!(
        (0..x.len()).any(|i| x[i] == max && y[i] == *best),
        "another class in {x:?}"
    );
}

#[test]
fn softmax_sums_to_one_and_keeps_the_order() {
    softmax(&mut []);
    for n in [1, 2, 3, 7, 10, 16, 100, 1000, 3000, 4095, 4096] {
        check_softmax(&vec![0; n]);
        check_softmax(&vec![i32::MIN; n]);
        check_softmax(&vec![i32::MAX; n]);
        let mut steps: Vec<i32> = (0..n as i32).collect();
        check_softmax(&steps);
        steps.reverse();
        check_softmax(&steps);
        let mut one_hot = vec![i32::MIN; n];
        one_hot[n / 2] = i32::MAX;
        check_softmax(&one_hot);
        one_hot[n / 2] = i32::MIN + 1;
        check_softmax(&one_hot);
    }
    let mut rng = Rng::new();
    for round in 0..20_000 {
        let n = 1 + if round % 100 == 0 {
            rng.below(4096)
        } else {
            rng.below(30)
        };
        let (shift, spread) = (rng.wild(), rng.below(32));
        let x: Vec<i32> = (0..n)
            .map(|_| shift.saturating_add((rng.i32() >> spread) & !(rng.i32() & 3)))
            .collect();
        check_softmax(&x);
    }
}
