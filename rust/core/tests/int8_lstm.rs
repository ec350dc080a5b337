// SPDX-License-Identifier: GPL-2.0

//! A long short-term memory of codes in a model file does what its steps do one by one.

mod common;
#[path = "common/lstm.rs"]
mod lstm;

use common::Rng;
use lstm::{le, Net, ZEROS};
use neural_core::int8::{self, pack, GateWeights, LstmScales, LstmStep, Multiplier};
use neural_core::nnm::{parse, Limits};
use neural_core::plan::{run, Scalar, Step};
use neural_core::Class;

impl Net {
    /// Packed weights, folded biases, multipliers and shifts of one side of the products.
    fn side(
        &self,
        columns: std::ops::Range<usize>,
        bias: &[i32],
        zero: i32,
        at: usize,
    ) -> [Vec<u8>; 4] {
        let (rows, k) = (4 * self.n, columns.len());
        let all = self.i + self.n;
        let w: Vec<u8> = self
            .w
            .chunks(all)
            .flat_map(|row| row[columns.clone()].to_vec())
            .collect();
        let mut packed = vec![0; pack::packed_gemm_bytes(rows, 1, k).unwrap()];
        pack::pack_gemm(&w, rows, 1, k, &mut packed);
        let mut folded = vec![0; rows.next_multiple_of(16) * 4];
        pack::fold_gemm_bias(&w, k, &le(bias), zero + 128, &mut folded);
        let list = |offset| -> Vec<u8> {
            let mut list: Vec<i32> = (0..rows)
                .map(|row| self.r[row / self.n * 4 + at + offset])
                .collect();
            list.resize(rows.next_multiple_of(16), 0);
            le(&list)
        };
        [packed, folded, list(0), list(1)]
    }

    fn reference(&self, input: &[u8]) -> Vec<u8> {
        let x = self.side(0..self.i, &self.bias, ZEROS.0, 0);
        let h = self.side(self.i..self.i + self.n, &[], ZEROS.1, 2);
        fn gates([w, bias, mult, shift]: &[Vec<u8>; 4]) -> GateWeights<'_> {
            GateWeights {
                w,
                bias,
                mult,
                shift,
            }
        }
        let factor = |at: usize| Multiplier {
            mult: self.r[at],
            shift: self.r[at + 1],
        };
        let mut state = vec![(ZEROS.1 + 128) as u8; self.n];
        let mut cell = vec![0; 2 * self.n];
        let mut scratch = vec![0; 16 * self.n];
        let mut output = vec![];
        for x_t in input.chunks(self.i) {
            let biased: Vec<u8> = x_t.iter().map(|code| code ^ 0x80).collect();
            int8::lstm_step(LstmStep {
                x: &biased,
                h: &mut state,
                cell: &mut cell,
                inputs: self.i,
                n: self.n,
                x_weights: gates(&x),
                h_weights: gates(&h),
                scratch: &mut scratch,
                scales: LstmScales {
                    forget: factor(16),
                    input: factor(18),
                    output: factor(20),
                    cell_shift: self.r[22],
                    cell_clip: self.r[23] as i16,
                    h_zero: ZEROS.1 + 128,
                },
            });
            output.extend(state.iter().map(|code| code ^ 0x80));
        }
        output
    }
}

fn answer(file: &[u8], samples: usize, input: &[u8]) -> Vec<u8> {
    let model = parse(file, &Limits::DEFAULT).unwrap();
    let mut steps = vec![Step::EMPTY; model.step_count()];
    let plan = model.plan(&mut steps).unwrap();
    let mut weights = vec![0; plan.weight_bytes];
    model.pack(&steps, &plan, &mut weights).unwrap();
    let mut scratch = vec![0xa5; samples * plan.scratch_bytes];
    let mut output = vec![0; samples * plan.output_bytes];
    run(
        &Scalar,
        &plan,
        &steps,
        &weights,
        samples,
        &mut scratch,
        input,
        &mut output,
    )
    .unwrap();
    output
}

#[test]
fn a_sequence_is_its_steps() {
    let mut rng = Rng::new();
    for _ in 0..40 {
        let net = Net::random(&mut rng, [5, 20, 40]);
        let file = net.file(&net.r).unwrap();
        let bytes = net.t * net.i;
        let inputs: Vec<u8> = (0..3 * bytes).map(|_| rng.i32() as u8).collect();
        let want: Vec<u8> = inputs
            .chunks(bytes)
            .flat_map(|x| net.reference(x))
            .collect();
        assert_eq!(answer(&file, 3, &inputs), want);
        let one = net.t * net.n;
        assert_eq!(answer(&file, 1, &inputs[..bytes]), want[..one]);
    }
}

#[test]
fn wrong_factors_are_refused() {
    let mut rng = Rng::new();
    let net = Net::random(&mut rng, [5, 20, 40]);
    for (at, number) in [
        (0, 1),
        (1, 32),
        (20, -1),
        (22, -13),
        (22, 16),
        (23, -1),
        (23, 32768),
    ] {
        let mut r = net.r;
        r[at] = number;
        let error = net.file(&r).unwrap_err();
        assert_eq!(error.class(), Class::Range, "{at} {number}: {error}");
    }
}
