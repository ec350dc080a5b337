// SPDX-License-Identifier: GPL-2.0

//! `config`: shows and changes the settings of a network.

use std::io::Write;

use serde_json::{Map, Value};

use crate::cli;
use crate::dev::Device;
use crate::error::{Error, Result};
use crate::out;

/// `config`
pub(super) fn run(dev: &dyn Device, args: &cli::Config, out: &mut dyn Write) -> Result<()> {
    let id = dev.find(&args.net)?;
    match &args.key {
        Some(key) if !args.value.is_empty() => {
            let line = format!("{key} {}", args.value.join(" "));
            // The kernel takes several lines; from here comes one, so that a value cannot bring
            // another setting along.
            if line.contains('\n') {
                return Err(Error::usage("config", "a value is one line"));
            }
            dev.set_config(id, &format!("{line}\n"))
        }
        key => show(&dev.config(id)?, key.as_deref(), args.json, out),
    }
}

fn show(text: &str, key: Option<&str>, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let settings = text
        .lines()
        .filter(|l| !l.trim().is_empty())
        .map(|l| l.split_once(' ').unwrap_or((l, "")));
    let chosen: Vec<(&str, &str)> = settings
        .filter(|(k, _)| key.is_none_or(|key| key == *k))
        .collect();
    if let (Some(key), []) = (key, chosen.as_slice()) {
        return Err(Error::refused(
            "config",
            format!("'{key}' is no setting of this network"),
        ));
    }
    if as_json {
        let map: Map<String, Value> = chosen
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Value::from(*v)))
            .collect();
        return out::json(out, &Value::Object(map));
    }
    for (k, v) in chosen {
        let done = if key.is_some() {
            writeln!(out, "{v}")
        } else {
            writeln!(out, "{k} {v}")
        };
        done.map_err(out::failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn config(fake: &Fake, key: Option<&str>, value: &[&str], json: bool) -> Result<String> {
        let args = cli::Config {
            net: "tiny".to_owned(),
            key: key.map(str::to_owned),
            value: value.iter().map(|v| (*v).to_owned()).collect(),
            json,
        };
        let mut out = Vec::new();
        run(fake, &args, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn settings_are_shown_one_or_all_and_changed() {
        let fake = Fake::with("tiny");
        let all = config(&fake, None, &[], false).unwrap();
        assert_eq!(all, "cache_timeout 1000\nsimd 1\nallowed_cpus all\n");
        assert_eq!(config(&fake, Some("simd"), &[], false).unwrap(), "1\n");
        assert_eq!(
            config(&fake, Some("cache_timeout"), &["5"], false).unwrap(),
            ""
        );
        assert_eq!(
            config(&fake, Some("cache_timeout"), &[], false).unwrap(),
            "5\n"
        );
        let json: Value = serde_json::from_str(&config(&fake, None, &[], true).unwrap()).unwrap();
        assert_eq!(json["allowed_cpus"], "all");
    }

    #[test]
    fn refusals_come_through() {
        let fake = Fake::with("tiny");
        let e = config(&fake, Some("speed"), &["9"], false).unwrap_err();
        assert_eq!(e.to_string(), "config: 'speed' is no key (EINVAL)");
        assert!(config(&fake, Some("speed"), &[], false)
            .unwrap_err()
            .to_string()
            .contains("'speed'"));
        assert_eq!(
            config(&fake, Some("simd"), &["0\nsimd 1"], false)
                .unwrap_err()
                .status(),
            2
        );
    }
}
