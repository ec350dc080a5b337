// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of vector code for codes: all that this CPU runs, in sections of the kernel, against
//! scalar code.

use kernel::prelude::*;
use neural_core::int8::{
    Add,
    Chain,
    Depthwise,
    Gemm,
    Gemm16,
    LstmCell,
    Mean,
    Mul,
    Pool,
    Softmax, //
};
use neural_simd::{
    Isa,
    Section,
    Set, //
};

use crate::{
    dispatch,
    sys::{
        cpu,
        fpu::{
            self,
            FpuGuard, //
        },
        kunit, //
    }, //
};

// What is compared, and how, is the same as natively.
#[path = "../simd/src/check.rs"]
pub(crate) mod check;

use check::{
    Image,
    Kind,
    Memory,
    Random,
    Shape,
    Window, //
};

/// The greatest length that is tried.
const MOST: usize = 512;

/// Bytes of a buffer.
const BUFFER: usize = 1 << 18;

/// Memory for operands; behind each buffer lies a page that faults.
struct Buffers([VVec<u8>; 8]);

impl Buffers {
    fn new() -> Result<Self> {
        let new = || VVec::from_elem(0u8, BUFFER, GFP_KERNEL);
        Ok(Buffers([
            new()?,
            new()?,
            new()?,
            new()?,
            new()?,
            new()?,
            new()?,
            new()?,
        ]))
    }

    fn memory(&mut self) -> Memory<'_> {
        let [x, y, expected, w, bias, mult, shift, offsets] = &mut self.0;
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

/// Why nothing is tried.
pub(crate) const NO_SETS: &CStr = c"this CPU has no AVX2 and FMA";

/// The sets that this CPU runs.
fn sets() -> impl Iterator<Item = Set> {
    let features = fpu::features();
    let vector = Isa::ALL.into_iter().filter(|&isa| isa != Isa::Scalar);
    vector.filter_map(move |isa| Set::select(&features, Some(isa)))
}

/// Runs vector code in a section.
pub(crate) fn in_section(run: impl FnOnce() -> bool) -> bool {
    match FpuGuard::new() {
        Some(_guard) => run(),
        None => false,
    }
}

/// Calls `compare` for each length from `first` on, each set and both kinds of numbers.
fn each_length(
    op: &str,
    first: usize,
    mut compare: impl FnMut(&Set, &mut Random, Kind, usize, Memory<'_>) -> Option<bool>,
) -> Result {
    if sets().next().is_none() {
        kunit::skip(NO_SETS);
        return Ok(());
    }
    let mut random = Random::new(1);
    let mut buffers = Buffers::new()?;
    for set in sets() {
        for length in first..=MOST {
            for kind in [Kind::Ordinary, Kind::Extreme] {
                let same = compare(&set, &mut random, kind, length, buffers.memory());
                if same != Some(true) {
                    pr_err!("{op} {}: {kind:?} {length}: {same:?}\n", set.isa().name());
                    return Err(EILSEQ);
                }
            }
        }
        cpu::cond_resched();
    }
    Ok(())
}

#[kunit_tests(neural_simd)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_lengths_are_those_of_scalar_code() -> Result {
        each_length("gemm_i8", 1, |set, random, kind, length, memory| {
            let other = 1 + random.below(40);
            let rows = random.below(2) == 1;
            let shape = Shape {
                outer: 1 + random.below(2),
                m: 1 + random.below(7),
                n: if rows { length } else { other },
                segments: 1 + random.below(3),
                k: if rows { other } else { length },
                gap: random.below(3),
            };
            check::gemm(random, kind, shape, memory, &mut |layer: &mut Gemm<'_>| {
                in_section(|| set.gemm_i8(layer))
            })
        })
    }

    #[test]
    fn products_of_16_bits_of_all_lengths_are_those_of_scalar_code() -> Result {
        each_length("gemm16_i8", 1, |set, random, kind, length, memory| {
            let other = 1 + random.below(40);
            let sizes = match random.below(2) {
                0 => [length, other],
                _ => [other, length],
            };
            let run = &mut |layer: &mut Gemm16<'_>| in_section(|| set.gemm16_i8(layer));
            check::gemm16(random, kind, sizes, memory, run)
        })
    }

    #[test]
    fn chains_of_all_lengths_are_those_of_scalar_code() -> Result {
        each_length("chain_i8", 1, |set, random, kind, length, memory| {
            let sizes = [length, 1 + random.below(40), length, 1 + random.below(9)];
            let run = &mut |chain: &mut Chain<'_>| in_section(|| set.chain_i8(chain));
            check::chain(random, kind, &sizes, memory, run)
        })
    }

    #[test]
    fn windows_of_all_channels_are_those_of_scalar_code() -> Result {
        each_length("depthwise_i8", 1, |set, random, kind, length, memory| {
            let window = Window {
                outer: 1 + random.below(2),
                m: 1 + random.below(3),
                channels: length,
                taps: 1 + random.below(9),
                gap: random.below(3),
            };
            let run = &mut |layer: &mut Depthwise<'_>| in_section(|| set.depthwise_i8(layer));
            check::depthwise(random, kind, window, memory, run)
        })
    }

    #[test]
    fn codes_of_all_lengths_are_flipped_and_looked_up() -> Result {
        each_length("flip_i8", 0, |set, random, _, length, memory| {
            check::flip(random, length, memory, &mut |rows| {
                in_section(|| set.flip_i8(rows))
            })
        })?;
        each_length("lut_i8", 0, |set, random, _, length, memory| {
            check::lut(random, length, memory, &mut |table, x, y| {
                in_section(|| set.lut_i8(table, x, y))
            })
        })
    }

    #[test]
    fn sums_and_products_of_all_lengths_are_those_of_scalar_code() -> Result {
        let repeat = |random: &mut Random, length: usize| match random.below(4) {
            0 => 1,
            1 => 1 + random.below(40),
            _ => length.max(1),
        };
        each_length("add_i8", 0, |set, random, kind, length, memory| {
            let sizes = [length, repeat(random, length)];
            check::add(random, kind, sizes, memory, &mut |layer: &mut Add<'_>| {
                in_section(|| set.add_i8(layer))
            })
        })?;
        each_length("mul_i8", 0, |set, random, kind, length, memory| {
            let sizes = [length, repeat(random, length)];
            check::mul(random, kind, sizes, memory, &mut |layer: &mut Mul<'_>| {
                in_section(|| set.mul_i8(layer))
            })
        })
    }

    #[test]
    fn pools_and_means_of_all_channels_are_those_of_scalar_code() -> Result {
        each_length("pools", 1, |set, random, kind, length, memory| {
            let greatest = random.below(2) == 1;
            let window = [1 + random.below(3), 1 + random.below(3)];
            let image = Image {
                size: [1 + random.below(4), 1 + random.below(4)],
                channels: length,
                out: [random.below(3), random.below(3)],
                window,
                stride: [random.below(3), random.below(3)],
                pad: [random.below(window[0]), random.below(window[1])],
            };
            let run = &mut |layer: &mut Pool<'_>| {
                in_section(|| match greatest {
                    true => set.max_pool_i8(layer),
                    false => set.average_pool_i8(layer),
                })
            };
            check::pool(random, kind, image, greatest, memory, run)
        })?;
        each_length("mean_i8", 0, |set, random, kind, length, memory| {
            let sizes = [random.below(50), length];
            check::mean(random, kind, sizes, memory, &mut |layer: &mut Mean<'_>| {
                in_section(|| set.mean_i8(layer))
            })
        })
    }

    #[test]
    fn softmax_of_all_lengths_is_that_of_scalar_code() -> Result {
        each_length("softmax_i8", 1, |set, random, kind, length, memory| {
            let sizes = [1 + random.below(2), length];
            let run = &mut |layer: &mut Softmax<'_>| in_section(|| set.softmax_i8(layer));
            check::softmax(random, kind, sizes, memory, run)
        })
    }

    #[test]
    fn cells_of_all_lengths_are_those_of_scalar_code() -> Result {
        each_length("lstm_cell_i8", 0, |set, random, kind, length, memory| {
            let run = &mut |layer: &mut LstmCell<'_>| in_section(|| set.lstm_cell_i8(layer));
            check::lstm_cell(random, kind, length, memory, run)
        })
    }

    #[test]
    fn a_section_is_not_opened_twice() -> Result {
        let guard = FpuGuard::new().ok_or(EBUSY)?;
        let second = FpuGuard::new().is_some();
        drop(guard);
        assert!(!second);
        let again = FpuGuard::new().is_some();
        assert!(again);
        Ok(())
    }

    #[test]
    fn kernels_open_a_section_once_and_count_it() -> Result {
        let (before, _) = fpu::section_stats();
        let kernels = dispatch::kernels(true, false, None);
        let opened = (0..3).filter(|_| kernels.section().enter()).count();
        let busy = FpuGuard::new().is_none();
        kernels.leave();
        kernels.leave();
        let free = FpuGuard::new().is_some();
        drop(kernels);
        let (after, _) = fpu::section_stats();
        assert_eq!(opened, 3);
        assert!(busy);
        assert!(free);
        assert_eq!(after, before + 1);
        Ok(())
    }

    #[test]
    fn who_has_no_section_uses_scalar_code() -> Result {
        let outer = FpuGuard::new().ok_or(EBUSY)?;
        let kernels = dispatch::kernels(true, false, None);
        let entered = kernels.section().enter();
        drop(kernels);
        drop(outer);
        assert!(!entered);
        Ok(())
    }
}
