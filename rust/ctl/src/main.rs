// SPDX-License-Identifier: GPL-2.0

//! The program: reads the command line, runs the command, turns a failure into a line and a status.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::Parser;
use neuralctl::cli::Cli;
use neuralctl::error::{Error, Kind};
use neuralctl::{cmd, out};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut stdout = BufWriter::new(io::stdout().lock());
    let done = cmd::run(&cli, &mut stdout).and_then(|()| stdout.flush().map_err(out::failed));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // What was printed before the failure comes first; its own failure adds nothing.
            let _ = stdout.flush();
            report(&e);
            // What is left in the buffer could not be written and must not be tried again.
            let (_, _) = stdout.into_parts();
            ExitCode::from(e.status())
        }
    }
}

fn report(e: &Error) {
    if e.kind() != Kind::Pipe {
        let _ = writeln!(io::stderr(), "neuralctl: {e}");
    }
}
