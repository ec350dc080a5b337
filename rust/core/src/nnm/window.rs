// SPDX-License-Identifier: GPL-2.0

//! Windows that move over images. What the check has found is what the plan builds on, so their
//! geometry is worked out here for both.

use crate::error::Fault;

use super::kind::OpKind;
use super::record::{field, Op};
use super::Model;

/// The lower and the upper half of a parameter.
pub(super) const fn halves(param: i32) -> [u32; 2] {
    // CAST: the same bits.
    let bits = param as u32;
    [bits & 0xffff, bits >> 16]
}

/// A window that moves over an image.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Rows, columns and channels of the image.
    pub(crate) image: [u32; 3],
    /// Rows and columns of the window.
    pub(crate) window: [u32; 2],
    /// Steps of the window.
    pub(crate) stride: [u32; 2],
    /// Steps within the window.
    pub(crate) dilation: [u32; 2],
    /// Rows above and columns left of the image.
    pub(crate) before: [u32; 2],
    /// Rows below and columns right of the image.
    pub(crate) after: [u32; 2],
    /// Rows and columns of the result.
    pub(crate) out: [u32; 2],
    /// Channels of the result.
    pub(crate) channels: u32,
}

impl Window {
    /// The window of a convolution or of a pool.
    pub(crate) fn of(model: &Model<'_>, op: &Op) -> Result<Self, Fault> {
        let tensor = |index| model.tensor(index).ok_or(Fault::Mismatch);
        let ([x, w, ..], [_, _, stride, third, before, after, _]) = (op.inputs, op.params);
        let [h, width, c, _] = tensor(x)?.dims;
        let (window, dilation) = match op.kind {
            OpKind::Conv2d => {
                let [_, kh, kw, _] = tensor(w)?.dims;
                ([kh, kw], halves(third))
            }
            OpKind::DepthwiseConv2d => {
                let [kh, kw, ..] = tensor(w)?.dims;
                ([kh, kw], halves(third))
            }
            _ => (halves(third), [1, 1]),
        };
        let [.., channels] = match tensor(op.output)?.dims {
            [a, b, c, _] => [a, b, c],
        };
        let mut this = Window {
            image: [h, width, c],
            window,
            stride: halves(stride),
            dilation,
            before: halves(before),
            after: halves(after),
            out: [0; 2],
            channels,
        };
        let axis = |i: usize| -> Result<u32, Fault> {
            let at = |pair: [u32; 2]| pair.get(i).copied().unwrap_or(0);
            let image = this.image.get(i).copied().unwrap_or(0);
            for (name, value) in [
                ("stride", at(this.stride)),
                ("dilation", at(this.dilation)),
                ("window", at(this.window)),
            ] {
                field(name, value, 1, 0xffff)?;
            }
            let covers = u64::from(at(this.window).saturating_sub(1))
                .saturating_mul(u64::from(at(this.dilation)))
                .saturating_add(1);
            let with_border = u64::from(image)
                .saturating_add(u64::from(at(this.before)))
                .saturating_add(u64::from(at(this.after)));
            for (name, pad) in [
                ("pad before", at(this.before)),
                ("pad after", at(this.after)),
            ] {
                if u64::from(pad) >= covers {
                    return Err(Fault::Field {
                        field: name,
                        have: u64::from(pad),
                        min: 0,
                        max: covers.saturating_sub(1),
                    });
                }
            }
            let Some(room) = with_border.checked_sub(covers) else {
                return Err(Fault::Field {
                    field: "window",
                    have: covers,
                    min: 1,
                    max: with_border,
                });
            };
            let steps = room.checked_div(u64::from(at(this.stride))).unwrap_or(0);
            u32::try_from(steps.saturating_add(1)).map_err(|_| Fault::Mismatch)
        };
        this.out = [axis(0)?, axis(1)?];
        Ok(this)
    }

    /// Rows and columns of the image with its border.
    pub(crate) fn padded(&self) -> [u32; 2] {
        let [h, w, _] = self.image;
        let ([top, left], [bottom, right]) = (self.before, self.after);
        [
            h.saturating_add(top).saturating_add(bottom),
            w.saturating_add(left).saturating_add(right),
        ]
    }

    /// Elements of the image with its border.
    pub(super) fn padded_elements(&self) -> u64 {
        let [h, w] = self.padded();
        let [_, _, c] = self.image;
        [w, c.max(self.channels)]
            .into_iter()
            .fold(u64::from(h), |bytes, n| bytes.saturating_mul(u64::from(n)))
    }
}
