// SPDX-License-Identifier: GPL-2.0

//! From a network of single precision to one of codes, after training, and what is lost.
//!
//! Each tensor that is computed gets a scale and a zero point: those that the file brought along, or
//! those of the range that it has on samples (`range`). Weights get a scale for each output. `lower`
//! makes the operations on codes of those on floats.

mod lower;
mod lower16;
mod range;

use std::collections::HashMap;

use neural_core::nnm::{self, DType, Limits, OpKind};

use crate::engine::{self, Engine};
use crate::error::{Error, Result};
use crate::net::Net;
use crate::reference::Reference;
use crate::table::{argmax, Table};

pub use range::Method;

/// Scale and zero point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Codes {
    /// What a step is worth.
    pub scale: f32,
    /// The code of 0.
    pub zero: i32,
}

impl Codes {
    /// The nearest code.
    pub fn code(self, x: f64) -> i32 {
        let code = (x / f64::from(self.scale)).round() + f64::from(self.zero);
        code.clamp(-128.0, 127.0) as i32 // CAST: just limited; 0 of what is no number
    }

    /// The number of a code.
    pub fn number(self, code: i32) -> f64 {
        f64::from(self.scale) * f64::from(code - self.zero)
    }
}

/// The size of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// Scale and zero point.
    Eight,
    /// Only a scale.
    Sixteen,
}

/// What is known of the codes of a network before any sample was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// By tensor.
    pub(crate) codes: HashMap<u32, Codes>,
    /// The scales of the rows of weights, by tensor.
    pub(crate) rows: HashMap<u32, Vec<f64>>,
}

/// A network of single precision with what is known of its codes.
pub(crate) struct Source<'a> {
    pub(crate) net: Net<'a>,
    pub(crate) known: Known,
    pub(crate) input: u32,
    pub(crate) output: u32,
}

impl<'a> Source<'a> {
    /// Takes a model file.
    pub(crate) fn of(file: &'a [u8], labels: &[String]) -> Result<Self> {
        let model = nnm::parse(file, &Limits::default()).map_err(engine::error)?;
        if model.dtype() != DType::F32 {
            return Err(Error::refused("--type i8", "goes with networks of float32"));
        }
        Ok(Self {
            net: Net::of(&model, labels),
            known: Known::default(),
            input: model.input_tensor(),
            output: model.output_tensor(),
        })
    }

    /// The same network with only what its output needs.
    pub(crate) fn compact(self) -> Self {
        let (net, number) = self.net.compact(self.input, self.output);
        let new = |old: u32| number.get(old as usize).copied().unwrap_or(nnm::NONE);
        let known = self.known;
        Self {
            net,
            input: new(self.input),
            output: new(self.output),
            known: Known {
                codes: known.codes.into_iter().map(|(t, c)| (new(t), c)).collect(),
                rows: known.rows.into_iter().map(|(t, r)| (new(t), r)).collect(),
            },
        }
    }
}

/// How numbers differ from others.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Loss {
    /// The largest difference.
    pub max: f64,
    /// The sum of the differences.
    pub sum: f64,
    /// How many.
    pub count: u64,
    signal: f64,
    noise: f64,
}

impl Loss {
    fn add(&mut self, have: &[f64], want: &[f64]) {
        for (have, want) in have.iter().zip(want) {
            let off = (have - want).abs();
            self.max = self.max.max(off);
            self.sum += off;
            self.count += 1;
            self.signal += want * want;
            self.noise += off * off;
        }
    }

    /// The mean difference, 0 of none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 {
            0.0
        } else {
            self.sum / self.count as f64
        }
    }

    /// Signal to noise in dB: infinite without noise.
    pub fn sqnr(&self) -> f64 {
        10.0 * (self.signal / self.noise).log10()
    }
}

/// A layer of the network of codes and what it loses.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it is called.
    pub label: String,
    /// What it computes.
    pub kind: &'static str,
    /// Its codes.
    pub codes: Codes,
    /// The difference to the network in double precision, from the input up to here.
    pub loss: Loss,
}

/// What is lost.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Samples that the outputs were compared on.
    pub samples: u64,
    /// Those with the same largest output.
    pub same_class: u64,
    /// Of the outputs.
    pub outputs: Loss,
    /// Layer by layer, on the first of the samples.
    pub layers: Vec<Layer>,
}

/// A network of codes.
#[derive(Debug)]
pub struct Quantised {
    /// The model file.
    pub file: Vec<u8>,
    /// What is lost, if there were samples.
    pub report: Option<Report>,
    /// Layers of floats whose weights the file has as codes.
    pub stored_as_codes: usize,
}

impl Quantised {
    /// A model file, as it is.
    pub fn plain(file: Vec<u8>, report: Option<Report>) -> Self {
        Quantised {
            file,
            report,
            stored_as_codes: 0,
        }
    }
}

/// Samples that layers are compared on.
const LAYER_SAMPLES: usize = 16;

/// Makes a network of codes; `samples` are needed where codes are not known.
pub(crate) fn quantise(
    source: Source<'_>,
    name: &str,
    samples: Option<&Table>,
    method: Method,
    bits: Bits,
) -> Result<Quantised> {
    if bits == Bits::Sixteen {
        return sixteen(source.compact(), name, samples, method);
    }
    // Functions that codes do not have as limits stand alone.
    let source = lower::expand(source)?.compact();
    let file = source.net.file(name, source.input, source.output)?;
    let reference = Reference::new(&file)?;
    let mut codes = source.known.codes.clone();
    if codes.is_empty() {
        let samples = samples.ok_or_else(|| needed("--type i8"))?;
        codes = calibrate(&source, &reference, samples, method)?;
    }
    lower::spread(&source, &mut codes)?;
    let lowered = lower::lower(&source, &codes)?;
    let file = lowered.net.file(name, lowered.input, lowered.output)?;
    // What the kernel would refuse is refused here.
    Engine::new(&file)?;
    let report = match samples {
        Some(samples) => Some(report(&lowered, &file, &reference, samples)?),
        None => None,
    };
    Ok(Quantised::plain(file, report))
}

fn needed(option: &str) -> Error {
    let why = "needs --samples to find the ranges of values, as the file has no scales";
    Error::usage(option, why)
}

/// Makes a network of 16-bit codes.
fn sixteen(
    source: Source<'_>,
    name: &str,
    samples: Option<&Table>,
    method: Method,
) -> Result<Quantised> {
    let reference = Reference::new(&source.net.file(name, source.input, source.output)?)?;
    let samples = samples.ok_or_else(|| needed("--type i16"))?;
    let seen = seen(&source, &reference, samples, method)?;
    let scales: Vec<f32> = seen.iter().map(|s| s.short(method)).collect();
    let lowered = lower16::lower(&source, &scales)?;
    let file = lowered.net.file(name, lowered.input, lowered.output)?;
    Engine::new(&file)?;
    let report = Some(report(&lowered, &file, &reference, samples)?);
    Ok(Quantised::plain(file, report))
}

/// The numbers of all tensors on samples.
fn seen(
    source: &Source<'_>,
    reference: &Reference,
    samples: &Table,
    method: Method,
) -> Result<Vec<range::Seen>> {
    let mut seen = vec![range::Seen::default(); source.net.tensors()];
    let mut round = |take: fn(&mut range::Seen, &[f64])| -> Result<()> {
        for row in samples.iter() {
            reference.run(row, &mut |tensor, values| {
                if let Some(seen) = seen.get_mut(tensor as usize) {
                    take(seen, values);
                }
            })?;
        }
        Ok(())
    };
    round(range::Seen::widen)?;
    if method != Method::MinMax {
        round(range::Seen::count)?;
    }
    Ok(seen)
}

/// The codes of all tensors by the numbers that samples give.
fn calibrate(
    source: &Source<'_>,
    reference: &Reference,
    samples: &Table,
    method: Method,
) -> Result<HashMap<u32, Codes>> {
    let seen = seen(source, reference, samples, method)?;
    let mut codes = HashMap::new();
    let of = |tensor: u32| seen.get(tensor as usize).map(|s| s.codes(method));
    codes.extend(of(source.input).map(|c| (source.input, c)));
    for (i, op) in source.net.ops().iter().enumerate() {
        let first = op.inputs.first().and_then(|x| codes.get(x)).copied();
        let this = match op.kind {
            // Those who compute without changing the scale.
            OpKind::Reshape
            | OpKind::Transpose
            | OpKind::Slice
            | OpKind::MaxPool2d
            | OpKind::AveragePool2d => first,
            _ => lower::fixed(op).or_else(|| of(op.output)),
        };
        let this =
            this.ok_or_else(|| Error::refused(source.net.label_of(i), "reads what has no codes"))?;
        codes.insert(op.output, this);
    }
    lower::join(source, &mut codes);
    Ok(codes)
}

fn report(
    lowered: &lower::Lowered<'_>,
    file: &[u8],
    reference: &Reference,
    samples: &Table,
) -> Result<Report> {
    let mut engine = Engine::new(file)?;
    let input = engine.input().encode(samples, false)?;
    let inputs = || input.chunks_exact(engine.input().bytes().max(1));
    let mut report = Report::default();
    let mut wanted: Vec<HashMap<u32, Vec<f64>>> = Vec::new();
    let predict = |engine: &mut Engine, x: &[u8]| -> Result<Vec<f64>> {
        let mut y = vec![0; engine.output().bytes()];
        engine.run(x, &mut y)?;
        Ok(engine.output().decode(&y, false))
    };
    let rows: Vec<&[u8]> = inputs().collect();
    for (row, x) in samples.iter().zip(&rows) {
        let mut all = HashMap::new();
        let want = reference.run(row, &mut |tensor, values| {
            if wanted.len() < LAYER_SAMPLES {
                all.insert(tensor, values.to_vec());
            }
        })?;
        if wanted.len() < LAYER_SAMPLES {
            wanted.push(all);
        }
        let have = predict(&mut engine, x)?;
        report.outputs.add(&have, &want);
        report.samples += 1;
        report.same_class += u64::from(argmax(&have) == argmax(&want));
    }
    for layer in &lowered.layers {
        let file = lowered.net.file("layer", lowered.input, layer.tensor)?;
        let mut engine = Engine::new(&file)?;
        let mut loss = Loss::default();
        for (all, x) in wanted.iter().zip(&rows) {
            if let Some(want) = all.get(&layer.origin) {
                loss.add(&predict(&mut engine, x)?, want);
            }
        }
        report.layers.push(Layer {
            label: layer.label.clone(),
            kind: layer.kind,
            codes: layer.codes,
            loss,
        });
    }
    Ok(report)
}
