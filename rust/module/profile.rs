// SPDX-License-Identifier: GPL-2.0

//! Which operations take the time: the tables, who wants them, and what they show.
//!
//! A prediction that is profiled reads the time stamp counter after each step of its plan ([`Watch`]) and
//! counts it in the table of its CPU. The tables are made when something is profiled for the first time
//! and stay until the module goes. While nothing is profiled, a prediction has one jump that is patched
//! out.
//!
//! Lock order: a network's `control`, or the kernel's lock of module parameters, then `WANTED`. Context:
//! task, may sleep, unless said otherwise.

mod hot;

use core::{
    cell::Cell,
    fmt::Write,
    sync::atomic::{
        AtomicBool,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        }, //
    }, //
};

use kernel::{
    fmt,
    global_lock,
    prelude::*,
    sync::{
        rcu,
        Arc, //
    },
    uaccess::UserSliceReader, //
};
use neural_core::{
    config::Profiling,
    nnm::DType,
    plan::{
        Plan,
        Step, //
    },
    profile::{
        Clock,
        Dims,
        Entry as Counted,
        Key,
        Measure,
        Op,
        Report,
        Site,
        Table,
        Timer, //
    }, //
};

use crate::{
    network::Network,
    registry,
    sys::{
        buf::{
            AtomicBuf,
            Placement, //
        },
        cpu::{
            self,
            PreemptGuard, //
        },
        fpu,
        loan::Loan,
        param,
        profile::switch,
        rcu::RcuCell, //
    }, //
};

pub(crate) use self::hot::Shares;
pub(crate) use crate::sys::profile::on;

/// Buckets of the table that all CPUs share, and of that of one.
const SHARED: usize = 16384;
const LOCAL: usize = 128;

/// One of so many predictions is measured when profiling is sampled; a power of 2.
const SAMPLED: u64 = 64;

/// How often counting is tried to learn what it costs.
const ROUNDS: usize = 64;

/// The tables.
pub(crate) struct Tables {
    shared: AtomicBuf,
    local: KVec<Option<AtomicBuf>>,
    /// Ticks that it takes to count a step.
    cost: u64,
}

static TABLES: RcuCell<Arc<Tables>> = RcuCell::empty();

/// Who wants something to be profiled.
struct Wanted {
    param: bool,
    networks: usize,
}

global_lock! {
    // SAFETY: `Profiler::new` initialises it before `READY` says that it may be used.
    unsafe(uninit) static WANTED: Mutex<Wanted> = Wanted {
        param: false,
        networks: 0,
    };
}

/// Whether there is a [`Profiler`].
static READY: AtomicBool = AtomicBool::new(false);

impl Wanted {
    fn any(&self) -> bool {
        self.param || self.networks != 0
    }

    /// Makes `change`, and all that follows.
    fn change(&mut self, change: impl FnOnce(&mut Self)) -> Result {
        let before = (self.param, self.networks);
        change(self);
        if self.any() {
            if let Err(error) = make_tables() {
                (self.param, self.networks) = before;
                return Err(error);
            }
        }
        switch(self.any());
        Ok(())
    }
}

/// Profiling is possible while this lives.
pub(crate) struct Profiler(());

impl Profiler {
    /// Makes it possible, and begins with what the module parameter says. Called once.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Called exactly once, by the module's init.
        unsafe { WANTED.init() };
        // ORDERING: Pairs with the acquire in `set_param`.
        READY.store(true, Release);
        let profiler = Profiler(());
        set_param(param::profiling())?;
        Ok(profiler)
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        let wanted = WANTED.lock();
        READY.store(false, Relaxed);
        switch(false);
        drop(TABLES.replace(None));
        drop(wanted);
    }
}

/// The module parameter gets a value; nothing has changed if this fails.
pub(crate) fn set_param(mode: u32) -> Result {
    // ORDERING: Pairs with the release in `new`. Parameters can be set before and after.
    if !READY.load(Acquire) {
        return Ok(());
    }
    let mut wanted = WANTED.lock();
    if !READY.load(Relaxed) {
        return Ok(());
    }
    wanted.change(|wanted| wanted.param = mode != 0)
}

/// One more network wants to be profiled.
pub(crate) fn want() -> Result {
    WANTED.lock().change(|wanted| wanted.networks += 1)
}

/// A network does not want to be profiled any more.
pub(crate) fn unwant() {
    // Cannot fail: there are tables.
    let _ = WANTED.lock().change(|wanted| wanted.networks -= 1);
}

fn make_tables() -> Result {
    if TABLES.get().is_none() {
        let tables = Arc::new(Tables::new()?, GFP_KERNEL)?;
        drop(TABLES.replace(Some(tables)));
    }
    Ok(())
}

impl Tables {
    fn new() -> Result<Self> {
        let shared = Placement::Near(cpu::current_node());
        let mut tables = Tables {
            shared: AtomicBuf::new(Table::words(SHARED), shared)?,
            local: KVec::with_capacity(cpu::nr_cpu_ids(), GFP_KERNEL)?,
            cost: 0,
        };
        for cpu in 0..cpu::nr_cpu_ids() {
            let words = Table::words(LOCAL);
            let table = if cpu::possible(cpu) {
                Some(AtomicBuf::new(words, Placement::Near(cpu::node_of(cpu)))?)
            } else {
                None
            };
            tables.local.push(table, GFP_KERNEL)?;
        }
        tables.cost = tables.measure();
        Ok(tables)
    }

    /// The fewest ticks that it takes to count a step.
    fn measure(&self) -> u64 {
        let key = Key {
            network: 0,
            op: Op::Copy,
            dtype: DType::I8,
            dims: Dims::new(&[]),
        };
        let site = Site::new(key, 0, 0);
        let shortest = (0..ROUNDS).fold(u64::MAX, |shortest, _| {
            let guard = PreemptGuard::new();
            let start = fpu::ticks();
            self.count(guard.cpu(), &site, 1, 1);
            shortest.min(fpu::ticks().wrapping_sub(start))
        });
        self.clear(None);
        shortest
    }

    /// Counts calls in the table of this CPU, on which the caller stays.
    #[inline]
    fn count(&self, cpu: usize, site: &Site, calls: u64, cycles: u64) {
        let local = self.local.get(cpu).and_then(Option::as_ref);
        let table = local.and_then(|words| Table::new(words.words()));
        let (Some(table), Some(shared)) = (table, Table::new(self.shared.words())) else {
            return;
        };
        let measure = Measure {
            calls,
            cycles,
            events: None,
        };
        table.record_local(site, &measure, &shared);
    }

    fn all(&self) -> impl Iterator<Item = Table<'_>> {
        let local = self.local.iter().flatten();
        let buffers = Iterator::chain(local, [&self.shared]);
        buffers.filter_map(|words| Table::new(words.words()))
    }

    /// Forgets what was counted, of one network or of all.
    fn clear(&self, network: Option<u32>) {
        for table in self.all() {
            table.clear(|id| network.is_none_or(|network| network == id));
            if network.is_none() {
                table.clear_lost();
            }
            cpu::cond_resched();
        }
    }

    /// What was counted, of one network or of all.
    fn entries(&self, network: Option<u32>) -> Result<KVVec<Counted>> {
        let mut entries = KVVec::new();
        let mut result = Ok(());
        for table in self.all() {
            let wanted = |id| network.is_none_or(|network| network == id);
            table.each(wanted, |&site, &counts| {
                let entry = Counted { site, counts };
                if let Err(error) = entries.push(entry, GFP_KERNEL) {
                    result = Err(error);
                }
            });
            cpu::cond_resched();
        }
        result?;
        Ok(entries)
    }

    fn lost(&self) -> u64 {
        self.all().map(|table| table.lost()).sum()
    }
}

/// For how many predictions one that begins now is counted; 0: it is not measured. Any context.
pub(crate) fn weight(profiling: Profiling, now: u64) -> u64 {
    match profiling {
        Profiling::Off => 0,
        Profiling::Exact => 1,
        // The clock is as good as a random number and costs no memory that CPUs share.
        Profiling::Sampled => {
            let mixed = now.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            match mixed >> (u64::BITS - SAMPLED.trailing_zeros()) {
                0 => SAMPLED,
                _ => 0,
            }
        }
    }
}

/// The code of a mode, as the module parameter has it.
pub(crate) fn of_code(code: u32) -> Profiling {
    match code {
        0 => Profiling::Off,
        1 => Profiling::Sampled,
        _ => Profiling::Exact,
    }
}

/// The code of a mode, as an atomic holds it.
pub(crate) fn code_of(profiling: Profiling) -> u8 {
    match profiling {
        Profiling::Off => 0,
        Profiling::Sampled => 1,
        Profiling::Exact => 2,
    }
}

/// What is counted at each place of a plan.
pub(crate) struct Sites(KVVec<Option<Site>>);

impl Sites {
    /// Those of a plan of a network.
    pub(crate) fn new(plan: &Plan, steps: &[Step], network: u32) -> Result<Self> {
        let mut sites = KVVec::with_capacity(plan.places(), GFP_KERNEL)?;
        for place in 0..plan.places() {
            sites.push(plan.site(steps, place, network), GFP_KERNEL)?;
        }
        Ok(Sites(sites))
    }

    /// Bytes of memory.
    pub(crate) fn memory(&self) -> usize {
        self.0.len() * core::mem::size_of::<Option<Site>>()
    }

    /// What the work at a place is counted as: what is not counted there is part of what follows.
    pub(crate) fn of(&self, place: usize) -> Option<&Key> {
        let mut sites = self.0.iter().skip(place);
        sites.find_map(Option::as_ref).map(Site::key)
    }
}

/// Calls `run` with the tables, if there are some. Any context; with `atomic`, the caller stays where it
/// may not sleep.
pub(crate) fn with_tables<R>(atomic: bool, run: impl FnOnce(Option<&Tables>) -> R) -> R {
    if atomic {
        let rcu = rcu::read_lock();
        run(TABLES.read(&rcu).as_deref())
    } else {
        run(TABLES.get().as_deref())
    }
}

/// The time stamp counter.
struct Ticks;

impl Clock for Ticks {
    #[inline]
    fn ticks(&self) -> u64 {
        fpu::ticks()
    }
}

/// Takes the time of the steps of a prediction. Any context.
pub(crate) struct Watch {
    tables: Loan<Tables>,
    sites: Loan<Sites>,
    /// How many predictions this one is counted for; 0: nobody looks.
    weight: Cell<u64>,
    timer: Timer<Ticks>,
    /// Whether the caller may be preempted.
    preemptible: bool,
}

impl Watch {
    /// One that does not look yet.
    pub(crate) fn new(preemptible: bool) -> Self {
        Watch {
            tables: Loan::new(),
            sites: Loan::new(),
            weight: Cell::new(0),
            timer: Timer::new(Ticks),
            preemptible,
        }
    }

    /// Looks at what `run` does, for a plan of these sites.
    pub(crate) fn look<R>(
        &self,
        tables: &Tables,
        sites: &Sites,
        weight: u64,
        run: impl FnOnce() -> R,
    ) -> R {
        self.timer.restart();
        self.weight.set(weight);
        let watched = || self.sites.lend(Some(sites), run);
        let result = self.tables.lend(Some(tables), watched);
        self.weight.set(0);
        result
    }

    #[inline]
    fn looks(&self) -> bool {
        self.weight.get() != 0
    }

    /// A step begins; the first one of a run now, or when [`ready`](Self::ready) says so: the opening of a
    /// section of vector registers is no part of it.
    #[inline]
    pub(crate) fn begin(&self, now: bool) {
        if self.looks() {
            self.timer.begin(now);
        }
    }

    /// What the first step is done with is there, since a moment that is given if it is known.
    #[inline]
    pub(crate) fn ready(&self, since: Option<u64>) {
        if self.looks() {
            self.timer.ready(since);
        }
    }

    /// Calls `run`, which is no part of the step.
    #[inline]
    pub(crate) fn aside<R>(&self, run: impl FnOnce() -> R) -> R {
        match self.looks() {
            true => self.timer.aside(run),
            false => run(),
        }
    }

    /// A step has ended.
    #[inline]
    pub(crate) fn end(&self, place: usize, samples: usize) {
        if self.looks() {
            self.count(place, samples);
        }
    }

    #[inline(never)]
    fn count(&self, place: usize, samples: usize) {
        let count = |tables: &Tables, site: &Site| {
            let cycles = self.timer.end(tables.cost);
            // CAST: Widening.
            let samples = samples as u64;
            let each = match samples {
                1 => cycles,
                _ => cycles.checked_div(samples).unwrap_or(cycles),
            };
            let calls = self.weight.get().wrapping_mul(samples);
            let _here = self.preemptible.then(PreemptGuard::new);
            tables.count(cpu::current_cpu(), site, calls, each);
        };
        let look = |sites: &Sites| {
            if let Some(Some(site)) = sites.0.get(place) {
                self.tables.with(|tables| count(tables, site));
            }
        };
        self.sites.with(look);
    }

    /// What follows is not looked at.
    #[inline]
    pub(crate) fn look_away(&self) {
        self.timer.restart();
    }

    /// The time, or that of the end of the last step if nothing has happened since.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        self.timer.now()
    }
}

/// How a file shows what was counted.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    /// As a table.
    Text,
    /// As JSON.
    Json,
    /// As stacks, from which programs draw flame graphs.
    Folded,
}

fn name_of(id: u32, out: &mut dyn Write) -> core::fmt::Result {
    match registry::by_id(id) {
        Ok(network) => out.write_str(network.name.as_str()),
        Err(_) => write!(out, "gone-{id}"),
    }
}

/// Writes what was counted, of one network or of all.
pub(crate) fn show(
    network: Option<&Network>,
    form: Form,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let tables = TABLES.get();
    let mut lost = 0;
    let mut entries = KVVec::new();
    if let Some(tables) = tables {
        entries = tables
            .entries(network.map(|n| n.id))
            .map_err(|_| fmt::Error)?;
        lost = tables.lost();
    }
    let by_network = network.is_some() || matches!(form, Form::Folded);
    let report = Report::new(&mut entries, by_network, lost);
    let status = |entry: &Counted| hot::status_of(entry, report.cycles(), by_network);
    match form {
        Form::Text => report.write_text(&status, f),
        Form::Folded => report.write_folded(&name_of, f),
        Form::Json => {
            report.write_json(network.is_some().then_some(&name_of), &status, f)?;
            f.write_char('\n')
        }
    }
}

/// Calls of all operations of a network.
#[cfg(NEURAL_KUNIT)]
pub(crate) fn calls(network: u32) -> u64 {
    let entries = TABLES.get().and_then(|t| t.entries(Some(network)).ok());
    let calls = |entries: KVVec<Counted>| entries.iter().map(|e| e.counts.calls()).sum();
    entries.map_or(0, calls)
}

/// Takes what is written to a file: `reset`.
pub(crate) fn store(network: Option<&Network>, reader: &mut UserSliceReader) -> Result {
    let mut text = [0u8; 8];
    let len = reader.len();
    let place = text.get_mut(..len).ok_or(EINVAL)?;
    reader.read_slice(place)?;
    if place.trim_ascii() != b"reset" {
        return Err(EINVAL);
    }
    if let Some(tables) = TABLES.get() {
        tables.clear(network.map(|network| network.id));
    }
    Ok(())
}
