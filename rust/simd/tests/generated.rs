// SPDX-License-Identifier: GPL-2.0

//! Code is called for what it was made for, and for nothing else. Vector code stands in for it.

use neural_core::float::{self, Act, Function};
use neural_core::int8::{self, Requant};
use neural_simd::generated::{run, Bounds, Call};
use neural_simd::{Features, Isa, Set};

extern "C" {
    fn neural_gemm_i8_avx2(args: *const core::ffi::c_void);
    fn neural_gemm_f32_avx2(args: *const core::ffi::c_void);
    fn neural_chain_f32_avx2(args: *const core::ffi::c_void);
    fn neural_cosine_f32_avx2(args: *const core::ffi::c_void);
}

/// Numbers from -1 to 1.
fn numbers(count: usize) -> Vec<u8> {
    let number = |i: usize| ((i * 37 % 64) as f32 - 31.5) / 32.0;
    (0..count).flat_map(|i| number(i).to_le_bytes()).collect()
}

/// Whether the function stands in for code with these bounds, in this call.
fn taken(
    function: unsafe extern "C" fn(*const core::ffi::c_void),
    bounds: Bounds,
    mut call: Call<'_, '_>,
) -> bool {
    // SAFETY: the function is one of vector code, which takes every call, and the CPU has AVX2.
    unsafe { run(function as *const (), &bounds, &mut call) }
}

fn set() -> Option<Set> {
    let set = Set::select(&Features::detect(), Some(Isa::Avx2));
    if set.is_none() {
        eprintln!("no AVX2 on this CPU");
    }
    set
}

#[test]
fn products_of_numbers() {
    let Some(set) = set() else { return };
    let (m, n, k) = (3, 20, 17);
    let (x, w, bias) = (numbers(m * k), numbers(32 * k), numbers(32));
    let layer =
        |y: &mut [u8], change: &dyn Fn(&mut float::Gemm<'_>), f: &dyn Fn(Call<'_, '_>) -> bool| {
            let mut gemm = float::Gemm {
                x: &x,
                x_row: 4 * k,
                x_outer: 0,
                y,
                y_row: 4 * n,
                y_outer: 0,
                m,
                outer: 1,
                n,
                k,
                offsets: &[0; 4],
                w: &w,
                by_row: false,
                bias: &bias,
                act: Act {
                    function: Function::Relu,
                    slope: 0,
                },
            };
            change(&mut gemm);
            f(Call::GemmF32(&mut gemm))
        };
    let bounds = Bounds::GemmF32 {
        m,
        n,
        k,
        x_row: 4 * k,
        y_row: 4 * n,
        function: Function::Relu,
    };
    let mut want = vec![0; 4 * m * n];
    let by_set = |call: Call<'_, '_>| match call {
        Call::GemmF32(gemm) => set.gemm_f32(gemm),
        _ => false,
    };
    assert!(layer(&mut want, &|_| {}, &by_set));
    let code = |call: Call<'_, '_>| taken(neural_gemm_f32_avx2, bounds, call);
    let mut y = vec![0; want.len()];
    assert!(layer(&mut y, &|_| {}, &code));
    assert_eq!(y, want);
    // Anything else is left alone.
    let others: [&dyn Fn(&mut float::Gemm<'_>); 10] = [
        &|gemm| gemm.m = 2,
        &|gemm| gemm.outer = 2,
        &|gemm| gemm.n = 19,
        &|gemm| gemm.k = 16,
        &|gemm| gemm.x_row = 4,
        &|gemm| gemm.y_row = 84,
        &|gemm| gemm.offsets = &[0; 8],
        &|gemm| gemm.offsets = &[4, 0, 0, 0],
        &|gemm| gemm.act.function = Function::None,
        &|gemm| gemm.w = &[],
    ];
    for (i, other) in others.into_iter().enumerate() {
        let mut y = vec![7; want.len() + 64];
        assert!(!layer(&mut y, other, &code), "change {i}");
        assert!(y.iter().all(|&byte| byte == 7), "change {i}");
    }
}

#[test]
fn products_of_codes() {
    if set().is_none() {
        return;
    }
    let (n, k) = (20usize, 16usize);
    let x: Vec<u8> = (0..k + int8::SLACK).map(|i| (i * 29) as u8).collect();
    let w: Vec<u8> = (0..20 * 32).map(|i| (i * 31) as u8).collect();
    let list = |value: i32| -> Vec<u8> { (0..32).flat_map(|_| value.to_le_bytes()).collect() };
    let (bias, mult, shift) = (list(100), list(1 << 30), list(8));
    let layer = |y: &mut [u8],
                 change: &dyn Fn(&mut int8::Gemm<'_>),
                 f: &dyn Fn(&mut int8::Gemm<'_>) -> bool| {
        let mut gemm = int8::Gemm {
            x: &x,
            x_row: 0,
            x_outer: 0,
            y,
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
            n,
            k,
            offsets: &[0; 4],
            w: &w,
            bias: &bias,
            requant: Requant {
                mult: &mult,
                shift: &shift,
                zero: 128,
                min: 10,
                max: 250,
            },
        };
        change(&mut gemm);
        f(&mut gemm)
    };
    let mut want = vec![0; n];
    layer(&mut want, &|_| {}, &|gemm| {
        let again = int8::Gemm {
            y: &mut *gemm.y,
            ..*gemm
        };
        int8::gemm(again);
        true
    });
    let bounds = Bounds::GemmI8 {
        n,
        k,
        codes: [128, 10, 250],
    };
    let code = |gemm: &mut int8::Gemm<'_>| taken(neural_gemm_i8_avx2, bounds, Call::GemmI8(gemm));
    let mut y = vec![0; n];
    assert!(layer(&mut y, &|_| {}, &code));
    assert_eq!(y, want);
    let others: [&dyn Fn(&mut int8::Gemm<'_>); 8] = [
        &|gemm| gemm.m = 0,
        &|gemm| gemm.n = 19,
        &|gemm| gemm.k = 12,
        &|gemm| gemm.offsets = &[0; 8],
        &|gemm| gemm.requant.zero = 127,
        &|gemm| gemm.requant.min = 9,
        &|gemm| gemm.requant.max = 251,
        &|gemm| gemm.w = &[],
    ];
    for (i, other) in others.into_iter().enumerate() {
        let mut y = vec![7; n];
        assert!(!layer(&mut y, other, &code), "change {i}");
        assert!(y.iter().all(|&byte| byte == 7), "change {i}");
    }
}

#[test]
fn chains_of_numbers() {
    let Some(set) = set() else { return };
    // 6 -> 20 -> 5; the second layer lies row by row.
    let weights = numbers(1024);
    let layers: Vec<u8> = [
        [6u32, 20, 0, 4 * 800, 0, 1, 0, 0],
        [20, 5, 4 * 200, 4 * 900, 1, 0, 0, 0],
    ]
    .iter()
    .flatten()
    .flat_map(|field| field.to_le_bytes())
    .collect();
    let bounds = Bounds::chain_f32(&layers).unwrap();
    let x = numbers(6);
    let chain =
        |y: &mut [u8], weights: &[u8], width: usize, f: &dyn Fn(&mut float::Chain<'_>) -> bool| {
            f(&mut float::Chain {
                layers: &layers,
                weights,
                x: &x,
                y,
                temp: &mut vec![0; 512],
                width,
            })
        };
    let (mut want, mut y) = (vec![0; 20], vec![0; 20]);
    assert!(chain(&mut want, &weights, 192, &|chain| set.chain_f32(chain)));
    let code =
        |chain: &mut float::Chain<'_>| taken(neural_chain_f32_avx2, bounds, Call::ChainF32(chain));
    assert!(chain(&mut y, &weights, 192, &code));
    assert_eq!(y, want);
    // The last bias ends 916 numbers behind the beginning.
    assert!(chain(&mut y, &weights[..4 * 916], 192, &code));
    assert!(!chain(&mut y, &weights[..4 * 916 - 1], 192, &code));
    assert!(!chain(&mut [0; 24], &weights, 192, &code));
    assert!(!chain(&mut y, &weights, 191, &code));
    assert!(!chain(&mut y, &weights, 257, &code));
    // Layers that do not fit, and none.
    assert_eq!(Bounds::chain_f32(&[]), None);
    assert_eq!(Bounds::chain_f32(&layers.repeat(2)), None);
    assert_eq!(Bounds::chain_i8(&[], true), None);
}

#[test]
fn similarities() {
    let Some(set) = set() else { return };
    let (x, rows) = (numbers(10), numbers(70));
    let cosine = |d: usize, eps: f32, f: &dyn Fn(&mut float::Cosine<'_>) -> bool| {
        let mut y = vec![0; 4 * (70 / d)];
        let done = f(&mut float::Cosine {
            x: &x[..4 * d],
            rows: &rows,
            y: &mut y,
            d,
            eps: eps.to_bits(),
        });
        done.then_some(y)
    };
    let bounds = Bounds::CosineF32 {
        rows: 7,
        n: 10,
        eps: 1e-6f32.to_bits(),
    };
    let code = |cosine: &mut float::Cosine<'_>| {
        taken(neural_cosine_f32_avx2, bounds, Call::CosineF32(cosine))
    };
    let want = cosine(10, 1e-6, &|cosine| set.cosine_f32(cosine));
    assert!(want.is_some());
    assert_eq!(cosine(10, 1e-6, &code), want);
    assert_eq!(cosine(10, 1e-5, &code), None);
    assert_eq!(cosine(7, 1e-6, &code), None);
    // One kind of code is not for another kind of call.
    let other = |cosine: &mut float::Cosine<'_>| {
        let bounds = Bounds::GemmI8 {
            n: 7,
            k: 10,
            codes: [0; 3],
        };
        taken(neural_gemm_i8_avx2, bounds, Call::CosineF32(cosine))
    };
    assert_eq!(cosine(10, 1e-6, &other), None);
}
