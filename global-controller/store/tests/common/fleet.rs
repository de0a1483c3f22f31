//! Three replicas in three processes over mutual TLS, which can be killed, paused and started again.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::PATIENCE;
use super::protocol::{Answer, Ask, Expected, Item, Line, MARK, ORDER, Order, replica_id};
use super::secure::{Authority, Role};

/// Processes that are asked and answer.
pub struct Fleet {
    pub folder: PathBuf,
    pub replicas: Vec<Arc<Replica>>,
    _temporary: tempfile::TempDir,
}

/// One of them, whether it runs at the moment or not.
pub struct Replica {
    order: Order,
    test: &'static str,
    process: Mutex<Option<Process>>,
    waiting: Arc<Mutex<HashMap<u64, oneshot::Sender<Answer>>>>,
    next: AtomicU64,
    serving: watch::Sender<bool>,
    log: watch::Sender<Vec<String>>,
    traced: Option<PathBuf>,
}

struct Process {
    child: Child,
    input: ChildStdin,
    reader: std::thread::JoinHandle<()>,
}

/// What [`Fleet::new`] needs to know.
pub struct Plan {
    pub cluster: &'static str,
    /// The test's name: its process, started again, is a replica.
    pub test: &'static str,
    pub snapshot_entries: u64,
    /// Whether system calls are traced into `trace-0` and so on in the fleet's folder.
    pub traced: bool,
}

impl Fleet {
    /// Prepares certificates and ports; starts nothing.
    pub fn new(plan: &Plan) -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let folder = temporary.path().to_owned();
        let authority = Authority::new();
        // All ports are reserved at once, so that no two replicas get the same one.
        let listeners: Vec<_> = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        let replica = |place: usize| {
            let credentials = folder.join(format!("credentials-{place}"));
            authority.write(Role::Replica, &replica_id(place), &credentials);
            let order = Order {
                cluster: plan.cluster.to_owned(),
                place,
                ports: ports.clone(),
                // Not even the folder above it exists yet.
                folder: text(&folder.join(format!("data-{place}")).join("replica")),
                credentials: text(&credentials),
                snapshot_entries: plan.snapshot_entries,
            };
            Arc::new(Replica {
                order,
                test: plan.test,
                process: Mutex::default(),
                waiting: Arc::default(),
                next: AtomicU64::new(0),
                serving: watch::Sender::new(false),
                log: watch::Sender::default(),
                traced: plan.traced.then(|| folder.join(format!("trace-{place}"))),
            })
        };
        let replicas = (0..3).map(replica).collect();
        Self { folder, replicas, _temporary: temporary }
    }

    pub async fn start_all(&self) {
        for replica in &self.replicas {
            replica.start();
        }
        for replica in &self.replicas {
            replica.wait_until_serving().await;
        }
    }

    pub fn kill_all(&self) {
        // All get the signal before the first is waited for.
        let processes: Vec<_> = self.replicas.iter().filter_map(|replica| replica.signal_kill()).collect();
        processes.into_iter().for_each(Process::bury);
    }

    /// The place and fence of a leader, once there is one that `acceptable` lets pass.
    pub async fn leader(&self, acceptable: impl Fn(usize, u64) -> bool) -> (usize, u64) {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        loop {
            for (place, replica) in self.replicas.iter().enumerate() {
                // One that is paused doesn't answer.
                let asked = tokio::time::timeout(Duration::from_secs(1), replica.ask(Ask::Leadership)).await;
                if let Ok(Answer::Leadership { fence: Some(fence), .. }) = asked
                    && acceptable(place, fence)
                {
                    return (place, fence);
                }
            }
            assert!(tokio::time::Instant::now() < give_up, "no leader in time; logged: {:?}", self.logs());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn logs(&self) -> Vec<Vec<String>> {
        self.replicas.iter().map(|replica| replica.log.borrow().clone()).collect()
    }

    /// Everything under a prefix, read from whichever replica answers.
    pub async fn everything(&self, prefix: &str) -> Vec<Item> {
        let give_up = tokio::time::Instant::now() + PATIENCE;
        let mut found: Vec<Item> = Vec::new();
        for replica in self.replicas.iter().cycle() {
            let after = found.last().map(|item| item.key.clone());
            match replica.ask(Ask::Range { prefix: prefix.to_owned(), after }).await {
                Answer::Page { items, more } => {
                    found.extend(items);
                    if !more {
                        break;
                    }
                }
                other => assert!(tokio::time::Instant::now() < give_up, "no answer: {other:?}"),
            }
        }
        found
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.kill_all();
    }
}

impl Replica {
    pub fn folder(&self) -> &Path {
        Path::new(&self.order.folder)
    }

    pub fn trace(&self) -> &Path {
        self.traced.as_deref().expect("not traced")
    }

    pub fn start(&self) {
        self.start_as(&self.order);
    }

    fn start_as(&self, order: &Order) {
        let program = std::env::current_exe().unwrap();
        let mut command = match &self.traced {
            Some(file) => super::trace::traced(&program, file),
            None => Command::new(program),
        };
        command.args(["--exact", self.test, "--nocapture"]).env(ORDER, serde_json::to_string(order).unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (waiting, serving, log) = (Arc::clone(&self.waiting), self.serving.clone(), self.log.clone());
        let reader = std::thread::spawn(move || read(output, &waiting, &serving, &log));
        let earlier = self.process.lock().unwrap().replace(Process { child, input, reader });
        assert!(earlier.is_none(), "it runs already");
    }

    /// Starts and returns whether the process ended well and what it logged; for a process that ends by itself.
    pub async fn start_in_vain(&self, folder: &Path) -> (bool, Vec<String>) {
        self.start_as(&Order { folder: text(folder), ..self.order.clone() });
        let Process { mut child, input, reader } = self.process.lock().unwrap().take().unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            let status = child.wait().unwrap();
            drop(input);
            reader.join().unwrap();
            status.success()
        });
        let well = tokio::time::timeout(PATIENCE, ended).await.expect("it didn't end").unwrap();
        (well, self.log.borrow().clone())
    }

    pub async fn wait_until_serving(&self) {
        let mut serving = self.serving.subscribe();
        let served = tokio::time::timeout(PATIENCE, serving.wait_for(|serving| *serving)).await;
        served.expect("the replica didn't start in time").unwrap();
    }

    pub fn serves(&self) -> bool {
        *self.serving.borrow()
    }

    /// Ends the process with SIGKILL.
    pub fn kill(&self) {
        if let Some(process) = self.signal_kill() {
            process.bury();
        }
    }

    fn signal_kill(&self) -> Option<Process> {
        let mut process = self.process.lock().unwrap().take()?;
        process.child.kill().unwrap();
        Some(process)
    }

    /// Ends the process by ending its input, and waits for it.
    pub fn end(&self) {
        let Process { mut child, input, reader } = self.process.lock().unwrap().take().unwrap();
        drop(input);
        child.wait().unwrap();
        reader.join().unwrap();
    }

    /// Sends a signal such as `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let id = self.process.lock().unwrap().as_ref().unwrap().child.id();
        // The shell's own command: a program of that name isn't on every machine.
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until something was logged that has `text` in it.
    pub async fn logged(&self, text: &str) -> String {
        let mut log = self.log.subscribe();
        let found = tokio::time::timeout(PATIENCE, log.wait_for(|lines| lines.iter().any(|line| line.contains(text))));
        let lines = found.await.unwrap_or_else(|_| panic!("not logged: '{text}'")).unwrap().clone();
        lines.into_iter().find(|line| line.contains(text)).unwrap()
    }

    /// Asks, and waits for the answer. [`Answer::Failed`] when the process isn't there or ends.
    pub async fn ask(&self, ask: Ask) -> Answer {
        let gone = |reason: &str| Answer::Failed { reason: reason.to_owned() };
        let Some(answered) = self.send(&ask) else { return gone("the replica isn't there") };
        answered.await.unwrap_or_else(|_| gone("the replica ended"))
    }

    /// Asks without waiting. `None`: it was certainly not asked.
    pub fn send(&self, ask: &Ask) -> Option<oneshot::Receiver<Answer>> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut line = serde_json::to_vec(&(number, ask)).unwrap();
        line.push(b'\n');
        let (answer, answered) = oneshot::channel();
        let mut process = self.process.lock().unwrap();
        let process = process.as_mut()?;
        self.waiting.lock().unwrap().insert(number, answer);
        if process.input.write_all(&line).is_err() {
            // The process ended by itself, and perhaps its reader has dropped the other channels already.
            self.waiting.lock().unwrap().remove(&number);
        }
        Some(answered)
    }

    pub async fn txn(&self, fence: Option<u64>, when: Vec<Expected>, then: Vec<(String, String)>) -> Answer {
        self.ask(Ask::Txn { fence, when, then }).await
    }

    /// Writes one key and returns the revision.
    pub async fn put(&self, key: &str, value: &str) -> u64 {
        match self.txn(None, vec![], vec![(key.to_owned(), value.to_owned())]).await {
            Answer::Committed { revision } => revision,
            other => panic!("not committed: {other:?}; logged: {:?}", self.log.borrow()),
        }
    }

    pub async fn get(&self, key: &str) -> Option<String> {
        match self.ask(Ask::Get { key: key.to_owned() }).await {
            Answer::Item(item) => item.map(|item| item.value),
            other => panic!("not read: {other:?}"),
        }
    }
}

impl Process {
    fn bury(self) {
        let Self { mut child, input, reader } = self;
        drop(input);
        child.wait().unwrap();
        reader.join().unwrap();
    }
}

/// Hands on what the process says until it ends; what it didn't answer by then, it never will.
fn read(
    output: ChildStdout,
    waiting: &Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    serving: &watch::Sender<bool>,
    log: &watch::Sender<Vec<String>>,
) {
    // The last line may be cut off in the middle.
    let lines = BufReader::new(output).lines().map_while(Result::ok);
    let lines = lines.filter_map(|line| serde_json::from_str(line.strip_prefix(MARK)?).ok());
    for line in lines {
        match line {
            Line::Serving => drop(serving.send_replace(true)),
            Line::Log { text } => log.send_modify(|lines| lines.push(text)),
            Line::Answer { number, answer } => {
                if let Some(asker) = waiting.lock().unwrap().remove(&number) {
                    let _ = asker.send(answer);
                }
            }
        }
    }
    serving.send_replace(false);
    waiting.lock().unwrap().clear();
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
