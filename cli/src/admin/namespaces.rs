//! The table of namespaces.
use super::value::Kind;
use super::verb::{Argument, Resource, Verb, delete, flag, get, positional, post, put, switch};
use super::{daily, plain, policies};

pub(super) const NAMESPACES: Resource = Resource {
    name: "namespaces",
    about: "Namespaces and their policies",
    verbs: &[
        OWN,
        daily::OF_NAMESPACES,
        policies::OF_NAMESPACES,
        plain::OF_NAMESPACES,
        plain::FIXED_OF_NAMESPACES,
        plain::QUOTAS_OF_NAMESPACES,
    ],
};

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
const BUNDLE_TYPE: Argument = flag(
    "type",
    "-bt --bundle-type",
    Kind::Choice(&["largest", "hot"]),
    "Instead of a bundle: largest, with the most topics, or hot, with the most traffic",
);
const UNLOAD_PARTS: Argument =
    switch("unload", "-u --unload", "Let go of the new bundles, so that they may go elsewhere").query("unload");
const ALGORITHM: Argument = flag(
    "algorithm",
    "-san --split-algorithm-name",
    Kind::Text("NAME"),
    "range_equally_divide (if not given), topic_count_equally_divide or specified_positions_divide",
)
.query("splitAlgorithmName");
const BOUNDARIES: Argument = flag(
    "boundaries",
    "-sb --split-boundaries",
    Kind::List,
    "Where, with specified_positions_divide: numbers such as 0x20000000",
)
.body();
const POSITIONS_OF: Argument = flag("topics", "-t --topic", Kind::Topic, "Only this one").query("topics");
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
    get("get-clusters", "namespaces/{namespace}/replication", "Clusters it is to be in").takes(&[NAMESPACE]),
    post(
        "set-clusters",
        "namespaces/{namespace}/replication",
        "Say in which clusters it is to be; nothing goes to others yet",
    )
    .takes(&[NAMESPACE, REPLICATION.needed().body()]),
    get("policies", "namespaces/{namespace}", "All that is set for a namespace").takes(&[NAMESPACE]),
    get("bundles", "namespaces/{namespace}/bundles", "The bundles that share a namespace's topics out")
        .takes(&[NAMESPACE]),
    put("unload", "namespaces/{namespace}{/bundle}/unload", "Let go of a namespace, or of one of its bundles")
        .takes(&[NAMESPACE, BUNDLE, DESTINATION.query("destinationBroker")]),
    put("split-bundle", "namespaces/{namespace}{/bundle}{/type}/split", "Make several bundles of one").takes(&[
        NAMESPACE,
        BUNDLE,
        BUNDLE_TYPE,
        UNLOAD_PARTS,
        ALGORITHM,
        BOUNDARIES,
    ]),
    get(
        "get-topic-positions",
        "namespaces/{namespace}{/bundle}/topicHashPositions",
        "Where the topics of a bundle lie on the ring that bundles share",
    )
    .takes(&[NAMESPACE, BUNDLE.needed(), POSITIONS_OF]),
];
