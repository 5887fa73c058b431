import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.pulsar.client.api.BatchReceivePolicy;
import org.apache.pulsar.client.api.BatcherBuilder;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.ConsumerBuilder;
import org.apache.pulsar.client.api.ConsumerEventListener;
import org.apache.pulsar.client.api.DeadLetterPolicy;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Messages;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.SubscriptionType;
import org.apache.pulsar.client.api.TopicMessageId;
import org.apache.pulsar.client.impl.MultiplierRedeliveryBackoff;

/** Receiving and acknowledging. */
final class Consumers {
    private static ConsumerBuilder<String> sharing(Stage stage, String topic) {
        return stage.consuming(topic).subscriptionType(SubscriptionType.Shared);
    }

    public static void aMessageThatNobodyAcknowledgesInTimeComesAgain(Stage stage) throws Exception {
        String topic = stage.topic("patience");
        stage.publish(topic, "m");
        try (Consumer<String> consumer = sharing(stage, topic).ackTimeout(1, TimeUnit.SECONDS).subscribe()) {
            Stage.equal(Stage.next(consumer).getRedeliveryCount(), 0);
            Message<String> again = Stage.next(consumer);
            Stage.equal(again.getValue(), "m");
            Stage.equal(again.getRedeliveryCount(), 1);
            consumer.acknowledge(again);
        }
    }

    public static void aMessageThatIsGivenBackComesAgainAndEachTimeLater(Stage stage) throws Exception {
        String topic = stage.topic("backoff");
        stage.publish(topic, "m");
        MultiplierRedeliveryBackoff backoff =
                MultiplierRedeliveryBackoff.builder().minDelayMs(100).maxDelayMs(400).multiplier(2).build();
        try (Consumer<String> consumer = sharing(stage, topic).negativeAckRedeliveryBackoff(backoff).subscribe()) {
            for (int count = 0; count < 3; count++) {
                Message<String> message = Stage.next(consumer);
                Stage.equal(message.getRedeliveryCount(), count);
                consumer.negativeAcknowledge(message);
            }
            Stage.equal(Stage.received(consumer, 1), List.of("m"));
        }
    }

    public static void eachMessageInChunksComesWholeToOneOfSeveralConsumers(Stage stage) throws Exception {
        messagesInChunks(stage, 1000);
    }

    public static void messagesInChunksComeToConsumersThatHaveRoomForFewChunks(Stage stage) throws Exception {
        messagesInChunks(stage, 5);
    }

    /** Of several producers at once, in eight chunks each, with small ones between them. */
    private static void messagesInChunks(Stage stage, int queueSize) throws Exception {
        for (SubscriptionType kind : List.of(SubscriptionType.Shared, SubscriptionType.Key_Shared)) {
            String topic = stage.topic("chunks");
            List<Consumer<String>> consumers = new ArrayList<>();
            List<Producer<String>> producers = new ArrayList<>();
            Set<String> sent = new HashSet<>();
            for (int number = 0; number < 3; number++) {
                consumers.add(stage.consuming(topic).subscriptionType(kind).receiverQueueSize(queueSize).subscribe());
                producers.add(stage.producing(topic).enableBatching(false).enableChunking(true).chunkMaxMessageSize(200).create());
            }
            List<CompletableFuture<MessageId>> sending = new ArrayList<>();
            for (int number = 0; number < 60; number++) {
                String content = number + "x".repeat(number % 2 == 0 ? 10 : 1500);
                sent.add(content);
                sending.add(producers.get(number % 3).newMessage().key("k" + number).value(content).sendAsync());
            }
            CompletableFuture.allOf(sending.toArray(CompletableFuture[]::new)).get(Stage.PATIENCE_S, TimeUnit.SECONDS);
            Set<String> found = new HashSet<>();
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Stage.PATIENCE_S);
            while (found.size() < sent.size() && System.nanoTime() < deadline) {
                for (Consumer<String> consumer : consumers) {
                    Message<String> message = consumer.receive(20, TimeUnit.MILLISECONDS);
                    if (message != null) {
                        Stage.that(found.add(message.getValue()), "twice: " + message.getValue());
                        consumer.acknowledge(message);
                    }
                }
            }
            Stage.equal(found, sent);
            Stage.eventually("the subscription is done with them", () ->
                    stage.admin.topics().getStats(topic).getSubscriptions().get("s").getMsgBacklog() == 0);
            for (Consumer<String> consumer : consumers) {
                consumer.close();
            }
        }
    }

    public static void aMessageInChunksThatIsGivenBackComesAgainWhole(Stage stage) throws Exception {
        String topic = stage.topic("chunks-again");
        try (Producer<String> producer =
                        stage.producing(topic).enableBatching(false).enableChunking(true).chunkMaxMessageSize(200).create();
                Consumer<String> consumer = sharing(stage, topic).negativeAckRedeliveryDelay(50, TimeUnit.MILLISECONDS).subscribe()) {
            producer.send("x".repeat(1500));
            consumer.negativeAcknowledge(Stage.next(consumer));
            Message<String> again = Stage.next(consumer);
            Stage.equal(again.getValue(), "x".repeat(1500));
            consumer.acknowledge(again);
            Stage.eventually("the subscription is done with it", () ->
                    stage.admin.topics().getStats(topic).getSubscriptions().get("s").getMsgBacklog() == 0);
        }
    }

    public static void whatFailsTooOftenGoesToTheDeadLetterTopic(Stage stage) throws Exception {
        String topic = stage.topic("dead");
        DeadLetterPolicy policy = DeadLetterPolicy.builder().maxRedeliverCount(2).initialSubscriptionName("heirs").build();
        try (Producer<String> producer = stage.producing(topic).create()) {
            producer.newMessage().key("k").property("p", "v").value("poison").send();
            producer.send("fine");
        }
        try (Consumer<String> consumer = sharing(stage, topic).deadLetterPolicy(policy)
                .negativeAckRedeliveryDelay(50, TimeUnit.MILLISECONDS).subscribe()) {
            for (int seen = 0; seen < 4; seen++) { // The good one, and the bad one three times.
                Message<String> message = Stage.next(consumer);
                if (message.getValue().equals("fine")) {
                    consumer.acknowledge(message);
                } else {
                    consumer.negativeAcknowledge(message);
                }
            }
            String dead = topic + "-s-DLQ";
            Stage.eventually("the dead letter topic is there", () -> stage.admin.topics().getList("public/default").contains(dead));
            try (Consumer<String> heir = stage.consuming(dead).subscriptionName("heirs").subscribe()) {
                Message<String> letter = Stage.next(heir);
                Stage.equal(letter.getValue(), "poison");
                Stage.equal(letter.getKey(), "k");
                Stage.equal(letter.getProperty("p"), "v");
                Stage.equal(letter.getProperty("REAL_TOPIC"), topic);
            }
            Stage.eventually("the subscription is done with it", () ->
                    stage.admin.topics().getStats(topic).getSubscriptions().get("s").getMsgBacklog() == 0);
        }
    }

    public static void whatIsToBeTriedLaterComesByTheRetryTopic(Stage stage) throws Exception {
        String topic = stage.topic("retry");
        DeadLetterPolicy policy = DeadLetterPolicy.builder().maxRedeliverCount(5).build();
        try (Consumer<String> consumer = sharing(stage, topic).enableRetry(true).deadLetterPolicy(policy).subscribe()) {
            stage.publish(topic, "later");
            consumer.reconsumeLater(Stage.next(consumer), 200, TimeUnit.MILLISECONDS);
            Message<String> again = Stage.next(consumer);
            Stage.equal(again.getValue(), "later");
            Stage.equal(again.getProperty("RECONSUMETIMES"), "1");
            Stage.that(again.getTopicName().endsWith("-s-RETRY"), again.getTopicName());
            consumer.acknowledge(again);
        }
    }

    public static void severalMessagesAreTakenAtOnce(Stage stage) throws Exception {
        String topic = stage.topic("several");
        BatchReceivePolicy policy = BatchReceivePolicy.builder().maxNumMessages(3).timeout(Stage.PATIENCE_S, TimeUnit.SECONDS).build();
        stage.publish(topic, "a", "b", "c", "d", "e", "f");
        try (Consumer<String> consumer = stage.consuming(topic).batchReceivePolicy(policy).subscribe()) {
            List<String> contents = new ArrayList<>();
            for (int round = 0; round < 2; round++) {
                Messages<String> messages = consumer.batchReceive();
                Stage.equal(messages.size(), 3);
                messages.forEach(message -> contents.add(message.getValue()));
                consumer.acknowledge(messages);
            }
            Stage.equal(contents, List.of("a", "b", "c", "d", "e", "f"));
        }
    }

    public static void consumersOfAFailoverSubscriptionAreToldWhichIsActive(Stage stage) throws Exception {
        String topic = stage.partitioned("active", 1); // Where there are partitions, names decide.
        BlockingQueue<String> told = new LinkedBlockingQueue<>();
        Consumer<String> first = failover(stage, topic, "a", told).subscribe();
        Stage.equal(told.poll(Stage.PATIENCE_S, TimeUnit.SECONDS), "a is active");
        Consumer<String> second = failover(stage, topic, "b", told).subscribe();
        Stage.equal(told.poll(Stage.PATIENCE_S, TimeUnit.SECONDS), "b waits");
        first.close();
        Stage.equal(told.poll(Stage.PATIENCE_S, TimeUnit.SECONDS), "b is active");
        stage.publish(topic, "m");
        Stage.equal(Stage.received(second, 1), List.of("m"));
    }

    private static ConsumerBuilder<String> failover(Stage stage, String topic, String name, BlockingQueue<String> told) {
        ConsumerEventListener listener = new ConsumerEventListener() {
            @Override
            public void becameActive(Consumer<?> consumer, int partition) {
                told.add(name + " is active");
            }

            @Override
            public void becameInactive(Consumer<?> consumer, int partition) {
                told.add(name + " waits");
            }
        };
        return stage.consuming(topic).subscriptionType(SubscriptionType.Failover).consumerName(name).consumerEventListener(listener);
    }

    public static void aListenerGetsMessagesUntilItsConsumerPauses(Stage stage) throws Exception {
        String topic = stage.topic("pause");
        BlockingQueue<String> heard = new LinkedBlockingQueue<>();
        try (Consumer<String> consumer = stage.consuming(topic).receiverQueueSize(1).messageListener((from, message) -> {
            heard.add(message.getValue());
            from.acknowledgeAsync(message);
        }).subscribe()) {
            stage.publish(topic, "a");
            Stage.equal(heard.poll(Stage.PATIENCE_S, TimeUnit.SECONDS), "a");
            consumer.pause();
            stage.publish(topic, "b", "c", "d", "e");
            Thread.sleep(Stage.SILENCE_MS);
            Stage.that(heard.size() <= 2, "no more than what was on its way: " + heard);
            consumer.resume();
            for (String content : List.of("b", "c", "d", "e")) {
                Stage.equal(heard.poll(Stage.PATIENCE_S, TimeUnit.SECONDS), content);
            }
        }
    }

    public static void aConsumerWithoutAQueueTakesOneMessageAtATime(Stage stage) throws Exception {
        String topic = stage.topic("no-queue");
        try (Consumer<String> one = sharing(stage, topic).receiverQueueSize(0).subscribe();
                Consumer<String> other = sharing(stage, topic).receiverQueueSize(0).subscribe()) {
            stage.publish(topic, "a", "b", "c");
            Stage.equal(one.receiveAsync().get(Stage.PATIENCE_S, TimeUnit.SECONDS).getValue(), "a");
            Stage.equal(other.receiveAsync().get(Stage.PATIENCE_S, TimeUnit.SECONDS).getValue(), "b");
            Stage.equal(other.receiveAsync().get(Stage.PATIENCE_S, TimeUnit.SECONDS).getValue(), "c");
        }
    }

    public static void aPatternConsumerFindsTopicsAsTheyAreMade(Stage stage) throws Exception {
        String namespace = stage.namespace("pattern");
        String first = "persistent://" + namespace + "/match-1";
        stage.publish(first, "a");
        try (Consumer<String> consumer = stage.client.newConsumer(org.apache.pulsar.client.api.Schema.STRING)
                .topicsPattern(Pattern.compile("persistent://" + namespace + "/match-.*")).subscriptionName("s")
                .subscriptionInitialPosition(org.apache.pulsar.client.api.SubscriptionInitialPosition.Earliest)
                .patternAutoDiscoveryPeriod(1, TimeUnit.HOURS).subscribe()) { // Told by the broker, not found by asking.
            Stage.equal(Stage.received(consumer, 1), List.of("a"));
            stage.publish("persistent://" + namespace + "/match-2", "b");
            stage.publish("persistent://" + namespace + "/other", "c");
            Stage.equal(Stage.received(consumer, 1), List.of("b"));
            Stage.nothingMore(consumer);
        }
    }

    public static void severalTopicsAreReadByOneConsumer(Stage stage) throws Exception {
        String one = stage.topic("one");
        String many = stage.partitioned("many", 2);
        try (Consumer<String> consumer = stage.consuming(one).topics(List.of(many)).subscribe()) {
            stage.publish(one, "a");
            stage.publish(many, "b", "c");
            Stage.equal(new HashSet<>(Stage.received(consumer, 3)), Set.of("a", "b", "c"));
            Stage.equal(consumer.getLastMessageIds().stream().map(TopicMessageId::getOwnerTopic).collect(Collectors.toSet()),
                    Set.of(one, many + "-partition-0", many + "-partition-1"));
        }
    }

    public static void consumersHearOfTheEndOfATopic(Stage stage) throws Exception {
        String topic = stage.topic("end");
        CompletableFuture<Void> ended = new CompletableFuture<>();
        try (Consumer<String> consumer = stage.consuming(topic).messageListener(new org.apache.pulsar.client.api.MessageListener<>() {
            @Override
            public void received(Consumer<String> from, Message<String> message) {
                from.acknowledgeAsync(message);
            }

            @Override
            public void reachedEndOfTopic(Consumer<String> of) {
                ended.complete(null);
            }
        }).subscribe()) {
            stage.publish(topic, "last");
            stage.admin.topics().terminateTopic(topic);
            ended.get(Stage.PATIENCE_S, TimeUnit.SECONDS);
            Stage.that(consumer.hasReachedEndOfTopic(), "it knows");
            Stage.refused(PulsarClientException.TopicTerminatedException.class, () -> stage.publish(topic, "too late"));
        }
    }

    public static void messagesOfABatchAreAcknowledgedOneByOne(Stage stage) throws Exception {
        String topic = stage.topic("batch");
        stage.publishBatch(topic, "a", "b", "c", "d");
        ConsumerBuilder<String> builder = sharing(stage, topic).enableBatchIndexAcknowledgment(true).isAckReceiptEnabled(true);
        try (Consumer<String> consumer = builder.subscribe()) {
            List<Message<String>> all = Stage.take(consumer, 4);
            consumer.acknowledge(List.of(all.get(1).getMessageId(), all.get(3).getMessageId()));
        }
        stage.admin.topics().unload(topic);
        try (Consumer<String> consumer = builder.subscribe()) {
            Stage.equal(Stage.received(consumer, 2), List.of("a", "c"));
            Stage.nothingMore(consumer);
        }
    }

    public static void acknowledgementsAreConfirmedWhereThatIsWanted(Stage stage) throws Exception {
        String topic = stage.topic("receipts");
        stage.publish(topic, "a", "b", "c", "d", "e");
        try (Consumer<String> consumer = stage.consuming(topic).isAckReceiptEnabled(true).subscribe()) {
            List<Message<String>> all = Stage.take(consumer, 5);
            consumer.acknowledgeCumulativeAsync(all.get(1)).get(Stage.PATIENCE_S, TimeUnit.SECONDS);
            consumer.acknowledgeAsync(List.of(all.get(2).getMessageId(), all.get(4).getMessageId())).get(Stage.PATIENCE_S, TimeUnit.SECONDS);
            Stage.equal(stage.admin.topics().getStats(topic, true, false).getSubscriptions().get("s").getMsgBacklog(), 1L);
            consumer.redeliverUnacknowledgedMessages();
            Stage.equal(Stage.received(consumer, 1), List.of("d"));
        }
    }

    public static void aSubscriptionHasProperties(Stage stage) throws Exception {
        String topic = stage.topic("properties");
        try (Consumer<String> consumer = stage.consuming(topic).subscriptionProperties(Map.of("owner", "me")).subscribe()) {
            Stage.equal(stage.admin.topics().getSubscriptionProperties(topic, "s"), Map.of("owner", "me"));
            Stage.equal(stage.admin.topics().getStats(topic).getSubscriptions().get("s").getSubscriptionProperties(), Map.of("owner", "me"));
        }
    }

    public static void eachPartitionGoesOnWhereItIsSentTo(Stage stage) throws Exception {
        String topic = stage.partitioned("seek", 2);
        stage.publish(topic + "-partition-0", "a0", "b0");
        stage.publish(topic + "-partition-1", "a1", "b1");
        try (Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            Stage.received(consumer, 4);
            consumer.seek(partition -> partition.endsWith("-0") ? MessageId.earliest : MessageId.latest);
            Stage.equal(Stage.received(consumer, 2), List.of("a0", "b0"));
            Stage.nothingMore(consumer);
            consumer.seek(0L);
            Stage.equal(new HashSet<>(Stage.received(consumer, 4)), Set.of("a0", "b0", "a1", "b1"));
        }
    }

    public static void aSeekIsForgottenByNobody(Stage stage) throws Exception {
        String topic = stage.topic("seek");
        stage.publish(topic, "a", "b", "c");
        try (Consumer<String> consumer = stage.consuming(topic).startMessageIdInclusive().subscribe()) {
            List<Message<String>> all = Stage.take(consumer, 3);
            consumer.acknowledgeCumulative(all.get(2));
            consumer.seek(all.get(1).getMessageId());
            Stage.equal(Stage.next(consumer).getValue(), "b");
        }
        try (Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            Stage.equal(Stage.received(consumer, 2), List.of("b", "c"));
        }
    }

    public static void aSubscriptionEndsWithItsLastConsumerOrByForce(Stage stage) throws Exception {
        String topic = stage.topic("unsubscribe");
        stage.publish(topic, "m");
        Consumer<String> one = sharing(stage, topic).subscribe();
        Consumer<String> other = sharing(stage, topic).subscribe();
        Stage.refused(PulsarClientException.class, () -> one.unsubscribe());
        for (Consumer<String> consumer : List.of(one, other)) {
            Message<String> message = consumer.receive(Stage.SILENCE_MS, TimeUnit.MILLISECONDS);
            if (message != null) {
                consumer.acknowledgeAsync(message).get(Stage.PATIENCE_S, TimeUnit.SECONDS);
            }
        }
        one.unsubscribe(true);
        Stage.equal(Stage.received(other, 1), List.of("m")); // It came again, to a new subscription.
        other.unsubscribe();
        Stage.equal(stage.admin.topics().getSubscriptions(topic), List.of());
    }

    public static void consumersOfHigherPriorityAreServedFirst(Stage stage) throws Exception {
        String topic = stage.topic("priority");
        try (Consumer<String> later = sharing(stage, topic).priorityLevel(1).receiverQueueSize(10).subscribe();
                Consumer<String> first = sharing(stage, topic).priorityLevel(0).receiverQueueSize(4).subscribe()) {
            stage.publish(topic, "a", "b", "c", "d", "e", "f");
            Stage.equal(Stage.received(later, 2), List.of("e", "f"));
            Stage.equal(Stage.received(first, 4), List.of("a", "b", "c", "d"));
        }
    }

    public static void aKeyStaysWithOneConsumer(Stage stage) throws Exception {
        String topic = stage.topic("keys");
        ConsumerBuilder<String> builder = stage.consuming(topic).subscriptionType(SubscriptionType.Key_Shared);
        try (Consumer<String> one = builder.clone().subscribe(); Consumer<String> other = builder.clone().subscribe();
                Producer<String> producer = stage.producing(topic).enableBatching(true).batcherBuilder(BatcherBuilder.KEY_BASED).create()) {
            for (int number = 0; number < 60; number++) {
                producer.newMessage().key("key-" + number % 12).value("" + number).sendAsync();
            }
            producer.flush();
            Set<String> ofOne = new HashSet<>();
            Set<String> ofOther = new HashSet<>();
            List<Integer> seen = new ArrayList<>();
            Stage.eventually("all have come", () -> {
                for (Consumer<String> consumer : List.of(one, other)) {
                    Message<String> message = consumer.receive(10, TimeUnit.MILLISECONDS);
                    if (message != null) {
                        (consumer == one ? ofOne : ofOther).add(message.getKey());
                        seen.add(Integer.valueOf(message.getValue()));
                        consumer.acknowledge(message);
                    }
                }
                return seen.size() == 60;
            });
            Set<String> both = new HashSet<>(ofOne);
            both.retainAll(ofOther);
            Stage.equal(both, Set.of());
            for (int key = 0; key < 12; key++) {
                int wanted = key;
                List<Integer> ofKey = seen.stream().filter(number -> number % 12 == wanted).toList();
                Stage.equal(ofKey, IntStream.range(0, 5).mapToObj(turn -> wanted + 12 * turn).toList());
            }
        }
    }
}
