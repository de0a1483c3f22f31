//! Overrides: other images for some of the members.

use crds::{ClusterScopeRolloutSpec, Override};

use super::{Problems, check_images, check_selector};

/// Most overrides.
const MAX_OVERRIDES: usize = 32;
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
        let Override { cluster_selector, images } = one;
        check_selector(&format!("{field}.clusterSelector"), cluster_selector, problems);
        check_images(&format!("{field}.images"), images, problems);
        for container in images.keys() {
            let known = spec.workload.as_ref().is_some_and(|workload| workload.images.contains_key(container));
            problems.require(
                known,
                &format!("{field}.images"),
                container,
                "must be a container that spec.workload.images names, too",
            );
        }
    }
}
