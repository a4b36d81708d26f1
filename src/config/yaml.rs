//! YAML text into a tree with positions, within limits.
//!
//! The parser's own budget bounds depth, nodes and aliases. It knows nothing of settings.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

/// Largest file read. The full example has a few kilobytes; a megabyte is somebody's mistake.
pub(super) const FILE_BYTES_MAX: usize = 1 << 20;

/// Deepest nesting: section, key, list, item are four; a list of organisations has one more.
/// It also bounds the recursion of the reader.
const DEPTH_MAX: usize = 16;

/// Most nodes in a file, aliases counted as often as they are used.
const NODES_MAX: usize = 20_000;

/// Longest message of the scanner that is passed on.
const COMPLAINT_CHARS_MAX: usize = 200;

/// Reads a list in YAML's flow form, `["a", "b"]`: lists in variables of the environment.
///
/// # Errors
/// The parser's complaint, without the text.
pub(super) fn flow_list(text: &str) -> Result<Vec<String>, String> {
    parse_yaml(text).map_err(|error| error.text)
}

/// Why a text is not the YAML that was expected.
pub(super) struct YamlError {
    /// Where, if that is known.
    pub(super) location: Option<Location>,
    /// In words that repeat nothing of the text.
    pub(super) text: String,
}

/// Reads a document within the limits.
pub(super) fn parse_yaml<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, YamlError> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_aliases: 100,
            max_anchors: 100,
            // Two, so that the second is refused by its name.
            max_documents: 2,
            max_total_scalar_bytes: FILE_BYTES_MAX,
        },
        strict_booleans: true,
        // Found by the reader, together with everything else.
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        // A snippet would repeat lines of the file, which may hold what must not be shown.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| YamlError {
        location: error.location(),
        text: complaint(error.without_snippet()),
    })
}

/// What is wrong, in words that repeat nothing of the text: it may hold what must not be shown.
fn complaint(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        // The scanner speaks of YAML's grammar alone.
        Error::ExternalMessage { msg, .. } => msg.chars().take(COMPLAINT_CHARS_MAX).collect(),
        Error::Eof { .. } => "it ends too early".to_owned(),
        Error::MultipleDocuments { .. } => "it holds several documents".to_owned(),
        Error::UnknownAnchor { .. } => "an alias has no anchor".to_owned(),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => {
            "it is larger or deeper than the limit for a configuration".to_owned()
        }
        Error::AliasError { error, .. } => complaint(error.without_snippet()),
        _ => "a value does not fit its tag or its place".to_owned(),
    }
}

/// A YAML node. Plain numbers and switches keep no text of their own: it is cut out of the
/// source, so that `0.90` stays `0.90` and `off` stays `off`.
pub(super) enum Node {
    /// Nothing.
    Null,
    /// A text.
    Text(String),
    /// A number or switch, as the parser understood it.
    Plain(String),
    /// A list.
    List(Vec<Spanned<Node>>),
    /// A mapping, its entries in order, doubles included.
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        Node::deserialize(inner)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(Node::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
