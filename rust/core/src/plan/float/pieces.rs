// SPDX-License-Identifier: GPL-2.0

//! Layers whose results depend on few numbers each, and those of rows: they are cut into pieces here,
//! for the kernels to be small.

use crate::error::Error;
use crate::fixed::{load, ELEMENT_BYTES};
use crate::float::{self, Act, Function, Operator, ATTENTION_ROWS};
use crate::trees::{index_of_number, number};

use super::super::{piece, slice_from, Kernels, Meter, Part, Step};
use super::vector;

/// What an element of a function, of a norm or of a softmax costs, in multiply-accumulates.
const ELEMENT_MACS: usize = 16;

/// What a sum, a difference or a product costs, without a function behind it.
const PAIR_MACS: usize = 2;

const fn bytes(elements: usize) -> usize {
    elements.saturating_mul(ELEMENT_BYTES)
}

/// Announces `count` things that cost `macs` each.
fn spend<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    count: usize,
    macs: usize,
) -> Result<(), Error> {
    // CAST: widens.
    meter.spend(count.saturating_mul(macs) as u64)
}

/// Bytes of a piece whose elements cost `macs` each.
fn piece_bytes<K: Kernels + ?Sized>(meter: &Meter<'_, K>, macs: usize) -> usize {
    // CAST: widens.
    bytes(piece(meter, macs as u64))
}

/// Bytes of the rows of `n` elements that are done at a time, at least one.
fn rows_bytes<K: Kernels + ?Sized>(meter: &Meter<'_, K>, n: usize) -> usize {
    let rows = meter.fit(n.saturating_mul(ELEMENT_MACS)).max(1);
    rows.saturating_mul(bytes(n)).max(1)
}

/// A function of each element.
pub(super) fn map<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    act: Act,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let most = piece_bytes(meter, ELEMENT_MACS);
    for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
        spend(meter, y.len() / ELEMENT_BYTES, ELEMENT_MACS)?;
        vector(meter.kernels.map_f32(float::Map { x, y, act }))?;
    }
    Ok(())
}

/// A window that moves over an image.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Pooling {
    pub(super) image: [usize; 3],
    pub(super) out: [usize; 2],
    pub(super) window: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) pad: [usize; 2],
    pub(super) greatest: bool,
}

impl Pooling {
    /// Gives a number of lines of the result at a time.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let ([height, width, channels], [out_height, out_width]) = (self.image, self.out);
        let ([rows, columns], [step, _], [above, left]) = (self.window, self.stride, self.pad);
        let line = out_width.saturating_mul(channels);
        let line_macs = line.saturating_mul(rows).saturating_mul(columns);
        let lines = meter.fit(line_macs).clamp(1, out_height.max(1));
        let out = y.chunks_mut(lines.saturating_mul(bytes(line)).max(1));
        for (i, y) in out.enumerate() {
            let out_height = y.len().checked_div(bytes(line)).unwrap_or(0);
            spend(meter, out_height, line_macs)?;
            // Every window has a row in the image, so there is one from here on.
            let top = i.saturating_mul(lines).saturating_mul(step);
            let skip = top.saturating_sub(above);
            vector(meter.kernels.pool_f32(float::Pool {
                x: slice_from(
                    x,
                    bytes(skip.saturating_mul(width).saturating_mul(channels)),
                ),
                y,
                image: [height.saturating_sub(skip), width, channels],
                out: [out_height, out_width],
                window: self.window,
                stride: self.stride,
                pad: [above.saturating_sub(top), left],
                greatest: self.greatest,
            }))?;
        }
        Ok(())
    }
}

/// Sum, difference or product of two tensors.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Pair {
    /// `b`, if it is a constant.
    pub(super) constant: Option<Part>,
    pub(super) operator: Operator,
    pub(super) act: Act,
}

impl Pair {
    /// `b` may be shorter than the others: then it repeats.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        a: &[u8],
        b: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let macs = match self.act.function {
            Function::None => PAIR_MACS,
            _ => ELEMENT_MACS,
        };
        let (most, repeat) = (piece_bytes(meter, macs), b.len().max(1));
        // As often as it fits into a piece, or once, in pieces.
        let span = (most / repeat).max(1).saturating_mul(repeat);
        for (a, y) in a.chunks(span).zip(y.chunks_mut(span)) {
            let step = if repeat <= most { span } else { most };
            let pieces = a.chunks(step).zip(y.chunks_mut(step));
            for ((a, y), b) in pieces.zip(b.chunks(step)) {
                spend(meter, y.len() / ELEMENT_BYTES, macs)?;
                vector(meter.kernels.binary_f32(float::Binary {
                    operator: self.operator,
                    a,
                    b,
                    y,
                    act: self.act,
                }))?;
            }
        }
        Ok(())
    }
}

/// Mean over rows; a single piece.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Mean {
    pub(super) rows: usize,
    pub(super) n: usize,
}

impl Mean {
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        spend(meter, self.rows, self.n)?;
        vector(meter.kernels.mean_f32(float::Mean {
            x,
            y,
            rows: self.rows,
            n: self.n,
        }))
    }
}

/// Softmax over each row, or its logarithm.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Softmax {
    pub(super) n: usize,
    pub(super) log: bool,
}

impl Softmax {
    /// Gives a number of rows at a time.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let most = rows_bytes(meter, self.n);
        for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
            spend(meter, y.len() / ELEMENT_BYTES, ELEMENT_MACS)?;
            vector(meter.kernels.softmax_f32(float::Softmax {
                x,
                y,
                n: self.n,
                log: self.log,
            }))?;
        }
        Ok(())
    }
}

/// Layer norm or root mean square norm.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Norm {
    pub(super) n: usize,
    pub(super) gamma: Part,
    pub(super) beta: Option<Part>,
    pub(super) eps: u32,
}

impl Norm {
    /// Factors, and summands if there are any.
    pub(super) fn lists<'a>(&self, packed: &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        let beta = match &self.beta {
            Some(part) => Some(part.of(packed)?),
            None => None,
        };
        Some((self.gamma.of(packed)?, beta))
    }

    /// Gives a number of rows at a time.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        (gamma, beta): (&[u8], Option<&[u8]>),
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let most = rows_bytes(meter, self.n);
        for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
            spend(meter, y.len() / ELEMENT_BYTES, ELEMENT_MACS)?;
            vector(meter.kernels.norm_f32(float::Norm {
                x,
                y,
                n: self.n,
                gamma,
                beta,
                eps: self.eps,
            }))?;
        }
        Ok(())
    }
}

#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Normalise {
    pub(super) n: usize,
    pub(super) range: bool,
    /// The most samples that are counted.
    pub(super) most: usize,
    pub(super) eps: u32,
}

impl Normalise {
    /// Gives the result and, behind it, the next state.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        step: &Step,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        state: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let fault = || step.mismatch();
        let row = bytes(self.n);
        let (first, state) = state.split_at_checked(row).ok_or_else(fault)?;
        let (second, count) = state.split_at_checked(row).ok_or_else(fault)?;
        let (y, next) = y.split_at_mut_checked(row).ok_or_else(fault)?;
        let (next_first, next) = next.split_at_mut_checked(row).ok_or_else(fault)?;
        let (next_second, next) = next.split_at_mut_checked(row).ok_or_else(fault)?;
        let count = index_of_number(load(count), self.most);
        // CAST: at most 2^23.
        let samples = number(count.saturating_add(1) as i64, 1, 0);
        let next = next.get_mut(..ELEMENT_BYTES).ok_or_else(fault)?;
        next.copy_from_slice(&samples.to_le_bytes());
        let most = piece_bytes(meter, ELEMENT_MACS);
        let given = x
            .chunks(most)
            .zip(first.chunks(most).zip(second.chunks(most)));
        let nexts = next_first
            .chunks_mut(most)
            .zip(next_second.chunks_mut(most));
        let made = y.chunks_mut(most).zip(nexts);
        for ((x, (first, second)), (y, (next_first, next_second))) in given.zip(made) {
            spend(meter, y.len() / ELEMENT_BYTES, ELEMENT_MACS)?;
            vector(meter.kernels.normalise_f32(float::Normalise {
                x,
                first,
                second,
                y,
                next_first,
                next_second,
                range: self.range,
                samples,
                eps: self.eps,
            }))?;
        }
        Ok(())
    }
}

#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Attention {
    pub(super) t: usize,
    pub(super) s: usize,
    pub(super) heads: usize,
    pub(super) d: usize,
    pub(super) causal: bool,
    pub(super) scale: u32,
}

impl Attention {
    /// Some heads at a time; if a head is too much, some of its queries.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        [q, k, v]: [&[u8]; 3],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let row = bytes(self.d.saturating_mul(self.heads));
        let key_macs = self.d.saturating_mul(2).saturating_add(ELEMENT_MACS);
        let query_macs = self.s.saturating_mul(key_macs);
        let head_macs = self.t.saturating_mul(query_macs);
        let queries = match meter.fits(head_macs) {
            true => self.t.max(1),
            // As many as are computed together.
            false => match meter.fit(query_macs) {
                few @ 0..ATTENTION_ROWS => few.max(1),
                many => many.saturating_sub(many % ATTENTION_ROWS),
            },
        };
        let most = meter.fit(head_macs).max(1);
        for head in (0..self.heads).step_by(most) {
            let heads = most.min(self.heads.saturating_sub(head));
            let column = bytes(head.saturating_mul(self.d));
            for first in (0..self.t).step_by(queries) {
                let t = queries.min(self.t.saturating_sub(first));
                // The last of these queries sees as many, and those before it fewer.
                let hidden = match self.causal {
                    true => self.t.saturating_sub(first).saturating_sub(t),
                    false => 0,
                };
                let at = first.saturating_mul(row).saturating_add(column);
                spend(meter, heads.saturating_mul(t), query_macs)?;
                vector(meter.kernels.attention_f32(float::Attention {
                    q: slice_from(q, at),
                    k: slice_from(k, column),
                    v: slice_from(v, column),
                    y: y.get_mut(at..).unwrap_or_default(),
                    row,
                    temp,
                    t,
                    s: self.s.saturating_sub(hidden),
                    heads,
                    d: self.d,
                    causal: self.causal,
                    scale: self.scale,
                }))?;
            }
        }
        Ok(())
    }
}

/// Cosine similarities.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Cosine {
    /// The rows, if they are constant.
    pub(super) constant: Option<Part>,
    pub(super) d: usize,
    pub(super) eps: u32,
}

impl Cosine {
    /// Gives a number of similarities at a time.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        rows: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let row_macs = self.d.saturating_mul(2);
        let most = meter.fit(row_macs).max(1);
        let pieces = rows.chunks(most.saturating_mul(bytes(self.d)).max(1));
        for (rows, y) in pieces.zip(y.chunks_mut(bytes(most))) {
            spend(meter, y.len() / ELEMENT_BYTES, row_macs)?;
            vector(meter.kernels.cosine_f32(float::Cosine {
                x,
                rows,
                y,
                d: self.d,
                eps: self.eps,
            }))?;
        }
        Ok(())
    }
}
