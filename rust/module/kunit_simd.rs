// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of vector code: all that this CPU runs, in sections of the kernel, against scalar code.

use kernel::prelude::*;
use neural_core::int8::{
    self,
    pack,
    Gemm,
    Requant,
    LANES,
    SLACK, //
};
use neural_simd::{
    Isa,
    Section,
    Set, //
};

use crate::{
    dispatch,
    sys::fpu::{
        self,
        FpuGuard, //
    }, //
};

/// The greatest length that is tried: two panels and more, with every tail.
const MOST: usize = 150;

/// Repeatable numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        // CAST: The remainder is below `end`.
        (self.next() >> 16).checked_rem(end as u64).unwrap_or(0) as usize
    }

    fn bytes(&mut self, len: usize) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::from_elem(0u8, len, GFP_KERNEL)?;
        // CAST: The low byte.
        bytes.iter_mut().for_each(|byte| *byte = self.next() as u8);
        Ok(bytes)
    }

    /// Numbers of 32 bits.
    fn words(&mut self, len: usize, number: impl Fn(u64) -> i32) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::from_elem(0u8, 4 * len, GFP_KERNEL)?;
        for word in bytes.chunks_exact_mut(4) {
            word.copy_from_slice(&number(self.next()).to_le_bytes());
        }
        Ok(bytes)
    }
}

/// The sets that this CPU runs.
fn sets() -> impl Iterator<Item = Set> {
    let features = fpu::features();
    let vector = Isa::ALL.into_iter().filter(|&isa| isa != Isa::Scalar);
    vector.filter_map(move |isa| Set::select(&features, Some(isa)))
}

/// A layer of `n` rows and `k` inputs for `m` positions; parts: input, weights, biases, multipliers and
/// shifts.
fn layer<'a>(
    [x, w, bias, mult, shift]: [&'a [u8]; 5],
    (m, n, k): (usize, usize, usize),
    y: &'a mut [u8],
) -> Gemm<'a> {
    Gemm {
        x,
        x_row: k,
        x_outer: 0,
        y,
        y_row: n,
        y_outer: 0,
        m,
        outer: 1,
        n,
        k,
        offsets: &[0; 4],
        w,
        bias,
        requant: Requant {
            mult,
            shift,
            zero: 100,
            min: 10,
            max: 250,
        },
    }
}

/// Compares a random layer of this shape; returns by how many sets it was computed.
fn compare(random: &mut Random, n: usize, k: usize) -> Result<usize> {
    let m = 1 + random.below(3);
    let rows = n.next_multiple_of(LANES);
    let x = random.bytes(m * k + SLACK)?;
    let plain = random.bytes(n * k)?;
    let packed = pack::packed_gemm_bytes(n, 1, k).ok_or(EOVERFLOW)?;
    let mut w = KVVec::from_elem(0u8, packed, GFP_KERNEL)?;
    pack::pack_gemm(&plain, n, 1, k, &mut w);
    // CAST: The high bits, on purpose.
    let bias = random.words(rows, |r| (r as i32) >> 14)?;
    let mult = random.words(rows, |r| (1 << 30) | (r as i32 & i32::MAX))?;
    let shift = random.words(rows, |r| 4 + (r % 8) as i32)?;
    let mut want = KVVec::from_elem(0x55u8, m * n + 8, GFP_KERNEL)?;
    let mut done = 0;
    let parts = [&x[..], &w, &bias, &mult, &shift];
    int8::gemm(layer(parts, (m, n, k), &mut want));
    for set in sets() {
        let mut got = KVVec::from_elem(0x55u8, m * n + 8, GFP_KERNEL)?;
        let guard = FpuGuard::new().ok_or(EBUSY)?;
        let by_vectors = set.gemm_i8(&mut layer(parts, (m, n, k), &mut got));
        drop(guard);
        if by_vectors && got[..] != want[..] {
            pr_err!("{}: {n} x {k}, {m} positions\n", set.isa().name());
            return Err(EILSEQ);
        }
        done += usize::from(by_vectors);
    }
    Ok(done)
}

#[kunit_tests(neural_simd)]
mod tests {
    use super::*;

    #[test]
    fn products_of_all_lengths_are_those_of_scalar_code() -> Result {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut done = 0;
        for length in 1..=MOST {
            let other = 1 + random.below(MOST);
            done += compare(&mut random, length, other)?;
            done += compare(&mut random, other, length)?;
        }
        assert_eq!(done, 2 * MOST * sets().count());
        Ok(())
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
        let kernels = dispatch::kernels(true, None);
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
        let kernels = dispatch::kernels(true, None);
        let entered = kernels.section().enter();
        drop(kernels);
        drop(outer);
        assert!(!entered);
        Ok(())
    }
}
