//! A file that is there whole or not at all: written beside its place, and put there at the end.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

/// A file beside the output that takes its place when it is whole; otherwise it goes away.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    output: PathBuf,
    replaces: bool,
    pub(super) file: File,
}

impl Unfinished {
    /// Makes it, so that an output that cannot be is known before any work is done. Unless it
    /// `replaces` what is there, nothing may be there.
    pub(super) fn new(output: &Path, replaces: bool) -> io::Result<Self> {
        refuse(output, replaces)?;
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = output.with_file_name(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)?;
        Ok(Self {
            path,
            output: output.to_owned(),
            replaces,
            file,
        })
    }

    /// It is whole: once this returns it is at its place, and a loss of power does not take it back.
    pub(super) fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        // Somebody may have put something there meanwhile.
        refuse(&self.output, self.replaces)?;
        fs::rename(&self.path, &self.output)?;
        let directory = match self.output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        File::open(directory)?.sync_all()
    }
}

fn refuse(output: &Path, replaces: bool) -> io::Result<()> {
    if output.is_dir() {
        let why = "it is a directory";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, why));
    }
    if !replaces && output.symlink_metadata().is_ok() {
        let why = "it is there already";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
    }
    Ok(())
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It has become the output, or is of no use.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_file_appears_when_it_is_whole_and_replaces_another_only_if_told() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("rows.csv");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        let mut unfinished = Unfinished::new(&output, false).unwrap();
        unfinished.file.write_all(b"one").unwrap();
        assert!(!output.exists() && names() == 1);
        unfinished.finish().unwrap();
        assert_eq!((fs::read(&output).unwrap(), names()), (b"one".to_vec(), 1));

        let refused = Unfinished::new(&output, false).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AlreadyExists);
        drop(Unfinished::new(&output, true).unwrap());
        assert_eq!((fs::read(&output).unwrap(), names()), (b"one".to_vec(), 1));
        Unfinished::new(&output, true).unwrap().finish().unwrap();
        assert!(fs::read(&output).unwrap().is_empty());

        let late = directory.path().join("late.csv");
        let unfinished = Unfinished::new(&late, false).unwrap();
        fs::write(&late, "another's").unwrap();
        assert!(unfinished.finish().is_err());
        assert_eq!(fs::read(&late).unwrap(), b"another's");
        assert!(Unfinished::new(directory.path(), true).is_err());
    }
}
