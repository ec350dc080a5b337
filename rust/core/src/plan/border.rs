// SPDX-License-Identifier: GPL-2.0

//! Images with a border.
//!
//! Convolutions read every window as if it lay in the image: where one does not, the image is copied
//! into a larger one first. So no kernel has to know of borders.

use crate::error::Error;

use super::{Kernels, Meter};

/// An image that is copied into a larger one, with a border and repeated channels.
#[derive(Copy, Clone, Debug)]
pub(super) struct Border {
    /// Rows, columns and channels.
    pub(super) image: [usize; 3],
    /// Rows above and columns left.
    pub(super) before: [usize; 2],
    /// Rows and columns with the border.
    pub(super) padded: [usize; 2],
    /// How often each channel stands in the copy.
    pub(super) repeat: usize,
    /// Bytes of an element.
    pub(super) element: usize,
    /// What all bytes of the border are.
    pub(super) value: u8,
}

impl Border {
    /// Copies an image to the middle of a larger one.
    pub(super) fn copy<K: Kernels + ?Sized>(
        &self,
        meter: &mut Meter<'_, K>,
        x: &[u8],
        copy: &mut [u8],
    ) -> Result<(), Error> {
        let ([h, w, c], [top, _], [height, width]) = (self.image, self.before, self.padded);
        let c = c.saturating_mul(self.element);
        let line_bytes = width.saturating_mul(c).saturating_mul(self.repeat).max(1);
        let mut image = x.chunks_exact(w.saturating_mul(c).max(1));
        for (i, line) in copy.chunks_exact_mut(line_bytes).take(height).enumerate() {
            meter.spend_line(line_bytes, self.repeat == 1)?;
            let inside = i.checked_sub(top).is_some_and(|row| row < h);
            match inside.then(|| image.next()).flatten() {
                Some(from) => self.line(from, line),
                None => line.fill(self.value),
            }
        }
        Ok(())
    }

    /// A line of the image, and what is left and right of it.
    fn line(&self, from: &[u8], to: &mut [u8]) {
        let [_, left] = self.before;
        let [_, _, c] = self.image;
        let start = left
            .saturating_mul(c.saturating_mul(self.element))
            .saturating_mul(self.repeat);
        let Some((before, rest)) = to.split_at_mut_checked(start) else {
            return;
        };
        let inner = from.len().saturating_mul(self.repeat);
        let Some((inner, after)) = rest.split_at_mut_checked(inner) else {
            return;
        };
        before.fill(self.value);
        after.fill(self.value);
        if self.repeat == 1 {
            inner.copy_from_slice(from);
        } else {
            let element = self.element.max(1);
            let repeated = element.saturating_mul(self.repeat).max(1);
            let from = from.chunks_exact(element);
            for (to, from) in inner.chunks_exact_mut(repeated).zip(from) {
                for to in to.chunks_exact_mut(element) {
                    to.copy_from_slice(from);
                }
            }
        }
    }
}
