// SPDX-License-Identifier: GPL-2.0

//! The one error of the program: what was attempted, why it failed, and the exit status.

use std::fmt;
use std::io;

use nix::errno::Errno;

/// What kind of failure it was; decides the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file, a value or a request was refused, or the work failed: status 1.
    Refused,
    /// The command line is wrong: status 2.
    Usage,
    /// The device cannot be opened: status 3.
    Device,
    /// The reader of our output went away: status 0, in silence.
    Pipe,
}

/// A failure, shown as one line `what: why (ERRNO)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: Kind,
    what: String,
    why: String,
    errno: Option<Errno>,
}

/// The result of everything that can fail here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// `what` was refused because of `why`.
    ///
    /// Lines of the kernel begin with the word for what was asked, which is not said twice.
    pub fn refused(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        let (what, why) = (what.to_string(), why.to_string());
        Self {
            kind: Kind::Refused,
            what: one_line(&what),
            why: one_line(after(&why, &what).unwrap_or(&why)),
            errno: None,
        }
    }

    /// The command line asks for something that makes no sense.
    pub fn usage(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self {
            kind: Kind::Usage,
            ..Self::refused(what, why)
        }
    }

    /// A system call on `what` failed with `errno`; `why` is the reason that came with it, if any.
    pub fn errno(what: impl fmt::Display, why: &str, errno: Errno) -> Self {
        let why = if why.is_empty() { errno.desc() } else { why };
        Self {
            errno: Some(errno),
            ..Self::refused(what, why)
        }
    }

    /// The device at `path` cannot be opened.
    pub fn device(path: impl fmt::Display, why: &str, errno: Errno) -> Self {
        Self {
            kind: Kind::Device,
            ..Self::errno(path, why, errno)
        }
    }

    /// Reading or writing `what` failed.
    pub fn io(what: impl fmt::Display, e: &io::Error) -> Self {
        match e.raw_os_error() {
            _ if e.kind() == io::ErrorKind::BrokenPipe => Self {
                kind: Kind::Pipe,
                ..Self::refused(what, "nobody reads the output")
            },
            Some(n) => Self::errno(what, "", Errno::from_raw(n)),
            None => Self::refused(what, e),
        }
    }

    /// The kind of failure.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The error number of the system call that failed, if one did.
    pub fn number(&self) -> Option<Errno> {
        self.errno
    }

    /// The exit status of the program.
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Refused => 1,
            Kind::Usage => 2,
            Kind::Device => 3,
            Kind::Pipe => 0,
        }
    }

    /// The same failure, seen from `outer`, of which it was a part.
    #[must_use]
    pub fn within(mut self, outer: impl fmt::Display) -> Self {
        let outer = one_line(&outer.to_string());
        if self.what != outer && after(&self.what, &outer).is_none() {
            self.what = format!("{outer}: {}", self.what);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.why)?;
        match self.errno {
            Some(n) => write!(f, " ({n:?})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// The line, as the reason of another error.
impl From<Error> for String {
    fn from(e: Error) -> Self {
        e.to_string()
    }
}

/// What stands in `line` after `word` and a colon, if it begins with them.
fn after<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.strip_prefix(word)?.strip_prefix(": ")
}

/// Names out of a hostile file must not break the line or drive the terminal.
fn one_line(s: &str) -> String {
    const MAX: usize = 400;
    let mut line = String::with_capacity(s.len().min(MAX));
    for c in s.chars() {
        if line.len() >= MAX {
            line.push_str("...");
            break;
        }
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_what_why_and_errno() {
        let e = Error::errno("load", "model: bad magic", Errno::EINVAL).within("x.nnm");
        assert_eq!(e.to_string(), "x.nnm: load: model: bad magic (EINVAL)");
        assert_eq!(e.status(), 1);
        let e = Error::errno("load", "", Errno::ENOMEM);
        assert!(e.to_string().ends_with(" (ENOMEM)"));
        assert!(e.to_string().len() > "load:  (ENOMEM)".len());
    }

    #[test]
    fn no_word_is_said_twice() {
        let e = Error::errno("config", "config: 'speed' is no key", Errno::EINVAL);
        assert_eq!(e.to_string(), "config: 'speed' is no key (EINVAL)");
        let e = Error::errno("predict", "predict: no CPU", Errno::ENXIO).within("digits");
        assert_eq!(e.to_string(), "digits: predict: no CPU (ENXIO)");
        assert_eq!(e.clone().within("digits").to_string(), e.to_string());
        let e = Error::refused("x.csv", "is empty").within("x.csv");
        assert_eq!(e.to_string(), "x.csv: is empty");
        // A word that only begins like it stays.
        let e = Error::refused("model", "models: none").within("mod");
        assert_eq!(e.to_string(), "mod: model: models: none");
    }

    #[test]
    fn status_follows_the_kind() {
        assert_eq!(Error::usage("a", "b").status(), 2);
        assert_eq!(Error::device("/dev/x", "", Errno::ENOENT).status(), 3);
        let pipe = io::Error::from_raw_os_error(Errno::EPIPE as i32);
        assert_eq!(Error::io("stdout", &pipe).status(), 0);
    }

    #[test]
    fn a_hostile_name_stays_on_one_short_line() {
        let e = Error::refused("a\nb\x1b[2J", "x".repeat(5000));
        let line = e.to_string();
        assert!(line.starts_with("a\\nb\\u{1b}[2J: "));
        assert!(line.len() < 900);
    }
}
