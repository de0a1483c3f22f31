//! `store members`: who belongs to the store, and changing it while it runs.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use federated_store::{Member, Role, admin};

use super::output::Output;
use super::{Connection, read_config};

/// What to do with the members.
#[derive(Debug, Subcommand)]
pub enum MembersCommand {
    /// Shows all replicas: their roles, who leads, how far each has come.
    List(Common),
    /// Adds a replica without a vote. It must run already, with an empty folder and `store.join: true`.
    Add {
        #[command(flatten)]
        common: Common,
        /// Its Raft id: above zero, never used in this store before.
        #[arg(long)]
        number: u64,
        /// Its name, never used in this store before: the common name of its certificate.
        #[arg(long)]
        id: String,
        /// Where its listener for agents and replicas is: <https://host:port>.
        #[arg(long)]
        url: String,
    },
    /// Gives a replica its vote, once it has caught up.
    Promote {
        #[command(flatten)]
        common: Common,
        /// Its name.
        #[arg(long)]
        id: String,
    },
    /// Removes a replica for ever: its name and number are never used again.
    Remove {
        #[command(flatten)]
        common: Common,
        /// Its name.
        #[arg(long)]
        id: String,
    },
}

/// What each of them needs.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration of a controller that is a member of the store: a YAML file. Its certificate is used, which that of
    /// a replica that is to be added can't replace, and its replicas are asked.
    #[arg(long)]
    config: PathBuf,
    /// The replica that the configuration is of, when the file doesn't say.
    #[arg(long = "as", value_name = "REPLICA")]
    own: Option<String>,
    /// How to print the members.
    #[arg(long, short, value_enum, default_value_t)]
    output: Output,
}

/// Does it, and prints the members as they are then.
pub(super) async fn run(command: MembersCommand) -> Result<()> {
    let (MembersCommand::List(common)
    | MembersCommand::Add { common, .. }
    | MembersCommand::Promote { common, .. }
    | MembersCommand::Remove { common, .. }) = &command;
    let Connection { client, cluster, urls } = Connection::new(&read_config(&common.config, common.own.as_deref())?)?;
    let members = match &command {
        MembersCommand::List(_) => admin::members(&client, &cluster, &urls).await,
        MembersCommand::Add { number, id, url, .. } => {
            admin::add_learner(&client, &cluster, &urls, *number, id, url).await
        }
        MembersCommand::Promote { id, .. } => admin::promote(&client, &cluster, &urls, id).await,
        MembersCommand::Remove { id, .. } => admin::remove(&client, &cluster, &urls, id).await,
    }?;
    common.output.print(&members, |members| table(members))
}

/// One line for each replica.
fn table(members: &[Member]) -> String {
    let head = format!("{:<7}{:<24}{:<9}{:<8}{:<20}{}", "NUMBER", "ID", "ROLE", "LEADS", "BEHIND", "URL");
    members.iter().fold(head, |text, member| format!("{text}\n{}", line(member)))
}

fn line(Member { number, id, url, role, leader, progress }: &Member) -> String {
    let role = match role {
        Role::Voter => "voter",
        Role::Learner => "learner",
    };
    let behind = match progress {
        _ if *leader => "0 entries".to_owned(),
        Some(progress) if progress.active => format!("{} entries", progress.lag),
        Some(progress) => format!("{} (silent)", progress.lag),
        None => "unknown".to_owned(),
    };
    format!("{number:<7}{id:<24}{role:<9}{:<8}{behind:<20}{url}", if *leader { "yes" } else { "" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use federated_store::MemberProgress;

    use super::*;

    #[test]
    fn each_member_is_a_line_that_says_who_votes_who_leads_and_who_lags() {
        let member = |number: u64, role, leader, progress| Member {
            number,
            id: format!("controller-{number}"),
            url: format!("https://c{number}:7443"),
            role,
            leader,
            progress,
        };
        let lags = |active| Some(MemberProgress { matched: 5, lag: 12, active });
        let text = table(&[
            member(1, Role::Voter, true, None),
            member(2, Role::Voter, false, lags(true)),
            member(4, Role::Learner, false, lags(false)),
        ]);
        let words: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(words[1], ["1", "controller-1", "voter", "yes", "0", "entries", "https://c1:7443"]);
        assert_eq!(words[2], ["2", "controller-2", "voter", "12", "entries", "https://c2:7443"]);
        assert_eq!(words[3], ["4", "controller-4", "learner", "12", "(silent)", "https://c4:7443"]);
    }
}
