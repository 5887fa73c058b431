//! The broker: connections, topics, subscriptions, and each topic's chain of ledgers. It has no disk.
#![allow(dead_code)] // Until the rooms are joined in `serve`.
mod connection; // In the order a message travels.
mod subscription;
mod topic;
