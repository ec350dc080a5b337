// SPDX-License-Identifier: GPL-2.0

//! Empties the caches of a CPU by filling them with something else.

use std::fs;
use std::hint::black_box;

/// Bytes of a cache line.
const LINE: usize = 64;

/// What is taken for the size of the largest cache where the system does not say.
const LARGEST: usize = 32 << 20;

/// A buffer twice as large as the largest cache.
pub struct Flood(Vec<u8>);

/// Bytes of a cache of the first CPU, as the system says: level 1 for data, 2, 3.
pub fn bytes(level: u32) -> Option<usize> {
    (0..8).find_map(|index| {
        let read = |name: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
            fs::read_to_string(path).ok()
        };
        let this = read("level")?.trim() == level.to_string();
        if !this || read("type")?.trim() == "Instruction" {
            return None;
        }
        let size = read("size")?;
        let (number, unit) = size.trim().split_at_checked(size.trim().len() - 1)?;
        let factor = match unit {
            "K" => 1 << 10,
            "M" => 1 << 20,
            _ => return None,
        };
        number.parse::<usize>().ok()?.checked_mul(factor)
    })
}

impl Flood {
    /// Finds out how large it has to be.
    pub fn new() -> Self {
        let largest = bytes(3).or(bytes(2)).unwrap_or(LARGEST);
        Flood(vec![1; 2 * largest])
    }

    /// Changes every line of the buffer.
    pub fn run(&mut self) {
        for line in self.0.chunks_exact_mut(LINE) {
            line[0] = line[0].wrapping_add(1);
        }
        black_box(&mut self.0);
    }
}

impl Default for Flood {
    fn default() -> Self {
        Self::new()
    }
}
