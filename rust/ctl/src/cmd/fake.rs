// SPDX-License-Identifier: GPL-2.0

//! A device without a kernel, for the tests: networks run on the engine, in this process.

use std::cell::RefCell;

use neural_core::act::Activation;
use nix::errno::Errno;

use super::model;
use crate::dev::{Device, Source};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::port::{Elements, Port};
use crate::uapi;

struct Net {
    info: uapi::Info,
    engine: Engine,
    config: String,
    predictions: u64,
}

/// See the top of the file.
pub(crate) struct Fake {
    nets: RefCell<Vec<Net>>,
}

fn none(what: &str) -> Error {
    Error::errno(what, "no network has this name", Errno::ENOENT)
}

impl Fake {
    /// A device with one loaded network of 4 inputs and 3 outputs.
    pub(crate) fn with(name: &str) -> Self {
        let fake = Self {
            nets: RefCell::new(Vec::new()),
        };
        let file = fake.file(name);
        fake.load(Source::Bytes(&file), "").unwrap();
        fake
    }

    /// A model file such as all networks here are.
    pub(crate) fn file(&self, name: &str) -> Vec<u8> {
        model::random(name, &[4, 5, 3], Activation::Relu, Activation::Linear, 3).unwrap()
    }

    /// The engine's own answer.
    pub(crate) fn answer(&self, input: &[i32]) -> Vec<i32> {
        self.nets.borrow_mut()[0].engine.predict(input).unwrap()
    }

    fn net<T>(&self, id: u32, f: impl FnOnce(&mut Net) -> T) -> Result<T> {
        let mut nets = self.nets.borrow_mut();
        nets.iter_mut()
            .find(|n| n.info.id == id)
            .map(f)
            .ok_or_else(|| none("id"))
    }
}

impl Device for Fake {
    fn query(&self) -> Result<uapi::Query> {
        Ok(uapi::Query {
            abi_version: 1,
            networks: self.nets.borrow().len() as u32,
            features: 1 << 40 | 0b1001,
            max_model_bytes: 1 << 20,
            ..Default::default()
        })
    }

    fn load(&self, source: Source<'_>, name: &str) -> Result<u32> {
        let file = match source {
            Source::Bytes(bytes) => bytes.to_vec(),
            Source::Firmware => self.file(name),
        };
        let engine = Engine::new(&file)?;
        let name = if name.is_empty() { engine.name() } else { name };
        let id = self.nets.borrow().len() as u32 + 1;
        let codes = |port: &Port| match port.elements {
            Elements::I8 { scale, zero } => (uapi::DTYPE_I8, scale.to_bits(), zero),
            Elements::I16 { scale } => (uapi::DTYPE_I16, scale.to_bits(), 0),
            Elements::F32 => (uapi::DTYPE_F32, 0, 0),
            _ => (uapi::DTYPE_Q16, 0, 0),
        };
        let (dtype, input_scale, input_zero_point) = codes(engine.input());
        let (_, output_scale, output_zero_point) = codes(engine.output());
        let info = uapi::Info {
            name: uapi::name_field(name).unwrap(),
            id,
            dtype,
            input_dim: engine.inputs() as u32,
            output_dim: engine.outputs() as u32,
            layers: 2,
            generation: 1,
            macs: engine.macs(),
            weight_bytes: 140,
            memory_bytes: 4096,
            input_scale,
            input_zero_point,
            output_scale,
            output_zero_point,
        };
        self.nets.borrow_mut().push(Net {
            info,
            engine,
            config: "cache_timeout 1000\nsimd 1\nallowed_cpus all\n".to_owned(),
            predictions: 0,
        });
        Ok(id)
    }

    fn replace(&self, source: Source<'_>, name: &str) -> Result<u32> {
        let Source::Bytes(bytes) = source else {
            return Err(none(name));
        };
        let engine = Engine::new(bytes)?;
        let id = self.find(if name.is_empty() { engine.name() } else { name })?;
        self.net(id, |net| {
            net.engine = engine;
            net.info.generation += 1;
            id
        })
    }

    fn unload(&self, name: &str) -> Result<()> {
        let id = self.find(name)?;
        self.nets.borrow_mut().retain(|n| n.info.id != id);
        Ok(())
    }

    fn find(&self, name: &str) -> Result<u32> {
        let nets = self.nets.borrow();
        let net = nets.iter().find(|n| uapi::text(&n.info.name) == name);
        net.map(|n| n.info.id).ok_or_else(|| none("find"))
    }

    fn list(&self) -> Result<Vec<uapi::Info>> {
        Ok(self.nets.borrow().iter().map(|n| n.info).collect())
    }

    fn predict(
        &self,
        id: u32,
        batch: bool,
        count: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<()> {
        assert!(batch || count == 1);
        self.net(id, |net| {
            let (from, to) = (net.engine.input().bytes(), net.engine.output().bytes());
            assert_eq!(
                (input.len(), output.len()),
                (from * count as usize, to * count as usize)
            );
            for (x, y) in input.chunks(from).zip(output.chunks_mut(to)) {
                net.engine.run(x, y).unwrap();
            }
            net.predictions += u64::from(count);
        })
    }

    fn stats(&self, id: u32) -> Result<uapi::Stats> {
        let mut stats = uapi::Stats {
            id,
            cache_hits: 3,
            cache_misses: 1,
            total_ns: 1500,
            p99_ns: 700,
            memory_bytes: 4096,
            ..Default::default()
        };
        stats.errors[3] = 2;
        stats.histogram[9] = 5;
        if id == uapi::ID_TOTAL {
            stats.predictions = self.nets.borrow().iter().map(|n| n.predictions).sum();
        } else {
            stats.predictions = self.net(id, |net| net.predictions)?;
        }
        Ok(stats)
    }

    fn config(&self, id: u32) -> Result<String> {
        self.net(id, |net| net.config.clone())
    }

    fn set_config(&self, id: u32, text: &str) -> Result<()> {
        let key = text.split(' ').next().unwrap_or("");
        self.net(id, |net| {
            if !net.config.lines().any(|l| l.split(' ').next() == Some(key)) {
                let why = format!("config: '{key}' is no key");
                return Err(Error::errno("config", &why, Errno::EINVAL));
            }
            let lines = net
                .config
                .lines()
                .filter(|l| l.split(' ').next() != Some(key));
            net.config = lines.flat_map(|l| [l, "\n"]).collect::<String>() + text;
            Ok(())
        })?
    }
}
