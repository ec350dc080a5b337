// SPDX-License-Identifier: GPL-2.0

//! Generated similarities are those of `neural_simd`, bit by bit.

mod common;

use common::{runs, Code, Pages, Random};
use neural_jit::{check, emit, Descriptor, Exit, Isa};
use neural_simd::f32_args::CosineF32;

extern "C" {
    fn neural_cosine_f32_avx512(args: *const CosineF32);
}

#[test]
fn similarities_are_those_of_the_vector_code() {
    if !runs(Isa::Avx512) {
        eprintln!("not on this CPU");
        return;
    }
    let mut random = Random(31);
    let mut page = Code::new(1 << 16);
    let mut buffer = vec![0; 1 << 16];
    let (mut key, mut x, mut y) = (Pages::new(4096), Pages::new(1 << 18), Pages::new(4096));
    for i in 0..1500 {
        let (rows, n) = (1 + random.below(60), 1 + random.below(160));
        let eps = [0.0f32, 1e-6, 3.0][i % 3].to_bits();
        let descriptor = Descriptor::CosineF32 {
            rows: rows as u32,
            n: n as u32,
            eps,
        };
        let len = emit(&descriptor, Isa::Avx512, Exit::Ret, &mut buffer).unwrap();
        assert_eq!(check(&buffer[..len], Exit::Ret), Ok(()));
        let place = page.load(&buffer[..len]);
        let (key, x, y) = (key.end(4 * n), x.end(4 * n * rows), y.end(4 * rows));
        for bytes in key.chunks_exact_mut(4).chain(x.chunks_exact_mut(4)) {
            let number = match random.below(if i % 5 == 0 { 300 } else { 1 << 40 }) {
                1 => f32::INFINITY,
                2 => f32::NAN,
                3 => 1e30,
                _ => (random.below(1 << 16) as f32 - 32768.0) / 8192.0,
            };
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        if i % 7 == 0 {
            x[..4 * n].fill(0);
        }
        let args = CosineF32 {
            key: key.as_ptr(),
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            rows,
            n,
            eps,
        };
        y.fill(0xa5);
        // SAFETY: the operands have what the arguments say.
        unsafe { neural_cosine_f32_avx512(&args) };
        let want = y.to_vec();
        y.fill(0xa5);
        // SAFETY: as above.
        unsafe {
            let run: extern "C" fn(*const CosineF32) = std::mem::transmute(place);
            run(&args);
        }
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        for (got, want) in y.chunks_exact(4).zip(want.chunks_exact(4)) {
            let both = number(got).is_nan() && number(want).is_nan();
            assert!(got == want || both, "{got:?} {want:?} {rows}x{n}");
        }
    }
}
