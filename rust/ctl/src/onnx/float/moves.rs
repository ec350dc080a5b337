// SPDX-License-Identifier: GPL-2.0

//! What moves elements without computing.

use neural_core::nnm::OpKind;

use super::fold::{permutation, range, shaped};
use super::layers::two;
use super::value::{product, Value};
use super::{Done, Importer};
use crate::onnx::node::Node;
use crate::onnx::shape::axis_of;

/// The most inputs of a concatenation of the engine.
const PARTS: usize = 4;

impl<'a> Importer<'a> {
    pub(super) fn reshape(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let given = match node.op() {
            "Flatten" => None,
            _ => self.constant(node, 1, "shape")?,
        };
        let shape = shaped(node, &x.shape, given.as_deref())?;
        Ok(Value { shape, ..x })
    }

    /// Nothing moves before someone minds.
    pub(super) fn transpose(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let perm = permutation(node, x.shape.len())?;
        let x = if x.axes == x.shape {
            x
        } else {
            self.in_order(&x)?
        };
        let shape: Vec<usize> = perm.iter().map(|a| x.size(*a)).collect();
        let place = |a: &usize| perm.iter().position(|p| p == a);
        let order = x.order.iter().filter_map(place).collect();
        Ok(Value {
            tensor: x.tensor,
            axes: shape.clone(),
            shape,
            order,
        })
    }

    /// Sizes in front of an axis, of it, and behind it, in memory.
    fn around(x: &Value, axis: usize) -> [usize; 3] {
        let long: Vec<usize> = x.order.clone();
        let at = long.iter().position(|a| *a == axis).unwrap_or(0);
        let count = |axes: &[usize]| axes.iter().map(|a| x.size(*a)).product::<usize>();
        [
            count(long.get(..at).unwrap_or_default()),
            x.size(axis),
            count(long.get(at + 1..).unwrap_or_default()),
        ]
    }

    pub(super) fn concat(&mut self, node: Node<'a>) -> Done<Value> {
        let mut parts = Vec::new();
        for i in 0..node.inputs() {
            parts.push(self.value(node, i)?);
        }
        let Some(first) = parts.first().cloned() else {
            return Err("has no inputs".to_owned());
        };
        let rank = first.shape.len();
        let axis = axis_of(node.int("axis", 1)?, rank, false)?;
        let fits = |p: &Value| {
            let mut sizes = p.shape.iter().zip(&first.shape).enumerate();
            p.shape.len() == rank && sizes.all(|(i, (a, b))| i == axis || a == b)
        };
        if let Some(bad) = parts.iter().find(|p| !fits(p)) {
            return Err(format!(
                "{:?} and {:?} do not fit each other",
                first.shape, bad.shape
            ));
        }
        let first = if first.axes == first.shape {
            first
        } else {
            self.in_order(&first)?
        };
        let mut sizes = 0;
        let mut views = Vec::new();
        let mut around = [1, 1, 1];
        for part in &parts {
            let part = self.arranged(part, &first.order)?;
            around = Self::around(&part, axis);
            let [before, size, behind] = around;
            views.push((self.seen_as(&part, &[before, size, behind])?, size));
            sizes += size;
        }
        let [before, _, behind] = around;
        let mut views = views.into_iter();
        let (mut joined, mut size) = views.next().unwrap_or((0, 0));
        while views.len() > 0 {
            let mut inputs = vec![joined];
            for (view, more) in views.by_ref().take(PARTS - 1) {
                inputs.push(view);
                size += more;
            }
            let to = self.net.activation(&[before, size, behind], None)?;
            joined = self.net.op(OpKind::Concat, &inputs, &[1], to);
        }
        let mut shape = first.shape.clone();
        if let Some(to) = shape.get_mut(axis) {
            *to = sizes;
        }
        Ok(Value {
            tensor: joined,
            axes: shape.clone(),
            shape,
            order: first.order,
        })
    }

    pub(super) fn pad(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        if !matches!(node.text("mode"), None | Some("constant")) {
            return Err("a mode other than constant is not supported".to_owned());
        }
        let rank = x.shape.len();
        let given = self.constant(node, 1, "pads")?;
        let pads = match &given {
            Some(c) => c.ints()?,
            None => node.ints("pads").unwrap_or_default(),
        };
        let value = match self.constant(node, 2, "value")? {
            Some(c) => c.numbers()?.first().copied().unwrap_or(0.0),
            None => node.float("value", 0.0)?,
        };
        let axes = match self.constant(node, 3, "axes")? {
            Some(c) => c
                .ints()?
                .iter()
                .map(|a| axis_of(*a, rank, false))
                .collect::<Done<Vec<_>>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * axes.len() {
            return Err(format!("has {} pads for {} axes", pads.len(), axes.len()));
        }
        let mut around = vec![[0usize; 2]; rank];
        for (i, axis) in axes.iter().enumerate() {
            let of = |i: usize| pads.get(i).and_then(|p| usize::try_from(*p).ok());
            match (of(i), of(axes.len() + i), around.get_mut(*axis)) {
                (Some(before), Some(after), Some(to)) => *to = [before, after],
                _ => return Err(format!("pads {pads:?} cut off, which is not supported")),
            }
        }
        if around.iter().all(|p| *p == [0, 0]) {
            return Ok(x);
        }
        let x = if x.axes == x.shape {
            x
        } else {
            self.in_order(&x)?
        };
        let pad = |a: usize| around.get(a).copied().unwrap_or([0, 0]);
        let long: Vec<usize> = x
            .order
            .iter()
            .copied()
            .filter(|a| x.size(*a) != 1 || pad(*a) != [0, 0])
            .collect();
        if long.len() > 4 {
            return Err(format!(
                "has {} axes, at most 4 longer than 1 are supported",
                long.len()
            ));
        }
        let sizes: Vec<usize> = long.iter().map(|a| x.size(*a)).collect();
        let from = self.seen_as(&x, &sizes)?;
        let mut params = [0; 5];
        for (param, axis) in params.iter_mut().zip(&long) {
            *param = two("border", pad(*axis))?;
        }
        let [.., last] = &mut params;
        *last = (value as f32).to_bits() as i32; // CAST: the bits
        let grown = |a: usize| {
            let [before, after] = pad(a);
            x.size(a).saturating_add(before).saturating_add(after)
        };
        let dims: Vec<usize> = long.iter().map(|a| grown(*a)).collect();
        let to = self.net.activation(&dims, None)?;
        let tensor = self.net.op(OpKind::Pad, &[from], &params, to);
        let shape: Vec<usize> = (0..rank).map(grown).collect();
        Ok(Value {
            tensor,
            axes: shape.clone(),
            shape,
            order: x.order,
        })
    }

    /// Elements `start`, `start + step`, ... of an axis; with steps, windows in which one tap counts.
    pub(super) fn take(&mut self, x: &Value, axis: usize, part: [usize; 3]) -> Done<Value> {
        let [start, count, step] = part;
        let x = if x.axes == x.shape {
            x.clone()
        } else {
            self.in_order(x)?
        };
        let [before, size, behind] = Self::around(&x, axis);
        let mut shape = x.shape.clone();
        if let Some(to) = shape.get_mut(axis) {
            *to = count;
        }
        let value = |tensor: u32| Value {
            tensor,
            axes: shape.clone(),
            shape: shape.clone(),
            order: x.order.clone(),
        };
        if (start, count, step) == (0, size, 1) {
            return Ok(value(x.tensor));
        }
        let window = count
            .checked_sub(1)
            .and_then(|n| size.checked_sub(n.checked_mul(step)?));
        let Some(window) = window.filter(|w| start < *w) else {
            return Err(format!("takes {count} of {size} from {start} on"));
        };
        let from = self.seen_as(&x, &[before, size, behind])?;
        if step == 1 {
            let to = self.net.activation(&[before, count, behind], None)?;
            // CAST: below the size of a dimension.
            let y = self.net.op(OpKind::Slice, &[from], &[0, start as i32], to);
            return Ok(value(y));
        }
        self.spend(window.saturating_mul(behind))?;
        let taps = (0..window)
            .flat_map(|tap| std::iter::repeat_n(f64::from(u8::from(tap == start)), behind));
        let taps: Vec<f64> = taps.collect();
        let w = self.floats(&[1, window, behind], &taps)?;
        let b = self.floats(&[behind], &vec![0.0; behind])?;
        let to = self.net.activation(&[before, count, behind], None)?;
        let ones = two("step", [1, 1])?;
        let params = [0, 0, two("step", [1, step])?, ones, 0, 0];
        let y = self
            .net
            .op(OpKind::DepthwiseConv2d, &[from, w, b], &params, to);
        Ok(value(y))
    }

    pub(super) fn slice(&mut self, node: Node<'a>) -> Done<Value> {
        let mut x = self.value(node, 0)?;
        let rank = x.shape.len();
        let size = |x: &Value, axis: usize| x.shape.get(axis).copied().unwrap_or(1);
        if node.op() == "Gather" {
            let axis = self.axis(node, 0, rank)?;
            let indices = self.needed(node, 1, "indices")?;
            let [index] = indices.ints()? else {
                return Err("takes several indices, one is supported".to_owned());
            };
            let index = axis_of(*index, size(&x, axis), false)?;
            let y = self.take(&x, axis, [index, 1, 1])?;
            let mut shape = y.shape.clone();
            if indices.dims.is_empty() {
                shape.remove(axis);
            }
            return Ok(Value {
                shape: if shape.is_empty() { vec![1] } else { shape },
                ..y
            });
        }
        let starts = self.needed(node, 1, "starts")?;
        let ends = self.needed(node, 2, "ends")?;
        let (axes, steps) = (
            self.constant(node, 3, "axes")?,
            self.constant(node, 4, "steps")?,
        );
        let (starts, ends) = (starts.ints()?, ends.ints()?);
        let axes = axes.as_deref().map(|c| c.ints()).transpose()?;
        let steps = steps.as_deref().map(|c| c.ints()).transpose()?;
        if starts.len() != ends.len() || axes.is_some_and(|a| a.len() != starts.len()) {
            return Err("has not as many starts as ends and axes".to_owned());
        }
        for (i, (start, end)) in starts.iter().zip(ends).enumerate() {
            // CAST: one of a few axes.
            let axis = axes.and_then(|a| a.get(i)).copied().unwrap_or(i as i64);
            let axis = axis_of(axis, rank, false)?;
            let step = steps.and_then(|s| s.get(i)).copied().unwrap_or(1);
            let part = range(size(&x, axis), *start, *end, step)?;
            x = self.take(&x, axis, part)?;
        }
        Ok(x)
    }

    pub(super) fn split(&mut self, node: Node<'a>) -> Done<Vec<Value>> {
        let x = self.value(node, 0)?;
        let axis = self.axis(node, 0, x.shape.len())?;
        let size = x.shape.get(axis).copied().unwrap_or(1);
        let given = self.constant(node, 1, "sizes")?;
        let listed = match &given {
            Some(c) => Some(c.ints()?),
            None => node.ints("split"),
        };
        let sizes: Vec<usize> = match listed {
            Some(listed) => listed
                .iter()
                .filter_map(|v| usize::try_from(*v).ok())
                .collect(),
            None => {
                let each = size.div_ceil(node.outputs().len().max(1));
                let rest =
                    (0..node.outputs().len()).map(|i| size.saturating_sub(i * each).min(each));
                rest.collect()
            }
        };
        if sizes.iter().fold(0usize, |n, d| n.saturating_add(*d)) != size || sizes.contains(&0) {
            return Err(format!("does not split {size} into {sizes:?}"));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for (i, count) in sizes.iter().enumerate() {
            let used = node
                .outputs()
                .get(i)
                .is_some_and(|n| self.uses.contains_key(n.as_str()));
            // What nobody reads is not made.
            parts.push(match used {
                true => self.take(&x, axis, [start, *count, 1])?,
                false => x.clone(),
            });
            start += count;
        }
        debug_assert!(product(&sizes) > 0);
        Ok(parts)
    }
}
