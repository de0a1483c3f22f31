//! The programs of control planes and of metrics, built once from Go modules that are committed here.
//!
//! A program found in `KUBEBUILDER_ASSETS` (envtest's convention) is taken as it is. The others are built
//! into a cache folder named by the hash of their module's `go.mod` and `go.sum`, so a changed version is
//! another folder and a second start reuses what is there. A file lock makes parallel tests build once;
//! a rename makes a program appear whole or not at all.

mod program;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

pub use program::Program;

use crate::process::{Launch, Process, find_on_path, tail};
use crate::progress::{Progress, human};

/// Longest time that building one program may take: the slowest takes four minutes on two cores.
const BUILD_DEADLINE: Duration = Duration::from_mins(30);
/// How often a long build says that it is alive.
const REMINDER: Duration = Duration::from_secs(30);
/// How often the lock is tried while another process builds.
const LOCK_POLL: Duration = Duration::from_millis(500);

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Assets {
    paths: Vec<(Program, PathBuf)>,
}

impl Assets {
    /// Finds these programs and builds those that are missing.
    pub async fn ensure(programs: &[Program], progress: &Progress) -> Result<Self> {
        let given = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let cache = cache_folder()?;
        let mut paths = Vec::new();
        for &program in programs {
            let path = match given.as_ref().map(|folder| folder.join(program.name())).filter(|path| path.is_file()) {
                Some(path) => path,
                None => Module::open(program.module(), &cache)?.ensure(program, progress).await?,
            };
            paths.push((program, path));
        }
        Ok(Self { paths })
    }

    /// Path of a program; of one that was not asked for, its name, which is then looked for on the `PATH`.
    pub fn path(&self, program: Program) -> &Path {
        let found = self.paths.iter().find(|(candidate, _)| *candidate == program);
        found.map_or_else(|| Path::new(program.name()), |(_, path)| path.as_path())
    }
}

/// A Go module of ours, and where its programs are cached.
struct Module {
    source: PathBuf,
    go_mod: String,
    cache: PathBuf,
}

impl Module {
    fn open(name: &str, cache: &Path) -> Result<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools").join(name);
        let read = |file: &str| {
            let path = source.join(file);
            fs::read_to_string(&path).with_context(|| format!("failed to read \"{}\"", path.display()))
        };
        let (go_mod, go_sum) = (read("go.mod")?, read("go.sum")?);
        let digest = Sha256::new().chain_update(&go_mod).chain_update(&go_sum).finalize();
        let mut hash = String::new();
        for byte in digest.iter().take(8) {
            let _ = write!(hash, "{byte:02x}");
        }
        Ok(Self { source, go_mod, cache: cache.join(hash) })
    }

    async fn ensure(&self, program: Program, progress: &Progress) -> Result<PathBuf> {
        let path = self.cache.join(program.name());
        if path.is_file() {
            return Ok(path);
        }
        fs::create_dir_all(&self.cache).with_context(|| format!("failed to create \"{}\"", self.cache.display()))?;
        let _lock = self.lock(program, progress).await?;
        // Another process may have built it while we waited for the lock.
        if !path.is_file() {
            self.build(program, &path, progress).await?;
        }
        Ok(path)
    }

    async fn lock(&self, program: Program, progress: &Progress) -> Result<File> {
        let path = self.cache.join("lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.with_context(|| format!("failed to open \"{}\"", path.display()))?;
        let deadline = Instant::now() + BUILD_DEADLINE;
        let mut told = false;
        while file.try_lock().is_err() {
            if !told {
                progress.line(format!("waiting for another process that builds {} or its like", program.name()));
                told = true;
            }
            if Instant::now() > deadline {
                bail!("another process has held \"{}\" for {}", path.display(), human(BUILD_DEADLINE));
            }
            sleep(LOCK_POLL).await;
        }
        Ok(file)
    }

    async fn build(&self, program: Program, path: &Path, progress: &Progress) -> Result<()> {
        let Some(go) = find_on_path("go") else {
            bail!(
                "Go is needed to build {} and is not on the PATH: install it from https://go.dev/dl, or set \
                 KUBEBUILDER_ASSETS to a folder that has the programs",
                program.name()
            );
        };
        let version = self.version(program)?;
        let what = format!("{} {version}", program.name());
        let unfinished = self.cache.join(format!("{}.unfinished", program.name()));
        let launch = Launch::new(go)
            .args(["build", "-trimpath", "-tags", program.tags(), "-ldflags", &program.linker_flags(&version), "-o"])
            .arg(&unfinished)
            .arg(program.package())
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .dir(&self.source);
        progress.line(format!("building {what} … minutes on a first start; only once"));
        let took = run_build(&launch, &self.cache.join(format!("{}.log", program.name())), &what, progress).await?;
        fs::rename(&unfinished, path).with_context(|| format!("failed to put \"{}\" in place", path.display()))?;
        progress.line(format!("built {what} in {}; only once", human(took)));
        Ok(())
    }

    fn version(&self, program: Program) -> Result<String> {
        let module = program.versioned_by();
        let version = self.go_mod.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some(module)).then(|| words.next()).flatten().filter(|word| word.starts_with('v'))
        });
        version.map(str::to_owned).with_context(|| format!("go.mod names no version of \"{module}\""))
    }
}

/// Runs a build and says now and then that it goes on. Returns how long it took.
pub(crate) async fn run_build(launch: &Launch, log: &Path, what: &str, progress: &Progress) -> Result<Duration> {
    let _ = fs::remove_file(log);
    let started = Instant::now();
    let process = Process::start(launch, log)?;
    let status = loop {
        match tokio::time::timeout(REMINDER, process.wait()).await {
            Ok(status) => break status,
            Err(_) if started.elapsed() > BUILD_DEADLINE => {
                bail!("building {what} took over {}", human(BUILD_DEADLINE))
            }
            Err(_) => progress.line(format!("still building {what} … {}", human(started.elapsed()))),
        }
    };
    if !status.is_some_and(|status| status.success()) {
        bail!("failed to build {what} (whole log in \"{}\"):\n{}", log.display(), tail(log, 20));
    }
    Ok(started.elapsed())
}

fn cache_folder() -> Result<PathBuf> {
    let set = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    let base = base.context("neither XDG_CACHE_HOME nor HOME is set: there is no place for the built programs")?;
    Ok(base.join("clusterrollout").join("control-planes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_program_has_a_version_in_its_go_mod() {
        let cache = tempfile::tempdir().unwrap();
        for program in Program::ALL {
            let module = Module::open(program.module(), cache.path()).unwrap();
            assert!(module.version(program).unwrap().starts_with('v'), "{program:?}");
        }
    }
}
