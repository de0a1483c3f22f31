//! What a rollout's runs brought, asked of the controller, and the way back to one of them.
//!
//! Undo writes the old images into the specification, which stays what the fleet should run (SEMANTICS 6). It does so in
//! the user's name: whoever may edit the rollout may undo.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use crds::{
    ClusterScopeRollout, Content, FullPayload, PastRun, Payload, Revision, RolloutHistory, RunOutcome, WorkloadPayload,
};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::arguments::{Format, UndoTo};
use crate::controller;
use crate::hub::{Hub, answer_unless_conflict};
use crate::output::{self, FIELD_MANAGER};

/// Writes that meet one of the controller's, which come seconds apart.
const ATTEMPTS: usize = 5;

/// Columns of the table of runs.
const HEADER: [&str; 7] = ["RUN", "REVISION", "OUTCOME", "STARTED", "FINISHED", "PAYLOAD", "REASON"];

/// Prints the runs, the latest first.
pub(crate) async fn print(controller: &str, name: &str, format: Format) -> Result<()> {
    let history = controller::history(controller, name).await?;
    match format {
        Format::Table if history.runs.is_empty() => println!("no run of {name} has started yet"),
        Format::Table => print!("{}", table(&history)),
        Format::Json | Format::Yaml => output::print(&history, format)?,
    }
    Ok(())
}

/// Writes the payload of an earlier revision into the specification.
pub(crate) async fn undo(hub: &Hub, controller: &str, name: &str, undo: &UndoTo) -> Result<()> {
    let rollout = hub.rollout(name).await?;
    let history = controller::history(controller, name).await?;
    let (revision, payload) = target(&rollout, &history, undo)?;
    let full = match payload.content {
        Content::Images(_) => FullPayload { payload: payload.clone(), manifests: Vec::new() },
        Content::Manifests(_) => controller::payload(controller, name, revision).await?,
    };
    if !full.is_whole() {
        bail!("nobody knows the objects of revision {revision} any more");
    }
    write(hub, rollout.clone(), &full).await?;
    println!("{name}: its specification has the payload of revision {revision} again");
    if history.quarantined_revisions.contains(revision) {
        println!("it is in quarantine: kubectl clusterrollout retry {name} --why REASON");
    }
    Ok(())
}

/// The controller writes the status all the time, which is no reason to give up; another specification is.
async fn write(hub: &Hub, mut rollout: ClusterScopeRollout, payload: &FullPayload) -> Result<()> {
    let (name, seen) = (rollout.name_any(), rollout.metadata.generation);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    for _ in 0..ATTEMPTS {
        let patch = Patch::Merge(patch(&rollout, payload));
        if answer_unless_conflict(hub.rollouts().patch(&name, &parameters, &patch)).await?.is_some() {
            return Ok(());
        }
        rollout = hub.rollout(&name).await?;
        if rollout.metadata.generation != seen {
            bail!("somebody has changed the specification of {name} in this moment: look at it, and try again");
        }
    }
    bail!("{name} is written by others all the time: try again")
}

/// The revision that is meant, and what it brought.
fn target<'a>(
    rollout: &ClusterScopeRollout,
    history: &'a RolloutHistory,
    undo: &UndoTo,
) -> Result<(&'a Revision, &'a Payload)> {
    let name = rollout.name_any();
    let wanted = Payload::of(&rollout.spec).as_ref().map(Revision::of);
    let revision = match &undo.to_revision {
        Some(prefix) => named(&name, history, prefix)?,
        None => last_accepted(&name, history, wanted.as_ref())?,
    };
    if wanted.as_ref() == Some(revision) {
        bail!("the specification of {name} has the payload of revision {revision} already: there is nothing to undo");
    }
    if history.quarantined_revisions.contains(revision) && !undo.quarantined {
        bail!(
            "revision {revision} was rolled back and is in quarantine: it goes out only after a retry. To try it again all the same add --quarantined, then: kubectl clusterrollout retry {name} --why REASON"
        );
    }
    let payload = history.payloads.get(revision);
    let payload = payload.with_context(|| format!("nobody knows the payload of revision {revision} any more"))?;
    Ok((revision, payload))
}

/// The revision that begins like this.
fn named<'a>(name: &str, history: &'a RolloutHistory, prefix: &str) -> Result<&'a Revision> {
    let mut known: Vec<&Revision> =
        history.runs.iter().map(|past| &past.revision).chain(history.payloads.keys()).collect();
    known.sort();
    known.dedup();
    if let Some(exact) = known.iter().find(|revision| revision.as_str() == prefix) {
        return Ok(exact);
    }
    let fitting: Vec<&Revision> = known.into_iter().filter(|revision| revision.as_str().starts_with(prefix)).collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] => Err(anyhow!("no revision \"{prefix}\" is known of {name}: see kubectl clusterrollout history {name}")),
        several => {
            let names: Vec<&str> = several.iter().map(|revision| revision.as_str()).collect();
            Err(anyhow!("\"{prefix}\" may mean any of {}: write more of it", names.join(", ")))
        }
    }
}

/// What was accepted last, other than what the specification has now. What was rolled back since is none of it.
fn last_accepted<'a>(name: &str, history: &'a RolloutHistory, wanted: Option<&Revision>) -> Result<&'a Revision> {
    let succeeded = |past: &&PastRun| past.outcome == Some(RunOutcome::Succeeded);
    let runs = history.runs.iter().rev().filter(succeeded).map(|past| &past.revision);
    let mut candidates = history.accepted_revision.iter().chain(runs);
    let found =
        candidates.find(|revision| Some(*revision) != wanted && !history.quarantined_revisions.contains(revision));
    found.with_context(|| {
        format!(
            "there is nothing to undo to: no other revision of {name} was accepted; name one with --to-revision, see kubectl clusterrollout history {name}"
        )
    })
}

/// Only what is delivered and overrides: all else of a workload is immutable or no part of a payload. What somebody else
/// wrote meanwhile, and a recreated rollout of the same name, are a conflict.
fn patch(rollout: &ClusterScopeRollout, FullPayload { payload, manifests }: &FullPayload) -> Value {
    let Payload { content, overrides } = payload;
    let mut spec = match content {
        Content::Images(workload) => json!({"workload": {"images": images_patch(rollout, workload)}}),
        Content::Manifests(_) => json!({"manifests": manifests}),
    };
    // An empty list is none.
    spec["overrides"] = json!((!overrides.is_empty()).then_some(overrides));
    json!({"metadata": {"uid": rollout.uid(), "resourceVersion": rollout.resource_version()}, "spec": spec})
}

/// Container to image, or to null where the payload has none.
fn images_patch<'a>(
    rollout: &'a ClusterScopeRollout,
    workload: &'a WorkloadPayload,
) -> BTreeMap<&'a String, Option<&'a String>> {
    let now = rollout.spec.workload.iter().flat_map(|workload| workload.images.keys());
    let gone: BTreeMap<&String, Option<&String>> =
        now.filter(|container| !workload.images.contains_key(*container)).map(|container| (container, None)).collect();
    workload.images.iter().map(|(container, image)| (container, Some(image))).chain(gone).collect()
}

fn table(history: &RolloutHistory) -> String {
    let mut lines = vec![HEADER.map(str::to_owned)];
    lines.extend(history.runs.iter().rev().map(|past| row(history, past)));
    output::aligned(&lines)
}

fn row(history: &RolloutHistory, past: &PastRun) -> [String; 7] {
    let accepted = history.accepted_revision.as_ref() == Some(&past.revision);
    let quarantined = history.quarantined_revisions.contains(&past.revision);
    let mark = match (accepted, quarantined) {
        (true, _) => " (accepted)",
        (_, true) => " (quarantined)",
        _ => "",
    };
    let images = history.payloads.get(&past.revision).map(|payload| {
        let overrides = match payload.overrides.len() {
            0 => String::new(),
            1 => " and 1 override".to_owned(),
            count => format!(" and {count} overrides"),
        };
        format!("{}{overrides}", output::content(payload))
    });
    [
        past.run.to_string(),
        format!("{}{mark}", past.revision),
        past.outcome.map_or("under way", RunOutcome::as_str).to_owned(),
        past.started_at.0.to_string(),
        past.finished_at.as_ref().map_or_else(|| "-".to_owned(), |at| at.0.to_string()),
        images.unwrap_or_else(|| "unknown".to_owned()),
        past.reason.clone(),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use crds::{Manifest, Manifests};

    use super::*;

    /// Runs 1 to 4 brought v1 to v4; v2 was accepted after v1, v3 was rolled back, v4 superseded by nobody yet.
    fn history() -> RolloutHistory {
        let run = |number: i64, outcome: Option<&str>| {
            json!({"run": number, "revision": hash(number), "startedAt": "2026-01-01T00:00:00Z", "outcome": outcome,
                   "reason": format!("reason {number}")})
        };
        let payload = |number: i64| (hash(number).to_string(), json!(payload(number)));
        serde_json::from_value(json!({
            "rollout": "checkout",
            "acceptedRevision": hash(2),
            "quarantinedRevisions": [hash(3)],
            "runs": [run(1, Some("Succeeded")), run(2, Some("Succeeded")), run(3, Some("RolledBack")), run(4, None)],
            "payloads": (1..=4).map(payload).collect::<BTreeMap<_, _>>(),
        }))
        .unwrap()
    }

    fn payload(number: i64) -> Payload {
        let payload = json!({"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": format!("shop:v{number}")}});
        serde_json::from_value(payload).unwrap()
    }

    fn full(payload: Payload) -> FullPayload {
        FullPayload { payload, manifests: Vec::new() }
    }

    fn hash(number: i64) -> Revision {
        Revision::of(&payload(number))
    }

    /// A rollout whose specification has this payload.
    fn rollout(number: i64) -> ClusterScopeRollout {
        serde_json::from_value(json!({
            "apiVersion": "rollout.example.com/v1alpha1",
            "kind": "ClusterScopeRollout",
            "metadata": {"name": "checkout", "uid": "u", "resourceVersion": "7"},
            "spec": {"targetClusters": ["east"], "workload": payload(number),
                     "rolloutStrategy": {"canary": {"steps": [{"setWeight": 10}]}}},
        }))
        .unwrap()
    }

    fn undone(now: i64, to_revision: Option<String>, quarantined: bool) -> Result<Revision, String> {
        let undo = UndoTo { to_revision, quarantined };
        let history = history();
        target(&rollout(now), &history, &undo).map(|(revision, _)| revision.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn semantics_06_undo_goes_to_what_was_accepted_last_other_than_what_is_wanted_now() {
        assert_eq!(undone(4, None, false), Ok(hash(2)));
        assert_eq!(undone(3, None, false), Ok(hash(2)));
        assert_eq!(undone(2, None, false), Ok(hash(1)));
    }

    #[test]
    fn semantics_06_a_revision_is_named_by_as_much_of_it_as_tells_it_apart() {
        assert_eq!(undone(4, Some(hash(1).to_string()), false), Ok(hash(1)));
        assert_eq!(undone(4, Some(hash(1).as_str()[..9].to_owned()), false), Ok(hash(1)));
        let unknown = undone(4, Some("zz".to_owned()), false).unwrap_err();
        assert_eq!(unknown, "no revision \"zz\" is known of checkout: see kubectl clusterrollout history checkout");
        let ambiguous = undone(4, Some(String::new()), false).unwrap_err();
        assert!(
            ambiguous.starts_with("\"\" may mean any of ") && ambiguous.ends_with(": write more of it"),
            "{ambiguous}"
        );
    }

    #[test]
    fn semantics_29_a_quarantined_revision_needs_a_retry_and_says_so() {
        let error = undone(4, Some(hash(3).to_string()), false).unwrap_err();
        assert!(error.contains("kubectl clusterrollout retry checkout --why REASON"), "{error}");
        assert_eq!(undone(4, Some(hash(3).to_string()), true), Ok(hash(3)));
    }

    #[test]
    fn where_nothing_is_to_be_undone_that_is_said() {
        let mut history = history();
        history.runs.retain(|past| past.run == 2);
        let undo = UndoTo { to_revision: None, quarantined: false };
        let error = target(&rollout(2), &history, &undo).unwrap_err().to_string();
        assert!(
            error.starts_with("there is nothing to undo to: no other revision of checkout was accepted"),
            "{error}"
        );
        let error = undone(2, Some(hash(2).to_string()), false).unwrap_err();
        assert!(error.ends_with("already: there is nothing to undo"), "{error}");
        history.payloads.clear();
        let error = target(&rollout(4), &history, &undo).unwrap_err().to_string();
        assert!(error.starts_with("nobody knows the payload of revision"), "{error}");
    }

    #[test]
    fn a_patch_sets_the_old_images_and_takes_others_away_unless_somebody_was_faster() {
        let mut rollout = rollout(4);
        rollout.spec.workload.as_mut().unwrap().images.insert("proxy".to_owned(), "proxy:1".to_owned());
        assert_eq!(
            patch(&rollout, &full(payload(1))),
            json!({"metadata": {"uid": "u", "resourceVersion": "7"},
                   "spec": {"workload": {"images": {"app": "shop:v1", "proxy": null}}, "overrides": null}})
        );
    }

    #[test]
    fn a_patch_brings_the_overrides_back_and_the_table_counts_them() {
        let other = json!({"clusterSelector": {"matchLabels": {"region": "east"}}, "images": {"app": "east/shop:v1"}});
        let with = Payload { overrides: serde_json::from_value(json!([other])).unwrap(), ..payload(1) };
        assert_eq!(patch(&rollout(4), &full(with.clone()))["spec"]["overrides"], json!([other]));
        let mut history = history();
        history.payloads.insert(hash(1), with);
        assert!(table(&history).contains("app=shop:v1 and 1 override  "), "{}", table(&history));
    }

    #[test]
    fn whole_objects_are_written_back_as_they_were_and_counted_in_the_table() {
        let config =
            |name: &str| Manifest(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}));
        let manifests = vec![config("a"), config("b")];
        let content = Content::Manifests(Manifests::of(&manifests));
        let payload = Payload { content, overrides: Vec::new() };
        let mut history = history();
        history.payloads.insert(hash(1), payload.clone());
        assert!(table(&history).contains("  2 objects  "), "{}", table(&history));
        let patch = patch(&rollout(4), &FullPayload { payload, manifests: manifests.clone() });
        assert_eq!(patch["spec"], json!({"manifests": manifests, "overrides": null}));
    }

    #[test]
    fn a_table_has_the_latest_run_first() {
        let table = table(&history());
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[1].starts_with(&format!("4     {}", hash(4))) && lines[1].contains("under way"), "{table}");
        assert!(
            lines[2].contains("(quarantined)   RolledBack") && lines[2].ends_with("app=shop:v3   reason 3"),
            "{table}"
        );
        assert!(lines[3].contains("(accepted)"), "{table}");
    }
}
