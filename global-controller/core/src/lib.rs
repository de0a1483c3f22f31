//! Validate, plan and decide a rollout: pure functions of (state, observations, now).
//!
//! ```text
//! ClusterScopeRollout ──validate──▶ Rollout ─┐
//! RolloutState (what was committed) ─────────┼─▶ decide ─▶ Decision {state, commands, more, wake_at}
//! Observations (hub, store, reports), now ───┘             summarize ─▶ status and conditions
//! ```
//!
//! Nothing here reads a clock, draws a random number or does I/O, and all maps are ordered: the same inputs
//! give the same decisions, byte for byte. The driver commits a decision's state and its assignments in one
//! transaction and only then lets anybody hear of them.

mod actions;
mod adoption;
mod alerts;
mod claims;
mod decide;
mod gates;
mod history;
mod hub;
mod late;
mod lint;
pub mod manifests;
mod observations;
mod plan;
mod preview;
pub mod replay;
mod returns;
mod rollout;
mod state;
mod summary;
mod tally;
mod validate;
mod waiting;
mod waves;
mod words;

pub use actions::{ActionFacts, Handled, HandledAction};
pub use adoption::is_recovering;
pub use alerts::{Alert, AlertKind, Alerts, Fact, Raised, Severity, alerts};
pub use claims::{
    Claim, ClaimTable, Claims, Contender, Target, TargetError, catch_up_targets, claim_of, targets, wanted_by_older,
};
pub use decide::{Command, Decision, Desired, Event, EventKind, MAX_MEMBERS_PER_DECISION, decide};
pub use gates::{
    About, Address, AddressError, AlertRule, Analysis, Answer, Ask, Asked, Basis, Comparison, Condition, DefaultRate,
    DropTest, Gate, GateDefaults, GateId, GateSettings, HeardAlert, HeardAlerts, MAX_METRICS, MEMBER_MARK, Measurement,
    Metric, MissingSource, Origin, Pace, Query, RateRule, Requests, Rule, SUCCESS_RATE, SUCCESS_RATE_DROP, Sample,
    SampleKey, Samples, Template, TemplateError, WatchdogRule, Whom, measurements_due,
};
pub use history::{History, MAX_PAST_RUNS, PastRun};
pub use hub::{Heir, HubFacts, Predecessor, Rewound, SeenSpec, SpecHash, went_back};
pub use late::Late;
pub use lint::{lint, lint_orders};
pub use observations::{MemberFacts, Observations, Reachability, Recovery};
pub use plan::{Order, order};
pub use preview::{Rehearsal, Rehearsed, preview, rehearsals};
pub use rollout::{FailureRules, OnConflict, Payload, Rollout, Step, Weight, WeightError};
pub use state::{
    Clock, Header, Hold, MemberRecord, MemberStage, Plan, RefusedBy, RolloutState, Run, STATE_VERSION, Silence, Stage,
    Standing, Touched,
};
pub use summary::{ConditionFact, MAX_CLUSTERS_IN_STATUS, Summary, summarize};
pub use validate::{Concern, Problem, validate};
pub use waiting::{MemberTrouble, WaitingOn, waiting_on};

/// Milliseconds since the Unix epoch.
pub type Millis = i64;
