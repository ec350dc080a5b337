// SPDX-License-Identifier: GPL-2.0

//! Dense layers one after the other, and functions of their results, as one call of [`Kernels`].
//!
//! Small networks are mostly such chains, and for them the way from step to step takes longer than the
//! arithmetic. So what a layer needs is written down once, behind the packed weights, in a form that
//! vector code reads by itself. The steps of the layers stay in the plan: they are used for several
//! samples at a time, and by kernels that have no [`Kernels::chain_i8`] or [`Kernels::chain_f32`].

use crate::fixed::{self, ELEMENT_BYTES};
use crate::float::{self, work};
use crate::int8::{self as codes, GROUP, LANES};

use super::build::aligned;
use super::float::Float;
use super::int8::Int8;
use super::{Kernels, Plan, Region, Step, Work};

/// The most layers of a chain.
const MAX_LAYERS: usize = 16;

/// What a result of codes costs besides its products, its table included, in multiply-accumulates.
const RESULT_WORK: usize = 32;

/// What the layers of a chain compute with.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Codes,
    Numbers,
}

impl Kind {
    /// Bytes of what is written down of a layer.
    const fn layer_bytes(self) -> usize {
        match self {
            Kind::Codes => codes::ChainLayer::BYTES,
            Kind::Numbers => float::ChainLayer::BYTES,
        }
    }

    /// Bytes from a buffer to the next one, which hold so many elements.
    fn width(self, elements: usize) -> Option<usize> {
        match self {
            Kind::Codes => Int8::stride(elements),
            Kind::Numbers => {
                let padded = elements.checked_next_multiple_of(LANES)?;
                Float::stride(padded.checked_mul(ELEMENT_BYTES)?)
            }
        }
    }
}

/// A layer of a chain.
#[derive(Copy, Clone, Debug)]
enum Layer {
    Codes(codes::ChainLayer),
    Numbers(float::ChainLayer),
}

impl Layer {
    /// What it reads and gives.
    const fn sizes(&self) -> (u32, u32) {
        match self {
            Layer::Codes(layer) => (layer.k, layer.n),
            Layer::Numbers(layer) => (layer.k, layer.n),
        }
    }

    /// What it costs, padding included.
    fn work(&self) -> usize {
        let (k, n) = self.sizes();
        // CAST: widens.
        let (k, n) = (k as usize, n as usize);
        match self {
            Layer::Codes(_) => {
                let rows = n.div_ceil(LANES).saturating_mul(LANES);
                let row = k.div_ceil(GROUP).saturating_mul(GROUP);
                rows.saturating_mul(row.saturating_add(RESULT_WORK))
            }
            Layer::Numbers(layer) => work::gemm_position(n, layer.by_row == 0, 1, k),
        }
    }

    /// Writes it down.
    fn store(&self, place: &mut [u8]) {
        let words = place.chunks_exact_mut(ELEMENT_BYTES);
        match self {
            Layer::Codes(layer) => {
                for (to, field) in words.zip(layer.fields()) {
                    fixed::store(to, field);
                }
            }
            Layer::Numbers(layer) => {
                for (to, field) in words.zip(layer.fields()) {
                    to.copy_from_slice(&field.to_le_bytes());
                }
            }
        }
    }
}

/// The steps from the first one on that one call can do.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    kind: Kind,
    /// How many steps, 0 for no chain: the copy of the input, the layers, and the copy of the output
    /// if the last layer gives it.
    pub(super) steps: usize,
    /// Whether the last of them copies the output.
    to_output: bool,
    /// Where the layers are written down in the packed weights.
    layers: usize,
    count: usize,
    /// Where the buffers are in the scratch memory, and the bytes of one.
    temp: usize,
    width: usize,
    /// What the layers cost, padding included.
    work: usize,
}

impl Chain {
    /// Finds the chain at the beginning of a plan, and places for what it needs.
    pub(super) fn find(steps: &[Step], plan: &mut Plan) -> Option<Self> {
        let kind = copies(steps.first()?)?;
        let layers = layers(kind, steps).take(MAX_LAYERS);
        let count = layers.clone().count();
        let done = layers.clone().last()?.1;
        let work = layers
            .clone()
            .fold(0usize, |work, (layer, _)| work.saturating_add(layer.work()));
        let widest = layers.fold(0, |elements, (layer, _)| {
            let (k, n) = layer.sizes();
            elements.max(k).max(n)
        });
        // CAST: widens.
        let width = kind.width(widest as usize)?;
        let at = plan.weight_bytes;
        let bytes = count.checked_mul(kind.layer_bytes())?;
        plan.weight_bytes = at.checked_add(aligned(bytes)?)?;
        let temp = plan.scratch_bytes;
        plan.scratch_bytes = temp.checked_add(width.checked_mul(2)?)?;
        let to_output = done.checked_add(1) == Some(steps.len())
            && steps.get(done).and_then(copies) == Some(kind);
        Some(Chain {
            kind,
            steps: done.checked_add(usize::from(to_output))?,
            to_output,
            layers: at,
            count,
            temp,
            width,
            work,
        })
    }

    /// Writes the layers down.
    pub(super) fn pack(&self, steps: &[Step], dst: &mut [u8]) -> Option<()> {
        let layers = layers(self.kind, steps).take(self.count);
        let places = dst
            .get_mut(self.layers..)?
            .chunks_exact_mut(self.kind.layer_bytes());
        for ((layer, _), place) in layers.zip(places) {
            layer.store(place);
        }
        Some(())
    }

    /// The layers that are written down, if the chain is not too much to be done as one.
    #[inline]
    fn written<'a>(&self, weights: &'a [u8], tile_macs: u64) -> Option<&'a [u8]> {
        // CAST: widens.
        if self.steps == 0 || self.work as u64 > tile_macs {
            return None;
        }
        let bytes = self.count.wrapping_mul(self.kind.layer_bytes());
        weights.get(self.layers..)?.get(..bytes)
    }

    /// Does the steps of the chain for one sample, if the kernels can. Gives how many were done.
    #[inline]
    pub(super) fn run<K: Kernels + ?Sized>(
        &self,
        kernels: &K,
        steps: &[Step],
        weights: &[u8],
        scratch: &mut [u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Option<usize> {
        let layers = self.written(weights, kernels.tile_macs())?;
        let (tensors, temp) = scratch.split_at_mut_checked(self.temp)?;
        let y = if self.to_output {
            output
        } else {
            let last = &steps.get(self.steps.checked_sub(1)?)?.write;
            let Region::Scratch(at) = last.region else {
                return None;
            };
            tensors.get_mut(at..)?.get_mut(..last.bytes)?
        };
        let place = steps.len();
        kernels.begin(place);
        let done = match self.kind {
            Kind::Codes => {
                let chain = codes::Chain {
                    layers,
                    weights,
                    x: input,
                    y,
                    flip: self.to_output,
                    temp,
                    width: self.width,
                };
                kernels.chain_i8(chain, self.work)
            }
            Kind::Numbers => {
                let chain = float::Chain {
                    layers,
                    weights,
                    x: input,
                    y,
                    temp,
                    width: self.width,
                };
                kernels.chain_f32(chain, self.work)
            }
        };
        if !done {
            return None;
        }
        kernels.end(place, 1);
        Some(self.steps)
    }
}

/// What a network computes with whose input or output the step copies; `None` if it does not.
fn copies(step: &Step) -> Option<Kind> {
    match &step.work {
        Work::Int8(Int8::Flip) => Some(Kind::Codes),
        Work::Float(Float::Copy) => Some(Kind::Numbers),
        _ => None,
    }
}

/// The layers of the longest chain at the beginning: dense layers of one position, each of which reads
/// what the step before it writes, which nothing else reads; and how many steps are done then.
fn layers(kind: Kind, steps: &[Step]) -> impl Iterator<Item = (Layer, usize)> + Clone + '_ {
    let mut done = 1usize;
    core::iter::from_fn(move || {
        let step = follower(steps, done)?;
        let mut layer = match (&step.work, kind) {
            (Work::Int8(Int8::Products(products)), Kind::Codes) => {
                Layer::Codes(products.chain_layer()?)
            }
            (Work::Float(Float::Products(products)), Kind::Numbers) => {
                Layer::Numbers(products.chain_layer()?)
            }
            _ => return None,
        };
        // A window may leave out what is at the end of an image.
        if layer.sizes().0 != step.inputs {
            return None;
        }
        done = done.checked_add(1)?;
        if let Layer::Codes(layer) = &mut layer {
            if let Some(Work::Int8(Int8::Lut(part))) = follower(steps, done).map(|step| &step.work)
            {
                layer.table = u32::try_from(part.at).ok()?;
                done = done.checked_add(1)?;
            }
        }
        Some((layer, done))
    })
}

/// The step at `index`, if it is the only one that reads what the step before it writes.
fn follower(steps: &[Step], index: usize) -> Option<&Step> {
    let (before, step) = (steps.get(index.checked_sub(1)?)?, steps.get(index)?);
    let [from, ..] = step.reads;
    // CAST: widens.
    (from == before.write && before.last_use as usize == index).then_some(step)
}
