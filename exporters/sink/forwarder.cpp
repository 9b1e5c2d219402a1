#include "sink/forwarder.h"

#include <algorithm>
#include <iterator>

#include "incident/json.h"
#include "log/log.h"

namespace hakmem {
namespace {

using std::chrono::milliseconds;

constexpr std::uint64_t kMaxRows = 500;
constexpr std::uint64_t kMaxBytes = 2 * 1024 * 1024;  // of JSON, unless a single incident is larger
constexpr milliseconds kInterval{1'000};              // between looks into an empty outbox
constexpr milliseconds kFirstPause{500}, kLongestPause{60'000};
constexpr std::chrono::seconds kLongestAskedFor{600};
constexpr milliseconds kLastRound{5'000};  // at the end, for what is left

}  // namespace

milliseconds Backoff::failed(std::optional<std::chrono::seconds> asked_for) {
    constexpr unsigned kDoublings = 7;
    const milliseconds bound = std::min(kLongestPause, kFirstPause * (1 << std::min(failures_, kDoublings)));
    ++failures_;
    const milliseconds pause(std::uniform_int_distribution<milliseconds::rep>(0, bound.count())(random_));
    return asked_for ? std::min(*asked_for, kLongestAskedFor) + pause : pause;
}

Forwarder::Forwarder(Store &store, std::unique_ptr<Sink> sink, std::string name)
    : store_(store), sink_(std::move(sink)), name_(std::move(name)) {
    store_.attach(name_);
    cursor_ = store_.cursor(name_);
    backlog_ = store_.backlog(cursor_);
}

Forwarder::~Forwarder() { finish(); }

void Forwarder::start() { thread_ = std::thread(&Forwarder::loop, this); }

void Forwarder::finish() {
    if (!thread_.joinable()) return;
    {
        std::unique_lock lock(mutex_);
        stopping_ = true;
        changed_.notify_all();
        changed_.wait_for(lock, kLastRound, [&] { return ended_; });
    }
    sink_->interrupt();
    thread_.join();
}

SinkStatus Forwarder::status() const { return {name_, delivered_, rejected_, failures_, backlog_}; }

void Forwarder::loop() {
    for (bool more = true; more;) {
        milliseconds pause{0};
        bool failed = false;
        try {
            if (!forward()) {
                sink_->idle();
                pause = kInterval;
            }
            backoff_.succeeded();
            backlog_ = store_.backlog(cursor_);
            if (!logged_error_.empty()) log::warn(name_ + ": delivering again");
            logged_error_.clear();
        } catch (const std::exception &error) {  // the sink's or the store's
            const auto *by_sink = dynamic_cast<const SinkError *>(&error);
            ++failures_;
            failed = true;
            resumed_ = false;
            pause = backoff_.failed(by_sink != nullptr ? by_sink->retry_after : std::nullopt);
            if (logged_error_ != error.what()) log::warn(name_ + ": " + error.what() + "; will try again");
            logged_error_ = error.what();
        }
        std::unique_lock lock(mutex_);
        // At the end what is there is still sent, but nothing is waited for.
        if (pause.count() != 0 || failed) {
            if (!stopping_)
                changed_.wait_for(lock, pause, [&] { return stopping_; });
            else
                more = false;
        }
    }
    const std::lock_guard lock(mutex_);
    ended_ = true;
    changed_.notify_all();
}

bool Forwarder::forward() {
    std::vector<OutboxRow> rows = store_.changed_after(cursor_, kMaxRows, kMaxBytes);
    if (rows.empty() && resumed_) return false;
    if (!resumed_) {
        const std::uint64_t resumed = sink_->resume(cursor_);
        resumed_ = true;
        if (resumed != cursor_) {
            log::warn(name_ + ": has lost what it had, or is new: starting again from " + std::to_string(resumed));
            cursor_ = resumed;
        }
        return true;
    }
    deliver(rows, cursor_);
    cursor_ = rows.back().change;
    store_.set_cursor(name_, cursor_);
    return true;
}

void Forwarder::reject(std::uint64_t items, const std::string &why) {
    rejected_ += items;
    log::error(name_ + ": " + std::to_string(items) + " incidents will never be taken: " + why);
}

void Forwarder::deliver(const std::vector<OutboxRow> &rows, std::uint64_t after) {
    SinkBatch batch;
    batch.after = after;
    batch.cursor = rows.back().change;
    for (const OutboxRow &row : rows) {
        auto incident = incident_from_json(row.json);
        if (!incident) {
            reject(1, "change " + std::to_string(row.change) + " is damaged in the store");
            continue;
        }
        incident->first_ns = row.first_ns;
        incident->last_ns = row.last_ns;
        batch.items.push_back({std::move(*incident), row.json});
    }
    try {
        const std::uint64_t rejected = sink_->deliver(batch);
        if (rejected != 0) reject(rejected, "the receiver said so");
        delivered_ += batch.items.size() - std::min<std::uint64_t>(rejected, batch.items.size());
    } catch (const SinkError &error) {
        if (error.reason == SinkError::Reason::unreachable) throw;
        if (rows.size() == 1) {
            batch.items.clear();
            sink_->deliver(batch);
            reject(1, error.what());
            return;
        }
        // The one that is to blame must not keep the others back.
        const auto half = rows.begin() + static_cast<std::ptrdiff_t>(rows.size() / 2);
        deliver({rows.begin(), half}, after);
        deliver({half, rows.end()}, std::prev(half)->change);
    }
}

}  // namespace hakmem
