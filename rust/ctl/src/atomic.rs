// SPDX-License-Identifier: GPL-2.0

//! Writes a file so that under its name there is the old content or the new, never half of it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces the content of `path` by `bytes`; `-` is standard output.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e: io::Error| Error::io(path.display(), &e);
    if path == Path::new("-") {
        return io::stdout().lock().write_all(bytes).map_err(failed);
    }
    // A link stays a link, and a device or pipe is written to, not replaced by a file.
    let target = match fs::canonicalize(path) {
        Ok(target) => target,
        Err(e) if e.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(e) => return Err(failed(e)),
    };
    if fs::metadata(&target).is_ok_and(|m| !m.is_file()) {
        let file = OpenOptions::new().write(true).open(&target);
        return file.and_then(|mut f| f.write_all(bytes)).map_err(failed);
    }
    let temporary = Temporary::beside(&target).map_err(failed)?;
    temporary.fill(bytes, &target).map_err(failed)
}

/// A file that is removed unless it gets its final name.
struct Temporary {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Temporary {
    fn beside(target: &Path) -> io::Result<Self> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(format!(".{}.tmp", std::process::id()));
        let path = target.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self {
            file,
            path,
            kept: false,
        })
    }

    fn fill(mut self, bytes: &[u8], target: &Path) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("neuralctl-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn new_and_old_files_get_the_content_and_nothing_is_left_beside() {
        let dir = directory("atomic");
        let file = dir.join("a");
        for content in [&b"one"[..], b"second"] {
            write(&file, content).unwrap();
            assert_eq!(fs::read(&file).unwrap(), content);
        }
        let link = dir.join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, b"third").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"third");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_temporary() {
        let dir = directory("atomic-fail");
        // The rename fails: the target became a directory in between.
        let target = dir.join("a");
        let temporary = Temporary::beside(&target).unwrap();
        fs::create_dir_all(target.join("full")).unwrap();
        assert!(temporary.fill(b"x", &target).is_err());
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        assert!(write(&dir.join("missing/a"), b"x").is_err());
        assert!(write(&dir, b"x").is_err());
        fs::remove_dir_all(&dir).unwrap();
    }

    // A pipe of our own stands for all that is no file: a wrong `write` run by root would replace a
    // real device for the whole machine.
    #[test]
    fn a_pipe_is_written_to_and_stays_a_pipe() {
        use std::io::Read;
        use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

        let dir = directory("atomic-pipe");
        let pipe = dir.join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK)
            .open(&pipe)
            .unwrap();
        write(&pipe, b"x").unwrap();
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        let mut said = [0; 1];
        reader.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"x");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
        fs::remove_dir_all(&dir).unwrap();
    }
}
