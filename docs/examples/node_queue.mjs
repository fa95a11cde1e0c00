// A queue in a file, in Node: a log of lines `put X` and `done X`, each synced before the next step.
//
//     node node_queue.mjs run ROOT     put six jobs, consume three of them, and tell the journal
//     node node_queue.mjs list ROOT    print the jobs that are still to be done
//
// After every three lines the log is compacted: what is left goes into a new file, which then replaces the log. With
// QUEUE_BUG=in-place it is written over the log itself.
import fs from "node:fs";
import path from "node:path";

const [, , command, root] = process.argv;
const log = path.join(root, "log");

function open_jobs() {
    const jobs = [];
    const text = fs.existsSync(log) ? fs.readFileSync(log, "utf8") : "";
    for (const line of text.split("\n").slice(0, -1)) {
        const [what, job] = line.split(" ");
        if (what === "put") jobs.push(Number(job));
        else jobs.splice(jobs.indexOf(Number(job)), 1);
    }
    return jobs;
}

function write_synced(file, text, flags) {
    const descriptor = fs.openSync(file, flags);
    fs.writeSync(descriptor, text);
    fs.fsyncSync(descriptor);
    fs.closeSync(descriptor);
}

function sync_folder() {
    const descriptor = fs.openSync(root, "r");
    fs.fsyncSync(descriptor);
    fs.closeSync(descriptor);
}

let lines = 0;
function append(what, job) {
    const item = JSON.stringify([what, job]);
    fs.appendFileSync(process.env.CRASHMATRIX_JOURNAL, `attempt ${item}\n`);
    write_synced(log, `${what} ${job}\n`, "a");
    if (lines === 0) sync_folder();
    if (++lines % 3 === 0) compact();
    fs.appendFileSync(process.env.CRASHMATRIX_JOURNAL, `ack ${item}\n`);
}

function compact() {
    const text = open_jobs().map((job) => `put ${job}\n`).join("");
    if (process.env.QUEUE_BUG === "in-place") return write_synced(log, text, "w");
    write_synced(log + ".new", text, "w");
    fs.renameSync(log + ".new", log);
    sync_folder();
}

if (command === "run") {
    for (let job = 0; job < 6; job++) {
        append("put", job);
        if (job % 2) append("done", job - 1);
    }
} else {
    for (const job of open_jobs()) console.log(JSON.stringify(job));
}
