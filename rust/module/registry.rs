// SPDX-License-Identifier: GPL-2.0

//! All networks: found by id or name without a lock, added and removed one at a time.
//!
//! Readers follow an RCU pointer to a table that never changes; who adds or removes a network
//! publishes a new table. Lock order: `LIFECYCLE` (held while networks and their directories come
//! and go, never taken by a debugfs callback), then a network's `control`, then `NOTES` (held for
//! sums and texts). Context of everything that changes: task, may sleep.

use kernel::{
    firmware::Firmware,
    global_lock,
    prelude::*,
    str::{
        CStr,
        CString, //
    },
    sync::Arc, //
};
use neural_core::{
    nnm,
    stats::Snapshot, //
};

use crate::{
    debugfs,
    failure::{
        failure,
        Failure,
        Kind,
        Line,
        Outcome, //
    },
    jit,
    model,
    network::{
        Name,
        Network, //
    },
    sys::{
        buf,
        cpu,
        debugfs::Dir,
        faux::FauxDevice,
        rcu::RcuCell,
        slab::SlabArc,
        trace, //
    }, //
};

/// Networks that can be loaded at a time.
const MAX_NETWORKS: usize = 4096;

/// The networks, ordered by id.
pub(crate) struct Table {
    networks: KVVec<SlabArc<Network>>,
}

/// What those who change the table share.
struct Lifecycle {
    next_id: u32,
    /// The directory of each network, by id.
    dirs: KVVec<(u32, Dir)>,
    /// The directory of the module; dropped after those in it.
    root: Option<Dir>,
    device: Option<FauxDevice>,
}

/// What outlives requests and networks.
struct Notes {
    /// Statistics of the networks that are gone.
    gone: Snapshot,
    last_error: Line,
}

static TABLE: RcuCell<Arc<Table>> = RcuCell::empty();

global_lock! {
    // SAFETY: `Registry::new` initialises it before anything else uses it.
    unsafe(uninit) static LIFECYCLE: Mutex<Lifecycle> = Lifecycle {
        next_id: 1,
        dirs: KVVec::new(),
        root: None,
        device: None,
    };
}

global_lock! {
    // SAFETY: As above.
    unsafe(uninit) static NOTES: Mutex<Notes> = Notes {
        gone: Snapshot::ZERO,
        last_error: Line::EMPTY,
    };
}

/// The registry, while this lives.
pub(crate) struct Registry(());

impl Registry {
    /// Sets the registry up. Called once, before anything else of this file.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called exactly once, by the module's init.
        unsafe {
            LIFECYCLE.init();
            NOTES.init();
        }
        // Firmware is requested for a device; this one is there before any file can be opened.
        LIFECYCLE.lock().device = Some(FauxDevice::new(c"neural")?);
        Ok(Registry(()))
    }

    /// Shows the networks in debugfs from now on. Without debugfs all else works.
    pub(crate) fn show(&self) {
        let mut lifecycle = LIFECYCLE.lock();
        let Ok(root) = debugfs::root() else {
            return;
        };
        for_each(|network| add_dir(&mut lifecycle.dirs, &root, network));
        lifecycle.root = Some(root);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let mut lifecycle = LIFECYCLE.lock();
        lifecycle.dirs = KVVec::new();
        lifecycle.root = None;
        lifecycle.device = None;
        drop(TABLE.replace(None));
    }
}

fn add_dir(dirs: &mut KVVec<(u32, Dir)>, root: &Dir, network: &SlabArc<Network>) {
    if dirs.reserve(1, GFP_KERNEL).is_err() {
        return;
    }
    if let Ok(dir) = debugfs::of_network(root, network) {
        // Cannot fail: room was reserved.
        let _ = dirs.push_within_capacity((network.id, dir));
    }
}

/// Calls `each` with every network.
pub(crate) fn for_each(each: impl FnMut(&SlabArc<Network>)) {
    if let Some(table) = TABLE.get() {
        table.networks.iter().for_each(each);
    }
}

/// Number of networks.
pub(crate) fn count() -> usize {
    TABLE.get().map_or(0, |table| table.networks.len())
}

/// The network with this id. Any context.
pub(crate) fn by_id(id: u32) -> Outcome<SlabArc<Network>> {
    let rcu = kernel::sync::rcu::read_lock();
    let found = TABLE.read(&rcu).and_then(|table| {
        let at = table.networks.binary_search_by_key(&id, |n| n.id).ok()?;
        table.networks.get(at).cloned()
    });
    found.ok_or_else(|| failure!(ENOENT, Input, "no network has id {id}"))
}

/// The network with this name. Any context.
pub(crate) fn by_name(name: &Name) -> Outcome<SlabArc<Network>> {
    let rcu = kernel::sync::rcu::read_lock();
    let found = TABLE
        .read(&rcu)
        .and_then(|table| table.networks.iter().find(|n| n.name == *name).cloned());
    found.ok_or_else(|| failure!(ENOENT, Input, "no network has the name {}", name.as_str()))
}

fn copy_of(table: Option<&Table>, room: usize) -> Outcome<KVVec<SlabArc<Network>>> {
    let old = table.map_or(&[][..], |table| &table.networks);
    let bytes = (old.len() + room) * core::mem::size_of::<SlabArc<Network>>();
    let no_memory = |_| Failure::memory("the table of networks", bytes);
    let mut networks = KVVec::with_capacity(old.len() + room, GFP_KERNEL).map_err(no_memory)?;
    for network in old {
        networks
            .push(network.clone(), GFP_KERNEL)
            .map_err(|_| Failure::memory("the table of networks", bytes))?;
    }
    Ok(networks)
}

fn table_of(networks: KVVec<SlabArc<Network>>) -> Outcome<Arc<Table>> {
    Arc::new(Table { networks }, GFP_KERNEL)
        .map_err(|_| Failure::memory("the table of networks", core::mem::size_of::<Table>()))
}

/// Keeps the line of a request that was refused, for the debugfs file `last_error`, and counts it:
/// for its network, or in the sum if it has none.
pub(crate) fn note<T>(result: Outcome<T>, network: Option<&Network>) -> Outcome<T> {
    if let Err(failure) = &result {
        let mut notes = NOTES.lock();
        notes.last_error = failure.line;
        match network {
            Some(network) => network.count_error(failure.kind),
            None => notes.gone.count_error(failure.kind as usize),
        }
    }
    result
}

/// The line of the request that was refused last.
pub(crate) fn last_error() -> Line {
    NOTES.lock().last_error
}

/// Loads a model file as a new network, under `name` or the name in the file.
pub(crate) fn load(name: Option<Name>, bytes: &[u8]) -> Outcome<SlabArc<Network>> {
    let network = note(try_load(name, bytes), None)?;
    trace::load(network.name.as_cstr(), network.id, 1, bytes.len());
    Ok(network)
}

fn refuse_taken(name: &Name) -> Outcome {
    if by_name(name).is_err() {
        return Ok(());
    }
    Err(failure!(
        EEXIST,
        Model,
        "load: a network has the name {} already; replace or unload it",
        name.as_str()
    ))
}

fn new_id() -> Outcome<u32> {
    let mut lifecycle = LIFECYCLE.lock();
    let id = lifecycle.next_id;
    lifecycle.next_id = id
        .checked_add(1)
        .ok_or_else(|| failure!(ENOSPC, Model, "load: all ids are used"))?;
    Ok(id)
}

fn try_load(name: Option<Name>, bytes: &[u8]) -> Outcome<SlabArc<Network>> {
    let network = make(name, bytes)?;
    add(&network)?;
    Ok(network)
}

/// Makes a network that nobody can find yet.
#[inline(never)]
fn make(name: Option<Name>, bytes: &[u8]) -> Outcome<SlabArc<Network>> {
    let file = parse(bytes)?;
    let name = match name {
        Some(name) => name,
        None => Name::new(file.name().as_bytes())?,
    };
    refuse_taken(&name)?;
    Network::new(new_id()?, name, &file)
}

/// Lets others find a network.
#[inline(never)]
fn add(network: &SlabArc<Network>) -> Outcome {
    let mut lifecycle = LIFECYCLE.lock();
    // Others may have come first meanwhile.
    refuse_taken(&network.name)?;
    let mut networks = copy_of(TABLE.get().as_deref(), 1)?;
    if networks.len() >= MAX_NETWORKS {
        return Err(failure!(
            ENOSPC,
            Model,
            "load: {MAX_NETWORKS} networks are loaded, which is the limit"
        ));
    }
    // Ids are given before the lock is taken, so that the last one need not be the largest.
    let at = networks.iter().take_while(|n| n.id < network.id).count();
    networks
        .insert_within_capacity(at, network.clone())
        .map_err(|_| Failure::memory("the table of networks", 8))?;
    drop(TABLE.replace(Some(table_of(networks)?)));
    let lifecycle = &mut *lifecycle;
    if let Some(root) = &lifecycle.root {
        add_dir(&mut lifecycle.dirs, root, network);
    }
    Ok(())
}

#[inline(never)]
fn parse(bytes: &[u8]) -> Outcome<nnm::Model<'_>> {
    nnm::parse_pausing(bytes, &model::limits(), nnm::Pause(&cpu::pause))
        .map_err(|error| Failure::from_core(error, Kind::Model))
}

/// Replaces the model of `network` by a model file.
pub(crate) fn replace(network: &Network, bytes: &[u8]) -> Outcome {
    let result = parse(bytes).and_then(|file| network.replace(&file));
    let generation = note(result, Some(network))?;
    trace::load(network.name.as_cstr(), network.id, generation, bytes.len());
    Ok(())
}

/// Unloads a network: nobody finds it any more; who has it may use it until they give it back.
pub(crate) fn unload(name: &Name) -> Outcome<u32> {
    let mut lifecycle = LIFECYCLE.lock();
    let network = by_name(name)?;
    let mut networks = copy_of(TABLE.get().as_deref(), 0)?;
    networks.retain(|other| other.id != network.id);
    let table = table_of(networks)?;
    {
        // With the sum, so that nobody counts the network twice or not at all.
        let mut notes = NOTES.lock();
        drop(TABLE.replace(Some(table)));
        network.take_counts(&mut notes.gone);
    }
    let at = lifecycle.dirs.iter().position(|(id, _)| *id == network.id);
    // Waits for who reads the files, who need `NOTES` or `control` only.
    drop(at.and_then(|at| lifecycle.dirs.remove(at).ok()));
    drop(lifecycle);
    jit::look_again();
    trace::unload(network.name.as_cstr(), network.id);
    Ok(network.id)
}

/// Calls `use_it` with the bytes of `neural/NAME.nnm` from the firmware path.
pub(crate) fn with_firmware<T>(
    name: &Name,
    use_it: impl FnOnce(&[u8]) -> Outcome<T>,
) -> Outcome<T> {
    let text = name.as_str();
    let path = CString::try_from_fmt(fmt!("neural/{text}.nnm"))
        .map_err(|_| Failure::memory("a path", 64))?;
    let device = LIFECYCLE.lock().device.as_ref().map(FauxDevice::device);
    let firmware = match device {
        Some(device) => Firmware::request_nowarn(&path, &device),
        None => Err(ENODEV),
    };
    match firmware {
        Ok(firmware) => use_it(firmware.data()),
        Err(error) => note(
            Err(failure!(
                error,
                Model,
                "firmware: neural/{text}.nnm cannot be read from the firmware path"
            )),
            None,
        ),
    }
}

/// Loads `neural/NAME.nnm` from the firmware path as the network NAME.
pub(crate) fn load_firmware(name: &Name) -> Outcome<SlabArc<Network>> {
    with_firmware(name, |bytes| load(Some(*name), bytes))
}

/// Loads each model of a list of names separated by commas; stops at the first that fails.
pub(crate) fn load_list(list: &CStr) -> Outcome {
    for name in list.to_bytes().split(|&b| b == b',') {
        let name = name.trim_ascii();
        if !name.is_empty() {
            load_firmware(&note(Name::new(name), None)?)?;
        }
    }
    Ok(())
}

/// Moves the statistics of a network, which starts anew or goes, to the sum over all.
pub(crate) fn retire(network: &Network) {
    let mut notes = NOTES.lock();
    network.take_counts(&mut notes.gone);
}

/// Statistics of all networks, those included that are gone.
pub(crate) fn total() -> Snapshot {
    let notes = NOTES.lock();
    let mut total = notes.gone;
    for_each(|network| network.add_counts(&mut total));
    let (now, peak) = buf::usage();
    total.memory_bytes = now;
    total.memory_peak_bytes = peak;
    total
}
