//! Traces the system calls of three replicas: what is acknowledged was flushed on a majority before.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;

use common::fleet::{Fleet, Plan, Replica};
use common::protocol::Answer;
use common::trace::{Call, durable_at, parse, require_strace, said_at};

const SEQUENTIAL: usize = 30;
const WRITERS: usize = 16;
const WRITES_EACH: usize = 20;
/// Begin and length are both cut to microseconds.
const CLOCK_MICROSECONDS: u64 = 2;
const MAJORITY: usize = 2;

/// An acknowledged write: where it was asked, and what can be found of it in the traces.
struct Acknowledged {
    place: usize,
    key: String,
    revision: u64,
}

async fn write(place: usize, replica: &Replica, key: String) -> Acknowledged {
    match replica.txn(None, vec![], vec![(key.clone(), "v".to_owned())]).await {
        Answer::Committed { revision } => Acknowledged { place, key, revision },
        other => panic!("not committed: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_write_was_flushed_on_a_majority_before_the_answer() {
    common::replica::run_if_ordered().await;
    require_strace();
    let test = "every_acknowledged_write_was_flushed_on_a_majority_before_the_answer";
    // No snapshot comes between, so that what is found is the log.
    let fleet = Fleet::new(&Plan { cluster: "test", test, snapshot_entries: 1_000_000, traced: true });
    fleet.start_all().await;
    let (leader, _) = fleet.leader(|_, _| true).await;
    let mut acknowledged = Vec::new();
    for n in 0..SEQUENTIAL {
        acknowledged.push(write(leader, &fleet.replicas[leader], format!("alone-{n:04}.")).await);
    }
    let writers = (0..WRITERS).map(|writer| {
        let (place, replica) = (writer % 3, fleet.replicas[writer % 3].clone());
        tokio::spawn(async move {
            let mut done = Vec::new();
            for n in 0..WRITES_EACH {
                done.push(write(place, &replica, format!("together-{writer:04}-{n:04}.")).await);
            }
            done
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        acknowledged.extend(writer.await.unwrap());
    }
    fleet.replicas.iter().for_each(|replica| replica.end());
    let traces = fleet.replicas.iter().map(|replica| parse(&std::fs::read_to_string(replica.trace()).unwrap()));
    let traces: Vec<_> = traces.collect();
    for (place, calls) in traces.iter().enumerate() {
        let flushes = calls.iter().filter(|call| matches!(call.name.as_str(), "fdatasync" | "fsync")).count();
        println!("replica {place}: {} calls, {flushes} flushes, {} writes in all", calls.len(), acknowledged.len());
    }
    for (place, calls) in traces.iter().enumerate() {
        for folder in fleet.replicas[place].folder().ancestors().skip(1).take(2) {
            let flushed = calls.iter().any(|call| call.name == "fsync" && Path::new(&call.path) == folder);
            assert!(flushed, "a power cut may take what replica {place} made in '{}'", folder.display());
        }
    }
    for Acknowledged { place, key, revision } in acknowledged {
        let answer = said_at(&traces[place], &format!(r#"{{\"Committed\":{{\"revision\":{revision}}}}}"#));
        let answer = answer.unwrap_or_else(|| panic!("the trace has no answer for '{key}', revision {revision}"));
        let before = traces
            .iter()
            .zip(&fleet.replicas)
            .filter(|(calls, replica)| flushed_before(calls, replica.folder(), &key, answer));
        let before = before.count();
        assert!(before >= MAJORITY, "'{key}' was answered when {before} of 3 replicas had flushed it");
    }
}

fn flushed_before(calls: &[Call], folder: &Path, key: &str, answer: u64) -> bool {
    durable_at(calls, folder, key).into_iter().any(|flushed| flushed <= answer + CLOCK_MICROSECONDS)
}

#[test]
fn a_flush_counts_only_after_the_write_on_the_same_file_and_when_it_succeeded() {
    let trace = "\
10 100.000000 fdatasync(5</r/log/1>) = 0 <0.000100>
10 100.000200 pwrite64(5</r/log/1>, \"..key..\", 7, 0) = 7 <0.000010>
10 100.000250 fdatasync(6</r/log/2>) = 0 <0.000010>
10 100.000300 fdatasync(5</r/log/1>) = -1 EIO (Input/output error) <0.000010>
10 100.000400 fdatasync(5</r/log/1> <unfinished ...>
11 100.000450 write(1<pipe:[7]>, \"@answer\", 7) = 7 <0.000010>
10 100.000900 <... fdatasync resumed>) = 0 <0.000500>
10 100.001000 write(1<pipe:[7]>, \"@later\", 6) = 6 <0.000010>
10 100.001100 pwrite64(9</r/mirror/db>, \"..only mirrored..\", 7, 0) = 7 <0.000010>
10 100.001200 fsync(9</r/mirror/db>) = 0 <0.000010>
";
    let calls = parse(trace);
    let folder = Path::new("/r");
    assert_eq!(durable_at(&calls, folder, "key"), vec![100_000_900]);
    assert!(!flushed_before(&calls, folder, "key", said_at(&calls, "@answer").unwrap()));
    assert!(flushed_before(&calls, folder, "key", said_at(&calls, "@later").unwrap()));
    assert!(durable_at(&calls, folder, "only mirrored").is_empty());
    assert!(durable_at(&calls, Path::new("/other"), "key").is_empty());
}
