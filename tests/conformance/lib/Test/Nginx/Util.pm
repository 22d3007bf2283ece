package Test::Nginx::Util;

# The variables of Test::Nginx that test files read themselves.

use strict;
use warnings;

our ($NginxVersion, $ServRoot, $HtmlDir, $ErrLogFile, $ServerPort);

1;
