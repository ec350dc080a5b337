// SPDX-License-Identifier: GPL-2.0

//! Constants of an ONNX graph as plain vectors.

use rten_onnx::onnx::{DataLocation, DataType, TensorProto};

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Constant {
    /// The name it has in the graph, for error lines.
    pub(crate) name: String,
    /// Lengths of the axes.
    pub(crate) dims: Vec<usize>,
    /// The type of its elements in the file.
    pub(crate) element: DataType,
    /// Its elements, the last axis running fastest.
    pub(crate) data: Data,
    /// The scales of what was quantised, and along which axis they are.
    pub(crate) scales: Option<(Vec<f64>, usize)>,
}

/// The elements of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    /// Weights.
    Float(Vec<f64>),
    /// Shapes and flags.
    Int(Vec<i64>),
}

impl Constant {
    /// Takes the elements out of `t`, or says why they cannot be taken.
    pub(crate) fn new(name: &str, t: &TensorProto) -> Result<Self, String> {
        let tensor = format!("tensor '{name}'");
        if t.data_location == Some(DataLocation::EXTERNAL) || !t.external_data.is_empty() {
            return Err(format!(
                "{tensor} is stored in another file, which is not supported"
            ));
        }
        let mut dims = Vec::with_capacity(t.dims.len());
        let mut count = 1usize;
        for d in &t.dims {
            let d =
                usize::try_from(*d).map_err(|_| format!("{tensor} has an axis of length {d}"))?;
            count = count
                .checked_mul(d)
                .ok_or_else(|| format!("{tensor} has a shape {:?} beyond all memory", t.dims))?;
            dims.push(d);
        }
        let data_type = t.data_type.unwrap_or(DataType(0));
        let raw = t.raw_data.as_ref().map(|cell| cell.borrow());
        let raw = raw.as_deref().map(Vec::as_slice);
        let data = match data_type {
            DataType::FLOAT => Data::Float(match raw {
                Some(raw) => elements(raw, |b| f64::from(f32::from_le_bytes(b))),
                None => t.float_data.iter().map(|v| f64::from(*v)).collect(),
            }),
            DataType::DOUBLE => Data::Float(match raw {
                Some(raw) => elements(raw, f64::from_le_bytes),
                None => t.double_data.clone(),
            }),
            DataType::INT64 => Data::Int(match raw {
                Some(raw) => elements(raw, i64::from_le_bytes),
                None => t.int64_data.clone(),
            }),
            DataType::INT32 => Data::Int(match raw {
                Some(raw) => elements(raw, |b| i64::from(i32::from_le_bytes(b))),
                None => t.int32_data.iter().map(|v| i64::from(*v)).collect(),
            }),
            DataType::INT8 => Data::Int(match raw {
                Some(raw) => elements(raw, |[b]: [u8; 1]| i64::from(b as i8)), // CAST: the bits
                None => t.int32_data.iter().map(|v| i64::from(*v)).collect(),
            }),
            DataType::UINT8 | DataType::BOOL => Data::Int(match raw {
                Some(raw) => elements(raw, |[b]: [u8; 1]| i64::from(b)),
                None => t.int32_data.iter().map(|v| i64::from(*v)).collect(),
            }),
            other => {
                return Err(format!(
                    "{tensor} has elements of type {other}, which are not supported"
                ))
            }
        };
        let constant = Self {
            name: name.to_owned(),
            dims,
            element: data_type,
            data,
            scales: None,
        };
        if constant.len() != count {
            let have = constant.len();
            return Err(format!(
                "{tensor} of shape {:?} needs {count} elements, has {have}",
                t.dims
            ));
        }
        Ok(constant)
    }

    /// A constant without axes or with one.
    pub(crate) fn of(name: &str, dims: Vec<usize>, data: Data) -> Self {
        Self {
            name: name.to_owned(),
            dims,
            element: match &data {
                Data::Float(_) => DataType::FLOAT,
                Data::Int(_) => DataType::INT64,
            },
            data,
            scales: None,
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        match &self.data {
            Data::Float(v) => v.len(),
            Data::Int(v) => v.len(),
        }
    }

    /// The elements of a constant that must be of the type `element`, as the values it meets are.
    pub(crate) fn floats(&self, element: DataType) -> Result<&[f64], String> {
        match &self.data {
            Data::Float(v) if self.element == element => Ok(v),
            _ => {
                let (name, have) = (&self.name, self.element);
                Err(format!(
                    "tensor '{name}' has elements of type {have}, the values it meets have {element}"
                ))
            }
        }
    }

    /// The elements of a constant that must be single precision.
    pub(crate) fn singles(&self) -> Result<&[f64], String> {
        match &self.data {
            Data::Float(v) if self.element == DataType::FLOAT => Ok(v),
            _ => Err(format!(
                "tensor '{}' has elements of type {} where FLOAT belongs",
                self.name, self.element
            )),
        }
    }

    /// The same, all of which must be finite.
    pub(crate) fn numbers(&self) -> Result<&[f64], String> {
        let all = self.singles()?;
        match all.iter().position(|v| !v.is_finite()) {
            Some(i) => Err(format!(
                "tensor '{}' has an element {i} that is no number",
                self.name
            )),
            None => Ok(all),
        }
    }

    /// The elements of a constant that must be integer.
    pub(crate) fn ints(&self) -> Result<&[i64], String> {
        match &self.data {
            Data::Int(v) => Ok(v),
            Data::Float(_) => Err(format!(
                "tensor '{}' has floats where integers belong",
                self.name
            )),
        }
    }

    /// Rows and columns of a constant that must be a matrix.
    pub(crate) fn matrix(&self) -> Result<(usize, usize), String> {
        match self.dims[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => Err(format!(
                "weights '{}' of shape {:?} are no matrix",
                self.name, self.dims
            )),
        }
    }

    /// The constant with its axes permuted; only matrices are taken.
    pub(crate) fn transposed(&self) -> Result<Self, String> {
        let (rows, cols) = self.matrix()?;
        let data = match &self.data {
            Data::Float(v) => Data::Float(transpose(v, rows, cols)),
            Data::Int(v) => Data::Int(transpose(v, rows, cols)),
        };
        let element = self.element;
        Ok(Self {
            element,
            ..Self::of(&self.name, vec![cols, rows], data)
        })
    }
}

/// The transpose of a matrix of `rows` by `cols`.
pub(crate) fn transpose<T: Copy>(v: &[T], rows: usize, cols: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(v.len());
    // Without elements one axis may still claim any length.
    let cols = if v.is_empty() { 0 } else { cols };
    for c in 0..cols {
        out.extend(v.iter().skip(c).step_by(cols.max(1)).take(rows));
    }
    out
}

fn elements<const N: usize, T>(raw: &[u8], one: impl Fn([u8; N]) -> T) -> Vec<T> {
    let mut chunks = raw.chunks_exact(N);
    let mut out: Vec<T> = chunks
        .by_ref()
        .filter_map(|chunk| chunk.first_chunk::<N>())
        .map(|b| one(*b))
        .collect();
    if !chunks.remainder().is_empty() {
        out.clear(); // a torn element: no count fits, so the caller refuses
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn tensor(ty: DataType, dims: &[i64], raw: &[u8]) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type: Some(ty),
            raw_data: Some(RefCell::new(raw.to_vec())),
            ..Default::default()
        }
    }

    #[test]
    fn raw_and_typed_elements_are_the_same() {
        let raw: Vec<u8> = [1.0f32, -2.5]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let a = Constant::new("w", &tensor(DataType::FLOAT, &[2], &raw)).unwrap();
        let mut t = tensor(DataType::FLOAT, &[2], &[]);
        t.raw_data = None;
        t.float_data = vec![1.0, -2.5];
        assert_eq!(a, Constant::new("w", &t).unwrap());
        assert_eq!(a.floats(DataType::FLOAT).unwrap(), [1.0, -2.5]);
        assert!(a.ints().is_err());
        assert!(a.floats(DataType::DOUBLE).is_err());
        let b = Constant::new("s", &tensor(DataType::INT64, &[1], &(-1i64).to_le_bytes())).unwrap();
        assert_eq!(b.ints().unwrap(), [-1]);
        let b = Constant::new("s", &tensor(DataType::INT32, &[1], &(-1i32).to_le_bytes())).unwrap();
        assert_eq!(b.ints().unwrap(), [-1]);
        let b = Constant::new("s", &tensor(DataType::BOOL, &[], &[1])).unwrap();
        assert_eq!(b.ints().unwrap(), [1]);
        let b = Constant::new("d", &tensor(DataType::DOUBLE, &[1], &0.1f64.to_le_bytes())).unwrap();
        assert_eq!(b.floats(DataType::DOUBLE).unwrap(), [0.1]);
    }

    #[test]
    fn shapes_that_do_not_fit_the_data_are_refused_by_name() {
        for (dims, why) in [
            (&[3i64][..], "needs 3 elements, has 2"),
            (&[1 << 40], "needs 1099511627776 elements"),
            (&[1 << 40, 1 << 40], "beyond all memory"),
            (&[-1], "length -1"),
        ] {
            let e = Constant::new("w", &tensor(DataType::FLOAT, dims, &[0; 8])).unwrap_err();
            assert!(e.contains("tensor 'w'") && e.contains(why), "{e}");
        }
        let e = Constant::new("w", &tensor(DataType::FLOAT, &[2], &[0; 9])).unwrap_err();
        assert!(e.contains("needs 2 elements, has 0"), "{e}");
        let e = Constant::new("w", &tensor(DataType::FLOAT16, &[1], &[0; 2])).unwrap_err();
        assert!(e.contains("FLOAT16"), "{e}");
        let mut t = tensor(DataType::FLOAT, &[0], &[]);
        t.data_location = Some(DataLocation::EXTERNAL);
        assert!(Constant::new("w", &t).unwrap_err().contains("another file"));
    }

    #[test]
    fn matrices_are_transposed() {
        assert_eq!(transpose(&[1, 2, 3, 4, 5, 6], 2, 3), [1, 4, 2, 5, 3, 6]);
        assert!(transpose::<i32>(&[], 0, usize::MAX).is_empty());
        let w = Constant::of("w", vec![2, 1], Data::Float(vec![1.0, 2.0]));
        assert_eq!(w.transposed().unwrap().dims, [1, 2]);
        assert!(Constant::of("w", vec![2], Data::Float(vec![1.0, 2.0]))
            .transposed()
            .is_err());
    }
}
