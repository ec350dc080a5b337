// SPDX-License-Identifier: GPL-2.0

//! CRC-32C (Castagnoli), which model files carry.
//!
//! Eight bytes a step by eight tables that the compiler computes ("slicing by 8", Kounavis and Berry,
//! "A systematic approach to building high performance software-based CRC generators", 2005).

/// The polynomial 0x1edc6f41 with its bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `TABLES[k][b]`: the remainder of the byte `b` followed by `k` zero bytes.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        // CAST: below 256.
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ if crc & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[k - 1][byte];
            tables[k][byte] = (crc >> 8) ^ tables[0][(crc & 0xff) as usize];
            byte += 1;
        }
        k += 1;
    }
    tables
}

/// A checksum that is being computed.
#[derive(Copy, Clone)]
pub(crate) struct Crc32c(u32);

impl Crc32c {
    pub(crate) const fn new() -> Self {
        Crc32c(!0)
    }

    /// Goes on with `bytes`.
    pub(crate) fn update(mut self, bytes: &[u8]) -> Self {
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        let at = |table: &[u32; 256], byte: u8| table.get(usize::from(byte)).copied().unwrap_or(0);
        let chunks = bytes.chunks_exact(8);
        let rest = chunks.remainder();
        for chunk in chunks {
            if let &[a, b, c, d, e, f, g, h] = chunk {
                let [i, j, k, l] = self.0.to_le_bytes();
                self.0 = at(t7, a ^ i)
                    ^ at(t6, b ^ j)
                    ^ at(t5, c ^ k)
                    ^ at(t4, d ^ l)
                    ^ at(t3, e)
                    ^ at(t2, f)
                    ^ at(t1, g)
                    ^ at(t0, h);
            }
        }
        for &byte in rest {
            let [low, ..] = self.0.to_le_bytes();
            self.0 = (self.0 >> 8) ^ at(t0, low ^ byte);
        }
        self
    }

    pub(crate) const fn finish(self) -> u32 {
        !self.0
    }
}
