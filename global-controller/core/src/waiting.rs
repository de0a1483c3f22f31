//! What a rollout waits for, as a value. The same value feeds the condition, the Event, the API and the
//! dashboard, and this is the only place that words it.

mod choose;

use std::collections::BTreeMap;

use crds::{Outcome, Revision, Verdict, WaitingOnStatus, time_from_millis};

pub(crate) use choose::late_hold;
pub use choose::waiting_on;

use crate::{Address, Concern, Millis, MissingSource, Problem, Run, words};

/// What a rollout waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// Deletion: these members have not acknowledged yet.
    Withdrawal {
        /// Their names.
        members: Vec<String>,
    },
    /// The object is invalid.
    Invalid {
        /// All that is wrong with it.
        problems: Vec<Problem>,
    },
    /// The hub was restored from an older backup: a person has to accept it.
    HubRewound {
        /// What shows it.
        told: String,
    },
    /// The store was lost or went back in the middle of a run: a person has to decide.
    StoreRebuilt {
        /// Number and revision of the run, if they are known.
        run: Option<(i64, Revision)>,
        /// Members that have not told yet what they were told before.
        unknown: Vec<String>,
    },
    /// There is nothing to deliver.
    NoPayload,
    /// Targets without `MemberCluster` keep the run from starting.
    TargetMissing {
        /// Their names.
        names: Vec<String>,
    },
    /// No member is selected.
    EmptyPlan,
    /// Other rollouts have claims on members of this one.
    Conflicted {
        /// Their names, and the members.
        holders: BTreeMap<String, Vec<String>>,
    },
    /// The payload was rolled back, and is never rolled out again.
    Quarantined {
        /// Its hash.
        revision: Revision,
        /// Why it was, where that is known yet; may be empty.
        because: String,
    },
    /// The run was rolled back, and members have not returned within their deadline.
    RollbackIncomplete {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members are going back to what they ran before.
    Rollback {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// Touched members that are back.
        returned: usize,
        /// All touched members.
        touched: usize,
    },
    /// Another payload waits for the end of a rollback.
    RollbackFirst {
        /// Touched members that are back.
        returned: usize,
        /// All touched members.
        touched: usize,
    },
    /// Members that failed within budget are going back to what they ran before.
    Return {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// A person has paused it.
    Paused {
        /// What is left of the pause or soak that was running.
        remaining_millis: Option<i64>,
    },
    /// The hub's watch is silent.
    HubSilent,
    /// Members took longer than their deadline, or are contended, and nothing returns by itself; the run holds until they are
    /// healthy, the payload changes, or a person aborts or retries.
    DeadlinePassed {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// The deadline.
        deadline_seconds: i64,
    },
    /// Members don't have the workload or one of its containers.
    WorkloadMissing {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// The workload, for people: "Deployment shop/checkout".
        workload: String,
    },
    /// No member is left: all of them lack the workload, and `ifMissing` is `Skip`.
    NobodyHasIt {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
        /// The workload, for people: "Deployment shop/checkout".
        workload: String,
    },
    /// API servers of members refuse the change.
    Refused {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members that were healthy at the revision have not been for too long, and nothing returns by itself.
    MemberFailed {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members that were healthy at the revision are no longer.
    MemberUnhealthy {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// More members of the waves begun are silent than may be, or nobody else is there to tell how it goes.
    MemberUnreachable {
        /// Their names.
        members: Vec<String>,
        /// `maxUnreachable`, as a number of members.
        allowed: usize,
    },
    /// With `failureTolerance: Strict`, so many members may have failed that no further one is touched: these are silent.
    StrictTolerance {
        /// Their names.
        members: Vec<String>,
    },
    /// Members go back to what they ran before an earlier run first.
    ReturnFirst {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Too many have failed, and with `rollback.scope: Member` those in flux are waited for.
    Finishing {
        /// They and those that return, and what their agents say.
        members: Vec<MemberTrouble>,
        /// Why no further member is touched.
        because: String,
    },
    /// The run ended with too many failures, or a failed gate, and the healthy members keep the revision.
    TooManyFailed {
        /// Why it ended.
        because: String,
        /// Members that run the revision.
        kept: usize,
        /// The revision.
        revision: Revision,
    },
    /// The run has succeeded, and so many have failed since that nobody catches up any more.
    CatchUpHeld {
        /// Failures of the run and of the catch-up.
        failures: usize,
        /// `maxFailures`, as a number of members.
        allowed: usize,
        /// Those that have failed.
        members: Vec<String>,
        /// Members that the revision is kept from.
        pending: usize,
    },
    /// A later run was given up, and so many have failed at what was accepted before it that nobody catches up with that any
    /// more. It says nothing of the latest run.
    LateCatchUpHeld {
        /// Failures of the catch-up.
        failures: usize,
        /// `maxFailures`, as a number of members.
        allowed: usize,
        /// Those that have failed.
        members: Vec<String>,
        /// Members that the revision is kept from.
        pending: usize,
    },
    /// Everybody in the waves begun that could be told to run the revision is kept out by a person.
    Cordoned {
        /// Their names.
        members: Vec<String>,
    },
    /// Agents are too old for what is delivered.
    AgentTooOld {
        /// Names of their members.
        members: Vec<String>,
        /// The level of the agents' API that it needs.
        needs: i32,
    },
    /// The run has succeeded, and members that are silent or cordoned are owed the revision.
    Owed {
        /// Names of the silent ones.
        members: Vec<String>,
        /// Names of the cordoned ones.
        cordoned: Vec<String>,
        /// The revision.
        revision: Revision,
    },
    /// A new leader has not heard these members yet.
    Heartbeat {
        /// Their names.
        members: Vec<String>,
    },
    /// Members have not yet said what they run.
    Observation {
        /// Their names.
        members: Vec<String>,
    },
    /// Owners of workloads have to delete old pods, as the update strategy there is `OnDelete`.
    PodDeletionByOwner {
        /// The members, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// Members are becoming healthy.
    MemberHealth {
        /// They, and what their agents say.
        members: Vec<MemberTrouble>,
    },
    /// The pause of a step.
    Pause {
        /// Its end.
        until: Millis,
        /// Members updated so far.
        members: usize,
    },
    /// The pause of a step is over, and a person has to let it go on.
    Approval {
        /// Name of the rollout.
        rollout: String,
        /// The step, from 1.
        step: usize,
        /// All steps, the implicit last one included.
        steps: usize,
        /// Members updated so far.
        members: usize,
    },
    /// The soak at the end.
    Soak {
        /// Its end.
        until: Millis,
        /// Members, all updated.
        members: usize,
    },
    /// The rollout is to be measured by a source that the controller's configuration doesn't have.
    SourceMissing {
        /// Which, and which there are.
        source: MissingSource,
    },
    /// Metrics: they have failed and nothing returns by itself, or a pause or soak is over and they don't let the run go
    /// on yet.
    Gate {
        /// What they show; none while too little was measured.
        verdict: Option<Verdict>,
        /// On what it rests, for people.
        text: String,
        /// Whether it has taken too long.
        holds: bool,
    },
    /// Too few requests succeed on updated members, and in the control group too: nothing speaks against the revision.
    GlobalTrouble {
        /// What was measured, for people.
        text: String,
    },
    /// A pause or soak is over, but no metric source is configured, and that means hold.
    GateUnconfigured,
    /// The controller itself: the next decision goes on.
    Decision,
}

/// A member and what its agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberTrouble {
    /// The member.
    pub name: String,
    /// The agent's answer to the present assignment, if there is one yet.
    pub outcome: Option<Outcome>,
    /// The agent's message, may be empty.
    pub message: String,
}

impl WaitingOn {
    /// What the current step of a run of this rollout waits for when everything but a person lets it go on.
    pub(crate) fn approval(rollout: &str, run: &Run, members: usize) -> Self {
        let (step, steps) = (run.step_number(), run.steps.len() + 1);
        Self::Approval { rollout: rollout.to_owned(), step, steps, members }
    }

    /// A word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Withdrawal { .. } => "Withdrawal",
            Self::Invalid { problems } if problems.iter().any(|problem| problem.concern == Concern::Size) => {
                "PayloadTooLarge"
            }
            Self::Invalid { .. } => "Invalid",
            Self::HubRewound { .. } => "HubRewound",
            Self::StoreRebuilt { .. } => "StoreRebuilt",
            Self::NoPayload => "NoPayload",
            Self::TargetMissing { .. } => "TargetMissing",
            Self::EmptyPlan => "EmptyPlan",
            Self::Conflicted { .. } => "Conflicted",
            Self::Quarantined { .. } => "Quarantined",
            Self::RollbackIncomplete { .. } => "RollbackIncomplete",
            Self::Rollback { .. } => "Rollback",
            Self::RollbackFirst { .. } => "RollbackFirst",
            Self::Return { .. } => "Return",
            Self::MemberFailed { .. } => "MemberFailed",
            Self::Paused { .. } => "Paused",
            Self::HubSilent => "HubSilent",
            Self::DeadlinePassed { .. } => "DeadlinePassed",
            Self::WorkloadMissing { .. } | Self::NobodyHasIt { .. } => "WorkloadMissing",
            Self::Refused { .. } => "Refused",
            Self::MemberUnhealthy { .. } => "MemberUnhealthy",
            Self::MemberUnreachable { .. } => "MemberUnreachable",
            Self::StrictTolerance { .. } => "StrictTolerance",
            Self::ReturnFirst { .. } => "ReturnFirst",
            Self::Finishing { .. } => "Finishing",
            Self::TooManyFailed { .. } => "TooManyFailed",
            Self::CatchUpHeld { .. } | Self::LateCatchUpHeld { .. } => "CatchUpHeld",
            Self::Cordoned { .. } => "Cordoned",
            Self::AgentTooOld { .. } => "AgentTooOld",
            Self::Owed { .. } => "Owed",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::Observation { .. } => "Observation",
            Self::PodDeletionByOwner { .. } => "PodDeletionByOwner",
            Self::MemberHealth { .. } => "MemberHealth",
            Self::Pause { .. } => "Pause",
            Self::Approval { .. } => "Approval",
            Self::Soak { .. } => "Soak",
            Self::SourceMissing { source: MissingSource::Unknown { .. } } => "SourceMissing",
            Self::SourceMissing { source: MissingSource::NotAllowed { .. } } => "AddressNotAllowed",
            Self::Gate { verdict: None | Some(Verdict::Pass), .. } => "Measurement",
            Self::Gate { verdict: Some(Verdict::Fail), .. } => "GateFailed",
            Self::Gate { verdict: Some(Verdict::Inconclusive), .. } => "GateInconclusive",
            Self::Gate { verdict: Some(Verdict::NoData), .. } => "GateNoData",
            Self::GlobalTrouble { .. } => "GlobalTrouble",
            Self::GateUnconfigured => "GateUnconfigured",
            Self::Decision => "Decision",
        }
    }

    /// The same for people: names (bounded), numbers, what to do. At most 1024 characters.
    pub fn message(&self) -> String {
        let text = self.trouble_message().unwrap_or_else(|| self.plain_message());
        words::bounded(&text, words::MAX_MESSAGE_CHARS)
    }

    /// All of it, as the status and a plan show it.
    pub(crate) fn status(&self) -> WaitingOnStatus {
        let until = self.until().map(time_from_millis);
        WaitingOnStatus { reason: self.reason().to_owned(), message: self.message(), until }
    }

    /// When the wait ends by itself, if it does.
    pub fn until(&self) -> Option<Millis> {
        match self {
            Self::Pause { until, .. } | Self::Soak { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Whether the run does not go on by itself: a person or a repair is needed.
    pub fn holds(&self) -> bool {
        match self {
            Self::Invalid { .. }
            | Self::HubRewound { .. }
            | Self::StoreRebuilt { .. }
            | Self::TargetMissing { .. }
            | Self::Conflicted { .. }
            | Self::Quarantined { .. }
            | Self::RollbackIncomplete { .. }
            | Self::MemberFailed { .. }
            | Self::HubSilent
            | Self::DeadlinePassed { .. }
            | Self::WorkloadMissing { .. }
            | Self::NobodyHasIt { .. }
            | Self::Refused { .. }
            | Self::PodDeletionByOwner { .. }
            | Self::MemberUnreachable { .. }
            | Self::StrictTolerance { .. }
            | Self::Cordoned { .. }
            | Self::AgentTooOld { .. }
            | Self::TooManyFailed { .. }
            | Self::CatchUpHeld { .. }
            | Self::LateCatchUpHeld { .. }
            | Self::SourceMissing { .. }
            | Self::GlobalTrouble { .. }
            | Self::GateUnconfigured => true,
            Self::Gate { holds, .. } => *holds,
            Self::Withdrawal { .. }
            | Self::NoPayload
            | Self::EmptyPlan
            | Self::Rollback { .. }
            | Self::RollbackFirst { .. }
            | Self::Return { .. }
            | Self::ReturnFirst { .. }
            | Self::Finishing { .. }
            | Self::Owed { .. }
            | Self::Paused { .. }
            | Self::MemberUnhealthy { .. }
            | Self::Heartbeat { .. }
            | Self::Observation { .. }
            | Self::MemberHealth { .. }
            | Self::Pause { .. }
            | Self::Approval { .. }
            | Self::Soak { .. }
            | Self::Decision => false,
        }
    }

    /// Messages that repeat what agents say.
    fn trouble_message(&self) -> Option<String> {
        Some(match self {
            Self::DeadlinePassed { members, deadline_seconds } => {
                let contended = members.iter().all(|member| member.outcome == Some(Outcome::Contended));
                let what = if contended {
                    "contended before being healthy".to_owned()
                } else {
                    format!("not healthy within progressDeadlineSeconds ({})", words::seconds(*deadline_seconds))
                };
                format!(
                    "{} {what}: {}; no further member is touched until then, until the payload changes, or until a person aborts or retries",
                    words::members(members.len()),
                    troubles(members)
                )
            }
            Self::WorkloadMissing { members, workload } => format!(
                "{workload} or a container of it is missing on {}: {}; create it there, deselect them or set ifMissing: Skip",
                words::members(members.len()),
                troubles(members)
            ),
            Self::NobodyHasIt { members, workload } => format!(
                "no member has {workload}, so all are left out (ifMissing: Skip): {}; create it there, and the run goes on",
                troubles(members)
            ),
            Self::Refused { members } => format!(
                "the API server of {} refuses: {}; the agent goes on trying",
                words::members(members.len()),
                troubles(members)
            ),
            Self::MemberFailed { members } => format!(
                "{} unhealthy for 60 s without a break: {}; rollback.mode is Manual, so no further member is touched until then, until the payload changes, or until a person aborts or retries",
                words::members(members.len()),
                troubles(members)
            ),
            Self::RollbackIncomplete { members } => format!(
                "{} not back to what they ran before: {}; their agents go on trying; repair them, or set another payload",
                words::members(members.len()),
                troubles(members)
            ),
            Self::Rollback { members, returned, touched } if members.is_empty() => {
                format!("rolling back: {returned} of {} back", words::members(*touched))
            }
            Self::Rollback { members, returned, touched } => format!(
                "rolling back: {returned} of {} back, on the way: {}",
                words::members(*touched),
                troubles(members)
            ),
            Self::Return { members } => format!(
                "{} failed within maxFailures and going back to what they ran before: {}",
                words::members(members.len()),
                troubles(members)
            ),
            Self::ReturnFirst { members } => format!(
                "{} going back to what they ran before an earlier run, which comes first: {}",
                words::members(members.len()),
                troubles(members)
            ),
            Self::Finishing { members, because } => {
                format!("{because}: no further member is touched; to finish or to return: {}", troubles(members))
            }
            Self::MemberUnhealthy { members } => {
                format!("{} no longer healthy: {}", words::members(members.len()), troubles(members))
            }
            Self::PodDeletionByOwner { members } => format!(
                "{} waiting for the owner of the workload to delete old pods, as its update strategy is OnDelete: {}; no deadline runs meanwhile",
                words::members(members.len()),
                troubles(members)
            ),
            Self::MemberHealth { members } => {
                format!("{} becoming healthy: {}", words::members(members.len()), troubles(members))
            }
            _ => return None,
        })
    }

    fn plain_message(&self) -> String {
        match self {
            Self::Withdrawal { members } => format!(
                "withdrawn, not yet acknowledged by {}: {}; this delays nothing",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Invalid { problems } => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                format!("fix the specification: {}", words::list_bounded(&problems, words::MAX_TROUBLES))
            }
            Self::HubRewound { told } => rewound(told),
            Self::StoreRebuilt { run, unknown } => rebuilt(run.as_ref(), unknown),
            Self::NoPayload => "there is nothing to roll out: set spec.workload or spec.manifests".to_owned(),
            Self::TargetMissing { names } => format!(
                "no MemberCluster for {}: create it, or take the name out of targetClusters",
                words::list(names)
            ),
            Self::EmptyPlan => "no member is selected: check clusterSelector and the labels of the MemberClusters".to_owned(),
            Self::Conflicted { holders } => conflict(holders),
            Self::Paused { remaining_millis: None } => "paused: set spec.paused to false to go on".to_owned(),
            Self::Paused { remaining_millis: Some(left) } => format!(
                "paused, with {} of the step's pause left: set spec.paused to false to go on",
                words::seconds(left.div_euclid(1000))
            ),
            Self::Quarantined { revision, because } => format!(
                "revision {revision} was rolled back{} and is not rolled out again: set another payload, or try it once more: kubectl clusterrollout retry",
                if because.is_empty() { String::new() } else { format!(" ({because})") }
            ),
            Self::RollbackFirst { returned, touched } => format!(
                "the new payload waits until the rollback is over: {returned} of {} back",
                words::members(*touched)
            ),
            Self::HubSilent => "the hub's watch is silent: nothing goes forward until it is heard again".to_owned(),
            Self::MemberUnreachable { members, allowed } => format!(
                "{} unreachable{}: {}; no further step until heard again",
                words::members(members.len()),
                if *allowed == 0 { String::new() } else { format!(", {allowed} allowed") },
                words::list(members)
            ),
            Self::StrictTolerance { members } => format!(
                "{} unreachable, and may have failed: {}; failureTolerance is Strict, so no further member is touched until heard again",
                words::members(members.len()),
                words::list(members)
            ),
            Self::TooManyFailed { because, kept, revision } => format!(
                "{because}; {} keep revision {revision}, which is not rolled out again: set another payload, or try it once more: kubectl clusterrollout retry",
                words::members(*kept)
            ),
            Self::CatchUpHeld { failures, allowed, members, pending } => format!(
                "{} failed, {allowed} allowed: {}; {} not told to run the accepted revision until maxFailures bears it, the payload changes or a person retries: kubectl clusterrollout retry",
                words::members(*failures),
                words::list(members),
                words::members(*pending)
            ),
            Self::LateCatchUpHeld { failures, allowed, members, pending } => late_held(*failures, *allowed, members, *pending),
            Self::Cordoned { members } => format!(
                "{} cordoned, and nobody else to be updated in this step: {}; set spec.cordoned: false on the MemberCluster",
                words::members(members.len()),
                words::list(members)
            ),
            Self::AgentTooOld { members, needs } => too_old(members, *needs),
            Self::Owed { members, cordoned, revision } => {
                let owed = |names: &[String], why: &str, until: &str| {
                    (!names.is_empty()).then(|| {
                        let (count, names) = (words::members(names.len()), words::list(names));
                        format!("{count} {why} and owed revision {revision}: {names}; they get it when they are {until}")
                    })
                };
                let silent = owed(members, "unreachable", "heard again");
                let cordoned = owed(cordoned, "cordoned", "no longer cordoned");
                silent.into_iter().chain(cordoned).collect::<Vec<_>>().join("; ")
            }
            Self::Heartbeat { members } => format!(
                "a new leader has not yet heard {}, or not what they were told before: {}",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Observation { members } => format!(
                "{} to report what is running: {}",
                words::members(members.len()),
                words::list(members)
            ),
            Self::Pause { until, members } => {
                format!("{} healthy; the step's pause ends at {}", words::members(*members), words::time(*until))
            }
            Self::Approval { rollout, step, steps, members } => format!(
                "{} healthy; step {step} of {steps} goes on when a person approves it: kubectl clusterrollout approve {rollout} --step {step}",
                words::members(*members)
            ),
            Self::Soak { until, members } => {
                format!("{} healthy; the soak ends at {}", words::members(*members), words::time(*until))
            }
            Self::SourceMissing { source } => missing_source(source),
            Self::Gate { verdict, text, .. } => gate(*verdict, text),
            Self::GlobalTrouble { text } => format!(
                "members that are not updated yet are in trouble as well as updated ones, so it is not the revision's: {text}; nothing goes forward and nothing back, and the pause begins anew when they are well again"
            ),
            Self::GateUnconfigured => "the pause is over, but no metric source is configured, so nothing is known: configure one, or set gates.whenUnconfigured: TimerOnly in the controller's configuration".to_owned(),
            _ => "the controller decides next".to_owned(),
        }
    }
}

/// Who has failed to catch up with what was accepted before the latest run, and how many it is kept from.
fn late_held(failures: usize, allowed: usize, members: &[String], pending: usize) -> String {
    let names = if members.is_empty() { String::new() } else { format!(": {}", words::list(members)) };
    format!(
        "{} failed to catch up with what was accepted before, {allowed} allowed{names}; {} not told to run that until maxFailures bears it, the payload changes or a person retries: kubectl clusterrollout retry --catch-up",
        words::members(failures),
        words::members(pending)
    )
}

fn missing_source(source: &MissingSource) -> String {
    let (name, known) = match source {
        MissingSource::Unknown { name, known } => (name, known),
        MissingSource::NotAllowed { address, allowed } => return not_allowed(address, allowed),
    };
    match (name.as_str(), known.is_empty()) {
        ("", _) => "analysis needs a Prometheus, and the controller's configuration has none: add it to prometheus.sources there".to_owned(),
        (name, true) => format!(
            "analysis.prometheus.source: \"{name}\": the controller's configuration has no prometheus.sources: add it there"
        ),
        (name, false) => format!(
            "analysis.prometheus.source: \"{name}\" is not in the controller's configuration: use {}, or add it to prometheus.sources there",
            words::list(known)
        ),
    }
}

fn not_allowed(address: &Address, allowed: &[String]) -> String {
    let fix = format!(
        "add {} to gates.allowedPrometheusOrigins there, or name a source of prometheus.sources instead",
        address.origin()
    );
    let known = match allowed {
        [] => "allows no address".to_owned(),
        allowed => format!("allows {} alone", words::list(allowed)),
    };
    format!("analysis.prometheus.address: \"{address}\": the controller's configuration {known}: {fix}")
}

fn gate(verdict: Option<Verdict>, text: &str) -> String {
    match verdict {
        None | Some(Verdict::Pass) => format!("the pause is over, and measuring goes on: {text}"),
        Some(Verdict::Fail) => format!(
            "the gate has failed: {text}; rollback.mode is Manual, so no further member is touched until the payload or analysis changes, or a person acts: kubectl clusterrollout retry, or abort"
        ),
        Some(Verdict::Inconclusive) => {
            format!("the pause is over, and what was measured is not enough to tell: {text}; measuring goes on")
        }
        Some(Verdict::NoData) => {
            format!("the pause is over, and there was nothing to measure: {text}; measuring goes on")
        }
    }
}

fn too_old(members: &[String], needs: i32) -> String {
    format!(
        "the agents of {} are too old for whole objects, which need API level {needs}: {}; upgrade them, and the run goes on",
        words::members(members.len()),
        words::list(members)
    )
}

/// How it shows that the hub went back, and what to do about it.
fn rewound(told: &str) -> String {
    format!(
        "the hub was restored from an older backup ({told}): nothing moves and nothing is withdrawn. Bring the hub up to date, rollouts that are missing included, then have a person accept it: kubectl clusterrollout accept-hub"
    )
}

/// What is known after the store was lost, and what to do about it.
fn rebuilt(run: Option<&(i64, Revision)>, unknown: &[String]) -> String {
    let what =
        run.map_or_else(|| "its run".to_owned(), |(number, revision)| format!("run {number} to revision {revision}"));
    let unknown = match unknown.len() {
        0 => String::new(),
        count => format!(
            "; not heard since, so that nobody knows what they were told: {}: {}",
            words::members(count),
            words::list(unknown)
        ),
    };
    format!(
        "the controller's store was lost or went back, and {what} is known from the hub and the members only: nothing moves until a person resumes, aborts or retries it{unknown}"
    )
}

/// Who holds which members, and what to do about it.
fn conflict(holders: &BTreeMap<String, Vec<String>>) -> String {
    let worded: Vec<String> = holders
        .iter()
        .map(|(rollout, members)| {
            let count = words::members(members.len());
            format!("rollout {rollout} has a claim on {count}: {}", words::list_bounded(members, words::MAX_TROUBLES))
        })
        .collect();
    let remedy = match holders.keys().collect::<Vec<_>>().as_slice() {
        [one] => format!("delete rollout {one}, or take the members out of the selection of one of the two"),
        _ => "delete these rollouts, or take the members out of their selections or of this one".to_owned(),
    };
    format!("{}; {remedy}", words::list_bounded(&worded, words::MAX_CONFLICTS))
}

/// "a (Progressing: 1 of 2 pods), b and 3 more".
fn troubles(members: &[MemberTrouble]) -> String {
    let worded: Vec<String> = members.iter().take(words::MAX_TROUBLES).map(MemberTrouble::worded).collect();
    match members.len() - worded.len() {
        0 => worded.join(", "),
        more => format!("{} and {more} more", worded.join(", ")),
    }
}

impl MemberTrouble {
    pub(crate) fn worded(&self) -> String {
        let said = words::bounded(&self.message, words::MAX_TROUBLE_CHARS);
        match self.outcome {
            None => format!("{} (no answer yet)", self.name),
            Some(outcome) if said.is_empty() => format!("{} ({})", self.name, outcome.as_str()),
            Some(outcome) => format!("{} ({}: {said})", self.name, outcome.as_str()),
        }
    }
}
