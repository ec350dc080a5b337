// SPDX-License-Identifier: GPL-2.0

//! Dense layers and convolutions: how windows become segments and positions, and how the work is cut
//! into tiles.

use crate::error::Error;
use crate::fixed::{self, ELEMENT_BYTES};
use crate::int8::{self as codes, pack, ChainLayer, Requant, GROUP, LANES, PANEL};
use crate::nnm::{last_dim, Model, Op, OpKind, Window};

use super::super::build::Builder;
use super::super::{Kernels, Meter, Step, Tensors};
use super::border::Border;
use super::{biased, pair_of, product, usize_of, Part};

/// Positions of a result: `outer` lines of `m`, and how far apart they are in the input.
#[derive(Copy, Clone, Debug, Default)]
struct Grid {
    m: usize,
    outer: usize,
    x_row: usize,
    x_outer: usize,
}

/// Rows of products: dense layers and convolutions.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Products {
    border: Option<Border>,
    grid: Grid,
    /// Results of a position.
    n: usize,
    /// Bytes of a segment.
    k: usize,
    /// Segments of a patch.
    segments: usize,
    /// How the offsets of the segments come about: segments in a line, bytes between them, and bytes
    /// between lines.
    line: usize,
    step: usize,
    line_step: usize,
    depthwise: bool,
    weights: Part,
    bias: Part,
    mult: Part,
    shift: Part,
    offsets: Part,
    /// Biased.
    x_zero: i32,
    zero: i32,
    min: i32,
    max: i32,
}

impl Products {
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
        let [x, w, ..] = op.inputs;
        let (x, w, y) = (model.tensor(x)?, model.tensor(w)?, model.tensor(op.output)?);
        let [p0, p1, ..] = op.params;
        let n = usize_of(last_dim(&y));
        let mut this = Products {
            border: None,
            grid: Grid::default(),
            n,
            k: 0,
            segments: 1,
            line: 1,
            step: 0,
            line_step: 0,
            depthwise: op.kind == OpKind::DepthwiseConv2d,
            weights: Part::default(),
            bias: Part::default(),
            mult: Part::default(),
            shift: Part::default(),
            offsets: Part::default(),
            x_zero: biased(x.zero_point),
            zero: biased(y.zero_point),
            min: biased(p0),
            max: biased(p1),
        };
        if op.kind == OpKind::Dense {
            let [_, k, ..] = w.dims;
            this.k = usize_of(k);
            this.grid = Grid {
                m: usize::try_from(x.elements()).ok()?.checked_div(this.k)?,
                outer: 1,
                x_row: this.k,
                x_outer: 0,
            };
        } else {
            this.window(&Window::of(model, op).ok()?, builder)?;
        }
        let (weight_bytes, rows) = match this.depthwise {
            true => (pack::packed_depthwise_bytes(this.segments, n)?, PANEL),
            false => (pack::packed_gemm_bytes(n, this.segments, this.k)?, LANES),
        };
        let list = n
            .checked_next_multiple_of(rows)?
            .checked_mul(ELEMENT_BYTES)?;
        this.weights = Part::new(builder, weight_bytes)?;
        this.bias = Part::new(builder, list)?;
        this.mult = Part::new(builder, list)?;
        this.shift = Part::new(builder, list)?;
        this.offsets = Part::new(builder, this.segments.checked_mul(ELEMENT_BYTES)?)?;
        Some(this)
    }

    /// What a chain of layers needs, of a dense layer of one position.
    pub(in super::super) fn chain_layer(&self) -> Option<ChainLayer> {
        let single = self.grid.m == 1 && self.grid.outer == 1 && self.segments == 1;
        if !single || self.depthwise || self.border.is_some() {
            return None;
        }
        let at = |part: &Part| u32::try_from(part.at).ok();
        Some(ChainLayer {
            k: u32::try_from(self.k).ok()?,
            n: u32::try_from(self.n).ok()?,
            w: at(&self.weights)?,
            bias: at(&self.bias)?,
            mult: at(&self.mult)?,
            shift: at(&self.shift)?,
            zero: self.zero,
            min: self.min,
            max: self.max,
            reserved: [0; 7],
        })
    }

    /// Works out segments and positions of a window.
    fn window(&mut self, window: &Window, builder: &mut Builder<'_>) -> Option<()> {
        let image = window.image.map(usize_of);
        let [height, width, c] = image;
        let padded = pair_of(window.padded());
        // A depthwise convolution with more results than channels gets its channels repeated.
        let repeat = match self.depthwise {
            true => self.n.checked_div(c)?,
            false => 1,
        };
        let c = c.checked_mul(repeat)?;
        if padded != [height, width] || repeat > 1 {
            self.border = Some(Border {
                image,
                before: pair_of(window.before),
                padded,
                repeat,
                value: u8::try_from(self.x_zero).ok()?,
            });
            builder.temp(product(&[product(&padded)?, c])?);
        }
        let ([kh, kw], [down, right]) = (pair_of(window.window), pair_of(window.dilation));
        let [_, width] = padded;
        let line_bytes = product(&[width, c])?;
        self.line_step = product(&[down, line_bytes])?;
        self.step = product(&[right, c])?;
        // Taps that lie behind each other are one segment.
        (self.segments, self.line, self.k) = if self.depthwise {
            (product(&[kh, kw])?, kw, 0)
        } else if right == 1 || kw == 1 {
            (kh, 1, product(&[kw, c])?)
        } else {
            (product(&[kh, kw])?, kw, c)
        };
        let ([oh, ow], [sh, sw]) = (pair_of(window.out), pair_of(window.stride));
        self.grid = Grid {
            m: ow,
            outer: oh,
            x_row: product(&[sw, c])?,
            x_outer: product(&[sh, line_bytes])?,
        };
        // One line of positions where the lines follow each other.
        if self.grid.x_outer == product(&[ow, self.grid.x_row])? {
            self.grid.m = product(&[oh, ow])?;
            self.grid.outer = 1;
        }
        Some(())
    }

    pub(super) fn pack(&self, w: &[u8], bias: &[u8], requant: &[u8], dst: &mut [u8]) -> Option<()> {
        let (mult, shift) = requant.split_at_checked(requant.len() / 2)?;
        let lists = [(mult, &self.mult), (shift, &self.shift)];
        let out = self.weights.of_mut(dst)?;
        if self.depthwise {
            pack::pack_depthwise(w, self.segments, self.n, out);
            let out = self.bias.of_mut(dst)?;
            pack::fold_depthwise_bias(w, self.n, bias, self.x_zero, out);
            for (list, part) in lists {
                pack::pack_depthwise_list(list, part.of_mut(dst)?);
            }
        } else {
            pack::pack_gemm(w, self.n, self.segments, self.k, out);
            let row_bytes = self.segments.checked_mul(self.k)?;
            let out = self.bias.of_mut(dst)?;
            pack::fold_gemm_bias(w, row_bytes, bias, self.x_zero, out);
            for (list, part) in lists {
                let out = part.of_mut(dst)?.get_mut(..list.len())?;
                out.copy_from_slice(list);
            }
        }
        let line = self.line.max(1);
        let offsets = self.offsets.of_mut(dst)?.chunks_exact_mut(ELEMENT_BYTES);
        for (i, to) in offsets.enumerate() {
            let at = (i / line)
                .checked_mul(self.line_step)?
                .checked_add((i % line).checked_mul(self.step)?)?;
            // CAST: below 2^31, as is every tensor.
            fixed::store(to, i32::try_from(at).ok()?);
        }
        Some(())
    }

    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        tensors: Tensors<'_>,
    ) -> Result<(), Error> {
        let ([from, ..], to) = (step.reads, step.write);
        let ([source, ..], y, temp) = (tensors.reads, tensors.write, tensors.temp);
        let mut x_stride = from.stride;
        let x: &[u8] = match &self.border {
            Some(border) => {
                x_stride = step.temp.stride;
                let sources = source.chunks_exact(from.stride.max(1)).take(samples);
                for (x, copy) in sources.zip(temp.chunks_exact_mut(x_stride.max(1))) {
                    border.copy(meter, x, copy)?;
                }
                temp
            }
            None => source,
        };
        let constants = self.constants(packed).ok_or(step.mismatch())?;
        let tiles = |grid, y_row| Tiles {
            products: self,
            step,
            constants: &constants,
            grid,
            y_row,
        };
        // One position of many samples is many positions of one.
        if self.grid.m == 1 && self.grid.outer == 1 {
            let grid = Grid {
                m: samples,
                outer: 1,
                x_row: x_stride,
                x_outer: 0,
            };
            return tiles(grid, to.stride).run(meter, x, y);
        }
        let xs = x.chunks_exact(x_stride.max(1)).take(samples);
        for (x, y) in xs.zip(y.chunks_exact_mut(to.stride.max(1))) {
            tiles(self.grid, self.n).run(meter, x, y)?;
        }
        Ok(())
    }

    fn constants<'a>(&self, packed: &'a [u8]) -> Option<Constants<'a>> {
        Some(Constants {
            weights: self.weights.of(packed)?,
            bias: self.bias.of(packed)?,
            mult: self.mult.of(packed)?,
            shift: self.shift.of(packed)?,
            offsets: self.offsets.of(packed)?,
        })
    }

    /// Multiply-accumulates of a row at a position.
    fn row_macs(&self) -> usize {
        match self.depthwise {
            true => self.segments,
            false => self.segments.saturating_mul(self.k),
        }
    }

    /// Packed bytes of a row, as an average of its panel.
    fn row_bytes(&self) -> usize {
        match self.depthwise {
            true => self.segments.next_multiple_of(GROUP),
            false => self.segments.saturating_mul(self.k.next_multiple_of(GROUP)),
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

/// The work on a grid of positions, cut into pieces between which others get their turn.
struct Tiles<'a> {
    products: &'a Products,
    step: &'a Step,
    constants: &'a Constants<'a>,
    grid: Grid,
    /// Bytes between results.
    y_row: usize,
}

/// A piece: lines, positions of them, rows of the weights.
#[derive(Copy, Clone)]
struct Tile {
    outer: usize,
    m: usize,
    row: usize,
    n: usize,
}

impl Tiles<'_> {
    /// Some lines at a time; if a line is too much, some of its positions; if a position is too much,
    /// some of its panels.
    fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let (grid, n) = (self.grid, self.products.n);
        let row = self.products.row_macs();
        let position = row.saturating_mul(n);
        let line = position.saturating_mul(grid.m);
        if meter.fit(line) >= grid.outer {
            let Grid { outer, m, .. } = grid;
            let row = 0;
            return self.tile(meter, [0, 0], Tile { outer, m, row, n }, x, y);
        }
        let lines = meter.fit(line);
        let positions = meter.fit(position);
        let rows = match positions {
            0 => meter
                .fit(row.saturating_mul(PANEL))
                .max(1)
                .saturating_mul(PANEL),
            _ => n,
        };
        let (lines, positions) = (lines.max(1), positions.max(1));
        let mut a = 0usize;
        while a < grid.outer {
            let outer = lines.min(grid.outer.saturating_sub(a));
            let mut b = 0usize;
            while b < grid.m {
                // More than one line are whole ones.
                let m = match outer {
                    1 => positions.min(grid.m.saturating_sub(b)),
                    _ => grid.m,
                };
                let mut row = 0usize;
                while row < n {
                    let n = rows.min(n.saturating_sub(row));
                    self.tile(meter, [a, b], Tile { outer, m, row, n }, x, y)?;
                    row = row.saturating_add(n);
                }
                b = b.saturating_add(m);
            }
            a = a.saturating_add(outer);
        }
        Ok(())
    }

    /// The piece whose first position is `b` of line `a`.
    fn tile<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        [a, b]: [usize; 2],
        tile: Tile,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let (products, constants) = (self.products, self.constants);
        let Tile { outer, m, row, n } = tile;
        let Grid { x_row, x_outer, .. } = self.grid;
        let (y_row, y_outer) = (self.y_row, self.grid.m.saturating_mul(self.y_row));
        let macs = [outer, m, n]
            .into_iter()
            .fold(products.row_macs(), |macs, n| macs.saturating_mul(n));
        // CAST: widens.
        meter.spend(macs as u64)?;

        let at = |outer: usize, row: usize| {
            a.saturating_mul(outer)
                .saturating_add(b.saturating_mul(row))
        };
        // Rows of a depthwise convolution are channels of the input, too.
        let channel = if products.depthwise { row } else { 0 };
        let x = x.get(at(x_outer, x_row).saturating_add(channel)..);
        let y = y.get_mut(at(y_outer, y_row).saturating_add(row)..);
        let (Some(x), Some(y)) = (x, y) else {
            return Err(self.step.mismatch());
        };
        // A tile starts at a panel, before which all panels are whole.
        let list = |list| slice_from(list, row.saturating_mul(ELEMENT_BYTES));
        let w = slice_from(constants.weights, row.saturating_mul(products.row_bytes()));
        let (bias, offsets) = (list(constants.bias), constants.offsets);
        let requant = Requant {
            mult: list(constants.mult),
            shift: list(constants.shift),
            zero: products.zero,
            min: products.min,
            max: products.max,
        };
        if products.depthwise {
            meter.kernels.depthwise_i8(codes::Depthwise {
                x,
                x_row,
                x_outer,
                y,
                y_row,
                y_outer,
                m,
                outer,
                channels: n,
                offsets,
                w,
                bias,
                requant,
            });
        } else {
            meter.kernels.gemm_i8(codes::Gemm {
                x,
                x_row,
                x_outer,
                y,
                y_row,
                y_outer,
                m,
                outer,
                n,
                k: products.k,
                offsets,
                w,
                bias,
                requant,
            });
        }
        Ok(())
    }
}

#[inline]
fn slice_from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or(&[])
}
