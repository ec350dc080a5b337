// SPDX-License-Identifier: GPL-2.0

//! `/sys/kernel/debug/neural_network/`: statistics, settings and layers of each network as files.
//!
//! Files are removed before what they show is freed; removal waits for readers, so that it is never
//! done under a lock that a file's callback takes: the registry's `NOTES`, a network's `control`.

use core::{
    fmt::Write,
    sync::atomic::AtomicU8, //
};

use kernel::{
    fmt,
    prelude::*,
    str::CString,
    uaccess::UserSliceReader, //
};

use neural_core::nnm::DType;

use crate::{
    dispatch,
    failure::Line,
    jit,
    network::Network,
    profile::{
        self,
        Form, //
    },
    registry,
    settings,
    sys::{
        cpu,
        debugfs::Dir,
        fpu,
        param,
        slab::SlabArc,
        text, //
    }, //
};

/// What a file shows.
pub(crate) enum Entry {
    /// Something about all networks.
    All(fn(&mut fmt::Formatter<'_>) -> fmt::Result),
    /// Bytes as they are.
    Bytes(fn() -> &'static [AtomicU8]),
    /// Something about one network.
    One(
        SlabArc<Network>,
        fn(&Network, &mut fmt::Formatter<'_>) -> fmt::Result,
    ),
    /// Where the memory of a network lies.
    Numa(SlabArc<Network>),
    /// The settings of a network, which can be written.
    Config(SlabArc<Network>),
    /// What takes the time, in a network or in all; written, it starts anew.
    Hotspots(Option<SlabArc<Network>>, Form),
}

impl Entry {
    /// Writes what the file shows.
    pub(crate) fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::All(show) => show(f),
            Entry::Bytes(_) => Ok(()),
            Entry::One(network, show) => show(network, f),
            Entry::Numa(network) => numa_text(network, f),
            Entry::Config(network) => write_config(network, f),
            Entry::Hotspots(network, form) => profile::show(network.as_deref(), *form, f),
        }
    }

    /// What the file shows, if that is bytes.
    pub(crate) fn bytes(&self) -> &[AtomicU8] {
        match self {
            Entry::Bytes(bytes) => bytes(),
            _ => &[],
        }
    }

    /// Takes what is written to the file.
    pub(crate) fn store(&self, reader: &mut UserSliceReader) -> Result {
        match self {
            Entry::Config(network) => store_config(network, reader),
            Entry::Hotspots(network, _) => profile::store(network.as_deref(), reader),
            _ => Err(EACCES),
        }
    }
}

/// Makes the directory of the module.
pub(crate) fn root() -> Result<Dir> {
    let mut dir = Dir::new(c"neural_network", None);
    dir.file(c"stats", false, Entry::All(total_text))?;
    dir.file(c"stats.json", false, Entry::All(total_json))?;
    dir.file(c"last_error", false, Entry::All(last_error))?;
    dir.file(c"isa", false, Entry::All(dispatch::write_text))?;
    hotspots(&mut dir, None)?;
    dir.file(c"jit", false, Entry::All(jit::write_text))?;
    dir.file(c"jit_map", false, Entry::All(jit::write_map))?;
    dir.file(c"jit_code", false, Entry::Bytes(text::arena))?;
    Ok(dir)
}

/// Makes the files of what takes the time.
fn hotspots(dir: &mut Dir, network: Option<&SlabArc<Network>>) -> Result {
    for (name, form) in [
        (c"hotspots", Form::Text),
        (c"hotspots.json", Form::Json),
        (c"hotspots.folded", Form::Folded),
    ] {
        let writable = matches!(form, Form::Text);
        dir.file(name, writable, Entry::Hotspots(network.cloned(), form))?;
    }
    Ok(())
}

/// Makes the directory of a network below `root`.
pub(crate) fn of_network(root: &Dir, network: &SlabArc<Network>) -> Result<Dir> {
    let text = network.name.as_str();
    let name = CString::try_from_fmt(fmt!("network_{text}"))?;
    let mut dir = Dir::new(&name, Some(root));
    let one = |show| Entry::One(network.clone(), show);
    dir.file(c"stats", false, one(stats_text))?;
    dir.file(c"stats.json", false, one(stats_json))?;
    dir.file(c"config", true, Entry::Config(network.clone()))?;
    dir.file(c"layers", false, one(layers_text))?;
    dir.file(c"numa", false, Entry::Numa(network.clone()))?;
    dir.file(c"cpus", false, one(cpus_text))?;
    dir.file(c"last_error", false, one(network_last_error))?;
    hotspots(&mut dir, Some(network))?;
    Ok(dir)
}

fn total_text(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "networks: {}", registry::count())?;
    for (key, value) in sections() {
        writeln!(f, "{key}: {value}")?;
    }
    registry::total().write_text(f)
}

/// The sections in which vector code ran.
fn sections() -> [(&'static str, u64); 2] {
    let (sections, longest_ns) = fpu::section_stats();
    [("sections", sections), ("section_max_ns", longest_ns)]
}

fn total_json(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    registry::total().write_json_with("", 0, &sections(), f)?;
    f.write_char('\n')
}

fn last_error(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    param::last_error(|line| write_line(f, line))?;
    write_line(f, registry::last_error().as_str())
}

fn write_line(f: &mut fmt::Formatter<'_>, line: &str) -> fmt::Result {
    if line.is_empty() {
        return Ok(());
    }
    writeln!(f, "{line}")
}

fn stats_text(network: &Network, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "network: {}", network.name.as_str())?;
    writeln!(f, "id: {}", network.id)?;
    network.snapshot().write_text(f)
}

fn stats_json(network: &Network, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    network
        .snapshot()
        .write_json(network.name.as_str(), network.id, f)?;
    f.write_char('\n')
}

/// Writes the settings of a network as lines that can be echoed back.
pub(crate) fn write_config(network: &Network, f: &mut dyn Write) -> fmt::Result {
    let (settings, allowed) = network.settings();
    match allowed {
        None => settings.write(&"all", f),
        Some(cpus) => settings.write(&*cpus, f),
    }
}

fn store_config(network: &Network, reader: &mut UserSliceReader) -> Result {
    if reader.len() > settings::MAX_TEXT {
        return Err(network.refuse_text(reader.len()));
    }
    let mut text = KVVec::from_elem(0u8, reader.len(), GFP_KERNEL)?;
    reader.read_slice(&mut text)?;
    network.configure(&text).map_err(|failure| failure.errno)
}

fn network_last_error(network: &Network, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let line: Line = network.last_error();
    write_line(f, line.as_str())
}

/// A line of the table of layers.
#[inline(never)]
fn row(f: &mut fmt::Formatter<'_>, cells: [&dyn core::fmt::Display; 7]) -> fmt::Result {
    let [layer, op, input, output, activation, macs, bytes] = cells;
    writeln!(
        f,
        "{layer:<6} {op:<8} {input:>6} {output:>6} {activation:<12} {macs:>12} {bytes:>12}"
    )
}

fn layers_text(network: &Network, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(model) = network.model() else {
        return Ok(());
    };
    row(
        f,
        [
            &"layer",
            &"op",
            &"in",
            &"out",
            &"activation",
            &"macs",
            &"bytes",
        ],
    )?;
    for (i, step) in model.layers().enumerate() {
        row(
            f,
            [
                &i,
                &step.kind().name(),
                &step.inputs(),
                &step.outputs(),
                &step.activation().name(),
                &step.macs(),
                &step.weight_bytes(),
            ],
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
    writeln!(f, "cost: {}", model.cost())?;
    writeln!(f, "weight_bytes: {}", plan.weight_bytes)?;
    writeln!(f, "scratch_bytes: {}", plan.scratch_bytes)?;
    writeln!(f, "context: {context}")?;
    writeln!(f, "simd: {}", u8::from(network.simd()))?;
    let vector = network.simd() && model.vectorised(1);
    let isa = match model.ports.dtype {
        _ if vector => dispatch::isa(),
        DType::F32 => "none",
        _ => "scalar",
    };
    writeln!(f, "isa: {isa}")
}

fn cpus_text(network: &Network, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for cpu in (0..cpu::nr_cpu_ids()).filter(|&cpu| cpu::possible(cpu)) {
        writeln!(f, "cpu{cpu}: {}", network.predictions_of(cpu))?;
    }
    Ok(())
}

#[inline(never)]
fn numa_text(network: &SlabArc<Network>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let Some(model) = network.model() else {
        return Ok(());
    };
    let zeros = || KVec::from_elem(0u32, cpu::nr_nodes(), GFP_KERNEL).map_err(|_| fmt::Error);
    let (mut weights, mut scratch) = (zeros()?, zeros()?);
    model.count_nodes(&mut weights, &mut scratch);
    let nodes = weights.iter().zip(scratch.iter()).enumerate();
    for (node, (weights, scratch)) in nodes {
        writeln!(
            f,
            "node{node}: weights_pages {weights} scratch_pages {scratch}"
        )?;
    }
    writeln!(f, "network_node: {}", network.node())?;
    writeln!(f, "model_node: {}", model.node())
}
