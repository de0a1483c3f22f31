//! A replica whose clock is off: it gives leadership up, isn't ready, and leads no more until its clock is right.

use crate::common;
use std::path::Path;

use crate::common::{PATIENCE, V2, apply, members_with, rollout, until_phase, up};
use crds::Phase;
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};

const STRATEGY: &str = "{canary: {steps: [{setWeight: 50, pause: 1}], soakSeconds: 1}}";

#[tokio::test(flavor = "multi_thread")]
async fn semantics_39_a_replica_whose_clock_is_off_does_not_lead() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("clock").unwrap();
    let (fault, clock) = (folder.path().join("fault"), folder.path().join("fault.clock"));
    let options = Options::new(folder.path().join("playground"), 2, 3)
        .with_controller_variable("CLUSTERROLLOUT_FAULT_FILE", fault.to_str().unwrap());
    let playground = up(options).await;
    let off = leader(&playground).await;
    write(&clock, &format!("{off} 5000"));
    let second = until_another_leads(&playground, &[&off]).await;
    until_offset(&playground, &off, |millis| (-5_500..=-4_500).contains(&millis)).await;
    apply(&playground, &rollout("checkout", "clusterSelector: {matchLabels: {env: prod}}", V2, STRATEGY)).await;
    until_phase(&playground, "checkout", Phase::Succeeded).await;
    assert_eq!(members_with(&playground, V2).await.len(), 2);

    playground.stop_part(&second).await.unwrap();
    let third = until_another_leads(&playground, &[&off, &second]).await;
    playground.start_part(&second).await.unwrap();
    std::fs::remove_file(&clock).unwrap();
    until_offset(&playground, &off, |millis| millis.abs() < 500).await;
    write(&clock, &format!("{third} -5000"));
    until_another_leads(&playground, &[&third]).await;
    // `down` asks each controller, and one whose clock is off is never ready.
    std::fs::remove_file(&clock).unwrap();
    common::down(playground).await;
}

async fn leader(playground: &Playground) -> String {
    playground.leader().await.unwrap().id.unwrap()
}

async fn until_another_leads(playground: &Playground, others: &[&String]) -> String {
    let what = format!("another than {others:?} to lead");
    let found = wait_for(&what, PATIENCE, || async {
        let leader = playground.leader().await?.id;
        Ok(leader.clone().filter(|id| !others.contains(&id)).ok_or(format!("{leader:?} leads")))
    });
    found.await.unwrap()
}

async fn until_offset(playground: &Playground, id: &str, wanted: impl Fn(i64) -> bool) {
    let what = format!("what {id} says of its clock");
    let found = wait_for(&what, PATIENCE, || async {
        let metrics = playground.metrics(id).await?;
        let line = metrics.lines().find(|line| line.contains("clock_offset_milliseconds") && !line.starts_with('#'));
        let millis = line.and_then(|line| line.rsplit(' ').next()).and_then(|number| number.parse::<i64>().ok());
        Ok(if millis.is_some_and(&wanted) { Ok(()) } else { Err(format!("{line:?}")) })
    });
    found.await.unwrap();
}

/// In one rename, or a replica might read half of it.
fn write(file: &Path, text: &str) {
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, text).unwrap();
    std::fs::rename(unfinished, file).unwrap();
}
