// SPDX-License-Identifier: GPL-2.0

//! Dense layers and convolutions as patches of an input that are multiplied by rows of weights: how
//! windows become segments and positions, and how the work is cut into pieces.

use crate::error::Error;
use crate::fixed::{self, ELEMENT_BYTES};
use crate::float::{by_row, work};
use crate::int8::{GROUP, LANES, PANEL};
use crate::nnm::{last_dim, Model, Op, OpKind, Window};

use super::border::Border;
use super::build::Builder;
use super::{pair_of, product, usize_of, Kernels, Meter, Part, Step, SECTION_WORK};

/// Positions that share weights well.
const TILE: usize = 12;

/// What a result costs besides its products, and a position.
const RESULT_MACS: usize = 16;
const POSITION_MACS: usize = 64;

/// Positions of a result: `outer` lines of `m`, and how far apart they are in the input, in bytes.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Grid {
    pub(super) m: usize,
    pub(super) outer: usize,
    pub(super) x_row: usize,
    pub(super) x_outer: usize,
}

/// Where the patches of a layer are.
#[derive(Copy, Clone, Debug)]
pub(super) struct Patches {
    border: Option<Border>,
    pub(super) grid: Grid,
    /// Bytes of an element.
    element: usize,
    /// Results of a position.
    pub(super) n: usize,
    /// Elements of a segment; 0 if every channel has its own window.
    pub(super) k: usize,
    /// Segments of a patch.
    pub(super) segments: usize,
    /// How the offsets of the segments come about: segments in a line, bytes between them, and bytes
    /// between lines.
    line: usize,
    step: usize,
    line_step: usize,
    pub(super) depthwise: bool,
    /// Rows that are packed together: [`PANEL`], but of codes [`LANES`] if a panel of one position is more
    /// than a section may have.
    pub(super) panel: usize,
    /// Whether the rows of a matrix of numbers stay as they are.
    pub(super) by_row: bool,
    /// What a position costs.
    position: usize,
    offsets: Part,
}

/// A part of the work: lines, positions of them, rows of the weights.
#[derive(Copy, Clone, Debug)]
pub(super) struct Piece {
    /// Where it starts in input and output.
    pub(super) x_at: usize,
    pub(super) y_at: usize,
    pub(super) grid: Grid,
    /// Bytes between results, and between lines of them.
    pub(super) y_row: usize,
    pub(super) y_outer: usize,
    /// Rows, the first of which starts a panel.
    pub(super) row: usize,
    pub(super) n: usize,
    /// What it costs.
    pub(super) work: usize,
}

/// Computes a piece of a layer from the input of a sample to its output.
pub(super) type Compute<'a, K> =
    dyn FnMut(&mut Meter<'_, K>, &[u8], &mut [u8], &Piece) -> Result<(), Error> + 'a;

/// How many of `m` positions make a piece, at most `most`: pieces of about the same size, since a few
/// positions alone share weights badly.
fn even(m: usize, most: usize) -> usize {
    let pieces = m.div_ceil(most).max(1);
    let share = m.div_ceil(pieces).checked_next_multiple_of(TILE);
    share.unwrap_or(most).min(most)
}

/// How many lines make a piece, and how many of their `m` positions, at most `most` in all: where there
/// is room for one whole line, but not for two, parts of more lines may fill it better.
fn block(m: usize, most: usize) -> (usize, usize) {
    let mut best = (1usize, m);
    for parts in [2, 3] {
        let part = m.div_ceil(parts).checked_next_multiple_of(TILE);
        let positions = part.unwrap_or(m).min(m).max(1);
        let lines = most.checked_div(positions).unwrap_or(1).max(1);
        if lines.saturating_mul(positions) > best.0.saturating_mul(best.1) {
            best = (lines, positions);
        }
    }
    best
}

impl Patches {
    /// The patches of a layer whose elements have `element` bytes; a border is made of `fill`.
    pub(super) fn plan(
        model: &Model<'_>,
        op: &Op,
        element: usize,
        fill: u8,
        builder: &mut Builder<'_>,
    ) -> Option<Self> {
        let [x, w, ..] = op.inputs;
        let (x, w, y) = (model.tensor(x)?, model.tensor(w)?, model.tensor(op.output)?);
        let mut this = Patches {
            border: None,
            grid: Grid::default(),
            element,
            n: usize_of(last_dim(&y)),
            k: 0,
            segments: 1,
            line: 1,
            step: 0,
            line_step: 0,
            depthwise: op.kind == OpKind::DepthwiseConv2d,
            panel: PANEL,
            by_row: false,
            position: 0,
            offsets: Part::default(),
        };
        if op.kind == OpKind::Dense {
            let [_, k, ..] = w.dims;
            this.k = usize_of(k);
            this.grid = Grid {
                m: usize::try_from(x.elements()).ok()?.checked_div(this.k)?,
                outer: 1,
                x_row: this.k.checked_mul(element)?,
                x_outer: 0,
            };
        } else {
            this.window(&Window::of(model, op).ok()?, fill, builder)?;
        }
        this.by_row = by_row(this.n, this.segments.saturating_mul(this.k));
        this.position = this.cost(this.n);
        // CAST: widens.
        let long = this.cost(this.n.min(PANEL)) as u64 > SECTION_WORK;
        if long && element == 1 && !this.depthwise {
            this.panel = LANES;
        }
        this.offsets = Part::new(builder, this.segments.checked_mul(ELEMENT_BYTES)?)?;
        Some(this)
    }

    /// The patch of `k` elements that a row of a matrix is multiplied with, at `m` positions.
    pub(super) fn rows(
        m: usize,
        n: usize,
        k: usize,
        element: usize,
        builder: &mut Builder<'_>,
    ) -> Option<Self> {
        let mut this = Patches {
            border: None,
            grid: Grid {
                m,
                outer: 1,
                x_row: k.checked_mul(element)?,
                x_outer: 0,
            },
            element,
            n,
            k,
            segments: 1,
            line: 1,
            step: 0,
            line_step: 0,
            depthwise: false,
            panel: PANEL,
            by_row: by_row(n, k),
            position: 0,
            offsets: Part::new(builder, ELEMENT_BYTES)?,
        };
        this.position = this.cost(n);
        Some(this)
    }

    /// Works out segments and positions of a window.
    fn window(&mut self, window: &Window, fill: u8, builder: &mut Builder<'_>) -> Option<()> {
        let image = window.image.map(usize_of);
        let [height, width, channels] = image;
        let padded = pair_of(window.padded());
        // A depthwise convolution with more results than channels gets its channels repeated.
        let repeat = match self.depthwise {
            true => self.n.checked_div(channels)?,
            false => 1,
        };
        let c = product(&[channels, repeat, self.element])?;
        if padded != [height, width] || repeat > 1 {
            self.border = Some(Border {
                image,
                before: pair_of(window.before),
                padded,
                repeat,
                element: self.element,
                value: fill,
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
            (kh, 1, product(&[kw, channels])?)
        } else {
            (product(&[kh, kw])?, kw, channels)
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

    /// Writes the offsets of the segments down.
    pub(super) fn pack(&self, dst: &mut [u8]) -> Option<()> {
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

    /// The offsets, packed.
    pub(super) fn offsets<'a>(&self, packed: &'a [u8]) -> Option<&'a [u8]> {
        self.offsets.of(packed)
    }

    /// Whether it is one patch without a border that has one segment.
    pub(super) fn is_single(&self) -> bool {
        let single = self.grid.m == 1 && self.grid.outer == 1 && self.segments == 1;
        single && !self.depthwise && self.panel == PANEL && self.border.is_none()
    }

    /// What `n` rows of a position cost: multiply-accumulates, as many as there are with padding, and
    /// what makes results of sums.
    fn cost(&self, n: usize) -> usize {
        if self.element == ELEMENT_BYTES {
            return match self.depthwise {
                true => work::depthwise_position(n, self.segments),
                false => work::gemm_position(n, !self.by_row, self.segments, self.k),
            };
        }
        let padded = |n: usize, to: usize| n.div_ceil(to).saturating_mul(to);
        let (row, rows) = match self.depthwise {
            true => (padded(self.segments, GROUP), PANEL),
            false => (self.segments.saturating_mul(padded(self.k, GROUP)), LANES),
        };
        padded(n, rows)
            .saturating_mul(row.saturating_add(RESULT_MACS))
            .saturating_add(POSITION_MACS)
    }

    /// Does a layer piece by piece: `f` gets the input of a sample, its output, and what is to be done.
    ///
    /// `source` has the samples, `temp` room for copies of them with a border.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        samples: usize,
        source: &[u8],
        y: &mut [u8],
        temp: &mut [u8],
        f: &mut Compute<'_, K>,
    ) -> Result<(), Error> {
        let ([from, ..], to) = (step.reads, step.write);
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
        // One position of many samples is many positions of one.
        if self.grid.m == 1 && self.grid.outer == 1 {
            let grid = Grid {
                m: samples,
                outer: 1,
                x_row: x_stride,
                x_outer: 0,
            };
            return self.pieces(step, meter, grid, to.stride, x, y, f);
        }
        let xs = x.chunks_exact(x_stride.max(1)).take(samples);
        for (x, y) in xs.zip(y.chunks_exact_mut(to.stride.max(1))) {
            let y_row = self.n.saturating_mul(self.element);
            self.pieces(step, meter, self.grid, y_row, x, y, f)?;
        }
        Ok(())
    }

    /// Some lines at a time; if a line is too much, some of its positions; if a position is too much,
    /// some of its panels.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub(super) fn pieces<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        grid: Grid,
        y_row: usize,
        x: &[u8],
        y: &mut [u8],
        f: &mut Compute<'_, K>,
    ) -> Result<(), Error> {
        let n = self.n;
        let line = self.position.saturating_mul(grid.m);
        let y_outer = grid.m.saturating_mul(y_row);
        let whole = Piece {
            x_at: 0,
            y_at: 0,
            grid,
            y_row,
            y_outer,
            row: 0,
            n,
            work: line.saturating_mul(grid.outer),
        };
        if meter.fits(whole.work) && self.panel == PANEL {
            return self.piece(step, meter, whole, x, y, f);
        }
        self.cut(step, meter, whole, x, y, f)
    }

    /// What is too much for one piece.
    #[inline(never)]
    fn cut<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        whole: Piece,
        x: &[u8],
        y: &mut [u8],
        f: &mut Compute<'_, K>,
    ) -> Result<(), Error> {
        let Piece {
            grid,
            y_row,
            y_outer,
            n,
            ..
        } = whole;
        let (rows, positions) = match meter.fit(self.position) {
            // Rows of one panel are in one place.
            _ if self.panel < PANEL => (self.panel.min(n), meter.fit(self.cost(self.panel))),
            // As many positions as panels have, and as many panels as fit: a panel of weights that is
            // at hand is worth more than one of positions.
            few if few < grid.m.min(TILE) => {
                let most = grid.m.min(TILE);
                let panels = meter.fit(self.cost(PANEL).saturating_mul(most)).max(1);
                let rows = panels.saturating_mul(PANEL).min(n);
                (rows, meter.fit(self.cost(rows)))
            }
            positions => (n, positions),
        };
        let (lines, positions) = match meter.fit(self.position.saturating_mul(grid.m)) {
            0 => (1, even(grid.m, positions.max(1))),
            1 => block(grid.m, positions),
            lines => (lines, grid.m),
        };
        let mut a = 0usize;
        while a < grid.outer {
            let outer = lines.min(grid.outer.saturating_sub(a));
            let mut row = 0usize;
            while row < n {
                let n = rows.min(n.saturating_sub(row));
                let mut b = 0usize;
                while b < grid.m {
                    let m = positions.min(grid.m.saturating_sub(b));
                    let at = |outer: usize, row: usize| {
                        a.saturating_mul(outer)
                            .saturating_add(b.saturating_mul(row))
                    };
                    let rows_bytes = row.saturating_mul(self.element);
                    // Rows of a depthwise convolution are channels of the input, too.
                    let channel = if self.depthwise { rows_bytes } else { 0 };
                    let work = self.cost(n).saturating_mul(outer.saturating_mul(m));
                    let piece = Piece {
                        work,
                        x_at: at(grid.x_outer, grid.x_row).saturating_add(channel),
                        y_at: at(y_outer, y_row).saturating_add(rows_bytes),
                        grid: Grid { m, outer, ..grid },
                        row,
                        n,
                        ..whole
                    };
                    self.piece(step, meter, piece, x, y, f)?;
                    b = b.saturating_add(m);
                }
                row = row.saturating_add(n);
            }
            a = a.saturating_add(outer);
        }
        Ok(())
    }

    #[inline]
    fn piece<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        piece: Piece,
        x: &[u8],
        y: &mut [u8],
        f: &mut Compute<'_, K>,
    ) -> Result<(), Error> {
        // CAST: widens.
        meter.spend(piece.work as u64)?;
        match (x.get(piece.x_at..), y.get_mut(piece.y_at..)) {
            (Some(x), Some(y)) => f(meter, x, y, &piece),
            _ => Err(step.mismatch()),
        }
    }
}
