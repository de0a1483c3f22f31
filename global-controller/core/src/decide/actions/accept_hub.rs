//! `AcceptHub`: a person takes the hub as it is after it was restored from an older backup, for all rollouts at once.

use super::{Judged, Refusal, Verdict, by, check_name, is_before};
use crate::ActionFacts;
use crate::decide::{Command, EventKind, change::Change};

pub(super) fn judge(change: &mut Change<'_>, action: &ActionFacts) -> Judged {
    check_name(change, action)?;
    if change.observations.hub.rewound.is_some_and(|rewound| is_before(action, rewound.since)) {
        return Err(Refusal(
            "it was created before the hub was found to have gone back: look at the hub, and create another action"
                .to_owned(),
        ));
    }
    change.command(Command::AcceptHub);
    let follows = "the hub is taken as it is, and every rollout goes on by what it says";
    change.announce(EventKind::Warning, "HubAccepted", &format!("accepted {}: {follows}", by(action)));
    Ok(Verdict::Applied(follows.to_owned()))
}
