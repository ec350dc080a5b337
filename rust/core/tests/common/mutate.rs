// SPDX-License-Identifier: GPL-2.0

//! Damages model files such that they look right: numbers at their boundaries, records copied and
//! exchanged, bytes cut off or added, and nearly always a right checksum.

use neural_core::act::Activation;
use neural_core::nnm::{self, dense_file_bytes, parse, write_dense, DenseSpec, Limits, Part};
use neural_core::nnm::{DType, OpKind, Tensor, TensorKind};

use super::codes::trees::Trees;
use super::codes::Codes;
use super::numbers;
use super::random::random;
use super::Rng;

/// Networks of codes to start from: some of each operation.
const CODES: usize = 40;

/// Small files to start from.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let act = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 655 },
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Linear,
        Activation::Softmax,
    ];
    let mut rng = Rng::seeded(7);
    let shapes: [&[u32]; 5] = [
        &[1, 1],
        &[5, 7, 3],
        &[4, 4, 4, 4],
        &[31, 16, 2],
        &[3, 8, 2, 9, 1, 6, 5],
    ];
    let file = |(k, dims): (usize, &&[u32])| {
        let layers = dims.windows(2).enumerate();
        let specs: Vec<DenseSpec> = layers
            .map(|(i, d)| DenseSpec {
                inputs: d[0],
                outputs: d[1],
                activation: act[(i + k) % 6],
            })
            .collect();
        let mut file = vec![0; dense_file_bytes(&specs).unwrap()];
        let mut fill = |_: usize, _: Part, to: &mut [u8]| {
            to.chunks_mut(4)
                .for_each(|w| w.copy_from_slice(&(rng.i32() >> 14).to_le_bytes()));
        };
        write_dense("seed", &specs, &mut fill, &mut file).unwrap();
        file
    };
    let mut files: Vec<Vec<u8>> = shapes.iter().enumerate().map(file).collect();
    let mut rng = Rng::seeded(8);
    let limits = Limits {
        max_macs: 1 << 14,
        ..Limits::DEFAULT
    };
    let codes = core::iter::repeat_with(|| random(&mut rng, 6).file());
    files.extend(
        codes
            .filter(|file| parse(file, &limits).is_ok())
            .take(CODES),
    );
    files.extend(numbers::all().iter().map(|net| net.file()));
    files.extend(forests());
    files.extend([Activation::Relu, Activation::Softmax].map(short));
    files
}

/// Forests of numbers and of Q16.16.
fn forests() -> Vec<Vec<u8>> {
    let mut rng = Rng::seeded(9);
    let forest = |dtype| {
        let mut draw = |most| rng.below(most);
        let number = |word: u32| word as i32 & 0x3fff_ffff;
        let trees = Trees::random(&mut draw, (5, 2), (3, 4), &number, &number);
        let mut net = Codes::new(&[1], 0);
        net.tensors[0] = Tensor::new(dtype, TensorKind::Activation, &[5]);
        let nodes = net.words(&[trees.nodes.len() as u32, 4], &trees.words());
        let roots = net.words(&[3], &trees.roots);
        let leaves = net.words(&[trees.leaves.len() as u32 / 2, 2], &trees.leaves);
        let y = net.add(Tensor::new(dtype, TensorKind::Activation, &[2]), vec![]);
        net.op(OpKind::Forest, &[0, nodes, roots, leaves], &[1], y);
        net.file()
    };
    [DType::Q16, DType::F32].map(forest).to_vec()
}

/// A network of 16-bit codes with one operation of each kind.
fn short(act: Activation) -> Vec<u8> {
    let mut net = Codes::new(&[1], 0);
    let shape = |kind, dims: &[u32]| Tensor::new(DType::I16, kind, dims);
    let activation = |dims| shape(TensorKind::Activation, dims).with_scale(0, 1.0f32.to_bits());
    net.tensors[0] = activation(&[2, 3]);
    let w = net.add(shape(TensorKind::Constant, &[4, 3]), vec![0x81; 24]);
    let b = net.words(&[4, 2], &[77; 8]);
    let r = net.words(&[2, 4], &[1 << 30, 1 << 30, 1 << 30, 1 << 30, 9, 9, 9, 9]);
    let y = net.add(activation(&[2, 4]), vec![]);
    let params: &[i32] = match act {
        Activation::Relu => &[],
        _ => &[0, 1 << 30, 0],
    };
    net.op(OpKind::Dense, &[0, w, b, r], params, y);
    net.ops[0].activation = act;
    let list = net.add(shape(TensorKind::Constant, &[4]), vec![0x7f; 8]);
    let r = net.words(&[3], &[1 << 30, i32::MIN, 31]);
    let sum = net.add(activation(&[2, 4]), vec![]);
    net.op(OpKind::Add, &[y, list, r], &[], sum);
    let r = net.words(&[2], &[1 << 30, -31]);
    let product = net.add(activation(&[2, 4]), vec![]);
    net.op(OpKind::Mul, &[sum, y, r], &[], product);
    let both = net.add(activation(&[2, 8]), vec![]);
    net.op(OpKind::Concat, &[product, y], &[1], both);
    net.file()
}

/// One to four changes.
pub(crate) fn mutate(file: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        change(file, rng);
    }
    if file.len() >= 24 && rng.below(8) > 0 {
        let len = file.len() as u64;
        file[16..24].copy_from_slice(&len.to_le_bytes());
    }
    if rng.below(64) > 0 {
        nnm::seal(file);
    }
}

/// A number that checks may get wrong.
fn boundary(file: &[u8], rng: &mut Rng) -> u64 {
    let len = file.len() as u64;
    let near = rng.below(3).wrapping_sub(1);
    let number = match rng.below(10) {
        0 => 0,
        1 => 1 << rng.below(64),
        2 => u64::MAX,
        3 => len,
        4 => len & !63,
        5 => 64 * rng.below(len / 64 + 2),
        6 => rng.below(16),
        7 => 4096,
        8 => u64::MAX - 63,
        _ => rng.u64(),
    };
    if rng.below(2) == 0 {
        number
    } else {
        number.wrapping_add(near)
    }
}

/// Where the tables of a file end, as it was written.
fn tables(file: &[u8]) -> u64 {
    let number = |at: usize| {
        file.get(at..at + 4)
            .map_or(0, |n| u32::from_le_bytes(n.try_into().unwrap()))
    };
    let records = u64::from(number(32)) + u64::from(number(36));
    (128 + 64 * records).max(1024)
}

fn change(file: &mut Vec<u8>, rng: &mut Rng) {
    if file.is_empty() {
        file.push(0x7f);
    }
    let len = file.len() as u64;
    // Mostly where the tables are.
    let area = if rng.below(4) > 0 {
        tables(file).min(len)
    } else {
        len
    };
    let at = rng.below(area) as usize;
    match rng.below(9) {
        0 => file[at] ^= 1 << rng.below(8),
        1 => file[at] = rng.u64() as u8,
        2 | 3 => {
            let (at, value) = (at & !3, boundary(file, rng) as u32);
            overwrite(file, at, &value.to_le_bytes());
        }
        4 => {
            let (at, value) = (at & !7, boundary(file, rng));
            overwrite(file, at, &value.to_le_bytes());
        }
        5 => {
            // A record over another one.
            let (from, to) = (at & !63, rng.below(area) as usize & !63);
            let record: Vec<u8> = file.iter().skip(from).take(64).copied().collect();
            overwrite(file, to, &record);
        }
        6 => {
            // A field of a record over another one, such as one tensor index over another.
            let (from, to) = (at & !3, rng.below(area) as usize & !3);
            let field: Vec<u8> = file.iter().skip(from).take(4).copied().collect();
            overwrite(file, to, &field);
        }
        7 => file.truncate(if rng.below(4) == 0 {
            at
        } else {
            file.len() - (rng.below(130) as usize).min(file.len())
        }),
        _ => {
            let more = rng.below(200) as usize;
            file.extend((0..more).map(|_| 0));
        }
    }
}

fn overwrite(file: &mut [u8], at: usize, value: &[u8]) {
    for (to, from) in file.iter_mut().skip(at).zip(value) {
        *to = *from;
    }
}

/// Tries `count` damaged files; gives how many of them were accepted.
pub(crate) fn try_models(count: u64, rng: &mut Rng, drive: fn(&[u8]) -> bool) -> u64 {
    let seeds = seeds();
    let mut file = Vec::new();
    let mut accepted = 0;
    for _ in 0..count {
        file.clone_from(&seeds[rng.below(seeds.len() as u64) as usize]);
        mutate(&mut file, rng);
        accepted += u64::from(drive(&file));
    }
    accepted
}

/// Words of settings, some of them right.
const WORDS: [&[u8]; 26] = [
    b"cache_timeout",
    b"cache_size",
    b"cache_eviction",
    b"simd",
    b"numa_policy",
    b"numa_node",
    b"allowed_cpus",
    b"batch_spread",
    b"profiling",
    b"workload",
    b"reset",
    b"stats",
    b"lru",
    b"random",
    b"node",
    b"0",
    b"1",
    b"4294967296",
    b"3600000",
    b"all",
    b"0-3,8",
    b"latency",
    b"\xff\xfe",
    b"\0",
    b"-1",
    b"1e3",
];

/// Tries `count` lines of settings; gives how many of them were accepted.
pub(crate) fn try_lines(count: u64, rng: &mut Rng, drive: fn(&[u8]) -> bool) -> u64 {
    let mut accepted = 0;
    for _ in 0..count {
        let mut line = rng.pick(&WORDS[..10]).to_vec();
        for _ in 0..[0, 1, 1, 1, 1, 2][rng.below(6) as usize] {
            line.push(rng.pick(b"  \t\n"));
            line.extend_from_slice(rng.pick(&WORDS));
        }
        if rng.below(4) == 0 {
            let at = rng.below(line.len() as u64) as usize;
            line[at] = rng.u64() as u8;
        }
        accepted += u64::from(drive(&line));
    }
    accepted
}
