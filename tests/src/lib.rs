//! What the tests are made of: a client that counts, processes that can be killed, and the checks that `geminga-check` runs at full size.
//!
//! Owns: the tests' own Pulsar client, the harness of processes, the checkers.
//! Promises: a checker reports what it saw, with the seed that repeats its choices; every process it starts ends with it.
//! Never: shares code with the broker above crate `proto`, so that one mistake cannot hide on both sides.
pub mod backlog; // The checks, each a command and, smaller, a test.
pub mod client;
pub mod cluster; // The servers: processes on loopback.
pub mod compose; // The shipped compose file.
pub mod crash;
pub mod dashboards; // What the shipped dashboards ask.
pub mod deadline; // Waiting.
pub mod delayed; // Very many messages wait for their time.
pub mod disk_full;
pub mod fan_out; // Many subscriptions of one topic.
pub mod faults; // A table of them.
pub mod footprint; // What each process costs before anyone uses it.
pub mod fuzz; // Inputs that no client sends, and what they are given to.
pub mod goals; // What a measurement should reach.
pub mod heal; // Bookies are lost for good.
pub mod holes; // What is acknowledged stays so, and nothing else.
pub mod lines;
pub mod many_topics;
pub mod moves; // How long planned moves interrupt publishers.
pub mod offload_read; // Measures the broker's reader of objects itself.
pub mod plain; // Reads objects without our code, to compare with.
pub mod records; // Reads metadata beside a cluster.
pub mod space; // Measures one bookie in its own process.
pub mod speed;
pub mod tidy; // The house rules as functions over text.
pub mod tiering; // What lies in a store, and what reading it costs.
pub mod tiering_faults; // Kills standalone while its object store fails.
