// client.go: redigo tells the facts of facts.txt.   client PORT SECURED_PORT [plain]
package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

var port, secured = os.Args[1], os.Args[2]

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func connect(port string, options ...redis.DialOption) redis.Conn {
	options = append(options, redis.DialReadTimeout(20*time.Second))
	conn, err := redis.Dial("tcp", "127.0.0.1:"+port, options...)
	check(err)
	return conn
}

func run(conn redis.Conn, command string, args ...interface{}) interface{} {
	reply, err := conn.Do(command, args...)
	check(err)
	return reply
}

func text(value interface{}) string {
	switch value := value.(type) {
	case nil:
		return "nil"
	case []byte:
		return string(value)
	case redis.Error:
		return strings.Fields(string(value))[0]
	case []interface{}:
		list := []string{}
		for _, element := range value {
			list = append(list, text(element))
		}
		return strings.Join(list, " ")
	default:
		return fmt.Sprint(value)
	}
}

func fact(name string, values ...interface{}) { fmt.Printf("%s: %s\n", name, text(values)) }

func intact(name string, got interface{}, expected []byte) {
	if bytes.Equal(got.([]byte), expected) {
		fact(name, "intact")
	} else {
		fact(name, "differs")
	}
}

// The first words of the error.
func errorOf(err error, words int) string {
	var refused redis.Error
	if !errors.As(err, &refused) {
		return fmt.Sprintf("no error of Redis but %v", err)
	}
	return strings.Join(strings.Fields(string(refused))[:words], " ")
}

func until(what string, condition func() bool) {
	for end := time.Now().Add(20 * time.Second); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			panic("gave up waiting: " + what)
		}
	}
}

func blocked(conn redis.Conn, count int) {
	line := fmt.Sprintf("blocked_clients:%d\r", count)
	until(line, func() bool { return strings.Contains(text(run(conn, "INFO", "clients")), line) })
}

// What the command answers, later.
func start(conn redis.Conn, command string, args ...interface{}) chan interface{} {
	result := make(chan interface{}, 1)
	go func() { result <- run(conn, command, args...) }()
	return result
}

// The reply of a connection of the pool, once there is one that works.
func again(pool *redis.Pool, command string, args ...interface{}) string {
	var reply interface{}
	until("the connection", func() bool {
		conn := pool.Get()
		defer conn.Close()
		var err error
		reply, err = conn.Do(command, args...)
		return err == nil
	})
	return text(reply)
}

func field(info, name string) string {
	for _, word := range strings.Fields(info) {
		if strings.HasPrefix(word, name+"=") {
			return word[len(name)+1:]
		}
	}
	return ""
}

// Only what every application does; ends when the key `done` is there.
func plain() {
	conn := connect(secured, redis.DialUsername("app"), redis.DialPassword("app-secret"), redis.DialDatabase(2),
		redis.DialClientName("plain"))
	run(conn, "SET", "app:ready", "1")
	until("app:done", func() bool { return run(conn, "GET", "app:done") != nil })
}

func stringsAndHashes(client redis.Conn) {
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	big := bytes.Repeat(everyByte, 4096)
	run(client, "SET", "binary", everyByte)
	intact("binary string", run(client, "GET", "binary"), everyByte)
	run(client, "SET", "big", big)
	intact("string of 1 MB", run(client, "GET", "big"), big)
	run(client, "HSET", "hash", everyByte, everyByte)
	hash, err := redis.StringMap(client.Do("HGETALL", "hash"))
	check(err)
	intact("binary hash", []byte(hash[string(everyByte)]), everyByte)
	run(client, "HSET", "hash", "big", big)
	hash, err = redis.StringMap(client.Do("HGETALL", "hash"))
	check(err)
	intact("hash value of 1 MB", []byte(hash["big"]), big)
	fact("missing key", run(client, "GET", "missing"))
}

func pipelines(client redis.Conn) {
	for i := 0; i < 1000; i++ {
		check(client.Send("INCR", "count"))
	}
	check(client.Flush())
	sum := 0
	for i := 0; i < 1000; i++ {
		n, err := redis.Int(client.Receive())
		check(err)
		sum += n
	}
	fact("pipeline of 1000", 1000, sum)
	check(client.Send("INCR", "n"))
	check(client.Send("LPUSH", "n", "x"))
	check(client.Send("INCR", "n"))
	check(client.Flush())
	one, err := client.Receive()
	check(err)
	_, refused := client.Receive()
	two, err := client.Receive()
	check(err)
	fact("pipeline with an error inside", one, errorOf(refused, 1), two)
}

func transactions(client, other redis.Conn) {
	check(client.Send("MULTI"))
	check(client.Send("INCR", "t"))
	check(client.Send("INCRBY", "t", 5))
	check(client.Send("GET", "t"))
	fact("transaction", run(client, "EXEC"))
	run(client, "WATCH", "t")
	run(other, "SET", "t", "changed")
	check(client.Send("MULTI"))
	check(client.Send("INCR", "t"))
	fact("watched key changed by another", run(client, "EXEC"))
	run(client, "WATCH", "u")
	check(client.Send("MULTI"))
	check(client.Send("INCR", "u"))
	fact("watched key left alone", run(client, "EXEC"))
	check(client.Send("MULTI"))
	check(client.Send("SET", "discarded", "1"))
	run(client, "DISCARD")
	fact("discarded transaction", run(client, "GET", "discarded"))
}

func messages(client, other redis.Conn) {
	listening := redis.PubSubConn{Conn: client}
	check(listening.Subscribe("news"))
	check(listening.PSubscribe("n*"))
	listening.Receive()
	listening.Receive()
	fact("receivers of the message", run(other, "PUBLISH", "news", "hello"))
	message := listening.Receive().(redis.Message)
	fact("message to the channel", message.Channel, message.Data)
	message = listening.Receive().(redis.Message)
	fact("message to the pattern", message.Pattern, message.Channel, message.Data)
	check(listening.Unsubscribe())
	check(listening.PUnsubscribe())
	listening.Receive()
	listening.Receive()
	fact("after the last unsubscribe", run(client, "GET", "back"))
}

func blocking(client, other redis.Conn) {
	popped := start(client, "BLPOP", "jobs", 20)
	blocked(other, 1)
	run(other, "RPUSH", "jobs", "first")
	fact("BLPOP answered by another", <-popped)
	fact("BLPOP timed out", run(client, "BLPOP", "jobs", 0.1))
	leaving := connect(port)
	check(leaving.Send("BLPOP", "kept", 0))
	check(leaving.Flush())
	blocked(other, 1)
	check(leaving.Close())
	blocked(other, 0)
	run(other, "RPUSH", "kept", "element")
	fact("element kept when a blocked client leaves", run(client, "LLEN", "kept"))
	entries := start(client, "XREAD", "BLOCK", 20000, "STREAMS", "stream", "$")
	blocked(other, 1)
	run(other, "XADD", "stream", "*", "field", "body")
	words := strings.Fields(text(<-entries)) // stream, id, field, value
	fact("XREAD BLOCK answered by another", words[3])
}

func scripts(client redis.Conn) {
	script := redis.NewScript(0, "return 42")
	run(client, "SCRIPT", "FLUSH")
	_, err := client.Do("EVALSHA", script.Hash(), 0)
	fact("unknown script", errorOf(err, 1))
	fact("script with a key and an argument", run(client, "EVAL", "return {KEYS[1], ARGV[1]}", 1, "k", "a"))
	answer, err := script.Do(client)
	check(err)
	fact("script by its hash, or else in full", answer)
	fact("script by its hash again", run(client, "EVALSHA", script.Hash(), 0))
}

// How many elements all pages have together; `args` has the cursor at `at`.
func scan(client redis.Conn, at int, command string, args ...interface{}) int {
	found := 0
	for {
		page, err := redis.Values(client.Do(command, args...))
		check(err)
		elements, err := redis.Values(page[1], nil)
		check(err)
		found += len(elements)
		args[at] = page[0]
		if text(page[0]) == "0" {
			return found
		}
	}
}

func scans(client redis.Conn) {
	for i := 0; i < 1000; i++ {
		check(client.Send("SET", fmt.Sprint("scan:", i), i))
		check(client.Send("HSET", "scanned", fmt.Sprint("field:", i), i))
	}
	run(client, "")
	fact("SCAN", scan(client, 0, "SCAN", 0, "MATCH", "scan:*", "COUNT", 100))
	fact("HSCAN", scan(client, 1, "HSCAN", "scanned", 0, "COUNT", 100)/2)
}

func refusals(client redis.Conn) {
	_, err := client.Do("LPUSH", "n", "x")
	fact("list command on a string", errorOf(err, 1))
	_, err = client.Do("NOSUCH")
	fact("unknown command", errorOf(err, 3))
	_, err = client.Do("GET")
	fact("wrong arity", errorOf(err, 3))
}

func users() {
	_, err := connect(secured).Do("GET", "k")
	fact("no password", errorOf(err, 1))
	user := []redis.DialOption{redis.DialUsername("app"), redis.DialPassword("app-secret")}
	_, err = redis.Dial("tcp", "127.0.0.1:"+secured, redis.DialUsername("app"), redis.DialPassword("wrong"))
	fact("wrong password", errorOf(err, 1))
	admin := connect(secured, redis.DialPassword("secret"))
	fact("default user", run(admin, "ACL", "WHOAMI"))
	app := connect(secured, user...)
	fact("ACL user", run(app, "ACL", "WHOAMI"))
	run(app, "SET", "app:k", "yes")
	fact("its key", run(app, "GET", "app:k"))
	_, err = app.Do("SET", "k", "no")
	fact("forbidden key", errorOf(err, 1))

	pool := poolOf(secured, append(user, redis.DialDatabase(3), redis.DialClientName("facts"))...)
	again(pool, "PING")
	run(admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	info := again(pool, "CLIENT", "INFO")
	fact("database, name and user after a lost connection", field(info, "db"), field(info, "name"), field(info, "user"))
}

func poolOf(port string, options ...redis.DialOption) *redis.Pool {
	return &redis.Pool{MaxIdle: 1, Dial: func() (redis.Conn, error) {
		return redis.Dial("tcp", "127.0.0.1:"+port, options...)
	}}
}

func main() {
	if len(os.Args) > 3 {
		plain()
		return
	}
	client, other := connect(port), connect(port)
	run(client, "FLUSHALL")
	fact("ping", run(client, "PING"))
	run(client, "SET", "back", "back")
	three := connect(port, redis.DialDatabase(3))
	run(three, "SET", "where", "here")
	fact("database 3 and database 0", run(three, "GET", "where"), run(client, "GET", "where"))
	fact("client name", run(connect(port, redis.DialClientName("facts")), "CLIENT", "GETNAME"))
	stringsAndHashes(client)
	pipelines(client)
	transactions(client, other)
	messages(client, other)
	blocking(client, other)
	scripts(client)
	scans(client)
	refusals(client)
	users()
	pool := poolOf(port)
	again(pool, "PING")
	run(other, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	fact("after a lost connection", again(pool, "PING"))
	other.Do("SHUTDOWN", "NOSAVE") // the test starts it again
	fact("after a restart of Redis", again(pool, "PING"))
}
