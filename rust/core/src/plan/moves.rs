// SPDX-License-Identifier: GPL-2.0

//! Elements that only change their place: concatenation, parts, borders, other shapes and orders of axes.

use crate::error::Error;
use crate::int8::BIAS;
use crate::nnm::{DType, Model, Op, OpKind, Tensor};

use super::{piece, usize_of, Kernels, Meter};

/// One move for each operand; what is not moved to gets a value.
#[derive(Copy, Clone, Debug, Default)]
pub(super) struct Moves {
    parts: [Move; 4],
    /// An element, of which the first bytes are used.
    fill: Option<[u8; 4]>,
    element: usize,
}

/// Elements that are moved, along up to four dimensions, the fastest last.
#[derive(Copy, Clone, Debug, Default)]
struct Move {
    axes: [Axis; 4],
    /// Bytes of an element.
    element: usize,
    /// Where the first byte comes from, and where it goes.
    first: usize,
    start: usize,
}

/// A dimension: how many, and the bytes from one to the next in both tensors.
#[derive(Copy, Clone, Debug, Default)]
struct Axis {
    count: usize,
    from: usize,
    to: usize,
}

/// Bytes from an element to the next one along each dimension.
fn strides(tensor: &Tensor) -> Option<[usize; 4]> {
    let mut strides = [0; 4];
    // CAST: at most 4.
    let mut bytes = tensor.dtype.bytes() as usize;
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

impl Move {
    /// The move of a whole tensor to places that are `to` apart.
    fn whole(x: &Tensor, to: [usize; 4], start: usize) -> Option<Self> {
        Move::new(x, strides(x)?, to, 0, start)
    }

    /// The move of as many elements as `sizes` has, from places that are `from` apart.
    fn new(
        sizes: &Tensor,
        from: [usize; 4],
        to: [usize; 4],
        first: usize,
        start: usize,
    ) -> Option<Self> {
        // CAST: at most 4.
        let element = sizes.dtype.bytes() as usize;
        let mut axes = [Axis {
            count: 1,
            from: element,
            to: element,
        }; 4];
        let mut used = axes.iter_mut().rev();
        let mut inner = used.next()?;
        let rank = usize_of(sizes.rank);
        let sizes = sizes.dims.map(usize_of).into_iter().zip(from).zip(to);
        for ((count, from), to) in sizes.take(rank).rev().filter(|((count, _), _)| *count != 1) {
            // What lies behind each other in both tensors is one dimension.
            let follows = from == inner.count.checked_mul(inner.from)?
                && to == inner.count.checked_mul(inner.to)?;
            if inner.count == 1 {
                *inner = Axis { count, from, to };
            } else if follows {
                inner.count = inner.count.checked_mul(count)?;
            } else {
                inner = used.next()?;
                *inner = Axis { count, from, to };
            }
        }
        Some(Move {
            axes,
            element,
            first,
            start,
        })
    }

    fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let [a, b, c, line] = self.axes;
        for i in 0..a.count {
            for j in 0..b.count {
                for k in 0..c.count {
                    let at = |step: fn(&Axis) -> usize| {
                        [(i, &a), (j, &b), (k, &c)]
                            .into_iter()
                            .fold(0usize, |at, (n, axis)| {
                                at.saturating_add(n.saturating_mul(step(axis)))
                            })
                    };
                    let to = at(|axis| axis.to).saturating_add(self.start);
                    let from = at(|axis| axis.from).saturating_add(self.first);
                    let (x, y) = (x.get(from..), y.get_mut(to..));
                    if let (Some(x), Some(y)) = (x, y) {
                        line.copy(self.element, meter, x, y)?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Axis {
    fn copy<K: Kernels + ?Sized>(
        &self,
        element: usize,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let most = piece(meter, 1);
        let mut done = 0;
        while done < self.count {
            let count = most.min(self.count.saturating_sub(done));
            meter.spend_line(count, self.from == element && self.to == element)?;
            let x = x.get(done.saturating_mul(self.from)..).unwrap_or_default();
            let y = y
                .get_mut(done.saturating_mul(self.to)..)
                .unwrap_or_default();
            let (from, to) = (self.from.max(1), self.to.max(1));
            if from == element && to == element {
                let bytes = count.saturating_mul(element);
                if let (Some(x), Some(y)) = (x.get(..bytes), y.get_mut(..bytes)) {
                    y.copy_from_slice(x);
                }
            } else if element == 1 {
                let y = y.iter_mut().step_by(to);
                for (y, x) in y.zip(x.iter().step_by(from)).take(count) {
                    *y = *x;
                }
            } else {
                let y = y.chunks_mut(to);
                for (y, x) in y.zip(x.chunks(from)).take(count) {
                    if let (Some(y), Some(x)) = (y.get_mut(..element), x.get(..element)) {
                        y.copy_from_slice(x);
                    }
                }
            }
            done = done.saturating_add(count);
        }
        Ok(())
    }
}

impl Moves {
    pub(super) fn plan(model: &Model<'_>, op: &Op, x: &Tensor, y: &Tensor) -> Option<Self> {
        let to = strides(y)?;
        let mut this = Moves {
            // CAST: at most 4.
            element: x.dtype.bytes() as usize,
            ..Moves::default()
        };
        let [first, ..] = &mut this.parts;
        match op.kind {
            OpKind::Concat => {
                let [axis, ..] = op.params;
                let axis = usize::try_from(axis).ok()?;
                let mut start = 0usize;
                for (part, index) in this.parts.iter_mut().zip(op.inputs) {
                    let Some(tensor) = model.tensor(index) else {
                        break;
                    };
                    *part = Move::whole(&tensor, to, start)?;
                    let count = usize_of(*tensor.dims.get(axis)?);
                    start = start.checked_add(to.get(axis)?.checked_mul(count)?)?;
                }
            }
            OpKind::Pad => {
                let [.., value, _, _] = op.params;
                this.fill = Some(match x.dtype {
                    DType::I8 => [u8::try_from(value.wrapping_add(BIAS)).ok()?; 4],
                    _ => value.to_le_bytes(),
                });
                let mut start = 0usize;
                for (stride, param) in to.iter().zip(op.params).take(usize_of(x.rank)) {
                    // CAST: the lower half.
                    let before = (param as u32 & 0xffff) as usize;
                    start = start.checked_add(stride.checked_mul(before)?)?;
                }
                *first = Move::whole(x, to, start)?;
            }
            OpKind::Slice => {
                let from = strides(x)?;
                let mut skip = 0usize;
                for (stride, start) in from.iter().zip(op.params).take(usize_of(x.rank)) {
                    let start = usize::try_from(start).ok()?;
                    skip = skip.checked_add(stride.checked_mul(start)?)?;
                }
                *first = Move::new(y, from, to, skip, 0)?;
            }
            OpKind::Transpose => {
                // In the order of the input: its axis `a` is axis `i` of the output.
                let mut turned = [0; 4];
                for (&stride, axis) in to.iter().zip(op.params).take(usize_of(x.rank)) {
                    *turned.get_mut(usize::try_from(axis).ok()?)? = stride;
                }
                *first = Move::whole(x, turned, 0)?;
            }
            _ => *first = Move::whole(x, strides(x)?, 0)?,
        }
        Some(this)
    }

    /// Moves the operands of a sample, which `operand` gives.
    pub(super) fn run<'x, K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        operand: impl Fn(usize) -> Option<&'x [u8]>,
        y: &mut [u8],
    ) -> Result<(), Error> {
        if let Some(value) = self.fill {
            for y in y.chunks_mut(piece(meter, 1)) {
                meter.spend_line(y.len(), false)?;
                for y in y.chunks_mut(self.element.max(1)) {
                    for (to, from) in y.iter_mut().zip(value) {
                        *to = from;
                    }
                }
            }
        }
        for (slot, part) in self.parts.iter().enumerate() {
            if let Some(x) = operand(slot) {
                part.run(meter, x, y)?;
            }
        }
        Ok(())
    }
}
