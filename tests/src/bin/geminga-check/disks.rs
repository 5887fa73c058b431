//! Checks of what lies on the disks of bookies.
use std::time::Duration;

use clap::Subcommand;
use daemon::Failure;
use tests::disk_full::{self, DiskFullRun};
use tests::space::{self, SpaceRun};

use crate::Place;

/// What has to do with the disks of bookies.
#[derive(Debug, Subcommand)]
pub(crate) enum Disks {
    /// Measures what giving space back costs and buys, with one bookie in this process. Takes some minutes and 2 GB.
    Space {
        /// MiB published into files that were used before.
        #[arg(long, default_value_t = 256)]
        flood_mib: u64,
        /// MiB of a segment.
        #[arg(long, default_value_t = 64)]
        segment_mib: u64,
        /// Ledgers that lie among each other.
        #[arg(long, default_value_t = 1000)]
        ledgers: u64,
        /// Entries of 1 KiB of each.
        #[arg(long, default_value_t = 1024)]
        entries: u64,
        /// Ledgers read at a time.
        #[arg(long, default_value_t = 16)]
        readers: u64,
        /// Seconds until a segment is rewritten.
        #[arg(long, default_value_t = 20)]
        rewrite_after_s: u64,
        #[command(flatten)]
        place: Place,
    },
    /// Fills small disks by a producer, reads, kills, deletes topics, and waits until writes go on by themselves: needs root, mounts file
    /// systems in memory.
    DiskFull {
        /// Three bookies, two brokers and etcd instead of standalone.
        #[arg(long)]
        cluster: bool,
        /// MiB of the disk of each bookie.
        #[arg(long, default_value_t = 512)]
        disk_mib: u64,
        /// Somebody else takes what the bookies leave, to the last block.
        #[arg(long)]
        to_the_last_block: bool,
        #[command(flatten)]
        place: Place,
    },
}

/// Runs one of them.
pub(crate) async fn run(check: Disks) -> Result<(), Failure> {
    match check {
        Disks::Space { flood_mib, segment_mib, ledgers, entries, readers, rewrite_after_s, place } => {
            let ground = place.prepare()?;
            let (flood_bytes, segment_bytes) = (flood_mib << 20, segment_mib << 20);
            let (rewrite_after, directory) = (Duration::from_secs(rewrite_after_s), ground.directory.clone());
            let run = SpaceRun { flood_bytes, segment_bytes, ledgers, entries, readers, rewrite_after, directory };
            let report = Box::pin(space::measure(&run)).await?;
            print!("{report}");
            match report.keeps_its_goals() {
                true => Ok(()),
                false => Err(Failure::internal("used files or sorted ledgers cost more than they should")),
            }
        }
        Disks::DiskFull { cluster, disk_mib, to_the_last_block, place } => {
            if let Some(obstacle) = disk_full::obstacle() {
                return Err(Failure::usage(format!("disk-full cannot run here: {obstacle}")));
            }
            let ground = place.prepare()?;
            let run = DiskFullRun { cluster, disk_mib, to_the_last_block, directory: ground.directory.clone() };
            let report = Box::pin(disk_full::fill_disks(&run)).await?;
            print!("{report}");
            match report.lost {
                0 => Ok(()),
                lost => Err(Failure::internal(format!("{lost} acknowledged messages are lost"))),
            }
        }
    }
}
