// SPDX-License-Identifier: GPL-2.0

//! The engine of the module, run here on the same model file: what it answers is what the kernel
//! answers.

use neural_core::act::Activation;
use neural_core::fixed;
use neural_core::nnm::{self, Limits, TensorKind};
use neural_core::plan::{self, Plan, Scalar, Step};

use crate::error::{Error, Result};
use crate::port::{Elements, Port};
use crate::table::from_q16;

/// What one layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// What it computes, e.g. `dense`.
    pub kind: String,
    /// Elements that it reads.
    pub inputs: u32,
    /// Elements that it writes.
    pub outputs: u32,
    /// The name of its activation.
    pub activation: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of weights and biases.
    pub weight_bytes: u64,
}

/// What one operation of a network of codes or of floats is.
#[derive(Clone, Debug, PartialEq)]
pub struct OpInfo {
    /// What it computes, e.g. `conv_2d`.
    pub kind: &'static str,
    /// What it reads that is computed.
    pub inputs: Vec<Port>,
    /// What it writes.
    pub output: Port,
    /// Multiply-accumulates; of operations without, the elements that it writes.
    pub macs: u64,
    /// Bytes of constants.
    pub weight_bytes: u64,
}

/// A model file, checked and ready to predict.
pub struct Engine {
    name: String,
    input: Port,
    output: Port,
    ops: Vec<OpInfo>,
    steps: Vec<Step>,
    plan: Plan,
    weights: Vec<u8>,
    scratch: Vec<u8>,
    checksum: u32,
}

/// Turns an error of the engine into ours; its line is `what: why` already.
pub fn error(e: neural_core::Error) -> Error {
    let line = e.to_string();
    match line.split_once(": ") {
        Some((what, why)) => Error::refused(what, why),
        None => Error::refused("model", line),
    }
}

/// Where the checksum stands in the header of a model file.
const CHECKSUM_AT: usize = 24;

impl Engine {
    /// Checks the bytes of a `.nnm` file and prepares to predict with it.
    pub fn new(file: &[u8]) -> Result<Self> {
        let model = nnm::parse(file, &Limits::default()).map_err(error)?;
        let mut steps = vec![Step::EMPTY; model.step_count()];
        let plan = model.plan(&mut steps).map_err(error)?;
        let mut weights = vec![0; plan.weight_bytes];
        model.pack(&steps, &plan, &mut weights).map_err(error)?;
        let port = |index: u32| match model.tensor(index) {
            Some(tensor) => Port::new(&tensor),
            None => Err(Error::refused("model", "lacks a tensor")),
        };
        let (input, output) = (port(model.input_tensor())?, port(model.output_tensor())?);
        // In front of the operations of a network of codes or of floats there is a copy.
        let copies = usize::from(steps.len() > model.op_count());
        let mut ops = Vec::new();
        for (i, step) in (0..).zip(steps.iter().skip(copies).take(model.op_count())) {
            let Some(op) = model.op(i) else { continue };
            let is_computed = |i: &u32| {
                let tensor = model.tensor(*i);
                tensor.is_some_and(|t| t.kind == TensorKind::Activation)
            };
            let inputs = op.inputs.into_iter().filter(is_computed).map(port);
            ops.push(OpInfo {
                kind: op.kind.name(),
                inputs: inputs.collect::<Result<_>>()?,
                output: port(op.output)?,
                macs: step.macs(),
                weight_bytes: step.weight_bytes(),
            });
        }
        Ok(Self {
            name: model.name().to_owned(),
            input,
            output,
            ops,
            scratch: vec![0; plan.scratch_bytes],
            steps,
            plan,
            weights,
            checksum: file
                .get(CHECKSUM_AT..)
                .and_then(|rest| rest.first_chunk())
                .map_or(0, |b| u32::from_le_bytes(*b)),
        })
    }

    /// The name that stands in the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it takes.
    pub fn input(&self) -> &Port {
        &self.input
    }

    /// What it gives.
    pub fn output(&self) -> &Port {
        &self.output
    }

    /// Elements of an input.
    pub fn inputs(&self) -> usize {
        self.input.count()
    }

    /// Elements of an output.
    pub fn outputs(&self) -> usize {
        self.output.count()
    }

    /// The operations of the file, first to last.
    pub fn ops(&self) -> &[OpInfo] {
        &self.ops
    }

    /// Multiply-accumulates of one prediction.
    pub fn macs(&self) -> u64 {
        self.plan.macs
    }

    /// Bytes of weights as they lie in memory, and bytes of scratch for one prediction.
    pub fn memory(&self) -> (usize, usize) {
        (self.plan.weight_bytes, self.plan.scratch_bytes)
    }

    /// The layers, first to last.
    pub fn layers(&self) -> Vec<LayerInfo> {
        self.steps
            .iter()
            .take(self.plan.steps)
            .map(|step| LayerInfo {
                kind: step.kind().name().to_owned(),
                inputs: step.inputs(),
                outputs: step.outputs(),
                activation: activation(step.activation()),
                macs: step.macs(),
                weight_bytes: step.weight_bytes(),
            })
            .collect()
    }

    /// The CRC-32C that stands in the file, and was found right.
    pub fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Predicts one sample in Q16.16.
    pub fn predict(&mut self, input: &[i32]) -> Result<Vec<i32>> {
        let bytes: Vec<u8> = input.iter().flat_map(|v| v.to_le_bytes()).collect();
        let mut output = vec![0; self.plan.output_bytes];
        self.run(&bytes, &mut output)?;
        Ok(fixed::elements(&output).collect())
    }

    /// Predicts one sample of elements, little endian.
    pub fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<()> {
        if self.input.elements == Elements::F32 {
            let why = "floating point needs the vector units, which are used in the kernel only";
            return Err(Error::refused(&self.name, why));
        }
        plan::run(
            &Scalar,
            &self.plan,
            &self.steps,
            &self.weights,
            1,
            &mut self.scratch,
            input,
            output,
        )
        .map_err(error)
    }
}

fn activation(act: Activation) -> String {
    match act {
        Activation::LeakyRelu { slope } => format!("{}:{}", act.name(), from_q16(slope)),
        _ => act.name().to_owned(),
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("name", &self.name)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}
