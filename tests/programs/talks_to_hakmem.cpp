// The same program as C++.
#include "talks_to_hakmem.c"
