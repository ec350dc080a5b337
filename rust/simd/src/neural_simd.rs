// SPDX-License-Identifier: GPL-2.0

//! Vector code for the layers of `neural_core`, and the table that says what there is.
//!
//! The vector code stands in [`leaf`](leaf.rs). It knows no slices, only pointers, and does what it
//! is told. The methods of [`Set`] are the safe way to it: they check, before it is entered, that
//! every access lies inside the slices, and say `false` when they leave the work to the functions
//! of `neural_core::int8`, whose results theirs equal bit by bit. Layers of `f32` have no scalar code:
//! see [`f32`](self::f32).
//!
//! Methods may be called where vector registers may be used: for a kernel, in an FPU section. They
//! neither allocate nor wait; how long they take follows from the arguments.

#![cfg_attr(not(CONFIG_RUST), no_std)]
#![cfg_attr(
    not(CONFIG_RUST),
    feature(avx512_target_feature, stdarch_x86_avx512),
    allow(stable_features)
)]

#[cfg(not(CONFIG_RUST))]
extern crate std;

mod args;
#[cfg(test)]
mod check;
pub mod f32;
pub mod f32_args;
pub mod generated;
mod int8;
mod kernels;
#[cfg(not(CONFIG_RUST))]
mod leaf;
#[cfg(test)]
mod tests;

pub use self::kernels::{NoSection, Section, Simd, THRESHOLD};
pub use neural_core::plan::SECTION_WORK;

/// What vector code is written for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// No vector code.
    Scalar,
    /// AVX2 and FMA.
    Avx2,
    /// AVX2, FMA and AVX-VNNI.
    AvxVnni,
    /// AVX2, FMA, AVX-512 F and BW.
    Avx512,
    /// AVX2, FMA, AVX-512 F, BW and VNNI.
    Avx512Vnni,
}

impl Isa {
    /// All, the slowest first.
    pub const ALL: [Isa; 5] = [
        Isa::Scalar,
        Isa::Avx2,
        Isa::Avx512,
        Isa::AvxVnni,
        Isa::Avx512Vnni,
    ];

    /// The name, as in the names of functions.
    pub const fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Avx2 => "avx2",
            Isa::AvxVnni => "avxvnni",
            Isa::Avx512 => "avx512",
            Isa::Avx512Vnni => "avx512vnni",
        }
    }

    /// Whether a CPU with these features runs it.
    pub const fn runs_on(self, features: &Features) -> bool {
        let narrow = features.avx2 && features.fma;
        let wide = narrow && features.avx512f && features.avx512bw;
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => narrow,
            Isa::AvxVnni => narrow && features.avx_vnni,
            Isa::Avx512 => wide,
            Isa::Avx512Vnni => wide && features.avx512_vnni,
        }
    }
}

/// What a CPU has and the system has enabled, registers included.
#[derive(Clone, Copy, Default, Debug)]
pub struct Features {
    /// AVX2.
    pub avx2: bool,
    /// FMA.
    pub fma: bool,
    /// AVX-VNNI: the instructions of 256 bits outside AVX-512.
    pub avx_vnni: bool,
    /// AVX-512 F.
    pub avx512f: bool,
    /// AVX-512 BW.
    pub avx512bw: bool,
    /// AVX-512 VNNI.
    pub avx512_vnni: bool,
}

#[cfg(not(CONFIG_RUST))]
impl Features {
    /// Those of the CPU this runs on.
    pub fn detect() -> Self {
        Self {
            avx2: std::is_x86_feature_detected!("avx2"),
            fma: std::is_x86_feature_detected!("fma"),
            avx_vnni: std::is_x86_feature_detected!("avxvnni"),
            avx512f: std::is_x86_feature_detected!("avx512f"),
            avx512bw: std::is_x86_feature_detected!("avx512bw"),
            avx512_vnni: std::is_x86_feature_detected!("avx512vnni"),
        }
    }
}

/// A piece of vector code.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// What it does, and with which type.
    pub op: &'static str,
    /// What it is written for.
    pub isa: Isa,
    /// Its symbol.
    pub name: &'static str,
}

/// Vector code of one instruction set, which this CPU has.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    isa: Isa,
}

impl Set {
    /// The fastest that runs with these features; or the one that is `forced`, if it does run.
    pub fn select(features: &Features, forced: Option<Isa>) -> Option<Set> {
        match forced {
            Some(isa) => isa.runs_on(features).then_some(Set { isa }),
            None => Isa::ALL
                .into_iter()
                .rev()
                .find(|isa| isa.runs_on(features))
                .map(|isa| Set { isa }),
        }
    }

    /// What it is written for.
    pub const fn isa(&self) -> Isa {
        self.isa
    }
}

/// The table: from it come the declarations, the list and the choice. What runs on several sets of
/// instructions is listed for the first of them.
///
/// Functions are called by name: a call through a pointer costs more, in a kernel that guards such
/// calls, than a small layer.
macro_rules! variants {
    ($($op:ident($args:ident) { $($isa:ident $(| $too:ident)?: $name:ident,)* })*) => {
        extern "C" {
            $($(fn $name(args: *const args::$args);)*)*
        }

        /// All vector code that there is.
        pub const TABLE: &[Variant] = &[
            $($(Variant {
                op: stringify!($op),
                isa: Isa::$isa,
                name: stringify!($name),
            },)*)*
        ];

        /// Calls of the variants.
        mod call {
            use super::{args, Isa};

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
                        // SAFETY: as the caller promises.
                        $(Isa::$isa $(| Isa::$too)? => unsafe { super::$name(args) },)*
                        #[allow(unreachable_patterns)]
                        _ => return false,
                    }
                    true
                }
            )*
        }
    };
}

variants! {
    gemm_i8(GemmI8) {
        Avx512Vnni: neural_gemm_i8_avx512vnni,
        AvxVnni: neural_gemm_i8_avxvnni,
        Avx512: neural_gemm_i8_avx512,
        Avx2: neural_gemm_i8_avx2,
    }
    chain_i8(ChainI8) {
        Avx512Vnni: neural_chain_i8_avx512vnni,
        AvxVnni: neural_chain_i8_avxvnni,
        Avx512: neural_chain_i8_avx512,
        Avx2: neural_chain_i8_avx2,
    }
    depthwise_i8(DepthwiseI8) {
        Avx512Vnni: neural_depthwise_i8_avx512vnni,
        AvxVnni: neural_depthwise_i8_avxvnni,
        Avx512: neural_depthwise_i8_avx512,
        Avx2: neural_depthwise_i8_avx2,
    }
    flip_i8(FlipI8) {
        Avx512 | Avx512Vnni: neural_flip_i8_avx512,
        Avx2 | AvxVnni: neural_flip_i8_avx2,
    }
    lut_i8(MapI8) {
        Avx512 | Avx512Vnni: neural_lut_i8_avx512,
        Avx2 | AvxVnni: neural_lut_i8_avx2,
    }
    add_i8(PairI8) {
        Avx512 | Avx512Vnni: neural_add_i8_avx512,
        Avx2 | AvxVnni: neural_add_i8_avx2,
    }
    mul_i8(PairI8) {
        Avx512 | Avx512Vnni: neural_mul_i8_avx512,
        Avx2 | AvxVnni: neural_mul_i8_avx2,
    }
    average_pool_i8(PoolI8) {
        Avx512 | Avx512Vnni: neural_average_pool_i8_avx512,
        Avx2 | AvxVnni: neural_average_pool_i8_avx2,
    }
    max_pool_i8(PoolI8) {
        Avx512 | Avx512Vnni: neural_max_pool_i8_avx512,
        Avx2 | AvxVnni: neural_max_pool_i8_avx2,
    }
    mean_i8(MeanI8) {
        Avx512 | Avx512Vnni: neural_mean_i8_avx512,
        Avx2 | AvxVnni: neural_mean_i8_avx2,
    }
    gemm16_i8(GemmI8) {
        Avx512Vnni: neural_gemm16_i8_avx512vnni,
        AvxVnni: neural_gemm16_i8_avxvnni,
        Avx512: neural_gemm16_i8_avx512,
        Avx2: neural_gemm16_i8_avx2,
    }
    lstm_cell_i8(LstmCellI8) {
        Avx512 | Avx512Vnni: neural_lstm_cell_i8_avx512,
        Avx2 | AvxVnni: neural_lstm_cell_i8_avx2,
    }
    softmax_i8(SoftmaxI8) {
        Avx512 | Avx512Vnni: neural_softmax_i8_avx512,
        Avx2 | AvxVnni: neural_softmax_i8_avx2,
    }
}
