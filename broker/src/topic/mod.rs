//! Topics that this broker has loaded.
//!
//! Owns: the registry of loaded topics, and one task per topic with its tail, its producers and the order of its messages.
//! Promises: receipts are answered in the order of the sends; a topic is loaded once, however many ask for it.
//! Never: touches a socket, or lets one topic wait for another.
mod access; // Who may publish beside whom,
mod analysis;
mod arrivals;
mod backlog;
mod compaction;
mod errands;
mod error;
mod handle; // What others ask,
mod idle;
mod limits;
mod messages;
mod non_persistent; // Where nothing is stored.
mod offloads;
mod producers; // and who answers:
mod properties;
mod publishing;
mod registry;
mod remember;
mod sequences; // and what was published,
mod task;
mod terminate;

pub(crate) use crate::stats::*;
pub(crate) use crate::subscription::SubscribeAt;
pub(crate) use analysis::Analysis;
pub(crate) use backlog::Excess;
pub(crate) use compaction::CompactionProgress;
pub(crate) use error::TopicError;
pub(crate) use handle::{ConsumerWanted, TopicHandle};
pub(crate) use idle::Idle;
pub(crate) use messages::{Expired, From};
pub(crate) use offloads::OffloadProgress;
#[cfg(test)]
pub(crate) use producers::ProducerReply;
pub(crate) use producers::{AttachProducer, Leaving, ProducerAttached, Publish, Refusal};
pub(crate) use registry::{TopicSetup, Topics};
pub(crate) use sequences::Stamp;

/// Where an existing subscription goes.
pub(crate) type ResetTo = SubscribeAt;
