// SPDX-License-Identifier: GPL-2.0

//! The time of one step after the other, with as few looks at the clock as possible.
//!
//! A look at the clock takes as long as some hundred multiply-accumulates, which is a part of a small
//! prediction that counts. So a step begins when the one before it ended, and the first one when what it
//! is done with is there, of which the clock was read anyway.

use core::cell::Cell;

/// Something that counts ticks.
pub trait Clock {
    /// The time now, never 0. It need not wait for what stands before: what a step is too short, the next
    /// one is too long.
    fn ticks(&self) -> u64;
}

/// Takes the time of the steps of a run.
#[derive(Debug, Default)]
pub struct Timer<C> {
    clock: C,
    /// When the step began; 0: that is not known yet.
    since: Cell<u64>,
    /// When the last step ended, if no other one has begun; or 0.
    until: Cell<u64>,
    /// Whether the step is the first one of the run, and may begin later.
    first: Cell<bool>,
}

impl<C: Clock> Timer<C> {
    /// A timer for one run after the other.
    pub const fn new(clock: C) -> Self {
        Timer {
            clock,
            since: Cell::new(0),
            until: Cell::new(0),
            first: Cell::new(true),
        }
    }

    /// A run begins.
    #[inline]
    pub fn restart(&self) {
        self.since.set(0);
        self.until.set(0);
        self.first.set(true);
    }

    /// A step begins. The first one of a run does so now or, without `now`, when [`ready`](Self::ready) is
    /// called.
    #[inline]
    pub fn begin(&self, now: bool) {
        self.until.set(0);
        if now {
            self.ready(None);
        }
    }

    /// What the first step is done with is there. If that had to be waited for, the moment since when it
    /// is there is given, and what was before is no part of the step.
    #[inline]
    pub fn ready(&self, since: Option<u64>) {
        match since {
            Some(since) if self.first.replace(false) => self.since.set(since),
            _ if self.since.get() == 0 => self.since.set(self.clock.ticks()),
            _ => {}
        }
    }

    /// Calls `run`, which is no part of the step.
    #[inline]
    pub fn aside<R>(&self, run: impl FnOnce() -> R) -> R {
        let start = self.clock.ticks();
        let result = run();
        let ticks = self.clock.ticks().saturating_sub(start);
        match self.since.get() {
            0 => {}
            since => self.since.set(since.saturating_add(ticks)),
        }
        result
    }

    /// A step has ended: how long it took. What follows takes `cost` and is no part of the next one.
    #[inline]
    pub fn end(&self, cost: u64) -> u64 {
        let now = self.clock.ticks();
        // One that has asked for nothing has taken no time.
        let since = match self.since.get() {
            0 => now,
            since => since,
        };
        self.first.set(false);
        self.until.set(now);
        self.since.set(now.saturating_add(cost));
        now.saturating_sub(since)
    }

    /// The time, for whoever needs it about now; not a look at the clock after the last step of a run.
    #[inline]
    pub fn now(&self) -> u64 {
        match self.until.get() {
            0 => self.clock.ticks(),
            until => until,
        }
    }
}
