//! The command line: what can be typed, with help, defaults and limits.
//!
//! Flags are named as in other Prometheus exporters (`--web.listen-address`). It only describes
//! and checks; `super::parse` turns it into a command. No secret is a flag of the exporter; the
//! one of `simulate` opens a simulation and nothing else.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;

use super::export::{Lengths, Moment};
use crate::config::{LogFormat, LogLevel, duration};
use crate::export::{ExportFormat, Zone};
use crate::model::time::{Millis, UnixMillis};
use crate::simulator::dialect::Dialect;

/// Most simulated agents: the limit of the simulator.
const AGENTS_MAX: i64 = 200_000;

/// Most simulated queues: the limit of the simulator.
const QUEUES_MAX: i64 = 10_000;

/// The program's name.
const NAME: &str = "genesys-cloud-exporter";

#[derive(Debug, Parser)]
#[command(
    name = NAME,
    version,
    about = "Genesys Cloud agent presence and routing availability as metrics",
    after_help = "Examples:\n  \
        genesys-cloud-exporter demo\n  \
        genesys-cloud-exporter check config config.yml\n  \
        genesys-cloud-exporter --config.file config.yml\n\n\
        Without a command it runs the exporter, as run does.\n\
        Exit status: 0 fine, 1 failed, 2 bad usage or configuration.",
    args_conflicts_with_subcommands = true
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) run: RunFlags,
    #[command(subcommand)]
    pub(super) command: Option<Sub>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Sub {
    /// Run the exporter (the default when no command is given)
    #[command(after_help = "Example:\n  \
        GENESYSCLOUD_CLIENT_SECRET=… genesys-cloud-exporter run --config.file config.yml\n\n\
        Every setting can be given by the environment: GENESYSCLOUD_ and its path in upper\n\
        case with _ for . (GENESYSCLOUD_POLL_INTERVAL). Flag over environment over file over\n\
        default. config.example.yml lists every setting.")]
    Run(RunFlags),
    /// Run a simulated organisation and the exporter against it, nothing else needed
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter demo --agents 200 --queues 5\n\n\
        Open the addresses that it prints; Ctrl-C ends it.")]
    Demo(DemoFlags),
    /// Run only the simulated organisation
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter simulate --listen 127.0.0.1:10096 --agents 50 --tempo 20\n\n\
        Give an exporter http://127.0.0.1:10096 as source.api_url and source.login_url.")]
    Simulate(Box<SimulateFlags>),
    /// Check a configuration without starting anything
    #[command(
        after_help = "Example:\n  genesys-cloud-exporter check config config.yml",
        arg_required_else_help = true
    )]
    Check {
        #[command(subcommand)]
        what: Check,
    },
    /// Make every call to the platform once: credentials, permissions, clock, budget
    #[command(after_help = "Example:\n  \
        GENESYSCLOUD_CLIENT_SECRET=… genesys-cloud-exporter doctor --config.file config.yml\n\n\
        Prints a table with a verdict and a remedy a row. Stores nothing, serves nothing.\n\
        Exit status: 0 fine, 1 a check failed, 2 bad usage or configuration.")]
    Doctor {
        /// Configuration file [env: GENESYSCLOUD_CONFIG_FILE]
        #[arg(long = "config.file", value_name = "FILE")]
        config_file: Option<PathBuf>,
    },
    /// Write windows or events of the store to a file, also while the exporter runs
    #[command(
        after_help = "Example:\n  \
            genesys-cloud-exporter export windows --config.file config.yml --from 2026-05-01 \\\n    \
            --to 2026-06-01 --timezone Europe/Rome --format parquet --output may.parquet",
        arg_required_else_help = true
    )]
    Export {
        #[command(subcommand)]
        what: Export,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter completions bash > /etc/bash_completion.d/genesys-cloud-exporter")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter man > /usr/share/man/man1/genesys-cloud-exporter.1")]
    Man,
    /// Print the metric reference as Markdown
    #[command(after_help = "Example:\n  genesys-cloud-exporter metrics > METRICS.md")]
    Metrics,
}

/// Completions of the whole command line for a shell.
pub(super) fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    String::from_utf8_lossy(&script).trim_end().to_owned()
}

/// The manual page, in roff: the program, then each command.
pub(super) fn manual() -> String {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    // Writing to memory cannot fail.
    let _ = clap_mangen::Man::new(command.clone()).render(&mut page);
    describe(&command, "", &mut page);
    String::from_utf8_lossy(&page).trim_end().to_owned()
}

/// A section of the manual for each command below `command`, and for those below it.
fn describe(command: &clap::Command, path: &str, page: &mut Vec<u8>) {
    for sub in command.get_subcommands() {
        if sub.get_name() == "help" {
            continue;
        }
        let path = format!("{path} {}", sub.get_name().to_uppercase());
        let man = clap_mangen::Man::new(sub.clone());
        page.extend_from_slice(format!(".SH \"COMMAND{path}\"\n").as_bytes());
        // Writing to memory cannot fail.
        let _ = man.render_description_section(page);
        let _ = man.render_options_section(page);
        describe(sub, &path, page);
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// Time in state of each agent, a row a window
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter export windows --from 2026-05-14 --format csv --output may14.csv\n\n\
        Reads the store that the configuration names, and never disturbs who writes it. Asks for\n\
        neither the platform nor its secret. The file appears when it is whole.\n\
        Exit status: 0 fine, 1 failed or rows were damaged, 2 bad usage or configuration.")]
    Windows {
        #[command(flatten)]
        flags: ExportFlags,
        /// Length of the windows, or all [default: window.length of the configuration]
        #[arg(long, value_name = "DURATION", value_parser = lengths)]
        window_length: Option<Lengths>,
    },
    /// Each state that an agent entered, corrections and withdrawals included
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter export events --from 2026-05-14T08:00:00+02:00 --format jsonl --output -\n\n\
        Reads the store that the configuration names, and never disturbs who writes it. Asks for\n\
        neither the platform nor its secret. The file appears when it is whole.\n\
        Exit status: 0 fine, 1 failed or rows were damaged, 2 bad usage or configuration.")]
    Events {
        #[command(flatten)]
        flags: ExportFlags,
    },
}

#[derive(Debug, Args)]
pub(super) struct ExportFlags {
    /// First instant: RFC 3339, or a date, which begins at midnight in --timezone
    #[arg(long, value_name = "INSTANT", value_parser = moment)]
    pub(super) from: Moment,
    /// Instant before which it ends, written as --from [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = moment)]
    pub(super) to: Option<Moment>,
    /// Form of the file
    #[arg(long, value_name = "FORMAT")]
    pub(super) format: ExportFormat,
    /// The file, or - for standard output (csv and jsonl)
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Zone of dates and of instants in text, such as Europe/Rome
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = Zone::parse)]
    pub(super) timezone: Zone,
    /// Replace the file if it is there
    #[arg(long)]
    pub(super) force: bool,
    /// Whose rows, where the configuration lists several organisations
    #[arg(long, value_name = "NAME")]
    pub(super) org: Option<String>,
    /// Configuration file [env: GENESYSCLOUD_CONFIG_FILE]
    #[arg(long = "config.file", value_name = "FILE")]
    pub(super) config_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Check {
    /// Print the effective configuration with secrets redacted, or every mistake in it
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter check config config.yml\n\n\
        Exit status: 0 fine, 2 with mistakes.")]
    Config {
        /// The configuration file
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct RunFlags {
    /// Configuration file [env: GENESYSCLOUD_CONFIG_FILE]
    #[arg(long = "config.file", value_name = "FILE")]
    pub(super) config_file: Option<PathBuf>,
    /// Address to listen on; may be repeated [default: 127.0.0.1:10095]
    #[arg(long = "web.listen-address", value_name = "ADDRESS")]
    pub(super) listen: Vec<String>,
    /// Path of the metrics page [default: /metrics]
    #[arg(long = "web.telemetry-path", value_name = "PATH")]
    pub(super) telemetry_path: Option<String>,
    /// TLS and users of the server, in the format that Prometheus exporters share
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub(super) web_config_file: Option<String>,
    /// Answer POST /-/reload, which reads the configuration again as SIGHUP does
    #[arg(long = "web.enable-lifecycle")]
    pub(super) enable_lifecycle: bool,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

#[derive(Debug, Args)]
pub(super) struct LogFlags {
    /// Least severe level written [default: info]
    #[arg(long = "log.level", value_name = "LEVEL")]
    pub(super) level: Option<LogLevel>,
    /// Format of the log [default: logfmt]
    #[arg(long = "log.format", value_name = "FORMAT")]
    pub(super) format: Option<LogFormat>,
}

/// The simulated organisation.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct OrgFlags {
    /// Simulated agents
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=AGENTS_MAX))]
    pub agents: u32,
    /// Simulated queues
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=QUEUES_MAX))]
    pub queues: u32,
    /// Seed: the same seed gives the same organisation
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Faults to inject, or none
    #[arg(long, default_value = "none")]
    pub faults: String,
}

#[derive(Debug, Args)]
pub(super) struct DemoFlags {
    #[command(flatten)]
    pub(super) org: OrgFlags,
    /// Address to listen on; may be repeated
    #[arg(
        long = "web.listen-address",
        value_name = "ADDRESS",
        default_value = crate::config::DEFAULT_LISTEN
    )]
    pub(super) listen: Vec<SocketAddr>,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

/// What a simulated platform speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SimulatedDialect {
    /// The User Status API
    Status,
    /// The public platform API
    Platform,
    /// Both
    Both,
}

impl From<SimulatedDialect> for Dialect {
    fn from(dialect: SimulatedDialect) -> Self {
        match dialect {
            SimulatedDialect::Status => Self::Status,
            SimulatedDialect::Platform => Self::Platform,
            SimulatedDialect::Both => Self::Both,
        }
    }
}

/// What `simulate` can do beside running.
#[derive(Debug, Subcommand)]
pub(super) enum Simulated {
    /// Write a simulated past as OpenMetrics with timestamps, through the real pipeline
    #[command(after_help = "Example:\n  \
        genesys-cloud-exporter simulate history --hours 24 --output day.om\n  \
        promtool tsdb create-blocks-from openmetrics day.om /var/lib/prometheus\n\n\
        The same flags with the same --end give the same bytes. The day has shifts, an outage,\n\
        divergence and more; --faults none is a day without, and another plan is another day.\n\
        Exit status: 0 fine, 1 failed, 2 bad usage.")]
    History(HistoryFlags),
}

/// A day has shifts; a week is as much as a dashboard shows well, and bounds file and memory.
const HOURS_MAX: i64 = 24 * 7;

/// Agents whose history is written: beyond this a day takes an hour and its file many gigabytes.
const HISTORY_AGENTS_MAX: i64 = 10_000;

#[derive(Debug, Args)]
pub(super) struct HistoryFlags {
    /// How far back it begins
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=HOURS_MAX))]
    pub(super) hours: u32,
    /// The file; it appears when it is whole
    #[arg(long, value_name = "FILE")]
    pub(super) output: PathBuf,
    /// Distance of samples, as a scrape interval
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = step)]
    pub(super) step: Millis,
    /// The last sample, RFC 3339 [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    pub(super) end: Option<UnixMillis>,
    /// Simulated agents
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=HISTORY_AGENTS_MAX))]
    pub(super) agents: u32,
    /// Simulated queues
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=QUEUES_MAX))]
    pub(super) queues: u32,
    /// Seed: the same seed gives the same history
    #[arg(long, default_value_t = 42)]
    pub(super) seed: u64,
    /// What happens: day, none, or faults to inject; times count from the first sample
    #[arg(long, default_value = super::history::DAY)]
    pub(super) faults: String,
    /// Series of single agents too, as with metrics.per_agent: id
    #[arg(long)]
    pub(super) per_agent: bool,
    /// The label job
    #[arg(long, value_name = "TEXT", default_value = "genesys-cloud", value_parser = label)]
    pub(super) job: String,
    /// The label instance
    #[arg(long, value_name = "TEXT", default_value = crate::config::DEFAULT_LISTEN, value_parser = label)]
    pub(super) instance: String,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct SimulateFlags {
    #[command(subcommand)]
    pub(super) instead: Option<Simulated>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:10096")]
    pub(super) listen: SocketAddr,
    /// OAuth client id that may log in
    #[arg(long, value_name = "ID", default_value = "demo")]
    pub(super) client_id: String,
    /// Its secret: it opens the simulation and nothing else
    #[arg(long, value_name = "SECRET", default_value = "demo")]
    pub(super) client_secret: String,
    #[command(flatten)]
    pub(super) org: OrgFlags,
    /// Speed of life: 1 is a real contact centre, 20 is twenty times as fast
    #[arg(long, default_value = "1", value_parser = tempo)]
    pub(super) tempo: f64,
    /// No routing state is shorter than this
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = span)]
    pub(super) min_state: Millis,
    /// Part of the agents, 0 to 1, that now and then flap between states within seconds
    #[arg(long, value_name = "SHARE", default_value = "0.01")]
    pub(super) volatile_share: f64,
    /// Requests a token may make in a minute
    #[arg(long, value_name = "COUNT", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) requests_per_minute: u32,
    /// How long a token is valid
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = above_zero)]
    pub(super) token_lifetime: Millis,
    /// Entries of an agent's routing states, the current one included
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10))]
    pub(super) history: u32,
    /// How often the bulk snapshot's cache is refreshed; 0s: it is always fresh
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = span)]
    pub(super) cache_refresh: Millis,
    /// Wire formats spoken: of one that is not, every path is 404
    #[arg(long, value_name = "DIALECT", default_value = "both")]
    pub(super) dialect: SimulatedDialect,
    /// How long a notification channel lives unless its topics are set again
    #[arg(long, value_name = "DURATION", default_value = "1d", value_parser = above_zero)]
    pub(super) channel_lifetime: Millis,
    #[command(flatten)]
    pub(super) log: LogFlags,
}

/// RFC 3339, or a date.
fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(day) = text.parse() {
        return Ok(Moment::Day(day));
    }
    UnixMillis::parse(text).map(Moment::Instant).map_err(|_| {
        "give an instant from 1970 on such as 2026-05-14T08:30:00Z, or a date such as 2026-05-14"
            .to_owned()
    })
}

fn lengths(text: &str) -> Result<Lengths, String> {
    match text {
        "all" => Ok(Lengths::All),
        _ => above_zero(text).map(Lengths::Of),
    }
}

fn span(text: &str) -> Result<Millis, String> {
    duration::parse(text).map_err(|refusal| format!("{}; {}", refusal.what, refusal.hint))
}

/// Prometheus shows a sample for five minutes; what is scraped less often has holes. Timestamps are
/// whole seconds.
fn step(text: &str) -> Result<Millis, String> {
    match span(text)? {
        Millis(step) if step % 1_000 == 0 && (1_000..=300_000).contains(&step) => Ok(Millis(step)),
        _ => Err("give whole seconds from 1s to 5m".to_owned()),
    }
}

fn instant(text: &str) -> Result<UnixMillis, String> {
    let instant = UnixMillis::parse(text).map_err(|error| error.to_string())?;
    // A week of past must fit before it.
    match instant {
        UnixMillis(millis) if millis % 1_000 == 0 && millis > 30 * 86_400_000 => Ok(instant),
        _ => Err("give whole seconds, after January 1970, like 2026-05-14T00:00:00Z".to_owned()),
    }
}

/// Written into a file as it is.
fn label(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
    if text.is_empty() || text.len() > 200 || !text.chars().all(plain) {
        return Err(
            "give up to 200 printable characters without quotes and backslashes".to_owned(),
        );
    }
    Ok(text.to_owned())
}

fn above_zero(text: &str) -> Result<Millis, String> {
    match span(text)? {
        Millis(0) => Err("it must be greater than zero".to_owned()),
        duration => Ok(duration),
    }
}

/// The range of the simulator: beyond it every state would last milliseconds, or for ever.
fn tempo(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(tempo) if (0.01..=1_000.0).contains(&tempo) => Ok(tempo),
        _ => Err("give a number from 0.01 to 1000".to_owned()),
    }
}
