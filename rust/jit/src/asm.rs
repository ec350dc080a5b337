// SPDX-License-Identifier: GPL-2.0

//! Instructions to bytes.
//!
//! A buffer that takes no more, or an operand that cannot be encoded, is remembered and reported at the
//! end: what emits instructions need not look after each of them.

pub(crate) mod forms;
mod vector;

use crate::{EmitError, Exit};

/// Integer registers that a function may change, with their numbers in encodings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Gpr {
    /// `rax`
    Rax = 0,
    /// `rcx`
    Rcx = 1,
    /// `rdx`
    Rdx = 2,
    /// `rsi`
    Rsi = 6,
    /// `rdi`: the arguments.
    Rdi = 7,
    /// `r8`
    R8 = 8,
    /// `r9`
    R9 = 9,
    /// `r10`
    R10 = 10,
    /// `r11`
    R11 = 11,
}

impl Gpr {
    /// All of them.
    pub(crate) const ALL: [Gpr; 9] = [
        Gpr::Rax,
        Gpr::Rcx,
        Gpr::Rdx,
        Gpr::Rsi,
        Gpr::Rdi,
        Gpr::R8,
        Gpr::R9,
        Gpr::R10,
        Gpr::R11,
    ];

    /// The one with this number.
    pub(crate) fn with(number: u8) -> Option<Self> {
        // CAST: the number in encodings.
        Self::ALL.into_iter().find(|&r| r as u8 == number)
    }

    /// Its number in encodings.
    const fn number(self) -> u8 {
        // CAST: as above.
        self as u8
    }
}

/// A vector register, 0..=31.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Vec(pub(crate) u8);

/// A mask register, 1..=7.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mask(pub(crate) u8);

/// Bits of a vector.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bits {
    /// 128
    B128 = 0,
    /// 256
    B256 = 1,
    /// 512
    B512 = 2,
}

impl Bits {
    /// Bytes of a vector.
    pub(crate) const fn bytes(self) -> usize {
        match self {
            Bits::B128 => 16,
            Bits::B256 => 32,
            Bits::B512 => 64,
        }
    }
}

/// A place in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    /// Where it is counted from.
    pub(crate) base: Gpr,
    /// Bytes behind it.
    pub(crate) disp: i32,
}

/// The operand that may lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rm {
    /// A vector register.
    Vec(Vec),
    /// An integer register.
    Gpr(Gpr),
    /// A vector in memory, or a part of one, as the instruction says.
    Mem(Mem),
}

/// Which elements are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    /// All.
    All,
    /// Those of the mask; others stay.
    Merge(Mask),
    /// Those of the mask; others become 0.
    Zero(Mask),
}

/// Code as it comes about.
#[derive(Debug)]
pub(crate) struct Asm<'a> {
    code: &'a mut [u8],
    len: usize,
    /// Whether there are EVEX encodings.
    wide: bool,
    error: Option<EmitError>,
}

/// A place in the code that can be jumped to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Label(usize);

/// Bytes of the jump to the thunk.
const JUMP: i64 = 5;

impl<'a> Asm<'a> {
    /// Code for a buffer; `wide` says whether there are EVEX encodings.
    pub(crate) fn new(code: &'a mut [u8], wide: bool) -> Self {
        Asm {
            code,
            len: 0,
            wide,
            error: None,
        }
    }

    /// Remembers the first error.
    pub(crate) fn fail(&mut self, error: EmitError) {
        self.error = self.error.or(Some(error));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if self.error.is_some() {
            return;
        }
        let end = self.len.saturating_add(bytes.len());
        match self.code.get_mut(self.len..end) {
            Some(to) => {
                for (to, from) in to.iter_mut().zip(bytes) {
                    *to = *from;
                }
                self.len = end;
            }
            None => self.fail(EmitError::Full),
        }
    }

    /// The length, or what went wrong.
    pub(crate) fn finish(self) -> Result<usize, EmitError> {
        match self.error {
            None => Ok(self.len),
            Some(error) => Err(error),
        }
    }

    /// Whether something went wrong: further work is in vain.
    pub(crate) fn failed(&self) -> bool {
        self.error.is_some()
    }

    /// The beginning of a function.
    pub(crate) fn enter(&mut self) {
        self.bytes(&[0xf3, 0x0f, 0x1e, 0xfa]);
    }

    /// The end of a function.
    pub(crate) fn leave(&mut self, exit: Exit) {
        self.bytes(&[0xc5, 0xf8, 0x77]);
        match exit {
            Exit::Ret => self.bytes(&[0xc3]),
            Exit::Thunk { distance } => {
                // CAST: a slice is shorter than 2^63.
                let next = (self.len as i64).wrapping_add(JUMP);
                match i32::try_from(distance.saturating_sub(next)) {
                    Ok(rel) => {
                        self.bytes(&[0xe9]);
                        self.bytes(&rel.to_le_bytes());
                    }
                    Err(_) => self.fail(EmitError::Distance),
                }
            }
        }
    }

    /// `dst = *(args + disp)`, a pointer.
    pub(crate) fn pointer(&mut self, dst: Gpr, disp: i32) {
        self.addressed(
            0x8b,
            dst,
            Mem {
                base: Gpr::Rdi,
                disp,
            },
        );
    }

    /// `dst = base + disp`.
    pub(crate) fn lea(&mut self, dst: Gpr, mem: Mem) {
        self.addressed(0x8d, dst, mem);
    }

    /// An instruction of 64 bits with an address.
    fn addressed(&mut self, opcode: u8, reg: Gpr, mem: Mem) {
        let (r, b) = (reg.number(), mem.base.number());
        self.bytes(&[0x48 | (r >> 3) << 2 | (b >> 3), opcode]);
        match i8::try_from(mem.disp) {
            Ok(disp) => self.bytes(&[0x40 | (r & 7) << 3 | (b & 7), disp.to_le_bytes()[0]]),
            Err(_) => {
                self.bytes(&[0x80 | (r & 7) << 3 | (b & 7)]);
                self.bytes(&mem.disp.to_le_bytes());
            }
        }
    }

    /// `dst = n`, 32 bits.
    pub(crate) fn set(&mut self, dst: Gpr, n: u32) {
        let r = dst.number();
        if r > 7 {
            self.bytes(&[0x41]);
        }
        self.bytes(&[0xb8 | (r & 7)]);
        self.bytes(&n.to_le_bytes());
    }

    /// `dst = n`, 64 bits.
    pub(crate) fn set_long(&mut self, dst: Gpr, n: u64) {
        let r = dst.number();
        self.bytes(&[0x48 | (r >> 3), 0xb8 | (r & 7)]);
        self.bytes(&n.to_le_bytes());
    }

    /// `dst += n`, 64 bits.
    pub(crate) fn add(&mut self, dst: Gpr, n: i32) {
        let r = dst.number();
        self.bytes(&[0x48 | (r >> 3), 0x81, 0xc0 | (r & 7)]);
        self.bytes(&n.to_le_bytes());
    }

    /// The place where code goes on.
    pub(crate) fn label(&self) -> Label {
        Label(self.len)
    }

    /// `counter -= 1`, and back if it is not 0. Nothing else writes the counter on the way.
    pub(crate) fn again(&mut self, counter: Gpr, to: Label) {
        let r = counter.number();
        self.bytes(&[0x40 | (r >> 3), 0x83, 0xe8 | (r & 7), 1, 0x0f, 0x85]);
        let next = self.len.saturating_add(4);
        let rel = i32::try_from(next.saturating_sub(to.0)).unwrap_or(0);
        self.bytes(&rel.wrapping_neg().to_le_bytes());
    }
}
