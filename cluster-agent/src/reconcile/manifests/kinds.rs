//! Which kinds the member's API server has, and where their objects are. Client required.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::ObjectRef;
use kube::Client;
use kube::core::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};

use crate::cluster::{Error, call};

/// For this long nobody asks again for a kind that is there. One that is missing is asked for at each look: its
/// definition may have come.
const FRESH: Duration = Duration::from_mins(5);

/// A kind that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Where its objects are.
    pub resource: ApiResource,
    /// Whether its objects are in namespaces.
    pub is_namespaced: bool,
}

impl Kind {
    /// Why this can't be an object of this kind, if so.
    pub fn misplaced(&self, object: &ObjectRef) -> Option<String> {
        match (self.is_namespaced, object.namespace.is_empty()) {
            (true, true) => Some(format!("{object} needs metadata.namespace: objects of its kind are in namespaces")),
            (false, false) => {
                Some(format!("{object} must not have metadata.namespace: objects of its kind are in no namespace"))
            }
            _ => None,
        }
    }
}

/// The kinds that are known; at most as many as the API server has.
#[derive(Debug, Default)]
pub struct Kinds(Mutex<HashMap<(String, String), (Kind, Instant)>>);

impl Kinds {
    /// Finds the kind of an object; none when there is no such kind.
    pub async fn find(&self, client: &Client, object: &ObjectRef) -> Result<Option<Kind>, Error> {
        let key = (object.api_version.clone(), object.kind.clone());
        let known = self.lock().get(&key).filter(|(_, since)| since.elapsed() < FRESH).map(|(kind, _)| kind.clone());
        if known.is_some() {
            return Ok(known);
        }
        let version = object.api_version.rsplit('/').next().unwrap_or_default();
        let asked = GroupVersionKind::gvk(object.group(), version, &object.kind);
        let ask = async {
            match pinned_kind(client, &asked).await {
                Err(kube::Error::Discovery(_)) => Ok(None),
                found => found.map(Some),
            }
        };
        let found = match call("ask for a kind", ask).await {
            Err(error) if error.is_missing() => None,
            found => found?,
        };
        let kind = found
            .map(|(resource, capabilities)| Kind { resource, is_namespaced: capabilities.scope == Scope::Namespaced });
        match kind.clone() {
            Some(kind) => self.lock().insert(key, (kind, Instant::now())),
            None => self.lock().remove(&key),
        };
        Ok(kind)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), (Kind, Instant)>> {
        // A panic can't leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::config_ref;
    use super::*;

    #[test]
    fn an_object_is_in_a_namespace_if_its_kind_says_so() {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
        let kind = |is_namespaced| Kind { resource: resource.clone(), is_namespaced };
        let (with, without) = (config_ref("a"), ObjectRef { namespace: String::new(), ..config_ref("a") });
        assert_eq!((kind(true).misplaced(&with), kind(false).misplaced(&without)), (None, None));
        let said = kind(true).misplaced(&without).unwrap_or_default();
        assert!(said.starts_with("ConfigMap a needs metadata.namespace"), "{said}");
        let said = kind(false).misplaced(&with).unwrap_or_default();
        assert!(said.starts_with("ConfigMap shop/a must not have metadata.namespace"), "{said}");
    }
}
