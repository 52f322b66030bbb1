// node_redis.js: the `redis` package tells the facts of facts.txt.   node_redis.js PORT SECURED_PORT 2|3 [plain]
"use strict";

const { createHash } = require("node:crypto");
const { createClient, defineScript, RESP_TYPES } = require("redis");
const { port, secured, everyByte, big, fact, intact, errorOf, until, again, blocked, fields, main } = require("./facts.js");

const RESP = Number(process.argv[4]);
const asBuffers = { [RESP_TYPES.BLOB_STRING]: Buffer };
const answer = defineScript({
  SCRIPT: "return 42",
  NUMBER_OF_KEYS: 0,
  parseCommand: () => {},
  transformReply: (reply) => reply,
});

async function connect(to = port, options = {}) {
  const client = createClient({
    socket: { host: "127.0.0.1", port: to, reconnectStrategy: () => 10 },
    RESP,
    scripts: { answer },
    ...options,
  });
  client.on("error", () => {}); // each command reports its own
  await client.connect();
  return client;
}

// Only what every application does; ends when the key `done` is there.
async function plain() {
  const client = createClient({
    url: `redis://app:app-secret@127.0.0.1:${secured}/2`,
    RESP,
    name: "plain",
  });
  await client.connect();
  await client.set("app:ready", "1");
  await until(() => client.get("app:done"));
}

async function stringsAndHashes(client) {
  const binary = client.withTypeMapping(asBuffers);
  await client.set("binary", everyByte);
  intact("binary string", await binary.get("binary"), everyByte);
  await client.set("big", big);
  intact("string of 1 MB", await binary.get("big"), big);
  await client.hSet("hash", everyByte, everyByte);
  intact("binary hash", await binary.hGet("hash", everyByte), everyByte);
  await client.hSet("hash", "big", big);
  intact("hash value of 1 MB", (await binary.hGetAll("hash")).big, big);
  fact("missing key", await client.get("missing"));
}

async function pipelines(client) {
  const replies = await Promise.all(Array.from({ length: 1000 }, () => client.incr("count")));
  fact("pipeline of 1000", replies.length, replies.reduce((sum, n) => sum + n, 0));
  const settled = await Promise.allSettled([client.incr("n"), client.lPush("n", "x"), client.incr("n")]);
  fact("pipeline with an error inside", settled[0].value, settled[1].reason.message.split(" ")[0], settled[2].value);
}

async function transactions(client, other) {
  const exec = (transaction) =>
    transaction.exec().catch((error) => (error.constructor.name === "WatchError" ? null : Promise.reject(error)));
  fact("transaction", await exec(client.multi().incr("t").incrBy("t", 5).get("t")));
  await client.watch("t");
  await other.set("t", "changed");
  fact("watched key changed by another", await exec(client.multi().incr("t")));
  await client.watch("u");
  fact("watched key left alone", await exec(client.multi().incr("u")));
  // The library sends a transaction in one piece; a piece of one's own can be discarded.
  const replies = [["MULTI"], ["SET", "discarded", "1"], ["DISCARD"]].map((command) => client.sendCommand(command));
  await Promise.all(replies);
  fact("discarded transaction", await client.get("discarded"));
}

// On a connection of its own: one that has subscribed with RESP2 misreads nested arrays, the library does.
async function messages(other) {
  const client = await connect();
  const heard = [];
  await client.subscribe("news", (message, channel) => heard.push([channel, message]));
  await client.pSubscribe("n*", (message, channel) => heard.push(["n*", channel, message]));
  fact("receivers of the message", await other.publish("news", "hello"));
  await until(() => heard.length === 2);
  fact("message to the channel", heard[0]);
  fact("message to the pattern", heard[1]);
  await client.unsubscribe("news");
  await client.pUnsubscribe("n*");
  fact("after the last unsubscribe", await client.get("back"));
}

async function blocking(client, other) {
  const popped = client.blPop("jobs", 20);
  await blocked(other, 1);
  await other.rPush("jobs", "first");
  fact("BLPOP answered by another", Object.values(await popped));
  fact("BLPOP timed out", await client.blPop("jobs", 0.1));
  const leaving = await connect();
  leaving.blPop("kept", 0).catch(() => {});
  await blocked(other, 1);
  leaving.destroy();
  await blocked(other, 0);
  await other.rPush("kept", "element");
  fact("element kept when a blocked client leaves", await client.lLen("kept"));
  const entries = client.xRead({ key: "stream", id: "$" }, { BLOCK: 20000 });
  await blocked(other, 1);
  await other.xAdd("stream", "*", { field: "body" });
  fact("XREAD BLOCK answered by another", (await entries)[0].messages[0].message.field);
}

async function scripts(client) {
  const sha = createHash("sha1").update("return 42").digest("hex");
  await client.scriptFlush();
  fact("unknown script", await errorOf(client.evalSha(sha)));
  const parameters = { keys: ["k"], arguments: ["a"] };
  fact("script with a key and an argument", await client.eval("return {KEYS[1], ARGV[1]}", parameters));
  fact("script by its hash, or else in full", await client.answer());
  fact("script by its hash again", await client.evalSha(sha));
}

async function scans(client) {
  const numbers = Array.from({ length: 1000 }, (_, i) => i);
  await client.mSet(Object.fromEntries(numbers.map((i) => [`scan:${i}`, `${i}`])));
  const keys = new Set();
  for await (const page of client.scanIterator({ MATCH: "scan:*", COUNT: 100 })) {
    page.forEach((key) => keys.add(key));
  }
  fact("SCAN", keys.size);
  await client.hSet("scanned", Object.fromEntries(numbers.map((i) => [`field:${i}`, i])));
  let found = 0;
  for await (const page of client.hScanIterator("scanned", { COUNT: 100 })) {
    found += page.length;
  }
  fact("HSCAN", found);
}

async function refusals(client) {
  fact("list command on a string", await errorOf(client.lPush("n", "x")));
  fact("unknown command", await errorOf(client.sendCommand(["NOSUCH"]), 3));
  fact("wrong arity", await errorOf(client.sendCommand(["GET"]), 3));
}

async function users() {
  const app = { username: "app", password: "app-secret" };
  const once = { host: "127.0.0.1", port: secured, reconnectStrategy: false };
  const nobody = () => connect(secured, { RESP: 2, disableClientInfo: true, socket: once });
  fact("no password", await errorOf(nobody().then((client) => client.get("k"))));
  fact("wrong password", await errorOf(connect(secured, { ...app, password: "wrong", socket: once })));
  const admin = await connect(secured, { password: "secret" });
  fact("default user", await admin.aclWhoAmI());
  const client = await connect(secured, { ...app, database: 3, name: "facts" });
  fact("ACL user", await client.aclWhoAmI());
  await client.set("app:k", "yes");
  fact("its key", await client.get("app:k"));
  fact("forbidden key", await errorOf(client.set("k", "no")));
  await admin.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  const info = await again(() => client.sendCommand(["CLIENT", "INFO"]));
  fact("database, name and user after a lost connection", fields(info, "db", "name", "user"));
}

// What only the third version of the protocol has, and subscriptions that the library renews.
async function more(client, other) {
  if (RESP === 3) {
    await client.zAdd("set", { value: "member", score: 1.5 });
    fact("also: double", typeof (await client.zScore("set", "member")));
    const caching = await connect(port, { clientSideCache: { ttl: 0, maxEntries: 0, evictPolicy: "LRU" } });
    await other.set("cached", "old");
    fact("also: cached", await caching.get("cached"), await caching.get("cached"));
    await other.set("cached", "new");
    await until(async () => (await caching.get("cached")) === "new");
    fact("also: told of the change", await caching.get("cached"));
    const told = [];
    const tracking = await connect(port, { emitInvalidate: true });
    tracking.on("invalidate", (key) => told.push(key));
    await tracking.get("cached");
    await other.set("cached", "newer");
    await until(() => told.length > 0);
    fact("also: invalidated", told[0]);
  }
  const heard = [];
  const listening = await connect();
  await listening.subscribe("later", (message, channel) => heard.push([channel, message]));
  fact("also: protocol", fields(await client.sendCommand(["CLIENT", "INFO"]), "resp"));
  await other.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
  await until(async () => (await again(() => other.publish("later", "hello"))) === 1);
  await until(() => heard.length > 0);
  fact("also: message after a lost connection", heard[0]);
}

main(async () => {
  if (process.argv[5] === "plain") {
    return plain();
  }
  const client = await connect();
  const other = await connect();
  await client.flushAll();
  fact("ping", await client.ping());
  await client.set("back", "back");
  const three = await connect(port, { database: 3 });
  await three.set("where", "here");
  fact("database 3 and database 0", await three.get("where"), await client.get("where"));
  fact("client name", await (await connect(port, { name: "facts" })).sendCommand(["CLIENT", "GETNAME"]));
  await stringsAndHashes(client);
  await pipelines(client);
  await transactions(client, other);
  await messages(other);
  await blocking(client, other);
  await scripts(client);
  await scans(client);
  await refusals(client);
  await users();
  await more(client, other);
  await other.sendCommand(["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
  fact("after a lost connection", await again(() => client.ping()));
  await other.sendCommand(["SHUTDOWN", "NOSAVE"]).catch(() => {}); // the test starts it again
  fact("after a restart of Redis", await again(() => client.ping()));
});
