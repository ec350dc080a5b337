// SPDX-License-Identifier: GPL-2.0

//! Sums of products.

use super::{list, Dot, Emitter, Layer, Place, Sums, FLIP, GROUP, HELD, PARTS, WEIGHTS};
use crate::asm::forms::{self, Form};
use crate::asm::{Bits, Mem, Rm, Vec, Which};

/// Four codes, repeated, or the lower halves of them.
const CODES: Vec = Vec(8);
/// The upper halves of four codes.
const UPPER: Vec = Vec(9);
/// Sixteen codes, repeated.
const QUAD: Vec = Vec(12);
/// The upper halves of sixteen codes.
const UPPER_QUAD: Vec = Vec(7);
/// The bits of a lower half.
const LOW: Vec = Vec(6);
/// A product.
const PRODUCT: Vec = Vec(11);

/// Groups whose products of halves are summed up in 16 bits: 8 times 2 times 15 times 128 is below 2^15.
const WORDS: usize = 8;

/// Codes of a group, and where they are.
struct Group {
    /// Its number.
    number: usize,
    /// In a buffer.
    offset: i32,
    /// The register, of a place in registers.
    chunk: usize,
    /// 128 bits of it.
    lane: u8,
    /// 32 bits of these; `None` if all are the same.
    element: Option<u8>,
}

impl Place {
    /// The groups, in an order in which those of a lane follow each other.
    fn groups(&self, vector: usize) -> impl Iterator<Item = Group> + '_ {
        let groups = self.len.div_ceil(GROUP);
        let lanes = vector / 16;
        let places = groups.next_multiple_of(vector / GROUP);
        let natural = self.natural;
        (0..places).filter_map(move |place| {
            let (chunk, within) = (place / (4 * lanes), place % (4 * lanes));
            let (lane, element) = (within / 4, within % 4);
            let number = match natural {
                true => place,
                false => chunk
                    .wrapping_mul(4 * lanes)
                    .wrapping_add(element * lanes)
                    .wrapping_add(lane),
            };
            let left = self.len.saturating_sub(chunk.saturating_mul(vector));
            let same = !natural && left <= vector / PARTS;
            Some(Group {
                number,
                offset: i32::try_from(place.checked_mul(GROUP)?).ok()?,
                chunk,
                lane: u8::try_from(lane).ok()?,
                element: match same {
                    true => None,
                    false => Some(u8::try_from(element).ok()?),
                },
            })
            .filter(|_| number < groups && !(same && element != 0))
        })
    }
}

impl Emitter<'_, '_> {
    /// The sums of `count` vectors of rows.
    pub(super) fn dot(
        &mut self,
        layer: &Layer,
        codes: &Place,
        row: usize,
        count: usize,
        sums: Sums,
    ) -> Option<()> {
        self.begin(layer, row, count, sums)?;
        self.add(layer, codes, None, row, count, sums)?;
        self.combine(layer, count, sums)
    }

    /// Sums take turns, since an addition must wait for the one before it.
    fn turns(layer: &Layer, count: usize, sums: Sums) -> usize {
        let turns = usize::from(sums.registers) / count.max(1);
        turns.min(layer.k.div_ceil(GROUP)).max(1)
    }

    /// Sums of nothing but biases.
    pub(super) fn begin(
        &mut self,
        layer: &Layer,
        row: usize,
        count: usize,
        sums: Sums,
    ) -> Option<()> {
        let bits = layer.bits;
        for n in 0..Self::turns(layer, count, sums).checked_mul(count)? {
            let to = sums.at(n)?;
            if n < count {
                let row = row.checked_add(n.checked_mul(layer.lanes())?)?;
                self.asm
                    .load(&forms::VMOVDQU, bits, to, list(layer.bias, row));
            } else {
                self.asm.three(&forms::VPXOR, bits, to, to, Rm::Vec(to));
            }
        }
        Some(())
    }

    /// Adds the products of all codes, or those of a chunk of them.
    pub(super) fn add(
        &mut self,
        layer: &Layer,
        codes: &Place,
        chunk: Option<usize>,
        row: usize,
        count: usize,
        sums: Sums,
    ) -> Option<()> {
        let Dot::Direct(form) = self.dot else {
            return None;
        };
        if let (Some(chunk), true) = (chunk, sums.paired(layer)) {
            return self.pairs(form, layer, codes, chunk, sums);
        }
        let bits = layer.bits;
        let turns = Self::turns(layer, count, sums);
        let mut quad = None;
        for (i, group) in codes.groups(self.bits.bytes()).enumerate() {
            if chunk.is_some_and(|chunk| chunk != group.chunk) {
                continue;
            }
            let four = match self.elements.get(i) {
                Some(&Some(four)) if chunk.is_none() => four,
                _ => self.four(bits, codes, &group, &mut quad, CODES)?,
            };
            let turn = i.checked_rem(turns)?.checked_mul(count)?;
            for part in 0..count {
                let row = row.checked_add(part.checked_mul(layer.lanes())?)?;
                let near = usize::from(chunk.is_some());
                let weights = self.weights(layer, row, group.number, near)?;
                let to = sums.at(turn.checked_add(part)?)?;
                self.asm.three(form, bits, to, four, weights);
            }
        }
        Some(())
    }

    /// The products of four rows at most with the codes of a chunk: of two groups at once, each in a half of the sums.
    fn pairs(
        &mut self,
        form: &Form,
        layer: &Layer,
        codes: &Place,
        chunk: usize,
        sums: Sums,
    ) -> Option<()> {
        let from = *codes.registers.get(chunk)?;
        let bits = Bits::B256;
        let groups = || {
            let all = codes.groups(self.bits.bytes());
            all.filter(move |group| group.chunk == chunk)
        };
        let mut all = [None; 16];
        for group in groups() {
            let element = usize::from(group.element.unwrap_or(0));
            let place = usize::from(group.lane)
                .checked_mul(4)?
                .checked_add(element)?;
            *all.get_mut(place)? = Some(group.number);
        }
        let turns = Self::turns(layer, 1, sums);
        for (half, lanes) in all.chunks_exact(8).enumerate() {
            let (low, high) = lanes.split_at(4);
            let source = match half {
                0 => from,
                _ => {
                    let to = Rm::Vec(QUAD);
                    self.asm
                        .extract(&forms::VEXTRACTI64X4, Bits::B512, to, from, 1);
                    QUAD
                }
            };
            for (i, (&low, &high)) in low.iter().zip(high).enumerate() {
                let Some(low) = low else {
                    continue;
                };
                let first = self.weights(layer, 0, low, 1)?;
                self.asm.load(&forms::VMOVDQU, Bits::B128, PRODUCT, first);
                if let Some(high) = high {
                    let second = self.weights(layer, 0, high, 1)?;
                    self.asm
                        .three_n(&forms::VINSERTI128, bits, PRODUCT, PRODUCT, second, 1);
                }
                let weights = Rm::Vec(PRODUCT);
                let element = u8::try_from(i).ok()?;
                let every = element << 6 | element << 4 | element << 2 | element;
                self.asm
                    .load_n(&forms::VPSHUFD, bits, CODES, Rm::Vec(source), every);
                let to = sums.at(i.checked_rem(turns)?)?;
                self.asm.three(form, bits, to, CODES, weights);
            }
        }
        Some(())
    }

    /// The sums of all turns in those of the first one.
    pub(super) fn combine(&mut self, layer: &Layer, count: usize, sums: Sums) -> Option<()> {
        let turns = Self::turns(layer, count, sums);
        let bits = match sums.paired(layer) {
            true => Bits::B256,
            false => layer.bits,
        };
        let mut step = 1usize;
        while step < turns {
            for turn in (0..turns.checked_sub(step)?).step_by(step.checked_mul(2)?) {
                for part in 0..count {
                    let n = turn.checked_mul(count)?.checked_add(part)?;
                    let to = sums.at(n)?;
                    let other = Rm::Vec(sums.at(n.checked_add(step.checked_mul(count)?)?)?);
                    self.asm.three(&forms::VPADDD, bits, to, to, other);
                }
            }
            step = step.checked_mul(2)?;
        }
        if sums.paired(layer) {
            let (sum, upper) = (sums.at(0)?, Rm::Vec(CODES));
            self.asm
                .extract(&forms::VEXTRACTI32X4, Bits::B256, upper, sum, 1);
            self.asm.three(&forms::VPADDD, layer.bits, sum, sum, upper);
        }
        Some(())
    }

    /// Keeps groups of codes in registers that are left.
    pub(super) fn hold(&mut self, layer: &Layer, codes: &Place) -> Option<()> {
        let mut quad = None;
        let left = self.left()?.min(HELD);
        for (i, group) in codes.groups(self.bits.bytes()).take(left).enumerate() {
            let to = self.take()?;
            let four = self.four(layer.bits, codes, &group, &mut quad, to)?;
            if four != to {
                self.copy(layer.bits, to, four);
            }
            *self.elements.get_mut(i)? = Some(to);
        }
        Some(())
    }

    /// Four codes, repeated.
    fn four(
        &mut self,
        bits: Bits,
        codes: &Place,
        group: &Group,
        quad: &mut Option<(usize, u8, Vec)>,
        to: Vec,
    ) -> Option<Vec> {
        if let Some(base) = codes.buffer {
            let disp = group.offset;
            let mem = Rm::Mem(Mem { base, disp });
            self.asm.load(&forms::VPBROADCASTD, bits, to, mem);
            return Some(to);
        }
        let from = match *quad {
            Some((chunk, lane, from)) if (chunk, lane) == (group.chunk, group.lane) => from,
            _ => {
                let from = *codes.registers.get(group.chunk)?;
                let from = self.quad(bits, from, group.lane, QUAD);
                *quad = Some((group.chunk, group.lane, from));
                from
            }
        };
        Some(self.element(bits, from, group, to))
    }

    /// Codes are split into halves of four bits, so that two products fit into 16 bits, and those of
    /// some groups, too.
    pub(super) fn halves(
        &mut self,
        layer: &Layer,
        codes: &Place,
        row: usize,
        count: usize,
    ) -> Option<()> {
        let bits = layer.bits;
        let register =
            |first: usize, part: usize| Some(Vec(u8::try_from(first.checked_add(part)?).ok()?));
        for part in 0..count {
            let row = row.checked_add(part.checked_mul(layer.lanes())?)?;
            let to = register(0, part)?;
            self.asm
                .load(&forms::VMOVDQU, bits, to, list(layer.bias, row));
        }
        if codes.buffer.is_some() {
            self.splat_code(LOW, bits, 15);
        }
        let mut quads = (None, QUAD, UPPER_QUAD);
        let mut summed = 0usize;
        for group in codes.groups(self.bits.bytes()) {
            let (low, high) = match codes.buffer {
                Some(base) => {
                    let disp = group.offset;
                    let mem = Rm::Mem(Mem { base, disp });
                    self.asm.load(&forms::VPBROADCASTD, bits, CODES, mem);
                    self.asm.shift(&forms::VPSRLW, bits, UPPER, CODES, 4);
                    self.asm
                        .three(&forms::VPAND, bits, CODES, CODES, Rm::Vec(LOW));
                    self.asm
                        .three(&forms::VPAND, bits, UPPER, UPPER, Rm::Vec(LOW));
                    (CODES, UPPER)
                }
                None => {
                    let here = Some((group.chunk, group.lane));
                    if quads.0 != here {
                        let low = *codes.registers.get(group.chunk)?;
                        let high = *codes.upper.get(group.chunk)?;
                        quads = (
                            here,
                            self.quad(bits, low, group.lane, QUAD),
                            self.quad(bits, high, group.lane, UPPER_QUAD),
                        );
                    }
                    let low = self.element(bits, quads.1, &group, CODES);
                    (low, self.element(bits, quads.2, &group, UPPER))
                }
            };
            for part in 0..count {
                let row = row.checked_add(part.checked_mul(layer.lanes())?)?;
                let weights = self.weights(layer, row, group.number, 0)?;
                for (first, x) in [(2, low), (4, high)] {
                    let to = register(first, part)?;
                    if summed == 0 {
                        self.asm.three(&forms::VPMADDUBSW, bits, to, x, weights);
                    } else {
                        self.asm
                            .three(&forms::VPMADDUBSW, bits, PRODUCT, x, weights);
                        self.asm
                            .three(&forms::VPADDW, bits, to, to, Rm::Vec(PRODUCT));
                    }
                }
            }
            summed = summed.checked_add(1)?.checked_rem(WORDS)?;
            if summed == 0 {
                self.widen(bits, count)?;
            }
        }
        if summed != 0 {
            self.widen(bits, count)?;
        }
        Some(())
    }

    /// Adds sums of 16 bits to those of 32.
    fn widen(&mut self, bits: Bits, count: usize) -> Option<()> {
        self.ones(bits, PRODUCT);
        self.asm.shift(&forms::VPSRLW, bits, PRODUCT, PRODUCT, 15);
        for part in 0..u8::try_from(count).ok()? {
            let sum = Vec(part);
            let (low, high) = (Vec(part.checked_add(2)?), Vec(part.checked_add(4)?));
            for words in [low, high] {
                self.asm
                    .three(&forms::VPMADDWD, bits, words, words, Rm::Vec(PRODUCT));
            }
            self.asm.shift(&forms::VPSLLD, bits, high, high, 4);
            for words in [low, high] {
                self.asm
                    .three(&forms::VPADDD, bits, sum, sum, Rm::Vec(words));
            }
        }
        Some(())
    }

    /// Codes in registers, split if they must be.
    pub(super) fn split(&mut self, codes: &Place) -> Option<Place> {
        let mut halves = *codes;
        if self.dot != Dot::Halves || codes.buffer.is_some() {
            return Some(halves);
        }
        let (bits, held) = (self.bits, self.held(codes));
        self.splat_code(LOW, bits, 15);
        for (&low, high) in codes.registers.iter().zip(&mut halves.upper).take(held) {
            *high = self.take()?;
            self.asm.shift(&forms::VPSRLW, bits, *high, low, 4);
            self.asm
                .three(&forms::VPAND, bits, *high, *high, Rm::Vec(LOW));
            self.asm.three(&forms::VPAND, bits, low, low, Rm::Vec(LOW));
        }
        Some(halves)
    }

    /// 128 bits of a register, repeated.
    fn quad(&mut self, bits: Bits, from: Vec, lane: u8, to: Vec) -> Vec {
        let source = Rm::Vec(from);
        let asm = &mut *self.asm;
        match (self.bits == Bits::B512, bits, lane) {
            (_, Bits::B128, 0) => return from,
            (false, Bits::B128, _) => {
                asm.extract(&forms::VEXTRACTI128, Bits::B256, Rm::Vec(to), from, lane);
            }
            (false, ..) => {
                let both = lane << 4 | lane;
                asm.three_n(&forms::VPERM2I128, Bits::B256, to, from, source, both);
            }
            (true, Bits::B128, _) => {
                asm.extract(&forms::VEXTRACTI32X4, Bits::B512, Rm::Vec(to), from, lane);
            }
            (true, Bits::B256, 0 | 1) => {
                let both = lane << 1 | lane;
                asm.three_n(&forms::VSHUFI32X4, Bits::B256, to, from, source, both);
            }
            (true, ..) => {
                let all = lane << 6 | lane << 4 | lane << 2 | lane;
                asm.three_n(&forms::VSHUFI32X4, Bits::B512, to, from, source, all);
            }
        }
        to
    }

    /// 32 bits of sixteen codes, repeated.
    fn element(&mut self, bits: Bits, quad: Vec, group: &Group, to: Vec) -> Vec {
        match group.element {
            None => quad,
            Some(i) => {
                let all = i << 6 | i << 4 | i << 2 | i;
                self.asm
                    .load_n(&forms::VPSHUFD, bits, to, Rm::Vec(quad), all);
                to
            }
        }
    }

    /// The weights of a vector of rows. Where displacements of one byte count in vectors, an address that
    /// is near saves bytes.
    fn weights(&mut self, layer: &Layer, row: usize, group: usize, which: usize) -> Option<Rm> {
        let at = layer.weights(row, group)?;
        let far = Mem {
            base: WEIGHTS,
            disp: at,
        };
        let unit = i32::try_from(layer.bits.bytes()).ok()?;
        let direct = matches!(self.dot, Dot::Direct(_));
        if !self.wide() || !direct || layer.k < 4 * GROUP {
            return Some(Rm::Mem(far));
        }
        self.near.reach(self.asm, at, unit, which)
    }

    /// All bits.
    pub(super) fn ones(&mut self, bits: Bits, to: Vec) {
        if self.wide() {
            let same = Rm::Vec(to);
            self.asm
                .three_n(&forms::VPTERNLOGD, bits, to, to, same, 0xff);
        } else {
            self.asm.three(&forms::VPCMPEQD, bits, to, to, Rm::Vec(to));
        }
    }

    /// Codes from biased codes, or these from codes.
    pub(super) fn flip(&mut self, bits: Bits, codes: Vec) {
        self.splat_code(CODES, bits, FLIP);
        self.asm
            .three(&forms::VPXOR, bits, codes, codes, Rm::Vec(CODES));
    }

    /// A register from a register.
    pub(super) fn copy(&mut self, bits: Bits, to: Vec, from: Vec) {
        self.asm
            .masked(&forms::VMOVDQU, bits, Which::All, to, Rm::Vec(from));
    }
}
