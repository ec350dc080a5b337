// SPDX-License-Identifier: GPL-2.0

//! What can be wrong, precisely enough for one clear line to the user.
//!
//! An [`Error`] is a small value that carries which field is wrong, what stands there and what is
//! allowed. Its [`Display`](fmt::Display) form is the line that callers see; it never has more than
//! [`MAX_LINE`] bytes, whatever a hostile file or setting holds. Its [`Class`] becomes the errno.

use core::fmt;

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
    /// The weights of a row are so large that some input would overflow the 64-bit sum.
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

/// The beginning of some bytes of the user, safe to print: at most 24, each a graphic ASCII
/// character or `?`; a longer text ends in `...`.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Text {
    bytes: [u8; Text::MAX],
    len: u8,
    cut: bool,
}

impl Text {
    const MAX: usize = 24;

    /// Takes the beginning of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut text = Text {
            bytes: [0; Text::MAX],
            len: 0,
            cut: bytes.len() > Text::MAX,
        };
        for (to, &from) in text.bytes.iter_mut().zip(bytes) {
            *to = if from.is_ascii_graphic() { from } else { b'?' };
            text.len = text.len.saturating_add(1);
        }
        text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or(&[]);
        f.write_str(core::str::from_utf8(bytes).unwrap_or("?"))?;
        f.write_str(if self.cut { "..." } else { "" })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
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
            Fault::Unsupported { .. } => Class::Unsupported,
            Fault::RowTooLarge { .. } => Class::Range,
            _ => Class::Invalid,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Model { place, fault } => write!(f, "model: {place}: {fault}"),
            Error::Name(fault) => write!(f, "name: {fault}"),
            Error::Config(fault) => write!(f, "config: {fault}"),
            Error::Buffer { buffer, have, want } => write!(f, "{buffer}: {have}, must be {want}"),
            Error::Argument {
                name,
                have,
                min,
                max,
            } => {
                write!(f, "{name}: {have} is out of range {min}..={max}")
            }
            Error::Interrupted => f.write_str("predict: interrupted by a signal"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => f.write_str("file"),
            Place::Header => f.write_str("header"),
            Place::TensorTable => f.write_str("tensor table"),
            Place::OpTable => f.write_str("op table"),
            Place::Tensor(i) => write!(f, "tensor {i}"),
            Place::Op(i) => write!(f, "op {i}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Truncated { have, want } => write!(f, "truncated: {have} bytes of {want}"),
            Fault::Trailing { have, want } => {
                write!(f, "{have} bytes, but should end after {want}")
            }
            Fault::Magic => f.write_str("not a .nnm model file (wrong magic)"),
            Fault::Version { major, minor } => {
                write!(
                    f,
                    "version {major}.{minor} is not known, this build reads 1.0"
                )
            }
            Fault::Checksum { have, want } => {
                write!(
                    f,
                    "checksum is {have:#010x}, but the content has {want:#010x} (damaged)"
                )
            }
            Fault::Field {
                field,
                have,
                min,
                max,
            } if min == max => {
                write!(f, "{field} is {have}, must be {min}")
            }
            Fault::Field {
                field,
                have,
                min,
                max,
            } => {
                write!(f, "{field} is {have}, allowed is {min}..={max}")
            }
            Fault::Reserved { offset } => write!(f, "reserved byte {offset} is not 0"),
            Fault::Limit { field, have, max } => {
                write!(f, "{field}: {have}, at most {max} allowed")
            }
            Fault::Unsupported { field, have } => write!(f, "{field} {have} is not supported"),
            Fault::Unaligned { field, have } => {
                write!(f, "{field} is {have}, must be a multiple of 64")
            }
            Fault::OutOfFile {
                offset,
                bytes,
                file,
            } => {
                write!(
                    f,
                    "{bytes} bytes at offset {offset} do not lie within the file of {file}"
                )
            }
            Fault::Overlap { other } => write!(f, "lies on bytes of the {other}"),
            Fault::Order { other } => {
                write!(f, "data overlaps or lies before the data of tensor {other}")
            }
            Fault::DataBytes { have, want } => {
                write!(f, "data_bytes is {have}, but the shape has {want}")
            }
            Fault::Kind {
                operand,
                tensor,
                want,
            } => {
                write!(f, "{operand} is tensor {tensor}, which is not {want}")
            }
            Fault::Shape {
                operand,
                dim,
                have,
                want,
            } => {
                write!(f, "{operand}: dimension {dim} is {have}, must be {want}")
            }
            Fault::Rank {
                operand,
                have,
                want,
            } => {
                write!(f, "{operand} has {have} dimensions, must have {want}")
            }
            Fault::Cycle { tensor, writer } => {
                write!(
                    f,
                    "reads tensor {tensor}, which is first written by op {writer} (cycle)"
                )
            }
            Fault::WrittenTwice { tensor, writer } => {
                write!(f, "writes tensor {tensor}, which op {writer} has written")
            }
            Fault::WritesInput { tensor } => {
                write!(
                    f,
                    "writes tensor {tensor}, which is the input of the network"
                )
            }
            Fault::NeverWritten => f.write_str("is written by no op"),
            Fault::RowTooLarge { row } => {
                write!(
                    f,
                    "weights of row {row} are too large: an input could overflow the sum"
                )
            }
            Fault::Mismatch => f.write_str("the plan is not one of this model"),
        }
    }
}

impl fmt::Display for NameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameFault::Empty => f.write_str("is empty"),
            NameFault::TooLong => f.write_str("is too long, at most 31 bytes allowed"),
            NameFault::Byte { at, byte } => {
                write!(f, "byte {at} is {byte:#04x}, allowed is A-Z a-z 0-9 _ . -")?;
                f.write_str(if *at == 0 { ", not . or - first" } else { "" })
            }
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigFault::Empty => f.write_str("empty line, expected \"key value\""),
            ConfigFault::UnknownKey { key } => write!(f, "unknown key \"{key}\""),
            ConfigFault::NoValue { key, allowed } => {
                write!(f, "{key}: value is missing, allowed is {allowed}")
            }
            ConfigFault::Extra { key, text } => {
                write!(f, "{key}: \"{text}\" after the value is too much")
            }
            ConfigFault::Word {
                key,
                value,
                allowed,
            } => {
                write!(f, "{key}: \"{value}\" is not one of {allowed}")
            }
            ConfigFault::NotANumber {
                key,
                value,
                min,
                max,
            } => {
                write!(f, "{key}: \"{value}\" is not a number in {min}..={max}")
            }
            ConfigFault::OutOfRange {
                key,
                value,
                min,
                max,
            } => {
                write!(f, "{key}: {value} is out of range {min}..={max}")
            }
        }
    }
}
