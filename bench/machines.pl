#!/usr/bin/perl

# Virtual machines: start → first command, of one that boots, of one that goes
# on from a template, of one that wakes with its memory, and of one that was
# prepared; beside the floor of the same run: bare QEMU, the same kernel and an
# init that only says that it is there, with QEMU's own firmware and processor and
# the few words without which the kernel doesn't boot, or takes much longer; and
# beside the same with all that a sandbox's QEMU and kernel are told.  And the
# processor time that QEMU has taken until then, which a busy machine changes
# less.  With --count, only of one that boots and of the floors, and exact, the
# instructions that the machine's processor has carried out until then: where it
# is emulated, most of the time is taken by what is carried out for the first
# time, and has to be translated.
#
#   perl -It/lib bench/machines.pl [--count] [ROUNDS]

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

my $count = @ARGV && $ARGV[0] eq '--count' && shift;
my $rounds = shift // 7;
my $dir = tmp_dir();

Vm->make_all;

# ---- what counts

sub run {
    my ($status, $out, $err) = run_command([@_]);

    die "@_: $err" if $status != 0;

    return $out;
}

# A QEMU with a plugin, in a /usr that only this process and what it starts see.
my $counter = '/usr/lib/sandbox-count.so';
my $counting = '/usr/bin/sandbox-counting-qemu';
my $offset;

sub prepare_count {
    my $over = "$dir/over";

    # unshare(CLONE_NEWNS)
    syscall(272, 0x20000) == 0 or die "unshare: $!";
    mkdir $over or die "$over: $!";
    run(qw(mount --make-rprivate /));
    run(qw(mount -t tmpfs tmpfs), $over);
    mkdir "$over/$_" for qw(usr work);
    run(qw(mount -t overlay -o),
        "lowerdir=/usr,upperdir=$over/usr,workdir=$over/work", 'count',
        '/usr');
    run(qw(gcc -O2 -shared -fPIC -o), $counter, "$FindBin::Bin/count.c");
    spew($counting, "#!/bin/sh\nexec /usr/bin/qemu-system-x86_64 "
        . "-plugin $counter \"\$@\"\n", 0755);
    ($offset) = run('nm', $counter) =~ /^(\w+) \w sandbox_counts$/m;
}

# Instructions, and blocks of them that were translated.
sub counted {
    my ($pid) = @_;
    my ($at) = slurp("/proc/$pid/maps") =~ /^(\w+)-.*\Q$counter\E$/m
        or die 'no counter';
    my $number = '';

    no warnings 'portable';
    open my $memory, '<:raw', "/proc/$pid/mem" or die "memory: $!";
    sysseek $memory, hex($at) + hex $offset, 0;
    sysread $memory, $number, 16;

    return [unpack('QQ', $number)];
}

prepare_count() if $count;

# ---- the floor

spew("$dir/init.c", <<'EOC');
#include <unistd.h>
#include <fcntl.h>
int main(void) {
    int fd = open("/dev/console", O_WRONLY);
    if (fd != -1) write(fd, "floor: here\n", 12);
    for ( ;; ) pause();
}
EOC
# MACHINES_KERNEL: another directory of a kernel, such as that of `make kernel`.
my $kernel = $ENV{MACHINES_KERNEL} || Vm::kernel();
my ($status, undef, $err) = run_command(['gcc', '-O2', '-static', '-o',
    "$dir/init", "$dir/init.c"]);
die $err if $status != 0;

sub archive_entry {
    my ($name, $mode, $data, $device) = @_;
    my $head = sprintf '070701' . '%08x' x 13, 1, $mode, 0, 0, 1, 0,
        length $data, 0, 0, @{ $device || [0, 0] }, 1 + length $name, 0;
    my $pad = sub { "\0" x (-length($_[0]) % 4) };

    $head .= "$name\0";

    return $head . $pad->($head) . $data . $pad->($data);
}

spew("$dir/initrd", archive_entry('dev', 040755, '')
    . archive_entry('dev/console', 020600, '', [5, 1])
    . archive_entry('init', 0100755, slurp("$dir/init"))
    . archive_entry('TRAILER!!!', 0, ''));

# What only a sandbox's kernel is told.
my $told = qr/(?:SANDBOX_\w+|tsc|noreplace-smp|lsm|initcall_\w+)
    (?:=\S+)?(?!\S)/x;

# What QEMU is started with for a sandbox, without its disks and its network; or
# as anybody would start it.
sub floor_arguments {
    my ($bare, @args) = @_;
    my @kept = shift @args;

    while (defined(my $name = shift @args)) {
        my $value = $name =~ /^-no/ ? undef : shift @args;

        # Its memory is a file that only the keeper makes.
        $value =~ s/,memory-backend=\w+// if $name eq '-M';

        if ($bare) {
            next if $name eq '-bios';
            $value =~ s/^max\K,.*// if $name eq '-cpu';
            $value =~ s/ $told//g if $name eq '-append';
        }

        push @kept, $name, $value // ()
            if $name =~ /^-(?:M|accel|bios|cpu|m|smp|append|plugin|no\S*)$/;
    }

    return (@kept, qw(-display none -monitor none -serial stdio -kernel),
        $kernel . '/vmlinux', '-initrd', "$dir/initrd");
}

sub cpu_of {
    my ($pid) = @_;
    my @f = split ' ', (slurp("/proc/$pid/stat") // '') =~ s/^.*\) //sr;

    return @f ? ($f[11] + $f[12]) / 100 : 0;
}

sub floor_of {
    my (@args) = @_;
    my $begun = time;
    my $pid = open my $out, '-|', @args or die "$args[0]: $!";
    my $text = '';

    while (IO::Select->new($out)->can_read(60)
        && sysread $out, $text, 4096, length $text)
    {
        last if $text =~ /floor: here/;
    }

    my $took = time - $begun;
    my $cpu = $count ? counted($pid) : cpu_of($pid);

    kill 'KILL', $pid;
    close $out;
    die "the floor says: $text" if $text !~ /floor: here/;

    return ($took, $took, $cpu);
}

# ---- sandboxes

my %size = (image => 'vm', defaults => { memory => 128 << 20,
    disk => 96 << 20 }, timeout => 60000);

sub command {
    my ($d, $slot) = @_;
    my $s = $d->connect($slot) or die "no connection: $!";
    my ($body, $answer) = ('{"command":"true"}', '');

    http_send($s, "POST /api/execute HTTP/1.1\r\nHost: localhost\r\n"
        . "Content-Type: application/json\r\nConnection: close\r\n"
        . 'Content-Length: ' . length($body) . "\r\n\r\n$body");
    while ($answer !~ /"exitCode": ?0/) {
        IO::Select->new($s)->can_read(60)
            && sysread $s, $answer, 4096, length $answer
            or die "no command: $answer";
    }
}

sub qemu_of {
    my ($d, $slot) = @_;
    my $name = sprintf '%s/state/machines/%08x', $d->{dir}, $slot;

    for my $pid (map { m{/proc/(\d+)} } glob '/proc/[0-9]*') {
        my $cmd = slurp("/proc/$pid/cmdline") // next;

        return ($pid, $cmd) if $cmd =~ /^\S*qemu-system/
            && $cmd =~ /guest=\Q$name\E\0/;
    }

    die 'no QEMU';
}

# What a prepared one has taken before doesn't count.
sub first_command {
    my ($d, $slot, $epoch, $prepared) = @_;
    my $before = $prepared ? cpu_of(qemu_of($d, $slot)) : 0;
    my $begun = time;
    my $r = $d->start($slot, %size, epoch => $epoch);

    die json_encode($r) if !$r->{ok};
    command($d, $slot);

    return (time - $begun, $r->{us} / 1e6,
        cpu_of(qemu_of($d, $slot)) - $before);
}

sub driver {
    my ($name, $templates) = @_;

    mkdir "$dir/$name";

    return Driver->new(dir => "$dir/$name", agent => Vm::agent(),
        images => { vm => Vm::image() }, env => { DRIVER => 'qemu',
        DRIVER_KERNEL => $kernel, DRIVER_TEMPLATES => $templates,
        $count ? (DRIVER_VMM => $counting) : () });
}

sub median {
    my @sorted = sort { $a <=> $b } @_;

    return $sorted[$#sorted / 2];
}

my %d = (boot => driver('b', 0));
my (%took, %answers, %cpu);

sub note {
    my ($kind, $first, $answer, $cpu) = @_;

    push @{ $took{$kind} }, $first;
    push @{ $answers{$kind} }, $answer;
    push @{ $cpu{$kind} }, $cpu;
}

if ($count) {
    first_command($d{boot}, 1, 1);
    my @args = split /\0/, (qemu_of($d{boot}, 1))[1];
    my %counts;

    $d{boot}->destroy(1);
    for my $round (1 .. $rounds) {
        push @{ $counts{floor} }, (floor_of(floor_arguments(1, @args)))[2];
        push @{ $counts{told} }, (floor_of(floor_arguments(0, @args)))[2];
        first_command($d{boot}, 2, 1);
        push @{ $counts{boot} }, counted(qemu_of($d{boot}, 2));
        $d{boot}->destroy(2);
    }

    for my $i (0, 1) {
        my %m = map {
            my $kind = $_;
            ($kind => median(map { $_->[$i] } @{ $counts{$kind} }))
        } keys %counts;

        printf "%s until an init says that it is there %d, told what a "
            . "sandbox's is %d, until the first command of a machine that boots "
            . "%d, %.3f of the floor\n",
            ('instructions', 'blocks translated')[$i],
            @m{qw(floor told boot)}, $m{boot} / $m{floor};
    }
    exit;
}

$d{template} = driver('t', 1);
first_command($_, 1, 1) for values %d;
my @args = split /\0/, (qemu_of($d{boot}, 1))[1];
my $made = wait_for(sub { glob("$dir/t/state/templates-qemu/[0-9a-f]*")
    && !-e "$dir/t/state/machines/ffffffff" }, 60, 0.1);
die 'no template' if !$made;
$_->destroy(1) for values %d;

for my $round (1 .. $rounds) {
    note('floor', floor_of(floor_arguments(1, @args)));
    note('told', floor_of(floor_arguments(0, @args)));

    for my $kind (qw(boot template)) {
        note($kind, first_command($d{$kind}, 2, 1));
        if ($kind eq 'boot') {
            my $r = $d{boot}->sleep_now(2);

            die json_encode($r) if !$r->{memory};
            note('wake', first_command($d{boot}, 2, 2));
        }
        $d{$kind}->destroy(2);
    }

    my $r = $d{template}->prepare(3, %size);
    die json_encode($r) if !$r->{ok};
    note('pool', first_command($d{template}, 3, 1, 1));
    $d{template}->destroy(3);
}

my %text = (floor => 'QEMU, kernel, an init that says so', boot => 'boot',
    told => '... told what a sandbox\'s is',
    template => 'from a template', wake => 'wake with memory',
    pool => 'from the pool');
for my $what (qw(floor told boot template wake pool)) {
    my $first = median(@{ $took{$what} });
    my $cpu = median(@{ $cpu{$what} });

    printf "%-36s answers after %5.2f s, first command %5.2f s, %5.2f of the "
        . "floor; processor time %.2f s, %.2f of the floor's\n", $text{$what},
        median(@{ $answers{$what} }), $first,
        $first / median(@{ $took{floor} }), $cpu,
        $cpu / median(@{ $cpu{floor} });
}

$_->quit for values %d;
