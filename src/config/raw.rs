//! The file as it stands: YAML text into values with their places, by the table of settings.
//!
//! A derived `deny_unknown_fields` would stop at the first mistake. This reads the document
//! into a tree with positions first and holds the tree against the table, so that every unknown
//! key and every wrong shape is found in one go. It judges shapes, never values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_saphyr::{Location, Spanned};

use super::finding::{Finding, Place, Refusal, nearest, quoted};
use super::settings::{SETTINGS, Setting, Shape, is_section, keys_in, setting};
use super::yaml::{Node, parse_yaml};

/// What the effective configuration prints for a secret; read back as "not given here".
pub(super) const REDACTED: &str = "<redacted>";

/// The section that describes one organisation.
const SOURCE: &str = "source";

/// A value as text, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Raw {
    /// The value.
    pub(super) value: RawValue,
    /// Where it was given.
    pub(super) place: Place,
}

/// A value as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RawValue {
    /// A number, word or text, letter for letter.
    One(String),
    /// A list, each item with its place.
    Many(Vec<(String, Place)>),
    /// Organisations, each with its own settings of the section `source`, and its place.
    Sources(Vec<(Layer, Place)>),
}

/// Settings by path, as one source gives them.
pub(super) type Layer = BTreeMap<&'static str, Raw>;

/// Reads a file's text. Whatever is wrong goes to `mistakes`; the rest is returned, so that it
/// is judged too.
pub(super) fn read(file: &Arc<str>, text: &str, mistakes: &mut Vec<Finding>) -> Layer {
    let mut reader = Reader {
        file,
        text,
        layer: Layer::new(),
        mistakes,
    };
    match parse_yaml::<Option<Spanned<Node>>>(text) {
        // Nothing but comments: a file that changes nothing.
        Ok(None) => {}
        Ok(Some(root)) => match &root.value {
            Node::Map(entries) => reader.section("", entries),
            Node::Null => {}
            _ => {
                let place = reader.place(root.referenced);
                let refusal = Refusal::new(
                    "the file is not a mapping of settings",
                    "write \"section: { key: value }\", as in config.example.yml",
                );
                reader.mistakes.push(Finding::new(place, "", refusal));
            }
        },
        Err(error) => {
            let place = match error.location {
                Some(location) => reader.place(location),
                None => Place::File(Arc::clone(file)),
            };
            let refusal = Refusal::new(
                format!("this is not the YAML that was expected: {}", error.text),
                "mend this first; what follows it has not been read",
            );
            reader.mistakes.push(Finding::new(place, "", refusal));
        }
    }
    reader.layer
}

struct Reader<'a> {
    file: &'a Arc<str>,
    text: &'a str,
    layer: Layer,
    mistakes: &'a mut Vec<Finding>,
}

impl Reader<'_> {
    fn place(&self, location: Location) -> Place {
        if location == Location::UNKNOWN {
            return Place::File(Arc::clone(self.file));
        }
        Place::Line {
            file: Arc::clone(self.file),
            line: location.line(),
            column: location.column(),
        }
    }

    fn refuse(&mut self, location: Location, key: &str, refusal: Refusal) {
        let place = self.place(location);
        self.mistakes.push(Finding::new(place, key, refusal));
    }

    fn section(&mut self, prefix: &str, entries: &[(Spanned<String>, Spanned<Node>)]) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (key, node) in entries {
            let path = if prefix.is_empty() {
                key.value.clone()
            } else {
                format!("{prefix}.{}", key.value)
            };
            if !seen.insert(&key.value) {
                let refusal = Refusal::new("is given twice", "keep one of them");
                self.refuse(key.referenced, &shown_path(prefix, &key.value), refusal);
                continue;
            }
            // Keys are paths of the table only if they hold no dot themselves.
            let known = (!key.value.contains('.')).then_some(path.as_str());
            if let Some(setting) = known.and_then(setting) {
                self.take(setting, node);
            } else if known.is_some_and(is_section) {
                match &node.value {
                    Node::Map(inner) => self.section(&path, inner),
                    Node::Null => {}
                    _ => {
                        let keys = keys_in(&path).join(", ");
                        let what = "must be a mapping of keys";
                        let hint = format!("the keys here are {keys}");
                        self.refuse(node.referenced, &path, Refusal::new(what, hint));
                    }
                }
            } else {
                let shown = shown_path(prefix, &key.value);
                let hint = unknown_key_hint(prefix, &key.value);
                self.refuse(key.referenced, &shown, Refusal::new("unknown key", hint));
            }
        }
    }

    fn take(&mut self, setting: &'static Setting, node: &Spanned<Node>) {
        // A key without a value is one that was emptied: the default holds.
        if matches!(node.value, Node::Null) {
            return;
        }
        let place = self.place(node.referenced);
        let value = match setting.shape {
            Shape::Secret => return self.refuse_inline_secret(setting, node),
            Shape::Sources => match self.sources(setting, node) {
                Some(items) if items.is_empty() => return,
                items => items.map(RawValue::Sources),
            },
            Shape::Plain | Shape::Text => self.scalar(node).map(RawValue::One),
            Shape::List => self.list(setting, node),
        };
        match value {
            Some(value) => {
                self.layer.insert(setting.path, Raw { value, place });
            }
            None if matches!(setting.shape, Shape::List | Shape::Sources) => {}
            None => {
                let refusal = Refusal::new(
                    "must be a single value",
                    format!("write for example {}", example(setting)),
                );
                self.refuse(node.referenced, setting.path, refusal);
            }
        }
    }

    fn refuse_inline_secret(&mut self, setting: &Setting, node: &Spanned<Node>) {
        // What `check config` prints may be fed back.
        if matches!(&node.value, Node::Text(text) if text == REDACTED || text.is_empty()) {
            return;
        }
        let refusal = Refusal::new(
            "a secret must not stand in the file",
            "put it into a file of its own and name that in source.client_secret_file, \
             or set GENESYSCLOUD_CLIENT_SECRET",
        );
        self.refuse(node.referenced, setting.path, refusal);
    }

    fn list(&mut self, setting: &Setting, node: &Spanned<Node>) -> Option<RawValue> {
        let hint = "write for example [\"a\", \"b\"], or [] for none";
        let Node::List(items) = &node.value else {
            let refusal = Refusal::new("must be a list", hint);
            self.refuse(node.referenced, setting.path, refusal);
            return None;
        };
        let mut texts = Vec::with_capacity(items.len());
        for item in items {
            if let Some(text) = self.scalar(item) {
                texts.push((text, self.place(item.referenced)));
            } else {
                let refusal = Refusal::new("every item must be a text", hint);
                self.refuse(item.referenced, setting.path, refusal);
            }
        }
        Some(RawValue::Many(texts))
    }

    /// The organisations of a list, each read as the section `source` is.
    fn sources(&mut self, setting: &Setting, node: &Spanned<Node>) -> Option<Vec<(Layer, Place)>> {
        let hint = "write a list of mappings with the keys of source: - { name: …, client_id: … }";
        let Node::List(items) = &node.value else {
            let refusal = Refusal::new("must be a list of organisations", hint);
            self.refuse(node.referenced, setting.path, refusal);
            return None;
        };
        let mut sources = Vec::with_capacity(items.len());
        for item in items {
            let Node::Map(entries) = &item.value else {
                let refusal = Refusal::new("every organisation must be a mapping", hint);
                self.refuse(item.referenced, setting.path, refusal);
                continue;
            };
            let around = std::mem::take(&mut self.layer);
            self.section(SOURCE, entries);
            let own = std::mem::replace(&mut self.layer, around);
            sources.push((own, self.place(item.referenced)));
        }
        Some(sources)
    }

    /// The text of a single value, letter for letter.
    fn scalar(&self, node: &Spanned<Node>) -> Option<String> {
        match &node.value {
            Node::Text(text) => Some(text.clone()),
            Node::Plain(fallback) => {
                let span = node.defined.span();
                let source = span
                    .byte_offset()
                    .zip(span.byte_len())
                    .and_then(|(at, length)| {
                        let start = usize::try_from(at).ok()?;
                        let end = start.checked_add(usize::try_from(length).ok()?)?;
                        self.text.get(start..end)
                    })
                    .map(str::trim)
                    .filter(|source| !source.is_empty());
                Some(source.unwrap_or(fallback).to_owned())
            }
            Node::Null | Node::List(_) | Node::Map(_) => None,
        }
    }
}

fn shown_path(prefix: &str, key: &str) -> String {
    match (prefix, shown_key(key)) {
        ("", key) => key,
        (prefix, key) => format!("{prefix}.{key}"),
    }
}

/// The key as far as it looks like one. `client_secret=hunter2:` is a key to YAML, and what
/// follows the name is not repeated.
fn shown_key(key: &str) -> String {
    let name_length = key
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
        .unwrap_or(key.len());
    match &key[..name_length] {
        name if name.is_empty() || name.len() > 64 => "a key".to_owned(),
        name if name_length < key.len() => format!("{name}…"),
        name => name.to_owned(),
    }
}

fn unknown_key_hint(prefix: &str, key: &str) -> String {
    let here = keys_in(prefix);
    if let Some(near) = nearest(key, here.iter().copied()) {
        return format!("did you mean {}?", quoted(near));
    }
    // A key that belongs to another section, or that was written as a path.
    let elsewhere = SETTINGS.iter().find(|setting| {
        setting.path == key
            || setting
                .path
                .rsplit('.')
                .next()
                .is_some_and(|leaf| leaf == key)
    });
    match elsewhere {
        Some(setting) => match setting.path.split_once('.') {
            Some((section, leaf)) => {
                format!("did you mean {leaf} in the section {section}?")
            }
            None => format!("{key} stands at the top of the file"),
        },
        None if prefix.is_empty() => format!("the keys of the file are {}", here.join(", ")),
        None => format!("the keys of {prefix} are {}", here.join(", ")),
    }
}

fn example(setting: &Setting) -> String {
    let key = setting.path.rsplit('.').next().unwrap_or(setting.path);
    match setting.default.first() {
        Some(default) if !default.is_empty() => format!("{key}: {default}"),
        _ => format!("{key}: \"…\""),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn layer(text: &str) -> (Layer, Vec<String>) {
        let mut mistakes = Vec::new();
        let layer = read(&"c.yml".into(), text, &mut mistakes);
        let mistakes = mistakes.iter().map(ToString::to_string).collect();
        (layer, mistakes)
    }

    fn one(layer: &Layer, path: &str) -> String {
        match &layer[path].value {
            RawValue::One(text) => text.clone(),
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn plain_values_keep_their_letters() {
        let (layer, mistakes) = layer(
            "snapshot: { min_coverage: 0.90 }\nsource: {notifications: off , client_id: 00123}\n\
             poll:\n  interval: 1_0 # note\n  timeout: \"5s\"\nwindow:\n  include_offline: yes\n",
        );
        assert_eq!(mistakes, [""; 0]);
        for (path, text) in [
            ("snapshot.min_coverage", "0.90"),
            ("source.notifications", "off"),
            ("source.client_id", "00123"),
            ("poll.interval", "1_0"),
            ("poll.timeout", "5s"),
            ("window.include_offline", "yes"),
        ] {
            assert_eq!(one(&layer, path), text);
        }
        let place = &layer["poll.timeout"].place;
        assert_eq!(place.to_string(), "c.yml:5:12");
    }

    #[test]
    fn anchors_work_and_merges_too() {
        let (layer, mistakes) =
            layer("breaker: { cooldown: &c 0015, failures: 3 }\nstuck: { after: *c }\n");
        assert_eq!(mistakes, [""; 0]);
        assert_eq!(one(&layer, "stuck.after"), "0015");
    }

    #[test]
    fn nothing_is_a_file_that_changes_nothing() {
        for text in [
            "",
            "# only a comment\n",
            "---\n",
            "poll:\nqueues:\n  include:\n",
        ] {
            let (layer, mistakes) = layer(text);
            assert!(
                layer.is_empty() && mistakes.is_empty(),
                "{text:?} {mistakes:?}"
            );
        }
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut text = String::from("a: &a [x,x,x,x,x,x,x,x,x,x]\n");
        for (this, last) in ["b", "c", "d", "e", "f"]
            .iter()
            .zip(["a", "b", "c", "d", "e"])
        {
            let ten = vec![format!("*{last}"); 10].join(",");
            let _ = writeln!(text, "{this}: &{this} [{ten}]");
        }
        let (_, mistakes) = layer(&text);
        assert_eq!(mistakes.len(), 1);
        assert!(
            mistakes[0].contains("budget") || mistakes[0].contains("limit"),
            "{mistakes:?}"
        );
        let (_, mistakes) = layer(&"[".repeat(5_000));
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    }

    #[test]
    fn keys_that_swallowed_a_secret_are_not_repeated() {
        let (_, mistakes) =
            layer("source:\n  client_secret=hunter2: x\n  client_secret: hunter2\n");
        assert_eq!(mistakes.len(), 2);
        assert!(!mistakes.join("\n").contains("hunter2"), "{mistakes:?}");
    }

    #[test]
    fn the_hint_finds_the_section_of_a_key() {
        let (_, mistakes) = layer("requests_per_minute: 5\npoll.interval: 5s\n");
        assert!(mistakes[0].ends_with("did you mean requests_per_minute in the section budget?"));
        assert!(mistakes[1].ends_with("did you mean interval in the section poll?"));
    }
}
