//! One event as one line: logfmt as `ts=… level=… msg=… key=value`, or a JSON object.
//!
//! Pure. Values are cut and escaped here: no value can begin a second line, forge a field, turn
//! the direction of writing or fill a disk.

use std::fmt::{self, Write};

use crate::model::time::UnixMillis;

/// Longest value of a field. Upstream texts end here.
pub const VALUE_BYTES_MAX: usize = 256;

/// Longest message. Messages are ours and say what to do, so they may be longer than values.
pub const MESSAGE_BYTES_MAX: usize = 1_024;

/// Most fields of a line; ours have fewer than ten.
const FIELDS_MAX: usize = 32;

/// Ends a text that was cut.
const CUT: &str = "…";

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number or switch: written as it is.
    Bare(String),
    /// A text: cut and escaped.
    Text(String),
}

impl Value {
    /// A text of bounded length.
    pub fn text(text: &str) -> Self {
        // The message's limit is the larger one; fields are cut further when put.
        Self::Text(cut(text, MESSAGE_BYTES_MAX))
    }

    /// What `Debug` writes, up to the limit: a structure of any size costs no more.
    pub fn debug(value: &dyn fmt::Debug) -> Self {
        let mut text = Bounded(String::new());
        // An error means only that the limit was reached.
        let _ = write!(text, "{value:?}");
        Self::text(&text.0)
    }
}

/// A writer that stops at just above the limit, so that `cut` marks the cut.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let left = (MESSAGE_BYTES_MAX + 8).saturating_sub(self.0.len());
        self.0.push_str(&text[..text.floor_char_boundary(left)]);
        if text.len() > left {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// A line in the making.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    message: String,
    fields: Vec<(String, Value)>,
}

impl Line {
    /// Adds a field; the one called `message` is the message.
    pub fn put(&mut self, name: &str, value: Value) {
        let (Value::Text(text) | Value::Bare(text)) = &value;
        if name == "message" {
            self.message = cut(text, MESSAGE_BYTES_MAX);
            return;
        }
        if self.fields.len() >= FIELDS_MAX {
            return;
        }
        let value = match value {
            Value::Text(text) => Value::Text(cut(&text, VALUE_BYTES_MAX)),
            bare @ Value::Bare(_) => bare,
        };
        self.fields.push((key(name), value));
    }

    /// The field `kind`, if there is one.
    pub fn kind(&self) -> Option<&str> {
        self.fields.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == "kind" => Some(text.as_str()),
            _ => None,
        })
    }

    /// The line in logfmt, without a newline.
    pub fn logfmt(
        &self,
        at: UnixMillis,
        level: &str,
        target: Option<&str>,
        suppressed: u64,
    ) -> String {
        let mut out = format!("ts={at} level={level} msg={}", logfmt_text(&self.message));
        for (name, value) in self.all(target, suppressed) {
            out.push(' ');
            out.push_str(&name);
            out.push('=');
            match value {
                Value::Bare(text) => out.push_str(&text),
                Value::Text(text) => out.push_str(&logfmt_text(&text)),
            }
        }
        out
    }

    /// The line as a JSON object, without a newline.
    pub fn json(
        &self,
        at: UnixMillis,
        level: &str,
        target: Option<&str>,
        suppressed: u64,
    ) -> String {
        let message = quote(&self.message);
        let mut out = format!("{{\"ts\":\"{at}\",\"level\":\"{level}\",\"msg\":{message}");
        for (name, value) in self.all(target, suppressed) {
            out.push_str(",\"");
            out.push_str(&name);
            out.push_str("\":");
            match value {
                Value::Bare(text) => out.push_str(&text),
                Value::Text(text) => out.push_str(&quote(&text)),
            }
        }
        out.push('}');
        out
    }

    /// Fields with unique names: the first of a name keeps it, so nothing forges what is ours.
    fn all(&self, target: Option<&str>, suppressed: u64) -> Vec<(String, Value)> {
        let mut all: Vec<(String, Value)> = Vec::new();
        if let Some(target) = target {
            let target = Value::Text(cut(target, VALUE_BYTES_MAX));
            all.push(("target".to_owned(), target));
        }
        if suppressed > 0 {
            let count = Value::Bare(suppressed.to_string());
            all.push(("suppressed".to_owned(), count));
        }
        for (name, value) in &self.fields {
            let taken = ["ts", "level", "msg", "suppressed", "target"].contains(&name.as_str())
                || all.iter().any(|(other, _)| other == name);
            if !taken {
                all.push((name.clone(), value.clone()));
            }
        }
        all
    }
}

/// The name of a field as both formats can write it.
fn key(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let name: String = name
        .chars()
        .take(64)
        .map(|c| if fits(c) { c } else { '_' })
        .collect();
    if name.is_empty() {
        "_".to_owned()
    } else {
        name
    }
}

/// `text` of at most `bytes` bytes, the mark of the cut included.
fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes - CUT.len());
    format!("{}{CUT}", &text[..end])
}

/// Bare if nothing in it could be misread, else quoted.
fn logfmt_text(text: &str) -> String {
    let safe = |c: char| (c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\')) || is_letter(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_owned();
    }
    quote(text)
}

/// In quotes, by JSON's rules; also escapes what changes how a terminal shows the rest.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == ' ' || c.is_ascii_graphic() || is_letter(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

/// Letters and digits of any script, and the mark of a cut. Everything else beyond ASCII
/// (direction marks, line separators, blanks of no width) is escaped.
fn is_letter(c: char) -> bool {
    !c.is_ascii() && (c.is_alphanumeric() || CUT.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str, fields: &[(&str, &str)]) -> Line {
        let mut line = Line::default();
        line.put("message", Value::text(message));
        for (name, value) in fields {
            line.put(name, Value::text(value));
        }
        line
    }

    const AT: UnixMillis = UnixMillis(1_715_675_400_123);

    #[test]
    fn logfmt_is_plain_where_it_can_be() {
        let mut line = line(
            "snapshot accepted",
            &[("queue", "Sales_US"), ("note", "a b")],
        );
        line.put("agents", Value::Bare("500".to_owned()));
        assert_eq!(
            line.logfmt(AT, "info", None, 0),
            "ts=2024-05-14T08:30:00.123Z level=info msg=\"snapshot accepted\" queue=Sales_US \
             note=\"a b\" agents=500"
        );
        assert_eq!(
            line.json(AT, "info", Some("hyper"), 7),
            "{\"ts\":\"2024-05-14T08:30:00.123Z\",\"level\":\"info\",\"msg\":\"snapshot accepted\",\
             \"target\":\"hyper\",\"suppressed\":7,\"queue\":\"Sales_US\",\"note\":\"a b\",\"agents\":500}"
        );
    }

    #[test]
    fn no_value_begins_a_line_or_forges_a_field() {
        let evil = "x\r\nts=1 level=error\u{2028}\u{202e}\u{85}\u{1b}[2J\" a=\\";
        let line = line(
            evil,
            &[
                ("k", evil),
                ("level", "forged"),
                ("k", "again"),
                ("a b=c", ""),
            ],
        );
        for text in [
            line.logfmt(AT, "warn", None, 0),
            line.json(AT, "warn", None, 0),
        ] {
            assert!(text.chars().all(|c| !c.is_control()), "{text}");
            assert!(!text.contains(['\u{2028}', '\u{202e}']), "{text}");
            assert!(
                !text.contains("forged") && !text.contains("again"),
                "{text}"
            );
            assert!(text.contains("a_b_c"), "{text}");
        }
        let json = line.json(AT, "warn", None, 0);
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["k"], evil);
        assert_eq!(read["msg"], evil);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let long = "é".repeat(5_000);
        let line = line(&long, &[("k", &long)]);
        let read: serde_json::Value =
            serde_json::from_str(&line.json(AT, "info", None, 0)).unwrap();
        for (field, most) in [("k", VALUE_BYTES_MAX), ("msg", MESSAGE_BYTES_MAX)] {
            let text = read[field].as_str().unwrap();
            assert!(text.len() <= most && text.len() > most - 4 && text.ends_with(CUT));
        }
        let Value::Text(debug) = Value::debug(&vec![7_u64; 1_000_000]) else {
            panic!("debug gives a text");
        };
        assert!(debug.len() <= MESSAGE_BYTES_MAX && debug.ends_with(CUT));
    }

    proptest::proptest! {
        #[test]
        fn json_reads_back_whatever_was_logged(text in ".{0,60}") {
            let line = line(&text, &[("k", &text)]);
            let read: serde_json::Value =
                serde_json::from_str(&line.json(AT, "info", None, 0)).unwrap();
            proptest::prop_assert_eq!(read["k"].as_str(), Some(text.as_str()));
            proptest::prop_assert_eq!(line.logfmt(AT, "info", None, 0).lines().count(), 1);
        }
    }
}
