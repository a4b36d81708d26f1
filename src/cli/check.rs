//! `check config`: prints the effective configuration, or every mistake in it.
//!
//! Starts nothing and opens no socket. The configuration goes to `out` as YAML, so that it can
//! be redirected into a file; mistakes and warnings go to `err`.

use std::io::{self, Write};
use std::path::Path;

use crate::clock::SystemClock;
use crate::config::{Environment, load};
use crate::model::error::chain;

use super::Exit;
use super::run::protects;

/// Checks a file as `run` would read it, with the same environment.
///
/// # Errors
/// If `out` or `err` cannot be written.
pub fn config(
    file: &Path,
    environment: &Environment,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Exit> {
    match load(Some(file), environment, &[]) {
        Ok(loaded) => {
            if let Err(error) = protects(&loaded.config, SystemClock::new().now().wall) {
                writeln!(err, "error: {}", chain(&error))?;
                return Ok(Exit::Usage);
            }
            for warning in &loaded.warnings {
                writeln!(err, "warning: {warning}")?;
            }
            out.write_all(loaded.effective.to_yaml().as_bytes())?;
            writeln!(err, "{}: the configuration is valid", file.display())?;
            Ok(Exit::Fine)
        }
        Err(error) => {
            writeln!(err, "error: {error}")?;
            Ok(Exit::Usage)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, pairs: &[(&str, &str)]) -> (Exit, String, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yml");
        std::fs::write(&path, text).unwrap();
        let environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = config(&path, &environment, &mut out, &mut err).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (exit, text(out), text(err))
    }

    #[test]
    fn a_good_file_is_printed_without_its_secret() {
        let secret = [("GENESYSCLOUD_CLIENT_SECRET", "canary-s3cret")];
        let (exit, out, err) = check("source: { client_id: demo }\n", &secret);
        assert_eq!(exit, Exit::Fine);
        assert!(
            out.contains("client_id: \"demo\"") && out.contains("<redacted>"),
            "{out}"
        );
        assert!(!out.contains("canary") && !err.contains("canary"));
        assert!(
            err.ends_with("config.yml: the configuration is valid\n"),
            "{err}"
        );
    }

    #[test]
    fn mistakes_go_to_stderr_and_nothing_to_stdout() {
        let (exit, out, err) = check("pol: {}\nsource: { client_secret: canary-s3cret }\n", &[]);
        assert_eq!((exit, out.as_str()), (Exit::Usage, ""));
        assert!(
            err.starts_with("error: the configuration has 4 mistakes\n"),
            "{err}"
        );
        assert!(err.contains("config.yml:1:1: pol: unknown key; did you mean \"poll\"?"));
        assert!(!err.contains("canary"));
    }
}
