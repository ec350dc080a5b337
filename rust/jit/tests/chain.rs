// SPDX-License-Identifier: GPL-2.0

//! Generated chains give what their layers give, bit by bit.

mod common;

use common::{code, runs, stand_in, try_random, Bench, Code, Kind, Memory, Network, Random};
use neural_jit::Isa;

/// Tries random chains on all instruction sets that this CPU has.
fn chains(seed: u64, count: usize, most_layers: usize, widest: usize) {
    let mut random = Random(seed);
    let mut memory = Memory::new();
    let mut page = Code::new(1 << 20);
    let mut buffer = vec![0; 1 << 20];
    for i in 0..count {
        let layers = 1 + random.below(most_layers);
        let widest = if i % 3 == 0 { widest } else { widest.min(24) };
        let sizes: Vec<usize> = (0..=layers).map(|_| 1 + random.below(widest)).collect();
        let kind = [Kind::Usual, Kind::Any, Kind::Extreme][i % 7 % 3];
        let network = Network::random(&mut random, &sizes, kind, i % 2 == 1);
        let mut x = vec![0; sizes[0]];
        for isa in Isa::ALL {
            let len = code(&network, isa, &mut buffer);
            let place = match (runs(isa), isa) {
                (true, _) => page.load(&buffer[..len]),
                (_, Isa::AvxVnni) if runs(Isa::Avx512Vnni) => page.load(&stand_in(&buffer[..len])),
                _ => continue,
            };
            for fill in 0..3 {
                match fill {
                    0 => random.fill(&mut x),
                    1 => x.fill(0x80),
                    _ => x.fill(0x7f),
                }
                // SAFETY: this is the code for the chain.
                let y = unsafe { memory.run(place, &network, &x) };
                let want = network.expected(&x);
                assert_eq!(
                    y, want,
                    "{i}: {sizes:?} {kind:?} {isa:?} flip {}",
                    network.flip
                );
            }
        }
    }
}

#[test]
fn small_chains_give_what_their_layers_give() {
    chains(1, 3000, 5, 100);
}

#[test]
fn wide_chains_give_what_their_layers_give() {
    chains(2, 150, 3, 500);
}

#[test]
fn ten_thousand_descriptors_give_what_their_layers_give() {
    let mut bench = Bench::new(4);
    for _ in 0..10_000 {
        try_random(&mut bench);
    }
}
