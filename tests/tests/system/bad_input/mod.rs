//! Bytes that no client sends. Each case: a typed error or a closed connection, no panic, and others are not disturbed.
//!
//! The sections are those of the list of bad inputs: A, the binary protocol, and D, administration. Where Apache Pulsar was asked, the
//! same table was given to it; the cases in which it answers otherwise say so. `BAD_INPUT_AT=HOST:PORT,HOST:PORT` gives the tables to
//! any server, of which the second address is its HTTP interface; it must allow the namespace `public/default` to be used.
mod bytes; // The tables of list A.
mod floods;
mod greeting;
mod ids;
mod names;
mod protobuf;
mod reading;
mod rest; // List D.
mod schemas;
mod sends;
mod subscribing;

mod raw; // What they are made with.
mod scene;

use std::time::{Duration, Instant};

use proto::entry;
use proto::frame::FRAME_BYTES_BEFORE_CONNECT;
use proto::pulsar::base_command::Type;
use proto::pulsar::command_subscribe::SubType;
use proto::pulsar::*;
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};
use tests::client::{ProducerId, Publisher};

use raw::{Raw, connect_frame, entry_frame, frame, producer_frame, send_frame, subscribe_frame};
use scene::{Case, Scene, TOPIC, case};

const SEED: u64 = 5;
