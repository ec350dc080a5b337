// SPDX-License-Identifier: GPL-2.0

//! The shape of the value that runs through the network: which of its numbers are one sample.
//!
//! Axis 0 counts samples wherever there are two axes or more. A file may leave axes, or the whole
//! shape, open; then the first layer says how many numbers a sample has.

/// Length of an axis; `None` where the file leaves it open.
pub(crate) type Axis = Option<usize>;

/// Lengths of the axes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shape(pub(crate) Vec<Axis>);

fn product(axes: &[Axis]) -> Axis {
    axes.iter().try_fold(1usize, |n, d| n.checked_mul((*d)?))
}

impl Shape {
    /// Makes sure that each sample is one row of `width` numbers, along the last axis.
    pub(crate) fn rows_of(&self, width: usize) -> Result<(), String> {
        let fits = match self.0.split_last() {
            None => false,
            Some((last, [])) => *last == Some(width),
            Some((last, before)) => {
                let single = before.iter().skip(1).all(|d| *d == Some(1));
                if !single {
                    return Err(format!(
                        "its input of shape {self} has several rows a sample"
                    ));
                }
                last.is_none_or(|n| n == width)
            }
        };
        if fits {
            Ok(())
        } else {
            Err(format!(
                "its input has shape {self}, it wants rows of {width} numbers"
            ))
        }
    }

    /// The same shape with another last axis.
    pub(crate) fn with_last(&self, width: usize) -> Self {
        let mut axes = self.0.clone();
        if let Some(last) = axes.last_mut() {
            *last = Some(width);
        }
        Self(axes)
    }

    /// ONNX Flatten: the axes before `axis` become one, those from it on another.
    pub(crate) fn flatten(&self, axis: i64) -> Result<Self, String> {
        let rank = self.0.len();
        let at = axis_of(axis, rank, true)?;
        let (left, right) = self
            .0
            .split_at_checked(at)
            .ok_or_else(|| format!("axis {axis} is not in shape {self}"))?;
        let samples = match left.split_first() {
            // All becomes one row: only right when there is one sample.
            None if rank < 2 || self.0.first() == Some(&Some(1)) => Some(1),
            Some((first, rest)) if rank > 1 && rest.iter().all(|d| *d == Some(1)) => *first,
            _ => {
                return Err(format!(
                    "axis {axis} of shape {self} mixes samples and their numbers"
                ))
            }
        };
        let each = product(right);
        if each.is_none() && right.len() > 1 {
            return Err(format!("its input of shape {self} has axes of open length"));
        }
        Ok(Self(vec![samples, each]))
    }

    /// ONNX Reshape to `target`, as long as no number moves to another sample.
    pub(crate) fn reshape(&self, target: &[i64], zero_is_zero: bool) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("reshape from {self} to {target:?} {why}"));
        // A vector is one sample.
        let (samples, each) = match self.0.as_slice() {
            [] => return refused("starts from a single number"),
            [n] => (Some(1), *n),
            [first, rest @ ..] => (*first, product(rest)),
        };
        let mut axes: Vec<Axis> = Vec::new();
        let mut open = None;
        for (i, t) in target.iter().enumerate() {
            axes.push(match t {
                0 if zero_is_zero => return refused("makes an empty axis"),
                0 => match self.0.get(i) {
                    Some(d) => *d,
                    None => return refused("keeps an axis that is not there"),
                },
                -1 if open.is_some() => return refused("leaves two axes open"),
                -1 => {
                    open = Some(i);
                    None
                }
                t => match usize::try_from(*t) {
                    Ok(t) => Some(t),
                    Err(_) => return refused("has an axis of negative length"),
                },
            });
        }
        if samples == Some(1) {
            // A single sample may take any shape that does not look like several.
            return match (fill_open(&mut axes, open, each), axes.as_slice()) {
                (_, []) => refused("makes a single number"),
                (true, [n]) if *n == each => Ok(Self(axes)),
                (true, [Some(1), rest @ ..]) if product(rest) == each => Ok(Self(axes)),
                (true, all) if product(all) == each => refused("splits a sample"),
                _ => refused("changes how many numbers there are"),
            };
        }
        let Some((first, rest)) = axes.split_first_mut() else {
            return refused("makes a single number");
        };
        if open == Some(0) || target.first() == Some(&0) || first.is_some() && *first == samples {
            *first = samples;
        } else if samples.is_none() && *first == Some(1) && open.is_none() && product(rest) == each
        {
            // An open number of samples, written as the 1 that the file was exported with.
            *first = samples;
        } else {
            return refused("mixes samples");
        }
        if let Some(i) = open.and_then(|i| i.checked_sub(1)) {
            if !fill_open(rest, Some(i), each) {
                return refused("does not come out even");
            }
        }
        match (product(rest), each) {
            (Some(now), Some(before)) if now != before => {
                refused("changes how many numbers a sample has")
            }
            (None, before) if before.is_some() || self.0.len() > 2 => {
                refused("leaves the size of a sample open")
            }
            _ => Ok(Self(axes)),
        }
    }

    /// Makes sure that a softmax along `axis` is one over all `width` numbers of a sample.
    pub(crate) fn softmax(&self, axis: i64, width: usize, to_the_end: bool) -> Result<(), String> {
        self.rows_of(width)?;
        let rank = self.0.len();
        let at = axis_of(axis, rank, false)?;
        // Before version 13 all axes from the given one on were normalised together.
        let last = at + 1 == rank || to_the_end && at > 0;
        if last {
            Ok(())
        } else {
            Err(format!(
                "softmax along axis {axis} of shape {self} is not along a sample"
            ))
        }
    }
}

/// Counts an axis from the front; `end` allows the one after the last.
pub(super) fn axis_of(axis: i64, rank: usize, end: bool) -> Result<usize, String> {
    let from_front = if axis < 0 {
        i64::try_from(rank).ok().and_then(|r| r.checked_add(axis))
    } else {
        Some(axis)
    };
    from_front
        .and_then(|a| usize::try_from(a).ok())
        .filter(|a| *a < rank + usize::from(end))
        .ok_or_else(|| format!("axis {axis} does not exist in {rank} axes"))
}

/// Gives the open axis the length that makes `total`; false when there is none.
fn fill_open(axes: &mut [Axis], open: Option<usize>, total: Axis) -> bool {
    let Some(open) = open else { return true };
    let others = axes
        .iter()
        .enumerate()
        .filter(|(i, _)| *i != open)
        .try_fold(1usize, |n, (_, d)| n.checked_mul((*d)?));
    let length = match (total, others) {
        (Some(total), Some(others)) if others > 0 && total % others == 0 => Some(total / others),
        (None, Some(1)) => None,
        _ => return false,
    };
    if let Some(axis) = axes.get_mut(open) {
        *axis = length;
    }
    true
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let axes: Vec<String> = self
            .0
            .iter()
            .map(|d| d.map_or("?".to_owned(), |d| d.to_string()))
            .collect();
        write!(f, "[{}]", axes.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(axes: &[i64]) -> Shape {
        Shape(axes.iter().map(|d| usize::try_from(*d).ok()).collect())
    }

    #[test]
    fn reshapes_that_keep_samples_apart_are_followed() {
        for (from, to, gives) in [
            (&[-1i64, 1, 8, 8][..], &[-1i64, 64][..], &[-1i64, 64][..]),
            (&[-1, 1, 8, 8], &[0, -1], &[-1, 64]),
            (&[-1, 1, 8, 8], &[1, 64], &[-1, 64]),
            (&[-1, 64], &[-1, 8, 8], &[-1, 8, 8]),
            (&[32, 8, 8], &[32, -1], &[32, 64]),
            (&[1, 8, 8], &[64], &[64]),
            (&[1, 8, 8], &[-1], &[64]),
            (&[1, 8, 8], &[1, -1], &[1, 64]),
            (&[64], &[1, 64], &[1, 64]),
            (&[64], &[1, -1], &[1, 64]),
            (&[64], &[1, 8, -1], &[1, 8, 8]),
            (&[-1, -1], &[0, -1], &[-1, -1]),
        ] {
            assert_eq!(
                shape(from).reshape(to, false),
                Ok(shape(gives)),
                "{from:?} {to:?}"
            );
        }
    }

    #[test]
    fn reshapes_that_mix_samples_are_refused() {
        for (from, to, why) in [
            (&[-1i64, 8, 8][..], &[1i64, -1][..], "mixes samples"),
            (&[-1, 8, 8], &[-1, 8], "a sample has"),
            (&[-1, 8, 8], &[-1], "a sample has"),
            (&[-1, 8, 8], &[64], "mixes samples"),
            (&[32, 64], &[16, 128], "mixes samples"),
            (&[-1, 64], &[0, 5, -1], "come out even"),
            (&[-1, 64], &[-1, -1], "two axes"),
            (&[-1, 64], &[-1, -7], "negative"),
            (&[-1, 64], &[0, 64, 0], "not there"),
            (&[-1, 64], &[], "single number"),
            (&[1, 64], &[63], "how many numbers"),
            (&[-1, -1, 8], &[0, -1], "open"),
            (&[1, 8, 8], &[8, 8], "splits a sample"),
            (&[64], &[-1, 8], "splits a sample"),
            (&[32, 64], &[-1], "a sample has"),
        ] {
            let e = shape(from).reshape(to, false).unwrap_err();
            assert!(e.contains(why), "{from:?} {to:?}: {e}");
        }
        assert!(shape(&[1, 64])
            .reshape(&[0, 64], true)
            .unwrap_err()
            .contains("empty"));
    }

    #[test]
    fn flatten_keeps_samples_apart() {
        assert_eq!(shape(&[-1, 8, 8]).flatten(1), Ok(shape(&[-1, 64])));
        assert_eq!(shape(&[-1, 1, 64]).flatten(2), Ok(shape(&[-1, 64])));
        assert_eq!(shape(&[-1, 1, 64]).flatten(-1), Ok(shape(&[-1, 64])));
        assert_eq!(shape(&[1, 8, 8]).flatten(0), Ok(shape(&[1, 64])));
        assert_eq!(shape(&[64]).flatten(0), Ok(shape(&[1, 64])));
        assert_eq!(shape(&[-1, -1]).flatten(1), Ok(shape(&[-1, -1])));
        assert!(shape(&[-1, -1, 8]).flatten(1).is_err());
        assert!(shape(&[-1, 8, 8]).flatten(0).is_err());
        assert!(shape(&[-1, 8, 8]).flatten(2).is_err());
        assert!(shape(&[-1, 8, 8]).flatten(4).is_err());
        assert!(shape(&[64]).flatten(1).is_err());
        assert!(shape(&[-1, 8]).flatten(i64::MIN).is_err());
    }

    #[test]
    fn rows_are_along_the_last_axis() {
        for good in [&[-1i64, 4][..], &[7, 4], &[-1, 1, 4], &[4], &[-1, -1]] {
            assert!(shape(good).rows_of(4).is_ok(), "{good:?}");
        }
        for bad in [&[-1i64, 5][..], &[4, 1], &[-1, 2, 4], &[-1], &[], &[5]] {
            assert!(shape(bad).rows_of(4).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn softmax_is_along_a_sample() {
        assert!(shape(&[-1, 4]).softmax(-1, 4, false).is_ok());
        assert!(shape(&[-1, 4]).softmax(1, 4, false).is_ok());
        assert!(shape(&[-1, 4]).softmax(0, 4, false).is_err());
        assert!(shape(&[-1, 4]).softmax(0, 4, true).is_err());
        assert!(shape(&[-1, 4]).softmax(2, 4, false).is_err());
        assert!(shape(&[-1, 1, 4]).softmax(1, 4, true).is_ok());
        assert!(shape(&[-1, 1, 4]).softmax(1, 4, false).is_err());
        assert!(shape(&[-1, 2, 2]).softmax(-1, 4, false).is_err());
        assert!(shape(&[4]).softmax(0, 4, false).is_ok());
    }
}
