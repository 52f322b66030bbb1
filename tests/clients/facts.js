// facts.js: how the JavaScript clients print the facts of facts.txt and wait for them.
"use strict";

const [port, secured] = process.argv.slice(2, 4).map(Number);
const everyByte = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
const big = Buffer.concat(Array(4096).fill(everyByte));

function text(value) {
  return Array.isArray(value) ? value.map(text).join(" ") : value === null || value === undefined ? "nil" : `${value}`;
}

function fact(name, ...values) {
  console.log(`${name}: ${text(values)}`);
}

function intact(name, got, expected) {
  fact(name, got && expected.equals(got) ? "intact" : "differs");
}

// The first words of the error.
async function errorOf(promise, words = 1) {
  try {
    return `no error but ${await promise}`;
  } catch (error) {
    fact(`also: class of ${error.message}`, error.constructor.name);
    return error.message.split(" ").slice(0, words).join(" ");
  }
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(condition) {
  for (const end = Date.now() + 20000; !(await condition()); await pause(5)) {
    if (Date.now() > end) {
      throw new Error(`gave up waiting for ${condition}`);
    }
  }
}

// What `call` answers once the connection is back.
async function again(call) {
  let result;
  await until(() =>
    call().then(
      (reply) => {
        result = reply;
        return true;
      },
      () => false,
    ),
  );
  return result;
}

async function blocked(client, count) {
  await until(async () => (await client.info("clients")).includes(`blocked_clients:${count}\r`));
}

// The words NAME=VALUE of CLIENT INFO.
function fields(info, ...names) {
  return names.map((name) => new RegExp(` ${name}=(\\S*)`).exec(info)[1]);
}

function main(program) {
  program().then(
    () => process.exit(0),
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
}

module.exports = { port, secured, everyByte, big, fact, intact, errorOf, until, again, blocked, fields, main };
