package Schema;

# Enough of JSON Schema (2020-12) to hold answers against the API's document.
#
#   my @wrong = Schema->new($document)->check($value, $schema);

use strict;
use warnings;

use JSON::PP ();


sub new {
    my ($class, $document) = @_;

    return bless { document => $document }, $class;
}


# What a reference leads to.
sub resolve {
    my ($self, $schema) = @_;

    while (ref $schema eq 'HASH' && $schema->{'$ref'}) {
        my $at = $self->{document};

        for my $part (split m{/}, substr $schema->{'$ref'}, 2) {
            $at = $at->{$part};
        }
        $schema = $at;
    }

    return $schema;
}


sub type_of {
    my ($value) = @_;

    return 'null' unless defined $value;
    return 'object' if ref $value eq 'HASH';
    return 'array' if ref $value eq 'ARRAY';
    return 'boolean' if JSON::PP::is_bool($value);
    my $json = JSON::PP->new->allow_nonref->encode($value);
    return 'string' if $json =~ /^"/;
    return $json =~ /^-?\d+$/ ? 'integer' : 'number';
}


sub check {
    my ($self, $value, $schema, $at) = @_;

    $schema = $self->resolve($schema);
    $at //= '';
    return () unless ref $schema eq 'HASH' && %$schema;

    if (my $any = $schema->{anyOf}) {
        return (grep { !$self->check($value, $_, $at) } @$any) ? ()
            : ("$at: none of the alternatives");
    }

    my $type = type_of($value);
    my @types = ref $schema->{type} ? @{ $schema->{type} }
        : $schema->{type} || ();

    return ("$at is $type, not @types")
        if @types && !grep { $_ eq $type || ($_ eq 'number'
            && $type eq 'integer') } @types;

    my @wrong;
    my $json = JSON::PP->new->allow_nonref->canonical;
    my $text = $json->encode($value);

    push @wrong, "$at is $text, not " . $json->encode($schema->{const})
        if exists $schema->{const}
            && $text ne $json->encode($schema->{const});
    push @wrong, "$at is $text, which is not in the list"
        if $schema->{enum} && !grep { $text eq $json->encode($_) }
            @{ $schema->{enum} };
    push @wrong, "$at doesn't fit $schema->{pattern}: $text"
        if $schema->{pattern} && $type eq 'string'
            && $value !~ /$schema->{pattern}/;
    push @wrong, "$at is less than $schema->{minimum}"
        if defined $schema->{minimum} && $type =~ /^(?:integer|number)$/
            && $value < $schema->{minimum};

    if ($type eq 'object') {
        my $known = $schema->{properties} || {};
        my $more = $schema->{additionalProperties};

        push @wrong, map { "$at/$_ is missing" }
            grep { !exists $value->{$_} } @{ $schema->{required} || [] };

        for my $name (sort keys %$value) {
            if (exists $known->{$name}) {
                push @wrong, $self->check($value->{$name}, $known->{$name},
                    "$at/$name");
            } elsif (ref $more eq 'HASH') {
                push @wrong, $self->check($value->{$name}, $more,
                    "$at/$name");
            } elsif ($schema->{properties}) {
                push @wrong, "$at/$name is not described";
            }
        }
    }

    if ($type eq 'array' && $schema->{items}) {
        push @wrong, map { $self->check($value->[$_], $schema->{items},
            "$at/$_") } 0 .. $#$value;
    }

    return @wrong;
}

1;
