//! A network of its own for each process, so that any way between two of them can be cut: network namespaces on one bridge.
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use daemon::Failure;

/// Packets across `10.x.y.0/24`; x and y are the process's, so that two networks can be there at once.
#[derive(Debug)]
pub struct Network {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bridge: String,
    net: [u8; 3],
    hosts: AtomicU8,
}

/// A place where a process runs, with an address that all others and the tests reach. Gone when it is dropped.
#[derive(Debug)]
pub struct Host {
    address: Ipv4Addr,
    namespace: String,
    link: String,
    _network: Arc<Shared>, // The bridge goes after its hosts.
}

impl Network {
    /// Makes a bridge. Needs root and the programs `ip` and `iptables`; `Err` says what is missing.
    pub fn make() -> Result<Self, Failure> {
        let process = std::process::id();
        let bridge = format!("gmg{process}"); // Names of links have at most 15 bytes.
        let net = [10, 64 + (process >> 8) as u8 % 64, process as u8];
        run("iptables", &["--version"])?;
        run("ip", &["link", "add", "name", &bridge, "type", "bridge"])?;
        let shared = Arc::new(Shared { bridge, net, hosts: AtomicU8::new(1) });
        let own = format!("{}/24", shared.address(1));
        run("ip", &["address", "add", &own, "dev", &shared.bridge])?;
        run("ip", &["link", "set", &shared.bridge, "up"])?;
        Ok(Self { shared })
    }

    /// Makes a place on it.
    pub fn host(&self) -> Result<Host, Failure> {
        let number = self.shared.hosts.fetch_add(1, Ordering::Relaxed) + 1;
        let (bridge, address) = (&self.shared.bridge, self.shared.address(number));
        let namespace = format!("{bridge}-{number}");
        let (link, inside) = (format!("{bridge}p{number}"), format!("{address}/24"));
        run("ip", &["netns", "add", &namespace])?;
        let host = Host { address, namespace, link, _network: Arc::clone(&self.shared) };
        let (namespace, link) = (&host.namespace, &host.link);
        run("ip", &["link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace])?;
        run("ip", &["link", "set", link, "master", bridge, "up"])?;
        run("ip", &["-n", namespace, "address", "add", &inside, "dev", "eth0"])?;
        run("ip", &["-n", namespace, "link", "set", "eth0", "up"])?;
        run("ip", &["-n", namespace, "link", "set", "lo", "up"])?;
        Ok(host)
    }
}

impl Shared {
    fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.net;
        Ipv4Addr::new(a, b, c, number)
    }
}

impl Host {
    /// Where it is reached.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// From now on packets of `from` vanish on their way here; those the other way arrive.
    pub fn ignore(&self, from: &Self) -> Result<(), Failure> {
        self.drop_from(&["-s", &from.address.to_string()])
    }

    /// From now on nothing arrives here, whoever sends it.
    pub fn ignore_all(&self) -> Result<(), Failure> {
        self.drop_from(&["-i", "eth0"])
    }

    /// Everything arrives again.
    pub fn hear_all(&self) -> Result<(), Failure> {
        self.inside(&["iptables", "-w", "-F", "INPUT"])
    }

    /// The command line that runs `program` here.
    pub(super) fn command(&self, program: &Path, arguments: &[String]) -> Vec<String> {
        let place = ["netns".into(), "exec".into(), self.namespace.clone(), program.display().to_string()];
        place.into_iter().chain(arguments.iter().cloned()).collect()
    }

    fn drop_from(&self, whom: &[&str]) -> Result<(), Failure> {
        self.inside(&[&["iptables", "-w", "-A", "INPUT"], whom, &["-j", "DROP"]].concat())
    }

    fn inside(&self, command: &[&str]) -> Result<(), Failure> {
        run("ip", &[&["netns", "exec", &self.namespace], command].concat())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // The link would go with the namespace, but some time later, and its name would be taken until then.
        for what in [["link", "delete", &self.link], ["netns", "delete", &self.namespace]] {
            if let Err(failure) = run("ip", &what) {
                eprintln!("something of a network is left: {failure}");
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(failure) = run("ip", &["link", "delete", &self.bridge]) {
            eprintln!("a bridge is left: {failure}");
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), Failure> {
    let said = |why: String| Failure::usage(format!("{program} {}: {why}", arguments.join(" ")));
    let output = Command::new(program).args(arguments).output().map_err(|error| said(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(said(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
