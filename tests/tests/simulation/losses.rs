//! Disks that lose what was synced, though only what a start can see: how their bookies come back, and what becomes of it.
use std::sync::Arc;
use std::time::Duration;

use bookie::{Damaged, Disk, Identity, Options, SimDisk, Store};
use tokio::time::{Instant, sleep};

use crate::nodes::{Node, is_noted};
use crate::troubles::Troubled;
use crate::world::World;

/// The disk's blocks.
const BLOCK: usize = 4096;

impl Node {
    fn options(&self) -> Options {
        Options {
            segment_bytes: 64 << 10,
            cache_bytes: 1 << 20,
            rewrite_after: Duration::from_secs(5),
            rewrite_rate: 1 << 20,
            seed: self.chance.below(u64::MAX),
            reserve_bytes: 0,
            ..Options::default()
        }
    }

    /// Opens the disk, in limbo if something is lost. Metadata may be away for a while.
    pub(crate) async fn open(&self, disk: &SimDisk) -> Store {
        let options = self.options();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        if Identity::claim(shared.as_ref()).expect("it starts").is_none() {
            self.identity.store(shared.as_ref()).expect("it starts");
        }
        match Store::open(shared, &self.identity, options.clone()) {
            Ok(store) => return store,
            Err(error) if error.is_loss() => self.chance.note(format_args!("{}: {error}", self.identity.bookie)),
            Err(error) => panic!("it starts: {error}"),
        }
        let metadata = Troubled::new(self.metadata.clone(), self.chance.clone());
        loop {
            let damaged = Damaged::open(Arc::new(disk.clone()), &self.identity, options.clone()).expect("it starts");
            match damaged.enter(&metadata).await {
                Ok(store) => {
                    let ledgers = store.limbo().ledgers();
                    self.chance.saw("bookies that came back in limbo");
                    ledgers.iter().for_each(|_| self.chance.saw("ledgers in limbo"));
                    self.chance.note(format_args!("{} is in limbo about {ledgers:?}", self.identity.bookie));
                    return store;
                }
                Err(error) => self.chance.note(format_args!("{} cannot start: {error}", self.identity.bookie)),
            }
            sleep(self.chance.millis(100, 2000)).await;
        }
    }

    /// Ends limbo as the records allow, until the world ends.
    pub(crate) async fn leave_limbo(&self) {
        let metadata = Troubled::new(self.metadata.clone(), self.chance.clone());
        loop {
            sleep(Duration::from_secs(5)).await;
            let (life, limbo) = {
                let mut state = self.state.lock();
                (state.life, state.limbo.take())
            };
            let Some(mut limbo) = limbo else { continue };
            let _ = limbo.review(&metadata).await;
            let mut state = self.state.lock();
            if state.life != life {
                continue; // What was learned is of another life.
            }
            if limbo.leave().unwrap_or(false) {
                self.chance.saw("bookies that left limbo");
                self.chance.note(format_args!("{} has left limbo", self.identity.bookie));
            } else {
                state.limbo = Some(limbo);
            }
        }
    }

    /// Whether it may lack something, now or once it is back.
    pub(crate) fn is_in_limbo(&self) -> bool {
        let state = self.state.lock();
        state.starting || state.limbo.is_some() || is_noted(&state.disk)
    }

    /// Damages the disk of a bookie that is down, where its next start must find it. Says whether there was such a place.
    pub(crate) fn damage(&self) -> bool {
        let state = self.state.lock();
        if state.store.is_some() || state.starting {
            return false;
        }
        let attempt = state.disk.fork();
        let names = attempt.list().expect("it has power");
        let mut segments: Vec<&String> =
            names.iter().filter(|name| name.starts_with("segment-") || name.starts_with("sorted-")).collect();
        segments.reverse();
        // A start with that note is a start with a loss, whether or not it finds this one.
        if segments.is_empty() || is_noted(&attempt) {
            return false;
        }
        let change = |disk: &SimDisk, kind: u64, name: &str, at: u64| match kind {
            0 => disk.remove("manifest").and_then(|()| disk.sync_directory()).expect("it has power"),
            1 => disk.remove(name).and_then(|()| disk.sync_directory()).expect("it has power"),
            _ => disk.tamper(name, |bytes| {
                let blocks = (bytes.len() / BLOCK).max(1) as u64;
                let at = (at % blocks) as usize * BLOCK;
                let end = (at + BLOCK).min(bytes.len());
                bytes[at..end].fill(0x5a);
            }),
        };
        let segment = segments[self.chance.index(segments.len().min(3))].clone();
        let (kind, at) = (self.chance.below(12), self.chance.below(12));
        change(&attempt, kind, &segment, at);
        let shared: Arc<dyn Disk> = Arc::new(attempt.clone());
        let found = Store::open(shared, &self.identity, self.options());
        if !found.is_err_and(|error| error.is_loss()) {
            return false; // Like a tail that was torn: no disk may do that to what it had synced.
        }
        change(&state.disk, kind, &segment, at);
        self.chance.note(format_args!("{} loses something, {kind}: {segment}, {at}", self.identity.bookie));
        true
    }
}

impl World {
    /// One bookie after the other loses something, each when the one before it has made it good.
    pub(crate) async fn damage_bookies(self: &Arc<Self>, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            sleep(self.chance.millis(3000, 20_000)).await;
            if self.nodes.iter().any(|node| node.is_in_limbo()) {
                continue;
            }
            let node = &self.nodes[self.chance.index(self.nodes.len())];
            node.end(self.chance.happens(2));
            for _ in 0..10 {
                if node.damage() {
                    self.chance.saw("disks that lost what was synced");
                    break;
                }
            }
            self.come_back(node.number).await;
        }
    }
}
