// SPDX-License-Identifier: GPL-2.0

//! Calls of code that was made for one shape, in place of a function of this crate.

use neural_core::float::{self, Function};
use neural_core::int8::{self, GROUP, LANES, SLACK};

use crate::f32::Layer;
use crate::{args, f32_args};

/// Bytes of a bias, a multiplier, a shift, a number.
const WORD: usize = 4;

/// Codes of a table.
const TABLE: usize = 256;

/// Something to be done that there may be code for.
#[derive(Debug)]
pub enum Call<'c, 'l> {
    /// A chain of layers of codes.
    ChainI8(&'c mut int8::Chain<'l>),
    /// A chain of layers of numbers.
    ChainF32(&'c mut float::Chain<'l>),
    /// A product of codes.
    GemmI8(&'c mut int8::Gemm<'l>),
    /// A product of numbers.
    GemmF32(&'c mut float::Gemm<'l>),
    /// Similarities of numbers.
    CosineF32(&'c mut float::Cosine<'l>),
}

/// What code reads and writes, so that a call is checked by a few comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bounds {
    /// Of a chain of layers of codes; `flip` as in [`int8::Chain`].
    ChainI8 {
        /// The sizes.
        sizes: ChainBounds,
        /// Whether the output gets codes.
        flip: bool,
    },
    /// Of a chain of layers of numbers.
    ChainF32(ChainBounds),
    /// Of a product of codes, of one position that is one segment.
    GemmI8 {
        /// Results.
        n: usize,
        /// Codes that are read.
        k: usize,
        /// Zero point, least and greatest code, biased.
        codes: [i32; 3],
    },
    /// Of a product of numbers, of positions that are one segment each.
    GemmF32 {
        /// Positions.
        m: usize,
        /// Results of a position.
        n: usize,
        /// Numbers of a position that are read.
        k: usize,
        /// Bytes from a position to the next one, if there are several.
        x_row: usize,
        /// Bytes from the results of a position to those of the next one, if there are several.
        y_row: usize,
        /// What becomes of sums.
        function: Function,
    },
    /// Of similarities.
    CosineF32 {
        /// Rows.
        rows: usize,
        /// Numbers of a row.
        n: usize,
        /// The bits of the least product of the norms.
        eps: u32,
    },
}

/// Bytes of what a chain reads and writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainBounds {
    /// Input and output.
    x: usize,
    y: usize,
    /// At least: a buffer between layers, and the weights.
    width: usize,
    weights: usize,
}

impl ChainBounds {
    /// Of no layer.
    const NONE: ChainBounds = ChainBounds {
        x: 0,
        y: 0,
        width: 0,
        weights: 0,
    };

    /// Adds a layer that reads `k` elements of so many bytes and gives `n`, and whose constants end at
    /// `weights`; `None` if it does not fit what is before it.
    fn then(self, element: usize, [k, n]: [usize; 2], weights: usize) -> Option<Self> {
        let [read, given] = [k.checked_mul(element)?, n.checked_mul(element)?];
        let first = self.y == 0;
        if k == 0 || n == 0 || (!first && self.y != read) {
            return None;
        }
        let lanes = k.max(n).checked_next_multiple_of(LANES)?;
        let width = lanes.checked_mul(element)?.checked_add(SLACK)?;
        Some(ChainBounds {
            x: if first { read } else { self.x },
            y: given,
            width: self.width.max(width),
            weights: self.weights.max(weights),
        })
    }

    /// Whether there is room for all.
    #[inline]
    fn hold(&self, x: &[u8], y: &[u8], weights: &[u8], temp: &[u8], width: usize) -> bool {
        x.len() == self.x
            && y.len() == self.y
            && width >= self.width
            && temp.len() / 2 >= width
            && weights.len() >= self.weights
    }
}

// CAST: to a wider type.
fn size(n: u32) -> usize {
    n as usize
}

impl Bounds {
    /// Those of a chain of layers of codes; `None` if its layers do not fit each other.
    pub fn chain_i8(layers: &[u8], flip: bool) -> Option<Self> {
        let mut sizes = ChainBounds::NONE;
        for bytes in layers.chunks_exact(int8::ChainLayer::BYTES) {
            let layer = int8::ChainLayer::read(bytes)?;
            let (k, n) = (size(layer.k), size(layer.n));
            let rows = n.checked_next_multiple_of(LANES)?;
            let packed = k.checked_next_multiple_of(GROUP)?.checked_mul(rows)?;
            let last = size(layer.bias.max(layer.mult).max(layer.shift));
            let table = match layer.table {
                int8::ChainLayer::NONE => 0,
                at => size(at).checked_add(TABLE)?,
            };
            let packed = size(layer.w).checked_add(packed)?;
            let lists = last.checked_add(rows.checked_mul(WORD)?)?;
            sizes = sizes.then(1, [k, n], packed.max(lists).max(table))?;
        }
        (sizes != ChainBounds::NONE).then_some(Bounds::ChainI8 { sizes, flip })
    }

    /// Those of a chain of layers of numbers; `None` if its layers do not fit each other.
    pub fn chain_f32(layers: &[u8]) -> Option<Self> {
        let mut sizes = ChainBounds::NONE;
        for bytes in layers.chunks_exact(float::ChainLayer::BYTES) {
            let layer = float::ChainLayer::read(bytes)?;
            let (k, n) = (size(layer.k), size(layer.n));
            let lanes = n.checked_next_multiple_of(LANES)?;
            let rows = if layer.by_row == 1 { n } else { lanes };
            let packed = k.checked_mul(rows)?.checked_mul(WORD)?;
            let packed = size(layer.w).checked_add(packed)?;
            let bias = size(layer.bias).checked_add(lanes.checked_mul(WORD)?)?;
            sizes = sizes.then(WORD, [k, n], packed.max(bias))?;
        }
        (sizes != ChainBounds::NONE).then_some(Bounds::ChainF32(sizes))
    }
}

/// Whether there is one segment, which starts at 0.
fn single(offsets: &[u8]) -> bool {
    offsets == [0; WORD]
}

/// The arguments of a product, if it is of this shape and all that it reads and writes is there.
#[inline]
fn gemm_i8(gemm: &mut int8::Gemm<'_>, shape: [usize; 2], codes: [i32; 3]) -> Option<args::GemmI8> {
    let own = &gemm.requant;
    let same = [gemm.m, gemm.outer] == [1, 1]
        && [gemm.n, gemm.k] == shape
        && [own.zero, own.min, own.max] == codes
        && single(gemm.offsets);
    same.then(|| crate::int8::gemm(gemm)).flatten()
}

/// As above, of positions.
#[inline]
fn gemm_f32(
    gemm: &mut float::Gemm<'_>,
    shape: [usize; 3],
    rows: [usize; 2],
    function: Function,
) -> Option<f32_args::GemmF32> {
    let same = gemm.outer == 1
        && [gemm.m, gemm.n, gemm.k] == shape
        && (gemm.m == 1 || [gemm.x_row, gemm.y_row] == rows)
        && gemm.act.function == function
        && !gemm.by_row
        && single(gemm.offsets);
    same.then(|| gemm.check()).flatten()
}

/// Runs generated code; `false`, and nothing happens, if the call is not one that the code is for.
///
/// # Safety
///
/// At `entry` stands a function with the arguments of the function of this crate that does what `bounds`
/// are of, and that reads and writes no more than that function does for a call with these bounds. The CPU
/// runs it, and vector registers may be used.
#[inline]
pub unsafe fn run(entry: *const (), bounds: &Bounds, call: &mut Call<'_, '_>) -> bool {
    macro_rules! enter {
        ($args:expr) => {{
            let args = $args;
            // SAFETY: the caller says what stands at `entry`; the operands are as long as it needs them.
            unsafe {
                let function = core::mem::transmute::<*const (), unsafe extern "C" fn(*const _)>(entry);
                function(&args);
            }
            true
        }};
    }
    match (*bounds, call) {
        (Bounds::ChainI8 { sizes, flip }, Call::ChainI8(chain)) => {
            let room = sizes.hold(chain.x, chain.y, chain.weights, chain.temp, chain.width);
            if !room || chain.flip != flip {
                return false;
            }
            let (low, high) = chain.temp.split_at_mut(chain.width);
            enter!(args::ChainI8 {
                x: chain.x.as_ptr(),
                y: chain.y.as_mut_ptr(),
                buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
                weights: chain.weights.as_ptr(),
                layers: chain.layers.as_ptr(),
                count: chain.layers.len() / int8::ChainLayer::BYTES,
                flip: chain.flip.into(),
            })
        }
        (Bounds::ChainF32(sizes), Call::ChainF32(chain)) => {
            if !sizes.hold(chain.x, chain.y, chain.weights, chain.temp, chain.width) {
                return false;
            }
            let (low, high) = chain.temp.split_at_mut(chain.width);
            enter!(f32_args::ChainF32 {
                x: chain.x.as_ptr(),
                y: chain.y.as_mut_ptr(),
                buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
                weights: chain.weights.as_ptr(),
                layers: chain.layers.as_ptr(),
                count: chain.layers.len() / float::ChainLayer::BYTES,
            })
        }
        (Bounds::GemmI8 { n, k, codes }, Call::GemmI8(gemm)) => {
            match gemm_i8(gemm, [n, k], codes) {
                Some(args) => enter!(args),
                None => false,
            }
        }
        (
            Bounds::GemmF32 {
                m,
                n,
                k,
                x_row,
                y_row,
                function,
            },
            Call::GemmF32(gemm),
        ) => match gemm_f32(gemm, [m, n, k], [x_row, y_row], function) {
            Some(args) => enter!(args),
            None => false,
        },
        (Bounds::CosineF32 { rows, n, eps }, Call::CosineF32(cosine)) => match cosine.check() {
            Some(args) if (args.rows, args.n, args.eps) == (rows, n, eps) => enter!(args),
            _ => false,
        },
        _ => false,
    }
}
