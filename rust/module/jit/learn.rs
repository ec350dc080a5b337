// SPDX-License-Identifier: GPL-2.0

//! What a prediction asks of vector code, so that code can be made for just that.
//!
//! The worker makes a prediction of its own and looks at the calls: sizes and constants are those of
//! every prediction of one sample. Context: task, may sleep.

use core::{
    cell::{
        Cell,
        RefCell, //
    },
    ops::Range, //
};

use kernel::prelude::*;
use neural_core::{
    float::{
        self,
        Function, //
    },
    int8::{
        self,
        ChainLayer, //
    },
    plan, //
};
use neural_jit::{
    Descriptor,
    Facts,
    GemmF32,
    GemmI8,
    Limit, //
};
use neural_simd::{
    generated::Call,
    Section,
    Set,
    Simd, //
};

use crate::{
    model::Model,
    sys::{
        cpu,
        fpu::FpuGuard, //
    }, //
};

/// The most bytes that a prediction may need. Who needs more does other things for most of the time.
const MOST: usize = 16 << 20;

/// A call that there may be code for. Offsets are those in the weights of the model.
#[derive(Clone)]
pub(crate) enum Work {
    /// A chain of layers of codes, and whether the output gets codes.
    ChainI8 { layers: Range<usize>, flip: bool },
    /// A chain of layers of numbers.
    ChainF32 { layers: Range<usize> },
    /// A product of codes, with the places of its constants as a layer of a chain has them.
    GemmI8 { gemm: GemmI8, layer: ChainLayer },
    /// A product of numbers, its weights and its biases.
    GemmF32 {
        gemm: GemmF32,
        w: Range<usize>,
        bias: Range<usize>,
    },
    /// Similarities.
    CosineF32 { rows: u32, n: u32, eps: u32 },
}

impl Work {
    /// What code is made from; `weights` are those of the model.
    pub(crate) fn descriptor<'a>(&self, weights: &'a [u8]) -> Option<Descriptor<'a>> {
        match self {
            Work::ChainI8 { layers, flip } => {
                Descriptor::chain_i8(weights.get(layers.clone())?, weights, *flip)
            }
            Work::ChainF32 { layers } => {
                Descriptor::chain_f32(weights.get(layers.clone())?, weights)
            }
            Work::GemmI8 { gemm, .. } => Some(Descriptor::GemmI8(*gemm)),
            Work::GemmF32 { gemm, .. } => Some(Descriptor::GemmF32(*gemm)),
            Work::CosineF32 { rows, n, eps } => Some(Descriptor::CosineF32 {
                rows: *rows,
                n: *n,
                eps: *eps,
            }),
        }
    }
}

/// A call, and at which place of the plan it was made.
pub(crate) struct Learnt {
    pub(crate) place: usize,
    pub(crate) work: Work,
}

/// Looks at the calls, of which it takes none.
struct Learner<'a> {
    weights: &'a [u8],
    open: Cell<Option<FpuGuard>>,
    place: Cell<usize>,
    /// With room for one call of each place: nothing can be allocated in a section.
    learnt: RefCell<KVec<Learnt>>,
}

fn narrow(n: usize) -> Option<u32> {
    u32::try_from(n).ok()
}

impl Learner<'_> {
    /// Where a part of the weights is, if it is one.
    fn at(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr();
        let start = start.checked_sub(self.weights.as_ptr().addr())?;
        let range = start..start.checked_add(part.len())?;
        self.weights.get(range.clone())?;
        Some(range)
    }

    fn gemm_i8(&self, gemm: &int8::Gemm<'_>) -> Option<Work> {
        let (n, k) = (narrow(gemm.n)?, narrow(gemm.k)?);
        let own = &gemm.requant;
        let codes = [own.zero, own.min, own.max].map(|code| u8::try_from(code).ok());
        let [Some(zero), Some(min), Some(max)] = codes else {
            return None;
        };
        let offset = |part| narrow(self.at(part)?.start);
        let lanes = gemm.n.checked_next_multiple_of(int8::LANES)?;
        let bias = gemm.bias.get(..lanes.checked_mul(4)?)?;
        let single = gemm.m == 1 && gemm.outer == 1 && gemm.offsets == [0; 4];
        single.then_some(Work::GemmI8 {
            gemm: GemmI8 {
                n,
                k,
                zero,
                min,
                max,
                facts: Facts::of(k, n, bias, own.shift),
            },
            layer: ChainLayer {
                k,
                n,
                w: offset(gemm.w)?,
                bias: offset(gemm.bias)?,
                mult: offset(own.mult)?,
                shift: offset(own.shift)?,
                zero: own.zero,
                min: own.min,
                max: own.max,
                table: ChainLayer::NONE,
                reserved: [0; 6],
            },
        })
    }

    fn gemm_f32(&self, gemm: &float::Gemm<'_>) -> Option<Work> {
        let limit = match gemm.act.function {
            Function::None => Limit::None,
            Function::Relu => Limit::Zero,
            Function::Relu6 => Limit::ZeroToSix,
            _ => return None,
        };
        // Of one position, the next one is nowhere.
        let row = |bytes| match gemm.m {
            1 => Some(0),
            _ => narrow(bytes),
        };
        let single = gemm.outer == 1 && gemm.offsets == [0; 4] && !gemm.by_row;
        single.then_some(Work::GemmF32 {
            gemm: GemmF32 {
                positions: narrow(gemm.m)?,
                n: narrow(gemm.n)?,
                k: narrow(gemm.k)?,
                x_row: row(gemm.x_row)?,
                y_row: row(gemm.y_row)?,
                limit,
            },
            w: self.at(gemm.w)?,
            bias: self.at(gemm.bias)?,
        })
    }

    fn work(&self, call: &Call<'_, '_>) -> Option<Work> {
        match call {
            Call::ChainI8(chain) => Some(Work::ChainI8 {
                layers: self.at(chain.layers)?,
                flip: chain.flip,
            }),
            Call::ChainF32(chain) => Some(Work::ChainF32 {
                layers: self.at(chain.layers)?,
            }),
            Call::GemmI8(gemm) => self.gemm_i8(gemm),
            Call::GemmF32(gemm) => self.gemm_f32(gemm),
            Call::CosineF32(cosine) => Some(Work::CosineF32 {
                rows: narrow(cosine.y.len() / 4)?,
                n: narrow(cosine.d)?,
                eps: cosine.eps,
            }),
        }
    }

    /// Keeps a call, the first one of its place. Code of that place is used for others of the same shape,
    /// too, which are other rows of the same layer: so it may rely on what the constants of all allow.
    fn keep(&self, call: &Call<'_, '_>) -> Option<()> {
        let place = self.place.get();
        let mut learnt = self.learnt.try_borrow_mut().ok()?;
        let first = learnt.iter_mut().find(|learnt| learnt.place == place);
        let work = self.work(call)?;
        match (first.map(|learnt| &mut learnt.work), &work) {
            (None, _) => learnt.push_within_capacity(Learnt { place, work }).ok(),
            (Some(Work::GemmI8 { gemm, .. }), Work::GemmI8 { gemm: other, .. }) => {
                gemm.facts = gemm.facts.and(other.facts);
                Some(())
            }
            _ => None,
        }
    }
}

impl Section for Learner<'_> {
    fn enter(&self) -> bool {
        let guard = self.open.take().or_else(FpuGuard::new);
        let open = guard.is_some();
        self.open.set(guard);
        open
    }

    fn leave(&self) {
        drop(self.open.take());
    }

    fn pause(&self) -> bool {
        self.leave();
        cpu::cond_resched();
        true
    }

    fn begin(&self, place: usize) {
        self.place.set(place);
    }

    fn generated(&self, call: Call<'_, '_>) -> bool {
        // What is not kept gets no code.
        let _ = self.keep(&call);
        false
    }
}

/// The calls that a prediction makes for which there may be code, one for each place of the plan; none of a
/// model that needs too much memory to predict.
///
/// Errors: `ENOMEM`; `EBUSY` when no prediction can be made.
pub(crate) fn learn(model: &Model, set: Set) -> Result<KVec<Learnt>> {
    let plan = model.plan();
    let bytes = [plan.scratch_bytes, plan.input_bytes, plan.output_bytes];
    if bytes.into_iter().fold(0, usize::saturating_add) > MOST {
        return Ok(KVec::new());
    }
    let zeros = |bytes| KVVec::<u8>::from_elem(0, bytes, GFP_KERNEL | __GFP_NOWARN);
    let (input, mut output) = (zeros(plan.input_bytes)?, zeros(plan.output_bytes)?);
    let mut scratch = zeros(plan.scratch_bytes)?;
    let learner = Learner {
        weights: model.weights(),
        open: Cell::new(None),
        place: Cell::new(0),
        learnt: RefCell::new(KVec::with_capacity(plan.places(), GFP_KERNEL)?),
    };
    let kernels = Simd::new(Some(set), learner);
    let result = plan::run(
        &kernels,
        plan,
        model.steps(),
        model.weights(),
        1,
        &mut scratch,
        &input,
        &mut output,
    );
    kernels.leave();
    result.map_err(|_| EBUSY)?;
    let learnt = kernels.section().learnt.take();
    Ok(learnt)
}
