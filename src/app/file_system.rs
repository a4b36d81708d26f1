//! On what kind of file system the data directory lies. Network file systems are refused:
//! SQLite's write-ahead log needs memory that all who have the file open share, and locks that
//! hold, and they give neither (<https://www.sqlite.org/wal.html>, <https://www.sqlite.org/faq.html#q5>).

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Where Linux lists its mounts, as proc(5) describes. Elsewhere there is no such file, and
/// nothing is refused.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Kinds of network file systems, as Linux names them.
const NETWORK: &[&str] = &[
    "afs", "ceph", "cifs", "coda", "ncpfs", "nfs", "nfs4", "smb3", "smbfs",
];

/// A directory that databases must not be in.
#[derive(Debug, thiserror::Error)]
#[error(
    "the data directory {} is on a network file system ({kind}), where a database can be damaged without notice; set store.path to a directory on a local disk, or store.allow_network_file_system to true if you know that its locks hold and no other machine uses it", path.display()
)]
pub struct NetworkFileSystem {
    /// The directory.
    path: PathBuf,
    /// What the system calls it.
    kind: String,
}

/// Refuses a directory on a network file system. One whose file system cannot be told is let
/// pass: the error of who opens it is the better one.
pub(super) fn refuse_network(path: &Path) -> Result<(), NetworkFileSystem> {
    fs::read_to_string(MOUNTS).map_or(Ok(()), |mounts| judge(path, &mounts))
}

fn judge(path: &Path, mounts: &str) -> Result<(), NetworkFileSystem> {
    // What does not exist yet will be made within the nearest parent that does.
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = absolute.ancestors().find_map(|at| fs::metadata(at).ok());
    let kind = found.and_then(|found| kind(mounts, found.dev()));
    match kind.filter(|kind| NETWORK.contains(kind)) {
        Some(kind) => Err(NetworkFileSystem {
            path: path.to_owned(),
            kind: kind.to_owned(),
        }),
        None => Ok(()),
    }
}

/// The kind of the file system on this device, by a list of mounts.
fn kind(mounts: &str, device: u64) -> Option<&str> {
    // As gnu_dev_major(3) takes it apart.
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000);
    let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
    let device = format!("{major}:{minor}");
    mounts.lines().find_map(|line| {
        // 36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/root rw
        let (mount, file_system) = line.split_once(" - ")?;
        let kind = file_system.split(' ').next()?;
        (mount.split(' ').nth(2)? == device).then_some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
28 1 259:2 / / rw,relatime shared:1 - ext4 /dev/root rw
95 28 0:52 / /srv/a\\040share rw shared:9 master:2 - nfs4 files:/a rw,vers=4.2
96 28 0:300 / /mnt rw - cifs //files/a rw
";

    #[test]
    fn the_kind_is_found_by_the_device() {
        assert_eq!(kind(LISTED, 259 << 8 | 2), Some("ext4"));
        assert_eq!(kind(LISTED, 52), Some("nfs4"));
        assert_eq!(kind(LISTED, 0x10_002c), Some("cifs"), "minor 300");
        assert_eq!(kind(LISTED, 99), None);
        assert_eq!(kind("no list\n - \n", 52), None);
    }

    #[test]
    fn a_directory_on_a_network_file_system_is_refused_before_it_is_made() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("deep/data");
        let device = fs::metadata(parent.path()).unwrap().dev();
        let major = ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000);
        let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
        let listed = |kind| format!("9 8 {major}:{minor} / / rw - {kind} what rw\n");
        for kind in ["nfs", "nfs4", "cifs", "smb3"] {
            let refused = judge(&path, &listed(kind)).unwrap_err().to_string();
            let says = format!("{} is on a network file system ({kind})", path.display());
            assert!(refused.contains(&says), "{refused}");
            assert!(
                refused.contains("store.allow_network_file_system"),
                "{refused}"
            );
        }
        for kind in ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"] {
            assert!(judge(&path, &listed(kind)).is_ok(), "{kind}");
        }
        assert!(!path.exists());
        assert!(
            refuse_network(&path).is_ok(),
            "a local disk, as the machine lists it"
        );
    }
}
