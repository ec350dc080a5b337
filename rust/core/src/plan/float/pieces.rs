// SPDX-License-Identifier: GPL-2.0

//! Layers whose results depend on few numbers each, and those of rows: what a plan knows of them. How
//! they are cut into pieces is in `cut.rs`, but for windows and norms, which have a place or a row of
//! their own.

use crate::error::Error;
use crate::fixed::{load, ELEMENT_BYTES};
use crate::float::{self, work, Act, Operator};
use crate::int8::LANES;
use crate::trees::{index_of_number, number};

use super::super::{slice_from, Kernels, Meter, Part, Step};
use super::cut::{self, bytes, fit, fit_lanes, once, pieces};

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
    /// Gives some lines of the result at a time; if a line is too much, some of its places; if a place is
    /// too much, some of its channels.
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let [_, _, channels] = self.image;
        let pixels = work::pixels(self.image, self.window);
        let work = work::pool(self.out, channels, pixels);
        if meter.fits(work) {
            return once(meter, work, |k, work| {
                let layer = float::Pool {
                    x,
                    y,
                    image: self.image,
                    channels,
                    first: 0,
                    out: self.out,
                    window: self.window,
                    stride: self.stride,
                    pad: self.pad,
                    greatest: self.greatest,
                };
                k.pool_f32(layer, work)
            });
        }
        self.parts(meter, x, y)
    }

    #[inline(never)]
    fn parts<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let ([height, width, channels], [out_height, out_width]) = (self.image, self.out);
        let ([step, _], [above, left]) = (self.stride, self.pad);
        let pixels = work::pixels(self.image, self.window);
        let place = work::pool_position(channels, pixels);
        let (lines, places) = match meter.fit(out_width.saturating_mul(place)) {
            0 => (1, fit(meter, place)),
            lines => (lines, out_width),
        };
        let some = match meter.fits(place) {
            true => channels,
            false => fit(meter, work::pool_position(LANES, pixels)).saturating_mul(LANES),
        };
        for (line, out_height) in pieces(out_height, lines) {
            // Every window has a row in the image, so there is one from here on.
            let top = line.saturating_mul(step);
            let skip = top.saturating_sub(above);
            let from = skip.saturating_mul(width).saturating_mul(channels);
            for (first, out_width) in pieces(out_width, places) {
                let to = line.saturating_mul(self.out[1]).saturating_add(first);
                for (channel, some) in pieces(channels, some) {
                    let to = to.saturating_mul(channels).saturating_add(channel);
                    let layer = float::Pool {
                        x: slice_from(x, bytes(from.saturating_add(channel))),
                        y: y.get_mut(bytes(to)..).unwrap_or_default(),
                        image: [height.saturating_sub(skip), width, channels],
                        channels: some,
                        first,
                        out: [out_height, out_width],
                        window: self.window,
                        stride: self.stride,
                        pad: [above.saturating_sub(top), left],
                        greatest: self.greatest,
                    };
                    once(meter, layer.work(), |k, work| k.pool_f32(layer, work))?;
                }
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
    pub(super) operator: Operator,
    pub(super) act: Act,
}

/// Mean over rows.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Mean {
    pub(super) rows: usize,
    pub(super) n: usize,
}

/// Softmax over each row, or its logarithm.
#[derive(Copy, Clone, Debug)]
pub(in super::super) struct Softmax {
    pub(super) n: usize,
    pub(super) log: bool,
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
        let work = work::norm(work::numbers(y), self.n);
        if meter.fits(work) {
            return once(meter, work, |k, work| {
                let layer = float::Norm {
                    x,
                    y,
                    n: self.n,
                    gamma,
                    beta,
                    eps: self.eps,
                };
                k.norm_f32(layer, work)
            });
        }
        self.parts(meter, (gamma, beta), x, y)
    }

    #[inline(never)]
    fn parts<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        (gamma, beta): (&[u8], Option<&[u8]>),
        x: &[u8],
        y: &mut [u8],
    ) -> Result<(), Error> {
        let rows = fit(meter, work::norm_row(self.n));
        let most = bytes(rows.saturating_mul(self.n)).max(1);
        for (x, y) in x.chunks(most).zip(y.chunks_mut(most)) {
            let layer = float::Norm {
                x,
                y,
                n: self.n,
                gamma,
                beta,
                eps: self.eps,
            };
            once(meter, layer.work(), |k, work| k.norm_f32(layer, work))?;
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
        let layer = float::Normalise {
            x,
            first,
            second,
            y,
            next_first,
            next_second,
            range: self.range,
            samples,
            eps: self.eps,
        };
        let work = layer.work();
        if meter.fits(work) {
            return once(meter, work, |k, work| k.normalise_f32(layer, work));
        }
        self.parts(meter, layer)
    }

    #[inline(never)]
    fn parts<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        layer: float::Normalise<'_>,
    ) -> Result<(), Error> {
        let most = bytes(fit_lanes(meter, work::normalise(LANES)));
        let statistics = layer.first.chunks(most).zip(layer.second.chunks(most));
        let given = layer.x.chunks(most).zip(statistics);
        let nexts = layer.next_first.chunks_mut(most);
        let nexts = nexts.zip(layer.next_second.chunks_mut(most));
        let made = layer.y.chunks_mut(most).zip(nexts);
        for ((x, (first, second)), (y, (next_first, next_second))) in given.zip(made) {
            let layer = float::Normalise {
                x,
                first,
                second,
                y,
                next_first,
                next_second,
                ..layer
            };
            once(meter, layer.work(), |k, work| k.normalise_f32(layer, work))?;
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
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        [q, k, v]: [&[u8]; 3],
        y: &mut [u8],
        temp: &mut [u8],
    ) -> Result<(), Error> {
        let layer = float::Attention {
            q,
            k,
            v,
            y,
            row: bytes(self.d.saturating_mul(self.heads)),
            temp,
            t: self.t,
            s: self.s,
            heads: self.heads,
            d: self.d,
            causal: self.causal,
            scale: self.scale,
        };
        cut::attention(meter, layer)
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
