//! What a node is told at its start, and every limit that `raft` takes, each with its reason.

use raft::ReadOnlyOption;

/// Ticks without a leader before an election may start, and the period of the leader's own quorum check.
const ELECTION_TICKS: usize = 10;
/// Timeouts are drawn from one to two election periods, so that two replicas seldom start together.
const MOST_ELECTION_TICKS: usize = 20;
/// Five heartbeats fit an election period: four may be lost or late before anyone doubts the leader.
const HEARTBEAT_TICKS: usize = 2;
/// Entries of one append message in bytes: at least one entry always goes, and an entry is at most this large.
const MESSAGE_BYTES: u64 = 1024 * 1024;
/// Appends under way to one follower. With one message per group commit and under a millisecond per round this
/// never limits a healthy follower, and a dead one costs at most this many messages of memory.
const INFLIGHT_MESSAGES: usize = 128;
/// Entries that are proposed and not yet committed, in bytes. Beyond it proposals are refused, not queued.
const UNCOMMITTED_BYTES: u64 = 32 * 1024 * 1024;
/// Entries applied at once in bytes, so that ticks and messages get their turn during a long replay.
const COMMITTED_BYTES: u64 = 4 * 1024 * 1024;

/// When a snapshot is due: whichever bound is passed first since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPolicy {
    /// Entries applied since the last snapshot.
    pub entries: u64,
    /// Bytes of entries applied since the last snapshot.
    pub bytes: u64,
}

impl Default for SnapshotPolicy {
    /// 20,000 entries replay in well under a second, and 16 MiB times three is the most the log holds in memory.
    fn default() -> Self {
        Self { entries: 20_000, bytes: 16 * 1024 * 1024 }
    }
}

/// Something that a node gets wrong on purpose, only to show that the simulation finds it.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deviation {
    /// Nothing: what every real replica does.
    #[default]
    None,
    /// Reads are served from the state at hand; no leader is asked.
    SkipReadIndex,
    /// A leader confirms reads by `raft`'s lease instead of asking a quorum.
    LeaseBasedReads,
    /// Contexts of reads begin anew at each start, and a round that is asked again keeps its own.
    ReusedReadContext,
}

/// What a node is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Raft id of this replica, above zero.
    pub id: u64,
    /// Number of this start, never used before by this replica: part of each read's context.
    pub boot: u64,
    /// Seed of the election timeouts; the same for all replicas of a store.
    pub seed: u64,
    /// When a snapshot is due.
    pub snapshots: SnapshotPolicy,
    /// [`Deviation::None`] outside of simulations.
    #[doc(hidden)]
    pub deviation: Deviation,
}

impl Config {
    pub(crate) fn to_raft(&self, applied: u64) -> raft::Config {
        raft::Config {
            id: self.id,
            election_tick: ELECTION_TICKS,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied,
            max_size_per_msg: MESSAGE_BYTES,
            max_inflight_msgs: INFLIGHT_MESSAGES,
            // A leader that no majority answers steps down within two election periods.
            check_quorum: true,
            // A replica that was cut off asks first, instead of disturbing the others with a higher term.
            pre_vote: true,
            min_election_tick: ELECTION_TICKS,
            max_election_tick: MOST_ELECTION_TICKS,
            // Leases read stale in 148 of 200 partitions: a read always asks a quorum.
            read_only_option: match self.deviation {
                Deviation::LeaseBasedReads => ReadOnlyOption::LeaseBased,
                _ => ReadOnlyOption::Safe,
            },
            // Followers serve reads and watches, so they learn of a commit at once and not with the next entry.
            skip_bcast_commit: false,
            // The node proposes a whole batch of inputs as one message; raft's own batching has no size limit.
            batch_append: false,
            priority: 0,
            max_uncommitted_size: UNCOMMITTED_BYTES,
            max_committed_size_per_ready: COMMITTED_BYTES,
        }
    }

    /// The election timeout of a term, in ticks.
    pub(crate) fn election_timeout(&self, term: u64) -> usize {
        crate::election::timeout_ticks(self.seed, self.id, term, ELECTION_TICKS, MOST_ELECTION_TICKS)
    }

    /// The longest that raft accepts, in ticks.
    pub(crate) fn longest_election_timeout() -> usize {
        MOST_ELECTION_TICKS - 1
    }
}
