//! `geminga consume`: messages become bytes on stdout.
//!
//! Promises: what is acknowledged was written before; the order is the topic's (of each partition); a message is written once,
//! however often the connection is made anew. With `-n` or `--end` it ends well only when all of that was written.
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, IsTerminal};
use std::task::Poll;
use std::time::{Duration, Instant};

use daemon::{Drain, Failure};
use futures::{FutureExt, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use pulsar::consumer::{InitialPosition, Message};
use pulsar::proto::MessageIdData;
use pulsar::{Consumer, ConsumerOptions, Pulsar, SubType, TokioExecutor};
use tokio::io::{AsyncWriteExt, Stdout};
use tokio::time::{sleep, timeout};

use crate::address::BrokerUrl;
use crate::client;
use crate::produce::summary;
use crate::tail::{Position, Tail, Verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What to read; `demo` is short for persistent://public/default/demo
    topic: String,
    /// Read through this durable subscription and acknowledge what was written; otherwise nothing is kept
    #[arg(short = 's', long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    subscription: Option<String>,
    /// A new subscription starts with the first message instead of the next one
    #[arg(long)]
    earliest: bool,
    /// Stop after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    number: Option<u64>,
    /// Stop after the last message that is there now
    #[arg(long)]
    end: bool,
    /// Write payloads only, without a line feed after each
    #[arg(long)]
    raw: bool,
}

/// Messages that a broker may send ahead. They may be of five megabytes each.
const AHEAD_MESSAGES: u32 = 100;
const WRITE_BYTES: usize = 256 << 10;
/// How often a silent topic is asked whether anything is left before the end.
const SILENCE: Duration = Duration::from_secs(1);
/// The longest silence before the end.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const CLOSE_TIME_MAX: Duration = Duration::from_secs(5);

pub(crate) async fn run(arguments: Arguments, url: &BrokerUrl, drain: Drain) -> Result<(), Failure> {
    let pulsar = client::connect(url).await?;
    let mut reader = Reader::open(&pulsar, &arguments).await?;
    let start = Instant::now();
    let mut output = Output::new(arguments.raw);
    let outcome = read(&mut reader, &mut output, &arguments, &drain).await;
    output.progress.finish_and_clear();
    let closed = timeout(CLOSE_TIME_MAX, reader.close()).await;
    let outcome = match outcome {
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::OutputClosed) => return Ok(()), // Whoever read had enough.
        Ok(()) => {
            closed.unwrap_or_else(|_| Err(Failure::try_again("the broker did not take the acknowledgements in time")))
        }
    };
    if outcome.is_ok() && !(io::stdout().is_terminal() && io::stderr().is_terminal()) {
        eprintln!("{}", summary("read", output.messages, output.bytes, start.elapsed()));
    }
    outcome
}

/// Why reading ended before its end.
enum Stop {
    Failed(Failure),
    /// For instance `head`, which has left.
    OutputClosed,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn read(reader: &mut Reader, output: &mut Output, arguments: &Arguments, drain: &Drain) -> Result<(), Stop> {
    let complete = |output: &Output| arguments.number.is_some_and(|number| number <= output.messages);
    if arguments.end {
        reader.ask_what_is_left().await;
    }
    let mut silent = Duration::ZERO;
    while !reader.is_at_end() && !complete(output) {
        let ready = reader.next().now_or_never();
        let next = match ready {
            Some(next) => Some(next),
            None => {
                output.flush().await?;
                reader.acknowledge().await?;
                tokio::select! {
                    () = drain.requested() => break,
                    next = reader.next() => Some(next),
                    () = sleep(SILENCE), if arguments.end => None,
                }
            }
        };
        let Some(next) = next else {
            silent += SILENCE;
            reader.ask_what_is_left().await;
            if SILENCE_MAX <= silent && !reader.is_at_end() {
                let message = format!("nothing came for {} s, and the end is not reached", silent.as_secs());
                return Err(Failure::try_again(message).into());
            }
            continue;
        };
        silent = Duration::ZERO;
        if let Some(message) = next? {
            output.take(&message.payload.data);
        }
        if WRITE_BYTES <= output.buffer.len() {
            output.flush().await?;
            reader.acknowledge().await?;
        }
    }
    output.flush().await?;
    reader.acknowledge().await?;
    let wanted = arguments.end && !reader.is_at_end() && !complete(output);
    if wanted || arguments.number.is_some() && !arguments.end && !complete(output) {
        return Err(Failure::internal(format!("interrupted after {} messages, before the end", output.messages)).into());
    }
    Ok(())
}

/// Stdout, in large pieces.
struct Output {
    stdout: Stdout,
    buffer: Vec<u8>,
    raw: bool,
    progress: ProgressBar,
    messages: u64,
    bytes: u64,
}

impl Output {
    fn new(raw: bool) -> Self {
        let shown = io::stderr().is_terminal() && !io::stdout().is_terminal();
        let style = ProgressStyle::with_template("{spinner} {bytes}  {bytes_per_sec}");
        let progress = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
        let progress = progress.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self {
            stdout: tokio::io::stdout(),
            buffer: Vec::with_capacity(2 * WRITE_BYTES),
            raw,
            progress,
            messages: 0,
            bytes: 0,
        }
    }

    fn take(&mut self, payload: &[u8]) {
        self.buffer.extend_from_slice(payload);
        if !self.raw {
            self.buffer.push(b'\n');
        }
        self.messages += 1;
        self.bytes += payload.len() as u64;
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = async {
            self.stdout.write_all(&self.buffer).await?;
            self.stdout.flush().await
        };
        written.await.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Stop::OutputClosed,
            _ => Stop::Failed(Failure::internal(format!("cannot write to stdout: {error}"))),
        })?;
        self.progress.inc(self.buffer.len() as u64);
        self.buffer.clear();
        Ok(())
    }
}

/// A topic, or one partition of it.
struct Part {
    consumer: Consumer<Vec<u8>, TokioExecutor>,
    topic: String,
    tail: Tail,
}

/// All partitions of a topic.
struct Reader {
    parts: Vec<Part>,
    /// Where polling goes on, so that no partition waits for another.
    turn: usize,
}

impl Reader {
    async fn open(pulsar: &Pulsar<TokioExecutor>, arguments: &Arguments) -> Result<Self, Failure> {
        let what = format!("reading {}", arguments.topic);
        let count = pulsar.lookup_partitioned_topic_number(&arguments.topic).await;
        let count = count.map_err(|error| client::failure(&what, &error))?;
        let topics = match count {
            0 => vec![arguments.topic.clone()],
            _ => (0..count).map(|number| format!("{}-partition-{number}", arguments.topic)).collect(),
        };
        // A name that nobody else has. Nothing depends on what it is.
        let nameless = format!("geminga-consume-{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut parts = vec![];
        for topic in topics {
            parts.push(
                Part::open(pulsar, topic, arguments, &nameless)
                    .await
                    .map_err(|error| client::failure(&what, &error))?,
            );
        }
        Ok(Self { parts, turn: 0 })
    }

    /// The next message to write, or `None` when there was one that is not. Cancel safe.
    async fn next(&mut self) -> Result<Option<Message<Vec<u8>>>, Failure> {
        let count = self.parts.len();
        let (index, message) = std::future::poll_fn(|context| {
            for step in 0..count {
                let index = (self.turn + step) % count;
                let part = &mut self.parts[index];
                if part.tail.is_at_end() {
                    continue;
                }
                if let Poll::Ready(message) = part.consumer.poll_next_unpin(context) {
                    return Poll::Ready((index, message));
                }
            }
            Poll::Pending
        })
        .await;
        self.turn = (index + 1) % count;
        let part = &mut self.parts[index];
        match message {
            Some(Ok(message)) => {
                let verdict = part.tail.take(message.message_id(), message.message_id.batch_size);
                Ok((verdict == Verdict::Write).then_some(message))
            }
            Some(Err(error)) => Err(client::failure(&format!("reading {}", part.topic), &error)),
            None => Err(Failure::try_again(format!("reading {}: the broker is away", part.topic))),
        }
    }

    fn is_at_end(&self) -> bool {
        self.parts.iter().all(|part| part.tail.is_at_end())
    }

    /// Acknowledges what was written.
    async fn acknowledge(&mut self) -> Result<(), Failure> {
        for part in &mut self.parts {
            let Some(id) = part.tail.take_acknowledgement() else { continue };
            let sent = part.consumer.cumulative_ack_with_id(&part.topic, id).await;
            sent.map_err(|error| Failure::try_again(format!("acknowledging on {}: {error}", part.topic)))?;
        }
        Ok(())
    }

    /// Asks the broker for each subscription's backlog: one without any has nothing left, wherever the topic's end is.
    /// A broker that cannot say leaves it open.
    async fn ask_what_is_left(&mut self) {
        for part in self.parts.iter_mut().filter(|part| !part.tail.is_at_end()) {
            let Ok(stats) = part.consumer.get_stats().await else { continue };
            if stats.iter().all(|stats| stats.error_code.is_none() && stats.msg_backlog == Some(0)) {
                part.tail.exhaust();
            }
        }
    }

    /// Closes every consumer: the answer comes after the acknowledgements were taken.
    async fn close(&mut self) -> Result<(), Failure> {
        for part in &mut self.parts {
            let closed = part.consumer.close().await;
            closed.map_err(|error| client::failure(&format!("closing {}", part.topic), &error))?;
        }
        Ok(())
    }
}

impl Part {
    async fn open(
        pulsar: &Pulsar<TokioExecutor>,
        topic: String,
        arguments: &Arguments,
        nameless: &str,
    ) -> Result<Self, pulsar::Error> {
        let options = ConsumerOptions::default().with_receiver_queue_size(AHEAD_MESSAGES);
        let subscribe = async |name: &str, options: ConsumerOptions| {
            let builder = pulsar.consumer().with_topic(&topic).with_subscription(name).with_options(options);
            builder.with_subscription_type(SubType::Exclusive).with_batch_size(AHEAD_MESSAGES).build().await
        };
        let (mut consumer, mut tail) = match (&arguments.subscription, arguments.earliest) {
            (Some(name), earliest) => {
                let from = if earliest { InitialPosition::Earliest } else { InitialPosition::Latest };
                (subscribe(name, options.with_initial_position(from)).await?, Tail::default())
            }
            (None, true) => {
                (subscribe(nameless, options.durable(false).starting_on_message(earliest_id())).await?, Tail::default())
            }
            (None, false) => {
                // From a known message on, so that a connection that is made anew goes on there and leaves nothing out.
                let latest = options.clone().durable(false).starting_on_message(latest_id());
                let mut probe: Consumer<Vec<u8>, _> = subscribe(nameless, latest).await?;
                let last = probe.get_last_message_id().await?.into_iter().next();
                probe.close().await?;
                let position = last.as_ref().and_then(Position::of);
                let from = last.filter(|_| position.is_some()).unwrap_or_else(earliest_id);
                (subscribe(nameless, options.durable(false).starting_on_message(from)).await?, Tail::after(position))
            }
        };
        if arguments.end {
            let last = consumer.get_last_message_id().await?;
            tail.stop_at(last.first().and_then(Position::of));
        }
        Ok(Self { consumer, topic, tail })
    }
}

/// Pulsar's name for the place before the first message.
fn earliest_id() -> MessageIdData {
    MessageIdData { ledger_id: u64::MAX, entry_id: u64::MAX, ..MessageIdData::default() }
}

/// Pulsar's name for the place after the last message.
fn latest_id() -> MessageIdData {
    MessageIdData { ledger_id: i64::MAX as u64, entry_id: i64::MAX as u64, ..MessageIdData::default() }
}
