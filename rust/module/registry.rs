// SPDX-License-Identifier: GPL-2.0

//! All networks: found by id or name without a lock, added and removed one at a time.
//!
//! Readers follow an RCU pointer to a table that never changes; who adds or removes a network
//! publishes a new table. Lock order: `ADMIN`, then a network's `control`. Context of everything
//! that changes: task, may sleep.

use kernel::{
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
    debugfs::{
        self,
        NetworkDir, //
    },
    failure::{
        failure,
        Failure,
        Kind,
        Line,
        Outcome, //
    },
    model,
    network::{
        Name,
        Network, //
    },
    sys::{
        buf,
        rcu::RcuArc,
        trace, //
    }, //
};

/// Networks that can be loaded at a time.
const MAX_NETWORKS: usize = 4096;

/// The networks, ordered by id.
pub(crate) struct Table {
    networks: KVVec<Arc<Network>>,
}

/// What those who change the table share.
struct Admin {
    next_id: u32,
    dirs: KVVec<NetworkDir>,
    root: Option<debugfs::Root>,
    device: Option<kernel::sync::aref::ARef<kernel::device::Device>>,
    /// Statistics of the networks that are gone.
    gone: Snapshot,
    last_error: Line,
}

static TABLE: RcuArc<Table> = RcuArc::empty();

global_lock! {
    // SAFETY: `Registry::new` initialises it before anything else uses it.
    unsafe(uninit) static ADMIN: Mutex<Admin> = Admin {
        next_id: 1,
        dirs: KVVec::new(),
        root: None,
        device: None,
        gone: Snapshot::ZERO,
        last_error: Line::EMPTY,
    };
}

/// The registry, while this lives.
pub(crate) struct Registry(());

impl Registry {
    /// Sets the registry up. Called once, before anything else of this file.
    pub(crate) fn new() -> Self {
        // SAFETY: Called exactly once, by the module's init.
        unsafe { ADMIN.init() };
        Registry(())
    }

    /// Lets networks have directories below `root` and files from the firmware path for `device`.
    pub(crate) fn connect(&self, root: debugfs::Root, device: &kernel::device::Device) {
        let mut admin = ADMIN.lock();
        admin.root = Some(root);
        admin.device = Some(device.into());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let (dirs, root, device) = {
            let mut admin = ADMIN.lock();
            (
                core::mem::replace(&mut admin.dirs, KVVec::new()),
                admin.root.take(),
                admin.device.take(),
            )
        };
        // Waits for readers of the files, who may need the lock.
        drop((dirs, root, device));
        drop(TABLE.replace(None));
    }
}

/// Calls `each` with every network.
pub(crate) fn for_each(each: impl FnMut(&Arc<Network>)) {
    if let Some(table) = TABLE.get() {
        table.networks.iter().for_each(each);
    }
}

/// Number of networks.
pub(crate) fn count() -> usize {
    TABLE.get().map_or(0, |table| table.networks.len())
}

/// The network with this id. Any context.
pub(crate) fn by_id(id: u32) -> Outcome<Arc<Network>> {
    let rcu = kernel::sync::rcu::read_lock();
    let found = TABLE.read(&rcu).and_then(|table| {
        let at = table.networks.binary_search_by_key(&id, |n| n.id).ok()?;
        table.networks.get(at).cloned()
    });
    found.ok_or_else(|| failure!(ENOENT, Input, "no network has id {id}"))
}

/// The network with this name. Any context.
pub(crate) fn by_name(name: &Name) -> Outcome<Arc<Network>> {
    let rcu = kernel::sync::rcu::read_lock();
    let found = TABLE
        .read(&rcu)
        .and_then(|table| table.networks.iter().find(|n| n.name == *name).cloned());
    found.ok_or_else(|| failure!(ENOENT, Input, "no network has the name {}", name.as_str()))
}

fn copy_of(table: Option<&Table>, room: usize) -> Outcome<KVVec<Arc<Network>>> {
    let old = table.map_or(&[][..], |table| &table.networks);
    let no_memory = |_| Failure::memory("the table of networks", 8 * old.len());
    let mut networks = KVVec::with_capacity(old.len() + room, GFP_KERNEL).map_err(no_memory)?;
    for network in old {
        networks
            .push(network.clone(), GFP_KERNEL)
            .map_err(|_| Failure::memory("the table of networks", 8 * old.len()))?;
    }
    Ok(networks)
}

fn publish(networks: KVVec<Arc<Network>>) -> Outcome<Option<Arc<Table>>> {
    let table = Arc::new(Table { networks }, GFP_KERNEL)
        .map_err(|_| Failure::memory("the table of networks", 0))?;
    Ok(TABLE.replace(Some(table)))
}

/// Keeps the line of a request that was refused, for the debugfs file `last_error`.
fn note<T>(result: Outcome<T>) -> Outcome<T> {
    if let Err(failure) = &result {
        let mut admin = ADMIN.lock();
        admin.last_error = failure.line;
        // Without a network of its own, the error counts in the sum.
        admin.gone.count_error(failure.kind as usize);
    }
    result
}

/// The line of the request that was refused last.
pub(crate) fn last_error() -> Line {
    ADMIN.lock().last_error
}

/// Loads a model file as a new network, under `name` or the name in the file.
pub(crate) fn load(name: Option<Name>, bytes: &[u8]) -> Outcome<Arc<Network>> {
    note(try_load(name, bytes))
}

fn try_load(name: Option<Name>, bytes: &[u8]) -> Outcome<Arc<Network>> {
    let file = parse(bytes)?;
    let name = match name {
        Some(name) => name,
        None => Name::new(file.name().as_bytes())?,
    };
    let mut admin = ADMIN.lock();
    if by_name(&name).is_ok() {
        return Err(failure!(
            EEXIST,
            Model,
            "load: a network has the name {} already; replace or unload it",
            name.as_str()
        ));
    }
    let table = TABLE.get();
    let mut networks = copy_of(table.as_deref(), 1)?;
    if networks.len() >= MAX_NETWORKS {
        return Err(failure!(
            ENOSPC,
            Model,
            "load: {MAX_NETWORKS} networks are loaded, which is the limit"
        ));
    }
    let id = admin.next_id;
    let next_id = id
        .checked_add(1)
        .ok_or_else(|| failure!(ENOSPC, Model, "load: all ids are used"))?;
    let network = Network::new(id, name, &file)?;
    networks
        .push(network.clone(), GFP_KERNEL)
        .map_err(|_| Failure::memory("the table of networks", 8))?;
    let no_memory = |_| Failure::memory("a debugfs directory", 0);
    admin.dirs.reserve(1, GFP_KERNEL).map_err(no_memory)?;
    let dir = match &admin.root {
        Some(root) => Some(root.network(&network)?),
        None => None,
    };
    let old = publish(networks)?;
    if let Some(dir) = dir {
        // Cannot fail: room was reserved.
        let _ = admin.dirs.push_within_capacity(dir);
    }
    admin.next_id = next_id;
    drop(admin);
    drop((old, table));
    trace::load(network.name.as_cstr(), id, 1, bytes.len(), 0);
    Ok(network)
}

fn parse(bytes: &[u8]) -> Outcome<nnm::Model<'_>> {
    nnm::parse(bytes, &model::limits()).map_err(|error| Failure::from_core(error, Kind::Model))
}

/// Replaces the model of `network` by a model file.
pub(crate) fn replace(network: &Network, bytes: &[u8]) -> Outcome {
    let generation = note(parse(bytes).and_then(|file| network.replace(&file)))?;
    trace::load(
        network.name.as_cstr(),
        network.id,
        generation,
        bytes.len(),
        0,
    );
    Ok(())
}

/// Unloads a network: nobody finds it any more; who has it may use it until they give it back.
pub(crate) fn unload(name: &Name) -> Outcome<u32> {
    let (old, dir, network) = {
        let mut admin = ADMIN.lock();
        let network = by_name(name)?;
        let table = TABLE.get();
        let mut networks = copy_of(table.as_deref(), 0)?;
        networks.retain(|other| other.id != network.id);
        drop(table);
        let old = publish(networks)?;
        let at = admin.dirs.iter().position(|dir| dir.id == network.id);
        let dir = at.and_then(|at| admin.dirs.remove(at).ok());
        admin.gone.merge(&network.snapshot());
        (old, dir, network)
    };
    // Outside the lock: waits for who reads the files.
    drop((old, dir));
    trace::unload(network.name.as_cstr(), network.id);
    Ok(network.id)
}

/// Calls `use_it` with the bytes of `neural/NAME.nnm` from the firmware path.
pub(crate) fn with_firmware<T>(
    name: &Name,
    use_it: impl FnOnce(&[u8]) -> Outcome<T>,
) -> Outcome<T> {
    let device = ADMIN.lock().device.clone();
    let text = name.as_str();
    let path = CString::try_from_fmt(fmt!("neural/{text}.nnm"))
        .map_err(|_| Failure::memory("a path", 64))?;
    let missing = |error: Error| {
        note(Err(failure!(
            error,
            Model,
            "firmware: neural/{text}.nnm cannot be read from the firmware path"
        )))
    };
    let Some(device) = device else {
        return missing(ENODEV);
    };
    match kernel::firmware::Firmware::request_nowarn(&path, &device) {
        Ok(firmware) => use_it(firmware.data()),
        Err(error) => missing(error),
    }
}

/// Loads `neural/NAME.nnm` from the firmware path as the network NAME.
pub(crate) fn load_firmware(name: &Name) -> Outcome<Arc<Network>> {
    with_firmware(name, |bytes| load(Some(*name), bytes))
}

/// Loads each model of a list of names separated by commas; stops at the first that fails.
pub(crate) fn load_list(list: &CStr) -> Outcome {
    for name in list.to_bytes().split(|&b| b == b',') {
        let name = name.trim_ascii();
        if !name.is_empty() {
            load_firmware(&note(Name::new(name))?)?;
        }
    }
    Ok(())
}

/// Keeps statistics that a network no longer has in the sum over all.
pub(crate) fn retire(snapshot: &Snapshot) {
    ADMIN.lock().gone.merge(snapshot);
}

/// Statistics of all networks, those included that are gone.
pub(crate) fn total() -> Snapshot {
    let mut total = ADMIN.lock().gone;
    for_each(|network| total.merge(&network.snapshot()));
    let (now, peak) = buf::usage();
    total.memory_bytes = now;
    total.memory_peak_bytes = peak;
    total
}
