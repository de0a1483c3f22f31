//! How often the control group's test errs, and how fast it sees: by simulation, from fixed seeds.

#![allow(clippy::unwrap_used, missing_docs)]

mod traffic;

use rollout_core::{DropTest, Requests};
use traffic::{Pause, Random};

/// Updated members that fail by just as much more as is allowed: the worst that the test must let pass. 5 % nominal.
#[test]
fn looked_at_every_interval_it_gives_at_most_five_false_alarms_in_a_hundred() {
    let just_allowed = |requests: (u32, u32), failing: f64, max_drop: f64| {
        let (control, updated) = ((requests.0, failing), (requests.1, failing + max_drop));
        Pause { max_drop, control, updated, looks: 30 }
    };
    let cases = [
        (10_000, just_allowed((600, 600), 0.001, 0.003)),
        (1000, just_allowed((600, 600), 0.0, 0.003)),
        (1000, just_allowed((600, 600), 0.01, 0.0)),
        // Twenty members against one.
        (1000, just_allowed((12_000, 600), 0.001, 0.003)),
    ];
    for (runs, pause) in cases {
        let share = pause.share_shown(runs, &mut Random(1));
        assert!(share <= 0.05, "{share} for {pause:?}");
    }
}

/// Three in ten fail everywhere for a while, in which most requests are those of the updated members: over the whole pause
/// these fail far more often, and in no interval.
#[test]
fn trouble_everywhere_is_no_drop_even_when_traffic_shifts_meanwhile() {
    let mut random = Random(2);
    let mut alarms = 0;
    for _ in 0..1000 {
        let mut test = DropTest::default();
        let mut sums = [Requests::default(); 2];
        let shown = (0..30).any(|look| {
            let trouble = (10..20).contains(&look);
            let (failing, control, updated) = if trouble { (0.3, 100, 900) } else { (0.001, 900, 100) };
            let groups = [random.requests(control, failing), random.requests(updated, failing)];
            for (sum, group) in sums.iter_mut().zip(groups) {
                sum.total += group.total;
                sum.failed += group.failed;
            }
            test.observe(0.003, groups[0], groups[1]);
            test.shows_drop()
        });
        alarms += u32::from(shown);
        let [control, updated] = sums.map(|sum| sum.failed / sum.total);
        assert!(shown || updated > 5.0 * control, "{updated} and {control}: the sums would have misled");
    }
    assert!(alarms <= 50, "{alarms} of 1000");
}

#[test]
fn a_drop_from_99_9_to_99_0_percent_at_20_requests_a_second_is_seen_in_minutes() {
    let mut random = Random(3);
    let every_five_seconds = |members: u32| (members * 20 * 5, members * 20 * 5);
    for (members, seconds) in [(1, 150), (5, 40), (20, 15)] {
        let (control, updated) = every_five_seconds(members);
        let pause = Pause { max_drop: 0.003, control: (control, 0.001), updated: (updated, 0.01), looks: 240 };
        let median = pause.median(200, &mut random).unwrap() * 5;
        assert!(median <= seconds, "{median} s with {members} members each");
        let share = pause.share_shown(200, &mut random);
        assert!(share > 0.99, "{share} within 20 minutes");
    }
}

/// From 99.95 to 99.55 %: the configured minimum of 99.5 % would let it pass.
#[test]
fn a_drop_of_0_4_points_is_told_from_one_of_0_3() {
    let pause = Pause { max_drop: 0.003, control: (10_000, 0.0005), updated: (10_000, 0.0045), looks: 60 };
    let share = pause.share_shown(200, &mut Random(4));
    assert!(share > 0.95, "{share}");
}
