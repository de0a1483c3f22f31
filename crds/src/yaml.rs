//! The one place that knows which YAML library is used.
//!
//! `serde_yaml` is archived but without known faults; whoever replaces it changes this file.

use serde::{Serialize, de::DeserializeOwned};

/// Why a text is not the wanted value: the message has line, column and field.
pub type Error = serde_yaml::Error;

/// Parses one YAML document.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_yaml::from_str(text)
}

/// Parses a stream of YAML documents; empty ones are left out.
pub fn documents<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, Error> {
    serde_yaml::Deserializer::from_str(text)
        .map(serde_yaml::Value::deserialize_value)
        .filter(|value| !matches!(value, Ok(serde_yaml::Value::Null)))
        .map(|value| value.and_then(serde_yaml::from_value))
        .collect()
}

/// Writes one YAML document.
pub fn to_string<T: Serialize>(value: &T) -> Result<String, Error> {
    serde_yaml::to_string(value)
}

trait DeserializeValue: Sized {
    fn deserialize_value(document: serde_yaml::Deserializer<'_>) -> Result<Self, Error>;
}

impl DeserializeValue for serde_yaml::Value {
    fn deserialize_value(document: serde_yaml::Deserializer<'_>) -> Result<Self, Error> {
        serde::Deserialize::deserialize(document)
    }
}
