// SPDX-License-Identifier: GPL-2.0

//! Products whose operands both come at run time: matrices, cosine similarity, attention.

use super::f32_map::Map;
use super::f32_rows::Softmax;
use super::f32_vector::{Part, Vector};
use crate::f32_args::{
    AttentionF32,
    CosineF32,
    MatmulF32,
    TransposeF32,
    ATTENTION_ROWS, //
};
use core::arch::x86_64::*;

/// Rows that are summed up side by side.
const ROWS: usize = 8;

/// `MR` rows of `x` times `NV` vectors of columns of `b`, the last one as far as `last` selects.
#[inline(always)]
unsafe fn tile<V: Map, const MR: usize, const NV: usize>(
    a: &MatmulF32,
    row: usize,
    column: usize,
    last: V::Mask,
) {
    // SAFETY: the caller has the CPU features, and the rows and columns exist.
    unsafe {
        let mut sum = [[V::zero(); 4]; 8];
        let x: *const f32 = a.x.add(row * a.x_row).cast();
        let mut b: *const f32 = a.b.cast::<f32>().add(column);
        if a.more == 1 {
            unroll!(R < MR, {
                let y = a.y.add((row + R) * a.y_row).cast::<f32>().add(column);
                unroll!(J < NV, {
                    sum[R][J & 3] = if J + 1 == NV {
                        V::load_mask(y.add(J * V::LANES), last)
                    } else {
                        V::load(y.add(J * V::LANES))
                    };
                });
            });
        }
        for l in 0..a.k {
            let mut v = [V::zero(); 4];
            unroll!(J < NV, {
                v[J & 3] = if J + 1 == NV {
                    V::load_mask(b.add(J * V::LANES), last)
                } else {
                    V::load(b.add(J * V::LANES))
                };
            });
            unroll!(R < MR, {
                let p = V::splat(x.add(l).byte_add(R * a.x_row).read_unaligned());
                unroll!(J < NV, {
                    sum[R][J & 3] = p.fma(v[J & 3], sum[R][J & 3]);
                });
            });
            b = b.wrapping_byte_add(a.b_row);
        }
        let scale = V::splat_bits(a.scale);
        unroll!(R < MR, {
            let y = a.y.add((row + R) * a.y_row).cast::<f32>().add(column);
            unroll!(J < NV, {
                let v = sum[R][J & 3].mul(scale);
                if J + 1 == NV {
                    v.store_mask(y.add(J * V::LANES), last);
                } else {
                    v.store(y.add(J * V::LANES));
                }
            });
        });
    }
}

/// All rows of a block of columns.
macro_rules! rows {
    ($V:ty, $a:expr, $column:expr, $last:expr, $nv:literal) => {{
        let mut row = 0;
        while row < $a.m {
            row += match $a.m - row {
                1 => {
                    tile::<$V, 1, $nv>($a, row, $column, $last);
                    1
                }
                2 | 3 => {
                    tile::<$V, 2, $nv>($a, row, $column, $last);
                    2
                }
                4 | 5 => {
                    tile::<$V, 4, $nv>($a, row, $column, $last);
                    4
                }
                _ => {
                    tile::<$V, 6, $nv>($a, row, $column, $last);
                    6
                }
            };
        }
    }};
}

/// `x b`.
#[inline(always)]
unsafe fn plain<V: Map>(a: &MatmulF32) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let most = if V::LANES == 16 { 4 } else { 2 };
        let mut column = 0;
        while column < a.n {
            let left = a.n - column;
            let vectors = left.div_ceil(V::LANES).min(most);
            let last = V::head(left - (vectors - 1) * V::LANES);
            match vectors {
                1 => rows!(V, a, column, last, 1),
                2 => rows!(V, a, column, last, 2),
                3 if V::LANES == 16 => rows!(V, a, column, last, 3),
                _ if V::LANES == 16 => rows!(V, a, column, last, 4),
                _ => {}
            }
            column += vectors * V::LANES;
        }
    }
}

/// Eight rows of a matrix; those behind its end are its last one.
#[inline(always)]
unsafe fn eight(p: *const u8, row: usize, first: usize, rows: usize) -> [*const f32; ROWS] {
    let mut list = [core::ptr::null(); ROWS];
    unroll!(R < 8, {
        // SAFETY: the row is one of the matrix.
        list[R] = unsafe { p.add((first + R).min(rows - 1) * row).cast() };
    });
    list
}

/// Stores as many of eight sums as there are rows left.
#[inline(always)]
unsafe fn store_eight(v: __m256, y: *mut f32, left: usize) {
    // SAFETY: the caller has the CPU features, and `left` elements exist.
    unsafe {
        if left >= ROWS {
            v.store(y);
        } else {
            v.store_mask(y, <__m256 as Vector>::head(left));
        }
    }
}

/// `x b^T`: rows with rows.
#[inline(always)]
unsafe fn transposed<V: Map>(a: &MatmulF32) {
    // SAFETY: the caller has the CPU features, and has checked the arguments.
    unsafe {
        let scale = <__m256 as Vector>::splat_bits(a.scale);
        let mut first = 0;
        while first < a.n {
            let b = eight(a.b, a.b_row, first, a.n);
            for row in 0..a.m {
                let x: *const f32 = a.x.add(row * a.x_row).cast();
                let mut sum = [V::zero(); ROWS];
                each_vector!(V, a.k, |l, part| {
                    let p: V = part.load(x.add(l));
                    unroll!(R < 8, {
                        let q: V = part.load(b[R].add(l));
                        sum[R] = p.fma(q, sum[R]);
                    });
                });
                let y = a.y.add(row * a.y_row).cast::<f32>().add(first);
                store_eight(V::sums(sum).mul(scale), y, a.n - first);
            }
            first += ROWS;
        }
    }
}

/// Transposes eight rows of eight, which `m` and `n` may cut off.
#[inline(always)]
unsafe fn block(x: *const f32, x_row: usize, y: *mut f32, y_row: usize, m: usize, n: usize) {
    // SAFETY: the caller has AVX2, and the elements exist.
    unsafe {
        let columns = <__m256 as Vector>::head(n);
        let rows = <__m256 as Vector>::head(m);
        let mut v = [_mm256_setzero_ps(); 8];
        unroll!(R < 8, {
            if R < m {
                v[R] = <__m256 as Vector>::load_mask(x.byte_add(R * x_row), columns);
            }
        });
        // Pairs, quads, halves.
        let mut t = [_mm256_setzero_ps(); 8];
        unroll!(R < 4, {
            t[2 * R % 8] = _mm256_unpacklo_ps(v[2 * R % 8], v[(2 * R + 1) % 8]);
            t[(2 * R + 1) % 8] = _mm256_unpackhi_ps(v[2 * R % 8], v[(2 * R + 1) % 8]);
        });
        unroll!(H < 2, {
            v[4 * H % 8] = _mm256_shuffle_ps::<0x44>(t[4 * H % 8], t[(4 * H + 2) % 8]);
            v[(4 * H + 1) % 8] = _mm256_shuffle_ps::<0xee>(t[4 * H % 8], t[(4 * H + 2) % 8]);
            v[(4 * H + 2) % 8] = _mm256_shuffle_ps::<0x44>(t[(4 * H + 1) % 8], t[(4 * H + 3) % 8]);
            v[(4 * H + 3) % 8] = _mm256_shuffle_ps::<0xee>(t[(4 * H + 1) % 8], t[(4 * H + 3) % 8]);
        });
        unroll!(R < 4, {
            t[R] = _mm256_permute2f128_ps::<0x20>(v[R], v[(R + 4) % 8]);
            t[(R + 4) % 8] = _mm256_permute2f128_ps::<0x31>(v[R], v[(R + 4) % 8]);
        });
        unroll!(R < 8, {
            if R < n {
                t[R].store_mask(y.byte_add(R * y_row), rows);
            }
        });
    }
}

/// Transposes a matrix.
#[inline(always)]
unsafe fn transpose(a: &TransposeF32) {
    // SAFETY: the caller has AVX2, and has checked the arguments.
    unsafe {
        let mut row = 0;
        while row < a.rows {
            let mut column = 0;
            while column < a.columns {
                let x = a.x.add(row * a.x_row).cast::<f32>().add(column);
                let y = a.y.add(column * a.y_row).cast::<f32>().add(row);
                let (m, n) = ((a.rows - row).min(8), (a.columns - column).min(8));
                block(x, a.x_row, y, a.y_row, m, n);
                column += 8;
            }
            row += 8;
        }
    }
}

/// Products out of line.
pub(super) trait Product: Softmax {
    /// [`MatmulF32`].
    ///
    /// # Safety
    ///
    /// As [`Vector`].
    unsafe fn matmul(a: &MatmulF32);
    /// [`TransposeF32`].
    ///
    /// # Safety
    ///
    /// As [`Vector`].
    unsafe fn transpose(a: &TransposeF32);
}

macro_rules! product {
    ($V:ty, $features:literal) => {
        impl Product for $V {
            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn matmul(a: &MatmulF32) {
                // SAFETY: as the caller says.
                unsafe {
                    if a.transposed == 1 {
                        transposed::<Self>(a);
                    } else {
                        plain::<Self>(a);
                    }
                }
            }

            #[inline(never)]
            #[target_feature(enable = $features)]
            unsafe fn transpose(a: &TransposeF32) {
                // SAFETY: as the caller says.
                unsafe { transpose(a) }
            }
        }
    };
}
product!(__m256, "avx2,fma");
product!(__m512, "avx2,fma,avx512f");

leaf! {
    /// [`MatmulF32`].
    fn matmul_f32(a: MatmulF32) = neural_matmul_f32_avx2, neural_matmul_f32_avx512 {
        V::matmul(&a);
    }
}

leaf! {
    /// [`TransposeF32`].
    fn transpose_f32(a: TransposeF32) = neural_transpose_f32_avx2, neural_transpose_f32_avx512 {
        V::transpose(&a);
    }
}

leaf! {
    /// [`CosineF32`].
    fn cosine_f32(a: CosineF32) = neural_cosine_f32_avx2, neural_cosine_f32_avx512 {
        let key: *const f32 = a.key.cast();
        let mut norm = V::zero();
        each_vector!(V, a.n, |i, part| {
            let v: V = part.load(key.add(i));
            norm = v.fma(v, norm);
        });
        let norm = <__m256 as Vector>::splat(norm.sum()).sqrt();
        let eps = <__m256 as Vector>::splat_bits(a.eps);
        let mut first = 0;
        while first < a.rows {
            let x = eight(a.x, a.n * size_of::<f32>(), first, a.rows);
            let mut dots = [V::zero(); ROWS];
            let mut squares = [V::zero(); ROWS];
            each_vector!(V, a.n, |i, part| {
                let p: V = part.load(key.add(i));
                unroll!(R < 8, {
                    let q: V = part.load(x[R].add(i));
                    dots[R] = p.fma(q, dots[R]);
                    squares[R] = q.fma(q, squares[R]);
                });
            });
            let (dots, squares) = V::sums2(dots, squares);
            // NaN is the second operand, and stays.
            let norms = eps.max(squares.sqrt().mul(norm));
            let y = a.y.cast::<f32>().add(first);
            store_eight(dots.div(norms), y, a.rows - first);
            first += ROWS;
        }
    }
}

/// Queries from which on keys are transposed first.
const MANY: usize = 4;

leaf! {
    /// [`AttentionF32`].
    fn attention_f32(a: AttentionF32) = neural_attention_f32_avx2, neural_attention_f32_avx512 {
        let line = a.tokens * size_of::<f32>();
        let keys = a.scratch.add(ATTENTION_ROWS * line);
        for head in 0..a.heads {
            let at = head * a.dim * size_of::<f32>();
            let (k, v) = (a.k.add(at), a.v.add(at));
            if a.queries >= MANY {
                V::transpose(&TransposeF32 {
                    x: k,
                    x_row: a.row,
                    y: keys,
                    y_row: line,
                    rows: a.tokens,
                    columns: a.dim,
                });
            }
            let mut first = 0;
            while first < a.queries {
                let m = (a.queries - first).min(ATTENTION_ROWS);
                // Tokens that the last of these queries sees.
                let seen = if a.causal == 1 {
                    (first + m + a.tokens).saturating_sub(a.queries).min(a.tokens)
                } else {
                    a.tokens
                };
                let many = a.queries >= MANY;
                V::matmul(&MatmulF32 {
                    x: a.q.add(first * a.row + at),
                    x_row: a.row,
                    b: if many { keys.cast_const() } else { k },
                    b_row: if many { line } else { a.row },
                    y: a.scratch,
                    y_row: line,
                    m,
                    n: seen,
                    k: a.dim,
                    scale: a.scale,
                    transposed: u32::from(!many),
                    more: 0,
                });
                for r in 0..m {
                    let row: *mut f32 = a.scratch.add(r * line).cast();
                    let own = if a.causal == 1 {
                        (first + r + 1 + a.tokens).saturating_sub(a.queries).min(seen)
                    } else {
                        seen
                    };
                    if own > 0 {
                        V::softmax(row, row, own, false);
                    }
                    for i in own..seen {
                        // Volatile: or else it becomes a call of `memset`, which is not there.
                        row.cast::<[u8; 4]>().add(i).write_volatile([0; 4]);
                    }
                }
                V::matmul(&MatmulF32 {
                    x: a.scratch,
                    x_row: line,
                    b: v,
                    b_row: a.row,
                    y: a.y.add(first * a.row + at),
                    y_row: a.row,
                    m,
                    n: a.dim,
                    k: seen,
                    scale: 1.0f32.to_bits(),
                    transposed: 0,
                    more: 0,
                });
                first += m;
            }
        }
    }
}
