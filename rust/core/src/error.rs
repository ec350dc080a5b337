// SPDX-License-Identifier: GPL-2.0

//! What can be wrong, precisely enough for one clear line to the user.
//!
//! An [`Error`] is a small value that carries which field is wrong, what stands there and what is
//! allowed. Its [`Display`](core::fmt::Display) form is the line that callers see; it never has more than
//! [`MAX_LINE`] bytes, whatever a hostile file or setting holds. Its [`Class`] becomes the errno.

mod line;
mod text;

pub use self::text::Text;

/// The most bytes that the line of an error has.
pub const MAX_LINE: usize = 150;

/// Why something was refused.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A model file is wrong at `place`.
    Model {
        /// Where in the file.
        place: Place,
        /// What is wrong there.
        fault: Fault,
    },
    /// A name is not one that networks may have.
    Name(NameFault),
    /// A setting is wrong.
    Config(ConfigFault),
    /// A buffer does not have the size that it must have.
    Buffer {
        /// Which buffer.
        buffer: &'static str,
        /// Its size, in the unit that the name of the buffer says, else bytes.
        have: u64,
        /// The size that it must have (for scratch memory and steps: at least).
        want: u64,
    },
    /// A number given by a caller is out of its range.
    Argument {
        /// Which argument.
        name: &'static str,
        /// Its value.
        have: u64,
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// The network computes in single precision, which takes vector code, which there is not or which
    /// may not run where the call came from.
    NoVector,
    /// The caller asked to stop, see [`Kernels::pause`](crate::plan::Kernels::pause).
    Interrupted,
}

/// The errno that an error becomes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// `EINVAL`: what was asked makes no sense.
    Invalid,
    /// `E2BIG`: a limit on size or cost is exceeded.
    TooBig,
    /// `EBADMSG`: the file is damaged, or not a model file at all.
    Corrupt,
    /// `EPROTONOSUPPORT`: the file has a version that is not known.
    Version,
    /// `EOPNOTSUPP`: well-formed, but this build cannot do it.
    Unsupported,
    /// `ERANGE`: a number is outside the range that is allowed for it.
    Range,
    /// `EINTR`: stopped on request.
    Interrupted,
    /// `EOPNOTSUPP`: not on this CPU, or not in this context.
    NoVector,
}

/// Where in a model file something is wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// The header.
    Header,
    /// The table of tensors.
    TensorTable,
    /// The table of operations.
    OpTable,
    /// A tensor, by its index.
    Tensor(u32),
    /// An operation, by its index.
    Op(u32),
}

/// What is wrong with a model file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The file ends too early.
    Truncated {
        /// Bytes that are there.
        have: u64,
        /// Bytes that should be there.
        want: u64,
    },
    /// There are bytes after the end that the header states.
    Trailing {
        /// Bytes that are there.
        have: u64,
        /// Bytes that should be there.
        want: u64,
    },
    /// The file does not start as a model file does.
    Magic,
    /// A version that this build does not know.
    Version {
        /// Major version in the file.
        major: u16,
        /// Minor version in the file.
        minor: u16,
    },
    /// The checksum does not match.
    Checksum {
        /// Checksum in the file.
        have: u32,
        /// Checksum of the bytes of the file.
        want: u32,
    },
    /// A field has a value that is not allowed.
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        have: u64,
        /// The smallest value allowed.
        min: u64,
        /// The largest value allowed.
        max: u64,
    },
    /// A signed field has a value that is not allowed.
    Signed {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        have: i32,
        /// The smallest value allowed.
        min: i32,
        /// The largest value allowed.
        max: i32,
    },
    /// A scale is not a positive, finite and normal number.
    Scale {
        /// The bits of the `f32`.
        bits: u32,
    },
    /// An operand has the wrong element type.
    Type {
        /// Which operand.
        operand: &'static str,
        /// Its type.
        have: &'static str,
        /// The type that it must have.
        want: &'static str,
    },
    /// An operation that is known, but not for elements of this type.
    OpType {
        /// Which operation.
        op: &'static str,
        /// The type.
        have: &'static str,
    },
    /// A reserved byte is not zero.
    Reserved {
        /// Offset of the byte in its header or record.
        offset: u32,
    },
    /// Something costs more than is allowed.
    Limit {
        /// What it is.
        field: &'static str,
        /// How much there is of it.
        have: u64,
        /// How much is allowed.
        max: u64,
    },
    /// A known field has a value whose meaning this build does not know.
    Unsupported {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        have: u64,
    },
    /// An offset is not a multiple of 64.
    Unaligned {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        have: u64,
    },
    /// Something does not lie within the file.
    OutOfFile {
        /// Offset in the file.
        offset: u64,
        /// Bytes from there on.
        bytes: u64,
        /// Size of the file.
        file: u64,
    },
    /// Two things lie on the same bytes.
    Overlap {
        /// The other thing.
        other: Place,
    },
    /// The data lies before that of an earlier tensor.
    Order {
        /// The earlier tensor.
        other: u32,
    },
    /// A number of bytes does not match the shape.
    DataBytes {
        /// Bytes that the file states.
        have: u64,
        /// Bytes that the shape has.
        want: u64,
    },
    /// An operand names a tensor of the wrong kind.
    Kind {
        /// Which operand.
        operand: &'static str,
        /// The tensor that it names.
        tensor: u32,
        /// What it must be.
        want: &'static str,
    },
    /// An operand has the wrong shape.
    Shape {
        /// Which operand.
        operand: &'static str,
        /// The dimension that is wrong.
        dim: u32,
        /// Its size.
        have: u32,
        /// The size that it must have.
        want: u32,
    },
    /// An operand has the wrong number of dimensions.
    Rank {
        /// Which operand.
        operand: &'static str,
        /// Its number of dimensions.
        have: u32,
        /// The number that it must have.
        want: u32,
    },
    /// An operation reads what itself or a later one writes.
    Cycle {
        /// The tensor that is read.
        tensor: u32,
        /// The operation that writes it.
        writer: u32,
    },
    /// A tensor is written a second time.
    WrittenTwice {
        /// The tensor.
        tensor: u32,
        /// The operation that writes it first.
        writer: u32,
    },
    /// The input of the network is written by an operation.
    WritesInput {
        /// The tensor.
        tensor: u32,
    },
    /// No operation writes the tensor.
    NeverWritten,
    /// The weights of a row are so large that some input would overflow the sum.
    RowTooLarge {
        /// The row.
        row: u32,
    },
    /// The parsed file and what was handed in do not belong together.
    Mismatch,
}

/// What is wrong with a name.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// It has no bytes.
    Empty,
    /// It has more than 31 bytes.
    TooLong,
    /// It holds a byte that is not allowed, or not allowed there.
    Byte {
        /// Index of the byte.
        at: u32,
        /// The byte.
        byte: u8,
    },
}

/// What is wrong with a setting.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum ConfigFault {
    /// There is nothing on the line.
    Empty,
    /// There is no such key.
    UnknownKey {
        /// What stands there.
        key: Text,
    },
    /// There is no value after the key.
    NoValue {
        /// The key.
        key: &'static str,
        /// What it may be.
        allowed: &'static str,
    },
    /// There is more after the value.
    Extra {
        /// The key.
        key: &'static str,
        /// What stands there.
        text: Text,
    },
    /// The value is none of the words that are allowed.
    Word {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: Text,
        /// What it may be.
        allowed: &'static str,
    },
    /// The value is not a decimal number.
    NotANumber {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: Text,
        /// The smallest value allowed.
        min: u32,
        /// The largest value allowed.
        max: u32,
    },
    /// The number is out of range.
    OutOfRange {
        /// The key.
        key: &'static str,
        /// What stands there.
        value: Text,
        /// The smallest value allowed.
        min: u32,
        /// The largest value allowed.
        max: u32,
    },
}

impl Error {
    /// A fault of a model file.
    pub(crate) const fn model(place: Place, fault: Fault) -> Self {
        Error::Model { place, fault }
    }

    /// The kind of error, from which the errno follows.
    pub const fn class(&self) -> Class {
        match self {
            Error::Model { fault, .. } => fault.class(),
            Error::Config(ConfigFault::OutOfRange { .. }) | Error::Argument { .. } => Class::Range,
            Error::Config(_) | Error::Name(_) | Error::Buffer { .. } => Class::Invalid,
            Error::Interrupted => Class::Interrupted,
            Error::NoVector => Class::NoVector,
        }
    }
}

impl Fault {
    const fn class(&self) -> Class {
        match self {
            Fault::Truncated { .. }
            | Fault::Trailing { .. }
            | Fault::Magic
            | Fault::Checksum { .. } => Class::Corrupt,
            Fault::Version { .. } => Class::Version,
            Fault::Limit { .. } => Class::TooBig,
            Fault::Unsupported { .. } | Fault::OpType { .. } => Class::Unsupported,
            Fault::RowTooLarge { .. } | Fault::Scale { .. } | Fault::Signed { .. } => Class::Range,
            _ => Class::Invalid,
        }
    }
}
