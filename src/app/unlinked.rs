//! Whether the files of open databases are still where they were opened.
//!
//! A database whose file was deleted or replaced goes on without an error: the system keeps the
//! old file for who has it open, and all that is written to it goes with the process.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// What a file is, whatever its name: device and inode. An inode is not given to another file
/// while somebody has it open.
type Identity = (u64, u64);

/// Files of databases that are open.
#[derive(Debug, Default)]
pub(super) struct OpenFiles(Vec<(PathBuf, Identity)>);

impl OpenFiles {
    /// Takes note of a file that was just opened. One that cannot be looked at is not watched.
    pub(super) fn opened(&mut self, path: PathBuf) {
        if let Ok(identity) = identity(&path) {
            self.0.push((path, identity));
        }
    }

    /// The first file that is no longer there, or is another one. Blocks for as long as looking
    /// at two files takes.
    pub(super) fn gone(&self) -> Option<&Path> {
        let gone = |(path, opened): &&(PathBuf, Identity)| match identity(path) {
            Ok(found) => found != *opened,
            // Any other error says nothing about the file.
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        self.0.iter().find(gone).map(|(path, _)| &**path)
    }
}

fn identity(path: &Path) -> io::Result<Identity> {
    let seen = fs::metadata(path)?;
    Ok((seen.dev(), seen.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_gone_once_it_is_deleted_or_replaced_and_not_when_it_grows() {
        let parent = tempfile::tempdir().unwrap();
        let paths = ["a.db", "b.db"].map(|name| parent.path().join(name));
        let mut open = OpenFiles::default();
        let mut held = Vec::new();
        for path in &paths {
            held.push(fs::File::create(path).unwrap());
            open.opened(path.clone());
        }
        open.opened(parent.path().join("never.db"));
        assert_eq!(open.gone(), None);
        fs::write(&paths[0], "more").unwrap();
        assert_eq!(open.gone(), None);

        fs::rename(&paths[0], parent.path().join("aside")).unwrap();
        assert_eq!(open.gone(), Some(&*paths[0]));
        fs::write(&paths[0], "more").unwrap();
        assert_eq!(open.gone(), Some(&*paths[0]), "another file of that name");
        fs::rename(parent.path().join("aside"), &paths[0]).unwrap();
        assert_eq!(open.gone(), None, "the same one again");
        fs::remove_file(&paths[1]).unwrap();
        assert_eq!(open.gone(), Some(&*paths[1]));
    }
}
