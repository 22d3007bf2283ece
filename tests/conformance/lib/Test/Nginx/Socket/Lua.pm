package Test::Nginx::Socket::Lua;

# The name that most test files use; the same as Test::Nginx::Socket.

use Test::Nginx::Socket -Base;

1;
