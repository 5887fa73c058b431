//! Client connections: the Pulsar binary protocol.
//!
//! Owns: one task per socket, with its requests in flight and the names its client gave to producers and consumers.
//! Promises: every request is answered once; a client that misbehaves, stops reading or dies hurts nobody else.
//! Never: decodes a payload, or reserves memory for a size that a stranger claims.
mod accept; // In the order a command travels.
mod consumer;
mod errors;
mod greeting;
mod held;
mod inbound;
mod listing;
mod lookup;
mod producer;
mod refused;
mod schemas;
mod seek;
mod session;

pub(crate) use accept::serve;

#[cfg(test)]
mod tests;
