// SPDX-License-Identifier: GPL-2.0

//! Addresses that short displacements reach.

use crate::asm::{Asm, Gpr, Mem, Rm};

/// The weights, in the registers of chains.
pub(crate) const WEIGHTS: Gpr = Gpr::R8;

/// Registers with addresses that are near the weights which are read.
pub(crate) const NEAR: [Gpr; 2] = [Gpr::R9, Gpr::R11];

/// Where the addresses in [`NEAR`] are, from the first weight on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Near([Option<i32>; 2]);

impl Near {
    /// Memory `at` bytes behind the first weight, for vectors of `unit` bytes, in which displacements of
    /// one byte count: from one of the addresses, which moves when it is too far away.
    pub(crate) fn reach(
        &mut self,
        asm: &mut Asm<'_>,
        at: i32,
        unit: i32,
        which: usize,
    ) -> Option<Rm> {
        let reach = unit.checked_mul(128)?;
        let (base, place) = (*NEAR.get(which)?, self.0.get_mut(which)?);
        let near = place.filter(|&near| {
            let rel = at.wrapping_sub(near);
            rel % unit == 0 && (-reach..reach).contains(&rel)
        });
        let near = match near {
            Some(near) => near,
            None => {
                let disp = at.checked_add(reach)?;
                let from = WEIGHTS;
                asm.lea(base, Mem { base: from, disp });
                *place = Some(disp);
                disp
            }
        };
        let disp = at.wrapping_sub(near);
        Some(Rm::Mem(Mem { base, disp }))
    }
}
