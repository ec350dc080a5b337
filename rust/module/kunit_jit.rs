// SPDX-License-Identifier: GPL-2.0

//! KUnit suite of generated code: the arena in the module's text.

use kernel::prelude::*;

use crate::{
    jit,
    sys::text::{
        self,
        Room,
        ARENA_BYTES,
        SLOT_BYTES,
        TRAP, //
    }, //
};

#[kunit_tests(neural_jit)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_arena() {
        assert!(jit::way().is_some());
    }

    #[test]
    fn code_stands_in_the_arena_as_written_until_it_is_dropped() -> Result {
        let before = text::used_bytes();
        let room = Room::new(SLOT_BYTES + 1)?;
        let way = jit::way().ok_or(EOPNOTSUPP)?;
        let bytes = way.function(room.address(), 1).ok_or(ERANGE)?;
        let place = room.address();
        assert_eq!(text::used_bytes(), before + 2 * SLOT_BYTES);
        let code = room.write(&bytes)?;
        assert_eq!(code.entry().addr(), place);
        assert!(code.bytes() == bytes);
        drop(code);
        assert_eq!(text::used_bytes(), before);
        // The same slots again, in which nothing is left.
        let room = Room::new(SLOT_BYTES + 1)?;
        assert_eq!(room.address(), place);
        let code = room.write(&[TRAP])?;
        assert!(code.slots().iter().all(|&byte| byte == TRAP));
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
}
