import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.pulsar.client.admin.PulsarAdminException;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.SubscriptionType;
import org.apache.pulsar.common.policies.data.BundlesData;
import org.apache.pulsar.common.policies.data.ConsumerStats;
import org.apache.pulsar.common.policies.data.PartitionedTopicStats;
import org.apache.pulsar.common.policies.data.PersistentTopicInternalStats;
import org.apache.pulsar.common.policies.data.PublisherStats;
import org.apache.pulsar.common.policies.data.SubscriptionStats;
import org.apache.pulsar.common.policies.data.TenantInfo;
import org.apache.pulsar.common.policies.data.TopicStats;

/** What operators ask for, in the types of the Java administration client: what it cannot read fails here. */
final class Administration {
    public static void topicsAreMadeListedAndDeleted(Stage stage) throws Exception {
        String namespace = stage.namespace("topics");
        String plain = "persistent://" + namespace + "/plain";
        String parts = "persistent://" + namespace + "/parts";
        stage.admin.topics().createNonPartitionedTopic(plain, Map.of("owner", "me"));
        stage.admin.topics().createPartitionedTopic(parts, 2, Map.of("owner", "you"));
        Stage.refused(PulsarAdminException.ConflictException.class, () -> stage.admin.topics().createNonPartitionedTopic(plain));
        Stage.refused(PulsarAdminException.ConflictException.class, () -> stage.admin.topics().createPartitionedTopic(parts, 3));
        Stage.equal(new HashSet<>(stage.admin.topics().getList(namespace)), Set.of(plain, parts + "-partition-0", parts + "-partition-1"));
        Stage.equal(stage.admin.topics().getPartitionedTopicList(namespace), List.of(parts));
        Stage.equal(stage.admin.topics().getPartitionedTopicMetadata(parts).partitions, 2);
        Stage.equal(stage.admin.topics().getProperties(plain), Map.of("owner", "me"));
        Stage.equal(stage.admin.topics().getProperties(parts), Map.of("owner", "you"));
        stage.admin.topics().updatePartitionedTopic(parts, 3);
        Stage.equal(stage.admin.topics().getPartitionedTopicMetadata(parts).partitions, 3);
        stage.admin.topics().delete(plain);
        stage.admin.topics().deletePartitionedTopic(parts);
        Stage.equal(stage.admin.topics().getList(namespace), List.of());
        Stage.refused(PulsarAdminException.NotFoundException.class, () -> stage.admin.topics().getStats(plain));
        stage.admin.namespaces().deleteNamespace(namespace);
        Stage.refused(PulsarAdminException.NotFoundException.class, () -> stage.admin.namespaces().getPolicies(namespace));
    }

    public static void statisticsTellOfProducersAndConsumers(Stage stage) throws Exception {
        String topic = stage.topic("stats");
        try (Consumer<String> consumer = stage.consuming(topic).consumerName("eater").subscriptionType(SubscriptionType.Shared).subscribe();
                Producer<String> producer = stage.producing(topic).producerName("cook").property("dish", "soup").create()) {
            producer.send("a");
            producer.send("b");
            Message<String> first = Stage.next(consumer);
            Stage.next(consumer);
            consumer.acknowledge(first);
            Stage.eventually("one is left", () ->
                    stage.admin.topics().getStats(topic, true, true).getSubscriptions().get("s").getMsgBacklog() == 1);
            TopicStats stats = stage.admin.topics().getStats(topic, true, true);
            Stage.equal(stats.getMsgInCounter(), 2L);
            Stage.that(0 < stats.getBytesInCounter() && 0 < stats.getStorageSize(), "bytes are counted");
            PublisherStats publisher = stats.getPublishers().get(0);
            Stage.equal(publisher.getProducerName(), "cook");
            Stage.equal(publisher.getMetadata(), Map.of("dish", "soup"));
            Stage.that(publisher.getClientVersion().contains("Java"), publisher.getClientVersion());
            SubscriptionStats subscription = stats.getSubscriptions().get("s");
            Stage.equal(subscription.getType(), "Shared");
            Stage.equal(subscription.getUnackedMessages(), 1L);
            Stage.equal(subscription.getMsgOutCounter(), 2L);
            Stage.that(subscription.isDurable(), "it is durable");
            ConsumerStats eater = subscription.getConsumers().get(0);
            Stage.equal(eater.getConsumerName(), "eater");
            Stage.equal(eater.getUnackedMessages(), 1);
            Stage.equal(eater.getAvailablePermits(), 998);
        }
    }

    public static void statisticsOfPartitionsAreAddedUp(Stage stage) throws Exception {
        String topic = stage.partitioned("sum", 2);
        try (Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            stage.publish(topic, "a", "b", "c", "d");
            Stage.received(consumer, 4);
        }
        PartitionedTopicStats stats = stage.admin.topics().getPartitionedStats(topic, true);
        Stage.equal(stats.getMetadata().partitions, 2);
        Stage.equal(stats.getMsgInCounter(), 4L);
        Stage.equal(stats.getPartitions().keySet(), Set.of(topic + "-partition-0", topic + "-partition-1"));
        long each = stats.getPartitions().values().stream().mapToLong(TopicStats::getMsgInCounter).sum();
        Stage.equal(each, 4L);
        Stage.equal(stats.getSubscriptions().get("s").getMsgBacklog(), 0L);
    }

    public static void theLedgersOfATopicAreShown(Stage stage) throws Exception {
        String topic = stage.topic("internal");
        try (Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            stage.publish(topic, "a", "b");
            consumer.acknowledge(Stage.next(consumer));
            Stage.eventually("the mark moves", () -> stage.admin.topics().getInternalStats(topic).cursors.get("s").markDeletePosition.endsWith(":0"));
            PersistentTopicInternalStats stats = stage.admin.topics().getInternalStats(topic);
            Stage.equal(stats.numberOfEntries, 2L);
            Stage.equal(stats.state, "LedgerOpened");
            long last = stats.ledgers.get(stats.ledgers.size() - 1).ledgerId;
            Stage.equal(stats.lastConfirmedEntry, last + ":1");
            Stage.equal(stats.cursors.get("s").readPosition, last + ":2");
        }
    }

    public static void messagesAreLookedAtWithoutBeingTaken(Stage stage) throws Exception {
        String topic = stage.topic("look");
        try (Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            try (Producer<String> producer = stage.producing(topic).create()) {
                producer.newMessage().key("k").property("p", "v").value("a").send();
            }
            stage.publishBatch(topic, "b", "c");
        }
        List<String> peeked = new ArrayList<>();
        for (Message<byte[]> message : stage.admin.topics().peekMessages(topic, "s", 3)) {
            peeked.add(new String(message.getData(), StandardCharsets.UTF_8));
        }
        Stage.equal(peeked, List.of("a", "b", "c"));
        Message<byte[]> first = stage.admin.topics().examineMessage(topic, "earliest", 1);
        Stage.equal(new String(first.getData(), StandardCharsets.UTF_8), "a");
        Stage.equal(first.getKey(), "k");
        Stage.equal(first.getProperty("p"), "v");
        String[] place = stage.admin.topics().getInternalStats(topic).lastConfirmedEntry.split(":");
        List<Message<byte[]>> batch = stage.admin.topics().getMessagesById(topic, Long.parseLong(place[0]), Long.parseLong(place[1]));
        Stage.equal(batch.stream().map(message -> new String(message.getData(), StandardCharsets.UTF_8)).toList(), List.of("b", "c"));
        Stage.equal(stage.admin.topics().getStats(topic).getSubscriptions().get("s").getMsgBacklog(), 2L);
    }

    public static void subscriptionsAreMovedByOperators(Stage stage) throws Exception {
        String topic = stage.topic("moved");
        stage.publish(topic, "a", "b", "c", "d");
        stage.admin.topics().createSubscription(topic, "s", MessageId.earliest);
        Stage.refused(PulsarAdminException.ConflictException.class, () -> stage.admin.topics().createSubscription(topic, "s", MessageId.latest));
        stage.admin.topics().skipMessages(topic, "s", 1);
        Stage.equal(backlog(stage, topic), 3L);
        stage.admin.topics().skipAllMessages(topic, "s");
        Stage.equal(backlog(stage, topic), 0L);
        stage.admin.topics().resetCursor(topic, "s", 0L);
        Stage.equal(backlog(stage, topic), 4L);
        MessageId second = stage.admin.topics().getMessagesById(topic, ledger(stage, topic), 1).get(0).getMessageId();
        stage.admin.topics().resetCursor(topic, "s", second, true);
        try (Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            Stage.equal(Stage.received(consumer, 2), List.of("c", "d"));
            Stage.refused(PulsarAdminException.PreconditionFailedException.class, () -> stage.admin.topics().deleteSubscription(topic, "s"));
        }
        stage.admin.topics().deleteSubscription(topic, "s");
        Stage.equal(stage.admin.topics().getSubscriptions(topic), List.of());
        Stage.refused(PulsarAdminException.NotFoundException.class, () -> stage.admin.topics().deleteSubscription(topic, "s"));
    }

    private static long backlog(Stage stage, String topic) throws Exception {
        return stage.admin.topics().getStats(topic, true, false).getSubscriptions().get("s").getMsgBacklog();
    }

    private static long ledger(Stage stage, String topic) throws Exception {
        return Long.parseLong(stage.admin.topics().getInternalStats(topic).lastConfirmedEntry.split(":")[0]);
    }

    public static void theEndOfATopicIsKnown(Stage stage) throws Exception {
        String topic = stage.topic("end");
        stage.publish(topic, "a", "b");
        MessageId last = stage.admin.topics().getLastMessageId(topic);
        Stage.equal(stage.admin.topics().terminateTopic(topic).toString(), last.toString());
        Stage.that(stage.admin.topics().getInternalStats(topic).state.equals("Terminated"), "it says so");
        Stage.that(0 < stage.admin.topics().getBacklogSizeByMessageId(topic, MessageId.earliest), "it has a size");
    }

    public static void whatABacklogIsMadeOfIsCounted(Stage stage) throws Exception {
        String topic = stage.topic("analysis");
        stage.admin.topics().createSubscription(topic, "s", MessageId.earliest);
        stage.publish(topic, "a");
        stage.publishBatch(topic, "b", "c", "d");
        var analysis = stage.admin.topics().analyzeSubscriptionBacklog(topic, "s", java.util.Optional.empty());
        Stage.equal(analysis.getEntries(), 2L);
        Stage.equal(analysis.getMessages(), 4L);
        Stage.equal(analysis.isAborted(), false);
    }

    public static void brokersAndClustersAreKnown(Stage stage) throws Exception {
        String cluster = stage.admin.clusters().getClusters().get(0);
        Stage.that(stage.admin.clusters().getCluster(cluster).getServiceUrl().startsWith("http"), "it has an address");
        List<String> brokers = stage.admin.brokers().getActiveBrokers(cluster);
        Stage.that(brokers.contains(stage.admin.brokers().getLeaderBroker().getBrokerId()), "one of them leads");
        stage.admin.brokers().healthcheck(org.apache.pulsar.common.naming.TopicVersion.V2);
        Stage.that(!stage.admin.brokers().getVersion().isEmpty(), "it has a version");
        Stage.that(!stage.admin.brokers().getRuntimeConfigurations().isEmpty(), "it is configured");
        Stage.that(!stage.admin.brokers().getInternalConfigurationData().getMetadataStoreUrl().isEmpty(), "it has metadata");
        Stage.that(stage.admin.brokers().getDynamicConfigurationNames() != null, "perhaps at run time");
    }

    public static void tenantsAreMadeAndDeleted(Stage stage) throws Exception {
        String tenant = "java-" + Stage.unique();
        Set<String> clusters = new HashSet<>(stage.admin.clusters().getClusters());
        clusters.removeIf(name -> name.equals("global"));
        TenantInfo info = TenantInfo.builder().adminRoles(Set.of("me")).allowedClusters(clusters).build();
        stage.admin.tenants().createTenant(tenant, info);
        Stage.that(stage.admin.tenants().getTenants().contains(tenant), "it is listed");
        Stage.equal(stage.admin.tenants().getTenantInfo(tenant).getAdminRoles(), Set.of("me"));
        stage.admin.namespaces().createNamespace(tenant + "/n", 4);
        Stage.equal(stage.admin.namespaces().getNamespaces(tenant), List.of(tenant + "/n"));
        Stage.refused(PulsarAdminException.ConflictException.class, () -> stage.admin.tenants().deleteTenant(tenant));
        stage.admin.namespaces().deleteNamespace(tenant + "/n");
        stage.admin.tenants().deleteTenant(tenant);
    }

    public static void bundlesAreShownUnloadedAndSplit(Stage stage) throws Exception {
        String namespace = stage.namespace("bundles");
        String topic = "persistent://" + namespace + "/t";
        try (Consumer<String> consumer = stage.consuming(topic).subscribe(); Producer<String> producer = stage.producing(topic).create()) {
            producer.send("a");
            BundlesData bundles = stage.admin.namespaces().getBundles(namespace);
            String bundle = stage.admin.lookups().getBundleRange(topic);
            Stage.that(bundles.getBoundaries().contains(bundle.split("_")[0]), bundle + " of " + bundles.getBoundaries());
            stage.admin.namespaces().unloadNamespaceBundle(namespace, bundle);
            producer.send("b");
            stage.admin.namespaces().splitNamespaceBundle(namespace, bundle, false, null);
            Stage.eventually("there is one bundle more", () ->
                    stage.admin.namespaces().getBundles(namespace).getNumBundles() == bundles.getNumBundles() + 1);
            producer.send("c");
            Stage.equal(Stage.received(consumer, 3), List.of("a", "b", "c"));
            Stage.that(stage.admin.lookups().lookupTopic(topic).startsWith("pulsar://"), "somebody serves it");
        }
    }

    public static void partitionsAreLookedUpTogether(Stage stage) throws Exception {
        String topic = stage.partitioned("lookup", 2);
        Set<String> found = stage.admin.lookups().lookupPartitionedTopic(topic).keySet().stream().collect(Collectors.toSet());
        Stage.equal(found, Set.of(topic + "-partition-0", topic + "-partition-1"));
    }
}
