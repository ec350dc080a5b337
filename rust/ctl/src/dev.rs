// SPDX-License-Identifier: GPL-2.0

//! The device: a trait that the commands speak, and `/dev/neural` behind it.
//!
//! The trait is what makes the commands testable without a kernel; the only unsafe code of the
//! program stands at the end of this file, in [`Neural::call`].

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::uapi::{self, ioc};

/// Where the bytes of a model come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A model file, already read.
    Bytes(&'a [u8]),
    /// `neural/NAME.nnm` in the firmware path, read by the kernel.
    Firmware,
}

/// What the module can be asked.
pub trait Device {
    /// What the module is and can do.
    fn query(&self) -> Result<uapi::Query>;
    /// Loads a model; an empty `name` means the one in the file. Returns the id.
    fn load(&self, source: Source<'_>, name: &str) -> Result<u32>;
    /// Replaces the model of a loaded network while it is in use. Returns the id.
    fn replace(&self, source: Source<'_>, name: &str) -> Result<u32>;
    /// Unloads a network.
    fn unload(&self, name: &str) -> Result<()>;
    /// The id of a network.
    fn find(&self, name: &str) -> Result<u32>;
    /// All loaded networks, by id.
    fn list(&self) -> Result<Vec<uapi::Info>>;
    /// Predicts `count` samples of elements, little endian; a single one unless `batch`.
    fn predict(
        &self,
        id: u32,
        batch: bool,
        count: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<()>;
    /// The statistics of a network, or of all with [`uapi::ID_TOTAL`].
    fn stats(&self, id: u32) -> Result<uapi::Stats>;
    /// The settings of a network, one `key value` a line.
    fn config(&self, id: u32) -> Result<String>;
    /// Changes settings.
    fn set_config(&self, id: u32, text: &str) -> Result<()>;

    /// The description of the network called `name`.
    fn info(&self, name: &str) -> Result<uapi::Info> {
        let id = self.find(name)?;
        self.list()?
            .into_iter()
            .find(|info| info.id == id)
            .ok_or_else(|| Error::errno(name, "was unloaded in between", Errno::ENOENT))
    }
}

/// An open `/dev/neural`.
#[derive(Debug)]
pub struct Neural {
    file: File,
    path: PathBuf,
}

impl Neural {
    /// Opens the device.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.map_err(|e| {
            let errno = Errno::from_raw(e.raw_os_error().unwrap_or(0));
            let why = match errno {
                Errno::ENOENT => "no such device; is the module loaded? (modprobe neural)",
                Errno::ENXIO | Errno::ENODEV => "the module is not there (modprobe neural)",
                Errno::EACCES | Errno::EPERM => "may be opened by root only",
                _ => "",
            };
            Error::device(path.display(), why, errno)
        })?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    fn load_or_replace(&self, request: Request, source: Source<'_>, name: &str) -> Result<u32> {
        let mut load = uapi::Load::default();
        if !name.is_empty() {
            load.name = name_field(name)?;
        }
        match source {
            Source::Bytes(bytes) => {
                load.data = address(bytes.as_ptr());
                load.size = bytes.len() as u64;
            }
            Source::Firmware => load.flags = uapi::LOAD_FIRMWARE,
        }
        self.call(request, &mut load)?;
        Ok(load.id)
    }

    fn by_name(&self, request: Request, name: &str) -> Result<u32> {
        let mut arg = uapi::Name {
            name: name_field(name)?,
            ..Default::default()
        };
        self.call(request, &mut arg)?;
        Ok(arg.id)
    }
}

impl Device for Neural {
    fn query(&self) -> Result<uapi::Query> {
        let mut query = uapi::Query::default();
        self.call(QUERY, &mut query)?;
        Ok(query)
    }

    fn load(&self, source: Source<'_>, name: &str) -> Result<u32> {
        self.load_or_replace(LOAD, source, name)
    }

    fn replace(&self, source: Source<'_>, name: &str) -> Result<u32> {
        self.load_or_replace(REPLACE, source, name)
    }

    fn unload(&self, name: &str) -> Result<()> {
        self.by_name(UNLOAD, name).map(drop)
    }

    fn find(&self, name: &str) -> Result<u32> {
        self.by_name(FIND, name)
    }

    fn list(&self) -> Result<Vec<uapi::Info>> {
        // Networks may come between two calls, so the array grows until all fit.
        let mut infos = vec![uapi::Info::default(); 16];
        loop {
            let mut list = uapi::List {
                infos: address(infos.as_mut_ptr()),
                capacity: u32::try_from(infos.len()).unwrap_or(u32::MAX),
                ..Default::default()
            };
            self.call(LIST, &mut list)?;
            let count = list.count as usize;
            if count <= infos.len() {
                infos.truncate(count);
                return Ok(infos);
            }
            if count > 1 << 20 {
                return Err(Error::refused(
                    "list",
                    format!("{count} networks are too many to show"),
                ));
            }
            infos.resize(count + 16, uapi::Info::default());
        }
    }

    fn predict(
        &self,
        id: u32,
        batch: bool,
        count: u32,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<()> {
        let each = |len: usize| -> Result<u32> {
            let count = count as usize;
            if count == 0 || len % count != 0 {
                return Err(Error::refused(
                    "predict",
                    "the samples do not have one size",
                ));
            }
            u32::try_from(len / count).map_err(|e| Error::refused("predict", e))
        };
        let mut predict = uapi::Predict {
            id,
            count,
            input: address(input.as_ptr()),
            output: address(output.as_mut_ptr()),
            input_bytes: each(input.len())?,
            output_bytes: each(output.len())?,
            ..Default::default()
        };
        self.call(if batch { PREDICT_BATCH } else { PREDICT }, &mut predict)
    }

    fn stats(&self, id: u32) -> Result<uapi::Stats> {
        let mut stats = uapi::Stats {
            id,
            ..Default::default()
        };
        self.call(STATS, &mut stats)?;
        Ok(stats)
    }

    fn config(&self, id: u32) -> Result<String> {
        let mut text = vec![0u8; 4096];
        loop {
            let mut config = uapi::Config {
                id,
                len: u32::try_from(text.len()).unwrap_or(u32::MAX),
                text: address(text.as_mut_ptr()),
                ..Default::default()
            };
            let done = self.call(CONFIG_GET, &mut config);
            let short = matches!(&done, Err(e) if matches!(
                e.number(), Some(Errno::E2BIG | Errno::ENOSPC | Errno::EOVERFLOW | Errno::EMSGSIZE)));
            let len = config.len as usize;
            if (short || len > text.len()) && text.len() < 1 << 20 {
                text.resize(text.len() * 4, 0);
                continue;
            }
            done?;
            text.truncate(len);
            return Ok(uapi::text(&text));
        }
    }

    fn set_config(&self, id: u32, text: &str) -> Result<()> {
        let mut config = uapi::Config {
            id,
            len: u32::try_from(text.len()).map_err(|e| Error::refused("config", e))?,
            text: address(text.as_ptr()),
            ..Default::default()
        };
        self.call(CONFIG_SET, &mut config)
    }
}

fn name_field(name: &str) -> Result<[u8; uapi::NAME_LEN]> {
    uapi::name_field(name).map_err(|why| Error::refused(name, why))
}

fn address<T>(p: *const T) -> u64 {
    p.expose_provenance() as u64
}

/// A structure that starts with a [`uapi::Msg`] and is laid out as the kernel has it.
trait Argument {
    fn msg(&mut self) -> &mut uapi::Msg;
}

macro_rules! arguments {
    ($($t:ty),*) => {
        $(impl Argument for $t {
            fn msg(&mut self) -> &mut uapi::Msg {
                &mut self.msg
            }
        })*
    };
}
arguments!(
    uapi::Query,
    uapi::Load,
    uapi::Name,
    uapi::List,
    uapi::Predict,
    uapi::Stats,
    uapi::Config
);

/// A request and the name it has in error lines.
#[derive(Clone, Copy)]
struct Request {
    name: &'static str,
    code: nix::libc::c_ulong,
}

macro_rules! requests {
    ($($id:ident $name:literal),*) => {
        $(const $id: Request = Request { name: $name, code: ioc::$id };)*
    };
}
requests!(
    QUERY "query",
    LOAD "load",
    REPLACE "replace",
    UNLOAD "unload",
    FIND "find",
    LIST "list",
    PREDICT "predict",
    PREDICT_BATCH "predict",
    STATS "stats",
    CONFIG_GET "config",
    CONFIG_SET "config"
);

impl Neural {
    /// Makes one request; a failure carries the line that the kernel wrote.
    #[allow(unsafe_code)]
    fn call<T: Argument>(&self, request: Request, arg: &mut T) -> Result<()> {
        let mut line = [0u8; uapi::MSG_LEN];
        *arg.msg() = uapi::Msg {
            text: address(line.as_mut_ptr()),
            len: uapi::MSG_LEN as u32, // CAST: 160
            reserved: 0,
        };
        let fd = self.file.as_raw_fd();
        loop {
            // SAFETY: the number was made for a structure of T's size, and every address in it is
            // of a live buffer of the length that stands beside it; only those are written. `line`
            // and the caller's buffers outlive the call.
            let status = unsafe { nix::libc::ioctl(fd, request.code, std::ptr::from_mut(arg)) };
            if status >= 0 {
                return Ok(());
            }
            let why = uapi::text(&line);
            match Errno::last() {
                Errno::EINTR if why.is_empty() => (),
                Errno::ENOTTY if why.is_empty() => {
                    return Err(Error::device(
                        self.path.display(),
                        "is not the device of this module, or of another version",
                        Errno::ENOTTY,
                    ))
                }
                errno => return Err(Error::errno(request.name, &why, errno)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_device_that_is_not_there_says_so() {
        let e = Neural::open(Path::new("/nonexistent/neural")).unwrap_err();
        assert_eq!(e.kind(), Kind::Device);
        assert_eq!(
            e.to_string(),
            "/nonexistent/neural: no such device; is the module loaded? (modprobe neural) (ENOENT)"
        );
    }

    #[test]
    fn another_device_is_told_apart() {
        let e = Neural::open(Path::new("/dev/null"))
            .unwrap()
            .query()
            .unwrap_err();
        assert_eq!(e.kind(), Kind::Device);
        assert!(e.to_string().ends_with("(ENOTTY)"));
    }

    #[test]
    fn samples_of_uneven_size_are_refused_before_the_kernel_sees_them() {
        let dev = Neural::open(Path::new("/dev/null")).unwrap();
        for count in [0, 2] {
            let e = dev
                .predict(1, true, count, &[0; 3], &mut [0; 2])
                .unwrap_err();
            assert!(e.to_string().contains("one size"), "{e}");
        }
    }
}
