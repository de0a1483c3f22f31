//! What an agent is asked to ask the Prometheus beside it, and what it found.

use serde::{Deserialize, Serialize};

/// Questions of the leader to one member. Only agents get them that say in [`crate::AgentInfo`] that they have a Prometheus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Inquiry {
    /// Names it among all that were ever made; comes back with the answers.
    pub id: String,
    /// The moment that all of it is about, in milliseconds since the Unix epoch.
    pub at_millis: i64,
    /// Milliseconds after which answers are of no use any more.
    pub within_millis: u64,
    /// `PromQL`, ready to be asked: at most 64.
    pub queries: Vec<String>,
}

/// Body of `POST /v1/samples`. Answered with 204, also where nobody waits for it any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The member that was asked.
    pub member: String,
    /// Id of the inquiry.
    pub id: String,
    /// One for each query, in their order.
    pub answers: Vec<Found>,
}

/// What a Prometheus said to one query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "is")]
pub enum Found {
    /// Values of the series, at most 1000, none at all included. As text, since JSON has neither "NaN" nor "inf".
    Values(Vec<String>),
    /// Nothing that can be used: why, for people; at most 256 bytes.
    Failed(String),
}

impl Found {
    /// Of values as they came.
    pub fn values(values: impl IntoIterator<Item = f64>) -> Self {
        Self::Values(values.into_iter().map(|value| value.to_string()).collect())
    }

    /// The values, or why there are none.
    pub fn read(&self) -> Result<Vec<f64>, String> {
        match self {
            Self::Failed(why) => Err(why.clone()),
            Self::Values(values) => values
                .iter()
                .map(|value| value.parse().map_err(|_| format!("the agent sent a value that is none: {value:.32}")))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn values_keep_what_json_has_no_word_for() {
        let found = Found::values([0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300]);
        let read: Found = serde_json::from_str(&serde_json::to_string(&found).unwrap()).unwrap();
        let values = read.read().unwrap();
        assert!(values[1].is_nan());
        assert_eq!((values[0], values[2], values[3], values[4]), (0.1, f64::INFINITY, f64::NEG_INFINITY, 1e300));
    }

    #[test]
    fn what_is_no_number_is_no_value() {
        assert!(Found::Values(vec!["much".to_owned()]).read().unwrap_err().contains("much"));
        assert_eq!(Found::Failed("no".to_owned()).read(), Err("no".to_owned()));
    }
}
