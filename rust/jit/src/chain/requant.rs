// SPDX-License-Identifier: GPL-2.0

//! From sums to codes: as `neural_core::int8::Requant` says.

use super::{list, Dot, Emitter, Layer, Sums, FLIP, LANES, NUMBER, PARTS};
use crate::asm::forms;
use crate::asm::{Bits, Rm, Vec, Which};

/// Shifts.
const SHIFT: Vec = Vec(8);
/// What is added before a shift.
const HALF: Vec = Vec(9);
/// Products of even lanes.
const EVEN: Vec = Vec(11);
/// Products of odd lanes.
const LANE: Vec = Vec(12);

/// Numbers in all lanes.
struct Constants {
    /// 1 where the facts are narrow, else 2^30 in 64 bits.
    one: Vec,
    /// -1.
    minus: Vec,
    /// What twice the zero point and one more are, or 1.
    unit: Vec,
    /// The zero point, if it is not a part of the unit.
    zero: Vec,
}

/// Limits of the codes, in bytes.
const MIN: Vec = Vec(18);
const MAX: Vec = Vec(19);

impl Emitter<'_, '_> {
    /// Where 32 registers are, constants stay in some of them.
    fn constants_at(&self) -> Constants {
        let first = if self.wide() { 14 } else { 4 };
        Constants {
            one: Vec(first),
            minus: Vec(first | 1),
            unit: Vec(if self.wide() { 16 } else { 6 }),
            zero: Vec(if self.wide() { 17 } else { 7 }),
        }
    }

    /// The constants that layers with such facts have in common.
    fn common(&mut self, narrow: bool) {
        let (bits, at) = (self.bits, self.constants_at());
        self.ones(bits, at.minus);
        if narrow {
            self.asm
                .load(&forms::VPABSD, bits, at.one, Rm::Vec(at.minus));
        } else {
            self.asm.shift(&forms::VPSRLQ, bits, at.one, at.minus, 63);
            self.asm.shift(&forms::VPSLLQ, bits, at.one, at.one, 30);
        }
    }

    /// The constants of a layer. Those of the last one are signed.
    pub(super) fn constants(&mut self, layer: &Layer, last: bool) {
        let at = self.constants_at();
        let narrow = layer.facts.narrow;
        if !self.wide() {
            self.common(narrow);
        } else if self.common != Some(narrow) {
            self.common = Some(narrow);
            self.common(narrow);
            // Lanes with even numbers, or with odd ones.
            self.asm.set(NUMBER, if narrow { 0x5555 } else { 0xaaaa });
            self.asm.mask(&forms::KMOVW, LANES, Rm::Gpr(NUMBER));
        }
        let signed = last && self.wide();
        let zero = i32::from(layer.zero).wrapping_sub(if signed { 128 } else { 0 });
        let twice = zero.wrapping_mul(2).wrapping_add(1);
        let unit = match narrow {
            // Numbers of 16 bits.
            true if !signed => twice.wrapping_mul(0x1_0001),
            true => twice,
            false => 1,
        };
        // CAST: the same bits.
        self.splat(at.unit, layer.bits, unit as u32);
        if !narrow {
            self.splat(at.zero, layer.bits, zero as u32);
        }
        if self.wide() {
            let bias = if signed { FLIP } else { 0 };
            if layer.min > 0 {
                self.splat_code(MIN, self.bits, layer.min ^ bias);
            }
            if layer.max < 255 {
                self.splat_code(MAX, self.bits, layer.max ^ bias);
            }
        }
    }

    /// What becomes of the sums of vectors of rows in the first registers: codes, zero point included,
    /// but not limited; twice that, and without the zero point, if the facts are narrow.
    pub(super) fn scale(
        &mut self,
        layer: &Layer,
        row: usize,
        count: usize,
        sums: Sums,
    ) -> Option<()> {
        let at = self.constants_at();
        if !self.wide() {
            self.constants(layer, false);
        }
        for part in 0..count {
            let row = row.checked_add(part.checked_mul(layer.lanes())?)?;
            if layer.facts.narrow {
                self.scale_narrow(layer, row, sums.at(part)?, &at);
            } else {
                self.scale_any(layer, row, sums.at(part)?, &at);
            }
        }
        Some(())
    }

    /// A register that holds neither sums nor constants.
    fn fifth(&self) -> Vec {
        match (self.wide(), self.dot) {
            (false, Dot::Halves) => Vec(2),
            _ => Vec(10),
        }
    }

    /// `round(sum * mult / 2^31)`, in [`EVEN`].
    fn product(&mut self, layer: &Layer, row: usize, sum: Vec, at: &Constants) {
        let (bits, mult) = (layer.bits, list(layer.mult, row));
        let odd = self.fifth();
        let asm = &mut *self.asm;
        asm.load_n(&forms::VPSHUFD, bits, LANE, Rm::Vec(sum), 0xf5);
        asm.load_n(&forms::VPSHUFD, bits, odd, mult, 0xf5);
        asm.three(&forms::VPMULDQ, bits, EVEN, sum, mult);
        asm.three(&forms::VPMULDQ, bits, LANE, LANE, Rm::Vec(odd));
        for product in [EVEN, LANE] {
            asm.three(&forms::VPADDQ, bits, product, product, Rm::Vec(at.one));
        }
        asm.shift(&forms::VPSRLQ, bits, EVEN, EVEN, 31);
        asm.three(&forms::VPADDQ, bits, LANE, LANE, Rm::Vec(LANE));
        if self.bits == Bits::B512 {
            let which = Which::Merge(LANES);
            asm.masked(&forms::VMOVDQU, bits, which, EVEN, Rm::Vec(LANE));
        } else {
            asm.three_n(&forms::VPBLENDD, bits, EVEN, EVEN, Rm::Vec(LANE), 0xaa);
        }
    }

    /// Twice the code, zero point apart, and one more for the last rounding; halves away from zero.
    ///
    /// The upper halves of products with four times the sum are twice what is to be shifted, but for
    /// one to be added, and their lowest bit does not count. What is negative has two less.
    fn scale_narrow(&mut self, layer: &Layer, row: usize, sum: Vec, at: &Constants) {
        let bits = layer.bits;
        let (mult, shift) = (list(layer.mult, row), list(layer.shift, row));
        let asm = &mut *self.asm;
        asm.shift(&forms::VPSLLD, bits, EVEN, sum, 2);
        asm.shift(&forms::VPSRLQ, bits, LANE, EVEN, 32);
        asm.load(&forms::VMOVDQU, bits, SHIFT, mult);
        asm.three(&forms::VPMULDQ, bits, EVEN, EVEN, Rm::Vec(SHIFT));
        asm.shift(&forms::VPSRLQ, bits, SHIFT, SHIFT, 32);
        asm.three(&forms::VPMULDQ, bits, LANE, LANE, Rm::Vec(SHIFT));
        if self.bits == Bits::B512 {
            asm.three(&forms::VPMAXSD, bits, sum, sum, Rm::Vec(at.minus));
            asm.three(&forms::VPMINSD, bits, sum, sum, Rm::Vec(at.one));
            let which = Which::Merge(LANES);
            asm.masked_n(&forms::VPSHUFD, bits, which, LANE, Rm::Vec(EVEN), 0xf5);
        } else {
            asm.three(&forms::VPSIGND, bits, sum, at.one, Rm::Vec(sum));
            asm.shift(&forms::VPSRLQ, bits, EVEN, EVEN, 32);
            asm.three_n(&forms::VPBLENDD, bits, LANE, LANE, Rm::Vec(EVEN), 0x55);
        }
        asm.three(&forms::VPADDD, bits, sum, sum, Rm::Vec(LANE));
        asm.three(&forms::VPSRAVD, bits, sum, sum, shift);
    }

    /// Rounds without the sign, in 32 bits without sign.
    fn scale_any(&mut self, layer: &Layer, row: usize, sum: Vec, at: &Constants) {
        let bits = layer.bits;
        let shift = list(layer.shift, row);
        if layer.facts.left {
            let asm = &mut *self.asm;
            asm.three(&forms::VPXOR, bits, HALF, HALF, Rm::Vec(HALF));
            asm.three(&forms::VPSUBD, bits, SHIFT, HALF, shift);
            asm.three(&forms::VPMAXSD, bits, SHIFT, SHIFT, Rm::Vec(HALF));
            asm.three(&forms::VPSLLVD, bits, sum, sum, Rm::Vec(SHIFT));
        }
        self.product(layer, row, sum, at);
        let asm = &mut *self.asm;
        asm.load(&forms::VMOVDQU, bits, SHIFT, shift);
        // A count below 0 is a great one and leaves nothing.
        asm.three(&forms::VPADDD, bits, HALF, SHIFT, Rm::Vec(at.minus));
        asm.three(&forms::VPSLLVD, bits, HALF, at.unit, Rm::Vec(HALF));
        if layer.facts.left {
            asm.three(&forms::VPXOR, bits, LANE, LANE, Rm::Vec(LANE));
            asm.three(&forms::VPMAXSD, bits, SHIFT, SHIFT, Rm::Vec(LANE));
        }
        asm.load(&forms::VPABSD, bits, LANE, Rm::Vec(EVEN));
        asm.three(&forms::VPADDD, bits, LANE, LANE, Rm::Vec(HALF));
        asm.three(&forms::VPSRLVD, bits, LANE, LANE, Rm::Vec(SHIFT));
        // The sign of the sum is that of the product, unless this is 0.
        asm.shift(&forms::VPSRAD, bits, sum, sum, 31);
        asm.three(&forms::VPXOR, bits, LANE, LANE, Rm::Vec(sum));
        asm.three(&forms::VPSUBD, bits, LANE, LANE, Rm::Vec(sum));
        // Far from the limits of codes nothing changes, and the zero point cannot overflow.
        asm.shift(&forms::VPSLLD, bits, HALF, at.minus, 9);
        asm.three(&forms::VPMAXSD, bits, LANE, LANE, Rm::Vec(HALF));
        asm.three(&forms::VPXOR, bits, HALF, HALF, Rm::Vec(at.minus));
        asm.three(&forms::VPMINSD, bits, LANE, LANE, Rm::Vec(HALF));
        asm.three(&forms::VPADDD, bits, sum, LANE, Rm::Vec(at.zero));
    }

    /// Codes of `count` of `parts` vectors of rows, the first of which is number `done`.
    pub(super) fn narrow(
        &mut self,
        layer: &Layer,
        done: usize,
        (count, parts): (usize, usize),
        to: Vec,
        sums: Sums,
    ) -> Option<()> {
        let bits = layer.bits;
        let part = |n: usize| sums.at(n.min(count.checked_sub(1)?));
        let (low, high) = (part(0)?, part(2)?);
        self.words(layer, low, part(1)?);
        if count > 2 {
            self.words(layer, high, part(3)?);
        }
        let asm = &mut *self.asm;
        match (done, count) {
            (0, 3..=PARTS) => asm.three(&forms::VPACKUSWB, bits, to, low, Rm::Vec(high)),
            (0, _) if count == parts => {
                asm.three(&forms::VPACKUSWB, bits, to, low, Rm::Vec(low));
            }
            (0, _) => self.copy(bits, to, low),
            _ => asm.three(&forms::VPACKUSWB, bits, to, to, Rm::Vec(low)),
        }
        Some(())
    }

    /// Two vectors of 32 bits as one of 16, rounded if that is not done yet.
    fn words(&mut self, layer: &Layer, a: Vec, b: Vec) {
        let (bits, at) = (layer.bits, self.constants_at());
        let asm = &mut *self.asm;
        asm.three(&forms::VPACKSSDW, bits, a, a, Rm::Vec(b));
        if layer.facts.narrow {
            asm.three(&forms::VPADDSW, bits, a, a, Rm::Vec(at.unit));
            asm.shift(&forms::VPSRAW, bits, a, a, 1);
        }
    }

    /// Limits codes.
    pub(super) fn clamp(&mut self, layer: &Layer, codes: Vec) {
        let limits = [
            (layer.min > 0, layer.min, MIN, &forms::VPMAXUB),
            (layer.max < 255, layer.max, MAX, &forms::VPMINUB),
        ];
        for (needed, limit, register, form) in limits {
            if needed {
                let register = self.limit(layer, limit, register);
                self.asm
                    .three(form, layer.bits, codes, codes, Rm::Vec(register));
            }
        }
    }

    /// A limit in a register.
    fn limit(&mut self, layer: &Layer, limit: u8, register: Vec) -> Vec {
        if self.wide() {
            return register;
        }
        let register = Vec(0);
        self.splat_code(register, layer.bits, limit);
        register
    }

    /// Appends signed codes of `count` vectors of rows to those of `done` vectors, and limits them.
    pub(super) fn append(
        &mut self,
        layer: &Layer,
        done: usize,
        count: usize,
        to: Vec,
        sums: Sums,
    ) -> Option<()> {
        let (bits, at) = (layer.bits, self.constants_at());
        let asm = &mut *self.asm;
        for part in 0..count {
            let sum = sums.at(part)?;
            if layer.facts.narrow {
                asm.three(&forms::VPADDD, bits, sum, sum, Rm::Vec(at.unit));
                asm.shift(&forms::VPSRAD, bits, sum, sum, 1);
            }
            let place = u8::try_from(done.checked_add(part)?).ok()?;
            if place == 0 {
                asm.extract_narrow(bits, to, sum);
            } else {
                asm.extract_narrow(bits, sum, sum);
                let half = Rm::Vec(sum);
                asm.three_n(&forms::VINSERTI32X4, Bits::B512, to, to, half, place);
            }
        }
        let form = [
            (layer.min > 0, MIN, &forms::VPMAXSB),
            (layer.max < 255, MAX, &forms::VPMINSB),
        ];
        for (needed, register, form) in form {
            if needed {
                asm.three(form, self.bits, to, to, Rm::Vec(register));
            }
        }
        Some(())
    }
}
