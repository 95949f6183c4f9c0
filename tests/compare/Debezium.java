import com.fasterxml.jackson.databind.ObjectMapper;
import io.debezium.embedded.Connect;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import java.io.BufferedReader;
import java.io.FileReader;
import java.io.FileWriter;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.connect.data.Struct;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.json.JsonConverter;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.HeaderConverter;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;

/**
 * Debezium's connector in its embedded engine, at the command of lines on standard input:
 *
 * <pre>start PROPERTIES OUT   run a connector; what it emits is appended to OUT, a JSON object a line
 * stop                   end it in order</pre>
 *
 * Keys and values are spelled by Connect's JsonConverter, with schemas and without, and headers twice: by the same, and
 * by the converter that Connect has for them by default.
 *
 * Says on standard output: "marker" when a logical message with the prefix compare_marker was emitted, "stopped" behind
 * the end of a connector, and "failed WHY" when one ended by itself.
 */
public class Debezium {
    private static final String MARKER = "compare_marker";
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream SAY = System.out;

    private static final Map<String, JsonConverter> KEYS = Map.of("plain", converter(true, false), "schemas", converter(true, true));
    private static final Map<String, JsonConverter> VALUES = Map.of("plain", converter(false, false), "schemas", converter(false, true));

    private static final SimpleHeaderConverter SIMPLE = new SimpleHeaderConverter();

    private static JsonConverter converter(boolean key, boolean schemas) {
        JsonConverter made = new JsonConverter();
        made.configure(Map.of("schemas.enable", Boolean.toString(schemas)), key);
        return made;
    }

    public static void main(String[] none) throws Exception {
        DebeziumEngine<ChangeEvent<SourceRecord, SourceRecord>> engine = null;
        Thread thread = null;
        Writer out = null;
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = commands.readLine(); line != null; line = commands.readLine()) {
            String[] words = line.split(" ");
            if (words[0].equals("start")) {
                out = new FileWriter(words[2], StandardCharsets.UTF_8);
                engine = made(words[1], out);
                thread = new Thread(engine);
                thread.start();
            } else {
                try {
                    engine.close();
                } catch (IllegalStateException ended) {
                    // by itself, before
                }
                thread.join();
                out.close();
                say("stopped");
            }
        }
        System.exit(0);
    }

    private static DebeziumEngine<ChangeEvent<SourceRecord, SourceRecord>> made(String file, Writer out) throws Exception {
        Properties properties = new Properties();
        properties.load(new FileReader(file, StandardCharsets.UTF_8));
        return DebeziumEngine.create(Connect.class)
                .using(properties)
                .notifying((events, committer) -> {
                    for (ChangeEvent<SourceRecord, SourceRecord> event : events) {
                        take(event.value(), out);
                        committer.markProcessed(event);
                    }
                    committer.markBatchFinished();
                })
                .using((success, message, error) -> {
                    if (!success) {
                        StringBuilder why = new StringBuilder(String.valueOf(message));
                        for (Throwable cause = error; cause != null; cause = cause.getCause()) {
                            why.append(" <- ").append(cause);
                        }
                        say("failed " + why.toString().replace('\n', ' '));
                    }
                })
                .build();
    }

    private static void take(SourceRecord record, Writer out) {
        try {
            Map<String, Object> line = new LinkedHashMap<>();
            line.put("topic", record.topic());
            line.put("offset", record.sourceOffset());
            for (String form : KEYS.keySet()) {
                line.put(form, texts(record, KEYS.get(form), VALUES.get(form)));
            }
            out.write(JSON.writeValueAsString(line) + "\n");
            if (isMarker(record)) {
                out.flush();
                say("marker");
            }
        } catch (Exception error) {
            throw new IllegalStateException(error);
        }
    }

    private static Map<String, Object> texts(SourceRecord record, JsonConverter keys, JsonConverter values) {
        Map<String, Object> texts = new LinkedHashMap<>();
        texts.put("key", text(keys.fromConnectData(record.topic(), record.keySchema(), record.key())));
        texts.put("value", text(values.fromConnectData(record.topic(), record.valueSchema(), record.value())));
        List<List<String>> headers = new ArrayList<>();
        for (HeaderConverter converter : List.of(values, SIMPLE)) {
            for (Header header : record.headers()) {
                byte[] value = converter.fromConnectHeader(record.topic(), header.key(), header.schema(), header.value());
                headers.add(List.of(header.key(), text(value)));
            }
        }
        texts.put("headers", headers);
        return texts;
    }

    private static boolean isMarker(SourceRecord record) {
        return record.value() instanceof Struct value
                && value.schema().field("message") != null
                && MARKER.equals(value.getStruct("message").getString("prefix"));
    }

    private static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    private static synchronized void say(String line) {
        SAY.println(line);
        SAY.flush();
    }
}
