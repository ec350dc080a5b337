// SPDX-License-Identifier: GPL-2.0

//! Generated dense layers give what the vector code gives for the same arguments, and what the specification says.

mod common;

use common::{runs, stand_in, Code, Kind, Network, Pages, Random};
use neural_core::int8::{ChainLayer, SLACK};
use neural_jit::{check, emit, Descriptor, Exit, Facts, GemmI8, Isa};
use neural_simd as _;

/// The arguments, as `neural_simd` lays them out.
#[repr(C)]
struct Args {
    x: *const u8,
    x_row: usize,
    x_outer: usize,
    y: *mut u8,
    y_row: usize,
    y_outer: usize,
    m: usize,
    outer: usize,
    n: usize,
    groups: usize,
    segments: usize,
    offsets: *const u8,
    w: *const u8,
    bias: *const u8,
    mult: *const u8,
    shift: *const u8,
    limits: [u8; 3],
}

extern "C" {
    fn neural_gemm_i8_avx2(args: *const Args);
}

#[test]
fn layers_give_what_the_specification_says() {
    let mut random = Random(41);
    let mut page = Code::new(1 << 20);
    let mut buffer = vec![0; 1 << 20];
    let (mut x, mut y, mut w) = (Pages::new(4096), Pages::new(4096), Pages::new(1 << 20));
    for i in 0..1500 {
        let most = if i % 5 == 0 { 700 } else { 90 };
        let (k, n) = (1 + random.below(most), 1 + random.below(most.min(300)));
        let kind = [Kind::Usual, Kind::Any, Kind::Extreme][i % 3];
        let mut network = Network::random(&mut random, &[k, n], kind, false);
        network.flip = false;
        let layer = ChainLayer::read(&network.layers).unwrap();
        let (code, list) = (
            |code: i32| code as u8,
            |at: u32| &network.weights[at as usize..],
        );
        let gemm = GemmI8 {
            n: layer.n,
            k: layer.k,
            zero: code(layer.zero),
            min: code(layer.min),
            max: code(layer.max),
            facts: Facts::of(
                layer.k,
                layer.n,
                &list(layer.bias)[..4 * n],
                list(layer.shift),
            ),
        };
        let input = x.end(k + SLACK);
        random.fill(input);
        let codes: Vec<u8> = input[..k].iter().map(|x| x ^ 0x80).collect();
        let want = network.expected(&codes);
        let output = y.end(n);
        let weights = w.end(network.weights.len());
        weights.copy_from_slice(&network.weights);
        let at = |at: u32| weights[at as usize..].as_ptr();
        let args = Args {
            x: input.as_ptr(),
            x_row: 0,
            x_outer: 0,
            y: output.as_mut_ptr(),
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
            n,
            groups: k.div_ceil(4),
            segments: 1,
            offsets: [0u8; 4].as_ptr(),
            w: at(layer.w),
            bias: at(layer.bias),
            mult: at(layer.mult),
            shift: at(layer.shift),
            limits: [gemm.zero, gemm.min, gemm.max],
        };
        if runs(Isa::Avx2) {
            output.fill(0xa5);
            // SAFETY: the operands have what the arguments say.
            unsafe { neural_gemm_i8_avx2(&args) };
            assert_eq!(output, want);
        }
        // Code that relies on less, for the sake of other rows, gives the same.
        let least = Facts {
            left: true,
            narrow: false,
        };
        let less = GemmI8 {
            facts: gemm.facts.and(least),
            ..gemm
        };
        for (isa, gemm) in Isa::ALL
            .into_iter()
            .flat_map(|isa| [(isa, gemm), (isa, less)])
        {
            let descriptor = Descriptor::GemmI8(gemm);
            let len = emit(&descriptor, isa, Exit::Ret, &mut buffer).unwrap();
            assert_eq!(check(&buffer[..len], Exit::Ret), Ok(()));
            let place = match (runs(isa), isa) {
                (true, _) => page.load(&buffer[..len]),
                (_, Isa::AvxVnni) if runs(Isa::Avx512Vnni) => page.load(&stand_in(&buffer[..len])),
                _ => continue,
            };
            output.fill(0xa5);
            // SAFETY: as above.
            unsafe {
                let run: extern "C" fn(*const Args) = std::mem::transmute(place);
                run(&args);
            }
            assert_eq!(output, want, "{gemm:?} {isa:?}");
        }
    }
}
