// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of vector code for numbers, in sections of the kernel: all that this CPU runs, of all
//! lengths. There is no scalar code to compare it with. So results that are whole numbers are compared
//! with those of integers, and all results with what the same code gives natively, bit by bit.

use kernel::prelude::*;
use neural_simd::{
    f32::TABLE,
    Set, //
};

use crate::{
    kunit_simd::{
        check,
        in_section,
        NO_SETS, //
    },
    sys::{
        cpu,
        fpu,
        kunit, //
    }, //
};

#[path = "../simd/src/check_f32.rs"]
mod check_f32;
#[path = "../simd/src/f32_digests.rs"]
mod f32_digests;

use check_f32::{
    BLOCK,
    BUFFER,
    ISAS,
    OPS,
    PARTS, //
};
use f32_digests::DIGESTS;

/// Tries an operation by each set of vector code, in memory behind which lie pages that fault.
fn same_here(name: &str) -> Result {
    let op = OPS.iter().find(|op| op.name == name).ok_or(ENOENT)?;
    let mut buffers = [const { VVec::new() }; PARTS];
    for buffer in &mut buffers {
        *buffer = VVec::from_elem(0u8, BUFFER, GFP_KERNEL)?;
    }
    let mut tried = 0;
    for isa in ISAS {
        let Some(set) = Set::select(&fpu::features(), Some(isa)) else {
            continue;
        };
        tried += 1;
        let mut memory = buffers.each_mut().map(|part| &mut part[..]);
        let enter = |run: &mut dyn FnMut() -> bool| in_section(run);
        let found = check_f32::digests(set, op, &mut memory, &enter, &mut cpu::cond_resched);
        let found = found.map_err(|fault| {
            pr_err!("{name} {}: {fault:?}\n", isa.name());
            EILSEQ
        })?;
        let mut all = DIGESTS.iter();
        let written = all.find(|(op, set, _)| *op == name && *set == isa.name());
        let (_, _, written) = written.ok_or(ENOENT)?;
        if let Some(block) = (0..found.len()).find(|&block| found[block] != written[block]) {
            let from = block * BLOCK;
            pr_err!("{name} {}: other results from {from} on\n", isa.name());
            return Err(EILSEQ);
        }
    }
    if tried == 0 {
        kunit::skip(NO_SETS);
    }
    Ok(())
}

#[kunit_tests(neural_f32)]
mod tests {
    use super::*;

    #[test]
    fn products_with_weights_are_the_same_here() -> Result {
        same_here("gemm_f32")
    }

    #[test]
    fn chains_of_products_are_the_same_here() -> Result {
        same_here("chain_f32")
    }

    #[test]
    fn functions_are_the_same_here() -> Result {
        same_here("map_f32")
    }

    #[test]
    fn sums_and_products_are_the_same_here() -> Result {
        same_here("binary_f32")
    }

    #[test]
    fn normalisations_are_the_same_here() -> Result {
        same_here("normalise_f32")
    }

    #[test]
    fn softmaxes_are_the_same_here() -> Result {
        same_here("softmax_f32")
    }

    #[test]
    fn norms_are_the_same_here() -> Result {
        same_here("norm_f32")
    }

    #[test]
    fn means_are_the_same_here() -> Result {
        same_here("mean_f32")
    }

    #[test]
    fn cells_of_long_memories_are_the_same_here() -> Result {
        same_here("lstm_f32")
    }

    #[test]
    fn cells_of_gated_units_are_the_same_here() -> Result {
        same_here("gru_f32")
    }

    #[test]
    fn similarities_are_the_same_here() -> Result {
        same_here("cosine_f32")
    }

    #[test]
    fn products_of_matrices_are_the_same_here() -> Result {
        same_here("matmul_f32")
    }

    #[test]
    fn transposed_matrices_are_the_same_here() -> Result {
        same_here("transpose_f32")
    }

    #[test]
    fn attentions_are_the_same_here() -> Result {
        same_here("attention_f32")
    }

    #[test]
    fn windows_are_the_same_here() -> Result {
        same_here("depthwise_f32")
    }

    #[test]
    fn pools_are_the_same_here() -> Result {
        same_here("pool_f32")
    }

    #[test]
    fn mixtures_are_the_same_here() -> Result {
        same_here("mix_f32")
    }

    #[test]
    fn usages_are_the_same_here() -> Result {
        same_here("usage_f32")
    }

    #[test]
    fn allocations_are_the_same_here() -> Result {
        same_here("allocation_f32")
    }

    #[test]
    fn writes_are_the_same_here() -> Result {
        same_here("write_f32")
    }

    #[test]
    fn links_are_the_same_here() -> Result {
        same_here("link_f32")
    }

    #[test]
    fn all_vector_code_is_tried() {
        for variant in TABLE {
            assert!(OPS.iter().any(|op| op.name == variant.op));
            assert!(ISAS.contains(&variant.isa));
        }
    }
}
