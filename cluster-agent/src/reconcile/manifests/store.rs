//! The `ConfigMap` that keeps the [`State`] of one rollout. Client required.

use std::collections::BTreeMap;

use crds::AGENT_MANAGER;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client};

use super::state::State;
use crate::cluster::{self, call};

const KEY: &str = "state";
/// What a `ConfigMap` holds in all (1 MiB), without its key.
const MAX_BYTES: usize = (1 << 20) - KEY.len();

fn name(rollout: &str) -> String {
    format!("cluster-agent-manifests-{rollout}")
}

/// Why a state can't be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It would be larger than what a `ConfigMap` holds.
    #[error("what was there before, and must be kept to return to, takes {0} bytes; a ConfigMap holds {MAX_BYTES}")]
    TooLarge(usize),
    /// The API server is not there, or somebody else wrote in between.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
}

/// A state as it was read; writing it back fails when somebody else wrote in between.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The state; empty when it was lost or never existed.
    pub state: State,
    object: Option<ConfigMap>,
}

/// Reads and writes states.
#[derive(Clone, Debug)]
pub struct Store {
    api: Api<ConfigMap>,
    namespace: String,
}

impl Store {
    /// The states in this namespace.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), namespace: namespace.to_owned() }
    }

    /// The agent's own namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// For people: where the state of a rollout is.
    pub fn place(&self, rollout: &str) -> String {
        format!("ConfigMap {}/{}", self.namespace, name(rollout))
    }

    /// Reads a state from a quorum.
    pub async fn read(&self, rollout: &str) -> Result<Loaded, cluster::Error> {
        let name = name(rollout);
        let object = call("read the record of what was applied", self.api.get_opt(&name)).await?;
        let text = object.as_ref().and_then(|object| object.data.as_ref()?.get(KEY));
        let state = text.and_then(|text| {
            // Damaged is lost.
            let damaged =
                |error: &serde_json::Error| tracing::error!(rollout, %error, "the record of a rollout is damaged");
            serde_json::from_str(text).inspect_err(damaged).ok()
        });
        Ok(Loaded { state: state.unwrap_or_default(), object })
    }

    /// Writes a state over what was `loaded`. A conflict means: read again.
    pub async fn write(&self, rollout: &str, loaded: &mut Loaded) -> Result<(), Error> {
        // Plain data: writing it to memory can't fail.
        let text = serde_json::to_string(&loaded.state).unwrap_or_default();
        if text.len() > MAX_BYTES {
            return Err(Error::TooLarge(text.len()));
        }
        let name = name(rollout);
        let parameters = PostParams { field_manager: Some(AGENT_MANAGER.to_owned()), ..PostParams::default() };
        let mut object = loaded.object.clone().unwrap_or_default();
        object.metadata.name = Some(name.clone());
        object.data.get_or_insert_with(BTreeMap::new).insert(KEY.to_owned(), text);
        let what = "write the record of what is applied";
        let written = match &loaded.object {
            None => call(what, self.api.create(&parameters, &object)).await?,
            Some(_) => call(what, self.api.replace(&name, &parameters, &object)).await?,
        };
        loaded.object = Some(written);
        Ok(())
    }

    /// Deletes a state that was `loaded`; one that is not there, or was written since, is fine.
    pub async fn delete(&self, rollout: &str, loaded: &Loaded) -> Result<(), cluster::Error> {
        let Some(object) = &loaded.object else { return Ok(()) };
        let name = name(rollout);
        match call("delete the record of what was applied", self.api.delete(&name, &only(object))).await {
            Err(error) if error.is_missing() || error.is_conflict() => Ok(()),
            deleted => deleted.map(drop),
        }
    }
}

/// Deletes exactly what was read.
fn only(object: &ConfigMap) -> DeleteParams {
    let (uid, resource_version) = (object.metadata.uid.clone(), object.metadata.resource_version.clone());
    DeleteParams::default().preconditions(Preconditions { uid, resource_version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semantics_13_only_the_record_that_was_read_is_deleted() {
        let mut object = ConfigMap::default();
        object.metadata.uid = Some("u".to_owned());
        object.metadata.resource_version = Some("17".to_owned());
        let conditions = only(&object).preconditions.map(|only| (only.uid, only.resource_version));
        assert_eq!(conditions, Some((Some("u".to_owned()), Some("17".to_owned()))));
    }
}
