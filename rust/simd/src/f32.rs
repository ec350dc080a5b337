// SPDX-License-Identifier: GPL-2.0

//! Layers of `f32`: what is checked before vector code is entered.
//!
//! Tensors are bytes, little endian, of any alignment. There is no scalar code beside the vector code:
//! methods say `false`, and have done nothing, when the set has no vector code or when an access could
//! miss a slice. NaN and infinities go the way that the equations give them in floating point, except
//! where it is said; how long a layer takes does not depend on the numbers, apart from denormal ones
//! where the CPU is slow with them. Control bits of the CPU are not changed.

mod matrix;
mod memory;
mod products;
mod rows;
mod sequences;

use neural_core::float;

use crate::f32_args as args;
use crate::{Isa, Set, Variant};

pub use self::matrix::Transpose;

/// Bytes of an element, of an offset.
const WORD: usize = 4;

/// Most elements of a tensor: so many that sums of a few products of sizes cannot overflow.
const MOST: usize = 1 << 40;

/// What vector code does: becomes arguments, once every access is known to lie inside a slice.
pub(crate) trait Layer {
    /// The arguments.
    type Args;

    /// `None` if an access could miss a slice.
    fn check(&mut self) -> Option<Self::Args>;
}

/// The table: from it come the declarations, the list and the choice.
macro_rules! kernels {
    ($($op:ident($layer:ty => $args:ident) = $avx2:ident, $avx512:ident;)*) => {
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
                pub fn $op(&self, layer: &mut $layer) -> bool {
                    if self.isa() == Isa::Scalar {
                        return false;
                    }
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
    gemm_f32(float::Gemm<'_> => GemmF32) =
        neural_gemm_f32_avx2, neural_gemm_f32_avx512;
    chain_f32(float::Chain<'_> => ChainF32) =
        neural_chain_f32_avx2, neural_chain_f32_avx512;
    map_f32(float::Map<'_> => MapF32) =
        neural_map_f32_avx2, neural_map_f32_avx512;
    binary_f32(float::Binary<'_> => BinaryF32) =
        neural_binary_f32_avx2, neural_binary_f32_avx512;
    normalise_f32(float::Normalise<'_> => NormaliseF32) =
        neural_normalise_f32_avx2, neural_normalise_f32_avx512;
    softmax_f32(float::Softmax<'_> => SoftmaxF32) =
        neural_softmax_f32_avx2, neural_softmax_f32_avx512;
    norm_f32(float::Norm<'_> => NormF32) =
        neural_norm_f32_avx2, neural_norm_f32_avx512;
    mean_f32(float::Mean<'_> => MeanF32) =
        neural_mean_f32_avx2, neural_mean_f32_avx512;
    lstm_f32(float::LstmCell<'_> => LstmF32) =
        neural_lstm_f32_avx2, neural_lstm_f32_avx512;
    gru_f32(float::GruCell<'_> => GruF32) =
        neural_gru_f32_avx2, neural_gru_f32_avx512;
    cosine_f32(float::Cosine<'_> => CosineF32) =
        neural_cosine_f32_avx2, neural_cosine_f32_avx512;
    matmul_f32(float::Matmul<'_> => MatmulF32) =
        neural_matmul_f32_avx2, neural_matmul_f32_avx512;
    transpose_f32(Transpose<'_> => TransposeF32) =
        neural_transpose_f32_avx2, neural_transpose_f32_avx512;
    attention_f32(float::Attention<'_> => AttentionF32) =
        neural_attention_f32_avx2, neural_attention_f32_avx512;
    depthwise_f32(float::Depthwise<'_> => DepthwiseF32) =
        neural_depthwise_f32_avx2, neural_depthwise_f32_avx512;
    pool_f32(float::Pool<'_> => PoolF32) =
        neural_pool_f32_avx2, neural_pool_f32_avx512;
    mix_f32(float::Mix<'_> => MixF32) =
        neural_mix_f32_avx2, neural_mix_f32_avx512;
    usage_f32(float::Usage<'_> => UsageF32) =
        neural_usage_f32_avx2, neural_usage_f32_avx512;
    allocation_f32(float::Allocation<'_> => AllocationF32) =
        neural_allocation_f32_avx2, neural_allocation_f32_avx512;
    write_f32(float::Write<'_> => WriteF32) =
        neural_write_f32_avx2, neural_write_f32_avx512;
    link_f32(float::Link<'_> => LinkF32) =
        neural_link_f32_avx2, neural_link_f32_avx512;
}

/// Bytes of `n` elements.
fn bytes(n: usize) -> Option<usize> {
    (n <= MOST).then(|| n.wrapping_mul(WORD))
}

/// Elements of a slice that has nothing but whole ones.
fn count(slice: &[u8]) -> Option<usize> {
    (slice.len() % WORD == 0).then_some(slice.len() / WORD)
}

/// `None` unless there are `n` elements.
fn has(slice: &[u8], n: usize) -> Option<()> {
    (bytes(n)? <= slice.len()).then_some(())
}
