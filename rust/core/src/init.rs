// SPDX-License-Identifier: GPL-2.0

//! Initial weights, reproducible from a seed.
//!
//! Training starts from random weights whose spread keeps the variance of the signal the same from
//! layer to layer; this is the uniform form of the rule of Glorot and Bengio, "Understanding the
//! difficulty of training deep feedforward neural networks" (2010), equation 16.

use crate::error::Error;
use crate::fixed::map_elements;
use crate::nnm::MAX_DIM;

/// SplitMix64 (Steele, Lea, Flood 2014): a 64-bit counter and a mixing function.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// Starts the sequence of `seed`; every seed is good.
    pub const fn new(seed: u64) -> Self {
        SplitMix64(seed)
    }

    /// The next 64 bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, or 0 when `bound` is 0; the bias is below `bound / 2^64`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        // CAST: the upper half of a 128-bit product fits in 64 bits.
        ((u128::from(self.next_u64()).wrapping_mul(u128::from(bound))) >> 64) as u64
    }
}

/// The bound of Xavier's uniform distribution, `sqrt(6 / (inputs + outputs))` in Q16.16, rounded down.
///
/// Fails with `Argument` when a dimension is not in 1..=4096.
pub fn xavier_bound(inputs: u32, outputs: u32) -> Result<i32, Error> {
    for (name, have) in [("inputs", inputs), ("outputs", outputs)] {
        if have == 0 || have > MAX_DIM {
            let (have, max) = (u64::from(have), u64::from(MAX_DIM));
            return Err(Error::Argument {
                name,
                have,
                min: 1,
                max,
            });
        }
    }
    let sum = u64::from(inputs).wrapping_add(u64::from(outputs)).max(1);
    // CAST: at most sqrt(3) * 2^16.
    Ok(square_root((6u64 << 32) / sum) as i32)
}

/// Fills `dst` with Q16.16 elements, uniform in `±sqrt(6 / (inputs + outputs))`, both ends included.
///
/// The same arguments always give the same bytes. Fails as [`xavier_bound`] does.
pub fn xavier(inputs: u32, outputs: u32, seed: u64, dst: &mut [u8]) -> Result<(), Error> {
    let bound = i64::from(xavier_bound(inputs, outputs)?);
    // CAST: the bound is positive and below 2^17, so all fits.
    let span = bound.wrapping_mul(2).wrapping_add(1) as u64;
    let mut random = SplitMix64::new(seed);
    map_elements(dst, |_| {
        (random.below(span) as i64).wrapping_sub(bound) as i32
    });
    Ok(())
}

/// `floor(sqrt(x))` for `x < 2^36`, bit by bit from the highest.
fn square_root(x: u64) -> u64 {
    (0..18).rev().fold(0, |root, bit| {
        let more = root | (1u64 << bit);
        // No overflow: below 2^36.
        if more.wrapping_mul(more) <= x {
            more
        } else {
            root
        }
    })
}
