//! Which build is running.

/// Labels of `genesyscloud_exporter_build_info`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildInfo {
    /// The package's version.
    pub version: &'static str,
    /// The commit that it was built from.
    pub revision: &'static str,
    /// The compiler that built it.
    pub rust_version: &'static str,
}

impl BuildInfo {
    /// This build. Revision and compiler come from the build environment
    /// (`GENESYSCLOUD_BUILD_REVISION`, `GENESYSCLOUD_BUILD_RUSTVERSION`), `unknown` without.
    pub const fn current() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: or_unknown(option_env!("GENESYSCLOUD_BUILD_REVISION")),
            rust_version: or_unknown(option_env!("GENESYSCLOUD_BUILD_RUSTVERSION")),
        }
    }
}

const fn or_unknown(value: Option<&'static str>) -> &'static str {
    match value {
        Some(value) => value,
        None => "unknown",
    }
}
