//! Two JSON values, compared for people.

use std::collections::BTreeSet;

use serde_json::Value;

/// Differences that are told; more than so many tell nothing more.
const MAX_TOLD: usize = 20;

/// Where two values differ, at most 20 lines, as in `header.run.step: 1, replayed 2`.
pub fn differences(recorded: &Value, replayed: &Value) -> Vec<String> {
    let mut told = Vec::new();
    compare("", recorded, replayed, &mut told);
    let more = told.len().saturating_sub(MAX_TOLD);
    told.truncate(MAX_TOLD);
    told.extend((more > 0).then(|| format!("and {more} more")));
    told
}

fn compare(path: &str, recorded: &Value, replayed: &Value, told: &mut Vec<String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (recorded, replayed) {
        (one, other) if one == other => {}
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let of = |map: &serde_json::Map<String, Value>| map.get(name).cloned().unwrap_or_default();
                compare(&below(name), &of(one), &of(other), told);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (place, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{path}[{place}]"), one, other, told);
            }
        }
        (one, other) => told.push(format!("{path}: {one}, replayed {other}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_by_its_path() {
        let one = json!({"run": {"step": 1, "stage": "Updating"}, "quarantine": ["a"], "same": [1, 2]});
        let other = json!({"run": {"step": 2, "stage": "Updating"}, "quarantine": ["b"], "same": [1, 2], "new": true});
        assert_eq!(
            differences(&one, &other),
            ["new: null, replayed true", "quarantine[0]: \"a\", replayed \"b\"", "run.step: 1, replayed 2"]
        );
    }

    #[test]
    fn it_does_not_tell_thousands() {
        let list = |value: i32| Value::from(vec![value; 1000]);
        let told = differences(&list(1), &list(2));
        assert_eq!((told.len(), told[20].as_str()), (21, "and 980 more"));
    }
}
