#include "collect/ingest.h"

#include <utility>

#include "incident/describe.h"
#include "log/log.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::chrono::seconds kInterval{1};
constexpr std::chrono::hours kExpiryInterval{1};
constexpr std::chrono::milliseconds kHistoryInterval{990};  // a little less than kInterval, or every other would miss

}  // namespace

Ingest::Ingest(Collector &collector, Store &store, unsigned retention_days,
               std::function<bool(std::uint64_t)> expire_fleet)
    : collector_(collector), store_(store), retention_days_(retention_days), expire_fleet_(std::move(expire_fleet)) {}

Ingest::~Ingest() { finish(); }

void Ingest::start() { thread_ = std::thread(&Ingest::loop, this); }

void Ingest::finish() {
    if (!thread_.joinable()) return;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    round();
}

void Ingest::catch_up(std::chrono::milliseconds at_most) {
    std::unique_lock lock(mutex_);
    const std::uint64_t mine = ++wanted_;
    changed_.notify_all();
    changed_.wait_for(lock, at_most, [&] { return done_ >= mine || stopping_; });
}

void Ingest::loop() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
        const std::uint64_t answering = wanted_;
        lock.unlock();
        round();
        lock.lock();
        done_ = answering;
        changed_.notify_all();
        changed_.wait_for(lock, kInterval, [&] { return stopping_ || wanted_ > done_; });
    }
}

void Ingest::round() {
    collector_.refresh();
    keep_history();
    try {
        for (const Collector::Pending &pending : collector_.pending()) take(pending);
        expire();
        logged_error_.clear();
    } catch (const StoreError &error) {
        if (logged_error_ != error.what()) log::error(error.what());
        logged_error_ = error.what();
    }
}

void Ingest::take(const Collector::Pending &pending) {
    bool complete = true;
    if (pending.mark != 0) {
        const segment::ReadResult result = segment::read_file(pending.path, segment::Parts::all);
        if (!result.snapshot || result.snapshot->identity() != pending.identity) return;
        const segment::Snapshot &snapshot = *result.snapshot;
        // A record that is being written now comes with the next round; one that a killed process left half-written
        // never comes.
        complete = pending.ended || snapshot.incidents.size() == snapshot.incidents_used;
        auto &counts = counts_[pending.identity];
        std::map<std::uint32_t, Stored> stored_now;  // known to be stored only once the transaction is through
        store_.in_transaction([&] {
            for (const segment::Incident &incident : snapshot.incidents) {
                Stored stored = counts[incident.record];
                if (stored.count == incident.count) continue;
                if (stored.count == 0)
                    stored.fingerprint = store_.fingerprint_of(pending.identity, incident.record).value_or("");
                if (stored.fingerprint.empty()) {
                    const Incident described = describe(incident, snapshot, symbolizer_);
                    store_.add(described);
                    stored.fingerprint = described.fingerprint;
                } else {
                    store_.update(pending.identity, incident.record, incident.count, incident.last_ns);
                }
                stored.kind = segment::kKindNames[static_cast<std::size_t>(incident.kind)];
                stored.count = incident.count;
                stored_now[incident.record] = std::move(stored);
            }
        });
        for (auto &[record, stored] : stored_now) {
            const std::uint64_t before = std::exchange(counts[record], stored).count;
            if (stored.count > before)
                fingerprints_.add(text::clean(snapshot.process), stored.kind, stored.fingerprint,
                                  stored.count - before);
        }
    }
    if (complete) collector_.incidents_taken(pending);
    if (complete && pending.ended) counts_.erase(pending.identity);
}

void Ingest::keep_history() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_point_) return;
    next_point_ = now + kHistoryInterval;
    history_.sample(collector_.snapshots(), text::unix_ms());
}

void Ingest::expire() {
    using std::chrono::steady_clock;
    if (retention_days_ == 0 || steady_clock::now() < next_expiry_) return;
    next_expiry_ = steady_clock::now() + kExpiryInterval;
    const auto now =
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
    const auto kept = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::hours(24) * retention_days_);
    if (now <= kept) return;
    const auto before_ns = static_cast<std::uint64_t>((now - kept).count());
    store_.expire(before_ns);
    if (expire_fleet_ && expire_fleet_(before_ns)) next_expiry_ = {};
}

}  // namespace hakmem
