// SPDX-License-Identifier: GPL-2.0

//! All vector code that this CPU runs, against the scalar functions, in buffers that end at pages
//! which nobody may touch.

use std::{
    boxed::Box,
    eprintln,
    vec::Vec, //
};

use neural_core::int8::{Depthwise, Gemm};

use crate::{
    check::{self, Kind, Memory, Random, Shape, Window},
    int8, leaf, Features, Isa, Set, TABLE,
};

mod sys {
    use core::ffi::{c_int, c_long, c_void};

    extern "C" {
        pub(super) fn mmap(
            addr: *mut c_void,
            len: usize,
            prot: c_int,
            flags: c_int,
            fd: c_int,
            offset: c_long,
        ) -> *mut c_void;
        pub(super) fn munmap(addr: *mut c_void, len: usize) -> c_int;
        pub(super) fn mprotect(addr: *mut c_void, len: usize, prot: c_int) -> c_int;
    }
}

const PAGE: usize = 4096;

/// Bytes with a page before and one behind them that fault.
struct Guarded {
    start: *mut u8,
    len: usize,
}

impl Guarded {
    fn new(len: usize) -> Self {
        let len = len.next_multiple_of(PAGE);
        // SAFETY: a private mapping of its own, read-write (3), anonymous (0x22).
        let start = unsafe { sys::mmap(core::ptr::null_mut(), len + 2 * PAGE, 3, 0x22, -1, 0) };
        assert!(!start.is_null() && start.addr() != usize::MAX, "no memory");
        let start = start.cast::<u8>();
        for page in [0, PAGE + len] {
            // SAFETY: both pages are in the mapping.
            let rc = unsafe { sys::mprotect(start.add(page).cast(), PAGE, 0) };
            assert_eq!(rc, 0, "no guard page");
        }
        Self { start, len }
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the part between the guard pages, which is borrowed as a whole.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(PAGE), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, which nobody has borrowed.
        unsafe { sys::munmap(self.start.cast(), self.len + 2 * PAGE) };
    }
}

struct Buffers([Guarded; 8]);

impl Buffers {
    fn new() -> Self {
        Self(core::array::from_fn(|_| Guarded::new(1 << 20)))
    }

    fn memory(&mut self) -> Memory<'_> {
        let [x, y, expected, w, bias, mult, shift, offsets] = self.0.each_mut().map(Guarded::bytes);
        Memory {
            x,
            y,
            expected,
            w,
            bias,
            mult,
            shift,
            offsets,
        }
    }
}

/// The sets that this CPU runs and that have a variant of their own for `op`.
fn sets(op: &str) -> Vec<Set> {
    let features = Features::detect();
    let variants = TABLE.iter().filter(|variant| variant.op == op);
    let sets: Vec<_> = variants
        .filter_map(|variant| {
            let set = Set::select(&features, Some(variant.isa));
            if set.is_none() {
                eprintln!(
                    "{}: skipped, this CPU lacks {}",
                    variant.name,
                    variant.isa.name()
                );
            }
            set
        })
        .collect();
    assert!(!sets.is_empty() || !features.avx2, "no variant of {op}");
    sets
}

/// A seed that is printed when a test fails; `NEURAL_SEED` repeats it.
fn seed() -> u64 {
    let given = std::env::var("NEURAL_SEED").ok();
    let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| u64::from(now.subsec_nanos()))
    });
    eprintln!("NEURAL_SEED={seed}");
    seed
}

type Run = Box<dyn Fn(&mut Gemm<'_>) -> bool>;

fn gemm_variants() -> Vec<(&'static str, Run)> {
    let mut all: Vec<(&str, Run)> = Vec::new();
    for set in sets("gemm_i8") {
        all.push((set.isa().name(), Box::new(move |layer| set.gemm_i8(layer))));
    }
    if std::is_x86_feature_detected!("avx512vl") && std::is_x86_feature_detected!("avx512vnni") {
        let run = |layer: &mut Gemm<'_>| {
            let args = int8::gemm(layer).expect("arguments that fit");
            // SAFETY: the CPU has the features, the arguments were checked.
            unsafe { leaf::gemm::neural_gemm_i8_avxvnni_stand_in(&args) };
            true
        };
        all.push(("avxvnni with EVEX", Box::new(run)));
    }
    all
}

/// All shapes for all variants.
fn try_gemm(shapes: impl Iterator<Item = Shape>) {
    let mut random = Random::new(seed());
    let mut buffers = Buffers::new();
    let variants = gemm_variants();
    for shape in shapes {
        for kind in [Kind::Ordinary, Kind::Extreme] {
            for (name, run) in &variants {
                let same = check::gemm(&mut random, kind, shape, buffers.memory(), &mut |layer| {
                    run(layer)
                });
                assert_eq!(same, Some(true), "{name}: {kind:?} {shape:?}");
            }
        }
    }
}

fn dense(m: usize, n: usize, k: usize) -> Shape {
    Shape {
        outer: 1,
        m,
        n,
        segments: 1,
        k,
        gap: 0,
    }
}

#[test]
fn gemm_is_right_for_all_numbers_of_rows() {
    let sizes = [1, 3, 4, 5, 15, 16, 17, 31, 32, 33, 63, 64, 65, 130];
    try_gemm((1..=130).flat_map(|n| {
        sizes
            .into_iter()
            .filter(move |k| (n + k) % 3 == 0 || n % 16 < 2)
            .map(move |k| dense(1 + (n + k) % 13, n, k))
    }));
}

#[test]
fn gemm_is_right_for_all_lengths_of_segments() {
    try_gemm((1..=130).flat_map(|k| {
        [1, 16, 33, 64, 127]
            .into_iter()
            .flat_map(move |n| [1, 2, 7].into_iter().map(move |m| dense(m, n, k)))
    }));
}

#[test]
fn gemm_is_right_for_all_numbers_of_positions() {
    try_gemm((1..=13).flat_map(|m| {
        [1, 8, 16, 30, 48, 64, 65, 100, 112, 128]
            .into_iter()
            .flat_map(move |n| {
                [1, 2, 3].into_iter().map(move |outer| Shape {
                    outer,
                    gap: outer - 1,
                    ..dense(m, n, 20)
                })
            })
    }));
}

#[test]
fn gemm_is_right_for_several_segments() {
    try_gemm((1..=7).flat_map(|segments| {
        [1, 4, 9, 12, 37].into_iter().flat_map(move |k| {
            [1, 16, 40, 64, 90].into_iter().map(move |n| Shape {
                outer: 1 + k % 3,
                m: 1 + (n + segments) % 8,
                n,
                segments,
                k,
                gap: segments % 3,
            })
        })
    }));
}

#[test]
fn depthwise_is_right_for_all_channels_and_taps() {
    let mut random = Random::new(seed());
    let mut buffers = Buffers::new();
    let sets = sets("depthwise_i8");
    let stand_in =
        std::is_x86_feature_detected!("avx512vl") && std::is_x86_feature_detected!("avx512vnni");
    for channels in 1..=200 {
        for taps in [1, 2, 3, 4, 5, 8, 9, 25] {
            let window = Window {
                outer: 1 + channels % 2,
                m: 1 + (channels + taps) % 5,
                channels,
                taps,
                gap: channels % 3,
            };
            for kind in [Kind::Ordinary, Kind::Extreme] {
                for set in &sets {
                    let run = &mut |layer: &mut Depthwise<'_>| set.depthwise_i8(layer);
                    let same = check::depthwise(&mut random, kind, window, buffers.memory(), run);
                    assert_eq!(same, Some(true), "{set:?}: {kind:?} {window:?}");
                }
                if stand_in {
                    let run = &mut |layer: &mut Depthwise<'_>| {
                        let args = int8::depthwise(layer).expect("arguments that fit");
                        // SAFETY: the CPU has the features, the arguments were checked.
                        unsafe { leaf::depthwise::neural_depthwise_i8_avxvnni_stand_in(&args) };
                        true
                    };
                    let same = check::depthwise(&mut random, kind, window, buffers.memory(), run);
                    assert_eq!(same, Some(true), "avxvnni with EVEX: {kind:?} {window:?}");
                }
            }
        }
    }
}

#[test]
fn without_vector_code_nothing_is_done() {
    let set = Set::select(&Features::default(), None).expect("the scalar set");
    assert_eq!(set.isa(), Isa::Scalar);
    assert!(Set::select(&Features::default(), Some(Isa::Avx2)).is_none());
    let mut buffers = Buffers::new();
    let mut random = Random::new(1);
    let run = &mut |layer: &mut Gemm<'_>| set.gemm_i8(layer);
    assert_eq!(
        check::gemm(
            &mut random,
            Kind::Ordinary,
            dense(2, 5, 7),
            buffers.memory(),
            run
        ),
        None
    );
}

#[test]
fn what_would_miss_a_slice_is_refused() {
    let Some(set) = Set::select(&Features::detect(), None).filter(|set| set.isa() != Isa::Scalar)
    else {
        eprintln!("skipped: no vector code for this CPU");
        return;
    };
    let shape = Shape {
        outer: 2,
        gap: 3,
        segments: 2,
        ..dense(3, 20, 10)
    };
    /// Something a byte too small, or a number too big.
    type Damage = fn(&mut Gemm<'_>);
    let damages: &[Damage] = &[
        |g| g.x = &g.x[1..],
        |g| g.w = &g.w[1..],
        |g| g.bias = &g.bias[1..],
        |g| g.requant.mult = &g.requant.mult[1..],
        |g| g.requant.shift = &g.requant.shift[1..],
        |g| g.y = &mut core::mem::take(&mut g.y)[1..],
        |g| g.m += 1,
        |g| g.outer += 1,
        |g| g.k += 1,
        |g| g.n += 1,
        |g| g.m = usize::MAX,
        |g| g.outer = usize::MAX,
        |g| g.n = usize::MAX,
        |g| g.k = usize::MAX,
        |g| g.x_row = usize::MAX,
        |g| g.y_row = usize::MAX,
        |g| g.x_outer = usize::MAX,
        |g| g.y_outer = usize::MAX,
        |g| g.m = 0,
        |g| g.outer = 0,
        |g| g.n = 0,
        |g| g.requant.zero = 256,
        |g| g.requant.min = -1,
        |g| g.requant.max = 256,
        |g| g.offsets = &[0xff; 8],
    ];
    let mut buffers = Buffers::new();
    let mut random = Random::new(1);
    for (i, damage) in damages.iter().enumerate() {
        let mut refused = false;
        let run = &mut |layer: &mut Gemm<'_>| {
            let y = core::mem::take(&mut layer.y);
            let mut bad = Gemm { y, ..*layer };
            damage(&mut bad);
            refused = !set.gemm_i8(&mut bad);
            false
        };
        check::gemm(&mut random, Kind::Ordinary, shape, buffers.memory(), run);
        assert!(refused, "damage {i}");
    }
}

#[test]
fn windows_that_would_miss_a_slice_are_refused() {
    let Some(set) = Set::select(&Features::detect(), None).filter(|set| set.isa() != Isa::Scalar)
    else {
        eprintln!("skipped: no vector code for this CPU");
        return;
    };
    let window = Window {
        outer: 2,
        m: 3,
        channels: 64,
        taps: 9,
        gap: 1,
    };
    /// Something a byte too small, or a number too big.
    type Damage = fn(&mut Depthwise<'_>);
    let damages: &[Damage] = &[
        |d| d.x = &d.x[1..],
        |d| d.w = &d.w[1..],
        |d| d.bias = &d.bias[1..],
        |d| d.requant.mult = &d.requant.mult[1..],
        |d| d.requant.shift = &d.requant.shift[1..],
        |d| d.y = &mut core::mem::take(&mut d.y)[1..],
        |d| d.m += 1,
        |d| d.outer += 1,
        |d| d.channels += 1,
        |d| d.channels = usize::MAX,
        |d| d.x_outer = usize::MAX,
        |d| d.y_row = usize::MAX,
        |d| d.m = 0,
        |d| d.channels = 0,
        |d| d.offsets = &[],
        |d| d.offsets = &[0xff; 8],
        |d| d.requant.zero = 256,
    ];
    let mut buffers = Buffers::new();
    let mut random = Random::new(1);
    for (i, damage) in damages.iter().enumerate() {
        let mut refused = false;
        let run = &mut |layer: &mut Depthwise<'_>| {
            let y = core::mem::take(&mut layer.y);
            let mut bad = Depthwise { y, ..*layer };
            damage(&mut bad);
            refused = !set.depthwise_i8(&mut bad);
            false
        };
        check::depthwise(&mut random, Kind::Ordinary, window, buffers.memory(), run);
        assert!(refused, "damage {i}");
    }
}
