//! `geminga produce`: bytes of a file or stdin become messages.
//!
//! Promises: it ends well only when every message's receipt has arrived.
#![allow(clippy::large_futures)] // The library's are, and a box for each message would cost more than they do.
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use daemon::{Drain, Failure};
use futures::FutureExt;
use indicatif::{ProgressBar, ProgressStyle};
use pulsar::producer::{Message, SendFuture};
use pulsar::{Producer, ProducerOptions, TokioExecutor};
use tokio::sync::mpsc;

use crate::address::BrokerUrl;
use crate::client::{self, MESSAGE_BYTES_MAX};
use crate::lines::{LineTooLong, Splitter};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to publish; `demo` is short for persistent://public/default/demo
    topic: String,
    /// Read this file instead of stdin
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Make each line a message, without its line feed; otherwise all of the input is one
    #[arg(long)]
    lines: bool,
}

/// The library has one batch in flight for each topic, so batches are what hides the way to the disk and back.
const BATCH_BYTES: usize = 512 << 10;
const BATCH_MESSAGES: u32 = 5000;
/// A batch in the making is sent after this time, for input that comes slowly.
const BATCH_TIME_MAX: Duration = Duration::from_millis(5);
/// A line above this is published in a batch of its own: with others before it, the batch could be larger than a message may be.
const LONE_BYTES: usize = 4 << 20;

const CHUNK_BYTES: usize = 256 << 10;
/// Chunks read ahead of the producer.
const CHUNKS_MAX: usize = 4;

pub(crate) async fn run(arguments: Arguments, url: &BrokerUrl, drain: Drain) -> Result<(), Failure> {
    let input = Input::open(arguments.file)?; // Before the server is bothered.
    let progress = progress(&input);
    let batches = arguments.lines.then_some(());
    let options = ProducerOptions {
        batch_size: batches.map(|()| BATCH_MESSAGES),
        batch_byte_size: batches.map(|()| BATCH_BYTES),
        batch_timeout: batches.map(|()| BATCH_TIME_MAX),
        block_queue_if_full: true,
        ..ProducerOptions::default()
    };
    let what = format!("publishing to {}", arguments.topic);
    let builder = client::connect(url).await?.producer().with_topic(&arguments.topic).with_options(options);
    let producer = builder.build().await.map_err(|error| client::failure(&what, &error))?;
    let mut publisher = Publisher { producer, what, receipts: VecDeque::new(), sent: Count::default(), confirmed: 0 };
    let start = Instant::now();
    let outcome = if arguments.lines {
        publisher.publish_lines(input, &progress, &drain).await
    } else {
        publisher.publish_whole(input, &drain).await
    };
    let settled = publisher.settle(arguments.lines).await;
    progress.finish_and_clear();
    let confirmed = publisher.confirmed;
    let closed = publisher.producer.close().await;
    match settled.and(outcome) {
        Ok(()) => {
            if let Err(error) = closed {
                tracing::warn!(%error, "the producer did not close cleanly");
            }
            let Count { messages, bytes } = publisher.sent;
            eprintln!("{}", summary("published", messages, bytes, start.elapsed()));
            Ok(())
        }
        Err(failure) => {
            Err(Failure { message: format!("{} ({confirmed} messages are confirmed)", failure.message), ..failure })
        }
    }
}

/// How much, how long, how fast.
pub(crate) fn summary(verb: &str, messages: u64, bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    let (rate, megabytes) = (messages as f64 / seconds, bytes as f64 / 1e6);
    format!(
        "{verb} {messages} messages, {megabytes:.1} MB in {seconds:.2} s ({rate:.0} messages/s, {:.1} MB/s)",
        megabytes / seconds
    )
}

fn progress(input: &Input) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match input.length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes}  {bytes_per_sec}  {msg}"),
    };
    bar.with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// What is published.
struct Input {
    name: String,
    source: Box<dyn Read + Send>,
    length: Option<u64>,
}

impl Input {
    fn open(path: Option<PathBuf>) -> Result<Self, Failure> {
        let Some(path) = path else {
            return Ok(Self { name: "stdin".into(), source: Box::new(io::stdin()), length: None });
        };
        let name = path.display().to_string();
        let file = File::open(&path).map_err(|error| Failure::usage(format!("cannot open {name}: {error}")))?;
        let metadata = file.metadata().map_err(|error| Failure::usage(format!("cannot open {name}: {error}")))?;
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{name} is a directory, not a file")));
        }
        Ok(Self { name, source: Box::new(file), length: metadata.is_file().then_some(metadata.len()) })
    }

    /// Reads on a thread of its own: a terminal or a pipe may keep it waiting forever.
    fn read_on_thread<T: Send + 'static>(
        self,
        read: impl FnOnce(Self, &mpsc::Sender<Result<T, Failure>>) -> Result<(), Failure> + Send + 'static,
    ) -> mpsc::Receiver<Result<T, Failure>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        thread::spawn(move || {
            if let Err(failure) = read(self, &sender) {
                let _ = sender.blocking_send(Err(failure)); // The receiver left for a reason of its own.
            }
        });
        receiver
    }

    fn read_lines(mut self, sender: &mpsc::Sender<Result<Vec<Vec<u8>>, Failure>>) -> Result<(), Failure> {
        let mut splitter = Splitter::new(MESSAGE_BYTES_MAX);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let length = self.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            let mut lines = vec![];
            let split = splitter.push(&chunk[..length], &mut lines);
            if sender.blocking_send(Ok(lines)).is_err() {
                return Ok(());
            }
            split.map_err(|error: LineTooLong| Failure::usage(format!("{}: {error}", self.name)))?;
        }
        if let Some(last) = splitter.finish() {
            let _ = sender.blocking_send(Ok(vec![last])); // The receiver left for a reason of its own.
        }
        Ok(())
    }

    fn read_whole(mut self, sender: &mpsc::Sender<Result<Vec<u8>, Failure>>) -> Result<(), Failure> {
        let (mut whole, mut chunk) = (vec![], vec![0; CHUNK_BYTES]);
        loop {
            let length = self.read(&mut chunk)?;
            if length == 0 {
                break;
            }
            whole.extend_from_slice(&chunk[..length]);
            if MESSAGE_BYTES_MAX < whole.len() {
                return Err(Failure::usage(format!(
                    "{} is larger than {MESSAGE_BYTES_MAX} bytes, the most a message holds; with --lines each line is a message",
                    self.name
                )));
            }
        }
        let _ = sender.blocking_send(Ok(whole)); // The receiver left for a reason of its own.
        Ok(())
    }

    fn read(&mut self, chunk: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.source.read(chunk) {
                Ok(length) => return Ok(length),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::internal(format!("cannot read {}: {error}", self.name))),
            }
        }
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    messages: u64,
    bytes: u64,
}

/// Sends messages and counts their receipts.
struct Publisher {
    producer: Producer<TokioExecutor>,
    what: String,
    /// In the order of sending. The library bounds how many can be open.
    receipts: VecDeque<SendFuture>,
    sent: Count,
    confirmed: u64,
}

impl Publisher {
    async fn publish_lines(&mut self, input: Input, progress: &ProgressBar, drain: &Drain) -> Result<(), Failure> {
        let mut chunks = input.read_on_thread(Input::read_lines);
        loop {
            let chunk = tokio::select! {
                () = drain.requested() => return Err(interrupted()),
                chunk = chunks.recv() => chunk,
            };
            let Some(lines) = chunk else { return Ok(()) };
            for line in lines? {
                if LONE_BYTES < line.len() {
                    self.flush().await?;
                }
                progress.inc(line.len() as u64 + 1);
                self.send(line).await?;
            }
            self.take_receipts()?;
        }
    }

    async fn publish_whole(&mut self, input: Input, drain: &Drain) -> Result<(), Failure> {
        let mut whole = input.read_on_thread(Input::read_whole);
        let payload = tokio::select! {
            () = drain.requested() => return Err(interrupted()),
            payload = whole.recv() => payload,
        };
        let lost = || Failure::internal("the thread that reads the input has ended");
        self.send(payload.ok_or_else(lost)??).await
    }

    async fn send(&mut self, payload: Vec<u8>) -> Result<(), Failure> {
        let length = payload.len() as u64;
        let message = Message { payload, ..Message::default() };
        let sent =
            self.producer.send_non_blocking(message).await.map_err(|error| client::failure(&self.what, &error))?;
        self.receipts.push_back(sent);
        self.sent.messages += 1;
        self.sent.bytes += length;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failure> {
        self.producer.send_batch().await.map_err(|error| client::failure(&self.what, &error))
    }

    /// Takes the receipts that have come.
    fn take_receipts(&mut self) -> Result<(), Failure> {
        while let Some(receipt) = self.receipts.front_mut().and_then(FutureExt::now_or_never) {
            self.receipts.pop_front();
            self.confirm(receipt)?;
        }
        Ok(())
    }

    /// Waits for all receipts. The first that is missing is the failure.
    async fn settle(&mut self, batched: bool) -> Result<(), Failure> {
        if batched {
            self.flush().await?;
        }
        while let Some(receipt) = self.receipts.pop_front() {
            let receipt = receipt.await;
            self.confirm(receipt)?;
        }
        Ok(())
    }

    fn confirm<T>(&mut self, receipt: Result<T, pulsar::Error>) -> Result<(), Failure> {
        receipt.map_err(|error| {
            let number = self.confirmed + 1;
            client::failure(&format!("{}: message {number} has no receipt", self.what), &error)
        })?;
        self.confirmed += 1;
        Ok(())
    }
}

fn interrupted() -> Failure {
    Failure::internal("interrupted: the rest of the input was not published")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_refused_before_anything_is_sent() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = Input::open(Some(directory.path().join("missing"))).map(drop).expect_err("missing");
        assert!(missing.exit == daemon::Exit::Usage && missing.message.contains("missing: No such file"), "{missing}");
        let wrong = Input::open(Some(directory.path().to_owned())).map(drop).expect_err("a directory");
        assert!(wrong.message.ends_with("is a directory, not a file"), "{wrong}");
    }

    async fn lines_of(bytes: Vec<u8>) -> (Vec<Vec<u8>>, Option<Failure>) {
        let input = Input { name: "test".into(), source: Box::new(io::Cursor::new(bytes)), length: None };
        let mut chunks = input.read_on_thread(Input::read_lines);
        let mut all = vec![];
        while let Some(chunk) = chunks.recv().await {
            match chunk {
                Ok(lines) => all.extend(lines),
                Err(failure) => return (all, Some(failure)),
            }
        }
        (all, None)
    }

    #[tokio::test]
    async fn lines_before_one_that_is_too_long_are_still_there() {
        let mut bytes = b"one\ntwo\n".to_vec();
        bytes.extend(vec![b'x'; MESSAGE_BYTES_MAX + 1]);
        let (lines, failure) = lines_of(bytes).await;
        assert_eq!(lines, [b"one", b"two"]);
        let failure = failure.expect("too long");
        assert_eq!(failure, Failure::usage("test: line 3 is longer than 5242880 bytes, the most a message holds"));
    }

    #[tokio::test]
    async fn a_line_may_be_as_long_as_a_message() {
        let (lines, failure) = lines_of([vec![b'x'; MESSAGE_BYTES_MAX], b"\n\n".to_vec()].concat()).await;
        assert_eq!((lines.len(), lines[0].len(), failure), (2, MESSAGE_BYTES_MAX, None));
    }

    #[test]
    fn the_summary_names_rates() {
        let text = summary("published", 1_000, 2_000_000, Duration::from_secs(2));
        assert_eq!(text, "published 1000 messages, 2.0 MB in 2.00 s (500 messages/s, 1.0 MB/s)");
    }
}
