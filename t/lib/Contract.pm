package Contract;

# What the tests of the two APIs' contract share: a system with a sandbox `c`,
# requests to it, and answers compared with texts.
#
#   my $s = Contract->start;        # a whole system; or
#   my $s = Contract->agent(...);   # just an agent, with AgentClient's options
#   rows_ok([name, METHOD, path, body, status, answer, %http_options], ...);
#
# A path is one below /v1/sandbox/c (or the agent's), a body text or a
# structure.  In an answer <n> stands for a number, <ts> for a time, <s> for any
# string, <id> and <uuid> for generated ids and <any> for anything; a suggestion
# may be there or not.

use strict;
use warnings;

use AgentClient;
use Exporter 'import';
use Harness;
use MIME::Base64;
use System;
use Test::More ();

our @EXPORT = qw(call row_ok rows_ok error_of invalid result sse joined bridge
    begin);

my $s;

my %stands_for = (
    n => '\d+', any => '.*',
    ts => '"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"',
    s => '"(?:[^"\\\\]|\\\\.)*"',
    uuid => '"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"',
    id => '"(?:proc_\d{13}_[a-z0-9]{6}|session_\d{13}_[0-9a-f]{12})"',
);


sub expected {
    my ($text) = @_;
    my $re = join '', map { /^<(\w+)>$/ && $stands_for{$1} || quotemeta }
        split /(<\w+>)/, $text;

    return qr/^$re\n?$/s;
}


sub start {
    $s = System->start;

    return $s;
}


sub agent {
    my ($class, %o) = @_;
    $s = AgentClient->start(%o);

    return $s;
}


sub call {
    my ($method, $path, $body, %o) = @_;

    %o = (timeout => 60, %o, !defined $body ? () : ref $body
          ? (json => $body) : (body => $body));

    return $s->isa('AgentClient') ? $s->request($method, $path, %o)
                                  : $s->api($method => "/v1/sandbox/c$path", %o);
}


sub row_ok {
    my ($row) = @_;
    my ($name, $method, $path, $body, $status, $answer, %o) = @$row;
    my $r = call($method, $path, $body, %o);
    (my $got = $r->{body} // '') =~ s/,"suggestion":"[^"]*"\}$/}/;

    $got = merged($got) if $got =~ /^event: /;
    $got = one_text($got) if $got =~ /^data: /;

    Test::More::ok($r->{status} == $status && $got =~ expected($answer),
        $name)
        or Test::More::diag("expected $status $answer\n     got $r->{status} ",
            substr $got, 0, 2000);

    return $r;
}


sub rows_ok { row_ok($_) for @_ }


# The error of the container API.
sub error_of {
    my ($status, $code, $message, $context) = @_;
    my ($operation) = $context =~ /"operation":("[^"]+")/;

    return qq({"code":"$code","message":"$message","context":$context,)
        . ($operation ? qq("operation":$operation,) : '')
        . qq("httpStatus":$status,"timestamp":<ts>});
}


sub invalid {
    my ($field, $message) = @_;

    return error_of(400, 'VALIDATION_FAILED', '<any>', '{"validationErrors":'
        . qq([{"field":"$field","message":"$message","code":<s>}]}));
}


sub result {
    my ($stdout, $stderr, $code, $sid) = @_;

    return '{"success":' . ($code ? 'false' : 'true')
        . qq(,"exitCode":$code,"stdout":"$stdout","stderr":"$stderr",)
        . '"command":<s>,"duration":<n>,"timestamp":<ts>'
        . (defined $sid ? qq(,"sessionId":"$sid") : '') . '}';
}


sub bridge { return join '', map { "event: $_->[0]\ndata: $_->[1]\n\n" } @_ }

sub sse { return join '', map { "data: $_\n\n" } @_ }


# Adjacent output of one stream is one: where a program's writes are cut into
# events is up to the clock.
sub joined {
    my ($body, $member) = @_;
    my @frames;

    for my $f (map { json_decode($_) } $body =~ /^data: (.*)$/mg) {
        if (@frames && ($f->{type} || '') =~ /^std/
            && $frames[-1]{type} eq $f->{type})
        {
            $frames[-1]{data} .= $f->{data};
        } else {
            push @frames, { %$f };
        }
    }

    return map {
        my $f = $_;
        $f->{type} . (defined $f->{data} ? ":$f->{data}" : '')
            . (defined $f->{exitCode} ? "=$f->{exitCode}" : '')
    } @frames;
}


# The same, as bytes again.
sub one_text {
    my ($body) = @_;
    my $string = qr/(?:[^"\\]++|\\.)*+/;

    1 while $body =~ s/^(data:[ ]\{"type":"(std\w+)","\w+":"$string)"[^\n]*\n
        \ndata:[ ]\{"type":"\2","\w+":"/$1/mx;

    return $body;
}


# And for the bridge's events.
sub merged {
    my ($body) = @_;
    my @events;

    for ($body =~ /\G(event: \w+\ndata: .*\n\n)/g) {
        my ($name, $data) = /^event: (\w+)\ndata: (.*)\n/;

        if (@events && $name =~ /^std/ && $events[-1][0] eq $name) {
            $events[-1][1] = encode_base64(decode_base64($events[-1][1])
                . decode_base64($data), '');
        } else {
            push @events, [$name, $data];
        }
    }
    $body =~ /\G(?:event: \w+\ndata: .*\n\n)*/g;

    return bridge(@events) . substr $body, pos $body;
}


# A request whose answer is read later.
sub begin {
    my ($path, $body) = @_;
    my $sock = http_connect(port => $s->{port}) or die "connect: $!";
    my $text = json_encode($body);

    http_send($sock, "POST /v1/sandbox/c$path HTTP/1.1\r\n"
        . "Host: localhost:$s->{port}\r\nAuthorization: Bearer $s->{key}\r\n"
        . "Connection: close\r\nContent-Length: " . length($text)
        . "\r\n\r\n$text");

    return $sock;
}

1;
