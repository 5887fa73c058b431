//! The admin interface, as scripts use it.
use std::time::Duration;

use daemon::Failure;
use serde_json::Value;

const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// One broker's HTTP interface.
#[derive(Debug, Clone)]
pub struct Admin {
    base: String,
    client: reqwest::Client,
}

impl Admin {
    /// `base` is `http://host:port`.
    #[must_use]
    pub fn at(base: &str) -> Self {
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build();
        Self { base: base.trim_end_matches('/').into(), client: client.expect("a client without TLS can be made") }
    }

    /// `http://host:port`.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Reads what stands at `path`.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        let text = self.call(reqwest::Method::GET, path, None).await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Puts `body` to `path`.
    pub async fn put(&self, path: &str, body: Option<Value>) -> Result<(), Failure> {
        self.call(reqwest::Method::PUT, path, body).await.map(drop)
    }

    /// Posts `body` to `path`.
    pub async fn post(&self, path: &str, body: Option<Value>) -> Result<(), Failure> {
        self.call(reqwest::Method::POST, path, body).await.map(drop)
    }

    /// Posts nothing to `path`, and reads the answer.
    pub async fn ask(&self, path: &str) -> Result<Value, Failure> {
        self.ask_with(path, None).await
    }

    /// Posts `body` to `path`, and reads the answer.
    pub async fn ask_with(&self, path: &str, body: Option<Value>) -> Result<Value, Failure> {
        let text = self.call(reqwest::Method::POST, path, body).await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Deletes `path`.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.call(reqwest::Method::DELETE, path, None).await.map(drop)
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<String, Failure> {
        let failed = |why: String| Failure::internal(format!("{method} {path}: {why}"));
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|error| failed(whole(&error)))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| failed(whole(&error)))?;
        if status.is_success() { Ok(text) } else { Err(failed(format!("{status}: {text}"))) }
    }

    /// A number of the metrics page: the first of its name. Not of single topics: many of them make a page that takes memory itself.
    pub async fn metric(&self, name: &str) -> Result<f64, Failure> {
        let page = self.call(reqwest::Method::GET, "/metrics?topics=false", None).await?;
        metric(&page, name).ok_or_else(|| Failure::internal(format!("there is no metric {name}")))
    }

    /// Whether requests are served.
    pub async fn is_ready(&self) -> bool {
        self.get("/readyz").await.is_ok()
    }

    /// `host:port` of the binary and of the HTTP interface of the broker that serves `topic`
    /// (`tenant/namespace/topic`).
    pub async fn owner(&self, topic: &str) -> Result<(String, String), Failure> {
        let answer = self.get(&format!("/lookup/v2/topic/persistent/{topic}")).await?;
        let authority =
            |key: &str| answer[key].as_str().and_then(|url| url.split_once("://")).map(|(_, rest)| rest.into());
        authority("brokerUrl")
            .zip(authority("httpUrl"))
            .ok_or_else(|| Failure::internal(format!("a lookup of {topic} gave {answer}")))
    }

    /// The bundle that holds `topic` (`tenant/namespace/topic`).
    pub async fn bundle(&self, topic: &str) -> Result<String, Failure> {
        match self.get(&format!("/lookup/v2/topic/persistent/{topic}/bundle")).await? {
            Value::String(bundle) => Ok(bundle),
            other => Err(Failure::internal(format!("the bundle of {topic} is {other}"))),
        }
    }

    /// The brokers that are there, as `host:port` of their HTTP interfaces.
    pub async fn brokers(&self) -> Result<Vec<String>, Failure> {
        let answer = self.get("/admin/v2/brokers").await?;
        serde_json::from_value(answer).map_err(|error| Failure::internal(format!("the list of brokers: {error}")))
    }

    /// Moves a bundle of `namespace` (`tenant/namespace`) to another broker.
    pub async fn move_bundle(&self, namespace: &str, bundle: &str, destination: &str) -> Result<(), Failure> {
        let path = format!("/admin/v2/namespaces/{namespace}/{bundle}/unload?destinationBroker={destination}");
        self.put(&path, None).await
    }

    /// Makes a partitioned topic (`tenant/namespace/topic`).
    pub async fn create_partitioned(&self, topic: &str, partitions: u32) -> Result<(), Failure> {
        self.put(&format!("/admin/v2/persistent/{topic}/partitions"), Some(partitions.into())).await
    }
}

/// An error with all its causes: that of a request says only that it failed.
fn whole(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The first value of a metric on a page.
fn metric(page: &str, name: &str) -> Option<f64> {
    let is_it = |rest: &str| rest.starts_with([' ', '{']);
    let line = page.lines().find(|line| line.strip_prefix(name).is_some_and(is_it))?;
    line.rsplit_once(' ')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_found_by_its_whole_name() {
        let page = "# TYPE bookie_x gauge\nbookie_x_more 3\nbookie_x{a=\"b\"} 2\nbookie_y 7\n";
        assert_eq!(metric(page, "bookie_x"), Some(2.0));
        assert_eq!(metric(page, "bookie_y"), Some(7.0));
        assert_eq!(metric(page, "bookie"), None);
    }
}
