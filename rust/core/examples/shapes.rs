// SPDX-License-Identifier: GPL-2.0

//! Writes a network for each operation that the demonstration of generated code looks at.
//!
//! `shapes DIR`: single precision, random weights; the sizes are in the names.

use std::path::Path;

use neural_core::act::Activation;
use neural_core::nnm::{DType, Graph, Op, OpKind, Tensor, TensorKind, NONE};

/// A network: what goes in is its first tensor, what comes out its last one.
struct Network {
    name: &'static str,
    tensors: Vec<Tensor>,
    ops: Vec<Op>,
}

impl Network {
    fn new(name: &'static str, input: &[u32]) -> Self {
        let mut network = Network {
            name,
            tensors: Vec::new(),
            ops: Vec::new(),
        };
        network.add(TensorKind::Activation, input);
        network
    }

    fn add(&mut self, kind: TensorKind, dims: &[u32]) -> u32 {
        self.tensors.push(Tensor::new(DType::F32, kind, dims));
        self.tensors.len() as u32 - 1
    }

    /// An operation on what there is and on constants of these sizes; gives its result.
    fn op(
        &mut self,
        kind: OpKind,
        params: &[i32],
        inputs: &[u32],
        constants: &[&[u32]],
        result: &[u32],
    ) -> u32 {
        let mut operands = inputs.to_vec();
        for dims in constants {
            operands.push(self.add(TensorKind::Constant, dims));
        }
        operands.resize(4, NONE);
        let mut all = [0; 7];
        all[..params.len()].copy_from_slice(params);
        let output = self.add(TensorKind::Activation, result);
        self.ops.push(Op {
            kind,
            activation: Activation::Linear,
            params: all,
            inputs: operands.try_into().unwrap(),
            output,
        });
        output
    }

    fn write(&self, dir: &Path) -> std::io::Result<()> {
        let graph = Graph {
            tensors: self.tensors.len() as u32,
            ops: self.ops.len() as u32,
            input: 0,
            output: self.tensors.len() as u32 - 1,
            tensor: &|i| self.tensors[i as usize],
            op: &|i| self.ops[i as usize],
        };
        let mut state = 1u32;
        let mut fill = |_, data: &mut [u8]| {
            for number in data.chunks_mut(4) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let value = (state >> 8) as f32 / (1 << 26) as f32 - 0.125;
                number.copy_from_slice(&value.to_le_bytes());
            }
        };
        let mut file = vec![0; graph.file_bytes().expect("a size")];
        graph
            .write(self.name, &mut fill, &mut file)
            .expect("a network");
        std::fs::write(dir.join(self.name).with_extension("nnm"), file)
    }
}

fn main() -> std::io::Result<()> {
    let dir = std::env::args().nth(1).expect("usage: shapes DIR");
    let mut all = Vec::new();

    let mut gemm = Network::new("gemm_64x64x64", &[64, 64]);
    gemm.op(OpKind::Dense, &[], &[0], &[&[64, 64], &[64]], &[64, 64]);
    all.push(gemm);

    // Behind a ReLU: at the beginning it would be a chain of one layer.
    let mut gemv = Network::new("gemv_128x64", &[64]);
    let x = gemv.op(OpKind::Map, &[1], &[0], &[], &[64]);
    gemv.op(OpKind::Dense, &[], &[x], &[&[128, 64], &[128]], &[128]);
    all.push(gemv);

    let mut lstm = Network::new("lstm_128x192", &[1, 64]);
    lstm.op(OpKind::Lstm, &[], &[0], &[&[512, 192], &[512]], &[1, 128]);
    all.push(lstm);

    // Where a memory is looked at: similarities of a key with its rows, and their softmax.
    let mut content = Network::new("content_256x64", &[64]);
    let eps = 1e-6f32.to_bits() as i32;
    let y = content.op(OpKind::Cosine, &[eps], &[0], &[&[256, 64]], &[256]);
    content.op(OpKind::Softmax, &[], &[y], &[], &[256]);
    all.push(content);

    all.iter()
        .try_for_each(|network| network.write(Path::new(&dir)))
}
