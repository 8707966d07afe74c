#!/usr/bin/perl

# The oci driver as an ordinary user, with subordinate ids and without.  As
# root it becomes a user without a name for it; what the driver sees of
# /etc/subuid is this test's.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Test::More;

use Harness;
use Driver;

alarm_after(120);

if ($> == 0) {
    for my $program (qw(setpriv unshare newuidmap)) {
        plan skip_all => "$program is not installed"
            unless grep { -x "$_/$program" } split /:/, $ENV{PATH};
    }
}

for my $subids (0, 1) {
    if ($> != 0 && $subids) {
        note 'only root can give this test subordinate ids';
        next;
    }

    my $d = Driver->new($> == 0
        ? (user => $Driver::USER, subids => $subids) : ());
    my $info = $d->info();

    if ($info->{error}) {
        plan skip_all => "an ordinary user can't start sandboxes here: "
            . $info->{message} unless Test::More->builder->current_test;
        next;
    }

    my $name = $subids ? 'with subordinate ids' : 'with one id';

    my $before = $d->leftovers();
    my $r = $d->start(1, id => 'demo');

    ok($r->{ok}, "$name: starts") or diag json_encode($r);
    is((stat "/proc/$r->{pid}")[4], $> || $Driver::USER,
        'root inside is the user outside');
    is($d->inside(1, 'id -u; hostname'), "0\ndemo\n", 'root inside');

    if ($subids) {
        is($d->inside(1, 'touch /workspace/f; chown 1000:5 /workspace/f;'
            . 'stat -c %u:%g /workspace/f;'
            . 'setpriv --reuid=33 --regid=33 --clear-groups id -u;'
            . 'stat -c %g /dev/pts/ptmx'), "1000:5\n33\n0\n",
            'there are other users inside');
    } elsif ($> == 0) {
        is(($d->inside(1, 'touch /workspace/f; chown 1000 /workspace/f'))[1],
            1, 'there are no other users inside');
    }

    isnt(($d->inside(1, 'unshare -U true'))[1], 0, 'no namespaces inside');
    isnt(($d->inside(1, 'touch /usr/bin/x'))[1], 0, '/usr is read-only');
    unlike($d->inside(1, 'cat /proc/self/mountinfo'), qr/\Q$d->{dir}/,
        'no path of the host inside');
    is(($d->inside(1, q{python3 -c 'import pty, os; print(os.ttyname(pty.openpty()[1]))'}))[0],
        "/dev/pts/0\n", 'terminals work') if -x '/usr/bin/python3';

    my $u = $subids ? 'chown -R 77:77 /workspace/d/d;' : '';
    $d->inside(1, 'mkdir -p /workspace/d/d/d; echo x > /workspace/d/d/d/f;'
        . "$u chmod 000 /workspace/d/d; rm /etc/services; rm -r /srv");
    ok($d->stop(1)->{ok}, 'stops');
    ok($d->start(1)->{ok}, 'starts again');
    is($d->inside(1, 'cat /workspace/d/d/d/f; ls -d /srv /etc/services 2>&1'),
        "x\nls: cannot access '/srv': No such file or directory\n"
        . "ls: cannot access '/etc/services': No such file or directory\n",
        'with its files');

    SKIP: {
        skip 'this user has groups of its own', 1 if $info->{memory};

        is($d->start(2, limits => { memory => 1 << 26 })->{code},
            'unenforceable', "a limit that can't be had is an error");
    }

    ok($d->destroy(1)->{ok}, 'destroyed');

    $r = $d->start(3, timeout => 300, env => { AGENT => 'hang' });
    is($r->{code}, 'start_timeout', 'one that hangs is given up');
    $d->start(4);
    my $pid = $d->start(5)->{pid};
    my $exited = $d->quit('KILL');
    is($exited, 9, 'the driver is killed');
    ok(process_alive($pid), 'a sandbox outlives it');

    $d->spawn();
    $d->send(op => 'sweep', keep => {});
    ok($d->answer_to('sweep')->{ok}, 'the next one sweeps');
    ok(!process_alive($pid), 'which ends it');
    $d->destroy($_) for 3 .. 5;
    wait_for(sub { !$d->leftovers()->{layers} }, 5);
    $d->left_as($before, 'nothing is left behind');
    is($d->quit(), 0, 'the driver ends');
}

done_testing();
