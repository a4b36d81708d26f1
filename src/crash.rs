//! Points at which a test ends the process as a power cut would: at once, running nothing more.
//!
//! Between any two steps that must hold together lies one of them. Without the feature
//! `crash-points`, which only this crate's own tests switch on, a point is an empty function and
//! nothing can arm it. Own code, because the crate for this (`fail`) cannot end a process by
//! itself and would bring another generator of random numbers into every build.

/// Where a process may be made to end; the labels are those of the table of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// An answer was understood, and nothing of it is durable.
    Fetched,
    /// Within the transaction of records and checkpoint.
    Appending,
    /// Records are durable, and nobody was told.
    Appended,
    /// The broker has records, and the outbox does not know.
    Published,
    /// A batch was received, and nothing of it is committed.
    Received,
    /// A batch is committed, and not acknowledged.
    Committed,
    /// A window's row is made, within the transaction that closes it.
    Closing,
    /// The receiver of remote write took a window, and the store does not know.
    Sent,
    /// Within the transaction that brings a schema up to date.
    Migrating,
    /// One of a damaged database's files is set aside, and others are not.
    SettingAside,
}

impl CrashPoint {
    /// All, in the order of their labels.
    pub const ALL: [Self; 10] = [
        Self::Fetched,
        Self::Appending,
        Self::Appended,
        Self::Published,
        Self::Received,
        Self::Committed,
        Self::Closing,
        Self::Sent,
        Self::Migrating,
        Self::SettingAside,
    ];

    /// `p1` to `p10`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Fetched => "p1",
            Self::Appending => "p2",
            Self::Appended => "p3",
            Self::Published => "p4",
            Self::Received => "p5",
            Self::Committed => "p6",
            Self::Closing => "p7",
            Self::Sent => "p8",
            Self::Migrating => "p9",
            Self::SettingAside => "p10",
        }
    }
}

/// A point that is passed. Does nothing, unless a test has armed it.
#[inline]
pub fn passing(point: CrashPoint) {
    #[cfg(feature = "crash-points")]
    armed::passing(point);
    #[cfg(not(feature = "crash-points"))]
    let _ = point;
}

#[cfg(feature = "crash-points")]
pub use armed::{CRASH_AT, Fuse, arm};

#[cfg(feature = "crash-points")]
mod armed {
    use std::io::Write as _;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::CrashPoint;

    /// The variable by which a test arms a process that it starts.
    pub const CRASH_AT: &str = "CRASH_AT";

    /// Where to end, and at which passing: `p5:3` is the third at p5.
    #[derive(Debug)]
    pub struct Fuse {
        point: CrashPoint,
        left: AtomicU64,
    }

    impl Fuse {
        /// Reads one; `None` if it is none.
        pub fn parse(text: &str) -> Option<Self> {
            let (label, count) = text.split_once(':')?;
            let mut points = CrashPoint::ALL.into_iter();
            let point = points.find(|point| point.label() == label)?;
            let count: u64 = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self {
                point,
                left: AtomicU64::new(count),
            })
        }

        /// Whether this passing is the one.
        pub(super) fn is_due(&self, point: CrashPoint) -> bool {
            self.point == point && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    static ARMED: OnceLock<Fuse> = OnceLock::new();

    /// Arms this process, once and for all.
    ///
    /// # Panics
    /// If it is armed already: two deaths are two processes.
    pub fn arm(fuse: Fuse) {
        assert!(ARMED.set(fuse).is_ok(), "a process ends once");
    }

    pub(super) fn passing(point: CrashPoint) {
        if ARMED.get().is_some_and(|fuse| fuse.is_due(point)) {
            // Whoever reads it knows that the process ended here and not by another cause.
            let _ = writeln!(std::io::stderr(), "crash point {} reached", point.label());
            std::process::abort();
        }
    }
}

#[cfg(all(test, feature = "crash-points"))]
mod tests {
    use super::*;

    #[test]
    fn a_fuse_counts_the_passings_of_its_own_point() {
        let fuse = Fuse::parse("p10:2").unwrap();
        assert!(!fuse.is_due(CrashPoint::SettingAside));
        assert!(!fuse.is_due(CrashPoint::Fetched));
        assert!(fuse.is_due(CrashPoint::SettingAside));
        assert!(!fuse.is_due(CrashPoint::SettingAside));
        for none in ["", "p1", "p1:", "p1:0", "p1:-1", "p11:1", "p0:1"] {
            assert!(Fuse::parse(none).is_none(), "{none}");
        }
    }

    #[test]
    fn labels_are_those_of_the_table() {
        for (at, point) in CrashPoint::ALL.into_iter().enumerate() {
            assert_eq!(point.label(), format!("p{}", at + 1));
        }
    }
}
