// SPDX-License-Identifier: GPL-2.0

//! Reads `.npy` files: version 1.0, C order, little-endian `f32` or `i64`.

use std::fs;
use std::path::Path;

/// An array: its shape, and its elements in C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// Sizes of the dimensions, slowest first.
    pub shape: Vec<usize>,
    /// All elements.
    pub values: Vec<T>,
}

impl<T> Array<T> {
    /// The rows of a two-dimensional array.
    pub fn rows(&self) -> impl Iterator<Item = &[T]> {
        self.values
            .chunks_exact(self.shape.get(1).copied().unwrap_or(1).max(1))
    }
}

/// An element type that files hold.
pub trait Element: Sized {
    /// How numpy calls it.
    const DESCR: &'static str;
    /// Its size in a file.
    const BYTES: usize;
    /// Reads it from `BYTES` bytes.
    fn read(bytes: &[u8]) -> Option<Self>;
}

impl Element for f32 {
    const DESCR: &'static str = "<f4";
    const BYTES: usize = 4;
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(f32::from_le_bytes(bytes.try_into().ok()?))
    }
}

impl Element for i64 {
    const DESCR: &'static str = "<i8";
    const BYTES: usize = 8;
    fn read(bytes: &[u8]) -> Option<Self> {
        Some(i64::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Reads the file at `path`; an error says which file and why.
pub fn read<T: Element>(path: &Path) -> Result<Array<T>, String> {
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&bytes).map_err(|why| format!("{}: {why}", path.display()))
}

/// Reads an array from the bytes of a file.
pub fn parse<T: Element>(bytes: &[u8]) -> Result<Array<T>, String> {
    let rest = bytes
        .strip_prefix(b"\x93NUMPY\x01\x00")
        .ok_or("not a .npy file of version 1.0")?;
    let (len, rest) = rest.split_first_chunk::<2>().ok_or("ends in the header")?;
    let (header, data) = rest
        .split_at_checked(usize::from(u16::from_le_bytes(*len)))
        .ok_or("ends in the header")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let value = |key: &str| header.split_once(key).map(|(_, v)| v.trim_start());
    let descr = value("'descr':")
        .and_then(|v| v.split('\'').nth(1))
        .ok_or("no descr in the header")?;
    if descr != T::DESCR {
        return Err(format!("has elements {descr}, expected {}", T::DESCR));
    }
    if !value("'fortran_order':").is_some_and(|v| v.starts_with("False")) {
        return Err("is not in C order".into());
    }
    let shape = value("'shape':")
        .and_then(|v| v.strip_prefix('(')?.split_once(')'))
        .ok_or("no shape in the header")?;
    let dims = shape.0.split(',').map(str::trim).filter(|d| !d.is_empty());
    let shape = dims
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()
        .map_err(|e| format!("shape: {e}"))?;
    let count = shape
        .iter()
        .try_fold(1usize, |n, d| n.checked_mul(*d))
        .ok_or("shape: too large")?;
    if Some(data.len()) != count.checked_mul(T::BYTES) {
        return Err(format!(
            "has {} bytes of data, expected {count} elements of {}",
            data.len(),
            T::BYTES
        ));
    }
    let values = data
        .chunks_exact(T::BYTES)
        .map(T::read)
        .collect::<Option<Vec<T>>>()
        .ok_or("bad element")?;
    Ok(Array { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend_from_slice(&u16::try_from(header.len()).unwrap().to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn reads_what_numpy_writes() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }   \n";
        let data = [1.5f32.to_le_bytes(), (-2f32).to_le_bytes()].concat();
        let got = parse::<f32>(&file(header, &data)).unwrap();
        assert_eq!(
            got,
            Array {
                shape: vec![2, 1],
                values: vec![1.5, -2.0]
            }
        );
        assert_eq!(got.rows().collect::<Vec<_>>(), [&[1.5], &[-2.0]]);
        let one = parse::<i64>(&file(
            "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }\n",
            &7i64.to_le_bytes(),
        ));
        assert_eq!(
            one.unwrap(),
            Array {
                shape: vec![1],
                values: vec![7]
            }
        );
    }

    #[test]
    fn says_why_a_file_is_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
        for (bytes, why) in [
            (b"PK".to_vec(), "not a .npy"),
            (file(header, &[])[..20].to_vec(), "ends in the header"),
            (file(header, &[0; 3]), "3 bytes of data"),
            (file(&header.replace("<f4", "<f8"), &[0; 8]), "<f8"),
            (file(&header.replace("False", "True"), &[0; 4]), "C order"),
            (
                file(
                    &header.replace("(1,)", "(9999999999,9999999999,9)"),
                    &[0; 4],
                ),
                "too large",
            ),
        ] {
            let got = parse::<f32>(&bytes).unwrap_err();
            assert!(got.contains(why), "{got:?} does not say {why:?}");
        }
    }
}
