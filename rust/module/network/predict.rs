// SPDX-License-Identifier: GPL-2.0

//! Predictions: where they run, and what they count.
//!
//! A prediction reads everything it needs through RCU or from atomics and takes no lock:
//!
//! 1. preemption off, cache look-up (a hit ends here; of a batch, the samples before it are computed);
//! 2. a cheap model: run with preemption off, on this CPU or on an allowed one (in a worker; by an
//!    interrupt when the caller may not sleep);
//!    a costly model: wait for a place to run in, then run preemptible, here or in a worker of an
//!    allowed CPU;
//! 3. cache insertion, counters.

use core::sync::atomic::{
    AtomicBool,
    Ordering::Relaxed, //
};

use kernel::{
    new_mutex,
    prelude::*,
    sync::rcu, //
};
use neural_core::{
    cache::Lookup,
    config::Profiling, //
};

use super::{
    eviction_of,
    Network,
    FOLLOW,
    FOLLOW_MODE, //
};
use crate::{
    dispatch::{
        self,
        Dispatch, //
    },
    failure::{
        failure,
        Failure,
        Kind,
        Outcome, //
    },
    model::{
        Model,
        PoolGuard,
        SIDE_BY_SIDE, //
    },
    profile,
    sys::{
        cpu::{
            self,
            Context,
            MigrateGuard,
            PreemptGuard, //
        },
        param,
        samples::Samples,
        trace,
        work::{
            self,
            WorkSet, //
        }, //
    }, //
};

/// Bytes of inputs that are looked up in the cache, and put there, with preemption off.
const LOOK_UP_BYTES: usize = 16 << 10;

/// Bytes of an input from which a section is not kept open while the cache works on it.
const ASIDE_BYTES: usize = 256;

/// How some samples were answered: `computed` ones, then perhaps one by the cache.
struct Answers {
    cpu: usize,
    computed: usize,
    cached: bool,
}

impl Answers {
    fn count(&self) -> usize {
        self.computed + usize::from(self.cached)
    }
}

impl Network {
    /// Predicts one sample: `input` and `output` hold `input_bytes` and `output_bytes`.
    ///
    /// Context: any but NMI for a cheap model (`NEURAL_ATOMIC_MACS`); a costlier one needs a task
    /// that may sleep.
    pub(crate) fn predict(&self, input: &[u8], output: &mut [u8]) -> Outcome {
        let (ns, result) = self.predict_counted(input, output, None);
        trace::predict(self.id, ns, 1, errno(&result));
        result.map(|_| ())
    }

    /// Predicts the first ones of some samples and counts them; tells the time that it took, and how
    /// many they were. With `shared`, the caller's kernels run a cheap model: the section that they
    /// leave open serves the next samples.
    fn predict_counted(
        &self,
        input: &[u8],
        output: &mut [u8],
        shared: Option<&Dispatch<'_>>,
    ) -> (u64, Outcome<usize>) {
        let start = cpu::now_ns();
        let result = self.predict_from(start, input, output, shared);
        let ns = cpu::now_ns().saturating_sub(start);
        match &result {
            Ok(answers) => {
                let counters = self.counters.of(answers.cpu);
                // CAST: Widening.
                let each = ns.checked_div(answers.count() as u64).unwrap_or(ns);
                if answers.computed != 0 {
                    counters.record_predictions(answers.computed as u64, each);
                }
                if answers.cached {
                    counters.record_hit(each);
                }
            }
            Err(failure) => self.count_error(failure.kind),
        }
        (ns, result.map(|answers| answers.count()))
    }

    /// Predicts the first ones of some samples and says how, and on which CPU.
    fn predict_from(
        &self,
        now: u64,
        input: &[u8],
        output: &mut [u8],
        shared: Option<&Dispatch<'_>>,
    ) -> Outcome<Answers> {
        let samples = input.len().checked_div(self.input_bytes).unwrap_or(0);
        let bytes = (samples * self.input_bytes, samples * self.output_bytes);
        if samples == 0 || (input.len(), output.len()) != bytes {
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
        // Those of a batch were chosen when it began, whatever is set meanwhile.
        let vector = match shared {
            Some(kernels) => kernels.has_vector_code(),
            None => self.vectorised(&model, samples),
        };
        let keys = LOOK_UP_BYTES.checked_div(self.input_bytes).unwrap_or(0);
        let most = samples.min(model.side_by_side(vector)).min(keys.max(1));
        if self.input_bytes > ASIDE_BYTES {
            // The cache works on bytes without vector code.
            leave(shared);
        }
        let (computed, cached) = self.look_up_some(&rcu, generation, now, most, input, output);
        let answers = |cpu| Answers {
            cpu,
            computed,
            cached,
        };
        if computed == 0 {
            return Ok(answers(guard.cpu()));
        }
        let (input, _) = input.split_at(computed * self.input_bytes);
        let (output, _) = output.split_at_mut(computed * self.output_bytes);
        let atomic = model.is_atomic();
        if atomic && self.may_run_on(guard.cpu()) {
            match shared {
                Some(kernels) => self.run_cheap(&model, kernels, &guard, now, input, output)?,
                None => {
                    let kernels = dispatch::kernels(vector, self.jit(), None);
                    self.run_cheap(&model, &kernels, &guard, now, input, output)?;
                }
            }
            if self.input_bytes > ASIDE_BYTES {
                leave(shared);
            }
            self.remember(&rcu, generation, now, input, output);
            return Ok(answers(guard.cpu()));
        }
        let held = if atomic {
            None
        } else {
            Some(model.to_counted())
        };
        drop(rcu);
        drop(guard);
        // Whoever waits must not keep vector registers.
        leave(shared);
        let (cpu, generation) = match held {
            Some(model) => self.run_costly(&model, input, output)?,
            None => self.run_elsewhere(input, output)?,
        };
        self.remember(&rcu::read_lock(), generation, now, input, output);
        Ok(answers(cpu))
    }

    /// Looks samples up, at most `most`, until the cache has one: how many it does not have, and
    /// whether it has the next one, which then is answered.
    fn look_up_some(
        &self,
        rcu: &rcu::Guard,
        generation: u32,
        now: u64,
        most: usize,
        input: &[u8],
        output: &mut [u8],
    ) -> (usize, bool) {
        if self.timeout_ms() == 0 {
            return (most, false);
        }
        let inputs = input.chunks_exact(self.input_bytes);
        let outputs = output.chunks_exact_mut(self.output_bytes);
        for (i, (input, output)) in inputs.zip(outputs).take(most).enumerate() {
            if self.look_up(rcu, generation, now, input, output) {
                return (i, true);
            }
        }
        (most, false)
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

    /// Puts answers to samples into the cache.
    fn remember(&self, rcu: &rcu::Guard, generation: u32, now: u64, input: &[u8], output: &[u8]) {
        if self.timeout_ms() == 0 {
            return;
        }
        if let Some(cache) = self.cache.read(rcu) {
            let eviction = eviction_of(self.tuning.eviction.load(Relaxed));
            let inputs = input.chunks_exact(self.input_bytes);
            for (input, output) in inputs.zip(output.chunks_exact(self.output_bytes)) {
                cache.insert(input, generation, now, output, eviction);
            }
        }
    }

    /// How long an answer in the cache is good.
    pub(super) fn timeout_ms(&self) -> u64 {
        match self.tuning.cache_timeout_ms.load(Relaxed) {
            FOLLOW => param::cache_timeout_ms().into(),
            own => own.into(),
        }
    }

    /// Whether work may be done on a CPU.
    fn may_run_on(&self, cpu: usize) -> bool {
        let rcu = rcu::read_lock();
        self.allowed
            .read(&rcu)
            .is_none_or(|allowed| allowed.contains(cpu))
    }

    /// An allowed CPU that is online, in turn: of the caller's node if it has any.
    fn pick_cpu(&self) -> Outcome<usize> {
        let node = cpu::current_node();
        let turn = self.turn.fetch_add(1, Relaxed) as usize;
        let allowed = self.allowed.get();
        let online = || cpu::online_of(allowed.as_deref());
        let near = || online().filter(|&cpu| cpu::node_of(cpu) == node);
        let nth = |count: usize| turn.checked_rem(count).unwrap_or(0);
        let cpu = near()
            .nth(nth(near().count()))
            .or_else(|| online().nth(nth(online().count())));
        cpu.ok_or_else(|| failure!(ENXIO, Context, "predict: no allowed CPU is online"))
    }

    /// Which predictions have their times taken.
    pub(super) fn profiling(&self) -> Profiling {
        match self.tuning.profiling.load(Relaxed) {
            FOLLOW_MODE => profile::of_code(param::profiling()),
            own => profile::of_code(own.into()),
        }
    }

    /// Whether times are taken because this network says so itself.
    pub(super) fn wants_profile(&self) -> bool {
        !matches!(self.tuning.profiling.load(Relaxed), 0 | FOLLOW_MODE)
    }

    /// For how many predictions one that begins now stands in the profile; 0: its time is not taken.
    #[inline]
    fn weight(&self, now: u64) -> u64 {
        match profile::on() {
            false => 0,
            true => profile::weight(self.profiling(), now),
        }
    }

    /// Whether vector code is to be used for so many samples, and pays.
    fn vectorised(&self, model: &Model, samples: usize) -> bool {
        self.simd() && model.vectorised(samples)
    }

    /// Runs a cheap model on this CPU and counts what vector code has done.
    fn run_cheap(
        &self,
        model: &Model,
        kernels: &Dispatch<'_>,
        guard: &PreemptGuard,
        now: u64,
        input: &[u8],
        output: &mut [u8],
    ) -> Outcome {
        let before = kernels.operations();
        let weight = self.weight(now);
        let result = model.run_here(kernels, guard, weight, input, output);
        self.count_simd(guard.cpu(), kernels.operations().wrapping_sub(before));
        result
    }

    fn count_simd(&self, cpu: usize, operations: u64) {
        if operations != 0 {
            self.counters.of(cpu).record_simd(operations);
        }
    }

    /// Runs a costly model in a place of its own, where the caller stays on this CPU.
    fn run_in(
        &self,
        slot: &mut PoolGuard<'_>,
        stop: &AtomicBool,
        input: &[u8],
        output: &mut [u8],
    ) -> Outcome {
        let vector = self.vectorised(slot.model(), 1);
        let kernels = dispatch::kernels(vector, self.jit(), Some(stop));
        let weight = self.weight(cpu::now_ns());
        let result = slot.run(&kernels, weight, input, output);
        self.count_simd(cpu::current_cpu(), kernels.operations());
        result
    }

    /// Runs the model on this CPU, if that is allowed and the model is cheap: in a worker or in an
    /// interrupt. Returns the CPU and the generation of the model; `None` if it could not be.
    fn run_cheap_here(&self, input: &[u8], output: &mut [u8]) -> Outcome<Option<(usize, u32)>> {
        let guard = PreemptGuard::new();
        let rcu = rcu::read_lock();
        match self.model.read(&rcu) {
            Some(model) if model.is_atomic() && self.may_run_on(guard.cpu()) => {
                let vector = self.vectorised(&model, 1);
                let kernels = dispatch::kernels(vector, self.jit(), None);
                let now = cpu::now_ns();
                self.run_cheap(&model, &kernels, &guard, now, input, output)?;
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
                model.cost()
            ));
        }
        let stop = AtomicBool::new(false);
        let mut slot = model.wait_slot()?;
        loop {
            let stay = MigrateGuard::new();
            let here = cpu::current_cpu();
            if self.may_run_on(here) {
                self.run_in(&mut slot, &stop, input, output)?;
                return Ok((here, model.generation));
            }
            drop(stay);
            let mut result = None;
            let run = || {
                let _stay = MigrateGuard::new();
                let there = cpu::current_cpu();
                if self.may_run_on(there) {
                    result = Some((there, self.run_in(&mut slot, &stop, input, output)));
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

    /// Predicts some samples, one after the other or side by side.
    fn predict_all(
        &self,
        mut input: &[u8],
        mut output: &mut [u8],
        kernels: &Dispatch<'_>,
    ) -> Outcome {
        while !input.is_empty() {
            let (_, result) = self.predict_counted(input, output, Some(kernels));
            let done = result?;
            (_, input) = input.split_at(done * self.input_bytes);
            (_, output) = output.split_at_mut(done * self.output_bytes);
        }
        Ok(())
    }

    /// Predicts all `samples`, over the allowed CPUs when there are enough of them.
    ///
    /// Context: task, may sleep.
    pub(crate) fn predict_batch(&self, samples: &Samples<'_>, works: &mut WorkSet) -> Outcome {
        let start = cpu::now_ns();
        let result = self.predict_part(samples, works);
        self.batch_done(start, samples.len(), &result);
        result
    }

    /// Counts and traces a batch of so many samples, begun at `start`, whose parts are done.
    pub(crate) fn batch_done(&self, start: u64, samples: usize, result: &Outcome) {
        self.counters.of(cpu::current_cpu()).record_batch();
        let ns = cpu::now_ns().saturating_sub(start);
        // CAST: A batch has at most NEURAL_BATCH_MAX samples.
        trace::predict(self.id, ns, samples as u32, errno(result));
    }

    /// As [`Self::predict_batch`], a part of a batch that the caller counts.
    pub(crate) fn predict_part(&self, samples: &Samples<'_>, works: &mut WorkSet) -> Outcome {
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
        let stop = AtomicBool::new(false);
        pin_init::stack_pin_init!(let first = new_mutex!(None::<Failure>, "neural_batch"));
        let fail = |failure: Failure| {
            stop.store(true, Relaxed);
            first.lock().get_or_insert(failure);
        };
        let spread = self.tuning.batch_spread.load(Relaxed) as usize;
        let spread = spread != 0 && samples.len() >= spread;
        // What is taken at a time: not so much that there is nothing for others.
        let cpus = if spread { cpu::online_count() } else { 1 };
        let share = samples.len().checked_div(cpus).unwrap_or(1);
        let share = share.clamp(1, SIDE_BY_SIDE);
        let vector = {
            let rcu = rcu::read_lock();
            let model = self.model.read(&rcu);
            model.is_some_and(|model| self.vectorised(&model, share))
        };
        let work = || {
            while !stop.load(Relaxed) {
                let Some((input, output)) = samples.take(share) else {
                    break;
                };
                let kernels = dispatch::kernels(vector, self.jit(), None);
                let result = self.predict_all(input, output, &kernels);
                drop(kernels);
                if let Err(failure) = result {
                    fail(failure);
                }
                if cpu::dying() {
                    stop.store(true, Relaxed);
                }
                cpu::cond_resched();
            }
        };
        let stay = MigrateGuard::new();
        let here = cpu::current_cpu();
        let helps = self.may_run_on(here);
        let allowed = self.allowed.get();
        let others = cpu::online_of(allowed.as_deref()).filter(|&cpu| cpu != here);
        if spread {
            let own = || {
                if helps {
                    work()
                }
            };
            works.run(others, &work, own, &stop);
        } else if helps {
            work();
        } else {
            match self.pick_cpu() {
                Ok(target) => works.run(core::iter::once(target), &work, || {}, &stop),
                Err(failure) => {
                    self.count_error(failure.kind);
                    fail(failure);
                }
            }
        }
        drop(stay);
        // When no other CPU could be had, or not any more.
        work();
        if samples.left() && first.lock().is_none() {
            self.count_error(Kind::Interrupted);
            fail(interrupted("batch"));
        }
        let failure = *first.lock();
        failure.map_or(Ok(()), Err)
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

/// Closes the section of kernels that several samples share.
fn leave(shared: Option<&Dispatch<'_>>) {
    if let Some(kernels) = shared {
        kernels.leave();
    }
}

/// A result as trace events show it.
fn errno<T>(result: &Outcome<T>) -> i32 {
    match result {
        Ok(_) => 0,
        Err(failure) => failure.errno.to_errno(),
    }
}
