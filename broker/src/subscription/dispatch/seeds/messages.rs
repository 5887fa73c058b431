//! What the model knows of messages in chunks: all of one go to one consumer, in order.
use super::*;

/// One message.
struct Message {
    count: u32,
    key: u32,
    due: Option<u64>,
    /// How many of its chunks there are.
    next: u32,
    /// Its chunks by their numbers.
    places: Vec<(u32, Position)>,
}

struct Home {
    serial: Serial,
    /// It was sent the last chunk.
    complete: bool,
}

/// All of them, by number.
#[derive(Default)]
pub(super) struct Messages {
    all: Vec<Message>,
    /// Of which message.
    chunks: BTreeMap<Position, u32>,
    /// Of Shared subscriptions: who has begun with a message.
    homes: BTreeMap<u32, Home>,
}

impl Messages {
    pub(super) fn begin(&mut self, count: u32, key: u32, due: Option<u64>) -> u32 {
        self.all.push(Message { count, key, due, next: 0, places: Vec::new() });
        self.all.len() as u32 - 1
    }

    /// Those of which more is to come.
    pub(super) fn begun(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.all).filter(|(_, message)| message.next < message.count).map(|(number, _)| number)
    }

    /// Number, count, key and time of the next chunk.
    pub(super) fn next(&mut self, message: u32) -> (u32, u32, u32, Option<u64>) {
        let message = &mut self.all[message as usize];
        message.next += 1;
        (message.next - 1, message.count, message.key, message.due)
    }

    pub(super) fn published(&mut self, message: u32, number: u32, position: Position) {
        let of = &mut self.all[message as usize];
        of.places.push((number, position));
        self.chunks.insert(position, message);
    }

    fn message(&self, at: Position) -> Option<&Message> {
        self.chunks.get(&at).map(|message| &self.all[*message as usize])
    }

    pub(super) fn are_of_one(&self, one: Position, other: Position) -> bool {
        self.chunks.get(&one).is_some_and(|message| self.chunks.get(&other) == Some(message))
    }

    /// The other unacknowledged chunks of the same message.
    pub(super) fn others(
        &self,
        of: Position,
        unacked: &BTreeMap<Position, u32>,
    ) -> impl Iterator<Item = Position> + Clone {
        let places = self.message(of).map(|message| message.places.as_slice()).unwrap_or_default();
        places.iter().map(|(_, at)| *at).filter(move |at| *at != of && unacked.contains_key(at))
    }

    /// Whether there is a chunk of its message that is not published, or of which nobody has a copy: a client acknowledges whole messages.
    pub(super) fn is_incomplete(&self, at: Position, world: &World) -> bool {
        let Some(message) = self.message(at) else { return false };
        let is_free = |at: &Position| world.unacked.contains_key(at) && !world.held.contains_key(at);
        (0..message.count).any(|number| {
            let mut copies = message.places.iter().filter(|(of, _)| *of == number);
            copies.all(|(_, at)| is_free(at))
        })
    }

    /// Who must get the rest of its message.
    pub(super) fn home(&self, at: Position) -> Option<Serial> {
        self.homes.get(self.chunks.get(&at)?).map(|home| home.serial)
    }

    pub(super) fn left(&mut self, serial: Serial) {
        self.homes.retain(|_, home| home.serial != serial);
    }

    pub(super) fn given_back(&mut self, at: Position) {
        if let Some(message) = self.chunks.get(&at) {
            self.homes.remove(message);
        }
    }

    /// Of messages that were delivered to their end and acknowledged, nothing is left to come.
    pub(super) fn forget_complete(&mut self, held: &BTreeMap<Position, Serial>) {
        let Self { all, homes, .. } = self;
        let is_held = |message: &u32| all[*message as usize].places.iter().any(|(_, at)| held.contains_key(at));
        homes.retain(|message, home| !home.complete || is_held(message));
    }

    /// A chunk goes to who has or had the others, behind those before it. `true`: it does so although its key is another's now.
    pub(super) fn check_delivery(
        &mut self,
        seed: u64,
        bench: &Bench,
        delivery: &Delivery,
        unacked: &BTreeMap<Position, u32>,
        held: &BTreeMap<Position, Serial>,
    ) -> bool {
        let (position, serial) = (delivery.position, delivery.consumer);
        let Some(number) = self.chunks.get(&position).copied() else { return false };
        let others: Vec<Position> = self.others(position, unacked).collect();
        let astray = others.iter().find(|at| held.get(at).is_some_and(|holder| *holder != serial));
        assert_eq!(astray, None, "seed {seed}: {position} to {serial:?}, who has not the others");
        let late = others.iter().find(|at| **at < position && !held.contains_key(at));
        assert_eq!(late, None, "seed {seed}: {position} before the chunk in front of it");
        if let Some(keys) = &bench.dispatch.keys {
            let continues = others.iter().any(|at| held.contains_key(at));
            return continues && keys.slots().owner(keys.slots().slot_of(&delivery.entry)) != Some(serial);
        }
        assert!(
            self.home(position).is_none_or(|home| home == serial),
            "seed {seed}: {position} to {serial:?}, not home"
        );
        let message = &self.all[number as usize];
        let chunk = message.places.iter().find(|(_, at)| *at == position).map(|(chunk, _)| *chunk);
        let before = self.homes.get(&number).is_some_and(|home| home.complete);
        let complete = chunk == Some(message.count - 1) || (before && chunk != Some(0));
        self.homes.insert(number, Home { serial, complete });
        false
    }
}
