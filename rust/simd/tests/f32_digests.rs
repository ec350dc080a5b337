// SPDX-License-Identifier: GPL-2.0

//! What a kernel compares its vector code with: exact results of whole numbers, and digests of those of
//! all numbers. What the same code gives is compared with f64 by the other tests of `f32`; when they
//! pass and results have changed, `NEURAL_UPDATE=1 cargo test -p neural_simd --test f32_digests` writes
//! the digests again, for the sets of vector code that this CPU runs.

#[allow(dead_code)]
#[path = "../src/check.rs"]
mod check;
#[path = "../src/check_f32.rs"]
mod check_f32;
mod f32_common;
#[path = "../src/f32_digests.rs"]
mod f32_digests;

use check_f32::{digests, BLOCK, BLOCKS, BUFFER, ISAS, OPS};
use f32_common::Buf;
use f32_digests::DIGESTS;
use neural_simd::f32::TABLE;
use neural_simd::{Features, Isa, Set};

fn written(op: &str, isa: Isa) -> Option<&'static [u64; BLOCKS]> {
    let mut all = DIGESTS.iter();
    all.find(|(name, set, _)| *name == op && *set == isa.name())
        .map(|(_, _, digests)| digests)
}

#[test]
fn results_are_exact_or_have_the_digests_that_are_written() {
    let mut text = String::new();
    let mut wrong = Vec::new();
    for isa in ISAS {
        let set = Set::select(&Features::detect(), Some(isa));
        if set.is_none() {
            eprintln!("skipped, this CPU lacks {}", isa.name());
        }
        for op in OPS {
            let found = set.map(|set| {
                let empty = vec![0.0; BUFFER / 4];
                let mut buffers: [Buf; 5] = std::array::from_fn(|_| Buf::new(&empty, 0));
                let mut memory = buffers.each_mut().map(Buf::bytes_mut);
                let run = &|run: &mut dyn FnMut() -> bool| run();
                digests(set, op, &mut memory, run, &mut || {})
                    .unwrap_or_else(|e| panic!("{} {}: {e:?}", op.name, isa.name()))
            });
            let there = written(op.name, isa);
            let Some(digests) = found.as_ref().or(there) else {
                continue;
            };
            let line: Vec<String> = digests.iter().map(|d| format!("{d:#018x}")).collect();
            let line = line.join(", ");
            text += &format!("    (\"{}\", \"{}\", [{line}]),\n", op.name, isa.name());
            for block in 0..BLOCKS {
                if there.map(|there| there[block]) != Some(digests[block]) {
                    wrong.push((op.name, isa.name(), block * BLOCK));
                }
            }
        }
    }
    if std::env::var_os("NEURAL_UPDATE").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/f32_digests.rs");
        let file = std::fs::read_to_string(path).unwrap();
        let (head, _) = file.split_once("= &[").unwrap();
        std::fs::write(path, format!("{head}= &[\n{text}];\n")).unwrap();
    } else {
        assert!(wrong.is_empty(), "lengths from there on: {wrong:?}");
    }
}

#[test]
fn all_vector_code_of_numbers_is_tried() {
    for variant in TABLE {
        assert!(OPS.iter().any(|op| op.name == variant.op), "{}", variant.op);
        assert!(ISAS.contains(&variant.isa), "{:?}", variant.isa);
        assert!(
            written(variant.op, variant.isa).is_some(),
            "{}",
            variant.name
        );
    }
}
