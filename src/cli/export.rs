//! `export`: windows or events of the store in a file, for other tools.
//!
//! Reads beside a running exporter and never disturbs it; asks for no more of the configuration
//! than where rows are. On a terminal a bar shows how far it is.

use std::io::{self, IsTerminal as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;

use super::args;
use super::service::{self, ServiceError};
use super::unfinished::Unfinished;
use super::{Exit, UsageError, complain, print};
use crate::clock::SystemClock;
use crate::config::{Environment, RowsConfig, StoreKind, duration, load_rows};
use crate::export::{ExportError, ExportFormat, ExportProgress, Exported, RowWriter, Zone, copy};
use crate::journal::DatabaseError;
use crate::model::error::chain;
use crate::model::time::{Millis, UnixMillis};
use crate::store::{
    PostgresError, PostgresTables, SqliteTables, StoreSettings, Table, TableQuery, Tables,
};

/// Steps of the bar: more than a terminal is wide.
const STEPS: u64 = 1_000;

/// An instant as it can be typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Itself.
    Instant(UnixMillis),
    /// The beginning of a day.
    Day(NaiveDate),
}

impl Moment {
    fn in_zone(self, zone: Zone) -> Result<UnixMillis, UsageError> {
        match self {
            Self::Instant(at) => Ok(at),
            Self::Day(day) => zone.start_of(day).ok_or_else(|| UsageError {
                text: format!("error: {day} does not lie between 1970 and 9999"),
            }),
        }
    }
}

/// Which windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lengths {
    /// Of this length.
    Of(Millis),
    /// Of every length that there is, one after the other.
    All,
}

/// `export`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportArgs {
    /// The configuration file, from the flag or the environment.
    pub file: Option<PathBuf>,
    /// Whose, where the configuration lists several organisations.
    pub org: Option<String>,
    /// What to export.
    pub table: Table,
    /// Which windows; `None`: of the length that the configuration says.
    pub lengths: Option<Lengths>,
    /// The first instant.
    pub from: UnixMillis,
    /// The first that is left out; `None`: now.
    pub to: Option<UnixMillis>,
    /// Form of the file.
    pub format: ExportFormat,
    /// The file; `None`: standard output.
    pub output: Option<PathBuf>,
    /// The zone of instants in text.
    pub zone: Zone,
    /// Replaces the file if it is there.
    pub force: bool,
}

/// What was typed, judged as a whole.
pub(super) fn args(
    what: args::Export,
    environment: &Environment,
) -> Result<ExportArgs, UsageError> {
    let (table, flags, lengths) = match what {
        args::Export::Windows {
            flags,
            window_length,
        } => (Table::Window, flags, window_length),
        args::Export::Events { flags } => (Table::Event, flags, None),
    };
    let usage = |text: String| Err(UsageError { text });
    let zone = flags.timezone;
    let from = flags.from.in_zone(zone)?;
    let to = flags.to.map(|to| to.in_zone(zone)).transpose()?;
    if let Some(to) = to.filter(|to| from >= *to) {
        let (from, to) = (zone.text(from), zone.text(to));
        return usage(format!("error: --from ({from}) must be before --to ({to})"));
    }
    let output = Some(flags.output).filter(|output| output.as_os_str() != "-");
    if output.is_none() && flags.format == ExportFormat::Parquet {
        let text = "error: parquet does not go to standard output; name a file with --output";
        return usage(text.to_owned());
    }
    Ok(ExportArgs {
        file: super::file(flags.config_file, environment),
        org: flags.org,
        table,
        lengths,
        from,
        to,
        format: flags.format,
        output,
        zone,
        force: flags.force,
    })
}

/// Why rows cannot be read.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(
        "there is no store in {}; name the exporter's configuration with --config.file, and run this where its store.path leads to it",
        path.display()
    )]
    Missing { path: PathBuf },
    #[error("cannot open the store")]
    Sqlite(#[source] DatabaseError),
    #[error("cannot open the store")]
    Postgres(#[source] PostgresError),
}

/// Exports.
pub fn run(args: &ExportArgs, environment: &Environment) -> Exit {
    let rows = match load_rows(args.file.as_deref(), environment) {
        Ok(rows) => rows,
        Err(error) => {
            complain(&format_args!("error: {error}"));
            return Exit::Usage;
        }
    };
    let rows = match of(rows, args.org.as_deref()) {
        Ok(rows) => rows,
        Err(error) => {
            complain(&error);
            return Exit::Usage;
        }
    };
    let args = args.clone();
    service::run(async move {
        let stop = service::stop_signal()?;
        let work = move || export(&args, &rows, &stop);
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|error| ServiceError::Process {
            what: "the thread of the export",
            source: io::Error::other(error),
        })
    })
}

/// Where the rows of the organisation that was asked for are.
fn of(all: Vec<RowsConfig>, org: Option<&str>) -> Result<RowsConfig, UsageError> {
    let names: Vec<_> = all.iter().map(|rows| rows.pipeline.org.clone()).collect();
    let names = names.join(", ");
    let several = all.len() > 1;
    let mut wanted = all
        .into_iter()
        .filter(|rows| org.is_none_or(|org| rows.pipeline.org == org));
    let text = match (wanted.next(), org) {
        (Some(rows), Some(_)) => return Ok(rows),
        (Some(rows), None) if !several => return Ok(rows),
        (_, None) => format!("error: the configuration lists {names}; say which by --org"),
        (None, Some(_)) => format!("error: --org is none of the configuration's: {names}"),
    };
    Err(UsageError { text })
}

/// Within a runtime.
fn open(rows: &RowsConfig, clock: SystemClock) -> Result<Box<dyn Tables>, OpenError> {
    let settings = StoreSettings::of(&rows.pipeline);
    match &rows.kind {
        StoreKind::Sqlite if !SqliteTables::are_in(&rows.path) => Err(OpenError::Missing {
            path: rows.path.clone(),
        }),
        StoreKind::Sqlite => match SqliteTables::open(&rows.path, &settings.org) {
            Ok(tables) => Ok(Box::new(tables)),
            Err(error) => Err(OpenError::Sqlite(error)),
        },
        StoreKind::Postgres(server) => match PostgresTables::new(server, &settings, clock) {
            Ok(tables) => Ok(Box::new(tables)),
            Err(error) => Err(OpenError::Postgres(error)),
        },
    }
}

fn fail(what: &dyn std::fmt::Display) -> Exit {
    complain(&format_args!("error: {what}"));
    Exit::Failed
}

fn export(args: &ExportArgs, rows: &RowsConfig, stop: &watch::Receiver<bool>) -> Exit {
    let clock = SystemClock::new();
    let to = args.to.unwrap_or(clock.now().wall);
    let mut tables = match open(rows, clock) {
        Ok(tables) => tables,
        Err(error) => return fail(&chain(&error)),
    };
    let asked = TableQuery {
        table: args.table,
        from: args.from,
        to,
        window_length: rows.pipeline.window.length,
    };
    let mut export = Export {
        args,
        asked,
        stop,
        bar: bar(args.output.is_none()),
        exported: Exported::default(),
    };
    let ended = match &args.output {
        Some(output) => export.at_its_place(&mut *tables, output),
        None => export.on_stdout(&mut *tables),
    };
    export.bar.finish_and_clear();
    export.tell(ended)
}

/// One line on the terminal, drawn in place, if somebody looks and rows do not go there.
fn bar(to_stdout: bool) -> ProgressBar {
    if to_stdout && io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}  {eta} left");
    // To standard error, and nowhere if that is no terminal.
    ProgressBar::new(STEPS).with_style(style.expect("the template is one"))
}

/// An export under way.
struct Export<'a> {
    args: &'a ExportArgs,
    asked: TableQuery,
    stop: &'a watch::Receiver<bool>,
    bar: ProgressBar,
    exported: Exported,
}

/// Why there is no file, or not all of it.
enum End {
    /// It stands where it should.
    Whole,
    /// Nobody reads on: no failure of ours.
    Unread,
    Failed(String),
}

impl Export<'_> {
    fn at_its_place(&mut self, tables: &mut dyn Tables, output: &Path) -> End {
        let refuse = |error: &io::Error| {
            let remedy = match error.kind() {
                io::ErrorKind::AlreadyExists => "replace it with --force, or choose another place",
                _ => "choose another place with --output",
            };
            let output = output.display();
            End::Failed(format!("cannot write {output}: {error}; {remedy}"))
        };
        let unfinished = match Unfinished::new(output, self.args.force) {
            Ok(unfinished) => unfinished,
            Err(error) => return refuse(&error),
        };
        let (format, zone) = (self.args.format, self.args.zone);
        let written = format
            .writer(self.args.table, zone, &unfinished.file)
            .map_err(ExportError::Write)
            .and_then(|writer| self.all(tables, writer));
        match written.map(|()| unfinished.finish()) {
            Ok(Ok(())) => End::Whole,
            Ok(Err(error)) | Err(ExportError::Write(error)) => refuse(&error),
            Err(error) => End::Failed(chain(&error)),
        }
    }

    fn on_stdout(&mut self, tables: &mut dyn Tables) -> End {
        let (format, zone) = (self.args.format, self.args.zone);
        let written = format
            .writer(self.args.table, zone, io::stdout())
            .map_err(ExportError::Write)
            .and_then(|writer| self.all(tables, writer));
        match written {
            Ok(()) => End::Whole,
            Err(ExportError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                End::Unread
            }
            Err(error) => End::Failed(chain(&error)),
        }
    }

    /// All rows of all lengths.
    fn all(
        &mut self,
        tables: &mut dyn Tables,
        mut writer: Box<dyn RowWriter + '_>,
    ) -> Result<(), ExportError> {
        let lengths = self.lengths(tables)?;
        let (from, to) = (self.asked.from, self.asked.to);
        let count = lengths.len() as u64;
        for (done, window_length) in (0..).zip(lengths) {
            let asked = TableQuery {
                window_length,
                ..self.asked
            };
            let mut watch = |progress: ExportProgress| {
                let reached = progress.reached.unwrap_or(from);
                let part = (reached - from).0 as f64 / (to - from).0 as f64;
                let step = (STEPS as f64 * part.clamp(0.0, 1.0)) as u64;
                self.bar.set_message(format!("{} rows", progress.rows));
                self.bar.set_position((STEPS * done + step) / count);
                if *self.stop.borrow() {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            };
            let scan = &mut *tables.scan(asked);
            copy(scan, &mut *writer, &mut self.exported, &mut watch)?;
        }
        writer.finish().map_err(ExportError::Write)
    }

    /// The lengths of windows to go through; of events there is one pass.
    fn lengths(&self, tables: &mut dyn Tables) -> Result<Vec<Millis>, ExportError> {
        if self.args.table == Table::Event {
            return Ok(vec![self.asked.window_length]);
        }
        let there = tables.window_lengths().map_err(ExportError::Read)?;
        let wanted = match self.args.lengths {
            Some(Lengths::All) => return Ok(there),
            Some(Lengths::Of(length)) => length,
            None => self.asked.window_length,
        };
        let others = there.into_iter().filter(|length| *length != wanted);
        let others: Vec<String> = others.map(duration::text).collect();
        if self.args.lengths.is_none() && !others.is_empty() {
            self.bar.suspend(|| {
                complain(&format_args!(
                    "windows of {} are exported; there are also some of {} (--window-length)",
                    duration::text(wanted),
                    others.join(", ")
                ));
            });
        }
        Ok(vec![wanted])
    }

    /// Says how it ended.
    fn tell(&self, end: End) -> Exit {
        let Exported { rows, damaged } = self.exported;
        if let End::Failed(why) = end {
            return fail(&why);
        }
        if let (End::Whole, Some(output)) = (end, &self.args.output) {
            let what = match self.args.table {
                Table::Event => "events",
                Table::Window => "windows",
            };
            print(&format!("{}: {rows} {what}", output.display()));
        }
        if damaged > 0 {
            return fail(&format_args!(
                "{damaged} rows are damaged (their checksums do not hold) and were left out; a \
                 running exporter sets such rows aside and makes windows again from events"
            ));
        }
        Exit::Fine
    }
}
