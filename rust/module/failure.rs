// SPDX-License-Identifier: GPL-2.0

//! Why a request failed: an error number, the kind that statistics count, and one line for the
//! caller.

use kernel::{
    bindings,
    fmt::{
        self,
        Write, //
    },
    prelude::*, //
};
use neural_core::error::Class;

/// Longest line, in bytes (`NEURAL_MSG_LEN` without the NUL).
pub(crate) const LINE_LEN: usize = 159;

/// One line of text in fixed memory; what does not fit is cut.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    text: [u8; LINE_LEN],
    len: usize,
}

impl Line {
    /// An empty line.
    pub(crate) const EMPTY: Line = Line {
        text: [0; LINE_LEN],
        len: 0,
    };

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The text as bytes.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.len).unwrap_or(&[])
    }
}

impl Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            // The text is read by terminals: what is no printable ASCII is replaced.
            let c = if c == ' ' || c.is_ascii_graphic() {
                c
            } else {
                '?'
            };
            if let Some(place) = self.text.get_mut(self.len) {
                // CAST: ASCII.
                *place = c as u8;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// Kinds of errors that statistics count, `NEURAL_ERR_*` of the user ABI.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Wrong size, count or address.
    Input = 0,
    /// Too costly where the caller may not sleep, no allowed CPU within its reach, or single
    /// precision where vector code may not run.
    Context = 1,
    /// An allocation failed.
    Memory = 2,
    /// A model file was refused.
    Model = 3,
    /// A signal ended a long call.
    Interrupted = 4,
    /// A setting was refused.
    Config = 5,
}

/// Why a request failed.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// The error number.
    pub(crate) errno: Error,
    /// The kind that is counted.
    pub(crate) kind: Kind,
    /// The line.
    pub(crate) line: Line,
}

/// An error number that the kernel crate has no constant for.
pub(crate) fn errno(number: u32) -> Error {
    // CAST: Error numbers are below 4096.
    Error::from_errno(-(number as i32))
}

/// What requests return.
pub(crate) type Outcome<T = ()> = core::result::Result<T, Failure>;

impl Failure {
    /// A failure with a line made of `args`.
    #[cold]
    #[inline(never)]
    pub(crate) fn new(errno: Error, kind: Kind, args: fmt::Arguments<'_>) -> Self {
        let mut line = Line::EMPTY;
        // Writing a line cuts it and does not fail.
        let _ = line.write_fmt(args);
        Failure { errno, kind, line }
    }

    /// Memory for `what` could not be had.
    #[cold]
    #[inline(never)]
    pub(crate) fn memory(what: &str, bytes: usize) -> Self {
        Failure::new(
            ENOMEM,
            Kind::Memory,
            format_args!("memory: no {bytes} bytes for {what}"),
        )
    }

    /// What the pure code found wrong; `kind` says in which kind of request.
    #[cold]
    #[inline(never)]
    pub(crate) fn from_core(error: neural_core::error::Error, kind: Kind) -> Self {
        let class = error.class();
        let errno = match class {
            Class::Invalid => EINVAL,
            Class::TooBig => E2BIG,
            Class::Corrupt => errno(bindings::EBADMSG),
            Class::Version => errno(bindings::EPROTONOSUPPORT),
            Class::Unsupported | Class::NoVector => errno(bindings::EOPNOTSUPP),
            Class::Range => ERANGE,
            Class::Interrupted => EINTR,
        };
        let kind = match class {
            Class::Interrupted => Kind::Interrupted,
            Class::NoVector => Kind::Context,
            _ => kind,
        };
        Failure::new(errno, kind, format_args!("{error}"))
    }
}

/// `Failure::new` with a format string.
macro_rules! failure {
    ($errno:expr, $kind:ident, $($arg:tt)*) => {
        $crate::failure::Failure::new(
            $errno,
            $crate::failure::Kind::$kind,
            ::core::format_args!($($arg)*),
        )
    };
}
pub(crate) use failure;
