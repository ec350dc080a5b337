// SPDX-License-Identifier: GPL-2.0

//! Matrix product with packed weights.
//!
//! Many positions: a tile of positions times columns is kept in registers, and weights are read once
//! for all its positions. One position: nothing is used twice, so that the loads of the weights are
//! the limit; the input goes through registers, not through loads, and enough sums run side by side
//! to hide the latency of a multiplication.
//!
//! The order in which products are added depends on the instruction set and on whether there is one
//! position or several, not on the position.

use super::f32_few as few;
use super::f32_map::Map;
use super::f32_math as math;
use super::f32_product::Product;
use super::f32_vector::Vector;
use crate::f32_args::{op, GemmF32};
use core::arch::x86_64::{__m256, __m512};

/// Rows of a whole panel.
const PANEL: usize = 64;

/// Most positions of a tile.
const ROWS: usize = 8;

/// What all tiles of a product need.
#[derive(Clone, Copy)]
pub(super) struct Sums {
    pub(super) k: usize,
    pub(super) segments: usize,
    pub(super) offsets: *const u32,
    pub(super) act: u32,
    pub(super) slope: u32,
}

/// One position.
#[derive(Clone, Copy)]
pub(super) struct One {
    pub(super) x: *const f32,
    pub(super) y: *mut f32,
    pub(super) n: usize,
    /// Elements that may be written: `n`, or as many as vectors have that hold them.
    pub(super) room: usize,
    pub(super) w: *const f32,
    pub(super) bias: *const f32,
}

/// Columns of a panel that a tile computes.
#[derive(Clone, Copy)]
pub(super) struct Columns {
    /// The first weight.
    w: *const f32,
    /// Weights from a group to the next.
    step: usize,
    bias: *const f32,
    /// Columns that exist in `y`.
    used: usize,
    /// What becomes of the sums of 16 rows while they are in registers.
    now: u32,
}

impl Sums {
    /// Bytes from a position to its segment `s`.
    #[inline(always)]
    pub(super) unsafe fn offset(&self, s: usize) -> usize {
        // SAFETY: `s` is below the number of segments.
        // CAST: 32 bits into 64.
        unsafe { self.offsets.add(s).read_unaligned() as usize }
    }

    /// The limits that stand for the cheap activations; the others come later.
    #[inline(always)]
    pub(super) unsafe fn limits<V: Map>(&self) -> (V, V) {
        // SAFETY: the caller has the CPU features.
        unsafe {
            let low = if matches!(self.act, op::RELU | op::RELU6) {
                0.0
            } else {
                f32::NEG_INFINITY
            };
            let high = if self.act == op::RELU6 {
                6.0
            } else {
                f32::INFINITY
            };
            (V::splat(low), V::splat(high))
        }
    }

    /// Whether limits are not all.
    #[inline(always)]
    pub(super) fn late(&self) -> bool {
        self.act > op::RELU6
    }
}

/// `MR` positions times `NV` vectors of columns.
#[inline(always)]
unsafe fn tile<V: Map, const MR: usize, const NV: usize>(
    g: &Sums,
    x: &[*const f32; ROWS],
    y: &[*mut f32; ROWS],
    c: Columns,
) {
    // SAFETY: the caller has the CPU features, and the rows and columns exist.
    unsafe {
        let mut sum = [[V::zero(); 4]; ROWS];
        unroll!(J < NV, {
            let bias = V::load(c.bias.add(J * V::LANES));
            unroll!(R < MR, {
                sum[R][J & 3] = bias;
            });
        });
        let mut w = c.w;
        for s in 0..g.segments {
            let mut at = g.offset(s);
            for _ in 0..g.k {
                let mut b = [V::zero(); 4];
                unroll!(J < NV, {
                    b[J & 3] = V::load(w.add(J * V::LANES));
                });
                unroll!(R < MR, {
                    let a = V::splat(x[R].byte_add(at).read_unaligned());
                    unroll!(J < NV, {
                        sum[R][J & 3] = a.fma(b[J & 3], sum[R][J & 3]);
                    });
                });
                w = w.add(c.step);
                at += size_of::<f32>();
            }
        }
        let (low, high) = g.limits::<V>();
        if c.used >= NV * V::LANES {
            unroll!(R < MR, {
                unroll!(J < NV, {
                    let v = high.min(low.max(sum[R][J & 3]));
                    v.store(y[R].add(J * V::LANES));
                });
            });
        } else {
            unroll!(J < NV, {
                let m = V::head(c.used.saturating_sub(J * V::LANES));
                unroll!(R < MR, {
                    let v = high.min(low.max(sum[R][J & 3]));
                    v.store_mask(y[R].wrapping_add(J * V::LANES), m);
                });
            });
        }
        if g.late() {
            let used = c.used.min(NV * V::LANES);
            for r in 0..MR {
                V::map(g.act, g.slope, y[r % ROWS], y[r % ROWS], used);
            }
        }
    }
}

/// Tiles out of line: one function for each width keeps stack frames small.
pub(super) trait Tiles: Product {
    /// `nv` vectors of columns, `rows` positions, at least two.
    ///
    /// # Safety
    ///
    /// As [`tile`].
    unsafe fn tiles(
        nv: usize,
        rows: usize,
        g: &Sums,
        x: &[*const f32; ROWS],
        y: &[*mut f32; ROWS],
        c: Columns,
    );

    /// One position.
    ///
    /// # Safety
    ///
    /// The caller has the CPU features, and has checked the arguments.
    unsafe fn one(l: &One, g: &Sums);

    /// One position, few rows.
    ///
    /// # Safety
    ///
    /// As [`one`](Tiles::one).
    unsafe fn few(l: &One, g: &Sums);
}

macro_rules! tiles {
    ($V:ty, $features:literal, $name:ident, $($nv:literal)*) => {
        #[inline(never)]
        #[target_feature(enable = $features)]
        unsafe fn $name<const NV: usize>(
            rows: usize,
            g: &Sums,
            x: &[*const f32; ROWS],
            y: &[*mut f32; ROWS],
            c: Columns,
        ) {
            // SAFETY: as the caller says.
            unsafe {
                if height(<$V>::LANES, NV) > 6 {
                    match rows {
                        7 => return tile::<$V, 7, NV>(g, x, y, c),
                        8 => return tile::<$V, 8, NV>(g, x, y, c),
                        _ => {}
                    }
                }
                match rows {
                    2 => tile::<$V, 2, NV>(g, x, y, c),
                    3 => tile::<$V, 3, NV>(g, x, y, c),
                    4 => tile::<$V, 4, NV>(g, x, y, c),
                    5 => tile::<$V, 5, NV>(g, x, y, c),
                    _ => tile::<$V, 6, NV>(g, x, y, c),
                }
            }
        }

        impl Tiles for $V {
            #[inline]
            #[target_feature(enable = $features)]
            unsafe fn tiles(
                nv: usize,
                rows: usize,
                g: &Sums,
                x: &[*const f32; ROWS],
                y: &[*mut f32; ROWS],
                c: Columns,
            ) {
                match nv {
                    // SAFETY: as the caller says.
                    $($nv => unsafe { $name::<$nv>(rows, g, x, y, c) },)*
                    _ => {}
                }
            }

            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn one(l: &One, g: &Sums) {
                // SAFETY: as the caller says.
                unsafe { one::<$V>(l, g) }
            }

            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn few(l: &One, g: &Sums) {
                // SAFETY: as the caller says.
                unsafe { few::one::<$V>(l, g) }
            }
        }
    };
}
tiles!(__m256, "avx2,fma", tiles_avx2, 2);
tiles!(__m512, "avx2,fma,avx512f", tiles_avx512, 4 3 2 1);

/// Vectors of the columns that a tile computes together.
const fn width(lanes: usize) -> usize {
    if lanes == 16 {
        4
    } else {
        2
    }
}

/// Most positions of a tile of `nv` vectors: the sums, the weights and one input fill the registers.
const fn height(lanes: usize, nv: usize) -> usize {
    if lanes == 8 || nv == 4 {
        6
    } else {
        ROWS
    }
}

/// How many of `left` positions come next: never all but one, since a tile of one is slow.
#[inline(always)]
fn share(left: usize, most: usize) -> usize {
    if left == most + 1 {
        most - 1
    } else if left < most {
        left
    } else {
        most
    }
}

/// Several positions.
#[inline(always)]
unsafe fn many<V: Tiles>(a: &GemmF32, g: &Sums, positions: usize) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let mut first = 0;
        while first < a.n {
            let rows = panel_rows(a.n - first);
            let panel = a.w.cast::<f32>().add(first * a.k * a.segments);
            let mut at = 0;
            while at < rows && first + at < a.n {
                let nv = ((rows - at) / V::LANES).min(width(V::LANES));
                let c = Columns {
                    w: panel.add(at),
                    step: rows,
                    bias: a.bias.cast::<f32>().add(first + at),
                    used: a.n - first - at,
                    now: op::NONE,
                };
                let most = height(V::LANES, nv);
                let (mut line, mut column) = (0, 0);
                let mut left = positions;
                while left > 0 {
                    let mr = share(left, most);
                    let mut x = [core::ptr::null::<f32>(); ROWS];
                    let mut y = [core::ptr::null_mut::<f32>(); ROWS];
                    for i in 0..mr {
                        let i = i % ROWS;
                        x[i] = a.x.add(line * a.x_outer + column * a.x_row).cast();
                        y[i] =
                            a.y.add(line * a.y_outer + column * a.y_row)
                                .cast::<f32>()
                                .add(first + at);
                        column += 1;
                        if column == a.m {
                            column = 0;
                            line += 1;
                        }
                    }
                    V::tiles(nv, mr, g, &x, &y, c);
                    left -= mr;
                }
                at += nv * V::LANES;
            }
            first += rows;
        }
    }
}

/// Rows of a panel that starts `left` outputs before the end.
#[inline(always)]
fn panel_rows(left: usize) -> usize {
    if left >= PANEL {
        PANEL
    } else {
        (left + 15) & !15
    }
}

/// One position: a vector times eight vectors of columns, `NV` of them in one panel, the others in the
/// next one. The input is spread from a register.
#[inline(always)]
unsafe fn wide<V: Map, const NV: usize>(g: &Sums, x: *const f32, y: *mut f32, c: Columns) {
    // SAFETY: the caller has the CPU features, and the columns exist.
    unsafe {
        let panel = PANEL * g.k * g.segments;
        let mut sum = [V::zero(); 8];
        unroll!(J < 8, {
            sum[J] = V::load(c.bias.add(J * V::LANES));
        });
        let mut w = c.w;
        let mut w2 = c.w.wrapping_add(panel);
        for s in 0..g.segments {
            let mut x = x.byte_add(g.offset(s));
            let mut left = g.k;
            while left > 0 {
                let count = left.min(V::LANES);
                let mut v = if count < V::LANES {
                    V::load_mask(x, V::head(count))
                } else {
                    V::load(x)
                };
                for _ in 0..count {
                    let a = v.spread();
                    v = v.rotate();
                    unroll!(J < 8, {
                        let b = if J < NV {
                            V::load(w.add(J * V::LANES))
                        } else {
                            V::load(w2.add(J.saturating_sub(NV) * V::LANES))
                        };
                        sum[J] = a.fma(b, sum[J]);
                    });
                    w = w.add(PANEL);
                    w2 = w2.wrapping_add(PANEL);
                }
                x = x.wrapping_add(V::LANES);
                left -= count;
            }
        }
        finish(g, &sum, y, c.used);
    }
}

/// One position, few columns: `SPLIT` sums of each, added at the end. `NV * SPLIT` is at most 8.
#[inline(always)]
unsafe fn narrow<V: Map, const NV: usize, const SPLIT: usize>(
    g: &Sums,
    x: *const f32,
    y: *mut f32,
    c: Columns,
) {
    // SAFETY: the caller has the CPU features, and the columns exist.
    unsafe {
        let mut sum = [[V::zero(); 8]; 8];
        unroll!(J < NV, {
            sum[0][J] = V::load(c.bias.add(J * V::LANES));
        });
        let mut w = c.w;
        for s in 0..g.segments {
            let mut x = x.byte_add(g.offset(s));
            let mut left = g.k;
            while left >= SPLIT {
                unroll!(S < SPLIT, {
                    let a = V::splat(x.add(S).read_unaligned());
                    unroll!(J < NV, {
                        sum[S][J] = a.fma(V::load(w.add(J * V::LANES)), sum[S][J]);
                    });
                    w = w.add(c.step);
                });
                x = x.add(SPLIT);
                left -= SPLIT;
            }
            unroll!(S < SPLIT, {
                if S < left {
                    let a = V::splat(x.add(S).read_unaligned());
                    unroll!(J < NV, {
                        let b = V::load(w.add(S * c.step + J * V::LANES));
                        sum[S][J] = a.fma(b, sum[S][J]);
                    });
                }
            });
            w = w.add(left * c.step);
        }
        unroll!(J < NV, {
            // A tree: the sums next to each other first.
            unroll!(S < 4, {
                if 2 * S + 1 < SPLIT {
                    sum[2 * S % 8][J] = sum[2 * S % 8][J].add(sum[(2 * S + 1) % 8][J]);
                }
            });
            unroll!(S < 2, {
                if 4 * S + 2 < SPLIT {
                    sum[4 * S % 8][J] = sum[4 * S % 8][J].add(sum[(4 * S + 2) % 8][J]);
                }
            });
            if SPLIT > 4 {
                sum[0][J] = sum[0][J].add(sum[4][J]);
            }
        });
        if NV * V::LANES == 16 {
            match c.now {
                op::SIGMOID => {
                    unroll!(J < NV, {
                        sum[0][J] = math::sigmoid(sum[0][J]);
                    });
                }
                op::TANH => {
                    unroll!(J < NV, {
                        sum[0][J] = math::tanh(sum[0][J]);
                    });
                }
                _ => {}
            }
        }
        finish(g, &sum[0], y, c.used.min(NV * V::LANES));
    }
}

/// Limits and stores `used` of the sums of one position.
#[inline(always)]
unsafe fn finish<V: Map>(g: &Sums, sum: &[V; 8], y: *mut f32, used: usize) {
    // SAFETY: the caller has the CPU features, and `used` elements of `y` exist.
    unsafe {
        let (low, high) = g.limits::<V>();
        unroll!(J < 8, {
            let v = high.min(low.max(sum[J]));
            if used >= (J + 1) * V::LANES {
                v.store(y.add(J * V::LANES));
            } else if used > J * V::LANES {
                v.store_mask(y.add(J * V::LANES), V::head(used - J * V::LANES));
            }
        });
    }
}

/// The function that is applied to sums while they are in registers: one that small networks have; in
/// larger ones it would be a small part.
#[inline(always)]
const fn early(g: &Sums, n: usize) -> u32 {
    match g.act {
        op::SIGMOID | op::TANH if n <= 16 => g.act,
        _ => op::NONE,
    }
}

/// One position.
#[inline(always)]
unsafe fn one<V: Map>(l: &One, g: &Sums) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let now = early(g, l.n);
        let mut first = 0;
        while first < l.n {
            let left = l.n - first;
            let rows = panel_rows(left);
            let c = Columns {
                w: l.w.add(first * g.k * g.segments),
                step: rows,
                bias: l.bias.add(first),
                used: l.room - first,
                now,
            };
            let (x, y) = (l.x, l.y.add(first));
            first += rows;
            if V::LANES == 8 {
                match rows {
                    16 => narrow::<V, 2, 4>(g, x, y, c),
                    32 => narrow::<V, 4, 2>(g, x, y, c),
                    48 => narrow::<V, 6, 1>(g, x, y, c),
                    _ => wide::<V, 8>(g, x, y, c),
                }
            } else if left > PANEL + 48 {
                wide::<V, 4>(g, x, y, c);
                first += PANEL;
            } else {
                match rows {
                    16 => narrow::<V, 1, 8>(g, x, y, c),
                    32 => narrow::<V, 2, 4>(g, x, y, c),
                    48 => narrow::<V, 3, 2>(g, x, y, c),
                    _ => narrow::<V, 4, 2>(g, x, y, c),
                }
            }
        }
        if g.late() && now == op::NONE {
            V::map(g.act, g.slope, l.y, l.y, l.room);
        }
    }
}

leaf! {
    /// [`GemmF32`].
    fn gemm_f32(a: GemmF32) = neural_gemm_f32_avx2, neural_gemm_f32_avx512 {
        let g = Sums {
            k: a.k,
            segments: a.segments,
            offsets: a.offsets.cast(),
            act: a.act,
            slope: a.slope,
        };
        let positions = a.m * a.outer;
        if a.by_row == 1 {
            few::all::<V>(&a, &g);
        } else if positions == 1 {
            let l = One {
                x: a.x.cast(),
                y: a.y.cast(),
                n: a.n,
                room: a.n,
                w: a.w.cast(),
                bias: a.bias.cast(),
            };
            V::one(&l, &g);
        } else {
            many::<V>(&a, &g, positions);
        }
    }
}
