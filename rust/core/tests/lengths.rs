// SPDX-License-Identifier: GPL-2.0

//! Dense layers of Q16.16 and of 16-bit codes of all lengths, as KUnit runs them in the kernel.

#[path = "common/lengths.rs"]
mod lengths;

use lengths::{dense_i16, dense_q16, Memory};
use neural_core::init::SplitMix64;

/// Calls `right` for all lengths of rows, and for all numbers of rows.
fn each(right: fn(&mut SplitMix64, [usize; 2], Memory<'_>) -> bool) {
    let mut random = SplitMix64::new(1);
    let mut parts: [Vec<u8>; 6] = std::array::from_fn(|_| vec![0; 1 << 16]);
    for length in 0..=512 {
        let other = 1 + random.below(13) as usize;
        for sizes in [[other, length], [length, other]] {
            let [x, w, bias, terms, shift, y] = &mut parts;
            let memory = Memory {
                x,
                w,
                bias,
                terms,
                shift,
                y,
            };
            assert!(right(&mut random, sizes, memory), "{sizes:?}");
        }
    }
}

#[test]
fn layers_of_16_bit_codes_of_all_lengths_are_as_defined() {
    each(dense_i16);
}

#[test]
fn layers_of_fixed_point_of_all_lengths_are_as_defined() {
    each(dense_q16);
}
