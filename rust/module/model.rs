// SPDX-License-Identifier: GPL-2.0

//! A model as it is executed: plan, weights on their nodes, and scratch memory for every caller.
//!
//! A model never changes; a network replaces it by another one. Two kinds of scratch memory exist:
//! one slot for each CPU and context, for models that are cheap enough to be run with preemption
//! off, and a pool of slots that a task may wait for, for all others.
//!
//! Locks: `pool`, held for a few instructions by predictions only; nobody who loads or replaces a
//! model takes it. Context: creation and drop: task, may sleep.

use kernel::{
    bindings,
    new_condvar,
    new_mutex,
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
    }, //
};
use neural_core::{
    act::Activation,
    nnm::{
        self,
        DType,
        OpKind, //
    },
    plan::{
        self,
        Plan,
        Step, //
    }, //
};

use crate::{
    dispatch::{
        self,
        Dispatch, //
    },
    failure::{
        errno,
        failure,
        Failure,
        Kind,
        Outcome, //
    },
    jit::Codes,
    profile::{
        self,
        Sites, //
    },
    sys::{
        buf::{
            has_room,
            NodeBuf,
            Placement, //
        },
        cpu::{
            self,
            PreemptGuard, //
        },
        scratch::CpuScratch,
        slab::{
            Shared,
            SlabArc,
            SlabCache, //
        }, //
    }, //
};

/// Multiply-accumulates, or what takes as long, up to which a prediction runs with preemption off,
/// in any context (`NEURAL_ATOMIC_MACS`).
const ATOMIC_MACS: u64 = 1 << 18;

/// Bytes of scratch memory up to which each CPU gets its own.
const ATOMIC_SCRATCH: usize = 64 << 10;

/// Bytes of scratch memory up to which a place of the pool is for several samples.
const POOL_SCRATCH: usize = 1 << 20;

/// The most samples that go through a plan side by side.
pub(crate) const SIDE_BY_SIDE: usize = 16;

/// What samples that go side by side through a plan that is run preemptible cost at the most, so that
/// one who is to stop does so soon.
const PREEMPTIBLE_MACS: u64 = 1 << 22;

/// What a step costs, in multiply-accumulates of Q16.16: everything counts for as many as take about
/// as long in general registers (see `Documentation/performance.rst`). With `vector`, what vector code
/// is there for is computed by it.
fn cost_of(step: &Step, vector: bool) -> u64 {
    let (mac, output) = match (step.dtype(), step.kind()) {
        // A node is as a rule not in the cache.
        (_, OpKind::Forest) => (64, 64),
        (DType::Q16, _) => (1, cost_of_activation(step.activation())),
        // By vector code; what limits it is the way of the weights from memory.
        (DType::F32, OpKind::Attention | OpKind::AttentionStep | OpKind::Dnc) => (4, 64),
        (DType::F32, OpKind::Lstm | OpKind::LstmCell | OpKind::Gru | OpKind::GruCell) => (1, 64),
        (DType::I16, OpKind::Dense) => (1, 128),
        (DType::F32, _) => (1, 16),
        (_, OpKind::Dense | OpKind::Conv2d | OpKind::DepthwiseConv2d) if vector => (1, 4),
        (_, OpKind::Dense | OpKind::Conv2d) => (2, 128),
        (_, OpKind::DepthwiseConv2d) => (4, 96),
        (_, OpKind::AveragePool2d) => (8, 64),
        (_, OpKind::MaxPool2d | OpKind::Mean) => (4, 64),
        (_, OpKind::Lstm) if vector => (1, 64),
        (_, OpKind::Lstm) => (2, 640),
        (_, OpKind::Add | OpKind::Sub) => (1, 32),
        (_, OpKind::Softmax) => (1, 160),
        _ => (1, 16),
    };
    let outputs = u64::from(step.outputs()).saturating_mul(output);
    let macs = step.macs().saturating_mul(mac);
    macs.saturating_add(outputs).saturating_add(64)
}

/// What a prediction costs.
#[derive(Clone, Copy)]
struct Costs {
    scalar: u64,
    vector: u64,
}

impl Costs {
    fn of(steps: &[Step]) -> Self {
        let sum = |vector| {
            let costs = steps.iter().map(|step| cost_of(step, vector));
            costs.fold(0, u64::saturating_add)
        };
        Costs {
            scalar: sum(false),
            vector: sum(true),
        }
    }
}

/// What the activation of an element costs.
fn cost_of_activation(activation: Activation) -> u64 {
    match activation {
        Activation::Linear | Activation::Relu => 2,
        Activation::LeakyRelu { .. } => 8,
        Activation::Sigmoid => 64,
        Activation::Tanh | Activation::Softmax => 128,
    }
}

/// Largest model file, in bytes.
pub(crate) const MAX_MODEL_BYTES: u64 = 256 << 20;

/// Bytes of weights that are copied between two chances for others to run.
const COPY_BYTES: usize = 1 << 20;

/// Slots in the pool of a model that is too costly to run with preemption off, at the most, and the bytes
/// that more than one of them may have together.
const POOL_SLOTS: usize = 16;
const POOL_MEMORY: usize = 64 << 20;

/// Where a model's memory shall lie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spread {
    /// Weights near the node that loads, scratch near each CPU.
    Local,
    /// Everything page by page around the nodes.
    Interleave,
    /// Everything on one node.
    Node(i32),
}

impl Spread {
    /// Placement of weights, and of whatever belongs to no CPU.
    pub(crate) fn weights(self) -> Placement {
        match self {
            Spread::Local => Placement::Near(cpu::current_node()),
            Spread::Interleave => Placement::Interleaved(cpu::current_node()),
            Spread::Node(node) => Placement::On(node),
        }
    }

    fn scratch(self) -> Option<Placement> {
        match self {
            Spread::Local => None,
            _ => Some(self.weights()),
        }
    }
}

enum Scratch {
    /// For each CPU and context.
    Cpu(CpuScratch),
    /// For tasks that may wait.
    Pool,
}

/// The slab cache of models.
pub(crate) static MODELS: SlabCache<Shared<Model>> = SlabCache::new();

/// A loaded model.
#[pin_data]
pub(crate) struct Model {
    plan: Plan,
    steps: KVVec<Step>,
    weights: NodeBuf,
    scratch: Scratch,
    #[pin]
    pool: Mutex<KVec<NodeBuf>>,
    #[pin]
    freed: CondVar,
    pool_memory: usize,
    pool_slots: usize,
    /// Samples that the scratch memory of a task is for.
    room: usize,
    costs: Costs,
    sites: Sites,
    /// Where code is found that was made for this model.
    codes: Option<Codes>,
    /// One more with each model that a network gets.
    pub(crate) generation: u32,
    /// What goes in and out.
    pub(crate) ports: Ports,
}

/// An input or an output.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    /// Its elements.
    pub(crate) dim: u32,
    /// Of codes: the bits of the scale, an `f32`; else 0.
    pub(crate) scale_bits: u32,
    /// Of codes: the code for 0; else 0.
    pub(crate) zero_point: i32,
}

impl Port {
    fn of(file: &nnm::Model<'_>, tensor: u32, dim: u32) -> Self {
        let tensor = file.tensor(tensor);
        Port {
            dim,
            scale_bits: tensor.map_or(0, |tensor| tensor.scale_bits),
            zero_point: tensor.map_or(0, |tensor| tensor.zero_point),
        }
    }
}

/// What goes in and out of a model.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    /// The type of all elements.
    pub(crate) dtype: DType,
    /// What goes in.
    pub(crate) input: Port,
    /// What comes out.
    pub(crate) output: Port,
}

impl Ports {
    /// Those of a file.
    pub(crate) fn of(file: &nnm::Model<'_>) -> Self {
        Ports {
            dtype: file.dtype(),
            input: Port::of(file, file.input_tensor(), file.input_dim()),
            output: Port::of(file, file.output_tensor(), file.output_dim()),
        }
    }

    /// Whether both take and give the same number of the same elements, whatever these mean.
    pub(crate) fn fit(&self, other: &Self) -> bool {
        (self.dtype, self.input.dim, self.output.dim)
            == (other.dtype, other.input.dim, other.output.dim)
    }
}

/// What is made before a model can be put into its place in memory.
struct Parts {
    plan: Plan,
    steps: KVVec<Step>,
    weights: NodeBuf,
    ports: Ports,
}

/// The limits that a model file must keep.
pub(crate) fn limits() -> nnm::Limits {
    nnm::Limits {
        max_bytes: MAX_MODEL_BYTES,
        ..nnm::Limits::DEFAULT
    }
}

/// `count` steps that a plan has yet to be made in.
#[inline(never)]
fn empty_steps(count: usize) -> Outcome<KVVec<Step>> {
    let no_memory = |_| Failure::memory("the plan", count * core::mem::size_of::<Step>());
    let mut steps = KVVec::with_capacity(count, GFP_KERNEL).map_err(no_memory)?;
    for _ in 0..count {
        // From where it lies: a step is too large for the stack.
        steps
            .extend_from_slice(&[Step::EMPTY], GFP_KERNEL)
            .map_err(|_| Failure::memory("the plan", count * core::mem::size_of::<Step>()))?;
    }
    Ok(steps)
}

/// Makes the plan of a model, and packs its weights on their nodes.
#[inline(never)]
fn prepare(
    file: &nnm::Model<'_>,
    spread: Spread,
    steps: &mut [Step],
    plan: &mut Plan,
) -> Outcome<NodeBuf> {
    *plan = file
        .plan(steps)
        .map_err(|error| Failure::from_core(error, Kind::Model))?;
    let room = Room::of(plan, &Costs::of(steps), file.dtype());
    let bytes = plan.weight_bytes.saturating_add(room.all());
    if !has_room(bytes) {
        return Err(Failure::memory("weights and scratch", bytes));
    }
    let mut weights = NodeBuf::new(plan.weight_bytes, spread.weights())
        .map_err(|_| Failure::memory("weights", plan.weight_bytes))?;
    file.pack(steps, plan, weights.as_mut_slice())
        .map_err(|error| Failure::from_core(error, Kind::Model))?;
    Ok(weights)
}

/// How much scratch memory a model gets.
struct Room {
    /// Samples that a slot is for.
    samples: usize,
    /// Bytes of a slot.
    bytes: usize,
    /// Slots of the pool; 0 for one for each CPU and context.
    slots: usize,
}

impl Room {
    fn of(plan: &Plan, costs: &Costs, dtype: DType) -> Self {
        let one = plan.scratch_bytes;
        let atomic = costs.scalar <= ATOMIC_MACS && one <= ATOMIC_SCRATCH;
        let memory = if atomic { ATOMIC_SCRATCH } else { POOL_SCRATCH };
        let samples = memory.checked_div(one).unwrap_or(SIDE_BY_SIDE);
        let samples = samples.min(side_by_side(dtype, atomic, costs.vector));
        let samples = samples.max(1);
        let bytes = one.saturating_mul(samples);
        let slots = POOL_MEMORY.checked_div(bytes).unwrap_or(POOL_SLOTS).max(1);
        Room {
            samples,
            bytes,
            slots: match atomic {
                true => 0,
                false => slots.min(2 * cpu::online_count()).min(POOL_SLOTS),
            },
        }
    }

    /// Bytes of all slots; those of CPUs are few.
    fn all(&self) -> usize {
        self.bytes.saturating_mul(self.slots)
    }
}

impl Model {
    /// Makes a model of a file that was parsed, for the network with this id.
    pub(crate) fn new(
        file: &nnm::Model<'_>,
        spread: Spread,
        network: u32,
        generation: u32,
    ) -> Outcome<SlabArc<Self>> {
        if file.dtype() == DType::F32 && !dispatch::has_vector() {
            return Err(failure!(
                errno(bindings::EOPNOTSUPP),
                Model,
                "model: single precision needs vector code, for which this CPU has no AVX2 and FMA, or neural_force_isa is scalar"
            ));
        }
        let mut steps = empty_steps(file.step_count())?;
        let mut plan = Plan::default();
        let weights = prepare(file, spread, &mut steps, &mut plan)?;
        let parts = Parts {
            plan,
            steps,
            weights,
            ports: Ports::of(file),
        };
        Self::assemble(parts, spread, network, generation)
    }

    /// The same model in memory placed anew.
    pub(crate) fn placed(
        &self,
        spread: Spread,
        network: u32,
        generation: u32,
    ) -> Outcome<SlabArc<Self>> {
        let mut steps = KVVec::with_capacity(self.steps.len(), GFP_KERNEL)
            .map_err(|_| Failure::memory("the plan", core::mem::size_of_val(&*self.steps)))?;
        steps
            .extend_from_slice(&self.steps, GFP_KERNEL)
            .map_err(|_| Failure::memory("the plan", core::mem::size_of_val(&*self.steps)))?;
        let mut weights = NodeBuf::new(self.plan.weight_bytes, spread.weights())
            .map_err(|_| Failure::memory("weights", self.plan.weight_bytes))?;
        let from = self.weights.as_slice().chunks(COPY_BYTES);
        for (to, from) in weights.as_mut_slice().chunks_mut(COPY_BYTES).zip(from) {
            if !cpu::pause() {
                return Err(failure!(
                    EINTR,
                    Interrupted,
                    "config: the caller is being killed"
                ));
            }
            to.copy_from_slice(from);
        }
        let parts = Parts {
            plan: self.plan,
            steps,
            weights,
            ports: self.ports,
        };
        Self::assemble(parts, spread, network, generation)
    }

    fn assemble(
        parts: Parts,
        spread: Spread,
        network: u32,
        generation: u32,
    ) -> Outcome<SlabArc<Self>> {
        let one = parts.plan.scratch_bytes;
        let costs = Costs::of(&parts.steps);
        let sites = Sites::new(&parts.plan, &parts.steps, network)
            .map_err(|_| Failure::memory("the plan", parts.plan.places()))?;
        let Room {
            samples: room,
            bytes,
            slots: pool,
        } = Room::of(&parts.plan, &costs, parts.ports.dtype);
        let no_memory = |_| Failure::memory("scratch", bytes);
        let mut slots = KVec::new();
        let scratch = if pool == 0 {
            Scratch::Cpu(CpuScratch::new(one, bytes, spread.scratch()).map_err(no_memory)?)
        } else {
            for _ in 0..pool {
                let slot = NodeBuf::new(bytes, spread.weights()).map_err(no_memory)?;
                slots
                    .push(slot, GFP_KERNEL)
                    .map_err(|_| Failure::memory("scratch", bytes))?;
            }
            Scratch::Pool
        };
        let places = parts.plan.places();
        let codes = match parts.ports.dtype {
            DType::I8 | DType::F32 => Codes::new(places)
                .map_err(|_| Failure::memory("the places of generated code", places))?,
            DType::Q16 | DType::I16 | DType::I32 => None,
        };
        let pool_memory = slots.iter().map(NodeBuf::memory).sum();
        let pool_slots = slots.len();
        MODELS
            .share(
                spread.weights().node(),
                pin_init!(Model {
                    plan: parts.plan,
                    steps: parts.steps,
                    weights: parts.weights,
                    scratch,
                    pool <- new_mutex!(slots, "neural_pool"),
                    freed <- new_condvar!("neural_pool_freed"),
                    pool_memory,
                    pool_slots,
                    room,
                    costs,
                    sites,
                    codes,
                    generation,
                    ports: parts.ports,
                }),
            )
            .map_err(|_| Failure::memory("a model", core::mem::size_of::<Self>()))
    }

    /// The plan.
    pub(crate) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The steps of the plan.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The packed weights.
    pub(crate) fn weights(&self) -> &[u8] {
        self.weights.as_slice()
    }

    /// What is counted at each place of the plan.
    pub(crate) fn sites(&self) -> &Sites {
        &self.sites
    }

    /// Where code is found that was made for this model; `None` if there is none to be made.
    pub(crate) fn codes(&self) -> Option<&Codes> {
        self.codes.as_ref()
    }

    /// The layers: the steps that are operations of the model file.
    pub(crate) fn layers(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| !step.is_copy())
    }

    /// Cost of a prediction, in multiply-accumulates and what takes as long.
    pub(crate) fn cost(&self) -> u64 {
        self.costs.scalar
    }

    /// How many samples may go through the plan side by side, with or without vector code.
    pub(crate) fn side_by_side(&self, vector: bool) -> usize {
        let cost = match vector {
            true => self.costs.vector,
            false => self.costs.scalar,
        };
        side_by_side(self.ports.dtype, self.is_atomic(), cost).min(self.room)
    }

    /// Whether vector code is worth a section around so many predictions.
    pub(crate) fn vectorised(&self, samples: usize) -> bool {
        // CAST: Widening.
        let macs = self.plan.macs.saturating_mul(samples as u64);
        dispatch::pays(self.ports.dtype, macs)
    }

    /// Whether a prediction is cheap enough to run with preemption off.
    pub(crate) fn is_atomic(&self) -> bool {
        matches!(self.scratch, Scratch::Cpu(_))
    }

    /// Bytes of memory: plan, weights, scratch.
    pub(crate) fn memory(&self) -> usize {
        let scratch = match &self.scratch {
            Scratch::Cpu(scratch) => scratch.memory(),
            Scratch::Pool => self.pool_memory,
        };
        core::mem::size_of::<Self>()
            + self.steps.len() * core::mem::size_of::<Step>()
            + self.sites.memory()
            + self.weights.memory()
            + scratch
            + self.codes.as_ref().map_or(0, Codes::memory)
    }

    /// Pages on each node: of the weights, and of the scratch memory of idle slots.
    pub(crate) fn count_nodes(&self, weights: &mut [u32], scratch: &mut [u32]) {
        self.weights.count_nodes(weights);
        match &self.scratch {
            Scratch::Cpu(slots) => slots.count_nodes(scratch),
            Scratch::Pool => {
                for slot in self.pool.lock().iter() {
                    slot.count_nodes(scratch);
                }
            }
        }
    }

    /// Predicts samples, as many side by side as the scratch memory is for; counted in the profile for
    /// so many predictions each.
    fn execute(
        &self,
        kernels: &Dispatch<'_>,
        weight: u64,
        scratch: &mut [u8],
        input: &[u8],
        output: &mut [u8],
    ) -> Outcome {
        let plan = &self.plan;
        let room = scratch.len().checked_div(plan.scratch_bytes);
        let room = room.unwrap_or(self.room).clamp(1, self.room);
        let inputs = input.chunks(plan.input_bytes * room);
        let outputs = output.chunks_mut(plan.output_bytes * room);
        for (input, output) in inputs.zip(outputs) {
            let samples = input.len().checked_div(plan.input_bytes).unwrap_or(1);
            let mut run = || {
                plan::run(
                    kernels,
                    plan,
                    &self.steps,
                    self.weights.as_slice(),
                    samples,
                    scratch,
                    input,
                    output,
                )
            };
            let watched = || match weight {
                0 => {
                    kernels.section().watch().look_away();
                    run()
                }
                _ => self.watched(kernels, weight, run),
            };
            let result = kernels.section().with_codes(self.codes.as_ref(), watched);
            result.map_err(|error| Failure::from_core(error, Kind::Input))?;
            if let Some(codes) = &self.codes {
                codes.count(cpu::current_cpu(), samples);
            }
        }
        Ok(())
    }

    /// Calls `run`, which runs the plan with these kernels, and takes the time of its steps.
    #[inline(never)]
    fn watched<R>(&self, kernels: &Dispatch<'_>, weight: u64, run: impl FnOnce() -> R) -> R {
        profile::with_tables(self.is_atomic(), |tables| match tables {
            Some(tables) => {
                let watch = kernels.section().watch();
                watch.look(tables, &self.sites, weight, run)
            }
            None => run(),
        })
    }

    /// Runs a cheap model on samples, on the CPU that `guard` keeps the caller on. Any context but NMI.
    pub(crate) fn run_here(
        &self,
        kernels: &Dispatch<'_>,
        guard: &PreemptGuard,
        weight: u64,
        input: &[u8],
        output: &mut [u8],
    ) -> Outcome {
        let slot = match &self.scratch {
            Scratch::Cpu(scratch) => scratch.take(guard),
            Scratch::Pool => None,
        };
        match slot {
            Some(mut slot) => self.execute(kernels, weight, &mut slot, input, output),
            None => Err(failure!(
                EBUSY,
                Context,
                "predict: called from an NMI, or from within a prediction"
            )),
        }
    }

    /// Waits for a place to run a costly model in. Context: task, may sleep.
    pub(crate) fn wait_slot(&self) -> Outcome<PoolGuard<'_>> {
        let mut pool = self.pool.lock();
        loop {
            if let Some(scratch) = pool.pop() {
                return Ok(PoolGuard {
                    model: self,
                    scratch: Some(scratch),
                });
            }
            // A wake-up that comes together with a signal is not passed on to others, so the
            // place is taken first.
            if self.freed.wait_interruptible(&mut pool) && pool.is_empty() {
                return Err(failure!(
                    EINTR,
                    Interrupted,
                    "predict: a signal came while all {} places to run in were taken",
                    self.pool_slots
                ));
            }
        }
    }
}

/// How many samples may go through a plan side by side, memory apart.
fn side_by_side(dtype: DType, atomic: bool, cost: u64) -> usize {
    if dtype == DType::F32 {
        // Side by side, products are added in another order than alone.
        return 1;
    }
    let most = if atomic {
        ATOMIC_MACS
    } else {
        PREEMPTIBLE_MACS
    };
    let count = most.checked_div(cost).unwrap_or(u64::MAX);
    usize::try_from(count)
        .unwrap_or(usize::MAX)
        .clamp(1, SIDE_BY_SIDE)
}

/// A place to run in, given back when dropped.
pub(crate) struct PoolGuard<'a> {
    model: &'a Model,
    scratch: Option<NodeBuf>,
}

impl PoolGuard<'_> {
    /// The model.
    pub(crate) fn model(&self) -> &Model {
        self.model
    }

    /// Runs the model on samples in this place. Context: task, may sleep.
    pub(crate) fn run(
        &mut self,
        kernels: &Dispatch<'_>,
        weight: u64,
        input: &[u8],
        output: &mut [u8],
    ) -> Outcome {
        match self.scratch.as_mut() {
            Some(scratch) => {
                self.model
                    .execute(kernels, weight, scratch.as_mut_slice(), input, output)
            }
            None => Err(failure!(EINVAL, Input, "predict: no place to run in")),
        }
    }
}

impl Drop for PoolGuard<'_> {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            // Cannot fail: the vector had room for all places from the start.
            let _ = self.model.pool.lock().push_within_capacity(scratch);
            self.model.freed.notify_one();
        }
    }
}
