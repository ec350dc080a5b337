// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/neural_network/`: statistics, settings and layers of each network as files.
//!
//! Files are removed before what they show is freed; removal waits for readers, so that it is never
//! done under a lock that a file's callback takes (`ADMIN`, a network's `control`).

use core::fmt::Write;

use kernel::{
    debugfs::{
        Dir,
        File,
        Scope, //
    },
    fmt,
    prelude::*,
    str::CString,
    sync::Arc,
    uaccess::UserSliceReader, //
};

use crate::{
    failure::{
        Failure,
        Line,
        Outcome, //
    },
    network::Network,
    registry,
    settings,
    sys::{
        cpu,
        param, //
    }, //
};

/// The directory and the files that speak of all networks.
pub(crate) struct Root {
    dir: Dir,
    _files: Pin<KBox<Files>>,
}

#[pin_data]
struct Files {
    #[pin]
    stats: File<()>,
    #[pin]
    json: File<()>,
    #[pin]
    last_error: File<()>,
}

/// The directory of one network; removed when this is dropped.
pub(crate) struct NetworkDir {
    /// The network's id.
    pub(crate) id: u32,
    _scope: Pin<KBox<Scope<Arc<Network>>>>,
}

impl Root {
    /// Makes the directory.
    pub(crate) fn new() -> Result<Self> {
        let dir = Dir::new(c"neural_network");
        let parent = dir.clone();
        let files = KBox::try_pin_init(
            try_pin_init!(Files {
                stats <- parent.read_callback_file(c"stats", (), &total_text),
                json <- parent.read_callback_file(c"stats.json", (), &total_json),
                last_error <- parent.read_callback_file(c"last_error", (), &last_error),
            }? Error),
            GFP_KERNEL,
        )?;
        Ok(Root { dir, _files: files })
    }

    /// Makes the directory of a network.
    pub(crate) fn network(&self, network: &Arc<Network>) -> Outcome<NetworkDir> {
        let no_memory = |_| Failure::memory("a debugfs directory", 0);
        let text = network.name.as_str();
        let name = CString::try_from_fmt(fmt!("network_{text}")).map_err(no_memory)?;
        let scope = KBox::pin_init(
            self.dir.scope(network.clone(), &name, |network, dir| {
                dir.read_callback_file(c"stats", network, &stats_text);
                dir.read_callback_file(c"stats.json", network, &stats_json);
                dir.read_write_callback_file(c"config", network, &config_text, &config_write);
                dir.read_callback_file(c"layers", network, &layers_text);
                dir.read_callback_file(c"numa", network, &numa_text);
                dir.read_callback_file(c"cpus", network, &cpus_text);
                dir.read_callback_file(c"last_error", network, &network_last_error);
            }),
            GFP_KERNEL,
        );
        Ok(NetworkDir {
            id: network.id,
            _scope: scope.map_err(|_: Error| Failure::memory("a debugfs directory", 0))?,
        })
    }
}

fn total_text(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "networks: {}", registry::count())?;
    registry::total().write_text(f)
}

fn total_json(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    registry::total().write_json("", 0, f)?;
    f.write_char('\n')
}

fn last_error(_: &(), f: &mut fmt::Formatter<'_>) -> fmt::Result {
    param::last_error(|line| write_line(f, line))?;
    write_line(f, registry::last_error().as_str())
}

fn write_line(f: &mut fmt::Formatter<'_>, line: &str) -> fmt::Result {
    if line.is_empty() {
        return Ok(());
    }
    writeln!(f, "{line}")
}

fn stats_text(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "network: {}", network.name.as_str())?;
    writeln!(f, "id: {}", network.id)?;
    network.snapshot().write_text(f)
}

fn stats_json(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    network
        .snapshot()
        .write_json(network.name.as_str(), network.id, f)?;
    f.write_char('\n')
}

/// Writes the settings of a network as lines that can be echoed back.
pub(crate) fn write_config(network: &Network, f: &mut dyn Write) -> fmt::Result {
    let (settings, allowed) = network.settings();
    if allowed.is_all() {
        settings.write(&"all", f)
    } else {
        settings.write(allowed, f)
    }
}

fn config_text(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write_config(network, f)
}

fn config_write(network: &Arc<Network>, reader: &mut UserSliceReader) -> Result {
    if reader.len() > settings::MAX_TEXT {
        return Err(E2BIG);
    }
    let mut text = KVVec::from_elem(0u8, reader.len(), GFP_KERNEL)?;
    reader.read_slice(&mut text)?;
    network.configure(&text).map_err(|failure| failure.errno)
}

fn network_last_error(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let line: Line = network.last_error();
    write_line(f, line.as_str())
}

fn layers_text(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(model) = network.model() else {
        return Ok(());
    };
    writeln!(
        f,
        "{:<6} {:<8} {:>6} {:>6} {:<12} {:>12} {:>12}",
        "layer", "op", "in", "out", "activation", "macs", "bytes"
    )?;
    for (i, step) in model.steps().iter().enumerate() {
        writeln!(
            f,
            "{:<6} {:<8} {:>6} {:>6} {:<12} {:>12} {:>12}",
            i,
            step.kind().name(),
            step.inputs(),
            step.outputs(),
            step.activation().name(),
            step.macs(),
            step.weight_bytes()
        )?;
    }
    let plan = model.plan();
    let context = if model.is_atomic() {
        "any"
    } else {
        "may-sleep"
    };
    writeln!(f, "generation: {}", model.generation)?;
    writeln!(f, "macs: {}", plan.macs)?;
    writeln!(f, "weight_bytes: {}", plan.weight_bytes)?;
    writeln!(f, "scratch_bytes: {}", plan.scratch_bytes)?;
    writeln!(f, "context: {context}")?;
    writeln!(f, "simd: {}", u8::from(network.simd()))
}

fn cpus_text(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for cpu in (0..cpu::nr_cpu_ids()).filter(|&cpu| cpu::possible(cpu)) {
        writeln!(f, "cpu{cpu}: {}", network.predictions_of(cpu))?;
    }
    Ok(())
}

/// Nodes that the `numa` file can tell apart.
const MAX_NODES: usize = 64;

fn numa_text(network: &Arc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(model) = network.model() else {
        return Ok(());
    };
    let mut weights = [0usize; MAX_NODES];
    let mut scratch = [0usize; MAX_NODES];
    model.count_nodes(&mut weights, &mut scratch);
    let nodes = weights.iter().zip(scratch.iter()).enumerate();
    for (node, (weights, scratch)) in nodes.take(cpu::nr_nodes()) {
        writeln!(
            f,
            "node{node}: weights_pages {weights} scratch_pages {scratch}"
        )?;
    }
    Ok(())
}
