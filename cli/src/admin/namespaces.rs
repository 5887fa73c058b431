//! The table of namespaces.
use super::policies;
use super::value::Kind;
use super::verb::{Argument, Resource, Verb, delete, flag, get, positional, put, switch};

pub(super) const NAMESPACES: Resource =
    Resource { name: "namespaces", about: "Namespaces and their policies", verbs: &[OWN, policies::OF_NAMESPACES] };

pub(super) const NAMESPACE: Argument = positional("namespace", Kind::Namespace, "tenant/namespace");
pub(super) const TENANT: Argument = positional("tenant", Kind::Text("TENANT"), "Name of the tenant");

const MODE: Argument = flag(
    "mode",
    "-m --mode",
    Kind::Choice(&["persistent", "non_persistent", "all"]),
    "persistent, non_persistent or all",
)
.query("mode");
const SYSTEM: Argument =
    switch("system", "-ist --include-system-topic", "With the topics that a server keeps for itself")
        .query("includeSystemTopic");
const ALL_TOPICS: Argument = switch("force", "-f --force", "With all of its topics, whoever uses them").query("force");
const BUNDLES: Argument =
    flag("bundles", "-b --bundles", Kind::Count, "How many bundles share its topics out among brokers");
const REPLICATION: Argument = flag("clusters", "-c --clusters", Kind::List, "Clusters it belongs to");
const BUNDLE: Argument =
    flag("bundle", "-b --bundle", Kind::Text("BUNDLE"), "Only this one, such as 0x00000000_0x40000000");
const DESTINATION: Argument = flag(
    "destination",
    "-d --destinationBroker",
    Kind::Text("HOST:PORT"),
    "The HTTP address of the broker that takes the bundle",
);

const OWN: &[Verb] = &[
    get("list", "namespaces/{tenant}", "Namespaces of a tenant").takes(&[TENANT]),
    put("create", "namespaces/{namespace}", "Make a namespace").takes(&[
        NAMESPACE,
        BUNDLES.query("bundles"),
        REPLICATION.field("replication_clusters"),
    ]),
    delete("delete", "namespaces/{namespace}", "Delete a namespace").takes(&[NAMESPACE, ALL_TOPICS]),
    get("topics", "namespaces/{namespace}/topics", "Topics of a namespace; each partition is one of them")
        .takes(&[NAMESPACE, MODE, SYSTEM]),
    get("policies", "namespaces/{namespace}", "All that is set for a namespace").takes(&[NAMESPACE]),
    get("bundles", "namespaces/{namespace}/bundles", "The bundles that share a namespace's topics out")
        .takes(&[NAMESPACE]),
    put("unload", "namespaces/{namespace}{/bundle}/unload", "Let go of a namespace, or of one of its bundles")
        .takes(&[NAMESPACE, BUNDLE, DESTINATION.query("destinationBroker")]),
];
