#!/usr/bin/perl

# What all sandboxes' disks may be together: nothing gets past it, whoever comes
# at once; what there is of it is what there are records of, whatever happened
# to sandboxd; and a disk that no file of this host can be isn't promised.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fcntl qw(O_CREAT O_RDWR);
use Harness;
use Test::More;
use Time::HiRes qw(sleep);
use Vm;
use WorkerClient;

alarm_after(300);

my $MIB = 1 << 20;
my $GIB = 1 << 30;
my ($d, $w);

sub up {
    my (%o) = @_;

    $d = daemon_start(dir => $o{dir} // $d->{dir},
        args => ['--stop-on-exit', @{ $o{args} || [] }],
        env => is_san() ? { ASAN_OPTIONS => 'detect_leaks=1' } : {});
    $w = worker($d);
}

# With all that runs.
sub down {
    is(daemon_stop($d), 0, 'the end');
    is(scalar(() = glob "$d->{run}/r/*"), 0, '... of all that ran');
}

sub create {
    my ($id, $disk, %o) = @_;

    return $w->call('create', options => { id => $id, %o,
        defined $disk ? (resources => { disk => $disk }) : () });
}

sub patch {
    my ($id, $disk) = @_;

    return $w->call('update', sandbox => $id,
        options => { resources => { disk => $disk } });
}

sub destroy { $w->call('destroy', sandbox => $_) for @_ }

sub disk { return $w->call('metrics')->{disk} }

# All of them, as their records say; and those that there are.
sub sandboxes {
    return @{ $w->call('list', limit => 500)->{sandboxes} };
}

# When what is destroyed has been cleared away.
sub promised_is {
    my ($n, $name) = @_;

    wait_for(sub { disk()->{promised} == $n }, 20, 0.05);
    is(disk()->{promised}, $n, $name);
}

sub refusal {
    my ($r) = @_;

    return join '|', map { $r->{$_} // '' }
        qw(status code field limit retry_after message);
}

sub left {
    my ($mib, $budget) = @_;

    return join '|', 507, 'insufficient_storage', 'resources.disk',
        $budget * $MIB, 5, "its $mib MiB of disk are not left of the $budget MiB"
        . ' that all sandboxes of this host may have together';
}

# ---- containers, some of which have a disk of their own

my @budget = ('--disk-budget', '1000M');

up(dir => tmp_dir(), args => \@budget);
my $bounded = ($w->call('create', options => { id => 'probe',
    resources => { disk => '16M' } })->{code} // '') ne 'unenforceable';
destroy('probe');

SKIP: {
    skip 'no bounded disks on this host', 33 if !$bounded;

    promised_is(0, 'nothing is promised');
    is(disk()->{budget}, 1000 * $MIB, 'of so much');
    my $alone = refusal(create('alone', '1001M'));
    is($alone, left(1001, 1000), 'what is more than all of it');

    my @workers = map { worker($d) } 1 .. 4;
    my @asked = map { [$workers[$_ % 4], $workers[$_ % 4]->ask('create',
        options => { id => "s$_", resources => { disk => '100M' } })] } 1 .. 100;
    my @answers = map { $_->[0]->answer($_->[1]) } @asked;

    is(scalar(grep { $_->{ok} } @answers), 10, 'a hundred at once: ten');
    my %why = map { refusal($_->{error}) => 1 } grep { !$_->{ok} } @answers;
    is(join("\n", keys %why), left(100, 1000), 'the others are told why');
    is(scalar(sandboxes()), 10, 'there are ten records');
    promised_is(1000 * $MIB, '... which have all');
    is(refusal(create('alone', '1001M')), $alone,
        'how much others have by now is not told');
    is(refusal(create('one', 16 * $MIB)), left(16, 1000), 'not the least more');
    is(create('without')->{created}, JSON::PP::true(),
        'one without a disk of its own');
    is($w->call('start', sandbox => 'implied', create => JSON::PP::true())
        ->{records}[0]{state}, 'running', '... also by its first use');

    # ---- changes

    my ($one, $two, $three, @more) = grep { /^s/ } map { $_->{id} } sandboxes();
    is(refusal(patch($one, '101M')), left(101, 1000), 'none may grow');
    is(patch($one, '40M')->{sandbox}{resources}{disk}, 40 * $MIB, 'but shrink');
    is(disk()->{promised}, 940 * $MIB, '... at once');
    is(refusal(patch($two, '161M')), left(161, 1000), 'then grow by as much,');
    is(patch($two, '160M')->{sandbox}{resources}{disk}, 160 * $MIB,
        '... and no more');
    is(disk()->{promised}, 1000 * $MIB, 'all is promised again');
    patch($two, '150M');
    is(patch($two, undef)->{sandbox}{resources}{disk}, undef,
        'one may go without');
    is(disk()->{promised}, 840 * $MIB, 'that gives it back');
    is(refusal(patch($two, '161M')), left(161, 1000), '... not for more');
    is(patch($two, '160M')->{sandbox}{resources}{disk}, 160 * $MIB,
        '... but for others, and itself');

    # ---- asleep, and the end

    is($w->call('start', sandbox => $three)->{records}[0]{state}, 'running',
        'one runs');
    is($w->call('sleep', sandbox => $three)->{sandbox}{state}, 'asleep',
        'and sleeps');
    is(disk()->{promised}, 1000 * $MIB, '... and has its disk');
    destroy($three);
    promised_is(900 * $MIB, 'which is back when it is destroyed');
    is(create('next', '100M')->{created}, JSON::PP::true(), 'for another one');

    # ---- sandboxd killed, and less to give

    daemon_kill($d);
    up(args => ['--disk-budget', '500M']);
    is_deeply(disk(), { promised => 1000 * $MIB, budget => 500 * $MIB },
        'what there are records of counts, though it is more than may be');
    is($w->call('start', sandbox => $two)->{records}[0]{state}, 'running',
        'and is there');
    is(refusal(create('new', '16M')), left(16, 500), 'another one is refused');
    is(patch($one, '32M')->{sandbox}{resources}{disk}, 32 * $MIB,
        'less is no more');
    destroy(@more, 'next');
    promised_is(192 * $MIB, 'without the rest');
    down();
}

# ---- sandboxd killed in the middle of creations: what there is then is what
# has a record

SKIP: {
    skip 'no bounded disks on this host', 12 if !$bounded;

    my @budget = ('--disk-budget', '4000M');
    up(dir => tmp_dir(), args => \@budget);

    for my $round (1 .. 5) {
        my @ids = map { $w->ask('create', options => { id => "r$round-$_",
            resources => { disk => '20M' } }) } 1 .. 100;

        if ($round == 3) {
            $w->ask('destroy', sandbox => $_)
                for map { $_->{id} } (sandboxes())[0 .. 9];
        }

        $w->answer($ids[rand 30]);
        daemon_kill($d);
        up(args => \@budget);

        my $sum = 0;
        $sum += $_->{resources}{disk} for sandboxes();
        is(disk()->{promised}, $sum, "killed, $sum bytes");
        cmp_ok($sum, '<=', 4000 * $MIB, '... and no more than may be');
    }

    down();
}

# ---- with a limit each has a disk, and counts

SKIP: {
    skip 'no bounded disks on this host', 6 if !$bounded;

    up(dir => tmp_dir(), args => ['--disk-budget', '100M', '--disk-limit',
        '40M']);
    create('one');
    is($w->call('start', sandbox => 'two', create => JSON::PP::true())
        ->{records}[0]{state}, 'running', 'two of 40 MiB');
    is(disk()->{promised}, 80 * $MIB, '... count');
    is(refusal($w->call('start', sandbox => 'three',
        create => JSON::PP::true())), left(40, 100),
        'a third one is not made by its first use');
    is(scalar(sandboxes()), 2, '... there is none');
    down();
}

# ---- larger than any file

my $dir = tmp_dir();
my $most = do {
    sysopen my $file, "$dir/most", O_CREAT | O_RDWR or die $!;
    my ($low, $high) = (0, 16 << 20);

    if (truncate $file, $high * $MIB) {
        $low = $high;
    }
    while ($high - $low > 1) {
        my $mid = int(($low + $high) / 2);

        $_ = $mid for truncate($file, $mid * $MIB) ? $low : $high;
    }
    unlink "$dir/most";
    $low;
};

SKIP: {
    skip 'no bounded disks on this host', 7 if !$bounded;
    skip 'files can be as large as any disk', 7 if $most == 16 << 20;

    up(dir => $dir);
    my $r = create('large', '16T');
    is(refusal($r), join('|', 422, 'unenforceable', 'resources.disk',
        $most * $MIB, '', "resources.disk may be $most MiB at most on this host"),
        'a disk that no file can be');
    is(create('large', $most * $MIB)->{created}, JSON::PP::true(),
        'the largest that one can');
    is(patch('large', ($most + 1) * $MIB)->{code}, 'unenforceable',
        'it can\'t grow');
    down();

    my ($status, $out, $err) = run_command([build_dir() . '/sandboxd',
        '--state-dir', "$dir/state", '--run-dir', "$dir/run", '--secret-file',
        "$dir/secret", '--agent', build_dir() . '/sandbox-agent', '--dev',
        '--disk-limit', '16T'], timeout => 20);
    ok($status > 0, 'nor can that be a limit');
    like($err, qr/--disk-limit can be $most MiB at most: the file system/,
        '... which is said');
}

# ---- virtual machines: each has a disk, also if it asks for none, and a copy
# has as much.  None of them is started.

SKIP: {
    skip 'virtual machines need root, and a device for TAPs', 17
        if $> != 0 || !-e '/dev/net/tun'
           || !-x '/usr/bin/qemu-system-x86_64';
    Vm->make_all;
    my @vm = (Vm::arguments(), '--agent', Vm::agent());

    up(dir => tmp_dir(), args => [@vm, '--disk-budget', '25G']);
    create($_, undef, runtime => 'qemu') for qw(one two);
    is(disk()->{promised}, 20 * $GIB, 'two machines that asked for none');
    is(refusal(create('three', undef, runtime => 'qemu')), left(10240, 25600),
        'a third one has no room');
    is(refusal($w->call('fork', sandbox => 'one', options => { id => 'copy' })),
        left(10240, 25600), 'nor has a copy');
    destroy('two');
    promised_is(10 * $GIB, 'one goes');

    my @ids = map { $w->ask('fork', sandbox => 'one',
        options => { id => "copy$_" }) } 1 .. 20;
    my @answers = map { $w->answer($_) } @ids;

    is(scalar(grep { $_->{ok} } @answers), 1, 'twenty copies at once: one');
    is(join("\n", keys %{{ map { refusal($_->{error}) => 1 }
        grep { !$_->{ok} } @answers }}), left(10240, 25600),
        'the others are told why');
    is(disk()->{promised}, 20 * $GIB, 'it counts as what it is a copy of');

    # One that fails in the end, since its name is taken meanwhile.
    create('small', '5G', runtime => 'qemu');
    promised_is(25 * $GIB, 'all is given away');
    destroy('small');
    promised_is(20 * $GIB, '... and some of it is back');
    patch('one', '2G');
    my @both = map { json_encode($_) } { id => 901, op => 'fork',
        sandbox => 'one', options => { id => 'late' } }, { id => 902,
        op => 'create', options => { id => 'late',
            resources => { disk => '1G' } } };
    $w->send_bytes(join '', map { pack('N', length) . $_ } @both);
    my ($late, $made) = map { $w->answer($_) } 901, 902;
    is($made->{ok}, JSON::PP::true(), 'a name that is taken');
    is($late->{error}{code}, 'exists', '... by one that a copy was to have');
    promised_is(13 * $GIB, '... has nothing in the end');

    # In the middle of a copy, and what the default was before.
    $w->ask('fork', sandbox => 'one', options => { id => 'cut' });
    daemon_kill($d);
    up(args => [@vm, '--disk-budget', '25G', '--disk-limit', '4G']);
    my $n = grep { $_->{id} eq 'cut' } sandboxes();
    is(disk()->{promised}, (7 + 2 * $n) * $GIB,
        'killed: a copy counts if it has a record; without files, and without '
        . 'a size, one is what it would be now');
    is(create('four', undef, runtime => 'qemu')->{sandbox}{resources}{disk},
        4 * $GIB, 'that is in the record of a new one');
    is(disk()->{promised}, (11 + 2 * $n) * $GIB, '... and counts');
    down();
}

done_testing();
