//! Wording that the status, events and messages share: bounded lists of names, durations, times.

use crds::{Content, Counts, Payload, time_from_millis};

use crate::Millis;

/// Names in one message. Ten of 63 characters leave room in the 1024 that a message may have.
const MAX_NAMES: usize = 10;
/// Members in one message when each is followed by what its agent says.
pub(crate) const MAX_TROUBLES: usize = 4;
/// Other rollouts in one message, each with some of the members that it holds: three times four names of 63 characters.
pub(crate) const MAX_CONFLICTS: usize = 2;
/// Characters of an agent's message that are repeated in a list: four fit into one of ours.
pub(crate) const MAX_TROUBLE_CHARS: usize = 120;
/// Characters that the schema allows a message.
pub(crate) const MAX_MESSAGE_CHARS: usize = 1024;

/// "a, b and 12 more".
pub(crate) fn list<T: AsRef<str>>(items: &[T]) -> String {
    list_bounded(items, MAX_NAMES)
}

/// The first `most` items and the number of the others.
pub(crate) fn list_bounded<T: AsRef<str>>(items: &[T], most: usize) -> String {
    let shown: Vec<&str> = items.iter().take(most).map(AsRef::as_ref).collect();
    match items.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// "1 member", "2 members".
pub(crate) fn members(count: usize) -> String {
    if count == 1 { "1 member".to_owned() } else { format!("{count} members") }
}

/// "; 2 failed within maxFailures: a, b", or nothing.
pub(crate) fn tolerated<T: AsRef<str>>(failed: &[T]) -> String {
    match failed.len() {
        0 => String::new(),
        count => format!("; {count} failed within maxFailures: {}", list(failed)),
    }
}

/// "; 2 unreachable and owed it: a, b; 1 cordoned and owed it: c", or nothing.
pub(crate) fn owed((silent, cordoned): (&[&str], &[&str])) -> String {
    let text = |why: &str, names: &[&str]| match names.len() {
        0 => String::new(),
        count => format!("; {count} {why} and owed it: {}", list(names)),
    };
    text("unreachable", silent) + &text("cordoned", cordoned)
}

/// "; 2 left out, as the workload is missing there: a, b", or nothing.
pub(crate) fn skipped(members: &[&str]) -> String {
    match members.len() {
        0 => String::new(),
        count => format!("; {count} left out, as the workload is missing there: {}", list(members)),
    }
}

/// "5/10" or "5/10 (2 partial)".
pub(crate) fn healthy(Counts { healthy, total, partial, .. }: Counts) -> String {
    let partial = if partial == 0 { String::new() } else { format!(" ({partial} partial)") };
    format!("{healthy}/{total}{partial}")
}

/// "; 2 partial, as a partition keeps pods of an older template there: a, b", or nothing.
pub(crate) fn partial(members: &[&str]) -> String {
    match members.len() {
        0 => String::new(),
        count => format!("; {count} partial, as a partition keeps pods of an older template there: {}", list(members)),
    }
}

/// "Deployment shop/checkout", or "5 objects".
pub(crate) fn workload(payload: &Payload) -> String {
    match &payload.content {
        Content::Images(workload) => format!("{} {}/{}", workload.kind, workload.namespace, workload.name),
        Content::Manifests(manifests) => manifests.to_string(),
    }
}

/// At most `most` characters; a cut is shown.
pub(crate) fn bounded(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// "300 s" or, from two minutes on and without a rest, "5 min".
pub(crate) fn seconds(seconds: i64) -> String {
    if seconds >= 120 && seconds % 60 == 0 { format!("{} min", seconds / 60) } else { format!("{seconds} s") }
}

/// The time as objects show it: "2026-01-02T03:04:05Z".
pub(crate) fn time(millis: Millis) -> String {
    time_from_millis(millis).0.to_string()
}

/// A count for a field of the status.
pub(crate) fn count(members: usize) -> i32 {
    i32::try_from(members).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_name_ten_and_count_the_others() {
        let names: Vec<String> = (1..=22).map(|number| format!("m{number}")).collect();
        assert_eq!(list(&names[..2]), "m1, m2");
        assert!(list(&names).ends_with("m10 and 12 more"), "{}", list(&names));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(bounded("äöüß", 4), "äöüß");
        assert_eq!(bounded("äöüß", 3), "äö…");
    }

    #[test]
    fn durations_and_times_read_well() {
        assert_eq!(seconds(300), "5 min");
        assert_eq!(seconds(90), "90 s");
        assert_eq!(time(1_767_323_045_678), "2026-01-02T03:04:05Z");
    }
}
