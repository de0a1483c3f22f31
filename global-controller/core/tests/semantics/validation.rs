//! An object is parsed once, completely, and all that is wrong with it is said at once.

use crds::{ClusterScopeRollout, IntOrPercent};
use rollout_core::{Problem, Rollout, Weight, validate};

use crate::world::Spec;

/// The fragment that must keep working to the letter.
const FRAGMENT: &str = r#"
apiVersion: rollout.example.com/v1alpha1
kind: ClusterScopeRollout
metadata: {name: fragment, uid: u1}
spec:
  targetClusters: ["prod-us-east", "prod-us-west"]
  rolloutStrategy:
    canary:
      steps:
      - setWeight: 10
        pause: 300
      - setWeight: 50
"#;

fn parse(yaml: &str) -> Result<Rollout, Vec<Problem>> {
    validate(&crds::yaml::from_str::<ClusterScopeRollout>(yaml).unwrap())
}

/// Fields that are wrong with a spec of one target, as changed.
fn wrong(edit: impl FnOnce(&mut Spec)) -> Vec<String> {
    match Spec::new(&["m1"], "[{setWeight: 100}]").with(edit).validate() {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| problem.field).collect(),
    }
}

/// As `wrong`, for the workload in YAML.
fn wrong_workload(workload: &str) -> Vec<String> {
    match parse(&format!("{FRAGMENT}  workload: {workload}\n")) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.into_iter().map(|problem| problem.field).collect(),
    }
}

#[test]
fn semantics_03_the_fragment_is_accepted_to_the_letter() {
    let rollout = parse(FRAGMENT).unwrap();
    assert_eq!(rollout.targets, ["prod-us-east", "prod-us-west"]);
    let steps: Vec<(u8, u32)> = rollout.steps.iter().map(|step| (step.weight.percent(), step.pause_seconds)).collect();
    assert_eq!(steps, [(10, 300), (50, 0)]);
    assert_eq!((rollout.payload, rollout.selector, rollout.paused), (None, None, false));
}

#[test]
fn semantics_10_and_12_defaults_are_those_of_the_rules() {
    let rollout = parse(FRAGMENT).unwrap();
    assert_eq!(rollout.soak_seconds, 300, "the longest pause");
    assert_eq!(rollout.max_concurrency, IntOrPercent::Percent(10));
    assert_eq!(rollout.failures, rollout_core::FailureRules::default());
    assert_eq!(rollout.failures.progress_deadline_seconds, 600);
}

#[test]
fn metadata_is_taken_over() {
    let rollout = Spec::new(&["m1"], "[{setWeight: 100}]").validate().unwrap();
    assert_eq!((rollout.name.as_str(), rollout.uid.as_str(), rollout.generation), ("checkout", "11e8-b0a7", 1));
    assert_eq!(rollout.created_at, crate::world::START - 60_000);
}

#[test]
fn all_problems_are_reported_at_once_with_field_value_and_remedy() {
    let problems = Spec::new(&["m1", "M2", "m1"], "[{setWeight: 50}, {setWeight: 0, pause: -1}]")
        .with(|spec| spec.max_concurrency = Some("0".to_owned()))
        .validate()
        .unwrap_err();
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "spec.targetClusters[1]: \"M2\": must be a DNS label of 1 to 63 characters: a-z, 0-9 and -",
            "spec.targetClusters[2]: \"m1\": a member may be named only once",
            "spec.rolloutStrategy.canary.steps[1].setWeight: \"0\": must be 1 to 100",
            "spec.rolloutStrategy.canary.steps[1].setWeight: \"0\": must not decrease from one step to the next",
            "spec.rolloutStrategy.canary.steps[1].pause: \"-1\": must be 0 to 2592000",
            "spec.rolloutStrategy.maxConcurrency: \"0\": must be 1 to 100000, or \"1%\" to \"100%\"",
        ]
    );
}

#[test]
fn semantics_08_an_empty_selector_is_refused_and_names_the_remedy() {
    let problems = Spec::selecting("[{setWeight: 100}]")
        .with(|spec| spec.selector = Some("{}".to_owned()))
        .validate()
        .unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].field, "spec.clusterSelector");
    assert!(problems[0].message.contains("{key: rollout.example.com/member, operator: Exists}"), "{problems:?}");
}

#[test]
fn a_rollout_without_targets_and_selector_is_refused() {
    assert_eq!(wrong(|spec| spec.targets.clear()), ["spec.targetClusters"]);
}

#[test]
fn selector_operators_take_values_or_not() {
    let field = "spec.clusterSelector.matchExpressions[0].values";
    for (expression, sound) in [
        ("{key: region, operator: In, values: [east]}", true),
        ("{key: region, operator: NotIn, values: []}", false),
        ("{key: region, operator: Exists}", true),
        ("{key: region, operator: DoesNotExist, values: [east]}", false),
    ] {
        let found = wrong(|spec| spec.selector = Some(format!("{{matchExpressions: [{expression}]}}")));
        assert_eq!(found.is_empty(), sound, "{expression}");
        assert!(found.iter().all(|found| found == field), "{found:?}");
    }
}

#[test]
fn semantics_45_lists_have_a_maximum() {
    let targets = |count: usize| (0..count).map(|number| format!("m{number}")).collect::<Vec<_>>();
    assert_eq!(wrong(|spec| spec.targets = targets(512)), [""; 0]);
    assert_eq!(wrong(|spec| spec.targets = targets(513)), ["spec.targetClusters"]);
    let steps = |count: usize| format!("[{}]", "{setWeight: 7}, ".repeat(count));
    assert_eq!(wrong(|spec| spec.steps = steps(32)), [""; 0]);
    for count in [0, 33] {
        assert_eq!(wrong(|spec| spec.steps = steps(count)), ["spec.rolloutStrategy.canary.steps"]);
    }
    let labels = |count: usize| (0..count).map(|number| format!("l{number}: x, ")).collect::<Vec<_>>().concat();
    let selector = |count| Some(format!("{{matchLabels: {{{}}}}}", labels(count)));
    assert_eq!(wrong(|spec| spec.selector = selector(32)), [""; 0]);
    assert_eq!(wrong(|spec| spec.selector = selector(33)), ["spec.clusterSelector"]);
}

#[test]
fn numbers_have_a_range() {
    let steps = "spec.rolloutStrategy.canary.steps[0]";
    for (pause, sound) in [(0, true), (2_592_000, true), (2_592_001, false), (-1, false)] {
        let expected = if sound { vec![] } else { vec![format!("{steps}.pause")] };
        assert_eq!(wrong(|spec| spec.steps = format!("[{{setWeight: 1, pause: {pause}}}]")), expected);
        let expected = if sound { vec![] } else { vec!["spec.rolloutStrategy.canary.soakSeconds".to_owned()] };
        assert_eq!(wrong(|spec| spec.soak_seconds = Some(pause)), expected);
    }
    for (seconds, sound) in [(0, false), (1, true), (86_400, true), (86_401, false)] {
        assert_eq!(wrong(|spec| spec.deadline_seconds = Some(seconds)).is_empty(), sound, "{seconds}");
    }
    for (limit, sound) in
        [("1", true), ("100000", true), ("100001", false), ("'0%'", false), ("'1%'", true), ("'100%'", true)]
    {
        assert_eq!(wrong(|spec| spec.max_concurrency = Some(limit.to_owned())).is_empty(), sound, "{limit}");
    }
    for (weight, sound) in [(0, false), (1, true), (100, true), (101, false), (356, false), (-100, false)] {
        assert_eq!(wrong(|spec| spec.steps = format!("[{{setWeight: {weight}}}]")).is_empty(), sound, "{weight}");
    }
}

#[test]
fn a_workload_is_checked_field_by_field() {
    let image = "images: {app: 'shop:v2'}";
    for (workload, expected) in [
        (format!("{{kind: DaemonSet, namespace: shop, name: log.agent, {image}}}"), vec![]),
        (format!("{{kind: Deployment, namespace: Shop, name: a, {image}}}"), vec!["spec.workload.namespace"]),
        (format!("{{kind: Deployment, namespace: shop, name: a..b, {image}}}"), vec!["spec.workload.name"]),
        (
            format!("{{kind: Deployment, namespace: shop, name: {}, {image}}}", "a".repeat(254)),
            vec!["spec.workload.name"],
        ),
        ("{kind: Deployment, namespace: shop, name: a, images: {}}".to_owned(), vec!["spec.workload.images"]),
        (
            "{kind: Deployment, namespace: shop, name: a, images: {A_b: x}}".to_owned(),
            vec!["spec.workload.images (key)"],
        ),
        (
            "{kind: Deployment, namespace: shop, name: a, images: {app: ''}}".to_owned(),
            vec!["spec.workload.images.app"],
        ),
        (
            "{kind: Deployment, namespace: shop, name: a, images: {app: 'a b'}}".to_owned(),
            vec!["spec.workload.images.app"],
        ),
        (
            format!("{{kind: Deployment, namespace: shop, name: a, images: {{app: {}}}}}", "x".repeat(513)),
            vec!["spec.workload.images.app"],
        ),
    ] {
        assert_eq!(wrong_workload(&workload), expected, "{workload}");
    }
    let images = |count: usize| (0..count).map(|number| format!("c{number}: x, ")).collect::<Vec<_>>().concat();
    for (count, sound) in [(32, true), (33, false)] {
        let workload = format!("{{kind: Deployment, namespace: shop, name: a, images: {{{}}}}}", images(count));
        assert_eq!(wrong_workload(&workload).is_empty(), sound, "{count} images");
    }
}

#[test]
fn an_object_without_name_or_uid_is_refused() {
    let problems = parse(&FRAGMENT.replace("{name: fragment, uid: u1}", "{}")).unwrap_err();
    let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["metadata.name", "metadata.uid"]);
}

#[test]
fn semantics_09_a_weight_is_1_to_100_and_reads_back_from_json_as_such() {
    for (percent, total, members) in
        [(1, 1, 1), (1, 1000, 10), (10, 11, 2), (50, 3, 2), (99, 100, 99), (100, 7, 7), (1, 0, 0)]
    {
        assert_eq!(Weight::try_from(percent).unwrap().of(total), members, "{percent}% of {total}");
    }
    assert_eq!(serde_json::from_str::<Weight>("7").unwrap().percent(), 7);
    let refusal = serde_json::from_str::<Weight>("101").unwrap_err().to_string();
    assert!(refusal.starts_with("101 is not a weight: must be 1 to 100"), "{refusal}");
}
