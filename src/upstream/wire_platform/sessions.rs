//! What one agent works on this moment: `GET /api/v2/analytics/agents/{userId}/status`
//! (platform-api.md §2.6), the one place where the platform says since when after-call work goes on.

use serde::de::MapAccess;

use crate::model::ids::UserId;
use crate::model::time::UnixMillis;
use crate::upstream::wire::RefusalReason;
use crate::upstream::wire_status::WireError;
use crate::upstream::wire_status::document::{Object, Rows, RowsSeed, object, skip};
use crate::upstream::wire_status::scalar::Scalar;

/// Sessions of one agent in one answer; nobody handles a hundred interactions at a time.
const SESSIONS_MAX: usize = 1_000;

/// Since when an agent does nothing but after-call work: the latest start of such a segment,
/// because before that another interaction was still going on. `None`: it has no after-call work,
/// or an answer that can be read of none.
///
/// # Errors
/// [`WireError`] if it is no object, or one about another user.
pub fn after_call_since(body: &[u8], user: &UserId) -> Result<Option<UnixMillis>, WireError> {
    let document: Document = object(body, "an object with sessions")?;
    // Only clients that may see names are told whom an answer is about.
    if document.id.as_deref().is_some_and(|id| id != user.as_str()) {
        return Err(WireError::OtherUser);
    }
    let sessions = document.sessions.unwrap_or_default();
    // Of a list that is not whole the latest may be missing.
    let whole = !sessions.overflow && sessions.refused.is_empty();
    Ok(sessions.kept.into_iter().max().filter(|_| whole))
}

#[derive(Default)]
struct Document {
    id: Option<String>,
    sessions: Option<Rows<UnixMillis>>,
}

impl<'de> Object<'de> for Document {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "userId" => {
                let id = fields.next_value::<Scalar<'de>>()?;
                self.id = id.text().map(str::to_owned);
            }
            "sessions" => {
                let mut accept = |row: Session<'de>| row.accept();
                self.sessions = fields.next_value_seed(RowsSeed::new(&mut accept, SESSIONS_MAX))?;
            }
            _ => skip(fields)?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Session<'a> {
    kind: Scalar<'a>,
    start: Scalar<'a>,
}

impl<'de> Object<'de> for Session<'de> {
    fn take<A: MapAccess<'de>>(&mut self, key: &str, fields: &mut A) -> Result<(), A::Error> {
        match key {
            "segmentType" => self.kind = fields.next_value()?,
            "segmentStart" => self.start = fields.next_value()?,
            _ => skip(fields)?,
        }
        Ok(())
    }
}

impl Session<'_> {
    /// The start of the segment, if it is after-call work.
    fn accept(&self) -> Result<Option<UnixMillis>, RefusalReason> {
        let kind = self.kind.text().unwrap_or_default();
        if !kind.eq_ignore_ascii_case("wrapup") {
            return Ok(None);
        }
        self.start.instant().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Option<UnixMillis>, WireError> {
        after_call_since(body.as_bytes(), &UserId::new("u-1"))
    }

    fn session(kind: &str, start: &str) -> String {
        format!(
            r#"{{"sessionId":"s","sessionStart":"2026-05-04T09:00:00.000Z","segmentType":"{kind}",
            "segmentStart":"{start}","mediaType":"voice"}}"#
        )
    }

    fn at(text: &str) -> UnixMillis {
        UnixMillis::parse(text).unwrap()
    }

    #[test]
    fn the_latest_segment_of_after_call_work_counts() {
        let body = format!(
            r#"{{"userId":"u-1","sessions":[{},{},{}],"routingStatus":"INTERACTING"}}"#,
            session("interact", "2026-05-04T09:20:00.000Z"),
            session("wrapup", "2026-05-04T09:16:00.250Z"),
            session("WRAPUP", "2026-05-04T09:15:00.000Z"),
        );
        assert_eq!(read(&body).unwrap(), Some(at("2026-05-04T09:16:00.250Z")));
    }

    #[test]
    fn without_after_call_work_nothing_is_told() {
        let talking = session("interact", "2026-05-04T09:20:00.000Z");
        for body in [
            "{}".to_owned(),
            r#"{"sessions":null}"#.to_owned(),
            r#"{"userId":null,"sessions":[]}"#.to_owned(),
            format!(r#"{{"sessions":[{talking}]}}"#),
        ] {
            assert_eq!(read(&body).unwrap(), None, "{body}");
        }
    }

    #[test]
    fn a_start_that_cannot_be_read_makes_no_other_the_latest() {
        let body = format!(
            r#"{{"sessions":[{},{}]}}"#,
            session("wrapup", "2026-05-04T09:16:00.250Z"),
            session("wrapup", "yesterday"),
        );
        assert_eq!(read(&body).unwrap(), None);
    }

    #[test]
    fn an_answer_about_somebody_else_or_of_another_shape_is_an_error() {
        assert!(read(r#"{"userId":"u-2","sessions":[]}"#).is_err());
        assert!(read("[]").is_err());
        assert!(read("<html>").is_err());
    }
}
