//! Walks a YAML tree by known keys and notes what does not fit. Knows no key itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretString;
use serde_saphyr::{Location, Spanned};

use super::super::finding::{Finding, Place, Refusal, nearest, quoted};
use super::super::secret::read_file;
use super::super::yaml::Node;

/// Longest text of a value; a hash has 60 bytes, a policy some hundred.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Largest PEM: a bundle of every public CA has a quarter of it.
pub(super) const PEM_BYTES_MAX: usize = 1 << 20;

/// Most items of a list.
const ITEMS_MAX: usize = 1_000;

/// Keys of a mapping that are known, with their values.
pub(super) type Entries<'n> = BTreeMap<&'static str, &'n Spanned<Node>>;

/// What is needed to judge a tree, and what was found.
pub(super) struct Tree<'a> {
    pub(super) file: Arc<str>,
    /// Paths in the file are relative to this.
    pub(super) directory: PathBuf,
    pub(super) mistakes: &'a mut Vec<Finding>,
    pub(super) warnings: &'a mut Vec<Finding>,
    /// Files that were named and read.
    pub(super) files: &'a mut Vec<PathBuf>,
    /// A key stands in the file itself.
    pub(super) secret_inside: bool,
}

impl Tree<'_> {
    pub(super) fn place(&self, location: Location) -> Place {
        if location == Location::UNKNOWN {
            return Place::File(Arc::clone(&self.file));
        }
        Place::Line {
            file: Arc::clone(&self.file),
            line: location.line(),
            column: location.column(),
        }
    }

    pub(super) fn refuse_at(&mut self, location: Location, key: &str, refusal: Refusal) {
        let place = self.place(location);
        self.mistakes.push(Finding::new(place, key, refusal));
    }

    pub(super) fn refuse(&mut self, node: &Spanned<Node>, key: &str, refusal: Refusal) {
        self.refuse_at(node.referenced, key, refusal);
    }

    pub(super) fn warn(&mut self, node: &Spanned<Node>, key: &str, refusal: Refusal) {
        let place = self.place(node.referenced);
        self.warnings.push(Finding::new(place, key, refusal));
    }

    /// The value, or its refusal noted.
    pub(super) fn valid<T>(
        &mut self,
        key: &str,
        node: &Spanned<Node>,
        judged: Result<T, Refusal>,
    ) -> Option<T> {
        judged
            .map_err(|refusal| self.refuse(node, key, refusal))
            .ok()
    }

    /// A mapping; an empty value is an empty one.
    pub(super) fn mapping<'n>(
        &mut self,
        path: &str,
        node: &'n Spanned<Node>,
    ) -> Option<&'n [(Spanned<String>, Spanned<Node>)]> {
        match &node.value {
            Node::Map(entries) => Some(entries),
            Node::Null => Some(&[]),
            _ => {
                let refusal = Refusal::new("must be a mapping", "write \"key: value\" lines");
                self.refuse(node, path, refusal);
                None
            }
        }
    }

    /// The entries of a mapping that has only these keys.
    pub(super) fn entries<'n>(
        &mut self,
        path: &str,
        node: &'n Spanned<Node>,
        keys: &[&'static str],
    ) -> Entries<'n> {
        let mut found = Entries::new();
        let Some(entries) = self.mapping(path, node) else {
            return found;
        };
        for (key, value) in entries {
            let shown: String = key.value.chars().take(64).collect();
            let shown = match path {
                "" => shown,
                path => format!("{path}.{shown}"),
            };
            let Some(known) = keys.iter().find(|known| **known == key.value) else {
                let hint = match nearest(&key.value, keys.iter().copied()) {
                    Some(near) => format!("did you mean {}?", quoted(near)),
                    None => format!("the keys here are {}", keys.join(", ")),
                };
                self.refuse_at(key.referenced, &shown, Refusal::new("unknown key", hint));
                continue;
            };
            if found.contains_key(known) {
                let refusal = Refusal::new("is given twice", "keep one of them");
                self.refuse_at(key.referenced, &shown, refusal);
            } else if !matches!(value.value, Node::Null) {
                found.insert(known, value);
            }
        }
        found
    }

    /// A single value as text.
    pub(super) fn text(&mut self, key: &str, node: &Spanned<Node>) -> Option<String> {
        let text = match &node.value {
            Node::Text(text) | Node::Plain(text) => text,
            Node::Null => return Some(String::new()),
            Node::List(_) | Node::Map(_) => {
                let refusal = Refusal::new("must be a single value", "write a text");
                self.refuse(node, key, refusal);
                return None;
            }
        };
        if text.len() > TEXT_BYTES_MAX {
            self.refuse(node, key, Refusal::new("is too long", "shorten it"));
            return None;
        }
        Some(text.clone())
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, key: &str, node: &Spanned<Node>) -> Option<bool> {
        match self.text(key, node)?.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            text => {
                let refusal =
                    Refusal::value(text, "is neither true nor false", "write one of them");
                self.refuse(node, key, refusal);
                None
            }
        }
    }

    /// The texts of a list, each with its place.
    pub(super) fn list<'n>(
        &mut self,
        key: &str,
        node: &'n Spanned<Node>,
    ) -> Vec<(String, &'n Spanned<Node>)> {
        match &node.value {
            Node::List(items) if items.len() <= ITEMS_MAX => items
                .iter()
                .filter_map(|item| Some((self.text(key, item)?, item)))
                .collect(),
            _ => {
                let refusal = Refusal::new("must be a list", "write [\"a\", \"b\"]");
                self.refuse(node, key, refusal);
                Vec::new()
            }
        }
    }

    /// PEM from the file named by `file`, or standing in the file itself as `inline`.
    pub(super) fn pem(
        &mut self,
        section: &str,
        entries: &Entries<'_>,
        inline: &'static str,
        file: &'static str,
        secret: bool,
    ) -> Option<SecretString> {
        match (entries.get(inline), entries.get(file)) {
            (None, None) => None,
            (Some(node), Some(_)) => {
                let what = format!("{inline} and {file} are both given");
                let refusal = Refusal::new(what, "remove one of them");
                self.refuse(node, &format!("{section}.{inline}"), refusal);
                None
            }
            (Some(node), None) => {
                self.secret_inside |= secret;
                let text = match &node.value {
                    Node::Text(text) if text.len() <= PEM_BYTES_MAX => text.as_str(),
                    _ => "",
                };
                Some(SecretString::from(text))
            }
            (None, Some(node)) => {
                let key = format!("{section}.{file}");
                let name = self.text(&key, node)?;
                if name.is_empty() {
                    return None;
                }
                let path = self.directory.join(name);
                self.files.push(path.clone());
                let hint = "name a readable PEM file; paths are relative to the web configuration";
                let read = read_file(&path, PEM_BYTES_MAX, hint);
                let (text, loose) = self.valid(&key, node, read)?;
                if loose && secret {
                    let name = quoted(&path.display().to_string());
                    let what = format!("{name} can be read by others than its owner");
                    self.warn(node, &key, Refusal::new(what, "chmod 0400 it"));
                }
                Some(text)
            }
        }
    }
}
