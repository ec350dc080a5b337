// SPDX-License-Identifier: GPL-2.0

//! Names of networks.
//!
//! They become file names (debugfs, firmware) and stand in logs, so they are narrow: 1 to 31 of
//! `A-Z a-z 0-9 _ . -`, and neither `.` nor `-` first.

use crate::error::{Error, NameFault};

/// Bytes of a name field, with at least one NUL at its end.
pub const FIELD_BYTES: usize = 32;

/// Checks a name without its NUL.
pub fn check(name: &[u8]) -> Result<&str, Error> {
    if name.is_empty() {
        return Err(Error::Name(NameFault::Empty));
    }
    if name.len() >= FIELD_BYTES {
        return Err(Error::Name(NameFault::TooLong));
    }
    for (at, &byte) in (0..u32::MAX).zip(name) {
        let allowed = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' => true,
            b'.' | b'-' => at > 0,
            _ => false,
        };
        if !allowed {
            return Err(Error::Name(NameFault::Byte { at, byte }));
        }
    }
    core::str::from_utf8(name).map_err(|_| Error::Name(NameFault::Empty))
}

/// Takes the name out of a field that is padded with NULs. An empty field is an error, and so is
/// anything but NUL after the first NUL.
pub fn from_field(field: &[u8; FIELD_BYTES]) -> Result<&str, Error> {
    let len = field
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(FIELD_BYTES);
    let name = check(field.get(..len).unwrap_or(field))?;
    let padding = (0..u32::MAX)
        .zip(field)
        .find(|&(at, &byte)| at as usize > len && byte != 0);
    match padding {
        Some((at, &byte)) => Err(Error::Name(NameFault::Byte { at, byte })),
        None => Ok(name),
    }
}
