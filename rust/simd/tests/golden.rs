// SPDX-License-Identifier: GPL-2.0

//! Layers of codes by vector code against TensorFlow Lite Micro, bit by bit.

#[path = "../../core/tests/common/mod.rs"]
mod common;
#[path = "../../core/tests/common/golden.rs"]
mod golden;

use neural_simd::{Features, Isa, NoSection, Set, Simd};

macro_rules! tests {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                for isa in Isa::ALL {
                    let Some(set) = Set::select(&Features::detect(), Some(isa)) else {
                        eprintln!("skipped: this CPU lacks {}", isa.name());
                        continue;
                    };
                    let kernels = Simd::new(Some(set), NoSection);
                    golden::$name(&kernels);
                    assert_eq!(kernels.operations() > 0, isa != Isa::Scalar, "{}", isa.name());
                }
            }
        )*
    };
}

tests! {
    tables_hold_what_the_functions_give
    softmax_is_that_of_the_reference
    a_share_of_less_than_half_a_code_is_0
    pairs_of_codes_are_combined
    means_are_rounded_as_by_the_reference
    pools_leave_out_what_is_not_in_the_image
    convolutions_are_those_of_the_reference
    a_recurrent_layer_goes_through_the_states_of_the_reference
}
