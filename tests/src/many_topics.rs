//! What topics cost that nobody uses, and what idle ones do.
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::Failure;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::client::{ProducerId, Publisher, Route, find_owner};
use crate::cluster::{Admin, Cluster, Process, Shape};
use crate::deadline::{eventually_every, under_load_for};
use crate::goals::Goals;

const AT_ONCE: u32 = 64;
const UNLOADED_WITHIN: Duration = Duration::from_secs(1200);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Time on processors is told in hundredths of seconds.
const IDLE: Duration = Duration::from_secs(20);
/// Producers of one connection.
const PRODUCERS: u32 = 100;

/// How many.
#[derive(Debug, Clone)]
pub struct TopicsRun {
    /// That get one message each and are unloaded.
    pub topics: u32,
    /// That stay loaded, each with a producer that does nothing.
    pub idle: u32,
    /// That are published to when nobody has touched them since the brokers started.
    pub cold: u32,
    /// For data and output. Must be there.
    pub directory: PathBuf,
}

/// Creates, unloads, restarts, publishes, idles.
pub async fn measure(run: &TopicsRun) -> Result<Goals, Failure> {
    let mut goals = Goals::default();
    let mut shape = Shape::default();
    shape.broker_settings.push("balance_moves_per_min=0".into()); // Every topic stays where it was counted.
    let mut cluster = Box::pin(Cluster::start(&run.directory, &shape)).await?;
    let (topics, etcd) = (f64::from(run.topics), Admin::at(&cluster.etcd.url().replace("etcd://", "http://")));
    let mut seen = vec![(etcd_bytes(&etcd).await?, resident(&mut cluster))];
    for half in [0..run.topics / 2, run.topics / 2..run.topics] {
        let (begun, count) = (Instant::now(), half.len());
        create(&cluster.addresses(), half).await?;
        let rate = count as f64 / begun.elapsed().as_secs_f64();
        println!("{count} topics with one message each: {rate:.0} a second, {AT_ONCE} at a time");
        let (loaded, begun) = (resident(&mut cluster), Instant::now());
        unload(&cluster).await?;
        seen.push((etcd_bytes(&etcd).await?, resident(&mut cluster)));
        let (mib, took) = (f64::from(1 << 20), begun.elapsed().as_secs_f64());
        println!(
            "unloaded in {took:.1} s: brokers took {:.0} MiB before, {:.0} after",
            loaded / mib,
            seen[seen.len() - 1].1 / mib
        );
    }
    goals.at_most("etcd bytes per topic", (seen[2].0 - seen[0].0) / topics, 1024.0);
    // The first half also grows what the second uses again.
    goals.at_most("bytes of brokers' memory per unloaded topic", (seen[2].1 - seen[1].1) / topics * 2.0, 2048.0);

    let mut longest = Duration::ZERO;
    for broker in &mut cluster.brokers {
        broker.process().kill();
        let begun = Instant::now();
        broker.restart().await?;
        longest = longest.max(begun.elapsed());
    }
    goals.at_most("seconds from a broker's start until it serves", longest.as_secs_f64(), 2.0);
    let mut took = cold(&cluster.addresses(), run).await?;
    took.sort_unstable();
    let ms = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!("first message on a cold topic: median {:.1} ms, p90 {:.1} ms", ms(50), ms(90));
    goals.at_most("ms until the first message on a cold topic is confirmed, p99", ms(99), 20.0);

    let before = resident(&mut cluster);
    let idle = attach(&cluster.addresses(), run.idle).await?;
    let loaded = (resident(&mut cluster) - before) / f64::from(run.idle);
    goals.at_most("bytes of brokers' memory per loaded topic with an idle producer", loaded, 16384.0);
    let before = cpu(&mut cluster);
    under_load_for(IDLE).await; // The load is none.
    let share = (cpu(&mut cluster) - before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    goals.at_most("percent of a processor that all brokers and bookies take with them", share, 1.0);
    drop(idle);
    Ok(goals)
}

fn topic(number: u32) -> String {
    format!("persistent://public/default/one-of-many-{number}")
}

/// Publishes one message to each of these topics.
async fn create(addresses: &[String], topics: std::ops::Range<u32>) -> Result<(), Failure> {
    let share = |worker: u32| {
        let mine = topics.clone().skip(worker as usize).step_by(AT_ONCE as usize);
        async move {
            let mut publishers: HashMap<Route, Publisher> = HashMap::new();
            for number in mine {
                let route = find_owner(addresses, &topic(number)).await?;
                let publisher = match publishers.remove(&route) {
                    Some(publisher) => Publisher::over(publisher.close().await?),
                    None => Publisher::over(route.connect().await?),
                };
                publishers.insert(route, publish_first(publisher, &topic(number)).await?);
            }
            Ok::<(), Failure>(())
        }
    };
    stream::iter((0..AT_ONCE).map(share)).buffer_unordered(AT_ONCE as usize).try_collect().await
}

async fn publish_first(mut publisher: Publisher, topic: &str) -> Result<Publisher, Failure> {
    publisher.attach(topic).await?;
    publisher.publish(ProducerId(0), topic.as_bytes());
    publisher.flush().await?;
    publisher.receipt().await?;
    Ok(publisher)
}

/// Unloads all topics and waits until no broker has one.
async fn unload(cluster: &Cluster) -> Result<(), Failure> {
    let loaded = async || {
        let mut count = 0.0;
        for broker in &cluster.brokers {
            count += broker.admin().metric("pulsar_topics_count").await.ok()?;
        }
        (count == 0.0).then_some(())
    };
    let admin = cluster.brokers[0].admin();
    let asked = admin.put("/admin/v2/namespaces/public/default/unload", None).await;
    if let Err(failure) = asked {
        println!("the request to unload was answered: {failure}"); // It goes on all the same.
    }
    eventually_every(LOOK_EVERY, "no topic is loaded", UNLOADED_WITHIN, loaded).await
}

/// How long the first message of each took, from attaching to the receipt.
async fn cold(addresses: &[String], run: &TopicsRun) -> Result<Vec<Duration>, Failure> {
    let step = (run.topics / run.cold.max(1)).max(1) as usize;
    let mut took = Vec::new();
    for number in (0..run.topics).step_by(step) {
        let route = find_owner(addresses, &topic(number)).await?;
        let publisher = Publisher::over(route.connect().await?);
        let begun = Instant::now();
        publish_first(publisher, &topic(number)).await?;
        took.push(begun.elapsed());
    }
    Ok(took)
}

/// Attaches producers to topics that are new.
async fn attach(addresses: &[String], count: u32) -> Result<Vec<Publisher>, Failure> {
    let mut full = Vec::new();
    let mut open: HashMap<Route, (Publisher, u32)> = HashMap::new();
    for number in 0..count {
        let topic = format!("persistent://public/default/idle-{number}");
        let route = find_owner(addresses, &topic).await?;
        let (mut publisher, producers) = match open.remove(&route) {
            Some((publisher, PRODUCERS)) => {
                full.push(publisher);
                (Publisher::over(route.connect().await?), 0)
            }
            Some(some) => some,
            None => (Publisher::over(route.connect().await?), 0),
        };
        publisher.attach(&topic).await?;
        open.insert(route, (publisher, producers + 1));
    }
    full.extend(open.into_values().map(|(publisher, _)| publisher));
    Ok(full)
}

/// What etcd keeps, without what it forgets sooner or later.
async fn etcd_bytes(etcd: &Admin) -> Result<f64, Failure> {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let status = etcd.ask_with("/v3/maintenance/status", Some(json!({}))).await?;
    let revision = number(&status["header"]["revision"]);
    if 1 < revision {
        etcd.ask_with("/v3/kv/compaction", Some(json!({"revision": revision.to_string(), "physical": true}))).await?;
    }
    etcd.ask_with("/v3/maintenance/defragment", Some(json!({}))).await?;
    let status = etcd.ask_with("/v3/maintenance/status", Some(json!({}))).await?;
    Ok(number(&status["dbSizeInUse"]) as f64)
}

fn resident(cluster: &mut Cluster) -> f64 {
    cluster.brokers.iter_mut().map(|broker| broker.process().spending().resident_bytes as f64).sum()
}

fn cpu(cluster: &mut Cluster) -> Duration {
    let brokers: Duration = cluster.brokers.iter_mut().map(|broker| Process::spending(broker.process()).cpu).sum();
    let bookies: Duration = cluster.bookies.iter_mut().map(|bookie| bookie.process().spending().cpu).sum();
    brokers + bookies
}
