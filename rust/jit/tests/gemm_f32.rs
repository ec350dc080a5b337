// SPDX-License-Identifier: GPL-2.0

//! Generated matrix products give what those of `neural_simd` give, bit by bit.

mod common;

use common::{runs, Code, Pages, Random};
use neural_jit::{check, emit, Descriptor, Exit, GemmF32, Isa, Limit};
use neural_simd::f32_args::{self, op};

extern "C" {
    fn neural_gemm_f32_avx2(args: *const f32_args::GemmF32);
    fn neural_gemm_f32_avx512(args: *const f32_args::GemmF32);
}

/// A page for each operand.
struct Memory {
    x: Pages,
    y: Pages,
    w: Pages,
    bias: Pages,
}

/// Numbers of usual sizes, and some that are not usual.
fn numbers(random: &mut Random, bytes: &mut [u8], odd: bool) {
    for bytes in bytes.chunks_exact_mut(4) {
        let number = match random.below(if odd { 60 } else { 1 << 40 }) {
            1 => f32::INFINITY,
            2 => f32::NAN,
            3 => -0.0,
            4 => f32::MAX,
            5 => f32::MIN_POSITIVE / 8.0,
            _ => (random.below(1 << 16) as f32 - 32768.0) / 8192.0,
        };
        bytes.copy_from_slice(&number.to_le_bytes());
    }
}

fn try_gemm(random: &mut Random, memory: &mut Memory, page: &mut Code, gemm: &GemmF32, isa: Isa) {
    let mut buffer = vec![0; 1 << 18];
    let descriptor = Descriptor::GemmF32(*gemm);
    let len = emit(&descriptor, isa, Exit::Ret, &mut buffer)
        .unwrap_or_else(|error| panic!("{gemm:?} {isa:?}: {error:?}"));
    assert_eq!(check(&buffer[..len], Exit::Ret), Ok(()), "{gemm:?} {isa:?}");
    let place = page.load(&buffer[..len]);
    let (m, n, k) = (gemm.positions as usize, gemm.n as usize, gemm.k as usize);
    let rows = n.next_multiple_of(16);
    let odd = random.below(4) == 0;
    let x = memory.x.end((m - 1) * gemm.x_row as usize + 4 * k + 64);
    numbers(random, x, odd);
    let w = memory.w.end(4 * rows * k);
    numbers(random, w, odd);
    let bias = memory.bias.end(4 * rows);
    numbers(random, bias, odd);
    let y = memory.y.end((m - 1) * gemm.y_row as usize + 4 * n);
    let args = f32_args::GemmF32 {
        x: x.as_ptr(),
        x_row: gemm.x_row as usize,
        x_outer: 0,
        y: y.as_mut_ptr(),
        y_row: gemm.y_row as usize,
        y_outer: 0,
        m,
        outer: 1,
        n,
        k,
        segments: 1,
        offsets: [0u8; 4].as_ptr(),
        w: w.as_ptr(),
        by_row: 0,
        bias: bias.as_ptr(),
        act: match gemm.limit {
            Limit::None => op::NONE,
            Limit::Zero => op::RELU,
            Limit::ZeroToSix => op::RELU6,
        },
        slope: 0,
    };
    y.fill(0xa5);
    // SAFETY: the operands have what the arguments say.
    unsafe {
        match isa {
            Isa::Avx2 | Isa::AvxVnni => neural_gemm_f32_avx2(&args),
            Isa::Avx512 | Isa::Avx512Vnni => neural_gemm_f32_avx512(&args),
        }
    }
    let want = y.to_vec();
    y.fill(0xa5);
    // SAFETY: as above.
    unsafe {
        let run: extern "C" fn(*const f32_args::GemmF32) = std::mem::transmute(place);
        run(&args);
    }
    let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    for (i, (got, want)) in y.chunks_exact(4).zip(want.chunks_exact(4)).enumerate() {
        let both = number(got).is_nan() && number(want).is_nan();
        assert!(
            got == want || both,
            "{i}: {got:?} {want:?} {gemm:?} {isa:?}"
        );
    }
}

#[test]
fn products_are_those_of_the_vector_code() {
    let mut random = Random(11);
    let mut memory = Memory {
        x: Pages::new(1 << 17),
        y: Pages::new(1 << 17),
        w: Pages::new(1 << 19),
        bias: Pages::new(1 << 12),
    };
    let mut page = Code::new(1 << 18);
    for i in 0..1500 {
        let most = if i % 4 == 0 { 300 } else { 70 };
        let positions = if i % 2 == 0 { 1 } else { 1 + random.below(20) } as u32;
        let (n, k) = (1 + random.below(most) as u32, 1 + random.below(most) as u32);
        let gemm = GemmF32 {
            positions,
            n,
            k,
            x_row: 4 * (k + random.below(3) as u32),
            y_row: 4 * (n + random.below(3) as u32),
            limit: [Limit::None, Limit::Zero, Limit::ZeroToSix][random.below(3)],
        };
        for isa in [Isa::Avx2, Isa::Avx512] {
            if runs(isa) {
                try_gemm(&mut random, &mut memory, &mut page, &gemm, isa);
            }
        }
    }
}
