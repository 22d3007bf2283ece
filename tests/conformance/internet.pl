#!/usr/bin/perl
# The Internet of a sandbox: a name server on 127.0.0.1:53 and a web server on the addresses that
# the suites ask, both as small as the suites need them.

use strict;
use warnings;

use IO::Socket::INET;
use Socket qw(inet_aton);

my $WEB = '172.105.207.225';
my $OLD_WEB = '106.184.1.99';
my %ADDRESSES = (
    'agentzh.org' => $OLD_WEB,
    'blog.agentzh.org' => $OLD_WEB,
    'g.sregex.org' => $OLD_WEB,
    'openresty.org' => $WEB,
    'www.openresty.org' => $WEB,
    'opm.openresty.org' => $WEB,
    'iscribblet.org' => $WEB,
    'localhost' => '127.0.0.1',
    'example.org' => '93.184.216.34',
    'mail.example.org' => '93.184.216.34',
    'github.com' => '140.82.112.4',
    'google.com' => '142.250.1.100',
    'www.google.com' => '142.250.1.100',
    'kernel.org' => '139.178.84.217',
    'test.com' => '67.225.146.248',
    'www.baidu.com' => '110.242.68.3',
    'www.taobao.com' => '110.242.68.5',
);
my ($TYPE_A, $TYPE_ANY) = (1, 255);

# The answer to a query: an A record, none of the type, or no such name.
sub answer {
    my ($query) = @_;
    my ($at, @labels) = (12);
    while (my $length = unpack "\@$at C", $query) {
        push @labels, substr $query, $at + 1, $length;
        $at += $length + 1;
    }
    my $type = unpack "\@@{[$at + 1]} n", $query;
    my $question = substr $query, 12, $at + 5 - 12;
    my $address = $ADDRESSES{lc join '.', @labels};
    my $has = defined $address && ($type == $TYPE_A || $type == $TYPE_ANY);
    my $flags = defined $address ? 0x8180 : 0x8183;
    my $record = $has ? pack('n3 N n', 0xc00c, 1, 1, 300, 4) . inet_aton($address) : '';
    return substr($query, 0, 2) . pack('n5', $flags, 1, $has ? 1 : 0, 0, 0) . $question . $record;
}

sub serve_names {
    my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 53, Proto => 'udp')
        or die "no name server: $!\n";
    while (1) {
        my $from = recv($socket, my $query, 4096, 0) // next;
        my $answer = eval { answer($query) } // next;
        send $socket, $answer, 0, $from;
    }
}

# Answers each request with a redirect, keep-alive or not.
sub serve_web {
    my ($address) = @_;
    local $SIG{CHLD} = 'IGNORE';
    my $listener = IO::Socket::INET->new(
        LocalAddr => $address, LocalPort => 80, Proto => 'tcp', Listen => 64, ReuseAddr => 1)
        or die "no web server: $!\n";
    my $page = "<html>\r\n<head><title>302 Found</title></head>\r\n<body>\r\n"
        . "<center><h1>302 Found</h1></center>\r\n<hr><center>openresty</center>\r\n"
        . "</body>\r\n</html>\r\n";
    while (1) {
        my $client = $listener->accept or next;
        next if fork;
        $client->autoflush(1);
        local $/ = "\r\n\r\n";
        while (defined(my $head = <$client>)) {
            my $keep = $head !~ /^Connection: *close/mi && $head =~ m{ HTTP/1\.1\r\n};
            print $client "HTTP/1.1 302 Moved Temporarily\r\nServer: openresty\r\n"
                . "Content-Type: text/html\r\nContent-Length: " . length($page) . "\r\n"
                . 'Connection: ' . ($keep ? 'keep-alive' : 'close') . "\r\n"
                . "Location: http://openresty.org/en/\r\n\r\n$page";
            last unless $keep;
        }
        exit 0;
    }
}

for my $serve (\&serve_names, sub { serve_web($WEB) }, sub { serve_web($OLD_WEB) }) {
    my $pid = fork // die "fork: $!\n";
    $serve->() if $pid == 0;
}
