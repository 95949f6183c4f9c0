import io.debezium.connector.jdbc.JdbcSinkConnectorTask;
import java.io.FileReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.connect.data.SchemaAndValue;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.sink.SinkRecord;

/**
 * JdbcSink PROPERTIES BOOTSTRAP TOPIC,…
 *
 * Debezium's JDBC sink, a task of it, fed as a worker of Kafka Connect would feed it: with what a consumer of committed
 * records finds on the topics up to their ends now, through Connect's JsonConverter with schemas.
 */
public class JdbcSink {
    public static void main(String[] given) throws Exception {
        Properties properties = new Properties();
        properties.load(new FileReader(given[0], StandardCharsets.UTF_8));
        Map<String, String> settings = new HashMap<>();
        properties.forEach((name, value) -> settings.put((String) name, (String) value));
        JsonConverter keys = converter(true);
        JsonConverter values = converter(false);
        JdbcSinkConnectorTask task = new JdbcSinkConnectorTask();
        task.start(settings);
        int count = 0;
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(given[1])) {
            List<TopicPartition> partitions = Arrays.stream(given[2].split(","))
                    .flatMap(topic -> consumer.partitionsFor(topic).stream())
                    .map(info -> new TopicPartition(info.topic(), info.partition()))
                    .collect(Collectors.toList());
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            task.open(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                List<SinkRecord> batch = new ArrayList<>();
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    SchemaAndValue key = keys.toConnectData(record.topic(), record.key());
                    SchemaAndValue value = values.toConnectData(record.topic(), record.value());
                    batch.add(new SinkRecord(record.topic(), record.partition(), key.schema(), key.value(), value.schema(),
                            value.value(), record.offset(), record.timestamp(), TimestampType.CREATE_TIME));
                }
                count += batch.size();
                task.put(batch);
                if (task.getLastProcessingException() != null) {
                    task.getLastProcessingException().printStackTrace();
                    System.exit(1);
                }
            }
        }
        task.stop();
        System.out.println(count + " records");
        System.exit(0);
    }

    private static JsonConverter converter(boolean key) {
        JsonConverter made = new JsonConverter();
        made.configure(Map.of("schemas.enable", "true"), key);
        return made;
    }

    private static KafkaConsumer<byte[], byte[]> consumer(String bootstrap) {
        return new KafkaConsumer<>(
                Map.of("bootstrap.servers", bootstrap, "isolation.level", "read_committed", "enable.auto.commit", "false"),
                new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }
}
