import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.apache.pulsar.client.api.Message;
import org.apache.pulsar.client.api.MessageId;
import org.apache.pulsar.client.api.Producer;
import org.apache.pulsar.client.api.Range;
import org.apache.pulsar.client.api.Reader;
import org.apache.pulsar.client.api.ReaderBuilder;
import org.apache.pulsar.client.api.Schema;
import org.apache.pulsar.client.api.TableView;
import org.apache.pulsar.client.util.MathUtils;
import org.apache.pulsar.common.util.Murmur3_32Hash;

/** Readers and table views. */
final class Readers {
    private static ReaderBuilder<String> reading(Stage stage, String topic) {
        return stage.client.newReader(Schema.STRING).topic(topic).startMessageId(MessageId.earliest);
    }

    private static List<String> rest(Reader<String> reader) throws Exception {
        List<String> contents = new ArrayList<>();
        while (reader.hasMessageAvailable()) {
            Message<String> message = reader.readNext(Stage.PATIENCE_S, TimeUnit.SECONDS);
            Stage.that(message != null, "what is available comes");
            contents.add(message.getValue());
        }
        return contents;
    }

    public static void aReaderKnowsWhenItHasReadEverything(Stage stage) throws Exception {
        String topic = stage.topic("all");
        try (Reader<String> reader = reading(stage, topic).create()) {
            Stage.that(!reader.hasMessageAvailable(), "nothing is there");
            stage.publish(topic, "a");
            stage.publishBatch(topic, "b", "c");
            Stage.equal(rest(reader), List.of("a", "b", "c"));
            stage.publish(topic, "d");
            Stage.equal(rest(reader), List.of("d"));
        }
    }

    public static void aReaderBeginsBehindAnIdOrWithIt(Stage stage) throws Exception {
        String topic = stage.topic("begin");
        stage.publishBatch(topic, "a", "b", "c");
        MessageId second;
        try (Reader<String> reader = reading(stage, topic).create()) {
            reader.readNext();
            second = reader.readNext().getMessageId();
        }
        try (Reader<String> reader = reading(stage, topic).startMessageId(second).create()) {
            Stage.equal(rest(reader), List.of("c"));
        }
        try (Reader<String> reader = reading(stage, topic).startMessageId(second).startMessageIdInclusive().create()) {
            Stage.equal(rest(reader), List.of("b", "c"));
        }
        byte[] bytes = second.toByteArray();
        try (Reader<String> reader = reading(stage, topic).startMessageId(MessageId.fromByteArray(bytes)).create()) {
            Stage.equal(rest(reader), List.of("c"));
        }
    }

    public static void theLastMessageAloneIsRead(Stage stage) throws Exception {
        String topic = stage.topic("last");
        stage.publish(topic, "a", "b");
        try (Reader<String> reader = reading(stage, topic).startMessageId(MessageId.latest).startMessageIdInclusive().create()) {
            Stage.equal(rest(reader), List.of("b"));
        }
    }

    public static void aReaderGoesBackInTime(Stage stage) throws Exception {
        String topic = stage.topic("time");
        stage.publish(topic, "a", "b");
        try (Reader<String> reader = stage.client.newReader(Schema.STRING).topic(topic)
                .startMessageFromRollbackDuration(1, TimeUnit.HOURS).create()) {
            Stage.equal(rest(reader), List.of("a", "b"));
            reader.seek(0L);
            Stage.equal(rest(reader), List.of("a", "b"));
        }
    }

    public static void aReaderReadsAllPartitions(Stage stage) throws Exception {
        String topic = stage.partitioned("partitions", 3);
        stage.publish(topic, "a", "b", "c", "d");
        try (Reader<String> reader = reading(stage, topic).create()) {
            Stage.equal(new HashSet<>(rest(reader)), Set.of("a", "b", "c", "d"));
        }
    }

    public static void aReaderOfSomeHashesGetsNoOtherKeys(Stage stage) throws Exception {
        String topic = stage.topic("hashes");
        Set<String> lower = new HashSet<>();
        try (Producer<String> producer = stage.producing(topic).create()) {
            for (int number = 0; number < 20; number++) {
                String key = "key-" + number;
                producer.newMessage().key(key).value(key).send();
                if (MathUtils.signSafeMod(Murmur3_32Hash.getInstance().makeHash(key.getBytes()), 65536) < 32768) {
                    lower.add(key);
                }
            }
        }
        try (Reader<String> reader = reading(stage, topic).keyHashRange(Range.of(0, 32767)).create()) {
            Set<String> got = new HashSet<>();
            while (got.size() < lower.size()) {
                Message<String> message = reader.readNext(Stage.PATIENCE_S, TimeUnit.SECONDS);
                Stage.that(message != null, "one more of " + lower + " than " + got);
                got.add(message.getValue());
            }
            Stage.equal(got, lower);
            Stage.equal(reader.readNext(Stage.SILENCE_MS, TimeUnit.MILLISECONDS), null);
        }
    }

    public static void aTableViewHasTheLastValueOfEachKey(Stage stage) throws Exception {
        String topic = stage.partitioned("table", 2);
        try (Producer<String> producer = stage.producing(topic).create()) {
            producer.newMessage().key("a").value("old").send();
            producer.newMessage().key("b").value("to go").send();
            producer.newMessage().key("a").value("new").send();
            producer.newMessage().key("b").value(null).send();
            try (TableView<String> view = stage.client.newTableView(Schema.STRING).topic(topic).create()) {
                Stage.equal(view.get("a"), "new");
                Stage.that(!view.containsKey("b"), "it went");
                Map<String, String> heard = new ConcurrentHashMap<>();
                view.forEachAndListen((key, value) -> heard.put(key, value));
                producer.newMessage().key("c").value("later").send();
                view.refresh();
                Stage.equal(new TreeMap<>(heard), new TreeMap<>(Map.of("a", "new", "c", "later")));
            }
        }
    }

    public static void aTableViewBeginsWithWhatCompactionHasLeft(Stage stage) throws Exception {
        String topic = stage.topic("compacted");
        try (Producer<String> producer = stage.producing(topic).create()) {
            for (int number = 0; number < 10; number++) {
                producer.newMessage().key("k").value("v" + number).send();
            }
        }
        stage.admin.topics().triggerCompaction(topic);
        Stage.eventually("it is compacted", () -> stage.admin.topics().compactionStatus(topic).status
                == org.apache.pulsar.client.admin.LongRunningProcessStatus.Status.SUCCESS);
        try (TableView<String> view = stage.client.newTableView(Schema.STRING).topic(topic).create()) {
            Stage.equal(view.get("k"), "v9");
        }
        try (Reader<String> reader = reading(stage, topic).readCompacted(true).create()) {
            Stage.equal(rest(reader), List.of("v9"));
        }
    }
}
