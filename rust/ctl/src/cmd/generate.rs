// SPDX-License-Identifier: GPL-2.0

//! `completions` and `man`: made from the definition of the command line.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cli::{self, Cli};
use crate::error::{Error, Result};
use crate::{atomic, out};

const NAME: &str = "neuralctl";

/// `completions`
pub(super) fn completions(args: &cli::Completions, out: &mut dyn Write) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    out.write_all(&script).map_err(out::failed)
}

/// `man`
pub(super) fn man(args: &cli::Man, out: &mut dyn Write) -> Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let page = |command: clap::Command| -> Result<Vec<u8>> {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(out::failed)?;
        Ok(page)
    };
    let Some(dir) = &args.output else {
        return out.write_all(&page(command)?).map_err(out::failed);
    };
    std::fs::create_dir_all(dir).map_err(|e| Error::io(dir.display(), &e))?;
    for sub in command.get_subcommands() {
        let name = format!("{NAME}-{}", sub.get_name());
        write_page(dir, &name, &page(sub.clone())?)?;
    }
    write_page(dir, NAME, &page(command)?)
}

fn write_page(dir: &Path, name: &str, page: &[u8]) -> Result<()> {
    atomic::write(&dir.join(format!("{name}.1")), page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;
    use clap_complete::Shell;

    #[test]
    fn every_shell_gets_every_command() {
        for shell in Shell::value_variants() {
            let mut out = Vec::new();
            completions(&cli::Completions { shell: *shell }, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            for command in Cli::command().get_subcommands() {
                assert!(
                    script.contains(command.get_name()),
                    "{shell} {}",
                    command.get_name()
                );
            }
        }
    }

    #[test]
    fn every_command_gets_a_page() {
        let dir = std::env::temp_dir().join(format!("neuralctl-man-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        man(
            &cli::Man {
                output: Some(dir.clone()),
            },
            &mut Vec::new(),
        )
        .unwrap();
        let commands = Cli::command().get_subcommands().count();
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), commands + 1);
        let page = std::fs::read_to_string(dir.join("neuralctl-convert.1")).unwrap();
        assert!(
            page.contains(".TH neuralctl\\-convert 1") || page.contains("neuralctl-convert"),
            "{page}"
        );
        std::fs::remove_dir_all(&dir).unwrap();
        let mut out = Vec::new();
        man(&cli::Man { output: None }, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("Exit status"));
    }
}
