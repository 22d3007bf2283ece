package Suite::Response;

# An HTTP/1 response as the suite's client sees it.

use strict;
use warnings;

# Reads a response from the front of `bytes`. Returns it and what is left, or nothing if no head is
# there. A `body` that is not defined has broken framing.
sub parse {
    my ($class, $bytes, $of_head) = @_;
    $bytes =~ s/\A(HTTP\/\S+ (\d+)[^\r\n]*\r\n(?:[^\r\n]+\r\n)*)\r\n// or return;
    my $self = bless { raw => $1, code => $2, headers => {} }, $class;
    for my $line (split /\r\n/, $self->{raw}) {
        push @{$self->{headers}{lc $1}}, $2 if $line =~ /^([^:\s]+):[ \t]*(.*?)[ \t]*$/;
    }
    my $left = '';
    my $has_none = $of_head && $bytes =~ m{\A(?:HTTP/|\z)} || $self->{code} == 304;
    if ($has_none) {
        ($self->{body}, $left) = ('', $bytes);
    } elsif (lc $self->header('transfer-encoding') eq 'chunked') {
        ($self->{body}, $left) = unchunk($bytes);
    } elsif ($self->header('content-length') =~ /^(\d+)$/ && length $bytes > $1) {
        ($self->{body}, $left) = unpack "a$1 a*", $bytes;
    } else {
        $self->{body} = $bytes;
    }
    return ($self, $left);
}

sub code { $_[0]{code} }
sub raw { $_[0]{raw} }
sub body { $_[0]{body} }

# All values of a header, joined; '' if there is none.
sub header { join ', ', @{$_[0]{headers}{lc $_[1]} || []} }

# The body of whole chunks and what is behind them; an undefined body if they break off.
sub unchunk {
    my ($bytes) = @_;
    my $body = '';
    while ($bytes =~ /\G([0-9a-fA-F]+)[ \t]*\r\n/gc) {
        my $size = hex $1;
        if ($size == 0) {
            1 while $bytes =~ /\G[^\r\n]+\r\n/gc;
            return $bytes =~ /\G\r\n/gc ? ($body, substr $bytes, pos $bytes) : (undef, '');
        }
        my $at = pos $bytes;
        last if length($bytes) - $at < $size + 2 || substr($bytes, $at + $size, 2) ne "\r\n";
        $body .= substr $bytes, $at, $size;
        pos($bytes) = $at + $size + 2;
    }
    return (undef, '');
}

1;
