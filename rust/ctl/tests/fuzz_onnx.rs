// SPDX-License-Identifier: GPL-2.0

//! Mutated ONNX files: whatever they hold, the converter answers with a model or a line, and never
//! asks for memory out of proportion.
//!
//! `NEURAL_FUZZ_COUNT` says how many files (40 000 unless set), `NEURAL_FUZZ_SEED` where to start.
//! A failure prints the seed of its file; with that as seed and a count of 1 it comes again.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use common::{bytes, floats, int, ints, model, node, with};
use neural_core::init::SplitMix64;
use neural_core::nnm::{self, Limits};
use neuralctl::convert::{convert, onnx_to_codes, onnx_to_floats, Calibration};
use neuralctl::error::{Error, Result};
use neuralctl::onnx::guard::canonical;
use neuralctl::onnx::Onnx;
use neuralctl::quantise::{Bits, Method};
use neuralctl::table::Table;
use rten_onnx::onnx::{Dimension, ModelProto};

/// The largest single allocation since it was set to 0.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watched;

// SAFETY: all calls go to the system allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, p: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(p, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// Files of all spellings, the smaller the better: a mutation then hits what matters.
fn corpus() -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    for dir in ["onnx/ok", "onnx/refuse", "onnx_float", "onnx_codes"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../tests/vectors")
            .join(dir);
        let mut paths: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        paths.sort();
        for path in paths
            .iter()
            .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        {
            let file = fs::read(path).unwrap();
            if (1..2000).contains(&file.len()) {
                files.push(file);
            }
        }
    }
    let nodes = vec![
        node("Dropout", &["x"], "d"),
        node("Reshape", &["d", "flat"], "r"),
        with(node("Gemm", &["r", "w", "b"], "s"), int("transB", 0)),
        with(node("Softmax", &["s"], "y"), int("axis", -1)),
    ];
    let constants = vec![
        floats("w", &[4, 2], 0.0),
        floats("b", &[2], 0.0),
        ints("flat", &[0, -1]),
    ];
    files.push(bytes(&model(&[-1, 2, 2], nodes, constants)));
    assert!(files.len() > 30, "{} files", files.len());
    files
}

fn pick(random: &mut SplitMix64, n: usize) -> usize {
    random.below(n.max(1) as u64) as usize
}

/// Changes the graph and encodes it anew, so that what is wrong is its meaning, not its structure.
fn rewire(random: &mut SplitMix64, file: &[u8]) -> Option<Vec<u8>> {
    const OPS: [&str; 40] = [
        "Add",
        "AveragePool",
        "BatchNormalization",
        "Clip",
        "Concat",
        "Conv",
        "DequantizeLinear",
        "Div",
        "Erf",
        "GRU",
        "Gather",
        "GlobalAveragePool",
        "HardSigmoid",
        "LSTM",
        "LayerNormalization",
        "MaxPool",
        "Mul",
        "Pad",
        "Pow",
        "QuantizeLinear",
        "ReduceMean",
        "Shape",
        "Sigmoid",
        "Slice",
        "Split",
        "Squeeze",
        "Sub",
        "Unsqueeze",
        "Gemm",
        "MatMul",
        "Relu",
        "LeakyRelu",
        "Softmax",
        "Flatten",
        "Reshape",
        "Identity",
        "Dropout",
        "Transpose",
        "Cast",
        "Constant",
    ];
    const ATTRIBUTES: [&str; 20] = [
        "strides",
        "pads",
        "dilations",
        "kernel_shape",
        "group",
        "ceil_mode",
        "axes",
        "keepdims",
        "epsilon",
        "hidden_size",
        "layout",
        "transA",
        "transB",
        "axis",
        "alpha",
        "beta",
        "perm",
        "to",
        "allowzero",
        "value_int",
    ];
    const NUMBERS: [i64; 10] = [0, 1, -1, 2, 4, 6, 4096, 1 << 40, i64::MAX, i64::MIN];
    let mut model = ModelProto::parse_buf(&canonical(file).ok()?).ok()?;
    let graph = model.graph.as_mut()?;
    let mut names: Vec<String> = graph
        .node
        .iter()
        .flat_map(|n| n.input.iter().chain(&n.output))
        .cloned()
        .collect();
    names.push(String::new());
    let nodes = graph.node.len();
    if nodes == 0 {
        return None;
    }
    let any_name = names[pick(random, names.len())].clone();
    match random.below(9) {
        0 => {
            graph.node[pick(random, nodes)].op_type = Some(OPS[pick(random, OPS.len())].to_owned())
        }
        1 => {
            let inputs = &mut graph.node[pick(random, nodes)].input;
            let at = pick(random, inputs.len() + 1);
            inputs.truncate(at);
            inputs.push(any_name);
        }
        2 => graph.node[pick(random, nodes)].output = vec![any_name],
        3 => {
            let mut attribute = int(
                ATTRIBUTES[pick(random, ATTRIBUTES.len())],
                NUMBERS[pick(random, NUMBERS.len())],
            );
            attribute.f = Some(NUMBERS[pick(random, NUMBERS.len())] as f32);
            attribute.ints = vec![NUMBERS[pick(random, NUMBERS.len())]; pick(random, 3)];
            graph.node[pick(random, nodes)]
                .attribute
                .insert(0, attribute);
        }
        4 => {
            let node = graph.node[pick(random, nodes)].clone();
            graph.node.insert(pick(random, nodes + 1), node);
        }
        5 => drop(graph.node.remove(pick(random, nodes))),
        6 => {
            let tensors = graph.initializer.len();
            let tensor = graph.initializer.get_mut(pick(random, tensors))?;
            let at = pick(random, tensor.dims.len() + 1);
            tensor.dims.truncate(at);
            tensor.dims.push(NUMBERS[pick(random, NUMBERS.len())]);
        }
        7 => {
            let shape = graph
                .input
                .first_mut()?
                .r#type
                .as_mut()?
                .tensor_type
                .as_mut()?
                .shape
                .as_mut()?;
            let at = pick(random, shape.dim.len() + 1);
            shape.dim.truncate(at);
            shape.dim.push(Dimension {
                dim_value: Some(NUMBERS[pick(random, NUMBERS.len())]),
                dim_param: None,
            });
        }
        _ => {
            let mut before = node(OPS[pick(random, OPS.len())], &["x"], "fuzz");
            let at = pick(random, nodes);
            before.input = vec![graph.node[at].input.first()?.clone(), any_name];
            graph.node[at].input[0] = "fuzz".to_owned();
            graph.node.insert(at, before);
        }
    }
    model.write_buf().ok()
}

fn mutate(random: &mut SplitMix64, corpus: &[Vec<u8>]) -> Vec<u8> {
    let file = &corpus[pick(random, corpus.len())];
    if random.below(2) == 0 {
        if let Some(mut rewired) = rewire(random, file) {
            for _ in 0..pick(random, 3) {
                match rewire(random, &rewired) {
                    Some(again) => rewired = again,
                    None => break,
                }
            }
            return rewired;
        }
    }
    flip(random, file.clone(), corpus)
}

/// Changes bytes, most of the time without moving the others, which keeps the lengths right.
fn flip(random: &mut SplitMix64, mut file: Vec<u8>, corpus: &[Vec<u8>]) -> Vec<u8> {
    const VARINTS: [&[u8]; 6] = [
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20],
        &[0xff, 0xff, 0xff, 0xff, 0x07],
        &[0x80, 0x80, 0x40],
        &[0x81, 0x20],
        &[0x00],
    ];
    let kinds = if random.below(4) == 0 { 8 } else { 3 };
    for _ in 0..=pick(random, 4) {
        let at = pick(random, file.len().max(1));
        let end = file.len().min(at + 1 + pick(random, 32));
        match random.below(kinds) {
            0 if !file.is_empty() => file[at] ^= 1 << random.below(8),
            1 if !file.is_empty() => file[at] = random.below(256) as u8,
            2 if !file.is_empty() => file[at] = [0, 1, 0x7f, 0x80, 0xff][pick(random, 5)],
            3 => file.truncate(at),
            4 => {
                let number = VARINTS[pick(random, VARINTS.len())];
                let old = end.min(at + pick(random, 2));
                file.splice(at.min(old)..old, number.iter().copied());
            }
            5 => {
                let part = file[at.min(end)..end].to_vec();
                let to = pick(random, file.len().max(1));
                file.splice(to..to, part);
            }
            6 => drop(file.drain(at.min(end)..end)),
            _ => {
                let other = &corpus[pick(random, corpus.len())];
                let from = pick(random, other.len());
                file.truncate(at);
                file.extend_from_slice(&other[from..]);
            }
        }
    }
    file
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name} is no number")),
        Err(_) => default,
    }
}

/// The seed of the file that is being converted.
static CURRENT: AtomicU64 = AtomicU64::new(0);

/// Ends the program when one file takes far too long, which a test that hangs would not tell.
fn watch() {
    let mut before = u64::MAX;
    loop {
        let seed = CURRENT.load(Ordering::Relaxed);
        if seed == before {
            eprintln!("NEURAL_FUZZ_SEED={seed}: no answer in 10 seconds");
            std::process::exit(1);
        }
        before = seed;
        std::thread::sleep(Duration::from_secs(10));
    }
}

/// Converts a graph to floats, or to the codes that it has, or by two samples to others.
fn as_graph(file: &[u8], bits: Bits) -> Result<Vec<u8>> {
    let onnx = Onnx::new(file)?;
    let made = onnx_to_floats(&onnx, "net", None)?;
    let model = nnm::parse(&made, &Limits::default()).unwrap();
    let columns = model.input_dim() as usize;
    let small = model.macs() < 1 << 14 && columns < 1 << 10;
    let samples = small.then(|| {
        let row = |from: usize| {
            (0..columns).map(move |i| (((i * 7 + from) % 9) as f64 - 4.0).to_string())
        };
        let text: Vec<String> = (0..2)
            .map(|i| row(i).collect::<Vec<_>>().join(","))
            .collect();
        Table::parse("samples", text.join("\n").as_bytes()).unwrap()
    });
    let how = Calibration {
        samples,
        method: Method::Mse,
        bits,
    };
    onnx_to_codes(&onnx, "net", None, &how).map(|made| made.file)
}

#[test]
fn mutated_files_are_converted_or_refused() {
    let corpus = corpus();
    let (count, seed) = (
        number("NEURAL_FUZZ_COUNT", 40_000),
        number("NEURAL_FUZZ_SEED", 1),
    );
    let (mut taken, mut graphs) = (0u64, 0u64);
    std::thread::spawn(watch);
    for seed in seed..seed.saturating_add(count) {
        let file = mutate(&mut SplitMix64::new(seed), &corpus);
        LARGEST.store(0, Ordering::Relaxed);
        CURRENT.store(seed, Ordering::Relaxed);
        let done = catch_unwind(AssertUnwindSafe(|| convert(&file, "net", None)));
        let largest = LARGEST.load(Ordering::Relaxed);
        let Ok(done) = done else {
            panic!("NEURAL_FUZZ_SEED={seed}: panicked")
        };
        assert!(
            largest <= 64 * file.len() + (64 << 10),
            "NEURAL_FUZZ_SEED={seed}: {largest} bytes at once"
        );
        let one_line = |e: Error| {
            let line = e.to_string();
            assert!(
                !line.contains('\n') && line.len() < 1000,
                "NEURAL_FUZZ_SEED={seed}: {line}"
            );
        };
        match done {
            Ok(_) => taken += 1,
            Err(e) => one_line(e),
        }
        let bits = [Bits::Eight, Bits::Eight, Bits::Sixteen][(seed % 3) as usize];
        match catch_unwind(|| as_graph(&file, bits)) {
            Ok(Ok(_)) => graphs += 1,
            Ok(Err(e)) => one_line(e),
            Err(_) => panic!("NEURAL_FUZZ_SEED={seed}: panicked"),
        }
    }
    println!("{count} files from seed {seed}: {taken} are dense networks, {graphs} graphs");
    // Both ways must be walked, or the mutations are of no use.
    assert!(
        count < 1000 || (taken > count / 100 && graphs > count / 20 && graphs < count * 9 / 10),
        "{taken} and {graphs} of {count}"
    );
}
