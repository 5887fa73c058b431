//! The server's HTTP side, and what its refusals mean to a person and to a script.
use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use daemon::Failure;
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::request::Request;
use super::verb::Method;

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A scrub lists whole stores, and a terminated topic is sealed first.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);

/// An answer that is no text.
pub(super) struct Raw {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One broker, which asks the others for what it does not know.
#[derive(Debug)]
pub(super) struct Server {
    base: String,
    client: reqwest::Client,
}

impl Server {
    pub(super) fn at(url: &str) -> Result<Self, Failure> {
        let wrong = |what: &str| Failure::usage(format!("--admin: `{url}` {what}; write http://HOST:PORT"));
        if url.starts_with("https://") {
            return Err(wrong("asks for TLS, which this version does not speak"));
        }
        let base = url.trim_end_matches('/');
        if reqwest::Url::parse(url).is_err() || !url.starts_with("http://") || base.contains(['?', '#', '@']) {
            return Err(wrong("is not the URL of a broker's HTTP side"));
        }
        let client =
            reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).timeout(ANSWER_WITHIN).no_proxy().build();
        Ok(Self { base: base.into(), client: client.map_err(Failure::internal)? })
    }

    /// What the server answers; nothing is `Null`.
    pub(super) async fn ask(&self, request: &Request) -> Result<Value, Failure> {
        let Raw { body, .. } = self.ask_raw(request).await?;
        let text = String::from_utf8_lossy(&body);
        if is_markup(&text) {
            let base = &self.base;
            return Err(Failure::usage(format!("{base} shows web pages: name a broker's HTTP side with --admin")));
        }
        Ok(read(&text))
    }

    /// The bytes of an answer, and what its headers say.
    pub(super) async fn ask_raw(&self, request: &Request) -> Result<Raw, Failure> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let page = format!("{method} {}", request.path);
        let mut asked = self.client.request(method, format!("{}{}", self.base, request.path));
        if let Some(body) = &request.body {
            asked = asked.json(body);
        }
        let answer = asked.send().await.map_err(|error| self.away(&error))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = answer.bytes().await.map_err(|error| self.away(&error))?;
        if !status.is_success() {
            return Err(refusal(status, &String::from_utf8_lossy(&body), &page));
        }
        Ok(Raw { headers, body })
    }

    fn away(&self, error: &reqwest::Error) -> Failure {
        let base = &self.base;
        if error.is_connect() {
            let reason = root(error);
            return Failure::try_again(format!(
                "cannot reach {base}: {reason}; start a server with `geminga standalone`, or name another with --admin"
            ));
        }
        let reason =
            if error.is_timeout() { format!("nothing within {} s", ANSWER_WITHIN.as_secs()) } else { root(error) };
        Failure::try_again(format!("no answer from {base}: {reason}; whatever was asked may have been done"))
    }
}

/// JSON, or a text as it is.
fn read(text: &str) -> Value {
    match text.trim() {
        "" => Value::Null,
        trimmed => serde_json::from_str(trimmed).unwrap_or_else(|_| trimmed.into()),
    }
}

/// What the operating system said, without its number.
fn root(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    let text = cause.to_string();
    let is_io = cause.downcast_ref::<io::Error>().is_some();
    let plain = text.split(" (os error").next().unwrap_or(&text);
    if is_io { plain.to_lowercase() } else { plain.to_owned() }
}

fn is_markup(text: &str) -> bool {
    text.trim_start().starts_with('<')
}

/// What our brokers say of a page, or a method of one, that they do not have. Those of Apache Pulsar say it without a reason.
const NOT_THERE: [&str; 2] = ["there is no page ", "this page does not take this method"];

/// Whoever asked wrongly is told so (64); what is away or moving may be asked again (75); anything else is broken, or is not
/// offered (70).
fn refusal(status: StatusCode, text: &str, page: &str) -> Failure {
    let answer = read(text);
    let reason = answer.get("reason").and_then(Value::as_str);
    let code = status.as_u16();
    let is_there = reason.is_some_and(|reason| !NOT_THERE.iter().any(|text| reason.starts_with(text)));
    if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) && !is_there {
        let what = format!(
            "the server does not offer `{page}` ({code}): it is older than this command, or another kind of server"
        );
        return Failure::internal(what);
    }
    let reason = reason.or(answer.as_str().filter(|text| !is_markup(text))).unwrap_or("no reason given");
    let message = format!("{reason} ({code})");
    match status {
        StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Failure::try_again(message),
        status if status.is_client_error() => Failure::usage(message),
        _ => Failure::internal(message),
    }
}
