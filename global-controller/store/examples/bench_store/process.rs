//! Child processes that end with this program, however it ends (docs/adr/0006).

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

/// A child that is killed when it is dropped, and by the kernel when the thread that started it ends.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `program`; must be called from the program's first thread.
    pub fn start(program: &str, arguments: &[String], prepare: impl FnOnce(&mut Command)) -> Result<Self> {
        let mut command = if has_setpriv() {
            let mut command = Command::new("setpriv");
            command.args(["--pdeathsig", "KILL", "--", program]);
            command
        } else {
            Command::new(program)
        };
        command.args(arguments).stdin(Stdio::null());
        prepare(&mut command);
        let child = command.spawn().with_context(|| format!("failed to start '{program}'"))?;
        Ok(Self { child })
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// `kill -9`, at once; waits until it is gone.
    pub fn kill(&mut self) {
        // It fails when the child has ended by itself, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn has_setpriv() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let tried = Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        let found = tried.is_ok_and(|status| status.success());
        if !found {
            eprintln!(
                "note: setpriv (util-linux) is not installed; if this program is ended with kill -9, its \
                       child processes stay"
            );
        }
        found
    })
}
