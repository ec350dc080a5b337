// SPDX-License-Identifier: GPL-2.0

//! From ONNX to model files; and from layers in floating point to Q16.16, and what is lost on the way.

use neural_core::act::Activation;
use neural_core::nnm::{self, DenseSpec, Part};

use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::fuse;
use crate::layers::{Act, Layer, Network};
use crate::onnx::{self, Onnx};
use crate::quantise::{self, Bits, Method, Quantised, Source};
use crate::table::{argmax, from_q16, to_q16, Table, MAX, MIN, SCALE};

/// A sum of absolute differences.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Difference {
    /// The largest.
    pub max: f64,
    /// All of them together.
    pub sum: f64,
    /// How many.
    pub count: u64,
}

impl Difference {
    /// Takes one more difference in.
    pub fn add(&mut self, a: f64, b: f64) {
        let d = (a - b).abs();
        self.max = self.max.max(d);
        self.sum += d;
        self.count += 1;
    }

    /// The mean, 0 of none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }
}

/// A converted network.
#[derive(Debug)]
pub struct Converted {
    /// The model file.
    pub file: Vec<u8>,
    /// What it was made from.
    pub network: Network,
    /// Rounding of weights and biases, layer by layer.
    pub rounding: Vec<Difference>,
}

/// How the converted network differs from the one in floating point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EndToEnd {
    /// Samples compared.
    pub samples: u64,
    /// Differences of the outputs.
    pub outputs: Difference,
    /// Samples with the same largest output.
    pub same_class: u64,
}

/// Converts an ONNX file; nothing in it can do worse than be refused.
pub fn convert(onnx: &[u8], name: &str, output_name: Option<&str>) -> Result<Converted> {
    quantise(onnx::import(onnx, output_name)?, name)
}

/// How the codes of values are found.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// Inputs that are like those to come.
    pub samples: Option<Table>,
    /// From the values on them to ranges.
    pub method: Method,
    /// The size of codes.
    pub bits: Bits,
}

/// Converts an ONNX graph to a model file of single precision.
pub fn onnx_to_floats(onnx: &Onnx, name: &str, output_name: Option<&str>) -> Result<Vec<u8>> {
    let Source {
        mut net,
        input,
        output,
        ..
    } = onnx.floats(output_name)?;
    fuse::normalisations(&mut net, output)?;
    let file = net.file(name, input, output)?;
    Engine::new(&file)?;
    Ok(file)
}

/// The model file of single precision with what is in front of dense layers taken into them.
pub fn fused(file: &[u8], name: &str) -> Result<Vec<u8>> {
    let Source {
        mut net,
        input,
        output,
        ..
    } = Source::of(file, &[])?;
    fuse::normalisations(&mut net, output)?;
    net.file(name, input, output)
}

/// Converts an ONNX graph to a model file of codes: those of the graph, or found by samples.
pub fn onnx_to_codes(
    onnx: &Onnx,
    name: &str,
    output_name: Option<&str>,
    how: &Calibration,
) -> Result<Quantised> {
    codes(onnx.floats(output_name)?, name, how)
}

/// Converts a model file of single precision to one of codes.
pub fn floats_to_codes(file: &[u8], name: &str, how: &Calibration) -> Result<Quantised> {
    codes(Source::of(file, &[])?, name, how)
}

fn codes(source: Source<'_>, name: &str, how: &Calibration) -> Result<Quantised> {
    let columns = source.net.dims(source.input).iter().product();
    let samples = match &how.samples {
        Some(table) => Some(table.clone().with_cols(columns, "the network")?),
        None => None,
    };
    quantise::quantise(source, name, samples.as_ref(), how.method, how.bits)
}

/// Rounds a network to Q16.16 and writes its model file.
pub fn quantise(network: Network, name: &str) -> Result<Converted> {
    neural_core::name::check(name.as_bytes())
        .map_err(|e| engine::error(e).within(format!("'{name}'")))?;
    let mut specs = Vec::with_capacity(network.layers.len());
    let mut rounding = Vec::with_capacity(network.layers.len());
    for layer in &network.layers {
        specs.push(spec(layer)?);
        let mut difference = Difference::default();
        check(&layer.weights, &layer.weights_name, &mut difference)?;
        check(&layer.bias, &layer.bias_name, &mut difference)?;
        sums(layer)?;
        rounding.push(difference);
    }
    let mut file = vec![0; nnm::dense_file_bytes(&specs).map_err(engine::error)?];
    let mut fill = |layer: usize, part: Part, dst: &mut [u8]| {
        let values = network.layers.get(layer).map(|l| match part {
            Part::Weights => &l.weights,
            Part::Bias => &l.bias,
        });
        for (to, v) in dst.chunks_exact_mut(4).zip(values.into_iter().flatten()) {
            to.copy_from_slice(&to_q16(*v).unwrap_or(0).to_le_bytes()); // checked above
        }
    };
    let length = nnm::write_dense(name, &specs, &mut fill, &mut file).map_err(engine::error)?;
    file.truncate(length);
    // What the kernel would refuse is refused here: sums that could overflow, too many layers.
    Engine::new(&file)?;
    Ok(Converted {
        file,
        network,
        rounding,
    })
}

fn spec(layer: &Layer) -> Result<DenseSpec> {
    let size = |n: usize| u32::try_from(n).map_err(|e| Error::refused(&layer.weights_name, e));
    let activation = match layer.act {
        Act::Linear => Activation::Linear,
        Act::Relu => Activation::Relu,
        Act::LeakyRelu(slope) => Activation::LeakyRelu {
            slope: to_q16(slope).ok_or_else(|| {
                let why = format!("slope {slope} is outside the range {MIN}..{MAX:.5} of Q16.16");
                Error::refused(format!("LeakyRelu after '{}'", layer.weights_name), why)
            })?,
        },
        Act::Sigmoid => Activation::Sigmoid,
        Act::Tanh => Activation::Tanh,
        Act::Softmax => Activation::Softmax,
    };
    Ok(DenseSpec {
        inputs: size(layer.inputs)?,
        outputs: size(layer.outputs)?,
        activation,
    })
}

fn check(values: &[f64], name: &str, difference: &mut Difference) -> Result<()> {
    for (i, v) in values.iter().enumerate() {
        let Some(q) = to_q16(*v) else {
            let why = format!("element {i} is {v}, outside the range {MIN}..{MAX:.5} of Q16.16");
            return Err(Error::refused(format!("tensor '{name}'"), why));
        };
        difference.add(from_q16(q), *v);
    }
    Ok(())
}

/// No input whatsoever may overflow the sum of a row; the model file has the same bound.
fn sums(layer: &Layer) -> Result<()> {
    let size = |v: &f64| u128::from(to_q16(*v).unwrap_or(0).unsigned_abs());
    let rows = layer.weights.chunks_exact(layer.inputs.max(1));
    for (row, (weights, bias)) in rows.zip(&layer.bias).enumerate() {
        let weights: u128 = weights.iter().map(size).sum();
        if (weights << 31) + (size(bias) << 16) + (1 << 15) >= 1 << 63 {
            let sum = weights as f64 / SCALE;
            let why = format!("the weights of output {row} are too large: together {sum:.0}, below 65536 is possible");
            return Err(Error::refused(
                format!("tensor '{}'", layer.weights_name),
                why,
            ));
        }
    }
    Ok(())
}

impl Converted {
    /// All rounding of weights and biases together.
    pub fn total_rounding(&self) -> Difference {
        self.rounding
            .iter()
            .fold(Difference::default(), |a, b| Difference {
                max: a.max.max(b.max),
                sum: a.sum + b.sum,
                count: a.count + b.count,
            })
    }

    /// Runs samples through the engine of the kernel and through the network in double precision.
    pub fn compare(&self, samples: &Table, mut step: impl FnMut()) -> Result<EndToEnd> {
        let mut engine = Engine::new(&self.file)?;
        let quantised = samples.quantise()?;
        let mut result = EndToEnd::default();
        for (row, q) in samples
            .iter()
            .zip(quantised.chunks_exact(samples.cols.max(1)))
        {
            let want = self.network.eval(row);
            let have: Vec<f64> = engine.predict(q)?.into_iter().map(from_q16).collect();
            for (a, b) in have.iter().zip(&want) {
                result.outputs.add(*a, *b);
            }
            result.samples += 1;
            result.same_class += u64::from(argmax(&have) == argmax(&want));
            step();
        }
        Ok(result)
    }
}
