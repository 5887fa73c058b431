import java.nio.charset.StandardCharsets;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.CryptoKeyReader;
import org.apache.pulsar.client.api.EncryptionKeyInfo;
import org.apache.pulsar.client.api.HashingScheme;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.MessageRoutingMode;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerAccessMode;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.impl.MessageIdImpl;

/** Sending. */
final class Producers {
    public static void aMessageArrivesWithEverythingItsProducerSaidOfIt(Stage stage) throws Exception {
        for (boolean batches : new boolean[] {false, true}) {
            String topic = stage.topic("everything");
            try (Consumer<String> consumer = stage.consuming(topic).subscribe();
                    Producer<String> producer = stage.producing(topic).producerName("scribe").enableBatching(batches).create()) {
                producer.newMessage().key("k").orderingKey(new byte[] {1, 2}).eventTime(12345).sequenceId(7)
                        .property("colour", "red").property("size", "").value("text").send();
                Message<String> message = Stage.next(consumer);
                Stage.equal(message.getValue(), "text");
                Stage.equal(message.getKey(), "k");
                Stage.equal(List.of(message.getOrderingKey()[0], message.getOrderingKey()[1]), List.of((byte) 1, (byte) 2));
                Stage.equal(message.getEventTime(), 12345L);
                Stage.equal(message.getSequenceId(), 7L);
                Stage.equal(message.getProperties(), Map.of("colour", "red", "size", ""));
                Stage.equal(message.getProducerName(), "scribe");
                Stage.equal(message.getTopicName(), topic);
                Stage.equal(message.getRedeliveryCount(), 0);
            }
        }
    }

    public static void aKeyWithoutValueIsAMessage(Stage stage) throws Exception {
        String topic = stage.topic("tombstone");
        try (Consumer<String> consumer = stage.consuming(topic).subscribe(); Producer<String> producer = stage.producing(topic).create()) {
            producer.newMessage().key("gone").value(null).send();
            Message<String> message = Stage.next(consumer);
            Stage.equal(message.getKey(), "gone");
            Stage.equal(message.getValue(), null);
            Stage.equal(message.size(), 0);
        }
    }

    public static void manyMessagesAtOnceAreAllConfirmedAndKeepTheirOrder(Stage stage) throws Exception {
        String topic = stage.topic("order");
        try (Consumer<String> consumer = stage.consuming(topic).subscribe();
                Producer<String> producer = stage.producing(topic).enableBatching(true).maxPendingMessages(5000).create()) {
            List<CompletableFuture<MessageId>> sent = new ArrayList<>();
            for (int number = 0; number < 5000; number++) {
                sent.add(producer.sendAsync("m" + number));
            }
            MessageId before = MessageId.earliest;
            for (int number = 0; number < 5000; number++) {
                MessageId id = sent.get(number).get(Stage.PATIENCE_S, TimeUnit.SECONDS);
                Stage.that(before.compareTo(id) < 0, "ids rise");
                before = id;
                Stage.equal(Stage.next(consumer).getValue(), "m" + number);
            }
        }
    }

    public static void anExclusiveProducerKeepsOthersOut(Stage stage) throws Exception {
        String topic = stage.topic("exclusive");
        try (Producer<String> only = stage.producing(topic).accessMode(ProducerAccessMode.Exclusive).create()) {
            Stage.refused(PulsarClientException.ProducerBusyException.class, () -> stage.producing(topic).create());
            only.send("m");
        }
        stage.publish(topic, "n");
    }

    public static void aProducerThatFencesTakesTheTopicFromAnother(Stage stage) throws Exception {
        String topic = stage.topic("fenced");
        Producer<String> first = stage.producing(topic).accessMode(ProducerAccessMode.ExclusiveWithFencing).create();
        first.send("m");
        Producer<String> second = stage.producing(topic).accessMode(ProducerAccessMode.ExclusiveWithFencing).create();
        second.send("n");
        Stage.refused(PulsarClientException.ProducerFencedException.class, () -> first.send("o"));
    }

    public static void aProducerWaitsForTheTopic(Stage stage) throws Exception {
        String topic = stage.topic("waiting");
        Producer<String> first = stage.producing(topic).accessMode(ProducerAccessMode.Exclusive).create();
        CompletableFuture<Producer<String>> waits = stage.producing(topic).accessMode(ProducerAccessMode.WaitForExclusive).createAsync();
        Stage.refused(java.util.concurrent.TimeoutException.class, () -> waits.get(Stage.SILENCE_MS, TimeUnit.MILLISECONDS));
        first.close();
        waits.get(Stage.PATIENCE_S, TimeUnit.SECONDS).send("m");
    }

    public static void aProducerThatComesAgainGoesOnBehindItsLastSequenceId(Stage stage) throws Exception {
        String namespace = stage.namespace("deduplication");
        stage.admin.namespaces().setDeduplicationStatus(namespace, true);
        String topic = "persistent://" + namespace + "/t";
        try (Producer<String> producer = stage.producing(topic).producerName("p").create()) {
            producer.newMessage().sequenceId(10).value("ten").send();
            producer.newMessage().sequenceId(9).value("nine, too late").send();
        }
        try (Producer<String> producer = stage.producing(topic).producerName("p").create();
                Consumer<String> consumer = stage.consuming(topic).subscribe()) {
            Stage.equal(producer.getLastSequenceId(), 10L);
            producer.send("eleven");
            Stage.equal(producer.getLastSequenceId(), 11L);
            Stage.equal(Stage.received(consumer, 2), List.of("ten", "eleven"));
            Stage.nothingMore(consumer);
        }
    }

    public static void partitionsTakeTurnsAndAKeyHasOne(Stage stage) throws Exception {
        String topic = stage.partitioned("turns", 3);
        try (Producer<String> producer = stage.producing(topic).messageRoutingMode(MessageRoutingMode.RoundRobinPartition)
                .hashingScheme(HashingScheme.Murmur3_32Hash).create()) {
            Set<Integer> plain = new HashSet<>();
            Set<Integer> keyed = new HashSet<>();
            for (int number = 0; number < 6; number++) {
                plain.add(((MessageIdImpl) producer.send("m")).getPartitionIndex());
                keyed.add(((MessageIdImpl) producer.newMessage().key("k").value("m").send()).getPartitionIndex());
            }
            Stage.equal(plain, Set.of(0, 1, 2));
            Stage.equal(keyed.size(), 1);
        }
    }

    public static void aPartitionedTopicGrowsUnderItsClients(Stage stage) throws Exception {
        String topic = stage.partitioned("grows", 1);
        try (Consumer<String> consumer = stage.consuming(topic).autoUpdatePartitionsInterval(1, TimeUnit.SECONDS).subscribe();
                Producer<String> producer = stage.producing(topic).autoUpdatePartitionsInterval(1, TimeUnit.SECONDS).create()) {
            stage.admin.topics().updatePartitionedTopic(topic, 2);
            List<String> sent = new ArrayList<>();
            Stage.eventually("something is sent to the new partition", () -> {
                sent.add("m" + sent.size());
                return ((MessageIdImpl) producer.send("m" + (sent.size() - 1))).getPartitionIndex() == 1;
            });
            Stage.equal(new HashSet<>(Stage.received(consumer, sent.size())), new HashSet<>(sent));
        }
    }

    public static void aLargeMessageGoesInChunks(Stage stage) throws Exception {
        String topic = stage.topic("chunks");
        byte[] large = new byte[11 << 20];
        new Random(1).nextBytes(large);
        try (Consumer<byte[]> consumer = stage.client.newConsumer().topic(topic).subscriptionName("s").subscribe();
                Producer<byte[]> producer = stage.client.newProducer().topic(topic).enableBatching(false).enableChunking(true).create()) {
            producer.send(large);
            producer.send("small".getBytes(StandardCharsets.UTF_8));
            Message<byte[]> message = Stage.next(consumer);
            Stage.that(Arrays.equals(message.getData(), large), "the same bytes");
            consumer.acknowledge(message);
            Stage.equal(new String(Stage.received(consumer, 1).get(0), StandardCharsets.UTF_8), "small");
            Stage.eventually("nothing is left of it", () ->
                    stage.admin.topics().getStats(topic).getSubscriptions().get("s").getMsgBacklog() == 0);
        }
        try (Producer<byte[]> producer = stage.client.newProducer().topic(topic).enableBatching(false).create()) {
            Stage.refused(PulsarClientException.InvalidMessageException.class, () -> producer.send(large));
        }
    }

    public static void whoCannotDecryptGetsNothing(Stage stage) throws Exception {
        String topic = stage.topic("secret");
        CryptoKeyReader keys = newKeys();
        try (Consumer<String> consumer = stage.consuming(topic).cryptoKeyReader(keys).subscribe();
                Consumer<String> outsider = stage.consuming(topic).subscriptionName("outsider").subscribe();
                Producer<String> producer = stage.producing(topic).enableBatching(true).addEncryptionKey("key").cryptoKeyReader(keys).create()) {
            producer.send("secret");
            Stage.equal(Stage.received(consumer, 1), List.of("secret"));
            Stage.nothingMore(outsider);
        }
    }

    public static void aNamespaceMayWantEverythingEncrypted(Stage stage) throws Exception {
        String namespace = stage.namespace("encrypted");
        stage.admin.namespaces().setEncryptionRequiredStatus(namespace, true);
        String topic = "persistent://" + namespace + "/t";
        try (PulsarClient hasty = stage.hasty()) { // Others ask again for more than a minute.
            Stage.refused(PulsarClientException.class, () -> hasty.newProducer().topic(topic).create());
        }
        try (Producer<String> producer = stage.producing(topic).addEncryptionKey("key").cryptoKeyReader(newKeys()).create()) {
            producer.send("secret");
        }
    }

    private static CryptoKeyReader newKeys() throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
        generator.initialize(2048);
        KeyPair pair = generator.generateKeyPair();
        byte[] open = pem("PUBLIC KEY", pair.getPublic().getEncoded());
        byte[] closed = pem("PRIVATE KEY", pair.getPrivate().getEncoded());
        return new CryptoKeyReader() {
            @Override
            public EncryptionKeyInfo getPublicKey(String name, Map<String, String> metadata) {
                return new EncryptionKeyInfo(open, metadata);
            }

            @Override
            public EncryptionKeyInfo getPrivateKey(String name, Map<String, String> metadata) {
                return new EncryptionKeyInfo(closed, metadata);
            }
        };
    }

    private static byte[] pem(String kind, byte[] key) {
        String text = Base64.getMimeEncoder(64, new byte[] {'\n'}).encodeToString(key);
        return ("-----BEGIN " + kind + "-----\n" + text + "\n-----END " + kind + "-----\n").getBytes(StandardCharsets.US_ASCII);
    }

    /** A producer may speak several versions of what it sends. */
    public static void anotherSchemaMayBeSentByTheSameProducer(Stage stage) throws Exception {
        String topic = stage.topic("several");
        try (Producer<byte[]> producer = stage.client.newProducer(Schema.AUTO_PRODUCE_BYTES()).topic(topic).create();
                Consumer<byte[]> consumer = stage.client.newConsumer().topic(topic).subscriptionName("s").subscribe()) {
            producer.newMessage(Schema.STRING).value("text").send();
            Stage.equal(new String(Stage.received(consumer, 1).get(0), StandardCharsets.UTF_8), "text");
        }
        Stage.equal(stage.admin.schemas().getSchemaInfo(topic).getType(), Schema.STRING.getSchemaInfo().getType());
    }
}
