package ImageStore;

# A store of images in a directory of the test, and the command for it.
#
#   my $s = ImageStore->new($dir);
#   $s->image('build', 'x', "dir:$d");      # its status; also $s->{out, err}
#   $s->refused(qr/why/, 2, 'mend');        # two tests

use strict;
use warnings;

use Harness;
use Test::More ();


sub plan {
    Test::More::plan(skip_all => 'no mksquashfs (scripts/deps.sh vm)')
        unless grep { -x "$_/mksquashfs" } split /:/, $ENV{PATH};
}


sub new {
    my ($class, $dir) = @_;

    return bless { dir => $dir, store => "$dir/store" }, $class;
}


sub command {
    my ($self, @arguments) = @_;

    return (build_dir() . '/sandboxd', 'image', '--store', $self->{store},
        @arguments);
}


sub image {
    my ($self, @arguments) = @_;
    my ($status, $out, $err) = run_command([$self->command(@arguments)],
        timeout => $self->{timeout} // 60, cwd => $self->{dir});

    @$self{qw(out err)} = ($out, $err);

    return $status >> 8;
}


sub refused {
    my ($self, $like, $code, @arguments) = @_;

    Test::More::is($self->image(@arguments), $code, "refused: @arguments");
    Test::More::like($self->{err}, $like, '... and why');
}


# What is listed, by name.
sub images {
    my ($self) = @_;

    $self->image('--json', 'list');

    return { map { $_->{name} => $_ } @{ json_decode($self->{out}) } };
}


# How many files there are, whatever their names.
sub files {
    my ($self) = @_;

    return scalar(() = glob "$self->{store}/sha256/" . '[0-9a-f]' x 64);
}


sub inside {
    my ($self, $name, $file) = @_;

    return (run_command(['unsquashfs', '-cat', "$self->{store}/$name",
        $file]))[1];
}

1;
