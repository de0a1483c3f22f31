//! Whole objects of an order, which the store has once for each payload: they are put into it when it is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crds::{FullPayload, Intent, OBJECTS_API_LEVEL, Revision, RolloutAssignment};
use federated_store::ReadError;
use rollout_core::manifests::render;

use crate::keys;
use crate::records::read;
use crate::world::World;

/// Payloads that are kept to be sent again: a wave asks for the same one many times. Each has at most 192 KiB of objects.
const MAX_KEPT: usize = 32;

/// Payloads that were sent lately. They are immutable, so none grows stale; one whose objects are not known is not kept, as it
/// may be written again with them.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<BTreeMap<(String, Revision), Arc<FullPayload>>>);

impl Kept {
    fn get(&self, of: &(String, Revision)) -> Option<Arc<FullPayload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(of).cloned()
    }

    fn put(&self, of: (String, Revision), payload: Arc<FullPayload>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(of, payload);
    }
}

/// The payload of a rollout's revision as the store has it, with all that is in it.
pub(crate) async fn payload(
    world: &World,
    uid: &str,
    revision: &Revision,
) -> Result<Option<Arc<FullPayload>>, ReadError> {
    let of = (uid.to_owned(), revision.clone());
    if let Some(known) = world.kept.get(&of) {
        return Ok(Some(known));
    }
    let key = keys::payload(uid, revision);
    let Some(stored) = world.store.get(&key).await? else { return Ok(None) };
    let found: Option<FullPayload> = read(&key, &stored.value);
    let found = found.map(Arc::new);
    if let Some(found) = found.as_ref().filter(|found| found.is_whole()) {
        world.kept.put(of, Arc::clone(found));
    }
    Ok(found)
}

/// Whether a member's agent understands an order. One that is older than whole objects could not read it, and would break off
/// its stream, with the orders of all other rollouts (SEMANTICS 49).
pub(crate) fn is_understood(world: &World, member: &str, assignment: &RolloutAssignment) -> bool {
    let mirror = world.mirror();
    let info = mirror.member(member).and_then(|member| member.info.as_ref());
    // Nobody was told of whole objects before the agent had introduced itself.
    assignment.spec.manifests.is_none() || info.is_none_or(|info| info.api_level >= OBJECTS_API_LEVEL)
}

/// Puts in the objects of an order that needs them. Where nobody knows them any more it goes without: an agent that has had
/// them goes on with them, and any other says so.
pub(crate) async fn fill(world: &World, assignment: &mut RolloutAssignment) -> Result<(), ReadError> {
    let spec = &mut assignment.spec;
    let Some(manifests) = spec.manifests.as_mut().filter(|_| matches!(spec.intent, Intent::Observe | Intent::Apply))
    else {
        return Ok(());
    };
    let (rollout, revision) = (&spec.rollout.name, spec.revision.as_str());
    let Some(full) = payload(world, &spec.rollout.uid, &spec.revision).await?.filter(|full| full.is_whole()) else {
        tracing::warn!(rollout, revision, "the objects of this revision are not known any more");
        return Ok(());
    };
    match render(&full.manifests, &full.payload.overrides, &manifests.overrides) {
        Ok(objects) => manifests.objects = objects,
        // What was checked before the run started.
        Err(error) => tracing::error!(rollout, revision, %error, "an override can't be applied"),
    }
    Ok(())
}
