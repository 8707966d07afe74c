#!/usr/bin/perl

# t/no-downtime.t with a hundred reloads.

use strict;
use warnings;

use FindBin;

$ENV{RELOADS} ||= 100;
exec $^X, "-I$FindBin::Bin/../lib", "$FindBin::Bin/../no-downtime.t";
