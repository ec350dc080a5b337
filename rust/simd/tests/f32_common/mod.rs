// SPDX-License-Identifier: GPL-2.0

//! What the tests of `f32` code share: repeatable numbers, buffers that end where nobody may read or
//! write, and the sets of vector code that this CPU runs.

#![allow(dead_code)]

pub(crate) mod compare;
pub(crate) mod dnc;
pub(crate) mod net;

use neural_core::float::{Act, Function};
use neural_simd::{Features, Isa, Set};

/// Repeatable numbers.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number of `first..=last`.
    pub(crate) fn range(&mut self, first: usize, last: usize) -> usize {
        first + ((self.next() >> 32) as usize * (last - first + 1) >> 32)
    }

    /// A number of -1..1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    pub(crate) fn units(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit()).collect()
    }

    /// Numbers of 0..1.
    pub(crate) fn positive(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.unit() * 0.5 + 0.5).collect()
    }
}

extern "C" {
    fn mmap(addr: *mut u8, len: usize, prot: i32, flags: i32, fd: i32, offset: i64) -> *mut u8;
    fn munmap(addr: *mut u8, len: usize) -> i32;
    fn mprotect(addr: *mut u8, len: usize, prot: i32) -> i32;
}

const PAGE: usize = 4096;
const CANARY: u8 = 0xa5;

/// Elements in front of a page that faults, or at an odd address with known bytes around.
pub(crate) struct Buf {
    map: *mut u8,
    size: usize,
    start: usize,
    len: usize,
}

impl Buf {
    /// `shift` bytes before the end.
    pub(crate) fn new(values: &[f32], shift: usize) -> Self {
        let len = values.len() * 4;
        let size = (len + shift).next_multiple_of(PAGE) + PAGE;
        // SAFETY: a private mapping of its own, read-write (3), anonymous (0x22).
        let map = unsafe { mmap(std::ptr::null_mut(), size + PAGE, 3, 0x22, -1, 0) };
        assert!(map as isize > 0, "no memory");
        // SAFETY: the last page is in the mapping.
        assert_eq!(unsafe { mprotect(map.add(size), PAGE, 0) }, 0);
        let mut buf = Self {
            map,
            size,
            start: size - shift - len,
            len,
        };
        buf.all().fill(CANARY);
        for (to, from) in buf.bytes_mut().chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        buf
    }

    fn all(&mut self) -> &mut [u8] {
        // SAFETY: the part before the guard page, which is borrowed as a whole.
        unsafe { std::slice::from_raw_parts_mut(self.map, self.size) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the elements are in the mapping.
        unsafe { std::slice::from_raw_parts(self.map.add(self.start), self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the elements are in the mapping.
        unsafe { std::slice::from_raw_parts_mut(self.map.add(self.start), self.len) }
    }

    /// The elements, after a look at the bytes around them.
    #[track_caller]
    pub(crate) fn get(&mut self) -> Vec<f32> {
        let (start, end) = (self.start, self.start + self.len);
        let all = self.all();
        assert!(
            all[..start].iter().all(|&b| b == CANARY),
            "written before the start"
        );
        assert!(
            all[end..].iter().all(|&b| b == CANARY),
            "written behind the end"
        );
        self.bytes()
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
            .collect()
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        // SAFETY: the mapping is this buffer's own.
        unsafe { munmap(self.map, self.size + PAGE) };
    }
}

/// Bytes of numbers.
pub(crate) fn words(values: &[usize]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|&v| u32::try_from(v).unwrap().to_le_bytes())
        .collect()
}

/// The vector code that this CPU runs.
pub(crate) fn sets() -> Vec<Set> {
    let features = Features::detect();
    [Isa::Avx2, Isa::Avx512]
        .into_iter()
        .filter_map(|isa| Set::select(&features, Some(isa)))
        .collect()
}

/// 2^-24: half a unit in the last place of 1.
pub(crate) const EPS: f64 = 1.0 / (1 << 24) as f64;

/// Fails unless `y` is within `bound` of `expected`.
#[track_caller]
pub(crate) fn near(y: f32, expected: f64, bound: f64, what: &dyn std::fmt::Debug) {
    let y = f64::from(y);
    assert!(
        (y - expected).abs() <= bound || y == expected || (y.is_nan() && expected.is_nan()),
        "{what:?}: {y:e} instead of {expected:e}, off by {:e}, bound {bound:e}",
        (y - expected).abs(),
    );
}

/// All values of `f32` as f64.
pub(crate) fn wide(v: &[f32]) -> Vec<f64> {
    v.iter().map(|&v| f64::from(v)).collect()
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `P(X <= x)` of the normal distribution, to about 1e-13 of itself.
pub(crate) fn normal(x: f64) -> f64 {
    let a = x.abs();
    let density = (-a * a / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let tail = if a < 3.0 {
        // 1/2 - density (a + a^3/3 + a^5/(3 5) + ...).
        let (mut term, mut sum, mut n) = (a, a, 1.0);
        while term > sum * 1e-18 {
            n += 2.0;
            term *= a * a / n;
            sum += term;
        }
        0.5 - density * sum
    } else {
        // density / (a + 1/(a + 2/(a + 3/(a + ...)))).
        let mut f = a;
        for n in (1..200).rev() {
            f = a + f64::from(n) / f;
        }
        density / f
    };
    if x > 0.0 {
        1.0 - tail
    } else {
        tail
    }
}

/// What a function means.
pub(crate) fn function(function: Function, slope: f64, x: f64) -> f64 {
    match function {
        Function::None => x,
        Function::Relu => x.max(0.0),
        Function::Relu6 => x.clamp(0.0, 6.0),
        Function::LeakyRelu => {
            if x > 0.0 {
                x
            } else {
                slope * x
            }
        }
        Function::Sigmoid => sigmoid(x),
        Function::Tanh => x.tanh(),
        Function::Gelu => x * normal(x),
        Function::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            x * sigmoid(2.0 * u)
        }
        Function::HardSwish => x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Function::Silu => x * sigmoid(x),
        Function::HardSigmoid => (x + 3.0).clamp(0.0, 6.0) / 6.0,
        Function::Elu => {
            if x > 0.0 {
                x
            } else {
                slope * x.exp_m1()
            }
        }
        Function::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
        Function::Exp => x.exp(),
        Function::Sqrt => x.sqrt(),
        Function::Abs => x.abs(),
    }
}

/// A function with a slope.
pub(crate) fn act(function: Function, slope: f32) -> Act {
    Act {
        function,
        slope: slope.to_bits(),
    }
}
