// SPDX-License-Identifier: GPL-2.0

//! Layers with weights: matrix products and windows of single channels.

use super::{bytes, has, Layer, WORD};
use crate::f32_args as args;
use neural_core::float::{Chain, ChainLayer, Depthwise, Function, Gemm, FEW};
use neural_core::int8::{LANES, SLACK};

const _: () = assert!(FEW == args::FEW);

/// Bytes up to the end of the last of `m` positions in each of `outer` lines.
fn reach([m, outer]: [usize; 2], row: usize, line: usize, size: usize) -> Option<usize> {
    let lines = outer.checked_sub(1)?.checked_mul(line)?;
    let rows = m.checked_sub(1)?.checked_mul(row)?;
    m.checked_mul(outer)?;
    lines.checked_add(rows)?.checked_add(size)
}

/// The greatest offset.
fn last(offsets: &[u8]) -> usize {
    let offset = |word: &[u8]| word.try_into().map_or(0, u32::from_le_bytes);
    let last = offsets.chunks_exact(WORD).map(offset).max().unwrap_or(0);
    // CAST: to a wider type.
    last as usize
}

impl Layer for Gemm<'_> {
    type Args = args::GemmF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let segments = self.offsets.len() / WORD;
        let lanes = self.n.checked_next_multiple_of(LANES)?;
        let rows = if self.by_row { self.n } else { lanes };
        let patch = last(self.offsets).checked_add(bytes(self.k)?)?;
        let counts = [self.m, self.outer];
        let read = reach(counts, self.x_row, self.x_outer, patch)?;
        let written = reach(counts, self.y_row, self.y_outer, bytes(self.n)?)?;
        let few = !self.by_row || self.n <= FEW;
        if self.n == 0 || !few || read > self.x.len() || written > self.y.len() {
            return None;
        }
        has(self.w, segments.checked_mul(self.k)?.checked_mul(rows)?)?;
        has(self.bias, lanes)?;
        Some(args::GemmF32 {
            x: self.x.as_ptr(),
            x_row: self.x_row,
            x_outer: self.x_outer,
            y: self.y.as_mut_ptr(),
            y_row: self.y_row,
            y_outer: self.y_outer,
            m: self.m,
            outer: self.outer,
            n: self.n,
            k: self.k,
            segments,
            offsets: self.offsets.as_ptr(),
            w: self.w.as_ptr(),
            by_row: u32::from(self.by_row),
            bias: self.bias.as_ptr(),
            act: self.act.function.code(),
            slope: self.act.slope,
        })
    }
}

impl Layer for Chain<'_> {
    type Args = args::ChainF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        // CAST: to wider types.
        let size = |n: u32| n as usize;
        let room = self.width.checked_sub(SLACK)?;
        if self.temp.len() / 2 < self.width || self.x.len() % WORD != 0 {
            return None;
        }
        let weights = self.weights.len();
        let (mut read, mut count) = (self.x.len() / WORD, 0usize);
        for layer in self.layers.chunks_exact(ChainLayer::BYTES) {
            let layer = ChainLayer::read(layer)?;
            let (k, n) = (size(layer.k), size(layer.n));
            let lanes = n.checked_next_multiple_of(LANES)?;
            let few = layer.by_row == 1;
            let rows = if few { n } else { lanes };
            let packed = bytes(k.checked_mul(rows)?)?;
            let inside = size(layer.w).checked_add(packed)? <= weights
                && size(layer.bias).checked_add(bytes(lanes)?)? <= weights;
            let widest = k.max(n).checked_next_multiple_of(LANES)?;
            if k != read
                || n == 0
                || (few && n > FEW)
                || bytes(widest)? > room
                || !inside
                || Function::from_code(layer.function).is_none()
            {
                return None;
            }
            read = n;
            count = count.checked_add(1)?;
        }
        if count == 0 || bytes(read)? != self.y.len() {
            return None;
        }
        let (low, high) = self.temp.split_at_mut(self.width);
        Some(args::ChainF32 {
            x: self.x.as_ptr(),
            y: self.y.as_mut_ptr(),
            buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
            weights: self.weights.as_ptr(),
            layers: self.layers.as_ptr(),
            count,
        })
    }
}

impl Layer for Depthwise<'_> {
    type Args = args::DepthwiseF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let taps = self.offsets.len() / WORD;
        let rows = self.channels.checked_next_multiple_of(LANES)?;
        let patch = bytes(self.channels)?;
        let counts = [self.m, self.outer];
        let read = last(self.offsets).checked_add(patch)?;
        let read = reach(counts, self.x_row, self.x_outer, read)?;
        let written = reach(counts, self.y_row, self.y_outer, patch)?;
        if self.channels == 0 || read > self.x.len() || written > self.y.len() {
            return None;
        }
        let before = taps.checked_sub(1)?.checked_mul(self.stride)?;
        has(self.w, before.checked_add(rows)?)?;
        has(self.bias, rows)?;
        Some(args::DepthwiseF32 {
            x: self.x.as_ptr(),
            x_row: self.x_row,
            x_outer: self.x_outer,
            y: self.y.as_mut_ptr(),
            y_row: self.y_row,
            y_outer: self.y_outer,
            m: self.m,
            outer: self.outer,
            channels: self.channels,
            stride: self.stride,
            taps,
            offsets: self.offsets.as_ptr(),
            w: self.w.as_ptr(),
            bias: self.bias.as_ptr(),
            act: self.act.function.code(),
            slope: self.act.slope,
        })
    }
}
