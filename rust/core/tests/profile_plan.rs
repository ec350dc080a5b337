// SPDX-License-Identifier: GPL-2.0

//! What is counted at which place of a plan.

#[path = "common/codes.rs"]
mod codes;
mod common;
#[allow(dead_code)]
#[path = "common/lstm.rs"]
mod lstm;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "common/random.rs"]
mod random;

use common::{Loaded, Rng};
use neural_core::act::Activation;
use neural_core::nnm::OpKind;
use neural_core::profile::{Key, Site};

fn title(site: &Site) -> String {
    let Key {
        op, dtype, dims, ..
    } = site.key();
    format!("{} {} {dims}", op.name(), dtype.name())
}

/// What is counted at each place of the plan of a file, the chain left out.
fn titles(file: &[u8]) -> Vec<String> {
    let net = Loaded::new(file);
    let mut titles = vec![];
    for (place, step) in net.steps.iter().enumerate() {
        if let Some(site) = net.plan.site(&net.steps, place, 7) {
            assert_eq!(site.key().network, 7);
            titles.push(title(&site));
        } else {
            // Counted at the place behind it, which is one where something is done.
            let next = net.steps.get(place + 1);
            let next = next.is_some_and(|step| step.is_copy() && !step.is_in_place());
            assert!(next || step.is_copy(), "{place}");
        }
    }
    let operations = net.steps.iter().filter(|step| !step.is_copy()).count();
    assert_eq!(titles.len(), operations);
    titles
}

#[test]
fn operations_are_told_apart_by_what_they_do_and_their_sizes() {
    let want = [
        "GEMM f32 2x3x4",
        "CONV f32 4x3x8",
        "CONV f32 4x4x4",
        "VECTOR f32 4x2x4",
        "VECTOR f32 4x2x4",
        "VECTOR f32 8",
        "VECTOR f32 8",
        "VECTOR f32 8",
        "COPY f32 16",
        "COPY f32 18",
        "COPY f32 8",
        "COPY f32 8",
        "VECTOR f32 2x4",
        "ACTIVATION f32 2x4",
        "ACTIVATION f32 2x4",
        "ACTIVATION f32 8",
        "ACTIVATION f32 2x4",
        "ACTIVATION f32 2x4",
        "ATTENTION f32 2x2x3x2",
        "LSTM_GATES f32 2x2x6",
        "LSTM_GATES f32 2x6",
        "GRU_GATES f32 2x2x6",
        "GRU_GATES f32 2x6",
        "COSINE_SIM f32 3x4",
        "VECTOR f32 2x7x4",
        "ATTENTION f32 2x1x3x2",
        "DNC_MEMORY f32 3x2",
        "ACTIVATION f32 4",
        "COPY f32 2",
        "COPY f32 16",
    ];
    let nets = numbers::all();
    assert_eq!(nets.len(), want.len());
    for (net, want) in nets.iter().zip(want) {
        assert_eq!(titles(&net.file()).last().unwrap(), want);
    }
    let mut rng = Rng::seeded(1);
    let mut net = common::Net::new(64);
    let hidden = net.random_dense(&mut rng, 0, 128, Activation::Relu);
    net.random_dense(&mut rng, hidden, 10, Activation::Linear);
    assert_eq!(titles(&net.file()), ["GEMV q16 128x64", "GEMV q16 10x128"]);
    let net = lstm::Net::random(&mut rng, [9, 20, 30]);
    let file = net.file(&net.r).unwrap();
    let (t, i, n) = (net.t, net.i, net.n);
    assert!(t > 1);
    assert_eq!(titles(&file), [format!("LSTM_GATES i8 {t}x{n}x{}", i + n)]);
}

#[test]
fn a_chain_is_counted_as_all_of_its_layers() {
    let mut rng = Rng::new();
    let (mut short, mut long) = (0, 0);
    for _ in 0..300 {
        let net = Loaded::new(&random::chain(&mut rng).file());
        let (plan, steps) = (&net.plan, &net.steps);
        let Some(site) = plan.site(steps, plan.chain_place(), 0) else {
            assert_eq!(plan.chain_steps(), 0);
            continue;
        };
        let layers = || steps[..plan.chain_steps()].iter();
        let layers = || layers().filter(|step| step.kind() == OpKind::Dense);
        let mut sizes: Vec<u32> = vec![layers().next().unwrap().inputs()];
        sizes.extend(layers().map(|step| step.outputs()));
        let text: Vec<String> = sizes.iter().map(u32::to_string).collect();
        let dims = match text.as_slice() {
            [a, b, c, .., d] if text.len() > 4 => {
                long += 1;
                format!("{a}x{b}x{c}x..x{d}")
            }
            all => {
                short += 1;
                all.join("x")
            }
        };
        assert_eq!(title(&site), format!("CHAIN i8 {dims}"));
        let macs = layers().map(|step| step.macs()).sum();
        let outputs = layers().map(|step| u64::from(step.outputs())).sum();
        assert_eq!(site, Site::new(*site.key(), macs, outputs));
        assert_eq!(plan.site(steps, plan.places(), 0), None);
    }
    assert!(short > 20 && long > 5, "{short} {long}");
}
