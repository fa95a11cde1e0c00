/* A very small key-value store: a log of lines `KEY VALUE CHECKSUM`, in which the last line of a key counts.
 *
 *     kvlog fill ROOT     put 20 values under 5 keys, noted in $CRASHMATRIX_JOURNAL
 *     kvlog dump ROOT     recover: drop a torn last line, print the rest as JSON
 *
 * KVLOG_SYNC=0 leaves out the fsync: then nothing is lost when the process dies, but everything when the machine does.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 5, PUTS = 20, LINE_BYTES_MAX = 64 };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static unsigned checksum(const char *text) {
    unsigned sum = 2166136261u; /* FNV-1a */
    for (; *text; text++) sum = (sum ^ (unsigned char)*text) * 16777619u;
    return sum;
}

static void append(int file, const char *line) {
    if (write(file, line, strlen(line)) != (ssize_t)strlen(line)) die("write");
}

static void tell(int journal, const char *event, int key, int value) {
    char line[LINE_BYTES_MAX];
    snprintf(line, sizeof line, "%s [\"key%d\", %d]\n", event, key, value);
    append(journal, line);
}

static void put(int log, int key, int value, int synced) {
    char pair[LINE_BYTES_MAX / 2], line[LINE_BYTES_MAX];
    snprintf(pair, sizeof pair, "key%d %d", key, value);
    snprintf(line, sizeof line, "%s %08x\n", pair, checksum(pair));
    append(log, line);
    if (synced && fsync(log)) die("fsync");
}

static int open_log(const char *root, int synced) {
    int folder = open(root, O_RDONLY | O_DIRECTORY);
    int log = folder < 0 ? -1 : openat(folder, "log", O_RDWR | O_CREAT | O_APPEND, 0644);
    if (log < 0) die(root);
    if (synced && fsync(folder)) die("fsync"); /* Durable: the log's name. */
    close(folder);
    return log;
}

static void fill(const char *root, int synced) {
    const char *path = getenv("CRASHMATRIX_JOURNAL");
    int journal = open(path ? path : "/dev/null", O_WRONLY | O_APPEND), log = open_log(root, synced);
    if (journal < 0) die(path);
    for (int value = 0; value < PUTS; value++) {
        tell(journal, "attempt", value % KEYS, value);
        put(log, value % KEYS, value, synced);
        tell(journal, "ack", value % KEYS, value);
    }
}

static void dump(const char *root, int synced) {
    FILE *log = fdopen(open_log(root, synced), "r+");
    char line[LINE_BYTES_MAX], pair[LINE_BYTES_MAX];
    int last[KEYS], key, value;
    long whole = 0;
    for (key = 0; key < KEYS; key++) last[key] = -1;
    while (log && fgets(line, sizeof line, log)) {
        unsigned sum;
        if (sscanf(line, "key%d %d %x\n", &key, &value, &sum) != 3 || key < 0 || key >= KEYS) break;
        snprintf(pair, sizeof pair, "key%d %d", key, value);
        if (sum != checksum(pair) || !strchr(line, '\n')) break;
        last[key] = value;
        whole = ftell(log);
    }
    if (!log || ftruncate(fileno(log), whole) || (synced && fsync(fileno(log)))) die("recovery");
    for (key = 0; key < KEYS; key++)
        if (last[key] >= 0) printf("[\"key%d\", %d]\n", key, last[key]);
}

int main(int count, char **arguments) {
    const char *sync = getenv("KVLOG_SYNC");
    int synced = !sync || strcmp(sync, "0");
    if (count == 3 && !strcmp(arguments[1], "fill")) fill(arguments[2], synced);
    else if (count == 3 && !strcmp(arguments[1], "dump")) dump(arguments[2], synced);
    else return fprintf(stderr, "usage: kvlog fill|dump ROOT\n"), 2;
    return 0;
}
