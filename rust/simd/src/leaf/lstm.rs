// SPDX-License-Identifier: GPL-2.0

//! The gates and cells of a long short-term memory of 8-bit integers, as `int8::lstm_cell` of the
//! specification has them.

use crate::args::LstmCellI8;

use super::codes::{Code, Codes, Product, CODES};

/// Limits to 16 bits.
#[inline(always)]
unsafe fn words<C: Codes>(x: C::V) -> C::V {
    // SAFETY: as the caller promises.
    unsafe {
        let (least, most) = (C::splat(i16::MIN.into()), C::splat(i16::MAX.into()));
        C::max(C::min(x, most), least)
    }
}

/// The table at `x >= 0`, an index with `bits` fraction bits; index and result.
#[inline(always)]
unsafe fn interpolated<C: Codes>(table: C::Table, x: C::V, bits: i32) -> (C::V, C::V) {
    // SAFETY: as the caller promises; the last index has a neighbour.
    unsafe {
        let (index, shift) = (C::right(x, C::splat(bits)), C::splat(bits));
        let fraction = C::and(x, C::splat((1 << bits) - 1));
        let both = C::neighbours(table, C::min(index, C::splat(254)));
        let low = C::and(both, C::splat(0xffff));
        let step = C::sub(C::right(both, C::splat(16)), low);
        (index, C::add(C::left(low, shift), C::mul(step, fraction)))
    }
}

/// `int8::sigmoid16` of three times a number of 16 bits, which is never beyond the table.
#[inline(always)]
unsafe fn sigmoid<C: Codes>(table: C::Table, x: C::V) -> C::V {
    // SAFETY: as the caller promises.
    unsafe {
        let (_, y) = interpolated::<C>(table, C::abs(x), 9);
        let y = C::right(C::add(y, C::splat(1 << 9)), C::splat(10));
        let other = C::sub(C::splat(1 << 15), y);
        let y = C::if_less(x, C::splat(0), other, y);
        C::min(y, C::splat(i16::MAX.into()))
    }
}

/// `int8::tanh16`.
#[inline(always)]
unsafe fn tanh<C: Codes>(table: C::Table, x: C::V) -> C::V {
    // SAFETY: as the caller promises.
    unsafe {
        let (index, y) = interpolated::<C>(table, C::abs(x), 8);
        let y = C::sub(y, C::splat((1 << 23) - (1 << 7)));
        let y = C::right(y, C::splat(8));
        let y = C::if_less(index, C::splat(255), y, C::splat(i16::MAX.into()));
        C::sign(y, x)
    }
}

/// Three times a number of 16 bits.
#[inline(always)]
unsafe fn thirds<C: Codes>(x: C::V) -> C::V {
    // SAFETY: as the caller promises.
    unsafe { C::add(x, C::add(x, x)) }
}

/// The sums of a gate from cell `i` on, of which `len` are meant, times three.
#[inline(always)]
unsafe fn gate<C: Codes>(a: &LstmCellI8, gate: usize, i: usize, len: usize) -> C::V {
    // SAFETY: both lists have `n` numbers for each gate.
    unsafe {
        let at = 2 * (gate * a.n + i);
        let (x, h) = (a.from_x.add(at), a.from_h.add(at));
        let sum = C::add(C::load_words(x, len), C::load_words(h, len));
        thirds::<C>(words::<C>(sum))
    }
}

/// The next state of the cells.
#[inline(always)]
unsafe fn states<C: Codes>(a: &LstmCellI8) {
    // SAFETY: lists of gates have four times `n` numbers, the others `n`.
    unsafe {
        let table = C::table(a.table);
        let (forget, input) = (Product::new::<C>(a.forget), Product::new::<C>(a.input));
        let (least, most) = (C::splat(a.least), C::splat(a.most));
        let mut i = 0;
        while i < a.n {
            let len = (a.n - i).min(CODES);
            let state = a.cell.add(2 * i);
            let f = sigmoid::<C>(table, gate::<C>(a, 1, i, len));
            let kept = forget.apply::<C>(C::mul(f, C::load_words(state, len)));
            let new = sigmoid::<C>(table, gate::<C>(a, 0, i, len));
            let new = C::mul(new, tanh::<C>(table, gate::<C>(a, 2, i, len)));
            let new = input.apply::<C>(new);
            let sum = words::<C>(C::add(words::<C>(kept), words::<C>(new)));
            C::store_words(C::max(C::min(sum, most), least), state, len);
            i += len;
        }
    }
}

/// The codes of the states.
#[inline(always)]
unsafe fn outputs<C: Codes>(a: &LstmCellI8) {
    // SAFETY: as in `states`.
    unsafe {
        let table = C::table(a.table);
        let code = Code::new::<C>(a.output, a.zero, 0, 255);
        let (left, right) = (C::splat(-a.shift.min(0)), C::splat(a.shift.max(0)));
        let half = C::splat((1 << a.shift.max(0)) >> 1);
        let mut i = 0;
        while i < a.n {
            let len = (a.n - i).min(CODES);
            let x = thirds::<C>(C::load_words(a.cell.add(2 * i), len));
            let x = C::right_signed(C::add(C::left(x, left), half), right);
            let o = sigmoid::<C>(table, gate::<C>(a, 3, i, len));
            let y = code.apply::<C>(C::mul(o, tanh::<C>(table, x)));
            C::store(y, a.h.add(i), len);
            i += len;
        }
    }
}

#[inline(always)]
unsafe fn cell<C: Codes>(a: &LstmCellI8) {
    // SAFETY: as the caller promises.
    unsafe {
        states::<C>(a);
        outputs::<C>(a);
    }
}

entries! {
    /// Gates and cells of a long short-term memory.
    cell(LstmCellI8) = neural_lstm_cell_i8_avx2, neural_lstm_cell_i8_avx512
}
