//! The file: every series with its samples in rising time, families together, as OpenMetrics
//! demands and `promtool tsdb create-blocks-from openmetrics` reads. Pure: it is given a writer.
//!
//! Names, labels and values are the page's own, by the page's renderer; what a scrape adds (the
//! labels `job` and `instance`, the series `up`) is added here.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::columns::Recording;
use super::world::HistoryOptions;
use crate::expose::{Format, Past, render_head, render_past};

/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 256 * 1024;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Lines with a sample.
    pub samples: u64,
    /// All bytes.
    pub bytes: u64,
}

/// Hands text on and counts it.
struct Pieces<'w> {
    text: String,
    out: &'w mut dyn Write,
    written: Written,
}

impl Pieces<'_> {
    fn hand_on(&mut self) -> io::Result<()> {
        let samples = self.text.lines().filter(|line| !line.starts_with('#'));
        self.written.samples += samples.count() as u64;
        self.written.bytes += self.text.len() as u64;
        self.out.write_all(self.text.as_bytes())?;
        self.text.clear();
        Ok(())
    }

    fn hand_on_if_large(&mut self) -> io::Result<()> {
        if self.text.len() < PIECE_BYTES {
            return Ok(());
        }
        self.hand_on()
    }
}

impl Recording {
    /// Writes all of it, ended by `# EOF`.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, options: &HistoryOptions, out: &mut dyn Write) -> io::Result<Written> {
        let added = [
            ("job", options.job.as_str()),
            ("instance", options.instance.as_str()),
        ];
        let mut pieces = Pieces {
            text: String::with_capacity(2 * PIECE_BYTES),
            out,
            written: Written::default(),
        };
        for (metric, series) in self.families() {
            render_head(metric, Format::OpenMetrics, &mut pieces.text);
            for run in series.flatten() {
                for scrape in run.scrapes.clone() {
                    let past = Past {
                        labels: &added,
                        at: options.scraped_at(scrape),
                    };
                    render_past(metric, &run.sample, &past, &mut pieces.text);
                    pieces.hand_on_if_large()?;
                }
            }
        }
        pieces
            .text
            .push_str("# HELP up The scrape succeeded.\n# TYPE up gauge\n");
        for scrape in 0..self.scrapes() {
            let at = options.scraped_at(scrape).as_secs_f64();
            let [(_, job), (_, instance)] = added;
            writeln!(
                pieces.text,
                "up{{job=\"{job}\",instance=\"{instance}\"}} 1 {at}"
            )
            .expect("writing to a string cannot fail");
        }
        pieces.text.push_str(Format::OpenMetrics.end());
        pieces.hand_on()?;
        Ok(pieces.written)
    }
}
