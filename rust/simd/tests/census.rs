// SPDX-License-Identifier: GPL-2.0

//! What the vector code consists of, once it is compiled as the kernel compiles it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Instructions that a function must have: its name's end, a mnemonic, a kind of register.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("gemm_i8_avx2", "vpmaddwd", "%ymm"),
    ("gemm_i8_avxvnni", "vpdpbusd", "%ymm"),
    ("gemm_i8_avx512", "vpmaddwd", "%zmm"),
    ("gemm_i8_avx512vnni", "vpdpbusd", "%zmm"),
    ("chain_i8_avx2", "vpmaddwd", "%ymm"),
    ("chain_i8_avxvnni", "vpdpbusd", "%ymm"),
    ("chain_i8_avx512", "vpmaddwd", "%zmm"),
    ("chain_i8_avx512vnni", "vpdpbusd", "%zmm"),
    ("depthwise_i8_avx2", "vpmaddwd", "%ymm"),
    ("depthwise_i8_avxvnni", "vpdpbusd", "%ymm"),
    ("depthwise_i8_avx512", "vpmaddwd", "%zmm"),
    ("depthwise_i8_avx512vnni", "vpdpbusd", "%zmm"),
    ("gemm16_i8_avx2", "vpmaddwd", "%ymm"),
    ("gemm16_i8_avxvnni", "vpdpbusd", "%ymm"),
    ("gemm16_i8_avx512", "vpmaddwd", "%zmm"),
    ("gemm16_i8_avx512vnni", "vpdpbusd", "%zmm"),
    ("lstm_cell_i8_avx2", "vpgatherdd", "%ymm"),
    ("lstm_cell_i8_avx512", "vperm", "%zmm"),
    ("lut_i8_avx2", "vpshufb", "%ymm"),
    ("lut_i8_avx512", "vpshufb", "%zmm"),
    ("add_i8_avx2", "vpmuldq", "%ymm"),
    ("add_i8_avx512", "vpmuldq", "%zmm"),
    ("mul_i8_avx2", "vpmuldq", "%ymm"),
    ("mul_i8_avx512", "vpmuldq", "%zmm"),
    ("average_pool_i8_avx2", "vpaddd", "%ymm"),
    ("average_pool_i8_avx512", "vpaddd", "%zmm"),
    ("max_pool_i8_avx2", "vpmaxub", "%ymm"),
    ("max_pool_i8_avx512", "vpmaxub", "%zmm"),
    ("mean_i8_avx2", "vpaddd", "%ymm"),
    ("mean_i8_avx512", "vpaddd", "%zmm"),
    ("softmax_i8_avx2", "vpmuldq", "%ymm"),
    ("softmax_i8_avx512", "vpmuldq", "%zmm"),
];

/// The same for functions that may call others of the object.
const EXPECTED_F32: &[(&str, &str)] = &[
    ("gemm_f32", "vfmadd"),
    ("chain_f32", "vmovup"),
    ("map_f32", ""),
    ("binary_f32", "vaddps"),
    ("normalise_f32", "vsqrtps"),
    ("softmax_f32", ""),
    ("norm_f32", "vfmadd"),
    ("mean_f32", "vaddps"),
    ("lstm_f32", "vfmadd"),
    ("gru_f32", "vfmadd"),
    ("cosine_f32", "vfmadd"),
    ("matmul_f32", ""),
    ("transpose_f32", ""),
    ("attention_f32", ""),
    ("depthwise_f32", "vfmadd"),
    ("pool_f32", "vmaxps"),
    ("mix_f32", "vfmadd"),
    ("usage_f32", "vfmadd"),
    ("allocation_f32", "vmulps"),
    ("write_f32", "vfnmadd"),
    ("link_f32", "vfmadd"),
];

/// Bytes of the stack that a function may use. The kernel's own limit is 2048.
const STACK_BYTES: usize = 1024;

/// Whether the object is newer than all that it was made of, and than this program.
fn fresh(object: &Path, dependencies: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|m| m.modified()).ok();
    let Some(made) = changed(object) else {
        return false;
    };
    let Ok(text) = fs::read_to_string(dependencies) else {
        return false;
    };
    // "leaf.o: leaf.rs leaf/gemm.rs ...", and a line for each source.
    let Some((_, sources)) = text.lines().next().and_then(|l| l.split_once(": ")) else {
        return false;
    };
    let program = env::current_exe().ok();
    let sources = sources.split_whitespace().map(PathBuf::from);
    sources
        .chain(program)
        .all(|source| changed(&source).is_some_and(|time| time < made))
}

/// The object, compiled by the compiler that compiled this test, with the flags of Kbuild that matter.
/// That takes long, so what is there from the last time is taken if nothing has changed since.
fn object() -> PathBuf {
    let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/leaf.rs");
    let object = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("leaf.o");
    let dependencies = object.with_extension("d");
    if fresh(&object, &dependencies) {
        return object;
    }
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .args(["--edition=2021", "--crate-type=rlib", "--cfg=NEURAL_LEAF"])
        .args(["-Cpanic=abort", "-Ccodegen-units=1", "-Copt-level=2"])
        .args([
            "-Crelocation-model=static",
            "-Ccode-model=kernel",
            "-Cno-redzone=y",
        ])
        .arg("-Zllvm_module_flag=override-stack-alignment:u32:8:max")
        .args(["-Zcf-protection=branch", "-Zfunction-return=thunk-extern"])
        .arg(format!("--emit=obj={}", object.display()))
        .arg(format!("--emit=dep-info={}", dependencies.display()))
        .arg(&source)
        .status()
        .expect("rustc runs");
    assert!(status.success(), "leaf.rs does not compile");
    object
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    assert!(output.status.success(), "{program} failed");
    String::from_utf8(output.stdout).ok()
}

/// Stack bytes of an instruction like `sub $0x2a8,%rsp`.
fn stack(line: &str) -> usize {
    let Some((_, rest)) = line.split_once("sub ") else {
        return 0;
    };
    let hex = rest
        .trim()
        .strip_prefix("$0x")
        .and_then(|r| r.strip_suffix(",%rsp"));
    hex.map_or(0, |hex| {
        usize::from_str_radix(hex, 16).expect("a hexadecimal number")
    })
}

#[test]
fn leaf_functions_are_leaves_and_vector_code() {
    let object = object();
    let path = object.to_str().expect("a path in UTF-8");
    let Some(symbols) = output("nm", &["-u", path]) else {
        eprintln!("skipped: no binutils here");
        return;
    };
    let unknown: Vec<_> = symbols.split_whitespace().filter(|s| *s != "U").collect();
    assert!(
        unknown.iter().all(|s| *s == "__x86_return_thunk"),
        "calls out: {unknown:?}"
    );
    let code = output("objdump", &["-d", "--no-show-raw-insn", path]).expect("objdump runs");
    for (name, mnemonic, register) in EXPECTED {
        let head = format!("<neural_{name}>:");
        let (_, body) = code
            .split_once(&head)
            .unwrap_or_else(|| panic!("no {name}"));
        let body = body
            .split("\nDisassembly of section")
            .next()
            .unwrap_or(body);
        let lines: Vec<_> = body
            .lines()
            .filter_map(|l| l.split_once('\t'))
            .map(|l| l.1.trim_start_matches("{vex} "))
            .collect();
        let count = lines
            .iter()
            .filter(|l| l.starts_with(mnemonic) && l.contains(register))
            .count();
        assert!(
            count >= 2,
            "{name}: {count} times {mnemonic} with {register}"
        );
        // A product of 32 bits that the compiler takes for one of 64 bits is made of three of these.
        let whole = lines.iter().filter(|l| l.starts_with("vpmuludq")).count();
        let signed = lines.iter().filter(|l| l.starts_with("vpmuldq")).count();
        assert!(whole * 4 <= signed, "{name}: {whole} and {signed} products");
        for bad in ["call", "vpmaddubsw", "ud2", "div"] {
            assert!(!lines.iter().any(|l| l.starts_with(bad)), "{name}: {bad}");
        }
        let ends = lines
            .iter()
            .enumerate()
            .filter(|(_, l)| l.starts_with("ret") || l.contains("x86_return_thunk"));
        for (i, _) in ends {
            let tail = &lines[i.saturating_sub(10)..i];
            assert!(
                tail.iter().any(|l| l.starts_with("vzeroupper")),
                "{name}: returns with full registers: {tail:?}"
            );
        }
        let bytes: usize = lines.iter().take(20).map(|l| stack(l)).sum();
        assert!(bytes <= STACK_BYTES, "{name}: {bytes} bytes of stack");
    }
    for (op, mnemonic) in EXPECTED_F32 {
        for (isa, register) in [("avx2", "%ymm"), ("avx512", "%zmm")] {
            let name = format!("{op}_{isa}");
            let body = code
                .split_once(&format!("<neural_{name}>:"))
                .and_then(|(_, body)| body.split("\nDisassembly of section").next())
                .unwrap_or_else(|| panic!("no {name}"));
            let has = |l: &str| l.contains(mnemonic) && l.contains(register);
            assert!(
                mnemonic.is_empty() || body.lines().any(has),
                "{name}: no {mnemonic} with {register}"
            );
            for bad in ["\tud2", "\tdiv", "\tidiv"] {
                assert!(!body.contains(bad), "{name}: {bad}");
            }
            assert!(body.contains("vzeroupper"), "{name}: no vzeroupper");
        }
    }
    for line in code.lines() {
        assert!(stack(line) <= STACK_BYTES, "too much stack: {line}");
        // Every function is inlined into one that has vector registers, or has them itself.
        for bad in ["__addsf3", "__mulsf3", "fmaf", "core9panicking"] {
            assert!(!line.contains(bad), "{line}");
        }
    }
}
