//! How pods behave: by their image's tag, and by what `traffic.json` says otherwise.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Requests a second to each workload of each member: enough for a hundred in every window of a few seconds.
const REQUESTS_PER_SECOND: f64 = 50.0;
/// More would be a mistake: no counter of a test needs it.
const MAX_REQUESTS_PER_SECOND: f64 = 1e6;

/// One entry of `traffic.json`, which is a list of them. It changes the behaviour of the pods that it means: all, or
/// those of one member, workload or tag. Of several the later wins, field by field.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rule {
    /// Only on this member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Only of this workload: checkout, ledger or edge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Only of images with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Requests a second to the workload, 0 to 1,000,000; the pods share them evenly. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<f64>,
    /// Part of the requests that succeeds, 0 to 1. Default: what the tag says, `-e2` at its end being 2 % of errors,
    /// else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_ratio: Option<f64>,
    /// Whether nothing is heard of these pods. A workload without any other has no series at all. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down: Option<bool>,
}

/// What one pod does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Behaviour {
    pub(super) requests_per_second: f64,
    pub(super) success_ratio: f64,
    pub(super) down: bool,
}

/// What a pod of this member and workload does, running this tag.
pub(super) fn behaviour(rules: &[Rule], member: &str, workload: &str, tag: &str) -> Behaviour {
    let means = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
    let mut behaviour = Behaviour {
        requests_per_second: REQUESTS_PER_SECOND,
        success_ratio: 1.0 - error_percent(tag) / 100.0,
        down: false,
    };
    for rule in rules {
        if means(&rule.member, member) && means(&rule.workload, workload) && means(&rule.tag, tag) {
            behaviour.requests_per_second = rule.requests_per_second.unwrap_or(behaviour.requests_per_second);
            behaviour.success_ratio = rule.success_ratio.unwrap_or(behaviour.success_ratio);
            behaviour.down = rule.down.unwrap_or(behaviour.down);
        }
    }
    behaviour
}

/// The number behind the last `-e` of a tag, as in `v2-e2` or `v2-e0.5`; none: 0.
fn error_percent(tag: &str) -> f64 {
    let number = tag.rsplit_once("-e").and_then(|(_, number)| number.parse::<f64>().ok());
    number.filter(|percent| (0.0..=100.0).contains(percent)).unwrap_or(0.0)
}

/// The rules of a file, read again when it changes.
pub(super) struct Follower {
    file: PathBuf,
    text: String,
    rules: Vec<Rule>,
}

impl Follower {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, text: String::new(), rules: Vec::new() }
    }

    pub(super) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Reads the file; what there is to say about it if it changed. One that can't be used changes nothing; one that
    /// is gone takes its rules with it.
    pub(super) fn look(&mut self) -> Option<String> {
        let text = std::fs::read_to_string(&self.file).unwrap_or_default();
        if text == self.text {
            return None;
        }
        let read = parse(&text);
        self.text = text;
        Some(match read {
            Ok(rules) => {
                self.rules = rules;
                format!("traffic: {} rules of \"{}\" hold", self.rules.len(), self.file.display())
            }
            Err(problem) => format!("traffic: \"{}\" is not used: {problem}", self.file.display()),
        })
    }
}

fn parse(text: &str) -> Result<Vec<Rule>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rules: Vec<Rule> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for (index, rule) in rules.iter().enumerate() {
        check(rule.requests_per_second, MAX_REQUESTS_PER_SECOND)
            .map_err(|problem| format!("[{index}].requestsPerSecond: {problem}"))?;
        check(rule.success_ratio, 1.0).map_err(|problem| format!("[{index}].successRatio: {problem}"))?;
    }
    Ok(rules)
}

fn check(value: Option<f64>, most: f64) -> Result<(), String> {
    match value {
        Some(value) if !(0.0..=most).contains(&value) => Err(format!("{value} must be from 0 to {most}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::float_cmp)]
    use super::*;

    #[test]
    fn a_tag_says_how_many_requests_fail() {
        for (tag, percent) in [("v2", 0.0), ("v2-e2", 2.0), ("v2-e0.5", 0.5), ("v-e100", 100.0)] {
            assert_eq!(error_percent(tag), percent, "{tag}");
        }
        for tag in ["v2-e", "v2-e101", "v2-e-1", "v2-edge", "v2-eNaN", "e2"] {
            assert_eq!(error_percent(tag), 0.0, "{tag}");
        }
    }

    #[test]
    fn the_later_rule_wins_field_by_field_where_it_is_meant() {
        let rules = parse(
            r#"[{"requestsPerSecond": 5, "successRatio": 0.9},
                {"member": "m1", "tag": "v2", "successRatio": 0.5},
                {"workload": "edge", "down": true}]"#,
        )
        .unwrap();
        let plain = Behaviour { requests_per_second: 5.0, success_ratio: 0.9, down: false };
        assert_eq!(behaviour(&rules, "m2", "checkout", "v2-e2"), plain);
        assert_eq!(behaviour(&rules, "m1", "checkout", "v2"), Behaviour { success_ratio: 0.5, ..plain });
        assert_eq!(behaviour(&rules, "m1", "checkout", "v1"), plain);
        assert_eq!(behaviour(&rules, "m2", "edge", "v1"), Behaviour { down: true, ..plain });
        assert_eq!(behaviour(&[], "m", "w", "v2-e2").success_ratio, 0.98);
    }

    #[test]
    fn a_file_that_does_not_fit_changes_nothing_and_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("traffic.json");
        let mut follower = Follower::new(file.clone());
        assert_eq!(follower.look(), None, "no file, no rules");
        std::fs::write(&file, r#"[{"down": true}]"#).unwrap();
        assert!(follower.look().unwrap().contains("1 rules"));
        for (text, words) in [
            (r#"[{"downn": true}]"#, "downn"),
            (r#"[{}, {"successRatio": 98}]"#, "[1].successRatio: 98 must be from 0 to 1"),
            (r#"[{"requestsPerSecond": -1}]"#, "[0].requestsPerSecond: -1 must"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = follower.look().unwrap();
            assert!(said.contains("is not used") && said.contains(words), "{said}");
            assert_eq!(follower.look(), None);
            assert_eq!(follower.rules().len(), 1);
        }
        std::fs::remove_file(&file).unwrap();
        assert!(follower.look().unwrap().contains("0 rules"));
    }
}
