// Incidents into a fleet's PostgreSQL. One transaction a batch: sums rise by what the record table does not know yet,
// so a batch that comes twice changes nothing.
#pragma once

#include "postgres/database.h"
#include "sink/sink.h"

namespace hakmem {

class PostgresSink : public Sink {
  public:
    PostgresSink(const std::string &url, SinkSource source);

    std::uint64_t deliver(const SinkBatch &batch) override;
    std::uint64_t resume(std::uint64_t cursor) override;
    void idle() override { database_.close(); }
    void interrupt() override { database_.interrupt(); }

  private:
    void connected(Database &database);
    std::uint64_t stored_cursor();

    const SinkSource source_;
    std::string host_id_;
    Database database_;
};

}  // namespace hakmem
