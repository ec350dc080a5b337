// SPDX-License-Identifier: GPL-2.0

//! Comparison of vector code with the scalar functions, on layers made up at random.
//!
//! Who calls gives the memory, so that buffers can end where nothing may be read, and the code that
//! is tried.

use neural_core::int8::{self, Depthwise, Gemm, Requant, GROUP, LANES, PANEL, SLACK};

/// Repeatable numbers.
pub(crate) struct Random(u64);

impl Random {
    /// From a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`, which is at most 2^32.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 32) as usize * end) >> 32
    }

    /// A number of a range.
    pub(crate) fn range(&mut self, first: i64, last: i64) -> i64 {
        first + ((u128::from(self.next()) * (last - first + 1) as u128) >> 64) as i64
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next() as u8;
        }
    }
}

/// How big numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// All codes and weights, sums scaled so that most results are within limits.
    Ordinary,
    /// The greatest codes and weights, multipliers and shifts at their limits.
    Extreme,
}

/// Memory for a layer: each part is used up to its end.
pub(crate) struct Memory<'a> {
    /// Input.
    pub(crate) x: &'a mut [u8],
    /// Output.
    pub(crate) y: &'a mut [u8],
    /// What it must be.
    pub(crate) expected: &'a mut [u8],
    /// Weights.
    pub(crate) w: &'a mut [u8],
    /// Biases.
    pub(crate) bias: &'a mut [u8],
    /// Multipliers.
    pub(crate) mult: &'a mut [u8],
    /// Shifts.
    pub(crate) shift: &'a mut [u8],
    /// Offsets.
    pub(crate) offsets: &'a mut [u8],
}

/// The last `len` bytes.
fn tail(memory: &mut [u8], len: usize) -> &mut [u8] {
    let start = memory.len() - len;
    &mut memory[start..]
}

/// A matrix product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Lines.
    pub(crate) outer: usize,
    /// Positions in a line.
    pub(crate) m: usize,
    /// Outputs of a position.
    pub(crate) n: usize,
    /// Segments.
    pub(crate) segments: usize,
    /// Bytes of a segment.
    pub(crate) k: usize,
    /// Bytes between the ends and the beginnings of neighbouring positions and lines.
    pub(crate) gap: usize,
}

/// Fills multipliers and shifts; sums have up to `bits` bits.
fn scales(random: &mut Random, kind: Kind, bits: u32, mult: &mut [u8], shift: &mut [u8]) {
    for (mult, shift) in mult.chunks_exact_mut(4).zip(shift.chunks_exact_mut(4)) {
        let (m, s) = match kind {
            Kind::Ordinary => {
                let spread = i64::from(bits) - 10;
                (
                    random.range(1 << 30, i64::from(i32::MAX)),
                    spread + random.range(-1, 2),
                )
            }
            Kind::Extreme => {
                let m = [
                    0,
                    1 << 30,
                    (1 << 30) + 1,
                    i64::from(i32::MAX) - 1,
                    i64::from(i32::MAX),
                ];
                (m[random.below(m.len())], random.range(-31, 31))
            }
        };
        mult.copy_from_slice(&(m as i32).to_le_bytes());
        shift.copy_from_slice(&(s.clamp(-31, 31) as i32).to_le_bytes());
    }
}

fn limits(random: &mut Random) -> (i32, i32, i32) {
    let zero = random.below(256) as i32;
    match random.below(4) {
        0 => (zero, zero, 255),
        1 => {
            let min = random.below(256) as i32;
            (zero, min, min + random.below(256 - min as usize) as i32)
        }
        _ => (zero, 0, 255),
    }
}

fn biases(random: &mut Random, kind: Kind, bias: &mut [u8]) {
    for bias in bias.chunks_exact_mut(4) {
        let b = match kind {
            Kind::Ordinary => random.range(-20_000, 20_000),
            Kind::Extreme => random.range(-(1 << 30), 1 << 30),
        };
        bias.copy_from_slice(&(b as i32).to_le_bytes());
    }
}

fn codes(random: &mut Random, kind: Kind, x: &mut [u8], w: &mut [u8]) {
    random.fill(x);
    random.fill(w);
    if kind == Kind::Extreme {
        let signed = random.below(3);
        for x in x {
            *x |= 0xfe;
        }
        for w in w {
            *w = match signed {
                0 => 0x80,
                1 => 0x7f,
                _ => (*w & 1).wrapping_add(0x7f),
            };
        }
    }
}

/// Whether `run` gives the same bytes as `int8::gemm`; `None` if it does not run.
pub(crate) fn gemm(
    random: &mut Random,
    kind: Kind,
    shape: Shape,
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Gemm<'_>) -> bool,
) -> Option<bool> {
    let Shape {
        outer,
        m,
        n,
        segments,
        k,
        gap,
    } = shape;
    let (groups, rows) = (k.div_ceil(GROUP), n.next_multiple_of(LANES));
    let offsets = tail(memory.offsets, segments * 4);
    let mut end = 0;
    for offset in offsets.chunks_exact_mut(4) {
        offset.copy_from_slice(&(end as u32).to_le_bytes());
        end += k + gap;
    }
    let patch = end - gap;
    let (x_row, y_row) = (random.below(patch) + gap, n + gap);
    let (x_outer, y_outer) = (x_row * m + gap, y_row * m + gap);
    let used = (outer - 1) * x_outer + (m - 1) * x_row + patch;
    let x = tail(memory.x, used + SLACK);
    let y = tail(memory.y, (outer - 1) * y_outer + (m - 1) * y_row + n);
    let expected = tail(memory.expected, y.len());
    let w = tail(memory.w, segments * groups * rows * GROUP);
    let bias = tail(memory.bias, rows * 4);
    let mult = tail(memory.mult, rows * 4);
    let shift = tail(memory.shift, rows * 4);

    codes(random, kind, x, w);
    let mut at = 0;
    for row in (0..n).step_by(PANEL) {
        let rows = (n - row).next_multiple_of(LANES).min(PANEL);
        for _ in 0..segments {
            at += groups * rows * GROUP;
            for last in w[at - rows * GROUP..at].chunks_exact_mut(GROUP) {
                last[k - (groups - 1) * GROUP..].fill(0);
            }
        }
    }
    biases(random, kind, bias);
    let bits = 14 + (segments * k).ilog2() / 2;
    scales(random, kind, bits, mult, shift);
    let (zero, min, max) = limits(random);
    random.fill(y);
    expected.copy_from_slice(y);

    let mut layer = Gemm {
        x,
        x_row,
        x_outer,
        y,
        y_row,
        y_outer,
        m,
        outer,
        n,
        k,
        offsets,
        w,
        bias,
        requant: Requant {
            mult,
            shift,
            zero,
            min,
            max,
        },
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::gemm(Gemm {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}

/// A depthwise convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    /// Lines.
    pub(crate) outer: usize,
    /// Positions in a line.
    pub(crate) m: usize,
    /// Channels.
    pub(crate) channels: usize,
    /// Taps.
    pub(crate) taps: usize,
    /// Bytes between the channels of neighbouring taps, positions and lines.
    pub(crate) gap: usize,
}

/// Whether `run` gives the same bytes as `int8::depthwise`; `None` if it does not run.
pub(crate) fn depthwise(
    random: &mut Random,
    kind: Kind,
    window: Window,
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Depthwise<'_>) -> bool,
) -> Option<bool> {
    let Window {
        outer,
        m,
        channels,
        taps,
        gap,
    } = window;
    let (rows, pixel) = (channels.next_multiple_of(PANEL), channels + gap);
    let offsets = tail(memory.offsets, taps * 4);
    for (i, offset) in offsets.chunks_exact_mut(4).enumerate() {
        offset.copy_from_slice(&((taps - 1 - i) as u32 * pixel as u32).to_le_bytes());
    }
    let patch = (taps - 1) * pixel + channels;
    let (x_outer, y_outer) = (pixel * m + gap, pixel * m + gap);
    let x = tail(
        memory.x,
        (outer - 1) * x_outer + (m - 1) * pixel + patch + SLACK,
    );
    let y = tail(memory.y, (outer - 1) * y_outer + (m - 1) * pixel + channels);
    let expected = tail(memory.expected, y.len());
    let w = tail(memory.w, taps.next_multiple_of(GROUP) * rows);
    let bias = tail(memory.bias, rows * 4);
    let mult = tail(memory.mult, rows * 4);
    let shift = tail(memory.shift, rows * 4);

    codes(random, kind, x, w);
    if taps % GROUP != 0 {
        for chunk in w.chunks_exact_mut(taps.next_multiple_of(GROUP) * PANEL) {
            let last = chunk.len() - PANEL * GROUP;
            for group in chunk[last..].chunks_exact_mut(GROUP) {
                group[taps % GROUP..].fill(0);
            }
        }
    }
    biases(random, kind, bias);
    scales(random, kind, 15 + taps.ilog2() / 2, mult, shift);
    let (zero, min, max) = limits(random);
    random.fill(y);
    expected.copy_from_slice(y);

    let mut layer = Depthwise {
        x,
        x_row: pixel,
        x_outer,
        y,
        y_row: pixel,
        y_outer,
        m,
        outer,
        channels,
        offsets,
        w,
        bias,
        requant: Requant {
            mult,
            shift,
            zero,
            min,
            max,
        },
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::depthwise(Depthwise {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}
