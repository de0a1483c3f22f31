//! Field sets by what a real API server has answered, somewhat shortened.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

const MANAGED: &str = include_str!("../fixtures/managed.yaml");
const OURS: &str = "rollout.example.com:checkout";

/// What is replaced in the fixture, and which paths differ then.
type Row<'a> = (&'a [(&'a str, &'a str)], Vec<String>);

/// The fixture, with some texts in it replaced.
fn managed_object(replacements: &[(&str, &str)]) -> Value {
    let text = replacements.iter().fold(MANAGED.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "'{from}' is not in the fixture");
        text.replace(from, to)
    });
    crds::yaml::from_str(&text).unwrap()
}

fn ours() -> FieldSet {
    FieldSet::of(OURS, &managed_object(&[])).unwrap()
}

fn set(fields: Value) -> FieldSet {
    FieldSet::from(fields)
}

fn words(paths: &[FieldPath]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

/// Where an image is: the path, and what it is called.
fn image_of(container: &str) -> (FieldPath, String) {
    let list = json!({"f:containers": {format!("k:{{\"name\":\"{container}\"}}"): {"f:image": {}}}});
    let paths = set(json!({"f:spec": {"f:template": {"f:spec": list}}})).paths();
    (paths[0].clone(), format!(".spec.template.spec.containers[name=\"{container}\"].image"))
}

#[test]
fn a_projection_has_what_we_apply_and_nothing_of_others() {
    let expected = json!({
        "metadata": {
            "finalizers": ["example.com/hold"],
            "labels": {"app.kubernetes.io/name": "checkout"},
        },
        "spec": {
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {"annotations": {"example.com/a.b": "x"}},
                "spec": {
                    "containers": [{
                        "name": "app",
                        "image": "shop:v1",
                        "args": ["a", "b"],
                        "env": [{"name": "A", "value": "1"}],
                        "ports": [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "protocol": "TCP"}],
                        // Applied as an empty map: its limits are somebody else's.
                        "resources": {},
                    }],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    });
    assert_eq!(ours().project(&managed_object(&[])), expected);
}

#[test]
fn the_set_of_an_applied_projection_is_the_set_again() {
    // What the API server answers when the projection is applied: the protocol is no default any more.
    let explicit = "f:containerPort: {}\n                    f:protocol: {}\n                  k:";
    let applied = managed_object(&[("f:containerPort: {}\n                  k:", explicit)]);
    assert_eq!(FieldSet::of(OURS, &applied), Some(ours()));
    assert_eq!(ours().project(&applied), ours().project(&managed_object(&[])));
}

#[test]
fn only_what_the_manager_has_applied_is_its_own() {
    let object = managed_object(&[]);
    assert_eq!(FieldSet::of("kubectl-edit", &object), None);
    assert_eq!(FieldSet::of("rollout.example.com:check", &object), None);
    assert_eq!(FieldSet::of(OURS, &json!({"kind": "Secret"})), None);
    // Its entry about the status is another one.
    let status = managed_object(&[("time: \"2026-11-30T15:06:36Z\"", "subresource: scale")]);
    assert_eq!(FieldSet::of(OURS, &status), None);
}

#[test]
fn identity_status_and_our_label_are_left_out() {
    let of = |fields: Value| {
        let entry = json!({"manager": OURS, "operation": "Apply", "fieldsV1": fields});
        FieldSet::of(OURS, &json!({"metadata": {"managedFields": [entry]}})).unwrap()
    };
    let label = json!({"f:rollout.example.com/rollout": {}});
    let metadata = json!({"f:name": {}, "f:namespace": {}, "f:uid": {}, "f:labels": label});
    let left_out = of(json!({"f:metadata": metadata, "f:status": {"f:replicas": {}}, "f:kind": {}}));
    assert!(left_out.is_empty());
    // A map that holds nothing else of ours must not be taken as a whole.
    let live =
        json!({"metadata": {"name": "x", "labels": {"rollout.example.com/rollout": "x", "a": "b"}}, "kind": "X"});
    assert_eq!(left_out.project(&live), json!({}));
    // The label of pods is a person's matter.
    let template = json!({"f:spec": {"f:template": {"f:metadata": {"f:labels": label}}}});
    assert_eq!(of(template.clone()), set(template));
    assert!(of(json!({"f:metadata": {"f:labels": {}, "f:annotations": {}}})).is_empty());
    let template = json!({"f:spec": {"f:template": {"f:metadata": {"f:annotations": {}}}}});
    assert_eq!(of(template.clone()), set(template));
}

#[test]
fn what_is_not_there_is_left_out_and_what_we_made_stays_when_it_is_empty() {
    let rows = [
        (json!({"f:data": {"f:a": {}, "f:b": {}}}), json!({"data": {"b": "1", "c": "2"}}), json!({"data": {"b": "1"}})),
        (json!({"f:data": {"f:a": {}}}), json!({"data": {"c": "2"}}), json!({})),
        (json!({"f:data": {".": {}, "f:a": {}}}), json!({"data": {"c": "2"}}), json!({"data": {}})),
        (json!({"f:data": {"f:a": {}}}), json!({}), json!({})),
        (json!({"f:data": {"f:a": {}}}), json!({"data": "of another kind"}), json!({})),
        (json!({"f:data": {}}), json!({"data": {"a": {"b": [1]}}}), json!({"data": {"a": {"b": [1]}}})),
        (json!({"f:list": {"v:1": {}, "v:\"1\"": {}}}), json!({"list": [2, "1", 1]}), json!({"list": ["1", 1]})),
        // An element that is taken as a whole.
        (
            json!({"f:list": {"k:{\"n\":1}": {}}}),
            json!({"list": [{"n": 1, "a": 2}]}),
            json!({"list": [{"n": 1, "a": 2}]}),
        ),
        (json!({"f:list": {"k:{\"n\":1}": {".": {}}}}), json!({"list": [{"n": 2}]}), json!({})),
        (json!({}), json!({"data": {"a": "1"}}), json!({})),
    ];
    for (fields, live, expected) in rows {
        assert_eq!(set(fields.clone()).project(&live), expected, "{fields} of {live}");
    }
}

#[test]
fn sets_are_added_subtracted_and_compared() {
    let both = json!({"f:spec": {"f:a": {}, "f:list": {
        "k:{\"n\":1}": {".": {}, "f:n": {}, "f:x": {}, "f:y": {}},
        "k:{\"n\":2}": {".": {}, "f:n": {}},
    }}});
    let first = set(json!({"f:spec": {"f:a": {}, "f:list": {"k:{\"n\":1}": {"f:x": {}}}}}));
    let second = set(json!({"f:spec": {"f:list": {"k:{\"n\":1}": {"f:y": {}}, "k:{\"n\":2}": {"f:n": {}}}}}));
    let union = first.union(&second);
    assert_eq!((&union, &second.union(&first), Value::from(union.clone())), (&set(both.clone()), &union, both));
    assert!(union.contains(&first) && union.contains(&second) && !first.contains(&second));
    assert!(first.contains(&FieldSet::default()) && first.contains(&first) && !FieldSet::default().contains(&first));
    // The keys stay with their element.
    assert_eq!(union.minus(&first), second);
    assert_eq!(first.minus(&second), first);
    assert!(first.minus(&union).is_empty() && first.minus(&first).is_empty());
    // An empty map is there with what is in it.
    let (leaf, filled) = (set(json!({"f:a": {}})), set(json!({"f:a": {"f:b": {}}})));
    assert!(leaf.minus(&filled).is_empty());
    assert_eq!(filled.minus(&leaf), filled);
    assert_eq!(Value::from(leaf.union(&filled)), json!({"f:a": {".": {}, "f:b": {}}}));
}

#[test]
fn as_json_a_set_is_what_the_api_server_writes() {
    let text = serde_json::to_string(&ours()).unwrap();
    assert_eq!(serde_json::from_str::<FieldSet>(&text).unwrap(), ours());
    assert!(text.contains(r#""f:env":{"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}}"#), "{text}");
    assert!(text.contains(r#""f:finalizers":{"v:\"example.com/hold\"":{}}"#), "{text}");
    assert_eq!(Value::from(FieldSet::default()), json!({}));
}

#[test]
fn what_was_kept_is_never_overwritten_by_what_is_added() {
    let first = set(json!({"f:list": {"k:{\"n\":1}": {"f:n": {}, "f:x": {}}}, "f:map": {"f:a": {}}, "f:whole": {}}));
    let kept = json!({"list": [{"n": 1, "x": "old"}], "whole": {"a": "old"}});
    let more = set(json!({
        "f:list": {"k:{\"n\":1}": {"f:y": {}}, "k:{\"n\":2}": {"f:n": {}}},
        "f:map": {"f:b": {}},
        "f:set": {"v:1": {}},
    }));
    let live = json!({
        "list": [{"n": 2}, {"n": 1, "x": "new", "y": "new"}],
        "map": {"a": "new", "b": "new"},
        "whole": {"a": "new", "b": "new"},
        "set": [1, 2],
    });
    let union = first.union(&more);
    let expected = json!({
        "list": [{"n": 1, "x": "old", "y": "new"}, {"n": 2}],
        // Where there was no "a" there is none.
        "map": {"b": "new"},
        "whole": {"a": "old"},
        "set": [1],
    });
    assert_eq!(union.merge(&kept, &more.minus(&first).project(&live)), expected);
    // Not even by a projection onto all of it.
    let all = union.merge(&kept, &union.project(&live));
    assert_eq!((&all["list"], &all["whole"]), (&expected["list"], &expected["whole"]));
    assert_eq!(union.merge(&expected, &expected), expected);
}

#[test]
fn paths_read_as_in_the_complaints_of_the_api_server() {
    let app = ".spec.template.spec.containers[name=\"app\"]";
    let expected = [
        ".metadata.finalizers[=\"example.com/hold\"]".to_owned(),
        ".metadata.labels.app.kubernetes.io/name".to_owned(),
        ".spec.selector".to_owned(),
        ".spec.template.metadata.annotations.example.com/a.b".to_owned(),
        format!("{app}.args"),
        format!("{app}.env[name=\"A\"].value"),
        format!("{app}.image"),
        format!("{app}.ports[containerPort=53,protocol=\"TCP\"]"),
        format!("{app}.ports[containerPort=53,protocol=\"UDP\"]"),
        format!("{app}.resources"),
        ".spec.template.spec.volumes[name=\"tmp\"].emptyDir".to_owned(),
    ];
    assert_eq!(words(&ours().paths()), expected);
}

#[test]
fn semantics_22_what_changed_is_named_field_by_field() {
    let expected = ours().project(&managed_object(&[]));
    let app = ".spec.template.spec.containers[name=\"app\"]";
    let port = "        - {containerPort: 53, protocol: UDP}\n";
    let dns = "        - {containerPort: 53, protocol: TCP, name: dns}\n";
    let rows: [Row<'_>; 9] = [
        (&[], Vec::new()),
        (&[("replicas: 5", "replicas: 6"), ("cpu: \"1\"", "cpu: \"2\"")], Vec::new()),
        (&[("image: shop:v1", "image: shop:v2")], vec![format!("{app}.image")]),
        (&[("args: [a, b]", "args: [b, a]")], vec![format!("{app}.args")]),
        (
            &[("example.com/a.b: x, ", ""), ("value: \"1\"", "value: \"3\"")],
            vec![
                ".spec.template.metadata.annotations.example.com/a.b".to_owned(),
                format!("{app}.env[name=\"A\"].value"),
            ],
        ),
        (&[(port, "")], vec![format!("{app}.ports[containerPort=53,protocol=\"UDP\"]")]),
        (
            &[
                (port, ""),
                (dns, "        - {containerPort: 53, protocol: TCP}\n        - {containerPort: 53, protocol: UDP}\n"),
            ],
            vec![format!("{app}.ports")],
        ),
        (&[("- name: app", "- name: other")], vec![app.to_owned()]),
        (&[(", example.com/hold]", "]")], vec![".metadata.finalizers[=\"example.com/hold\"]".to_owned()]),
    ];
    for (replacements, paths) in rows {
        let live = ours().project(&managed_object(replacements));
        assert_eq!(words(&ours().changed(&expected, &live)), paths, "{replacements:?}");
        assert_eq!(words(&ours().changed(&live, &expected)), paths, "{replacements:?}, the other way round");
    }
    assert_eq!(words(&set(json!({"f:a": {}})).changed(&json!({"a": {}}), &json!({"a": {"b": 1}}))), [".a"]);
}

#[test]
fn semantics_22_who_owns_a_field_is_the_other_manager_that_wrote_last() {
    let object = managed_object(&[]);
    let (app, name) = image_of("app");
    assert_eq!(app.to_string(), name);
    assert_eq!(owner_of(&object, &app, OURS), Some("kubectl-edit"));
    assert_eq!(owner_of(&object, &image_of("proxy").0, OURS), Some("kubectl-edit"));
    assert_eq!(owner_of(&object, &image_of("gone").0, OURS), None);
    let path = |fields: Value| set(fields).paths()[0].clone();
    let replicas = path(json!({"f:spec": {"f:replicas": {}}}));
    assert_eq!(owner_of(&object, &replicas, OURS), Some("kubectl"));
    let selector = path(json!({"f:spec": {"f:selector": {}}}));
    assert_eq!(owner_of(&object, &selector, OURS), None);
    // For another rollout of ours this one is somebody else.
    assert_eq!(owner_of(&object, &selector, "rollout.example.com:other"), Some(OURS));
}
