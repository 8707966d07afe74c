# scripts/test.sh itself: what it counts, what it tries once more, and what it
# calls a failure.  not with the sanitizers: it is a script.

use strict;
use warnings;

use Cwd qw(abs_path);
use Test::More;

use lib 't/lib';
use Harness;

alarm_after(120);

my $script = slurp('scripts/test.sh');


# Runs the script over files of the given names beside those that it names
# itself: the closing line, the output, whether it was content.
sub closing {
    my (%file) = @_;
    my $dir = tmp_dir();

    system 'mkdir', '-p', "$dir/scripts", "$dir/t/lib";
    spew("$dir/scripts/test.sh", $script);
    my ($named) = $script =~ /^slow='([^']+)'/m;
    for my $name (split(' ', $named), 't/alone.t') {
        spew("$dir/$name", ($name =~ /alone/ ? "# not with the sanitizers\n"
            : '') . "print qq(1..1\\nok 1\\n);\n");
    }
    spew("$dir/t/$_.t", $file{$_}) for keys %file;

    my $out = `cd $dir && timeout 60 bash scripts/test.sh 2>&1`;
    my $status = $? >> 8;
    my ($line) = $out =~ /^(\d+ passed, \d+ failed)\n\z/m;

    return ($line // $out, $status, $out);
}

# Six that are named, in both rounds but one, and the one for itself.
my ($line, $status, $out) = closing();
is("$line, $status", '12 passed, 0 failed, 0', 'all pass');

my $once = q{my ($f) = $0 =~ m{([^/]+)$}; $f .=  $ENV{SANDBOX_BUILD} =~ tr{/}{-}r;
    my $ok = -e $f; open my $h, '>', $f; print "1..2\nok 1\n";
    print $ok ? "ok 2\n" : "not ok 2\n"; exit !$ok;};
($line, $status, $out) = closing(once => $once);
is("$line, $status", '14 passed, 0 failed, 0', 'what passes alone is none');
like($out, qr{^# failed, but passed when it was alone: t/once\.t \(plain\)$}m,
    'but is named');

my $never = 'print "1..2\nok 1\nnot ok 2\n"; exit 1;';
($line, $status, $out) = closing(never => $never);
is("$line, $status", '14 passed, 2 failed, 1', 'what never passes');
like($out, qr{^# once more, alone: t/never\.t \(instrumented\)$}m,
    'was tried again');

($line, $status) = closing(dies => 'print "1..3\nok 1\n"; die "early";');
like("$line, $status", qr/, [24] failed, 1$/, 'what dies');
($line, $status) = closing(silent => 'exit 0');
is("$line, $status", '12 passed, 2 failed, 1', 'what tests nothing');

($line, $status, $out) = closing(map { ("many$_" => $once) } 1 .. 3);
is("$line, $status", '18 passed, 6 failed, 1', 'many are no accident');
unlike($out, qr/once more/, 'and not tried again');

done_testing();
