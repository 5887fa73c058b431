//! A project of Compose: its command line, and its containers as the engine sees them.
use std::path::PathBuf;
use std::time::Duration;

use daemon::Failure;
use serde_json::Value;
use tokio::process::Command;

use crate::deadline::eventually_every;

/// Nobody's own project is called so.
pub(super) const NAME: &str = "geminga-tests";
/// Neither are these ports those of a cluster that someone uses.
pub(super) const PORT: u16 = 26650;
pub(super) const HTTP_PORT: u16 = 28080;
/// Each look is two processes.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A project of Compose.
#[derive(Debug, Clone)]
pub struct Project {
    /// The command and its first arguments: `docker-compose`, or `docker compose`.
    pub command: Vec<String>,
    /// In the order in which they overlay each other.
    pub files: Vec<PathBuf>,
}

/// One container of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// As the engine names it.
    pub id: String,
    /// As the compose file names its service.
    pub service: String,
    /// Among those of its service, from 1 on.
    pub number: u64,
    /// What it was made of.
    pub image: String,
    /// What it calls itself, and others call it in its network.
    pub hostname: String,
    /// Its first process as seen from here.
    pub pid: u64,
    /// `running` or why not, then whether it is well: `running healthy`.
    pub state: String,
    /// Ports of the machine that lead to it.
    pub published: Vec<String>,
}

impl Container {
    /// Whether it runs and, where somebody asks, says that it is well.
    #[must_use]
    pub fn is_well(&self) -> bool {
        matches!(self.state.as_str(), "running" | "running healthy")
    }

    fn of(value: &Value) -> Option<Self> {
        let label = |name: &str| value["Config"]["Labels"][format!("com.docker.compose.{name}")].as_str();
        let state = &value["State"];
        let mut words = vec![state["Status"].as_str()?];
        words.extend(state["Health"]["Status"].as_str());
        let bindings = value["HostConfig"]["PortBindings"].as_object().into_iter().flatten();
        let hosts = bindings.flat_map(|(_, hosts)| hosts.as_array().into_iter().flatten());
        let published = hosts.filter_map(|host| host["HostPort"].as_str().map(str::to_owned)).collect();
        Some(Self {
            id: value["Id"].as_str()?.into(),
            service: label("service")?.into(),
            number: label("container-number")?.parse().ok()?,
            image: value["Config"]["Image"].as_str()?.into(),
            hostname: value["Config"]["Hostname"].as_str()?.into(),
            pid: state["Pid"].as_u64()?,
            state: words.join(" "),
            published,
        })
    }
}

/// Runs a command to its end and gives what it printed.
pub(super) async fn run(mut command: Command) -> Result<String, Failure> {
    let shown = format!("{:?}", command.as_std()).replace('"', "");
    let output = command.kill_on_drop(true).output().await;
    let output = output.map_err(|error| Failure::try_again(format!("{shown}: {error}")))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let complained = String::from_utf8_lossy(&output.stderr);
    Err(Failure::internal(format!("{shown}: {}\n{printed}\n{complained}", output.status)))
}

/// Runs the engine's own command.
pub(super) async fn docker(arguments: &[&str]) -> Result<String, Failure> {
    let mut command = Command::new("docker");
    command.args(arguments);
    run(command).await
}

impl Project {
    /// Runs Compose.
    pub async fn compose(&self, arguments: &[&str]) -> Result<String, Failure> {
        let (program, first) = self.command.split_first().ok_or_else(|| Failure::usage("no command for Compose"))?;
        let mut command = Command::new(program);
        command.args(first);
        for file in &self.files {
            command.arg("-f").arg(file);
        }
        command.args(["-p", NAME]).args(arguments);
        command.env("GEMINGA_PORT", PORT.to_string()).env("GEMINGA_HTTP_PORT", HTTP_PORT.to_string());
        run(command).await
    }

    /// All containers, by service and number.
    pub async fn containers(&self) -> Result<Vec<Container>, Failure> {
        let filter = format!("label=com.docker.compose.project={NAME}");
        let ids = docker(&["ps", "--all", "--quiet", "--no-trunc", "--filter", &filter]).await?;
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        // One that goes between the two looks is left out, and the rest is printed all the same.
        let shown = match docker(&[&["inspect"], &ids[..]].concat()).await {
            Ok(shown) => shown,
            Err(failure) if failure.message.contains("No such object") => "[]".into(),
            Err(failure) => return Err(failure),
        };
        let shown: Vec<Value> = serde_json::from_str(&shown).map_err(Failure::internal)?;
        let mut found: Vec<Container> = shown.iter().filter_map(Container::of).collect();
        found.sort_by(|one, other| (&one.service, one.number).cmp(&(&other.service, other.number)));
        Ok(found)
    }

    /// Those of one service.
    pub async fn of(&self, service: &str) -> Result<Vec<Container>, Failure> {
        let all = self.containers().await?.into_iter();
        Ok(all.filter(|container| container.service == service).collect())
    }

    /// Waits until these numbers of containers run and all are well.
    pub async fn well(&self, counts: &[(&str, usize)], within: Duration) -> Result<Vec<Container>, Failure> {
        let mut last = String::new();
        let outcome = eventually_every(LOOK_EVERY, "all containers are well", within, async || {
            let found = self.containers().await.ok()?;
            last = found.iter().map(|one| format!("  {} {}: {}\n", one.service, one.number, one.state)).collect();
            let count = |service: &str| found.iter().filter(|one| one.service == service).count();
            let complete = counts.iter().all(|(service, wanted)| count(service) == *wanted);
            (complete && found.iter().all(Container::is_well)).then_some(found)
        })
        .await;
        outcome.map_err(|failure| Failure::internal(format!("{failure}\n{last}")))
    }

    /// Takes everything away.
    pub async fn remove(&self) -> Result<(), Failure> {
        self.down(&["--profile", "metrics", "down", "--volumes", "--remove-orphans", "--timeout", "5"]).await
    }

    /// Takes containers and networks away. Engines may keep the place of a container in a network when it goes while its health is asked;
    /// then nobody is left to give it back, and the network stays. It is said, and such places are given back by force.
    pub async fn down(&self, arguments: &[&str]) -> Result<(), Failure> {
        let failure = match self.compose(arguments).await {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        if !failure.message.contains("has active endpoints") || !self.containers().await?.is_empty() {
            return Err(failure);
        }
        let network = format!("{NAME}_default");
        let names = "{{range .Containers}}{{println .Name}}{{end}}";
        for name in docker(&["network", "inspect", "--format", names, &network]).await?.split_whitespace() {
            println!("the engine keeps the place of {name} in the network, though it is gone");
            docker(&["network", "disconnect", "--force", &network, name]).await?;
        }
        self.compose(arguments).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_read_from_what_the_engine_shows() {
        let labels = json!({"com.docker.compose.service": "broker", "com.docker.compose.container-number": "2"});
        let mut shown = json!({
            "Id": "abc",
            "Config": {"Labels": labels, "Hostname": "abc", "Image": "geminga:local"},
            "HostConfig": {"PortBindings": {"6650/tcp": [{"HostIp": "127.0.0.1", "HostPort": "26650"}]}},
            "State": {"Status": "running", "Pid": 7, "Health": {"Status": "starting"}},
        });
        let found = Container::of(&shown).expect("whole");
        assert_eq!((found.service.as_str(), found.number, found.pid), ("broker", 2, 7));
        assert_eq!(found.published, ["26650"]);
        assert!(!found.is_well(), "{}", found.state);
        shown["State"]["Health"]["Status"] = "healthy".into();
        assert!(Container::of(&shown).expect("whole").is_well());
        shown["State"] = json!({"Status": "exited", "Pid": 0});
        assert!(!Container::of(&shown).expect("whole").is_well());
    }
}
