// SPDX-License-Identifier: GPL-2.0

//! The model file, `.nnm` version 1.1: one network, ready to be placed in memory.
//!
//! All numbers are little endian. Both tables and the data of each constant start at a multiple of 64.
//!
//! ```text
//! header, 128 bytes
//!   0 magic[8] 7f 'N' 'N' 'M' 0d 0a 1a 00      32 tensor_count u32      56 input tensor u32
//!   8 major u16 (1)   10 minor u16 (0, 1)      36 op_count u32          60 output tensor u32
//!  12 header_bytes u32 (128)                   40 tensor_table u64      64 name[32], NUL padded
//!  16 file_bytes u64                           48 op_table u64          96 reserved[32]
//!  24 crc32c u32   28 flags u32 (0)
//!
//! tensor record, 64 bytes
//!   0 dtype u8 (see DType::code)   1 kind u8 (0 activation, 1 constant)   2 rank u8 (1..=4)   3 pad
//!   4 dims u32[4], slowest first, at least 1 each, 0 from rank on         20 pad
//!  24 data_offset u64   32 data_bytes u64 (both 0 for an activation)
//!  40 zero_point i32   44 scale f32 (0 if neither i8 nor i16 activation)      48 reserved[16]
//!
//! op record, 64 bytes
//!   0 kind u16 (see OpKind::code)   2 activation u16 (see Activation::code)   4 flags u32 (0)
//!   8 inputs u32[4], 0xffffffff where there is none                          24 output u32
//!  28 params i32[7], see below                                               56 reserved[8]
//! ```
//!
//! The checksum is the CRC-32C of all bytes of the file, with zeros in the place of the checksum.
//! Pads and what is reserved are zero. Data stand in the file in the order of their tensors.
//!
//! Operations stand in the order in which they run: each reads the input of the network and what
//! earlier ones have written, and writes a tensor that nothing else writes. All activations of a
//! network have the same type, that of its input.
//!
//! In Q16.16 there is dense, with the operands `x[in]`, `W[out, in]` (a row per output), `b[out]`
//! and the result `y[out]`; `params[0]` is the slope of leaky ReLU. The weights of a row are bounded
//! such that no input whatsoever overflows the 64-bit sum:
//! `2^31 * sum |w| + 2^16 * |b| + 2^15 < 2^63`.
//!
//! Operations on 8-bit codes, with what they have in `params` (`(a, b)`: lower and upper half of one,
//! for rows and columns; `min, max`: limits of the codes of `y`; what is not named is 0):
//!
//! ```text
//! dense              x[.., k] W[n, k] b[n] R[2, n]               min max
//! conv_2d            x[h, w, c] W[n, kh, kw, c] b[n] R[2, n]     min max stride dilation before after
//! depthwise_conv_2d  x[h, w, c] W[kh, kw, n] b[n] R[2, n]        the same
//! average_, max_pool_2d   x[h, w, c]                             min max stride window before after
//! add, sub; mul      a[..], b[last dims of a], R[6]; R[2]        min max (zero point of a constant b)
//! concat             two to four tensors                         axis
//! pad                x                                           (before, after) per dimension; [4] code
//! reshape            x
//! transpose          x                                           for each axis of y that of x
//! mean               x[.., c] R[2]; over all axes but the last
//! softmax            x[.., n], n at most 4096                    multiplier shift least difference
//! lut                x, T[256]; code q stands at q & 255
//! ```
//!
//! `b` and `R` are i32, all other constants i8, and `R` is what [`Multiplier`](crate::int8::Multiplier)
//! has: in `R[2, n]` all multipliers before all shifts, otherwise a shift behind each multiplier. The
//! arithmetic is that of [`crate::int8`]. Rows of weights are bounded: `255 * sum |w| + |b| < 2^31`.
//!
//! Dense layers of 16-bit codes have `x[.., k]`, `W[n, k]`, `B[n, 2]` (64 bits each), `R[2, n]`, and a
//! function with `slope multiplier shift`; sums `a`, `b`, `R[3]` (two factors and a shift), products
//! `R[2]`. The arithmetic is that of [`crate::int16`].
//!
//! Of any type are moves (concat, pad, reshape, transpose, slice), forests, whose constants are i32, and
//! embeddings:
//!
//! ```text
//! slice              x                                           first element of each dimension
//! forest             x[.., k] N[.., 4] T[trees] L[.., m]         mean, shift; i8: (0) multiplier shift
//! embedding          x[..] E[rows, n]
//! ```
//!
//! A file is hostile until [`parse`] has passed it. The bytes must not change afterwards; if they
//! do nevertheless, results are wrong, but nothing else happens.

mod bounds;
mod check;
mod cost;
mod crc;
mod elements;
mod floats;
mod int16;
mod kind;
mod moved;
mod ops;
mod products;
mod record;
mod recurrent;
mod trees;
mod window;
mod write;

use core::fmt;

use crate::error::Error;
use crate::name;

pub use self::check::{parse, parse_pausing};
pub(crate) use self::floats::computer_sizes;
pub use self::kind::OpKind;
pub(crate) use self::ops::last_dim;
pub use self::record::{DType, Op, Tensor, TensorKind, PARAMS};
pub(crate) use self::window::Window;
pub use self::write::{dense_file_bytes, seal, write_dense, DenseSpec, Graph, Part};

use self::record::{array, Header};

/// The first bytes of a model file.
pub const MAGIC: [u8; 8] = *b"\x7fNNM\r\n\x1a\0";

/// The version that is written; those with a smaller minor number are read, too.
pub const VERSION: (u16, u16) = (1, 1);

/// Bytes of the header.
pub const HEADER_BYTES: usize = 128;

/// Bytes of a tensor record and of an op record.
pub const RECORD_BYTES: usize = 64;

/// Alignment of tables, data and buffers.
pub const ALIGN: usize = 64;

/// The largest size of a dimension of a Q16.16 tensor.
pub const MAX_DIM: u32 = 4096;

/// The largest size of a dimension of any other tensor.
pub const MAX_DIM_QUANTISED: u32 = 65536;

/// The most operations that a file may have, whatever the [`Limits`] say.
pub const MAX_OPS: u32 = 4096;

/// A tensor index that means "none".
pub const NONE: u32 = u32::MAX;

/// What a model may cost.
///
/// With `B` as [`max_bytes`](Limits::max_bytes), a plan of `n` operations has at most
/// `2 B + 1200 (n + 1)` bytes of packed weights, and for each sample `B + 256 (n + 1) + 2^17` bytes of
/// scratch memory.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file; of weights, in the file and packed, where each use of a constant counts; of
    /// the activations of a sample, with the copies of images that get a border.
    pub max_bytes: u64,
    /// Operations (never more than [`MAX_OPS`]).
    pub max_ops: u32,
    /// Multiply-accumulates of one prediction.
    pub max_macs: u64,
}

impl Limits {
    /// What [`Limits::default`] gives: 256 MiB, 1024 operations, 2^26 multiply-accumulates.
    pub const DEFAULT: Limits = Limits {
        max_bytes: 256 << 20,
        max_ops: 1024,
        max_macs: 1 << 26,
    };

    /// No limits but those of the format.
    pub const NONE: Limits = Limits {
        max_bytes: u64::MAX,
        max_ops: MAX_OPS,
        max_macs: u64::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// Called again and again during long work on a model file; `false` ends the work with `Interrupted`.
///
/// Here the caller may let others run, and look for signals.
#[derive(Copy, Clone)]
pub struct Pause<'a>(pub &'a dyn Fn() -> bool);

impl Pause<'_> {
    /// Never ends the work.
    pub const NONE: Pause<'static> = Pause(&|| true);

    pub(crate) fn check(&self) -> Result<(), Error> {
        match (self.0)() {
            true => Ok(()),
            false => Err(Error::Interrupted),
        }
    }
}

impl fmt::Debug for Pause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pause")
    }
}

/// A model file that has passed all checks.
#[derive(Copy, Clone, Debug)]
pub struct Model<'a> {
    bytes: &'a [u8],
    header: Header,
    name: &'a str,
    input: Tensor,
    output: Tensor,
    macs: u64,
    pub(crate) pause: Pause<'a>,
}

impl<'a> Model<'a> {
    /// The name that stands in the file.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// Elements of an input.
    pub fn input_dim(&self) -> u32 {
        elements_of(&self.input)
    }

    /// Elements of an output.
    pub fn output_dim(&self) -> u32 {
        elements_of(&self.output)
    }

    /// Bytes of an input.
    pub fn input_bytes(&self) -> usize {
        bytes_of(&self.input)
    }

    /// Bytes of an output.
    pub fn output_bytes(&self) -> usize {
        bytes_of(&self.output)
    }

    /// Element type of input and output.
    pub fn dtype(&self) -> DType {
        self.input.dtype
    }

    /// Number of operations, at least 1.
    pub fn op_count(&self) -> usize {
        // CAST: at most MAX_OPS.
        self.header.ops as usize
    }

    /// Number of tensors.
    pub fn tensor_count(&self) -> usize {
        // CAST: at most 4 * MAX_OPS + 1.
        self.header.tensors as usize
    }

    /// Multiply-accumulates of one prediction.
    pub fn macs(&self) -> u64 {
        self.macs
    }

    /// Operation `index`, in the order in which they run.
    pub fn op(&self, index: u32) -> Option<Op> {
        Op::decode(&self.record(self.header.op_table, index, self.header.ops)?).ok()
    }

    /// Tensor `index`.
    pub fn tensor(&self, index: u32) -> Option<Tensor> {
        Tensor::decode(&self.record(self.header.tensor_table, index, self.header.tensors)?).ok()
    }

    /// Index of the tensor that is the input of the network.
    pub fn input_tensor(&self) -> u32 {
        self.header.input
    }

    /// Index of the tensor that is the output of the network.
    pub fn output_tensor(&self) -> u32 {
        self.header.output
    }

    /// The data of a constant.
    pub fn data(&self, tensor: &Tensor) -> Option<&'a [u8]> {
        let start = usize::try_from(tensor.data_offset).ok()?;
        let len = usize::try_from(tensor.data_bytes).ok()?;
        self.bytes.get(start..)?.get(..len)
    }

    fn record(&self, table: u64, index: u32, count: u32) -> Option<[u8; RECORD_BYTES]> {
        if index >= count {
            return None;
        }
        Some(array(self.bytes, record_at(table, index)?))
    }
}

/// Offset of record `index` of a table.
fn record_at(table: u64, index: u32) -> Option<usize> {
    let at = table.checked_add(u64::from(index).checked_mul(RECORD_BYTES as u64)?)?;
    usize::try_from(at).ok()
}

/// Elements of a tensor whose size was checked.
fn elements_of(tensor: &Tensor) -> u32 {
    u32::try_from(tensor.elements()).unwrap_or(u32::MAX)
}

fn bytes_of(tensor: &Tensor) -> usize {
    usize::try_from(tensor.bytes()).unwrap_or(usize::MAX)
}

/// The name in a header.
fn name_of<'a>(bytes: &'a [u8]) -> Result<&'a str, Error> {
    match bytes
        .get(64..)
        .and_then(|rest| rest.first_chunk::<{ name::FIELD_BYTES }>())
    {
        Some(field) => name::from_field(field),
        None => name::check(&[]),
    }
}
