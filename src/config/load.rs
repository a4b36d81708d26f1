//! From a file, the environment and flags to a [`Config`], or to all that is wrong with them.
//!
//! Reads the configuration file and, through `secret`, the secret's file; touches nothing else.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::effective::Effective;
use super::finding::{ConfigError, Finding, Place, Refusal};
use super::layers::{Environment, FlagValue, from_environment, from_flags, merge};
use super::otel::beneath;
use super::raw::{self, Layer};
use super::resolve::{resolve, resolve_rows};
use super::sources::names;
use super::yaml::FILE_BYTES_MAX;
use super::{Config, RowsConfig};

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The same, for people to read.
    pub effective: Effective,
    /// What is allowed and worth a second look.
    pub warnings: Vec<Finding>,
}

/// Loads the configuration. Without a file, settings come from flags and environment alone.
///
/// # Errors
/// All mistakes at once.
pub fn load(
    file: Option<&Path>,
    environment: &Environment,
    flags: &[FlagValue],
) -> Result<Loaded, ConfigError> {
    let mut mistakes = Vec::new();
    let layer = read(file, &mut mistakes)?;
    combine(layer, environment, flags, mistakes)
}

/// Where rows are, for whoever only reads them: neither the platform nor its secret is asked for.
/// One for each organisation, at least one.
///
/// # Errors
/// All mistakes at once.
pub fn load_rows(
    file: Option<&Path>,
    environment: &Environment,
) -> Result<Vec<RowsConfig>, ConfigError> {
    let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
    let layer = read(file, &mut mistakes)?;
    let listed = names(&layer);
    let variables = from_environment(environment, &listed, &mut mistakes, &mut warnings);
    let layer = merge(layer, variables);
    resolve_rows(&layer, &mut mistakes, &mut warnings).ok_or_else(|| ConfigError::new(mistakes))
}

/// What the file says; nothing without one.
fn read(file: Option<&Path>, mistakes: &mut Vec<Finding>) -> Result<Layer, ConfigError> {
    let Some(file) = file else {
        return Ok(Layer::new());
    };
    let name: Arc<str> = file.display().to_string().into();
    match read_file(file) {
        Ok(text) => Ok(raw::read(&name, &text, mistakes)),
        // The other mistakes would mostly be about what the file was to say.
        Err(refusal) => Err(ConfigError::new(vec![Finding::new(
            Place::File(name),
            "",
            refusal,
        )])),
    }
}

/// Like [`load`], with the file's text at hand; `name` stands for the file in messages.
///
/// # Errors
/// All mistakes at once.
pub fn parse(
    name: &Arc<str>,
    text: &str,
    environment: &Environment,
    flags: &[FlagValue],
) -> Result<Loaded, ConfigError> {
    let mut mistakes = Vec::new();
    let layer = raw::read(name, text, &mut mistakes);
    combine(layer, environment, flags, mistakes)
}

fn combine(
    file: Layer,
    environment: &Environment,
    flags: &[FlagValue],
    mut mistakes: Vec<Finding>,
) -> Result<Loaded, ConfigError> {
    let mut warnings = Vec::new();
    let listed = names(&file);
    let variables = from_environment(environment, &listed, &mut mistakes, &mut warnings);
    let layer = merge(merge(file, variables), from_flags(flags));
    let layer = beneath(layer, environment, &mut warnings);
    match resolve(&layer, environment, &mut mistakes, &mut warnings) {
        Some(resolved) => Ok(Loaded {
            config: resolved.config,
            effective: Effective::new(layer, resolved.origins),
            warnings,
        }),
        None => Err(ConfigError::new(mistakes)),
    }
}

fn read_file(path: &Path) -> Result<String, Refusal> {
    let unreadable = |error: &std::io::Error| {
        Refusal::new(
            format!("the file cannot be read: {}", error.kind()),
            "check its name and who may read it",
        )
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(Refusal::new(
            "the file is longer than 1 MiB",
            "name the configuration file",
        ));
    }
    String::from_utf8(bytes)
        .map_err(|_| Refusal::new("the file is not UTF-8 text", "save it as UTF-8"))
}
