# client.rb: redis-rb tells the facts of facts.txt.   client.rb PORT SECURED_PORT [plain]
require "digest"
require "redis"
require "timeout"

PORT = ARGV[0].to_i
SECURED = ARGV[1].to_i
$stdout.sync = true

def connect(port = PORT, **options)
  Redis.new(host: "127.0.0.1", port: port, read_timeout: 20, reconnect_attempts: 0, **options)
end

def fact(name, *values)
  puts "#{name}: #{values.flatten.map { |value| value.nil? ? "nil" : value.to_s }.join(" ")}"
end

def intact(name, got, expected)
  fact(name, got.to_s.b == expected ? "intact" : "differs")
end

# The first words of the error.
def error_of(words = 1)
  "no error but #{yield}"
rescue Redis::BaseError => error
  fact("also: class of #{error}", error.class)
  error.message.split.first(words).join(" ")
end

def wait_until
  Timeout.timeout(20) { sleep 0.005 until yield }
end

# What the block returns once the connection is back.
def again
  Timeout.timeout(20) do
    yield
  rescue Redis::BaseConnectionError, Redis::CommandError
    sleep 0.01
    retry
  end
end

def blocked(client, count)
  wait_until { client.info("clients")["blocked_clients"] == count.to_s }
end

# Only what every application does; ends when the key `done` is there.
if ARGV[2] == "plain"
  client = Redis.new(host: "127.0.0.1", port: SECURED, username: "app", password: "app-secret", db: 2, id: "plain")
  client.call("CLIENT", "SETNAME", "plain")
  client.set("app:ready", "1")
  wait_until { client.get("app:done") }
  exit
end

client = connect
other = connect
client.flushall
fact("ping", client.ping)
client.set("back", "back")

three = connect(db: 3)
three.set("where", "here")
fact("database 3 and database 0", three.get("where"), client.get("where"))
three.call("CLIENT", "SETNAME", "facts")
fact("client name", three.call("CLIENT", "GETNAME"))

every_byte = (0..255).to_a.pack("C*")
big = every_byte * 4096
client.set("binary", every_byte)
intact("binary string", client.get("binary"), every_byte)
client.set("big", big)
intact("string of 1 MB", client.get("big"), big)
client.hset("hash", every_byte, every_byte)
intact("binary hash", client.hgetall("hash").transform_keys(&:b)[every_byte], every_byte)
client.hset("hash", "big", big)
intact("hash value of 1 MB", client.hgetall("hash")["big"], big)
fact("missing key", client.get("missing"))

replies = client.pipelined { |pipeline| 1000.times { pipeline.incr("count") } }
fact("pipeline of 1000", replies.size, replies.sum)
begin
  client.pipelined { |pipeline| [pipeline.incr("n"), pipeline.lpush("n", "x"), pipeline.incr("n")] }
rescue Redis::CommandError => error # which hides the other replies
  fact("pipeline with an error inside", client.get("n").to_i - 1, error.message.split.first, client.get("n"))
end

fact("transaction", client.multi do |transaction|
  transaction.incr("t")
  transaction.incrby("t", 5)
  transaction.get("t")
end)
client.watch("t")
other.set("t", "changed")
fact("watched key changed by another", client.multi { |transaction| transaction.incr("t") })
client.watch("u")
fact("watched key left alone", client.multi { |transaction| transaction.incr("u") })
[%w[MULTI], %w[SET discarded 1], %w[DISCARD]].each { |command| client.call(*command) }
fact("discarded transaction", client.get("discarded"))

# The library listens to channels or to patterns, not to both.
heard = []
listening = Thread.new do
  client.subscribe("news") do |on|
    on.message { |*message| heard << message && client.unsubscribe }
  end
  client.psubscribe("n*") do |on|
    on.pmessage { |*message| heard << message && client.punsubscribe }
  end
end
wait_until { other.pubsub("numsub", "news") == ["news", 1] }
receivers = other.publish("news", "hello")
wait_until { other.pubsub("numpat") == 1 }
fact("receivers of the message", receivers + other.publish("news", "hello"))
listening.join(20)
fact("message to the channel", heard[0])
fact("message to the pattern", heard[1])
fact("after the last unsubscribe", client.get("back"))

popping = Thread.new { client.blpop("jobs", timeout: 20) }
blocked(other, 1)
other.rpush("jobs", "first")
fact("BLPOP answered by another", popping.value)
fact("BLPOP timed out", client.blpop("jobs", timeout: 0.1))
leaving = fork { connect.blpop("kept") }
blocked(other, 1)
Process.kill("KILL", leaving)
Process.wait(leaving)
blocked(other, 0)
other.rpush("kept", "element")
fact("element kept when a blocked client leaves", client.llen("kept"))
reading = Thread.new { client.xread("stream", "$", block: 20_000) }
blocked(other, 1)
other.xadd("stream", { field: "body" })
fact("XREAD BLOCK answered by another", reading.value["stream"][0][1]["field"])

client.script(:flush)
sha = Digest::SHA1.hexdigest("return 42")
fact("unknown script", error_of { client.evalsha(sha) })
fact("script with a key and an argument", client.eval("return {KEYS[1], ARGV[1]}", ["k"], ["a"]))
fact("script by its hash, or else in full", begin
  client.evalsha(sha)
rescue Redis::CommandError
  client.eval("return 42")
end)
fact("script by its hash again", client.evalsha(sha))

client.mset(*(0...1000).flat_map { |i| ["scan:#{i}", i] })
fact("SCAN", client.scan_each(match: "scan:*", count: 100).to_a.uniq.size)
client.mapped_hmset("scanned", (0...1000).to_h { |i| ["field:#{i}", i] })
fact("HSCAN", client.hscan_each("scanned", count: 100).to_h.size)

fact("list command on a string", error_of { client.lpush("n", "x") })
fact("unknown command", error_of(3) { client.call("NOSUCH") })
fact("wrong arity", error_of(3) { client.call("GET") })

fact("no password", error_of { connect(SECURED).get("k") })
fact("wrong password", error_of { connect(SECURED, username: "app", password: "wrong").ping })
admin = connect(SECURED, password: "secret")
fact("default user", admin.call("ACL", "WHOAMI"))
app = connect(SECURED, username: "app", password: "app-secret", db: 3)
fact("ACL user", app.call("ACL", "WHOAMI"))
app.set("app:k", "yes")
fact("its key", app.get("app:k"))
fact("forbidden key", error_of { app.set("k", "no") })

# This library has no option for the name.
admin.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
again { app.call("CLIENT", "SETNAME", "facts") }
info = app.call("CLIENT", "INFO").split.to_h { |word| word.split("=", 2) }
fact("database, name and user after a lost connection", info.values_at("db", "name", "user"))
other.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
fact("after a lost connection", again { client.ping })
begin
  other.call("SHUTDOWN", "NOSAVE") # the test starts it again
rescue Redis::BaseConnectionError
  nil
end
fact("after a restart of Redis", again { client.ping })
