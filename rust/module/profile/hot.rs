// SPDX-License-Identifier: GPL-2.0

//! Which operations are worth code of their own, by what was counted, and which have it.
//!
//! Context: task, may sleep.

use kernel::prelude::*;
use neural_core::profile::{
    Entry as Counted,
    Key,
    Report,
    Status, //
};

use super::TABLES;
use crate::{
    registry,
    sys::param, //
};

/// Whether it is the same operation of the same shape, of whichever network.
fn same(one: &Key, other: &Key) -> bool {
    let network = other.network;
    Key { network, ..*one } == *other
}

/// Whether this part of all cycles, in hundredths of a percent, is enough.
fn enough(share_e4: u64) -> bool {
    share_e4 >= u64::from(param::jit_share()).saturating_mul(100)
}

/// What was counted until now, of all networks together.
pub(crate) struct Shares {
    entries: KVVec<Counted>,
    cycles: u64,
}

impl Shares {
    /// Adds it up. Errors: `ENOMEM`.
    pub(crate) fn now() -> Result<Self> {
        let mut entries = match TABLES.get() {
            Some(tables) => tables.entries(None)?,
            None => KVVec::new(),
        };
        let report = Report::new(&mut entries, false, 0);
        let (kept, cycles) = (report.entries().len(), report.cycles());
        entries.truncate(kept);
        Ok(Shares { entries, cycles })
    }

    /// Whether an operation takes so much of all cycles that it is worth code of its own. One of which
    /// nothing is known is.
    pub(crate) fn worth(&self, key: &Key) -> bool {
        let counted = self.entries.iter();
        let mut counted = counted.filter(|entry| same(entry.site.key(), key));
        counted.all(|entry| enough(entry.share_e4(self.cycles)))
    }
}

/// Whether predictions do an operation by code of its own: those of the network of the key, or of any.
fn compiled(key: &Key, by_network: bool) -> bool {
    let mut found = false;
    registry::for_each(|network| {
        let asked = !by_network || network.id == key.network;
        if found || !asked || !network.jit() || !network.simd() {
            return;
        }
        let Some(model) = network.model() else {
            return;
        };
        let is_it = |place| model.sites().of(place).is_some_and(|own| same(own, key));
        found = model.codes().is_some_and(|codes| codes.live().any(is_it));
    });
    found
}

/// What has become of an operation, `cycles` being those of all.
pub(super) fn status_of(entry: &Counted, cycles: u64, by_network: bool) -> Status {
    let often = entry.counts.calls() >= u64::from(param::jit_threshold());
    if compiled(entry.site.key(), by_network) {
        Status::Compiled
    } else if often && enough(entry.share_e4(cycles)) {
        Status::Candidate
    } else {
        Status::Plain
    }
}
