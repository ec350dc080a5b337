// SPDX-License-Identifier: GPL-2.0

//! From sums to codes: as `neural_core::int8::Requant` says.

use super::{list, Dot, Emitter, Layer, ODD, PARTS};
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
    /// 2^30 in 64 bits.
    round: Vec,
    /// -1.
    minus: Vec,
    /// What becomes, shifted, what is added before the last shift.
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
            round: Vec(first),
            minus: Vec(first | 1),
            unit: Vec(if self.wide() { 16 } else { 6 }),
            zero: Vec(if self.wide() { 17 } else { 7 }),
        }
    }

    /// The constants of all layers.
    pub(super) fn fixed_constants(&mut self) {
        let (bits, at) = (self.bits, self.constants_at());
        self.ones(bits, at.minus);
        self.asm.shift(&forms::VPSRLQ, bits, at.round, at.minus, 63);
        self.asm.shift(&forms::VPSLLQ, bits, at.round, at.round, 30);
    }

    /// The constants of a layer, its limits apart. Those of the last one are signed.
    pub(super) fn constants(&mut self, layer: &Layer, last: bool) {
        let at = self.constants_at();
        let signed = last && self.wide();
        let zero = i32::from(layer.zero).wrapping_sub(if signed { 128 } else { 0 });
        let unit = match layer.facts.narrow {
            // Half of what is shifted out, and the zero point.
            true => zero.wrapping_mul(2).wrapping_add(1),
            false => 1,
        };
        // CAST: the same bits.
        self.splat(at.unit, layer.bits, unit as u32);
        if !layer.facts.narrow {
            self.splat(at.zero, layer.bits, zero as u32);
        }
        if self.wide() {
            let bias = if signed { 0x80 } else { 0 };
            if layer.min > 0 {
                self.splat_code(MIN, layer.bits, layer.min ^ bias);
            }
            if layer.max < 255 {
                self.splat_code(MAX, layer.bits, layer.max ^ bias);
            }
        }
    }

    /// What becomes of the sums of vectors of rows in the first registers: codes, zero point included,
    /// but not limited.
    pub(super) fn scale(&mut self, layer: &Layer, row: usize, count: usize) -> Option<()> {
        let at = self.constants_at();
        if !self.wide() {
            self.fixed_constants();
            self.constants(layer, false);
        }
        for part in 0..u8::try_from(count).ok()? {
            let row = row.checked_add(usize::from(part).checked_mul(layer.lanes())?)?;
            if layer.facts.narrow {
                self.scale_narrow(layer, row, Vec(part), &at);
            } else {
                self.scale_any(layer, row, Vec(part), &at);
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
            asm.three(&forms::VPADDQ, bits, product, product, Rm::Vec(at.round));
        }
        asm.shift(&forms::VPSRLQ, bits, EVEN, EVEN, 31);
        asm.three(&forms::VPADDQ, bits, LANE, LANE, Rm::Vec(LANE));
        if self.bits == Bits::B512 {
            let which = Which::Merge(ODD);
            asm.masked(&forms::VMOVDQU, bits, which, EVEN, Rm::Vec(LANE));
        } else {
            asm.three_n(&forms::VPBLENDD, bits, EVEN, EVEN, Rm::Vec(LANE), 0xaa);
        }
    }

    /// Halves away from zero: one less is added to what is negative. Nothing overflows, as
    /// [`Facts::narrow`](crate::Facts) says.
    fn scale_narrow(&mut self, layer: &Layer, row: usize, sum: Vec, at: &Constants) {
        let bits = layer.bits;
        self.product(layer, row, sum, at);
        let asm = &mut *self.asm;
        asm.load(&forms::VMOVDQU, bits, SHIFT, list(layer.shift, row));
        asm.three(&forms::VPADDD, bits, HALF, SHIFT, Rm::Vec(at.minus));
        asm.three(&forms::VPSLLVD, bits, HALF, at.unit, Rm::Vec(HALF));
        asm.shift(&forms::VPSRAD, bits, sum, sum, 31);
        asm.three(&forms::VPADDD, bits, HALF, HALF, Rm::Vec(sum));
        asm.three(&forms::VPADDD, bits, EVEN, EVEN, Rm::Vec(HALF));
        asm.three(&forms::VPSRAVD, bits, sum, EVEN, Rm::Vec(SHIFT));
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
    ) {
        let bits = layer.bits;
        let asm = &mut *self.asm;
        let words = |b: u8| Rm::Vec(Vec(b));
        asm.three(
            &forms::VPACKSSDW,
            bits,
            Vec(0),
            Vec(0),
            words(u8::from(count > 1)),
        );
        match (done, count) {
            (0, 3..=PARTS) => {
                let last = if count > 3 { 3 } else { 2 };
                asm.three(&forms::VPACKSSDW, bits, Vec(2), Vec(2), words(last));
                asm.three(&forms::VPACKUSWB, bits, to, Vec(0), words(2));
            }
            (0, _) if count == parts => {
                asm.three(&forms::VPACKUSWB, bits, to, Vec(0), words(0));
            }
            (0, _) => self.copy(bits, to, Vec(0)),
            _ => asm.three(&forms::VPACKUSWB, bits, to, to, words(0)),
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
    ) -> Option<()> {
        let asm = &mut *self.asm;
        for part in 0..u8::try_from(count).ok()? {
            let sum = Vec(part);
            let place = u8::try_from(done).ok()?.checked_add(part)?;
            if place == 0 {
                asm.extract_narrow(layer.bits, to, sum);
            } else {
                asm.extract_narrow(layer.bits, sum, sum);
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
                asm.three(form, layer.bits, to, to, Rm::Vec(register));
            }
        }
        Some(())
    }
}
