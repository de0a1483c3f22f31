//! Keys of the store, in one place. Names are DNS labels and uids are UUIDs, so a slash separates safely.
//!
//! | key | value |
//! |---|---|
//! | `meta/epoch` | the epoch of this store, a number |
//! | `meta/recovery` | `RecoveryRecord`: that the store is new or went back, and what came of it |
//! | `meta/hub` | `HubRecord`: whether the hub went back, and how often people have accepted it |
//! | `meta/went-back` | `Proof`: that it went back and nobody has noticed yet |
//! | `rollouts/<uid>/header`, `/plan` | `Header`, `Plan` |
//! | `rollouts/<uid>/history` | list of `PastRun`: the runs that it has had |
//! | `rollouts/<uid>/payloads/<revision>` | `Payload` that a past run brought, or that is accepted |
//! | `rollouts/<uid>/members/<member>` | `MemberRecord` |
//! | `assignments/<member>/<rollout>` | `RolloutAssignmentSpec`; its fence's generation is the key's revision |
//! | `reports/<member>/<rollout>` | `Report` |
//! | `clusters/<member>/info` | `AgentInfo` |
//! | `clusters/<member>/reach` | `ReachRecord` |
//! | `clusters/<member>/upload` | epoch under which the member has told all that it has, a number |
//! | `uploads/<member>/<rollout>` | `RolloutAssignment`: an order that the member has, until it is taken up |
//! | `claims/<member>/<kind>/<namespace>/<name>` | `Claim`: who may touch that object there |
//! | `samples/<uid>/<metric>/<member>` | `Sample` of a metric; `-` in the place of a member: measured once for all; `+` before the metric: in the background |
//! | `alerts/<fingerprint>` | `HeardAlert`: what an Alertmanager has told of |
//! | `decisions/<uid>/<number>` | `DecisionRecord`, the number in 12 digits so that keys sort |

use crds::Revision;
use rollout_core::{SampleKey, Target};

/// The epoch.
pub(crate) const EPOCH: &str = "meta/epoch";
/// What the store has to learn anew.
pub(crate) const RECOVERY: &str = "meta/recovery";
/// What is known of the hub's own past.
pub(crate) const HUB: &str = "meta/hub";
/// A proof that the store went back.
pub(crate) const WENT_BACK: &str = "meta/went-back";
/// All assignments.
pub(crate) const ASSIGNMENTS: &str = "assignments/";
/// All decisions.
pub(crate) const DECISIONS: &str = "decisions/";

/// In the place of a member's name, which it can't be.
const NO_MEMBER: &str = "-";

/// After all decisions, and before every other key that comes after them.
const AFTER_DECISIONS: &str = "decisions0";

/// A key, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key<'a> {
    Epoch,
    Recovery,
    WentBack,
    Hub,
    Header { uid: &'a str },
    Plan { uid: &'a str },
    History { uid: &'a str },
    Payload { uid: &'a str, revision: &'a str },
    Member { uid: &'a str, member: &'a str },
    Assignment { member: &'a str, rollout: &'a str },
    Report { member: &'a str, rollout: &'a str },
    Info { member: &'a str },
    Reach { member: &'a str },
    Uploaded { member: &'a str },
    Upload { member: &'a str, rollout: &'a str },
    Claim { member: &'a str, target: Target },
    Sample { uid: &'a str, key: SampleKey },
    Alert { fingerprint: &'a str },
    Decision { uid: &'a str, number: u64 },
}

/// From where to read on after this key, for who reads everything but the decisions.
pub(crate) fn past_decisions(key: String) -> String {
    if key.starts_with(DECISIONS) { AFTER_DECISIONS.to_owned() } else { key }
}

impl<'a> Key<'a> {
    /// Takes a key apart; `None` for one of a newer release.
    pub fn parse(key: &'a str) -> Option<Self> {
        let parts: Vec<&str> = key.split('/').collect();
        Some(match parts.as_slice() {
            ["meta", "epoch"] => Self::Epoch,
            ["meta", "recovery"] => Self::Recovery,
            ["meta", "went-back"] => Self::WentBack,
            ["meta", "hub"] => Self::Hub,
            ["rollouts", uid, "header"] => Self::Header { uid },
            ["rollouts", uid, "plan"] => Self::Plan { uid },
            ["rollouts", uid, "history"] => Self::History { uid },
            ["rollouts", uid, "payloads", revision] => Self::Payload { uid, revision },
            ["rollouts", uid, "members", member] => Self::Member { uid, member },
            ["assignments", member, rollout] => Self::Assignment { member, rollout },
            ["reports", member, rollout] => Self::Report { member, rollout },
            ["clusters", member, "info"] => Self::Info { member },
            ["clusters", member, "reach"] => Self::Reach { member },
            ["clusters", member, "upload"] => Self::Uploaded { member },
            ["uploads", member, rollout] => Self::Upload { member, rollout },
            ["claims", member, kind, namespace, name] => {
                let (kind, namespace, name) = ((*kind).to_owned(), (*namespace).to_owned(), (*name).to_owned());
                Self::Claim { member, target: Target { kind, namespace, name } }
            }
            ["samples", uid, metric, member] => {
                let member = (*member != NO_MEMBER).then_some(*member);
                Self::Sample { uid, key: SampleKey::of_written(metric, member) }
            }
            ["alerts", fingerprint] => Self::Alert { fingerprint },
            ["decisions", uid, number] => Self::Decision { uid, number: number.parse().ok()? },
            _ => return None,
        })
    }
}

pub(crate) fn header(uid: &str) -> String {
    format!("rollouts/{uid}/header")
}

pub(crate) fn plan(uid: &str) -> String {
    format!("rollouts/{uid}/plan")
}

pub(crate) fn history(uid: &str) -> String {
    format!("rollouts/{uid}/history")
}

pub(crate) fn payloads_of(uid: &str) -> String {
    format!("rollouts/{uid}/payloads/")
}

pub(crate) fn payload(uid: &str, revision: &Revision) -> String {
    format!("rollouts/{uid}/payloads/{revision}")
}

pub(crate) fn member(uid: &str, member: &str) -> String {
    format!("rollouts/{uid}/members/{member}")
}

pub(crate) fn assignments_of(member: &str) -> String {
    format!("{ASSIGNMENTS}{member}/")
}

pub(crate) fn assignment(member: &str, rollout: &str) -> String {
    format!("{ASSIGNMENTS}{member}/{rollout}")
}

pub(crate) fn report(member: &str, rollout: &str) -> String {
    format!("reports/{member}/{rollout}")
}

pub(crate) fn info(member: &str) -> String {
    format!("clusters/{member}/info")
}

pub(crate) fn reach(member: &str) -> String {
    format!("clusters/{member}/reach")
}

pub(crate) fn uploaded(member: &str) -> String {
    format!("clusters/{member}/upload")
}

pub(crate) fn upload(member: &str, rollout: &str) -> String {
    format!("uploads/{member}/{rollout}")
}

pub(crate) fn claim(member: &str, target: &Target) -> String {
    format!("claims/{member}/{target}")
}

pub(crate) fn samples_of(uid: &str) -> String {
    format!("samples/{uid}/")
}

pub(crate) fn sample(uid: &str, key: &SampleKey) -> String {
    format!("samples/{uid}/{}/{}", key.written_metric(), key.member.as_deref().unwrap_or(NO_MEMBER))
}

pub(crate) fn alert(fingerprint: &str) -> String {
    format!("alerts/{fingerprint}")
}

pub(crate) fn decisions_of(uid: &str) -> String {
    format!("{DECISIONS}{uid}/")
}

pub(crate) fn decision(uid: &str, number: u64) -> String {
    format!("{DECISIONS}{uid}/{number:012}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout() -> Target {
        let part = str::to_owned;
        Target { kind: part("Deployment.apps"), namespace: part("shop"), name: part("checkout") }
    }

    fn of_metric(member: Option<&str>) -> SampleKey {
        SampleKey { metric: "success-rate".to_owned(), member: member.map(str::to_owned), background: false }
    }

    fn of_background(member: Option<&str>) -> SampleKey {
        SampleKey { background: true, ..of_metric(member) }
    }

    #[test]
    fn a_key_is_taken_apart_as_it_was_made() {
        let cases = [
            (EPOCH.to_owned(), Key::Epoch),
            (RECOVERY.to_owned(), Key::Recovery),
            (WENT_BACK.to_owned(), Key::WentBack),
            (uploaded("m"), Key::Uploaded { member: "m" }),
            (upload("m", "r"), Key::Upload { member: "m", rollout: "r" }),
            (header("u"), Key::Header { uid: "u" }),
            (plan("u"), Key::Plan { uid: "u" }),
            (history("u"), Key::History { uid: "u" }),
            (payload("u", &Revision("7a".to_owned())), Key::Payload { uid: "u", revision: "7a" }),
            (member("u", "m"), Key::Member { uid: "u", member: "m" }),
            (assignment("m", "r"), Key::Assignment { member: "m", rollout: "r" }),
            (report("m", "r"), Key::Report { member: "m", rollout: "r" }),
            (info("m"), Key::Info { member: "m" }),
            (reach("m"), Key::Reach { member: "m" }),
            (claim("m", &checkout()), Key::Claim { member: "m", target: checkout() }),
            (sample("u", &of_metric(Some("m"))), Key::Sample { uid: "u", key: of_metric(Some("m")) }),
            (sample("u", &of_metric(None)), Key::Sample { uid: "u", key: of_metric(None) }),
            (sample("u", &of_background(Some("m"))), Key::Sample { uid: "u", key: of_background(Some("m")) }),
            (sample("u", &of_background(None)), Key::Sample { uid: "u", key: of_background(None) }),
            (alert("7a"), Key::Alert { fingerprint: "7a" }),
            (decision("u", 7), Key::Decision { uid: "u", number: 7 }),
        ];
        for (text, key) in cases {
            assert_eq!(Key::parse(&text), Some(key), "{text}");
        }
        assert_eq!(Key::parse("of/a/newer/release"), None);
    }

    #[test]
    fn one_members_prefix_is_no_prefix_of_anothers() {
        assert!(!assignment("cluster10", "r").starts_with(&assignments_of("cluster1")));
    }

    #[test]
    fn decisions_sort_by_number() {
        assert!(decision("u", 9) < decision("u", 10));
    }
}
