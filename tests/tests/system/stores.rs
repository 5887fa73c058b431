//! Small versions of the checks on tiered storage, with a real S3 server.
use std::path::{Path, PathBuf};

use tests::cluster::{binary, python, s3_server};
use tests::tiering::{ReadingRun, StoreKind, TieringRun, move_and_read_back, read_as_consumers};
use tokio::process::Command;

use crate::directory;
use crate::programs::run;

/// Waiting for bookies to forget takes most of the time, whatever the size.
fn tiering(cluster: bool, store: StoreKind, directory: &Path) -> TieringRun {
    TieringRun {
        cluster,
        store,
        bytes: 24_000_000,
        topics: 2,
        message_bytes: 16 * 1024,
        resident_bytes_max: 512 << 20,
        seed: 7,
        directory: directory.into(),
    }
}

#[tokio::test]
async fn standalone_reads_from_a_real_store_what_no_bookie_has() {
    if python().or_say_so().is_none() || s3_server().or_say_so().is_none() {
        return;
    }
    let place = directory();
    let report = move_and_read_back(&tiering(false, StoreKind::S3, place.path())).await.expect("all came back");
    assert!(20_000_000 < report.bytes && 2 <= report.objects, "{report}");
}

#[tokio::test]
async fn a_cluster_reads_from_a_real_store_what_no_bookie_has() {
    if python().or_say_so().is_none() || s3_server().or_say_so().is_none() {
        return;
    }
    let place = directory();
    let report = move_and_read_back(&tiering(true, StoreKind::S3, place.path())).await.expect("all came back");
    assert!(20_000_000 < report.bytes && 2 <= report.objects, "{report}");
}

/// Goal: consumers that read the same part of a topic together ask the store hardly more than one does. Rates are not judged here.
#[tokio::test]
async fn consumers_together_ask_the_store_as_one_does() {
    let place = directory();
    let run = ReadingRun {
        store: StoreKind::Directory,
        bytes: 96 << 20,
        message_bytes: 64 * 1024,
        readers: vec![1, 4],
        apart: 4,
        apart_bytes: Some(4 << 20),
        directory: place.path().into(),
    };
    let report = read_as_consumers(&run).await.expect("all was read");
    assert!(report.goals.met("GETs per GET"), "{report}");
}

/// Goal: README's section is true to the letter. Its ports are its own here: the commands see another network than everybody else.
#[tokio::test]
async fn the_three_commands_of_readme_do_what_it_says() {
    if s3_server().or_say_so().is_none() {
        return;
    }
    let place = directory();
    let apart = ["-rn", "--pid", "--fork", "--kill-child", "--"];
    if !Command::new("unshare").args(apart).arg("true").status().await.is_ok_and(|status| status.success()) {
        eprintln!("NOT RUN  three commands: `unshare` may not make a network here");
        return;
    }
    // Loopback is down in a new network. 0x8914 sets an interface's flags, 1 is "up".
    let up = "import fcntl, os, socket, struct, sys\n\
              fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh22x', b'lo', 1))\n\
              os.execv(sys.argv[1], sys.argv[1:])";
    let readme = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let mut command = Command::new("unshare");
    command.args(apart).args(["python3", "-c", up]).arg(binary("geminga-check").expect("it is built"));
    command.args(["three-commands", "--installed", "--readme"]).arg(readme).arg("--directory").arg(place.path());
    let printed = run(command).await;
    assert!(printed.contains("read back"), "{printed}");
}
