// SPDX-License-Identifier: GPL-2.0

//! Layers with weights, windows, and means.

use neural_core::nnm::{OpKind, NONE};

use super::value::{product, Value};
use super::{Done, Importer};
use crate::onnx::node::Node;
use crate::onnx::shape::axis_of;
use crate::onnx::tensor::{transpose, Constant};

/// A window along one axis.
#[derive(Clone, Copy)]
struct Side {
    stride: usize,
    dilation: usize,
    before: usize,
    after: usize,
    out: usize,
}

/// Two 16-bit numbers in a parameter.
pub(super) fn two(what: &str, [low, high]: [usize; 2]) -> Done<i32> {
    match [low, high].map(u16::try_from) {
        // CAST: the bits.
        [Ok(low), Ok(high)] => Ok((u32::from(low) | u32::from(high) << 16) as i32),
        _ => Err(format!("its {what} is larger than 65535")),
    }
}

/// Attribute `name`: as many sizes as `count`, or as many as `default`.
fn sizes(node: Node<'_>, name: &str, count: usize, default: usize) -> Done<Vec<usize>> {
    let Some(listed) = node.ints(name).filter(|l| !l.is_empty()) else {
        return Ok(vec![default; count]);
    };
    let sizes: Vec<usize> = listed
        .iter()
        .filter_map(|v| usize::try_from(*v).ok())
        .collect();
    if sizes.len() != count || listed.len() != count {
        return Err(format!(
            "attribute '{name}' is {listed:?}, not {count} sizes"
        ));
    }
    Ok(sizes)
}

/// The first two of a list, for rows and columns; of a single one, that of columns.
fn pair(list: &[usize], of_rows: usize) -> [usize; 2] {
    match list {
        [columns] => [of_rows, *columns],
        [rows, columns, ..] => [*rows, *columns],
        [] => [of_rows; 2],
    }
}

/// The sides of a window over an image, rows first.
fn sides(node: Node<'_>, image: &[usize], window: &[usize]) -> Done<Vec<Side>> {
    let n = image.len();
    let (strides, dilations) = (
        sizes(node, "strides", n, 1)?,
        sizes(node, "dilations", n, 1)?,
    );
    let pads = sizes(node, "pads", 2 * n, 0)?;
    let up = node.int("ceil_mode", 0)? != 0;
    let mut all = Vec::new();
    let each = image.iter().zip(window).zip(strides.iter().zip(&dilations));
    for (i, ((size, window), (stride, dilation))) in each.enumerate() {
        let refused = || {
            format!(
                "window {window} with stride {stride} and dilation {dilation} does not fit {size}"
            )
        };
        if [window, stride, dilation]
            .iter()
            .any(|v| **v == 0 || **v > 65535)
        {
            return Err(refused());
        }
        let covers = (window - 1) * dilation + 1;
        let at = |i: usize| pads.get(i).copied().unwrap_or(0).min(1 << 20);
        let (mut before, mut after) = (at(i), at(n + i));
        match node.text("auto_pad") {
            None | Some("" | "NOTSET") => (),
            Some("VALID") => (before, after) = (0, 0),
            Some(same @ ("SAME_UPPER" | "SAME_LOWER")) => {
                let out = size.div_ceil(*stride);
                let total = ((out - 1) * stride + covers).saturating_sub(*size);
                let less = total / 2;
                (before, after) = if same == "SAME_UPPER" {
                    (less, total - less)
                } else {
                    (total - less, less)
                };
            }
            Some(other) => return Err(format!("auto_pad '{other}' is not supported")),
        }
        let room = (size + before + after)
            .checked_sub(covers)
            .ok_or_else(refused)?;
        let mut out = room / stride + 1;
        if up && room % stride != 0 && room / stride * stride + stride < size + before {
            out += 1;
            after = (out - 1) * stride + covers - size - before;
        }
        all.push(Side {
            stride: *stride,
            dilation: *dilation,
            before,
            after,
            out,
        });
    }
    Ok(all)
}

/// Stride, third, and borders as parameters; rows without any where there are only columns.
fn geometry(sides: &[Side], third: &dyn Fn(&Side) -> usize) -> Done<[i32; 4]> {
    let of = |f: &dyn Fn(&Side) -> usize, one: usize| {
        let list: Vec<usize> = sides.iter().map(f).collect();
        pair(&list, one)
    };
    Ok([
        two("stride", of(&|s| s.stride, 1))?,
        two("window", of(third, 1))?,
        two("border", of(&|s| s.before, 0))?,
        two("border", of(&|s| s.after, 0))?,
    ])
}

/// The order of memory of images: channels last.
fn channels_last(rank: usize) -> Vec<usize> {
    let places = (2..rank).chain([1]);
    [0].into_iter().chain(places).collect()
}

impl<'a> Importer<'a> {
    /// The scales of the rows of weights, as many as rows.
    fn row_scales(&self, c: &Constant, axis: usize, rows: usize) -> Done<Option<Vec<f64>>> {
        match &c.scales {
            Some((scales, _)) if scales.len() == 1 => {
                Ok(scales.first().map(|scale| vec![*scale; rows]))
            }
            Some((scales, along)) if *along == axis && scales.len() == rows => {
                Ok(Some(scales.clone()))
            }
            Some((_, along)) => Err(format!(
                "the scales of weights '{}' are along axis {along}, not along the outputs",
                c.name
            )),
            None => Ok(None),
        }
    }

    /// A dense layer over the last axis.
    fn dense(
        &mut self,
        x: &Value,
        weights: &Constant,
        outputs_first: bool,
        alpha: f64,
    ) -> Done<Value> {
        let [rows, columns] = weights.dims[..] else {
            return Err(format!(
                "weights '{}' of shape {:?} are no matrix",
                weights.name, weights.dims
            ));
        };
        let (n, k) = if outputs_first {
            (rows, columns)
        } else {
            (columns, rows)
        };
        if x.shape.last() != Some(&k) || n == 0 {
            return Err(format!(
                "weights '{}' want rows of {k} numbers, its input has shape {:?}",
                weights.name, x.shape
            ));
        }
        self.spend(weights.len())?;
        let mut w = match outputs_first {
            true => weights.numbers()?.to_vec(),
            false => transpose(weights.numbers()?, rows, columns),
        };
        w.iter_mut().for_each(|w| *w *= alpha);
        let single = x.elements() == k;
        // A single row is taken as it lies, as weights may be rearranged.
        let x = if single { x.clone() } else { self.in_order(x)? };
        let mut dims = self.net.dims(x.tensor);
        if single {
            let places = x.places();
            for row in w.chunks_exact_mut(k) {
                let old = row.to_vec();
                for (value, at) in old.iter().zip(&places) {
                    if let Some(to) = row.get_mut(*at) {
                        *to = *value;
                    }
                }
            }
            dims = vec![k];
        } else if dims.last() != Some(&k) {
            dims = vec![x.elements() / k.max(1), k];
        }
        let from = self.seen_as(&x, &dims)?;
        if let Some(last) = dims.last_mut() {
            *last = n;
        }
        let scales = self.row_scales(weights, usize::from(!outputs_first), n)?;
        let w = self.floats(&[n, k], &w)?;
        if let (Some(scales), true) = (scales, alpha == 1.0) {
            self.known.rows.insert(w, scales);
        }
        let b = self.floats(&[n], &vec![0.0; n])?;
        let to = self.net.activation(&dims, None)?;
        let y = self.net.op(OpKind::Dense, &[from, w, b], &[], to);
        let mut shape = x.shape.clone();
        if let Some(last) = shape.last_mut() {
            *last = n;
        }
        Ok(Value::plain(y, shape))
    }

    pub(super) fn gemm(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let w = self.needed(node, 1, "weight matrix")?;
        let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
        if node.flag("transA")? {
            return Err("transA=1 is not supported".to_owned());
        }
        if x.shape.len() != 2 {
            return Err("its input is no matrix".to_owned());
        }
        let y = self.dense(&x, &w, node.flag("transB")?, alpha)?;
        let Some(c) = self.constant(node, 2, "bias")? else {
            return Ok(y);
        };
        let bias: Vec<f64> = c.numbers()?.iter().map(|v| v * beta).collect();
        let n = y.shape.last().copied().unwrap_or(1);
        if c.dims.iter().rev().skip(1).any(|d| *d != 1) || !self.biased(&y, &bias, n)? {
            return Err(format!(
                "bias '{}' of shape {:?} does not fit {n} outputs",
                c.name, c.dims
            ));
        }
        Ok(y)
    }

    /// Adds to the biases of the layer that has just written a value.
    pub(super) fn biased(&mut self, y: &Value, bias: &[f64], n: usize) -> Done<bool> {
        if bias.len() != 1 && bias.len() != n {
            return Ok(false);
        }
        let op = self
            .net
            .writer(y.tensor)
            .and_then(|at| self.net.ops().get(at));
        let Some([_, _, b, _]) = op.map(|op| op.inputs) else {
            return Ok(false);
        };
        let old = self.net.values(b);
        let sums = old.iter().zip(bias.iter().cycle()).map(|(a, b)| a + b);
        let sums: Vec<f64> = sums.collect();
        self.net.replace(b, &sums)?;
        Ok(true)
    }

    pub(super) fn matmul(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let w = self.needed(node, 1, "weight matrix")?;
        self.dense(&x, &w, false, 1.0)
    }

    /// An image in the order of memory that the engine wants, as rows, columns, channels.
    fn image(&mut self, x: &Value) -> Done<(u32, Vec<usize>, usize)> {
        let (places, c) = match x.shape.as_slice() {
            [1, c, places @ ..] if (1..=2).contains(&places.len()) => (places.to_vec(), *c),
            [n, _, _] | [n, _, _, _] if *n != 1 => {
                return Err(format!("has a batch of {n}, only 1 is supported"))
            }
            other => {
                return Err(format!(
                    "has an input of shape {other:?}, [1, C, L] and [1, C, H, W] are supported"
                ))
            }
        };
        let x = self.arranged(x, &channels_last(x.shape.len()))?;
        let [h, w] = pair(&places, 1);
        Ok((self.seen_as(&x, &[h, w, c])?, places, c))
    }

    /// The value of an image that was written.
    fn pictured(&mut self, tensor: u32, places: &[usize], c: usize) -> Value {
        let shape: Vec<usize> = [1, c].iter().chain(places).copied().collect();
        Value {
            order: channels_last(shape.len()),
            ..Value::plain(tensor, shape)
        }
    }

    /// A border of one value around an image.
    fn bordered(&mut self, x: u32, sides: &mut [Side], value: f64) -> Done<u32> {
        let of = |f: &dyn Fn(&Side) -> usize| pair(&sides.iter().map(f).collect::<Vec<_>>(), 0);
        let (before, after) = (of(&|s| s.before), of(&|s| s.after));
        let mut dims = self.net.dims(x);
        let mut params = [0; 5];
        let each = dims
            .iter_mut()
            .zip(&mut params)
            .zip(before.into_iter().zip(after));
        for ((d, param), (before, after)) in each {
            *d += before + after;
            *param = two("border", [before, after])?;
        }
        let [.., last] = &mut params;
        *last = (value as f32).to_bits() as i32; // CAST: the bits
        let to = self.net.activation(&dims, None)?;
        for side in sides {
            (side.before, side.after) = (0, 0);
        }
        Ok(self.net.op(OpKind::Pad, &[x], &params, to))
    }

    pub(super) fn conv(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let (mut from, places, c) = self.image(&x)?;
        let w = self.needed(node, 1, "weights")?;
        let [n, each, window @ ..] = w.dims.as_slice() else {
            return Err(format!("weights '{}' have shape {:?}", w.name, w.dims));
        };
        let (n, each) = (*n, *each);
        let groups = usize::try_from(node.int("group", 1)?).unwrap_or(0);
        if window.len() != places.len()
            || groups == 0
            || each.checked_mul(groups) != Some(c)
            || n % groups != 0
            || n == 0
        {
            return Err(format!(
                "weights '{}' of shape {:?} do not fit {c} channels in {groups} groups",
                w.name, w.dims
            ));
        }
        if let Some(given) = node.ints("kernel_shape") {
            if !given
                .iter()
                .map(|v| usize::try_from(*v).ok())
                .eq(window.iter().map(|v| Some(*v)))
            {
                return Err(format!(
                    "kernel_shape {given:?} is not that of weights '{}'",
                    w.name
                ));
            }
        }
        let mut sides = sides(node, &places, window)?;
        let taps = product(window);
        // The engine has borders that are smaller than the window.
        let covers = sides
            .iter()
            .zip(window)
            .map(|(s, w)| (w - 1) * s.dilation + 1);
        if sides
            .iter()
            .zip(covers)
            .any(|(s, covers)| s.before.max(s.after) >= covers)
        {
            from = self.bordered(from, &mut sides, 0.0)?;
        }
        let depthwise = groups > 1 && each == 1;
        let (values, [kh, kw]) = (w.numbers()?, pair(window, 1));
        let at = |row: usize, channel: usize, tap: usize| {
            values
                .get((row * each + channel) * taps + tap)
                .copied()
                .unwrap_or(0.0)
        };
        self.spend(if depthwise {
            n * taps
        } else {
            n.saturating_mul(taps).saturating_mul(c)
        })?;
        let (kind, dims, values): (_, _, Vec<f64>) = if depthwise {
            let all = (0..taps).flat_map(|tap| (0..n).map(move |row| (row, tap)));
            let values = all.map(|(row, tap)| at(row, 0, tap)).collect();
            (OpKind::DepthwiseConv2d, vec![kh, kw, n], values)
        } else {
            // Channels of other groups count nothing.
            let rows = n / groups;
            let one = |row: usize, tap: usize, channel: usize| {
                let own = channel / each == row / rows;
                if own {
                    at(row, channel % each, tap)
                } else {
                    0.0
                }
            };
            let all = (0..n).flat_map(|row| (0..taps).map(move |tap| (row, tap)));
            let values = all.flat_map(|(row, tap)| (0..c).map(move |i| one(row, tap, i)));
            (OpKind::Conv2d, vec![n, kh, kw, c], values.collect())
        };
        let scales = self.row_scales(&w, 0, n)?;
        let weights = self.floats(&dims, &values)?;
        if let Some(scales) = scales {
            self.known.rows.insert(weights, scales);
        }
        let bias = match self.constant(node, 2, "bias")? {
            Some(b) if b.dims == [n] => b.numbers()?.to_vec(),
            Some(b) => {
                return Err(format!(
                    "bias '{}' of shape {:?} does not fit {n} outputs",
                    b.name, b.dims
                ))
            }
            None => vec![0.0; n],
        };
        let bias = self.floats(&[n], &bias)?;
        let out: Vec<usize> = sides.iter().map(|s| s.out).collect();
        let [oh, ow] = pair(&out, 1);
        let to = self.net.activation(&[oh, ow, n], None)?;
        let [stride, dilation, before, after] = geometry(&sides, &|s| s.dilation)?;
        let params = [0, 0, stride, dilation, before, after];
        let y = self.net.op(kind, &[from, weights, bias, NONE], &params, to);
        Ok(self.pictured(y, &out, n))
    }

    pub(super) fn batch_norm(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        if node.flag("training_mode")? {
            return Err("is in training mode".to_owned());
        }
        let eps = node.float("epsilon", 1e-5)?;
        let mut parts = Vec::new();
        for (i, what) in [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")] {
            parts.push(self.needed(node, i, what)?);
        }
        let channels = x.shape.get(1).copied().unwrap_or(0);
        let mut numbers = parts.iter().map(|c| c.numbers());
        let mut next = || numbers.next().unwrap_or(Ok(&[]));
        let (scale, bias, mean, variance) = (next()?, next()?, next()?, next()?);
        if [scale, bias, mean, variance]
            .iter()
            .any(|v| v.len() != channels)
        {
            return Err(format!("its parameters do not fit {channels} channels"));
        }
        let factor: Vec<f64> = scale
            .iter()
            .zip(variance)
            .map(|(s, v)| s / (v + eps).sqrt())
            .collect();
        let add = bias.iter().zip(mean.iter().zip(&factor));
        let add: Vec<f64> = add.map(|(b, (m, f))| b - m * f).collect();
        if self.folded(&x, &factor, &add)? {
            return Ok(x);
        }
        // A window of one, with a weight for each channel.
        let (from, places) = match x.shape.as_slice() {
            [1, c] => (self.seen_as(&x, &[1, 1, *c])?, vec![]),
            _ => {
                let (from, places, _) = self.image(&x)?;
                (from, places)
            }
        };
        let weights = self.floats(&[1, 1, channels], &factor)?;
        let bias = self.floats(&[channels], &add)?;
        let ones = two("window", [1, 1])?;
        let to = self.net.activation(&self.net.dims(from), None)?;
        let inputs = [from, weights, bias];
        let y = self
            .net
            .op(OpKind::DepthwiseConv2d, &inputs, &[0, 0, ones, ones], to);
        Ok(self.pictured(y, &places, channels))
    }

    /// Puts `factor y + add` of each channel into the layer that has just written `y`.
    fn folded(&mut self, y: &Value, factor: &[f64], add: &[f64]) -> Done<bool> {
        let op = self
            .free(y.tensor)
            .and_then(|at| self.net.ops().get(at))
            .copied();
        let Some(op) = op else {
            return Ok(false);
        };
        let ([_, w, b, _], [function, ..]) = (op.inputs, op.params);
        let rows = matches!(op.kind, OpKind::Dense | OpKind::Conv2d);
        let layer = rows && (op.kind == OpKind::Conv2d || y.shape.len() == 2)
            || op.kind == OpKind::DepthwiseConv2d;
        if !layer || function != 0 {
            return Ok(false);
        }
        let mut weights = self.net.values(w);
        let n = factor.len().max(1);
        let row = (weights.len() / n).max(1);
        for (i, w) in weights.iter_mut().enumerate() {
            let channel = if rows { i / row } else { i % n };
            *w *= factor.get(channel).copied().unwrap_or(1.0);
        }
        // Rows keep their codes, but for the sign.
        for (scale, factor) in self
            .known
            .rows
            .get_mut(&w)
            .into_iter()
            .flatten()
            .zip(factor)
        {
            if *factor != 0.0 {
                *scale *= factor.abs();
            }
        }
        let old = self.net.values(b);
        let bias = old
            .iter()
            .zip(factor.iter().zip(add))
            .map(|(b, (f, a))| b * f + a);
        let bias: Vec<f64> = bias.collect();
        self.net.replace(w, &weights)?;
        self.net.replace(b, &bias)?;
        Ok(true)
    }

    pub(super) fn pool(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let (mut from, places, c) = self.image(&x)?;
        let window = sizes(node, "kernel_shape", places.len(), 0)?;
        let mut sides = sides(node, &places, &window)?;
        if sides.iter().any(|s| s.dilation != 1) {
            return Err("dilations are not supported".to_owned());
        }
        let average = node.op() == "AveragePool";
        let padded = sides.iter().any(|s| s.before + s.after > 0);
        if average && padded && node.int("count_include_pad", 0)? != 0 {
            if node.int("ceil_mode", 0)? != 0 {
                return Err("count_include_pad with ceil_mode is not supported".to_owned());
            }
            from = self.bordered(from, &mut sides, 0.0)?;
        }
        let out: Vec<usize> = sides.iter().map(|s| s.out).collect();
        let [oh, ow] = pair(&out, 1);
        let to = self.net.activation(&[oh, ow, c], None)?;
        let [stride, _, before, after] = geometry(&sides, &|s| s.dilation)?;
        let params = [
            0,
            0,
            stride,
            two("window", pair(&window, 1))?,
            before,
            after,
        ];
        let kind = if average {
            OpKind::AveragePool2d
        } else {
            OpKind::MaxPool2d
        };
        let y = self.net.op(kind, &[from], &params, to);
        Ok(self.pictured(y, &out, c))
    }

    pub(super) fn global_max(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let (from, places, c) = self.image(&x)?;
        let to = self.net.activation(&[1, 1, c], None)?;
        let window = two("window", pair(&places, 1))?;
        let params = [0, 0, 1 | 1 << 16, window, 0, 0];
        let y = self.net.op(OpKind::MaxPool2d, &[from], &params, to);
        Ok(self.pictured(y, &vec![1; places.len()], c))
    }

    /// The mean over some axes.
    pub(super) fn mean(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let rank = x.shape.len();
        let (axes, keep) = if node.op() == "GlobalAveragePool" {
            ((2..rank).collect(), true)
        } else {
            let given = self.constant(node, 1, "axes")?;
            let listed = match &given {
                Some(c) => Some(c.ints()?),
                None => node.ints("axes"),
            };
            let axes: Vec<usize> = match listed {
                Some(listed) => listed
                    .iter()
                    .map(|a| axis_of(*a, rank, false))
                    .collect::<Done<_>>()?,
                None => (0..rank).collect(),
            };
            (axes, node.int("keepdims", 1)? != 0)
        };
        let (reduced, kept): (Vec<usize>, Vec<usize>) = (0..rank).partition(|a| axes.contains(a));
        let order: Vec<usize> = reduced.iter().chain(&kept).copied().collect();
        let x = self.arranged(&x, &order)?;
        let count = |axes: &[usize]| axes.iter().map(|a| x.size(*a)).product::<usize>();
        let (rows, columns) = (count(&reduced), count(&kept));
        let shape: Vec<usize> = (0..rank)
            .filter(|a| keep || !axes.contains(a))
            .map(|a| if axes.contains(&a) { 1 } else { x.size(a) })
            .collect();
        let from = self.seen_as(&x, &[rows, columns])?;
        let to = self.net.activation(&[columns], None)?;
        let y = self.net.op(OpKind::Mean, &[from], &[], to);
        Ok(Value::plain(
            y,
            if shape.is_empty() { vec![1] } else { shape },
        ))
    }

    pub(super) fn norm(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let rank = x.shape.len();
        let axis = self.axis(node, -1, rank)?;
        if axis + 1 != rank {
            return Err(format!("axis {axis} of {rank} is not the last one"));
        }
        let x = self.in_order(&x)?;
        let n = x.shape.last().copied().unwrap_or(1);
        let gamma = self.needed(node, 1, "scale")?;
        let mut inputs = Vec::new();
        let mut constants = vec![gamma.numbers()?.to_vec()];
        if node.op() == "LayerNormalization" {
            let beta = self.constant(node, 2, "bias")?;
            constants.push(match &beta {
                Some(c) => c.numbers()?.to_vec(),
                None => vec![0.0; n],
            });
        }
        let mut dims = self.net.dims(x.tensor);
        if dims.last() != Some(&n) {
            dims = vec![x.elements() / n.max(1), n];
        }
        inputs.push(self.seen_as(&x, &dims)?);
        for constant in constants {
            if constant.len() != n {
                return Err(format!("its parameters do not fit rows of {n}"));
            }
            inputs.push(self.floats(&[n], &constant)?);
        }
        let eps = node.float("epsilon", 1e-5)? as f32; // CAST: it was a float32
        let kind = if inputs.len() == 3 {
            OpKind::LayerNorm
        } else {
            OpKind::RmsNorm
        };
        let to = self.net.activation(&dims, None)?;
        // CAST: the bits.
        let y = self.net.op(kind, &inputs, &[eps.to_bits() as i32], to);
        Ok(x.like(y))
    }

    pub(super) fn softmax(&mut self, node: Node<'a>) -> Done<Value> {
        let x = self.value(node, 0)?;
        let rank = x.shape.len();
        let to_the_end = self.opset < 13;
        let axis = self.axis(node, if to_the_end { 1 } else { -1 }, rank)?;
        let behind = x.shape.get(axis + 1..).unwrap_or_default();
        let x = if to_the_end || product(behind) == 1 {
            self.in_order(&x)?
        } else {
            let order: Vec<usize> = (0..rank).filter(|a| *a != axis).chain([axis]).collect();
            self.arranged(&x, &order)?
        };
        let along = if to_the_end {
            axis..rank
        } else {
            axis..axis + 1
        };
        let n = product(x.shape.get(along).unwrap_or_default()).max(1);
        let rows = x.elements() / n;
        let dims = if rows == 1 { vec![n] } else { vec![rows, n] };
        let from = self.seen_as(&x, &dims)?;
        let to = self.net.activation(&dims, None)?;
        let kind = if node.op() == "Softmax" {
            OpKind::Softmax
        } else {
            OpKind::LogSoftmax
        };
        let y = self.net.op(kind, &[from], &[], to);
        Ok(x.like(y))
    }
}
