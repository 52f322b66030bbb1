// ioredis.js: ioredis tells the facts of facts.txt.   ioredis.js PORT SECURED_PORT 2|3 [plain]
"use strict";

const { createHash } = require("node:crypto");
const Redis = require("ioredis");
const { port, secured, everyByte, big, fact, intact, errorOf, until, again, blocked, fields, main } = require("./facts.js");

const protocol = Number(process.argv[4]);

function connect(to = port, options = {}) {
  const client = new Redis({ host: "127.0.0.1", port: to, protocol, retryStrategy: () => 10, ...options });
  client.on("error", () => {}); // each command reports its own
  return client;
}

// Only what every application does; ends when the key `done` is there.
async function plain() {
  const client = new Redis({
    port: secured,
    protocol,
    username: "app",
    password: "app-secret",
    db: 2,
    connectionName: "plain",
  });
  await client.set("app:ready", "1");
  await until(() => client.get("app:done"));
}

async function stringsAndHashes(client) {
  await client.set("binary", everyByte);
  intact("binary string", await client.getBuffer("binary"), everyByte);
  await client.set("big", big);
  intact("string of 1 MB", await client.getBuffer("big"), big);
  await client.hset("hash", everyByte, everyByte);
  const [field, value] = await client.hgetallBuffer("hash").then((hash) => Object.entries(hash)[0]);
  intact("binary hash", Buffer.from(field, "latin1").length && value, everyByte);
  await client.hset("hash", "big", big);
  intact("hash value of 1 MB", await client.hgetBuffer("hash", "big"), big);
  fact("missing key", await client.get("missing"));
}

async function pipelines(client) {
  const pipeline = client.pipeline();
  for (let i = 0; i < 1000; ++i) {
    pipeline.incr("count");
  }
  const replies = await pipeline.exec();
  fact("pipeline of 1000", replies.length, replies.reduce((sum, [, n]) => sum + n, 0));
  const [[, one], [error], [, two]] = await client.pipeline().incr("n").lpush("n", "x").incr("n").exec();
  fact("pipeline with an error inside", one, error.message.split(" ")[0], two);
}

async function transactions(client, other) {
  const values = (replies) => replies && replies.map(([, value]) => value);
  fact("transaction", values(await client.multi().incr("t").incrby("t", 5).get("t").exec()));
  await client.watch("t");
  await other.set("t", "changed");
  fact("watched key changed by another", values(await client.multi().incr("t").exec()));
  await client.watch("u");
  fact("watched key left alone", values(await client.multi().incr("u").exec()));
  await client.multi({ pipeline: false });
  await client.set("discarded", "1");
  await client.discard();
  fact("discarded transaction", await client.get("discarded"));
}

async function messages(client, other) {
  const heard = [];
  client.on("message", (...message) => heard.push(message));
  client.on("pmessage", (...message) => heard.push(message));
  await client.subscribe("news");
  await client.psubscribe("n*");
  fact("receivers of the message", await other.publish("news", "hello"));
  await until(() => heard.length === 2);
  fact("message to the channel", heard[0]);
  fact("message to the pattern", heard[1]);
  await client.unsubscribe("news");
  await client.punsubscribe("n*");
  fact("after the last unsubscribe", await client.get("back"));
}

async function blocking(client, other) {
  const popped = client.blpop("jobs", 20);
  await blocked(other, 1);
  await other.rpush("jobs", "first");
  fact("BLPOP answered by another", await popped);
  fact("BLPOP timed out", await client.blpop("jobs", 0.1));
  const leaving = connect(port, { retryStrategy: null });
  leaving.blpop("kept", 0).catch(() => {});
  await blocked(other, 1);
  leaving.disconnect();
  await blocked(other, 0);
  await other.rpush("kept", "element");
  fact("element kept when a blocked client leaves", await client.llen("kept"));
  const entries = client.xread("BLOCK", 20000, "STREAMS", "stream", "$");
  await blocked(other, 1);
  await other.xadd("stream", "*", "field", "body");
  fact("XREAD BLOCK answered by another", (await entries)[0][1][0][1][1]);
}

async function scripts(client) {
  const sha = createHash("sha1").update("return 42").digest("hex");
  await client.script("FLUSH");
  fact("unknown script", await errorOf(client.evalsha(sha, 0)));
  fact("script with a key and an argument", await client.eval("return {KEYS[1], ARGV[1]}", 1, "k", "a"));
  client.defineCommand("answer", { numberOfKeys: 0, lua: "return 42" });
  fact("script by its hash, or else in full", await client.answer());
  fact("script by its hash again", await client.evalsha(sha, 0));
}

async function scans(client) {
  const numbers = Array.from({ length: 1000 }, (_, i) => i);
  await client.mset(Object.fromEntries(numbers.map((i) => [`scan:${i}`, i])));
  const keys = new Set();
  for await (const page of client.scanStream({ match: "scan:*", count: 100 })) {
    page.forEach((key) => keys.add(key));
  }
  fact("SCAN", keys.size);
  await client.hset("scanned", Object.fromEntries(numbers.map((i) => [`field:${i}`, i])));
  let found = 0;
  for await (const page of client.hscanStream("scanned", { count: 100 })) {
    found += page.length / 2;
  }
  fact("HSCAN", found);
}

async function refusals(client) {
  fact("list command on a string", await errorOf(client.lpush("n", "x")));
  fact("unknown command", await errorOf(client.call("NOSUCH"), 3));
  fact("wrong arity", await errorOf(client.call("GET"), 3));
}

// Of a log-in: the error that the client reports.
async function refusedLogin(options) {
  const client = connect(secured, { ...options, retryStrategy: null, maxRetriesPerRequest: 0 });
  const told = new Promise((resolve) => client.once("error", resolve));
  client.ping().catch(() => {});
  return (await told).message.split(" ")[0];
}

async function users() {
  const app = { username: "app", password: "app-secret" };
  const nobody = connect(secured, { protocol: 2, enableReadyCheck: false });
  fact("no password", await errorOf(nobody.get("k")));
  nobody.disconnect();
  fact("wrong password", await refusedLogin({ ...app, password: "wrong" }));
  const admin = connect(secured, { password: "secret" });
  fact("default user", await admin.acl("WHOAMI"));
  const client = connect(secured, { ...app, db: 3, connectionName: "facts" });
  fact("ACL user", await client.acl("WHOAMI"));
  await client.set("app:k", "yes");
  fact("its key", await client.get("app:k"));
  fact("forbidden key", await errorOf(client.set("k", "no")));
  await admin.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  const info = await again(() => client.client("INFO"));
  fact("database, name and user after a lost connection", fields(info, "db", "name", "user"));
}

// What only the third version of the protocol has, and subscriptions that the library renews.
async function more(client, other) {
  if (protocol === 3) {
    const typed = connect(port, { replyMapping: "resp3" });
    await typed.hset("map", "field", "value");
    await typed.zadd("set", 1.5, "member");
    fact("also: map", JSON.stringify(await typed.call("HGETALL", "map")));
    fact("also: double", typeof (await typed.zscore("set", "member")));
  }
  const heard = [];
  const listening = connect();
  listening.on("message", (...message) => heard.push(message));
  await listening.subscribe("later");
  fact("also: protocol", /resp=(\d)/.exec(await client.client("INFO"))[1]);
  await other.client("KILL", "TYPE", "pubsub");
  await until(async () => (await again(() => other.publish("later", "hello"))) === 1);
  await until(() => heard.length > 0);
  fact("also: message after a lost connection", heard[0]);
}

main(async () => {
  if (process.argv[5] === "plain") {
    return plain();
  }
  const client = connect();
  const other = connect();
  await client.flushall();
  fact("ping", await client.ping());
  await client.set("back", "back");
  const three = connect(port, { db: 3 });
  await three.set("where", "here");
  fact("database 3 and database 0", await three.get("where"), await client.get("where"));
  fact("client name", await connect(port, { connectionName: "facts" }).client("GETNAME"));
  await stringsAndHashes(client);
  await pipelines(client);
  await transactions(client, other);
  await messages(client, other);
  await blocking(client, other);
  await scripts(client);
  await scans(client);
  await refusals(client);
  await users();
  await more(client, other);
  await other.client("KILL", "TYPE", "normal", "SKIPME", "yes");
  fact("after a lost connection", await again(() => client.ping()));
  const last = connect(port, { retryStrategy: null }); // does not say it again
  await last.call("SHUTDOWN", "NOSAVE").catch(() => {}); // the test starts it again
  fact("after a restart of Redis", await again(() => client.ping()));
});
