// SPDX-License-Identifier: GPL-2.0

//! Layers whose results depend on few codes each: tables, sums and products of two tensors, pools,
//! means, softmax. They are cut into pieces here, for the kernels to be small.

use crate::error::Error;
use crate::int8::{self as codes, Multiplier, LANES, PANEL};
use crate::nnm::OpKind;

use super::super::{piece, Kernels, Meter, Part, Step};

/// What a sum, a difference or a product costs, in multiply-accumulates.
const PAIR_MACS: u64 = 32;

/// What an element of a softmax costs, in multiply-accumulates.
const SOFTMAX_MACS: usize = 64;

/// What a row costs that is copied, besides its elements.
const ROW_MACS: usize = 32;

/// Calls `f` with pieces of two equally long tensors.
pub(super) fn each<K: Kernels + ?Sized>(
    meter: &mut Meter<'_, K>,
    x: &[u8],
    y: &mut [u8],
    f: impl Fn(&K, &[u8], &mut [u8]),
) -> Result<(), Error> {
    if meter.fits(y.len()) {
        // CAST: widens.
        meter.spend(y.len() as u64)?;
        f(meter.kernels, x, y);
        return Ok(());
    }
    let most = piece(meter, 1);
    for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
        // CAST: widens.
        meter.spend(y.len() as u64)?;
        f(meter.kernels, x, y);
    }
    Ok(())
}

/// From codes to biased codes or back: as many samples at a time as may be, and if one is too much, its
/// parts.
#[inline]
pub(super) fn flip<K: Kernels + ?Sized>(
    step: &Step,
    meter: &mut Meter<'_, K>,
    samples: usize,
    x: &[u8],
    y: &mut [u8],
) -> Result<(), Error> {
    let ([from, ..], to) = (step.reads, step.write);
    let n = to.bytes.min(from.bytes);
    let row = n.saturating_add(ROW_MACS);
    let (rows, part) = if meter.fits(row.saturating_mul(samples)) {
        (samples, n)
    } else {
        (meter.fit(row).max(1), n.min(piece(meter, 1)))
    };
    let mut s = 0usize;
    while s < samples {
        let rows = rows.min(samples.saturating_sub(s));
        let mut at = 0usize;
        while at < n {
            let n = part.min(n.saturating_sub(at));
            // CAST: widens.
            meter.spend(n.saturating_add(ROW_MACS).saturating_mul(rows) as u64)?;
            let start = |stride: usize| s.saturating_mul(stride).saturating_add(at);
            let (x, y) = (x.get(start(from.stride)..), y.get_mut(start(to.stride)..));
            let (Some(x), Some(y)) = (x, y) else {
                return Err(step.mismatch());
            };
            meter.kernels.flip_i8(codes::Flip {
                x,
                x_row: from.stride,
                y,
                y_row: to.stride,
                rows,
                n,
            });
            at = at.saturating_add(n);
        }
        s = s.saturating_add(rows);
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
    pub(super) min: i32,
    pub(super) max: i32,
    pub(super) greatest: bool,
}

impl Pooling {
    /// Gives a number of lines of the result at a time.
    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let ([height, width, channels], [out_height, out_width]) = (self.image, self.out);
        let ([rows, columns], [step, _], [above, left]) = (self.window, self.stride, self.pad);
        let line_bytes = out_width.saturating_mul(channels);
        // As vectors do it: the last channels take as long as many, and so does a result.
        let window = rows.saturating_mul(columns).saturating_add(LANES);
        let pixel_macs = channels.saturating_add(PANEL).saturating_mul(window);
        let line_macs = out_width.saturating_mul(pixel_macs);
        let lines = meter.fit(line_macs).clamp(1, out_height.max(1));
        let out = y.chunks_mut(lines.saturating_mul(line_bytes).max(1));
        for (i, y) in out.enumerate() {
            let out_height = y.len().checked_div(line_bytes).unwrap_or(0);
            // CAST: widens.
            meter.spend(line_macs.saturating_mul(out_height) as u64)?;
            // Every window has a row in the image, so there is one from here on.
            let top = i.saturating_mul(lines).saturating_mul(step);
            let skip = top.saturating_sub(above);
            let x = x.get(skip.saturating_mul(width).saturating_mul(channels)..);
            let args = codes::Pool {
                x: x.unwrap_or_default(),
                y,
                height: height.saturating_sub(skip),
                width,
                channels,
                out_height,
                out_width,
                window: self.window,
                stride: self.stride,
                pad: [above.saturating_sub(top), left],
                min: self.min,
                max: self.max,
            };
            match self.greatest {
                true => meter.kernels.max_pool_i8(args),
                false => meter.kernels.average_pool_i8(args),
            }
        }
        Ok(())
    }
}

/// Sum, difference or product of two tensors.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Pair {
    /// `b`, if it is a constant.
    pub(super) constant: Option<Part>,
    pub(super) a: (i32, Multiplier),
    pub(super) b: (i32, Multiplier),
    pub(super) y: (i32, Multiplier),
    pub(super) min: i32,
    pub(super) max: i32,
    pub(super) kind: OpKind,
}

impl Pair {
    /// `b` may be shorter than the others: then it repeats.
    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        a: &[u8],
        b: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let (most, repeat) = (piece(meter, PAIR_MACS), b.len().max(1));
        // As often as it fits into a piece, or once, in pieces.
        let span = (most / repeat).max(1).saturating_mul(repeat);
        for (a, y) in a.chunks(span).zip(y.chunks_mut(span)) {
            if repeat <= most {
                self.piece(meter, a, b, y)?;
                continue;
            }
            let pieces = a.chunks(most).zip(b.chunks(most)).zip(y.chunks_mut(most));
            for ((a, b), y) in pieces {
                self.piece(meter, a, b, y)?;
            }
        }
        Ok(())
    }

    fn piece<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        a: &[u8],
        b: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        // CAST: widens.
        meter.spend((y.len() as u64).saturating_mul(PAIR_MACS))?;
        let (min, max) = (self.min, self.max);
        match self.kind {
            OpKind::Mul => meter.kernels.mul_i8(codes::Mul {
                a,
                b,
                y,
                a_zero: self.a.0,
                b_zero: self.b.0,
                y_scale: self.y,
                min,
                max,
            }),
            _ => meter.kernels.add_i8(codes::Add {
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
        Ok(())
    }
}

/// Mean over rows; a single piece.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Mean {
    pub(super) rows: usize,
    pub(super) channels: usize,
    pub(super) x_zero: i32,
    pub(super) y: (i32, Multiplier),
}

impl Mean {
    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        // CAST: widens.
        meter.spend(x.len() as u64)?;
        meter.kernels.mean_i8(codes::Mean {
            x,
            y,
            rows: self.rows,
            channels: self.channels,
            x_zero: self.x_zero,
            y_scale: self.y,
        });
        Ok(())
    }
}

/// Softmax over each row.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Softmax {
    pub(super) n: usize,
    pub(super) beta: Multiplier,
    pub(super) diff_min: i32,
}

impl Softmax {
    /// Gives a number of rows at a time.
    #[inline(never)]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let n = self.n.max(1);
        // As vectors do it: a short row takes as long as a vector.
        let lanes = n.div_ceil(LANES).saturating_mul(LANES);
        let row_macs = lanes.saturating_mul(SOFTMAX_MACS);
        let most = meter.fit(row_macs).max(1).saturating_mul(n);
        for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
            let rows = y.len().checked_div(n).unwrap_or(0);
            // CAST: widens.
            meter.spend(rows.saturating_mul(row_macs) as u64)?;
            meter.kernels.softmax_i8(codes::Softmax {
                x,
                y,
                n: self.n,
                beta: self.beta,
                diff_min: self.diff_min,
            });
        }
        Ok(())
    }
}
