//! What subscriptions have acknowledged, in memory and in ledgers.
//!
//! Owns: the set of acknowledged positions of a subscription, and the one cursor log of a topic.
//! Promises: what was answered survives any crash; nothing acknowledged is ever cut off to save room.
//! Never: decides what is sent to whom.
mod ackset;
mod log;

pub(crate) use ackset::{AckDelta, AckSet};
pub(crate) use log::{AckReceipt, CursorLog, Room};
