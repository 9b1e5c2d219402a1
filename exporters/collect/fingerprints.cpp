#include "collect/fingerprints.h"

#include "collect/collector.h"

namespace hakmem {

void FingerprintCounts::add(const std::string &process, const std::string &kind, const std::string &fingerprint,
                            std::uint64_t times) {
    const std::lock_guard lock(mutex_);
    Key key{process, kind, fingerprint};
    if (counts_.size() >= kMaxSeries && !counts_.contains(key)) key = {kOther, kOther, kOther};
    counts_[key] += times;
}

std::map<FingerprintCounts::Key, std::uint64_t> FingerprintCounts::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

}  // namespace hakmem
