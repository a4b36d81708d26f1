//! The one table of faults: names, values, what each does. The help text and the parser read it.

use std::fmt::Write as _;

use super::exchange::Call;

/// One thing that can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "KINDS says what each one does")]
pub enum FaultKind {
    Partial,
    StaleCache,
    Divergence,
    StuckOnCall,
    StuckInCache,
    Duplicates,
    OutOfOrder,
    Malformed,
    UnknownState,
    NoHistory,
    RegistryShrink,
    ExpandMissing,
    ShiftingPages,
    StaleDetails,
    ClockSkew,
    Http500,
    Http502,
    Http503,
    Http504,
    Throttle,
    Unauthorised,
    Forbidden,
    LoginRefused,
    Html,
    Empty,
    EmptyBody,
    HugeBody,
    Slow,
    SlowBody,
    CutBody,
    SocketDrop,
    SocketSilent,
    SocketClosing,
    EvictedChannels,
    RejectedTopics,
    LostEvents,
    DuplicateEvents,
    ReorderedEvents,
}

/// What a fault's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Nothing,
    Percent,
    Count,
    Mebibytes,
    Span,
    SignedSpan,
}

/// A row of the table of faults.
#[derive(Debug)]
pub struct KindRow {
    /// The fault.
    pub kind: FaultKind,
    /// Its name in fault strings.
    pub name: &'static str,
    /// What it does, for the help text.
    pub does: &'static str,
    pub(super) unit: Unit,
    /// The value if none is given; `None`: it must be given.
    pub(super) default: Option<i64>,
    /// Whether it can be limited to one call.
    pub(super) per_call: bool,
}

const fn row(
    kind: FaultKind,
    name: &'static str,
    unit: Unit,
    default: Option<i64>,
    per_call: bool,
    does: &'static str,
) -> KindRow {
    KindRow {
        kind,
        name,
        does,
        unit,
        default,
        per_call,
    }
}

/// Every fault, by kind.
pub const KINDS: [KindRow; 38] = {
    use FaultKind as K;
    use Unit as U;
    [
        row(
            K::Partial,
            "partial",
            U::Percent,
            None,
            false,
            "the snapshot (a listing of users with routing statuses is one) is cut to this percentage, rounded up, with status 200",
        ),
        row(
            K::StaleCache,
            "stale-cache",
            U::Nothing,
            Some(0),
            false,
            "the snapshot's cache is not refreshed",
        ),
        row(
            K::Divergence,
            "divergence",
            U::Percent,
            Some(20),
            false,
            "for this percentage of agents the snapshot says that nothing has changed since",
        ),
        row(
            K::StuckOnCall,
            "stuck-on-call",
            U::Count,
            Some(1),
            false,
            "so many agents stay on call, in the snapshot and asked directly, without any interaction",
        ),
        row(
            K::StuckInCache,
            "stuck-in-cache",
            U::Count,
            Some(1),
            false,
            "so many agents stay on call in the snapshot; asked directly they are right",
        ),
        row(
            K::Duplicates,
            "duplicates",
            U::Nothing,
            Some(0),
            false,
            "every fifth record of the snapshot comes twice",
        ),
        row(
            K::OutOfOrder,
            "out-of-order",
            U::Nothing,
            Some(0),
            false,
            "routing states in rising order; in the snapshot an older record after every fifth",
        ),
        row(
            K::Malformed,
            "malformed",
            U::Percent,
            Some(5),
            false,
            "this percentage of records cannot be read",
        ),
        row(
            K::UnknownState,
            "unknown-state",
            U::Percent,
            Some(5),
            false,
            "this percentage of agents is in a state that nobody knows",
        ),
        row(
            K::NoHistory,
            "no-history",
            U::Nothing,
            Some(0),
            false,
            "routing states have one entry",
        ),
        row(
            K::RegistryShrink,
            "registry-shrink",
            U::Percent,
            None,
            false,
            "the listing of users is cut to this percentage, rounded up",
        ),
        row(
            K::ExpandMissing,
            "expand-missing",
            U::Percent,
            Some(20),
            false,
            "this percentage of expanded fields is left out of users",
        ),
        row(
            K::ShiftingPages,
            "shifting-pages",
            U::Nothing,
            Some(0),
            false,
            "users shift between the pages of their listing: some come twice, some not at all",
        ),
        row(
            K::StaleDetails,
            "stale-details",
            U::Span,
            Some(60_000),
            false,
            "history is known only up to this long ago",
        ),
        row(
            K::ClockSkew,
            "clock-skew",
            U::SignedSpan,
            None,
            false,
            "the platform's clock is off by this much",
        ),
        row(
            K::Http500,
            "http-500",
            U::Percent,
            Some(100),
            true,
            "this percentage of calls fails with 500",
        ),
        row(
            K::Http502,
            "http-502",
            U::Percent,
            Some(100),
            true,
            "this percentage of calls fails with 502",
        ),
        row(
            K::Http503,
            "http-503",
            U::Percent,
            Some(100),
            true,
            "this percentage of calls fails with 503",
        ),
        row(
            K::Http504,
            "http-504",
            U::Percent,
            Some(100),
            true,
            "this percentage of calls fails with 504",
        ),
        row(
            K::Throttle,
            "throttle",
            U::Span,
            Some(10_000),
            true,
            "429 with this Retry-After, whatever the rate",
        ),
        row(
            K::Unauthorised,
            "unauthorised",
            U::Nothing,
            Some(0),
            true,
            "401 for valid tokens",
        ),
        row(
            K::Forbidden,
            "forbidden",
            U::Nothing,
            Some(0),
            true,
            "403, a permission is missing",
        ),
        row(
            K::LoginRefused,
            "login-refused",
            U::Nothing,
            Some(0),
            false,
            "no new tokens: the client is said to be unknown",
        ),
        row(
            K::Html,
            "html",
            U::Nothing,
            Some(0),
            true,
            "200 with a gateway's HTML page",
        ),
        row(
            K::Empty,
            "empty",
            U::Nothing,
            Some(0),
            true,
            "200 with an empty listing",
        ),
        row(
            K::EmptyBody,
            "empty-body",
            U::Nothing,
            Some(0),
            true,
            "200 with no body",
        ),
        row(
            K::HugeBody,
            "huge-body",
            U::Mebibytes,
            Some(96),
            true,
            "a valid body padded to so many MiB",
        ),
        row(
            K::Slow,
            "slow",
            U::Span,
            None,
            true,
            "the answer comes this much later",
        ),
        row(
            K::SlowBody,
            "slow-body",
            U::Nothing,
            Some(0),
            true,
            "the body comes in drips",
        ),
        row(
            K::CutBody,
            "cut-body",
            U::Nothing,
            Some(0),
            true,
            "the connection closes half-way through the body",
        ),
        row(
            K::SocketDrop,
            "socket-drop",
            U::Nothing,
            Some(0),
            false,
            "sockets break off and none can connect: what happens meanwhile is lost",
        ),
        row(
            K::SocketSilent,
            "socket-silent",
            U::Nothing,
            Some(0),
            false,
            "sockets stay open and nothing comes, no heartbeat either",
        ),
        row(
            K::SocketClosing,
            "socket-closing",
            U::Span,
            Some(60_000),
            false,
            "sockets are told that they will close, and close this much later",
        ),
        row(
            K::EvictedChannels,
            "evicted-channels",
            U::Nothing,
            Some(0),
            false,
            "every channel makes room for channels of others, once",
        ),
        row(
            K::RejectedTopics,
            "rejected-topics",
            U::Percent,
            Some(20),
            false,
            "this percentage of topics cannot be subscribed to",
        ),
        row(
            K::LostEvents,
            "lost-events",
            U::Percent,
            Some(20),
            false,
            "this percentage of events is never sent",
        ),
        row(
            K::DuplicateEvents,
            "duplicate-events",
            U::Percent,
            Some(20),
            false,
            "this percentage of events is sent twice",
        ),
        row(
            K::ReorderedEvents,
            "reordered-events",
            U::Percent,
            Some(20),
            false,
            "this percentage of events comes up to 5s late, after newer ones",
        ),
    ]
};

/// Largest count of agents, and of MiB, that a fault may name.
pub(super) const COUNT_MAX: i64 = 200_000;
pub(super) const MEBIBYTES_MAX: i64 = 1_024;

impl FaultKind {
    /// Its row.
    pub fn row(self) -> &'static KindRow {
        &KINDS[self as usize]
    }
}

/// The grammar and every fault, a line each: for the help text of the command.
pub fn help() -> String {
    let mut text =
        "A plan is none, or a list with commas of name[:call][=value][@start+duration[/every]]:"
            .to_owned();
    for row in &KINDS {
        let value = match row.unit {
            Unit::Nothing => "",
            Unit::Percent => "PERCENT",
            Unit::Count => "COUNT",
            Unit::Mebibytes => "MIB",
            Unit::Span => "DURATION",
            Unit::SignedSpan => "±DURATION",
        };
        let value = match (value, row.default) {
            ("", _) => String::new(),
            (value, Some(_)) => format!("[={value}]"),
            (value, None) => format!("={value}"),
        };
        let call = if row.per_call { "[:CALL]" } else { "" };
        let form = format!("{}{call}{value}", row.name);
        write!(text, "\n  {form:32} {}", row.does).expect("writing to a string cannot fail");
    }
    let calls = Call::ALL.map(Call::name).join(", ");
    write!(text, "\nA call is one of {calls}.").expect("writing to a string cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_the_position_of_its_row_and_names_are_unique() {
        for (position, row) in KINDS.iter().enumerate() {
            assert_eq!(row.kind as usize, position, "{}", row.name);
            assert_eq!(row.kind.row().name, row.name);
        }
        let names: std::collections::BTreeSet<_> = KINDS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), KINDS.len());
    }
}
