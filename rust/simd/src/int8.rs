// SPDX-License-Identifier: GPL-2.0

//! Layers of 8-bit integers: what is checked before vector code is entered.

use neural_core::int8::{Gemm, Requant, GROUP, LANES, SLACK};

use crate::{args, call, Isa, Set};

/// Bytes of a bias, a multiplier, a shift, an offset.
const WORD: usize = 4;

/// The positions of a layer in one of its tensors.
struct Positions {
    m: usize,
    outer: usize,
    row: usize,
    line: usize,
}

impl Positions {
    /// Bytes up to the end of the last position, which takes `size` bytes.
    fn reach(&self, size: usize) -> Option<usize> {
        let lines = self.outer.checked_sub(1)?.checked_mul(self.line)?;
        let rows = self.m.checked_sub(1)?.checked_mul(self.row)?;
        lines.checked_add(rows)?.checked_add(size)
    }
}

/// The greatest offset.
fn last(offsets: &[u8]) -> usize {
    let offset = |word: &[u8]| word.try_into().map_or(0, u32::from_le_bytes);
    let last = offsets.chunks_exact(WORD).map(offset).max().unwrap_or(0);
    // CAST: to a wider type.
    last as usize
}

/// Nothing, unless a list lacks words for so many `rows`.
#[inline(always)]
fn lists(rows: usize, bias: &[u8], requant: &Requant<'_>) -> Option<()> {
    let bytes = rows.checked_mul(WORD)?;
    let least = bias.len().min(requant.mult.len()).min(requant.shift.len());
    (bytes <= least).then_some(())
}

/// Zero point, least and greatest code, if they are codes.
#[inline(always)]
fn codes(requant: &Requant<'_>) -> Option<[u8; 3]> {
    Some([
        requant.zero.try_into().ok()?,
        requant.min.try_into().ok()?,
        requant.max.try_into().ok()?,
    ])
}

/// `None` if an access could miss a slice.
// Inlined, so that the arguments are written once, where they are read: what is copied with vectors
// right after it was written in words has to wait for these.
#[inline(always)]
pub(crate) fn gemm(gemm: &mut Gemm<'_>) -> Option<args::GemmI8> {
    let segments = gemm.offsets.len() / WORD;
    let groups = gemm.k.div_ceil(GROUP);
    let rows = gemm.n.checked_next_multiple_of(LANES)?;
    let weights = segments
        .checked_mul(groups)?
        .checked_mul(rows)?
        .checked_mul(GROUP)?;
    let (m, outer) = (gemm.m, gemm.outer);
    let x = Positions {
        m,
        outer,
        row: gemm.x_row,
        line: gemm.x_outer,
    };
    let y = Positions {
        m,
        outer,
        row: gemm.y_row,
        line: gemm.y_outer,
    };
    let patch = last(gemm.offsets).checked_add(gemm.k)?;
    let read = x.reach(patch.checked_add(SLACK)?)?;
    if gemm.n == 0
        || read > gemm.x.len()
        || y.reach(gemm.n)? > gemm.y.len()
        || weights > gemm.w.len()
    {
        return None;
    }
    lists(rows, gemm.bias, &gemm.requant)?;
    let [zero, min, max] = codes(&gemm.requant)?;
    // Lines that follow each other without a gap are one.
    let joined =
        m.checked_mul(gemm.x_row)? == gemm.x_outer && m.checked_mul(gemm.y_row)? == gemm.y_outer;
    let (m, outer) = if joined {
        (m.checked_mul(outer)?, 1)
    } else {
        (m, outer)
    };
    m.checked_mul(outer)?;
    Some(args::GemmI8 {
        x: gemm.x.as_ptr(),
        x_row: gemm.x_row,
        x_outer: gemm.x_outer,
        y: gemm.y.as_mut_ptr(),
        y_row: gemm.y_row,
        y_outer: gemm.y_outer,
        m,
        outer,
        n: gemm.n,
        groups,
        segments,
        offsets: gemm.offsets.as_ptr(),
        w: gemm.w.as_ptr(),
        bias: gemm.bias.as_ptr(),
        requant: args::Requant {
            mult: gemm.requant.mult.as_ptr(),
            shift: gemm.requant.shift.as_ptr(),
            zero,
            min,
            max,
        },
    })
}

impl Set {
    /// [`neural_core::int8::gemm`], if there is vector code for it.
    #[inline]
    pub fn gemm_i8(&self, layer: &mut Gemm<'_>) -> bool {
        if self.isa() == Isa::Scalar {
            return false;
        }
        match gemm(layer) {
            // SAFETY: the set was made for this CPU; the accesses were checked.
            Some(args) => unsafe { call::gemm_i8(self.isa(), &args) },
            None => false,
        }
    }
}
