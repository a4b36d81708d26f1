//! The budget against an independent account of what was sent.

use proptest::prelude::*;

use super::*;

const ALL: [Priority; 8] = [
    Priority::Token,
    Priority::Snapshot,
    Priority::Check,
    Priority::Changed,
    Priority::NeverJoined,
    Priority::Oldest,
    Priority::Upkeep,
    Priority::Detail,
];

fn at(seconds: i64) -> Monotonic {
    Monotonic(seconds * 1_000)
}

/// Admits as many single requests as possible at one instant, each answered at once.
fn fill(budget: &mut Budget, priority: Priority, now: Monotonic) -> u32 {
    let mut admitted = 0;
    while budget.admit(priority, 1, now) {
        budget.finished();
        admitted += 1;
    }
    admitted
}

#[test]
fn priorities_are_declared_in_falling_order() {
    assert!(ALL.is_sorted());
    assert_eq!(ALL[0], Priority::Token);
    assert_eq!(ALL[7], Priority::Detail);
}

#[test]
fn shares_leave_room_above_them() {
    // 300 a minute, one page every 15 s: five snapshots can fall into 61 s, 295 are free.
    let mut budget = Budget::new(300, 8);
    assert_eq!(fill(&mut budget, Priority::Changed, at(0)), 250);
    assert_eq!(fill(&mut budget, Priority::Oldest, at(0)), 0);
    assert_eq!(fill(&mut budget, Priority::Check, at(0)), 15);
    assert_eq!(budget.remaining(at(0)), 35);
    // Half of 35 − 1.
    assert_eq!(budget.left_for_checks(at(0)), 17);
    for second in [0, 15, 30, 45, 60] {
        assert!(budget.admit(Priority::Snapshot, 1, at(second)));
        budget.finished();
    }
}

#[test]
fn background_is_spread_and_not_sent_as_a_burst() {
    let mut budget = Budget::new(300, 8);
    // 147 in 61 s are 415 ms apart; two seconds' worth may go at once.
    assert_eq!(fill(&mut budget, Priority::Oldest, at(0)), 5);
    assert_eq!(
        fill(&mut budget, Priority::NeverJoined, at(0)),
        0,
        "one pace for both"
    );
    let a_minute = alone(&mut budget, Priority::Oldest);
    assert!((140.0..150.0).contains(&a_minute), "{a_minute} a minute");
}

/// Requests a minute of a priority that has the budget for itself.
fn alone(budget: &mut Budget, priority: Priority) -> f64 {
    let (mut now, mut sent) = (at(0), 0);
    while sent < 1_000 {
        now = budget.next_opportunity(priority, 1, now);
        assert!(budget.admit(priority, 1, now));
        budget.finished();
        sent += 1;
    }
    f64::from(sent) / ((now - at(0)).as_secs_f64() / 60.0)
}

#[test]
fn first_joins_have_nearly_all_that_nobody_else_wants() {
    let a_minute = alone(&mut Budget::new(300, 8), Priority::NeverJoined);
    // 236 of the 295 that snapshots leave, in 61 s.
    assert!((228.0..240.0).contains(&a_minute), "{a_minute} a minute");
}

#[test]
fn changed_agents_do_not_wait_behind_first_joins() {
    let mut budget = Budget::new(300, 8);
    let mut joined = 0;
    for tick in 0..1_200 {
        joined += fill(&mut budget, Priority::NeverJoined, Monotonic(tick * 100));
    }
    assert!(joined > 440, "{joined} in two minutes");
    // The reserve at once, and then whatever becomes free, before any first join.
    let (mut changed, mut first) = (0, 0);
    for tick in 1_200..1_500 {
        let now = Monotonic(tick * 100);
        changed += fill(&mut budget, Priority::Changed, now);
        if tick == 1_200 {
            assert!(changed >= 14, "{changed} at once");
        }
        first += fill(&mut budget, Priority::NeverJoined, now);
    }
    assert!(changed > 110, "{changed} in half a minute");
    assert_eq!(first, 0, "while changes wait");
}

#[test]
fn where_changes_come_in_numbers_first_joins_leave_them_room_for_the_next() {
    let mut budget = Budget::new(300, 8);
    // Twenty-five change in each poll of 15 s: a hundred a minute.
    let mut slowest = 0;
    for tick in 0..3_000 {
        let now = Monotonic(tick * 100);
        if tick % 150 == 0 {
            let at_once = (0..25)
                .take_while(|_| {
                    let admitted = budget.admit(Priority::Changed, 1, now);
                    if admitted {
                        budget.finished();
                    }
                    admitted
                })
                .count();
            if tick >= 1_200 {
                slowest = slowest.max(25 - at_once);
            }
        }
        fill(&mut budget, Priority::NeverJoined, now);
    }
    assert_eq!(slowest, 0, "changes that had to wait");
}

#[test]
fn details_wait_for_everything_else() {
    let mut budget = Budget::new(300, 8);
    fill(&mut budget, Priority::Changed, at(0));
    assert_eq!(fill(&mut budget, Priority::Detail, at(1)), 0);
    let a_minute = alone(&mut Budget::new(300, 8), Priority::Detail);
    // 40 % of 295 in 61 s.
    assert!((112.0..120.0).contains(&a_minute), "{a_minute} a minute");
    let mut budget = Budget::new(300, 8);
    alone(&mut budget, Priority::Detail);
    for priority in [Priority::Oldest, Priority::Upkeep, Priority::Changed] {
        let now = budget.next_opportunity(Priority::Detail, 1, at(520));
        assert!(budget.admit(priority, 1, now), "{priority:?}");
        budget.finished();
    }
}

#[test]
fn upkeep_gets_through_while_joins_take_all_they_can() {
    let mut budget = Budget::new(300, 8);
    let mut upkeep = 0;
    for tick in 0..1_200 {
        let now = Monotonic(tick * 100);
        fill(&mut budget, Priority::Changed, now);
        upkeep += fill(&mut budget, Priority::Upkeep, now);
    }
    assert!(upkeep >= 14, "{upkeep} in two minutes");
}

#[test]
fn ten_a_minute_work_for_every_priority() {
    let mut budget = Budget::new(10, 8);
    let mut counts = [0; 8];
    for second in 0..1_200 {
        if second % 15 == 0 && budget.admit(Priority::Snapshot, 1, at(second)) {
            budget.finished();
            counts[Priority::Snapshot as usize] += 1;
        }
        for priority in [Priority::Upkeep, Priority::Oldest, Priority::Changed] {
            if budget.admit(priority, 1, at(second)) {
                budget.finished();
                counts[priority as usize] += 1;
            }
        }
    }
    assert_eq!(counts[Priority::Snapshot as usize], 80, "every slot");
    for priority in [Priority::Upkeep, Priority::Oldest, Priority::Changed] {
        assert!(counts[priority as usize] > 0, "{priority:?} of {counts:?}");
    }
}

#[test]
fn a_scan_is_admitted_whole_or_not_at_all() {
    let mut budget = Budget::new(60, 8);
    budget.set_snapshot_cost(40);
    assert!(budget.can_ever_admit(Priority::Snapshot, 40));
    assert!(!budget.can_ever_admit(Priority::Snapshot, 61));
    assert!(budget.admit(Priority::Snapshot, 40, at(0)));
    assert_eq!(budget.in_flight(), 40);
    assert!(!budget.admit(Priority::Snapshot, 40, at(15)));
    assert_eq!(budget.remaining(at(15)), 20);
    assert_eq!(
        budget.next_opportunity(Priority::Snapshot, 40, at(15)),
        at(61)
    );
    // A quarter was never sent, another page only at second 5.
    budget.given_back(Priority::Snapshot, 10, at(0));
    budget.sent_late(Priority::Snapshot, at(0), at(5));
    assert_eq!(budget.remaining(at(15)), 30);
    assert_eq!(budget.remaining(at(62)), 59);
    for _ in 0..30 {
        budget.finished();
    }
    assert_eq!(budget.in_flight(), 0);
}

#[test]
fn a_scan_of_almost_the_whole_allowance_finds_room() {
    let mut budget = Budget::new(20, 8);
    budget.set_snapshot_cost(19);
    assert_eq!(fill(&mut budget, Priority::Check, at(0)), 1);
    assert!(budget.admit(Priority::Snapshot, 19, at(0)));
    assert_eq!(budget.remaining(at(0)), 0);
}

#[test]
fn fewer_snapshots_a_minute_leave_more_to_the_rest() {
    let mut budget = Budget::new(300, 8);
    budget.set_snapshot_cost(40);
    // Five times 40 are 200 of 300; 85 % of the rest.
    assert_eq!(fill(&mut budget.clone(), Priority::Changed, at(0)), 85);
    budget.set_snapshot_interval(Millis::from_secs(61));
    assert_eq!(fill(&mut budget, Priority::Changed, at(0)), 221);
}

#[test]
fn places_in_flight_are_bounded_and_one_is_kept_for_the_snapshot() {
    let mut budget = Budget::new(300, 3);
    assert!(budget.admit(Priority::Changed, 1, at(0)));
    assert!(budget.admit(Priority::Changed, 1, at(0)));
    assert!(!budget.admit(Priority::Changed, 1, at(0)));
    let recheck = budget.next_opportunity(Priority::Changed, 1, at(0));
    assert_eq!(recheck, at(1));
    assert!(budget.admit(Priority::Snapshot, 1, at(0)));
    assert!(!budget.admit(Priority::Token, 1, at(0)));
    budget.finished();
    assert!(budget.admit(Priority::Token, 1, at(0)));
}

#[test]
fn a_429_silences_every_priority() {
    for seed in 0..200 {
        let mut budget = Budget::new(300, 8);
        budget.throttled(Millis::from_secs(12), seed, at(100));
        let until = budget.blocked_until().unwrap();
        // 12 s + 1 s + 0.5 to 1 times 3 s.
        assert!((Monotonic(114_500)..=Monotonic(116_000)).contains(&until));
        for priority in ALL {
            assert!(!budget.admit(priority, 1, Monotonic(until.0 - 1)));
            assert_eq!(budget.next_opportunity(priority, 1, at(100)), until);
        }
        assert_eq!(budget.remaining(at(100)), 0);
        budget.throttled(Millis::ZERO, seed, at(101));
        assert_eq!(budget.blocked_until(), Some(until), "a wait never shrinks");
        assert!(budget.admit(Priority::Token, 1, until));
    }
}

#[test]
fn absurd_waits_are_bounded() {
    let mut budget = Budget::new(300, 8);
    budget.throttled(Millis(-5), 1, at(0));
    assert_eq!(budget.blocked_until(), Some(at(1)));
    budget.throttled(Millis(i64::MAX), 1, at(0));
    let until = budget.blocked_until().unwrap();
    assert!((at(903)..=at(906)).contains(&until));
}

#[test]
fn headers_lower_the_allowance_and_reveal_foreign_use() {
    let mut budget = Budget::new(300, 8);
    let reading = |count, allowed, reset| RateReading {
        count: Some(count),
        allowed: Some(allowed),
        reset: Some(Millis::from_secs(reset)),
    };
    assert!(budget.admit(Priority::Snapshot, 1, at(10)));
    budget.finished();
    budget.observe(&reading(1, 180, 50), at(10));
    assert_eq!(budget.allowance(), 180);
    assert_eq!(budget.remaining(at(10)), 179);
    // 100 in the platform's window, one of them ours.
    budget.observe(&reading(100, 180, 40), at(20));
    assert_eq!(budget.remaining(at(20)), 80);
    budget.observe(&reading(100, 180, 39), at(21));
    assert_eq!(budget.remaining(at(21)), 80, "told once, counted once");
    // The next window knows nothing of it; the sliding minute still does.
    budget.observe(&reading(0, 180, 60), at(60));
    assert_eq!(budget.remaining(at(60)), 80);
    assert_eq!(budget.remaining(at(81)), 180);
    budget.observe(&reading(0, 600, 60), at(120));
    assert_eq!(budget.allowance(), 300, "never above the configuration");
}

#[test]
fn a_reset_rounded_up_does_not_make_our_own_requests_foreign() {
    let mut budget = Budget::new(300, 8);
    let reading = |count| RateReading {
        count: Some(count),
        allowed: None,
        reset: Some(MINUTE),
    };
    assert_eq!(fill(&mut budget, Priority::Changed, at(100)), 250);
    budget.observe(&reading(250), at(100));
    budget.observe(&reading(250), Monotonic(101_900));
    assert_eq!(budget.remaining(at(102)), 50);
}

#[test]
fn nonsense_in_the_headers_does_no_harm() {
    let mut budget = Budget::new(300, 8);
    budget.observe(
        &RateReading {
            count: Some(u64::MAX),
            allowed: Some(0),
            reset: Some(Millis(1_715_675_400_000)),
        },
        at(0),
    );
    assert_eq!(budget.allowance(), 300);
    assert_eq!(budget.remaining(at(0)), 0);
    assert_eq!(budget.remaining(at(61)), 300, "and it passes");
    budget.observe(&RateReading::default(), at(70));
    assert_eq!(budget.remaining(at(70)), 300);
}

#[derive(Debug, Clone)]
enum Step {
    Wait(i64),
    Admit(usize, u32),
    Finish,
    Observe(Option<u64>, Option<u64>, Option<i64>),
    Throttled(i64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4_000_i64).prop_map(Step::Wait),
        12 => (0..8_usize, 1..6_u32).prop_map(|(p, cost)| Step::Admit(p, cost)),
        8 => Just(Step::Finish),
        2 => (
            proptest::option::of(0..400_u64),
            proptest::option::of(1..400_u64),
            proptest::option::of(-10..200_000_i64),
        ).prop_map(|(c, a, r)| Step::Observe(c, a, r)),
        1 => (-1_000..30_000_i64, any::<u64>()).prop_map(|(w, s)| Step::Throttled(w, s)),
    ]
}

/// Sends every background request that is admitted while it waits for the snapshot, answers
/// after two seconds, and gives the wait.
fn wait_for_snapshot(budget: &mut Budget, pages: u32, from: Monotonic) -> Millis {
    let mut outstanding = Vec::new();
    for tick in 0..4_000 {
        let now = from + Millis(tick * 100);
        outstanding.retain(|sent: &Monotonic| {
            let answered = now - *sent >= Millis::from_secs(2);
            if answered {
                budget.finished();
            }
            !answered
        });
        if budget.admit(Priority::Snapshot, pages, now) {
            return now - from;
        }
        for priority in &ALL[2..] {
            while budget.admit(*priority, 1, now) {
                outstanding.push(now);
            }
        }
    }
    panic!("no snapshot within 400 s");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn never_above_the_allowance_and_never_while_blocked(
        per_minute in 1..330_u32,
        in_flight in 1..10_u32,
        pages in 1..8_u32,
        steps in proptest::collection::vec(step(), 1..400),
    ) {
        let mut budget = Budget::new(per_minute, in_flight);
        budget.set_snapshot_cost(pages);
        let (mut now, mut sent, mut out) = (at(0), Vec::new(), 0_u32);
        let (mut told, mut blocked) = (u32::MAX, at(0));
        for step in steps {
            match step {
                Step::Wait(span) => now = now + Millis(span),
                Step::Finish => if out > 0 { out -= 1; budget.finished(); },
                Step::Observe(count, allowed, reset) => {
                    let reading = RateReading { count, allowed, reset: reset.map(Millis) };
                    budget.observe(&reading, now);
                    told = allowed.map_or(told, |allowed| allowed as u32);
                }
                Step::Throttled(wait, seed) => {
                    budget.throttled(Millis(wait), seed, now);
                    blocked = blocked.max(now + Millis(wait.max(0) + 1_000));
                }
                Step::Admit(index, cost) => {
                    let before = budget.remaining(now);
                    let opportunity = budget.next_opportunity(ALL[index], cost, now);
                    let admitted = budget.admit(ALL[index], cost, now);
                    prop_assert_eq!(admitted, opportunity == now);
                    if !admitted {
                        let mut later = budget.clone();
                        while later.in_flight() > 0 { later.finished(); }
                        let due = later.next_opportunity(ALL[index], cost, now);
                        prop_assert_eq!(
                            later.admit(ALL[index], cost, due),
                            later.can_ever_admit(ALL[index], cost) || due == now
                        );
                        continue;
                    }
                    out += cost;
                    sent.push((now, cost));
                    prop_assert!(now >= blocked);
                    prop_assert!(cost <= before, "foreign use is respected");
                    let window: u32 = sent.iter()
                        .filter(|(when, _)| now - *when < Millis::from_secs(61))
                        .map(|(_, cost)| cost)
                        .sum();
                    prop_assert!(window <= per_minute.min(told));
                }
            }
        }
        while out > 0 { out -= 1; budget.finished(); }
        prop_assert_eq!(budget.in_flight(), 0);
        if budget.can_ever_admit(Priority::Snapshot, pages) {
            let start = now.max(budget.blocked_until().unwrap_or(now));
            let wait = wait_for_snapshot(&mut budget, pages, start);
            prop_assert!(wait <= Millis::from_secs(64), "waited {:?}", wait);
        }
    }

    #[test]
    fn a_snapshot_never_waits_for_background_in_the_steady_state(
        pages in 1..12_u32,
        seed in any::<u64>(),
    ) {
        let mut budget = Budget::new(300, 8);
        budget.set_snapshot_cost(pages);
        let mut outstanding = Vec::new();
        for tick in 0..1_800_i64 {
            let now = Monotonic(tick * 100);
            outstanding.retain(|due: &Monotonic| {
                if *due <= now { budget.finished(); }
                *due > now
            });
            if tick % 150 == 0 {
                prop_assert!(budget.admit(Priority::Snapshot, pages, now), "at {:?}", now);
                for _ in 0..pages { budget.finished(); }
            }
            let offset = jitter::up_to(seed.wrapping_add(tick as u64), 5) as usize;
            for index in 0..6 {
                while budget.admit(ALL[2 + (index + offset) % 6], 1, now) {
                    outstanding.push(now + Millis(300));
                }
            }
        }
    }
}

#[test]
fn a_restart_forgets_neither_the_silence_nor_the_minute() {
    let mut before = Budget::new(10, 8);
    let now = Monotonic(5_000);
    for _ in 0..4 {
        assert!(before.admit(Priority::Token, 1, now));
        before.finished();
    }
    before.throttled(Millis::from_secs(30), 1, now);
    let carried = before.carried(Monotonic(15_000));
    assert_eq!(carried.sent, [(Millis::from_secs(10), 4)]);
    assert!(carried.silence > Millis::from_secs(20));
    let mut after = Budget::new(10, 8);
    after.carry_on(&carried, Monotonic(0));
    assert!(!after.admit(Priority::Token, 1, Monotonic(20_000)));
    let spoken = Monotonic(0) + carried.silence;
    for _ in 0..6 {
        assert!(after.admit(Priority::Token, 1, spoken));
        after.finished();
    }
    assert!(!after.admit(Priority::Token, 1, spoken), "ten a minute");
    // What the run before sent leaves the minute when it would have.
    assert!(after.admit(Priority::Token, 1, Monotonic(51_000)));
    assert_eq!(after.carried(Monotonic(90_000)).silence, Millis::ZERO);
}
