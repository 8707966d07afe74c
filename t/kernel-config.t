#!/usr/bin/perl

# The options of our own kernel: what the file asks for is what a kernel gets,
# where its source is at hand (KERNEL_SOURCE, or build/vm/own/source).
# t/long/kernel.t builds and boots it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use Test::More;

plan skip_all => 'the same as without the sanitizers' if is_san();
alarm_after(300);

my (%seen, @bad);

for (split /\n/, slurp(top_dir() . '/scripts/kernel.config')) {
    next if /^#(?! CONFIG_)|^$/;
    push @bad, $_ unless /^CONFIG_(\w+)=(?:y|\d+|0x[0-9a-f]+|"[^"]*")$/
        || /^# CONFIG_(\w+) is not set$/;
    push @bad, "twice: $_" if $seen{$1 // ''}++;
}
is("@bad", '', 'each line is an option, and there once');

my ($renamed) = slurp(top_dir() . '/scripts/kernel-build.sh')
    =~ /^renamed="(.*?)"/ms;
is(join(' ', grep { !$seen{$_} } split /[=\s]+/, $renamed), '',
    'options of other kernels are there under both names');

SKIP: {
    my $source = $ENV{KERNEL_SOURCE} // top_dir() . '/build/vm/own/source';

    skip "no source of a kernel in $source", 2 unless -e "$source/Makefile";

    my ($status, $out, $err) = run_command([top_dir()
        . '/scripts/kernel-build.sh', '--check', tmp_dir()], timeout => 250,
        env => { KERNEL_SOURCE => $source });
    is($status, 0, 'a kernel has them all') or diag($err);
    is($err, '', 'without a word');
}

done_testing();
