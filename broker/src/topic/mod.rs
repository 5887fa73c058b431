//! Topics that this broker has loaded.
//!
//! Owns: the registry of loaded topics, and one task per topic with its tail, its producers and the order of its messages.
//! Promises: receipts are answered in the order of the sends; a topic is loaded once, however many ask for it.
//! Never: touches a socket, or lets one topic wait for another.
mod error;
mod handle;
mod registry;
mod stats;

pub(crate) use error::TopicError;
pub(crate) use handle::{ResetTo, SubscribeAt, TopicHandle};
pub(crate) use registry::Topics;
pub(crate) use stats::*;
