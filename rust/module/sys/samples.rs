// SPDX-License-Identifier: GPL-2.0

//! The samples of a batch, dealt out one by one to all CPUs that work on it.

use core::{
    marker::PhantomData,
    sync::atomic::{
        AtomicUsize,
        Ordering::Relaxed, //
    }, //
};

/// Inputs and outputs of a batch.
///
/// # Invariants
///
/// `input(i)` and `output(i)` address `input_bytes` and `output_bytes` valid bytes for all
/// `i < count`; the outputs overlap neither each other nor any input.
pub(crate) struct Samples<'a> {
    layout: Layout,
    input_bytes: usize,
    output_bytes: usize,
    count: usize,
    next: AtomicUsize,
    _borrows: PhantomData<&'a mut [u8]>,
}

enum Layout {
    /// One after the other without gaps.
    Packed { inputs: *const u8, outputs: *mut u8 },
    /// Behind a pointer each.
    Scattered {
        inputs: *const *mut i32,
        outputs: *const *mut i32,
    },
}

// SAFETY: Each sample is handed out once, so that no two threads write the same output.
unsafe impl Sync for Samples<'_> {}

impl<'a> Samples<'a> {
    /// Samples that lie one after the other; as many as both slices hold.
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
            layout: Layout::Packed {
                inputs: inputs.as_ptr(),
                outputs: outputs.as_mut_ptr(),
            },
            input_bytes,
            output_bytes,
            count,
            next: AtomicUsize::new(0),
            _borrows: PhantomData,
        }
    }

    /// Samples behind `count` pointers each.
    ///
    /// # Safety
    ///
    /// For `'a`, both arrays hold `count` pointers to that many bytes as the invariants ask for,
    /// which nobody else writes.
    pub(super) unsafe fn scattered(
        inputs: *const *mut i32,
        input_bytes: usize,
        outputs: *const *mut i32,
        output_bytes: usize,
        count: usize,
    ) -> Self {
        // INVARIANT: The caller promises it.
        Samples {
            layout: Layout::Scattered { inputs, outputs },
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

    /// The next sample that nobody has taken: its input and output.
    pub(crate) fn next(&self) -> Option<(&'a [u8], &'a mut [u8])> {
        let i = self.next.fetch_add(1, Relaxed);
        if i >= self.count {
            // Keeps the counter from wrapping round after very many calls.
            self.next.store(self.count, Relaxed);
            return None;
        }
        // SAFETY: `i < count`, so that all addresses are valid by the invariants, and `i` is
        // handed out only here and only once, so that the output is exclusive.
        unsafe {
            let (input, output) = match self.layout {
                Layout::Packed { inputs, outputs } => (
                    inputs.add(i * self.input_bytes),
                    outputs.add(i * self.output_bytes),
                ),
                Layout::Scattered { inputs, outputs } => (
                    (*inputs.add(i)).cast_const().cast(),
                    (*outputs.add(i)).cast(),
                ),
            };
            Some((
                core::slice::from_raw_parts(input, self.input_bytes),
                core::slice::from_raw_parts_mut(output, self.output_bytes),
            ))
        }
    }
}
