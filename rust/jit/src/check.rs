// SPDX-License-Identifier: GPL-2.0

//! Reads code again and refuses what must not be in it.
//!
//! The decoder knows the instructions that the encoder can write, in the encodings that it chooses, and no
//! others. The rules are those of the [crate](crate): which registers hold addresses is followed through
//! the code; a jump goes back to the place behind the one where its counter was set, with the same
//! addresses in registers, and loops stand inside each other or apart, so all of them end.

use crate::asm::forms::{self, Form, Other, Shape};
use crate::asm::Gpr;
use crate::Exit;

/// Why code is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckError {
    /// Where the instruction stands that is not allowed there.
    pub at: usize,
}

/// The greatest offset of a pointer in the arguments.
const ARGS: i32 = 256;

/// An instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    /// A pointer from the arguments.
    Pointer { dst: Gpr },
    /// An address from an address.
    Address { dst: Gpr, base: Gpr },
    /// A step of an address.
    Step { dst: Gpr },
    /// A number.
    Set { dst: Gpr, zero: bool },
    /// One less, and a jump to `target` if that is not 0.
    Again { counter: Gpr, target: usize },
    /// A vector instruction; `base` if it has an operand in memory.
    Vector { base: Option<Gpr> },
}

/// Registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Set(u16);

impl Set {
    const fn bit(register: Gpr) -> u16 {
        // CAST: the number of the register.
        1 << (register as u16 & 15)
    }

    const fn has(self, register: Gpr) -> bool {
        self.0 & Set::bit(register) != 0
    }
}

/// Whether code is a function as [`emit`](crate::emit) makes it, with this exit.
///
/// # Errors
///
/// The place of the first instruction that is not allowed.
pub fn check(code: &[u8], exit: Exit) -> Result<(), CheckError> {
    let end = end(code, exit).ok_or(CheckError {
        at: code.len().saturating_sub(1),
    })?;
    if code.get(..START) != Some(&ENTRY[..]) {
        return Err(CheckError { at: 0 });
    }
    let body = code.get(..end).unwrap_or_default();
    let mut at = START;
    let mut state = State::default();
    while at < body.len() {
        let (what, next) = decode(body, at).ok_or(CheckError { at })?;
        state.step(what, next).ok_or(CheckError { at })?;
        at = next;
    }
    Ok(())
}

/// What a function starts with.
const ENTRY: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];

/// Where instructions start.
const START: usize = ENTRY.len();

/// Where the end of a function stands.
fn end(code: &[u8], exit: Exit) -> Option<usize> {
    const CLEAR: [u8; 3] = [0xc5, 0xf8, 0x77];
    let rest = match exit {
        Exit::Ret => code.strip_suffix(&[0xc3])?,
        Exit::Thunk { distance } => {
            let (rest, rel) = code.split_at_checked(code.len().checked_sub(4)?)?;
            let rel = i32::from_le_bytes(<[u8; 4]>::try_from(rel).ok()?);
            // CAST: a slice is shorter than 2^63.
            let target = (code.len() as i64).checked_add(i64::from(rel))?;
            if target != distance {
                return None;
            }
            rest.strip_suffix(&[0xe9])?
        }
    };
    Some(rest.strip_suffix(&CLEAR)?.len())
}

/// What is known behind an instruction.
#[derive(Default)]
struct State {
    /// Registers that hold addresses.
    addresses: Set,
    /// The loops that counters can close, by the numbers of these.
    loops: [Option<Loop>; 16],
}

/// A place behind the one where a counter was set.
#[derive(Clone, Copy)]
struct Loop {
    /// Where it is.
    start: usize,
    /// Registers that held addresses there.
    addresses: Set,
}

impl State {
    /// Goes behind an instruction, which ends at `next`; `None` if it must not stand there.
    fn step(&mut self, what: What, next: usize) -> Option<()> {
        match what {
            What::Pointer { dst } => self.write(dst, true)?,
            What::Address { dst, base } => {
                self.read(base)?;
                self.write(dst, true)?;
            }
            What::Step { dst } => self.read(dst)?,
            What::Set { dst, zero } => {
                self.write(dst, false)?;
                if !zero {
                    *self.closed_by(dst)? = Some(Loop {
                        start: next,
                        addresses: self.addresses,
                    });
                }
            }
            What::Again { counter, target } => {
                let closed = self.closed_by(counter)?.take()?;
                // What holds an address at the beginning must hold one when it begins again.
                let lost = closed.addresses.0 & !self.addresses.0;
                if closed.start != target || lost != 0 {
                    return None;
                }
                // A loop that started inside must not go on outside.
                for other in &mut self.loops {
                    *other = other.filter(|other| other.start < target);
                }
            }
            What::Vector { base } => {
                if let Some(base) = base {
                    self.read(base)?;
                }
            }
        }
        Some(())
    }

    /// An address is read from a register.
    fn read(&self, register: Gpr) -> Option<()> {
        self.addresses.has(register).then_some(())
    }

    /// A register is written: with an address, or with a number. The arguments stay where they are.
    fn write(&mut self, register: Gpr, address: bool) -> Option<()> {
        let bit = Set::bit(register);
        self.addresses.0 = match address {
            true => self.addresses.0 | bit,
            false => self.addresses.0 & !bit,
        };
        *self.closed_by(register)? = None;
        (register != Gpr::Rdi).then_some(())
    }

    /// The loop that a counter can close.
    fn closed_by(&mut self, counter: Gpr) -> Option<&mut Option<Loop>> {
        // CAST: the number of the register.
        self.loops.get_mut(counter as usize)
    }
}

/// What is left of an instruction.
struct Bytes<'a> {
    code: &'a [u8],
    at: usize,
}

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = self.code.get(self.at).copied();
        self.at = self.at.checked_add(1)?;
        byte
    }

    fn is(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn skip(&mut self, n: usize) -> Option<()> {
        self.at = self.at.checked_add(n)?;
        (self.at <= self.code.len()).then_some(())
    }

    fn word(&mut self) -> Option<i32> {
        let from = self.at;
        self.skip(4)?;
        let bytes = self.code.get(from..self.at)?;
        Some(i32::from_le_bytes(<[u8; 4]>::try_from(bytes).ok()?))
    }
}

/// The instruction at `at`, and where the next one starts.
fn decode(code: &[u8], at: usize) -> Option<(What, usize)> {
    let mut bytes = Bytes { code, at };
    let what = match bytes.next()? {
        0xc5 => short(&mut bytes),
        0xc4 => long(&mut bytes),
        0x62 => evex(&mut bytes),
        first => integer(first, &mut bytes),
    }?;
    Some((what, bytes.at))
}

/// Instructions on integer registers.
fn integer(first: u8, bytes: &mut Bytes<'_>) -> Option<What> {
    let zero = |n: i32| n == 0;
    if first & 0xf8 == 0xb8 {
        let dst = Gpr::with(first & 7)?;
        let zero = zero(bytes.word()?);
        return Some(What::Set { dst, zero });
    }
    let (w, r, b) = (first & 8, first & 4, (first & 1) << 3);
    if first & 0xf0 != 0x40 || first & 2 != 0 {
        return None;
    }
    match bytes.next()? {
        opcode if opcode & 0xf8 == 0xb8 && r == 0 => {
            let dst = Gpr::with(opcode & 7 | b)?;
            let low = bytes.word()?;
            let high = match (w, b) {
                (0, 0) => return None,
                (0, _) => 0,
                _ => bytes.word()?,
            };
            Some(What::Set {
                dst,
                zero: zero(low | high),
            })
        }
        opcode @ (0x8b | 0x8d) if w != 0 => {
            let modrm = bytes.next()?;
            let dst = Gpr::with(modrm >> 3 & 7 | r << 1)?;
            let base = Gpr::with(modrm & 7 | b)?;
            let disp = match modrm >> 6 {
                1 => i32::from(i8::from_le_bytes([bytes.next()?])),
                2 => bytes.word()?,
                _ => return None,
            };
            if opcode == 0x8d {
                return Some(What::Address { dst, base });
            }
            let inside = (0..ARGS).contains(&disp) && disp & 7 == 0;
            (base == Gpr::Rdi && inside).then_some(What::Pointer { dst })
        }
        0x81 if w != 0 && r == 0 => {
            let modrm = bytes.next()?;
            bytes.word()?;
            let dst = Gpr::with(modrm & 7 | b)?;
            (modrm & 0xf8 == 0xc0).then_some(What::Step { dst })
        }
        0x83 if w == 0 && r == 0 => {
            let modrm = bytes.next()?;
            bytes.is(1)?;
            bytes.is(0x0f)?;
            bytes.is(0x85)?;
            let rel = bytes.word()?;
            let counter = Gpr::with(modrm & 7 | b)?;
            let back = usize::try_from(rel.checked_neg()?).ok()?;
            let target = bytes.at.checked_sub(back)?;
            (modrm & 0xf8 == 0xe8 && counter != Gpr::Rdi).then_some(What::Again { counter, target })
        }
        _ => None,
    }
}

/// What the bytes before the opcode say.
struct Prefix {
    evex: bool,
    map: u8,
    w: bool,
    prefix: u8,
    length: u8,
    /// Bits 3 and 4 of the register.
    r: u8,
    /// Bit 3 of the other one.
    b: u8,
    /// Bit 4 of the other one, if it is a vector.
    x: u8,
    /// The register that is not in the byte that names the others.
    second: u8,
    /// Whether elements are masked.
    masked: bool,
    /// Whether masked elements become 0.
    zero: bool,
    /// Whether an element in memory stands for all.
    repeat: bool,
}

/// The encoding with two bytes before the opcode.
fn short(bytes: &mut Bytes<'_>) -> Option<What> {
    let byte = !bytes.next()?;
    vector(
        bytes,
        &Prefix {
            evex: false,
            map: 1,
            w: false,
            prefix: !byte & 3,
            length: !byte >> 2 & 1,
            r: byte >> 4 & 8,
            b: 0,
            x: 0,
            second: byte >> 3 & 15,
            masked: false,
            zero: false,
            repeat: false,
        },
    )
}

/// The encoding with three bytes before the opcode, of what the shorter one cannot say.
fn long(bytes: &mut Bytes<'_>) -> Option<What> {
    let (first, last) = (bytes.next()?, bytes.next()?);
    let (map, b, w) = (first & 31, !first >> 2 & 8, last & 0x80 != 0);
    if first & 0x40 == 0 || map == 1 && b == 0 && !w {
        return None;
    }
    vector(
        bytes,
        &Prefix {
            evex: false,
            map,
            w,
            prefix: last & 3,
            length: last >> 2 & 1,
            r: !first >> 4 & 8,
            b,
            x: 0,
            second: !last >> 3 & 15,
            masked: false,
            zero: false,
            repeat: false,
        },
    )
}

/// The encoding with four bytes before the opcode.
fn evex(bytes: &mut Bytes<'_>) -> Option<What> {
    let (first, middle, last) = (bytes.next()?, bytes.next()?, bytes.next()?);
    let (masked, zero) = (last & 7 != 0, last & 0x80 != 0);
    if first & 8 != 0 || middle & 4 == 0 || zero && !masked {
        return None;
    }
    vector(
        bytes,
        &Prefix {
            evex: true,
            map: first & 7,
            w: middle & 0x80 != 0,
            prefix: middle & 3,
            length: last >> 5 & 3,
            r: !first >> 4 & 8 | !first & 16,
            b: !first >> 2 & 8,
            x: !first >> 2 & 16,
            second: !middle >> 3 & 15 | !last << 1 & 16,
            masked,
            zero,
            repeat: last & 16 != 0,
        },
    )
}

/// The form that opcode, prefix and number in the opcode belong to.
fn form(prefix: &Prefix, opcode: u8, number: u8) -> Option<&'static Form> {
    forms::with_opcode(opcode).find(|form| {
        let w = if prefix.evex { form.evex } else { form.vex };
        form.map == prefix.map
            && form.prefix == prefix.prefix
            && w == Some(prefix.w)
            && !matches!(form.shape, Shape::Shift(n) if n != number)
    })
}

/// The rest of a vector instruction.
fn vector(bytes: &mut Bytes<'_>, prefix: &Prefix) -> Option<What> {
    let opcode = bytes.next()?;
    let modrm = bytes.next()?;
    let number = modrm >> 3 & 7;
    let form = form(prefix, opcode, number)?;
    let reg = number | prefix.r;
    let registers = match form.shape {
        Shape::Three => true,
        Shape::Load | Shape::Store => prefix.second == 0,
        Shape::Shift(_) => prefix.r == 0,
    };
    let length = form.lengths >> prefix.length & 1 != 0;
    let masked = !prefix.masked || form.lengths != 1 && !form.to_mask;
    let zero = !prefix.zero || form.shape != Shape::Store;
    let mask = !form.to_mask || reg < 8;
    if !registers || !length || !masked || !zero || !mask {
        return None;
    }
    if prefix.repeat {
        return None;
    }
    let base = if modrm >> 6 == 3 {
        match form.other {
            Other::Any | Other::Vector => {}
            Other::Integer | Other::Number => {
                Gpr::with(modrm & 7 | prefix.b).filter(|_| prefix.x == 0)?;
            }
            Other::Memory => return None,
        }
        None
    } else {
        let memory = matches!(form.other, Other::Any | Other::Memory | Other::Number);
        if !memory || prefix.x != 0 {
            return None;
        }
        bytes.skip(match modrm >> 6 {
            0 => 0,
            1 => 1,
            _ => 4,
        })?;
        // What stands for an index, or for an address counted from the next instruction, is the number
        // of a register that is not free.
        Some(Gpr::with(modrm & 7 | prefix.b)?)
    };
    if form.immediate {
        bytes.next()?;
    }
    Some(What::Vector { base })
}
