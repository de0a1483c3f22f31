//! A number of members, or a percentage of them.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A count of members (`10`) or a percentage of them (`"20%"`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntOrPercent {
    /// So many members.
    Count(u32),
    /// So many of each hundred, 0 to 100.
    Percent(u8),
}

impl IntOrPercent {
    /// Resolves against `total` members and rounds up: for limits where one is the least that makes sense.
    pub fn of_rounded_up(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }

    /// Resolves against `total` members and rounds down: for budgets, of which a share that is no whole member is none.
    pub fn of_rounded_down(self, total: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => total * usize::from(percent) / 100,
        }
    }
}

/// Why a string is not a percentage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsePercentError(String);

impl fmt::Display for ParsePercentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is neither a whole number nor a percentage from \"0%\" to \"100%\"", self.0)
    }
}

impl std::error::Error for ParsePercentError {}

impl std::str::FromStr for IntOrPercent {
    type Err = ParsePercentError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let percent = text.strip_suffix('%').and_then(|digits| digits.parse::<u8>().ok());
        match percent {
            Some(percent) if percent <= 100 => Ok(Self::Percent(percent)),
            _ => Err(ParsePercentError(text.to_owned())),
        }
    }
}

impl fmt::Display for IntOrPercent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl Serialize for IntOrPercent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(count) => serializer.serialize_u32(*count),
            Self::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = IntOrPercent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or a percentage such as \"20%\"")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<IntOrPercent, E> {
                u32::try_from(value).map(IntOrPercent::Count).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<IntOrPercent, E> {
                u32::try_from(value).map(IntOrPercent::Count).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<IntOrPercent, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for IntOrPercent {
    fn schema_name() -> Cow<'static, str> {
        "IntOrPercent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "minimum": 1,
            "maximum": 100_000,
            "pattern": "^(100|[1-9][0-9]?)%$",
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_percentage_rounds_up_and_a_count_stays() {
        assert_eq!(IntOrPercent::Percent(10).of_rounded_up(1), 1);
        assert_eq!(IntOrPercent::Percent(10).of_rounded_up(11), 2);
        assert_eq!(IntOrPercent::Percent(0).of_rounded_up(11), 0);
        assert_eq!(IntOrPercent::Count(7).of_rounded_up(3), 7);
    }

    #[test]
    fn a_budget_rounds_down() {
        assert_eq!(IntOrPercent::Percent(10).of_rounded_down(9), 0);
        assert_eq!(IntOrPercent::Percent(10).of_rounded_down(29), 2);
        assert_eq!(IntOrPercent::Count(7).of_rounded_down(3), 7);
    }

    #[test]
    fn both_forms_survive_json() {
        for text in ["10", "\"20%\"", "\"100%\"", "0"] {
            let value: IntOrPercent = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&value).unwrap(), text);
        }
        for text in ["\"101%\"", "\"ten\"", "-1", "\"5\"", "1.5"] {
            assert!(serde_json::from_str::<IntOrPercent>(text).is_err(), "{text} was accepted");
        }
    }
}
