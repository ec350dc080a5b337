// SPDX-License-Identifier: GPL-2.0

//! Layers of 8-bit integers: what is checked before vector code is entered.

use neural_core::int8::{
    Add, Chain, ChainLayer, Depthwise, Flip, Gemm, Gemm16, LstmCell, LstmScales, Mean, Mul,
    Multiplier, Pool, Requant, Softmax, GROUP, LANES, PANEL, SIGMOID, SLACK,
};

use crate::{args, call, Isa, Set};

/// Bytes of a bias, a multiplier, a shift, an offset.
const WORD: usize = 4;

/// Codes of a table.
const TABLE: usize = 256;

/// The only offset of a patch that is in one piece.
const ZERO: &[u8] = &[0; WORD];

/// Bytes up to the end of the last of `m` positions in each of `outer` lines.
#[inline(always)]
fn reach([m, outer]: [usize; 2], row: usize, line: usize, size: usize) -> Option<usize> {
    let lines = outer.checked_sub(1)?.checked_mul(line)?;
    let rows = m.checked_sub(1)?.checked_mul(row)?;
    lines.checked_add(rows)?.checked_add(size)
}

/// Input and output of the layer, if all of each lies inside its slice: `read` bytes of a position
/// with the slack behind them, `written` bytes.
macro_rules! positions {
    ($layer:ident, $read:expr, $written:expr) => {{
        let counts = [$layer.m, $layer.outer];
        let read = $read.checked_add(SLACK)?;
        if reach(counts, $layer.x_row, $layer.x_outer, read)? > $layer.x.len()
            || reach(counts, $layer.y_row, $layer.y_outer, $written)? > $layer.y.len()
        {
            return None;
        }
        // Lines that follow each other without a gap are one.
        let all = $layer.m.checked_mul($layer.outer)?;
        let joined = $layer.m.checked_mul($layer.x_row) == Some($layer.x_outer)
            && $layer.m.checked_mul($layer.y_row) == Some($layer.y_outer);
        args::Positions {
            x: $layer.x.as_ptr(),
            x_row: $layer.x_row,
            x_outer: $layer.x_outer,
            y: $layer.y.as_mut_ptr(),
            y_row: $layer.y_row,
            y_outer: $layer.y_outer,
            m: if joined { all } else { $layer.m },
            outer: if joined { 1 } else { $layer.outer },
        }
    }};
}

/// Multipliers, shifts, zero point and limits of the layer, if there are as many as `rows` of its
/// lists and the others are codes.
macro_rules! requant {
    ($layer:ident, $rows:expr) => {{
        lists($rows, $layer.bias, &$layer.requant)?;
        let [zero, min, max] = codes(&$layer.requant)?;
        args::Requant {
            mult: $layer.requant.mult.as_ptr(),
            shift: $layer.requant.shift.as_ptr(),
            zero,
            min,
            max,
        }
    }};
}

/// The greatest offset.
fn last(offsets: &[u8]) -> usize {
    let offset = |word: &[u8]| word.try_into().map_or(0, u32::from_le_bytes);
    let last = offsets.chunks_exact(WORD).map(offset).max().unwrap_or(0);
    // CAST: to a wider type.
    last as usize
}

/// Nothing, unless a list lacks words for so many `rows`.
#[inline(always)]
fn lists(rows: usize, bias: &[u8], requant: &Requant<'_>) -> Option<()> {
    let bytes = rows.checked_mul(WORD)?;
    let least = bias.len().min(requant.mult.len()).min(requant.shift.len());
    (bytes <= least).then_some(())
}

/// Zero point, least and greatest code, if they are codes.
#[inline(always)]
fn codes(requant: &Requant<'_>) -> Option<[u8; 3]> {
    Some([
        requant.zero.try_into().ok()?,
        requant.min.try_into().ok()?,
        requant.max.try_into().ok()?,
    ])
}

// The functions that fill arguments are inlined, so that each is written once, where it is read: what
// is copied with vectors right after it was written in words has to wait for these.

/// `None` if an access could miss a slice.
#[inline(always)]
pub(crate) fn gemm(layer: &mut Gemm<'_>) -> Option<args::GemmI8> {
    let segments = layer.offsets.len() / WORD;
    let groups = layer.k.div_ceil(GROUP);
    let rows = layer.n.checked_next_multiple_of(LANES)?;
    let weights = segments
        .checked_mul(groups)?
        .checked_mul(rows)?
        .checked_mul(GROUP)?;
    if layer.n == 0 || weights > layer.w.len() {
        return None;
    }
    Some(args::GemmI8 {
        positions: positions!(layer, last(layer.offsets).checked_add(layer.k)?, layer.n),
        n: layer.n,
        groups,
        segments,
        offsets: layer.offsets.as_ptr(),
        w: layer.w.as_ptr(),
        bias: layer.bias.as_ptr(),
        requant: requant!(layer, rows),
    })
}

/// `None` if an access could miss a slice. The first position writes numbers of 16 bits.
pub(crate) fn gemm16(layer: &mut Gemm16<'_>) -> Option<args::GemmI8> {
    let (groups, rows) = (
        layer.k.div_ceil(GROUP),
        layer.n.checked_next_multiple_of(LANES)?,
    );
    let read = groups.checked_mul(GROUP)?;
    let weights = groups.checked_mul(rows)?.checked_mul(GROUP)?;
    let list = rows.checked_mul(WORD)?;
    if layer.n == 0
        || read > layer.x.len()
        || weights > layer.w.len()
        || layer.n > layer.y.len() / 2
        || list
            > layer
                .bias
                .len()
                .min(layer.mult.len())
                .min(layer.shift.len())
    {
        return None;
    }
    Some(args::GemmI8 {
        positions: args::Positions {
            x: layer.x.as_ptr(),
            x_row: 0,
            x_outer: 0,
            y: layer.y.as_mut_ptr(),
            y_row: 0,
            y_outer: 0,
            m: 1,
            outer: 1,
        },
        n: layer.n,
        groups,
        segments: 1,
        offsets: ZERO.as_ptr(),
        w: layer.w.as_ptr(),
        bias: layer.bias.as_ptr(),
        requant: args::Requant {
            mult: layer.mult.as_ptr(),
            shift: layer.shift.as_ptr(),
            zero: 0,
            min: 0,
            max: 0,
        },
    })
}

/// `None` if an access could miss a slice, or a number is none of a model.
pub(crate) fn lstm_cell(layer: &mut LstmCell<'_>) -> Option<args::LstmCellI8> {
    let LstmScales {
        forget,
        input,
        output,
        cell_shift,
        cell_clip,
        h_zero,
    } = layer.scales;
    let gates = layer.from_x.len().min(layer.from_h.len());
    let cells = layer.h.len().min(layer.cell.len() / 2);
    if layer.n > (gates / 8).min(cells) || !(-12..=15).contains(&cell_shift) {
        return None;
    }
    let (least, most) = match cell_clip {
        0 => (i16::MIN, i16::MAX),
        limit => (limit.saturating_neg(), limit),
    };
    Some(args::LstmCellI8 {
        from_x: layer.from_x.as_ptr(),
        from_h: layer.from_h.as_ptr(),
        cell: layer.cell.as_mut_ptr(),
        h: layer.h.as_mut_ptr(),
        n: layer.n,
        table: SIGMOID.as_ptr().cast(),
        forget: factor(forget)?,
        input: factor(input)?,
        output: factor(output)?,
        shift: cell_shift,
        least: least.into(),
        most: most.into(),
        zero: byte(h_zero)?,
    })
}

/// `None` if an access could miss a slice.
#[inline(always)]
pub(crate) fn depthwise(layer: &mut Depthwise<'_>) -> Option<args::DepthwiseI8> {
    let taps = layer.offsets.len() / WORD;
    let rows = layer.channels.checked_next_multiple_of(PANEL)?;
    let weights = taps.checked_next_multiple_of(GROUP)?.checked_mul(rows)?;
    if taps == 0 || layer.channels == 0 || weights > layer.w.len() {
        return None;
    }
    let patch = last(layer.offsets).checked_add(layer.channels)?;
    Some(args::DepthwiseI8 {
        positions: positions!(layer, patch, layer.channels),
        channels: layer.channels,
        taps,
        offsets: layer.offsets.as_ptr(),
        w: layer.w.as_ptr(),
        bias: layer.bias.as_ptr(),
        requant: requant!(layer, rows),
    })
}

/// `None` if an access could miss a slice, or the layers do not fit each other.
#[inline(always)]
pub(crate) fn chain(chain: &mut Chain<'_>) -> Option<args::ChainI8> {
    // CAST: to wider types.
    let size = |n: u32| n as usize;
    let room = chain.width.checked_sub(SLACK)?;
    if chain.temp.len() / 2 < chain.width || chain.layers.is_empty() {
        return None;
    }
    let mut read = chain.x.len();
    let (count, weights) = (chain.layers.len() / ChainLayer::BYTES, chain.weights.len());
    for bytes in chain.layers.chunks_exact(ChainLayer::BYTES) {
        let layer = ChainLayer::read(bytes)?;
        let (k, n) = (size(layer.k), size(layer.n));
        let rows = n.checked_next_multiple_of(LANES)?;
        let list = rows.checked_mul(WORD)?;
        let packed = k.checked_next_multiple_of(GROUP)?.checked_mul(rows)?;
        let last = size(layer.bias.max(layer.mult).max(layer.shift));
        let inside = last
            .checked_add(list)?
            .max(size(layer.w).checked_add(packed)?)
            <= weights;
        let table = match layer.table {
            ChainLayer::NONE => 0,
            at => size(at).checked_add(TABLE)?,
        };
        let inside = inside && table <= weights;
        if k != read || k > room || n == 0 || n > room || !inside {
            return None;
        }
        read = n;
    }
    if read != chain.y.len() {
        return None;
    }
    let (low, high) = chain.temp.split_at_mut(chain.width);
    Some(args::ChainI8 {
        x: chain.x.as_ptr(),
        y: chain.y.as_mut_ptr(),
        buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
        weights: chain.weights.as_ptr(),
        layers: chain.layers.as_ptr(),
        count,
        flip: chain.flip.into(),
    })
}

/// Most pixels of a window: so many that [`neural_core::int8::average_pool`] divides sums which single
/// precision holds.
const WINDOW: usize = 1 << 16;

/// Most rows, columns, steps: so many that their products and sums do not overflow.
const EXTENT: usize = 1 << 24;

/// Most codes of a row of a softmax.
const SOFTMAX: usize = 4096;

/// A byte that is a code.
fn byte(code: i32) -> Option<u8> {
    code.try_into().ok()
}

/// The factor, if it is one that the vector code is made for.
fn factor(m: Multiplier) -> Option<args::Factor> {
    let known = m.mult != i32::MIN && (-31..=31).contains(&m.shift);
    known.then_some(args::Factor {
        mult: m.mult,
        shift: m.shift,
    })
}

/// `None` if an access could miss a slice.
fn flip(layer: &mut Flip<'_>) -> Option<args::FlipI8> {
    let counts = [layer.rows, 1];
    if reach(counts, layer.x_row, 0, layer.n)? > layer.x.len()
        || reach(counts, layer.y_row, 0, layer.n)? > layer.y.len()
    {
        return None;
    }
    Some(args::FlipI8 {
        x: layer.x.as_ptr(),
        x_row: layer.x_row,
        y: layer.y.as_mut_ptr(),
        y_row: layer.y_row,
        rows: layer.rows,
        n: layer.n,
    })
}

/// `None` if there is nothing to add, or a number is none of a model.
fn add(layer: &mut Add<'_>) -> Option<args::PairI8> {
    if layer.b.is_empty() {
        return None;
    }
    Some(args::PairI8 {
        a: layer.a.as_ptr(),
        b: layer.b.as_ptr(),
        y: layer.y.as_mut_ptr(),
        n: layer.a.len().min(layer.y.len()),
        repeat: layer.b.len(),
        a_zero: layer.a_scale.0,
        b_zero: layer.b_scale.0,
        a_factor: factor(layer.a_scale.1)?,
        b_factor: factor(layer.b_scale.1)?,
        y_factor: factor(layer.y_scale.1)?,
        subtract: layer.subtract.into(),
        zero: byte(layer.y_scale.0)?,
        min: byte(layer.min)?,
        max: byte(layer.max)?,
    })
}

/// `None` if there is nothing to multiply by, or a number is none of a model.
fn mul(layer: &mut Mul<'_>) -> Option<args::PairI8> {
    if layer.b.is_empty() {
        return None;
    }
    let none = args::Factor { mult: 0, shift: 0 };
    Some(args::PairI8 {
        a: layer.a.as_ptr(),
        b: layer.b.as_ptr(),
        y: layer.y.as_mut_ptr(),
        n: layer.a.len().min(layer.y.len()),
        repeat: layer.b.len(),
        a_zero: layer.a_zero,
        b_zero: layer.b_zero,
        a_factor: none,
        b_factor: none,
        y_factor: factor(layer.y_scale.1)?,
        subtract: 0,
        zero: byte(layer.y_scale.0)?,
        min: byte(layer.min)?,
        max: byte(layer.max)?,
    })
}

/// `None` if an access could miss a slice, or sizes are beyond all measure.
fn pool(layer: &mut Pool<'_>) -> Option<args::PoolI8> {
    let image = [layer.height, layer.width];
    let out = [layer.out_height, layer.out_width];
    let lists = [image, out, layer.window, layer.stride, layer.pad];
    let greatest = lists.into_iter().flatten().max()?;
    let bytes = |[rows, columns]: [usize; 2]| {
        let pixels: usize = rows.checked_mul(columns)?;
        pixels.checked_mul(layer.channels)
    };
    let window = layer.window[0].checked_mul(layer.window[1])?;
    if greatest > EXTENT
        || window > WINDOW
        || layer.channels == 0
        || bytes(image)? > layer.x.len()
        || bytes(out)? > layer.y.len()
    {
        return None;
    }
    Some(args::PoolI8 {
        x: layer.x.as_ptr(),
        y: layer.y.as_mut_ptr(),
        image,
        out,
        channels: layer.channels,
        window: layer.window,
        stride: layer.stride,
        pad: layer.pad,
        min: byte(layer.min)?,
        max: byte(layer.max)?,
    })
}

/// `None` if an access could miss a slice, or a number is none of a model.
fn mean(layer: &mut Mean<'_>) -> Option<args::MeanI8> {
    let (rows, channels) = (layer.rows, layer.channels);
    if rows.checked_mul(channels)? > layer.x.len() || channels > layer.y.len() {
        return None;
    }
    // CAST: modulo 2^32, as sums are.
    let zeros = (rows as i32).wrapping_mul(layer.x_zero);
    Some(args::MeanI8 {
        x: layer.x.as_ptr(),
        y: layer.y.as_mut_ptr(),
        rows,
        channels,
        zeros,
        factor: factor(layer.y_scale.1)?,
        zero: byte(layer.y_scale.0)?,
    })
}

/// `None` if rows are too long, or a number is none of a model.
fn softmax(layer: &mut Softmax<'_>) -> Option<args::SoftmaxI8> {
    let n = layer.n;
    if n == 0 || n > SOFTMAX || layer.diff_min > 0 {
        return None;
    }
    Some(args::SoftmaxI8 {
        x: layer.x.as_ptr(),
        y: layer.y.as_mut_ptr(),
        rows: (layer.x.len() / n).min(layer.y.len() / n),
        n,
        beta: factor(layer.beta)?,
        diff_min: layer.diff_min,
    })
}

/// A method for each layer whose arguments a function of this module makes.
macro_rules! methods {
    ($($name:ident: $layer:ident, $check:ident, $of:literal;)*) => {
        impl Set {
            $(
                #[doc = concat!("[`neural_core::int8::", $of, "`], if there is vector code for it.")]
                #[inline]
                pub fn $name(&self, layer: &mut $layer<'_>) -> bool {
                    if self.isa() == Isa::Scalar {
                        return false;
                    }
                    match $check(layer) {
                        // SAFETY: the set was made for this CPU; the accesses were checked.
                        Some(args) => unsafe { call::$name(self.isa(), &args) },
                        None => false,
                    }
                }
            )*
        }
    };
}

methods! {
    chain_i8: Chain, chain, "Chain";
    flip_i8: Flip, flip, "flip";
    gemm_i8: Gemm, gemm, "gemm";
    depthwise_i8: Depthwise, depthwise, "depthwise";
    average_pool_i8: Pool, pool, "average_pool";
    max_pool_i8: Pool, pool, "max_pool";
    add_i8: Add, add, "add";
    mul_i8: Mul, mul, "mul";
    mean_i8: Mean, mean, "mean";
    softmax_i8: Softmax, softmax, "softmax";
    gemm16_i8: Gemm16, gemm16, "gemm16";
    lstm_cell_i8: LstmCell, lstm_cell, "lstm_cell";
}

impl Set {
    /// [`neural_core::int8::lut::apply`], if there is vector code for it.
    #[inline]
    pub fn lut_i8(&self, table: &[u8; 256], x: &[u8], y: &mut [u8]) -> bool {
        let args = args::MapI8 {
            x: x.as_ptr(),
            y: y.as_mut_ptr(),
            n: x.len().min(y.len()),
            table: table.as_ptr(),
        };
        // SAFETY: the set was made for this CPU; both slices are as long as the arguments say.
        unsafe { call::lut_i8(self.isa(), &args) }
    }
}
