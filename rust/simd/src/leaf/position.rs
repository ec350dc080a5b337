// SPDX-License-Identifier: GPL-2.0

//! The positions of a layer, one after another.

use crate::args::Positions;

/// Bytes of a bias, a multiplier, a shift, an offset.
pub(crate) const WORD: usize = 4;

/// A position, and how many follow.
#[derive(Clone, Copy)]
pub(crate) struct Cursor {
    /// Its input.
    pub(crate) x: *const u8,
    /// Its output.
    pub(crate) y: *mut u8,
    /// Positions left in this line.
    line: usize,
    /// All positions that are left.
    pub(crate) left: usize,
}

impl Cursor {
    /// The first position, if there is one.
    #[inline(always)]
    pub(crate) fn new(p: &Positions) -> Option<Self> {
        if p.m == 0 || p.outer == 0 {
            return None;
        }
        Some(Self {
            x: p.x,
            y: p.y,
            line: p.m,
            left: p.m * p.outer,
        })
    }

    /// Input and output of the position; then the cursor stands at the next one. There is one.
    #[inline(always)]
    pub(crate) fn next(&mut self, p: &Positions) -> (*const u8, *mut u8) {
        let here = (self.x, self.y);
        self.left -= 1;
        self.line -= 1;
        if self.line > 0 {
            self.x = self.x.wrapping_add(p.x_row);
            self.y = self.y.wrapping_add(p.y_row);
        } else {
            let back = p.m - 1;
            self.x = self.x.wrapping_sub(back * p.x_row).wrapping_add(p.x_outer);
            self.y = self.y.wrapping_sub(back * p.y_row).wrapping_add(p.y_outer);
            self.line = p.m;
        }
        here
    }
}

/// Offset number `index` of a list.
///
/// # Safety
///
/// The list is so long.
#[inline(always)]
pub(crate) unsafe fn offset(offsets: *const u8, index: usize) -> usize {
    // SAFETY: as the caller promises.
    let offset = unsafe { offsets.add(index * WORD).cast::<u32>().read_unaligned() };
    // CAST: to a wider type.
    offset as usize
}
