// SPDX-License-Identifier: GPL-2.0

//! The samples of a batch, dealt out to all CPUs that work on it, some at a time.

use core::{
    marker::PhantomData,
    sync::atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    }, //
};

/// Inputs and outputs of a batch, one behind the other without gaps.
///
/// # Invariants
///
/// `inputs` and `outputs` address `count * input_bytes` and `count * output_bytes` valid bytes that do
/// not overlap.
pub(crate) struct Samples<'a> {
    inputs: *const u8,
    outputs: *mut u8,
    input_bytes: usize,
    output_bytes: usize,
    count: usize,
    next: AtomicUsize,
    _borrows: PhantomData<&'a mut [u8]>,
}

// SAFETY: Each sample is handed out once, so that no two threads write the same output.
unsafe impl Sync for Samples<'_> {}

impl<'a> Samples<'a> {
    /// As many samples as both slices hold.
    pub(crate) fn packed(
        inputs: &'a [u8],
        input_bytes: usize,
        outputs: &'a mut [u8],
        output_bytes: usize,
    ) -> Self {
        let count = usize::min(
            inputs.len().checked_div(input_bytes).unwrap_or(0),
            outputs.len().checked_div(output_bytes).unwrap_or(0),
        );
        // INVARIANT: Both slices hold `count` samples, and a `&mut` overlaps nothing.
        Samples {
            inputs: inputs.as_ptr(),
            outputs: outputs.as_mut_ptr(),
            input_bytes,
            output_bytes,
            count,
            next: AtomicUsize::new(0),
            _borrows: PhantomData,
        }
    }

    /// Number of samples.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether there are samples that nobody has taken.
    pub(crate) fn left(&self) -> bool {
        self.next.load(Relaxed) < self.count
    }

    /// Bytes of one input and of one output.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.input_bytes, self.output_bytes)
    }

    /// The next samples that nobody has taken, at most `most`: their inputs and their outputs.
    pub(crate) fn take(&self, most: usize) -> Option<(&'a [u8], &'a mut [u8])> {
        let first = self.next.fetch_add(most, Relaxed);
        if first >= self.count {
            // Keeps the counter from wrapping round after very many calls.
            self.next.store(self.count, Relaxed);
            return None;
        }
        let n = most.min(self.count - first);
        // SAFETY: `first + n <= count`, so that all addresses are valid by the invariants, and these
        // samples are handed out only here and only once, so that their outputs are exclusive.
        unsafe {
            Some((
                core::slice::from_raw_parts(
                    self.inputs.add(first * self.input_bytes),
                    n * self.input_bytes,
                ),
                core::slice::from_raw_parts_mut(
                    self.outputs.add(first * self.output_bytes),
                    n * self.output_bytes,
                ),
            ))
        }
    }
}
