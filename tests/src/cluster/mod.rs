//! Servers as processes on loopback, with free ports, in a directory that goes away with them.
//!
//! Promises: a process ends when its value is dropped, and also when the tests themselves are killed; a restart finds the
//! same data and the same ports; what a process printed is shown when it fails.
mod admin; // In the order of a cluster: its processes, what is made of them, how it is asked.
mod etcd;
mod forward;
mod nodes;
mod process;
mod servers;
mod standalone;
mod tools;

pub use admin::Admin;
pub use etcd::Etcd;
pub(crate) use etcd::free_port;
pub use forward::Forwarder;
pub use nodes::{Bookie, Broker, Cluster, Shape};
pub use process::{Process, Spending, binary, spending_of};
pub use servers::Servers;
pub use standalone::Standalone;
pub use tools::{Tool, java_tools, prometheus, python};
