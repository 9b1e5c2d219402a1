// The process's counters as the program itself may read them (hakmem.h): sums over all shards, while threads count on.
#pragma once

#include "hakmem.h"

namespace hakmem {

hakmem_counters own_counters();

}  // namespace hakmem
