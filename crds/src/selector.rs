//! Which members a rollout selects, by the labels of their `MemberCluster`.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MEMBER_LABEL;

/// Selects members by their labels; all requirements must hold. An empty selector is refused: "all" is
/// `matchExpressions: [{key: rollout.example.com/member, operator: Exists}]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.matchLabels) && size(self.matchLabels) > 0) || (has(self.matchExpressions) && size(self.matchExpressions) > 0)").message("an empty clusterSelector selects nothing on purpose; for all members write matchExpressions: [{key: rollout.example.com/member, operator: Exists}]").reason(Reason::FieldValueInvalid))]
pub struct ClusterSelector {
    /// Labels and the exact values that a member must have. At most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32), schema_with = "label_map")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements on labels. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub match_expressions: Vec<SelectorRequirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.operator in ['In', 'NotIn'] ? (has(self.values) && size(self.values) > 0) : (!has(self.values) || size(self.values) == 0)").message("operators In and NotIn need values, Exists and DoesNotExist take none").reason(Reason::FieldValueInvalid))]
pub struct SelectorRequirement {
    /// Key of the label.
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    /// How the label is compared.
    pub operator: SelectorOperator,
    /// Values for `In` and `NotIn`. At most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)))]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SelectorOperator {
    /// The label is there with one of the values.
    In,
    /// The label is not there, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

impl ClusterSelector {
    /// Whether it selects a member of this name and these labels. The label that names a member is there from its beginning
    /// on, whether it has been written yet or not.
    pub fn selects(&self, member: &str, labels: &BTreeMap<String, String>) -> bool {
        if labels.contains_key(MEMBER_LABEL) {
            return self.matches(labels);
        }
        let mut labels = labels.clone();
        labels.insert(MEMBER_LABEL.to_owned(), member.to_owned());
        self.matches(&labels)
    }

    /// Whether a member with these labels is selected. An empty selector selects none.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        if self.match_labels.is_empty() && self.match_expressions.is_empty() {
            return false;
        }
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }
}

impl SelectorRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let listed = value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            SelectorOperator::In => listed,
            SelectorOperator::NotIn => !listed,
            SelectorOperator::Exists => value.is_some(),
            SelectorOperator::DoesNotExist => value.is_none(),
        }
    }
}

fn label_map(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": {"type": "string", "maxLength": 63},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn requirement(operator: SelectorOperator, values: &[&str]) -> ClusterSelector {
        ClusterSelector {
            match_labels: BTreeMap::new(),
            match_expressions: vec![SelectorRequirement {
                key: "region".to_owned(),
                operator,
                values: values.iter().map(|value| (*value).to_owned()).collect(),
            }],
        }
    }

    #[test]
    fn an_empty_selector_selects_no_member() {
        assert!(!ClusterSelector::default().matches(&labels(&[("env", "prod")])));
    }

    #[test]
    fn operators_mean_what_label_selectors_mean_in_kubernetes() {
        let east = labels(&[("region", "east")]);
        let none = labels(&[]);
        assert!(requirement(SelectorOperator::In, &["east", "west"]).matches(&east));
        assert!(!requirement(SelectorOperator::In, &["west"]).matches(&east));
        assert!(!requirement(SelectorOperator::In, &["west"]).matches(&none));
        assert!(requirement(SelectorOperator::NotIn, &["west"]).matches(&none));
        assert!(requirement(SelectorOperator::Exists, &[]).matches(&east));
        assert!(requirement(SelectorOperator::DoesNotExist, &[]).matches(&none));
    }

    #[test]
    fn all_match_labels_must_hold() {
        let selector =
            ClusterSelector { match_labels: labels(&[("env", "prod"), ("tier", "1")]), match_expressions: vec![] };
        assert!(selector.matches(&labels(&[("env", "prod"), ("tier", "1"), ("x", "y")])));
        assert!(!selector.matches(&labels(&[("env", "prod")])));
    }
}
