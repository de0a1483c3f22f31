//! Three replicas of ours: children of this process, or two children and this process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::certificates::Authority;
use crate::handle::Handle;
use crate::process::Process;
use crate::remote::Remote;
use crate::replica::{Running, SPEC, Spec};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(2);
/// Handing over succeeds nearly always at once; after so many tries something is wrong.
const HAND_OVERS: usize = 20;

/// Which replica this process is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// None: all are children.
    None,
    /// One that leads, as a controller's leader uses the store.
    Leads,
    /// One that follows, as a controller that outlives its leader.
    Follows,
}

impl Own {
    /// A leader that ends hands over to the highest number among equals: ours is that one when it has to lead.
    fn place(self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Leads => Some(2),
            Self::Follows => Some(0),
        }
    }
}

/// Whether a replica leads, and in which term.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    term: u64,
    leads: bool,
}

struct Child {
    process: Process,
    input: ChildStdin,
    view: watch::Receiver<View>,
    loaded: mpsc::UnboundedReceiver<u64>,
}

/// Three replicas.
pub struct Ours {
    own: Own,
    specs: Vec<Spec>,
    children: Vec<Option<Child>>,
    running: Option<Running>,
}

impl Ours {
    /// Starts a new store and waits until the right replica leads.
    pub async fn start(root: &Path, authority: &Authority, own: Own) -> Result<Self> {
        let replicas: Vec<_> = (1..)
            .zip(free_addresses()?)
            .map(|(n, address)| (format!("ours-{n}"), format!("https://{address}")))
            .collect();
        let mut specs = Vec::new();
        for (id, _) in &replicas {
            let (id, folder, credentials) = (id.clone(), root.join(id), authority.issue(id)?);
            std::fs::create_dir_all(&folder)?;
            let spec = Spec { id, folder, credentials, replicas: replicas.clone() };
            std::fs::write(spec.folder.join(SPEC), serde_json::to_vec(&spec)?)?;
            specs.push(spec);
        }
        let mut ours = Self { own, specs, children: vec![None, None, None], running: None };
        for place in 0..3 {
            ours.start_replica(place).await?;
        }
        ours.settle().await?;
        Ok(ours)
    }

    /// Starts a replica that isn't running.
    pub async fn start_replica(&mut self, place: usize) -> Result<()> {
        if self.own.place() == Some(place) {
            self.running = Some(Running::start(&self.specs[place]).await?);
            return Ok(());
        }
        self.children[place] = Some(start_child(&self.specs[place])?);
        Ok(())
    }

    /// Waits until the replica that should lead does.
    pub async fn settle(&mut self) -> Result<usize> {
        for _ in 0..HAND_OVERS {
            let leader = self.leader().await?;
            let own = self.own.place();
            let fits = match self.own {
                Own::None => true,
                Own::Leads => own == Some(leader),
                Own::Follows => own != Some(leader),
            };
            if fits {
                return Ok(leader);
            }
            self.hand_over(leader).await?;
        }
        bail!("leadership doesn't go where it should")
    }

    async fn hand_over(&mut self, leader: usize) -> Result<()> {
        if let Some(running) = self.running.take_if(|_| self.own.place() == Some(leader)) {
            running.close().await;
        } else if let Some(mut child) = self.children[leader].take() {
            writeln!(child.input, "close")?;
            let ended = async {
                while child.process.child().try_wait()?.is_none() {
                    sleep(POLL).await;
                }
                anyhow::Ok(())
            };
            timeout(PATIENCE, ended).await.context("a replica doesn't close")??;
        }
        self.start_replica(leader).await
    }

    /// Waits until one leads, and says which.
    pub async fn leader(&self) -> Result<usize> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let views = (0..3).filter_map(|place| Some((place, self.view(place)?)));
            let leader = views.filter(|(_, view)| view.leads).max_by_key(|(_, view)| view.term);
            if let Some((place, _)) = leader {
                return Ok(place);
            }
            if Instant::now() > give_up {
                bail!("no replica of ours leads");
            }
            sleep(POLL).await;
        }
    }

    fn view(&self, place: usize) -> Option<View> {
        if self.own.place() == Some(place) {
            let leadership = self.running.as_ref()?.store.leadership();
            let view = leadership.borrow();
            return Some(View { term: view.term, leads: view.fence.is_some() });
        }
        Some(*self.children[place].as_ref()?.view.borrow())
    }

    /// Each replica's term and whether it leads, as they say themselves.
    pub fn terms(&self) -> Vec<Option<(u64, bool)>> {
        (0..3).map(|place| self.view(place).map(|view| (view.term, view.leads))).collect()
    }

    /// `kill -9` of a child, at once.
    pub fn kill(&mut self, place: usize) {
        self.children[place] = None;
    }

    /// This process's own handle.
    pub fn handle(&self) -> Result<Handle> {
        let running = self.running.as_ref().context("no replica runs in this process")?;
        Ok(Handle::Store(running.store.clone()))
    }

    /// Connections to one replica.
    pub async fn connect(&self, place: usize, count: usize) -> Result<Vec<Handle>> {
        let spec = &self.specs[place];
        let mut handles = Vec::new();
        for _ in 0..count {
            let give_up = Instant::now() + PATIENCE;
            let remote = loop {
                match Remote::connect(&spec.replicas[place].1, &spec.credentials).await {
                    Ok(remote) => break remote,
                    Err(error) if Instant::now() > give_up => return Err(error).context("failed to connect"),
                    Err(_) => sleep(POLL).await,
                }
            };
            handles.push(Handle::Remote(remote));
        }
        Ok(handles)
    }

    /// Has a child put so many values by itself, as a controller would; returns how many failed.
    pub async fn load(&mut self, place: usize, clients: usize, puts: usize) -> Result<u64> {
        let child = self.children[place].as_mut().context("it is no running child")?;
        writeln!(child.input, "load {puts} {clients}")?;
        child.loaded.recv().await.context("the replica ended")
    }

    /// Ids of the children.
    pub fn children(&self) -> Vec<u32> {
        self.children.iter().flatten().map(|child| child.process.id()).collect()
    }

    /// A child's id.
    pub fn child(&self, place: usize) -> Option<u32> {
        self.children[place].as_ref().map(|child| child.process.id())
    }

    /// Folders of all data.
    pub fn data_dirs(&self) -> Vec<PathBuf> {
        self.specs.iter().map(Spec::data_dir).collect()
    }

    /// Ends the replica in this process; children end when they are dropped.
    pub async fn close(mut self) {
        if let Some(running) = self.running.take() {
            running.close().await;
        }
    }
}

/// Addresses of three ports that were free a moment ago, all different.
pub fn free_addresses() -> Result<Vec<std::net::SocketAddr>> {
    let listeners = (0..3).map(|_| std::net::TcpListener::bind("127.0.0.1:0"));
    let listeners = listeners.collect::<std::io::Result<Vec<_>>>()?;
    Ok(listeners.iter().map(std::net::TcpListener::local_addr).collect::<std::io::Result<_>>()?)
}

fn start_child(spec: &Spec) -> Result<Child> {
    let program = std::env::current_exe()?.display().to_string();
    let arguments = ["replica".to_owned(), spec.folder.display().to_string()];
    let mut process = Process::start(&program, &arguments, |command| {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
    })?;
    let input = process.child().stdin.take().context("no pipe to the child")?;
    let output = process.child().stdout.take().context("no pipe from the child")?;
    let (views, view) = watch::channel(View::default());
    let (counts, loaded) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            match line.split(' ').collect::<Vec<_>>().as_slice() {
                ["view", term, leads] => {
                    views.send_replace(View { term: term.parse().unwrap_or(0), leads: *leads == "leads" });
                }
                ["loaded", failed] => drop(counts.send(failed.parse().unwrap_or(u64::MAX))),
                _ => eprintln!("a replica says: {line}"),
            }
        }
    });
    Ok(Child { process, input, view, loaded })
}
