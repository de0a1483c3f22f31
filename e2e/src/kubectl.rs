//! Runs kubectl as a person would, with a kubeconfig and nothing else of the caller's.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::harness::wait_for;

/// Longest time that one command may take: `kubectl wait` included.
const DEADLINE: Duration = Duration::from_mins(2);

/// kubectl or our plugin to it, bound to one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    /// Folder of what kubectl remembers of the API's resources; the plugin remembers nothing.
    cache: Option<PathBuf>,
}

/// What a command printed, and whether it succeeded.
#[derive(Clone, Debug)]
pub struct Output {
    /// Whether the exit code was 0.
    pub success: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Kubectl {
    /// kubectl at `program`, with the rights of `kubeconfig`.
    pub fn new(program: &Path, kubeconfig: &Path) -> Self {
        // It would otherwise be shared with, and stale from, other clusters.
        let cache = Some(kubeconfig.with_extension("cache"));
        Self { program: program.to_path_buf(), kubeconfig: kubeconfig.to_path_buf(), cache }
    }

    /// Our plugin at `program`, for the same cluster with the same rights.
    #[must_use]
    pub fn plugin(&self, program: &Path) -> Self {
        Self { program: program.to_path_buf(), cache: None, ..self.clone() }
    }

    /// Runs a command and returns what it printed; that it failed is an answer, not an error.
    pub async fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<Output> {
        self.run_with_input(arguments, "").await
    }

    /// As `run`, with a text on its standard input (`-f -`).
    pub async fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Result<Output> {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        if let Some(cache) = &self.cache {
            command.arg("--cache-dir").arg(cache);
        }
        command.args(arguments).env_remove("KUBECONFIG").kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("failed to run \"{}\"", self.program.display()))?;
        let mut stdin = child.stdin.take().context("kubectl has no standard input")?;
        let feed = async move {
            // A command that reads nothing closes its end; its own answer tells what is wrong.
            let _ = stdin.write_all(input.as_bytes()).await;
        };
        let work = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(DEADLINE, work).await.context("kubectl took over two minutes")??;
        Ok(Output {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub async fn ok<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String> {
        self.ok_with_input(arguments, "").await
    }

    /// Waits until the API server serves these resources: some time after their CRDs are established,
    /// discovery does not list them yet, and kubectl then says that there is no such type.
    pub async fn await_resources(&self, names: &[&str]) -> Result<()> {
        for name in names {
            wait_for(&format!("the API server to serve \"{name}\""), DEADLINE, || async {
                let output = self.run(&["get", name]).await?;
                Ok(if output.success { Ok(()) } else { Err(output.stderr) })
            })
            .await?;
        }
        Ok(())
    }

    /// `kubectl apply --server-side` of a text with one or more objects.
    pub async fn apply_server_side(&self, yaml: &str) -> Result<String> {
        self.ok_with_input(&["apply", "--server-side", "--force-conflicts", "-f", "-"], yaml).await
    }

    /// Plain `kubectl apply` of a text; refusal is an answer.
    pub async fn apply(&self, yaml: &str) -> Result<Output> {
        self.run_with_input(&["apply", "-f", "-"], yaml).await
    }

    /// As `ok`, with a text on its standard input.
    pub async fn ok_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Result<String> {
        let output = self.run_with_input(arguments, input).await?;
        if !output.success {
            let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
            bail!("kubectl {} failed: {}{}", words.join(" "), output.stderr, output.stdout);
        }
        Ok(output.stdout)
    }
}
