// SPDX-License-Identifier: GPL-2.0

//! Model files with something wrong in a layer of 8-bit codes: each fault has its own error, which says
//! what operation or tensor it is about in one line.

#[path = "common/codes.rs"]
mod codes;
mod common;

use codes::{pair, Codes, SOFTMAX_SCALE};
use common::check;
use neural_core::act::Activation;
use neural_core::error::{Fault, Place, MAX_LINE};
use neural_core::nnm::{DType, Limits, OpKind, Tensor, TensorKind, NONE};
use neural_core::{Class, Error};

const HALF: i32 = 1 << 30;

/// Expects an error for a network that was changed.
fn refuse(
    net: &Codes,
    change: impl FnOnce(&mut Codes),
    place: Place,
    fault: Fault,
    class: Class,
    line: &str,
) {
    assert_eq!(check(&net.file()), Ok(()));
    let mut net = net.clone();
    change(&mut net);
    let error = check(&net.file()).expect_err("accepted");
    assert_eq!(error, Error::Model { place, fault });
    assert_eq!(error.class(), class, "{error}");
    assert_eq!(error.to_string(), format!("model: {place}: {line}"));
    assert!(error.to_string().len() <= MAX_LINE);
}

/// A network of one operation, and what is expected of its faults.
struct Case {
    net: Codes,
}

impl Case {
    fn signed(
        &self,
        change: impl FnOnce(&mut Codes),
        field: &'static str,
        have: i32,
        [min, max]: [i32; 2],
    ) {
        let fault = Fault::Signed {
            field,
            have,
            min,
            max,
        };
        let line = format!("{field} is {have}, allowed is {min}..={max}");
        refuse(&self.net, change, Place::Op(0), fault, Class::Range, &line);
    }

    fn field(
        &self,
        change: impl FnOnce(&mut Codes),
        field: &'static str,
        have: u64,
        [min, max]: [u64; 2],
    ) {
        let fault = Fault::Field {
            field,
            have,
            min,
            max,
        };
        let line = match min == max {
            true => format!("{field} is {have}, must be {min}"),
            false => format!("{field} is {have}, allowed is {min}..={max}"),
        };
        refuse(
            &self.net,
            change,
            Place::Op(0),
            fault,
            Class::Invalid,
            &line,
        );
    }

    fn shape(
        &self,
        change: impl FnOnce(&mut Codes),
        operand: &'static str,
        dim: u32,
        have: u32,
        want: u32,
    ) {
        let fault = Fault::Shape {
            operand,
            dim,
            have,
            want,
        };
        let line = format!("{operand}: dimension {dim} is {have}, must be {want}");
        refuse(
            &self.net,
            change,
            Place::Op(0),
            fault,
            Class::Invalid,
            &line,
        );
    }

    fn rank(&self, change: impl FnOnce(&mut Codes), operand: &'static str, have: u32, want: u32) {
        let fault = Fault::Rank {
            operand,
            have,
            want,
        };
        let line = format!("{operand} has {have} dimensions, must have {want}");
        refuse(
            &self.net,
            change,
            Place::Op(0),
            fault,
            Class::Invalid,
            &line,
        );
    }

    fn dtype(
        &self,
        change: impl FnOnce(&mut Codes),
        operand: &'static str,
        have: &'static str,
        want: &'static str,
    ) {
        let fault = Fault::Type {
            operand,
            have,
            want,
        };
        let line = format!("{operand} has elements of {have}, must have {want}");
        refuse(
            &self.net,
            change,
            Place::Op(0),
            fault,
            Class::Invalid,
            &line,
        );
    }

    fn reserved(&self, param: usize) {
        let offset = 28 + 4 * param as u32 + 3;
        let change = |net: &mut Codes| net.ops[0].params[param] = 1 << 24;
        let fault = Fault::Reserved { offset };
        let line = format!("reserved byte {offset} is not 0");
        refuse(
            &self.net,
            change,
            Place::Op(0),
            fault,
            Class::Invalid,
            &line,
        );
    }

    /// What no operation of codes may have: an activation code, params that mean nothing (from one on),
    /// operands that mean nothing (from one on), another tensor as output.
    fn common(&self, params: usize, operands: usize) {
        let change = |net: &mut Codes| net.ops[0].activation = Activation::Relu;
        let fault = Fault::Unsupported {
            field: "activation",
            have: 1,
        };
        let line = "activation 1 is not supported";
        refuse(
            &self.net,
            change,
            Place::Op(0),
            fault,
            Class::Unsupported,
            line,
        );
        (params..7).for_each(|param| self.reserved(param));
        let names = ["input 0", "input 1", "input 2", "input 3"];
        for (i, name) in names.into_iter().enumerate().skip(operands) {
            let none = u64::from(NONE);
            self.field(|net| net.ops[0].inputs[i] = 0, name, 0, [none, none]);
        }
        let output = |net: &mut Codes| {
            let x = net.tensors[net.input as usize];
            net.tensors[net.output as usize] = Tensor::new(DType::I32, x.kind, &[1]);
        };
        let (have, want, operand) = ("i32", "i8", "output tensor");
        let fault = Fault::Type {
            operand,
            have,
            want,
        };
        let line = "output tensor has elements of i32, must have i8";
        refuse(
            &self.net,
            output,
            Place::Header,
            fault,
            Class::Invalid,
            line,
        );
        // As the operation sees it: something else is the output of the network.
        let output = |net: &mut Codes| {
            let y = net.output as usize;
            net.tensors[y] = Tensor::new(DType::I32, TensorKind::Activation, net.dims(y as u32));
            let end = net.activation(&[1], 0);
            net.op(OpKind::Reshape, &[0], &[], end);
        };
        self.dtype(output, "output", "i32", "i8");
        // Types that the operation does not have.
        use OpKind::{AveragePool2d, Conv2d, DepthwiseConv2d, Lut, MaxPool2d, Mean, Softmax};
        let dtypes: &[DType] = match self.net.ops[0].kind {
            AveragePool2d | Conv2d | DepthwiseConv2d | Lut | MaxPool2d | Mean | Softmax => {
                &[DType::I32, DType::I16]
            }
            _ => &[DType::I32],
        };
        for &dtype in dtypes {
            let change = |net: &mut Codes| {
                for tensor in &mut net.tensors {
                    if tensor.kind == TensorKind::Activation {
                        let dims = &tensor.dims[..tensor.rank as usize];
                        let bits = tensor.scale_bits;
                        *tensor = Tensor::new(dtype, tensor.kind, dims);
                        if dtype == DType::I16 {
                            *tensor = tensor.with_scale(0, bits);
                        }
                    }
                }
            };
            let (op, have) = (self.net.ops[0].kind.name(), dtype.name());
            let fault = Fault::OpType { op, have };
            let line = format!("{op} of {have} is not supported");
            refuse(
                &self.net,
                change,
                Place::Op(0),
                fault,
                Class::Unsupported,
                &line,
            );
        }
    }

    /// Limits of codes in the first two parameters.
    fn limits(&self) {
        let (least, greatest) = ("params[0] (least code)", "params[1] (greatest code)");
        self.signed(|net| net.ops[0].params[0] = -129, least, -129, [-128, 127]);
        self.signed(|net| net.ops[0].params[0] = 128, least, 128, [-128, 127]);
        self.signed(|net| net.ops[0].params[1] = 128, greatest, 128, [-128, 127]);
        let turned = |net: &mut Codes| net.ops[0].params[..2].copy_from_slice(&[5, 4]);
        self.signed(turned, greatest, 4, [5, 127]);
    }

    /// Multipliers and shifts in operand `slot`, where those of number `i` stand.
    fn factors(&self, slot: usize, multiplier: usize, shift: usize) {
        let word = |net: &mut Codes, at: usize, value: i32| {
            let tensor = net.ops[0].inputs[slot] as usize;
            net.data[tensor][4 * at..][..4].copy_from_slice(&value.to_le_bytes());
        };
        let mean = self.net.ops[0].kind == OpKind::Mean;
        let least = if mean { HALF / 2 } else { HALF };
        for bad in [i32::MIN, -HALF, -1, 1, least - 1] {
            let change = |net: &mut Codes| word(net, multiplier, bad);
            self.signed(change, "multiplier", bad, [least, i32::MAX]);
        }
        for bad in [i32::MIN, -32, 32, i32::MAX] {
            let change = |net: &mut Codes| word(net, shift, bad);
            self.signed(change, "shift", bad, [-31, 31]);
        }
        for (at, good) in [
            (multiplier, 0),
            (multiplier, least),
            (multiplier, i32::MAX),
            (shift, -31),
            (shift, 31),
        ] {
            let mut net = self.net.clone();
            word(&mut net, at, good);
            assert_eq!(check(&net.file()), Ok(()));
        }
        let name = "requantisation";
        let to = move |dtype, dims: &'static [u32]| {
            move |net: &mut Codes| {
                let tensor = net.ops[0].inputs[slot];
                constant(net, tensor, dtype, dims);
            }
        };
        let want = self.net.tensors[self.net.ops[0].inputs[slot] as usize].rank;
        self.dtype(to(DType::I8, &[2]), name, "i8", "i32");
        self.rank(to(DType::I32, &[1, 1, 1]), name, 3, want);
    }

    fn rows(&self, n: u32) {
        self.factors(3, n as usize - 1, n as usize);
        let name = "requantisation";
        self.shape(|net| constant(net, 3, DType::I32, &[3, 4]), name, 0, 3, 2);
        self.shape(|net| constant(net, 3, DType::I32, &[2, 9]), name, 1, 9, n);
        let bias =
            |dtype, dims: &'static [u32]| move |net: &mut Codes| constant(net, 2, dtype, dims);
        self.dtype(bias(DType::I8, &[4]), "input 2 (bias)", "i8", "i32");
        self.dtype(bias(DType::Q16, &[4]), "input 2 (bias)", "q16", "i32");
        self.rank(bias(DType::I32, &[2, 2]), "bias", 2, 1);
        let weights = |net: &mut Codes| constant(net, 1, DType::I16, &[4, 3]);
        self.dtype(weights, "input 1 (weights)", "i16", "i8");
        // The sum of the last row.
        let large = |bias: i32| {
            move |net: &mut Codes| {
                let at = net.data[2].len() - 4;
                net.data[2][at..].copy_from_slice(&bias.to_le_bytes());
            }
        };
        for bias in [i32::MIN, i32::MAX] {
            let fault = Fault::RowTooLarge { row: n - 1 };
            let row = n - 1;
            let line =
                format!("weights of row {row} are too large: an input could overflow the sum");
            refuse(
                &self.net,
                large(bias),
                Place::Op(0),
                fault,
                Class::Range,
                &line,
            );
        }
    }
}

/// Makes a tensor a constant of zeros.
fn constant(net: &mut Codes, tensor: u32, dtype: DType, dims: &[u32]) {
    let constant = Tensor::new(dtype, TensorKind::Constant, dims);
    net.data[tensor as usize] = vec![0; constant.data_bytes as usize];
    net.tensors[tensor as usize] = constant;
}

fn activation(net: &mut Codes, tensor: u32, dims: &[u32]) {
    let zero = net.tensors[tensor as usize];
    let new = Tensor::new(DType::I8, TensorKind::Activation, dims);
    net.tensors[tensor as usize] = new.with_scale(zero.zero_point, zero.scale_bits);
}

/// A network of one layer of products: input, weights, bias, requantisation, output.
fn products(kind: OpKind, x: &[u32], w: &[u32], y: &[u32], params: &[i32]) -> Case {
    let n = *y.last().unwrap();
    let mut net = Codes::new(x, 3);
    let w = net.codes(w, vec![1; w.iter().product::<u32>() as usize]);
    let b = net.words(&[n], &vec![7; n as usize]);
    let mut list = vec![HALF; n as usize];
    list.resize(2 * n as usize, 5);
    let r = net.words(&[2, n], &list);
    let y = net.activation(y, -4);
    net.op(kind, &[0, w, b, r], params, y);
    Case { net }
}

#[test]
fn wrong_dense_layers_are_refused() {
    let case = products(OpKind::Dense, &[2, 3], &[4, 3], &[2, 4], &[-128, 127]);
    case.common(2, 4);
    case.limits();
    case.rows(4);
    case.rank(|net| constant(net, 1, DType::I8, &[12]), "weights", 1, 2);
    case.shape(
        |net| constant(net, 1, DType::I8, &[4, 2]),
        "weights",
        1,
        2,
        3,
    );
    case.shape(|net| constant(net, 1, DType::I8, &[5, 3]), "bias", 0, 4, 5);
    case.rank(|net| activation(net, 4, &[4]), "output", 1, 2);
    case.shape(|net| activation(net, 4, &[2, 5]), "output", 1, 5, 4);
    case.shape(|net| activation(net, 4, &[3, 4]), "output", 0, 3, 2);
}

/// A layer with a window of 3 rows and 2 columns, on an image of 5 rows and 7 columns.
fn windows(case: &Case, covers: [u64; 2]) {
    let set =
        |param: usize, to: [u32; 2]| move |net: &mut Codes| net.ops[0].params[param] = pair(to);
    let range = [1, 0xffff];
    case.field(set(2, [0, 1]), "stride", 0, range);
    case.field(set(2, [1, 0]), "stride", 0, range);
    case.field(
        set(4, [covers[0] as u32, 0]),
        "pad before",
        covers[0],
        [0, covers[0] - 1],
    );
    case.field(
        set(4, [0, 0xffff]),
        "pad before",
        0xffff,
        [0, covers[1] - 1],
    );
    case.field(set(5, [0xffff, 0]), "pad after", 0xffff, [0, covers[0] - 1]);
    case.field(
        set(5, [0, covers[1] as u32]),
        "pad after",
        covers[1],
        [0, covers[1] - 1],
    );
    let y = case.net.output;
    case.rank(|net| activation(net, 0, &[5, 14]), "x", 2, 3);
    case.rank(move |net| activation(net, y, &[3, 6, 2, 1]), "output", 4, 3);
    case.shape(move |net| activation(net, y, &[4, 6, 2]), "output", 0, 4, 3);
    case.shape(move |net| activation(net, y, &[3, 5, 2]), "output", 1, 5, 6);
    // Steps to the right: fewer columns.
    case.shape(set(2, [1, 2]), "output", 1, 6, 3);
}

#[test]
fn wrong_convolutions_are_refused() {
    let params = [-128, 127, pair([1, 1]), pair([1, 1]), 0, 0];
    let case = products(
        OpKind::Conv2d,
        &[5, 7, 2],
        &[2, 3, 2, 2],
        &[3, 6, 2],
        &params,
    );
    case.common(6, 4);
    case.limits();
    case.rows(2);
    windows(&case, [3, 2]);
    case.rank(
        |net| constant(net, 1, DType::I8, &[3, 2, 2]),
        "weights",
        3,
        4,
    );
    case.shape(
        |net| constant(net, 1, DType::I8, &[3, 3, 2, 2]),
        "weights",
        0,
        3,
        2,
    );
    case.shape(
        |net| constant(net, 1, DType::I8, &[2, 3, 2, 3]),
        "weights",
        3,
        3,
        2,
    );
    case.shape(|net| activation(net, 4, &[3, 6, 3]), "output", 2, 3, 2);
    let dilation = |to| move |net: &mut Codes| net.ops[0].params[3] = pair(to);
    case.field(dilation([0, 1]), "dilation", 0, [1, 0xffff]);
    case.field(dilation([1, 0]), "dilation", 0, [1, 0xffff]);
    case.field(dilation([3, 1]), "window", 7, [1, 5]);
    case.field(dilation([0xffff, 0xffff]), "window", 0x1ffff, [1, 5]);
    case.field(
        |net| constant(net, 1, DType::I8, &[2, 6, 2, 2]),
        "window",
        6,
        [1, 5],
    );
    let wide = |net: &mut Codes| constant(net, 1, DType::I8, &[1, 1, 65536, 1]);
    case.field(wide, "window", 65536, [1, 0xffff]);
}

#[test]
fn wrong_depthwise_convolutions_are_refused() {
    let params = [-128, 127, pair([1, 1]), pair([1, 1]), 0, 0];
    let case = products(
        OpKind::DepthwiseConv2d,
        &[5, 7, 2],
        &[3, 2, 2],
        &[3, 6, 2],
        &params,
    );
    case.common(6, 4);
    case.limits();
    case.rows(2);
    windows(&case, [3, 2]);
    case.rank(
        |net| constant(net, 1, DType::I8, &[1, 3, 2, 2]),
        "weights",
        4,
        3,
    );
    case.shape(
        |net| constant(net, 1, DType::I8, &[3, 2, 4]),
        "weights",
        2,
        4,
        2,
    );
    // No multiple of the channels of the input.
    let three = |net: &mut Codes| {
        constant(net, 1, DType::I8, &[3, 2, 3]);
        constant(net, 2, DType::I32, &[3]);
    };
    case.shape(three, "weights", 2, 3, 2);
}

#[test]
fn wrong_pools_are_refused() {
    for kind in [OpKind::AveragePool2d, OpKind::MaxPool2d] {
        let mut net = Codes::new(&[5, 7, 2], 3);
        let y = net.activation(&[3, 6, 2], 3);
        let params = [-128, 127, pair([1, 1]), pair([3, 2]), 0, 0];
        net.op(kind, &[0], &params, y);
        let case = Case { net };
        case.common(6, 1);
        case.limits();
        windows(&case, [3, 2]);
        let window = |to| move |net: &mut Codes| net.ops[0].params[3] = pair(to);
        case.field(window([0, 1]), "window", 0, [1, 0xffff]);
        case.field(window([1, 0]), "window", 0, [1, 0xffff]);
        case.field(window([1, 8]), "window", 8, [1, 7]);
        case.shape(|net| activation(net, 1, &[3, 6, 1]), "output", 2, 1, 2);

        // More than the sum of a window could hold.
        let mut net = Codes::new(&[1, 1, 1], 3);
        let large = net.activation(&[2049, 2049, 1], 3);
        let y = net.activation(&[1, 1, 1], 3);
        net.op(OpKind::Pad, &[0], &[2048, 2048, 0, 0, 3], large);
        let params = [-128, 127, pair([1, 1]), pair([2049, 2049]), 0, 0];
        net.op(kind, &[large], &params, y);
        let place = Place::Op(1);
        let fault = Fault::Limit {
            field: "pixels of the window",
            have: 2049 * 2049,
            max: 1 << 22,
        };
        assert_eq!(check(&net.file()), Err(Error::Model { place, fault }));
    }
}

#[test]
fn wrong_sums_and_products_of_tensors_are_refused() {
    for kind in [OpKind::Add, OpKind::Sub, OpKind::Mul] {
        let mut net = Codes::new(&[3, 4], 3);
        let b = net.codes(&[4], vec![9; 4]);
        let factors = if kind == OpKind::Mul { 2 } else { 6 };
        let r = net.words(&[factors], &[HALF, 1, HALF, 2, HALF, 3][..factors as usize]);
        let y = net.activation(&[3, 4], 0);
        net.op(kind, &[0, b, r], &[-128, 127, 127], y);
        let case = Case { net };
        case.common(3, 3);
        case.limits();
        case.factors(2, factors as usize - 2, factors as usize - 1);
        let name = "requantisation";
        case.shape(
            |net| constant(net, 2, DType::I32, &[4]),
            name,
            0,
            4,
            factors,
        );
        let zero = "params[2] (zero point of a constant b)";
        case.signed(|net| net.ops[0].params[2] = 128, zero, 128, [-128, 127]);
        case.signed(|net| net.ops[0].params[2] = -129, zero, -129, [-128, 127]);
        let b = "input 1 (b)";
        case.dtype(|net| constant(net, 1, DType::I32, &[4]), b, "i32", "i8");
        case.shape(|net| constant(net, 1, DType::I8, &[3]), b, 0, 3, 4);
        case.shape(|net| constant(net, 1, DType::I8, &[1]), b, 0, 1, 4);
        case.shape(|net| constant(net, 1, DType::I8, &[4, 3]), b, 0, 4, 3);
        case.rank(|net| constant(net, 1, DType::I8, &[1, 3, 4]), b, 3, 2);
        case.shape(|net| activation(net, 3, &[4, 4]), "output", 0, 4, 3);
        case.rank(|net| activation(net, 3, &[12]), "output", 1, 2);
    }
}

#[test]
fn wrong_moves_are_refused() {
    let mut net = Codes::new(&[3, 4], 3);
    let y = net.activation(&[3, 8], 3);
    net.op(OpKind::Concat, &[0, 0], &[1], y);
    let case = Case { net };
    case.common(1, 4);
    let axis = |to| move |net: &mut Codes| net.ops[0].params[0] = to;
    case.signed(axis(-1), "params[0] (axis)", -1, [0, 1]);
    case.signed(axis(2), "params[0] (axis)", 2, [0, 1]);
    case.shape(axis(0), "output", 0, 3, 6);
    case.shape(|net| activation(net, 1, &[3, 7]), "output", 1, 7, 8);
    case.rank(|net| activation(net, 1, &[3, 8, 1]), "output", 3, 2);
    let none = u64::from(NONE);
    case.field(
        |net| net.ops[0].inputs = [0, NONE, 0, NONE],
        "input 2",
        0,
        [none, none],
    );
    case.field(|net| net.ops[0].inputs[0] = NONE, "input 0", none, [0, 1]);
    case.field(|net| net.ops[0].inputs[3] = 2, "input 3", 2, [none, none]);
    // Parts of other shapes.
    let mut net = Codes::new(&[3, 4], 3);
    let [turned, y] = [[4, 3], [4, 6]].map(|dims| net.activation(&dims, 3));
    net.op(OpKind::Transpose, &[0], &[1, 0], turned);
    net.op(OpKind::Concat, &[turned, turned], &[1], y);
    let fault = Fault::Shape {
        operand: "input 1",
        dim: 0,
        have: 3,
        want: 4,
    };
    let line = "input 1: dimension 0 is 3, must be 4";
    let other = |net: &mut Codes| net.ops[1].inputs[1] = 0;
    refuse(&net, other, Place::Op(1), fault, Class::Invalid, line);

    let mut net = Codes::new(&[3, 4], 3);
    let y = net.activation(&[6, 5], 3);
    net.op(
        OpKind::Pad,
        &[0],
        &[pair([1, 2]), pair([0, 1]), 0, 0, -3],
        y,
    );
    let case = Case { net };
    case.common(5, 1);
    let value = "params[4] (value)";
    case.signed(|net| net.ops[0].params[4] = 128, value, 128, [-128, 127]);
    case.signed(|net| net.ops[0].params[4] = -129, value, -129, [-128, 127]);
    let none = "params (pads of no dimension)";
    case.signed(|net| net.ops[0].params[2] = 1, none, 1, [0, 0]);
    case.shape(|net| net.ops[0].params[0] = pair([1, 3]), "output", 0, 6, 7);
    case.shape(|net| net.ops[0].params[1] = -1, "output", 1, 5, 131_074);
    case.rank(|net| activation(net, 1, &[30]), "output", 1, 2);

    let mut net = Codes::new(&[3, 4], 3);
    let y = net.activation(&[2, 2, 3], 3);
    net.op(OpKind::Reshape, &[0], &[], y);
    let case = Case { net };
    case.common(0, 1);
    case.field(
        |net| activation(net, 1, &[2, 2, 4]),
        "elements of the output",
        16,
        [12, 12],
    );

    let mut net = Codes::new(&[3, 4, 5], 3);
    let y = net.activation(&[5, 3, 4], 3);
    net.op(OpKind::Transpose, &[0], &[2, 0, 1], y);
    let case = Case { net };
    case.common(3, 1);
    let axes = |to: [i32; 3]| move |net: &mut Codes| net.ops[0].params[..3].copy_from_slice(&to);
    case.signed(axes([2, 0, 3]), "params (axis)", 3, [0, 2]);
    case.signed(axes([-1, 0, 1]), "params (axis)", -1, [0, 2]);
    case.shape(axes([0, 1, 2]), "output", 0, 5, 3);
    let twice = |net: &mut Codes| {
        activation(net, 1, &[5, 3, 3]);
        net.ops[0].params[2] = 0;
    };
    case.field(twice, "axes that are named", 2, [3, 3]);
    case.rank(|net| activation(net, 1, &[15, 4]), "output", 2, 3);
}

#[test]
fn wrong_means_tables_and_softmaxes_are_refused() {
    let mut net = Codes::new(&[3, 4], 3);
    let r = net.words(&[2], &[HALF, 1]);
    let y = net.activation(&[1, 4], 3);
    net.op(OpKind::Mean, &[0, r], &[], y);
    let case = Case { net };
    case.common(0, 2);
    case.factors(1, 0, 1);
    case.shape(|net| activation(net, 2, &[1, 3]), "output", 1, 3, 4);
    case.field(
        |net| activation(net, 2, &[2, 4]),
        "elements of the output",
        8,
        [4, 4],
    );
    case.shape(
        |net| constant(net, 1, DType::I32, &[4]),
        "requantisation",
        0,
        4,
        2,
    );
    let rows = Fault::Limit {
        field: "rows",
        have: 65536 * 65,
        max: 1 << 22,
    };
    let many = |net: &mut Codes| activation(net, 0, &[65536, 65, 4]);
    let line = "rows: 4259840, at most 4194304 allowed";
    refuse(&case.net, many, Place::Op(0), rows, Class::TooBig, line);

    let mut net = Codes::new(&[3, 4], 3);
    let table = net.codes(&[256], vec![1; 256]);
    let y = net.activation(&[3, 4], 3);
    net.op(OpKind::Lut, &[0, table], &[], y);
    let case = Case { net };
    case.common(0, 2);
    case.shape(
        |net| constant(net, 1, DType::I8, &[255]),
        "table",
        0,
        255,
        256,
    );
    case.rank(|net| constant(net, 1, DType::I8, &[16, 16]), "table", 2, 1);
    case.dtype(
        |net| constant(net, 1, DType::I16, &[256]),
        "input 1 (table)",
        "i16",
        "i8",
    );
    case.shape(|net| activation(net, 2, &[3, 5]), "output", 1, 5, 4);

    let mut net = Codes::new(&[3, 4], 3);
    let y = net.activation(&[3, 4], -128);
    net.tensors[1].scale_bits = SOFTMAX_SCALE;
    net.op(OpKind::Softmax, &[0], &[HALF, -20, -100], y);
    let case = Case { net };
    case.common(3, 1);
    case.shape(|net| activation(net, 1, &[4, 4]), "output", 0, 4, 3);
    let param = |i: usize, to| move |net: &mut Codes| net.ops[0].params[i] = to;
    case.signed(param(0, 1), "multiplier", 1, [HALF, i32::MAX]);
    case.signed(param(1, -32), "params[1] (shift)", -32, [-31, 31]);
    case.signed(
        param(2, 1),
        "params[2] (least difference)",
        1,
        [i32::MIN, 0],
    );
    let zero = |net: &mut Codes| net.tensors[1].zero_point = -127;
    case.signed(zero, "zero_point of the output", -127, [-128, -128]);
    let (name, want) = ("scale of the output, as bits", u64::from(SOFTMAX_SCALE));
    let scale = |net: &mut Codes| net.tensors[1].scale_bits += 1;
    case.field(scale, name, want + 1, [want, want]);
    let long = |net: &mut Codes| (0..2).for_each(|i| activation(net, i, &[4097]));
    let fault = Fault::Limit {
        field: "elements of a row",
        have: 4097,
        max: 4096,
    };
    let line = "elements of a row: 4097, at most 4096 allowed";
    refuse(&case.net, long, Place::Op(0), fault, Class::TooBig, line);
}

#[test]
fn wrong_scales_and_zero_points_are_refused() {
    let mut net = Codes::new(&[3, 4], 3);
    let y = net.activation(&[12], 3);
    net.op(OpKind::Reshape, &[0], &[], y);
    for good in [f32::MIN_POSITIVE, 1.0, f32::MAX] {
        let mut net = net.clone();
        net.tensors[0].scale_bits = good.to_bits();
        assert_eq!(check(&net.file()), Ok(()));
    }
    let denormal = f32::from_bits(f32::MIN_POSITIVE.to_bits() - 1);
    for bad in [
        0.0,
        -0.0,
        -1.0,
        denormal,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        -f32::NAN,
    ] {
        for tensor in [0, 1] {
            let bits = bad.to_bits();
            let change = |net: &mut Codes| net.tensors[tensor as usize].scale_bits = bits;
            let line = format!("scale {bits:#010x} is not a positive normal number");
            let fault = Fault::Scale { bits };
            refuse(
                &net,
                change,
                Place::Tensor(tensor),
                fault,
                Class::Range,
                &line,
            );
        }
    }
    for have in [i32::MIN, -129, 128, i32::MAX] {
        let change = |net: &mut Codes| net.tensors[1].zero_point = have;
        let fault = Fault::Signed {
            field: "zero_point",
            have,
            min: -128,
            max: 127,
        };
        let line = format!("zero_point is {have}, allowed is -128..=127");
        refuse(&net, change, Place::Tensor(1), fault, Class::Range, &line);
    }
    // What is not a code has neither.
    let constant = |net: &mut Codes| {
        let table = net.codes(&[1], vec![0]) as usize;
        net.tensors[table].zero_point = 1;
    };
    let fault = Fault::Reserved { offset: 40 };
    let line = "reserved byte 40 is not 0";
    refuse(
        &net,
        constant,
        Place::Tensor(2),
        fault,
        Class::Invalid,
        line,
    );
    let wide = |net: &mut Codes| net.tensors[1].dims[0] = 65537;
    let fault = Fault::Field {
        field: "dims[0]",
        have: 65537,
        min: 1,
        max: 65536,
    };
    let line = "dims[0] is 65537, allowed is 1..=65536";
    refuse(&net, wide, Place::Tensor(1), fault, Class::Invalid, line);
}

#[test]
fn networks_that_cost_too_much_are_refused() {
    let limit = |net: &Codes, field, have, max| {
        let error = check(&net.file()).expect_err("accepted");
        let fault = Fault::Limit { field, have, max };
        assert_eq!(
            error,
            Error::Model {
                place: Place::File,
                fault
            }
        );
    };
    // Elements that overflow 32 and 64 bits.
    for dims in [[65536, 65536, 1, 1], [65536; 4]] {
        let mut net = Codes::new(&dims, 3);
        let y = net.activation(&dims, 3);
        net.op(OpKind::Reshape, &[0], &[], y);
        let elements = dims
            .iter()
            .fold(1u64, |n, &dim| n.saturating_mul(dim.into()));
        limit(
            &net,
            "multiply-accumulates",
            elements,
            Limits::DEFAULT.max_macs,
        );
    }
    // An input of which hardly anything is looked at counts, too.
    let mut net = Codes::new(&[65535, 65535, 1], 3);
    let y = net.activation(&[2, 2, 1], 3);
    let params = [-128, 127, pair([0xffff - 1; 2]), pair([1; 2]), 0, 0];
    net.op(OpKind::MaxPool2d, &[0], &params, y);
    let bytes = 65535 * 65535 + 4;
    limit(&net, "activation bytes", bytes, Limits::DEFAULT.max_bytes);
    // The copy with a border of an image of one pixel, of which 4 windows are read.
    let mut net = Codes::new(&[1, 1, 1], 3);
    let w = net.codes(&[1, 2, 2, 1], vec![0; 4]);
    let (b, r) = (net.words(&[1], &[0]), net.words(&[2, 1], &[0, 0]));
    let y = net.activation(&[2, 2, 1], 3);
    let far = pair([0xffff; 2]);
    net.op(
        OpKind::Conv2d,
        &[0, w, b, r],
        &[-128, 127, far, far, far, far],
        y,
    );
    let bytes = 131_071 * 131_071 + 1 + 4;
    limit(&net, "activation bytes", bytes, Limits::DEFAULT.max_bytes);
    // Rows that are filled up count as what they take.
    let mut net = Codes::new(&[65536], 3);
    for _ in 0..300 {
        let w = net.codes(&[1, 65536], vec![0; 65536]);
        let (b, r) = (net.words(&[1], &[0]), net.words(&[2, 1], &[0, 0]));
        let y = net.activation(&[1], 3);
        net.op(OpKind::Dense, &[0, w, b, r], &[-128, 127], y);
    }
    // The first that is too much.
    let bytes = 241 * (65536 + 12 + 16 * 65536);
    limit(&net, "weight bytes", bytes, Limits::DEFAULT.max_bytes);
}

#[test]
fn windows_that_sum_up_too_many_codes_are_refused() {
    let params = [-128, 127, pair([1; 2]), pair([1; 2])];
    let conv = |columns: u32| {
        let (x, w) = ([128, 257, 2], [1, 128, columns, 2]);
        products(OpKind::Conv2d, &x, &w, &[1, 258 - columns, 1], &params)
    };
    let depthwise = |columns: u32| {
        let (x, w) = ([256, 257, 1], [256, columns, 1]);
        let y = [1, 258 - columns, 1];
        products(OpKind::DepthwiseConv2d, &x, &w, &y, &params)
    };
    for (right, wrong) in [(conv(256), conv(257)), (depthwise(256), depthwise(257))] {
        let fault = Fault::Limit {
            field: "inputs of a result",
            have: 65_792,
            max: 65_536,
        };
        let line = "inputs of a result: 65792, at most 65536 allowed";
        let change = |net: &mut Codes| *net = wrong.net;
        refuse(&right.net, change, Place::Op(0), fault, Class::TooBig, line);
    }
}
