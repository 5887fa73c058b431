//! Standalone loses power: its file system and the disk below it forget all that was not synced.
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use daemon::Failure;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Keeping, Load, Report};
use crate::cluster::Standalone;
use crate::deadline::under_load_for;

/// What the data lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum FileSystem {
    /// ext4
    Ext4,
    /// XFS
    Xfs,
}

/// How often and where.
#[derive(Debug, Clone)]
pub struct PowerRun {
    /// Losses of power.
    pub times: u32,
    /// Of the random moments.
    pub seed: u64,
    /// For the images, the mount points and output. Must be there.
    pub directory: PathBuf,
    /// What the data lies on.
    pub file_system: FileSystem,
    /// More environment for the server, for instance one that makes its syncs do nothing.
    pub environment: Vec<(String, String)>,
}

/// A file with a file system in it, mounted. Needs root.
#[derive(Debug)]
struct Mount {
    image: PathBuf,
    at: PathBuf,
    mounted: bool,
}

/// A disk with a cache that loses power: an image on a file system that is shut down. What the inner file system wrote to its
/// disk without a flush, directly or not, is in the outer one's memory, and gone with it.
#[derive(Debug)]
struct Disk {
    // Dropped in this order.
    inner: Mount,
    outer: Mount,
}

const OUTER_BYTES: &str = "6G";
const INNER_BYTES: &str = "4G";

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| Failure::usage(format!("{program}: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(Failure::internal(format!("{program} {}: {}: {said}", arguments.join(" "), output.status)))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("test directories have plain names")
}

impl Mount {
    fn make(image: PathBuf, bytes: &str, at: PathBuf, kind: FileSystem) -> Result<Self, Failure> {
        std::fs::create_dir_all(&at).map_err(Failure::internal)?;
        run("truncate", &["-s", bytes, text(&image)])?;
        match kind {
            FileSystem::Ext4 => run("mkfs.ext4", &["-q", "-F", text(&image)])?,
            FileSystem::Xfs => run("mkfs.xfs", &["-q", "-f", text(&image)])?,
        }
        let mut made = Self { image, at, mounted: false };
        made.mount()?;
        Ok(made)
    }

    fn mount(&mut self) -> Result<(), Failure> {
        run("mount", &["-o", "loop", text(&self.image), text(&self.at)])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), Failure> {
        run("umount", &[text(&self.at)])?;
        self.mounted = false;
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.mounted && self.unmount().is_err() {
            eprintln!("{} is still mounted", self.at.display());
        }
    }
}

impl Disk {
    fn make(directory: &Path, kind: FileSystem) -> Result<Self, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Err(Failure::usage("power loss needs root: it makes and mounts file systems of its own"));
        }
        let outer = Mount::make(directory.join("outer.img"), OUTER_BYTES, directory.join("outer"), FileSystem::Xfs)?;
        let inner = Mount::make(outer.at.join("disk.img"), INNER_BYTES, directory.join("disk"), kind)?;
        run("sync", &["--file-system", text(&outer.at)])?; // Power is lost later than this.
        Ok(Self { inner, outer })
    }

    /// From now on nothing reaches the outer image any more, and what was not flushed never will.
    fn cut_power(&self) -> Result<(), Failure> {
        run("xfs_io", &["-x", "-c", "shutdown", text(&self.outer.at)])
    }

    fn power_on(&mut self) -> Result<(), Failure> {
        self.inner.unmount()?;
        self.outer.unmount()?;
        self.outer.mount()?;
        self.inner.mount()
    }
}

/// Cuts the power at random moments while messages are published and acknowledged.
pub async fn lose_power(run: &PowerRun) -> Result<Report, Failure> {
    let mut rng = SmallRng::seed_from_u64(run.seed);
    let mut disk = Disk::make(&run.directory, run.file_system)?;
    let mut environment = vec![super::standalone::ROLLOVER];
    environment.extend(run.environment.iter().map(|(key, value)| (key.as_str(), value.as_str())));
    // Declared after the disk, so dropped before it is unmounted.
    let mut server = Standalone::start_with(&run.directory, &disk.inner.at.join("data"), &environment).await?;
    let load = Load::start(vec![server.address()], &server.admin(), Keeping::Everything, run.seed).await?;
    for time in 1..=run.times {
        load.receipts_grow_by(50, &format!("before power loss {time}")).await?;
        under_load_for(Duration::from_millis(rng.random_range(0..2000))).await;
        disk.cut_power()?;
        server.process().kill();
        disk.power_on()?;
        let took = server.restart().await?;
        load.restarted();
        println!("power loss {time} of {}: ready again after {:.3} s", run.times, took.as_secs_f64());
    }
    load.receipts_grow_by(50, "at the end").await?;
    load.finish().await
}
