//! Presence definitions: the system presences in the platform's three spellings, and the few
//! that the organisation made itself (platform-api.md §2.2).

use serde_json::{Value, json};

use super::chance;

/// A system presence.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SystemPresence {
    /// As users, bulk presences and `systempresences` spell it, and timelines too.
    pub(super) rest: &'static str,
    /// As `presence/definitions` spell it.
    definition: &'static str,
    /// As notifications and analytics spell it.
    pub(super) event: &'static str,
    /// Of the built-in definition; the first three are those that public samples show for
    /// organisations that have nothing to do with each other.
    id: &'static str,
}

const fn system(
    rest: &'static str,
    definition: &'static str,
    event: &'static str,
    id: &'static str,
) -> SystemPresence {
    SystemPresence {
        rest,
        definition,
        event,
        id,
    }
}

const SYSTEM: [SystemPresence; 10] = [
    system(
        "Available",
        "Available",
        "AVAILABLE",
        "6a3af858-942f-489d-9700-5f9bcdcdae9b",
    ),
    system(
        "On Queue",
        "OnQueue",
        "ON_QUEUE",
        "e08eaf1b-ee47-4fa9-a231-1200e284798f",
    ),
    system(
        "Offline",
        "Offline",
        "OFFLINE",
        "ccf3c10a-aa2c-4845-8e8d-f59fa48c58e5",
    ),
    system(
        "Away",
        "Away",
        "AWAY",
        "00000000-0000-4000-8000-000000000103",
    ),
    system(
        "Busy",
        "Busy",
        "BUSY",
        "00000000-0000-4000-8000-000000000104",
    ),
    system(
        "Idle",
        "Idle",
        "IDLE",
        "00000000-0000-4000-8000-000000000105",
    ),
    system(
        "Meal",
        "Meal",
        "MEAL",
        "00000000-0000-4000-8000-000000000106",
    ),
    system(
        "Training",
        "Training",
        "TRAINING",
        "00000000-0000-4000-8000-000000000107",
    ),
    system(
        "Meeting",
        "Meeting",
        "MEETING",
        "00000000-0000-4000-8000-000000000108",
    ),
    system(
        "Break",
        "Break",
        "BREAK",
        "00000000-0000-4000-8000-000000000109",
    ),
];

/// Definitions of the organisation: label, system presence, id.
const OWN: [(&str, &str, &str); 2] = [
    ("Lunch", "Meal", "00000000-0000-4000-8000-000000000201"),
    (
        "Coaching",
        "Training",
        "00000000-0000-4000-8000-000000000202",
    ),
];

/// Salt of the choice between a built-in definition and one of the organisation.
const OWN_SALT: u64 = 40;

impl SystemPresence {
    /// The presence of a timeline.
    ///
    /// # Panics
    /// If a timeline has a presence that the platform does not.
    pub(super) fn of(rest: &str) -> &'static Self {
        SYSTEM
            .iter()
            .find(|presence| presence.rest == rest)
            .expect("BUG: timelines have system presences only")
    }

    /// The definition that an agent chose: half of those who could chose one of the organisation.
    pub(super) fn definition_id(&self, choice: u64) -> &'static str {
        OWN.iter()
            .find(|own| own.1 == self.rest && chance::strikes(50, &[OWN_SALT, choice]))
            .map_or(self.id, |own| own.2)
    }
}

/// The body of `presence/definitions`.
pub(super) fn definitions() -> Value {
    let built_in = SYSTEM
        .iter()
        .map(|presence| definition(presence.id, presence.rest, "System", presence));
    let own = OWN
        .iter()
        .map(|&(label, rest, id)| definition(id, label, "User", SystemPresence::of(rest)));
    let entities: Vec<Value> = built_in.chain(own).collect();
    json!({"total": entities.len(), "entities": entities, "selfUri": "/api/v2/presence/definitions"})
}

fn definition(id: &str, label: &str, kind: &str, presence: &SystemPresence) -> Value {
    json!({
        "id": id,
        "name": label,
        "type": kind,
        "languageLabels": {"en_US": label},
        "systemPresence": presence.definition,
        "divisionId": "*",
        "deactivated": false,
        "selfUri": format!("/api/v2/presence/definitions/{id}"),
    })
}

/// The body of `systempresences`: a bare array.
pub(super) fn system_presences() -> Value {
    SYSTEM
        .iter()
        .map(|presence| {
            json!({
                "id": presence.event,
                "name": presence.rest,
                "selfUri": format!("/api/v2/systempresences/{}", presence.event),
            })
        })
        .collect()
}
