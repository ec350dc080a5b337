// SPDX-License-Identifier: GPL-2.0

//! The `.gold` files of `tests/vectors/tflite`.

#![allow(dead_code)] // Each test uses a part of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/tflite")
}

pub(crate) fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|p| p.to_str().unwrap().ends_with(end))
        .collect();
    files.sort();
    files
}

/// An operator of a `.gold` file: its words, and the parameters that belong to it.
pub(crate) type GoldOp = (Vec<String>, BTreeMap<String, Vec<i32>>);

/// The text and the constants of a `.gold` file.
pub(crate) struct Gold {
    pub(crate) tensors: Vec<Vec<String>>,
    pub(crate) ops: Vec<GoldOp>,
    /// All numbers: the constants, then those of each run.
    pub(crate) data: Vec<u8>,
    pub(crate) runs: usize,
}

impl Gold {
    pub(crate) fn read(path: &Path) -> Self {
        let file = fs::read(path).unwrap();
        let end = file.windows(2).position(|w| w == b"\n\n").unwrap();
        let mut gold = Self {
            tensors: Vec::new(),
            ops: Vec::new(),
            data: file[end + 2..].to_vec(),
            runs: 0,
        };
        for line in std::str::from_utf8(&file[..end]).unwrap().lines() {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            match words[0].as_str() {
                "tensor" => gold.tensors.push(words),
                "op" => gold.ops.push((words, BTreeMap::new())),
                "param" => {
                    let values = words[2].split(',').map(|v| v.parse().unwrap()).collect();
                    let params = &mut gold.ops.last_mut().unwrap().1;
                    params.insert(words[1].clone(), values);
                }
                "runs" => gold.runs = words[1].parse().unwrap(),
                _ => (),
            }
        }
        gold
    }

    /// For each run the bytes of all tensors that have any, by their numbers.
    pub(crate) fn values(&self) -> Vec<BTreeMap<usize, Vec<u8>>> {
        let bytes = |words: &[String]| -> usize {
            let each = match words[2].as_str() {
                "i8" => 1,
                "i16" => 2,
                _ => 4,
            };
            let dims = words[3].split(',').map(|d| d.parse().unwrap_or(1));
            each * dims.product::<usize>()
        };
        let mut data = self.data.as_slice();
        let mut take = |roles: &[&str]| -> BTreeMap<usize, Vec<u8>> {
            let all = self.tensors.iter().enumerate();
            let wanted = all.filter(|(_, words)| roles.contains(&words[4].as_str()));
            wanted
                .map(|(i, words)| {
                    let (this, rest) = data.split_at(bytes(words));
                    data = rest;
                    (i, this.to_vec())
                })
                .collect()
        };
        take(&["const"]);
        let runs = (0..self.runs).map(|_| take(&["input", "inner", "output"]));
        let runs = runs.collect();
        assert!(data.is_empty(), "{} bytes are left", data.len());
        runs
    }
}

pub(crate) fn option<'a>(words: &'a [String], key: &str) -> Option<&'a str> {
    words
        .iter()
        .find_map(|w| w.strip_prefix(key)?.strip_prefix('='))
}

pub(crate) fn indices(text: &str) -> Vec<Option<usize>> {
    text.split(',').map(|i| i.parse().ok()).collect()
}
