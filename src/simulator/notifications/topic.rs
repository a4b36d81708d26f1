//! What can be subscribed to: topic names, and what they are about.

/// What a topic tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Activity,
    Presence,
    RoutingStatus,
    ConversationSummary,
    /// Membership of a queue.
    Members,
    /// Something that never happens in the simulation.
    Silent,
}

/// A kind of topic.
pub(super) struct TopicForm {
    /// What is named before the id.
    pub(super) prefix: &'static str,
    /// What is named after it.
    pub(super) suffix: &'static str,
    pub(super) kind: Kind,
    pub(super) description: &'static str,
}

const USER: &str = "v2.users.";
const QUEUE: &str = "v2.routing.queues.";

const fn form(
    prefix: &'static str,
    suffix: &'static str,
    kind: Kind,
    description: &'static str,
) -> TopicForm {
    TopicForm {
        prefix,
        suffix,
        kind,
        description,
    }
}

/// The topics that the simulator permits.
pub(super) const FORMS: [TopicForm; 8] = [
    form(
        USER,
        "activity",
        Kind::Activity,
        "Presence, routing status and active queues of a user.",
    ),
    form(USER, "presence", Kind::Presence, "Presence of a user."),
    form(
        USER,
        "routingStatus",
        Kind::RoutingStatus,
        "Routing status of a user.",
    ),
    form(
        USER,
        "conversationsummary",
        Kind::ConversationSummary,
        "Open conversations of a user, counted by medium.",
    ),
    form(
        USER,
        "outofoffice",
        Kind::Silent,
        "Out-of-office status of a user.",
    ),
    form(USER, "station", Kind::Silent, "Station of a user."),
    form(
        USER,
        "conversations",
        Kind::Silent,
        "Conversations of a user.",
    ),
    form(QUEUE, "users", Kind::Members, "Members of a queue."),
];

/// Topic ids are shorter than this.
pub(super) const TOPIC_ID_LIMIT: usize = 200;

/// One topic: its kind, and the id of its user or queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    pub(super) kind: Kind,
    pub(super) id: String,
    /// About a queue; else about a user.
    pub(super) of_queue: bool,
}

/// Reads a topic id; several for a combined one (`v2.users.{id}?presence&routingStatus`).
/// `None`: there is no such topic. Letter case of the words does not matter.
pub(super) fn parse(text: &str) -> Option<Vec<Topic>> {
    if text.len() >= TOPIC_ID_LIMIT {
        return None;
    }
    let (subject, words) = match text.split_once('?') {
        Some((subject, words)) => (subject, words.split('&').collect()),
        None => {
            let (subject, word) = text.rsplit_once('.')?;
            (subject, vec![word])
        }
    };
    words.into_iter().map(|word| one(subject, word)).collect()
}

fn one(subject: &str, word: &str) -> Option<Topic> {
    FORMS.iter().find_map(|form| {
        let (prefix, id) = subject.split_at_checked(form.prefix.len())?;
        let fits = prefix.eq_ignore_ascii_case(form.prefix)
            && word.eq_ignore_ascii_case(form.suffix)
            && !id.is_empty()
            && !id.contains('.');
        fits.then(|| Topic {
            kind: form.kind,
            id: id.to_owned(),
            of_queue: form.prefix == QUEUE,
        })
    })
}

/// The name under which events of a kind arrive.
pub(super) fn name(kind: Kind, id: &str) -> String {
    let form = FORMS
        .iter()
        .find(|form| form.kind == kind)
        .expect("BUG: every kind has a form");
    format!("{}{id}.{}", form.prefix, form.suffix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_alone_and_combined() {
        let kinds = |text: &str| -> Option<Vec<Kind>> {
            Some(parse(text)?.iter().map(|topic| topic.kind).collect())
        };
        assert_eq!(kinds("v2.users.u-1.activity"), Some(vec![Kind::Activity]));
        assert_eq!(
            kinds("v2.users.u-1.routingstatus"),
            Some(vec![Kind::RoutingStatus])
        );
        assert_eq!(
            kinds("v2.users.u-1?presence&routingStatus&station"),
            Some(vec![Kind::Presence, Kind::RoutingStatus, Kind::Silent])
        );
        let members = parse("v2.routing.queues.q-1.users").unwrap();
        assert!(members[0].of_queue && members[0].id == "q-1");
        for text in [
            "",
            "v2.users.u-1",
            "v2.users..activity",
            "v2.users.u-1.mood",
            "v2.users.u-1?presence&mood",
            "v2.users.a.b.activity",
            "v2.routing.queues.q-1.activity",
            "v2.system.socket_closing",
            &format!("v2.users.{}.activity", "u".repeat(200)),
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(name(Kind::RoutingStatus, "u"), "v2.users.u.routingStatus");
    }
}
