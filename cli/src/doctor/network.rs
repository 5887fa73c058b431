//! Where a process would listen, and whether others would find it there.
use std::net::IpAddr;
use std::time::Duration;

use daemon::HostPort;
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::report::{Finding, Report};

const WITHIN: Duration = Duration::from_secs(5);

/// Whether the ports are free, or held by a process of ours.
pub(super) async fn ports(keys: &[(&'static str, &HostPort)], report: &mut Report) {
    let mut ours = false;
    // HTTP stands last and answers whose the others are.
    for (key, address) in keys.iter().rev() {
        let finding = match daemon::bind(address, key).await {
            Ok(_) => Finding::Good(format!("{address} is free")),
            Err(_) if ours || is_ours(address).await => {
                ours = true;
                Finding::Good(format!("{address} is held by a process of Geminga that runs"))
            }
            Err(failure) => Finding::Bad(failure.message),
        };
        report.note(key, finding);
    }
}

async fn is_ours(address: &HostPort) -> bool {
    let anywhere = address.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let host = if anywhere { "127.0.0.1" } else { &address.host };
    let client = reqwest::Client::builder().timeout(WITHIN).no_proxy().build();
    let Ok(client) = client else { return false };
    let page = client.get(format!("http://{host}:{}/readyz", address.port)).send().await;
    let Ok(page) = page else { return false };
    page.json::<serde_json::Value>().await.is_ok_and(|page| page["ready"].is_boolean())
}

/// Whether others would find this process under the name that it gives them.
pub(super) async fn advertised(given: &str, listen: &HostPort, report: &mut Report) {
    let chosen = Some(given).filter(|given| !given.is_empty());
    let finding = match daemon::advertised(chosen, listen, listen.port) {
        Err(failure) => Finding::Bad(failure.message),
        Ok(address) => {
            let found = timeout(WITHIN, lookup_host((address.host.as_str(), address.port))).await;
            let ips = match found {
                Ok(Ok(found)) => found.map(|found| found.ip()).collect(),
                Ok(Err(_)) | Err(_) => Vec::new(),
            };
            judge(&address, listen, &ips)
        }
    };
    report.note("advertised", finding);
}

fn judge(address: &HostPort, listen: &HostPort, ips: &[IpAddr]) -> Finding {
    let listens_for_others = listen.host.parse::<IpAddr>().is_ok_and(|ip| !ip.is_loopback());
    match ips {
        [] => Finding::Bad(format!(
            "others are told {address}, and that name has no address here; set `advertised_address` to one that they can resolve"
        )),
        ips if listens_for_others && ips.iter().all(IpAddr::is_loopback) => Finding::Odd(format!(
            "others are told {address}, which leads each of them to itself; set `advertised_address` unless all run on this machine"
        )),
        [ip, ..] => Finding::Good(format!("others are told {address}, which is {ip} here")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> HostPort {
        text.parse().expect("an address")
    }

    #[test]
    fn a_name_that_leads_nowhere_or_back_is_told() {
        let (any, this) = (at("[::]:6650"), at("127.0.0.1:6650"));
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(matches!(judge(&at("b.example:6650"), &any, &[]), Finding::Bad(_)));
        assert!(matches!(judge(&at("localhost:6650"), &any, &[ip("127.0.0.1"), ip("::1")]), Finding::Odd(_)));
        assert!(matches!(judge(&at("localhost:6650"), &this, &[ip("127.0.0.1")]), Finding::Good(_)));
        assert!(matches!(judge(&at("b.example:6650"), &any, &[ip("10.0.0.7")]), Finding::Good(_)));
    }

    #[tokio::test]
    async fn a_port_that_a_stranger_holds_is_named_with_its_key() {
        let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = at(&stranger.local_addr().expect("bound").to_string());
        let mut report = Report::default();
        report.begin("broker");
        ports(&[("listen", &address)], &mut report).await;
        let text = report.to_string();
        assert!(report.bad() == 1 && text.contains("`listen`") && text.contains(&address.port.to_string()), "{text}");
    }
}
