//! Servers as processes on loopback, with free ports, in a directory that goes away with them.
//!
//! Promises: a process ends when its value is dropped, and also when the tests themselves are killed; a restart finds the
//! same data and the same ports; what a process printed is shown when it fails.
mod admin; // In the order of a cluster: its processes, what is made of them, how it is asked.
mod etcd;
mod http_proxy;
mod network;
mod nodes;
mod ports;
mod process;
mod proxy;
mod s3;
mod servers;
mod standalone;
mod tools;

pub use admin::Admin;
pub use etcd::Etcd;
pub use http_proxy::{Effect, Fate, HttpProxy, Rule, Seen};
pub use network::{Host, Network};
pub use nodes::{Bookie, Broker, Cluster, Shape};
pub(crate) use ports::free_row;
pub use process::{Process, Spending, binary, spending_of};
pub use proxy::{Faults, Flow, Passed, Proxy};
pub use s3::{BUCKET, S3};
pub use servers::Servers;
pub use standalone::Standalone;
pub use tools::{Tool, java_tools, networks, prometheus, python, s3_server};
