// A bank in Java: each transfer changes two accounts, and is one line of a log, synced before it counts.
//
//     java Bank fill ROOT      open four accounts, then make four transfers
//     java Bank dump ROOT      print the accounts as JSON
//
// With BANK_BUG=two-writes, the two halves of a transfer are two lines, and a kill between them leaves half a transfer.
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

public class Bank {
    static final boolean TWO_WRITES = "two-writes".equals(System.getenv("BANK_BUG"));

    public static void main(String[] arguments) throws IOException {
        Path log = Path.of(arguments[1], "log");
        Map<String, Integer> accounts = load(log);
        if (arguments[0].equals("dump")) {
            accounts.forEach((name, amount) -> System.out.println("[\"" + name + "\"," + amount + "]"));
            return;
        }
        try (var journal = new FileOutputStream(System.getenv("CRASHMATRIX_JOURNAL"), true);
                var out = new FileOutputStream(log.toFile(), true)) {
            for (int number = 0; number < 6; number++) {
                String from = "account" + number % 4, to = "account" + (number + 1) % 4;
                int left = accounts.getOrDefault(from, 100) - 10 - number, right = accounts.getOrDefault(to, 100) + 10 + number;
                accounts.put(from, left);
                accounts.put(to, right);
                String item = "[[\"" + from + "\"," + left + "],[\"" + to + "\"," + right + "]]\n";
                journal.write(("attempt " + item).getBytes());
                transfer(out, from + " " + left, to + " " + right);
                journal.write(("ack " + item).getBytes());
            }
        }
    }

    static void transfer(FileOutputStream out, String one, String other) throws IOException {
        if (TWO_WRITES) {
            out.write((one + "\n").getBytes());
            out.write((other + "\n").getBytes());
        } else {
            out.write((one + " " + other + "\n").getBytes());
        }
        out.getFD().sync();
    }

    static Map<String, Integer> load(Path log) throws IOException {
        Map<String, Integer> accounts = new TreeMap<>();
        String text = Files.exists(log) ? Files.readString(log) : "";
        for (String line : text.substring(0, text.lastIndexOf('\n') + 1).lines().toList()) {
            String[] words = line.split(" ");
            for (int at = 0; at + 1 < words.length; at += 2) accounts.put(words[at], Integer.parseInt(words[at + 1]));
        }
        return accounts;
    }
}
