//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

/// Longest wait for the outcome of an action: an hour, after which nobody looks any more.
const MAX_WAIT_SECONDS: u64 = 3600;

/// Looks at rollouts over a fleet of clusters, and approves, aborts and retries their runs.
#[derive(Debug, Parser)]
#[command(name = "kubectl-clusterrollout", bin_name = "kubectl clusterrollout", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub connection: Connection,
    #[command(subcommand)]
    pub command: Command,
}

/// Where the hub is, and as whom to ask.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Kubeconfig file; default as kubectl has it
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; default its current one
    #[arg(long, global = true)]
    pub context: Option<String>,
    /// User to impersonate
    #[arg(long = "as", global = true, value_name = "USER")]
    pub as_user: Option<String>,
    /// Group to impersonate; may be repeated
    #[arg(long = "as-group", global = true, value_name = "GROUP", requires = "as_user")]
    pub as_groups: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists rollouts, or one
    Get {
        /// Name of the rollout
        name: Option<String>,
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Follows rollouts, or one, until it is interrupted: a line for each change of status
    Watch {
        /// Name of the rollout
        name: Option<String>,
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Says what a rollout would do, before it is applied, and how its gates would have done in the past
    Plan(Planned),
    /// Says what a rollout waits for and what can be done
    Explain {
        /// Name of the rollout
        name: String,
    },
    /// Lists the runs of a rollout, the latest first: what each brought, how it ended and why
    History {
        /// Name of the rollout
        name: String,
        #[command(flatten)]
        controller: Controller,
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Writes the images of an earlier revision into spec.workload
    Undo {
        /// Name of the rollout
        name: String,
        #[command(flatten)]
        controller: Controller,
        #[command(flatten)]
        undo: UndoTo,
    },
    /// Lets the step go on that waits for approval
    Approve {
        /// Name of the rollout
        name: String,
        /// Step that is meant, from 1: if the rollout is at another one by now, nothing is approved
        #[arg(long, value_parser = clap::value_parser!(i32).range(1..=33))]
        step: Option<i32>,
        #[command(flatten)]
        act: Act,
    },
    /// Ends the run: every touched member goes back to what it ran before
    Abort {
        /// Name of the rollout
        name: String,
        #[command(flatten)]
        act: Reasoned,
    },
    /// Tries again what failed: a payload that was rolled back, or the members that failed
    Retry {
        /// Name of the rollout
        name: String,
        /// Not what spec.workload has now: the members that failed to catch up with what was accepted before it
        #[arg(long)]
        catch_up: bool,
        #[command(flatten)]
        act: Reasoned,
    },
    /// Stops new work and the clock of a pause (spec.paused: true)
    Pause {
        /// Name of the rollout
        name: String,
    },
    /// Takes the hub as it is after it was restored from an older backup, for all rollouts that hold because of it
    AcceptHub {
        /// Name of any rollout on the hub
        name: String,
        #[command(flatten)]
        act: Reasoned,
    },
    /// Takes a pause by hand back (spec.paused: false); with a reason, lets a run go on that holds as its records were lost
    Resume {
        /// Name of the rollout
        name: String,
        /// Why a run is to go on whose records were lost; 1 to 1024 characters
        #[arg(long)]
        why: Option<String>,
        #[command(flatten)]
        waiting: Waiting,
    },
}

/// What is to be planned.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["name", "file"])))]
pub(crate) struct Planned {
    /// Name of a rollout on the hub, for example one that was created paused
    pub name: Option<String>,
    /// File with a rollout, as for kubectl apply; - for the standard input
    #[arg(short, long = "filename", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Tries the gates over so much of the past: at least 1m, at most 30d. It needs a controller on this host, as after
    /// kubectl port-forward
    #[arg(long, value_name = "TIME", value_parser = crate::plan::parse_time)]
    pub back_test: Option<Duration>,
    #[command(flatten)]
    pub controller: Controller,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Where the controller's own API is.
#[derive(Debug, Args)]
pub(crate) struct Controller {
    /// URL of the controller's listener for people, any replica's; the default is where kubectl port-forward makes it
    #[arg(
        long = "controller",
        value_name = "URL",
        env = "CLUSTERROLLOUT_CONTROLLER",
        default_value = "http://127.0.0.1:8080"
    )]
    pub url: String,
}

/// What to go back to.
#[derive(Debug, Args)]
pub(crate) struct UndoTo {
    /// Revision to go back to, or as much of its beginning as tells it apart; default what was accepted last, other than
    /// what spec.workload has now
    #[arg(long, value_name = "REVISION")]
    pub to_revision: Option<String>,
    /// Also one that was rolled back: it goes out only after a retry
    #[arg(long, requires = "to_revision")]
    pub quarantined: bool,
}

/// An action whose reason may be left out.
#[derive(Debug, Args)]
pub(crate) struct Act {
    /// Why, for those who look later; at most 1024 characters
    #[arg(long, default_value = "")]
    pub why: String,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// An action that needs a reason.
#[derive(Debug, Args)]
pub(crate) struct Reasoned {
    /// Why, for those who look later; 1 to 1024 characters
    #[arg(long)]
    pub why: String,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// How long to wait for the outcome, and how to print it.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Waiting {
    /// Seconds to wait for the outcome; 0 doesn't wait. The exit code is 1 when it is refused, and 3 when there is none
    /// in time: the action stays and may still be taken up
    #[arg(long = "wait", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=MAX_WAIT_SECONDS))]
    pub seconds: u64,
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// How objects are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    Json,
    Yaml,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn semantics_44_abort_and_retry_want_a_reason() {
        for verb in ["abort", "retry"] {
            let error = parsed(&format!("kubectl-clusterrollout {verb} checkout")).unwrap_err().to_string();
            assert!(error.contains("--why"), "{error}");
            assert!(parsed(&format!("kubectl-clusterrollout {verb} checkout --why bad")).is_ok());
        }
        assert!(parsed("kubectl-clusterrollout retry checkout --catch-up --why repaired").is_ok());
        assert!(parsed("kubectl-clusterrollout approve checkout --step 1").is_ok());
    }

    #[test]
    fn a_plan_is_of_one_rollout() {
        assert!(parsed("kubectl-clusterrollout plan checkout --back-test 7d --controller http://127.0.0.1:1").is_ok());
        assert!(parsed("kubectl-clusterrollout plan -f rollout.yaml").is_ok());
        assert!(parsed("kubectl-clusterrollout plan").is_err());
        assert!(parsed("kubectl-clusterrollout plan checkout -f rollout.yaml").is_err());
    }

    #[test]
    fn the_hub_can_be_named_after_the_command() {
        let arguments = parsed("kubectl-clusterrollout get -o json --context prod --as alice --as-group sre").unwrap();
        assert_eq!(arguments.connection.context.as_deref(), Some("prod"));
        assert_eq!(arguments.connection.as_groups, ["sre"]);
        assert!(matches!(arguments.command, Command::Get { name: None, output: Format::Json }));
    }

    #[test]
    fn what_was_rolled_back_is_never_gone_back_to_by_chance() {
        assert!(parsed("kubectl-clusterrollout undo checkout --to-revision 7a --quarantined").is_ok());
        assert!(parsed("kubectl-clusterrollout undo checkout --quarantined").is_err());
    }

    #[test]
    fn a_wait_is_bounded() {
        assert!(parsed("kubectl-clusterrollout approve checkout --wait 3600").is_ok());
        assert!(parsed("kubectl-clusterrollout approve checkout --wait 3601").is_err());
        assert!(parsed("kubectl-clusterrollout approve checkout --step 0").is_err());
    }
}
