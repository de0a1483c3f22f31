//! The files: their names, and the thread that keeps the next one zeroed and ready, so that no write waits for it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::Error;
use crate::disk::files;
use crate::disk::space::{LogSpace, RETRY, free_bytes};

/// Freed files kept for the next need, beside the one that is ready; more are deleted.
const SPARES: usize = 2;
/// Zeroed at once: a page. After larger writes the kernel keeps larger units in its cache, and each small record would
/// make such a unit dirty as a whole: 1 MiB counted as written for one entry was seen.
const CHUNK_BYTES: usize = 4096;
/// Between two looks whether the store was closed, while a write waits for space.
const CLOSED_PAUSE: Duration = Duration::from_millis(50);
const MIB: u64 = 1024 * 1024;

/// A file that can be written from its beginning.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) bytes: u64,
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

/// All files of the log by number. Their names are padded, so that a listing is in order.
pub(super) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for path in named(folder, "wal")? {
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort();
    match found.windows(2).find(|pair| pair[1].0 != pair[0].0 + 1) {
        Some(pair) => Err(Error::MissingFile { folder: folder.to_owned(), number: pair[0].0 + 1 }),
        None => Ok(found),
    }
}

fn path_of(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.wal"))
}

fn named(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Keeps other processes out as long as the file is open.
pub(super) fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(Error::Io { path, source }),
    }
}

/// Opens a file that was in use before.
pub(super) fn reopen(number: u64, path: &Path) -> Result<Segment, Error> {
    let file = OpenOptions::new().write(true).open(path).map_err(failed(path))?;
    let bytes = file.metadata().map_err(failed(path))?.len();
    Ok(Segment { number, path: path.to_owned(), file, bytes })
}

/// Overwrites a file with zeros from `from` on, durably.
pub(super) fn zero(file: &File, from: u64, to: u64, stop: &AtomicBool) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut place = from;
    while place < to {
        if stop.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let count = usize::try_from(to - place).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        file.write_all_at(zeros.get(..count).unwrap_or_default(), place)?;
        place += count as u64;
    }
    file.sync_all()
}

/// Makes files ready, and takes back those that are no longer needed.
pub(super) struct Preparer {
    jobs: Option<Sender<Job>>,
    ready: Receiver<Segment>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

enum Job {
    Prepare(u64),
    Free(PathBuf),
}

impl Preparer {
    pub(super) fn start(folder: &Path, segment_bytes: u64, space: Arc<LogSpace>) -> Result<Self, Error> {
        for leftover in named(folder, "tmp")? {
            fs::remove_file(&leftover).map_err(failed(&leftover))?;
        }
        let spares = named(folder, "spare")?;
        let (jobs, waiting) = channel();
        let (done, ready) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            folder: folder.to_owned(),
            segment_bytes,
            space,
            spares,
            unneeded: VecDeque::new(),
            jobs: waiting,
            done,
            stop: Arc::clone(&stop),
        };
        let thread = std::thread::Builder::new().name("store-log-files".to_owned());
        let thread = thread.spawn(|| worker.run()).map_err(Error::Thread)?;
        Ok(Self { jobs: Some(jobs), ready, stop, thread: Some(thread) })
    }

    /// Has the file of this number made ready.
    pub(super) fn prepare(&self, number: u64) {
        self.order(Job::Prepare(number));
    }

    /// Gives back a file that holds nothing needed.
    pub(super) fn free(&self, path: PathBuf) {
        self.order(Job::Free(path));
    }

    fn order(&self, job: Job) {
        // The thread only ends with this value, or by a panic, which ends the process.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// The file that was ordered, if it is ready.
    pub(super) fn poll(&self) -> Option<Segment> {
        self.ready.try_recv().ok()
    }

    /// The file that was ordered. Waits as long as there is no space for it, and the store isn't closed.
    pub(super) fn wait(&self, space: &LogSpace) -> Result<Segment, Error> {
        loop {
            match self.ready.recv_timeout(CLOSED_PAUSE) {
                Ok(segment) => return Ok(segment),
                Err(RecvTimeoutError::Timeout) if !(space.is_closed() && space.refusal().is_some()) => {}
                Err(_) => return Err(Error::Closed),
            }
        }
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    folder: PathBuf,
    segment_bytes: u64,
    space: Arc<LogSpace>,
    spares: Vec<PathBuf>,
    /// In the order in which they were filled.
    unneeded: VecDeque<PathBuf>,
    jobs: Receiver<Job>,
    done: Sender<Segment>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    fn run(mut self) {
        let _guard = crate::fatal::PanicGuard("log file preparation");
        let mut wanted = None;
        loop {
            let job = match wanted {
                Some(_) => self.jobs.recv_timeout(RETRY),
                None => self.jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match job {
                Ok(Job::Prepare(number)) => wanted = Some(number),
                Ok(Job::Free(path)) => self.free(path),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if let Some(number) = wanted {
                match self.prepare(number) {
                    Ok(segment) => {
                        wanted = None;
                        let _ = self.done.send(segment);
                        self.space.report(None);
                    }
                    Err(_) if self.stop.load(Ordering::Relaxed) => return,
                    Err(error) => self.space.report(Some(self.describe(&error))),
                }
            }
        }
    }

    fn describe(&self, error: &io::Error) -> String {
        let (needed, folder) = (self.segment_bytes.div_ceil(MIB), self.folder.display());
        let free = free_bytes(&self.folder).map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes / MIB));
        format!(
            "the next log file of {needed} MiB can't be prepared in '{folder}', free space there is {free}: {error}"
        )
    }

    /// A file under its final name, all of its space taken. A spare isn't zeroed again: its old records carry another
    /// number than the file has now.
    fn prepare(&mut self, number: u64) -> io::Result<Segment> {
        let path = path_of(&self.folder, number);
        if let Some(spare) = self.spares.pop() {
            let file = OpenOptions::new().write(true).open(&spare)?;
            if file.metadata()?.len() == self.segment_bytes {
                files::publish(&spare, &path)?;
                return Ok(Segment { number, path, file, bytes: self.segment_bytes });
            }
            fs::remove_file(&spare)?;
        }
        let temporary = path.with_extension("tmp");
        let file = File::create(&temporary)?;
        if let Err(error) = zero(&file, 0, self.segment_bytes, &self.stop) {
            drop(file);
            // What it took so far may be just what others need.
            fs::remove_file(&temporary)?;
            return Err(error);
        }
        files::publish(&temporary, &path)?;
        Ok(Segment { number, path, file, bytes: self.segment_bytes })
    }

    /// Renamed at once and durably, in order: neither a crash nor a failure may leave a hole between the files in use.
    fn free(&mut self, path: PathBuf) {
        self.unneeded.push_back(path);
        while let Some(path) = self.unneeded.pop_front() {
            if let Err(error) = self.free_one(&path) {
                tracing::warn!(path = %path.display(), %error, "failed to free a log file; it is tried again with the next");
                return self.unneeded.push_front(path);
            }
        }
    }

    fn free_one(&mut self, path: &Path) -> io::Result<()> {
        let spare = path.with_extension("spare");
        let keep = self.spares.len() < SPARES;
        // It may be gone already, and only its folder's flush failed.
        if path.exists() {
            if keep { fs::rename(path, &spare)? } else { fs::remove_file(path)? }
        }
        File::open(&self.folder)?.sync_all()?;
        if spare.exists() {
            self.spares.push(spare);
        }
        Ok(())
    }
}
