package Suite::Peer;

# The servers that a block brings along: `tcp_listen` and `udp_listen`, each a process of its own.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use Socket qw(SOCK_DGRAM SOCK_STREAM);
use Suite::Client;
use Time::HiRes qw(sleep);

# Starts what the block asks for.
sub start {
    my ($class, $block, $server) = @_;
    my $self = bless { pids => [], folder => $server->root }, $class;
    for my $kind (qw(tcp udp)) {
        my $address = get($block, $kind, 'listen') // next;
        my $socket = bound($kind, $server->expand($address), $server);
        my $pid = fork // die "fork: $!\n";
        if ($pid == 0) {
            local $SIG{PIPE} = 'IGNORE';
            $SIG{ALRM} = 'DEFAULT';
            $kind eq 'tcp' ? $self->serve_tcp($block, $socket) : $self->serve_udp($block, $socket);
            POSIX::_exit(0);
        }
        push @{$self->{pids}}, $pid;
    }
    return $self;
}

sub get {
    my ($block, $kind, $word) = @_;
    my $section = "${kind}_$word";
    return $block->$section;
}

sub bound {
    my ($kind, $address, $server) = @_;
    my $type = $kind eq 'tcp' ? SOCK_STREAM : SOCK_DGRAM;
    my @listen = $kind eq 'tcp' ? (Listen => 16) : ();
    my $socket;
    if ($address =~ /^\d+$/) {
        $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $address,
            Proto => $kind, ReuseAddr => 1, @listen);
    } else {
        my $path = $address =~ m{^/} ? $address : $server->root . "/html/$address";
        unlink $path;
        $socket = IO::Socket::UNIX->new(Local => $path, Type => $type, @listen);
    }
    return $socket // die "cannot listen on $address: $!\n";
}

sub serve_tcp {
    my ($self, $block, $listener) = @_;
    my @open;
    while (my $client = $listener->accept) {
        my $how = $block->tcp_shutdown;
        shutdown $client, $how if defined $how;
        my $length = $block->tcp_query_len // (defined $block->tcp_query ? 1 : 0);
        my $query = '';
        while ($length == 0 || length $query < $length) {
            my $read = sysread $client, $query, 65536, length $query;
            last if !$read || $length == 0;
        }
        $self->note('tcp', $query);
        sleep Suite::Client::seconds($block->tcp_reply_delay) if defined $block->tcp_reply_delay;
        my $reply = $block->tcp_reply;
        $reply = $reply->($query) if ref $reply eq 'CODE';
        for my $part (ref $reply ? @$reply : $reply // ()) {
            print $client $part;
            $client->flush;
        }
        if (defined $block->tcp_no_close) { push @open, $client }
        else { close $client }
    }
}

sub serve_udp {
    my ($self, $block, $socket) = @_;
    while (defined(my $from = recv $socket, my $query, 65536, 0)) {
        $self->note('udp', $query);
        sleep Suite::Client::seconds($block->udp_reply_delay) if defined $block->udp_reply_delay;
        my $reply = $block->udp_reply;
        $reply = $reply->($query) if ref $reply eq 'CODE';
        send $socket, $_, 0, $from for ref $reply ? @$reply : $reply // ();
    }
}

sub note {
    my ($self, $kind, $query) = @_;
    open my $file, '>', "$self->{folder}/$kind-query" or return;
    print $file $query;
    close $file;
}

# What the last client sent, if one came.
sub received {
    my ($self, $kind) = @_;
    open my $file, '<', "$self->{folder}/$kind-query" or return;
    local $/;
    return <$file> // '';
}

sub stop {
    my ($self) = @_;
    kill 'KILL', @{$self->{pids}} if @{$self->{pids}};
    waitpid $_, 0 for @{$self->{pids}};
}

1;
