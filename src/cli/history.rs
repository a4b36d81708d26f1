//! `simulate history`: a simulated past in a file, for `promtool tsdb create-blocks-from openmetrics`.

use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::args::HistoryFlags;
use super::service::{self, Scratch, ServiceError};
use super::unfinished::Unfinished;
use super::{Exit, complain, print};
use crate::clock::SystemClock;
use crate::history::{HistoryOptions, Progress, Recording, Script, Written, record};
use crate::model::error::chain;
use crate::model::time::{Millis, UnixMillis};
use crate::simulator::faults::FaultError;
use crate::simulator::org::OrgSpec;

const INFALLIBLE: &str = "writing to a string cannot fail";

/// The word that stands for the day that comes with the exporter.
pub const DAY: &str = "day";

/// `simulate history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryArgs {
    /// How far back it begins.
    pub hours: u32,
    /// The file.
    pub output: PathBuf,
    /// Distance of samples.
    pub step: Millis,
    /// The last sample; `None`: now.
    pub end: Option<UnixMillis>,
    /// Simulated agents.
    pub agents: u32,
    /// Simulated queues.
    pub queues: u32,
    /// Decides everything.
    pub seed: u64,
    /// [`DAY`], or a plan of faults.
    pub faults: String,
    /// Whether single agents have series.
    pub per_agent: bool,
    /// The label `job`.
    pub job: String,
    /// The label `instance`.
    pub instance: String,
}

impl From<HistoryFlags> for HistoryArgs {
    fn from(flags: HistoryFlags) -> Self {
        Self {
            hours: flags.hours,
            output: flags.output,
            step: flags.step,
            end: flags.end,
            agents: flags.agents,
            queues: flags.queues,
            seed: flags.seed,
            faults: flags.faults,
            per_agent: flags.per_agent,
            job: flags.job,
            instance: flags.instance,
        }
    }
}

impl HistoryArgs {
    /// What past to make up.
    ///
    /// # Errors
    /// If the faults are no plan.
    pub fn options(&self, now: UnixMillis) -> Result<HistoryOptions, FaultError> {
        let scrapes = i64::from(self.hours) * 3_600_000 / self.step.0;
        let span = Millis(scrapes * self.step.0);
        Ok(HistoryOptions {
            org: OrgSpec::new(self.agents, self.queues, self.seed),
            script: match &*self.faults {
                DAY => Script::day(span),
                faults => Script::of(faults)?,
            },
            end: self.end.unwrap_or_else(|| now.floor(self.step)),
            step: self.step,
            scrapes: u32::try_from(scrapes).expect("a week has fewer seconds"),
            per_agent: self.per_agent,
            job: self.job.clone(),
            instance: self.instance.clone(),
        })
    }
}

/// Makes up the past and writes it.
pub fn run(args: &HistoryArgs) -> Exit {
    let options = match args.options(SystemClock::new().now().wall) {
        Ok(options) => options,
        Err(error) => {
            complain(&format_args!("--faults: {error}; or {DAY}"));
            return Exit::Usage;
        }
    };
    // Before minutes of work, not after them.
    if let Err(error) = Unfinished::new(&args.output, true) {
        return refuse(&args.output, &error);
    }
    let output = args.output.clone();
    service::run(async move {
        let stop = service::stop_signal()?;
        let work = move || write_history(&options, &output, &stop);
        let ended = tokio::task::spawn_blocking(work).await;
        ended.map_err(|error| ServiceError::Process {
            what: "the thread of the simulation",
            source: io::Error::other(error),
        })
    })
}

fn refuse(output: &Path, error: &io::Error) -> Exit {
    complain(&format_args!(
        "error: cannot write {}: {error}; choose another place with --output",
        output.display()
    ));
    Exit::Failed
}

fn write_history(options: &HistoryOptions, output: &Path, stop: &watch::Receiver<bool>) -> Exit {
    let scratch = Scratch::new("history");
    let mut line = Line::default();
    let recording = record(options, &scratch.0, &mut |progress| {
        line.draw(progress);
        if *stop.borrow() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    line.clear();
    let recording = match recording {
        Ok(recording) => recording,
        Err(error) => {
            complain(&format_args!("error: {}", chain(&error)));
            return Exit::Failed;
        }
    };
    match write_whole(options, &recording, output) {
        Ok(written) => {
            print(&told(options, &recording, written, output));
            Exit::Fine
        }
        Err(error) => refuse(output, &error),
    }
}

/// The file is there whole or not at all.
fn write_whole(
    options: &HistoryOptions,
    recording: &Recording,
    output: &Path,
) -> io::Result<Written> {
    let unfinished = Unfinished::new(output, true)?;
    let mut out = BufWriter::new(&unfinished.file);
    let written = recording.write(options, &mut out)?;
    out.flush()?;
    drop(out);
    unfinished.finish()?;
    Ok(written)
}

fn told(
    options: &HistoryOptions,
    recording: &Recording,
    written: Written,
    output: &Path,
) -> String {
    let first = options.scraped_at(0);
    let mut text = format!(
        "{}: {} samples of {} series (a histogram is one), {first} to {}, {} MB\n",
        output.display(),
        written.samples,
        recording.series(),
        options.end,
        written.bytes / 1_000_000,
    );
    for (at, lasts, says) in &options.script.told {
        let begins = options.end - options.span() + *at;
        let minutes = lasts.0 / 60_000;
        writeln!(text, "  {begins}  {minutes:>4} min  {says}").expect(INFALLIBLE);
    }
    write!(
        text,
        "promtool tsdb create-blocks-from openmetrics {} DIRECTORY",
        output.display()
    )
    .expect(INFALLIBLE);
    text
}

/// One line on the terminal, drawn in place, if somebody looks.
#[derive(Default)]
struct Line {
    percent: Option<u32>,
}

impl Line {
    fn draw(&mut self, progress: Progress) {
        let percent = progress.done * 100 / progress.of.max(1);
        if self.percent == Some(percent) || !io::stderr().is_terminal() {
            return;
        }
        self.percent = Some(percent);
        // A terminal that has gone away is no reason to end.
        let _ = write!(io::stderr(), "\r{percent:3} %  {}", progress.at);
        let _ = io::stderr().flush();
    }

    fn clear(&mut self) {
        if self.percent.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
