// SPDX-License-Identifier: GPL-2.0

//! Operations that need no arithmetic of an element type: decision trees, rows of tables, and elements
//! that are moved. They run in any context, whatever the elements.

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::int16;
use crate::int8::{multiply, Multiplier, BIAS};
use crate::nnm::{last_dim, DType, Model, Op, OpKind};
use crate::trees::{self, Forest, NODE_BYTES, SUM_BYTES};

use super::build::Builder;
use super::moves::Moves;
use super::{product, usize_of, Kernels, Meter, Part, Step, Tensors, Work};

/// What a step does without arithmetic of its elements.
// As with all the work of a step, there is no allocation that a large variant could be put into.
#[allow(clippy::large_enum_variant)]
#[derive(Copy, Clone, Debug)]
pub(super) enum Plain {
    Moves(Moves),
    Trees(Trees),
    Rows(Rows),
}

/// A forest.
#[derive(Copy, Clone, Debug)]
pub(super) struct Trees {
    nodes: Part,
    roots: Part,
    leaves: Part,
    features: usize,
    /// Results of a leaf.
    n: usize,
    /// The most nodes on a path.
    height: u32,
    /// What a sum of all trees becomes.
    result: Outcome,
}

/// From sums to elements.
#[derive(Copy, Clone, Debug)]
enum Outcome {
    /// Divided by this.
    Q16(u32),
    /// Multiplied, and added to a biased zero point.
    Code(Multiplier, i32),
    /// Multiplied.
    Short(Multiplier),
    /// Divided by this and by a power of two.
    Number(u32, i32),
}

/// Rows of a table.
#[derive(Copy, Clone, Debug)]
pub(super) struct Rows {
    table: Part,
    rows: usize,
    /// Bytes of a row, and of an index.
    bytes: usize,
    index: usize,
}

/// What a comparison costs, in multiply-accumulates.
const NODE_MACS: u64 = 8;

impl Plain {
    /// Whether operations of this kind are here.
    pub(super) const fn has(kind: OpKind) -> bool {
        matches!(
            kind,
            OpKind::Concat
                | OpKind::Pad
                | OpKind::Reshape
                | OpKind::Transpose
                | OpKind::Slice
                | OpKind::Forest
                | OpKind::Embedding
        )
    }

    /// What an operation becomes; finds a place for its constants.
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Work> {
        let [x, second, ..] = op.inputs;
        let (x, y) = (model.tensor(x)?, model.tensor(op.output)?);
        let work = match op.kind {
            OpKind::Forest => Plain::Trees(Trees::plan(model, op, builder)?),
            OpKind::Embedding => {
                let table = model.tensor(second)?;
                let [rows, ..] = table.dims;
                let bytes = usize::try_from(table.bytes()).ok()?;
                let rows = usize_of(rows);
                Plain::Rows(Rows {
                    table: Part::new(builder, bytes)?,
                    rows,
                    bytes: bytes.checked_div(rows)?,
                    // CAST: at most 4.
                    index: x.dtype.bytes() as usize,
                })
            }
            _ => Plain::Moves(Moves::plan(model, op, &x, &y)?),
        };
        Some(Work::Plain(work))
    }

    /// Copies constants to their place.
    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let op = model.op(step.op)?;
        let constant = |slot: usize| {
            let index = op.inputs.get(slot).copied()?;
            model.data(&model.tensor(index)?)
        };
        match self {
            Plain::Moves(_) => {}
            Plain::Trees(forest) => {
                let nodes = forest.nodes.of_mut(dst)?.chunks_exact_mut(NODE_BYTES);
                for (to, from) in nodes.zip(constant(1)?.chunks_exact(NODE_BYTES)) {
                    let mut words = crate::fixed::elements(from);
                    let node = [0; 4].map(|none| words.next().unwrap_or(none));
                    let node = trees::pack_node(step.dtype, node);
                    for (to, word) in to.chunks_exact_mut(ELEMENT_BYTES).zip(node) {
                        to.copy_from_slice(&word.to_le_bytes());
                    }
                }
                let roots = constant(2)?;
                forest
                    .roots
                    .of_mut(dst)?
                    .get_mut(..roots.len())?
                    .copy_from_slice(roots);
                let leaves = constant(3)?;
                forest
                    .leaves
                    .of_mut(dst)?
                    .get_mut(..leaves.len())?
                    .copy_from_slice(leaves);
            }
            Plain::Rows(rows) => {
                let bias = if step.dtype == DType::I8 { 0x80 } else { 0 };
                for (to, from) in rows.table.of_mut(dst)?.iter_mut().zip(constant(1)?) {
                    *to = from ^ bias;
                }
            }
        }
        Some(())
    }

    // Its frame is not to be a part of that of `run` in `plan.rs`.
    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        tensors: &mut Tensors<'_>,
    ) -> Result<(), Error> {
        let Tensors { reads, write, temp } = tensors;
        let outputs = write.chunks_exact_mut(step.write.stride.max(1));
        let sums = temp.get_mut(..step.temp.bytes);
        let sums = sums.ok_or(step.mismatch())?;
        for (s, y) in outputs.enumerate().take(samples) {
            let sample = |slot: usize| {
                let (data, slot) = (reads.get(slot)?, step.reads.get(slot)?);
                let start = s.checked_mul(slot.stride)?;
                data.get(start..)?.get(..slot.bytes)
            };
            let x = sample(0).ok_or(step.mismatch())?;
            let y = y.get_mut(..step.write.bytes).ok_or(step.mismatch())?;
            match self {
                Plain::Moves(moves) => moves.run(meter, sample, y)?,
                Plain::Trees(trees) => trees.run(step, meter, packed, x, y, sums)?,
                Plain::Rows(rows) => rows.run(step, meter, packed, x, y)?,
            }
        }
        Ok(())
    }
}

impl Trees {
    fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [x, nodes, roots, leaves] = op.inputs;
        let x = model.tensor(x)?;
        let y = model.tensor(op.output)?;
        let mut part = |tensor: u32| {
            let bytes = model.tensor(tensor)?.bytes();
            Part::new(builder, usize::try_from(bytes).ok()?)
        };
        let parts = [part(nodes)?, part(roots)?, part(leaves)?];
        let n = usize_of(last_dim(&y));
        let [count, ..] = model.tensor(roots)?.dims;
        let [mean, factor, shift, ..] = op.params;
        let divisor = if mean == 1 { count } else { 1 };
        builder.temp(product(&[n, SUM_BYTES])?);
        let heights = crate::fixed::elements(model.data(&model.tensor(nodes)?)?).step_by(4);
        Some(Trees {
            nodes: parts[0],
            roots: parts[1],
            leaves: parts[2],
            features: usize_of(last_dim(&x)),
            n,
            // CAST: the same bits.
            height: heights.map(|word| word as u32 >> 16).max()?,
            result: match x.dtype {
                DType::I8 => {
                    let factor = Multiplier {
                        mult: factor,
                        shift,
                    };
                    Outcome::Code(factor, y.zero_point.wrapping_add(BIAS))
                }
                DType::I16 => Outcome::Short(Multiplier {
                    mult: factor,
                    shift,
                }),
                DType::F32 => Outcome::Number(divisor, factor),
                _ => Outcome::Q16(divisor),
            },
        })
    }

    fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        x: &[u8],
        y: &mut [u8],
        sums: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        let nodes = self.nodes.of(packed).ok_or_else(fault)?;
        let roots = self.roots.of(packed).ok_or_else(fault)?;
        let leaves = self.leaves.of(packed).ok_or_else(fault)?;
        // CAST: at most 4.
        let element = step.dtype.bytes() as usize;
        let x = x.chunks_exact(self.features.saturating_mul(element).max(1));
        let y = y.chunks_exact_mut(self.n.saturating_mul(element).max(1));
        // CAST: widens.
        let tree_macs = u64::from(self.height)
            .saturating_mul(NODE_MACS)
            .saturating_add(self.n as u64);
        // CAST: 64 bits, as on every target of the module.
        let most = meter.fit(tree_macs as usize).max(1);
        for (x, y) in x.zip(y) {
            sums.fill(0);
            for roots in roots.chunks(most.saturating_mul(ELEMENT_BYTES)) {
                // CAST: widens.
                let trees = (roots.len() / ELEMENT_BYTES) as u64;
                meter.spend(trees.saturating_mul(tree_macs))?;
                meter.kernels.forest(Forest {
                    dtype: step.dtype,
                    x,
                    nodes,
                    roots,
                    leaves,
                    n: self.n,
                    height: self.height,
                    sums,
                });
            }
            meter.spend_line(self.n, false)?;
            let sums = sums.chunks_exact(SUM_BYTES);
            for (y, sum) in y.chunks_exact_mut(element).zip(sums) {
                let sum = sum.first_chunk().map_or(0, |&sum| i64::from_le_bytes(sum));
                self.result.put(sum, y);
            }
        }
        Ok(())
    }
}

impl Outcome {
    fn put(&self, sum: i64, y: &mut [u8]) {
        let word = match *self {
            Outcome::Short(factor) => {
                i32::from(int16::code(int16::scaled(sum, factor))).to_le_bytes()
            }
            Outcome::Q16(divisor) => trees::quotient(sum, divisor).to_le_bytes(),
            Outcome::Code(factor, zero) => {
                let code = multiply(crate::fixed::saturate(sum), factor);
                code.saturating_add(zero).clamp(0, 255).to_le_bytes()
            }
            Outcome::Number(divisor, shift) => trees::number(sum, divisor, shift).to_le_bytes(),
        };
        for (y, byte) in y.iter_mut().zip(word) {
            *y = byte;
        }
    }
}

impl Rows {
    fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let table = self.table.of(packed).ok_or(step.mismatch())?;
        let x = x.chunks_exact(self.index.max(1));
        for (x, y) in x.zip(y.chunks_exact_mut(self.bytes.max(1))) {
            meter.spend_line(y.len(), true)?;
            let row = match (step.dtype, x) {
                (DType::I8, &[code]) => usize::from(code).min(self.rows.saturating_sub(1)),
                (DType::I16, x) => int16::elements(x)
                    .next()
                    .and_then(|code| usize::try_from(code).ok())
                    .map_or(0, |row| row.min(self.rows.saturating_sub(1))),
                (DType::F32, x) => trees::index_of_number(crate::fixed::load(x), self.rows),
                (_, x) => trees::index_of_q16(crate::fixed::load(x), self.rows),
            };
            let from = row.saturating_mul(self.bytes);
            let from = table.get(from..).and_then(|rows| rows.get(..y.len()));
            y.copy_from_slice(from.ok_or(step.mismatch())?);
        }
        Ok(())
    }
}
