// SPDX-License-Identifier: GPL-2.0

//! What several tests need: random numbers with a printed seed, an encoder of model files that shares
//! nothing with the crate, and a slow reference for dense layers.

#![allow(dead_code)] // Each test uses a part of it.

use std::hash::{BuildHasher, Hasher, RandomState};

use neural_core::act::Activation;
use neural_core::error::{Fault, Place};
use neural_core::fixed::elements;
use neural_core::init::SplitMix64;
use neural_core::nnm::{parse, Limits};
use neural_core::plan::{run, Plan, Scalar, Step};
use neural_core::{Class, Error};

/// Random numbers. The seed is printed, which shows when the test fails; `NEURAL_SEED` sets it.
pub(crate) struct Rng(SplitMix64);

impl Rng {
    pub(crate) fn new() -> Self {
        let given = std::env::var("NEURAL_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| RandomState::new().build_hasher().finish());
        println!("NEURAL_SEED={seed}");
        Rng(SplitMix64::new(seed))
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        Rng(SplitMix64::new(seed))
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub(crate) fn i32(&mut self) -> i32 {
        self.u64() as i32
    }

    /// A number of any magnitude, often a boundary.
    pub(crate) fn wild(&mut self) -> i32 {
        match self.below(8) {
            0 => [i32::MIN, i32::MIN + 1, -1, 0, 1, i32::MAX - 1, i32::MAX][self.below(7) as usize],
            _ => self.i32() >> self.below(32),
        }
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

pub(crate) fn bytes(elements: &[i32]) -> Vec<u8> {
    elements.iter().flat_map(|x| x.to_le_bytes()).collect()
}

pub(crate) fn numbers(bytes: &[u8]) -> Vec<i32> {
    elements(bytes).collect()
}

pub(crate) const ACTIVATION: u8 = 0;
pub(crate) const CONSTANT: u8 = 1;
pub(crate) const NONE: u32 = u32::MAX;

/// A tensor of a file to be written.
#[derive(Clone, Debug)]
pub(crate) struct T {
    pub(crate) kind: u8,
    pub(crate) dims: Vec<u32>,
    pub(crate) data: Vec<i32>,
}

/// An operation of a file to be written.
#[derive(Clone, Debug)]
pub(crate) struct O {
    pub(crate) activation: u16,
    pub(crate) slope: i32,
    pub(crate) inputs: [u32; 4],
    pub(crate) output: u32,
}

/// A network to be written.
#[derive(Clone, Debug)]
pub(crate) struct Net {
    pub(crate) name: String,
    pub(crate) tensors: Vec<T>,
    pub(crate) ops: Vec<O>,
    pub(crate) input: u32,
    pub(crate) output: u32,
}

impl Net {
    pub(crate) fn new(inputs: u32) -> Self {
        let mut net = Net {
            name: "test".into(),
            tensors: vec![],
            ops: vec![],
            input: 0,
            output: 0,
        };
        net.activation(inputs);
        net
    }

    pub(crate) fn activation(&mut self, dim: u32) -> u32 {
        self.tensors.push(T {
            kind: ACTIVATION,
            dims: vec![dim],
            data: vec![],
        });
        self.tensors.len() as u32 - 1
    }

    pub(crate) fn constant(&mut self, dims: &[u32], data: Vec<i32>) -> u32 {
        assert_eq!(dims.iter().product::<u32>() as usize, data.len());
        self.tensors.push(T {
            kind: CONSTANT,
            dims: dims.to_vec(),
            data,
        });
        self.tensors.len() as u32 - 1
    }

    /// Adds a layer that reads tensor `x`, and makes its result the output of the network.
    pub(crate) fn dense(
        &mut self,
        x: u32,
        outputs: u32,
        activation: Activation,
        w: Vec<i32>,
        b: Vec<i32>,
    ) -> u32 {
        let inputs = self.tensors[x as usize].dims[0];
        let w = self.constant(&[outputs, inputs], w);
        let b = self.constant(&[outputs], b);
        let y = self.activation(outputs);
        let slope = match activation {
            Activation::LeakyRelu { slope } => slope,
            _ => 0,
        };
        self.ops.push(O {
            activation: activation.code(),
            slope,
            inputs: [x, w, b, NONE],
            output: y,
        });
        self.output = y;
        y
    }

    pub(crate) fn random_dense(
        &mut self,
        rng: &mut Rng,
        x: u32,
        outputs: u32,
        activation: Activation,
    ) -> u32 {
        let inputs = self.tensors[x as usize].dims[0];
        let w = (0..outputs * inputs).map(|_| rng.i32() >> 14).collect();
        let b = (0..outputs).map(|_| rng.i32() >> 14).collect();
        self.dense(x, outputs, activation, w, b)
    }

    pub(crate) fn tensor_at(&self, index: usize) -> usize {
        128 + 64 * index
    }

    pub(crate) fn op_at(&self, index: usize) -> usize {
        128 + 64 * self.tensors.len() + 64 * index
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let op_table = self.op_at(0);
        let mut file = vec![0u8; self.op_at(self.ops.len())];
        for (i, tensor) in self.tensors.iter().enumerate() {
            let at = self.tensor_at(i);
            file[at] = 1;
            file[at + 1] = tensor.kind;
            file[at + 2] = tensor.dims.len() as u8;
            for (k, dim) in tensor.dims.iter().enumerate() {
                put32(&mut file, at + 4 + 4 * k, *dim);
            }
            if tensor.kind == CONSTANT {
                let (offset, data) = (file.len() as u64, bytes(&tensor.data));
                put64(&mut file, at + 24, offset);
                put64(&mut file, at + 32, data.len() as u64);
                file.extend(data);
                file.resize(file.len().next_multiple_of(64), 0);
            }
        }
        for (i, op) in self.ops.iter().enumerate() {
            let at = self.op_at(i);
            file[at] = 1;
            file[at + 2..at + 4].copy_from_slice(&op.activation.to_le_bytes());
            for (k, input) in op.inputs.iter().enumerate() {
                put32(&mut file, at + 8 + 4 * k, *input);
            }
            put32(&mut file, at + 24, op.output);
            put32(&mut file, at + 28, op.slope as u32);
        }
        file[..8].copy_from_slice(&[0x7f, b'N', b'N', b'M', 13, 10, 26, 0]);
        file[8] = 1;
        put32(&mut file, 12, 128);
        let len = file.len() as u64;
        put64(&mut file, 16, len);
        put32(&mut file, 32, self.tensors.len() as u32);
        put32(&mut file, 36, self.ops.len() as u32);
        put64(&mut file, 40, 128);
        put64(&mut file, 48, op_table as u64);
        put32(&mut file, 56, self.input);
        put32(&mut file, 60, self.output);
        file[64..64 + self.name.len()].copy_from_slice(self.name.as_bytes());
        seal(&mut file);
        file
    }

    /// What the network computes, in wide arithmetic, operation by operation.
    pub(crate) fn reference(&self, input: &[i32]) -> Vec<i32> {
        let mut values: Vec<Vec<i32>> = vec![vec![]; self.tensors.len()];
        values[self.input as usize] = input.to_vec();
        for op in &self.ops {
            let [x, w, b, _] = op.inputs.map(|i| i as usize);
            let mut y = bytes(&dense(
                &self.tensors[w].data,
                &self.tensors[b].data,
                &values[x],
            ));
            Activation::from_code(op.activation, op.slope)
                .unwrap()
                .apply(&mut y);
            values[op.output as usize] = numbers(&y);
        }
        values[self.output as usize].clone()
    }
}

/// A file of two layers, 5-7-3.
pub(crate) fn small() -> Net {
    let mut rng = Rng::seeded(1);
    let mut net = Net::new(5);
    let x = net.random_dense(&mut rng, 0, 7, Activation::Relu);
    net.random_dense(&mut rng, x, 3, Activation::LeakyRelu { slope: 655 });
    net
}

/// `W x + b` in 128 bits.
pub(crate) fn dense(w: &[i32], b: &[i32], x: &[i32]) -> Vec<i32> {
    let row = |(row, &b): (&[i32], &i32)| {
        let sum: i128 = row
            .iter()
            .zip(x)
            .map(|(&w, &x)| i128::from(w) * i128::from(x))
            .sum();
        let sum = sum + (i128::from(b) << 16) + (1 << 15);
        sum.div_euclid(1 << 16)
            .clamp(i32::MIN.into(), i32::MAX.into()) as i32
    };
    w.chunks(x.len()).zip(b).map(row).collect()
}

pub(crate) fn put32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

pub(crate) fn put64(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

/// CRC-32C bit by bit, over the file with zeros for the checksum.
pub(crate) fn seal(file: &mut [u8]) {
    file[24..28].fill(0);
    let mut crc = !0u32;
    for &byte in file.iter() {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78);
        }
    }
    put32(file, 24, !crc);
}

/// A file that is ready to run.
pub(crate) struct Loaded {
    pub(crate) plan: Plan,
    pub(crate) steps: Vec<Step>,
    pub(crate) weights: Vec<u8>,
}

impl Loaded {
    pub(crate) fn new(file: &[u8]) -> Self {
        let model = parse(file, &Limits::DEFAULT).unwrap_or_else(|e| panic!("{e}"));
        let mut steps = vec![Step::EMPTY; model.step_count()];
        let plan = model.plan(&mut steps).unwrap();
        let mut weights = vec![0xaa; plan.weight_bytes];
        model.pack(&steps, &plan, &mut weights).unwrap();
        Loaded {
            plan,
            steps,
            weights,
        }
    }

    pub(crate) fn run(&self, input: &[i32]) -> Vec<i32> {
        let mut scratch = vec![0x55; self.plan.scratch_bytes];
        let mut output = vec![0x55; self.plan.output_bytes];
        run(
            &Scalar,
            &self.plan,
            &self.steps,
            &self.weights,
            1,
            &mut scratch,
            &bytes(input),
            &mut output,
        )
        .unwrap();
        numbers(&output)
    }
}

pub(crate) fn check(file: &[u8]) -> Result<(), Error> {
    parse(file, &Limits::DEFAULT).map(|_| ())
}

/// Expects an error for a file that was changed and then sealed.
pub(crate) fn refuse(
    net: &Net,
    change: impl FnOnce(&mut Vec<u8>),
    place: Place,
    fault: Fault,
    class: Class,
) {
    let mut file = net.file();
    change(&mut file);
    seal(&mut file);
    let error = check(&file).expect_err("accepted");
    assert_eq!(error, Error::Model { place, fault });
    assert_eq!(error.class(), class, "{error}");
}
