//! Where a field is within an object, step by step, in the words of managed fields (`fieldsV1`). Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// One step from a value into what is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// To the field of this name, which may have dots and slashes in it: `f:app.kubernetes.io/name`.
    Field(String),
    /// To the element of a list in which these fields have these values, written as JSON: `k:{"name":"app"}`.
    Key(BTreeMap<String, String>),
    /// To the element of a list that is this value, written as JSON: `v:"example.com/hold"`.
    Item(String),
}

impl Step {
    /// Reads a step. The one by index (`i:`) is none: the API server knows elements of lists by key or value, or takes
    /// the list as a whole.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (kind, text) = text.split_once(':')?;
        let json = || serde_json::from_str::<Value>(text).ok();
        Some(match kind {
            "f" => Self::Field(text.to_owned()),
            "k" => {
                let keys = json()?;
                Self::Key(keys.as_object()?.iter().map(|(name, value)| (name.clone(), value.to_string())).collect())
            }
            "v" => Self::Item(json()?.to_string()),
            _ => return None,
        })
    }

    /// As [`Self::parse`] reads it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let pair = |(name, value): (&String, &String)| format!("{}:{value}", Value::from(name.as_str()));
                format!("k:{{{}}}", keys.iter().map(pair).collect::<Vec<_>>().join(","))
            }
            Self::Item(value) => format!("v:{value}"),
        }
    }

    /// Whether it leads to this element of a list.
    pub(super) fn is_to(&self, element: &Value) -> bool {
        let has = |(name, text): (&String, &String)| element.get(name).is_some_and(|value| reads(value, text));
        match self {
            Self::Field(_) => false,
            Self::Key(keys) => keys.iter().all(has),
            Self::Item(text) => reads(element, text),
        }
    }

    /// Whether it leads to an element of a list.
    pub(super) fn is_into_list(&self) -> bool {
        !matches!(self, Self::Field(_))
    }
}

/// Where a field is. For people it reads as the API server writes it into its complaints:
/// `.spec.template.spec.containers[name="app"].image`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub(super) Vec<Step>);

impl FieldPath {
    pub(super) fn then(&self, step: &Step) -> Self {
        Self(self.0.iter().chain([step]).cloned().collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| match step {
            Step::Field(name) => write!(f, ".{name}"),
            Step::Key(keys) => {
                let pairs: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                write!(f, "[{}]", pairs.join(","))
            }
            Step::Item(value) => write!(f, "[={value}]"),
        })
    }
}

/// Whether a value is what this JSON says.
fn reads(value: &Value, text: &str) -> bool {
    let there = value.to_string();
    there == text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn steps_are_read_and_written_as_the_api_server_does() {
        for (text, words) in [
            ("f:replicas", ".replicas"),
            ("f:app.kubernetes.io/name", ".app.kubernetes.io/name"),
            ("f:a:b", ".a:b"),
            (r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#),
            (r#"v:"example.com/hold""#, r#"[="example.com/hold"]"#),
            ("v:7", "[=7]"),
        ] {
            let step = Step::parse(text).unwrap();
            assert_eq!(step.text(), text);
            assert_eq!(FieldPath(vec![step]).to_string(), words);
        }
        // However the JSON is written.
        assert_eq!(Step::parse(r#"k:{ "b": "\u003c", "a": true }"#), Step::parse(r#"k:{"a":true,"b":"<"}"#));
        for text in ["", ".", "i:3", "k:7", "k:{", "v:", "x:y"] {
            assert_eq!(Step::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_element_of_a_list_is_known_by_all_its_keys_or_by_its_value() {
        let step = Step::parse(r#"k:{"containerPort":80,"protocol":"TCP"}"#).unwrap();
        for (element, expected) in [
            (json!({"containerPort": 80, "protocol": "TCP", "name": "http"}), true),
            (json!({"containerPort": "80", "protocol": "TCP"}), false),
            (json!({"containerPort": 80, "protocol": "UDP"}), false),
            (json!({"containerPort": 80}), false),
            (json!("containerPort"), false),
        ] {
            assert_eq!(step.is_to(&element), expected, "{element}");
        }
        let step = Step::parse(r#"v:"a""#).unwrap();
        assert!(step.is_to(&json!("a")) && !step.is_to(&json!("b")) && !step.is_to(&json!({"a": "a"})));
    }
}
