//! Where the client secret comes from: systemd's credentials, a file, the environment.
//!
//! In this order, so that the safest place wins. The secret is never quoted, never compared,
//! never kept as a plain string. This is the one part of the configuration that reads files
//! named by settings; the files of `otlp` and of the web configuration are read by it too.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::finding::{Finding, Place, Refusal, quoted};
use super::layers::{Environment, SECRET_VARIABLE, secret_variable_of, variable};
use super::settings::setting;

/// Key of the secret in messages.
const KEY: &str = "source.client_secret";

/// Longest secret read. Real ones have some 40 bytes; a longer file is the wrong file.
const SECRET_BYTES_MAX: usize = 4 * 1024;

/// Name of the credential in `$CREDENTIALS_DIRECTORY`.
const CREDENTIAL: &str = "client_secret";

/// What file to name.
const HINT: &str = "name a readable file that holds only the secret";

/// A secret and where it was found, in words.
#[derive(Debug)]
pub(super) struct Found {
    /// The secret.
    pub(super) secret: SecretString,
    /// For the effective configuration.
    pub(super) origin: String,
    /// The file that holds it, to be read again at each login.
    pub(super) file: Option<PathBuf>,
}

/// Looks for the secret. `file`: `source.client_secret_file` and where that was given. `listed`: the
/// organisation among several whose secret it is, and where it stands.
pub(super) fn find(
    environment: &Environment,
    file: Option<(&str, Place)>,
    listed: Option<(&str, &Place)>,
    mistakes: &mut Vec<Finding>,
    warnings: &mut Vec<Finding>,
) -> Option<Found> {
    let mut sources: Vec<Source> = Vec::new();
    let credential = match listed {
        Some((name, _)) => format!("{CREDENTIAL}_{name}"),
        None => CREDENTIAL.to_owned(),
    };
    if let Some(directory) = variable(environment, "CREDENTIALS_DIRECTORY") {
        let path = Path::new(directory).join(&credential);
        if path.exists() {
            sources.push(Source {
                name: format!("$CREDENTIALS_DIRECTORY/{credential}"),
                place: Place::Environment("CREDENTIALS_DIRECTORY".to_owned()),
                kept: Kept::InFile(path.display().to_string()),
            });
        }
    }
    if let Some((path, place)) = file {
        sources.push(Source {
            name: "source.client_secret_file".to_owned(),
            place,
            kept: Kept::InFile(path.to_owned()),
        });
    }
    let by_rule = setting(KEY).expect("the secret is in the table").variable();
    let variables = match listed {
        Some((name, _)) => vec![secret_variable_of(name)],
        None => vec![SECRET_VARIABLE.to_owned(), by_rule],
    };
    if listed.is_some() {
        warn_of_the_only_variable(environment, warnings);
    }
    let hint = format!(
        "name a file in source.client_secret_file, or set {}",
        variables[0]
    );
    for name in variables {
        if let Some(value) = variable(environment, &name) {
            sources.push(Source {
                place: Place::Environment(name.clone()),
                name,
                kept: Kept::Here(SecretString::from(value)),
            });
        }
    }
    let mut sources = sources.into_iter();
    let Some(first) = sources.next() else {
        let refusal = Refusal::new("the client secret is missing", hint);
        let place = listed.map_or(Place::Default, |(_, place)| place.clone());
        mistakes.push(Finding::new(place, KEY, refusal));
        return None;
    };
    for ignored in sources {
        let what = format!("the secret is given twice: {} is used", first.name);
        let hint = format!("remove {}", ignored.name);
        warnings.push(Finding::new(ignored.place, KEY, Refusal::new(what, hint)));
    }
    match first.read(warnings) {
        Ok(secret) => Some(Found {
            secret,
            origin: first.name,
            file: match first.kept {
                Kept::InFile(path) => Some(PathBuf::from(path)),
                Kept::Here(_) => None,
            },
        }),
        Err(refusal) => {
            mistakes.push(Finding::new(first.place, KEY, refusal));
            None
        }
    }
}

/// The variable of an only organisation is nobody's among several.
fn warn_of_the_only_variable(environment: &Environment, warnings: &mut Vec<Finding>) {
    if variable(environment, SECRET_VARIABLE).is_some() {
        let refusal = Refusal::new(
            "has no effect beside sources",
            "each organisation has a variable of its own, such as GENESYSCLOUD_CLIENT_SECRET_NORTH",
        );
        let place = Place::Environment(SECRET_VARIABLE.to_owned());
        warnings.push(Finding::new(place, KEY, refusal));
    }
}

/// Reads the secret's file again: it may have been replaced since.
///
/// # Errors
/// What is wrong with the file; nothing of it is repeated.
pub fn read_again(path: &Path) -> Result<SecretString, Refusal> {
    let (text, _) = read_file(path, SECRET_BYTES_MAX, HINT)?;
    judge(&text)
}

struct Source {
    name: String,
    place: Place,
    kept: Kept,
}

enum Kept {
    InFile(String),
    Here(SecretString),
}

impl Source {
    fn read(&self, warnings: &mut Vec<Finding>) -> Result<SecretString, Refusal> {
        let text = match &self.kept {
            Kept::Here(text) => text.clone(),
            Kept::InFile(path) => {
                let (text, loose) = read_file(Path::new(path), SECRET_BYTES_MAX, HINT)?;
                if loose {
                    let what = format!("{} can be read by others than its owner", quoted(path));
                    let refusal = Refusal::new(what, "chmod 0400 it");
                    warnings.push(Finding::new(self.place.clone(), KEY, refusal));
                }
                text
            }
        };
        judge(&text)
    }
}

/// A file's text, and whether group or others may read it. `hint` says what file to name.
pub(super) fn read_file(
    path: &Path,
    bytes_max: usize,
    hint: &str,
) -> Result<(SecretString, bool), Refusal> {
    let refuse = |what: &str| {
        let name = quoted(&path.display().to_string());
        Refusal::new(format!("{name} {what}"), hint)
    };
    let unreadable = |error: &std::io::Error| refuse(&format!("cannot be read: {}", error.kind()));
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let loose = is_loose(&file);
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(&error))?;
    if bytes.len() > bytes_max {
        return Err(refuse(&format!("is longer than {bytes_max} bytes")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok((SecretString::from(text), loose)),
        Err(_) => Err(refuse("is not UTF-8 text")),
    }
}

#[cfg(unix)]
fn is_loose(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    // Where /proc does not tell who we are, every file counts as ours.
    let us = std::fs::metadata("/proc/self").map(|process| process.uid());
    file.metadata().is_ok_and(|metadata| {
        let ours = us.map_or(true, |us| us == metadata.uid());
        metadata.is_file() && lets_others_read(metadata.mode(), ours)
    })
}

/// A file that is not ours is read by the rights of its group: so Kubernetes hands out secrets, and
/// systemd, which shows the mask of an access list there.
#[cfg(unix)]
fn lets_others_read(mode: u32, ours: bool) -> bool {
    let others = if ours { 0o044 } else { 0o004 };
    mode & others != 0
}

#[cfg(not(unix))]
fn is_loose(_file: &File) -> bool {
    false
}

/// One trailing newline is the editor's; anything else that cannot be seen is a mistake.
fn judge(text: &SecretString) -> Result<SecretString, Refusal> {
    use secrecy::ExposeSecret;
    let text = text.expose_secret();
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    let what = if text.is_empty() {
        "the client secret is empty"
    } else if text.len() > SECRET_BYTES_MAX {
        "the client secret is longer than 4096 bytes"
    } else if text.chars().any(char::is_control) {
        "the client secret holds control characters or several lines"
    } else {
        return Ok(SecretString::from(text));
    };
    Err(Refusal::new(what, "give the secret alone, on one line"))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    type Outcome = (Option<(String, String)>, Vec<String>, Vec<String>);

    fn look(pairs: &[(&str, &str)], file: Option<&Path>) -> Outcome {
        let environment = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
        let path = file.map(|path| path.display().to_string());
        let file = path.as_deref().map(|path| (path, Place::Default));
        let found = find(&environment, file, None, &mut mistakes, &mut warnings)
            .map(|found| (found.secret.expose_secret().to_owned(), found.origin));
        let words = |list: Vec<Finding>| list.iter().map(ToString::to_string).collect();
        (found, words(mistakes), words(warnings))
    }

    fn write(directory: &tempfile::TempDir, name: &str, bytes: &[u8]) -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        }
        path
    }

    #[test]
    fn the_safest_place_wins_and_the_others_are_named() {
        let directory = tempfile::tempdir().unwrap();
        write(&directory, CREDENTIAL, b"from-systemd\n");
        let file = write(&directory, "other", b"from-file\n\n");
        let credentials = directory.path().to_str().unwrap();
        let all = [
            ("CREDENTIALS_DIRECTORY", credentials),
            ("GENESYSCLOUD_CLIENT_SECRET", "from-environment"),
        ];
        let (found, mistakes, warnings) = look(&all, Some(&file));
        assert_eq!(found.unwrap().0, "from-systemd");
        assert!(mistakes.is_empty());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("remove source.client_secret_file"));

        let (found, mistakes, _) = look(&all[1..], Some(&file));
        assert_eq!(found, None, "only one newline is trimmed");
        assert!(mistakes[0].contains("several lines") && !mistakes[0].contains("from-file"));

        let (found, ..) = look(&all[1..], None);
        assert_eq!(found.unwrap().1, "GENESYSCLOUD_CLIENT_SECRET");
        let (found, ..) = look(&[("GENESYSCLOUD_SOURCE_CLIENT_SECRET", "by-rule")], None);
        assert_eq!(found.unwrap().0, "by-rule");
    }

    #[test]
    fn files_that_cannot_be_a_secret_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes, why) in [
            ("long", vec![b'x'; SECRET_BYTES_MAX + 1], "longer than 4096"),
            ("binary", vec![0xff, 0xfe], "not UTF-8"),
            ("empty", b"\n".to_vec(), "is empty"),
        ] {
            let (found, mistakes, _) = look(&[], Some(&write(&directory, name, &bytes)));
            assert!(found.is_none() && mistakes[0].contains(why), "{mistakes:?}");
        }
        let (_, mistakes, _) = look(&[], Some(&directory.path().join("missing")));
        assert!(mistakes[0].contains("cannot be read"), "{mistakes:?}");
        let (_, mistakes, _) = look(&[], None);
        assert!(mistakes[0].contains("is missing"), "{mistakes:?}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_warned_of() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let path = write(&directory, "loose", b"s3cret");
        for (mode, warned) in [(0o440, 1), (0o604, 1), (0o600, 0)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let (found, _, warnings) = look(&[], Some(&path));
            assert_eq!(
                (found.unwrap().0.as_str(), warnings.len()),
                ("s3cret", warned)
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_group_may_read_what_belongs_to_somebody_else() {
        for (mode, ours, loose) in [
            (0o440, true, true),
            (0o440, false, false),
            (0o444, false, true),
            (0o404, true, true),
            (0o400, true, false),
        ] {
            assert_eq!(lets_others_read(mode, ours), loose, "{mode:o} {ours}");
        }
    }
}
