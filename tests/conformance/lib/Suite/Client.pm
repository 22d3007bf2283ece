package Suite::Client;

# The client's side of a block: the bytes of its requests, and what comes back.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw(sleep);

# How often a connection is tried, 50 ms apart.
my $ATTEMPTS = 40;

sub new {
    my ($class, $block, $server, $settings) = @_;
    return bless { block => $block, server => $server, settings => $settings }, $class;
}

# The packets of each connection (a list of lists), and the number of requests that each holds.
sub connections {
    my ($self) = @_;
    my $block = $self->{block};
    my $raw = $block->raw_request;
    return ([ref $raw ? $raw : [$raw]], 1) if defined $raw;
    my $pipelined = $block->pipelined_requests;
    if (defined $pipelined) {
        my $last = $#$pipelined;
        my @bytes = map {
            $self->request($pipelined->[$_], $_, $_ == $last ? 'close' : 'keep-alive')
        } 0 .. $last;
        return ([[join '', @bytes]], scalar @bytes);
    }
    my $request = $block->request;
    die "the block has no request\n" unless defined $request;
    my @requests = ref $request eq 'ARRAY' ? @$request : ($request);
    return ([map { [$self->request($requests[$_], $_, 'close')] } 0 .. $#requests], 1);
}

# The bytes of the request that `text` describes: METHOD [URL [VERSION]], and the body.
sub request {
    my ($self, $text, $index, $connection) = @_;
    $text = join '', map { ref $_ ? $_->{value} : $_ } ref $text ? @$text : $text;
    $text = $self->{server}->expand($text);
    1 while $text =~ s/\A(?:\s*\#[^\n]*\s+|\s+)//;
    my ($line, $body) = split /\n/, $text, 2;
    my ($method, $url, $version) = $line =~ /^(\S+)(?: +(\S+))?(?: +(\S+))?\s*$/
        or die "this is no request line: $line\n";
    $body //= '';
    my $headers = $self->more_headers($index);
    if ($body ne '' && $headers !~ /^Transfer-Encoding: *chunked\r$/mi
        && $headers !~ /^Content-Length:/mi)
    {
        $body =~ s/\A\s+|\s+\z//g;
        $headers .= 'Content-Length: ' . length($body) . "\r\n";
    }
    my $ours = '';
    $ours .= "Host: $self->{settings}{server_name}\r\n" unless $headers =~ /^Host:/mi;
    $ours .= "Connection: $connection\r\n" unless $headers =~ /^Connection:/mi;
    $url //= '/';
    $version //= 'HTTP/1.1';
    return "$method $url $version\r\n$ours$headers\r\n$body";
}

sub more_headers {
    my ($self, $index) = @_;
    my $text = $self->{block}->more_headers // '';
    $text = $text->[$index] // '' if ref $text eq 'ARRAY';
    my @lines = grep { !/^\s*(?:#|$)/ } split /\n+/, $text;
    return join '', map { /^([^:]*):\s*(.*)$/s ? "$1: $2\r\n" : "$_: \r\n" } @lines;
}

# Sends the packets and reads until the server closes: what came, and a fault if there is one.
sub talk {
    my ($self, $packets) = @_;
    my $block = $self->{block};
    local $SIG{PIPE} = 'IGNORE';
    my $socket = $self->connect or return ('', 'cannot connect');
    my $delay = $block->raw_request_middle_delay;
    my $first = 1;
    for my $packet (@$packets) {
        sleep $delay if $delay && !$first;
        $first = 0;
        my $sent = 0;
        while ($sent < length $packet) {
            my $written = syswrite $socket, $packet, length($packet) - $sent, $sent;
            last unless $written;
            $sent += $written;
        }
    }
    my $half = $block->shutdown;
    shutdown $socket, ($half =~ /\d/ ? $half : 1) if defined $half;
    return $self->receive($socket);
}

sub connect {
    my ($self) = @_;
    for (1 .. $ATTEMPTS) {
        my $socket = IO::Socket::INET->new(
            PeerAddr => '127.0.0.1', PeerPort => $self->{server}->port);
        return $socket if $socket;
        sleep 0.05;
    }
    return;
}

sub receive {
    my ($self, $socket) = @_;
    my $timeout = seconds($self->{block}->timeout // $self->{settings}{timeout});
    my $select = IO::Select->new($socket);
    my $received = '';
    while ($select->can_read($timeout)) {
        my $read = sysread $socket, $received, 65536, length $received;
        return ($received) unless $read;
    }
    return ($received) if defined $self->{block}->abort;
    return ($received, "no answer within $timeout s");
}

# `3`, `3s` and `300ms` in seconds.
sub seconds {
    my ($text) = @_;
    my ($number, $unit) = $text =~ /([\d.]+)\s*(ms)?/ or die "this is no time: $text\n";
    return $unit ? $number / 1000 : $number;
}

1;
