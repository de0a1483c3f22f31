//! Replicas in processes of their own: paused, wiped, and given the folder of another cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::fleet::{Fleet, Plan};
use common::protocol::{Answer, Ask};

/// Longer than the longest election timeout by far.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(3);

fn fleet(cluster: &'static str, test: &'static str) -> Fleet {
    Fleet::new(&Plan { cluster, test, snapshot_entries: 100, traced: false })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_paused_is_replaced_and_its_fenced_writes_are_refused() {
    common::replica::run_if_ordered().await;
    let fleet = fleet("test", "a_leader_that_was_paused_is_replaced_and_its_fenced_writes_are_refused");
    fleet.start_all().await;
    let (old, fence) = fleet.leader(|_, _| true).await;
    let paused = &fleet.replicas[old];
    let fenced = |key: &str| Ask::Txn { fence: Some(fence), when: vec![], then: vec![(key.into(), "v".into())] };
    assert!(matches!(paused.ask(fenced("before")).await, Answer::Committed { .. }));
    let mut acknowledged: Vec<_> = (0..150).map(|n| format!("acknowledged-{n}")).collect();
    for key in &acknowledged {
        paused.put(key, "v").await;
    }
    paused.signal("STOP");
    let stopped = tokio::time::Instant::now();
    let (new, newer) = fleet.leader(|place, newer| place != old && newer > fence).await;
    for n in 0..150 {
        let key = format!("meanwhile-{n}");
        fleet.replicas[new].put(&key, "v").await;
        acknowledged.push(key);
    }
    // What the paused leader will do first when it runs again, not knowing that it was paused.
    let late = paused.send(&fenced("late")).unwrap();
    tokio::time::sleep_until(stopped + PAUSE).await;
    paused.signal("CONT");
    let late = late.await.unwrap();
    assert!(
        matches!(late, Answer::Fenced | Answer::NotApplied { .. } | Answer::Unknown { .. }),
        "the fence {fence} was passed while {newer} was in force: {late:?}"
    );
    for replica in &fleet.replicas {
        let answer = replica.ask(fenced("late")).await;
        assert_eq!(answer, Answer::Fenced, "logged: {:?}", fleet.logs());
        assert_eq!(replica.get("late").await, None);
        assert_eq!(replica.get("before").await.as_deref(), Some("v"));
        for key in &acknowledged {
            assert_eq!(replica.get(key).await.as_deref(), Some("v"), "{key} is gone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_wiped_replicas_make_no_majority_and_say_what_they_found() {
    common::replica::run_if_ordered().await;
    let fleet = fleet("test", "two_wiped_replicas_make_no_majority_and_say_what_they_found");
    fleet.start_all().await;
    fleet.leader(|_, _| true).await;
    fleet.replicas[0].put("a", "1").await;
    fleet.kill_all();
    let aside = |place: usize| fleet.folder.join(format!("aside-{place}"));
    for place in [1, 2] {
        std::fs::rename(fleet.replicas[place].folder(), aside(place)).unwrap();
    }
    fleet.start_all().await;
    for place in [1, 2] {
        let said = fleet.replicas[place].logged("its folder was lost").await;
        assert!(said.contains("controller-1") && said.contains("new id"), "no way out is named: {said}");
    }
    // Each write waits several election timeouts for a leader.
    let writes = fleet.replicas.iter().map(|replica| replica.txn(None, vec![], vec![("b".into(), "2".into())]));
    for answer in futures::future::join_all(writes).await {
        assert!(matches!(answer, Answer::NotApplied { .. }), "replicas without memory made a majority: {answer:?}");
    }
    for replica in &fleet.replicas {
        let view = replica.ask(Ask::Leadership).await;
        assert_eq!(view, Answer::Leadership { leader: None, fence: None });
    }
    // With one of the folders back there is a majority that remembers.
    fleet.replicas[1].kill();
    std::fs::remove_dir_all(fleet.replicas[1].folder()).unwrap();
    std::fs::rename(aside(1), fleet.replicas[1].folder()).unwrap();
    fleet.replicas[1].start();
    let (leader, _) = fleet.leader(|_, _| true).await;
    assert_ne!(leader, 2, "a wiped replica leads");
    assert_eq!(fleet.replicas[leader].get("a").await.as_deref(), Some("1"));
    assert_eq!(fleet.replicas[leader].get("b").await, None);
    fleet.replicas[leader].put("b", "3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_given_the_folder_of_another_cluster_ends_and_names_both() {
    common::replica::run_if_ordered().await;
    let test = "a_process_given_the_folder_of_another_cluster_ends_and_names_both";
    let (green, blue) = (fleet("green", test), fleet("blue", test));
    green.start_all().await;
    green.leader(|_, _| true).await;
    green.replicas[0].put("a", "1").await;
    green.kill_all();
    let (well, said) = blue.replicas[0].start_in_vain(green.replicas[0].folder()).await;
    assert!(!well, "it ended as if all was well");
    assert!(said.iter().any(|line| line.contains("'green'") && line.contains("'blue'")), "it said {said:?}");
    // The attempt changed nothing in it.
    green.start_all().await;
    green.leader(|_, _| true).await;
    assert_eq!(green.replicas[0].get("a").await.as_deref(), Some("1"));
}
