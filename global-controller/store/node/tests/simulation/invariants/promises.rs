//! No promise leaves a replica before what it promises is synced to its disk.

use store_node::{Message, MessageType};

use super::Check;
use crate::disk::Contents;

pub fn check(messages: &[Message], durable: &Contents) -> Check {
    messages.iter().try_for_each(|message| kept(message, durable))
}

fn kept(message: &Message, durable: &Contents) -> Check {
    let hard_state = &durable.hard_state;
    // A message that waited while its replica went on to a later term, and that is on disk, promises nothing new: the
    // replica can only come back in the later term.
    let past = hard_state.term > message.term;
    let present = hard_state.term == message.term;
    let fits = match message.get_msg_type() {
        // Asks and answers in the name of a term that nobody is in yet.
        MessageType::MsgRequestPreVote | MessageType::MsgRequestPreVoteResponse => true,
        MessageType::MsgRequestVote => past || (present && hard_state.vote == message.from),
        MessageType::MsgRequestVoteResponse if !message.reject => past || (present && hard_state.vote == message.to),
        MessageType::MsgAppendResponse if !message.reject => past || (present && durable.reaches(message.index)),
        // Whoever speaks in a term must never fall back behind it.
        _ => past || present,
    };
    if fits {
        return Ok(());
    }
    let (kind, from, to) = (message.get_msg_type(), message.from, message.to);
    let (term, index) = (message.term, message.index);
    let last = durable.entries.last().map(|entry| entry.index);
    Err(format!(
        "{kind:?} from {from} to {to} of term {term} for index {index}, synced is {hard_state:?} up to {last:?}"
    ))
}
