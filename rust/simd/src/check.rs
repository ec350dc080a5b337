// SPDX-License-Identifier: GPL-2.0

//! Comparison of vector code with the scalar functions, on layers made up at random.
//!
//! Who calls gives the memory, so that buffers can end where nothing may be read, and the code that
//! is tried.

use neural_core::int8::{
    self, Add, Chain, ChainLayer, Depthwise, Flip, Gemm, Gemm16, LstmCell, LstmScales, Mean, Mul,
    Multiplier, Pool, Requant, Softmax, GROUP, LANES, PANEL, SLACK,
};

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
        let count = (last - first + 1) as u128;
        first + (u128::from(self.next()).wrapping_mul(count) >> 64) as i64
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
    // Rows of which none is shifted to the left are done in another way.
    let least = [-31, 0, 1][random.below(3)];
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
                (m[random.below(m.len())], random.range(least, 31))
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
            Kind::Extreme => {
                // So far from the limits that no sum comes to them.
                let most = (1 << 31) - (1 << 28);
                [random.range(-(1 << 30), 1 << 30), most, -most][random.below(3)]
            }
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

/// Clears the weights that are there for the inputs behind the end of a segment.
fn clear_padding(w: &mut [u8], n: usize, segments: usize, k: usize) {
    let groups = k.div_ceil(GROUP);
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
    clear_padding(w, n, segments, k);
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

/// A factor; numbers that it is made for are below 2^`bits`.
fn factor(random: &mut Random, kind: Kind, bits: i64) -> Multiplier {
    let (mult, shift) = match kind {
        Kind::Ordinary => (random.range(1 << 30, i64::from(i32::MAX)), bits - 7),
        Kind::Extreme => {
            let mult = [
                0,
                1 << 29,
                1 << 30,
                i64::from(i32::MAX),
                i64::from(i32::MIN) + 1,
                -(1 << 30),
                random.range(i64::from(i32::MIN) + 1, i64::from(i32::MAX)),
            ];
            (mult[random.below(mult.len())], random.range(-31, 31))
        }
    };
    Multiplier {
        mult: mult as i32,
        shift: (shift + random.range(-1, 1)).clamp(-31, 31) as i32,
    }
}

/// Random codes, or those at the limits.
fn inputs(random: &mut Random, kind: Kind, x: &mut [u8]) {
    random.fill(x);
    if kind == Kind::Extreme {
        let mask = [0, 0xff, 0x80, 1][random.below(4)];
        let bits = [0, 0xff, 0x80, 0x7f][random.below(4)];
        for x in x {
            *x = (*x & mask) ^ bits;
        }
    }
}

/// Random bytes in the output and in what it must be, which are the same.
fn outputs(random: &mut Random, y: &mut [u8], expected: &mut [u8]) {
    random.fill(y);
    expected.copy_from_slice(y);
}

/// Whether `run` flips the highest bit of `n` codes in each of some rows, and nothing between them.
pub(crate) fn flip(
    random: &mut Random,
    n: usize,
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Flip<'_>) -> bool,
) -> Option<bool> {
    let (rows, gap) = (1 + random.below(3), random.below(70));
    let (x_row, y_row) = (n, n + gap);
    let x = tail(memory.x, rows * x_row);
    let bytes = (rows - 1) * y_row + n;
    let (y, expected) = (tail(memory.y, bytes), tail(memory.expected, bytes));
    random.fill(x);
    outputs(random, y, expected);
    for row in 0..rows {
        for i in 0..n {
            expected[row * y_row + i] = x[row * x_row + i] ^ 0x80;
        }
    }
    let done = run(&mut Flip {
        x,
        x_row,
        y,
        y_row,
        rows,
        n,
    });
    done.then(|| y == expected)
}

/// Looks up codes.
pub(crate) type Lut<'a> = dyn FnMut(&[u8; 256], &[u8], &mut [u8]) -> bool + 'a;

/// Whether `run` looks up `n` codes.
pub(crate) fn lut(
    random: &mut Random,
    n: usize,
    memory: Memory<'_>,
    run: &mut Lut<'_>,
) -> Option<bool> {
    let (x, y) = (tail(memory.x, n), tail(memory.y, n));
    let expected = tail(memory.expected, n);
    let table = tail(memory.w, 256);
    random.fill(table);
    for (i, x) in x.iter_mut().enumerate() {
        *x = (i as u8).wrapping_mul(167);
    }
    outputs(random, y, expected);
    let table: &[u8; 256] = (&*table).try_into().ok()?;
    let done = run(table, x, y);
    int8::lut::apply(table, x, expected);
    done.then_some(y == expected)
}

/// Whether `run` gives the same bytes as `int8::add`, for `n` codes and `repeat` of the second input.
pub(crate) fn add(
    random: &mut Random,
    kind: Kind,
    [n, repeat]: [usize; 2],
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Add<'_>) -> bool,
) -> Option<bool> {
    let (a, b) = (tail(memory.x, n), tail(memory.w, repeat));
    let (y, expected) = (tail(memory.y, n), tail(memory.expected, n));
    inputs(random, kind, a);
    inputs(random, kind, b);
    outputs(random, y, expected);
    let (zero, min, max) = limits(random);
    let scale = |random: &mut Random, bits| (random.below(256) as i32, factor(random, kind, bits));
    let mut layer = Add {
        a,
        b,
        y,
        a_scale: scale(random, 8),
        b_scale: scale(random, 8),
        subtract: random.below(2) == 1,
        y_scale: (zero, factor(random, kind, 27)),
        min,
        max,
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::add(Add {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}

/// Whether `run` gives the same bytes as `int8::mul`, for `n` codes and `repeat` of the second input.
pub(crate) fn mul(
    random: &mut Random,
    kind: Kind,
    [n, repeat]: [usize; 2],
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Mul<'_>) -> bool,
) -> Option<bool> {
    let (a, b) = (tail(memory.x, n), tail(memory.w, repeat));
    let (y, expected) = (tail(memory.y, n), tail(memory.expected, n));
    inputs(random, kind, a);
    inputs(random, kind, b);
    outputs(random, y, expected);
    let (zero, min, max) = limits(random);
    let mut layer = Mul {
        a,
        b,
        y,
        a_zero: random.below(256) as i32,
        b_zero: random.below(256) as i32,
        y_scale: (zero, factor(random, kind, 15)),
        min,
        max,
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::mul(Mul {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}

/// Windows over an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Image {
    /// Rows, columns.
    pub(crate) size: [usize; 2],
    /// Channels.
    pub(crate) channels: usize,
    /// Rows, columns of the result.
    pub(crate) out: [usize; 2],
    /// Rows, columns of a window.
    pub(crate) window: [usize; 2],
    /// Steps.
    pub(crate) stride: [usize; 2],
    /// Rows, columns before the image.
    pub(crate) pad: [usize; 2],
}

/// Whether `run` gives the same bytes as `int8::max_pool`, if `greatest`, or `int8::average_pool`.
pub(crate) fn pool(
    random: &mut Random,
    kind: Kind,
    image: Image,
    greatest: bool,
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Pool<'_>) -> bool,
) -> Option<bool> {
    let bytes = image.out[0] * image.out[1] * image.channels;
    let x = tail(memory.x, image.size[0] * image.size[1] * image.channels);
    let (y, expected) = (tail(memory.y, bytes), tail(memory.expected, bytes));
    inputs(random, kind, x);
    outputs(random, y, expected);
    let (_, min, max) = limits(random);
    let mut layer = Pool {
        x,
        y,
        height: image.size[0],
        width: image.size[1],
        channels: image.channels,
        out_height: image.out[0],
        out_width: image.out[1],
        window: image.window,
        stride: image.stride,
        pad: image.pad,
        min,
        max,
    };
    let done = run(&mut layer);
    let y = layer.y;
    let layer = Pool {
        y: &mut *expected,
        ..layer
    };
    if greatest {
        int8::max_pool(layer);
    } else {
        int8::average_pool(layer);
    }
    done.then_some(y == expected)
}

/// Whether `run` gives the same bytes as `int8::mean`.
pub(crate) fn mean(
    random: &mut Random,
    kind: Kind,
    [rows, channels]: [usize; 2],
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Mean<'_>) -> bool,
) -> Option<bool> {
    let x = tail(memory.x, rows * channels);
    let y = tail(memory.y, channels);
    let expected = tail(memory.expected, channels);
    inputs(random, kind, x);
    outputs(random, y, expected);
    let bits = 8 + i64::from(rows.max(1).ilog2()) / 2;
    let mut layer = Mean {
        x,
        y,
        rows,
        channels,
        x_zero: random.below(256) as i32,
        y_scale: (random.below(256) as i32, factor(random, kind, bits)),
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::mean(Mean {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}

/// Whether `run` gives the same bytes as `int8::softmax`.
pub(crate) fn softmax(
    random: &mut Random,
    kind: Kind,
    [rows, n]: [usize; 2],
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Softmax<'_>) -> bool,
) -> Option<bool> {
    let (x, y) = (tail(memory.x, rows * n), tail(memory.y, rows * n));
    let expected = tail(memory.expected, rows * n);
    inputs(random, kind, x);
    outputs(random, y, expected);
    let shift = random.range(-24, -18) as i32;
    let mut layer = Softmax {
        x,
        y,
        n,
        beta: match kind {
            Kind::Ordinary => Multiplier {
                mult: random.range(1 << 30, i64::from(i32::MAX)) as i32,
                shift,
            },
            Kind::Extreme => factor(random, kind, 0),
        },
        diff_min: -(random.below(256) as i32),
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::softmax(Softmax {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}

/// Whether `run` gives the same numbers as `int8::gemm16`, for `n` rows and `k` inputs.
pub(crate) fn gemm16(
    random: &mut Random,
    kind: Kind,
    [n, k]: [usize; 2],
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Gemm16<'_>) -> bool,
) -> Option<bool> {
    let (rows, inputs) = (n.next_multiple_of(LANES), k.next_multiple_of(GROUP));
    let x = tail(memory.x, inputs);
    let y = tail(memory.y, 2 * n);
    let expected = tail(memory.expected, 2 * n);
    let w = tail(memory.w, rows * inputs);
    let bias = tail(memory.bias, rows * 4);
    let mult = tail(memory.mult, rows * 4);
    let shift = tail(memory.shift, rows * 4);
    codes(random, kind, x, w);
    clear_padding(w, n, 1, k);
    biases(random, kind, bias);
    scales(random, kind, 7 + k.ilog2() / 2, mult, shift);
    outputs(random, y, expected);
    let mut layer = Gemm16 {
        x,
        y,
        n,
        k,
        w,
        bias,
        mult,
        shift,
    };
    let done = run(&mut layer);
    let y = layer.y;
    int8::gemm16(Gemm16 {
        y: &mut *expected,
        ..layer
    });
    done.then_some(y == expected)
}

/// Whether `run` gives the same cells and codes as `int8::lstm_cell`, for `n` cells.
pub(crate) fn lstm_cell(
    random: &mut Random,
    kind: Kind,
    n: usize,
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut LstmCell<'_>) -> bool,
) -> Option<bool> {
    let (from_x, from_h) = (tail(memory.x, 8 * n), tail(memory.w, 8 * n));
    let (cell, cell_expected) = (tail(memory.mult, 2 * n), tail(memory.shift, 2 * n));
    let (h, expected) = (tail(memory.y, n), tail(memory.expected, n));
    inputs(random, kind, from_x);
    inputs(random, kind, from_h);
    random.fill(cell);
    cell_expected.copy_from_slice(cell);
    outputs(random, h, expected);
    let mut layer = LstmCell {
        from_x,
        from_h,
        cell,
        h,
        n,
        scales: LstmScales {
            forget: factor(random, kind, 22),
            input: factor(random, kind, 22),
            output: factor(random, kind, 29),
            cell_shift: random.range(-12, 15) as i32,
            cell_clip: [0, 1, 9000, i16::MAX][random.below(4)],
            h_zero: random.below(256) as i32,
        },
    };
    let done = run(&mut layer);
    let (h, cell) = (layer.h, layer.cell);
    int8::lstm_cell(LstmCell {
        cell: &mut *cell_expected,
        h: &mut *expected,
        ..layer
    });
    done.then_some(h == expected && cell == cell_expected)
}

/// Whether `run` gives the same bytes as layers by `int8::gemm` and tables; `sizes` are those of the inputs and of
/// the results of all layers.
pub(crate) fn chain(
    random: &mut Random,
    kind: Kind,
    sizes: &[usize],
    memory: Memory<'_>,
    run: &mut dyn FnMut(&mut Chain<'_>) -> bool,
) -> Option<bool> {
    let count = sizes.len() - 1;
    let parts = |k: usize, n: usize| {
        let rows = n.next_multiple_of(LANES);
        [
            k.next_multiple_of(GROUP) * rows,
            4 * rows,
            4 * rows,
            4 * rows,
            256,
        ]
    };
    let bytes = |pair: &[usize]| -> usize { parts(pair[0], pair[1]).into_iter().sum() };
    let weights = tail(memory.w, sizes.windows(2).map(bytes).sum());
    let layers = tail(memory.offsets, count * ChainLayer::BYTES);
    let width = sizes.iter().fold(0, |most, &size| most.max(size)) + SLACK;
    let x = tail(memory.x, sizes[0]);
    let (y, expected) = (
        tail(memory.y, sizes[count]),
        tail(memory.expected, sizes[count]),
    );
    let (mut a, mut b) = (tail(memory.mult, width), tail(memory.shift, width));
    let temp = tail(memory.bias, 2 * width);
    random.fill(x);
    outputs(random, y, expected);
    for (a, x) in a.iter_mut().zip(&*x) {
        *a = x ^ 0x80;
    }
    let flip = random.below(2) == 1;
    let mut at = 0;
    for (pair, place) in sizes
        .windows(2)
        .zip(layers.chunks_exact_mut(ChainLayer::BYTES))
    {
        let (k, n) = (pair[0], pair[1]);
        let [w_bytes, list, ..] = parts(k, n);
        let starts = [
            at,
            at + w_bytes,
            at + w_bytes + list,
            at + w_bytes + 2 * list,
        ];
        let layer = &mut weights[at..at + bytes(pair)];
        at += layer.len();
        let (w, lists) = layer.split_at_mut(w_bytes);
        let (bias, lists) = lists.split_at_mut(list);
        let (mult, lists) = lists.split_at_mut(list);
        let (shift, table) = lists.split_at_mut(list);
        random.fill(table);
        codes(random, kind, &mut [], w);
        clear_padding(w, n, 1, k);
        biases(random, kind, bias);
        scales(random, kind, 14 + k.ilog2() / 2, mult, shift);
        let (zero, min, max) = limits(random);
        let sizes = [k, n].into_iter().chain(starts).map(|n| n as i32);
        let with_table = random.below(2) == 1;
        let place_of_table = match with_table {
            true => (at - 256) as i32,
            false => -1,
        };
        let numbers = [zero, min, max, place_of_table];
        let fields = sizes.chain(numbers).chain([0; 6]);
        for (to, field) in place.chunks_exact_mut(4).zip(fields) {
            to.copy_from_slice(&field.to_le_bytes());
        }
        int8::gemm(Gemm {
            x: a,
            x_row: 0,
            x_outer: 0,
            y: &mut *b,
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
            n,
            k,
            offsets: &[0; 4],
            w,
            bias,
            requant: Requant {
                mult,
                shift,
                zero,
                min,
                max,
            },
        });
        if with_table {
            for code in b.iter_mut().take(n) {
                *code = table[usize::from(*code)];
            }
        }
        core::mem::swap(&mut a, &mut b);
    }
    for (expected, code) in expected.iter_mut().zip(&*a) {
        *expected = if flip { code ^ 0x80 } else { *code };
    }
    let done = run(&mut Chain {
        layers,
        weights,
        x,
        y,
        flip,
        temp,
        width,
    });
    done.then_some(y == expected)
}
