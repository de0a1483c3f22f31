#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;

/// Rollout u, named r, has told member m to apply.
fn sound() -> Vec<(&'static str, Value)> {
    let assignment = json!({
        "member": "m", "rollout": {"name": "r", "uid": "u", "run": 1}, "revision": "abc", "intent": "Apply",
        "fence": {"epoch": 5, "generation": 0}, "deadlineSeconds": 600,
        "workload": {"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "app:2"}},
    });
    let report = json!({
        "member": "m", "rollout": "r", "rolloutUid": "u", "status": {"fence": {"epoch": 5, "generation": 17}},
    });
    let decision = json!({
        "number": 1, "at": 1, "by": "c", "term": 1, "rollout": "r", "run": 1, "commands": [], "events": [],
    });
    let sample = json!({
        "gate": {"run": 1, "step": 0, "beganAt": 1}, "revision": "abc", "at": 1, "verdict": "Pass", "found": "100%",
        "passed": 1, "failed": 0, "unknown": 0,
    });
    let payload = json!({"kind": "Deployment", "namespace": "shop", "name": "checkout", "images": {"app": "shop:v2"}});
    vec![
        ("assignments/m/r", assignment),
        ("claims/m/Deployment.apps/shop/checkout", json!({"uid": "u", "rollout": "r"})),
        ("decisions/u/000000000001", decision),
        ("meta/epoch", json!(5)),
        ("of/a/newer/release", json!({})),
        ("reports/m/r", report),
        ("rollouts/u/header", json!({"version": 1, "name": "r", "uid": "u", "runsStarted": 1, "decisions": 1})),
        ("rollouts/u/history", json!([{"number": 1, "revision": "2821cde69523ab29", "generation": 1, "startedAt": 1}])),
        ("rollouts/u/members/m", json!({"run": 1, "stage": {"name": "applying", "since": 1}, "touched": "Perhaps"})),
        ("rollouts/u/payloads/2821cde69523ab29", payload),
        ("rollouts/u/plan", json!({"members": ["m"], "waveEnd": 1})),
        ("samples/u/success-rate/m", sample),
    ]
}

fn survey(items: &[(&str, Value)]) -> Survey {
    let mut survey = Survey { revision: 20, ..Survey::default() };
    for (key, value) in items {
        let value = Bytes::from(serde_json::to_vec(value).unwrap());
        survey.add(&KeyValue { key: (*key).to_owned(), value, revision: 17 });
    }
    survey
}

/// What is broken after an edit of the sound store, as "key: sentence".
fn broken(edit: impl FnOnce(&mut Vec<(&'static str, Value)>)) -> Vec<String> {
    let mut items = sound();
    edit(&mut items);
    let line = |Fault { subject, broken }: Fault| format!("{subject}: {broken}");
    survey(&items).faults().into_iter().map(line).collect()
}

fn without(key: &'static str) -> Vec<String> {
    broken(|items| items.retain(|(known, _)| *known != key))
}

fn with(key: &'static str, pointer: &str, value: Value) -> Vec<String> {
    broken(|items| {
        let item = items.iter_mut().find(|(known, _)| *known == key).unwrap();
        *item.1.pointer_mut(pointer).unwrap() = value;
    })
}

#[test]
fn a_sound_store_has_no_faults_and_keys_of_a_newer_release_are_counted() {
    let survey = survey(&sound());
    assert_eq!(survey.faults(), []);
    assert_eq!((survey.keys, survey.unknown_keys), (12, 1));
}

#[test]
fn nothing_of_a_rollout_is_there_without_its_header() {
    assert_eq!(
        without("rollouts/u/header"),
        [
            "rollouts/u/plan: an orphan: the rollout has no header",
            "samples/u/: orphans: the rollout has no header",
            "rollouts/u/history: an orphan: the rollout has no header",
            "rollouts/u/members/m: an orphan: the rollout has no header",
            "assignments/m/r: there is no rollout 'r' of uid u",
            "claims/m/Deployment.apps/shop/checkout: an orphan: there is no rollout 'r' of uid u",
            "decisions/u/000000000001: an orphan: there is no header",
        ]
    );
    assert_eq!(without("rollouts/u/plan"), ["rollouts/u/header: the rollout has no plan"]);
}

#[test]
fn semantics_02_a_payload_is_named_by_its_hash_and_referred_to() {
    let payload = "rollouts/u/payloads/2821cde69523ab29";
    let orphan = format!("{payload}: an orphan: neither a past run nor the header refers to it");
    assert_eq!(without("rollouts/u/history"), [orphan]);
    let other = with(payload, "/images/app", json!("shop:v3"));
    assert!(other[0].starts_with(&format!("{payload}: the hash of the payload is ")), "{other:?}");
}

#[test]
fn an_assignment_and_a_record_of_it_come_and_go_together() {
    assert_eq!(without("rollouts/u/members/m"), ["assignments/m/r: rollout u has no record of the member"]);
    assert_eq!(
        without("assignments/m/r"),
        [
            "rollouts/u/members/m: the member is Applying { since: 1 } without an assignment",
            "reports/m/r: an orphan: there is no assignment that it could answer",
        ]
    );
    assert_eq!(
        with("assignments/m/r", "/member", json!("n")),
        ["assignments/m/r: it is for member 'n' and rollout 'r'"]
    );
}

#[test]
fn semantics_07_who_is_told_to_apply_is_claimed_by_who_tells_it() {
    let claim = "claims/m/Deployment.apps/shop/checkout";
    let nobody = "assignments/m/r: it says Apply and the claim on Deployment.apps/shop/checkout is held by nobody";
    assert_eq!(without(claim), [nobody]);
    assert_eq!(with(claim, "/uid", json!("v")).len(), 2, "another's, of whom nothing else is known");
    let returning = |items: &mut Vec<(&'static str, Value)>| {
        items.retain(|(key, _)| *key != claim);
        items[0].1["intent"] = json!("Return");
    };
    assert_eq!(broken(returning), [""; 0], "a return needs none");
}

#[test]
fn semantics_41_no_epoch_is_above_the_stores() {
    assert_eq!(
        with("assignments/m/r", "/fence/epoch", json!(6)),
        ["assignments/m/r: its epoch 6 is above the store's, Some(5)"]
    );
    assert_eq!(
        with("reports/m/r", "/status/fence/generation", json!(21)),
        ["reports/m/r: its fence 5/21 is above the store's highest, 5/20"]
    );
    assert_eq!(with("reports/m/r", "/status/fence", json!({"epoch": 4, "generation": 99})), [""; 0]);
    assert_eq!(without("meta/epoch").len(), 2);
}

#[test]
fn a_decision_is_recorded_and_records_are_bounded() {
    let missing = "rollouts/u/header: 1 decisions were taken, and the record of the last is not there";
    assert_eq!(without("decisions/u/000000000001"), [missing]);
    let ahead = with("rollouts/u/header", "/decisions", json!(0));
    assert_eq!(ahead, ["decisions/u/000000000001: the header counts 0 decisions"]);
    let left_behind = broken(|items| {
        let record = items[2].1.clone();
        items.push(("decisions/u/000000000400", record));
        items.iter_mut().find(|(key, _)| *key == "rollouts/u/header").unwrap().1["decisions"] = json!(400);
    });
    let old = "decisions/u/000000000001: older than the 250 that are kept, and nothing will remove it";
    assert_eq!(left_behind, [old]);
}

#[test]
fn a_value_that_cannot_be_read_is_named() {
    let found = with("rollouts/u/plan", "/members", json!(7));
    assert!(found[0].starts_with("rollouts/u/plan: its value can't be read: invalid type"), "{found:?}");
}
