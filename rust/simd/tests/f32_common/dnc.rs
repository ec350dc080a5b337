// SPDX-License-Identifier: GPL-2.0

//! The memory of a differentiable neural computer from the equations of Graves et al. (2016), one step at
//! a time.

/// Rows of the memory, elements of a row, read heads, and the least product of norms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dnc {
    pub(crate) rows: usize,
    pub(crate) width: usize,
    pub(crate) heads: usize,
    pub(crate) eps: f64,
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// At least 1.
fn oneplus(x: f64) -> f64 {
    1.0 + (1.0 + x.exp()).ln()
}

fn softmax(x: &[f64]) -> Vec<f64> {
    let sum: f64 = x.iter().map(|x| x.exp()).sum();
    x.iter().map(|x| x.exp() / sum).collect()
}

impl Dnc {
    pub(crate) fn interface(&self) -> usize {
        self.width * self.heads + 3 * self.width + 5 * self.heads + 3
    }

    pub(crate) fn state(&self) -> usize {
        self.rows * (self.width + 3 + self.heads + self.rows)
    }

    /// Similarity of a key with each row, sharpened.
    fn content(&self, memory: &[f64], key: &[f64], strength: f64) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let score = |row: &[f64]| {
            let norms = (dot(row, row) * dot(key, key)).sqrt();
            strength * dot(row, key) / norms.max(self.eps)
        };
        softmax(&memory.chunks(self.width).map(score).collect::<Vec<_>>())
    }

    /// Whether rounding may change the order of what is used least: allocation jumps there.
    pub(crate) fn is_close(&self, state: &[f64]) -> bool {
        let mut usage = state[self.rows * self.width..][..self.rows].to_vec();
        usage.sort_by(f64::total_cmp);
        let close = |pair: &[f64]| pair[1] > 0.0 && pair[1] - pair[0] < 1e-6;
        usage.windows(2).any(close)
    }

    /// What is read, and the next state.
    pub(crate) fn step(&self, interface: &[f64], state: &[f64]) -> Vec<f64> {
        let (n, w, r) = (self.rows, self.width, self.heads);
        let mut rest = interface;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at(count);
            rest = tail;
            head
        };
        let (read_keys, read_strengths) = (take(w * r), take(r));
        let (write_key, write_strength) = (take(w), take(1)[0]);
        let erase: Vec<f64> = take(w).iter().map(|&x| sigmoid(x)).collect();
        let add = take(w);
        let free: Vec<f64> = take(r).iter().map(|&x| sigmoid(x)).collect();
        let (allocation_gate, write_gate) = (sigmoid(take(1)[0]), sigmoid(take(1)[0]));
        let modes = take(3 * r);
        let mut rest = state;
        let mut take = |count: usize| {
            let (head, tail) = rest.split_at(count);
            rest = tail;
            head.to_vec()
        };
        let (mut memory, usage, precedence) = (take(n * w), take(n), take(n));
        let (last_write, last_reads, links) = (take(n), take(r * n), take(n * n));
        // Retention, usage, allocation by the free list.
        let retained = |i: usize| {
            (0..r)
                .map(|h| 1.0 - free[h] * last_reads[h * n + i])
                .product::<f64>()
        };
        let used = |i: usize| usage[i] + last_write[i] - usage[i] * last_write[i];
        let usage: Vec<f64> = (0..n).map(|i| used(i) * retained(i)).collect();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| usage[a].total_cmp(&usage[b]).then(a.cmp(&b)));
        let (mut allocation, mut product) = (vec![0.0; n], 1.0);
        for i in order {
            allocation[i] = (1.0 - usage[i]) * product;
            product *= usage[i];
        }
        // Write.
        let content = self.content(&memory, write_key, oneplus(write_strength));
        let gate =
            |i: usize| allocation_gate * allocation[i] + (1.0 - allocation_gate) * content[i];
        let write: Vec<f64> = (0..n).map(|i| write_gate * gate(i)).collect();
        for (i, row) in memory.chunks_mut(w).enumerate() {
            for (j, x) in row.iter_mut().enumerate() {
                *x = *x * (1.0 - write[i] * erase[j]) + write[i] * add[j];
            }
        }
        // Order of writes.
        let link = |i: usize, j: usize| match i == j {
            true => 0.0,
            false => (1.0 - write[i] - write[j]) * links[i * n + j] + write[i] * precedence[j],
        };
        let links: Vec<f64> = (0..n * n).map(|at| link(at / n, at % n)).collect();
        let sum: f64 = write.iter().sum();
        let precedence: Vec<f64> = (0..n)
            .map(|i| (1.0 - sum) * precedence[i] + write[i])
            .collect();
        // Reads.
        let (mut reads, mut out) = (vec![], vec![]);
        for h in 0..r {
            let last = &last_reads[h * n..][..n];
            let mode = softmax(&modes[3 * h..][..3]);
            let key = &read_keys[h * w..][..w];
            let content = self.content(&memory, key, oneplus(read_strengths[h]));
            let sums = |f: &dyn Fn(usize) -> f64| (0..n).map(|j| f(j) * last[j]).sum::<f64>();
            let own: Vec<f64> = (0..n)
                .map(|i| {
                    let backward = sums(&|j| links[j * n + i]);
                    let forward = sums(&|j| links[i * n + j]);
                    mode[0] * backward + mode[1] * content[i] + mode[2] * forward
                })
                .collect();
            out.extend((0..w).map(|j| (0..n).map(|i| memory[i * w + j] * own[i]).sum::<f64>()));
            reads.extend(own);
        }
        [out, memory, usage, precedence, write, reads, links].concat()
    }
}
