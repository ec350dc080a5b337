// SPDX-License-Identifier: GPL-2.0

//! Random forests, and the leaves that are reached, by recursion.

#![allow(dead_code)] // Each test uses a part of it.

/// The constants of a forest.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trees {
    /// `feature | height << 16`, threshold, left, right.
    pub(crate) nodes: Vec<[i32; 4]>,
    pub(crate) roots: Vec<i32>,
    /// `n` results each.
    pub(crate) leaves: Vec<i32>,
    pub(crate) n: usize,
}

impl Trees {
    /// Some trees, none of which is higher than `height`. `below` draws numbers; of 32 bits `threshold`
    /// and `leaf` make theirs.
    pub(crate) fn random(
        below: &mut dyn FnMut(u64) -> u64,
        (features, n): (u32, usize),
        (trees, height): (u64, u32),
        threshold: &dyn Fn(u32) -> i32,
        leaf: &dyn Fn(u32) -> i32,
    ) -> Self {
        let count = 1 + below(20) as usize;
        let mut this = Trees {
            leaves: (0..count * n).map(|_| leaf(word(below))).collect(),
            n,
            ..Trees::default()
        };
        for _ in 0..trees {
            let (root, _) = this.grow(below, features, height, threshold);
            this.roots.push(root);
        }
        if this.nodes.is_empty() {
            // There has to be one, even if no path leads to it.
            this.nodes.push([1 << 16, 0, -1, -1]);
        }
        this
    }

    /// A node or a leaf, and its height. What a node leads to stands before it.
    fn grow(
        &mut self,
        below: &mut dyn FnMut(u64) -> u64,
        features: u32,
        height: u32,
        threshold: &dyn Fn(u32) -> i32,
    ) -> (i32, i32) {
        if height == 0 || below(6) == 0 {
            let count = self.leaves.len() / self.n;
            return (-1 - below(count as u64) as i32, 0);
        }
        let (left, a) = self.grow(below, features, height - 1, threshold);
        let (right, b) = self.grow(below, features, height - 1, threshold);
        let own = 1 + a.max(b);
        let feature = below(features.into()) as i32;
        let threshold = threshold(word(below));
        self.nodes
            .push([feature | own << 16, threshold, left, right]);
        (self.nodes.len() as i32 - 1, own)
    }

    /// Sums of the leaves that are reached; `left(feature, threshold)` says where to go.
    pub(crate) fn sums(&self, left: &dyn Fn(usize, i32) -> bool) -> Vec<i128> {
        let mut sums = vec![0; self.n];
        for &root in &self.roots {
            let leaf = self.leaf(root, left);
            for (sum, &value) in sums.iter_mut().zip(&self.leaves[leaf * self.n..]) {
                *sum += i128::from(value);
            }
        }
        sums
    }

    fn leaf(&self, place: i32, left: &dyn Fn(usize, i32) -> bool) -> usize {
        if place < 0 {
            return (-1 - place) as usize;
        }
        let [word, threshold, low, high] = self.nodes[place as usize];
        match left((word & 0xffff) as usize, threshold) {
            true => self.leaf(low, left),
            false => self.leaf(high, left),
        }
    }

    /// Words of the nodes.
    pub(crate) fn words(&self) -> Vec<i32> {
        self.nodes.concat()
    }
}

/// A number of 32 bits.
fn word(below: &mut dyn FnMut(u64) -> u64) -> u32 {
    below(1 << 32) as u32
}
