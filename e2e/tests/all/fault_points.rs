//! The leader is killed at each stage of a turn, between its effects: the run ends as one that nobody disturbed.

use std::path::Path;

use crate::common::story::Story;
use crate::common::{PATIENCE, apply, checkouts, down, rollout, until, until_phase, up};
use crds::{Counts, Phase};
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Options, Playground};

const ROLLOUT: &str = "faults";
/// Stage and passage. The later ones are in the middle of the run, where some are updated and others are not.
const FAULTS: [&str; 6] = ["watch", "plan", "act:3", "observe:2", "decide:4", "publish:3"];

/// How a run went, as far as that does not depend on who led.
#[derive(Debug, PartialEq)]
struct Outcome {
    story: Story,
    counts: Counts,
    /// How often each member's Deployment was changed.
    changes: Vec<i64>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_killed_at_any_stage_changes_neither_decisions_nor_members() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("faults").unwrap();
    let fault = folder.path().join("fault");
    let options = Options::new(folder.path().join("playground"), 3, 3)
        .with_controller_variable("CLUSTERROLLOUT_FAULT_FILE", fault.to_str().unwrap());
    let playground = up(options).await;
    let undisturbed = run(&playground, 1, None).await;
    assert_eq!(undisturbed.changes, [1, 1, 1]);
    for (number, stage) in (2..).zip(FAULTS) {
        if stage.starts_with("observe") {
            gather_agents_at_the_leader(&playground).await;
        }
        let disturbed = run(&playground, number, Some((stage, &fault))).await;
        assert_eq!(disturbed, undisturbed, "killed at {stage}");
    }
    down(playground).await;
}

/// A run to the end, during which the leader perhaps dies.
async fn run(playground: &Playground, number: i64, fault: Option<(&str, &Path)>) -> Outcome {
    let before = checkouts(playground).await;
    let leader = playground.leader().await.unwrap().id.unwrap();
    if let Some((stage, file)) = fault {
        // In one rename, or a passage might read half of it.
        let unfinished = file.with_extension("unfinished");
        std::fs::write(&unfinished, stage).unwrap();
        std::fs::rename(unfinished, file).unwrap();
    }
    let selector = "clusterSelector: {matchLabels: {env: prod}}";
    let strategy = "{maxConcurrency: 1, canary: {steps: [{setWeight: 34, pause: 1}], soakSeconds: 1}}";
    let image = format!("registry.example.com/checkout:fault-{number}");
    apply(playground, &rollout(ROLLOUT, selector, &image, strategy)).await;
    if let Some((stage, file)) = fault {
        let what = format!("{leader} to die at {stage}");
        let died = wait_for(&what, PATIENCE, || async {
            let (armed, pid) = (file.exists(), playground.pid(&leader)?);
            Ok(if armed || pid.is_some() { Err(format!("armed: {armed}, process {pid:?}")) } else { Ok(()) })
        });
        died.await.unwrap();
        playground.start_part(&leader).await.unwrap();
    }
    until(playground, ROLLOUT, "to begin the run", |status| status.run == number).await;
    let status = until_phase(playground, ROLLOUT, Phase::Succeeded).await;
    let after = checkouts(playground).await;
    assert!(after.iter().all(|(_, running, _)| *running == image), "{after:?}");
    let changes = before.iter().zip(&after).map(|((_, _, old), (_, _, new))| new - old).collect();
    let story = Story::of(playground, ROLLOUT, number).await.unwrap();
    Outcome { story, counts: status.counts, changes }
}

/// Reports go to the replica that an agent's stream is connected to. When that one goes, the agent takes the next in
/// order, so stopping the two others in turn brings all to the leader.
async fn gather_agents_at_the_leader(playground: &Playground) {
    let leader = playground.leader().await.unwrap();
    let ids: Vec<String> = playground.controllers().into_iter().map(|(id, _)| id).collect();
    let place = ids.iter().position(|id| Some(id) == leader.id.as_ref()).unwrap();
    for ahead in [1, 2] {
        let id = &ids[(place + ahead) % ids.len()];
        playground.stop_part(id).await.unwrap();
        let moved = wait_for("the agents to leave it", PATIENCE, || async {
            let mut open = 0.0;
            for other in ids.iter().filter(|other| *other != id) {
                open += streams(playground, other).await?;
            }
            Ok(if open > 2.5 { Ok(()) } else { Err(format!("{open} streams are open")) })
        });
        moved.await.unwrap();
        playground.start_part(id).await.unwrap();
    }
    assert!(streams(playground, &ids[place]).await.unwrap() > 2.5, "all agents are connected to the leader");
    assert_eq!(playground.leader().await.unwrap(), leader, "nothing happened to the leader");
}

async fn streams(playground: &Playground, controller: &str) -> anyhow::Result<f64> {
    let text = playground.metrics(controller).await?;
    let line = text.lines().find(|line| line.starts_with("rollout_controller_streams "));
    Ok(line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default())
}
