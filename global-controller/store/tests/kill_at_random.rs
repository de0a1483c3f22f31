//! Replicas killed with SIGKILL at random while clients write through all of them, and then an account of every write.
//!
//! `KILL_SECONDS` says how long (20 s without it), `KILL_SEED` repeats the choice of who is killed when.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::account::Account;
use common::clients;
use common::fleet::{Fleet, Plan};

const DEFAULT_SECONDS: u64 = 20;
/// Together with the hurry and the start of who was killed, a second.
const KILL_EVERY: Duration = Duration::from_millis(800);
/// Clients hurry for so long before each kill.
const HURRY: Duration = Duration::from_millis(100);
/// Clients of each replica that write keys of their own, and that compare and set keys that all of them share.
const WRITERS: usize = 6;
const COUNTERS: usize = 2;
/// Small, so that kills fall into snapshots and the cutting of the log too.
const SNAPSHOT_ENTRIES: u64 = 1_000;

/// Who is killed at once.
#[derive(Clone, Copy)]
enum Victims {
    One,
    All,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_random_replica_killed_every_second_costs_no_acknowledged_write_and_none_happens_twice() {
    common::replica::run_if_ordered().await;
    let test = "a_random_replica_killed_every_second_costs_no_acknowledged_write_and_none_happens_twice";
    kill_for(test, seconds(), Victims::One).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_killed_at_once_every_second_cost_no_acknowledged_write_and_none_happens_twice() {
    common::replica::run_if_ordered().await;
    let test = "all_replicas_killed_at_once_every_second_cost_no_acknowledged_write_and_none_happens_twice";
    kill_for(test, seconds(), Victims::All).await;
}

fn seconds() -> Duration {
    let given = std::env::var("KILL_SECONDS").ok().map(|text| text.parse().expect("KILL_SECONDS is a number"));
    Duration::from_secs(given.unwrap_or(DEFAULT_SECONDS))
}

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let given = std::env::var("KILL_SEED").ok().map(|text| text.parse().expect("KILL_SEED is a number"));
    given.unwrap_or(u64::try_from(now & u128::from(u64::MAX)).unwrap())
}

async fn kill_for(test: &'static str, duration: Duration, victims: Victims) {
    let mut random = Random(seed() | 1);
    println!("KILL_SEED={} chooses the victims", random.0);
    let fleet = Fleet::new(&Plan { cluster: "test", test, snapshot_entries: SNAPSHOT_ENTRIES, traced: false });
    fleet.start_all().await;
    fleet.leader(|_, _| true).await;
    let account = Arc::new(Account::new());
    let clients = clients::start(&fleet, &account, WRITERS, COUNTERS);
    let (end, mut kills) = (Instant::now() + duration, 0);
    while Instant::now() < end {
        // A little more or less than a second, so that the kills don't fall into step with anything.
        tokio::time::sleep(KILL_EVERY.mul_f64(0.7 + 0.6 * random.fraction())).await;
        clients.hurry(true);
        tokio::time::sleep(HURRY).await;
        match victims {
            Victims::One => {
                let victim = &fleet.replicas[random.below(3)];
                victim.kill();
                victim.start();
                kills += 1;
            }
            Victims::All => {
                fleet.kill_all();
                fleet.replicas.iter().for_each(|replica| replica.start());
                kills += 3;
            }
        }
        clients.hurry(false);
        // Whoever was killed is back before the next, so that a majority runs nearly all the time.
        for replica in &fleet.replicas {
            replica.wait_until_serving().await;
        }
    }
    clients.stop().await;
    fleet.leader(|_, _| true).await;
    println!("{kills} kills; {}", account.summary());
    let problems = account.check(&fleet.everything("").await);
    assert!(problems.is_empty(), "{} problems, the first: {:#?}", problems.len(), &problems[..problems.len().min(20)]);
    assert!(kills > 0 && account.acknowledged() > 0, "nothing was tried");
}

/// Xorshift: all that choosing victims needs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.next() % bound).unwrap()
    }

    fn fraction(&mut self) -> f64 {
        f64::from(u32::try_from(self.next() >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

mod the_account_finds {
    use super::common::account::{Account, Fate, Written};
    use super::common::protocol::Item;

    fn item(key: &str, value: &str, revision: u64) -> Item {
        Item { key: key.into(), value: value.into(), revision }
    }

    fn write(key: &str, fate: Fate) -> Written {
        Written { key: key.into(), value: "v".into(), fate }
    }

    fn problems(writes: Vec<Written>, found: &[Item]) -> usize {
        let account = Account::new();
        for written in writes {
            account.enter(written);
        }
        account.check(found).len()
    }

    #[test]
    fn a_lost_write_a_second_application_and_one_that_was_denied() {
        let done = Fate::Acknowledged { revision: 5 };
        assert_eq!(problems(vec![write("own/a", done)], &[item("own/a", "v", 5)]), 0);
        assert_eq!(problems(vec![write("own/a", done)], &[]), 1, "lost");
        assert_eq!(problems(vec![write("own/a", done)], &[item("own/a", "v", 9)]), 1, "applied again at revision 9");
        assert_eq!(problems(vec![write("own/a", Fate::Denied)], &[item("own/a", "v", 5)]), 1, "denied, but applied");
        assert_eq!(problems(vec![write("own/a", Fate::Unknown)], &[item("own/a", "v", 5)]), 0);
        assert_eq!(problems(vec![write("own/a", Fate::Unknown)], &[]), 0);
        assert_eq!(problems(vec![], &[item("own/a", "v", 5)]), 1, "nobody wrote it");
    }

    #[test]
    fn two_links_on_one_count_and_a_missing_link() {
        let link = |count: u64, token: &str, before: &str, revision: u64| {
            let written = Written {
                key: format!("link/0/{count:012}/{token}"),
                value: before.into(),
                fate: Fate::Acknowledged { revision },
            };
            (written.clone(), item(&written.key, before, revision))
        };
        let chain = |links: Vec<(Written, Item)>, counter: &str, revision: u64| {
            let (writes, mut found): (Vec<_>, Vec<_>) = links.into_iter().unzip();
            found.push(item("counter/0", counter, revision));
            problems(writes, &found)
        };
        assert_eq!(chain(vec![link(1, "x", "", 3), link(2, "y", "x", 4)], "2 y", 4), 0);
        assert_ne!(chain(vec![link(1, "x", "", 3), link(1, "y", "", 4)], "1 y", 4), 0, "two on one predecessor");
        assert_ne!(chain(vec![link(2, "y", "x", 4)], "2 y", 4), 0, "the first is missing");
        assert_ne!(chain(vec![link(1, "x", "", 3), link(2, "y", "z", 4)], "2 y", 4), 0, "another predecessor");
        assert_ne!(chain(vec![link(1, "x", "", 3)], "2 y", 4), 0, "the counter is ahead of its links");
    }
}
