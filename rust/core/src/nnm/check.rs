// SPDX-License-Identifier: GPL-2.0

//! Checks of a model file: from bytes that may be anything to a [`Model`].
//!
//! The order is from the outside to the inside, so that the first error is the one that explains
//! the others: size, magic, version, checksum, header, tables, tensors, operations, cost, weights.
//! The time is bounded by the limits: one pass over the bytes for the checksum, one over the weights,
//! and about `ops^2 / 2` steps of a few ns for who writes what.

use crate::error::{Error, Fault, Place};

use super::bounds;
use super::crc::Crc32c;
use super::ops;
use super::record::{array, field, u32_at, Header, Op, Tensor, TensorKind};
use super::record::{AFTER_CRC, CRC_AT, OP_OUTPUT_AT};
use super::{
    name_of, record_at, Limits, Model, Pause, HEADER_BYTES, MAGIC, MAX_OPS, RECORD_BYTES, VERSION,
};

/// Checks a model file completely.
///
/// Afterwards every offset lies in the file, operations run in order, shapes fit each other, no sum
/// can overflow, and the cost is within `limits`. May be called where one may sleep for some ms: it
/// reads all bytes twice. The error tells the first thing that is wrong.
pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Model<'a>, Error> {
    parse_pausing(bytes, limits, Pause::NONE)
}

/// As [`parse`], calling `pause` at least once per MiB of 32-bit weights and once per operation; so
/// does [`Model::pack`] with the model that this gives.
pub fn parse_pausing<'a>(
    bytes: &'a [u8],
    limits: &Limits,
    pause: Pause<'a>,
) -> Result<Model<'a>, Error> {
    let header = check_header(bytes, limits).map_err(|fault| Error::model(Place::Header, fault))?;
    check_file(bytes, &header, pause)?;
    check_header_fields(bytes, &header, limits)
        .map_err(|fault| Error::model(Place::Header, fault))?;
    let name = name_of(bytes)?;
    let layout = check_tables(bytes, &header)?;
    let (input, output, activations) = check_tensors(bytes, &header, &layout)?;
    let mut model = Model {
        bytes,
        header,
        name,
        input,
        output,
        macs: 0,
        pause,
    };
    model.macs = check_ops(&model, limits, activations)?;
    bounds::check_weights(&model)?;
    Ok(model)
}

/// Bytes of a checksum between two pauses.
const PAUSE_BYTES: usize = 1 << 20;

/// The checksum that the file should carry.
pub(super) fn checksum(bytes: &[u8], pause: Pause<'_>) -> Result<u32, Error> {
    let before = bytes.get(..CRC_AT).unwrap_or(bytes);
    let after = bytes.get(AFTER_CRC..).unwrap_or(&[]);
    let mut crc = Crc32c::new()
        .update(before)
        .update(&[0; AFTER_CRC - CRC_AT]);
    for part in after.chunks(PAUSE_BYTES) {
        pause.check()?;
        crc = crc.update(part);
    }
    Ok(crc.finish())
}

/// Bytes `start..end` of the file.
#[derive(Copy, Clone)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    fn new(offset: u64, bytes: u64, file: u64) -> Result<Self, Fault> {
        match offset.checked_add(bytes) {
            Some(end) if end <= file => Ok(Span { start: offset, end }),
            _ => Err(Fault::OutOfFile {
                offset,
                bytes,
                file,
            }),
        }
    }

    fn overlaps(&self, other: &Span) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// The places that no data may lie on.
struct Layout {
    file: u64,
    taken: [(Place, Span); 3],
}

/// What must be known before anything else in the file can be believed.
fn check_header(bytes: &[u8], limits: &Limits) -> Result<Header, Fault> {
    let have = bytes.len() as u64;
    if have > limits.max_bytes {
        return Err(Fault::Limit {
            field: "file bytes",
            have,
            max: limits.max_bytes,
        });
    }
    let magic: &[u8] = bytes.get(..MAGIC.len()).unwrap_or(bytes);
    if !MAGIC.starts_with(magic) || bytes.is_empty() {
        return Err(Fault::Magic);
    }
    let Some(raw) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(Fault::Truncated {
            have,
            want: HEADER_BYTES as u64,
        });
    };
    let header = Header::decode(raw);
    let (major, minor) = VERSION;
    if header.major != major || header.minor > minor {
        return Err(Fault::Version {
            major: header.major,
            minor: header.minor,
        });
    }
    // CAST: 128.
    field(
        "header_bytes",
        header.header_bytes,
        HEADER_BYTES as u32,
        HEADER_BYTES as u32,
    )?;
    Ok(header)
}

fn check_file(bytes: &[u8], header: &Header, pause: Pause<'_>) -> Result<(), Error> {
    let (have, want) = (bytes.len() as u64, header.file_bytes);
    if have < want {
        return Err(Error::model(Place::File, Fault::Truncated { have, want }));
    }
    if have > want {
        return Err(Error::model(Place::File, Fault::Trailing { have, want }));
    }
    let (have, want) = (header.crc, checksum(bytes, pause)?);
    if have != want {
        return Err(Error::model(Place::File, Fault::Checksum { have, want }));
    }
    Ok(())
}

fn check_header_fields(bytes: &[u8], header: &Header, limits: &Limits) -> Result<(), Fault> {
    if header.flags != 0 {
        return Err(Fault::Unsupported {
            field: "flags",
            have: u64::from(header.flags),
        });
    }
    let max_ops = limits.max_ops.min(MAX_OPS);
    // Each operation brings its result and at most three constants, and there is the input.
    let max_tensors = max_ops.saturating_mul(4).saturating_add(1);
    for (name, have, max) in [
        ("op_count", header.ops, max_ops),
        ("tensor_count", header.tensors, max_tensors),
    ] {
        field(name, have, 1, u32::MAX)?;
        if have > max {
            return Err(Fault::Limit {
                field: name,
                have: u64::from(have),
                max: u64::from(max),
            });
        }
    }
    let last = header.tensors.saturating_sub(1);
    field("input tensor", header.input, 0, last)?;
    field("output tensor", header.output, 0, last)?;
    Header::check_reserved(&array(bytes, 0))
}

fn check_tables(bytes: &[u8], header: &Header) -> Result<Layout, Error> {
    let file = bytes.len() as u64;
    let table = |place, offset: u64, count: u32| -> Result<Span, Error> {
        if offset % super::ALIGN as u64 != 0 {
            return Err(Error::model(
                place,
                Fault::Unaligned {
                    field: "offset",
                    have: offset,
                },
            ));
        }
        let bytes = u64::from(count).saturating_mul(RECORD_BYTES as u64);
        Span::new(offset, bytes, file).map_err(|fault| Error::model(place, fault))
    };
    let head = Span {
        start: 0,
        end: HEADER_BYTES as u64,
    };
    let tensors = table(Place::TensorTable, header.tensor_table, header.tensors)?;
    let ops = table(Place::OpTable, header.op_table, header.ops)?;
    let overlap = |place, other| Err(Error::model(place, Fault::Overlap { other }));
    if tensors.overlaps(&head) {
        return overlap(Place::TensorTable, Place::Header);
    }
    if ops.overlaps(&head) {
        return overlap(Place::OpTable, Place::Header);
    }
    if ops.overlaps(&tensors) {
        return overlap(Place::OpTable, Place::TensorTable);
    }
    let taken = [
        (Place::Header, head),
        (Place::TensorTable, tensors),
        (Place::OpTable, ops),
    ];
    Ok(Layout { file, taken })
}

/// Checks all tensors. Gives the input, the output and the number of activations.
fn check_tensors(
    bytes: &[u8],
    header: &Header,
    layout: &Layout,
) -> Result<(Tensor, Tensor, u32), Error> {
    let mut activations = 0u32;
    let mut last: Option<(u32, u64)> = None;
    let (mut input, mut output) = (None, None);
    for i in 0..header.tensors {
        let at = |fault| Error::model(Place::Tensor(i), fault);
        let tensor = Tensor::decode(&record(bytes, header.tensor_table, i)).map_err(at)?;
        match tensor.kind {
            TensorKind::Activation => activations = activations.saturating_add(1),
            TensorKind::Constant => {
                let end = check_data(&tensor, layout, last).map_err(at)?;
                last = Some((i, end));
            }
        }
        if i == header.input {
            input = Some(tensor);
        }
        if i == header.output {
            output = Some(tensor);
        }
    }
    let activation = |operand, index, tensor: Option<Tensor>| match tensor {
        Some(tensor) if tensor.kind == TensorKind::Activation => Ok(tensor),
        _ => {
            let fault = Fault::Kind {
                operand,
                tensor: index,
                want: "an activation",
            };
            Err(Error::model(Place::Header, fault))
        }
    };
    let input = activation("input tensor", header.input, input)?;
    let output = activation("output tensor", header.output, output)?;
    if input.dtype != output.dtype {
        let fault = Fault::Type {
            operand: "output tensor",
            have: output.dtype.name(),
            want: input.dtype.name(),
        };
        return Err(Error::model(Place::Header, fault));
    }
    Ok((input, output, activations))
}

/// Checks where the data of a constant lie; gives their end.
fn check_data(tensor: &Tensor, layout: &Layout, last: Option<(u32, u64)>) -> Result<u64, Fault> {
    let offset = tensor.data_offset;
    if offset % super::ALIGN as u64 != 0 {
        return Err(Fault::Unaligned {
            field: "data_offset",
            have: offset,
        });
    }
    let span = Span::new(offset, tensor.data_bytes, layout.file)?;
    for (other, taken) in &layout.taken {
        if span.overlaps(taken) {
            return Err(Fault::Overlap { other: *other });
        }
    }
    match last {
        Some((other, end)) if span.start < end => Err(Fault::Order { other }),
        _ => Ok(span.end),
    }
}

/// Checks all operations. Gives the multiply-accumulates of all.
fn check_ops(model: &Model<'_>, limits: &Limits, activations: u32) -> Result<u64, Error> {
    let header = &model.header;
    let (mut macs, mut weight_bytes) = (0u64, 0u64);
    let mut activation_bytes = model.input.bytes();
    // Operations may share constants, but each gets its own copy in memory.
    let limit = |field, have, max| match have > max {
        true => Err(Error::model(Place::File, Fault::Limit { field, have, max })),
        false => Ok(()),
    };
    for i in 0..header.ops {
        let at = |fault| Error::model(Place::Op(i), fault);
        model.pause.check()?;
        let op = Op::decode(&record(model.bytes, header.op_table, i)).map_err(at)?;
        check_output(model, i, op.output).map_err(at)?;
        let cost = ops::check(model, i, &op).map_err(at)?;
        macs = macs.saturating_add(cost.macs);
        weight_bytes = weight_bytes.saturating_add(cost.weight_bytes);
        activation_bytes = activation_bytes.saturating_add(cost.activation_bytes);
        limit("multiply-accumulates", macs, limits.max_macs)?;
        limit("weight bytes", weight_bytes, limits.max_bytes)?;
        limit("activation bytes", activation_bytes, limits.max_bytes)?;
    }
    // Each operation writes another activation, so equal numbers mean that all are written.
    if activations != header.ops.saturating_add(1) {
        for i in (0..header.tensors).filter(|&i| i != header.input) {
            let is_activation = model
                .tensor(i)
                .is_some_and(|t| t.kind == TensorKind::Activation);
            if is_activation && writer_of(model, i, header.ops).is_none() {
                return Err(Error::model(Place::Tensor(i), Fault::NeverWritten));
            }
        }
    }
    if header.input == header.output {
        return Err(Error::model(
            Place::Tensor(header.output),
            Fault::NeverWritten,
        ));
    }
    Ok(macs)
}

/// The first operation before `end` that writes the tensor.
fn writer_of(model: &Model<'_>, tensor: u32, end: u32) -> Option<u32> {
    let output = |i| {
        let at = record_at(model.header.op_table, i)?.checked_add(OP_OUTPUT_AT)?;
        Some(u32_at(model.bytes, at))
    };
    (0..end).find(|&i| output(i) == Some(tensor))
}

/// A tensor that an operation names.
pub(super) fn operand(
    model: &Model<'_>,
    name: &'static str,
    index: u32,
    kind: TensorKind,
) -> Result<Tensor, Fault> {
    field(name, index, 0, model.header.tensors.saturating_sub(1))?;
    let want = match kind {
        TensorKind::Activation => "an activation",
        TensorKind::Constant => "a constant",
    };
    match model.tensor(index) {
        Some(tensor) if tensor.kind == kind => Ok(tensor),
        _ => Err(Fault::Kind {
            operand: name,
            tensor: index,
            want,
        }),
    }
}

fn check_output(model: &Model<'_>, op: u32, tensor: u32) -> Result<(), Fault> {
    operand(model, "output", tensor, TensorKind::Activation)?;
    if tensor == model.header.input {
        return Err(Fault::WritesInput { tensor });
    }
    match writer_of(model, tensor, op) {
        Some(writer) => Err(Fault::WrittenTwice { tensor, writer }),
        None => Ok(()),
    }
}

/// An activation that an operation reads: the input of the network, or written before.
pub(super) fn check_input(
    model: &Model<'_>,
    op: u32,
    name: &'static str,
    index: u32,
) -> Result<Tensor, Fault> {
    let tensor = operand(model, name, index, TensorKind::Activation)?;
    if index == model.header.input || writer_of(model, index, op).is_some() {
        return Ok(tensor);
    }
    match writer_of(model, index, model.header.ops) {
        Some(writer) => Err(Fault::Cycle {
            tensor: index,
            writer,
        }),
        None => Err(Fault::Kind {
            operand: name,
            tensor: index,
            want: "written by any op",
        }),
    }
}

fn record(bytes: &[u8], table: u64, index: u32) -> [u8; RECORD_BYTES] {
    // The tables were checked to lie in the file.
    array(bytes, record_at(table, index).unwrap_or(usize::MAX))
}
