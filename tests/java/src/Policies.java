import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.admin.Namespaces;
import org.apache.pulsar.client.admin.TopicPolicies;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.SubscriptionType;
import org.apache.pulsar.common.policies.data.AutoSubscriptionCreationOverride;
import org.apache.pulsar.common.policies.data.AutoTopicCreationOverride;
import org.apache.pulsar.common.policies.data.BacklogQuota;
import org.apache.pulsar.common.policies.data.DelayedDeliveryPolicies;
import org.apache.pulsar.common.policies.data.DispatchRate;
import org.apache.pulsar.common.policies.data.InactiveTopicDeleteMode;
import org.apache.pulsar.common.policies.data.InactiveTopicPolicies;
import org.apache.pulsar.common.policies.data.PersistencePolicies;
import org.apache.pulsar.common.policies.data.PublishRate;
import org.apache.pulsar.common.policies.data.RetentionPolicies;
import org.apache.pulsar.common.policies.data.SchemaCompatibilityStrategy;
import org.apache.pulsar.common.policies.data.SubscribeRate;
import org.apache.pulsar.common.policies.data.TopicType;

/** Policies, set and read in the types of the Java administration client. */
final class Policies {
    private static final RetentionPolicies RETENTION = new RetentionPolicies(60, 10);
    private static final BacklogQuota QUOTA = BacklogQuota.builder().limitSize(1 << 20).limitTime(60)
            .retentionPolicy(BacklogQuota.RetentionPolicy.producer_exception).build();
    private static final DispatchRate DISPATCH =
            DispatchRate.builder().dispatchThrottlingRateInMsg(100).dispatchThrottlingRateInByte(1000).ratePeriodInSecond(1).build();
    private static final InactiveTopicPolicies INACTIVE =
            new InactiveTopicPolicies(InactiveTopicDeleteMode.delete_when_subscriptions_caught_up, 60, true);

    public static void aNamespaceKeepsWhatItIsTold(Stage stage) throws Exception {
        String name = stage.namespace("policies");
        Namespaces namespaces = stage.admin.namespaces();
        namespaces.setRetention(name, RETENTION);
        Stage.equal(namespaces.getRetention(name), RETENTION);
        namespaces.setBacklogQuota(name, QUOTA, BacklogQuota.BacklogQuotaType.destination_storage);
        Stage.equal(namespaces.getBacklogQuotaMap(name).get(BacklogQuota.BacklogQuotaType.destination_storage), QUOTA);
        namespaces.setNamespaceMessageTTL(name, 77);
        Stage.equal(namespaces.getNamespaceMessageTTL(name), 77);
        namespaces.setPersistence(name, new PersistencePolicies(1, 1, 1, 0.0));
        Stage.equal(namespaces.getPersistence(name).getBookkeeperEnsemble(), 1);
        namespaces.setMaxProducersPerTopic(name, 3);
        Stage.equal(namespaces.getMaxProducersPerTopic(name), 3);
        namespaces.setMaxConsumersPerSubscription(name, 4);
        Stage.equal(namespaces.getMaxConsumersPerSubscription(name), 4);
        namespaces.setSubscriptionTypesEnabled(name, Set.of(SubscriptionType.Exclusive, SubscriptionType.Shared));
        Stage.equal(namespaces.getSubscriptionTypesEnabled(name), Set.of(SubscriptionType.Exclusive, SubscriptionType.Shared));
        namespaces.setInactiveTopicPolicies(name, INACTIVE);
        Stage.equal(namespaces.getInactiveTopicPolicies(name), INACTIVE);
        namespaces.setDeduplicationStatus(name, true);
        Stage.equal(namespaces.getDeduplicationStatus(name), true);
        namespaces.setSchemaCompatibilityStrategy(name, SchemaCompatibilityStrategy.FORWARD);
        Stage.equal(namespaces.getSchemaCompatibilityStrategy(name), SchemaCompatibilityStrategy.FORWARD);
        namespaces.setCompactionThreshold(name, 12345);
        Stage.equal(namespaces.getCompactionThreshold(name), 12345L);
        AutoTopicCreationOverride topics = AutoTopicCreationOverride.builder().allowAutoTopicCreation(true)
                .topicType(TopicType.PARTITIONED.toString()).defaultNumPartitions(3).build();
        namespaces.setAutoTopicCreation(name, topics);
        Stage.equal(namespaces.getAutoTopicCreation(name), topics);
        AutoSubscriptionCreationOverride subscriptions =
                AutoSubscriptionCreationOverride.builder().allowAutoSubscriptionCreation(false).build();
        namespaces.setAutoSubscriptionCreation(name, subscriptions);
        Stage.equal(namespaces.getAutoSubscriptionCreation(name), subscriptions);
        namespaces.setProperties(name, Map.of("owner", "me"));
        Stage.equal(namespaces.getProperties(name), Map.of("owner", "me"));
    }

    public static void theRatesOfANamespaceAreKept(Stage stage) throws Exception {
        String name = stage.namespace("rates");
        Namespaces namespaces = stage.admin.namespaces();
        namespaces.setDispatchRate(name, DISPATCH);
        Stage.equal(namespaces.getDispatchRate(name), DISPATCH);
        namespaces.setSubscriptionDispatchRate(name, DISPATCH);
        Stage.equal(namespaces.getSubscriptionDispatchRate(name), DISPATCH);
        namespaces.setPublishRate(name, new PublishRate(100, 1000));
        Stage.equal(namespaces.getPublishRate(name), new PublishRate(100, 1000));
        namespaces.setSubscribeRate(name, new SubscribeRate(10, 30));
        Stage.equal(namespaces.getSubscribeRate(name), new SubscribeRate(10, 30));
        namespaces.setDelayedDeliveryMessages(name, DelayedDeliveryPolicies.builder().active(true).tickTime(1000).build());
        Stage.equal(namespaces.getDelayedDelivery(name).getTickTime(), 1000L);
    }

    public static void allPoliciesOfANamespaceAreOneValue(Stage stage) throws Exception {
        String name = stage.namespace("value");
        stage.admin.namespaces().setRetention(name, RETENTION);
        var policies = stage.admin.namespaces().getPolicies(name);
        Stage.equal(policies.retention_policies, RETENTION);
        Stage.that(0 < policies.bundles.getNumBundles(), "it has bundles");
        Stage.equal(policies.replication_clusters.size(), 1);
    }

    public static void aTopicOverridesItsNamespaceAndForgetsThat(Stage stage) throws Exception {
        String name = stage.namespace("override");
        String topic = "persistent://" + name + "/t";
        stage.admin.topics().createNonPartitionedTopic(topic);
        stage.admin.namespaces().setRetention(name, RETENTION);
        TopicPolicies topics = stage.admin.topicPolicies();
        Stage.equal(topics.getRetention(topic), null);
        Stage.equal(topics.getRetention(topic, true), RETENTION);
        RetentionPolicies own = new RetentionPolicies(-1, -1);
        topics.setRetention(topic, own);
        Stage.eventually("its own counts", () -> Objects.equals(topics.getRetention(topic, true), own));
        topics.removeRetention(topic);
        Stage.eventually("its namespace's counts again", () -> Objects.equals(topics.getRetention(topic, true), RETENTION));
    }

    public static void aMessageLargerThanItsTopicAllowsIsRefused(Stage stage) throws Exception {
        String topic = stage.topic("size");
        try (Producer<String> producer = stage.producing(topic).create();
                Producer<String> chunking = stage.producing(topic).enableChunking(true).chunkMaxMessageSize(1500).create()) {
            producer.send("x".repeat(2000));
            stage.admin.topicPolicies().setMaxMessageSize(topic, 1000);
            Stage.eventually("the policy counts for who is there", () -> isRefused(producer, "x".repeat(2000)));
            String text = Stage.refused(PulsarClientException.NotAllowedException.class, () -> producer.send("x".repeat(2000))).getMessage();
            Stage.that(text.contains("Exceed maximum message size"), text);
            producer.send("x".repeat(900));
            chunking.send("x".repeat(4000));
            stage.admin.topicPolicies().removeMaxMessageSize(topic);
            Stage.eventually("it does not any more", () -> !isRefused(producer, "x".repeat(2000)));
        }
    }

    public static void aMessageThatIsToWaitTooLongIsRefused(Stage stage) throws Exception {
        String topic = stage.topic("delay");
        try (Producer<String> producer = stage.producing(topic).create()) {
            producer.send("before");
            stage.admin.topicPolicies().setDelayedDeliveryPolicy(topic,
                    DelayedDeliveryPolicies.builder().active(true).tickTime(1000).maxDeliveryDelayInMillis(5000).build());
            Stage.Doing late = () -> producer.newMessage().value("late").deliverAfter(6, TimeUnit.SECONDS).send();
            Stage.eventually("the policy counts for who is there", () -> isRefused(late));
            String text = Stage.refused(PulsarClientException.NotAllowedException.class, late).getMessage();
            Stage.that(text.contains("Exceeds max allowed delivery delay of 5000 milliseconds"), text);
            producer.newMessage().value("in time").deliverAfter(4, TimeUnit.SECONDS).send();
        }
    }

    private static boolean isRefused(Producer<String> producer, String content) throws Exception {
        return isRefused(() -> producer.send(content));
    }

    private static boolean isRefused(Stage.Doing sending) throws Exception {
        try {
            sending.run();
            return false;
        } catch (PulsarClientException.NotAllowedException refused) {
            return true;
        }
    }

    public static void aTopicKeepsWhatItIsTold(Stage stage) throws Exception {
        String topic = stage.topic("policies");
        stage.admin.topics().createNonPartitionedTopic(topic);
        TopicPolicies topics = stage.admin.topicPolicies();
        topics.setBacklogQuota(topic, QUOTA, BacklogQuota.BacklogQuotaType.message_age);
        topics.setMessageTTL(topic, 77);
        topics.setMaxProducers(topic, 3);
        topics.setMaxConsumers(topic, 4);
        topics.setDispatchRate(topic, DISPATCH);
        topics.setPublishRate(topic, new PublishRate(100, 1000));
        topics.setSubscribeRate(topic, new SubscribeRate(10, 30));
        topics.setDeduplicationStatus(topic, true);
        topics.setCompactionThreshold(topic, 12345);
        topics.setInactiveTopicPolicies(topic, INACTIVE);
        topics.setMaxUnackedMessagesOnConsumer(topic, 5);
        topics.setMaxMessageSize(topic, 1000);
        topics.setSubscriptionTypesEnabled(topic, Set.of(SubscriptionType.Shared));
        topics.setDelayedDeliveryPolicy(topic, DelayedDeliveryPolicies.builder().active(false).tickTime(1).build());
        Stage.eventually("all of it is kept", () -> Objects.equals(topics.getMessageTTL(topic), 77)
                && topics.getDelayedDeliveryPolicy(topic) != null);
        Stage.equal(topics.getBacklogQuotaMap(topic).get(BacklogQuota.BacklogQuotaType.message_age), QUOTA);
        Stage.equal(topics.getMaxProducers(topic), 3);
        Stage.equal(topics.getMaxConsumers(topic), 4);
        Stage.equal(topics.getDispatchRate(topic), DISPATCH);
        Stage.equal(topics.getPublishRate(topic), new PublishRate(100, 1000));
        Stage.equal(topics.getSubscribeRate(topic), new SubscribeRate(10, 30));
        Stage.equal(topics.getDeduplicationStatus(topic), true);
        Stage.equal(topics.getCompactionThreshold(topic), 12345L);
        Stage.equal(topics.getInactiveTopicPolicies(topic), INACTIVE);
        Stage.equal(topics.getMaxUnackedMessagesOnConsumer(topic), 5);
        Stage.equal(topics.getMaxMessageSize(topic), 1000);
        Stage.equal(topics.getSubscriptionTypesEnabled(topic), Set.of(SubscriptionType.Shared));
        Stage.equal(topics.getDelayedDeliveryPolicy(topic).isActive(), false);
    }
}
