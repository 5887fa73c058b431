//! Watches: etcd's stream, handed on until it ends.
use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::Instant;

use super::failure::{Failure, failure};
use super::{ANSWER_BYTES_MAX, EtcdStore, end_of, until};
use crate::store::{DEADLINE, Error, Event};
use crate::watch::{self, Sink, Watch};

/// Returns once etcd has said that it watches.
pub(super) async fn watch(store: &EtcdStore, prefix: &str) -> Result<Watch, Error> {
    let full = store.full(prefix);
    let stream = until(Instant::now() + DEADLINE, || {
        let mut client = store.client.watch_client().max_decoding_message_size(ANSWER_BYTES_MAX);
        let (full, end) = (full.clone(), end_of(full.as_bytes()));
        async move {
            let mut stream = client.watch(full, Some(WatchOptions::new().with_range(end))).await?;
            match stream.message().await? {
                Some(first) if first.created() && !first.canceled() => Ok(stream),
                Some(first) => Err(etcd_client::Error::WatchError(first.cancel_reason().to_owned())),
                None => Err(etcd_client::Error::WatchError("the stream has ended".into())),
            }
        }
    });
    let stream = stream.await.map_err(Failure::into_error)?;
    let (sink, watch) = watch::watch();
    tokio::spawn(hand_on(store.clone(), stream, sink));
    Ok(watch)
}

/// Ends with the watch, or with an error that tells its holder to list again.
async fn hand_on(store: EtcdStore, mut stream: WatchStream, sink: Sink) {
    let error = loop {
        let message = tokio::select! {
            () = sink.closed() => return,
            message = stream.message() => message,
        };
        let answer = match message {
            Ok(Some(answer)) => answer,
            Ok(None) => break Error::Unavailable { reason: "etcd has ended the watch".into() },
            Err(error) => match failure(error) {
                // Whatever it was: the next watch and listing will tell.
                Failure::NotDone(reason)
                | Failure::Lost(reason)
                | Failure::TooLarge(reason)
                | Failure::Refused(reason) => break Error::Unavailable { reason },
            },
        };
        if answer.canceled() {
            let reason = match answer.compact_revision() {
                0 => format!("etcd has cancelled the watch: {}", answer.cancel_reason()),
                revision => format!("etcd has forgotten the changes up to {revision}"),
            };
            break Error::Unavailable { reason };
        }
        match events(&store, &answer) {
            Ok(events) if events.is_empty() => {}
            Ok(events) => {
                if !sink.send(events).await {
                    return;
                }
            }
            Err(error) => break error,
        }
    };
    sink.fail(error).await;
}

fn events(store: &EtcdStore, answer: &WatchResponse) -> Result<Vec<Event>, Error> {
    let pairs = answer.events().iter().filter_map(|event| Some((event.event_type(), event.kv()?)));
    let events = pairs.map(|(kind, pair)| match kind {
        EventType::Put => {
            let record = store.record(pair.clone())?;
            Ok(Event { key: record.key.clone(), record: Some(record) })
        }
        EventType::Delete => Ok(Event { key: store.key(pair.key())?, record: None }),
    });
    events.collect()
}
