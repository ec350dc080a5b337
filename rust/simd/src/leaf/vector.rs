// SPDX-License-Identifier: GPL-2.0

//! What vector code of all instruction sets has in common.

/// The body once for each number from 0 below `$max`, which must be a constant of at most 8: the
/// elements of small arrays are then known when the code is compiled and live in registers.
macro_rules! each {
    ($i:ident in $max:expr, $body:block) => {
        each!(@ $i, $max, $body, 0 1 2 3 4 5 6 7)
    };
    (@ $i:ident, $max:expr, $body:block, $($n:literal)*) => {
        $({
            const $i: usize = $n;
            if $i < $max $body
        })*
    };
}

/// The most products of a row whose sum is at most 2^29 from 0: they are at most 255 times 128 each.
pub(crate) const PLAIN: usize = 1 << 14;

/// How rows become codes: multipliers and shifts of the lanes of a vector.
#[derive(Clone, Copy)]
pub(crate) struct Scale<V> {
    /// Multipliers.
    pub(crate) mult: V,
    /// Multipliers of the odd lanes, in the even ones.
    pub(crate) odd: V,
    /// Shifts to the right after the multiplication.
    pub(crate) right: V,
    /// Half of what one is after the shift to the right, 0 without one.
    pub(crate) half: V,
}

/// What is done to a code when it is written, the same in all lanes.
#[derive(Clone, Copy)]
pub(crate) struct Finish<V> {
    /// The zero point, 16 bits wide.
    pub(crate) zero: V,
    /// Least code, a byte.
    pub(crate) min: V,
    /// Greatest code, a byte.
    pub(crate) max: V,
}

/// The steps of an instruction set. A vector holds [`LANES`](Isa::LANES) sums of 32 bits.
///
/// Who calls a method promises: the CPU has the instruction set, it may be used here, and what is read or written
/// through a pointer may be so; pointers need no alignment.
pub(crate) trait Isa: Copy {
    /// A vector of sums, or of bytes.
    type V: Copy;
    /// Unsigned bytes, ready for a multiplication.
    type X: Copy;
    /// Signed bytes, ready for a multiplication.
    type W: Copy;

    /// Sums in a vector.
    const LANES: usize;
    /// Whether there are 32 registers.
    const WIDE: bool;
    /// Whether bytes are multiplied and summed up by one instruction.
    const DOT: bool;

    /// All lanes 0.
    unsafe fn zero() -> Self::V;
    /// `LANES` sums.
    unsafe fn load(p: *const u8) -> Self::V;
    /// Adds up lane by lane.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `4 * LANES` weights.
    unsafe fn weights(p: *const u8) -> Self::W;
    /// Four bytes, repeated.
    unsafe fn broadcast(p: *const u8) -> Self::X;
    /// Sixteen bytes, repeated; [`pick`](Isa::pick) takes four of them.
    unsafe fn quad(p: *const u8) -> Self::X;
    /// The bytes `4 * G..4 * G + 4` of a quad, repeated.
    unsafe fn pick<const G: usize>(quad: Self::X) -> Self::X;
    /// `acc` plus, in each lane, four products.
    unsafe fn dot(acc: Self::V, x: Self::X, w: Self::W) -> Self::V;
    /// Multipliers and shifts of `LANES` rows.
    unsafe fn scale(mult: *const u8, shift: *const u8) -> Scale<Self::V>;
    /// Whether some of the shifts of `NV` vectors go to the left, which is rare. From one vector to the
    /// next one there are `step` bytes.
    unsafe fn goes_left<const NV: usize>(shift: *const u8, step: usize) -> bool;
    /// Shifts to the left those lanes whose shift goes there.
    unsafe fn left(acc: Self::V, shift: *const u8) -> Self::V;
    /// `multiply` of the specification, without shifts to the left.
    unsafe fn multiply(acc: Self::V, scale: &Scale<Self::V>) -> Self::V;
    /// Whether a vector of rows is such as [`multiply_plain`](Isa::multiply_plain) takes, as nearly all
    /// are: shifts go to the right, by one at least, and biases are at most 2^29 from 0.
    unsafe fn plain(shift: *const u8, bias: *const u8) -> bool;
    /// `multiply` of the specification, for plain rows and sums between -2^30 and 2^30.
    unsafe fn multiply_plain(acc: Self::V, scale: &Scale<Self::V>) -> Self::V;
    /// As [`scale`](Isa::scale), of plain rows; `half` is that of the scale.
    unsafe fn scale_of(mult: *const u8, shift: *const u8, half: Self::V) -> Scale<Self::V>;
    /// Zero point and limits in all lanes.
    unsafe fn finish(zero: u8, min: u8, max: u8) -> Finish<Self::V>;
    /// The codes of `NV` vectors, of which `len` are written; vectors behind these may be repeated.
    unsafe fn write<const NV: usize>(
        y: *mut u8,
        len: usize,
        values: &[Self::V; NV],
        finish: &Finish<Self::V>,
    );
    /// `NV` vectors as numbers of 16 bits, limited to these, of which `len` are written.
    unsafe fn write_words<const NV: usize>(y: *mut u8, len: usize, values: &[Self::V; NV]);
    /// Four vectors of bytes, interleaved twice: what has the number `i` becomes a lane that holds the
    /// bytes `i` of all four. Within 16 bytes, four lanes follow each other in a vector.
    unsafe fn interleave(rows: [Self::V; 4]) -> [Self::X; 4];
    /// The codes of lanes in the order of [`interleave`](Isa::interleave), of which `len` are written.
    unsafe fn write_interleaved(
        y: *mut u8,
        len: usize,
        values: &[Self::V; 4],
        finish: &Finish<Self::V>,
    );
}
