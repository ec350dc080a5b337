// SPDX-License-Identifier: GPL-2.0

//! KUnit suites: what needs a kernel around it. Built with `NEURAL_KUNIT=1` only.

use core::sync::atomic::{
    AtomicBool,
    AtomicUsize,
    Ordering::Relaxed, //
};

use kernel::prelude::*;
use neural_core::{
    act::Activation,
    nnm::{
        self,
        DenseSpec,
        Part, //
    }, //
};

use crate::{
    network::{
        Name,
        Network, //
    },
    profile,
    registry,
    sys::{
        cpu,
        slab::SlabArc,
        work::{
            Queue,
            WorkSet, //
        }, //
    }, //
};

const ONE: i32 = 1 << 16;
const DIM: usize = 64;
/// Outputs of a model that is too costly for a section: above `NEURAL_ATOMIC_MACS`.
const COSTLY: usize = 520;

/// A model whose outputs are all `2 * k`, the first half from each of its two layers: a mix of two
/// models shows as an odd sum.
fn image(k: i32, dim: u32) -> Result<KVVec<u8>> {
    let spec = |inputs| DenseSpec {
        inputs,
        outputs: dim,
        activation: Activation::Linear,
    };
    let specs = [spec(4), spec(dim)];
    let size = nnm::dense_file_bytes(&specs).map_err(|_| EINVAL)?;
    let mut file = KVVec::from_elem(0u8, size, GFP_KERNEL)?;
    let mut fill = |layer: usize, part: Part, bytes: &mut [u8]| {
        let width = specs.get(layer).map_or(1, |spec| spec.inputs as usize);
        for (i, element) in bytes.chunks_exact_mut(4).enumerate() {
            let value = match part {
                Part::Bias => k.wrapping_mul(ONE),
                // The diagonal of a square matrix.
                Part::Weights if layer == 1 && i.checked_rem(width + 1) == Some(0) => ONE,
                Part::Weights => 0,
            };
            element.copy_from_slice(&value.to_le_bytes());
        }
    };
    nnm::write_dense("kunit", &specs, &mut fill, &mut file).map_err(|_| EINVAL)?;
    Ok(file)
}

fn name(text: &str) -> Result<Name> {
    Name::new(text.as_bytes()).map_err(|failure| failure.errno)
}

fn load(text: &str, k: i32) -> Result<SlabArc<Network>> {
    load_dim(text, k, DIM)
}

fn load_dim(text: &str, k: i32, dim: usize) -> Result<SlabArc<Network>> {
    let file = image(k, dim as u32)?;
    registry::load(Some(name(text)?), &file).map_err(|failure| failure.errno)
}

fn unload(text: &str) -> Result {
    registry::unload(&name(text)?).map_err(|failure| failure.errno)?;
    Ok(())
}

/// What the network answers: the value of all outputs, or nothing when they differ.
fn answer(network: &Network) -> Result<Option<i32>> {
    answer_in(network, &mut [0u8; 4 * DIM])
}

fn answer_in(network: &Network, output: &mut [u8]) -> Result<Option<i32>> {
    network
        .predict(&[0u8; 16], output)
        .map_err(|failure| failure.errno)?;
    let mut values = output
        .chunks_exact(4)
        .map(|v| i32::from_le_bytes(v.try_into().unwrap_or([0; 4])));
    let first = values.next().unwrap_or(0);
    Ok(values.all(|value| value == first).then_some(first / ONE))
}

/// Replaces the model again and again while all CPUs predict; returns (predictions, wrong ones).
fn replace_under_load(network: &Network, rounds: usize) -> Result<(usize, usize)> {
    let dim = (network.output_bytes / 4) as u32;
    let files = [image(1, dim)?, image(2, dim)?];
    let stop = AtomicBool::new(false);
    let (made, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let predict = || {
        let Ok(mut output) = KVVec::from_elem(0u8, network.output_bytes, GFP_KERNEL) else {
            wrong.fetch_add(1, Relaxed);
            made.fetch_add(1, Relaxed);
            return;
        };
        while !stop.load(Relaxed) {
            if !matches!(answer_in(network, &mut output), Ok(Some(2 | 4))) {
                wrong.fetch_add(1, Relaxed);
            }
            made.fetch_add(1, Relaxed);
            cpu::cond_resched();
        }
    };
    let mut failed = 0;
    let replace = || {
        for file in files.iter().cycle().take(rounds) {
            if registry::replace(network, file).is_err() {
                failed += 1;
            }
        }
        while made.load(Relaxed) == 0 {
            cpu::cond_resched();
        }
        stop.store(true, Relaxed);
    };
    let cpus = (0..cpu::nr_cpu_ids()).filter(|&cpu| cpu::online(cpu));
    WorkSet::new(cpu::nr_cpu_ids())?.run(cpus, &predict, replace, &AtomicBool::new(false));
    Ok((made.load(Relaxed), wrong.load(Relaxed) + failed))
}

#[kunit_tests(neural_registry)]
mod tests {
    use super::*;

    #[test]
    fn a_loaded_model_gives_its_answer() -> Result {
        let network = load("k_answer", 1)?;
        assert_eq!(answer(&network)?, Some(2));
        // Again, from the cache.
        assert_eq!(answer(&network)?, Some(2));
        let stats = network.snapshot();
        assert_eq!(stats.predictions, 2);
        assert_eq!(stats.cache_hits, 1);
        assert_eq!(stats.cache_misses, 1);
        unload("k_answer")
    }

    #[test]
    fn a_name_is_given_once() -> Result {
        let network = load("k_once", 1)?;
        assert_eq!(load("k_once", 1).err(), Some(EEXIST));
        assert_eq!(answer(&network)?, Some(2));
        unload("k_once")?;
        assert_eq!(unload("k_once").err(), Some(ENOENT));
        Ok(())
    }

    #[test]
    fn an_id_is_never_used_again() -> Result {
        let first = load("k_id", 1)?.id;
        unload("k_id")?;
        let second = load("k_id", 1)?.id;
        assert!(second > first);
        assert!(registry::by_id(first).is_err());
        assert!(registry::by_id(second).is_ok());
        unload("k_id")
    }

    #[test]
    fn replacing_takes_effect_at_once_also_for_cached_answers() -> Result {
        let network = load("k_replace", 1)?;
        assert_eq!(answer(&network)?, Some(2));
        let file = image(2, DIM as u32)?;
        assert!(registry::replace(&network, &file).is_ok());
        assert_eq!(answer(&network)?, Some(4));
        // Another output size is refused, and nothing changes.
        let file = image(3, 32)?;
        assert!(registry::replace(&network, &file).is_err());
        assert_eq!(answer(&network)?, Some(4));
        unload("k_replace")
    }

    #[test]
    fn no_prediction_fails_or_mixes_models_while_they_are_replaced() -> Result {
        let network = load("k_live", 1)?;
        let (made, wrong) = replace_under_load(&network, 200)?;
        assert_eq!(wrong, 0);
        assert!(made > 0);
        network
            .configure(b"cache_size 0")
            .map_err(|failure| failure.errno)?;
        let (made, wrong) = replace_under_load(&network, 200)?;
        assert_eq!(wrong, 0);
        assert!(made > 0);
        unload("k_live")
    }

    #[test]
    fn nor_does_one_that_may_sleep() -> Result {
        let network = load_dim("k_costly", 1, COSTLY)?;
        assert!(network.model().is_some_and(|model| !model.is_atomic()));
        network
            .configure(b"cache_size 0")
            .map_err(|failure| failure.errno)?;
        let (made, wrong) = replace_under_load(&network, 20)?;
        assert_eq!(wrong, 0);
        assert!(made > 0);
        unload("k_costly")
    }

    #[test]
    fn a_refused_file_changes_nothing() -> Result {
        let before = registry::count();
        let mut file = image(1, DIM as u32)?;
        if let Some(byte) = file.last_mut() {
            *byte ^= 1;
        }
        let refused = registry::load(Some(name("k_refused")?), &file);
        assert!(refused.is_err());
        assert_eq!(registry::count(), before);
        assert!(registry::last_error().as_str().contains("checksum"));
        Ok(())
    }

    #[test]
    fn settings_are_applied_all_or_none() -> Result {
        let network = load("k_config", 1)?;
        let (before, _) = network.settings();
        assert!(network
            .configure(b"cache_timeout 77\ncache_size x\n")
            .is_err());
        let (after, _) = network.settings();
        assert_eq!(before.cache_timeout_ms, after.cache_timeout_ms);
        assert!(network.last_error().as_str().contains("cache_size"));
        assert!(network
            .configure(b"cache_timeout 77\ncache_size 16\n")
            .is_ok());
        let (after, _) = network.settings();
        assert_eq!(after.cache_timeout_ms, 77);
        assert_eq!(after.cache_size, 16);
        unload("k_config")
    }

    #[test]
    fn what_a_network_counts_stays_in_the_total() -> Result {
        let network = load("k_total", 1)?;
        let before = registry::total();
        assert_eq!(answer(&network)?, Some(2));
        assert!(network.configure(b"reset stats").is_ok());
        assert_eq!(network.snapshot().predictions, 0);
        assert_eq!(registry::total().predictions, before.predictions + 1);
        assert_eq!(answer(&network)?, Some(2));
        unload("k_total")?;
        assert_eq!(registry::total().predictions, before.predictions + 2);
        // Somebody still had it.
        assert_eq!(answer(&network)?, Some(2));
        drop(network);
        let after = registry::total();
        assert_eq!(after.predictions, before.predictions + 3);
        assert_eq!(after.cache_hits, before.cache_hits + 2);
        Ok(())
    }

    #[test]
    fn the_profile_counts_every_prediction_of_all_cpus_and_of_interrupts() -> Result {
        let network = load("k_profile", 1)?;
        assert!(network.configure(b"cache_size 0\nprofiling 2").is_ok());
        let made = AtomicUsize::new(0);
        let predict = || {
            if matches!(answer(&network), Ok(Some(2))) {
                made.fetch_add(1, Relaxed);
            }
        };
        let online = || (0..cpu::nr_cpu_ids()).filter(|&cpu| cpu::online(cpu));
        let work = || {
            for cpu in online().cycle().take(400) {
                predict();
                // In an interrupt, which may come in the middle of what its CPU counts.
                let mut run = || predict();
                let _ = cpu::call_on(cpu, &mut run);
                cpu::cond_resched();
            }
        };
        WorkSet::new(cpu::nr_cpu_ids())?.run(online(), &work, || {}, &AtomicBool::new(false));
        let made = made.load(Relaxed) as u64;
        assert!(made >= 800);
        // Two layers.
        assert_eq!(profile::calls(network.id), 2 * made);
        assert!(network.configure(b"profiling 0").is_ok());
        predict();
        assert_eq!(profile::calls(network.id), 2 * made);
        unload("k_profile")
    }

    #[test]
    fn what_exists_once_is_not_made_twice() -> Result {
        assert_eq!(Queue::new().err(), Some(EBUSY));
        let again = crate::network::NETWORKS.create(c"neural_again");
        assert_eq!(again.err(), Some(EBUSY));
        let network = load("k_twice", 1)?;
        assert_eq!(answer(&network)?, Some(2));
        unload("k_twice")
    }

    #[test]
    fn a_placement_that_cannot_be_is_refused() -> Result {
        let network = load("k_numa", 1)?;
        assert!(network.configure(b"numa_node 63\nnuma_policy 2\n").is_err());
        assert!(network.configure(b"numa_policy 1").is_ok());
        assert_eq!(answer(&network)?, Some(2));
        unload("k_numa")
    }
}
