// SPDX-License-Identifier: GPL-2.0

//! A checked graph: what is in it needs no further look at the file.

use super::scales::Activation;
use crate::error::{Error, Result};

/// The type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// Floating point.
    F32,
    /// 8 bits, signed.
    I8,
    /// 8 bits.
    U8,
    /// 16 bits, signed.
    I16,
    /// 32 bits, signed.
    I32,
    /// 64 bits, signed.
    I64,
}

impl DType {
    /// From the number in the file.
    pub(super) fn new(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::F32,
            2 => Self::I32,
            3 => Self::U8,
            4 => Self::I64,
            7 => Self::I16,
            9 => Self::I8,
            _ => return None,
        })
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }

    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// The smallest and the largest zero point.
    pub(super) fn zeros(self) -> (i64, i64) {
        match self {
            Self::I8 => (-128, 127),
            Self::U8 => (0, 255),
            _ => (0, 0),
        }
    }
}

/// real = scale * (code - zero).
#[derive(Clone, Debug, PartialEq)]
pub struct Quant {
    /// One scale, or one for each place along `axis`; each finite and above 0.
    pub scale: Vec<f32>,
    /// The code of 0; the same for all places.
    pub zero: i32,
    /// Along which dimension the scales are.
    pub axis: usize,
}

/// A tensor of fewer than 2^31 elements; one that is used has at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its dimensions; none for a single number.
    pub shape: Vec<usize>,
    /// The type of its elements.
    pub dtype: DType,
    /// How codes become numbers, if it is quantised.
    pub quant: Option<Quant>,
    /// Its elements, little-endian, if they are known; as many as the shape has.
    pub data: Option<&'a [u8]>,
    /// Whether it is kept from one step to the next.
    pub variable: bool,
}

impl Tensor<'_> {
    /// How many elements it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product() // checked when it was read
    }

    /// The only scale.
    pub fn scale(&self) -> Option<f32> {
        match self.quant.as_ref()?.scale.as_slice() {
            [scale] => Some(*scale),
            _ => None,
        }
    }

    /// The code of 0.
    pub fn zero(&self) -> i32 {
        self.quant.as_ref().map_or(0, |q| q.zero)
    }

    /// The elements, where they are known and of type i32 or i64; an i64 beyond i32 gives none.
    pub fn integers(&self) -> Option<Vec<i32>> {
        let data = self.data?;
        match self.dtype {
            DType::I32 => Some(
                data.chunks_exact(4)
                    .filter_map(|b| b.first_chunk().map(|b| i32::from_le_bytes(*b)))
                    .collect(),
            ),
            DType::I64 => data
                .chunks_exact(8)
                .filter_map(|b| b.first_chunk().map(|b| i64::from_le_bytes(*b)))
                .map(|v| i32::try_from(v).ok())
                .collect(),
            _ => None,
        }
    }

    /// An error about it.
    pub(super) fn refuse(&self, why: impl std::fmt::Display) -> Error {
        Error::refused(format!("tensor '{}'", self.name), why)
    }
}

/// How a window moves over an image; all are [height, width].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Its size.
    pub size: [usize; 2],
    /// The steps it makes.
    pub stride: [usize; 2],
    /// The distance of its taps.
    pub dilation: [usize; 2],
    /// Rows above and columns to the left of the image that it covers at first.
    pub before: [usize; 2],
}

/// What an operator does.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// Inputs: samples, weights [outputs, inputs], perhaps biases.
    FullyConnected(Activation),
    /// Inputs: image, weights [outputs, height, width, channels], perhaps biases.
    Conv2d(Window, Activation),
    /// Inputs: image, weights [1, height, width, outputs], perhaps biases; outputs for each channel.
    DepthwiseConv2d(Window, usize, Activation),
    /// The mean of what of the window lies inside of the image.
    AveragePool2d(Window, Activation),
    /// The largest below the window.
    MaxPool2d(Window, Activation),
    /// Two inputs, of which one may be smaller.
    Add(Activation),
    /// As above.
    Sub(Activation),
    /// As above.
    Mul(Activation),
    /// Along a dimension.
    Concatenation(usize),
    /// Elements before and after, for each dimension.
    Pad(Vec<[usize; 2]>),
    /// Only the shape changes: RESHAPE, SQUEEZE, EXPAND_DIMS.
    Reshape,
    /// Dimension i of the output is dimension `.0[i]` of the input.
    Transpose(Vec<usize>),
    /// Over these dimensions; whether they are kept as 1.
    Mean(Vec<usize>, bool),
    /// Along the last dimension, with a factor for the input.
    Softmax(f32),
    /// Along the last dimension.
    LogSoftmax,
    /// The logistic function.
    Logistic,
    /// The hyperbolic tangent.
    Tanh,
    /// At least 0.
    Relu,
    /// From 0 to 6.
    Relu6,
    /// With the slope below 0.
    LeakyRelu(f32),
    /// x * relu6(x + 3) / 6.
    HardSwish,
    /// Whether by tanh.
    Gelu(bool),
    /// exp(x) - 1 below 0.
    Elu,
    /// To other codes.
    Quantize,
    /// From codes to numbers.
    Dequantize,
    /// First element and step for each dimension of the input; a dimension may be left out of the
    /// output, which then has one element there.
    StridedSlice(Vec<(usize, isize)>),
    /// Into equal parts along a dimension.
    Split(usize),
    /// Limit of the cell, 0 for none; whether the time is the first dimension.
    Lstm(f32, bool),
    /// Whether each of the inputs is transposed.
    BatchMatmul(bool, bool),
    /// Whether corners are aligned; whether centres are at halves.
    ResizeNearest(bool, bool),
}

impl Kind {
    /// What it does with its parameters, in a few words.
    pub fn describe(&self) -> String {
        let by = |v: [usize; 2]| format!("{}x{}", v[0], v[1]);
        let window = |w: &Window| {
            let mut text = format!("{} stride {}", by(w.size), by(w.stride));
            if w.dilation != [1, 1] {
                text.push_str(&format!(" dilation {}", by(w.dilation)));
            }
            if w.before != [0, 0] {
                text.push_str(&format!(" pad {}", by(w.before)));
            }
            text
        };
        let with = |text: String, a: &Activation| format!("{text} {}", a.name()).trim().to_owned();
        match self {
            Self::FullyConnected(a) | Self::Add(a) | Self::Sub(a) | Self::Mul(a) => {
                with(String::new(), a)
            }
            Self::Conv2d(w, a) | Self::AveragePool2d(w, a) | Self::MaxPool2d(w, a) => {
                with(window(w), a)
            }
            Self::DepthwiseConv2d(w, 1, a) => with(window(w), a),
            Self::DepthwiseConv2d(w, n, a) => with(format!("{} x{n}", window(w)), a),
            Self::Concatenation(axis) | Self::Split(axis) => format!("axis {axis}"),
            Self::Pad(pads) => {
                let pads: Vec<String> = pads.iter().map(|[a, b]| format!("{a}+{b}")).collect();
                pads.join(",")
            }
            Self::Transpose(perm) => list(perm),
            Self::Mean(axes, keep) => {
                format!("axes {}{}", list(axes), if *keep { " kept" } else { "" })
            }
            Self::Softmax(beta) if *beta != 1.0 => format!("beta {beta}"),
            Self::LeakyRelu(alpha) => format!("alpha {alpha}"),
            Self::Gelu(true) => "by tanh".to_owned(),
            Self::StridedSlice(cut) => {
                let cut: Vec<String> = cut.iter().map(|(a, s)| format!("{a}:{s}")).collect();
                cut.join(",")
            }
            Self::Lstm(clip, time_major) => {
                let clip = if *clip > 0.0 {
                    format!("clip {clip}")
                } else {
                    String::new()
                };
                let order = if *time_major { "time first" } else { "" };
                format!("{clip} {order}").trim().to_owned()
            }
            Self::BatchMatmul(a, b) => match (a, b) {
                (false, false) => String::new(),
                (true, false) => "first transposed".to_owned(),
                (false, true) => "second transposed".to_owned(),
                (true, true) => "both transposed".to_owned(),
            },
            Self::ResizeNearest(true, _) => "corners aligned".to_owned(),
            Self::ResizeNearest(_, true) => "half centres".to_owned(),
            _ => String::new(),
        }
    }
}

/// Numbers with commas.
pub(crate) fn list(values: &[usize]) -> String {
    let values: Vec<String> = values.iter().map(usize::to_string).collect();
    values.join(",")
}

/// An operator.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// Its name in TFLite.
    pub name: &'static str,
    /// What it does.
    pub kind: Kind,
    /// The tensors that it reads; some may be left out.
    pub inputs: Vec<Option<usize>>,
    /// The tensors that it writes.
    pub outputs: Vec<usize>,
    /// Multiply-accumulates.
    pub macs: u64,
}

/// A graph. Every index is that of a tensor; what an operator reads was written before, is an input
/// or known, and nothing is written twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph<'a> {
    /// The tensors.
    pub tensors: Vec<Tensor<'a>>,
    /// The operators, in the order of execution.
    pub ops: Vec<Op>,
    /// The tensors that are given.
    pub inputs: Vec<usize>,
    /// The tensors that are asked for.
    pub outputs: Vec<usize>,
}

impl<'a> Graph<'a> {
    /// A tensor by its index.
    pub fn tensor(&self, index: usize) -> Result<&Tensor<'a>> {
        self.tensors
            .get(index)
            .ok_or_else(|| Error::refused("graph", format!("there is no tensor {index}")))
    }

    /// Multiply-accumulates of all operators.
    pub fn macs(&self) -> u64 {
        self.ops
            .iter()
            .fold(0, |sum, op| sum.saturating_add(op.macs))
    }
}
