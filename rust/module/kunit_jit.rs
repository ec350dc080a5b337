// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of generated code: the arena in the module's text, and what is done before code is used.

use core::sync::atomic::Ordering::Relaxed;

use kernel::{
    prelude::*,
    sync::Arc, //
};
use neural_core::int8::Chain;
use neural_jit::Descriptor;

use crate::{
    jit::{
        self,
        verify::Trial, //
    },
    sys::fpu::FpuGuard,
    sys::text::{
        self,
        ChainCode,
        Draft,
        Place,
        Published,
        Room,
        ARENA_BYTES,
        SLOT_BYTES,
        TRAP, //
    }, //
};

/// Constants of a chain of two dense layers, and its layers with this zero point at the end.
fn chain(zero: i32) -> Result<(KVVec<u8>, KVVec<u8>)> {
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
    Ok((layers, weights))
}

/// Code for such a chain.
fn code(layers: &[u8], weights: &[u8]) -> Result<ChainCode> {
    let (way, isa) = jit::ground().ok_or(EOPNOTSUPP)?;
    let descriptor = Descriptor::chain_i8(layers, weights, true).ok_or(EINVAL)?;
    let draft = Draft::new(descriptor, isa, way);
    draft.and_then(|mut draft| draft.write()).map_err(|why| {
        pr_err!("no code: {why:?}\n");
        EINVAL
    })
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
        let (layers, weights) = chain(130)?;
        let (others, _) = chain(131)?;
        let code = code(&layers, &weights)?;
        let right = Trial::new(&layers, true, &weights)?.compare(&code)?;
        let wrong = Trial::new(&others, true, &weights)?.compare(&code)?;
        assert!(right);
        assert!(!wrong);
        Ok(())
    }

    #[test]
    fn code_is_found_in_its_place_while_it_is_published() -> Result {
        let (layers, weights) = chain(130)?;
        let before = text::used_bytes();
        let descriptor = Descriptor::chain_i8(&layers, &weights, true).ok_or(EINVAL)?;
        let place = Arc::new(Place::new(&descriptor).ok_or(EINVAL)?, GFP_KERNEL)?;
        let (mut y, mut temp) = ([0u8; 5], [0u8; 512]);
        let mut found = || {
            let mut chain = Chain {
                layers: &layers,
                weights: &weights,
                x: &[0; 20],
                y: &mut y,
                flip: true,
                temp: &mut temp,
                width: 256,
            };
            FpuGuard::new().map(|section| place.run(&section, &mut chain))
        };
        let first = found();
        let published = Published::new(place.clone(), code(&layers, &weights)?)?;
        let second = found();
        let twice = Published::new(place.clone(), code(&layers, &weights)?).err();
        drop(published);
        let third = found();
        assert_eq!(first, Some(false));
        assert_eq!(second, Some(true));
        assert_eq!(twice, Some(EBUSY));
        assert_eq!(third, Some(false));
        assert_eq!(text::used_bytes(), before);
        Ok(())
    }
}
