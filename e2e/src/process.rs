//! Child processes that can't outlive us.
//!
//! Three nets, since each has a hole: a guard that kills on drop (also while a panic unwinds), a process
//! group of its own for each child (Ctrl-C reaches us first, and grandchildren go too), and the kernel's
//! parent-death signal for the case that we are killed with -9. That signal belongs to the *thread* that
//! spawned the child, so all children are spawned by one thread that lives as long as the process. It is
//! set by util-linux's `setpriv`, because this workspace allows no unsafe code and so no `pre_exec`.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use tokio::sync::watch;

/// How long a killed process may take to be gone: the kernel frees an API server's memory in far less.
const REAP_DEADLINE: Duration = Duration::from_secs(10);
/// Seconds of a tick in `/proc`.
const TICK: f64 = 0.01;

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(String, Option<String>)>,
    directory: Option<PathBuf>,
}

impl Launch {
    /// The program, found on the `PATH` when it is a bare name.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new(), directory: None }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), Some(value.to_owned())));
        self
    }

    /// Takes the caller's proxies and kubeconfig away: our programs talk on loopback, to whom they are told.
    #[must_use]
    pub fn on_loopback_only(mut self) -> Self {
        for key in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy", "KUBECONFIG"] {
            self.environment.push((key.to_owned(), None));
        }
        self
    }

    /// Takes away what cargo tells the programs that it runs about themselves. A build script that looks at these
    /// (ring's does) would make a cargo that we start build everything again, and the next one by hand once more.
    #[must_use]
    pub fn outside_of_cargo(mut self) -> Self {
        const OURS: [&str; 4] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_CRATE_", "CARGO_BIN_"];
        let told = std::env::vars_os().filter_map(|(key, _)| key.into_string().ok());
        let told = told.filter(|key| OURS.iter().any(|prefix| key.starts_with(prefix)) || key == "OUT_DIR");
        self.environment.extend(told.map(|key| (key, None)));
        self
    }

    /// Sets the working directory.
    #[must_use]
    pub fn dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// The command as one types it, for messages.
    pub fn display(&self) -> String {
        let mut text = self.program.display().to_string();
        for argument in &self.arguments {
            text.push(' ');
            text.push_str(&argument.to_string_lossy());
        }
        text
    }

    fn command(&self) -> Command {
        let mut command = match setpriv() {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.args(&self.arguments).process_group(0).stdin(Stdio::null());
        for (key, value) in &self.environment {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }
}

/// A running child, or one that has ended. Dropping it kills it and its process group.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    /// Set by the reaper while it holds the lock, so that no signal is sent to a pid that is free again.
    ended: Arc<Mutex<Option<ExitStatus>>>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts the program; what it prints is appended to `log`.
    pub fn start(launch: &Launch, log: &Path) -> Result<Self> {
        let open = || OpenOptions::new().create(true).append(true).open(log);
        let out = open().with_context(|| format!("failed to open the log \"{}\"", log.display()))?;
        let err = out.try_clone().context("failed to share the log between output and error")?;
        let mut command = launch.command();
        command.stdout(out).stderr(err);
        let child = spawn(command).with_context(|| format!("failed to start \"{}\"", launch.program.display()))?;
        Self::watched(child).context("failed to watch a child process")
    }

    fn watched(child: Child) -> Result<Self> {
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id above 2^31")?);
        let ended = Arc::new(Mutex::new(None));
        let (sender, exit) = watch::channel(None);
        let shared = Arc::clone(&ended);
        // A blocked thread costs a few pages; a child per thread keeps waiting free of races.
        thread::Builder::new()
            .name(format!("reap-{pid}"))
            .stack_size(64 * 1024)
            .spawn(move || reap(child, pid, &shared, &sender))?;
        Ok(Self { pid, ended, exit })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// How it ended, once it has.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        *lock(&self.ended)
    }

    /// Waits until it ends.
    pub async fn wait(&self) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await {
            Ok(status) => *status,
            Err(_) => None,
        }
    }

    /// Sends a signal to the process alone; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        let ended = lock(&self.ended);
        if ended.is_none() {
            // The only failure left is ESRCH, and then it is gone as wished.
            let _ = kill(self.pid, signal);
        }
    }

    /// Asks it to end, waits `grace`, then kills it with its process group.
    pub async fn stop(&self, grace: Duration) {
        self.signal(Signal::SIGTERM);
        // A stopped process (SIGSTOP) obeys only when it is continued.
        self.signal(Signal::SIGCONT);
        if tokio::time::timeout(grace, self.wait()).await.is_err() {
            self.kill_group();
            let _ = tokio::time::timeout(REAP_DEADLINE, self.wait()).await;
        }
    }

    /// Kills it and its process group and waits until it is gone.
    pub fn kill_and_reap(&self) {
        self.kill_group();
        let deadline = Instant::now() + REAP_DEADLINE;
        while self.exit_status().is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill_group(&self) {
        let ended = lock(&self.ended);
        if ended.is_none() {
            let _ = killpg(self.pid, Signal::SIGKILL);
            let _ = kill(self.pid, Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_and_reap();
    }
}

fn reap(mut child: Child, pid: Pid, ended: &Mutex<Option<ExitStatus>>, exit: &watch::Sender<Option<ExitStatus>>) {
    // Waits without reaping: until `child.wait()` below, under the lock, nobody else can get this pid.
    while let Err(nix::Error::EINTR) = waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {}
    let mut ended = lock(ended);
    let status = child.wait().ok();
    *ended = status;
    drop(ended);
    exit.send_replace(status);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The guarded value is one word, written whole: a panic elsewhere can't have left it half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Request = (Command, mpsc::Sender<io::Result<Child>>);

fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        thread::spawn(move || {
            for (mut command, reply) in requests {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let gone = || io::Error::other("the thread that starts processes is gone");
    let (reply, answer) = mpsc::channel();
    spawner.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

fn setpriv() -> Option<&'static Path> {
    static SETPRIV: OnceLock<Option<PathBuf>> = OnceLock::new();
    static NOTE: Once = Once::new();
    let found = SETPRIV.get_or_init(|| find_on_path("setpriv")).as_deref();
    if found.is_none() {
        NOTE.call_once(|| {
            eprintln!(
                "note: setpriv (util-linux) is not installed; if this program is ended with kill -9, its child \
                 processes stay"
            );
        });
    }
    found
}

/// A program of the `PATH`.
pub fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Processor time in user and system mode so far, in seconds, in steps of a hundredth. `whose` is a process id, or
/// `thread-self` for the present thread.
pub fn processor_seconds(whose: &str) -> Result<f64> {
    let file = format!("/proc/{whose}/stat");
    let stat = std::fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
    // After the name, which is in parentheses: the state, then ten numbers, then the two.
    let numbers = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let ticks =
        numbers.map(str::parse::<f64>).sum::<Result<f64, _>>().with_context(|| format!("failed to read \"{stat}\""))?;
    Ok(ticks * TICK)
}

/// The last lines of a log, for messages; empty when there is none.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
