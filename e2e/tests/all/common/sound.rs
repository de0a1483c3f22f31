//! What must hold at the end of every test, whatever it did.

use e2e::harness::wait_for;
use e2e::playground::Playground;
use reqwest::StatusCode;

use super::PATIENCE;

/// Asks every controller. One that the test has ended is brought back first: what it has on disk counts, too.
pub async fn check(playground: &Playground) {
    let controllers = playground.controllers();
    for (id, _) in &controllers {
        playground.start_part(id).await.unwrap();
        is_consistent(playground, id).await;
    }
    decisions_come_out_the_same(playground, &controllers[0].1).await;
}

/// Guarantee 7: the same inputs give the same decisions, byte for byte. From a file, as a person would send it.
async fn decisions_come_out_the_same(playground: &Playground, url: &str) {
    let file = playground.dir().join("decisions.json");
    let file = file.to_str().unwrap();
    decisions(playground, &["export", "--url", url, "--to", file]).await;
    let replayed = decisions(playground, &["replay", "--file", file]).await;
    let last = replayed.lines().last().unwrap_or_default();
    assert!(!last.contains("could not be replayed"), "{replayed}");
    eprintln!("{last}");
}

/// Output of `global-controller decisions …`, which has to succeed.
async fn decisions(playground: &Playground, arguments: &[&str]) -> String {
    let mut command = tokio::process::Command::new(playground.controller_program());
    let output = command.arg("decisions").args(arguments).output().await.unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&output.stdout), said(&output.stderr));
    assert!(output.status.success(), "decisions {arguments:?} failed: {stderr}\n{stdout}");
    stdout
}

/// Invariants of all states and records. One that was started just now may not have read everything yet; what it has read
/// and found broken fails the test at once.
async fn is_consistent(playground: &Playground, controller: &str) {
    let what = format!("{controller} to have checked what is stored");
    let said = wait_for(&what, PATIENCE, || async {
        let answer = playground.ask_operations(controller, "/debug/consistency").await?;
        let (status, text) = (answer.status(), answer.text().await?);
        let knows = matches!(status, StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR);
        Ok(if knows { Ok((status, text)) } else { Err(format!("{status}: {text}")) })
    });
    let (status, text) = said.await.unwrap();
    assert_eq!(status, StatusCode::OK, "{controller} finds faults: {text}");
}
