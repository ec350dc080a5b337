// SPDX-License-Identifier: GPL-2.0

//! What goes into a network and comes out of it: numbers in a table, elements in memory.

use neural_core::fixed;
use neural_core::nnm::{DType, Tensor};
use serde_json::{json, Value};

use crate::error::{Error, Result};
use crate::table::{from_q16, Table};
use crate::uapi;

/// How a number is an element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements {
    /// 32 bits, Q16.16.
    Q16,
    /// 8-bit codes: number = scale * (code - zero).
    I8 {
        /// What a step of the code is worth.
        scale: f32,
        /// The code of 0.
        zero: i32,
    },
    /// 16-bit codes: number = scale * code.
    I16 {
        /// What a step of the code is worth.
        scale: f32,
    },
    /// Floating point of 32 bits.
    F32,
}

/// A tensor at the end of a network or between its operations.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its sizes.
    pub shape: Vec<u32>,
    /// Its elements.
    pub elements: Elements,
}

impl Port {
    /// A tensor of a model file; only those that are computed have elements such as these.
    pub fn new(tensor: &Tensor) -> Result<Self> {
        let elements = match tensor.dtype {
            DType::Q16 => Elements::Q16,
            DType::I8 => Elements::I8 {
                scale: f32::from_bits(tensor.scale_bits),
                zero: tensor.zero_point,
            },
            DType::I16 => Elements::I16 {
                scale: f32::from_bits(tensor.scale_bits),
            },
            DType::F32 => Elements::F32,
            other => {
                let why = format!("has elements of type {}", other.name());
                return Err(Error::refused("model", why));
            }
        };
        let used = tensor.dims.iter().take_while(|d| **d > 0);
        Ok(Self {
            shape: used.copied().collect(),
            elements,
        })
    }

    /// An input or an output as the kernel describes it, without its shape.
    pub fn loaded(dtype: u32, count: u32, scale: u32, zero: i32) -> Result<Self> {
        let elements = match dtype {
            uapi::DTYPE_Q16 => Elements::Q16,
            uapi::DTYPE_I8 => Elements::I8 {
                scale: f32::from_bits(scale),
                zero,
            },
            uapi::DTYPE_I16 => Elements::I16 {
                scale: f32::from_bits(scale),
            },
            uapi::DTYPE_F32 => Elements::F32,
            other => {
                let why = format!("{other} is not known to this program");
                return Err(Error::refused("type of elements", why));
            }
        };
        Ok(Self {
            shape: vec![count],
            elements,
        })
    }

    /// How many elements it has.
    pub fn count(&self) -> usize {
        self.shape.iter().map(|d| *d as usize).product() // checked when the file was
    }

    /// Bytes of all elements.
    pub fn bytes(&self) -> usize {
        match self.elements {
            Elements::I8 { .. } => self.count(),
            Elements::I16 { .. } => self.count().saturating_mul(2),
            Elements::Q16 | Elements::F32 => self.count().saturating_mul(4),
        }
    }

    /// Type and sizes, as `i8[49,10]`.
    pub fn outline(&self) -> String {
        let sizes: Vec<String> = self.shape.iter().map(u32::to_string).collect();
        format!("{}[{}]", self.elements.name(), sizes.join(","))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let mut value = json!({ "dtype": self.elements.name(), "shape": self.shape });
        if let (Elements::I8 { scale, zero }, Some(map)) = (self.elements, value.as_object_mut()) {
            map.insert("scale".to_owned(), json!(scale));
            map.insert("zero_point".to_owned(), json!(zero));
        }
        if let (Elements::I16 { scale }, Some(map)) = (self.elements, value.as_object_mut()) {
            map.insert("scale".to_owned(), json!(scale));
        }
        value
    }

    /// The elements of samples; `raw` ones are codes already. What does not fit is refused by its
    /// row and column, but numbers beyond the range of codes become the last code.
    pub fn encode(&self, samples: &Table, raw: bool) -> Result<Vec<u8>> {
        match self.elements {
            Elements::Q16 => {
                let q16 = samples.quantise()?;
                Ok(q16.iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            Elements::I8 { .. } if raw => samples.map("no code of -128 to 127", |v| {
                // CAST: checked.
                (v.fract() == 0.0 && (-128.0..=127.0).contains(&v)).then_some([v as i8 as u8])
            }),
            Elements::I8 { scale, zero } => samples.map("no number", |v| {
                // CAST: the nearest float32; limited to codes, which it saturates to.
                let code = ((v as f32 / scale).round() as i32).saturating_add(zero);
                (!v.is_nan()).then_some([code.clamp(-128, 127) as i8 as u8])
            }),
            Elements::I16 { scale } => samples.map("no number", |v| {
                // CAST: the nearest float32; limited to codes.
                let code = (v as f32 / scale).round().clamp(-32768.0, 32767.0) as i16;
                (!v.is_nan()).then_some(code.to_le_bytes())
            }),
            // CAST: the nearest.
            Elements::F32 => samples.map("no number", |v| Some((v as f32).to_le_bytes())),
        }
    }

    /// The numbers that elements stand for; the codes themselves if `raw`.
    pub fn decode(&self, bytes: &[u8], raw: bool) -> Vec<f64> {
        match self.elements {
            Elements::Q16 => fixed::elements(bytes).map(from_q16).collect(),
            Elements::I8 { scale, zero } => {
                // CAST: the code.
                let codes = bytes.iter().map(|code| i32::from(*code as i8));
                if raw {
                    codes.map(f64::from).collect()
                } else {
                    let number = |code| f64::from(scale * (code - zero) as f32); // CAST: 9 bits
                    codes.map(number).collect()
                }
            }
            Elements::I16 { scale } => {
                let number = |code: i16| f64::from(scale * f32::from(code));
                neural_core::int16::elements(bytes).map(number).collect()
            }
            // CAST: the same bits.
            Elements::F32 => fixed::elements(bytes)
                .map(|bits| f64::from(f32::from_bits(bits as u32)))
                .collect(),
        }
    }
}

impl Elements {
    /// The name of the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q16 => DType::Q16.name(),
            Self::I8 { .. } => DType::I8.name(),
            Self::I16 { .. } => DType::I16.name(),
            Self::F32 => DType::F32.name(),
        }
    }

    /// Scale and zero point for a line, empty for types without.
    pub fn codes(self) -> String {
        match self {
            Self::I8 { scale, zero } => format!(", scale {scale:.6e}, zero point {zero}"),
            Self::I16 { scale } => format!(", scale {scale:.6e}"),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODES: Port = Port {
        shape: Vec::new(),
        elements: Elements::I8 {
            scale: 0.5,
            zero: -3,
        },
    };

    fn table(text: &str) -> Table {
        Table::parse("t.csv", text.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_become_the_nearest_code_and_saturate() {
        let t = table("0,0.5,0.26,-0.25,0.25,1e9,-1e9,inf\n");
        let codes: Vec<i8> = CODES
            .encode(&t, false)
            .unwrap()
            .iter()
            .map(|c| *c as i8)
            .collect();
        assert_eq!(codes, [-3, -2, -2, -4, -2, 127, -128, 127]);
        let e = CODES
            .encode(&table("1,nan\n"), false)
            .unwrap_err()
            .to_string();
        assert_eq!(e, "t.csv: row 1 (line 1), column 2: NaN is no number");
        assert_eq!(CODES.decode(&[253, 127], false), [0.0, 65.0]);
    }

    #[test]
    fn numbers_become_16_bit_codes_and_saturate() {
        let port = Port {
            elements: Elements::I16 { scale: 0.25 },
            ..CODES
        };
        let bytes = port
            .encode(&table("0,0.26,-0.4,1e9,-1e9\n"), false)
            .unwrap();
        assert_eq!(bytes, [0, 0, 1, 0, 254, 255, 255, 127, 0, 128]);
        assert_eq!(port.decode(&[4, 0, 254, 255], false), [1.0, -0.5]);
        assert!(port.encode(&table("nan\n"), false).is_err());
    }

    #[test]
    fn raw_codes_are_taken_as_they_are() {
        let codes = CODES.encode(&table("-128,127,0\n"), true).unwrap();
        assert_eq!(codes, [128, 127, 0]);
        assert_eq!(CODES.decode(&codes, true), [-128.0, 127.0, 0.0]);
        for bad in ["128\n", "-129\n", "0.5\n", "nan\n"] {
            let e = CODES.encode(&table(bad), true).unwrap_err().to_string();
            assert!(e.ends_with("is no code of -128 to 127"), "{e}");
        }
    }
}
