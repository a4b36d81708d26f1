//! Which wire formats the simulated platform speaks.

/// A wire format, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The User Status API alone.
    Status,
    /// The public platform API alone: paths of the other are not found.
    Platform,
    /// Both, as one organisation.
    #[default]
    Both,
}

impl Dialect {
    /// Whether the User Status API is spoken.
    pub const fn has_status(self) -> bool {
        matches!(self, Self::Status | Self::Both)
    }

    /// Whether the public platform API is spoken.
    pub const fn has_platform(self) -> bool {
        matches!(self, Self::Platform | Self::Both)
    }
}
