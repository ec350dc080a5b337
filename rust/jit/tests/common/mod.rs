// SPDX-License-Identifier: GPL-2.0

//! Memory that faults beside what is asked for, code that can be run, and random chains.

#![allow(dead_code)] // Not every test uses all of it.

use std::ptr;

use neural_core::int8::{
    self, pack::packed_gemm_bytes, ChainLayer, Gemm, Requant, GROUP, LANES, SLACK,
};
use neural_jit::{check, emit, Descriptor, Exit, Isa};

const PAGE: usize = 4096;

/// Random numbers that are the same in each run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next() as u8;
        }
    }
}

/// Pages between pages that must not be touched.
pub(crate) struct Pages {
    start: *mut u8,
    pages: usize,
}

impl Pages {
    pub(crate) fn new(bytes: usize) -> Self {
        let pages = bytes.div_ceil(PAGE).max(1);
        let all = (pages + 2) * PAGE;
        // SAFETY: a new mapping, of which the middle is made accessible.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start = libc::mmap(ptr::null_mut(), all, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let start = start.cast::<u8>().add(PAGE);
            let done = libc::mprotect(
                start.cast(),
                pages * PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
            );
            assert_eq!(done, 0);
            Pages { start, pages }
        }
    }

    /// The last bytes before the page that must not be touched.
    pub(crate) fn end(&mut self, bytes: usize) -> &mut [u8] {
        assert!(bytes <= self.pages * PAGE);
        // SAFETY: these bytes lie in the accessible pages, and are borrowed from them.
        unsafe {
            let start = self.start.add(self.pages * PAGE - bytes);
            std::slice::from_raw_parts_mut(start, bytes)
        }
    }

    /// Changes what the pages may be used for.
    pub(crate) fn protect(&self, rights: i32) {
        // SAFETY: the mapping is this one's.
        let done = unsafe { libc::mprotect(self.start.cast(), self.pages * PAGE, rights) };
        assert_eq!(done, 0);
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and nothing borrows it.
        unsafe {
            let start = self.start.sub(PAGE);
            libc::munmap(start.cast(), (self.pages + 2) * PAGE);
        }
    }
}

/// A page or more with code, which are writable or executable, never both.
pub(crate) struct Code(Pages);

impl Code {
    pub(crate) fn new(bytes: usize) -> Self {
        Code(Pages::new(bytes))
    }

    /// Puts code there, and gives its address.
    pub(crate) fn load(&mut self, code: &[u8]) -> *const u8 {
        self.0.protect(libc::PROT_READ | libc::PROT_WRITE);
        // At the beginning of a line, as where it is kept.
        let place = self.0.end(code.len().next_multiple_of(64));
        place.fill(0xcc);
        place[..code.len()].copy_from_slice(code);
        let place = place.as_ptr();
        self.0.protect(libc::PROT_READ | libc::PROT_EXEC);
        place
    }
}

/// The arguments of a chain, as `neural_simd` lays them out.
#[repr(C)]
pub(crate) struct ChainArgs {
    pub(crate) x: *const u8,
    pub(crate) y: *mut u8,
    pub(crate) buffers: [*mut u8; 2],
    pub(crate) weights: *const u8,
    pub(crate) layers: *const u8,
    pub(crate) count: usize,
    pub(crate) flip: usize,
}

/// Whether this CPU runs code for it.
pub(crate) fn runs(isa: Isa) -> bool {
    let narrow = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let wide = narrow
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    match isa {
        Isa::Avx2 => narrow,
        Isa::AvxVnni => narrow && neural_simd::Features::detect().avx_vnni,
        Isa::Avx512 => wide,
        Isa::Avx512Vnni => wide && is_x86_feature_detected!("avx512vnni"),
    }
}

/// How a random chain is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers as trained networks have them.
    Usual,
    /// Whatever a model file may say.
    Any,
    /// The least and the greatest numbers.
    Extreme,
}

/// A chain, its constants and what they mean.
pub(crate) struct Network {
    pub(crate) sizes: Vec<usize>,
    pub(crate) layers: Vec<u8>,
    pub(crate) weights: Vec<u8>,
    pub(crate) flip: bool,
}

fn words(bytes: &mut [u8], mut word: impl FnMut() -> i32) {
    for bytes in bytes.chunks_exact_mut(4) {
        bytes.copy_from_slice(&word().to_le_bytes());
    }
}

impl Network {
    pub(crate) fn random(random: &mut Random, sizes: &[usize], kind: Kind, tables: bool) -> Self {
        let mut layers = Vec::new();
        let mut weights = Vec::new();
        for pair in sizes.windows(2) {
            let (k, n) = (pair[0], pair[1]);
            let rows = n.next_multiple_of(LANES);
            let mut rough = vec![0u8; n * k];
            random.fill(&mut rough);
            if kind == Kind::Extreme {
                let most = random.below(3);
                for w in &mut rough {
                    *w = [0x80, 0x7f, *w][most.min(usize::from(*w & 3))];
                }
            }
            let mut place = |bytes: &[u8]| {
                // A plan aligns what vectors read.
                match kind {
                    Kind::Usual => weights.resize(weights.len().next_multiple_of(64), 0xa5),
                    _ => weights.extend(vec![0xa5; 4 * random.below(3)]),
                }
                let at = weights.len();
                weights.extend_from_slice(bytes);
                at as i32
            };
            let mut packed = vec![0; packed_gemm_bytes(n, 1, k).unwrap()];
            int8::pack::pack_gemm(&rough, n, 1, k, &mut packed);
            let w = place(&packed);
            let mut lists = [vec![0; 4 * rows], vec![0; 4 * rows], vec![0; 4 * rows]];
            let [bias, mult, shift] = &mut lists;
            // What the sums can be beside the bias, so that none overflows.
            let room = (i32::MAX - 255 * 128 * k as i32 - 1) as u32;
            let bits = (k.ilog2() as usize) / 2 + 7;
            let used = 4 * n;
            let mut draw = Draw(w as u64 ^ (k as u64) << 32 ^ (n as u64) << 48 ^ 77);
            words(&mut bias[..used], || match kind {
                Kind::Usual => draw.below(1 << 14) as i32 - (1 << 13) - (64 << 7),
                Kind::Any => (i64::from(draw.below(2 * room)) - i64::from(room)) as i32,
                Kind::Extreme => [room as i32, -(room as i32), 0, 1, -1][draw.below(5) as usize],
            });
            words(&mut mult[..used], || match kind {
                Kind::Extreme => [0, 1 << 30, i32::MAX, (1 << 30) + 1][draw.below(4) as usize],
                _ => (1 << 30) + draw.below(1 << 30) as i32,
            });
            let one = draw.below(4);
            words(&mut shift[..used], || match (kind, one) {
                (Kind::Usual, _) => (bits as u32 + draw.below(3)) as i32,
                (Kind::Any, 0) => draw.below(63) as i32 - 31,
                (Kind::Any, 1) => draw.below(32) as i32,
                (Kind::Any, _) => 1 + draw.below(22) as i32,
                (Kind::Extreme, _) => [-31, 31, 0, 1, 22, 23, -1][draw.below(7) as usize],
            });
            let [bias, mult, shift] = [place(&lists[0]), place(&lists[1]), place(&lists[2])];
            let mut table = [0; 256];
            for entry in &mut table {
                *entry = draw.below(256) as u8;
            }
            let table = match tables && draw.below(2) == 1 {
                true => place(&table),
                false => -1,
            };
            let (zero, mut min, mut max) = match draw.below(4) {
                0 => (0, 0, 255),
                1 => (128, 128, 255),
                2 => (255, draw.below(255) as i32, 255),
                _ => (
                    draw.below(256) as i32,
                    draw.below(256) as i32,
                    draw.below(256) as i32,
                ),
            };
            if min > max {
                (min, max) = (max, min);
            }
            let fields = [
                k as i32, n as i32, w, bias, mult, shift, zero, min, max, table, 0, 0, 0, 0, 0, 0,
            ];
            for field in fields {
                layers.extend_from_slice(&field.to_le_bytes());
            }
        }
        Network {
            sizes: sizes.to_vec(),
            layers,
            weights,
            flip: random.below(2) == 1,
        }
    }

    pub(crate) fn descriptor(&self) -> Descriptor<'_> {
        Descriptor::chain_i8(&self.layers, &self.weights, self.flip).unwrap()
    }

    /// What the layers give one by one.
    pub(crate) fn expected(&self, x: &[u8]) -> Vec<u8> {
        let mut codes: Vec<u8> = x.iter().map(|x| x ^ 0x80).collect();
        for bytes in self.layers.chunks_exact(ChainLayer::BYTES) {
            let layer = ChainLayer::read(bytes).unwrap();
            let (k, n) = (layer.k as usize, layer.n as usize);
            let rows = n.next_multiple_of(LANES);
            let list = |at: u32| &self.weights[at as usize..][..4 * rows];
            let mut y = vec![0; n];
            int8::gemm(Gemm {
                x: &codes,
                x_row: 0,
                x_outer: 0,
                y: &mut y,
                y_row: 0,
                y_outer: 0,
                m: 1,
                outer: 1,
                n,
                k,
                offsets: &[0; 4],
                w: &self.weights[layer.w as usize..][..k.next_multiple_of(GROUP) * rows],
                bias: list(layer.bias),
                requant: Requant {
                    mult: list(layer.mult),
                    shift: list(layer.shift),
                    zero: layer.zero,
                    min: layer.min,
                    max: layer.max,
                },
            });
            if layer.table != ChainLayer::NONE {
                let table = &self.weights[layer.table as usize..][..256];
                for code in &mut y {
                    *code = table[usize::from(*code)];
                }
            }
            codes = y;
        }
        if self.flip {
            for code in &mut codes {
                *code ^= 0x80;
            }
        }
        codes
    }

    /// Bytes of a buffer between layers.
    pub(crate) fn width(&self) -> usize {
        self.sizes.iter().fold(0, |most, &size| most.max(size)) + SLACK
    }
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u32) -> u32 {
        let mut random = Random(self.0);
        let x = random.next();
        self.0 = random.0;
        (x % u64::from(n)) as u32
    }
}

/// Memory for what code reads and writes, with a page that must not be touched behind each of them.
pub(crate) struct Memory {
    x: Pages,
    y: Pages,
    buffers: [Pages; 2],
    weights: Pages,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Memory {
            x: Pages::new(1 << 14),
            y: Pages::new(1 << 14),
            buffers: [Pages::new(1 << 15), Pages::new(1 << 15)],
            weights: Pages::new(1 << 22),
        }
    }

    /// What code gives for an input.
    ///
    /// # Safety
    ///
    /// There is code for the chain at the address.
    pub(crate) unsafe fn run(
        &mut self,
        code: *const u8,
        network: &Network,
        input: &[u8],
    ) -> Vec<u8> {
        let x = self.x.end(input.len());
        x.copy_from_slice(input);
        let n = *network.sizes.last().unwrap();
        // What stands before the output stays as it is.
        let y = self.y.end(n + 64);
        y.fill(0x5a);
        let weights = self.weights.end(network.weights.len());
        weights.copy_from_slice(&network.weights);
        let [low, high] = &mut self.buffers;
        let width = network.width();
        let buffers = [low.end(width), high.end(width)];
        for buffer in [&*buffers[0], &*buffers[1]] {
            assert_eq!(buffer.len(), width);
        }
        let [low, high] = buffers;
        low.fill(0xee);
        high.fill(0x77);
        let args = ChainArgs {
            x: x.as_ptr(),
            y: y[64..].as_mut_ptr(),
            buffers: [low.as_mut_ptr(), high.as_mut_ptr()],
            weights: weights.as_ptr(),
            layers: ptr::null(),
            count: 0,
            flip: 0,
        };
        // SAFETY: as the caller promises.
        unsafe {
            let run: extern "C" fn(*const ChainArgs) = std::mem::transmute(code);
            run(&args);
        }
        assert!(
            y[..64].iter().all(|&y| y == 0x5a),
            "written before the output"
        );
        y[64..].to_vec()
    }
}

/// The code for a chain, checked.
pub(crate) fn code(network: &Network, isa: Isa, buffer: &mut [u8]) -> usize {
    let len = emit(&network.descriptor(), isa, Exit::Ret, buffer)
        .unwrap_or_else(|error| panic!("{:?} {isa:?}: {error:?}", network.sizes));
    assert_eq!(
        check(&buffer[..len], Exit::Ret),
        Ok(()),
        "{:?} {isa:?}",
        network.sizes
    );
    len
}

/// What random descriptors are tried with.
pub(crate) struct Bench {
    random: Random,
    memory: Memory,
    page: Code,
    buffer: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(seed: u64) -> Self {
        Bench {
            random: Random(seed),
            memory: Memory::new(),
            page: Code::new(1 << 18),
            buffer: vec![0; 1 << 18],
        }
    }
}

/// Emits, checks, disassembles and runs a random chain on one of the instruction sets that this CPU has, and
/// compares what it gives with scalar code; gives the bytes of its code.
pub(crate) fn try_random(bench: &mut Bench) -> usize {
    let Bench {
        random,
        memory,
        page,
        buffer,
    } = bench;
    let isas: Vec<Isa> = Isa::ALL.into_iter().filter(|&isa| runs(isa)).collect();
    let Some(&isa) = isas.get(random.below(isas.len().max(1))) else {
        return 0;
    };
    // Mostly small ones, so that many fit into a second.
    let widest = [6, 20, 20, 40, 40, 80, 150][random.below(7)];
    let layers = 1 + random.below(if widest > 40 { 2 } else { 5 });
    let sizes: Vec<usize> = (0..=layers).map(|_| 1 + random.below(widest)).collect();
    let kind = [Kind::Usual, Kind::Any, Kind::Extreme][random.below(3)];
    let tables = random.below(3) == 0;
    let network = Network::random(random, &sizes, kind, tables);
    let len = code(&network, isa, buffer);
    disassemble(&buffer[..len]);
    let place = page.load(&buffer[..len]);
    let mut x = vec![0; sizes[0]];
    match random.below(8) {
        0 => x.fill(0x80),
        1 => x.fill(0x7f),
        _ => random.fill(&mut x),
    }
    // SAFETY: this is the code for the chain.
    let y = unsafe { memory.run(place, &network, &x) };
    assert_eq!(y, network.expected(&x), "{sizes:?} {kind:?} {isa:?}");
    len
}

/// Whether a disassembler finds nothing but instructions.
fn disassemble(code: &[u8]) {
    let mut decoder = iced_x86::Decoder::new(64, code, iced_x86::DecoderOptions::NONE);
    let mut instruction = iced_x86::Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        assert!(!instruction.is_invalid(), "at {}", instruction.ip());
    }
}

/// Code for AVX-VNNI with the same instructions as AVX-512 VNNI encodes them, for a CPU that lacks the former.
pub(crate) fn stand_in(code: &[u8]) -> Vec<u8> {
    use iced_x86::{
        BlockEncoder, BlockEncoderOptions, Code, Decoder, DecoderOptions, InstructionBlock,
    };

    let mut all: Vec<_> = Decoder::new(64, code, DecoderOptions::NONE)
        .into_iter()
        .collect();
    for instruction in &mut all {
        match instruction.code() {
            Code::VEX_Vpdpbusd_xmm_xmm_xmmm128 => {
                instruction.set_code(Code::EVEX_Vpdpbusd_xmm_k1z_xmm_xmmm128b32);
            }
            Code::VEX_Vpdpbusd_ymm_ymm_ymmm256 => {
                instruction.set_code(Code::EVEX_Vpdpbusd_ymm_k1z_ymm_ymmm256b32);
            }
            _ => {}
        }
    }
    let block = InstructionBlock::new(&all, 0);
    BlockEncoder::encode(64, block, BlockEncoderOptions::NONE)
        .unwrap()
        .code_buffer
}
