// SPDX-License-Identifier: GPL-2.0

//! What operations there is code for, and what is known of them.

use core::fmt;

use neural_core::fixed;
use neural_core::float;
use neural_core::int8::{ChainLayer, GROUP, LANES};

/// The most layers of a chain.
pub const LAYERS: usize = 16;

/// What the constants of a layer of 8-bit integers allow, whatever its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Some shifts go to the left.
    pub left: bool,
    /// All shifts are 1..=31, and no sum reaches 2^29: rounding needs no more than 32 bits.
    pub narrow: bool,
}

/// An operation: all that is known of it but addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Descriptor<'a> {
    /// A chain of dense layers of 8-bit integers, for one sample: `neural_chain_i8_*`.
    ChainI8 {
        /// The layers, a [`ChainLayer`] each, as they stand in the plan.
        layers: &'a [u8],
        /// What the constants of the layers allow.
        facts: [Facts; LAYERS],
        /// Whether the output gets codes; else biased codes.
        flip: bool,
    },
    /// A dense layer of 8-bit integers, for one position: `neural_gemm_i8_*`.
    GemmI8(GemmI8),
    /// A chain of dense layers of single precision, for one sample: `neural_chain_f32_*`.
    ChainF32 {
        /// The layers, a [`float::ChainLayer`] each, as they stand in the plan.
        layers: &'a [u8],
    },
    /// A matrix product of single precision with packed weights: `neural_gemm_f32_*`.
    GemmF32(GemmF32),
    /// Cosine similarities of a key with rows: `neural_cosine_f32_*`.
    CosineF32 {
        /// Rows.
        rows: u32,
        /// Elements of a row.
        n: u32,
        /// The bits of what magnitudes are at least.
        eps: u32,
    },
}

/// A dense layer of 8-bit integers: one position, one segment, which starts at 0; codes are biased.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GemmI8 {
    /// Outputs.
    pub n: u32,
    /// Inputs.
    pub k: u32,
    /// Zero point.
    pub zero: u8,
    /// Least code.
    pub min: u8,
    /// Greatest code.
    pub max: u8,
    /// What the constants allow, see [`Facts::of`].
    pub facts: Facts,
}

/// A matrix product of single precision: one segment, which starts at 0; weights in panels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GemmF32 {
    /// Positions, the lines of which follow each other as the positions in a line do.
    pub positions: u32,
    /// Outputs of a position.
    pub n: u32,
    /// Elements of a position.
    pub k: u32,
    /// Bytes between positions of the input.
    pub x_row: u32,
    /// Bytes between positions of the output.
    pub y_row: u32,
    /// What becomes of sums.
    pub limit: Limit,
}

/// Limits of results.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// None.
    None,
    /// At least 0.
    Zero,
    /// 0 to 6.
    ZeroToSix,
}

impl<'a> Descriptor<'a> {
    /// A chain whose constants stand in `weights`. `None` if the layers do not fit each other or their
    /// constants miss the weights.
    pub fn chain_i8(layers: &'a [u8], weights: &[u8], flip: bool) -> Option<Self> {
        let mut facts = [Facts::default(); LAYERS];
        let mut read = None;
        if layers.is_empty()
            || layers.len() % ChainLayer::BYTES != 0
            || layers.len() / ChainLayer::BYTES > LAYERS
        {
            return None;
        }
        for (bytes, facts) in layers.chunks_exact(ChainLayer::BYTES).zip(&mut facts) {
            let layer = ChainLayer::read(bytes)?;
            if layer.k == 0 || layer.n == 0 || read.is_some_and(|n| n != layer.k) {
                return None;
            }
            *facts = Facts::of_layer(&layer, weights)?;
            read = Some(layer.n);
        }
        Some(Descriptor::ChainI8 {
            layers,
            facts,
            flip,
        })
    }

    /// A chain of single precision whose constants stand in `weights`. `None` if the layers do not fit each other or their
    /// constants miss the weights.
    pub fn chain_f32(layers: &'a [u8], weights: &[u8]) -> Option<Self> {
        // CAST: to a wider type.
        let size = |n: u32| n as usize;
        let mut read = None;
        if layers.is_empty() || layers.len() % float::ChainLayer::BYTES != 0 {
            return None;
        }
        for bytes in layers.chunks_exact(float::ChainLayer::BYTES) {
            let layer = float::ChainLayer::read(bytes)?;
            let rows = size(layer.n).checked_next_multiple_of(LANES)?;
            let used = if layer.by_row == 1 {
                size(layer.n)
            } else {
                rows
            };
            let ends = [
                (layer.w, used.checked_mul(size(layer.k))?),
                (layer.bias, rows),
            ];
            for (at, elements) in ends {
                weights.get(size(at)..)?.get(..elements.checked_mul(4)?)?;
            }
            if layer.k == 0 || layer.n == 0 || read.is_some_and(|n| n != layer.k) {
                return None;
            }
            read = Some(layer.n);
        }
        Some(Descriptor::ChainF32 { layers })
    }

    /// A number that equal descriptors share.
    pub fn key(&self) -> u64 {
        let mut key = 0x6a69_745f_6b65_7973u64;
        let mut add = |n: u64| {
            key = (key ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            key ^= key >> 29;
        };
        match self {
            Descriptor::ChainI8 {
                layers,
                facts,
                flip,
            } => {
                for word in fixed::elements(layers) {
                    // CAST: the same bits.
                    add(u64::from(word as u32));
                }
                for facts in facts {
                    add(facts.bits());
                }
                add(u64::from(*flip));
            }
            Descriptor::GemmI8(gemm) => {
                let codes = [gemm.zero, gemm.min, gemm.max, 0];
                for word in [gemm.n, gemm.k, u32::from_le_bytes(codes)] {
                    add(u64::from(word));
                }
                add(1 << 35 | gemm.facts.bits());
            }
            Descriptor::ChainF32 { layers } => {
                for word in fixed::elements(layers) {
                    // CAST: the same bits.
                    add(u64::from(word as u32));
                }
                add(1 << 33);
            }
            Descriptor::GemmF32(gemm) => {
                // CAST: the number of the variant.
                let limit = gemm.limit as u32;
                let GemmF32 {
                    positions, n, k, ..
                } = *gemm;
                for word in [positions, n, k, gemm.x_row, gemm.y_row, limit] {
                    add(u64::from(word));
                }
                add(1 << 32);
            }
            Descriptor::CosineF32 { rows, n, eps } => {
                for word in [rows, n, eps] {
                    add(u64::from(*word));
                }
                add(1 << 34);
            }
        }
        key
    }

    /// Writes what it is: `chain_i8 64x128x8`, `gemm_f32 64x64x64`, `cosine_f32 256x64`.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn name(&self, out: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Descriptor::ChainI8 { layers, .. } => {
                let sizes = layers.chunks_exact(ChainLayer::BYTES);
                let sizes = sizes.filter_map(ChainLayer::read);
                sized(out, "chain_i8", sizes.map(|layer| (layer.k, layer.n)))
            }
            Descriptor::ChainF32 { layers } => {
                let sizes = layers.chunks_exact(float::ChainLayer::BYTES);
                let sizes = sizes.filter_map(float::ChainLayer::read);
                sized(out, "chain_f32", sizes.map(|layer| (layer.k, layer.n)))
            }
            Descriptor::GemmI8(gemm) => write!(out, "gemm_i8 1x{}x{}", gemm.k, gemm.n),
            Descriptor::GemmF32(gemm) => {
                write!(out, "gemm_f32 {}x{}x{}", gemm.positions, gemm.k, gemm.n)
            }
            Descriptor::CosineF32 { rows, n, .. } => write!(out, "cosine_f32 {rows}x{n}"),
        }
    }
}

/// A name, what the first layer reads, and what each layer gives.
fn sized(
    out: &mut impl fmt::Write,
    name: &str,
    layers: impl Iterator<Item = (u32, u32)>,
) -> fmt::Result {
    out.write_str(name)?;
    for (i, (k, n)) in layers.enumerate() {
        if i == 0 {
            write!(out, " {k}")?;
        }
        write!(out, "x{n}")?;
    }
    Ok(())
}

impl Facts {
    /// Those of a layer; `None` if its constants miss the weights.
    fn of_layer(layer: &ChainLayer, weights: &[u8]) -> Option<Self> {
        // CAST: to wider types.
        let size = |n: u32| n as usize;
        let rows = size(layer.n).checked_next_multiple_of(LANES)?;
        let list = |at: u32| {
            let bytes = rows.checked_mul(4)?;
            weights.get(size(at)..)?.get(..bytes)
        };
        let packed = size(layer.k)
            .checked_next_multiple_of(GROUP)?
            .checked_mul(rows)?;
        weights.get(size(layer.w)..)?.get(..packed)?;
        list(layer.mult)?;
        if layer.table != ChainLayer::NONE {
            weights.get(size(layer.table)..)?.get(..256)?;
        }
        Some(Facts::of(
            layer.k,
            layer.n,
            list(layer.bias)?,
            list(layer.shift)?,
        ))
    }

    /// Those of `n` rows that read `k` codes, with these folded biases and shifts, `i32` little endian each.
    pub fn of(k: u32, n: u32, bias: &[u8], shift: &[u8]) -> Self {
        // No product exceeds 255 * 128.
        let products = u64::from(k).saturating_mul(255 * 128);
        let bias = fixed::elements(bias).fold(0, |most: u32, b| most.max(b.unsigned_abs()));
        // CAST: to a wider type.
        let shifts = || fixed::elements(shift).take(n as usize);
        Facts {
            left: shifts().any(|shift| shift < 0),
            narrow: products.saturating_add(u64::from(bias)) < 1 << 29
                && shifts().all(|shift| (1..=31).contains(&shift)),
        }
    }

    /// What the constants of both layers allow.
    pub fn and(self, other: Self) -> Self {
        Facts {
            left: self.left || other.left,
            narrow: self.narrow && other.narrow,
        }
    }

    /// A bit for each of them.
    fn bits(self) -> u64 {
        u64::from(self.left) | u64::from(self.narrow) << 1
    }
}
