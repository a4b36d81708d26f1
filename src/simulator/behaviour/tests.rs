//! What holds of every timeline.

use super::*;
use proptest::prelude::*;

fn timeline(spec: &OrgSpec, index: u32) -> Timeline {
    Timeline::new(spec, TEST_ORIGIN, &Agent::generate(spec, index))
}

fn day_of(spec: &OrgSpec) -> Vec<Timeline> {
    (0..spec.agents)
        .map(|index| {
            let mut timeline = timeline(spec, index);
            timeline.extend_to(TEST_ORIGIN + hours(24));
            timeline
        })
        .collect()
}

#[test]
fn starts_rise_strictly_and_neighbours_differ() {
    for tempo in [1.0, 30.0] {
        let spec = OrgSpec {
            tempo,
            volatile_share: 0.2,
            ..OrgSpec::new(40, 8, 42)
        };
        for timeline in day_of(&spec) {
            let routing = timeline.routing();
            assert!(routing.is_sorted_by(|a, b| a.entered_at < b.entered_at));
            assert!(
                routing
                    .windows(2)
                    .all(|pair| pair[0].state != pair[1].state)
            );
            let presence = timeline.presence();
            assert!(presence.is_sorted_by(|a, b| a.at < b.at));
            assert!(
                presence
                    .windows(2)
                    .all(|pair| pair[0].presence != pair[1].presence)
            );
            assert!(routing.iter().all(|start| {
                start.wrapup_code.is_some() == (start.state == RoutingState::WrapUp)
            }));
        }
    }
}

#[test]
fn who_turns_changes_state_and_keeps_the_past() {
    let spec = OrgSpec {
        min_state: Millis(250),
        volatile_share: 0.2,
        ..OrgSpec::new(60, 8, 42)
    };
    let at = TEST_ORIGIN + hours(3);
    for untouched in day_of(&spec) {
        let mut turned = untouched.clone();
        let before = turned.routing_at(at);
        turned.turn(at);
        let turns_at = at.max(before.entered_at + spec.min_state);
        let after = turned.routing_at(turns_at);
        assert_eq!(after.entered_at, turns_at);
        let works = before.state != RoutingState::NotReady;
        let expected = if works {
            RoutingState::NotReady
        } else {
            RoutingState::Available
        };
        assert_eq!(after.state, expected);
        let past = |timeline: &Timeline| -> Vec<RoutingStart> {
            let starts = timeline.routing().iter().copied();
            starts.filter(|start| start.entered_at < turns_at).collect()
        };
        assert_eq!(past(&turned), past(&untouched));
        turned.extend_to(at + hours(24));
        let later = turned.routing();
        assert!(later.is_sorted_by(|a, b| a.entered_at < b.entered_at));
        assert!(later.windows(2).all(|pair| pair[0].state != pair[1].state));
        let presence = turned.presence();
        assert!(presence.is_sorted_by(|a, b| a.at < b.at));
        assert!(turned.known_until() > at + hours(24));
    }
}

#[test]
fn the_first_state_began_before_the_origin() {
    let spec = OrgSpec::new(50, 8, 9);
    for index in 0..50 {
        let mut timeline = timeline(&spec, index);
        assert!(timeline.known_from() < TEST_ORIGIN);
        assert!(timeline.routing_at(TEST_ORIGIN).entered_at <= TEST_ORIGIN);
        assert!(timeline.routing().len() > 10, "a past has many states");
    }
}

#[test]
fn no_state_is_shorter_than_the_least() {
    let spec = OrgSpec {
        tempo: 20.0,
        min_state: Millis::from_secs(21),
        volatile_share: 0.5,
        ..OrgSpec::new(30, 8, 3)
    };
    for timeline in day_of(&spec) {
        for pair in timeline.routing().windows(2) {
            assert!(
                pair[1].entered_at - pair[0].entered_at >= spec.min_state,
                "{pair:?}"
            );
        }
        // So none of them is volatile: four starts take more than 60 s.
        for four in timeline.routing().windows(4) {
            assert!(four[3].entered_at - four[0].entered_at > Millis::from_secs(60));
        }
    }
}

#[test]
fn a_day_shows_every_state_presence_and_oddity() {
    let spec = OrgSpec::new(200, 12, 42);
    let mut states = [0_usize; RoutingState::COUNT];
    let mut presences = std::collections::BTreeSet::new();
    let mut offline = 0;
    let mut phantom = 0;
    for mut timeline in day_of(&spec) {
        for start in timeline.routing() {
            states[start.state.index()] += 1;
        }
        presences.extend(timeline.presence().iter().map(|start| start.presence));
        let at = TEST_ORIGIN + hours(2);
        let presence = timeline.presence_at(at).presence;
        offline += usize::from(presence == "Offline");
        let not_ready = timeline.routing_at(at).state == RoutingState::NotReady;
        phantom += usize::from(presence == "Available" && not_ready);
    }
    assert!(states[..4].iter().all(|&count| count > 1_000), "{states:?}");
    assert_eq!(states[RoutingState::Unknown.index()], 0);
    let wanted = [
        "Available",
        "Away",
        "Break",
        "Busy",
        "Meal",
        "Meeting",
        "Offline",
        "On Queue",
        "Training",
    ];
    assert_eq!(presences.into_iter().collect::<Vec<_>>(), wanted);
    assert!((40..160).contains(&offline), "{offline} of 200 offline");
    assert!(phantom > 0);
}

#[test]
fn somebody_is_always_at_work_and_never_everybody() {
    let spec = OrgSpec::new(200, 12, 42);
    let mut day = day_of(&spec);
    let at_work: Vec<usize> = (0..24)
        .map(|hour| {
            let at = TEST_ORIGIN + hours(hour);
            day.iter_mut()
                .filter_map(|timeline| {
                    (timeline.presence_at(at).presence != "Offline").then_some(())
                })
                .count()
        })
        .collect();
    assert!(
        at_work.iter().all(|count| (5..150).contains(count)),
        "{at_work:?}"
    );
    // 12:00 and 04:00, counted from 09:00.
    assert!(at_work[3] > 2 * at_work[19], "{at_work:?}");
}

#[test]
fn a_lively_organisation_opens_with_people_at_work() {
    let spec = OrgSpec {
        tempo: 20.0,
        ..OrgSpec::new(200, 12, 42)
    };
    let origin = UnixMillis::parse("2024-05-14T03:00:00Z").unwrap();
    let at_work = (0..200)
        .filter(|&index| {
            let mut timeline = Timeline::new(&spec, origin, &Agent::generate(&spec, index));
            timeline.presence_at(origin).presence != "Offline"
        })
        .count();
    assert!((80..170).contains(&at_work), "{at_work} of 200 at work");
}

#[test]
fn memory_is_bounded_and_what_is_forgotten_is_said() {
    let spec = OrgSpec {
        tempo: 1_000.0,
        min_state: Millis(1),
        ..OrgSpec::new(1, 1, 5)
    };
    let mut timeline = timeline(&spec, 0);
    let born = timeline.known_from();
    timeline.extend_to(TEST_ORIGIN + hours(24));
    assert!(timeline.routing().len() <= 2 * SEGMENTS_KEPT);
    assert!(timeline.known_from() > born);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn stepping_changes_nothing(
        seed in any::<u64>(),
        tempo in prop_oneof![Just(1.0), Just(7.5), Just(30.0)],
        steps in proptest::collection::vec(1_i64..5_000_000, 1..30),
    ) {
        let spec = OrgSpec { tempo, volatile_share: 0.3, ..OrgSpec::new(1, 3, seed) };
        let mut stepped = timeline(&spec, 0);
        let mut at = TEST_ORIGIN;
        for step in steps {
            at = at + Millis(step);
            stepped.extend_to(at);
        }
        let mut jumped = timeline(&spec, 0);
        jumped.extend_to(at);
        prop_assert_eq!(stepped.routing(), jumped.routing());
        prop_assert_eq!(stepped.presence(), jumped.presence());
    }
}
