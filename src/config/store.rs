//! `store`: where rows are kept, and for how long.

use std::path::PathBuf;

use super::finding::Refusal;
use super::reader::Reader;
use super::{PipelineConfig, StoreConfig, StoreKind, duration, postgres, remote_write, values};

/// `store.kind`, and what it needs.
pub(super) fn kind(reader: &mut Reader<'_>) -> StoreKind {
    match reader.word("store.kind") {
        // Refused if there is none; another stands in until the mistakes are told.
        "postgres" => postgres::postgres(reader).map_or(StoreKind::Sqlite, StoreKind::Postgres),
        _ => {
            postgres::unused(reader);
            StoreKind::Sqlite
        }
    }
}

/// Judges the section.
pub(super) fn store(reader: &mut Reader<'_>, pipeline: &PipelineConfig) -> StoreConfig {
    let store = StoreConfig {
        kind: kind(reader),
        path: PathBuf::from(reader.value("store.path", values::path)),
        allow_network_file_system: reader.value("store.allow_network_file_system", values::switch),
        retention: reader.duration("store.retention"),
        remote_write: remote_write::remote_write(reader),
    };
    let needed = pipeline.window.length + pipeline.max_wait;
    let judged = ["store.retention", "window.length", "window.max_wait"];
    if !reader.any_bad(&judged) && store.retention <= needed {
        let what = format!(
            "({}) must be longer than window.length and window.max_wait together ({})",
            duration::text(store.retention),
            duration::text(needed)
        );
        let hint = "events must live until the last window that needs them is closed";
        reader.refuse_key("store.retention", Refusal::new(what, hint));
    }
    store
}
