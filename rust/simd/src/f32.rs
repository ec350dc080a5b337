// SPDX-License-Identifier: GPL-2.0

//! Layers of `f32`: what is checked before vector code is entered.
//!
//! Tensors are bytes, little endian, of any alignment. There is no scalar code beside the vector code:
//! methods say `false`, and have done nothing, when the set has no vector code or when an access could
//! miss a slice. NaN and infinities go the way that the equations give them in floating point, except
//! where it is said; how long a layer takes does not depend on the numbers, apart from denormal ones
//! where the CPU is slow with them. Control bits of the CPU are not changed.

use crate::f32_args as args;
use crate::{Isa, Set, Variant};

pub use crate::f32_args::{binary, op, ATTENTION_ROWS};

/// Bytes of an element, of an offset.
const WORD: usize = 4;

/// Bytes behind the input of [`Gemm`] that are read.
const SLACK: usize = 64;

/// Rows of packed weights that belong together at least.
const LANES: usize = 16;

/// Most elements of a tensor: so many that sums of a few products of sizes cannot overflow.
const MOST: usize = 1 << 40;

/// The table: from it come the declarations, the list and the choice.
macro_rules! kernels {
    ($($op:ident($args:ident) = $avx2:ident, $avx512:ident;)*) => {
        extern "C" {
            $(
                fn $avx2(args: *const args::$args);
                fn $avx512(args: *const args::$args);
            )*
        }

        /// All vector code for `f32`.
        pub const TABLE: &[Variant] = &[
            $(
                Variant { op: stringify!($op), isa: Isa::Avx2, name: stringify!($avx2) },
                Variant { op: stringify!($op), isa: Isa::Avx512, name: stringify!($avx512) },
            )*
        ];

        /// Calls of the variants.
        mod call {
            use super::args;
            use crate::Isa;

            $(
                /// Calls the variant, if there is one.
                ///
                /// # Safety
                ///
                /// The CPU runs `isa`, and every access that the arguments describe lies inside a
                /// buffer.
                #[inline]
                pub(super) unsafe fn $op(isa: Isa, args: &args::$args) -> bool {
                    match isa {
                        Isa::Scalar => return false,
                        // SAFETY: as the caller promises.
                        Isa::Avx2 | Isa::AvxVnni => unsafe { super::$avx2(args) },
                        // SAFETY: as the caller promises.
                        Isa::Avx512 | Isa::Avx512Vnni => unsafe { super::$avx512(args) },
                    }
                    true
                }
            )*
        }

        impl Set {
            $(
                #[doc = concat!("[`", stringify!($args), "`](args::", stringify!($args), ")")]
                #[inline]
                pub fn $op(&self, layer: &mut layer::$op<'_>) -> bool {
                    match layer.check() {
                        // SAFETY: the set was made for this CPU; the accesses were checked.
                        Some(args) => unsafe { call::$op(self.isa(), &args) },
                        None => false,
                    }
                }
            )*
        }
    };
}

kernels! {
    gemm_f32(GemmF32) = neural_gemm_f32_avx2, neural_gemm_f32_avx512;
    map_f32(MapF32) = neural_map_f32_avx2, neural_map_f32_avx512;
    binary_f32(BinaryF32) = neural_binary_f32_avx2, neural_binary_f32_avx512;
    affine_f32(AffineF32) = neural_affine_f32_avx2, neural_affine_f32_avx512;
    softmax_f32(SoftmaxF32) = neural_softmax_f32_avx2, neural_softmax_f32_avx512;
    norm_f32(NormF32) = neural_norm_f32_avx2, neural_norm_f32_avx512;
    mean_f32(MeanF32) = neural_mean_f32_avx2, neural_mean_f32_avx512;
    lstm_f32(LstmF32) = neural_lstm_f32_avx2, neural_lstm_f32_avx512;
    gru_f32(GruF32) = neural_gru_f32_avx2, neural_gru_f32_avx512;
    cosine_f32(CosineF32) = neural_cosine_f32_avx2, neural_cosine_f32_avx512;
    matmul_f32(MatmulF32) = neural_matmul_f32_avx2, neural_matmul_f32_avx512;
    transpose_f32(TransposeF32) = neural_transpose_f32_avx2, neural_transpose_f32_avx512;
    attention_f32(AttentionF32) = neural_attention_f32_avx2, neural_attention_f32_avx512;
    depthwise_f32(DepthwiseF32) = neural_depthwise_f32_avx2, neural_depthwise_f32_avx512;
    pool_f32(PoolF32) = neural_pool_f32_avx2, neural_pool_f32_avx512;
    mix_f32(MixF32) = neural_mix_f32_avx2, neural_mix_f32_avx512;
    usage_f32(UsageF32) = neural_usage_f32_avx2, neural_usage_f32_avx512;
    allocation_f32(AllocationF32) = neural_allocation_f32_avx2, neural_allocation_f32_avx512;
    write_f32(WriteF32) = neural_write_f32_avx2, neural_write_f32_avx512;
    link_f32(LinkF32) = neural_link_f32_avx2, neural_link_f32_avx512;
}

/// The layers by the names of the methods that compute them.
mod layer {
    pub(super) use super::{
        Affine as affine_f32, Allocation as allocation_f32, Attention as attention_f32,
        Binary as binary_f32, Cosine as cosine_f32, Depthwise as depthwise_f32, Gemm as gemm_f32,
        Gru as gru_f32, Link as link_f32, Lstm as lstm_f32, Map as map_f32, Matmul as matmul_f32,
        Mean as mean_f32, Mix as mix_f32, Norm as norm_f32, Pool as pool_f32,
        Softmax as softmax_f32, Transpose as transpose_f32, Usage as usage_f32, Write as write_f32,
    };
}

/// Rows of a tensor that is read.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The elements.
    pub bytes: &'a [u8],
    /// Bytes from a row to the next.
    pub row: usize,
}

/// Rows of a tensor that is written.
#[derive(Debug)]
pub struct RowsMut<'a> {
    /// The elements.
    pub bytes: &'a mut [u8],
    /// Bytes from a row to the next.
    pub row: usize,
}

/// Bytes of `n` elements.
fn bytes(n: usize) -> Option<usize> {
    (n <= MOST).then(|| n.wrapping_mul(WORD))
}

/// `None` unless there are `n` elements.
fn has(slice: &[u8], n: usize) -> Option<()> {
    (bytes(n)? <= slice.len()).then_some(())
}

/// `None` unless there are `count` rows of `n` elements.
fn has_rows(slice: &[u8], row: usize, count: usize, n: usize) -> Option<()> {
    match count.checked_sub(1) {
        Some(before) => {
            let end = before.checked_mul(row)?.checked_add(bytes(n)?)?;
            (end <= slice.len()).then_some(())
        }
        None => Some(()),
    }
}

impl Rows<'_> {
    fn check(&self, count: usize, n: usize) -> Option<*const u8> {
        has_rows(self.bytes, self.row, count, n)?;
        Some(self.bytes.as_ptr())
    }
}

impl RowsMut<'_> {
    /// Rows that are written must not overlap.
    fn check(&mut self, count: usize, n: usize) -> Option<*mut u8> {
        has_rows(self.bytes, self.row, count, n)?;
        (count < 2 || bytes(n)? <= self.row).then_some(self.bytes.as_mut_ptr())
    }
}

/// Where rows are read: in `x`, or, if there is none, in `y`.
fn source(
    x: Option<Rows<'_>>,
    y: &mut RowsMut<'_>,
    count: usize,
    n: usize,
) -> Option<(*const u8, usize, *mut u8)> {
    let to = y.check(count, n)?;
    match x {
        Some(x) => Some((x.check(count, n)?, x.row, to)),
        None => Some((to.cast_const(), y.row, to)),
    }
}

/// Positions of a layer in one of its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Positions {
    /// Positions in a line.
    pub m: usize,
    /// Lines.
    pub outer: usize,
}

impl Positions {
    /// Bytes up to the end of the last position, which takes `size` bytes.
    fn reach(&self, row: usize, outer: usize, size: usize) -> Option<usize> {
        let lines = self.outer.checked_sub(1)?.checked_mul(outer)?;
        let rows = self.m.checked_sub(1)?.checked_mul(row)?;
        lines.checked_add(rows)?.checked_add(size)
    }

    fn count(&self) -> Option<usize> {
        self.m.checked_mul(self.outer)
    }
}

/// The greatest offset.
fn last(offsets: &[u8]) -> usize {
    let offset = |word: &[u8]| word.try_into().map_or(0, u32::from_le_bytes);
    let last = offsets.chunks_exact(WORD).map(offset).max().unwrap_or(0);
    // CAST: to a wider type.
    last as usize
}

/// What becomes of a sum: a code of [`op`], and the bits of the slope of those that have one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Act {
    /// A code of [`op`].
    pub op: u32,
    /// The bits of a slope.
    pub slope: u32,
}

impl Act {
    fn check(self) -> Option<Self> {
        (self.op < op::COUNT).then_some(self)
    }
}

/// Matrix product with packed weights, see [`args::GemmF32`].
#[derive(Debug)]
pub struct Gemm<'a> {
    /// Input, with 64 bytes to read behind its used part.
    pub x: &'a [u8],
    /// Bytes between positions of the input.
    pub x_row: usize,
    /// Bytes between lines of the input.
    pub x_outer: usize,
    /// Output.
    pub y: &'a mut [u8],
    /// Bytes between positions of the output.
    pub y_row: usize,
    /// Bytes between lines of the output.
    pub y_outer: usize,
    /// Positions.
    pub positions: Positions,
    /// Outputs of a position.
    pub n: usize,
    /// Elements of a segment.
    pub k: usize,
    /// Where the segments start, `u32`, in bytes.
    pub offsets: &'a [u8],
    /// Packed weights.
    pub w: &'a [u8],
    /// Biases, as many as `n` rounded up to 16.
    pub bias: &'a [u8],
    /// What becomes of a sum.
    pub act: Act,
}

impl Gemm<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::GemmF32> {
        let segments = self.offsets.len() / WORD;
        let rows = self.n.checked_next_multiple_of(LANES)?;
        let act = self.act.check()?;
        let patch = last(self.offsets).checked_add(bytes(self.k)?)?;
        let positions = self.positions;
        let read = positions.reach(self.x_row, self.x_outer, patch.checked_add(SLACK)?)?;
        let written = positions.reach(self.y_row, self.y_outer, bytes(self.n)?)?;
        if self.n == 0 || read > self.x.len() || written > self.y.len() {
            return None;
        }
        positions.count()?;
        has(self.w, segments.checked_mul(self.k)?.checked_mul(rows)?)?;
        has(self.bias, rows)?;
        Some(args::GemmF32 {
            x: self.x.as_ptr(),
            x_row: self.x_row,
            x_outer: self.x_outer,
            y: self.y.as_mut_ptr(),
            y_row: self.y_row,
            y_outer: self.y_outer,
            m: positions.m,
            outer: positions.outer,
            n: self.n,
            k: self.k,
            segments,
            offsets: self.offsets.as_ptr(),
            w: self.w.as_ptr(),
            bias: self.bias.as_ptr(),
            act: act.op,
            slope: act.slope,
        })
    }
}

/// A function of every element, see [`args::MapF32`].
#[derive(Debug)]
pub struct Map<'a> {
    /// Input; `y` itself if there is none.
    pub x: Option<&'a [u8]>,
    /// Output.
    pub y: &'a mut [u8],
    /// Elements.
    pub n: usize,
    /// The function.
    pub act: Act,
}

impl Map<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::MapF32> {
        let act = self.act.check()?;
        has(self.y, self.n)?;
        let y = self.y.as_mut_ptr();
        let x = match self.x {
            Some(x) => {
                has(x, self.n)?;
                x.as_ptr()
            }
            None => y.cast_const(),
        };
        Some(args::MapF32 {
            x,
            y,
            n: self.n,
            op: act.op,
            slope: act.slope,
        })
    }
}

/// Elements with those of a row that repeats, see [`args::BinaryF32`].
#[derive(Debug)]
pub struct Binary<'a> {
    /// First operand; `y` itself if there is none.
    pub a: Option<&'a [u8]>,
    /// Second operand, one row.
    pub b: &'a [u8],
    /// Output.
    pub y: &'a mut [u8],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// What to do, a code of [`binary`].
    pub op: u32,
}

impl Binary<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::BinaryF32> {
        let all = self.rows.checked_mul(self.n)?;
        has(self.y, all)?;
        has(self.b, self.n)?;
        let y = self.y.as_mut_ptr();
        let a = match self.a {
            Some(a) => {
                has(a, all)?;
                a.as_ptr()
            }
            None => y.cast_const(),
        };
        (self.op < binary::COUNT).then_some(args::BinaryF32 {
            a,
            b: self.b.as_ptr(),
            y,
            rows: self.rows,
            n: self.n,
            op: self.op,
        })
    }
}

/// Normalisation of features, see [`args::AffineF32`].
#[derive(Debug)]
pub struct Affine<'a> {
    /// Input; `y` itself if there is none.
    pub x: Option<&'a [u8]>,
    /// What is subtracted.
    pub shift: &'a [u8],
    /// What is multiplied.
    pub factor: &'a [u8],
    /// Output.
    pub y: &'a mut [u8],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
}

impl Affine<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::AffineF32> {
        let all = self.rows.checked_mul(self.n)?;
        has(self.y, all)?;
        has(self.shift, self.n)?;
        has(self.factor, self.n)?;
        let y = self.y.as_mut_ptr();
        let x = match self.x {
            Some(x) => {
                has(x, all)?;
                x.as_ptr()
            }
            None => y.cast_const(),
        };
        Some(args::AffineF32 {
            x,
            shift: self.shift.as_ptr(),
            factor: self.factor.as_ptr(),
            y,
            rows: self.rows,
            n: self.n,
        })
    }
}

/// Softmax of rows, see [`args::SoftmaxF32`].
#[derive(Debug)]
pub struct Softmax<'a> {
    /// Input; `y` itself if there is none.
    pub x: Option<Rows<'a>>,
    /// Output.
    pub y: RowsMut<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Whether the logarithm is wanted.
    pub log: bool,
}

impl Softmax<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::SoftmaxF32> {
        let (x, x_row, y) = source(self.x, &mut self.y, self.rows, self.n)?;
        (self.n > 0).then_some(args::SoftmaxF32 {
            x,
            x_row,
            y,
            y_row: self.y.row,
            rows: self.rows,
            n: self.n,
            log: u32::from(self.log),
        })
    }
}

/// Layer norm and RMS norm of rows, see [`args::NormF32`].
#[derive(Debug)]
pub struct Norm<'a> {
    /// Input; `y` itself if there is none.
    pub x: Option<Rows<'a>>,
    /// Output.
    pub y: RowsMut<'a>,
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// Factors.
    pub gamma: &'a [u8],
    /// Summands.
    pub beta: Option<&'a [u8]>,
    /// The bits of what is added to the variance.
    pub eps: u32,
    /// Whether it is the RMS norm.
    pub rms: bool,
}

impl Norm<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::NormF32> {
        let (x, x_row, y) = source(self.x, &mut self.y, self.rows, self.n)?;
        has(self.gamma, self.n)?;
        let beta = match self.beta {
            Some(beta) => {
                has(beta, self.n)?;
                beta.as_ptr()
            }
            None => core::ptr::null(),
        };
        (self.n > 0).then_some(args::NormF32 {
            x,
            x_row,
            y,
            y_row: self.y.row,
            rows: self.rows,
            n: self.n,
            gamma: self.gamma.as_ptr(),
            beta,
            eps: self.eps,
            rms: u32::from(self.rms),
        })
    }
}

/// Mean over rows, see [`args::MeanF32`].
#[derive(Debug)]
pub struct Mean<'a> {
    /// Input.
    pub x: Rows<'a>,
    /// Output.
    pub y: &'a mut [u8],
    /// Rows, at least one.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
}

impl Mean<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::MeanF32> {
        has(self.y, self.n)?;
        (self.rows > 0).then_some(args::MeanF32 {
            x: self.x.check(self.rows, self.n)?,
            x_row: self.x.row,
            y: self.y.as_mut_ptr(),
            rows: self.rows,
            n: self.n,
        })
    }
}

/// Step of LSTM cells, see [`args::LstmF32`].
#[derive(Debug)]
pub struct Lstm<'a> {
    /// Sums of the gates `i`, `f`, `g`, `o`.
    pub gates: Rows<'a>,
    /// Cell state, replaced.
    pub c: RowsMut<'a>,
    /// Hidden state, written.
    pub h: RowsMut<'a>,
    /// Sequences that run side by side.
    pub rows: usize,
    /// Units.
    pub n: usize,
}

impl Lstm<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::LstmF32> {
        Some(args::LstmF32 {
            gates: self.gates.check(self.rows, self.n.checked_mul(4)?)?,
            gates_row: self.gates.row,
            c: self.c.check(self.rows, self.n)?,
            c_row: self.c.row,
            h: self.h.check(self.rows, self.n)?,
            h_row: self.h.row,
            rows: self.rows,
            n: self.n,
        })
    }
}

/// Step of GRU cells, see [`args::GruF32`].
#[derive(Debug)]
pub struct Gru<'a> {
    /// Sums of the gates `r`, `z`, `n` over the input.
    pub x: Rows<'a>,
    /// The same over the hidden state.
    pub s: Rows<'a>,
    /// Hidden state, replaced.
    pub h: RowsMut<'a>,
    /// Sequences that run side by side.
    pub rows: usize,
    /// Units.
    pub n: usize,
}

impl Gru<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::GruF32> {
        let gates = self.n.checked_mul(3)?;
        Some(args::GruF32 {
            x: self.x.check(self.rows, gates)?,
            x_row: self.x.row,
            s: self.s.check(self.rows, gates)?,
            s_row: self.s.row,
            h: self.h.check(self.rows, self.n)?,
            h_row: self.h.row,
            rows: self.rows,
            n: self.n,
        })
    }
}

/// Cosine similarity of a query with rows, see [`args::CosineF32`].
#[derive(Debug)]
pub struct Cosine<'a> {
    /// The query.
    pub key: &'a [u8],
    /// What it is compared with.
    pub x: Rows<'a>,
    /// Output.
    pub y: &'a mut [u8],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
    /// The bits of the least product of norms.
    pub eps: u32,
    /// The bits of what the similarity is multiplied with.
    pub scale: u32,
}

impl Cosine<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::CosineF32> {
        has(self.key, self.n)?;
        has(self.y, self.rows)?;
        Some(args::CosineF32 {
            key: self.key.as_ptr(),
            x: self.x.check(self.rows, self.n)?,
            x_row: self.x.row,
            y: self.y.as_mut_ptr(),
            rows: self.rows,
            n: self.n,
            eps: self.eps,
            scale: self.scale,
        })
    }
}

/// Product of two matrices, see [`args::MatmulF32`].
#[derive(Debug)]
pub struct Matmul<'a> {
    /// First operand.
    pub x: Rows<'a>,
    /// Second operand.
    pub b: Rows<'a>,
    /// Output.
    pub y: RowsMut<'a>,
    /// Rows of the output.
    pub m: usize,
    /// Columns of the output.
    pub n: usize,
    /// Length of the sums.
    pub k: usize,
    /// The bits of what sums are multiplied with.
    pub scale: u32,
    /// Whether the rows of `b` are the columns of the output.
    pub transposed: bool,
}

impl Matmul<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::MatmulF32> {
        let (rows, columns) = if self.transposed {
            (self.n, self.k)
        } else {
            (self.k, self.n)
        };
        Some(args::MatmulF32 {
            x: self.x.check(self.m, self.k)?,
            x_row: self.x.row,
            b: self.b.check(rows, columns)?,
            b_row: self.b.row,
            y: self.y.check(self.m, self.n)?,
            y_row: self.y.row,
            m: self.m,
            n: self.n,
            k: self.k,
            scale: self.scale,
            transposed: u32::from(self.transposed),
        })
    }
}

/// Transposition, see [`args::TransposeF32`].
#[derive(Debug)]
pub struct Transpose<'a> {
    /// Input.
    pub x: Rows<'a>,
    /// Output.
    pub y: RowsMut<'a>,
    /// Rows of the input.
    pub rows: usize,
    /// Columns of the input.
    pub columns: usize,
}

impl Transpose<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::TransposeF32> {
        Some(args::TransposeF32 {
            x: self.x.check(self.rows, self.columns)?,
            x_row: self.x.row,
            y: self.y.check(self.columns, self.rows)?,
            y_row: self.y.row,
            rows: self.rows,
            columns: self.columns,
        })
    }
}

/// Attention with heads, see [`args::AttentionF32`].
#[derive(Debug)]
pub struct Attention<'a> {
    /// Queries.
    pub q: Rows<'a>,
    /// Bytes between heads of a query.
    pub q_head: usize,
    /// Keys.
    pub k: Rows<'a>,
    /// Bytes between heads of a key.
    pub k_head: usize,
    /// Values.
    pub v: Rows<'a>,
    /// Bytes between heads of a value.
    pub v_head: usize,
    /// Output.
    pub y: RowsMut<'a>,
    /// Bytes between heads of an output.
    pub y_head: usize,
    /// Queries.
    pub queries: usize,
    /// Keys and values, at least one.
    pub tokens: usize,
    /// Elements of a query and a key.
    pub dim: usize,
    /// Elements of a value.
    pub v_dim: usize,
    /// Heads of the queries.
    pub heads: usize,
    /// Heads of the queries that share one of the keys and values.
    pub group: usize,
    /// The bits of what scores are multiplied with.
    pub scale: u32,
    /// Whether later tokens are hidden.
    pub causal: bool,
    /// `tokens * (ATTENTION_ROWS + dim)` elements.
    pub scratch: &'a mut [u8],
}

impl Attention<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::AttentionF32> {
        let scratch = ATTENTION_ROWS
            .checked_add(self.dim)?
            .checked_mul(self.tokens)?;
        has(self.scratch, scratch)?;
        let all = self.heads.checked_sub(1)?;
        let shared = all.checked_div(self.group)?;
        // The rows of the last head, as long as they have to be, end inside the slices.
        let reach = |slice: &[u8], row: usize, rows: usize, head: usize, heads: usize, n: usize| {
            let start = heads.checked_mul(head)?;
            has_rows(slice.get(start..)?, row, rows, n)
        };
        let (queries, tokens) = (self.queries, self.tokens);
        reach(
            self.q.bytes,
            self.q.row,
            queries,
            self.q_head,
            all,
            self.dim,
        )?;
        reach(
            self.k.bytes,
            self.k.row,
            tokens,
            self.k_head,
            shared,
            self.dim,
        )?;
        reach(
            self.v.bytes,
            self.v.row,
            tokens,
            self.v_head,
            shared,
            self.v_dim,
        )?;
        reach(
            self.y.bytes,
            self.y.row,
            queries,
            self.y_head,
            all,
            self.v_dim,
        )?;
        queries.checked_add(tokens)?.checked_add(ATTENTION_ROWS)?;
        (tokens > 0).then_some(args::AttentionF32 {
            q: self.q.bytes.as_ptr(),
            q_row: self.q.row,
            q_head: self.q_head,
            k: self.k.bytes.as_ptr(),
            k_row: self.k.row,
            k_head: self.k_head,
            v: self.v.bytes.as_ptr(),
            v_row: self.v.row,
            v_head: self.v_head,
            y: self.y.bytes.as_mut_ptr(),
            y_row: self.y.row,
            y_head: self.y_head,
            queries,
            tokens,
            dim: self.dim,
            v_dim: self.v_dim,
            heads: self.heads,
            group: self.group,
            scale: self.scale,
            causal: u32::from(self.causal),
            scratch: self.scratch.as_mut_ptr(),
        })
    }
}

/// Depthwise convolution, see [`args::DepthwiseF32`].
#[derive(Debug)]
pub struct Depthwise<'a> {
    /// Input.
    pub x: &'a [u8],
    /// Bytes between positions of the input.
    pub x_row: usize,
    /// Bytes between lines of the input.
    pub x_outer: usize,
    /// Output.
    pub y: &'a mut [u8],
    /// Bytes between positions of the output.
    pub y_row: usize,
    /// Bytes between lines of the output.
    pub y_outer: usize,
    /// Positions.
    pub positions: Positions,
    /// Channels.
    pub channels: usize,
    /// Where the taps are, `u32`, in bytes.
    pub offsets: &'a [u8],
    /// Weights: a row of channels, rounded up to 16, for each tap.
    pub w: &'a [u8],
    /// Biases, as many as channels rounded up to 16.
    pub bias: &'a [u8],
    /// What becomes of a sum.
    pub act: Act,
}

impl Depthwise<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::DepthwiseF32> {
        let taps = self.offsets.len() / WORD;
        let rows = self.channels.checked_next_multiple_of(LANES)?;
        let act = self.act.check()?;
        let patch = bytes(self.channels)?;
        let positions = self.positions;
        let read = last(self.offsets).checked_add(patch)?;
        let read = positions.reach(self.x_row, self.x_outer, read)?;
        let written = positions.reach(self.y_row, self.y_outer, patch)?;
        if self.channels == 0 || read > self.x.len() || written > self.y.len() {
            return None;
        }
        has(self.w, taps.checked_mul(rows)?)?;
        has(self.bias, rows)?;
        Some(args::DepthwiseF32 {
            x: self.x.as_ptr(),
            x_row: self.x_row,
            x_outer: self.x_outer,
            y: self.y.as_mut_ptr(),
            y_row: self.y_row,
            y_outer: self.y_outer,
            m: positions.m,
            outer: positions.outer,
            channels: self.channels,
            taps,
            offsets: self.offsets.as_ptr(),
            w: self.w.as_ptr(),
            bias: self.bias.as_ptr(),
            act: act.op,
            slope: act.slope,
        })
    }
}

/// Pooling, see [`args::PoolF32`].
#[derive(Debug)]
pub struct Pool<'a> {
    /// Input, `height * width * channels`.
    pub x: &'a [u8],
    /// Output, `out_height * out_width * channels`.
    pub y: &'a mut [u8],
    /// Rows of the image.
    pub height: usize,
    /// Columns of the image.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Rows of the result.
    pub out_height: usize,
    /// Columns of the result.
    pub out_width: usize,
    /// Rows and columns of the window.
    pub window: [usize; 2],
    /// Steps of the window, downwards and to the right.
    pub stride: [usize; 2],
    /// Rows above and columns left of the image that the first window covers.
    pub pad: [usize; 2],
    /// Whether the greatest element is wanted, not the mean.
    pub max: bool,
}

impl Pool<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::PoolF32> {
        let size =
            |height: usize, width: usize| height.checked_mul(width)?.checked_mul(self.channels);
        has(self.x, size(self.height, self.width)?)?;
        has(self.y, size(self.out_height, self.out_width)?)?;
        for (axis, out) in [self.out_height, self.out_width].into_iter().enumerate() {
            let stride = *self.stride.get(axis)?;
            let window = *self.window.get(axis)?;
            out.checked_mul(stride)?.checked_add(window)?;
        }
        Some(args::PoolF32 {
            x: self.x.as_ptr(),
            y: self.y.as_mut_ptr(),
            height: self.height,
            width: self.width,
            channels: self.channels,
            out_height: self.out_height,
            out_width: self.out_width,
            window: self.window,
            stride: self.stride,
            pad: self.pad,
            max: u32::from(self.max),
        })
    }
}

/// Weighted sum of three vectors, see [`args::MixF32`].
#[derive(Debug)]
pub struct Mix<'a> {
    /// Inputs; `y` itself where there is none.
    pub x: [Option<&'a [u8]>; 3],
    /// The bits of the factors.
    pub f: [u32; 3],
    /// Output.
    pub y: &'a mut [u8],
    /// Elements.
    pub n: usize,
}

impl Mix<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::MixF32> {
        has(self.y, self.n)?;
        let y = self.y.as_mut_ptr();
        let mut x = [y.cast_const(); 3];
        for (to, from) in x.iter_mut().zip(self.x) {
            if let Some(from) = from {
                has(from, self.n)?;
                *to = from.as_ptr();
            }
        }
        Some(args::MixF32 {
            x,
            f: self.f,
            y,
            n: self.n,
        })
    }
}

/// Usage of the rows of a DNC's memory, see [`args::UsageF32`].
#[derive(Debug)]
pub struct Usage<'a> {
    /// Usage, replaced.
    pub u: &'a mut [u8],
    /// Write weighting of the step before.
    pub w: &'a [u8],
    /// Read weightings of the step before.
    pub read: &'a [u8],
    /// Free gates, one a read head.
    pub free: &'a [u8],
    /// Read heads.
    pub heads: usize,
    /// Rows of the memory.
    pub n: usize,
}

impl Usage<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::UsageF32> {
        has(self.u, self.n)?;
        has(self.w, self.n)?;
        has(self.read, self.heads.checked_mul(self.n)?)?;
        has(self.free, self.heads)?;
        Some(args::UsageF32 {
            u: self.u.as_mut_ptr(),
            w: self.w.as_ptr(),
            read: self.read.as_ptr(),
            free: self.free.as_ptr(),
            heads: self.heads,
            n: self.n,
        })
    }
}

/// Allocation weighting of a DNC, see [`args::AllocationF32`].
#[derive(Debug)]
pub struct Allocation<'a> {
    /// Usage.
    pub u: &'a [u8],
    /// Output.
    pub y: &'a mut [u8],
    /// Rows of the memory.
    pub n: usize,
}

impl Allocation<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::AllocationF32> {
        has(self.u, self.n)?;
        has(self.y, self.n)?;
        Some(args::AllocationF32 {
            u: self.u.as_ptr(),
            y: self.y.as_mut_ptr(),
            n: self.n,
        })
    }
}

/// Write to a DNC's memory, see [`args::WriteF32`].
#[derive(Debug)]
pub struct Write<'a> {
    /// Memory, changed.
    pub x: RowsMut<'a>,
    /// Write weighting.
    pub w: &'a [u8],
    /// Erase vector.
    pub erase: &'a [u8],
    /// Write vector.
    pub add: &'a [u8],
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub n: usize,
}

impl Write<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::WriteF32> {
        has(self.w, self.rows)?;
        has(self.erase, self.n)?;
        has(self.add, self.n)?;
        Some(args::WriteF32 {
            x: self.x.check(self.rows, self.n)?,
            x_row: self.x.row,
            w: self.w.as_ptr(),
            erase: self.erase.as_ptr(),
            add: self.add.as_ptr(),
            rows: self.rows,
            n: self.n,
        })
    }
}

/// Temporal links of a DNC, see [`args::LinkF32`].
#[derive(Debug)]
pub struct Link<'a> {
    /// Links, `n` rows of `n`, changed.
    pub l: &'a mut [u8],
    /// Precedence weighting, replaced.
    pub p: &'a mut [u8],
    /// Write weighting.
    pub w: &'a [u8],
    /// Rows of the memory.
    pub n: usize,
}

impl Link<'_> {
    #[inline]
    fn check(&mut self) -> Option<args::LinkF32> {
        has(self.l, self.n.checked_mul(self.n)?)?;
        has(self.p, self.n)?;
        has(self.w, self.n)?;
        Some(args::LinkF32 {
            l: self.l.as_mut_ptr(),
            p: self.p.as_mut_ptr(),
            w: self.w.as_ptr(),
            n: self.n,
        })
    }
}
