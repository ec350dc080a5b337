// SPDX-License-Identifier: GPL-2.0

//! Generated chains of single precision give what those of `neural_simd` give, bit by bit.

mod common;

use common::{runs, Code, Pages, Random};
use neural_jit::{check, emit, Descriptor, EmitError, Exit, Isa};
use neural_simd::f32_args::{ChainF32, FEW};

extern "C" {
    fn neural_chain_f32_avx512(args: *const ChainF32);
}

fn number(random: &mut Random, odd: bool) -> f32 {
    match random.below(if odd { 200 } else { 1 << 40 }) {
        1 => f32::INFINITY,
        2 => f32::NAN,
        3 => -0.0,
        4 => f32::MAX,
        _ => (random.below(1 << 16) as f32 - 32768.0) / 8192.0,
    }
}

/// The layers and the constants of a chain.
fn chain(random: &mut Random, sizes: &[usize], odd: bool) -> (Vec<u8>, Vec<u8>) {
    let (mut layers, mut weights) = (Vec::new(), Vec::new());
    for pair in sizes.windows(2) {
        let (k, n) = (pair[0], pair[1]);
        let rows = n.next_multiple_of(16);
        let by_row = n <= FEW && random.below(4) > 0;
        weights.resize(weights.len() + 4 * random.below(20), 0xff);
        let w = weights.len();
        // What pads is 0.
        match by_row {
            true => {
                for _ in 0..n * k {
                    weights.extend_from_slice(&number(random, odd).to_le_bytes());
                }
            }
            false => {
                for first in (0..rows).step_by(64) {
                    let panel = (rows - first).min(64);
                    for _ in 0..k {
                        for row in first..first + panel {
                            let w = if row < n { number(random, odd) } else { 0.0 };
                            weights.extend_from_slice(&w.to_le_bytes());
                        }
                    }
                }
            }
        }
        let bias = weights.len();
        for row in 0..rows {
            let b = if row < n { number(random, odd) } else { 0.0 };
            weights.extend_from_slice(&b.to_le_bytes());
        }
        let act = random.below(3);
        for field in [k, n, w, bias, usize::from(by_row), act, 0, 0] {
            layers.extend_from_slice(&(field as u32).to_le_bytes());
        }
    }
    (layers, weights)
}

#[test]
fn chains_are_those_of_the_vector_code() {
    if !runs(Isa::Avx512) {
        eprintln!("not on this CPU");
        return;
    }
    let mut random = Random(21);
    let mut page = Code::new(1 << 20);
    let mut buffer = vec![0; 1 << 20];
    let pages = || Pages::new(1 << 14);
    let (mut x, mut y, mut low, mut high) = (pages(), pages(), pages(), pages());
    let mut constants = Pages::new(1 << 20);
    let mut done = 0;
    for i in 0..3000 {
        let most = if i % 5 == 0 { 200 } else { 40 };
        let sizes: Vec<usize> = (0..2 + random.below(4))
            .map(|_| {
                let few = random.below(3) == 0;
                1 + random.below(if few { 8 } else { most })
            })
            .collect();
        let odd = i % 4 == 0;
        let (layers, weights) = chain(&mut random, &sizes, odd);
        let descriptor = Descriptor::chain_f32(&layers, &weights).unwrap();
        let len = match emit(&descriptor, Isa::Avx512, Exit::Ret, &mut buffer) {
            Ok(len) => len,
            Err(error) => {
                assert_eq!(error, EmitError::Unsupported);
                continue;
            }
        };
        done += 1;
        assert_eq!(check(&buffer[..len], Exit::Ret), Ok(()));
        let place = page.load(&buffer[..len]);
        let input = x.end(4 * sizes[0]);
        for bytes in input.chunks_exact_mut(4) {
            bytes.copy_from_slice(&number(&mut random, odd).to_le_bytes());
        }
        let n = *sizes.last().unwrap();
        let output = y.end(4 * n);
        output.fill(0xa5);
        let weights = {
            let place = constants.end(weights.len());
            place.copy_from_slice(&weights);
            place
        };
        let widest = sizes.iter().max().unwrap().next_multiple_of(16) * 4 + 64;
        let args = ChainF32 {
            x: input.as_ptr(),
            y: output.as_mut_ptr(),
            buffers: [low.end(widest).as_mut_ptr(), high.end(widest).as_mut_ptr()],
            weights: weights.as_ptr(),
            layers: layers.as_ptr(),
            count: sizes.len() - 1,
        };
        // SAFETY: the operands have what the arguments say.
        unsafe { neural_chain_f32_avx512(&args) };
        let want = output.to_vec();
        output.fill(0xa5);
        // SAFETY: as above.
        unsafe {
            let run: extern "C" fn(*const ChainF32) = std::mem::transmute(place);
            run(&args);
        }
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        for (got, want) in output.chunks_exact(4).zip(want.chunks_exact(4)) {
            let both = number(got).is_nan() && number(want).is_nan();
            assert!(got == want || both, "{got:?} {want:?} {sizes:?}");
        }
    }
    assert!(done > 2000, "{done}");
}
