// client.c: hiredis tells the facts of facts.txt.   client PORT SECURED_PORT [plain]
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#define BIG (1 << 20)

static int port, secured;

static void give_up(const char* why) {
  fprintf(stderr, "%s\n", why);
  exit(1);
}

static redisContext* connect_to(int to) {
  redisContext* context = redisConnect("127.0.0.1", to);
  if (context == NULL || context->err) {
    give_up("cannot connect");
  }
  const struct timeval limit = {20, 0};
  redisSetTimeout(context, limit);
  return context;
}

// Replies are not freed one by one: the program is short.
static redisReply* run(redisContext* context, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  redisReply* reply = redisvCommand(context, format, arguments);
  va_end(arguments);
  if (reply == NULL) {
    give_up(context->errstr);
  }
  return reply;
}

static redisReply* next(redisContext* context) {
  redisReply* reply = NULL;
  if (redisGetReply(context, (void**)&reply) != REDIS_OK) {
    give_up(context->errstr);
  }
  return reply;
}

static void send_only(redisContext* context, const char* command) {
  redisAppendCommand(context, command);
  for (int done = 0; !done;) {
    if (redisBufferWrite(context, &done) != REDIS_OK) {
      give_up(context->errstr);
    }
  }
}

static void print_value(const redisReply* reply, int words) {
  switch (reply->type) {
    case REDIS_REPLY_NIL:
      printf(" nil");
      break;
    case REDIS_REPLY_INTEGER:
      printf(" %lld", reply->integer);
      break;
    case REDIS_REPLY_ARRAY:
      for (size_t i = 0; i < reply->elements; ++i) {
        print_value(reply->element[i], words);
      }
      break;
    default: {
      const char* end = reply->str;
      for (int i = 0; i < words && *end; ++i) {
        end += strcspn(end + 1, " ") + 1;
      }
      printf(" %.*s", (int)(reply->type == REDIS_REPLY_ERROR ? end - reply->str : (long)reply->len), reply->str);
    }
  }
}

// Of an error, only the first `words` words.
static void fact_words(const char* name, const redisReply* reply, int words) {
  printf("%s:", name);
  print_value(reply, words);
  printf("\n");
  fflush(stdout);
}

static void fact(const char* name, const redisReply* reply) { fact_words(name, reply, 1); }

static void intact(const char* name, const redisReply* reply, const char* expected, size_t size) {
  const int same =
      reply->type == REDIS_REPLY_STRING && (size_t)reply->len == size && !memcmp(reply->str, expected, size);
  printf("%s: %s\n", name, same ? "intact" : "differs");
}

static void wait_for(redisContext* context, const char* command, const char* text) {
  for (int tries = 0; strstr(run(context, command)->str, text) == NULL; ++tries) {
    if (tries == 4000) {
      give_up("gave up waiting");
    }
    usleep(5000);
  }
}

// The reply to `command` once the connection is back; `setup` is run on each new connection.
static redisReply* again(redisContext* context, void (*setup)(redisContext*), const char* command) {
  for (int tries = 0; tries < 2000; ++tries) {
    redisReply* reply = redisCommand(context, command);
    if (reply != NULL && (reply->type != REDIS_REPLY_ERROR || strncmp(reply->str, "LOADING", 7) != 0)) {
      return reply;
    }
    usleep(10000);
    if (redisReconnect(context) == REDIS_OK && setup != NULL) {
      setup(context);
    }
  }
  give_up("the connection does not come back");
  return NULL;
}

static void log_in(redisContext* context) {
  redisCommand(context, "AUTH app app-secret");
  redisCommand(context, "SELECT 3");
  redisCommand(context, "CLIENT SETNAME facts");
}

// Only what every application does; ends when the key `done` is there.
static int plain(void) {
  redisContext* context = connect_to(secured);
  run(context, "AUTH app app-secret");
  run(context, "SELECT 2");
  run(context, "CLIENT SETNAME plain");
  run(context, "SET app:ready 1");
  while (run(context, "GET app:done")->type == REDIS_REPLY_NIL) {
    usleep(5000);
  }
  return 0;
}

static void strings_and_hashes(redisContext* client) {
  char* big = malloc(BIG);
  for (int i = 0; i < BIG; ++i) {
    big[i] = (char)i;
  }
  run(client, "SET binary %b", big, (size_t)256);
  intact("binary string", run(client, "GET binary"), big, 256);
  run(client, "SET big %b", big, (size_t)BIG);
  intact("string of 1 MB", run(client, "GET big"), big, BIG);
  run(client, "HSET hash %b %b", big, (size_t)256, big, (size_t)256);
  intact("binary hash", run(client, "HGETALL hash")->element[1], big, 256);
  run(client, "HSET hash big %b", big, (size_t)BIG);
  intact("hash value of 1 MB", run(client, "HGET hash big"), big, BIG);
  fact("missing key", run(client, "GET missing"));
}

static void pipelines(redisContext* client) {
  for (int i = 0; i < 1000; ++i) {
    redisAppendCommand(client, "INCR count");
  }
  long long sum = 0;
  for (int i = 0; i < 1000; ++i) {
    sum += next(client)->integer;
  }
  printf("pipeline of 1000: 1000 %lld\n", sum);
  redisAppendCommand(client, "INCR n");
  redisAppendCommand(client, "LPUSH n x");
  redisAppendCommand(client, "INCR n");
  printf("pipeline with an error inside:");
  for (int i = 0; i < 3; ++i) {
    print_value(next(client), 1);
  }
  printf("\n");
}

static void transactions(redisContext* client, redisContext* other) {
  run(client, "MULTI");
  run(client, "INCR t");
  run(client, "INCRBY t 5");
  run(client, "GET t");
  fact("transaction", run(client, "EXEC"));
  run(client, "WATCH t");
  run(other, "SET t changed");
  run(client, "MULTI");
  run(client, "INCR t");
  fact("watched key changed by another", run(client, "EXEC"));
  run(client, "WATCH u");
  run(client, "MULTI");
  run(client, "INCR u");
  fact("watched key left alone", run(client, "EXEC"));
  run(client, "MULTI");
  run(client, "SET discarded 1");
  run(client, "DISCARD");
  fact("discarded transaction", run(client, "GET discarded"));
}

static void print_message(const char* name, const redisReply* message) {
  printf("%s:", name);
  for (size_t i = 1; i < message->elements; ++i) {
    print_value(message->element[i], 1);
  }
  printf("\n");
}

static void messages(redisContext* client, redisContext* other) {
  run(client, "SUBSCRIBE news");
  run(client, "PSUBSCRIBE n*");
  fact("receivers of the message", run(other, "PUBLISH news hello"));
  print_message("message to the channel", next(client));
  print_message("message to the pattern", next(client));
  run(client, "UNSUBSCRIBE");
  run(client, "PUNSUBSCRIBE");
  fact("after the last unsubscribe", run(client, "GET back"));
}

static void blocking(redisContext* client, redisContext* other) {
  send_only(client, "BLPOP jobs 20");
  wait_for(other, "INFO clients", "blocked_clients:1\r");
  run(other, "RPUSH jobs first");
  fact("BLPOP answered by another", next(client));
  fact("BLPOP timed out", run(client, "BLPOP jobs 0.1"));
  redisContext* leaving = connect_to(port);
  send_only(leaving, "BLPOP kept 0");
  wait_for(other, "INFO clients", "blocked_clients:1\r");
  redisFree(leaving);
  wait_for(other, "INFO clients", "blocked_clients:0\r");
  run(other, "RPUSH kept element");
  fact("element kept when a blocked client leaves", run(client, "LLEN kept"));
  send_only(client, "XREAD BLOCK 20000 STREAMS stream $");
  wait_for(other, "INFO clients", "blocked_clients:1\r");
  run(other, "XADD stream * field body");
  const redisReply* entry = next(client)->element[0]->element[1]->element[0];
  fact("XREAD BLOCK answered by another", entry->element[1]->element[1]);
}

static void scripts(redisContext* client) {
  const char* sha = "1fa00e76656cc152ad327c13fe365858fd7be306";  // of `return 42`
  run(client, "SCRIPT FLUSH");
  const redisReply* unknown = run(client, "EVALSHA %s 0", sha);
  fact("unknown script", unknown);
  fact("script with a key and an argument", run(client, "EVAL %s 1 k a", "return {KEYS[1], ARGV[1]}"));
  fact("script by its hash, or else in full", run(client, "EVAL %s 0", "return 42"));
  fact("script by its hash again", run(client, "EVALSHA %s 0", sha));
}

// How many elements all pages have together; `format` takes the cursor.
static void scan(const char* name, redisContext* client, const char* format) {
  char cursor[32] = "0";
  size_t found = 0;
  do {
    const redisReply* page = run(client, format, cursor);
    snprintf(cursor, sizeof cursor, "%s", page->element[0]->str);
    found += page->element[1]->elements;
  } while (strcmp(cursor, "0") != 0);
  printf("%s: %zu\n", name, strcmp(name, "HSCAN") == 0 ? found / 2 : found);
}

static void scans(redisContext* client) {
  for (int i = 0; i < 1000; ++i) {
    redisAppendCommand(client, "SET scan:%d %d", i, i);
    redisAppendCommand(client, "HSET scanned field:%d %d", i, i);
  }
  for (int i = 0; i < 2000; ++i) {
    next(client);
  }
  scan("SCAN", client, "SCAN %s MATCH scan:* COUNT 100");
  scan("HSCAN", client, "HSCAN scanned %s COUNT 100");
}

static void errors(redisContext* client) {
  fact("list command on a string", run(client, "LPUSH n x"));
  fact_words("unknown command", run(client, "NOSUCH"), 3);
  fact_words("wrong arity", run(client, "GET"), 3);
}

static void users(void) {
  redisContext* nobody = connect_to(secured);
  fact("no password", run(nobody, "GET k"));
  fact("wrong password", run(nobody, "AUTH app wrong"));
  redisContext* admin = connect_to(secured);
  run(admin, "AUTH secret");
  fact("default user", run(admin, "ACL WHOAMI"));
  redisContext* app = connect_to(secured);
  run(app, "AUTH app app-secret");
  fact("ACL user", run(app, "ACL WHOAMI"));
  run(app, "SET app:k yes");
  fact("its key", run(app, "GET app:k"));
  fact("forbidden key", run(app, "SET k no"));
  log_in(app);
  run(admin, "CLIENT KILL TYPE normal SKIPME yes");
  printf("database, name and user after a lost connection:");
  const char* info = again(app, log_in, "CLIENT INFO")->str;
  printf(" %d", atoi(strstr(info, " db=") + 4));
  printf(" %.*s", (int)strcspn(strstr(info, " name=") + 6, " "), strstr(info, " name=") + 6);
  printf(" %.*s\n", (int)strcspn(strstr(info, " user=") + 6, " "), strstr(info, " user=") + 6);
}

int main(int argc, char** argv) {
  if (argc < 3) {
    give_up("client PORT SECURED_PORT [plain]");
  }
  port = atoi(argv[1]);
  secured = atoi(argv[2]);
  if (argc > 3) {
    return plain();
  }
  redisContext* client = connect_to(port);
  redisContext* other = connect_to(port);
  run(client, "FLUSHALL");
  fact("ping", run(client, "PING"));
  run(client, "SET back back");
  redisContext* three = connect_to(port);
  run(three, "SELECT 3");
  run(three, "SET where here");
  printf("database 3 and database 0:");
  print_value(run(three, "GET where"), 1);
  print_value(run(client, "GET where"), 1);
  printf("\n");
  run(three, "CLIENT SETNAME facts");
  fact("client name", run(three, "CLIENT GETNAME"));
  strings_and_hashes(client);
  pipelines(client);
  transactions(client, other);
  messages(client, other);
  blocking(client, other);
  scripts(client);
  scans(client);
  errors(client);
  users();
  run(other, "CLIENT KILL TYPE normal SKIPME yes");
  fact("after a lost connection", again(client, NULL, "PING"));
  redisCommand(other, "SHUTDOWN NOSAVE");  // the test starts it again
  fact("after a restart of Redis", again(client, NULL, "PING"));
  return 0;
}
