// SPDX-License-Identifier: GPL-2.0

//! Layers of 8-bit codes: how they are laid out in memory, and how they become calls of [`Kernels`].
//!
//! Codes in scratch memory are biased, see [`crate::int8`]. Behind every tensor there lie
//! [`SLACK`] bytes that may be read.

use crate::error::Error;
use crate::fixed::{self, ELEMENT_BYTES};
use crate::int8::{
    self as codes, pack, ChainLayer, Multiplier, Requant, BIAS, GROUP, LANES, PANEL, SLACK,
};
use crate::nnm::{last_dim, Model, Op, OpKind, Tensor, TensorKind, Window};

use super::build::{aligned, Builder};
use super::{Kernels, Meter, Step, Tensors, Work};

/// The operands of a product are multiplied as they are.
const NO_FACTOR: Multiplier = Multiplier { mult: 0, shift: 0 };

/// A part of the packed weights.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Part {
    at: usize,
    bytes: usize,
}

impl Part {
    fn of<'a>(&self, packed: &'a [u8]) -> Option<&'a [u8]> {
        packed.get(self.at..)?.get(..self.bytes)
    }

    fn of_mut<'a>(&self, packed: &'a mut [u8]) -> Option<&'a mut [u8]> {
        packed.get_mut(self.at..)?.get_mut(..self.bytes)
    }
}

/// Positions of a result: `outer` lines of `m`, and how far apart they are in the input.
#[derive(Copy, Clone, Debug, Default)]
struct Grid {
    m: usize,
    outer: usize,
    x_row: usize,
    x_outer: usize,
}

/// An image that is copied into a larger one, with a border and repeated channels.
#[derive(Copy, Clone, Debug)]
struct Border {
    /// Rows, columns and channels.
    image: [usize; 3],
    /// Rows above and columns left.
    before: [usize; 2],
    /// Rows and columns with the border.
    padded: [usize; 2],
    /// How often each channel stands in the copy.
    repeat: usize,
    /// What the border is made of, biased.
    value: u8,
}

/// Rows of products: dense layers and convolutions.
#[derive(Copy, Clone, Debug)]
pub(super) struct Products {
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

#[derive(Copy, Clone, Debug)]
pub(super) struct Pooling {
    image: [usize; 3],
    out: [usize; 2],
    window: [usize; 2],
    stride: [usize; 2],
    pad: [usize; 2],
    min: i32,
    max: i32,
    greatest: bool,
}

#[derive(Copy, Clone, Debug)]
pub(super) struct Pair {
    /// `b`, if it is a constant.
    constant: Option<Part>,
    a: (i32, Multiplier),
    b: (i32, Multiplier),
    y: (i32, Multiplier),
    min: i32,
    max: i32,
    kind: OpKind,
}

/// Bytes that are moved: up to four dimensions, the last one contiguous in both.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Move {
    dims: [usize; 4],
    from: [usize; 4],
    to: [usize; 4],
    /// Where the first byte goes.
    start: usize,
}

#[derive(Copy, Clone, Debug)]
pub(super) enum Int8 {
    /// From codes to biased codes or back.
    Flip,
    Products(Products),
    Pooling(Pooling),
    Pair(Pair),
    /// One move for each operand; what is not moved to gets the value.
    Moves {
        parts: [Move; 4],
        fill: Option<u8>,
    },
    Mean {
        rows: usize,
        channels: usize,
        x_zero: i32,
        y: (i32, Multiplier),
    },
    Softmax {
        n: usize,
        beta: Multiplier,
        diff_min: i32,
    },
    Lut(Part),
}

const fn usize_of(n: u32) -> usize {
    // CAST: widens on every target of the module.
    n as usize
}

fn pair_of(n: [u32; 2]) -> [usize; 2] {
    n.map(usize_of)
}

/// A zero point as biased codes have it.
const fn biased(zero_point: i32) -> i32 {
    zero_point.wrapping_add(BIAS)
}

fn product(dims: &[usize]) -> Option<usize> {
    dims.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim))
}

/// The `index`th multiplier and shift of a constant.
fn multiplier_of(model: &Model<'_>, tensor: u32, index: usize) -> Option<Multiplier> {
    let tensor = model.tensor(tensor)?;
    let mut numbers = fixed::elements(model.data(&tensor)?).skip(index.checked_mul(2)?);
    Some(Multiplier {
        mult: numbers.next()?,
        shift: numbers.next()?,
    })
}

/// Bytes from an element to the next one along each dimension.
fn strides(tensor: &Tensor) -> Option<[usize; 4]> {
    let mut strides = [0; 4];
    let mut bytes = 1usize;
    for (stride, &dim) in strides
        .iter_mut()
        .zip(&tensor.dims)
        .take(usize_of(tensor.rank))
        .rev()
    {
        *stride = bytes;
        bytes = bytes.checked_mul(usize_of(dim))?;
    }
    Some(strides)
}

impl Int8 {
    /// Bytes from a sample to the next one.
    pub(super) fn stride(bytes: usize) -> Option<usize> {
        aligned(bytes.checked_add(SLACK)?)
    }

    /// What an operation becomes; finds a place for its constants.
    pub(super) fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Work> {
        let [x_index, second, third, _] = op.inputs;
        let (x, y) = (model.tensor(x_index)?, model.tensor(op.output)?);
        let [p0, p1, p2, ..] = op.params;
        let (min, max) = (biased(p0), biased(p1));
        let work = match op.kind {
            OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d => {
                Int8::Products(Products::plan(model, op, builder)?)
            }
            OpKind::AveragePool2d | OpKind::MaxPool2d => {
                let window = Window::of(model, op).ok()?;
                Int8::Pooling(Pooling {
                    image: window.image.map(usize_of),
                    out: pair_of(window.out),
                    window: pair_of(window.window),
                    stride: pair_of(window.stride),
                    pad: pair_of(window.before),
                    min,
                    max,
                    greatest: op.kind == OpKind::MaxPool2d,
                })
            }
            OpKind::Add | OpKind::Sub | OpKind::Mul => {
                let b = model.tensor(second)?;
                let constant = match b.kind {
                    TensorKind::Constant => Some(part(builder, usize::try_from(b.bytes()).ok()?)?),
                    TensorKind::Activation => None,
                };
                let b_zero = match constant {
                    Some(_) => biased(p2),
                    None => biased(b.zero_point),
                };
                let scale = |i| multiplier_of(model, third, i);
                let (a, b, y_scale) = match op.kind {
                    OpKind::Mul => (NO_FACTOR, NO_FACTOR, scale(0)?),
                    _ => (scale(0)?, scale(1)?, scale(2)?),
                };
                Int8::Pair(Pair {
                    constant,
                    a: (biased(x.zero_point), a),
                    b: (b_zero, b),
                    y: (biased(y.zero_point), y_scale),
                    min,
                    max,
                    kind: op.kind,
                })
            }
            OpKind::Mean => {
                let channels = usize_of(last_dim(&x));
                Int8::Mean {
                    rows: usize::try_from(x.elements()).ok()?.checked_div(channels)?,
                    channels,
                    x_zero: biased(x.zero_point),
                    y: (biased(y.zero_point), multiplier_of(model, second, 0)?),
                }
            }
            OpKind::Softmax => Int8::Softmax {
                n: usize_of(last_dim(&x)),
                beta: Multiplier {
                    mult: p0,
                    shift: p1,
                },
                diff_min: p2,
            },
            OpKind::Lut => Int8::Lut(part(builder, 256)?),
            OpKind::Concat | OpKind::Pad | OpKind::Reshape | OpKind::Transpose => {
                Self::moves(model, op, &x, &y)?
            }
        };
        Some(Work::Int8(work))
    }

    fn moves(model: &Model<'_>, op: &Op, x: &Tensor, y: &Tensor) -> Option<Self> {
        let mut parts = [Move::default(); 4];
        let mut fill = None;
        let to = strides(y)?;
        let dims = |tensor: &Tensor| {
            let mut dims = tensor.dims.map(usize_of);
            for dim in dims.iter_mut().skip(usize_of(tensor.rank)) {
                *dim = 1;
            }
            dims
        };
        let whole = Move {
            dims: dims(x),
            from: strides(x)?,
            to,
            start: 0,
        };
        match op.kind {
            OpKind::Concat => {
                let [axis, ..] = op.params;
                let axis = usize::try_from(axis).ok()?;
                let mut start = 0usize;
                for (part, index) in parts.iter_mut().zip(op.inputs) {
                    let Some(tensor) = model.tensor(index) else {
                        break;
                    };
                    *part = Move {
                        dims: dims(&tensor),
                        from: strides(&tensor)?,
                        to,
                        start,
                    };
                    let step = to.get(axis)?.checked_mul(*part.dims.get(axis)?)?;
                    start = start.checked_add(step)?;
                }
            }
            OpKind::Pad => {
                let [.., value, _, _] = op.params;
                fill = Some(u8::try_from(biased(value)).ok()?);
                let mut start = 0usize;
                for (stride, param) in to.iter().zip(op.params).take(usize_of(x.rank)) {
                    // CAST: the lower half.
                    let before = (param as u32 & 0xffff) as usize;
                    start = start.checked_add(stride.checked_mul(before)?)?;
                }
                parts[0] = Move { start, ..whole };
            }
            OpKind::Transpose => {
                // In the order of the input: its axis `a` is axis `i` of the output.
                let mut turned = [0; 4];
                for (&stride, axis) in to.iter().zip(op.params).take(usize_of(x.rank)) {
                    *turned.get_mut(usize::try_from(axis).ok()?)? = stride;
                }
                parts[0] = Move {
                    to: turned,
                    ..whole
                };
            }
            _ => {
                let n = usize::try_from(x.elements()).ok()?;
                parts[0] = Move {
                    dims: [1, 1, 1, n],
                    from: [0, 0, 0, 1],
                    to: [0, 0, 0, 1],
                    start: 0,
                };
            }
        }
        Some(Int8::Moves { parts, fill })
    }

    /// Copies constants to their place.
    pub(super) fn pack(&self, model: &Model<'_>, step: &Step, dst: &mut [u8]) -> Option<()> {
        let constant = |slot: usize| {
            let index = model.op(step.op)?.inputs.get(slot).copied()?;
            model.data(&model.tensor(index)?)
        };
        match self {
            Int8::Products(products) => {
                products.pack(constant(1)?, constant(2)?, constant(3)?, dst)
            }
            Int8::Pair(Pair {
                constant: Some(part),
                ..
            })
            | Int8::Lut(part) => {
                let from = constant(1)?;
                for (to, from) in part.of_mut(dst)?.iter_mut().zip(from) {
                    *to = from ^ 0x80;
                }
                // A table is looked up by biased codes.
                if matches!(self, Int8::Lut(_)) {
                    part.of_mut(dst)?.rotate_left(128);
                }
                Some(())
            }
            _ => Some(()),
        }
    }

    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        packed: &[u8],
        samples: usize,
        tensors: Tensors<'_>,
    ) -> Result<(), Error> {
        if let Int8::Products(products) = self {
            return products.run(step, meter, packed, samples, tensors);
        }
        let kernels = meter.kernels;
        let Tensors { reads, write, .. } = tensors;
        let outputs = write.chunks_exact_mut(step.write.stride.max(1));
        for (s, y) in outputs.enumerate().take(samples) {
            meter.spend(step.macs)?;
            let sample = |slot: usize| {
                let (data, slot) = (reads.get(slot)?, step.reads.get(slot)?);
                let start = s.checked_mul(slot.stride)?;
                data.get(start..)?.get(..slot.bytes)
            };
            let x = sample(0).ok_or(step.mismatch())?;
            let y = y.get_mut(..step.write.bytes).ok_or(step.mismatch())?;
            match self {
                Int8::Flip => kernels.flip_i8(x, y),
                Int8::Products(_) => {}
                Int8::Pooling(pool) => pool.run(kernels, x, y),
                Int8::Pair(pair) => {
                    let b = match &pair.constant {
                        Some(part) => part.of(packed),
                        None => sample(1),
                    };
                    pair.run(kernels, x, b.ok_or(step.mismatch())?, y);
                }
                Int8::Moves { parts, fill } => {
                    if let Some(value) = fill {
                        y.fill(*value);
                    }
                    for (slot, part) in parts.iter().enumerate() {
                        if let Some(x) = sample(slot) {
                            part.run(x, y);
                        }
                    }
                }
                Int8::Mean {
                    rows,
                    channels,
                    x_zero,
                    y: y_scale,
                } => kernels.mean_i8(codes::Mean {
                    x,
                    y,
                    rows: *rows,
                    channels: *channels,
                    x_zero: *x_zero,
                    y_scale: *y_scale,
                }),
                Int8::Softmax { n, beta, diff_min } => kernels.softmax_i8(codes::Softmax {
                    x,
                    y,
                    n: *n,
                    beta: *beta,
                    diff_min: *diff_min,
                }),
                Int8::Lut(part) => {
                    let table = part.of(packed).and_then(|table| table.first_chunk());
                    kernels.lut_i8(table.ok_or(step.mismatch())?, x, y);
                }
            }
        }
        Ok(())
    }
}

fn part(builder: &mut Builder<'_>, bytes: usize) -> Option<Part> {
    Some(Part {
        at: builder.constant(bytes)?,
        bytes,
    })
}

impl Products {
    fn plan(model: &Model<'_>, op: &Op, builder: &mut Builder<'_>) -> Option<Self> {
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
        let weight_bytes = match this.depthwise {
            true => pack::packed_depthwise_bytes(this.segments, n)?,
            false => pack::packed_gemm_bytes(n, this.segments, this.k)?,
        };
        let rows = n.checked_next_multiple_of(if this.depthwise { PANEL } else { LANES })?;
        let list = rows.checked_mul(ELEMENT_BYTES)?;
        this.weights = part(builder, weight_bytes)?;
        this.bias = part(builder, list)?;
        this.mult = part(builder, list)?;
        this.shift = part(builder, list)?;
        this.offsets = part(builder, this.segments.checked_mul(ELEMENT_BYTES)?)?;
        Some(this)
    }

    /// What a chain of layers needs, of a dense layer of one position.
    pub(super) fn chain_layer(&self) -> Option<ChainLayer> {
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
        let [_, _, c] = window.image.map(usize_of);
        let padded = pair_of(window.padded());
        let [_, width] = padded;
        // A depthwise convolution with more results than channels gets its channels repeated.
        let repeat = if self.depthwise {
            self.n.checked_div(c)?
        } else {
            1
        };
        let c = c.checked_mul(repeat)?;
        if padded != [usize_of(window.image[0]), usize_of(window.image[1])] || repeat > 1 {
            self.border = Some(Border {
                image: window.image.map(usize_of),
                before: pair_of(window.before),
                padded,
                repeat,
                value: u8::try_from(self.x_zero).ok()?,
            });
            builder.temp(product(&[padded[0], width, c])?);
        }
        let ([kh, kw], [down, right]) = (pair_of(window.window), pair_of(window.dilation));
        let line_bytes = product(&[width, c])?;
        self.line_step = product(&[down, line_bytes])?;
        self.step = product(&[right, c])?;
        if self.depthwise {
            (self.segments, self.line, self.k) = (product(&[kh, kw])?, kw, 0);
        } else if right == 1 || kw == 1 {
            (self.segments, self.line, self.k) = (kh, 1, product(&[kw, c])?);
        } else {
            (self.segments, self.line, self.k) = (product(&[kh, kw])?, kw, c);
        }
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

    fn pack(&self, w: &[u8], bias: &[u8], requant: &[u8], dst: &mut [u8]) -> Option<()> {
        let (mult, shift) = requant.split_at_checked(requant.len() / 2)?;
        let out = self.weights.of_mut(dst)?;
        if self.depthwise {
            pack::pack_depthwise(w, self.segments, self.n, out);
            let out = self.bias.of_mut(dst)?;
            pack::fold_depthwise_bias(w, self.n, bias, self.x_zero, out);
            pack::pack_depthwise_list(mult, self.mult.of_mut(dst)?);
            pack::pack_depthwise_list(shift, self.shift.of_mut(dst)?);
        } else {
            pack::pack_gemm(w, self.n, self.segments, self.k, out);
            let row_bytes = self.segments.checked_mul(self.k)?;
            let out = self.bias.of_mut(dst)?;
            pack::fold_gemm_bias(w, row_bytes, bias, self.x_zero, out);
            self.mult
                .of_mut(dst)?
                .get_mut(..mult.len())?
                .copy_from_slice(mult);
            self.shift
                .of_mut(dst)?
                .get_mut(..shift.len())?
                .copy_from_slice(shift);
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

    fn run<K: Kernels + ?Sized>(
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
                    // CAST: widens.
                    meter.spend(step.temp.bytes as u64)?;
                    border.copy(x, copy);
                }
                temp
            }
            None => source,
        };
        let constants = self.constants(packed).ok_or(step.mismatch())?;
        let position = match self.depthwise {
            true => self.n.saturating_mul(self.segments),
            false => self.n.saturating_mul(self.segments.saturating_mul(self.k)),
        };
        // One position of many samples is many positions of one.
        if self.grid.m == 1 && self.grid.outer == 1 {
            let grid = Grid {
                m: samples,
                outer: 1,
                x_row: x_stride,
                x_outer: 0,
            };
            return self.tiles(meter, &constants, grid, position, x, y, to.stride);
        }
        for s in 0..samples {
            let x = x.get(s.saturating_mul(x_stride)..);
            let y = y.get_mut(s.saturating_mul(to.stride)..);
            let (Some(x), Some(y)) = (x, y) else {
                return Err(step.mismatch());
            };
            self.tiles(meter, &constants, self.grid, position, x, y, self.n)?;
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

    /// Cuts the work into pieces between which others get their turn: some lines, some positions of a
    /// line, some panels of a position. `y_row` is the distance between results.
    #[allow(clippy::too_many_arguments)]
    fn tiles<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        constants: &Constants<'_>,
        grid: Grid,
        position: usize,
        x: &[u8],
        y: &mut [u8],
        y_row: usize,
    ) -> Result<(), Error> {
        let budget = usize::try_from(meter.kernels.tile_macs()).unwrap_or(usize::MAX);
        let y_outer = grid.m.saturating_mul(y_row);
        let all = position.saturating_mul(grid.m).saturating_mul(grid.outer);
        if all <= budget {
            // CAST: widens.
            meter.spend(all as u64)?;
            let tile = Tile {
                grid,
                row: 0,
                n: self.n,
                y_row,
                y_outer,
            };
            self.tile(meter.kernels, constants, &tile, x, y);
            return Ok(());
        }
        let fit = |cost: usize| budget.checked_div(cost.max(1)).unwrap_or(1);
        let line = position.saturating_mul(grid.m);
        let lines = fit(line).clamp(1, grid.outer.max(1));
        let positions = fit(position).clamp(1, grid.m.max(1));
        let panels = self.n.div_ceil(PANEL).max(1);
        let per_panel = position.div_ceil(panels);
        let rows = match self.depthwise {
            true => self.n,
            false => fit(per_panel).clamp(1, panels).saturating_mul(PANEL),
        };
        let mut a = 0usize;
        while a < grid.outer {
            let outer = lines.min(grid.outer.saturating_sub(a));
            let mut b = 0usize;
            while b < grid.m {
                let m = if outer > 1 {
                    grid.m
                } else {
                    positions.min(grid.m.saturating_sub(b))
                };
                let mut row = 0usize;
                while row < self.n {
                    let n = rows.min(self.n.saturating_sub(row));
                    let cost = outer
                        .saturating_mul(m)
                        .saturating_mul(position.checked_div(self.n).unwrap_or(0))
                        .saturating_mul(n);
                    // CAST: widens.
                    meter.spend(cost as u64)?;
                    let grid = Grid { m, outer, ..grid };
                    let x_at = a
                        .saturating_mul(grid.x_outer)
                        .saturating_add(b.saturating_mul(grid.x_row));
                    let y_at = a
                        .saturating_mul(y_outer)
                        .saturating_add(b.saturating_mul(y_row))
                        .saturating_add(row);
                    let tile = Tile {
                        grid,
                        row,
                        n,
                        y_row,
                        y_outer,
                    };
                    let (Some(x), Some(y)) = (x.get(x_at..), y.get_mut(y_at..)) else {
                        return Ok(());
                    };
                    self.tile(meter.kernels, constants, &tile, x, y);
                    row = row.saturating_add(n);
                }
                b = b.saturating_add(m);
            }
            a = a.saturating_add(outer);
        }
        Ok(())
    }

    fn tile<K: Kernels + ?Sized>(
        &self,
        kernels: &K,
        constants: &Constants<'_>,
        tile: &Tile,
        x: &[u8],
        y: &mut [u8],
    ) {
        // A tile starts at a panel, before which all panels are whole.
        let per_row = self
            .segments
            .saturating_mul(self.k.div_ceil(GROUP).saturating_mul(GROUP));
        let row_at = tile.row.saturating_mul(ELEMENT_BYTES);
        let requant = Requant {
            mult: slice_from(constants.mult, row_at),
            shift: slice_from(constants.shift, row_at),
            zero: self.zero,
            min: self.min,
            max: self.max,
        };
        let Grid {
            m,
            outer,
            x_row,
            x_outer,
        } = tile.grid;
        if self.depthwise {
            kernels.depthwise_i8(codes::Depthwise {
                x,
                x_row,
                x_outer,
                y,
                y_row: tile.y_row,
                y_outer: tile.y_outer,
                m,
                outer,
                channels: tile.n,
                offsets: constants.offsets,
                w: constants.weights,
                bias: constants.bias,
                requant,
            });
        } else {
            kernels.gemm_i8(codes::Gemm {
                x,
                x_row,
                x_outer,
                y,
                y_row: tile.y_row,
                y_outer: tile.y_outer,
                m,
                outer,
                n: tile.n,
                k: self.k,
                offsets: constants.offsets,
                w: slice_from(constants.weights, tile.row.saturating_mul(per_row)),
                bias: slice_from(constants.bias, row_at),
                requant,
            });
        }
    }
}

#[inline]
fn slice_from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or(&[])
}

/// The constants of a layer, packed.
struct Constants<'a> {
    weights: &'a [u8],
    bias: &'a [u8],
    mult: &'a [u8],
    shift: &'a [u8],
    offsets: &'a [u8],
}

/// A piece of a layer.
struct Tile {
    grid: Grid,
    /// First row of the weights, and how many.
    row: usize,
    n: usize,
    y_row: usize,
    y_outer: usize,
}

impl Border {
    /// Copies an image to the middle of a larger one.
    fn copy(&self, x: &[u8], copy: &mut [u8]) {
        let ([h, w, c], [top, left], [height, width]) = (self.image, self.before, self.padded);
        let channels = c.saturating_mul(self.repeat);
        let line_bytes = width.saturating_mul(channels).max(1);
        let mut image = x.chunks_exact(w.saturating_mul(c).max(1));
        for (i, line) in copy.chunks_exact_mut(line_bytes).take(height).enumerate() {
            let inside = i.checked_sub(top).is_some_and(|row| row < h);
            let from = if inside { image.next() } else { None };
            let Some(from) = from else {
                line.fill(self.value);
                continue;
            };
            let start = left.saturating_mul(channels);
            let Some((before, rest)) = line.split_at_mut_checked(start) else {
                continue;
            };
            let inner = from.len().saturating_mul(self.repeat);
            let Some((inner, after)) = rest.split_at_mut_checked(inner) else {
                continue;
            };
            before.fill(self.value);
            after.fill(self.value);
            if self.repeat == 1 {
                inner.copy_from_slice(from);
            } else {
                for (to, from) in inner.chunks_exact_mut(self.repeat).zip(from) {
                    to.fill(*from);
                }
            }
        }
    }
}

impl Pooling {
    fn run<K: Kernels + ?Sized>(&self, kernels: &K, x: &[u8], y: &mut [u8]) {
        let ([height, width, channels], [out_height, out_width]) = (self.image, self.out);
        let args = codes::Pool {
            x,
            y,
            height,
            width,
            channels,
            out_height,
            out_width,
            window: self.window,
            stride: self.stride,
            pad: self.pad,
            min: self.min,
            max: self.max,
        };
        match self.greatest {
            true => kernels.max_pool_i8(args),
            false => kernels.average_pool_i8(args),
        }
    }
}

impl Pair {
    fn run<K: Kernels + ?Sized>(&self, kernels: &K, a: &[u8], b: &[u8], y: &mut [u8]) {
        let Pair { min, max, .. } = *self;
        match self.kind {
            OpKind::Mul => kernels.mul_i8(codes::Mul {
                a,
                b,
                y,
                a_zero: self.a.0,
                b_zero: self.b.0,
                y_scale: self.y,
                min,
                max,
            }),
            _ => kernels.add_i8(codes::Add {
                a,
                b,
                y,
                a_scale: self.a,
                b_scale: self.b,
                subtract: self.kind == OpKind::Sub,
                y_scale: self.y,
                min,
                max,
            }),
        }
    }
}

impl Move {
    fn run(&self, x: &[u8], y: &mut [u8]) {
        let ([d0, d1, d2, d3], [f0, f1, f2, f3], [t0, t1, t2, t3]) =
            (self.dims, self.from, self.to);
        let at = |base: usize, i: usize, step: usize| base.saturating_add(i.saturating_mul(step));
        for i in 0..d0 {
            let (x0, y0) = (at(0, i, f0), at(self.start, i, t0));
            for j in 0..d1 {
                let (x1, y1) = (at(x0, j, f1), at(y0, j, t1));
                for k in 0..d2 {
                    let (x2, y2) = (at(x1, k, f2), at(y1, k, t2));
                    if f3 <= 1 && t3 <= 1 {
                        let from = x.get(x2..).and_then(|x| x.get(..d3));
                        let to = y.get_mut(y2..).and_then(|y| y.get_mut(..d3));
                        if let (Some(from), Some(to)) = (from, to) {
                            to.copy_from_slice(from);
                        }
                        continue;
                    }
                    for l in 0..d3 {
                        if let (Some(from), Some(to)) =
                            (x.get(at(x2, l, f3)), y.get_mut(at(y2, l, t3)))
                        {
                            *to = *from;
                        }
                    }
                }
            }
        }
    }
}
