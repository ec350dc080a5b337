// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of the scalar code of dense layers that have no vector code, against their definitions:
//! Q16.16 and 16-bit codes, of all lengths, in memory behind which lie pages that fault.

use kernel::prelude::*;
use neural_core::init::SplitMix64;

use crate::sys::cpu;

// What is compared, and how, is the same as natively.
#[path = "../core/tests/common/lengths.rs"]
mod lengths;

use lengths::Memory;

/// The greatest length that is tried.
const MOST: usize = 512;

/// Bytes of a buffer.
const BUFFER: usize = 1 << 16;

/// Calls `right` for all lengths of rows, and for all numbers of rows.
fn each_length(right: fn(&mut SplitMix64, [usize; 2], Memory<'_>) -> bool) -> Result {
    let mut random = SplitMix64::new(1);
    let mut buffers = [const { VVec::new() }; 6];
    for buffer in &mut buffers {
        *buffer = VVec::from_elem(0u8, BUFFER, GFP_KERNEL)?;
    }
    for length in 0..=MOST {
        let other = 1 + random.below(13) as usize;
        for sizes in [[other, length], [length, other]] {
            let [x, w, bias, terms, shift, y] = buffers.each_mut().map(|part| &mut part[..]);
            let memory = Memory {
                x,
                w,
                bias,
                terms,
                shift,
                y,
            };
            if !right(&mut random, sizes, memory) {
                pr_err!("a layer of {sizes:?} is not as defined\n");
                return Err(EILSEQ);
            }
        }
        cpu::cond_resched();
    }
    Ok(())
}

#[kunit_tests(neural_scalar)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_16_bit_codes_of_all_lengths_are_as_defined() -> Result {
        each_length(lengths::dense_i16)
    }

    #[test]
    fn layers_of_fixed_point_of_all_lengths_are_as_defined() -> Result {
        each_length(lengths::dense_q16)
    }
}
