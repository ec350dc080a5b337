// SPDX-License-Identifier: GPL-2.0

//! Neural inference as a kernel service: the module that ties the pure crates to the kernel.
//!
//! What is decided here is order: what must exist before what, and what must be gone first. The
//! fields of [`NeuralModule`] are dropped from top to bottom.

// A failure carries its line by value: in an interrupt there is no allocating a box for it.
#![allow(clippy::result_large_err)]

use kernel::prelude::*;

mod cache;
mod control;
mod debugfs;
mod dispatch;
mod failure;
mod jit;
#[cfg(NEURAL_KUNIT)]
mod kunit;
#[cfg(NEURAL_KUNIT)]
mod kunit_f32;
#[cfg(NEURAL_KUNIT)]
mod kunit_jit;
#[cfg(NEURAL_KUNIT)]
mod kunit_scalar;
#[cfg(NEURAL_KUNIT)]
mod kunit_simd;
mod model;
mod network;
mod profile;
mod registry;
mod settings;
mod sys;

use sys::{
    chardev::CharDevice,
    param,
    percpu,
    slab::SlabOwner,
    work::Queue, //
};

module! {
    type: NeuralModule,
    name: "neural",
    authors: ["The neural authors"],
    description: "Neural network inference as a kernel service",
    license: "GPL",
}

struct NeuralModule {
    /// First to go: no new requests.
    _device: Pin<KBox<CharDevice>>,
    /// Then all networks and their files.
    _registry: registry::Registry,
    /// Then code that was generated for them, and who makes it.
    _jit: jit::Jit,
    /// Then what networks are made of.
    _networks: SlabOwner,
    _models: SlabOwner,
    _counters: SlabOwner,
    _queue: Queue,
    _profiler: profile::Profiler,
}

impl kernel::Module for NeuralModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        dispatch::choose()?;
        let profiler = profile::Profiler::new()?;
        let queue = Queue::new()?;
        let counters = percpu::COUNTERS.create(c"neural_counters")?;
        let models = model::MODELS.create(c"neural_model")?;
        let networks = network::NETWORKS.create(c"neural_network")?;
        let jit = jit::Jit::new()?;
        let registry = registry::Registry::new()?;
        registry::load_list(param::models()).map_err(|failure| {
            pr_err!("{}\n", failure.line.as_str());
            failure.errno
        })?;
        // The last step that can fail: once a file can be opened, the module must stay.
        let device = KBox::try_pin_init(CharDevice::new(), GFP_KERNEL)?;
        registry.show();
        pr_info!("ready, {} networks\n", registry::count());
        Ok(NeuralModule {
            _device: device,
            _registry: registry,
            _jit: jit,
            _networks: networks,
            _models: models,
            _counters: counters,
            _queue: queue,
            _profiler: profiler,
        })
    }
}
