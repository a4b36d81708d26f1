//! Closed label values that no stage above owns: results of delivery, kinds of loss, codes of
//! answers. Every value is exposed with 0 from the start where that is few series.

use crate::upstream::response::TransportFailure;

macro_rules! label_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// Every label value, in the same order.
            pub(super) const LABELS: &'static [&'static str] = &[$($label,)+];

            /// The label value.
            pub const fn label(self) -> &'static str {
                Self::LABELS[self.index()]
            }

            /// Position in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

label_enum!(
    /// What became of an event.
    EventResult {
        /// Durable in the queue.
        Published => "published",
        /// Committed to the store.
        Stored => "stored",
        /// Delivered again; it changed nothing.
        Duplicate => "duplicate",
        /// Replaced an earlier revision of itself.
        Corrected => "corrected",
        /// Set aside because it cannot be stored.
        Dead => "dead",
    }
);

label_enum!(
    /// What became of a window row.
    WindowResult {
        /// Written for the first time.
        Written => "written",
        /// Written again because evidence came later.
        Revised => "revised",
        /// Written and marked volatile.
        Volatile => "volatile",
    }
);

label_enum!(
    /// Something that must never happen: data that were ours are gone or not to be trusted.
    DataLoss {
        /// A sequence number is missing.
        SequenceGap => "sequence_gap",
        /// A record does not match its checksum.
        Checksum => "checksum",
        /// A database file was set aside as damaged.
        Quarantine => "quarantine",
        /// A record was set aside because it cannot be stored.
        DeadLetter => "dead_letter",
    }
);

label_enum!(
    /// What the store was doing when it failed.
    StoreOperation {
        /// Opening or migrating the database.
        Open => "open",
        /// Appending records and checkpoint to the queue.
        Append => "append",
        /// Publishing records to a queue that several instances share.
        Publish => "publish",
        /// Reading records from the queue.
        Read => "read",
        /// Committing events and rows.
        Commit => "commit",
        /// Reading rows for a reader.
        Query => "query",
        /// Deleting what is older than the retention.
        Prune => "prune",
        /// Checking integrity or copying the database.
        Maintain => "maintain",
        /// Sending closed windows by remote write.
        RemoteWrite => "remote_write",
    }
);

label_enum!(
    /// What became of a push by OTLP.
    ExportResult {
        /// The collector took all of it.
        Success => "success",
        /// The collector took some points and refused others.
        Partial => "partial",
        /// At least one of its requests did not arrive or was refused.
        Failed => "failed",
    }
);

/// Status codes with a label value of their own: those that HTTP intermediaries and the
/// platform answer with. Any other is `other`, so that no server can make series.
const STATUS_CODES: [(u16, &str); 25] = [
    (200, "200"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (301, "301"),
    (302, "302"),
    (303, "303"),
    (304, "304"),
    (307, "307"),
    (308, "308"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (413, "413"),
    (422, "422"),
    (429, "429"),
    (500, "500"),
    (502, "502"),
    (503, "503"),
    (504, "504"),
];

const OTHER: &str = "other";
const CODE_COUNT: usize = STATUS_CODES.len() + TransportFailure::ALL.len() + 1;

/// Every value of the label `code`.
pub(super) const CODES: &[&str] = &{
    let mut codes = [OTHER; CODE_COUNT];
    let mut next = 0;
    while next < STATUS_CODES.len() {
        codes[next] = STATUS_CODES[next].1;
        next += 1;
    }
    let mut failure = 0;
    while failure < TransportFailure::ALL.len() {
        codes[next + failure] = TransportFailure::ALL[failure].label();
        failure += 1;
    }
    codes
};

/// The value of the label `code`: a status code, or why there was no answer.
pub fn code_label(outcome: Result<u16, TransportFailure>) -> &'static str {
    match outcome {
        Ok(status) => STATUS_CODES
            .binary_search_by_key(&status, |(code, _)| *code)
            .map_or(OTHER, |index| STATUS_CODES[index].1),
        Err(failure) => failure.label(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_label_of_the_closed_list() {
        for status in 0..=999 {
            let label = code_label(Ok(status));
            assert!(CODES.contains(&label));
            assert!(label == OTHER || label == status.to_string());
        }
        for failure in TransportFailure::ALL {
            assert!(CODES.contains(&code_label(Err(failure))));
        }
        assert_eq!(code_label(Ok(429)), "429");
        assert_eq!(code_label(Ok(418)), OTHER);
    }

    #[test]
    fn labels_follow_their_values() {
        for (index, loss) in DataLoss::ALL.iter().enumerate() {
            assert_eq!(loss.index(), index);
        }
        assert_eq!(DataLoss::DeadLetter.label(), "dead_letter");
        assert_eq!(StoreOperation::Commit.label(), "commit");
    }
}
