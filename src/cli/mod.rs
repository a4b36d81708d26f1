//! The command line: arguments in, a command out; the commands that need no pipeline.
//!
//! `main` reads arguments and environment once and hands both in, so that tests need no process.

use std::ffi::OsString;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use crate::config::layers::{FILE_VARIABLE, variable};
use crate::config::settings::setting;
use crate::config::{
    ConfigError, Environment, FlagValue, Loaded, LogConfig, LogFormat, LogLevel, load,
};
use crate::model::time::Millis;
use crate::simulator::dialect::Dialect;

mod args; //        what can be typed
pub mod check; //   check config
pub mod demo; //    demo
pub mod doctor; //  doctor
pub mod export; //  export
pub mod history; // simulate history
pub mod logging; // lines on stderr
pub mod run; //     run
pub mod service; // runtime, sockets, signals
pub mod simulate; // simulate
mod unfinished; //  files that are whole or not there

pub use args::OrgFlags;
pub use export::ExportArgs;
pub use history::HistoryArgs;

/// How the process ends; its numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Fine = 0,
    /// Something failed.
    Failed = 1,
    /// Bad usage or configuration.
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Run the exporter.
    Run(RunArgs),
    /// Run a simulated organisation and the exporter against it.
    Demo(DemoArgs),
    /// Run only the simulated organisation.
    Simulate(Box<SimulateArgs>),
    /// Write a simulated past to a file.
    History(Box<HistoryArgs>),
    /// Check a configuration file.
    CheckConfig {
        /// The file.
        file: PathBuf,
    },
    /// Write rows of the store to a file.
    Export(ExportArgs),
    /// Ask the platform everything once, and say what is wrong.
    Doctor(RunArgs),
    /// Print the metric reference.
    Metrics,
    /// Print this (help, version, completions, manual) and end well.
    Show(String),
}

/// `run`: where the configuration is, and what flags put over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunArgs {
    /// The configuration file, from the flag or the environment.
    pub file: Option<PathBuf>,
    /// Settings given by flags.
    pub flags: Vec<FlagValue>,
}

impl RunArgs {
    /// Loads the configuration; again at each reload.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(&self, environment: &Environment) -> Result<Loaded, ConfigError> {
        load(self.file.as_deref(), environment, &self.flags)
    }
}

/// `demo`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoArgs {
    /// The organisation.
    pub org: OrgFlags,
    /// Where the exporter listens.
    pub listen: Vec<SocketAddr>,
    /// The log.
    pub log: LogConfig,
}

/// `simulate`.
#[derive(Debug, Clone, PartialEq)]
pub struct SimulateArgs {
    /// Where the simulated platform listens.
    pub listen: SocketAddr,
    /// OAuth client id that may log in.
    pub client_id: String,
    /// Its secret, which opens nothing but the simulation.
    pub client_secret: String,
    /// The organisation.
    pub org: OrgFlags,
    /// Speed of life; 1 is a real contact centre.
    pub tempo: f64,
    /// No routing state is shorter than this.
    pub min_state: Millis,
    /// Part of the agents that now and then flap between states within seconds.
    pub volatile_share: f64,
    /// Requests a token may make in a minute.
    pub requests_per_minute: u32,
    /// How long a token is valid.
    pub token_lifetime: Millis,
    /// Entries of an agent's routing states.
    pub history: usize,
    /// How often the snapshot's cache is refreshed; zero: always fresh.
    pub cache_refresh: Millis,
    /// Wire formats that the simulated platform speaks.
    pub dialect: Dialect,
    /// How long a notification channel lives unless its topics are set again.
    pub channel_lifetime: Millis,
    /// The log.
    pub log: LogConfig,
}

/// Arguments that make no command; goes to stderr, then [`Exit::Usage`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct UsageError {
    /// What is wrong and how it is used, without a newline at the end.
    pub text: String,
}

/// Turns arguments (the program's name first) and the environment into a command.
///
/// # Errors
/// What is wrong with them, with the usage.
pub fn parse<I, T>(arguments: I, environment: &Environment) -> Result<Command, UsageError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match args::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.to_string().trim_end().to_owned();
            // Help and version are answers; clap calls everything an error.
            return if error.use_stderr() {
                Err(UsageError { text })
            } else {
                Ok(Command::Show(text))
            };
        }
    };
    match cli.command {
        None => Ok(Command::Run(run(cli.run, environment))),
        Some(args::Sub::Run(flags)) => Ok(Command::Run(run(flags, environment))),
        Some(args::Sub::Demo(flags)) => Ok(Command::Demo(DemoArgs {
            org: flags.org,
            listen: flags.listen,
            log: log(&flags.log, environment)?,
        })),
        Some(args::Sub::Simulate(flags)) => {
            if let Some(args::Simulated::History(flags)) = flags.instead {
                return Ok(Command::History(Box::new(flags.into())));
            }
            let log = log(&flags.log, environment)?;
            Ok(Command::Simulate(Box::new(SimulateArgs {
                listen: flags.listen,
                client_id: flags.client_id,
                client_secret: flags.client_secret,
                org: flags.org,
                tempo: flags.tempo,
                min_state: flags.min_state,
                volatile_share: flags.volatile_share,
                requests_per_minute: flags.requests_per_minute,
                token_lifetime: flags.token_lifetime,
                history: flags.history as usize,
                cache_refresh: flags.cache_refresh,
                dialect: flags.dialect.into(),
                channel_lifetime: flags.channel_lifetime,
                log,
            })))
        }
        Some(args::Sub::Check {
            what: args::Check::Config { file },
        }) => Ok(Command::CheckConfig { file }),
        Some(args::Sub::Doctor { config_file }) => Ok(Command::Doctor(RunArgs {
            file: file(config_file, environment),
            flags: Vec::new(),
        })),
        Some(args::Sub::Export { what }) => export::args(what, environment).map(Command::Export),
        Some(args::Sub::Completions { shell }) => Ok(Command::Show(args::completions(shell))),
        Some(args::Sub::Man) => Ok(Command::Show(args::manual())),
        Some(args::Sub::Metrics) => Ok(Command::Metrics),
    }
}

/// The environment as a map; what is not Unicode is left out, as no setting can hold it.
pub fn environment(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Environment {
    variables
        .into_iter()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Writes a line to standard output: the one place that does. A reader that has gone away, as
/// in `… | head`, is no failure of ours.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Writes a line to standard error, for what must be said before or without the log.
pub fn complain(text: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn run(flags: args::RunFlags, environment: &Environment) -> RunArgs {
    let mut given = Vec::new();
    let mut put = |flag, path, values: Vec<String>| {
        if !values.is_empty() {
            given.push(FlagValue { flag, path, values });
        }
    };
    let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
    put("--web.listen-address", "web.listen", flags.listen);
    put(
        "--web.telemetry-path",
        "web.telemetry_path",
        one(flags.telemetry_path),
    );
    put(
        "--web.config.file",
        "web.config_file",
        one(flags.web_config_file),
    );
    put(
        "--web.enable-lifecycle",
        "web.enable_lifecycle",
        one(flags.enable_lifecycle.then(|| "true".to_owned())),
    );
    put(
        "--log.level",
        "log.level",
        one(flags.log.level.as_ref().map(word)),
    );
    put(
        "--log.format",
        "log.format",
        one(flags.log.format.as_ref().map(word)),
    );
    RunArgs {
        file: file(flags.config_file, environment),
        flags: given,
    }
}

/// The configuration file: the flag's, or the environment's.
fn file(flag: Option<PathBuf>, environment: &Environment) -> Option<PathBuf> {
    flag.or_else(|| variable(environment, FILE_VARIABLE).map(PathBuf::from))
}

/// The log's settings where there is no configuration file: flag, environment, default.
fn log(flags: &args::LogFlags, environment: &Environment) -> Result<LogConfig, UsageError> {
    Ok(LogConfig {
        level: from_environment(flags.level, "log.level", environment)?.unwrap_or(LogLevel::Info),
        format: from_environment(flags.format, "log.format", environment)?
            .unwrap_or(LogFormat::Logfmt),
    })
}

fn from_environment<T: ValueEnum>(
    flag: Option<T>,
    path: &str,
    environment: &Environment,
) -> Result<Option<T>, UsageError> {
    if flag.is_some() {
        return Ok(flag);
    }
    let name = setting(path)
        .expect("the log's settings are in the table")
        .variable();
    let Some(text) = variable(environment, &name) else {
        return Ok(None);
    };
    T::from_str(text, false).map(Some).map_err(|_| {
        let choice: Vec<String> = T::value_variants().iter().map(word).collect();
        let choice = choice.join(", ");
        let text = format!("error: environment {name}: {text:?} is not one of {choice}");
        UsageError { text }
    })
}

/// The word that stands for a value on the command line.
fn word<T: ValueEnum>(value: &T) -> String {
    let possible = value.to_possible_value();
    possible.map_or_else(String::new, |possible| possible.get_name().to_owned())
}

#[cfg(test)]
mod tests;
