// SPDX-License-Identifier: GPL-2.0

//! Nodes whose outputs are known: shapes, what is computed of them, and constants in other forms.

use super::value::product;
use super::{Done, Importer, Item};
use rten_onnx::onnx::DataType;

use crate::onnx::node::Node;
use crate::onnx::shape::axis_of;
use crate::onnx::tensor::{Constant, Data};

/// The elements in another order.
fn permuted<T: Copy>(values: &[T], places: &[usize]) -> Vec<T> {
    places
        .iter()
        .filter_map(|at| values.get(*at).copied())
        .collect()
}

fn map(data: &Data, places: &[usize]) -> Data {
    match data {
        Data::Float(v) => Data::Float(permuted(v, places)),
        Data::Int(v) => Data::Int(permuted(v, places)),
    }
}

/// For each element of a tensor with its axes in the order `perm`, where it was.
fn transposed(dims: &[usize], perm: &[usize]) -> Vec<usize> {
    let mut steps = vec![1; dims.len()];
    let mut size = 1;
    for (step, d) in steps.iter_mut().zip(dims).rev() {
        *step = size;
        size *= d;
    }
    let mut places = vec![0];
    for axis in perm {
        let (d, step) = (dims.get(*axis), steps.get(*axis));
        let (d, step) = (d.copied().unwrap_or(1), step.copied().unwrap_or(0));
        let next = places
            .iter()
            .flat_map(|at| (0..d).map(move |i| at + i * step));
        places = next.collect();
    }
    places
}

/// The permutation of a node: checked, all axes turned around without one.
pub(super) fn permutation(node: Node<'_>, rank: usize) -> Done<Vec<usize>> {
    let Some(perm) = node.ints("perm") else {
        return Ok((0..rank).rev().collect());
    };
    let axes: Vec<usize> = perm
        .iter()
        .filter_map(|a| usize::try_from(*a).ok())
        .collect();
    let complete = (0..rank).all(|a| axes.contains(&a));
    if axes.len() != rank || perm.len() != rank || !complete {
        return Err(format!("permutation {perm:?} is not one of {rank} axes"));
    }
    Ok(axes)
}

/// What ONNX Reshape makes of a shape.
pub(super) fn reshape(from: &[usize], target: &[i64], zero_is_zero: bool) -> Done<Vec<usize>> {
    let refused = || format!("cannot reshape {from:?} to {target:?}");
    let mut to = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, t) in target.iter().enumerate() {
        to.push(match t {
            0 if !zero_is_zero => from.get(i).copied().ok_or_else(refused)?,
            -1 if open.is_none() => {
                open = Some(i);
                1
            }
            t => usize::try_from(*t).map_err(|_| refused())?,
        });
    }
    let (all, others) = (product(from), product(&to));
    if let Some(open) = open.and_then(|i| to.get_mut(i)) {
        *open = all.checked_div(others).ok_or_else(refused)?;
    }
    if product(&to) != all || all == 0 {
        return Err(refused());
    }
    Ok(to)
}

/// The shape that Reshape, Flatten, Squeeze or Unsqueeze makes of another.
pub(super) fn shaped(node: Node<'_>, from: &[usize], given: Option<&Constant>) -> Done<Vec<usize>> {
    let axes = |rank: usize| -> Done<Option<Vec<usize>>> {
        let listed = match given {
            Some(c) => Some(c.ints()?),
            None => node.ints("axes"),
        };
        let axes = listed.map(|l| {
            l.iter()
                .map(|a| axis_of(*a, rank, false))
                .collect::<Done<_>>()
        });
        axes.transpose()
    };
    match node.op() {
        "Reshape" => {
            let target = given.ok_or("its shape is missing")?;
            reshape(from, target.ints()?, node.flag("allowzero")?)
        }
        "Flatten" => {
            let at = axis_of(node.int("axis", 1)?, from.len(), true)?;
            let (left, right) = from.split_at_checked(at).unwrap_or((from, &[]));
            Ok(vec![product(left), product(right)])
        }
        "Squeeze" => {
            let axes = axes(from.len())?;
            let gone = |i: usize, d: usize| match &axes {
                Some(axes) => axes.contains(&i),
                None => d == 1,
            };
            let kept = from.iter().enumerate().filter(|(i, d)| !gone(*i, **d));
            let to: Vec<usize> = kept.map(|(_, d)| *d).collect();
            match product(&to) == product(from) {
                true => Ok(to),
                false => Err(format!(
                    "squeezes axes {axes:?} of {from:?}, which are not 1"
                )),
            }
        }
        _ => {
            let count = match given {
                Some(c) => c.len(),
                None => node.ints("axes").map_or(0, <[i64]>::len),
            };
            let axes = axes(from.len() + count)?.unwrap_or_default();
            let mut rest = from.iter().copied();
            let to = (0..from.len() + count).map(|i| match axes.contains(&i) {
                true => 1,
                false => rest.next().unwrap_or(1),
            });
            Ok(to.collect())
        }
    }
}

/// Ints as a vector.
fn vector(name: &str, values: Vec<i64>) -> Constant {
    Constant::of(name, vec![values.len()], Data::Int(values))
}

/// Indices of Slice along one axis of `size`: where it starts, how many it takes, in which steps.
pub(super) fn range(size: usize, start: i64, end: i64, step: i64) -> Done<[usize; 3]> {
    let refused = || format!("slice {start}..{end} in steps of {step} of {size} is not supported");
    let length = i64::try_from(size).map_err(|_| refused())?;
    let from_front = |v: i64| if v < 0 { v.saturating_add(length) } else { v }.clamp(0, length);
    let (start, end) = (from_front(start), from_front(end));
    if step < 1 || end <= start {
        return Err(refused());
    }
    let count = (end - start - 1) / step + 1;
    // A step may be larger than what it steps over.
    let all = [start, count, step.min(length)].map(usize::try_from);
    match all {
        [Ok(start), Ok(count), Ok(step)] => Ok([start, count, step]),
        _ => Err(refused()),
    }
}

impl<'a> Importer<'a> {
    /// The output of a node that depends on constants and shapes only.
    pub(super) fn fold(
        &mut self,
        node: Node<'a>,
        inputs: &[Option<Item>],
    ) -> Done<Option<Constant>> {
        let name = node.output().unwrap_or("");
        if let ("Shape", Some(Some(Item::Value(x)))) = (node.op(), inputs.first()) {
            // CAST: sizes of tensors.
            let dims: Vec<i64> = x.shape.iter().map(|d| *d as i64).collect();
            let rank = dims.len();
            let start = axis_of(node.int("start", 0)?, rank, true)?;
            let end = node.int("end", rank as i64)?.min(rank as i64);
            let end = axis_of(end, rank, true)?;
            return Ok(Some(vector(
                name,
                dims.get(start..end).unwrap_or_default().to_vec(),
            )));
        }
        let mut all = Vec::new();
        for input in inputs {
            match input {
                Some(Item::Constant(c)) => all.push(Some(c.as_ref())),
                None => all.push(None),
                Some(_) => return Ok(None),
            }
        }
        let at = |i: usize| all.get(i).copied().flatten();
        let Some(x) = at(0) else {
            return Ok(None);
        };
        self.spend(x.len())?;
        let with = |dims: Vec<usize>, data: Data| Constant {
            name: name.to_owned(),
            dims,
            element: x.element,
            data,
            scales: None,
        };
        Ok(Some(match node.op() {
            "Identity" | "Dropout" => x.clone(),
            "Cast" => match (node.int("to", 0)?, &x.data) {
                (1, Data::Float(_)) => Constant {
                    element: DataType::FLOAT,
                    ..x.clone()
                },
                (11, Data::Float(_)) | (6 | 7, Data::Int(_)) => x.clone(),
                (1, Data::Int(v)) => {
                    // CAST: rounds, as a cast does.
                    let data = Data::Float(v.iter().map(|v| *v as f64).collect());
                    Constant::of(name, x.dims.clone(), data)
                }
                (6 | 7, Data::Float(v)) => {
                    // CAST: cuts off, as a cast does.
                    let data = Data::Int(v.iter().map(|v| *v as i64).collect());
                    Constant::of(name, x.dims.clone(), data)
                }
                (to, _) => return Err(format!("a cast to element type {to} is not supported")),
            },
            "Transpose" => {
                let perm = permutation(node, x.dims.len())?;
                let dims = perm
                    .iter()
                    .filter_map(|a| x.dims.get(*a).copied())
                    .collect();
                let scales = x.scales.clone();
                let axis = |axis: usize| perm.iter().position(|a| *a == axis).unwrap_or(axis);
                Constant {
                    scales: scales.map(|(scales, along)| (scales, axis(along))),
                    ..with(dims, map(&x.data, &transposed(&x.dims, &perm)))
                }
            }
            "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                with(shaped(node, &x.dims, at(1))?, x.data.clone())
            }
            "DequantizeLinear" => self.dequantized(node, name, [Some(x), at(1), at(2)])?,
            "Gather" if x.dims.len() == 1 => {
                let indices = at(1).ok_or("its indices are missing")?;
                let mut places = Vec::new();
                for i in indices.ints()? {
                    places.push(axis_of(*i, x.len(), false)?);
                }
                with(indices.dims.clone(), map(&x.data, &places))
            }
            "Concat" if all.iter().flatten().all(|c| c.dims.len() == 1) => {
                let mut joined = Vec::new();
                for c in all.iter().flatten() {
                    joined.extend(c.ints()?);
                }
                vector(name, joined)
            }
            "Slice" if x.dims.len() == 1 => {
                let one = |i: usize, default: i64| -> Done<i64> {
                    match at(i).map(Constant::ints).transpose()? {
                        Some([v]) => Ok(*v),
                        Some(_) => Err("slices several axes of a vector".to_owned()),
                        None => Ok(default),
                    }
                };
                let (start, end) = (one(1, 0)?, one(2, i64::MAX)?);
                let [start, count, step] = range(x.len(), start, end, one(4, 1)?)?;
                let places: Vec<usize> = (0..count).map(|i| start + i * step).collect();
                with(vec![count], map(&x.data, &places))
            }
            "Add" | "Sub" | "Mul" | "Div" => {
                let Some(y) = at(1) else {
                    return Ok(None);
                };
                self.computed(node, x, y, name)?
            }
            _ => return Ok(None),
        }))
    }

    /// A result of two constants of the same shape, or one of which is a single number.
    fn computed(&self, node: Node<'a>, x: &Constant, y: &Constant, name: &str) -> Done<Constant> {
        let (n, dims) = match (x.len(), y.len()) {
            (n, m) if x.dims == y.dims || m == 1 => (n, x.dims.clone()),
            (1, m) => (m, y.dims.clone()),
            _ => {
                return Err(format!(
                    "computes of constants of shapes {:?} and {:?}",
                    x.dims, y.dims
                ))
            }
        };
        let data = match (&x.data, &y.data) {
            (Data::Float(x), Data::Float(y)) => {
                let of = |(x, y): (&f64, &f64)| match node.op() {
                    "Add" => x + y,
                    "Sub" => x - y,
                    "Mul" => x * y,
                    _ => x / y,
                };
                Data::Float(
                    x.iter()
                        .cycle()
                        .zip(y.iter().cycle())
                        .take(n)
                        .map(of)
                        .collect(),
                )
            }
            (Data::Int(x), Data::Int(y)) => {
                let of = |(x, y): (&i64, &i64)| match node.op() {
                    "Add" => x.checked_add(*y),
                    "Sub" => x.checked_sub(*y),
                    "Mul" => x.checked_mul(*y),
                    _ => x.checked_div(*y),
                };
                let all = x.iter().cycle().zip(y.iter().cycle()).take(n).map(of);
                let all = all.collect::<Option<Vec<i64>>>();
                Data::Int(all.ok_or("computes numbers that are too large, or divides by 0")?)
            }
            _ => return Err("computes of floats and integers".to_owned()),
        };
        Ok(Constant::of(name, dims, data))
    }

    /// The numbers of a constant of codes.
    fn dequantized(
        &self,
        node: Node<'a>,
        name: &str,
        [x, scale, zero]: [Option<&Constant>; 3],
    ) -> Done<Constant> {
        let (x, scale) = (
            x.ok_or("has no input")?,
            scale.ok_or("its scale is missing")?,
        );
        let (codes, scales) = (x.ints()?, scale.numbers()?);
        if node.int("block_size", 0)? != 0 {
            return Err("blocks of scales are not supported".to_owned());
        }
        if let Some(bad) = scales.iter().find(|s| !s.is_normal() || **s < 0.0) {
            return Err(format!("a scale is {bad}"));
        }
        let axis = match scales.len() {
            1 => 0,
            _ => axis_of(node.int("axis", 1)?, x.dims.len(), false)?,
        };
        let inner = product(x.dims.get(axis + 1..).unwrap_or_default()).max(1);
        let along = x.dims.get(axis).copied().unwrap_or(1).max(1);
        let zeros = zero.map(Constant::ints).transpose()?.unwrap_or(&[0]);
        for n in [scales.len(), zeros.len()] {
            if n != 1 && n != along {
                return Err(format!("{n} scales or zero points for an axis of {along}"));
            }
        }
        let at = |i: usize| i / inner % along;
        let pick = |n: usize, i: usize| if n == 1 { 0 } else { at(i) };
        let mut values = Vec::with_capacity(codes.len());
        let mut even = true;
        for (i, code) in codes.iter().enumerate() {
            let zero = zeros.get(pick(zeros.len(), i)).copied().unwrap_or(0);
            let step = code.saturating_sub(zero);
            even &= (-128..=127).contains(&step);
            let scale = scales.get(pick(scales.len(), i)).copied().unwrap_or(1.0);
            values.push(step as f64 * scale); // CAST: a difference of short integers
        }
        Ok(Constant {
            // Steps that are no codes with a zero point of 0 are rounded anew.
            scales: even.then(|| (scales.to_vec(), axis)),
            ..Constant::of(name, x.dims.clone(), Data::Float(values))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_follow_the_rules_of_reshape() {
        assert_eq!(reshape(&[1, 3, 4], &[0, -1], false), Ok(vec![1, 12]));
        assert_eq!(reshape(&[2, 3], &[3, 2], false), Ok(vec![3, 2]));
        for (from, to) in [
            (&[1usize, 3][..], &[2i64, 2][..]),
            (&[1, 3], &[-1, -1]),
            (&[1, 3], &[0, 2, -1]),
            (&[1, 3], &[0, 0, 0]),
            (&[1, 3], &[-2]),
            (&[1, 3], &[i64::MAX, i64::MAX]),
        ] {
            assert!(reshape(from, to, false).is_err(), "{from:?} {to:?}");
        }
        assert!(reshape(&[1, 3], &[0, 3], true).is_err());
    }

    #[test]
    fn slices_count_from_both_ends() {
        assert_eq!(range(5, 1, 4, 1), Ok([1, 3, 1]));
        assert_eq!(range(5, -1, i64::MAX, 1), Ok([4, 1, 1]));
        assert_eq!(range(5, 0, i64::MAX, 2), Ok([0, 3, 2]));
        assert_eq!(range(5, i64::MIN, i64::MAX, i64::MAX), Ok([0, 1, 5]));
        assert!(range(5, 4, 4, 1).is_err());
        assert!(range(5, 4, 0, -1).is_err());
    }

    #[test]
    fn places_of_a_transposed_matrix() {
        assert_eq!(transposed(&[2, 3], &[1, 0]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(transposed(&[2, 3], &[0, 1]), [0, 1, 2, 3, 4, 5]);
    }
}
