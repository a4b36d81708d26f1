//! Routing state, UI presence, and the source of a statement about them.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// What routing says an agent is doing. The text form is the label value on metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingState {
    /// Ready for the next interaction.
    Available,
    /// Logged in or not, takes no interactions.
    NotReady,
    /// In an interaction.
    OnCall,
    /// After-call work.
    WrapUp,
    /// Nothing trustworthy known yet, or a value this version does not know.
    Unknown,
}

impl RoutingState {
    /// How many states there are.
    pub const COUNT: usize = 5;
    /// Every state, in label order of the catalog; `ALL[s.index()] == s`.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Available,
        Self::NotReady,
        Self::OnCall,
        Self::WrapUp,
        Self::Unknown,
    ];

    /// Position in [`Self::ALL`]; for arrays with a slot a state.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The label value: `available`, `not_ready`, `on_call`, `wrap_up`, `unknown`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::NotReady => "not_ready",
            Self::OnCall => "on_call",
            Self::WrapUp => "wrap_up",
            Self::Unknown => "unknown",
        }
    }

    /// The User Status API's spelling (status-api.md), also that of `routingAvailability`.
    pub const fn wire(self) -> &'static str {
        match self {
            Self::Available => "Available",
            Self::NotReady => "NotReady",
            Self::OnCall => "OnCall",
            Self::WrapUp => "WrapUp",
            Self::Unknown => "Unknown",
        }
    }

    /// Reads the wire spelling; letter case, spaces, `-` and `_` do not matter.
    /// Any other text is [`Self::Unknown`] (the caller keeps the raw text).
    pub fn from_wire(text: &str) -> Self {
        match fold(text).as_str() {
            "available" => Self::Available,
            "notready" => Self::NotReady,
            "oncall" => Self::OnCall,
            "wrapup" => Self::WrapUp,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for RoutingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// Longest wire text kept of a state or presence that this version does not know.
pub const RAW_TEXT_MAX: usize = 64;

fn fold(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, ' ' | '_' | '-'))
        .take(RAW_TEXT_MAX)
        .flat_map(char::to_lowercase)
        .collect()
}

/// UI presence: desktop health, never capacity. The platform's three spellings of one presence
/// (`On Queue`, `OnQueue`, `ON_QUEUE`; platform-api.md §2.2) are one value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Presence(Inner);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Inner {
    Known(u8),
    Other(Arc<str>),
}

/// (REST spelling, label) of the system presences, in label order.
const PRESENCES: [(&str, &str); 10] = [
    ("Available", "available"),
    ("Away", "away"),
    ("Break", "break"),
    ("Busy", "busy"),
    ("Idle", "idle"),
    ("Meal", "meal"),
    ("Meeting", "meeting"),
    ("Offline", "offline"),
    ("On Queue", "on_queue"),
    ("Training", "training"),
];

impl Presence {
    /// How many presences have a label of their own; the rest share `other`.
    pub const KNOWN: usize = PRESENCES.len();

    /// Reads any of the platform's spellings; an unknown one is kept as it is, cut to
    /// [`RAW_TEXT_MAX`] characters, control characters dropped.
    pub fn parse(text: &str) -> Self {
        let folded = fold(text);
        match PRESENCES
            .iter()
            .position(|(_, label)| fold(label) == folded)
        {
            Some(index) => Self(Inner::Known(index as u8)),
            None => Self(Inner::Other(Arc::from(
                text.chars()
                    .filter(|c| !c.is_control())
                    .take(RAW_TEXT_MAX)
                    .collect::<String>(),
            ))),
        }
    }

    /// The REST spelling, or the text as it came.
    pub fn wire(&self) -> &str {
        match &self.0 {
            Inner::Known(index) => PRESENCES[usize::from(*index)].0,
            Inner::Other(text) => text,
        }
    }

    /// The label value; a presence that this version does not know is `other`, so that the
    /// label's values stay bounded.
    pub fn label(&self) -> &'static str {
        match &self.0 {
            Inner::Known(index) => PRESENCES[usize::from(*index)].1,
            Inner::Other(_) => "other",
        }
    }

    /// Position of [`Self::label`] in [`Self::labels`]; for arrays with a slot a label.
    pub fn index(&self) -> usize {
        match &self.0 {
            Inner::Known(index) => usize::from(*index),
            Inner::Other(_) => Self::KNOWN,
        }
    }

    /// Every label value that [`Self::label`] can give, in order.
    pub fn labels() -> impl Iterator<Item = &'static str> {
        PRESENCES
            .iter()
            .map(|(_, label)| *label)
            .chain(std::iter::once("other"))
    }

    /// Whether the agent is logged out of the UI.
    pub fn is_offline(&self) -> bool {
        self.label() == "offline"
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.wire(), f)
    }
}

impl From<String> for Presence {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<Presence> for String {
    fn from(presence: Presence) -> Self {
        presence.wire().to_owned()
    }
}

/// Who said it, in rising authority (semantics.md §1): the greater wins a tie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The status snapshot.
    Bulk,
    /// Backfill.
    History,
    /// A push notification.
    Notification,
    /// The routing state of one user, asked for by itself.
    Routing,
    /// The direct answer of a stuck check.
    Override,
}

impl Source {
    /// Every source, in rising authority.
    pub const ALL: [Self; 5] = [
        Self::Bulk,
        Self::History,
        Self::Notification,
        Self::Routing,
        Self::Override,
    ];

    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::History => "history",
            Self::Notification => "notification",
            Self::Routing => "routing",
            Self::Override => "override",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_what_they_write() {
        for (index, state) in RoutingState::ALL.into_iter().enumerate() {
            assert_eq!(state.index(), index);
            assert_eq!(RoutingState::from_wire(state.wire()), state);
            assert_eq!(RoutingState::from_wire(state.label()), state);
        }
        assert_eq!(RoutingState::from_wire("Levitating"), RoutingState::Unknown);
    }

    #[test]
    fn three_spellings_of_a_presence_are_one() {
        let rest = Presence::parse("On Queue");
        assert_eq!(rest, Presence::parse("OnQueue"));
        assert_eq!(rest, Presence::parse("ON_QUEUE"));
        assert_eq!(rest.label(), "on_queue");
        assert_eq!(rest.wire(), "On Queue");
    }

    #[test]
    fn an_unknown_presence_is_kept_but_makes_no_new_label() {
        let presence = Presence::parse("Gone\nFishing");
        assert_eq!(presence.wire(), "GoneFishing");
        assert_eq!(presence.label(), "other");
        assert!(!presence.is_offline());
        assert!(Presence::parse("offline").is_offline());
        for (index, label) in Presence::labels().enumerate() {
            let presence = Presence::parse(label);
            assert_eq!((presence.index(), presence.label()), (index, label));
        }
    }

    #[test]
    fn authority_rises() {
        assert!(Source::ALL.is_sorted());
        assert!(Source::Override > Source::Routing && Source::History > Source::Bulk);
    }
}
