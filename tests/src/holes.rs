//! Acknowledgements with holes between them outlive kills: none with a receipt is forgotten, none without that had 200 ms.
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::Failure;
use proto::Position;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::client::{ClientError, Delivery, Event, ProducerId, Publisher, Subscriber, Subscription};
use crate::cluster::Standalone;
use crate::deadline::under_load_for;

const TOPIC: &str = "persistent://public/default/holes";
const SUBSCRIPTION: &str = "acknowledges";
/// An acknowledgement without a receipt may be forgotten in a kill for so long.
const PLAIN_WINDOW: Duration = Duration::from_millis(200);
const MESSAGE_WITHIN: Duration = Duration::from_secs(60);
/// When nothing came for so long, nothing is owed.
const QUIET: Duration = Duration::from_secs(2);
const PERMITS: u32 = 10_000;
const RETRY_EVERY: Duration = Duration::from_millis(20);
/// Messages published whose receipts are not yet there.
const WINDOW: usize = 2000;
/// Message ids in one command.
const IDS: usize = 200;
/// Of all messages, this part at least is settled in each life, however short: on a slow machine, too, there is an end.
const SETTLED_MIN: usize = 20;
/// Acknowledgements by position whose receipts are not yet there.
const ASKED_WINDOW: usize = 20_000;

/// How much, how often and where.
#[derive(Debug, Clone)]
pub struct HolesRun {
    /// Messages.
    pub messages: usize,
    /// About so many of them are never acknowledged.
    pub holes: usize,
    /// Between two kills.
    pub kill_every: Duration,
    /// Acknowledge what is known to lie there, instead of what is delivered. Each life begins with the delivery of all holes: very many
    /// of them take longer than there is between two kills.
    pub by_position: bool,
    /// Of the random choices.
    pub seed: u64,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub struct HolesReport {
    /// Published.
    pub messages: usize,
    /// Kills, the last after everything was acknowledged.
    pub kills: u32,
    /// Left unacknowledged on purpose.
    pub holes: usize,
    /// Holes that came after the last kill.
    pub holes_found: usize,
    /// Messages that came after the last kill and were acknowledged.
    pub more_found: usize,
    /// Acknowledged with a receipt that came.
    pub receipts: usize,
    /// Of these, delivered again: a fault.
    pub receipts_broken: usize,
    /// Acknowledged without a receipt.
    pub plain: usize,
    /// Of these, delivered again although they were sent 200 ms or more before the kill: a fault.
    pub plain_broken: usize,
    /// Of these, delivered again, and sent later than that.
    pub plain_again: usize,
    /// Between the first message delivered and the last acknowledged.
    pub took: Duration,
}

impl HolesReport {
    /// What must not have happened.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.receipts_broken + self.plain_broken + self.more_found + self.holes.abs_diff(self.holes_found)
    }
}

impl fmt::Display for HolesReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { messages, kills, holes, holes_found, more_found, .. } = self;
        writeln!(f, "{messages} messages, {kills} kills, {:.1} s", self.took.as_secs_f64())?;
        writeln!(f, "acknowledged with receipt: {}, redelivered: {}", self.receipts, self.receipts_broken)?;
        let (plain, again) = (self.plain, self.plain_again);
        writeln!(
            f,
            "acknowledged without: {plain}, redelivered: {} sent 200 ms before a kill, {again} later",
            self.plain_broken
        )?;
        write!(f, "holes: {holes}, after the last kill {holes_found} of them came, and {more_found} others")
    }
}

/// What became of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unseen,
    Hole,
    /// Acknowledged without a receipt, so many milliseconds after the start.
    Plain(u32),
    /// A receipt was asked for.
    Asked,
    /// Its receipt may have been lost in a kill: it may come again, or not.
    Unknown,
    Receipt,
}

struct Book {
    began: Instant,
    /// Milliseconds after the start.
    kills: Vec<u32>,
    fates: Vec<Fate>,
    hole_in: f64,
    rng: SmallRng,
    unsettled: usize,
    /// Everything below was decided upon.
    next: usize,
    /// Of these, what is to be asked again.
    again: Vec<usize>,
    report: HolesReport,
}

/// How a message is to be acknowledged.
enum Wish {
    Leave,
    Plain,
    Receipt,
}

impl Book {
    fn new(run: &HolesRun) -> Self {
        Self {
            began: Instant::now(),
            kills: Vec::new(),
            fates: vec![Fate::Unseen; run.messages],
            hole_in: run.holes as f64 / run.messages as f64,
            rng: SmallRng::seed_from_u64(run.seed),
            unsettled: run.messages,
            next: 0,
            again: Vec::new(),
            report: HolesReport { messages: run.messages, ..Default::default() },
        }
    }

    fn now(&self) -> u32 {
        u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    fn killed(&mut self) {
        self.kills.push(self.now());
        self.report.kills += 1;
        for (number, fate) in self.fates.iter_mut().enumerate().filter(|(_, fate)| **fate == Fate::Asked) {
            *fate = Fate::Unknown;
            self.again.push(number);
            self.unsettled -= 1;
        }
    }

    /// The next to be acknowledged without a receipt and with one, in the order in which they lie.
    fn some(&mut self) -> (Vec<usize>, Vec<usize>) {
        let (mut plain, mut asked) = (Vec::new(), self.again.split_off(self.again.len().saturating_sub(IDS)));
        while plain.len() + asked.len() < IDS && self.next < self.fates.len() {
            let number = self.next;
            self.next += 1;
            match self.delivered(number) {
                Wish::Leave => {}
                Wish::Plain => plain.push(number),
                Wish::Receipt => asked.push(number),
            }
        }
        asked.iter().for_each(|number| self.asked(*number));
        (plain, asked)
    }

    /// Whether all that is to be acknowledged is.
    fn is_done(&self) -> bool {
        self.unsettled == 0 && self.again.is_empty()
    }

    /// Whether an acknowledgement without a receipt had its time before the kill that came next.
    fn had_its_time(&self, sent: u32) -> bool {
        let window = u32::try_from(PLAIN_WINDOW.as_millis()).unwrap_or(u32::MAX);
        let next = self.kills.get(self.kills.partition_point(|killed| *killed < sent));
        next.is_none_or(|killed| sent.saturating_add(window) <= *killed)
    }

    fn delivered(&mut self, number: usize) -> Wish {
        let (hole, plain) = (self.rng.random_bool(self.hole_in), self.rng.random_bool(0.5));
        match self.fates[number] {
            Fate::Unseen if hole => {
                self.fates[number] = Fate::Hole;
                self.report.holes += 1;
                self.unsettled -= 1;
                Wish::Leave
            }
            Fate::Unseen if plain => Wish::Plain,
            Fate::Unseen | Fate::Asked | Fate::Unknown => Wish::Receipt,
            Fate::Hole => Wish::Leave,
            Fate::Plain(sent) if self.had_its_time(sent) => {
                self.report.plain_broken += 1;
                Wish::Plain
            }
            Fate::Plain(_) => {
                self.report.plain_again += 1;
                Wish::Plain
            }
            Fate::Receipt => {
                self.report.receipts_broken += 1;
                Wish::Receipt
            }
        }
    }

    fn asked(&mut self, number: usize) {
        match self.fates[number] {
            Fate::Unknown => self.unsettled += 1,
            Fate::Unseen => {}
            Fate::Hole | Fate::Plain(_) | Fate::Asked | Fate::Receipt => return,
        }
        self.fates[number] = Fate::Asked;
    }

    /// Acknowledgements have left.
    fn sent(&mut self, numbers: &[usize]) {
        let now = self.now();
        for number in numbers {
            if !matches!(self.fates[*number], Fate::Plain(_)) {
                self.unsettled -= 1;
                self.report.plain += 1;
            }
            self.fates[*number] = Fate::Plain(now);
        }
    }

    fn answered(&mut self, numbers: impl Iterator<Item = usize>) {
        for number in numbers {
            if self.fates[number] != Fate::Receipt {
                self.unsettled -= 1;
                self.report.receipts += 1;
            }
            self.fates[number] = Fate::Receipt;
        }
    }
}

/// Publishes, acknowledges between kills, and reads what is left.
pub async fn keep_holes(run: &HolesRun) -> Result<HolesReport, Failure> {
    let mut server = Standalone::start(&run.directory).await?;
    let addresses = [server.address()];
    // The subscription is there before the first message: nothing leaves that it has not acknowledged.
    attach(&addresses, PERMITS).await?.close().await?;
    let positions = publish(run, &addresses).await?;
    let mut book = Book::new(run);
    loop {
        let all = match run.by_position {
            true => acknowledge_by_position(&addresses, &positions, &mut book, run.kill_every).await?,
            false => acknowledge(&addresses, &positions, &mut book, run.kill_every).await?,
        };
        if all {
            break;
        }
        kill(&mut server, &mut book).await?;
    }
    book.report.took = book.began.elapsed();
    under_load_for(PLAIN_WINDOW).await;
    kill(&mut server, &mut book).await?;
    drain(&addresses, &mut book).await?;
    Ok(book.report)
}

async fn kill(server: &mut Standalone, book: &mut Book) -> Result<(), Failure> {
    book.killed();
    server.process().kill();
    let took = server.restart().await?;
    println!("kill {}: ready again after {:.3} s", book.report.kills, took.as_secs_f64());
    Ok(())
}

async fn attach(addresses: &[String], permits: u32) -> Result<Subscriber, Failure> {
    let subscription = Subscription { permits, ..Subscription::durable(TOPIC, SUBSCRIPTION) };
    let (mut tries, end) = (tokio::time::interval(RETRY_EVERY), Instant::now() + MESSAGE_WITHIN);
    loop {
        tries.tick().await;
        match Subscriber::open(addresses, &subscription).await {
            Err(error) if error.passes() && Instant::now() < end => {}
            outcome => return Ok(outcome?),
        }
    }
}

/// Where each message lies.
async fn publish(run: &HolesRun, addresses: &[String]) -> Result<Vec<Position>, Failure> {
    let mut publisher = Publisher::open(addresses, TOPIC).await?;
    let mut positions = Vec::with_capacity(run.messages);
    for number in 0..run.messages as u64 {
        publisher.publish(ProducerId(0), &number.to_le_bytes());
        if WINDOW <= publisher.awaited() {
            settle(&mut publisher, WINDOW / 2, &mut positions).await?;
        }
    }
    settle(&mut publisher, 0, &mut positions).await?;
    publisher.close().await?;
    Ok(positions)
}

async fn settle(publisher: &mut Publisher, left: usize, positions: &mut Vec<Position>) -> Result<(), ClientError> {
    publisher.flush().await?;
    while left < publisher.awaited() {
        positions.push(publisher.receipt().await?.position);
    }
    Ok(())
}

fn number(message: &Delivery) -> Result<usize, Failure> {
    let bytes = message.payload[..].try_into().map_err(|_| Failure::internal("a message of another size"))?;
    usize::try_from(u64::from_le_bytes(bytes)).map_err(Failure::internal)
}

/// Between two kills: for so long, and until something is done.
struct Life {
    until: Instant,
    /// What may be unsettled at its end.
    owed: usize,
}

impl Life {
    fn begin(time: Duration, book: &Book) -> Self {
        let owed = book.unsettled.saturating_sub(book.fates.len() / SETTLED_MIN);
        Self { until: Instant::now() + time, owed }
    }

    fn is_over(&self, book: &Book) -> bool {
        self.until <= Instant::now() && book.unsettled <= self.owed
    }

    /// How long the next event is waited for.
    fn deadline(&self, book: &Book) -> Instant {
        if book.unsettled <= self.owed { self.until } else { Instant::now() + MESSAGE_WITHIN }
    }

    /// Nothing came any more.
    fn end(&self, book: &Book) -> Result<(), Failure> {
        match book.unsettled <= self.owed {
            true => Ok(()),
            false => Err(Failure::internal(format!("{} messages are owed and none comes", book.unsettled))),
        }
    }
}

/// Acknowledges what comes for so long. Whether everything is acknowledged that is to be.
async fn acknowledge(
    addresses: &[String],
    positions: &[Position],
    book: &mut Book,
    time: Duration,
) -> Result<bool, Failure> {
    let mut subscriber = attach(addresses, PERMITS).await?;
    let life = Life::begin(time, book);
    let (mut plain, mut asked) = (Vec::new(), Vec::new());
    while 0 < book.unsettled {
        if life.is_over(book) {
            return Ok(false); // A timeout alone would never end while there is always a message at hand.
        }
        let event = match tokio::time::timeout_at(life.deadline(book).into(), subscriber.next()).await {
            Err(_) => return life.end(book).map(|()| false),
            Ok(event) => event?,
        };
        match event {
            Event::Message(message) => {
                let number = number(&message)?;
                match book.delivered(number) {
                    Wish::Leave => {}
                    Wish::Plain => plain.push(number),
                    Wish::Receipt => {
                        book.asked(number);
                        asked.push(number);
                    }
                }
            }
            // Positions rise with numbers.
            Event::Acknowledged(answered) => {
                book.answered(answered.iter().filter_map(|position| positions.binary_search(position).ok()))
            }
        }
        let idle = !subscriber.has_event();
        if IDS <= plain.len() + asked.len() || (idle && !(plain.is_empty() && asked.is_empty())) {
            let at = |numbers: &[usize]| -> Vec<Position> { numbers.iter().map(|number| positions[*number]).collect() };
            if !plain.is_empty() {
                subscriber.acknowledge(&at(&plain));
            }
            if !asked.is_empty() {
                subscriber.acknowledge_with_receipt(at(&asked));
            }
            subscriber.flush().await?;
            book.sent(&plain);
            plain.clear();
            asked.clear();
        }
    }
    Ok(true)
}

/// Acknowledges one after the other for so long. Whether everything is acknowledged that is to be.
async fn acknowledge_by_position(
    addresses: &[String],
    positions: &[Position],
    book: &mut Book,
    time: Duration,
) -> Result<bool, Failure> {
    let mut subscriber = attach(addresses, 0).await?;
    let life = Life::begin(time, book);
    let mut awaited = 0;
    while !book.is_done() {
        if life.is_over(book) {
            return Ok(false);
        }
        let (plain, asked) = if awaited < ASKED_WINDOW { book.some() } else { Default::default() };
        let at = |numbers: &[usize]| -> Vec<Position> { numbers.iter().map(|number| positions[*number]).collect() };
        if !plain.is_empty() {
            subscriber.acknowledge(&at(&plain));
        }
        if !asked.is_empty() {
            subscriber.acknowledge_with_receipt(at(&asked));
            awaited += asked.len();
        }
        subscriber.flush().await?;
        book.sent(&plain);
        let mut waits = plain.is_empty() && asked.is_empty() && 0 < awaited;
        while waits || subscriber.has_event() {
            waits = false;
            match tokio::time::timeout_at(life.deadline(book).into(), subscriber.next()).await {
                Err(_) => return life.end(book).map(|()| false),
                Ok(Ok(Event::Acknowledged(answered))) => {
                    awaited -= answered.len();
                    book.answered(answered.iter().filter_map(|position| positions.binary_search(position).ok()));
                }
                Ok(Ok(Event::Message(_))) => return Err(Failure::internal("a message came without a permit")),
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }
    Ok(true)
}

/// Reads what the subscription still has.
async fn drain(addresses: &[String], book: &mut Book) -> Result<(), Failure> {
    let mut subscriber = attach(addresses, PERMITS).await?;
    loop {
        let patience = if book.report.holes_found < book.report.holes { MESSAGE_WITHIN } else { QUIET };
        match tokio::time::timeout(patience, subscriber.next()).await {
            Err(_) => return Ok(()),
            Ok(Ok(Event::Message(message))) => match book.fates[number(&message)?] {
                Fate::Hole => book.report.holes_found += 1,
                Fate::Unknown => {}
                Fate::Plain(sent) if !book.had_its_time(sent) => book.report.plain_again += 1,
                _ => book.report.more_found += 1,
            },
            Ok(Ok(Event::Acknowledged(_))) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}
