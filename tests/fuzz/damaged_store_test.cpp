// What `hakmem incidents list` and `show` do with a store that is damaged: any of its bytes changed, or its end
// missing. An answer or an exception with words, whatever the file; the sanitizers look on (fuzz_test.py Sanitized).
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <random>

#include "incident/json.h"
#include "report/report.h"
#include "segment_builder.h"
#include "store/store.h"

namespace hakmem {
namespace {

Incident make(unsigned number) {
    Incident incident;
    incident.id = std::to_string(1'000'000'000'000'000 + number);
    incident.fingerprint = std::string(16, static_cast<char>('a' + number % 6));
    incident.segment = "segment" + std::to_string(number);
    incident.kind = static_cast<segment::Kind>(number % segment::kKinds);
    incident.process = "server";
    incident.count = number + 1;
    incident.first_ns = incident.last_ns = 1'000'000 + number;
    Frame frame;
    frame.module = "/usr/bin/server";
    frame.function = "release";
    frame.file = "/src/server.cpp";
    frame.line = number;
    incident.free = {frame, frame};
    return incident;
}

std::string read_file(const std::string &path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

// How many incidents could be shown.
std::size_t read_all(const std::string &path) {
    std::size_t shown = 0;
    try {
        Store store(path, Store::Mode::create);
        store.groups({});
        store.summaries({});
        for (const std::string &text : store.list({}))
            if (const auto incident = incident_from_json(text)) shown += report(*incident, true).empty() ? 0 : 1;
    } catch (const std::exception &error) {
        EXPECT_STRNE(error.what(), "");
    }
    return shown;
}

TEST(DamagedStore, IsReadAsFarAsItCanBe) {
    constexpr unsigned kIncidents = 40, kRounds = 150;
    const test::TemporaryDir folder;
    const std::string path = folder.file("incidents.db");
    {
        Store store(path, Store::Mode::create);
        for (unsigned i = 0; i < kIncidents; ++i) store.add(make(i));
    }
    ASSERT_EQ(read_all(path), kIncidents);
    const std::string right = read_file(path);
    ASSERT_GT(right.size(), 4096U);
    std::mt19937 random(1);
    for (unsigned round = 0; round < kRounds; ++round) {
        std::string bytes = right;
        for (unsigned changes = 1 + random() % 20; changes > 0; --changes)
            bytes[random() % bytes.size()] = static_cast<char>(random());
        if (round % 10 == 0) bytes.resize(random() % bytes.size());
        const std::string damaged = folder.file("damaged" + std::to_string(round));
        std::ofstream(damaged, std::ios::binary) << bytes;
        read_all(damaged);
    }
}

}  // namespace
}  // namespace hakmem
