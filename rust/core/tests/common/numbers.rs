// SPDX-License-Identifier: GPL-2.0

//! Networks of single precision with one operation each.

#![allow(dead_code)] // Each test uses a part of it.

use neural_core::nnm::{DType, OpKind, Tensor, TensorKind};

use super::codes::{pair, Codes};

/// A network of one operation: inputs that are activations, then constants. The first activation is the
/// input of the network, the others are its elements in another order or number.
pub(crate) fn network(
    kind: OpKind,
    activations: &[&[u32]],
    constants: &[&[u32]],
    params: &[i32],
    out: &[u32],
) -> Codes {
    let mut net = Codes::new(&[1], 0);
    let number = |kind, dims: &[u32]| Tensor::new(DType::F32, kind, dims);
    let activation =
        |net: &mut Codes, dims: &[u32]| net.add(number(TensorKind::Activation, dims), vec![]);
    net.tensors[0] = number(TensorKind::Activation, activations[0]);
    let mut inputs = vec![0];
    for dims in &activations[1..] {
        // Elements of the mean of the input, as often as it takes.
        let n: u32 = dims.iter().product();
        let last = *activations[0].last().unwrap();
        let mean = activation(&mut net, &[last]);
        net.op(OpKind::Mean, &[0], &[], mean);
        let (w, b) = (vec![0; (4 * n * last) as usize], vec![0; 4 * n as usize]);
        let w = net.add(number(TensorKind::Constant, &[n, last]), w);
        let b = net.add(number(TensorKind::Constant, &[n]), b);
        let row = activation(&mut net, &[n]);
        net.op(OpKind::Dense, &[mean, w, b], &[], row);
        let shaped = activation(&mut net, dims);
        inputs.push(net.op(OpKind::Reshape, &[row], &[], shaped));
    }
    for dims in constants {
        let tensor = number(TensorKind::Constant, dims);
        let data = vec![0; tensor.data_bytes as usize];
        inputs.push(net.add(tensor, data));
    }
    let out = activation(&mut net, out);
    net.op(kind, &inputs, params, out);
    net
}

/// One of each kind.
pub(crate) fn all() -> Vec<Codes> {
    const ONE: i32 = 0x3f80_0000;
    let (step, both) = (pair([1, 1]), pair([2, 2]));
    use OpKind::*;
    let (image, row): (&[u32], &[u32]) = (&[3, 3, 2], &[2, 4]);
    vec![
        network(Dense, &[row], &[&[3, 4], &[3]], &[3, ONE], &[2, 3]),
        network(
            Conv2d,
            &[image],
            &[&[3, 2, 2, 2], &[3]],
            &[1, 0, step, step],
            &[2, 2, 3],
        ),
        network(
            DepthwiseConv2d,
            &[image],
            &[&[2, 2, 4], &[4]],
            &[0, 0, step, step],
            &[2, 2, 4],
        ),
        network(
            AveragePool2d,
            &[image],
            &[],
            &[0, 0, step, both],
            &[2, 2, 2],
        ),
        network(MaxPool2d, &[image], &[], &[0, 0, step, both], &[2, 2, 2]),
        network(Add, &[row], &[&[4]], &[], row),
        network(Sub, &[row], &[row], &[5, 0], row),
        network(Mul, &[row], &[&[4]], &[1, 0], row),
        network(Concat, &[row, row], &[], &[1], &[2, 8]),
        network(
            Pad,
            &[row],
            &[],
            &[pair([1, 0]), pair([0, 2]), 0, 0, ONE],
            &[3, 6],
        ),
        network(Reshape, &[row], &[], &[], &[2, 2, 2]),
        network(Transpose, &[row], &[], &[1, 0], &[4, 2]),
        network(Mean, &[row], &[], &[], &[4]),
        network(Softmax, &[row], &[], &[], row),
        network(LogSoftmax, &[row], &[], &[], row),
        network(Map, &[row], &[], &[11, ONE], row),
        network(LayerNorm, &[row], &[&[4], &[4]], &[ONE], row),
        network(RmsNorm, &[row], &[&[4]], &[ONE], row),
        network(Attention, &[row, &[3, 4], &[3, 4]], &[], &[2, 1, ONE], row),
        network(Lstm, &[row], &[&[8, 6], &[8]], &[], &[2, 2]),
        network(LstmCell, &[&[4], &[4]], &[&[8, 6], &[8]], &[], &[4]),
        network(Gru, &[row], &[&[6, 6], &[12]], &[], &[2, 2]),
        network(GruCell, &[&[4], &[2]], &[&[6, 6], &[12]], &[], &[2]),
        network(Cosine, &[&[4]], &[&[3, 4]], &[ONE], &[3]),
        network(Interpolate, &[row], &[], &[], &[2, 7]),
        network(
            AttentionStep,
            &[&[4], &[4], &[4], &[25]],
            &[],
            &[2, ONE],
            &[29],
        ),
        network(Dnc, &[&[16], &[27]], &[], &[3, 2, 1, ONE], &[29]),
        network(Normalise, &[&[4], &[9]], &[], &[1, 3, ONE], &[13]),
        network(Slice, &[row], &[], &[1, 2], &[1, 2]),
        network(Embedding, &[row], &[&[5, 2]], &[], &[2, 4, 2]),
    ]
}
