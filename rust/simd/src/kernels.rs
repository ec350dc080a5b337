// SPDX-License-Identifier: GPL-2.0

//! The layers of a plan, by vector code where it pays.
//!
//! Vector registers may be used in sections only, which cost time to open and in which a kernel lets
//! nobody else run. So a section is opened by the first layer that wants it, stays open for the ones
//! that follow, and is closed when as much was done in it as [`SECTION_WORK`] says.

use core::cell::Cell;

use neural_core::float as numbers;
use neural_core::int16;
use neural_core::int8::{
    self as codes, Add, Chain, Depthwise, Flip, GateWeights, Gemm, Gemm16, LstmCell, LstmStep,
    Mean, Mul, Pool, Softmax, GROUP, LANES, PANEL,
};
use neural_core::plan::{DenseArgs, Kernels, Scalar, SECTION_WORK, TILE_MACS};
use neural_core::trees::{self, Forest};

use crate::generated::Call;
use crate::Set;

/// Elements, or multiply-accumulates, of a layer from which vector code is used
/// (`NEURAL_SIMD_THRESHOLD`).
pub const THRESHOLD: usize = 64;

/// Work of scalar code for which a section is not kept open: 1 us.
const ASIDE_WORK: u64 = 1 << 14;

/// What a position costs besides its products.
const POSITION_WORK: usize = 64;

/// What a result costs, when a vector of them is computed at a time.
const RESULT_WORK: usize = 16;

/// What an element costs, when a vector of them is computed at a time: of a window or of rows that are
/// summed up; of a sum or a product of codes; of a softmax; of what is only looked up. A row of what
/// is only copied costs as much as so many elements, and what is left of a vector as so many of windows.
const POOL_WORK: usize = 1;
const PAIR_WORK: usize = 32;
const SOFTMAX_WORK: usize = 64;
const LUT_WORK: usize = 4;
const ROW_WORK: usize = 32;
const REST_WORK: usize = 64;

/// What a cell of a recurrent layer costs, when a vector of them is computed at a time.
const CELL_WORK: usize = 64;

/// What one step of scalar code counts for, as long as vector code takes for so many
/// multiply-accumulates: of a product, of a result of products, of an element of a window, of a
/// sum, of a product of two codes, of a softmax, of what only looks up, of a node of a tree, of a cell of
/// a recurrent layer, and of what only copies.
const SCALAR_MAC: u64 = 8;
const SCALAR_RESULT: u64 = 256;
const SCALAR_POOL: u64 = 48;
const SCALAR_ADD: u64 = 96;
const SCALAR_MUL: u64 = 48;
const SCALAR_SOFTMAX: u64 = 640;
const SCALAR_LUT: u64 = 8;
const SCALAR_NODE: u64 = 64;
const SCALAR_CELL: u64 = 640;
const SCALAR_FLIP: u64 = 1;

/// Bytes of a number.
const NUMBER: usize = 4;

/// Sections in which vector registers may be used.
pub trait Section {
    /// Opens a section, if none is open; `false` where vector registers cannot be had.
    fn enter(&self) -> bool;

    /// Closes the section, if one is open.
    fn leave(&self);

    /// Closes the section and lets others run; `false` ends the prediction.
    fn pause(&self) -> bool;

    /// Something is about to be done without vector registers.
    #[inline]
    fn aside(&self) {}

    /// So much work is done next, in the section that is open then.
    #[inline]
    fn spend(&self, work: u64) {
        let _ = work;
    }

    /// The work at this place of the plan begins, as [`Kernels::begin`] says.
    #[inline]
    fn begin(&self, place: usize) {
        let _ = place;
    }

    /// The work at this place is done for so many samples, as [`Kernels::end`] says.
    #[inline]
    fn end(&self, place: usize, samples: usize) {
        let _ = (place, samples);
    }

    /// Does something by code that was made for this place of the plan. Called in an open section; `false`
    /// if there is none.
    #[inline]
    fn generated(&self, call: Call<'_, '_>) -> bool {
        let _ = call;
        false
    }
}

/// For user space, where vector registers may always be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSection;

impl Section for NoSection {
    fn enter(&self) -> bool {
        true
    }

    fn leave(&self) {}

    fn pause(&self) -> bool {
        true
    }
}

/// The kernels of a set of vector code, and those of the specification for the rest.
#[derive(Debug)]
pub struct Simd<S> {
    set: Option<Set>,
    section: S,
    /// Work since the section was opened, if one is open.
    work: Cell<u64>,
    operations: Cell<u64>,
}

impl<S: Section> Simd<S> {
    /// Kernels that use this set of vector code in these sections; without a set, scalar code.
    pub fn new(set: Option<Set>, section: S) -> Self {
        Simd {
            set,
            section,
            work: Cell::new(0),
            operations: Cell::new(0),
        }
    }

    /// The sections.
    pub fn section(&self) -> &S {
        &self.section
    }

    /// Whether there is vector code to use.
    pub const fn has_vector_code(&self) -> bool {
        self.set.is_some()
    }

    /// Operations that vector code has done.
    pub fn operations(&self) -> u64 {
        self.operations.get()
    }

    /// Closes the section, if one is open.
    pub fn leave(&self) {
        self.section.leave();
        self.work.set(0);
    }

    /// Announces work to be done in the section, and begins another one if it is too much for one.
    fn spend(&self, work: u64) {
        let sum = self.work.get().saturating_add(work);
        if sum > SECTION_WORK {
            self.leave();
            self.work.set(work);
        } else {
            self.work.set(sum);
        }
        self.section.spend(work);
    }

    /// Does `elements`, which cost `work`, by vector code. `false` if it did not.
    #[inline]
    fn vector(&self, elements: usize, work: u64, run: impl FnOnce(&Set) -> bool) -> bool {
        let Some(set) = &self.set else {
            return false;
        };
        if elements < THRESHOLD {
            return false;
        }
        self.spend(work);
        if !self.section.enter() || !run(set) {
            return false;
        }
        self.operations.set(self.operations.get().wrapping_add(1));
        true
    }

    /// Does what costs `work` and for which there is nothing but vector code. `false` if it did not: a
    /// plan has no such piece that is too much for a section.
    #[inline]
    fn numbers(&self, work: usize, run: impl FnOnce(&Set) -> bool) -> bool {
        // CAST: widens.
        let work = work as u64;
        work <= SECTION_WORK && self.vector(THRESHOLD, work, run)
    }

    /// Announces scalar code, for so many elements that each cost so much.
    fn scalar(&self, elements: usize, each: u64) {
        // CAST: widens.
        self.aside((elements as u64).saturating_mul(each));
    }

    /// Does `count` elements, which cost `work`, by vector code if that pays and all fit into a section.
    /// If not, `false`, and scalar code that costs so much for `each` is announced.
    #[inline]
    fn elements(
        &self,
        count: usize,
        each: u64,
        work: usize,
        run: impl FnOnce(&Set) -> bool,
    ) -> bool {
        // CAST: widens.
        let (scalar, work) = ((count as u64).saturating_mul(each), work as u64);
        // CAST: 64 bits, as on every target of the module.
        let macs = (scalar / SCALAR_MAC) as usize;
        let done = work <= SECTION_WORK && self.vector(macs, work, run);
        if !done {
            self.scalar(count, each);
        }
        done
    }

    /// Rows of products of some positions.
    fn products(&self, mut layer: Gemm<'_>, row: usize, work: u64) {
        let results = layer.m.saturating_mul(layer.outer).saturating_mul(layer.n);
        let macs = results.saturating_mul(row);
        let fits = work <= SECTION_WORK;
        let done = fits
            && self.vector(macs, work, |set| {
                self.section.generated(Call::GemmI8(&mut layer)) || set.gemm_i8(&mut layer)
            });
        if !done {
            let each = SCALAR_MAC
                .saturating_mul(row as u64)
                .saturating_add(SCALAR_RESULT);
            self.scalar(results, each);
            codes::gemm(layer);
        }
    }

    /// What the gates of a recurrent layer get from one of its operands: `rows` numbers of 16 bits.
    fn gates(&self, weights: GateWeights<'_>, rows: usize, x: (&[u8], usize), y: &mut [u8]) {
        let (x, k) = x;
        let padded = k.div_ceil(GROUP).saturating_mul(GROUP);
        let row_work = padded.saturating_add(RESULT_WORK);
        // CAST: 64 bits, as on every target of the module.
        let fit = (SECTION_WORK as usize).checked_div(row_work).unwrap_or(0);
        let most = (fit / PANEL).max(1).saturating_mul(PANEL);
        let each = SCALAR_MAC
            .saturating_mul(k as u64)
            .saturating_add(SCALAR_RESULT);
        for (i, y) in y.chunks_mut(most.saturating_mul(2)).enumerate() {
            let row = i.saturating_mul(most);
            let n = rows.saturating_sub(row).min(most);
            // Panels before this one are whole.
            let mut layer = Gemm16 {
                x,
                y,
                n,
                k,
                w: from(weights.w, row.saturating_mul(padded)),
                bias: from(weights.bias, row.saturating_mul(4)),
                mult: from(weights.mult, row.saturating_mul(4)),
                shift: from(weights.shift, row.saturating_mul(4)),
            };
            let lanes = n.div_ceil(LANES).saturating_mul(LANES);
            let work = lanes.saturating_mul(row_work);
            if !self.elements(n, each, work, |set| set.gemm16_i8(&mut layer)) {
                codes::gemm16(layer);
            }
        }
    }

    /// Windows of channels at some positions.
    fn channels(&self, mut layer: Depthwise<'_>, taps: usize, work: u64) {
        let positions = layer.m.saturating_mul(layer.outer);
        let results = positions.saturating_mul(layer.channels);
        let macs = results.saturating_mul(taps);
        let fits = work <= SECTION_WORK;
        if !fits || !self.vector(macs, work, |set| set.depthwise_i8(&mut layer)) {
            let each = SCALAR_MAC
                .saturating_mul(taps as u64)
                .saturating_add(SCALAR_RESULT);
            self.scalar(results, each);
            codes::depthwise(layer);
        }
    }
}

/// Cuts lines of positions: padding can make a tile of a plan much more than what it counts for. Gives
/// the line, the first position in it and how many.
fn pieces(lines: usize, m: usize, position: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    // CAST: 64 bits, as on every target of the module.
    let fit = (SECTION_WORK as usize)
        .checked_div(position)
        .unwrap_or(1)
        .max(1);
    let line = move |a| {
        let starts = (0..m).step_by(fit);
        starts.map(move |b| (a, b, fit.min(m.saturating_sub(b))))
    };
    (0..lines).flat_map(line)
}

/// Elements of a window that pooling looks at.
fn pooled(pool: &Pool<'_>) -> usize {
    let [height, width] = pool.window;
    [pool.out_width, pool.channels, height, width]
        .iter()
        .fold(pool.out_height, |product, &n| product.saturating_mul(n))
}

/// What lies at `at`; nothing behind the end.
fn from(bytes: &[u8], at: usize) -> &[u8] {
    bytes.get(at..).unwrap_or_default()
}

/// What vector code takes for all channels of a pixel.
fn channels_work(channels: usize) -> usize {
    let rest = match channels % LANES {
        0 => 0,
        _ => REST_WORK,
    };
    (channels / LANES)
        .saturating_mul(LANES * POOL_WORK)
        .saturating_add(rest)
}

/// What vector code takes for sums or products of `count` codes with others, that repeat.
fn pair_work(count: usize, repeat: usize) -> usize {
    let lanes = match repeat {
        0 | 1 => LANES,
        _ => repeat.min(LANES),
    };
    count.div_ceil(lanes).saturating_mul(LANES * PAIR_WORK)
}

/// What vector code takes for pooling.
fn pool_work(pool: &Pool<'_>) -> usize {
    let [height, width] = pool.window;
    let window = height.saturating_mul(width);
    // A result costs as much as some elements, whatever the window.
    let each = channels_work(pool.channels).saturating_mul(window.saturating_add(RESULT_WORK));
    pool.out_height
        .saturating_mul(pool.out_width)
        .saturating_mul(each)
}

impl<S: Section> Kernels for Simd<S> {
    fn dense_q16(&self, args: DenseArgs<'_>) {
        Scalar.dense_q16(args);
    }

    fn gemm_i8(&self, layer: Gemm<'_>) {
        if self.set.is_none() {
            return codes::gemm(layer);
        }
        let segments = layer.offsets.len() / 4;
        let row = segments.saturating_mul(layer.k);
        let padded = segments.saturating_mul(layer.k.div_ceil(GROUP).saturating_mul(GROUP));
        let position = layer
            .n
            .div_ceil(LANES)
            .saturating_mul(LANES)
            .saturating_mul(padded.saturating_add(RESULT_WORK))
            .saturating_add(POSITION_WORK);
        // CAST: widens.
        let work = |positions: usize| position.saturating_mul(positions) as u64;
        let all = work(layer.m.saturating_mul(layer.outer));
        if all <= SECTION_WORK {
            return self.products(layer, row, all);
        }
        for (a, b, m) in pieces(layer.outer, layer.m, position) {
            let at = |line: usize, step: usize| {
                a.saturating_mul(line)
                    .saturating_add(b.saturating_mul(step))
            };
            let x = layer.x.get(at(layer.x_outer, layer.x_row)..);
            let y = layer.y.get_mut(at(layer.y_outer, layer.y_row)..);
            if let (Some(x), Some(y)) = (x, y) {
                let piece = Gemm {
                    x,
                    y,
                    m,
                    outer: 1,
                    ..layer
                };
                self.products(piece, row, work(m));
            }
        }
    }

    fn chain_i8(&self, mut chain: Chain<'_>, work: usize) -> bool {
        // CAST: widens.
        let fits = work as u64 <= SECTION_WORK;
        // A panel has as many bytes as it has multiply-accumulates, padding included.
        let macs = chain.weights.len();
        fits && self.vector(macs, work as u64, |set| {
            self.section.generated(Call::ChainI8(&mut chain)) || set.chain_i8(&mut chain)
        })
    }

    fn depthwise_i8(&self, layer: Depthwise<'_>) {
        if self.set.is_none() {
            return codes::depthwise(layer);
        }
        let taps = layer.offsets.len() / 4;
        let padded = taps.div_ceil(GROUP).saturating_mul(GROUP);
        let position = layer
            .channels
            .div_ceil(PANEL)
            .saturating_mul(PANEL)
            .saturating_mul(padded.saturating_add(RESULT_WORK))
            .saturating_add(POSITION_WORK);
        // CAST: widens.
        let work = |positions: usize| position.saturating_mul(positions) as u64;
        let all = work(layer.m.saturating_mul(layer.outer));
        if all <= SECTION_WORK {
            return self.channels(layer, taps, all);
        }
        for (a, b, m) in pieces(layer.outer, layer.m, position) {
            let at = |line: usize, step: usize| {
                a.saturating_mul(line)
                    .saturating_add(b.saturating_mul(step))
            };
            let x = layer.x.get(at(layer.x_outer, layer.x_row)..);
            let y = layer.y.get_mut(at(layer.y_outer, layer.y_row)..);
            if let (Some(x), Some(y)) = (x, y) {
                let piece = Depthwise {
                    x,
                    y,
                    m,
                    outer: 1,
                    ..layer
                };
                self.channels(piece, taps, work(m));
            }
        }
    }

    fn average_pool_i8(&self, mut args: Pool<'_>) {
        let (count, work) = (pooled(&args), pool_work(&args));
        if !self.elements(count, SCALAR_POOL, work, |set| {
            set.average_pool_i8(&mut args)
        }) {
            codes::average_pool(args);
        }
    }

    fn max_pool_i8(&self, mut args: Pool<'_>) {
        let (count, work) = (pooled(&args), pool_work(&args));
        if !self.elements(count, SCALAR_POOL, work, |set| set.max_pool_i8(&mut args)) {
            codes::max_pool(args);
        }
    }

    fn add_i8(&self, mut args: Add<'_>) {
        let count = args.y.len();
        let work = pair_work(count, args.b.len());
        if !self.elements(count, SCALAR_ADD, work, |set| set.add_i8(&mut args)) {
            codes::add(args);
        }
    }

    fn mul_i8(&self, mut args: Mul<'_>) {
        let count = args.y.len();
        let work = pair_work(count, args.b.len());
        if !self.elements(count, SCALAR_MUL, work, |set| set.mul_i8(&mut args)) {
            codes::mul(args);
        }
    }

    fn mean_i8(&self, mut args: Mean<'_>) {
        let count = args.rows.saturating_mul(args.channels);
        let work = args.rows.saturating_mul(channels_work(args.channels));
        if !self.elements(count, SCALAR_POOL, work, |set| set.mean_i8(&mut args)) {
            codes::mean(args);
        }
    }

    fn softmax_i8(&self, mut args: Softmax<'_>) {
        let count = args.y.len();
        let rows = count.checked_div(args.n).unwrap_or(0);
        let row = args.n.div_ceil(LANES).saturating_mul(LANES * SOFTMAX_WORK);
        let work = rows.saturating_mul(row);
        if !self.elements(count, SCALAR_SOFTMAX, work, |set| set.softmax_i8(&mut args)) {
            codes::softmax(args);
        }
    }

    fn lstm_i8(&self, step: LstmStep<'_>) {
        let LstmStep {
            x,
            h,
            cell,
            inputs,
            n,
            x_weights,
            h_weights,
            scratch,
            scales,
        } = step;
        let rows = n.saturating_mul(4);
        let Some((from_x, from_h)) = scratch.split_at_mut_checked(rows.saturating_mul(2)) else {
            return;
        };
        self.gates(x_weights, rows, (x, inputs), from_x);
        self.gates(h_weights, rows, (h, n), from_h);
        let mut layer = LstmCell {
            from_x,
            from_h,
            cell,
            h,
            n,
            scales,
        };
        let work = n.div_ceil(LANES).saturating_mul(LANES * CELL_WORK);
        if !self.elements(n, SCALAR_CELL, work, |set| set.lstm_cell_i8(&mut layer)) {
            codes::lstm_cell(layer);
        }
    }

    fn lut_i8(&self, table: &[u8; 256], x: &[u8], y: &mut [u8]) {
        let work = y.len().saturating_mul(LUT_WORK);
        if !self.elements(y.len(), SCALAR_LUT, work, |set| set.lut_i8(table, x, y)) {
            codes::lut::apply(table, x, y);
        }
    }

    fn flip_i8(&self, mut args: Flip<'_>) {
        let row = args.n.saturating_add(ROW_WORK);
        let work = row.saturating_mul(args.rows);
        if !self.elements(work, SCALAR_FLIP, work, |set| set.flip_i8(&mut args)) {
            codes::flip(args);
        }
    }

    fn dense_i16(&self, args: int16::Dense<'_>) {
        let rows = args.y.len() / NUMBER;
        // CAST: widens.
        let row = SCALAR_MAC.saturating_mul(args.k as u64);
        self.scalar(rows, row.saturating_add(SCALAR_RESULT));
        int16::dense(args);
    }

    fn forest(&self, args: Forest<'_>) {
        let trees = args.roots.len() / NUMBER;
        // CAST: widens.
        self.scalar(trees.saturating_mul(args.height as usize), SCALAR_NODE);
        trees::sums(args);
    }

    fn gemm_f32(&self, mut layer: numbers::Gemm<'_>, work: usize) -> bool {
        self.numbers(work, |set| {
            self.section.generated(Call::GemmF32(&mut layer)) || set.gemm_f32(&mut layer)
        })
    }

    fn chain_f32(&self, mut chain: numbers::Chain<'_>, work: usize) -> bool {
        self.numbers(work, |set| {
            self.section.generated(Call::ChainF32(&mut chain)) || set.chain_f32(&mut chain)
        })
    }

    fn depthwise_f32(&self, mut layer: numbers::Depthwise<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.depthwise_f32(&mut layer))
    }

    fn pool_f32(&self, mut layer: numbers::Pool<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.pool_f32(&mut layer))
    }

    fn binary_f32(&self, mut layer: numbers::Binary<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.binary_f32(&mut layer))
    }

    fn map_f32(&self, mut layer: numbers::Map<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.map_f32(&mut layer))
    }

    fn softmax_f32(&self, mut layer: numbers::Softmax<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.softmax_f32(&mut layer))
    }

    fn norm_f32(&self, mut layer: numbers::Norm<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.norm_f32(&mut layer))
    }

    fn matmul_f32(&self, mut layer: numbers::Matmul<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.matmul_f32(&mut layer))
    }

    fn mix_f32(&self, mut layer: numbers::Mix<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.mix_f32(&mut layer))
    }

    fn usage_f32(&self, mut layer: numbers::Usage<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.usage_f32(&mut layer))
    }

    fn allocation_f32(&self, mut layer: numbers::Allocation<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.allocation_f32(&mut layer))
    }

    fn write_f32(&self, mut layer: numbers::Write<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.write_f32(&mut layer))
    }

    fn link_f32(&self, mut layer: numbers::Link<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.link_f32(&mut layer))
    }

    fn mean_f32(&self, mut layer: numbers::Mean<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.mean_f32(&mut layer))
    }

    fn normalise_f32(&self, mut layer: numbers::Normalise<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.normalise_f32(&mut layer))
    }

    fn attention_f32(&self, mut layer: numbers::Attention<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.attention_f32(&mut layer))
    }

    fn lstm_cell_f32(&self, mut layer: numbers::LstmCell<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.lstm_f32(&mut layer))
    }

    fn gru_cell_f32(&self, mut layer: numbers::GruCell<'_>, work: usize) -> bool {
        self.numbers(work, |set| set.gru_f32(&mut layer))
    }

    fn cosine_f32(&self, mut layer: numbers::Cosine<'_>, work: usize) -> bool {
        self.numbers(work, |set| {
            self.section.generated(Call::CosineF32(&mut layer)) || set.cosine_f32(&mut layer)
        })
    }

    fn aside(&self, work: u64) {
        self.section.aside();
        if work > ASIDE_WORK {
            self.leave();
        } else {
            self.spend(work);
        }
    }

    #[inline]
    fn begin(&self, place: usize) {
        self.section.begin(place);
    }

    #[inline]
    fn end(&self, place: usize, samples: usize) {
        self.section.end(place, samples);
    }

    fn tile_macs(&self) -> u64 {
        match self.set {
            Some(_) => SECTION_WORK,
            None => TILE_MACS,
        }
    }

    fn pause(&self) -> bool {
        self.work.set(0);
        self.section.pause()
    }
}
