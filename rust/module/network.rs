// SPDX-License-Identifier: GPL-2.0

//! A network: a name, a model that can be replaced, its settings, its cache, its statistics.
//!
//! A prediction reads everything it needs through RCU or from atomics and takes no lock:
//!
//! 1. preemption off, cache look-up (a hit ends here);
//! 2. a cheap model: run with preemption off, on this CPU or on an allowed one (in a worker; by an
//!    interrupt when the caller may not sleep);
//!    a costly model: wait for a place to run in, then run preemptible, here or in a worker of an
//!    allowed CPU;
//! 3. cache insertion, counters.
//!
//! Lock order: `control` before anything in `sys`; held by whoever changes the network (replace,
//! configure), who may sleep. Predictions never take it.

use core::sync::atomic::{
    AtomicBool,
    AtomicU32,
    AtomicU64,
    AtomicU8,
    Ordering::Relaxed, //
};

use kernel::{
    new_mutex,
    prelude::*,
    str::CStr,
    sync::{
        rcu,
        Arc,
        Mutex, //
    }, //
};
use neural_core::{
    cache::{
        Eviction,
        Lookup, //
    },
    config::{
        NumaPolicy,
        Settings, //
    },
    name,
    nnm,
    stats::Snapshot, //
};

use crate::{
    cache::PredictionCache,
    failure::{
        failure,
        Failure,
        Kind,
        Line,
        Outcome, //
    },
    model::{
        Dispatch,
        Model,
        Spread, //
    },
    registry,
    settings::Change,
    sys::{
        buf::Placement,
        cpu::{
            self,
            Context,
            CpuSet,
            MigrateGuard,
            PreemptGuard, //
        },
        param,
        percpu::PerCpuCounters,
        rcu::RcuArc,
        samples::Samples,
        trace,
        work::{
            self,
            WorkSet, //
        }, //
    }, //
};

/// Bytes of a name with its NUL (`NEURAL_NAME_LEN`).
pub(crate) const NAME_LEN: usize = name::FIELD_BYTES;

/// Stands in `Tuning::cache_timeout_ms` for: follow the module parameter.
const FOLLOW: u32 = u32::MAX;

/// The name of a network: 1 to 31 characters, then NULs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name([u8; NAME_LEN]);

impl Name {
    /// Checks a name.
    pub(crate) fn new(text: &[u8]) -> Outcome<Self> {
        let text = name::check(text).map_err(|error| Failure::from_core(error, Kind::Model))?;
        let mut name = [0; NAME_LEN];
        if let Some(place) = name.get_mut(..text.len()) {
            place.copy_from_slice(text.as_bytes());
        }
        Ok(Name(name))
    }

    /// Checks a name as the user ABI has it: padded with NULs, and nothing after them.
    pub(crate) fn from_field(field: &[u8; NAME_LEN]) -> Outcome<Self> {
        let text = name::from_field(field);
        text.map_err(|error| Failure::from_core(error, Kind::Model))?;
        Ok(Name(*field))
    }

    /// All bytes, as the user ABI has them.
    pub(crate) fn bytes(&self) -> &[u8; NAME_LEN] {
        &self.0
    }

    /// The text.
    pub(crate) fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0).unwrap_or(0);
        core::str::from_utf8(self.0.get(..len).unwrap_or(&[])).unwrap_or("")
    }

    /// The text for C.
    pub(crate) fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}

/// What predictions read of the settings.
struct Tuning {
    cache_timeout_ms: AtomicU32,
    eviction: AtomicU8,
    simd: AtomicBool,
    batch_spread: AtomicU32,
    /// Whether `allowed` is every CPU, so that it need not be looked at.
    anywhere: AtomicBool,
    allowed: CpuSet,
}

/// What those who change the network share.
struct Control {
    settings: Settings,
    /// Whether `cache_timeout` was set for this network.
    own_timeout: bool,
    generation: u32,
    last_error: Line,
}

/// Where an answer came from, and on which CPU.
enum Answer {
    Cached(usize),
    Computed(usize),
}

/// A network.
#[pin_data]
pub(crate) struct Network {
    model: RcuArc<Model>,
    cache: RcuArc<PredictionCache>,
    tuning: Tuning,
    counters: PerCpuCounters,
    /// Its id, never used again.
    pub(crate) id: u32,
    /// Bytes of an input; the same for every model that this network gets.
    pub(crate) input_bytes: usize,
    /// Bytes of an output.
    pub(crate) output_bytes: usize,
    /// Elements of an input.
    pub(crate) input_dim: u32,
    /// Elements of an output.
    pub(crate) output_dim: u32,
    /// Its name.
    pub(crate) name: Name,
    memory_peak: AtomicU64,
    /// Whose turn it is among the allowed CPUs.
    turn: AtomicU32,
    #[pin]
    control: Mutex<Control>,
}

fn spread_of(policy: NumaPolicy, node: u32) -> Spread {
    match policy {
        NumaPolicy::Local => Spread::Local,
        NumaPolicy::Interleave => Spread::Interleave,
        // CAST: Checked by who set it to be a node number.
        NumaPolicy::Node => Spread::Node(node as i32),
    }
}

fn check_node(settings: &Settings) -> Outcome {
    let node = i32::try_from(settings.numa_node).unwrap_or(-1);
    if settings.numa_policy == NumaPolicy::Node && !cpu::node_has_memory(node) {
        return Err(failure!(
            EINVAL,
            Config,
            "config: numa_node: {} is not a node with memory",
            settings.numa_node
        ));
    }
    Ok(())
}

/// The settings that the module parameters give to a new network.
pub(crate) fn default_settings() -> Settings {
    let mut settings = Settings::DEFAULT;
    settings.cache_timeout_ms = param::cache_timeout_ms();
    settings.cache_size = param::cache_size();
    settings.numa_policy = match param::numa_policy() {
        1 => NumaPolicy::Interleave,
        2 => NumaPolicy::Node,
        _ => NumaPolicy::Local,
    };
    // CAST: The parameter is a node number.
    settings.numa_node = param::numa_node() as u32;
    settings
}

/// The placement that the module parameters ask for.
pub(crate) fn default_spread() -> Spread {
    let settings = default_settings();
    spread_of(settings.numa_policy, settings.numa_node)
}

pub(crate) fn cache_placement(spread: Spread) -> Placement {
    match spread {
        Spread::Local => Placement::Near(cpu::current_node()),
        Spread::Interleave => Placement::Interleaved(cpu::current_node()),
        Spread::Node(node) => Placement::On(node),
    }
}

impl Network {
    /// A network of the given model file. Context: task, may sleep.
    pub(crate) fn new(id: u32, name: Name, file: &nnm::Model<'_>) -> Outcome<Arc<Self>> {
        let settings = default_settings();
        check_node(&settings)?;
        let spread = spread_of(settings.numa_policy, settings.numa_node);
        let model = Model::new(file, spread, 1)?;
        let plan = *model.plan();
        let cache = PredictionCache::new(
            settings.cache_size,
            plan.input_bytes,
            plan.output_bytes,
            cache_placement(spread),
        )?;
        let no_memory = |_| Failure::memory("a network", core::mem::size_of::<Self>());
        let counters = PerCpuCounters::new().map_err(no_memory)?;
        let allowed = CpuSet::all().map_err(no_memory)?;
        let network = Arc::pin_init(
            pin_init!(Network {
                id,
                input_bytes: plan.input_bytes,
                output_bytes: plan.output_bytes,
                input_dim: model.input_dim,
                output_dim: model.output_dim,
                name,
                tuning: Tuning {
                    cache_timeout_ms: AtomicU32::new(FOLLOW),
                    eviction: AtomicU8::new(code_of(settings.cache_eviction)),
                    simd: AtomicBool::new(settings.simd),
                    batch_spread: AtomicU32::new(settings.batch_spread),
                    anywhere: AtomicBool::new(true),
                    allowed,
                },
                model: RcuArc::new(Some(model)),
                cache: RcuArc::new(cache),
                counters,
                memory_peak: AtomicU64::new(0),
                turn: AtomicU32::new(0),
                control <- new_mutex!(Control {
                    settings,
                    own_timeout: false,
                    generation: 1,
                    last_error: Line::EMPTY,
                }, "neural_network"),
            }),
            GFP_KERNEL,
        )
        .map_err(no_memory)?;
        network.note_memory(0);
        Ok(network)
    }

    // ---- Prediction -------------------------------------------------------------------------

    /// Predicts one sample: `input` and `output` hold `input_bytes` and `output_bytes`.
    ///
    /// Context: any but NMI for a cheap model (`NEURAL_ATOMIC_MACS`); a costlier one needs a task
    /// that may sleep.
    pub(crate) fn predict(&self, input: &[u8], output: &mut [u8]) -> Outcome {
        let start = cpu::now_ns();
        let result = self.predict_from(start, input, output);
        let ns = cpu::now_ns().saturating_sub(start);
        match &result {
            Ok(Answer::Cached(cpu)) => self.counters.of(*cpu).record_hit(ns),
            Ok(Answer::Computed(cpu)) => self.counters.of(*cpu).record_predict(ns),
            Err(failure) => self.count_error(failure.kind),
        }
        trace::predict(self.id, ns, 1, errno(&result));
        result.map(|_| ())
    }

    /// Predicts and says how, and on which CPU.
    fn predict_from(&self, now: u64, input: &[u8], output: &mut [u8]) -> Outcome<Answer> {
        if input.len() != self.input_bytes || output.len() != self.output_bytes {
            return Err(failure!(
                EINVAL,
                Input,
                "predict: {} takes {} bytes in and {} out, not {} and {}",
                self.name.as_str(),
                self.input_bytes,
                self.output_bytes,
                input.len(),
                output.len()
            ));
        }
        if Context::current() == Context::Nmi {
            return Err(failure!(EBUSY, Context, "predict: called from an NMI"));
        }
        let guard = PreemptGuard::new();
        let rcu = rcu::read_lock();
        let Some(model) = self.model.read(&rcu) else {
            return Err(failure!(ENODEV, Model, "predict: no model"));
        };
        let generation = model.generation;
        if self.look_up(&rcu, generation, now, input, output) {
            return Ok(Answer::Cached(guard.cpu()));
        }
        let atomic = model.is_atomic();
        if atomic && self.may_run_on(guard.cpu()) {
            model.run_here(&Dispatch { stop: None }, &guard, input, output)?;
            self.remember(&rcu, generation, now, input, output);
            return Ok(Answer::Computed(guard.cpu()));
        }
        let held = if atomic { None } else { Some(model.to_arc()) };
        drop(rcu);
        drop(guard);
        let (cpu, generation) = match held {
            Some(model) => self.run_costly(&model, input, output)?,
            None => self.run_elsewhere(input, output)?,
        };
        self.remember(&rcu::read_lock(), generation, now, input, output);
        Ok(Answer::Computed(cpu))
    }

    fn look_up(
        &self,
        rcu: &rcu::Guard,
        generation: u32,
        now: u64,
        input: &[u8],
        output: &mut [u8],
    ) -> bool {
        let timeout_ns = self.timeout_ms() * 1_000_000;
        if timeout_ns == 0 {
            return false;
        }
        let Some(cache) = self.cache.read(rcu) else {
            return false;
        };
        let found = cache.lookup(input, generation, now, timeout_ns, output);
        let counters = self.counters.of(cpu::current_cpu());
        match found {
            Lookup::Hit => {}
            Lookup::Miss => counters.record_miss(),
            Lookup::Expired => counters.record_expired(),
        }
        trace::cache(self.id, lookup_code(found));
        found == Lookup::Hit
    }

    fn remember(&self, rcu: &rcu::Guard, generation: u32, now: u64, input: &[u8], output: &[u8]) {
        if self.timeout_ms() == 0 {
            return;
        }
        if let Some(cache) = self.cache.read(rcu) {
            let eviction = eviction_of(self.tuning.eviction.load(Relaxed));
            cache.insert(input, generation, now, output, eviction);
        }
    }

    fn timeout_ms(&self) -> u64 {
        match self.tuning.cache_timeout_ms.load(Relaxed) {
            FOLLOW => param::cache_timeout_ms().into(),
            own => own.into(),
        }
    }

    /// Whether work may be done on a CPU.
    fn may_run_on(&self, cpu: usize) -> bool {
        self.tuning.anywhere.load(Relaxed) || self.tuning.allowed.contains(cpu)
    }

    /// An allowed CPU that is online, in turn: of the caller's node if it has any.
    fn pick_cpu(&self) -> Outcome<usize> {
        let node = cpu::current_node();
        let turn = self.turn.fetch_add(1, Relaxed) as usize;
        let near = || {
            let online = self.tuning.allowed.online();
            online.filter(|&cpu| cpu::node_of(cpu) == node)
        };
        let nth = |count: usize| turn.checked_rem(count).unwrap_or(0);
        near()
            .nth(nth(near().count()))
            .or_else(|| {
                let count = self.tuning.allowed.online().count();
                self.tuning.allowed.online().nth(nth(count))
            })
            .ok_or_else(|| failure!(ENXIO, Context, "predict: no allowed CPU is online"))
    }

    /// Runs the model on this CPU, if that is allowed and the model is cheap: in a worker or in an
    /// interrupt. Returns the CPU and the generation of the model; `None` if it could not be.
    fn run_cheap_here(&self, input: &[u8], output: &mut [u8]) -> Outcome<Option<(usize, u32)>> {
        let guard = PreemptGuard::new();
        let rcu = rcu::read_lock();
        match self.model.read(&rcu) {
            Some(model) if model.is_atomic() && self.may_run_on(guard.cpu()) => {
                model.run_here(&Dispatch { stop: None }, &guard, input, output)?;
                Ok(Some((guard.cpu(), model.generation)))
            }
            _ => Ok(None),
        }
    }

    /// Runs a cheap model on an allowed CPU while the caller, who is on another one, waits: in a
    /// worker, or by an interrupt if the caller may not sleep. Returns the CPU and the generation.
    fn run_elsewhere(&self, input: &[u8], output: &mut [u8]) -> Outcome<(usize, u32)> {
        let may_sleep = cpu::preemptible();
        if !may_sleep && (Context::current() != Context::Task || cpu::irqs_disabled()) {
            return Err(failure!(
                EXDEV,
                Context,
                "predict: this CPU is not allowed, and an interrupt cannot wait for another one"
            ));
        }
        let stop = AtomicBool::new(false);
        loop {
            let target = self.pick_cpu()?;
            let mut result = Ok(None);
            let mut run = || result = self.run_cheap_here(input, output);
            let reached = if may_sleep {
                work::once(target, &stop, &mut run)
            } else {
                cpu::call_on(target, &mut run)
            };
            // Not done: the CPU has just gone offline, the mask or the model was just changed.
            if let (Ok(()), Some(done)) = (reached, result?) {
                return Ok(done);
            }
            let model = self.model.get();
            match model.filter(|model| !model.is_atomic()) {
                Some(model) => return self.run_costly(&model, input, output),
                None if stop.load(Relaxed) => return Err(interrupted("predict")),
                None => {}
            }
        }
    }

    /// Runs a costly model, preemptible, on an allowed CPU, and returns that and the generation.
    fn run_costly(&self, model: &Model, input: &[u8], output: &mut [u8]) -> Outcome<(usize, u32)> {
        if !cpu::preemptible() {
            return Err(failure!(
                EAGAIN,
                Context,
                "predict: a cost of {} multiply-accumulates needs a caller that may sleep",
                model.cost
            ));
        }
        let stop = AtomicBool::new(false);
        let kernels = Dispatch { stop: Some(&stop) };
        let mut slot = model.wait_slot()?;
        loop {
            let stay = MigrateGuard::new();
            let here = cpu::current_cpu();
            if self.may_run_on(here) {
                slot.run(&kernels, input, output)?;
                return Ok((here, model.generation));
            }
            drop(stay);
            let mut result = None;
            let run = || {
                let _stay = MigrateGuard::new();
                let there = cpu::current_cpu();
                if self.may_run_on(there) {
                    result = Some((there, slot.run(&kernels, input, output)));
                }
            };
            // Not done: the CPU has just gone offline, or the mask was just changed.
            let _ = work::once(self.pick_cpu()?, &stop, run);
            match result {
                Some((there, outcome)) => return outcome.map(|()| (there, model.generation)),
                None if stop.load(Relaxed) => return Err(interrupted("predict")),
                None => {}
            }
        }
    }

    /// Counts an error that happened before a prediction began.
    pub(crate) fn count_error(&self, kind: Kind) {
        self.counters
            .of(cpu::current_cpu())
            .record_error(kind as usize);
    }

    /// Predicts all `samples`, over the allowed CPUs when there are enough of them.
    ///
    /// Context: task, may sleep.
    pub(crate) fn predict_batch(&self, samples: &Samples<'_>, works: &mut WorkSet) -> Outcome {
        if samples.sizes() != (self.input_bytes, self.output_bytes) {
            let (input, output) = samples.sizes();
            let failure = failure!(
                EINVAL,
                Input,
                "batch: {} takes {} bytes in and {} out, not {input} and {output}",
                self.name.as_str(),
                self.input_bytes,
                self.output_bytes
            );
            self.count_error(Kind::Input);
            return Err(failure);
        }
        if !cpu::preemptible() {
            self.count_error(Kind::Context);
            return Err(failure!(
                EAGAIN,
                Context,
                "batch: needs a caller that may sleep"
            ));
        }
        let start = cpu::now_ns();
        let stop = AtomicBool::new(false);
        pin_init::stack_pin_init!(let first = new_mutex!(None::<Failure>, "neural_batch"));
        let fail = |failure: Failure| {
            stop.store(true, Relaxed);
            first.lock().get_or_insert(failure);
        };
        let work = || {
            while !stop.load(Relaxed) {
                let Some((input, output)) = samples.next() else {
                    break;
                };
                if let Err(failure) = self.predict(input, output) {
                    fail(failure);
                }
                if cpu::dying() {
                    stop.store(true, Relaxed);
                }
                cpu::cond_resched();
            }
        };
        let spread = self.tuning.batch_spread.load(Relaxed) as usize;
        let stay = MigrateGuard::new();
        let here = cpu::current_cpu();
        let helps = self.may_run_on(here);
        let others = self.tuning.allowed.online().filter(|&cpu| cpu != here);
        if spread != 0 && samples.len() >= spread {
            let own = || {
                if helps {
                    work()
                }
            };
            works.run(others, &work, own, &stop);
        } else if helps {
            work();
        } else {
            let target = self.pick_cpu()?;
            works.run(core::iter::once(target), &work, || {}, &stop);
        }
        drop(stay);
        // When no other CPU could be had, or not any more.
        work();
        if samples.left() && first.lock().is_none() {
            self.count_error(Kind::Interrupted);
            fail(interrupted("batch"));
        }
        let result = first.lock().map_or(Ok(()), Err);
        self.counters.of(cpu::current_cpu()).record_batch();
        let ns = cpu::now_ns().saturating_sub(start);
        // CAST: A batch has at most NEURAL_BATCH_MAX samples.
        trace::predict(self.id, ns, samples.len() as u32, errno(&result));
        result
    }

    // ---- Change -----------------------------------------------------------------------------

    /// Puts a new model in place. Predictions that run go on with the old one.
    ///
    /// Context: task, may sleep.
    pub(crate) fn replace(&self, file: &nnm::Model<'_>) -> Outcome<u32> {
        if (file.input_dim(), file.output_dim()) != (self.input_dim, self.output_dim)
            || (file.input_bytes(), file.output_bytes()) != (self.input_bytes, self.output_bytes)
        {
            return Err(failure!(
                EINVAL,
                Model,
                "replace: {} has {} inputs and {} outputs, the file {} and {}",
                self.name.as_str(),
                self.input_dim,
                self.output_dim,
                file.input_dim(),
                file.output_dim()
            ));
        }
        let mut control = self.control.lock();
        let spread = spread_of(control.settings.numa_policy, control.settings.numa_node);
        let generation = control.generation.wrapping_add(1);
        let model = Model::new(file, spread, generation)?;
        self.note_memory(model.memory());
        control.generation = generation;
        drop(self.model.replace(Some(model)));
        Ok(generation)
    }

    /// Applies configuration text: all of its lines, or none.
    ///
    /// Context: task, may sleep.
    pub(crate) fn configure(&self, text: &[u8]) -> Outcome {
        let result = self.try_configure(text);
        if let Err(failure) = &result {
            self.count_error(failure.kind);
            self.control.lock().last_error = failure.line;
        }
        result
    }

    fn try_configure(&self, text: &[u8]) -> Outcome {
        let change = Change::parse(text)?;
        self.apply(&change)?;
        if change.resets() {
            registry::retire(&self.counters.snapshot());
            self.counters.reset();
        }
        Ok(())
    }

    fn apply(&self, change: &Change<'_>) -> Outcome {
        let mut control = self.control.lock();
        if !control.own_timeout {
            // CAST: At most an hour.
            control.settings.cache_timeout_ms = self.timeout_ms() as u32;
        }
        let old = control.settings;
        let mut new = old;
        change.apply_to(&mut new);
        check_node(&new)?;
        let spread = spread_of(new.numa_policy, new.numa_node);

        // All that can fail comes first.
        let moved = spread != spread_of(old.numa_policy, old.numa_node);
        let model = match self.model.get() {
            Some(model) if moved => {
                let generation = control.generation.wrapping_add(1);
                Some(model.placed(spread, generation)?)
            }
            _ => None,
        };
        let resized = new.cache_size != old.cache_size || moved;
        let cache = if resized {
            PredictionCache::new(
                new.cache_size,
                self.input_bytes,
                self.output_bytes,
                cache_placement(spread),
            )?
        } else {
            None
        };
        self.note_memory(
            model.as_ref().map_or(0, |model| model.memory())
                + cache.as_ref().map_or(0, |cache| cache.memory()),
        );

        if let Some(model) = model {
            control.generation = model.generation;
            drop(self.model.replace(Some(model)));
        }
        if resized {
            drop(self.cache.replace(cache));
        }
        if let Some(cpus) = change.cpus() {
            // A reader that sees the flag cleared looks at the set; so clear it first.
            self.tuning.anywhere.store(false, Relaxed);
            self.tuning.allowed.assign(cpus);
            self.tuning.anywhere.store(cpus.is_all(), Relaxed);
        }
        if change.sets_timeout() {
            control.own_timeout = true;
        }
        let tuning = &self.tuning;
        if control.own_timeout {
            tuning.cache_timeout_ms.store(new.cache_timeout_ms, Relaxed);
        }
        tuning.eviction.store(code_of(new.cache_eviction), Relaxed);
        tuning.simd.store(new.simd, Relaxed);
        tuning.batch_spread.store(new.batch_spread, Relaxed);
        control.settings = new;
        Ok(())
    }

    // ---- Report -----------------------------------------------------------------------------

    /// The model now.
    pub(crate) fn model(&self) -> Option<Arc<Model>> {
        self.model.get()
    }

    /// The settings now, and the allowed CPUs.
    pub(crate) fn settings(&self) -> (Settings, &CpuSet) {
        let mut settings = self.control.lock().settings;
        // CAST: At most an hour.
        settings.cache_timeout_ms = self.timeout_ms() as u32;
        (settings, &self.tuning.allowed)
    }

    /// Whether vector code may be used: by the network's setting and the module's.
    pub(crate) fn simd(&self) -> bool {
        self.tuning.simd.load(Relaxed) && param::enable_simd()
    }

    /// The line that says which setting was refused last.
    pub(crate) fn last_error(&self) -> Line {
        self.control.lock().last_error
    }

    /// Bytes of memory that the network holds now.
    pub(crate) fn memory(&self) -> usize {
        let model = self.model.get().map_or(0, |model| model.memory());
        let cache = self.cache.get().map_or(0, |cache| cache.memory());
        core::mem::size_of::<Self>() + self.counters.memory() + model + cache
    }

    /// Remembers the peak of memory, with `more` bytes that are about to take the place of others.
    fn note_memory(&self, more: usize) {
        let now = (self.memory() + more) as u64;
        self.memory_peak.fetch_max(now, Relaxed);
    }

    /// Predictions by the CPU that made them.
    pub(crate) fn predictions_of(&self, cpu: usize) -> u64 {
        let mut snapshot = Snapshot::ZERO;
        snapshot.add(self.counters.of(cpu));
        snapshot.predictions
    }

    /// The statistics.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.counters.snapshot();
        self.note_memory(0);
        snapshot.memory_bytes = self.memory() as u64;
        snapshot.memory_peak_bytes = self.memory_peak.load(Relaxed);
        snapshot
    }
}

/// The eviction policy as an atomic holds it.
fn code_of(eviction: Eviction) -> u8 {
    match eviction {
        Eviction::Lru => 0,
        Eviction::Fifo => 1,
        Eviction::Random => 2,
    }
}

fn eviction_of(code: u8) -> Eviction {
    match code {
        1 => Eviction::Fifo,
        2 => Eviction::Random,
        _ => Eviction::Lru,
    }
}

/// A look-up as trace events show it.
fn lookup_code(lookup: Lookup) -> u32 {
    match lookup {
        Lookup::Hit => 0,
        Lookup::Miss => 1,
        Lookup::Expired => 2,
    }
}

fn interrupted(what: &str) -> Failure {
    failure!(EINTR, Interrupted, "{what}: the caller is being killed")
}

/// A result as trace events show it.
fn errno<T>(result: &Outcome<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(failure) => failure.errno.to_errno(),
    }
}
