//! Builds the controller, the agent and the kubectl plugin from this workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::assets::run_build;
use crate::process::Launch;
use crate::progress::{Progress, human};
use crate::repository;

/// Our own programs.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) controller: PathBuf,
    pub(super) agent: PathBuf,
    pub(super) plugin: PathBuf,
}

/// Builds them, in the release profile; when nothing changed, cargo only says where they are. The whole workspace is
/// named, as in the Makefile: features are unified over what is named, and another choice would be another build of
/// half the dependencies.
pub(super) async fn build(logs: &Path, progress: &Progress) -> Result<Programs> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let launch = Launch::new(cargo)
        .args(["build", "--release", "--workspace", "--bins", "--locked"])
        .args(["--message-format", "json-render-diagnostics"])
        .outside_of_cargo()
        .dir(repository());
    let log = logs.join("build.log");
    progress.line("building global-controller and cluster-agent");
    let took = run_build(&launch, &log, "global-controller and cluster-agent", progress).await?;
    let text = std::fs::read_to_string(&log).with_context(|| format!("failed to read \"{}\"", log.display()))?;
    progress.line(format!("built global-controller and cluster-agent in {}", human(took)));
    Ok(Programs {
        controller: executable(&text, "global-controller")?,
        agent: executable(&text, "cluster-agent")?,
        plugin: executable(&text, "kubectl-clusterrollout")?,
    })
}

/// Path of a program in cargo's own account of what it built.
fn executable(log: &str, name: &str) -> Result<PathBuf> {
    let messages = log.lines().filter(|line| line.starts_with('{'));
    let path = messages.filter_map(|line| serde_json::from_str::<Value>(line).ok()).find_map(|message| {
        let ours = message["target"]["name"] == name;
        ours.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    path.with_context(|| format!("cargo built no program \"{name}\""))
}
