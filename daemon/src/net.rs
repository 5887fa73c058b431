//! Listening.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

use crate::{Failure, HostPort};

/// Listens at `address`. The host `::` takes IPv4 as well, and falls back to it on a machine without IPv6.
/// A port that is taken is named together with `key`, the configuration key that changes it.
pub async fn bind(address: &HostPort, key: &str) -> Result<TcpListener, Failure> {
    let mut outcome = Err(io::Error::other("the host has no address"));
    for candidate in resolve(address).await.map_err(|error| Failure::usage(format!("{key}: {address}: {error}")))? {
        outcome = listen(candidate);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Failure::usage(format!(
            "{key}: port {} is taken by another process; stop it or choose another port with `{key}`",
            address.port
        )),
        _ => Failure::usage(format!("{key}: cannot listen at {address}: {error}")),
    })
}

async fn resolve(address: &HostPort) -> io::Result<Vec<SocketAddr>> {
    if address.host == "::" {
        let any = |ip: IpAddr| SocketAddr::new(ip, address.port);
        return Ok(if has_ipv6() {
            vec![any(Ipv6Addr::UNSPECIFIED.into())]
        } else {
            vec![any(Ipv4Addr::UNSPECIFIED.into())]
        });
    }
    Ok(lookup_host((address.host.as_str(), address.port)).await?.collect())
}

fn has_ipv6() -> bool {
    let probe = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP));
    probe.is_ok_and(|socket| socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into()).is_ok())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?; // A restart must not wait for old connections to time out.
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_key_that_changes_it() {
        let any = HostPort { host: "::".into(), port: 0 };
        let first = bind(&any, "listen").await.expect("a free port");
        let port = first.local_addr().expect("bound").port();
        let failure = bind(&HostPort { host: "::".into(), port }, "listen").await.expect_err("taken");
        assert!(failure.message.contains(&port.to_string()) && failure.message.contains("`listen`"), "{failure}");
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok(), "IPv4 is served too");
    }
}
