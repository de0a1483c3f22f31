//! `POST /api/v1/plan`: what a rollout would do, on the hub or not, and how its gates would have done in the past. It changes
//! nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use crds::{BackTest, PlanAnswer, PlanRequest};
use rollout_core::{Rehearsal, preview, rehearsals};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Refused;
use crate::back_test::{self, MAX_MEASUREMENTS, MAX_MEMBERS};
use crate::clock;
use crate::hub::{HubRollout, Wanted};
use crate::world::World;

/// Largest body: an object of the hub has at most 1.5 MiB.
const MAX_BODY_BYTES: usize = 2 * 1024 * 1024;
/// Seconds that can be looked back.
const BACK_TEST: std::ops::RangeInclusive<i64> = 60..=30 * 24 * 60 * 60;
/// How long a back-test may take; then it is given up, and says so.
const PATIENCE: Duration = Duration::from_mins(2);

/// A back-test puts whatever queries it is given, with the controller's credentials. Who may forward a port may do that.
const NOT_FROM_AFAR: &str =
    "a back-test is answered to this host alone: use kubectl port-forward, which the hub lets only some people do";

#[derive(Clone)]
struct Planner {
    world: Arc<World>,
    /// One back-test at a time: it may ask thousands of questions of servers that gates depend on.
    place: Arc<Semaphore>,
}

/// The route.
pub(super) fn route(world: Arc<World>) -> MethodRouter<()> {
    let planner = Planner { world, place: Arc::new(Semaphore::new(1)) };
    post(plan).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)).with_state(planner)
}

async fn plan(
    State(planner): State<Planner>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Result<Json<PlanRequest>, JsonRejection>,
) -> Response {
    let request = match request {
        Ok(Json(request)) => request,
        Err(rejection) => return (rejection.status(), rejection.body_text()).into_response(),
    };
    match answer(&planner, peer, request).await {
        Ok(answer) => Json(answer).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn answer(planner: &Planner, peer: SocketAddr, request: PlanRequest) -> Result<PlanAnswer, Refused> {
    let PlanRequest { rollout, back_test_seconds } = request;
    let seconds = back_test_seconds.map(fitting).transpose()?;
    if seconds.is_some() && !peer.ip().to_canonical().is_loopback() {
        return Err((StatusCode::FORBIDDEN, NOT_FROM_AFAR.to_owned()));
    }
    let (mut answer, gates) = look(&planner.world, rollout, seconds.is_some())?;
    if let Some(seconds) = seconds {
        answer.back_test = Some(test(planner, gates, seconds).await?);
    }
    Ok(answer)
}

fn fitting(seconds: i64) -> Result<i64, Refused> {
    let (least, most) = (BACK_TEST.start(), BACK_TEST.end());
    let unfit = || (StatusCode::UNPROCESSABLE_ENTITY, format!("backTestSeconds: {seconds}: must be {least} to {most}"));
    BACK_TEST.contains(&seconds).then_some(seconds).ok_or_else(unfit)
}

/// What it would do; and its gates, where they are to be tried.
fn look(
    world: &World,
    object: crds::ClusterScopeRollout,
    is_tried: bool,
) -> Result<(PlanAnswer, Vec<(usize, Rehearsal)>), Refused> {
    if !world.hub().is_complete() || !world.is_mirrored() {
        let why = "this replica has not read the hub and the store yet".to_owned();
        return Err((StatusCode::SERVICE_UNAVAILABLE, why));
    }
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let object = HubRollout::new(object);
    let rollout = match object.wanted() {
        Wanted::Present(rollout) => rollout,
        Wanted::Invalid { problems, .. } => {
            let members = world.member_facts();
            let lines: Vec<String> = problems.iter().map(|problem| problem.naming(&members).to_string()).collect();
            return Err((StatusCode::UNPROCESSABLE_ENTITY, lines.join("\n")));
        }
        Wanted::Deleted { .. } => return Err((StatusCode::UNPROCESSABLE_ENTITY, "it is being deleted".to_owned())),
    };
    let (members, now) = (world.member_facts(), clock::now_millis());
    Ok(world.look_as(&uid, Some(&object), &members, |known, _, observations| {
        let answer = preview(&known.state, rollout, observations, now);
        let gates = is_tried.then(|| rehearsals(rollout, observations, (MAX_MEMBERS, MAX_MEASUREMENTS), now));
        (answer, gates.unwrap_or_default())
    }))
}

async fn test(planner: &Planner, gates: Vec<(usize, Rehearsal)>, seconds: i64) -> Result<BackTest, Refused> {
    let busy = || (StatusCode::TOO_MANY_REQUESTS, "another back-test is under way: try again in a while".to_owned());
    let _place = planner.place.try_acquire().map_err(|_| busy())?;
    let tested = timeout(PATIENCE, back_test::run(&planner.world.sources, gates, seconds, clock::now_millis())).await;
    tested.map_err(|_| {
        let seconds = PATIENCE.as_secs();
        (StatusCode::GATEWAY_TIMEOUT, format!("Prometheus took more than {seconds} s: look at a shorter time"))
    })
}
