// SPDX-License-Identifier: GPL-2.0

//! Matrix products of 8-bit integers.
//!
//! Sums of several positions and rows stay in registers while the weights of a panel pass by:
//! [`tile`] for several positions, [`single`] for one, which takes turns between several sums of a
//! row, since an addition must wait for the one before it.

use crate::args::{GemmI8, Requant};

use super::{
    avx2::{Avx2, AvxVnni},
    avx512::{Avx512, Avx512Vnni},
    position::{offset, Cursor, WORD},
    vector::{Isa, PLAIN},
};

#[cfg(test)]
use super::avx2::AvxVnniStandIn;

const PANEL: usize = 64;
const LANES: usize = 16;
/// Bytes of a group.
const GROUP: usize = 4;

/// What sums become.
trait Results {
    /// Writes the results of the rows from `row` on.
    unsafe fn write<I: Isa, const NV: usize>(
        a: &GemmI8,
        y: *mut u8,
        row: usize,
        values: &[I::V; NV],
    );
}

/// Codes.
struct ToCodes;

/// Codes, behind which a vector may be written.
struct ToBuffer;

/// Numbers of 16 bits.
struct ToWords;

impl Results for ToCodes {
    #[inline(always)]
    unsafe fn write<I: Isa, const NV: usize>(
        a: &GemmI8,
        y: *mut u8,
        row: usize,
        values: &[I::V; NV],
    ) {
        // SAFETY: the caller may write the codes of all rows.
        unsafe {
            let finish = I::finish(a.requant.zero, a.requant.min, a.requant.max);
            I::write::<NV>(y.add(row), a.n - row, values, &finish);
        }
    }
}

impl Results for ToBuffer {
    #[inline(always)]
    unsafe fn write<I: Isa, const NV: usize>(
        a: &GemmI8,
        y: *mut u8,
        row: usize,
        values: &[I::V; NV],
    ) {
        // SAFETY: the caller may write a whole panel.
        unsafe {
            let finish = I::finish(a.requant.zero, a.requant.min, a.requant.max);
            I::write::<NV>(y.add(row), PANEL, values, &finish);
        }
    }
}

impl Results for ToWords {
    #[inline(always)]
    unsafe fn write<I: Isa, const NV: usize>(
        a: &GemmI8,
        y: *mut u8,
        row: usize,
        values: &[I::V; NV],
    ) {
        // SAFETY: the caller may write the numbers of all rows.
        unsafe { I::write_words::<NV>(y.add(2 * row), a.n - row, values) }
    }
}

/// Neighbouring rows of a panel.
#[derive(Clone, Copy)]
struct Column {
    /// Weights of the first group.
    w: *const u8,
    /// From a group to the next one.
    step: usize,
    /// Number of the first row.
    row: usize,
}

/// Most vectors of a column.
const VECTORS: usize = 4;

/// How sums become codes, as far as it is not found out anew for each tile of a column. There is one
/// for all widths, since each would have a place of its own on the stack.
#[derive(Clone, Copy)]
struct Scales<V> {
    /// Whether the rows are plain.
    plain: bool,
    halves: [V; VECTORS],
}

impl<V: Copy> Scales<V> {
    /// For `nv` vectors.
    #[inline(always)]
    unsafe fn new<I: Isa<V = V>>(a: &GemmI8, column: Column, nv: usize) -> Self {
        // SAFETY: as in `tile`.
        unsafe {
            let (mult, shift) = a.requant.lists(column.row);
            let bias = a.bias.add(column.row * WORD);
            let mut halves = [I::zero(); VECTORS];
            let mut plain = a.segments * a.groups <= PLAIN / GROUP;
            each!(J in VECTORS, {
                if J < nv {
                    let list = J * I::LANES * WORD;
                    halves[J % VECTORS] = I::scale(mult.add(list), shift.add(list)).half;
                    plain &= I::plain(shift.add(list), bias.add(list));
                }
            });
            Self { plain, halves }
        }
    }
}

/// `MR` positions, `NV` vectors of rows.
#[inline(always)]
unsafe fn tile<I: Isa, const MR: usize, const NV: usize>(
    a: &GemmI8,
    at: &mut Cursor,
    column: Column,
    scales: &Scales<I::V>,
) {
    // SAFETY: positions, rows, groups and segments are those of the arguments, whose caller has
    // checked that they lie inside the buffers.
    unsafe {
        let mut x = [at.x; MR];
        let mut y = [at.y; MR];
        each!(R in MR, { (x[R], y[R]) = at.next(&a.positions); });

        let mut sums = [[I::zero(); NV]; MR];
        let bias = a.bias.add(column.row * WORD);
        each!(J in NV, {
            let bias = I::load(bias.add(J * I::LANES * WORD));
            each!(R in MR, { sums[R][J] = bias; });
        });

        let mut w = column.w;
        for segment in 0..a.segments {
            let mut i = offset(a.offsets, segment);
            let end = i + a.groups * GROUP;
            while i < end {
                let mut weights = [I::weights(w); NV];
                each!(J in NV, {
                    weights[J] = I::weights(w.add(J * I::LANES * GROUP));
                });
                each!(R in MR, {
                    let x = I::broadcast(x[R].add(i));
                    each!(J in NV, { sums[R][J] = I::dot(sums[R][J], x, weights[J]); });
                });
                w = w.wrapping_add(column.step);
                i += GROUP;
            }
        }

        // Position by position: what has been written needs no register any more.
        let (mult, shift) = a.requant.lists(column.row);
        if scales.plain {
            each!(R in MR, {
                each!(J in NV, {
                    let list = J * I::LANES * WORD;
                    let half = scales.halves[J % VECTORS];
                    let scale = I::scale_of(mult.add(list), shift.add(list), half);
                    sums[R][J] = I::multiply_plain(sums[R][J], &scale);
                });
                ToCodes::write::<I, NV>(a, y[R], column.row, &sums[R]);
            });
        } else {
            each!(R in MR, {
                each!(J in NV, {
                    let list = J * I::LANES * WORD;
                    let scale = I::scale(mult.add(list), shift.add(list));
                    let sum = I::left(sums[R][J], shift.add(list));
                    sums[R][J] = I::multiply(sum, &scale);
                });
                ToCodes::write::<I, NV>(a, y[R], column.row, &sums[R]);
            });
        }
    }
}

/// One position, `NV` vectors of rows, `U` sums of each row.
#[inline(always)]
unsafe fn single<I: Isa, R: Results, const NV: usize, const U: usize>(
    a: &GemmI8,
    (x, y): (*const u8, *mut u8),
    column: Column,
) {
    // SAFETY: as in `tile`.
    unsafe {
        let mut sums = [[I::zero(); NV]; U];
        let bias = a.bias.add(column.row * WORD);
        each!(J in NV, { sums[0][J] = I::load(bias.add(J * I::LANES * WORD)); });

        let mut w = column.w;
        for segment in 0..a.segments {
            let mut i = offset(a.offsets, segment);
            for _ in 0..a.groups / 4 {
                let quad = I::quad(x.add(i));
                each!(G in 4, {
                    let x = I::pick::<G>(quad);
                    each!(J in NV, {
                        let weights = I::weights(w.add(J * I::LANES * GROUP));
                        sums[G % U][J] = I::dot(sums[G % U][J], x, weights);
                    });
                    w = w.wrapping_add(column.step);
                });
                i += 4 * GROUP;
            }
            for _ in 0..a.groups % 4 {
                let x = I::broadcast(x.add(i));
                each!(J in NV, {
                    let weights = I::weights(w.add(J * I::LANES * GROUP));
                    sums[0][J] = I::dot(sums[0][J], x, weights);
                });
                w = w.wrapping_add(column.step);
                i += GROUP;
            }
        }

        let mut values = sums[0];
        each!(J in NV, {
            each!(T in U, {
                if T != 0 {
                    values[J] = I::add(values[J], sums[T][J]);
                }
            });
        });
        let (mult, shift) = a.requant.lists(column.row);
        if I::goes_left::<NV>(shift, I::LANES * WORD) {
            each!(J in NV, { values[J] = I::left(values[J], shift.add(J * I::LANES * WORD)); });
        }
        each!(J in NV, {
            let list = J * I::LANES * WORD;
            let scale = I::scale(mult.add(list), shift.add(list));
            values[J] = I::multiply(values[J], &scale);
        });
        R::write::<I, NV>(a, y, column.row, &values);
    }
}

/// One position of a panel of `rows` rows.
#[inline(always)]
unsafe fn one<I: Isa, R: Results>(
    a: &GemmI8,
    position: (*const u8, *mut u8),
    rows: usize,
    column: Column,
) {
    // SAFETY: as in `tile`.
    unsafe {
        match (I::WIDE, rows / LANES) {
            (true, 1) => single::<I, R, 1, 4>(a, position, column),
            (true, 2) => single::<I, R, 2, 4>(a, position, column),
            (true, 3) => single::<I, R, 3, 4>(a, position, column),
            (true, _) => single::<I, R, 4, 2>(a, position, column),
            (false, 1) => single::<I, R, 2, 4>(a, position, column),
            (false, 2) => single::<I, R, 4, 2>(a, position, column),
            (false, 3) => single::<I, R, 6, 1>(a, position, column),
            (false, _) => single::<I, R, 8, 1>(a, position, column),
        }
    }
}

/// Tiles of the heights given, as many as fit, for a column of `$nv` vectors.
macro_rules! tiles {
    ($isa:ty, $a:ident, $at:ident, $column:expr, $scales:expr, $nv:literal, $($mr:literal $(if $dot:expr)?),*) => {
        $(while $at.left >= $mr $(&& $dot)? {
            tile::<$isa, $mr, $nv>($a, &mut $at, $column, $scales);
        })*
    };
}

/// All positions of a panel of `rows` rows, 64 of which are four vectors.
#[inline(always)]
unsafe fn wide<I: Isa>(a: &GemmI8, mut at: Cursor, rows: usize, column: Column) {
    // SAFETY: as in `tile`.
    unsafe {
        if at.left > 1 {
            let scales = Scales::new::<I>(a, column, rows / LANES);
            match rows / LANES {
                1 => {
                    tiles!(I, a, at, column, &scales, 1, 8, 4, 2);
                }
                2 => {
                    tiles!(I, a, at, column, &scales, 2, 8, 4, 2);
                }
                3 => {
                    tiles!(I, a, at, column, &scales, 3, 6, 2);
                }
                _ => {
                    tiles!(I, a, at, column, &scales, 4, 6 if I::DOT, 4, 2);
                }
            }
        }
        if at.left > 0 {
            one::<I, ToCodes>(a, at.next(&a.positions), rows, column);
        }
    }
}

/// All positions of a panel of `rows` rows, 16 of which are two vectors. What is left of several
/// positions is done sixteen rows at a time, one position with all rows at once.
#[inline(always)]
unsafe fn narrow<I: Isa>(a: &GemmI8, start: Cursor, rows: usize, panel: Column) {
    // SAFETY: as in `tile`.
    unsafe {
        let mut at = start;
        if start.left > 1 {
            for part in 0..rows / LANES {
                let column = Column {
                    w: panel.w.add(part * LANES * GROUP),
                    row: panel.row + part * LANES,
                    ..panel
                };
                at = start;
                let scales = Scales::new::<I>(a, column, 2);
                tiles!(I, a, at, column, &scales, 2, 6 if I::DOT, 4, 2);
            }
        }
        if at.left > 0 {
            one::<I, ToCodes>(a, at.next(&a.positions), rows, panel);
        }
    }
}

impl Requant {
    /// Multipliers and shifts from a row on.
    #[inline(always)]
    unsafe fn lists(&self, row: usize) -> (*const u8, *const u8) {
        // SAFETY: the caller knows that there is such a row.
        unsafe { (self.mult.add(row * WORD), self.shift.add(row * WORD)) }
    }
}

/// Calls `$panel` with the rows and the place of each panel.
macro_rules! panels {
    ($a:ident, |$rows:ident, $column:ident| $panel:expr) => {
        let mut w = $a.w;
        let mut row = 0;
        while row < $a.n {
            let left = $a.n - row;
            let $rows = if left < PANEL {
                left.div_ceil(LANES) * LANES
            } else {
                PANEL
            };
            let $column = Column {
                w,
                step: $rows * GROUP,
                row,
            };
            // SAFETY: as in `tile`; panels follow each other.
            unsafe { $panel };
            w = w.wrapping_add($a.segments * $a.groups * $rows * GROUP);
            row += PANEL;
        }
    };
}

#[inline(always)]
unsafe fn gemm<I: Isa>(a: &GemmI8) {
    let Some(start) = Cursor::new(&a.positions) else {
        return;
    };
    panels!(a, |rows, column| if I::WIDE {
        wide::<I>(a, start, rows, column)
    } else {
        narrow::<I>(a, start, rows, column)
    });
}

/// The first position only. What is written in one piece can be read at once: so the codes are written
/// up to the end of their panel.
///
/// # Safety
///
/// As that of the matrix product; behind the output there are [`PANEL`] bytes that may be written.
#[inline(always)]
pub(super) unsafe fn position<I: Isa>(a: &GemmI8) {
    let first = (a.positions.x, a.positions.y);
    panels!(a, |rows, column| one::<I, ToBuffer>(a, first, rows, column));
}

/// The first position, as numbers of 16 bits.
#[inline(always)]
unsafe fn words<I: Isa>(a: &GemmI8) {
    let first = (a.positions.x, a.positions.y);
    panels!(a, |rows, column| one::<I, ToWords>(a, first, rows, column));
}

macro_rules! entry {
    ($body:ident: $name:ident, $isa:ty, $features:literal) => {
        /// Matrix product.
        ///
        /// # Safety
        ///
        /// The CPU has the features, vector registers may be used, and every access that the
        /// arguments describe lies inside a buffer, with `SLACK` bytes to read behind `x`.
        #[no_mangle]
        #[target_feature(enable = $features)]
        pub(crate) unsafe extern "C" fn $name(args: *const GemmI8) {
            // SAFETY: as the caller promises.
            unsafe { $body::<$isa>(&*args) }
        }
    };
}

entry!(gemm: neural_gemm_i8_avx2, Avx2, "avx2");
entry!(gemm: neural_gemm_i8_avxvnni, AvxVnni, "avx2,avxvnni");
entry!(gemm: neural_gemm_i8_avx512, Avx512, "avx512f,avx512bw");
entry!(
    gemm: neural_gemm_i8_avx512vnni,
    Avx512Vnni,
    "avx512f,avx512bw,avx512vnni"
);
#[cfg(test)]
entry!(
    gemm: neural_gemm_i8_avxvnni_stand_in,
    AvxVnniStandIn,
    "avx2,avx512f,avx512vl,avx512vnni"
);
entry!(words: neural_gemm16_i8_avx2, Avx2, "avx2");
entry!(words: neural_gemm16_i8_avxvnni, AvxVnni, "avx2,avxvnni");
entry!(words: neural_gemm16_i8_avx512, Avx512, "avx512f,avx512bw");
entry!(
    words: neural_gemm16_i8_avx512vnni,
    Avx512Vnni,
    "avx512f,avx512bw,avx512vnni"
);
#[cfg(test)]
entry!(
    words: neural_gemm16_i8_avxvnni_stand_in,
    AvxVnniStandIn,
    "avx2,avx512f,avx512vl,avx512vnni"
);
