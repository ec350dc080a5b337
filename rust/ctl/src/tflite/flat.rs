// SPDX-License-Identifier: GPL-2.0

//! FlatBuffers, read without trust: every offset, size and count is checked where it is used.
//!
//! The format: a table begins with the signed distance back to its list of fields, which holds its
//! own size, the size of the table, and for each field its place in the table, 0 where it has its
//! default. A number stands in the table; a vector, string or table elsewhere, with the distance
//! to it in the table. All numbers are little-endian. Things may be shared, so that a short file can
//! describe much: what is taken out is counted, see [`Flat::new`].

use std::cell::Cell;

use crate::error::{Error, Result};

/// The bytes of a FlatBuffer.
pub(super) struct Flat<'a> {
    bytes: &'a [u8],
    left: Cell<usize>,
}

/// A table in it.
#[derive(Clone, Copy)]
pub(super) struct Table<'f, 'a> {
    flat: &'f Flat<'a>,
    at: usize,
    bytes: usize,
    fields: &'a [u8],
}

/// A number that stands in a table or a vector.
pub(super) trait Number: Sized {
    /// From the bytes at the front, if there are enough.
    fn read(bytes: &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($t:ty),*) => {
        $(impl Number for $t {
            fn read(bytes: &[u8]) -> Option<Self> {
                bytes.first_chunk().map(|b| Self::from_le_bytes(*b))
            }
        })*
    };
}
numbers!(u8, i8, u16, i32, u32, u64, i64, f32);

fn bad(what: &str, why: &str) -> Error {
    Error::refused(what, why)
}

impl<'a> Flat<'a> {
    /// Takes a file; elements of vectors that are taken out are limited by its size.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let left = bytes.len().saturating_mul(2).saturating_add(1024);
        Self {
            bytes,
            left: Cell::new(left),
        }
    }

    /// The first table of a file of the kind `id`.
    pub(super) fn root(&self, id: &[u8; 4]) -> Result<Table<'_, 'a>> {
        if self.bytes.get(4..8) != Some(id) {
            let id = String::from_utf8_lossy(id);
            return Err(bad(
                "file",
                &format!("does not say {id} in its bytes 4 to 7"),
            ));
        }
        self.table(self.target(0, "root")?, "root")
    }

    fn number<T: Number>(&self, at: usize, what: &str) -> Result<T> {
        let bytes = self.bytes.get(at..).and_then(T::read);
        bytes.ok_or_else(|| bad(what, "lies beyond the end of the file"))
    }

    /// What the distance at `at` leads to.
    fn target(&self, at: usize, what: &str) -> Result<usize> {
        let distance = self.number::<u32>(at, what)? as usize; // CAST: 64 bits
        match at.checked_add(distance) {
            Some(to) if distance != 0 && to < self.bytes.len() => Ok(to),
            _ => Err(bad(what, "lies beyond the end of the file")),
        }
    }

    fn table(&self, at: usize, what: &str) -> Result<Table<'_, 'a>> {
        let back = i64::from(self.number::<i32>(at, what)?);
        let list = i64::try_from(at).ok().and_then(|at| at.checked_sub(back));
        let list = list.and_then(|list| usize::try_from(list).ok());
        let list = list.ok_or_else(|| bad(what, "has its fields beyond the file"))?;
        let size = usize::from(self.number::<u16>(list, what)?);
        let fields = self.bytes.get(list..list.saturating_add(size));
        let bytes = usize::from(self.number::<u16>(list.saturating_add(2), what)?);
        match fields.and_then(|f| f.get(4..)) {
            Some(fields) if size % 2 == 0 && bytes >= 4 && self.bytes.len() - at >= bytes => {
                Ok(Table {
                    flat: self,
                    at,
                    bytes,
                    fields,
                })
            }
            _ => Err(bad(what, "is a damaged table")),
        }
    }

    fn vector(&self, at: usize, each: usize, what: &str) -> Result<(usize, &'a [u8])> {
        let count = self.number::<u32>(at, what)? as usize; // CAST: 64 bits
        let from = at.saturating_add(4);
        let bytes = count
            .checked_mul(each)
            .and_then(|n| self.bytes.get(from..from.checked_add(n)?));
        bytes.map(|bytes| (from, bytes)).ok_or_else(|| {
            bad(
                what,
                &format!("has {count} elements, more than the file holds"),
            )
        })
    }

    /// Counts elements that are copied.
    fn take(&self, count: usize, what: &str) -> Result<()> {
        match self.left.get().checked_sub(count) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(bad(what, "is used too many times for a file of this size")),
        }
    }
}

impl<'f, 'a> Table<'f, 'a> {
    /// Where a field of `size` bytes stands, if it is there.
    fn field(&self, id: usize, size: usize, what: &str) -> Result<Option<usize>> {
        let place = self.fields.get(id.saturating_mul(2)..).and_then(u16::read);
        match place.map(usize::from) {
            None | Some(0) => Ok(None),
            Some(place) if place >= 4 && place.saturating_add(size) <= self.bytes => {
                Ok(Some(self.at.saturating_add(place)))
            }
            Some(_) => Err(bad(what, "lies beyond its table")),
        }
    }

    /// A number, or its default.
    pub(super) fn number<T: Number>(&self, id: usize, default: T, what: &str) -> Result<T> {
        match self.field(id, size_of::<T>(), what)? {
            Some(at) => self.flat.number(at, what),
            None => Ok(default),
        }
    }

    /// Whether something is so; the default is that it is not.
    pub(super) fn flag(&self, id: usize, what: &str) -> Result<bool> {
        match self.number(id, 0u8, what)? {
            0 => Ok(false),
            1 => Ok(true),
            n => Err(bad(what, &format!("is {n}, neither true nor false"))),
        }
    }

    fn target(&self, id: usize, what: &str) -> Result<Option<usize>> {
        match self.field(id, 4, what)? {
            Some(at) => self.flat.target(at, what).map(Some),
            None => Ok(None),
        }
    }

    /// Whether a field is there.
    pub(super) fn has(&self, id: usize, what: &str) -> Result<bool> {
        Ok(self.field(id, 1, what)?.is_some())
    }

    /// A table.
    pub(super) fn table(&self, id: usize, what: &str) -> Result<Option<Table<'f, 'a>>> {
        match self.target(id, what)? {
            Some(at) => self.flat.table(at, what).map(Some),
            None => Ok(None),
        }
    }

    /// Bytes, as they lie in the file; empty if they are not there.
    pub(super) fn bytes(&self, id: usize, what: &str) -> Result<&'a [u8]> {
        match self.target(id, what)? {
            Some(at) => Ok(self.flat.vector(at, 1, what)?.1),
            None => Ok(&[]),
        }
    }

    /// Text; what is no UTF-8 is replaced.
    pub(super) fn text(&self, id: usize, what: &str) -> Result<String> {
        let bytes = self.bytes(id, what)?;
        self.flat.take(bytes.len(), what)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A vector of numbers; empty if it is not there.
    pub(super) fn numbers<T: Number>(&self, id: usize, what: &str) -> Result<Vec<T>> {
        let Some(at) = self.target(id, what)? else {
            return Ok(Vec::new());
        };
        let size = size_of::<T>();
        let (_, bytes) = self.flat.vector(at, size, what)?;
        self.flat.take(bytes.len(), what)?;
        Ok(bytes.chunks_exact(size).filter_map(T::read).collect())
    }

    /// A vector of tables; empty if it is not there.
    pub(super) fn tables(&self, id: usize, what: &str) -> Result<Vec<Table<'f, 'a>>> {
        let Some(at) = self.target(id, what)? else {
            return Ok(Vec::new());
        };
        let (from, bytes) = self.flat.vector(at, 4, what)?;
        self.flat.take(bytes.len(), what)?;
        (0..bytes.len() / 4)
            .map(|i| {
                let at = self.flat.target(from.saturating_add(4 * i), what)?;
                self.flat.table(at, what)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table with the fields: u8 7, nothing, the vector [1, 2] of i32.
    const FILE: &[u8] = &[
        20, 0, 0, 0, b'T', b'E', b'S', b'T', // root, kind
        0, 0, 10, 0, 12, 0, 4, 0, 0, 0, // fields at 10: their size, that of the table, places
        8, 0, // place of the vector
        10, 0, 0, 0, 7, 0, 0, 0, 4, 0, 0, 0, // table at 20
        2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, // vector at 32
    ];

    #[test]
    fn fields_are_found_and_defaults_given() {
        let flat = Flat::new(FILE);
        let root = flat.root(b"TEST").unwrap();
        assert_eq!(root.number(0, 0u8, "a").unwrap(), 7);
        assert_eq!(root.number(1, -5i32, "b").unwrap(), -5);
        assert_eq!(root.number(9, -5i32, "b").unwrap(), -5);
        assert_eq!(root.numbers::<i32>(2, "c").unwrap(), [1, 2]);
        assert!(root.numbers::<i32>(1, "b").unwrap().is_empty());
        assert!(root.has(0, "a").unwrap() && !root.has(1, "b").unwrap());
        assert!(flat.root(b"TFL3").is_err());
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_an_error_or_a_table() {
        let all = |bytes: &[u8]| -> Result<usize> {
            let flat = Flat::new(bytes);
            let root = flat.root(b"TEST")?;
            let mut seen = 0;
            for id in 0..4 {
                seen += usize::from(root.number(id, 0u8, "a").is_ok());
                seen += root.numbers::<i32>(id, "b").map_or(0, |v| v.len());
                seen += root.tables(id, "c").map_or(0, |v| v.len());
                seen += root.text(id, "d").map_or(0, |v| v.len());
            }
            Ok(seen)
        };
        assert!(all(FILE).unwrap() > 0);
        for end in 0..FILE.len() {
            let _ = all(&FILE[..end]);
        }
        for at in 0..FILE.len() {
            for value in 0..=255 {
                let mut file = FILE.to_vec();
                file[at] = value;
                let _ = all(&file);
            }
        }
    }

    #[test]
    fn what_is_shared_is_not_copied_without_end() {
        let flat = Flat::new(FILE);
        let root = flat.root(b"TEST").unwrap();
        let copies = (0..10_000).filter(|_| root.numbers::<i32>(2, "c").is_ok());
        assert!(copies.count() < 200);
    }
}
