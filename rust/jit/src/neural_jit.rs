// SPDX-License-Identifier: GPL-2.0

//! Machine code for operations whose shape is known: from a descriptor to bytes.
//!
//! Vector code that takes its sizes as arguments spends a good part of a small network on loops, on
//! choices, and on the way of codes through memory. Code that is made for the sizes has none of it.
//!
//! A [`Descriptor`] says all of an operation but addresses. [`emit`] makes of it a function with the C
//! signature, the arguments and the results, bit by bit, of the function of `neural_simd` that it takes
//! the place of. It is a pure function: neither memory is allocated nor code is run here. [`check`] reads
//! code again, independently of how it came about, and refuses what the rules below do not allow.
//!
//! What holds for all code that is made:
//!
//! * it starts with `endbr64`, has one exit at its end, and clears the upper halves of vector registers
//!   before it;
//! * no call, no stack, no system register; only registers that a function may change;
//! * memory is addressed through the pointers of the arguments only; weights are read, never part of
//!   the code;
//! * it ends: the only jumps go back, and count a register down.

#![cfg_attr(not(any(test, CONFIG_RUST)), no_std)]
#![forbid(unsafe_code)]

mod asm;
mod chain;
mod chain_f32;
mod check;
mod cosine_f32;
mod descriptor;
mod gemm_f32;
mod near;

use self::asm::Asm;

pub use self::check::{check, CheckError};
pub use self::descriptor::{Descriptor, Facts, GemmF32, GemmI8, Limit, LAYERS};

/// What code is made for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Isa {
    /// AVX2 and FMA.
    Avx2,
    /// AVX2, FMA and AVX-VNNI.
    AvxVnni,
    /// AVX2, FMA, AVX-512 F, BW and VL.
    Avx512,
    /// AVX2, FMA, AVX-512 F, BW, VL and VNNI.
    Avx512Vnni,
}

impl Isa {
    /// All of them.
    pub const ALL: [Isa; 4] = [Isa::Avx2, Isa::AvxVnni, Isa::Avx512, Isa::Avx512Vnni];
}

/// How a function ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// By a return.
    Ret,
    /// By a jump to the kernel's return thunk.
    Thunk {
        /// From the first byte of the function to the thunk.
        distance: i64,
    },
}

/// Why there is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EmitError {
    /// There is no code for this shape or these instructions.
    Unsupported,
    /// The buffer is too small.
    Full,
    /// The thunk is out of reach.
    Distance,
}

/// Writes the function that a descriptor describes, and gives its length.
///
/// # Errors
///
/// As [`EmitError`] says; what the buffer then holds is of no use.
pub fn emit(
    descriptor: &Descriptor<'_>,
    isa: Isa,
    exit: Exit,
    code: &mut [u8],
) -> Result<usize, EmitError> {
    let mut asm = Asm::new(code, matches!(isa, Isa::Avx512 | Isa::Avx512Vnni));
    match descriptor {
        Descriptor::ChainI8 {
            layers,
            facts,
            flip,
        } => chain::emit(&mut asm, layers, facts, *flip, isa, exit),
        Descriptor::GemmI8(gemm) => chain::emit_gemm(&mut asm, gemm, isa, exit),
        Descriptor::ChainF32 { layers } => chain_f32::emit(&mut asm, layers, isa, exit),
        Descriptor::CosineF32 { rows, n, eps } => {
            cosine_f32::emit(&mut asm, (*rows, *n, *eps), isa, exit);
        }
        Descriptor::GemmF32(gemm) => gemm_f32::emit(&mut asm, gemm, isa, exit),
    }
    asm.finish()
}
