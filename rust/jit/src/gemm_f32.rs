// SPDX-License-Identifier: GPL-2.0

//! Matrix products of single precision with packed weights: dense layers of one position or several.
//!
//! Products are added in the order of `neural_gemm_f32_*`, so that results are the same bit by bit.

use neural_core::int8::{panel_rows, PANEL};

use crate::asm::forms;
use crate::asm::{Asm, Bits, Gpr, Mask, Mem, Rm, Vec, Which};
use crate::descriptor::{GemmF32, Limit};
use crate::{EmitError, Exit, Isa};

/// Where the pointers of the arguments are.
mod args {
    pub(super) const X: i32 = 0;
    pub(super) const Y: i32 = 24;
    pub(super) const W: i32 = 96;
    pub(super) const BIAS: i32 = 112;
}

/// The positions that are next.
const X: Gpr = Gpr::Rsi;
const Y: Gpr = Gpr::Rdx;
const W: Gpr = Gpr::R8;
const BIAS: Gpr = Gpr::R11;
/// The elements that are next.
const FROM: Gpr = Gpr::R10;
/// The weights that are next, and those of the panel behind it.
const NEAR: [Gpr; 2] = [Gpr::R9, Gpr::Rcx];
const NUMBER: Gpr = Gpr::Rax;
/// Tiles that are left.
const TILES: Gpr = Gpr::Rcx;
const TAIL: Mask = Mask(2);

/// Bytes of an element.
const WORD: usize = 4;

/// The most sums of one position.
const SUMS: usize = 8;

/// Weights that are addressed from one place: displacements of one byte reach half of them to each side.
const REACH: usize = 256;

/// Groups of weights that are written out in the loop of a tile.
const TURNS: usize = 4;

/// Products that are written out in the loop of one position.
const WRITTEN: usize = 256;

struct Emitter<'a, 'b> {
    asm: &'a mut Asm<'b>,
    gemm: GemmF32,
    n: usize,
    k: usize,
    bits: Bits,
    /// What is used of the last vector, where it is masked.
    mask: Option<usize>,
}

/// Columns that are computed together.
#[derive(Clone, Copy)]
struct Columns {
    /// The first one.
    first: usize,
    /// Vectors in the panel.
    vectors: usize,
    /// Vectors in the next panel.
    behind: usize,
    /// Weights from a group to the next.
    step: usize,
    /// Where the weights are, and those in the next panel.
    weights: [usize; 2],
}

/// Writes the function.
pub(crate) fn emit(asm: &mut Asm<'_>, gemm: &GemmF32, isa: Isa, exit: Exit) {
    let bits = match isa {
        Isa::Avx2 | Isa::AvxVnni => Bits::B256,
        Isa::Avx512 | Isa::Avx512Vnni => Bits::B512,
    };
    // CAST: to wider types.
    let (n, k) = (gemm.n as usize, gemm.k as usize);
    let mut emitter = Emitter {
        asm,
        gemm: *gemm,
        n,
        k,
        bits,
        mask: None,
    };
    if emitter.function(exit).is_none() {
        asm.fail(EmitError::Unsupported);
    }
}

impl Emitter<'_, '_> {
    fn wide(&self) -> bool {
        self.bits == Bits::B512
    }

    fn lanes(&self) -> usize {
        self.bits.bytes() / WORD
    }

    fn function(&mut self, exit: Exit) -> Option<()> {
        let inside = (1..1 << 14).contains(&self.n) && (1..1 << 14).contains(&self.k);
        let rows = self.n.checked_next_multiple_of(16)?;
        let bytes = rows.checked_mul(self.k)?.checked_mul(WORD)?;
        let far = 1u32 << 26;
        let near = self.gemm.x_row < far && self.gemm.y_row < far && bytes < 1 << 28;
        if !inside || !near || self.gemm.positions == 0 {
            return None;
        }
        self.asm.enter();
        self.asm.pointer(X, args::X);
        self.asm.pointer(Y, args::Y);
        self.asm.pointer(W, args::W);
        self.asm.pointer(BIAS, args::BIAS);
        if self.gemm.positions == 1 {
            self.one()?;
        } else {
            self.many()?;
        }
        self.asm.leave(exit);
        Some(())
    }

    /// One position: eight sums, several of a column if there are few of these.
    fn one(&mut self) -> Option<()> {
        let mut first = 0usize;
        while first < self.n {
            let left = self.n.checked_sub(first)?;
            let rows = panel_rows(left);
            let start = first.checked_mul(self.k)?.checked_mul(WORD)?;
            let next = PANEL.checked_mul(self.k)?.checked_mul(WORD)?;
            let mut columns = Columns {
                first,
                vectors: rows.checked_div(self.lanes())?,
                behind: 0,
                step: rows.checked_mul(WORD)?,
                weights: [start, start.checked_add(next)?],
            };
            let split = match (self.wide(), columns.vectors) {
                (true, _) if left > PANEL + 48 => {
                    columns.behind = SUMS / 2;
                    1
                }
                (true, 1) => 8,
                (true, 2) | (false, 2) => 4,
                (true, _) | (false, 4) => 2,
                _ => 1,
            };
            self.line(&columns, split)?;
            first = first.checked_add(rows)?;
            if columns.behind > 0 {
                first = first.checked_add(PANEL)?;
            }
        }
        Some(())
    }

    /// Some columns of one position, `split` sums of each.
    fn line(&mut self, columns: &Columns, split: usize) -> Option<()> {
        let (bits, lanes) = (self.bits, self.lanes());
        let count = columns.vectors.checked_add(columns.behind)?;
        let sum = |s: usize, j: usize| vec(s.checked_mul(count)?.checked_add(j)?);
        for s in 0..split {
            for j in 0..count {
                let to = sum(s, j)?;
                if s == 0 {
                    let at = columns.first.checked_add(j.checked_mul(lanes)?)?;
                    let bias = memory(BIAS, at.checked_mul(WORD)?)?;
                    self.asm.load(&forms::VMOVUPS, bits, to, bias);
                } else {
                    self.asm.three(&forms::VPXOR, bits, to, to, Rm::Vec(to));
                }
            }
        }
        // Whole vectors of elements in the loop; as many groups as displacements of one byte reach.
        let group = count.checked_mul(lanes)?;
        let most = (REACH * 64).checked_div(columns.step.checked_mul(lanes)?)?;
        let written = (WRITTEN.checked_div(group)?).min(most).max(1);
        let body = written.checked_mul(lanes)?;
        let turns = self.k.checked_div(body)?;
        let offset = body.checked_mul(columns.step)? / 2 / 64 * 64;
        let half = i32::try_from(offset).ok()?;
        for (near, at) in NEAR.into_iter().zip(columns.weights) {
            if near == NEAR[0] || columns.behind > 0 {
                let disp = i32::try_from(at).ok()?.checked_add(half)?;
                self.asm.lea(near, Mem { base: W, disp });
            }
        }
        self.asm.lea(FROM, Mem { base: X, disp: 0 });
        let rest = self.k.checked_sub(turns.checked_mul(body)?)?;
        let done = self.k.checked_sub(rest)?;
        let parts = [(turns, body, 0), (1, rest, done)];
        for (turns, elements, start) in parts {
            if turns == 0 || elements == 0 {
                continue;
            }
            if turns > 1 {
                self.asm.set(NUMBER, u32::try_from(turns).ok()?);
            }
            let label = self.asm.label();
            for i in 0..elements {
                let at = start.checked_add(i)?;
                let s = at.checked_rem(split)?;
                let x = self.spread(i)?;
                for j in 0..count {
                    let behind = usize::from(j >= columns.vectors);
                    let place = j.checked_sub(behind.checked_mul(columns.vectors)?)?;
                    let place = place.checked_mul(self.bits.bytes())?;
                    let at = i.checked_mul(columns.step)?.checked_add(place)?;
                    let weights = Rm::Mem(Mem {
                        base: *NEAR.get(behind)?,
                        disp: i32::try_from(at).ok()?.checked_sub(half)?,
                    });
                    self.asm
                        .three(&forms::VFMADD231PS, bits, sum(s, j)?, x, weights);
                }
            }
            if elements == body {
                let weights = i32::try_from(body.checked_mul(columns.step)?).ok()?;
                self.asm.add(NEAR[0], weights);
                if columns.behind > 0 {
                    self.asm.add(NEAR[1], weights);
                }
                self.asm.add(FROM, i32::try_from(body * WORD).ok()?);
            }
            if turns > 1 {
                self.asm.again(NUMBER, label);
            }
        }
        let mut step = 1usize;
        while step < split {
            for s in (0..split).step_by(step.checked_mul(2)?) {
                for j in 0..count {
                    let other = Rm::Vec(sum(s.checked_add(step)?, j)?);
                    let to = sum(s, j)?;
                    self.asm.three(&forms::VADDPS, bits, to, to, other);
                }
            }
            step = step.checked_mul(2)?;
        }
        for j in 0..count {
            self.finish(sum(0, j)?, columns.first, j, 0)?;
        }
        Some(())
    }

    /// Element `i` behind [`FROM`], repeated: whole vectors are loaded, since up to a vector may be read behind the last
    /// one.
    fn spread(&mut self, i: usize) -> Option<Vec> {
        let (vector, quad, x) = match self.wide() {
            true => (Vec(24), Vec(25), Vec(26)),
            false => (Vec(8), Vec(9), Vec(10)),
        };
        let (bits, asm) = (self.bits, &mut *self.asm);
        let within = i % (bits.bytes() / WORD);
        if within == 0 {
            let from = memory(FROM, i.checked_mul(WORD)?)?;
            asm.load(&forms::VMOVUPS, bits, vector, from);
        }
        let lane = u8::try_from(within / 4).ok()?;
        let element = u8::try_from(within % 4).ok()?;
        if element == 0 {
            let (form, lanes) = match bits {
                Bits::B512 => (&forms::VSHUFI32X4, lane << 6 | lane << 4 | lane << 2 | lane),
                _ => (&forms::VPERM2I128, lane << 4 | lane),
            };
            asm.three_n(form, bits, quad, vector, Rm::Vec(vector), lanes);
        }
        let all = element << 6 | element << 4 | element << 2 | element;
        asm.load_n(&forms::VPSHUFD, bits, x, Rm::Vec(quad), all);
        Some(x)
    }

    /// Several positions: tiles of positions and columns.
    fn many(&mut self) -> Option<()> {
        let lanes = self.lanes();
        let widest = if self.wide() { 4 } else { 2 };
        let mut first = 0usize;
        while first < self.n {
            let rows = panel_rows(self.n.checked_sub(first)?);
            let mut at = 0usize;
            while at < rows && first.checked_add(at)? < self.n {
                let column = first.checked_add(at)?;
                let left = self.n.checked_sub(column)?.min(rows.checked_sub(at)?);
                let vectors = left.div_ceil(lanes).min(widest);
                let start = first.checked_mul(self.k)?.checked_add(at)?;
                let start = start.checked_mul(WORD)?;
                let columns = Columns {
                    first: column,
                    vectors,
                    behind: 0,
                    step: rows.checked_mul(WORD)?,
                    weights: [start, start],
                };
                self.column(&columns)?;
                at = at.checked_add(vectors.checked_mul(lanes)?)?;
            }
            first = first.checked_add(rows)?;
        }
        Some(())
    }

    /// Some columns of all positions.
    fn column(&mut self, columns: &Columns) -> Option<()> {
        let height = match (self.wide(), columns.vectors) {
            (false, _) | (_, 4) => 6,
            _ => 8,
        };
        // CAST: to a wider type.
        let positions = self.gemm.positions as usize;
        if columns.first > 0 {
            self.asm.pointer(X, args::X);
            self.asm.pointer(Y, args::Y);
        }
        let tiles = positions.checked_div(height)?;
        let rest = positions.checked_sub(tiles.checked_mul(height)?)?;
        for (tiles, height) in [(tiles, height), (1, rest)] {
            if tiles == 0 || height == 0 {
                continue;
            }
            if tiles > 1 {
                self.asm.set(TILES, u32::try_from(tiles).ok()?);
            }
            let label = self.asm.label();
            self.tile(columns, height)?;
            if tiles > 1 || rest > 0 {
                let rows = i32::try_from(height).ok()?;
                let x_row = i32::try_from(self.gemm.x_row).ok()?;
                let y_row = i32::try_from(self.gemm.y_row).ok()?;
                self.asm.add(X, rows.checked_mul(x_row)?);
                self.asm.add(Y, rows.checked_mul(y_row)?);
            }
            if tiles > 1 {
                self.asm.again(TILES, label);
            }
        }
        Some(())
    }

    /// Some columns of some positions.
    fn tile(&mut self, columns: &Columns, height: usize) -> Option<()> {
        let (bits, count) = (self.bits, columns.vectors);
        let sum = |r: usize, j: usize| vec(r.checked_mul(count)?.checked_add(j)?);
        let (weights, x) = match self.wide() {
            true => (24, Vec(28)),
            false => (12, Vec(14)),
        };
        for j in 0..count {
            let at = columns.first.checked_add(j.checked_mul(self.lanes())?)?;
            let bias = memory(BIAS, at.checked_mul(WORD)?)?;
            for r in 0..height {
                self.asm.load(&forms::VMOVUPS, bits, sum(r, j)?, bias);
            }
        }
        let disp = i32::try_from(columns.weights[0]).ok()?;
        self.asm.lea(NEAR[0], Mem { base: W, disp });
        self.asm.lea(FROM, Mem { base: X, disp: 0 });
        let turns = self.k / TURNS;
        for (turns, groups) in [(turns, TURNS), (1, self.k % TURNS)] {
            if turns == 0 || groups == 0 {
                continue;
            }
            if turns > 1 {
                self.asm.set(NUMBER, u32::try_from(turns).ok()?);
            }
            let label = self.asm.label();
            for i in 0..groups {
                for j in 0..count {
                    let at = i.checked_mul(columns.step)?;
                    let at = at.checked_add(j.checked_mul(bits.bytes())?)?;
                    let to = vec(j.checked_add(weights)?)?;
                    self.asm
                        .load(&forms::VMOVUPS, bits, to, memory(NEAR[0], at)?);
                }
                for r in 0..height {
                    // CAST: to a wider type.
                    let at = r.checked_mul(self.gemm.x_row as usize)?;
                    let at = at.checked_add(i.checked_mul(WORD)?)?;
                    self.asm
                        .load(&forms::VBROADCASTSS, bits, x, memory(FROM, at)?);
                    for j in 0..count {
                        let weights = Rm::Vec(vec(j.checked_add(weights)?)?);
                        self.asm
                            .three(&forms::VFMADD231PS, bits, sum(r, j)?, x, weights);
                    }
                }
            }
            if turns > 1 || self.k % TURNS > 0 {
                let weights = i32::try_from(groups.checked_mul(columns.step)?).ok()?;
                self.asm.add(NEAR[0], weights);
                self.asm
                    .add(FROM, i32::try_from(groups.checked_mul(WORD)?).ok()?);
            }
            if turns > 1 {
                self.asm.again(NUMBER, label);
            }
        }
        for r in 0..height {
            for j in 0..count {
                // CAST: to a wider type.
                let row = r.checked_mul(self.gemm.y_row as usize)?;
                self.finish(sum(r, j)?, columns.first, j, row)?;
            }
        }
        Some(())
    }

    /// Limits and stores a vector of sums: number `j` of those from a column on, `row` bytes behind [`Y`].
    fn finish(&mut self, sum: Vec, first: usize, j: usize, row: usize) -> Option<()> {
        let (bits, lanes) = (self.bits, self.lanes());
        let column = first.checked_add(j.checked_mul(lanes)?)?;
        if column >= self.n {
            return Some(());
        }
        let limit = Vec(if self.wide() { 29 } else { 15 });
        if self.gemm.limit != Limit::None {
            // What is no number is the second operand, and stays.
            let asm = &mut *self.asm;
            asm.three(&forms::VPXOR, bits, limit, limit, Rm::Vec(limit));
            asm.three(&forms::VMAXPS, bits, sum, limit, Rm::Vec(sum));
        }
        if self.gemm.limit == Limit::ZeroToSix {
            self.asm.set(NUMBER, 6.0f32.to_bits());
            self.asm
                .load(&forms::VMOVD, Bits::B128, limit, Rm::Gpr(NUMBER));
            self.asm
                .load(&forms::VBROADCASTSS, bits, limit, Rm::Vec(limit));
            self.asm
                .three(&forms::VMINPS, bits, sum, limit, Rm::Vec(sum));
        }
        let used = self.n.checked_sub(column)?.min(lanes);
        let at = column.checked_mul(WORD)?.checked_add(row)?;
        let to = memory(Y, at)?;
        if used == lanes {
            self.asm
                .store(&forms::VMOVUPS_TO, bits, Which::All, to, sum);
        } else if self.wide() {
            if self.mask != Some(used) {
                let mask = 1u32.checked_shl(u32::try_from(used).ok()?)?.wrapping_sub(1);
                self.asm.set(NUMBER, mask);
                self.asm.mask(&forms::KMOVW, TAIL, Rm::Gpr(NUMBER));
                self.mask = Some(used);
            }
            let which = Which::Merge(TAIL);
            self.asm.store(&forms::VMOVUPS_TO, bits, which, to, sum);
        } else {
            self.pieces(sum, at, used, limit)?;
        }
        Some(())
    }

    /// Stores less than eight elements, through a register that is free.
    fn pieces(&mut self, sum: Vec, at: usize, used: usize, free: Vec) -> Option<()> {
        let asm = &mut *self.asm;
        let (mut from, mut at) = (sum, at);
        if used & 4 != 0 {
            let to = memory(Y, at)?;
            asm.store(&forms::VMOVUPS_TO, Bits::B128, Which::All, to, from);
            at = at.checked_add(16)?;
            asm.extract(&forms::VEXTRACTI128, Bits::B256, Rm::Vec(free), from, 1);
            from = free;
        }
        match used & 3 {
            0 => {}
            1 => asm.store(
                &forms::VMOVSS_TO,
                Bits::B128,
                Which::All,
                memory(Y, at)?,
                from,
            ),
            more => {
                let to = memory(Y, at)?;
                asm.store(&forms::VMOVQ_TO, Bits::B128, Which::All, to, from);
                if more == 3 {
                    let to = memory(Y, at.checked_add(8)?)?;
                    asm.extract(&forms::VPEXTRD, Bits::B128, to, from, 2);
                }
            }
        }
        Some(())
    }
}

/// A vector register.
fn vec(n: usize) -> Option<Vec> {
    Some(Vec(u8::try_from(n).ok()?))
}

fn memory(base: Gpr, at: usize) -> Option<Rm> {
    let disp = i32::try_from(at).ok()?;
    Some(Rm::Mem(Mem { base, disp }))
}
