// SPDX-License-Identifier: GPL-2.0

//! A network: of a model file, or of floats that are quantised and written as one; checked, planned and packed.

use neural_core::act::Activation;
use neural_core::error::Error;
use neural_core::fixed::{self, ELEMENT_BYTES, ONE};
use neural_core::nnm::{self, DType, DenseSpec, Limits, Part};
use neural_core::plan::{self, Kernels, Plan, Scalar, Step};

/// Why a network could not be made.
#[derive(Debug)]
pub enum Failure {
    /// The engine says no.
    Engine(Error),
    /// There are this many weights, and there should be that many.
    WeightCount(usize, usize),
    /// This weight does not fit in Q16.16.
    Weight(f32),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Engine(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Engine(error) => error.fmt(f),
            Failure::WeightCount(have, want) => write!(f, "{have} weights, expected {want}"),
            Failure::Weight(w) => write!(f, "the weight {w} does not fit in Q16.16"),
        }
    }
}

impl std::error::Error for Failure {}

/// Bytes that start at a multiple of 64, as the module's buffers do.
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Aligned {
    fn new(len: usize) -> Self {
        let bytes = vec![0u8; len + nnm::ALIGN];
        let start = bytes.as_ptr().align_offset(nnm::ALIGN);
        Aligned { bytes, start, len }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    fn get_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

/// A float as Q16.16: nearest, halves away from zero; `None` outside the range and for no number.
pub fn quantise(value: f32) -> Option<i32> {
    let scaled = (f64::from(value) * f64::from(ONE)).round();
    // CAST: the range is checked, and the value is whole.
    (scaled >= f64::from(i32::MIN) && scaled <= f64::from(i32::MAX)).then_some(scaled as i32)
}

/// Q16.16 elements as bytes.
pub fn to_bytes(values: &[f32]) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(values.len() * ELEMENT_BYTES);
    for &value in values {
        bytes.extend_from_slice(&quantise(value).ok_or(Failure::Weight(value))?.to_le_bytes());
    }
    Ok(bytes)
}

/// Q16.16 elements as floats.
pub fn to_floats(bytes: &[u8]) -> Vec<f64> {
    fixed::elements(bytes)
        .map(|q| f64::from(q) / f64::from(ONE))
        .collect()
}

/// Bytes of memory that a network takes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The model file.
    pub file: usize,
    /// The packed weights.
    pub weights: usize,
    /// What is computed between input and output, once per context that predicts.
    pub scratch: usize,
    /// The steps of the plan.
    pub steps: usize,
}

/// A network that is ready to predict some samples at a time.
pub struct Network {
    file: Vec<u8>,
    dtype: DType,
    samples: usize,
    plan: Plan,
    steps: Vec<Step>,
    weights: Aligned,
    scratch: Aligned,
    output: Vec<u8>,
}

impl Network {
    /// Makes a network of dense layers; `weights` holds `W[outputs, inputs]` and `b[outputs]` of each layer in turn.
    pub fn new(name: &str, specs: &[DenseSpec], weights: &[f32]) -> Result<Self, Failure> {
        let count = |s: &DenseSpec| (s.inputs as usize + 1) * s.outputs as usize;
        let want = specs.iter().map(count).sum();
        if weights.len() != want {
            return Err(Failure::WeightCount(weights.len(), want));
        }
        let bytes = to_bytes(weights)?;
        let mut rest = bytes.as_slice();
        let mut file = vec![0u8; nnm::dense_file_bytes(specs)?];
        let mut fill = |_: usize, _: Part, dst: &mut [u8]| {
            let (part, after) = rest.split_at(dst.len());
            dst.copy_from_slice(part);
            rest = after;
        };
        nnm::write_dense(name, specs, &mut fill, &mut file)?;
        Self::load(file, 1)
    }

    /// Makes a network of the bytes of a model file, for so many samples at a time.
    pub fn load(file: Vec<u8>, samples: usize) -> Result<Self, Failure> {
        let model = nnm::parse(&file, &Limits::default())?;
        let dtype = model.dtype();
        let mut steps = vec![Step::EMPTY; model.step_count()];
        let plan = model.plan(&mut steps)?;
        let mut weights = Aligned::new(plan.weight_bytes);
        model.pack(&steps, &plan, weights.get_mut())?;
        let scratch = Aligned::new(samples * plan.scratch_bytes);
        let output = vec![0u8; samples * plan.output_bytes];
        Ok(Network {
            file,
            dtype,
            samples,
            plan,
            steps,
            weights,
            scratch,
            output,
        })
    }

    /// Predicts by the code that specifies the results.
    #[inline]
    pub fn predict(&mut self, input: &[u8]) -> Result<&[u8], Error> {
        self.predict_by(&Scalar, input)
    }

    /// Predicts all samples: elements of its type in, elements of its type out.
    #[inline]
    pub fn predict_by<K: Kernels>(&mut self, kernels: &K, input: &[u8]) -> Result<&[u8], Error> {
        let (weights, scratch) = (self.weights.get(), self.scratch.get_mut());
        plan::run(
            kernels,
            &self.plan,
            &self.steps,
            weights,
            self.samples,
            scratch,
            input,
            &mut self.output,
        )?;
        Ok(&self.output)
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// What it takes.
    pub fn memory(&self) -> Memory {
        Memory {
            file: self.file.len(),
            weights: self.plan.weight_bytes,
            scratch: self.plan.scratch_bytes,
            steps: size_of_val(self.steps.as_slice()),
        }
    }
}

/// The place of the largest value, the first of equal ones.
pub fn argmax<T: Copy + Into<f64>>(values: &[T]) -> usize {
    let better = |best: usize, i: usize| {
        if values[i].into() > values[best].into() {
            i
        } else {
            best
        }
    };
    (0..values.len()).fold(0, better)
}

/// The layers of a dense network: sizes of its values, and what is applied after each layer.
pub fn dense(dims: &[u32], activations: &[Activation]) -> Vec<DenseSpec> {
    let pairs = dims.windows(2).zip(activations);
    pairs
        .map(|(d, &activation)| DenseSpec {
            inputs: d[0],
            outputs: d[1],
            activation,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantise_rounds_and_refuses() {
        assert_eq!(quantise(1.0), Some(ONE));
        assert_eq!(quantise(-1.5 / 65536.0), Some(-2));
        assert_eq!(quantise(1.5 / 65536.0), Some(2));
        assert_eq!(quantise(-32768.0), Some(i32::MIN));
        assert_eq!(quantise(32768.0), None);
        assert_eq!(quantise(f32::NAN), None);
    }

    #[test]
    fn a_network_computes_what_it_was_given() {
        let specs = dense(&[2, 2, 1], &[Activation::Relu, Activation::Linear]);
        let weights = [1.0, -1.0, 0.5, 0.25, 0.0, 0.125, 2.0, -4.0, 1.0];
        let mut network = Network::new("small", &specs, &weights).unwrap();
        let input = to_bytes(&[0.5, 2.0]).unwrap();
        // The first sum is negative and cut off, the second is 0.875; 1 - 4 * 0.875 = -2.5.
        assert_eq!(to_floats(network.predict(&input).unwrap()), [-2.5]);
    }

    #[test]
    fn a_wrong_number_of_weights_is_refused() {
        let specs = dense(&[2, 1], &[Activation::Linear]);
        assert!(matches!(
            Network::new("n", &specs, &[0.0; 4]),
            Err(Failure::WeightCount(4, 3))
        ));
        assert!(matches!(
            Network::new("n", &specs, &[4e4; 3]),
            Err(Failure::Weight(_))
        ));
    }
}
