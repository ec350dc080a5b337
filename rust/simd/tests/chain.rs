// SPDX-License-Identifier: GPL-2.0

//! Whole networks of dense layers, with and without the call that does them all at once.

use std::cell::Cell;

use neural_core::act::Activation;
use neural_core::int8;
use neural_core::nnm::{self, DType, Graph, Limits, Op, OpKind, Tensor, TensorKind, NONE};
use neural_core::plan::{self, Kernels, Scalar, Step};
use neural_simd::generated::{self, Bounds, Call};
use neural_simd::{Features, Isa, Section, Set, Simd};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        ((self.0 >> 33) % u64::from(n)) as u32
    }
}

/// A chain of dense layers with these sizes; a softmax behind it that is not a part of the chain.
fn network(sizes: &[u32], softmax: bool, random: &mut Random) -> Vec<u8> {
    let scale = 0.5f32.to_bits();
    let layers = sizes.len() as u32 - 1;
    let zeros: Vec<i32> = sizes
        .iter()
        .map(|_| random.below(256) as i32 - 128)
        .collect();
    let size = |i: u32| sizes[i as usize];
    let last = layers * 4;
    let tensor = |i: u32| {
        let (constant, computed) = (TensorKind::Constant, TensorKind::Activation);
        if i == last + 1 {
            return Tensor::new(DType::I8, computed, &[size(layers)])
                .with_scale(-128, (1.0f32 / 256.0).to_bits());
        }
        let Some(i) = i.checked_sub(1) else {
            return Tensor::new(DType::I8, computed, &[size(0)]).with_scale(zeros[0], scale);
        };
        let (k, n) = (size(i / 4), size(i / 4 + 1));
        match i % 4 {
            0 => Tensor::new(DType::I8, constant, &[n, k]),
            1 => Tensor::new(DType::I32, constant, &[n]),
            2 => Tensor::new(DType::I32, constant, &[2, n]),
            _ => {
                Tensor::new(DType::I8, computed, &[n]).with_scale(zeros[i as usize / 4 + 1], scale)
            }
        }
    };
    let op = |i: u32| {
        let dense = i < layers;
        let at = i * 4;
        Op {
            kind: if dense {
                OpKind::Dense
            } else {
                OpKind::Softmax
            },
            activation: Activation::Linear,
            params: match dense {
                true => [-128 + (i as i32 % 2) * 20, 127, 0, 0, 0, 0, 0],
                false => [1 << 30, -20, -200, 0, 0, 0, 0],
            },
            inputs: match dense {
                true => [at, at + 1, at + 2, at + 3],
                false => [last, NONE, NONE, NONE],
            },
            output: if dense { at + 4 } else { last + 1 },
        }
    };
    let graph = Graph {
        tensors: last + 1 + u32::from(softmax),
        ops: layers + u32::from(softmax),
        input: 0,
        output: last + u32::from(softmax),
        tensor: &tensor,
        op: &op,
    };
    let mut fill = |i: u32, data: &mut [u8]| {
        let words = data.len() / 4;
        match (i - 1) % 4 {
            0 => data.fill_with(|| random.below(256) as u8),
            1 => {
                for word in data.chunks_mut(4) {
                    word.copy_from_slice(&(random.below(1 << 12) as i32 - 2048).to_le_bytes());
                }
            }
            _ => {
                for (j, word) in data.chunks_mut(4).enumerate() {
                    let number = match j < words / 2 {
                        true => (1 << 30) + random.below(1 << 30) as i32,
                        false => 4 + random.below(6) as i32,
                    };
                    word.copy_from_slice(&number.to_le_bytes());
                }
            }
        }
    };
    let mut file = vec![0; graph.file_bytes().unwrap()];
    graph.write("chain", &mut fill, &mut file).unwrap();
    file
}

/// Does chains by vector code, and says that it did.
struct Chains {
    set: Set,
    done: Cell<u32>,
}

impl Kernels for Chains {
    fn dense_q16(&self, args: plan::DenseArgs<'_>) {
        Scalar.dense_q16(args);
    }

    fn chain_i8(&self, mut args: int8::Chain<'_>, _: usize) -> bool {
        let done = self.set.chain_i8(&mut args);
        self.done.set(self.done.get() + u32::from(done));
        done
    }

    fn tile_macs(&self) -> u64 {
        1 << 20
    }
}

fn answer<K: Kernels>(kernels: &K, file: &[u8], input: &[u8]) -> Vec<u8> {
    let model = nnm::parse(file, &Limits::DEFAULT).unwrap();
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan = model.plan(&mut steps).unwrap();
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let mut scratch = vec![0xa5; plan.scratch_bytes];
    let mut output = vec![0; plan.output_bytes];
    plan::run(
        kernels,
        &plan,
        &steps,
        &weights,
        1,
        &mut scratch,
        input,
        &mut output,
    )
    .unwrap();
    output
}

#[test]
fn a_chain_in_one_call_gives_what_its_layers_give() {
    let mut random = Random(20);
    for isa in Isa::ALL {
        let Some(set) = Set::select(&Features::detect(), Some(isa)) else {
            eprintln!("{}: not on this CPU", isa.name());
            continue;
        };
        for i in 0..60u32 {
            let mut sizes = vec![];
            for _ in 0..2 + i % 5 {
                sizes.push(1 + random.below(if i % 3 == 0 { 200 } else { 20 }));
            }
            let softmax = i % 4 == 1;
            let file = network(&sizes, softmax, &mut random);
            let input: Vec<u8> = (0..sizes[0]).map(|_| random.below(256) as u8).collect();
            let chains = Chains {
                set,
                done: Cell::new(0),
            };
            let want = answer(&Scalar, &file, &input);
            assert_eq!(answer(&chains, &file, &input), want, "{sizes:?} {isa:?}");
            assert_eq!(chains.done.get(), u32::from(isa != Isa::Scalar));
        }
    }
}

extern "C" {
    /// Stands for code that was made for one chain.
    fn neural_chain_i8_avx2(args: *const core::ffi::c_void);
}

/// Has code for the chain at one place of a plan, for this kind of output.
struct Made {
    flip: bool,
    at: usize,
    place: Cell<usize>,
    done: Cell<u32>,
}

impl Section for Made {
    fn enter(&self) -> bool {
        true
    }

    fn leave(&self) {}

    fn pause(&self) -> bool {
        true
    }

    fn begin(&self, place: usize) {
        self.place.set(place);
    }

    fn generated(&self, mut call: Call<'_, '_>) -> bool {
        assert_eq!(self.place.get(), self.at);
        let Call::ChainI8(chain) = &call else {
            panic!("{call:?}");
        };
        let bounds = Bounds::chain_i8(chain.layers, self.flip).unwrap();
        let entry = neural_chain_i8_avx2 as *const ();
        // SAFETY: the function takes every chain with these bounds, and the CPU has AVX2.
        let done = unsafe { generated::run(entry, &bounds, &mut call) };
        self.done.set(self.done.get() + u32::from(done));
        done
    }
}

#[test]
fn code_for_a_chain_is_called_for_that_chain() {
    let Some(set) = Set::select(&Features::detect(), Some(Isa::Avx2)) else {
        eprintln!("no AVX2 on this CPU");
        return;
    };
    let mut random = Random(21);
    for i in 0..60u32 {
        let sizes: Vec<u32> = (0..2 + i % 5).map(|_| 1 + random.below(200)).collect();
        let file = network(&sizes, i % 4 == 1, &mut random);
        let input: Vec<u8> = (0..sizes[0]).map(|_| random.below(256) as u8).collect();
        let model = nnm::parse(&file, &Limits::DEFAULT).unwrap();
        let mut steps = vec![Step::EMPTY; model.step_count()];
        let plan = model.plan(&mut steps).unwrap();
        let flip = i % 4 != 1;
        let kernels = |flip: bool| {
            let made = Made {
                flip,
                at: plan.chain_place(),
                place: Cell::new(0),
                done: Cell::new(0),
            };
            Simd::new(Some(set), made)
        };
        let want = answer(&Scalar, &file, &input);
        let fit = kernels(flip);
        assert_eq!(answer(&fit, &file, &input), want, "{sizes:?}");
        assert_eq!(fit.section().done.get(), 1, "{sizes:?}");
        // Code for the other kind of output leaves it to vector code.
        let other = kernels(!flip);
        assert_eq!(answer(&other, &file, &input), want, "{sizes:?}");
        assert_eq!(other.section().done.get(), 0, "{sizes:?}");
    }
}
