// SPDX-License-Identifier: GPL-2.0

//! All vector code that this CPU runs, against the scalar functions, in buffers that end at pages
//! which nobody may touch.

use std::{
    boxed::Box,
    eprintln,
    vec::Vec, //
};

use neural_core::int8::{
    average_pool, Add, Chain, Depthwise, Gemm, Gemm16, LstmCell, Mean, Mul, Multiplier, Pool,
    Softmax,
};

use crate::{
    check::{self, Image, Kind, Memory, Random, Shape, Window},
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

/// `try_one` for each set that has `op`, and both kinds of numbers.
fn each_set(op: &str, mut try_one: impl FnMut(&Set, Kind, &mut Random, &mut Buffers)) {
    let mut random = Random::new(seed());
    let mut buffers = Buffers::new();
    for set in &sets(op) {
        for kind in [Kind::Ordinary, Kind::Extreme] {
            try_one(set, kind, &mut random, &mut buffers);
        }
    }
}

#[test]
fn codes_of_all_lengths_are_flipped_and_looked_up() {
    each_set("flip_i8", |set, _, random, buffers| {
        for n in (0..=200).chain([1000]) {
            let same = check::flip(random, n, buffers.memory(), &mut |rows| set.flip_i8(rows));
            assert_eq!(same, Some(true), "{set:?}: {n}");
        }
    });
    each_set("lut_i8", |set, _, random, buffers| {
        for n in (0..=300).chain([1000]) {
            let run = &mut |table: &[u8; 256], x: &[u8], y: &mut [u8]| set.lut_i8(table, x, y);
            let same = check::lut(random, n, buffers.memory(), run);
            assert_eq!(same, Some(true), "{set:?}: {n}");
        }
    });
}

/// Lengths of two tensors, the second of which repeats.
fn pairs() -> impl Iterator<Item = [usize; 2]> {
    (0..=200).flat_map(|n| {
        [1, 2, 3, 15, 16, 17, 40, 199, 200, 201]
            .into_iter()
            .map(move |repeat| [n, repeat])
            .chain([[n, n.max(1)]])
    })
}

#[test]
fn sums_and_products_are_right_for_all_lengths() {
    each_set("add_i8", |set, kind, random, buffers| {
        for sizes in pairs().chain(pairs()) {
            let run = &mut |layer: &mut Add<'_>| set.add_i8(layer);
            let same = check::add(random, kind, sizes, buffers.memory(), run);
            assert_eq!(same, Some(true), "{set:?}: {kind:?} {sizes:?}");
        }
    });
    each_set("mul_i8", |set, kind, random, buffers| {
        for sizes in pairs() {
            let run = &mut |layer: &mut Mul<'_>| set.mul_i8(layer);
            let same = check::mul(random, kind, sizes, buffers.memory(), run);
            assert_eq!(same, Some(true), "{set:?}: {kind:?} {sizes:?}");
        }
    });
}

fn try_pool(set: &Set, kind: Kind, image: Image, random: &mut Random, buffers: &mut Buffers) {
    for greatest in [false, true] {
        let same = check::pool(
            random,
            kind,
            image,
            greatest,
            buffers.memory(),
            &mut |layer| match greatest {
                true => set.max_pool_i8(layer),
                false => set.average_pool_i8(layer),
            },
        );
        assert_eq!(same, Some(true), "{set:?}: {kind:?} {greatest} {image:?}");
    }
}

#[test]
fn pools_are_right_for_all_channels_and_windows() {
    each_set("average_pool_i8", |set, kind, random, buffers| {
        for channels in 1..=200 {
            for _ in 0..4 {
                let mut pair = |first, last| [0; 2].map(|_| random.range(first, last) as usize);
                let window = pair(1, 4);
                let image = Image {
                    size: pair(1, 6),
                    channels,
                    out: pair(0, 5),
                    window,
                    stride: pair(0, 3),
                    pad: [0, 1].map(|axis| pair(0, 2)[axis].min(window[axis])),
                };
                try_pool(set, kind, image, random, buffers);
            }
        }
    });
}

/// Every count of pixels has other quotients and ties.
#[test]
fn means_over_windows_of_all_sizes_are_right() {
    each_set("average_pool_i8", |set, kind, random, buffers| {
        let squares = (1..=600).map(|side| [side, 1]);
        for window in squares.chain([[64, 64], [181, 362], [256, 256], [1, 65536]]) {
            let image = Image {
                size: window,
                channels: 1 + window[0] % 16,
                out: [2, 1],
                window,
                stride: [1, 1],
                pad: [0, 0],
            };
            if window[0] * window[1] * image.channels <= 1 << 20 {
                try_pool(set, kind, image, random, buffers);
            }
        }
    });
}

#[test]
fn quotients_of_sums_are_rounded_as_the_specification_has_it() {
    for set in sets("average_pool_i8") {
        let mut x = std::vec![0; 301 * 16];
        for count in (1..=40).chain([64, 121, 255, 256, 300]) {
            // Sums of codes 128..=255 and 0..=128, all of them in turn.
            for first in (0..=127 * count).step_by(16) {
                for sign in [1, -1] {
                    for channel in 0..16 {
                        let mut left = (first + channel).min(127 * count) as i32;
                        for pixel in 0..count {
                            let code = left.min(127);
                            left -= code;
                            x[pixel * 16 + channel] = (128 + sign * code) as u8;
                        }
                    }
                    let mut results = [[0; 16], [1; 16]];
                    let [y, expected] = &mut results;
                    let pool = |y| Pool {
                        x: &x,
                        y,
                        height: count,
                        width: 1,
                        channels: 16,
                        out_height: 1,
                        out_width: 1,
                        window: [count, 1],
                        stride: [1, 1],
                        pad: [0, 0],
                        min: 0,
                        max: 255,
                    };
                    assert!(set.average_pool_i8(&mut pool(y)));
                    average_pool(pool(expected));
                    assert_eq!(y, expected, "{set:?}: {count} {first} {sign}");
                }
            }
        }
    }
}

#[test]
fn means_over_rows_are_right_for_all_channels() {
    each_set("mean_i8", |set, kind, random, buffers| {
        for channels in 0..=200 {
            for rows in [0, 1, 2, 3, 49, 100] {
                let run = &mut |layer: &mut Mean<'_>| set.mean_i8(layer);
                let same = check::mean(random, kind, [rows, channels], buffers.memory(), run);
                assert_eq!(same, Some(true), "{set:?}: {kind:?} {rows} {channels}");
            }
        }
    });
}

#[test]
fn softmax_is_right_for_all_lengths() {
    each_set("softmax_i8", |set, kind, random, buffers| {
        for n in (1..=200).chain([255, 256, 1000, 4095, 4096]) {
            // Short rows have great shares, in which small errors show.
            for rows in (0..=5).chain((n <= 20).then_some(3000)) {
                let run = &mut |layer: &mut Softmax<'_>| set.softmax_i8(layer);
                let same = check::softmax(random, kind, [rows, n], buffers.memory(), run);
                assert_eq!(same, Some(true), "{set:?}: {kind:?} {rows} {n}");
            }
        }
    });
}

#[test]
fn products_of_16_bits_are_right_for_all_lengths() {
    let stand_in =
        std::is_x86_feature_detected!("avx512vl") && std::is_x86_feature_detected!("avx512vnni");
    let sizes = (1..=200).flat_map(|n| [[n, 1 + n % 23], [1 + n % 70, n]]);
    each_set("gemm16_i8", |set, kind, random, buffers| {
        for size in sizes.clone() {
            let run = &mut |layer: &mut Gemm16<'_>| set.gemm16_i8(layer);
            let same = check::gemm16(random, kind, size, buffers.memory(), run);
            assert_eq!(same, Some(true), "{set:?}: {kind:?} {size:?}");
            if stand_in {
                let run = &mut |layer: &mut Gemm16<'_>| {
                    let args = int8::gemm16(layer).expect("arguments that fit");
                    // SAFETY: the CPU has the features, the arguments were checked.
                    unsafe { leaf::gemm::neural_gemm16_i8_avxvnni_stand_in(&args) };
                    true
                };
                let same = check::gemm16(random, kind, size, buffers.memory(), run);
                assert_eq!(same, Some(true), "avxvnni with EVEX: {kind:?} {size:?}");
            }
        }
    });
}

#[test]
fn chains_are_right_for_all_lengths() {
    each_set("chain_i8", |set, kind, random, buffers| {
        for n in 1..=200 {
            let other = 1 + random.below(100);
            for sizes in [&[n, other][..], &[other, n], &[other, 70, n, 3, other]] {
                let run = &mut |chain: &mut Chain<'_>| set.chain_i8(chain);
                let same = check::chain(random, kind, sizes, buffers.memory(), run);
                assert_eq!(same, Some(true), "{set:?}: {kind:?} {sizes:?}");
            }
        }
    });
}

#[test]
fn cells_are_right_for_all_lengths() {
    each_set("lstm_cell_i8", |set, kind, random, buffers| {
        for n in (0..=200).chain([5000]) {
            for _ in 0..5 {
                let run = &mut |layer: &mut LstmCell<'_>| set.lstm_cell_i8(layer);
                let same = check::lstm_cell(random, kind, n, buffers.memory(), run);
                assert_eq!(same, Some(true), "{set:?}: {kind:?} {n}");
            }
        }
    });
}

#[test]
fn cells_that_would_miss_a_slice_are_refused() {
    let Some(set) = Set::select(&Features::detect(), None).filter(|set| set.isa() != Isa::Scalar)
    else {
        eprintln!("skipped: no vector code for this CPU");
        return;
    };
    let mut buffers = Buffers::new();
    let mut random = Random::new(1);
    /// Something a byte too small, or a number too big.
    type Damage<'a> = &'a dyn Fn(&mut LstmCell<'_>);
    let damages: &[Damage<'_>] = &[
        &|l| l.from_x = &l.from_x[1..],
        &|l| l.from_h = &l.from_h[1..],
        &|l| l.cell = &mut core::mem::take(&mut l.cell)[1..],
        &|l| l.h = &mut core::mem::take(&mut l.h)[1..],
        &|l| l.n += 1,
        &|l| l.n = usize::MAX,
        &|l| l.scales.cell_shift = -13,
        &|l| l.scales.cell_shift = 16,
        &|l| l.scales.h_zero = 256,
        &|l| l.scales.forget.mult = i32::MIN,
        &|l| l.scales.input.shift = 32,
        &|l| l.scales.output.shift = -32,
    ];
    for (i, damage) in damages.iter().enumerate() {
        let mut refused = false;
        let run = &mut |layer: &mut LstmCell<'_>| {
            let (cell, h) = (
                core::mem::take(&mut layer.cell),
                core::mem::take(&mut layer.h),
            );
            let mut bad = LstmCell { cell, h, ..*layer };
            damage(&mut bad);
            refused = !set.lstm_cell_i8(&mut bad);
            false
        };
        check::lstm_cell(&mut random, Kind::Ordinary, 20, buffers.memory(), run);
        assert!(refused, "damage {i}");
    }
    /// The same for products.
    type Damage16 = fn(&mut Gemm16<'_>);
    let damages: &[Damage16] = &[
        |g| g.x = &g.x[1..],
        |g| g.w = &g.w[1..],
        |g| g.bias = &g.bias[1..],
        |g| g.mult = &g.mult[1..],
        |g| g.shift = &g.shift[1..],
        |g| g.y = &mut core::mem::take(&mut g.y)[1..],
        |g| g.n += 1,
        |g| g.n = 0,
        |g| g.n = usize::MAX,
        |g| g.k += 4,
        |g| g.k = usize::MAX,
    ];
    for (i, damage) in damages.iter().enumerate() {
        let mut refused = false;
        let run = &mut |layer: &mut Gemm16<'_>| {
            let y = core::mem::take(&mut layer.y);
            let mut bad = Gemm16 { y, ..*layer };
            damage(&mut bad);
            refused = !set.gemm16_i8(&mut bad);
            false
        };
        let memory = buffers.memory();
        check::gemm16(&mut random, Kind::Ordinary, [32, 8], memory, run);
        assert!(refused, "damage {i}");
    }
}

#[test]
fn codes_that_would_miss_a_slice_are_refused() {
    let Some(set) = Set::select(&Features::detect(), None).filter(|set| set.isa() != Isa::Scalar)
    else {
        eprintln!("skipped: no vector code for this CPU");
        return;
    };
    let mut buffers = Buffers::new();
    let mut random = Random::new(1);
    let image = Image {
        size: [4, 5],
        channels: 3,
        out: [2, 2],
        window: [2, 2],
        stride: [2, 2],
        pad: [0, 0],
    };
    /// Something a byte too small, or a number too big.
    type Damage = fn(&mut Pool<'_>);
    let damages: &[Damage] = &[
        |p| p.x = &p.x[1..],
        |p| p.y = &mut core::mem::take(&mut p.y)[1..],
        |p| p.height += 1,
        |p| p.width = usize::MAX,
        |p| p.channels += 1,
        |p| p.channels = 0,
        |p| p.out_height += 1,
        |p| p.out_width = usize::MAX,
        |p| p.window = [257, 256],
        |p| p.window = [usize::MAX; 2],
        |p| p.stride[0] = usize::MAX,
        |p| p.pad[1] = usize::MAX,
        |p| p.min = -1,
        |p| p.max = 256,
    ];
    for (i, damage) in damages.iter().enumerate() {
        let mut refused = false;
        let run = &mut |layer: &mut Pool<'_>| {
            let y = core::mem::take(&mut layer.y);
            let mut bad = Pool { y, ..*layer };
            damage(&mut bad);
            refused = !set.max_pool_i8(&mut bad);
            layer.y = bad.y;
            false
        };
        let memory = buffers.memory();
        check::pool(&mut random, Kind::Ordinary, image, true, memory, run);
        assert!(refused, "damage {i}");
    }

    let fit = Multiplier {
        mult: 1 << 30,
        shift: 0,
    };
    let unfit = [
        Multiplier {
            mult: i32::MIN,
            shift: 0,
        },
        Multiplier { shift: 32, ..fit },
        Multiplier { shift: -32, ..fit },
    ];
    let x = [1; 6];
    let mut y = [0; 6];
    let mut mean = |x: &[u8], rows, channels, zero, factor| {
        set.mean_i8(&mut Mean {
            x,
            y: &mut y,
            rows,
            channels,
            x_zero: 3,
            y_scale: (zero, factor),
        })
    };
    assert!(mean(&x, 2, 3, 0, fit));
    assert!(!mean(&x[1..], 2, 3, 0, fit));
    assert!(!mean(&x, 0, 7, 0, fit));
    assert!(!mean(&x, usize::MAX, 3, 0, fit));
    assert!(!mean(&x, 2, 3, 256, fit));
    for factor in unfit {
        assert!(!mean(&x, 2, 3, 0, factor), "{factor:?}");
    }
    let mut softmax = |n, diff_min, beta| {
        set.softmax_i8(&mut Softmax {
            x: &x,
            y: &mut y,
            n,
            beta,
            diff_min,
        })
    };
    assert!(softmax(3, -1, fit));
    assert!(!softmax(0, -1, fit));
    assert!(!softmax(4097, -1, fit));
    assert!(!softmax(3, 1, fit));
    assert!(!softmax(3, -1, unfit[0]));
    let mut mul = |b: &[u8], max| {
        set.mul_i8(&mut Mul {
            a: &x,
            b,
            y: &mut y,
            a_zero: 0,
            b_zero: 0,
            y_scale: (0, fit),
            min: 0,
            max,
        })
    };
    assert!(mul(&x, 255));
    assert!(!mul(&[], 255));
    assert!(!mul(&x, 256));
    let mut add = |b: &[u8], factor| {
        set.add_i8(&mut Add {
            a: &x,
            b,
            y: &mut y,
            a_scale: (0, fit),
            b_scale: (0, factor),
            subtract: false,
            y_scale: (0, fit),
            min: 0,
            max: 255,
        })
    };
    assert!(add(&x, fit));
    assert!(!add(&[], fit));
    assert!(!add(&x, unfit[1]));
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
