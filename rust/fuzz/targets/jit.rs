// SPDX-License-Identifier: GPL-2.0

//! Descriptors and code: any bytes as layers, emitted and checked; any bytes as code, checked.

#![no_main]

use libfuzzer_sys::fuzz_target;
use neural_jit::{check, emit, Descriptor, Exit, Facts, GemmF32, GemmI8, Isa, Limit, LAYERS};

/// Layers that fit each other, with numbers that are mostly in their ranges.
fn layers(data: &[u8]) -> Vec<u8> {
    let mut k = u32::from(data.first().copied().unwrap_or(1)).max(1);
    let mut layers = Vec::new();
    for bytes in data.chunks_exact(8).take(LAYERS) {
        let &[n, wide, zero, min, max, offset, table, bits] = bytes else {
            break;
        };
        let n = u32::from(n) + if wide < 8 { u32::from(wide) << 8 } else { 0 };
        let at = (u32::from(offset) << (bits & 31)) & !(1 << 31);
        let table = if table & 1 == 0 { u32::MAX } else { at };
        let (zero, min, max) = (zero.into(), min.into(), max.into());
        let fields = [k, n, at, at + 64, at, at + 128, zero, min, max, table];
        for field in fields.into_iter().chain([0; 6]) {
            layers.extend_from_slice(&u32::to_le_bytes(field));
        }
        k = n;
    }
    layers
}

/// The same of single precision.
fn layers_f32(data: &[u8]) -> Vec<u8> {
    let mut k = u32::from(data.first().copied().unwrap_or(1)).max(1);
    let mut layers = Vec::new();
    for bytes in data.chunks_exact(4) {
        let &[n, offset, act, bits] = bytes else {
            break;
        };
        let n = u32::from(n);
        let at = u32::from(offset) << (bits & 31);
        let by_row = u32::from(bits >> 5 & 1);
        for field in [k, n, at, at ^ 64, by_row, u32::from(act & 3), 0, 0] {
            layers.extend_from_slice(&field.to_le_bytes());
        }
        k = n;
    }
    layers
}

fuzz_target!(|data: &[u8]| {
    let Some((&[first, second], rest)) = data.split_first_chunk() else {
        return;
    };
    let made = layers(rest);
    let layers = if first & 16 == 0 { &made } else { rest };
    let exit = match first & 4 {
        0 => Exit::Ret,
        _ => Exit::Thunk {
            distance: i64::from(second) << 26,
        },
    };
    let _ = check(rest, exit);
    let mut facts = [Facts::default(); LAYERS];
    for (i, facts) in facts.iter_mut().enumerate() {
        facts.left = second >> (i % 7) & 1 != 0;
        facts.narrow = second >> (i % 5) & 2 != 0;
    }
    let word = |i: usize| {
        let bytes = rest.get(4 * i..4 * i + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) >> (second & 31))
    };
    let numbers = layers_f32(rest);
    let descriptor = match [0, 1, 2, 3, 4].map(word) {
        [Some(n), Some(k), Some(codes), ..] if first & 96 == 64 && second & 1 != 0 => {
            let [zero, min, max, _] = codes.to_le_bytes();
            let facts = facts[0];
            Descriptor::GemmI8(GemmI8 {
                n,
                k,
                zero,
                min,
                max,
                facts,
            })
        }
        [Some(rows), Some(n), Some(eps), ..] if first & 96 == 96 => {
            Descriptor::CosineF32 { rows, n, eps }
        }
        [Some(positions), Some(n), Some(k), Some(x_row), Some(y_row)] if first & 32 != 0 => {
            Descriptor::GemmF32(GemmF32 {
                positions,
                n,
                k,
                x_row,
                y_row,
                limit: [Limit::None, Limit::Zero, Limit::ZeroToSix][usize::from(first >> 6) % 3],
            })
        }
        _ if first & 64 != 0 => Descriptor::ChainF32 { layers: &numbers },
        _ => Descriptor::ChainI8 {
            layers,
            facts,
            flip: first & 8 != 0,
        },
    };
    let _ = descriptor.key();
    let _ = descriptor.name(&mut String::new());
    let isa = Isa::ALL[usize::from(first & 3)];
    let mut code = vec![0; 1 << 16];
    if let Ok(len) = emit(&descriptor, isa, exit, &mut code) {
        assert_eq!(check(&code[..len], exit), Ok(()));
    }
});
