// How often each bug was seen by this exporter, for Prometheus: counts by process, kind and fingerprint. The first so
// many bugs have series of their own and keep them, or a counter would fall; the rest is in one of the fingerprint
// `other`. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

namespace hakmem {

class FingerprintCounts {
  public:
    static constexpr std::size_t kMaxSeries = 100;
    using Key = std::tuple<std::string, std::string, std::string>;  // process, kind, fingerprint

    void add(const std::string &process, const std::string &kind, const std::string &fingerprint, std::uint64_t times);
    std::map<Key, std::uint64_t> counts() const;

  private:
    mutable std::mutex mutex_;
    std::map<Key, std::uint64_t> counts_;
};

}  // namespace hakmem
