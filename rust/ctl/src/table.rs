// SPDX-License-Identifier: GPL-2.0

//! Samples, labels and references from CSV or `.npy`, and the way from floats to Q16.16.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::{Error, Result};
use crate::npy;

/// Elements of Q16.16 per unit.
pub const SCALE: f64 = 65536.0;
/// The smallest value that Q16.16 holds.
pub const MIN: f64 = -32768.0;
/// The largest value that Q16.16 holds.
pub const MAX: f64 = 32768.0 - 1.0 / SCALE;

/// The element nearest to `x`, or `None` where Q16.16 has none.
pub fn to_q16(x: f64) -> Option<i32> {
    let scaled = (x * SCALE).round();
    // CAST: checked to be in range; NaN fails the check.
    (scaled >= f64::from(i32::MIN) && scaled <= f64::from(i32::MAX)).then_some(scaled as i32)
}

/// The value of an element.
pub fn from_q16(q: i32) -> f64 {
    f64::from(q) / SCALE
}

/// The index of the largest value; the first one of several, 0 for none.
pub fn argmax<T: PartialOrd>(values: &[T]) -> usize {
    let mut best = 0;
    for (i, v) in values.iter().enumerate() {
        if values.get(best).is_some_and(|b| v > b) {
            best = i;
        }
    }
    best
}

/// Rows of numbers, all of one length.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Where they come from, for error lines.
    pub source: String,
    /// Number of rows.
    pub rows: usize,
    /// Numbers in a row.
    pub cols: usize,
    /// The numbers, row after row.
    pub values: Vec<f64>,
    /// The line of each row, where the file has lines.
    lines: Vec<u64>,
}

impl Table {
    /// Reads CSV or `.npy`, told apart by the content; `-` is standard input.
    pub fn read(path: &Path) -> Result<Self> {
        let source = path.display().to_string();
        let mut bytes = Vec::new();
        let done = if source == "-" {
            std::io::stdin().lock().read_to_end(&mut bytes)
        } else {
            File::open(path).and_then(|mut f| f.read_to_end(&mut bytes))
        };
        done.map_err(|e| Error::io(&source, &e))?;
        Self::parse(source, &bytes)
    }

    /// Reads CSV or `.npy` from memory.
    pub fn parse(source: impl Into<String>, bytes: &[u8]) -> Result<Self> {
        let source = source.into();
        let table = if npy::is_npy(bytes) {
            Self::from_npy(source, bytes)?
        } else {
            Self::from_csv(source, bytes)?
        };
        if table.rows == 0 || table.cols == 0 {
            return Err(Error::refused(&table.source, "holds no numbers"));
        }
        Ok(table)
    }

    fn from_npy(source: String, bytes: &[u8]) -> Result<Self> {
        let array = npy::parse(bytes).map_err(|why| Error::refused(&source, why))?;
        let (rows, cols) = match array.shape.split_first() {
            None => (1, 1),
            // Only an array without elements can have a product that is too large here.
            Some((rows, rest)) => (
                *rows,
                rest.iter()
                    .try_fold(1usize, |n, d| n.checked_mul(*d))
                    .unwrap_or(0),
            ),
        };
        Ok(Self {
            source,
            rows,
            cols,
            values: array.values,
            lines: Vec::new(),
        })
    }

    fn from_csv(source: String, bytes: &[u8]) -> Result<Self> {
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(bytes);
        let (mut values, mut lines, mut cols) = (Vec::new(), Vec::new(), None);
        let mut record = csv::ByteRecord::new();
        let mut first = true;
        while reader
            .read_byte_record(&mut record)
            .map_err(|e| Error::refused(&source, e))?
        {
            let line = record.position().map_or(0, csv::Position::line);
            // A first row without a single number is a row of titles.
            if std::mem::take(&mut first) && record.iter().all(|field| number(field).is_none()) {
                continue;
            }
            let row = lines.len() + 1;
            for (i, field) in record.iter().enumerate() {
                values.push(number(field).ok_or_else(|| {
                    let text = String::from_utf8_lossy(field);
                    let at = format!("row {row} (line {line}), column {}", i + 1);
                    Error::refused(&source, format!("{at}: '{text}' is no number"))
                })?);
            }
            let want = *cols.get_or_insert(record.len());
            if record.len() != want {
                let why = format!(
                    "row {row} (line {line}) has {} columns, the rows before it {want}",
                    record.len()
                );
                return Err(Error::refused(&source, why));
            }
            lines.push(line);
        }
        Ok(Self {
            source,
            rows: lines.len(),
            cols: cols.unwrap_or(0),
            values,
            lines,
        })
    }

    /// The rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f64]> + '_ {
        self.values.chunks_exact(self.cols.max(1))
    }

    /// Makes sure that a row has `cols` numbers; a single row of `.npy` may lack its outer axis.
    pub fn with_cols(mut self, cols: usize, of: &str) -> Result<Self> {
        if self.cols == 1 && cols != 1 && self.rows == cols && self.lines.is_empty() {
            (self.rows, self.cols) = (1, cols);
        }
        if self.cols == cols {
            return Ok(self);
        }
        let why = format!("has {} columns, {of} has {cols}", self.cols);
        Err(Error::refused(self.source, why))
    }

    /// All numbers as elements of `N` bytes; where there is none, row and column are named.
    pub fn map<const N: usize>(
        &self,
        why: &str,
        element: impl Fn(f64) -> Option<[u8; N]>,
    ) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(self.values.len().saturating_mul(N));
        for (i, v) in self.values.iter().enumerate() {
            let element = element(*v).ok_or_else(|| self.refuse(i, format!("{v} is {why}")))?;
            out.extend(element);
        }
        Ok(out)
    }

    /// What is wrong with number `i`.
    fn refuse(&self, i: usize, why: impl std::fmt::Display) -> Error {
        let (row, col) = (i / self.cols.max(1), i % self.cols.max(1));
        let line = self.lines.get(row);
        let line = line.map_or(String::new(), |l| format!(" (line {l})"));
        let at = format!("row {}{line}, column {}", row + 1, col + 1);
        Error::refused(&self.source, format!("{at}: {why}"))
    }

    /// All numbers in Q16.16; one outside its range is refused, naming row and column.
    pub fn quantise(&self) -> Result<Vec<i32>> {
        let mut out = Vec::with_capacity(self.values.len());
        for (i, v) in self.values.iter().enumerate() {
            let outside = || format!("{v} is outside the range {MIN}..{MAX:.5} of Q16.16");
            out.push(to_q16(*v).ok_or_else(|| self.refuse(i, outside()))?);
        }
        Ok(out)
    }

    /// The single column as class numbers.
    pub fn labels(self, rows: usize) -> Result<Vec<usize>> {
        if self.cols != 1 && self.rows != 1 {
            let why = format!("labels are one column, these are {}", self.cols);
            return Err(Error::refused(self.source, why));
        }
        if self.values.len() != rows {
            let why = format!("{} labels for {rows} samples", self.values.len());
            return Err(Error::refused(self.source, why));
        }
        let mut labels = Vec::with_capacity(rows);
        for (i, v) in self.values.iter().enumerate() {
            if v.fract() != 0.0 || !(0.0..=65535.0).contains(v) {
                let why = format!("row {}: {v} is no class number", i + 1);
                return Err(Error::refused(self.source, why));
            }
            labels.push(*v as usize); // CAST: an integer from 0 to 65535
        }
        Ok(labels)
    }
}

fn number(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Table> {
        Table::parse("t.csv", text.as_bytes())
    }

    #[test]
    fn q16_rounds_to_nearest_and_stops_at_its_ends() {
        assert_eq!(to_q16(1.0), Some(65536));
        assert_eq!(to_q16(1.0 / 65536.0 * 0.49), Some(0));
        assert_eq!(to_q16(-1.0 / 65536.0 * 0.51), Some(-1));
        assert_eq!(to_q16(MIN), Some(i32::MIN));
        assert_eq!(to_q16(MAX), Some(i32::MAX));
        assert_eq!(to_q16(MAX + 1.0 / SCALE), None);
        assert_eq!(to_q16(MIN - 1.0 / SCALE), None);
        assert_eq!(to_q16(f64::NAN), None);
        assert_eq!(to_q16(f64::INFINITY), None);
        assert_eq!(from_q16(i32::MIN), MIN);
        assert_eq!(from_q16(i32::MAX), MAX);
    }

    #[test]
    fn csv_with_titles_comments_and_blanks_is_read() {
        let t = csv("a, b\n# note\n 1, 2.5\n-3e0,4\n").unwrap();
        assert_eq!((t.rows, t.cols), (2, 2));
        assert_eq!(t.values, [1.0, 2.5, -3.0, 4.0]);
        assert_eq!(csv("1,2").unwrap().rows, 1);
    }

    #[test]
    fn a_bad_cell_is_named() {
        let e = csv("a,b\n1,2\n3,x\n").unwrap_err().to_string();
        assert_eq!(e, "t.csv: row 2 (line 3), column 2: 'x' is no number");
        let e = csv("1,y\n").unwrap_err().to_string();
        assert!(e.contains("row 1 (line 1), column 2"), "{e}");
        let e = csv("1,2\n3\n").unwrap_err().to_string();
        assert!(e.contains("row 2 (line 2) has 1 columns"), "{e}");
        assert!(csv("").is_err());
        assert!(csv("only,titles\n").is_err());
    }

    #[test]
    fn a_value_out_of_range_names_row_and_column() {
        let e = csv("t,u\n1,2\n3,40000\n")
            .unwrap()
            .quantise()
            .unwrap_err()
            .to_string();
        assert!(
            e.starts_with("t.csv: row 2 (line 3), column 2: 40000 is outside"),
            "{e}"
        );
        assert!(csv("1,nan\n")
            .unwrap()
            .quantise()
            .unwrap_err()
            .to_string()
            .contains("column 2"));
        assert_eq!(
            csv("1,-0.5\n").unwrap().quantise().unwrap(),
            [65536, -32768]
        );
    }

    #[test]
    fn columns_must_fit_the_network() {
        assert!(csv("1,2\n").unwrap().with_cols(2, "net").is_ok());
        let e = csv("1,2\n")
            .unwrap()
            .with_cols(3, "net")
            .unwrap_err()
            .to_string();
        assert_eq!(e, "t.csv: has 2 columns, net has 3");
        // Only a vector out of .npy is one row; a CSV column of the right length is not.
        assert!(csv("1\n2\n").unwrap().with_cols(2, "net").is_err());
    }

    #[test]
    fn labels_are_class_numbers() {
        assert_eq!(csv("3\n0\n").unwrap().labels(2).unwrap(), [3, 0]);
        assert!(csv("3\n0\n").unwrap().labels(3).is_err());
        for bad in ["1.5\n", "-1\n", "70000\n", "nan\n"] {
            assert!(csv(bad).unwrap().labels(1).is_err(), "{bad}");
        }
        assert!(csv("1,2\n3,4\n").unwrap().labels(4).is_err());
    }

    #[test]
    fn argmax_takes_the_first_of_equals() {
        assert_eq!(argmax(&[1, 3, 3, 2]), 1);
        assert_eq!(argmax::<i32>(&[]), 0);
    }
}
