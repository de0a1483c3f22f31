//! Whether the agent may make objects of a kind. Client required.
//!
//! For images it may change any workload. Whole objects take more: who installs the agent names namespaces and kinds
//! (SEMANTICS 47), and only there it may create them. So that counts for objects that are there as well.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crds::ObjectRef;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::api::PostParams;
use kube::{Api, Client};

use super::kinds::Kind;
use crate::cluster::{Error, call};

/// For this long a right that is there counts. One that is missing is asked for at each look: somebody may have given
/// it.
const FRESH: Duration = Duration::from_mins(1);
/// Rights that are remembered: more kinds in more namespaces than any member has under rollout.
const MAX_KNOWN: usize = 4_096;

/// The rights that are known, by API group, resource and namespace.
#[derive(Debug, Default)]
pub struct Rights(Mutex<HashMap<(String, String, String), Instant>>);

impl Rights {
    /// Whether the agent may create objects of this kind where this one is, or would be.
    pub async fn may_create(&self, client: &Client, (object, kind): (&ObjectRef, &Kind)) -> Result<bool, Error> {
        let (group, resource) = (kind.resource.group.clone(), kind.resource.plural.clone());
        let key = (group.clone(), resource.clone(), object.namespace.clone());
        if self.lock().get(&key).is_some_and(|since| since.elapsed() < FRESH) {
            return Ok(true);
        }
        let resource_attributes = Some(ResourceAttributes {
            group: Some(group),
            resource: Some(resource),
            namespace: Some(object.namespace.clone()),
            verb: Some("create".to_owned()),
            ..ResourceAttributes::default()
        });
        let spec = SelfSubjectAccessReviewSpec { resource_attributes, ..SelfSubjectAccessReviewSpec::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let api: Api<SelfSubjectAccessReview> = Api::all(client.clone());
        let answer = call("ask for a right", api.create(&PostParams::default(), &review)).await?;
        let may = answer.status.is_some_and(|SubjectAccessReviewStatus { allowed, .. }| allowed);
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        if may {
            known.insert(key, Instant::now());
        }
        Ok(may)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String, String), Instant>> {
        // A panic can't leave the map half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
