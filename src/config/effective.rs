//! The effective configuration as YAML: every setting, where it came from, secrets redacted.
//!
//! What is printed can be fed back: it reads as the same configuration, given the same secret.

// Writing to a String cannot fail, so its results are dropped.
use std::fmt::Write;

use super::finding::Place;
use super::raw::{Layer, REDACTED, RawValue};
use super::settings::{SETTINGS, Setting, Shape};

/// What every setting came to be.
#[derive(Debug, Clone)]
pub struct Effective {
    layer: Layer,
    secret_origin: String,
    urls_given: bool,
}

impl Effective {
    pub(super) fn new(layer: Layer, secret_origin: String, urls_given: bool) -> Self {
        Self {
            layer,
            secret_origin,
            urls_given,
        }
    }

    /// The configuration as YAML. A setting that is not at its default says where it was given.
    pub fn to_yaml(&self) -> String {
        let mut out = String::from(
            "# The effective configuration: flag over environment over file over default.\n",
        );
        let mut open: Vec<&str> = Vec::new();
        for setting in SETTINGS {
            let mut sections: Vec<&str> = setting.path.split('.').collect();
            let key = sections.pop().unwrap_or_default();
            for (depth, section) in sections.iter().enumerate() {
                if open.get(..=depth) != sections.get(..=depth) {
                    let _ = writeln!(out, "{}{section}:", "  ".repeat(depth));
                }
            }
            let indent = "  ".repeat(sections.len());
            open = sections;
            let (value, comment) = self.value(setting);
            let _ = write!(out, "{indent}{key}: {value}");
            if !comment.is_empty() {
                let _ = write!(out, "  # {}", one_line(&comment));
            }
            out.push('\n');
        }
        out
    }

    /// Paths of the settings that are not the same in `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = |setting: &&Setting| self.value(setting).0 != other.value(setting).0;
        let secret = |setting: &&Setting| {
            setting.shape == Shape::Secret && self.secret_origin != other.secret_origin
        };
        SETTINGS
            .iter()
            .filter(|setting| differs(setting) || secret(setting))
            .map(|setting| setting.path)
            .collect()
    }

    fn value(&self, setting: &Setting) -> (String, String) {
        if setting.shape == Shape::Secret {
            let origin = format!("from {}", self.secret_origin);
            return (scalar(REDACTED), origin);
        }
        if setting.path == "source.region" && self.urls_given {
            return (scalar(""), "api_url and login_url are given".to_owned());
        }
        let raw = self.layer.get(setting.path);
        let comment = match raw.map(|raw| &raw.place) {
            None | Some(Place::Default) => String::new(),
            Some(place) => place.to_string(),
        };
        let one = |text: &str| match setting.shape {
            Shape::Plain => text.to_owned(),
            _ => scalar(text),
        };
        let value = match (setting.shape, raw.map(|raw| &raw.value)) {
            (Shape::Foreign, _) => "[]".to_owned(),
            (_, Some(RawValue::Many(items))) => list(items.iter().map(|(text, _)| text.as_str())),
            (Shape::List, _) => list(setting.default.iter().copied()),
            (_, Some(RawValue::One(text))) => one(text),
            (_, _) => one(setting.default.first().copied().unwrap_or_default()),
        };
        (value, comment)
    }
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
