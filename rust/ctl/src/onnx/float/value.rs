// SPDX-License-Identifier: GPL-2.0

//! A value of the graph, and where its elements lie.

use neural_core::nnm::OpKind;

use super::{Done, Importer};

/// A tensor whose elements, in the order of the graph, are those of `axes` with the last one running
/// fastest; in memory the axes lie in `order`, slowest first.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) tensor: u32,
    /// The sizes that the graph thinks of; as many elements as `axes`.
    pub(super) shape: Vec<usize>,
    pub(super) axes: Vec<usize>,
    pub(super) order: Vec<usize>,
}

/// The product of sizes, whose elements were counted when the tensor was made.
pub(super) fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |n, d| n.saturating_mul(*d))
}

impl Value {
    /// A tensor as the graph sees it.
    pub(super) fn plain(tensor: u32, shape: Vec<usize>) -> Self {
        Self {
            tensor,
            axes: shape.clone(),
            order: (0..shape.len()).collect(),
            shape,
        }
    }

    /// Another tensor of the same sizes, in the same order.
    pub(super) fn like(&self, tensor: u32) -> Self {
        Self {
            tensor,
            ..self.clone()
        }
    }

    pub(super) fn elements(&self) -> usize {
        product(&self.shape)
    }

    pub(super) fn size(&self, axis: usize) -> usize {
        self.axes.get(axis).copied().unwrap_or(1)
    }

    /// Axes longer than 1, in the order of memory.
    pub(super) fn long(&self) -> Vec<usize> {
        let long = self.order.iter().copied();
        long.filter(|a| self.size(*a) != 1).collect()
    }

    /// Their sizes.
    pub(super) fn memory(&self) -> Vec<usize> {
        let sizes: Vec<usize> = self.long().iter().map(|a| self.size(*a)).collect();
        if sizes.is_empty() {
            vec![1]
        } else {
            sizes
        }
    }

    fn in_order(&self) -> bool {
        self.long().is_sorted()
    }

    /// For each element of the graph, where it is in memory.
    pub(super) fn places(&self) -> Vec<usize> {
        let mut step = vec![0; self.axes.len()];
        let mut size = 1;
        for axis in self.order.iter().rev() {
            if let Some(to) = step.get_mut(*axis) {
                *to = size;
            }
            size *= self.size(*axis);
        }
        let mut places = vec![0];
        for (size, step) in self.axes.iter().zip(step) {
            let next = places
                .iter()
                .flat_map(|at| (0..*size).map(move |i| at + i * step));
            places = next.collect();
        }
        places
    }
}

impl Importer<'_> {
    /// The value with its axes in this order in memory.
    pub(super) fn arranged(&mut self, value: &Value, want: &[usize]) -> Done<Value> {
        let value = if value.axes == value.shape {
            value.clone()
        } else {
            self.in_order(value)?
        };
        let have = value.long();
        let long: Vec<usize> = want
            .iter()
            .copied()
            .filter(|a| value.size(*a) != 1)
            .collect();
        let order = want.to_vec();
        if have == long {
            return Ok(Value { order, ..value });
        }
        let from = self.net.view(value.tensor, &value.memory())?;
        let sizes: Vec<usize> = long.iter().map(|a| value.size(*a)).collect();
        let place = |a: &usize| have.iter().position(|h| h == a);
        // CAST: one of 4.
        let perm: Vec<i32> = long.iter().filter_map(place).map(|p| p as i32).collect();
        let to = self.net.activation(&sizes, None)?;
        let tensor = self.net.op(OpKind::Transpose, &[from], &perm, to);
        Ok(Value {
            tensor,
            order,
            ..value
        })
    }

    /// The value with its elements in the order of the graph.
    pub(super) fn in_order(&mut self, value: &Value) -> Done<Value> {
        let tensor = if value.in_order() {
            value.tensor
        } else {
            let whole = Value {
                shape: value.axes.clone(),
                ..value.clone()
            };
            let order: Vec<usize> = (0..value.axes.len()).collect();
            self.arranged(&whole, &order)?.tensor
        };
        Ok(Value::plain(tensor, value.shape.clone()))
    }

    /// A tensor with these sizes of what lies in memory so.
    pub(super) fn seen_as(&mut self, value: &Value, dims: &[usize]) -> Done<u32> {
        Ok(self.net.view(value.tensor, dims)?)
    }

    pub(super) fn floats(&mut self, dims: &[usize], values: &[f64]) -> Done<u32> {
        self.spend(values.len())?;
        Ok(self.net.floats(dims, values)?)
    }
}
