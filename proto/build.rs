//! Compiles our `.proto` texts without an installed `protoc`.
use std::error::Error;

const FILES: [&str; 7] = [
    "pulsar/command.proto",
    "pulsar/message.proto",
    "bookie.proto",
    "records/ledger.proto",
    "records/topic.proto",
    "records/cursor.proto",
    "records/cluster.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let mut config = prost_build::Config::new();
    config.bytes(["."]); // Payloads are slices of the buffer they arrived in, never copies.
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
