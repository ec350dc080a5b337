// SPDX-License-Identifier: GPL-2.0

//! Checks the protobuf structure of an ONNX file and rewrites it before the ONNX crate reads it.
//!
//! The crate that decodes the messages is made for trusted speed: it believes lengths (and
//! allocates by them), follows nested graphs as deep as they go, takes a message that is cut short
//! for one that ends there, never ends when the last of packed integers goes beyond their block,
//! and does not read `dims` and `ints` in their packed form, which protobuf 3 writers use. So the file is walked here once, along the fields that the converter
//! needs, and written anew with exactly these: every length checked against its parent, packed
//! integers unpacked, nested graphs and documentation left out. What the crate then sees is short
//! of surprises and never deeper than [`Kind`] has levels.

/// Messages and strings that a file may hold; a dense network needs a few hundred.
const MAX_ITEMS: usize = 1 << 18;

/// The messages of ONNX that are followed. The names are those of `onnx.proto`.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
    StringEntry,
    OperatorSet,
}

/// What becomes of a field.
enum Action {
    Keep,
    Drop,
    Follow(Kind),
    /// Repeated varint, to be unpacked.
    Varints,
    /// Repeated 4-byte float, to be unpacked.
    Floats,
    /// Repeated element of so many bytes, kept as it is: these are the weights.
    Elements(usize),
    Refuse(&'static str),
}

/// The field numbers are those of the public ONNX schema.
fn action(kind: Kind, field: u64) -> Action {
    use Action::*;
    use Kind::*;
    match (kind, field) {
        (Model, 7) => Follow(Graph),
        (Model, 8) => Follow(OperatorSet),
        (Graph, 1) => Follow(Node),
        (Graph, 5) => Follow(Tensor),
        (Graph, 11 | 12) => Follow(ValueInfo),
        (Graph, 15) => Refuse("graph: sparse initializers are not supported"),
        (Node, 5) => Follow(Attribute),
        (Attribute, 5) => Follow(Tensor),
        (Attribute, 7) => Floats,
        (Attribute, 8) => Varints,
        (Tensor, 1 | 5 | 7) => Varints,
        (Tensor, 4) => Elements(4),
        (Tensor, 10) => Elements(8),
        (Tensor, 13) => Follow(StringEntry),
        (ValueInfo, 2) => Follow(Type),
        (Type, 1) => Follow(TensorType),
        (TensorType, 2) => Follow(Shape),
        (Shape, 1) => Follow(Dimension),
        (Model, 1)
        | (Node, 1..=4 | 7)
        | (Attribute, 1..=4 | 9 | 20)
        | (Tensor, 2 | 8 | 9 | 14)
        | (ValueInfo | TensorType, 1)
        | (Dimension | StringEntry | OperatorSet, 1 | 2) => Keep,
        _ => Drop,
    }
}

/// Rewrites an ONNX file so that the decoder can be let loose on it, or says what is wrong.
pub fn canonical(file: &[u8]) -> Result<Vec<u8>, String> {
    let mut walk = Walk { items: 0 };
    walk.message(Kind::Model, file)
}

struct Walk {
    items: usize,
}

impl Walk {
    fn message(&mut self, kind: Kind, bytes: &[u8]) -> Result<Vec<u8>, String> {
        self.items += 1;
        let mut out = Vec::new();
        let mut input = Wire(bytes);
        while !input.0.is_empty() {
            let tag = input.varint()?;
            let (field, wire) = (tag >> 3, tag & 7);
            if field == 0 {
                return Err("no ONNX file: a field has number 0".to_owned());
            }
            let value = input.value(wire)?;
            match action(kind, field) {
                Action::Drop => (),
                Action::Refuse(why) => return Err(why.to_owned()),
                Action::Keep => {
                    self.items += usize::from(wire == 2);
                    put_field(&mut out, tag, value);
                }
                Action::Elements(bytes) => {
                    let whole = match wire {
                        2 => value.len() % bytes == 0,
                        1 | 5 => value.len() == bytes,
                        _ => false,
                    };
                    if !whole {
                        return Err(format!(
                            "no ONNX file: torn elements in field {field} of a tensor"
                        ));
                    }
                    put_field(&mut out, tag, value);
                }
                Action::Varints | Action::Floats if !repeats(kind, field, wire) => {
                    return Err(format!("no ONNX file: field {field} has wire type {wire}"));
                }
                Action::Follow(child) => {
                    if wire != 2 {
                        return Err(format!("no ONNX file: field {field} should be a message"));
                    }
                    let message = self.message(child, value)?;
                    put_varint(&mut out, tag);
                    put_varint(&mut out, message.len() as u64);
                    out.extend_from_slice(&message);
                }
                Action::Varints => {
                    let mut packed = Wire(value);
                    while !packed.0.is_empty() {
                        put_varint(&mut out, field << 3);
                        put_varint(&mut out, packed.varint()?);
                        self.items += 1;
                    }
                }
                Action::Floats => {
                    let mut packed = Wire(value);
                    while !packed.0.is_empty() {
                        put_varint(&mut out, field << 3 | 5);
                        out.extend_from_slice(packed.take(4)?);
                    }
                }
            }
            if self.items > MAX_ITEMS {
                return Err(format!(
                    "more than {MAX_ITEMS} messages and names, no dense network needs that"
                ));
            }
        }
        Ok(out)
    }
}

/// Whether a repeated field may have this wire type: packed, or that of one element.
fn repeats(kind: Kind, field: u64, wire: u64) -> bool {
    wire == 2
        || wire
            == if matches!(action(kind, field), Action::Floats) {
                5
            } else {
                0
            }
}

fn put_field(out: &mut Vec<u8>, tag: u64, value: &[u8]) {
    put_varint(out, tag);
    if tag & 7 == 2 {
        put_varint(out, value.len() as u64);
    }
    out.extend_from_slice(value);
}

fn put_varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80); // CAST: the low 7 bits and the mark that more follow
        v >>= 7;
    }
    out.push(v as u8); // CAST: below 0x80
}

/// What is left of a message.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8], String> {
        let split = usize::try_from(len)
            .ok()
            .and_then(|n| self.0.split_at_checked(n));
        let (head, tail) = split.ok_or_else(|| {
            format!(
                "no ONNX file, or cut short: {len} bytes are announced, {} are left",
                self.0.len()
            )
        })?;
        self.0 = tail;
        Ok(head)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut v = 0u64;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.0.split_first() else {
                return Err("no ONNX file, or cut short inside a number".to_owned());
            };
            self.0 = rest;
            v |= u64::from(byte & 0x7f) << shift; // the tenth byte has one bit that counts
            if byte & 0x80 == 0 {
                return Ok(v);
            }
        }
        Err("no ONNX file: a number has more than ten bytes".to_owned())
    }

    /// The bytes of a value; those of a length-delimited one without their length.
    fn value(&mut self, wire: u64) -> Result<&'a [u8], String> {
        match wire {
            0 => {
                let before = self.0;
                self.varint()?;
                let used = before.len() - self.0.len();
                Ok(before.get(..used).unwrap_or_default())
            }
            1 => self.take(8),
            2 => {
                let len = self.varint()?;
                self.take(len)
            }
            5 => self.take(4),
            _ => Err(format!("no ONNX file: wire type {wire}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rten_onnx::onnx::ModelProto;

    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, number << 3 | 2);
        put_varint(&mut out, bytes.len() as u64);
        out.extend(bytes);
        out
    }

    #[test]
    fn packed_integers_and_floats_are_unpacked() {
        let tensor = field(1, &[0x80, 0x01, 0x03]);
        let attribute = [field(7, &1.5f32.to_le_bytes()), field(8, &[1, 2])].concat();
        let node = field(5, &attribute);
        let file = field(7, &[field(5, &tensor), field(1, &node)].concat());
        let model = ModelProto::parse_buf(&canonical(&file).unwrap()).unwrap();
        let graph = model.graph.unwrap();
        assert_eq!(graph.initializer[0].dims, [128, 3]);
        assert_eq!(graph.node[0].attribute[0].ints, [1, 2]);
        assert_eq!(graph.node[0].attribute[0].floats, [1.5]);
    }

    #[test]
    fn a_length_beyond_the_parent_is_refused() {
        for len in [3u64, 1 << 40, u64::MAX] {
            let mut inner = vec![0x0a]; // a node
            put_varint(&mut inner, len);
            inner.extend([0, 0]);
            let file = field(7, &inner);
            let why = canonical(&file).unwrap_err();
            assert!(
                why.contains(&format!("{len} bytes are announced, 2 are left")),
                "{why}"
            );
        }
    }

    #[test]
    fn torn_and_mistyped_numbers_are_refused() {
        let tensor = |bytes: &[u8]| canonical(&field(7, &field(5, bytes)));
        // The last integer of a block goes on behind it.
        for number in [1, 5, 7] {
            assert!(tensor(&field(number, &[1, 0x80]))
                .unwrap_err()
                .contains("inside a number"));
            let fixed = [&[(number << 3 | 5) as u8][..], &[0; 4]].concat();
            assert!(tensor(&fixed).unwrap_err().contains("wire type 5"));
        }
        for (number, bytes) in [(4, 4), (10, 8)] {
            assert!(tensor(&field(number, &vec![0; 3 * bytes])).is_ok());
            assert!(tensor(&field(number, &vec![0; 3 * bytes - 1]))
                .unwrap_err()
                .contains("torn"));
            assert!(tensor(&[(number << 3) as u8, 1])
                .unwrap_err()
                .contains("torn"));
        }
    }

    #[test]
    fn nesting_ends_at_attributes() {
        // Graphs inside attributes inside nodes inside graphs, 2000 levels deep.
        let mut graph = Vec::new();
        for _ in 0..2000 {
            graph = field(1, &field(5, &field(6, &graph)));
        }
        let file = field(7, &graph);
        let small = canonical(&file).unwrap();
        assert_eq!(small, field(7, &field(1, &field(5, &[]))));
    }

    #[test]
    fn a_flood_of_messages_is_refused() {
        let graph = field(1, &[]).repeat(MAX_ITEMS + 1);
        assert!(canonical(&field(7, &graph))
            .unwrap_err()
            .contains("more than"));
    }

    #[test]
    fn what_is_no_protobuf_is_refused() {
        assert!(canonical(&[0x00, 0x00]).unwrap_err().contains("number 0"));
        assert!(canonical(&[0x0b]).unwrap_err().contains("wire type 3"));
        assert!(canonical(&[0x08])
            .unwrap_err()
            .contains("cut short inside a number"));
        assert!(canonical(&[0x08; 1]).is_err());
        assert!(canonical(&[&[0x08][..], &[0xff; 10]].concat())
            .unwrap_err()
            .contains("ten bytes"));
        assert!(canonical(&[0x38, 0x01])
            .unwrap_err()
            .contains("should be a message"));
        assert!(canonical(&field(7, &field(15, &[])))
            .unwrap_err()
            .contains("sparse"));
    }
}
