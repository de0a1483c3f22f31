//! System calls of a replica, as `strace` writes them down.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

const CALLS: &str = "trace=fdatasync,fsync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg";
/// Bytes of each buffer that are written down: more than any group of writes in a test.
const SHOWN_BYTES: &str = "1048576";

/// A system call that ended well. Times are microseconds since 1970, on the clock that all processes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    /// The file of the first argument, as far as it is one.
    pub path: String,
    pub arguments: String,
    pub began: u64,
    pub ended: u64,
}

/// Fails with what to do where tracing isn't possible.
pub fn require_strace() {
    match Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!(
            "strace can't trace here; a container needs the capability SYS_PTRACE or a kernel that lets processes trace \
             their children: {}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("strace is missing: install the Debian package 'strace'")
        }
        Err(error) => panic!("strace doesn't start: {error}"),
    }
}

/// The command that runs a program with its system calls written into `file`.
pub fn traced(program: &Path, file: &Path) -> Command {
    let mut command = Command::new("strace");
    // -y names files, -ttt and -T give begin and length in microseconds.
    command.args(["-f", "-y", "-ttt", "-T", "-s", SHOWN_BYTES, "-e", CALLS, "-e", "signal=none", "-o"]);
    command.arg(file).arg(program);
    command
}

/// The calls of a trace, in the order in which they ended.
pub fn parse(trace: &str) -> Vec<Call> {
    let mut unfinished: HashMap<&str, (u64, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for line in trace.lines() {
        let Some((process, rest)) = line.split_once(' ') else { continue };
        let Some((time, rest)) = rest.trim_start().split_once(' ') else { continue };
        let Some(time) = microseconds(time) else { continue };
        if let Some(begin) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(process, (time, begin));
        } else if let Some(end) = rest.strip_prefix("<... ") {
            // "<... fdatasync resumed>) = 0 <0.000123>", and the line's time is that of the end.
            let (Some((began, begin)), Some((_, end))) = (unfinished.remove(process), end.split_once(" resumed>"))
            else {
                continue;
            };
            if let Some((arguments, _)) = result(end) {
                calls.extend(call(began, time, &format!("{begin}{arguments}")));
            }
        } else if let Some((text, length)) = result(rest) {
            calls.extend(call(time, time + length, text));
        }
    }
    calls.sort_by_key(|call| call.ended);
    calls
}

/// What comes before the result of a call that didn't fail, and how long it took.
fn result(text: &str) -> Option<(&str, u64)> {
    let (call, result) = text.rsplit_once(" = ")?;
    let (value, length) = result.split_once(" <")?;
    let succeeded = value.parse::<u64>().is_ok();
    succeeded.then_some((call, microseconds(length.strip_suffix('>')?)?))
}

fn call(began: u64, ended: u64, text: &str) -> Option<Call> {
    let (name, arguments) = text.trim_end().split_once('(')?;
    let path = arguments.split_once('<').and_then(|(_, rest)| Some(rest.split_once('>')?.0)).unwrap_or_default();
    Some(Call { name: name.to_owned(), path: path.to_owned(), arguments: arguments.to_owned(), began, ended })
}

fn microseconds(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.')?;
    Some(seconds.parse::<u64>().ok()? * 1_000_000 + fraction.parse::<u64>().ok()?)
}

/// When each write of `text` into a file below `folder` was known to be on disk: the ends of the first flush of the same
/// file that began after each write had ended. Without the mirror, which promises nothing.
pub fn durable_at(calls: &[Call], folder: &Path, text: &str) -> Vec<u64> {
    let folder = folder.to_str().unwrap();
    let ours = |call: &&Call| call.path.starts_with(folder) && !call.path.contains("/mirror/");
    let writes = calls.iter().filter(ours).filter(|call| call.arguments.contains(text));
    let flushed = writes.filter_map(|write| {
        let flushes = calls.iter().filter(|call| matches!(call.name.as_str(), "fdatasync" | "fsync"));
        let later = flushes.filter(|flush| flush.path == write.path && flush.began >= write.ended);
        later.map(|flush| flush.ended).min()
    });
    flushed.collect()
}

/// When a process began to write a line with this text to its output.
pub fn said_at(calls: &[Call], text: &str) -> Option<u64> {
    let said = calls
        .iter()
        .find(|call| call.name == "write" && call.arguments.starts_with("1<") && call.arguments.contains(text));
    said.map(|call| call.began)
}
