// SPDX-License-Identifier: GPL-2.0

//! Random networks of a single long short-term memory of codes.

use neural_core::act::Activation;
use neural_core::nnm::{DType, Graph, Op, OpKind, Tensor, TensorKind};

use super::common::Rng;

const SCALE: u32 = 0.0078125f32.to_bits();
pub(crate) const ZEROS: (i32, i32) = (-3, 5);

/// A layer and its sizes: steps, inputs, cells.
pub(crate) struct Net {
    pub(crate) t: usize,
    pub(crate) i: usize,
    pub(crate) n: usize,
    pub(crate) w: Vec<u8>,
    pub(crate) bias: Vec<i32>,
    pub(crate) r: [i32; 24],
}

pub(crate) fn le(numbers: &[i32]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

impl Net {
    /// A layer of up to `most` steps, inputs and cells.
    pub(crate) fn random(rng: &mut Rng, most: [u32; 3]) -> Self {
        let [t, i, n] = most.map(|most| 1 + (rng.i32() as u32 % most) as usize);
        let mut r = [0; 24];
        for (at, number) in r.iter_mut().enumerate().take(22) {
            *number = match at % 2 {
                0 => (1 << 30) | (rng.i32() & 0x3fff_ffff),
                _ => rng.i32().rem_euclid(4) + if at < 16 { 2 } else { 15 },
            };
        }
        r[22] = rng.i32().rem_euclid(5) - 2;
        r[23] = [0, 9000][(rng.i32() & 1) as usize];
        Net {
            t,
            i,
            n,
            w: (0..4 * n * (i + n)).map(|_| rng.i32() as u8).collect(),
            bias: (0..4 * n).map(|_| rng.i32() >> 18).collect(),
            r,
        }
    }

    pub(crate) fn file(&self, r: &[i32; 24]) -> Result<Vec<u8>, neural_core::Error> {
        let Net { t, i, n, .. } = *self;
        let (t, i, n) = (t as u32, i as u32, n as u32);
        let (computed, constant) = (TensorKind::Activation, TensorKind::Constant);
        let graph = Graph {
            tensors: 5,
            ops: 1,
            input: 0,
            output: 4,
            tensor: &|tensor| match tensor {
                0 => Tensor::new(DType::I8, computed, &[t, i]).with_scale(ZEROS.0, SCALE),
                1 => Tensor::new(DType::I8, constant, &[4 * n, i + n]),
                2 => Tensor::new(DType::I32, constant, &[4 * n]),
                3 => Tensor::new(DType::I32, constant, &[24]),
                _ => Tensor::new(DType::I8, computed, &[t, n]).with_scale(ZEROS.1, SCALE),
            },
            op: &|_| Op {
                kind: OpKind::Lstm,
                activation: Activation::Linear,
                params: [0; 7],
                inputs: [0, 1, 2, 3],
                output: 4,
            },
        };
        let mut file = vec![0; graph.file_bytes()?];
        let mut fill = |tensor: u32, to: &mut [u8]| match tensor {
            1 => to.copy_from_slice(&self.w),
            2 => to.copy_from_slice(&le(&self.bias)),
            _ => to.copy_from_slice(&le(r)),
        };
        graph.write("lstm", &mut fill, &mut file)?;
        Ok(file)
    }
}
