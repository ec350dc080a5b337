// SPDX-License-Identifier: GPL-2.0

//! What vector code is called with: pointers and integers, laid out as C does.
//!
//! This file is part of two crates in the kernel, the one that calls and the one that is called,
//! which are compiled for different targets. Fields mean what those of the same name mean in
//! `neural_core::int8`; who fills them has checked that every access lies inside the buffers.

/// `int8::Requant`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Requant {
    /// Multipliers, `i32`.
    pub(crate) mult: *const u8,
    /// Shifts to the right, `i32`.
    pub(crate) shift: *const u8,
    /// Zero point of the output, 0..=255.
    pub(crate) zero: u8,
    /// Least code.
    pub(crate) min: u8,
    /// Greatest code.
    pub(crate) max: u8,
}

/// The positions of a layer, in its input and in its output.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Positions {
    /// Input.
    pub(crate) x: *const u8,
    /// Bytes between positions of the input.
    pub(crate) x_row: usize,
    /// Bytes between lines of the input.
    pub(crate) x_outer: usize,
    /// Output.
    pub(crate) y: *mut u8,
    /// Bytes between positions of the output.
    pub(crate) y_row: usize,
    /// Bytes between lines of the output.
    pub(crate) y_outer: usize,
    /// Positions in a line.
    pub(crate) m: usize,
    /// Lines.
    pub(crate) outer: usize,
}

/// `int8::Gemm`.
#[repr(C)]
pub(crate) struct GemmI8 {
    /// Input and output.
    pub(crate) positions: Positions,
    /// Outputs of a position.
    pub(crate) n: usize,
    /// Groups of four bytes in a segment.
    pub(crate) groups: usize,
    /// Segments.
    pub(crate) segments: usize,
    /// Where the segments start, `u32`.
    pub(crate) offsets: *const u8,
    /// Packed weights.
    pub(crate) w: *const u8,
    /// Folded biases, `i32`.
    pub(crate) bias: *const u8,
    /// From sums to codes.
    pub(crate) requant: Requant,
}

/// `int8::Depthwise`.
#[repr(C)]
pub(crate) struct DepthwiseI8 {
    /// Input and output.
    pub(crate) positions: Positions,
    /// Channels.
    pub(crate) channels: usize,
    /// Taps of a window.
    pub(crate) taps: usize,
    /// Where the taps are, `u32`.
    pub(crate) offsets: *const u8,
    /// Packed weights.
    pub(crate) w: *const u8,
    /// Folded biases, `i32`.
    pub(crate) bias: *const u8,
    /// From sums to codes.
    pub(crate) requant: Requant,
}

/// `int8::ChainLayer`.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // A crate reads it, none makes it: it lies in the plan.
pub(crate) struct ChainLayer {
    /// What it reads.
    pub(crate) k: u32,
    /// What it gives.
    pub(crate) n: u32,
    /// Offset of the packed weights.
    pub(crate) w: u32,
    /// Offset of the folded biases.
    pub(crate) bias: u32,
    /// Offset of the multipliers.
    pub(crate) mult: u32,
    /// Offset of the shifts.
    pub(crate) shift: u32,
    /// Zero point of the output, 0..=255.
    pub(crate) zero: i32,
    /// Least code.
    pub(crate) min: i32,
    /// Greatest code.
    pub(crate) max: i32,
    /// Nothing.
    pub(crate) reserved: [i32; 7],
}

/// `int8::Chain`.
#[repr(C)]
pub(crate) struct ChainI8 {
    /// Input, codes.
    pub(crate) x: *const u8,
    /// Output.
    pub(crate) y: *mut u8,
    /// What is between layers.
    pub(crate) buffers: [*mut u8; 2],
    /// Where the offsets of the layers lead to.
    pub(crate) weights: *const u8,
    /// The layers, [`ChainLayer`] each.
    pub(crate) layers: *const u8,
    /// How many.
    pub(crate) count: usize,
    /// Whether the output gets codes; else biased codes.
    pub(crate) flip: usize,
}
