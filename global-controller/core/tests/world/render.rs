//! Commands as text, one line each, complete but for what is the same in all of them: "Apply m1: run 1 v2
//! over v1, previous v1" has the payload v2, the expected hash of v1, and v1 as previous state. Where drift is only to be
//! reported, "drift reported" follows.

use std::collections::BTreeMap;

use crds::{Previous, RolloutAssignmentSpec};
use rollout_core::Command;

use super::{World, claims};

impl World {
    pub fn render(&self, commands: &[Command]) -> Vec<String> {
        let others = commands.iter().filter(|command| !claims::is_about(command));
        others.map(|command| self.named(line(command))).collect()
    }

    /// The text with tags instead of the hashes that this world knows.
    pub fn named(&self, text: String) -> String {
        self.names.iter().fold(text, |text, (hash, name)| text.replace(hash, name))
    }
}

pub fn line(command: &Command) -> String {
    match command {
        Command::Assign { member, spec } => {
            let RolloutAssignmentSpec { member: named, rollout, intent, expected_hash, previous, on_drift, .. } =
                &**spec;
            assert_eq!(named, member, "an assignment goes to the member that it names");
            let over = expected_hash.as_ref().map(|hash| format!(" over {hash}")).unwrap_or_default();
            let previous = previous.as_ref().map(|it| format!(", previous {}", previous_text(it))).unwrap_or_default();
            let reported = if on_drift.is_repair() { "" } else { ", drift reported" };
            let (intent, what) = (intent.as_str(), content_text(spec));
            format!("{intent} {member}: run {} {what}{over}{previous}{reported}", rollout.run)
        }
        Command::Forget { member } => format!("Forget {member}"),
        Command::AcceptHub => "AcceptHub".to_owned(),
        Command::TakeUp { member } => format!("TakeUp {member}"),
        Command::Claim { member, target, .. } => format!("Claim {member}: {target}"),
        Command::Release { member, target } => format!("Release {member}: {target}"),
        Command::Announce { event } => format!("{:?} {}: {}", event.kind, event.reason, event.message),
        Command::ReleaseFinalizer => "ReleaseFinalizer".to_owned(),
    }
}

/// The images, or the hash of the objects.
fn content_text(spec: &RolloutAssignmentSpec) -> String {
    let objects = || spec.content_hash().unwrap_or_default();
    spec.workload.as_ref().map_or_else(objects, |workload| images_text(&workload.images))
}

fn previous_text(previous: &Previous) -> String {
    previous.snapshot.clone().unwrap_or_else(|| images_text(&previous.images))
}

/// "v1" for container `app` with `shop:v1`; other containers follow, as in "v1+proxy=proxy:v7".
pub fn images_text(images: &BTreeMap<String, String>) -> String {
    let short = |(container, image): (&String, &String)| match (container.as_str(), image.strip_prefix("shop:")) {
        ("app", Some(tag)) => tag.to_owned(),
        _ => format!("{container}={image}"),
    };
    images.iter().map(short).collect::<Vec<_>>().join("+")
}
