//! What holds for any bytes and any order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Runs every parser over the same bytes.
fn read_all(body: &[u8]) {
    let _ = statuses(body);
    let _ = routing_states(body, &agent());
    let _ = users(body);
    let _ = queues(body);
    let _ = members(body);
    let _ = open_interactions(body);
    let _ = login(body);
    let _ = grant(body);
    let _ = error_body(body);
}

const GOLDEN: [&[u8]; 8] = [
    fixture!("statuses.json"),
    fixture!("statuses_paged.json"),
    fixture!("statuses_bad_records.json"),
    fixture!("routing_state_odd.json"),
    fixture!("users.json"),
    fixture!("user_summary.json"),
    fixture!("error_403.json"),
    fixture!("queues.json"),
];

fn routing_entry() -> impl Strategy<Value = (i64, usize)> {
    (1_700_000_000_000..1_700_000_000_020_i64, 0..5_usize)
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..512)) {
        read_all(&body);
    }

    #[test]
    fn no_damage_to_a_good_answer_panics(
        which in 0..GOLDEN.len(),
        cut in any::<prop::sample::Index>(),
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut body = GOLDEN[which].to_vec();
        for (place, byte) in hits {
            let place = place.index(body.len());
            body[place] = byte;
        }
        read_all(&body);
        body.truncate(cut.index(body.len()));
        read_all(&body);
    }

    #[test]
    fn order_is_kept_and_every_record_is_accounted_for(good in proptest::collection::vec(any::<bool>(), 0..64)) {
        let mut rows = Vec::new();
        let mut expected = Vec::new();
        for (index, good) in good.iter().enumerate() {
            let id = format!("agent-{index:04}");
            let presence = if *good { "\"Away\"" } else { "{}" };
            rows.push(format!(
                r#"{{"userId":"{id}","presence":{presence},"availability":"OnCall","lastModified":"2024-05-14T08:30:00Z"}}"#
            ));
            if *good {
                expected.push(UserId::new(&id));
            }
        }
        let page = statuses(format!("[{}]", rows.join(",")).as_bytes()).unwrap();
        let ids: Vec<_> = page.records.iter().map(|r| r.user_id.clone()).collect();
        prop_assert_eq!(ids, expected);
        prop_assert_eq!(page.records.len() + page.refused.len(), good.len());
    }

    #[test]
    fn routing_entries_do_not_depend_on_the_order_on_the_wire(
        (entries, shuffled) in proptest::collection::vec(routing_entry(), 0..24)
            .prop_flat_map(|entries| (Just(entries.clone()), Just(entries).prop_shuffle()))
    ) {
        let read = |entries: &[(i64, usize)]| {
            let rows: Vec<_> = entries
                .iter()
                .map(|(at, state)| format!(
                    r#"{{"interactionState":"{}","stateEnteredTimestamp":{at}}}"#,
                    RoutingState::ALL[*state].wire()
                ))
                .collect();
            let body = format!(r#"{{"routingStates":[{}]}}"#, rows.join(","));
            routing_states(body.as_bytes(), &agent()).unwrap().entries
        };
        let sorted = read(&entries);
        prop_assert_eq!(&sorted, &read(&shuffled));
        prop_assert!(sorted.windows(2).all(|pair| pair[0].entered_at < pair[1].entered_at));
        let instants: BTreeSet<_> = entries.iter().map(|(at, _)| *at).collect();
        prop_assert_eq!(sorted.len(), instants.len());
    }
}
