package Test::Nginx::Socket::Lua::Stream;

# The name that files with a stream section use; the same as Test::Nginx::Socket.

use Test::Nginx::Socket -Base;

1;
