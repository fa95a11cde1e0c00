/* A key-value server over TCP: one connection after the other, a log behind it.
 *
 *     kvserver FOLDER PORT
 *
 *     put KEY NUMBER      "ok" once the pair would survive a power cut
 *     dump                every pair as ["KEY",NUMBER], then "end"
 *
 * With KVSERVER_BUG=buffered, "ok" is sent while the pair is still in the memory of the process. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAIRS_MAX 1000

static struct { char key[32]; long value; } pairs[PAIRS_MAX];
static int count, buffered, listener;
static FILE *log_file;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void remember(const char *key, long value) {
    int at = 0;
    while (at < count && strcmp(pairs[at].key, key)) at++;
    if (at == PAIRS_MAX) fail("too many keys");
    if (at == count) strcpy(pairs[count++].key, key);
    pairs[at].value = value;
}

/* Read the log; cut off a torn last line, or the next record would be appended to it. */
static void recover(const char *folder) {
    char path[4096], line[128], key[32];
    long value, whole = 0;
    snprintf(path, sizeof path, "%s/log", folder);
    int descriptor = open(path, O_RDWR | O_CREAT | O_APPEND, 0644);
    int above = open(folder, O_RDONLY);
    if (descriptor < 0 || above < 0) fail(path);
    if (fsync(above)) fail("fsync of the folder"); /* The log's name is durable from here on. */
    log_file = fdopen(descriptor, "a+");
    rewind(log_file);
    while (fgets(line, sizeof line, log_file) && sscanf(line, "%31s %ld", key, &value) == 2 && strchr(line, '\n')) {
        remember(key, value);
        whole = ftell(log_file);
    }
    if (ftruncate(descriptor, whole)) fail("truncate");
    if (fsync(descriptor)) fail("fsync");
    printf("recovered %d keys\n", count);
    fflush(stdout);
}

static void put(const char *key, long value) {
    fprintf(log_file, "%s %ld\n", key, value);
    if (!buffered && (fflush(log_file) || fsync(fileno(log_file)))) fail("log");
    remember(key, value);
}

static void serve(FILE *in, FILE *out) {
    char line[128], key[32];
    long value;
    while (fgets(line, sizeof line, in)) {
        if (sscanf(line, "put %31s %ld", key, &value) == 2) {
            put(key, value);
            fprintf(out, "ok\n");
        } else if (!strcmp(line, "dump\n")) {
            for (int at = 0; at < count; at++) fprintf(out, "[\"%s\",%ld]\n", pairs[at].key, pairs[at].value);
            fprintf(out, "end\n");
        } else {
            fprintf(out, "error\n");
        }
        fflush(out);
    }
}

/* SIGTERM ends the server in order: no more connections are accepted. */
static void stop(int signal_number) {
    (void)signal_number;
    shutdown(listener, SHUT_RDWR);
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: kvserver FOLDER PORT\n"), 2;
    const char *bug = getenv("KVSERVER_BUG");
    buffered = bug && !strcmp(bug, "buffered");
    recover(argv[1]);
    int yes = 1;
    listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) fail("port");
    signal(SIGTERM, stop);
    for (int client; (client = accept(listener, NULL, NULL)) >= 0;) {
        FILE *in = fdopen(client, "r"), *out = fdopen(dup(client), "w");
        serve(in, out);
        fclose(in);
        fclose(out);
    }
    return fclose(log_file) ? 1 : 0;
}
