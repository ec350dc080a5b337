// SPDX-License-Identifier: GPL-2.0

//! Text of a user inside an error: short and safe to print, for an error is copied and shown in logs.

use core::fmt;

/// The beginning of some bytes of the user, safe to print: at most 24, each a graphic ASCII
/// character or `?`; a longer text ends in `...`.
#[derive(Copy, Clone, PartialEq, Eq)]
pub struct Text {
    bytes: [u8; Text::MAX],
    len: u8,
    cut: bool,
}

impl Text {
    const MAX: usize = 24;

    /// Takes the beginning of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        let mut text = Text {
            bytes: [0; Text::MAX],
            len: 0,
            cut: bytes.len() > Text::MAX,
        };
        for (to, &from) in text.bytes.iter_mut().zip(bytes) {
            *to = if from.is_ascii_graphic() { from } else { b'?' };
            text.len = text.len.saturating_add(1);
        }
        text
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.bytes.get(..usize::from(self.len)).unwrap_or(&[]);
        f.write_str(core::str::from_utf8(bytes).unwrap_or("?"))?;
        f.write_str(if self.cut { "..." } else { "" })
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
