//! Leaving objects that are not wanted any more. Client required.

use crds::ObjectRef;
use serde_json::Value;

use super::super::{Error, Reconciler};
use super::fields::FieldSet;
use super::hitches::Hitches;
use super::objects::{self, How};
use super::state::{Entry, is_going, uid};
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
            if matches!(removed, Ok(None)) {
                look.loaded.state.drop(&object);
                look.wanted.gone.retain(|one| *one != object);
            }
            let has_failed = removed.is_err();
            hitches.note(removed)?;
            if has_failed && !goes_on {
                break;
            }
        }
        hitches.first()
    }

    /// Deletes an object, gives up its fields, or leaves it as it is. Returns what is waited for where it is not gone
    /// yet.
    async fn remove(&self, look: &mut Look<'_>, object: &ObjectRef) -> Result<Option<String>, Error> {
        let Some(live) = look.lives.value(object) else { return Ok(None) };
        let Some(kind) = self.kinds.find(&self.client, object).await? else { return Ok(None) };
        let rollout = &look.order.spec.rollout.name;
        match leaving(object, live, look.loaded.state.entry(object), &look.manager) {
            Leaving::Nothing => {}
            Leaving::Wait => return Ok(Some(waiting(object))),
            Leaving::LeaveBehind => look.loaded.state.leave(object),
            Leaving::Delete => {
                self.check_mark(look.order).await?;
                self.check_lease()?;
                tracing::info!(rollout, %object, "deletes an object that is not wanted any more");
                let only = uid(live);
                objects::delete(&self.client, object, &kind, &only).await?;
                look.lives.put(object, None);
                let left = objects::read(&self.client, object, &kind).await?;
                if let Some(left) = left.filter(|left| uid(left) == only) {
                    let left = self.judge(left).await?;
                    look.lives.put(object, Some(left));
                    return Ok(Some(waiting(object)));
                }
            }
            Leaving::GiveUp => {
                self.check_mark(look.order).await?;
                self.check_lease()?;
                tracing::info!(rollout, %object, "gives up its fields of an object that it has not made");
                let how = How { force: false, dry_run: false };
                let body = objects::nothing(object, live);
                match objects::apply(&self.client, (object, &kind), &body, &look.manager, how).await {
                    // Another one has its name by now.
                    Err(error) if error.is_conflict() => {}
                    // Without these fields there can be no such object.
                    Err(error) if error.unfit().is_some() => look.loaded.state.leave(object),
                    given_up => drop(given_up?),
                }
            }
        }
        Ok(None)
    }
}

fn waiting(object: &ObjectRef) -> String {
    format!("waiting until {object}, which is deleted, is gone")
}

/// What becomes of an object that is not wanted any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    /// It is none of ours.
    Nothing,
    /// It stays as it is, with our fields: without them it might be empty.
    LeaveBehind,
    /// It was made by the rollout.
    Delete,
    /// The same, and it is being deleted.
    Wait,
    /// It was made by others, and only its fields are ours.
    GiveUp,
}

fn leaving(object: &ObjectRef, live: &Value, entry: Option<&Entry>, manager: &str) -> Leaving {
    let is_made = entry.is_some_and(|entry| entry.created && entry.uid.as_deref() == Some(uid(live).as_str()));
    match (is_made, phases::may_delete(object)) {
        (false, _) if FieldSet::of(manager, live).is_none() => Leaving::Nothing,
        (_, false) => Leaving::LeaveBehind,
        (true, true) if is_going(live) => Leaving::Wait,
        (true, true) => Leaving::Delete,
        (false, true) => Leaving::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{OURS, config_ref, live, managed, ours};
    use super::*;

    #[test]
    fn semantics_20_what_is_never_deleted_is_left_with_its_fields_whoever_has_made_it() {
        let secret = ObjectRef { kind: "Secret".to_owned(), ..config_ref("a") };
        let (fields, none) = (
            ours("a", "u1", json!({"x": "1"})),
            live("a", "u1", json!({}), vec![managed("other", "Apply", 1, &["x"])]),
        );
        let entry = |uid: &str, created| {
            let uid = Some(uid.to_owned());
            Some(Entry { object: config_ref("a"), uid, created, body: None, seen: None })
        };
        let rows = [
            (entry("u1", true), &fields, Leaving::Delete, Leaving::LeaveBehind),
            (entry("u1", true), &none, Leaving::Delete, Leaving::LeaveBehind),
            (entry("u1", false), &fields, Leaving::GiveUp, Leaving::LeaveBehind),
            (entry("another", true), &fields, Leaving::GiveUp, Leaving::LeaveBehind),
            (entry("another", true), &none, Leaving::Nothing, Leaving::Nothing),
            (entry("u1", false), &none, Leaving::Nothing, Leaving::Nothing),
            (None, &fields, Leaving::GiveUp, Leaving::LeaveBehind),
        ];
        for (entry, live, plain, kept) in rows {
            let said = [config_ref("a"), secret.clone()].map(|object| leaving(&object, live, entry.as_ref(), OURS));
            assert_eq!(said, [plain, kept], "{entry:?} {live}");
        }
    }

    #[test]
    fn semantics_20_what_is_being_deleted_is_waited_for() {
        let mut live = ours("a", "u1", json!({"x": "1"}));
        live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let object = config_ref("a");
        let mut entry =
            Entry { object: object.clone(), uid: Some("u1".to_owned()), created: true, body: None, seen: None };
        assert_eq!(leaving(&object, &live, Some(&entry), OURS), Leaving::Wait);
        // Whoever has made it.
        entry.created = false;
        assert_eq!(leaving(&object, &live, Some(&entry), OURS), Leaving::GiveUp);
    }
}
