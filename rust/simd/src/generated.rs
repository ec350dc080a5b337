// SPDX-License-Identifier: GPL-2.0

//! Calls of code that was made for one shape, in place of a function of this crate.

use neural_core::int8::{Chain, ChainLayer, GROUP, LANES, SLACK};

use crate::args;

/// Bytes of a bias, a multiplier, a shift.
const WORD: usize = 4;

/// Codes of a table.
const TABLE: usize = 256;

/// What code for a chain reads and writes, so that a call is checked by a few comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainBounds {
    /// Bytes of the input and of the output.
    x: usize,
    y: usize,
    /// Least bytes of a buffer between layers, and of the weights.
    width: usize,
    weights: usize,
    flip: bool,
}

impl ChainBounds {
    /// Those of a chain; `None` if its layers do not fit each other.
    pub fn of(layers: &[u8], flip: bool) -> Option<Self> {
        // CAST: to wider types.
        let size = |n: u32| n as usize;
        let mut read = None;
        let (mut x, mut y, mut widest, mut weights) = (0, 0, 0, 0);
        for bytes in layers.chunks_exact(ChainLayer::BYTES) {
            let layer = ChainLayer::read(bytes)?;
            let (k, n) = (size(layer.k), size(layer.n));
            if k == 0 || n == 0 || read.is_some_and(|read| read != k) {
                return None;
            }
            if read.is_none() {
                x = k;
            }
            read = Some(n);
            y = n;
            widest = widest.max(k).max(n);
            let rows = n.checked_next_multiple_of(LANES)?;
            let packed = k.checked_next_multiple_of(GROUP)?.checked_mul(rows)?;
            let last = size(layer.bias.max(layer.mult).max(layer.shift));
            let table = match layer.table {
                ChainLayer::NONE => 0,
                at => size(at).checked_add(TABLE)?,
            };
            weights = weights
                .max(size(layer.w).checked_add(packed)?)
                .max(last.checked_add(rows.checked_mul(WORD)?)?)
                .max(table);
        }
        read?;
        Some(Self {
            x,
            y,
            width: widest.checked_add(SLACK)?,
            weights,
            flip,
        })
    }

    /// Whether the chain has room for all that the code reads and writes.
    #[inline]
    fn hold(&self, chain: &Chain<'_>) -> bool {
        chain.x.len() == self.x
            && chain.y.len() == self.y
            && chain.flip == self.flip
            && chain.width >= self.width
            && chain.temp.len() / 2 >= chain.width
            && chain.weights.len() >= self.weights
    }
}

/// Runs generated code for a chain; `false`, and nothing happens, if the chain is not one that the code is
/// for.
///
/// # Safety
///
/// At `entry` stands a function with the arguments of `neural_chain_i8_*` that this CPU runs, and that
/// reads and writes no more than vector code does for a chain with these bounds. Vector registers may be
/// used.
#[inline]
pub unsafe fn chain_i8(entry: *const (), bounds: &ChainBounds, chain: &mut Chain<'_>) -> bool {
    if !bounds.hold(chain) {
        return false;
    }
    let (low, high) = chain.temp.split_at_mut(chain.width);
    let args = args::ChainI8 {
        x: chain.x.as_ptr(),
        y: chain.y.as_mut_ptr(),
        buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
        weights: chain.weights.as_ptr(),
        layers: chain.layers.as_ptr(),
        count: chain.layers.len() / ChainLayer::BYTES,
        flip: chain.flip.into(),
    };
    // SAFETY: the caller says what stands at `entry`; the operands are as long as it needs them.
    unsafe {
        let function: unsafe extern "C" fn(*const args::ChainI8) = core::mem::transmute(entry);
        function(&args);
    }
    true
}
