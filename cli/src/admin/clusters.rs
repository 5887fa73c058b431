//! The tables of tenants, clusters, brokers and schemas.
use super::namespaces::TENANT;
use super::show::{Format, Part};
use super::value::Kind;
use super::verb::{Argument, Resource, Shows, Verb, Way, delete, flag, get, positional, post, put, switch};

pub(super) const TENANTS: Resource = Resource { name: "tenants", about: "Tenants", verbs: &[TENANT_VERBS] };

pub(super) const CLUSTERS: Resource = Resource { name: "clusters", about: "Clusters", verbs: &[CLUSTER_VERBS] };

pub(super) const BROKERS: Resource = Resource { name: "brokers", about: "Brokers", verbs: &[BROKER_VERBS] };

pub(super) const SCHEMAS: Resource = Resource { name: "schemas", about: "Schemas of topics", verbs: &[SCHEMA_VERBS] };

const CLUSTER: Argument = positional("cluster", Kind::Text("CLUSTER"), "Name of the cluster");
const ROLES: Argument = flag("roles", "-r --admin-roles", Kind::List, "Who may administrate it").field("adminRoles");
const ALLOWED: Argument =
    flag("clusters", "-c --allowed-clusters", Kind::List, "Clusters it may use").field("allowedClusters");
const ALL_NAMESPACES: Argument = switch("force", "-f --force", "With all of its namespaces").query("force");

const TENANT_VERBS: &[Verb] = &[
    get("list", "tenants", "All tenants"),
    get("get", "tenants/{tenant}", "What is set for a tenant").takes(&[TENANT]),
    put("create", "tenants/{tenant}", "Make a tenant; without clusters, for all of them")
        .takes(&[TENANT, ALLOWED, ROLES])
        .way(Way::NewTenant),
    post("update", "tenants/{tenant}", "Change what is given, and leave the rest")
        .takes(&[TENANT, ALLOWED, ROLES])
        .way(Way::ChangedTenant),
    delete("delete", "tenants/{tenant}", "Delete a tenant").takes(&[TENANT, ALL_NAMESPACES]),
];

const PEERS: Argument = flag("peers", "--peer-clusters", Kind::List, "Clusters that take each other's place");
/// What is said of a cluster.
const DATA: [Argument; 10] = [
    CLUSTER,
    flag("service-url", "--service-url", Kind::Text("URL"), "Its admin interface, http://HOST:PORT")
        .field("serviceUrl"),
    flag("url-secure", "--url-secure", Kind::Text("URL"), "The same over TLS").field("serviceUrlTls"),
    flag("broker-url", "--broker-url", Kind::Text("URL"), "Its brokers, pulsar://HOST:PORT").field("brokerServiceUrl"),
    flag("broker-url-secure", "--broker-url-secure", Kind::Text("URL"), "The same over TLS")
        .field("brokerServiceUrlTls"),
    flag("proxy-url", "--proxy-url", Kind::Text("URL"), "A proxy before its brokers").field("proxyServiceUrl"),
    flag("auth-plugin", "--auth-plugin", Kind::Text("CLASS"), "How to say there who one is")
        .field("authenticationPlugin"),
    flag("auth-parameters", "--auth-parameters", Kind::Text("PARAMETERS"), "What that needs to know")
        .field("authenticationParameters"),
    flag("listener", "--listener-name", Kind::Text("NAME"), "Which of its addresses are meant").field("listenerName"),
    PEERS.field("peerClusterNames"),
];
const DOMAIN: Argument = flag("domain", "--domain-name", Kind::Text("NAME"), "Name of the domain");
const BROKERS_OF: Argument = flag("brokers", "--broker-list", Kind::List, "Brokers that fail together");
const IN_A_DOMAIN: [Argument; 3] = [CLUSTER, DOMAIN.needed(), BROKERS_OF.field("brokers")];
const FAILURE_DOMAIN: &str = "clusters/{cluster}/failureDomains/{domain}";

const CLUSTER_VERBS: &[Verb] = &[
    get("list", "clusters", "All clusters"),
    get("get", "clusters/{cluster}", "Where a cluster is reached").takes(&[CLUSTER]),
    put("create", "clusters/{cluster}", "Make another cluster known; nothing goes there yet").takes(&DATA),
    post("update", "clusters/{cluster}", "Replace what is said of a cluster").takes(&DATA),
    delete("delete", "clusters/{cluster}", "Forget another cluster").takes(&[CLUSTER]),
    get("get-peer-clusters", "clusters/{cluster}/peers", "Clusters that take each other's place").takes(&[CLUSTER]),
    post("update-peer-clusters", "clusters/{cluster}/peers", "Say which clusters take each other's place")
        .takes(&[CLUSTER, PEERS.needed().body()]),
    get("list-failure-domains", "clusters/{cluster}/failureDomains", "Brokers that fail together").takes(&[CLUSTER]),
    get("get-failure-domain", FAILURE_DOMAIN, "Brokers that fail together").takes(&[CLUSTER, DOMAIN.needed()]),
    post("create-failure-domain", FAILURE_DOMAIN, "Say which brokers fail together").takes(&IN_A_DOMAIN),
    post("update-failure-domain", FAILURE_DOMAIN, "Say which brokers fail together").takes(&IN_A_DOMAIN),
    delete("delete-failure-domain", FAILURE_DOMAIN, "Forget a domain").takes(&[CLUSTER, DOMAIN.needed()]),
];

const LEADER: &[Part] = &[Part::Fields(&[("broker", "/serviceUrl", Format::Plain)])];

const OWNED: &[Part] = &[Part::Rows { at: "", name: "BUNDLE", columns: &[("ACTIVE", "/is_active", Format::Plain)] }];

const MOVES: &[Part] = &[
    Part::Fields(&[("decides", "/decides", Format::Plain), ("moves/min", "/movesPerMin", Format::Plain)]),
    Part::Rows { at: "/loads", name: "BROKER", columns: &[("LOAD", "", Format::Rate)] },
    Part::Rows {
        at: "/moves",
        name: "",
        columns: &[
            ("BUNDLE", "/bundle", Format::Plain),
            ("FROM", "/from", Format::Plain),
            ("TO", "/to", Format::Plain),
            ("REASON", "/reason", Format::Plain),
        ],
    },
];

const BROKER_VERBS: &[Verb] = &[
    get("list", "brokers{/cluster}", "Brokers that are there").takes(&[CLUSTER.optional()]),
    get("namespaces", "brokers/{cluster}/{broker}/ownedNamespaces", "Bundles that a broker serves")
        .takes(&[
            CLUSTER,
            flag("broker", "-u --broker-url", Kind::Text("HOST:PORT"), "The HTTP address of the broker").needed(),
        ])
        .shows(Shows::Parts(OWNED)),
    get("moves", "geminga/moves", "Bundles that were moved to balance load, and why").shows(Shows::Parts(MOVES)),
    get("leader-broker", "brokers/leaderBroker", "The broker that decides for all").shows(Shows::Parts(LEADER)),
    get("healthcheck", "brokers/health", "Whether a broker works").takes(&[flag(
        "version",
        "-tv --topic-version",
        Kind::Text("V1|V2"),
        "V1 or V2",
    )
    .query("topicVersion")]),
    get("version", "brokers/version", "What a broker is"),
    get("get-runtime-config", "brokers/configuration/runtime", "Settings under Apache Pulsar's names"),
    get("get-internal-config", "brokers/internal-configuration", "Where the metadata are"),
    get("backlog-quota-check", "brokers/backlog-quota-check", "Look at backlogs at once"),
    get("openapi", "geminga/openapi", "All pages of administration, as an OpenAPI document")
        .shows(Shows::Text(|_, document| Ok(format!("{document:#}\n")))),
];

const SCHEMA_VERBS: &[Verb] = &[get("get", "schemas/{topic}/schema{/version}", "The schema of a topic")
    .takes(&[
        positional("topic", Kind::TopicOfSchema, "persistent://tenant/namespace/topic, or a short name"),
        flag("version", "-v --version", Kind::Count, "Another version than the latest"),
        switch("all", "-a --all-version", "All versions"),
    ])
    .way(Way::Schemas)];
