// The fleet's schema in PostgreSQL, and what a connection has to see to before it is used.
//
//   host      every host that ever sent something
//   outbox    how far each host's store has been taken: a database that was restored from a backup asks again
//   incident  one row a host, process, fingerprint and build, with the JSON of the latest incident there
//   record    one row an incident record of a host with the count that is in the sums: what comes twice counts once
//   sighting  one row a fingerprint, process and build over all hosts
//   bug       one row a fingerprint and process, and one `whole` for all of its processes, over all hosts and builds
//
// The sums of a sighting and of a bug are kept by whoever changes an incident, in the same statement. The page's groups
// are made of the smallest table that can answer.
#pragma once

#include "postgres/database.h"

namespace hakmem {

// Makes the schema, or brings it up to date. Steps only add, and where they can, older exporters go on beside newer
// ones; throws DatabaseError where this one is too old.
void migrate_fleet(Database &database);

}  // namespace hakmem
