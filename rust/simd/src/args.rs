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
    /// Offset of the table of a function of the results, `u32::MAX` for none.
    pub(crate) table: u32,
    /// Nothing.
    pub(crate) reserved: [i32; 6],
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

/// `int8::Multiplier`: the multiplier is not -2^31, the shift is -31..=31.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Factor {
    /// Multiplier.
    pub(crate) mult: i32,
    /// Shift to the right.
    pub(crate) shift: i32,
}

/// A function of each code.
#[repr(C)]
pub(crate) struct MapI8 {
    /// Input.
    pub(crate) x: *const u8,
    /// Output.
    pub(crate) y: *mut u8,
    /// Codes.
    pub(crate) n: usize,
    /// 256 codes.
    pub(crate) table: *const u8,
}

/// `int8::Flip`.
#[repr(C)]
pub(crate) struct FlipI8 {
    /// Input.
    pub(crate) x: *const u8,
    /// Bytes from a row to the next one.
    pub(crate) x_row: usize,
    /// Output.
    pub(crate) y: *mut u8,
    /// Bytes from a row to the next one.
    pub(crate) y_row: usize,
    /// Rows.
    pub(crate) rows: usize,
    /// Codes of a row.
    pub(crate) n: usize,
}

/// `int8::Add` and `int8::Mul`.
#[repr(C)]
pub(crate) struct PairI8 {
    /// Input.
    pub(crate) a: *const u8,
    /// Input, which repeats.
    pub(crate) b: *const u8,
    /// Output.
    pub(crate) y: *mut u8,
    /// Codes of `a` and `y`.
    pub(crate) n: usize,
    /// Codes of `b`, at least one.
    pub(crate) repeat: usize,
    /// Zero point of `a`.
    pub(crate) a_zero: i32,
    /// Zero point of `b`.
    pub(crate) b_zero: i32,
    /// From `a` to the scale of a sum.
    pub(crate) a_factor: Factor,
    /// From `b` to the scale of a sum.
    pub(crate) b_factor: Factor,
    /// From the sum or product to `y`.
    pub(crate) y_factor: Factor,
    /// Whether `b` is subtracted.
    pub(crate) subtract: u8,
    /// Zero point of `y`.
    pub(crate) zero: u8,
    /// Least code.
    pub(crate) min: u8,
    /// Greatest code.
    pub(crate) max: u8,
}

/// `int8::Pool`.
#[repr(C)]
pub(crate) struct PoolI8 {
    /// Input.
    pub(crate) x: *const u8,
    /// Output.
    pub(crate) y: *mut u8,
    /// Rows and columns of the image.
    pub(crate) image: [usize; 2],
    /// Rows and columns of the result.
    pub(crate) out: [usize; 2],
    /// Channels.
    pub(crate) channels: usize,
    /// Rows and columns of the window.
    pub(crate) window: [usize; 2],
    /// Steps of the window.
    pub(crate) stride: [usize; 2],
    /// Rows and columns before the image.
    pub(crate) pad: [usize; 2],
    /// Least code.
    pub(crate) min: u8,
    /// Greatest code.
    pub(crate) max: u8,
}

/// `int8::Mean`.
#[repr(C)]
pub(crate) struct MeanI8 {
    /// Input.
    pub(crate) x: *const u8,
    /// Output.
    pub(crate) y: *mut u8,
    /// Rows.
    pub(crate) rows: usize,
    /// Channels.
    pub(crate) channels: usize,
    /// The zero point as often as there are rows, modulo 2^32.
    pub(crate) zeros: i32,
    /// From sums to `y`.
    pub(crate) factor: Factor,
    /// Zero point of `y`.
    pub(crate) zero: u8,
}

/// `int8::LstmCell`.
#[repr(C)]
pub(crate) struct LstmCellI8 {
    /// What the gates get from the input, `i16`.
    pub(crate) from_x: *const u8,
    /// What the gates get from the last output, `i16`.
    pub(crate) from_h: *const u8,
    /// The cells, `i16`.
    pub(crate) cell: *mut u8,
    /// Output.
    pub(crate) h: *mut u8,
    /// Cells.
    pub(crate) n: usize,
    /// `int8::SIGMOID`.
    pub(crate) table: *const u8,
    /// From forget gate and cell to the cell.
    pub(crate) forget: Factor,
    /// From input gate and candidate to the cell.
    pub(crate) input: Factor,
    /// From output gate and cell to the output.
    pub(crate) output: Factor,
    /// Fraction bits of the cells beyond 12, -12..=15.
    pub(crate) shift: i32,
    /// Least number of a cell.
    pub(crate) least: i32,
    /// Greatest number of a cell.
    pub(crate) most: i32,
    /// Zero point of the output.
    pub(crate) zero: u8,
}

/// `int8::Softmax`.
#[repr(C)]
pub(crate) struct SoftmaxI8 {
    /// Input.
    pub(crate) x: *const u8,
    /// Output.
    pub(crate) y: *mut u8,
    /// Rows.
    pub(crate) rows: usize,
    /// Codes of a row, 1..=4096.
    pub(crate) n: usize,
    /// From differences to exponents.
    pub(crate) beta: Factor,
    /// The least difference that counts, at most 0.
    pub(crate) diff_min: i32,
}
