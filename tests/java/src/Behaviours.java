import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Shows one behaviour after another with the Java client: on Geminga, or on Apache Pulsar to see that both do the same.
 *
 * <p>Each public static method of a chapter is a behaviour, named after what it shows. Behaviours share nothing, so several run at once.
 *
 * <p>usage: Behaviours URL ADMIN-URL [PATTERN ...], where a pattern is a part of {@code Chapter.behaviour}. Exit code 1 when one of
 * them was not shown.
 */
public final class Behaviours {
    private static final List<Class<?>> CHAPTERS =
            List.of(Administration.class, Consumers.class, Policies.class, Producers.class, Readers.class, Schemas.class);
    private static final int AT_ONCE = 8;

    private record Outcome(String name, long millis, Throwable trouble) {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            System.err.println("usage: Behaviours URL ADMIN-URL [PATTERN ...]");
            System.exit(64);
        }
        List<String> patterns = Arrays.asList(arguments).subList(2, arguments.length);
        List<Future<Outcome>> outcomes = new ArrayList<>();
        ExecutorService threads = Executors.newFixedThreadPool(AT_ONCE);
        for (Method behaviour : behaviours(patterns)) {
            outcomes.add(threads.submit(() -> show(behaviour, arguments[0], arguments[1])));
        }
        int shown = 0;
        for (Future<Outcome> coming : outcomes) {
            Outcome outcome = coming.get();
            boolean held = outcome.trouble == null;
            System.out.printf("%s %s %.1f s%n", held ? "ok    " : "FAILED", outcome.name, outcome.millis / 1e3);
            shown += held ? 1 : 0;
            if (!held) {
                outcome.trouble.printStackTrace(System.out);
            }
        }
        System.out.printf("%d of %d behaviours shown%n", shown, outcomes.size());
        System.exit(shown == outcomes.size() && shown > 0 ? 0 : 1); // Threads of clients would go on.
    }

    private static List<Method> behaviours(List<String> patterns) {
        List<Method> found = new ArrayList<>();
        for (Class<?> chapter : CHAPTERS) {
            Arrays.stream(chapter.getDeclaredMethods())
                    .filter(method -> Modifier.isPublic(method.getModifiers()) && Modifier.isStatic(method.getModifiers()))
                    .filter(method -> patterns.isEmpty() || patterns.stream().anyMatch(name(method)::contains))
                    .sorted(Comparator.comparing(Method::getName))
                    .forEach(found::add);
        }
        return found;
    }

    private static String name(Method behaviour) {
        return behaviour.getDeclaringClass().getSimpleName() + "." + behaviour.getName();
    }

    private static Outcome show(Method behaviour, String url, String admin) {
        long began = System.nanoTime();
        Throwable trouble = null;
        try (Stage stage = new Stage(url, admin)) {
            behaviour.invoke(null, stage);
        } catch (InvocationTargetException error) {
            trouble = error.getCause();
        } catch (Throwable error) {
            trouble = error;
        }
        return new Outcome(name(behaviour), (System.nanoTime() - began) / 1_000_000, trouble);
    }
}
