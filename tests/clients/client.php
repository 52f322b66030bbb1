<?php
// client.php: phpredis tells the facts of facts.txt.   client.php PORT SECURED_PORT [plain]

[, $port, $secured] = array_map('intval', $argv);

function connect(int $to): Redis
{
    $client = new Redis();
    $client->connect('127.0.0.1', $to, 20.0, null, 0, 20.0);
    return $client;
}

function log_in(Redis $client): Redis
{
    $client->auth(['app', 'app-secret']);
    $client->select(3);
    $client->client('setname', 'facts');
    return $client;
}

function text($value): string
{
    if (is_array($value)) {
        return implode(' ', array_map('text', array_values($value)));
    }
    return $value === null || $value === false ? 'nil' : ($value === true ? 'PONG' : (string) $value);
}

function fact(string $name, ...$values): void
{
    echo $name, ': ', text($values), "\n";
}

function intact(string $name, $got, string $expected): void
{
    fact($name, $got === $expected ? 'intact' : 'differs');
}

// The first words of the error, which the library keeps or throws.
function error_of(Redis $client, callable $call, int $words = 1): string
{
    try {
        $client->clearLastError();
        $call();
        $error = $client->getLastError() ?? 'no error';
    } catch (RedisException $thrown) {
        $error = $thrown->getMessage();
        fact("also: thrown", $error);
    }
    return implode(' ', array_slice(explode(' ', $error), 0, $words));
}

function until(callable $condition): void
{
    for ($end = microtime(true) + 20; !$condition(); usleep(5000)) {
        if (microtime(true) > $end) {
            fwrite(STDERR, "gave up waiting\n");
            exit(1);
        }
    }
}

function again(callable $call)
{
    $result = null;
    until(function () use ($call, &$result) {
        try {
            $result = $call();
            return $result !== false;
        } catch (RedisException $lost) {
            return false;
        }
    });
    return $result;
}

function blocked(Redis $client, int $count): void
{
    until(fn () => (int) $client->info('clients')['blocked_clients'] === $count);
}

// Runs `call` in a process and on a connection of its own.
function meanwhile(callable $call): int
{
    global $port;
    $child = pcntl_fork();
    if ($child === 0) {
        $call(connect($port));
        posix_kill(getmypid(), SIGKILL); // the parent's connections stay as they are
    }
    return $child;
}

// Only what every application does; ends when the key `done` is there.
if (($argv[3] ?? '') === 'plain') {
    $client = new Redis();
    $client->connect('127.0.0.1', $secured);
    $client->auth(['app', 'app-secret']);
    $client->select(2);
    $client->client('setname', 'plain');
    $client->set('app:ready', '1');
    until(fn () => $client->get('app:done') !== false);
    exit(0);
}

$client = connect($port);
$other = connect($port);
$client->flushAll();
fact('ping', $client->ping());
$client->set('back', 'back');

$three = connect($port);
$three->select(3);
$three->set('where', 'here');
fact('database 3 and database 0', $three->get('where'), $client->get('where'));
$three->client('setname', 'facts');
fact('client name', $three->client('getname'));

$every_byte = implode('', array_map('chr', range(0, 255)));
$big = str_repeat($every_byte, 4096);
$client->set('binary', $every_byte);
intact('binary string', $client->get('binary'), $every_byte);
$client->set('big', $big);
intact('string of 1 MB', $client->get('big'), $big);
$client->hSet('hash', $every_byte, $every_byte);
intact('binary hash', $client->hGetAll('hash')[$every_byte] ?? null, $every_byte);
$client->hSet('hash', 'big', $big);
intact('hash value of 1 MB', $client->hGetAll('hash')['big'] ?? null, $big);
fact('missing key', $client->get('missing'));

$pipeline = $client->pipeline();
for ($i = 0; $i < 1000; ++$i) {
    $pipeline->incr('count');
}
$replies = $pipeline->exec();
fact('pipeline of 1000', count($replies), array_sum($replies));
$client->clearLastError();
[$one, , $two] = $client->pipeline()->incr('n')->lPush('n', 'x')->incr('n')->exec();
fact('pipeline with an error inside', $one, explode(' ', $client->getLastError() ?? 'none')[0], $two);

fact('transaction', $client->multi()->incr('t')->incrBy('t', 5)->get('t')->exec());
$client->watch('t');
$other->set('t', 'changed');
fact('watched key changed by another', $client->multi()->incr('t')->exec());
$client->watch('u');
fact('watched key left alone', $client->multi()->incr('u')->exec());
$client->multi()->set('discarded', '1');
$client->discard();
fact('discarded transaction', $client->get('discarded'));

// The library's subscribe() never ends, so others run it.
[$reading, $writing] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
$hear = fn (Redis $mine, ...$message) => fwrite($writing, text($message) . "\n");
$listening = meanwhile(fn (Redis $mine) => $mine->subscribe(['news'], $hear));
until(fn () => $other->pubsub('numsub', ['news'])['news'] == 1);
$receivers = $other->publish('news', 'hello');
$message = trim(fgets($reading));
posix_kill($listening, SIGKILL);
$listening = meanwhile(fn (Redis $mine) => $mine->psubscribe(['n*'], $hear));
until(fn () => $other->pubsub('numsub', ['news'])['news'] == 0 && $other->pubsub('numpat') == 1);
fact('receivers of the message', $receivers + $other->publish('news', 'hello'));
fact('message to the channel', $message);
fact('message to the pattern', trim(fgets($reading)));
posix_kill($listening, SIGKILL);
$client->rawCommand('SUBSCRIBE', 'news', 'more');
$client->rawCommand('UNSUBSCRIBE'); // reads what the second SUBSCRIBE answered, and so on
$client->rawCommand('GET', 'back');
$client->rawCommand('PING');
fact('after the last unsubscribe', $client->rawCommand('PING'));
$client->close();
$client = connect($port);

meanwhile(function (Redis $mine) {
    blocked($mine, 1);
    $mine->rPush('jobs', 'first');
});
fact('BLPOP answered by another', $client->blPop('jobs', 20));
$none = $client->blPop('jobs', 1);
fact('BLPOP timed out', $none === [] ? null : $none);
$leaving = meanwhile(fn (Redis $mine) => $mine->blPop('kept', 0));
blocked($other, 1);
posix_kill($leaving, SIGKILL);
blocked($other, 0);
$other->rPush('kept', 'element');
fact('element kept when a blocked client leaves', $client->lLen('kept'));
meanwhile(function (Redis $mine) {
    blocked($mine, 1);
    $mine->xAdd('stream', '*', ['field' => 'body']);
});
$entries = $client->xRead(['stream' => '$'], 1, 20000);
fact('XREAD BLOCK answered by another', array_values($entries['stream'])[0]['field']);

$client->script('flush');
$sha = sha1('return 42');
fact('unknown script', error_of($client, fn () => $client->evalSha($sha)));
fact('script with a key and an argument', $client->eval('return {KEYS[1], ARGV[1]}', ['k', 'a'], 1));
fact('script by its hash, or else in full', $client->evalSha($sha) ?: $client->eval('return 42'));
fact('script by its hash again', $client->evalSha($sha));

$numbers = range(0, 999);
$client->mSet(array_combine(array_map(fn ($i) => "scan:$i", $numbers), $numbers));
$found = [];
$cursor = null;
while (($keys = $client->scan($cursor, 'scan:*', 100)) !== false) {
    $found = array_merge($found, $keys);
}
fact('SCAN', count(array_unique($found)));
$client->hMSet('scanned', array_combine(array_map(fn ($i) => "field:$i", $numbers), $numbers));
$found = [];
$cursor = null;
while (($fields = $client->hScan('scanned', $cursor, null, 100)) !== false) {
    $found += $fields;
}
fact('HSCAN', count($found));

fact('list command on a string', error_of($client, fn () => $client->lPush('n', 'x')));
fact('unknown command', error_of($client, fn () => $client->rawCommand('NOSUCH'), 3));
fact('wrong arity', error_of($client, fn () => $client->rawCommand('GET'), 3));

$nobody = connect($secured);
fact('no password', error_of($nobody, fn () => $nobody->get('k')));
$wrong = connect($secured);
fact('wrong password', error_of($wrong, fn () => $wrong->auth(['app', 'wrong'])));
$admin = connect($secured);
$admin->auth('secret');
fact('default user', $admin->acl('whoami'));
$app = log_in(connect($secured));
fact('ACL user', $app->acl('whoami'));
$app->set('app:k', 'yes');
fact('its key', $app->get('app:k'));
fact('forbidden key', error_of($app, fn () => $app->set('k', 'no')));

$admin->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
$info = again(fn () => log_in(connect($secured))->rawCommand('CLIENT', 'INFO'));
preg_match('/ name=(\S*) .* db=(\S*) .* user=(\S*)/', $info, $words);
fact('database, name and user after a lost connection', $words[2], $words[1], $words[3]);
$other->rawCommand('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
fact('after a lost connection', again(fn () => $client->ping()));
try {
    $other->rawCommand('SHUTDOWN', 'NOSAVE'); // the test starts it again
} catch (RedisException $lost) {
}
fact('after a restart of Redis', again(fn () => connect($port)->ping()));
