# client.py: redis-py tells the facts of facts.txt.   client.py PORT SECURED_PORT python|hiredis [plain]
import hashlib
import sys
import threading
import time

import redis
from redis import exceptions
from redis.connection import Connection, HiredisParser, PythonParser

PORT, SECURED, PARSER = int(sys.argv[1]), int(sys.argv[2]), {"python": PythonParser, "hiredis": HiredisParser}[sys.argv[3]]
CODES = {exceptions.NoScriptError: "NOSCRIPT", exceptions.AuthenticationError: "NOAUTH", exceptions.NoPermissionError: "NOPERM"}


def connect(port=PORT, **options):
    pool = redis.ConnectionPool(host="127.0.0.1", port=port, parser_class=PARSER, socket_timeout=20, **options)
    return redis.Redis(connection_pool=pool, single_connection_client=True)


def text(value):
    return "nil" if value is None else value.decode() if isinstance(value, bytes) else str(value)


def fact(name, *values):
    print(f"{name}: {' '.join(text(value) for value in values)}", flush=True)


def intact(name, got, expected):
    fact(name, "intact" if got == expected else f"{len(got or b'')} bytes differ")


def error_of(call, words=1):
    try:
        return f"no error but {call()}"
    except redis.RedisError as error:
        fact(f"also: class of {error}", type(error).__name__)
        return CODES.get(type(error)) or " ".join(str(error).split()[:words])


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        if time.monotonic() > end:
            sys.exit("gave up waiting")
        time.sleep(0.005)


def again(call):  # until the connection is back
    end = time.monotonic() + 20
    while True:
        try:
            return call()
        except (redis.ConnectionError, redis.BusyLoadingError):
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


def blocked(client, count):
    until(lambda: client.info("clients")["blocked_clients"] == count)


def later(call):  # what it returns, in a list
    result = []
    thread = threading.Thread(target=lambda: result.append(call()), daemon=True)
    thread.start()
    return thread, result


# Only what every application does; ends when the key `done` is there.
if sys.argv[4:] == ["plain"]:
    client = redis.Redis(port=SECURED, username="app", password="app-secret", db=2, client_name="plain")
    client.set("app:ready", "1")
    until(lambda: client.get("app:done"))
    sys.exit()

client, other = connect(), connect()
client.flushall()
fact("ping", "PONG" if client.ping() else "")
client.set("back", "back")

three = connect(db=3)
three.set("where", "here")
fact("database 3 and database 0", three.get("where"), client.get("where"))
fact("client name", connect(client_name="facts").client_getname())

every_byte, big = bytes(range(256)), bytes(range(256)) * 4096
client.set("binary", every_byte)
intact("binary string", client.get("binary"), every_byte)
client.set("big", big)
intact("string of 1 MB", client.get("big"), big)
client.hset("hash", every_byte, every_byte)
intact("binary hash", client.hgetall("hash").get(every_byte), every_byte)
client.hset("hash", "big", big)
intact("hash value of 1 MB", client.hgetall("hash").get(b"big"), big)
fact("missing key", client.get("missing"))

pipeline = client.pipeline(transaction=False)
for _ in range(1000):
    pipeline.incr("count")
replies = pipeline.execute()
fact("pipeline of 1000", len(replies), sum(replies))
pipeline.incr("n").lpush("n", "x").incr("n")
one, error, two = pipeline.execute(raise_on_error=False)
fact("pipeline with an error inside", one, str(error).split()[0], two)

fact("transaction", *client.pipeline().incr("t").incrby("t", 5).get("t").execute())
watching = client.pipeline()
watching.watch("t")
other.set("t", "changed")
watching.multi()
try:
    fact("watched key changed by another", *watching.incr("t").execute())
except redis.WatchError:
    fact("watched key changed by another", None)
watching.watch("u")
watching.multi()
fact("watched key left alone", *watching.incr("u").execute())
for command in ("MULTI", "SET discarded 1", "DISCARD"):
    client.execute_command(*command.split())
fact("discarded transaction", client.get("discarded"))

listening = client.pubsub(ignore_subscribe_messages=False)
listening.subscribe("news")
listening.psubscribe("n*")
listening.get_message(timeout=20)
listening.get_message(timeout=20)
fact("receivers of the message", other.publish("news", "hello"))
message = listening.get_message(timeout=20)
fact("message to the channel", message["channel"], message["data"])
message = listening.get_message(timeout=20)
fact("message to the pattern", message["pattern"], message["channel"], message["data"])
listening.unsubscribe()
listening.punsubscribe()
listening.get_message(timeout=20)
listening.get_message(timeout=20)
listening.connection.send_command("GET", "back")
fact("after the last unsubscribe", listening.connection.read_response())

thread, result = later(lambda: client.blpop("jobs", 20))
blocked(other, 1)
other.rpush("jobs", "first")
thread.join()
fact("BLPOP answered by another", *result[0])
fact("BLPOP timed out", client.blpop("jobs", 0.1))
leaving = Connection(host="127.0.0.1", port=PORT)
leaving.send_command("BLPOP", "kept", 0)
blocked(other, 1)
leaving.disconnect()
blocked(other, 0)
other.rpush("kept", "element")
fact("element kept when a blocked client leaves", client.llen("kept"))
thread, result = later(lambda: client.xread({"stream": "$"}, block=20000))
blocked(other, 1)
other.xadd("stream", {"field": "body"})
thread.join()
fact("XREAD BLOCK answered by another", result[0][0][1][0][1][b"field"])

client.script_flush()
fact("unknown script", error_of(lambda: client.evalsha(hashlib.sha1(b"no such script").hexdigest(), 0)))
fact("script with a key and an argument", *client.eval("return {KEYS[1], ARGV[1]}", 1, "k", "a"))
script = client.register_script("return 42")
fact("script by its hash, or else in full", script())
fact("script by its hash again", client.evalsha(script.sha, 0))

client.mset({f"scan:{i}": i for i in range(1000)})
fact("SCAN", len(set(client.scan_iter(match="scan:*", count=100))))
client.hset("scanned", mapping={f"field:{i}": i for i in range(1000)})
fact("HSCAN", len(dict(client.hscan_iter("scanned", count=100))))

fact("list command on a string", error_of(lambda: client.lpush("n", "x")))
# The library keeps the ERR of these two to itself.
fact("unknown command", "ERR", error_of(lambda: client.execute_command("NOSUCH"), 2))
fact("wrong arity", "ERR", error_of(lambda: client.execute_command("GET"), 2))

fact("no password", error_of(lambda: connect(SECURED).get("k")))
fact("wrong password", error_of(lambda: connect(SECURED, username="app", password="wrong").ping()))
fact("default user", connect(SECURED, password="secret").acl_whoami())
app = connect(SECURED, username="app", password="app-secret")
fact("ACL user", app.acl_whoami())
app.set("app:k", "yes")
fact("its key", app.get("app:k"))
fact("forbidden key", error_of(lambda: app.set("k", "no")))

app = connect(SECURED, username="app", password="app-secret", db=3, client_name="facts")
app.ping()
connect(SECURED, password="secret").client_kill_filter(_type="normal", skipme=True)
me = again(app.client_info)
fact("database, name and user after a lost connection", me["db"], me["name"], me["user"])
other.client_kill_filter(_type="normal", skipme=True)
fact("after a lost connection", "PONG" if again(client.ping) else "")
other.shutdown(nosave=True)  # the test starts it again
fact("after a restart of Redis", "PONG" if again(client.ping) else "")
