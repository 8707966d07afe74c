#!/usr/bin/perl

# The store of images: sandboxd image build, import, list, remove.  What isn't
# done in a moment is in t/long/image.t.

use strict;
use warnings;

use Fcntl qw(:flock);
use FindBin;
use lib "$FindBin::Bin/lib";
use Harness;
use ImageStore;
use Test::More;

ImageStore::plan();
alarm_after(120);

my $dir = tmp_dir();
my $s = ImageStore->new($dir);

mkdir "$dir/root";
mkdir "$dir/root/bin";
spew("$dir/root/bin/tool", "one\n", 0755);
spew("$dir/agent", "the agent\n", 0755);
my @agent = ('--agent', "$dir/agent");

# ---- an image

$s->refused(qr/name '\.\.\/x' must be 1 to 63/, 2, 'build', '../x', 'dir:root');
$s->refused(qr/name base\.lock is the store's own/, 2, 'build', 'base.lock',
    'dir:root');
is($s->image('--json', 'list') . $s->{out}, "0[]\n",
    'a store that is none is empty');
ok(!-e "$dir/store", 'and none is made by that');
is($s->image(@agent, 'build', 'base', "dir:$dir/root"), 0, 'an image')
    or diag($s->{err});

my ($digest) = $s->{out} =~ /^sha256:([0-9a-f]{64})$/;
is(readlink("$dir/store/base"), "sha256/$digest", 'the name is a link');
is((split ' ', `sha256sum $dir/store/base`)[0], $digest,
    'named after its content');
is($s->inside('base', 'bin/tool'), "one\n", 'with what was there');
is($s->inside('base', 'sandbox-agent'), "the agent\n", 'and an agent');
is_deeply([@{ $s->images()->{base} }{qw(format digest in_use source size)}],
    ['squashfs', "sha256:$digest", JSON::PP::false(), "dir:$dir/root",
     -s "$dir/store/base"], 'listed');

# Options stand anywhere.
is($s->image('list', '--json'), 0, 'an option behind the command');
like($s->{out}, qr/^\[\{"name":"base"/, 'is one');
$s->refused(qr/there is no option --nonsense/, 2, 'list', '--nonsense');
$s->refused(qr/--max-size must be 1 to/, 2, 'build', 'x', "dir:$dir/root",
    '--max-size', '0');
$s->refused(qr/name '--json' must be/, 2, 'build', '--', '--json', 'dir:root');

# ---- the same gives the same

utime time - 1000, time - 1000, "$dir/root/bin/tool";
is($s->image(@agent, 'build', 'again', "dir:$dir/root"), 0, 'once more');
is($s->{out}, "sha256:$digest\n", 'is the same image');
is($s->files(), 1, 'and one file');

# ---- used

open my $use, '<', "$dir/store/base" or die;
flock $use, LOCK_SH;
is($s->image('remove', 'again'), 1, 'what is used isn\'t removed');
like($s->{err}, qr/again is used by/, 'and why');
ok($s->images()->{again}{in_use}, 'it says so itself');
spew("$dir/root/bin/tool", "two\n", 0755);
is($s->image(@agent, 'build', 'base', "dir:$dir/root"), 0, 'it may be replaced');
is($s->inside('base', 'bin/tool'), "two\n", 'the name is the new one\'s');
close $use;
is($s->image('remove', 'again'), 0, 'not used, it is removed');
is($s->files(), 1, 'and its file');

# ---- two at once

open my $lock, '>>', "$dir/store/.work/base.lock" or die;
flock $lock, LOCK_EX;
$s->refused(qr/base is being made/, 1, 'build', 'base', "dir:$dir/root");

done_testing();
