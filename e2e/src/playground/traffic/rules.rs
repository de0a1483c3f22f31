//! How pods behave: by their image's tag, and by what `traffic.json` says otherwise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Requests a second to each workload of each member: enough for a hundred in every window of a few seconds.
const REQUESTS_PER_SECOND: f64 = 50.0;
/// More would be a mistake: no counter of a test needs it.
const MAX_REQUESTS_PER_SECOND: f64 = 1e6;
/// Of a thousand requests so many fail whose tag says nothing: one of ten thousand, as nothing is perfect.
const USUAL_ERROR_PERMILLE: f64 = 0.1;
/// Names every member that has no entry of its own.
pub const EVERYBODY: &str = "*";

/// `traffic.json`: member, or `*` for all others, to what is otherwise there.
pub type Rules = BTreeMap<String, Rule>;

/// What is otherwise on a member. What is left out stays as the tags say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    /// Of a thousand requests so many fail, 0 to 1000, whatever the tag. Default: what the tag says, `-e8` at its end being
    /// 8, else 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_permille: Option<f64>,
    /// Requests a second to each workload, 0 to 1,000,000; its pods share them evenly. Default: 50.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rps: Option<f64>,
    /// Whether nothing is heard of its pods: there are no series at all. Default: false.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub silent: Option<bool>,
}

/// What one pod does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Behaviour {
    pub(super) requests_per_second: f64,
    pub(super) success_ratio: f64,
    pub(super) silent: bool,
}

/// What a pod of this member does, running this tag.
pub(super) fn behaviour(rules: &Rules, member: &str, tag: &str) -> Behaviour {
    let Rule { error_permille, rps, silent } = rules.get(member).or(rules.get(EVERYBODY)).copied().unwrap_or_default();
    Behaviour {
        requests_per_second: rps.unwrap_or(REQUESTS_PER_SECOND),
        success_ratio: 1.0 - error_permille.unwrap_or_else(|| error_permille_of(tag)) / 1000.0,
        silent: silent.unwrap_or(false),
    }
}

/// The number behind the last `-e` of a tag, as in `v2-e8` or `v2-e0.5`.
fn error_permille_of(tag: &str) -> f64 {
    let number = tag.rsplit_once("-e").and_then(|(_, number)| number.parse::<f64>().ok());
    number.filter(|permille| (0.0..=1000.0).contains(permille)).unwrap_or(USUAL_ERROR_PERMILLE)
}

/// The rules of a file, read again when it changes.
pub(super) struct Follower {
    file: PathBuf,
    text: String,
    rules: Rules,
}

impl Follower {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, text: String::new(), rules: Rules::new() }
    }

    pub(super) fn rules(&self) -> &Rules {
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
                format!("traffic: {} entries of \"{}\" hold", self.rules.len(), self.file.display())
            }
            Err(problem) => format!("traffic: \"{}\" is not used: {problem}", self.file.display()),
        })
    }
}

fn parse(text: &str) -> Result<Rules, String> {
    if text.is_empty() {
        return Ok(Rules::new());
    }
    let rules: Rules = serde_json::from_str(text).map_err(|error| error.to_string())?;
    for (member, rule) in &rules {
        check(rule.rps, MAX_REQUESTS_PER_SECOND).map_err(|problem| format!("{member}.rps: {problem}"))?;
        check(rule.error_permille, 1000.0).map_err(|problem| format!("{member}.error_permille: {problem}"))?;
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
    fn a_tag_says_how_many_of_a_thousand_requests_fail() {
        for (tag, permille) in [("v2-e30", 30.0), ("v2-e0.5", 0.5), ("v-e1000", 1000.0), ("v2-e0", 0.0)] {
            assert_eq!(error_permille_of(tag), permille, "{tag}");
        }
        for tag in ["v2", "v2-e", "v2-e1001", "v2-e-1", "v2-edge", "v2-eNaN", "e2"] {
            assert_eq!(error_permille_of(tag), 0.1, "{tag}");
        }
    }

    #[test]
    fn a_members_own_entry_wins_and_what_it_leaves_out_is_as_the_tag_says() {
        let rules = parse(
            r#"{"member-1": {"error_permille": 8, "rps": 2.5, "silent": false},
                "member-2": {"silent": true}, "*": {"rps": 20}}"#,
        )
        .unwrap();
        let all = |member: &str, tag: &str| behaviour(&rules, member, tag);
        let first = Behaviour { requests_per_second: 2.5, success_ratio: 0.992, silent: false };
        assert_eq!(all("member-1", "v2-e30"), first);
        assert_eq!(
            all("member-2", "v2-e30"),
            Behaviour { requests_per_second: 50.0, success_ratio: 0.97, silent: true }
        );
        assert_eq!(
            all("member-3", "v2"),
            Behaviour { requests_per_second: 20.0, success_ratio: 0.9999, silent: false }
        );
    }

    #[test]
    fn a_file_that_does_not_fit_changes_nothing_and_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("traffic.json");
        let mut follower = Follower::new(file.clone());
        assert_eq!(follower.look(), None, "no file, no rules");
        std::fs::write(&file, r#"{"m": {"silent": true}}"#).unwrap();
        assert!(follower.look().unwrap().contains("1 entries"));
        for (text, words) in [
            (r#"{"m": {"silnt": true}}"#, "silnt"),
            (r#"{"m": {}, "n": {"error_permille": 1001}}"#, "n.error_permille: 1001 must be from 0 to 1000"),
            (r#"{"m": {"rps": -1}}"#, "m.rps: -1 must"),
            ("[]", "expected a map"),
        ] {
            std::fs::write(&file, text).unwrap();
            let said = follower.look().unwrap();
            assert!(said.contains("is not used") && said.contains(words), "{said}");
            assert_eq!(follower.look(), None);
            assert_eq!(follower.rules().len(), 1);
        }
        std::fs::remove_file(&file).unwrap();
        assert!(follower.look().unwrap().contains("0 entries"));
    }
}
