// SPDX-License-Identifier: GPL-2.0

//! Layers element by element, and over rows that follow each other without gaps.

use super::matrix::has_rows;
use super::{bytes, count, has, Layer};
use crate::f32_args::{self as args, binary, op, part};
use neural_core::float::{
    Binary, Cosine, Function, Map, Mean, Norm, Normalise, Operator, Pool, Softmax, SoftmaxPart,
};

// The codes of functions are passed on as they are.
const _: () = {
    let codes: [(Function, u32); op::COUNT as usize] = [
        (Function::None, op::NONE),
        (Function::Relu, op::RELU),
        (Function::Relu6, op::RELU6),
        (Function::LeakyRelu, op::LEAKY),
        (Function::Sigmoid, op::SIGMOID),
        (Function::Tanh, op::TANH),
        (Function::Gelu, op::GELU),
        (Function::GeluTanh, op::GELU_TANH),
        (Function::HardSwish, op::HARD_SWISH),
        (Function::Silu, op::SILU),
        (Function::HardSigmoid, op::HARD_SIGMOID),
        (Function::Elu, op::ELU),
        (Function::Softplus, op::SOFTPLUS),
        (Function::Exp, op::EXP),
        (Function::Sqrt, op::SQRT),
        (Function::Abs, op::ABS),
    ];
    let mut i = 0;
    while i < codes.len() {
        assert!(codes[i].0.code() == codes[i].1);
        i += 1;
    }
};

/// Rows of `n` elements in `slice`, if there is nothing else.
fn rows(slice: &[u8], n: usize) -> Option<usize> {
    let row = bytes(n)?;
    let rows = slice.len().checked_div(row)?;
    (rows.checked_mul(row)? == slice.len()).then_some(rows)
}

impl Layer for Map<'_> {
    type Args = args::MapF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let n = count(self.y)?;
        has(self.x, n)?;
        Some(args::MapF32 {
            x: self.x.as_ptr(),
            y: self.y.as_mut_ptr(),
            n,
            op: self.act.function.code(),
            slope: self.act.slope,
        })
    }
}

impl Layer for Binary<'_> {
    type Args = args::BinaryF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let n = count(self.b)?;
        let rows = rows(self.y, n)?;
        has(self.a, count(self.y)?)?;
        Some(args::BinaryF32 {
            a: self.a.as_ptr(),
            b: self.b.as_ptr(),
            y: self.y.as_mut_ptr(),
            rows,
            n,
            op: match self.operator {
                Operator::Add => binary::ADD,
                Operator::Sub => binary::SUB,
                Operator::Mul => binary::MUL,
            },
            act: self.act.function.code(),
            slope: self.act.slope,
        })
    }
}

impl Layer for Normalise<'_> {
    type Args = args::NormaliseF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let n = count(self.y)?;
        has(self.x, n)?;
        has(self.first, n)?;
        has(self.second, n)?;
        has(self.next_first, n)?;
        has(self.next_second, n)?;
        Some(args::NormaliseF32 {
            x: self.x.as_ptr(),
            first: self.first.as_ptr(),
            second: self.second.as_ptr(),
            y: self.y.as_mut_ptr(),
            next_first: self.next_first.as_mut_ptr(),
            next_second: self.next_second.as_mut_ptr(),
            n,
            range: u32::from(self.range),
            samples: self.samples,
            eps: self.eps,
        })
    }
}

impl Layer for Softmax<'_> {
    type Args = args::SoftmaxF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let n = count(self.y)?;
        let (part, state) = match &mut self.part {
            None => (part::ALL, core::ptr::null_mut()),
            Some((part, state)) => (
                match part {
                    SoftmaxPart::Top => part::TOP,
                    SoftmaxPart::Sum => part::SUM,
                    SoftmaxPart::Share => part::SHARE,
                },
                state.lanes().as_mut_ptr(),
            ),
        };
        // The last step changes what is there; a part is of one row.
        let x = match part {
            part::SHARE => self.y.as_ptr(),
            _ => {
                has(self.x, n)?;
                self.x.as_ptr()
            }
        };
        let rows = rows(self.y, self.n)?;
        (part == part::ALL || rows == 1).then_some(args::SoftmaxF32 {
            x,
            rows,
            y: self.y.as_mut_ptr(),
            n: self.n,
            log: u32::from(self.log),
            part,
            state: state.cast(),
        })
    }
}

impl Layer for Norm<'_> {
    type Args = args::NormF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has(self.x, count(self.y)?)?;
        has(self.gamma, self.n)?;
        let beta = match self.beta {
            Some(beta) => {
                has(beta, self.n)?;
                beta.as_ptr()
            }
            None => core::ptr::null(),
        };
        Some(args::NormF32 {
            x: self.x.as_ptr(),
            rows: rows(self.y, self.n)?,
            y: self.y.as_mut_ptr(),
            n: self.n,
            gamma: self.gamma.as_ptr(),
            beta,
            eps: self.eps,
            rms: u32::from(self.beta.is_none()),
        })
    }
}

impl Layer for Mean<'_> {
    type Args = args::MeanF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        has_rows(self.x, self.row, self.rows, self.n)?;
        has(self.y, self.n)?;
        (self.rows > 0).then_some(args::MeanF32 {
            x: self.x.as_ptr(),
            x_row: self.row,
            y: self.y.as_mut_ptr(),
            rows: self.rows,
            n: self.n,
            count: self.count,
            more: u32::from(self.more),
        })
    }
}

impl Layer for Cosine<'_> {
    type Args = args::CosineF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let rows = count(self.y)?;
        has(self.x, self.d)?;
        has(self.rows, rows.checked_mul(self.d)?)?;
        Some(args::CosineF32 {
            key: self.x.as_ptr(),
            x: self.rows.as_ptr(),
            y: self.y.as_mut_ptr(),
            rows,
            n: self.d,
            eps: self.eps,
        })
    }
}

impl Layer for Pool<'_> {
    type Args = args::PoolF32;

    #[inline]
    fn check(&mut self) -> Option<Self::Args> {
        let ([height, width, pixel], [out_height, out_width]) = (self.image, self.out);
        let (row, channels) = (bytes(pixel)?, self.channels);
        has_rows(self.x, row, height.checked_mul(width)?, channels)?;
        has_rows(self.y, row, out_height.checked_mul(out_width)?, channels)?;
        if channels > pixel {
            return None;
        }
        let ends = [out_height, self.first.checked_add(out_width)?];
        for (out, (stride, window)) in ends.iter().zip(self.stride.iter().zip(self.window)) {
            out.checked_mul(*stride)?.checked_add(window)?;
        }
        Some(args::PoolF32 {
            x: self.x.as_ptr(),
            y: self.y.as_mut_ptr(),
            height,
            width,
            channels,
            pixel,
            first: self.first,
            out_height,
            out_width,
            window: self.window,
            stride: self.stride,
            pad: self.pad,
            max: u32::from(self.greatest),
        })
    }
}
