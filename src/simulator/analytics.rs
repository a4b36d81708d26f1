//! Analytics: the history of statuses and presences, and what one agent does this moment
//! (platform-api.md §2.6, §2.8).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::calls::not_found;
use super::exchange::SimResponse;
use super::faults::FaultKind;
use super::platform::{Asked, SimulatedPlatform};
use super::standing::{Reading, before};
use super::user_bodies;
use crate::model::time::{Millis, UnixMillis};

/// Longest intervals, without and with a filter by user.
const INTERVAL_MAX: Millis = Millis::from_secs(7 * 86_400);
const FILTERED_INTERVAL_MAX: Millis = Millis::from_secs(31 * 86_400);
/// Page sizes: where none is given, and the largest.
const PAGE_DEFAULT: usize = 25;
const PAGE_MAX: usize = 100;
/// More ids than this in one query are a mistake; keeps each look-up short.
const PREDICATES_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DetailsQuery {
    interval: String,
    #[serde(default)]
    user_filters: Vec<Filter>,
    #[serde(default)]
    presence_filters: Vec<Filter>,
    #[serde(default)]
    routing_status_filters: Vec<Filter>,
    #[serde(default)]
    order: Option<String>,
    #[serde(default)]
    paging: Option<Paging>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Paging {
    page_size: Option<usize>,
    page_number: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Filter {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    predicates: Vec<Predicate>,
}

#[derive(Debug, Deserialize)]
struct Predicate {
    dimension: String,
    value: Option<String>,
}

/// A query that makes sense.
struct Details {
    from: UnixMillis,
    to: UnixMillis,
    users: Option<BTreeSet<String>>,
    presences: Option<BTreeSet<String>>,
    statuses: Option<BTreeSet<String>>,
    falling: bool,
    size: usize,
    number: usize,
}

impl SimulatedPlatform {
    /// Statuses and presences of users within an interval, a page of users at a time.
    pub(super) fn details(&mut self, asked: &Asked<'_>) -> SimResponse {
        let query = match read(&asked.request.body) {
            Ok(query) => query,
            Err(message) => return asked.error(400, "bad.request", &message),
        };
        let lag = self.fault(FaultKind::StaleDetails, None, asked.now);
        let known = asked.platform_now - lag.map_or(Millis::ZERO, |lag| Millis(lag.value));
        let positions: Vec<usize> = (0..self.roster.entries().len())
            .filter(|&position| {
                let id = self.roster.entries()[position].agent.id.as_str();
                query.users.as_ref().is_none_or(|users| users.contains(id))
            })
            .collect();
        let mut found = Vec::new();
        for position in positions {
            if let Some(row) = self.details_of(position, &query, known) {
                found.push(row);
            }
        }
        let hits = found.len();
        let first = (query.number - 1).saturating_mul(query.size).min(hits);
        let page: Vec<Value> = found.into_iter().skip(first).take(query.size).collect();
        let mut body = json!({"totalHits": hits});
        // Past the end the list is not there at all.
        if !page.is_empty() {
            body["userDetails"] = json!(page);
        }
        SimResponse::json(200, &body)
    }

    /// What an agent was within the interval; `None` if that is nothing. What runs at the
    /// instant of `known` has no end.
    fn details_of(&mut self, position: usize, query: &Details, known: UnixMillis) -> Option<Value> {
        let seed = self.roster.spec().seed;
        let entry = self.roster.entry_mut(position);
        let last = known.min(before(query.to));
        let member_until = entry.left.unwrap_or(last).min(last);
        if member_until < query.from || entry.joined.is_some_and(|joined| joined > member_until) {
            return None;
        }
        let index = entry.agent.index;
        // What ends after the interval has an end all the same, if that is known.
        Reading::at(seed, index, &mut entry.timeline, known);
        let reading = Reading::at(seed, index, &mut entry.timeline, member_until);
        let wanted = |filter: &Option<BTreeSet<String>>, values: [&str; 2]| {
            filter
                .as_ref()
                .is_none_or(|filter| values.iter().any(|&value| filter.contains(value)))
        };
        let record = |since: UnixMillis, until: Option<UnixMillis>| {
            let mut record = json!({"startTime": since});
            if let Some(until) = until {
                record["endTime"] = json!(until);
            }
            record
        };
        let mut statuses: Vec<Value> = Vec::new();
        for span in reading.statuses_from(query.from) {
            let until = span.until.or(reading.end_of_status(known));
            if wanted(&query.statuses, [span.status.wire(); 2]) {
                let mut row = record(span.since, until);
                row["routingStatus"] = json!(span.status.wire());
                statuses.push(row);
            }
        }
        let mut presences: Vec<Value> = Vec::new();
        for span in reading.presences_from(query.from) {
            let until = span.until.or(reading.end_of_presence(known));
            if wanted(&query.presences, [span.presence.event, span.definition]) {
                let mut row = record(span.since, until);
                row["systemPresence"] = json!(span.presence.event);
                row["organizationPresenceId"] = json!(span.definition);
                presences.push(row);
            }
        }
        if statuses.is_empty() && presences.is_empty() {
            return None;
        }
        if query.falling {
            statuses.reverse();
            presences.reverse();
        }
        let id = &self.roster.entries()[position].agent.id;
        Some(json!({"userId": id, "primaryPresence": presences, "routingStatus": statuses}))
    }

    /// What one agent does this moment: the one place that tells when after-call work began.
    pub(super) fn agent_status(&mut self, asked: &Asked<'_>, id: &str) -> SimResponse {
        let Some(position) = self.registered(asked, id) else {
            return not_found(asked);
        };
        let standing = self.standing(position, asked.platform_now);
        let unknown = self.is_unknown(position, asked.now);
        let queues = self.roster.queue_ids(position);
        let queue = standing
            .conversation
            .filter(|_| !queues.is_empty())
            .map(|open| queues[open.key as usize % queues.len()].as_str());
        let agent = &self.roster.entries()[position].agent;
        SimResponse::json(
            200,
            &user_bodies::agent_status(agent, &standing, queue, unknown),
        )
    }
}

/// Reads a query; the error is the message of a 400.
fn read(body: &[u8]) -> Result<Details, String> {
    let query: DetailsQuery = serde_json::from_slice(body)
        .map_err(|error| format!("the query cannot be read: {error}"))?;
    let (from, to) = query
        .interval
        .split_once('/')
        .and_then(|(from, to)| Some((UnixMillis::parse(from).ok()?, UnixMillis::parse(to).ok()?)))
        .filter(|(from, to)| from < to)
        .ok_or_else(|| format!("interval {:?} is not of the form from/to", query.interval))?;
    let users = values(&query.user_filters, &["userId"])?;
    let most = if users.is_some() {
        FILTERED_INTERVAL_MAX
    } else {
        INTERVAL_MAX
    };
    if to - from > most {
        let days = most.0 / 86_400_000;
        return Err(format!(
            "interval {:?} is longer than {days} days",
            query.interval
        ));
    }
    let (size, number) = query.paging.map_or((None, None), |paging| {
        (paging.page_size, paging.page_number)
    });
    let (size, number) = (size.unwrap_or(PAGE_DEFAULT), number.unwrap_or(1));
    if !(1..=PAGE_MAX).contains(&size) || number == 0 {
        return Err(format!(
            "paging is out of range: pageSize {size} (1 to {PAGE_MAX}), pageNumber {number} (from 1)"
        ));
    }
    Ok(Details {
        from,
        to,
        users,
        presences: values(
            &query.presence_filters,
            &["systemPresence", "organizationPresenceId"],
        )?,
        statuses: values(&query.routing_status_filters, &["routingStatus"])?,
        falling: match query.order.as_deref() {
            None | Some("asc" | "unordered") => false,
            Some("desc") => true,
            Some(order) => {
                return Err(format!(
                    "order {order:?} is not one of asc, desc, unordered"
                ));
            }
        },
        size,
        number,
    })
}

/// The values that filters allow: any of a filter's predicates, all of the filters. `None`: no
/// filter, so anything.
fn values(filters: &[Filter], dimensions: &[&str]) -> Result<Option<BTreeSet<String>>, String> {
    let mut allowed: Option<BTreeSet<String>> = None;
    for filter in filters {
        let count = filter.predicates.len();
        if count > PREDICATES_MAX {
            return Err(format!(
                "{count} predicates are too many: at most {PREDICATES_MAX}"
            ));
        }
        if filter.kind != "or" && count > 1 {
            return Err("one dimension has one value: predicates must be joined by or".to_owned());
        }
        let mut here = BTreeSet::new();
        for predicate in &filter.predicates {
            let dimension = &*predicate.dimension;
            if !dimensions.contains(&dimension) {
                return Err(format!(
                    "dimension {dimension:?} is not one of {dimensions:?}"
                ));
            }
            let value = predicate.value.clone();
            here.insert(value.ok_or_else(|| format!("a predicate of {dimension} has no value"))?);
        }
        allowed = Some(match allowed {
            None => here,
            Some(before) => before.intersection(&here).cloned().collect(),
        });
    }
    Ok(allowed)
}
