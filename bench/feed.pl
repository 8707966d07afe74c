#!/usr/bin/perl

# Plays sandboxd for the edge's benchmark: feeds a zone with N running
# sandboxes of three exposures each, all of whose sockets lead to one backend.
#
#   feed.pl CONTROL-SOCKET SECRET-FILE N

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256_hex sha256_hex);
use IO::Select;
use IO::Socket::UNIX;
use JSON::PP;

my ($path, $secret_file, $count, $private) = @ARGV;
my $json = JSON::PP->new->utf8->canonical;
my $key = '0123456789abcdef' x 2;
my $incarnation = 'b' x 32;
my @ports = (8000, 8001, 8002);
my $last = $count * 4;

open my $fh, '<', $secret_file or die "$secret_file: $!";
chomp(my $secret = <$fh>);

# The record with sequence number $seq: a sandbox, then its exposures.
sub record {
    my ($seq) = @_;
    my $i = int(($seq - 1) / 4);
    my $k = ($seq - 1) % 4;
    my $slot = $i + 1;

    return qq({"kind":"sandbox","seq":$seq,"slot":$slot,"id":"box$i",)
        . qq("state":"running","epoch":1,"key":"$key"}) if $k == 0;

    my $port = $ports[$k - 1];

    # the first port of the last sandbox is a private one
    my $access = $seq == $last - 2 && $private ? 'private' : 'token';

    return qq({"kind":"exposure","seq":$seq,"slot":$slot,)
        . qq("label":"$port-box$i-abcdefgh","port":$port,"access":"$access",)
        . qq("gen":1,"host":"local"});
}

unlink $path;
my $listen = IO::Socket::UNIX->new(Local => $path, Listen => 16,
    Type => SOCK_STREAM) or die "$path: $!";
chmod 0666, $path;
my $select = IO::Select->new($listen);
my %nonce;

sub put {
    my ($s, $text) = @_;

    print $s pack('N', length $text), $text;
    $s->flush;
}

sub get {
    my ($s) = @_;
    my ($head, $text) = ('', '');

    while (length $head < 4) {
        sysread($s, $head, 4 - length $head, length $head) or return undef;
    }
    my $n = unpack 'N', $head;
    while (length $text < $n) {
        sysread($s, $text, $n - length $text, length $text) or return undef;
    }

    return $json->decode($text);
}

while (1) {
    for my $s ($select->can_read) {
        if ($s == $listen) {
            my $new = $listen->accept or next;
            $nonce{$new} = sha256_hex(rand() . $$ . $new);
            $select->add($new);
            put($new, $json->encode({ op => 'challenge', version => 1,
                nonce => $nonce{$new} }));
            next;
        }

        my $m = get($s);

        if (!$m) {
            $select->remove($s);
            close $s;
        } elsif ($m->{op} eq 'hello') {
            put($s, $json->encode({ id => $m->{id}, ok => JSON::PP::true,
                result => { seq => $last, incarnation => $incarnation,
                    proof => hmac_sha256_hex(
                        "sandboxd:$m->{nonce}:$nonce{$s}", $secret) } }));
        } elsif ($m->{op} eq 'sync') {
            my $from = $m->{from} + 1;
            my $to = $from + 499 > $last ? $last : $from + 499;
            my $next = $to >= $last ? 'null' : $to;

            put($s, qq({"id":$m->{id},"ok":true,"result":{"records":[)
                . join(',', map { record($_) } $from .. $to)
                . qq(],"next":$next,"seq":$last}}));
        } elsif ($m->{id}) {
            put($s, qq({"id":$m->{id},"ok":false,"error":{"code":"not_found",)
                . qq("status":404,"message":"no such name"}}));
        }
    }
}
