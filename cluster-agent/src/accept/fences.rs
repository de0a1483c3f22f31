//! The `ConfigMap` that keeps the marks. Client required.

use std::collections::BTreeMap;

use crds::AGENT_MANAGER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::PostParams;
use kube::{Api, Client};

use super::marks::Marks;
use crate::cluster::{Error, call};

/// Name of the `ConfigMap`.
pub const FENCES: &str = "cluster-agent-fences";
/// Its key. One, because an object's kind, namespace and name together may be longer than a key can be.
const KEY: &str = "fences.json";

/// The marks as they were read; writing them back fails when somebody else wrote in between.
#[derive(Debug)]
pub struct Loaded {
    /// The marks; `None` when they were lost or never existed.
    pub marks: Option<Marks>,
    object: Option<ConfigMap>,
}

/// Reads and writes the marks.
#[derive(Clone, Debug)]
pub struct Fences {
    api: Api<ConfigMap>,
}

impl Fences {
    /// The marks in this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace) }
    }

    /// Reads the marks from a quorum.
    pub async fn read(&self) -> Result<Loaded, Error> {
        let object = call("read the fences", self.api.get_opt(FENCES)).await?;
        let text = object.as_ref().and_then(|object| object.data.as_ref()?.get(KEY));
        let marks = text.and_then(|text| {
            // Damaged marks are lost marks: a complete list of the hub begins them anew.
            serde_json::from_str(text).inspect_err(|error| tracing::error!(%error, "the fences are damaged")).ok()
        });
        Ok(Loaded { marks, object })
    }

    /// Writes the marks over what was `loaded`. A conflict means: read again.
    pub async fn write(&self, loaded: Loaded, marks: &Marks) -> Result<(), Error> {
        // Marks are strings and numbers: writing them to memory can't fail.
        let text = serde_json::to_string(marks).unwrap_or_default();
        let parameters = PostParams { field_manager: Some(AGENT_MANAGER.to_owned()), ..PostParams::default() };
        let is_new = loaded.object.is_none();
        let mut object = loaded.object.unwrap_or_default();
        object.metadata.name = Some(FENCES.to_owned());
        object.data.get_or_insert_with(BTreeMap::new).insert(KEY.to_owned(), text);
        if is_new {
            call("create the fences", self.api.create(&parameters, &object)).await.map(drop)
        } else {
            call("write the fences", self.api.replace(FENCES, &parameters, &object)).await.map(drop)
        }
    }
}
