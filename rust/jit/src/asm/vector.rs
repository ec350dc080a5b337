// SPDX-License-Identifier: GPL-2.0

//! Vector instructions: VEX and EVEX encodings.

use crate::EmitError;

use super::forms::{self, Form, Other, Shape};
use super::{Asm, Bits, Mask, Mem, Rm, Vec, Which};

#[cfg(test)]
mod tests;

/// The parts of an encoding, the numbers of registers whole.
struct Parts {
    reg: u8,
    /// 0 if there is none.
    second: u8,
    rm: Rm,
    which: Which,
}

impl Asm<'_> {
    /// `dst = op(rm)`.
    pub(crate) fn load(&mut self, form: &Form, bits: Bits, dst: Vec, rm: Rm) {
        self.masked(form, bits, Which::All, dst, rm);
    }

    /// `dst = op(rm)` where the mask says so.
    pub(crate) fn masked(&mut self, form: &Form, bits: Bits, which: Which, dst: Vec, rm: Rm) {
        let fits = form.shape == Shape::Load && !form.immediate;
        let parts = Parts {
            reg: dst.0,
            second: 0,
            rm,
            which,
        };
        self.vector(form, fits, bits, &parts, &[]);
    }

    /// `dst = op(rm, n)`.
    pub(crate) fn load_n(&mut self, form: &Form, bits: Bits, dst: Vec, rm: Rm, n: u8) {
        let fits = form.shape == Shape::Load && form.immediate;
        let parts = Parts {
            reg: dst.0,
            second: 0,
            rm,
            which: Which::All,
        };
        self.vector(form, fits, bits, &parts, &[n]);
    }

    /// `dst = op(rm, n)` where the mask says so.
    pub(crate) fn masked_n(
        &mut self,
        form: &Form,
        bits: Bits,
        which: Which,
        dst: Vec,
        rm: Rm,
        n: u8,
    ) {
        let fits = form.shape == Shape::Load && form.immediate;
        let parts = Parts {
            reg: dst.0,
            second: 0,
            rm,
            which,
        };
        self.vector(form, fits, bits, &parts, &[n]);
    }

    /// A mask from an integer register.
    pub(crate) fn mask(&mut self, form: &Form, dst: Mask, rm: Rm) {
        let parts = Parts {
            reg: dst.0,
            second: 0,
            rm,
            which: Which::All,
        };
        self.vector(form, form.to_mask, Bits::B128, &parts, &[]);
    }

    /// A mask from the signs of a vector.
    pub(crate) fn signs(&mut self, form: &Form, bits: Bits, dst: Mask, src: Vec) {
        let parts = Parts {
            reg: dst.0,
            second: 0,
            rm: Rm::Vec(src),
            which: Which::All,
        };
        self.vector(form, form.to_mask, bits, &parts, &[]);
    }

    /// `mem = src` where the mask says so.
    pub(crate) fn store(&mut self, form: &Form, bits: Bits, which: Which, rm: Rm, src: Vec) {
        let fits = form.shape == Shape::Store && !form.immediate;
        let parts = Parts {
            reg: src.0,
            second: 0,
            rm,
            which,
        };
        self.vector(
            form,
            fits && !matches!(which, Which::Zero(_)),
            bits,
            &parts,
            &[],
        );
    }

    /// `rm = part n of src`.
    pub(crate) fn extract(&mut self, form: &Form, bits: Bits, rm: Rm, src: Vec, n: u8) {
        let fits = form.shape == Shape::Store && form.immediate;
        let parts = Parts {
            reg: src.0,
            second: 0,
            rm,
            which: Which::All,
        };
        self.vector(form, fits, bits, &parts, &[n]);
    }

    /// `dst = ` the elements of 32 bits of `src` as signed bytes, limited to these.
    pub(crate) fn extract_narrow(&mut self, bits: Bits, dst: Vec, src: Vec) {
        self.store(&forms::VPMOVSDB, bits, Which::All, Rm::Vec(dst), src);
    }

    /// `dst = op(a, rm)`.
    pub(crate) fn three(&mut self, form: &Form, bits: Bits, dst: Vec, a: Vec, rm: Rm) {
        self.three_masked(form, bits, Which::All, dst, a, rm);
    }

    /// `dst = op(a, rm)` where the mask says so.
    pub(crate) fn three_masked(
        &mut self,
        form: &Form,
        bits: Bits,
        which: Which,
        dst: Vec,
        a: Vec,
        rm: Rm,
    ) {
        let fits = form.shape == Shape::Three && !form.immediate;
        let parts = Parts {
            reg: dst.0,
            second: a.0,
            rm,
            which,
        };
        self.vector(form, fits, bits, &parts, &[]);
    }

    /// `dst = op(a, rm, n)`.
    pub(crate) fn three_n(&mut self, form: &Form, bits: Bits, dst: Vec, a: Vec, rm: Rm, n: u8) {
        let fits = form.shape == Shape::Three && form.immediate;
        let parts = Parts {
            reg: dst.0,
            second: a.0,
            rm,
            which: Which::All,
        };
        self.vector(form, fits, bits, &parts, &[n]);
    }

    /// `dst = src shifted by n`.
    pub(crate) fn shift(&mut self, form: &Form, bits: Bits, dst: Vec, src: Vec, n: u8) {
        let Shape::Shift(number) = form.shape else {
            self.fail(EmitError::Unsupported);
            return;
        };
        let parts = Parts {
            reg: number,
            second: dst.0,
            rm: Rm::Vec(src),
            which: Which::All,
        };
        self.vector(form, true, bits, &parts, &[n]);
    }

    fn vector(&mut self, form: &Form, fits: bool, bits: Bits, parts: &Parts, immediate: &[u8]) {
        let other = matches!(
            (parts.rm, form.other),
            (Rm::Vec(_), Other::Any | Other::Vector)
                | (Rm::Gpr(_), Other::Integer | Other::Number)
                | (Rm::Mem(_), Other::Any | Other::Memory | Other::Number)
        );
        let length = form.lengths >> (bits as u8) & 1 != 0;
        let rm = match parts.rm {
            Rm::Vec(Vec(n)) => n,
            _ => 0,
        };
        if !fits || !other || !length {
            self.fail(EmitError::Unsupported);
            return;
        }
        let plain =
            bits != Bits::B512 && parts.which == Which::All && parts.reg | parts.second | rm < 16;
        match (form.vex, form.evex) {
            (Some(w), _) if plain => self.vex(form, w, bits, parts),
            (_, Some(w)) if self.wide && parts.reg | parts.second | rm < 32 => {
                self.evex(form, w, bits, parts);
            }
            _ => self.fail(EmitError::Unsupported),
        }
        self.bytes(immediate);
    }

    fn vex(&mut self, form: &Form, w: bool, bits: Bits, parts: &Parts) {
        // CAST: two bits.
        let (r, low) = (
            parts.reg,
            (!parts.second & 15) << 3 | (bits as u8) << 2 | form.prefix,
        );
        let rm = parts.rm_number();
        let not_r = (!r >> 3 & 1) << 7;
        let not_b = (!rm >> 3 & 1) << 5;
        if form.map == 1 && !w && not_b != 0 {
            self.bytes(&[0xc5, not_r | low]);
        } else {
            // Registers have no further bit where the index of an address would be.
            self.bytes(&[
                0xc4,
                not_r | 0x40 | not_b | form.map,
                u8::from(w) << 7 | low,
            ]);
        }
        self.bytes(&[form.opcode]);
        self.operand(r, parts.rm, 1);
    }

    fn evex(&mut self, form: &Form, w: bool, bits: Bits, parts: &Parts) {
        let (r, v, rm) = (parts.reg, parts.second, parts.rm_number());
        let not = |bit: u8, to: u8| (!bit & 1) << to;
        let (mask, zero) = match parts.which {
            Which::All => (0, 0),
            Which::Merge(Mask(k)) => (k, 0),
            Which::Zero(Mask(k)) => (k, 1),
        };
        if mask > 7 {
            self.fail(EmitError::Unsupported);
        }
        self.bytes(&[
            0x62,
            not(r >> 3, 7) | not(rm >> 4, 6) | not(rm >> 3, 5) | not(r >> 4, 4) | form.map,
            u8::from(w) << 7 | (!v & 15) << 3 | 4 | form.prefix,
            // CAST: two bits.
            zero << 7 | (bits as u8) << 5 | not(v >> 4, 3) | (mask & 7),
            form.opcode,
        ]);
        let unit = match form.bytes {
            0 => bits.bytes() as i32,
            bytes => i32::from(bytes),
        };
        self.operand(r, parts.rm, unit);
    }

    /// The byte that names registers, and the displacement, which counts in units if it has one byte.
    fn operand(&mut self, reg: u8, rm: Rm, unit: i32) {
        let reg = (reg & 7) << 3;
        let Mem { base, disp } = match rm {
            Rm::Vec(Vec(n)) => return self.bytes(&[0xc0 | reg | (n & 7)]),
            Rm::Gpr(gpr) => return self.bytes(&[0xc0 | reg | (gpr.number() & 7)]),
            Rm::Mem(mem) => mem,
        };
        let low = reg | (base.number() & 7);
        let units = disp.checked_div(unit).unwrap_or(0);
        let whole = units.wrapping_mul(unit) == disp;
        match i8::try_from(units) {
            Ok(0) if whole => self.bytes(&[low]),
            Ok(n) if whole => self.bytes(&[0x40 | low, n.to_le_bytes()[0]]),
            _ => {
                self.bytes(&[0x80 | low]);
                self.bytes(&disp.to_le_bytes());
            }
        }
    }
}

impl Parts {
    /// The number of the register, or of that which an address is counted from.
    fn rm_number(&self) -> u8 {
        match self.rm {
            Rm::Vec(Vec(n)) => n,
            Rm::Gpr(gpr) => gpr.number(),
            Rm::Mem(mem) => mem.base.number(),
        }
    }
}
