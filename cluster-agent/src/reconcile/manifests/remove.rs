//! Leaving objects that are not wanted any more. Client required.

use crds::ObjectRef;

use super::super::{Error, Reconciler};
use super::fields::FieldSet;
use super::hitches::Hitches;
use super::objects::{self, How};
use super::state::uid;
use super::{Halt, Look, phases};

impl Reconciler {
    /// Leaves all objects that are not wanted any more, and notes it.
    pub(super) async fn remove_all(&self, look: &mut Look<'_>) -> Result<(), Halt> {
        let removed = self.remove_each(look, |_| true).await;
        let written = self.write(look).await;
        removed?;
        written
    }

    /// The same of some of them, in the reverse order of applying, on the way back also those after one that fails;
    /// whoever calls it has to write the state.
    pub(super) async fn remove_each(
        &self,
        look: &mut Look<'_>,
        is_meant: impl Fn(&ObjectRef) -> bool,
    ) -> Result<Option<String>, Halt> {
        let (mut hitches, goes_on) = (Hitches::default(), look.wanted.is_return);
        let mut gone: Vec<ObjectRef> = look.wanted.gone.iter().filter(|object| is_meant(object)).cloned().collect();
        phases::sort_for_deletion(&mut gone, Clone::clone);
        for object in gone {
            let removed = self.remove(look, &object).await.map_err(|error| Halt::of(&object, error));
            if removed.is_ok() {
                look.loaded.state.drop(&object);
                look.wanted.gone.retain(|one| *one != object);
            }
            hitches.note(removed.map(|()| None))?;
            if !goes_on && !hitches.is_empty() {
                break;
            }
        }
        hitches.first()
    }

    /// Deletes an object that the rollout has made; of others, and of those that are never deleted, it gives up its
    /// fields, or leaves them as they are.
    async fn remove(&self, look: &mut Look<'_>, object: &ObjectRef) -> Result<(), Error> {
        let Some(live) = look.lives.value(object) else { return Ok(()) };
        let Some(kind) = self.kinds.find(&self.client, object).await? else { return Ok(()) };
        let entry = look.loaded.state.entry(object);
        let is_made = entry.is_some_and(|entry| entry.created && entry.uid.as_deref() == Some(uid(live).as_str()));
        self.check_mark(look.order).await?;
        self.check_lease()?;
        let rollout = &look.order.spec.rollout.name;
        if is_made && phases::may_delete(object) {
            tracing::info!(rollout, %object, "deletes an object that is not wanted any more");
            objects::delete(&self.client, object, &kind, &uid(live)).await?;
            look.lives.put(object, None);
        } else if is_made {
            look.loaded.state.left_behind.push(object.clone());
        } else if FieldSet::of(&look.manager, live).is_some() {
            tracing::info!(rollout, %object, "gives up its fields of an object that it has not made");
            let how = How { force: false, dry_run: false };
            let body = objects::nothing(object, live);
            match objects::apply(&self.client, (object, &kind), &body, &look.manager, how).await {
                // Another one has its name by now.
                Err(error) if error.is_conflict() => {}
                given_up => drop(given_up?),
            }
        }
        Ok(())
    }
}
