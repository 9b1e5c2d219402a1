// What brings incidents from the store to a sink: the cursor moves only behind what was taken, a bad incident is found
// and left out, a sink that has lost what it had gets it again; and how URLs are named where people see them.
#include "sink/forwarder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "store/store.h"

namespace hakmem {
namespace {

struct Received {
    std::mutex mutex;
    std::vector<std::string> ids;
    std::set<std::string> bad;  // refused whenever they are in a batch
    std::uint64_t cursor = 0;   // as a database has it
    unsigned failures = 0;      // before the next success
    bool keeps_cursor = false;
};

class FakeSink : public Sink {
  public:
    explicit FakeSink(Received &received) : received_(received) {}
    std::uint64_t deliver(const SinkBatch &batch) override {
        const std::lock_guard lock(received_.mutex);
        if (received_.failures > 0) {
            --received_.failures;
            throw SinkError(SinkError::Reason::unreachable, "away");
        }
        if (received_.keeps_cursor && received_.cursor < batch.after)
            throw SinkError(SinkError::Reason::unreachable, "has lost what it had");
        for (const SinkItem &item : batch.items)
            if (received_.bad.contains(item.incident.id)) throw SinkError(SinkError::Reason::refused, "bad");
        for (const SinkItem &item : batch.items) received_.ids.push_back(item.incident.id);
        received_.cursor = batch.cursor;
        return 0;
    }
    std::uint64_t resume(std::uint64_t cursor) override {
        const std::lock_guard lock(received_.mutex);
        return received_.keeps_cursor ? std::min(cursor, received_.cursor) : cursor;
    }
    void idle() override {}
    void interrupt() override {}

  private:
    Received &received_;
};

Incident numbered(unsigned number) {
    Incident incident;
    incident.id = "00000000000000" + std::to_string(10 + number);
    incident.segment = "segment";
    incident.record = number;
    incident.fingerprint = std::string(16, '1');
    incident.process = "shop";
    incident.first_ns = incident.last_ns = 1'000 + number;
    return incident;
}

class ForwarderTest : public ::testing::Test {
  protected:
    void add(unsigned from, unsigned to) {
        for (unsigned number = from; number < to; ++number) store.add(numbered(number));
    }
    Forwarder &start() {
        forwarder.emplace(store, std::make_unique<FakeSink>(received), "fake://sink");
        forwarder->start();
        return *forwarder;
    }
    void await_empty() {
        const auto backlog = [&] { return store.backlog(store.cursor("fake://sink")); };
        for (int i = 0; i < 3'000 && backlog() != 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        ASSERT_EQ(backlog(), 0U);
    }
    std::size_t distinct() {
        const std::lock_guard lock(received.mutex);
        return std::set<std::string>(received.ids.begin(), received.ids.end()).size();
    }

    Store store{":memory:", Store::Mode::create};
    Received received;
    std::optional<Forwarder> forwarder;
};

TEST_F(ForwarderTest, EverythingOnceAndAgainWhenItsCountRises) {
    add(0, 20);
    start();
    await_empty();
    EXPECT_EQ(received.ids.size(), 20U);
    store.update("segment", 7, 5, 9'000);
    await_empty();
    forwarder->finish();
    ASSERT_EQ(received.ids.size(), 21U);
    EXPECT_EQ(received.ids.back(), numbered(7).id);
    EXPECT_EQ(forwarder->status().delivered, 21U);
}

TEST_F(ForwarderTest, GoesOnFromTheCursor) {
    add(0, 5);
    start();
    await_empty();
    forwarder->finish();
    add(5, 9);
    received.ids.clear();
    start();
    await_empty();
    EXPECT_EQ(received.ids.size(), 4U);
}

TEST_F(ForwarderTest, FailuresAreTriedAgain) {
    received.failures = 2;
    add(0, 5);
    start();
    await_empty();
    EXPECT_EQ(received.ids.size(), 5U);
    EXPECT_EQ(forwarder->status().failures, 2U);
}

TEST_F(ForwarderTest, OnlyTheBadOnesAreLeftOut) {
    received.keeps_cursor = true;
    received.bad = {numbered(0).id, numbered(13).id, numbered(19).id};
    add(0, 20);
    start();
    await_empty();
    EXPECT_EQ(distinct(), 17U);
    EXPECT_EQ(forwarder->status().rejected, 3U);
    EXPECT_EQ(forwarder->status().failures, 0U);
}

TEST_F(ForwarderTest, WhatTheSinkHasLostComesAgain) {
    received.keeps_cursor = true;
    add(0, 20);
    start();
    await_empty();
    {
        const std::lock_guard lock(received.mutex);
        received.ids.clear();
        received.cursor = 0;
    }
    add(20, 21);
    for (int i = 0; i < 3'000 && distinct() != 21; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(distinct(), 21U);
}

TEST_F(ForwarderTest, WhatIsNotDeliveredDoesNotExpire) {
    add(0, 3);
    store.attach("fake://other");
    EXPECT_EQ(store.expire(UINT64_MAX), 0U);
    store.set_cursor("fake://other", 2);
    EXPECT_EQ(store.expire(UINT64_MAX), 2U);
}

TEST(Backoff, GrowsToABoundAndKeepsToWhatIsAskedFor) {
    Backoff backoff;
    for (int i = 0; i < 100; ++i) EXPECT_LE(backoff.failed({}), std::chrono::seconds(60));
    EXPECT_GE(backoff.failed(std::chrono::seconds(90)), std::chrono::seconds(90));
    EXPECT_LE(backoff.failed(std::chrono::hours(9)), std::chrono::seconds(660));
    backoff.succeeded();
    EXPECT_LE(backoff.failed({}), std::chrono::milliseconds(500));
}

TEST(SinkName, HasNoSecrets) {
    EXPECT_EQ(sink_name("postgresql://me:p@ss@db:5432/heap?password=x"), "postgresql://db:5432/heap");
    EXPECT_EQ(sink_name("otlp+http://there:4318"), "otlp+http://there:4318");
    EXPECT_EQ(sink_name("nonsense"), "without ://");
}

}  // namespace
}  // namespace hakmem
