// SPDX-License-Identifier: GPL-2.0

//! Reads NumPy's `.npy` files, format versions 1.0 to 3.0, of real numbers.
//!
//! The file is a magic, a version, the length of a header and the header, a Python dictionary with
//! the three keys `descr`, `fortran_order` and `shape`; then the elements without gaps. The general
//! readers bring a parser generator for Python literals along; these three keys need none.

/// An array of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Lengths of the axes; empty for a single number.
    pub shape: Vec<usize>,
    /// The elements, the last axis running fastest, whatever the order in the file.
    pub values: Vec<f64>,
}

const MAGIC: &[u8] = b"\x93NUMPY";
const MAX_HEADER: usize = 64 * 1024;
const MAX_RANK: usize = 32;

/// Whether `bytes` begin like a `.npy` file.
pub fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads an array, or says why not.
pub fn parse(bytes: &[u8]) -> Result<Array, String> {
    let rest = bytes
        .strip_prefix(MAGIC)
        .ok_or("no .npy file: the magic is missing")?;
    let (version, rest) = rest
        .split_first_chunk::<2>()
        .ok_or("cut short in the version")?;
    let (header_len, rest) = match version {
        [1, _] => {
            let (len, rest) = rest
                .split_first_chunk::<2>()
                .ok_or("cut short in the header")?;
            (usize::from(u16::from_le_bytes(*len)), rest)
        }
        [2 | 3, _] => {
            let (len, rest) = rest
                .split_first_chunk::<4>()
                .ok_or("cut short in the header")?;
            (u32::from_le_bytes(*len) as usize, rest)
        }
        [major, minor] => {
            return Err(format!(
                "version {major}.{minor} is not known, 1.0 to 3.0 are"
            ))
        }
    };
    if header_len > MAX_HEADER {
        return Err(format!(
            "a header of {header_len} bytes is longer than any of numbers"
        ));
    }
    let (header, data) = rest
        .split_at_checked(header_len)
        .ok_or("cut short in the header")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let header = Header::parse(header)?;
    let count = header
        .shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .ok_or("the shape has too many elements")?;
    if count.checked_mul(header.element.bytes) != Some(data.len()) {
        return Err(format!(
            "shape {:?} of {}-byte elements does not fit {} bytes of data",
            header.shape,
            header.element.bytes,
            data.len()
        ));
    }
    let mut values: Vec<f64> = data
        .chunks_exact(header.element.bytes)
        .map(|raw| header.element.value(raw))
        .collect();
    if header.fortran {
        values = row_major(&values, &header.shape);
    }
    Ok(Array {
        shape: header.shape,
        values,
    })
}

/// Puts the elements, of which the first axis runs fastest, into an order where the last one does.
fn row_major(values: &[f64], shape: &[usize]) -> Vec<f64> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1usize;
    for d in shape {
        strides.push(stride);
        stride = stride.saturating_mul(*d);
    }
    let mut index = vec![0usize; shape.len()];
    let mut out = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.push(values.get(at).copied().unwrap_or(f64::NAN));
        for (i, d) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *d {
                break;
            }
            *i = 0;
        }
    }
    out
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Element {
    kind: u8,
    bytes: usize,
    big_endian: bool,
}

impl Element {
    fn parse(descr: &str) -> Result<Self, String> {
        let unknown =
            || format!("elements of type '{descr}' are not read, only f4 f8 i1-i8 u1-u8 b1");
        let (&[order, kind], size) = descr
            .as_bytes()
            .split_first_chunk::<2>()
            .ok_or_else(unknown)?;
        let bytes = match size {
            b"1" => 1,
            b"2" => 2,
            b"4" => 4,
            b"8" => 8,
            _ => return Err(unknown()),
        };
        let known = match kind {
            b'f' => bytes >= 4,
            b'i' | b'u' => true,
            b'b' => bytes == 1,
            _ => false,
        };
        let big_endian = match order {
            b'<' => false,
            b'>' => true,
            b'|' if bytes == 1 => false,
            _ => return Err(unknown()),
        };
        if !known {
            return Err(unknown());
        }
        Ok(Self {
            kind,
            bytes,
            big_endian,
        })
    }

    fn value(self, raw: &[u8]) -> f64 {
        let mut le = [0u8; 8];
        for (i, to) in le.iter_mut().take(self.bytes).enumerate() {
            let from = if self.big_endian {
                self.bytes - 1 - i
            } else {
                i
            };
            *to = raw.get(from).copied().unwrap_or(0);
        }
        let bits = u64::from_le_bytes(le);
        // CAST: the low bytes are the element, the others zero.
        match (self.kind, self.bytes) {
            (b'f', 4) => f64::from(f32::from_bits(bits as u32)),
            (b'f', _) => f64::from_bits(bits),
            (b'i', 1) => f64::from(bits as u8 as i8),
            (b'i', 2) => f64::from(bits as u16 as i16),
            (b'i', 4) => f64::from(bits as u32 as i32),
            (b'i', _) => bits as i64 as f64,
            (b'b', _) => f64::from(u8::from(bits != 0)),
            _ => bits as f64,
        }
    }
}

#[derive(Debug)]
struct Header {
    element: Element,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &str) -> Result<Self, String> {
        let mut t = Text(text);
        let (mut element, mut fortran, mut shape) = (None, None, None);
        t.want('{')?;
        while !t.take('}') {
            let key = t.string()?;
            t.want(':')?;
            match key {
                "descr" => {
                    element = Some(Element::parse(
                        t.string()
                            .map_err(|_| "records are not read, only plain numbers")?,
                    )?)
                }
                "fortran_order" => fortran = Some(t.boolean()?),
                "shape" => shape = Some(t.tuple()?),
                _ => return Err(format!("the header has an unknown key '{key}'")),
            }
            if !t.take(',') {
                t.want('}')?;
                break;
            }
        }
        if !t.rest().is_empty() {
            return Err("the header goes on after its end".to_owned());
        }
        Ok(Self {
            element: element.ok_or("the header has no 'descr'")?,
            fortran: fortran.ok_or("the header has no 'fortran_order'")?,
            shape: shape.ok_or("the header has no 'shape'")?,
        })
    }
}

/// What is left of the header.
struct Text<'a>(&'a str);

impl<'a> Text<'a> {
    fn rest(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        self.0
    }

    fn take(&mut self, c: char) -> bool {
        match self.rest().strip_prefix(c) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn want(&mut self, c: char) -> Result<(), String> {
        if self.take(c) {
            Ok(())
        } else {
            Err(format!("the header lacks a '{c}'"))
        }
    }

    fn string(&mut self) -> Result<&'a str, String> {
        let quote = if self.take('\'') {
            '\''
        } else {
            self.want('"')?;
            '"'
        };
        let (string, rest) = self
            .0
            .split_once(quote)
            .ok_or("the header has an open string")?;
        self.0 = rest;
        Ok(string)
    }

    fn boolean(&mut self) -> Result<bool, String> {
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest().strip_prefix(word) {
                self.0 = rest;
                return Ok(value);
            }
        }
        Err("'fortran_order' is neither True nor False".to_owned())
    }

    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        let mut axes = Vec::new();
        self.want('(')?;
        while !self.take(')') {
            let rest = self.rest();
            let end = rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (digits, rest) = rest.split_at_checked(end).ok_or("the shape is malformed")?;
            axes.push(
                digits
                    .parse()
                    .map_err(|_| "the shape is no tuple of lengths")?,
            );
            if axes.len() > MAX_RANK {
                return Err(format!("the shape has more than {MAX_RANK} axes"));
            }
            self.0 = rest;
            if !self.take(',') {
                self.want(')')?;
                break;
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut f = MAGIC.to_vec();
        f.extend([version, 0]);
        if version == 1 {
            f.extend((header.len() as u16).to_le_bytes());
        } else {
            f.extend((header.len() as u32).to_le_bytes());
        }
        f.extend(header.as_bytes());
        f.extend(data);
        f
    }

    fn of(descr: &str, order: &str, shape: &str, data: &[u8]) -> Result<Array, String> {
        let header =
            format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}   \n");
        parse(&file(1, &header, data))
    }

    #[test]
    fn every_element_type_is_read_in_both_byte_orders() {
        let le: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let be: Vec<u8> = [1.5f32, -2.0]
            .iter()
            .flat_map(|v| v.to_be_bytes())
            .collect();
        assert_eq!(of("<f4", "False", "(2,)", &le).unwrap().values, [1.5, -2.0]);
        assert_eq!(of(">f4", "False", "(2,)", &be).unwrap().values, [1.5, -2.0]);
        assert_eq!(
            of("<f8", "False", "()", &0.1f64.to_le_bytes())
                .unwrap()
                .values,
            [0.1]
        );
        assert_eq!(
            of("<i8", "False", "(1,)", &(-3i64).to_le_bytes())
                .unwrap()
                .values,
            [-3.0]
        );
        assert_eq!(
            of(">i2", "False", "(1,)", &(-3i16).to_be_bytes())
                .unwrap()
                .values,
            [-3.0]
        );
        assert_eq!(
            of("<i4", "False", "(1,)", &(-3i32).to_le_bytes())
                .unwrap()
                .values,
            [-3.0]
        );
        assert_eq!(of("|i1", "False", "(1,)", &[0xfd]).unwrap().values, [-3.0]);
        assert_eq!(of("|u1", "False", "(1,)", &[0xfd]).unwrap().values, [253.0]);
        assert_eq!(
            of("|b1", "False", "(2,)", &[0, 7]).unwrap().values,
            [0.0, 1.0]
        );
        for bad in ["<f2", "<c8", "|O", "<U3", "|f4", "=f4", "<b2", "", "<f16"] {
            assert!(
                of(bad, "False", "(1,)", &[0; 16])
                    .unwrap_err()
                    .contains("type"),
                "{bad}"
            );
        }
    }

    #[test]
    fn column_major_files_are_turned() {
        let data = [1u8, 4, 2, 5, 3, 6];
        let a = of("|u1", "True", "(2, 3)", &data).unwrap();
        assert_eq!(a.shape, [2, 3]);
        assert_eq!(a.values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let a = of("|u1", "True", "(1, 3, 2)", &data).unwrap();
        assert_eq!(a.values, [1.0, 5.0, 4.0, 3.0, 2.0, 6.0]);
    }

    #[test]
    fn later_versions_and_key_orders_are_read() {
        let header = "{\"shape\": (1,), 'fortran_order':False,'descr':'|u1'}";
        for version in [2, 3] {
            assert_eq!(parse(&file(version, header, &[9])).unwrap().values, [9.0]);
        }
        assert!(parse(&file(4, header, &[9])).unwrap_err().contains("4.0"));
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused_before_anything_is_allocated() {
        for shape in [
            "(18446744073709551615,)",
            "(1099511627776,)",
            "(4294967296, 4294967296)",
            "(3,)",
        ] {
            assert!(of("|u1", "False", shape, &[0; 2]).is_err(), "{shape}");
        }
        assert!(of("|u1", "False", "(99999999999999999999,)", &[]).is_err());
        assert_eq!(
            of("|u1", "False", "(0, 1099511627776)", &[])
                .unwrap()
                .values
                .len(),
            0
        );
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_an_array() {
        let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }\n";
        let whole = file(1, header, &[1; 8]);
        for n in 0..whole.len() {
            assert!(parse(whole.get(..n).unwrap()).is_err(), "{n}");
        }
        for i in 0..whole.len() {
            for v in 0..=255 {
                let mut changed = whole.clone();
                *changed.get_mut(i).unwrap() = v;
                let _ = parse(&changed);
            }
        }
    }
}
