//! The playground's promises: what it writes, how its parts come and go, that nothing stays.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::down;
use e2e::harness::{TestFolder, wait_for};
use e2e::playground::{Action, Options, Playground, State, ask};
use e2e::progress::Progress;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn parts_come_and_go_and_the_state_follows() {
    let _turn = crate::common::turn().await;
    let folder = TestFolder::new("playground").unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&lines);
    let progress = Progress::new(move |line| {
        eprintln!("{line}");
        kept.lock().unwrap().push(line.to_owned());
    });
    let options = Options::new(folder.path(), 1, 1).named(&["prod-us-east", "prod-us-west"]);
    let options = options.without_webhook(&["prod-us-west"]);
    let playground = Playground::up(options, progress).await.unwrap();

    let state = read(folder.path());
    assert_eq!(state, playground.state());
    assert_eq!(state.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>(), playground.member_names());
    for name in playground.part_names() {
        assert!(is_alive(playground.pid(&name).unwrap().unwrap()), "{name}");
    }
    let endpoints = "jsonpath={range .items[*]}{.metadata.name}={.spec.connection.endpoint};{end}";
    let endpoints = playground.kubectl().ok(&["get", "mc", "-o", endpoints]).await.unwrap();
    assert!(endpoints.starts_with("prod-us-east=https://127.0.0.1:") && endpoints.ends_with("prod-us-west=;"));

    // Another playground, or a wrong name, harms nothing.
    let second = Playground::up(Options::new(folder.path(), 1, 1), Progress::stderr()).await;
    assert!(second.unwrap_err().to_string().contains("in use"));
    let unknown = ask(folder.path(), Action::Stop, "member-9/agent").await.unwrap_err().to_string();
    assert!(unknown.contains("prod-us-west/agent"), "{unknown}");

    // Told to stop and start, through the socket as the program does it.
    let agent = state.members[1].agent_pids[0];
    ask(folder.path(), Action::Stop, "prod-us-west/agent").await.unwrap();
    assert!(!is_alive(agent));
    assert!(read(folder.path()).members[1].agent_pids.is_empty());
    ask(folder.path(), Action::Start, "prod-us-west/agent").await.unwrap();
    assert_ne!(read(folder.path()).members[1].agent_pids, [agent]);
    assert_eq!(read(folder.path()).members[1].agent_pids.len(), 1);

    // Killed by somebody else: said, and brought back.
    let controller = state.controllers[0].pid.unwrap();
    kill(Pid::from_raw(controller.cast_signed()), Signal::SIGKILL).unwrap();
    wait_for("the death to be noticed", DEADLINE, || async {
        let pid = read(folder.path()).controllers[0].pid;
        Ok(if pid.is_none() { Ok(()) } else { Err(format!("{pid:?}")) })
    })
    .await
    .unwrap();
    assert!(lines.lock().unwrap().iter().any(|line| line.contains("controller-1: died (signal: 9")));
    playground.start_part("controller-1").await.unwrap();
    assert!(is_alive(read(folder.path()).controllers[0].pid.unwrap()));

    let pids: Vec<u32> = playground.part_names().iter().filter_map(|name| playground.pid(name).unwrap()).collect();
    down(playground).await;
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert!(!folder.path().join("state.json").exists());
    let nobody = ask(folder.path(), Action::Start, "controller-1").await.unwrap_err().to_string();
    assert!(nobody.contains("no playground runs"), "{nobody}");
}

/// The demo as a person runs it: it ends with 0 only if the good image arrived everywhere and the bad ones went back.
#[test]
fn the_demo_succeeds_and_leaves_nothing_behind() {
    let folder = TestFolder::new("demo").unwrap();
    let mut demo = std::process::Command::new(env!("CARGO_BIN_EXE_demo"));
    demo.args(["--once", "--members", "2", "--controllers", "1", "--dir"]).arg(folder.path());
    let output = demo.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("checkout ended as it should: Succeeded"), "{text}");
    assert_eq!(text.matches("checkout ended as it should: RolledBack").count(), 2, "{text}");
    assert!(text.contains("requests succeed, minimum 99.5%) and is not rolled out again"), "{text}");
    assert!(text.contains("all processes have ended, none is left"), "{text}");
}

fn read(folder: &Path) -> State {
    // No retry: the file is replaced in one rename, so it is whole at every instant.
    serde_json::from_str(&std::fs::read_to_string(folder.join("state.json")).unwrap()).unwrap()
}

fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
