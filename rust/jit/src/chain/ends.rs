// SPDX-License-Identifier: GPL-2.0

//! What stands at the ends of a chain: the input, the output; and tables.

use super::{Dot, Emitter, Layer, Place, Sums, FLIP, NUMBER, TAIL, WEIGHTS, X, Y};
use crate::asm::forms::{self, Form};
use crate::asm::{Bits, Gpr, Mem, Rm, Vec, Which};
use crate::EmitError;

/// Entries of a part of a table.
const PART: i32 = 16;
/// Parts of half a table.
const PARTS: i32 = 8;

/// Pieces of a vector that is no whole one: bytes, and how to load and to store them: at its beginning, or
/// at a multiple of their size.
const PIECES: [(usize, [&Form; 4]); 4] = [
    (
        8,
        [
            &forms::VMOVQ,
            &forms::VMOVQ,
            &forms::VMOVQ_TO,
            &forms::VMOVQ_TO,
        ],
    ),
    (
        4,
        [
            &forms::VMOVD,
            &forms::VPINSRD,
            &forms::VMOVD_TO,
            &forms::VPEXTRD,
        ],
    ),
    (
        2,
        [
            &forms::VPINSRW,
            &forms::VPINSRW,
            &forms::VPEXTRW,
            &forms::VPEXTRW,
        ],
    ),
    (
        1,
        [
            &forms::VPINSRB,
            &forms::VPINSRB,
            &forms::VPEXTRB,
            &forms::VPEXTRB,
        ],
    ),
];

fn memory(base: Gpr, at: usize) -> Option<Rm> {
    let disp = i32::try_from(at).ok()?;
    Some(Rm::Mem(Mem { base, disp }))
}

impl Emitter<'_, '_> {
    /// The input as biased codes; those that are not flipped are biased already.
    pub(super) fn input(&mut self, k: usize, flipped: bool) -> Option<Place> {
        let mut place = Place {
            len: k,
            ..Place::EMPTY
        };
        let vector = self.bits.bytes();
        let chunks = k.div_ceil(vector);
        let free = usize::try_from(self.free.count_ones()).ok()?;
        let needed = match self.dot {
            Dot::Direct(_) => chunks,
            Dot::Halves => chunks.checked_mul(2)?,
        };
        let fits = needed <= free;
        if !fits && !flipped {
            place.buffer = Some(X);
            return Some(place);
        }
        if !fits {
            place.buffer = Some(self.buffer(0)?);
        }
        let flip = Vec(0);
        if flipped {
            self.splat_code(flip, self.bits, FLIP);
        }
        for chunk in 0..chunks {
            let at = chunk.checked_mul(vector)?;
            let to = match fits {
                true => self.take()?,
                false => self.spare(),
            };
            self.load(X, at, k.checked_sub(at)?.min(vector), to)?;
            if flipped {
                self.asm
                    .three(&forms::VPXOR, self.bits, to, to, Rm::Vec(flip));
            }
            match place.buffer {
                Some(base) => {
                    let to_memory = memory(base, at)?;
                    self.asm
                        .store(&forms::VMOVDQU_TO, self.bits, Which::All, to_memory, to);
                }
                None => *place.registers.get_mut(chunk)? = to,
            }
        }
        Some(place)
    }

    /// The last layer, and the output.
    pub(super) fn last(
        &mut self,
        layer: &Layer,
        codes: &Place,
        ready: bool,
        flip: bool,
    ) -> Option<()> {
        let mut codes = *codes;
        if !ready {
            codes = self.split(&codes)?;
        }
        self.prepare(layer, &codes, ready, true)?;
        for step in 0..layer.chunks().checked_add(1)? {
            let Some(chunk) = self.advance(layer, &codes, ready, step)? else {
                continue;
            };
            let row = chunk.checked_mul(layer.chunk())?;
            let len = layer.n.checked_sub(row)?.min(layer.chunk());
            let to = self.spare();
            self.codes(layer, &codes, chunk, to, ready, true)?;
            let mut signed = self.wide();
            if !signed {
                self.clamp(layer, to);
            }
            if let Some(table) = layer.table {
                if signed {
                    self.flip(self.bits, to);
                    signed = false;
                }
                let bits = if self.wide() { self.bits } else { layer.bits };
                self.look_up(table, bits, to, self.sums(layer, chunk, ready));
            }
            if signed != flip {
                self.flip(self.bits, to);
            }
            if self.wide() {
                self.store(Y, row, len, to)?;
            } else {
                self.store_packed(Y, row, len, to)?;
            }
        }
        Some(())
    }

    /// Loads `len` bytes, no others.
    fn load(&mut self, base: Gpr, at: usize, len: usize, to: Vec) -> Option<()> {
        let from = memory(base, at)?;
        match len {
            64 => self.asm.load(&forms::VMOVDQU, Bits::B512, to, from),
            32 => self.asm.load(&forms::VMOVDQU, Bits::B256, to, from),
            16 => self.asm.load(&forms::VMOVDQU, Bits::B128, to, from),
            _ if self.wide() => {
                self.tail(len)?;
                let which = Which::Zero(TAIL);
                self.asm
                    .masked(&forms::VMOVDQU8, Bits::B512, which, to, from);
            }
            17..=31 => {
                let high = Vec(1);
                self.load_pieces(base, at.checked_add(16)?, len.checked_sub(16)?, high)?;
                self.asm.load(&forms::VMOVDQU, Bits::B128, to, from);
                let high = Rm::Vec(high);
                self.asm
                    .three_n(&forms::VINSERTI128, Bits::B256, to, to, high, 1);
            }
            _ => self.load_pieces(base, at, len, to)?,
        }
        Some(())
    }

    /// Loads less than sixteen bytes.
    fn load_pieces(&mut self, base: Gpr, at: usize, len: usize, to: Vec) -> Option<()> {
        let bits = Bits::B128;
        let mut done = 0usize;
        for (bytes, [first, next, ..]) in PIECES {
            if len & bytes == 0 {
                continue;
            }
            let from = memory(base, at.checked_add(done)?)?;
            match done {
                0 if bytes >= 4 => self.asm.load(first, bits, to, from),
                _ => {
                    if done == 0 {
                        self.asm.three(&forms::VPXOR, bits, to, to, Rm::Vec(to));
                    }
                    let i = u8::try_from(done.checked_div(bytes)?).ok()?;
                    self.asm.three_n(next, bits, to, to, from, i);
                }
            }
            done = done.checked_add(bytes)?;
        }
        Some(())
    }

    /// Stores `len` bytes, no others.
    fn store(&mut self, base: Gpr, at: usize, len: usize, from: Vec) -> Option<()> {
        let to = memory(base, at)?;
        let mut whole = |bits| {
            self.asm
                .store(&forms::VMOVDQU_TO, bits, Which::All, to, from)
        };
        match len {
            64 => whole(Bits::B512),
            32 => whole(Bits::B256),
            16 => whole(Bits::B128),
            ..=15 => self.store_pieces(base, at, len, from)?,
            _ if self.wide() => {
                self.tail(len)?;
                let which = Which::Merge(TAIL);
                self.asm
                    .store(&forms::VMOVDQU8_TO, Bits::B512, which, to, from);
            }
            _ => return None,
        }
        Some(())
    }

    /// Stores `len` bytes of codes that lie as narrowing left them, in a vector of 256 bits.
    fn store_packed(&mut self, base: Gpr, at: usize, len: usize, from: Vec) -> Option<()> {
        let (first, second, high) = (Vec(0), Vec(1), Vec(2));
        if len <= 4 {
            return self.store(base, at, len, from);
        }
        self.asm
            .extract(&forms::VEXTRACTI128, Bits::B256, Rm::Vec(high), from, 1);
        let high = Rm::Vec(high);
        let bits = Bits::B128;
        if len > 16 {
            self.asm.three(&forms::VPUNPCKHDQ, bits, second, from, high);
        }
        self.asm.three(&forms::VPUNPCKLDQ, bits, first, from, high);
        self.store(base, at, len.min(16), first)?;
        if len > 16 {
            self.store(base, at.checked_add(16)?, len.checked_sub(16)?, second)?;
        }
        Some(())
    }

    /// Stores less than sixteen bytes.
    fn store_pieces(&mut self, base: Gpr, at: usize, len: usize, from: Vec) -> Option<()> {
        let bits = Bits::B128;
        let mut done = 0usize;
        for (bytes, [_, _, first, next]) in PIECES {
            if len & bytes == 0 {
                continue;
            }
            let to = memory(base, at.checked_add(done)?)?;
            match done {
                0 if bytes >= 4 => self.asm.store(first, bits, Which::All, to, from),
                _ => {
                    let i = u8::try_from(done.checked_div(bytes)?).ok()?;
                    self.asm.extract(next, bits, to, from, i);
                }
            }
            done = done.checked_add(bytes)?;
        }
        Some(())
    }

    /// The mask of a tail.
    fn tail(&mut self, len: usize) -> Option<()> {
        let bits = 1u64.checked_shl(u32::try_from(len).ok()?)?.wrapping_sub(1);
        match u32::try_from(bits) {
            Ok(bits) => {
                self.asm.set(NUMBER, bits);
                self.asm.mask(&forms::KMOVD, TAIL, Rm::Gpr(NUMBER));
            }
            Err(_) => {
                self.asm.set_long(NUMBER, bits);
                self.asm.mask(&forms::KMOVQ, TAIL, Rm::Gpr(NUMBER));
            }
        }
        Some(())
    }

    /// Replaces codes by entries of a table.
    pub(super) fn look_up(&mut self, table: i32, bits: Bits, codes: Vec, sums: Sums) {
        if self.wide() {
            self.look_up_words(table, codes, sums);
        } else {
            let free = [0, 1, 2, 3, 8].map(Vec);
            self.look_up_parts(table, bits, &[codes], &free);
        }
    }

    /// Replaces all codes of a layer, where tables are looked up by parts, which are made once for several vectors.
    pub(super) fn look_up_all(&mut self, table: i32, layer: &Layer, results: &Place) -> Option<()> {
        let chunks = layer.chunks();
        let Some(base) = results.buffer else {
            let free = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(Vec);
            let codes = results.registers.get(..chunks)?;
            self.look_up_parts(table, layer.bits, codes, &free);
            return Some(());
        };
        // What the layer read is not needed any more.
        let all = [0, 1, 2, 3].map(Vec);
        let free = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14].map(Vec);
        let mut first = 0usize;
        while first < chunks {
            let count = chunks.checked_sub(first)?.min(all.len());
            let codes = all.get(..count)?;
            for pass in 0..2 {
                for (i, &register) in codes.iter().enumerate() {
                    let chunk = first.checked_add(i)?;
                    let place = memory(base, chunk.checked_mul(layer.chunk())?)?;
                    if pass == 0 {
                        self.asm.load(&forms::VMOVDQU, layer.bits, register, place);
                    } else {
                        let to = &forms::VMOVDQU_TO;
                        self.asm.store(to, layer.bits, Which::All, place, register);
                    }
                }
                if pass == 0 {
                    self.look_up_parts(table, layer.bits, codes, &free);
                }
            }
            first = first.checked_add(count)?;
        }
        Some(())
    }

    /// In each half of a table eight look-ups in parts, each of which gives 0 unless the code stands in this part of the
    /// half or in a later one. A part is what it differs by from the part before it, so that the exclusive or of all is
    /// what stands in the part of the code. Takes three free registers, and two more for each vector.
    fn look_up_parts(&mut self, table: i32, bits: Bits, codes: &[Vec], free: &[Vec]) {
        let &[step, part, found, ref places @ ..] = free else {
            return self.asm.fail(EmitError::Unsupported);
        };
        if places.len() / 2 < codes.len() {
            return self.asm.fail(EmitError::Unsupported);
        }
        let all = || codes.iter().zip(places.chunks_exact(2));
        self.splat_code(step, bits, FLIP);
        for (&codes, place) in all() {
            if let &[low, high] = place {
                self.copy(bits, low, codes);
                self.asm
                    .three(&forms::VPXOR, bits, high, codes, Rm::Vec(step));
            }
        }
        self.splat_code(step, bits, PART.to_le_bytes()[0]);
        for i in 0..PARTS {
            for half in 0..2 {
                let at = i.wrapping_add(PARTS.wrapping_mul(half)).wrapping_mul(PART);
                let at = table.wrapping_add(at);
                self.repeat(bits, part, at);
                if i > 0 {
                    self.repeat(bits, found, at.wrapping_sub(PART));
                    self.asm
                        .three(&forms::VPXOR, bits, part, part, Rm::Vec(found));
                }
                for (&codes, place) in all() {
                    let &[low, high] = place else {
                        continue;
                    };
                    let x = if half == 0 { low } else { high };
                    let asm = &mut *self.asm;
                    if i > 0 {
                        asm.three(&forms::VPSUBSB, bits, x, x, Rm::Vec(step));
                    }
                    if i == 0 && half == 0 {
                        asm.three(&forms::VPSHUFB, bits, codes, part, Rm::Vec(x));
                    } else {
                        asm.three(&forms::VPSHUFB, bits, found, part, Rm::Vec(x));
                        asm.three(&forms::VPXOR, bits, codes, codes, Rm::Vec(found));
                    }
                }
            }
        }
    }

    /// The same by words of two entries: codes at even places, then those at odd ones. Six bits of a code choose the
    /// word in half a table, its sign chooses the half, and its lowest bit the entry.
    fn look_up_words(&mut self, table: i32, codes: Vec, sums: Sums) {
        let free = |n: u8| Vec(sums.first.wrapping_add(n));
        let (first, third) = (free(0), free(1));
        let places = [(free(2), free(3)), (Vec(8), Vec(9))];
        let (count, odd, byte) = (Vec(10), Vec(11), Vec(12));
        let part = |n: i32| {
            Rm::Mem(Mem {
                base: WEIGHTS,
                disp: table.wrapping_add(n.wrapping_mul(64)),
            })
        };
        let bits = Bits::B512;
        self.splat(odd, bits, 0x0008_0008);
        self.splat(byte, bits, 0x00ff_00ff);
        let asm = &mut *self.asm;
        asm.load(&forms::VMOVDQU, bits, first, part(0));
        asm.load(&forms::VMOVDQU, bits, third, part(2));
        for (at, (low, high)) in places.into_iter().enumerate() {
            let even = at == 0;
            let word = if even { 1 } else { 9 };
            asm.shift(&forms::VPSRLW, bits, low, codes, word);
            asm.shift(&forms::VPSRLW, bits, high, codes, word);
            asm.three(&forms::VPERMI2W, bits, low, first, part(1));
            asm.three(&forms::VPERMI2W, bits, high, third, part(3));
            if even {
                asm.shift(&forms::VPSLLW, bits, count, codes, 8);
                asm.signs(&forms::VPMOVW2M, bits, TAIL, count);
                asm.shift(&forms::VPSLLW, bits, count, codes, 3);
            } else {
                asm.signs(&forms::VPMOVW2M, bits, TAIL, codes);
                asm.shift(&forms::VPSRLW, bits, count, codes, 5);
            }
            let which = Which::Merge(TAIL);
            asm.masked(&forms::VMOVDQU16, bits, which, low, Rm::Vec(high));
            asm.three(&forms::VPAND, bits, count, count, Rm::Vec(odd));
            asm.three(&forms::VPSRLVW, bits, low, low, Rm::Vec(count));
        }
        let [(even, _), (other, _)] = places;
        asm.shift(&forms::VPSLLW, bits, codes, other, 8);
        // What the even places have, but for their upper bytes, or the rest.
        asm.three(&forms::VPAND, bits, even, even, Rm::Vec(byte));
        asm.three(&forms::VPOR, bits, codes, codes, Rm::Vec(even));
    }

    /// Sixteen bytes, repeated.
    fn repeat(&mut self, bits: Bits, to: Vec, at: i32) {
        let from = Rm::Mem(Mem {
            base: WEIGHTS,
            disp: at,
        });
        let form = match (bits, self.wide()) {
            (Bits::B128, _) => &forms::VMOVDQU,
            (_, false) => &forms::VBROADCASTI128,
            (_, true) => &forms::VBROADCASTI32X4,
        };
        self.asm.load(form, bits, to, from);
    }
}
