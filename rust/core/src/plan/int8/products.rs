// SPDX-License-Identifier: GPL-2.0

//! Dense layers and convolutions of codes.

use crate::error::Error;
use crate::fixed::ELEMENT_BYTES;
use crate::int8::{self as codes, pack, ChainLayer, Requant, GROUP, LANES, PANEL};
use crate::nnm::{Model, Op};

use super::super::build::Builder;
use super::super::patches::{Patches, Piece};
use super::super::{slice_from, Kernels, Meter, Part, Step, Tensors};
use super::biased;

/// Rows of products.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Products {
    patches: Patches,
    weights: Part,
    bias: Part,
    mult: Part,
    shift: Part,
    /// Biased.
    x_zero: i32,
    zero: i32,
    min: i32,
    max: i32,
}

impl Products {
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [x, ..] = op.inputs;
        let (x, y) = (model.tensor(x)?, model.tensor(op.output)?);
        let [p0, p1, ..] = op.params;
        let x_zero = biased(x.zero_point);
        let patches = Patches::plan(model, op, 1, u8::try_from(x_zero).ok()?, builder)?;
        let (n, segments) = (patches.n, patches.segments);
        let (weight_bytes, rows) = match patches.depthwise {
            true => (pack::packed_depthwise_bytes(segments, n)?, PANEL),
            false => (pack::packed_gemm_bytes(n, segments, patches.k)?, LANES),
        };
        let list = n
            .checked_next_multiple_of(rows)?
            .checked_mul(ELEMENT_BYTES)?;
        Some(Products {
            patches,
            weights: Part::new(builder, weight_bytes)?,
            bias: Part::new(builder, list)?,
            mult: Part::new(builder, list)?,
            shift: Part::new(builder, list)?,
            x_zero,
            zero: biased(y.zero_point),
            min: biased(p0),
            max: biased(p1),
        })
    }

    /// What a chain of layers needs, of a dense layer of one position.
    pub(in super::super) fn chain_layer(&self) -> Option<ChainLayer> {
        if !self.patches.is_single() {
            return None;
        }
        let at = |part: &Part| u32::try_from(part.at).ok();
        Some(ChainLayer {
            k: u32::try_from(self.patches.k).ok()?,
            n: u32::try_from(self.patches.n).ok()?,
            w: at(&self.weights)?,
            bias: at(&self.bias)?,
            mult: at(&self.mult)?,
            shift: at(&self.shift)?,
            zero: self.zero,
            min: self.min,
            max: self.max,
            table: ChainLayer::NONE,
            reserved: [0; 6],
        })
    }

    pub(super) fn pack(&self, w: &[u8], bias: &[u8], requant: &[u8], dst: &mut [u8]) -> Option<()> {
        let Patches { n, k, segments, .. } = self.patches;
        let (mult, shift) = requant.split_at_checked(requant.len() / 2)?;
        let lists = [(mult, &self.mult), (shift, &self.shift)];
        let out = self.weights.of_mut(dst)?;
        if self.patches.depthwise {
            pack::pack_depthwise(w, segments, n, out);
            let out = self.bias.of_mut(dst)?;
            pack::fold_depthwise_bias(w, n, bias, self.x_zero, out);
            for (list, part) in lists {
                pack::pack_depthwise_list(list, part.of_mut(dst)?);
            }
        } else {
            let row_bytes = segments.checked_mul(k)?;
            let panel = self.patches.panel;
            if panel < PANEL {
                let panels = w.chunks(panel.checked_mul(row_bytes)?.max(1));
                let places = out.chunks_mut(panel.checked_mul(self.row_bytes())?.max(1));
                for ((w, out), row) in panels.zip(places).zip((0..n).step_by(panel)) {
                    pack::pack_gemm(w, panel.min(n.saturating_sub(row)), segments, k, out);
                }
            } else {
                pack::pack_gemm(w, n, segments, k, out);
            }
            let out = self.bias.of_mut(dst)?;
            pack::fold_gemm_bias(w, row_bytes, bias, self.x_zero, out);
            for (list, part) in lists {
                let out = part.of_mut(dst)?.get_mut(..list.len())?;
                out.copy_from_slice(list);
            }
        }
        self.patches.pack(dst)
    }

    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        tensors: &mut Tensors<'_>,
    ) -> Result<(), Error> {
        let Some(constants) = self.constants(packed) else {
            return Err(step.mismatch());
        };
        let ([x, ..], y, temp) = (&tensors.reads, &mut *tensors.write, &mut *tensors.temp);
        let mut f = |meter: &mut Meter<'_, K>, x: &[u8], y: &mut [u8], piece: &Piece| {
            self.piece(&constants, meter.kernels, x, y, piece);
            Ok(())
        };
        self.patches.run(step, meter, samples, x, y, temp, &mut f)
    }

    #[inline(always)]
    fn constants<'a>(&self, packed: &'a [u8]) -> Option<Constants<'a>> {
        Some(Constants {
            weights: self.weights.of(packed)?,
            bias: self.bias.of(packed)?,
            mult: self.mult.of(packed)?,
            shift: self.shift.of(packed)?,
            offsets: self.patches.offsets(packed)?,
        })
    }

    /// Packed bytes of a row, as an average of its panel.
    fn row_bytes(&self) -> usize {
        let Patches { k, segments, .. } = self.patches;
        match self.patches.depthwise {
            true => segments.next_multiple_of(GROUP),
            false => segments.saturating_mul(k.next_multiple_of(GROUP)),
        }
    }

    fn piece<K: Kernels + ?Sized>(
        &self,
        constants: &Constants<'_>,
        kernels: &K,
        x: &[u8],
        y: &mut [u8],
        piece: &Piece,
    ) {
        let Piece {
            grid,
            y_row,
            y_outer,
            row,
            n,
            ..
        } = *piece;
        // A piece starts at a panel, before which all panels are whole.
        let list = |list| slice_from(list, row.saturating_mul(ELEMENT_BYTES));
        let w = slice_from(constants.weights, row.saturating_mul(self.row_bytes()));
        let (bias, offsets) = (list(constants.bias), constants.offsets);
        let requant = Requant {
            mult: list(constants.mult),
            shift: list(constants.shift),
            zero: self.zero,
            min: self.min,
            max: self.max,
        };
        if self.patches.depthwise {
            kernels.depthwise_i8(codes::Depthwise {
                x,
                x_row: grid.x_row,
                x_outer: grid.x_outer,
                y,
                y_row,
                y_outer,
                m: grid.m,
                outer: grid.outer,
                channels: n,
                offsets,
                w,
                bias,
                requant,
            });
        } else {
            kernels.gemm_i8(codes::Gemm {
                x,
                x_row: grid.x_row,
                x_outer: grid.x_outer,
                y,
                y_row,
                y_outer,
                m: grid.m,
                outer: grid.outer,
                n,
                k: self.patches.k,
                offsets,
                w,
                bias,
                requant,
            });
        }
    }
}

/// The constants of a layer, packed.
struct Constants<'a> {
    weights: &'a [u8],
    bias: &'a [u8],
    mult: &'a [u8],
    shift: &'a [u8],
    offsets: &'a [u8],
}
