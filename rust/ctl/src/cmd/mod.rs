// SPDX-License-Identifier: GPL-2.0

//! The commands, one file for each group.

mod bench;
mod config;
#[cfg(test)]
mod fake;
mod generate;
mod made;
mod model;
mod net;
mod predict;
mod stats;
mod tflite;
mod top;
mod top_ops;

use std::io::Write;
use std::path::Path;

use crate::cli::{Cli, Command};
use crate::dev::Neural;
use crate::error::{Error, Result};

/// Runs the command that `cli` asks for; what it prints goes to `out`.
pub fn run(cli: &Cli, out: &mut dyn Write) -> Result<()> {
    let open = || Neural::open(&cli.device);
    let mut stderr = std::io::stderr();
    match &cli.command {
        Command::Convert(args) => model::convert(args, out),
        Command::New(args) => model::new(args),
        Command::Info(args) if is_file(&args.target) => {
            model::info(Path::new(&args.target), args.json, out)
        }
        Command::Info(args) => net::info(&open()?, &args.target, args.json, out),
        Command::Load(args) => net::load(&open()?, args, false, out),
        Command::Replace(args) => net::load(&open()?, args, true, out),
        Command::Unload(args) => net::unload(&open()?, &args.names),
        Command::List(args) => net::list(&open()?, args.json, out),
        Command::Query(args) => net::query(&open()?, args.json, out),
        Command::Predict(args) if is_file(&args.net) => predict::file(args, out, &mut stderr),
        Command::Predict(args) => predict::run(&open()?, args, out, &mut stderr),
        Command::Stats(args) => stats::run(&open()?, args, out),
        Command::Top(args) if args.ops => top_ops::run(args, out),
        Command::Top(args) => top::run(&open()?, args, out),
        Command::Config(args) => config::run(&open()?, args, out),
        Command::Bench(args) => bench::run(&open, args, out),
        Command::Completions(args) => generate::completions(args, out),
        Command::Man(args) => generate::man(args, out),
    }
}

/// Whether a FILE|NAME argument is a file. The rule looks at the text only, so that a command means
/// the same in every directory.
fn is_file(target: &str) -> bool {
    target.contains('/') || target.ends_with(".nnm") || target.ends_with(".tflite")
}

/// The network name that a file name suggests.
fn name_of(path: &Path) -> Result<String> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = stem
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "_.-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .take(crate::uapi::NAME_LEN - 1)
        .collect();
    let name = name.trim_start_matches(['.', '-']);
    if name.is_empty() {
        let why = "this file name is no network name; give one with --name";
        return Err(Error::usage(path.display(), why));
    }
    Ok(name.to_owned())
}

/// Reads a file that must not be larger than `limit`.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let failed = |e: std::io::Error| Error::io(path.display(), &e);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > limit {
        let why = format!("is larger than {}", crate::out::bytes(limit));
        return Err(Error::refused(path.display(), why));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_names_are_told_apart_by_their_text() {
        assert!(is_file("./digits"));
        assert!(is_file("digits.nnm"));
        assert!(is_file("digits.tflite"));
        assert!(!is_file("digits"));
        assert!(!is_file("digits.v2"));
    }

    #[test]
    fn file_names_become_network_names() {
        let name = |p: &str| name_of(Path::new(p));
        assert_eq!(name("/x/digits.nnm").unwrap(), "digits");
        assert_eq!(name("my net.v2.nnm").unwrap(), "my_net.v2");
        assert_eq!(name("-x.nnm").unwrap(), "x");
        assert_eq!(name(&"a".repeat(99)).unwrap().len(), 31);
        assert_eq!(name("--").unwrap_err().status(), 2);
    }

    #[test]
    fn a_file_beyond_the_limit_is_not_read() {
        assert!(read(Path::new("/dev/zero"), 1000)
            .unwrap_err()
            .to_string()
            .contains("larger than 1000 B"));
        assert!(read(Path::new("/nonexistent"), 1)
            .unwrap_err()
            .to_string()
            .ends_with("(ENOENT)"));
    }
}
