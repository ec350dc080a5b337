// SPDX-License-Identifier: GPL-2.0

//! A change of settings, read from text and checked as a whole before anything is touched.

use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use neural_core::config::{
    self,
    Setting,
    Settings,
    Workload, //
};

use crate::{
    failure::{
        failure,
        Failure,
        Kind,
        Outcome, //
    },
    sys::cpu::CpuSet, //
};

/// The most bytes that one change may have.
pub(crate) const MAX_TEXT: usize = 4096;

/// The CPUs on which work may be done; `None` for all.
pub(crate) type Allowed = Option<Arc<CpuSet>>;

/// What a text asks for.
pub(crate) struct Change<'a> {
    text: &'a [u8],
    cpus: Option<Allowed>,
    timeout: bool,
    profiling: bool,
    resets: bool,
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&b| b == b'\n')
        .filter(|line| !line.trim_ascii().is_empty())
}

impl<'a> Change<'a> {
    /// Reads lines of the form `key value`. Errors: `EINVAL` or `ERANGE` and which line is wrong.
    #[inline(never)]
    pub(crate) fn parse(text: &'a [u8]) -> Outcome<Self> {
        let mut change = Change {
            text,
            cpus: None,
            timeout: false,
            profiling: false,
            resets: false,
        };
        let mut count = 0;
        for line in lines(text) {
            count += 1;
            let setting = config::parse_line(line)
                .map_err(|error| Failure::from_core(error, Kind::Config))?;
            match setting {
                Setting::AllowedCpus(list) => change.cpus = Some(parse_cpus(list)?),
                Setting::Reset => change.resets = true,
                Setting::Profiling(_) => change.profiling = true,
                Setting::Workload(Workload::Custom) => {}
                Setting::CacheTimeoutMs(_) | Setting::Workload(_) => change.timeout = true,
                _ => {}
            }
        }
        if count == 0 {
            return Err(failure!(
                EINVAL,
                Config,
                "config: empty, expected: key value"
            ));
        }
        Ok(change)
    }

    /// Applies all lines to `settings`, in order.
    pub(crate) fn apply_to(&self, settings: &mut Settings) {
        for line in lines(self.text) {
            if let Ok(setting) = config::parse_line(line) {
                settings.apply(&setting);
            }
        }
    }

    /// The CPUs that are asked for.
    pub(crate) fn cpus(&self) -> Option<&Allowed> {
        self.cpus.as_ref()
    }

    /// Whether the statistics start anew.
    pub(crate) fn resets(&self) -> bool {
        self.resets
    }

    /// Whether profiling is set, so that the module parameter no longer counts.
    pub(crate) fn sets_profiling(&self) -> bool {
        self.profiling
    }

    /// Whether the cache time-out is set, so that the module parameter no longer counts.
    pub(crate) fn sets_timeout(&self) -> bool {
        self.timeout
    }
}

fn parse_cpus(list: &str) -> Outcome<Allowed> {
    let no_memory = |_| Failure::memory("allowed_cpus", list.len());
    if list == "all" {
        return Ok(None);
    }
    let text = CString::try_from_fmt(fmt!("{list}")).map_err(no_memory)?;
    let set = CpuSet::parse(&text).map_err(|error| {
        if error == ENOMEM {
            return Failure::memory("allowed_cpus", list.len());
        }
        // A number too large for the kernel's parser is out of range as well.
        let error = if error == EOVERFLOW { ERANGE } else { error };
        failure!(
            error,
            Config,
            "config: allowed_cpus: '{list}' is no list of CPUs of this machine, such as 0-3,8"
        )
    })?;
    if set.is_all() {
        return Ok(None);
    }
    Arc::new(set, GFP_KERNEL)
        .map(Some)
        .map_err(|_| Failure::memory("allowed_cpus", list.len()))
}
