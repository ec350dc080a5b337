// SPDX-License-Identifier: GPL-2.0

//! Changes: another model, other settings. Context: task, may sleep.

use core::sync::atomic::Ordering::Relaxed;

use kernel::prelude::*;
use neural_core::{
    config::Profiling,
    nnm, //
};

use super::{
    check_node,
    code_of,
    spread_of,
    Network, //
};
use crate::{
    cache::PredictionCache,
    failure::{
        failure,
        Failure,
        Outcome, //
    },
    model::{
        Model,
        Ports, //
    },
    profile,
    registry,
    settings::{
        self,
        Change, //
    }, //
};

impl Network {
    /// Puts a new model in place. Predictions that run go on with the old one.
    ///
    /// Context: task, may sleep.
    pub(crate) fn replace(&self, file: &nnm::Model<'_>) -> Outcome<u32> {
        let (old, new) = (&self.ports, Ports::of(file));
        if !new.fit(old) {
            return Err(failure!(
                EINVAL,
                Model,
                "replace: {} has {} inputs and {} outputs of {}, the file {} and {} of {}",
                self.name.as_str(),
                old.input.dim,
                old.output.dim,
                old.dtype.name(),
                new.input.dim,
                new.output.dim,
                new.dtype.name()
            ));
        }
        let mut control = self.control.lock();
        let spread = spread_of(control.settings.numa_policy, control.settings.numa_node);
        let generation = control.generation.wrapping_add(1);
        let model = Model::new(file, spread, self.id, generation)?;
        self.note_memory(model.memory());
        control.generation = generation;
        drop(self.model.replace(Some(model)));
        Ok(generation)
    }

    /// Applies configuration text: all of its lines, or none.
    ///
    /// Context: task, may sleep.
    pub(crate) fn configure(&self, text: &[u8]) -> Outcome {
        self.try_configure(text)
            .inspect_err(|failure| self.note(failure))
    }

    /// Refuses text that is too long to be read.
    pub(crate) fn refuse_text(&self, len: usize) -> Error {
        let most = settings::MAX_TEXT;
        let failure = failure!(E2BIG, Config, "config: {len} bytes are more than {most}");
        self.note(&failure);
        failure.errno
    }

    /// Keeps why a change was refused.
    fn note(&self, failure: &Failure) {
        self.count_error(failure.kind);
        self.control.lock().last_error = failure.line;
    }

    fn try_configure(&self, text: &[u8]) -> Outcome {
        let change = Change::parse(text)?;
        self.apply(&change)?;
        if change.resets() {
            registry::retire(self);
        }
        Ok(())
    }

    #[inline(never)]
    fn apply(&self, change: &Change<'_>) -> Outcome {
        let mut control = self.control.lock();
        if !control.own_timeout {
            // CAST: At most an hour.
            control.settings.cache_timeout_ms = self.timeout_ms() as u32;
        }
        control.settings.profiling = self.profiling();
        let old = control.settings;
        let mut new = old;
        change.apply_to(&mut new);
        check_node(&new, new.numa_node != old.numa_node)?;
        let spread = spread_of(new.numa_policy, new.numa_node);

        // All that can fail comes first.
        let moved = spread != spread_of(old.numa_policy, old.numa_node);
        let model = match self.model.get() {
            Some(model) if moved => {
                let generation = control.generation.wrapping_add(1);
                Some(model.placed(spread, self.id, generation)?)
            }
            _ => None,
        };
        let resized = new.cache_size != old.cache_size || moved;
        let cache = if resized {
            PredictionCache::new(
                new.cache_size,
                self.input_bytes,
                self.output_bytes,
                spread.weights(),
            )?
        } else {
            None
        };
        self.note_memory(
            model.as_ref().map_or(0, |model| model.memory())
                + cache.as_ref().map_or(0, |cache| cache.memory()),
        );

        let own_profiling = control.own_profiling || change.sets_profiling();
        let (wanted, wants) = (
            self.wants_profile(),
            own_profiling && new.profiling != Profiling::Off,
        );
        if wants && !wanted {
            profile::want().map_err(|_| Failure::memory("the profile", 0))?;
        }

        if let Some(model) = model {
            control.generation = model.generation;
            drop(self.model.replace(Some(model)));
        }
        if resized {
            drop(self.cache.replace(cache));
        }
        if let Some(cpus) = change.cpus() {
            drop(self.allowed.replace(cpus.clone()));
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
        tuning.jit.store(new.jit, Relaxed);
        tuning.batch_spread.store(new.batch_spread, Relaxed);
        control.own_profiling = own_profiling;
        if own_profiling {
            tuning
                .profiling
                .store(profile::code_of(new.profiling), Relaxed);
        }
        control.settings = new;
        if wanted && !wants {
            profile::unwant();
        }
        Ok(())
    }
}
