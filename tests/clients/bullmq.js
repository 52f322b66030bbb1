// bullmq.js: a BullMQ queue and its workers tell the facts of bullmq.txt.   bullmq.js PORT SECURED_PORT [plain]
"use strict";

const { FlowProducer, Queue, QueueEvents, Worker } = require("bullmq");
const { port, secured, fact, until, again, main } = require("./facts.js");
const Redis = require("ioredis");

const connection = { host: "127.0.0.1", port, retryStrategy: () => 10 };

function quiet(thing) {
  thing.on("error", () => {}); // lost connections, on purpose
  return thing;
}

function work(name, handler, options = {}) {
  return quiet(new Worker(name, handler, { connection, ...options }));
}

const queueOf = (name) => quiet(new Queue(name, { connection }));

// Only what every application does; ends when the key `done` is there.
async function plain() {
  const own = { port: secured, username: "app", password: "app-secret", db: 2 };
  const queue = new Queue("plain", { connection: own, prefix: "app:bull" });
  await queue.add("job", {});
  const client = new Redis(own);
  await client.set("app:ready", "1");
  await until(() => client.get("app:done"));
}

async function manyJobs() {
  const queue = queueOf("many");
  const results = [];
  const worker = work("many", async (job) => job.data.n ** 2, { concurrency: 10 });
  worker.on("completed", (job, result) => results.push(result));
  await queue.addBulk(Array.from({ length: 100 }, (_, n) => ({ name: "square", data: { n } })));
  await until(() => results.length === 100);
  fact("jobs done", results.length);
  fact("sum of their results", results.reduce((sum, n) => sum + n, 0));
  await worker.close();
}

async function delayedJob() {
  const queue = queueOf("delayed");
  let ran = 0;
  const worker = work("delayed", async () => (ran = Date.now()));
  const added = Date.now();
  await queue.add("later", {}, { delay: 200 });
  await until(() => ran > 0);
  fact("delayed job ran no earlier than asked", ran - added >= 199);
  await worker.close();
}

async function failingJobs() {
  const queue = queueOf("failing");
  const events = quiet(new QueueEvents("failing", { connection }));
  await events.waitUntilReady();
  const heard = new Set();
  events.on("completed", () => heard.add("completed"));
  events.on("failed", () => heard.add("failed"));
  const worker = work("failing", async (job) => {
    if (job.name === "hopeless" || job.attemptsMade < 2) {
      throw new Error("give up");
    }
    return "retried";
  });
  const retried = await queue.add("retried", {}, { attempts: 3, backoff: { type: "fixed", delay: 20 } });
  fact("failed job, attempts", await retried.waitUntilFinished(events), (await queue.getJob(retried.id)).attemptsMade);
  const hopeless = await queue.add("hopeless", {});
  fact("job that failed for good", await hopeless.waitUntilFinished(events).catch((error) => error.message));
  await until(() => heard.size === 2);
  await worker.close();
  await events.close();
  return [...heard].sort();
}

async function repeatedJob() {
  const queue = queueOf("repeated");
  let runs = 0;
  const worker = work("repeated", async () => ++runs);
  await queue.upsertJobScheduler("often", { every: 100 }, { name: "tick" });
  await until(() => runs >= 3);
  fact("repeated job ran three times", runs >= 3);
  await queue.removeJobScheduler("often");
  await worker.close();
}

async function priorities() {
  const queue = queueOf("priorities");
  const ran = [];
  for (const priority of [3, 1, 2]) {
    await queue.add("job", { priority }, { priority });
  }
  const worker = work("priorities", async (job) => ran.push(job.data.priority));
  await until(() => ran.length === 3);
  fact("jobs by priority", ran);
  await worker.close();
}

async function flow() {
  const ran = [];
  const worker = work("flow", async (job) => ran.push(job.name));
  const children = [1, 2].map(() => ({ name: "child", queueName: "flow" }));
  await quiet(new FlowProducer({ connection })).add({ name: "parent", queueName: "flow", children });
  await until(() => ran.length === 3);
  fact("flow, children before their parent", ran);
  await worker.close();
}

async function paused() {
  const queue = queueOf("paused");
  await queue.pause();
  await queue.add("job", {});
  let ran = 0;
  const worker = work("paused", async () => ++ran);
  await worker.waitUntilReady();
  fact("paused, ran", await queue.isPaused(), ran);
  await queue.resume();
  await until(() => ran === 1);
  fact("resumed, ran", ran);
  await worker.close();
}

// A worker that waits for jobs must hear of them once its connection, or Redis itself, is back.
async function losses() {
  const queue = queueOf("losses");
  const done = [];
  const worker = work("losses", async (job) => done.push(job.name));
  await worker.waitUntilReady();
  const other = quiet(new Redis(connection));
  const blockedClients = async (count) =>
    until(async () => (await again(() => other.info("clients"))).includes(`blocked_clients:${count}\r`));
  await blockedClients(1);
  await other.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  await again(() => queue.add("survivor", {}));
  await until(() => done.length > 0);
  fact("job done after a lost connection", done[0]);
  done.length = 0;
  await blockedClients(1);
  const last = quiet(new Redis({ ...connection, retryStrategy: null })); // does not say it again
  await last.call("SHUTDOWN", "NOSAVE").catch(() => {}); // the test starts it again
  await again(() => queue.add("survivor", {}));
  await until(() => done.length > 0);
  fact("job done after a restart of Redis", done[0]);
}

main(async () => {
  if (process.argv[4] === "plain") {
    return plain();
  }
  await manyJobs();
  await delayedJob();
  const heard = await failingJobs();
  await repeatedJob();
  await priorities();
  await flow();
  await paused();
  fact("events heard", heard);
  await losses();
});
