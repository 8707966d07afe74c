#!/usr/bin/perl

# Idempotency-Key on creation, and lists with filters.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(240);

my $s = System->start;

sub create {
    my ($key, $body) = @_;

    return $s->api(POST => '/v1/sandbox', json => $body,
        headers => { 'Idempotency-Key' => $key });
}

# How many sandboxes a list with this query holds; else its status.
sub listed {
    my $r = $s->api(GET => "/v1/sandbox?$_[0]");

    return $r->{status} == 200 ? scalar @{ $r->{json}{sandboxes} }
        : "status $r->{status}";
}

my $one = create('k1', { labels => { a => '1' } });
my $two = create('k1', { labels => { a => '1' } });

is($one->{status}, 200, 'a creation with a key');
is($two->{json}{id}, $one->{json}{id}, 'again: the same sandbox');
ok($two->{json}{created}, 'and the same answer');
is($two->{headers}{'idempotency-replayed'}, 'true', 'which says so');
ok(!$one->{headers}{'idempotency-replayed'}, 'as the first did not');
is(create('k1', { labels => { a => '2' } })->{json}{code},
    'idempotency_key_reused', 'another body is not the same request');
is(create($_, {})->{status}, 400, 'no key: ' . length $_)
    for 'x' x 256, 'a b';
isnt(create('k2', { labels => { a => '1' } })->{json}{id}, $one->{json}{id},
    'another key is another sandbox');

$s->kill_daemon;
$s->start_daemon;
ok(wait_for(sub {
    $two = create('k1', { labels => { a => '1' } });
    $two->{status} == 200;
}, 20), 'after a crash of sandboxd');
is($two->{json}{id}, $one->{json}{id}, 'it is still the same');

$s->api(POST => '/v1/sandbox', json => { id => 'z',
    labels => { b => 'x=y' } });
is(listed('label=a%3D1'), 2, 'a label with a value');
is(listed('label=b%3Dx%3Dy'), 1, 'a value with an equals sign');
is(listed('label=a%3D2'), 0, 'another value');
is(listed('label=b'), 1, 'a label with any value');
is(listed('label=a=1&label=b'), 0, 'all of them have to fit');
is(listed('state=created,running'), 3, 'states');
is(listed('state=running'), 0, 'one that none has');
is(listed("state=$_"), 'status 400', "no state: '$_'") for 'odd', '', 'Running';
is(listed('label==x'), 'status 400', 'no name');

$s->stop;
done_testing();
