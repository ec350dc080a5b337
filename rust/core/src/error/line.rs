// SPDX-License-Identifier: GPL-2.0

//! The one line that the user sees for each error.

use core::fmt;

use super::{ConfigFault, Error, Fault, NameFault, Place};

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
            Error::NoVector => {
                f.write_str("predict: single precision needs vector code, which cannot run here")
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
                    "version {major}.{minor} is not known, this build reads 1.0 and 1.1"
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
            Fault::Signed {
                field,
                have,
                min,
                max,
            } => {
                write!(f, "{field} is {have}, allowed is {min}..={max}")
            }
            Fault::Scale { bits } => {
                write!(f, "scale {bits:#010x} is not a positive normal number")
            }
            Fault::Type {
                operand,
                have,
                want,
            } => {
                write!(f, "{operand} has elements of {have}, must have {want}")
            }
            Fault::OpType { op, have } => write!(f, "{op} of {have} is not supported"),
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
