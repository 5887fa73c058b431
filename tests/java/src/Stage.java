import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.admin.PulsarAdmin;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.ConsumerBuilder;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.ProducerBuilder;
import org.apache.pulsar.client.api.PulsarClient;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.SubscriptionInitialPosition;

/** A client, an administrator and names of its own for one behaviour, and the words in which behaviours are told. */
final class Stage implements AutoCloseable {
    /** What must happen happens within this. */
    static final int PATIENCE_S = 20;
    /** How long nothing must happen before it counts as not happening. */
    static final int SILENCE_MS = 300;

    final PulsarClient client;
    final PulsarAdmin admin;
    private final String url;

    Stage(String url, String adminUrl) throws PulsarClientException {
        this.url = url;
        client = PulsarClient.builder().serviceUrl(url).ioThreads(1).listenerThreads(1).build();
        admin = PulsarAdmin.builder().serviceHttpUrl(adminUrl).build();
    }

    @Override
    public void close() throws PulsarClientException {
        client.close();
        admin.close();
    }

    /** A client that does not ask again. */
    PulsarClient hasty() throws PulsarClientException {
        return PulsarClient.builder().serviceUrl(url).operationTimeout(2, TimeUnit.SECONDS).build();
    }

    String topic(String name) {
        return "persistent://public/default/java-" + name + "-" + unique();
    }

    String partitioned(String name, int partitions) throws Exception {
        String topic = topic(name);
        admin.topics().createPartitionedTopic(topic, partitions);
        return topic;
    }

    String namespace(String name) throws Exception {
        String namespace = "public/java-" + name + "-" + unique();
        admin.namespaces().createNamespace(namespace);
        return namespace;
    }

    static String unique() {
        return UUID.randomUUID().toString().substring(0, 8);
    }

    ProducerBuilder<String> producing(String topic) {
        return client.newProducer(Schema.STRING).topic(topic).enableBatching(false);
    }

    /** Publishes these, one by one. */
    void publish(String topic, String... contents) throws PulsarClientException {
        try (Producer<String> producer = producing(topic).create()) {
            for (String content : contents) {
                producer.send(content);
            }
        }
    }

    /** Publishes these as one batch. */
    void publishBatch(String topic, String... contents) throws Exception {
        ProducerBuilder<String> batches = producing(topic).enableBatching(true).batchingMaxPublishDelay(1, TimeUnit.MINUTES);
        try (Producer<String> producer = batches.create()) {
            for (String content : contents) {
                producer.sendAsync(content);
            }
            producer.flush();
        }
    }

    ConsumerBuilder<String> consuming(String topic) {
        return client.newConsumer(Schema.STRING).topic(topic).subscriptionName("s")
                .subscriptionInitialPosition(SubscriptionInitialPosition.Earliest)
                .acknowledgmentGroupTime(0, TimeUnit.MILLISECONDS);
    }

    static <T> Message<T> next(Consumer<T> consumer) throws PulsarClientException {
        Message<T> message = consumer.receive(PATIENCE_S, TimeUnit.SECONDS);
        that(message != null, "a message comes");
        return message;
    }

    /** So many messages, as they come, unacknowledged. */
    static <T> List<Message<T>> take(Consumer<T> consumer, int count) throws PulsarClientException {
        List<Message<T>> taken = new ArrayList<>();
        while (taken.size() < count) {
            taken.add(next(consumer));
        }
        return taken;
    }

    /** The contents of so many messages, each acknowledged. */
    static <T> List<T> received(Consumer<T> consumer, int count) throws PulsarClientException {
        List<T> contents = new ArrayList<>();
        for (Message<T> message : take(consumer, count)) {
            consumer.acknowledge(message);
            contents.add(message.getValue());
        }
        return contents;
    }

    static void nothingMore(Consumer<?> consumer) throws PulsarClientException {
        Message<?> message = consumer.receive(SILENCE_MS, TimeUnit.MILLISECONDS);
        that(message == null, "nothing more comes, but " + (message == null ? "" : new String(message.getData())));
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object found, Object expected) {
        that(Objects.equals(found, expected), "found " + found + ", expected " + expected);
    }

    /** Something that may fail. */
    interface Doing {
        void run() throws Exception;
    }

    /** Something that may be so. */
    interface Question {
        boolean holds() throws Exception;
    }

    static void eventually(String what, Question question) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_S);
        while (!question.holds()) {
            that(System.nanoTime() < end, "within " + PATIENCE_S + " s: " + what);
            Thread.sleep(20);
        }
    }

    /** The error of this kind, which it must end with, perhaps inside another. */
    static <E extends Throwable> E refused(Class<E> kind, Doing doing) {
        try {
            doing.run();
        } catch (Throwable error) {
            for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                if (kind.isInstance(cause)) {
                    return kind.cast(cause);
                }
            }
            throw new AssertionError("another error than " + kind.getSimpleName(), error);
        }
        throw new AssertionError("no " + kind.getSimpleName());
    }
}
