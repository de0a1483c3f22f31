//! Whole objects as members get them: what a person wrote, with the patches that are for a member.

use crds::{Manifest, ObjectRef, Override, PatchOperation};

/// All objects of a payload as JSON: with what a member kept of its state before, they fit into one object of its API server.
pub(crate) const MAX_BYTES: usize = 192 * 1024;

/// Why a patch can't be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An operation of it finds no place, or another value than it must.
    #[error("it does not apply to {object}: {why}")]
    Unfit {
        /// The object, as "Deployment shop/checkout".
        object: String,
        /// The operation, and what is wrong with it.
        why: String,
    },
    /// It makes another object of it.
    #[error("it makes {after} of {before}: apiVersion, kind, name and namespace must stay")]
    Renamed {
        /// What it was, as "Deployment shop/checkout".
        before: String,
        /// What it would be.
        after: String,
    },
}

/// The objects that a member gets for which these overrides are, named by their index. Of several for one object the last
/// one counts.
pub fn render(manifests: &[Manifest], overrides: &[Override], for_member: &[i32]) -> Result<Vec<Manifest>, Error> {
    let rendered = |manifest: &Manifest| match patch_for(overrides, for_member, &manifest.object()) {
        Some(patch) => patched(manifest, patch),
        None => Ok(manifest.clone()),
    };
    manifests.iter().map(rendered).collect()
}

/// The patch of an object that counts for a member for which these overrides are.
pub(crate) fn patch_for<'a>(
    overrides: &'a [Override],
    for_member: &[i32],
    object: &ObjectRef,
) -> Option<&'a [PatchOperation]> {
    let mut meant = for_member.iter().rev().filter_map(|index| overrides.get(usize::try_from(*index).ok()?));
    let last = meant.find(|one| one.target.as_ref().is_some_and(|target| target.is(object)))?;
    Some(&last.json_patch)
}

/// An object with a patch.
pub(crate) fn patched(manifest: &Manifest, operations: &[PatchOperation]) -> Result<Manifest, Error> {
    let before = manifest.object();
    let unfit = |why: String| Error::Unfit { object: before.to_string(), why };
    // Both are the JSON of RFC 6902.
    let written = serde_json::to_value(operations).map_err(|error| unfit(error.to_string()))?;
    let patch: json_patch::Patch = serde_json::from_value(written).map_err(|error| unfit(error.to_string()))?;
    let mut value = manifest.0.clone();
    for operation in patch.0 {
        json_patch::patch(&mut value, &[operation]).map_err(|error| unfit(error.to_string()))?;
        // Copies of copies would fill the memory before anybody looked at the whole.
        if value.to_string().len() > MAX_BYTES {
            return Err(unfit("it makes more than 196608 bytes as JSON of it".to_owned()));
        }
    }
    let manifest = Manifest(value);
    let after = manifest.object();
    if after != before {
        return Err(Error::Renamed { before: before.to_string(), after: after.to_string() });
    }
    Ok(manifest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn manifests() -> Vec<Manifest> {
        let deployment = |name: &str| {
            Manifest(json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "shop", "name": name},
                "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "app", "image": "shop:v1"}]}}},
            }))
        };
        vec![deployment("checkout"), deployment("cart")]
    }

    fn other(name: &str, patch: &Value) -> Override {
        serde_json::from_value(json!({
            "clusterSelector": {"matchLabels": {"region": "east"}},
            "target": {"kind": "Deployment", "name": name},
            "jsonPatch": patch,
        }))
        .unwrap()
    }

    fn replicas(overrides: &[Override], for_member: &[i32]) -> Vec<Value> {
        let rendered = render(&manifests(), overrides, for_member).unwrap();
        rendered.iter().map(|one| one.0["spec"]["replicas"].clone()).collect()
    }

    #[test]
    fn semantics_02_of_several_patches_of_one_object_the_last_one_counts() {
        let set =
            |name: &str, count: i64| other(name, &json!([{"op": "replace", "path": "/spec/replicas", "value": count}]));
        let overrides = [set("checkout", 2), set("checkout", 3), set("cart", 4)];
        assert_eq!(replicas(&overrides, &[]), [1, 1]);
        assert_eq!(replicas(&overrides, &[0]), [2, 1]);
        assert_eq!(replicas(&overrides, &[0, 1, 2]), [3, 4]);
        assert_eq!(replicas(&overrides, &[1, 7]), [3, 1]);
    }

    #[test]
    fn a_patch_that_does_not_apply_says_to_what_and_why() {
        let fails = |patch: &Value| render(&manifests(), &[other("cart", patch)], &[0]).unwrap_err().to_string();
        let error = fails(&json!([{"op": "replace", "path": "/spec/nothing/here", "value": 1}]));
        assert!(
            error.starts_with("it does not apply to Deployment shop/cart: ") && error.contains("/spec/nothing/here"),
            "{error}"
        );
        let error = fails(&json!([{"op": "test", "path": "/spec/replicas", "value": 7}]));
        assert!(error.starts_with("it does not apply to Deployment shop/cart: "), "{error}");
        assert_eq!(
            fails(&json!([{"op": "replace", "path": "/metadata/name", "value": "other"}])),
            "it makes Deployment shop/other of Deployment shop/cart: apiVersion, kind, name and namespace must stay"
        );
    }

    #[test]
    fn a_null_is_a_value() {
        let patch = &json!([{"op": "add", "path": "/spec/paused", "value": null}]);
        let rendered = render(&manifests(), &[other("cart", patch)], &[0]).unwrap();
        assert_eq!(rendered[1].0["spec"].get("paused"), Some(&Value::Null));
    }
}
