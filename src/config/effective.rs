//! The effective configuration as YAML: every setting, where it came from, secrets redacted.
//!
//! What is printed can be fed back: it reads as the same configuration, given the same secret.

// Writing to a String cannot fail, so its results are dropped.
use std::fmt::Write;

use super::finding::Place;
use super::raw::{Layer, REDACTED, RawValue};
use super::resolve::Origin;
use super::settings::{SETTINGS, Setting, Shape};
use super::sources::SOURCES;

/// What paths of an organisation's own settings begin with.
const SOURCE: &str = "source.";

/// What every setting came to be.
#[derive(Debug, Clone)]
pub struct Effective {
    layer: Layer,
    /// Of each organisation.
    origins: Vec<Origin>,
}

impl Effective {
    pub(super) fn new(layer: Layer, origins: Vec<Origin>) -> Self {
        Self { layer, origins }
    }

    /// The configuration as YAML. A setting that is not at its default says where it was given.
    pub fn to_yaml(&self) -> String {
        let mut out = String::from(
            "# The effective configuration: flag over environment over file over default.\n",
        );
        let mut open: Vec<&str> = Vec::new();
        for setting in SETTINGS {
            if setting.shape == Shape::Sources {
                open.clear();
                self.put_sources(&mut out);
                continue;
            }
            if self.listed().is_some() && setting.path.starts_with(SOURCE) {
                continue;
            }
            let mut sections: Vec<&str> = setting.path.split('.').collect();
            let key = sections.pop().unwrap_or_default();
            for (depth, section) in sections.iter().enumerate() {
                if open.get(..=depth) != sections.get(..=depth) {
                    let _ = writeln!(out, "{}{section}:", "  ".repeat(depth));
                }
            }
            let indent = "  ".repeat(sections.len());
            open = sections;
            let shown = value(&self.layer, &self.origins[0], setting);
            put(&mut out, &format!("{indent}{key}"), shown);
        }
        out
    }

    /// The list of organisations, each with the keys of the section `source`.
    fn put_sources(&self, out: &mut String) {
        let Some(items) = self.listed() else {
            out.push_str("sources: []\n");
            return;
        };
        out.push_str("sources:\n");
        for ((own, _), origin) in items.iter().zip(&self.origins) {
            let mut dash = "-";
            for (setting, key) in of_source() {
                put(out, &format!("  {dash} {key}"), value(own, origin, setting));
                dash = " ";
            }
        }
    }

    fn listed(&self) -> Option<&[(Layer, Place)]> {
        match self.layer.get(SOURCES).map(|raw| &raw.value) {
            Some(RawValue::Sources(items)) => Some(items),
            _ => None,
        }
    }

    /// A setting as it is, without where it came from; of a list of organisations, all of it.
    fn plain(&self, setting: &Setting) -> String {
        match (setting.shape, self.listed()) {
            (Shape::Sources, Some(items)) => {
                let each = items
                    .iter()
                    .zip(&self.origins)
                    .flat_map(|((own, _), origin)| {
                        of_source().map(move |(setting, _)| judged(own, origin, setting))
                    });
                each.collect::<Vec<_>>().join("\n")
            }
            _ => judged(&self.layer, &self.origins[0], setting),
        }
    }

    /// Paths of the settings that are not the same in `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        SETTINGS
            .iter()
            .filter(|setting| self.plain(setting) != other.plain(setting))
            .map(|setting| setting.path)
            .collect()
    }
}

/// Settings of the section `source`, each with its key there.
fn of_source() -> impl Iterator<Item = (&'static Setting, &'static str)> {
    SETTINGS
        .iter()
        .filter_map(|setting| Some((setting, setting.path.strip_prefix(SOURCE)?)))
}

fn put(out: &mut String, key: &str, (value, comment): (String, String)) {
    let _ = write!(out, "{key}: {value}");
    if !comment.is_empty() {
        let _ = write!(out, "  # {}", one_line(&comment));
    }
    out.push('\n');
}

/// What two configurations must agree on to be the same: of a secret, where it came from.
fn judged(layer: &Layer, origin: &Origin, setting: &Setting) -> String {
    match setting.shape {
        Shape::Secret => origin.secret.clone(),
        _ => value(layer, origin, setting).0,
    }
}

/// A setting's value and where it was given, if anywhere.
fn value(layer: &Layer, origin: &Origin, setting: &Setting) -> (String, String) {
    if setting.shape == Shape::Secret {
        return (scalar(REDACTED), format!("from {}", origin.secret));
    }
    if setting.path == "source.region" && origin.urls_given {
        return (scalar(""), "api_url and login_url are given".to_owned());
    }
    let raw = layer.get(setting.path);
    let comment = match raw.map(|raw| &raw.place) {
        None | Some(Place::Default) => String::new(),
        Some(place) => place.to_string(),
    };
    let one = |text: &str| match setting.shape {
        Shape::Plain => text.to_owned(),
        _ => scalar(text),
    };
    let value = match (setting.shape, raw.map(|raw| &raw.value)) {
        (_, Some(RawValue::Many(items))) => list(items.iter().map(|(text, _)| text.as_str())),
        (Shape::List, _) => list(setting.default.iter().copied()),
        (_, Some(RawValue::One(text))) => one(text),
        (_, _) => one(setting.default.first().copied().unwrap_or_default()),
    };
    (value, comment)
}

fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let items: Vec<String> = items.map(scalar).collect();
    format!("[{}]", items.join(", "))
}

/// Double-quoted YAML: all that is not plainly printable is escaped, so that no value can end
/// its line or hide.
fn scalar(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric() => out.push(c),
            c => {
                let _ = write!(out, "\\U{:08X}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_undone_by_the_parser() {
        for text in [
            "",
            "a\"b\\c",
            "l1\nl2\t\u{85}\u{feff}\u{202e}",
            "ü 日本 #: x",
            "\u{7f}\u{1F600}",
        ] {
            let yaml = format!("- {}\n", scalar(text));
            assert_eq!(yaml.lines().count(), 1);
            let read: Vec<String> = serde_saphyr::from_str(&yaml).unwrap();
            assert_eq!(read, [text]);
        }
    }
}
