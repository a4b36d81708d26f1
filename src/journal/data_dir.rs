//! The data directory: made, owned and locked by one instance at a time.
//!
//! Comes before any database in it is opened. Refuses a second instance, because two writers
//! would both poll and both count.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The lock file's name within the directory.
const LOCK_FILE: &str = "lock";

/// A data directory that this process holds the lock of; dropping it gives the lock back.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// It does not exist and cannot be made.
    #[error(
        "cannot create the data directory {}; create it, or set store.path to a directory that the exporter may write to", path.display()
    )]
    Create {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Nothing can be written in it.
    #[error(
        "cannot write in the data directory {}; give the exporter's user the right to write there, or set store.path to another directory", path.display()
    )]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error(
        "another instance uses the data directory {}; stop it, or give this one a store.path of its own", path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// The file system cannot lock.
    #[error(
        "cannot lock {} in the data directory; set store.path to a directory on a local disk", path.display()
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl DataDir {
    /// Makes the directory if need be (readable by its owner alone) and takes its lock.
    ///
    /// # Errors
    /// If it cannot be made, written to or locked, or if another instance holds the lock.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        create_private(path).map_err(|source| DataDirError::Create {
            path: path.to_owned(),
            source,
        })?;
        let lock_path = path.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(|source| DataDirError::NotWritable {
                path: path.to_owned(),
                source,
            })?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(DataDirError::Lock {
                path: lock_path,
                source,
            }),
        }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Makes a directory and its parents; on Unix with mode 0700. One that exists is left as it is.
fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_instance_is_refused_until_the_first_lets_go() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err();
        assert!(matches!(refused, DataDirError::InUse { .. }));
        assert_eq!(
            refused.to_string(),
            format!(
                "another instance uses the data directory {}; stop it, or give this one a \
                 store.path of its own",
                path.display()
            )
        );
        drop(first);
        assert_eq!(DataDir::open(&path).unwrap().path(), path);
    }

    #[cfg(unix)]
    #[test]
    fn the_directory_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let _held = DataDir::open(&path).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_path_through_a_file_is_refused_with_a_remedy() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, b"").unwrap();
        let refused = DataDir::open(&file.join("data")).unwrap_err();
        assert!(refused.to_string().contains("set store.path"), "{refused}");
    }
}
