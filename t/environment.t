#!/usr/bin/perl

# The environment of what runs inside: the sandbox's, below the session's, below
# the command's, in every way to run something.

use strict;
use warnings;
use utf8;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use System;
use Test::More;

alarm_after(120);

my $s = System->start;
my $odd = join '', map { chr } 1 .. 127;
my $r = $s->api(POST => '/v1/sandbox', json => { id => 'e', env => {
    BOX => 'box', A => 'box', B => 'box', C => 'box', ODD => $odd,
    UTF => "\x{e9}\x{20ac}\x{1f600}", EMPTY => '' } });

is($r->{status}, 200, 'a sandbox with an environment');

sub post {
    my ($path, %body) = @_;

    return $s->api(POST => "/v1/sandbox/e/api/$path", json => \%body);
}

sub shown {
    my ($command, %body) = @_;

    return post('execute', command => $command, %body)->{json}{stdout};
}

post('session/create', id => 's', env => { A => 'session', B => undef,
    S => 'session' });

my $show = 'for n in BOX A B C S D; do printf "%s=%s " $n "${!n-none}"; done';
my @levels = (
    ['without a session', { sessionId => '__DISABLE_SESSION__' },
     'BOX=box A=box B=box C=box S=none D=none '],
    ['in a session', { sessionId => 's' },
     'BOX=box A=session B=none C=box S=session D=none '],
    ['in another', { sessionId => 'other' },
     'BOX=box A=box B=box C=box S=none D=none '],
    ['for a command', { sessionId => 's', env => { A => 'command', C => '',
        D => 'command', S => undef } },
     'BOX=box A=command B=none C= S=session D=command '],
    ['for a command without a session', { sessionId => '__DISABLE_SESSION__',
        env => { A => 'command', BOX => undef } },
     'BOX=box A=command B=box C=box S=none D=none '],
    ['not for the next one', { sessionId => 's' },
     'BOX=box A=session B=none C=box S=session D=none '],
);

for my $case (@levels) {
    my ($name, $body, $want) = @$case;

    is(shown($show, %$body), $want, $name);

    $r = post('execute/stream', command => $show, %$body);
    is(join('', map { $_ ? json_decode($_)->{data} // '' : '' }
        $r->{body} =~ /^data: (\{"type":"stdout".*)$/mg), $want,
        "$name: stream");

    my $id = post('process/start', command => $show, %$body)->{json}{processId};
    ok(wait_for(sub { $s->api(GET => "/v1/sandbox/e/api/process/$id")
        ->{json}{process}{status} eq 'completed' }, 10), "$name: process");
    is($s->api(GET => "/v1/sandbox/e/api/process/$id/logs")->{json}{stdout},
        $want, "$name: its output");
}

# Bytes stay what they are.
for my $session ('__DISABLE_SESSION__', 's') {
    is(shown('printf "%s|%s|%s" "$ODD" "$UTF" "${EMPTY-none}"',
        sessionId => $session), "$odd|\x{e9}\x{20ac}\x{1f600}|",
        "any characters ($session)");
    is(shown('printf %s "$X"', sessionId => $session,
        env => { X => "$odd\x{20ac}" }), "$odd\x{20ac}",
        "of a command, too ($session)");
}
is(post('execute', command => 'true', env => { X => "a\0b" })->{status}, 400,
    'but no NUL');
is(post('execute', command => 'true', env => { '1X' => 'a' })->{status}, 500,
    'nor a name that is none');

# As somebody finds it who never logged in.
my $plain = shown('echo "$PATH $HOME $USER $LANG $SHELL"; '
    . 'for p in ls git python3 sed; do type -P $p; done; cd; pwd',
    sessionId => '__DISABLE_SESSION__');
like($plain, qr{^/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /root root C\.UTF-8 /bin/bash\n},
    'PATH and friends');
like($plain, qr{/ls\n.*/git\n.*/python3\n.*/sed\n/root\n$}s, 'which are right');

# A context of code is below the sandbox, too.
my $c = post('contexts', language => 'python', env_vars => { A => 'context' })
    ->{json}{contextId};
$r = post('execute/code', context_id => $c,
    code => "import os; print(os.environ['BOX'], os.environ['A'])");
like($r->{body}, qr/"text":"box context\\n"/, 'code has it');

$s->stop;
done_testing();
