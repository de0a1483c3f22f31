//! Says when a part dies by itself; the playground goes on without it.

use std::sync::Weak;
use std::time::Duration;

use super::Fleet;

/// How soon a death is noticed.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches until the fleet is gone.
pub(super) async fn run(fleet: Weak<Fleet>) {
    let mut turns = tokio::time::interval(LOOK_EVERY);
    loop {
        turns.tick().await;
        let Some(fleet) = fleet.upgrade() else { return };
        let mut died = false;
        for part in fleet.parts() {
            if let Some(how) = part.take_death() {
                died = true;
                let (name, log, dir) = (part.name(), part.log().display(), fleet.folder.path().display());
                fleet.progress.line(format!(
                    "{name}: died ({how}); its log is {log}; `playground start {name} --dir {dir}` brings it back"
                ));
            }
        }
        if died && let Err(error) = fleet.write_state().await {
            fleet.progress.line(format!("{error:#}"));
        }
    }
}
