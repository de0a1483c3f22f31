//! Overrides: what some of the members get instead.

use std::collections::BTreeMap;

use crds::{ClusterScopeRolloutSpec, Manifest, Override, PatchOp, PatchTarget};

use super::manifests::{check_one, check_size};
use super::{Concern, Problem, Problems, check_images, check_selector};
use crate::manifests::patched;

/// Most overrides.
const MAX_OVERRIDES: usize = 32;
/// Most operations of a patch.
const MAX_OPERATIONS: usize = 32;
/// All of them together, as JSON. Payloads with them may be seven times in the transaction of one decision, which bears 1 MiB
/// and has assignments of 30 members in it: five of the history, in the header, and in the plan beside it.
const MAX_BYTES: usize = 8 * 1024;

pub(super) fn check(spec: &ClusterScopeRolloutSpec, problems: &mut Problems) {
    let field = "spec.overrides";
    let overrides = &spec.overrides;
    problems.require(
        overrides.len() <= MAX_OVERRIDES,
        field,
        &overrides.len().to_string(),
        "must have at most 32 entries",
    );
    // Plain data: there is nothing in it that can't be written as JSON.
    let bytes = serde_json::to_string(overrides).map_or(0, |json| json.len());
    problems.require(
        bytes <= MAX_BYTES,
        field,
        &format!("{bytes} bytes"),
        "must have at most 8192 bytes as JSON, all together: select more members by fewer labels, or use several rollouts",
    );
    for (index, one) in overrides.iter().enumerate() {
        let field = format!("{field}[{index}]");
        let Override { cluster_selector, images, target, json_patch } = one;
        check_selector(&format!("{field}.clusterSelector"), cluster_selector, problems);
        let sort = images.is_empty() != json_patch.is_empty() && target.is_some() != json_patch.is_empty();
        problems.require(sort, &format!("{field}.images"), "", "must be given, or target and jsonPatch instead");
        if !images.is_empty() {
            check_override_images(&format!("{field}.images"), images, spec, problems);
        }
        if let Some(target) = target {
            check_patch(&format!("{field}.jsonPatch"), one, target, &spec.manifests, problems);
        }
    }
}

fn check_override_images(
    field: &str,
    images: &BTreeMap<String, String>,
    spec: &ClusterScopeRolloutSpec,
    problems: &mut Problems,
) {
    check_images(field, images, problems);
    for container in images.keys() {
        let known = spec.workload.as_ref().is_some_and(|workload| workload.images.contains_key(container));
        problems.require(known, field, container, "must be a container that spec.workload.images names, too");
    }
}

/// It must apply before anybody is touched. Each is tried by itself: of several for one object only one counts.
fn check_patch(field: &str, one: &Override, target: &PatchTarget, manifests: &[Manifest], problems: &mut Problems) {
    problems.require(
        one.json_patch.len() <= MAX_OPERATIONS,
        field,
        &one.json_patch.len().to_string(),
        "must have 1 to 32 operations",
    );
    for (index, operation) in one.json_patch.iter().enumerate() {
        let wanted = matches!(operation.op, PatchOp::Add | PatchOp::Replace | PatchOp::Test);
        problems.require(
            operation.value.is_some() == wanted,
            &format!("{field}[{index}].value"),
            operation.op.as_str(),
            "belongs to add, replace and test, and to no other operation",
        );
    }
    let mut rendered = manifests.to_vec();
    let meant = rendered.iter_mut().filter(|manifest| target.is(&manifest.object()));
    let mut found = false;
    for manifest in meant {
        found = true;
        match patched(manifest, &one.json_patch) {
            Ok(patched) => {
                check_one(field, &patched, &patched.object(), problems);
                *manifest = patched;
            }
            Err(error) => problems.0.push(Problem {
                field: field.to_owned(),
                value: target.to_string(),
                message: error.to_string(),
                concern: Concern::Members(one.cluster_selector.clone()),
            }),
        }
    }
    problems.require(found, field, &target.to_string(), "must be one of spec.manifests");
    check_size(field, &rendered, problems);
}
