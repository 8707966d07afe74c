#!/usr/bin/perl

# Virtual machines: from the request for a first code context to the value of its
# first cell, in Python and in Node.js, of a machine that has booted, of one that
# goes on from a template, and of one that was prepared, after it has come to
# rest.  And the processor time that QEMU has taken for it, which a busy machine
# changes less.
#
#   [MACHINES_IMAGE=FILE] perl -It/lib bench/machine-code.pl [ROUNDS]

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";
use Driver;
use Harness;
use IO::Select;
use Time::HiRes qw(sleep time);
use Vm;

$| = 1;

my $rounds = shift // 5;
my $dir = tmp_dir();
my %size = (image => 'vm', defaults => { memory => 512 << 20,
    disk => 128 << 20 }, timeout => 60000);

Vm->make_all;
# MACHINES_IMAGE: another image, with compiled modules, or another Node.js.
my $image = $ENV{MACHINES_IMAGE} || Vm::code_image()
    // die "needs the packages python3 and nodejs\n";

sub ask {
    my ($d, $path, $what) = @_;
    my $s = $d->connect(3) or die "no connection: $!";
    my ($body, $answer) = (json_encode($what), '');

    http_send($s, "POST $path HTTP/1.1\r\nHost: localhost\r\n"
        . "Content-Type: application/json\r\nConnection: close\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    1 while IO::Select->new($s)->can_read(120)
        && sysread $s, $answer, 65536, length $answer;

    return $answer;
}

sub qemu_of {
    my ($d) = @_;

    for my $pid (map { m{/proc/(\d+)} } glob '/proc/[0-9]*') {
        return $pid if (slurp("/proc/$pid/cmdline") // '')
            =~ m{^\S*qemu-system.*guest=\Q$d->{dir}\E/state/machines/00000003}s;
    }

    die 'no QEMU';
}

sub cpu_of {
    my ($pid) = @_;
    my @f = split ' ', (slurp("/proc/$pid/stat") // '') =~ s/^.*\) //sr;

    return @f ? ($f[11] + $f[12]) / 100 : 0;
}

sub rest {
    my ($pid) = @_;
    my $before = 0;

    wait_for(sub {
        my $took = cpu_of($pid) - $before;

        $before += $took;
        return $took < 0.2;
    }, 120, 2) or die 'it does not come to rest';
}

my (%took, %cpu);

sub first_cell {
    my ($kind, $d, $language) = @_;
    my $qemu = qemu_of($d);
    my ($cpu, $begun) = (cpu_of($qemu), time);
    my $answer = ask($d, '/api/contexts', { language => $language });
    my ($id) = $answer =~ /"contextId": ?"([^"]+)"/ or die $answer;

    $answer = ask($d, '/api/execute/code', { context_id => $id,
        code => '1+1' });
    $answer =~ /"text":"2"|"json":2/ or die $answer;
    push @{ $took{$kind}{$language} }, time - $begun;
    push @{ $cpu{$kind}{$language} }, cpu_of($qemu) - $cpu;
}

sub driver {
    my ($name, $templates) = @_;

    mkdir "$dir/$name";

    return Driver->new(dir => "$dir/$name", agent => Vm::agent(),
        images => { vm => $image }, env => { DRIVER => 'qemu',
        DRIVER_KERNEL => $ENV{MACHINES_KERNEL} || Vm::kernel(),
        DRIVER_TEMPLATES => $templates });
}

sub start {
    my ($d) = @_;
    my $r = $d->start(3, %size, epoch => 1);

    die json_encode($r) if !$r->{ok};
}

my %d = (boot => driver('b', 0), template => driver('t', 1));
start($d{template});
wait_for(sub { glob("$dir/t/state/templates-qemu/[0-9a-f]*")
    && !-e "$dir/t/state/machines/ffffffff" }, 150, 0.1) or die 'no template';
$d{template}->destroy(3);

for my $round (1 .. $rounds) {
    for my $language (qw(python javascript)) {
        for my $kind (qw(boot template)) {
            start($d{$kind});
            first_cell($kind, $d{$kind}, $language);
            $d{$kind}->destroy(3);
        }

        my $r = $d{template}->prepare(3, %size);
        die json_encode($r) if !$r->{ok};
        rest(qemu_of($d{template}));
        start($d{template});
        first_cell('prepared', $d{template}, $language);
        $d{template}->destroy(3);
    }
}

sub median { return (sort { $a <=> $b } @_)[$#_ / 2] }

for my $kind (qw(boot template prepared)) {
    printf "%-10s", $kind;
    printf '%s: first cell %5.2f s, processor time %5.2f s; ', $_,
        median(@{ $took{$kind}{$_} }), median(@{ $cpu{$kind}{$_} })
        for qw(python javascript);
    print "\n";
}

$_->quit for values %d;
