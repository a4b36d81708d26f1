//! Events as the pipeline makes them, for benches that need many.

use std::sync::{Arc, LazyLock};

use genesys_cloud_exporter::model::event::{Chain, Event};
use genesys_cloud_exporter::model::ids::UserId;
use genesys_cloud_exporter::model::state::{Presence, RoutingState, Source};
use genesys_cloud_exporter::model::time::{Millis, UnixMillis};

static QUEUES: LazyLock<Arc<[Arc<str>]>> =
    LazyLock::new(|| ["Support DE", "Sales EN"].map(Arc::from).into());

/// The agent enters the state, and nothing was known before.
pub(crate) fn event(user_id: UserId, at: UnixMillis, state: RoutingState) -> Event {
    Event {
        user_id,
        state_entered_timestamp: at,
        routing_availability: state,
        raw_state: None,
        wrapup_code: None,
        ui_presence: Presence::parse("On Queue"),
        queue_assignments: Arc::clone(&QUEUES),
        timestamp: at,
        state_duration_seconds: Millis::ZERO,
        ingested_at: at,
        source: Source::Routing,
        volatile: false,
        previous: None,
        revision: 1,
        chain: Chain::Gap { known_until: None },
        estimated: false,
        withdrawn: false,
    }
}
