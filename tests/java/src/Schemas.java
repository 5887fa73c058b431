import java.util.List;
import java.util.Objects;
import org.apache.pulsar.client.api.Consumer;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.PulsarClientException;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.schema.GenericRecord;
import org.apache.pulsar.common.policies.data.SchemaCompatibilityStrategy;
import org.apache.pulsar.common.schema.KeyValue;
import org.apache.pulsar.common.schema.KeyValueEncodingType;
import org.apache.pulsar.common.schema.SchemaType;

/** Objects with schemas. */
final class Schemas {
    /** As it was first. */
    public static final class Bird {
        public String name;
        public int wings;
    }

    /** As it is now. */
    public static final class NamedBird {
        public String name;
        public int wings;
        public String song = "none";
    }

    /** Something else under the same names. */
    public static final class OddBird {
        public String name;
        public String wings;
    }

    private static Bird bird(String name) {
        Bird bird = new Bird();
        bird.name = name;
        bird.wings = 2;
        return bird;
    }

    public static void objectsTravelAsAvroAndAsJson(Stage stage) throws Exception {
        for (Schema<Bird> schema : List.of(Schema.AVRO(Bird.class), Schema.JSON(Bird.class))) {
            String topic = stage.topic("objects");
            try (Consumer<Bird> consumer = stage.client.newConsumer(schema).topic(topic).subscriptionName("s").subscribe();
                    Producer<Bird> producer = stage.client.newProducer(schema).topic(topic).create()) {
                producer.send(bird("wren"));
                Message<Bird> message = Stage.next(consumer);
                Stage.equal(message.getValue().name, "wren");
                Stage.equal(stage.admin.schemas().getSchemaInfo(topic).getType(), schema.getSchemaInfo().getType());
            }
        }
    }

    public static void whoKnowsNoSchemaGetsThatOfTheTopic(Stage stage) throws Exception {
        String topic = stage.topic("auto");
        try (Producer<Bird> producer = stage.client.newProducer(Schema.AVRO(Bird.class)).topic(topic).create();
                Consumer<GenericRecord> consumer = stage.client.newConsumer(Schema.AUTO_CONSUME()).topic(topic).subscriptionName("s").subscribe()) {
            producer.send(bird("kite"));
            GenericRecord record = Stage.next(consumer).getValue();
            Stage.equal(record.getField("name").toString(), "kite");
            Stage.equal(record.getField("wings"), 2);
            Stage.equal(record.getSchemaType(), SchemaType.AVRO);
        }
    }

    public static void eachMessageIsReadWithTheVersionItWasWrittenWith(Stage stage) throws Exception {
        String topic = stage.topic("versions");
        stage.admin.topics().createNonPartitionedTopic(topic);
        stage.admin.topicPolicies().setSchemaCompatibilityStrategy(topic, SchemaCompatibilityStrategy.ALWAYS_COMPATIBLE);
        Stage.eventually("the policy counts", () -> Objects.equals(
                stage.admin.topicPolicies().getSchemaCompatibilityStrategy(topic, true), SchemaCompatibilityStrategy.ALWAYS_COMPATIBLE));
        try (Producer<Bird> producer = stage.client.newProducer(Schema.AVRO(Bird.class)).topic(topic).create();
                Consumer<GenericRecord> consumer = stage.client.newConsumer(Schema.AUTO_CONSUME()).topic(topic).subscriptionName("s").subscribe()) {
            producer.send(bird("old"));
            NamedBird named = new NamedBird();
            named.name = "new";
            named.song = "loud";
            producer.newMessage(Schema.AVRO(NamedBird.class)).value(named).send();
            GenericRecord old = Stage.next(consumer).getValue();
            GenericRecord young = Stage.next(consumer).getValue();
            Stage.equal(old.getFields().size(), 2);
            Stage.equal(young.getField("song").toString(), "loud");
        }
        Stage.equal(stage.admin.schemas().getAllSchemas(topic).size(), 2);
    }

    public static void whatDoesNotFitIsRefused(Stage stage) throws Exception {
        String topic = stage.topic("misfit");
        try (Producer<Bird> producer = stage.client.newProducer(Schema.AVRO(Bird.class)).topic(topic).create()) {
            producer.send(bird("wren"));
            Stage.refused(PulsarClientException.IncompatibleSchemaException.class,
                    () -> stage.client.newProducer(Schema.AVRO(OddBird.class)).topic(topic).create());
            Stage.refused(PulsarClientException.IncompatibleSchemaException.class,
                    () -> stage.client.newConsumer(Schema.AVRO(OddBird.class)).topic(topic).subscriptionName("s").subscribe());
            Stage.refused(PulsarClientException.IncompatibleSchemaException.class,
                    () -> stage.client.newProducer(Schema.STRING).topic(topic).create());
        }
    }

    public static void keysAndValuesHaveSchemasOfTheirOwn(Stage stage) throws Exception {
        for (KeyValueEncodingType encoding : KeyValueEncodingType.values()) {
            String topic = stage.topic("pairs");
            Schema<KeyValue<String, Bird>> schema = Schema.KeyValue(Schema.STRING, Schema.JSON(Bird.class), encoding);
            try (Consumer<KeyValue<String, Bird>> consumer = stage.client.newConsumer(schema).topic(topic).subscriptionName("s").subscribe();
                    Producer<KeyValue<String, Bird>> producer = stage.client.newProducer(schema).topic(topic).create()) {
                producer.send(new KeyValue<>("k", bird("owl")));
                Message<KeyValue<String, Bird>> message = Stage.next(consumer);
                Stage.equal(message.getValue().getKey(), "k");
                Stage.equal(message.getValue().getValue().name, "owl");
                Stage.equal(message.hasKey(), encoding == KeyValueEncodingType.SEPARATED);
            }
        }
    }

    public static void numbersAreKeptAsSuch(Stage stage) throws Exception {
        String topic = stage.topic("numbers");
        try (Consumer<Long> consumer = stage.client.newConsumer(Schema.INT64).topic(topic).subscriptionName("s").subscribe();
                Producer<Long> producer = stage.client.newProducer(Schema.INT64).topic(topic).create()) {
            producer.send(Long.MIN_VALUE);
            Stage.equal(Stage.received(consumer, 1), List.of(Long.MIN_VALUE));
            Stage.equal(stage.admin.schemas().getSchemaInfo(topic).getType(), SchemaType.INT64);
        }
    }

    public static void whoSendsBytesIsHeldToTheSchemaOfTheTopic(Stage stage) throws Exception {
        String topic = stage.topic("bytes");
        stage.admin.schemas().createSchema(topic, Schema.AVRO(Bird.class).getSchemaInfo());
        try (Producer<byte[]> producer = stage.client.newProducer(Schema.AUTO_PRODUCE_BYTES()).topic(topic).create()) {
            producer.send(Schema.AVRO(Bird.class).encode(bird("rook")));
            Stage.refused(Exception.class, () -> producer.send(new byte[] {1}));
        }
        stage.admin.schemas().deleteSchema(topic);
    }
}
