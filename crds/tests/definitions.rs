//! The custom resource definitions: the files in deploy/crds are those of the types, and every schema is
//! documented and bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn crdgen(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_crdgen")).args(arguments).output().unwrap()
}

/// A folder of this test alone.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Each node of each definition's schema with its path, that of metadata and its like left out.
fn nodes() -> Vec<(String, Value)> {
    let mut nodes = Vec::new();
    for (file, definition) in crds::custom_resource_definitions() {
        let definition = serde_json::to_value(definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        for part in ["spec", "status"] {
            collect(&format!("{file}: {part}"), &schema["properties"][part], &mut nodes);
        }
    }
    assert!(nodes.len() > 100, "the walk found next to nothing");
    nodes
}

fn collect(path: &str, node: &Value, nodes: &mut Vec<(String, Value)>) {
    if node.is_null() {
        return;
    }
    nodes.push((path.to_owned(), node.clone()));
    for (name, child) in node["properties"].as_object().into_iter().flatten() {
        collect(&format!("{path}.{name}"), child, nodes);
    }
    collect(&format!("{path}[]"), &node["items"], nodes);
    collect(&format!("{path}{{}}"), &node["additionalProperties"], nodes);
}

/// Paths of the nodes that break a rule.
fn breaking(rule: impl Fn(&str, &Value) -> bool) -> Vec<String> {
    nodes().into_iter().filter(|(path, node)| !rule(path, node)).map(|(path, _)| path).collect()
}

#[test]
fn the_files_in_deploy_are_what_crdgen_prints() {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/crds");
    let output = crdgen(&[Path::new("--check"), &deploy]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn crdgen_finds_a_file_that_is_stale_or_missing() {
    let folder = folder("stale");
    let check = || crdgen(&[Path::new("--check"), &folder]);
    assert!(crdgen(&[&folder]).status.success());
    assert!(check().status.success());
    std::fs::write(folder.join("memberclusters.yaml"), "edited by hand").unwrap();
    std::fs::remove_file(folder.join("rolloutassignments.yaml")).unwrap();
    let output = check();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("memberclusters.yaml, "), "{said}");
    assert!(said.contains("rolloutassignments.yaml") && !said.contains("clusterscoperollouts.yaml"), "{said}");
    assert_eq!(crdgen(&[]).status.code(), Some(2), "usage");
}

#[test]
fn the_definitions_are_cluster_scoped_with_a_status_subresource_and_short_names() {
    let found: Vec<(String, String, bool)> = crds::custom_resource_definitions()
        .into_iter()
        .map(|(_, definition)| {
            let spec = definition.spec;
            assert_eq!((spec.scope.as_str(), spec.group.as_str()), ("Cluster", crds::GROUP));
            let version = &spec.versions[0];
            assert!(version.name == crds::VERSION && version.served && version.storage);
            let has_status = version.subresources.as_ref().is_some_and(|resources| resources.status.is_some());
            (spec.names.kind, spec.names.short_names.unwrap_or_default().join(","), has_status)
        })
        .collect();
    let expected = [
        ("ClusterScopeRollout", "csro"),
        ("MemberCluster", "mc"),
        ("RolloutAction", "ra"),
        ("RolloutAssignment", "roas"),
    ];
    assert_eq!(found, expected.map(|(kind, short)| (kind.to_owned(), short.to_owned(), true)));
}

#[test]
fn every_field_is_explained() {
    let own_words = |path: &str, node: &Value| {
        let field = !path.ends_with("[]") && !path.ends_with("{}");
        !field || node["description"].as_str().is_some_and(|text| !text.trim().is_empty())
    };
    assert_eq!(breaking(own_words), [""; 0]);
}

#[test]
fn semantics_45_every_list_map_and_string_of_a_spec_has_a_maximum() {
    // The images of an assignment are those of a bounded payload and of live workloads, and no CEL rule reads them.
    let unread = |path: &str| path.starts_with("rolloutassignments.yaml") && path.ends_with("images{}");
    let bounded = |path: &str, node: &Value| match node["type"].as_str() {
        _ if !path.contains(": spec") || unread(path) => true,
        Some("string") => node["maxLength"].is_u64() || node["enum"].is_array(),
        Some("array") => node["maxItems"].is_u64(),
        Some("object") => node["additionalProperties"].is_null() || node["maxProperties"].is_u64(),
        _ => true,
    };
    assert_eq!(breaking(bounded), [""; 0]);
}

#[test]
fn integers_have_a_format_that_the_api_server_knows() {
    let known =
        |_: &str, node: &Value| node["type"] != "integer" || matches!(node["format"].as_str(), Some("int32" | "int64"));
    assert_eq!(breaking(known), [""; 0]);
}

#[test]
fn a_number_or_percentage_is_int_or_string_with_its_range_beside_it() {
    let node = nodes().into_iter().find(|(path, _)| path.ends_with("rolloutStrategy.maxConcurrency")).unwrap().1;
    assert_eq!(node["x-kubernetes-int-or-string"], true);
    assert_eq!((node["minimum"].as_f64(), node["maximum"].as_f64()), (Some(1.0), Some(100_000.0)));
    assert_eq!(node["pattern"], "^(100|[1-9][0-9]?)%$");
    assert_eq!(node["default"], "10%");
}

#[test]
fn semantics_12_a_budget_may_be_none() {
    let node = nodes().into_iter().find(|(path, _)| path.ends_with("rolloutStrategy.maxFailures")).unwrap().1;
    assert_eq!((node["minimum"].as_f64(), node["maximum"].as_f64()), (Some(0.0), Some(100_000.0)));
    assert_eq!(node["pattern"], "^(100|[1-9]?[0-9])%$");
    assert_eq!(node["default"], 0);
}

#[test]
fn semantics_01_kind_namespace_and_name_of_the_workload_are_immutable() {
    for field in ["kind", "namespace", "name"] {
        let (_, node) =
            nodes().into_iter().find(|(path, _)| path.ends_with(&format!("spec.workload.{field}"))).unwrap();
        let rules = node["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
        assert!(rules.iter().any(|rule| rule["rule"] == "self == oldSelf"), "{field}: {rules:?}");
    }
}

#[test]
fn semantics_44_an_action_is_immutable_and_says_why() {
    let (_, node) = nodes().into_iter().find(|(path, _)| path == "rolloutactions.yaml: spec").unwrap();
    let rules = node["x-kubernetes-validations"].as_array().cloned().unwrap_or_default();
    assert!(rules.iter().any(|rule| rule["rule"] == "self == oldSelf"), "{rules:?}");
    assert!(rules.iter().any(|rule| rule["fieldPath"] == ".why"), "{rules:?}");
}
