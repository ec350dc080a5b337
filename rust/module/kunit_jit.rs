// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of generated code: the arena in the module's text, and what is done before code is used.

use core::sync::atomic::Ordering::Relaxed;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use neural_core::int8::Chain;
use neural_jit::{
    GemmF32,
    Limit, //
};
use neural_simd::generated::Call;

use crate::{
    dispatch,
    jit::{
        self,
        learn::Work,
        verify::Trial, //
    },
    sys::fpu::FpuGuard,
    sys::text::{
        self,
        Draft,
        Made,
        Place,
        Published,
        Room,
        ARENA_BYTES,
        SLOT_BYTES,
        TRAP, //
    }, //
};

/// A chain of two dense layers with this zero point at the end, and its weights.
fn chain(zero: i32) -> Result<(Work, KVVec<u8>)> {
    /// Rows of both layers, with what is there to fill vectors.
    const ROWS: usize = 16;

    let mut layers = KVVec::new();
    let mut weights = KVVec::new();
    let mut random = 1u32;
    for (k, n, zero) in [(20u32, 12u32, 7), (12, 5, zero)] {
        let start = weights.len();
        for _ in 0..ROWS * k as usize {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // CAST: The highest bits.
            weights.push((random >> 24) as u8, GFP_KERNEL)?;
        }
        let lists = weights.len();
        for word in [100i32, (1 << 30) + 12345, 9] {
            for _ in 0..ROWS {
                weights.extend_from_slice(&word.to_le_bytes(), GFP_KERNEL)?;
            }
        }
        let at = [start, lists, lists + 4 * ROWS, lists + 8 * ROWS];
        // CAST: Small numbers; no table is all ones.
        let sizes = [k as i32, n as i32].into_iter();
        let fields = Iterator::chain(sizes, at.into_iter().map(|at| at as i32));
        let fields = Iterator::chain(fields, [zero, 3, 250, -1, 0, 0, 0, 0, 0, 0]);
        for field in fields {
            layers.extend_from_slice(&field.to_le_bytes(), GFP_KERNEL)?;
        }
    }
    let start = weights.len();
    weights.extend_from_slice(&layers, GFP_KERNEL)?;
    let layers = start..weights.len();
    Ok((Work::ChainI8 { layers, flip: true }, weights))
}

/// Products of numbers: as many positions, results and elements, and weights and biases.
fn product([positions, n, k]: [u32; 3]) -> Result<(Work, KVVec<u8>)> {
    let mut weights = KVVec::new();
    let rows = n.next_multiple_of(16);
    for i in 0..(k + 1) * rows {
        // From -1 to 1, in steps that are exact.
        let exponent = 120 + (i % 7);
        let bits = (i % 2) << 31 | exponent << 23 | (i % 8) << 20;
        weights.extend_from_slice(&bits.to_le_bytes(), GFP_KERNEL)?;
    }
    let gemm = GemmF32 {
        positions,
        n,
        k,
        x_row: 4 * k,
        y_row: 4 * n,
        limit: Limit::Zero,
    };
    // CAST: Widening.
    let end = 4 * (k * rows) as usize;
    let bias = end..weights.len();
    Ok((
        Work::GemmF32 {
            gemm,
            w: 0..end,
            bias,
        },
        weights,
    ))
}

/// Code for such a call.
fn code(work: &Work, weights: &[u8]) -> Result<Made> {
    let (way, isa) = jit::ground().ok_or(EOPNOTSUPP)?;
    let descriptor = work.descriptor(weights).ok_or(EINVAL)?;
    let draft = Draft::new(descriptor, isa, way);
    draft.and_then(|mut draft| draft.write()).map_err(|why| {
        pr_err!("no code: {why:?}\n");
        EINVAL
    })
}

/// Whether code for the first call passes as code for the second.
fn passes(made: (&Work, &[u8]), tried: (&Work, &[u8])) -> Result<bool> {
    let set = dispatch::set().ok_or(EOPNOTSUPP)?;
    let code = code(made.0, made.1)?;
    Trial::new(tried.0, tried.1, set)?.compare(&code)
}

#[kunit_tests(neural_jit)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_arena() {
        assert!(jit::ground().is_some());
    }

    #[test]
    fn code_stands_in_the_arena_as_written_until_it_is_dropped() -> Result {
        let before = text::used_bytes();
        let room = Room::new(SLOT_BYTES + 1)?;
        let (way, _) = jit::ground().ok_or(EOPNOTSUPP)?;
        let bytes = way.function(room.address(), 1).ok_or(ERANGE)?;
        let place = room.address();
        let from = place - text::arena_address();
        let traps = || {
            let slots = text::arena().iter().skip(from).take(2 * SLOT_BYTES);
            slots.filter(|byte| byte.load(Relaxed) == TRAP).count()
        };
        assert_eq!(text::used_bytes(), before + 2 * SLOT_BYTES);
        let code = room.write(&bytes)?;
        assert_eq!(code.entry().addr(), place);
        assert!(code.bytes() == bytes);
        drop(code);
        assert_eq!(text::used_bytes(), before);
        // Nothing is left in the slots, which the next one gets.
        assert_eq!(traps(), 2 * SLOT_BYTES);
        let room = Room::new(1)?;
        assert_eq!(room.address(), place);
        Ok(())
    }

    #[test]
    fn code_across_pages_is_written_as_a_whole() -> Result {
        let first = Room::new(SLOT_BYTES * 7)?;
        let room = Room::new(3 * SLOT_BYTES)?;
        let bytes = KVec::from_elem(0x90u8, 3 * SLOT_BYTES, GFP_KERNEL)?;
        let code = room.write(&bytes)?;
        assert!(code.bytes() == &*bytes);
        drop(first);
        Ok(())
    }

    #[test]
    fn an_arena_that_is_full_refuses_until_something_goes() -> Result {
        let mut rooms = KVec::new();
        while let Ok(room) = Room::new(SLOT_BYTES) {
            rooms.push(room, GFP_KERNEL)?;
        }
        let full = text::used_bytes();
        let refused = Room::new(1).err();
        let gone = rooms.pop().map(|room| room.address());
        let again = Room::new(1).map(|room| room.address()).ok();
        drop(rooms);
        assert_eq!(full, ARENA_BYTES);
        assert_eq!(refused, Some(ENOSPC));
        assert!(gone.is_some());
        assert_eq!(gone, again);
        // More than there is at all.
        let refused = Room::new(ARENA_BYTES + 1).err();
        assert_eq!(refused, Some(ENOSPC));
        Ok(())
    }

    #[test]
    fn code_that_is_too_long_for_its_room_is_refused() -> Result {
        let bytes = KVec::from_elem(TRAP, SLOT_BYTES + 1, GFP_KERNEL)?;
        let before = text::used_bytes();
        let refused = Room::new(SLOT_BYTES)?.write(&bytes).err();
        assert_eq!(refused, Some(EINVAL));
        assert_eq!(text::used_bytes(), before);
        Ok(())
    }

    #[test]
    fn code_that_gives_what_scalar_code_gives_is_told_from_code_that_does_not() -> Result {
        let (right, weights) = chain(130)?;
        let (wrong, others) = chain(131)?;
        let same = passes((&right, &weights), (&right, &weights))?;
        let other = passes((&right, &weights), (&wrong, &others))?;
        assert!(same);
        assert!(!other);
        Ok(())
    }

    #[test]
    fn code_for_a_product_of_numbers_is_told_from_code_for_another_one() -> Result {
        for shape in [[1, 70, 33], [5, 40, 20]] {
            let (right, weights) = product(shape)?;
            let same = passes((&right, &weights), (&right, &weights))?;
            let (mut wrong, _) = product(shape)?;
            if let Work::GemmF32 { gemm, .. } = &mut wrong {
                gemm.limit = Limit::None;
            }
            let other = passes((&wrong, &weights), (&right, &weights))?;
            assert!(same);
            assert!(!other);
        }
        Ok(())
    }

    #[test]
    fn code_is_found_in_its_place_while_it_is_published() -> Result {
        let (work, weights) = chain(130)?;
        let Work::ChainI8 { layers, .. } = &work else {
            return Err(EINVAL);
        };
        let layers = weights.get(layers.clone()).ok_or(EINVAL)?;
        let before = text::used_bytes();
        let descriptor = work.descriptor(&weights).ok_or(EINVAL)?;
        let place = Arc::new(Place::new(&descriptor)?, GFP_KERNEL)?;
        let (mut y, mut temp) = ([0u8; 5], [0u8; 512]);
        let mut found = || {
            let mut chain = Chain {
                layers,
                weights: &weights,
                x: &[0; 20],
                y: &mut y,
                flip: true,
                temp: &mut temp,
                width: 256,
            };
            FpuGuard::new().map(|section| place.run(&section, &mut Call::ChainI8(&mut chain)))
        };
        let first = found();
        let published = Published::new(place.clone(), code(&work, &weights)?)?;
        let second = found();
        let twice = Published::new(place.clone(), code(&work, &weights)?).err();
        drop(published);
        let third = found();
        assert_eq!(first, Some(false));
        assert_eq!(second, Some(true));
        assert_eq!(twice, Some(EBUSY));
        assert_eq!(third, Some(false));
        assert_eq!(place.calls(), 1);
        assert_eq!(text::used_bytes(), before);
        Ok(())
    }
}
