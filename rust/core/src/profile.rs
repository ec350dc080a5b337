// SPDX-License-Identifier: GPL-2.0

//! Which operations take the time: what is measured, and the tables that it is counted in.
//!
//! A [`Site`] is what stands at one place of a plan: an operation, its shape, and what it costs. It is
//! made when a model is loaded, so that counting needs no look at the model. Time is counted in a
//! [`Table`] for each CPU, which is small and which nobody else writes; what falls out of it goes to the
//! large one that all share. Whoever wants to see it collects the entries of all of them in a
//! [`Report`].
//!
//! ```text
//! Plan::site -> Site; each call: Timer::end, Table::record_local(site, measure, shared)
//! tables -> Entry, Entry, .. -> Report -> text, JSON, folded stacks
//! ```

mod report;
mod table;
#[cfg(test)]
mod tests;
mod timer;

use core::fmt;

use crate::nnm::{DType, OpKind};

pub use report::{Entry, Names, Report, Status};
pub use table::{Counts, Measure, Table};
pub use timer::{Clock, Timer};

/// Events that hardware counts, in the order of [`Measure::events`].
pub const EVENT_NAMES: [&str; EVENTS] = ["cache_misses", "tlb_misses", "instructions"];

/// How many there are.
pub const EVENTS: usize = 3;

/// Buckets of a histogram of cycles: bucket `i` counts `[2^i, 2^(i+1))`, bucket 0 also 0, the last one
/// all above.
pub const BUCKETS: usize = 32;

/// The most sizes of a shape.
pub const DIMS: usize = 4;

/// Makes the enum and what must name all of it.
macro_rules! ops {
    ($($(#[$doc:meta])* $op:ident = $code:literal, $name:literal;)*) => {
        /// What the time is spent on.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        pub enum Op {
            $($(#[$doc])* $op,)*
        }

        impl Op {
            /// All, in the order of their codes.
            pub const ALL: &'static [Op] = &[$(Op::$op),*];

            const fn code(self) -> u8 {
                match self {
                    $(Op::$op => $code,)*
                }
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Op::$op => $name,)*
                }
            }

            const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Op::$op),)*
                    _ => None,
                }
            }
        }
    };
}

ops! {
    /// Product of matrices: rows, outputs, inputs.
    Gemm = 1, "GEMM";
    /// Product of a matrix and a vector: outputs, inputs.
    Gemv = 2, "GEMV";
    /// Dense layers that are done as one: inputs, then the outputs of each.
    Chain = 3, "CHAIN";
    /// Long short-term memory: steps if there are several, state, input and state.
    LstmGates = 4, "LSTM_GATES";
    /// Gated recurrent unit: as above.
    GruGates = 5, "GRU_GATES";
    /// A step of the memory of a differentiable neural computer: rows, width, heads.
    DncMemory = 6, "DNC_MEMORY";
    /// Cosine similarities: rows, elements of one.
    CosineSim = 7, "COSINE_SIM";
    /// The penalty that keeps what was learnt: rows, elements of one.
    EwcPenalty = 8, "EWC_PENALTY";
    /// Functions of elements, softmax and norms: rows if there are several, elements of one.
    Activation = 9, "ACTIVATION";
    /// Sums, products, means and maxima of elements.
    Vector = 10, "VECTOR";
    /// Convolution: positions, channels, products of one result.
    Conv = 11, "CONV";
    /// Attention: heads, queries, keys, elements of one.
    Attention = 12, "ATTENTION";
    /// Decision trees: trees, results.
    Forest = 13, "FOREST";
    /// What only moves elements.
    Copy = 14, "COPY";
}

impl Op {
    /// What an operation of a model counts as.
    pub(crate) const fn of(kind: OpKind, rank: usize) -> Self {
        match kind {
            OpKind::Dense if rank < 3 => Op::Gemv,
            OpKind::Dense => Op::Gemm,
            OpKind::Conv2d | OpKind::DepthwiseConv2d => Op::Conv,
            OpKind::Lstm | OpKind::LstmCell => Op::LstmGates,
            OpKind::Gru | OpKind::GruCell => Op::GruGates,
            OpKind::Dnc => Op::DncMemory,
            OpKind::Cosine => Op::CosineSim,
            OpKind::Softmax
            | OpKind::LogSoftmax
            | OpKind::Lut
            | OpKind::Map
            | OpKind::LayerNorm
            | OpKind::RmsNorm
            | OpKind::Normalise => Op::Activation,
            OpKind::AveragePool2d
            | OpKind::MaxPool2d
            | OpKind::Add
            | OpKind::Sub
            | OpKind::Mul
            | OpKind::Mean
            | OpKind::Interpolate => Op::Vector,
            OpKind::Attention | OpKind::AttentionStep => Op::Attention,
            OpKind::Forest => Op::Forest,
            OpKind::Concat
            | OpKind::Pad
            | OpKind::Reshape
            | OpKind::Transpose
            | OpKind::Slice
            | OpKind::Embedding => Op::Copy,
        }
    }
}

/// Sizes: from the first one on, then zeros.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Dims {
    sizes: [u32; DIMS],
    /// How many lie between the last two that are not kept.
    left_out: u16,
}

impl Dims {
    /// No sizes.
    pub(crate) const NONE: Dims = Dims {
        sizes: [0; DIMS],
        left_out: 0,
    };

    /// The sizes of an operation; ones at the front and zeros are left out.
    pub fn new(sizes: &[u32]) -> Self {
        let rest = sizes.iter().copied().skip_while(|&size| size == 1);
        let mut dims = Dims::NONE;
        rest.for_each(|size| dims.push(size));
        if dims.rank() == 0 {
            dims.push(1);
        }
        dims
    }

    /// Adds a size that is not 0; of more than there is room for, the first ones and the last are kept.
    pub(crate) fn push(&mut self, size: u32) {
        if size == 0 {
            return;
        }
        match self.sizes.iter_mut().find(|place| **place == 0) {
            Some(place) => *place = size,
            None => {
                let [.., last] = &mut self.sizes;
                *last = size;
                self.left_out = self.left_out.saturating_add(1);
            }
        }
    }

    /// How many sizes there are, without those that are left out.
    pub fn rank(&self) -> usize {
        self.sizes.iter().take_while(|&&size| size != 0).count()
    }

    /// The sizes that are kept.
    pub fn sizes(&self) -> impl Iterator<Item = u32> + '_ {
        self.sizes.iter().copied().take_while(|&size| size != 0)
    }
}

impl fmt::Display for Dims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, size) in self.sizes().enumerate() {
            match i {
                0 => write!(f, "{size}")?,
                3 if self.left_out > 0 => write!(f, "x..x{size}")?,
                _ => write!(f, "x{size}")?,
            }
        }
        Ok(())
    }
}

/// What is counted together.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The network, by its id.
    pub network: u32,
    /// What is done.
    pub op: Op,
    /// Of which elements.
    pub dtype: DType,
    /// How many of them.
    pub dims: Dims,
}

impl Key {
    fn words(&self) -> [u64; 3] {
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let [a, b, c, d] = self.dims.sizes;
        let kind = u32::from(self.op.code()) << 24 | u32::from(self.dtype.code()) << 16;
        [
            pair(self.network, kind | u32::from(self.dims.left_out)),
            pair(a, b),
            pair(c, d),
        ]
    }

    fn from_words([first, ab, cd]: [u64; 3]) -> Option<Self> {
        // CAST: halves, and parts of the lower one.
        let pair = |word: u64| [(word >> 32) as u32, word as u32];
        let ([network, rest], [a, b], [c, d]) = (pair(first), pair(ab), pair(cd));
        Some(Key {
            network,
            op: Op::from_code((rest >> 24) as u8)?,
            dtype: DType::from_code((rest >> 16) as u8)?,
            dims: Dims {
                sizes: [a, b, c, d],
                left_out: rest as u16,
            },
        })
    }
}

/// What stands at a place of a plan.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Site {
    key: Key,
    words: [u64; 3],
    hash: u64,
    macs: u64,
    elements: u64,
}

impl Site {
    /// Something that is counted under `key`, and what one call of it costs: multiply-accumulates, and
    /// elements that are written.
    pub fn new(key: Key, macs: u64, elements: u64) -> Self {
        let words = key.words();
        let hash = words.iter().fold(0u64, |hash, word| {
            // The finalizer of splitmix64.
            let x = (hash ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            x ^ (x >> 31)
        });
        Site {
            key,
            words,
            hash,
            macs,
            elements,
        }
    }

    /// What it is counted under.
    pub const fn key(&self) -> &Key {
        &self.key
    }
}
