//! One connection: the loop around its socket.
use std::collections::{HashMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use proto::frame::FrameError;
use proto::pulsar::{BaseCommand, CommandError, CommandPing, ServerError};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::accept::House;
use super::consumer::{ConsumerOpened, ConsumerSlot};
use super::held::Held;
use super::inbound::Burst;
use super::listing::{WatcherOpened, WatcherSlot};
use super::producer::{ProducerOpened, ProducerSlot};
use crate::outbox::{Client, News, NextOwner, Outbox, Serial};

/// For CONNECT to arrive.
const GREETING: Duration = Duration::from_secs(10);
/// Silence after which the client is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Silence after which it is not.
const CLOSE_AFTER: Duration = Duration::from_secs(60);
/// How long reading may stop because of what a client has published, before one of its producers is closed.
const STALL_MAX: Duration = Duration::from_secs(10);
/// Unconfirmed bytes of one connection at which reading stops.
const UNCONFIRMED_MAX: usize = 16 * 1024 * 1024;
/// Answers that wait for a client which does not read them. Beyond it, it is not listened to.
const ANSWERS_MAX: usize = 4 * 1024 * 1024;
/// Requests of one connection that may be in flight.
const REQUESTS_MAX: usize = 5000;
/// Bounds of what one read asks for. It doubles while reads come back full, so that idle connections hold little.
const READ_BYTES: (usize, usize) = (4 * 1024, 256 * 1024);
/// Pieces that one write takes.
const WRITE_PIECES: usize = 128;
/// For the last bytes to a client that is told why it goes.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// For requests that were in flight when their connection ended, to find out what they brought about.
const LAST_REQUESTS: Duration = Duration::from_secs(30);
/// Producers that were closed and may still be sent to, for frames that crossed the news.
const FORMER_MAX: usize = 1024;

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Closed {
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("no CONNECT in time")]
    NoGreeting,
    #[error("silent for too long")]
    Silent,
    /// The client broke the protocol.
    #[error("{0}")]
    Protocol(&'static str),
    /// It was answered, and goes.
    #[error("refused: {0}")]
    Refused(&'static str),
    #[error("another connection took its place")]
    Replaced,
}

/// What a request brought.
pub(super) enum Done {
    Answer(Box<BaseCommand>),
    Producer(ProducerOpened),
    Consumer(ConsumerOpened),
    Watcher(WatcherOpened),
    Unsubscribed {
        request_id: u64,
        consumer_id: u64,
        serial: Serial,
    },
    /// It was about something that concerns no client any more.
    Nothing,
}

pub(super) type Request = BoxFuture<'static, Done>;

/// The state of one connection.
pub(super) struct Session {
    pub(super) house: House,
    pub(super) outbox: Outbox,
    pub(super) address: SocketAddr,
    /// Known once it has introduced itself.
    pub(super) client: Option<Arc<Client>>,
    /// Given back with the introduction.
    pub(super) stranger: Option<OwnedSemaphorePermit>,
    pub(super) producers: HashMap<u64, ProducerSlot>,
    pub(super) consumers: HashMap<u64, ConsumerSlot>,
    pub(super) watchers: HashMap<u64, WatcherSlot>,
    /// Producers that were closed lately.
    former: HashMap<u64, Instant>,
    pub(super) requests: FuturesUnordered<Request>,
    pub(super) burst: Burst,
    pub(super) held: Held,
    buffer: BytesMut,
    read_bytes: usize,
    writing: VecDeque<Bytes>,
    since: Instant,
    heard: Instant,
    pinged: bool,
    stalled: Option<Instant>,
}

impl Session {
    pub(super) fn new(house: House, address: SocketAddr, stranger: OwnedSemaphorePermit) -> Self {
        let now = Instant::now();
        Self {
            outbox: Outbox::new(house.budget.clone()),
            house,
            address,
            client: None,
            stranger: Some(stranger),
            producers: HashMap::new(),
            consumers: HashMap::new(),
            watchers: HashMap::new(),
            former: HashMap::new(),
            requests: FuturesUnordered::new(),
            burst: Burst::default(),
            held: Held::default(),
            buffer: BytesMut::new(),
            read_bytes: READ_BYTES.0,
            writing: VecDeque::new(),
            since: now,
            heard: now,
            pinged: false,
            stalled: None,
        }
    }

    /// Serves the client until it goes, misbehaves, or the broker closes.
    pub(super) async fn run(&mut self, stream: &TcpStream) -> Result<(), Closed> {
        let outbox = self.outbox.clone();
        let house = self.house.clone();
        // Made once: whoever waits anew in each round enters and leaves three lists of waiters per frame.
        let (mut replaced, mut closing) = (pin!(outbox.end_requested()), pin!(house.closing.cancelled()));
        let mut pushed = pin!(outbox.pushed());
        let mut timer = pin!(tokio::time::sleep_until(self.deadline()));
        loop {
            self.write(stream)?;
            let paused = self.is_paused();
            if self.deadline() < timer.deadline() {
                timer.as_mut().reset(self.deadline());
            }
            tokio::select! {
                () = &mut replaced => return Err(Closed::Replaced),
                () = &mut closing => return Ok(()),
                () = &mut pushed => pushed.set(outbox.pushed()),
                Some(done) = self.requests.next(), if !self.requests.is_empty() => self.done(done),
                ready = stream.writable(), if !self.writing.is_empty() => ready?,
                ready = stream.readable(), if !paused => {
                    ready?;
                    if !self.read(stream).await? {
                        return Ok(());
                    }
                    if !self.consumers.is_empty() {
                        confirm_receipt(stream);
                    }
                }
                () = house.budget.freed(), if paused => {}
                () = &mut timer => {
                    self.tick(paused).await?;
                    timer.as_mut().reset(self.deadline());
                }
            }
        }
    }

    // The socket.

    /// Reads once and handles every complete frame. `false` at the end of the stream.
    async fn read(&mut self, stream: &TcpStream) -> Result<bool, Closed> {
        self.buffer.reserve(self.read_bytes);
        let room = self.buffer.capacity() - self.buffer.len();
        match stream.try_read_buf(&mut self.buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                self.heard = Instant::now();
                self.pinged = false;
                self.outbox.heard();
                let (least, most) = READ_BYTES;
                if count == room {
                    self.read_bytes = (self.read_bytes * 2).min(most);
                } else {
                    note_drained(stream);
                    if count < self.read_bytes / 4 {
                        self.read_bytes = (self.read_bytes / 2).max(least);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        self.frames(&mut buffer).await?;
        if !buffer.is_empty() {
            self.buffer = buffer;
        }
        Ok(true)
    }

    /// Writes what waits, as far as the socket takes it now.
    fn write(&mut self, stream: &TcpStream) -> Result<(), Closed> {
        let (news, probing) = self.outbox.take(&mut self.writing);
        self.hear(news);
        if probing && !self.pinged && self.client.is_some() {
            self.pinged = true;
            self.outbox.send(CommandPing {});
            let (news, _) = self.outbox.take(&mut self.writing);
            self.hear(news);
        }
        while !self.writing.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_PIECES];
            let filled =
                slices.iter_mut().zip(&self.writing).map(|(slice, piece)| *slice = IoSlice::new(piece)).count();
            match stream.try_write_vectored(&slices[..filled]) {
                Ok(count) => {
                    self.outbox.written(count);
                    advance(&mut self.writing, count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    // Time.

    fn deadline(&self) -> Instant {
        let alive = match &self.client {
            None => self.since + GREETING,
            Some(_) if self.pinged => self.heard + CLOSE_AFTER,
            Some(_) => self.heard + PING_AFTER,
        };
        let stalled = self.stalled.map(|since| since + STALL_MAX);
        [stalled, self.held.due()].into_iter().flatten().fold(alive, Instant::min)
    }

    async fn tick(&mut self, paused: bool) -> Result<(), Closed> {
        let now = Instant::now();
        if self.client.is_none() {
            return if self.since + GREETING <= now { Err(Closed::NoGreeting) } else { Ok(()) };
        }
        if self.held.due().is_some_and(|due| due <= now) {
            self.held.release(self.house.context.clock.now_ms(), &mut self.burst);
            self.hand_over().await;
        }
        if self.stalled.is_some_and(|since| since + STALL_MAX <= now) {
            self.close_fullest().await;
        }
        if paused {
            self.heard = now; // Nobody listened: silence proves nothing.
        } else if self.heard + CLOSE_AFTER <= now {
            return Err(Closed::Silent);
        } else if self.heard + PING_AFTER <= now && !self.pinged {
            self.pinged = true;
            self.outbox.send(CommandPing {});
        }
        Ok(())
    }

    /// Whether reading must stop for now.
    fn is_paused(&mut self) -> bool {
        let unconfirmed = self.outbox.unconfirmed_bytes();
        // A connection that publishes nothing reads on even when others have filled the broker's budget.
        let full = UNCONFIRMED_MAX <= unconfirmed || (0 < unconfirmed && self.house.budget.is_full());
        self.stalled = if full { self.stalled.or_else(|| Some(Instant::now())) } else { None };
        full || self.held.is_full() || ANSWERS_MAX <= self.outbox.waiting_bytes()
    }

    /// Whoever holds the budget for too long goes, so that the rest of the connection is served again.
    async fn close_fullest(&mut self) {
        let Some(serial) = self.outbox.fullest() else { return };
        for (producer_id, slot) in &self.producers {
            if let ProducerSlot::Open(producer) = slot
                && producer.serial == serial
            {
                tracing::warn!(address = %self.address, producer = producer.attached.name, "closed: its messages are not confirmed in time");
                producer.topic.detach(serial).await;
                self.outbox.push(|push| push.send_producer_away(*producer_id, serial, &NextOwner::default()));
                return;
            }
        }
        self.outbox.write_off(serial); // It is gone already.
    }

    // Requests.

    /// Takes on a request. One that is too many is answered at once, and `false`.
    pub(super) fn request(&mut self, request_id: u64, request: impl Future<Output = Done> + Send + 'static) -> bool {
        let room = self.requests.len() < REQUESTS_MAX;
        if room {
            self.requests.push(Box::pin(request));
        } else {
            self.error(request_id, ServerError::TooManyRequests, "Failed due to too many pending requests");
        }
        room
    }

    pub(super) fn error(&self, request_id: u64, error: ServerError, text: impl Into<String>) {
        self.outbox.send(CommandError { request_id, error: error.into(), message: text.into() });
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Answer(command) => self.outbox.send(*command),
            Done::Producer(opened) => self.producer_opened(opened),
            Done::Consumer(opened) => self.consumer_opened(opened),
            Done::Watcher(opened) => self.watcher_opened(opened),
            Done::Unsubscribed { request_id, consumer_id, serial } => {
                self.unsubscribed(request_id, consumer_id, serial);
            }
            Done::Nothing => {}
        }
    }

    /// Notes what topics and subscriptions have decided about this client, before it can know.
    fn hear(&mut self, news: Vec<News>) {
        for one in news {
            match one {
                News::ProducerSentAway { producer_id, serial } => self.producer_sent_away(producer_id, serial),
                News::ConsumerSentAway { consumer_id, serial } => self.consumer_sent_away(consumer_id, serial),
                News::ProducerTurn { producer_id, serial, turn } => self.producer_turn(producer_id, serial, turn),
            }
        }
    }

    /// Remembers a producer that is no more.
    pub(super) fn note_former(&mut self, producer_id: u64) {
        let now = Instant::now();
        if FORMER_MAX <= self.former.len() {
            self.former.retain(|_, closed| now < *closed + PING_AFTER);
        }
        if self.former.len() < FORMER_MAX {
            self.former.insert(producer_id, now);
        }
    }

    /// Whether frames for a producer may have crossed the news that it was closed.
    pub(super) fn is_former(&self, producer_id: u64) -> bool {
        self.former.get(&producer_id).is_some_and(|closed| Instant::now() < *closed + PING_AFTER)
    }

    /// A name for a producer or consumer.
    pub(super) fn serial(&self) -> Serial {
        self.house.context.topics.serial()
    }

    // The end.

    /// Says the last words, takes leave of all topics, and finds out what requests in flight brought about.
    pub(super) async fn leave(mut self, stream: TcpStream) {
        let last = async {
            while self.write(&stream).is_ok() && !self.writing.is_empty() && stream.writable().await.is_ok() {}
        };
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
        drop(stream);
        self.outbox.close();
        self.take_leave().await;
        self.outbox.ended();
        let rest = async {
            while let Some(done) = self.requests.next().await {
                self.done(done);
                self.take_leave().await;
            }
        };
        let _ = tokio::time::timeout(LAST_REQUESTS, rest).await;
    }

    async fn take_leave(&mut self) {
        self.watchers.clear();
        for (_, slot) in self.producers.extract_if(|_, slot| matches!(slot, ProducerSlot::Open(_))).collect::<Vec<_>>()
        {
            if let ProducerSlot::Open(producer) = slot {
                self.outbox.write_off(producer.serial);
                producer.topic.detach(producer.serial).await;
            }
        }
        for (_, slot) in self.consumers.extract_if(|_, slot| matches!(slot, ConsumerSlot::Open(_))).collect::<Vec<_>>()
        {
            if let ConsumerSlot::Open(consumer) = slot {
                consumer.handle.detach().await;
            }
        }
    }
}

/// Spares the read that would only say that nothing is there: one that was not filled has emptied the socket. What comes later
/// makes it readable again, and the end of the stream, once seen, stays seen.
fn note_drained(stream: &TcpStream) {
    let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
}

/// Tells the peer's TCP at once that its bytes arrived. Acks and permits have no answer that could carry that, and the system waits
/// 40 ms for one; a client that does not set `TCP_NODELAY` (crate `pulsar`) holds the permits behind its acks back that long.
#[cfg(target_os = "linux")]
fn confirm_receipt(stream: &TcpStream) {
    let _ = stream.set_quickack(true); // A slower client is no reason to lose it.
}

#[cfg(not(target_os = "linux"))]
fn confirm_receipt(_: &TcpStream) {}

fn advance(writing: &mut VecDeque<Bytes>, mut count: usize) {
    while 0 < count {
        let front = writing.front_mut().expect("no more is written than there was");
        if count < front.len() {
            front.advance(count);
            return;
        }
        count -= front.len();
        writing.pop_front();
    }
}
