//! What agents' own Prometheus servers said: for the leader, who asked.

use std::time::Duration;

use crds::Finding;
use mutual_tls::Role;

use super::refusal::Refusal;
use crate::world::World;

/// A request of some kilobytes to a process nearby.
const DEADLINE: Duration = Duration::from_secs(2);
/// Queries of one inquiry, as the API says.
const MAX_ANSWERS: usize = 64;

/// Takes answers up, or hands them on to the leader. What nobody waits for is of no use, and no mistake.
pub(super) async fn accept(
    world: &World,
    replicas: &reqwest::Client,
    from: Role,
    finding: Finding,
) -> Result<(), Refusal> {
    if finding.answers.len() > MAX_ANSWERS {
        return Err(Refusal::Unfit(format!("{} answers, at most {MAX_ANSWERS}", finding.answers.len())));
    }
    let leadership = world.store.leadership().borrow().clone();
    if leadership.leader.as_deref() == Some(world.id.as_str()) {
        let (member, id) = (finding.member.clone(), finding.id.clone());
        if !world.inquiries.settle(finding) {
            tracing::debug!(member, id, "an answer that nobody waits for");
        }
        return Ok(());
    }
    // Or two replicas that take each other for the leader would hand it to and fro.
    let url = leadership.url.filter(|_| from == Role::Member);
    let url = url.ok_or_else(|| Refusal::Unavailable("this replica does not lead".to_owned()))?;
    let url = format!("{}/v1/samples", url.trim_end_matches('/'));
    let sent = replicas.post(url).timeout(DEADLINE).json(&finding).send().await;
    let failed = |error: reqwest::Error| Refusal::Unavailable(format!("the leader did not take it: {error}"));
    sent.and_then(reqwest::Response::error_for_status).map(drop).map_err(failed)
}

#[cfg(test)]
#[path = "samples_test.rs"]
mod tests;
