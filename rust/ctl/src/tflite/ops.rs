// SPDX-License-Identifier: GPL-2.0

//! The operators: whether the tensors of each are what it works on.

use super::flat::Table;
use super::graph::{list, DType, Kind, Op, Tensor, Window};
use super::scales::Activation;
use crate::error::{Error, Result};

/// The most integers that say what an operator does.
const MAX_INTEGERS: usize = 16;

/// An operator that is being checked.
struct Check<'f, 'g> {
    name: &'static str,
    options: Option<Table<'f, 'f>>,
    inputs: Vec<Option<&'g Tensor<'g>>>,
    outputs: Vec<&'g Tensor<'g>>,
}

fn fail<T>(what: impl std::fmt::Display, why: impl std::fmt::Display) -> Result<T> {
    Err(Error::refused(what, why))
}

/// Checks an operator; the indices are those of `tensors`.
pub(super) fn check(
    name: &'static str,
    options: Option<Table<'_, '_>>,
    inputs: Vec<Option<usize>>,
    outputs: Vec<usize>,
    tensors: &[Tensor<'_>],
) -> Result<Op> {
    let check = Check {
        name,
        options,
        inputs: inputs
            .iter()
            .map(|i| i.and_then(|i| tensors.get(i)))
            .collect(),
        outputs: outputs.iter().filter_map(|i| tensors.get(*i)).collect(),
    };
    let all = check.inputs.iter().flatten().chain(&check.outputs);
    if let Some(empty) = all.into_iter().find(|t| t.elements() == 0) {
        return Err(empty.refuse("has no elements"));
    }
    let (kind, macs) = check.kind()?;
    Ok(Op {
        name,
        kind,
        inputs,
        outputs,
        macs,
    })
}

impl<'g> Check<'_, 'g> {
    fn kind(&self) -> Result<(Kind, u64)> {
        let plain = |kind: Result<Kind>| kind.map(|kind| (kind, 0));
        match self.name {
            "FULLY_CONNECTED" => self.fully_connected(),
            "CONV_2D" | "DEPTHWISE_CONV_2D" => self.conv(),
            "AVERAGE_POOL_2D" | "MAX_POOL_2D" => plain(self.pool()),
            "ADD" | "SUB" | "MUL" => plain(self.binary()),
            "CONCATENATION" => plain(self.concatenation()),
            "PAD" => plain(self.pad()),
            "RESHAPE" | "SQUEEZE" | "EXPAND_DIMS" => plain(self.reshape()),
            "TRANSPOSE" => plain(self.transpose()),
            "MEAN" => plain(self.mean()),
            "STRIDED_SLICE" => plain(self.strided_slice()),
            "SPLIT" => plain(self.split()),
            "UNIDIRECTIONAL_SEQUENCE_LSTM" => self.lstm(),
            "BATCH_MATMUL" => self.batch_matmul(),
            "RESIZE_NEAREST_NEIGHBOR" => plain(self.resize()),
            _ => plain(self.elementwise()),
        }
    }

    /// Whether the numbers of inputs and outputs are right.
    fn count(&self, least: usize, most: usize) -> Result<()> {
        let have = self.inputs.len();
        if have < least || have > most {
            return fail("inputs", format!("are {have}, not {least} to {most}"));
        }
        self.one_output()
    }

    fn one_output(&self) -> Result<()> {
        match self.outputs.len() {
            1 => Ok(()),
            n => fail("outputs", format!("are {n}, not 1")),
        }
    }

    fn input(&self, at: usize) -> Result<&'g Tensor<'g>> {
        match self.inputs.get(at) {
            Some(Some(tensor)) => Ok(tensor),
            _ => fail(format!("input {at}"), "is missing"),
        }
    }

    fn output(&self) -> Result<&'g Tensor<'g>> {
        match self.outputs.first() {
            Some(tensor) => Ok(tensor),
            None => fail("output", "is missing"),
        }
    }

    /// A number among the options.
    fn int(&self, id: usize, default: i32, what: &str) -> Result<i32> {
        self.options
            .map_or(Ok(default), |o| o.number(id, default, what))
    }

    fn float(&self, id: usize, default: f32, what: &str) -> Result<f32> {
        let v = self
            .options
            .map_or(Ok(default), |o| o.number(id, default, what))?;
        if v.is_finite() {
            Ok(v)
        } else {
            fail(what, format!("is {v}"))
        }
    }

    fn flag(&self, id: usize, what: &str) -> Result<bool> {
        self.options.map_or(Ok(false), |o| o.flag(id, what))
    }

    fn activation(&self, id: usize) -> Result<Activation> {
        let what = "fused_activation_function";
        let code: i8 = self.options.map_or(Ok(0), |o| o.number(id, 0, what))?;
        Ok(match code {
            0 => Activation::None,
            1 => Activation::Relu,
            2 => Activation::ReluN1To1,
            3 => Activation::Relu6,
            _ => return fail(what, format!("{code} is not supported")),
        })
    }

    /// Whether input `at` and the output are of one type that can be computed with, and the types of
    /// quantised ones have one scale.
    fn computed(&self, at: usize) -> Result<DType> {
        let (x, y) = (self.input(at)?, self.output()?);
        match (x.dtype, y.dtype) {
            (DType::F32, DType::F32) => Ok(DType::F32),
            (DType::I8, DType::I8) | (DType::I16, DType::I16) => {
                for t in [x, y] {
                    if t.scale().is_none() {
                        return Err(t.refuse("needs one scale"));
                    }
                }
                Ok(x.dtype)
            }
            (a, b) => fail(
                "types",
                format!("{} to {} are not supported", a.name(), b.name()),
            ),
        }
    }

    /// Whether codes mean the same in an input and an output.
    fn same_codes(&self, x: &Tensor<'_>, y: &Tensor<'_>) -> Result<()> {
        if x.dtype != y.dtype {
            let (a, b) = (x.dtype.name(), y.dtype.name());
            return fail("types", format!("{a} and {b} differ"));
        }
        if (x.scale(), x.zero()) != (y.scale(), y.zero()) {
            let (a, b) = (&x.name, &y.name);
            return fail("scales", format!("of '{a}' and '{b}' differ"));
        }
        Ok(())
    }

    fn shape(&self, want: &[usize]) -> Result<()> {
        self.shape_of(self.output()?, want)
    }

    fn shape_of(&self, t: &Tensor<'_>, want: &[usize]) -> Result<()> {
        if t.shape == want {
            return Ok(());
        }
        let (have, want) = (list(&t.shape), list(want));
        Err(t.refuse(format!("has the shape {have}, not {want}")))
    }

    /// Integers that must be known: an axis, or a few for each dimension.
    fn known(&self, at: usize, what: &str) -> Result<Vec<i32>> {
        let t = self.input(at)?;
        if t.elements() > MAX_INTEGERS {
            return fail(what, format!("has {} elements", t.elements()));
        }
        match t.integers() {
            Some(values) => Ok(values),
            None => fail(what, "is not a constant of integers"),
        }
    }

    fn image(&self, at: usize) -> Result<[usize; 4]> {
        let t = self.input(at)?;
        match t.shape.as_slice() {
            [n, h, w, c] => Ok([*n, *h, *w, *c]),
            _ => Err(t.refuse(format!(
                "has the shape {}, not 4 dimensions",
                list(&t.shape)
            ))),
        }
    }

    /// Weights and biases for values of `dtype`: known, and of the types that go with it; `outputs`
    /// along `axis`.
    fn weights(&self, dtype: DType, outputs: usize, axis: usize) -> Result<()> {
        let w = self.input(1)?;
        let bias = match dtype {
            DType::F32 => DType::F32,
            DType::I16 => DType::I64,
            _ => DType::I32,
        };
        match (dtype, w.dtype) {
            (DType::F32, DType::F32) => (),
            // Numbers that were stored as codes, for values in float32 ("hybrid"), among them.
            (DType::F32 | DType::I8 | DType::I16, DType::I8) => match &w.quant {
                Some(q) if q.zero == 0 && (q.scale.len() == 1 || q.axis == axis) => (),
                Some(q) if q.zero == 0 => {
                    return Err(w.refuse(format!("has scales along {}, not {axis}", q.axis)))
                }
                Some(q) => return Err(w.refuse(format!("has the zero point {}", q.zero))),
                None => return Err(w.refuse("needs scales")),
            },
            (_, other) => return Err(w.refuse(format!("is of type {}", other.name()))),
        }
        if w.data.is_none() {
            return Err(w.refuse("is computed; weights must be known"));
        }
        let Some(b) = self.inputs.get(2).copied().flatten() else {
            return Ok(());
        };
        if b.data.is_none() {
            return Err(b.refuse("is computed; biases must be known"));
        }
        // Biases of 32 bits may go with values of 16.
        if b.dtype != bias && (dtype, b.dtype) != (DType::I16, DType::I32) {
            return Err(b.refuse(format!(
                "is of type {}, not {}",
                b.dtype.name(),
                bias.name()
            )));
        }
        if b.elements() != outputs {
            return Err(b.refuse(format!("has {} elements, not {outputs}", b.elements())));
        }
        Ok(())
    }

    fn fully_connected(&self) -> Result<(Kind, u64)> {
        self.count(2, 3)?;
        let activation = self.activation(0)?;
        let format: i8 = self
            .options
            .map_or(Ok(0), |o| o.number(1, 0, "weights_format"))?;
        if format != 0 {
            return fail("weights_format", format!("{format} is not supported"));
        }
        let dtype = self.computed(0)?;
        let (x, w, y) = (self.input(0)?, self.input(1)?, self.output()?);
        let [outputs, inputs] = w.shape.as_slice() else {
            return Err(w.refuse(format!(
                "has the shape {}, not 2 dimensions",
                list(&w.shape)
            )));
        };
        self.weights(dtype, *outputs, 0)?;
        let rows = x.elements().checked_div(*inputs).unwrap_or(0);
        if *inputs == 0 || rows * *inputs != x.elements() {
            let why = format!("has {} elements, no multiple of {inputs}", x.elements());
            return Err(x.refuse(why));
        }
        if y.shape.last() != Some(outputs) || y.elements() != rows.saturating_mul(*outputs) {
            let have = list(&y.shape);
            return Err(y.refuse(format!("has the shape {have}, not {rows} of {outputs}")));
        }
        Ok((
            Kind::FullyConnected(activation),
            product(&[rows, *outputs, *inputs]),
        ))
    }

    /// A window over an image of the output's size; `first` is the id of the padding, the strides
    /// follow it.
    fn window(&self, size: [usize; 2], dilation: [i32; 2]) -> Result<Window> {
        let [_, h, w, _] = self.image(0)?;
        let padding: i8 = self.options.map_or(Ok(0), |o| o.number(0, 0, "padding"))?;
        let positive = |v: i32, what: &str| match usize::try_from(v) {
            Ok(v) if v > 0 => Ok(v),
            _ => fail(what, format!("is {v}")),
        };
        let stride = [
            positive(self.int(2, 0, "stride_h")?, "stride_h")?,
            positive(self.int(1, 0, "stride_w")?, "stride_w")?,
        ];
        let [dh, dw] = dilation;
        let dilation = [
            positive(dh, "dilation_h_factor")?,
            positive(dw, "dilation_w_factor")?,
        ];
        let along = |image: usize, size: usize, stride: usize, dilation: usize| {
            let extent = (size.checked_sub(1)?)
                .checked_mul(dilation)?
                .checked_add(1)?;
            match padding {
                0 => {
                    let out = image.div_ceil(stride);
                    let covered = out
                        .checked_sub(1)?
                        .checked_mul(stride)?
                        .checked_add(extent)?;
                    Some((out, covered.saturating_sub(image) / 2))
                }
                1 => Some((image.checked_sub(extent)? / stride + 1, 0)),
                _ => None,
            }
        };
        let [sh, sw] = stride;
        let [kh, kw] = size;
        let [dh, dw] = dilation;
        let (Some((oh, top)), Some((ow, left))) = (along(h, kh, sh, dh), along(w, kw, sw, dw))
        else {
            return fail("window", "does not fit the image");
        };
        match self.output()?.shape.as_slice() {
            [_, y, x, _] if (*y, *x) == (oh, ow) => Ok(Window {
                size,
                stride,
                dilation,
                before: [top, left],
            }),
            _ => {
                let have = list(&self.output()?.shape);
                let why = format!("has the shape {have}, the window gives {oh} x {ow}");
                Err(self.output()?.refuse(why))
            }
        }
    }

    fn conv(&self) -> Result<(Kind, u64)> {
        self.count(2, 3)?;
        let depthwise = self.name == "DEPTHWISE_CONV_2D";
        let [n, _, _, channels] = self.image(0)?;
        let [first, h, w, last] = self.image(1)?;
        let shift = usize::from(depthwise);
        let dilation = [
            self.int(5 + shift, 1, "dilation_h_factor")?,
            self.int(4 + shift, 1, "dilation_w_factor")?,
        ];
        let window = self.window([h, w], dilation)?;
        let activation = self.activation(3 + shift)?;
        let dtype = self.computed(0)?;
        let outputs = if depthwise { last } else { first };
        self.weights(dtype, outputs, if depthwise { 3 } else { 0 })?;
        let y = self.output()?;
        let [_, oh, ow, _] = y.shape.as_slice() else {
            return Err(y.refuse("has not 4 dimensions"));
        };
        self.shape(&[n, *oh, *ow, outputs])?;
        let places = [n, *oh, *ow, outputs, h, w];
        let weights = self.input(1)?;
        if depthwise {
            let each = outputs.checked_div(channels).unwrap_or(0);
            if first != 1 || each == 0 || each * channels != outputs {
                let why = format!("does not fit {channels} channels");
                return Err(weights.refuse(why));
            }
            return Ok((
                Kind::DepthwiseConv2d(window, each, activation),
                product(&places),
            ));
        }
        if last != channels {
            return Err(weights.refuse(format!("has {last} channels, the image {channels}")));
        }
        let macs = product(&places).saturating_mul(channels as u64);
        Ok((Kind::Conv2d(window, activation), macs))
    }

    fn pool(&self) -> Result<Kind> {
        self.count(1, 1)?;
        let [n, _, _, channels] = self.image(0)?;
        let size = |id: usize, what: &str| match usize::try_from(self.int(id, 0, what)?) {
            Ok(v) if v > 0 => Ok(v),
            _ => fail(what, "is not above 0"),
        };
        let window = self.window(
            [size(4, "filter_height")?, size(3, "filter_width")?],
            [1, 1],
        )?;
        let activation = self.activation(5)?;
        self.computed(0)?;
        let y = self.output()?;
        self.same_codes(self.input(0)?, y)?;
        if let [_, h, w, _] = y.shape.as_slice() {
            self.shape(&[n, *h, *w, channels])?;
        }
        Ok(match self.name {
            "MAX_POOL_2D" => Kind::MaxPool2d(window, activation),
            _ => Kind::AveragePool2d(window, activation),
        })
    }

    fn binary(&self) -> Result<Kind> {
        self.count(2, 2)?;
        let activation = self.activation(0)?;
        self.computed(0)?;
        self.computed(1)?;
        let (a, b) = (self.input(0)?, self.input(1)?);
        let rank = a.shape.len().max(b.shape.len());
        let mut want = Vec::with_capacity(rank);
        for i in (0..rank).rev() {
            let size = |t: &Tensor<'_>| {
                let at = t.shape.len().checked_sub(i + 1);
                at.and_then(|at| t.shape.get(at)).copied().unwrap_or(1)
            };
            want.push(match (size(a), size(b)) {
                (x, y) if x == y || y == 1 => x,
                (1, y) => y,
                _ => {
                    let (a, b) = (list(&a.shape), list(&b.shape));
                    return fail("shapes", format!("{a} and {b} do not go together"));
                }
            });
        }
        self.shape(&want)?;
        Ok(match self.name {
            "ADD" => Kind::Add(activation),
            "SUB" => Kind::Sub(activation),
            _ => Kind::Mul(activation),
        })
    }

    /// A dimension of `rank`; negative ones count from the end.
    fn axis(&self, axis: i32, rank: usize) -> Result<usize> {
        let from = if axis < 0 {
            i64::try_from(rank).unwrap_or(0)
        } else {
            0
        };
        match usize::try_from(i64::from(axis) + from) {
            Ok(at) if at < rank => Ok(at),
            _ => fail("axis", format!("is {axis} of {rank} dimensions")),
        }
    }

    fn concatenation(&self) -> Result<Kind> {
        self.count(1, 1024)?;
        if self.activation(1)? != Activation::None {
            return fail("fused_activation_function", "is not supported here");
        }
        let y = self.output()?;
        let axis = self.axis(self.int(0, 0, "axis")?, y.shape.len())?;
        let mut total = 0usize;
        for at in 0..self.inputs.len() {
            let x = self.input(at)?;
            self.same_codes(x, y)?;
            let Some(size) = x.shape.get(axis) else {
                return Err(x.refuse("has too few dimensions"));
            };
            total = total.saturating_add(*size);
            let mut want = y.shape.clone();
            if let Some(d) = want.get_mut(axis) {
                *d = *size;
            }
            self.shape_of(x, &want)?;
        }
        match y.shape.get(axis) {
            Some(have) if *have == total => Ok(Kind::Concatenation(axis)),
            _ => Err(y.refuse(format!("does not have {total} along {axis}"))),
        }
    }

    fn pad(&self) -> Result<Kind> {
        self.count(2, 2)?;
        let (x, y) = (self.input(0)?, self.output()?);
        self.same_codes(x, y)?;
        let pads = self.known(1, "paddings")?;
        if pads.len() != 2 * x.shape.len() {
            return fail("paddings", format!("are {}, not 2 a dimension", pads.len()));
        }
        let mut by = Vec::with_capacity(x.shape.len());
        let mut want = Vec::with_capacity(x.shape.len());
        for (pair, size) in pads.chunks_exact(2).zip(&x.shape) {
            let [Ok(a), Ok(b)] =
                [pair.first(), pair.last()].map(|v| usize::try_from(v.copied().unwrap_or(-1)))
            else {
                return fail("paddings", "are negative");
            };
            by.push([a, b]);
            want.push(size.saturating_add(a).saturating_add(b));
        }
        self.shape(&want)?;
        Ok(Kind::Pad(by))
    }

    fn reshape(&self) -> Result<Kind> {
        self.count(1, 2)?;
        let (x, y) = (self.input(0)?, self.output()?);
        self.same_codes(x, y)?;
        if x.elements() != y.elements() {
            let why = format!("has {} elements, not {}", y.elements(), x.elements());
            return Err(y.refuse(why));
        }
        Ok(Kind::Reshape)
    }

    fn transpose(&self) -> Result<Kind> {
        self.count(2, 2)?;
        let (x, y) = (self.input(0)?, self.output()?);
        self.same_codes(x, y)?;
        let perm = self.known(1, "perm")?;
        let rank = x.shape.len();
        let perm = perm
            .into_iter()
            .map(|p| self.axis(p, rank))
            .collect::<Result<Vec<_>>>()?;
        let mut sorted = perm.clone();
        sorted.sort_unstable();
        if !sorted.into_iter().eq(0..rank) {
            return fail("perm", format!("{} is no permutation", list(&perm)));
        }
        let want: Vec<usize> = perm
            .iter()
            .filter_map(|p| x.shape.get(*p).copied())
            .collect();
        self.shape(&want)?;
        Ok(Kind::Transpose(perm))
    }

    fn mean(&self) -> Result<Kind> {
        self.count(2, 2)?;
        let keep = self.flag(0, "keep_dims")?;
        self.computed(0)?;
        let x = self.input(0)?;
        let mut axes = self
            .known(1, "axis")?
            .into_iter()
            .map(|a| self.axis(a, x.shape.len()))
            .collect::<Result<Vec<_>>>()?;
        axes.sort_unstable();
        axes.dedup();
        let mut want = Vec::new();
        for (i, size) in x.shape.iter().enumerate() {
            match (axes.contains(&i), keep) {
                (false, _) => want.push(*size),
                (true, true) => want.push(1),
                (true, false) => (),
            }
        }
        self.shape(&want)?;
        Ok(Kind::Mean(axes, keep))
    }

    /// One number in, one out, or along the last dimension.
    fn elementwise(&self) -> Result<Kind> {
        let kind = match self.name {
            "SOFTMAX" => {
                let beta = self.float(0, 0.0, "beta")?;
                if beta <= 0.0 {
                    return fail("beta", format!("is {beta}, not above 0"));
                }
                Kind::Softmax(beta)
            }
            "LOG_SOFTMAX" => Kind::LogSoftmax,
            "LOGISTIC" => Kind::Logistic,
            "TANH" => Kind::Tanh,
            "RELU" => Kind::Relu,
            "RELU6" => Kind::Relu6,
            "LEAKY_RELU" => Kind::LeakyRelu(self.float(0, 0.0, "alpha")?),
            "HARD_SWISH" => Kind::HardSwish,
            "GELU" => Kind::Gelu(self.flag(0, "approximate")?),
            "ELU" => Kind::Elu,
            "QUANTIZE" => Kind::Quantize,
            "DEQUANTIZE" => Kind::Dequantize,
            _ => return fail("kind", "is not supported"),
        };
        self.count(1, 1)?;
        let (x, y) = (self.input(0)?, self.output()?);
        self.shape(&x.shape)?;
        let codes = |t: &Tensor<'_>| match t.dtype {
            DType::I8 | DType::I16 | DType::U8 if t.scale().is_some() => Ok(()),
            _ => Err(t.refuse("does not hold codes with one scale")),
        };
        match kind {
            Kind::Quantize => {
                codes(y)?;
                if x.dtype != DType::F32 {
                    codes(x)?;
                }
            }
            Kind::Dequantize => {
                codes(x)?;
                if y.dtype != DType::F32 {
                    return Err(y.refuse("is not float32"));
                }
            }
            _ => {
                let dtype = self.computed(0)?;
                if x.shape.is_empty() && matches!(kind, Kind::Softmax(_) | Kind::LogSoftmax) {
                    return Err(x.refuse("has no dimensions"));
                }
                if matches!(kind, Kind::Relu6) {
                    self.same_codes(x, y)?;
                }
                self.fixed_output(&kind, dtype)?;
            }
        }
        Ok(kind)
    }

    /// Outputs of int8 whose scale is a matter of the operator.
    fn fixed_output(&self, kind: &Kind, dtype: DType) -> Result<()> {
        let want = match kind {
            Kind::Softmax(_) | Kind::Logistic => (1.0 / 256.0, -128),
            Kind::LogSoftmax => (16.0 / 256.0, 127),
            Kind::Tanh => (1.0 / 128.0, 0),
            _ => return Ok(()),
        };
        let y = self.output()?;
        if dtype != DType::I8 || (y.scale(), y.zero()) == (Some(want.0), want.1) {
            return Ok(());
        }
        let (scale, zero) = want;
        Err(y.refuse(format!(
            "must have the scale {scale} and the zero point {zero}"
        )))
    }

    fn strided_slice(&self) -> Result<Kind> {
        self.count(4, 4)?;
        let (x, y) = (self.input(0)?, self.output()?);
        self.same_codes(x, y)?;
        let rank = x.shape.len();
        let [begin, end, strides] = [
            self.known(1, "begin")?,
            self.known(2, "end")?,
            self.known(3, "strides")?,
        ];
        if [begin.len(), end.len(), strides.len()] != [rank; 3] {
            return fail("begin, end, strides", format!("are not {rank} each"));
        }
        let [begin_mask, end_mask, ellipsis, new_axis, shrink] = [
            self.int(0, 0, "begin_mask")?,
            self.int(1, 0, "end_mask")?,
            self.int(2, 0, "ellipsis_mask")?,
            self.int(3, 0, "new_axis_mask")?,
            self.int(4, 0, "shrink_axis_mask")?,
        ];
        if ellipsis != 0 || new_axis != 0 || self.flag(5, "offset")? {
            return fail("ellipsis_mask, new_axis_mask, offset", "are not supported");
        }
        let mut cut = Vec::with_capacity(rank);
        let mut want = Vec::with_capacity(rank);
        let dims = x.shape.iter().zip(begin).zip(end.into_iter().zip(strides));
        for (i, ((size, begin), (end, stride))) in dims.enumerate() {
            let on = |mask: i32| mask >> i & 1 != 0;
            let size = i64::try_from(*size).unwrap_or(i64::MAX);
            let stride = i64::from(stride);
            if stride == 0 {
                return fail("strides", "are 0");
            }
            let (low, high) = if stride > 0 {
                (0, size)
            } else {
                (-1, size - 1)
            };
            let place = |v: i32| {
                let v = i64::from(v);
                (if v < 0 { v + size } else { v }).clamp(low, high)
            };
            let first = match (on(begin_mask), stride > 0) {
                (true, true) => low,
                (true, false) => high,
                (false, _) => place(begin),
            };
            let last = if on(shrink) {
                first + stride.signum()
            } else if on(end_mask) {
                if stride > 0 {
                    high
                } else {
                    low
                }
            } else {
                place(end)
            };
            let along = (last - first) * stride.signum();
            let count = if along <= 0 {
                0
            } else {
                (along - 1) / stride.abs() + 1
            };
            let (Ok(from), Ok(count), Ok(step)) = (
                usize::try_from(first),
                usize::try_from(count),
                isize::try_from(stride),
            ) else {
                return fail("begin", format!("lies outside of dimension {i}"));
            };
            if count == 0 || first >= size {
                return fail("slice", format!("is empty along dimension {i}"));
            }
            cut.push((from, step));
            if !on(shrink) {
                want.push(count);
            }
        }
        self.shape(&want)?;
        Ok(Kind::StridedSlice(cut))
    }

    fn split(&self) -> Result<Kind> {
        if self.inputs.len() != 2 || self.outputs.is_empty() {
            return fail(
                "inputs",
                "are not an axis and a tensor, or there are no outputs",
            );
        }
        let x = self.input(1)?;
        let axis = match self.known(0, "axis")?.as_slice() {
            [axis] => self.axis(*axis, x.shape.len())?,
            _ => return fail("axis", "is not one number"),
        };
        let parts = self.outputs.len();
        let mut want = x.shape.clone();
        match want.get_mut(axis) {
            Some(size) if *size % parts == 0 => *size /= parts,
            _ => return Err(x.refuse(format!("has no {parts} equal parts along {axis}"))),
        }
        for y in &self.outputs {
            self.same_codes(x, y)?;
            self.shape_of(y, &want)?;
        }
        Ok(Kind::Split(axis))
    }

    fn lstm(&self) -> Result<(Kind, u64)> {
        self.count(20, 24)?;
        if self
            .options
            .map_or(Ok(0i8), |o| o.number(0, 0, "activation"))?
            != 4
        {
            return fail("fused_activation_function", "is not tanh");
        }
        let clip = self.float(1, 0.0, "cell_clip")?;
        let projection = self.float(2, 0.0, "proj_clip")?;
        if clip < 0.0 || projection != 0.0 || self.flag(5, "diagonal_recurrent_tensors")? {
            return fail(
                "cell_clip, proj_clip, diagonal_recurrent_tensors",
                "are not supported",
            );
        }
        let time_major = self.flag(3, "time_major")?;
        let extra = [9, 10, 11, 16, 17, 20, 21, 22, 23];
        if extra
            .iter()
            .any(|i| matches!(self.inputs.get(*i), Some(Some(_))))
        {
            return fail(
                "peepholes, projection, layer normalisation",
                "are not supported",
            );
        }
        let dtype = self.computed(0)?;
        let x = self.input(0)?;
        let [a, b, inputs] = x.shape.as_slice() else {
            return Err(x.refuse("has not 3 dimensions"));
        };
        let batch = if time_major { *b } else { *a };
        let recurrent = self.input(5)?;
        let Some(units) = recurrent.shape.first().copied() else {
            return Err(recurrent.refuse("has no dimensions"));
        };
        let (cell, bias, weight) = match dtype {
            DType::F32 => (DType::F32, DType::F32, DType::F32),
            DType::I8 => (DType::I16, DType::I32, DType::I8),
            _ => return fail("types", "of 16 bits are not supported"),
        };
        let typed = |t: &Tensor<'_>, want: DType| {
            if t.dtype == want {
                return Ok(());
            }
            Err(t.refuse(format!(
                "is of type {}, not {}",
                t.dtype.name(),
                want.name()
            )))
        };
        for gate in 0..4 {
            let parts = [
                (1 + gate, vec![units, *inputs], weight),
                (5 + gate, vec![units, units], weight),
                (12 + gate, vec![units], bias),
            ];
            for (at, shape, dtype) in parts {
                let t = self.input(at)?;
                typed(t, dtype)?;
                self.shape_of(t, &shape)?;
                if t.data.is_none() {
                    return Err(t.refuse("is computed; weights must be known"));
                }
                if dtype == DType::I8 && (t.scale().is_none() || t.zero() != 0) {
                    return Err(t.refuse("needs one scale and the zero point 0"));
                }
            }
        }
        for (at, dtype) in [(18, dtype), (19, cell)] {
            let state = self.input(at)?;
            typed(state, dtype)?;
            if state.elements() != batch.saturating_mul(units) || !state.variable {
                return Err(state.refuse(format!("is no variable of {batch} x {units}")));
            }
            if dtype != DType::F32 && state.scale().is_none() {
                return Err(state.refuse("needs one scale"));
            }
        }
        if dtype != DType::F32 {
            self.same_codes(self.input(18)?, self.output()?)?;
        }
        self.shape(&[*a, *b, units])?;
        let each = product(&[*a, *b, 4, units]);
        let macs = each.saturating_mul(inputs.saturating_add(units) as u64);
        Ok((Kind::Lstm(clip, time_major), macs))
    }

    fn batch_matmul(&self) -> Result<(Kind, u64)> {
        self.count(2, 2)?;
        let [first, second] = [self.flag(0, "adj_x")?, self.flag(1, "adj_y")?];
        self.computed(0)?;
        self.computed(1)?;
        let (a, b) = (self.input(0)?, self.input(1)?);
        let parts = |t: &Tensor<'_>, turned: bool| match t.shape.as_slice() {
            [batch @ .., rows, columns] if turned => Ok((batch.to_vec(), *columns, *rows)),
            [batch @ .., rows, columns] => Ok((batch.to_vec(), *rows, *columns)),
            _ => Err(t.refuse("has fewer than 2 dimensions")),
        };
        let (batch, rows, inner) = parts(a, first)?;
        let (other, also, columns) = parts(b, second)?;
        if batch != other || inner != also {
            let (a, b) = (list(&a.shape), list(&b.shape));
            return fail("shapes", format!("{a} and {b} do not go together"));
        }
        let mut want = batch;
        want.extend([rows, columns]);
        self.shape(&want)?;
        let macs = product(&want).saturating_mul(inner as u64);
        Ok((Kind::BatchMatmul(first, second), macs))
    }

    fn resize(&self) -> Result<Kind> {
        self.count(2, 2)?;
        let [align, half] = [
            self.flag(0, "align_corners")?,
            self.flag(1, "half_pixel_centers")?,
        ];
        if align && half {
            return fail("align_corners", "and half_pixel_centers exclude each other");
        }
        self.same_codes(self.input(0)?, self.output()?)?;
        let [n, _, _, c] = self.image(0)?;
        let size = self.known(1, "size")?;
        let [Ok(h), Ok(w)] =
            [size.first(), size.get(1)].map(|v| usize::try_from(v.copied().unwrap_or(-1)))
        else {
            return fail("size", "is not two numbers above 0");
        };
        self.shape(&[n, h, w, c])?;
        Ok(Kind::ResizeNearest(align, half))
    }
}

fn product(sizes: &[usize]) -> u64 {
    sizes
        .iter()
        .fold(1u64, |n, size| n.saturating_mul(*size as u64))
}
