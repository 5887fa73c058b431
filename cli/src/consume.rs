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
/// More than one batch holds.
const CONTROL_QUEUE: u32 = 1 << 20;
const CLOSE_TIME_MAX: Duration = Duration::from_secs(20);

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

/// All partitions of a topic.
struct Reader {
    parts: Vec<Part>,
    /// Where polling goes on, so that no partition waits for another.
    turn: usize,
}

impl Reader {
    async fn open(pulsar: &Pulsar<TokioExecutor>, arguments: &Arguments) -> Result<Self, Failure> {
        let what = format!("reading {}", arguments.topic);
        let count = Box::pin(pulsar.lookup_partitioned_topic_number(&arguments.topic)).await;
        let count = count.map_err(|error| client::failure(&what, &error))?;
        let topics = match count {
            0 => vec![arguments.topic.clone()],
            _ => (0..count).map(|number| format!("{}-partition-{number}", arguments.topic)).collect(),
        };
        // A name that nobody else has. Nothing depends on what it is.
        let nameless = format!("geminga-consume-{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut parts = vec![];
        for topic in topics {
            let subscription = Subscription {
                pulsar: pulsar.clone(),
                topic,
                name: arguments.subscription.clone().unwrap_or_else(|| nameless.clone()),
                durable: arguments.subscription.is_some(),
                earliest: arguments.earliest,
            };
            let part = Part::open(subscription, arguments.end).await;
            parts.push(part.map_err(|error| client::failure(&what, &error))?);
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
                if let Poll::Ready(message) = part.stream.poll_next_unpin(context) {
                    return Poll::Ready((index, message));
                }
            }
            Poll::Pending
        })
        .await;
        self.turn = (index + 1) % count;
        let part = &mut self.parts[index];
        let topic = &part.subscription.topic;
        match message {
            Some(Ok(message)) => {
                let verdict = part.tail.take(message.message_id(), message.message_id.batch_size);
                Ok((verdict == Verdict::Write).then_some(message))
            }
            Some(Err(error)) => Err(client::failure(&format!("reading {topic}"), &error)),
            None => Err(Failure::try_again(format!("reading {topic}: the broker is away"))),
        }
    }

    fn is_at_end(&self) -> bool {
        self.parts.iter().all(|part| part.tail.is_at_end())
    }

    /// Hands over acknowledgements of what was written.
    async fn acknowledge(&mut self) -> Result<(), Failure> {
        for part in &mut self.parts {
            let Some(id) = part.tail.take_acknowledgement() else { continue };
            let topic = &part.subscription.topic;
            let sent = part.stream.cumulative_ack_with_id(topic, id).await;
            sent.map_err(|error| Failure::try_again(format!("acknowledging on {topic}: {error}")))?;
        }
        Ok(())
    }

    /// Asks the broker for each subscription's backlog: one without any has nothing left, wherever the topic's end is.
    /// A broker that cannot say leaves it open.
    async fn ask_what_is_left(&mut self) {
        for part in self.parts.iter_mut().filter(|part| !part.tail.is_at_end()) {
            // In vain when messages have come meanwhile: the library answers once they are taken.
            if let Ok(true) = timeout(SILENCE, has_nothing_left(&mut part.stream)).await {
                part.tail.exhaust();
            }
        }
    }

    /// Ends well once the broker has taken every acknowledgement.
    async fn close(self) -> Result<(), Failure> {
        for Part { subscription, stream, tail } in self.parts {
            drop(stream);
            let Some(id) = tail.acknowledged().filter(|_| subscription.durable) else { continue };
            let topic = &subscription.topic;
            subscription
                .settle(id.clone())
                .await
                .map_err(|error| client::failure(&format!("acknowledging on {topic}"), &error))?;
        }
        Ok(())
    }
}

/// A topic, or one partition of it.
struct Part {
    subscription: Subscription,
    stream: Stream,
    tail: Tail,
}

type Stream = Consumer<Vec<u8>, TokioExecutor>;

impl Part {
    async fn open(subscription: Subscription, to_end: bool) -> Result<Self, pulsar::Error> {
        let mut tail = Tail::default();
        let mut from = if subscription.earliest { earliest_id() } else { latest_id() };
        if !subscription.is_of_stored_topic() {
            // There is nothing but what comes from now on: no place to begin at, and an end at once.
            tail = Tail::passing();
            if to_end {
                tail.stop_at(None);
            }
        } else if to_end || !subscription.durable {
            let mut control = subscription.control(from.clone()).await?;
            let last = Box::pin(control.get_last_message_id()).await?.into_iter().next();
            let end = last.as_ref().and_then(Position::of);
            if !subscription.durable && !subscription.earliest {
                // From a known message on, so that a connection that is made anew goes on there and leaves nothing out.
                tail = Tail::after(end);
                from = last.filter(|_| end.is_some()).unwrap_or_else(earliest_id);
            }
            if to_end {
                tail.stop_at(end);
                if has_nothing_left(&mut control).await {
                    tail.exhaust();
                }
            }
            Box::pin(control.close()).await?;
        }
        let stream = subscription.open(from, AHEAD_MESSAGES, AHEAD_MESSAGES).await?;
        Ok(Self { subscription, stream, tail })
    }
}

/// The backlog is known to be empty.
async fn has_nothing_left(consumer: &mut Stream) -> bool {
    let stats = Box::pin(consumer.get_stats()).await.unwrap_or_default();
    !stats.is_empty() && stats.iter().all(|stats| stats.error_code.is_none() && stats.msg_backlog == Some(0))
}

/// What is subscribed to, and how.
struct Subscription {
    pulsar: Pulsar<TokioExecutor>,
    topic: String,
    name: String,
    durable: bool,
    earliest: bool,
}

impl Subscription {
    fn is_of_stored_topic(&self) -> bool {
        !self.topic.starts_with("non-persistent://")
    }

    async fn open(&self, from: MessageIdData, ahead: u32, queue: u32) -> Result<Stream, pulsar::Error> {
        let options = ConsumerOptions::default().with_receiver_queue_size(queue);
        let options = match (self.durable, self.earliest) {
            (true, true) => options.with_initial_position(InitialPosition::Earliest),
            (true, false) => options.with_initial_position(InitialPosition::Latest),
            (false, _) => options.durable(false).starting_on_message(from),
        };
        let builder =
            self.pulsar.consumer().with_topic(&self.topic).with_subscription(&self.name).with_options(options);
        Box::pin(builder.with_subscription_type(SubType::Exclusive).with_batch_size(ahead).build()).await
    }

    /// A consumer for questions. The library answers none while messages wait that nobody takes, so this one lets few come,
    /// and they never wait.
    async fn control(&self, from: MessageIdData) -> Result<Stream, pulsar::Error> {
        self.open(from, 1, CONTROL_QUEUE).await
    }

    /// Acknowledges everything up to `id` and waits until the broker has taken it: it closes a consumer only after what that
    /// consumer sent before.
    async fn settle(&self, id: MessageIdData) -> Result<(), pulsar::Error> {
        let mut control = self.control(latest_id()).await?;
        control.cumulative_ack_with_id(&self.topic, id).await?;
        Box::pin(control.close()).await
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
