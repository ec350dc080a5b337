// SPDX-License-Identifier: GPL-2.0

//! `top`: all networks at work, looked at again and again.

use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};

use super::stats::hit_rate;
use crate::cli;
use crate::dev::Device;
use crate::error::{Error, Result};
use crate::{out, uapi};

/// A network at one moment.
struct Look {
    info: uapi::Info,
    stats: uapi::Stats,
}

/// `top`
pub(super) fn run(dev: &dyn Device, args: &cli::Top, out: &mut dyn Write) -> Result<()> {
    if args.once {
        return show(&look(dev)?, None, out).map_err(out::failed);
    }
    again(
        args.interval,
        || look(dev),
        |looks, since, text| {
            let since = since.map(|(elapsed, looks): (_, &Vec<Look>)| (elapsed, looks.as_slice()));
            show(looks, since, text)
        },
        out,
    )
}

/// Shows what `look` sees, again and again, until the user wants to end; `show` gets what was seen before
/// as well, and how long ago.
pub(super) fn again<T>(
    interval: f64,
    look: impl FnMut() -> Result<T>,
    show: impl Fn(&T, Option<(Duration, &T)>, &mut Vec<u8>) -> io::Result<()>,
    out: &mut dyn Write,
) -> Result<()> {
    let screen = io::stdout().is_terminal();
    let terminal = Terminal::new(screen).map_err(|e| Error::errno("terminal", "", e))?;
    let done = watch(interval, look, show, &terminal, screen, out);
    drop(terminal);
    done
}

fn watch<T>(
    interval: f64,
    mut look: impl FnMut() -> Result<T>,
    show: impl Fn(&T, Option<(Duration, &T)>, &mut Vec<u8>) -> io::Result<()>,
    terminal: &Terminal,
    screen: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let mut before: Option<(Instant, T)> = None;
    loop {
        let now = Instant::now();
        let seen = look()?;
        let mut text = Vec::new();
        let since = before
            .as_ref()
            .map(|(then, seen)| (now.duration_since(*then), seen));
        show(&seen, since, &mut text).map_err(out::failed)?;
        if screen {
            // Home, each line cleared to its end, then all below: no flicker.
            let text = String::from_utf8_lossy(&text).replace('\n', "\x1b[K\r\n");
            write!(out, "\x1b[H{text}\x1b[K\r\nq quits\x1b[J").map_err(out::failed)?;
        } else {
            out.write_all(&text).map_err(out::failed)?;
        }
        out.flush().map_err(out::failed)?;
        before = Some((now, seen));
        if terminal.wait(Duration::from_secs_f64(interval))? {
            return Ok(());
        }
    }
}

fn look(dev: &dyn Device) -> Result<Vec<Look>> {
    let mut looks = Vec::new();
    for info in dev.list()? {
        match dev.stats(info.id) {
            Ok(stats) => looks.push(Look { info, stats }),
            // Unloaded since it was listed.
            Err(e) if e.number() == Some(Errno::ENOENT) => (),
            Err(e) => return Err(e),
        }
    }
    Ok(looks)
}

/// Predictions a second since the look before; of a network that was not there, since then.
fn rate(look: &Look, since: Option<(Duration, &[Look])>) -> Option<f64> {
    let (elapsed, before) = since?;
    let then = before
        .iter()
        .find(|b| b.info.id == look.info.id)
        .map_or(0, |b| b.stats.predictions);
    // The counters may have been reset in between.
    let made = look.stats.predictions.checked_sub(then)?;
    (!elapsed.is_zero()).then(|| made as f64 / elapsed.as_secs_f64())
}

fn show(looks: &[Look], since: Option<(Duration, &[Look])>, out: &mut dyn Write) -> io::Result<()> {
    let header = [
        "NAME",
        "ID",
        "PRED/S",
        "PREDICTIONS",
        "HIT%",
        "P50",
        "P99",
        "P99.9",
        "MEMORY",
        "ERRORS",
    ];
    let rows: Vec<Vec<String>> = looks
        .iter()
        .map(|l| {
            let s = &l.stats;
            let errors = s.errors.iter().fold(0u64, |a, b| a.saturating_add(*b));
            vec![
                uapi::text(&l.info.name),
                l.info.id.to_string(),
                rate(l, since).map_or("-".to_owned(), |r| format!("{r:.0}")),
                s.predictions.to_string(),
                format!("{:.1}", hit_rate(s)),
                out::nanoseconds(s.p50_ns),
                out::nanoseconds(s.p99_ns),
                out::nanoseconds(s.p999_ns),
                out::bytes(l.info.memory_bytes),
                errors.to_string(),
            ]
        })
        .collect();
    out::table(out, &header, &rows)
}

/// The terminal without line editing and with the other screen, given back when dropped; and the
/// signals that would end the program without that.
struct Terminal {
    before: Option<Termios>,
    screen: bool,
    signals: SignalFd,
    blocked: SigSet,
}

impl Terminal {
    fn new(screen: bool) -> nix::Result<Self> {
        let mut signals = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
        ] {
            signals.add(signal);
        }
        signals.thread_block()?;
        let mut terminal = Self {
            before: None,
            screen: false,
            signals: SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?,
            blocked: signals,
        };
        let stdin = io::stdin();
        if screen && stdin.is_terminal() {
            let before = termios::tcgetattr(&stdin)?;
            let mut raw = before.clone();
            raw.local_flags
                .remove(LocalFlags::ICANON | LocalFlags::ECHO);
            termios::tcsetattr(&stdin, SetArg::TCSANOW, &raw)?;
            terminal.before = Some(before);
        }
        if screen {
            print_now("\x1b[?1049h\x1b[?25l");
            terminal.screen = true;
        }
        Ok(terminal)
    }

    /// Waits; true when the user wants to end.
    fn wait(&self, time: Duration) -> Result<bool> {
        let failed = |e: Errno| Error::errno("terminal", "", e);
        let end = Instant::now() + time;
        loop {
            let stdin = io::stdin();
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            if self.before.is_some() {
                fds.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            let left = end.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Ok(0) => return Ok(false),
                Ok(_) => (),
                Err(Errno::EINTR) => continue,
                Err(e) => return Err(failed(e)),
            }
            let ready: Vec<bool> = fds.iter().map(|fd| fd.any() == Some(true)).collect();
            if ready.first() == Some(&true) {
                return Ok(true);
            }
            if ready.get(1) == Some(&true) {
                let mut keys = [0u8; 64];
                let n = stdin
                    .lock()
                    .read(&mut keys)
                    .map_err(|e| Error::io("terminal", &e))?;
                let keys = keys.get(..n).unwrap_or_default();
                // A lone Escape quits; one that begins a longer sequence is an arrow or the like.
                if n == 0 || keys == [0x1b] || keys.iter().any(|k| matches!(k, b'q' | b'Q' | 3 | 4))
                {
                    return Ok(true);
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.screen {
            print_now("\x1b[?25h\x1b[?1049l");
        }
        if let Some(before) = &self.before {
            let _ = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
        let _ = self.blocked.thread_unblock();
    }
}

fn print_now(text: &str) {
    let mut stdout = io::stdout();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let fake = Fake::with("tiny");
        let before = look(&fake).unwrap();
        fake.predict(1, true, 6, &[0; 96], &mut [0; 72]).unwrap();
        let now = look(&fake).unwrap();
        let two_seconds = Duration::from_secs(2);
        assert_eq!(rate(&now[0], Some((two_seconds, &before))), Some(3.0));
        assert_eq!(rate(&now[0], Some((two_seconds, &[]))), Some(3.0));
        assert_eq!(rate(&before[0], Some((two_seconds, &now))), None);
        assert_eq!(rate(&now[0], Some((Duration::ZERO, &before))), None);
        assert_eq!(rate(&now[0], None), None);
    }

    #[test]
    fn once_prints_one_table() {
        let fake = Fake::with("tiny");
        let mut out = Vec::new();
        let args = cli::Top {
            interval: 1.0,
            once: true,
            ops: false,
            net: None,
            debugfs: std::path::PathBuf::new(),
        };
        run(&fake, &args, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("NAME"));
        let cells: Vec<&str> = lines[1].split_whitespace().collect();
        assert_eq!(cells[..5], ["tiny", "1", "-", "0", "75.0"]);
        assert_eq!(cells.last(), Some(&"2"));
    }
}
