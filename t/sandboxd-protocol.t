# Who may talk to sandboxd, and what it makes of those who talk nonsense.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex);
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep time);

use Harness;
use WorkerClient;

alarm_after(120);

my $d = daemon_start(dir => tmp_dir());
my @stat = stat $d->{sock};

is(sprintf('%04o', $stat[2] & 07777), '0660', 'mode of the control socket');
is(sprintf('%04o', (stat $d->{secret_file})[2] & 07777), '0600',
    'mode of the secret file that was made');
like($d->{secret}, qr/^[0-9a-f]{64}$/, 'the secret that was made');

# ---- hello

my $w = worker($d);

ok($w, 'a worker with the secret gets in, and sees proof of it');
like($w->{hello}{incarnation}, qr/^[0-9a-f]{32}$/, 'incarnation');
isnt($w->{challenge}{nonce}, worker($d)->{challenge}{nonce},
    'each challenge is new');

sub closed {
    my ($c, $seconds) = @_;
    my $f = $c->frame($seconds // 3);

    return !defined $f && $c->{eof};
}

sub hello_with {
    my (%o) = @_;
    my $c = worker($d, raw => 1);
    my $nonce = $o{nonce} // random_hex(32);
    my $zone = $o{zone} // random_hex(16);

    $c->send({ id => 1, op => 'hello', version => 1, nonce => $nonce,
        zone => $zone, seq => 0, incarnation => '', pid => $$,
        proof => hmac_sha256_hex(($o{role} // 'worker')
            . ":$c->{challenge}{nonce}:$nonce:$zone",
            $o{secret} // $d->{secret}), %{ $o{more} || {} } });

    return $c;
}

ok(closed(hello_with(secret => 'x' x 64)), 'a wrong secret: closed, no word');
ok(closed(hello_with(role => 'sandboxd')), 'the proof of the other role');
ok(closed(hello_with(more => { version => 2 })), 'another version');
ok(closed(hello_with(more => { proof => '' })), 'an empty proof');
ok(closed(hello_with(more => { proof => 'f' x 64 })), 'a guessed proof');
ok(closed(hello_with(zone => 'x' x 32)), 'a zone that is no hex');
ok(closed(hello_with(nonce => 'ab')), 'a short nonce');
ok(hello_with()->frame(3)->{ok}, 'the same way with the right proof');

# A recorded hello is worth nothing on another connection.
my $c1 = worker($d, raw => 1);
my $c2 = worker($d, raw => 1);
my ($nonce, $zone) = (random_hex(32), random_hex(16));
my $replay = { id => 1, op => 'hello', version => 1, nonce => $nonce,
    zone => $zone, seq => 0, proof => hmac_sha256_hex(
        "worker:$c1->{challenge}{nonce}:$nonce:$zone", $d->{secret}) };

$c2->send($replay);
ok(closed($c2), 'a replayed hello');

for my $op (qw(sync list get create start destroy ports ack)) {
    my $c = worker($d, raw => 1);

    $c->send({ id => 1, op => $op, sandbox => 'x', seq => 1, from => 0 });
    ok(closed($c), "$op without hello: closed");
}

closed(hello_with(secret => 'y' x 64)) for 1 .. 30;
ok((() = slurp($d->{log}) =~ /without the secret/g) < 10,
    'who tries again and again does not fill the log');

# ---- frames

sub after_bytes {
    my ($bytes, $name, %o) = @_;
    my $c = $o{raw} ? worker($d, raw => 1) : worker($d);

    $c->send_bytes($bytes);
    ok(closed($c), $name);
}

sub framed { return pack('N', length $_[0]) . $_[0] }

for my $raw (0, 1) {
    my $who = $raw ? 'a stranger' : 'a worker';

    after_bytes("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "$who speaks HTTP",
        raw => $raw);
    after_bytes(pack('N', 0), "$who: length 0", raw => $raw);
    after_bytes(pack('N', 1048577), "$who: length above 1 MiB", raw => $raw);
    after_bytes("\xff\xff\xff\xff", "$who: length 2^32-1", raw => $raw);
    after_bytes(framed('{"id":2,"op":"list"'), "$who: cut JSON",
        raw => $raw);
    after_bytes(framed('[1,2]'), "$who: an array", raw => $raw);
    after_bytes(framed('{"id":2,"id":3,"op":"list"}'),
        "$who: a duplicate member", raw => $raw);
    after_bytes(framed("{\"id\":2,\"op\":\"\xff\xfe\"}"), "$who: no UTF-8",
        raw => $raw);
    after_bytes(framed('{"id":2,"op":"list","x":' . '[' x 3000 . '}'),
        "$who: deep nesting", raw => $raw);
}

after_bytes(pack('N', 5000) . ' ' x 5000, 'a stranger: a long first frame',
    raw => 1);
after_bytes(framed('{"op":"list"}'), 'a request without an id');
after_bytes(framed('{"id":0,"op":"list"}'), 'id 0');
after_bytes(framed('{"id":-1,"op":"list"}'), 'a negative id');
after_bytes(framed('{"id":"1","op":"list"}'), 'an id that is a string');
after_bytes(framed('{"id":1.5,"op":"list"}'), 'an id with a fraction');
after_bytes(framed('{"id":5}'), 'no op');
after_bytes(framed('{"op":"ack"}'), 'an ack without seq');
after_bytes(framed('{"id":2,"op":"hello"}'), 'a second hello');

my $pid_before = $d->{pid};
ok(process_alive($pid_before), 'sandboxd lives on');

# ---- requests

is($w->call('frobnicate')->{code}, 'unknown_op', 'an unknown operation');
is($w->call('get', sandbox => 5)->{field}, 'sandbox', 'a wrong type is named');
is($w->call('get')->{field}, 'sandbox', 'a missing member is named');
is($w->call('get', sandbox => 'nobody')->{status}, 404, 'no such sandbox');
is($w->call('sync', from => 'x')->{field}, 'from', 'sync from a string');
is($w->call('sync', from => 0, full => 1)->{field}, 'full', 'full as number');
is($w->call('start', sandbox => 'nobody')->{code}, 'not_found',
    'start without create of what is not there');
is($w->call('start', sandbox => 'x', trigger => 'moon')->{field}, 'trigger',
    'an unknown trigger');
is($w->call('start', sandbox => 'x', tried => -1)->{field}, 'tried',
    'a run that can be none');
is($w->call('list', limit => 0)->{limit}, 500, 'list: the limit is told');
is($w->call('list', cursor => 'abc')->{field}, 'cursor', 'list: bad cursor');
is_deeply($w->call('list'), { sandboxes => [], cursor => undef },
    'an empty list');
is_deeply($w->call('destroy', sandbox => 'nobody'), {},
    'destroying nothing is done');
is($w->call('resolve', label => '8000-nobody')->{status}, 404,
    'an unknown label');
is($w->call('resolve', label => 'x' x 254)->{limit}, 253, 'a long label');
is($w->call('list', unknown => { a => 1 })->{cursor}, undef,
    'unknown members are ignored');

# One frame of the greatest length is taken, in pieces too.
my $long = '{"id":900,"op":"list","pad":"';
$long .= 'x' x (1048576 - length($long) - 2) . '"}';
my $bytes = framed($long);
my $piece = substr $bytes, 0, 300000, '';
$w->send_bytes(substr $piece, 0, 1, '');
sleep 0.05;
$w->send_bytes($piece);
sleep 0.05;
$w->send_bytes($bytes);
is_deeply($w->answer(900)->{result}{sandboxes}, [], 'a frame of 1 MiB');

# Two requests of one id at a time are no protocol: which answer is whose?
my $c = worker($d);
$c->send_bytes(framed('{"id":7,"op":"create","options":{"id":"twin"}}')
    . framed('{"id":7,"op":"create","options":{"id":"twin"}}'));
$c->drain(1);
ok($c->{eof}, 'an id that is open already');

# More than 1024 open requests: the others are busy.
$c = worker($d);
my @ids = map { $c->{next}++ } 1 .. 1500;
$c->send_bytes(join '', map { framed(
    qq({"id":$_,"op":"create","options":{"id":"many$_"}})) } @ids);
my %got;
$got{ ($c->answer($_) || { error => { code => 'none' } })->{error}{code}
    // 'ok' }++ for @ids;
ok($got{ok} >= 1024, "at least 1024 at once ($got{ok})");
is($got{none} // 0, 0, 'all are answered');
is(($got{ok} + ($got{busy} // 0)), 1500, 'with success or busy');

# ---- those who don't read, or flood

# Its own requests' answers are more than the sockets hold: it is not read
# from any more, and others go on.
my $slow = worker($d);
my $sent = 0;
my $sel = IO::Select->new($slow->{socket});
my $flood = framed('{"id":1000000,"op":"sync","from":0,"full":true}') ;
$slow->{socket}->blocking(0);
for my $i (1 .. 100000) {
    my $f = framed(sprintf '{"id":%d,"op":"sync","from":0,"full":true}', $i);
    my $n = syswrite $slow->{socket}, $f;

    last unless defined $n && $n == length $f;
    $sent++;
}
ok($sent < 100000, "a worker that does not read is stopped ($sent)");
my $t = time;
is(ref $w->call('list', limit => 1)->{sandboxes}, 'ARRAY', 'others go on');
ok(time - $t < 10, 'and soon');
$slow->{socket}->blocking(1);
my $answered = 0;
for (1 .. $sent) { $answered++ if $slow->frame_text(10) }
is($answered, $sent, 'once it reads, it gets its answers');
$slow->close;
my $rss = (slurp("/proc/$d->{pid}/status") =~ /VmRSS:\s+(\d+)/)[0];
ok(is_san() || $rss < 100000, "memory stays bounded ($rss kB)");

# Strangers fill the places before the hello: a worker still gets in.
my @strangers = grep { $_ } map {
    IO::Socket::UNIX->new(Peer => $d->{sock}, Type => SOCK_STREAM)
} 1 .. 300;
is(scalar @strangers, 300, '300 strangers');
ok(worker($d), 'a worker gets in between them');
my $fds = () = glob "/proc/$d->{pid}/fd/*";
ok($fds < 220, "not all of them are kept ($fds descriptors)");
my $silent = worker($d, raw => 1);
$t = time;
ok(closed($silent, 8), 'who says no hello is dropped');
my $waited = time - $t;
ok($waited > 3 && $waited < 7, sprintf 'after 5 s (%.1f)', $waited);

undef @strangers;
is(daemon_stop($d), 0, 'an orderly end');
unlike(slurp($d->{log}), qr/Sanitizer|runtime error/, 'nothing bad logged');
ok(!-e $d->{sock}, 'the socket is gone');

done_testing();
