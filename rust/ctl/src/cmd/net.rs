// SPDX-License-Identifier: GPL-2.0

//! Commands on loaded networks: load, replace, unload, list, info, query.

use std::io::Write;
use std::path::Path;

use neural_core::nnm::Limits;
use serde_json::{json, Value};

use crate::cli;
use crate::dev::{Device, Source};
use crate::error::{Error, Result};
use crate::port::Elements;
use crate::{out, uapi};

/// `load` and `replace`
pub(super) fn load(
    dev: &dyn Device,
    args: &cli::Load,
    replace: bool,
    out: &mut dyn Write,
) -> Result<()> {
    let target = &args.target;
    let bytes;
    let (source, name) = if super::is_file(target) {
        bytes = super::read(Path::new(target), file_limit(dev)?)?;
        (Source::Bytes(&bytes), args.name.as_deref().unwrap_or(""))
    } else if args.name.is_some() {
        let why =
            "goes with a file only; in the firmware path the file has the name of the network";
        return Err(Error::usage("--name", why));
    } else {
        (Source::Firmware, target.as_str())
    };
    let id = if replace {
        dev.replace(source, name)
    } else {
        dev.load(source, name)
    };
    let id = id.map_err(|e| e.within(target))?;
    let name = dev
        .list()?
        .iter()
        .find(|info| info.id == id)
        .map_or(name.to_owned(), |info| uapi::text(&info.name));
    let done = if replace { "replaced" } else { "loaded" };
    writeln!(out, "{done} {name} (id {id})").map_err(out::failed)
}

/// What the module takes at most; what this program can check when the module does not say.
fn file_limit(dev: &dyn Device) -> Result<u64> {
    let limit = dev.query()?.max_model_bytes;
    Ok(if limit == 0 {
        Limits::default().max_bytes
    } else {
        limit
    })
}

/// `unload`
pub(super) fn unload(dev: &dyn Device, names: &[String]) -> Result<()> {
    let mut failure = None;
    for name in names {
        // One that fails keeps the others from nothing.
        if let Err(e) = dev.unload(name) {
            failure.get_or_insert(e.within(name));
        }
    }
    failure.map_or(Ok(()), Err)
}

pub(super) fn info_json(info: &uapi::Info) -> Value {
    let mut value = json!({
        "name": uapi::text(&info.name),
        "id": info.id,
        "dtype": dtype(info.dtype),
        "input_dim": info.input_dim,
        "output_dim": info.output_dim,
        "layers": info.layers,
        "generation": info.generation,
        "macs": info.macs,
        "weight_bytes": info.weight_bytes,
        "memory_bytes": info.memory_bytes,
    });
    if let (uapi::DTYPE_I8 | uapi::DTYPE_I16, Some(map)) = (info.dtype, value.as_object_mut()) {
        for (end, scale, zero) in [
            ("input", info.input_scale, info.input_zero_point),
            ("output", info.output_scale, info.output_zero_point),
        ] {
            map.insert(format!("{end}_scale"), json!(f32::from_bits(scale)));
            map.insert(format!("{end}_zero_point"), json!(zero));
        }
    }
    value
}

fn dtype(code: u32) -> String {
    match code {
        uapi::DTYPE_Q16 => "q16".to_owned(),
        uapi::DTYPE_I8 => "i8".to_owned(),
        uapi::DTYPE_I16 => "i16".to_owned(),
        uapi::DTYPE_F32 => "f32".to_owned(),
        _ => format!("type {code}"),
    }
}

/// `list`
pub(super) fn list(dev: &dyn Device, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let infos = dev.list()?;
    if as_json {
        return out::json(out, &Value::Array(infos.iter().map(info_json).collect()));
    }
    let rows: Vec<Vec<String>> = infos
        .iter()
        .map(|i| {
            vec![
                uapi::text(&i.name),
                i.id.to_string(),
                format!("{}->{}", i.input_dim, i.output_dim),
                i.layers.to_string(),
                i.macs.to_string(),
                out::bytes(i.memory_bytes),
                i.generation.to_string(),
            ]
        })
        .collect();
    let header = [
        "NAME",
        "ID",
        "IN->OUT",
        "LAYERS",
        "MACS",
        "MEMORY",
        "GENERATION",
    ];
    out::table(out, &header, &rows).map_err(out::failed)
}

/// `info` of a loaded network
pub(super) fn info(dev: &dyn Device, name: &str, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let info = dev.info(name)?;
    if as_json {
        return out::json(out, &info_json(&info));
    }
    let codes = |scale: u32, zero: i32| {
        let scale = f32::from_bits(scale);
        match info.dtype {
            uapi::DTYPE_I8 => Elements::I8 { scale, zero }.codes(),
            uapi::DTYPE_I16 => Elements::I16 { scale }.codes(),
            _ => String::new(),
        }
    };
    writeln!(
        out,
        "name: {}\nid: {}\nelement type: {}\ninput: {}{}\noutput: {}{}\nlayers: {}\ngeneration: {}\n\
         multiply-accumulates: {}\nweights: {} bytes\nmemory: {} bytes",
        uapi::text(&info.name),
        info.id,
        dtype(info.dtype),
        info.input_dim,
        codes(info.input_scale, info.input_zero_point),
        info.output_dim,
        codes(info.output_scale, info.output_zero_point),
        info.layers,
        info.generation,
        info.macs,
        info.weight_bytes,
        info.memory_bytes
    )
    .map_err(out::failed)
}

/// `query`
pub(super) fn query(dev: &dyn Device, as_json: bool, out: &mut dyn Write) -> Result<()> {
    let q = dev.query()?;
    let features: Vec<String> = (0..64)
        .filter(|bit| q.features >> bit & 1 != 0)
        .map(|bit: usize| match uapi::FEATURE_NAMES.get(bit) {
            Some(name) => (*name).to_owned(),
            None => format!("bit{bit}"),
        })
        .collect();
    if as_json {
        return out::json(
            out,
            &json!({
                "abi_version": q.abi_version,
                "networks": q.networks,
                "features": features,
                "max_model_bytes": q.max_model_bytes,
            }),
        );
    }
    writeln!(
        out,
        "ABI version: {}\nnetworks: {}\nfeatures: {}\nlargest model: {} bytes",
        q.abi_version,
        q.networks,
        features.join(" "),
        q.max_model_bytes
    )
    .map_err(out::failed)
}

#[cfg(test)]
mod tests {
    use super::super::fake::Fake;
    use super::*;

    fn text(f: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<String> {
        let mut out = Vec::new();
        f(&mut out).map(|()| String::from_utf8(out).unwrap())
    }

    fn args(target: &str, name: Option<&str>) -> cli::Load {
        cli::Load {
            target: target.to_owned(),
            name: name.map(str::to_owned),
        }
    }

    #[test]
    fn a_file_is_loaded_by_its_bytes_and_a_name_by_the_firmware_path() {
        let fake = Fake::with("tiny");
        let path = std::env::temp_dir().join(format!("neuralctl-load-{}.nnm", std::process::id()));
        std::fs::write(&path, fake.file("second")).unwrap();
        let file = path.to_str().unwrap();
        let said = text(|out| load(&fake, &args(file, None), false, out)).unwrap();
        assert_eq!(said, "loaded second (id 2)\n");
        let said = text(|out| load(&fake, &args(file, Some("third")), false, out)).unwrap();
        assert_eq!(said, "loaded third (id 3)\n");
        let said = text(|out| load(&fake, &args(file, Some("tiny")), true, out)).unwrap();
        assert_eq!(said, "replaced tiny (id 1)\n");
        std::fs::remove_file(&path).unwrap();
        let said = text(|out| load(&fake, &args("wares", None), false, out)).unwrap();
        assert_eq!(said, "loaded wares (id 4)\n");
        let e = text(|out| load(&fake, &args("wares", Some("x")), false, out)).unwrap_err();
        assert_eq!(e.status(), 2);
        let listed = text(|out| list(&fake, true, out)).unwrap();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed[3]["name"], "wares");
        assert_eq!(listed[0]["generation"], 2);
        let listed = text(|out| list(&fake, false, out)).unwrap();
        assert!(listed.starts_with("NAME"), "{listed}");
        assert!(listed.contains("second   2"), "{listed}");
    }

    #[test]
    fn unloading_goes_on_after_a_failure_and_reports_it() {
        let fake = Fake::with("tiny");
        let e = unload(&fake, &["none".to_owned(), "tiny".to_owned()]).unwrap_err();
        assert!(e.to_string().starts_with("none: "), "{e}");
        assert!(e.to_string().ends_with("(ENOENT)"), "{e}");
        assert!(fake.list().unwrap().is_empty());
    }

    #[test]
    fn info_and_query_show_what_the_module_says() {
        let fake = Fake::with("tiny");
        let said = text(|out| info(&fake, "tiny", false, out)).unwrap();
        assert!(said.contains("input: 4\noutput: 3\n"), "{said}");
        let said = text(|out| info(&fake, "tiny", true, out)).unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(&said).unwrap()["output_dim"],
            3
        );
        assert!(text(|out| info(&fake, "none", false, out)).is_err());
        let said = text(|out| query(&fake, false, out)).unwrap();
        assert!(said.contains("features: q16 replace bit40\n"), "{said}");
        let said = text(|out| query(&fake, true, out)).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["networks"], 1);
    }
}
